"""The command line as a user runs it: in its own process, on files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastinit as fi
from fastinit import cli
from fastinit.spec import parse_initializer
from machine import need_disk

SEED = "seed must be an int in [0, 2**64)"


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastinit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]


def test_fill_writes_the_array_and_says_what_it_is(tmp_path: Path) -> None:
    target = tmp_path / "w.npy"
    done = run(
        "fill",
        "--init",
        "he_normal",
        "--shape",
        "300x400",
        "--seed",
        5,
        "--stream",
        "a",
        "-o",
        target,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    w = np.load(target)
    np.testing.assert_array_equal(w, fi.he_normal((300, 400), seed=5, stream="a"))
    assert w.dtype == np.float32
    lines = done.stdout.splitlines()
    assert lines[0] == f"{target}: float32 (300, 400), 468.8 KiB"
    assert "seed 5, stream 'a'" in lines[1]
    assert lines[2].startswith("filled in ")
    table = {line.split()[0]: [float(x) for x in line.split()[1:3]] for line in lines[5:]}
    assert list(table) == ["mean", "std", "min", "max"]
    assert table["std"] == pytest.approx([w.std(), np.sqrt(2 / 300)], rel=1e-4)
    assert table["mean"] == pytest.approx([w.mean(), 0], abs=1e-7)
    assert table["max"] == pytest.approx(
        [w.max(), 2 * np.sqrt(2 / 300) / 0.87962566103423978], rel=1e-5
    )
    assert table["min"] == pytest.approx(
        [w.min(), -2 * np.sqrt(2 / 300) / 0.87962566103423978], rel=1e-5
    )
    assert list(tmp_path.iterdir()) == [target]
    assert target.stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize(
    ("init", "shape", "smallest", "largest"),
    [
        ("uniform", "10x10", "bound", "bound"),
        ("zeros", "10x10", "bound", "bound"),
        ("normal", "50x40", "median of the smallest of 2,000 values", "median of the largest of 2,000 values"),
        ("normal", "1", "median of the smallest of 1 value", "median of the largest of 1 value"),
        ("truncated_normal:lower=-inf", "10x10", "median of the smallest of 100 values", "bound"),
        ("truncated_normal:upper=inf", "10x10", "bound", "median of the largest of 100 values"),
    ],
)  # fmt: skip
def test_the_table_tells_bounds_from_medians(
    tmp_path: Path, init: str, shape: str, smallest: str, largest: str
) -> None:
    done = run("fill", "--init", init, "--shape", shape, "--seed", 1, "-o", tmp_path / "w.npy")
    assert (done.returncode, done.stderr) == (0, "")
    *_, low, high = done.stdout.splitlines()
    assert (low[34:], high[34:]) == (f"  {smallest}", f"  {largest}")


def test_the_theory_of_few_bits_is_that_after_rounding(tmp_path: Path) -> None:
    """The largest bfloat16 up to 0.1 is 0x3DCC, 0.099609375."""
    arguments = ["--init", "uniform:low=-0.1,high=0.1", "--dtype", "bfloat16", "--seed", 1]
    done = run("fill", *arguments, "--shape", "300x300", "-o", tmp_path / "w.npy")
    assert done.stdout.splitlines()[-1].split()[2:] == ["0.0996094", "bound"]


@pytest.mark.parametrize(
    ("options", "name"), [([], "up"), (["--name", "layers.0.up"], "layers.0.up")]
)
def test_fill_writes_safetensors_with_provenance(
    tmp_path: Path, options: list[str], name: str
) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    target = tmp_path / "up.safetensors"
    given = ["--init", "he_normal", "--shape", "30x40", "--seed", 5, "--stream", "a", *options]
    done = run("fill", *given, "-o", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{target}: float32 (30, 40), 4.688 KiB\n")
    loaded = numpy.load_file(target)
    assert list(loaded) == [name]
    np.testing.assert_array_equal(loaded[name], fi.he_normal((30, 40), seed=5, stream="a"))
    exact = run("check", target, "--exact")
    assert exact.stdout == f"1 tensor, all exactly as what {target} records with seed 5\n"
    assert run("check", target).returncode == 0
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_written_is_measured_on_the_way(tmp_path: Path) -> None:
    """Of several chunks and a ragged end, to the digits of NumPy."""
    target = tmp_path / "w.npy"
    arguments = ["--init", "uniform:low=2,high=5", "--shape", "700001", "--seed", "3"]
    done = run("fill", *arguments, "-o", target)
    values = np.load(target).astype(np.float64)
    table = done.stdout.splitlines()[-4:]
    for line, name in zip(table, ("mean", "std", "min", "max"), strict=True):
        word, measured, *_ = line.split()
        assert word == name
        assert measured == f"{getattr(values, name)():.6g}"


def test_fill_without_measuring(tmp_path: Path) -> None:
    arguments = ["--init", "normal", "--shape", "1000", "--seed", 1, "--no-measure"]
    done = run("fill", *arguments, "-o", tmp_path / "w.npy")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("filled in ")


def test_the_bar_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = []

    class Bar:
        def __init__(self, **options: object) -> None:
            self.n, self.text = options["initial"], options["desc"]
            bars.append(self)

        def update(self, n: int) -> None:
            self.n += n

        def set_description(self, text: str) -> None:
            self.text = text

        def close(self) -> None:
            pass

    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(cli, "PROGRESS_AFTER_SECONDS", 0)
    with cli.Progress("fill", "waiting for the disk") as progress:
        progress(0, 10)
        progress(5, 10)
        assert (bars[0].n, bars[0].text) == (5, "fill")
        progress(10, 10)
        assert (bars[0].n, bars[0].text) == (10, "fill, waiting for the disk")


def test_an_empty_tensor_has_no_table(tmp_path: Path) -> None:
    done = run("fill", "--init", "normal", "--shape", "0x3", "--seed", 1, "-o", tmp_path / "w.npy")
    assert (done.returncode, done.stderr) == (0, "")
    assert "measured" not in done.stdout


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_dtypes(tmp_path: Path, dtype: str) -> None:
    target = tmp_path / "w.npy"
    done = run(
        "fill",
        "--init",
        "glorot_uniform",
        "--shape",
        "30x40",
        "--dtype",
        dtype,
        "--seed",
        1,
        "-o",
        target,
    )
    assert done.returncode == 0, done.stderr
    w = np.load(target)
    want = fi.glorot_uniform((30, 40), seed=1, dtype=dtype)
    np.testing.assert_array_equal(w.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else w, want)


@pytest.mark.parametrize("shape", ["0x5", "7", "1x1x1x1"])
def test_small_shapes(tmp_path: Path, shape: str) -> None:
    target = tmp_path / "w.npy"
    done = run("fill", "--init", "normal:stddev=0.02", "--shape", shape, "--seed", 1, "-o", target)
    assert done.returncode == 0, done.stderr
    want = fi.Normal(0, 0.02)(tuple(map(int, shape.split("x"))), seed=1)
    np.testing.assert_array_equal(np.load(target), want)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("xavier_uniform", fi.xavier_uniform),
        ("truncated_normal", fi.TruncatedNormal()),
        ("truncated_normal:stddev=0.02,lower=-3,upper=inf", fi.TruncatedNormal(0, 0.02, lower=-3, upper=float("inf"))),
        ("variance_scaling:scale=2,mode=fan_out,in_axis=1,out_axis=0", fi.VarianceScaling(2, "fan_out", in_axis=1, out_axis=0)),
        ("variance_scaling:batch_axis=0", fi.VarianceScaling(batch_axis=(0,))),
        ("constant:value=1.5", fi.Constant(1.5)),
    ],
)  # fmt: skip
def test_initializer_syntax(text: str, made: fi.Initializer) -> None:
    assert parse_initializer(text) == made


def test_fresh_entropy_is_printed_and_reproduces(tmp_path: Path) -> None:
    first = run("fill", "--init", "he_normal", "--shape", "30x40", "-o", tmp_path / "a.npy")
    seed = first.stdout.split("seed ")[1].split(",")[0]
    run("fill", "--init", "he_normal", "--shape", "30x40", "--seed", seed, "-o", tmp_path / "b.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--init", "he"], "argument --init: expected one of"),
        (["--init", "he_normal:scale=3"], "argument --init: expected options axes, in_axis, out_axis, batch_axis of he_normal, each once, got 'scale=3'"),
        (["--init", "normal:sd=3"], "argument --init: expected options mean, stddev of normal, each once, got 'sd=3'"),
        (["--init", "normal:mean=a"], "argument --init: expected a number for mean, got 'a'"),
        (["--init", "normal:stddev=-1"], "argument --init: stddev must be finite and not negative, got -1.0"),
        (["--shape", "3,4"], "argument --shape: expected dimensions such as 4096x14336, got '3,4'"),
        (["--shape", "3x-4"], "argument --shape: expected dimensions"),
        (["--seed", "x"], f"argument --seed: {SEED}, got 'x'"),
        (["--seed", "-1"], f"argument --seed: {SEED}, got '-1'"),
        (["--seed", str(2**127)], f"argument --seed: {SEED}, got '{2**127}'"),
    ],
)  # fmt: skip
def test_usage_errors_exit_with_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    defaults = {"--init": "he_normal", "--shape": "3x4", "-o": str(tmp_path / "w.npy")}
    defaults |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    done = run("fill", *(part for pair in defaults.items() for part in pair))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shape", "9" * 100_000],
        ["--seed", "9" * 100_000],
        ["--init", "\u202e\n" * 1000],
        ["-o", "x" * 100_000],
        ["--\x1b[31m\n\udcff", "1"],
        ["--shape=--"],
        ["-o--"],
        ["-o=--"],
    ],
)
def test_errors_about_arguments_of_any_kind(tmp_path: Path, arguments: list[str]) -> None:
    """A usage, if it is one, and a last line that is short and printable."""
    given = ["--init=ones", "--shape=3", "-o", str(tmp_path / "w.npy"), *arguments]
    done = run("fill", *given)
    assert done.returncode in (1, 2)
    *usage, last = done.stderr.removesuffix("\n").split("\n")
    assert last.startswith("fastinit")
    assert last.isprintable()
    assert len(last) < 1100
    assert not usage or usage[0].startswith("usage: ")
    assert sum(map(len, usage)) < 500
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtype", "int8"], "fastinit: dtype must be float32"),
        (["--threads", "0"], "fastinit: threads must be an int of at least 1, got 0"),
        (["--init", "normal:stddev=1e39"], "values could exceed the largest finite number"),
        (["-o", "missing/w.npy"], "fastinit: [Errno 2] the folder 'missing' does not exist: 'missing/w.npy'"),
        (["-o", "."], "path must end in .safetensors or .npy, got '.'"),
        (["-o", ""], "path must end in .safetensors or .npy, got ''"),
        (["-o", "-"], "path must end in .safetensors or .npy, got '-'"),
        (["-o", "w.pt"], "path must end in .safetensors or .npy, got 'w.pt'"),
        (["-o", "w.npy", "--name", "w"], "--name is for .safetensors files"),
        (["--shape", "1048576x1048576x1048576"], "fastinit: [Errno "),
    ],
)  # fmt: skip
def test_errors_exit_with_1_and_leave_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    defaults = {"--init": "he_normal", "--shape": "3x4", "-o": "w.npy"}
    defaults |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    done = run("fill", *(part for pair in defaults.items() for part in pair), cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [",", "int8", "None"])
def test_bad_dtypes_are_one_line(tmp_path: Path, dtype: str) -> None:
    done = run("fill", "--init", "ones", "--shape", "3", "--dtype", dtype, "-o", tmp_path / "w.npy")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("fastinit: dtype must be float32")


def test_special_files_are_refused_and_links_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    done = run("fill", "--init", "ones", "--shape", "3", "-o", tmp_path / "pipe.npy")
    assert done.returncode == 1
    assert "is not a regular file" in done.stderr
    target = tmp_path / "target.npy"
    target.write_bytes(b"old")
    target.chmod(0o600)
    (tmp_path / "link").symlink_to(target)
    assert run("fill", "--init", "ones", "--shape", "3", "-o", tmp_path / "link").returncode == 0
    np.testing.assert_array_equal(np.load(target), np.ones(3, np.float32))
    assert (tmp_path / "link").is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("link", "target"),
    [("w.safetensors", "w.npy"), ("w.npy", "w.safetensors"), ("w.safetensors", "4f2a9c")],
)
def test_links_to_files_of_other_formats_are_refused(
    tmp_path: Path, link: str, target: str
) -> None:
    (tmp_path / target).write_bytes(b"old")
    (tmp_path / link).symlink_to(target)
    done = run("fill", "--init", "ones", "--shape", "3", "-o", tmp_path / link)
    suffix = Path(link).suffix
    assert done.returncode == 1
    assert f"or a link to one whose name ends in {suffix} too; " in done.stderr
    assert (tmp_path / target).read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == sorted([link, target])


def test_termination_leaves_nothing(tmp_path: Path) -> None:
    need_disk(tmp_path, 3 * 2**30)
    command = [
        sys.executable,
        "-m",
        "fastinit",
        "fill",
        "--init",
        "he_normal",
        "--shape",
        "32768x16384",
    ]
    process = subprocess.Popen([*command, "-o", str(tmp_path / "w.npy")])
    while not list(tmp_path.iterdir()) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings(r"ignore:os.fork\(\) was called:RuntimeWarning")  # JAX, if it is loaded
def test_a_full_disk_is_an_error_not_a_crash(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the blocks are claimed before mapping."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    target = tmp_path / "w.npy"
    target.write_bytes(b"old")
    done = run(
        "fill", "--init", "he_normal", "--shape", "1024x1024", "-o", target, preexec_fn=limit
    )
    assert done.returncode == 1
    assert done.stderr.startswith("fastinit: ")
    assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["w.npy"]
    assert target.read_bytes() == b"old"


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    target = tmp_path / "w\udcff\n.npy"
    done = run("fill", "--init", "ones", "--shape", "3", "-o", target)
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_array_equal(np.load(target), np.ones(3, np.float32))


def test_info() -> None:
    done = run("info")
    assert done.returncode == 0
    rows = dict(line.split(maxsplit=1) for line in done.stdout.replace("stream version", "stream").replace("instruction sets", "isas").replace("in use", "isa").splitlines())  # fmt: skip
    assert rows["stream"] == "1"
    assert rows["isas"].split(", ") == list(fi.available_isas())
    assert rows["isa"] == os.environ.get("FASTINIT_ISA", fi.available_isas()[0])
    assert int(rows["threads"]) >= 1
