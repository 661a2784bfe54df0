"""Shapes to fans, gains and corrections: numbers only, in double precision."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit import _kernel
from fastinit.checks import BOOLS, check_bounds, check_choice, check_real, counted, shown
from fastinit.choices import AxesName

Axes = int | Sequence[int]

#: in_axis and out_axis by name: kernel x in x out of Keras, TensorFlow and Flax; out x in x kernel of PyTorch.
NAMED_AXES: dict[AxesName, tuple[int, int]] = {"in_out": (-2, -1), "out_in": (1, 0)}

#: NumPy's limit.
MAX_DIMS = 64

#: Standard deviation of a standard normal truncated at +-2.
TRUNCATED_STD_2 = 0.87962566103423978


def normalize_axes(name: str, axes: Axes) -> tuple[int, ...]:
    """`axes` as a tuple of Python integers."""
    result = _integers(name, axes)
    if not all(-MAX_DIMS <= axis < MAX_DIMS for axis in result):
        raise ValueError(f"{name} must lie in [{-MAX_DIMS}, {MAX_DIMS}), got {shown(axes)}")
    return result


def check_axes_name(name: str, value: Any) -> None:
    check_choice(name, value, tuple(NAMED_AXES))


def _integers(name: str, value: Any) -> tuple[int, ...]:
    """An int, or a few of them, as a tuple of Python integers."""
    is_sequence = isinstance(value, (tuple, list, range)) or (
        isinstance(value, np.ndarray) and value.ndim > 0
    )
    items = value[: MAX_DIMS + 1] if is_sequence else (value,)  # `len` of a range has a limit
    if len(items) > MAX_DIMS:
        raise ValueError(f"{name} must have at most {MAX_DIMS} items, got {shown(value)}")
    try:
        bools = any(isinstance(item, BOOLS) for item in items)
        result = None if bools else tuple(map(operator.index, items))
    except TypeError:
        result = None
    if result is None:
        raise TypeError(f"{name} must be an int or a sequence of ints, got {shown(value)}")
    return result


def positive_axes(name: str, axes: Axes, ndim: int) -> list[int]:
    """`axes` of a shape of `ndim` dimensions, counted from the front."""
    given = normalize_axes(name, axes)
    if not all(-ndim <= axis < ndim for axis in given):
        raise ValueError(
            f"{name} must lie in [{-ndim}, {ndim}) for a shape of {counted(ndim, 'dimension')}, got {shown(axes)}"
        )
    return [axis % ndim for axis in given]


def compute_fans(
    shape: Sequence[int], in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()
) -> tuple[int, int]:
    """Number of inputs and outputs of one unit of a weight tensor.

    Parameters
    ----------
    shape : sequence of int
        The shape of the whole tensor, never of a shard.
    in_axis, out_axis : int or sequence of int
        Axes that hold the input and the output features. The default is the
        layout of Keras, TensorFlow and Flax (``... x in x out``); for
        ``torch.nn.Linear`` use ``in_axis=-1, out_axis=-2``, for convolutions of
        PyTorch (``out x in x spatial``) ``in_axis=1, out_axis=0``.
    batch_axis : int or sequence of int
        Axes that hold independent copies of the layer, left out of both fans.

    Returns
    -------
    fan_in, fan_out : int
        The product of the in (out) axes times the receptive field, which is the
        product of all axes that are not named. Rank 0 gives (1, 1) and rank 1
        gives (n, n), as in Keras; the axes are not looked at then.

    Raises
    ------
    ValueError
        An axis out of range, or named twice; a negative dimension.
    TypeError
        `shape` or an axis is not made of integers.

    Notes
    -----
    For two or more dimensions this is the rule of ``jax.nn.initializers``; with
    the default axes also that of Keras, TensorFlow, Haiku and Sonnet.

    Examples
    --------
    >>> compute_fans((3, 3, 64, 128))
    (576, 1152)
    """
    shape = normalize_shape(shape)
    ndim = len(shape)
    if ndim < 2:
        n = shape[0] if shape else 1
        return n, n
    ins = positive_axes("in_axis", in_axis, ndim)
    outs = positive_axes("out_axis", out_axis, ndim)
    named = [*ins, *outs, *positive_axes("batch_axis", batch_axis, ndim)]
    if len(set(named)) != len(named):
        raise ValueError(
            "in_axis, out_axis and batch_axis must name different axes, got "
            f"{shown(in_axis)}, {shown(out_axis)} and {shown(batch_axis)}"
        )
    field = math.prod(n for axis, n in enumerate(shape) if axis not in named)
    return field * math.prod(shape[i] for i in ins), field * math.prod(shape[i] for i in outs)


def normalize_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """`shape` as a tuple of non-negative Python integers, of a product of at most 2**64 without zeros."""
    dims = _integers("shape", shape)
    if dims and min(dims) < 0:
        raise ValueError(
            f"shape must not have negative dimensions, got {shown(min(dims))} in {shown(shape)}"
        )
    # Sizes beside a zero have products too, in fans and in NumPy.
    if math.prod(filter(None, dims)) > 2**64:
        raise ValueError(
            f"shape must have at most 2**64 elements, sizes of 0 left out, got {shown(shape)}"
        )
    return dims


_GAINS = {
    "linear": 1.0,
    "identity": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 0.75,
}


@_kernel.in_default_arithmetic
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Recommended gain of a nonlinearity.

    Parameters
    ----------
    nonlinearity : str
        ``linear``, ``identity``, ``conv{1,2,3}d``, ``conv_transpose{1,2,3}d`` and
        ``sigmoid`` (1), ``tanh`` (5/3), ``relu`` (sqrt 2), ``selu`` (3/4) or
        ``leaky_relu`` (sqrt(2 / (1 + slope**2))).
    param : float, optional
        The negative slope of ``leaky_relu``, 0.01 by default. The others ignore it.

    Returns
    -------
    float
        The factor by which a fan-scaled standard deviation is multiplied; the
        values are those of ``torch.nn.init.calculate_gain``. A `VarianceScaling`
        takes ``scale=gain**2``.

    Raises
    ------
    ValueError
        Unknown nonlinearity, or a slope that is not finite.
    TypeError
        A slope that is not a real number.
    """
    check_choice("nonlinearity", nonlinearity, (*_GAINS, "leaky_relu"))
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else check_real("param", param)
        if not math.isfinite(slope):
            raise ValueError(f"param must be finite, got {param!r}")
        return math.sqrt(2 / (1 + slope * slope))
    return _GAINS[nonlinearity]


def truncated_std(lower: float, upper: float) -> float:
    """Standard deviation of a standard normal truncated to [lower, upper].

    Parameters
    ----------
    lower, upper : float
        Bounds with ``lower < upper``; either may be infinite.

    Returns
    -------
    float
        0.87962566103423978 for (-2, 2).

    Raises
    ------
    ValueError
        ``lower >= upper``, or a NaN.

    Notes
    -----
    The closed formula ``1 + (a phi(a) - b phi(b))/Z - ((phi(a) - phi(b))/Z)**2``
    loses all its digits for narrow and far intervals. This is the same variance
    by Gauss-Legendre quadrature of the density relative to its largest value,
    over the part of the interval where that exceeds 1e-20.
    """
    lower, upper = check_real("lower", lower), check_real("upper", upper)
    check_bounds(lower, upper)
    return truncated_moments(lower, upper)[1]


@_kernel.in_default_arithmetic
@lru_cache(maxsize=256)
def truncated_moments(lower: float, upper: float) -> tuple[float, float, float]:
    """Mean, standard deviation and kurtosis of a standard normal truncated to [lower, upper].

    The mean is relative to the number of the interval that is nearest to 0. A sum of the two would
    lose the digits of the mean where `lower` is large.
    """
    if upper <= 0:
        mean, std, kurtosis = truncated_moments(-upper, -lower)
        return -mean, std, kurtosis
    log_smallest = 46.0  # -ln 1e-20
    reach = math.sqrt(2 * log_smallest)
    near = max(lower, 0.0)
    # The density at near + e relative to that at near is exp(-e (2 near + e) / 2).
    furthest = log_smallest / (near / 2 + math.hypot(near, reach) / 2)
    low, high = max(lower - near, -reach), min(upper - near, furthest)
    # In units of the width, which may be too small or too large to be squared.
    width = high - low
    nodes, weights = gauss_legendre(128)
    t = low / width + nodes
    w = weights * np.exp(-t * width * (near + t * width / 2))
    w /= w.sum()
    mean = float(np.sum(w * t))
    squares = (t - mean) ** 2
    variance = float(np.sum(w * squares))
    kurtosis = float(np.sum(w * squares * squares)) / variance**2
    if (lower, upper) == (-2, 2):
        return 0.0, TRUNCATED_STD_2, kurtosis
    return width * mean, width * math.sqrt(variance), kurtosis


@cache
def gauss_legendre(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of the quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2
