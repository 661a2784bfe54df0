"""The same work by fastinit and by everybody else, on one core and on all."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

import fastinit as fi
from conftest import Measure, N, Work
from peers import LAWS, WORKS, fastinit

ITEMSIZES = {"float32": 4, "float64": 8, "bfloat16": 2}
CASES = [(*kind, who) for kind, peers in WORKS.items() for who in peers]
THREADS = sorted({1, fi.get_num_threads()})


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(("law", "dtype", "who"), CASES)
def test_peer(
    measure: Measure,
    warm: Callable[[int], np.ndarray],
    law: str,
    dtype: str,
    who: str,
    threads: int,
) -> None:
    if threads > 1 and who.startswith(("SciPy", "NumPy", "MKL", "mkl")):
        pytest.skip("samples on one thread")
    n = measure.size(N)
    memory = warm(n * ITEMSIZES[dtype])
    peer = Work(who, n, WORKS[law, dtype][who](law, dtype, memory, threads), threads)
    ours = Work("fastinit", n, fastinit(law, dtype, memory, threads), threads)
    measure(f"{law} {dtype}", peer, beside=ours)


#: The line that memory draws. Some processors write zeros faster than they can move data.
MEMORY: dict[str, Callable[[np.ndarray], object]] = {
    "memset": lambda memory: ctypes.memset(memory.ctypes.data, 1, memory.size),
    "memset of zeros": lambda memory: ctypes.memset(memory.ctypes.data, 0, memory.size),
    "NumPy fill": lambda memory: memory.view(np.float32).fill(1.5),
}


@pytest.mark.parametrize("who", MEMORY)
@pytest.mark.parametrize("law", LAWS)
def test_memory(measure: Measure, warm: Callable[[int], np.ndarray], law: str, who: str) -> None:
    n = measure.size(N)
    memory = warm(4 * n)
    ours = Work(law, n, fastinit(law, "float32", memory, 1))
    measure("memory", ours, beside=Work(who, n, lambda: MEMORY[who](memory)))
