"""Configs of Hugging Face as models: which options they take, what stands in for them, and which errors there are.

What transformers makes of them is tested beside `fastinit.huggingface`; here a function of its signature stands for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import fastinit as fi
from fastinit.cli import main
from test_cli import run

CONFIG = {"model_type": "mine", "hidden_size": 8}
FILES = {"config.json": b'{"model_type": "mine"}', "generation_config.json": b"{}"}
#: A layer of two fused experts, as a config gives it and a folder of transformers has it.
TENSORS = [
    fi.Tensor("wte.weight", (50, 8), fi.Normal(0.0, 0.02), "bfloat16", axes="out_in"),
    *(
        fi.Tensor(f"experts.{i}.weight", (16, 8), fi.Normal(0.0, 0.02), "bfloat16", axes="out_in",
                  stream="experts", whole_shape=(2, 8, 16), index=i, axis_order=(1, 0))
        for i in range(2)
    ),
    fi.Tensor("norm.weight", (8,), fi.ones),
    fi.Tensor("steps", (1,), fi.zeros, "int64"),
]  # fmt: skip


class Reader:
    """`fastinit.huggingface`, of which it has the one function that models ask for."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.error: Exception | None = None

    def read_config(self, path: Path, *, head: str | None = None, tiny: bool = False) -> Any:
        self.calls.append((path, head, tiny))
        if self.error is not None:
            raise self.error
        return types.SimpleNamespace(tensors=list(TENSORS), files=dict(FILES))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """The current folder has a config.json."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    monkeypatch.chdir(tmp_path)
    reader = Reader()
    monkeypatch.setitem(sys.modules, "fastinit.huggingface", reader)  # type: ignore[arg-type]
    return reader


@pytest.mark.parametrize("source", ["config.json", ".", "other.json"])
def test_a_config_is_read_by_transformers(reader: Reader, source: str) -> None:
    Path("other.json").write_text(json.dumps(CONFIG))
    model = fi.Model.load(source)
    assert list(model) == TENSORS
    assert model.files == FILES
    path = Path("other.json" if source == "other.json" else "config.json")
    assert reader.calls == [(path, None, False)]
    fi.Model.load(source, head="Mine", tiny=True)
    assert reader.calls[1:] == [(path, "Mine", True)]


def test_the_file_is_read_once_before(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastinit import files

    read: list[Path] = []
    read_regular = files.read_regular
    monkeypatch.setattr(files, "read_regular", lambda path: read.append(path) or read_regular(path))  # fmt: skip
    fi.Model.load(".")
    assert read == [Path("config.json")]


def test_rules_come_before_a_config(reader: Reader) -> None:
    model = fi.Model.load(".", rules=["experts.1.*=lecun_normal", "wte*=skip", "norm*=zeros"])
    assert [t.name for t in model] == [
        "experts.0.weight",
        "experts.1.weight",
        "norm.weight",
        "steps",
    ]
    assert model["experts.0.weight"] == TENSORS[1]
    ruled = model["experts.1.weight"]
    assert (ruled.init, ruled.stream, ruled.index) == (fi.lecun_normal, "experts", TENSORS[2].index)
    assert model["norm.weight"].init == fi.zeros
    with pytest.raises(ValueError, match=r"config\.json: rules: 'nrom\.\*' matches no tensor; near names: 'norm\.weight'"):  # fmt: skip
        fi.Model.load(".", rules=["nrom.*=ones"])
    assert list(fi.Model.load(".", rules=["nrom.*=ones"], strict=False)) == TENSORS
    with pytest.raises(ValueError, match=r"config\.json: no tensors are left: rules leave out all 5"):  # fmt: skip
        fi.Model.load(".", rules=["*=skip"])
    with pytest.raises(ValueError, match=r"config\.json: tensor 'steps': int64 takes only constants"):  # fmt: skip
        fi.Model.load(".", rules=["steps=normal"])


def test_skipped_tensors_of_a_config_may_be_in_a_file(reader: Reader) -> None:
    fi.Model.load(".").write("m.safetensors", seed=3)
    skipping = fi.Model.load(".", rules=["wte*=skip"])
    assert skipping.differences("m.safetensors", seed=3) == []


def test_a_spec_of_a_config_needs_nothing_else(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spec", "config.json", "--head", "Mine", "--tiny"]) == 0
    done = capsys.readouterr()
    assert reader.calls == [(Path("config.json"), "Mine", True)]
    assert done.err == "5 tensors, 665 parameters, 1.32 KiB\n"
    Path("spec.json").write_text(done.out)
    monkeypatch.setitem(sys.modules, "fastinit.huggingface", None)  # type: ignore[arg-type]
    assert list(fi.Model.load("spec.json")) == TENSORS


def test_a_folder_of_a_config_has_its_files(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "config.json", "--seed", "3", "-o", "out/"]) == 0
    written = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert written.keys() == {*FILES, "model.safetensors"}
    assert written | FILES == written
    assert main(["check", "out", "config.json", "--exact", "--seed", "3"]) == 0
    capsys.readouterr()
    dtype = ["--dtype", "float16"]
    assert main(["model", "config.json", "--seed", "3", "-o", "new/", *dtype]) == 1
    message = (
        "--dtype float16 would not be that of config.json in new/: set dtype in config.json, or"
    )
    assert message in capsys.readouterr().err
    assert main(["model", "config.json", "--seed", "3", "-o", "m.safetensors", *dtype]) == 0
    assert not Path("new").exists()


@pytest.mark.parametrize("error", [ValueError("odd"), TypeError("odd"), ImportError("odd")])
def test_stored_tensors_stand_in_for_a_config_of_a_folder(reader: Reader, error: Exception) -> None:
    """With a warning, and only where nothing was asked for that needs the config."""
    reader.error = error
    for source in (".", "config.json"):
        with pytest.raises(type(error), match=r"^config\.json: odd$"):
            fi.Model.load(source)
    fi.Model([fi.Tensor("a.weight", (2, 2), fi.ones)]).write("model.safetensors", seed=0)
    message = r"^config\.json: odd: names, shapes and dtypes were taken from the \.safetensors next to it$"
    with pytest.warns(UserWarning, match=message):
        model = fi.Model.load(".")
    assert [(t.name, t.init) for t in model] == [("a.weight", fi.Normal(0, 0.02))]
    assert model.files == {}
    for options in ({"head": "Mine"}, {"tiny": True}):
        with pytest.raises(type(error), match="odd"):
            fi.Model.load(".", **options)  # type: ignore[arg-type]
    with pytest.raises(type(error), match="odd"):
        fi.Model.load("config.json")


def test_head_and_tiny_are_for_configs_alone(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.json").write_text('{"tensors": [{"name": "a", "shape": [2], "init": "ones"}]}')
    Path("m.toml").write_text('tensors = [{name = "a", shape = [2], init = "ones"}]')
    fi.Model([fi.Tensor("a", (2,), fi.ones)]).write("a.npy", seed=0)
    for source in ("m.json", "m.toml", "a.npy", "module:GPT"):
        for options in ({"head": "Mine"}, {"tiny": True}):
            message = rf"{source}: head and tiny \(--head, --tiny\) apply only to a config\.json"
            with pytest.raises(ValueError, match=message):
                fi.Model.load(source, **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="head must be the name of a class, got 3"):
        fi.Model.load(".", head=3)  # type: ignore[arg-type]
    assert main(["check", "a.npy", "--tiny"]) == 2
    assert "--head, --tiny and --arg are about SPEC: none is given" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_without_the_packages_the_error_says_what_to_install(tmp_path: Path, package: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    code = f"import sys; sys.modules[{package!r}] = None; import fastinit.cli; sys.exit(fastinit.cli.main(['spec', 'config.json']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("fastinit: config.json: ")
    assert "pip install torch transformers" in done.stderr
    assert "A spec needs neither" in done.stderr


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize(
    ("kind", "head"),
    [("gpt2", "GPT2LMHeadModel"), ("bert", "BertModel"), ("t5", "T5ForConditionalGeneration"),
     ("qwen2_vl", "Qwen2VLForConditionalGeneration")],
)  # fmt: skip
def test_files_are_those_of_save_pretrained(
    tmp_path: Path, kind: str, head: str, tiny: bool
) -> None:
    transformers = pytest.importorskip("transformers")
    config = {"model_type": kind, "dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = fi.Model.load(tmp_path, head=head, tiny=tiny)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/config.json").write_bytes(model.files["config.json"])
    with fi.torch.record():
        config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
        module = getattr(transformers, head)._from_config(config)
    module.save_pretrained(tmp_path / "saved", state_dict={})
    saved = {path.name: path.read_bytes() for path in (tmp_path / "saved").glob("*config.json")}
    assert model.files == saved


def test_specs_need_neither_package(tmp_path: Path) -> None:
    spec = {"tensors": [{"name": "a", "shape": [2, 3], "init": "he_normal"}]}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    code = "import sys, fastinit.cli; fastinit.cli.main(['spec', 'spec.json']); assert not {'torch', 'transformers'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert run("spec", "spec.json", cwd=tmp_path).stdout == done.stdout
