"""Tensors that are parts of a whole, transposed, of a stream of their own: NumPy's of the oracle's whole, everywhere."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastinit as fi
import reference
from conftest import as_bits
from fastinit.model import recorded_model
from fastinit.write import PIECE, Source
from test_cli import run

SEED = 11
STDDEV = 0.25


def whole_bits(shape: tuple[int, ...], dtype: str, stream: str) -> NDArray[Any]:
    """A whole tensor of normals from the oracle, as integers of their bits."""
    key = reference.stream_key(SEED, stream)
    values = reference.normal(dtype, key, 0, math.prod(shape), 0.0, STDDEV)
    return values.view(f"u{values.dtype.itemsize}").reshape(shape)


def part_of(
    whole: NDArray[Any], index: Any, axis_order: tuple[int, ...] | None
) -> tuple[NDArray[Any], dict[str, Any]]:
    """What NumPy makes of a whole, and the arguments of the tensor that is the same."""
    part = whole[index] if axis_order is None else np.transpose(whole[index], axis_order)
    arguments = {"whole_shape": whole.shape, "index": index, "axis_order": axis_order}
    return np.ascontiguousarray(part), {"shape": part.shape, "stream": "whole", **arguments}


INDICES = [
    ...,
    2,
    slice(1, 5),
    (slice(None), slice(None, None, -2)),
    (slice(4, 1, -1), 3, slice(0, 6)),
    (-1, ..., slice(2, None, 3)),
    (slice(None, None, -1), ..., slice(6, 7)),
    (slice(3, 3),),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_parts_in_all_orders_of_axes(tmp_path: Path, dtype: str, index: Any) -> None:
    """Made, filled in part, written and compared."""
    whole = whole_bits((7, 5, 9), dtype, "whole")
    ndim = np.ndim(whole[index])
    wanted, tensors = {}, []
    for order in [None, *itertools.permutations(range(ndim))]:
        name = f"t{order}"
        wanted[name], arguments = part_of(whole, index, order)
        tensors.append(
            fi.Tensor(name=name, init=fi.Normal(0, STDDEV), dtype=dtype, **arguments)  # type: ignore[arg-type]
        )
    model = fi.Model(tensors)
    model.write(tmp_path / "raw", seed=SEED, format="raw")
    assert model.differences(tmp_path / "raw", seed=SEED) == []
    for name, bits in wanted.items():
        made = model.make(name, seed=SEED)
        np.testing.assert_array_equal(as_bits(made), bits)
        assert (tmp_path / "raw" / f"{name}.bin").read_bytes() == bits.tobytes()
        for inner in [(slice(None, None, -2), ...), (..., slice(0, 1)), (slice(0, 1), ...)]:
            if all(bits.shape):
                shard = model.make(name, seed=SEED, index=inner)
                np.testing.assert_array_equal(as_bits(shard), bits[inner])
        out = np.zeros(bits.shape[::-1], made.dtype).T  # in Fortran order
        model.fill({name: out}, seed=SEED)
        np.testing.assert_array_equal(as_bits(out), bits)


@pytest.mark.parametrize(
    "order", [(3, 2, 0, 1), (1, 0, 3, 2), (0, 2, 3, 1), (3, 2, 1, 0), (2, 3, 0, 1)]
)
def test_four_axes(order: tuple[int, ...]) -> None:
    whole = whole_bits((3, 4, 5, 6), "float32", "whole")
    bits, arguments = part_of(whole, ..., order)
    model = fi.Model([fi.Tensor(name="t", init=fi.Normal(0, STDDEV), **arguments)])
    np.testing.assert_array_equal(as_bits(model.make("t", seed=SEED)), bits)
    del arguments["whole_shape"], arguments["index"]  # the whole is what fits the shape
    assert list(model) == [fi.Tensor(name="t", init=fi.Normal(0, STDDEV), **arguments)]


@pytest.mark.parametrize(
    ("whole", "index", "order"),
    [
        ((1021, 1033), ..., (1, 0)),
        ((3 * 700, 900), (slice(700, 1400), slice(None, None, -1)), None),
        ((61, 67, 71, 3), (..., slice(0, 2)), (3, 1, 0, 2)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float8_e5m2"])
def test_any_bytes_of_large_parts(
    tmp_path: Path, whole: Any, index: Any, order: Any, dtype: str
) -> None:
    """Pieces begin and end in the middle of rows; the file is what NumPy makes of the whole."""
    bits, arguments = part_of(whole_bits(whole, dtype, "whole"), index, order)
    tensor = fi.Tensor(name="t", init=fi.Normal(0, STDDEV), dtype=dtype, **arguments)  # type: ignore[arg-type]
    source, data, size = Source(tensor, SEED), bits.tobytes(), bits.dtype.itemsize
    for begin, end in itertools.pairwise([0, 1, 2, 1000, 4321, 90_001, bits.size - 1, bits.size]):
        out = np.zeros((end - begin) * size, np.uint8)
        source.fill(out, begin * size)
        assert out.tobytes() == data[begin * size : end * size]
    assert dtype != "float32" or bits.nbytes > PIECE
    fi.Model([tensor]).write(tmp_path / "t.safetensors", seed=SEED, threads=2)
    assert (tmp_path / "t.safetensors").read_bytes().endswith(data)


def test_fused_weights_in_parts(tmp_path: Path) -> None:
    """Fans are those of the fused weight; check and --exact follow what the file records."""
    init = fi.he_normal.with_axes("out_in")
    qkv = init((300, 500), seed=SEED, stream="qkv.weight")
    tensors = [
        fi.Tensor(
            f"{name}.weight",
            (500, 100) if name == "v" else (100, 500),
            fi.he_normal,
            axes="out_in",
            stream="qkv.weight",
            whole_shape=(300, 500),
            index=slice(100 * i, 100 * i + 100),
            axis_order=(1, 0) if name == "v" else None,
        )
        for i, name in enumerate("qkv")
    ]
    model = fi.Model(tensors)
    np.testing.assert_array_equal(model.make("k.weight", seed=SEED), qkv[100:200])
    np.testing.assert_array_equal(model.make("v.weight", seed=SEED), qkv[200:].T)
    assert model["v.weight"].resolve() == fi.TruncatedNormal(
        0, math.sqrt(2 / 500) / 0.87962566103423978
    )
    path = tmp_path / "m.safetensors"
    model.write(path, seed=SEED)
    recorded, seed = recorded_model(path)
    assert (list(recorded), seed) == (tensors, SEED)
    assert [one.flags for one in recorded.check(path)] == [()] * 3
    exact = run("check", path, "--exact")
    assert (exact.returncode, exact.stdout.startswith("3 tensors, all exactly as")) == (0, True)
    (tmp_path / "spec.json").write_text(model.to_json())
    assert list(fi.Model.load(tmp_path / "spec.json")) == tensors
    assert run("check", path, tmp_path / "spec.json", "--exact").returncode == 0


def test_the_padding_row_is_one_of_the_tensor_itself(tmp_path: Path) -> None:
    whole = whole_bits((40, 30), "float32", "whole")
    bits, arguments = part_of(whole, slice(10, 30), (1, 0))
    tensor = fi.Tensor(name="t", init=fi.Normal(0, STDDEV), padding_idx=7, **arguments)
    bits[7] = 0
    model = fi.Model([tensor])
    np.testing.assert_array_equal(as_bits(model.make("t", seed=SEED)), bits)
    np.testing.assert_array_equal(as_bits(model.make("t", seed=SEED, index=slice(5, 9))), bits[5:9])
    model.write(tmp_path / "t.safetensors", seed=SEED)
    assert (tmp_path / "t.safetensors").read_bytes().endswith(bits.tobytes())
    assert [one.flags for one in model.check(tmp_path / "t.safetensors")] == [()]


def test_arguments_that_say_the_default_are_none() -> None:
    plain = fi.Tensor("t", (4, 6), fi.zeros)
    same = fi.Tensor(
        "t", (4, 6), fi.zeros, stream="t", whole_shape=(4, 6), index=..., axis_order=(0, -1)
    )
    assert (same, hash(same)) == (plain, hash(plain))
    assert repr(plain) == (
        "Tensor(name='t', shape=(4, 6), init=Constant(value=0.0), dtype='float32', padding_idx=None, axes='in_out')"
    )
    rows = fi.Tensor("t", (2, 6), fi.zeros, whole_shape=(4, 6), index=slice(-2, None))
    for index in (slice(2, 4), (slice(2, None), slice(None)), (slice(2, 4, 1), ...)):
        other = fi.Tensor("t", (2, 6), fi.zeros, whole_shape=(4, 6), index=index)
        assert (other, hash(other)) == (rows, hash(rows))
    assert rows != fi.Tensor("t", (2, 6), fi.zeros, whole_shape=(4, 6), index=slice(0, 2))
    assert repr(rows).endswith(
        "axes='in_out', whole_shape=(4, 6), index=(slice(2, 4, None), slice(None, None, None)))"
    )
    assert fi.Tensor("t", (), fi.zeros, stream=3) == fi.Tensor("t", (), fi.zeros, stream="3")


def test_the_empty_stream_is_the_seed_itself() -> None:
    made = fi.Model([fi.Tensor("t", (9,), fi.Normal(), stream="")]).make("t", seed=5)
    np.testing.assert_array_equal(made, fi.Normal()((9,), seed=5))


def test_parts_as_text(tmp_path: Path) -> None:
    part = fi.Tensor(
        "t",
        (3, 9, 2),
        fi.Normal(),
        stream="s",
        whole_shape=(9, 4, 8, 5),
        index=(slice(None, None, -1), 2, slice(2, 4), slice(4, None, -2)),
        axis_order=(2, 0, 1),
    )
    table = json.loads(fi.Model([part]).to_json())["tensors"][0]
    assert {key: table[key] for key in ("stream", "whole_shape", "index", "axis_order")} == {
        "stream": "s",
        "whole_shape": [9, 4, 8, 5],
        "index": ["8::-1", 2, "2:4", "4::-2"],
        "axis_order": [2, 0, 1],
    }
    (tmp_path / "s.toml").write_text(
        '[[tensors]]\nname = "t"\nshape = [3, 9, 2]\ninit = "normal"\nstream = "s"\n'
        'whole_shape = [9, 4, 8, 5]\nindex = ["::-1", 2, "2:4", "::-2"]\naxis_order = [2, 0, 1]\n'
    )
    assert list(fi.Model.load(tmp_path / "s.toml")) == [part]


def test_files_record_nothing_of_tensors_of_their_own(tmp_path: Path) -> None:
    """So that the bytes of their files are what they were."""
    fi.Model([fi.Tensor("w", (2, 2), fi.ones)]).write(tmp_path / "w.safetensors", seed=0)
    content = (tmp_path / "w.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    record = json.loads(header["__metadata__"]["fastinit"])
    assert list(record) == ["stream_version", "seed", "init", "axes", "padding_idx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": 0}, "index needs whole_shape, the shape of the whole tensor; got none"),
        ({"whole_shape": (9, 6)}, r"shape must be \(9, 6\), that of whole_shape \(9, 6\), index None and axis_order None; got \(4, 6\)"),
        ({"whole_shape": (6, 8), "index": (..., slice(0, 4)), "axis_order": (0, 1)}, r"shape must be \(6, 4\), that of whole_shape \(6, 8\), index .* and axis_order None; got \(4, 6\)"),
        ({"whole_shape": (6, 8), "index": (..., slice(0, 5)), "axis_order": (1, 0)}, r"shape must be \(5, 6\), that of .* axis_order \(1, 0\); got \(4, 6\)"),
        ({"whole_shape": (6, 8), "index": 3, "axis_order": (1, 0)}, r"shape must have 1 size, as whole_shape \(6, 8\), index 3 and axis_order \(1, 0\) give"),
        ({"whole_shape": (8, 6), "index": slice(0, 9)}, r"index\[0\] must have its ends in \[-8, 8\]"),
        ({"whole_shape": (8, 6), "index": "0:4"}, r"index\[0\] must be an int, a slice or Ellipsis, got '0:4'"),
        ({"whole_shape": (-8, 6), "index": 0}, "shape must not have negative dimensions"),
        ({"axis_order": (0,)}, "axis_order must name each of the 2 axes of shape once, got (0,)"),
        ({"axis_order": (0, 0)}, "axis_order must name each of the 2 axes"),
        ({"axis_order": (0, 2)}, "axis_order must name each of the 2 axes"),
        ({"axis_order": "01"}, "axis_order must be an int or a sequence of ints, got '01'"),
        ({"stream": 1.5}, "stream must be a text or an int of at least 0, got 1.5"),
        ({"stream": -1}, "stream must be a text or an int of at least 0, got -1"),
    ],
)  # fmt: skip
def test_bad_parts(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message.replace("(0,)", r"\(0,\)")):
        fi.Tensor("t", (4, 6), fi.zeros, **arguments)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"index": "0:2"}, r"tensor 't': index must be a list such as \['0:1024', 3\], got '0:2'"),
        ({"index": ["0-2"]}, "tensor 't': index must have ints and slices such as '0:1024', got '0-2'"),
        ({"index": [True]}, "tensor 't': index must have ints and slices such as '0:1024', got True"),
        ({"index": ["0:2:0"]}, r"tensor 't': index\[0\] must not have a step of 0"),
        ({"whole_shape": 4}, "tensor 't': whole_shape must be a list of ints, got 4"),
        ({"axis_order": 4}, "tensor 't': axis_order must be a list of ints, got 4"),
        ({"stream": 4}, "tensor 't': stream must be a text, got 4"),
    ],
)  # fmt: skip
def test_bad_parts_in_specs(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    tensor = {"name": "t", "shape": [2, 2], "init": "ones", "whole_shape": [4, 2], "index": ["0:2"]}
    (tmp_path / "s.json").write_text(json.dumps({"tensors": [tensor | table]}))
    with pytest.raises((ValueError, TypeError), match=message):
        fi.Model.load(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("stream", 3, "must have objects as stream, whole_shape, index, axis_order"),
        ("stream", {"w": 3}, "'w': stream must be a text, got 3"),
        ("index", {"w": ["0:1"]}, "'w': index needs whole_shape"),
        ("axis_order", {"w": [0, 0]}, "'w': axis_order must name each"),
        ("stream", {"v": "s"}, "'v' must be in init and axes"),
    ],
)
def test_bad_provenance(tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = tmp_path / "w.safetensors"
    fi.Model([fi.Tensor("w", (2, 2), fi.ones)]).write(path, seed=0)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    record = json.loads(header["__metadata__"]["fastinit"]) | {key: value}
    header["__metadata__"]["fastinit"] = json.dumps(record)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    with pytest.raises(ValueError, match=f"__metadata__ of fastinit:? {message}"):
        recorded_model(path)
