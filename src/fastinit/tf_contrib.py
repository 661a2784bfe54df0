"""The two initializers of TensorFlow 1's ``tf.contrib.layers``, without TensorFlow.

They return a function ``init(shape, dtype=None, partition_info=None)`` that
makes a NumPy array, as TensorFlow's make a tensor; ``tf.compat.v1.get_variable``
takes it as its `initializer`. Three things differ on purpose: the values (they
come from this library's stream, and are constants of a graph); parts of a
partitioned variable, which have the scale and the values of the whole; and errors,
which are raised with the value filled in, as ValueError for a mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from fastinit.checks import check_choice, check_positive, shown
from fastinit.choices import Correction, DistributionName, Dtype, Mode
from fastinit.fans import normalize_shape
from fastinit.fill import Array, new_array, output_dtype
from fastinit.initializers import VarianceScaling
from fastinit.streams import Seed, seed_value

#: TensorFlow 1's names of modes.
ContribMode = Literal["FAN_IN", "FAN_OUT", "FAN_AVG"]


class TensorFlowDtype(Protocol):
    """A ``tf.DType``."""

    @property
    def as_numpy_dtype(self) -> Any: ...


class Initialize(Protocol):
    """What the functions of this module return."""

    def __call__(
        self,
        shape: int | Sequence[int],
        dtype: Dtype | TensorFlowDtype | None = None,
        partition_info: Any = None,
    ) -> Array: ...


_MODES: dict[ContribMode, Mode] = {"FAN_IN": "fan_in", "FAN_OUT": "fan_out", "FAN_AVG": "fan_avg"}


def variance_scaling_initializer(
    factor: float = 2.0,
    mode: ContribMode = "FAN_IN",
    uniform: bool = False,
    seed: Seed = None,
    dtype: Dtype | TensorFlowDtype = np.float32,
    *,
    correction: Correction = "none",
) -> Initialize:
    """Values that keep the scale of the input variance constant.

    Parameters
    ----------
    factor : float
        Positive factor.
    mode : {"FAN_IN", "FAN_OUT", "FAN_AVG"}
        What n is: the inputs, the outputs or their mean. The last two axes of
        the shape are inputs and outputs, the others the receptive field.
    uniform : bool
        Uniform on [-x, x), x = sqrt(3 * factor / n), instead of a truncated normal.
    seed : int or None
        A seed gives the same values at every call, None other ones.
    dtype : dtype or tf.DType
        A float dtype; "bfloat16" needs ``ml_dtypes``.
    correction : {"none", "tf_contrib", "exact"}
        ``"none"`` truncates Normal(0, sqrt(factor / n)) at two standard deviations,
        as TensorFlow 1 documents. ``"tf_contrib"`` is what it computes,
        Normal(0, sqrt(1.3 * factor / n)). ``"exact"`` gives the values the standard
        deviation sqrt(factor / n).

    Returns
    -------
    function
        ``init(shape, dtype=None, partition_info=None)``, which returns an array. With a
        `partition_info` it is the part at ``partition_info.var_offset`` of a variable of the
        shape ``partition_info.full_shape``.

    Raises
    ------
    ValueError
        Unknown mode or correction, a factor that is not positive, a bad seed.
    TypeError
        A dtype that is not floating point; a `uniform` that is not a bool.

    Notes
    -----
    The values are an array when the initializer is called. In a graph of TensorFlow they are
    a constant of it then: the graph holds them (so it must stay below 2 GB, or the variable be
    partitioned), and without a seed they are drawn when the graph is built, not at each run.
    """
    check_choice("mode", mode, tuple(_MODES))
    factor = check_positive("factor", factor)
    if not isinstance(uniform, (bool, np.bool_)):
        # The second argument of Keras's and TensorFlow 2's initializers is another one.
        raise TypeError(f"uniform must be True or False, got {shown(uniform)}")
    distribution: DistributionName = "uniform" if uniform else "truncated_normal"
    initializer = VarianceScaling(factor, _MODES[mode], distribution, correction=correction)
    default_dtype = output_dtype(_numpy_dtype(dtype))
    fixed = None if seed is None else seed_value(seed)

    def init(
        shape: int | Sequence[int],
        dtype: Dtype | TensorFlowDtype | None = None,
        partition_info: Any = None,
    ) -> Array:
        dims = normalize_shape(getattr(shape, "as_list", lambda: shape)())  # of a tf.TensorShape
        out = new_array(dims, default_dtype if dtype is None else _numpy_dtype(dtype))
        if partition_info is None:
            return initializer.fill(out, seed=fixed)
        whole, offset = tuple(partition_info.full_shape), partition_info.var_offset
        index = tuple(slice(i, i + n) for i, n in zip(offset, dims, strict=True))
        return initializer.fill(out, seed=fixed, shape=whole, index=index)

    return init


def _numpy_dtype(dtype: Dtype | TensorFlowDtype) -> Any:
    """A ``tf.DType`` as a NumPy dtype, other dtypes as they are."""
    return getattr(dtype, "as_numpy_dtype", dtype)


def xavier_initializer(
    uniform: bool = True,
    seed: Seed = None,
    dtype: Dtype | TensorFlowDtype = np.float32,
    *,
    correction: Correction = "none",
) -> Initialize:
    """Glorot and Bengio's initializer.

    Parameters
    ----------
    uniform : bool
        Uniform on +-sqrt(6 / (in + out)), or else a truncated normal of standard
        deviation sqrt(2 / (in + out)) before truncation.
    seed, dtype, correction
        As for `variance_scaling_initializer`.

    Returns
    -------
    function
        As `variance_scaling_initializer`.
    """
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype, correction=correction)
