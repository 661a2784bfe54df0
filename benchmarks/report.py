"""Turn a run of the benchmarks into a Markdown table of ratios and five pictures.

    pip install -e ".[bench]"
    python benchmarks/report.py                  # runs them, five passes, and writes docs/benchmarks/
    python benchmarks/report.py run.json -o DIR  # from a run made with --benchmark-json=run.json

A ratio is formed within each pass; its median is shown, with the smallest and the largest of the
passes in brackets.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
PASSES = 5
OURS, LINE, OTHERS = "#1f6f8b", "#c0392b", "#b8c4cc"


@dataclass(frozen=True)
class Work:
    """One work of the run: seconds by pass."""

    group: str
    who: str
    n: int
    threads: int
    extra: str  # instruction set or dtype
    seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Million elements per second, median of the passes."""
        return self.n / statistics.median(self.seconds) / 1e6


def read(run: dict[str, Any]) -> list[Work]:
    turns: dict[tuple[str, str, int, int, str], dict[int, float]] = {}
    for entry in run["benchmarks"]:
        what = entry["extra_info"]
        extra = what.get("isa") or what.get("dtype") or ""
        key = (entry["group"], what["who"], what["n"], what["threads"], extra)
        turns.setdefault(key, {})[what["turn"]] = entry["stats"]["median"]
    return [Work(*key, tuple(by[i] for i in sorted(by))) for key, by in turns.items()]


class Run:
    def __init__(self, works: Iterable[Work]) -> None:
        self.works = list(works)

    def all(self, group: str, threads: int = 1) -> list[Work]:
        return [w for w in self.works if w.group == group and w.threads == threads]

    def get(
        self, group: str, who: str, threads: int = 1, extra: str = "", n: int | None = None
    ) -> Work | None:
        found = [
            w
            for w in self.all(group, threads)
            if w.who == who and w.extra == extra and n in (None, w.n)
        ]
        return found[0] if found else None


def ratio(over: Work | None, under: Work | None) -> str | None:
    """How many times longer `over` takes than `under`, an element each: median and range of the passes."""
    if over is None or under is None:
        return None
    each = [(a / over.n) / (b / under.n) for a, b in zip(over.seconds, under.seconds, strict=True)]
    return f"{show(statistics.median(each))} ({show(min(each))} to {show(max(each))})"


def show(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def peers(run: Run, cores: int) -> str:
    """How many times longer each peer takes than fastinit, on as many cores."""
    counts = sorted({1, cores})
    rows = []
    for group in GROUPS:
        for who in dict.fromkeys(w.who for w in run.works if w.group == group):
            if who != "fastinit":
                pairs = [(run.get(group, who, t), run.get(group, "fastinit", t)) for t in counts]
                rows.append((group, who, *(ratio(*pair) or "" for pair in pairs)))
    return table(("work", "peer", *(f"time / fastinit's, {t} core(s)" for t in counts)), rows)


GROUPS = ("truncated float32", "truncated bfloat16", "truncated float64", "normal float32",
          "normal float64", "uniform float32")  # fmt: skip
LAWS = ("truncated", "normal", "uniform")


def itself(run: Run, cores: int) -> list[tuple[str, str | None]]:
    """fastinit beside memory and beside itself."""
    rows: list[tuple[str, str | None]] = []
    for law in LAWS:
        ours = run.get(f"{law} float32", "fastinit")
        for memory in ("memset", "memset of zeros", "NumPy fill"):
            rows.append((f"{law} / {memory}", ratio(ours, run.get("memory", memory))))
    truncated, normal = (run.get(f"{law} float32", "fastinit") for law in ("truncated", "normal"))
    rows.append(("truncated / normal: what redraws cost", ratio(truncated, normal)))
    for law in LAWS:
        for dtype in ("float64", "float16", "bfloat16"):
            pair = [run.get("dtype", law, extra=d) for d in (dtype, "float32")]
            rows.append((f"{law}: {dtype} / float32", ratio(*pair)))
    for law in LAWS:
        works = {w.extra: w for w in run.all("instruction set float32") if w.who == law}
        best, *slower = works.values()
        rows += [(f"{law}: {w.extra} / {best.extra}", ratio(w, best)) for w in slower]
    for law in LAWS:
        one, many = (run.get("threads", law, threads) for threads in (1, cores))
        rows.append((f"{law}: 1 thread / {cores} threads", ratio(one, many)))
    full = run.get("fresh array", "numpy.full", cores)
    for who in ("he_normal", "normal", "uniform"):
        fresh = run.get("fresh array", who, cores)
        rows.append((f"a new array, {cores} threads: {who} / numpy.full", ratio(fresh, full)))
    cut = run.get("interval", "[-2, 2]")
    slowest = min(run.all("interval"), key=lambda w: w.rate)
    rows.append(
        (f"truncated at {slowest.who}, the slowest bounds / at [-2, 2]", ratio(slowest, cut))
    )
    for law in LAWS:
        sizes = [w for w in run.all("size") if w.who == law and w.n >= 2**14]
        best, worst = max(sizes, key=lambda w: w.rate), min(sizes, key=lambda w: w.rate)
        name = (
            f"{law}: the slowest of 2^14 to 2^{max(w.n for w in sizes).bit_length() - 1} elements"
        )
        rows.append((f"{name} (2^{worst.n.bit_length() - 1}) / the fastest", ratio(worst, best)))
    return rows


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratios(rows: list[tuple[str, str | None]]) -> str:
    return table(("seconds per element", "ratio"), [(name, r) for name, r in rows if r is not None])


def rates(run: Run, group: str) -> str:
    rows = [
        (w.who + (f", {w.extra}" if w.extra else ""), str(w.threads), size(w.n), show(w.rate))
        for w in run.works
        if w.group == group
    ]
    return table((group, "threads", "elements", "M elements/s"), rows)


def size(n: int) -> str:
    return f"2^{n.bit_length() - 1}" if n & (n - 1) == 0 else str(n)


def calls(run: Run) -> str:
    rows = [(w.who, f"{statistics.median(w.seconds) * 1e6:.1f} us") for w in run.all("call")]
    return table(("call", "time"), rows)


def machine(info: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in info["packages"].items())
    return (
        f"{info['cpu']}, {info['cores']} cores, instruction set {info['isa']}, {info['system']}; "
        f"{info['compiler']}; Python {info['python']}, {packages}. Medians of {info['passes']} passes."
    )


# Pictures.


def save(figure: Any, folder: Path, name: str) -> None:
    figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def bars(run: Run, folder: Path) -> None:
    """Rates of everybody on one core, one panel a law, with the line that memory draws."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 3.6))
    memory = run.get("memory", "memset")
    for panel, law in zip(panels, LAWS, strict=True):
        works = sorted(run.all(f"{law} float32"), key=lambda w: w.rate)
        colors = [OURS if w.who == "fastinit" else OTHERS for w in works]
        names = [f"{w.who}   {show(w.rate)}" for w in works]
        panel.barh(names, [w.rate for w in works], color=colors)
        if memory is not None:
            panel.axvline(memory.rate, color=LINE, linewidth=1)
            panel.set_title(f"{law} float32 (line: memset, {show(memory.rate)})", fontsize=10)
        panel.set_xscale("log")
        panel.set_xlim(1, 2e4)
        panel.set_xlabel("M elements/s, one core")
        panel.tick_params(axis="y", labelsize=8)
    figure.tight_layout()
    save(figure, folder, "peers")


def lines(
    run: Run, folder: Path, group: str, xlabel: str, x: Callable[[Work], float], log: bool
) -> None:
    figure, panel = plt.subplots(figsize=(6.5, 4))
    everything = [w for w in run.works if w.group == group]
    for who in dict.fromkeys(w.who for w in everything):
        works = sorted((w for w in everything if w.who == who), key=x)
        style = {"color": LINE, "linestyle": "--"} if who == "memset" else {}
        panel.plot([x(w) for w in works], [w.rate for w in works], marker="o", label=who, **style)
    if log:
        panel.set_xscale("log", base=2)
        panel.set_xticks(sorted({x(w) for w in everything}))
        panel.set_yscale("log")
    else:
        panel.set_xticks(sorted({x(w) for w in everything}))
        panel.set_ylim(bottom=0)
    panel.set_xlabel(xlabel)
    panel.set_ylabel("M elements/s")
    panel.grid(alpha=0.3)
    panel.legend()
    save(figure, folder, group)


def tiers(run: Run, folder: Path) -> None:
    figure, panel = plt.subplots(figsize=(6.5, 4))
    works = run.all("instruction set float32")
    sets = list(dict.fromkeys(w.extra for w in works))
    for i, law in enumerate(LAWS):
        by_set = {w.extra: w.rate for w in works if w.who == law}
        places = [place + (i - 1) * 0.27 for place in range(len(sets))]
        drawn = panel.bar(places, [by_set[s] for s in sets], 0.25, label=law)
        panel.bar_label(drawn, [show(by_set[s]) for s in sets], fontsize=7)
    panel.set_xticks(range(len(sets)), sets)
    panel.set_ylabel("M elements/s, float32, one core")
    panel.legend()
    save(figure, folder, "instruction-sets")


def intervals(run: Run, folder: Path) -> None:
    figure, panel = plt.subplots(figsize=(6.5, 5))
    works = run.all("interval")[::-1]
    panel.barh([w.who for w in works], [w.rate for w in works], color=OURS)
    for y, w in enumerate(works):
        panel.text(w.rate, y, f" {show(w.rate)}", va="center", fontsize=8)
    panel.set_xlabel("M elements/s, float32, one core")
    panel.set_ylabel("bounds in standard deviations")
    panel.margins(x=0.12)
    save(figure, folder, "intervals")


def measure(path: Path) -> None:
    command = [sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), "--passes", str(PASSES)]
    command += [f"--benchmark-json={path}", "--benchmark-columns=median,iqr,rounds", "-q"]
    subprocess.run(command, cwd=ROOT, check=True)


def write(run_file: Path, folder: Path) -> None:
    raw = json.loads(run_file.read_text())
    info, run = raw["machine_info"]["fastinit"], Run(read(raw))
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")
    bars(run, folder)
    lines(run, folder, "size", "elements", lambda w: w.n, log=True)
    lines(run, folder, "threads", "threads", lambda w: w.threads, log=False)
    tiers(run, folder)
    intervals(run, folder)
    pictures = ("peers", "size", "threads", "instruction-sets", "intervals")
    parts = [
        "# Speed",
        "Written by `python benchmarks/report.py`; do not edit.",
        machine(info),
        "Fills of warm memory, 2^24 elements, unless said. Ratios are formed within a pass; the range is "
        "that of the passes. A memset of zeros moves no data on some processors; `memset` is of ones.",
        "## How much longer others take",
        peers(run, info["cores"]),
        "## Beside memory, and beside itself",
        ratios(itself(run, info["cores"])),
        calls(run),
        "## Pictures",
        *(f"![{name}]({name}.png)" for name in pictures),
        "## Rates",
        *(
            rates(run, group)
            for group in dict.fromkeys(w.group for w in run.works)
            if group != "call"
        ),
    ]
    (folder / "README.md").write_text("\n\n".join(parts) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="a run's JSON; without it, run now")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/benchmarks")
    arguments = parser.parse_args()
    if arguments.run is not None:
        write(arguments.run, arguments.output)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        measure(path)
        write(path, arguments.output)


if __name__ == "__main__":
    main()
