"""Histograms of the tensors of a file over the densities of their initializers, as a PNG."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastinit.check import Checked
from fastinit.initializers import Distribution
from fastinit.measure import REACH, Measured
from fastinit.theory import bounds, cdf
from fastinit.write import naming_output

COLUMNS = 4
PANEL_INCHES = (3.4, 2.5)
DOTS_PER_INCH = 110
#: Longer names lose their middle.
LONGEST_NAME = 44
BARS, LINE, FLAGGED = "#9db8d2", "#1f1f1f", "#b3261e"


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


def histograms(checked: Sequence[Checked], path: Path, limit: int = 24) -> None:
    """Draw the histograms of tensors, each under the density that is expected of it.

    Parameters
    ----------
    checked : sequence of Checked
        From `check_tensors`. Flagged tensors come first, then the largest; constants and
        tensors that were not measured are left out.
    path : Path
        The PNG to write, which appears when it is complete.
    limit : int
        At most so many histograms.

    Raises
    ------
    ImportError
        matplotlib is missing.
    OSError
        The file cannot be written.
    """
    figure_type = check_drawable(path)
    chosen = _choose(checked, limit)
    columns = min(COLUMNS, max(1, len(chosen)))
    rows = max(1, -(-len(chosen) // columns))
    # A figure by itself, without pyplot: no global state, and its canvas is Agg's.
    figure = figure_type(
        (columns * PANEL_INCHES[0], rows * PANEL_INCHES[1]), DOTS_PER_INCH, layout="constrained"
    )
    if not chosen:
        figure.text(0.5, 0.5, "only constants: nothing to draw", ha="center", va="center")
    for i, one in enumerate(chosen):
        _draw(figure.add_subplot(rows, columns, i + 1), one)
    _save(figure, Path(path))


def _choose(checked: Sequence[Checked], limit: int) -> list[Checked]:
    drawn = [one for one in checked if one.measured is not None and _varies(one.measured)]
    return sorted(drawn, key=lambda one: (not one.flags, -one.stored.nbytes if one.stored else 0))[
        :limit
    ]


def _varies(measured: Measured) -> bool:
    return measured.min < measured.max


def _draw(axes: Any, one: Checked) -> None:
    found = one.measured
    assert found is not None  # _choose left out the others
    widths = np.diff(found.edges)
    heights = found.counts / (max(1, found.finite) * widths)
    axes.bar(found.edges[:-1], heights, widths, align="edge", color=BARS)
    low, high = _shown_range(one, found)
    if one.distribution is not None and one.theory is not None and one.theory.std > 0:
        axes.plot(*_density(one.distribution, low, high), color=LINE, linewidth=1)
    axes.set_xlim(low, high)
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=7)
    axes.xaxis.get_major_locator().set_params(nbins=5)
    axes.xaxis.get_offset_text().set_fontsize(7)
    axes.ticklabel_format(axis="x", scilimits=(-3, 4), useOffset=True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    flags = f"\n{len(one.flags)} flag{'s' if len(one.flags) > 1 else ''}" if one.flags else ""
    color = FLAGGED if one.flags else LINE
    # parse_math: a dollar sign in a name is a dollar sign.
    title = f"{shortened(one.name, LONGEST_NAME)}{flags}"
    axes.set_title(title, fontsize=8, color=color, parse_math=False)


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
    edges = np.linspace(low, high, 513)
    return (edges[1:] + edges[:-1]) / 2, np.diff(cdf(distribution, edges)) / np.diff(edges)


def shortened(name: str, length: int) -> str:
    """`name` without its middle, if it has more than `length` characters."""
    if len(name) <= length:
        return name
    kept = length - 1
    return f"{name[: kept // 2]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - math.ceil(kept / 2) :]}"


def _save(figure: Any, path: Path) -> None:
    partial = path.with_name(f".fastinit.{os.getpid()}.partial")
    with naming_output(path), open(partial, "xb") as file:
        try:
            figure.savefig(file, format="png")
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
