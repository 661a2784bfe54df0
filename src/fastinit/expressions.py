"""Expressions: distributions made of draws, known values and arithmetic, as a recorded model asks for them."""

from __future__ import annotations

import hashlib
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit.checks import check_choice, check_int, shown
from fastinit.computed import Evaluation, Ranges, take
from fastinit.dtypes import constant_value, stored_dtype
from fastinit.fill import Array, c_strides
from fastinit.folding import fold
from fastinit.initializers import Computed, Constant, Distribution, positions
from fastinit.parts import (
    Cast,
    Norm,
    Parts,
    check_broadcast,
    check_dtype,
    check_operand,
    limits_of,
)
from fastinit.rounding import decode

__all__ = ["Cast", "Computed", "Draw", "Known", "Norm", "Op", "Parts", "apply_op"]

#: The operations of one operand, and those of two.
UNARY: dict[str, Any] = {
    "neg": np.negative,
    "abs": np.abs,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "reciprocal": np.reciprocal,
}
BINARY: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "less": np.less,
}
#: Those whose result is an integer where all operands are: extremes are at extremes, but for abs.
_OF_INTEGERS: dict[str, Callable[..., int]] = {
    "neg": operator.neg,
    "abs": abs,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "minimum": min,
    "maximum": max,
}
#: Up to which float64 has every integer.
MOST_EXACT = 2**53
#: Operations whose loops NumPy chooses by the layout of memory: they get contiguous operands, whatever the box.
_CALLED = {"exp", "expm1", "log", "log1p", "pow"}


@dataclass(frozen=True, slots=True)
class Draw(Computed):
    """The values of a distribution at positions of one's own in the stream, or from another stream of the tensor.

    Parameters
    ----------
    of : Distribution
        One whose elements do not depend on each other, such as `Normal`, or one of whole tensors,
        such as `Orthogonal`, which takes no `first` and no `steps`.
    number : int
        Which draw of the tensor it is: 1 takes the stream of the tensor's name, k the one that is
        named ``NAME#k``.
    first : int
        The position in the stream of the first element.
    steps : tuple of int, optional
        The step in the stream along each axis: element (i, j, ...) is that at ``first + i *
        steps[0] + j * steps[1] + ...``. By default elements lie in C order.
    stream : str, optional
        The name of another tensor, whose draw it is: for copies of it, and for what is computed from it.
    """

    of: Distribution
    number: int = 1
    first: int = 0
    steps: tuple[int, ...] | None = None
    stream: str | None = None

    def __post_init__(self) -> None:
        check_operand("of", self.of)
        if not is_drawn(self.of) and (self.first or self.steps is not None):
            raise TypeError(
                f"first and steps need a distribution whose elements are drawn one by one, got {shown(self.of)}"
            )
        object.__setattr__(self, "number", check_int("number", self.number, 1))
        object.__setattr__(self, "first", check_int("first", self.first, 0, 2**64 - 1))
        if self.steps is not None:
            steps = tuple(check_int("steps", step, -(2**63), 2**63 - 1) for step in self.steps)
            object.__setattr__(self, "steps", steps)
        if self.stream is not None and not isinstance(self.stream, str):
            raise TypeError(f"stream must be a text, got {shown(self.stream)}")

    def resolve(self, shape: Sequence[int]) -> Distribution:
        strides = c_strides(tuple(shape)) if self.steps is None else self.steps
        if len(strides) != len(shape):
            raise ValueError(f"steps must be {len(shape)} for shape {shape}, got {self.steps}")
        if math.prod(shape):
            reach = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
            lowest, highest = (self.first + sum(f(0, x) for x in reach) for f in (min, max))
            if lowest < 0 or highest >= 2**64:
                raise ValueError(
                    "first and steps must select positions in [0, 2**64), got some in "
                    f"[{lowest}, {highest}] for shape {shape}"
                )
        is_plain = self.number == 1 and self.first == 0 and self.stream is None
        if is_plain and list(strides) == c_strides(tuple(shape)):
            return self.of.resolve(shape)
        return self

    def check_dtype(self, dtype: str) -> None:
        check_dtype(self.of, dtype)

    def limits(self) -> tuple[int, int] | None:
        return limits_of(self.of)

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        if not is_drawn(self.of):
            of = self.of.resolve(shape)
            return evaluation.of(self.number, self.stream).values(of, shape, ranges)
        first, steps = positions(ranges, c_strides(shape) if self.steps is None else self.steps)
        key = evaluation.key(self.number, self.stream)
        counts = [len(r) for r in ranges]
        return self.of.draw(self.first + first, steps, counts, key, evaluation.real)

    def paint(
        self,
        out: Array,
        shape: tuple[int, ...],
        ranges: Ranges,
        evaluation: Evaluation,
        dtype: str,
    ) -> None:
        if isinstance(self.of, Computed):
            Computed.paint(self, out, shape, ranges, evaluation, dtype)
            return
        first, steps = positions(ranges, c_strides(shape) if self.steps is None else self.steps)
        key = evaluation.key(self.number, self.stream)
        self.of.paint_stream(out, self.first + first, steps, key, dtype)


def is_drawn(distribution: Distribution) -> bool:
    """Whether the elements of a distribution are drawn one by one."""
    cls: Any = type(distribution)
    return not isinstance(distribution, Computed) or cls.draw is not Distribution.draw


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Known(Computed):
    """Values that are known.

    Parameters
    ----------
    values : numpy.ndarray
        Of a dtype that safetensors has, and of a shape that broadcasts to the tensor's. They are copied.
    dtype : str, optional
        Of values that NumPy holds as unsigned integers of their bits, such as "bfloat16".
    """

    values: NDArray[Any]
    dtype: str = ""

    def __post_init__(self) -> None:
        values = np.array(self.values, order="C")
        dtype = stored_dtype(self.dtype or values.dtype.name)
        if dtype.bits < 8:
            raise ValueError(f"dtype must be of whole bytes, got {dtype.name}")
        is_own = dtype.npy is not None and not dtype.npy.startswith("|V")
        if values.dtype.name == dtype.name and is_own:
            values = values.astype(dtype.name)  # in native byte order
        elif values.dtype.name in (dtype.name, f"uint{dtype.bits}"):
            values = values.view(dtype.name if is_own else f"u{dtype.bits // 8}")
        else:
            raise ValueError(f"values must be of {dtype.name} or its bits, got {values.dtype.name}")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "dtype", dtype.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        few = self.values.size <= 16
        values = shown(self.values.tolist()) if few else f"digest {self._identity()[2].hex()[:16]}"
        return f"Known({values}, dtype={self.dtype!r}, shape={self.values.shape})"

    def _identity(self) -> tuple[Any, ...]:
        data = hashlib.blake2b(self.values.data if self.values.size else b"").digest()
        return self.dtype, self.values.shape, data

    @property
    def numbers(self) -> NDArray[Any]:
        """The values as float64, complex64, integers or bools."""
        return decode(self.values, self.dtype)

    def check_dtype(self, dtype: str) -> None:
        if dtype != self.dtype:
            Computed.check_dtype(self, dtype)

    def limits(self) -> tuple[int, int] | None:
        if self.values.dtype.kind not in "iub" or self.dtype.startswith(("float", "bfloat")):
            return None
        if not self.values.size:
            return 0, 0
        return int(self.values.min()), int(self.values.max())

    def resolve(self, shape: Sequence[int]) -> Distribution:
        check_broadcast("values", self.values.shape, shape)
        return self

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        return decode(take(self.values, shape, ranges), self.dtype)

    def paint(
        self,
        out: Array,
        shape: tuple[int, ...],
        ranges: Ranges,
        evaluation: Evaluation,
        dtype: str,
    ) -> None:
        if dtype == self.dtype:  # every bit, those of NaN too
            out.view(self.values.dtype)[...] = take(self.values, shape, ranges)
        else:
            Computed.paint(self, out, shape, ranges, evaluation, dtype)


@dataclass(frozen=True, slots=True)
class Op(Computed):
    """Arithmetic, element by element, in float64.

    Parameters
    ----------
    name : str
        Of one operand: neg, abs, exp, expm1, log, log1p, sqrt, reciprocal. Of two: add, sub, mul, div,
        pow, minimum, maximum, and less, which is 1 where the first is below the second, and 0 elsewhere.
    operands : tuple of Distribution or float
    """

    name: str
    operands: tuple[Distribution | float, ...]

    def __post_init__(self) -> None:
        check_choice("name", self.name, (*UNARY, *BINARY))
        object.__setattr__(self, "operands", tuple(map(_operand, self.operands)))
        count = 1 if self.name in UNARY else 2
        if len(self.operands) != count:
            raise ValueError(f"{self.name} has {count} operands, got {len(self.operands)}")

    def resolve(self, shape: Sequence[int]) -> Distribution:
        for operand in self.operands:
            if isinstance(operand, Distribution):
                operand.resolve(shape)
        return self

    def limits(self) -> tuple[int, int] | None:
        if self.name == "less":
            return 0, 1
        given = [limits_of(x) for x in self.operands]
        if self.name not in _OF_INTEGERS or None in given:
            return None
        ends = [x for pair in given if pair for x in pair]
        made = [_OF_INTEGERS[self.name](*some) for some in itertools.product(*filter(None, given))]
        if self.name == "abs" and min(ends) < 0 < max(ends):
            made.append(0)
        if max(map(abs, ends + made)) > MOST_EXACT:
            return None
        return min(made), max(made)

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        values = [
            np.float64(operand)
            if isinstance(operand, float)
            else evaluation.values(operand, shape, ranges).astype(np.float64, copy=False)
            for operand in self.operands
        ]
        if self.name in _CALLED:
            sizes = np.broadcast_shapes(*(value.shape for value in values))
            values = [np.ascontiguousarray(np.broadcast_to(value, sizes)) for value in values]
        result = (UNARY | BINARY)[self.name](*values)
        return np.asarray(result, np.float64)


def _operand(value: Any) -> Distribution | float:
    if isinstance(value, Distribution):
        return value
    if isinstance(value, (int, float, np.integer, np.floating)):
        return float(value)
    raise TypeError(f"operands must be distributions or numbers, got {shown(value)}")


def apply_op(name: str, *operands: Distribution | float) -> Distribution:
    """The result of arithmetic on distributions and numbers, as plain a distribution as it can be.

    Parameters
    ----------
    name : str
        An operation of `Op`; "clamp" with an operand, a least and a largest value, either of which may
        be infinite; or "erfinv" of a `Uniform` within [-1, 1], which has no other form.
    *operands : Distribution or float

    Returns
    -------
    Distribution
        A constant for constants; for ``a * X + b`` of a normal, truncated normal or uniform X another one
        such, for example; otherwise an `Op`. The fold has the same distribution and, of draws, values of
        its own, so arithmetic that is folded once must be folded everywhere.

    Raises
    ------
    ValueError, TypeError
        An unknown operation; erfinv of something else; an operand that is none.

    Examples
    --------
    >>> import fastinit as fi
    >>> apply_op("add", apply_op("mul", fi.Normal(0.0, 1.0), 0.02), 1.0)
    Normal(mean=1.0, stddev=0.02)
    """
    if name == "clamp":
        x, low, high = operands
        return apply_op("minimum", apply_op("maximum", x, low), high)
    given = tuple(map(_operand, operands))
    if name in UNARY or name in BINARY:
        made: Distribution = Op(name, given)
        numbers = [_number(x) for x in given]
        if None not in numbers:
            with np.errstate(all="ignore"):
                value = float((UNARY | BINARY)[name](*map(np.float64, numbers)))
            return Constant(value) if math.isfinite(value) else Known(np.array(value))
    draws = [x for x in given if isinstance(x, Draw)]
    plain = [x.of if isinstance(x, Draw) else x for x in given]
    folded = fold(name, list(map(_plain, plain)))
    if folded is not None:
        return replace(draws[0], of=folded) if draws else folded
    if name not in UNARY and name not in BINARY:
        raise ValueError(f"{name} of {shown(operands)} has no distribution that is known here")
    return made


def _plain(x: Distribution | float) -> Distribution | float:
    """The number of a constant; others as they are."""
    number = _number(x)
    return x if number is None else number


def _number(x: Distribution | float) -> float | None:
    """A number, or the value of a constant."""
    return x if isinstance(x, float) else constant_value(x)
