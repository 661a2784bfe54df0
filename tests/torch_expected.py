"""What the values of a tensor should be, from papers and constants: moments, bounds, exact values, equalities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import fastinit as fi

inf = float("inf")

#: Largest z-score of a mean or a variance. Of exact values, one in 5e8 means is farther out; of variances, whose tails
#: are heavier, one in 2e4 for normals of 32 elements (the smallest tensors here), one in 1e6 from 256 elements on.
Z = 6.0


class Expected:
    """What one tensor should hold."""

    #: Whether plain construction gives the same bits every time.
    exact = False

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Raise an AssertionError where the tensor of that name is another one."""
        raise NotImplementedError

    def draw(
        self, shape: tuple[int, ...], seed: int, stream: str, dtype: torch.dtype
    ) -> Tensor | None:
        """What the stream gives, to the rounding of parameters; None where it is not one plain draw."""
        return None


@dataclass(frozen=True)
class Spread(Expected):
    """Independent values of a distribution that is known by its moments and bounds."""

    mean: float
    std: float
    low: float = -inf
    high: float = inf
    kurtosis: float = 3.0
    #: The distribution as a single draw from the stream, where it is one.
    init: fi.Distribution | None = None
    #: Whether the tensor is the transpose of the matrix that was drawn.
    transposed: bool = False

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        assert tensors[name].numel() >= 32, f"{name} is too small for its moments"
        values = tensors[name].detach().double()
        slack = torch.finfo(tensors[name].dtype).eps * max(abs(values.min()), abs(values.max()))
        assert self.low - slack <= values.min(), (name, values.min())
        assert values.max() <= self.high + slack, (name, values.max())
        root = math.sqrt(values.numel())
        z_mean = (values.mean() - self.mean) / self.std * root
        assert abs(z_mean) < Z, (name, "mean", values.mean(), self)
        variance = (values - self.mean).square().mean()
        z_variance = (variance / self.std**2 - 1) / math.sqrt(self.kurtosis - 1) * root
        assert abs(z_variance) < Z, (name, "std", variance.sqrt(), self)

    def draw(
        self, shape: tuple[int, ...], seed: int, stream: str, dtype: torch.dtype
    ) -> Tensor | None:
        if self.init is None:
            return None
        drawn = shape[::-1] if self.transposed else shape
        real = torch.float64 if dtype == torch.float64 else torch.float32
        values = torch.empty(drawn, dtype=real)
        self.init.fill(values.numpy(), seed=seed, stream=stream)
        return (values.t() if self.transposed else values).to(dtype)


def normal(
    std: float, mean: float = 0.0, *, plain: bool = True, transposed: bool = False
) -> Spread:
    init = fi.Normal(mean, std) if plain else None
    return Spread(mean, std, init=init, transposed=transposed)


def uniform(low: float, high: float | None = None, *, plain: bool = True) -> Spread:
    """U[low, high), or U[-low, low)."""
    if high is None:
        low, high = -low, low
    init = fi.Uniform(low, high) if plain else None
    return Spread((low + high) / 2, (high - low) / math.sqrt(12), low, high, 1.8, init)


def truncated(std: float, low: float, high: float, mean: float = 0.0) -> Spread:
    """A normal of `std` before truncation, with bounds in absolute values; by the textbook's formulas."""
    a, b = (low - mean) / std, (high - mean) / std
    mass = (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))) / 2
    at_a, at_b = (math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / mass for x in (a, b))
    shift = at_a - at_b
    variance = 1 + a * at_a - b * at_b - shift**2
    init = fi.TruncatedNormal(mean, std, lower=a, upper=b)
    return Spread(mean + std * shift, std * math.sqrt(variance), low, high, init=init)


@dataclass(frozen=True, eq=False)
class Values(Expected):
    """Known values, broadcast to the shape."""

    values: Any
    #: Relative error of a formula that is evaluated in the tensor's own precision.
    rtol: float = 0.0

    exact = True

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        tensor = tensors[name].detach()
        expected = torch.as_tensor(self.values).to(tensor.dtype).expand(tensor.shape)
        torch.testing.assert_close(tensor, expected, rtol=self.rtol, atol=self.rtol, msg=name)


ZEROS, ONES = Values(0.0), Values(1.0)


@dataclass(frozen=True)
class Same(Expected):
    """Equal to another tensor, in memory of its own or (`tied`) the same one."""

    name: str
    tied: bool = False

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        assert torch.equal(tensors[name], tensors[self.name]), name
        assert (tensors[name] is tensors[self.name]) == self.tied, name
        assert (tensors[name].data_ptr() == tensors[self.name].data_ptr()) == self.tied, name


@dataclass(frozen=True)
class Parts(Expected):
    """Parts of one tensor, by their indices, in one stream."""

    parts: tuple[tuple[Any, Expected], ...]

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        for index, expected in self.parts:
            part = f"{name}[{index}]"
            expected.check(part, {**tensors, part: tensors[name][index]})

    def draw(
        self, shape: tuple[int, ...], seed: int, stream: str, dtype: torch.dtype
    ) -> Tensor | None:
        result = torch.zeros(shape, dtype=dtype)
        for index, expected in self.parts:
            if isinstance(expected, Values):
                values = torch.as_tensor(expected.values).to(result.dtype)
            else:
                drawn = expected.draw(shape, seed, stream, dtype)
                if drawn is None:
                    return None
                values = drawn[index]
            result[index] = values
        return result


def rows(*parts: tuple[int, Expected]) -> Parts:
    """Parts along the first axis: how many rows each has, and what they are."""
    starts = [sum(count for count, _ in parts[:i]) for i in range(len(parts))]
    return Parts(tuple((slice(s, s + n), e) for s, (n, e) in zip(starts, parts, strict=True)))


@dataclass(frozen=True)
class Through(Expected):
    """Values whose image under a function has a known distribution."""

    function: Callable[[Tensor], Tensor]
    of: Expected

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        image = self.function(tensors[name].detach().double())
        self.of.check(name, {**tensors, name: image})


def log_uniform(low: float, high: float) -> Through:
    slack = 1e-6  # a logarithm of float32 values
    image = uniform(math.log(low), math.log(high), plain=False)
    return Through(
        torch.log, Spread(image.mean, image.std, image.low - slack, image.high + slack, 1.8)
    )


@dataclass(frozen=True)
class Orthogonal(Expected):
    """Rows (or columns, of which there are fewer) of length `gain`, at right angles."""

    gain: float = 1.0

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        matrix = tensors[name].detach().double().flatten(1)
        if matrix.shape[0] > matrix.shape[1]:
            matrix = matrix.t()
        expected = self.gain**2 * torch.eye(matrix.shape[0], dtype=torch.float64)
        torch.testing.assert_close(matrix @ matrix.t(), expected, rtol=0, atol=1e-5, msg=name)
        normal(self.gain / math.sqrt(matrix.shape[1])).check(name, tensors)


@dataclass(frozen=True)
class Sparse(Expected):
    """A number of zeros in each column, elsewhere a distribution."""

    zeros: int
    of: Expected

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        values = tensors[name].detach()
        counts = (values == 0).sum(dim=0)
        assert torch.equal(counts, torch.full_like(counts, self.zeros)), (name, counts)
        places = (values == 0).nonzero()[:, 0]
        assert len(places.unique()) > 1, f"{name}: the same row is zero in all columns"
        self.of.check(name, {**tensors, name: values[values != 0]})


@dataclass(frozen=True)
class Integers(Expected):
    """Integers of [low, high), each with the same probability."""

    low: int
    high: int

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        values = tensors[name].double()
        n = self.high - self.low
        mean, std = (self.low + self.high - 1) / 2, math.sqrt((n * n - 1) / 12)
        spread = Spread(mean, std, self.low, self.high - 1, 1.8 if n > 2 else 1.0 + 1e-9)
        assert torch.equal(values, values.round()), name
        spread.check(name, {**tensors, name: values})


@dataclass(frozen=True)
class Coins(Expected):
    """Ones with a probability, elsewhere zeros."""

    probability: float

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        values = tensors[name].double()
        assert set(values.unique().tolist()) == {0.0, 1.0}, name
        p = self.probability
        z = (values.mean() - p) / math.sqrt(p * (1 - p) / values.numel())
        assert abs(z) < Z, (name, values.mean())


@dataclass(frozen=True)
class Relation(Expected):
    """A function of all tensors that is zero, but for rounding."""

    function: Callable[[Mapping[str, Tensor], str], Tensor]

    def check(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        difference = self.function(tensors, name).detach().double()
        assert difference.abs().max() < 1e-5, (name, difference.abs().max())
