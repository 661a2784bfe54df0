"""Throughput of fills beside the samplers that people use, in one run.

    pip install -e ".[bench]"
    pytest benchmarks --benchmark-group-by=group --benchmark-columns=median,iqr,rounds,ops

Each group is one kind of work on one thread, in a warm buffer of 2**24 elements; the numbers
in brackets are the ratios to the fastest of the group. Peers that are not installed are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastinit as fi

N = 2**24
BOUNDS = (-2.0, 2.0)


@pytest.fixture
def out() -> np.ndarray:
    return np.ones(N, np.float32)


def measure(benchmark: BenchmarkFixture, work: Callable[[], Any], rounds: int = 7) -> None:
    benchmark.pedantic(work, rounds=rounds, warmup_rounds=1)


@pytest.fixture
def torch() -> Iterator[Any]:
    module = pytest.importorskip("torch", reason="the peer torch is not installed")
    threads = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(threads)


@pytest.mark.benchmark(group="memset")
def test_memset(benchmark: BenchmarkFixture, out: np.ndarray) -> None:
    measure(benchmark, lambda: out.fill(0.0))


@pytest.mark.benchmark(group="truncated normal +-2")
@pytest.mark.parametrize("isa", fi.available_isas())
def test_truncated_fastinit(benchmark: BenchmarkFixture, out: np.ndarray, isa: str) -> None:
    fi.set_isa(isa)
    try:
        measure(benchmark, lambda: fi.TruncatedNormal(0.0, 0.02).fill(out, seed=0, threads=1))
    finally:
        fi.set_isa(None)


@pytest.mark.benchmark(group="truncated normal +-2")
def test_truncated_torch(benchmark: BenchmarkFixture, torch: Any) -> None:
    tensor = torch.ones(N)
    measure(
        benchmark, lambda: torch.nn.init.trunc_normal_(tensor, 0.0, 0.02, -0.04, 0.04), rounds=3
    )


@pytest.mark.benchmark(group="truncated normal +-2")
def test_truncated_scipy(benchmark: BenchmarkFixture) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the peer scipy is not installed")
    law, generator = stats.truncnorm(*BOUNDS, scale=0.02), np.random.default_rng(0)
    measure(benchmark, lambda: law.rvs(N, random_state=generator), rounds=2)


@pytest.mark.benchmark(group="truncated normal +-2")
def test_truncated_numpy(benchmark: BenchmarkFixture, out: np.ndarray) -> None:
    """What a careful NumPy user writes: draw, then draw again what fell outside."""
    generator = np.random.default_rng(0)

    def draw() -> None:
        generator.standard_normal(out=out, dtype=np.float32)
        bad = np.flatnonzero(abs(out) > 2)
        while bad.size:
            out[bad] = generator.standard_normal(bad.size, dtype=np.float32)
            bad = bad[abs(out[bad]) > 2]
        np.multiply(out, np.float32(0.02), out=out)

    measure(benchmark, draw, rounds=3)


@pytest.mark.benchmark(group="normal")
def test_normal_fastinit(benchmark: BenchmarkFixture, out: np.ndarray) -> None:
    measure(benchmark, lambda: fi.Normal(0.0, 0.02).fill(out, seed=0, threads=1))


@pytest.mark.benchmark(group="normal")
def test_normal_numpy(benchmark: BenchmarkFixture, out: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    measure(benchmark, lambda: generator.standard_normal(out=out, dtype=np.float32), rounds=3)


@pytest.mark.benchmark(group="normal")
def test_normal_torch(benchmark: BenchmarkFixture, torch: Any) -> None:
    tensor = torch.ones(N)
    measure(benchmark, lambda: tensor.normal_(0.0, 0.02))


@pytest.mark.benchmark(group="uniform")
def test_uniform_fastinit(benchmark: BenchmarkFixture, out: np.ndarray) -> None:
    measure(benchmark, lambda: fi.Uniform(-0.05, 0.05).fill(out, seed=0, threads=1))


@pytest.mark.benchmark(group="uniform")
def test_uniform_numpy(benchmark: BenchmarkFixture, out: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    measure(benchmark, lambda: generator.random(out=out, dtype=np.float32))


@pytest.mark.benchmark(group="uniform")
def test_uniform_torch(benchmark: BenchmarkFixture, torch: Any) -> None:
    tensor = torch.ones(N)
    measure(benchmark, lambda: tensor.uniform_(-0.05, 0.05))


@pytest.mark.benchmark(group="small")
def test_fill_of_256_elements(benchmark: BenchmarkFixture) -> None:
    out = np.ones(256, np.float32)
    benchmark(lambda: fi.he_normal.fill(out, seed=0))


@pytest.mark.benchmark(group="small")
def test_new_array_of_16_by_16(benchmark: BenchmarkFixture) -> None:
    benchmark(lambda: fi.he_normal((16, 16), seed=0))
