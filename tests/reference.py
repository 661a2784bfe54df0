"""The stream of fastinit.h in NumPy, written from the header alone: the yardstick of the tests.

It follows the header's section "The stream, version 1" and its names. It is not fast: every
element computes the whole block that its word lies in.

Parameters are taken to be valid. Arrays of elements are one-dimensional; words, numbers and
candidates have one row for each place in a block.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Candidates = tuple[Array, Array]
Parameters = tuple[np.floating[Any], ...]

MASK32 = 0xFFFFFFFF

# Domains as float32 has them; float64 adds 1.
RAW_WORDS, UNIFORM, NORMAL, PROPOSAL, ACCEPT, REDRAW = 0, 2, 4, 6, 8, 10

SQRT_2PI = 2.5066282746310002
LN_2_18 = 0.7793248768009977


def coefficients(text: str) -> tuple[float, ...]:
    return tuple(float.fromhex(number) for number in text.split())


def radius32(w: Array) -> Array:
    return w.view(np.int32).astype(np.float32) + np.float32(0.5)


def radius64(w: Array) -> Array:
    return (w & (2**52 - 1)).astype(np.float64) + 0.5


def angle32(w: Array) -> Array:
    return (w | 1).view(np.int32).astype(np.float32) * 2.0**-31


def angle64(w: Array) -> Array:
    return ((w & (2**52 - 1) | 1).astype(np.float64) - 2.0**51) * 2.0**-51


@dataclass(frozen=True)
class Real:
    """The type of the arithmetic, and the constants that depend on it."""

    scalar: type[np.floating[Any]]
    bits: int
    mantissa: int
    domain_offset: int
    radius: Callable[[Array], Array]
    angle: Callable[[Array], Array]
    cosine_sign: int
    root: float
    radius_scale: float
    minus_half_ln2: float
    log: tuple[float, ...]
    cos: tuple[float, ...]
    sin: tuple[float, ...]

    @property
    def per_block(self) -> int:
        return 128 // self.bits

    def parameter(self, x: float) -> np.floating[Any]:
        """Rounded once. -0 becomes +0, which makes a difference in `base` alone."""
        with np.errstate(over="ignore"):  # a width can round to infinity: it then bounds nothing
            return self.scalar(x) + self.scalar(0)


FLOAT32 = Real(
    np.float32, 32, 23, 0, radius32, angle32, 0,
    *coefficients("0x1.6a09e6p+0 0x1.6a09e4p-31 -0x1.62e430p-2"),
    log=coefficients("0x1.55555cp-2 0x1.997aa0p-3 0x1.2f2ba8p-3"),
    cos=coefficients("0x1.000000p+0 -0x1.3bd39cp-2 0x1.03b058p-6 -0x1.4e78bep-12"),
    sin=coefficients("0x1.921fb6p-1 -0x1.4abc24p-4 0x1.4680a4p-9 -0x1.33198ep-15"),
)  # fmt: skip

FLOAT64 = Real(
    np.float64, 64, 52, 1, radius64, angle64, 63,
    *coefficients("0x1.6a09e667f3bcdp+0 0x1.6a09e667f3bccp-52 -0x1.62e42fefa39efp-2"),
    log=coefficients("""
        0x1.5555555555558p-2 0x1.9999999995323p-3 0x1.2492492deec51p-3 0x1.c71c62e681b78p-4
        0x1.7462b4ac6aa42p-4 0x1.39fe5b3254a89p-4 0x1.2b58ad3e1a058p-4"""),
    cos=coefficients("""
        0x1.0000000000000p+0 -0x1.3bd3cc9be459dp-2 0x1.03c1f081b0df1p-6 -0x1.55d3c7dc398d6p-12
        0x1.e1f4fb7f90416p-19 -0x1.a6c9c7ffcf2b0p-26 0x1.f3dc17e3f0089p-34"""),
    sin=coefficients("""
        0x1.921fb54442d18p-1 -0x1.4abbce625bdaep-4 0x1.466bc6774afcep-9 -0x1.32d2ccd46a41ap-15
        0x1.507821d4dfca5p-22 -0x1.e2f3f0f0ef819p-30 0x1.dfc5b7d4f91a7p-38"""),
)  # fmt: skip


@dataclass(frozen=True)
class Dtype:
    """A type of the output: its precision in bits and the exponent of its least normal number."""

    real: Real
    precision: int
    min_exponent: int
    infinity: bool = True  # else its exponent is one of numbers too, but for the last, NaN

    @property
    def largest(self) -> float:
        """The largest finite number."""
        last, exponent = (1, 1) if self.infinity else (2, 2)
        return math.ldexp(
            2**self.precision - last, exponent + 1 - self.min_exponent - self.precision
        )

    def round_inward(self, bound: float, towards: Callable[[float], int]) -> float:
        """`bound` to a multiple of the unit in the last place, by math.ceil or math.floor."""
        bound = min(max(bound, -self.largest), self.largest)
        unit = max(math.frexp(bound)[1] - 1, self.min_exponent) - (self.precision - 1)
        # The integer between has no sign of zero, so -0 becomes +0.
        return math.ldexp(towards(math.ldexp(bound, -unit)), unit)

    def inward(self, low: float, high: float) -> tuple[float, float]:
        return self.round_inward(low, math.ceil), self.round_inward(high, math.floor)


DTYPES = {
    "float32": Dtype(FLOAT32, 24, -126),
    "float64": Dtype(FLOAT64, 53, -1022),
    "float16": Dtype(FLOAT32, 11, -14),
    "bfloat16": Dtype(FLOAT32, 8, -126),
    "float8_e4m3fn": Dtype(FLOAT32, 4, -6, infinity=False),
    "float8_e5m2": Dtype(FLOAT32, 3, -14),
}


# 1. Key


def stream_key(seed: int, stream: str | int = "") -> int:
    name = str(stream).encode()
    if not name:
        return seed
    return int.from_bytes(hashlib.blake2b(seed.to_bytes(8, "little") + name).digest()[:8], "little")


# 2. Words


def philox(c0: Array, c1: Array, c2: Array, c3: Array, key: int) -> Array:
    """Philox4x32-10. All words are uint64 below 2^32, to hold the products."""
    k0, k1 = key & MASK32, key >> 32
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK32, (p0 >> 32) ^ c3 ^ k1, p0 & MASK32
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return np.stack([c0, c1, c2, c3])


def words(key: int, domain: int, index: Array, attempt: int = 0) -> Array:
    c2 = np.full_like(index, domain << 24 | attempt)
    return philox(index & MASK32, index >> 32, c2, np.zeros_like(index), key).astype(np.uint32)


def numbers(real: Real, key: int, domain: int, index: Array, attempt: int = 0) -> Array:
    """The four words (float32) or two numbers (float64) of each block."""
    w = words(key, domain + real.domain_offset, index, attempt)
    if real.bits == 32:
        return w
    return w[0::2].astype(np.uint64) | w[1::2].astype(np.uint64) << 32


def elements(index: int, n: int) -> Array:
    return np.uint64(index) + np.arange(n, dtype=np.uint64)


def pick(rows: Array, j: Array) -> Array:
    picked: Array = rows[j, np.arange(j.size)]
    return picked


def element_block(real: Real, key: int, domain: int, e: Array) -> Array:
    return numbers(real, key, domain, e // (16 * real.per_block) * 16 + e % 16)


def at_place(real: Real, block: Array, e: Array) -> Array:
    """Each element's own row of its block."""
    return pick(block, e // 16 % real.per_block)


def element_words(real: Real, key: int, domain: int, e: Array) -> Array:
    return at_place(real, element_block(real, key, domain, e), e)


def random_words(key: int, offset: int, n: int) -> Array:
    i = elements(offset, n)
    return pick(words(key, RAW_WORDS, i // 4), i % 4)


# 3. Transforms


def polynomial(t: Array, coefficients: tuple[float, ...]) -> Array:
    *rest, last = coefficients
    total = np.full_like(t, last)
    for c in reversed(rest):
        total = total * t + c
    return total


def bit(w: Array, position: int) -> Array:
    return w >> position & 1 != 0


def unit(real: Real, w: Array) -> Array:
    digits = real.mantissa + 1
    return (w >> (real.bits - digits)).astype(real.scalar) * 2.0**-digits


def h(real: Real, w: Array) -> Array:
    y = np.abs(real.radius(w) * real.scalar(real.radius_scale))
    half_m, exponent = np.frexp(y)  # half_m in [1/2, 1)
    m, k = half_m * 2, (exponent - 1).astype(real.scalar)
    root = real.scalar(real.root)
    s = (root - m) / (root + m)
    t = s * s
    return (s + (s * t) * polynomial(t, real.log)) + k * real.scalar(real.minus_half_ln2)


def normals(real: Real, block: Array, twice_stddev: float) -> Array:
    """The normal numbers of blocks: the two of each pair, in the rows of its words."""
    v, w = block[0::2], block[1::2]
    x = real.angle(w)
    t = x * x
    c = polynomial(t, real.cos)
    c = np.where(bit(w, real.cosine_sign), -c, c)
    s = x * polynomial(t, real.sin)
    r = np.sqrt(h(real, v)) * real.parameter(twice_stddev)
    swap = bit(v, real.bits - 1)
    z0 = np.where(swap, r * s, r * c)
    z1 = np.where(swap, r * c, r * s)
    return np.stack([z0, z1], axis=1).reshape(block.shape)


def element_normals(real: Real, key: int, e: Array, twice_stddev: float) -> Array:
    return at_place(real, normals(real, element_block(real, key, NORMAL, e), twice_stddev), e)


# 4. Candidates and output


def real_inward(dtype: str, low: float, high: float) -> tuple[float, float]:
    """The bounds rounded inward to the type of the arithmetic."""
    return DTYPES["float64" if DTYPES[dtype].real is FLOAT64 else "float32"].inward(low, high)


def output(dtype: str, z: Array, base: float, bounds: tuple[float, float] | None = None) -> Array:
    real = DTYPES[dtype].real
    x = z + real.parameter(base)
    if bounds is not None:
        low, high = map(real.scalar, DTYPES[dtype].inward(*bounds))
        x = np.where(x < high, x, high)
        x = np.where(x > low, x, low)
    if dtype == "float16":
        return x.astype(np.float16)
    if dtype == "bfloat16":
        bits = x.view(np.uint32)
        return (bits + (0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return x if real.bits == 64 or dtype == "float32" else round_to_8_bits(DTYPES[dtype], x)


def round_to_8_bits(dtype: Dtype, x: Array) -> Array:
    return round_to_bits(dtype, x, 8).astype(np.uint8)


def round_to_bits(dtype: Dtype, x: Array, bits: int) -> Array:
    """The code of the nearest value, ties to even: the units that it has in the last place."""

    def last_place(x: Array) -> Array:
        exponent = np.where(x == 0, dtype.min_exponent, np.frexp(x)[1] - 1)
        return np.maximum(exponent, dtype.min_exponent) - (dtype.precision - 1)

    magnitude = np.abs(x).astype(np.float64)  # exact from here on
    unit = last_place(magnitude)
    rounded = np.ldexp(np.rint(np.ldexp(magnitude, -unit)), unit)
    unit = last_place(rounded)  # of the next exponent, where it was rounded up to there
    steps = np.ldexp(rounded, -unit).astype(np.int64)
    exponents = unit - (dtype.min_exponent - (dtype.precision - 1))
    code = steps + (exponents << (dtype.precision - 1))
    return code | np.signbit(x).astype(np.int64) << (bits - 1)


def uniform(dtype: str, key: int, index: int, n: int, low: float, high: float) -> Array:
    if low == high:
        return normal(dtype, key, index, n, low, 0.0)
    real = DTYPES[dtype].real
    real_low, real_high = real_inward(dtype, low, high)
    u = unit(real, element_words(real, key, UNIFORM, elements(index, n)))
    below = math.nextafter(high, -math.inf)  # which is then rounded down to the output's dtype
    return output(dtype, u * real.parameter(real_high - real_low), real_low, (low, below))


def normal(dtype: str, key: int, index: int, n: int, mean: float, stddev: float) -> Array:
    z = element_normals(DTYPES[dtype].real, key, elements(index, n), 2 * stddev)
    return output(dtype, z, mean)


# The proposals: the candidates z and whether they are accepted, from the parameters that the
# type at hand rounds, and from normal numbers or the words w and v.


def truncated(real: Real, p: Parameters, z: Array) -> Candidates:
    p0, p1 = p
    return z, (p0 <= z) & (z <= p1)


def half(real: Real, p: Parameters, z: Array) -> Candidates:
    return truncated(real, p, np.abs(z))


def narrow(real: Real, p: Parameters, w: Array, v: Array) -> Candidates:
    p0, p1, p2 = p
    z = unit(real, w)
    return z, z * (z * p1 + p0) + p2 <= h(real, v)


def by_exponential(real: Real, p: Parameters, w: Array, v: Array) -> Candidates:
    p0, p1, p2 = p
    z = h(real, w) * p0
    return z, ((z - p1) * (z - p1) <= h(real, v)) & (z <= p2)


def tail(real: Real, p: Parameters, w: Array, v: Array) -> Candidates:
    p1, p2 = p
    radius = h(real, w)
    g = np.sqrt(radius * p1 + 1)
    z = radius / (g + 1)
    return z, (unit(real, v) * g <= 1) & (z <= p2)


@dataclass(frozen=True)
class Proposal:
    candidates: Callable[..., Candidates]
    base: float
    scale: float
    parameters: tuple[float, ...]


def choose_proposal(dtype: str, mean: float, stddev: float, lower: float, upper: float) -> Proposal:
    reflect = upper <= 0
    a, b = (-upper, -lower) if reflect else (lower, upper)
    d = b - a
    sigma = -stddev if reflect else stddev
    near = mean + stddev * (upper if reflect else lower)
    if a < 0 and d < SQRT_2PI:
        return Proposal(narrow, near, sigma * d, (a * d / 2, d * d / 4, a * a / 4))
    if a < 0:
        return Proposal(truncated, mean, 2 * sigma, real_inward(dtype, sigma * a, sigma * b))
    if d * (a + b) / 2 <= LN_2_18:
        return Proposal(narrow, near, sigma * d, (a * d / 2, d * d / 4, 0))
    if a < 1 / 4:
        return Proposal(half, mean, sigma, (a, b))
    if a < 3 / 2:
        rate = (a + math.sqrt(a * a + 4)) / 2
        return Proposal(by_exponential, near, 2 * sigma, (1 / rate, (rate - a) / 2, d / 2))
    return Proposal(tail, near, sigma / a * 4, (4 / a / a, d * a / 4))


def sample(real: Real, proposal: Proposal, key: int, e: Array) -> Array:
    """The first accepted candidate of each element."""
    p = tuple(real.parameter(x) for x in proposal.parameters)
    from_normal = proposal.candidates in (truncated, half)
    twice_stddev = proposal.scale if proposal.candidates is truncated else 2.0
    if from_normal:
        z, accepted = proposal.candidates(real, p, element_normals(real, key, e, twice_stddev))
    else:
        w, v = (element_words(real, key, domain, e) for domain in (PROPOSAL, ACCEPT))
        z, accepted = proposal.candidates(real, p, w, v)
    pending = np.flatnonzero(~accepted)
    attempt = 0
    while pending.size:
        attempt += 1
        block = numbers(real, key, REDRAW, e[pending], attempt)
        sources = (
            (normals(real, block, twice_stddev),) if from_normal else (block[0::2], block[1::2])
        )
        retries, accepted = proposal.candidates(real, p, *sources)
        z[pending] = pick(
            retries, np.argmax(accepted, axis=0)
        )  # the first row, if none is accepted
        pending = pending[~np.any(accepted, axis=0)]
    return z if proposal.candidates is truncated else z * real.parameter(proposal.scale)


def truncated_normal(
    dtype: str, key: int, index: int, n: int, mean: float, stddev: float, lower: float, upper: float
) -> Array:
    if stddev == 0:
        return normal(dtype, key, index, n, mean, 0.0)
    proposal = choose_proposal(dtype, mean, stddev, lower, upper)
    z = sample(DTYPES[dtype].real, proposal, key, elements(index, n))
    return output(dtype, z, proposal.base, (mean + stddev * lower, mean + stddev * upper))


# Distributions that are computed in float64 from draws, docs/laws.md: exp and log are Python's, of the C library.


def round_once(dtype: str, x: Array) -> Array:
    """float64 numbers rounded to a dtype: finite ones that it can hold, as numbers or as codes."""
    if dtype in ("float32", "float64"):
        return x.astype(dtype)
    bits = 8 if dtype.startswith("float8") else 16
    codes = round_to_bits(DTYPES[dtype], x, bits).astype(f"u{bits // 8}")
    return codes.view(np.float16) if dtype == "float16" else codes


def unit_numbers(dtype: str, key: int, index: int, n: int) -> Array:
    """The numbers in [0, 1) of a uniform draw, as float64."""
    real = DTYPES[dtype].real
    return unit(real, element_words(real, key, UNIFORM, elements(index, n))).astype(np.float64)


def log_uniform(dtype: str, key: int, index: int, n: int, low: float, high: float) -> Array:
    start, width = math.log(low), math.log(high) - math.log(low)
    exact = [math.exp(start + width * u) for u in unit_numbers(dtype, key, index, n).tolist()]
    return round_once(dtype, np.array([min(max(x, low), high) for x in exact]))


def exponential(dtype: str, key: int, index: int, n: int, scale: float) -> Array:
    half = 2.0**-25 if DTYPES[dtype].real is FLOAT32 else 2.0**-54
    exact = [-math.log(u + half) * scale for u in unit_numbers(dtype, key, index, n).tolist()]
    return round_once(dtype, np.array(exact))


def integers(key: int, index: int, n: int, low: int, high: int) -> list[int]:
    w = random_words(key, 2 * index, 2 * n).tolist()
    return [
        low + ((a | b << 32) * (high - low) >> 64) for a, b in zip(w[0::2], w[1::2], strict=True)
    ]


def random_integers(dtype: str, key: int, index: int, n: int, low: float, high: float) -> Array:
    values = integers(key, index, n, int(low), int(high))
    return round_once(dtype, np.array(values, np.float64))
