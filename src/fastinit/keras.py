"""Keras 3's random initializers, with the values of this library.

Names, arguments, checks, configs and fans are Keras's own: each class is Keras's class of that name, and
replaces only where the values come from. They work wherever Keras takes an initializer, on every backend.
See ``docs/keras.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastinit import _kernel
from fastinit import initializers as core
from fastinit.checks import check_int
from fastinit.choices import DistributionName, Mode
from fastinit.fans import normalize_shape
from fastinit.fill import Array
from fastinit.streams import MAX_UINT64, expected_seed, seed_value

try:
    import keras
except ImportError as error:
    raise ImportError("fastinit.keras needs the package keras: pip install keras") from error

from fastinit.keras_model import init_model_, variable_paths

__all__ = [
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "init_model_",
    "lecun_normal",
    "lecun_uniform",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "variable_paths",
    "variance_scaling",
]

#: The public names that are no initializers.
_FUNCTIONS = frozenset({"get", "init_model_", "variable_paths"})

_registered = keras.saving.register_keras_serializable(package="fastinit")


#: Keras's own base of its random initializers, which takes the seed; it has no public name.
_RandomInitializer: Any = keras.initializers.RandomNormal.__base__


class _Seeded(_RandomInitializer):
    """What stands between Keras's initializers and their common base, to see the seed before it does.

    It comes after Keras's class in the order of bases, so that signatures stay Keras's.
    """

    def __init__(self, seed: Any = None) -> None:
        if isinstance(seed, (np.random.SeedSequence, np.random.Generator)):
            seed = seed_value(seed)
        if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
            # A plain int, which Keras writes into configs.
            seed = check_int("seed", seed, -(2**63), MAX_UINT64, expected_seed("-2**63"))
        if isinstance(seed, dict) and "class_name" not in seed:
            raise ValueError(
                "seed must be what keras.saving.serialize_keras_object makes of a generator, "
                f"if it is a dict, got {seed!r}"
            )
        super().__init__(seed=seed)


class _Filled:
    """What stands before Keras's initializers, and makes the values."""

    seed: Any

    def _distribution(self, shape: tuple[int, ...]) -> core.Distribution:
        """This library's distribution of the elements of a tensor of `shape`."""
        raise NotImplementedError

    def __call__(self, shape: Iterable[int], dtype: Any = None, layout: Any = None) -> Any:
        """Make a tensor of the backend.

        Parameters
        ----------
        shape : iterable of int, or tensor of one dimension
            Shape of the tensor; () and zero sizes are allowed.
        dtype : dtype, optional
            A float dtype as Keras takes it, ``keras.config.floatx()`` by default. A 16- or
            8-bit tensor is the float32 tensor, rounded.
        layout : optional
            How the tensor is spread over devices, on the backend JAX: a
            `keras.distribution.TensorLayout`, a `jax.sharding.NamedSharding`, or a
            `jax.sharding.PartitionSpec` of the mesh in context. Each device gets its shard,
            which is made alone and is a part of what one device would get.

        Returns
        -------
        tensor
            Its elements are a pure function of seed, class, arguments, shape and dtype.

        Raises
        ------
        ValueError
            A dtype that is not floating point; parameters that make no distribution; a
            layout on another backend; a `SeedGenerator` in a function that is traced by
            ``jax.jit`` and does not hand its state through (`keras.StatelessScope`).
        TypeError
            A shape that is not made of integers; a layout of another type.
        """
        dims = normalize_shape(tuple(shape))
        name = keras.backend.standardize_dtype(dtype)
        if not keras.backend.is_float_dtype(name):
            raise ValueError(f"dtype must be floating point, got {dtype!r}")
        distribution = self._distribution(dims)
        backend = keras.config.backend()
        if backend == "jax":
            return _jax(distribution, dims, name, self.seed, layout)
        if layout is not None:
            raise ValueError(f"layout must be None on the backend {backend}, got {layout!r}")
        if not isinstance(self.seed, keras.random.SeedGenerator):
            return to_backend(distribution(dims, seed=self.seed % 2**64, dtype=name))

        def make(state: Any) -> Array:
            seed, stream = _read_state(state)
            return distribution(dims, seed=seed, stream=stream, dtype=name)

        state = self.seed.next()
        if backend == "tensorflow" and not hasattr(state, "numpy"):  # as in tf.function
            return _later(make, state, dims, name)
        if backend == "torch" and state.is_meta:  # Keras learns shapes from tensors without values
            return keras.ops.zeros(dims, name)
        return to_backend(make(state))


class _Scaled(_Filled):
    """The values of Keras's `VarianceScaling` and of its subclasses."""

    scale: Any
    mode: Mode
    distribution: DistributionName
    input_axes: Any
    output_axes: Any

    def _distribution(self, shape: tuple[int, ...]) -> core.Distribution:
        if self.input_axes is not None and self.output_axes is not None:
            # Keras's fans of given axes have no receptive field: they are those of a matrix.
            inputs, outputs = self.input_axes, self.output_axes
            shape = tuple(math.prod(shape[axis] for axis in axes) for axes in (inputs, outputs))
        return _resolve(float(self.scale), self.mode, self.distribution, shape)


@_kernel.in_default_arithmetic
@lru_cache(maxsize=1024)
def _resolve(
    scale: float, mode: Mode, distribution: DistributionName, shape: tuple[int, ...]
) -> core.Distribution:
    """Cached because it costs more than a small fill."""
    return core.VarianceScaling(scale, mode, distribution).resolve(shape)


def _read_state(state: Any) -> tuple[int, int]:
    """The seed and the stream of this library for a state of a generator."""
    seed, stream = map(int, state)
    return seed % 2**64, stream


def _later(make: Callable[[Any], Array], state: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """A tensor of a graph of TensorFlow, made when the graph runs and its state is known."""
    import tensorflow as tf

    made = tf.numpy_function(make, [state], dtype)
    made.set_shape(shape)
    return made


def to_backend(array: Array) -> Any:
    """A tensor of the backend from an array that nobody else holds, without a copy where it can be."""
    backend = keras.config.backend()
    if backend == "numpy":
        return array
    if backend == "torch":
        import torch

        # By way of the bits, because PyTorch takes no bfloat16 and no 8-bit floats from NumPy.
        bits = torch.from_numpy(array.view(f"u{array.itemsize}"))
        return keras.ops.convert_to_tensor(bits.view(getattr(torch, array.dtype.name)))
    return keras.ops.convert_to_tensor(array)


def _jax(
    distribution: core.Distribution, shape: tuple[int, ...], dtype: str, seed: Any, layout: Any
) -> Any:
    """An array of JAX, or an operation of the function that is being traced."""
    import jax

    from fastinit import jax_arrays

    # JAX does not say whether it traces; this is its cheapest operation.
    traced = isinstance(jax.lax.iota("int32", 1), jax.core.Tracer)
    sharding = None
    if layout is not None:
        sharding = getattr(layout, "backend_layout", layout)
        sharding = jax_arrays.named_sharding("layout", sharding, traced)
    if isinstance(seed, keras.random.SeedGenerator):
        read: jax_arrays.Reader = _read_state
        words = _next_of_jax(seed, traced, layout is not None)
    else:
        read = jax_arrays.read_key
        words = np.array(divmod(seed % 2**64, 2**32), np.uint32)
        if traced:
            words = jax.numpy.asarray(words)
    made = jax.dtypes.canonicalize_dtype(dtype)  # float32 for float64, without jax_enable_x64
    return jax_arrays.make_array(distribution, shape, made, words, sharding, read)


def _next_of_jax(generator: Any, traced: bool, spread: bool) -> Any:
    """A generator's state, which advances; refused where that would leave a tracer behind in it."""
    import jax

    if not traced:
        mesh = jax.sharding.get_mesh() if spread else None
        # For a layout Keras makes the axes of the mesh explicit, which its generators do not bear.
        with nullcontext() if mesh is None or mesh.empty else jax.set_mesh(mesh):
            return generator.next()

    def kept() -> Any:
        # In a new scope values are those outside of all scopes.
        with keras.StatelessScope(initialize_variables=False):
            return generator.state.value

    before = kept()
    state = generator.next()
    if isinstance(kept(), jax.core.Tracer) and not isinstance(before, jax.core.Tracer):
        generator.state.assign(before)
        raise ValueError(
            "a keras.random.SeedGenerator cannot advance within jax.jit: call the initializer outside "
            "of it, within a keras.StatelessScope that has the state, or give it an int as seed"
        )
    return state


@_registered
class RandomNormal(_Filled, keras.initializers.RandomNormal, _Seeded):
    """Normal values.

    Parameters
    ----------
    mean, stddev : float
        0 and 0.05 by default; finite, and ``stddev >= 0``.
    seed : int, numpy.random.SeedSequence, numpy.random.Generator, keras.random.SeedGenerator, dict or None
        An int n gives the same values at each call, those of this library's ``seed=n``;
        it lies in [-2**63, 2**64), and a negative one stands for n + 2**64. NumPy's objects give
        such an int when the initializer is made. None draws such
        an int when the initializer is made, which `keras.utils.set_random_seed` makes
        repeatable. A generator gives other values at each call: of its state (s, k), those
        of ``seed=s, stream=k``. A dict is the config of a generator.

    Raises
    ------
    ValueError
        A seed of another type, or out of range.
    """

    mean: Any
    stddev: Any

    def _distribution(self, shape: tuple[int, ...]) -> core.Distribution:
        return core.Normal(float(self.mean), float(self.stddev))


@_registered
class TruncatedNormal(_Filled, keras.initializers.TruncatedNormal, _Seeded):
    """Normal values within two standard deviations of the mean.

    Parameters
    ----------
    mean, stddev : float
        Of the normal before truncation: 0 and 0.05 by default, finite, and
        ``stddev >= 0``. The values have the standard deviation 0.8796 ``stddev``.
    seed : int, numpy.integer, keras.random.SeedGenerator, dict or None
        As for `RandomNormal`.
    """

    mean: Any
    stddev: Any

    def _distribution(self, shape: tuple[int, ...]) -> core.Distribution:
        return core.TruncatedNormal(float(self.mean), float(self.stddev))


@_registered
class RandomUniform(_Filled, keras.initializers.RandomUniform, _Seeded):
    """Uniform values on [minval, maxval).

    Parameters
    ----------
    minval, maxval : float
        -0.05 and 0.05 by default; finite, ``minval <= maxval``; equal ones give a constant.
        `minval` can occur where the dtype has it, and `maxval` cannot.
    seed : int, numpy.integer, keras.random.SeedGenerator, dict or None
        As for `RandomNormal`.
    """

    minval: Any
    maxval: Any

    def _distribution(self, shape: tuple[int, ...]) -> core.Distribution:
        return core.Uniform(float(self.minval), float(self.maxval))


@_registered
class VarianceScaling(_Scaled, keras.initializers.VarianceScaling, _Seeded):
    """Values with the standard deviation sqrt(scale / n), where n depends on the shape.

    Parameters
    ----------
    scale : float
        Positive; 1 by default.
    mode : {"fan_in", "fan_out", "fan_avg"}
        What n is: the inputs of a unit, its outputs or their mean, and at least 1.
    distribution : {"truncated_normal", "normal", "untruncated_normal", "uniform"}
        Normal truncated at two standard deviations (under two names), normal, or uniform on
        +-sqrt(3 * scale / n). The standard deviation is that after truncation.
    seed : int, numpy.integer, keras.random.SeedGenerator, dict or None
        As for `RandomNormal`.
    input_axes, output_axes : sequence of int, optional
        The axes whose product is the fan, both given or neither. By default they are the last
        two, each times the receptive field, which is the product of the others.

    Raises
    ------
    ValueError
        A bad scale, mode, distribution or seed.
    """


@_registered
class GlorotUniform(_Scaled, keras.initializers.GlorotUniform, _Seeded):
    """Uniform values on [-x, x), x = sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio, AISTATS 2010).

    Parameters
    ----------
    seed, input_axes, output_axes
        As for `VarianceScaling`.
    """


@_registered
class GlorotNormal(_Scaled, keras.initializers.GlorotNormal, _Seeded):
    """Truncated normal values, standard deviation sqrt(2 / (fan_in + fan_out)) (Glorot, Bengio, AISTATS 2010).

    Parameters
    ----------
    seed, input_axes, output_axes
        As for `VarianceScaling`.
    """


@_registered
class HeUniform(_Scaled, keras.initializers.HeUniform, _Seeded):
    """Uniform values on [-x, x), x = sqrt(6 / fan_in) (He, Zhang, Ren, Sun, ICCV 2015).

    Parameters
    ----------
    seed, input_axes, output_axes
        As for `VarianceScaling`.
    """


@_registered
class HeNormal(_Scaled, keras.initializers.HeNormal, _Seeded):
    """Truncated normal values, standard deviation sqrt(2 / fan_in) (He, Zhang, Ren, Sun, ICCV 2015).

    Parameters
    ----------
    seed, input_axes, output_axes
        As for `VarianceScaling`.
    """


@_registered
class LecunUniform(_Scaled, keras.initializers.LecunUniform, _Seeded):
    """Uniform values on [-x, x), x = sqrt(3 / fan_in) (LeCun, Bottou, Orr, Mueller, 1998).

    Parameters
    ----------
    seed, input_axes, output_axes
        As for `VarianceScaling`.
    """


@_registered
class LecunNormal(_Scaled, keras.initializers.LecunNormal, _Seeded):
    """Truncated normal values, standard deviation sqrt(1 / fan_in) (LeCun, Bottou, Orr, Mueller, 1998).

    Parameters
    ----------
    seed, input_axes, output_axes
        As for `VarianceScaling`.
    """


glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling


def get(identifier: Any) -> Any:
    """An initializer as ``keras.initializers.get`` finds it, but for names, which are those of this module first.

    Parameters
    ----------
    identifier : str, dict, callable, tensor or None
        A name such as "he_normal" or "HeNormal" gives a class of this module with its
        defaults. All else is Keras's, configs too: they say whose class they are of.

    Returns
    -------
    callable or None

    Raises
    ------
    ValueError
        What is no initializer.
    """
    if isinstance(identifier, str) and identifier in {*__all__} - _FUNCTIONS:
        identifier = globals()[identifier]
    return keras.initializers.get(identifier)


if TYPE_CHECKING:  # in place of __getattr__, which would let type checkers pass every name
    from keras.initializers import STFT as STFT
    from keras.initializers import Constant as Constant
    from keras.initializers import Identity as Identity
    from keras.initializers import IdentityInitializer as IdentityInitializer
    from keras.initializers import Initializer as Initializer
    from keras.initializers import Ones as Ones
    from keras.initializers import Orthogonal as Orthogonal
    from keras.initializers import OrthogonalInitializer as OrthogonalInitializer
    from keras.initializers import STFTInitializer as STFTInitializer
    from keras.initializers import Zeros as Zeros
    from keras.initializers import constant as constant
    from keras.initializers import deserialize as deserialize
    from keras.initializers import identity as identity
    from keras.initializers import ones as ones
    from keras.initializers import orthogonal as orthogonal
    from keras.initializers import serialize as serialize
    from keras.initializers import stft as stft
    from keras.initializers import zeros as zeros
else:

    def __getattr__(name: str) -> Any:
        """Forward names that only ``keras.initializers`` has, such as `Zeros`, so that one import can replace the other."""
        try:
            return getattr(keras.initializers, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    """The public names, with those of ``keras.initializers`` that are forwarded."""
    dunders = [name for name in globals() if name.startswith("__")]
    forwarded = [name for name in dir(keras.initializers) if not name.startswith("_")]
    return sorted({*__all__, *forwarded, *dunders})
