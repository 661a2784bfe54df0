"""What this machine can build and run: tests that lack a part of it skip, and name the part."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from fastinit.checks import readable_bytes

PROGRAM = '#include <stdio.h>\nint main(void) { return puts("it runs") < 0; }\n'


def need(compiler: str, *flags: str, runner: tuple[str, ...] = (), run: bool = True) -> None:
    """Skip the test unless a program of one line builds with a compiler and these flags, and runs."""
    reason = missing(compiler, flags, runner, run)
    if reason:
        pytest.skip(reason)


@cache
def missing(compiler: str, flags: tuple[str, ...], runner: tuple[str, ...], run: bool) -> str:
    """What this machine lacks for such a program, if anything: a compiler, headers, a sanitizer's library, ..."""
    for name in (compiler, *runner[:1]):
        if shutil.which(name) is None:
            return f"no {name} on this machine"
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "program.c"), Path(folder, "program")
        source.write_text(PROGRAM)
        command = [compiler, *flags, str(source), "-lm", "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            return f"{compiler} {' '.join(flags)} builds no program here: {_error(done.stderr)}"
        if not run:
            return ""
        try:
            done = subprocess.run([*runner, str(program)], capture_output=True, text=True)
        except OSError as error:  # as in a file system that is mounted with noexec
            return f"no program in {tempfile.gettempdir()} runs: {error.strerror}"
        if done.returncode or done.stdout != "it runs\n":
            return f"{compiler} {' '.join(flags)} builds no program that runs here: {_error(done.stderr)}"
    return ""


def need_matplotlib() -> None:
    """Skip the test unless pictures can be drawn: a matplotlib for another NumPy does not."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        pytest.skip(f"matplotlib cannot be imported: {error}")


def need_disk(folder: Path, size: int) -> None:
    """Skip the test unless files of so many bytes fit into a folder."""
    free = shutil.disk_usage(folder).free
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if free < size or 0 <= limit < size:
        pytest.skip(f"needs {readable_bytes(size)} in {folder}: {readable_bytes(free)} are free, ulimit -f {limit}")  # fmt: skip


def need_memory(size: int, resident: bool = True) -> None:
    """Skip the test unless a process gets so many bytes of memory, or of addresses alone."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= limit < size + 2**30:  # which Python and its libraries take
        pytest.skip(f"needs {readable_bytes(size)} of memory beside programs: ulimit -v {limit}")
    meminfo = Path("/proc/meminfo")
    available = (
        re.search(r"MemAvailable: +(\d+) kB", meminfo.read_text()) if meminfo.exists() else None
    )
    if resident and available is not None and int(available[1]) * 1024 < size:
        pytest.skip(
            f"needs {readable_bytes(size)} of memory: {int(available[1])} KiB are available"
        )


def _error(text: str) -> str:
    """The first line of an error, or the last line there is."""
    lines = text.splitlines() or ["no reason given"]
    return next((line for line in lines if "error" in line or "cannot" in line), lines[-1])
