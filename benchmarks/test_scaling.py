"""How fastinit's own speed goes with size, threads, instruction set, dtype, bounds, and fresh memory."""

from __future__ import annotations

import ctypes
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fastinit as fi
from conftest import Measure, N, Work
from fastinit.threads import share
from peers import LAWS, fastinit

Warm = Callable[[int], np.ndarray]
CORES = fi.get_num_threads()
BASE = 2**20  # elements that the sizes are compared with
SIZES = [2**exponent for exponent in (*range(8, 30, 2), 30)]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("law", LAWS)
def test_size(measure: Measure, warm: Warm, law: str, n: int) -> None:
    n, base = measure.size(n), measure.size(BASE)
    work, other = (Work(law, m, fastinit(law, "float32", warm(4 * m), 1)) for m in (n, base))
    measure("size", work, beside=other)


@pytest.mark.parametrize("n", SIZES)
def test_size_of_memset(measure: Measure, warm: Warm, n: int) -> None:
    memory = warm(4 * measure.size(n))
    run = lambda: ctypes.memset(memory.ctypes.data, 1, memory.size)  # noqa: E731
    measure("size", Work("memset", memory.size // 4, run))


@pytest.mark.parametrize("threads", range(1, CORES + 1))
@pytest.mark.parametrize("law", LAWS)
def test_threads(measure: Measure, warm: Warm, law: str, threads: int) -> None:
    n = measure.size(N)
    work, one = (Work(law, n, fastinit(law, "float32", warm(4 * n), t), t) for t in (threads, 1))
    measure("threads", work, beside=one)


def test_redraws(measure: Measure, warm: Warm) -> None:
    n = measure.size(N)
    work, plain = (
        Work(law, n, fastinit(law, "float32", warm(4 * n), 1)) for law in ("truncated", "normal")
    )
    measure("redraws", work, beside=plain)


@pytest.fixture
def choose_isa() -> Iterator[None]:
    yield
    fi.set_isa(None)


@pytest.mark.parametrize("isa", fi.available_isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("law", LAWS)
def test_instruction_set(
    measure: Measure, warm: Warm, choose_isa: None, law: str, dtype: str, isa: str
) -> None:
    n = measure.size(N // 4)
    fill = fastinit(law, dtype, warm(np.dtype(dtype).itemsize * n), 1)

    widest = fi.available_isas()[0]
    work, best = (Work(law, n, fill, prepare=partial(fi.set_isa, name)) for name in (isa, widest))
    measure(f"instruction set {dtype}", work, beside=best, isa=isa)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("law", LAWS)
def test_dtype(measure: Measure, warm: Warm, law: str, dtype: str) -> None:
    n = measure.size(N)
    size = {"float32": 4, "float64": 8}.get(dtype, 2)
    work = Work(law, n, fastinit(law, dtype, warm(size * n), 1))
    measure("dtype", work, Work(law, n, fastinit(law, "float32", warm(4 * n), 1)), dtype=dtype)


#: Bounds in standard deviations: each proposal of the kernel, and where it changes to the next.
INTERVALS = [
    (-math.inf, math.inf),
    (-3.0, 3.0),
    (-2.0, 2.0),
    (-1.5, 1.5),
    (-1.0, 1.0),
    (-0.5, 1.5),
    (-0.1, 0.1),
    (-1.0, math.inf),
    (-0.01, math.inf),
    (0.0, math.inf),
    (0.24, math.inf),
    (0.26, math.inf),
    (0.75, math.inf),
    (1.49, math.inf),
    (1.5, math.inf),
    (2.0, 2.25),
    (2.0, 3.0),
    (3.0, 5.0),
    (5.0, math.inf),
    (1e4, math.inf),
]


@pytest.mark.parametrize(("lower", "upper"), INTERVALS)
def test_interval(measure: Measure, warm: Warm, lower: float, upper: float) -> None:
    n = measure.size(N // 4)
    memory = warm(4 * n)
    make, out = fi.TruncatedNormal(0.0, 0.02, lower=lower, upper=upper), memory.view(np.float32)
    work = Work(f"[{lower:g}, {upper:g}]", n, lambda: make.fill(out, seed=0, threads=1))
    measure("interval", work, Work("[-2, 2]", n, fastinit("truncated", "float32", memory, 1)))


SHAPE = (4096, 4096)
FRESH: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
    "numpy.full": lambda shape: np.full(shape, 1.5, np.float32),
    **{law: lambda shape, make=make: make(shape, seed=0) for law, make in LAWS.items()},
}


@pytest.mark.parametrize("who", FRESH)
def test_fresh_array(measure: Measure, who: str) -> None:
    """A new array: its pages are made as they are first touched, which costs as much as the sampling."""
    n = measure.size(math.prod(SHAPE))
    shape = (n // SHAPE[1], SHAPE[1])
    work, full = (Work(w, n, lambda w=w: FRESH[w](shape), CORES) for w in (who, "numpy.full"))
    measure("fresh array", work, beside=full)


#: Columns of a shard out of this many: one run of elements for each row.
WIDTH = 16384


@pytest.mark.parametrize("columns", [WIDTH, 4096, 1024, 256, 64, 16, 4, 1])
@pytest.mark.parametrize("law", LAWS)
def test_shard(measure: Measure, warm: Warm, law: str, columns: int) -> None:
    rows = max(1, measure.size(N // 4) // columns)
    out = warm(4 * rows * columns).view(np.float32).reshape(rows, columns)
    first = min(37, WIDTH - columns)  # in the middle of a super-block
    part = (slice(None), slice(first, first + columns))
    make = LAWS[law]
    fill = partial(make.fill, out, seed=0, shape=(rows, WIDTH), index=part, threads=1)
    dense = fastinit(law, "float32", out.reshape(-1).view(np.uint8), 1)
    work, beside = Work(f"{law}, {columns} columns", out.size, fill), Work(law, out.size, dense)
    measure("shard", work, beside=beside)


@pytest.fixture
def ram_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: disks are slower than any sampler."""
    root = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=root if root.is_dir() else tmp_path) as folder:
        yield Path(folder)


def write_zeros(path: Path, nbytes: int) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file:
        zeros = bytes(2**20)
        share(lambda i: os.pwrite(file.fileno(), zeros, i * 2**20), nbytes // 2**20, CORES)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("law", LAWS)
def test_write(measure: Measure, ram_disk: Path, law: str, dtype: str) -> None:
    """A model of eight tensors into a new file, beside zeros into a new file."""
    n = max(2**20, measure.size(2 * N))
    model = fi.Model(fi.Tensor(f"t{i}", (n // 8,), LAWS[law], dtype) for i in range(8))
    target = ram_disk / "m.safetensors"

    def write() -> None:
        target.unlink(missing_ok=True)
        model.write(target, seed=0, threads=CORES)

    work = Work(f"{law} {dtype}", n, write, CORES)
    zeros = partial(write_zeros, ram_disk / "zeros", model.nbytes)
    measure("write", work, beside=Work(f"zeros {dtype}", n, zeros, CORES))


def test_fill_of_256_elements(measure: Measure) -> None:
    out = np.ones(256, np.float32)
    measure("call", Work("fill of 256 elements", 256, lambda: fi.he_normal.fill(out, seed=0)))


def test_new_array_of_16_by_16(measure: Measure) -> None:
    measure("call", Work("he_normal((16, 16))", 256, lambda: fi.he_normal((16, 16), seed=0)))
