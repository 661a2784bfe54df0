"""What the package must not do at all, looked for in its sources; see SECURITY.md."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src/fastinit").rglob("*.py"))
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.spawnv", "os.execv"}
MODULES = {
    "asyncio", "ctypes", "dill", "ftplib", "http", "joblib", "marshal", "multiprocessing", "pickle", "pty", "requests",
    "runpy", "shelve", "smtplib", "socket", "ssl", "subprocess", "urllib", "xmlrpc",
}  # fmt: skip


def forbidden(tree: ast.AST) -> Iterator[str]:
    """Calls and imports of the lists, NumPy's reading of pickles, and files in the system's temporary folder."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            pickles = keywords.get("allow_pickle", "False") != "False"
            shared = name.startswith("tempfile.") and "dir" not in keywords
            if name in CALLS or pickles or shared:
                yield name


@pytest.mark.parametrize(
    "code",
    [
        "eval('1')",
        "import pickle",
        "from urllib.request import urlopen",
        "import os\nos.system('ls')",
        "np.load(f, allow_pickle=True)",
        "tempfile.mkdtemp(prefix='x')",
    ],
)
def test_the_search_finds(code: str) -> None:
    assert list(forbidden(ast.parse(code)))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_python_sources(path: Path) -> None:
    assert not list(forbidden(ast.parse(path.read_text())))


def test_c_sources() -> None:
    """No allocation, file, process or socket: the kernel computes."""
    word = re.compile(
        r"\b(malloc|calloc|realloc|alloca|fopen|open|system|popen|exec\w*|fork|socket|strcpy|sprintf|gets)\s*\("
    )
    for path in sorted((ROOT / "csrc").glob("*.[ch]")):
        assert word.search(path.read_text()) is None, path


def test_build_requirements_are_bounded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert all(re.search(r"[<>=]=?\d", r) for r in project["build-system"]["requires"])
    assert project["project"]["dependencies"] == ["numpy>=1.26"]
