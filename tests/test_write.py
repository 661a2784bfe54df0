"""Writing models: the bytes depend on nothing but the model and the seed, and the name means a complete file."""

from __future__ import annotations

import errno
import functools
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
import reference
from fastinit import write
from fastinit.files import read_stored
from fastinit.write import PIECE, STATE_HEADER
from machine import need_disk
from test_cli import run

#: Pieces of all kinds: smaller than one, ragged ends, a padding row across a piece's end, no elements.
MODEL = fi.Model(
    [
        fi.Tensor("norm", (100,), fi.ones),
        fi.Tensor("up", (700, 1000), fi.he_normal),
        fi.Tensor("down", (1000, 701), fi.TruncatedNormal(0, 0.02), "bfloat16"),
        fi.Tensor("embedding", (40, 30_000), fi.Normal(0, 0.02), padding_idx=8),
        fi.Tensor("empty", (0, 5), fi.ones),
        fi.Tensor("small", (9, 9), fi.Normal(0, 0.25), "float8_e4m3fn"),
        fi.Tensor("double", (300, 999), fi.glorot_uniform, "float64"),
    ]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "m.safetensors"
    assert MODEL.write(path, seed=5, threads=1)
    return path.read_bytes()


def test_elements_are_those_of_the_oracle(tmp_path: Path) -> None:
    assert MODEL.write(tmp_path / "raw", seed=5, format="raw")
    key = reference.stream_key(5, "embedding")
    got = np.fromfile(tmp_path / "raw" / "embedding.bin", np.float32).reshape(40, 30_000)
    for begin in (0, 6 * 30_000 + 17, 9 * 30_000, 39 * 30_000):
        want = reference.normal("float32", key, begin, 30_000, 0.0, 0.02)
        np.testing.assert_array_equal(got.reshape(-1)[begin : begin + 30_000], want)
    assert not got[8].any()
    assert got[7].all()
    assert got[9].all()
    small = np.fromfile(tmp_path / "raw" / "small.bin", np.uint8)
    want = reference.normal("float8_e4m3fn", reference.stream_key(5, "small"), 0, 81, 0.0, 0.25)
    np.testing.assert_array_equal(small, want)


def test_arrays_hold_what_files_do(tmp_path: Path) -> None:
    MODEL.write(tmp_path / "raw", seed=5, format="raw")
    for tensor in MODEL:
        stored = np.fromfile(tmp_path / "raw" / f"{tensor.name}.bin", np.uint8)
        made = MODEL.make(tensor.name, seed=5).reshape(-1).view(np.uint8)
        np.testing.assert_array_equal(made, stored)
    whole = MODEL.make("embedding", seed=5)
    for index in (
        8, -32, slice(2, 9), slice(None, None, -3), (slice(8, 9), 5), ..., (..., 3), (),
        (..., 8, slice(None)), (..., slice(7, 9), slice(0, 4)), (8, ...), (..., 8, 2), (3, 5, ...),
    ):  # fmt: skip
        part = MODEL.make("embedding", seed=5, index=index)
        np.testing.assert_array_equal(part, whole[index])
    arrays = {
        "embedding": np.ones((20, 30_000), np.float32),
        "up": np.ones((700, 1000), np.float16),
    }
    MODEL.fill(arrays, seed=5, index={"embedding": slice(0, 20)})
    np.testing.assert_array_equal(arrays["embedding"], whole[:20])
    want = fi.he_normal((700, 1000), seed=5, stream="up", dtype="float16")
    np.testing.assert_array_equal(arrays["up"], want)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("buffer", [2**16, 3 * 2**16, PIECE])
def test_threads_and_buffers_change_nothing(
    tmp_path: Path, whole: bytes, threads: int, buffer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_buffers", lambda *_: (threads, buffer))
    assert MODEL.write(tmp_path / "m.safetensors", seed=5)
    assert (tmp_path / "m.safetensors").read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("world", [2, 3, 7, 50])
def test_ranks_in_any_order(tmp_path: Path, whole: bytes, world: int) -> None:
    """50 are more than there are pieces: some ranks have nothing to do."""
    ranks = list(range(world))
    random.Random(world).shuffle(ranks)
    for n, rank in enumerate(ranks):
        complete = MODEL.write(tmp_path / "m.safetensors", seed=5, rank=rank, world=world)
        assert complete == (tmp_path / "m.safetensors").exists()
        assert complete or n < world - 1
    assert (tmp_path / "m.safetensors").read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_parts_are_of_equal_size() -> None:
    pieces = write.Pieces(MODEL._layouts("m.safetensors", 0, "safetensors", None)[0])
    for world in (1, 2, 3, 4):
        parts = [pieces.of_rank(rank, world) for rank in range(world)]
        assert [i for part in parts for i in part] == list(range(len(pieces)))
        sizes = [sum(pieces.find(i)[2] for i in part) for part in parts]
        assert max(sizes) - min(sizes) <= 2 * PIECE


def test_processes_at_once(tmp_path: Path, whole: bytes) -> None:
    """Ranks of one job, one of them twice: the pieces are the same, whoever writes them."""
    spec = tmp_path / "spec.json"
    spec.write_text(MODEL.to_json())
    target = tmp_path / "m.safetensors"
    command = ("model", spec, "--seed", 5, "-o", target, "--world", 3, "--rank")
    # A rank that starts when the output is complete begins it anew: the one that is there twice must come first.
    for ranks in ((1, 1), (0, 2)):
        with ThreadPoolExecutor() as pool:
            for done in pool.map(lambda rank: run(*command, rank), ranks):
                assert done.returncode == 0, done.stderr
    assert target.read_bytes() == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.safetensors", "spec.json"]


#: Six tensors of 64 MiB.
BIG = fi.Model([fi.Tensor(f"t{i}", (4096, 4096), fi.he_normal) for i in range(6)]).to_json()


#: The command line, in a process that gets a signal when it has written 40 pieces.
STOPPED = """
import os, sys
from fastinit import cli, write
number, written, set_done = int(sys.argv[1]), [], write.State.set_done
def count(state, piece):
    set_done(state, piece)
    written.append(piece)
    if len(written) == 40:
        os.kill(os.getpid(), number)
write.State.set_done = count
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_goes_on_after_a_kill(tmp_path: Path, number: int) -> None:
    """Nothing has the final name; pieces that are done are not done again; the bytes are those of one run."""
    spec, target = tmp_path / "spec.json", tmp_path / "m.safetensors"
    need_disk(tmp_path, 2**29)
    spec.write_text(BIG)
    working = tmp_path / ".m.safetensors.partial"
    command = [sys.executable, "-c", STOPPED, int(number), "model", spec, "--seed", 1, "-o", target]
    stopped = subprocess.run(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.stderr
    assert not target.exists()
    done = np.flatnonzero(np.frombuffer((working / "state").read_bytes()[STATE_HEADER:], np.uint8))
    assert 40 <= done.size < 6 * 64 + 1
    # Change a piece that is done: were it done again, the change would be gone.
    tensor, at = divmod(
        int(done[done > 0][0]) - 1, 64
    )  # piece 0 is the header, and a tensor has 64
    with (working / "0.partial").open("r+b") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
        place = header + (64 * tensor + at) * PIECE
        file.seek(place)
        file.write(b"mark")
    assert run("model", spec, "--seed", 1, "-o", target).returncode == 0
    with target.open("r+b") as file:
        file.seek(place)
        assert file.read(4) == b"mark"
        element = fi.he_normal.shard((4096, 4096), (64 * at, 0), seed=1, stream=f"t{tensor}")
        file.seek(place)
        file.write(element.tobytes())
    exact = run("check", target, spec, "--exact", "--seed", 1)
    assert exact.returncode == 0, exact.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.safetensors", "spec.json"]


def test_another_seed_does_not_go_on(tmp_path: Path) -> None:
    assert not MODEL.write(tmp_path / "m.safetensors", seed=5, rank=0, world=2)
    for seed, model in ((6, MODEL), (5, fi.Model(list(MODEL)[1:]))):
        with pytest.raises(ValueError, match="unfinished output of other tensors, another seed"):
            model.write(tmp_path / "m.safetensors", seed=seed)
    assert MODEL.write(tmp_path / "m.safetensors", seed=5)


def test_a_machine_that_went_down_starts_again(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had not written back is lost, so its map is worth nothing."""
    assert not MODEL.write(tmp_path / "m.safetensors", seed=5, rank=0, world=2)
    partial = tmp_path / ".m.safetensors.partial" / "0.partial"
    partial.write_bytes(b"\0" * partial.stat().st_size)
    monkeypatch.setattr(write, "_boot_id", lambda: "another")
    assert MODEL.write(tmp_path / "m.safetensors", seed=5)
    assert (tmp_path / "m.safetensors").read_bytes() == whole


def test_a_stop_between_the_last_piece_and_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between the names of a set: the next run gives the others theirs."""
    target = tmp_path / "m.safetensors"
    moved = []

    def stop_at_the_second(path: Path, to: Path) -> None:
        if len(moved) == 1:
            raise KeyboardInterrupt
        moved.append(to)
        path.replace(to)

    with monkeypatch.context() as patch:
        patch.setattr(write, "_move", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            MODEL.write(target, seed=5, max_shard_size=3_000_000)
    assert not (tmp_path / "m.safetensors.index.json").exists()
    assert MODEL.write(target, seed=5, max_shard_size=3_000_000)
    assert MODEL.differences(tmp_path, seed=5) == []
    assert not (tmp_path / ".m.safetensors.partial").exists()


def test_a_stop_between_the_names_of_raw_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index is left that would read the new bytes as the old tensors."""

    def model(shape: tuple[int, ...], dtype: str) -> fi.Model:
        return fi.Model([fi.Tensor(name, shape, fi.Constant(1), dtype) for name in "ab"])

    def stop_at_the_index(path: Path, to: Path) -> None:
        if to.name == "tensors.json":
            raise KeyboardInterrupt
        path.replace(to)

    new = model((2,), "float64")
    model((4,), "float32").write(tmp_path, seed=0, format="raw")
    with monkeypatch.context() as patch:
        patch.setattr(write, "_move", stop_at_the_index)
        with pytest.raises(KeyboardInterrupt):
            new.write(tmp_path, seed=0, format="raw")
    with pytest.raises(ValueError, match="raw files in it, got none"):
        read_stored(tmp_path)
    assert new.write(tmp_path, seed=0, format="raw")
    assert new.differences(tmp_path, seed=0) == []


def test_a_file_that_is_not_as_it_was_written_gets_no_name(tmp_path: Path) -> None:
    assert not MODEL.write(tmp_path / "m.safetensors", seed=5, rank=0, world=2)
    partial = tmp_path / ".m.safetensors.partial" / "0.partial"
    with partial.open("r+b") as file:
        file.write(b"\0" * 8)
    with pytest.raises(OSError, match="not as it was written"):
        MODEL.write(tmp_path / "m.safetensors", seed=5)
    assert not (tmp_path / "m.safetensors").exists()


def test_a_part_that_is_lost_is_written_again(tmp_path: Path, whole: bytes) -> None:
    """The map is worth as much as the file: another rank's part is missing again, not full of zeros."""
    target = tmp_path / "m.safetensors"
    assert not MODEL.write(target, seed=5, rank=1, world=2)
    (tmp_path / ".m.safetensors.partial" / "0.partial").unlink()
    assert not MODEL.write(target, seed=5, rank=0, world=2)
    assert MODEL.write(target, seed=5)
    assert target.read_bytes() == whole


@pytest.mark.parametrize(
    "header",
    [b"", b"\0" * 10, b"[" * 50_000, b"{}", b'{"plan": 3, "boots": 4}', b'"a"', b"\xff" * 100],
)
def test_a_state_that_is_none(tmp_path: Path, whole: bytes, header: bytes) -> None:
    """A blank one, as a crash may leave, begins anew, whatever its map says; any other is an error."""
    working = tmp_path / ".m.safetensors.partial"
    working.mkdir()
    (working / "state").write_bytes(header.ljust(STATE_HEADER, b"\0") + b"\1" * 100)
    if header.strip(b"\0"):
        with pytest.raises(ValueError, match=r"not the state of an output|unfinished output"):
            MODEL.write(tmp_path / "m.safetensors", seed=5)
    else:
        assert MODEL.write(tmp_path / "m.safetensors", seed=5)
        assert (tmp_path / "m.safetensors").read_bytes() == whole


def test_older_outputs_of_the_name_are_replaced(tmp_path: Path) -> None:
    target = tmp_path / "m.safetensors"
    (tmp_path / "m-x.safetensors").write_bytes(b"another file")
    for limit, count in ((3_000_000, 4), (None, 1), (6_000_000, 3), (3_000_000, 4)):
        MODEL.write(target, seed=5, max_shard_size=limit)
        names = {p.name for p in tmp_path.iterdir()} - {"m-x.safetensors"}
        assert len(names) == (1 if limit is None else count + 1)
        source = target if limit is None else tmp_path / "m.safetensors.index.json"
        assert MODEL.differences(source, seed=5) == []
    assert (tmp_path / "m-x.safetensors").exists()


def test_folders_hold_one_model(tmp_path: Path) -> None:
    MODEL.write(tmp_path / "raw", seed=5, format="raw")
    MODEL.write(tmp_path / "raw", seed=6, format="raw")
    assert MODEL.differences(tmp_path / "raw", seed=6) == []
    with pytest.raises(
        ValueError, match=r"raw: expected a folder without other files, got 'double.bin'"
    ):
        MODEL.write(tmp_path / "raw", seed=5, format="npy")
    with pytest.raises(ValueError, match="memory must be at least"):
        MODEL.write(tmp_path / "new", seed=5, format="npy", memory=1)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_a_disk(small_disk: Path) -> None:
    """Nothing is written outside of it: names cannot move from one disk to another."""
    model = fi.Model([fi.Tensor("w", (1000, 1000), fi.he_normal)])
    assert model.write(small_disk, seed=1, format="npy")
    assert [p.name for p in small_disk.iterdir()] == ["w.npy"]
    np.testing.assert_array_equal(np.load(small_disk / "w.npy"), model.make("w", seed=1))


def test_equal_processes_at_once(tmp_path: Path) -> None:
    """Many files, many times: whoever is faster ends the output, and the other one is content."""
    model = fi.Model([fi.Tensor(f"t{i}", (500, 100), fi.Normal()) for i in range(20)])
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            jobs = [
                pool.submit(
                    model.write, tmp_path / "m.safetensors", seed=1, max_shard_size=1, threads=1
                )
                for _ in range(3)
            ]
            assert all(job.result() for job in jobs)
            assert model.differences(tmp_path, seed=1) == []
            assert not (tmp_path / ".m.safetensors.partial").exists()


TWO = fi.Model([fi.Tensor("a", (10,), fi.zeros), fi.Tensor("b", (10,), fi.zeros)])


def test_another_process_ends_the_output_while_space_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.safetensors"
    disk_usage = shutil.disk_usage

    def after_the_end(path: Path) -> object:
        monkeypatch.setattr(shutil, "disk_usage", disk_usage)
        assert TWO.write(target, seed=1)
        return disk_usage(path)

    assert not TWO.write(target, seed=1, rank=0, world=2)
    monkeypatch.setattr(shutil, "disk_usage", after_the_end)
    assert TWO.write(target, seed=1)
    assert TWO.differences(target, seed=1) == []


def test_another_process_ends_the_output_while_its_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is there when it is to be made, and gone when `mkdir` looks what is in its way."""
    mkdir = os.mkdir

    def gone_then(path: Path, mode: int) -> None:
        monkeypatch.setattr(os, "mkdir", mkdir)
        try:
            mkdir(path, mode)
        except FileExistsError:
            os.rmdir(path)
            raise

    (tmp_path / ".m.safetensors.partial").mkdir()
    monkeypatch.setattr(os, "mkdir", gone_then)
    assert TWO.write(tmp_path / "m.safetensors", seed=1)


def test_another_process_moves_the_files_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have their names, and the state is still there, when this one wants to write into them."""
    arguments: dict[str, Any] = {"seed": 1, "max_shard_size": 1, "threads": 1}
    target = tmp_path / "m.safetensors"
    moved, look = threading.Event(), threading.Event()
    move, open_file = write._move, write._Worker.open

    def move_and_wait(path: Path, to: Path) -> None:
        move(path, to)
        if path.name == "1.partial":
            moved.set()
            look.wait(1)  # long enough for the other one to see the state, were it not for the lock

    def open_after_the_move(worker: write._Worker, file: int) -> int:
        if threading.current_thread() is threading.main_thread() and not moved.is_set():
            other.start()
            assert moved.wait(60)
        return open_file(worker, file)

    other = threading.Thread(target=TWO.write, args=(target,), kwargs=arguments)
    monkeypatch.setattr(write, "_move", move_and_wait)
    monkeypatch.setattr(write._Worker, "open", open_after_the_move)
    assert TWO.write(target, **arguments)
    other.join()
    assert TWO.differences(tmp_path, seed=1) == []


def test_another_process_replaces_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there when targets are looked at, and gone a moment later."""
    target, index = tmp_path / "m.safetensors", tmp_path / "m.safetensors.index.json"
    assert TWO.write(target, seed=1, max_shard_size=1)
    exists = Path.exists

    def exists_then_gone(path: Path) -> bool:
        found = exists(path)
        if path == index:
            index.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "exists", exists_then_gone)
    assert TWO.write(target, seed=2, max_shard_size=1)


def test_a_folder_with_the_name_of_an_older_file_stays(tmp_path: Path) -> None:
    (tmp_path / "m-00002-of-00003.safetensors").mkdir()
    assert TWO.write(tmp_path / "m.safetensors", seed=1, max_shard_size=1)
    assert (tmp_path / "m-00002-of-00003.safetensors").is_dir()


def test_an_existing_file_stays_until_the_end(tmp_path: Path, whole: bytes) -> None:
    target = tmp_path / "m.safetensors"
    target.write_bytes(b"old")
    target.chmod(0o600)
    MODEL.write(target, seed=5, rank=0, world=2)
    assert target.read_bytes() == b"old"
    assert MODEL.write(target, seed=5)
    assert target.read_bytes() == whole
    assert target.stat().st_mode & 0o777 == 0o600


def plant(kind: str, place: Path, other: Path) -> None:
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "hard link":
        os.link(other, place)
    else:
        place.symlink_to(other)


@pytest.mark.parametrize("planted", ["0.partial", "1.partial", "state", "extra"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe"])
def test_what_others_plant_in_the_working_folder_is_refused(
    tmp_path: Path, planted: str, kind: str
) -> None:
    """They cannot have other files written, nor the writer wait for a reader that never comes."""
    other = tmp_path / "other"
    if kind != "dangling link":
        other.write_bytes(b"")  # as an empty state, it would be taken up
    working = tmp_path / ".m.safetensors.partial"
    working.mkdir()
    plant(kind, working / planted, other)
    with pytest.raises(OSError, match=re.escape(str(working / planted))) as caught:
        MODEL.write(tmp_path / "m.safetensors", seed=5, max_shard_size=2**22)
    if kind in ("link", "dangling link"):
        assert caught.value.errno == errno.ELOOP
    assert not (tmp_path / "m.safetensors.index.json").exists()
    assert not other.exists() if kind == "dangling link" else other.read_bytes() == b""


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_what_others_plant_may_have_the_right_size(tmp_path: Path, kind: str) -> None:
    """So that nothing would be made anew: of a pipe it is 0."""
    other, working = tmp_path / "other", tmp_path / "raw" / ".partial"
    working.mkdir(parents=True)
    size = 0 if kind == "pipe" else 400
    other.write_bytes(b"1" * size)
    plant(kind, working / "0.partial", other)
    model = fi.Model([fi.Tensor("w", (size // 4,), fi.zeros)])
    with pytest.raises(OSError, match=re.escape(str(working / "0.partial"))):
        model.write(tmp_path / "raw", seed=5, format="raw")
    assert other.read_bytes() == b"1" * size


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_the_place_of_the_working_folder_is_refused(
    tmp_path: Path, dangling: bool
) -> None:
    other = tmp_path / "other"
    if not dangling:
        other.mkdir()
    (tmp_path / ".m.safetensors.partial").symlink_to(other)
    with pytest.raises(OSError, match="is not a folder, expected one"):
        MODEL.write(tmp_path / "m.safetensors", seed=5)
    assert not other.exists() if dangling else not list(other.iterdir())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_modes_are_those_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        fi.Model([MODEL["norm"]]).write(tmp_path / "raw", seed=5, format="raw")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "raw").iterdir()} == {mode}


def test_progress_counts_bytes(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    caller = threading.get_ident()

    def progress(done: int, total: int) -> None:
        assert threading.get_ident() == caller
        seen.append((done, total))

    MODEL.write(tmp_path / "m.safetensors", seed=5, progress=progress)
    total = (tmp_path / "m.safetensors").stat().st_size
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def peak_memory(*arguments: object) -> int:
    """Bytes of the peak of a command's memory."""
    command = [sys.executable, "-m", "fastinit", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def test_memory_stays_within_its_budget(tmp_path: Path) -> None:
    need_disk(tmp_path, 2**29)
    spec, target = tmp_path / "spec.json", tmp_path / "m.safetensors"
    spec.write_text(BIG)
    budget = peak_memory("spec", spec) + 4 * 2**20
    threads = min(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)  # a file each
    peak = peak_memory(
        "model", spec, "--seed", 1, "-o", target, "--memory", budget, "--threads", threads
    )
    assert peak <= budget
    done = run("model", spec, "--seed", 1, "-o", target, "--memory", "1MB")
    assert done.returncode == 1
    assert "memory must be at least" in done.stderr
    assert peak_memory("check", target, "--exact", "--threads", 1) <= budget


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting needs rights that this user does not have")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_too_small(small_disk: Path) -> None:
    spec = small_disk.parent / "spec.json"
    spec.write_text(MODEL.to_json())
    done = run("model", spec, "--seed", 5, "-o", small_disk / "m.safetensors")
    assert done.returncode == 1
    assert "are to be written, and" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up(
    small_disk: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error, what is written stays, and a run with more room completes it."""
    target = small_disk / "m.safetensors"
    (small_disk / "other").write_bytes(b"1" * 2**20)
    with monkeypatch.context() as patch:
        patch.setattr(write.Output, "_check_space", lambda *_: None)
        with pytest.raises(OSError, match="No space left") as raised:
            MODEL.write(target, seed=5)
    assert raised.value.errno == errno.ENOSPC
    assert re.search(r"tensor '\w+': '.*/disk/m.safetensors'$", str(raised.value))
    assert not target.exists()
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert MODEL.write(target, seed=5)
    assert target.read_bytes() == whole


def test_a_read_only_disk(small_disk: Path) -> None:
    spec = small_disk.parent / "spec.json"
    spec.write_text(MODEL.to_json())
    subprocess.run(["mount", "-o", "remount,ro,size=64m", small_disk], check=True)
    done = run("model", spec, "--seed", 5, "-o", small_disk / "m.safetensors")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.filterwarnings(r"ignore:os.fork\(\) was called:RuntimeWarning")  # JAX, if it is loaded
def test_a_limit_on_files(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    spec = tmp_path / "spec.json"
    spec.write_text(MODEL.to_json())
    done = run("model", spec, "--seed", 5, "-o", tmp_path / "m.safetensors", preexec_fn=limit)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"File too large: '{tmp_path}" in done.stderr
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": None}, TypeError, "seed must be given, got None"),
        ({"seed": -1}, ValueError, "seed must be an int in"),
        (
            {"rank": 2, "world": 2},
            ValueError,
            r"rank must be an int in \[0, world\), here \[0, 2\), got 2",
        ),
        ({"world": 0}, ValueError, "world must be an int of at least 1, got 0"),
        ({"format": "pickle"}, ValueError, "format must be one of safetensors, npy, raw"),
        (
            {"format": "npy", "max_shard_size": 5},
            ValueError,
            "max_shard_size applies only to safetensors",
        ),
        ({"resume": False, "world": 2}, ValueError, "resume must be True .* got world=2"),
        ({"resume": False, "format": "raw"}, ValueError, "resume must be True for a folder"),
        ({"max_shard_size": 0}, ValueError, "max_shard_size must be an int of at least 1, got 0"),
        ({"threads": 0}, ValueError, "threads must be an int of at least 1, got 0"),
        ({"memory": 1000}, ValueError, "memory must be at least"),
        ({"progress": 5}, TypeError, "progress must be callable or None, got 5 of type int"),
        ({"observe": 5}, TypeError, "observe must be callable or None, got 5 of type int"),
    ],
)
def test_bad_arguments_write_nothing(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = tmp_path / ("m.safetensors" if options.get("format") is None else "m")
    with pytest.raises(error, match=message):
        MODEL.write(path, **{"seed": 5, **options})
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_of_readers(tmp_path: Path) -> None:
    """Before the tensors are read."""
    path = tmp_path / "m.safetensors"
    MODEL.write(path, seed=5)
    for read in (MODEL.check, functools.partial(MODEL.differences, seed=5)):
        with pytest.raises(TypeError, match="progress must be callable or None, got 5 of type int"):
            read(path, progress=5)
        with pytest.raises(ValueError, match="threads must be an int of at least 1, got 0"):
            read(path, threads=0)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("m.bin", {}, r"path must end in .safetensors or .npy, got 'm.bin'; the path of a new folder ends in '/'"),
        ("m", {}, r"path must end in .safetensors or .npy, got 'm'"),
        ("m.NPY", {}, r"path must end in .safetensors or .npy, got 'm.NPY'"),
        (".npy", {}, r"path must end in .safetensors or .npy, got '.npy'"),
        ("-", {}, r"path must end in .safetensors or .npy, got '-'"),
        ("", {}, r"path must end in .safetensors or .npy, got ''"),
        ("-", {"format": "raw"}, r"path must end in .safetensors or .npy, got '-'"),
        ("", {"format": "npy"}, r"path must end in .safetensors or .npy, got ''"),
        ("m", {"format": "safetensors"}, r"path must end in .safetensors or .npy, got 'm'"),
        ("m.npy", {"format": "raw"}, r"path must be a folder for format='raw', got .* .npy: 'm.npy'"),
        ("m.npy", {"format": "safetensors"}, r"path must be a folder for format='safetensors', got"),
        ("m.safetensors", {"format": "npy"}, r"got a name that ends in .safetensors: 'm.safetensors'"),
        ("m.npy", {}, r"the model has 2 tensors, and a .npy file holds one; got 'm.npy'"),
    ],
)  # fmt: skip
def test_names_that_are_not_those_of_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, options: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        TWO.write(path, seed=5, **options)
    assert list(tmp_path.iterdir()) == []


def test_one_tensor_in_a_npy_file(tmp_path: Path) -> None:
    model = fi.Model([fi.Tensor("w", (700, 999), fi.Normal(), stream="s")])
    assert model.write(tmp_path / "a.npy", seed=5)
    np.testing.assert_array_equal(
        np.load(tmp_path / "a.npy"), fi.Normal()((700, 999), seed=5, stream="s")
    )
    assert not model.write(tmp_path / "a.npy", seed=6, rank=0, world=2)
    assert model.write(tmp_path / "a.npy", seed=6, rank=1, world=2)
    np.testing.assert_array_equal(
        np.load(tmp_path / "a.npy"), fi.Normal()((700, 999), seed=6, stream="s")
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_a_call_that_does_not_resume_leaves_nothing(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it take up what another call has left."""
    target = tmp_path / "m.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(write.Output, "_finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            MODEL.write(target, seed=5, resume=False)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ZeroDivisionError):
            MODEL.write(target, seed=6)
    assert MODEL.write(target, seed=5, resume=False)
    assert target.read_bytes() == whole


def test_names_of_targets_and_tensors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path must end in .safetensors"):
        MODEL.write(tmp_path / "m.bin", seed=5)
    (tmp_path / "d.safetensors").mkdir()
    with pytest.raises(OSError, match="is not a regular file"):
        MODEL.write(tmp_path / "d.safetensors", seed=5)
    with pytest.raises(ValueError, match="'a/b': its name cannot be that of a file"):
        fi.Model([fi.Tensor("a/b", (3,), fi.ones)]).write(tmp_path / "raw", seed=5, format="raw")
    with pytest.raises(
        ValueError, match="tensor 'w': values could exceed the largest finite number"
    ):
        fi.Model([fi.Tensor("w", (3,), fi.Normal(0, 99), "float8_e4m3fn")]).write(
            tmp_path / "m.safetensors", seed=5
        )
    with pytest.raises(ValueError, match="cannot have a tensor named '__metadata__'"):
        fi.Model([fi.Tensor("__metadata__", (3,), fi.ones)]).write(
            tmp_path / "m.safetensors", seed=5
        )
    with pytest.raises(ValueError, match="without tensors"):
        fi.Model([]).write(tmp_path / "m.safetensors", seed=5)
    assert [p.name for p in tmp_path.iterdir()] == ["d.safetensors"]
