"""Fill the golden cases by a shared library that a test has built, in a process of its own.

    shared_library.py LIBRARY GOLDEN

prints, for each instruction set, how many cases were right, refused by the check of the build, and wrong.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

DTYPES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}  # fmt: skip
OK, ERR_BUILD = 0, 11  # fastinit_status
#: More than fastinit_distribution takes.
DISTRIBUTION = ctypes.c_char * 256


def load(path: str) -> ctypes.CDLL:
    library = ctypes.CDLL(path)
    library.fastinit_available_isa.restype = ctypes.c_char_p
    library.fastinit_available_isa.argtypes = [ctypes.c_size_t]
    library.fastinit_stream_key.restype = ctypes.c_uint64
    library.fastinit_stream_key.argtypes = [ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t]
    library.fastinit_fill.argtypes = [
        ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p,
    ]  # fmt: skip
    return library


def outcome(library: ctypes.CDLL, line: str) -> str:
    dtype, name, *parameters, seed, stream, index, n, sha = line.split()
    real = [ctypes.c_double(float(p)) for p in parameters if p != "-"]
    d, code = DISTRIBUTION(), list(DTYPES).index(dtype)
    if getattr(library, f"fastinit_{name}")(d, code, *real) != OK:
        return "wrong"
    key = library.fastinit_stream_key(int(seed), stream.encode(), len(stream))
    out = ctypes.create_string_buffer(int(n) * DTYPES[dtype])
    status = library.fastinit_fill(d, key, int(index), int(n), out)
    if status != OK:
        return "refused" if status == ERR_BUILD else "wrong"
    return "right" if hashlib.sha256(out.raw).hexdigest() == sha else "wrong"


def instruction_sets(library: ctypes.CDLL) -> Iterator[bytes]:
    i = 0
    while (name := library.fastinit_available_isa(i)) is not None:
        yield name
        i += 1


def main() -> None:
    library = load(sys.argv[1])
    lines = [x for x in Path(sys.argv[2]).read_text().splitlines() if not x.startswith("uint32")]
    for isa in instruction_sets(library):
        assert library.fastinit_set_isa(isa) == OK
        found = Counter(outcome(library, line) for line in lines)
        print(isa.decode(), *(found[kind] for kind in ("right", "refused", "wrong")))


if __name__ == "__main__":
    main()
