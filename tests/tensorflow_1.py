"""The initializers of `fastinit.tf_contrib` in TensorFlow 1's own interface: run by test_tf_contrib.py in a process of its own."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import fastinit as fi

v1 = tf.compat.v1


def made(initializer: object, dtype: object, shape: tuple[int, ...], parts: int = 1) -> np.ndarray:
    """What a session finds in a variable."""
    with tf.Graph().as_default():
        partitioner = v1.fixed_size_partitioner(parts) if parts > 1 else None
        variable = v1.get_variable(
            "w", shape, dtype, initializer=initializer, partitioner=partitioner
        )
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            return session.run(v1.convert_to_tensor(variable))


def main() -> None:
    init = fi.tf_contrib.variance_scaling_initializer(factor=2.0, mode="FAN_IN", seed=1)
    he = fi.VarianceScaling(2.0, "fan_in", correction="none")
    names = {tf.float32: "float32", tf.float64: "float64", tf.float16: "float16", tf.bfloat16: "bfloat16"}  # fmt: skip
    for dtype, name in names.items():
        want = he((6, 4), seed=1, dtype=name)
        for got in (init((6, 4), dtype), init(tf.TensorShape([6, 4]), dtype=dtype)):
            assert got.dtype == np.dtype(getattr(ml_dtypes, name, name))
            assert got.tobytes() == want.tobytes()
        default = fi.tf_contrib.variance_scaling_initializer(seed=1, dtype=dtype)
        assert default((6, 4)).tobytes() == want.tobytes()
        assert made(init, dtype, (6, 4)).tobytes() == want.tobytes()
        assert (
            made(init, dtype, (6, 4), parts=3).tobytes() == want.tobytes()
        )  # the fans of the whole
    fresh = made(fi.tf_contrib.xavier_initializer(), tf.float32, (64, 64), parts=2)
    assert not np.array_equal(fresh[:32], fresh[32:])
    for dtype in (tf.int32, tf.complex64):
        for call in (lambda d=dtype: init((6, 4), d), lambda d=dtype: fi.tf_contrib.xavier_initializer(dtype=d)):  # fmt: skip
            with pytest.raises(TypeError, match="dtype must be float32"):
                call()
    print("as TensorFlow asks")


if __name__ == "__main__":
    main()
