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
    from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding
    from jax.typing import DTypeLike
except ImportError as error:
    raise ImportError("fastinit.jax needs the package jax: pip install jax") from error

from fastinit import initializers as laws
from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import check_choice, check_real
from fastinit.choices import DistributionName, Mode
from fastinit.fans import Axes, normalize_shape, positive_axes
from fastinit.fill import Array, output_dtype
from fastinit.initializers import prepare
from fastinit.streams import Seed, Stream

__all__ = [
    "Initializer",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
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

Shape = tuple[int, ...]

#: What turns the words of a key into a seed and a stream.
Reader = Callable[[Array], tuple[Seed, Stream]]

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

#: XLA takes over the memory of a NumPy array if it is aligned to so many bytes, and copies it otherwise.
_ALIGNMENT = 64


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
        words = _key_words(key)
        if out_sharding is not None:
            traced = isinstance(words, jax.core.Tracer)
            out_sharding = named_sharding("out_sharding", out_sharding, traced)
        return make_array(law, dims, made, words, out_sharding)

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


def _key_words(key: Any) -> Any:
    """The 32-bit words of one key. Traced if anything is: a known key under jax.jit gives a tracer."""
    try:
        words = jax.random.key_data(key)
    except TypeError as error:
        raise TypeError(
            f"key must be a key of jax.random.key or jax.random.PRNGKey, got {key!r:.80}"
        ) from error
    if words.ndim > 1:
        typed = jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
        several = key.shape if typed else words.shape[:-1]
        if several:
            raise ValueError(
                f"key must be a single key, got an array of keys of shape {several}: "
                "use jax.vmap for several"
            )
        words = words.ravel()
    if jax.config.jax_debug_key_reuse:
        jax.random.bits(key)  # uses the key up, which reading its words does not
    return words


def read_key(words: Array) -> tuple[Seed, Stream]:
    """The seed of a key, so that ``jax.random.key(7)`` is 7; the stream has no name."""
    if len(words) == 2:
        return int(words[0]) << 32 | int(words[1]), ""
    return np.random.SeedSequence(words.tolist()), ""


def make_array(
    law: laws.Initializer,
    shape: Shape,
    dtype: np.dtype[Any],
    words: Any,
    sharding: Any = None,
    read: Reader = read_key,
) -> Any:
    """What initializers return here and, on the backend JAX, in `fastinit.keras`.

    Traced `words` make it an operation of the function that is being traced. A `sharding`
    is what `named_sharding` returns. Without one the array lies where JAX would make it.
    """
    traced = isinstance(words, jax.core.Tracer)
    if sharding is None:
        sharding = _sharding_in_context(words, traced)
    if isinstance(sharding, NamedSharding) and len(sharding.spec) > len(shape):
        if any(sharding.spec.partitions[len(shape) :]):
            raise ValueError(
                f"out_sharding must not name axes beyond the dimensions of {shape}, got {sharding.spec}"
            )
        partitions = sharding.spec.partitions[: len(shape)]
        sharding = sharding.update(spec=sharding.spec.update(partitions=partitions))
    if isinstance(sharding, NamedSharding) and AxisType.Explicit in sharding.mesh.axis_types:
        sharding = sharding.update(spec=_whole_spec(sharding.spec, len(shape)))
    if traced:
        return _traced(law, shape, dtype, words, sharding, read)
    seed, stream = read(np.asarray(words))
    if sharding is not None:
        return _sharded(law, shape, dtype, seed, stream, sharding)
    made = law.fill(_new_array(shape, dtype), seed=seed, stream=stream)
    return jax.device_put(made, may_alias=True)


def _sharding_in_context(words: Any, traced: bool) -> Any:
    """Where JAX makes an array without being told: all of it on each device of the mesh in context, or with the key.

    None for the default device, and within `jax.shard_map`.
    """
    abstract = jax.sharding.get_abstract_mesh()
    if abstract.manual_axes:
        return None
    if not abstract.empty:
        mesh = abstract if traced else _mesh_of_devices()
        return None if mesh is None else NamedSharding(mesh, PartitionSpec())
    if traced or not (isinstance(words, jax.Array) and words.committed):
        return None
    if isinstance(words.sharding, NamedSharding):
        return NamedSharding(words.sharding.mesh, PartitionSpec())
    return words.sharding if isinstance(words.sharding, SingleDeviceSharding) else None


def _whole_spec(spec: PartitionSpec, ndim: int) -> PartitionSpec:
    """The same with an entry for each axis, as JAX's own arrays have it where axes of the mesh are explicit."""
    return spec.update(partitions=(*spec.partitions, *[None] * (ndim - len(spec))))


def _mesh_of_devices() -> Any:
    """The mesh in context, with its devices; None if there is none."""
    try:
        mesh = jax.sharding.get_mesh()
    except ValueError:  # within jax.grad or jax.vmap, where a new array still lies on the mesh
        sharding = jax.numpy.asarray(np.int32(0)).sharding
        return sharding.mesh if isinstance(sharding, NamedSharding) else None
    return None if mesh.empty else mesh


def _new_array(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An uninitialised array whose memory JAX takes over without a copy."""
    size = math.prod(shape)
    memory = np.empty(size + _ALIGNMENT // dtype.itemsize, dtype)
    first = -memory.ctypes.data % _ALIGNMENT // dtype.itemsize
    return memory[first : first + size].reshape(shape)


def _sharded(
    law: laws.Initializer,
    shape: Shape,
    dtype: np.dtype[Any],
    seed: Seed,
    stream: Stream,
    sharding: Any,
) -> Any:
    """An array whose parts are made by themselves, each once however many devices hold it."""
    parts: dict[Any, Array] = {}

    def part(index: tuple[slice, ...]) -> Array:
        ends = tuple(item.indices(n)[:2] for item, n in zip(index, shape, strict=True))
        if ends not in parts:
            out = _new_array(tuple(stop - start for start, stop in ends), dtype)
            parts[ends] = law.fill(out, seed=seed, stream=stream, shape=shape, index=index)
        return parts[ends]

    return jax.make_array_from_callback(shape, sharding, part, dtype=dtype)


def named_sharding(name: str, sharding: Any, traced: bool) -> Any:
    """A sharding with its mesh: that in context for a PartitionSpec or, outside of tracing, an abstract mesh.

    None for a sharding whose mesh has no axes, and for one that names no axes within `jax.shard_map`.
    """
    if isinstance(sharding, PartitionSpec):
        mesh = jax.sharding.get_abstract_mesh() if traced else _mesh_of_devices()
        if mesh is None or mesh.empty:
            raise ValueError(
                f"{name} must be a NamedSharding where no mesh is in context (jax.set_mesh), "
                f"got {sharding!r}"
            )
        sharding = NamedSharding(mesh, sharding)
    if not isinstance(sharding, NamedSharding):
        raise TypeError(
            f"{name} must be a NamedSharding, a PartitionSpec or None, "
            f"got {sharding!r} of type {type(sharding).__name__}"
        )
    if sharding.mesh.empty:  # as that of jax.typeof(x).sharding where no mesh is in context
        return None
    if PartitionSpec.UNCONSTRAINED in sharding.spec.partitions:
        raise ValueError(f"{name} must not have unconstrained dimensions, got {sharding.spec}")
    if sharding.spec.unreduced or sharding.spec.reduced:
        raise ValueError(f"{name} must not have reduced or unreduced axes, got {sharding.spec}")
    context = jax.sharding.get_abstract_mesh()
    if context.manual_axes and context.manual_axes == context.axis_names:
        if any(sharding.spec.partitions):
            raise ValueError(
                f"{name} must not name axes of the mesh within jax.shard_map, "
                f"where each device makes an array of its own, got {sharding.spec}"
            )
        return None
    if not traced and isinstance(sharding.mesh, jax.sharding.AbstractMesh):
        mesh = _mesh_of_devices()
        if mesh is None or mesh.shape != sharding.mesh.shape:
            raise ValueError(
                f"{name} has an abstract mesh, which names no devices: "
                f"enter the mesh by jax.set_mesh, got {sharding!r}"
            )
        return NamedSharding(mesh, sharding.spec, memory_kind=sharding.memory_kind)
    return sharding


@dataclass(frozen=True)
class _Fill:
    """Fills a part of a tensor, in NumPy alone; a value, so that JAX compiles equal ones once."""

    law: laws.Initializer
    shape: Shape
    part: Shape
    dtype: np.dtype[Any]
    read: Reader

    def __call__(self, words: Any, place: Any) -> Array:
        """One part for each key of `words`; `place` counts the parts before it along each axis."""
        words, place = np.asarray(words), np.asarray(place)
        first = place.reshape(-1, len(self.part))[0].tolist() if self.part else []
        index = tuple(slice(i * n, i * n + n) for i, n in zip(first, self.part, strict=True))
        out = np.empty(words.shape[:-1] + self.part, self.dtype)
        for key in np.ndindex(words.shape[:-1]):
            seed, stream = self.read(words[key])
            self.law.fill(out[(*key, ...)], seed=seed, stream=stream, shape=self.shape, index=index)
        return out


def _traced(
    law: laws.Initializer,
    shape: Shape,
    dtype: np.dtype[Any],
    words: Any,
    sharding: Any,
    read: Reader,
) -> Any:
    """The array as an operation of the function that is being traced."""
    prepare(law, shape, dtype.name)  # its errors are clearer now than from within the callback

    def make(part: Shape, words: Any, place: Any) -> Any:
        fill, result = _Fill(law, shape, part, dtype, read), jax.ShapeDtypeStruct(part, dtype)
        return jax.pure_callback(fill, result, words, place, vmap_method="broadcast_all")

    mesh = jax.sharding.get_abstract_mesh()
    if mesh.manual_axes and len(mesh.manual_axes) < len(mesh.axis_names):
        raise NotImplementedError(
            f"jax.shard_map with axis_names={set(mesh.manual_axes)!r} leaves axes of the mesh "
            f"{mesh.axis_names} out, where JAX makes no callbacks: "
            "make the array outside of it and pass it in, or name all axes"
        )
    if sharding is None:
        return make(shape, words, np.zeros(len(shape), np.int32))
    part = sharding.shard_shape(shape)
    axes = _whole_spec(sharding.spec, len(shape)).partitions

    def make_part(words: Any) -> Any:
        place = [jax.lax.axis_index(names) if names else 0 for names in axes]
        return make(part, words, jax.numpy.array(place, np.int32))

    made = jax.shard_map(
        make_part, mesh=sharding.mesh, in_specs=PartitionSpec(), out_specs=sharding.spec
    )(words)
    # jax.shard_map makes it in the memory of the device, whatever the sharding says.
    return made if sharding.memory_kind in (None, "device") else jax.device_put(made, sharding)


def __dir__() -> list[str]:
    """The public names, without the modules that make them."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
