"""Fuzz the readers of files by coverage (atheris, libFuzzer), for as long as one likes:

    pip install atheris .
    python tests/reliability/fuzz.py -max_total_time=3600 -rss_limit_mb=1500 -timeout=120 -max_len=4000 CORPUS

The first byte of an input chooses the kind of file, the others are its content; CORPUS, a folder, starts with the valid
samples of `tests/hostile.py`. Any exception but the documented ones, an error that does not name the file, more
memory or time than the limits, and any file that changes end the run, with the input in a file `crash-...`.
`python tests/reliability/fuzz.py crash-...` reads it again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))
with atheris.instrument_imports(include=["fastinit", "tomllib", "json"]):
    import hostile


def kind_and_content(data: bytes) -> tuple[str, bytes]:
    """Of a .safetensors file with an even first byte, the length of the header is put right."""
    first, content = data[0], data[1:]
    kind = hostile.KINDS[first // 2 % len(hostile.KINDS)]
    if kind == "safetensors" and first % 2 == 0:
        header, _, elements = content.partition(b"\0")
        content = hostile.with_length(header, elements)
    return kind, content


def write_corpus(folder: Path, samples: hostile.Folder) -> None:
    for i, kind in enumerate(hostile.KINDS):
        content = samples.contents[kind]
        (folder / f"sample-{kind}").write_bytes(bytes([2 * i + 1]) + content)
        if kind == "safetensors":
            header, elements = hostile.without_length(content)
            (folder / "sample-header").write_bytes(bytes([2 * i]) + header + b"\0" + elements)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        samples = hostile.Folder(Path(scratch) / "samples")
        for argument in sys.argv[1:]:
            if Path(argument).is_dir():
                write_corpus(Path(argument), samples)
                break
        runs = 0

        def test_one_input(data: bytes) -> None:
            nonlocal runs
            if not data:
                return
            kind, content = kind_and_content(data)
            samples.try_content(kind, content)
            runs += 1
            if runs % 1000 == 0:
                samples.check_unchanged()

        atheris.Setup(sys.argv, test_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
