"""The bits are part of the interface: SHA-256 of every distribution and dtype. See data/README.md."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastinit as fi
from cases import CLASSES

DATA = Path(__file__).parent / "data"
#: The files, and the arguments of the program that makes them.
FILES: dict[str, list[str]] = {"golden.txt": [], "golden_computed.txt": ["computed"]}
LINES = [line.split() for file in FILES for line in (DATA / file).read_text().splitlines()]


def little_endian_hash(values: np.ndarray) -> str:
    swapped = values if sys.byteorder == "little" else values.byteswap()
    return hashlib.sha256(swapped.tobytes()).hexdigest()


@pytest.mark.parametrize("columns", LINES, ids=lambda c: "-".join(c[:6]))
def test_golden(isa: str, columns: list[str]) -> None:
    dtype, name, *parameters = columns[:6]
    seed, stream, index, n, expected = columns[6:]
    start, stop = int(index), int(index) + int(n)
    if name == "random_words":
        values = fi.random_words(int(n), seed=int(seed), stream=stream, offset=start)
    else:
        make = CLASSES[name](*(float(p) for p in parameters if p != "-"))
        values = make.shard(
            (stop,), slice(start, stop), seed=int(seed), stream=stream, dtype=dtype
        ).view(np.uint8)
    assert little_endian_hash(values) == expected


@pytest.mark.parametrize("file", FILES)
def test_the_file_is_that_of_the_reference(file: str) -> None:
    command = [sys.executable, str(DATA / "make_golden.py"), *FILES[file]]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert made.stdout == (DATA / file).read_text()


def test_stream_version_is_1() -> None:
    assert fi.STREAM_VERSION == 1
