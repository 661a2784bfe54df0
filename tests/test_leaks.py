"""Memory that stays: none, whatever is called how often, with good arguments or bad ones.

`FASTINIT_LEAK_REPEATS=1000000 python -m pytest tests/test_leaks.py` looks longer.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from fastinit import _kernel

REPEATS = int(os.environ.get("FASTINIT_LEAK_REPEATS", "4000"))
#: What may be there afterwards: blocks of caches that fill up once, and pages that the allocator keeps.
BLOCKS, PAGES = 100, 200

OUT = np.zeros(64, np.float32)
BYTES = OUT.view(np.uint8)
READ_ONLY = np.zeros(4, np.float32)
READ_ONLY.flags.writeable = False
WORDS = np.zeros(8, np.uint32)
COUNT, STEP, STRIDE = np.array([4], np.uint64), np.array([3], np.int64), np.array([8], np.int64)
UNIFORM = _kernel.uniform("float32", 1, 2)
REGION = _kernel.Region(COUNT, STEP, STRIDE, 0, BYTES, 0)

#: Each entry point of the binding, and what it refuses.
CALLS: dict[str, Callable[[], Any]] = {
    "uniform": lambda: _kernel.uniform("float16", 0, 1),
    "uniform, refused": lambda: _kernel.uniform("float16", 1, 0),
    "uniform, no such dtype": lambda: _kernel.uniform("int8", 0, 1),
    "normal": lambda: repr(_kernel.normal("float32", 0, 1)),
    "normal, refused": lambda: _kernel.normal("float32", 0, -1),
    "normal, no number": lambda: _kernel.normal("float32", 0, "1"),
    "truncated_normal": lambda: _kernel.truncated_normal("float64", 0, 1, -2, 2),
    "truncated_normal, refused": lambda: _kernel.truncated_normal("float64", 0, 1, 2, -2),
    "fill": lambda: _kernel.fill(UNIFORM, 1, 0, OUT, 0, 64),
    "fill, nothing": lambda: _kernel.fill(UNIFORM, 1, 0, OUT, 0, 0),
    "fill, beyond the memory": lambda: _kernel.fill(UNIFORM, 1, 0, OUT, 60, 5),
    "fill, beyond the last index": lambda: _kernel.fill(UNIFORM, 1, 2**64 - 1, OUT, 0, 2),
    "fill, read-only": lambda: _kernel.fill(UNIFORM, 1, 0, READ_ONLY, 0, 1),
    "fill, no buffer": lambda: _kernel.fill(UNIFORM, 1, 0, object(), 0, 1),
    "fill, negative": lambda: _kernel.fill(UNIFORM, 1, 0, OUT, -1, 1),
    "Region": lambda: _kernel.Region(COUNT, STEP, STRIDE, 0, BYTES, 0),
    "Region, lengths": lambda: _kernel.Region(COUNT[:0], STEP, STRIDE, 0, BYTES, 0),
    "Region, types": lambda: _kernel.Region(COUNT, COUNT, STRIDE, 0, OUT, 0),
    "fill_region": lambda: _kernel.fill_region(UNIFORM, 1, REGION, 0, 4),
    "fill_region, beyond": lambda: _kernel.fill_region(UNIFORM, 1, REGION, 3, 2),
    "random_words": lambda: _kernel.random_words(1, 0, WORDS),
    "random_words, beyond": lambda: _kernel.random_words(1, 2**64 - 1, WORDS),
    "stream_key": lambda: _kernel.stream_key(1, b"name"),
    "stream_key, no bytes": lambda: _kernel.stream_key(1, "name"),
    "isa": lambda: _kernel.isa(),
    "available_isas": lambda: _kernel.available_isas(),
    "set_isa": lambda: _kernel.set_isa(_kernel.isa()),
    "set_isa, refused": lambda: _kernel.set_isa("z80"),
    "turn": lambda: _kernel.Turn()(max, 1, 2),
    "turn, an error": lambda: _kernel.Turn()(int, "x"),
    "help_out": lambda: _kernel.help_out(_kernel.Turn(), list, [True], []),
    "help_out, an error": lambda: _kernel.help_out(_kernel.Turn(), max, [True], []),
    "run_then_wait": lambda: _kernel.run_then_wait(list, [True], [_kernel.Turn()]),
    "run_then_wait, an error": lambda: _kernel.run_then_wait(max, [True], [_kernel.Turn()]),
    "run_then_wait, no turn": lambda: _kernel.run_then_wait(list, [True], [None]),
    "in_default_arithmetic": lambda: _kernel.in_default_arithmetic(max)(1, 2),
    "in_default_arithmetic, an error": lambda: _kernel.in_default_arithmetic(int)("x"),
    "initializer": lambda: fi.he_normal((4, 4), seed=1),
    "initializer, strided": lambda: fi.he_normal.fill(OUT[::2], seed=1),
    "initializer, refused": lambda: fi.he_normal.fill(OUT, seed=1, shape=(3,)),
}
#: They ask the processor, which takes long where it is a virtual one.
SLOW = ("available_isas", "set_isa", "set_isa, refused")


def repeat(call: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        with suppress(ValueError, TypeError, KeyError, OverflowError, BufferError):
            call()


def resident_pages() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])


@pytest.mark.parametrize("name", CALLS)
def test_nothing_stays(name: str) -> None:
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc on this system")
    arguments = (OUT, BYTES, READ_ONLY, WORDS, COUNT, STEP, STRIDE, UNIFORM, REGION)
    call, repeats = CALLS[name], REPEATS // 20 if name in SLOW else REPEATS
    repeat(call, repeats // 4)
    gc.collect()
    references = [sys.getrefcount(a) for a in arguments]
    blocks, pages = sys.getallocatedblocks(), resident_pages()
    repeat(call, repeats)
    gc.collect()
    assert [sys.getrefcount(a) for a in arguments] == references
    assert sys.getallocatedblocks() - blocks < BLOCKS
    assert resident_pages() - pages < PAGES
