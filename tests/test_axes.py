"""Axes of fans: those that an initializer names hold everywhere, and the others are the tensor's own."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from fastinit.cli import main
from fastinit.spec import parse_initializer

GIVEN = fi.VarianceScaling(2.0, "fan_in", "uniform", in_axis=-2, out_axis=-1)
OUT_IN = fi.he_uniform.with_axes("out_in")


def limit(fan_in: int) -> float:
    """He's uniform is U[-x, x], x = sqrt(6 / fan_in)."""
    return math.sqrt(6 / fan_in)


def fan_in_of(initializer: fi.Initializer, shape: tuple[int, ...]) -> int:
    uniform = initializer.resolve(shape)
    assert isinstance(uniform, fi.Uniform)
    return round(6 / uniform.high**2)


@pytest.mark.parametrize(
    ("initializer", "shape", "fan_in"),
    [
        (fi.he_uniform, (64, 256), 64),
        (GIVEN, (64, 256), 64),
        (OUT_IN, (64, 256), 256),
        (OUT_IN, (64, 16, 3, 3), 144),
        (OUT_IN.with_axes("in_out"), (64, 256), 64),
        (fi.he_uniform.with_axes(in_axis=0, out_axis=2), (8, 3, 5), 24),
        (fi.he_uniform.with_axes(in_axis=-1, out_axis=-2, batch_axis=0), (8, 64, 256), 256),
        (fi.he_uniform.with_axes(in_axis=(1, 2), out_axis=0), (8, 3, 5), 15),
        (OUT_IN.with_axes(batch_axis=2), (64, 16, 7), 16),
        (fi.he_uniform.with_axes(batch_axis=0), (7, 64, 256), 64),
    ],
)
def test_fans(initializer: fi.Initializer, shape: tuple[int, ...], fan_in: int) -> None:
    assert fan_in_of(initializer, shape) == fan_in


def test_given_and_default_axes_differ() -> None:
    default = fi.VarianceScaling(2.0, "fan_in", "uniform")
    assert default == fi.he_uniform
    assert fi.he_uniform != GIVEN
    assert fi.he_uniform.with_axes("in_out") == GIVEN
    assert hash(GIVEN) == hash(fi.he_uniform.with_axes(in_axis=[-2], out_axis=np.array([-1])))
    assert len({GIVEN, default, OUT_IN, fi.he_uniform.with_axes("out_in")}) == 3
    assert repr(OUT_IN) == (
        "VarianceScaling(scale=2.0, mode='fan_in', distribution='uniform', "
        "in_axis=(1,), out_axis=(0,), batch_axis=(), correction='exact')"
    )
    assert "in_axis=None, out_axis=None" in repr(default)
    for initializer in (GIVEN, default, OUT_IN):
        assert eval(repr(initializer), {"VarianceScaling": fi.VarianceScaling}) == initializer
        assert pickle.loads(pickle.dumps(initializer)) == copy.copy(initializer) == initializer


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: fi.VarianceScaling(in_axis=1), ValueError, "in_axis and out_axis must both be given or neither"),
        (lambda: fi.he_normal.with_axes(out_axis=0), ValueError, r"in_axis=None, out_axis=\(0,\)"),
        (lambda: fi.he_normal.with_axes("io"), ValueError, "axes must be one of in_out, out_in, got 'io'"),  # type: ignore[arg-type]
        (lambda: fi.he_normal.with_axes("out_in", in_axis=1, out_axis=0), ValueError, "axes='out_in' names in_axis and out_axis"),
        (lambda: fi.he_normal.with_axes(in_axis=True, out_axis=0), TypeError, "in_axis must be an int"),
        (lambda: fi.Tensor("w", (3, 4), fi.he_normal, axes="oi"), ValueError, "axes must be one of in_out, out_in, got 'oi'"),  # type: ignore[arg-type]
        (lambda: fi.Tensor("w", (2, 3, 4), fi.he_normal.with_axes(batch_axis=0), axes="out_in"), ValueError,
         r"batch_axis=\(0,\) needs in_axis and out_axis beside it: the axes of this tensor are \"out_in\""),
        (lambda: fi.VarianceScaling(1.0, "fan_in", "uniform", 0), TypeError, "positional"),  # type: ignore[misc]
    ],
)  # fmt: skip
def test_errors(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("he_normal:axes=out_in", fi.he_normal.with_axes("out_in")),
        ("he_normal:in_axis=1,out_axis=0", fi.he_normal.with_axes("out_in")),
        ("he_normal:in_axis=2,out_axis=1,batch_axis=0", fi.he_normal.with_axes(in_axis=2, out_axis=1, batch_axis=0)),
        ("variance_scaling:scale=2,mode=fan_in,axes=out_in", fi.he_normal.with_axes("out_in")),
        ({"name": "he_normal", "axes": "out_in"}, fi.he_normal.with_axes("out_in")),
        ({"name": "he_normal", "in_axis": [1], "out_axis": 0}, fi.he_normal.with_axes("out_in")),
    ],
)  # fmt: skip
def test_axes_in_texts_and_tables(tmp_path: Path, text: Any, expected: fi.Initializer) -> None:
    if isinstance(text, str):
        assert parse_initializer(text) == expected
    spec = {"tensors": [{"name": "w", "shape": [4, 6, 8], "init": text}]}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    for axes in ("in_out", "out_in"):
        (tmp_path / "spec.json").write_text(json.dumps({**spec, "axes": axes}))
        tensor = fi.Model.load(tmp_path / "spec.json")["w"]
        assert tensor.init == tensor.init_with_axes == expected
        assert tensor.axes == axes


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("zeros:axes=out_in", "expected no options of zeros, got 'axes=out_in'"),
        ("normal:axes=out_in", "expected options mean, stddev of normal, each once"),
        ("he_normal:scale=3", "expected options axes, in_axis, out_axis, batch_axis of he_normal"),
        ("he_normal:axes=oi", "axes must be one of in_out, out_in, got 'oi'"),
        ("he_normal:in_axis=1", "in_axis and out_axis must both be given or neither"),
        ("he_normal:axes=out_in,in_axis=1,out_axis=0", "axes='out_in' names in_axis and out_axis"),
    ],
)  # fmt: skip
def test_errors_of_texts(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        parse_initializer(text)


def test_fill_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--init he_uniform:axes=out_in` of 64 outputs and 256 inputs: U[-x, x], x = sqrt(6 / 256)."""
    out = tmp_path / "w.npy"
    command = ["fill", "--init", "he_uniform:axes=out_in", "--shape", "64x256", "--seed", "0"]
    assert main([*command, "-o", str(out)]) == 0
    expected = fi.Uniform(-limit(256), limit(256))((64, 256), seed=0)
    np.testing.assert_array_equal(np.load(out), expected)
    assert "in_axis=(1,), out_axis=(0,)" in capsys.readouterr().out


SPEC = """
axes = "out_in"
[[tensors]]
name = "own"
shape = [64, 256]
init = { name = "he_uniform", in_axis = -2, out_axis = -1 }
[[tensors]]
name = "default"
shape = [64, 256]
init = "he_uniform"
[[tensors]]
name = "of its table"
shape = [64, 256]
init = "he_uniform"
axes = "in_out"
"""
FANS = {"own": 64, "default": 256, "of its table": 64}


def test_axes_survive_a_spec(tmp_path: Path) -> None:
    """Load, to_json, load, also under a spec whose other tensors have other axes."""
    (tmp_path / "a.toml").write_text(SPEC)
    model = fi.Model.load(tmp_path / "a.toml")
    for name, fan_in in FANS.items():
        assert model[name].resolve() == fi.Uniform(-limit(fan_in), limit(fan_in))
    written = json.loads(model.to_json())
    assert [table["axes"] for table in written["tensors"]] == ["out_in", "out_in", "in_out"]
    assert written["tensors"][0]["init"]["in_axis"] == [-2]
    for axes in ({}, {"axes": "in_out"}, {"axes": "out_in"}):
        (tmp_path / "b.json").write_text(json.dumps({**written, **axes}))
        again = fi.Model.load(tmp_path / "b.json")
        assert list(again) == list(model)
        assert again.to_json() == model.to_json()


def test_axes_survive_a_file(tmp_path: Path) -> None:
    """The metadata name them, and `check` without SPEC confirms what the fans above give."""
    (tmp_path / "a.toml").write_text(SPEC)
    path = tmp_path / "a.safetensors"
    model = fi.Model.load(tmp_path / "a.toml")
    model.write(path, seed=0)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    provenance = json.loads(header["__metadata__"]["fastinit"])
    assert provenance["axes"] == {"own": "out_in", "default": "out_in", "of its table": "in_out"}
    assert main(["check", str(path)]) == 0
    assert main(["check", "--exact", str(path)]) == 0
    for name, fan_in in FANS.items():
        x = fi.Uniform(-limit(fan_in), limit(fan_in))((64, 256), seed=0, stream=name)
        np.testing.assert_array_equal(model.make(name, seed=0), x)


def test_rules_take_the_axes_of_the_tensor(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SPEC)
    model = fi.Model.load(tmp_path / "a.toml", rules=["*=lecun_uniform"])
    fans = {name: round(3 / model[name].resolve().high ** 2) for name in FANS}  # type: ignore[attr-defined]
    assert fans == {"own": 256, "default": 256, "of its table": 64}


def test_gpt2_weights_are_in_x_out(tmp_path: Path) -> None:
    """The feed-forward layer of GPT-2 is a Conv1D of 32 inputs and 128 outputs; its embedding is out x in, as in PyTorch."""
    pytest.importorskip("transformers")
    config = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 90}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = fi.Model.load(tmp_path / "config.json", rules=["*weight=he_uniform:min_axes=2"])
    fc = model["h.0.mlp.c_fc.weight"]
    assert (fc.shape, fc.axes) == ((32, 128), "in_out")
    assert fc.resolve() == fi.Uniform(-limit(32), limit(32))
    assert model["wte.weight"].resolve() == fi.Uniform(-limit(32), limit(32))
    model.write(tmp_path / "gpt2.safetensors", seed=0)
    assert main(["check", str(tmp_path / "gpt2.safetensors")]) == 0
