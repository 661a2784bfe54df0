"""Stretches of one repeated value, and pages that repeat, found in a tensor while it is read."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Bytes of the shortest run that is kept: a sector of a disk.
SHORTEST_RUN = 512
#: How many runs are kept, the longest.
MOST_RUNS = 64
#: Words of 8 bytes from one sample to the next: two samples at least lie in a run of 512 bytes.
SAMPLED = 31
#: Elements that are searched for runs at a time, which bounds the memory.
BLOCK = 2**15
#: Bytes of the smallest page, how many pages of a tensor are compared, and how many first bytes of each.
PAGE, MOST_PAGES, KEY = 4096, 2**16, 64
#: First bytes of pages are hashed when those of so many are there.
MOST_HEADS = 2048


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of one value: the elements from `start` up to `stop`, in C order.

    `share` is at least the fraction of all values of the tensor that equal it.
    """

    start: int
    stop: int
    value: float
    share: float

    @property
    def size(self) -> int:
        """How many elements it has."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Repeat:
    """`count` pages of a tensor begin like an earlier one; the first does so from element `start`, like that from `first`.

    `compared` is how many elements of a page were compared, `collision` at least the probability
    that two elements are equal, and `pages` the number of all pages.
    """

    start: int
    first: int
    count: int
    pages: int
    compared: int
    collision: float


class Runs:
    """Finds runs of at least `SHORTEST_RUN` bytes of one bit pattern in what is read into a buffer, part by part."""

    def __init__(self, itemsize: int, buffer: bytearray) -> None:
        kind = np.dtype(f"<u{itemsize}")
        self.least = SHORTEST_RUN // itemsize
        self.count = self.total = 0
        # Views are made once: with a new one for each part, small dtypes would take 5 % longer.
        self._codes = np.frombuffer(buffer, kind, len(buffer) // itemsize)
        words = np.frombuffer(buffer, "<u8", len(buffer) // 8)
        self._samples, self._next_samples = words[:-SAMPLED:SAMPLED], words[SAMPLED::SAMPLED]
        self._equal = np.empty(self._samples.size, np.bool_)
        self._kept: list[tuple[int, int, int]] = []  # a heap of length, -start and bit pattern
        self._start = self._next = 0  # the run at the end of what was read, and that end
        self._code = -1

    def add(self, count: int, at: int) -> None:
        """Look at the first `count` elements of the buffer, which begin with number `at`; the padding row may be left out."""
        codes = self._codes[:count]
        if at != self._next:
            self._end(self._next)
            self._start, self._code = at, -1
        if count <= 2 * self.least or self._are_equal(codes.nbytes // 8):
            for begin in range(0, count, BLOCK):
                self._scan(codes[begin : begin + BLOCK], at + begin)
        else:  # a run may end or begin here, but none lies within
            if codes[0] == self._code:
                self._scan(codes[: self.least], at)
            else:
                self._end(at)
            self._start, self._code = at + count - 1, int(codes[-1])
            if codes[-2] == codes[-1]:
                self._start, self._code = at + count - self.least, -1
                self._scan(codes[-self.least :], self._start)
        self._next = at + count

    def _are_equal(self, words: int) -> bool:
        """Whether two neighbouring samples are the same, as rarely happens with random values."""
        pairs = max(0, (words - 1) // SAMPLED)
        equal = np.equal(self._samples[:pairs], self._next_samples[:pairs], out=self._equal[:pairs])
        return bool(equal.any())

    def _scan(self, codes: NDArray[Any], at: int) -> None:
        edges = np.flatnonzero(codes[1:] != codes[:-1]) + 1
        if codes[0] != self._code:
            self._end(at)
            self._start, self._code = at, int(codes[0])
        if not edges.size:
            return
        self._end(at + int(edges[0]))
        lengths = np.diff(edges)
        for i in np.flatnonzero(lengths >= self.least).tolist():
            self._keep(at + int(edges[i]), int(lengths[i]), int(codes[edges[i]]))
        self._start, self._code = at + int(edges[-1]), int(codes[-1])

    def _end(self, stop: int) -> None:
        if stop - self._start >= self.least:
            self._keep(self._start, stop - self._start, self._code)

    def _keep(self, start: int, length: int, code: int) -> None:
        self.count += 1
        self.total += length
        one = (length, -start, code)
        if len(self._kept) < MOST_RUNS:
            heapq.heappush(self._kept, one)
        else:
            heapq.heappushpop(self._kept, one)

    def finish(self) -> list[tuple[int, int, int]]:
        """The longest runs in their order: first element, the one after the last, bit pattern."""
        self._end(self._next)
        self._start = self._next
        return sorted((-start, length - start, code) for length, start, code in self._kept)


def _odd_numbers(count: int) -> NDArray[np.uint64]:
    """Outputs of SplitMix64 (Steele, Lea, Flood 2014), made odd."""
    numbers = []
    for i in range(1, count + 1):
        z = i * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        numbers.append((z ^ z >> 31) | 1)
    return np.array(numbers, np.uint64)


_FACTORS = _odd_numbers(KEY // 8)[:, None]


class Pages:
    """Finds pages that begin like an earlier one; pages that begin with one repeated value are left out."""

    def __init__(self, nbytes: int, buffer: bytearray) -> None:
        self.step = PAGE
        while self.step * MOST_PAGES < nbytes:
            self.step *= 2
        self.count = 0
        self._buffer = buffer
        most = min(MOST_HEADS, nbytes // self.step + 1)
        # A row for each word: NumPy is slow with rows of 8 elements.
        self._heads = np.empty((KEY // 8, most), np.uint64)
        self._numbers, self._at = np.arange(most), np.empty(most, np.int64)
        self._held = 0
        self._keys: list[NDArray[np.uint64]] = []
        self._where: list[NDArray[np.int64]] = []

    def add(self, nbytes: int, at: int) -> None:
        """Look at the first bytes of the buffer, which begin with number `at` of the tensor."""
        first = -at % self.step
        count = (nbytes - first - KEY) // self.step + 1
        while count > 0:
            if self._held == self._at.size:
                self._hash()
            some = min(count, self._at.size - self._held)
            held = slice(self._held, self._held + some)
            shape, strides = (KEY // 8, some), (8, self.step)
            self._heads[:, held] = np.ndarray(shape, "<u8", self._buffer, first, strides)
            self._at[held] = (at + first) // self.step + self._numbers[:some]
            self._held += some
            first, count = first + some * self.step, count - some

    def _hash(self) -> None:
        heads, at = self._heads[:, : self._held], self._at[: self._held]
        varied = (heads[1:] != heads[0]).any(axis=0)
        self.count += self._held
        mixed = heads[:, varied] * _FACTORS
        mixed ^= mixed >> np.uint64(32)  # a linear hash would have structured values collide
        self._keys.append((mixed * _FACTORS).sum(axis=0, dtype=np.uint64))
        self._where.append(at[varied])
        self._held = 0

    def finish(self) -> tuple[int, int, int] | None:
        """Where the first such page and the one that it repeats begin, in bytes, and how many pages do so."""
        self._hash()
        keys, at = np.concatenate(self._keys), np.concatenate(self._where)
        ordered = np.sort(keys)
        if not (ordered[1:] == ordered[:-1]).any():
            return None
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        late = np.flatnonzero(first[which] < np.arange(keys.size))
        start, before = int(at[late[0]]), int(at[first[which[late[0]]]])
        return start * self.step, before * self.step, int(late.size)
