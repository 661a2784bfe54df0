"""The names that dir(), help() and star imports find, and those that integrations forward."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastinit as fi

SOURCES = Path(fi.__file__).parent
INTEGRATIONS = ("dask", "jax", "keras", "torch")
#: Refuses the imports of everything that is optional.
BLOCK = """
import sys
for name in ("dask", "jax", "keras", "matplotlib", "ml_dtypes", "tensorflow", "torch", "tqdm"):
    sys.modules[name] = None
"""
#: Names that only torch.nn.init has, since PyTorch 1.0.
DEPRECATED = {
    "constant", "dirac", "eye", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal", "sparse",
    "uniform", "xavier_normal", "xavier_uniform",
}  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def integration(name: str) -> ModuleType:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs the package {name}")
    if name == "keras":
        # Keras's own choice is TensorFlow, which takes longest to import.
        have_torch = importlib.util.find_spec("torch") is not None
        os.environ.setdefault("KERAS_BACKEND", "torch" if have_torch else "numpy")
    return importlib.import_module(f"fastinit.{name}")


def without_dunders(names: list[str]) -> list[str]:
    return [name for name in names if not (name.startswith("__") and name.endswith("__"))]


def test_dir_has_the_public_names_and_the_integrations() -> None:
    names = dir(fi)
    assert len(names) == len(set(names))
    installed = {name for name in INTEGRATIONS if importlib.util.find_spec(name) is not None}
    assert set(without_dunders(names)) == {*fi.__all__, *installed}
    assert {"Model", "he_normal", "__version__", "__doc__", "__all__"} <= set(names)
    hidden = {
        "Any",
        "Path",
        "annotations",
        "checks",
        "fill",
        "importlib",
        "initializers",
        "np",
        "os",
    }
    assert hidden.isdisjoint(names)


def test_dir_leaves_out_integrations_that_cannot_be_imported() -> None:
    code = f"import fastinit; print([name for name in {INTEGRATIONS} if name in dir(fastinit)])"
    assert run(BLOCK + code) == "[]\n"


def test_help_works_without_the_frameworks() -> None:
    text = run(BLOCK + "import fastinit, pydoc; print(pydoc.plain(pydoc.render_doc(fastinit)))")
    assert "class Model" in text
    assert "he_normal" in text


def test_a_star_import_works_with_numpy_alone() -> None:
    code = """
from fastinit import *
assert he_normal((2, 3), seed=0).shape == (2, 3)
assert Model([Tensor("bias", (4,), zeros)]).nbytes == 16
import fastinit
assert {name for name in fastinit.__all__ if name not in globals()} == set()
print({name for name in ("dask", "jax", "keras", "torch") if name in globals()})
"""
    assert run(BLOCK + code) == "set()\n"


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_unknown_names_are_attribute_errors(name: str) -> None:
    for module in (fi, integration(name)):
        with pytest.raises(AttributeError, match=f"^module '{module.__name__}' has no attribute"):
            _ = module.he_norml


def test_dir_of_the_torch_integration() -> None:
    module = integration("torch")
    assert set(without_dunders(dir(module))) == {*module.__all__, *DEPRECATED}


def test_dir_of_the_keras_integration() -> None:
    module = integration("keras")
    names = set(without_dunders(dir(module)))
    assert {*module.__all__, "Zeros", "Ones", "Orthogonal", "Initializer", "serialize"} <= names
    assert {"np", "math", "core", "keras", "Any", "lru_cache"}.isdisjoint(names)


@pytest.mark.parametrize("name", ["dask", "jax"])
def test_dir_of_integrations_that_forward_nothing(name: str) -> None:
    module = integration(name)
    assert set(without_dunders(dir(module))) == set(module.__all__)


def test_forwarded_names_are_those_of_the_framework() -> None:
    module = integration("torch")
    import torch

    assert module.xavier_normal is torch.nn.init.xavier_normal
    assert module._no_grad_fill_ is torch.nn.init._no_grad_fill_


@pytest.mark.parametrize(("name", "path"), [("keras", "keras.py"), ("torch", "torch/__init__.py")])
def test_names_that_type_checkers_see_exist(name: str, path: str) -> None:
    """They are listed one by one, where the modules forward whatever the framework has."""
    module = integration(name)
    shown = {
        alias.name
        for node in ast.parse((SOURCES / path).read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for line in node.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert len(shown) > 10
    assert shown <= set(dir(module)) - set(module.__all__)


@pytest.mark.parametrize("path", ["__init__.py", "keras.py", "torch/__init__.py"])
def test_type_checkers_see_no_module_getattr(path: str) -> None:
    """It would let them pass every misspelt name."""
    body = ast.parse((SOURCES / path).read_text()).body
    names = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    assert "__dir__" in names
    assert "__getattr__" not in names
