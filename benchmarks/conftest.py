"""Options, fixtures and the measure of the benchmarks.

Everything is measured in turns (``--passes``): all works once, then all again. Ratios are formed
within a pass, so that a machine whose speed drifts does not favour one side, and a median is taken
over the passes. Every work runs on as many cores as it is given threads, the rest of the process too.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastinit as fi

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: Elements of most works: 64 MiB of float32, twice what the largest caches of one core hold.
N = 2**24
#: Elements at most where the benchmarks only show that they run (``--tiny``).
TINY = 2**14
PEERS = ("numpy", "scipy", "torch", "jax", "tensorflow-cpu", "mkl", "mkl_random")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--passes", type=int, default=1, help="run all benchmarks so many times, in turn"
    )
    parser.addoption("--tiny", action="store_true", help="small sizes, one round: do they run?")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("turn", range(metafunc.config.getoption("--passes")), scope="session")


@contextlib.contextmanager
def cores(count: int) -> Iterator[None]:
    """Keep all threads of this process on `count` of its CPUs, the highest ones."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cpus = sorted(os.sched_getaffinity(0))

    def move(to: list[int]) -> None:
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), to)

    move(cpus[-count:])
    try:
        yield
    finally:
        move(cpus)


class Measure:
    """Times one work, and says what it was for the report."""

    def __init__(self, benchmark: BenchmarkFixture, turn: int, tiny: bool) -> None:
        self.benchmark, self.turn, self.tiny = benchmark, turn, tiny

    def size(self, n: int) -> int:
        return min(n, TINY) if self.tiny else n

    def __call__(self, group: str, who: str, n: int, work: Callable[[], Any], **what: Any) -> None:
        """Time `work`, which makes `n` elements on ``what["threads"]`` cores."""
        what = {"who": who, "n": n, "threads": 1, **what}
        self.benchmark.group = group
        self.benchmark.extra_info.update(what, turn=self.turn)
        with cores(what["threads"]):
            if self.tiny:
                self.benchmark.pedantic(work)
                return
            work()  # compilers, caches, pages
            start = time.perf_counter()
            work()
            seconds = max(time.perf_counter() - start, 1e-7)
            iterations = max(1, round(2e-3 / seconds))
            rounds = min(7, max(1, round(0.3 / (seconds * iterations))))
            self.benchmark.pedantic(work, rounds=rounds, iterations=iterations)


@pytest.fixture
def measure(benchmark: BenchmarkFixture, turn: int, pytestconfig: pytest.Config) -> Measure:
    return Measure(benchmark, turn, pytestconfig.getoption("--tiny"))


def _free_memory() -> float:
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return math.inf
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


_memory: list[np.ndarray] = []


@pytest.fixture
def warm() -> Callable[[int], np.ndarray]:
    """Bytes that were touched before, always the same ones: warm(nbytes)."""

    def get(nbytes: int) -> np.ndarray:
        if not _memory or _memory[0].size < nbytes:
            if nbytes > _free_memory() - 2**30:
                pytest.skip(f"{nbytes} bytes do not fit the memory that is free")
            _memory[:] = [np.ones(nbytes, np.uint8)]
        return _memory[0][:nbytes]

    return get


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        fields = dict(line.split("\t:", 1) for line in file if "\t:" in line)
        names = {key.strip(): value.strip() for key, value in fields.items()}
        return f"{names['model name']} (family {names['cpu family']}, model {names['model']})"
    return platform.processor() or platform.machine()


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=False)
    machine_info["fastinit"] = {
        "cpu": _cpu(),
        "cores": fi.get_num_threads(),
        "isa": fi.isa(),
        "system": platform.platform(terse=True),
        "compiler": (compiler.stdout or "unknown").splitlines()[0],
        "python": platform.python_version(),
        "packages": {name: version for name in PEERS if (version := _version(name))},
        "passes": config.getoption("--passes"),
    }
