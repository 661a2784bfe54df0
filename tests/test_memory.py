"""No temporaries that grow with the tensor, and threads that stop."""

from __future__ import annotations

import subprocess
import sys

import pytest

from machine import need_memory

PEAK = """
import numpy as np
import fastinit as fi

def peak():  # of this process alone: ru_maxrss would start from its parent's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

out = {out}
out.fill(1)
make = fi.{make}
make.fill(out[:1], seed=0)
before = peak()
make.fill(out, seed=0)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "make", ["he_normal", "TruncatedNormal(0, 1, lower=3, upper=4)", "glorot_uniform"]
)
@pytest.mark.parametrize(
    "out",
    [
        "np.empty((2**14, 2**13), np.float32)",
        "np.empty((2**14, 2**14), np.float16)",
        "np.empty((2**13, 2**14), np.float32).T",
    ],
)
def test_a_512_mib_fill_adds_less_than_8_mib(make: str, out: str) -> None:
    need_memory(3 * 2**28)
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(out=out, make=make)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 8 * 1024  # KiB


def test_the_measure_sees_a_temporary() -> None:
    code = PEAK.format(out="np.empty((2**12, 2**12), np.float32)", make="he_normal")
    code = code.replace("make.fill(out, seed=0)", "np.ones(2**24, np.uint8)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 8 * 1024


INTERRUPT = """
import signal, threading, time
import numpy as np
import fastinit as fi
out = np.zeros((2**15, 2**13), np.float32)
fi.he_normal.fill(out[:1], seed=0)
timer = threading.Timer(0.05, signal.raise_signal, [signal.SIGINT])
fi.set_isa("scalar")  # seconds, so that the timer comes in time on a busy machine too
timer.start()
try:
    fi.TruncatedNormal(0, 1, lower=1, upper=9).fill(out, seed=0, threads=2)
except KeyboardInterrupt:
    written = out.any(axis=1).sum()
    time.sleep(0.1)
    print("interrupted", written == out.any(axis=1).sum() < len(out))
fi.set_isa(None)
fi.he_normal.fill(out[:100], seed=0)
print((out[:100] == fi.he_normal((100, 2**13), seed=0)).all())
"""


def test_interrupt_stops_all_threads_and_leaves_the_process_usable() -> None:
    need_memory(5 * 2**28)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT], capture_output=True, text=True, check=True, timeout=600
    )
    assert done.stdout == "interrupted True\nTrue\n"


LATE = """
import mmap, os
import numpy as np
import fastinit as fi
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
for _ in range(100):
    memory = mmap.mmap(-1, 2**22)
    out = np.frombuffer(memory, np.float32)
    fi.Uniform().fill(out, seed=0, threads=4)
    del out
    memory.close()  # an error while anything still refers to it
"""


def test_helpers_that_start_late_hold_no_memory() -> None:
    """On one processor, helpers often start when the caller has done their work."""
    subprocess.run([sys.executable, "-c", LATE], check=True)


FORK = """
import os
import fastinit as fi
want = fi.he_normal((2**20,), seed=1, threads=2)
child = os.fork()
if child == 0:
    os._exit(0 if (fi.he_normal((2**20,), seed=1, threads=2) == want).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this platform")
def test_fill_after_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
