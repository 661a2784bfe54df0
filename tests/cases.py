"""What several files of tests share: distributions that visit every proposal, how the oracle and the library
make them, and a tiny model."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import fastinit as fi
import reference

inf = float("inf")

#: The dtypes that take any distribution, as NumPy's.
NUMPY_DTYPES = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}

#: A tiny model of transformers, of any kind that has these keys.
ENCODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 60,
}

#: (mean, stddev, lower, upper) by the proposal that the header chooses for them.
TRUNCATED = {
    "truncated": (0.0, 0.02, -2.0, 2.0),
    "truncated, one side": (0.5, 2.0, -inf, 1.0),
    "truncated, no bounds": (0.0, 1.0, -inf, inf),
    "half": (0.0, 1.0, 0.125, 4.0),
    "half, reflected": (1.0, 0.5, -inf, 0.0),
    "narrow, across 0": (1.0, 3.0, -0.5, 1.5),
    "narrow": (0.0, 1.0, 2.0, 2.25),
    "narrow, reflected": (-4.0, 2.0, -0.5, -0.375),
    "exponential": (-1.0, 0.5, 0.75, inf),
    "exponential, reflected": (-1.0, 0.5, -2.5, -1.0),
    "tail": (0.25, 2.0, 3.0, 5.0),
    "tail, reflected": (0.0, 1.0, -inf, -1.5),
    "tail, far": (-1.0, 1e-4, 1e4, inf),
}

#: Every distribution, as (name, parameters).
DISTRIBUTIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    "uniform": ("uniform", (-0.75, 1.25)),
    "normal": ("normal", (0.5, 0.02)),
    **{name: ("truncated_normal", parameters) for name, parameters in TRUNCATED.items()},
}


def truncated_normal(mean: float, stddev: float, lower: float, upper: float) -> fi.Distribution:
    return fi.TruncatedNormal(mean, stddev, lower=lower, upper=upper)


def random_integers(low: float, high: float) -> fi.Distribution:
    return fi.RandomIntegers(int(low), int(high))


CLASSES = {
    "uniform": fi.Uniform,
    "normal": fi.Normal,
    "truncated_normal": truncated_normal,
    "log_uniform": fi.LogUniform,
    "exponential": fi.Exponential,
    "random_integers": random_integers,
}


def initializer(case: str) -> fi.Distribution:
    name, parameters = DISTRIBUTIONS[case]
    made = CLASSES[name](*parameters)
    assert isinstance(made, fi.Distribution)
    return made


def oracle(case: str, dtype: str, key: int, index: int, n: int) -> NDArray[Any]:
    """Elements [index, index + n) from the NumPy oracle, as integers of their bits."""
    name, parameters = DISTRIBUTIONS[case]
    values = getattr(reference, name)(dtype, key, index, n, *parameters)
    return values.view(f"u{values.dtype.itemsize}")


def elements(case: str, dtype: str, key: int, index: int, n: int, **options: Any) -> NDArray[Any]:
    """The same from the library: a shard of a tensor of 2**64 elements, as integers of their bits."""
    part = initializer(case).shard(
        (2**64,), slice(index, index + n), seed=key, dtype=dtype, **options
    )
    return part.view(f"u{part.dtype.itemsize}")
