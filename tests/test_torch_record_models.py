"""Models of many styles: recorded and replayed, they have the distributions that their own code asks for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import fastinit as fi
import fastinit.torch as fit
from torch_models import CASES, LOOKING, REFUSED, Case, Holder, tensors_of

SEED = 3

cases = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def constructed(case: Case) -> nn.Module:
    """The model as PyTorch constructs it."""
    torch.manual_seed(SEED)
    return case.build()


def recorded(case: Case) -> nn.Module:
    with fit.record():
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


@cases
def test_recorded_models_have_what_their_code_asks_for(case: Case) -> None:
    """Constants to the bit, ties, and all that is not values; PyTorch's generator is left alone."""
    plain = constructed(case)
    expected = tensors_of(plain)
    state = torch.get_rng_state()
    module = recorded(case)
    assert fit.init_module_(module, seed=SEED) is module
    assert case.seeds or torch.equal(torch.get_rng_state(), state)
    check_table(case, module)
    assert str(module) == str(plain)
    tensors = tensors_of(module)
    assert list(tensors) == list(expected)
    for name, tensor in tensors.items():
        assert described(tensor) == described(expected[name]), name
        if case.expected(name).exact:
            assert torch.equal(tensor, expected[name]), name


def described(tensor: Tensor) -> tuple[object, ...]:
    """What a tensor is, apart from its values."""
    grad = (tensor.requires_grad, tensor.is_leaf)
    return (type(tensor), tensor.dtype, tensor.shape, tensor.stride(), *grad, vars(tensor))


@cases
def test_draws_come_from_the_streams_of_names(case: Case) -> None:
    """Wherever a tensor, or each part of it, is one draw: to the rounding of the distribution's parameters."""
    module = fit.init_module_(recorded(case), seed=SEED)
    for name, tensor in tensors_of(module).items():
        drawn = case.expected(name).draw(tuple(tensor.shape), SEED, name, tensor.dtype)
        if drawn is not None:
            tolerance = 2 * torch.finfo(tensor.dtype).eps
            scale = float(tensor.detach().abs().max())
            torch.testing.assert_close(
                tensor.detach(), drawn, rtol=tolerance, atol=tolerance * scale, msg=name
            )


def without_ties(module: nn.Module) -> dict[str, Tensor]:
    """What files hold: parameters, and buffers of state_dict, by their first names."""
    kept = module.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(kept.items())}
    return {name: tensor for name, tensor in kept.items() if first[id(tensor)] == name}


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize(
    "case", [c for c in CASES.values() if not c.not_in_spec], ids=[n for n, c in CASES.items() if not c.not_in_spec]
)  # fmt: skip
def test_files_hold_the_values_of_modules(case: Case, tmp_path: Path) -> None:
    """To the bit, made whole or from a spec that was written and read again."""
    module = recorded(case)
    model = fi.Model(fit.recorded_tensors(module))
    fit.init_module_(module, seed=SEED)
    expected = without_ties(module)
    assert {tensor.name for tensor in model} == set(expected)
    path = tmp_path / "model.safetensors"
    model.write(path, seed=SEED)
    stored = load_file(path)
    for name, tensor in expected.items():
        assert stored[name].dtype == tensor.dtype, name
        assert torch.equal(stored[name], tensor.detach()), name
        assert model.make(name, seed=SEED).tobytes() == bits(tensor), name


def load_file(path: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = pytest.importorskip("safetensors.torch").load_file(path)
    return loaded


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.not_in_spec])
def test_what_no_spec_can_hold_is_an_error_that_names_it(name: str) -> None:
    case = CASES[name]
    module = recorded(case)
    with pytest.raises(ValueError, match=case.not_in_spec):
        fit.recorded_tensors(module)
    check_table(case, fit.init_module_(module, seed=SEED))


@pytest.mark.parametrize("name", list(REFUSED))
def test_values_without_a_distribution_are_an_error_that_names_them(name: str) -> None:
    """Nothing is written, and a rule helps."""
    with fit.record():
        module = Holder(REFUSED[name])
    with pytest.raises(ValueError, match=rf"(?s)\bodd\b.*{name}|{name}.*\bodd\b"):
        fit.recorded_tensors(module)
    with pytest.raises(ValueError, match=rf"(?s)\bodd\b.*{name}|{name}.*\bodd\b"):
        fit.init_module_(module, seed=SEED)
    assert module.linear.weight.is_meta


class Looking(nn.Module):
    def __init__(self, look: Callable[[nn.Linear], object]) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        look(self.inner)


@pytest.mark.parametrize("name", list(LOOKING))
def test_code_that_looks_at_drawn_values_is_an_error_that_names_its_line(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)torch_models\.py.*line \d+"), fit.record():
        Looking(LOOKING[name])


@pytest.mark.parametrize("world", [2, 3])
def test_shards_are_those_of_the_whole(tmp_path: Path, world: int) -> None:
    script = Path(__file__).parent / "torch_record_processes.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, str(world), tmp_path / "group"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
