"""Whether stored tensors are, to the bit, what their initializers and a seed give."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from fastinit.checks import check_callback, check_int, shortened
from fastinit.dtypes import stored_dtype
from fastinit.files import Stored
from fastinit.tensor import Tensor
from fastinit.threads import Progress, get_num_threads, share
from fastinit.write import PIECE, Source


def index_of(element: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of an element in C order; not by NumPy, which has fewer axes than files may have."""
    where: list[int] = []
    for size in reversed(shape):
        element, index = divmod(element, size)
        where.insert(0, index)
    return tuple(where)


def first_difference(stored: Stored, source: Source, begin: int) -> int | None:
    """The first element that differs from its description in the `PIECE` bytes from byte `begin` on, if one does."""
    size = min(PIECE, stored.nbytes - begin)
    expected = np.empty(size, np.uint8)
    source.fill(expected, begin)
    got = np.fromfile(stored.path, np.uint8, size, offset=stored.offset + begin)
    if got.size < size:
        raise ValueError(f"{stored.path}: {shortened(stored.name)}: the file ends early")
    different = got != expected
    at = int(different.argmax())  # the first, if there is one
    if not different[at]:
        return None
    bits = int(got[at] ^ expected[at])
    lowest = (bits & -bits).bit_length() - 1
    return ((begin + at) * 8 + lowest) // stored_dtype(stored.dtype).bits


def differences(
    pairs: Sequence[tuple[Stored, Tensor]],
    seed: int,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """A line for each stored tensor that differs from its description, with the first element that does.

    Streams through the files; memory is three pieces of 1 MiB for each thread, four where tensors are transposed, and
    8 bytes a piece.
    """
    check_callback("progress", progress)
    threads = get_num_threads() if threads is None else check_int("threads", threads, 1)
    found = {}
    same = []  # in dtype and shape
    for number, (stored, tensor) in enumerate(pairs):
        if (stored.dtype, stored.shape) != (tensor.dtype, tensor.shape):
            got, wanted = ((x.dtype, x.shape) for x in (stored, tensor))
            found[number] = f"{got[0]} {got[1]}, expected {wanted[0]} {wanted[1]}"
            continue
        same.append((number, Source(tensor, seed)))
    sizes = [source.tensor.nbytes for _, source in same]
    total = sum(sizes)
    first_piece = [0, *accumulate(-(-size // PIECE) for size in sizes)]
    first: dict[int, int] = {}
    counting = threading.Lock()
    compared = 0

    def compare(i: int) -> None:
        nonlocal compared
        job = bisect_right(first_piece, i) - 1
        number, source = same[job]
        stored, tensor = pairs[number]
        begin = (i - first_piece[job]) * PIECE
        element = first_difference(stored, source, begin)
        with counting:
            compared += min(PIECE, tensor.nbytes - begin)
            if element is not None:
                first[number] = min(element, first.get(number, element))

    report = None if progress is None else lambda _: progress(compared, total)
    share(compare, first_piece[-1], threads, report)
    for number, element in first.items():
        found[number] = f"differs from element {index_of(element, pairs[number][1].shape)} on"
    return [f"{shortened(pairs[number][0].name)}: {text}" for number, text in sorted(found.items())]
