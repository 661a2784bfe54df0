"""Expressions as the tables of specs and of provenance, and back."""

from __future__ import annotations

import base64
import binascii
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastinit.checks import check_int, shown
from fastinit.dtypes import stored_dtype
from fastinit.expressions import BINARY, UNARY, Cast, Draw, Known, Norm, Op, Parts
from fastinit.initializers import Computed, Distribution, Initializer, integer_limits
from fastinit.rounding import encode

#: Makes the table of an initializer within another, or an initializer from such a table.
ToTable = Callable[[Initializer], dict[str, Any]]
FromTable = Callable[[Any], Initializer]

#: Known values that a table lists; more are packed.
MOST_LISTED = 4096
#: Bytes of known values that a table packs.
MOST_PACKED = 2**24
#: Tables within tables: far more than models ask for, far fewer than Python's stack holds.
DEEPEST = 64

#: The keys of each expression's table, but for its name; those that it must have come first, then "|".
KEYS = {
    "draw": "of | number first steps stream",
    "known": "dtype | values shape packed",
    "parts": "base parts |",
    "norm": "of shape axes |",
    "cast": "of dtype |",
    **dict.fromkeys((*UNARY, *BINARY), "of |"),
}


def is_expression(init: object) -> bool:
    """Whether an initializer has a table of its own form."""
    return isinstance(init, (Draw, Known, Op, Parts, Norm, Cast))


def expression_table(init: Initializer, nested: ToTable) -> dict[str, Any]:
    """The table of an expression; `nested` makes those of what it is made of."""
    match init:
        case Draw(of, number, first, steps, stream):
            table: dict[str, Any] = {"name": "draw", "of": nested(of)}
            table |= {"number": number} if number != 1 else {}
            table |= {"first": first} if first else {}
            table |= {"steps": list(steps)} if steps is not None else {}
            return table | ({"stream": stream} if stream is not None else {})
        case Op(name, operands):
            tables = [_number_text(x) if isinstance(x, float) else nested(x) for x in operands]
            return {"name": name, "of": tables[0] if name in UNARY else tables}
        case Parts(base, parts):
            listed = [{"index": _index_texts(index), "init": nested(x)} for index, x in parts]
            return {"name": "parts", "base": nested(base), "parts": listed}
        case Norm(of, shape, axes):
            return {"name": "norm", "of": nested(of), "shape": list(shape), "axes": list(axes)}
        case Cast(of, dtype):
            return {"name": "cast", "of": nested(of), "dtype": dtype}
        case Known():
            return _known_table(init)
    raise TypeError(f"expected an expression, got {shown(init)}")


def expression_from(table: Mapping[str, Any], nested: FromTable) -> Computed:
    """The expression of a table; `nested` makes what it is made of."""
    name = table["name"]
    required, optional = (keys.split() for keys in KEYS[name].split("|"))
    _check_keys(name, table, required, optional)

    def distribution(value: Any) -> Distribution:
        made = nested(value)
        if not isinstance(made, Distribution):
            raise ValueError(f"{name} takes distributions that need no fans, got {shown(value)}")
        return made

    if name == "draw":
        steps = table.get("steps")
        steps = None if steps is None else tuple(_list("steps", steps))
        of = distribution(table["of"])
        return Draw(of, table.get("number", 1), table.get("first", 0), steps, table.get("stream"))
    if name == "known":
        return _known_from(table)
    if name == "norm":
        shape, axes = (tuple(_list(key, table[key])) for key in ("shape", "axes"))
        return Norm(distribution(table["of"]), shape, axes)
    if name == "cast":
        return Cast(distribution(table["of"]), table["dtype"])
    if name == "parts":
        parts = []
        for part in _list("parts", table["parts"]):
            if not isinstance(part, dict):
                raise ValueError(f"parts must be tables of index and init, got {shown(part)}")
            _check_keys("parts", part, ["index", "init"], [])
            parts.append((_index_from(part["index"]), distribution(part["init"])))
        return Parts(distribution(table["base"]), tuple(parts))
    given = [table["of"]] if name in UNARY else _list("of", table["of"])
    operands = (_number_from(x) if _is_number(x) else distribution(x) for x in given)
    return Op(name, tuple(operands))


def _check_keys(
    name: str, table: Mapping[str, Any], required: Iterable[str], optional: Iterable[str]
) -> None:
    allowed = [*required, *optional]
    for key in table:
        if key not in allowed and key != "name":
            raise ValueError(f"expected arguments {', '.join(allowed)} of {name}, got {shown(key)}")
    for key in required:
        if key not in table:
            raise ValueError(f"{name} needs {key}, got {shown(sorted(table))}")


def _list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list, got {shown(value)}")
    return value


def _number_text(value: float) -> float | str:
    """A number; JSON has no infinity and no NaN, which are texts there."""
    return value if math.isfinite(value) else str(value)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real or value in ("inf", "-inf", "nan")


def _number_from(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"numbers must be in the range of a float, got {shown(value)}") from None


def _index_texts(index: Any) -> list[int | str]:
    """An index as a list of ints, of slices as NumPy writes them, and of ``"..."``."""
    return [_item_text(item) for item in index]


def _item_text(item: Any) -> int | str:
    if item is Ellipsis:
        return "..."
    return slice_text(item) if isinstance(item, slice) else int(item)


def slice_text(item: slice) -> str:
    """A slice as NumPy writes it, such as ``"0:1024"``."""
    ends = [item.start, item.stop] + ([] if item.step is None else [item.step])
    return ":".join("" if end is None else str(end) for end in ends)


#: A slice as NumPy writes it.
SLICE = re.compile(r"(-?[0-9]{1,20})?:(-?[0-9]{1,20})?(?::(-?[0-9]{1,20})?)?")


def slice_from(text: str) -> slice | None:
    """The slice of a text, if it is one."""
    match = SLICE.fullmatch(text)
    if match is None:
        return None
    return slice(*(None if end is None else int(end) for end in match.groups()))


def _index_from(value: Any) -> tuple[Any, ...]:
    items: list[Any] = []
    for item in _list("index", value):
        found: Any = item if type(item) is int else None
        if isinstance(item, str):
            found = Ellipsis if item == "..." else slice_from(item)
        if found is None:
            raise ValueError(
                f"index must have ints, slices such as '0:1024' and '...', got {shown(item)}"
            )
        items.append(found)
    return tuple(items)


def _known_table(known: Known) -> dict[str, Any]:
    if known.values.size > MOST_LISTED:
        return _packed_table(known)
    numbers = known.numbers
    texts: NDArray[Any] = np.empty(numbers.shape, object)
    flat = texts.reshape(-1)
    for i, value in enumerate(numbers.reshape(-1)):
        flat[i] = _value_text(value, known.dtype)
    table = {"name": "known", "dtype": known.dtype, "values": texts.tolist()}
    return table if texts.size else table | {"shape": list(texts.shape)}


def _packed_table(known: Known) -> dict[str, Any]:
    """The table of many values: their bytes, little-endian, compressed."""
    values = known.values
    if values.nbytes > MOST_PACKED:
        raise ValueError(
            f"a spec holds at most {MOST_PACKED:,} bytes of known values of a tensor, "
            f"got {values.nbytes:,} of shape {values.shape}"
        )
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    text = base64.b64encode(zlib.compress(data, 9)).decode()
    return {"name": "known", "dtype": known.dtype, "shape": list(values.shape), "packed": text}


def _packed_from(table: Mapping[str, Any]) -> Known:
    """`Known` from the table of `_packed_table`; no more bytes are made than the shape has."""
    dtype, packed = stored_dtype(table["dtype"]), table["packed"]
    shape = tuple(check_int("shape", n, 0) for n in _list("shape", table.get("shape")))
    nbytes = dtype.nbytes(math.prod(shape))
    if nbytes > MOST_PACKED or dtype.bits < 8 or not isinstance(packed, str):
        raise ValueError(
            f"packed must be a text of at most {MOST_PACKED:,} bytes of a dtype of whole bytes, "
            f"got {shown(packed)} for {dtype.name} of shape {shape}"
        )
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(base64.b64decode(packed, validate=True), nbytes + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"packed must be compressed bytes in base64: {error}") from error
    if len(data) != nbytes:
        raise ValueError(f"packed must have {nbytes:,} bytes for shape {shape}, got {len(data):,}")
    is_own = dtype.npy is not None and not dtype.npy.startswith("|V")
    code = np.dtype(dtype.name if is_own else f"u{dtype.bits // 8}").newbyteorder("<")
    array = np.frombuffer(data, code)
    return Known(array.astype(code.newbyteorder("=")).reshape(shape), dtype.name)


def _value_text(value: Any, dtype: str) -> Any:
    """A value as a table has it: the shortest digits that give it."""
    if dtype == "complex64":
        return str(complex(value))
    if dtype != "float32" or not np.isfinite(value):
        return _number_text(value.item()) if dtype.startswith(("float", "bf")) else value.item()
    short = float(str(np.float32(value)))
    return short if np.float32(short) == value else float(value)


def _known_from(table: Mapping[str, Any]) -> Known:
    if ("packed" in table) == ("values" in table):
        raise ValueError("known takes values, or packed with its shape, got both or neither")
    if "packed" in table:
        return _packed_from(table)
    dtype = stored_dtype(table["dtype"])
    values: list[Any] = []
    shape = _flatten(table["values"], values)
    if "shape" in table:
        given = tuple(check_int("shape", n, 0) for n in _list("shape", table["shape"]))
        if math.prod(given) != len(values):
            raise ValueError(
                f"values must be {math.prod(given):,} for shape {given}, got {len(values):,}"
            )
        shape = given
    converted = [_value_from(value, dtype.name) for value in values]
    if dtype.is_integer or dtype.name == "bool":
        array = np.array(converted, dtype.name)
    elif dtype.bits < 8:
        raise ValueError(f"known values must be of a dtype of whole bytes, got {dtype.name}")
    else:
        kind = np.complex128 if dtype.name == "complex64" else np.float64
        with np.errstate(over="ignore"):
            array = encode(np.array(converted, kind), dtype.name)
    return Known(array.reshape(shape), dtype.name)


def _flatten(value: Any, values: list[Any], depth: int = 0) -> tuple[int, ...]:
    """The shape of nested lists, whose values are appended to `values`."""
    if not isinstance(value, list):
        values.append(value)
        return ()
    if depth == DEEPEST:
        raise ValueError(f"values must be lists of at most {DEEPEST} axes, got more")
    shapes = {_flatten(one, values, depth + 1) for one in value}
    if len(shapes) > 1:
        raise ValueError("values must be lists of equal lengths, got several lengths")
    return (len(value), *(shapes.pop() if shapes else ()))


def _value_from(value: Any, dtype: str) -> Any:
    limits = integer_limits(dtype)
    if dtype == "bool" and isinstance(value, bool):
        return value
    if limits is not None and dtype != "bool":
        return check_int("values", value, *limits)
    if limits is None and _is_number(value):
        return _number_from(value)
    if dtype == "complex64" and isinstance(value, str):
        try:
            return complex(value)
        except ValueError:
            pass  # the error below says more
    raise ValueError(f"values must be numbers of {dtype}, got {shown(value)}")
