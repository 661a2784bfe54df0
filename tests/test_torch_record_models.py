"""Models of many styles, and the distributions that their own code asks for."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from torch_models import CASES, Case, tensors_of

SEED = 3

cases = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def constructed(case: Case) -> nn.Module:
    """The model as PyTorch constructs it."""
    torch.manual_seed(SEED)
    return case.build()


def check_table(case: Case, module: nn.Module) -> None:
    """Moments with abs(z) < 6, constants, bounds and equalities; seeds are fixed (see torch_expected.Z)."""
    tensors = tensors_of(module)
    for name in tensors:
        case.expected(name).check(name, tensors)


@cases
def test_tables_describe_plain_construction(case: Case) -> None:
    check_table(case, constructed(case))


@cases
def test_every_pattern_of_a_table_is_used(case: Case) -> None:
    used = {id(case.expected(name)) for name in tensors_of(constructed(case))}
    assert used == {id(expected) for expected in case.table.values()}
