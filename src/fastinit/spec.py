"""Descriptions of models, as text: initializers, TOML and JSON files, and the headers of files that exist."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
import tomllib
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from fastinit import _kernel, distributions, initializers
from fastinit.checks import check_int, shortened, shown
from fastinit.choices import StoredDtypeName, is_stored_dtype_name
from fastinit.defaults import Default, default_for, no_default, not_known
from fastinit.dtypes import DTYPES, is_fillable
from fastinit.expression_tables import (
    DEEPEST,
    expression_from,
    expression_table,
    is_expression,
    slice_from,
    slice_text,
)
from fastinit.expression_tables import KEYS as EXPRESSIONS
from fastinit.fans import MAX_DIMS, check_axes_name
from fastinit.files import (
    Stored,
    is_index,
    is_path,
    parse_json,
    read_json,
    read_regular,
    read_safetensors,
    read_stored,
)
from fastinit.initializers import Initializer, VarianceScaling
from fastinit.rules import check_patterns
from fastinit.streams import MAX_UINT64
from fastinit.tensor import Tensor

if TYPE_CHECKING:
    from fastinit.huggingface import Pretrained

READY_MADE = {
    name: value for name, value in vars(initializers).items() if isinstance(value, Initializer)
}
CLASSES: dict[str, Any] = {
    "constant": initializers.Constant,
    "uniform": initializers.Uniform,
    "normal": initializers.Normal,
    "truncated_normal": initializers.TruncatedNormal,
    "variance_scaling": VarianceScaling,
    "log_uniform": distributions.LogUniform,
    "exponential": distributions.Exponential,
    "random_integers": distributions.RandomIntegers,
    "orthogonal": distributions.Orthogonal,
    "identity": distributions.Identity,
    "dirac": distributions.Dirac,
}
#: How a text becomes an argument, by the type of its field.
CONVERTERS: dict[str, Callable[[str], Any]] = {"float": float, "int": int}
#: Arguments about axes, which the ready-made initializers take too, and how a text becomes one: axes are single integers there.
AXES_ARGUMENTS: dict[str, Callable[[str], Any]] = {
    "axes": str,
    "in_axis": int,
    "out_axis": int,
    "batch_axis": int,
}
#: In place of an initializer: the tensor is left out.
SKIP = "skip"

TENSOR_LISTS = {"tensors", "tensors_from"}
MODEL_KEYS = {"dtype", "axes", "rules", "strict", *TENSOR_LISTS}
#: What says which part of which stream a tensor is.
PART_KEYS = ("stream", "whole_shape", "index", "axis_order")
TENSOR_KEYS = {"name", "shape", "init", "dtype", "axes", "padding_idx", *PART_KEYS}
RULE_KEYS = {"match", "min_axes", "init", "dtype", "axes", "padding_idx"}
#: The texts of a tensor's table in which braces repeat it.
REPEATED = ("name", "stream")
#: Tensors that the braces of a spec may stand for: the largest models of today have 100,000.
MOST_REPEATED = 200_000
#: Characters of a text with braces, which is copied as often.
LONGEST_REPEATED = 1000
#: Of a path in a spec: errors of the operating system repeat it.
LONGEST_PATH = 512
#: Of a rule's pattern: fnmatch takes the square of its opening brackets.
LONGEST_MATCH = 1000


@_kernel.in_default_arithmetic
def parse_initializer(text: str) -> Initializer:
    """``he_normal``, ``he_normal:axes=out_in`` or ``truncated_normal:stddev=0.02,lower=-3`` as an initializer."""
    name, _, options = text.partition(":")
    converters = _arguments(name, text)
    values: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key not in converters or key in values:
            raise ValueError(
                f"expected {_expected('options', converters, name)}, got {shown(option)}"
            )
        try:
            values[key] = converters[key](value)
        except ValueError:
            raise ValueError(f"expected a number for {key}, got {shown(value)}") from None
    return _make(name, values)


def _arguments(name: str, given: object) -> dict[str, Callable[[str], Any]]:
    """The arguments of the initializer of this name, and how a text becomes each."""
    if name in READY_MADE:
        return AXES_ARGUMENTS if isinstance(READY_MADE[name], VarianceScaling) else {}
    if name not in CLASSES:
        first_names = {id(value): key for key, value in reversed(READY_MADE.items())}
        known = ", ".join(sorted({*first_names.values(), *CLASSES}))  # without their synonyms
        raise ValueError(f"expected one of {known}, got {shown(given)}")
    own: dict[str, Callable[[str], Any]]
    own = {
        field.name: CONVERTERS.get(str(field.type), str)
        for field in dataclasses.fields(CLASSES[name])
    }
    return own | AXES_ARGUMENTS if CLASSES[name] is VarianceScaling else own


def _expected(kind: str, arguments: Iterable[str], name: str) -> str:
    each_once = ", each once" if kind == "options" else ""
    return (
        f"{kind} {', '.join(arguments)} of {name}{each_once}"
        if arguments
        else f"no {kind} of {name}"
    )


def _make(name: str, values: dict[str, Any]) -> Initializer:
    axes = {key: value for key, value in values.items() if key in AXES_ARGUMENTS}
    others = {key: value for key, value in values.items() if key not in axes}
    made: Initializer = READY_MADE[name] if name in READY_MADE else CLASSES[name](**others)
    if axes and isinstance(made, VarianceScaling):  # no other has arguments about axes
        return made.with_axes(axes.pop("axes", None), **axes)
    return made


def initializer_from(value: Any, depth: int = 0) -> Initializer:
    """An initializer from a text, or from a table of its name and arguments, which may hold others."""
    if isinstance(value, str):
        return parse_initializer(value)
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        if value["name"] not in EXPRESSIONS:
            return _from_table(value)
        if depth == DEEPEST:
            raise ValueError(f"init must have at most {DEEPEST} tables within each other, got more")
        return expression_from(value, lambda inner: initializer_from(inner, depth + 1))
    raise ValueError(f"init must be a name, or a table with one, got {shown(value)}")


def _from_table(table: dict[str, Any]) -> Initializer:
    name = table["name"]
    values = {key: value for key, value in table.items() if key != "name"}
    arguments = _arguments(name, name)
    for key, value in values.items():
        if key not in arguments:
            raise ValueError(
                f"expected {_expected('arguments', arguments, name)}, got {shown(key)}"
            )
        if arguments[key] is float and value in ("inf", "-inf"):
            values[key] = float(value)
    return _make(name, values)


def initializer_table(init: Initializer, depth: int = 0) -> dict[str, Any]:
    """The table of an initializer's name and its arguments; of its axes, those that it was given."""
    if is_expression(init):
        if depth == DEEPEST:
            raise ValueError(
                f"a spec holds at most {DEEPEST} operations after each other, got more"
            )
        return expression_table(init, lambda inner: initializer_table(inner, depth + 1))
    name = next((name for name, cls in CLASSES.items() if type(init) is cls), None)
    if name is None or not dataclasses.is_dataclass(init):
        raise TypeError(f"an initializer of one's own has no text: {shown(init)}")
    table: dict[str, Any] = {"name": name}
    for field in dataclasses.fields(init):
        value = getattr(init, field.name)
        if value is not None and value != ():
            infinite = isinstance(value, float) and math.isinf(value)
            table[field.name] = str(value) if infinite else value
    return table


def spec_table(tensor: Tensor) -> dict[str, Any]:
    """The table of a tensor in a spec, where braces of names are doubled."""
    table: dict[str, Any] = {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "axes": tensor.axes,
        "init": initializer_table(tensor.init),
    }
    if tensor.padding_idx is not None:
        table["padding_idx"] = tensor.padding_idx
    table |= part_table(tensor)
    for key in REPEATED:
        if key in table:
            table[key] = table[key].replace("{", "{{").replace("}", "}}")
    return table


def part_table(tensor: Tensor) -> dict[str, Any]:
    """Which part of which stream a tensor is, as specs and provenance have it; empty for one of its own."""
    table = {key: getattr(tensor, key) for key in PART_KEYS if getattr(tensor, key) is not None}
    if "index" in table:
        table["index"] = [_item_text(item) for item in table["index"]]
    return table


def _item_text(item: Any) -> int | str:
    """An item of an index: an int, or a slice as NumPy writes it, such as ``"0:1024"``."""
    return slice_text(item) if isinstance(item, slice) else int(item)


def _index_from(value: Any) -> tuple[Any, ...]:
    """An index from a list of ints and of slices as texts."""
    if not isinstance(value, list):
        raise ValueError(f"index must be a list such as ['0:1024', 3], got {shown(value)}")
    items: list[Any] = []
    for item in value:
        found = slice_from(item) if isinstance(item, str) else None
        if found is not None:
            item = found
        elif type(item) is not int:
            raise ValueError(f"index must have ints and slices such as '0:1024', got {shown(item)}")
        items.append(item)
    return tuple(items)


def _part_from(table: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a `Tensor` that say which part of which stream it is."""
    part = {key: table[key] for key in PART_KEYS if key in table}
    for key in ("whole_shape", "axis_order"):
        if key in part and not isinstance(part[key], list):
            raise ValueError(f"{key} must be a list of ints, got {shown(part[key])}")
    if "stream" in part and not isinstance(part["stream"], str):
        raise ValueError(f"stream must be a text, got {shown(part['stream'])}")
    return part | ({"index": _index_from(part["index"])} if "index" in part else {})


def parse_rule(text: str) -> dict[str, Any]:
    """``*.bias=zeros`` or ``*=he_normal:min_axes=2`` as a rule of a spec."""
    match, equals, init = text.partition("=") if isinstance(text, str) else ("", "", "")
    if not match or not equals:
        raise ValueError(f"expected a rule such as '*.bias=zeros', got {shown(text)}")
    where = f"rule {shown(text)}"
    _check_match(where, match)
    rule: dict[str, Any] = {"match": match}
    name, _, options = init.partition(":")
    limits = [option for option in options.split(",") if option.startswith("min_axes=")]
    if limits:
        digits = limits[0].removeprefix("min_axes=")
        if len(limits) > 1 or not re.fullmatch("[0-9]{1,2}", digits):
            raise ValueError(f"{where}: expected one min_axes, an int in [0, {MAX_DIMS}]")
        rule["min_axes"] = check_int(f"{where}: min_axes", int(digits), 0, MAX_DIMS)
        options = ",".join(option for option in options.split(",") if option not in limits)
        init = f"{name}:{options}" if options else name
    if init != SKIP:
        parse_initializer(init)
    return rule | {"init": init}


class Description(NamedTuple):
    """What a file says of a model."""

    tensors: list[Tensor]
    defaults: Mapping[str, Default] = MappingProxyType({})  # initializers that names alone gave
    rules: Sequence[Mapping[str, Any]] = ()  # of a spec
    files: Mapping[str, bytes] = MappingProxyType({})  # of a config, for the folder of the weights


def read_tensors(
    path: Path,
    rules: Sequence[Mapping[str, Any]] = (),
    strict: bool = True,
    *,
    head: str | None = None,
    tiny: bool = False,
) -> Description:
    """The tensors that a file describes: a spec, a Hugging Face config, or stored tensors.

    `rules` come before what the file says. `strict` refuses rules that select no tensor, in the
    file too, unless that says otherwise. `head` and `tiny` are options of configs.
    """
    has_config = path.is_dir() and (path / "config.json").is_file()
    source = path / "config.json" if has_config else path
    has_options = head is not None or tiny
    spec: Any = None
    if source.suffix == ".json" and not is_index(source.name):
        try:
            spec, config = _read_spec_or_config(source, head, tiny)
        except (ValueError, TypeError, ImportError) as error:
            if not has_config or has_options or not _has_safetensors(path):
                raise
            warnings.warn(
                f"{error}: names, shapes and dtypes were taken from the .safetensors next to it",
                stacklevel=2,
            )
            return _stored_tensors(path, rules, strict)
        if config is not None:
            tensors = ruled_tensors(source, config.tensors, rules, strict)
            return Description(tensors, files=config.files)
    if has_options:
        raise ValueError(
            f"{source}: head and tiny (--head, --tiny) apply only to a config.json of Hugging Face"
        )
    if source.suffix == ".toml":
        spec = _read_toml(source)
    return (
        _stored_tensors(source, rules, strict)
        if spec is None
        else _spec_tensors(source, spec, rules, strict)
    )


def _has_safetensors(folder: Path) -> bool:
    return any(name.endswith(".safetensors") for name in os.listdir(folder))


def _read_spec_or_config(
    path: Path, head: str | None, tiny: bool
) -> tuple[dict[str, Any], Pretrained | None]:
    """The content of a JSON file, and the tensors of its model if it is a Hugging Face config."""
    spec = read_json(path)
    if not isinstance(spec, dict):
        raise ValueError(f"{path}: expected a table, got {shown(spec)}")
    if "model_type" in spec:
        return spec, _read_config(path, head, tiny)
    if not spec.keys() & TENSOR_LISTS:
        raise ValueError(
            f"{path}: expected model_type, as in a config of Hugging Face, or the tensors or "
            f"tensors_from of a spec, got the keys {shown(sorted(spec))}"
        )
    return spec, None


def _read_config(path: Path, head: str | None, tiny: bool) -> Pretrained:
    try:
        from fastinit.huggingface import read_config  # needs transformers, which nothing else does

        return read_config(path, head=head, tiny=tiny)
    except (ValueError, TypeError, ImportError) as error:
        kind = next(k for k in (ValueError, TypeError, ImportError) if isinstance(error, k))
        raise kind(f"{path}: {error}") from error


def _stored_tensors(path: Path, rules: Sequence[Mapping[str, Any]], strict: bool) -> Description:
    """The tensors of files, with the initializers of rules, or those that names suggest."""
    found = [(stored, _stored_table(stored)) for stored in read_stored(path)]
    if strict:
        _check_rules(path, rules, [table for _, table in found])
    tables, defaults, unknown = [], {}, []
    for stored, table in found:
        if not (rule := _rule(table, rules)):
            row = default_for(stored)
            if row is None or row.init is None:
                unknown.append(stored)
                continue
            defaults[stored.name], rule = row, {"init": row.init}
        tables.append({"axes": "out_in", **table, **rule})
    if unknown:
        raise ValueError(f"{path}: {no_default(unknown)}")
    if sentence := not_known(defaults):
        warnings.warn(f"{path}: {sentence}", stacklevel=2)
    return Description(_tensors(path, tables), defaults)


#: Of a key in TOML; specs have no use for more than 4.
MOST_KEY_PARTS = 32
_TEXT = r"""(?: "(?: [^\\"\n] | \\[^\n] )*+ "?+ | '[^'\n]*+ '?+ )"""
#: Keys of more parts in TOML. Texts and comments, which may hold anything, are passed over; those without an end go on
#: to that of the line or the file, so that no part of a file is looked at many times.
_LONG_KEY = re.compile(
    rf"""
      \"{{3}} (?: [^\\"] | \\. | "(?!"") )*+ (?: "{{3,5}} | \\?\Z )
    | '{{3}} (?: [^'] | '(?!'') )*+ (?: '{{3,5}} | \Z )
    | \# [^\n]*+
    | (?P<key> (?: (?: [\w-]++ | {_TEXT} ) [ \t]*+ \. [ \t]*+ ){{{MOST_KEY_PARTS}}} )
    | [\w-]++ | {_TEXT}
    """,
    re.DOTALL | re.VERBOSE,
)


def _read_toml(path: Path) -> Any:
    content = read_regular(path)
    try:
        text = content.decode()
        # tomllib takes time and memory by the square of a key's parts: gigabytes for a file of 50 kB.
        if any(match["key"] for match in _LONG_KEY.finditer(text)):
            raise ValueError(f"a key of more than {MOST_KEY_PARTS} parts")
        return tomllib.loads(text)
    except ValueError as error:  # an integer of thousands of digits, too
        raise ValueError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None


def _ruled_tensors(
    path: Path,
    tables: Sequence[Mapping[str, Any]],
    rules: Sequence[Mapping[str, Any]],
    strict: bool,
) -> list[Tensor]:
    """Tensors, of whose tables rules count first."""
    if strict:
        _check_rules(path, rules, tables)
    return _tensors(path, [{**table, **_rule(table, rules)} for table in tables])


def ruled_tensors(
    where: str | Path, tensors: Sequence[Tensor], rules: Sequence[Mapping[str, Any]], strict: bool
) -> list[Tensor]:
    """Tensors with the initializers that rules give them, without those that rules leave out."""
    tables = [_stored_table(tensor) for tensor in tensors]
    if strict:
        _check_rules(where, rules, tables)
    kept = []
    for tensor, table in zip(tensors, tables, strict=True):
        rule = _rule(table, rules)
        if rule.get("init") == SKIP:
            continue
        if rule:
            try:
                tensor = dataclasses.replace(tensor, init=initializer_from(rule["init"]))
                tensor.resolve()
            except (ValueError, TypeError) as error:
                name = shortened(tensor.name)
                raise type(error)(f"{where}: tensor {name}: {error}") from None
        kept.append(tensor)
    _check_any(where, kept, len(tensors))
    return kept


def _check_any(where: str | Path, kept: Collection[object], count: int) -> None:
    """Refuse a model without tensors."""
    if not kept:
        left_out = f"no tensors are left: rules leave out all {count:,}"
        raise ValueError(f"{where}: {left_out if count else 'no tensors in it'}")


def _stored_table(stored: Stored | Tensor) -> dict[str, Any]:
    return {"name": stored.name, "shape": list(stored.shape), "dtype": stored.dtype}


def _spec_tensors(
    path: Path, spec: Any, rules: Sequence[Mapping[str, Any]], strict: bool
) -> Description:
    """Of a tensor, the command line's rule counts before its own table, then the spec's rule, the spec, and what is stored."""
    _check_table(f"{path}", spec, MODEL_KEYS, {"axes": str, "dtype": str, "tensors_from": str})
    check_axes_name(f"{path}: axes", spec.get("axes", "in_out"))
    if not isinstance(spec.get("strict", True), bool):
        raise ValueError(f"{path}: strict must be true or false, got {shown(spec['strict'])}")
    stored: list[dict[str, Any]] = []
    if "tensors_from" in spec:
        if len(spec["tensors_from"]) > LONGEST_PATH or not is_path(spec["tensors_from"]):
            raise ValueError(
                f"{path}: tensors_from cannot be a path: {shown(spec['tensors_from'])}"
            )
        stored = [_stored_table(one) for one in read_stored(path.parent / spec["tensors_from"])]
    listed = _tables(path, spec, "tensors")
    if not stored and not listed:
        raise ValueError(f"{path}: expected tensors or tensors_from, got none")
    own_rules = _tables(path, spec, "rules")
    for i, rule in enumerate(own_rules):
        where = f"{path}: rules[{i}]"
        _check_table(where, rule, RULE_KEYS, {"match": str}, required=("match", "init"))
        _check_match(where, rule["match"])
        check_int(f"{where}: min_axes", rule.get("min_axes", 0), 0, MAX_DIMS)
    for i, table in enumerate(listed):
        where = f"{path}: tensors[{i}]"
        _check_table(where, table, TENSOR_KEYS, {"name": str}, required=("name", "shape"))
    listed = _repeated(path, listed)
    if strict and spec.get("strict", True):
        _check_rules(path, own_rules, [*stored, *listed])
    defaults = {key: spec[key] for key in ("axes", "dtype") if key in spec}
    tables = []
    for one in stored:
        # Integers and other dtypes for constants keep theirs.
        given = {k: v for k, v in defaults.items() if k != "dtype" or is_fillable(one["dtype"])}
        tables.append({**one, **given, **_rule(one, own_rules)})
    tables += [{**defaults, **_rule(one, own_rules), **one} for one in listed]
    return Description(_ruled_tensors(path, tables, rules, strict), rules=own_rules)


#: A doubled brace, a range such as ``{0..31}``, or a brace that is neither.
_BRACES = re.compile(r"\{\{|\}\}|\{([0-9]{1,9})\.\.([0-9]{1,9})\}|[{}]")


def _repeated(path: Path, listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tables of a spec with one for each tensor, where names with ranges stand for several."""
    tables: list[dict[str, Any]] = []
    for i, table in enumerate(listed):
        texts = {key: table[key] for key in REPEATED if isinstance(table.get(key), str)}
        if any("{" in text or "}" in text for text in texts.values()):
            tables += _copies(f"{path}: tensors[{i}]", table, texts, MOST_REPEATED - len(tables))
        else:
            tables.append(table)
    return tables


def _copies(
    where: str, table: dict[str, Any], texts: Mapping[str, str], most: int
) -> Iterator[dict[str, Any]]:
    """The tables that one with ranges in its texts stands for, at most so many."""
    parsed = {key: _parse_braces(f"{where}: {key}", text) for key, text in texts.items()}
    ranges = parsed["name"][1]
    if any(other != ranges for _, other in parsed.values()):
        raise ValueError(
            f"{where}: stream must have the ranges of name, or tensors would have the same values; "
            f"got {shown(texts['stream'])} for {shown(texts['name'])}"
        )
    if math.prod(len(numbers) for numbers, _ in ranges) > most:
        raise ValueError(
            f"{where}: the braces of a spec must stand for at most {MOST_REPEATED:,} tensors, "
            f"got more with {shown(texts['name'])}"
        )
    for numbers in itertools.product(*(numbers for numbers, _ in ranges)):
        digits = [str(n).zfill(width) for n, (_, width) in zip(numbers, ranges, strict=True)]
        made = {}
        for key, (plain, _) in parsed.items():
            between = zip(digits, plain[1:], strict=True)  # a number, and the plain text after it
            made[key] = plain[0] + "".join(digit + text for digit, text in between)
        yield table | made


def _parse_braces(where: str, text: str) -> tuple[list[str], list[tuple[range, int]]]:
    """The plain text around the ranges of a text, and each range with its least number of digits."""
    if len(text) > LONGEST_REPEATED:
        raise ValueError(
            f"{where} must have at most {LONGEST_REPEATED} characters where it has braces, got {len(text)}"
        )
    plain, ranges, end = [""], [], 0
    for match in _BRACES.finditer(text):
        plain[-1] += text[end : match.start()]
        end = match.end()
        if match[1] is not None:
            first, last = int(match[1]), int(match[2])
            if first > last:
                raise ValueError(f"{where}: {match[0]} must not count down, got {shown(text)}")
            ranges.append((range(first, last + 1), len(match[1])))
            plain.append("")
        elif match[0] in ("{{", "}}"):
            plain[-1] += match[0][0]
        else:
            raise ValueError(
                f"{where}: expected ranges such as {{0..31}}, and other braces doubled, got {shown(text)}"
            )
    plain[-1] += text[end:]
    return plain, ranges


def _check_match(where: str, match: str) -> None:
    if len(match) > LONGEST_MATCH:
        raise ValueError(
            f"{where}: match must have at most {LONGEST_MATCH} characters, got {len(match)}"
        )


def _check_rules(
    where: str | Path, rules: Sequence[Mapping[str, Any]], tables: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse a rule that selects no tensor, unless it leaves tensors out: then there is nothing to leave out."""
    for rule in rules:
        if rule["init"] != SKIP:
            axes = rule.get("min_axes", 0)
            names = [table["name"] for table in tables if _count_axes(table) >= axes]
            what = f"tensor of at least {axes} axes" if axes else "tensor"
            check_patterns(f"{where}: rules", [rule["match"]], names, what=what)


def _count_axes(table: Mapping[str, Any]) -> int:
    shape = table["shape"]
    return len(shape) if isinstance(shape, list) else 0  # other shapes are refused later


def _rule(table: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the first rule that selects a tensor says of it."""
    axes = _count_axes(table)
    selecting = (
        rule
        for rule in rules
        if fnmatchcase(table["name"], rule["match"]) and axes >= rule.get("min_axes", 0)
    )
    rule = next(selecting, {})
    return {key: value for key, value in rule.items() if key not in ("match", "min_axes")}


def is_skipped(stored: Stored, rules: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the first rule that selects a stored tensor leaves it out."""
    return _rule(_stored_table(stored), rules).get("init") == SKIP


def _tables(path: Path, spec: dict[str, Any], key: str) -> list[Any]:
    tables = spec.get(key, [])
    if not isinstance(tables, list):
        raise ValueError(f"{path}: {key} must be a list of tables, got {shown(tables)}")
    return tables


def _check_table(
    where: str,
    table: Any,
    keys: set[str],
    types: Mapping[str, type],
    required: Iterable[str] = (),
) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: expected a table, got {shown(table)}")
    unknown = sorted(set(table) - keys)
    if unknown:
        raise ValueError(
            f"{where}: expected the keys {', '.join(sorted(keys))}, got {shown(unknown[0])}"
        )
    missing = next((key for key in required if key not in table), None)
    if missing is not None:
        raise ValueError(f"{where}: the key {missing!r} is missing")
    for key, kind in types.items():
        if key in table and not isinstance(table[key], kind):
            raise ValueError(f"{where}: {key} must be a text, got {shown(table[key])}")


def _tensors(path: Path, tables: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    tensors: dict[str, Tensor] = {}
    for table in tables:
        where = f"{path}: tensor {shortened(table['name'])}"
        if table.get("init") == SKIP:
            continue
        if table["name"] in tensors:
            raise ValueError(f"{where} occurs twice")
        try:
            tensors[table["name"]] = _tensor(table)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{where}: {error}") from None
    _check_any(path, tensors, len(tables))
    return list(tensors.values())


def _tensor(full: Mapping[str, Any]) -> Tensor:
    if "init" not in full:
        raise ValueError("it has no init, and no rule matches it")
    shape = full["shape"]
    if not isinstance(shape, list):
        raise ValueError(f"shape must be a list of sizes, got {shown(shape)}")
    dtype = full.get("dtype", "float32")
    if not is_stored_dtype_name(dtype):
        raise ValueError(
            f"dtype must be one of {', '.join(DTYPES)} (or a rule says {SKIP!r}), got {shown(dtype)}"
        )
    init, axes = initializer_from(full["init"]), full.get("axes", "in_out")
    tensor = Tensor(
        full["name"], tuple(shape), init, dtype, full.get("padding_idx"), axes, **_part_from(full)
    )
    tensor.resolve()
    return tensor


@_kernel.in_default_arithmetic
def recorded(path: Path) -> tuple[dict[str, Tensor], int | None, set[str]]:
    """What a .safetensors file says of its own tensors and their seed, if fastinit wrote it.

    Tensors that it does not mention are left out. The names of those that it mentions and does
    not hold come last: without a header nothing more is known of them.
    """
    stored, metadata = read_safetensors(path)
    if "fastinit" not in metadata:
        return {}, None, set()
    record = parse_json(path, metadata["fastinit"].encode(errors="surrogatepass"))
    where = f"{path}: __metadata__ of fastinit"
    if not isinstance(record, dict):
        raise ValueError(f"{where} must be an object, got {shown(record)}")
    version = record.get("stream_version")
    if type(version) is not int or version != _kernel.STREAM_VERSION:
        raise ValueError(
            f"{path}: written with stream version {shown(version)}, this is {_kernel.STREAM_VERSION}"
        )
    inits, axes, rows = (record.get(key) for key in ("init", "axes", "padding_idx"))
    if not (isinstance(inits, dict) and isinstance(axes, dict) and isinstance(rows, dict)):
        raise ValueError(f"{where} must have the objects init, axes and padding_idx")
    parts = {key: record.get(key, {}) for key in PART_KEYS}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise ValueError(f"{where} must have objects as {', '.join(PART_KEYS)}")
    given_parts = {name for part in parts.values() for name in part}
    if other := (axes.keys() ^ inits.keys()) | ((rows.keys() | given_parts) - inits.keys()):
        raise ValueError(f"{where}: {shortened(min(other))} must be in init and axes: give a spec")
    tensors = {}
    for s in stored:
        if s.name not in inits:
            continue
        try:
            init = initializer_from(inits[s.name])
            dtype = cast("StoredDtypeName", s.dtype)  # a Tensor refuses all others
            part = _part_from({key: parts[key][s.name] for key in parts if s.name in parts[key]})
            made = Tensor(s.name, s.shape, init, dtype, rows.get(s.name), axes[s.name], **part)
            if is_fillable(made.dtype):
                made.prepare()  # its shape has the axes, and its dtype the values
            tensors[s.name] = made
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: {shortened(s.name)}: {error}") from None
    try:
        seed = check_int("seed", record.get("seed"), 0, MAX_UINT64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None
    return tensors, seed, inits.keys() - {s.name for s in stored}
