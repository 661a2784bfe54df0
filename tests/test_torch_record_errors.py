"""Recordings that cannot be used, and what happens to modules between their recording and their initialisation."""

from __future__ import annotations

import copy
import io
import pickle
import random
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils._python_dispatch import _get_current_dispatch_mode

import fastinit as fi
import fastinit.torch as face
from cases import ENCODER
from fastinit.torch.recording import KEY


class GPT(nn.Module):
    """As nanoGPT: standard deviations of 0.02, biases of zero, a head that is tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(50, 16)
        self.mlp = nn.Linear(16, 16)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.wte.weight
        self.register_buffer("scale", torch.ones(3))
        self.noise = torch.randn(3)
        self.apply(self.init)

    def init(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def recorded(make: Callable[[], Any] = GPT) -> Any:
    with face.record():
        return make()


def normal(shape: tuple[int, ...], name: str, std: float = 0.02, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(fi.Normal(0, std)(shape, seed=seed, stream=name))


def check_gpt(module: Any, prefix: str = "", seed: int = 0) -> None:
    assert torch.equal(module.wte.weight, normal((50, 16), f"{prefix}wte.weight", seed=seed))
    assert torch.equal(module.mlp.weight, normal((16, 16), f"{prefix}mlp.weight", seed=seed))
    assert not module.mlp.bias.any()
    assert module.head.weight is module.wte.weight


# The context.


def test_nothing_is_left_when_a_constructor_fails() -> None:
    functions = [getattr(nn.init, name) for name in nn.init.__all__]
    before, state = [f.__code__ for f in functions], torch.get_rng_state()

    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), face.record():
        Failing()
    assert [f.__code__ for f in functions] == before
    assert _get_current_dispatch_mode() is _get_current_function_mode() is None
    assert torch.equal(torch.get_rng_state(), state)
    assert not nn.Linear(3, 3).weight.is_meta
    check_gpt(face.init_module_(recorded(), seed=0))


def test_contexts_are_not_nested() -> None:
    with face.record():
        module = GPT()
        with pytest.raises(RuntimeError, match=r"record\(\) must not be opened inside another"), face.record():  # fmt: skip
            pass
        other = GPT()
    check_gpt(face.init_module_(module, seed=0))
    check_gpt(face.init_module_(other, seed=1), seed=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("within", [False, True])
def test_the_meta_device_is_refused(within: bool) -> None:
    """Models of transformers skip their initialisation there: the standard deviation was 1 in place of 0.02."""
    transformers = pytest.importorskip("transformers")
    contexts = [torch.device("meta"), face.record()]
    message = r'record\(\) must not be used together with torch\.device\("meta"\)'
    with (
        pytest.raises(RuntimeError, match=message),
        contexts[within],
        contexts[not within],
    ):
        transformers.BertModel(transformers.BertConfig(**ENCODER))


def test_a_layer_that_asks_for_the_meta_device_is_recorded() -> None:
    layer = face.init_module_(recorded(lambda: nn.Linear(4, 9, device="meta")), seed=0)
    expected = fi.Uniform(-0.5, 0.5)((9, 4), seed=0, stream="weight")
    torch.testing.assert_close(
        layer.weight.detach(), torch.from_numpy(expected), rtol=1e-6, atol=1e-7
    )


def test_modules_are_initialised_after_the_context() -> None:
    with face.record():
        module = GPT()
        with pytest.raises(RuntimeError, match=r"must not be called within record\(\)"):
            face.init_module_(module, seed=0)
    check_gpt(face.init_module_(module, seed=0))


def test_functions_of_this_library_are_recorded() -> None:
    with face.record():
        layer = nn.Linear(4, 4)
        assert face.normal_(layer.weight, std=0.5) is layer.weight
        square = nn.Linear(4, 4)
        face.orthogonal_(square.weight)
        for function in (face.normal_, face.trunc_normal_, face.orthogonal_):
            with pytest.raises(RuntimeError, match=r"seed must not be given within record\(\)"):
                function(layer.weight, seed=1, stream="other")
    face.init_module_(layer, seed=0)
    assert torch.equal(layer.weight, normal((4, 4), "weight", 0.5))
    face.init_module_(square, seed=0)
    torch.testing.assert_close(square.weight @ square.weight.T, torch.eye(4))


@pytest.mark.parametrize("order", [False, True])
def test_patched_and_record_together(order: bool) -> None:
    contexts = [face.patched(), face.record()]
    with contexts[order], contexts[not order]:
        module = GPT()
    check_gpt(face.init_module_(module, seed=0))


def test_other_threads_are_not_recorded() -> None:
    made: dict[str, Any] = {}

    def run() -> None:
        torch.manual_seed(0)
        made["plain"] = nn.Linear(3, 3)
        made["own"] = recorded()

    torch.manual_seed(0)
    expected = nn.Linear(3, 3).weight
    with face.record():
        module = GPT()
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert torch.equal(made["plain"].weight, expected)
    check_gpt(face.init_module_(made["own"], seed=0))
    check_gpt(face.init_module_(module, seed=0))


def test_generators_are_left_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    states = torch.get_rng_state(), generator.get_state()
    with face.record():
        nn.Linear(3, 3)
        torch.randn(3), torch.rand(3, generator=generator), nn.Dropout()(torch.ones(3))
        nn.init.normal_(torch.empty(3), generator=generator)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(generator.get_state(), states[1])


class Looking(nn.Module):
    def __init__(self, look: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        look(self.layer.weight)


LOOKS: dict[str, Callable[[torch.Tensor], object]] = {
    "a condition": lambda weight: bool(weight[0, 0] > 0),
    "item": lambda weight: weight.abs().max().item(),
    "float": lambda weight: float(weight.sum()),
    "tolist": lambda weight: weight.tolist(),
    "numpy": lambda weight: weight.detach().numpy(),
    "equal": lambda weight: torch.equal(weight, weight),
    "allclose": lambda weight: torch.allclose(weight, weight),
    "a mask": lambda weight: weight[weight > 0],
}


@pytest.mark.parametrize("look", LOOKS)
def test_code_that_looks_at_drawn_values_is_named(look: str) -> None:
    function: Any = LOOKS[look]
    line = function.__code__.co_firstlineno
    pattern = (
        r"^the values of .*'weight' of a Linear are drawn later, and cannot be looked at: "
        rf"{re.escape(__file__)}, line {line}"
    )
    with pytest.raises(RuntimeError, match=pattern):
        recorded(lambda: Looking(function))


# Between the recording and the initialisation.


def test_a_recording_is_used_once() -> None:
    module = face.init_module_(recorded(), seed=0)
    with pytest.raises(ValueError, match=r"'wte\.weight' was initialised .* used up: record"):
        face.init_module_(module, seed=1)
    check_gpt(module)
    with pytest.raises(ValueError, match="used up"):
        face.init_module_(copy.deepcopy(module), seed=1)
    whole = recorded(lambda: nn.Sequential(GPT(), GPT()))
    face.init_module_(whole[0], seed=0)
    with pytest.raises(ValueError, match=r"'0\.wte\.weight' was initialised"):
        face.init_module_(whole, seed=0)
    check_gpt(whole[0])
    check_gpt(face.init_module_(whole[1], seed=0))


def replace(module: Any) -> None:
    module.mlp.weight = nn.Parameter(torch.ones(16, 16))


def zero(module: Any) -> None:
    with torch.no_grad():
        module.mlp.weight.zero_()


def zero_a_part(module: Any) -> None:
    with torch.no_grad():
        module.mlp.weight[:3].zero_()


def load(module: Any, assign: bool = False) -> None:
    ones = {name: torch.ones(tensor.shape) for name, tensor in module.state_dict().items()}
    module.load_state_dict(ones, assign=assign)


def write_directly(module: Any, kind: str, leaf: str, tensor: Any) -> None:
    getattr(module, f"_{kind}")[leaf] = tensor


def set_data(module: Any) -> None:
    module.mlp.weight.data = torch.empty(16, 16, device="meta")


def change_then(module: Any, convert: Callable[[Any], object]) -> None:
    module.scale.fill_(2)
    zero(module)
    convert(module)


OTHER = nn.Parameter(torch.ones(16, 16))
CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "another parameter": (replace, "'mlp.weight' was replaced"),
    "a direct write": (lambda m: write_directly(m.mlp, "parameters", "weight", OTHER), "'mlp.weight' was replaced"),
    "a direct write of a buffer": (lambda m: write_directly(m, "buffers", "scale", torch.ones(3)), "'scale' was replaced"),
    "another tensor of an attribute": (lambda m: setattr(m, "noise", torch.ones(3)), "'noise' was replaced"),
    "other data": (set_data, "'mlp.weight' was changed"),
    "before a conversion": (lambda m: change_then(m, lambda m: m.to(torch.bfloat16)), "'mlp.weight' was changed"),
    "a buffer before a conversion": (lambda m: (m.scale.fill_(2), m.to(torch.bfloat16)), "'scale' was changed"),
    "after a conversion": (lambda m: zero(m.to(torch.bfloat16)), "'mlp.weight' was changed"),
    "after to_empty": (lambda m: zero(m.to_empty(device="cpu")), "'mlp.weight' was changed"),
    "zero_": (zero, "'mlp.weight' was changed"),
    "zero_ of a part": (zero_a_part, "'mlp.weight' was changed"),
    "detach": (lambda m: m.mlp.weight.detach().zero_(), "'mlp.weight' was changed"),
    "data": (lambda m: m.mlp.weight.data.normal_(0, 0.5), "'mlp.weight' was changed"),
    "data of a buffer": (lambda m: m.scale.data.fill_(2), "'scale' was changed"),
    "torch.nn.init": (lambda m: nn.init.ones_(m.mlp.weight), "'mlp.weight' was changed"),
    "a known tensor": (lambda m: nn.init.ones_(m.mlp.bias), "'mlp.bias' was changed"),
    "apply": (lambda m: m.apply(m.init), "'wte.weight' was changed"),
    "load_state_dict": (load, "'wte.weight' was changed"),
    "load_state_dict, assign": (lambda m: load(m, True), "'wte.weight' was replaced"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:for .*meta parameter:UserWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_changes_after_the_recording_are_errors(change: str) -> None:
    function, message = CHANGES[change]
    module = recorded()
    function(module)
    with pytest.raises(ValueError, match=f"^{message} after it was recorded"):
        face.init_module_(module, seed=0)


@pytest.mark.parametrize("change", ["zero_", "a direct write", "other data"])
def test_copies_of_changed_modules_are_changed_too(change: str) -> None:
    function, message = CHANGES[change]
    module = recorded()
    function(module)
    with pytest.raises(ValueError, match=f"^{message} after it was recorded"):
        face.init_module_(copy.deepcopy(module), seed=0)
    copied = copy.deepcopy(recorded())
    function(copied)
    with pytest.raises(ValueError, match=f"^{message} after it was recorded"):
        face.init_module_(copied, seed=0)


def test_what_is_put_back_is_not_replaced() -> None:
    """As ``torch.func.functional_call`` does; and dicts are those of PyTorch in the end."""
    module = recorded()
    weight = module.mlp.weight
    write_directly(module.mlp, "parameters", "weight", OTHER)
    write_directly(module.mlp, "parameters", "weight", weight)
    check_gpt(face.init_module_(module, seed=0))
    spaces = [vars(part)[name] for part in module.modules() for name in ("_parameters", "_buffers")]
    assert {type(space) for space in spaces} == {dict}


def test_rules_override_what_was_changed() -> None:
    module = recorded()
    replace(module)
    face.init_module_(module, seed=0, rules={"mlp.weight": None, "wte.*": fi.ones})
    assert (module.mlp.weight == 1).all()
    assert (module.wte.weight == 1).all()


def test_methods_run_in_a_second_recording() -> None:
    module = recorded()
    with face.record(module):
        nn.init.normal_(module.mlp.weight, std=0.5)
    face.init_module_(module, seed=0)
    assert torch.equal(module.mlp.weight, normal((16, 16), "mlp.weight", 0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_second_recording_goes_on_after_conversions(dtype: torch.dtype, device: str) -> None:
    """The first gave zeros after a change of dtype, and what memory held after to_empty."""
    module = recorded().to(dtype)
    if device == "cpu":
        module.to_empty(device=device)
    with face.record(module), torch.no_grad():
        module.mlp.weight.mul_(2)
        module.scale.mul_(3)
    face.init_module_(module, seed=0)
    drawn = normal((16, 16), "mlp.weight").to(dtype)
    torch.testing.assert_close(module.mlp.weight.detach(), 2 * drawn)
    assert module.scale.tolist() == [3, 3, 3]
    assert torch.equal(module.wte.weight, normal((50, 16), "wte.weight").to(dtype))
    assert module.head.weight is module.wte.weight


def test_a_second_recording_may_set_data() -> None:
    module = recorded()
    with face.record(module):
        module.mlp.weight.data = torch.zeros(16, 16)
        module.mlp.bias.data = torch.ones(16)
    face.init_module_(module, seed=0)
    assert not module.mlp.weight.any()
    assert module.mlp.bias.tolist() == [1] * 16


def test_a_second_recording_does_not_hide_changes() -> None:
    module = recorded()
    zero(module)
    with (
        pytest.raises(RuntimeError, match=r"was changed after it was recorded: .*line \d+"),
        face.record(module),
        torch.no_grad(),
    ):
        module.mlp.weight.add_(1)
    module = recorded()
    zero(module.half())
    with pytest.raises(RuntimeError, match=r"'mlp\.weight' was changed"), face.record(module):
        pass
    module = recorded()
    zero(module)
    with face.record(module):
        nn.init.normal_(module.mlp.weight, std=0.5)
    face.init_module_(module, seed=0)
    assert torch.equal(module.mlp.weight, normal((16, 16), "mlp.weight", 0.5))


def test_arithmetic_on_what_nothing_set_is_an_error() -> None:
    """It gave zeros."""
    with face.record():
        module = nn.Module()
        module.weight = nn.Parameter(torch.empty(3) + 1)
        module.other = nn.Parameter(torch.empty(3))
        with torch.no_grad():
            module.other.clamp_(-1, 1)
    with pytest.raises(ValueError, match="the recorded code sets no values of other, weight: give"):
        face.init_module_(module, seed=0)


@pytest.mark.parametrize("outside", [False, True])
def test_inference_mode_is_refused(outside: bool) -> None:
    contexts = [face.record(), torch.inference_mode()]
    with (
        pytest.raises(
            RuntimeError, match=r"record\(\) must not be used .* torch\.inference_mode\(\)"
        ),
        contexts[outside],
        contexts[not outside],
    ):
        GPT()


def test_gradient_mode_does_not_matter() -> None:
    with torch.no_grad():
        module = recorded()
    assert module.mlp.weight.requires_grad
    check_gpt(face.init_module_(module, seed=0))


def test_errors_leave_the_recording() -> None:
    module = recorded()
    with pytest.raises(ValueError, match="matches no parameter"):
        face.init_module_(module, seed=0, rules={"nothing": fi.ones})
    check_gpt(face.init_module_(module, seed=0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_conversions_keep_the_distribution(dtype: torch.dtype) -> None:
    module = face.init_module_(recorded().to(dtype), seed=0)
    assert torch.equal(module.wte.weight, normal((50, 16), "wte.weight").to(dtype))
    assert module.head.weight is module.wte.weight


def test_float64_after_float32_keeps_the_distribution() -> None:
    module = face.init_module_(recorded().double(), seed=0)
    expected = fi.Normal(0, 0.02)((50, 16), seed=0, stream="wte.weight", dtype="float64")
    assert torch.equal(module.wte.weight, torch.from_numpy(expected))


def test_to_empty_may_come_first() -> None:
    """It unties parameters, which are tied again."""
    module = recorded().to_empty(device="cpu")
    assert module.head.weight is not module.wte.weight
    check_gpt(face.init_module_(module, seed=0))


def test_copies_have_recordings_of_their_own() -> None:
    module = recorded()
    other = copy.deepcopy(module)
    check_gpt(face.init_module_(module, seed=0))
    check_gpt(face.init_module_(other, seed=1), seed=1)
    assert other.wte.weight.requires_grad


@pytest.mark.parametrize("save", [False, True])
def test_stored_modules_have_no_recording(save: bool) -> None:
    """They say so, in place of the defaults of their layers."""
    module, file = recorded(), io.BytesIO()
    if save:
        torch.save(module, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
    else:
        loaded = pickle.loads(pickle.dumps(module))
    with pytest.raises(ValueError, match=r"class GPT .* construction was not recorded"):
        face.init_module_(loaded, seed=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, about its own imports
def test_wrappers_keep_recordings() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    module = recorded(lambda: nn.Sequential(GPT(), GPT()))
    module[0].mlp = checkpoint_wrapper(module[0].mlp)
    module[1] = torch.compile(module[1], backend="eager")
    face.init_module_(nn.DataParallel(module), seed=0)
    check_gpt(module[0], "0.")
    check_gpt(module[1], "1.")


def test_modules_around_recorded_ones() -> None:
    """What was not recorded there is an error, and what was has the name that it has now."""

    class Around(nn.Module):
        def __init__(self, inner: nn.Module, more: bool) -> None:
            super().__init__()
            self.inner = inner
            if more:
                self.more = nn.Linear(2, 2)

    module = face.init_module_(Around(recorded(), more=False), seed=0)
    check_gpt(module.inner, "inner.")
    with pytest.raises(ValueError, match=r"class Around .* may initialise 'more\.weight'"):
        face.init_module_(Around(recorded(), more=True), seed=0)


# Parts of modules.


class Parts(nn.Module):
    """Lists, dictionaries, integers, buffers and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.ParameterList([torch.randn(3) * 0.5, nn.Parameter(torch.zeros(2))])
        self.table = nn.ParameterDict({"a": nn.Parameter(torch.rand(4))})
        self.codes = nn.Parameter(
            torch.randint(-4, 5, (99,), dtype=torch.int8), requires_grad=False
        )
        self.sevens = nn.Parameter(torch.full((4,), 7, dtype=torch.int8), requires_grad=False)
        self.register_buffer("angles", 2.0 ** -torch.arange(4), persistent=False)
        self.register_buffer("mask", torch.triu(torch.ones(300, 300), 1))
        self.embedding = nn.Embedding(10, 4, padding_idx=3)
        self.norm = nn.BatchNorm1d(3)
        self.positions = torch.arange(3)


def test_parts_of_every_kind() -> None:
    module = face.init_module_(recorded(Parts), seed=0)
    assert torch.equal(module.items[0], normal((3,), "items.0", 0.5))
    assert module.items[1].tolist() == [0, 0]
    expected = fi.Uniform(0, 1)((4,), seed=0, stream="table.a")
    assert torch.equal(module.table["a"], torch.from_numpy(expected))
    assert set(module.codes.tolist()) == {-4, -3, -2, -1, 0, 1, 2, 3, 4}  # false alarm 8e-5
    assert module.sevens.tolist() == [7] * 4
    assert module.angles.tolist() == [1, 0.5, 0.25, 0.125]
    assert torch.equal(module.mask, torch.triu(torch.ones(300, 300), 1))
    rows = normal((10, 4), "embedding.weight", 1.0)
    rows[3] = 0
    assert torch.equal(module.embedding.weight, rows)
    assert module.norm.running_var.tolist() == [1, 1, 1]
    assert module.positions.tolist() == [0, 1, 2]


def test_weight_norm_and_spectral_norm() -> None:
    module = recorded(lambda: parametrizations.weight_norm(nn.Linear(4, 9)))
    face.init_module_(module, seed=0)
    name = "parametrizations.weight.original1"
    expected = torch.from_numpy(fi.Uniform(-0.5, 0.5)((9, 4), seed=0, stream=name))
    torch.testing.assert_close(module.get_parameter(name).detach(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(module.weight.detach(), expected)
    module = recorded(lambda: parametrizations.spectral_norm(nn.Linear(4, 9)))
    face.init_module_(module, seed=0)
    vectors = module.parametrizations.weight[0]
    for vector in (vectors._u, vectors._v):
        assert vector.norm().item() == pytest.approx(1, rel=1e-5)
    module.eval()
    first = torch.linalg.matrix_norm(module.parametrizations.weight.original, 2).item()
    estimate = vectors._u @ module.parametrizations.weight.original @ vectors._v
    assert estimate.item() == pytest.approx(first, rel=0.05)  # of 15 power iterations


class Unset(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, dtype=dtype), requires_grad=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.float8_e4m3fnuz, torch.bool])
def test_what_nothing_sets_is_an_error(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="the recorded code sets no values of weight: give"):
        face.init_module_(recorded(lambda: Unset(dtype)), seed=0)


def test_draws_without_a_distribution_are_errors() -> None:
    def make() -> nn.Module:
        module = nn.Module()
        module.register_buffer("order", torch.randperm(9))
        return module

    with pytest.raises(ValueError, match="'order' depends on randperm, whose draws have no dist"):
        face.init_module_(recorded(make), seed=0)


def test_lazy_modules_have_no_shape_yet() -> None:
    with pytest.raises(ValueError, match=r"'0\.weight' has no shape yet"):
        face.init_module_(recorded(lambda: nn.Sequential(nn.LazyLinear(3))), seed=0)


def test_lazy_modules_may_run_within_the_recording() -> None:
    """It ended in an error of PyTorch's dispatcher."""
    with face.record():
        module = nn.Sequential(nn.LazyConv1d(8, 3), nn.LazyBatchNorm1d(), nn.Flatten(), nn.LazyLinear(5))  # fmt: skip
        module.eval()(torch.ones(2, 4, 9))
    assert [tensor.name for tensor in face.recorded_tensors(module)][:2] == ["0.weight", "0.bias"]
    face.init_module_(module, seed=0)
    assert [type(part) for part in module] == [nn.Conv1d, nn.BatchNorm1d, nn.Flatten, nn.Linear]
    for name, shape, fan in [("0.weight", (8, 4, 3), 12), ("3.weight", (5, 56), 56), ("3.bias", (5,), 56)]:  # fmt: skip
        drawn = fi.Uniform(-(fan**-0.5), fan**-0.5)(shape, seed=0, stream=name)
        parameter = module.get_parameter(name).detach()
        torch.testing.assert_close(parameter, torch.from_numpy(drawn), rtol=1e-6, atol=1e-7)
    assert module[1].weight.tolist() == module[1].running_var.tolist() == [1] * 8


def randn(*shape: int) -> Any:
    return np.random.randn(*shape)  # noqa: NPY002 - the global generator


def drawn_elsewhere(kind: str) -> nn.Module:
    module = nn.Module()
    module.layer = nn.Linear(3, 3)
    if kind == "from_numpy":
        array = randn(3, 3).astype(np.float32)
        module.weight = nn.Parameter(torch.from_numpy(array))
    elif kind == "arithmetic":
        module.weight = nn.Parameter(torch.from_numpy(randn(3, 3)).float() * 0.02)
    elif kind == "tensor":
        module.weight = nn.Parameter(torch.tensor(randn(3, 3)))
    elif kind == "list":
        module.weight = nn.Parameter(torch.tensor([random.random() for _ in range(3)]))
    elif kind == "copy_":
        module.weight = nn.Parameter(torch.empty(3, 3))
        module.weight.data.copy_(torch.from_numpy(randn(3, 3)))
    return module


@pytest.mark.parametrize("kind", ["from_numpy", "arithmetic", "tensor", "list", "copy_"])
def test_values_of_other_generators_are_constants_and_warned_of(kind: str) -> None:
    name = "Python" if kind == "list" else "NumPy"
    message = rf"^'weight' of a Module may be drawn by the global generator of {name}, which"
    with pytest.warns(UserWarning, match=message) as warned:
        module = recorded(lambda: drawn_elsewhere(kind))
    assert len(warned) == 1
    assert warned[0].filename == __file__
    other = copy.deepcopy(module)
    first, second = face.init_module_(module, seed=0), face.init_module_(other, seed=1)
    assert torch.equal(first.weight, second.weight)


def test_known_values_beside_other_generators_are_not_warned_of() -> None:
    """Tables of positions, and lists of numbers, in code that draws for something else."""

    def make() -> nn.Module:
        module = nn.Module()
        module.depths = [random.random(), randn(1)[0]]
        torch.tensor(module.depths)
        module.layer = nn.Linear(3, 3)
        module.register_buffer("table", torch.tensor(np.arange(3.0)))
        module.register_buffer("steps", torch.tensor([1, 2, 3]) * 2)
        module.register_buffer("scale", torch.linspace(0, 1, 3))
        return module

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorded(make)
        recorded(lambda: nn.Embedding.from_pretrained(torch.from_numpy(np.ones((2, 2)))))


def test_copies_within_a_recording_stay_equal() -> None:
    def make() -> nn.ModuleDict:
        student = GPT()
        return nn.ModuleDict({"student": student, "teacher": copy.deepcopy(student)})

    pair = face.init_module_(recorded(make), seed=0)
    check_gpt(pair["student"], "student.")
    check_gpt(pair["teacher"], "student.")
    assert KEY in vars(pair["teacher"].wte)  # for what replaces its parameters, as fully_shard does
    assert pair["teacher"].wte.weight is not pair["student"].wte.weight


@pytest.mark.parametrize("rules", [{}, {"[!cs]*": fi.ones}])
def test_classes_of_tensors_are_those_of_pytorch_in_the_end(rules: Any) -> None:
    module = face.init_module_(recorded(Parts), seed=0, rules=rules)
    assert {type(parameter) for parameter in module.parameters()} == {nn.Parameter}
    assert {type(buffer) for buffer in module.buffers()} == {torch.Tensor}


def test_known_tensors_are_operands_of_what_pytorch_replays() -> None:
    """An identity of more elements than are kept real, times draws: PyTorch multiplies, and gives the draws."""

    class Rotated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            identity = nn.init.eye_(torch.empty(300, 300))
            self.weight = nn.Parameter(identity @ torch.randn(300, 300))

    with face.record():
        module = Rotated()
    face.init_module_(module, seed=0)
    drawn = fi.Normal(0.0, 1.0)((300, 300), seed=0, stream="weight")
    assert torch.equal(module.weight, torch.from_numpy(drawn))


def test_modules_of_which_a_part_was_not_recorded_have_no_tensors() -> None:
    with face.record():
        first = nn.Linear(3, 2)
    module = nn.Sequential(first, nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"nothing has recorded 1\.bias, 1\.weight: construct"):
        face.recorded_tensors(module)
    assert [tensor.name for tensor in face.recorded_tensors(first)] == ["weight", "bias"]


@pytest.mark.parametrize("name", ["normal_", "zeros_", "trunc_normal_", "orthogonal_", "eye_"])
def test_setting_what_was_made_outside_is_an_error(name: str) -> None:
    layer = nn.Linear(4, 4, device="meta")
    outside = pytest.raises(RuntimeError, match=r"made outside of record\(\), was set within")
    with outside, face.record():
        getattr(nn.init, name)(layer.weight)


@pytest.mark.parametrize(
    ("init", "expected"), [(nn.init.eye_, fi.Identity()), (nn.init.dirac_, fi.Dirac())]
)
def test_large_known_matrices_that_replace_draws_have_an_initializer(
    init: Any, expected: fi.Initializer
) -> None:
    """More elements than are kept real, so that the recorded tensor is on the meta device."""
    with face.record():
        layer = nn.Linear(300, 300) if init is nn.init.eye_ else nn.Conv1d(300, 300, 3)
        init(layer.weight)
    assert face.recorded_tensors(layer)[0].init == expected


@pytest.mark.parametrize("function", [nn.init.normal_, nn.init.kaiming_uniform_, nn.init.zeros_])
def test_modes_within_the_context_see_what_is_recorded(function: Any) -> None:
    """A mode that skips the functions of torch.nn.init, as PyTorch's documentation has it."""

    class Skip(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in (nn.init.normal_, nn.init.kaiming_uniform_, torch.Tensor.zero_):
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    with face.record():
        weight = nn.init.ones_(torch.empty(300, 300))
        with Skip():
            function(weight)
        module = nn.Module()
        module.register_parameter("weight", nn.Parameter(weight))
    assert bool((face.init_module_(module, seed=0).weight == 1).all())


def test_repeated_shapes_draw_what_pytorch_would_for_each() -> None:
    """The bound of kaiming_uniform_ with a = sqrt(5) is 1 / sqrt(fan_in); with a = 0 it is sqrt(6 / fan_in)."""
    with face.record():
        module = nn.ModuleList(nn.Linear(64, 32) for _ in range(3))
        nn.init.kaiming_uniform_(module[1].weight)
        nn.init.kaiming_uniform_(module[2].weight, mode="fan_out")
    bounds = [
        tensor.init.high for tensor in face.recorded_tensors(module) if "weight" in tensor.name
    ]
    assert bounds == pytest.approx([1 / 64**0.5, (6 / 64) ** 0.5, (6 / 32) ** 0.5], rel=1e-14)


def test_recording_does_not_import_the_compiler() -> None:
    """Its import takes longer than the recording of most models."""
    code = (
        "import sys, torch, fastinit.torch as fit\n"
        "with fit.record():\n"
        "    layer = torch.nn.Linear(4, 4)\n"
        "    layer.register_buffer('steps', torch.arange(4) / 2)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parameters_of_recorded_ones_belong_into_a_recording() -> None:
    """PyTorch's error was about the semantics of detach()."""
    with face.record():
        layer = nn.Linear(3, 4)
    with pytest.raises(
        RuntimeError, match=r"a parameter was made of a recorded one.*record\(module\)"
    ):
        nn.Parameter(layer.weight)
    with face.record(layer):
        nn.utils.parametrizations.weight_norm(layer)
        layer.bias = nn.Parameter(layer.bias)
    layer.to(torch.float32)
    face.init_module_(layer, seed=0)
    assert type(layer.bias) is nn.Parameter
    norms = layer.parametrizations.weight.original1.norm(dim=1, keepdim=True)
    torch.testing.assert_close(layer.parametrizations.weight.original0, norms)
