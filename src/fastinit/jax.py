"""The factories of ``jax.nn.initializers``, with values from this library's stream.

``from fastinit import jax as initializers`` takes the place of
``from jax.nn import initializers``: names, arguments, defaults and laws are JAX's. A
factory returns ``init(key, shape, dtype=..., out_sharding=None)``, which makes a
`jax.Array` of the values that the core makes from the same seed:

- A key of two 32-bit words (``jax.random.key(7)``, ``jax.random.PRNGKey(7)``) is the seed
  ``(word 0 << 32) | word 1``, here 7. Keys of another number of words (the implementations
  rbg and unsafe_rbg) are the seed ``numpy.random.SeedSequence(list of words)``.
- With an `out_sharding`, each device's part is made by itself; the values do not change.
  Without one, arrays lie where JAX's own would: under ``jax.set_mesh``, replicated over the mesh.
- Under ``jax.jit``, ``jax.vmap`` and the like the values come from a callback into this
  process, and are the same.

What draws nothing from the stream (constants, orthogonal matrices) is JAX's own, and so
are values of dtypes that this library does not sample (complex ones, other 8-bit floats).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

try:
    import jax
    from jax.nn import initializers as _own
    from jax.nn.initializers import (
        Initializer,
        constant,
        delta_orthogonal,
        ones,
        orthogonal,
        zeros,
    )
    from jax.typing import DTypeLike
except ImportError as error:
    raise ImportError("fastinit.jax needs the package jax: pip install jax") from error

from fastinit import initializers as laws
from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import check_choice, check_real
from fastinit.choices import DistributionName, Mode
from fastinit.fans import Axes, normalize_shape, positive_axes
from fastinit.fill import output_dtype
from fastinit.jax_arrays import key_words, make_array, named_sharding
from fastinit.jax_tree import init_tree, leaf_paths

__all__ = [
    "Initializer",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "init_tree",
    "kaiming_normal",
    "kaiming_uniform",
    "leaf_paths",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

#: JAX's names of the distributions of `variance_scaling`.
JaxDistributionName = Literal["truncated_normal", "normal", "uniform"]

#: JAX's names of distributions to those of `fastinit.VarianceScaling`.
_DISTRIBUTIONS: dict[JaxDistributionName, DistributionName] = {
    "truncated_normal": "truncated_normal",
    "normal": "untruncated_normal",
    "uniform": "uniform",
}

#: Dtypes whose values come from this library.
_SAMPLED = frozenset(map(output_dtype, DTYPE_SIZES))


def uniform(scale: Any = 1e-2, dtype: DTypeLike | None = None) -> Initializer:
    """Uniform on [0, scale).

    Parameters
    ----------
    scale : float or scalar array
        The other end, finite. A negative one gives [scale, 0), where JAX has (scale, 0].
    dtype : dtype, optional
        What calls without a dtype make, by default JAX's float: float32, or float64 if
        ``jax_enable_x64`` is set.

    Returns
    -------
    function
        ``init(key, shape, dtype=dtype, out_sharding=None)``; see `variance_scaling`.

    Raises
    ------
    TypeError, ValueError
        A `scale` that is not a real number or not finite. One that is traced or complex is an
        error of calls, but for complex dtypes, which are JAX's.
    """

    def distribution() -> laws.Initializer:
        low, high = sorted((0.0, _number("scale", scale)))
        return laws.Uniform(low, high)

    return _initializer(distribution, _own.uniform(scale, dtype), dtype, scale)


def normal(stddev: Any = 1e-2, dtype: DTypeLike | None = None) -> Initializer:
    """Normal with mean 0.

    Parameters
    ----------
    stddev : float or scalar array
        The standard deviation, finite and not negative.
    dtype : dtype, optional
        As for `uniform`.

    Returns
    -------
    function
        ``init(key, shape, dtype=dtype, out_sharding=None)``; see `variance_scaling`.

    Raises
    ------
    TypeError, ValueError
        A `stddev` that is not a real number or out of range; traced and complex ones as for
        `uniform`.
    """

    def distribution() -> laws.Initializer:
        return laws.Normal(0.0, _number("stddev", stddev))

    return _initializer(distribution, _own.normal(stddev, dtype), dtype, stddev)


def truncated_normal(
    stddev: Any = 1e-2, dtype: DTypeLike | None = None, lower: Any = -2.0, upper: Any = 2.0
) -> Initializer:
    """Normal with mean 0, conditioned on [lower * stddev, upper * stddev].

    Parameters
    ----------
    stddev : float or scalar array
        The standard deviation *before* truncation, finite and not negative. That of the
        values is ``stddev * fastinit.truncated_std(lower, upper)``.
    dtype : dtype, optional
        As for `uniform`.
    lower, upper : float or scalar array
        Bounds in units of `stddev`, ``lower < upper``; either may be infinite. Values on
        them can occur.

    Returns
    -------
    function
        ``init(key, shape, dtype=dtype, out_sharding=None)``; see `variance_scaling`.

    Raises
    ------
    TypeError, ValueError
        An argument that is not a real number or out of range; traced and complex ones as for
        `uniform`.
    """

    def distribution() -> laws.Initializer:
        low, high = _number("lower", lower), _number("upper", upper)
        return laws.TruncatedNormal(0.0, _number("stddev", stddev), lower=low, upper=high)

    own = _own.truncated_normal(stddev, dtype, lower, upper)
    return _initializer(distribution, own, dtype, stddev, lower, upper)


def variance_scaling(
    scale: Any,
    mode: Mode,
    distribution: JaxDistributionName,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Zero mean and standard deviation sqrt(scale / n), with n counted from the shape.

    Parameters
    ----------
    scale : float or scalar array
        Finite and not negative; 0 gives zeros.
    mode : {"fan_in", "fan_out", "fan_avg", "fan_geo_avg"}
        What n is: a fan, their arithmetic mean or their geometric mean.
    distribution : {"truncated_normal", "normal", "uniform"}
        Normal truncated at two standard deviations of the parent, which is wider so that
        the values have the standard deviation above; normal; or uniform.
    in_axis, out_axis, batch_axis : int or sequence of int
        As for `fastinit.compute_fans`, but that an axis may be named twice; it then divides
        the receptive field twice, as in JAX. A shape of fewer than two dimensions needs an
        `in_axis` other than the default.
    dtype : dtype, optional
        As for `uniform`.

    Returns
    -------
    function
        ``init(key, shape, dtype=dtype, out_sharding=None)``, which returns a `jax.Array`.
        The key is one key of ``jax.random.key`` or ``jax.random.PRNGKey``. The dtype is
        any of JAX; those that this library does not sample take JAX's own values. The
        `out_sharding` is a ``NamedSharding``, or a ``PartitionSpec`` for the mesh in
        context. Without one, the array lies where JAX's own would: replicated over the mesh
        in context, or on the devices to which the key was put, or on the default device. On
        a CPU it is made in place, with no copy.

        It raises TypeError or ValueError for another key, an axis out of range, a shape of
        fewer than two dimensions with the default `in_axis` or that the sharding does not
        divide, and values beyond the dtype; NotImplementedError within a ``jax.shard_map``
        over some axes of a mesh only.

    Raises
    ------
    TypeError, ValueError
        A bad argument, named with what was expected and what came.

    References
    ----------
    Those of `fastinit.VarianceScaling`; the interface is that of
    ``jax.nn.initializers.variance_scaling``.
    """
    check_choice("distribution", distribution, tuple(_DISTRIBUTIONS))
    unscaled = _VarianceScaling(
        1.0,
        mode,
        _DISTRIBUTIONS[distribution],
        in_axis=in_axis,
        out_axis=out_axis,
        batch_axis=batch_axis,
    )

    def scaled() -> laws.Initializer:
        factor = _number("scale", scale)
        return replace(unscaled, scale=factor) if factor else laws.Constant(0.0)

    own = _own.variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)
    return _initializer(scaled, own, dtype, scale)


def glorot_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DTypeLike | None = None
) -> Initializer:
    """U[-x, x], x = sqrt(6 / (fan_in + fan_out)): `variance_scaling` with 1, "fan_avg", "uniform"."""
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


def glorot_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DTypeLike | None = None
) -> Initializer:
    """Truncated normal, std sqrt(2 / (fan_in + fan_out)): `variance_scaling` with 1, "fan_avg"."""
    return variance_scaling(
        1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype
    )


def lecun_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DTypeLike | None = None
) -> Initializer:
    """U[-x, x], x = sqrt(3 / fan_in): `variance_scaling` with 1, "fan_in", "uniform"."""
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def lecun_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DTypeLike | None = None
) -> Initializer:
    """Truncated normal, std sqrt(1 / fan_in): `variance_scaling` with 1, "fan_in"."""
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def he_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DTypeLike | None = None
) -> Initializer:
    """U[-x, x], x = sqrt(6 / fan_in): `variance_scaling` with 2, "fan_in", "uniform"."""
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def he_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DTypeLike | None = None
) -> Initializer:
    """Truncated normal, std sqrt(2 / fan_in): `variance_scaling` with 2, "fan_in"."""
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal


@dataclass(frozen=True, slots=True)
class _VarianceScaling(laws.VarianceScaling):
    """A `fastinit.VarianceScaling` that counts fans by JAX's arithmetic, for any axes.

    An axis that is named twice divides the receptive field twice, and fans may be below 1.
    """

    def resolve(self, shape: Sequence[int]) -> laws.Distribution:
        if len(shape) < 2 and self.in_axis == (-2,):
            raise ValueError(
                "shape must have at least 2 dimensions to count fans along the default in_axis, "
                f"got {tuple(shape)}: name in_axis and out_axis, or make (n, 1) or (1, n) and reshape"
            )
        inputs, outputs, copies = (
            math.prod(shape[axis] for axis in positive_axes(name, getattr(self, name), len(shape)))
            for name in ("in_axis", "out_axis", "batch_axis")
        )
        size = math.prod(shape)
        if size == 0:
            return laws.Constant(0.0)
        fan_in, fan_out = size / (outputs * copies), size / (inputs * copies)
        n = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[self.mode]
        # Both fans of a tensor of one element are 1.
        return laws.VarianceScaling(self.scale / n, "fan_in", self.distribution).resolve((1, 1))


def _number(name: str, value: Any) -> float:
    """A factory's argument as a float; scalars of JAX and NumPy are numbers here, as they are to JAX."""
    if isinstance(value, jax.core.Tracer):
        advice = "" if name in ("lower", "upper") else f": make the initializer with {name}=1 and multiply its values"  # fmt: skip
        raise TypeError(
            f"{name} must be a number that is known outside jax.jit, got {value!r}{advice}"
        )
    if isinstance(value, (jax.Array, np.ndarray)) and value.ndim == 0:
        value = value.item()
    return check_real(name, value)


def _initializer(
    distribution: Callable[[], laws.Initializer], own: Initializer, dtype: Any, *numbers: Any
) -> Initializer:
    """The function that a factory returns; `own` is JAX's, for what this library does not sample.

    The factory raises the errors of `distribution`, unless one of the `numbers` that it is made
    from is traced or complex: JAX's function takes those for complex dtypes, which only a call knows.
    """
    default = dtype
    early = None if any(map(_is_for_complex_dtypes, numbers)) else distribution()

    def init(key: Any, shape: Any, dtype: Any = default, out_sharding: Any = None) -> jax.Array:
        made = _sampled_dtype(dtype)
        if made is None:
            return own(key, shape, dtype, out_sharding)
        law = distribution() if early is None else early
        # An array of JAX is a shape to JAX.
        dims = normalize_shape(shape.tolist() if isinstance(shape, jax.Array) else shape)
        words = key_words(key)
        if out_sharding is not None:
            traced = isinstance(words, jax.core.Tracer)
            out_sharding = named_sharding("out_sharding", out_sharding, traced)
        return make_array(law, dims, made, words, out_sharding)

    # For `init_tree`, whose streams are named and whose seeds are no keys.
    vars(init)["fastinit_distribution"] = distribution if early is None else lambda: early
    return init


def _is_for_complex_dtypes(number: Any) -> bool:
    return isinstance(number, jax.core.Tracer) or np.iscomplexobj(number)


def _sampled_dtype(dtype: Any) -> np.dtype[Any] | None:
    """What JAX makes of a dtype, or None if this library does not sample it."""
    made: np.dtype[Any] = jax.dtypes.canonicalize_dtype(float if dtype is None else dtype)
    if made not in _SAMPLED:
        return None
    if dtype is not None and dtype is not float and made != dtype:
        jax.numpy.zeros((), dtype)  # JAX's warning that float64 is not enabled, or its error
    return made


def __dir__() -> list[str]:
    """The public names, without the modules that make them."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
