"""Tensors that repeat an earlier one of the same file, or are multiples of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import without_middle
from fastinit.files import Stored
from fastinit.measure import SHORTEST_HEAD, Measured

#: From this correlation on, one tensor is a multiple of another. That of 64 independent values is so large
#: with a probability of (1 - r**2)**31 or 4e-44; rounding a copy to float8_e5m2 costs less than 0.01.
PROPORTIONAL = 0.98
#: A copy in another dtype has a factor that is this near to 1; float8_e5m2 rounds by 1/16 on average.
ROUNDED = 0.01
#: Bytes that are read at a time of each of two tensors.
COMPARED_BYTES = 2**20


def copies(
    stored: Sequence[Stored], measured: Sequence[Measured | None], origins: Sequence[object]
) -> dict[int, str]:
    """By the number of a tensor, a sentence that names the first before it of the same values or of multiples.

    `origins` say where in which stream tensors begin, None where that is not known: those of one
    origin are meant to be alike.
    """
    flags: dict[int, str] = {}
    first: dict[tuple[str, bytes], int] = {}
    heads: dict[int, NDArray[np.float32]] = {}
    for i, (where, found) in enumerate(zip(stored, measured, strict=True)):
        if found is None or found.min == found.max or not found.finite:
            continue
        other = first.setdefault((where.dtype, found.digest), i)
        meant = origins[i] is not None and origins[i] == origins[other]
        if other != i and found.size >= 16 and not meant:  # so that chance has no part in it
            flags[i] = f"repeats {without_middle(stored[other].name)}"
        # Of a few lengths, however many sizes there are: each length is compared with all that are longer.
        elif _is_spread(head := found.head[: 1 << found.head.size.bit_length() >> 1]):
            heads[i] = head
    for i, j, length, r in _proportional(heads):
        if origins[i] is not None and origins[i] == origins[j]:
            continue
        late, early = heads[i][:length], heads[j][:length]
        flags[i] = _repeated_words(stored[i], stored[j], late, early) or (
            f"proportional to {without_middle(stored[j].name)}: {_factor(late, early):.4g} times its "
            f"values, correlation {r:.4f} of the first {length}"
        )
    return flags


def _repeated_words(
    stored: Stored, other: Stored, late: NDArray[np.float32], early: NDArray[np.float32]
) -> str:
    """What to say if the values that are kept of both are the same; nothing if they differ."""
    name = without_middle(other.name)
    if stored.dtype != other.dtype:
        is_rounded = abs(_factor(late, early) - 1) < ROUNDED
        return f"repeats values of {name} in another dtype" if is_rounded else ""
    if not np.array_equal(late, early) or (n := _common(stored, other)) < late.size:
        return ""
    size = math.prod(stored.shape)
    if n == size:
        return f"repeats the first {n:,} values of {name}"
    return f"its first {n:,} of {size:,} values repeat those of {name}"


def _factor(late: NDArray[np.float32], early: NDArray[np.float32]) -> float:
    """The factor between the deviations of both from their means."""
    x, y = (head.astype(np.float64) - head.mean(dtype=np.float64) for head in (early, late))
    scale = float(np.abs(x).max())
    return float((x / scale) @ (y / scale)) / float((x / scale) @ (x / scale))


def _common(stored: Stored, other: Stored) -> int:
    """How many values two tensors of one dtype begin with that are the same to the bit."""
    itemsize = DTYPE_SIZES[stored.dtype]
    nbytes = min(stored.nbytes, other.nbytes)
    for begin in range(0, nbytes, COMPARED_BYTES):
        size = min(COMPARED_BYTES, nbytes - begin)
        one, two = (
            np.fromfile(s.path, np.uint8, size, offset=s.offset + begin) for s in (stored, other)
        )
        if one.size < size or two.size < size:
            return begin // itemsize  # a file that ended since
        if (different := np.flatnonzero(one != two)).size:
            return (begin + int(different[0])) // itemsize
    return nbytes // itemsize


def _is_spread(head: NDArray[np.float32]) -> bool:
    """Whether the values can tell a tensor: enough, finite, and not all of the sum in a few of them."""
    if head.size < SHORTEST_HEAD or not np.isfinite(head).all():
        return False
    d = head.astype(np.float64)
    d -= d.mean()
    largest = np.abs(d).max()
    if not largest > 1e-300:
        return False
    d /= largest
    squares = d * d
    return bool(squares.sum() ** 2 >= 16 * (squares @ squares))


def _proportional(heads: dict[int, NDArray[np.float32]]) -> Iterator[tuple[int, int, int, float]]:
    """Tensors that are multiples of an earlier one, by the values that both have: (i, first j, how many, r)."""
    found: dict[int, tuple[int, int, float]] = {}
    for length in {head.size for head in heads.values()}:
        longer = np.array([i for i, head in heads.items() if head.size >= length])
        unit = np.stack([_unit(heads[i][:length]) for i in longer])
        # Pairs whose shorter head has this length: rows of it against all.
        rows = np.flatnonzero([heads[i].size == length for i in longer])
        for begin in range(0, rows.size, 256):
            some = rows[begin : begin + 256]
            r = unit[some] @ unit.T
            near = np.abs(r) > PROPORTIONAL
            before = near & (longer[None, :] < longer[some, None])
            after = near & (longer[None, :] > longer[some, None])
            firsts = [(some[k], int(before[k].argmax())) for k in np.flatnonzero(before.any(1))]
            firsts += [(k, some[int(after[:, k].argmax())]) for k in np.flatnonzero(after.any(0))]
            for late, early in firsts:
                i, j = int(longer[late]), int(longer[early])
                if i not in found or j < found[i][0]:
                    found[i] = j, length, float(unit[late] @ unit[early])
    return ((i, *what) for i, what in found.items())


def _unit(head: NDArray[np.float32]) -> NDArray[np.float32]:
    """The deviations from the mean, with a sum of squares of 1."""
    d = head.astype(np.float64)
    d -= d.mean()
    largest = float(np.abs(d).max()) or 1.0
    d /= largest
    return (d / (math.sqrt(float(d @ d)) or 1.0)).astype(np.float32)
