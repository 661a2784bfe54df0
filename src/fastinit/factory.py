"""Models that a user's own code builds: a factory ``module:callable``, called while its module is recorded."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fastinit.checks import shortened, shown, without_middle
from fastinit.rules import near_words
from fastinit.tensor import Tensor

#: Characters of a signature in an error.
LONGEST_SIGNATURE = 300


def is_factory(source: object) -> bool:
    """Whether a source of a model is the text ``module:callable`` and not the path of a file."""
    if not isinstance(source, str):
        return False
    module, colon, name = source.partition(":")
    names = [*module.split("."), *name.split(".")]
    return bool(colon) and all(map(str.isidentifier, names)) and not os.path.exists(source)


def factory_tensors(source: str, arguments: Mapping[str, Any]) -> list[Tensor]:
    """The tensors of the module that a factory builds.

    The current folder can be imported from. The code of the module, and the factory, are run.

    Raises
    ------
    ImportError
        No such module or attribute, with near names; PyTorch is missing.
    ValueError, TypeError
        Arguments that the factory does not take; an exception of its code, named with file and
        line; a result that is no ``torch.nn.Module``; a tensor that a spec cannot hold.
    """
    import fastinit.torch as fit
    from fastinit.torch.foreign import Generators
    from fastinit.torch.tensors import NotRecordedError

    with _current_folder_first():
        factory = _find(source)
        _check_arguments(source, factory, arguments)
        with _naming_lines(source), fit.record():
            generators = Generators()
            module = factory(**arguments)
            moved = generators.moved()
        if not _is_module(module):
            raise TypeError(
                f"{source}: must return a torch.nn.Module, got {shown(module)} of type "
                f"{type(module).__name__}"
            )
        _warn_of_draws(moved, source)
        try:
            return fit.recorded_tensors(module)
        except NotRecordedError as error:
            raise ValueError(
                f"{source}: {error}: the factory must build the module itself"
            ) from error
        except (ValueError, TypeError) as error:
            raise type(error)(f"{source}: {error}") from error


def _warn_of_draws(names: list[str], source: str) -> None:
    """Warn where a factory used generators that are not recorded: their values are known values of one run."""
    if names:
        warnings.warn(
            f"{source}: its code draws from the generator of {' and '.join(names)}, which the seed of a model does "
            "not set: tensors with such values differ from run to run, unless the code seeds that generator; draw "
            "with PyTorch instead",
            UserWarning,
            stacklevel=5,
        )


def module_tensors(module: Any) -> list[Tensor]:
    """The tensors of a module that was recorded."""
    import fastinit.torch as fit

    if not _is_module(module):
        raise TypeError(f"module must be a torch.nn.Module, got {shown(module)}")
    tensors: list[Tensor] = fit.recorded_tensors(module)
    return tensors


def _is_module(value: Any) -> bool:
    from torch import nn

    return isinstance(value, nn.Module)


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Have modules of the current folder imported, as ``python -m`` does; code that leaves the folder is led back."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    importlib.invalidate_caches()  # a file that was just written is found
    try:
        yield
    finally:
        os.chdir(folder)  # outputs are relative to it
        with suppress(ValueError):
            sys.path.remove(folder)


def _find(source: str) -> Callable[..., Any]:
    """The callable that a text names."""
    module_name, _, name = source.partition(":")
    found: Any = _import(source, module_name)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            where = f"{module_name} has" if found is sys.modules.get(module_name) else "it has"
            raise ImportError(
                f"{source}: {where} no attribute {part!r}{near_words(part, dir(found))}"
            ) from None
    if _is_module(found):
        raise TypeError(
            f"{source}: must be a callable that builds a module, got a module, which was built before "
            "its construction could be recorded: name its class, or a function that returns it"
        )
    if not callable(found):
        raise TypeError(f"{source}: must be a callable, got {shown(found)}")
    return found  # type: ignore[no-any-return]


def _import(source: str, name: str) -> Any:
    try:
        with _naming_lines(source):
            return importlib.import_module(name)
    except ValueError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise
    parent, _, last = missing.rpartition(".")
    paths = getattr(sys.modules.get(parent), "__path__", []) if parent else None
    if last == "py":
        advice = f": name the module without .py, {parent}"
    else:
        advice = near_words(last, (one.name for one in pkgutil.iter_modules(paths)))
    raise ImportError(
        f"{source}: no module {missing!r} in the current folder or among those installed{advice}"
    )


def _check_arguments(
    source: str, factory: Callable[..., Any], arguments: Mapping[str, Any]
) -> None:
    """Refuse arguments that a factory does not take, before its code runs."""
    try:
        signature = inspect.signature(factory)
    except (ValueError, TypeError):  # of a callable that is not written in Python
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        unknown = next((key for key in arguments if key not in signature.parameters), None)
        near = "" if unknown is None else near_words(unknown, signature.parameters)
        takes = without_middle(f"{signature}", LONGEST_SIGNATURE)
        raise TypeError(
            f"{source}: {error}{near}; it takes {takes}, as arguments={{...}} or --arg KEY=VALUE"
        ) from None


@contextmanager
def _naming_lines(source: str) -> Iterator[None]:
    """Name the file and the line of an exception in code of the user."""
    try:
        yield
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ValueError(f"{source}: {_line(error)}{why}") from error


def _line(error: BaseException) -> str:
    """The last line of a traceback that is not of this package, of PyTorch or of Python's standard library."""
    import torch

    ours = tuple(f"{Path(file).parent}{os.sep}" for file in (__file__, torch.__file__))
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        frame
        for frame in frames
        if not frame.filename.startswith((*ours, "<frozen ")) and not _is_of_python(frame.filename)
    ]
    if not theirs:
        return ""
    last = theirs[-1]
    path = Path(last.filename)
    file = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    inside = "" if last.name == "<module>" else f" in {last.name}"
    return f"{file}, line {last.lineno}{inside}: "


_PYTHON = f"{Path(os.__file__).parent}{os.sep}"


def _is_of_python(file: str) -> bool:
    """Whether a file is of Python's standard library, such as contextlib, and of no package within its folder."""
    return file.startswith(_PYTHON) and not {"site-packages", "dist-packages"} & set(
        Path(file.removeprefix(_PYTHON)).parts
    )


def check_factory_arguments(source: object, arguments: object) -> dict[str, Any]:
    """Arguments for a factory as a dict; an error where the source is none, or names are no names."""
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        raise TypeError(f"arguments must be a mapping from names, got {shown(arguments)}")
    if arguments and not is_factory(source):
        raise ValueError(
            "arguments (--arg) apply only to a factory such as 'module:callable', got "
            f"{shortened(os.fspath(source) if isinstance(source, os.PathLike) else f'{source}')}"
        )
    return dict(arguments)
