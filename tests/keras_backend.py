"""Keras's initializers on one backend: test_keras.py runs this file once for each, in a process of its own."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.initializers.random_initializers import compute_fans

import fastinit as fi
import fastinit.keras as fk
from conftest import as_bits

BACKEND = keras.config.backend()
NAMES = [name for name in fk.__all__ if name[0].isupper()]
TRUNCATED_STD = 0.87962566103423978  # of a standard normal within +-2

# NumPy's answer to Keras's conversions of tensors of PyTorch and variables of TensorFlow.
pytestmark = [pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]
if BACKEND == "numpy":  # With it Keras learns shapes from values that nobody has set.
    pytestmark.append(pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"))

CORE: dict[str, fi.Initializer] = {
    "GlorotNormal": fi.glorot_normal,
    "GlorotUniform": fi.glorot_uniform,
    "HeNormal": fi.he_normal,
    "HeUniform": fi.he_uniform,
    "LecunNormal": fi.lecun_normal,
    "LecunUniform": fi.lecun_uniform,
    "RandomNormal": fi.Normal(0.0, 0.05),
    "RandomUniform": fi.Uniform(-0.05, 0.05),
    "TruncatedNormal": fi.TruncatedNormal(0.0, 0.05),
    "VarianceScaling": fi.lecun_normal,
}


def as_array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def check_equal(tensor: Any, expected: np.ndarray) -> None:
    """The same dtype, shape and bits."""
    array = as_array(tensor)
    assert array.dtype == expected.dtype
    assert array.shape == expected.shape
    np.testing.assert_array_equal(as_bits(array), as_bits(expected))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_classes_are_here() -> None:
    assert set(NAMES) == set(CORE)


def test_every_name_of_keras_is_here() -> None:
    """Keras's other names of the classes are those of the same classes here; the rest is Keras's."""
    assert callable(fk.get)
    for name in set(fk.__all__) - {"get", "init_model_", "variable_paths"}:
        theirs = getattr(keras.initializers, name)
        assert getattr(fk, name) is getattr(fk, theirs.__name__)
    assert fk.Zeros is keras.initializers.Zeros
    assert not {n for n in dir(keras.initializers) if n.startswith(("he_", "random_"))} - set(
        fk.__all__
    )
    with pytest.raises(AttributeError, match=r"fastinit\.keras.*nothing"):
        _ = fk.nothing


def test_signature_and_base_are_keras(name: str) -> None:
    ours, theirs = getattr(fk, name), getattr(keras.initializers, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert issubclass(ours, theirs)
    assert ours.__doc__ != theirs.__doc__


@pytest.mark.parametrize("shape", [(), (7,), (6, 11), (3, 3, 8, 5), (0, 4), (513, 300)])
def test_values_are_those_of_the_core(name: str, shape: tuple[int, ...]) -> None:
    init = getattr(fk, name)(seed=3)
    made = init(shape)
    assert keras.ops.is_tensor(made)
    check_equal(made, CORE[name](shape, seed=3))
    check_equal(init(list(shape)), CORE[name](shape, seed=3))  # an int repeats


@pytest.mark.parametrize(
    ("init", "core"),
    [
        (fk.RandomNormal(1.5, 2.0, 9), fi.Normal(1.5, 2.0)),
        (fk.TruncatedNormal(1.5, 2.0, 9), fi.TruncatedNormal(1.5, 2.0, lower=-2.0, upper=2.0)),
        (fk.RandomUniform(-1.0, 3.0, 9), fi.Uniform(-1.0, 3.0)),
        (fk.RandomNormal(keras.ops.ones(()), np.float32(2.0), 9), fi.Normal(1.0, 2.0)),
    ],
)
def test_parameters(init: Any, core: fi.Initializer) -> None:
    check_equal(init((20, 30)), core((20, 30), seed=9))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize(
    "distribution", ["truncated_normal", "normal", "untruncated_normal", "uniform"]
)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5, 6, 7), (None, None)),
        ((5, 6, 7), ([0], [1, 2])),
        ((5, 6, 7), ([0], None)),  # Keras looks at both or neither
        ((5, 6, 7), ([0, 1], [-1])),
        ((5, 6, 7), ([0, 1], [1, 2])),
        ((3, 3, 8, 5), ([-2], [-1])),  # no receptive field
        ((7,), ([0], [])),
        ((0, 6), (None, None)),  # at least 1
    ],
)  # fmt: skip
def test_variance_scaling(mode: str, distribution: str, shape: Any, axes: Any) -> None:
    ins, outs = compute_fans(shape, *axes)
    n = {"fan_in": ins, "fan_out": outs, "fan_avg": (ins + outs) / 2.0}[mode]
    std = math.sqrt(0.3 / max(1.0, n))
    limit = math.sqrt(3.0 * (0.3 / max(1.0, n)))
    expected = {
        "uniform": fi.Uniform(-limit, limit),
        "untruncated_normal": fi.Normal(0.0, std),
    }.get(distribution, fi.TruncatedNormal(0.0, std / TRUNCATED_STD, lower=-2.0, upper=2.0))
    init = fk.VarianceScaling(0.3, mode, distribution, 4, *axes)
    check_equal(init(shape), expected(shape, seed=4))
    # A subclass takes the axes too.
    init = fk.HeNormal(4, *axes)
    std = math.sqrt(2.0 / max(1.0, ins)) / TRUNCATED_STD
    check_equal(init(shape), fi.TruncatedNormal(0.0, std)(shape, seed=4))


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", np.float16, keras.ops.ones(()).dtype]
)
def test_dtypes(dtype: Any) -> None:
    name = keras.backend.standardize_dtype(dtype)
    expected = fi.he_normal((9, 5), seed=1, dtype=name)
    if BACKEND == "jax" and name == "float64":  # jax_enable_x64 is off, as by default
        expected = fi.he_normal((9, 5), seed=1)
    check_equal(fk.HeNormal(1)((9, 5), dtype=dtype), expected)


def test_no_dtype_is_floatx() -> None:
    keras.config.set_floatx("float16")
    try:
        check_equal(fk.HeNormal(1)((9, 5)), fi.he_normal((9, 5), seed=1, dtype="float16"))
    finally:
        keras.config.set_floatx("float32")


# Seeds


@pytest.mark.parametrize(
    ("seed", "core"),
    [(0, 0), (2**31 + 5, 2**31 + 5), (2**64 - 1, 2**64 - 1), (-1, 2**64 - 1), (-(2**63), 2**63)],
)
def test_int_seeds(seed: int, core: int) -> None:
    init = fk.LecunUniform(seed)
    check_equal(init((4, 5)), fi.lecun_uniform((4, 5), seed=core))
    assert init.get_config()["seed"] == seed


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8, np.uint64])
def test_numpy_ints_become_ints(name: str, kind: Any) -> None:
    init = getattr(fk, name)(seed=kind(7))
    assert type(init.seed) is int
    assert type(init.get_config()["seed"]) is int
    check_equal(init((4, 5)), CORE[name]((4, 5), seed=7))


def test_none_draws_a_seed_once() -> None:
    keras.utils.set_random_seed(12)
    first, second = fk.HeNormal(), fk.HeNormal()
    assert first.seed != second.seed
    check_equal(first((4, 5)), fi.he_normal((4, 5), seed=first.seed))
    check_equal(first((4, 5)), as_array(first((4, 5))))
    assert first.get_config()["seed"] is None
    keras.utils.set_random_seed(12)
    assert [fk.HeNormal().seed, fk.HeNormal().seed] == [first.seed, second.seed]
    keras.utils.set_random_seed(12)
    assert keras.initializers.HeNormal().seed == first.seed  # the same draw as Keras's


def test_a_generator_advances_as_keras_does() -> None:
    ours, theirs = keras.random.SeedGenerator(5), keras.random.SeedGenerator(5)
    init, keras_init = fk.HeNormal(ours), keras.initializers.HeNormal(theirs)
    for k in range(3):
        np.testing.assert_array_equal(as_array(ours.state), [5, k])
        check_equal(init((4, 5)), fi.he_normal((4, 5), seed=5, stream=k))
        keras_init((4, 5))
        np.testing.assert_array_equal(as_array(ours.state), as_array(theirs.state))


def test_the_config_of_a_generator_is_a_seed() -> None:
    init = fk.HeNormal(keras.random.SeedGenerator(5))
    init((4, 5))
    again = fk.HeNormal.from_config(init.get_config())  # holds a dict
    check_equal(again((4, 5)), fi.he_normal((4, 5), seed=5, stream=0))
    assert isinstance(again.seed, keras.random.SeedGenerator)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, np.float32(1), 1.0, "1", (1, 2)])
def test_bad_seeds(name: str, seed: Any) -> None:
    with pytest.raises(ValueError, match="seed"):
        getattr(fk, name)(seed=seed)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 2**127])
def test_seeds_out_of_range_name_what_takes_longer_ones(name: str, seed: int) -> None:
    message = (
        r"seed must be an int in \[-2\*\*63, 2\*\*64\), a numpy.random.SeedSequence "
        r"\(which takes ints of any length\) or a numpy.random.Generator, got "
    )
    with pytest.raises(ValueError, match=message):
        getattr(fk, name)(seed=seed)


def test_seeds_of_numpy() -> None:
    """The first state word of SeedSequence(2**127), and the first number of a generator."""
    sequence = np.random.SeedSequence(2**127)
    init = fk.HeNormal(seed=sequence)
    seed = int(np.random.SeedSequence(2**127).generate_state(1, np.uint64)[0])
    assert init.get_config()["seed"] == seed
    check_equal(init((4, 5)), fi.he_normal((4, 5), seed=seed))
    drawn = int(np.random.default_rng(3).integers(2**64, dtype=np.uint64))
    init = fk.HeNormal(seed=np.random.default_rng(3))
    check_equal(init((4, 5)), fi.he_normal((4, 5), seed=drawn))


def test_a_bare_config_of_a_generator_is_refused(name: str) -> None:
    config = keras.random.SeedGenerator(5).get_config()
    with pytest.raises(
        ValueError, match=r"^seed must be what .*serialize_keras_object.*got {'seed'"
    ):
        getattr(fk, name)(seed=config)


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.0}, "`scale` must be positive"),
        ({"mode": "fan"}, "Invalid `mode`"),
        ({"distribution": "cauchy"}, "Invalid `distribution`"),
    ],
)
def test_arguments_are_checked_by_keras(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fk.VarianceScaling(**arguments)


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", np.int64])
def test_dtype_must_be_float(name: str, dtype: Any) -> None:
    generator = keras.random.SeedGenerator(5)
    init = getattr(fk, name)(seed=generator)
    with pytest.raises(ValueError, match=r"dtype must be floating point, got .*(int|bool|complex)"):
        init((2, 3), dtype=dtype)
    np.testing.assert_array_equal(as_array(generator.state), [5, 0])  # nothing was drawn


def test_bad_calls() -> None:
    with pytest.raises(ValueError, match="Invalid dtype: flub"):
        fk.HeNormal(1)((2, 3), dtype="flub")
    for shape in ((2, None), (2.0, 3), (True, 3)):
        with pytest.raises(TypeError, match="shape must be an int or a sequence of ints"):
            fk.HeNormal(1)(shape)
    with pytest.raises(ValueError, match=r"low must not be above high, got low=1.0, high=0.0"):
        fk.RandomUniform(1.0, 0.0, 1)((2, 3))
    with pytest.raises(ValueError, match=r"stddev must be finite and not negative, got -1.0"):
        fk.RandomNormal(0.0, -1.0, 1)((2, 3))


def test_shapes_may_be_tensors() -> None:
    for shape in (keras.ops.convert_to_tensor([2, 3]), np.array([2, 3]), [np.int64(2), 3]):
        check_equal(fk.HeNormal(1)(shape), fi.he_normal((2, 3), seed=1))
    check_equal(fk.HeNormal(1)(np.array([], int)), fi.he_normal((), seed=1))


@pytest.mark.skipif(BACKEND == "jax", reason="has layouts")
def test_layouts_are_of_jax() -> None:
    with pytest.raises(
        ValueError, match=rf"^layout must be None on the backend {BACKEND}, got 'x'"
    ):
        fk.HeNormal(1)((2, 3), layout="x")


# Configs and models


@pytest.mark.parametrize("seed", [None, 7, np.int64(7)])
def test_configs_round_trip(name: str, seed: Any) -> None:
    init = getattr(fk, name)(seed=seed)
    config = keras.initializers.serialize(init)
    assert config["registered_name"] == f"fastinit>{name}"
    theirs = getattr(keras.initializers, name)(seed=None if seed is None else int(seed))
    assert init.get_config() == theirs.get_config()
    for again in (keras.initializers.get(config), init.clone()):
        assert type(again) is type(init)
        assert again.get_config() == init.get_config()
        if seed is not None:
            check_equal(again((4, 5)), CORE[name]((4, 5), seed=7))


def test_names_of_keras_stay_keras(name: str) -> None:
    assert type(keras.initializers.get(name)) is getattr(keras.initializers, name)
    assert type(keras.initializers.get(f"fastinit>{name}")) is getattr(fk, name)


def test_get_finds_these_classes_by_name(name: str) -> None:
    aliases = {other for other in fk.__all__ if getattr(fk, other) is getattr(fk, name)}
    assert len(aliases) == 2
    for alias in aliases:
        assert type(fk.get(alias)) is getattr(fk, name)
    assert type(fk.get(getattr(fk, name))) is getattr(fk, name)
    theirs = keras.initializers.serialize(getattr(keras.initializers, name)(seed=1))
    assert type(fk.get(theirs)) is getattr(keras.initializers, name)
    assert type(fk.deserialize(fk.serialize(getattr(fk, name)(seed=1)))) is getattr(fk, name)


def test_get_leaves_the_rest_to_keras() -> None:
    assert fk.get(None) is None
    assert type(fk.get("zeros")) is keras.initializers.Zeros
    init = fk.HeNormal(1)
    assert fk.get(init) is init
    for bad in ("get", "init_model_", "no_such", 3):
        with pytest.raises(ValueError, match=r"Could not (interpret|locate)"):
            fk.get(bad)


def test_a_model_is_saved_and_loaded(tmp_path: Path) -> None:
    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(6, "relu", kernel_initializer=fk.HeNormal(1), bias_initializer=fk.RandomNormal(seed=2))(inputs)  # fmt: skip
    outputs = keras.layers.Dense(
        3, kernel_initializer=fk.VarianceScaling(0.5, "fan_avg", "uniform", 3)
    )(hidden)
    model = keras.Model(inputs, outputs)
    check_equal(model.layers[1].kernel, fi.he_normal((8, 6), seed=1))
    check_equal(model.layers[1].bias, fi.Normal(0.0, 0.05)((6,), seed=2))
    check_equal(
        model.layers[2].kernel, fi.VarianceScaling(0.5, "fan_avg", "uniform")((6, 3), seed=3)
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for old, new in zip(model.weights, again.weights, strict=True):
        check_equal(new, as_array(old))
    assert type(again.layers[1].kernel_initializer) is fk.HeNormal
    assert again.layers[1].kernel_initializer.seed == 1
    assert type(again.layers[2].kernel_initializer) is fk.VarianceScaling
    check_equal(again.layers[2].kernel_initializer((6, 3)), as_array(again.layers[2].kernel))


class Lazy(keras.Model):
    """Layers that are built in the first call, where Keras runs the model symbolically."""

    def __init__(self, init: Any, noise: Any) -> None:
        super().__init__()
        self.noise = noise
        self.first = keras.layers.Dense(6, kernel_initializer=init)
        self.second = keras.layers.Dense(3, kernel_initializer=init)

    def call(self, x: Any) -> Any:
        return self.second(self.first(keras.random.dropout(x, 0.5, seed=self.noise)))


@pytest.mark.parametrize("noisy", [False, True])  # the noise comes from the same generator
@pytest.mark.parametrize(
    "start", [lambda m: m(np.ones((2, 4), "float32")), lambda m: m(keras.Input((4,)))]
)
def test_layers_that_build_in_a_call(start: Any, noisy: bool) -> None:
    """A generator counts the draws that it counts with Keras's initializers."""
    models, generators = [], []
    for module in (fk, keras.initializers):
        generator = keras.random.SeedGenerator(5)
        model = Lazy(module.HeNormal(generator), generator if noisy else 1)
        start(keras.Sequential([model]))
        models.append(model)
        generators.append(as_array(generator.state))
    np.testing.assert_array_equal(*generators)
    for k, (layer, shape) in enumerate([(models[0].first, (4, 6)), (models[0].second, (6, 3))]):
        check_equal(layer.kernel, fi.he_normal(shape, seed=5, stream=k))


def test_a_generator_in_a_stateless_scope() -> None:
    states = []
    for module in (fk, keras.initializers):
        generator = keras.random.SeedGenerator(5)
        init = module.HeNormal(generator)
        with keras.StatelessScope() as scope, keras.SymbolicScope():
            made = [init((4, 5)), init((4, 5))]
        states.append(
            [as_array(scope.get_current_value(generator.state)), as_array(generator.state)]
        )
        if module is fk:
            for k in (0, 1):
                check_equal(made[k], fi.he_normal((4, 5), seed=5, stream=k))
    np.testing.assert_array_equal(*states)


class Keeps(keras.layers.Layer):
    """Uses values in `build`, in the ways in which layers do."""

    def __init__(self, init: Any) -> None:
        super().__init__()
        self.init = init

    def build(self, shape: Any) -> None:
        values = self.init((shape[-1], 5))
        self.array = keras.ops.convert_to_numpy(values)
        whole = {"shape": (shape[-1], 5)}
        self.constant = self.add_weight(
            **whole, initializer=keras.initializers.Constant(self.array)
        )
        self.captured = self.add_weight(**whole, initializer=lambda shape, dtype: values)

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, self.constant + self.captured)


class Outer(keras.Model):
    """Builds its layer while Keras runs it symbolically."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def call(self, x: Any) -> Any:
        return self.inner(x)


@pytest.mark.skipif(
    BACKEND not in ("numpy", "torch"), reason="others trace, where no tensor has values"
)
def test_values_that_are_used_in_build() -> None:
    model = Outer(Keeps(fk.HeNormal(1)))
    model(np.ones((2, 4), "float32"))
    expected = fi.he_normal((4, 5), seed=1)
    for kept in (model.inner.array, model.inner.constant, model.inner.captured):
        check_equal(kept, expected)


def test_values_in_a_symbolic_scope() -> None:
    with keras.SymbolicScope():
        check_equal(fk.HeNormal(1)((2, 3)), fi.he_normal((2, 3), seed=1))


@pytest.mark.skipif(BACKEND == "numpy", reason="Keras does not train with NumPy")
def test_a_model_trains() -> None:
    model = keras.Sequential([keras.layers.Dense(3, kernel_initializer=fk.GlorotUniform(1))])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 5), "float32"), np.ones((4, 3), "float32"), verbose=0)
    assert (as_array(model.layers[0].kernel) != fi.glorot_uniform((5, 3), seed=1)).any()


def traced(function: Any) -> Any:
    """A function that the backend traces."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    import jax

    return jax.jit(function)


@pytest.mark.skipif(BACKEND not in ("tensorflow", "jax"), reason="the backend does not trace")
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float8_e5m2"])
def test_tracing(dtype: str) -> None:
    made = "float32" if (BACKEND, dtype) == ("jax", "float64") else dtype
    for seed in (1, 2**64 - 1):
        expected = fi.he_normal((4, 5), seed=seed, dtype=made)
        check_equal(traced(lambda seed=seed: fk.HeNormal(seed)((4, 5), dtype))(), expected)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="about tf.function")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_generator_in_a_function_of_tensorflow(dtype: str) -> None:
    generator = keras.random.SeedGenerator(5)
    make = traced(lambda: fk.HeNormal(generator)((4, 5), dtype))
    for k in range(3):  # other values at each run, as in Keras
        made = make()
        assert made.shape == (4, 5)
        check_equal(made, fi.he_normal((4, 5), seed=5, stream=k, dtype=dtype))
        np.testing.assert_array_equal(as_array(generator.state), [5, k + 1])
    layer = keras.layers.Dense(3, kernel_initializer=fk.HeNormal(keras.random.SeedGenerator(3)))
    call = traced(lambda x: layer(x))
    for _ in range(2):
        call(keras.ops.ones((2, 4)))
        np.testing.assert_array_equal(as_array(layer.kernel_initializer.seed.state), [3, 1])
    check_equal(layer.kernel, fi.he_normal((4, 3), seed=3, stream=0))


@pytest.mark.skipif(BACKEND != "jax", reason="about jax.jit")
def test_a_generator_in_a_function_of_jax() -> None:
    generator = keras.random.SeedGenerator(5)
    init = fk.HeNormal(generator)
    with pytest.raises(ValueError, match=r"SeedGenerator cannot advance within jax\.jit"):
        traced(lambda: init((4, 5)))()
    np.testing.assert_array_equal(as_array(generator.state), [5, 0])

    def step(state: Any) -> Any:
        with keras.StatelessScope([(generator.state, state)]) as scope:
            made = init((4, 5))
        return made, scope.get_current_value(generator.state)

    import jax

    mapped = jax.vmap(lambda x: x + fk.HeNormal(keras.random.SeedGenerator(5))((4, 5)))
    check_equal(mapped(np.zeros((1, 1), "float32"))[0], fi.he_normal((4, 5), seed=5, stream=0))
    state, jitted = generator.state.value, traced(step)
    for k in range(3):
        made, state = jitted(state)
        check_equal(made, fi.he_normal((4, 5), seed=5, stream=k))
    np.testing.assert_array_equal(as_array(state), [5, 3])
    np.testing.assert_array_equal(as_array(generator.state), [5, 0])


@pytest.mark.skipif(BACKEND != "jax", reason="about jax.eval_shape")
def test_eval_shape_makes_nothing() -> None:
    import jax

    made = jax.eval_shape(lambda: fk.HeNormal(1)((1 << 20, 1 << 20)))
    assert made.shape == (1 << 20, 1 << 20)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras spreads weights over devices with JAX")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_device_makes_its_shard(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = keras.distribution.list_devices()
    assert len(devices) == 2  # test_keras.py asks for them
    mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"], devices)
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*kernel"] = (None, "model")
    made = []
    fill = fi.Initializer.fill
    monkeypatch.setattr(
        fi.Initializer,
        "fill",
        lambda *args, **options: made.append(fill(*args, **options)) or made[-1],
    )
    distribution = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    with distribution.scope():
        generator = keras.random.SeedGenerator(5)
        for seed, options in ((1, {"seed": 1}), (generator, {"seed": 5, "stream": 0})):
            layer = keras.layers.Dense(8, kernel_initializer=fk.HeNormal(seed), dtype=dtype)
            layer.build((None, 6))
            assert [part.shape for part in made] == [(6, 4)] * 2
            assert [s.data.shape for s in layer.kernel.value.addressable_shards] == [(6, 4)] * 2
            check_equal(layer.kernel, fi.he_normal((6, 8), dtype=dtype, **options))
            made.clear()
    layout = keras.distribution.TensorLayout(("model", None), mesh)
    check_equal(fk.HeNormal(1)((6, 8), dtype, layout), fi.he_normal((6, 8), seed=1, dtype=dtype))
    made.clear()
    everywhere = keras.distribution.TensorLayout((None, None), mesh)
    tensor = fk.HeNormal(1)((6, 8), dtype, everywhere)
    places = {part.data.unsafe_buffer_pointer() for part in tensor.addressable_shards}
    assert (len(made), places) == (1, {made[0].ctypes.data})  # filled once, and not copied


@pytest.mark.skipif(BACKEND != "jax", reason="Keras spreads weights over devices with JAX")
def test_layouts_of_jax() -> None:
    import jax
    from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("x"))
    expected = fi.he_normal((6, 8), seed=1)

    def check(tensor: Any) -> None:
        assert tensor.sharding.is_equivalent_to(rows, 2)
        check_equal(tensor, expected)

    check(fk.HeNormal(1)((6, 8), layout=rows))
    check(jax.jit(lambda: fk.HeNormal(1)((6, 8), layout=rows))())
    with jax.set_mesh(mesh):
        check(fk.HeNormal(1)((6, 8), layout=PartitionSpec("x")))
    with pytest.raises(ValueError, match="layout must be a NamedSharding where no mesh"):
        fk.HeNormal(1)((6, 8), layout=PartitionSpec("x"))
    generator = keras.random.SeedGenerator(5)
    for layout in (SingleDeviceSharding(jax.devices()[0]), "x"):
        with pytest.raises(
            TypeError, match=r"^layout must be a NamedSharding, a Part.* or None, got"
        ):
            fk.HeNormal(generator)((6, 8), layout=layout)
    np.testing.assert_array_equal(as_array(generator.state), [5, 0])  # nothing was drawn


# Whole models


def encoder(number: int) -> Any:
    """A functional model whose layers Keras names; every name has another number each time."""
    inputs = keras.Input((5, 8), name=f"tokens{number}")
    x = keras.layers.MultiHeadAttention(2, 4)(inputs, inputs)
    x = keras.layers.Dense(8)(x)
    x = keras.layers.Dense(6, name="head")(x)
    return keras.Model(inputs, keras.layers.LayerNormalization()(x))


ENCODER = {
    **{
        f"multi_head_attention/{one}/{leaf}": shape
        for one in ("query", "key", "value")
        for leaf, shape in (("kernel", (8, 2, 4)), ("bias", (2, 4)))
    },
    "multi_head_attention/attention_output/kernel": (2, 4, 8),
    "multi_head_attention/attention_output/bias": (8,),
    "dense/kernel": (8, 8),
    "dense/bias": (8,),
    "head/kernel": (8, 6),
    "head/bias": (6,),
    "layer_normalization/gamma": (6,),
    "layer_normalization/beta": (6,),
}


def values(model: Any) -> dict[str, np.ndarray]:
    return {path: as_array(variable) for path, variable in fk.variable_paths(model).items()}


def uniform(fan_in: int, fan_out: int) -> fi.Uniform:
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return fi.Uniform(-limit, limit)


def test_a_model_without_rules() -> None:
    """Keras's own distributions, each weight from the stream of its path, whatever was made before."""
    for number in range(2):
        model = encoder(number)
        assert {p: a.shape for p, a in values(model).items()} == ENCODER
        assert fk.init_model_(model, seed=3) is model
        for path, array in values(model).items():
            # EinsumDense counts 8 inputs and 2 * 4 outputs, and the other way for what goes out.
            fans = {"dense/kernel": (8, 8), "head/kernel": (8, 6)}.get(path, (8, 8))
            init = (
                uniform(*fans) if path.endswith("kernel") else fi.Constant(float("gamma" in path))
            )
            check_equal(array, init(ENCODER[path], seed=3, stream=path))
    q, k, v = (values(model)[f"multi_head_attention/{one}/kernel"] for one in ("query", "key", "value"))  # fmt: skip
    assert (q != k).all()
    assert (k != v).all()


@pytest.mark.parametrize("seed", [7, np.random.SeedSequence(7)])
def test_rules(seed: Any) -> None:
    model = encoder(0)
    before = values(model)["head/kernel"]
    rules = {
        "head/*": None,
        "*/query/kernel": fi.VarianceScaling(1.0, "fan_in", "untruncated_normal"),
        "*/key/kernel": fi.he_normal.with_axes(in_axis=0, out_axis=1),
        "*/value/kernel": keras.initializers.HeNormal(5),
        "*/attention_output/kernel": fi.lecun_uniform,
        keras.layers.Dense: fi.Normal(0.0, 0.02),
        "*bias": fi.ones,
        keras.layers.LayerNormalization: fi.Constant(2.0),
    }
    fk.init_model_(model, seed=seed, rules=rules)
    std = math.sqrt(2.0 / 8) / TRUNCATED_STD
    expected = {
        "multi_head_attention/query/kernel": fi.Normal(0.0, math.sqrt(1 / 8)),
        # 8 inputs times a kernel of 4, by the axes that the rule names
        "multi_head_attention/key/kernel": fi.TruncatedNormal(0.0, math.sqrt(2.0 / 32) / TRUNCATED_STD),
        "multi_head_attention/value/kernel": fi.TruncatedNormal(0.0, std),
        "multi_head_attention/attention_output/kernel": fi.Uniform(-math.sqrt(3 / 8), math.sqrt(3 / 8)),
        "dense/kernel": fi.Normal(0.0, 0.02),
        "dense/bias": fi.ones,
        "layer_normalization/beta": fi.Constant(2.0),
    }  # fmt: skip
    made = values(model)
    number = 7 if seed == 7 else int(np.random.SeedSequence(7).generate_state(1, np.uint64)[0])
    for path, init in expected.items():
        check_equal(made[path], init(ENCODER[path], seed=number, stream=path))
    check_equal(made["head/kernel"], before)
    assert (made["head/bias"] == 0).all()  # the first rule that matches counts


class Block(keras.layers.Layer):
    """Layers in a list, two of one name; a weight without a name; a weight that layers share."""

    def __init__(self, table: Any = None) -> None:
        super().__init__()
        self.table = table
        self.parts = [keras.layers.Dense(4, name="up"), keras.layers.Dense(4, name="up")]
        self.loose = self.add_weight(shape=(4,), initializer="ones")

    def build(self, shape: Any) -> None:
        for part in self.parts:
            part.build(shape)

    def call(self, x: Any) -> Any:
        return self.parts[1](self.parts[0](x)) * self.loose


class Nested(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.embed = keras.layers.Embedding(10, 4)
        self.blocks = [Block(self.embed), Block(self.embed), Block()]
        self.drop = keras.layers.Dropout(0.5)

    def call(self, x: Any) -> Any:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.drop(x)


def nested() -> Any:
    model = Nested()
    model(np.zeros((2, 3), "int32"))
    return model


def test_paths_of_a_nested_model() -> None:
    nested()
    model = nested()
    leaves = ["variable", "up/kernel", "up/bias", "up.1/kernel", "up.1/bias"]
    expected = ["embedding/embeddings", *(f"{block}/{leaf}" for block in ("block", "block.1", "block.2") for leaf in leaves)]  # fmt: skip
    paths = fk.variable_paths(model)
    assert list(paths) == expected
    assert {id(v) for v in paths.values()} == {id(v) for v in model.weights}
    with pytest.raises(ValueError, match=r"'block/embedding/\*' matches only 'block/embedding/embeddings', which is tied to 'embedding/embeddings'"):  # fmt: skip
        fk.init_model_(model, seed=1, rules={"block/embedding/*": fi.ones})
    with pytest.raises(ValueError, match=r"'block/variable' needs a rule, .*: 'Object Block was created by"):  # fmt: skip
        fk.init_model_(model, seed=1)
    fk.init_model_(model, seed=1, rules={"*/variable": fi.zeros})
    assert (as_array(paths["block.2/variable"]) == 0).all()
    check_equal(paths["embedding/embeddings"], fi.Uniform(-0.05, 0.05)((10, 4), seed=1, stream="embedding/embeddings"))  # fmt: skip
    check_equal(paths["block.1/up.1/kernel"], uniform(4, 4)((4, 4), seed=1, stream="block.1/up.1/kernel"))  # fmt: skip
    # A part of a model has paths of its own.
    assert list(fk.variable_paths(model.blocks[2])) == leaves


def test_automatic_names_are_ranked_by_their_numbers() -> None:
    layers = [keras.layers.Dense(2) for _ in range(11)]
    order = [10, 3, 9, 2, 0]
    model = keras.Sequential([keras.Input((2,)), *(layers[k] for k in order)])
    names = [path.split("/")[0] for path in fk.variable_paths(model)][::2]
    assert names == ["dense.4", "dense.2", "dense.3", "dense.1", "dense"]
    named = [keras.layers.Dense(2, name=name) for name in ("dense_0", "up_1", "up_2", "conv2d_1")]
    model = keras.Sequential([keras.Input((2,)), *named])
    assert [path.split("/")[0] for path in fk.variable_paths(model)][::2] == ["dense_0", "up_1", "up_2", "conv2d_1"]  # fmt: skip
    # Keras's name of another process is refused where it is not a path, with the path that is near.
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"^rules: 'dense_1/kernel' matches no tensor; near names: 'dense"):  # fmt: skip
        fk.init_model_(model, seed=0, rules={"dense_1/kernel": fi.ones})
    fk.init_model_(model, seed=0, rules={"dense_1/kernel": fi.ones}, strict=False)


def orthogonal(shape: tuple[int, ...], seed: int, path: str, gain: float = 1.0) -> np.ndarray:
    """As Keras's docstring says, of this library's normal values."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    a = fi.Normal()((max(rows, columns), min(rows, columns)), seed=seed, stream=path)
    q, r = np.linalg.qr(a.astype(np.float64))
    q = q * np.sign(np.diagonal(r))
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(np.float32)


def built(layer: Any, *shape: int | None) -> Any:
    model = keras.Sequential([keras.Input(shape, batch_size=2), layer])
    return fk.init_model_(model, seed=5)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: keras.layers.GRU(4), (5, 3), {"gru/gru_cell/kernel": uniform(3, 12), "gru/gru_cell/recurrent_kernel": "orthogonal", "gru/gru_cell/bias": fi.zeros}),
        (lambda: keras.layers.SimpleRNN(4, recurrent_initializer=keras.initializers.Orthogonal(2.0)), (5, 3), {"simple_rnn/simple_rnn_cell/recurrent_kernel": "orthogonal", "simple_rnn/simple_rnn_cell/bias": fi.zeros}),
        (lambda: keras.layers.LSTM(4), (5, 3), {"lstm/lstm_cell/kernel": uniform(3, 16), "lstm/lstm_cell/recurrent_kernel": "orthogonal", "lstm/lstm_cell/bias": [0.0] * 4 + [1.0] * 4 + [0.0] * 8}),
        (lambda: keras.layers.Bidirectional(keras.layers.GRU(4)), (5, 3), {f"bidirectional/{way}_gru/gru_cell/kernel": uniform(3, 12) for way in ("forward", "backward")}),
        (lambda: keras.layers.ConvLSTM1D(2, 2), (5, 4, 3), {"conv_lstm1d/conv_lstm_cell/kernel": uniform(2 * 3, 2 * 8), "conv_lstm1d/conv_lstm_cell/bias": [0.0, 0, 1, 1, 0, 0, 0, 0]}),
        (lambda: keras.layers.Embedding(7, 3, embeddings_initializer="he_normal"), (5,), {"embedding/embeddings": fi.TruncatedNormal(0.0, math.sqrt(2 / 7) / TRUNCATED_STD)}),
        (lambda: keras.layers.Conv2DTranspose(5, (2, 3), kernel_initializer="lecun_uniform"), (4, 4, 7), {"conv2d_transpose/kernel": fi.Uniform(-math.sqrt(3 / 30), math.sqrt(3 / 30))}),
        (lambda: keras.layers.DepthwiseConv2D((2, 3)), (4, 4, 7), {"depthwise_conv2d/kernel": uniform(6 * 7, 6 * 1)}),
        (lambda: keras.layers.SeparableConv1D(5, 3, depthwise_initializer=fk.RandomNormal(0.0, 2.0)), (6, 7), {"separable_conv1d/depthwise_kernel": fi.Normal(0.0, 2.0), "separable_conv1d/pointwise_kernel": uniform(7, 5), "separable_conv1d/bias": fi.zeros}),
        (lambda: keras.layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(3.0)), (6,), {"batch_normalization/gamma": fi.Constant(3.0), "batch_normalization/beta": fi.zeros, "batch_normalization/moving_mean": fi.zeros, "batch_normalization/moving_variance": fi.ones}),
        (lambda: keras.layers.Dense(4, kernel_initializer=keras.initializers.Identity(2.0)), (3,), {"dense/kernel": [[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]]}),
        (lambda: keras.layers.SpectralNormalization(keras.layers.Dense(4)), (3,), {"spectral_normalization/vector_u": fi.TruncatedNormal(0.0, 0.02), "spectral_normalization/dense/kernel": uniform(3, 4)}),
        (lambda: keras.layers.TimeDistributed(keras.layers.Dense(4)), (5, 3), {"time_distributed/dense/kernel": uniform(3, 4)}),
        (lambda: keras.layers.GroupQueryAttention(4, 2, 1), (5, 3), {}),
    ],
    ids=lambda value: None,
)  # fmt: skip
def test_layers_of_keras(layer: Any, shape: Any, expected: dict[str, Any]) -> None:
    """Keras's own distributions and fans."""
    if isinstance(layer(), keras.layers.GroupQueryAttention):
        made = keras.layers.GroupQueryAttention(4, 2, 1)
        made.build((2, 5, 3), (2, 5, 3))
        fk.init_model_(made, seed=5)
        expected = {"query/kernel": uniform(3, 8), "key/kernel": uniform(3, 4), "value/kernel": uniform(3, 4)}  # fmt: skip
    else:
        made = built(layer(), *shape)
    arrays = values(made)
    for path, init in expected.items():
        array = arrays[path]
        if init == "orthogonal":
            gain = 2.0 if path.startswith("simple") else 1.0
            check_equal(array, orthogonal(array.shape, 5, path, gain))
            np.testing.assert_allclose(array @ array.T, gain**2 * np.eye(4), atol=1e-5)
        elif isinstance(init, list):
            np.testing.assert_array_equal(array, np.array(init, np.float32))
        else:
            check_equal(array, init(array.shape, seed=5, stream=path))


POLICIES = ["mixed_bfloat16", "bfloat16", "float16"]


# Keras's own initializer warns of float64 with JAX.
@pytest.mark.parametrize("policy", POLICIES if BACKEND == "jax" else [*POLICIES, "float64"])
def test_dtypes_of_weights(policy: str) -> None:
    model = built(keras.layers.Dense(300, dtype=policy, name="up"), 200)
    dtype = {"mixed_bfloat16": "float32"}.get(policy, policy)
    check_equal(model.weights[0], uniform(200, 300)((200, 300), seed=5, stream="up/kernel", dtype=dtype))  # fmt: skip


def test_what_is_no_weight_stays() -> None:
    """Seed generators, metrics, the optimizer, the state of adapted layers and Python's random numbers."""
    import random

    norm = keras.layers.Normalization()
    norm.adapt(np.arange(12.0).reshape(4, 3))
    layers = [keras.Input((3,)), norm, keras.layers.Dropout(0.5, seed=3), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    if BACKEND != "numpy":  # Keras does not train with it
        model.compile("adam", "mse", metrics=["mae"])
        model.fit(np.ones((4, 3)), np.ones(4), verbose=0)
    kept = [*norm.weights, model.layers[1].seed_generator.state]
    kept += [] if BACKEND == "numpy" else [*model.optimizer.variables, *model.metrics_variables]
    before, state = [as_array(v).copy() for v in kept], random.getstate()
    fk.init_model_(model, seed=1)
    for old, variable in zip(before, kept, strict=True):
        np.testing.assert_array_equal(old, as_array(variable))
    assert random.getstate() == state
    check_equal(model.layers[-1].kernel, uniform(3, 1)((3, 1), seed=1, stream="dense/kernel"))
    with keras.StatelessScope():
        pass  # which initialises variables that Keras remembers: none are left
    first, second = keras.layers.Dense(1).name, keras.layers.Dense(1).name
    assert int(second.rpartition("_")[2]) == int((first + "_0").split("_")[1]) + 1


class Own(keras.initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.random.normal(shape, dtype=dtype, seed=1)


class Bare(keras.layers.Layer):
    """A layer whose config cannot be had."""

    def __init__(self, function: Any) -> None:
        super().__init__(name="bare")
        self.function = function

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1], 2), name="w")

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, self.w)


class Fixed(keras.layers.Layer):
    def build(self, shape: Any) -> None:
        self.w = keras.Variable(np.ones((3, 2), "float32"), name="w")

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, self.w)


def lora() -> Any:
    layer = keras.layers.Dense(4, name="d")
    layer.build((None, 3))
    layer.enable_lora(2, a_initializer="zeros")
    return layer


def quantised() -> Any:
    layer = keras.layers.Dense(4, name="d")
    layer.build((None, 3))
    layer.quantize("int8")
    return layer


@pytest.mark.parametrize(
    ("layer", "rules", "error", "message"),
    [
        (lambda: Bare(len), {}, ValueError, r"^'bare/w' needs a rule, because its own initializer is not known: its layer cannot be made from its config: "),
        (lambda: Fixed(name="f"), {}, ValueError, r"^'f/w' needs a rule, because .*cannot be made from its config"),
        (lambda: keras.layers.Dense(2, kernel_initializer=Own(), name="d"), {}, ValueError, r"^'d/kernel' needs a rule, .* is not known: its layer's initializer is <"),
        (lambda: keras.layers.LSTM(2, bias_initializer="random_normal"), {}, ValueError, r"^'lstm/lstm_cell/bias' needs a rule, .*: it is made of <.*RandomNormal.* and ones"),
        (lora, {}, ValueError, r"^'d/lora_kernel_a' needs a rule, .*: configs do not keep the initializers of LoRA"),
        (quantised, {}, ValueError, r"^'d/.*' needs a rule, .*: its layer is quantised"),
        (lambda: keras.layers.Dense(2), {"*/kernle": fi.ones}, ValueError, r"^rules: '\*/kernle' matches no tensor; near names: 'first/kernel'"),
        (lambda: keras.layers.Dense(2), {"*bias": fi.he_normal}, ValueError, r"^rules must not scale by fans what has fewer than 2 axes, got .* for 'dense/bias' of shape \(2,\)"),
        (lambda: keras.layers.Dense(2), {"*bias": fk.HeNormal()}, ValueError, r"^rules must not scale by fans what has fewer than 2 axes"),
        (lambda: keras.layers.Dense(2), {"*bias": keras.initializers.Orthogonal()}, ValueError, r"^'dense/bias': orthogonal matrices need at least 2 axes, got shape \(2,\)"),
        (lambda: keras.layers.Dense(2), {"*": Own()}, ValueError, r"^rules must give initializers that fastinit or Keras have, got .* for 'dense/kernel'"),
        (lambda: keras.layers.Dense(2), {"*": "he_normal"}, TypeError, r"^rules must give initializers of fastinit or Keras, or None, got 'he_normal' for '\*'"),
        (lambda: keras.layers.Dense(2), {3: fi.ones}, TypeError, r"^rules must be of patterns or types of layers, got 3"),
        (lambda: keras.layers.Dense(2), {"*": fi.he_normal.with_axes(in_axis=2, out_axis=3)}, ValueError, r"^'dense/kernel': in_axis"),
        (lambda: keras.layers.Dense(2, dtype="float16"), {"*": fi.Constant(1e6)}, ValueError, r"^'dense/kernel': values could exceed"),
        (lambda: keras.layers.GRU(2), {keras.layers.GRU: fi.ones}, ValueError, r"^rules: GRU owns no weights: those of 'gru.*' belong to GRUCell; name these types"),
        (quantised, {"*": fi.zeros}, TypeError, r"^'d/.*' must be of float32, .* to have a rule, got int8"),
    ],
    ids=lambda value: None,
)  # fmt: skip
def test_refusals_write_nothing(layer: Any, rules: Any, error: Any, message: str) -> None:
    first = keras.layers.Dense(3, name="first")
    second = layer()
    shape = (4, 3) if isinstance(second, keras.layers.RNN) else (3,)
    model = keras.Sequential([keras.Input(shape), first, second])
    before = {path: array.copy() for path, array in values(model).items()}
    with pytest.raises(error, match=message):
        fk.init_model_(model, seed=1, rules={"first/*": fi.Constant(7.0), **rules})
    for path, array in values(model).items():
        check_equal(array, before[path])


def test_arguments_of_init_model() -> None:
    with pytest.raises(
        ValueError, match=r"^model must be built, and 'later' is not: call the model"
    ):
        fk.init_model_(keras.layers.Dense(2, name="later"), seed=1)
    with pytest.raises(TypeError, match=r"^model must be a keras.Model or a layer, got list"):
        fk.variable_paths([])
    model = encoder(0)
    with pytest.raises(TypeError, match=r"^seed must be given, got None"):
        fk.init_model_(model, seed=None)
    with pytest.raises(ValueError, match=r"^seed must be an int in \[0, 2\*\*64\)"):
        fk.init_model_(model, seed=-1)


def test_rules_set_what_needs_them() -> None:
    model = keras.Sequential([keras.Input((3,)), lora(), Bare(len)])
    rules = {"bare/w": fi.he_normal, "*/lora_*": fi.ones}
    fk.init_model_(model, seed=1, rules=rules)
    made = values(model)
    check_equal(made["bare/w"], fi.he_normal((4, 2), seed=1, stream="bare/w"))
    assert (made["d/lora_kernel_a"] == 1).all()


def test_saved_models_have_the_same_paths(tmp_path: Path) -> None:
    encoder(0)
    model = encoder(1)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert list(fk.variable_paths(again)) == list(fk.variable_paths(model)) == list(ENCODER)


@pytest.mark.parametrize("kind", [1, keras.random.SeedGenerator, None])
def test_seeds_that_layers_clone(kind: Any) -> None:
    """What docs/keras.md says of layers that clone their initializers: Keras's own behave alike."""
    for module in (fk, keras.initializers):
        init = module.HeNormal(kind(1) if callable(kind) else kind)
        layer = keras.layers.MultiHeadAttention(2, 4, kernel_initializer=init)
        layer.build((None, 5, 8), (None, 5, 8))
        kernels = [as_array(v) for v in layer.weights if v.shape == (8, 2, 4)]
        assert len(kernels) == 3
        assert (kernels[0] == kernels[1]).all() == (kernels[1] == kernels[2]).all() == (kind is not None)  # fmt: skip
        pair = [keras.layers.Dense(4, kernel_initializer=init) for _ in range(2)]
        for one in pair:
            one.build((None, 4))
        same = (as_array(pair[0].kernel) == as_array(pair[1].kernel)).all()
        assert same == (not callable(kind))


@pytest.mark.skipif(BACKEND != "jax", reason="Keras spreads weights over devices with JAX")
def test_each_device_makes_its_shard_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"], devices)
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*kernel"] = (None, "model")
    distribution = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    with distribution.scope():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, name="up")])
    shardings = [v.value.sharding for v in model.weights]
    made = []
    fill = fi.Initializer.fill
    monkeypatch.setattr(fi.Initializer, "fill", lambda *args, **options: made.append(fill(*args, **options)) or made[-1])  # fmt: skip
    fk.init_model_(model, seed=1, rules={"*kernel": fi.he_normal})
    assert [part.shape for part in made] == [(6, 4), (6, 4), (8,)]
    assert [v.value.sharding for v in model.weights] == shardings
    check_equal(model.weights[0], fi.he_normal((6, 8), seed=1, stream="up/kernel"))
