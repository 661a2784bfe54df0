"""Trees of shapes to arrays: paths, rules, containers of each framework, and values, which are those of files."""

from __future__ import annotations

import math
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

import fastinit as fi
from conftest import DTYPES, as_bits

jax = pytest.importorskip("jax")
jnp = jax.numpy

from fastinit import jax as face  # noqa: E402
from test_jax import assert_equal, run_on_eight_devices  # noqa: E402

ZEROS = {"*": fi.zeros}
NORMAL = {"*": fi.Normal(0.0, 0.02)}


def shape_of(*shape: int, dtype: Any = "float32") -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


MATRIX = shape_of(8, 3)


def assert_is_of_path(
    array: Any, path: str, init: fi.Initializer = NORMAL["*"], seed: int = 7
) -> None:
    """The array is the tensor of this name in a model in a file."""
    tensor = fi.Tensor(path, array.shape, init, array.dtype.name, axes="in_out")
    assert_equal(array, fi.Model([tensor]).make(path, seed=seed))


class TestValues:
    def test_an_array_is_the_tensor_of_its_path_in_a_file(self, tmp_path: Path) -> None:
        shapes = {
            "params": {
                "up": {"kernel": shape_of(8, 32), "bias": shape_of(32)},
                "norm": {"scale": shape_of(8, dtype="bfloat16")},
            }
        }
        rules = {"*/kernel": fi.he_normal, "*/bias": fi.Uniform(-0.5, 0.5), "*/scale": fi.ones}
        tensors = [
            fi.Tensor("params/up/kernel", (8, 32), fi.he_normal),
            fi.Tensor("params/up/bias", (32,), fi.Uniform(-0.5, 0.5)),
            fi.Tensor("params/norm/scale", (8,), fi.ones, "bfloat16"),
        ]
        fi.Model(tensors).write(tmp_path / "model.safetensors", seed=7)
        stored = load_file(tmp_path / "model.safetensors")
        made = face.leaf_paths(face.init_tree(shapes, seed=7, rules=rules))
        assert made.keys() == stored.keys()
        for path, array in made.items():
            assert_equal(array, stored[path])

    @pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "float64"])
    @pytest.mark.parametrize("shape", [(), (0, 3), (5,), (16, 33), (2, 3, 4, 5)])
    def test_dtypes_and_shapes(self, dtype: str, shape: tuple[int, ...]) -> None:
        made = face.init_tree({"x": shape_of(*shape, dtype=dtype)}, seed=7, rules=NORMAL)["x"]
        expected = fi.Normal(0.0, 0.02)(shape, seed=7, stream="x", dtype=dtype)
        assert_equal(made, expected)

    def test_float64_needs_the_option_of_jax(self) -> None:
        tree = {"x": shape_of(4, dtype=np.float64), "n": shape_of(4, dtype=np.int64)}
        for path in tree:
            with pytest.raises(
                ValueError, match=rf"^'{path}': JAX makes .*64 only where jax_enable_x64"
            ):
                face.init_tree({path: tree[path]}, seed=7, rules=ZEROS)
        with jax.enable_x64(True):
            made = face.init_tree(
                tree, seed=7, rules={"x": fi.Normal(0.0, 1.0), "n": fi.Constant(-3)}
            )
            assert_equal(made["x"], fi.Normal(0.0, 1.0)((4,), seed=7, stream="x", dtype="float64"))
            assert_equal(made["n"], np.int64([-3, -3, -3, -3]))

    @pytest.mark.parametrize(
        ("dtype", "number", "expected"),
        [
            ("int8", -128, np.int8(-128)),
            ("uint32", 2**31, np.uint32(2**31)),
            ("bool", 1, np.bool_(True)),
            ("complex64", 1, np.complex64(1)),
            ("float8_e4m3fnuz", 1, ml_dtypes.float8_e4m3fnuz(1)),
            ("float8_e8m0fnu", 1, ml_dtypes.float8_e8m0fnu(1)),
        ],
    )
    def test_other_dtypes_take_constants(self, dtype: str, number: int, expected: Any) -> None:
        tree = {"x": shape_of(2, 3, dtype=jnp.dtype(dtype))}
        rules = {"x": fi.Constant(number)}
        for make in (
            lambda: face.init_tree(tree, seed=7, rules=rules),
            jax.jit(lambda: face.init_tree(tree, seed=7, rules=rules)),
        ):
            array = make()["x"]
            assert (array.shape, array.dtype) == ((2, 3), expected.dtype)
            assert (
                as_bits(np.asarray(array)).tolist() == as_bits(np.full((2, 3), expected)).tolist()
            )

    @pytest.mark.parametrize(
        ("dtype", "init", "message"),
        [
            ("int8", fi.Constant(128), r"'x': int8 takes only constants, here integers in \[-128, 127\]"),
            ("int8", fi.Constant(0.5), "'x': int8 takes only constants"),
            ("int32", fi.Normal(0.0, 1.0), "'x': int32 takes only constants"),
            ("bool", fi.Constant(2), "'x': bool takes only constants, here 0 and 1"),
            ("int4", fi.zeros, "'x': dtype must be one of float32.* got 'int4'"),
            ("float16", fi.Normal(0.0, 1e30), "'x': values could exceed the largest finite number"),
        ],
    )  # fmt: skip
    def test_what_a_dtype_does_not_take(
        self, dtype: str, init: fi.Initializer, message: str
    ) -> None:
        with pytest.raises(ValueError, match=f"^{message}"):
            face.init_tree({"x": shape_of(4, dtype=jnp.dtype(dtype))}, seed=7, rules={"x": init})

    @pytest.mark.parametrize(
        ("init", "dtype"),
        [
            (fi.RandomIntegers(-3, 5), "int8"),
            (fi.Exponential(2.0), "bfloat16"),
            (fi.Orthogonal(), "float32"),
        ],
    )
    def test_what_numpy_computes(self, init: fi.Initializer, dtype: str) -> None:
        tree = {"x": shape_of(6, 4, dtype=jnp.dtype(dtype))}
        for trace in (lambda make: make, jax.jit):
            made = trace(lambda: face.init_tree(tree, seed=7, rules={"x": init}))()
            assert_is_of_path(made["x"], "x", init)

    def test_many_leaves(self) -> None:
        tree = {f"layer_{i}": {"kernel": shape_of(4, 2), "bias": shape_of(2)} for i in range(5000)}
        made = face.init_tree(tree, seed=7, rules={"*/kernel": fi.lecun_normal, "*/bias": fi.zeros})
        assert_is_of_path(made["layer_4999"]["kernel"], "layer_4999/kernel", fi.lecun_normal)
        first = {array.ravel()[0].item() for array in (layer["kernel"] for layer in made.values())}
        assert len(first) == 5000


class TestSeeds:
    @pytest.mark.parametrize(
        "seed",
        [
            7, np.uint8(7), jnp.int32(7), jax.random.key(7), jax.random.PRNGKey(7), np.uint32([0, 7]),
        ],
    )  # fmt: skip
    def test_kinds(self, seed: Any) -> None:
        assert_is_of_path(face.init_tree({"x": MATRIX}, seed=seed, rules=NORMAL)["x"], "x")

    def test_a_sequence_and_a_key_of_four_words(self) -> None:
        expected = fi.Normal(0.0, 0.02)(
            (8, 3), seed=np.random.SeedSequence([0, 7, 0, 7]), stream="x"
        )
        for seed in (np.random.SeedSequence([0, 7, 0, 7]), jax.random.key(7, impl="rbg")):
            assert_equal(face.init_tree({"x": MATRIX}, seed=seed, rules=NORMAL)["x"], expected)

    def test_a_generator_draws_once_for_the_tree(self) -> None:
        number = int(
            np.random.default_rng(3).integers(0, 2**64 - 1, dtype=np.uint64, endpoint=True)
        )
        tree = {"x": MATRIX, "y": MATRIX}
        made = face.init_tree(tree, seed=np.random.default_rng(3), rules=NORMAL)
        assert_is_of_path(made["x"], "x", seed=number)
        assert_is_of_path(made["y"], "y", seed=number)

    @pytest.mark.parametrize("seed", [None, "7", 7.0, np.arange(3), np.float32([0, 7])])
    def test_of_other_types(self, seed: Any) -> None:
        with pytest.raises(TypeError, match=r"^seed must be"):
            face.init_tree({"x": MATRIX}, seed=seed, rules=NORMAL)

    def test_of_other_values(self) -> None:
        for seed in (-1, 2**64, jax.random.split(jax.random.key(0))):
            with pytest.raises(ValueError, match=r"^seed must be"):
                face.init_tree({"x": MATRIX}, seed=seed, rules=NORMAL)


class TestTracing:
    def test_jit_and_eval_shape(self) -> None:
        tree = {"x": MATRIX, "n": shape_of(dtype="int32"), "kept": jnp.arange(3)}
        rules = {"x": fi.he_normal, "n": fi.Constant(3), "kept": None}
        for seed in (7, jax.random.key(7)):
            made = jax.jit(lambda seed=seed: face.init_tree(tree, seed=seed, rules=rules))()
            assert_is_of_path(made["x"], "x", fi.he_normal)
            assert (made["n"].item(), made["n"].dtype, made["kept"].tolist()) == (
                3,
                np.int32,
                [0, 1, 2],
            )
        huge = {"x": shape_of(1 << 20, 1 << 20)}
        make = jax.eval_shape(lambda: face.init_tree(huge, seed=7, rules=NORMAL))
        assert (make["x"].shape, make["x"].dtype) == ((1 << 20, 1 << 20), np.float32)

    def test_keys_may_be_traced(self) -> None:
        def make(key: Any) -> Any:
            return face.init_tree({"x": MATRIX, "b": shape_of(3)}, seed=key, rules=NORMAL)

        assert_is_of_path(jax.jit(make)(jax.random.key(9))["b"], "b", seed=9)
        many = jax.vmap(make)(jnp.stack([jax.random.key(7), jax.random.key(9)]))
        assert_is_of_path(many["x"][0], "x", seed=7)
        assert_is_of_path(many["x"][1], "x", seed=9)

    def test_a_traced_number_is_no_seed(self) -> None:
        with pytest.raises(TypeError, match=r"^seed must be an int"):
            jax.jit(lambda seed: face.init_tree({"x": MATRIX}, seed=seed, rules=NORMAL))(7)

    def test_equal_leaves_are_compiled_once(self) -> None:
        def callback() -> Any:
            jaxpr = jax.make_jaxpr(lambda: face.init_tree({"x": MATRIX}, seed=7, rules=NORMAL))()
            return next(e.params["callback"] for e in jaxpr.eqns if "callback" in e.params)

        assert callback() == callback()
        assert hash(callback()) == hash(callback())


Pair = namedtuple("Pair", ["first", "second"])


@jax.tree_util.register_dataclass
@dataclass
class Module:
    """A module of the kind of Equinox's: a dataclass with attributes, some of which are no arrays."""

    weight: Any
    bias: Any
    activation: Any
    rate: Any


class Unnamed:
    """A node whose children have no names."""

    def __init__(self, *children: Any) -> None:
        self.children = children


jax.tree_util.register_pytree_node(
    Unnamed, lambda node: (node.children, None), lambda _, children: Unnamed(*children)
)


class TestPaths:
    @pytest.mark.parametrize(
        ("tree", "paths"),
        [
            ({"a": {"b": MATRIX}, "c": [MATRIX, (MATRIX, None)]}, ["a/b", "c/0", "c/1/0"]),
            ({1: MATRIX, 10: MATRIX, 2: None}, ["1", "10"]),
            ({"mlp/~/linear_0": {"w": MATRIX}}, ["mlp/~/linear_0/w"]),
            ({"a.b": MATRIX, "a[0]": MATRIX, " ": MATRIX}, [" ", "a.b", "a[0]"]),
            ([Pair(MATRIX, MATRIX)], ["0/first", "0/second"]),
            (Module(MATRIX, None, jnp.tanh, 0.5), ["weight"]),
            ({"u": Unnamed(MATRIX, MATRIX)}, ["u/0", "u/1"]),
            ({}, []),
            (None, []),
        ],
    )  # fmt: skip
    def test_containers(self, tree: Any, paths: list[str]) -> None:
        assert list(face.leaf_paths(tree)) == paths
        made = face.init_tree(tree, seed=7, rules=NORMAL, strict=False)
        assert jax.tree.structure(made) == jax.tree.structure(tree)
        for path, array in face.leaf_paths(made).items():
            assert_is_of_path(array, path)

    def test_what_is_no_array_stays(self) -> None:
        made = face.init_tree(Module(MATRIX, None, jnp.tanh, 0.5), seed=7, rules=NORMAL)
        assert (made.activation, made.rate, made.bias) == (jnp.tanh, 0.5, None)

    @pytest.mark.parametrize(
        ("tree", "message"),
        [
            ({"a": {"b": MATRIX}, "a/b": MATRIX}, "tree has two leaves of the path 'a/b'"),
            ({"": MATRIX}, "tree has a leaf whose path is empty"),
            ({"\ud800": MATRIX}, r"'\\ud800': stream must be valid Unicode"),
        ],
    )
    def test_that_name_no_stream(self, tree: Any, message: str) -> None:
        with pytest.raises(ValueError, match=f"^{message}"):
            face.init_tree(tree, seed=7, rules=NORMAL)

    @pytest.mark.parametrize("key", [("a", "b"), True, 1.5, b"a"])
    def test_keys_of_other_types(self, key: Any) -> None:
        with pytest.raises(TypeError, match=r"^tree must have texts or integers as keys"):
            face.init_tree({key: MATRIX}, seed=7, rules=NORMAL)

    @pytest.mark.parametrize("tree", [MATRIX, jnp.ones(3), 3, len])
    def test_trees_that_are_leaves(self, tree: Any) -> None:
        with pytest.raises(TypeError, match=r"^tree must be a pytree that names its leaves"):
            face.init_tree(tree, seed=7, rules=NORMAL)


class TestRules:
    def test_the_first_that_matches_counts(self) -> None:
        tree = {"a": {"w": MATRIX}, "b": {"w": MATRIX}}
        made = face.init_tree(tree, seed=7, rules={"a/*": fi.Constant(1), "*": fi.Constant(2)})
        assert (made["a"]["w"][0, 0], made["b"]["w"][0, 0]) == (1, 2)

    def test_none_keeps_arrays(self) -> None:
        for array in (jnp.arange(3.0), np.arange(3), np.float32(1), jax.random.key(3)):
            tree = {"kept": array, "x": MATRIX}
            made = face.init_tree(tree, seed=7, rules={"kept": None, "*": fi.zeros})
            assert made["kept"] is array

    def test_arrays_are_replaced_by_their_shape_and_dtype(self) -> None:
        for array in (jnp.ones((4, 2), "bfloat16"), np.ones((4, 2), ml_dtypes.bfloat16)):
            made = face.init_tree({"x": array}, seed=7, rules=NORMAL)["x"]
            assert made.dtype == jnp.bfloat16
            assert_is_of_path(made, "x")

    def test_functions_of_fastinit_jax(self) -> None:
        embed = face.variance_scaling(1.0, "fan_in", "normal", out_axis=0)  # Flax's embeddings
        rules = {
            "kernel": face.he_uniform(dtype="float16"), "embed": embed, "zeros": face.zeros,
            "ones": jax.nn.initializers.ones, "bias": face.truncated_normal(0.5, lower=-1.0),
            "in": face.lecun_normal(in_axis=0, out_axis=(1, 2)),
        }  # fmt: skip
        shapes = {
            "kernel": shape_of(6, 4), "embed": shape_of(50, 16), "zeros": shape_of(3),
            "ones": shape_of(2), "bias": shape_of(9), "in": shape_of(16, 3, 4),
        }  # fmt: skip
        expected = {
            "kernel": fi.Uniform(-1.0, 1.0),  # sqrt(6 / 6)
            "embed": fi.Normal(0.0, 0.25),
            "zeros": fi.zeros,
            "ones": fi.ones,
            "bias": fi.TruncatedNormal(0.0, 0.5, lower=-1.0, upper=2.0),
            "in": fi.TruncatedNormal(0.0, 0.25 / 0.87962566103423978),
        }
        made = face.init_tree(shapes, seed=7, rules=rules)
        for path, init in expected.items():
            assert made[path].dtype == np.float32
            assert_is_of_path(made[path], path, init)

    def test_fans_of_kernels(self) -> None:
        """Those of the matrices that Flax makes of the kernels of DenseGeneral, and of a convolution."""
        shapes = {
            "dense": shape_of(16, 9), "query": shape_of(16, 3, 4), "out": shape_of(2, 8, 5),
            "conv": shape_of(2, 2, 4, 8), "stack": shape_of(6, 16, 9),
        }  # fmt: skip
        normal = fi.VarianceScaling(1.0, "fan_in", "untruncated_normal")
        rules = {
            "dense": normal,
            "query": normal.with_axes(in_axis=0, out_axis=(1, 2)),
            "out": normal.with_axes(in_axis=(0, 1), out_axis=2),
            "conv": normal.with_axes("in_out"),
            "stack": normal.with_axes(in_axis=1, out_axis=2, batch_axis=0),
        }
        made = face.init_tree(shapes, seed=7, rules=rules)
        for path in shapes:  # all fans are 16
            assert_is_of_path(made[path], path, fi.Normal(0.0, 0.25))

    @pytest.mark.parametrize("rule", [fi.he_normal, face.he_normal()])
    def test_fans_of_what_is_no_matrix(self, rule: Any) -> None:
        with pytest.raises(
            ValueError, match=r"^'b': .* at least 2 axes, got shape \(3,\).*fi.zeros"
        ):
            face.init_tree({"b": shape_of(3)}, seed=7, rules={"*": rule})
        for shape in ((3, 4, 5), (3, 3, 4, 5)):
            with pytest.raises(ValueError, match=r"^'k': .* must name the axes .*with_axes"):
                face.init_tree({"k": shape_of(*shape)}, seed=7, rules={"*": rule})

    def test_axes_that_a_shape_does_not_have(self) -> None:
        init = fi.he_normal.with_axes(in_axis=2, out_axis=1)
        with pytest.raises(ValueError, match=r"^'k': in_axis must lie in \[-2, 2\)"):
            face.init_tree({"k": shape_of(3, 4)}, seed=7, rules={"*": init})

    def test_each_leaf_needs_one(self) -> None:
        tree = {"layers": [{"w": MATRIX, "b": MATRIX}] * 3}
        message = (
            r"^rules must cover each leaf, got none for 'layers/0/b', 'layers/1/b', 'layers/2/b': "
        )
        with pytest.raises(ValueError, match=message):
            face.init_tree(tree, seed=7, rules={"*/w": fi.zeros})
        with pytest.raises(ValueError, match=r"'layers/1/b' and 3 more: add patterns"):
            face.init_tree(tree, seed=7, rules={})
        with pytest.raises(ValueError, match=r"got none for 'x'"):
            face.init_tree({"x": jnp.ones(3)}, seed=7, rules={})

    def test_patterns_that_match_nothing(self) -> None:
        tree = {"up": {"kernel": MATRIX}}
        rules = {"*/kernle": fi.ones, "*": fi.zeros}
        with pytest.raises(
            ValueError, match=r"^rules: '\*/kernle' matches no leaf; near names: 'up/kernel'"
        ):
            face.init_tree(tree, seed=7, rules=rules)
        assert not face.init_tree(tree, seed=7, rules=rules, strict=False)["up"]["kernel"].any()
        assert not face.init_tree(tree, seed=7, rules={"b": None, "*": fi.zeros})["up"][
            "kernel"
        ].any()
        with pytest.raises(ValueError, match="matches no leaf"):
            face.init_tree({}, seed=7, rules=ZEROS)

    def test_none_keeps_no_shape(self) -> None:
        with pytest.raises(
            ValueError, match=r"^rules must not leave 'x' as it is, .* no values.*ShapeDtypeStruct"
        ):
            face.init_tree({"x": MATRIX}, seed=7, rules={"*": None})

    def test_keys_are_not_made(self) -> None:
        key = jax.random.key(3)
        for leaf, rules in (
            (shape_of(dtype=key.dtype), {}),
            (shape_of(dtype=key.dtype), {"k": None}),
            (key, ZEROS),
        ):
            with pytest.raises(ValueError, match=r"^'k' is an array of keys"):
                face.init_tree({"k": leaf}, seed=7, rules=rules)

    @pytest.mark.parametrize(
        ("rules", "message"),
        [
            ([("*", fi.zeros)], "rules must be a mapping"),
            ({3: fi.zeros}, "rules must be of patterns of paths, got 3"),
            (
                {"*": 0.02},
                "rules must give None or initializers of fastinit or fastinit.jax, got 0.02",
            ),
            ({"*": fi.Normal}, "rules must give None or initializers"),
            (
                {"*": jax.nn.initializers.normal(0.02)},
                "rules must give .*take those of fastinit.jax",
            ),
            ({"*": jax.nn.initializers.constant(0.5)}, "rules must give .*fi.Constant"),
            ({"*": face.orthogonal()}, "rules must give .*not from streams"),
        ],
    )
    def test_of_other_types(self, rules: Any, message: str) -> None:
        with pytest.raises(TypeError, match=f"^{message}"):
            face.init_tree({"x": MATRIX}, seed=7, rules=rules)

    def test_a_leaf_of_another_framework(self) -> None:
        class Tensor:
            shape, dtype = (2, 3), "torch.float32"

        with pytest.raises(TypeError, match=r"^'x': .*torch.float32"):
            face.init_tree({"x": Tensor()}, seed=7, rules=ZEROS)

    def test_nothing_is_made_before_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("made")

        monkeypatch.setattr(fi.Constant, "fill", refuse)
        with pytest.raises(ValueError, match=r"^'z': "):
            face.init_tree(
                {"a": MATRIX, "z": shape_of(2, dtype="int8")},
                seed=7,
                rules={"a": fi.zeros, "z": fi.Constant(300)},
            )


def moments_agree(ours: np.ndarray, theirs: np.ndarray, path: str) -> None:
    """Of n independent values each, means and standard deviations differ by less than six standard errors.

    A truncated normal, a normal and a uniform have a kurtosis of at most 3, so the standard error of
    a standard deviation is at most s / sqrt(2 n). A false alarm once in 5e8 comparisons.
    """
    n, std = theirs.size, float(theirs.std())
    if std == 0:
        np.testing.assert_array_equal(ours, theirs, path)
        return
    assert abs(float(ours.mean() - theirs.mean())) < 6 * std * math.sqrt(2 / n), path
    assert abs(float(ours.std()) - std) < 6 * std / math.sqrt(n), path


#: What Flax's layers initialise themselves with, in Linen and in NNX.
FLAX = {
    "*bias": fi.zeros,
    "*scale": fi.ones,
    "*mean": fi.zeros,
    "*var": fi.ones,
    "*embedding": face.variance_scaling(1.0, "fan_in", "normal", out_axis=0),
    "*[Cc]onv*/kernel": fi.lecun_normal.with_axes("in_out"),
    "*out/kernel": fi.lecun_normal.with_axes(in_axis=(0, 1), out_axis=2),
    "*[A-Za-z]tt*/kernel": fi.lecun_normal.with_axes(in_axis=0, out_axis=(1, 2)),
    "*kernel": fi.lecun_normal,
}


class TestLinen:
    def model(self) -> Any:
        nn = pytest.importorskip("flax.linen")

        class Net(nn.Module):
            @nn.compact
            def __call__(self, tokens: Any) -> Any:
                x = nn.Embed(100, 48)(tokens)
                x = nn.BatchNorm(use_running_average=True)(nn.Conv(48, (3,))(x))
                x = nn.MultiHeadDotProductAttention(6)(x)
                return nn.Dense(64)(nn.LayerNorm()(x))

        return Net()

    def test_distributions_are_those_of_flax(self) -> None:
        model, tokens = self.model(), jnp.zeros((2, 5), int)
        shapes = jax.eval_shape(model.init, jax.random.key(0), tokens)
        ours = face.init_tree(shapes, seed=7, rules=FLAX)
        theirs = face.leaf_paths(model.init(jax.random.key(1), tokens))
        assert "params/MultiHeadDotProductAttention_0/query/kernel" in theirs
        for path, array in face.leaf_paths(ours).items():
            moments_agree(np.asarray(array), np.asarray(theirs[path]), path)
        assert model.apply(ours, tokens).shape == (2, 5, 64)

    def test_frozen_dicts_and_boxes_add_nothing_to_paths(self) -> None:
        nn = pytest.importorskip("flax.linen")
        from flax.core import FrozenDict

        init = nn.with_partitioning(nn.initializers.normal(), ("x", None))
        logical = nn.with_logical_partitioning(nn.initializers.normal(), ("embed", "mlp"))
        for layer in (nn.Dense(3), nn.Dense(3, kernel_init=init), nn.Dense(3, kernel_init=logical)):
            shapes = jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((1, 8)))
            for tree in (shapes, FrozenDict(shapes)):
                assert list(face.leaf_paths(tree)) == ["params/bias", "params/kernel"]
                made = face.init_tree(tree, seed=7, rules=NORMAL)
                assert jax.tree.structure(made) == jax.tree.structure(tree)
                assert_is_of_path(nn.unbox(made)["params"]["kernel"], "params/kernel")

    def test_state_of_an_optimizer(self) -> None:
        pytest.importorskip("flax")
        optax = pytest.importorskip("optax")
        shapes = jax.eval_shape(optax.adam(1e-3).init, {"kernel": MATRIX})
        assert list(face.leaf_paths(shapes)) == ["0/count", "0/mu/kernel", "0/nu/kernel"]
        made = face.init_tree(shapes, seed=7, rules=ZEROS)
        assert (made[0].count.dtype, made[0].count.item()) == (np.int32, 0)


class TestNnx:
    def model(self, rngs: Any) -> Any:
        from flax import nnx

        class Net(nnx.Module):
            def __init__(self) -> None:
                self.embed = nnx.Embed(100, 48, rngs=rngs)
                self.conv = nnx.Conv(48, 48, (3,), rngs=rngs)
                self.norm = nnx.BatchNorm(48, rngs=rngs)
                self.attention = nnx.MultiHeadAttention(6, 48, decode=False, rngs=rngs)
                self.drop = nnx.Dropout(0.5, rngs=rngs)
                self.layers = nnx.List([nnx.Linear(48, 48, rngs=rngs) for _ in range(2)])

            def __call__(self, tokens: Any) -> Any:
                x = self.drop(self.attention(self.norm(self.conv(self.embed(tokens)))))
                for layer in self.layers:
                    x = layer(x)
                return x

        return Net()

    def test_distributions_are_those_of_flax(self) -> None:
        nnx = pytest.importorskip("flax.nnx")
        shapes = nnx.eval_shape(lambda: self.model(nnx.Rngs(0)))
        graph, state, rest = nnx.split(shapes, (nnx.Param, nnx.BatchStat), ...)
        made = face.init_tree(state, seed=7, rules=FLAX)
        kept = (nnx.Param, nnx.BatchStat)
        theirs = face.leaf_paths(nnx.state(self.model(nnx.Rngs(1)), kept))
        assert "attention/value/kernel" in theirs
        assert "layers/1/kernel" in theirs
        ours = face.leaf_paths(made)
        assert ours.keys() == theirs.keys()
        for path, array in ours.items():
            moments_agree(np.asarray(array), np.asarray(theirs[path]), path)
        model = nnx.merge(graph, made, rest)
        nnx.reseed(model, default=0)
        assert model(jnp.zeros((2, 5), int)).shape == (2, 5, 48)

    def test_modules_have_the_paths_of_their_states(self) -> None:
        nnx = pytest.importorskip("flax.nnx")
        shapes = nnx.eval_shape(lambda: nnx.Linear(8, 3, rngs=nnx.Rngs(0)))
        made = face.init_tree(shapes, seed=7, rules=NORMAL)
        assert isinstance(made, nnx.Linear)
        assert_is_of_path(made.kernel[...], "kernel")

    def test_states_of_random_numbers_are_not_made(self) -> None:
        nnx = pytest.importorskip("flax.nnx")
        state = nnx.state(nnx.eval_shape(lambda: nnx.Dropout(0.5, rngs=nnx.Rngs(0))))
        with pytest.raises(ValueError, match=r"^'rngs/key' is an array of keys .*nnx.split"):
            face.init_tree(state, seed=7, rules=ZEROS)

    def test_variables_of_several_arrays(self) -> None:
        nnx = pytest.importorskip("flax.nnx")
        tree = {"a": nnx.Param({"b": MATRIX, "c": [MATRIX]})}
        assert list(face.leaf_paths(tree)) == ["a/b", "a/c/0"]
        made = face.init_tree(tree, seed=7, rules=NORMAL)
        assert_is_of_path(made["a"].get_value()["c"][0], "a/c/0")

    def test_a_variable_that_a_tree_has_twice(self) -> None:
        nnx = pytest.importorskip("flax.nnx")

        class Tied(nnx.Module):
            def __init__(self) -> None:
                self.a = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
                self.b = self.a

        shapes = nnx.eval_shape(Tied)
        with pytest.raises(
            ValueError, match=r"^tree has one nnx.Variable as 'a/bias' and 'b/bias'.*split"
        ):
            face.init_tree(shapes, seed=7, rules=ZEROS)
        assert list(face.leaf_paths(nnx.state(shapes))) == ["a/bias", "a/kernel"]


def test_haiku() -> None:
    hk = pytest.importorskip("haiku")
    model = hk.transform(lambda x: hk.nets.MLP([64, 8])(x))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 48)))
    linear = fi.VarianceScaling(1.0, "fan_in", correction="none")  # Haiku's Linear does not correct
    made = face.init_tree(shapes, seed=7, rules={"*/w": linear, "*/b": fi.zeros})
    theirs = face.leaf_paths(model.init(jax.random.key(1), jnp.ones((2, 48))))
    assert list(theirs) == [
        "mlp/~/linear_0/b",
        "mlp/~/linear_0/w",
        "mlp/~/linear_1/b",
        "mlp/~/linear_1/w",
    ]
    for path, array in face.leaf_paths(made).items():
        moments_agree(np.asarray(array), np.asarray(theirs[path]), path)
    assert_is_of_path(made["mlp/~/linear_0"]["w"], "mlp/~/linear_0/w", linear)
    assert model.apply(made, None, jnp.ones((2, 48))).shape == (2, 8)


def test_eight_devices() -> None:
    run_on_eight_devices("-W", "error", "jax_trees.py")


@pytest.mark.parametrize("layers", ["linen", "nnx"])
def test_metadata_of_flax_on_eight_devices(layers: str) -> None:
    pytest.importorskip("flax")
    run_on_eight_devices("jax_trees.py", layers)
