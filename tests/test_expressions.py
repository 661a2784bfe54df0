"""Expressions: their values by NumPy from the reference's draws, parts of them, tables of specs, and bad input."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
import reference
from fastinit.expression_tables import expression_from
from fastinit.expressions import Cast, Draw, Known, Norm, Op, Parts, apply_op
from fastinit.initializers import Distribution
from fastinit.parts import intersect

SEED, STREAM, SHAPE = 7, "layers.0.weight", (60, 40)
NORMAL = fi.Normal(0.0, 1.0)
UNIFORM = fi.Uniform(0.0, 1.0)


def draws(
    number: int = 1,
    shape: tuple[int, ...] = SHAPE,
    init: str = "normal",
    dtype: str = "float32",
) -> np.ndarray:
    """The draw of a number, from the NumPy reference; of normals or of uniforms on [0, 1)."""
    key = reference.stream_key(SEED, STREAM if number == 1 else f"{STREAM}#{number}")
    n, (a, b) = int(np.prod(shape)), (0.0, 1.0)
    return getattr(reference, init)(dtype, key, 0, n, a, b).astype(np.float64).reshape(shape)


def softplus_inverse(dt: Any) -> Any:
    """Mamba's, of a step that it uses twice."""
    exp = apply_op("expm1", apply_op("neg", dt))
    return apply_op("add", dt, apply_op("log", apply_op("neg", exp)))


STEP = apply_op(
    "exp", apply_op("add", apply_op("mul", UNIFORM, np.log(0.1) - np.log(0.001)), np.log(0.001))
)
QKV = Parts(
    fi.Constant(0.0),
    (
        (np.s_[0:20], Draw(fi.Normal(0.0, 0.5))),
        (np.s_[20:40], Draw(fi.Normal(0.0, 2.0), first=800)),
        (np.s_[40:60], Draw(NORMAL, first=1600)),
        (np.s_[::-7, 3:], fi.Constant(9.0)),
        (np.s_[5], Known(np.arange(40.0))),
    ),
)
CASES: dict[str, tuple[Distribution, Any]] = {
    "sum of two draws": (Op("add", (NORMAL, Draw(NORMAL, 2))), lambda: draws() + draws(2)),
    "bernoulli": (Op("less", (UNIFORM, 0.25)), lambda: draws(init="uniform") < 0.25),
    "powers": (Op("pow", (Op("abs", (NORMAL,)), 1.5)), lambda: np.abs(draws()) ** 1.5),
    "inverse": (Op("reciprocal", (Op("sqrt", (UNIFORM,)),)), lambda: 1 / np.sqrt(draws(init="uniform"))),
    "logarithm": (Op("log1p", (UNIFORM,)), lambda: np.log1p(draws(init="uniform"))),
    "clamp": (apply_op("clamp", NORMAL, -1.0, 0.5), lambda: np.clip(draws(), -1, 0.5)),
    "known times draw": (Op("mul", (Known(np.arange(40.0)), NORMAL)), lambda: np.arange(40) * draws()),
    "transposed draw": (Draw(NORMAL, steps=(1, 60)), lambda: draws(shape=(40, 60)).T),
    "broadcast draw": (Draw(NORMAL, steps=(1, 0)), lambda: draws(shape=(60, 1)) + np.zeros((1, 40))),
    "weight norm": (Op("div", (NORMAL, Norm(NORMAL, SHAPE, (1,)))), lambda: draws() / np.sqrt((draws() ** 2).sum(1, keepdims=True))),
    "norm of columns": (Op("div", (NORMAL, Norm(NORMAL, SHAPE, (0,)))), lambda: draws() / np.sqrt((draws() ** 2).sum(0, keepdims=True))),
    "copy of float64": (Cast(NORMAL, "float64"), lambda: draws(dtype="float64")),
    "root of a copy": (Op("sqrt", (Cast(Op("abs", (Draw(NORMAL, 2),)), "float64"),)), lambda: np.sqrt(np.abs(draws(2, dtype="float64")))),
    "norm of all": (Op("div", (NORMAL, Norm(NORMAL, SHAPE, (0, 1)))), lambda: draws() / np.sqrt((draws() ** 2).sum())),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_values(case: str, dtype: str) -> None:
    """float32 draws, then float64, then one rounding: at most the last bit of float64 is NumPy's own before that."""
    init, expected = CASES[case]
    exact = np.broadcast_to(np.asarray(expected(), np.float64), SHAPE)
    made = init(SHAPE, seed=SEED, stream=STREAM, dtype=dtype)
    rounded = reference.round_once(dtype, np.array(exact))
    assert np.count_nonzero(made.view(rounded.dtype) != rounded) <= 1


def test_draws_without_arithmetic_are_the_kernels(dtype: str) -> None:
    """In the tensor's dtype: no uniform is rounded up to its end."""
    key = reference.stream_key(SEED, f"{STREAM}#3")
    expected = reference.uniform(dtype, key, 0, 2400, 0.0, 1.0)
    made = Draw(UNIFORM, 3)(SHAPE, seed=SEED, stream=STREAM, dtype=dtype)
    assert made.tobytes() == expected.tobytes()
    key = reference.stream_key(SEED, STREAM)
    scales = ((0.5, 0), (2.0, 800), (1.0, 1600))
    rows = [reference.normal(dtype, key, at, 800, 0.0, std) for std, at in scales]
    expected = np.concatenate(rows).reshape(SHAPE)
    expected[::-7, 3:] = reference.normal(dtype, key, 0, 1, 9.0, 0.0)
    expected[5] = reference.round_once(dtype, np.arange(40.0))
    assert QKV(SHAPE, seed=SEED, stream=STREAM, dtype=dtype).tobytes() == expected.tobytes()


CASES["fused parts"] = QKV, None


def test_mamba_uses_its_step_twice() -> None:
    assert isinstance(STEP, fi.LogUniform)
    init = softplus_inverse(STEP)
    made = init((4000,), seed=1, dtype="float64")
    step = STEP((4000,), seed=1, dtype="float64")
    np.testing.assert_allclose(np.log1p(np.exp(made)), step, rtol=1e-9)


def test_shared_operands_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    own = fi.LogUniform.draw
    monkeypatch.setattr(fi.LogUniform, "draw", lambda *a: (calls.append(1), own(*a))[1])
    softplus_inverse(STEP)((500,), seed=1)
    assert calls == [1]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8_e5m2"])
def test_parts_are_parts_of_the_whole(case: str, dtype: str) -> None:
    init = CASES[case][0]
    whole = init(SHAPE, seed=SEED, stream=STREAM, dtype=dtype)
    for index in (
        np.s_[3:9],
        np.s_[::-1],
        np.s_[..., 1],
        np.s_[5, -1],
        np.s_[4:4],
        np.s_[::-3, 1::2],
    ):
        part = init.shard(SHAPE, index, seed=SEED, stream=STREAM, dtype=dtype)
        assert part.tobytes() == np.ascontiguousarray(whole[index]).tobytes()


def test_boxes_and_threads_change_nothing() -> None:
    """A tensor of several boxes, in rows, in columns and by threads."""
    shape = (300, 700)
    scaled = Op("div", (Op("exp", (NORMAL,)), Norm(NORMAL, shape, (1,))))
    init = Parts(scaled, ((np.s_[7:, 5:650:3], Draw(NORMAL, 2, 11, (1, 300))),))
    whole = init(shape, seed=1, threads=1)
    assert init(shape, seed=1, threads=3).tobytes() == whole.tobytes()
    for index in (np.s_[17:18], np.s_[:, 33:34], np.s_[250:20:-1, ::-2]):
        part = init.shard(shape, index, seed=1)
        assert part.tobytes() == np.ascontiguousarray(whole[index]).tobytes()


@pytest.mark.parametrize("first", [range(20), range(19, -1, -1), range(3, 20, 4), range(15, 2, -5)])
@pytest.mark.parametrize(
    "second", [range(20), range(5, 12), range(18, 1, -4), range(7, 8), range(0)]
)
def test_intersections_of_ranges(first: range, second: range) -> None:
    assert list(intersect(first, second)) == [x for x in first if x in second]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_files_and_models_agree(tmp_path: Path, dtype: Any) -> None:
    tensors = [
        fi.Tensor(name, SHAPE, init, dtype) for name, (init, _) in CASES.items()
    ] + [
        fi.Tensor("view", (40, 20), QKV, dtype, stream="fused parts", whole_shape=SHAPE,
                  index=slice(0, 60, 3), axis_order=(1, 0)),
        fi.Tensor("padded", SHAPE, CASES["powers"][0], dtype, padding_idx=3),
        fi.Tensor("scalar", (), CASES["powers"][0], dtype),
        fi.Tensor("empty", (0, 4), CASES["powers"][0], dtype),
    ]  # fmt: skip
    model = fi.Model(tensors)
    path = tmp_path / "m.safetensors"
    model.write(path, seed=SEED)
    assert model.differences(path, seed=SEED) == []
    assert [one for one in model.check(path) if one.flags] == []
    assert (model.make("view", seed=SEED) == model.make("fused parts", seed=SEED)[::3].T).all()
    assert not model.make("padded", seed=SEED)[3].any()
    for tensor in tensors:
        made = model.make(tensor.name, seed=SEED)
        out = np.full_like(made, 5)
        model.fill({tensor.name: out}, seed=SEED)
        assert out.tobytes() == made.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_models_and_pytorch_agree(dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    from fastinit.torch.memory import fill_tensor

    tensors = [fi.Tensor(name, SHAPE, init, dtype) for name, (init, _) in CASES.items()]
    powers = CASES["powers"][0]
    tensors += [
        fi.Tensor("scalar", (), powers, dtype),
        fi.Tensor("empty", (0, 4), powers, dtype),
    ]
    model = fi.Model(tensors)
    for tensor in tensors:
        filled = torch.empty(tensor.shape, dtype=getattr(torch, dtype))
        fill_tensor(filled, tensor.init, SEED, tensor.name)
        unsigned = filled.view(torch.int16 if dtype == "bfloat16" else torch.int32)
        assert unsigned.numpy().tobytes() == model.make(tensor.name, seed=SEED).tobytes()


def test_known_values_of_every_dtype(tmp_path: Path) -> None:
    codes = np.array([0x00, 0x01, 0x7A, 0x38, 0x81], np.uint8)
    known = {
        "int64": Known(np.array([2**62 + 1, -(2**63), 0])),
        "uint64": Known(np.array([2**64 - 1], np.uint64)),
        "bool": Known(np.array([[True, False]])),
        "complex64": Known(np.array([1 + 2j, complex("nan-infj")], np.complex64)),
        "float64": Known(np.array([0.1, np.inf, -0.0])),
        "float32": Known(np.array([0.1, 1e-45, -np.inf], np.float32)),
        "bfloat16": Known(np.array([0x3F80, 0x0001, 0xFF80], np.uint16), "bfloat16"),
        **{name: Known(codes, name) for name in (
            "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")},
    }  # fmt: skip
    tensors = [fi.Tensor(name, k.values.shape, k, name) for name, k in known.items()]  # type: ignore[arg-type]
    model = fi.Model(tensors)
    path, spec = tmp_path / "m.safetensors", tmp_path / "spec.json"
    model.write(path, seed=0)
    for tensor in model:
        assert model.make(tensor.name, seed=0).tobytes() == known[tensor.name].values.tobytes()
    spec.write_text(model.to_json())
    loaded = fi.Model.load(spec)
    assert [t.init for t in loaded] == list(known.values())
    assert loaded.differences(path, seed=0) == []
    assert [one.flags for one in model.check(path)] == [()] * len(known)


def test_check_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fi.Model(
        [
            fi.Tensor("k", (5,), fi.Constant(1.0)),
            fi.Tensor("q", (99,), fi.RandomIntegers(0, 9), "int8"),
        ]
    ).write(path, seed=0)
    other = fi.Model(
        [
            fi.Tensor("k", (5,), Known(np.array([1, 1, 1, 2, 1.0]))),
            fi.Tensor("q", (99,), fi.RandomIntegers(0, 5), "int8"),
        ]
    )
    flags = {one.name: one.flags for one in other.check(path)}
    assert flags["k"] == ("not as expected: element (3,) differs",)
    (words,) = flags["q"]
    assert words.endswith("values outside of [0, 4], the integers expected")


def test_specs_hold_expressions(tmp_path: Path) -> None:
    """By JSON, by TOML and by the provenance of a file."""
    tensors = [fi.Tensor(name, SHAPE, init) for name, (init, _) in CASES.items()]
    tensors.append(fi.Tensor("mamba", (40,), softplus_inverse(STEP)))
    model, spec = fi.Model(tensors), tmp_path / "spec.json"
    spec.write_text(model.to_json())
    assert list(fi.Model.load(spec)) == tensors
    toml = tmp_path / "spec.toml"
    toml.write_text(
        '[[tensors]]\nname = "w"\nshape = [4, 8]\ninit = {name = "mul", of = [{name = "normal"}, '
        '{name = "known", dtype = "float32", values = [[1.0], [2], [inf], ["nan"]]}]}\n'
        '[[tensors]]\nname = "b"\nshape = [8]\ninit = "log_uniform:low=0.001,high=0.1"\n'
        '[[tensors]]\nname = "q"\nshape = [8]\ndtype = "int8"\ninit = "random_integers:low=-3,high=4"\n'
    )
    w, b, q = fi.Model.load(toml)
    values = Known(np.array([[1], [2], [np.inf], [np.nan]], np.float32))
    assert w.init == Op("mul", (fi.Normal(0.0, 1.0), values))
    assert (b.init, q.init) == (fi.LogUniform(0.001, 0.1), fi.RandomIntegers(-3, 4))


def spec_error(tmp_path: Path, init: str) -> str:
    path = tmp_path / "spec.json"
    path.write_text('{"tensors": [{"name": "w", "shape": [4], "init": ' + init + "}]}")
    with pytest.raises((ValueError, TypeError)) as caught:
        fi.Model.load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ('{"name": "exp"}', "exp needs of"),
        ('{"name": "exp", "of": {"name": "normal"}, "by": 3}', "expected arguments of of exp, got 'by'"),
        ('{"name": "add", "of": [1.0]}', "add has 2 operands, got 1"),
        ('{"name": "add", "of": 1.0}', "of must be a list"),
        ('{"name": "mul", "of": ["he_normal", 1.0]}', "distributions that need no fans, got 'he_normal'"),
        ('{"name": "known", "dtype": "int8", "values": [300, 0, 0, 0]}', "values must be an int in \\[-128, 127\\], got 300"),
        ('{"name": "known", "dtype": "int8", "values": [0.5, 0, 0, 0]}', "values must be an int"),
        ('{"name": "known", "dtype": "float32", "values": [[1, 2], [3]]}', "lists of equal lengths"),
        ('{"name": "known", "dtype": "float32", "values": [1, 2]}', "values of shape \\(2,\\) must broadcast to \\(4,\\)"),
        ('{"name": "known", "dtype": "float31", "values": [1]}', "dtype must be one of"),
        ('{"name": "known", "dtype": "float32"}', "got both or neither"),
        ('{"name": "known", "dtype": "float32", "values": [1], "shape": [1], "packed": "x"}', "got both or neither"),
        ('{"name": "known", "dtype": "float32", "shape": [4], "packed": "x"}', "compressed bytes in base64"),
        ('{"name": "known", "dtype": "float32", "shape": [4], "packed": "AAAA"}', "compressed bytes in base64"),
        ('{"name": "known", "dtype": "int8", "shape": [4], "packed": "eJxjZGRiAgAAEAAG"}', "must have 4 bytes|compressed bytes"),
        ('{"name": "known", "dtype": "float32", "shape": [4000000000], "packed": "AAAA"}', "at most 16,777,216 bytes"),
        ('{"name": "known", "dtype": "float32", "packed": "AAAA"}', "shape"),
        ('{"name": "draw", "of": {"name": "normal"}, "number": 0}', "number must be an int of at least 1, got 0"),
        ('{"name": "draw", "of": {"name": "normal"}, "steps": [1, 1]}', "steps must be 1 for shape"),
        ('{"name": "draw", "of": {"name": "normal"}, "steps": [-1]}', "positions in \\[0, 2\\*\\*64\\), got some in \\[-3, 0\\]"),
        ('{"name": "parts", "base": "zeros", "parts": [{"index": ["0:9"], "init": "ones"}]}', "must have its ends in \\[-4, 4\\]"),
        ('{"name": "parts", "base": "zeros", "parts": [{"index": [true], "init": "ones"}]}', "index must have ints, slices"),
        ('{"name": "norm", "of": "ones", "shape": [3], "axes": [1]}', "axes must be"),
        ('{"name": "norm", "of": "ones", "shape": [3], "axes": []}', "a norm of shape \\(3,\\) must broadcast to \\(4,\\)"),
        ('{"name": "cast", "of": {"name": "normal"}}', "cast needs dtype"),
        ('{"name": "cast", "of": {"name": "normal"}, "dtype": "float31"}', "dtype must be one of"),
        ('{"name": "cast", "of": {"name": "normal"}, "dtype": "float4_e2m1fn"}', "dtype must be of whole bytes"),
        ('{"name": "cast", "of": {"name": "normal"}, "dtype": "int8"}', "int8 takes only constants"),
        ('{"name": "neg", "of": ' * 70 + '"ones"' + "}" * 70, "at most 64 tables within each other"),
    ],
)  # fmt: skip
def test_bad_tables(tmp_path: Path, init: str, words: str) -> None:
    assert re.search(words, spec_error(tmp_path, init))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_many_known_values_are_packed(tmp_path: Path, dtype: str) -> None:
    code = "uint16" if dtype == "bfloat16" else dtype
    values = (np.arange(6000).reshape(2, 3000) % 2).astype(code)
    model = fi.Model([fi.Tensor("w", (2, 3000), Known(values, dtype), dtype)])  # type: ignore[arg-type]
    (tmp_path / "spec.json").write_text(model.to_json())
    assert (tmp_path / "spec.json").stat().st_size < 1000
    loaded = fi.Model.load(tmp_path / "spec.json")
    assert loaded["w"] == model["w"]
    model.write(tmp_path / "w.safetensors", seed=0)
    (checked,) = fi.Model.check(model, tmp_path / "w.safetensors")
    assert checked.flags == ()


def test_packed_bytes_are_defined() -> None:
    """Little-endian, in C order: zlib of 01 00 02 00 is a literal here."""
    packed = base64.b64encode(zlib.compress(bytes([1, 0, 2, 0]))).decode()
    table = {"name": "known", "dtype": "int16", "shape": [2], "packed": packed}
    assert expression_from(table, lambda _: NORMAL) == Known(np.array([1, 2], "int16"))


def test_values_beyond_the_limit_have_no_table() -> None:
    model = fi.Model([fi.Tensor("w", (2**22 + 1,), Known(np.zeros(2**22 + 1, "float32")))])
    with pytest.raises(ValueError, match=r"at most 16,777,216 bytes of known values of a tensor, got 16,777,220"):  # fmt: skip
        model.to_json()


def test_bad_expressions() -> None:
    with pytest.raises(ValueError, match="name must be one of neg"):
        Op("sin", (NORMAL,))
    with pytest.raises(TypeError, match="operands must be distributions or numbers, got 'x'"):
        Op("neg", ("x",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"erfinv of .* has no distribution"):
        apply_op("erfinv", NORMAL)
    with pytest.raises(ValueError, match="values must be of int8 or its bits, got float64"):
        Known(np.zeros(3), "int8")
    with pytest.raises(ValueError, match="largest finite number"):
        Parts(fi.Constant(0.0), ((np.s_[0:1], fi.Constant(1e9)),))((3,), dtype="float16")


def test_casts_to_every_other_dtype_round() -> None:
    """float32 draws in a tensor of float64, and values of a narrower dtype."""
    made = Cast(NORMAL, "float32")(SHAPE, seed=SEED, stream=STREAM, dtype="float64")
    assert np.array_equal(made, draws())
    made = Cast(Op("mul", (UNIFORM, 3.0)), "float16")(SHAPE, seed=SEED, stream=STREAM)
    assert np.array_equal(made, (3 * draws(init="uniform")).astype(np.float16))


@pytest.mark.parametrize(
    ("init", "limits"),
    [
        (Op("neg", (fi.RandomIntegers(-3, 9),)), (-8, 3)),
        (Op("abs", (fi.RandomIntegers(-3, 9),)), (0, 8)),
        (Op("abs", (fi.RandomIntegers(-9, -3),)), (4, 9)),
        (Op("mul", (fi.RandomIntegers(-3, 9), Draw(fi.RandomIntegers(-5, 2), 2))), (-40, 15)),
        (Op("sub", (fi.RandomIntegers(0, 9), Draw(fi.RandomIntegers(0, 9), 2))), (-8, 8)),
        (Op("minimum", (fi.RandomIntegers(0, 9), 4.0)), (0, 4)),
        (Op("maximum", (fi.RandomIntegers(0, 9), 4.5)), None),
        (Op("mul", (fi.RandomIntegers(0, 9), 2.0**60)), None),
        (Op("mul", (UNIFORM, 4.0)), None),
        (Op("sqrt", (fi.RandomIntegers(0, 9),)), None),
        (Cast(fi.RandomIntegers(0, 9), "int64"), (0, 8)),
    ],
)
def test_limits_of_arithmetic_of_integers(
    init: Distribution, limits: tuple[int, int] | None
) -> None:
    """Where they are known, integer dtypes have room for all values; elsewhere these are refused."""
    assert init.limits() == limits  # type: ignore[attr-defined]
    if limits is None:
        with pytest.raises(ValueError, match="int64 takes only constants"):
            fi.Tensor("w", (5,), init, "int64")
    else:
        fi.Tensor("w", (5,), init, "int64")
        values = init((2000,), seed=1, dtype="int16")
        assert (values.min(), values.max()) == limits
