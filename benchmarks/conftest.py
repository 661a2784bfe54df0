"""Options, fixtures and the measure of the benchmarks.

Machines are shared, and their speed changes within seconds. So a work is measured beside what it is
compared with: each round times one and then the other, and the ratio of a round is what counts. With
``--passes`` everything is run so many times, in turn. Every work runs on as many cores as it is given
threads, the rest of the process too.
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
from dataclasses import dataclass
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
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if count >= len(cpus):
        yield
        return

    def move(to: list[int]) -> None:
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), to)

    move(cpus[-count:])
    try:
        yield
    finally:
        move(cpus)


@dataclass(frozen=True)
class Work:
    """Something to time: it makes `n` elements on `threads` cores, once `prepare` is done."""

    who: str
    n: int
    run: Callable[[], Any]
    threads: int = 1
    prepare: Callable[[], Any] = lambda: None


def seconds(work: Work, repeats: int = 1) -> float:
    with cores(work.threads):
        work.prepare()
        start = time.perf_counter()
        for _ in range(repeats):
            work.run()
        return (time.perf_counter() - start) / repeats


class Measure:
    """Times a work, beside another or alone, and keeps what the report needs."""

    def __init__(self, benchmark: BenchmarkFixture, tiny: bool) -> None:
        self.benchmark, self.tiny = benchmark, tiny

    def size(self, n: int) -> int:
        return min(n, TINY) if self.tiny else n

    def __call__(self, group: str, work: Work, beside: Work | None = None, **what: str) -> None:
        assert beside is None or beside.threads <= work.threads, "cores() does not widen"
        self.benchmark.group = group
        info = self.benchmark.extra_info
        info.update(who=work.who, n=work.n, threads=work.threads, **what)
        once = [self.warm_up(w) for w in (work, beside) if w is not None]
        # Rounds of a millisecond at least, for half a second.
        repeats = [max(1, round(1e-3 / t)) for t in once]
        round_seconds = sum(r * t for r, t in zip(repeats, once, strict=True))
        rounds = 1 if self.tiny else min(30, max(2, round(0.5 / round_seconds)))
        others: list[float] = []

        def run() -> None:
            for _ in range(repeats[0]):
                work.run()

        def before() -> None:
            if beside is not None:
                # Some peers free memory in the background when they are done: not in the other's time.
                seconds(beside)
                others.append(seconds(beside, repeats[1]))
            work.prepare()

        with cores(work.threads):
            self.benchmark.pedantic(run, setup=before, rounds=rounds)
        if self.benchmark.disabled:
            return
        info["seconds"] = [t / repeats[0] for t in self.benchmark.stats.stats.data]
        if beside is not None:
            each = zip(info["seconds"], others, strict=True)
            info["beside"] = beside.who
            info["ratios"] = [(t / work.n) / (other / beside.n) for t, other in each]

    def warm_up(self, work: Work) -> float:
        """Compilers, caches and pages first; then how long it takes."""
        first = seconds(work)
        return max(first if first > 1 else seconds(work), 1e-7)


@pytest.fixture
def measure(benchmark: BenchmarkFixture, turn: int, pytestconfig: pytest.Config) -> Measure:
    return Measure(benchmark, pytestconfig.getoption("--tiny"))


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
        "fastinit": fi.__version__,
        "tiny": config.getoption("--tiny"),
        "packages": {name: version for name in PEERS if (version := _version(name))},
        "passes": config.getoption("--passes"),
    }
