"""The functions of ``torch.nn.init``: arguments of PyTorch to initializers, and a seed for each call."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from types import FunctionType
from typing import Any, Literal

import torch
from torch import Generator, Tensor
from torch.nn.init import calculate_gain, constant_, dirac_, eye_, ones_, zeros_
from torch.overrides import TorchFunctionMode

from fastinit import _kernel
from fastinit.checks import check_choice, check_positive
from fastinit.choices import DistributionName, Mode
from fastinit.distributions import Orthogonal
from fastinit.fill import expected_dtypes
from fastinit.initializers import (
    Initializer,
    Normal,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    prepare,
)
from fastinit.streams import Seed, Stream, seed_value, stream_key
from fastinit.torch.memory import DTYPES, fill_tensor, is_filled_here, local_part
from fastinit.torch.recording import current_recorder

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

#: The modes of PyTorch.
Fan = Literal["fan_in", "fan_out"]

#: What samples; the others are PyTorch's own.
SAMPLING = (
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
)
#: PyTorch's functions, whose code `patched` and `record` replace.
PUBLIC: dict[str, Any] = {
    name: getattr(torch.nn.init, name)
    for name in (*SAMPLING, "constant_", "dirac_", "eye_", "ones_", "zeros_")
}
if {
    (f.__module__, f.__code__.co_filename, "fastinit_call" in f.__code__.co_names)
    for f in (*PUBLIC.values(), zeros_)
} != {("torch.nn.init", zeros_.__code__.co_filename, False)}:
    raise ImportError("fastinit.torch must not be imported while torch.nn.init is replaced")
#: Copies of them, which keep PyTorch's code.
ORIGINAL: dict[str, Callable[..., Tensor]] = {
    name: FunctionType(f.__code__, f.__globals__, name, f.__defaults__, f.__closure__)
    for name, f in PUBLIC.items()
}

#: Seed and stream of a tensor; None for tensors that have no name.
Naming = Callable[[Tensor], tuple[int, Stream] | None]
#: Under `init_module_`, where calls without a seed find one.
current_naming: ContextVar[Naming | None] = ContextVar("current_naming", default=None)


def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a tensor with values uniform on [a, b), as ``torch.nn.init.uniform_`` does.

    Parameters
    ----------
    tensor : torch.Tensor
        On the CPU, of float32, float64, float16, bfloat16, float8_e4m3fn or float8_e5m2,
        with any strides; or a DTensor of such, of which each process fills its own part
        without communication. PyTorch's own function fills others, unless a seed is given:
        then they get the values that they would have on the CPU.
    a, b : float
        The ends, ``a <= b``; equal ones give a constant. `a` can occur and `b` cannot: a
        value that rounding would bring to `b` becomes the largest value of the dtype below it.
    generator : torch.Generator, optional
        Where the seed of this call comes from, 64 bits: by default PyTorch's default
        generator, which ``torch.manual_seed`` sets. Processes that share a DTensor must
        have it in the same state.
    seed : int, numpy.random.SeedSequence or numpy.random.Generator, optional
        Instead of one from a generator, as for initializers.
    stream : str or int, optional
        Name of the tensor, as for initializers.

    Returns
    -------
    torch.Tensor
        `tensor` itself. Nothing is recorded for gradients.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        What PyTorch answers to such arguments; also a dtype that has no value between the
        bounds, where PyTorch gives values outside; a tensor that is sparse, quantised or has
        elements that share memory, one that is traced if a seed is given, and a DTensor with
        partial placements.

    Notes
    -----
    The values are those that the initializer of the same law gives to this seed, stream and
    shape: strides, placements and threads do not change them.
    """
    return _sample("uniform_", tensor, (a, b), generator, seed, stream)


def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a tensor with normal values, as ``torch.nn.init.normal_`` does.

    Parameters, errors and what is returned are those of `uniform_`, but for `mean` and
    ``std >= 0`` of the values.
    """
    return _sample("normal_", tensor, (mean, std), generator, seed, stream)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a tensor with normal values inside [a, b], as ``torch.nn.init.trunc_normal_`` does.

    Parameters, errors and what is returned are those of `uniform_`, but for `mean` and `std`
    of the normal before truncation and its bounds `a` and `b`, which are values and not
    multiples of `std`: with ``std=0.02`` the default bounds, 100 standard deviations away,
    cut nothing. Warns as PyTorch does where `mean` lies more than 2 `std` outside of the
    bounds, though the values are exact there too.
    """
    far = mean < a - 2 * std or mean > b + 2 * std
    if far and is_filled_here(tensor, seed is not None):
        warnings.warn(
            f"mean={mean} is more than 2 std outside of [{a}, {b}]: no value will be near it",
            stacklevel=2,
        )
    return _sample("trunc_normal_", tensor, (mean, std, a, b), generator, seed, stream)


def xavier_uniform_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a tensor as ``torch.nn.init.xavier_uniform_`` does (Glorot and Bengio, 2010).

    Uniform on [-x, x], x = `gain` sqrt(6 / (fan_in + fan_out)), for weights of shape (out, in,
    spatial...). The rest is that of `uniform_`.
    """
    return _sample("xavier_uniform_", tensor, (gain,), generator, seed, stream)


def xavier_normal_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a tensor as ``torch.nn.init.xavier_normal_`` does (Glorot and Bengio, 2010).

    Normal, not truncated, of the standard deviation `gain` sqrt(2 / (fan_in + fan_out)), for
    weights of shape (out, in, spatial...). The rest is that of `uniform_`.
    """
    return _sample("xavier_normal_", tensor, (gain,), generator, seed, stream)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: Fan = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a tensor as ``torch.nn.init.kaiming_uniform_`` does (He et al., 2015).

    Uniform on [-x, x], x = gain sqrt(3 / fan), for weights of shape (out, in, spatial...); `mode`
    is "fan_in" or "fan_out", the gain ``calculate_gain(nonlinearity, a)``. The default of
    ``torch.nn.Linear`` and of convolutions is ``a=sqrt(5)``, which makes x = 1 / sqrt(fan_in).
    The rest is that of `uniform_`.
    """
    arguments = (a, mode, nonlinearity)
    return _sample("kaiming_uniform_", tensor, arguments, generator, seed, stream)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: Fan = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a tensor as ``torch.nn.init.kaiming_normal_`` does (He et al., 2015).

    Normal, not truncated as ``fastinit.he_normal`` is, of the standard deviation gain / sqrt(fan).
    The rest is that of `kaiming_uniform_`.
    """
    arguments = (a, mode, nonlinearity)
    return _sample("kaiming_normal_", tensor, arguments, generator, seed, stream)


def orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a tensor with a (semi-)orthogonal matrix, as ``torch.nn.init.orthogonal_`` does.

    The values are those of ``fastinit.Orthogonal``: the normal matrix of the stream, factorised in
    float64 by NumPy's LAPACK, whose last bits may differ between machines. Of a DTensor each process
    computes the whole and keeps its part. The rest is that of `uniform_`.
    """
    return _sample("orthogonal_", tensor, (gain,), generator, seed, stream)


def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: Generator | None = None,
    *,
    seed: Seed = None,
    stream: Stream = "",
) -> Tensor:
    """Fill a matrix with normal values, and zeros in a part of each column, as ``torch.nn.init.sparse_`` does.

    Which elements are zero depends on the seed too. The normal values are drawn here, the rest is
    PyTorch's; a DTensor takes what PyTorch can do. Parameters are otherwise those of `uniform_`.
    """
    return _draw_normals("sparse_", tensor, (sparsity, std), generator, seed, stream)


@_kernel.in_default_arithmetic
@lru_cache(maxsize=1024, typed=True)  # PyTorch tells True from 1.0
def initializer_of(name: str, *arguments: Any) -> Initializer:
    """The initializer of a function and its arguments; an error where it has none."""
    mode: Mode
    if name == "uniform_":
        return Uniform(*arguments)
    if name == "normal_":
        return Normal(*arguments)
    if name == "trunc_normal_":
        mean, std, low, high = arguments
        return TruncatedNormal.within(low, high, mean=mean, stddev=std)
    if name == "orthogonal_":
        return Orthogonal(*arguments)
    if name.startswith("xavier"):
        (gain,) = arguments
        mode = "fan_avg"
    else:
        a, given, nonlinearity = arguments
        gain, mode = calculate_gain(nonlinearity, a), given.lower()
        check_choice("mode", mode, ("fan_in", "fan_out"))
    distribution: DistributionName = "uniform" if "uniform" in name else "untruncated_normal"
    scale = check_positive("gain", gain) ** 2
    return VarianceScaling(scale, mode, distribution, in_axis=1, out_axis=0)


def _sample(
    name: str,
    tensor: Tensor,
    arguments: tuple[Any, ...],
    generator: Generator | None,
    seed: Seed,
    stream: Stream,
) -> Tensor:
    """Fill a tensor, or leave it to PyTorch's function of the same name."""
    if current_recorder.get() is not None:
        return _be_recorded(name, tensor, arguments, generator, seed)
    if not is_filled_here(tensor, seed is not None):
        return _leave(name, tensor, arguments, generator, seed)
    if tensor.dim() < 2 and name.startswith(("xavier", "kaiming", "orthogonal")):
        return ORIGINAL[name](tensor, *arguments)  # its error
    # Tensors of no dimension are numbers to PyTorch's methods, though not to its kaiming_*.
    scalars = not name.startswith("kaiming")
    numbers = (a.item() if scalars and _is_scalar(a) else a for a in arguments)
    try:
        initializer = initializer_of(name, *numbers)
        prepare(initializer, tuple(tensor.shape), DTYPES[tensor.dtype])
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        # Where the dtype has no value between the bounds, PyTorch would give values outside.
        if seed is not None or str(error).startswith(_kernel.NO_VALUE):
            raise
        # PyTorch has its own answers to such arguments: an error, NaN, or a constant.
        return ORIGINAL[name](tensor, *arguments, generator=generator)
    fill_tensor(tensor, initializer, *_seed_and_stream(tensor, generator, seed, stream))
    return tensor


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 0


def _draw_normals(
    name: str,
    tensor: Tensor,
    arguments: tuple[Any, ...],
    generator: Generator | None,
    seed: Seed,
    stream: Stream,
) -> Tensor:
    """PyTorch's own function, with normal values drawn here."""
    if current_recorder.get() is not None:
        return _be_recorded(name, tensor, arguments, generator, seed)
    if not is_filled_here(tensor, seed is not None):
        return _leave(name, tensor, arguments, generator, seed)
    seed, stream = _seed_and_stream(tensor, generator, seed, stream)
    with _OurNormals(seed, stream):
        return ORIGINAL[name](tensor, *arguments)


class _OurNormals(TorchFunctionMode):
    """Lets PyTorch's functions draw normal values, and permutations, from a seed and a stream."""

    def __init__(self, seed: int, stream: Stream) -> None:
        super().__init__()
        self.seed, self.stream = seed, stream
        self.generator = Generator().manual_seed(stream_key(seed, stream))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.normal_:
            tensor, *arguments = args
            with contextlib.suppress(ValueError, TypeError):  # which are PyTorch's to answer
                return normal_(tensor, *arguments, seed=self.seed, stream=self.stream)
        if func is torch.randperm:
            kwargs = {**kwargs, "generator": self.generator}
        return func(*args, **kwargs)


def _be_recorded(
    name: str, tensor: Tensor, arguments: tuple[Any, ...], generator: Generator | None, seed: Seed
) -> Tensor:
    """Within `record`, what PyTorch's function of the same name does."""
    if seed is not None:
        raise RuntimeError(
            "seed must not be given within record(): init_module_ draws each tensor from its seed and "
            "the tensor's name"
        )
    return PUBLIC[name](tensor, *arguments, generator=generator)


def _leave(
    name: str, tensor: Tensor, arguments: tuple[Any, ...], generator: Generator | None, seed: Seed
) -> Tensor:
    """What is not filled here, PyTorch fills."""
    if seed is not None:
        seed_value(seed)
    if seed is not None and tensor.numel() and not tensor.is_meta:
        part = local_part(tensor)
        what = "" if part is tensor else f" with a local {type(part).__name__}"
        raise TypeError(
            f"tensor must be of {expected_dtypes()} to be filled from a seed, "
            f"got a {type(tensor).__name__}{what} of {tensor.dtype}"
        )
    return ORIGINAL[name](tensor, *arguments, generator=generator)


def _seed_and_stream(
    tensor: Tensor, generator: Generator | None, seed: Seed, stream: Stream
) -> tuple[int, Stream]:
    """What is given, else the tensor's own under `init_module_`, else a seed from a generator."""
    if seed is not None:
        if generator is not None:
            raise ValueError("seed and generator must not both be given")
        return seed_value(seed), stream
    name = current_naming.get() if generator is None else None
    named = None if name is None else name(tensor)
    if named is not None:
        return named
    drawn = torch.empty((), dtype=torch.int64, device="cpu")
    drawn.random_(-(2**63), None, generator=generator)
    return drawn.item() % 2**64, stream
