"""What others build against: the C sources by hand, on this machine and for AArch64, and the .pxd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fastinit as fi

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests/data/golden.txt"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wno-sign-conversion", "-Werror"]


def build(compiler: str, out: Path, *flags: str, source: str = "tests/c/test_fastinit.c") -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    kernel = sorted((ROOT / "csrc").glob("*.c"))
    include = ["-I", str(ROOT / "src/fastinit/include")]
    subprocess.run(
        [compiler, *flags, *include, str(ROOT / source), *map(str, kernel), "-lm", "-o", str(out)],
        check=True,
    )


def run_c_tests(*command: str, isas: tuple[str, ...]) -> None:
    done = subprocess.run([*command, str(GOLDEN)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    *tested, summary = done.stdout.splitlines()
    assert tested == [f"tested {isa}" for isa in isas]
    # Each golden line is three checks on each instruction set.
    match = re.fullmatch(r"(\d+) passed, 0 failed", summary)
    assert match is not None, summary
    assert int(match[1]) > 3 * len(GOLDEN.read_text().splitlines()) * len(isas)


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ["-O3", "-std=c11", "-ffp-contract=off", *WARNINGS]),
        ("gcc", ["-O0", "-std=c11", "-ffp-contract=off"]),
        # -march=native has fused multiply-add, and gcc fuses by default: the sources forbid it.
        ("gcc", ["-O3", "-march=native"]),
        ("gcc", ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]),
        ("clang", ["-O3", "-std=c11", "-ffp-contract=off", *WARNINGS]),
        ("clang", ["-O2", "-march=native"]),
    ],
    ids=lambda x: x if isinstance(x, str) else " ".join(x[:3]),
)
def test_c_tests(tmp_path: Path, compiler: str, flags: list[str]) -> None:
    build(compiler, tmp_path / "test", *flags)
    run_c_tests(str(tmp_path / "test"), isas=fi.available_isas())


def test_c_tests_on_aarch64(tmp_path: Path) -> None:
    """NEON gives the golden hashes: cross-compiled, run by the user-mode emulator."""
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("no qemu-aarch64 on this machine")
    flags = ["-O3", "-std=c11", "-ffp-contract=off", "-static", *WARNINGS]
    build("aarch64-linux-gnu-gcc", tmp_path / "test", *flags)
    run_c_tests("qemu-aarch64", str(tmp_path / "test"), isas=("neon", "scalar"))


def test_accuracy(tmp_path: Path) -> None:
    """At most 2 ulp for float32, exhaustively, and 4 for float64: the figures that the header states."""
    out = tmp_path / "accuracy"
    compiler = shutil.which("cc") or pytest.skip("no C compiler on this machine")
    include = ["-I", str(ROOT / "src/fastinit/include")]
    flags = ["-O3", "-std=c11", "-ffp-contract=off", *include]
    subprocess.run(
        [compiler, *flags, str(ROOT / "tests/c/test_accuracy.c"), "-lm", "-o", str(out)], check=True
    )
    done = subprocess.run([str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    header = (ROOT / "src/fastinit/include/fastinit.h").read_text()
    stated = re.search(r"over all words: h (\S+), cosine (\S+), sine (\d\.\d+)", header)
    measured = re.search(r"all words: h (\S+), cosine (\S+), sine (\S+) ulp", done.stdout)
    assert stated is not None
    assert measured is not None
    for limit, figure in zip(stated.groups(), measured.groups(), strict=True):
        assert float(limit) - 0.02 <= float(figure) <= float(limit)


@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast"])
def test_fast_math_is_refused(tmp_path: Path, flag: str) -> None:
    source = str(ROOT / "csrc/kernel_scalar.c")
    include = str(ROOT / "src/fastinit/include")
    done = subprocess.run(
        ["gcc", "-c", flag, "-I", include, source, "-o", str(tmp_path / "o")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "build it without -ffast-math" in done.stderr


def test_c_example(tmp_path: Path) -> None:
    build(
        "cc",
        tmp_path / "fill",
        "-O3",
        "-std=c11",
        "-ffp-contract=off",
        source="csrc/examples/fill.c",
    )
    done = subprocess.run([str(tmp_path / "fill")], capture_output=True, text=True, check=True)
    w = fi.he_normal((4096, 1024), seed=0, stream="layers.0.mlp.up")
    first = [float.fromhex(word.rstrip(",")) for word in done.stdout.split()[2:4]]
    assert first == w[0, :2].tolist()
    assert "shard equals slice: yes" in done.stdout


EXTENSION = """
    # cython: language_level=3
    from libc.stdint cimport uint64_t
    from fastinit cimport (
        FI_BFLOAT16, FI_ERR_INDEX, FI_ERR_ISA, FI_ERR_STDDEV, FI_FLOAT32, FI_OK, FI_STREAM_VERSION,
        fi_available_isa, fi_distribution, fi_fill, fi_fill_region, fi_isa, fi_normal,
        fi_random_words, fi_region, fi_set_isa, fi_status_message, fi_stream_key,
        fi_truncated_normal, fi_uniform)

    def fill(float[::1] out, uint64_t seed, bytes name):
        cdef fi_distribution d
        cdef int status
        cdef const char *text = name
        cdef size_t length = len(name)
        with nogil:
            status = fi_truncated_normal(&d, FI_FLOAT32, 0, 1, -2, 2)
            if status == FI_OK:
                status = fi_fill(&d, fi_stream_key(seed, text, length), 0, out.shape[0], &out[0])
        return status

    def others():
        cdef fi_distribution d
        cdef fi_region region
        cdef unsigned int word
        region.ndim = 0
        assert FI_STREAM_VERSION == 1
        assert fi_normal(&d, FI_FLOAT32, 0, -1) == FI_ERR_STDDEV
        assert fi_uniform(&d, FI_BFLOAT16, 0, 1) == FI_OK
        assert fi_fill_region(&d, 0, &region, 0, 1, &word) == FI_ERR_INDEX
        assert fi_random_words(20111115, 9999, 1, &word) == FI_OK and word == 1955073260
        assert fi_isa() == fi_available_isa(0)
        assert fi_set_isa(b"z80") == FI_ERR_ISA
        assert fi_status_message(FI_OK) == b"success"
"""

SETUP = """
    import fastinit
    from Cython.Build import cythonize
    from setuptools import Extension, setup

    extension = Extension("tiny", ["tiny.pyx"], include_dirs=[fastinit.get_include()])
    setup(name="tiny", ext_modules=cythonize([extension], include_path=[fastinit.get_include()]))
"""


def test_cimport(tmp_path: Path) -> None:
    """Another Cython module calls the C functions without the GIL and without linking anything."""
    assert (Path(fi.get_include()) / "fastinit.h").is_file()
    (tmp_path / "tiny.pyx").write_text(textwrap.dedent(EXTENSION))
    (tmp_path / "setup.py").write_text(textwrap.dedent(SETUP))
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    code = "import numpy, tiny; a = numpy.zeros(300, 'f4'); assert tiny.fill(a, 7, b'w') == 0; tiny.others(); a.tofile('a.bin')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    made = np.fromfile(tmp_path / "a.bin", np.float32)
    np.testing.assert_array_equal(made, fi.TruncatedNormal()((300,), seed=7, stream="w"))


def test_coefficients_are_the_scripts() -> None:
    pytest.importorskip("mpmath", reason="mpmath makes the coefficients; it is in the extra dev")
    made = subprocess.run(
        [sys.executable, str(ROOT / "csrc/coefficients.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == (ROOT / "csrc/coefficients.h").read_text()


def test_header_states_the_coefficients_of_the_kernel() -> None:
    """The definition of the stream and the kernel name the same numbers."""
    lines = (ROOT / "csrc/coefficients.h").read_text().splitlines()
    defines = [line.split() for line in lines if line.startswith(("#define F32_", "#define F64_"))]
    kernel = {name: float.fromhex(number.rstrip("f")) for _, name, number in defines}
    stated: dict[str, float] = {}
    for line in (ROOT / "src/fastinit/include/fastinit.h").read_text().splitlines():
        words = line.split()
        numbers = [float.fromhex(w) for w in words[2:] if re.match(r"-?0x1\.\w+p", w)]
        name = words[1] if numbers else ""
        if name in ("MINUS_HALF_LN2", "R", "RADIUS_SCALE") or (
            name.rstrip("01234567") in ("LOG", "COS", "SIN") and name[-1].isdigit()
        ):
            kinds = ["F32", "F64"] if len(numbers) == 2 else ["F64"]
            stated |= {f"{kind}_{name}": x for kind, x in zip(kinds, numbers, strict=True)}
    assert stated == kernel
