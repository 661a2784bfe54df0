"""Operations that change what they do not return, that read memory past the dispatcher, or that have no recording."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import fastinit as fi
from fastinit.torch import init_module_, record, recorded_tensors

SEED = 4


def uniform(layer: nn.Linear, name: str) -> Tensor:
    """PyTorch's default weight of a layer, from the stream of its name."""
    bound = layer.in_features**-0.5
    init = fi.Uniform(-bound, bound)
    return torch.from_numpy(init(tuple(layer.weight.shape), seed=SEED, stream=name))


def test_operations_on_lists_change_each_tensor_once() -> None:
    with record():
        module = nn.ModuleList([nn.Linear(32, 64), nn.Linear(32, 64)])
        with torch.no_grad():
            torch._foreach_mul_(list(module[0].parameters()), 0.5)
            torch._foreach_copy_(list(module[1].parameters()), list(module[0].parameters()))
    init_module_(module, seed=SEED)
    torch.testing.assert_close(module[0].weight.detach(), uniform(module[0], "0.weight") / 2)
    bias = fi.Uniform(-(32**-0.5), 32**-0.5)((64,), seed=SEED, stream="0.bias")
    torch.testing.assert_close(module[0].bias.detach(), torch.from_numpy(bias) / 2)
    assert torch.equal(module[1].weight, module[0].weight)
    assert torch.equal(module[1].bias, module[0].bias)


@pytest.mark.parametrize("random_input", [False, True])
def test_a_run_of_batch_norm_updates_its_statistics(random_input: bool) -> None:
    """As constructors do that look for the size of what a body returns."""
    with record():
        body = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16))
        sample = torch.randn(4, 8) if random_input else torch.arange(32.0).view(4, 8)
        body.append(nn.Linear(body(sample).shape[1], 2))
        body.register_buffer("sample", sample)
    init_module_(body, seed=SEED)
    made = body[0](body.sample).detach()
    torch.testing.assert_close(body[1].running_mean, 0.1 * made.mean(0))
    torch.testing.assert_close(body[1].running_var, 0.9 + 0.1 * made.var(0))
    assert body[1].num_batches_tracked == 1


@pytest.mark.parametrize(
    "look",
    [
        lambda layer: pickle.dumps(layer),
        lambda layer: torch.save(layer.state_dict(), io.BytesIO()),
        lambda layer: copy.copy(layer.weight.data),
    ],
    ids=["pickle", "save", "copy"],
)
def test_pickling_drawn_values_is_an_error(look: Callable[[nn.Linear], object]) -> None:
    """PyTorch would read memory that is not there, and crash."""
    message = r"'weight' of a Linear are drawn later, and cannot be looked at: .*, line \d+"
    with pytest.raises(RuntimeError, match=message), record():
        look(nn.Linear(300, 300))


def test_known_values_are_pickled_and_loaded() -> None:
    known = io.BytesIO()
    torch.save({"table": torch.arange(12.0).view(3, 4).t()}, known)
    known.seek(0)
    with record():
        module = nn.Module()
        module.table = nn.Parameter(torch.load(known)["table"])
        module.copy = nn.Parameter(pickle.loads(pickle.dumps(module.table.data)))
        large = torch.ones(300, 300)
        large[1] = 2
        assert large.numpy()[1, 5] == large.tolist()[1][5] == 2
        module.large = nn.Parameter(pickle.loads(pickle.dumps(large[:2])))
    init_module_(module, seed=SEED)
    assert torch.equal(module.table, torch.arange(12.0).view(3, 4).t())
    assert torch.equal(module.copy, module.table)
    assert torch.equal(module.large, torch.tensor([[1.0], [2.0]]).expand(2, 300))


def test_addresses_differ_as_those_of_memory_do() -> None:
    with record():
        a, b = nn.Linear(300, 300), nn.Linear(300, 300)
        addresses = [t.data_ptr() for t in (a.weight, a.weight.data, a.weight[1], b.weight)]
    assert addresses[0] == addresses[1] == addresses[2] - 300 * 4
    assert addresses[3] not in range(addresses[0], addresses[0] + 300 * 300 * 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.distributions.Dirichlet(torch.ones(5)).sample((3,)),
        lambda: torch.quasirandom.SobolEngine(4, scramble=True).draw(8),
    ],
    ids=["dirichlet", "sobol"],
)
def test_operations_that_cannot_be_recorded_are_errors_that_name_the_line(
    call: Callable[[], Tensor],
) -> None:
    message = r"(_sample_dirichlet|_sobol_engine_scramble_) cannot be recorded: .*, line \d+"
    with pytest.raises(RuntimeError, match=message), record():
        call()


def test_functions_of_torch_nn_init_in_another_thread_are_errors() -> None:
    """Nothing would come of them: a recording is of one thread."""
    errors: list[BaseException] = []

    def initialise() -> None:
        try:
            nn.init.normal_(layer.weight)
        except RuntimeError as error:
            errors.append(error)

    with record():
        layer = nn.Linear(3, 3)
        thread = threading.Thread(target=initialise)
        thread.start()
        thread.join()
    assert "in the thread that records it" in str(errors[0])


def test_gradients_are_recorded() -> None:
    """One step of gradient descent in a constructor: of a linear function, the gradient is known."""
    with record():
        layer = nn.Linear(32, 64)
        layer(torch.ones(1, 32)).sum().backward()
        layer.weight.data.sub_(0.1 * layer.weight.grad)
        layer.zero_grad()
    init_module_(layer, seed=SEED)
    torch.testing.assert_close(layer.weight.detach(), uniform(layer, "weight") - 0.1)


def test_draws_into_out_are_recorded() -> None:
    with record():
        module = nn.Module()
        known, fresh = torch.zeros(32, 8), torch.empty(32, 8)
        torch.normal(0.0, 0.1, (32, 8), out=known)
        torch.randn(32, 8, out=fresh)
        module.known, module.fresh = nn.Parameter(known), nn.Parameter(fresh)
        added = torch.add(fresh, 1.0, out=torch.empty(32, 8))
        module.added = nn.Parameter(added)
    init_module_(module, seed=SEED)
    expected = fi.Normal(0.0, 0.1)((32, 8), seed=SEED, stream="known")
    assert torch.equal(module.known, torch.from_numpy(expected))
    expected = fi.Normal(0.0, 1.0)((32, 8), seed=SEED, stream="fresh")
    assert torch.equal(module.fresh, torch.from_numpy(expected))
    torch.testing.assert_close(module.added.detach(), torch.from_numpy(expected) + 1)


def test_rows_of_an_embedding_that_is_not_kept() -> None:
    """A larger vocabulary: old rows, and their mean for the new ones; nothing is left of the new draws."""
    with record():
        old, module = nn.Embedding(100, 32), nn.Embedding(120, 32)
        module.weight.data[:100] = old.weight.data
        module.weight.data[100:] = old.weight.data.mean(0)
    init_module_(module, seed=SEED)
    expected = torch.from_numpy(fi.Normal(0.0, 1.0)((100, 32), seed=SEED, stream="weight"))
    assert torch.equal(module.weight[:100], expected)
    torch.testing.assert_close(module.weight[100:].detach(), expected.mean(0).expand(20, 32))


class Tagged(nn.Parameter):
    """As libraries have them that load weights by what parameters say of themselves."""

    def where(self) -> str:
        return self.axis  # type: ignore[no-any-return, attr-defined]


def test_parameters_keep_their_class_and_attributes() -> None:
    with record():
        layer = nn.Linear(32, 64)
        layer.weight = Tagged(layer.weight.data)
        layer.weight.axis = "rows"
        nn.init.normal_(layer.weight, std=0.02)
    init_module_(layer, seed=SEED)
    assert type(layer.weight) is Tagged
    assert type(layer.bias) is nn.Parameter
    assert layer.weight.where() == "rows"
    expected = fi.Normal(0.0, 0.02)((64, 32), seed=SEED, stream="weight")
    assert torch.equal(layer.weight, torch.from_numpy(expected))


class Diagonals(nn.Module):
    """Elements that no ranges of axes select."""

    def __init__(self) -> None:
        super().__init__()
        self.filled = nn.Parameter(torch.randn(64, 64))
        self.filled.data.fill_diagonal_(3.0)
        self.above = nn.Parameter(torch.randn(64, 64))
        self.above.data.diagonal(1).normal_(5.0, 0.1)
        self.scattered = nn.Parameter(torch.randn(64, 64))
        self.scattered.data.as_strided((30,), (130,)).uniform_(9, 10)
        self.known = nn.Parameter(torch.zeros(300, 300))
        self.known.data.diagonal().fill_(2.0)


def test_diagonals_leave_the_other_elements() -> None:
    with record():
        module = Diagonals()
    with pytest.raises(ValueError, match="above, filled, scattered cannot be described"):
        recorded_tensors(module)
    known = recorded_tensors(module, tensors={"known": module.known})
    init_module_(module, seed=SEED)

    def normal(name: str) -> Tensor:
        return torch.from_numpy(fi.Normal(0.0, 1.0)((64, 64), seed=SEED, stream=name))

    assert torch.equal(module.filled, normal("filled").fill_diagonal_(3.0))
    scattered = normal("scattered").flatten()
    uniform = fi.Uniform(9.0, 10.0)((64, 64), seed=SEED, stream="scattered#2").flatten()
    scattered[:3900:130] = torch.from_numpy(uniform)[:3900:130]
    assert torch.equal(module.scattered.flatten(), scattered)
    others = ~torch.eye(63, 64).roll(1, 1).bool()
    assert torch.equal(module.above[:63][others], normal("above")[:63][others])
    assert 4.9 < module.above.diagonal(1).mean() < 5.1
    assert torch.equal(module.known, 2 * torch.eye(300))
    assert (fi.Model(known).make("known", seed=0) == 2 * torch.eye(300).numpy()).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda w: w.diagonal().fill_(1.0),
        lambda w: w[:2].copy_(torch.randn(2, 4).sort().values),
        lambda w: w.mul_(2.0),
        lambda w: w.view(2, 8)[0].normal_(),
        lambda w: w.copy_(torch.empty(4, 4) + 1),
        lambda w: torch.view_as_complex(w.view(8, 2))[:3].normal_(),
    ],
    ids=["diagonal", "rows", "scaled", "half", "computed", "complex"],
)
def test_elements_that_nothing_sets_are_an_error(make: Callable[[Tensor], object]) -> None:
    with record():
        module = nn.Module()
        module.weight = nn.Parameter(torch.empty(4, 4))
        make(module.weight.data)
    with pytest.raises(ValueError, match="sets no values of weight"):
        init_module_(module, seed=SEED)
    with pytest.raises(ValueError, match="sets no values of weight"):
        recorded_tensors(module)


def test_modules_that_are_built_in_inference_mode() -> None:
    with record(), torch.inference_mode():
        layer = nn.Linear(32, 64)
        layer.weight.normal_(0.0, 0.02)
    init_module_(layer, seed=SEED)
    expected = fi.Normal(0.0, 0.02)((64, 32), seed=SEED, stream="weight")
    assert torch.equal(layer.weight, torch.from_numpy(expected))


@pytest.mark.parametrize("begin", [torch.empty, torch.zeros])
def test_a_tensor_that_grows_is_an_error(begin: Callable[[int], Tensor]) -> None:
    """Its new elements would be whatever the memory holds."""
    message = r"resize_ to more elements cannot be recorded: .*line"
    with pytest.raises(RuntimeError, match=message), record():
        begin(0).resize_(30, 20)
