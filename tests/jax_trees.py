"""What `test_jax_tree.py` runs with eight CPU devices: trees of arrays on meshes.

``python jax_trees.py`` takes plain trees, ``python jax_trees.py nnx`` (linen) the metadata of Flax.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import fastinit as fi
from fastinit.jax import init_tree, leaf_paths
from jax_devices import refuses

AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
F32 = jnp.float32

SHAPES = {
    "layers": [
        {
            "kernel": jax.ShapeDtypeStruct((32, 48), F32),
            "bias": jax.ShapeDtypeStruct((48,), jnp.bfloat16),
        }
        for _ in range(2)
    ],
    "steps": jax.ShapeDtypeStruct((8,), jnp.int32),
    "scale": jax.ShapeDtypeStruct((), F32),
}
RULES = {
    "*/kernel": fi.he_normal, "*/bias": fi.Uniform(-1.0, 1.0), "steps": fi.Constant(3),
    "scale": fi.Normal(1.0, 0.1),
}  # fmt: skip
WHOLE = {
    **{
        f"layers/{i}/kernel": fi.he_normal((32, 48), seed=7, stream=f"layers/{i}/kernel")
        for i in range(2)
    },
    **{
        f"layers/{i}/bias": fi.Uniform(-1.0, 1.0)(
            (48,), seed=7, stream=f"layers/{i}/bias", dtype="bfloat16"
        )
        for i in range(2)
    },
    "scale": fi.Normal(1.0, 0.1)((), seed=7, stream="scale"),
    "steps": np.full(8, 3, np.int32),
}


def mesh_of(kind: AxisType, sizes: tuple[int, int] = (4, 2)) -> Mesh:
    return jax.make_mesh(sizes, ("x", "y"), axis_types=(kind, kind))


def check(tree: Any, specs: dict[str, P], mesh: Mesh, whole: dict[str, np.ndarray] = WHOLE) -> None:
    """Arrays are sharded as asked, and each shard has the bits of that part of the whole."""
    arrays = leaf_paths(tree)
    assert arrays.keys() == whole.keys(), arrays.keys()
    for path, array in arrays.items():
        expected = NamedSharding(mesh, specs.get(path, P()))
        assert array.sharding.is_equivalent_to(expected, array.ndim), (path, array.sharding)
        assert array.dtype == whole[path].dtype
        for shard in array.addressable_shards:
            np.testing.assert_array_equal(np.asarray(shard.data), whole[path][shard.index])


def make(tree: Any = SHAPES, rules: Any = RULES, **options: Any) -> Any:
    return init_tree(tree, seed=7, rules=rules, **options)


KERNELS = {f"layers/{i}/kernel": P("x", "y") for i in range(2)}
ROWS = {
    **{path: P("x") for path in WHOLE if "layers" in path},
    "steps": P("x"),
}


def asked(mesh: Mesh) -> Iterator[tuple[Any, dict[str, P]]]:
    """What out_shardings may be, and where arrays are then to lie."""
    rows, everywhere = NamedSharding(mesh, P("x")), NamedSharding(mesh, P())
    tiles = NamedSharding(mesh, P("x", "y"))
    yield everywhere, {}
    yield {"layers": rows, "steps": rows, "scale": everywhere}, ROWS
    layer = {"kernel": tiles, "bias": everywhere}
    yield {"layers": [layer, layer], "steps": everywhere, "scale": everywhere}, KERNELS
    yield {"layers": {0: layer, 1: layer}, "steps": everywhere, "scale": everywhere}, KERNELS
    yield (lambda path, leaf: tiles if path.endswith("kernel") else everywhere), KERNELS
    yield (lambda path, leaf: rows if leaf.shape else everywhere), ROWS


def check_out_shardings() -> None:
    for kind in (AUTO, EXPLICIT):
        for sizes in ((4, 2), (2, 4), (8, 1)):
            mesh = mesh_of(kind, sizes)
            for out, specs in asked(mesh):
                check(make(out_shardings=out), specs, mesh)


def check_meshes_in_context() -> None:
    for kind in (AUTO, EXPLICIT):
        mesh = mesh_of(kind)
        with jax.set_mesh(mesh):
            check(make(), {}, mesh)
            specs = {"layers": P("x"), "steps": P("x"), "scale": None}
            check(make(out_shardings=specs), ROWS, mesh)
            check(jax.jit(lambda specs=specs: make(out_shardings=specs))(), ROWS, mesh)
            for path in KERNELS:
                assert leaf_paths(make(out_shardings=lambda p, _: KERNELS.get(p)))[
                    path
                ].sharding.spec == P("x", "y")
        refuses(ValueError, lambda: make(out_shardings=P()), "no mesh is in context")


def check_shardings_of_leaves() -> None:
    for kind in (AUTO, EXPLICIT):
        mesh = mesh_of(kind)
        shardings = {path: NamedSharding(mesh, KERNELS.get(path, P())) for path in WHOLE}
        paths = iter(WHOLE_ORDER)
        tree = jax.tree.map(
            lambda s, paths=paths, to=shardings: jax.ShapeDtypeStruct(
                s.shape, s.dtype, sharding=to[next(paths)]
            ),
            SHAPES,
        )
        check(make(tree), KERNELS, mesh)
        arrays = make(tree)
        again = make(arrays)  # where arrays lie, those that replace them do
        check(again, KERNELS, mesh)
        columns = NamedSharding(mesh, P(None, "x"))
        moved = leaf_paths(
            make(arrays, out_shardings=lambda p, _, to=columns: to if "kernel" in p else None)
        )
        assert moved["layers/0/kernel"].sharding == columns
        assert moved["scale"].sharding == shardings["scale"]
    there = jax.device_put(jnp.ones((4, 4)), jax.devices()[3])
    for leaf in (
        there,
        jax.ShapeDtypeStruct((4, 4), F32, sharding=SingleDeviceSharding(jax.devices()[3])),
    ):
        array = init_tree({"x": leaf}, seed=7, rules={"x": fi.he_normal})["x"]
        assert array.devices() == {jax.devices()[3]}
        np.testing.assert_array_equal(np.asarray(array), fi.he_normal((4, 4), seed=7, stream="x"))
    with jax.set_mesh(mesh_of(EXPLICIT)):  # shapes have shardings of an abstract mesh here
        rows = P("x", None)
        shapes = jax.eval_shape(
            lambda: {"x": jax.nn.initializers.normal()(jax.random.key(0), (8, 4), F32, rows)}
        )
        assert init_tree(shapes, seed=7, rules={"x": fi.zeros})["x"].sharding.spec == rows
    refuses(
        ValueError,
        lambda: init_tree(shapes, seed=7, rules={"x": fi.zeros}),
        "enter the mesh by jax.set_mesh",
    )


WHOLE_ORDER = list(leaf_paths(SHAPES))


def check_that_only_shards_are_made() -> None:
    """Each shard is filled once, whatever number of devices hold it, and nothing besides."""
    sizes: list[int] = []
    fill = fi.Normal.fill

    def spy(self: fi.Normal, out: np.ndarray, **options: Any) -> np.ndarray:
        sizes.append(out.size)
        return fill(self, out, **options)

    fi.Normal.fill = spy  # type: ignore[method-assign]
    tree = {"x": jax.ShapeDtypeStruct((64, 8, 16), F32)}
    for spec, size, count in (
        (P("x"), 2048, 4),
        (P("x", "y"), 1024, 8),
        (P(None, "y"), 4096, 2),
        (P(), 8192, 1),
    ):
        sharding = NamedSharding(mesh_of(AUTO), spec)
        init_tree(tree, seed=7, rules={"x": fi.Normal(0.0, 1.0)}, out_shardings=sharding)
        assert sizes == [size] * count, (spec, sizes)
        sizes.clear()
    fi.Normal.fill = fill  # type: ignore[method-assign]


def check_errors() -> None:
    for kind in (AUTO, EXPLICIT):
        mesh = mesh_of(kind)
        to = lambda *spec, mesh=mesh: NamedSharding(mesh, P(*spec))  # noqa: E731
        for out, error, message in (
            (
                to("x"),
                ValueError,
                "'scale': out_shardings must not name axes beyond the dimensions",
            ),
            (
                {"layers": to(None, "x"), "steps": None, "scale": None},
                ValueError,
                "'layers/0/bias': out_shardings",
            ),
            (
                {"layers": to("x")},
                ValueError,
                "'scale': out_shardings must have a sharding or None for each leaf",
            ),
            (
                {"layers": None, "steps": None, "scale": None, "more": to()},
                ValueError,
                "a sharding for 'more', which",
            ),
            (
                {"layers": {"kernel": to()}, "steps": None, "scale": None},
                ValueError,
                "'layers/kernel', which tree",
            ),
            ([to(), to()], ValueError, "a sharding for '0', which tree does not have"),
            (
                jax.devices()[0],
                TypeError,
                "out_shardings must be a NamedSharding, a PartitionSpec or None",
            ),
            (lambda path, leaf: "x", TypeError, "out_shardings must be a NamedSharding"),
        ):
            refuses(error, lambda out=out: make(out_shardings=out), message)
        refuses(ValueError, lambda to=to: uneven(to("x")), "'x': ")
        with jax.set_mesh(mesh):
            refuses(ValueError, lambda: uneven(P("z")), "'x': ")


def uneven(sharding: Any) -> Any:
    tree = {"x": jax.ShapeDtypeStruct((6, 4), F32)}
    return init_tree(tree, seed=7, rules={"x": fi.zeros}, out_shardings=sharding)


NAMES = ("x", None)
KERNEL = {
    "kernel": fi.he_normal((16, 32), seed=7, stream="kernel"),
    "bias": np.zeros(32, np.float32),
}
LAYER = {"*kernel": fi.he_normal, "*bias": fi.zeros}


def check_linen() -> None:
    from flax import linen as nn

    init = jax.nn.initializers.lecun_normal()
    logical = nn.with_logical_partitioning(init, ("embed", "mlp"))
    mesh = mesh_of(AUTO)
    for partitioned, specs in (
        (nn.with_partitioning(init, NAMES), {"kernel": P("x")}),
        (nn.with_partitioning(init, NAMES, mesh=mesh), {"kernel": P("x")}),
        (logical, {"kernel": P("y", "x")}),
        (init, {}),
    ):
        layer = nn.Dense(32, kernel_init=partitioned)
        with nn.logical_axis_rules((("embed", "y"), ("mlp", "x"))):
            shapes = jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((2, 16)))["params"]
            with jax.set_mesh(mesh):
                made = init_tree(shapes, seed=7, rules=LAYER)
                check(made, specs, mesh, KERNEL)
                jitted = jax.jit(lambda shapes=shapes: init_tree(shapes, seed=7, rules=LAYER))()
                check(jitted, specs, mesh, KERNEL)
            alone = init_tree(
                shapes, seed=7, rules=LAYER
            )  # Flax uses metadata where it knows the mesh
        known = getattr(shapes["kernel"], "mesh", None) is not None
        assert len(leaf_paths(alone)["kernel"].devices()) == (8 if known else 1)
        everywhere = NamedSharding(mesh, P())
        check(init_tree(shapes, seed=7, rules=LAYER, out_shardings=everywhere), {}, mesh, KERNEL)
    shapes = jax.eval_shape(
        nn.Dense(32, kernel_init=nn.with_partitioning(init, NAMES)).init,
        jax.random.key(0),
        jnp.ones((2, 16)),
    )["params"]
    for tree in (shapes, nn.unbox(shapes)):
        made = init_tree(tree, seed=7, rules=LAYER, out_shardings=nn.get_sharding(shapes, mesh))
        check(made, {"kernel": P("x")}, mesh, KERNEL)


def check_nnx() -> None:
    from flax import nnx

    def make_layer() -> Any:
        return nnx.Linear(16, 32, rngs=nnx.Rngs(0), kernel_metadata={"out_sharding": NAMES})

    def make_logical() -> Any:
        metadata = {"out_sharding": ("embed", None), "sharding_rules": (("embed", "x"),)}
        return nnx.Linear(16, 32, rngs=nnx.Rngs(0), kernel_metadata=metadata)

    specs = {"kernel": P("x")}
    for kind in (AUTO, EXPLICIT):
        mesh = mesh_of(kind)
        for layer in (make_layer, make_logical):
            with jax.set_mesh(mesh):
                state = nnx.state(nnx.eval_shape(layer))
                check(init_tree(state, seed=7, rules=LAYER), specs, mesh, KERNEL)
            with nnx.use_eager_sharding(False):
                state = nnx.state(nnx.eval_shape(layer))
            assert state["kernel"].get_value().sharding is None
            with jax.set_mesh(mesh):
                check(init_tree(state, seed=7, rules=LAYER), specs, mesh, KERNEL)
            out = nnx.get_named_sharding(state, mesh)
            check(init_tree(state, seed=7, rules=LAYER, out_shardings=out), specs, mesh, KERNEL)
            assert len(leaf_paths(init_tree(state, seed=7, rules=LAYER))["kernel"].devices()) == 1


if __name__ == "__main__":
    assert len(jax.devices()) == 8, jax.devices()
    if sys.argv[1:]:
        globals()[f"check_{sys.argv[1]}"]()
    else:
        check_out_shardings()
        check_meshes_in_context()
        check_shardings_of_leaves()
        check_that_only_shards_are_made()
        check_errors()
    print("all equal")
