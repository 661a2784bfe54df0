"""A model as the list of its tensors: make them, fill arrays with them, write files, check files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastinit import _kernel, files
from fastinit.check import Checked, check_tensors, name_problems, with_name_problems
from fastinit.checks import check_choice, check_int, counted, readable_bytes, shortened, shown
from fastinit.exact import differences
from fastinit.files import Layout, is_path, read_stored
from fastinit.fill import (
    Array,
    Index,
    check_output,
    check_part,
    new_array,
    select,
    zero_row,
)
from fastinit.spec import initializer_table, parse_rule, read_tensors, recorded, tensor_table
from fastinit.streams import Seed, seed_value, stream_key
from fastinit.tensor import Tensor
from fastinit.threads import Progress
from fastinit.write import PARTIAL, Output, naming_output

FORMATS = ("safetensors", "npy", "raw")


class Model:
    """The tensors of a model, each a pure function of the seed and its own name.

    Parameters
    ----------
    tensors : iterable of Tensor
        Of different names.

    Raises
    ------
    ValueError
        Two tensors have one name.

    Examples
    --------
    >>> import fastinit as fi
    >>> model = fi.Model([fi.Tensor("up", (64, 256), fi.he_normal), fi.Tensor("bias", (256,), fi.zeros)])
    >>> model.make("up", seed=0).shape
    (64, 256)
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors: dict[str, Tensor] = {}
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"tensors must be fastinit.Tensor, got {shown(tensor)}")
            if tensor.name in self._tensors:
                raise ValueError(
                    f"tensors must have different names, got {shortened(tensor.name)} twice"
                )
            self._tensors[tensor.name] = tensor

    @classmethod
    @_kernel.in_default_arithmetic
    def load(cls, source: str | os.PathLike[str], *, rules: Iterable[str] = ()) -> Model:
        """The model that a file describes.

        Parameters
        ----------
        source : path
            A spec in TOML or JSON; a Hugging Face ``config.json``, or a folder with one;
            or stored tensors, whose names, shapes and dtypes are taken: a ``.safetensors``
            file, its ``.index.json``, a ``.npy`` file, or a folder of such. ``docs/models.md``
            has the format of specs and the architectures of configs.
        rules : iterable of str
            ``"*.bias=zeros"`` gives tensors of names that match an initializer, ``"*.ids=skip"``
            leaves them out. The first that matches counts, before those of a spec. Stored tensors
            that none matches are normal with a standard deviation of 0.02, vectors one, and
            vectors named bias zero.

        Raises
        ------
        ValueError, TypeError, OSError
            A file that cannot be read, or is not what it should be, named with the key.
        """
        if isinstance(rules, str):
            raise TypeError(f"rules must be a list of texts, got the text {shown(rules)}")
        return cls(read_tensors(_path("source", source), [parse_rule(rule) for rule in rules]))

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tensors.values())

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._tensors[name]
        except KeyError:
            raise KeyError(f"the model has no tensor {shown(name)}") from None

    def __repr__(self) -> str:
        size, nbytes = counted(self.size, "element"), readable_bytes(self.nbytes)
        return f"Model of {counted(len(self), 'tensor')}, {size}, {nbytes}"

    @property
    def size(self) -> int:
        """How many elements all tensors have."""
        return sum(tensor.size for tensor in self)

    @property
    def nbytes(self) -> int:
        """How many bytes they take."""
        return sum(tensor.nbytes for tensor in self)

    @_kernel.in_default_arithmetic
    def to_json(self) -> str:
        """The model as a spec, to be edited and loaded again."""
        lines = ",\n".join("  " + json.dumps(tensor_table(tensor)) for tensor in self)
        return f'{{"tensors": [\n{lines}\n]}}\n'

    def make(
        self, name: str, *, seed: Seed, index: Index | None = None, threads: int | None = None
    ) -> Array:
        """A tensor, or its part ``whole[index]``, as a new array.

        The dtypes that NumPy lacks need ``ml_dtypes``. Parameters and errors are those of
        `Initializer.shard`; the stream is the name.
        """
        tensor = self[name]
        _, counts, _, kept = select(tensor.shape, ... if index is None else index)
        out = new_array(tuple(counts[axis] for axis in kept), tensor.dtype)
        self._fill(tensor, out, _given(seed), index, threads)
        return out

    def fill(
        self,
        arrays: Mapping[str, Array],
        *,
        seed: Seed,
        index: Mapping[str, Index] | None = None,
        threads: int | None = None,
    ) -> None:
        """Fill arrays in place.

        Parameters
        ----------
        arrays : mapping from str to numpy.ndarray
            By the names of tensors, not necessarily all; of their shapes, any float dtype and
            any strides.
        seed : int, numpy.random.SeedSequence or numpy.random.Generator
            The same for all tensors.
        index : mapping from str to index, optional
            Which part of its tensor an array is, where it is not the whole.
        threads : int, optional
            As for initializers.

        Raises
        ------
        KeyError, ValueError, TypeError
            An unknown name; an array that initializers would refuse.
        """
        value = seed_value(_given(seed))
        parts = {} if index is None else index
        for argument, given in (("arrays", arrays), ("index", parts)):
            if not isinstance(given, Mapping):
                raise TypeError(f"{argument} must be a mapping from names, got {shown(given)}")
        for name in parts:
            if name not in arrays:
                raise ValueError(f"index names a tensor that is not in arrays: {shown(name)}")
        for name, out in arrays.items():
            tensor, dtype = self[name], check_output(out)
            check_part(out, tensor.shape, parts.get(name))
            tensor.prepare(dtype)
        for name, out in arrays.items():
            self._fill(self[name], out, value, parts.get(name), threads)

    def _fill(
        self, tensor: Tensor, out: Array, seed: Seed, index: Index | None, threads: int | None
    ) -> None:
        tensor.init_with_axes.fill(
            out,
            seed=seed,
            stream=tensor.name,
            shape=tensor.shape,
            index=index,
            threads=threads,
        )
        if tensor.padding_idx is not None:
            zero_row(out, tensor.padding_idx, tensor.shape, index)

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        seed: Seed,
        format: str = "safetensors",
        max_shard_size: int | None = None,
        rank: int = 0,
        world: int = 1,
        threads: int | None = None,
        memory: int | None = None,
        progress: Progress | None = None,
    ) -> bool:
        """Write all tensors into files.

        Parameters
        ----------
        path : path
            A file ``NAME.safetensors``; a folder for the other formats.
        seed : int, numpy.random.SeedSequence or numpy.random.Generator
            It is stored in the metadata of safetensors, with the initializers.
        format : {"safetensors", "npy", "raw"}
            safetensors, a .npy file for each tensor, or a file of bare elements for each and
            ``tensors.json`` with their dtypes and shapes.
        max_shard_size : int, optional
            Most bytes of tensors in one file of safetensors: a model that needs several gets
            them and an index, with the names that ``transformers`` gives them. A tensor that
            is larger has a file of its own.
        rank, world : int
            Write the part of process `rank` of `world`, about as many bytes as any other's.
            All of them need one file system; they may run at once or one after the other.
        threads, memory : int, optional
            At most so many threads; at most so many bytes of memory for the whole process.
        progress : callable, optional
            Called with the bytes that are written, and all of this process's part.

        Returns
        -------
        bool
            Whether the files are complete, and so have their names: False where parts of
            other ranks are missing.

        Raises
        ------
        ValueError, TypeError, OSError
            A bad argument, a path that cannot be written, a full disk.

        Notes
        -----
        Until then they are in a folder ``.NAME.partial`` next to them, or ``.partial`` in their
        folder. The same call goes on from there after a kill, and writes only what is missing.
        The bytes do not depend on threads, memory, ranks or interruptions. An older output of
        the same name is replaced as a whole; a folder must not hold other files.
        """
        world = check_int("world", world, 1)
        rank = check_int("rank", rank, 0, world - 1, f"an int in [0, world), here [0, {world})")
        value = seed_value(_given(seed))
        given = _path("path", path)
        target = Path(os.path.realpath(given))
        layouts, extras = self._layouts(target, value, format, max_shard_size)
        if format == "safetensors":
            folder, working = target.parent, target.parent / f".{target.name}.partial"
            replaced = files.safetensors_names(target.name)
        else:
            folder, working, replaced = target, target / PARTIAL, []
            _check_folder(folder, {*extras, *(layout.name for layout in layouts)})
        output = Output(
            folder,
            layouts,
            extras,
            lambda tensor: stream_key(value, tensor.name),
            replaced,
            makes_folder=format != "safetensors",
        )
        with naming_output(given, working):
            return output.write(
                working,
                rank=rank,
                world=world,
                threads=threads,
                memory=memory,
                progress=progress,
            )

    def _layouts(
        self, target: Path, seed: int, format: str, limit: int | None
    ) -> tuple[list[Layout], dict[str, bytes]]:
        check_choice("format", format, FORMATS)
        if not len(self):
            raise ValueError("a model without tensors cannot be written")
        tensors = list(self)
        if format == "safetensors":
            if target.suffix != ".safetensors":
                raise ValueError(f"path must end in .safetensors, got {shortened(str(target))}")
            if limit is not None:
                check_int("max_shard_size", limit, 1)
            return files.safetensors_set(
                target.name, tensors, limit, lambda some: _record(some, seed)
            )
        if limit is not None:
            raise ValueError(f"max_shard_size applies only to safetensors, got format={format!r}")
        return files.npy_set(tensors) if format == "npy" else files.raw_set(tensors)

    def check(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> list[Checked]:
        """Measure the tensors of a file beside what this model's initializers should give.

        See `fastinit.check.check_tensors`. Tensors that are not the model's are flagged and
        measured alone; those that are missing in the file come last, flagged, with None as
        `stored`. A model without tensors expects none: all are measured alone.
        """
        stored = read_stored(_path("path", path))
        pairs = [(s, self._tensors.get(s.name)) for s in stored]
        checked = check_tensors(pairs, threads=threads, progress=progress)
        return with_name_problems(checked, self._tensors) if len(self) else checked

    def differences(
        self,
        path: str | os.PathLike[str],
        *,
        seed: Seed,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """What in a file is not exactly what this model and a seed give, a line for each tensor; empty if all is."""
        stored = read_stored(_path("path", path))
        unknown, missing = name_problems([s.name for s in stored], self._tensors)
        problems = [f"{shortened(name)}: {why}" for name, why in (unknown | missing).items()]
        pairs = [(s, self._tensors[s.name]) for s in stored if s.name in self._tensors]
        value = seed_value(_given(seed))
        return problems + differences(pairs, value, threads=threads, progress=progress)


def recorded_model(path: Path) -> tuple[Model, int | None]:
    """What the safetensors of a file or folder say of their tensors, and the seed."""
    tensors: dict[str, Tensor] = {}
    seeds = set()
    for file in dict.fromkeys(stored.path for stored in read_stored(path)):
        if file.suffix == ".safetensors":
            some, seed = recorded(file)
            tensors |= some
            seeds.add(seed)
    if len(seeds) > 1:
        raise ValueError(f"{path}: its files record different seeds")
    return Model(tensors.values()), seeds.pop() if seeds else None


def _path(name: str, value: str | os.PathLike[str]) -> Path:
    try:
        path = Path(value)
    except TypeError:
        raise TypeError(f"{name} must be a path, got {shown(value)}") from None
    if not is_path(str(path)):
        raise ValueError(f"{name} must be a path, got {shown(value)}")
    return path


def _given(seed: Seed) -> Seed:
    if seed is None:
        raise TypeError("seed must be given, got None")
    return seed


@_kernel.in_default_arithmetic
def _record(tensors: Sequence[Tensor], seed: int) -> dict[str, str]:
    """The metadata of safetensors: transformers asks for the format, `check` reads the rest."""
    record: dict[str, Any] = {
        "stream_version": _kernel.STREAM_VERSION,
        "seed": seed,
        "init": {tensor.name: initializer_table(tensor.init) for tensor in tensors},
        "axes": {tensor.name: tensor.axes for tensor in tensors},
        "padding_idx": {t.name: t.padding_idx for t in tensors if t.padding_idx is not None},
    }
    return {"format": "pt", "fastinit": json.dumps(record, separators=(",", ":"))}


def _check_folder(folder: Path, names: set[str]) -> None:
    """Refuse a folder that would be another model afterwards, with what it holds already."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"path must be a folder, got the file {str(folder)!r}")
    others = [p.name for p in folder.iterdir() if p.name not in names] if folder.exists() else []
    if set(others) - {PARTIAL}:
        raise ValueError(f"{folder}: expected a folder without other files, got {min(others)!r}")
