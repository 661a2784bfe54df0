"""Arguments to plain Python values, or an error that names the argument."""

from __future__ import annotations

import math
import numbers
import operator
import re
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

#: Types that are no numbers here; NumPy 1 warns that it takes its own for an index, and NumPy 2 refuses it.
BOOLS = (bool, np.bool_)


def check_int(
    name: str, value: Any, low: int, high: int | None = None, expected: str | None = None
) -> int:
    """`value` as an int in [low, high]; NumPy integers are integers, bools are not.

    `expected` is what errors say instead of that.
    """
    try:
        result = None if isinstance(value, BOOLS) else operator.index(value)
    except TypeError:
        result = None
    if result is None:
        kind = type(value).__name__
        expected = expected or _int_within(low, high)
        raise TypeError(f"{name} must be {expected}, got {shown(value)} of type {kind}")
    if result < low or (high is not None and result > high):
        expected = expected or _int_within(low, high)
        raise ValueError(f"{name} must be {expected}, got {_shown(result)}")
    return result


def _int_within(low: int, high: int | None) -> str:
    if high is None:
        return f"an int of at least {_shown(low)}"
    end = "2**64)" if high == 2**64 - 1 else f"{_shown(high)}]"
    return f"an int in [{_shown(low)}, {end}"


def _shown(value: int) -> str:
    """The digits of an int, or its length where Python refuses to print them; 2**64 by its name."""
    if value in (2**64, 2**64 - 1):
        return "2**64" if value == 2**64 else "2**64 - 1"
    bits = value.bit_length()
    return str(value) if bits < 1000 else f"an int of {bits} bits"


def check_real(name: str, value: Any) -> float:
    """`value` as a float; bools, strings and arrays are not real numbers."""
    if isinstance(value, numbers.Real) and not isinstance(value, BOOLS):
        try:
            return float(value)
        except OverflowError:
            kind = type(value).__name__
            raise ValueError(
                f"{name} must be in the range of a float, got a larger {kind}"
            ) from None
    raise TypeError(
        f"{name} must be a real number, got {shown(value)} of type {type(value).__name__}"
    )


def check_positive(name: str, value: Any) -> float:
    """`value` as a positive, finite float."""
    result = check_real(name, value)
    if not (result > 0 and math.isfinite(result)):
        raise ValueError(f"{name} must be positive and finite, got {result!r}")
    return result


def check_bounds(lower: float, upper: float) -> None:
    if not lower < upper:
        raise ValueError(f"lower must be below upper, got lower={lower!r}, upper={upper!r}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}")


def check_callback(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(
            f"{name} must be callable or None, got {shown(value)} of type {type(value).__name__}"
        )


class _Brief(reprlib.Repr):
    """`repr` that looks at no more of long texts, lists and tuples than is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 30
        self.maxstring = self.maxother = 200

    def repr_int(self, x: int, level: int) -> str:
        return _shown(x)


def shown(value: Any) -> str:
    """Any value as a literal on one line, or the first 80 characters of it."""
    try:
        text = re.sub(r"\s*\n\s*", " ", _Brief().repr(value))  # arrays have several lines
        text = printable(text[:81])
        return text if len(text) <= 80 else text[:80] + "..."
    except Exception:  # of the value's own methods
        return f"a {type(value).__name__} that cannot be printed"


def counted(n: int, noun: str) -> str:
    """``1 tensor`` or ``2,000 tensors``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def readable_bytes(n: int) -> str:
    """A number of bytes in the binary unit that fits: ``224 MiB``."""
    size, units = float(n), ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.4g} {units[0]}"


def shortened(name: str) -> str:
    """A name from a file as a literal on one line, without its middle if it is long."""
    return repr(without_middle(name))


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names of a list as literals, and how many there are besides."""
    more = len(names) - most
    texts = ", ".join(map(shortened, names[:most]))
    return f"{texts} and {more:,} more" if more > 0 else texts


def without_middle(name: str, length: int = 80) -> str:
    """A name, or `length` characters of its ends."""
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}...{name[half + 3 - length :]}"


def printable(text: str) -> str:
    """`text` on one line: control characters of names, for one, as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
