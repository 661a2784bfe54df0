"""The face of JAX: signatures, keys, dtypes, tracing and sharding; values are those of the core."""

from __future__ import annotations

import inspect
import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from conftest import DTYPES, as_bits

jax = pytest.importorskip("jax")
jnp = jax.numpy
own = jax.nn.initializers

from jax.extend import random as jax_random  # noqa: E402

from fastinit import jax as face  # noqa: E402

KEY = jax.random.key(7)
SHAPE = (3, 5, 16, 32)  # fans 240 and 480

SCALED = [
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "kaiming_normal", "kaiming_uniform",
    "lecun_normal", "lecun_uniform", "xavier_normal", "xavier_uniform",
]  # fmt: skip
SAMPLED = [*SCALED, "normal", "truncated_normal", "uniform", "variance_scaling"]


def assert_equal(array: Any, expected: np.ndarray) -> None:
    """A jax.Array has the dtype and every bit of a NumPy array."""
    assert isinstance(array, jax.Array)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(as_bits(np.asarray(array)), as_bits(expected))


def outline(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    return [(n, p.default) for n, p in inspect.signature(function).parameters.items()]


def test_all_names_of_jax_are_here() -> None:
    names = {name for name in dir(own) if not name.startswith("_")}
    assert set(face.__all__) == names | {"init_tree", "leaf_paths"}
    for name in ("constant", "zeros", "ones", "orthogonal", "delta_orthogonal", "Initializer"):
        assert getattr(face, name) is getattr(own, name)


@pytest.mark.parametrize("name", SAMPLED)
def test_signatures(name: str) -> None:
    ours, theirs = getattr(face, name), getattr(own, name)
    assert outline(ours) == outline(theirs)
    arguments = (1.0, "fan_in", "normal") if name == "variance_scaling" else ()
    for dtype in (None, jnp.bfloat16):
        made = ours(*arguments, dtype=dtype), theirs(*arguments, dtype=dtype)
        assert outline(made[0]) == outline(made[1])
        assert isinstance(made[0], own.Initializer)


@pytest.mark.parametrize("name", SCALED)
def test_values_are_those_of_the_core(name: str) -> None:
    init = getattr(face, name)()
    assert_equal(init(KEY, SHAPE), getattr(fi, name)(SHAPE, seed=7))
    assert_equal(init(KEY, [1, 2]), getattr(fi, name)((1, 2), seed=7))
    assert_equal(init(KEY, jnp.array([1, 2])), getattr(fi, name)((1, 2), seed=7))


def test_large_arrays_are_those_of_the_core() -> None:
    assert_equal(
        face.he_normal()(KEY, (1 << 10, 1 << 11)), fi.he_normal((1 << 10, 1 << 11), seed=7)
    )


UNCORRECTED = 0.87962566103423978


@pytest.mark.parametrize(
    ("init", "law"),
    [
        (face.uniform(), fi.Uniform(0.0, 0.01)),
        (face.uniform(-3), fi.Uniform(-3.0, 0.0)),
        (face.normal(), fi.Normal(0.0, 0.01)),
        (face.normal(jnp.float32(0.5)), fi.Normal(0.0, 0.5)),
        (face.truncated_normal(), fi.TruncatedNormal(0.0, 0.01, lower=-2.0, upper=2.0)),
        (face.truncated_normal(2, None, 6, math.inf), fi.TruncatedNormal(0.0, 2.0, lower=6.0, upper=math.inf)),
        (face.variance_scaling(3, "fan_in", "normal"), fi.Normal(0.0, math.sqrt(3 / 240))),
        (face.variance_scaling(3, "fan_out", "normal"), fi.Normal(0.0, math.sqrt(3 / 480))),
        (face.variance_scaling(3, "fan_avg", "normal"), fi.Normal(0.0, math.sqrt(3 / 360))),
        (face.variance_scaling(3, "fan_geo_avg", "normal"), fi.Normal(0.0, math.sqrt(3 / math.sqrt(240 * 480)))),
        (face.variance_scaling(0.0, "fan_in", "uniform"), fi.Constant(0.0)),
        (face.lecun_uniform(0, (1, 2), 3), fi.Uniform(-1.0, 1.0)),  # fan_in 3, so x = sqrt(3 / 3)
        (face.he_normal((-1, 2), 0, batch_axis=(1,)), fi.TruncatedNormal(0.0, math.sqrt(2 / 512) / UNCORRECTED)),
    ],
)  # fmt: skip
def test_laws(init: Callable[..., Any], law: fi.Initializer) -> None:
    assert_equal(init(KEY, SHAPE), law(SHAPE, seed=7))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, ()) for name in SCALED if name[:2] in ("gl", "he", "le")),
        ("uniform", (0.3,)),
        ("normal", (0.3,)),
        ("truncated_normal", (0.3, None, -1.0, 3.0)),
        ("variance_scaling", (2.0, "fan_geo_avg", "truncated_normal", 0, (1, 3), 2)),
    ],
)
def test_moments_and_extremes_are_those_of_jax(name: str, arguments: tuple[Any, ...]) -> None:
    """Of 2^17 values each: limits of six standard errors or more, a false alarm in 10^8 runs."""
    shape = (32, 16, 16, 16)
    ours = np.asarray(getattr(face, name)(*arguments)(KEY, shape))
    theirs = np.asarray(getattr(own, name)(*arguments)(jax.random.key(1), shape))
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.03 * float(theirs.std()))
    if name != "normal":  # which has no bounds
        assert ours.max() == pytest.approx(theirs.max(), rel=0.02)
        assert ours.min() == pytest.approx(theirs.min(), rel=0.02, abs=1e-4)


def subsets(ndim: int) -> list[tuple[int, ...]]:
    """All sets of the axes of a shape."""
    return [c for n in range(ndim + 1) for c in itertools.combinations(range(ndim), n)]


class TestAxes:
    """Fans are those of JAX's arithmetic, for axes that are named twice and shapes of one or no axis too."""

    @pytest.mark.parametrize("shape", [(), (5,), (5, 3), (5, 3, 2), (5, 3, 2, 4)])
    def test_all_combinations(self, shape: tuple[int, ...]) -> None:
        """Of what is drawn from [-1, 1), the bounds are those of JAX: as many times what is drawn."""
        theirs = jax.random.uniform(KEY, shape, minval=-1)
        ours = fi.Uniform(-1.0, 1.0)(shape, seed=7)
        # Five, so that each meets all sets of axes, of which there are powers of 2.
        modes = itertools.cycle(["fan_in", "fan_out", "fan_avg", "fan_geo_avg", "fan_in"])
        for axes, mode in zip(itertools.product(subsets(len(shape)), repeat=3), modes):  # noqa: B905
            bounds = []
            for made, drawn in ((face, ours), (own, theirs)):
                array = made.variance_scaling(1.0, mode, "uniform", *axes)(KEY, shape)
                i = np.argmax(np.abs(np.asarray(drawn)))
                bounds.append(float(np.asarray(array).flat[i] / np.asarray(drawn).flat[i]))
            assert bounds[0] == pytest.approx(bounds[1], rel=1e-6), (axes, mode)

    @pytest.mark.parametrize(
        ("arguments", "shape", "stddev"),
        [
            (
                {"out_axis": 0},
                (50, 8),
                math.sqrt(1 / 8),
            ),  # Flax's embeddings: features are the inputs
            ({"in_axis": -1}, (3, 5), math.sqrt(1 / 3)),
            ({"in_axis": (0, 0), "out_axis": 1}, (4, 5), 0.5),  # 16 * (20 / 16 / 5) is 4
            ({"in_axis": 0, "out_axis": 0}, (5,), 1.0),
            ({"in_axis": 0}, (5,), 1.0),
            ({"in_axis": (), "out_axis": ()}, (), 1.0),
            ({"in_axis": (), "out_axis": 0}, (4,), 1.0),
            ({"in_axis": 0, "out_axis": ()}, (4,), 0.5),
            ({"in_axis": 0, "out_axis": 0, "batch_axis": 0}, (4,), 2.0),  # fans of 1 / 4
        ],
    )
    def test_closed_formulas(
        self, arguments: dict[str, Any], shape: tuple[int, ...], stddev: float
    ) -> None:
        init = face.variance_scaling(1.0, "fan_in", "normal", **arguments)
        expected = fi.Normal(0.0, stddev)(shape, seed=7)
        assert_equal(init(KEY, shape), expected)
        assert_equal(jax.jit(init, static_argnums=1)(KEY, shape), expected)

    def test_ints_and_sequences_from_either_end(self) -> None:
        expected = fi.Normal(0.0, math.sqrt(1 / 8))((50, 8), seed=7)
        for axes in ((-2, 0), (0, -2), ([0], (0,)), ((-2,), [-2])):
            assert_equal(
                face.variance_scaling(1.0, "fan_in", "normal", *axes)(KEY, (50, 8)), expected
            )

    def test_the_core_stays_strict(self) -> None:
        with pytest.raises(ValueError, match="must name different axes"):
            fi.VarianceScaling(in_axis=-2, out_axis=0)((50, 8), seed=7)


class TestKeys:
    """A key of two words is the seed that its words spell."""

    @pytest.mark.parametrize("seed", [0, 7, 2**31 + 5])
    def test_key_of_a_seed_is_that_seed(self, seed: int) -> None:
        expected = fi.he_normal((4, 5), seed=seed)
        raw = jax.random.PRNGKey(np.uint32(seed))
        for key in (jax.random.key(np.uint32(seed)), raw, np.asarray(raw)):
            assert_equal(face.he_normal()(key, (4, 5)), expected)

    def test_first_word_is_the_high_one(self) -> None:
        key = jax.random.wrap_key_data(np.uint32([0xDEADBEEF, 0x12345678]))
        assert_equal(face.he_normal()(key, (4, 5)), fi.he_normal((4, 5), seed=0xDEADBEEF12345678))

    @pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
    def test_four_words_are_a_seed_sequence(self, impl: str) -> None:
        expected = fi.he_normal((4, 5), seed=np.random.SeedSequence([0, 7, 0, 7]))
        key = jax.random.key(7, impl=impl)
        assert_equal(face.he_normal()(key, (4, 5)), expected)
        assert_equal(jax.jit(face.he_normal(), static_argnums=1)(key, (4, 5)), expected)

    @pytest.mark.parametrize(
        "key", [7, None, "key", [0, 7], np.uint32([1, 2, 3]), np.float32([0, 7]), np.uint32(7)]
    )
    def test_other_things_are_refused(self, key: Any) -> None:
        with pytest.raises(TypeError, match=r"^key must be a key of jax.random.key .*, got "):
            face.normal()(key, (2, 3))

    @pytest.mark.parametrize("trace", [lambda f: f, jax.jit])
    def test_keys_are_used_up_as_by_jax(self, trace: Any) -> None:
        with jax.debug_key_reuse(True):
            for init in (face.normal(), own.normal()):
                once = trace(lambda key, init=init: init(key, (2, 3)))
                twice = trace(lambda key, init=init: (init(key, (2, 3)), init(key, (2, 3))))
                once(jax.random.key(7))
                with pytest.raises(jax.errors.KeyReuseError):
                    twice(jax.random.key(7))
            assert_equal(
                face.normal()(jax.random.PRNGKey(7), (2, 3)), fi.Normal(0.0, 0.01)((2, 3), seed=7)
            )

    @pytest.mark.parametrize(("shape", "seed"), [
        ((2, 2), np.random.SeedSequence([7, 8, 9, 10])),
        ((1, 2), 7 << 32 | 8),
        ((3,), np.random.SeedSequence([7, 8, 9])),
    ])  # fmt: skip
    def test_words_of_any_shape(self, shape: tuple[int, ...], seed: Any) -> None:
        unused: Any = lambda *arguments: None  # noqa: E731
        impl = jax_random.define_prng_impl(
            key_shape=shape, seed=unused, split=unused, random_bits=unused, fold_in=unused
        )
        expected = fi.he_normal((4, 5), seed=seed)
        words = np.arange(7, 7 + math.prod(shape), dtype=np.uint32).reshape(shape)
        key = jax.random.wrap_key_data(words, impl=impl)
        assert_equal(face.he_normal()(key, (4, 5)), expected)
        assert_equal(jax.jit(face.he_normal(), static_argnums=1)(key, (4, 5)), expected)
        keys = jax.random.wrap_key_data(np.stack([words, words]), impl=impl)
        many = jax.vmap(lambda key: face.he_normal()(key, (4, 5)))(keys)
        assert_equal(many, np.stack([expected, expected]))
        with pytest.raises(ValueError, match=r"^key must be a single key.* of shape \(2,\)"):
            face.he_normal()(keys, (4, 5))

    def test_several_keys_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"^key must be a single key.* shape \(2,\).*vmap"):
            face.normal()(jax.random.split(KEY), (2, 3))
        with pytest.raises(ValueError, match=r"^key must be a single key"):
            jax.jit(face.normal(), static_argnums=1)(jax.random.split(KEY), (2, 3))


class TestDtypes:
    @pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "float64"])
    def test_those_of_the_core(self, dtype: str) -> None:
        expected = fi.he_normal((64, 64), seed=7, dtype=dtype)
        assert_equal(face.he_normal()(KEY, (64, 64), dtype), expected)
        assert_equal(face.he_normal(dtype=getattr(jnp, dtype))(KEY, (64, 64)), expected)
        assert_equal(jax.jit(lambda key: face.he_normal()(key, (64, 64), dtype))(KEY), expected)

    def test_default_is_the_float_of_jax(self) -> None:
        assert face.normal()(KEY, (2, 3)).dtype == np.float32
        with jax.enable_x64(True):
            wide = fi.Normal(0.0, 0.01)((2, 3), seed=7, dtype="float64")
            for dtype in (None, float, "float64"):
                assert_equal(face.normal()(KEY, (2, 3), dtype), wide)
            assert_equal(jax.jit(lambda key: face.normal()(key, (2, 3)))(KEY), wide)

    def test_float64_that_is_not_enabled_is_float32_with_the_warning_of_jax(self) -> None:
        for init in (face.normal(), own.normal()):
            with pytest.warns(UserWarning, match="float64"):
                assert init(KEY, (2, 3), "float64").dtype == np.float32
            assert init(KEY, (2, 3), float).dtype == np.float32

    def test_float_costs_no_array_of_jax(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(jnp, "zeros")  # which makes the warning
        assert face.normal()(KEY, (2, 3), float).dtype == np.float32

    @pytest.mark.parametrize("name", ["he_uniform", "lecun_normal", "normal"])
    def test_complex_is_the_function_of_jax(self, name: str) -> None:
        arrays = [getattr(made, name)(dtype="complex64")(KEY, (4, 5)) for made in (face, own)]
        np.testing.assert_array_equal(*map(np.asarray, arrays))

    @pytest.mark.parametrize(
        ("factory", "number"),
        [
            ("normal", 0.5 + 2j),
            ("normal", np.complex64(1j)),
            ("normal", jnp.array(1j)),
            ("variance_scaling", -2j),
        ],
    )
    def test_complex_numbers_are_for_complex_dtypes(self, factory: str, number: Any) -> None:
        arguments = ("fan_in", "normal") if factory == "variance_scaling" else ()
        ours, theirs = (getattr(made, factory)(number, *arguments) for made in (face, own))
        made = [np.asarray(init(KEY, (4, 5), "complex64")) for init in (ours, theirs)]
        np.testing.assert_array_equal(*made)
        with pytest.raises(TypeError, match=r"^(scale|stddev) must be a real number, got "):
            ours(KEY, (4, 5))

    def test_traced_numbers_are_for_complex_dtypes(self) -> None:
        def make(init: Any) -> Any:
            return jax.jit(lambda stddev: init.normal(stddev)(KEY, (4, 5), "complex64"))(0.5)

        np.testing.assert_array_equal(np.asarray(make(face)), np.asarray(make(own)))

    def test_other_eight_bit_floats_are_those_of_jax(self) -> None:
        arrays = [made.normal(1.0)(KEY, (4, 5), "float8_e4m3fnuz") for made in (face, own)]
        np.testing.assert_array_equal(*(as_bits(np.asarray(array)) for array in arrays))

    @pytest.mark.parametrize("dtype", [int, "bool"])
    def test_integers_are_refused_as_jax_does(self, dtype: Any) -> None:
        for init in (face.normal(), own.normal()):
            with pytest.raises(ValueError, match="dtype"):
                init(KEY, (2, 3), dtype)


class TestErrors:
    """At the time at which JAX raises them, or earlier."""

    @pytest.mark.parametrize("shape", [(), (5,)])
    def test_fans_need_two_dimensions(self, shape: tuple[int, ...]) -> None:
        for init in (face.he_normal(), own.he_normal()):
            with pytest.raises(ValueError, match="at least 2"):
                init(KEY, shape)
        assert face.normal()(KEY, shape).shape == shape

    @pytest.mark.parametrize(
        ("factory", "argument", "value"),
        [
            (lambda: face.variance_scaling(1.0, "fan", "normal"), "mode", "'fan'"),
            (lambda: face.variance_scaling(1.0, "fan_in", "untruncated_normal"), "distribution", "'untr"),
            (lambda: face.variance_scaling(-1.0, "fan_in", "normal"), "scale", "-1.0"),
            (lambda: face.normal(-1.0), "stddev", "-1.0"),
            (lambda: face.normal(math.nan), "stddev", "nan"),
            (lambda: face.truncated_normal(1.0, None, 2.0, 2.0), "lower", "2.0"),
        ],
    )  # fmt: skip
    def test_values_of_factories(self, factory: Any, argument: str, value: str) -> None:
        with pytest.raises(ValueError, match=rf"^{argument} must .*{value}"):
            factory()

    @pytest.mark.parametrize("value", ["1", None, np.ones(2), True])
    def test_numbers_of_factories(self, value: Any) -> None:
        with pytest.raises(TypeError, match=r"^stddev must be a real number"):
            face.normal(value)

    def test_traced_number(self) -> None:
        with pytest.raises(
            TypeError, match=r"^stddev must be a number .* outside jax.jit.*multiply"
        ):
            jax.jit(lambda stddev: face.normal(stddev)(KEY, (2, 3)))(1.0)

    def test_traced_bounds(self) -> None:
        """Values cannot be multiplied into other bounds, so no error says so."""
        with pytest.raises(TypeError, match=r"^upper must be .* outside jax.jit, got \S+(\n|$)"):
            jax.jit(lambda upper: face.truncated_normal(upper=upper)(KEY, (2, 3)))(1.0)

    @pytest.mark.parametrize(
        "trace", [lambda init: init, lambda i: jax.jit(i, static_argnums=(1, 2))]
    )
    def test_calls_eager_and_traced(self, trace: Any) -> None:
        with pytest.raises(ValueError, match=r"^in_axis must lie in"):
            trace(face.he_normal(in_axis=5))(KEY, (2, 3))
        with pytest.raises(ValueError, match=r"^in_axis must lie in"):
            trace(face.he_normal(in_axis=0))(KEY, ())
        with pytest.raises(ValueError, match="largest finite"):
            trace(face.normal(1e30))(KEY, (2, 3), "float16")
        with pytest.raises(ValueError, match=r"^shape must not have negative"):
            trace(face.normal())(KEY, (2, -3))

    def test_shapes(self) -> None:
        for shape in (jnp.ones(2), "23", (2, None)):
            with pytest.raises(TypeError, match=r"^shape must be an int or a sequence of ints"):
                face.normal()(KEY, shape)
        with pytest.raises(jax.errors.ConcretizationTypeError):
            jax.jit(lambda shape: face.normal()(KEY, shape))(jnp.array([2, 3]))

    def test_no_dimension_of_zero_is_an_error(self) -> None:
        assert face.he_normal()(KEY, (0, 3)).shape == (0, 3)


def test_array_takes_over_the_memory_that_was_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    filled: list[int] = []
    fill = fi.Normal.fill

    def spy(self: fi.Normal, out: np.ndarray, **arguments: Any) -> np.ndarray:
        filled.append(out.ctypes.data)
        return fill(self, out, **arguments)

    monkeypatch.setattr(fi.Normal, "fill", spy)
    for shape in [(1,), (), (3, 5), (1 << 10, 1 << 8)]:
        for dtype in (np.float32, jnp.bfloat16, jnp.float8_e5m2):
            array = face.normal()(KEY, shape, dtype)
            assert array.unsafe_buffer_pointer() == filled.pop()


def test_donation_leaves_values_alone() -> None:
    array = face.normal()(KEY, (256, 256))
    expected = fi.Normal(0.0, 0.01)((256, 256), seed=7) + np.float32(1)
    assert_equal(jax.jit(lambda x: x + 1, donate_argnums=0)(array), expected)
    assert array.is_deleted()


class TestTracing:
    """The values of traced calls are those of eager ones."""

    def test_jit(self) -> None:
        for init in (face.he_uniform(), face.normal(), face.truncated_normal()):
            for shape in [(4, 5), (0, 3), (1 << 9, 1 << 11)]:
                assert_equal(
                    jax.jit(init, static_argnums=1)(KEY, shape), np.asarray(init(KEY, shape))
                )
        assert_equal(
            jax.jit(lambda key: face.normal()(key, ()))(KEY), np.asarray(face.normal()(KEY, ()))
        )

    def test_key_that_is_known_or_made_inside(self) -> None:
        expected = fi.he_normal((4, 5), seed=7)
        for key in (KEY, jax.random.PRNGKey(7)):
            assert_equal(jax.jit(lambda key=key: face.he_normal()(key, (4, 5)))(), expected)
        assert_equal(
            jax.jit(lambda seed: face.he_normal()(jax.random.key(seed), (4, 5)))(7), expected
        )

    def test_equal_calls_are_compiled_once(self) -> None:
        def fill() -> Any:
            jaxpr = jax.make_jaxpr(lambda key: face.he_normal()(key, (4, 5)))(KEY)
            return jaxpr.eqns[-1].params["callback"]

        assert fill() == fill()
        assert hash(fill()) == hash(fill())

    @pytest.mark.parametrize("key", [KEY, jax.random.PRNGKey(7)])
    def test_eval_shape_makes_nothing(self, key: Any) -> None:
        shape = (1 << 20, 1 << 20)
        for made in (
            jax.eval_shape(lambda key: face.he_normal()(key, shape, "bfloat16"), key),
            jax.eval_shape(lambda: face.he_normal()(key, shape, "bfloat16")),
        ):
            assert (made.shape, made.dtype) == (shape, jnp.bfloat16)

    def test_vmap(self) -> None:
        keys = jax.random.split(KEY, (2, 3))
        each = [[np.asarray(face.normal()(key, (4, 5))) for key in row] for row in keys]
        many = jax.vmap(jax.vmap(lambda key: face.normal()(key, (4, 5))))
        assert_equal(many(keys), np.array(each))
        assert_equal(jax.jit(many)(keys), np.array(each))
        assert_equal(jax.vmap(jax.vmap(lambda key: face.normal()(key, ())))(keys).ravel()[0],
                     np.asarray(face.normal()(keys[0, 0], ())))  # fmt: skip
        old = jax.random.split(jax.random.PRNGKey(7), 3)
        assert_equal(jax.vmap(lambda key: face.normal()(key, (4, 5)))(old)[2],
                     np.asarray(face.normal()(old[2], (4, 5))))  # fmt: skip

    def test_scan_grad_and_checkpoint(self) -> None:
        keys = jax.random.split(KEY, 3)
        each = np.array([np.asarray(face.normal()(key, (4, 5))) for key in keys])
        assert_equal(jax.lax.scan(lambda c, k: (c, face.normal()(k, (4, 5))), 0, keys)[1], each)

        def total(x: Any, key: Any) -> Any:
            return (x * face.normal()(key, (4, 5))).sum()

        for grad in (jax.grad(total), jax.jit(jax.grad(total)), jax.grad(jax.checkpoint(total))):
            assert float(grad(1.0, keys[0])) == pytest.approx(float(each[0].sum()), rel=1e-5)

    def test_many_large_ones_end(self) -> None:
        """Callbacks that JAX calls while it computes on all CPUs do not wait for each other."""
        shape = (1 << 10, 1 << 10)

        def products(keys: Any) -> Any:
            return [(w := face.normal()(key, shape), (w @ w).sum())[0] for key in keys]

        keys = [jax.random.key(seed) for seed in range(6)]
        for seed, array in enumerate(jax.jit(products)(keys)):
            assert_equal(array, fi.Normal(0.0, 0.01)(shape, seed=seed))


def run_on_eight_devices(*arguments: str) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    run = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert (run.returncode, run.stdout) == (0, "all equal\n"), run.stderr


@pytest.mark.parametrize("script", ["jax_devices.py", "jax_meshes.py"])
def test_eight_devices(script: str) -> None:
    run_on_eight_devices("-W", "error", script)


@pytest.mark.parametrize(
    ("package", "layers"), [("flax", "linen"), ("flax", "nnx"), ("haiku", "haiku")]
)
def test_layers_on_eight_devices(package: str, layers: str) -> None:
    pytest.importorskip(package)
    run_on_eight_devices("jax_meshes.py", layers)


def test_flax_linen() -> None:
    nn = pytest.importorskip("flax.linen")
    dense = nn.Dense(8, kernel_init=face.he_normal(), param_dtype=jnp.bfloat16)
    x = jnp.ones((2, 4), jnp.bfloat16)
    kernel = dense.init(KEY, x)["params"]["kernel"]
    seen: list[Any] = []

    def keep(key: Any, shape: Any, dtype: Any) -> Any:
        seen.append(key)
        return jnp.zeros(shape, dtype)

    nn.Dense(8, kernel_init=keep).init(KEY, x)
    high, low = (int(word) for word in np.asarray(jax.random.key_data(seen[-1])))
    assert_equal(kernel, fi.he_normal((4, 8), seed=high << 32 | low, dtype="bfloat16"))
    assert_equal(jax.jit(dense.init)(KEY, x)["params"]["kernel"], np.asarray(kernel))
    shapes = jax.eval_shape(dense.init, KEY, x)["params"]
    assert (shapes["kernel"].shape, shapes["kernel"].dtype) == ((4, 8), jnp.bfloat16)


def test_flax_nnx() -> None:
    nnx = pytest.importorskip("flax.nnx")
    layer = nnx.Linear(4, 8, kernel_init=face.he_normal(), rngs=nnx.Rngs(7))
    high, low = (int(word) for word in np.asarray(jax.random.key_data(nnx.Rngs(7).params())))
    assert_equal(layer.kernel[...], fi.he_normal((4, 8), seed=high << 32 | low))
    make = nnx.jit(lambda: nnx.Linear(4, 8, kernel_init=face.he_normal(), rngs=nnx.Rngs(7)))
    assert_equal(make().kernel[...], np.asarray(layer.kernel[...]))


def test_haiku() -> None:
    hk = pytest.importorskip("haiku")

    def w_init(shape: Any, dtype: Any) -> Any:
        return face.he_normal()(hk.next_rng_key(), shape, dtype)

    model = hk.transform(lambda x: hk.Linear(8, w_init=w_init)(x))
    raw = hk.transform(lambda: jnp.asarray(jax.random.key_data(hk.next_rng_key()))).apply({}, KEY)
    high, low = (int(word) for word in np.asarray(raw))
    params = model.init(KEY, jnp.ones((2, 4)))
    assert_equal(params["linear"]["w"], fi.he_normal((4, 8), seed=high << 32 | low))
    jitted = jax.jit(model.init)(KEY, jnp.ones((2, 4)))
    assert_equal(jitted["linear"]["w"], np.asarray(params["linear"]["w"]))
