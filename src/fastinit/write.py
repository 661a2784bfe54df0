"""Tensors into files: piece by piece from several threads and processes, in bounded memory, and to be gone on with.

While the files of an output are unfinished they live in a folder of their own next to it, together with a map of the
pieces that are there. A piece depends on nothing but its place, so whoever writes it, when and how often does not
matter: threads, processes of one job and runs after a kill share the map and nothing else.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import re
import shutil
import stat
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path

import numpy as np

from fastinit import _kernel
from fastinit.checks import check_callback, check_int, readable_bytes, shortened
from fastinit.computed import Prepared, flat_boxes, forget_wholes
from fastinit.dtypes import constant_bytes, stored_dtype
from fastinit.files import RAW_INDEX, Layout, is_index
from fastinit.fill import Array, c_strides, fill_strided, merge, stream_order
from fastinit.initializers import Computed
from fastinit.tensor import Tensor
from fastinit.threads import Progress, get_num_threads, share

try:
    import fcntl
except ImportError:  # not on Windows, where processes cannot share an output
    fcntl = None  # type: ignore[assignment]

#: Bytes of a piece: as much as a core's cache holds, and enough for one call of a file system.
PIECE = 2**20
#: The buffers of threads are not made smaller than this, whatever the memory.
LEAST_BUFFER = 2**16
#: Bytes that a thread writes before it waits for the disk to have them. Without, a write seems to stand still at its end:
#: memory takes gigabytes at once, and the disk seconds for each.
FLUSHED_BYTES = 2**28
#: Bytes of the state before the map of pieces, with room for the hosts of a job.
STATE_HEADER = 2**16

#: Links are not followed, and nobody is waited for at the other end of a pipe; not on Windows.
NO_FOLLOW, NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)

#: Errors that are about the disk, not about a file.
FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}

#: Called from worker threads with a tensor and bytes of whole elements of it, which are overwritten afterwards.
Observer = Callable[[Tensor, Array], None]

STATE = "state"
#: Of files until they are finished.
PARTIAL = ".partial"


class Pieces:
    """The pieces of an output: headers, and stretches of the tensors' elements, numbered through all files."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self.layouts = layouts
        # A segment is a header (of no tensor) or a tensor, somewhere in a file.
        self.segments: list[tuple[int, Tensor | None, int, int]] = []
        for i, layout in enumerate(layouts):
            self.segments.append((i, None, 0, len(layout.header)))
            offset = len(layout.header)
            for tensor in layout.tensors:
                self.segments.append((i, tensor, offset, tensor.nbytes))
                offset += tensor.nbytes
        self._files = [0, *accumulate(1 + len(layout.tensors) for layout in layouts)]
        sizes = [nbytes for *_, nbytes in self.segments]
        self._first = [0, *accumulate(-(-size // PIECE) for size in sizes)]
        self._before = [0, *accumulate(sizes)]
        self.nbytes = self._before[-1]

    def __len__(self) -> int:
        return self._first[-1]

    def find(self, piece: int) -> tuple[int, int, int]:
        """The segment of a piece, where the piece begins in it, and its size in bytes."""
        i = bisect_right(self._first, piece) - 1
        begin = (piece - self._first[i]) * PIECE
        return i, begin, min(PIECE, self.segments[i][3] - begin)

    def of_file(self, file: int) -> range:
        """The pieces of a file."""
        return range(self._first[self._files[file]], self._first[self._files[file + 1]])

    def bytes_before(self, piece: int) -> int:
        """Bytes of all pieces before one."""
        i = bisect_right(self._first, piece) - 1
        return self.nbytes if i == len(self.segments) else self._before[i] + self.find(piece)[1]

    def of_rank(self, rank: int, world: int) -> range:
        """Consecutive pieces, of as many bytes for each rank as for any other."""
        return range(self._from(rank, world), self._from(rank + 1, world))

    def _from(self, rank: int, world: int) -> int:
        if rank == world:
            return len(self)
        target = self.nbytes * rank // world
        i = bisect_right(self._before, target) - 1
        return self._first[i] + -(-(target - self._before[i]) // PIECE)


class State:
    """The map of an output's pieces in a file that its processes share: a byte for each, 1 where it is written."""

    def __init__(self, path: Path, plan: str, count: int) -> None:
        self.path, self._plan, self._count = path, plan, count
        self._fd = _open_own(path, os.O_RDWR | os.O_CREAT)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among the processes that share the output."""
        if fcntl is not None:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if fcntl is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def enter(self) -> None:
        """Take up the state that is there, or begin one; to be called alone."""
        host, boot = platform.node(), _boot_id()
        text = os.pread(self._fd, STATE_HEADER, 0).rstrip(b"\0")
        plan: str = self._plan
        boots: dict[str, str] = {}
        try:
            if text:
                header = json.loads(text)
                plan, boots = header["plan"], dict(header["boots"])
            else:
                os.ftruncate(self._fd, 0)  # a map without a header is worth nothing
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(
                f"{self.path}: not the state of an output; remove the folder"
            ) from None
        if plan != self._plan:
            raise ValueError(
                f"{self.path.parent}: an unfinished output of other tensors, another seed or version "
                "is in the way: finish it, or remove the folder"
            )
        if boots.get(host, boot) != boot:
            # What had not reached the disk when this machine went down is lost, whatever the map says.
            os.ftruncate(self._fd, 0)
            boots = {}
        os.ftruncate(self._fd, STATE_HEADER + self._count + 1)
        text = json.dumps({"plan": self._plan, "boots": boots | {host: boot}}).encode()
        if len(text) > STATE_HEADER:
            raise ValueError(f"{self.path}: too many hosts share this output")
        os.pwrite(self._fd, text.ljust(STATE_HEADER, b"\0"), 0)

    def missing(self, pieces: range) -> Array:
        """Those of `pieces` that are not written yet."""
        done = os.pread(self._fd, len(pieces), STATE_HEADER + pieces.start)
        return np.flatnonzero(np.frombuffer(done, np.uint8) == 0) + pieces.start

    def set_done(self, piece: int) -> None:
        os.pwrite(self._fd, b"\1", STATE_HEADER + piece)

    def forget(self, pieces: range) -> None:
        """Have pieces written again."""
        os.pwrite(self._fd, bytes(len(pieces)), STATE_HEADER + pieces.start)

    @property
    def is_ending(self) -> bool:
        """Whether all pieces are there, and files are on their way to their names."""
        return os.pread(self._fd, 1, STATE_HEADER + self._count) == b"\1"

    def end(self) -> None:
        os.pwrite(self._fd, b"\1", STATE_HEADER + self._count)

    def is_current(self) -> bool:
        """Whether the folder still holds this state: the process that ends an output removes it."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        os.close(self._fd)


def _boot_id() -> str:
    """What changes when the machine starts anew, where that can be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Output:
    """Files to be written into `folder`, of tensors with one seed.

    `replaced` are patterns of names that an older output had: files of such names go away.
    """

    def __init__(
        self,
        folder: Path,
        layouts: Sequence[Layout],
        extras: Mapping[str, bytes],
        seed: int,
        replaced: Sequence[str] = (),
        makes_folder: bool = False,
    ) -> None:
        self.folder, self.layouts, self.extras = folder, layouts, extras
        self._makes_folder = makes_folder
        self._replaced = [re.compile(pattern) for pattern in replaced]
        self.pieces = Pieces(layouts)
        # All of them now: an error must come before a file.
        self._sources = [
            None if tensor is None else Source(tensor, seed)
            for _, tensor, _, _ in self.pieces.segments
        ]
        self._plan = hashlib.blake2b(digest_size=16)
        self._plan.update(repr((_kernel.STREAM_VERSION, PIECE, dict(extras))).encode())
        for layout in layouts:
            self._plan.update(repr((layout.name, layout.header)).encode())
        for segment, source in zip(self.pieces.segments, self._sources, strict=True):
            made = None if source is None else (source.repeated or source.distribution, source.key)
            self._plan.update(repr((segment[1:], made)).encode())

    def write(
        self,
        working: Path,
        *,
        rank: int = 0,
        world: int = 1,
        threads: int | None = None,
        memory: int | None = None,
        progress: Progress | None = None,
        observe: Observer | None = None,
    ) -> bool:
        """Write what is missing of a rank's part into the folder `working`; returns whether the output is complete.

        A complete output is checked and moves to its names; `working` goes away then. `observe` is
        called with each chunk of a tensor that this call fills, while it is in a cache.
        """
        check_callback("progress", progress)
        check_callback("observe", observe)
        threads = get_num_threads() if threads is None else threads
        copies = 1 + any(source is not None and source.is_transposed for source in self._sources)
        threads, buffer_size = _buffers(threads, memory, copies)
        for name in (*self.extras, *(layout.name for layout in self.layouts)):
            target = self.folder / name
            if not stat.S_ISREG(_mode(target, stat.S_IFREG)):
                raise OSError(f"{target} is not a regular file, expected the name of one")
        self._check_space(working)
        part = self.pieces.of_rank(rank, world)
        state = self._open_state(working)
        try:
            with _Workers(working, buffer_size) as workers:
                self._write_pieces(state, part, workers, threads, progress, observe)
            with state.locked():
                if state.is_current():
                    if state.missing(range(len(self.pieces))).size:
                        return False
                    self._finish(working, state)
        except FileNotFoundError:
            with state.locked():  # not while another process moves the files
                if state.is_current():
                    raise  # else another process with the same part was faster, and has ended the output
        finally:
            state.close()
            forget_wholes()
        return True

    def _check_space(self, working: Path) -> None:
        """Refuse what does not fit on the disk, before anything is written."""
        existing = next(path for path in (self.folder, *self.folder.parents) if path.is_dir())
        free = shutil.disk_usage(existing).free
        left = self.pieces.nbytes - _used(working)
        if left > free:
            what = (
                f"{readable_bytes(left)} are to be written, and {readable_bytes(free)} are free: "
                "free some space, or write to another disk"
            )
            raise OSError(errno.ENOSPC, what, str(self.folder))

    def _open_state(self, working: Path) -> State:
        """The state of the output, with all files there."""
        while True:
            if self._makes_folder:
                self.folder.mkdir(exist_ok=True)
            if not stat.S_ISDIR(_mode(working, stat.S_IFDIR, follow_symlinks=False)):
                raise OSError(f"{working} is not a folder, expected one; remove it")
            # Another process may end its output here at any moment, and take the folder away.
            try:
                working.mkdir(exist_ok=True)
            except FileExistsError:
                continue
            try:
                state = State(working / STATE, self._plan.hexdigest(), len(self.pieces))
            except FileNotFoundError:
                continue
            try:
                with state.locked():
                    if state.is_current():
                        state.enter()
                        self._make_files(working, state)
                        return state
            except BaseException:
                state.close()
                raise
            state.close()

    def _make_files(self, working: Path, state: State) -> None:
        """Make the files that are missing, and let nobody trust a map of what they held."""
        if state.is_ending:
            return
        for i, layout in enumerate(self.layouts):
            path = _partial(working, i)
            fd = _open_own(path, os.O_RDWR | os.O_CREAT)
            try:
                if os.fstat(fd).st_size != layout.nbytes:
                    with _naming(path):
                        os.ftruncate(fd, 0)
                        os.ftruncate(fd, layout.nbytes)
                    state.forget(self.pieces.of_file(i))
            finally:
                os.close(fd)

    def _write_pieces(
        self,
        state: State,
        part: range,
        workers: _Workers,
        threads: int,
        progress: Progress | None,
        observe: Observer | None,
    ) -> None:
        missing = state.missing(part)
        total = self.pieces.bytes_before(part.stop) - self.pieces.bytes_before(part.start)
        written = total - sum(self.pieces.find(int(piece))[2] for piece in missing)
        counting = threading.Lock()

        def write_piece(n: int) -> None:
            nonlocal written
            piece = int(missing[n])
            size = self._write_piece(piece, workers.of_this_thread(), observe)
            state.set_done(piece)
            with counting:
                written += size

        report = None if progress is None else lambda _: progress(written, total)
        if report is not None:
            report(0)
        share(write_piece, len(missing), threads, report)

    def _write_piece(self, piece: int, worker: _Worker, observe: Observer | None) -> int:
        i, begin, size = self.pieces.find(piece)
        file, tensor, offset, _ = self.pieces.segments[i]
        source = self._sources[i]
        what = self.layouts[file].name if tensor is None else f"tensor {shortened(tensor.name)}"
        with _naming(self.folder / self.layouts[file].name, what):
            fd = worker.open(file)
            if tensor is None or source is None:
                _write_all(fd, self.layouts[file].header[begin : begin + size], begin)
                return size
            for at in range(begin, begin + size, len(worker.buffer)):
                part = worker.buffer[: min(len(worker.buffer), begin + size - at)]
                source.fill(part, at)
                if observe is not None:
                    observe(tensor, part)
                _write_all(fd, part, offset + at)
            worker.has_written(size)
        return size

    def _finish(self, working: Path, state: State) -> None:
        """Check the files, make sure that they are on the disk, and give them their names, an index last."""
        was_ending = state.is_ending  # a run that was stopped here has moved some files already
        for i, layout in enumerate(self.layouts):
            path = _partial(working, i)
            moved = was_ending and not path.exists()
            _check_written(self.folder / layout.name if moved else path, layout)
        state.end()
        names = {*self.extras, *(layout.name for layout in self.layouts)}
        for path in self.folder.iterdir():
            # An older index would describe a mixture; other files of an older output would be left over.
            if path.name in self.extras or (
                path.name not in names
                and any(pattern.fullmatch(path.name) for pattern in self._replaced)
                and not path.is_dir()
            ):
                path.unlink()
        indexes = {name for name in self.extras if is_index(name) or name == RAW_INDEX}
        self._write_extras(working, self.extras.keys() - indexes)
        for i, layout in enumerate(self.layouts):
            if _partial(working, i).exists():
                _move(_partial(working, i), self.folder / layout.name)
        self._write_extras(working, indexes)
        (working / STATE).unlink()
        with suppress(OSError):  # unless another process begins anew there
            working.rmdir()

    def _write_extras(self, working: Path, names: Iterable[str]) -> None:
        for name in sorted(names):
            path = working / "extra"
            with open(path, "wb", opener=_open_own) as file:
                file.write(self.extras[name])
            _move(path, self.folder / name)


def _partial(working: Path, file: int) -> Path:
    """Where a file is until it is finished."""
    return working / f"{file}{PARTIAL}"


@contextmanager
def _naming(path: Path, what: str = "") -> Iterator[None]:
    """Add to errors of calls that know no more than a descriptor which file, and which tensor, they are about."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            detail = f"{error.strerror}: {what}" if what else error.strerror
            raise OSError(error.errno, detail, str(path)) from None
        raise


@contextmanager
def naming_output(given: Path, working: Path | None = None) -> Iterator[None]:
    """Name the output as the user did in errors about its temporary files and about the folder it goes into.

    A file in the folder `working`, which stays after an error, keeps its name where the user may have to
    remove it.
    """
    try:
        yield
    except OSError as error:
        about, target = Path(os.fsdecode(error.filename or "")), Path(os.path.realpath(given))
        is_temporary = any(path.name.endswith(PARTIAL) for path in (about, *about.parents))
        goes_through_a_file = error.errno == errno.ENOTDIR and target in about.parents
        if not (is_temporary or about == target or goes_through_a_file):
            raise
        if working in about.parents and error.errno not in FULL:
            raise
        detail = error.strerror
        folder = target.parent if given.parent.is_dir() else given.parent  # of a link, or as given
        if error.errno == errno.ENOENT and not folder.exists():
            detail = f"the folder {str(folder)!r} does not exist"
        elif error.errno == errno.ENOTDIR and not folder.is_dir():
            detail = f"{str(folder)!r} is not a folder"
        raise OSError(error.errno, detail, str(given)) from None


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder within another, which is gone afterwards."""
    working = Path(tempfile.mkdtemp(prefix=".fastinit.", suffix=PARTIAL, dir=folder))
    try:
        yield working
    finally:
        shutil.rmtree(working, ignore_errors=True)


class Source:
    """Makes the bytes of a tensor, from any of its elements on."""

    def __init__(self, tensor: Tensor, seed: int) -> None:
        self.tensor, self.key = tensor, tensor.key(seed)
        self.is_transposed = False
        self.repeated = b""  # the bytes of a constant, in a dtype that takes nothing else
        dtype = stored_dtype(tensor.dtype)
        resolved = tensor.resolve()
        if not dtype.fillable and not isinstance(resolved, Computed):
            self.repeated = constant_bytes(dtype, resolved)
            return
        self._seed, self._itemsize = seed, dtype.bits // 8
        try:
            self.distribution = tensor.prepare()
        except ValueError as error:
            raise ValueError(f"tensor {shortened(tensor.name)}: {error}") from None
        self._first, steps = tensor.positions
        # Axes as few as they can be: sizes, steps in the stream, and elements from one position to the next here.
        self._axes = merge(tensor.shape, steps, c_strides(tensor.shape)) or [(1, 1, 1)]
        steps = [step for _, step, _ in self._axes]
        self.is_transposed = stream_order(steps) != list(range(len(steps)))

    def fill(self, out: Array, begin: int) -> None:
        """Fill bytes with those from byte `begin` on; both are whole elements."""
        if self.repeated:
            for i, byte in enumerate(self.repeated):
                out[i :: len(self.repeated)] = byte
            return
        at, count = begin // self._itemsize, len(out) // self._itemsize
        if isinstance(self.distribution, Prepared):
            self._compute(self.distribution, out.view(f"u{self._itemsize}"), at)
        elif self._axes[0][1:] == (1, 1):
            _kernel.fill(self.distribution, self.key, self._first + at, out, 0, count)
        else:
            self._fill_boxes(self.distribution, out.view(f"u{self._itemsize}"), at)
        row = self.tensor.padding_idx
        if row is not None:
            nbytes = self.tensor.nbytes // self.tensor.shape[0]
            out[max(nbytes * row - begin, 0) : max(nbytes * (row + 1) - begin, 0)] = 0

    def _compute(self, distribution: Prepared, items: Array, begin: int) -> None:
        """Compute the elements from `begin` on, in the largest boxes."""
        tensor = self.tensor
        for at, ranges in flat_boxes(tensor.shape, begin, begin + items.size):
            sizes = [len(r) for r in ranges]
            part = items[at - begin : at - begin + math.prod(sizes)].reshape(sizes)
            box = tensor.box(tuple(slice(r.start, r.stop) for r in ranges))
            distribution.fill(part, self._seed, tensor.stream_name, tensor.whole, box, 1)

    def _fill_boxes(self, distribution: _kernel.Distribution, items: Array, begin: int) -> None:
        """Fill the elements from `begin` on, in the largest boxes, so that neighbours in the stream are made together."""
        at, stop = begin, begin + items.size
        sizes, steps, rows = (list(numbers) for numbers in zip(*self._axes, strict=True))
        while at < stop:
            axis = next(k for k, row in enumerate(rows) if at % row == 0 and row <= stop - at)
            row, left = rows[axis], sizes[axis] - at // rows[axis] % sizes[axis]
            count = min(left, (stop - at) // row)
            first = self._first + sum(at // row % n * step for n, step, row in self._axes)
            box = items[at - begin : at - begin + count * row].reshape(count, *sizes[axis + 1 :])
            self._fill_box(distribution, box, first, steps[axis:])
            at += count * row

    def _fill_box(
        self, distribution: _kernel.Distribution, box: Array, first: int, steps: Sequence[int]
    ) -> None:
        order = stream_order(steps)
        box = box.transpose(order)
        # Transposed, in the order of the stream first: to write each element to its place takes three times as long.
        made = np.empty(box.shape, box.dtype) if self.is_transposed else box
        fill_strided(made, distribution, self.key, first, [steps[axis] for axis in order], 1)
        if made is not box:
            box[...] = made


def _buffers(threads: int, memory: int | None, copies: int) -> tuple[int, int]:
    """How many threads, and bytes of the buffer of each, for a process within `memory` bytes, with copies of buffers."""
    threads = check_int("threads", threads, 1)
    if memory is None:
        return threads, PIECE
    memory = check_int("memory", memory, 1)
    room = (memory - resident_memory()) // copies
    if room < LEAST_BUFFER:
        least = -(-(resident_memory() + LEAST_BUFFER * copies) // 2**20)
        raise ValueError(f"memory must be at least {least} MiB, got {readable_bytes(memory)}")
    threads = min(threads, room // LEAST_BUFFER)
    return threads, min(PIECE, room // threads // LEAST_BUFFER * LEAST_BUFFER)


def resident_memory() -> int:
    """The most bytes of memory that this process has had so far."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


class _Worker:
    """What a thread works with: a buffer, and the file that it last wrote to."""

    def __init__(self, working: Path, buffer_size: int) -> None:
        self.buffer = np.empty(buffer_size, np.uint8)
        self._working = working
        self._file, self._fd = -1, -1
        self._unflushed = 0

    def open(self, file: int) -> int:
        if file != self._file:
            self.close()
            self._fd = _open_own(_partial(self._working, file), os.O_WRONLY)
            self._file, self._unflushed = file, 0
        return self._fd

    def has_written(self, nbytes: int) -> None:
        self._unflushed += nbytes
        if self._unflushed >= FLUSHED_BYTES:
            os.fsync(self._fd)
            self._unflushed = 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._file, self._fd = -1, -1


class _Workers:
    """A worker for each thread, made when it first needs one."""

    def __init__(self, working: Path, buffer_size: int) -> None:
        self._arguments = (working, buffer_size)
        self._local = threading.local()
        self._all: list[_Worker] = []

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.close()

    def of_this_thread(self) -> _Worker:
        if not hasattr(self._local, "worker"):
            self._local.worker = _Worker(*self._arguments)
            self._all.append(self._local.worker)
        worker: _Worker = self._local.worker
        return worker


def _write_all(fd: int, data: Array | bytes, offset: int) -> None:
    """All of `data`: one call may write less, where a disk fills up or a signal comes."""
    view = memoryview(data)  # type: ignore[arg-type]  # arrays are buffers
    while len(view):
        n = os.pwrite(fd, view, offset)
        view, offset = view[n:], offset + n


def _used(working: Path) -> int:
    """Bytes that the files in the folder take on the disk already."""
    used = 0
    with suppress(FileNotFoundError):  # not there yet, or not any more
        for path in working.iterdir():
            with suppress(FileNotFoundError):  # moved meanwhile
                used += path.stat().st_blocks * 512
    return used


def _mode(path: Path, of_nothing: int, *, follow_symlinks: bool = True) -> int:
    """The mode of what has a name, looked up once: others make and remove such files meanwhile."""
    try:
        return os.stat(path, follow_symlinks=follow_symlinks).st_mode
    except FileNotFoundError:
        return of_nothing


def _open_own(path: str | Path, flags: int) -> int:
    """Open a file of the working folder, which others may write to: no link to a file elsewhere, nor a pipe."""
    fd = os.open(path, flags & ~os.O_TRUNC | NO_FOLLOW | NO_WAIT, 0o666)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(fd)
        raise OSError(
            f"{path} is a pipe or has other names, expected a file of the output; remove it"
        )
    if flags & os.O_TRUNC:
        os.ftruncate(fd, 0)
    return fd


def _check_written(path: Path, layout: Layout) -> None:
    """A file that is complete has its header and its size; it must also be on the disk before it has its name."""
    with open(path, "r+b", opener=_open_own) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size != layout.nbytes:
            raise OSError(f"{path}: not as it was written: {size} bytes, expected {layout.nbytes}")
        if file.read(len(layout.header)) != layout.header:
            raise OSError(f"{path}: not as it was written: its header has changed")
        os.fsync(file.fileno())


def _move(path: Path, target: Path) -> None:
    """Give a finished file its name, and the mode of the file that had it."""
    if target.exists():
        path.chmod(stat.S_IMODE(target.stat().st_mode))
    path.replace(target)
