"""Arithmetic that gives plain distributions: expected ones by closed formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest

import fastinit as fi
from fastinit.expressions import Draw, Known, Op, apply_op

NORMAL = fi.Normal(0.5, 2.0)
UNIFORM = fi.Uniform(-1.0, 3.0)
TRUNCATED = fi.TruncatedNormal(0.5, 2.0, lower=-1.0, upper=3.0)
inf = math.inf

FOLDED: dict[str, tuple[Any, Any]] = {
    "number and number": (lambda: apply_op("add", 1.0, 2), fi.Constant(3.0)),
    "constants": (lambda: apply_op("mul", fi.Constant(3.0), fi.Constant(-2.0)), fi.Constant(-6.0)),
    "function of a constant": (lambda: apply_op("sqrt", fi.Constant(6.25)), fi.Constant(2.5)),
    "normal times a number": (lambda: apply_op("mul", NORMAL, 3.0), fi.Normal(1.5, 6.0)),
    "number times a normal": (lambda: apply_op("mul", fi.Constant(3.0), NORMAL), fi.Normal(1.5, 6.0)),
    "normal over a number": (lambda: apply_op("div", NORMAL, 4.0), fi.Normal(0.125, 0.5)),
    "normal plus a number": (lambda: apply_op("add", NORMAL, 1), fi.Normal(1.5, 2.0)),
    "normal minus a number": (lambda: apply_op("sub", NORMAL, 1.0), fi.Normal(-0.5, 2.0)),
    "uniform times a number": (lambda: apply_op("mul", UNIFORM, 0.5), fi.Uniform(-0.5, 1.5)),
    "uniform plus a number": (lambda: apply_op("add", 2.0, UNIFORM), fi.Uniform(1.0, 5.0)),
    "truncated normal times a number": (lambda: apply_op("mul", TRUNCATED, 2.0), fi.TruncatedNormal(1.0, 4.0, lower=-1.0, upper=3.0)),
    "truncated normal plus a number": (lambda: apply_op("add", TRUNCATED, 1.0), fi.TruncatedNormal(1.5, 2.0, lower=-1.0, upper=3.0)),
    "log-uniform times a number": (lambda: apply_op("mul", fi.LogUniform(1.0, 4.0), 2.0), fi.LogUniform(2.0, 8.0)),
    "exponential times a number": (lambda: apply_op("mul", fi.Exponential(2.0), 0.25), fi.Exponential(0.5)),
    "orthogonal times a number": (lambda: apply_op("mul", fi.Orthogonal(2.0), 0.25), fi.Orthogonal(0.5)),
    "exponential of a uniform": (lambda: apply_op("exp", fi.Uniform(0.0, 1.0)), fi.LogUniform(1.0, math.e)),
    "nothing times a normal": (lambda: apply_op("mul", NORMAL, 0.0), fi.Constant(0.0)),
    "clamped where it is": (lambda: apply_op("clamp", UNIFORM, -1.0, 3.5), UNIFORM),
    "clamped in the far tails": (lambda: apply_op("clamp", fi.Normal(0.0, 0.02), -2.0, 2.0), fi.TruncatedNormal.within(-2.0, 2.0, mean=0.0, stddev=0.02)),
    "clamped on one side": (lambda: apply_op("maximum", fi.Normal(0.0, 0.1), -1.0), fi.TruncatedNormal.within(-1.0, inf, mean=0.0, stddev=0.1)),
    "clamped at its bounds": (lambda: apply_op("clamp", TRUNCATED, -1.5, 6.5), TRUNCATED),
    "all of a normal by erfinv": (lambda: apply_op("erfinv", fi.Uniform(-1.0, 1.0)), fi.Normal(0.0, 1 / math.sqrt(2))),
    "a further draw": (lambda: apply_op("mul", Draw(NORMAL, 2, 5, (3, 1)), 2.0), Draw(fi.Normal(1.0, 4.0), 2, 5, (3, 1))),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDED)
def test_folded(case: str) -> None:
    make, expected = FOLDED[case]
    assert make() == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: apply_op("mul", UNIFORM, -1.0),
        # Another tensor may be made from the same draw: its negative must stay that.
        lambda: apply_op("neg", NORMAL),
        lambda: apply_op("mul", NORMAL, -3.0),
        lambda: apply_op("sub", 1.0, NORMAL),
        lambda: apply_op("neg", TRUNCATED),
        lambda: apply_op("neg", fi.LogUniform(1.0, 2.0)),
        lambda: apply_op("add", NORMAL, NORMAL),
        lambda: apply_op("maximum", NORMAL, 0.0),
        lambda: apply_op("minimum", TRUNCATED, 6.0),
        lambda: apply_op("maximum", UNIFORM, 0.0),
        lambda: apply_op("mul", NORMAL, Known([2.0])),  # type: ignore[arg-type]
        lambda: apply_op("add", fi.Uniform(0.0, 1e-20), 1.0),
    ],
)
def test_what_has_no_plain_form_stays(make: Any) -> None:
    assert isinstance(make(), Op)


def test_infinite_constants_are_known() -> None:
    made = apply_op("log", fi.Constant(0.0))
    assert isinstance(made, Known)
    assert made.numbers.tolist() == -inf


def timm(low: float, high: float, mean: float, std: float) -> fi.Distribution:
    """timm's _trunc_normal_ as operations."""

    def norm_cdf(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    lower, upper = norm_cdf((low - mean) / std), norm_cdf((high - mean) / std)
    x = apply_op("erfinv", fi.Uniform(2 * lower - 1, 2 * upper - 1))
    x = apply_op("add", apply_op("mul", x, std * math.sqrt(2.0)), mean)
    return apply_op("clamp", x, low, high)


@pytest.mark.parametrize(
    ("low", "high", "mean", "std"),
    [(-2.0, 2.0, 0.0, 1.0), (-0.04, 0.04, 0.0, 0.02), (-2.0, 2.0, 0.0, 0.02), (-1.0, 3.0, 0.5, 1.0),
     (-7.5, 0.25, 0.0, 1.0), (0.1, 0.3, 0.0, 0.2)],
)  # fmt: skip
def test_timms_truncated_normal_is_recognised(
    low: float, high: float, mean: float, std: float
) -> None:
    made = timm(low, high, mean, std)
    assert isinstance(made, fi.TruncatedNormal)
    expected = fi.TruncatedNormal.within(low, high, mean=mean, stddev=std)
    assert made.mean == pytest.approx(mean, abs=1e-15)
    assert made.stddev == pytest.approx(std, rel=1e-15)
    ends = [made.mean + made.stddev * end for end in (made.lower, made.upper)]
    assert ends == pytest.approx([low, high], rel=1e-15)
    assert made.lower == pytest.approx(expected.lower, rel=1e-14)
    assert all(low <= end <= high for end in ends)
