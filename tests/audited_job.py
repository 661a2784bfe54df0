"""A job for every part of the package that works without a framework, watched by an audit hook.

    python -B tests/audited_job.py FOLDER [OFFENCE]

prints what the package must not do: sockets, processes, pickles, code from data, files written outside of FOLDER.
The job runs twice: modules that are imported late are code too, and the second time there are none. An offence is
committed on purpose, to see that it is noticed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
NEVER = (
    "ftplib.", "http.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pickle.", "pty.",
    "smtplib.", "socket.", "subprocess.", "urllib.", "webbrowser.",
)  # fmt: skip
CODE = ("compile", "exec")
OFFENCES = {
    "socket": lambda: socket.socket(),
    "process": lambda: subprocess.run(["true"]),
    "shell": lambda: os.system("true"),
    "pickle": lambda: pickle.loads(pickle.dumps(os.system)),
    "eval": lambda: eval("1"),
    "file": lambda: open("/dev/null", "wb").close(),
    "folder": lambda: os.mkdir("/dev/null/folder"),
    "rename": lambda: os.rename("/dev/null/a", "/dev/null/b"),
}

imports_are_over = False
found: list[str] = []


def is_parsing(event: str, arguments: tuple[Any, ...]) -> bool:
    """NumPy parses the headers of .npy files by ast.literal_eval, which compiles nothing."""
    return event == "compile" and arguments[1] == "<unknown>"


#: How many of the first arguments are paths that change.
CHANGES = {
    "os.chmod": 1, "os.link": 2, "os.mkdir": 1, "os.remove": 1, "os.rename": 2, "os.rmdir": 1, "os.symlink": 2,
    "os.truncate": 1,
}  # fmt: skip


def is_writing_elsewhere(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        paths = arguments[:1]
    else:
        paths = arguments[: CHANGES.get(event, 0)]
    # Numbers are files that are open, which were looked at then.
    named = [os.fsdecode(path) for path in paths if not isinstance(path, int)]
    return not all(Path(path).resolve().is_relative_to(FOLDER) for path in named)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    code = imports_are_over and event in CODE and not is_parsing(event, arguments)
    if event.startswith(NEVER) or code or is_writing_elsewhere(event, arguments):
        found.append(f"{event} {arguments!r:.200}")


def job(folder: Path) -> None:
    import fastinit as fi
    from fastinit.cli import main

    folder.mkdir()
    os.chdir(folder)
    w = fi.he_normal((1000, 1000), seed=0, threads=2)
    fi.glorot_uniform.fill(w[::2], seed=1, stream="w")
    fi.he_normal.shard((1000, 1000), (..., 5), seed=0)
    fi.random_words(10, seed=None)
    tensors = [
        fi.Tensor("a", (100, 200), fi.he_normal),
        fi.Tensor("b", (200,), fi.zeros, "float16"),
    ]
    model = fi.Model(tensors)
    Path("spec.json").write_text(model.to_json())
    for kind in ("safetensors", "npy", "raw"):
        name = f"model.{kind}" if kind == "safetensors" else f"as-{kind}"
        model.write(name, seed=1, format=kind)
        assert not model.differences(name, seed=1)
        model.check(name)
    for command in (
        "info",
        "fill --init he_normal --shape 100x200 --seed 1 -o w.npy",
        "spec spec.json",
        "model spec.json --seed 1 --max-shard-size 50KB -o m.safetensors",
        "spec m.safetensors.index.json",
        "check m.safetensors.index.json",
        "check m.safetensors.index.json --exact",
        "check as-npy spec.json --exact --seed 1",
        "model spec.json --seed 1 --max-shard-size 50KB -o folder/",
        "check folder spec.json --exact --seed 1",
    ):
        assert main(command.split()) == 0, command


def main() -> None:
    global imports_are_over
    sys.addaudithook(watch)
    with contextlib.redirect_stdout(sys.stderr):  # of the command line
        job(FOLDER / "first")
        imports_are_over = True
        job(FOLDER / "second")
    if len(sys.argv) > 2:
        with contextlib.suppress(OSError):  # told of before it is tried
            OFFENCES[sys.argv[2]]()
    print(*found, sep="\n", end="")


if __name__ == "__main__":
    main()
