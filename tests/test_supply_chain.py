"""What the package must not do at all, looked for in its sources and while it works; see SECURITY.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from reliability import rebuild

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


def audited(folder: Path, *offence: str) -> list[str]:
    """What audited_job.py prints that the package, or the offence, did."""
    command = [sys.executable, "-B", str(ROOT / "tests/audited_job.py"), str(folder), *offence]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_no_socket_process_pickle_or_code_at_run_time(tmp_path: Path) -> None:
    """Nor a file written outside of the folders that were named: every event of the interpreter is looked at."""
    assert audited(tmp_path.resolve()) == []


@pytest.mark.parametrize(
    ("offence", "event"),
    [("socket", "socket."), ("process", "subprocess."), ("shell", "os.system"), ("pickle", "pickle.find_class"),
     ("eval", "compile"), ("file", "open"), ("folder", "os.mkdir"), ("rename", "os.rename")],
)  # fmt: skip
def test_the_audit_notices(tmp_path: Path, offence: str, event: str) -> None:
    assert any(line.startswith(event) for line in audited(tmp_path.resolve(), offence))


def test_build_requirements_are_bounded() -> None:
    """By ranges for those who build it themselves; what releases are built with is pinned, by hashes too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ranges = [Requirement(line) for line in project["build-system"]["requires"]]
    assert {r.name for r in ranges} == {"setuptools", "Cython"}
    assert all(r.specifier for r in ranges)
    text = (ROOT / ".ci/build-requirements.txt").read_text().replace("\\\n", "")
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    line_of_pin = re.compile(r"(\w+)==([\d.]+)(\s+--hash=sha256:[0-9a-f]{64})+")
    versions = {m[1]: m[2] for m in map(line_of_pin.fullmatch, pins) if m is not None}
    assert len(versions) == len(pins)
    for r in ranges:
        assert r.specifier.contains(versions[r.name]), r
    assert project["project"]["dependencies"] == ["numpy>=1.26"]


def test_builds_and_runs_without_a_network(tmp_path: Path) -> None:
    """In a namespace without one: the wheel is built, installed and used."""
    if not rebuild.can_cut_network():
        pytest.skip("network namespaces cannot be made here")
    pytest.importorskip("pip", reason="pip builds the wheel")
    rebuild.copy_sources(tmp_path / "sources")
    wheel = rebuild.build_wheel(tmp_path / "sources", FASTINIT_CFLAGS="-O0")
    place = str(tmp_path / "installed")
    install = ["-m", "pip", "install", "--no-index", "--no-deps", "--target", place, str(wheel)]
    rebuild.offline(*install, cwd=tmp_path)
    rebuild.offline("-m", "fastinit", "info", cwd=tmp_path, PYTHONPATH=place)
    job = [str(ROOT / "tests/audited_job.py"), str(tmp_path)]
    rebuild.offline(*job, cwd=tmp_path, PYTHONPATH=place)
