"""Arrays of JAX: keys to seeds, and values to devices, by the shards of a sharding or as an operation under tracing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from fastinit import initializers as laws
from fastinit.dtypes import is_fillable
from fastinit.fill import Array
from fastinit.initializers import prepare
from fastinit.streams import Seed, Stream

Shape = tuple[int, ...]

#: What turns the words of a key into a seed and a stream.
Reader = Callable[[Array], tuple[Seed, Stream]]

#: XLA takes over the memory of a NumPy array if it is aligned to so many bytes, and copies it otherwise.
_ALIGNMENT = 64


def key_words(key: Any, name: str = "key") -> Any:
    """The 32-bit words of one key. Traced if anything is: a known key under jax.jit gives a tracer."""
    try:
        words = jax.random.key_data(key)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a key of jax.random.key or jax.random.PRNGKey, got {key!r:.80}"
        ) from error
    if words.ndim > 1:
        typed = jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
        several = key.shape if typed else words.shape[:-1]
        if several:
            raise ValueError(
                f"{name} must be a single key, got an array of keys of shape {several}: "
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
    sharding = fitted_sharding("out_sharding", sharding, shape)
    if traced:
        return _traced(law, shape, dtype, words, sharding, read)
    seed, stream = read(np.asarray(words))
    if sharding is not None:
        return _sharded(law, shape, dtype, seed, stream, sharding)
    made = law.fill(_new_array(shape, dtype), seed=seed, stream=stream)
    return jax.device_put(made, may_alias=True)


def fitted_sharding(name: str, sharding: Any, shape: Shape) -> Any:
    """A sharding as JAX's own arrays of `shape` have it: no entries beyond their axes, one for each on explicit meshes."""
    if not isinstance(sharding, NamedSharding):
        return sharding
    if len(sharding.spec) > len(shape):
        if any(sharding.spec.partitions[len(shape) :]):
            raise ValueError(
                f"{name} must not name axes beyond the dimensions of {shape}, got {sharding.spec}"
            )
        partitions = sharding.spec.partitions[: len(shape)]
        sharding = sharding.update(spec=sharding.spec.update(partitions=partitions))
    if AxisType.Explicit in sharding.mesh.axis_types:
        sharding = sharding.update(spec=_whole_spec(sharding.spec, len(shape)))
    return sharding


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
    if is_fillable(dtype.name):
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
