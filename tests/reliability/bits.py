"""Random fills, each made in several ways that must give the same bits: for as long as one likes.

    python tests/reliability/bits.py --seed 1 --minutes 30
    python tests/reliability/bits.py --seed 1 --cases 500 --isa scalar --threads 3
    python tests/reliability/bits.py --seed 1 --cases 500 --oracle

A case is a law, a dtype, a seed, a stream, a shape and an index, all drawn from (--seed, number of the case)
alone. It is made on every instruction set (or the one of --isa) and compared with itself

- filled into memory of any order, gaps, direction and alignment, by 1 to 8 threads, the bytes around it included;
- put together from shards, of a random grid;
- written by the kernel over a random split of its positions;
- in the NumPy oracle: all elements of small cases, a sample of others.

The last line is the SHA-256 of the little-endian bytes of all cases in order. It depends on --seed, --first and
the number of cases alone; with --oracle it is that of the NumPy oracle, and the kernel makes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
import fastinit as fi
import reference
from fastinit import _kernel
from fastinit.fill import TASK

inf = math.inf
GUARD = 64  # bytes around an output
BYTE = 0xA5  # what memory holds before a fill
ORACLE_ALL, ORACLE_SAMPLE = 3000, 500  # elements
STREAMS = ("", "w", "layers.0.mlp.up", "π", "x" * 300, 0, 2**70)


@dataclass(frozen=True)
class Axis:
    """What an index takes of an axis of `n`: the positions, and whether the axis stays."""

    n: int
    positions: range
    kept: bool

    def item(self, draw: Random) -> Any:
        """An index that means it, in one of its spellings."""
        r = self.positions
        if not self.kept:
            return r[0] - draw.choice([0, self.n])
        if not r:
            return slice(0, 0)
        start: int | None = r[0]
        stop: int | None = r[-1] + (1 if r.step > 0 else -1)
        if stop == -1:
            stop = None
        elif stop < self.n and draw.random() < 0.3:  # type: ignore[operator]
            stop -= self.n  # type: ignore[operator]
        if draw.random() < 0.3:
            start = r[0] - self.n
        return slice(start, stop, r.step)


@dataclass(frozen=True)
class Case:
    law: str
    parameters: tuple[float, ...]
    dtype: str
    seed: int
    stream: str | int
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.n for axis in self.axes)

    @property
    def part(self) -> tuple[int, ...]:
        """The shape of what the index takes."""
        return tuple(len(axis.positions) for axis in self.axes if axis.kept)

    @property
    def key(self) -> int:
        return reference.stream_key(self.seed, self.stream)

    @property
    def initializer(self) -> fi.Distribution:
        if self.law != "truncated_normal":
            return {"uniform": fi.Uniform, "normal": fi.Normal}[self.law](*self.parameters)
        mean, stddev, lower, upper = self.parameters
        return fi.TruncatedNormal(mean, stddev, lower=lower, upper=upper)

    @property
    def proposal(self) -> str:
        """Of the law, as the header names it; those of reflected intervals apart."""
        if self.law != "truncated_normal" or self.parameters[1] == 0:
            return self.law
        chosen = reference.choose_proposal(self.dtype, *self.parameters)
        name = chosen.candidates.__name__
        return f"{name}, reflected" if self.parameters[3] <= 0 else name

    def steps(self) -> tuple[int, list[int]]:
        """The first element, and elements from one position to the next along each axis."""
        strides = [math.prod(self.shape[k + 1 :]) for k in range(len(self.axes))]
        first = sum(a.positions.start * s for a, s in zip(self.axes, strides, strict=True))
        return first, [a.positions.step * s for a, s in zip(self.axes, strides, strict=True)]

    def elements(self) -> np.ndarray:
        """The flat indices in the whole tensor, in the order of the part."""
        first, steps = self.steps()
        e = np.array([first % 2**64], np.uint64)
        for axis, step in zip(self.axes, steps, strict=True):
            along = np.arange(len(axis.positions), dtype=np.uint64) * np.uint64(step % 2**64)
            e = (e[:, None] + along).reshape(-1)
        return e

    def oracle(self, e: np.ndarray) -> np.ndarray:
        """The bits of these elements from the NumPy oracle (it adds 0 to n - 1 to the index: e alone for n = 1)."""
        make = getattr(reference, self.law)
        values = make(self.dtype, self.key, e, 1, *self.parameters)
        return values.view(f"u{values.dtype.itemsize}")


def draw_parameters(draw: Random) -> tuple[str, tuple[float, ...]]:
    """A law: each proposal often, and any bounds, means and scales, those at the ends of the range included."""
    kind = draw.choice(
        ["uniform", "normal", "truncated", "half", "narrow", "exponential", "tail", "any"]
    )
    scale = 10 ** (draw.uniform(-46, 38) if draw.random() < 0.25 else draw.uniform(-4, 2))
    mean = draw.choice([0.0, 0.0, scale * draw.gauss(0, 3), draw.gauss(0, 10)])
    if kind == "uniform":
        return kind, (mean - scale * draw.random(), mean + scale * draw.choice([0, draw.random()]))
    if kind == "normal":
        return kind, (mean, draw.choice([0.0, *[scale] * 9]))
    lower = {
        "truncated": draw.choice([-inf, -draw.uniform(1.3, 9)]),
        "half": draw.choice([0.0, draw.uniform(0, 0.25)]),
        "narrow": draw.uniform(-3, 3),
        "exponential": draw.uniform(0.25, 1.5),
        "tail": 10 ** draw.uniform(math.log10(1.5), draw.choice([1, 40])),
        "any": draw.choice([-inf, draw.gauss(0, 2), 10 ** draw.uniform(-300, 300)]),
    }[kind]
    upper = {
        "truncated": draw.choice([inf, draw.uniform(1.3, 9)]),
        "narrow": lower + 10 ** draw.uniform(-7, 0.4),
    }.get(kind, lower + draw.choice([inf, 10 ** draw.uniform(-7, 2), draw.uniform(1, 9)]))
    if lower == -inf and kind == "any":
        upper = draw.choice([inf, draw.gauss(0, 2)])
    if draw.random() < 0.5:
        lower, upper = -upper, -lower
    near = lower if abs(lower) < abs(upper) else upper
    if draw.random() < 0.1 and abs(near * scale) < inf:
        mean = -near * scale  # the bound cancels
    return "truncated_normal", (mean, scale, lower, upper)


def draw_law(draw: Random) -> tuple[str, tuple[float, ...], str]:
    """A law and a dtype that the library accepts."""
    while True:
        law, parameters = draw_parameters(draw)
        dtype = draw.choice(list(_kernel.DTYPE_SIZES))
        try:
            getattr(_kernel, law)(dtype, *parameters)
        except ValueError:  # bounds without a value between, or values beyond the dtype's range
            continue
        return law, parameters, dtype


def draw_shape(draw: Random) -> tuple[list[int], int]:
    """A shape, and about how many of its elements an index may take."""
    kind = draw.choices(["small", "medium", "large", "huge"], [40, 24, 4, 32])[0]
    if kind == "small":
        return [draw.choice([0, 1, *range(1, 10)]) for _ in range(draw.randrange(6))], 10**5
    if kind == "huge":  # up to 2^64 elements
        bits = draw.choice([64, draw.randint(20, 64)])
        cuts = sorted(draw.choices(range(bits + 1), k=draw.randrange(5)))
        widths = [b - a for a, b in itertools.pairwise([0, *cuts, bits])]
        return [2**w - (draw.randrange(2**w) // 3 if w < bits else 0) for w in widths], 2000
    size = draw.randrange(1, 20_000) if kind == "medium" else draw.randrange(TASK, 4 * TASK)
    shape = []
    for _ in range(draw.randrange(3)):
        shape.append(draw.randint(1, max(1, round(size**0.6))))
        size = max(1, size // shape[-1])
    return draw.sample([*shape, size], len(shape) + 1), 4 * TASK


def draw_axis(draw: Random, n: int, most: int) -> Axis:
    """At most `most` positions of an axis."""
    if n and draw.random() < 0.2:
        at = draw.choice([0, n - 1, draw.randrange(n)])
        return Axis(n, range(at, at + 1), kept=False)
    if n <= most and draw.random() < 0.5:
        return Axis(n, range(n), kept=True)
    count = draw.randint(0 if draw.random() < 0.05 else min(n, 1), min(n, most))
    if count == 0:
        return Axis(n, range(0), kept=True)
    widest = max(1, (n - 1) // max(1, count - 1))
    step = draw.choice([1, 1, draw.randint(1, min(widest, 5)), draw.randint(1, widest)])
    span = step * (count - 1)
    start = draw.choice([0, n - 1 - span, draw.randrange(n - span)])
    positions = range(start, start + span + 1, step)
    return Axis(n, positions[::-1] if draw.random() < 0.3 else positions, kept=True)


def draw_case(seed: int, number: int) -> Case:
    draw = Random(f"{seed}/{number}")
    law, parameters, dtype = draw_law(draw)
    shape, room = draw_shape(draw)
    whole = math.prod(shape) <= room and draw.random() < 0.4
    axes = {}
    for k in draw.sample(range(len(shape)), len(shape)):
        n = shape[k]
        axes[k] = Axis(n, range(n), kept=True) if whole else draw_axis(draw, n, max(1, room))
        room //= max(1, len(axes[k].positions))
    return Case(
        law,
        parameters,
        dtype,
        seed=draw.choice([0, 1, 2**64 - 1, draw.randrange(2**64), draw.randrange(2**64)]),
        stream=draw.choice(STREAMS),
        axes=tuple(axes[k] for k in range(len(shape))),
    )


class Differs(Exception):
    pass


def bits(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}").reshape(a.shape)


class Ways:
    """The ways to make a case; how each goes about it is random too, but cannot be seen in the bits."""

    def __init__(self, case: Case, isas: tuple[str, ...], threads: int | None, way: Random) -> None:
        self.case, self.isas, self.way = case, isas, way
        self._threads = threads
        self.layout = ""

    def options(self) -> dict[str, Any]:
        """Seed, stream and threads; and an instruction set for the fill that they are for."""
        fi.set_isa(self.way.choice(self.isas))
        threads = self.way.randint(1, 8) if self._threads is None else self._threads
        return {"seed": self.case.seed, "stream": self.case.stream, "threads": threads}

    def index(self, axes: tuple[Axis, ...]) -> Any:
        """One of the spellings of an index."""
        items = [axis.item(self.way) for axis in axes]
        full = [axis.kept and axis.positions == range(axis.n) for axis in axes]
        if self.way.random() < 0.5:
            while items and full[len(items) - 1]:
                items.pop()
            if self.way.random() < 0.5:
                items.append(Ellipsis)
        return items[0] if len(items) == 1 and self.way.random() < 0.5 else tuple(items)

    def shard(self, isa: str) -> np.ndarray:
        """The part as the library returns it."""
        options = self.options()
        fi.set_isa(isa)
        case = self.case
        index = self.index(case.axes)
        return bits(case.initializer.shard(case.shape, index, dtype=case.dtype, **options))

    def layout_memory(self, itemsize: int) -> tuple[np.ndarray, int, list[int]]:
        """Memory for the part in some layout: bytes, the offset of its first element, and strides."""
        way, part = self.way, self.case.part
        order = list(range(len(part)))
        kind = way.choice(["C", "F", "any"])
        if kind != "C":
            order = order[::-1] if kind == "F" else way.sample(order, len(order))
        gaps, packed = way.random() < 0.5, way.random() < 0.3
        strides, extent, offset = [0] * len(part), itemsize, 0
        for k in reversed(order):
            stride = extent * (way.choice([1, 1, 2]) if gaps else 1)
            stride += way.choice([0, 1, 3]) if packed else 0
            extent = stride * max(1, part[k])
            if way.random() < 0.3:
                offset += stride * max(0, part[k] - 1)
                stride = -stride
            strides[k] = stride
        shift = GUARD + (way.randrange(GUARD) if way.random() < 0.5 else 0)
        self.layout = f"{kind}{', gaps' * gaps}{', packed' * packed}"
        return np.full(extent + 2 * GUARD + shift, BYTE, np.uint8), shift + offset, strides

    def fill_layout(self, want: np.ndarray) -> None:
        """The part in some memory, whose other bytes stay."""
        case = self.case
        dtype = fi.initializers.new_array((), case.dtype).dtype
        memory, offset, strides = self.layout_memory(dtype.itemsize)
        expected = memory.copy()
        twin = np.ndarray(case.part, want.dtype, expected, offset, strides)
        twin[...] = want
        out = np.ndarray(case.part, dtype, memory, offset, strides)
        if case.part == case.shape and self.way.random() < 0.5 and self.whole:
            case.initializer.fill(out, **self.options())
        else:
            index = self.index(case.axes)
            case.initializer.fill(out, shape=case.shape, index=index, **self.options())
        if not np.array_equal(memory, expected):
            raise Differs(f"filled into memory ({self.layout}, strides {strides})")

    @property
    def whole(self) -> bool:
        return all(axis.kept and axis.positions == range(axis.n) for axis in self.case.axes)

    def boxes(self, axes: tuple[Axis, ...], depth: int) -> Iterator[tuple[Axis, ...]]:
        """Parts of a part, cut along random axes."""
        long = [k for k, axis in enumerate(axes) if axis.kept and len(axis.positions) > 1]
        if depth == 0 or not long:
            yield axes
            return
        k = self.way.choice(long)
        axis = axes[k]
        cuts = sorted(self.way.choices(range(1, len(axis.positions)), k=self.way.choice([1, 1, 2])))
        for a, b in itertools.pairwise([0, *cuts, len(axis.positions)]):
            cut = Axis(axis.n, axis.positions[a:b], kept=True)
            yield from self.boxes((*axes[:k], cut, *axes[k + 1 :]), depth - 1)

    def fill_shards(self, want: np.ndarray) -> None:
        """The part put together from shards, each made or filled in its place."""
        case = self.case
        out = fi.initializers.new_array(case.part, case.dtype)
        bits(out)[...] = 0
        for box in self.boxes(case.axes, self.way.randint(1, 3)):
            kept = [(whole, a) for whole, a in zip(case.axes, box, strict=True) if a.kept]
            place = tuple(
                slice(begin, begin + len(a.positions))
                for whole, a in kept
                for begin in [whole.positions.index(a.positions[0]) if a.positions else 0]
            )
            index = self.index(box)
            if self.way.random() < 0.5:
                view = out[(*place, ...)]
                case.initializer.fill(view, shape=case.shape, index=index, **self.options())
            else:
                options = self.options()
                made = case.initializer.shard(case.shape, index, dtype=case.dtype, **options)
                out[place] = made
        if not np.array_equal(bits(out), want):
            raise Differs("put together from shards")

    def split_kernel(self, want: np.ndarray) -> None:
        """The kernel's own calls, over a split of the positions in any order."""
        case = self.case
        n = want.size
        if n == 0:
            return
        first, steps = case.steps()
        dims = [(len(a.positions), s) for a, s in zip(case.axes, steps, strict=True)] or [(1, 1)]
        count = np.array([c for c, _ in dims], np.uint64)
        step = np.array([s % 2**64 for _, s in dims], np.uint64).view(np.int64)
        behind = [math.prod(c for c, _ in dims[k + 1 :]) for k in range(len(dims))]
        stride = np.array(behind, np.int64) * want.itemsize
        memory = np.full(want.nbytes, BYTE, np.uint8)
        distribution = case.initializer.prepare(case.dtype)
        region = _kernel.Region(count, step, stride, first, memory, 0)
        run = bool((np.diff(case.elements()) == 1).all()) and self.way.random() < 0.5
        cuts = sorted({0, n, *(self.way.randrange(n) for _ in range(self.way.randrange(7)))})
        pairs = list(itertools.pairwise(cuts))
        for a, b in self.way.sample(pairs, len(pairs)):
            fi.set_isa(self.way.choice(self.isas))
            if run:
                _kernel.fill(distribution, case.key, first + a, memory, a, b - a)
            else:
                _kernel.fill_region(distribution, case.key, region, a, b - a)
        if not np.array_equal(memory, want.reshape(-1).view(np.uint8)):
            raise Differs(f"split by the kernel at {cuts}")

    def check_oracle(self, want: np.ndarray) -> int:
        """All elements or some of them; returns how many."""
        e = self.case.elements()
        at = np.arange(e.size)
        if e.size > ORACLE_ALL:
            some = sorted(self.way.sample(range(e.size), ORACLE_SAMPLE - 2))
            at = np.array([0, *some, e.size - 1])
        if not np.array_equal(self.case.oracle(e[at]), want.reshape(-1)[at]):
            raise Differs("made by the NumPy oracle")
        return at.size


@dataclass
class Tally:
    """What has been compared, and the digest of it."""

    def __post_init__(self) -> None:
        self.counts = {what: Counter[str]() for what in ("proposal", "dtype", "layout")}
        self.cases = self.elements = self.by_oracle = self.greatest = self.threaded = 0
        self.sha = hashlib.sha256()

    def add(self, case: Case, made: np.ndarray) -> None:
        self.cases += 1
        self.elements += made.size
        self.counts["proposal"][case.proposal] += 1
        self.counts["dtype"][case.dtype] += 1
        self.threaded += made.size > TASK
        if made.size:
            first, steps = case.steps()
            reach = sum(
                max(0, s * (len(a.positions) - 1)) for a, s in zip(case.axes, steps, strict=True)
            )
            self.greatest = max(self.greatest, first + reach)
        self.sha.update(made.astype(made.dtype.newbyteorder("<")).tobytes())


def check(
    case: Case, tally: Tally, isas: tuple[str, ...], threads: int | None, way: Random
) -> None:
    """Make a case in all ways; raises Differs."""
    ways = Ways(case, isas, threads, way)
    made = ways.shard(isas[0])
    for isa in isas[1:]:
        if not np.array_equal(ways.shard(isa), made):
            raise Differs(f"made on {isa}, not {isas[0]}")
    tally.by_oracle += ways.check_oracle(made)
    ways.fill_layout(made)
    ways.fill_shards(made)
    ways.split_kernel(made)
    tally.add(case, made)
    tally.counts["layout"][ways.layout] += 1


def run(
    seed: int,
    cases: int,
    first: int = 0,
    isas: tuple[str, ...] = (),
    threads: int | None = None,
    oracle: bool = False,
    until: float = inf,
) -> Tally:
    """Cases [first, first + cases), or as many of them as there is time for."""
    isas = isas or fi.available_isas()
    tally = Tally()
    try:
        for number in range(first, first + cases):
            if time.monotonic() > until:
                break
            case = draw_case(seed, number)
            if oracle:
                tally.add(case, case.oracle(case.elements()))
                continue
            try:
                check(case, tally, isas, threads, Random(f"{seed}/{number}/{isas}/{threads}"))
            except Differs as error:
                raise Differs(f"seed {seed}, case {number}: other bits {error}: {case}") from None
    finally:
        fi.set_isa(None)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=inf)
    parser.add_argument("--cases", type=int, default=2**40)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--isa", choices=fi.available_isas(), help="default: all, compared")
    parser.add_argument("--threads", type=int, help="default: 1 to 8")
    parser.add_argument("--oracle", action="store_true", help="the NumPy oracle alone")
    a = parser.parse_args()
    isas = (a.isa,) if a.isa else fi.available_isas()
    start = time.monotonic()
    try:
        tally = run(
            a.seed, a.cases, a.first, isas, a.threads, a.oracle, until=start + 60 * a.minutes
        )
    except Differs as error:
        print(error)
        return 1
    print(f"seed {a.seed}, {'oracle' if a.oracle else ', '.join(isas)}")
    print(
        f"{tally.cases} cases from {a.first} on, {tally.elements} elements, up to {tally.greatest}"
    )
    print(f"{tally.by_oracle} elements by the oracle; {tally.threaded} cases of several tasks")
    for what, counter in tally.counts.items():
        print(f"{what}:", ", ".join(f"{name} {n}" for name, n in sorted(counter.items())))
    print(f"{time.monotonic() - start:.0f} s")
    print(tally.sha.hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main())
