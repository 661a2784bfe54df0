"""Descriptions of models: what they mean, and errors of one line that name the file and the key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi

TOML = """
dtype = "bfloat16"
axes = "out_in"

[[tensors]]
name = "up.weight"
shape = [6, 4]
init = "he_normal"

[[tensors]]
name = "conv.weight"
shape = [8, 3, 5, 5]
init = { name = "variance_scaling", scale = 2, mode = "fan_out", in_axis = -1, out_axis = -2 }
dtype = "float32"

[[tensors]]
name = "head.weight"
shape = [4, 6]
init = "glorot_uniform"
axes = "in_out"

[[tensors]]
name = "embed.weight"
shape = [10, 4]
init = { name = "truncated_normal", stddev = 0.02, upper = inf }
padding_idx = 1

[[tensors]]
name = "up.bias"
shape = [6]

[[tensors]]
name = "ids"
shape = [6]

[[rules]]
match = "*.bias"
init = "constant:value=0.5"
dtype = "float16"

[[rules]]
match = "i*"
init = "skip"
"""


def test_a_spec_in_toml(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(TOML)
    model = fi.Model.load(tmp_path / "m.toml")
    assert list(model) == [
        fi.Tensor("up.weight", (6, 4), fi.he_normal, "bfloat16", axes="out_in"),
        fi.Tensor("conv.weight", (8, 3, 5, 5), fi.VarianceScaling(2.0, "fan_out", in_axis=-1, out_axis=-2), axes="out_in"),
        fi.Tensor("head.weight", (4, 6), fi.glorot_uniform, "bfloat16"),
        fi.Tensor("embed.weight", (10, 4), fi.TruncatedNormal(0, 0.02, upper=float("inf")), "bfloat16", 1, axes="out_in"),
        fi.Tensor("up.bias", (6,), fi.Constant(0.5), "float16", axes="out_in"),
    ]  # fmt: skip
    (tmp_path / "m.json").write_text(model.to_json())
    assert list(fi.Model.load(tmp_path / "m.json")) == list(model)
    assert (len(model), model.size, model.nbytes) == (
        5,
        694,
        2 * 24 + 4 * 600 + 2 * 24 + 2 * 40 + 2 * 6,
    )
    assert model["up.bias"].shape == (6,)
    # Of out x in, the fan is the second axis: 4 inputs.
    assert model.make("up.weight", seed=1).astype(np.float64).max() < 2 * np.sqrt(2 / 4) / 0.8796
    assert model["up.weight"].resolve().stddev == pytest.approx(
        np.sqrt(2 / 4) / 0.87962566103423978
    )


def test_names_shapes_and_dtypes_from_stored_tensors(tmp_path: Path) -> None:
    source = fi.Model(
        [
            fi.Tensor("up.weight", (300, 40), fi.zeros, "float16"),
            fi.Tensor("up.bias", (300,), fi.ones, "float16"),
            fi.Tensor("norm.weight", (40,), fi.zeros),
        ]
    )
    source.write(tmp_path / "model.safetensors", seed=0, max_shard_size=2000)
    described = [(t.name, t.shape, t.dtype) for t in source]
    index = tmp_path / "model.safetensors.index.json"
    plain = fi.Model.load(index)
    assert [(t.name, t.shape, t.dtype) for t in plain] == described
    assert [t.init for t in plain] == [fi.Normal(0, 0.02), fi.zeros, fi.ones]
    ruled = fi.Model.load(tmp_path, rules=["norm.*=skip", "*.weight=he_uniform"])
    assert [t.init for t in ruled] == [fi.he_uniform, fi.zeros]
    assert [t.axes for t in ruled] == ["out_in", "out_in"]
    spec = {"tensors_from": index.name, "rules": [{"match": "*", "init": "normal"}]}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    assert [t.init for t in fi.Model.load(tmp_path / "spec.json")] == [fi.Normal()] * 3


def test_what_counts_before_what(tmp_path: Path) -> None:
    """The command line's rules, then the tensor's own table, the spec's rules, the spec, what is stored."""
    source = fi.Model([fi.Tensor("a", (4,), fi.ones, "float16"), fi.Tensor("b", (4,), fi.ones)])
    source.write(tmp_path / "m.safetensors", seed=0)
    spec = {
        "dtype": "bfloat16",
        "tensors_from": "m.safetensors",
        "tensors": [{"name": "c", "shape": [4], "init": "zeros"}, {"name": "d", "shape": [4]}],
        "rules": [{"match": "b", "init": "normal", "dtype": "float64"}, {"match": "*", "init": "uniform"}],
    }  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    got = {t.name: (t.init, t.dtype) for t in fi.Model.load(tmp_path / "spec.json")}
    assert got == {
        "a": (fi.Uniform(), "bfloat16"),
        "b": (fi.Normal(), "float64"),
        "c": (fi.zeros, "bfloat16"),
        "d": (fi.Uniform(), "bfloat16"),
    }
    ruled = fi.Model.load(tmp_path / "spec.json", rules=["c=ones", "[ad]=skip"])
    assert [(t.name, t.init) for t in ruled] == [("b", fi.Normal()), ("c", fi.ones)]


W = {"name": "w", "shape": [3], "init": "ones"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "expected a table"),
        ({}, r"expected model_type, .* got the keys \[\]"),
        ({"tensors": []}, "expected tensors or tensors_from, got none"),
        ({"tensors": {}}, "tensors must be a list of tables"),
        ({"tensors": [3]}, r"tensors\[0\]: expected a table, got 3"),
        ({"tensors": [W], "seed": 3}, "expected the keys axes, dtype, rules, strict, tensors, tensors_from, got 'seed'"),
        ({"tensors": [W | {"std": 3}]}, r"tensors\[0\]: expected the keys .* got 'std'"),
        ({"tensors": [{"name": "w"}]}, r"tensors\[0\]: the key 'shape' is missing"),
        ({"tensors": [{"name": 3, "shape": []}]}, r"tensors\[0\]: name must be a text, got 3"),
        ({"tensors": [W, W]}, "tensor 'w' occurs twice"),
        ({"tensors": [W | {"shape": 3}]}, "tensor 'w': shape must be a list of sizes, got 3"),
        ({"tensors": [W | {"shape": [-1]}]}, "tensor 'w': shape"),
        ({"tensors": [W | {"shape": [2.5]}]}, "tensor 'w': shape"),
        ({"tensors": [W | {"dtype": "int4"}]}, "tensor 'w': dtype must be one of float32, .* got 'int4'"),
        ({"tensors": [W | {"dtype": "int8", "init": "normal"}]}, r"tensor 'w': int8 takes only constants, here integers in \[-128, 127\]: .* got Normal"),
        ({"tensors": [W | {"axes": "oi"}]}, "tensor 'w': axes must be one of in_out, out_in, got 'oi'"),
        ({"tensors": [W | {"shape": [], "padding_idx": 0}]}, r"tensor 'w': padding_idx needs a row on the first axis, got shape \(\)"),
        ({"tensors": [W | {"dtype": ["float32"]}]}, r"tensor 'w': dtype must be one of"),
        ({"tensors": [W | {"padding_idx": 3}]}, r"tensor 'w': padding_idx must be an int in \[0, 3\), a row of shape .*, got 3"),
        ({"tensors": [W | {"init": "he"}]}, "tensor 'w': expected one of constant, .* got 'he'"),
        ({"tensors": [W | {"init": "normal:sd=3"}]}, "tensor 'w': expected options mean, stddev of normal, each once"),
        ({"tensors": [W | {"init": {"name": "normal", "sd": 3}}]}, "tensor 'w': expected arguments mean, stddev of normal, got 'sd'"),
        ({"tensors": [W | {"init": {"name": "normal", "stddev": "x"}}]}, "tensor 'w': stddev must be a real number, got 'x'"),
        ({"tensors": [W | {"init": {"stddev": 3}}]}, "tensor 'w': init must be a name, or a table with one"),
        ({"tensors": [W | {"init": 3}]}, "tensor 'w': init must be a name, or a table with one, got 3"),
        ({"tensors": [{"name": "w", "shape": [3]}]}, "tensor 'w': it has no init, and no rule matches it"),
        ({"tensors": [W | {"name": "\ud800"}]}, "stream must be valid Unicode text"),
        ({"tensors": [W | {"name": ""}]}, "tensor '': name must be a text of at least one character"),
        ({"tensors": [W], "rules": [{"match": "[" * 1001, "init": "ones"}]}, r"rules\[0\]: match must have at most 1000 characters, got 1001"),
        ({"tensors": [W], "rules": [{"match": "*"}]}, r"rules\[0\]: the key 'init' is missing"),
        ({"tensors": [W], "rules": [{"match": "*", "init": "ones", "when": 3}]}, r"rules\[0\]: expected the keys .* got 'when'"),
        ({"tensors": [W], "axes": "oi"}, "axes must be one of in_out, out_in"),
        ({"tensors_from": "nowhere.safetensors"}, "No such file"),
    ],
)  # fmt: skip
def test_errors_name_the_file_and_the_key(tmp_path: Path, spec: Any, message: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    with pytest.raises((ValueError, TypeError, OSError), match=message) as raised:
        fi.Model.load(path)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_texts_that_are_no_specs(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_bytes(b"a = \xff")
    (tmp_path / "m.json").write_text('{"a": 1, "a": 2}')
    with pytest.raises(ValueError, match=r"m.toml: not TOML"):
        fi.Model.load(tmp_path / "m.toml")
    with pytest.raises(ValueError, match=r"m.json: the key 'a' occurs twice"):
        fi.Model.load(tmp_path / "m.json")
    for rule in ("*.bias", "=ones", "*=he", "", "[" * 2000 + "=ones"):
        with pytest.raises(
            ValueError, match=r"expected|rule '\[+\.\.\.: match must have at most 1000"
        ):
            fi.Model.load(tmp_path, rules=[rule])


SHARED = """
[[tensors]]
name = "up.weight"
shape = [6, 4]

[[tensors]]
name = "up.bias"
shape = [6]

[[rules]]
match = "*.weight"
init = "ones"

[[rules]]
match = "*"
init = "zeros"
"""


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("*.wieght=ones", "m.toml: rules: '*.wieght' matches no tensor; near names: 'up.weight'"),
        ("UP.*=ones", "m.toml: rules: 'UP.*' matches no tensor"),
        ("*.bias=ones:min_axes=2", "m.toml: rules: '*.bias' matches no tensor of at least 2 axes"),
        ("*=he_normal", r"m.toml: tensor 'up.bias': an initializer that scales by fans needs at least 2 axes, got shape (6,) of 'up.bias': give it another, such as zeros or normal, or limit a rule to matrices by min_axes=2"),
    ],
)  # fmt: skip
def test_rules_that_select_no_tensor_or_one_without_fans(
    tmp_path: Path, rule: str, message: str
) -> None:
    """In a call and, with the keys of a table, in the spec itself."""
    path = tmp_path / "m.toml"
    path.write_text(SHARED)
    with pytest.raises(ValueError, match=re.escape(message)):
        fi.Model.load(path, rules=[rule])
    match, _, init = rule.partition("=")
    init, limit, _ = init.partition(":min_axes=2")
    own = f'[[rules]]\nmatch = "{match}"\ninit = "{init}"\n' + ("min_axes = 2\n" if limit else "")
    path.write_text(SHARED.replace('[[rules]]\nmatch = "*.weight"', own + '[[rules]]\nmatch = "*.weight"'))  # fmt: skip
    with pytest.raises(ValueError, match=re.escape(message)):
        fi.Model.load(path)


def test_rules_that_several_models_share(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(SHARED)
    plain = [fi.Constant(1.0), fi.Constant(0.0)]
    assert [t.init for t in fi.Model.load(path, rules=["*.wieght=skip"])] == plain
    assert [t.init for t in fi.Model.load(path, rules=["*.up=ones"], strict=False)] == plain
    path.write_text("strict = false\n" + SHARED.replace("*.weight", "*.wieght"))
    assert [t.init for t in fi.Model.load(path)] == [fi.zeros, fi.zeros]
    with pytest.raises(ValueError, match=r"rules: '\*.up' matches no tensor"):
        fi.Model.load(path, rules=["*.up=ones"])  # which the spec's `strict` is not about
    path.write_text("strict = 1\n" + SHARED)
    with pytest.raises(ValueError, match=r"m.toml: strict must be true or false, got 1"):
        fi.Model.load(path)


def test_rules_for_matrices(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(SHARED.replace('"*.weight"', '"*"\nmin_axes = 2').replace("ones", "he_normal"))
    assert [t.init for t in fi.Model.load(path)] == [fi.he_normal, fi.zeros]
    ruled = fi.Model.load(path, rules=["*=glorot_normal:min_axes=2,axes=out_in", "*=ones"])
    assert [t.init for t in ruled] == [fi.glorot_normal.with_axes("out_in"), fi.ones]
    assert [t.name for t in fi.Model.load(path, rules=["*=skip:min_axes=2"])] == ["up.bias"]
    assert [t.name for t in fi.Model.load(path, rules=["*=ones:min_axes=1"])] == ["up.weight", "up.bias"]  # fmt: skip


@pytest.mark.parametrize("limit", ["x", "-1", "65", "2,min_axes=2", "", "9" * 5000])
def test_bad_limits_of_rules(tmp_path: Path, limit: str) -> None:
    with pytest.raises(ValueError, match=r"^rule '\*=ones:.*min_axes"):
        fi.Model.load(tmp_path, rules=[f"*=ones:min_axes={limit}"])
    (tmp_path / "m.toml").write_text(SHARED + "min_axes = 65\n")
    with pytest.raises(
        ValueError, match=r"m.toml: rules\[1\]: min_axes must be an int in \[0, 64\]"
    ):
        fi.Model.load(tmp_path / "m.toml")


def names_of(tmp_path: Path, *tables: dict[str, Any], **spec: Any) -> list[str]:
    """Names of the tensors of a spec, each of shape (2, 2) and ones."""
    listed = [{"shape": [2, 2], "init": "ones", **table} for table in tables]
    (tmp_path / "m.json").write_text(json.dumps({"tensors": listed, **spec}))
    return [tensor.name for tensor in fi.Model.load(tmp_path / "m.json")]


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("layers.{0..2}.w", ["layers.0.w", "layers.1.w", "layers.2.w"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{3..3}w", ["3w"]),
        ("{0..1}.{5..6}{0..1}", ["0.50", "0.51", "0.60", "0.61", "1.50", "1.51", "1.60", "1.61"]),
        ("a{{b}}", ["a{b}"]),
        ("{{0..3}}", ["{0..3}"]),
        ("{{{0..1}}}", ["{0}", "{1}"]),
    ],
)
def test_ranges_in_names(tmp_path: Path, name: str, names: list[str]) -> None:
    assert names_of(tmp_path, {"name": "first"}, {"name": name}) == ["first", *names]
    model = fi.Model(fi.Tensor(one, (2, 2), fi.ones, stream="{" + one) for one in names)
    (tmp_path / "again.json").write_text(model.to_json())
    assert list(fi.Model.load(tmp_path / "again.json")) == list(model)


def test_streams_are_repeated_with_names(tmp_path: Path) -> None:
    part = {"stream": "{0..1}.qkv", "whole_shape": [6, 2], "index": ["2:4"]}
    names_of(tmp_path, {"name": "{0..1}.k", **part})
    streams = [t.stream for t in fi.Model.load(tmp_path / "m.json")]
    assert streams == ["0.qkv", "1.qkv"]
    for stream in ("qkv", "{0..2}.qkv", "", "{0..1}.{0..1}"):
        with pytest.raises(ValueError, match=r"tensors\[0\]: stream must have the ranges of name"):
            names_of(tmp_path, {"name": "{0..1}.k", "stream": stream})


def test_rules_match_the_names_that_ranges_give(tmp_path: Path) -> None:
    """Braces in a pattern are themselves."""
    rules = [{"match": "l.1.*", "init": "zeros"}, {"match": "*", "init": "ones"}]
    spec = {"tensors": [{"name": "l.{0..2}.w", "shape": [2]}], "rules": rules}
    (tmp_path / "m.json").write_text(json.dumps(spec))
    assert [t.init for t in fi.Model.load(tmp_path / "m.json")] == [fi.ones, fi.zeros, fi.ones]
    with pytest.raises(ValueError, match=r"'l.\{0..2\}.w' matches no tensor"):
        fi.Model.load(tmp_path / "m.json", rules=["l.{0..2}.w=ones"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a{b", r"name: expected ranges such as \{0..31\}, and other braces doubled, got 'a\{b'"),
        ("a}b", "other braces doubled"),
        ("{0-3}", "other braces doubled"),
        ("{0..}", "other braces doubled"),
        ("{-1..3}", "other braces doubled"),
        ("{0..9999999999}", "other braces doubled"),
        ("{0..3}}", "other braces doubled"),
        ("{3..0}", r"name: \{3..0\} must not count down"),
        ("{0..200000}", "the braces of a spec must stand for at most 200,000 tensors, got more with"),
        ("{0..999999999}{0..999999999}" * 30, "at most 200,000 tensors"),
        ("{0..3}" + "x" * 1000, "name must have at most 1000 characters where it has braces, got 1006"),
    ],
)  # fmt: skip
def test_bad_ranges(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(
        ValueError, match=rf"m.json: tensors\[1\]: {message}|tensors\[1\]: .*{message}"
    ):
        names_of(tmp_path, {"name": "first"}, {"name": name})


def test_ranges_of_a_spec_are_counted_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tensors\[1\]: .* at most 200,000 tensors"):
        names_of(tmp_path, {"name": "a{1..100000}"}, {"name": "b{1..100001}"})
    with pytest.raises(ValueError, match=r"tensor 'l\.1' occurs twice"):
        names_of(tmp_path, {"name": "l.{0..1}"}, {"name": "l.1"})


def test_models_that_have_no_tensors_left(tmp_path: Path) -> None:
    names_of(tmp_path, {"name": "a"}, {"name": "b"})
    with pytest.raises(ValueError, match=r"m.json: no tensors are left: rules leave out all 2$"):
        fi.Model.load(tmp_path / "m.json", rules=["*=skip"])
    (tmp_path / "a.safetensors").write_bytes((8).to_bytes(8, "little") + b"{}      ")
    with pytest.raises(ValueError, match=r"a.safetensors: no tensors in it$"):
        fi.Model.load(tmp_path / "a.safetensors")


def test_a_config_without_its_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 8, "dtype": "float32"}')
    message = r"config.json: expected model_type, .* got the keys \['dtype', 'hidden_size'\]"
    with pytest.raises(ValueError, match=message):
        fi.Model.load(tmp_path)


def test_scaling_by_fans_needs_two_axes() -> None:
    """Of the whole, where a tensor is a part of one."""
    for shape in ((), (6,)):
        with pytest.raises(ValueError, match=r"scales by fans needs at least 2 axes, got .* 'b'"):
            fi.Tensor("b", shape, fi.he_normal)
    row = fi.Tensor("row", (6,), fi.he_normal, whole_shape=(4, 6), index=2)
    assert row.resolve() == fi.he_normal.resolve((4, 6))


def test_models_refuse_what_is_not_theirs(tmp_path: Path) -> None:
    w = fi.Tensor("w", (3, 4), fi.he_normal)
    with pytest.raises(ValueError, match="different names, got 'w' twice"):
        fi.Model([w, w])
    assert type(fi.Tensor("v", (3, 4), fi.Normal(), padding_idx=np.int64(1)).padding_idx) is int
    with pytest.raises(TypeError, match=r"tensors must be fastinit.Tensor, got 3"):
        fi.Model([3])  # type: ignore[list-item]
    for no_list in (3, None, w):
        with pytest.raises(TypeError, match=r"tensors must be an iterable of fastinit.Tensor, got"):
            fi.Model(no_list)  # type: ignore[arg-type]
    model = fi.Model([w])
    out = np.zeros((3, 4), np.float32)
    with pytest.raises(KeyError, match="the model has no tensor 'v'"):
        model.fill({"w": out, "v": out}, seed=0)
    with pytest.raises(ValueError, match="index names a tensor that is not in arrays: 'v'"):
        model.fill({"w": out}, seed=0, index={"v": 0})
    two = fi.Model([w, fi.Tensor("x", (2,), fi.Normal())])
    with pytest.raises(ValueError, match=r"out must have the shape \(2,\)"):
        two.fill({"w": out, "x": np.zeros(3, np.float32)}, seed=0)
    assert not out.any()
    with pytest.raises(TypeError, match="seed must be given, got None"):
        model.fill({"w": out}, seed=None)
    with pytest.raises(ValueError, match=r"out must have the shape \(3, 4\)"):
        model.fill({"w": out.T}, seed=0)
    fi.Model([fi.Tensor("v", (3,), fi.ones)]).write(tmp_path / "m.safetensors", seed=0)
    unknown, missing = model.check(tmp_path / "m.safetensors")
    assert unknown.flags == ("not a tensor of the model",)
    assert (missing.name, missing.stored, missing.flags) == ("w", None, ("missing in the file",))


@pytest.mark.parametrize("path", ["a\0.safetensors", "\ud800.safetensors"])
def test_texts_that_are_no_paths(path: str) -> None:
    model = fi.Model([fi.Tensor("w", (3, 4), fi.he_normal)])
    for argument, use in (
        ("source", fi.Model.load),
        ("path", lambda p: model.write(p, seed=0)),
        ("path", model.check),
        ("path", lambda p: model.differences(p, seed=0)),
    ):
        with pytest.raises(ValueError, match=rf"^{argument} must be a path, got '"):
            use(path)
        with pytest.raises(TypeError, match=rf"^{argument} must be a path, got b'"):
            use(path.encode(errors="replace"))  # type: ignore[arg-type]


LONG_KEY = "a" + ".a" * 33
TENSOR = '[[tensors]]\nname = "a"\nshape = [1]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LONG_KEY} = 1", "not TOML: a key of more than 32 parts"),
        (f"[{LONG_KEY}]", "a key of more than 32 parts"),
        (f"x = {{ 'a' . {LONG_KEY} = 1 }}", "a key of more than 32 parts"),
        (f'x = """"{LONG_KEY}"""""\n"a".{LONG_KEY} = 1', "a key of more than 32 parts"),
        ("a." * 5000 + "a = 1", "a key of more than 32 parts"),
        (f"dtype = {'9' * 5000}", "not TOML: Exceeds the limit"),
        (f"dtype = 0x{'f' * 5000}", "dtype must be a text, got an int of 20000 bits"),
        (f"{TENSOR}init.x = 0x{'f' * 5000}", "'a': init must be a name, or a table with one, got {'x': an int of 20000 bits}"),
        ('tensors_from = "\\u0000"', "tensors_from cannot be a path"),
    ],
)  # fmt: skip
def test_hostile_toml(tmp_path: Path, text: str, message: str) -> None:
    """An error that names the file, not gigabytes of prefixes of a key nor an error about digits."""
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        fi.Model.load(path)
    assert str(raised.value).startswith(str(path))
    assert len(str(raised.value)) < len(str(path)) + 250


@pytest.mark.parametrize(
    "text",
    [f'"{LONG_KEY}"', f"'{LONG_KEY}'", f'"""{LONG_KEY}\n{LONG_KEY}"""', f"\'\'\'\n{LONG_KEY}\'\'\'", f'"\\"{LONG_KEY}"', f'"" # {LONG_KEY}'],
)  # fmt: skip
def test_texts_are_not_keys(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.toml").write_text(
        f'strict = false\n{TENSOR}init = "zeros"\n[[rules]]\ninit = "ones"\nmatch = {text}'
    )
    assert [t.init for t in fi.Model.load(tmp_path / "m.toml")] == [fi.zeros]


def test_values_that_cannot_be_printed(tmp_path: Path) -> None:
    """Nesting that is read, but that `repr` refuses; text that is not Unicode."""
    for depth in range(900, 1000, 3):
        (tmp_path / "m.json").write_text('{"tensors": ' + "[" * depth + "]" * depth + "}")
        with pytest.raises(ValueError, match=r"m\.json: "):
            fi.Model.load(tmp_path / "m.json")
    (tmp_path / "m.json").write_text('{"tensors_from": "\\ud800"}')
    with pytest.raises(ValueError, match=r"m\.json: tensors_from cannot be a path: '\\ud800'"):
        fi.Model.load(tmp_path / "m.json")


@pytest.mark.parametrize("text", ["x" * 513, "x/" * 3000, "/" * 10**6])
def test_long_paths(tmp_path: Path, text: str) -> None:
    """The operating system would repeat them in its error."""
    (tmp_path / "m.json").write_text(json.dumps({"tensors_from": text}))
    with pytest.raises(ValueError, match=r"m\.json: tensors_from cannot be a path: '[x/]+\.\.\.") as raised:  # fmt: skip
        fi.Model.load(tmp_path / "m.json")
    assert len(str(raised.value)) < len(str(tmp_path)) + 150
    source = fi.Model([fi.Tensor("a", (2,), fi.ones)])
    source.write(tmp_path / "a.safetensors", seed=0)
    (tmp_path / "m.json").write_text(json.dumps({"tensors_from": "./" * 249 + "a.safetensors", "rules": [{"match": "*", "init": "ones"}]}))  # fmt: skip
    assert list(fi.Model.load(tmp_path / "m.json")) == list(source)
