"""What `test_jax.py` runs with eight CPU devices: XLA makes them when a process starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import fastinit as fi
from fastinit import jax as face

SHAPE = (64, 48)
KEY = jax.random.key(7)
WHOLE = fi.he_normal(SHAPE, seed=7)
INIT = face.he_normal()

LINE, TALL, WIDE, CUBE = (8,), (4, 2), (2, 4), (2, 2, 2)
CASES = [
    (LINE, P("x"), 8),
    (LINE, P(None, "x"), 8),
    (LINE, P(), 1),
    (TALL, P("x", "y"), 8),
    (TALL, P("y", "x"), 8),
    (TALL, P(("x", "y")), 8),
    (TALL, P(None, ("y", "x")), 8),
    (TALL, P("x"), 4),
    (WIDE, P("x"), 2),
    (WIDE, P(None, "y"), 4),
    (CUBE, P("z", "x"), 4),
]


def mesh_of(sizes: tuple[int, ...], kind: AxisType) -> Mesh:
    return jax.make_mesh(sizes, tuple("xyz"[: len(sizes)]), axis_types=(kind,) * len(sizes))


def check(array: jax.Array, sharding: NamedSharding, whole: np.ndarray = WHOLE) -> None:
    """The array is sharded as asked, and each part has the bits of that part of the whole."""
    assert array.sharding.is_equivalent_to(sharding, array.ndim), (array.sharding, sharding)
    assert len(array.addressable_shards) == 8
    for shard in array.addressable_shards:
        np.testing.assert_array_equal(np.asarray(shard.data), whole[shard.index])


def refuses(error: type[Exception], call: Callable[[], Any], message: str = "") -> None:
    try:
        call()
    except error as raised:
        if message in str(raised):
            return
        raise
    raise AssertionError(f"{error.__name__} expected")


def check_eager() -> None:
    for sizes, spec, parts in CASES:
        for kind in (AxisType.Auto, AxisType.Explicit):
            sharding = NamedSharding(mesh_of(sizes, kind), spec)
            array = INIT(KEY, SHAPE, None, sharding)
            check(array, sharding)
            # Devices that hold the same part look at the same memory: it was filled once, and not copied.
            places = {s.data.unsafe_buffer_pointer() for s in array.addressable_shards}
            assert len(places) == parts, (sizes, spec, len(places))


def check_shapes_and_dtypes() -> None:
    sharding = NamedSharding(mesh_of(TALL, AxisType.Explicit), P(None, "y", None, "x"))
    shape = (3, 4, 5, 16)
    for dtype in ("bfloat16", "float16", "float8_e5m2"):
        whole = fi.TruncatedNormal(0.0, 0.01)(shape, seed=7, dtype=dtype)
        check(face.truncated_normal()(KEY, shape, dtype, sharding), sharding, whole)
    none = NamedSharding(mesh_of(LINE, AxisType.Auto), P())
    check(face.normal()(KEY, (), None, none), none, fi.Normal(0.0, 0.01)((), seed=7))
    empty = NamedSharding(mesh_of(LINE, AxisType.Auto), P("x"))
    assert face.normal()(KEY, (0, 4), None, empty).shape == (0, 4)


def check_context() -> None:
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = mesh_of(TALL, kind)
        rows = NamedSharding(mesh, P("x"))
        with jax.set_mesh(mesh):
            check(INIT(KEY, SHAPE, None, P("x")), rows)
            check(jax.jit(lambda key: INIT(key, SHAPE, None, P("x")))(KEY), rows)
            check(jax.jit(lambda key: INIT(key, SHAPE))(KEY), NamedSharding(mesh, P()))
            np.testing.assert_array_equal(np.asarray(INIT(KEY, SHAPE)), WHOLE)


def check_traced() -> None:
    for sizes, spec, _ in CASES:
        sharding = NamedSharding(mesh_of(sizes, AxisType.Auto), spec)
        check(jax.jit(lambda key, to=sharding: INIT(key, SHAPE, None, to))(KEY), sharding)
    sharding = NamedSharding(mesh_of(LINE, AxisType.Auto), P("x"))
    made = jax.vmap(lambda key: INIT(key, SHAPE, None, sharding))(jax.random.split(KEY, 3))
    for key, array in zip(jax.random.split(KEY, 3), made, strict=True):
        np.testing.assert_array_equal(np.asarray(array), np.asarray(INIT(key, SHAPE)))

    def own_key(key: jax.Array) -> jax.Array:
        return INIT(jax.random.fold_in(key, jax.lax.axis_index("x")), SHAPE)

    mapped = jax.jit(jax.shard_map(own_key, mesh=sharding.mesh, in_specs=P(), out_specs=P("x")))
    each = [np.asarray(INIT(jax.random.fold_in(KEY, i), SHAPE)) for i in range(8)]
    np.testing.assert_array_equal(np.asarray(mapped(KEY)), np.concatenate(each))


def check_vmap_of_sharded_keys() -> None:
    """What JAX refuses, and the way out that the page gives."""
    mesh = mesh_of(TALL, AxisType.Explicit)
    with jax.set_mesh(mesh):
        keys = jax.device_put(jax.random.split(KEY, 8), NamedSharding(mesh, P("x")))
        many = jax.vmap(lambda key: INIT(key, SHAPE))
        refuses(NotImplementedError, lambda: jax.jit(many)(keys))
        made = jax.jit(lambda keys: many(jax.sharding.reshard(keys, P())))(keys)
        for key, array in zip(jax.random.split(KEY, 8), np.asarray(made), strict=True):
            np.testing.assert_array_equal(array, np.asarray(INIT(key, SHAPE)))

        def partly(spec: P | None) -> Callable[..., jax.Array]:
            return jax.shard_map(
                lambda key: INIT(key, SHAPE, None, spec),
                axis_names={"x"},
                in_specs=P(),
                out_specs=P("x"),
            )

        for spec in (None, P("y")):
            refuses(NotImplementedError, lambda spec=spec: jax.jit(partly(spec))(KEY), "axis_names")


def check_kinds_of_shardings() -> None:
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = mesh_of(TALL, kind)
        pinned = NamedSharding(mesh, P("x"), memory_kind="pinned_host")
        abstract = NamedSharding(mesh.abstract_mesh, P("x"), memory_kind="pinned_host")
        with jax.set_mesh(mesh):
            for make in (INIT, jax.jit(INIT, static_argnums=(1, 2, 3))):
                array = make(KEY, SHAPE, None, pinned)
                check(array, pinned)
                assert array.sharding.memory_kind == "pinned_host"
                if kind == AxisType.Auto:  # JAX makes no such sharding of the other
                    loose = P(P.UNCONSTRAINED, "x")
                    refuses(
                        ValueError,
                        lambda make=make, to=loose: make(KEY, SHAPE, None, to),
                        "unconstrained",
                    )
            check(INIT(KEY, SHAPE, None, abstract), pinned)
            to = NamedSharding(mesh.abstract_mesh, P("x"))
            rows = NamedSharding(mesh, P("x"))
            check(jax.jit(lambda key, to=to: INIT(key, SHAPE, None, to))(KEY), rows)
        refuses(ValueError, lambda to=abstract: INIT(KEY, SHAPE, None, to), "abstract mesh")
        with jax.set_mesh(mesh_of(LINE, kind)):
            refuses(ValueError, lambda to=abstract: INIT(KEY, SHAPE, None, to), "abstract mesh")


def check_large() -> None:
    """Callbacks of eight devices at a time, more than there are CPUs, end."""
    shape = (4096, 1024)
    sharding = NamedSharding(mesh_of(LINE, AxisType.Auto), P("x"))
    make = jax.jit(lambda key: INIT(key, shape, None, sharding))
    for seed in range(5):
        check(make(jax.random.key(seed)), sharding, fi.he_normal(shape, seed=seed))


def check_errors() -> None:
    uneven = NamedSharding(mesh_of(LINE, AxisType.Explicit), P("x"))
    own = jax.nn.initializers.he_normal()
    for init in (INIT, own, jax.jit(INIT, static_argnums=(1, 2, 3))):
        with jax.set_mesh(uneven.mesh):
            refuses(ValueError, lambda init=init: init(KEY, (63, 48), None, uneven))
            refuses(ValueError, lambda init=init: init(KEY, SHAPE, None, P("no_such_axis")))
        refuses(ValueError, lambda init=init: init(KEY, SHAPE, None, P("x")))  # no mesh
        refuses(TypeError, lambda init=init: init(KEY, SHAPE, None, jax.devices()[0]))


if __name__ == "__main__":
    assert len(jax.devices()) == 8, jax.devices()
    check_eager()
    check_shapes_and_dtypes()
    check_context()
    check_traced()
    check_vmap_of_sharded_keys()
    check_kinds_of_shardings()
    check_large()
    check_errors()
    print("all equal")
