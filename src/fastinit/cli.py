"""The command line: ``fastinit fill`` and ``fastinit info``."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

import fastinit as fi
from fastinit.fans import truncated_moments
from fastinit.fill import Array, Progress, output_dtype
from fastinit.streams import seed_value

READY_MADE = {name: value for name, value in vars(fi).items() if isinstance(value, fi.Initializer)}
CLASSES: dict[str, Any] = {
    "constant": fi.Constant,
    "uniform": fi.Uniform,
    "normal": fi.Normal,
    "truncated_normal": fi.TruncatedNormal,
    "variance_scaling": fi.VarianceScaling,
}
#: How the text of an option becomes a value, by the type of its default; axes are single integers.
CONVERTERS: dict[type, Callable[[str], Any]] = {float: float, str: str, int: int, tuple: int}
#: A progress bar appears when the work takes longer than this.
PROGRESS_AFTER_SECONDS = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, 1 for errors; usage errors exit with 2)."""
    arguments = _parser().parse_args(argv)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, _terminate)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, ImportError, OSError, MemoryError) as error:
        print(f"fastinit: {error or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fastinit: interrupted", file=sys.stderr)
        return 130
    return 0


def _terminate(number: int, _: object) -> None:
    """Leave by an exception, so that unfinished files are removed."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastinit", description=(fi.__doc__ or "").split("\n")[0])
    parser.add_argument("--version", action="version", version=f"fastinit {fi.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fill = commands.add_parser(
        "fill",
        help="write an initialised tensor to a .npy file",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_initializer_help(),
    )
    fill.add_argument(
        "--init", required=True, type=parse_initializer, metavar="NAME[:KEY=VALUE,...]"
    )
    fill.add_argument("--shape", required=True, type=parse_shape, metavar="4096x14336")
    fill.add_argument(
        "--dtype", default="float32", help="float32 (default), float64, float16, bfloat16"
    )
    fill.add_argument(
        "--seed", type=int, help="in [0, 2**64); fresh entropy by default, and printed"
    )
    fill.add_argument("--stream", default="", help="name of the tensor (default: none)")
    fill.add_argument("--threads", type=int, help="default: the CPUs that this process may use")
    fill.add_argument("-o", "--output", required=True, type=Path, metavar="FILE.npy")
    fill.set_defaults(run=_run_fill)

    info = commands.add_parser("info", help="print versions, instruction sets and threads")
    info.set_defaults(run=_run_info)
    return parser


def _initializer_help() -> str:
    lines = ["initializers:", f"  {', '.join(READY_MADE)}"]
    for name, cls in CLASSES.items():
        fields = ",".join(f"{f.name}={f.default}" for f in dataclasses.fields(cls))
        lines.append(f"  {name}:{fields}".replace(" ", ""))
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


def parse_initializer(text: str) -> fi.Initializer:
    """``he_normal`` or ``truncated_normal:stddev=0.02,lower=-3`` as an initializer."""
    name, _, options = text.partition(":")
    if name in READY_MADE and not options:
        return READY_MADE[name]
    if name not in CLASSES:
        known = ", ".join(sorted({*READY_MADE, *CLASSES}))
        raise argparse.ArgumentTypeError(f"expected one of {known}, got {text!r}")
    cls = CLASSES[name]
    converters = {f.name: CONVERTERS[type(f.default)] for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key not in converters or key in values:
            raise argparse.ArgumentTypeError(
                f"expected options {', '.join(converters)} of {name}, each once, got {option!r}"
            )
        try:
            values[key] = converters[key](value)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"expected a number for {key}, got {value!r}"
            ) from None
    try:
        made: fi.Initializer = cls(**values)
        return made
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
    initializer: fi.Initializer = arguments.init
    shape, seed = arguments.shape, seed_value(arguments.seed)
    dtype = output_dtype(arguments.dtype)
    distribution = initializer.resolve(shape)
    distribution.prepare(dtype.name)  # any error in them comes before the file
    with _new_npy(arguments.output, shape, dtype) as array:
        start = time.perf_counter()
        with _progress(array.nbytes) as progress:
            initializer._fill(
                array, seed, arguments.stream, None, None, arguments.threads, progress
            )
        seconds = time.perf_counter() - start
        measured = measure(array)
    size = math.prod(shape)
    threads = arguments.threads or fi.get_num_threads()
    print(f"{arguments.output}: {dtype.name} {shape}, {_bytes(size * dtype.itemsize)}")
    if dtype.name == "bfloat16":
        print("  .npy has no bfloat16: np.load(...).view(ml_dtypes.bfloat16)")
    print(f"{initializer}, seed {seed}, stream {arguments.stream!r}")
    print(
        f"filled in {seconds:.3g} s: {size * dtype.itemsize / seconds / 1e9:.2f} GB/s, "
        f"{size / seconds / 1e6:.0f} M elements/s ({fi.isa()}, up to {threads} threads)"
    )
    expected = theory(distribution, size)
    print(f"\n{'':6}{'measured':>14}{'theory':>14}")
    for name, value in measured.items():
        print(f"{name:6}{value:14.6g}{expected[name]:14.6g}")


@contextmanager
def _new_npy(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Array]:
    """A memory map of a new .npy file, which gets its name when the block ends well."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file, expected the name of a .npy file")
    umask = os.umask(0)
    os.umask(umask)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~umask
    handle, name = tempfile.mkstemp(prefix=".fastinit.", suffix=".partial", dir=path.parent)
    os.close(handle)
    try:
        np.lib.format.open_memmap(name, "w+", _stored(dtype), shape)
        _reserve(name)
        array = (
            np.lib.format.open_memmap(name, "r+") if math.prod(shape) else np.empty(shape, dtype)
        )
        yield array.view(dtype)
        if isinstance(array, np.memmap):
            array.flush()
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in the file: .npy knows no bfloat16, which is stored as 2-byte void items."""
    return dtype if dtype.isbuiltin == 1 else np.dtype(f"V{dtype.itemsize}")


def _reserve(name: str) -> None:
    """Claim the file's blocks now: writing to the map of a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with open(name, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            os.posix_fallocate(file.fileno(), 0, size)


@contextmanager
def _progress(nbytes: int) -> Iterator[Progress | None]:
    """A progress bar on a terminal, if tqdm is there: the extra `progress`."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield None
        return
    with tqdm(
        total=nbytes,
        unit="B",
        unit_scale=True,
        desc="fill",
        disable=None,
        delay=PROGRESS_AFTER_SECONDS,
        leave=False,
    ) as bar:

        def report(done: int, size: int) -> None:
            bar.update(nbytes * done // size - bar.n)

        yield report


def measure(array: Array) -> dict[str, float]:
    """Mean, standard deviation, smallest and largest value, in blocks of fixed size."""
    flat = array.reshape(-1)
    if not flat.size:
        return dict.fromkeys(("mean", "std", "min", "max"), math.nan)
    shift, total, squares, low, high = float(flat[0]), 0.0, 0.0, math.inf, -math.inf
    for begin in range(0, flat.size, 2**20):
        block = flat[begin : begin + 2**20].astype(np.float64) - shift
        total += float(block.sum())
        squares += float(np.dot(block, block))
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    mean = total / flat.size
    std = math.sqrt(max(0.0, squares / flat.size - mean * mean))
    return {"mean": mean + shift, "std": std, "min": low + shift, "max": high + shift}


def theory(distribution: fi.Distribution, n: int) -> dict[str, float]:
    """What `measure` should find in `n` values: bounds, or the typical extremes of a normal."""
    match distribution:
        case fi.Constant(value):
            mean, std, low, high = value, 0.0, value, value
        case fi.Uniform(low, high):
            mean, std = (low + high) / 2, (high - low) / math.sqrt(12)
        case fi.Normal(mean, std):
            # The median of the largest of n values: Phi(x)**n = 1/2, Phi(-x) = 1 - 2**(-1/n).
            reach = -NormalDist().inv_cdf(-math.expm1(-math.log(2) / max(n, 1)))
            low, high = mean - reach * std, mean + reach * std
        case fi.TruncatedNormal(mean, stddev, lower, upper):
            low, high = mean + stddev * lower, mean + stddev * upper
            z_mean, z_std = truncated_moments(lower, upper)
            mean, std = mean + stddev * z_mean, stddev * z_std
        case _:
            raise TypeError(f"no theory of {distribution!r}")
    return {"mean": mean, "std": std, "min": low, "max": high}


def _bytes(n: int) -> str:
    size, units = float(n), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.4g} {units[0]}"
