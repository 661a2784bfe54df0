"""`fastinit model`, `check` and `spec` as a user runs them, and their files in the packages that load them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from cases import ENCODER
from machine import need_matplotlib
from test_cli import run

MIXTURE = ENCODER | {"num_key_value_heads": 2, "moe_intermediate_size": 16}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "config"),
    [
        (
            "GPT2LMHeadModel",
            {"model_type": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 60},
        ),
        ("LlamaForCausalLM", {"model_type": "llama", "dtype": "bfloat16"} | MIXTURE),
        ("MixtralForCausalLM", {"model_type": "mixtral", "num_local_experts": 4} | MIXTURE),
        ("Qwen3MoeForCausalLM", {"model_type": "qwen3_moe", "num_experts": 4} | MIXTURE),
        (
            "ViTForImageClassification",
            {"model_type": "vit", "image_size": 16, "patch_size": 4} | ENCODER,
        ),
    ],
)
@pytest.mark.parametrize("limit", [[], ["--max-shard-size", "20kB"]])
def test_transformers_load_what_is_written(
    tmp_path: Path, name: str, config: dict[str, Any], limit: list[str]
) -> None:
    """As it is, in one file and in several: the names are those that the class writes, and none is missing."""
    transformers = pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": [name]}))
    folder = tmp_path / "out"
    done = run("model", tmp_path, "--seed", 3, "-o", f"{folder}/", *limit)
    assert done.returncode == 0, done.stderr
    weights = "model.safetensors.index.json" if limit else "model.safetensors"
    assert {"config.json", weights} <= {path.name for path in folder.iterdir()}
    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert str(model.dtype) == f"torch.{config.get('dtype', 'float32')}"
    # To the bit what the module gets, whose recorded names are the streams of the tensors in the file.
    with fi.torch.record():
        module = getattr(transformers, name)(transformers.AutoConfig.from_pretrained(folder))
    module.to(model.dtype)
    fi.torch.init_module_(module, seed=3)
    expected = dict(module.named_parameters())
    for key, parameter in model.named_parameters():
        assert parameter.equal(expected[key]), key


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "spec.json"
    model = fi.Model(
        [
            fi.Tensor("up", (500, 2000), fi.he_normal),
            fi.Tensor("down", (2000, 500), fi.TruncatedNormal(0, 0.02), "bfloat16"),
            fi.Tensor("bias", (500,), fi.zeros),
        ]
    )
    path.write_text(model.to_json())
    return path


def test_model_check_and_spec(tmp_path: Path, spec: Path) -> None:
    target = tmp_path / "m.safetensors"
    done = run("model", spec, "--seed", 7, "-o", target)
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first == f"{target}: 3 tensors, 2,000,500 elements, 5.724 MiB, seed 7"
    assert second.startswith("written in ")
    for arguments in ([target], [target, spec]):
        checked = run("check", *arguments)
        assert checked.returncode == 0, checked.stdout
        rows = {line.split()[0]: line.split() for line in checked.stdout.splitlines() if line}
        assert rows["up"][1:3] == ["float32", "500x2000"]
        assert float(rows["up"][4]) == pytest.approx(np.sqrt(2 / 500), rel=5e-3)
        assert float(rows["up"][5]) == pytest.approx(1, abs=5e-3)
        assert "3 tensors, 0 flagged" in checked.stdout
        exact = run("check", *arguments, "--exact", *(["--seed", 7] if spec in arguments else []))
        assert (exact.returncode, exact.stdout.splitlines()[-1][:21]) == (
            0,
            "3 tensors, all exactl",
        )
    printed = run("spec", spec, "--dtype", "float16", "--rule", "up=ones")
    tensors = json.loads(printed.stdout)["tensors"]
    assert [t["dtype"] for t in tensors] == ["float16"] * 3
    assert tensors[0]["init"] == {
        "name": "constant",
        "value": 1.0,
    }  # the rule counts before the table
    assert tensors[1]["init"] == {
        "name": "truncated_normal",
        "mean": 0.0,
        "stddev": 0.02,
        "lower": -2.0,
        "upper": 2.0,
    }


def test_spec_prints_totals_beside_the_spec(tmp_path: Path, spec: Path) -> None:
    done = run("spec", spec)
    assert done.stderr == "3 tensors, 2,000,500 parameters, 5.724 MiB\n"
    assert done.stdout == spec.read_text()
    layers = {"name": "l.{0..31}", "shape": [64, 64], "dtype": "bfloat16", "init": "he_normal"}
    (tmp_path / "m.json").write_text(json.dumps({"tensors": [layers]}))
    done = run("spec", tmp_path / "m.json")
    assert done.stderr == "32 tensors, 131,072 parameters, 256 KiB\n"
    assert len(json.loads(done.stdout)["tensors"]) == 32


def test_rules_that_match_nothing(tmp_path: Path, spec: Path) -> None:
    """Of every command that takes them."""
    target = tmp_path / "m.safetensors"
    for command in (["spec"], ["model", "--seed", 7, "-o", target]):
        done = run(command[0], spec, *command[1:], "--rule", "biass=ones")
        assert done.returncode == 1
        assert "rules: 'biass' matches no tensor; near names: 'bias'" in done.stderr
        assert not target.exists()
        assert run(command[0], spec, *command[1:], "--rule", "biass=ones", "--no-strict").returncode == 0  # fmt: skip
    done = run("check", target, spec, "--rule", "biass=ones")
    assert "rules: 'biass' matches no tensor" in done.stderr
    assert run("check", target, spec, "--rule", "biass=ones", "--no-strict").returncode == 0
    done = run("spec", spec, "--rule", "*=skip")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no tensors are left: rules leave out all 3" in done.stderr
    ruled = run("spec", spec, "--rule", "*=glorot_normal:min_axes=2")
    inits = [t["init"]["name"] for t in json.loads(ruled.stdout)["tensors"]]
    assert inits == ["variance_scaling", "variance_scaling", "constant"]


def test_exact_finds_one_bit(tmp_path: Path, spec: Path) -> None:
    target = tmp_path / "m.safetensors"
    run("model", spec, "--seed", 7, "-o", target)
    with target.open("r+b") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little") + 4 * (400 * 2000 + 123) + 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    done = run("check", target, "--exact")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "'up': differs from element (400, 123) on",
        f"3 tensors, 1 differs from what {target} records with seed 7",
    ]
    assert run("check", target, spec, "--exact", "--seed", 8).returncode == 1
    other = run("check", target, spec, "--exact", "--dtype", "float16")
    assert "'up': float32 (500, 2000), expected float16 (500, 2000)" in other.stdout


def test_check_flags_what_is_off(tmp_path: Path) -> None:
    """A fan of a shard, a clipped tail, a copy: each is named, and the status is 1."""
    shard = np.asarray(fi.he_normal((250, 2000), seed=1))  # fans of a quarter of 1000 x 2000
    clipped = np.clip(fi.Normal()((500, 500), seed=2), -1.5, 1.5)
    copy = fi.Normal()((300, 300), seed=3)
    for name, array in (
        ("a", np.tile(shard, (4, 1))),
        ("b", clipped),
        ("c", copy),
        ("d", copy * 2),
    ):
        np.save(tmp_path / f"{name}.npy", array.astype(np.float32))
    tensors = [
        fi.Tensor("a", (1000, 2000), fi.he_normal),
        fi.Tensor("b", (500, 500), fi.Normal()),
        fi.Tensor("c", (300, 300), fi.Normal()),
        fi.Tensor("d", (300, 300), fi.Normal(0, 2)),
    ]
    spec = tmp_path / "spec.json"
    spec.write_text(fi.Model(tensors).to_json())
    done = run("check", tmp_path, spec)
    assert done.returncode == 1
    assert "! std 2.00 times its theory: as if its fan were 1/4, that of a shard" in done.stdout
    assert "! clipped: " in done.stdout
    words = "! proportional to c: 2 times its values, correlation 1.0000 of the first 1024"
    assert words in done.stdout
    assert "4 tensors, 3 flagged" in done.stdout


def test_check_draws_beside_what_it_prints(tmp_path: Path) -> None:
    need_matplotlib()
    np.save(tmp_path / "a.npy", fi.Normal()((300, 300), seed=3) * np.float32(2))
    (tmp_path / "spec.json").write_text(
        fi.Model([fi.Tensor("a", (300, 300), fi.Normal())]).to_json()
    )
    done = run("check", tmp_path / "a.npy", tmp_path / "spec.json", "--plot", tmp_path / "p.png")
    assert done.returncode == 1
    assert "1 tensor, 1 flagged" in done.stdout
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["model", "SPEC", "-o", "m.safetensors"], 2, "required: --seed"),
        (["model", "SPEC", "--seed", 1, "-o", "m.bin"], 1, "path must end in .safetensors"),
        (["model", "SPEC", "--seed", 1, "-o", "m.safetensors", "--max-shard-size", "5XB"], 2, "expected a size such as 500MB"),
        (["model", "SPEC", "--seed", 1, "-o", "no/m.safetensors"], 1, "the folder 'no' does not exist: 'no/m.safetensors'"),
        (["model", "SPEC", "--seed", 1, "-o", "m.safetensors", "--rule", "*=he"], 2, "argument --rule: expected one of"),
        (["model", "SPEC", "--seed", 1, "-o", "m.safetensors", "--rank", "1"], 1, "rank must be an int in [0, world), here [0, 1), got 1"),
        (["model", "none.toml", "--seed", 1, "-o", "m.safetensors"], 1, "No such file or directory: 'none.toml'"),
        (["model", "bad.safetensors", "--seed", 1, "-o", "m.safetensors"], 1, "bad.safetensors: expected a safetensors header"),
        (["check", "bad.safetensors"], 2, "bad.safetensors: expected a safetensors header"),
        (["check", "w.npy", "--exact"], 2, "--exact needs SPEC: w.npy records none"),
        (["check", "w.npy", "none.toml"], 2, "No such file or directory: 'none.toml'"),
        (["check", "w.npy", "deep.toml"], 2, "deep.toml: nested too deeply"),
        (["check", "none.npy"], 2, "No such file or directory: 'none.npy'"),
        (["check", "short.npy"], 2, "short.npy: expected 140 bytes, got a file of 139"),
        (["check", "."], 2, "expected"),
        (["check", "w.npy", "--exact", "--plot", "p.png"], 2, "--plot draws what is measured"),
        (["check", "w.npy", "--rule", "*=ones"], 2, "--rule, --dtype, --head, --tiny and --arg are about SPEC"),
        (["check", "w.npy", "--plot=--"], 2, "fastinit: error: expected a value, got --plot=--"),
        (["check", "w.npy", "--plot", "/"], 2, "Is a directory: '/'"),
        (["check", "w.npy", "--plot", ""], 2, "Is a directory: '.'"),
        (["check", "w.npy", "--plot", "no/p.png"], 2, "No such file or directory: 'no/p.png'"),
        (["check", "pipe.npy"], 2, "pipe.npy: expected a regular file"),
        (["spec", "pipe.toml"], 1, "pipe.toml: expected a regular file"),
        (["spec", "deep.toml"], 1, "deep.toml: nested too deeply"),
        (["spec", "digits.json"], 1, "digits.json: Exceeds the limit"),
        (["model", "SPEC", "--seed", 1, "-o", "loop/m.safetensors"], 1, "Too many levels of symbolic links"),
        (["model", "SPEC", "--seed", 1, "-o", "m.safetensors", "--memory", "9" * 400], 2, "expected a size such as"),
        (["check", "lines.safetensors"], 2, r"'a\n\x1b'"),
    ],
)  # fmt: skip
def test_errors_are_one_line(
    tmp_path: Path, spec: Path, arguments: list[Any], status: int, message: str
) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 20)
    np.save(tmp_path / "w.npy", np.zeros(3, np.float32))
    (tmp_path / "short.npy").write_bytes((tmp_path / "w.npy").read_bytes()[:-1])
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    (tmp_path / "digits.json").write_text('{"tensors": %s}' % ("9" * 5000))
    (tmp_path / "loop").symlink_to("loop")
    lines = json.dumps({"a\n\x1b": 3}).encode()
    (tmp_path / "lines.safetensors").write_bytes(len(lines).to_bytes(8, "little") + lines)
    for name in ("pipe.npy", "pipe.toml"):
        os.mkfifo(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    done = run(*(spec if a == "SPEC" else a for a in arguments), cwd=tmp_path)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    is_usage = done.stderr.startswith("usage: ")
    assert is_usage or done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_bytes_of_sizes() -> None:
    from fastinit.cli import parse_bytes

    sizes = {"5": 5, "5B": 5, "5kB": 5000, "1.5MiB": 1572864, "2g": 2 * 10**9, "3 TiB": 3 * 2**40}
    assert {text: parse_bytes(text) for text in sizes} == sizes
