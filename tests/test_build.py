"""What others build against: the C sources by hand, on this machine and for others, and the .pxd."""

from __future__ import annotations

import ast
import itertools
import os
import platform
import re
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fastinit as fi
import reference
from machine import missing, need
from reliability import builds

ROOT = builds.ROOT
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wno-sign-conversion", "-Werror"]

SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
#: Pseudo-random inputs of the C interface: some seconds.
FUZZ_INPUTS = 1500


def build(
    compiler: str,
    out: Path,
    *flags: str,
    source: str = builds.C_TESTS,
    runner: tuple[str, ...] = (),
) -> None:
    need(compiler, *flags, runner=runner)
    subprocess.run(builds.command(compiler, list(flags), source, out), check=True)


def run_c_tests(*command: str, isas: tuple[str, ...]) -> None:
    done = subprocess.run([*command, str(builds.GOLDEN)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    *tested, summary = done.stdout.splitlines()
    assert tested == [f"tested {isa}" for isa in isas]
    # Each golden line is three checks on each instruction set.
    match = re.fullmatch(r"(\d+) passed, 0 failed", summary)
    assert match is not None, summary
    assert int(match[1]) > 3 * len(builds.GOLDEN.read_text().splitlines()) * len(isas)


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ["-O3", "-std=c11", "-ffp-contract=off", *WARNINGS]),
        ("gcc", ["-O0", "-std=c11", "-ffp-contract=off"]),
        # -march=native has fused multiply-add, and gcc fuses by default: the sources forbid it.
        ("gcc", ["-O3", "-march=native"]),
        ("gcc", SANITIZED),
        ("clang", SANITIZED),
        # Reads of memory that nothing has written.
        ("clang", ["-fsanitize=memory", "-O1", "-g", "-fno-sanitize-recover=all"]),
        # Conversions that lose something; that unsigned numbers wrap is intended.
        ("clang", ["-fsanitize=implicit-conversion,float-cast-overflow,float-divide-by-zero", "-O1", "-g", "-fno-sanitize-recover=all"]),
        ("clang", ["-O3", "-std=c11", "-ffp-contract=off", *WARNINGS]),
        ("clang", ["-O2", "-march=native"]),
        ("gcc", ["-O2", "-flto", "-std=c17"]),
        ("gcc", ["-Os", "-funroll-loops", "-std=gnu17"]),
        ("clang", ["-O1", "-flto", "-fuse-ld=lld", "-std=c2x"]),
    ],
    ids=lambda x: x if isinstance(x, str) else " ".join(x[:3]),
)  # fmt: skip
def test_c_tests(tmp_path: Path, compiler: str, flags: list[str]) -> None:
    build(compiler, tmp_path / "test", *flags)
    run_c_tests(str(tmp_path / "test"), isas=fi.available_isas())


def extension_flags() -> list[str]:
    """Those that setup.py builds the extension with."""
    match = re.search(r"^UNIX_FLAGS = (\[.*\])$", (ROOT / "setup.py").read_text(), re.MULTILINE)
    assert match is not None
    flags: list[str] = ast.literal_eval(match[1])
    return flags


@pytest.mark.parametrize(
    ("target", "isas"),
    [
        ("aarch64-linux-gnu", ("neon", "scalar")),
        ("s390x-linux-gnu", ("scalar",)),  # big-endian
        ("arm-linux-gnueabihf", ("scalar",)),  # 32 bits, and subnormals that can be flushed
        ("i686-linux-gnu", ("avx2", "sse2", "scalar")),  # 32 bits, and x87 beside SSE
    ],
)
def test_c_tests_on_other_machines(tmp_path: Path, target: str, isas: tuple[str, ...]) -> None:
    """The golden hashes, of little-endian bytes: cross-compiled, run by the user-mode emulator."""
    emulator, needed = builds.TARGETS[target]
    flags = [*extension_flags(), *needed, "-static", *WARNINGS]
    build(f"{target}-gcc", tmp_path / "test", *flags, runner=(emulator,))
    run_c_tests(emulator, str(tmp_path / "test"), isas=isas)


@pytest.mark.parametrize("target", [None, "aarch64-linux-gnu", "s390x-linux-gnu"])
def test_moments(tmp_path: Path, target: str | None) -> None:
    """Sums and extremes on every instruction set, of numbers that C decodes by the definition of the dtypes."""
    compiler, flags, emulator = "gcc", SANITIZED, ()
    if target is not None:
        compiler, emulator = f"{target}-gcc", builds.TARGETS[target][:1]
        flags = [*extension_flags(), *builds.TARGETS[target][1], "-static", *WARNINGS]
    source, include = "tests/c/test_moments.c", f"-I{ROOT / 'csrc'}"
    build(compiler, tmp_path / "test", *flags, include, source=source, runner=emulator)
    done = subprocess.run([*emulator, tmp_path / "test"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("tested ")


def test_c_tests_under_valgrind(tmp_path: Path) -> None:
    """No invalid or uninitialised memory in the code that is optimised, and no leak. (valgrind runs no AVX-512.)"""
    command = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=all"]
    flags = ["-O3", "-g", "-std=c11", "-ffp-contract=off"]
    build("gcc", tmp_path / "test", *flags, runner=tuple(command))
    isas = tuple(isa for isa in fi.available_isas() if isa != "avx512")
    run_c_tests(*command, str(tmp_path / "test"), isas=isas)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_concurrent_fills(tmp_path: Path, compiler: str) -> None:
    """Ten threads, the first choice of an instruction set and changes of it: no race, and the bits of one thread."""
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-ffp-contract=off", "-pthread", "-fsanitize=thread"]  # fmt: skip
    build(compiler, tmp_path / "test", *flags, source="tests/c/test_concurrent.c")
    done = subprocess.run([str(tmp_path / "test")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "20 rounds of 10 threads, 0 failed\n"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_features_that_instruction_sets_require(tmp_path: Path, compiler: str) -> None:
    """Every missing feature of the CPU or the operating system rules out exactly what needs it."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i686"):
        pytest.skip("these features are those of x86")
    flags, out = ["-std=c11", "-O1", "-g", *WARNINGS], tmp_path / "test"
    need(compiler, *flags)
    subprocess.run(builds.command(compiler, flags, "tests/c/test_dispatch.c", out, ()), check=True)
    done = subprocess.run([str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "16 features, 0 failed\n"


def test_any_input_of_the_c_interface(tmp_path: Path) -> None:
    """The oracles of tests/c/fuzz_fill.c hold for pseudo-random inputs, under sanitizers of addresses and of behaviour."""
    flags = ["-std=c11", "-ffp-contract=off", *SANITIZED]
    build("gcc", tmp_path / "fuzz", *flags, source="tests/c/fuzz_fill.c")
    done = subprocess.run(
        [str(tmp_path / "fuzz"), "-n", str(FUZZ_INPUTS), "20261124"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{FUZZ_INPUTS} inputs\n"


@pytest.mark.parametrize(("flag", "level"), [("-O0", "without"), ("-O3", "with")])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_stack(tmp_path: Path, compiler: str, flag: str, level: str) -> None:
    """Fills take no more stack than the header says, and with AVX-512 not less than half of it."""
    build(compiler, tmp_path / "stack", "-std=gnu11", flag, "-pthread", source="tests/c/stack.c")
    done = subprocess.run([str(tmp_path / "stack")], capture_output=True, text=True, check=True)
    header = (ROOT / "src/fastinit/include/fastinit.h").read_text()
    stated = re.search(r"up to (\d+) KiB of stack .* optimisation, and up to (\d+) KiB without", header)  # fmt: skip
    assert stated is not None
    limit = int(stated[2] if level == "without" else stated[1])
    assert int(done.stdout) <= limit
    if compiler == "clang" and "avx512" in fi.available_isas():
        assert int(done.stdout) >= limit / 2


def test_accuracy(tmp_path: Path) -> None:
    """At most 2 ulp for float32, exhaustively, and 4 for float64: the figures that the header states."""
    out = tmp_path / "accuracy"
    flags = ["-O3", "-std=c11", "-ffp-contract=off"]
    need("cc", *flags)
    command = builds.command("cc", flags, "tests/c/test_accuracy.c", out, kernel=())
    subprocess.run(command, check=True)
    done = subprocess.run([str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    header = (ROOT / "src/fastinit/include/fastinit.h").read_text()
    stated = re.search(r"over all words: h (\S+), cosine (\S+), sine (\d\.\d+)", header)
    measured = re.search(r"all words: h (\S+), cosine (\S+), sine (\S+) ulp", done.stdout)
    assert stated is not None
    assert measured is not None
    for limit, figure in zip(stated.groups(), measured.groups(), strict=True):
        assert float(limit) - 0.02 <= float(figure) <= float(limit)


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("clang", ["--target=i686-linux-gnu", "-mno-sse", "-ffreestanding"]),  # x87
        ("s390x-linux-gnu-gcc", ["-std=c11"]),
    ],
    ids=["i686", "s390x"],
)
def test_excess_precision_is_refused(tmp_path: Path, compiler: str, flags: list[str]) -> None:
    """Where float and double arithmetic has other bits than the stream says."""
    need(compiler, run=False)
    source, include = str(ROOT / "csrc/status.c"), str(ROOT / "src/fastinit/include")
    done = subprocess.run(
        [compiler, "-c", *flags, "-I", include, source, "-o", str(tmp_path / "o")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "needs arithmetic without excess precision: -msse2 -mfpmath=sse" in done.stderr


CXX = """
    #include "fastinit.h"
    #include <cstdio>

    int main()
    {
        fastinit_distribution d;
        double out[3];
        if (fastinit_truncated_normal(&d, FASTINIT_FLOAT64, 0, 1, -2, 2) != FASTINIT_OK || fastinit_fill(&d, 7, 5, 3, out) != FASTINIT_OK)
            return 1;
        std::printf("%a %a %a", out[0], out[1], out[2]);
    }
"""


CXX_COMPILERS = ("g++", "clang++")


def test_header_in_cxx(tmp_path: Path) -> None:
    """C++ programs include the header without a warning, and link with the kernel of a C compiler."""
    need("cc")
    reasons = {name: missing(name, ("-x", "c++", "-std=c++20"), (), True) for name in CXX_COMPILERS}
    compilers = [name for name, reason in reasons.items() if not reason]
    if not compilers:
        pytest.skip("; ".join(reasons.values()))
    (tmp_path / "use.cpp").write_text(textwrap.dedent(CXX))
    include, kernel = ["-I", ROOT / "src/fastinit/include"], sorted((ROOT / "csrc").glob("*.c"))
    subprocess.run(["cc", "-O0", "-c", *include, *kernel], cwd=tmp_path, check=True)
    objects = [f"{path.stem}.o" for path in kernel]
    want = reference.truncated_normal("float64", 7, 5, 3, 0.0, 1.0, -2.0, 2.0)
    for compiler, standard in itertools.product(compilers, ("c++11", "c++20")):
        flags = [f"-std={standard}", *WARNINGS, "-Wold-style-cast", *include]
        command = [compiler, *flags, "use.cpp", *objects, "-lm", "-o", "use"]
        subprocess.run(command, cwd=tmp_path, check=True)
        done = subprocess.run([tmp_path / "use"], capture_output=True, text=True, check=True)
        assert [float.fromhex(word) for word in done.stdout.split()] == want.tolist()


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
        FASTINIT_BFLOAT16, FASTINIT_ERR_INDEX, FASTINIT_ERR_ISA, FASTINIT_ERR_STDDEV, FASTINIT_FLOAT32, FASTINIT_OK, FASTINIT_STREAM_VERSION,
        fastinit_available_isa, fastinit_distribution, fastinit_fill, fastinit_fill_region, fastinit_isa, fastinit_normal,
        fastinit_random_words, fastinit_region, fastinit_set_isa, fastinit_status_message, fastinit_stream_key,
        fastinit_truncated_normal, fastinit_uniform)

    def fill(float[::1] out, uint64_t seed, bytes name):
        cdef fastinit_distribution d
        cdef int status
        cdef const char *text = name
        cdef size_t length = len(name)
        with nogil:
            status = fastinit_truncated_normal(&d, FASTINIT_FLOAT32, 0, 1, -2, 2)
            if status == FASTINIT_OK:
                status = fastinit_fill(&d, fastinit_stream_key(seed, text, length), 0, out.shape[0], &out[0])
        return status

    def others():
        cdef fastinit_distribution d
        cdef fastinit_region region
        cdef unsigned int word
        region.ndim = 0
        assert FASTINIT_STREAM_VERSION == 1
        assert fastinit_normal(&d, FASTINIT_FLOAT32, 0, -1) == FASTINIT_ERR_STDDEV
        assert fastinit_uniform(&d, FASTINIT_BFLOAT16, 0, 1) == FASTINIT_OK
        assert fastinit_fill_region(&d, 0, &region, 0, 1, &word) == FASTINIT_ERR_INDEX
        assert fastinit_random_words(20111115, 9999, 1, &word) == FASTINIT_OK and word == 1955073260
        assert fastinit_isa() == fastinit_available_isa(0)
        assert fastinit_set_isa(b"z80") == FASTINIT_ERR_ISA
        assert fastinit_status_message(FASTINIT_OK) == b"success"
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
    need((os.environ.get("CC") or sysconfig.get_config_var("CC")).split()[0])
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("no headers of Python on this machine")
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
