"""How long a fill of 10 GB takes to answer Ctrl-C.

    python tests/reliability/interrupt.py [gigabytes] [times]

Fills one float32 array with truncated normals and sends the process SIGINT 0.1 to 0.6 s after the start of each.
Prints for each how long it took from the signal to the handler of KeyboardInterrupt, then the worst. After each, the array must
stay as it is, and the first million elements, filled again, must be those of a new array.
"""

import os
import random
import signal
import sys
import threading
import time

import numpy as np

import fastinit as fi


def interrupt_after(delay: float, sent: list[float]) -> threading.Timer:
    def send() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(delay, send)
    timer.start()
    return timer


def latency(out: np.ndarray, chance: random.Random) -> float:
    """Seconds from the signal to the exception of one fill."""
    sent: list[float] = []
    timer = interrupt_after(chance.uniform(0.1, 0.6), sent)
    try:
        fi.he_normal.fill(out, seed=0)
    except KeyboardInterrupt:
        taken = time.perf_counter() - sent[0]
    else:
        timer.join()
        raise SystemExit("the fill ended before the signal came")
    sample = out[:: 2**16].copy()
    time.sleep(0.05)
    if sample.tobytes() != out[:: 2**16].tobytes():
        raise SystemExit("something still writes")
    return taken


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    out = np.empty(int(gigabytes * 1e9) // 4, np.float32)
    print(f"{out.nbytes / 1e9:.1f} GB, {fi.get_num_threads()} threads")
    chance, latencies = random.Random(0), []
    want = fi.TruncatedNormal()(2**20, seed=2)
    for _ in range(times):
        latencies.append(latency(out, chance))
        fi.TruncatedNormal().fill(out[: 2**20], seed=2)
        if out[: 2**20].tobytes() != want.tobytes():
            raise SystemExit("a fill after the interrupt is wrong")
        print(f"{latencies[-1] * 1e3:.1f} ms", flush=True)
    print(f"worst of {times}: {max(latencies) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
