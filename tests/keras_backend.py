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
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

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
    for name in set(fk.__all__) - {"get"}:
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
    for bad in ("get", "no_such", 3):
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


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # of Keras with NumPy
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


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # of Keras with NumPy
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
