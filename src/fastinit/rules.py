"""Rules from patterns of names to initializers: whether each selects a tensor, and whether that can have it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from fastinit.checks import shortened
from fastinit.initializers import Initializer, VarianceScaling

#: Names that are compared with one that is unknown, so that a model of 100,000 tensors takes no longer than one of 5,000.
MOST_COMPARED = 5000
#: Near names that an error lists.
MOST_LISTED = 3


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Up to three of `names` that are spelt most like `name`, which may be a pattern.

    Of names that differ in their numbers alone, such as those of layers, the first stands for all.
    """
    families: dict[str, str] = {}
    for one in names:
        families.setdefault(re.sub(r"\d+", "0", one), one)
        if len(families) == MOST_COMPARED:
            break
    wanted = re.sub(r"\d+", "0", name)
    # Patterns such as "*.wieght" are compared with as many last letters of each name.
    open_start, open_end = wanted.startswith("*"), wanted.endswith("*")
    wanted = wanted.strip("*")
    pieces: dict[str, str] = {}
    for family, one in families.items():
        piece = family[-len(wanted) :] if open_start and wanted else family
        piece = piece[: len(wanted)] if open_end and not open_start else piece
        pieces.setdefault(piece, one)
    return [pieces[piece] for piece in get_close_matches(wanted, pieces, MOST_LISTED)]


def near_words(name: str, names: Iterable[str]) -> str:
    """``"; near names: 'a', 'b'"``, or nothing where none is near."""
    found = ", ".join(shortened(one) for one in near_names(name, names))
    return f"; near names: {found}" if found else ""


def check_patterns(
    argument: str,
    patterns: Iterable[str],
    names: Collection[str],
    tied: Mapping[str, str] | None = None,
    what: str = "tensor",
) -> None:
    """Refuse the first pattern (`fnmatch`) that matches none of `names`, which are those of each `what`.

    `tied` maps further names of tensors to those among `names`: a pattern that matches only
    such an alias is refused with the name that it is tied to.
    """
    for pattern in patterns:
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        alias = next((one for one in tied or {} if fnmatchcase(one, pattern)), None)
        if tied is not None and alias is not None:
            raise ValueError(
                f"{argument}: {shortened(pattern)} matches only {shortened(alias)}, which is tied to "
                f"{shortened(tied[alias])}: use that name"
            )
        raise ValueError(
            f"{argument}: {shortened(pattern)} matches no {what}{near_words(pattern, names)}"
        )


def check_matches(
    rules: Mapping[str | type, object],
    names: Collection[str],
    tied: Mapping[str, str],
    what: str = "tensor",
) -> None:
    """The same for the patterns among rules of patterns and types, but for those of None, which may match nothing."""
    patterns = [key for key, rule in rules.items() if isinstance(key, str) and rule is not None]
    check_patterns("rules", patterns, names, tied, what)


def check_fans(name: str, init: Initializer, shape: tuple[int, ...], advice: str) -> None:
    """Refuse an initializer that scales by fans for a tensor of fewer than two axes, whose fans nobody defines."""
    if isinstance(init, VarianceScaling) and len(shape) < 2:
        raise ValueError(
            f"an initializer that scales by fans needs at least 2 axes, got shape {shape} of "
            f"{shortened(name)}: {advice}"
        )
