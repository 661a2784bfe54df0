"""Mean, standard deviation and extremes of tensors, while their bytes are in a cache."""

from __future__ import annotations

import math
import threading

import numpy as np

from fastinit import _kernel
from fastinit.fill import Array, dtype_size
from fastinit.initializers import Distribution
from fastinit.theory import has_theory, theory

#: Scales and centers of the dtypes whose numbers the kernel takes as they are: it reads those of float8_e4m3fn as float16.
UNSCALED = {"float8_e4m3fn": (2.0**-8, 0.0), "float8_e5m2": (1.0, 0.0)}
#: Largest exponent of 2 of a finite number, but for one.
LARGEST_EXPONENT = {"float64": 1022}


class Moments:
    """Mean, standard deviation, minimum and maximum of a tensor, from chunks of it in any order.

    Parameters
    ----------
    dtype : str
        That of its elements.
    expected : Distribution
        About what they should be: sums are of distances from its mean.

    Notes
    -----
    The mean is right to six digits of the standard deviation, which is that of the population and
    has six digits itself. Minimum and maximum are exact.
    """

    def __init__(self, dtype: str, expected: Distribution) -> None:
        self._dtype, self._lock = dtype, threading.Lock()
        self._scale, self._center = UNSCALED.get(dtype) or _scale_and_center(dtype, expected)
        self._sums = np.array([0.0, 0.0, math.inf, -math.inf])
        self.size = 0

    def add(self, chunk: Array) -> None:
        """Add the elements in a chunk of bytes; several threads may do so at once."""
        sums = np.array([0.0, 0.0, math.inf, -math.inf])
        _kernel.add_moments(self._dtype, chunk, self._scale, self._center, sums)
        with self._lock:
            self.size += len(chunk) // dtype_size(self._dtype)
            self._sums[:2] += sums[:2]
            self._sums[2] = min(self._sums[2], sums[2])
            self._sums[3] = max(self._sums[3], sums[3])

    @property
    def mean(self) -> float:
        """NaN without elements."""
        return self._per_element(0) / self._scale + self._center / self._scale

    @property
    def std(self) -> float:
        """Standard deviation of the population, NaN without elements."""
        if not self.min < self.max:
            return 0.0 if self.size else math.nan
        distance = self._per_element(0)
        return math.sqrt(max(0.0, self._per_element(1) - distance * distance)) / self._scale

    @property
    def min(self) -> float:
        """The smallest element; infinity without elements."""
        return float(self._sums[2]) / self._scale

    @property
    def max(self) -> float:
        """The largest element; minus infinity without elements."""
        return float(self._sums[3]) / self._scale

    def _per_element(self, i: int) -> float:
        return float(self._sums[i]) / self.size if self.size else math.nan


def _scale_and_center(dtype: str, expected: Distribution) -> tuple[float, float]:
    """A power of 2 that makes elements about 1 in size, so that no square overflows, and the mean times it."""
    if not has_theory(expected):
        return 1.0, 0.0
    known = theory(expected, 1)
    size = max(abs(known.mean), known.std)
    most = LARGEST_EXPONENT.get(dtype, 126)
    scale = 1.0
    if 0 < size < math.inf and dtype != "float16":
        scale = 2.0 ** min(max(-math.frexp(size)[1], -most), most)
    center = known.mean * scale if math.isfinite(known.mean) else 0.0
    return scale, float(center if dtype == "float64" else np.float32(center))
