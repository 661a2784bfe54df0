"""Fills weight tensors on the CPU, near memory speed, with the same bits for every layout.

Every element is a pure function of (seed, stream, distribution, index): threads,
chunks, shards, memory layout and instruction set never change a bit.

>>> import fastinit as fi
>>> fi.he_normal((3, 4), seed=0).shape
(3, 4)
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fastinit import _kernel, tf_contrib
from fastinit._kernel import STREAM_VERSION
from fastinit.checks import check_int, shown
from fastinit.choices import Isa
from fastinit.distributions import (
    Dirac,
    Exponential,
    Identity,
    LogUniform,
    Orthogonal,
    RandomIntegers,
)
from fastinit.fans import calculate_gain, compute_fans, truncated_std
from fastinit.fill import Index
from fastinit.initializers import (
    Constant,
    Distribution,
    Initializer,
    Normal,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    ones,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from fastinit.streams import MAX_UINT64, Seed, Stream, stream_key
from fastinit.tensor import Tensor
from fastinit.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:  # in place of __getattr__, which would let type checkers pass every name
    from fastinit import dask as dask
    from fastinit import jax as jax
    from fastinit import keras as keras
    from fastinit import torch as torch
    from fastinit.model import Model as Model

__version__ = "0.1.0"

__all__ = [
    "STREAM_VERSION",
    "Constant",
    "Dirac",
    "Distribution",
    "Exponential",
    "Identity",
    "Index",
    "Initializer",
    "LogUniform",
    "Model",
    "Normal",
    "Orthogonal",
    "RandomIntegers",
    "Seed",
    "Stream",
    "Tensor",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "available_isas",
    "calculate_gain",
    "compute_fans",
    "get_include",
    "get_num_threads",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "isa",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "random_words",
    "set_isa",
    "set_num_threads",
    "tf_contrib",
    "truncated_std",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


def random_words(n: int, *, seed: Seed, stream: Stream = "", offset: int = 0) -> NDArray[np.uint32]:
    """Raw 32-bit words of Philox4x32-10, in counter order.

    Parameters
    ----------
    n : int
        How many words, at least 0.
    seed, stream
        As for initializers. The key is the seed when `stream` is empty.
    offset : int
        The first word, in [0, 2**64): word i is word ``i % 4`` of block ``i // 4``.

    Returns
    -------
    numpy.ndarray
        uint32, shape (n,).

    Raises
    ------
    ValueError, TypeError
        A bad argument, or words beyond the last, word 2**64 - 1.

    Notes
    -----
    These are the words of C++26's ``std::philox4x32``: with seed 20111115, word
    9999 is 1955073260. Fills use other domains of the counter (see
    ``fastinit.h``), so these words are in none of them.
    """
    offset = check_int("offset", offset, 0, MAX_UINT64)
    n = check_int("n", n, 0, 2**64 - offset, "an int of at least 0 and at most 2**64 - offset")
    if n > sys.maxsize // 4:
        raise ValueError(f"n must fit the address space as uint32, got {shown(n)}")
    out = np.empty(n, np.uint32)
    _kernel.random_words(stream_key(seed, stream), offset, out)
    return out


def isa() -> Isa:
    """The instruction set in use: avx512, avx2, sse2, neon or scalar. All give the same bits."""
    return _kernel.isa()


def available_isas() -> tuple[Isa, ...]:
    """The instruction sets that this build has and this machine runs, widest first."""
    return _kernel.available_isas()


def set_isa(name: Isa | None) -> None:
    """Use one of `available_isas()` from now on; None goes back to the widest.

    Raises
    ------
    ValueError
        `name` is not one of them.
    """
    names = available_isas()
    if name is not None and name not in names:
        raise ValueError(
            f"name must be one of {', '.join(names)} on this machine, got {shown(name)}"
        )
    _kernel.set_isa(names[0] if name is None else str(name))


#: Each needs the framework of its name, and is imported when it is first used.
_INTEGRATIONS = ("dask", "jax", "keras", "torch")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import `Model` and the integrations when they are first used, because that takes long."""
        if name == "Model":
            from fastinit.model import Model

            return Model
        if name in _INTEGRATIONS:
            return importlib.import_module(f"fastinit.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, and the integrations whose frameworks are installed."""
    # help() uses all of these names, and would end in the ImportError of an integration.
    integrations = filter(_is_installed, _INTEGRATIONS)
    return sorted([*__all__, *integrations, *(n for n in globals() if n.startswith("__"))])


def _is_installed(framework: str) -> bool:
    try:
        return importlib.util.find_spec(framework) is not None
    except ValueError:  # a module without a spec, in sys.modules
        return True


def get_include() -> str:
    """Directory of ``fastinit.h``, for C code and for Cython code that does ``cimport fastinit``."""
    return str(Path(__file__).parent / "include")


def _read_environment() -> None:
    name = os.environ.get("FASTINIT_ISA")
    if name:
        try:
            set_isa(cast("Isa", name))
        except ValueError as error:
            raise ValueError(f"FASTINIT_ISA in the environment: {error}") from None
    threads = os.environ.get("FASTINIT_NUM_THREADS")
    if threads:
        # Python refuses to read thousands of digits, in words that do not name the variable.
        if not (threads.isdecimal() and len(threads) < 10 and int(threads) >= 1):
            raise ValueError(
                f"FASTINIT_NUM_THREADS in the environment: expected an int of at least 1, got {threads!r:.40}"
            )
        set_num_threads(int(threads))


def _is_command() -> bool:
    """Whether this process is the command ``fastinit``, which imports the package before it can catch errors."""
    name = (getattr(sys, "argv", None) or [""])[0]  # "-m" while ``python -m`` looks for the module
    return Path(name).stem == "fastinit" or (name == "-m" and "fastinit" in sys.orig_argv)


try:
    _read_environment()
except ValueError as error:
    if not _is_command():
        raise
    sys.exit(f"fastinit: {error}")
