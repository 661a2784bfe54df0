"""More distributions, which NumPy computes from the kernel's draws: log-uniform, exponential, integers, and matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit import _kernel
from fastinit.checks import check_int, check_positive, check_real, shown
from fastinit.computed import Evaluation, Ranges, take
from fastinit.fans import normalize_shape
from fastinit.fill import c_strides, merge
from fastinit.initializers import Computed, Distribution, Normal, Uniform

_UNIT = Uniform(0.0, 1.0)
_STANDARD = Normal(0.0, 1.0)


def _require(init: Any, *names: str) -> None:
    """Refuse arguments that were left out: they have no usual values."""
    missing = [name for name in names if getattr(init, name) is None]
    if missing:
        raise TypeError(f"{type(init).__name__} needs {' and '.join(names)}, got no {missing[0]}")


@dataclass(frozen=True, slots=True)
class LogUniform(Computed):
    """The exponential of a uniform: its logarithm is uniform on [log(low), log(high)].

    Parameters
    ----------
    low, high : float
        Positive and finite, ``low < high``. The values are ``exp(log(low) + (log(high) - log(low)) * u)``,
        with u a multiple of 2**-24 (float64: 2**-53) in [0, 1), in float64 and within [low, high],
        rounded to the dtype.

    Examples
    --------
    >>> import fastinit as fi
    >>> step = fi.LogUniform(0.001, 0.1)((1000,), seed=0)
    >>> bool(((step >= 0.001) & (step <= 0.1)).all())
    True
    """

    low: float = None  # type: ignore[assignment]
    high: float = None  # type: ignore[assignment]

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        _require(self, "low", "high")
        object.__setattr__(self, "low", check_positive("low", self.low))
        object.__setattr__(self, "high", check_positive("high", self.high))
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low!r}, high={self.high!r}")

    def reach(self) -> float:
        return self.high

    def draw(
        self, first: int, steps: Sequence[int], counts: Sequence[int], key: int, real: str
    ) -> NDArray[Any]:
        low, high = math.log(self.low), math.log(self.high)
        u = _UNIT.draw(first, steps, counts, key, real)
        values: NDArray[np.float64] = np.exp(low + (high - low) * u)
        return np.clip(values, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Exponential(Computed):
    """Exponential: density ``exp(-x / scale) / scale`` for x >= 0.

    Parameters
    ----------
    scale : float
        Positive and finite: the mean, and the standard deviation. PyTorch's ``lambd`` is its inverse.
        The values are ``-scale * log(u + 2**-25)`` with u a multiple of 2**-24 in [0, 1)
        (float64: 2**-54 and 2**-53), in float64, rounded to the dtype. They reach 17.3 `scale`
        (float64: 37.4).
    """

    scale: float = 1.0

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_positive("scale", self.scale))

    def reach(self) -> float:
        return 37.5 * self.scale  # that of float64

    def draw(
        self, first: int, steps: Sequence[int], counts: Sequence[int], key: int, real: str
    ) -> NDArray[Any]:
        u = _UNIT.draw(first, steps, counts, key, real)
        values: NDArray[np.float64] = np.log(u + 2.0 ** (-25 if real == "float32" else -54))
        return np.abs(values) * self.scale


@dataclass(frozen=True, slots=True)
class RandomIntegers(Computed):
    """Integers, each of [low, high) as likely as any other; for integer dtypes, bool and floats.

    Parameters
    ----------
    low, high : int
        ``low < high``, with all values in the range of int64 or of uint64. The value is
        ``low + (n * (high - low) >> 64)`` with n a number of 64 bits from the stream, so
        probabilities differ from ``1 / (high - low)`` by less than 2**-64, and not at all where
        ``high - low`` is a power of 2. Floats are rounded to the dtype.

    Examples
    --------
    >>> import fastinit as fi
    >>> model = fi.Model([fi.Tensor("codes", (1000,), fi.RandomIntegers(-128, 128), "int8")])
    >>> model.make("codes", seed=0).dtype.name
    'int8'
    """

    low: int = None  # type: ignore[assignment]
    high: int = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        _require(self, "low", "high")
        object.__setattr__(self, "low", check_int("low", self.low, -(2**63), 2**64 - 1))
        object.__setattr__(self, "high", check_int("high", self.high, -(2**63), 2**64))
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}")
        if self.low < 0 and self.high > 2**63:
            raise ValueError(
                f"values must be in the range of int64 or of uint64, got low={self.low}, high={self.high}"
            )

    def resolve(self, shape: Sequence[int]) -> Distribution:
        if math.prod(shape) > 2**63:
            raise ValueError(f"shape must have at most 2**63 elements, got {shown(tuple(shape))}")
        return self

    def limits(self) -> tuple[int, int]:
        return self.low, self.high - 1

    def reach(self) -> float:
        return float(max(abs(self.low), abs(self.high - 1)))

    def draw(
        self, first: int, steps: Sequence[int], counts: Sequence[int], key: int, real: str
    ) -> NDArray[Any]:
        n = _numbers(first, steps, counts, key)
        count = self.high - self.low
        if count < 2**64:
            n = _high_half(n, count)
        values = n + np.uint64(self.low % 2**64)
        return values.view(np.int64) if self.low < 0 else values


def _numbers(first: int, steps: Sequence[int], counts: Sequence[int], key: int) -> NDArray[Any]:
    """The number of 64 bits of each element: of raw words 2 e and 2 e + 1, the latter in the upper half."""
    out = np.empty(counts, np.uint64)
    if not out.size:
        return out
    dims = merge(counts, steps, c_strides(tuple(counts))) or [(1, 1, 1)]
    *outer, (length, step, _) = dims
    rows = out.reshape(-1, length)
    for row, index in enumerate(np.ndindex(*(count for count, _, _ in outer))):
        begin = first + sum(i * s for i, (_, s, _) in zip(index, outer, strict=True))
        if step in (1, -1):
            lowest = min(begin, begin + step * (length - 1))
            rows[row] = _pairs(key, lowest, length)[::step]
        else:
            for i in range(length):
                rows[row, i] = _pairs(key, begin + i * step, 1)[0]
    return out


def _pairs(key: int, first: int, n: int) -> NDArray[Any]:
    words = np.empty(2 * n, np.uint32)
    _kernel.random_words(key, 2 * first, words)
    return words[0::2].astype(np.uint64) | words[1::2].astype(np.uint64) << 32


def _high_half(n: NDArray[Any], count: int) -> NDArray[Any]:
    """``n * count >> 64``, in halves of 32 bits."""
    mask, shift = np.uint64(2**32 - 1), np.uint64(32)
    low, high = np.uint64(count % 2**32), np.uint64(count >> 32)
    n_low, n_high = n & mask, n >> shift
    first = (n_low * low >> shift) + n_high * low
    second = n_low * high + (first & mask)
    result: NDArray[Any] = n_high * high + (first >> shift) + (second >> shift)
    return result


@dataclass(frozen=True, slots=True)
class Orthogonal(Computed):
    """A matrix of orthonormal rows or columns, whichever are fewer, times `gain`.

    Parameters
    ----------
    gain : float
        Finite.

    Raises
    ------
    ValueError
        A shape of fewer than two axes.

    Notes
    -----
    As ``torch.nn.init.orthogonal_``: axes after the first count as one, and the matrix is the
    orthogonal factor of one of normals of the stream, uniformly distributed (Saxe, McClelland,
    Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2014). The factor is computed by NumPy's LAPACK, whose last bits depend on the
    library and its threads. It needs the whole tensor: `shard`, a sharded tensor and the chunks of
    a file make the whole matrix once, in float64, and take their part.
    """

    gain: float = 1.0

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", _finite("gain", self.gain))

    def resolve(self, shape: Sequence[int]) -> Distribution:
        rows, columns = matrix_sizes(shape)
        return OrthogonalMatrix(self.gain, rows, columns)

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        return self.resolve(shape).compute(shape, ranges, evaluation)


@dataclass(frozen=True, slots=True)
class OrthogonalMatrix(Computed):
    """An `Orthogonal` of a shape that is known."""

    gain: float
    rows: int
    columns: int

    def reach(self) -> float:
        return abs(self.gain)

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        if not self.rows or not self.columns:
            return np.empty([len(r) for r in ranges])
        one = OrthogonalMatrix(1.0, self.rows, self.columns)  # those of all gains
        whole = evaluation.whole(one, shape, lambda: self._factor(evaluation))
        return take(whole.reshape(shape), shape, ranges) * self.gain

    def _factor(self, evaluation: Evaluation) -> NDArray[np.float64]:
        rows, columns = self.rows, self.columns
        normals = _STANDARD.draw(0, [1], [rows * columns], evaluation.key(1), evaluation.real)
        matrix = normals.reshape(rows, columns)
        q, r = np.linalg.qr(matrix.T if rows < columns else matrix)
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # which makes the distribution uniform
        return np.ascontiguousarray(q.T if rows < columns else q)


def matrix_sizes(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a tensor whose axes after the first count as one."""
    dims = normalize_shape(shape)
    if len(dims) < 2:
        raise ValueError(f"shape must have at least two axes to be orthogonal, got {dims}")
    return dims[0], math.prod(dims[1:])


@dataclass(frozen=True, slots=True)
class Identity(Computed):
    """The identity matrix times `gain`: ones on the diagonal, also of matrices that are not square.

    Parameters
    ----------
    gain : float
        Finite.

    Raises
    ------
    ValueError
        A shape that has not two axes.
    """

    gain: float = 1.0

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", _finite("gain", self.gain))

    def resolve(self, shape: Sequence[int]) -> Distribution:
        if len(shape) != 2:
            raise ValueError(
                f"shape must have two axes to be an identity matrix, got {shown(shape)}"
            )
        return self

    def limits(self) -> tuple[int, int] | None:
        if not self.gain.is_integer():
            return None
        return min(0, int(self.gain)), max(0, int(self.gain))

    def reach(self) -> float:
        return abs(self.gain)

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        self.resolve(shape)
        rows, columns = (np.array(r) for r in ranges)
        values: NDArray[np.float64] = (rows[:, np.newaxis] == columns) * self.gain
        return values


@dataclass(frozen=True, slots=True)
class Dirac(Computed):
    """A convolution that keeps its inputs: output channel d of each group is input channel d.

    Parameters
    ----------
    groups : int
        At least 1; output channels are cut into so many equal groups.

    Raises
    ------
    ValueError
        A shape that has not three to five axes, or output channels that `groups` does not divide.

    Notes
    -----
    As ``torch.nn.init.dirac_``, with PyTorch's axes: outputs, inputs, then spatial ones. The ones
    are at the middle of the kernel, index ``size // 2``.
    """

    groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", check_int("groups", self.groups, 1))

    def resolve(self, shape: Sequence[int]) -> Distribution:
        if len(shape) not in (3, 4, 5):
            raise ValueError(f"shape must have three to five axes for dirac, got {shown(shape)}")
        if shape[0] % self.groups:
            raise ValueError(
                f"groups must divide the {shape[0]} output channels of shape {shown(shape)}, "
                f"got {self.groups}"
            )
        return self

    def limits(self) -> tuple[int, int]:
        return 0, 1

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        self.resolve(shape)
        outputs, inputs, *spatial = np.ix_(*(np.array(r, np.int64) for r in ranges))
        is_one = outputs % max(1, shape[0] // self.groups) == inputs
        for where, size in zip(spatial, shape[2:], strict=True):
            is_one = is_one & (where == size // 2)
        return np.asarray(is_one, np.float64)


def _finite(name: str, value: Any) -> float:
    number = check_real(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number!r}")
    return number
