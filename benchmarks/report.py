"""Turn a run of the benchmarks into Markdown tables of ratios and five pictures.

    pip install -e ".[bench]"
    python benchmarks/report.py                  # runs them, three passes; writes docs/benchmarks/
                                                 # and the table in the README
    python benchmarks/report.py run.json -o DIR  # from a run made with --benchmark-json=run.json

Each round of a benchmark times a work and what it is compared with; a ratio is the median of the
rounds, with their quartiles in brackets.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs/benchmarks"
PASSES = 3
OURS, LINE, OTHERS = "#1f6f8b", "#c0392b", "#b8c4cc"


@dataclass(frozen=True)
class Work:
    """One work of the run: seconds of its rounds, and ratios to what it was compared with."""

    group: str
    who: str
    n: int
    threads: int
    extra: str  # instruction set or dtype
    beside: str
    seconds: list[float]
    ratios: list[float]

    @property
    def rate(self) -> float:
        """Million elements per second."""
        return self.n / statistics.median(self.seconds) / 1e6

    @property
    def median_ratio(self) -> float:
        """Time per element, in times of the other's."""
        return statistics.median(self.ratios)

    @property
    def ratio(self) -> str:
        return spread(self.ratios)

    @property
    def rate_ratio(self) -> str:
        """Elements per time, in times of the other's."""
        return spread([1 / r for r in self.ratios])


def spread(values: list[float]) -> str:
    """The median, with the quartiles in brackets."""
    if len(values) == 1:
        return show(values[0])
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{show(statistics.median(values))} ({show(low)} to {show(high)})"


def read(run: dict[str, Any]) -> list[Work]:
    works: dict[tuple[str, str, int, int, str, str], Work] = {}
    for entry in run["benchmarks"]:
        what = entry["extra_info"]
        extra = what.get("isa") or what.get("dtype") or ""
        key = (
            entry["group"],
            what["who"],
            what["n"],
            what["threads"],
            extra,
            what.get("beside", ""),
        )
        work = works.setdefault(key, Work(*key, [], []))
        work.seconds.extend(what["seconds"])
        work.ratios.extend(what.get("ratios", []))
    return list(works.values())


def pick(works: list[Work], group: str, **what: Any) -> list[Work]:
    return [
        w
        for w in works
        if w.group == group and all(getattr(w, name) == value for name, value in what.items())
    ]


def show(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


LAWS = ("truncated", "normal", "uniform")
KINDS = ("truncated float32", "truncated bfloat16", "truncated float64", "normal float32",
         "normal float64", "uniform float32")  # fmt: skip


def our_rate(works: list[Work], kind: str) -> float:
    law, dtype = kind.split()
    return pick(works, "dtype", who=law, extra=dtype)[0].rate


def memset_rate(works: list[Work]) -> float:
    """At the size of most works, which is that of the works beside memory."""
    n = pick(works, "memory")[0].n
    return pick(works, "size", who="memset", n=n)[0].rate


def peers(works: list[Work], cores: int) -> str:
    """How many times longer each peer takes than fastinit, on as many cores."""
    counts = sorted({1, cores})
    rows = []
    for kind in KINDS:
        for who in dict.fromkeys(w.who for w in pick(works, kind)):
            found = [pick(works, kind, who=who, threads=t) for t in counts]
            rows.append((kind, who, *(w[0].ratio if w else "" for w in found)))
    return table(("work", "peer", *(f"{t} core(s)" for t in counts)), rows)


def itself(works: list[Work], cores: int) -> str:
    """fastinit beside memory and beside itself: times per element, then rates."""
    times = [(f"{w.who} / {w.beside}", w) for w in pick(works, "memory")]
    times += [("truncated / normal: what redraws cost", w) for w in pick(works, "redraws")]
    times += [
        (f"a new array on {cores} core(s): {w.who} / numpy.full", w)
        for w in pick(works, "fresh array")
        if w.who != w.beside
    ]
    times += [(f"a shard: {w.who} of 16384 / dense", w) for w in pick(works, "shard")]
    times += [
        (f"a new file in memory on {cores} core(s): {w.who} / {w.beside}", w)
        for w in pick(works, "write")
    ]
    for law in LAWS:
        far = [w for w in pick(works, "size", who=law) if w.n >= 2**14]
        reach = f"of {size(far[0].n)} to {size(far[-1].n)} elements"
        for rank, choose in (("fastest", min), ("slowest", max)):
            w = choose(far, key=lambda w: w.median_ratio)
            times.append((f"{law}: {size(w.n)}, the {rank} {reach}, / 2^20", w))
    rates = [
        (f"{w.who}: {w.extra} / float32", w) for w in pick(works, "dtype") if w.extra != "float32"
    ]
    sets = pick(works, "instruction set float32")
    rates += [
        (f"{w.who}: {w.extra} / {sets[0].extra}", w) for w in sets if w.extra != sets[0].extra
    ]
    rates += [
        (f"{w.who}: {w.threads} threads / 1", w) for w in pick(works, "threads") if w.threads > 1
    ]
    slowest = max(pick(works, "interval"), key=lambda w: w.median_ratio)
    rates.append((f"truncated at {slowest.who}, the slowest bounds, / at [-2, 2]", slowest))
    return "\n\n".join(
        (
            table(("time per element", "ratio"), [(name, w.ratio) for name, w in times]),
            table(("rate", "ratio"), [(name, w.rate_ratio) for name, w in rates]),
        )
    )


def summary(works: list[Work]) -> str:
    """The table of the README: one core, and how many times longer the peers take."""
    rows = []
    for kind in KINDS:
        others = [f"{w.who} {show(w.median_ratio)}x" for w in pick(works, kind, threads=1)]
        rows.append((kind, show(our_rate(works, kind)), ", ".join(others)))
    rows.append(("memset", show(memset_rate(works)), ""))
    return table(("one core", "M elements/s", "how much longer peers take"), rows)


def update_readme(text: str) -> None:
    """Put `text` between the marks in the README."""
    path, begin, end = ROOT / "README.md", "<!-- report -->\n", "<!-- end of report -->\n"
    before, rest = path.read_text().split(begin)
    path.write_text(before + begin + text + end + rest.split(end)[1])


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rates(works: list[Work], group: str) -> str:
    rows = [
        (w.who + (f", {w.extra}" if w.extra else ""), str(w.threads), size(w.n), show(w.rate))
        for w in pick(works, group)
    ]
    return table((group, "threads", "elements", "M elements/s"), rows)


def size(n: int) -> str:
    return f"2^{n.bit_length() - 1}"


def calls(works: list[Work]) -> str:
    rows = [(w.who, f"{statistics.median(w.seconds) * 1e6:.1f} us") for w in pick(works, "call")]
    return table(("call", "time"), rows)


def machine(info: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in info["packages"].items())
    return (
        f"{info['cpu']}, {info['cores']} cores, instruction set {info['isa']}, {info['system']}; "
        f"{info['compiler']}; Python {info['python']}, fastinit {info['fastinit']}, {packages}; "
        f"{info['passes']} passes."
    )


# Pictures.


def save(figure: Any, folder: Path, name: str) -> None:
    figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def bars(works: list[Work], folder: Path) -> None:
    """Rates of everybody on one core, one panel a law, with the line that memory draws."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 3.6))
    memory = memset_rate(works)
    for panel, law in zip(panels, LAWS, strict=True):
        kind = f"{law} float32"
        all_rates = {w.who: w.rate for w in pick(works, kind, threads=1)}
        all_rates["fastinit"] = our_rate(works, kind)
        ordered = sorted(all_rates, key=lambda who: all_rates[who])
        panel.barh(
            [f"{who}   {show(all_rates[who])}" for who in ordered],
            [all_rates[who] for who in ordered],
            color=[OURS if who == "fastinit" else OTHERS for who in ordered],
        )
        panel.axvline(memory, color=LINE, linewidth=1)
        panel.set_title(f"{kind} (line: memset, {show(memory)})", fontsize=10)
        panel.set_xscale("log")
        panel.set_xlim(1, 2e4)
        panel.set_xlabel("M elements/s, one core")
        panel.tick_params(axis="y", labelsize=8)
    figure.tight_layout()
    save(figure, folder, "peers")


def curves(works: list[Work], folder: Path, group: str, xlabel: str, x: str) -> None:
    figure, panel = plt.subplots(figsize=(6.5, 4))
    everything = pick(works, group)
    ticks = sorted({getattr(w, x) for w in everything})
    for who in dict.fromkeys(w.who for w in everything):
        by_x = {getattr(w, x): w.rate for w in everything if w.who == who}
        style = {"color": LINE, "linestyle": "--"} if who == "memset" else {}
        panel.plot(sorted(by_x), [by_x[i] for i in sorted(by_x)], marker="o", label=who, **style)
    if x == "n":
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
    panel.set_xticks(ticks)
    panel.set_xlabel(xlabel)
    panel.set_ylabel("M elements/s, float32")
    panel.grid(alpha=0.3)
    panel.legend()
    save(figure, folder, group)


def tiers(works: list[Work], folder: Path) -> None:
    figure, panel = plt.subplots(figsize=(6.5, 4))
    sets = list(dict.fromkeys(w.extra for w in pick(works, "instruction set float32")))
    for i, law in enumerate(LAWS):
        by_set = {w.extra: w.rate for w in pick(works, "instruction set float32", who=law)}
        places = [place + (i - 1) * 0.27 for place in range(len(sets))]
        drawn = panel.bar(places, [by_set[s] for s in sets], 0.25, label=law)
        panel.bar_label(drawn, [show(by_set[s]) for s in sets], fontsize=7)
    panel.set_xticks(range(len(sets)), sets)
    panel.set_ylabel("M elements/s, float32, one core")
    panel.legend()
    save(figure, folder, "instruction-sets")


def intervals(works: list[Work], folder: Path) -> None:
    figure, panel = plt.subplots(figsize=(6.5, 5))
    drawn = pick(works, "interval")[::-1]
    panel.barh([w.who for w in drawn], [w.rate for w in drawn], color=OURS)
    for y, w in enumerate(drawn):
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
    info, works = raw["machine_info"]["fastinit"], read(raw)
    if folder.resolve() == DOCS and info["tiny"]:
        raise SystemExit("a run with --tiny is no result: give another folder with -o")
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")
    bars(works, folder)
    curves(works, folder, "size", "elements", "n")
    curves(works, folder, "threads", "threads", "threads")
    tiers(works, folder)
    intervals(works, folder)
    pictures = ("peers", "size", "threads", "instruction-sets", "intervals")
    groups = dict.fromkeys(w.group for w in works if w.group != "call")
    parts = [
        "# Speed",
        "Written by `python benchmarks/report.py`; do not edit.",
        machine(info),
        f"Warm memory, {size(pick(works, 'memory')[0].n)} elements, unless said. Each round times a work "
        "and, beside it, what it is compared with: ratios are medians of the rounds, with their "
        "quartiles in brackets. `memset` writes ones: some processors write zeros without moving them. "
        "SciPy and JAX make a new array at each call, PyTorch's `trunc_normal_` temporaries: zeroing "
        "their pages is in their time.",
        "## Time of peers, in times of fastinit's on as many cores",
        peers(works, info["cores"]),
        "## Beside memory, and beside itself",
        itself(works, info["cores"]),
        calls(works),
        "## Pictures",
        *(f"![{name}]({name}.png)" for name in pictures),
        "## Rates",
        *(rates(works, group) for group in groups),
    ]
    (folder / "README.md").write_text("\n\n".join(parts) + "\n")
    if folder.resolve() == DOCS:
        update_readme(f"{machine(info)}\n\n{summary(works)}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="a run's JSON; without it, run now")
    parser.add_argument("-o", "--output", type=Path, default=DOCS)
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
