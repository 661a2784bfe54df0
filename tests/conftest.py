"""Fixtures: every instruction set that this machine runs, and a clean choice of it afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Tests count the threads that fills use, or say how many; FASTINIT_ISA is followed. (fastinit reads both when it is
# imported.)
os.environ.pop("FASTINIT_NUM_THREADS", None)

import numpy as np
import pytest
from hypothesis import settings

import fastinit as fi

# A check of a change repeats exactly; at the desk, hypothesis looks further each time.
# Failures are kept in the checkout, if that can be written; deadlines would depend on what else the machine does.
WRITABLE = os.access(Path(__file__).parent.parent, os.W_OK)
AT_THE_DESK: dict[str, Any] = {} if WRITABLE else {"database": None}
settings.register_profile("desk", deadline=None, **AT_THE_DESK)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

# Shells have background jobs ignore interrupts, and programs that tests start would take that over.
signal.signal(signal.SIGINT, signal.default_int_handler)

ISAS = ("avx512", "avx2", "sse2", "neon", "scalar")
DTYPES = ("float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set in turn, in use during the test; skipped where it cannot run."""
    if request.param not in fi.available_isas():
        pytest.skip(f"this machine does not run {request.param}")
    fi.set_isa(request.param)
    yield request.param
    fi.set_isa(os.environ.get("FASTINIT_ISA"))


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def as_bits(a: np.ndarray) -> np.ndarray:
    """The values as integers, so that comparisons see every bit (bfloat16 included)."""
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}")
