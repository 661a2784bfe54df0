"""Several copies of the C library in one process, and other libraries' names beside its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from machine import need
from reliability import builds

ROOT = builds.ROOT
INCLUDE = ["-I", str(ROOT / "src/fastinit/include")]
KERNEL = [str(path) for path in sorted((ROOT / "csrc").glob("*.c"))]
PUBLIC = {
    "fastinit_available_isa", "fastinit_fill", "fastinit_fill_region", "fastinit_isa",
    "fastinit_normal", "fastinit_random_words", "fastinit_set_isa", "fastinit_status_message",
    "fastinit_stream_key", "fastinit_truncated_normal", "fastinit_uniform",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _tools() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("about the dynamic linker of Linux")
    if shutil.which("nm") is None:
        pytest.skip("no nm on this machine")
    need("cc")


def cc(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["cc", "-O1", *INCLUDE, *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def symbols(path: Path, *options: str) -> set[str]:
    """Names that a linker sees: those that are defined and not local to a file."""
    done = subprocess.run(["nm", *options, str(path)], capture_output=True, text=True, check=True)
    return set(re.findall(r"^[0-9a-f]+ [A-TV-Z] (\w+)$", done.stdout, re.MULTILINE))


LIBFABRIC = """
    /* Of libfabric's <rdma/fi_domain.h> and others: its prefixes are fi_ and FI_ throughout. */
    enum fi_datatype { FI_INT8, FI_FLOAT, FI_DOUBLE, FI_FLOAT16, FI_BFLOAT16, FI_FLOAT8_E4M3, FI_FLOAT8_E5M2 };
    enum { FI_OK, FI_ERR_NULL, FI_ERR_INDEX };
    struct fi_status { int x; };
    typedef int fi_distribution;
    int fi_fill(void);
    #define FI_STREAM_VERSION 7
    #include "fastinit.h"
    int size = sizeof(fastinit_distribution) + FI_FLOAT16 + FASTINIT_FLOAT16;
"""


def test_beside_libfabric(tmp_path: Path) -> None:
    (tmp_path / "both.c").write_text(textwrap.dedent(LIBFABRIC))
    cc(tmp_path, "-Wall", "-Werror", "-c", "both.c")


def test_all_names_of_the_header_have_the_prefix() -> None:
    header = (ROOT / "src/fastinit/include/fastinit.h").read_text()
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    defined = re.findall(r"^#define (\w+)", code, re.MULTILINE)
    declared = re.findall(r"\b(\w+)\(", re.sub(r"^#.*$", "", code, flags=re.MULTILINE))
    typed = re.findall(r"^\} (\w+);", code, re.MULTILINE)
    assert {name for name in declared if name.startswith("fastinit")} == PUBLIC
    for name in [*defined, *declared, *typed]:
        assert name.lower().startswith("fastinit_"), name


PLUGIN = """
    #include "fastinit.h"
    __attribute__((visibility("default"))) const char *plugin_isa(void) { return fastinit_isa(); }
    __attribute__((visibility("default"))) void *plugin_fill(void) { return (void *)fastinit_fill; }
"""
HOST = """
    #include <dlfcn.h>
    #include <stdio.h>
    #include <string.h>
    #include "fastinit.h"
    int main(void)
    {
        void *plugin = dlopen("./plugin.so", RTLD_NOW | RTLD_GLOBAL);
        if (!plugin) {
            puts(dlerror());
            return 1;
        }
        const char *(*plugin_isa)(void) = (const char *(*)(void))dlsym(plugin, "plugin_isa");
        void *(*plugin_fill)(void) = (void *(*)(void))dlsym(plugin, "plugin_fill");
        const char *widest = fastinit_available_isa(0);
        fastinit_set_isa("scalar");
        printf("%s %s %s\\n", fastinit_isa(), strcmp(plugin_isa(), widest) ? "not its own" : "its own",
               plugin_fill() == (void *)fastinit_fill ? "one copy" : "two copies");
        return 0;
    }
"""


def test_a_plugin_has_its_own_copy(tmp_path: Path) -> None:
    """A program and a plugin that it loads, each with a static copy: what one sets, the other does not see."""
    (tmp_path / "plugin.c").write_text(textwrap.dedent(PLUGIN))
    (tmp_path / "host.c").write_text(textwrap.dedent(HOST))
    cc(tmp_path, "-shared", "-fPIC", "plugin.c", *KERNEL, "-lm", "-o", "plugin.so")
    cc(tmp_path, "-rdynamic", "host.c", *KERNEL, "-lm", "-ldl", "-o", "host")
    done = subprocess.run(["./host"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "scalar its own two copies\n"
    assert symbols(tmp_path / "plugin.so", "-D") == {"plugin_isa", "plugin_fill"}
    assert not {name for name in symbols(tmp_path / "host", "-D") if "fastinit" in name}


def test_a_shared_library_exports_the_interface_alone(tmp_path: Path) -> None:
    cc(tmp_path, "-DFASTINIT_SHARED", "-shared", "-fPIC", *KERNEL, "-lm", "-o", "libfastinit.so")
    assert symbols(tmp_path / "libfastinit.so", "-D") == PUBLIC
    (tmp_path / "use.c").write_text(
        '#include "fastinit.h"\nint main(void) { return !fastinit_isa(); }\n'
    )
    cc(tmp_path, "-DFASTINIT_SHARED", "use.c", "-L.", "-lfastinit", "-Wl,-rpath,.", "-o", "use")
    assert subprocess.run(["./use"], cwd=tmp_path).returncode == 0


TWO = """
    #include "fastinit.h"
    int NAME(void) { return fastinit_set_isa("scalar") == FASTINIT_OK && fastinit_fill(NULL, 0, 0, 0, NULL) == FASTINIT_ERR_NULL; }
"""


def test_two_copies_in_one_program(tmp_path: Path) -> None:
    """With different prefixes two static copies link into one program; no name of theirs is without its prefix."""
    (tmp_path / "two.c").write_text(textwrap.dedent(TWO))
    objects = []
    for prefix in ("one_", "two_"):
        folder = tmp_path / prefix
        folder.mkdir()
        cc(
            folder,
            f"-DFASTINIT_PREFIX={prefix}",
            f"-DNAME={prefix}works",
            "-c",
            *KERNEL,
            "../two.c",
        )
        for made in sorted(folder.glob("*.o")):
            objects.append(str(made))
            assert all(name.startswith(prefix) for name in symbols(made)), made
    (tmp_path / "main.c").write_text(
        "int one_works(void);\nint two_works(void);\nint main(void) { return !(one_works() && two_works()); }\n"
    )
    cc(tmp_path, "main.c", *objects, "-lm", "-o", "main")
    assert subprocess.run(["./main"], cwd=tmp_path).returncode == 0
