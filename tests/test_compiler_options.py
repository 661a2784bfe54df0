"""Whatever the compiler and its options, a build gives the bits of the stream format or an error."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastinit as fi
import reference
from machine import need
from reliability import builds

ROOT = builds.ROOT
GOLDEN_CASES = 54  # lines of golden.txt without that of raw words

UNSAFE = ["-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"]


def compile_library(
    compiler: str, flags: list[str], out: Path, sources: Path = ROOT / "csrc"
) -> subprocess.CompletedProcess[str]:
    need(compiler, "-shared", "-fPIC", *flags, run=False)
    command = [compiler, "-O2", "-shared", "-fPIC", "-DFASTINIT_SHARED", *flags]
    command += ["-I", str(ROOT / "src/fastinit/include"), "-o", str(out)]
    command += [*map(str, sorted(sources.glob("*.c"))), "-lm"]
    return subprocess.run(command, capture_output=True, text=True)


def outcomes(library: Path) -> dict[str, tuple[int, int, int]]:
    """By instruction set, how many golden cases are right, refused and wrong."""
    command = [sys.executable, str(ROOT / "tests/shared_library.py"), str(library)]
    done = subprocess.run(
        [*command, str(builds.GOLDEN)], capture_output=True, text=True, timeout=120, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert tuple(row[0] for row in rows) == fi.available_isas()
    return {isa: (int(right), int(refused), int(wrong)) for isa, right, refused, wrong in rows}


@pytest.mark.parametrize(
    ("compiler", "flags", "match"),
    [
        ("gcc", ["-ffast-math"], "without -ffast-math"),
        ("gcc", ["-Ofast"], "without -ffast-math"),
        ("gcc", ["-funsafe-math-optimizations"], "without -funsafe-math-optimizations"),
        ("gcc", UNSAFE, "without -funsafe-math-optimizations"),
        ("gcc", ["-freciprocal-math"], "without -funsafe-math-optimizations"),
        ("gcc", ["-fno-signed-zeros"], "without -funsafe-math-optimizations"),
        ("gcc", ["-ffinite-math-only"], "without -ffinite-math-only"),
        ("gcc", ["-fsingle-precision-constant"], "without -fsingle-precision-constant"),
        ("clang", ["-ffast-math"], "without -ffast-math"),
        ("clang", ["-ffinite-math-only"], "without -ffinite-math-only"),
    ],
    ids=lambda x: x if isinstance(x, str) else " ".join(x),
)
def test_refused_by_the_compiler(
    tmp_path: Path, compiler: str, flags: list[str], match: str
) -> None:
    done = compile_library(compiler, flags, tmp_path / "library.so")
    assert done.returncode != 0
    assert f"build it {match}" in done.stderr


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", []),
        ("gcc", ["-march=native", "-ffp-contract=fast"]),
        ("gcc", ["-frounding-math", "-fno-math-errno", "-fno-trapping-math"]),
        ("clang", []),
    ],
    ids=lambda x: x if isinstance(x, str) else " ".join(x) or "plain",
)
def test_right_bits(tmp_path: Path, compiler: str, flags: list[str]) -> None:
    done = compile_library(compiler, flags, tmp_path / "library.so")
    assert done.returncode == 0, done.stderr
    assert set(outcomes(tmp_path / "library.so").values()) == {(GOLDEN_CASES, 0, 0)}


@pytest.mark.parametrize(
    "flags",
    [
        ["-funsafe-math-optimizations"],
        ["-O0", "-funsafe-math-optimizations"],  # which changes the signs of zeros
        UNSAFE,
        ["-fno-signed-zeros"],
        ["-freciprocal-math"],
        ["-march=native", "-ffp-contract=fast"],
    ],
    ids=" ".join,
)
def test_refused_by_the_first_fill(tmp_path: Path, flags: list[str]) -> None:
    """Options of clang that no macro tells of. They change few values: no golden case by -freciprocal-math."""
    cpu = Path("/proc/cpuinfo")
    has_fma = cpu.exists() and re.search(r"\bfma\b", cpu.read_text()) is not None
    if "-ffp-contract=fast" in flags and not has_fma:
        pytest.skip("this CPU has no fused multiply-add, or does not say so")
    done = compile_library("clang", flags, tmp_path / "library.so")
    assert done.returncode == 0, done.stderr
    assert set(outcomes(tmp_path / "library.so").values()) == {(0, GOLDEN_CASES, 0)}


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("coefficients.h", "0x1.55555c0000000p-2f", "0x1.55559c0000000p-2f"),  # 2**-19 of it
        ("coefficients.h", "0x1.9999999995323p-3", "0x1.9999999996323p-3"),
        ("distribution.c", "d->scale *= width", "d->scale *= width * (1 + 0x1p-22)"),
        ("kernel.h", "(unsigned)(127 + 1 - bias - mantissa + 23)", "(unsigned)(127 + 1 - bias - mantissa + 22)"),  # subnormals
        ("distribution.c", "d->scale / a * 4;", "d->scale * (1 / a) * 4;"),  # in the last bit, of some
        ("distribution.c", "if (!isfinite(mean))", "if (isinf(mean))"),
    ],
)  # fmt: skip
def test_other_values_are_refused_by_the_first_fill(
    tmp_path: Path, file: str, before: str, after: str
) -> None:
    """As if a compiler had made them: slightly other constants, rounding, or no idea of NaN."""
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    path = tmp_path / "csrc" / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    done = compile_library("gcc", [], tmp_path / "library.so", tmp_path / "csrc")
    assert done.returncode == 0, done.stderr
    for right, refused, wrong in outcomes(tmp_path / "library.so").values():
        assert (right, refused, wrong) == (0, GOLDEN_CASES, 0)


def test_a_cxx_compiler_is_refused_by_name(tmp_path: Path) -> None:
    done = compile_library("g++", ["-x", "c++"], tmp_path / "library.so")
    assert done.returncode != 0
    assert "the sources of fastinit are C11: build them with a C compiler" in done.stderr


CASE = re.compile(r"\{(\w+), FASTINIT_(\w+), \{([^}]*)\}, UINT64_C\(0x([0-9A-F]{16})\)\}")
SAMPLERS = {
    "UNIFORM": reference.uniform,
    "NORMAL": reference.normal,
    "TRUNCATED": reference.truncated_normal,
}


def fnv1a(items: np.ndarray) -> int:
    digest = 0xCBF29CE484222325
    for item in items.view(f"u{items.dtype.itemsize}").tolist():
        digest = (digest ^ item) * 0x100000001B3 % 2**64
    return digest


def test_digests_of_the_check_are_the_references() -> None:
    cases = CASE.findall((ROOT / "csrc/selfcheck.c").read_text())
    assert len(cases) == 21
    for sampler, dtype, parameters, digest in cases:
        p = [float(x) for x in parameters.split(",")]
        made = SAMPLERS[sampler](dtype.lower(), 0x0123456789ABCDEF, 0, 1024, *p)
        assert f"{fnv1a(made):016X}" == digest, (sampler, dtype, p)


def test_digest_of_the_parameters_is_the_references() -> None:
    """Truncated normals of all proposals: base, scale, bounds and p0 to p2, as the header defines them."""
    digest = 0xCBF29CE484222325
    for i in range(128):
        mean, stddev = (i * 37 % 101 - 50) * 2.0**-6, (i * 53 % 97 + 1) * 2.0**-8
        lower = (i * 29 % 83 - 20) * 2.0**-4
        upper = lower + (i * 31 % 67 + 1) * 2.0**-3
        if i % 2 == 0:
            lower, upper = -upper, -lower
        dtype = "float64" if i % 2 else "float32"
        chosen = reference.choose_proposal(dtype, mean, stddev, lower, upper)
        bounds = reference.DTYPES[dtype].inward(mean + stddev * lower, mean + stddev * upper)
        p = [0.0] if chosen.candidates is reference.tail else []  # it has p1 and p2 alone
        p = [*p, *chosen.parameters, 0.0, 0.0][:3]
        for number in np.array([chosen.base, chosen.scale, *bounds, *p]).view(np.uint64).tolist():
            digest = (digest ^ number) * 0x100000001B3 % 2**64
    source = (ROOT / "csrc/selfcheck.c").read_text()
    assert f"return hash == UINT64_C(0x{digest:016X});" in source
