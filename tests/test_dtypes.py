"""The table of stored dtypes, against ml_dtypes, NumPy, PyTorch and the package safetensors; tensors of constants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import ml_dtypes
import numpy as np
import pytest

import fastinit as fi
from fastinit import choices
from fastinit._kernel import DTYPE_SIZES
from fastinit.check import table
from fastinit.dtypes import BY_CODE, DTYPES
from fastinit.files import read_stored
from fastinit.model import recorded_model

DOCS = Path(__file__).parent.parent / "docs/models.md"
#: All that safetensors 0.8 has, with the bits of an element: tensor.rs, `Dtype::bitsize`.
BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
CONSTANT_DTYPES = [name for name in DTYPES if name not in DTYPE_SIZES]
#: Of PyTorch, for those that it calls otherwise; it has no floats of 6 bits.
TORCH = {"float4_e2m1fn": "float4_e2m1fn_x2"}


def numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def test_the_table_has_all_codes() -> None:
    assert {code: dtype.bits for code, dtype in BY_CODE.items()} == BITS
    assert {d.name: d.bits // 8 for d in DTYPES.values() if d.fillable} == DTYPE_SIZES
    assert set(get_args(choices.ConstantDtypeName)) == set(CONSTANT_DTYPES)


@pytest.mark.parametrize("name", DTYPES)
def test_codes_of_0_and_1(name: str) -> None:
    """The bytes of NumPy's and ml_dtypes' own 0 and 1; a scale of 1 in F8_E8M0 is code 127."""
    dtype = numpy_dtype(name)
    for value, code in ((0, DTYPES[name].zero), (1, DTYPES[name].one)):
        made = np.array([value]).astype(dtype)
        if code is not None:
            assert made.tobytes() == code.to_bytes(dtype.itemsize, "little")
        else:
            assert made.astype(float)[0] != value  # float8_e8m0fnu has no 0
    assert DTYPES["float8_e8m0fnu"].one == 127


def model_of(name: str, value: float, shape: tuple[int, ...] = (3, 8)) -> fi.Model:
    return fi.Model([fi.Tensor("x", shape, fi.Constant(value), name)])  # type: ignore[arg-type]


def values_of(name: str) -> list[float]:
    """The constants that a dtype takes, of 0 and 1."""
    return {"float8_e8m0fnu": [1], "float6_e2m3fn": [0], "float6_e3m2fn": [0]}.get(name, [0, 1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [n for n in CONSTANT_DTYPES if "float6" not in n])
def test_constants_are_read_by_torch(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    safe_open = pytest.importorskip("safetensors").safe_open
    dtype = getattr(torch, TORCH.get(name, name))
    for value in values_of(name):
        model_of(name, value).write(tmp_path / "m.safetensors", seed=0)
        with safe_open(tmp_path / "m.safetensors", "pt") as file:
            got = file.get_tensor("x")
        assert got.dtype == dtype
        if name == "float4_e2m1fn":  # two in a byte: 1 is code 2 (OCP MX 1.0)
            assert got.shape == (3, 4)
            assert (got.view(torch.uint8) == 0x22 * value).all()
        else:
            assert got.shape == (3, 8)
            assert (got.to(torch.complex64) == value).all()


@pytest.mark.parametrize("name", ["float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn"])
def test_dtypes_below_a_byte_in_the_package_safetensors(tmp_path: Path, name: str) -> None:
    deserialize = pytest.importorskip("safetensors").deserialize
    model = fi.Model([*model_of(name, 0), fi.Tensor("w", (3,), fi.ones)])
    model.write(tmp_path / "m.safetensors", seed=0)
    read = dict(deserialize((tmp_path / "m.safetensors").read_bytes()))
    assert read["x"]["dtype"] == DTYPES[name].code
    assert read["x"]["shape"] == [3, 8]
    assert bytes(read["x"]["data"]) == bytes(24 * DTYPES[name].bits // 8)
    assert bytes(read["w"]["data"]) == np.ones(3, np.float32).tobytes()
    assert model.nbytes == {6: 18, 4: 12}[DTYPES[name].bits] + 12


@pytest.mark.parametrize("name", CONSTANT_DTYPES)
def test_constants_are_recorded_compared_and_checked(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.safetensors"
    for value in values_of(name):
        model = model_of(name, value)
        model.write(path, seed=3)
        recorded, seed = recorded_model(path)
        assert (list(recorded), seed) == (list(model), 3)
        assert model.differences(path, seed=3) == []
        (one,) = model.check(path)
        assert (one.flags, one.notes) == ((), ("compared with the constant alone",))
        content = bytearray(path.read_bytes())
        content[-1] ^= 0x20  # of the last element, or one of the last
        path.write_bytes(content)
        assert model.differences(path, seed=3) == ["'x': differs from element (2, 7) on"]
        (one,) = model.check(path)
        assert one.flags == (f"not {value} throughout: element (2, 7) differs",)
        assert "! not" in table([one])


def test_integers_take_all_that_they_hold(tmp_path: Path) -> None:
    tensors = [
        fi.Tensor("a", (2,), fi.Constant(-128), "int8"),
        fi.Tensor("b", (2,), fi.Constant(255), "uint8"),
        fi.Tensor("c", (2,), fi.Constant(-(2.0**63)), "int64"),
        fi.Tensor("d", (2,), fi.Constant(1000), "int16"),
        fi.Tensor("e", (2,), fi.Normal(7, 0), "uint32"),
        fi.Tensor("f", (2,), fi.Uniform(3, 3), "uint64"),
    ]
    model = fi.Model(tensors)
    model.write(tmp_path / "m.safetensors", seed=0)
    loaded = pytest.importorskip("safetensors.numpy").load_file(tmp_path / "m.safetensors")
    expected = {"a": -128, "b": 255, "c": -(2**63), "d": 1000, "e": 7, "f": 3}
    for name, value in expected.items():
        for array in (loaded[name], model.make(name, seed=0)):
            assert array.dtype == model[name].dtype
            assert array.tolist() == [value, value]


@pytest.mark.parametrize("name", CONSTANT_DTYPES)
def test_arrays_of_constants(name: str) -> None:
    """`make`, and `fill` of arrays of the dtype itself and of floats."""
    for value in values_of(name):
        model = model_of(name, value)
        for array, shape in ((model.make("x", seed=0), (3, 8)), (model.make("x", seed=0, index=1), (8,))):  # fmt: skip
            assert (array.dtype, array.shape) == (numpy_dtype(name), shape)
            assert (array.astype(complex) == value).all()
        own = np.ones((3, 8)).astype(numpy_dtype(name))
        floats = np.full((3, 8), 7, np.float16)
        for out in (own, floats):
            model.fill({"x": out}, seed=0)
            assert (out.astype(complex) == value).all()
        own.flags.writeable = False
        with pytest.raises(ValueError, match="out must be writable"):
            model.fill({"x": own}, seed=0)
    with pytest.raises(TypeError, match=r"out\.dtype must be float32"):
        model.fill({"x": np.zeros((3, 8), "S1")}, seed=0)


@pytest.mark.parametrize("format", ["npy", "raw"])
def test_other_formats(tmp_path: Path, format: str) -> None:
    """.npy where NumPy or ml_dtypes has files of the dtype; bare elements of all."""
    names = [n for n in CONSTANT_DTYPES if format == "raw" or DTYPES[n].bits >= 8]
    model = fi.Model(fi.Tensor(n, (4, 2), fi.Constant(values_of(n)[-1]), n) for n in names)  # type: ignore[arg-type]
    model.write(tmp_path / "out", seed=0, format=format)
    for name in names:
        if format == "raw":
            size = DTYPES[name].bits
            assert (tmp_path / "out" / f"{name}.bin").stat().st_size == size
        else:
            array = np.load(tmp_path / "out" / f"{name}.npy")
            assert (array.view(numpy_dtype(name)).astype(complex) == 1).all()
    found = {s.name: s.dtype for s in read_stored(tmp_path / "out")}
    exact = {n: n for n in names if format == "raw" or not n.startswith("float8")}
    assert {name: found[name] for name in exact} == exact
    if format == "raw":
        assert model.differences(tmp_path / "out", seed=0) == []


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (((4,), fi.Normal(), "int64"), r"int64 takes only constants, here integers in \[-9223372036854775808, 9223372036854775807\]: expected such an initializer, got Normal"),
        (((4,), fi.Constant(0.5), "int8"), r"int8 takes only constants, here integers in \[-128, 127\]"),
        (((4,), fi.Constant(-1), "uint8"), r"uint8 takes only constants, here integers in \[0, 255\]"),
        (((4,), fi.Constant(2.0**64), "uint64"), r"here integers in \[0, 18446744073709551615\]"),
        (((4, 4), fi.he_normal, "bool"), "bool takes only constants, here 0 and 1"),
        (((4,), fi.Constant(2), "float8_e4m3fnuz"), "float8_e4m3fnuz takes only constants, here 0 and 1"),
        (((4,), fi.zeros, "float8_e8m0fnu"), "float8_e8m0fnu takes only constants, here 1: "),
        (((4,), fi.ones, "float6_e2m3fn"), "here 0 .safetensors does not define the order of its bits."),
        (((3,), fi.zeros, "float4_e2m1fn"), "float4_e2m1fn has 4 bits an element, and 3 of them fill no whole number of bytes"),
        (((2,), fi.zeros, "float6_e3m2fn"), "float6_e3m2fn has 6 bits an element, and 2 of them"),
        (((4, 4), fi.zeros, "int8", 1), "padding_idx is for float dtypes, got int8"),
        (((4,), fi.zeros, "I64"), "dtype must be one of float32, .*, bool, got 'I64'"),
    ],
)  # fmt: skip
def test_what_a_dtype_cannot_hold(tensor: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fi.Tensor("x", *tensor)


def test_npy_has_no_packed_elements(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tensor 'x': \.npy files cannot hold float4_e2m1fn"):
        model_of("float4_e2m1fn", 1).write(tmp_path / "out", seed=0, format="npy")
    assert not list(tmp_path.iterdir())


def test_constants_of_many_pieces(tmp_path: Path) -> None:
    """2.5 MiB of eight-byte elements, by threads, ranks and after an interruption, are those of NumPy."""
    model = model_of("complex64", 1, (5, 2**16))
    for rank in (1, 0):
        model.write(tmp_path / "m.safetensors", seed=0, threads=2, rank=rank, world=2)
    content = (tmp_path / "m.safetensors").read_bytes()
    data = content[8 + int.from_bytes(content[:8], "little") :]
    assert data == np.ones((5, 2**16), np.complex64).tobytes()
    assert model.differences(tmp_path / "m.safetensors", seed=0) == []


def test_specs_name_them(tmp_path: Path) -> None:
    spec = {
        "dtype": "bfloat16",
        "tensors": [
            {"name": "bn.num_batches_tracked", "shape": [], "init": "zeros", "dtype": "int64"},
            {"name": "scale", "shape": [2], "init": "ones", "dtype": "float8_e8m0fnu"},
        ],
    }
    (tmp_path / "s.json").write_text(json.dumps(spec))
    model = fi.Model.load(tmp_path / "s.json")
    assert [(t.dtype, t.init) for t in model] == [("int64", fi.zeros), ("float8_e8m0fnu", fi.ones)]
    (tmp_path / "t.json").write_text(model.to_json())
    assert list(fi.Model.load(tmp_path / "t.json")) == list(model)


def test_the_docs_have_the_table() -> None:
    section = DOCS.read_text().split("### Dtypes")[1].split("\n#")[0].replace("\\|", "!")
    rows = [
        [cell.strip(" `").replace("!", "|") for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    told = {row[0]: tuple(None if cell == "none" else cell for cell in row[1:6]) for row in rows}
    assert told == {
        d.name: (d.code, str(d.bits), d.npy, d.zero if d.zero is None else hex(d.zero), hex(d.one))
        for d in DTYPES.values()
    }
    fillable = [row[0] for row in rows if row[6] == "any distribution"]
    assert fillable == list(DTYPE_SIZES)
