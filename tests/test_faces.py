"""What the faces of the frameworks have in common: imports, and the examples of their pages."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FACES = ("dask", "jax", "keras", "torch")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(code: str, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_the_core_imports_no_framework() -> None:
    done = run(f"import fastinit, sys; print(set(sys.modules) & {set(FACES)})")
    assert (done.returncode, done.stdout) == (0, "set()\n")


@pytest.mark.parametrize("face", FACES)
def test_an_import_without_the_framework_names_the_missing_package(face: str) -> None:
    done = run(f"import sys; sys.modules[{face!r}] = None; import fastinit; fastinit.{face}")
    message = {
        "dask": "ImportError: fastinit.dask needs the package dask: pip install 'dask[array]'",
        "jax": "ImportError: fastinit.jax needs the package jax: pip install jax",
        "keras": "ImportError: fastinit.keras needs the package keras: pip install keras",
        "torch": "ImportError: fastinit.torch needs the package torch: pip install torch",
    }[face]
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == message


def test_unknown_names_are_attribute_errors() -> None:
    done = run("import fastinit; fastinit.tensorflow")
    message = "AttributeError: module 'fastinit' has no attribute 'tensorflow'"
    assert done.stderr.splitlines()[-1] == message


@pytest.mark.parametrize(
    ("page", "packages"),
    [
        *((f"docs/{face}.md", "jax flax haiku" if face == "jax" else face) for face in FACES),
        ("docs/numpy.md", "scipy"),
        ("README.md", "torch"),
    ],
)
def test_examples_of_the_pages_run(page: str, packages: str) -> None:
    """Each block after the others, as a reader would type them."""
    for package in packages.split():
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    backend = next(name for name in ("torch", "jax", "numpy") if importlib.util.find_spec(name))
    code = BLOCK.findall((ROOT / page).read_text())
    assert code
    done = run("\n".join(code), "-W", "ignore", KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr[-3000:]
