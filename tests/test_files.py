"""Files of tensors: what is written is what the packages of others read, and bad headers are errors of one line."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastinit as fi
from conftest import DTYPES, as_bits
from fastinit.exact import differences
from fastinit.files import LONGEST_HEADER, Stored, read_stored
from fastinit.model import recorded_model
from test_cli import run

TENSORS = [
    fi.Tensor(f"layer.{dtype}", (3, 5, 7), fi.Normal(0, 0.25), dtype) for dtype in DTYPES
] + [fi.Tensor("empty", (0, 4), fi.ones), fi.Tensor("scalar", (), fi.Constant(2.5), "float16")]


def value(tensor: fi.Tensor, seed: int) -> np.ndarray:
    return tensor.init(tensor.shape, seed=seed, stream=tensor.name, dtype=tensor.dtype)


def write_header(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def test_safetensors_are_read_by_the_package_safetensors(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = [t for t in TENSORS if "float8" not in t.name]  # which it reads for torch alone
    fi.Model(tensors).write(tmp_path / "m.safetensors", seed=3)
    loaded = numpy.load_file(tmp_path / "m.safetensors")
    assert set(loaded) == {t.name for t in tensors}
    for tensor in tensors:
        got, want = loaded[tensor.name], value(tensor, 3)
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(as_bits(got), as_bits(want))
    for stored in read_stored(tmp_path / "m.safetensors"):
        assert stored.offset % max(1, stored.nbytes // max(1, int(np.prod(stored.shape)))) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_8_bit_safetensors_are_read_by_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    fi.Model(TENSORS).write(tmp_path / "m.safetensors", seed=3)
    loaded = load_file(tmp_path / "m.safetensors")
    for tensor in TENSORS:
        got = loaded[tensor.name]
        assert str(got.dtype) == f"torch.{tensor.dtype}"
        np.testing.assert_array_equal(got.double().numpy(), value(tensor, 3).astype(np.float64))
    assert loaded["layer.float8_e5m2"].dtype == torch.float8_e5m2


def test_files_of_the_package_safetensors_are_read(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = {t.name: value(t, 1) for t in TENSORS} | {"ids": np.arange(6).reshape(2, 3)}
    numpy.save_file(arrays, tmp_path / "m.safetensors", metadata={"format": "pt"})
    stored = {s.name: s for s in read_stored(tmp_path / "m.safetensors")}
    assert set(stored) == set(arrays)
    for name, array in arrays.items():
        data = (tmp_path / "m.safetensors").read_bytes()
        where = stored[name]
        assert where.shape == array.shape
        assert data[where.offset : where.offset + where.nbytes] == array.tobytes()
    assert stored["ids"].dtype == "int64"


def test_npy_and_raw(tmp_path: Path) -> None:
    model = fi.Model(TENSORS)
    assert model.write(tmp_path / "npy", seed=3, format="npy")
    assert model.write(tmp_path / "raw", seed=3, format="raw")
    for tensor in TENSORS:
        want = value(tensor, 3)
        array = np.load(tmp_path / "npy" / f"{tensor.name}.npy")
        np.testing.assert_array_equal(as_bits(array), as_bits(want))
        assert array.shape == tensor.shape
        assert (tmp_path / "raw" / f"{tensor.name}.bin").read_bytes() == want.tobytes()
    described = json.loads((tmp_path / "raw" / "tensors.json").read_text())
    assert described["scalar"] == {"file": "scalar.bin", "dtype": "float16", "shape": []}
    assert model.differences(tmp_path / "raw", seed=3) == []
    assert {s.name for s in read_stored(tmp_path / "npy")} == {t.name for t in TENSORS}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["npy", "raw"]


def test_a_set_and_its_index(tmp_path: Path) -> None:
    tensors = [fi.Tensor(f"t{i}", (i + 1, 100), fi.Normal(), "bfloat16") for i in range(6)]
    model = fi.Model(tensors)
    assert model.write(tmp_path / "model.safetensors", seed=1, max_shard_size=700)
    # 200, 400 | 600 | 800 | 1000 | 1200 bytes, as they come: the last three are larger than the limit
    names = [f"model-{i:05}-of-00005.safetensors" for i in range(1, 6)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*names, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4200
    assert index["weight_map"] == {"t0": names[0], "t1": names[0], "t2": names[1], "t3": names[2], "t4": names[3], "t5": names[4]}  # fmt: skip
    for source in (tmp_path, tmp_path / "model.safetensors.index.json"):
        assert [s.name for s in read_stored(source)] == [t.name for t in tensors]
    assert model.differences(tmp_path, seed=1) == []


def test_file_shards_of_exactly_the_largest_size(tmp_path: Path) -> None:
    model = fi.Model([fi.Tensor(f"t{i}", (100,), fi.Normal()) for i in range(4)])
    for limit, count in ((799, 4), (800, 2), (1199, 2), (1200, 2), (1600, 1)):
        folder = tmp_path / str(limit)
        folder.mkdir()
        model.write(folder / "m.safetensors", seed=1, max_shard_size=limit)
        assert len(list(folder.glob("*.safetensors"))) == count


def test_the_longest_file_names(tmp_path: Path) -> None:
    """255 bytes with the suffix, as all usual file systems allow."""
    for format, suffix in (("npy", ".npy"), ("raw", ".bin")):
        name = "é" * 125 + "w"
        fi.Model([fi.Tensor(name, (3,), fi.ones)]).write(tmp_path / format, seed=1, format=format)
        assert len(os.fsencode(name + suffix)) == 255
        assert (tmp_path / format / (name + suffix)).is_file()
        assert [s.name for s in read_stored(tmp_path / format)] == [name]
        longer = fi.Model([fi.Tensor(name + "w", (3,), fi.ones)])
        with pytest.raises(ValueError, match="its name cannot be that of a file"):
            longer.write(tmp_path / "none", seed=1, format=format)
        assert not (tmp_path / "none").exists()


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (json.dumps({"a": F32}).encode(), b"", "expected .* bytes from its header, got a file of"),
        (b"{", b"", "not JSON in UTF-8"),
        (b"\xff\xfe", b"", "not JSON in UTF-8"),
        (b"[" * 100_000, b"", "nested too deeply"),
        ([], b"", "expected a JSON object as header, got list"),
        (b'{"a":1,"a":2}', b"", "the key 'a' occurs twice"),
        ({"__metadata__": {"a": 1}}, b"", "__metadata__ must be an object of texts"),
        ({"a": F32}, b"1234567", "expected .* bytes from its header, got a file of"),
        ({"a": F32}, b"123456789", "expected .* bytes from its header, got a file of"),
        ({"a": F32, "b": F32}, b"12345678", "'b': data_offsets begin at 0: overlaps the tensor before it"),
        ({"a": F32, "b": F32 | {"data_offsets": [16, 24]}}, b"1" * 24, "'b': data_offsets begin at 16: leaves a hole"),
        ({"a": F32 | {"data_offsets": [0, 2**63]}}, b"1" * 8, "'a': data_offsets 0 to .* do not fit the shape"),
        ({"a": F32 | {"data_offsets": [8, 0]}}, b"1" * 8, "'a': data_offsets 8 to 0 do not fit the shape"),
        ({"a": F32 | {"data_offsets": [-8, 0]}}, b"1" * 8, "'a': data_offsets must be two offsets"),
        ({"a": F32 | {"data_offsets": [0]}}, b"1" * 8, "'a': data_offsets must be two offsets"),
        ({"a": F32 | {"data_offsets": [0.0, 8.0]}}, b"1" * 8, "'a': data_offsets must be two offsets"),
        ({"a": F32 | {"shape": [3]}}, b"1" * 8, "'a': data_offsets 0 to 8 do not fit the shape"),
        ({"a": F32 | {"shape": [True]}}, b"1" * 8, "'a': shape must be a list of sizes"),
        ({"a": F32 | {"shape": [0, 2**64], "data_offsets": [0, 0]}}, b"", "'a': shape must be a list of sizes"),
        ({"a": F32 | {"shape": [0, -1], "data_offsets": [0, 0]}}, b"", "'a': shape must be a list of sizes"),
        ({"a": F32 | {"shape": [2**40, 2**40]}}, b"1" * 8, "do not fit the shape"),
        ({"a": F32 | {"shape": [2**64 - 1] * 100_000}}, b"1" * 8, "'a': shape must be a list of sizes, 64 at most"),
        ({"a": F32 | {"dtype": "F31 "}}, b"1" * 8, "'a': dtype must be a code such as F32, got 'F31 '"),
        ({"a": F32 | {"dtype": "F" * 33}}, b"1" * 8, "'a': dtype must be a code such as F32, got 'FFF"),
        ({"a": F32 | {"dtype": ["F32"]}}, b"1" * 8, r"'a': dtype must be a code such as F32, got \['F32'\]"),
        ({"a": F32 | {"dtype": "F31", "data_offsets": [8, 0]}}, b"1" * 8, r"'a': data_offsets must be in order, got \[8, 0\]"),
        ({"a": F32 | {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}}, b"12", "'a': data_offsets 0 to 2 do not fit the shape .* of F4"),
        ({"a": F32 | {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 4]}}, b"1234", "'a': data_offsets 0 to 4 do not fit the shape .* of F6_E2M3"),
        ({"a": {"dtype": "F32"}}, b"", "'a': expected dtype, shape and data_offsets"),
        ({"a": 7}, b"", "'a': expected dtype, shape and data_offsets, got 7"),
    ],
)  # fmt: skip
def test_bad_headers(tmp_path: Path, header: Any, data: bytes, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    write_header(path, header, data)
    with pytest.raises(ValueError, match=message) as raised:
        read_stored(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < len(str(path)) + 250


RECORD = {"stream_version": 1, "seed": 1, "init": {"a": {"name": "normal"}}, "axes": {"a": "in_out"}, "padding_idx": {}}  # fmt: skip


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], r"must be an object, got \[\]"),
        (RECORD | {"stream_version": 2, "init": 3}, "written with stream version 2, this is 1"),
        (RECORD | {"stream_version": True}, "written with stream version True, this is 1"),
        (RECORD | {"init": ["a"]}, "must have the objects init, axes and padding_idx"),
        (RECORD | {"axes": None}, "must have the objects init, axes and padding_idx"),
        (RECORD | {"axes": {}}, "'a' must be in init and axes: give a spec"),
        (RECORD | {"axes": {"a": "oi"}}, "'a': axes must be one of in_out, out_in, got 'oi'"),
        (RECORD | {"padding_idx": None}, "must have the objects init, axes and padding_idx"),
        (RECORD | {"init": {}}, "'a' must be in init and axes: give a spec"),
        (RECORD | {"init": RECORD["init"] | {"b\n" * 99: {"name": "normal"}}}, r"'b\\nb\\n.* must be in init and axes"),  # type: ignore[operator]
        (RECORD | {"padding_idx": {"b": 0}}, "'b' must be in init and axes: give a spec"),
        (RECORD | {"padding_idx": {"a": 1}}, r"'a': padding_idx must be an int in \[0, 1\), a row of shape \(1, 2\), got 1"),
        (RECORD | {"init": {"a": "he"}}, "'a': expected one of constant, .* got 'he'"),
        (RECORD | {"init": {"a": {"name": "variance_scaling", "in_axis": 2, "out_axis": 0}}}, r"'a': in_axis must lie in \[-2, 2\) for a shape of 2 dimensions, got \(2,\)"),
        (RECORD | {"init": {"a": {"name": "constant", "value": 1e39}}}, "'a': values could exceed the largest finite number of the dtype"),
        (RECORD | {"seed": 2**64}, "seed must be an int in"),
        ({"stream_version": 1, "init": RECORD["init"], "axes": {"a": "in_out"}, "padding_idx": {}}, "seed must be an int in .* got None"),
    ],
)  # fmt: skip
def test_bad_records(tmp_path: Path, record: Any, message: str) -> None:
    """What a header says of initializers has to be of its own tensors, and what can have made them."""
    header = {
        "__metadata__": {"fastinit": json.dumps(record)},
        "a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
    }
    path = write_header(tmp_path / "bad.safetensors", header, bytes(8))
    with pytest.raises(ValueError, match=message) as raised:
        recorded_model(path)
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < len(str(path)) + 350


def test_file_shards_of_different_seeds(tmp_path: Path) -> None:
    """A set whose file shards were written with two seeds records neither."""
    model = fi.Model([fi.Tensor(name, (100,), fi.Normal()) for name in "ab"])
    for seed in (1, 2):
        (tmp_path / f"{seed}").mkdir()
        model.write(tmp_path / f"{seed}/m.safetensors", seed=seed, max_shard_size=400)
        recorded, found = recorded_model(tmp_path / f"{seed}")
        assert [tensor.name for tensor in recorded] == ["a", "b"]
        assert found == seed
    other = tmp_path / "2" / "m-00002-of-00002.safetensors"
    other.replace(tmp_path / "1" / other.name)
    assert [stored.name for stored in read_stored(tmp_path / "1")] == ["a", "b"]
    with pytest.raises(ValueError, match="/1: its files record different seeds"):
        recorded_model(tmp_path / "1")


@pytest.mark.parametrize(("header", "data"), [({}, b""), ({"a": F32}, b"12345678")])
@pytest.mark.parametrize("beyond", [1, 2, 2**63])
def test_header_that_ends_beyond_the_file(
    tmp_path: Path, header: Any, data: bytes, beyond: int
) -> None:
    rest = len(json.dumps(header)) + len(data)
    path = write_header(tmp_path / "bad.safetensors", header, data, rest + beyond)
    expected = f"a safetensors header of at most {rest} bytes, got {rest + beyond}"
    with pytest.raises(ValueError, match=expected):
        read_stored(path)


def test_the_longest_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package safetensors reads 100,000,000 bytes; a smaller limit stands for that one here."""
    assert LONGEST_HEADER == 100_000_000
    model = fi.Model([fi.Tensor("a", (2,), fi.zeros)])
    path = tmp_path / "m.safetensors"
    model.write(path, seed=1)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    monkeypatch.setattr("fastinit.files.LONGEST_HEADER", length)
    model.write(path, seed=1)
    assert [stored.name for stored in read_stored(path)] == ["a"]
    monkeypatch.setattr("fastinit.files.LONGEST_HEADER", length - 1)
    with pytest.raises(ValueError, match=f"header of at most {length - 1} bytes, got {length}"):
        read_stored(path)
    with pytest.raises(ValueError, match=f"a header of {length} bytes is above the limit"):
        model.write(path, seed=1)


@pytest.mark.parametrize("size", [0, 7, 8, 20])
def test_truncated_files(tmp_path: Path, size: int) -> None:
    path = write_header(tmp_path / "bad.safetensors", {"a": F32}, b"1" * 8)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        ValueError, match=r"expected a safetensors header(, got an empty file; | of at most)"
    ):
        read_stored(path)


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_tensors_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    for content in (
        data,
        length.to_bytes(8, "little") + data,
        len(data).to_bytes(8, "little") + data,
    ):
        path.write_bytes(content)
        try:
            read_stored(path)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - most bytes raise, but not all


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"m.safetensors.index.json": {"weight_map": {"a": "../m.safetensors"}}}, "expected files next to it"),
        ({"m.safetensors.index.json": {"weight_map": {"b": "n.safetensors"}}, "n.safetensors": {"a": F32}}, "'b' is not in 'n.safetensors'"),
        ({"m.safetensors.index.json": {"weight_map": {"a": "n.safetensors", "b": "n.safetensors"}}, "n.safetensors": {"a": F32}}, "'b' is not in 'n.safetensors'"),
        ({"m.safetensors.index.json": []}, "expected a weight_map"),
        ({"tensors.json": {"a": {"file": "/etc/passwd", "dtype": "float32", "shape": []}}}, "'a': file must be the name of one next to it"),
        ({"tensors.json": {"a": {"file": "tensors.json", "dtype": "float32", "shape": [1000]}}}, "'a': expected 4000 bytes in 'tensors.json'"),
        ({"m.safetensors.index.json": {"weight_map": {"a": ".."}}}, r"expected files next to it, got '\.\.'"),
        ({"m.safetensors.index.json": {"weight_map": {"a": "\ud800"}}}, r"expected files next to it, got '\\ud800'"),
        ({"tensors.json": {"a": {"file": "\ud800", "dtype": "float32", "shape": []}}}, r"'a': file must be the name of one next to it"),
        ({"tensors.json": {"a": {"file": "pipe", "dtype": "float32", "shape": [0]}}}, r"pipe: expected a regular file"),
        ({"tensors.json": {"a": {"file": "x"}}}, "'a': expected file, dtype and shape"),
        ({"tensors.json": {"a": {"file": "x" * 10**5, "dtype": "float32", "shape": []}}}, r"'a': file must be the name of one next to it, got 'x"),
        ({"tensors.json": {n: {"file": "x.bin", "dtype": "float32", "shape": [1]} for n in "ab"}, "x.bin": 1234}, "'b': its file is that of 'a' already"),
        ({"m.safetensors.index.json": {"weight_map": {"a": "x" * 10**5}}}, "expected files next to it, got 'x"),
        ({f"{i}" * 200 + ".safetensors": {} for i in range(9)}, r"expected one file \*\.safetensors, got \['000"),
        ({}, "expected .safetensors, .npy or raw files in it, got none"),
        ({"a.safetensors": {}, "b.safetensors": {}}, "expected one file"),
        ({"a.safetensors": {}, "a.safetensors.index.json": {}}, "expected one model, got a.safetensors and a.safetensors.index.json: name one"),
        ({"a.safetensors": {}, "a.safetensors.index.fp16.json": {}}, "expected one model, got a.safetensors and a.safetensors.index.fp16.json"),
    ],
)  # fmt: skip
def test_bad_folders(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: to read it is to wait for ever
    for name, content in files.items():
        if name.endswith(".safetensors"):
            write_header(tmp_path / name, content, b"1" * 8 * len(content))
        else:
            (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as raised:
        read_stored(tmp_path)
    assert len(str(raised.value)) < len(str(tmp_path)) + 350


def test_folders_whose_entries_are_no_files(tmp_path: Path) -> None:
    """Folders, links that lead nowhere or to the folder itself, and files of /proc, whose size is 0 and which may not end."""
    (tmp_path / "w.npy").mkdir()
    with pytest.raises(ValueError, match=r"w\.npy: expected a regular file"):
        read_stored(tmp_path)
    (tmp_path / "w.npy").rmdir()
    (tmp_path / "w.npy").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"w\.npy"):
        read_stored(tmp_path)
    (tmp_path / "m.safetensors").symlink_to(".")
    with pytest.raises(ValueError, match=r"/m\.safetensors: expected a regular file"):
        read_stored(tmp_path)
    (tmp_path / "m.safetensors").unlink()
    (tmp_path / "w.npy").unlink()
    for name in ("w.npy", "m.safetensors", "tensors.json", "config.json", "spec.toml"):
        link = tmp_path / name
        link.symlink_to("/proc/self/mem")  # to read it is an error without a name
        source = link if link.suffix == ".toml" else tmp_path
        with pytest.raises(ValueError, match=rf"{name}: (not|expected)"):
            fi.Model.load(source)
        link.unlink()


def test_the_longest_names(tmp_path: Path) -> None:
    """Nothing longer is asked for, such as the index of a file whose name leaves no room for one."""
    path = write_header(tmp_path / ("n" * 243 + ".safetensors"), {"a": F32}, bytes(8))
    assert [s.path for s in read_stored(tmp_path)] == [path]


def test_bad_npy(tmp_path: Path) -> None:
    path = tmp_path / "w.npy"
    path.write_bytes(b"not numpy")
    with pytest.raises(ValueError, match=r"w.npy: not a .npy file"):
        read_stored(path)
    np.save(path, np.zeros((3, 4), order="F"))
    with pytest.raises(ValueError, match="Fortran order"):
        read_stored(path)
    np.save(path, np.zeros(3, ml_dtypes.bfloat16).view("V2"))
    assert read_stored(path)[0].dtype == "bfloat16"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"expected 134 bytes, got a file of 133"):
        read_stored(path)


@pytest.mark.parametrize(
    "fields",
    [
        b"'descr': '<f4', 'fortran_order': True, 'shape': (3,)",  # both orders are the same
        b"'descr': '<f4', 'fortran_order': False, 'shape': (3L,)",  # of Python 2, without a warning
    ],
)
def test_unusual_npy_headers(tmp_path: Path, fields: bytes) -> None:
    header = b"{" + fields + b", }\n"
    path = tmp_path / "w.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(12))
    assert [(s.name, s.dtype, s.shape) for s in read_stored(path)] == [("w", "float32", (3,))]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("'descr': '<f4', 'fortran_order': False, 'shape': (-1, -2)", r"a shape of at most 64 sizes, got dtype\('float32'\) of \(-1, -2\)"),
        ("'descr': '<f4', 'fortran_order': False, 'shape': (True, 2)", r"got dtype\('float32'\) of \(True, 2\)"),
        ("'descr': '<f4', 'fortran_order': False, 'shape': (2," + "1, " * 64 + ")", "at most 64 sizes, got"),
        (f"'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 4000},) * 2", "not a .npy file that can be read"),
        (f"'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 4000}, {'9' * 4000})", "at most 64 sizes, got"),
        ("'descr': [('a', '<f2'), ('b', '<f2')], 'fortran_order': False, 'shape': (2,)", "expected numbers of a shape"),
        ("'descr': ('|i1', (2,)), 'fortran_order': False, 'shape': (4,)", r"got dtype\(\('i1', \(2,\)\)\) of \(4,\)"),
        ("'descr': '(2,)i1', 'fortran_order': False, 'shape': (4,)", r"got dtype\(\('i1', \(2,\)\)\) of \(4,\)"),
        ("'descr': '|O', 'fortran_order': False, 'shape': (1,)", r"got dtype\('O'\) of \(1,\)"),
    ],
)  # fmt: skip
def test_bad_npy_headers(tmp_path: Path, fields: str, message: str) -> None:
    header = f"{{{fields}}}".encode()
    path = tmp_path / "w.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(8))
    with pytest.raises(ValueError, match=message) as raised:
        read_stored(path)
    assert str(raised.value).startswith(str(path))
    assert len(str(raised.value)) < len(str(path)) + 250


def test_little_memory_for_a_tensor_of_a_tebibyte(tmp_path: Path) -> None:
    """The first report of a comparison comes before anything is held for each piece of a file of holes."""
    path = tmp_path / "w.bin"
    with path.open("wb") as file:
        file.truncate(2**40)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (2**20, 2**40)
        raise KeyboardInterrupt

    stored = Stored("w", "float32", (2**38,), path, 0, 2**40)
    tracemalloc.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            differences(
                [(stored, fi.Tensor("w", (2**38,), fi.Normal()))], 0, threads=1, progress=stop
            )
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_no_memory_for_what_a_npy_header_states(tmp_path: Path) -> None:
    path = tmp_path / "w.npy"
    path.write_bytes(b"\x93NUMPY\2\0\xff\xff\xff\xff{")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"not a \.npy file that can be read"):
            read_stored(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


NEW = {
    "w": F32 | {"data_offsets": [0, 8]},
    "f4": {"dtype": "F4", "shape": [2, 6], "data_offsets": [8, 14]},
    "f6": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [14, 17]},
    "g6": {"dtype": "F6_E3M2", "shape": [2, 2], "data_offsets": [17, 20]},
    "scale": {"dtype": "F8_E8M0", "shape": [3], "data_offsets": [20, 23]},
    "fnuz": {"dtype": "F8_E4M3FNUZ", "shape": [1], "data_offsets": [23, 24]},
    "gnuz": {"dtype": "F8_E5M2FNUZ", "shape": [1], "data_offsets": [24, 25]},
    "later": {"dtype": "F3_E1M1", "shape": [8], "data_offsets": [25, 28]},
}


def test_newer_dtypes_leave_a_file_readable(tmp_path: Path) -> None:
    """Those of safetensors 0.8, and one of a version to come: read, listed, left out by a rule."""
    path = write_header(tmp_path / "m.safetensors", NEW, bytes(28))
    assert [(s.name, s.dtype) for s in read_stored(path)] == [
        ("w", "float32"),
        ("f4", "float4_e2m1fn"),
        ("f6", "float6_e2m3fn"),
        ("g6", "float6_e3m2fn"),
        ("scale", "float8_e8m0fnu"),
        ("fnuz", "float8_e4m3fnuz"),
        ("gnuz", "float8_e5m2fnuz"),
        ("later", "F3_E1M1"),
    ]
    checked = {one.name: one for one in fi.Model([]).check(path)}
    assert checked["w"].measured is not None
    for name in {*NEW} - {"w"}:
        assert checked[name].measured is None
        assert checked[name].notes[0].startswith("not measured: its dtype is not one of float32")
    rules = ["w=normal", "scale=ones", "f[46]=zeros", "?nuz=ones", "g6=zeros"]
    made = fi.Model.load(path, rules=[*rules, "later=skip"])
    assert [t.name for t in made] == [name for name in NEW if name != "later"]
    assert fi.Model.load(path, rules=["w=ones", "*=skip"])["w"].dtype == "float32"
    with pytest.raises(ValueError, match=r"'later': dtype must be one of .* got 'F3_E1M1'"):
        fi.Model.load(path, rules=[*rules, "later=zeros"])
    message = r"5 tensors have no default by name: 'f4' \(1\), 'f6' \(1\), 'g6' \(1\), 'fnuz' \(1\), 'gnuz'"
    with pytest.raises(ValueError, match=message):
        fi.Model.load(path, rules=["w=normal", "later=skip"])  # a scale is 1


def test_metadata_may_be_null(tmp_path: Path) -> None:
    header = {"__metadata__": None, "a": F32}
    path = write_header(tmp_path / "m.safetensors", header, bytes(8))
    deserialize = pytest.importorskip("safetensors").deserialize
    assert [name for name, _ in deserialize(path.read_bytes())] == ["a"]
    assert [s.name for s in read_stored(path)] == ["a"]
    assert recorded_model(path)[1] is None


@pytest.mark.parametrize(
    "name",
    ["model.safetensors.index.json", "model.safetensors.index.fp16.json", "m.safetensors.index.x-1.json"],
)  # fmt: skip
def test_names_of_indexes(tmp_path: Path, name: str) -> None:
    write_header(tmp_path / "n.safetensors", {"a.weight": F32}, bytes(8))
    (tmp_path / name).write_text(json.dumps({"weight_map": {"a.weight": "n.safetensors"}}))
    write_header(tmp_path / "o.safetensors", {"b.weight": F32}, bytes(8))
    for source in (tmp_path, tmp_path / name):
        assert [s.name for s in read_stored(source)] == ["a.weight"]
        assert [t.name for t in fi.Model.load(source)] == ["a.weight"]
    (tmp_path / "z.safetensors.index.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"expected one file \*\.safetensors\.index\.json, got .* name one"
    ):
        read_stored(tmp_path)


@pytest.mark.parametrize(
    ("weights", "sizes", "left"),
    [
        ({"b": 2, "a": 1}, {"b": 4, "a": 2}, "2 tensors .* left out: 'a', 'extra'"),
        ({"b": 2, "a": 2, "extra": 1}, {"b": 4, "a": 3, "extra": 2}, "1 tensor .* left out: 'a'"),
    ],
)
def test_the_index_decides(
    tmp_path: Path, weights: dict[str, int], sizes: dict[str, int], left: str
) -> None:
    """Of a name in two files, and of tensors that it does not map."""
    one = fi.Model([fi.Tensor("a", (2,), fi.zeros), fi.Tensor("extra", (2,), fi.zeros)])
    two = fi.Model([fi.Tensor("a", (3,), fi.ones), fi.Tensor("b", (4,), fi.ones)])
    one.write(tmp_path / "1.safetensors", seed=5)
    two.write(tmp_path / "2.safetensors", seed=5)
    index = tmp_path / "m.safetensors.index.json"
    files = {name: f"{number}.safetensors" for name, number in weights.items()}
    index.write_text(json.dumps({"weight_map": files}))
    with pytest.warns(UserWarning, match=f"{left}$"):
        stored = {s.name: s for s in read_stored(index)}
    assert {name: s.path.name for name, s in stored.items()} == files
    assert {name: s.shape for name, s in stored.items()} == {n: (k,) for n, k in sizes.items()}
    with pytest.warns(UserWarning, match="left out"):
        model, seed = recorded_model(index)
    assert ({t.name: t.size for t in model}, seed) == (sizes, 5)
    with pytest.warns(UserWarning, match="left out"):
        assert model.differences(index, seed=5) == []
    done = run("check", index, index, "--rule", "*=ones")  # it reads the index twice
    (line,) = done.stderr.splitlines()
    assert line.startswith("fastinit: warning: ")
    assert re.search(f"{left}$", line)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.pt", b"PK\x03\x04\0\0\x08\x08" + bytes(90), "not safetensors, but a zip archive, as torch.save and np.savez write"),
        ("old.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "but a pickle, as torch.save writes"),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(90), "but HDF5"),
        ("m.gguf", b"GGUF\3\0\0\0\1" + bytes(90), "but GGUF"),
        ("config.json", b'{"model_type": "gpt2"}', "but JSON: a config or a spec holds no tensors"),
        ("a.safetensors", b"\x93NUMPY\1\0v\0{", "but what NumPy writes: give it a name that ends in .npy"),
        ("a.safetensors", b"", "expected a safetensors header, got an empty file"),
        ("a.yaml", b"model: gpt2\n", "expected a safetensors header of at most 4 bytes, got "),
    ],
    ids=str,
)  # fmt: skip
def test_files_of_other_formats(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    known = r".*; known are \.safetensors, their index \(\*\.safetensors\.index\.json\), \.npy, or a folder"
    with pytest.raises(ValueError, match=message + known) as raised:
        read_stored(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.zeros((3, 4), order="F"), "got one in Fortran order: save np.ascontiguousarray(array)"),
        (np.zeros(3, ">f4"), "expected little-endian numbers, got >f4: save array.astype('<f4')"),
        (np.zeros(3, ">i8"), "expected little-endian numbers, got >i8: save array.astype('<i8')"),
    ],
)
def test_npy_files_that_are_not_read_say_what_to_do(
    tmp_path: Path, array: np.ndarray, remedy: str
) -> None:
    np.save(tmp_path / "w.npy", array)
    with pytest.raises(ValueError, match=re.escape(remedy)):
        read_stored(tmp_path / "w.npy")


@pytest.mark.parametrize(
    ("dtype", "name", "note"),
    [
        ("<i8", "int64", "not measured: its dtype is not one of float32, float64, float16, bfloat16"),
        ("|b1", "bool", "not measured: its dtype is not one of float32"),
        ("<c8", "complex64", "not measured: complex64 is complex; save array.real and array.imag"),
        ("<c16", "<c16", "not measured: <c16 is complex; save array.real and array.imag"),
        ("<U3", "<U3", "not measured: its dtype is not one of float32"),
    ],
)  # fmt: skip
def test_npy_files_that_are_not_measured_say_so(
    tmp_path: Path, dtype: str, name: str, note: str
) -> None:
    np.save(tmp_path / "w.npy", np.zeros(3, dtype))
    (one,) = fi.Model([]).check(tmp_path / "w.npy")
    assert (one.stored.dtype, one.measured, one.flags) == (name, None, ())
    assert one.notes[0].startswith(note)
