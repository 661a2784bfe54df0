"""A model as the list of its tensors: make them, fill arrays with them, write files, check files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from fastinit import _kernel, files
from fastinit.check import Checked, check_tensors, name_problems, with_name_problems
from fastinit.checks import check_choice, check_int, counted, readable_bytes, shortened, shown
from fastinit.computed import Prepared
from fastinit.defaults import Default
from fastinit.dtypes import constant_array, is_fillable, new_stored_array, stored_dtype
from fastinit.exact import differences
from fastinit.factory import check_factory_arguments, factory_tensors, is_factory, module_tensors
from fastinit.files import Layout, Stored, is_path, read_stored
from fastinit.fill import (
    Array,
    Index,
    check_output,
    check_part,
    fill_strided,
    new_array,
    select,
    zero_row,
)
from fastinit.initializers import Computed
from fastinit.spec import (
    Description,
    initializer_table,
    is_skipped,
    parse_rule,
    part_table,
    read_tensors,
    recorded,
    ruled_tensors,
    spec_table,
)
from fastinit.streams import Seed, seed_value
from fastinit.tensor import Tensor
from fastinit.threads import Progress
from fastinit.write import PARTIAL, Observer, Output, naming_output, scratch_folder

FORMATS = ("safetensors", "npy", "raw")
#: The formats of files, by the ends of their names.
SUFFIXES = {".safetensors": "safetensors", ".npy": "npy"}
#: The weights in a folder, and the most bytes in one file, as `save_pretrained` of transformers has them.
FOLDER_WEIGHTS = "model.safetensors"
FOLDER_SHARD_SIZE = 50 * 10**9


class Model:
    """The tensors of a model, each a pure function of the seed and its stream, usually its name.

    Parameters
    ----------
    tensors : iterable of Tensor
        Of different names.

    Raises
    ------
    ValueError, TypeError
        Two tensors have one name; something that is no tensor.

    Examples
    --------
    >>> import fastinit as fi
    >>> model = fi.Model([fi.Tensor("up", (64, 256), fi.he_normal), fi.Tensor("bias", (256,), fi.zeros)])
    >>> model.make("up", seed=0).shape
    (64, 256)
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        if not isinstance(tensors, Iterable):
            raise TypeError(f"tensors must be an iterable of fastinit.Tensor, got {shown(tensors)}")
        self._tensors: dict[str, Tensor] = {}
        self._defaults: Mapping[str, Default] = {}
        self._rules: Sequence[Mapping[str, Any]] = ()  # of what it was loaded from
        self._files: Mapping[str, bytes] = {}
        # Names of tensors that a file's provenance has, and no header.
        self._lost: Sequence[str] = ()
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
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        rules: Iterable[str] = (),
        strict: bool = True,
        head: str | None = None,
        tiny: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> Model:
        """The model that a file describes, or that the user's own code builds.

        Parameters
        ----------
        source : path or str
            A spec in TOML or JSON, whose format is in ``docs/models.md``.
            Stored tensors, whose names, shapes and dtypes are taken: a ``.safetensors`` file, its
            ``.index.json``, a ``.npy`` file, or a folder of such.
            A Hugging Face ``config.json``, or a folder with one: the model is built by the
            installed ``transformers``, without memory, and recorded. No other code is run.
            Or a factory, the text ``"module:callable"``: a class of ``torch.nn.Module``, or a
            function that returns a module. The module is imported, from the current folder too,
            **and its code is run**; the callable is called with `arguments` while the module's
            construction is recorded (`fastinit.torch.record`). It needs PyTorch.
        rules : iterable of str
            ``"*.bias=zeros"`` gives tensors of names that match an initializer, ``"*.ids=skip"``
            leaves them out; ``"*.weight=he_normal:min_axes=2"`` is for those of at least two axes.
            The first that matches counts, before those of a spec. Stored tensors that none
            matches get a default by their names, see `defaults` and ``docs/models.md``.
        strict : bool
            Refuse rules, those of a spec too, that match no tensor; but not those that leave
            tensors out. False accepts them, for rules that several models share.
        head : str, optional
            The class of a config's model, such as "BertForMaskedLM", or a head of the auto classes
            of transformers, such as "causal-lm". By default the first of the config's
            ``architectures``, or else the model without a head.
        tiny : bool
            Make a config's sizes small and keep its architecture, for tests: 20 MB at most.
        arguments : mapping from str, optional
            Arguments of a factory, by name.

        Warns
        -----
        UserWarning
            Names of stored tensors tell no initializer, and the number of axes decided; a folder's
            config.json cannot be used, and the header of its .safetensors was; files of an
            index hold tensors that it does not map to them.

        Raises
        ------
        ValueError, TypeError, OSError
            A file that cannot be read, or is not what it should be, named with the key; a rule
            that matches no tensor, with the names near it; stored tensors that have no default
            by name, such as packed integers. A config without the packages torch and transformers
            (ImportError), or that transformers cannot build. `head`, `tiny` or `arguments` for
            a source that they do not apply to. A factory that is not found (ImportError, with near
            names), that raises an exception (named with file and line) or returns no module.

        Examples
        --------
        >>> import fastinit as fi
        >>> model = fi.Model.load("torch.nn:Linear", arguments={"in_features": 4, "out_features": 3})
        >>> [(tensor.name, tensor.shape) for tensor in model]
        [('weight', (3, 4)), ('bias', (3,))]
        """
        if isinstance(rules, str):
            raise TypeError(f"rules must be a list of texts, got the text {shown(rules)}")
        parsed = [parse_rule(rule) for rule in rules]
        given = check_factory_arguments(source, arguments)
        if head is not None and not isinstance(head, str):
            raise TypeError(f"head must be the name of a class, got {shown(head)}")
        if not isinstance(source, str) or not is_factory(source):
            found = read_tensors(_path("source", source), parsed, strict, head=head, tiny=tiny)
        elif head is not None or tiny:
            raise ValueError(
                f"{source}: head and tiny (--head, --tiny) apply only to a config.json"
            )
        else:
            made = factory_tensors(source, given)
            found = Description(ruled_tensors(source, made, parsed, strict))
        model = cls(found.tensors)
        model._defaults, model._files = found.defaults, found.files
        model._rules = [*parsed, *found.rules]
        return model

    @classmethod
    @_kernel.in_default_arithmetic
    def from_module(cls, module: Any) -> Model:
        """The model of a PyTorch module whose construction was recorded.

        Parameters
        ----------
        module : torch.nn.Module
            Constructed within ``fastinit.torch.record()``. It need not be initialised.

        Returns
        -------
        Model
            Of the tensors that ``module.state_dict()`` keeps, tied ones once, with the
            distributions of the recording. A file that it writes has the bits that
            ``fastinit.torch.init_module_`` gives the module.

        Raises
        ------
        TypeError, ValueError
            No module; one that was not recorded; a tensor that no initializer describes, by name.

        Examples
        --------
        >>> import fastinit as fi
        >>> import torch
        >>> with fi.torch.record():
        ...     layer = torch.nn.LayerNorm(8)
        >>> [tensor.init for tensor in fi.Model.from_module(layer)]
        [Constant(value=1.0), Constant(value=0.0)]
        """
        return cls(module_tensors(module))

    def with_tensors(self, tensors: Iterable[Tensor]) -> Model:
        """A model of other tensors, which leaves out what this one leaves out by rules, and has its `files`."""
        model = Model(tensors)
        model._rules, model._files = self._rules, self._files
        return model

    @property
    def defaults(self) -> Mapping[str, Default]:
        """The tensors whose initializer is a default by name, and the row of the table that gave it."""
        return self._defaults

    @property
    def files(self) -> Mapping[str, bytes]:
        """What `write` puts beside the weights in a folder: ``config.json`` of a model that was loaded from one."""
        return self._files

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
        lines = ",\n".join("  " + json.dumps(spec_table(tensor)) for tensor in self)
        return f'{{"tensors": [\n{lines}\n]}}\n'

    def make(
        self, name: str, *, seed: Seed, index: Index | None = None, threads: int | None = None
    ) -> Array:
        """A tensor, or its part ``whole[index]``, as a new array.

        The dtypes that NumPy lacks need ``ml_dtypes``. Parameters and errors are those of
        `Initializer.shard`; the stream is the tensor's.
        """
        tensor = self[name]
        _, counts, _, kept = select(tensor.shape, ... if index is None else index)
        value, shape = seed_value(_given(seed)), tuple(counts[axis] for axis in kept)
        if is_fillable(tensor.dtype):
            out = new_array(shape, tensor.dtype)
        else:
            out = new_stored_array(shape, stored_dtype(tensor.dtype))
        self._fill(tensor, out, value, index, threads)
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
            By the names of tensors, not necessarily all; of their shapes, any float dtype (for
            constants in other dtypes their own too) and any strides.
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
            tensor = self[name]
            dtype = tensor.dtype if _has_own_dtype(tensor, out) else check_output(out)
            check_part(out, tensor.shape, parts.get(name))
            if is_fillable(dtype):
                tensor.prepare(dtype)
        for name, out in arrays.items():
            self._fill(self[name], out, value, parts.get(name), threads)

    def _fill(
        self, tensor: Tensor, out: Array, seed: int, index: Index | None, threads: int | None
    ) -> None:
        threads = None if threads is None else check_int("threads", threads, 1)
        has_own_dtype, resolved = _has_own_dtype(tensor, out), tensor.resolve()
        if has_own_dtype and not isinstance(resolved, Computed):
            out[...] = constant_array((), stored_dtype(tensor.dtype), resolved)
            return
        distribution = tensor.prepare(tensor.dtype if has_own_dtype else check_output(out))
        if isinstance(distribution, Prepared):
            check_part(out, tensor.shape, index)
            box = tensor.box(... if index is None else index)
            plain = np.asarray(out)
            distribution.fill(plain, seed, tensor.stream_name, tensor.whole, box, threads)
        else:
            self._draw(tensor, distribution, np.asarray(out), seed, index, threads)
        if tensor.padding_idx is not None:
            zero_row(out, tensor.padding_idx, tensor.shape, index)

    def _draw(
        self,
        tensor: Tensor,
        distribution: _kernel.Distribution,
        out: Array,
        seed: int,
        index: Index | None,
        threads: int | None,
    ) -> None:
        begin, strides = tensor.positions
        first, steps = check_part(out, tensor.shape, index, strides)
        fill_strided(out, distribution, tensor.key(seed), begin + first, steps, threads)

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        seed: Seed,
        format: str | None = None,
        max_shard_size: int | None = None,
        rank: int = 0,
        world: int = 1,
        resume: bool = True,
        threads: int | None = None,
        memory: int | None = None,
        progress: Progress | None = None,
        observe: Observer | None = None,
    ) -> bool:
        """Write all tensors into files.

        Parameters
        ----------
        path : path
            A file ``NAME.safetensors``; a file ``NAME.npy`` for a model of one tensor; or a
            folder: a path that ends in "/", one that exists, or any with `format` "npy" or "raw".
        seed : int, numpy.random.SeedSequence or numpy.random.Generator
            It is stored in the metadata of safetensors, with the initializers.
        format : {"safetensors", "npy", "raw"}, optional
            That of the name of `path` by default, and safetensors in a folder: it gets
            ``model.safetensors`` and the `files` of the model, so that ``from_pretrained`` of
            transformers loads it. "npy" is a .npy file for each tensor, and "raw" a file of bare
            elements for each and ``tensors.json`` with their dtypes and shapes.
        max_shard_size : int, optional
            Most bytes of tensors in one file of safetensors: a model that needs several gets
            them and an index, with the names that ``transformers`` gives them. A tensor that
            is larger has a file of its own. By default no limit, and 50 GB in a folder.
        rank, world : int
            Write the part of process `rank` of `world`, about as many bytes as any other's.
            All of them need one file system; they may run at once or one after the other.
        resume : bool
            Go on from what an interrupted call has left, and leave that after an interrupt. False
            begins anew, leaves nothing, and is for one process that writes no folder.
        threads, memory : int, optional
            At most so many threads; at most so many bytes of memory for the whole process.
        progress : callable, optional
            Called with the bytes that are written, and all of this process's part.
        observe : callable, optional
            Called from the worker threads, several at once, with a tensor and a chunk of its
            bytes, before the chunk is written: to measure or hash what is still in a cache. It is
            not called for what an earlier run has written. The chunk, an array of uint8, holds
            whole elements, is overwritten afterwards, and must not be changed.

        Returns
        -------
        bool
            Whether the files are complete, and so have their names: False where parts of
            other ranks are missing.

        Raises
        ------
        ValueError, TypeError, OSError
            A bad argument, a path whose name is not that of a known format, a path that cannot be
            written, a full disk.

        Notes
        -----
        Until then they are in a folder ``.NAME.partial`` next to them, or ``.partial`` in their
        folder. The same call goes on from there after a kill, and writes only what is missing.
        The bytes do not depend on threads, memory, ranks or interruptions. An older output of
        the same name is replaced as a whole; a folder must not hold other files.
        """
        world = check_int("world", world, 1)
        rank = check_int("rank", rank, 0, world - 1, f"an int in [0, world), here [0, {world})")
        if not resume and world > 1:
            raise ValueError(
                f"resume must be True where several processes write, got world={world}"
            )
        value = seed_value(_given(seed))
        given = _path("path", path)
        target = Path(os.path.realpath(given))
        is_folder = names_folder(path)
        format = _output_format(os.fspath(path), target, format, len(self), is_folder)
        is_folder = is_folder or target.suffix not in SUFFIXES
        name = FOLDER_WEIGHTS if is_folder else target.name
        if is_folder and format == "safetensors" and max_shard_size is None:
            max_shard_size = FOLDER_SHARD_SIZE
        layouts, extras = self._layouts(name, value, format, max_shard_size, is_folder)
        replaced = files.safetensors_names(name) if format == "safetensors" else []
        if is_folder:
            folder, partial = target, PARTIAL
            extras = {**self._files, **extras} if format == "safetensors" else extras
            _check_folder(folder, {*extras, *(layout.name for layout in layouts)}, replaced)
            _check_older(folder, self._files, replaced)
        else:
            folder, partial = target.parent, f".{target.name}{PARTIAL}"
        output = Output(folder, layouts, extras, value, replaced, makes_folder=is_folder)
        if not resume and is_folder:
            raise ValueError(f"resume must be True for a folder, got format={format!r}")
        working = folder / partial
        with (
            naming_output(given, working if resume else None),
            nullcontext(working) if resume else scratch_folder(folder) as working,
        ):
            return output.write(
                working,
                rank=rank,
                world=world,
                threads=threads,
                memory=memory,
                progress=progress,
                observe=observe,
            )

    def _layouts(
        self, name: str, seed: int, format: str, limit: int | None, is_folder: bool = False
    ) -> tuple[list[Layout], dict[str, bytes]]:
        if not len(self):
            raise ValueError("a model without tensors cannot be written")
        tensors = list(self)
        if format == "safetensors":
            if limit is not None:
                check_int("max_shard_size", limit, 1)
            return files.safetensors_set(name, tensors, limit, lambda some: _record(some, seed))
        if limit is not None:
            raise ValueError(f"max_shard_size applies only to safetensors, got format={format!r}")
        if not is_folder:
            return [Layout(name, files.npy_header(tensors[0]), (tensors[0],))], {}
        return files.npy_set(tensors) if format == "npy" else files.raw_set(tensors)

    def check(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> list[Checked]:
        """Measure the tensors of a file beside what this model's initializers should give.

        See `fastinit.check.check_tensors`. Tensors that are not the model's are measured alone,
        and flagged unless a rule skips them; those that are missing in the file come last,
        flagged, with None as `stored`. A model without tensors expects none: all are measured
        alone.
        """
        stored = read_stored(_path("path", path))
        pairs = [(s, self._tensors.get(s.name)) for s in stored]
        checked = check_tensors(pairs, threads=threads, progress=progress)
        if not self._names():
            return checked
        return with_name_problems(checked, self._names(), self._skipped(stored))

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
        names = [s.name for s in stored]
        unknown, missing = name_problems(names, self._names(), self._skipped(stored))
        problems = [f"{shortened(name)}: {why}" for name, why in (unknown | missing).items()]
        pairs = [(s, self._tensors[s.name]) for s in stored if s.name in self._tensors]
        value = seed_value(_given(seed))
        return problems + differences(pairs, value, threads=threads, progress=progress)

    def _names(self) -> list[str]:
        """The names of all tensors that a file should have."""
        return [*self._tensors, *self._lost]

    def _skipped(self, stored: Iterable[Stored]) -> set[str]:
        """The names of stored tensors that the rules of the model leave out."""
        return {s.name for s in stored if is_skipped(s, self._rules)}


def recorded_model(path: Path) -> tuple[Model, int | None]:
    """What the safetensors of a file or folder say of their tensors, and the seed."""
    tensors: dict[str, Tensor] = {}
    seeds: set[int | None] = set()
    lost: set[str] = set()
    files_of = {stored.name: stored.path for stored in read_stored(path)}
    for file in dict.fromkeys(files_of.values()):
        if file.suffix == ".safetensors":
            some, seed, missing = recorded(file)
            # An index may map a name to another file, or to none.
            tensors |= {name: one for name, one in some.items() if files_of.get(name) == file}
            seeds |= {seed} - {None}  # the tensors of a file without provenance are not the model's
            lost |= missing - files_of.keys()
    if len(seeds) > 1:
        raise ValueError(f"{path}: its files record different seeds")
    model = Model(tensors.values())
    model._lost = tuple(sorted(lost))
    return model, seeds.pop() if seeds else None


def _path(name: str, value: str | os.PathLike[str]) -> Path:
    try:
        path = Path(value)
    except TypeError:
        raise TypeError(f"{name} must be a path, got {shown(value)}") from None
    if not is_path(str(path)):
        raise ValueError(f"{name} must be a path, got {shown(value)}")
    return path


def names_folder(path: str | os.PathLike[str]) -> bool:
    """Whether an output's path alone says that it is a folder: by "/" at its end, or because it is one."""
    given = os.fspath(path)
    if given in ("", "-"):
        return False
    ends = tuple(filter(None, (os.sep, os.altsep)))
    target = Path(os.path.realpath(given))
    return given.endswith(ends) or (
        target.suffix not in SUFFIXES and os.path.isdir(target)  # False for names that are too long
    )


def _output_format(
    given: str, target: Path, format: str | None, count: int, is_folder: bool
) -> str:
    """The format of an output of `count` tensors, from its name and from what is asked for; errors where they disagree."""
    if format is not None:
        check_choice("format", format, FORMATS)
    if is_folder:
        return format or "safetensors"
    named, name = SUFFIXES.get(target.suffix), shortened(given)
    suffix = Path(given).suffix
    if suffix in SUFFIXES and suffix != target.suffix:
        raise ValueError(
            f"path must be a file, or a link to one whose name ends in {suffix} too; "
            f"{name} leads to {shortened(str(target))}"
        )
    if named is None:
        if format in (None, "safetensors") or given in ("", "-"):
            folder = "; the path of a new folder ends in '/'" if count > 1 else ""
            raise ValueError(f"path must end in .safetensors or .npy, got {name}{folder}")
        return format
    if format not in (None, named):
        raise ValueError(
            f"path must be a folder for format={format!r}, got a name that ends in {target.suffix}: {name}"
        )
    if named == "npy" and count > 1:
        raise ValueError(
            f"path must be a .safetensors file, or a folder for format='npy': the model has {count} tensors, "
            f"and a .npy file holds one; got {name}"
        )
    return named


def _has_own_dtype(tensor: Tensor, out: Any) -> bool:
    """Whether an array has the dtype of a tensor that is none of those that take any distribution."""
    if is_fillable(tensor.dtype) or not isinstance(out, np.ndarray):
        return False
    if out.dtype.name != tensor.dtype:
        return False
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    return True


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
    for tensor in tensors:
        for key, value in part_table(tensor).items():
            record.setdefault(key, {})[tensor.name] = value
    return {"format": "pt", "fastinit": json.dumps(record, separators=(",", ":"))}


def _check_folder(folder: Path, names: set[str], replaced: Sequence[str]) -> None:
    """Refuse a folder that would be another model afterwards, with what it holds already."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"path must be a folder, got the file {str(folder)!r}")
    found = os.listdir(folder) if folder.exists() else []
    others = [name for name in found if name not in names and not _matches(name, replaced)]
    others = [name for name in others if name != PARTIAL]
    if others:
        raise ValueError(f"{folder}: expected a folder without other files, got {min(others)!r}")


def _check_older(folder: Path, contents: Mapping[str, bytes], replaced: Sequence[str]) -> None:
    """Refuse to replace files that no older output has left: those of a folder without weights."""
    found = set(os.listdir(folder)) if folder.exists() else set()
    if any(_matches(name, replaced) for name in found):
        return
    for name in sorted(found & contents.keys()):
        path = folder / name
        if path.is_file() and path.read_bytes() != contents[name]:
            raise ValueError(
                f"{path}: would be replaced, and is not of an older output: write into another folder, "
                f"or to {folder / FOLDER_WEIGHTS} for the weights alone"
            )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)
