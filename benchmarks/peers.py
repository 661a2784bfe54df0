"""What others offer for the same work: functions that prepare a work of `n` elements.

Each returns a callable to time, or skips where its package is not installed. Fills go to warm memory
where the peer can fill. SciPy and JAX make a new array at each call, PyTorch's trunc_normal_ temporaries:
the kernel's zeroing of their fresh pages is in their time, as it is in their users'.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import fastinit as fi

Work = Callable[[], Any]
STDDEV = 0.02
LAWS = {
    "truncated": fi.TruncatedNormal(0.0, STDDEV, lower=-2.0, upper=2.0),
    "normal": fi.Normal(0.0, STDDEV),
    "uniform": fi.Uniform(-0.05, 0.05),
}


def need(name: str) -> Any:
    return pytest.importorskip(name, reason=f"the peer {name} is not installed: extra bench")


def fastinit(law: str, dtype: str, memory: np.ndarray, threads: int) -> Work:
    if dtype == "bfloat16":
        dtype = need("ml_dtypes").bfloat16
    out = memory.view(dtype)
    return lambda: LAWS[law].fill(out, seed=0, threads=threads)


def scipy(law: str, dtype: str, memory: np.ndarray, threads: int) -> Work:
    n = memory.size // np.dtype(dtype).itemsize
    stats = need("scipy.stats")
    frozen, generator = stats.truncnorm(-2, 2, scale=STDDEV), np.random.default_rng(0)
    return lambda: frozen.rvs(n, random_state=generator)


def numpy(law: str, dtype: str, memory: np.ndarray, threads: int) -> Work:
    out: np.ndarray = memory.view(dtype)
    generator = np.random.default_rng(0)
    if law == "normal":
        return lambda: generator.standard_normal(out=out, dtype=out.dtype)
    if law == "uniform":
        return lambda: generator.random(out=out, dtype=out.dtype)

    def draw() -> None:
        """What a careful user writes: draw, then draw again what fell outside."""
        generator.standard_normal(out=out, dtype=out.dtype)
        bad = np.flatnonzero(abs(out) > 2)
        while bad.size:
            out[bad] = generator.standard_normal(bad.size, dtype=out.dtype)
            bad = bad[abs(out[bad]) > 2]
        np.multiply(out, out.dtype.type(STDDEV), out=out)

    return draw


def torch(law: str, dtype: str, memory: np.ndarray, threads: int) -> Work:
    module = need("torch")
    module.set_num_threads(threads)
    tensor = module.from_numpy(memory).view(getattr(module, dtype))
    if law == "normal":
        return lambda: tensor.normal_(0.0, STDDEV)
    if law == "uniform":
        return lambda: tensor.uniform_(-0.05, 0.05)
    bound = 2 * STDDEV
    return lambda: module.nn.init.trunc_normal_(tensor, 0.0, STDDEV, -bound, bound)


def jax(law: str, dtype: str, memory: np.ndarray, threads: int) -> Work:
    module = need("jax")
    n = memory.size // np.dtype(dtype).itemsize
    random, key = module.random, module.random.key(0)
    make = {
        "truncated": lambda key: STDDEV * random.truncated_normal(key, -2.0, 2.0, (n,), dtype),
        "normal": lambda key: STDDEV * random.normal(key, (n,), dtype),
        "uniform": lambda key: random.uniform(key, (n,), dtype, -0.05, 0.05),
    }[law]
    compiled = module.jit(make)
    return lambda: compiled(key).block_until_ready()


def tensorflow(law: str, dtype: str, memory: np.ndarray, threads: int) -> Work:
    random = need("tensorflow").random
    shape = [memory.size // np.dtype(dtype).itemsize]
    if law == "uniform":
        return lambda: random.uniform(shape, -0.05, 0.05, dtype)
    make = random.truncated_normal if law == "truncated" else random.normal
    return lambda: make(shape, 0.0, STDDEV, dtype)


# MKL's vector statistics, without a package between: numbers from mkl_vsl_defines.h.
BRNG = {"SFMT19937": 13 << 20, "ARS5": 15 << 20, "Philox4x32-10": 16 << 20}
GAUSSIAN = {"ICDF": 2, "BoxMuller2": 1}


@cache
def mkl_library() -> Any:
    try:
        files = importlib.metadata.files("mkl") or []
        path = next(f.locate() for f in files if f.name.startswith("libmkl_rt.so"))
        return ctypes.CDLL(str(path))
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError):
        return None


def mkl(generator: str, method: str | None = None) -> Callable[[str, str, np.ndarray, int], Work]:
    def prepare(law: str, dtype: str, memory: np.ndarray, threads: int) -> Work:
        library = mkl_library()
        if library is None:
            pytest.skip("the peer mkl is not installed: extra bench")
        stream = ctypes.c_void_p()
        if library.vslNewStream(ctypes.byref(stream), BRNG[generator], 1):
            pytest.skip(f"MKL has no {generator} on this machine")
        letter, real = ("s", ctypes.c_float) if dtype == "float32" else ("d", ctypes.c_double)
        kind = "Uniform" if law == "uniform" else "Gaussian"
        fill = getattr(library, f"v{letter}Rng{kind}")
        a, b = (-0.05, 0.05) if law == "uniform" else (0.0, STDDEV)
        n = memory.size // np.dtype(dtype).itemsize
        number = 0 if method is None else GAUSSIAN[method]
        out = ctypes.c_void_p(memory.ctypes.data)

        def work() -> None:
            assert fill(number, stream, n, out, real(a), real(b)) == 0

        return work

    return prepare


def mkl_random(law: str, dtype: str, memory: np.ndarray, threads: int) -> Work:
    state = need("mkl_random").MKLRandomState(1, brng="SFMT19937")
    n = memory.size // np.dtype(dtype).itemsize
    return lambda: state.normal(0.0, STDDEV, n, method="ICDF")


#: Who else does which work, by law and dtype.
WORKS: dict[tuple[str, str], dict[str, Callable[[str, str, np.ndarray, int], Work]]] = {
    ("truncated", "float32"): {
        "SciPy truncnorm.rvs (float64)": scipy,
        "NumPy, redrawn": numpy,
        "PyTorch trunc_normal_": torch,
        "JAX truncated_normal (jit)": jax,
        "TensorFlow truncated_normal": tensorflow,
    },
    ("truncated", "bfloat16"): {"PyTorch trunc_normal_": torch},
    ("truncated", "float64"): {"SciPy truncnorm.rvs (float64)": scipy},
    ("normal", "float32"): {
        "NumPy standard_normal": numpy,
        "PyTorch normal_": torch,
        "JAX normal (jit)": jax,
        "TensorFlow normal": tensorflow,
        "MKL ICDF, SFMT19937": mkl("SFMT19937", "ICDF"),
        "MKL ICDF, ARS5": mkl("ARS5", "ICDF"),
        "MKL Box-Muller 2, ARS5": mkl("ARS5", "BoxMuller2"),
        "MKL ICDF, Philox": mkl("Philox4x32-10", "ICDF"),
    },
    ("normal", "float64"): {
        "NumPy standard_normal": numpy,
        "PyTorch normal_": torch,
        "MKL ICDF, SFMT19937": mkl("SFMT19937", "ICDF"),
        "MKL ICDF, ARS5": mkl("ARS5", "ICDF"),
        "MKL Box-Muller 2, ARS5": mkl("ARS5", "BoxMuller2"),
        "MKL ICDF, Philox": mkl("Philox4x32-10", "ICDF"),
        "mkl_random normal, ICDF": mkl_random,
    },
    ("uniform", "float32"): {
        "NumPy random": numpy,
        "PyTorch uniform_": torch,
        "JAX uniform (jit)": jax,
        "TensorFlow uniform": tensorflow,
        "MKL ARS5": mkl("ARS5"),
        "MKL SFMT19937": mkl("SFMT19937"),
        "MKL Philox": mkl("Philox4x32-10"),
    },
}
