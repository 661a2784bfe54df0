"""How many threads a fill gets, and what happens to their errors."""

from __future__ import annotations

import _thread
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastinit as fi
from fastinit import threads


def test_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The affinity of the moment, not of the import."""
    monkeypatch.setattr(threads, "cgroup_quota", lambda: math.inf)
    for cpus in ({0}, {0, 1, 5}, set(range(64))):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cpus=cpus: cpus, raising=False)
        assert fi.get_num_threads() == len(cpus)


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.5, 2), (3.0, 3), (100.0, 8)])
def test_quota_is_rounded_up(monkeypatch: pytest.MonkeyPatch, quota: float, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: quota)
    assert fi.get_num_threads() == expected


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "150000 100000"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a\n", {}, math.inf),
        (
            "3:memory:/m\n2:cpu,cpuacct:/j\n",
            {
                "cpu,cpuacct/j/cpu.cfs_quota_us": "200000",
                "cpu,cpuacct/j/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
    ],
)
def test_cgroup_quota(tmp_path: Path, membership: str, files: dict[str, str], quota: float) -> None:
    """The smallest quota of all levels, in version 2 and version 1."""
    (tmp_path / "self").write_text(membership)
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    made = threads.cgroup_quota.__wrapped__(
        tmp_path / "root", tmp_path / "self"
    )  # a folder's name can come again
    assert made == quota


def test_set_num_threads() -> None:
    fi.set_num_threads(3)
    assert fi.get_num_threads() == 3
    fi.set_num_threads(None)
    assert fi.get_num_threads() == threads.usable_cpus()


def test_spread_keeps_threads_apart() -> None:
    assert list(threads.spread(7, 3)) == [0, 3, 6, 1, 4, 2, 5]
    assert list(threads.spread(5, 1)) == [0, 1, 2, 3, 4]
    assert list(threads.spread(2, 2)) == [0, 1]


def test_share_uses_its_threads_and_does_each_task_once() -> None:
    barrier = threading.Barrier(3, timeout=60)
    done: list[tuple[int, int]] = []

    def task(i: int) -> None:
        if i < 3:
            barrier.wait()  # passes only with three threads at once
        done.append((i, threading.get_ident()))

    reports: list[int] = []
    threads.share(task, 20, 3, reports.append)
    assert reports[-1] == 20
    assert sorted(i for i, _ in done) == list(range(20))
    assert len({ident for _, ident in done}) == 3
    assert reports == sorted(reports)


@pytest.mark.parametrize("failing", [0, 5])
def test_an_error_in_any_thread_is_raised_and_stops_the_rest(failing: int) -> None:
    started: list[int] = []

    def task(i: int) -> None:
        started.append(i)
        if i == failing:
            raise MemoryError(f"task {i}")

    with pytest.raises(MemoryError, match=f"task {failing}"):
        threads.share(task, 10_000, 4)
    assert len(started) < 10_000


def test_share_goes_on_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    want = fi.he_normal((2**20,), seed=1, threads=1)
    np.testing.assert_array_equal(fi.he_normal((2**20,), seed=1, threads=8), want)


def test_fills_from_many_threads_at_once() -> None:
    want = [fi.he_normal((600, 1000), seed=seed, threads=1) for seed in range(16)]
    with ThreadPoolExecutor(16) as pool:
        made = pool.map(lambda seed: fi.he_normal((600, 1000), seed=seed, threads=3), range(16))
        for left, right in zip(made, want, strict=True):
            np.testing.assert_array_equal(left, right)
