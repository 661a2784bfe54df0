"""The initializers: small frozen descriptions of distributions. No arrays are touched here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache, partial, wraps
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastinit import _kernel
from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import check_bounds, check_choice, check_positive, check_real, shown
from fastinit.choices import (
    CORRECTIONS,
    DISTRIBUTIONS,
    MODES,
    AxesName,
    Correction,
    DistributionName,
    Dtype,
    Mode,
)
from fastinit.computed import Evaluation, Prepared, Ranges
from fastinit.fans import (
    NAMED_AXES,
    TRUNCATED_STD_2,
    Axes,
    check_axes_name,
    compute_fans,
    normalize_axes,
    normalize_shape,
)
from fastinit.fill import (
    Array,
    Index,
    c_strides,
    check_output,
    fill_array,
    fill_strided,
    new_array,
    select,
)
from fastinit.rounding import decode, encode
from fastinit.streams import Seed, Stream


class Initializer:
    """What all initializers can do: make an array, fill one, or make a shard of one."""

    __slots__ = ()

    def resolve(self, shape: Sequence[int]) -> Distribution:
        """The plain distribution of the elements of a tensor of `shape`."""
        raise NotImplementedError

    def with_default_axes(self, axes: AxesName) -> Initializer:
        """This initializer for a tensor whose fans lie by `axes`, unless it names axes of its own."""
        return self

    def __call__(
        self,
        shape: int | Sequence[int],
        *,
        seed: Seed = None,
        stream: Stream = "",
        dtype: Dtype = "float32",
        threads: int | None = None,
    ) -> Array:
        """Make a new array.

        Parameters
        ----------
        shape : int or sequence of int
            Shape of the tensor; () and zero sizes are allowed.
        seed : int, numpy.random.SeedSequence, numpy.random.Generator or None
            An integer in [0, 2**64), NumPy's included. A `SeedSequence` gives its
            first 64-bit state word, a `Generator` draws one (and advances). None
            takes fresh entropy from the operating system.
        stream : str or int
            Name of the tensor: tensors of one seed and different streams are
            independent. A non-negative integer is named by its decimal digits.
        dtype : dtype
            float32, float64, float16; "bfloat16", "float8_e4m3fn" and "float8_e5m2" need
            ``ml_dtypes``. `RandomIntegers` and others of whole numbers also take integers and bool.
        threads : int, optional
            At most so many threads, `get_num_threads()` by default. The values
            do not depend on it.

        Returns
        -------
        numpy.ndarray
            A C-contiguous array.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named with what was expected and what came; also
            values that would overflow the dtype, and bounds between which the
            dtype has no value.

        Notes
        -----
        Element i (flat, in C order) is a pure function of seed, stream,
        distribution, dtype and i: see ``fastinit.h``. The same holds for
        `fill` and `shard`, for any part, memory layout and number of threads.
        """
        out = new_array(normalize_shape(shape), dtype, isinstance(self, Computed))
        return self.fill(out, seed=seed, stream=stream, threads=threads)

    def fill(
        self,
        out: Array,
        *,
        seed: Seed = None,
        stream: Stream = "",
        shape: int | Sequence[int] | None = None,
        index: Index | None = None,
        threads: int | None = None,
    ) -> Array:
        """Fill an array in place.

        Parameters
        ----------
        out : numpy.ndarray
            A writable array of a float dtype with any strides: slices, memory maps, or
            ``z.real`` and ``z.imag`` of a complex array. Of a masked array that has masked
            elements, pass ``out.data``. Nothing is written unless all arguments are valid.
        seed, stream, threads
            As for calling the initializer.
        shape : int or sequence of int, optional
            Shape of the whole tensor, from which the fans are taken; ``out.shape``
            by default.
        index : int, slice, Ellipsis or tuple of these, optional
            Which part of the whole tensor `out` is, as in ``whole[index]``. Needs
            `shape`. Slices may have any step, and must not reach beyond the shape.

        Returns
        -------
        numpy.ndarray
            `out` itself.

        Raises
        ------
        ValueError, TypeError
            As for calling the initializer; also an `out` that is read-only, has
            masked elements or elements that share memory, or is not of the shape of the part.
        """
        if shape is None and index is not None:
            raise ValueError("index needs shape, the shape of the whole tensor; got shape=None")
        dims = getattr(out, "shape", ()) if shape is None else normalize_shape(shape)
        dtype = check_output(out, isinstance(self, Computed))
        fill_array(out, dtype, partial(prepare, self, dims), seed, stream, dims, index, threads)
        return out

    def shard(
        self,
        shape: int | Sequence[int],
        index: Index,
        *,
        seed: Seed,
        stream: Stream = "",
        dtype: Dtype = "float32",
        threads: int | None = None,
    ) -> Array:
        """Make ``whole[index]`` of a tensor of `shape` without making the whole.

        Parameters and errors are those of calling the initializer and of `fill`, but
        that a seed must be given: parts of a tensor of fresh entropy do not fit together.
        Memory is that of the part, and time too where its runs along the last axis
        are long. Shorter ones cost more per element: 256 columns up to 2.3 times as
        much as in a dense fill, 16 columns 6 to 12 times; one column, or any step
        other than 1, 5 to 15 times.

        Returns
        -------
        numpy.ndarray
            A C-contiguous array, equal to the bit to that part of the whole.
        """
        if seed is None:
            raise TypeError("seed must be given to make a shard, got None")
        dims = normalize_shape(shape)
        _, counts, _, kept = select(dims, index)
        sizes = tuple(counts[axis] for axis in kept)
        out = new_array(sizes, dtype, isinstance(self, Computed))
        return self.fill(out, seed=seed, stream=stream, shape=dims, index=index, threads=threads)


@_kernel.in_default_arithmetic
@lru_cache(maxsize=1024)
def prepare(
    initializer: Initializer, shape: tuple[int, ...], dtype: str
) -> _kernel.Distribution | Prepared:
    """The prepared distribution; cached because it costs more than a small fill."""
    return initializer.resolve(shape).prepare(dtype)


class Distribution(Initializer):
    """An initializer that does not depend on the shape."""

    __slots__ = ()

    def resolve(self, shape: Sequence[int]) -> Distribution:
        return self

    def prepare(self, dtype: str) -> _kernel.Distribution | Prepared:
        """The form of it for one dtype that fills: the kernel's, or that of an expression."""
        raise NotImplementedError

    def draw(
        self, first: int, steps: Sequence[int], counts: Sequence[int], key: int, real: str
    ) -> NDArray[Any]:
        """Elements of a stream: from `first` on, `steps` apart along each axis of an array of the sizes `counts`."""
        out = np.empty(counts, real)
        prepared = prepare(self, (), real)
        assert isinstance(prepared, _kernel.Distribution)
        fill_strided(out, prepared, key, first, steps, 1)
        return out.astype(np.float64)

    def compute(
        self, shape: tuple[int, ...], ranges: Ranges, evaluation: Evaluation
    ) -> NDArray[Any]:
        """The values of the elements of a tensor of `shape` that `ranges` select, one range for each axis.

        They are float64, or integers where all values are, and broadcast to the sizes of the ranges.
        """
        first, steps = positions(ranges, c_strides(shape))
        counts = [len(r) for r in ranges]
        return self.draw(first, steps, counts, evaluation.key(1), evaluation.real)

    def paint(
        self,
        out: Array,
        shape: tuple[int, ...],
        ranges: Ranges,
        evaluation: Evaluation,
        dtype: str,
    ) -> None:
        """Write these values to `out`, whose items are taken to be of `dtype`: those of the kernel for that dtype."""
        self.paint_stream(out, *positions(ranges, c_strides(shape)), evaluation.key(1), dtype)

    def paint_stream(
        self, out: Array, first: int, steps: Sequence[int], key: int, dtype: str
    ) -> None:
        """Write elements of a stream to `out`: from `first` on, `steps` apart along each axis."""
        prepared = prepare(self, (), dtype)
        assert isinstance(prepared, _kernel.Distribution)
        fill_strided(out, prepared, key, first, steps, 1)


class Computed(Distribution):
    """A distribution whose values NumPy computes from the kernel's draws, in float64, and rounds once.

    Its values are a pure function of seed, stream and position as all are; where NumPy calls the
    machine's own functions (exp and log, say), the last bit may differ between machines.
    """

    __slots__ = ()

    def prepare(self, dtype: str) -> Prepared:
        self.check_dtype(dtype)
        return Prepared(self, dtype)

    def check_dtype(self, dtype: str) -> None:
        """Refuse a dtype that cannot have the values: any float will do, an integer dtype takes integers in its range."""
        if dtype in DTYPE_SIZES:
            reach = self.reach()
            if reach is not None and not np.isfinite(decode(encode(np.array(reach), dtype), dtype)):
                raise ValueError(
                    f"values could exceed the largest finite number of the dtype: {shown(self)} in {dtype}"
                )
            return
        limits, possible = self.limits(), integer_limits(dtype)
        if possible is None or limits is None:
            raise ValueError(
                f"{dtype} takes only constants, known values of the same dtype and, if it is an integer "
                f"dtype, integers, got {shown(self)}"
            )
        if not possible[0] <= limits[0] <= limits[1] <= possible[1]:
            raise ValueError(
                f"{dtype} takes integers in [{possible[0]}, {possible[1]}], "
                f"got some in [{limits[0]}, {limits[1]}]"
            )

    def paint(
        self,
        out: Array,
        shape: tuple[int, ...],
        ranges: Ranges,
        evaluation: Evaluation,
        dtype: str,
    ) -> None:
        made = encode(evaluation.values(self, shape, ranges), dtype)
        out.view(made.dtype)[...] = made

    def limits(self) -> tuple[int, int] | None:
        """The least and the largest value where all are integers; None otherwise."""
        return None

    def reach(self) -> float | None:
        """What no absolute value exceeds, where that is known and finite."""
        return None


def positions(ranges: Ranges, strides: Sequence[int]) -> tuple[int, list[int]]:
    """The position in the stream of the first element of some ranges, and the step along each."""
    first = sum(r.start * step for r, step in zip(ranges, strides, strict=True))
    return first, [r.step * step for r, step in zip(ranges, strides, strict=True)]


def integer_limits(dtype: str) -> tuple[int, int] | None:
    """The least and the largest integer of a dtype of integers, with bool; None for others."""
    if dtype == "bool":
        return 0, 1
    if not dtype.startswith(("int", "uint")):
        return None
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _set_real(obj: object, **fields: Any) -> None:
    """Store fields of a frozen dataclass as floats."""
    for name, value in fields.items():
        object.__setattr__(obj, name, check_real(name, value))


_T = TypeVar("_T", bound=type)


def _taking_both(
    first: str, second: str, advice: str, or_one_by_name: bool = True
) -> Callable[[_T], _T]:
    """Class decorator: refuse one of two arguments alone, because frameworks disagree which of the two it is."""

    def decorate(cls: _T) -> _T:
        init: Any = cls.__init__  # type: ignore[misc]

        @wraps(init)
        def checked(self: object, *args: Any, **kwargs: Any) -> None:
            if len(args) > 2:
                raise TypeError(
                    f"{cls.__name__} takes {first} and {second} without names, and the rest by name, "
                    f"got {len(args)} arguments without names: {advice}"
                )
            given = [*args, *(kwargs[name] for name in (first, second) if name in kwargs)]
            if len(given) == 1 and (args or not or_one_by_name):
                raise TypeError(
                    f"{cls.__name__} takes {first} and {second} together, got {shown(given[0])} alone: {advice}"
                )
            init(self, *args, **kwargs)

        cls.__init__ = checked  # type: ignore[misc]
        return cls

    return decorate


def _check_normal(mean: float, stddev: float) -> None:
    if not math.isfinite(mean):
        raise ValueError(f"mean must be finite, got {mean!r}")
    if not (stddev >= 0 and math.isfinite(stddev)):
        raise ValueError(f"stddev must be finite and not negative, got {stddev!r}")


@dataclass(frozen=True, slots=True)
class Constant(Distribution):
    """Every element is `value`.

    Parameters
    ----------
    value : float
        Finite; rounded to the nearest float32 (float64) and from there to a
        16-bit dtype. -0 gives +0.
    """

    value: float = 0.0

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        _set_real(self, value=self.value)
        if not math.isfinite(self.value):
            raise ValueError(f"value must be finite, got {self.value!r}")

    def prepare(self, dtype: str) -> _kernel.Distribution:
        return _kernel.normal(dtype, self.value, 0.0)

    def draw(
        self, first: int, steps: Sequence[int], counts: Sequence[int], key: int, real: str
    ) -> NDArray[Any]:
        return np.full(counts, self.value)

    def paint_stream(
        self, out: Array, first: int, steps: Sequence[int], key: int, dtype: str
    ) -> None:
        if dtype in DTYPE_SIZES:
            Distribution.paint_stream(self, out, first, steps, key, dtype)
        else:  # integers among others
            out.view(dtype)[...] = int(self.value)


@_taking_both("low", "high", "give both ends", or_one_by_name=False)
@dataclass(frozen=True, slots=True)
class Uniform(Distribution):
    """Uniform on [low, high).

    Parameters
    ----------
    low, high : float
        Finite, ``low <= high``, both given or neither; equal ones give a constant. `low`
        can occur where the dtype has it, and `high` cannot. The values are
        ``low + (high - low) * u`` with u a multiple of 2**-24 (float64: 2**-53) in
        [0, 1). A value that rounding would bring to `high` becomes the largest value of the
        dtype below it.

    Raises
    ------
    TypeError
        One end alone: a single number is the lower end to Keras, and the upper one to JAX.
    """

    low: float = -0.05
    high: float = 0.05

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        _set_real(self, low=self.low, high=self.high)
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"low and high must be finite, got {self.low!r} and {self.high!r}")
        if self.low > self.high:
            raise ValueError(
                f"low must not be above high, got low={self.low!r}, high={self.high!r}"
            )

    def prepare(self, dtype: str) -> _kernel.Distribution:
        return _kernel.uniform(dtype, self.low, self.high)


@_taking_both("mean", "stddev", "write Normal(0.0, 0.02) or Normal(stddev=0.02)")
@dataclass(frozen=True, slots=True)
class Normal(Distribution):
    """Normal.

    Parameters
    ----------
    mean, stddev : float
        Finite, ``stddev >= 0``; 0 gives the constant `mean`. Values reach 6.66
        standard deviations from the mean (float64: 8.57).

    Raises
    ------
    TypeError
        One number without its name: it is the mean to PyTorch and Keras, and the standard
        deviation to JAX.
    """

    mean: float = 0.0
    stddev: float = 1.0

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        _set_real(self, mean=self.mean, stddev=self.stddev)
        _check_normal(self.mean, self.stddev)

    def prepare(self, dtype: str) -> _kernel.Distribution:
        return _kernel.normal(dtype, self.mean, self.stddev)


@_taking_both(
    "mean",
    "stddev",
    "write TruncatedNormal(0.0, 0.02, lower=-2.0, upper=2.0) for bounds in units of stddev, and "
    "TruncatedNormal.within(low, high, mean=0.0, stddev=0.02) for bounds that are values",
)
@dataclass(frozen=True, slots=True)
class TruncatedNormal(Distribution):
    """Normal(mean, stddev) conditioned on [mean + lower * stddev, mean + upper * stddev].

    Parameters
    ----------
    mean, stddev : float
        Of the normal *before* truncation, as in Keras, TensorFlow and PyTorch;
        the standard deviation of the values is
        ``stddev * truncated_std(lower, upper)``.
    lower, upper : float
        Bounds in units of `stddev`, relative to `mean`; either may be infinite. They
        can occur, as numbers of the dtype. By name alone: the third and fourth argument of
        ``torch.nn.init.trunc_normal_`` are bounds of the values, which `within` takes.

    Raises
    ------
    TypeError
        One number without its name, as for `Normal`.
    """

    mean: float = 0.0
    stddev: float = 1.0
    _: KW_ONLY
    lower: float = -2.0
    upper: float = 2.0

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        _set_real(self, mean=self.mean, stddev=self.stddev, lower=self.lower, upper=self.upper)
        _check_normal(self.mean, self.stddev)
        check_bounds(self.lower, self.upper)

    @classmethod
    @_kernel.in_default_arithmetic
    def within(cls, low: float, high: float, *, mean: float = 0.0, stddev: float = 1.0) -> Self:
        """Normal(mean, stddev) conditioned on [low, high], bounds of the values themselves.

        ``torch.nn.init.trunc_normal_`` takes such bounds. ``low < high``, either may be
        infinite, and ``stddev > 0``; errors are those of the class. `mean` and `stddev` are
        given by name, because PyTorch takes them before the bounds.
        """
        mean, stddev = check_real("mean", mean), check_positive("stddev", stddev)
        lower = (check_real("low", low) - mean) / stddev
        upper = (check_real("high", high) - mean) / stddev
        # The kernel's bounds are mean + stddev * lower: not to be outside by the rounding of that.
        for _ in range(4):
            if mean + stddev * lower < low:
                lower = math.nextafter(lower, math.inf)
            if mean + stddev * upper > high:
                upper = math.nextafter(upper, -math.inf)
        if mean + stddev * lower < low or mean + stddev * upper > high:
            raise ValueError(
                "low and high must be in the range of a float in units of stddev from the mean, "
                f"got low={low!r}, high={high!r}, mean={mean!r}, stddev={stddev!r}"
            )
        return cls(mean, stddev, lower=lower, upper=upper)

    def prepare(self, dtype: str) -> _kernel.Distribution:
        return _kernel.truncated_normal(dtype, self.mean, self.stddev, self.lower, self.upper)


@dataclass(frozen=True, slots=True)
class VarianceScaling(Initializer):
    """Zero mean and variance ``scale / n``, with n counted from the shape.

    Parameters
    ----------
    scale : float
        Positive and finite.
    mode : {"fan_in", "fan_out", "fan_avg", "fan_geo_avg"}
        What n is: a fan, their arithmetic mean or their geometric mean, and at
        least 1.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        Normal truncated at two standard deviations, normal, or uniform on [-x, x) with
        x = sqrt(3 * scale / n).
    in_axis, out_axis : int or sequence of int, optional
        As for `compute_fans`; both given or neither. Axes that are given hold everywhere.
        Without them they are those of the tensor at hand: PyTorch's layout (1 and 0) for
        the parameters of a module, that of its `axes` for a `Tensor` of a model, and the
        last two (-2 and -1, as in Keras and JAX) for a bare shape. See `with_axes`.
    batch_axis : int or sequence of int
        As for `compute_fans`.
    correction : {"exact", "tf_contrib", "none"}
        What makes up for the variance that truncation takes. ``"exact"`` divides
        the standard deviation of the parent normal by 0.87962566103423978, so that
        the values have the standard deviation sqrt(scale / n), as Keras,
        TensorFlow 2 and JAX do. ``"tf_contrib"`` multiplies scale by 1.3, as
        TensorFlow 1's ``tf.contrib.layers`` does. ``"none"`` leaves the parent at
        sqrt(scale / n). Other distributions ignore it.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015;
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS 2010; LeCun, Bottou, Orr, Mueller, "Efficient
    BackProp", 1998.
    """

    scale: float = 1.0
    mode: Mode = "fan_in"
    distribution: DistributionName = "truncated_normal"
    _: KW_ONLY
    in_axis: Axes | None = None
    out_axis: Axes | None = None
    batch_axis: Axes = ()
    correction: Correction = "exact"

    @_kernel.in_default_arithmetic
    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_positive("scale", self.scale))
        check_choice("mode", self.mode, MODES)
        check_choice("distribution", self.distribution, DISTRIBUTIONS)
        check_choice("correction", self.correction, CORRECTIONS)
        for name in ("in_axis", "out_axis", "batch_axis"):
            if name == "batch_axis" or getattr(self, name) is not None:
                object.__setattr__(self, name, normalize_axes(name, getattr(self, name)))
        if (self.in_axis is None) != (self.out_axis is None):
            raise ValueError(
                "in_axis and out_axis must both be given or neither, got "
                f"in_axis={shown(self.in_axis)}, out_axis={shown(self.out_axis)}"
            )

    def with_axes(
        self,
        axes: AxesName | None = None,
        /,
        *,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
        batch_axis: Axes | None = None,
    ) -> VarianceScaling:
        """The same initializer for weights whose inputs and outputs lie on other axes.

        Parameters
        ----------
        axes : {"out_in", "in_out"}, optional
            ``"out_in"`` is PyTorch's layout, out x in x kernel: ``in_axis=1, out_axis=0``.
            ``"in_out"`` is that of Keras, TensorFlow and Flax, kernel x in x out:
            ``in_axis=-2, out_axis=-1``.
        in_axis, out_axis : int or sequence of int, optional
            Instead of `axes`, both.
        batch_axis : int or sequence of int, optional
            Axes of independent copies; unchanged by default.

        Returns
        -------
        VarianceScaling

        Raises
        ------
        ValueError, TypeError
            An unknown name; `axes` together with `in_axis` or `out_axis`; one of these two
            alone.

        Examples
        --------
        >>> he_normal.with_axes("out_in").resolve((256, 64)).stddev * TRUNCATED_STD_2 == (2 / 64) ** 0.5
        True
        """
        if axes is not None:
            check_axes_name("axes", axes)
            if in_axis is not None or out_axis is not None:
                raise ValueError(
                    f"axes={axes!r} names in_axis and out_axis: give it or these, not both"
                )
            in_axis, out_axis = NAMED_AXES[axes]
        elif in_axis is None and out_axis is None:
            in_axis, out_axis = self.in_axis, self.out_axis
        batch_axis = self.batch_axis if batch_axis is None else batch_axis
        return replace(self, in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)

    def with_default_axes(self, axes: AxesName) -> VarianceScaling:
        check_axes_name("axes", axes)
        if self.in_axis is not None:
            return self
        if self.batch_axis and axes == "out_in":
            raise ValueError(
                f"batch_axis={shown(self.batch_axis)} needs in_axis and out_axis beside it: the axes "
                'of this tensor are "out_in", which has inputs on axis 1 and outputs on axis 0'
            )
        return self.with_axes(axes)

    def resolve(self, shape: Sequence[int]) -> Distribution:
        in_axis, out_axis = self.in_axis, self.out_axis
        if in_axis is None or out_axis is None:
            in_axis, out_axis = NAMED_AXES["in_out"]
        fan_in, fan_out = compute_fans(shape, in_axis, out_axis, self.batch_axis)
        n = {
            "fan_in": float(fan_in),
            "fan_out": float(fan_out),
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return Uniform(-limit, limit)
        if self.distribution == "untruncated_normal":
            return Normal(0.0, math.sqrt(variance))
        if self.correction == "tf_contrib":
            return TruncatedNormal(0.0, math.sqrt(1.3 * variance))
        correction = TRUNCATED_STD_2 if self.correction == "exact" else 1.0
        return TruncatedNormal(0.0, math.sqrt(variance) / correction)


zeros = Constant(0.0)
ones = Constant(1.0)

#: Truncated normal, std sqrt(1 / fan_in) (LeCun; Glorot and Bengio in its fan_in form).
lecun_normal = VarianceScaling(1.0, "fan_in", "truncated_normal")
#: U[-x, x], x = sqrt(3 / fan_in).
lecun_uniform = VarianceScaling(1.0, "fan_in", "uniform")
#: Truncated normal, std sqrt(2 / (fan_in + fan_out)).
glorot_normal = xavier_normal = VarianceScaling(1.0, "fan_avg", "truncated_normal")
#: U[-x, x], x = sqrt(6 / (fan_in + fan_out)).
glorot_uniform = xavier_uniform = VarianceScaling(1.0, "fan_avg", "uniform")
#: Truncated normal, std sqrt(2 / fan_in).
he_normal = kaiming_normal = VarianceScaling(2.0, "fan_in", "truncated_normal")
#: U[-x, x], x = sqrt(6 / fan_in).
he_uniform = kaiming_uniform = VarianceScaling(2.0, "fan_in", "uniform")
