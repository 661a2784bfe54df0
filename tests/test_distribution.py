"""The name of the distribution: the package named fastinit on the package index is another project."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import InvalidRequirement, Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDERS = (".ci", "benchmarks", "csrc", "docs", "src", "tests")
ENDINGS = {"", ".c", ".h", ".md", ".pxd", ".py", ".pyi", ".pyx", ".toml", ".txt"}
#: Its parameters are texts with the name.
OWN = Path(__file__)
TEXTS = sorted(
    path
    for path in [*ROOT.iterdir(), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*"))]
    if path.is_file() and path.suffix in ENDINGS and ".egg-info" not in str(path) and path != OWN
)

#: An argument of a command, on its line or the next one.
COMMAND = re.compile(r"\binstall((?:[ \t]+\S+|[ \t]*\n[ \t]*(?=[^\s`])\S+)*)")
#: A requirement with extras, such as 'fastinit[jax]'.
WITH_EXTRAS = re.compile(r"(?<![\w./-])fastinit\[\s*[a-z_]+\s*[\],]")


def installs(text: str) -> Iterator[str]:
    """Requirements named fastinit that a text tells its reader to install."""
    for command in COMMAND.finditer(text):
        for argument in re.split(r"\s+", command[1]):
            name = re.split(r"[\[=<>~!@;]", argument.strip("'\"`).,:"))[0]
            if name.lower() == "fastinit":
                yield argument
            if re.search(r".[`;|&)]", argument):
                break
    yield from WITH_EXTRAS.findall(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install fastinit",
        "`pip install 'fastinit[jax]'`",
        "python -m pip install --upgrade numpy fastinit>=0.1",
        'raise ImportError("pip install fastinit")',
        "run `pip install torch\nfastinit` first",
        'dev = ["fastinit[test]", "ruff"]',
        "uv pip install fastinit==0.1.0",
    ],
)
def test_the_search_finds(text: str) -> None:
    assert list(installs(text))


@pytest.mark.parametrize(
    "text",
    [
        'pip install ".[test]" && python -m pytest',
        "pip install fastinit-weights",
        "`pip install jax`, and then import fastinit",
        "pip install -e src/fastinit",
        "Run `pip uninstall fastinit` once.",
        "`fastinit fill --init he_normal`",
    ],
)
def test_the_search_passes(text: str) -> None:
    assert not list(installs(text))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_says_to_install_the_other_project(path: Path) -> None:
    assert list(installs(path.read_text(encoding="utf-8"))) == []


def test_the_texts_are_found() -> None:
    names = {str(path.relative_to(ROOT)) for path in TEXTS}
    assert {
        ".ci/run", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "docs/jax.md", "justfile",
        "pyproject.toml", "setup.py", "src/fastinit/torch/__init__.py", "src/fastinit/_kernel.pyx",
    } <= names  # fmt: skip


def test_the_distribution_has_a_name_of_its_own() -> None:
    assert PROJECT["name"] == "fastinit-weights"
    assert PROJECT["scripts"] == {"fastinit": "fastinit.cli:main"}


def test_no_requirement_names_this_project_or_the_other() -> None:
    """An extra that refers to a project by its name can bring in another project of that name."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [
        PROJECT["dependencies"],
        *PROJECT["optional-dependencies"].values(),
        *whole.get("dependency-groups", {}).values(),
        whole["build-system"]["requires"],
    ]
    names = {Requirement(line).name.lower().replace("_", "-") for some in lists for line in some}
    assert "numpy" in names
    assert names.isdisjoint({"fastinit", "fastinit-weights"})
    for line in (ROOT / ".ci/build-requirements.txt").read_text().splitlines():
        try:
            assert Requirement(line.rstrip(" \\")).name != "fastinit"
        except InvalidRequirement:
            assert line.startswith(("#", "    --hash=")), line


def test_the_extra_dev_has_all_of_the_extra_test() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(extras["test"]) <= set(extras["dev"])


def test_the_readme_says_whose_name_it_is() -> None:
    sentence = "The package named `fastinit` on the package index is another project."
    assert sentence in (ROOT / "README.md").read_text()
