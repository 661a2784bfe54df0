"""The examples of docs/models.md, and of the README about whole models: specs load, commands and Python run."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastinit as fi

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: The first line of a block that is a file.
NAME = re.compile(r"# ([\w.]+\.\w+)\n")
COMMAND = re.compile(r"^    (?:pip install .*? && )?((?:fastinit|echo) .*)$", re.MULTILINE)


def section(page: str, title: str) -> str:
    text = (ROOT / page).read_text()
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{2,3}} |\Z)", text, re.MULTILINE | re.DOTALL)  # fmt: skip
    assert match is not None
    return match[2]


def write_files(page: str, folder: Path) -> None:
    for _, code in BLOCK.findall((ROOT / page).read_text()):
        if named := NAME.match(code):
            (folder / named[1]).write_text(code)


def run(folder: Path, *command: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (command, done.stderr[-3000:])


@pytest.mark.parametrize(
    ("page", "title", "packages"),
    [
        ("README.md", "Whole models", ("torch", "transformers")),
        ("docs/models.md", "A config", ("torch", "transformers")),
        ("docs/models.md", "Your own model", ("torch",)),
        ("docs/models.md", "A recorded module", ("torch",)),
        ("docs/models.md", "In Python", ()),
    ],
)
def test_examples_run(tmp_path: Path, page: str, title: str, packages: tuple[str, ...]) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    write_files(page, tmp_path)
    text = section(page, title)
    code = [code for kind, code in BLOCK.findall(text) if kind == "python" and not NAME.match(code)]
    commands = COMMAND.findall(BLOCK.sub("", text))
    assert code or commands
    for command in commands:
        run(tmp_path, "bash", "-euc", command)
    run(tmp_path, sys.executable, "-c", "\n".join(code))


def test_specs_load(tmp_path: Path) -> None:
    count = 0
    for page in ("README.md", "docs/models.md"):
        for kind, code in BLOCK.findall((ROOT / page).read_text()):
            if kind == "toml":
                (tmp_path / "m.toml").write_text(code)
                assert len(fi.Model.load(tmp_path / "m.toml"))
                count += 1
    assert count == 3
