"""A picture of the tensors of a file, as a PNG: all at a glance, then histograms over their densities."""

from __future__ import annotations

import errno
import math
import os
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastinit.check import Checked, ratio_text, std_limits
from fastinit.checks import counted, printable
from fastinit.initializers import Distribution
from fastinit.limits import ks_limit
from fastinit.measure import REACH, Measured
from fastinit.theory import bounds, cdf, has_theory
from fastinit.write import naming_output

COLUMNS = 4
#: Inches: the width of the picture, the height of the overview with its margins, and that of a row of histograms.
WIDTH, OVERVIEW, ROW = 14.0, 5.9, 2.45
DOTS_PER_INCH = 100
#: Longer names lose their middle.
LONGEST_NAME = 42
#: Characters of a line of flags in a panel, and how many lines.
FLAG_WIDTH, FLAG_LINES = 52, 2
#: Ticks of the overview that have a name.
MOST_TICKS = 12
LONGEST_LAYER = 17
#: Ratios beyond this factor are drawn at the edge.
LARGEST_RATIO = 16.0
BARS, LINE, FLAGGED, ALLOWED = "#9db8d2", "#1f1f1f", "#b3261e", "#e2e6ea"
POINTS, QUIET = "#2f6ca3", "#555555"
#: What the histograms show.
KEY = (
    "Bars: how dense the values are; the outermost hold all that lies beyond. Line: the density that is expected. "
    "The number before a name is that of the overview."
)


def check_drawable(path: Path) -> Any:
    """Refuse, before anything is measured, what cannot be drawn; returns matplotlib's type of figures."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.suffix.lower() != ".png":  # a file of weights, for one, must not become a picture
        raise ValueError(f"the picture must be a file NAME.png, got {str(path)!r}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "histograms need the package matplotlib: pip install matplotlib"
        ) from error
    return Figure


def histograms(checked: Sequence[Checked], path: Path, limit: int = 24) -> str:
    """Draw all tensors at a glance, and the histograms of some under the densities that are expected of them.

    Parameters
    ----------
    checked : sequence of Checked
        From `check_tensors`. The overview has each tensor's standard deviation over that of its
        theory, and its distance over the limit; without any theory, its standard deviation and
        its largest magnitude. Histograms are of flagged tensors first, then of one tensor of each
        kind: of the same shape and name, but for numbers.
    path : Path
        The PNG to write, which appears when it is complete.
    limit : int
        At most so many histograms.

    Returns
    -------
    str
        What the picture shows, and what it does not.

    Raises
    ------
    ImportError
        matplotlib is missing.
    OSError
        The file cannot be written.
    """
    figure_type = check_drawable(path)
    ordered = sorted(checked, key=lambda one: natural(one.name))
    chosen = _choose(ordered, limit)
    rows = -(-len(chosen) // COLUMNS)
    height = OVERVIEW + rows * ROW
    # A figure by itself, without pyplot: no global state, and its canvas is Agg's. Places are given, because
    # finding a layout takes several times as long as drawing.
    figure = figure_type((WIDTH, height), DOTS_PER_INCH)
    words = _choice_words(ordered, chosen)
    _draw_overview(figure, ordered, height)
    numbers = {id(one): i for i, one in enumerate(ordered)}
    if chosen:
        figure.text(0.6 / WIDTH, 1 - (OVERVIEW - 0.45) / height, words, fontsize=13, weight="bold")
        figure.text(0.6 / WIDTH, 1 - (OVERVIEW - 0.2) / height, KEY, fontsize=9, color=QUIET)
    for i, (one, alike) in enumerate(chosen):
        row, column = divmod(i, COLUMNS)
        bottom = height - OVERVIEW - (row + 1) * ROW + 0.5
        left, wide = 0.6 + column * (WIDTH - 0.8) / COLUMNS, (WIDTH - 0.8) / COLUMNS - 0.3
        place = (left / WIDTH, bottom / height, wide / WIDTH, (ROW - 1.15) / height)
        _draw(figure.add_axes(place), one, numbers[id(one)], alike)
    _save(figure, Path(path))
    return words


def natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """A key that sorts names by the numbers in them: layers.2 before layers.10."""
    parts = re.split(r"(\d+)", name)
    return tuple(
        (part.isdecimal(), int(part[:18]) if part.isdecimal() else 0, part) for part in parts
    )


def _kind(one: Checked) -> tuple[object, ...]:
    """What tensors of one kind have in common, and the first words of their flags."""
    shape = one.stored and (one.stored.shape, one.stored.dtype)
    flags = tuple(re.sub(r"[\d.,]+", "", flag)[:12] for flag in one.flags)
    return re.sub(r"\d+", "0", one.name), shape, flags


def _choose(ordered: Sequence[Checked], limit: int) -> list[tuple[Checked, int]]:
    """The tensors whose histograms are drawn, each with the number of tensors of its kind."""
    kinds: dict[tuple[object, ...], list[Checked]] = {}
    for one in ordered:
        if one.flags or _varies(one):
            kinds.setdefault(_kind(one), []).append(one)
    some = [(alike[len(alike) // 2], len(alike)) for alike in kinds.values()]
    flagged = [pair for pair in some if pair[0].flags]
    healthy = [pair for pair in some if not pair[0].flags]
    healthy.sort(key=lambda pair: -pair[0].stored.nbytes if pair[0].stored else 0)
    chosen = [*flagged, *healthy][:limit]
    place = {id(one): i for i, one in enumerate(ordered)}
    return sorted(chosen, key=lambda pair: (not pair[0].flags, place[id(pair[0])]))


def _choice_words(ordered: Sequence[Checked], chosen: Sequence[tuple[Checked, int]]) -> str:
    flagged = sum(bool(one.flags) for one in ordered)
    shown = sum(bool(one.flags) for one, _ in chosen)
    first = f"{shown:,} of {flagged:,} flagged ones, then " if flagged else ""
    return (
        f"{len(chosen):,} of {counted(len(ordered), 'tensor')}: {first}one of each kind "
        "(name without numbers, shape)"
    )


def _varies(one: Checked) -> bool:
    return one.measured is not None and one.measured.min < one.measured.max


def _has_ratio(one: Checked) -> bool:
    found, known = one.measured, one.theory
    return found is not None and found.finite > 0 and known is not None and known.std > 0


# The overview


def _draw_overview(figure: Any, ordered: Sequence[Checked], height: float) -> None:
    has_theory = any(map(_has_ratio, ordered))
    is_shown = _has_ratio if has_theory else _varies
    shown = [(i, one) for i, one in enumerate(ordered) if is_shown(one)]
    flagged = sum(bool(one.flags) for one in ordered)
    others = [one for one in ordered if not is_shown(one)]
    title = f"{counted(len(ordered), 'tensor')} in the order of their names, {flagged:,} flagged"
    figure.text(0.6 / WIDTH, 1 - 0.35 / height, title, fontsize=13, weight="bold")
    figure.text(
        0.6 / WIDTH, 1 - 0.6 / height, _left_out(others, has_theory), fontsize=9, color=QUIET
    )
    top = _overview_axes(figure, height, 2.35, len(ordered))
    bottom = _overview_axes(figure, height, 4.3, len(ordered))
    if has_theory:
        _draw_ratios(top, shown)
        _draw_distances(bottom, shown)
    else:
        _draw_plain(top, shown, lambda m: m.std, "std")
        _draw_plain(bottom, shown, lambda m: max(abs(m.min), abs(m.max)), "largest |value|")
    lost = [i for i, one in enumerate(ordered) if one.flags and not is_shown(one)]
    for axes in (top, bottom):
        if lost:
            low = axes.get_ylim()[0]
            axes.plot(lost, [low] * len(lost), "x", color=FLAGGED, clip_on=False, ms=7)
    ticks = _ticks(ordered)
    top.set_xticks(list(ticks), [])
    labels = [f"{i}\n{name}" for i, name in ticks.items()]
    bottom.set_xticks(list(ticks), labels, fontsize=8, parse_math=False)
    bottom.set_xlabel("number of the tensor, and the layer that begins there", fontsize=9)
    _legend(top, has_theory, bool(flagged), bool(lost))


def _left_out(others: Sequence[Checked], has_theory: bool) -> str:
    missing = sum(one.stored is None for one in others)
    unmeasured = sum(one.stored is not None and one.measured is None for one in others)
    broken = sum(one.measured is not None and not one.measured.finite for one in others)
    constant = sum(
        one.measured is not None
        and one.measured.finite > 0
        and (not _varies(one) or (one.theory is not None and one.theory.std == 0))
        for one in others
    )
    unknown = len(others) - missing - unmeasured - constant - broken
    words = [
        f"{constant:,} constant" * bool(constant),
        f"{broken:,} without a finite value" * bool(broken),
        f"{unknown:,} without theory" * bool(unknown),
        f"{unmeasured:,} not measured" * bool(unmeasured),
        f"{missing:,} missing in the file" * bool(missing),
    ]
    left_out = ", ".join(filter(None, words))
    start = "" if has_theory else "No theory is known: the points show what was measured. "
    return start + (f"Not shown as points: {left_out}." if left_out else "All are shown.")


def _overview_axes(figure: Any, height: float, below: float, count: int) -> Any:
    place = (0.75 / WIDTH, 1 - below / height, (WIDTH - 1.1) / WIDTH, 1.55 / height)
    axes = figure.add_axes(place)
    margin = max(1.0, count / 60)
    axes.set_xlim(-margin, count - 1 + margin)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return axes


def _points(axes: Any, shown: Sequence[tuple[int, Checked]], heights: Sequence[float]) -> None:
    size = max(3.0, 6.0 - len(shown) / 300)
    for is_flagged, color, mark, order in ((False, POINTS, ".", 2), (True, FLAGGED, "o", 3)):
        some = [
            (i, y)
            for (i, one), y in zip(shown, heights, strict=True)
            if bool(one.flags) == is_flagged
        ]
        if some:
            x, y = zip(*some, strict=True)
            axes.plot(x, y, mark, color=color, ms=size, zorder=order, clip_on=False)


def _draw_ratios(axes: Any, shown: Sequence[tuple[int, Checked]]) -> None:
    ratios, low, high = [], [], []
    for _, one in shown:
        assert one.measured is not None
        assert one.theory is not None
        ratios.append(min(max(one.measured.std / one.theory.std, 1 / LARGEST_RATIO), LARGEST_RATIO))
        limits = std_limits(one)
        low.append(max(limits[0], 1 / LARGEST_RATIO))
        high.append(min(limits[1], LARGEST_RATIO))
    axes.vlines(
        [i for i, _ in shown],
        low,
        high,
        color=ALLOWED,
        linewidth=max(0.8, min(8, 600 / len(shown))),
    )
    axes.axhline(1, color=LINE, linewidth=0.7)
    _points(axes, shown, ratios)
    axes.set_ylabel("std / theory", fontsize=9)
    furthest = max(1.1, 1.05 * max(max(r, 1 / r) for r in ratios))
    if furthest < 2:  # else 1/2 and 2 are ticks
        axes.set_ylim(2 - furthest, furthest)
        return
    axes.set_yscale("log")
    axes.set_ylim(1 / furthest, furthest)
    ticks = {
        1 / 16: "≤ 1/16",
        1 / 8: "1/8",
        1 / 4: "1/4",
        1 / 2: "1/2",
        1: "1",
        2: "2",
        4: "4",
        8: "8",
        16: "≥ 16",
    }
    used = {value: text for value, text in ticks.items() if 1 / furthest <= value <= furthest}
    axes.set_yticks(list(used), list(used.values()))
    axes.minorticks_off()


def _draw_distances(axes: Any, shown: Sequence[tuple[int, Checked]]) -> None:
    found = [one.measured for _, one in shown if one.measured is not None]
    ratios = [m.ks / ks_limit(m.finite) for m in found]
    largest = max(ratios)
    axes.axhspan(0.0 if largest <= 2 else 1e-3, 1, color=ALLOWED, linewidth=0)
    axes.axhline(1, color=LINE, linewidth=0.7)
    axes.set_ylabel("KS / limit", fontsize=9)
    if largest <= 2:
        axes.set_ylim(0, max(1.15, 1.05 * largest))
        _points(axes, shown, ratios)
    else:
        axes.set_yscale("log")
        axes.set_ylim(0.03, 1.3 * largest)
        _points(axes, shown, [max(ratio, 0.03) for ratio in ratios])


def _draw_plain(
    axes: Any, shown: Sequence[tuple[int, Checked]], of: Callable[[Measured], float], label: str
) -> None:
    from matplotlib.ticker import LogFormatter

    heights = [of(one.measured) for _, one in shown if one.measured is not None]
    axes.set_ylabel(label, fontsize=9)
    if not heights:
        return
    axes.set_yscale("log")
    # The usual labels, such as 6 x 10^-2, would push the name of the axis out of the picture.
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
    axes.tick_params(which="both", labelsize=8)
    positive = [y for y in heights if y > 0] or [1.0]
    axes.set_ylim(min(positive) / 2, max(positive) * 2)
    _points(axes, shown, [max(y, min(positive)) for y in heights])


def _ticks(ordered: Sequence[Checked]) -> dict[int, str]:
    """The numbers and names at which layers begin, of as many as there is room for."""
    starts: dict[str, int] = {}
    for i, one in enumerate(ordered):
        match = re.match(r"(.*?\d+)(?=\.|$)", one.name)
        starts.setdefault(match[1] if match else one.name.rpartition(".")[0] or one.name, i)
    ticks: dict[int, str] = {}
    free = 0.0
    for name, i in starts.items():
        if i >= free:
            ticks[i] = shortened(printable(name), LONGEST_LAYER)
            free = i + len(ordered) / MOST_TICKS
    return ticks


def _legend(axes: Any, has_theory: bool, flagged: bool, lost: bool) -> None:
    from matplotlib.lines import Line2D

    def mark(shape: str, color: str, label: str, size: float = 6) -> Any:
        return Line2D([], [], marker=shape, color=color, linestyle="", ms=size, label=label)

    handles = [mark(".", POINTS, "a tensor")]
    handles += [mark("o", FLAGGED, "a flagged tensor")] if flagged else []
    handles += [mark("x", FLAGGED, "flagged, has no value here")] if lost else []
    handles += [mark("s", ALLOWED, "what chance allows", 8)] if has_theory else []
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1.0),
        ncols=4,
        fontsize=8,
        frameon=False,
    )


# The histograms


def _draw(axes: Any, one: Checked, number: int, alike: int) -> None:
    color = FLAGGED if one.flags else LINE
    lines = textwrap.wrap("; ".join(map(printable, one.flags)), FLAG_WIDTH)
    lines += [f"1 of {alike:,} alike"] if alike > 1 else []
    if len(lines) > FLAG_LINES:
        lines[FLAG_LINES - 1] = f"{lines[FLAG_LINES - 1][: FLAG_WIDTH - 2]}\N{HORIZONTAL ELLIPSIS}"
    # parse_math: a dollar sign in a name is a dollar sign.
    text = {"transform": axes.transAxes, "fontsize": 7.5, "parse_math": False, "va": "top"}
    name = f"{number}  {shortened(printable(one.name), LONGEST_NAME)}"
    axes.text(0, 1.42, name, color=color, weight="bold", **(text | {"fontsize": 8}))
    axes.text(0, 1.28, "\n".join(lines[:FLAG_LINES]), color=color, **text)
    axes.set_yticks([])
    axes.spines[["top", "left", "right"]].set_visible(False)
    if _varies(one):
        _draw_bars(axes, one)
        axes.text(0, 0.99, _numbers(one), color=LINE, linespacing=1.3, **(text | {"fontsize": 7}))
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.5, _instead(one), ha="center", color=QUIET, **text)


def _instead(one: Checked) -> str:
    if one.stored is None:
        return "missing in the file"
    if one.measured is None or not one.measured.finite:
        return "not measured" if one.measured is None else "no finite value"
    return f"all values are {one.measured.min:.6g}"


def _numbers(one: Checked) -> str:
    found, stored, known = one.measured, one.stored, one.theory
    assert found is not None  # of what varies
    assert stored is not None
    shape = "x".join(map(str, stored.shape))
    text = f"{stored.dtype} {shape}, mean {found.mean:.3g}, std {found.std:.4g}"
    if known is None or not known.std:
        return text
    if math.isnan(found.ks):
        return f"{text}\nstd / theory {ratio_text(found.std / known.std)}"
    ratio, distance = found.std / known.std, found.ks / ks_limit(found.finite)
    return f"{text}\nstd / theory {ratio_text(ratio)}, KS / limit {distance:.2g}"


def _draw_bars(axes: Any, one: Checked) -> None:
    found = one.measured
    assert found is not None  # `_varies` left out the others
    low, high = _shown_range(one, found)
    counts, edges = _shown_bars(found, low, high)
    heights = counts / (max(1, found.finite) * np.diff(edges))
    axes.stairs(heights, edges, fill=True, color=BARS)
    highest = float(heights.max())
    known = one.theory
    if (
        one.distribution is not None
        and known is not None
        and known.std > 0
        and has_theory(one.distribution)
    ):
        x, density = _density(one.distribution, low, high)
        axes.plot(x, density, color=LINE, linewidth=1)
        highest = max(highest, min(float(density.max()), 4 * highest))
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1.45 * highest if math.isfinite(highest) and highest > 0 else 1)
    axes.tick_params(axis="x", labelsize=7)
    axes.xaxis.get_major_locator().set_params(nbins=4)
    axes.xaxis.get_offset_text().set_fontsize(7)
    axes.ticklabel_format(axis="x", scilimits=(-3, 4), useOffset=True)


def _shown_bars(found: Measured, low: float, high: float) -> tuple[Any, Any]:
    """The counts and edges of the bins between `low` and `high`; the outermost hold all that lies beyond."""
    first = int(np.searchsorted(found.edges, low))
    last = int(np.searchsorted(found.edges, high, "right")) - 1
    if last <= first:
        return found.counts, found.edges
    counts, edges = found.counts[first:last].copy(), found.edges[first : last + 1].copy()
    if first > 0:
        counts[0] += found.counts[:first].sum()
        edges[0] = low
    if last < found.counts.size:
        counts[-1] += found.counts[last:].sum()
        edges[-1] = high
    return counts, edges


def _shown_range(one: Checked, found: Measured) -> tuple[float, float]:
    """All bars and a margin, and the density between its bounds, up to 4 standard deviations from the mean."""
    used = np.flatnonzero(found.counts)
    low, high = float(found.edges[used[0]]), float(found.edges[used[-1] + 1])
    known = one.theory
    if one.distribution is not None and known is not None and known.std > 0:
        lowest, highest = bounds(one.distribution, one.stored.dtype if one.stored else None)
        low = min(low, max(lowest, known.mean - 4 * known.std))
        high = max(high, min(highest, known.mean + 4 * known.std))
        low = max(low, known.mean - REACH * known.std)
        high = min(high, known.mean + REACH * known.std)
    margin = (high - low) / 30
    return low - margin, high + margin


def _density(distribution: Distribution, low: float, high: float) -> tuple[Any, Any]:
    edges = np.linspace(low, high, 257)
    return (edges[1:] + edges[:-1]) / 2, np.diff(cdf(distribution, edges)) / np.diff(edges)


def shortened(name: str, length: int) -> str:
    """`name` without its middle, if it has more than `length` characters."""
    if len(name) <= length:
        return name
    kept = length - 1
    return f"{name[: kept // 2]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - math.ceil(kept / 2) :]}"


def _save(figure: Any, path: Path) -> None:
    partial = path.with_name(f".fastinit.{os.getpid()}.partial")
    with naming_output(path), open(partial, "xb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about characters of names that the font lacks
        try:
            figure.savefig(file, format="png")
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
