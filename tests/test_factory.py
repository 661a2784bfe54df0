"""Models that a user's own code builds: `module:callable` on the command line and in Python, and modules that were recorded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastinit as fi
from fastinit.cli import main

torch = pytest.importorskip("torch")

#: A GPT in the style of nanoGPT: what its own methods set comes after what the layers set.
GPT = """
import math
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width, bias=False)

class GPT(nn.Module):
    def __init__(self, width, layers=2, name="gpt"):
        super().__init__()
        self.name = name
        self.wte = nn.Embedding(50, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(layers)])
        self.head = nn.Linear(width, 50, bias=False)
        self.head.weight = self.wte.weight
        self.apply(self._init_weights)
        for key, parameter in self.named_parameters():
            if key.endswith("c_proj.weight"):
                nn.init.normal_(parameter, mean=0.0, std=0.02 / math.sqrt(2 * layers))
        print("number of parameters:", sum(p.numel() for p in self.parameters()))

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)

    @classmethod
    def small(cls):
        return cls(8, layers=1)

built = nn.Linear(3, 3)
number = 3

def nothing():
    return None

def fails(depth=1):
    return {}["missing"] if depth == 1 else fails(depth - 1)

def leaves():
    raise SystemExit(2)

def stops():
    raise StopIteration

def records():
    import fastinit.torch
    with fastinit.torch.record():
        return nn.Linear(3, 3)

def elsewhere():
    import os
    os.chdir("/")
    return nn.Linear(3, 3)

def draws(package):
    import random
    import numpy
    layer = nn.Linear(3, 3)
    nn.init.constant_(layer.bias, random.random() if package == "Python" else numpy.random.rand())
    return layer

def before():
    return built
"""
#: Its tensors with 2 layers of width 8: shapes, standard deviations. The head is tied to the embedding.
EXPECTED = {
    "wte.weight": ((50, 8), 0.02),
    "blocks.0.up.weight": ((32, 8), 0.02),
    "blocks.0.up.bias": ((32,), 0.0),
    "blocks.0.c_proj.weight": ((8, 32), 0.01),
    "blocks.1.up.weight": ((32, 8), 0.02),
    "blocks.1.up.bias": ((32,), 0.0),
    "blocks.1.c_proj.weight": ((8, 32), 0.01),
}


def described(model: fi.Model) -> dict[str, Any]:
    assert all(tensor.dtype == "float32" for tensor in model)
    deviations = {t.name: getattr(t.resolve(), "stddev", 0.0) for t in model}
    return {t.name: (t.shape, pytest.approx(deviations[t.name])) for t in model}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the modules gpt and pack.gpt."""
    (tmp_path / "gpt_file.py").write_text(GPT)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").write_text("")
    (tmp_path / "pack/gpt.py").write_text(GPT)
    (tmp_path / "broken.py").write_text("import torch\n\ndef GPT(:\n")
    (tmp_path / "needs.py").write_text("import torch\nimport no_such_package\n")
    monkeypatch.chdir(tmp_path)
    path, before = list(sys.path), set(sys.modules)
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("gpt_file", "pack", "broken", "needs"):
            del sys.modules[name]


@pytest.mark.parametrize("source", ["gpt_file:GPT", "pack.gpt:GPT"])
def test_a_factory_of_the_current_folder(folder: Path, source: str) -> None:
    model = fi.Model.load(source, arguments={"width": 8})
    assert described(model) == EXPECTED
    assert len(fi.Model.load(source, arguments={"width": 8, "layers": 1})) == 4


def test_names_with_dots_and_functions_that_return_a_module(folder: Path) -> None:
    assert len(fi.Model.load("gpt_file:GPT.small")) == 4


def test_factories_take_rules(folder: Path) -> None:
    rules = ["*.bias=skip", "wte.*=he_normal", "*.c_proj.weight=he_normal:axes=in_out"]
    model = fi.Model.load("gpt_file:GPT", arguments={"width": 8}, rules=rules)
    assert not any(tensor.name.endswith("bias") for tensor in model)
    assert model["wte.weight"].init == fi.he_normal
    # Of out x in by itself; 8 inputs and 8 outputs.
    assert model["wte.weight"].resolve() == fi.he_normal.with_axes("out_in").resolve((50, 8))
    assert model["blocks.0.c_proj.weight"].resolve() == fi.he_normal.resolve((8, 32))
    assert model["blocks.0.up.weight"].init == fi.Normal(0.0, 0.02)
    with pytest.raises(ValueError, match=r"gpt_file:GPT: rules: 'wtf\.\*' matches no tensor; near"):
        fi.Model.load("gpt_file:GPT", arguments={"width": 8}, rules=["wtf.*=ones"])
    with pytest.raises(
        ValueError, match="gpt_file:GPT: no tensors are left: rules leave out all 7"
    ):
        fi.Model.load("gpt_file:GPT", arguments={"width": 8}, rules=["*=skip"])
    message = r"gpt_file:GPT: tensor 'blocks\.0\.up\.bias': .* needs at least 2 axes"
    with pytest.raises(ValueError, match=message):
        fi.Model.load("gpt_file:GPT", arguments={"width": 8}, rules=["*bias=he_normal"])


def test_a_factory_on_the_command_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the factory prints goes to the standard error, not into the spec."""
    command = ["spec", "gpt_file:GPT", "--arg", "width=8", "--arg", "name=a text"]
    assert main(command) == 0
    done = capfd.readouterr()
    assert [t["name"] for t in json.loads(done.out)["tensors"]] == list(EXPECTED)
    assert done.err.splitlines() == [
        "number of parameters: 1488",
        "7 tensors, 1,488 parameters, 5.812 KiB",
    ]
    (folder / "spec.json").write_text(done.out)
    assert described(fi.Model.load("spec.json")) == EXPECTED
    assert main(["model", *command[1:], "--seed", "3", "-o", "a.safetensors"]) == 0
    assert main(["model", "spec.json", "--seed", "3", "-o", "b.safetensors"]) == 0
    assert (folder / "a.safetensors").read_bytes() == (folder / "b.safetensors").read_bytes()
    assert main(["check", "a.safetensors", *command[1:], "--exact", "--seed", "3"]) == 0


def test_values_of_arguments(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fastinit.cli import _factory_argument

    pairs = {
        "a=3": ("a", 3),
        "a=-2.5": ("a", -2.5),
        "a=True": ("a", True),
        "a=None": ("a", None),
        "a=[1, (2, 3)]": ("a", [1, (2, 3)]),
        "a={'b': 1}": ("a", {"b": 1}),
        "a=gelu": ("a", "gelu"),
        "a='3'": ("a", "3"),
        "a=": ("a", ""),
        "a=b=c": ("a", "b=c"),
        "a={[]: 1}": ("a", "{[]: 1}"),
        "a=" + "(" * 100_000: ("a", "(" * 100_000),
    }
    assert {text: _factory_argument(text) for text in pairs} == pairs
    for text, message in {
        "width": "expected KEY=VALUE, such as width=64, got 'width'",
        "=3": "expected KEY=VALUE, such as width=64, got '=3'",
        "a b=3": "expected KEY=VALUE, such as width=64, got 'a b=3'",
        "bias=false": "expected a Python literal, bias=False, or quotes within for a text, bias='\"false\"'",
        "bias=null": "expected a Python literal, bias=None, or quotes",
    }.items():
        with pytest.raises(SystemExit) as leaving:
            main(["spec", "gpt_file:GPT", "--arg", text])
        assert leaving.value.code == 2
        assert message in capsys.readouterr().err
    assert main(["spec", "gpt_file:GPT", "--arg", "width=8", "--arg", "width=9"]) == 1
    assert "--arg width must be given once, got it twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "arguments", "kind", "message"),
    [
        ("gpt_fil:GPT", {}, ImportError, "no module 'gpt_fil' in the current folder or among those installed; near names: 'gpt_file'"),
        ("pack.gtp:GPT", {}, ImportError, r"no module 'pack\.gtp' .*; near names: 'gpt'"),
        ("gpt_file.inner:GPT", {}, ImportError, r"no module 'gpt_file\.inner' in"),
        ("gpt_file.py:GPT", {}, ImportError, "no module 'gpt_file.py' .*: name the module without .py, gpt_file"),
        ("gpt_file:GTP", {}, ImportError, "gpt_file has no attribute 'GTP'; near names: 'GPT'"),
        ("gpt_file:GPT.smal", {}, ImportError, "it has no attribute 'smal'; near names: 'small'"),
        ("gpt_file:built", {}, TypeError, "must be a callable that builds a module, got a module, which was built before"),
        ("gpt_file:number", {}, TypeError, "must be a callable, got 3"),
        ("gpt_file:nothing", {}, TypeError, r"must return a torch\.nn\.Module, got None of type NoneType"),
        ("gpt_file:GPT", {}, TypeError, r"missing a required argument: 'width'; it takes \(width, layers=2, name='gpt'\), as arguments=\{\.\.\.\} or --arg KEY=VALUE"),
        ("gpt_file:GPT", {"width": 8, "layer": 3}, TypeError, "got an unexpected keyword argument 'layer'; near names: 'layers'; it takes"),
        ("gpt_file:GPT", {"width": -8}, ValueError, r"gpt_file\.py, line \d+ in __init__: RuntimeError: "),
        ("gpt_file:fails", {"depth": 3}, ValueError, r"gpt_file\.py, line 45 in fails: KeyError: 'missing'"),
        ("gpt_file:leaves", {}, ValueError, r"gpt_file\.py, line 48 in leaves: SystemExit: 2"),
        ("gpt_file:stops", {}, ValueError, r"gpt_file\.py, line 51 in stops: StopIteration$"),
        ("gpt_file:records", {}, ValueError, r"gpt_file\.py, line 55 in records: RuntimeError: record\(\) must not be"),
        ("gpt_file:before", {}, ValueError, "nothing has recorded bias, weight: .*: the factory must build the module itself"),
        ("broken:GPT", {}, ValueError, r"SyntaxError: invalid syntax \(broken\.py, line 3\)"),
        ("needs:GPT", {}, ValueError, r"needs\.py, line 2: ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)  # fmt: skip
def test_errors_name_the_factory_and_the_line(
    folder: Path,
    source: str,
    arguments: dict[str, Any],
    kind: type[Exception],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(kind, match=f"^{source}: .*{message}"):
        fi.Model.load(source, arguments=arguments)
    pairs = [f"--arg={key}={value}" for key, value in arguments.items()]
    capsys.readouterr()
    assert main(["spec", source, *pairs]) == 1
    done = capsys.readouterr()
    assert done.err.startswith(f"fastinit: {source}: ")
    assert (done.out, done.err.count("\n")) == ("", 1)


def test_the_current_folder_is_that_of_the_user_afterwards(folder: Path) -> None:
    """Where the code changed it, a relative output would be written elsewhere."""
    assert main(["model", "gpt_file:elsewhere", "--seed", "3", "-o", "a.safetensors"]) == 0
    assert (folder / "a.safetensors").exists()


@pytest.mark.parametrize("package", ["NumPy", "Python"])
def test_draws_that_no_seed_sets_are_said(folder: Path, package: str) -> None:
    match = f"^gpt_file:draws: its code draws from the generator of {package}, which the seed of"
    with pytest.warns(UserWarning, match=match):
        fi.Model.load("gpt_file:draws", arguments={"package": package})


def test_arguments_are_for_factories_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "m.json").write_text('{"tensors": [{"name": "a", "shape": [2], "init": "ones"}]}')
    message = "arguments .* apply only to a factory such as 'module:callable', got 'm.json'"
    for source in ("m.json", Path("m.json")):
        with pytest.raises(ValueError, match=message):
            fi.Model.load(source, arguments={"width": 3})
        assert len(fi.Model.load(source, arguments={})) == 1
    for arguments in (3, ["width=3"], {3: 4}):
        with pytest.raises(TypeError, match="arguments must be a mapping from names, got"):
            fi.Model.load("gpt_file:GPT", arguments=arguments)  # type: ignore[arg-type]
    assert main(["check", "m.json", "--arg", "a=3"]) == 2
    assert "--arg are about SPEC: none is given" in capsys.readouterr().err


def test_paths_come_before_factories(folder: Path) -> None:
    """A file of such a name is read, and a Path is never run."""
    with pytest.raises(FileNotFoundError):
        fi.Model.load(Path("gpt_file:GPT"))
    (folder / "gpt_file:GPT").write_bytes(b"")
    with pytest.raises(ValueError, match="expected a safetensors header, got an empty file"):
        fi.Model.load("gpt_file:GPT")
    for source in ("gpt_file:", ":GPT", "dir/gpt_file:GPT", "gpt file:GPT", "C:\\gpt"):
        with pytest.raises(FileNotFoundError):
            fi.Model.load(source)
    assert "gpt_file" not in sys.modules


def test_a_recorded_module_becomes_a_model(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    import gpt_file

    sys.path.remove(str(folder))

    with fi.torch.record():
        module = gpt_file.GPT(8)
    model = fi.Model.from_module(module)
    assert described(model) == EXPECTED
    fi.torch.init_module_(module, seed=3)
    for name, parameter in module.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), model.make(name, seed=3))


def test_what_is_no_recorded_module() -> None:
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got 3"):
        fi.Model.from_module(3)
    with pytest.raises(ValueError, match=r"nothing has recorded bias, weight: construct the"):
        fi.Model.from_module(torch.nn.Linear(3, 4))
    with fi.torch.record():
        module = torch.nn.Sequential(torch.nn.Linear(3, 3))
    module.append(torch.nn.Linear(3, 4))
    module.append(module[0])  # tied: not a tensor of its own
    with pytest.raises(ValueError, match=r"nothing has recorded 1\.bias, 1\.weight: construct"):
        fi.Model.from_module(module)
    del module[1]
    assert [tensor.name for tensor in fi.Model.from_module(module)] == ["0.weight", "0.bias"]
