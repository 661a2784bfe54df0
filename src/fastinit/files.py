"""Formats: where the tensors of a model lie in files, written and read; headers alone, no data."""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastinit.checks import counted, listed, shortened, shown
from fastinit.dtypes import BY_CODE, BY_NPY, DTYPES, stored_dtype
from fastinit.fans import MAX_DIMS
from fastinit.tensor import Tensor

#: The library refuses longer headers.
LONGEST_HEADER = 100_000_000
#: Bytes of a .npy file up to its elements; NumPy refuses headers of more than 10,000 characters.
LONGEST_NPY_HEADER = 2**16

#: Names of the dtypes in .npy files.
NPY = {dtype.name: dtype.npy for dtype in DTYPES.values() if dtype.npy is not None}

RAW_INDEX = "tensors.json"
#: Bytes of a file's name, on all usual file systems.
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the elements of one tensor lie: in C order and little endian, from `offset` on in the file `path`."""

    name: str
    dtype: str  # as fastinit names it (`fastinit.dtypes`), or as the file does where it has no such dtype
    shape: tuple[int, ...]
    path: Path
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A file to be written: a header, then the elements of its tensors, one after the other."""

    name: str
    header: bytes
    tensors: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors)


def safetensors_layout(
    name: str, tensors: Iterable[Tensor], record: Callable[[Sequence[Tensor]], dict[str, str]]
) -> Layout:
    """One .safetensors file, with a record of its tensors as metadata. Wider dtypes come first, so that all are aligned."""
    ordered = sorted(tensors, key=lambda tensor: -stored_dtype(tensor.dtype).bits)
    if any(tensor.name == "__metadata__" for tensor in ordered):
        raise ValueError(f"{name}: safetensors cannot have a tensor named '__metadata__'")
    header: dict[str, Any] = {"__metadata__": record(ordered)}
    offset = 0
    for tensor in ordered:
        header[tensor.name] = {
            "dtype": stored_dtype(tensor.dtype).code,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise ValueError(
            f"{name}: a header of {len(text)} bytes is above the limit of {LONGEST_HEADER}"
        )
    return Layout(name, len(text).to_bytes(8, "little") + text, tuple(ordered))


def split_by_size(tensors: Sequence[Tensor], limit: int | None) -> list[list[Tensor]]:
    """Consecutive groups of at most `limit` bytes; a tensor that is larger is a group of its own."""
    groups: list[list[Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        if groups[-1] and limit is not None and size + tensor.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.nbytes
    return groups


def safetensors_set(
    name: str,
    tensors: Sequence[Tensor],
    limit: int | None,
    record: Callable[[Sequence[Tensor]], dict[str, str]],
) -> tuple[list[Layout], dict[str, bytes]]:
    """The files of a model, and what else to write: the index, if there are several files."""
    groups = split_by_size(tensors, limit)
    if len(groups) == 1:
        return [safetensors_layout(name, tensors, record)], {}
    stem = name.removesuffix(".safetensors")
    layouts = [
        safetensors_layout(f"{stem}-{i:05}-of-{len(groups):05}.safetensors", group, record)
        for i, group in enumerate(groups, 1)
    ]
    files = {tensor.name: layout.name for layout in layouts for tensor in layout.tensors}
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors)},
        "weight_map": {tensor.name: files[tensor.name] for tensor in tensors},
    }
    return layouts, {f"{stem}.safetensors.index.json": json.dumps(index, indent=2).encode()}


def safetensors_names(name: str) -> list[str]:
    """Patterns of all file names that outputs of this name have."""
    stem = re.escape(name.removesuffix(".safetensors"))
    return [rf"{stem}\.safetensors(\.index\.json)?", rf"{stem}-\d{{5}}-of-\d{{5}}\.safetensors"]


def npy_header(tensor: Tensor) -> bytes:
    """The header of a .npy file."""
    if tensor.dtype not in NPY:
        raise ValueError(
            f"tensor {shortened(tensor.name)}: .npy files cannot hold {tensor.dtype}: write safetensors"
        )
    header = io.BytesIO()
    fields = {"descr": NPY[tensor.dtype], "fortran_order": False, "shape": tensor.shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def npy_set(tensors: Sequence[Tensor]) -> tuple[list[Layout], dict[str, bytes]]:
    """A .npy file for each tensor."""
    return [Layout(_file_name(t, ".npy"), npy_header(t), (t,)) for t in tensors], {}


def raw_set(tensors: Sequence[Tensor]) -> tuple[list[Layout], dict[str, bytes]]:
    """A file of bare elements for each tensor, and a list of their names, dtypes and shapes."""
    layouts = [Layout(_file_name(t, ".bin"), b"", (t,)) for t in tensors]
    index = {
        tensor.name: {"file": layout.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
        for tensor, layout in zip(tensors, layouts, strict=True)
    }
    return layouts, {RAW_INDEX: json.dumps(index, indent=2).encode()}


def _file_name(tensor: Tensor, suffix: str) -> str:
    name = tensor.name + suffix
    if "/" in name or "\0" in name or os.sep in name or len(os.fsencode(name)) > LONGEST_NAME:
        raise ValueError(f"tensor {shortened(tensor.name)}: its name cannot be that of a file")
    return name


#: What `read_stored` can read, for errors.
KNOWN_FORMATS = ".safetensors, their index (*.safetensors.index.json), .npy, or a folder of these or of raw files"
#: Names of indexes: the variant of a model may come before ".json".
_INDEX = re.compile(r".*\.index(\.[^./]+)?\.json", re.DOTALL)
#: How files of other formats begin, and what to do with them.
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive, as torch.save and np.savez write: save its tensors as .safetensors"),
    (b"\x80", "a pickle, as torch.save writes: save its tensors as .safetensors"),
    (b"\x89HDF\r\n\x1a\n", "HDF5: save its tensors as .safetensors"),
    (b"GGUF", "GGUF: save its tensors as .safetensors"),
    (b"\x93NUMPY", "what NumPy writes: give it a name that ends in .npy"),
    (b"{", "JSON: a config or a spec holds no tensors"),
    (b"[", "JSON, which holds no tensors"),
)  # fmt: skip


def is_index(name: str) -> bool:
    """Whether a file's name is that of an index, such as ``model.safetensors.index.fp16.json``."""
    return _INDEX.fullmatch(name) is not None


def read_stored(path: Path) -> list[Stored]:
    """The tensors of a file or folder: .safetensors, their index, .npy, or a folder of any of these or of raw files."""
    if path.is_dir():
        return _read_folder(path)
    if is_index(path.name):
        return _read_index(path)
    if path.suffix == ".npy":
        return [_read_npy(path)]
    return read_safetensors(path)[0]


def _read_folder(path: Path) -> list[Stored]:
    if (path / RAW_INDEX).is_file():
        return _read_raw(path)
    names = dict.fromkeys(sorted(os.listdir(path)))
    files = [name for name in names if name.endswith(".safetensors")]
    indexes = [name for name in names if ".safetensors.index." in name and is_index(name)]
    for name in files:
        both = [index for index in indexes if index.startswith(f"{name}.index.")]
        if both:
            raise ValueError(f"{path}: expected one model, got {name} and {both[0]}: name one")
    for found, what in ((indexes, "*.safetensors.index.json"), (files, "*.safetensors")):
        if len(found) > 1:
            raise ValueError(f"{path}: expected one file {what}, got {shown(found)}: name one")
        if found:
            one = path / found[0]
            return _read_index(one) if found is indexes else read_safetensors(one)[0]
    arrays = [path / name for name in names if name.endswith(".npy")]
    if not arrays:
        raise ValueError(f"{path}: expected .safetensors, .npy or raw files in it, got none")
    return [_read_npy(p) for p in arrays]


def regular_size(path: Path) -> int:
    """The size of a file, beyond which nothing should be read: pipes, devices and files of /proc may have no end."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path}: expected a regular file")
    return found.st_size


def read_regular(path: Path) -> bytes:
    """The content of a file that has an end."""
    size = regular_size(path)
    with path.open("rb") as file:
        return file.read(size)


def is_path(text: str) -> bool:
    """Whether an operating system can be asked for a path, whatever it answers."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _is_neighbour(name: str) -> bool:
    """Whether a text is the name of a file in some folder, and leads nowhere else."""
    if not is_path(name) or len(os.fsencode(name)) > LONGEST_NAME:
        return False
    return Path(name).name == name and name not in ("", "..")


def read_json(path: Path) -> Any:
    """The content of a JSON file; duplicate keys are errors."""
    return parse_json(path, read_regular(path))


def parse_json(path: Path, text: bytes) -> Any:
    """JSON as a value, with errors that name the file."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"the key {shortened(key)} occurs twice")
            result[key] = value
        return result

    try:
        return json.loads(text.decode(), object_pairs_hook=unique)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON in UTF-8: {error}") from None
    except ValueError as error:  # a key that occurs twice, an integer of thousands of digits
        raise ValueError(f"{path}: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None


def read_safetensors(path: Path) -> tuple[list[Stored], dict[str, str]]:
    """The tensors of a .safetensors file in the order of their offsets, and its metadata.

    Raises
    ------
    ValueError
        The header is cut short, too long or not JSON; an entry has unknown fields, or
        offsets that do not fit its shape, the file or its neighbours.
    """
    size = regular_size(path)
    with path.open("rb") as file:
        begin = file.read(min(size, 8))
        length = int.from_bytes(begin, "little")
        if size < 8 or length > size - 8 or length > LONGEST_HEADER:
            raise ValueError(f"{path}: {_no_header(begin, length, size)}")
        header = parse_json(path, file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{path}: expected a JSON object as header, got {type(header).__name__}")
    metadata = header.pop("__metadata__", None)
    if metadata is None:  # null is no metadata to the package safetensors
        metadata = {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{path}: __metadata__ must be an object of texts")
    start = 8 + length
    stored = [_safetensors_entry(path, start, name, entry) for name, entry in header.items()]
    stored.sort(key=lambda s: (s.offset, s.nbytes))
    at = start
    for s in stored:
        if s.offset != at:
            what = "overlaps the tensor before it" if s.offset < at else "leaves a hole before it"
            raise ValueError(
                f"{path}: {shortened(s.name)}: data_offsets begin at {s.offset - start}: {what}"
            )
        at = s.offset + s.nbytes
    if at != size:
        raise ValueError(f"{path}: expected {at} bytes from its header, got a file of {size}")
    return stored, metadata


def _no_header(begin: bytes, length: int, size: int) -> str:
    """What is wrong with a file that does not begin as .safetensors do; `begin` are its first 8 bytes."""
    known = f"known are {KNOWN_FORMATS}"
    if not size:
        return f"expected a safetensors header, got an empty file; {known}"
    for start, what in _FOREIGN:
        if length >= 2**32 and begin.startswith(start):  # no header that is cut short
            return f"not safetensors, but {what}; {known}"
    limit = min(max(size - 8, 0), LONGEST_HEADER)
    got = length if size >= 8 else f"a file of {size}"
    return f"expected a safetensors header of at most {limit} bytes, got {got}; {known}"


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**64


def _is_shape(value: Any) -> bool:
    """Whether `value` has sizes that are quickly multiplied: not a million of them."""
    return isinstance(value, (list, tuple)) and len(value) <= MAX_DIMS and all(map(_is_size, value))


#: What a dtype of a later version of safetensors may be called.
_CODE = re.compile("[A-Z][A-Z0-9_]{0,31}")


def _safetensors_entry(path: Path, start: int, name: str, entry: Any) -> Stored:
    where = f"{path}: {shortened(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        got = sorted(entry) if isinstance(entry, dict) else entry
        raise ValueError(f"{where}: expected dtype, shape and data_offsets, got {shown(got)}")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _is_shape(shape):
        raise ValueError(
            f"{where}: shape must be a list of sizes, {MAX_DIMS} at most, got {shown(shape)}"
        )
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ValueError(f"{where}: data_offsets must be two offsets, got {shown(offsets)}")
    begin, end = offsets
    known = BY_CODE.get(code) if isinstance(code, str) else None
    if known is not None:
        if (end - begin) * 8 != math.prod(shape) * known.bits:
            raise ValueError(
                f"{where}: data_offsets {begin} to {end} do not fit the shape {shown(shape)} of {code}"
            )
    elif not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ValueError(f"{where}: dtype must be a code such as F32, got {shown(code)}")
    elif end < begin:
        raise ValueError(f"{where}: data_offsets must be in order, got {shown(offsets)}")
    dtype = code if known is None else known.name
    return Stored(name, dtype, tuple(shape), path, start + begin, end - begin)


def _read_index(path: Path) -> list[Stored]:
    index = read_json(path)
    weights = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(v, str) for v in weights.values()):
        raise ValueError(f"{path}: expected a weight_map from tensors to files")
    found: dict[str, Stored] = {}
    others: list[str] = []
    for name in dict.fromkeys(weights.values()):
        if not _is_neighbour(name):
            raise ValueError(f"{path}: expected files next to it, got {shown(name)}")
        for stored in read_safetensors(path.parent / name)[0]:
            if weights.get(stored.name) == name:
                found[stored.name] = stored
            else:
                others.append(stored.name)
    missing = next((name for name in weights if name not in found), None)
    if missing is not None:
        raise ValueError(f"{path}: {shortened(missing)} is not in {shortened(weights[missing])}")
    if others:
        warnings.warn(
            f"{path}: its files hold {counted(len(others), 'tensor')} that it does not map to "
            f"them, left out: {listed(others)}",
            stacklevel=2,
        )
    return [found[name] for name in weights]


_NPY_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _read_npy(path: Path) -> Stored:
    size = regular_size(path)
    with path.open("rb") as whole, warnings.catch_warnings():
        # Of what is in memory, no more is read than there is, whatever length a header states.
        file = io.BytesIO(whole.read(min(size, LONGEST_NPY_HEADER)))
        warnings.simplefilter("ignore")  # of headers from Python 2
        try:
            version = np.lib.format.read_magic(file)
            shape, fortran, dtype = _NPY_READERS[version](file)
        except Exception as error:  # NumPy evaluates the header, which fails in many ways
            reason = (
                f"version {error}" if isinstance(error, KeyError) else f"{error}".split("\n")[0]
            )
            raise ValueError(f"{path}: not a .npy file that can be read: {reason}") from None
        offset = file.tell()
    if not _is_shape(shape) or not _is_number(dtype):
        raise ValueError(
            f"{path}: expected numbers of a shape of at most {MAX_DIMS} sizes, got {shown(dtype)} of {shown(shape)}"
        )
    if fortran and len(shape) > 1:
        raise ValueError(
            f"{path}: expected an array in C order, got one in Fortran order: "
            "save np.ascontiguousarray(array)"
        )
    if dtype.str.startswith(">"):
        raise ValueError(
            f"{path}: expected little-endian numbers, got {dtype.str}: "
            f"save array.astype('{dtype.newbyteorder('<').str}')"
        )
    nbytes = math.prod(shape) * dtype.itemsize
    if offset + nbytes != size:
        raise ValueError(f"{path}: expected {offset + nbytes} bytes, got a file of {size}")
    known = BY_NPY.get(dtype.str)
    name = dtype.str if known is None else known.name
    return Stored(path.stem, name, shape, path, offset, nbytes)


def _is_number(dtype: np.dtype[Any]) -> bool:
    """Not a record, an array or an object; numbers that NumPy does not know are void items."""
    return dtype.names is None and dtype.subdtype is None and not dtype.hasobject


def _read_raw(folder: Path) -> list[Stored]:
    path = folder / RAW_INDEX
    index = read_json(path)
    if not isinstance(index, dict):
        raise ValueError(f"{path}: expected an object from tensors to files")
    found: dict[Path, Stored] = {}
    for name, entry in index.items():
        stored = _raw_entry(path, name, entry)
        if found.setdefault(stored.path, stored) is not stored:
            first = shortened(found[stored.path].name)
            raise ValueError(f"{path}: {shortened(name)}: its file is that of {first} already")
    return list(found.values())


def _raw_entry(path: Path, name: str, entry: Any) -> Stored:
    where = f"{path}: {shortened(name)}"
    if not isinstance(entry, dict) or set(entry) != {"file", "dtype", "shape"}:
        raise ValueError(f"{where}: expected file, dtype and shape, got {shown(entry)}")
    file, dtype, shape = entry["file"], entry["dtype"], entry["shape"]
    if not isinstance(file, str) or not _is_neighbour(file):
        raise ValueError(f"{where}: file must be the name of one next to it, got {shown(file)}")
    if not _is_shape(shape):
        raise ValueError(
            f"{where}: shape must be a list of sizes, {MAX_DIMS} at most, got {shown(shape)}"
        )
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{where}: dtype must be one of {', '.join(DTYPES)}, got {shown(dtype)}")
    nbytes = -(-math.prod(shape) * stored_dtype(dtype).bits // 8)
    size = regular_size(path.parent / file)
    if size != nbytes:
        raise ValueError(f"{where}: expected {nbytes} bytes in {shortened(file)}, got {size}")
    return Stored(name, dtype, tuple(shape), path.parent / file, 0, nbytes)
