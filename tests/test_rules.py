"""Patterns of names that match nothing, and the names that are near them."""

from __future__ import annotations

import pytest

from fastinit.rules import check_patterns, near_names

NAMES = ["embed.weight", *(f"layers.{i}.{x}" for i in range(3) for x in ("weight", "bias"))]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("*.wieght", "embed.weight"),
        ("layers.1.wieght", "layers.0.weight"),
        ("layers.*.wieght", "layers.0.weight"),
        ("embd*", "embed.weight"),
        ("embed.weights", "embed.weight"),
    ],
)
def test_near_names(name: str, near: str) -> None:
    assert near_names(name, NAMES)[0] == near


@pytest.mark.parametrize("name", ["", "*", "qqq"])
def test_nothing_is_near(name: str) -> None:
    assert near_names(name, NAMES) == []


def test_patterns_that_match_nothing() -> None:
    check_patterns("rules", ["*.weight", "layers.?.bias", "*"], NAMES)
    with pytest.raises(ValueError, match=r"rules: '\*\.wieght' matches no tensor; near names: 'em"):
        check_patterns("rules", ["*.bias", "*.wieght"], NAMES)
    with pytest.raises(ValueError, match=r"rules: 'qqq' matches no tensor$"):
        check_patterns("rules", ["qqq"], NAMES)


def test_a_pattern_of_a_tied_name_says_what_it_is_tied_to() -> None:
    tied = {"lm_head.weight": "embed.weight"}
    with pytest.raises(
        ValueError, match=r"'lm_head\*' matches only 'lm_head.weight', which is tie"
    ):
        check_patterns("rules", ["lm_head*"], NAMES, tied)
    check_patterns("rules", ["*.weight"], NAMES, tied)
