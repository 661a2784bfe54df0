"""What users read: numbers in units that fit, one and many, paths as they were given, and what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from fastinit import cli, plot
from fastinit.check import check_tensors
from fastinit.checks import counted, readable_bytes
from fastinit.files import Stored
from test_cli import run


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 tensors"), (1, "1 tensor"), (2, "2 tensors"), (1234567, "1,234,567 tensors")],
)
def test_counted(n: int, text: str) -> None:
    assert counted(n, "tensor") == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (234881024, "224 MiB"),
        (4 * 10**12, "3.638 TiB"),
        (2**66, "64 EiB"),
        (2**80, "1.049e+06 EiB"),
    ],
)
def test_readable_bytes(n: int, text: str) -> None:
    assert readable_bytes(n) == text


@pytest.mark.parametrize(
    ("nbytes", "seconds", "text"),
    [
        (2**20, 2.0, "done in 2 s: 524 kB/s, 131 k elements/s"),
        (3 * 10**6, 1.0, "done in 1 s: 3 MB/s, 750 k elements/s"),
        (4 * 10**6, 1.0, "done in 1 s: 4 MB/s, 1 M elements/s"),
        (10**9, 1.0002, "done in 1 s: 1 GB/s, 250 M elements/s"),
        (2 * 10**10, 2.5, "done in 2.5 s: 8 GB/s, 2 G elements/s"),
        (2**20 - 4, 0.01, "done in 0.01 s"),
        (12, 0.07, "done in 0.07 s"),
    ],
)
def test_rates(nbytes: int, seconds: float, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for threads, used in ((1, "1 thread"), (3, "3 threads")):
        cli._print_rate("done", nbytes, nbytes // 4, seconds, threads)
        assert capsys.readouterr().out == f"{text} ({fi.isa()}, up to {used})\n"


def test_repr_of_models() -> None:
    one, two = fi.Tensor("a", (), fi.ones), fi.Tensor("b", (1000, 1000), fi.ones)
    assert repr(fi.Model([])) == "Model of 0 tensors, 0 elements, 0 B"
    assert repr(fi.Model([one])) == "Model of 1 tensor, 1 element, 4 B"
    assert repr(fi.Model([one, two])) == "Model of 2 tensors, 1,000,001 elements, 3.815 MiB"


def test_a_model_of_one_tensor(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(fi.Model([fi.Tensor("a", (1,), fi.ones)]).to_json())
    done = run("model", "s.json", "--seed", 1, "-o", "m.safetensors", "--threads", 1, cwd=tmp_path)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "m.safetensors: 1 tensor, 1 element, 4 B, seed 1"
    assert re.fullmatch(r"written in \S+ s \(\w+, up to 1 thread\)", second)
    checked = run("check", "m.safetensors", cwd=tmp_path).stdout.splitlines()[-1]
    assert checked == "1 tensor, 0 flagged; theory: what m.safetensors records"
    exact = run("check", "m.safetensors", "--exact", cwd=tmp_path).stdout
    assert exact == "1 tensor, all exactly as what m.safetensors records with seed 1\n"
    other = run("check", "m.safetensors", "s.json", "--rule", "a=zeros", "--exact", cwd=tmp_path)
    assert other.stdout.splitlines()[-1] == "1 tensor, 1 differs from s.json with seed 1"


def test_one_value_that_is_not_finite(tmp_path: Path) -> None:
    values = np.array([1, np.nan], np.float32)
    values.tofile(tmp_path / "w")
    (one,) = check_tensors([(Stored("w", "float32", (2,), tmp_path / "w", 0, 8), None)])
    assert one.flags == ("1 of 2 values is NaN or infinite",)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fi.zeros.shard((3,), (0, 0), seed=0), "index must have at most 1 item for shape"),
        (lambda: fi.zeros.shard((), 0, seed=0), "index must have at most 0 items for shape"),
        (
            lambda: fi.compute_fans((3, 4), in_axis=2, out_axis=0),
            "for a shape of 2 dimensions, got 2",
        ),
        (
            lambda: fi.zeros.shard((0, 4), 0, seed=0),
            r"index\[0\] must be a slice, because axis 0 has no elements, got 0",
        ),
        (
            lambda: fi.Tensor("a", (1, 4), fi.ones, padding_idx=1),
            r"padding_idx must be an int in \[0, 1\), a row of shape \(1, 4\), got 1",
        ),
        (
            lambda: fi.random_words(2**62, seed=0),
            "n must fit the address space as uint32, got 4611686018427387904",
        ),
        (
            lambda: fi.random_words(2**64, seed=0),
            r"n must fit the address space as uint32, got 2\*\*64",
        ),
        (
            lambda: fi.Constant(1e6)(3, dtype="float16"),
            "values could exceed .*: constant 1000000.0 in float16$",
        ),
    ],
)
def test_counts_in_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# Paths

MODEL = fi.Model([fi.Tensor("a", (3,), fi.ones)])
#: What each form writes.
OUTPUTS = {"npy": "out", "raw": "out"}
MISSING = "[Errno 2] the folder {folder!r} does not exist: {path!r}"
NO_FOLDER = "[Errno 20] {folder!r} is not a folder: {path!r}"


def write(path: Path, form: str) -> None:
    """As a user gives the path, relative to the current folder."""
    if form == "fill":
        assert cli.main(["fill", "--init=ones", "--shape=3", "-o", str(path)]) == 0
    elif form == "plot":
        plot._save(None, path)
    else:
        MODEL.write(path, seed=0, format=form)


@pytest.mark.parametrize("form", ["fill", "safetensors", "npy", "raw", "plot"])
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("missing", MISSING),
        ("missing/inner", MISSING),
        ("file", NO_FOLDER),
        ("link", "[Errno 2] the folder {target!r} does not exist: {path!r}"),
    ],
)
def test_a_folder_that_cannot_be_written_into_is_named_as_it_was_given(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
    folder: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")
    name = OUTPUTS.get(form, "out.safetensors")
    path = Path(folder, name)
    if folder == "link":  # of the output itself, to where there is no folder
        path = Path(name)
        path.symlink_to(f"gone/{name}")
        if form == "plot":
            return  # which replaces the link
    expected = message.format(folder=folder, path=str(path), target=str(tmp_path / "gone"))
    before = sorted(tmp_path.rglob("*"))
    if form == "fill":
        assert cli.main(["fill", "--init=ones", "--shape=3", "-o", str(path)]) == 1
        assert capsys.readouterr().err == f"fastinit: {expected}\n"
    else:
        with pytest.raises(OSError, match=f"^{re.escape(expected)}$"):
            write(path, form)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("form", ["fill", "safetensors", "npy", "plot"])
def test_errors_of_temporary_files_name_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Permissions do not stop the root user, so the calls that make the folder or the file are made to fail."""
    monkeypatch.chdir(tmp_path)

    def refuse(path: Any, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    if form == "plot":
        monkeypatch.setattr(plot, "open", refuse, raising=False)
    name = OUTPUTS.get(form, "out.safetensors")
    expected = f"[Errno 13] Permission denied: {name!r}"
    if form == "fill":
        assert cli.main(["fill", "--init=ones", "--shape=3", "-o", "out.safetensors"]) == 1
        assert capsys.readouterr().err == f"fastinit: {expected}\n"
    else:
        with pytest.raises(PermissionError, match=f"^{re.escape(expected)}$"):
            write(Path(name), form)
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_working_folder_that_stays_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the way of the state: who removes it must know where it is."""
    monkeypatch.chdir(tmp_path)
    working = tmp_path / ".m.safetensors.partial"
    (working / "state").mkdir(parents=True)
    message = f"[Errno 21] Is a directory: {str(working / 'state')!r}"
    with pytest.raises(IsADirectoryError, match=f"^{re.escape(message)}$"):
        write(Path("m.safetensors"), "safetensors")


def test_a_disk_without_space_says_how_much_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    model = fi.Model([fi.Tensor("a", (2**20,), fi.ones)])
    message = (
        r"4 MiB are to be written, and 3 MiB are free: free some space, or write to another disk"
    )
    with pytest.raises(OSError, match=message):
        model.write(tmp_path / "m.safetensors", seed=0)


def test_too_little_memory_is_said_in_units() -> None:
    with pytest.raises(ValueError, match=r"memory must be at least \d+ MiB, got 1000 B"):
        MODEL.write("m.safetensors", seed=0, memory=1000)


@pytest.mark.parametrize("rank", [-1, 3])
def test_rank_and_world(rank: int) -> None:
    message = rf"rank must be an int in \[0, world\), here \[0, 3\), got {rank}"
    with pytest.raises(ValueError, match=message):
        MODEL.write("m.safetensors", seed=0, rank=rank, world=3)
