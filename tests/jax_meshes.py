"""What `test_jax.py` runs on eight CPU devices with a mesh in context: arrays lie where JAX's own lie.

``python jax_meshes.py`` calls initializers, ``python jax_meshes.py nnx`` (linen, haiku) makes layers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import fastinit as fi
from fastinit import jax as face
from jax_devices import KEY, SHAPE, WHOLE, refuses

OURS, THEIRS = face.he_normal(), jax.nn.initializers.he_normal()
KEYS = jax.random.split(KEY, 3)
AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit

Init = Any
Call = Callable[[Init], jax.Array]
Make = Callable[[Init, jax.Array], jax.Array]


def meshes() -> Iterator[Mesh]:
    """Of axes of each type and of both over eight devices, and of each over one."""
    for kinds in ((AUTO, AUTO), (EXPLICIT, EXPLICIT), (AUTO, EXPLICIT)):
        yield jax.make_mesh((4, 2), ("x", "y"), axis_types=kinds)
    for kind in (AUTO, EXPLICIT):
        yield jax.make_mesh((1, 1), ("x", "y"), axis_types=(kind, kind), devices=jax.devices()[:1])


def whole_of(key: Any, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    high, low = (int(word) for word in np.asarray(jax.random.key_data(key)))
    return fi.he_normal(shape, seed=high << 32 | low)


def plain(init: Init, key: jax.Array) -> jax.Array:
    return init(key, SHAPE)


def constrained(spec: P) -> Make:
    return lambda init, key: jax.lax.with_sharding_constraint(init(key, SHAPE), spec)


def sharded(spec: P) -> Make:
    return lambda init, key: init(key, SHAPE, None, spec)


def ways(make: Make) -> Iterator[tuple[Call, np.ndarray]]:
    """Calls with a key that is known or traced, outside of and within JAX's transformations, and their values."""
    yield lambda init: make(init, KEY), WHOLE
    yield lambda init: jax.jit(lambda key: make(init, key))(KEY), WHOLE
    yield lambda init: jax.vmap(lambda key: make(init, key))(KEYS), np.stack([*map(whole_of, KEYS)])
    thrice = np.stack([WHOLE] * 3)
    yield lambda init: jax.vmap(lambda x: x * make(init, KEY))(jnp.ones(3)), thrice
    yield lambda init: jax.jvp(lambda x: x * make(init, KEY), (1.0,), (0.0,))[0], WHOLE
    yield (
        lambda init: jax.value_and_grad(lambda x: (x, make(init, KEY)), has_aux=True)(1.0)[0][1],
        WHOLE,
    )


def at_compile_time(init: Init) -> jax.Array:
    made = []

    def trace() -> None:
        with jax.ensure_compile_time_eval():
            made.append(init(KEY, SHAPE))

    jax.jit(trace)()
    return made[0]


def calls(mesh: Mesh) -> Iterator[tuple[Call, np.ndarray]]:
    yield from ways(plain)
    if AUTO in mesh.axis_types:
        kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
        yield from ways(constrained(P(*(name if kind == AUTO else None for name, kind in kinds))))
    else:
        yield from ways(sharded(P("x")))
    if len(mesh.devices.flat) > 1 and len(set(mesh.axis_types)) == 1:
        yield from more_calls(mesh)


def more_calls(mesh: Mesh) -> Iterator[tuple[Call, np.ndarray]]:
    yield lambda init: init(KEY, SHAPE, None, P()), WHOLE
    yield at_compile_time, WHOLE
    yield lambda init: jax.checkpoint(lambda x: x * init(KEY, SHAPE))(1.0), WHOLE
    yield lambda init: init(jax.device_put(KEY, P()), SHAPE), WHOLE
    yield lambda init: init(KEY, SHAPE) + jnp.ones(SHAPE), WHOLE + np.float32(1)
    yield lambda init: jax.jit(lambda: init(KEY, SHAPE), out_shardings=P("x"))(), WHOLE
    yield lambda init: init(KEY, SHAPE, None, jax.typeof(init(KEY, SHAPE)).sharding), WHOLE
    rows = np.concatenate([WHOLE] * mesh.shape["x"])
    for key in (KEY, jax.random.PRNGKey(7)):
        yield (
            lambda init, key=key: jax.shard_map(
                lambda: init(key, SHAPE), in_specs=(), out_specs=P("x")
            )(),
            rows,
        )


def theirs_of(mesh: Mesh, call: Call) -> jax.Array:
    with jax.set_mesh(mesh):
        return call(THEIRS)


def check_same(mesh: Mesh, call: Call, number: int, theirs: jax.Array, values: np.ndarray) -> None:
    """The array lies where that of JAX's own function lies, and has these values."""
    with jax.set_mesh(mesh):
        ours = call(OURS)
    same = ours.sharding == theirs.sharding
    if EXPLICIT not in mesh.axis_types:  # which make it a part of the type
        same = ours.sharding.is_equivalent_to(theirs.sharding, ours.ndim)
    assert same, (mesh, number, ours.sharding, theirs.sharding)
    assert ours.committed == theirs.committed, (mesh, number)
    np.testing.assert_array_equal(np.asarray(ours), values)


def check_calls() -> None:
    for mesh in meshes():
        for number, (call, values) in enumerate(calls(mesh)):
            check_same(mesh, call, number, theirs_of(mesh, call), values)


def check_memory() -> None:
    """CPU devices that hold the whole look at one memory: it was filled once, and not copied."""
    mesh = next(meshes())
    with jax.set_mesh(mesh):
        array = OURS(KEY, SHAPE)
    assert len({shard.data.unsafe_buffer_pointer() for shard in array.addressable_shards}) == 1


def check_committed_keys() -> None:
    """Without a mesh in context an array lies where its key was put, as JAX's does."""
    for mesh in meshes():
        for place in (NamedSharding(mesh, P()), jax.devices()[-1]):
            key = jax.device_put(KEY, place)
            theirs, ours = THEIRS(key, SHAPE), OURS(key, SHAPE)
            assert ours.sharding == theirs.sharding, (ours.sharding, theirs.sharding)
            assert (ours.committed, theirs.committed) == (True, True)
            np.testing.assert_array_equal(np.asarray(ours), WHOLE)
    with jax.default_device(jax.devices()[2]):
        assert OURS(KEY, SHAPE).sharding == THEIRS(KEY, SHAPE).sharding


def check_shardings_within_shard_map() -> None:
    """Those that name no axes are JAX's too; others are refused by name."""
    for mesh in meshes():

        def local(to: P, mesh: Mesh = mesh) -> jax.Array:
            with jax.set_mesh(mesh):
                return jax.shard_map(
                    lambda key: OURS(key, SHAPE, None, to), in_specs=P(), out_specs=P(), check_vma=False
                )(KEY)  # fmt: skip

        for spec in (P(), P(None)):
            np.testing.assert_array_equal(np.asarray(local(spec)), WHOLE)
        refuses(ValueError, lambda local=local: local(P("x")), "out_sharding must not name axes")


def check_shardings_of_more_dimensions() -> None:
    """Entries beyond those of the shape may be None, as in JAX."""
    long, named = P(*[None] * len(SHAPE), None), P(*[None] * len(SHAPE), "x")
    for mesh in meshes():
        with jax.set_mesh(mesh):
            for make in (OURS, jax.jit(OURS, static_argnums=(1, 2, 3))):
                array, theirs = make(KEY, SHAPE, None, long), THEIRS(KEY, SHAPE, None, long)
                assert array.sharding.is_equivalent_to(theirs.sharding, len(SHAPE))
                np.testing.assert_array_equal(np.asarray(array), WHOLE)
                refuses(
                    ValueError,
                    lambda make=make: make(KEY, SHAPE, None, named),
                    "out_sharding must not name axes beyond the dimensions",
                )


def check_meshes_without_devices() -> None:
    """Those of `jax.typeof` where no mesh is in context, and those of `use_abstract_mesh`."""
    nowhere = jax.typeof(jnp.ones(2)).sharding
    assert nowhere.mesh.empty
    for make in (
        lambda to: OURS(KEY, SHAPE, None, to),
        lambda to: jax.jit(lambda: OURS(KEY, SHAPE, None, to))(),
    ):
        np.testing.assert_array_equal(np.asarray(make(nowhere)), WHOLE)
        assert make(nowhere).sharding == THEIRS(KEY, SHAPE).sharding
    with jax.sharding.use_abstract_mesh(AbstractMesh((4, 2), ("x", "y"), axis_types=(AUTO, AUTO))):
        for call in (
            lambda init: init(KEY, SHAPE),
            lambda init: jax.jvp(lambda x: x * init(KEY, SHAPE), (1.0,), (0.0,))[0],
        ):
            assert call(OURS).sharding == call(THEIRS).sharding
        refuses(ValueError, lambda: OURS(KEY, SHAPE, None, P("x")), "no mesh is in context")
        refuses(
            ValueError,
            lambda: jax.jvp(lambda x: x * OURS(KEY, SHAPE, None, P("x")), (1.0,), (0.0,)),
            "no mesh is in context",
        )
    with jax.set_mesh(jax.make_mesh((4, 2), ("x", "y"), axis_types=(EXPLICIT, EXPLICIT))):
        for spec in (P("x", unreduced={"y"}), P("x", reduced={"y"})):
            for make in (OURS, jax.jit(OURS, static_argnums=(1, 2, 3))):
                refuses(
                    ValueError,
                    lambda make=make, to=spec: make(KEY, SHAPE, None, to),
                    "reduced or unreduced",
                )


NAMES = ("x", None)  # of the axes of a kernel


def revealed(key: jax.Array, shape: tuple[int, ...], dtype: Any = None, _: Any = None) -> jax.Array:
    """An initializer whose values are the words of its key, by 16 bits."""
    words = jax.random.key_data(key)
    halves = jnp.stack([words >> 16, words & 0xFFFF], axis=-1).ravel().astype(jnp.float32)
    return jnp.zeros(shape).at[0, :4].set(halves)


def values_of(array: jax.Array) -> np.ndarray:
    """What `OURS` makes where `revealed` made this kernel, or this stack of kernels."""
    halves = np.asarray(array)[..., 0, :4].astype(np.uint64)
    seeds = halves @ np.uint64([1 << 48, 1 << 32, 1 << 16, 1])
    kernels = [fi.he_normal(array.shape[-2:], seed=int(seed)) for seed in seeds.ravel()]
    return np.reshape(kernels, array.shape)


def layers_of_nnx() -> Iterator[Call]:
    from flax import nnx

    def linear(init: Init, rngs: Any = None, names: Any = NAMES) -> Any:
        rngs = nnx.Rngs(7) if rngs is None else rngs
        metadata = {"out_sharding": names}
        return nnx.Linear(16, 32, rngs=rngs, kernel_init=init, kernel_metadata=metadata)

    def stacked(init: Init) -> Any:
        @nnx.split_rngs(splits=3)
        @nnx.vmap(transform_metadata={nnx.PARTITION_NAME: None})
        def make(rngs: Any) -> Any:
            return linear(init, rngs)

        return make(nnx.Rngs(7))

    def aside(init: Init) -> jax.Array:
        def loss(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return x, linear(init).kernel[...]

        return jax.value_and_grad(loss, has_aux=True)(1.0)[0][1]

    yield lambda init: linear(init, names=None).kernel[...]
    yield lambda init: linear(init).kernel[...]
    yield lambda init: linear(nnx.with_partitioning(init, NAMES), names=None).kernel[...]
    yield lambda init: nnx.Param(init(KEY, SHAPE), out_sharding=NAMES)[...]
    yield lambda init: nnx.jit(lambda: linear(init))().kernel[...]
    yield lambda init: stacked(init).kernel[...]
    yield aside


def layers_of_linen() -> Iterator[Call]:
    from flax import linen as nn

    def dense(init: Init, partition: Any = nn.with_partitioning) -> Any:
        return nn.Dense(32, kernel_init=partition(init, NAMES))

    def kernel(variables: Any) -> jax.Array:
        return nn.meta.unbox(variables)["params"]["kernel"]

    x = jnp.ones((2, 16))
    yield lambda init: kernel(nn.Dense(32, kernel_init=init).init(KEY, x))
    yield lambda init: kernel(dense(init).init(KEY, x))
    yield lambda init: kernel(dense(init, nn.with_logical_partitioning).init(KEY, x))
    yield lambda init: kernel(jax.jit(dense(init).init)(KEY, x))
    yield lambda init: jax.vmap(lambda key: kernel(dense(init).init(key, x)))(KEYS)


def layers_of_haiku() -> Iterator[Call]:
    import haiku as hk

    def weights(init: Init) -> Any:
        def w_init(shape: Any, dtype: Any) -> jax.Array:
            return init(hk.next_rng_key(), shape, dtype)

        return hk.transform(lambda x: hk.Linear(32, w_init=w_init)(x)).init

    for make in (lambda f: f, jax.jit):
        yield lambda init, make=make: make(weights(init))(KEY, jnp.ones((2, 16)))["linear"]["w"]


def check_layers(layers: Iterator[Call]) -> None:
    nowhere = jax.make_mesh((1, 1), ("x", "y"), axis_types=(AUTO, AUTO), devices=jax.devices()[:1])
    for number, call in enumerate(layers):
        with jax.set_mesh(nowhere):
            values = values_of(call(revealed))
        for mesh in meshes():
            try:
                theirs = theirs_of(mesh, call)
            except (AssertionError, ValueError):  # Flax takes not all types of axes, but Auto ones
                assert EXPLICIT in mesh.axis_types, number
                continue
            check_same(mesh, call, number, theirs, values)


if __name__ == "__main__":
    assert len(jax.devices()) == 8, jax.devices()
    if sys.argv[1:]:
        check_layers(globals()[f"layers_of_{sys.argv[1]}"]())
    else:
        check_calls()
        check_memory()
        check_committed_keys()
        check_meshes_without_devices()
        check_shardings_within_shard_map()
        check_shardings_of_more_dimensions()
    print("all equal")
