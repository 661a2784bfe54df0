"""Build the archive and the wheel twice, in different folders and without a network, and compare their bytes.

    python tests/reliability/rebuild.py

with what .ci/build-requirements.txt names. It prints a line for each file; the exit status is 1 if they differ. Needs
the right to make network namespaces (root).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
WITHOUT_NETWORK = ("unshare", "-n")
#: 2023-11-14: the time of all files in a wheel.
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "1700000000"}


def can_cut_network() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True).returncode == 0


def offline(*arguments: str, cwd: Path, **environment: str) -> None:
    """Run this Python where there is no network, not even a loopback that is up."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [*WITHOUT_NETWORK, sys.executable, *arguments]
    environment = {**clean, **ENVIRONMENT, **environment}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")


def copy_sources(folder: Path) -> None:
    """What the archive is made of, without what a build left in the checkout."""
    ignored = shutil.ignore_patterns(
        ".git", "build", "dist", "*.so", "*.egg-info", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, folder, ignore=ignored)


def build_wheel(folder: Path, **environment: str) -> Path:
    """The wheel of the sources in a folder."""
    options = ["--no-build-isolation", "--no-index", "--no-deps"]
    offline("-m", "pip", "wheel", *options, "-w", "dist", ".", cwd=folder, **environment)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def members(archive: Path) -> dict[str, Any]:
    """What is in an archive, but for the times."""
    with tarfile.open(archive) as tar:
        files = {m.name: tar.extractfile(m) for m in tar if m.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def main() -> int:
    if not can_cut_network():
        print("network namespaces cannot be made here")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("one", "another name")]
        for folder in folders:  # all before a build: somebody may be at work here
            copy_sources(folder)
        wheels, archives = [], []
        for folder in folders:
            offline("-m", "build", "--no-isolation", "--sdist", cwd=folder)
            archives += (folder / "dist").glob("*.tar.gz")
            wheels.append(build_wheel(folder))
        equal_wheels = wheels[0].read_bytes() == wheels[1].read_bytes()
        equal_members = members(archives[0]) == members(archives[1])
        print(f"{wheels[0].name}: {'the same bytes' if equal_wheels else 'differs'}")
        same = archives[0].read_bytes() == archives[1].read_bytes()
        print(f"{archives[0].name}: {'the same' if same else 'other'} bytes, the files in it "
              f"{'are the same' if equal_members else 'differ'}")  # fmt: skip
    return not (equal_wheels and equal_members)


if __name__ == "__main__":
    sys.exit(main())
