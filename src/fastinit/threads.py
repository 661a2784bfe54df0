"""How many threads a fill may use, and the loop that shares its chunks among them."""

from __future__ import annotations

import _thread
import math
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from fastinit import _kernel
from fastinit.checks import check_int

#: Told how many bytes are done, and how many there are.
Progress = Callable[[int, int], None]

_chosen: int | None = None


def set_num_threads(n: int | None) -> None:
    """Set how many threads fills use unless told otherwise.

    Parameters
    ----------
    n : int or None
        At least 1; None goes back to the default, the CPUs that this process
        may use (affinity and cgroup quota included).

    Raises
    ------
    ValueError, TypeError
        `n` is below 1, or not an integer.

    Notes
    -----
    The values do not depend on it. ``FASTINIT_NUM_THREADS`` in the environment
    sets it at import.
    """
    global _chosen
    _chosen = None if n is None else check_int("n", n, 1)


def get_num_threads() -> int:
    """How many threads fills use unless told otherwise."""
    return usable_cpus() if _chosen is None else _chosen


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity, and the quota of its cgroups rounded up."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    cpus = len(affinity) or os.cpu_count() or 1
    return max(1, math.ceil(min(cpus, cgroup_quota())))


@cache
def cgroup_quota(
    root: Path = Path("/sys/fs/cgroup"), self: Path = Path("/proc/self/cgroup")
) -> float:
    """CPUs that the cgroups of this process allow, the smallest of all levels; infinite without."""
    quotas = [math.inf]
    try:
        lines = self.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / controllers  # version 2 has one hierarchy, without a name
        level = top / group.strip("/")
        for folder in (level, *level.parents):
            if folder.is_relative_to(top):
                quotas.append(_quota_of(folder))
    return min(quotas)


def _quota_of(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():  # version 2: "quota period", or "max period"
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError):
        return math.inf


def spread(count: int, threads: int) -> Iterator[int]:
    """The numbers below `count` in the order in which threads should take them.

    Threads at work at the same time are far apart then, each on a stretch of its own: where
    memory is fresh, two that write to one page wait for each other.
    """
    stretch = -(-count // threads)
    return (i for first in range(stretch) for i in range(first, count, stretch))


def share(
    task: Callable[[int], None],
    count: int,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Call ``task(i)`` for every i in range(count) from up to `threads` threads, in no order.

    The caller's thread works too, so a signal handler such as Ctrl-C runs
    between two of its tasks; an exception anywhere stops all threads after
    their task at hand, and is raised. When this returns or raises, no thread is at
    a task or will take one. A thread that starts too late to be of use ends at once,
    and holds nothing of the caller's.
    """
    turn = _kernel.Turn()
    threads = max(1, min(threads, count))
    # The only reference to the task: a helper that has yet to start must not keep the memory that it fills.
    remaining: Iterator[tuple[Callable[[int], None], int]]
    remaining = ((task, i) for i in spread(count, threads))
    going = [True]  # False when all are to stop
    done: list[None] = []  # one for each task: appending is atomic
    errors: list[BaseException] = []

    def work(report: Callable[[int], None] | None = None) -> None:
        while going[0]:
            job = turn(next, remaining, None)
            if job is None:
                return
            run, i = job
            run(i)
            done.append(None)
            if report is not None:
                report(len(done))

    helpers = [_kernel.Turn() for _ in range(threads - 1)]

    def work_with_helpers() -> None:
        # Not threading.Thread, whose start waits until the thread runs: where a processor has to wake up for
        # it, that takes longer than a task. A helper that comes late finds nothing left to do.
        for helper in helpers:
            try:
                _thread.start_new_thread(_kernel.help_out, (helper, work, going, errors))
            except RuntimeError:  # no more threads to be had: go on with those there are
                break
        work(progress)

    try:
        _kernel.run_then_wait(work_with_helpers, going, helpers)
        if errors:
            raise ([e for e in errors if not isinstance(e, Exception)] or errors)[0]
        if len(done) < count:  # a thread had no memory even to say so
            raise MemoryError(f"{count - len(done)} of {count} tasks were not done")
    finally:
        remaining = iter(())
        errors.clear()  # whose tracebacks would hold this frame, and with it the caller's memory
    if progress is not None:
        progress(len(done))
