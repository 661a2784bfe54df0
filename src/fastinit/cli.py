"""The command line: ``fastinit fill``, ``model``, ``check``, ``spec`` and ``info``."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import io
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np

import fastinit as fi
from fastinit._kernel import DTYPE_SIZES
from fastinit.check import notes, table, totals
from fastinit.checks import counted, printable, readable_bytes, shown, without_middle
from fastinit.defaults import summary
from fastinit.dtypes import is_fillable
from fastinit.files import NPY
from fastinit.fill import dtype_name, output_dtype
from fastinit.model import FORMATS, names_folder, recorded_model
from fastinit.moments import Moments
from fastinit.plot import check_drawable, histograms
from fastinit.spec import CLASSES, READY_MADE, parse_initializer, parse_rule
from fastinit.streams import MAX_UINT64, seed_value
from fastinit.theory import has_theory, theory

#: A progress bar appears when the work takes longer than this.
PROGRESS_AFTER_SECONDS = 0.5
#: What the bar of a writer says when all bytes are in files: they may still be on their way to the disk.
FLUSHING = "waiting for the disk"
#: Below these many bytes the time is that of making a file, and no rate is printed.
LEAST_RATED = 2**20
#: Characters of an error.
LONGEST_MESSAGE = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0; 1 for errors, and where `check` finds something; 2 for errors of `check`. Errors of usage exit with 2.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that the terminal cannot show
    arguments = _parser().parse_args(argv)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, _terminate)
    try:
        with _warnings_on_one_line():
            status: int = arguments.run(arguments) or 0
    except (ValueError, TypeError, ImportError, OSError, MemoryError) as error:
        print("fastinit:", _one_line(str(error) or type(error).__name__), file=sys.stderr)
        return 2 if arguments.run is _run_check else 1
    except KeyboardInterrupt:
        print("fastinit: interrupted", file=sys.stderr)
        return 130
    return status


@contextmanager
def _warnings_on_one_line() -> Iterator[None]:
    """Print warnings as errors are, each once."""
    printed: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = _one_line(str(message))
        if text not in printed:
            printed.add(text)
            print("fastinit: warning:", text, file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _one_line(message: str) -> str:
    """What came with a message may be of any length, and of any characters."""
    return without_middle(printable(message), LONGEST_MESSAGE)


class _Parser(argparse.ArgumentParser):
    """With errors of one line, also about ``--shape=--``, which argparse takes for an empty list."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        args = sys.argv[1:] if args is None else args
        for argument in args:
            if re.fullmatch("(--[a-z-]+=|-[a-z]=?)--", argument):
                self.error(f"expected a value, got {argument}")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        super().error(_one_line(message))


def _terminate(number: int, _: object) -> None:
    """Leave by an exception, so that unfinished files are removed."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fastinit", description=(fi.__doc__ or "").split("\n")[0])
    parser.add_argument("--version", action="version", version=f"fastinit {fi.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fill = commands.add_parser(
        "fill",
        help="write an initialised tensor to a .npy or .safetensors file",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_initializer_help(),
    )
    fill.add_argument("--init", required=True, type=_initializer, metavar="NAME[:KEY=VALUE,...]")
    fill.add_argument("--shape", required=True, type=parse_shape, metavar="4096x14336")
    fill.add_argument("--dtype", default="float32", help=", ".join(DTYPE_SIZES))
    fill.add_argument(
        "--seed", type=_seed, help="in [0, 2**64); fresh entropy by default, and printed"
    )
    fill.add_argument("--stream", default="", help="name of the stream of values (default: none)")
    fill.add_argument(
        "--name", help="name of the tensor in a .safetensors file (default: FILE, without its end)"
    )
    fill.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="FILE.npy or FILE.safetensors"
    )
    fill.add_argument(
        "--no-measure",
        dest="measure",
        action="store_false",
        help="leave out mean, std, min and max, which are measured while the file is written",
    )
    fill.set_defaults(run=_run_fill)

    model = commands.add_parser("model", help="write all tensors of a model to files")
    _add_spec(model)
    model.add_argument("--seed", required=True, type=_seed, help="in [0, 2**64)")
    model.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="NAME.safetensors, NAME.npy for one tensor, FOLDER/ for what from_pretrained loads "
        "(model.safetensors, and the config if SPEC is one), or a folder with --format",
    )
    model.add_argument(
        "--format", choices=FORMATS, help="npy and raw make a folder (default: by the name of OUT)"
    )
    model.add_argument(
        "--max-shard-size",
        type=parse_bytes,
        metavar="5GB",
        help="the most bytes of tensors in one file; a larger model gets several files and an index (default: no "
        "limit, and 50GB in FOLDER/)",
    )
    model.add_argument(
        "--memory", type=parse_bytes, metavar="500MB", help="the most that the process may use"
    )
    model.add_argument("--rank", type=int, default=0, help="write the portion of this process only")
    model.add_argument("--world", type=int, default=1, help="how many processes there are")
    model.set_defaults(run=_run_model)

    check = commands.add_parser(
        "check",
        help="measure the tensors of a file beside what they should be",
        description="The status is 0 if nothing is flagged and nothing differs, 1 if something is or does "
        "(a tensor that SPEC does not know, or that is missing in FILE, counts), and 2 if FILE or SPEC "
        "cannot be read.",
    )
    check.add_argument(
        "file", type=Path, metavar="FILE", help="safetensors, an index, .npy, a folder"
    )
    _add_spec(check, nargs="?")
    check.add_argument("--exact", action="store_true", help="compare every bit instead")
    check.add_argument("--seed", type=_seed, help="for --exact (default: as recorded in the file)")
    check.add_argument(
        "--plot",
        type=Path,
        metavar="OUT.png",
        help="draw all tensors at a glance, and histograms of some (matplotlib)",
    )
    check.set_defaults(run=_run_check)

    spec = commands.add_parser(
        "spec",
        help="print a model as a spec in JSON",
        description="Prints a spec in JSON, and on standard error how many tensors, parameters and bytes it has.",
    )
    _add_spec(spec)
    spec.set_defaults(run=_run_spec)

    info = commands.add_parser("info", help="print versions, instruction sets and threads")
    info.set_defaults(run=_run_info)
    for command in (fill, model, check):
        command.add_argument("--threads", type=int, help="default: the CPUs this process may use")
    return parser


def _add_spec(command: argparse.ArgumentParser, nargs: str | None = None) -> None:
    command.add_argument(
        "spec",
        nargs=nargs,
        metavar="SPEC",
        help="a spec (.toml, .json); tensors to take names and shapes from; a config.json of Hugging "
        "Face (needs transformers); or module:callable, a factory that returns a PyTorch module: its "
        "code is run, and may be in the current folder",
    )
    command.add_argument(
        "--head",
        metavar="CLASS",
        help="the class of a config's model, such as BertForMaskedLM or causal-lm (default: the "
        "first of its architectures)",
    )
    command.add_argument(
        "--tiny", action="store_true", help="make the sizes of a config small: at most 20 MB"
    )
    command.add_argument(
        "--arg",
        action="append",
        default=[],
        type=_factory_argument,
        metavar="KEY=VALUE",
        dest="arguments",
        help="an argument of a factory, may be repeated; VALUE is a Python literal, such as 3, True or [1, 2], or else a text",
    )
    command.add_argument(
        "--rule",
        action="append",
        default=[],
        type=_rule,
        metavar="GLOB=INIT",
        help="an initializer (or skip, to leave them out) for tensors whose names match, in place of SPEC's; may be "
        "repeated, the first match counts; '*=he_normal:min_axes=2' is for tensors of at least two axes",
    )
    command.add_argument(
        "--no-strict",
        dest="strict",
        action="store_false",
        help="accept rules that match no tensor",
    )
    command.add_argument(
        "--dtype",
        choices=DTYPE_SIZES,
        help="the dtype of all tensors, except integers and other dtypes for constants",
    )


#: Words that are no Python literals, and are hardly meant as texts.
OTHER_LITERALS = {"true": "True", "false": "False", "none": "None", "null": "None", "nil": "None"}


def _factory_argument(text: str) -> tuple[str, Any]:
    """``width=64`` as ("width", 64)."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, such as width=64, got {shown(text)}")
    if value not in ("True", "False", "None") and value.lower() in OTHER_LITERALS:
        literal = OTHER_LITERALS[value.lower()]
        raise argparse.ArgumentTypeError(
            f"expected a Python literal, {key}={literal}, or quotes within for a text, "
            f"{key}='\"{value}\"'; got {shown(text)}"
        )
    try:
        return key, ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return key, value


def _given_arguments(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, value in pairs:
        if key in given:
            raise ValueError(f"--arg {key} must be given once, got it twice")
        given[key] = value
    return given


def _rule(text: str) -> str:
    try:
        parse_rule(text)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _seed(text: str) -> int:
    with suppress(ValueError):
        if 0 <= (seed := int(text)) <= MAX_UINT64:
            return seed
    raise argparse.ArgumentTypeError(f"seed must be an int in [0, 2**64), got {shown(text)}")


def _initializer_help() -> str:
    lines = [
        "initializers:",
        f"  {', '.join(READY_MADE)}",
    ]
    for name, cls in CLASSES.items():
        defaults = {f.name: f.default for f in dataclasses.fields(cls)}
        fields = ",".join(
            f"{key}={value}" for key, value in defaults.items() if value not in (None, ())
        )
        lines.append(f"  {name}:{fields}")
    lines += [
        "Those that scale by fans count kernel x in x out; he_normal:axes=out_in and the like count",
        "PyTorch's out x in x kernel; in_axis=, out_axis= and batch_axis= name one axis each.",
    ]
    return "\n".join(lines)


def parse_shape(text: str) -> tuple[int, ...]:
    """``4096x14336`` as (4096, 14336)."""
    try:
        shape = tuple(int(n) for n in text.lower().split("x"))
    except ValueError:
        shape = (-1,)
    if any(n < 0 for n in shape):
        raise argparse.ArgumentTypeError(f"expected dimensions such as 4096x14336, got {text!r}")
    return shape


def _initializer(text: str) -> fi.Initializer:
    try:
        return parse_initializer(text)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_bytes(text: str) -> int:
    """``500MB`` or ``2GiB`` as a number of bytes."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 500MB or 2GiB, got {text!r}")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit.upper() or " "))


def _run_info(_: argparse.Namespace) -> None:
    rows = {
        "fastinit": fi.__version__,
        "stream version": fi.STREAM_VERSION,
        "instruction sets": ", ".join(fi.available_isas()),
        "in use": fi.isa(),
        "threads": fi.get_num_threads(),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
    for name, value in rows.items():
        print(f"{name:18}{value}")


def _run_fill(arguments: argparse.Namespace) -> None:
    seed, path = seed_value(arguments.seed), Path(os.path.realpath(arguments.output))
    dtype = dtype_name(output_dtype(arguments.dtype), "dtype")
    if names_folder(arguments.output):
        raise ValueError(f"path must end in .safetensors or .npy, got {shown(arguments.output)}")
    name, stream = arguments.name, arguments.stream
    if name is not None and path.suffix == ".npy":
        raise ValueError(f"--name is for .safetensors files: a .npy file has no name, got {name!r}")
    name = printable(path.stem or "-") if name is None else name
    tensor = fi.Tensor(name, arguments.shape, arguments.init, dtype, stream=stream)
    measures = arguments.measure and tensor.size and has_theory(tensor.resolve())
    moments = Moments(dtype, tensor.resolve()) if measures else None
    start = time.perf_counter()
    with Progress("fill", FLUSHING) as progress:
        fi.Model([tensor]).write(
            arguments.output,
            seed=seed,
            resume=False,
            threads=arguments.threads,
            progress=progress,
            observe=None if moments is None else lambda _, chunk: moments.add(chunk),
        )
    seconds = time.perf_counter() - start
    print(f"{printable(arguments.output)}: {dtype} {tensor.shape}, {readable_bytes(tensor.nbytes)}")
    if path.suffix == ".npy" and NPY[dtype].startswith("|V"):
        print(f"  .npy has no {dtype}: np.load(...).view(ml_dtypes.{dtype})")
    print(f"{tensor.init_with_axes}, seed {seed}, stream {stream!r}")
    _print_rate("filled", tensor.nbytes, tensor.size, seconds, arguments.threads)
    if moments is not None:
        _print_measured(moments, tensor.resolve(), dtype)


def _print_measured(measured: Moments, distribution: fi.Distribution, dtype: str) -> None:
    expected, values = theory(distribution, measured.size, dtype), counted(measured.size, "value")
    words = {
        "min": "bound" if expected.min_is_bound else f"median of the smallest of {values}",
        "max": "bound" if expected.max_is_bound else f"median of the largest of {values}",
    }
    print(f"\n{'':6}{'measured':>14}{'theory':>14}")
    for name in ("mean", "std", "min", "max"):
        known = getattr(expected, name)
        known = 0.0 if abs(known) < 1e-12 * expected.std else known  # the mean, but for rounding
        row = f"{name:6}{getattr(measured, name):14.6g}{known:14.6g}"
        print(f"{row}  {words.get(name, '')}".rstrip())
    for note in notes(distribution, dtype):
        print(f"\n{note}")


def _print_rate(done: str, nbytes: int, size: int, seconds: float, threads: int | None) -> None:
    rate = ""
    if nbytes >= LEAST_RATED:
        rate = f" {_scaled(nbytes / seconds)}B/s, {_scaled(size / seconds)} elements/s"
    used = counted(threads or fi.get_num_threads(), "thread")
    print(f"{done} in {seconds:.3g} s{rate and ':'}{rate} ({fi.isa()}, up to {used})")


def _scaled(x: float) -> str:
    """A rate of at least 1000 with three digits and the decimal prefix of its unit: ``1.02 G``."""
    prefix = "k"
    for larger in "MGT":
        if float(f"{x / 1000:.3g}") < 1000:
            break
        x, prefix = x / 1000, larger
    return f"{x / 1000:.3g} {prefix}"


def _load(arguments: argparse.Namespace, report: TextIO | None = None) -> fi.Model:
    """The model of SPEC; what names alone gave is reported to `report`, the standard error by default."""
    with redirect_stdout(sys.stderr):  # what a factory prints is not part of a spec
        model = fi.Model.load(
            arguments.spec,
            rules=arguments.rule,
            strict=arguments.strict,
            head=arguments.head,
            tiny=arguments.tiny,
            arguments=_given_arguments(arguments.arguments),
        )
    for line in summary(model.defaults):
        print(printable(line), file=report or sys.stderr)
    if arguments.dtype is None:
        return model
    return model.with_tensors(
        dataclasses.replace(tensor, dtype=arguments.dtype) if is_fillable(tensor.dtype) else tensor
        for tensor in model
    )


def _run_spec(arguments: argparse.Namespace) -> None:
    model = _load(arguments)
    print(model.to_json(), end="", flush=True)
    tensors, parameters = counted(len(model), "tensor"), counted(model.size, "parameter")
    # Beside the JSON, which goes on to other programs.
    print(f"{tensors}, {parameters}, {readable_bytes(model.nbytes)}", file=sys.stderr)


def _run_model(arguments: argparse.Namespace) -> None:
    model = _load(arguments, sys.stdout)
    if arguments.dtype is not None and model.files and names_folder(arguments.output):
        raise ValueError(
            f"--dtype {arguments.dtype} would not be that of config.json in {arguments.output}: set dtype in "
            f"{arguments.spec}, or write a file instead of a folder"
        )
    start = time.perf_counter()
    with Progress("write", FLUSHING) as progress:
        complete = model.write(
            arguments.output,
            seed=arguments.seed,
            format=arguments.format,
            max_shard_size=arguments.max_shard_size,
            rank=arguments.rank,
            world=arguments.world,
            threads=arguments.threads,
            memory=arguments.memory,
            progress=progress,
        )
    seconds = time.perf_counter() - start
    portion = f", rank {arguments.rank} of {arguments.world}" if arguments.world > 1 else ""
    print(
        f"{arguments.output}: {counted(len(model), 'tensor')}, {counted(model.size, 'element')}, "
        f"{readable_bytes(model.nbytes)}, seed {arguments.seed}{portion}"
    )
    written = progress.written
    _print_rate(
        "written",
        written,
        int(model.size * written / max(model.nbytes, 1)),
        seconds,
        arguments.threads,
    )
    if not complete:
        print("portions of other ranks are missing: the files get their names when all are written")


def _run_check(arguments: argparse.Namespace) -> int:
    if arguments.exact and arguments.plot is not None:
        raise ValueError("--plot draws what is measured, and --exact measures nothing")
    if arguments.spec is None:
        _refuse_options_of_spec(arguments)
    model, seed, source = fi.Model([]), arguments.seed, f"what {arguments.file} records"
    if arguments.spec is None or (arguments.exact and seed is None):
        model, recorded = recorded_model(arguments.file)
        seed = recorded if seed is None else seed
    if arguments.spec is not None:
        model, source = _load(arguments), f"{arguments.spec}"
    if arguments.exact:
        return _run_exact(arguments, model, source, seed)
    if arguments.plot is not None:
        check_drawable(arguments.plot)
    with Progress("check") as progress:
        checked = model.check(arguments.file, threads=arguments.threads, progress=progress)
    print(table(checked))
    print(f"\n{totals(checked)}; theory: {source if len(model) else 'none'}")
    if arguments.plot is not None:
        print(
            f"{arguments.plot}: all tensors at a glance, and histograms of {histograms(checked, arguments.plot)}"
        )
    return 1 if any(one.flags for one in checked) else 0


def _refuse_options_of_spec(arguments: argparse.Namespace) -> None:
    if arguments.rule or arguments.dtype or arguments.head or arguments.tiny or arguments.arguments:
        raise ValueError("--rule, --dtype, --head, --tiny and --arg are about SPEC: none is given")


def _run_exact(
    arguments: argparse.Namespace, model: fi.Model, source: str, seed: int | None
) -> int:
    if seed is None or not len(model):
        missing = "--seed" if len(model) else "SPEC"
        raise ValueError(f"--exact needs {missing}: {arguments.file} records none")
    with Progress("check") as progress:
        found = model.differences(
            arguments.file, seed=seed, threads=arguments.threads, progress=progress
        )
    for line in found:
        print(line)
    verdict = (
        f"{len(found):,} differ{'s' if len(found) == 1 else ''} from" if found else "all exactly as"
    )
    print(f"{counted(len(model), 'tensor')}, {verdict} {source} with seed {seed}")
    return 1 if found else 0


class Progress:
    """Counts bytes, and shows a bar of them on a terminal if tqdm is there: the extra `progress`.

    `at_end` is what the bar says when all bytes are done.
    """

    def __init__(self, what: str, at_end: str = "") -> None:
        self.written = 0
        self._what, self._at_end = what, at_end
        self._bar: Any = None
        self._first: int | None = None
        self._start = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        if self._first is None:
            self._first = done
            with suppress(ImportError):
                from tqdm import tqdm

                self._bar = tqdm(
                    total=total,
                    initial=done,
                    unit="B",
                    unit_scale=True,
                    desc=self._what,
                    disable=None,
                    delay=PROGRESS_AFTER_SECONDS,
                    leave=False,
                )
        self.written = done - self._first
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            is_shown = time.monotonic() - self._start >= PROGRESS_AFTER_SECONDS
            if done == total and self._at_end and is_shown:
                self._bar.set_description(f"{self._what}, {self._at_end}")
