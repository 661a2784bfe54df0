"""Arithmetic on a distribution that gives another plain one: the rules by which expressions become simpler."""

from __future__ import annotations

import math
from contextlib import suppress
from statistics import NormalDist

from fastinit.distributions import Exponential, Identity, LogUniform, Orthogonal
from fastinit.initializers import Constant, Distribution, Normal, TruncatedNormal, Uniform
from fastinit.theory import normal_probability

#: Probability that arithmetic may move or cut off: far less than any sample shows.
NEGLIGIBLE = 1e-12


def fold(name: str, operands: list[Distribution | float]) -> Distribution | None:
    """The plain distribution of an operation on one distribution and numbers, or None."""
    with suppress(ValueError, OverflowError, ZeroDivisionError):  # beyond the range of a float
        match name, operands:
            case ("add", [Distribution() as x, float(b)]) | (
                "add",
                [float(b), Distribution() as x],
            ):
                return _shifted(x, b)
            case "sub", [Distribution() as x, float(b)]:
                return _shifted(x, -b)
            case ("mul", [Distribution() as x, float(a)]) | (
                "mul",
                [float(a), Distribution() as x],
            ):
                return _scaled(x, a)
            case "div", [Distribution() as x, float(a)]:
                return _scaled(x, 1 / a)
            case ("maximum", [Distribution() as x, float(low)]) | (
                "maximum",
                [float(low), Distribution() as x],
            ):
                return _cut(x, low, math.inf)
            case ("minimum", [Distribution() as x, float(high)]) | (
                "minimum",
                [float(high), Distribution() as x],
            ):
                return _cut(x, -math.inf, high)
            case "exp", [Uniform(low, high)] if low < high:
                return LogUniform(math.exp(low), math.exp(high))
            case "erfinv", [Uniform(low, high)] if -1 <= low < high <= 1:
                return _normal(0.0, 1 / math.sqrt(2), _quantile(low), _quantile(high))
    return None


def _scaled(x: Distribution, a: float) -> Distribution | None:
    """The distribution of a x."""
    match x:
        case _ if a == 0 or not math.isfinite(a):
            return Constant(0.0) if a == 0 and _is_finite(x) else None
        case Normal(mean, stddev) if (
            a > 0
        ):  # others may be made from the same draw: -x must be its negative
            return Normal(mean * a, stddev * a)
        case Uniform(low, high) if a > 0:
            return Uniform(low * a, high * a)
        case TruncatedNormal(mean, stddev, lower=lower, upper=upper) if a > 0:
            return TruncatedNormal(mean * a, stddev * a, lower=lower, upper=upper)
        case LogUniform(low, high) if a > 0:
            return LogUniform(low * a, high * a)
        case Exponential(scale) if a > 0:
            return Exponential(scale * a)
        case Orthogonal(gain) | Identity(gain):
            return type(x)(gain * a)
    return None


def _is_finite(x: Distribution) -> bool:
    return isinstance(x, (Normal, Uniform, TruncatedNormal, LogUniform, Exponential))


def _shifted(x: Distribution, b: float) -> Distribution | None:
    """The distribution of x + b."""
    match x:
        case Normal(mean, stddev):
            return Normal(mean + b, stddev)
        case Uniform(low, high) if low + b < high + b:
            return Uniform(low + b, high + b)
        case TruncatedNormal(mean, stddev, lower=lower, upper=upper):
            return TruncatedNormal(mean + b, stddev, lower=lower, upper=upper)
    return None


def _cut(x: Distribution, low: float, high: float) -> Distribution | None:
    """The distribution of x clamped to [low, high], where it has next to nothing beyond.

    A bound of x that differs from the new one by a negligible probability was meant to be that:
    rounding moved it on its way through the inverse of a distribution function.
    """
    match x:
        case Normal(mean, stddev) if stddev > 0:
            lower, upper = -math.inf, math.inf
        case TruncatedNormal(mean, stddev, lower=lower, upper=upper) if stddev > 0:
            pass
        case Uniform(left, right) | LogUniform(left, right):
            return x if low <= left and right <= high else None
        case Exponential():
            return x if low <= 0 and high == math.inf else None
        case _:
            return None
    whole = normal_probability(lower, upper)
    ends = []
    for own, new, side in ((lower, low, 1), (upper, high, -1)):
        end = (new - mean) / stddev
        if normal_probability(min(own, end), max(own, end)) <= NEGLIGIBLE * whole:
            ends.append(new if math.isfinite(new) else mean + stddev * own)
        elif side * end < side * own:  # it cuts nothing
            ends.append(mean + stddev * own)
        else:
            return None
    return _within(mean, stddev, *ends)


def _within(mean: float, stddev: float, low: float, high: float) -> Distribution:
    if math.isinf(low) and math.isinf(high):
        return Normal(mean, stddev)
    return TruncatedNormal.within(low, high, mean=mean, stddev=stddev)


def _normal(mean: float, stddev: float, lower: float, upper: float) -> Distribution:
    if math.isinf(lower) and math.isinf(upper):
        return Normal(mean, stddev)
    return TruncatedNormal(mean, stddev, lower=lower, upper=upper)


def _quantile(y: float) -> float:
    """The number below which a standard normal has the probability (1 + y) / 2."""
    if abs(y) == 1:
        return math.copysign(math.inf, y)
    return math.copysign(NormalDist().inv_cdf((1 - abs(y)) / 2), y) if y else 0.0
