"""The extension module; everything else is in pyproject.toml.

FASTINIT_CFLAGS and FASTINIT_LDFLAGS in the environment are added to the
compiler's and the linker's flags (sanitizers, coverage, debugging).
"""

import os
import shlex
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# Free-threaded CPython has no stable ABI yet: build for the version at hand there.
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")

# The stream forbids fused multiply-add: no two machines would agree on where to use it. gnu11, not c11: gcc
# would compute floats as doubles on s390x.
UNIX_FLAGS = ["-O3", "-g0", "-std=gnu11", "-ffp-contract=off", "-fvisibility=hidden"]
flags = ["/O2", "/std:c11"] if sys.platform == "win32" else UNIX_FLAGS

kernel = Extension(
    "fastinit._kernel",
    sources=["src/fastinit/_kernel.pyx", *sorted(map(str, Path("csrc").glob("*.c")))],
    depends=["src/fastinit/include/fastinit.h", *sorted(map(str, Path("csrc").glob("*.h")))],
    include_dirs=["src/fastinit/include", "csrc"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if ABI3 else [],
    py_limited_api=ABI3,
    extra_compile_args=flags + shlex.split(os.environ.get("FASTINIT_CFLAGS", "")),
    extra_link_args=shlex.split(os.environ.get("FASTINIT_LDFLAGS", "")),
)

setup(
    ext_modules=cythonize([kernel], build_dir="build"),
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
)
