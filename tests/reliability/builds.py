"""The C tests, built by every compiler for every target with all kinds of flags: a table of what gives the golden hashes.

    python tests/reliability/builds.py [WORD ...]

Rows whose text has all of the words are built, all rows without any (40 minutes). Flags are bare: nothing but the
sources forbids fused multiply-add, which is in the default of gcc. For the other targets, on Debian: gcc-TRIPLET,
libc6-dev-ARCH-cross, qemu-user and lld. The exit status is 1 if a row that was built gives other bits.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests/data/golden.txt"
C_TESTS = "tests/c/test_fastinit.c"

#: Emulators, and flags that a target must have, by the compilers' names of the targets.
TARGETS = {
    "aarch64-linux-gnu": ("qemu-aarch64", ()),
    "arm-linux-gnueabihf": ("qemu-arm", ()),
    "i686-linux-gnu": ("qemu-i386", ("-msse2", "-mfpmath=sse")),
    "powerpc64-linux-gnu": ("qemu-ppc64", ()),
    "powerpc64le-linux-gnu": ("qemu-ppc64le", ()),
    "riscv64-linux-gnu": ("qemu-riscv64", ()),
    "s390x-linux-gnu": ("qemu-s390x", ("-std=gnu11",)),
}

NATIVE = (
    "-O0", "-O1", "-O2", "-O3", "-Os", "-O2 -std=c11", "-O2 -std=c17", "-O2 -std=gnu17", "-O2 -std=c2x",
    "-O3 -march=native", "-O3 -funroll-loops", "-O3 -flto", "-O3 -flto -march=native",
)  # fmt: skip
FOREIGN = ("-O0", "-O1", "-O2", "-O3")


@dataclass(frozen=True)
class Build:
    compiler: str
    flags: tuple[str, ...]
    runner: str = ""
    target: str = "native"

    def __str__(self) -> str:
        return f"| {self.compiler} | {' '.join(self.flags)} | {self.target} |"

    @property
    def missing(self) -> str:
        """What this machine lacks for it, if anything."""
        needed = (self.compiler, *([self.runner] if self.runner else []))
        return next((name for name in needed if shutil.which(name) is None), "")


def builds() -> Iterator[Build]:
    for compiler in ("gcc", "clang"):
        for flags in NATIVE:
            linker = ["-fuse-ld=lld"] if compiler == "clang" and "lto" in flags else []
            yield Build(compiler, (*flags.split(), *linker))
    # gcc fuses across statements by it; clang would too, whatever the sources say.
    yield Build("gcc", ("-O3", "-march=native", "-ffp-contract=fast"))
    for target, (runner, needed) in TARGETS.items():
        for flags in FOREIGN:
            yield Build(f"{target}-gcc", (flags, *needed, "-static"), runner, target)
        clang = ("-O3", *needed, f"--target={target}", "-static")
        yield Build("clang", clang, runner, target)


KERNEL = sorted((ROOT / "csrc").glob("*.c"))


def command(
    compiler: str, flags: Sequence[str], source: str, out: Path, kernel: Sequence[Path] = KERNEL
) -> list[str]:
    """Build a program from a source and the kernel, or that part of it which the source does not include."""
    include = ["-I", str(ROOT / "src/fastinit/include")]
    return [
        compiler,
        *flags,
        *include,
        str(ROOT / source),
        *map(str, kernel),
        "-lm",
        "-o",
        str(out),
    ]


def outcome(build: Build) -> tuple[bool, str]:
    """Whether all is well, and the rest of its row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "test"
        compile_it = command(build.compiler, list(build.flags), C_TESTS, program)
        done = subprocess.run(compile_it, capture_output=True, text=True)
        if done.returncode:
            error = next((x for x in done.stderr.splitlines() if "error" in x), "")
            return False, f" not built: {error} | | |"
        run_it = [*([build.runner] if build.runner else []), str(program), str(GOLDEN)]
        done = subprocess.run(run_it, capture_output=True, text=True)
    tiers = re.findall(r"^tested (\w+)$", done.stdout, re.MULTILINE)
    lines = len(GOLDEN.read_text().splitlines()) * len(tiers)
    wrong = done.stdout.count("FAILED: golden hash")
    summary = re.search(r"\d+ passed, \d+ failed", done.stdout)
    last = summary[0] if summary else f"status {done.returncode}"
    good = done.returncode == 0 and bool(tiers)
    return good, f" {lines - wrong} of {lines} | {', '.join(tiers)} | {last} |"


def main() -> int:
    print(
        "| compiler | flags | target | golden lines | tiers | checks |\n|---|---|---|---|---|---|"
    )
    bad = 0
    for build in builds():
        if not all(word in str(build) for word in sys.argv[1:]):
            continue
        good, row = (True, f" no {build.missing} | | |") if build.missing else outcome(build)
        bad += not good
        print(f"{build}{row}", flush=True)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
