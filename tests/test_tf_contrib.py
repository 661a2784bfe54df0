"""The face of TensorFlow 1: signatures, seeds and resolved scales (statistics are tested with the others)."""

from __future__ import annotations

import importlib.util
import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastinit as fi
from fastinit import tf_contrib


def test_signatures() -> None:
    variance_scaling = inspect.signature(tf_contrib.variance_scaling_initializer).parameters
    assert [(n, p.default) for n, p in variance_scaling.items()][:5] == [
        ("factor", 2.0),
        ("mode", "FAN_IN"),
        ("uniform", False),
        ("seed", None),
        ("dtype", np.float32),
    ]
    xavier = inspect.signature(tf_contrib.xavier_initializer).parameters
    assert [(n, p.default) for n, p in xavier.items()][:3] == [
        ("uniform", True),
        ("seed", None),
        ("dtype", np.float32),
    ]
    init = inspect.signature(tf_contrib.xavier_initializer()).parameters
    assert list(init) == ["shape", "dtype", "partition_info"]


@pytest.mark.parametrize(
    ("init", "limit"),
    [
        (tf_contrib.variance_scaling_initializer(seed=0), 2 * math.sqrt(2 / 64)),
        (tf_contrib.variance_scaling_initializer(3.0, "FAN_OUT", seed=0), 2 * math.sqrt(3 / 192)),
        (tf_contrib.variance_scaling_initializer(3.0, "FAN_AVG", True, 0), math.sqrt(9 / 128)),
        (
            tf_contrib.variance_scaling_initializer(seed=0, correction="tf_contrib"),
            2 * math.sqrt(2.6 / 64),
        ),
        (tf_contrib.xavier_initializer(seed=0), math.sqrt(6 / 256)),
        (tf_contrib.xavier_initializer(False, 0), 2 * math.sqrt(2 / 256)),
        (tf_contrib.xavier_initializer(False, 0, correction="tf_contrib"), 2 * math.sqrt(2.6 / 256)),
    ],
)  # fmt: skip
def test_limits(init: tf_contrib.Initialize, limit: float) -> None:
    """The bound is reached to 1 in 1000 by 12,288 values, and not crossed."""
    w = init((64, 192))
    assert w.dtype == np.float32
    assert 0.998 * limit < abs(w).max() <= limit


def test_an_int_seed_repeats_and_none_does_not() -> None:
    fixed, fresh = tf_contrib.xavier_initializer(seed=3), tf_contrib.xavier_initializer()
    np.testing.assert_array_equal(fixed((4, 5)), fixed((4, 5)))
    np.testing.assert_array_equal(fixed((4, 5)), fi.glorot_uniform((4, 5), seed=3))
    assert (fresh((4, 5)) != fresh((4, 5))).any()


def test_dtype_of_the_call_wins() -> None:
    init = tf_contrib.xavier_initializer(dtype=np.float16)
    assert init((2, 3)).dtype == np.float16
    assert init((2, 3), np.float64, None).dtype == np.float64


class PartitionInfo:
    """That of TensorFlow: a part of a variable."""

    full_shape = (8, 4)
    var_offset = (2, 0)


def test_a_part_is_that_of_the_whole() -> None:
    """Its scale is sqrt(2 / 8), and its values are rows 2 to 4 of the whole."""
    init = tf_contrib.variance_scaling_initializer(seed=1)
    part = init((3, 4), partition_info=PartitionInfo())
    np.testing.assert_array_equal(part, init((8, 4))[2:5])


def test_dtypes_of_tensorflow() -> None:
    """TensorFlow's dtypes know NumPy's; what they are called, and TensorFlow itself, has no part in it."""
    dtype = type("DType", (), {"as_numpy_dtype": np.float16})()
    for init in (tf_contrib.xavier_initializer(seed=1, dtype=dtype), tf_contrib.xavier_initializer(seed=1)):  # fmt: skip
        assert init((3, 4), dtype).dtype == np.float16


def test_in_tensorflow_itself() -> None:
    pytest.importorskip("ml_dtypes")
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs the package tensorflow")
    script = Path(__file__).with_name("tensorflow_1.py")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "as TensorFlow asks\n"
