"""How long a fill of 10 GB takes to answer Ctrl-C.

    python tests/reliability/interrupt.py [gigabytes] [times]

Fills one float32 array with truncated normals and sends the process SIGINT 0.1 to 0.6 s after the start of each.
Prints for each how long it took from the signal to the handler of KeyboardInterrupt, then the worst. After each, the array must
stay as it is, and the first million elements, filled again, must be those of a new array.
"""

import argparse
import os
import random
import signal
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
    parser = argparse.ArgumentParser(description="Interrupts fills and prints how soon they end.")
    parser.add_argument("gigabytes", nargs="?", type=float, default=10)
    parser.add_argument("times", nargs="?", type=int, default=20)
    arguments = parser.parse_args()
    times = arguments.times
    out = np.empty(int(arguments.gigabytes * 1e9) // 4, np.float32)
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
