"""Instructions per element, counted under valgrind: a guard of speed that no busy machine can upset.

The budgets are what gcc 12 -O3 needed when they were recorded; a tenth more is allowed, and other
versions are not asked. What lowers a count by more than that should lower its budget too. (valgrind
runs no AVX-512.)
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import fastinit as fi
from machine import need

ROOT = Path(__file__).parent.parent
CALLGRIND_OUT = "--callgrind-out-file=/dev/null"
N = 2**16  # 16 chunks: what a call costs once is below 1 %

TRUNCATED = "truncated 0 0.02 -2 2"
#: Instructions per element by dtype and distribution, with SSE2 and with AVX2.
BUDGETS = {
    ("float32", "uniform -1 1"): (18.7, 7.8),
    ("float32", "normal 0 0.02"): (25.7, 10.5),
    ("float32", TRUNCATED): (34.0, 13.8),
    ("float32", "truncated 0 1 0.75 9"): (73.8, 30.9),
    ("float32", "truncated 0 1 3 5"): (58.4, 24.7),
    ("bfloat16", TRUNCATED): (37.0, 15.2),
    ("float64", "uniform -1 1"): (40.6, 17.5),
    ("float64", "normal 0 0.02"): (76.5, 32.3),
    ("float64", TRUNCATED): (95.6, 40.9),
}
COUNTED = [(isa, *case) for case in BUDGETS for isa in ("sse2", "avx2")]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("gcc", "-g", "-O3", runner=("valgrind", "--tool=callgrind", CALLGRIND_OUT))
    version = subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True, check=True)
    if version.stdout.split(".")[0].strip() != "12":
        pytest.skip(f"the budgets are gcc 12's, this is gcc {version.stdout.strip()}")
    out = tmp_path_factory.mktemp("instructions") / "fill_once"
    kernel = sorted(map(str, (ROOT / "csrc").glob("*.c")))
    flags = ["-g", "-O3", "-std=c11", "-ffp-contract=off", f"-I{ROOT / 'src/fastinit/include'}"]
    source = str(ROOT / "tests/c/fill_once.c")
    subprocess.run(["gcc", *flags, source, *kernel, "-lm", "-o", str(out)], check=True)
    return out


@pytest.mark.parametrize(("isa", "dtype", "distribution"), COUNTED)
def test_instructions_per_element(program: Path, isa: str, dtype: str, distribution: str) -> None:
    if isa not in fi.available_isas():
        pytest.skip(f"this machine does not run {isa}")
    command = ["valgrind", "--tool=callgrind", "--toggle-collect=fastinit_fill"]
    command += [CALLGRIND_OUT, str(program), isa, dtype, str(N)]
    done = subprocess.run([*command, *distribution.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected is not None, done.stderr
    recorded = BUDGETS[dtype, distribution][isa == "avx2"]
    # Far fewer would mean that the fill was not counted.
    assert 0.5 * recorded < int(collected[1]) / N < 1.1 * recorded
