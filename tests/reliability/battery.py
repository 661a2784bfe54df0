"""Statistics of each law at scale, streamed and resumable, and of pairs of word sequences.

    python tests/reliability/battery.py run STATE            1e10 float32, 1e9 float64 values a law
    python tests/reliability/battery.py report STATE         the tables of docs/reliability.md

`run` goes on where it was stopped: each law of each dtype keeps its counts in a file of the folder
STATE. `--float32`, `--float64` and `--words` choose other sizes, `--laws` some laws, `--seed`
fresh values.

Values are counted in 65,536 bins of nearly equal probability. The edges of bins lie between two
neighbouring outputs. Where a float32 output depends on one word, the probability below an edge is
the law's at the exact value of the words that give the smaller outputs, so that what is compared
is the sampler and not the rounding; it must be within 4e-7 of the law at the edge itself. The
Kolmogorov-Smirnov and Anderson-Darling statistics are taken at these edges.

False alarms: every p-value is two-sided; all are listed that are below 1e-3, and one below 1e-3
divided by the number of tests fails: for a perfect sampler that happens in one run of a thousand.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

sys.path.insert(0, str(Path(__file__).parents[1]))

import fastinit as fi
import reference
from reliability import builds

Array = NDArray[Any]

BINS, CELLS, POWERS, PAIR_BINS, JOINT = 2**16, 2**18, 8, 1024, 32
LAGS = (1, 2, 4, 8, 16, 32, 48, 64)
PLACES = 256
TAILS = (4.0, 5.0, 5.5, 6.0)
CHUNK = 2**18
SAVE_EVERY = 2**28
WORDS = 2**14  # that are compared at a time
FALSE_ALARM = 1e-3
NEAR = 64  # words on either side of an edge that are looked at


class LawStruct(ctypes.Structure):
    _fields_ = [
        ("edges", ctypes.c_double * BINS), ("first_bin", ctypes.c_uint32 * CELLS),
        ("start", ctypes.c_double), ("cells_per_unit", ctypes.c_double), ("steps", ctypes.c_int64),
        ("mean", ctypes.c_double), ("stddev", ctypes.c_double),
        ("low", ctypes.c_double), ("high", ctypes.c_double), ("pairs", ctypes.c_int64),
    ]  # fmt: skip


class Totals(ctypes.Structure):
    _fields_ = [
        ("n", ctypes.c_int64), ("outside", ctypes.c_int64),
        ("at_low", ctypes.c_int64), ("at_high", ctypes.c_int64),
        ("above", ctypes.c_int64 * 4), ("below", ctypes.c_int64 * 4),
        ("least", ctypes.c_double), ("largest", ctypes.c_double),
        ("powers", ctypes.c_double * POWERS), ("products", ctypes.c_double * len(LAGS)), ("square_products", ctypes.c_double * len(LAGS)),
        ("bins", ctypes.c_int64 * BINS),
        ("radius", ctypes.c_int64 * PAIR_BINS), ("angle", ctypes.c_int64 * PAIR_BINS), ("joint", ctypes.c_int64 * JOINT**2), ("places", ctypes.c_int64 * PLACES),
    ]  # fmt: skip


@cache
def library() -> ctypes.CDLL:
    """accumulate.c, compiled for this machine."""
    flags = ["-O3", "-march=native", "-fno-math-errno", "-std=c11", "-shared", "-fPIC"]
    others = [path for path in builds.KERNEL if path.name != "kernel_scalar.c"]  # which it includes
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "accumulate.so")
        command = builds.command("gcc", flags, "tests/reliability/accumulate.c", out, others)
        subprocess.run(command, check=True)
        made = ctypes.CDLL(str(out))
    made.accumulate.argtypes = [
        ctypes.POINTER(LawStruct), ctypes.POINTER(Totals), ctypes.POINTER(ctypes.c_double), ctypes.c_int64,
    ]  # fmt: skip
    made.compare_words.argtypes = [
        ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint64,
        ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int64),
    ]  # fmt: skip
    return made


# The laws


@dataclass(frozen=True)
class Law:
    """Standard, on [lower, upper]: uniform, or a normal conditioned on it."""

    initializer: fi.Distribution
    lower: float
    upper: float

    @property
    def is_uniform(self) -> bool:
        return isinstance(self.initializer, fi.Uniform)

    def cdf(self, x: Array | float) -> Array:
        if self.is_uniform:
            return (np.asarray(x) - self.lower) / (self.upper - self.lower)
        if self.lower > 0:  # from the other side, where small numbers keep their digits
            tail = special.ndtr([-self.lower, -self.upper])
            return (tail[0] - special.ndtr(-np.asarray(x))) / (tail[0] - tail[1])
        ends = special.ndtr([self.lower, self.upper])
        return (special.ndtr(x) - ends[0]) / (ends[1] - ends[0])

    def density(self, x: float) -> float:
        if self.is_uniform:
            return 1 / (self.upper - self.lower)
        mass = special.ndtr(-self.lower) - special.ndtr(-self.upper)
        return math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / float(mass)

    def above(self, k: float) -> float:
        """The share beyond k > 0."""
        if self.is_uniform or k >= self.upper:
            return 0.0
        tail = special.ndtr([-self.lower, -k, -self.upper])
        return float((tail[1] - tail[2]) / (tail[0] - tail[2]))

    def below(self, k: float) -> float:
        """The share below k < 0."""
        return 0.0 if self.is_uniform or k <= self.lower else float(self.cdf(k))

    def quantile(self, p: Array) -> Array:
        if self.is_uniform:
            return self.lower + p * (self.upper - self.lower)
        return stats.truncnorm.ppf(p, self.lower, self.upper)

    def moments(self) -> tuple[float, float, list[float]]:
        """Mean, standard deviation, and the moments 0 to 16 of the standardised values."""
        low, high = max(self.lower, -40.0), min(self.upper, 40.0)
        x, w = gauss_legendre(low, high)
        density = np.ones_like(x) if self.is_uniform else np.exp(-x * x / 2)
        w = w * density
        w /= w.sum()
        mean = float(w @ x)
        stddev = math.sqrt(w @ (x - mean) ** 2)
        return mean, stddev, [float(w @ ((x - mean) / stddev) ** k) for k in range(17)]


def gauss_legendre(low: float, high: float) -> tuple[Array, Array]:
    """Nodes and weights of 64 points on each of 128 equal parts."""
    x, w = np.polynomial.legendre.leggauss(64)
    ends = np.linspace(low, high, 129)
    half = np.diff(ends)[:, None] / 2
    return (ends[:-1, None] + half + half * x).reshape(-1), (half * w).reshape(-1)


inf = math.inf


def truncated(lower: float, upper: float) -> Law:
    return Law(fi.TruncatedNormal(0.0, 1.0, lower=lower, upper=upper), lower, upper)


#: Each law, and an interval for each proposal.
LAWS = {
    "uniform": Law(fi.Uniform(-1.0, 1.0), -1.0, 1.0),
    "normal": Law(fi.Normal(), -inf, inf),
    "truncated": truncated(-2.0, 2.0),
    "half": truncated(0.125, inf),
    "narrow": truncated(-1.0, 1.0),
    "narrow one-sided": truncated(1.0, 1.5),
    "exponential": truncated(1.0, 4.0),
    "tail": truncated(2.0, inf),
}


# Where bins begin


class UnitWords:
    """Outputs by the digits of a unit; position i is that of the words from i * 2**8 on."""

    def __init__(self, proposal: reference.Proposal) -> None:
        self.proposal = proposal

    def position(self, x: Array) -> Array:
        return np.rint((x - self.proposal.base) / self.proposal.scale * 2.0**24)

    def next(self, position: Array, step: int) -> Array:
        return position + step

    def fraction(self, position: Array) -> Array:
        """Of the words that come before it."""
        return position * 2.0**-24

    def candidate(self, position: Array) -> Array:
        return reference.unit(reference.FLOAT32, position.astype(np.uint32) << np.uint32(8))

    def exact(self, fraction: Array) -> Array:
        return fraction


class RadiusWords:
    """Outputs by the words of a radius; positions are the float32 that words are rounded to."""

    def __init__(self, proposal: reference.Proposal) -> None:
        self.proposal = proposal
        self.tail = proposal.candidates is reference.tail

    def position(self, x: Array) -> Array:
        z = (x - self.proposal.base) / self.proposal.scale
        p = self.proposal.parameters[0]
        h = z * (z * p + 2) if self.tail else z / p
        return (np.exp(-2 * h) * 2.0**31).astype(np.float32).astype(np.float64)

    def next(self, position: Array, step: int) -> Array:
        return np.nextafter(position.astype(np.float32), np.float32(step * inf)).astype(np.float64)

    def fraction(self, position: Array) -> Array:
        return (position + self.next(position, -1)) / 2 * 2.0**-31

    def candidate(self, position: Array) -> Array:
        w = position.astype(np.uint32)
        p = [reference.FLOAT32.parameter(x) for x in self.proposal.parameters]
        return self.proposal.candidates(reference.FLOAT32, p, w, w)[0]

    def exact(self, fraction: Array) -> Array:
        h = -np.log(fraction) / 2
        p = self.proposal.parameters[0]
        return h / (np.sqrt(h * p + 1) + 1) if self.tail else h * p


def words_of(law: Law) -> UnitWords | RadiusWords | None:
    """The words that alone make an output; None for laws that take both of a pair."""
    if law.is_uniform:
        base, scale = law.lower, law.upper - law.lower
        return UnitWords(reference.Proposal(reference.narrow, base, scale, ()))
    if law.lower == -inf:
        return None
    proposal = reference.choose_proposal("float32", 0.0, 1.0, law.lower, law.upper)
    if proposal.candidates in (reference.truncated, reference.half):
        return None
    return (UnitWords if proposal.candidates is reference.narrow else RadiusWords)(proposal)


def edges_between_words(
    law: Law, words: UnitWords | RadiusWords, targets: Array
) -> tuple[Array, Array]:
    """Half way between the outputs of neighbouring words, and the law's share of the words below."""
    proposal = words.proposal

    def output(position: Array) -> Array:
        z = words.candidate(position) * reference.FLOAT32.parameter(proposal.scale)
        return reference.output("float32", z, proposal.base).astype(np.float64)

    position = words.position(targets)
    while (same := output(position) == output(words.next(position, -1))).any():
        position = np.where(same, words.next(position, -1), position)
    last = output(words.next(position, -1))
    edges = (output(position) + last) / 2
    fraction = words.fraction(position)
    for step, place in ((1, position), (-1, words.next(position, -1))):
        for _ in range(NEAR):  # rounding may carry words over the edge, to either side
            over = ((output(place) > edges) == (last > edges)) == (step > 0)
            weight = words.fraction(words.next(place, 1)) - words.fraction(place)
            fraction += np.where(over, step * weight, 0.0)
            place = words.next(place, step)
    return edges, law.cdf(proposal.base + proposal.scale * words.exact(fraction))


#: How far the law at an edge may be from the share of the words below it: the radius is within 2**-22 of its law, and
#: outputs are rounded. A wrong transform that the oracle shared would go beyond.
NEAR_LAW = 4e-7


def edges_of(law: Law, dtype: str) -> tuple[Array, Array]:
    """Where bins begin, but for the first, and the probability below."""
    targets = law.quantile(np.arange(1, BINS) / BINS)
    if dtype == "float64":
        return targets, law.cdf(targets)
    words = words_of(law)
    if words is not None:
        edges, f = edges_between_words(law, words, targets)
        assert abs(law.cdf(edges) - f).max() < NEAR_LAW
        return edges, f
    x = targets.astype(np.float32)  # rounding to nearest puts the edge half way to the next one
    edges = (x.astype(np.float64) + np.nextafter(x, np.float32(inf))) / 2
    return edges, law.cdf(edges)


def law_struct(law: Law, dtype: str) -> LawStruct:
    edges, _ = edges_of(law, dtype)
    assert (np.diff(edges) > 0).all()
    mean, stddev, _ = law.moments()
    width = (edges[-1] - edges[0]) / (CELLS - 1)
    # A cell more on either side, for values that rounding puts into the next one.
    starts = edges[0] + width * np.arange(-1, CELLS + 2)
    bins = np.searchsorted(edges, starts, side="right")
    made = LawStruct(
        start=edges[0], cells_per_unit=1 / width, steps=(bins[3:] - bins[:-3]).max(), mean=mean,
        stddev=stddev, low=law.lower, high=law.upper, pairs=isinstance(law.initializer, fi.Normal),
    )  # fmt: skip
    made.edges[:] = [*edges, inf]
    made.first_bin[:] = [0, *bins[1:CELLS].tolist()]
    return made


# Counting


def run_law(name: str, dtype: str, samples: int, seed: int, state: Path) -> None:
    """Count up to at least `samples` values, from where the state ends."""
    path = state / f"{name}.{dtype}.{seed}.totals"
    totals = load_totals(path)
    law, lib = LAWS[name], library()
    struct = law_struct(law, dtype)
    out, x = np.empty(CHUNK, dtype), np.empty(CHUNK)
    while totals.n < samples:
        part = slice(totals.n, totals.n + CHUNK)
        law.initializer.fill(out, seed=seed, stream=name, shape=2**60, index=part, threads=1)
        x[:] = out
        accumulate(lib, struct, totals, x)
        if totals.n % SAVE_EVERY == 0 or totals.n >= samples:
            save(path, bytes(totals))


def accumulate(lib: ctypes.CDLL, struct: LawStruct, totals: Totals, x: Array) -> None:
    pointer = x.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
    lib.accumulate(struct, totals, pointer, x.size)


def load_totals(path: Path) -> Totals:
    return (
        Totals.from_buffer_copy(path.read_bytes())
        if path.exists()
        else Totals(least=inf, largest=-inf)
    )


def save(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


DOMAINS = {
    "raw": 0, "uniform32": 2, "uniform64": 3, "normal32": 4, "normal64": 5, "proposal32": 6,
    "proposal64": 7, "accept32": 8, "accept64": 9, "redraw32": 10, "redraw64": 11,
}  # fmt: skip
REDRAW = DOMAINS["redraw32"] << 24

Sequence = tuple[int, int]  # key, counter word 2


def word_pairs(seed: int) -> Iterator[tuple[str, str, Sequence, Sequence]]:
    """Kind, name and the two sequences of words, which should have nothing in common."""
    for bit in range(64):
        yield "seeds", f"bit {bit}", (seed, 0), (seed ^ 1 << bit, 0)
    keys = [reference.stream_key(seed, f"layers.{i}.weight") for i in range(65)]
    for i in range(64):
        yield "streams", f"layers.{i}", (keys[i], 0), (keys[i + 1], 0)
    names = list(DOMAINS)
    for i, first in enumerate(names):
        for second in names[:i]:
            c2, other = DOMAINS[first] << 24, DOMAINS[second] << 24
            yield "domains", f"{first}, {second}", (seed, c2), (seed, other)
    for attempt in range(1, 17):
        yield "attempts", str(attempt), (seed, REDRAW | attempt), (seed, REDRAW | attempt + 1)


def compare_words(one: Sequence, other: Sequence, words: int) -> tuple[float, int]:
    """The sum of products, as numbers in [-1, 1), of the first words of two sequences; and how many bits differ."""
    product, differing = ctypes.c_double(0), ctypes.c_int64(0)
    for first in range(0, words // 4, WORDS // 4):
        library().compare_words(*one, *other, first, product, differing)
    return product.value, differing.value


def run_words(words: int, seed: int, state: Path) -> None:
    """Compare the first words of each pair of sequences, four words of each block."""
    path = state / f"words.{seed}.json"
    done: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    words = -(-words // WORDS) * WORDS
    for kind, name, one, other in word_pairs(seed):
        if done.get(f"{kind} {name}", [0])[0] < words:
            done[f"{kind} {name}"] = [words, *compare_words(one, other, words)]
            save(path, json.dumps(done).encode())


# Judging


def two_sided(below: float, above: float) -> float:
    if math.isnan(below + above):  # a failure, which comparisons would hide
        return 0.0
    return min(1.0, 2 * min(below, above))


def z_test(z: float) -> float:
    p = float(2 * special.ndtr(-abs(z)))
    return two_sided(p / 2, 1 - p / 2)


def chi_square(counts: Array, expected: Array) -> float:
    statistic = float(((counts - expected) ** 2 / expected).sum())
    law = stats.chi2(counts.size - 1)
    return two_sided(law.cdf(statistic), law.sf(statistic))


def anderson_darling_cdf(z: float) -> float:
    """The limit of the statistic's law (Marsaglia and Marsaglia, 2004), with its own limit far out."""
    if z <= 0:
        return 0.0
    if z > 6:
        return 1 - math.sqrt(3) * math.erfc(math.sqrt(z))
    if z < 2:
        c = (2.00012, 0.247105, -0.0649821, 0.0347962, -0.011672, 0.00168691)
        return (
            math.exp(-1.2337141 / z) / math.sqrt(z) * math.fsum(a * z**k for k, a in enumerate(c))
        )
    c = (1.0776, -2.30695, 0.43424, -0.082433, 0.008056, -0.0003146)
    return math.exp(-math.exp(math.fsum(a * z**k for k, a in enumerate(c))))


def distances(below: Array, f: Array, n: int) -> Iterator[tuple[str, float]]:
    """Kolmogorov-Smirnov and Anderson-Darling from the shares of the sample and the law below edges."""
    d = below - f
    ks = stats.kstwobign
    reach = math.sqrt(n) * abs(d).max()
    yield "KS", two_sided(ks.cdf(reach), ks.sf(reach))
    weighed = d * d / (f * (1 - f))
    a2 = n * float(((weighed[1:] + weighed[:-1]) / 2 * np.diff(f)).sum())
    share = anderson_darling_cdf(a2)
    yield "AD", two_sided(share, 1 - share)


def judge_tails(law: Law, t: Totals) -> Iterator[tuple[str, float]]:
    """Counts beyond each threshold, which are Poisson, on the sides where the law has some."""
    for k, above, below in zip(TAILS, t.above, t.below, strict=True):
        for name, count, share in (
            (f"> {k:g}", above, law.above(k)),
            (f"< -{k:g}", below, law.below(-k)),
        ):
            if share > 0:
                p = stats.poisson(t.n * share)
                yield name, two_sided(p.cdf(count), p.sf(count - 1))


def judge_bounds(law: Law, dtype: str, t: Totals) -> Iterator[tuple[str, float]]:
    """Counts of values that are bounds, where rounding to nearest alone puts them there, from both sides."""
    if dtype == "float32" and words_of(law) is not None:
        return
    for name, bound, count in (("low", law.lower, t.at_low), ("high", law.upper, t.at_high)):
        if abs(bound) < inf:
            at = np.array(bound, dtype)
            below, above = (np.nextafter(at, np.array(side, dtype)) for side in (-inf, inf))
            width = float(above - below) / 2
            p = stats.poisson(t.n * width * law.density(bound))
            yield f"at {name}", two_sided(p.cdf(count), p.sf(count - 1))


def judge_law(law: Law, dtype: str, t: Totals) -> Iterator[tuple[str, float]]:
    """Name and p-value of each test."""
    n = t.n
    yield "bounds", 0.0 if t.outside else 1.0
    _, _, moments = law.moments()
    for k, total in enumerate(t.powers, 1):
        variance = moments[2 * k] - moments[k] ** 2
        yield f"moment {k}", z_test((total / n - moments[k]) * math.sqrt(n / variance))
    _, f = edges_of(law, dtype)
    bins = np.array(t.bins)
    yield "chi-square", chi_square(bins, n * np.diff(f, prepend=0, append=1))
    yield from distances(np.cumsum(bins)[:-1] / n, f, n)
    if dtype == "float64":  # float32 has few values in a bin
        places = np.array(t.places)
        yield "places", chi_square(places, np.full(PLACES, places.sum() / PLACES))
    yield from judge_tails(law, t)
    yield from judge_bounds(law, dtype, t)
    for lag, product, squares in zip(LAGS, t.products, t.square_products, strict=True):
        yield f"lag {lag}", z_test(product / math.sqrt(n))
        yield f"squares, lag {lag}", z_test(squares / math.sqrt(n) / (moments[4] - 1))
    if isinstance(law.initializer, fi.Normal):
        for name in ("radius", "angle", "joint"):
            counts = np.array(getattr(t, name))
            yield name, chi_square(counts, np.full(counts.size, n / 2 / counts.size))


def judge_words(seed: int, done: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Kind, name and p-value of each pair of sequences: products of words, and bits that differ."""
    for kind, name, _, _ in word_pairs(seed):
        n, product, differing = done[f"{kind} {name}"]
        yield kind, f"{name}, products", z_test(3 * product / math.sqrt(n))
        yield kind, f"{name}, bits", z_test((differing - 16 * n) / math.sqrt(8 * n))


def report(seed: int, state: Path) -> bool:
    """Print the tables; whether all is well."""
    tests: list[tuple[str, float]] = []
    print(
        "| law | values | moments 1-8, least p | chi-square | KS | AD | lags, least p | tails, least p | least | largest | on the bounds |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, law in LAWS.items():
        for dtype in ("float32", "float64"):
            path = state / f"{name}.{dtype}.{seed}.totals"
            if path.exists():
                t = load_totals(path)
                p = dict(judge_law(law, dtype, t))
                tests += [(f"{name} {dtype} {test}", value) for test, value in p.items()]
                print_row(f"{name}, {dtype}", t, p)
    words = state / f"words.{seed}.json"
    if words.exists():
        print_words(pairs := list(judge_words(seed, json.loads(words.read_text()))))
        tests += [(f"{kind} {name}", value) for kind, name, value in pairs]
    limit = FALSE_ALARM / max(1, len(tests))
    print(f"\n{len(tests)} tests; below {FALSE_ALARM:g}:")
    for name, value in sorted(tests, key=lambda test: test[1]):
        if value < FALSE_ALARM:
            print(f"  {name}: p = {value:.2g}{' FAILED' if value < limit else ''}")
    return all(value >= limit for _, value in tests)


def print_row(name: str, t: Totals, p: dict[str, float]) -> None:
    def least(*beginnings: str) -> str:
        values = [value for test, value in p.items() if test.startswith(beginnings)]
        return f"{min(values):.2g}" if values else "-"

    single = " | ".join(f"{p[test]:.2g}" for test in ("chi-square", "KS", "AD"))
    print(
        f"| {name} | {t.n:.3g} | {least('moment')} | {single} | {least('lag', 'squares')} | {least('>', '<')} "
        f"| {t.least:.9g} | {t.largest:.9g} | {t.at_low} and {t.at_high} |"
    )
    if "radius" in p:
        print(
            f"| {name}: pairs | {t.n / 2:.3g} | "
            + ", ".join(f"{k} p = {p[k]:.2g}" for k in ("radius", "angle", "joint"))
            + " |" * 9
        )


def print_words(pairs: list[tuple[str, str, float]]) -> None:
    print("\n| pairs of | tests | least p |\n|---|---|---|")
    for kind in dict.fromkeys(kind for kind, _, _ in pairs):
        values = [value for k, _, value in pairs if k == kind]
        print(f"| {kind} | {len(values)} | {min(values):.2g} |")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("state", type=Path)
    parser.add_argument("--float32", type=float, default=1e10, help="values of each law")
    parser.add_argument("--float64", type=float, default=1e9, help="values of each law")
    parser.add_argument("--words", type=float, default=2**26, help="of each pair of sequences")
    parser.add_argument("--laws", nargs="*", default=list(LAWS), choices=list(LAWS))
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.command == "run":
        options.state.mkdir(parents=True, exist_ok=True)
        sizes = {"float32": int(options.float32), "float64": int(options.float64)}
        jobs = [partial(run_words, int(options.words), options.seed, options.state)]
        jobs += [
            partial(run_law, name, dtype, n, options.seed, options.state)
            for dtype, n in sizes.items() for name in options.laws
        ]  # fmt: skip
        with get_context("spawn").Pool(options.processes) as pool:
            for result in [pool.apply_async(job) for job in jobs]:
                result.get()
    return 0 if report(options.seed, options.state) else 1


if __name__ == "__main__":
    sys.exit(main())
