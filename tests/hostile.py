"""Files that nobody should trust: valid ones of every format to start from, and what reading any other may do.

`tests/test_fuzz.py` changes them by hypothesis, `tests/reliability/fuzz.py` by coverage, for hours.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fastinit as fi
from fastinit.check import table
from fastinit.files import read_stored
from fastinit.model import recorded_model

TENSORS = [
    fi.Tensor("up.weight", (6, 4), fi.he_normal),
    fi.Tensor("up.bias", (6,), fi.zeros, "float16"),
    fi.Tensor("embed", (5, 4), fi.TruncatedNormal(0, 0.02, lower=-2, upper=2), "bfloat16", 1),
    fi.Tensor("tail", (70,), fi.TruncatedNormal(0, 1, lower=3, upper=math.inf), "float64"),
    fi.Tensor("gate", (4, 2, 3), fi.Uniform(-1, 1), "float8_e5m2"),
    fi.Tensor("part", (4, 2), fi.he_normal, stream="s", whole_shape=(2, 3, 4), index=(..., 1, slice(0, 4)), axis_order=(1, 0)),
    fi.Tensor("up.weight_scale", (6,), fi.ones, "float8_e8m0fnu"),
    fi.Tensor("num_batches_tracked", (), fi.zeros, "int64"),
]  # fmt: skip
SEED = 3

TOML = b"""dtype = "bfloat16"
axes = "out_in"
tensors_from = "stored.safetensors"

[[tensors]] # comment
name = "conv.weight"
shape = [8, 3, 5, 5]
init = { name = "variance_scaling", scale = 2.0, mode = 'fan_out', in_axis = -1, out_axis = -2 }

[[tensors]]
name = "e"
shape = [10, 4]
init.name = "truncated_normal"
init.upper = inf
padding_idx = 1

[[rules]]
match = "*.bias"
init = "constant:value=0.5"

[[rules]]
match = "[!ce]*"
init = "skip"

[[rules]]
match = "e*"
init = "lecun_uniform"
"""

SPEC = {
    "dtype": "float64",
    "axes": "in_out",
    "tensors_from": "stored.safetensors",
    "tensors": [
        {"name": "a", "shape": [3, 4], "init": "he_normal", "dtype": "float16"},
        {"name": "b", "shape": [5, 2], "init": {"name": "normal", "stddev": 0.5}, "padding_idx": 2},
        {"name": "c{0..2}{{}}", "shape": [4, 2], "stream": "s{0..2}", "whole_shape": [2, 3, 4], "index": [":", 1, "0:4"], "axis_order": [1, 0]},
    ],
    "rules": [
        {"match": "up.*", "init": "uniform:low=-1,high=1", "dtype": "float32"},
        {"match": "num_*", "init": "zeros"},
        {"match": "*", "init": "glorot_normal", "min_axes": 2},
        {"match": "*", "init": "ones"},
    ],
}  # fmt: skip

KINDS = ("safetensors", "index", "raw", "npy", "toml", "spec")


def make_samples(folder: Path) -> dict[str, Path]:
    """A valid file of every format that is read, with its neighbours, by the name of its kind."""
    model = fi.Model(TENSORS)
    (folder / "set").mkdir()
    model.write(folder / "stored.safetensors", seed=SEED)
    model.write(folder / "set/model.safetensors", seed=SEED, max_shard_size=300)
    model.write(folder / "raw", seed=SEED, format="raw")
    model.write(folder / "npy", seed=SEED, format="npy")
    (folder / "spec.toml").write_bytes(TOML)
    (folder / "spec.json").write_text(json.dumps(SPEC))
    return {
        "safetensors": folder / "stored.safetensors",
        "index": folder / "set/model.safetensors.index.json",
        "raw": folder / "raw/tensors.json",
        "npy": folder / "npy/tail.npy",
        "toml": folder / "spec.toml",
        "spec": folder / "spec.json",
    }


#: What a header or a spec may say instead of what it should.
VALUES: Sequence[Any] = (
    None, True, 0, -1, 1, 7, 64, 65, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**400, -(10**400),
    0.0, -0.0, 0.5, 1e308, 5e-324, math.nan, math.inf, -math.inf,
    "", ".", "..", "../stored.safetensors", "/etc/passwd", "\0", "\ud800", "\udcff", "a\nb", "x" * 9000,
    "F32", "I64", "F4", "F6_E2M3", "F8_E8M0", "F9", "float32", "float64", "in_out", "skip", "normal", "uniform:low=nan", "normal:stddev=-1",
    "truncated_normal:lower=1e9,upper=2e9", "variance_scaling:in_axis=9", "constant:value=1e39", "[", "*",
    [], {}, [[]], [0], [-1], [True], [1.0], [2**64 - 1, 0], [2**32, 2**33], [0, 2**40, 2**40], [1] * 65, [2**64 - 1] * 3000, ["a"],
    {"name": "normal"}, {"name": "normal", "mean": math.nan}, {"name": "uniform", "low": 5}, {"name": []},
    {"name": "variance_scaling", "in_axis": [[0], [1]]}, {"name": "variance_scaling", "batch_axis": True}, "/proc/self/mem",
    {"name": "constant", "value": 1e39}, {"name": "normal", "stddev": 5e-324}, "/dev/tty", "x" * 256, "x/" * 400, 10**4000,
    {"": ""}, {"a": {"b": {}}}, "{0..3}", "{0..2000}", "{0..200000}", "{0..99999}{0..99999}", "{0..9}" * 166, "}", "{", "0:2", ["1:2"], ["::-1"], [":"] * 65,
)  # fmt: skip


def paths_in(value: Any) -> list[list[Any]]:
    """The way to each value within a JSON value."""
    found: list[list[Any]] = [[]]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # fmt: skip
    for key, inner in items:
        found += [[key, *path] for path in paths_in(inner)]
    return found


def replaced(value: Any, path: Sequence[Any], by: Any) -> Any:
    """The JSON value with another one at a place."""
    if not path:
        return by
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], by)
    return copy


def with_length(header: bytes, data: bytes = b"") -> bytes:
    """A .safetensors file."""
    return len(header).to_bytes(8, "little") + header + data


def without_length(content: bytes) -> tuple[bytes, bytes]:
    """The header and the data of a .safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files below a folder, and what is in them."""
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def check_error(error: Exception, path: Path) -> None:
    """One short line that names the file, or another next to it that it names."""
    assert isinstance(error, (ValueError, TypeError, OSError)), repr(error)
    assert not isinstance(error, UnicodeError), repr(error)
    text = str(error)
    assert str(path.parent) in text, text
    assert len(text) < 700 + 3 * len(str(path)), (len(text), text[:200])


#: Ways to read a file, each with what it gives.
READERS: dict[str, Callable[[Path], Any]] = {
    "read_stored": read_stored,
    "Model.load": fi.Model.load,
    "recorded_model": recorded_model,
}


def read_in_all_ways(path: Path) -> int:
    """Read a file: anything but a good result or a good error raises. Returns how many tensors there were."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about names that tell no initializer
        return _read_in_all_ways(path)


def _read_in_all_ways(path: Path) -> int:
    count = 0
    for read in READERS.values():
        try:
            result = read(path)
        except Exception as error:
            check_error(error, path)
        else:
            model = result[0] if isinstance(result, tuple) else result
            count = max(count, len(model))
    try:
        measure(path)
    except Exception as error:
        check_error(error, path)
    return count


def measure(path: Path) -> None:
    """What `fastinit check` does with small tensors."""
    stored = read_stored(path)
    if sum(one.nbytes for one in stored) > 2**16:
        return
    model, _ = recorded_model(path)
    if all(tensor.nbytes < 2**16 for tensor in model):
        table(model.check(path, threads=1))
        model.differences(path, seed=SEED, threads=1)


class Folder:
    """A folder of samples, of which one file at a time is another."""

    def __init__(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.samples = make_samples(path)
        self.contents = {kind: file.read_bytes() for kind, file in self.samples.items()}
        self._path = path
        self._before = snapshot(path)

    def try_content(self, kind: str, content: bytes) -> int:
        """Read `content` in the place of a sample: nothing is written, whatever comes of it."""
        file = self.samples[kind]
        file.write_bytes(content)
        try:
            count = read_in_all_ways(file)
            if kind in ("index", "raw"):
                read_in_all_ways(file.parent)
            assert file.read_bytes() == content
        finally:
            file.write_bytes(self.contents[kind])
        return count

    def check_unchanged(self) -> None:
        """Nothing was written, moved or removed by all that reading."""
        assert snapshot(self._path) == self._before
