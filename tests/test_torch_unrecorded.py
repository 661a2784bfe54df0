"""`init_module_` on modules that were not recorded: no other distribution than the module's own in silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import fastinit as fi
import fastinit.torch as face
from cases import ENCODER


class GPT(nn.Module):
    """As nanoGPT: the constructor ends in what gives every layer a standard deviation of 0.02."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(50, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.wte.weight
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class Titan(nn.Module):
    """As torchtitan: a method that the caller runs after construction."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(8)
        self.output = nn.Linear(8, 8, bias=False)

    def init_weights(self) -> None:
        nn.init.trunc_normal_(self.output.weight, std=8**-0.5)


class ResNet(nn.Module):
    """As torchvision: convolutions by the fan of their outputs, and the last scale of a block zero."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.layers[1].weight)


class LoRA(nn.Linear):
    """A subclass of a layer with a matrix that begins as zero."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.down = nn.Linear(n_in, 2, bias=False)
        self.up = nn.Linear(2, n_out, bias=False)
        nn.init.zeros_(self.up.weight)


class Policy(nn.Module):
    """A last layer that begins as zero."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)
        nn.init.zeros_(self.last.weight)


class Still(nn.Module):
    """Variances that begin as 2, in a layer without parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, affine=False)
        self.norm.running_var.fill_(2)


def shared_with_a_gpt() -> nn.Module:
    layer = nn.Linear(4, 4)
    around = GPT()
    around.extra = layer
    return nn.ModuleDict({"a": layer, "b": around})


def tied_to_a_policy() -> nn.Module:
    policy = Policy()
    layer = nn.Linear(4, 2)
    layer.weight = policy.last.weight
    return nn.ModuleDict({"a": layer, "b": policy})


#: Modules, the class that the error names, and the first parameter that it does.
UNKNOWN: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "apply in the constructor": (GPT, "GPT", "wte.weight"),
    "init_weights": (Titan, "Titan", "norm.weight"),
    "loop in the constructor": (ResNet, "ResNet", "layers.0.weight"),
    "zero in a subclass of a layer": (lambda: nn.Sequential(LoRA(4, 4)), "LoRA", "0.weight"),
    "zero last layer": (Policy, "Policy", "body.weight"),
    "within a container": (lambda: nn.ModuleDict({"a": nn.ModuleList([GPT()])}), "GPT", "a.0.wte.weight"),
    "buffers alone": (Still, "Still", "norm.running_mean"),
    "a module of two places": (shared_with_a_gpt, "GPT", "a.weight"),
    "weight_norm around a subclass": (lambda: parametrizations.weight_norm(LoRA(4, 4)), "LoRA", "bias"),
    "torch.compile": (lambda: torch.compile(Policy(), backend="eager"), "Policy", "body.weight"),
    "DataParallel": (lambda: nn.DataParallel(Policy()), "Policy", "body.weight"),
}  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("case", UNKNOWN)
def test_classes_that_may_set_their_parameters_are_named(case: str, device: str) -> None:
    make, name, first = UNKNOWN[case]
    with torch.device(device):
        module = make()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(
        ValueError,
        match=rf"^the class {name} \(of test_torch_unrecorded\) may initialise '{re.escape(first)}'.*: "
        r"record it \(with fastinit\.torch\.record\(\): \.\.\.\), give rules for them .*, or accept .*"
        "unrecorded='layer_defaults'$",
    ):
        face.init_module_(module, seed=0)
    for key, tensor in module.state_dict().items():
        assert tensor.is_meta == (device == "meta")
        assert tensor.is_meta or torch.equal(tensor, before[key])


def test_further_entries_of_a_tied_tensor_count() -> None:
    module = tied_to_a_policy()
    with pytest.raises(ValueError, match=r"class Policy .* may initialise 'a\.weight' itself"):
        face.init_module_(module, seed=0, rules={"b.*": fi.zeros, "a.bias": fi.zeros})


def test_the_error_counts_what_it_does_not_list() -> None:
    module = nn.ModuleDict({"a": GPT(), "b": Policy()})
    message = (
        r"^the classes GPT \(of \w+\), Policy \(of \w+\) may initialise 'a\.wte\.weight', "
        r"'a\.mlp\.0\.weight', 'a\.mlp\.0\.bias' and 6 more themselves, and their construction"
    )
    with pytest.raises(ValueError, match=message):
        face.init_module_(module, seed=0)


def test_layer_defaults_are_accepted_by_name() -> None:
    """Normal values of PyTorch's embedding, and of its layer U(-x, x) with x = 1 / sqrt(inputs)."""
    module = face.init_module_(GPT(), seed=3, unrecorded="layer_defaults")
    expected = fi.Normal()((50, 16), seed=3, stream="wte.weight")
    assert torch.equal(module.wte.weight.detach(), torch.from_numpy(expected))
    x = fi.Uniform(-0.25, 0.25)((64, 16), seed=3, stream="mlp.0.weight")
    assert torch.equal(module.mlp[0].weight.detach(), torch.from_numpy(x))


@pytest.mark.parametrize("value", ["defaults", None, True])
def test_unrecorded_must_be_one_of_its_values(value: Any) -> None:
    with pytest.raises(ValueError, match="unrecorded must be one of error, layer_defaults, got"):
        face.init_module_(nn.Linear(2, 2), seed=0, unrecorded=value)


def test_rules_for_all_parameters_leave_nothing_to_ask_for() -> None:
    module = face.init_module_(GPT(), seed=0, rules={"*.bias": fi.zeros, "*": fi.Normal(0, 0.5)})
    assert 0.4 < module.wte.weight.std() < 0.6  # of 800 values; false alarm 1e-15
    with pytest.raises(
        ValueError, match=r"class GPT .* may initialise 'mlp\.0\.bias', 'mlp\.2\.bias' it"
    ):
        face.init_module_(module, seed=0, rules={"*weight": fi.Normal(0, 0.5)})
    face.init_module_(module, seed=0, rules={"*weight": fi.ones, "*": None})
    assert (module.wte.weight == 1).all()


class Gate(nn.Module):
    """Says itself what its parameter is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4, 4))
        self.register_buffer("table", torch.empty(3), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, 3.0)
        self.table.copy_(torch.arange(3.0))


class Heir(Gate):
    """Its constructor changes what it inherits."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.weight, 4.0)


class Around(nn.Module):
    """Says itself what it has, but nothing of what the layer within it has after its construction."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(3))
        self.gate = Gate()
        self.reset_parameters()
        nn.init.ones_(self.gate.weight)

    def reset_parameters(self) -> None:
        nn.init.constant_(self.scale, 5.0)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_classes_with_reset_parameters_of_their_own_are_relied_on(device: str) -> None:
    with torch.device(device):
        module = nn.Sequential(Gate(), nn.Linear(4, 4))
    face.init_module_(module, seed=0)
    assert (module[0].weight == 3).all()
    assert module[0].table.tolist() == [0, 1, 2]


def test_what_is_inherited_or_below_is_not() -> None:
    with pytest.raises(
        ValueError, match=r"class Heir .* may initialise '0\.weight', '0\.table' itself"
    ):
        face.init_module_(nn.Sequential(Heir()), seed=0)
    with pytest.raises(ValueError, match=r"class Around .* may initialise 'gate\.weight' itself"):
        face.init_module_(Around(), seed=0)
    module = face.init_module_(Around(), seed=0, rules={"gate.weight": fi.ones})
    assert module.scale.tolist() == [5, 5, 5]
    assert module.gate.table.tolist() == [0, 1, 2]


def test_methods_of_an_object_count_as_those_of_its_class() -> None:
    layer = Heir()
    layer.reset_parameters = lambda: nn.init.constant_(layer.weight, 6.0)  # type: ignore[method-assign]
    face.init_module_(layer, seed=0, rules={"table": None})
    assert (layer.weight == 6).all()


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, about its own imports
def test_wrappers_around_layers_change_nothing() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    module = nn.Sequential(
        checkpoint_wrapper(nn.Linear(2, 2)),
        torch.compile(nn.LayerNorm(2), backend="eager"),
        nn.TransformerEncoderLayer(8, 2),
        nn.ParameterDict({"a": nn.Parameter(torch.ones(2))}),
        nn.Module(),
    )
    parametrize.register_parametrization(module[2].linear1, "weight", Doubled())
    rules = {"*parametrizations*": fi.ones, "3.*": fi.zeros}
    face.init_module_(nn.DataParallel(module), seed=0, rules=rules)
    assert (module[2].linear1.weight == 2).all()


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_modules_around_and_within_models_of_transformers(known: bool) -> None:
    """`_init_weights` comes last in its model, for modules that its package has; other classes may come after it."""
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.BertConfig(**ENCODER)

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.BertModel(config)

    class Inherits(transformers.BertModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(config)
            self.last = nn.Linear(32, 2)
            nn.init.zeros_(self.last.weight)

    class Own(Inherits):
        def _init_weights(self, module: nn.Module) -> None:
            super()._init_weights(module)
            if isinstance(module, nn.Linear):
                nn.init.constant_(module.weight, 7.0)

    class Derived(Own):
        pass

    foreign = transformers.BertModel(config)
    foreign.pooler.dense = LoRA(32, 32)
    LoRA.__module__ = "peft.tuners.lora"
    try:
        if known:
            for module in (nn.ModuleList([transformers.BertModel(config)]), Own(), Derived()):
                face.init_module_(module, seed=0)
            assert (module.last.weight == 7).all()
            return
        with pytest.raises(
            ValueError, match=r"class Classifier .* may initialise 'bert\.embeddings"
        ):
            face.init_module_(Classifier(), seed=0)
        with pytest.raises(ValueError, match=r"class Inherits .* may initialise 'embeddings"):
            face.init_module_(Inherits(), seed=0)
        with pytest.raises(
            ValueError, match=r"class LoRA .* may initialise 'pooler\.dense\.weight'"
        ):
            face.init_module_(foreign, seed=0)
    finally:
        LoRA.__module__ = __name__


@pytest.mark.filterwarnings("ignore::UserWarning")  # of PyTorch, about quantised tensors
def test_quantised_modules_are_refused() -> None:
    module = nn.Sequential(nn.Linear(2, 2), torch.ao.nn.quantized.Linear(2, 2))
    with pytest.raises(
        ValueError, match="'1' is a quantised Linear, which keeps its weights packed"
    ):
        face.init_module_(module, seed=0)


CODES = ["float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float8_e4m3fn", "float4_e2m1fn_x2", "int8", "uint8", "int16", "int32", "int64", "bool", "complex64", "quint8"]  # fmt: skip


class Coded(nn.Module):
    """A parameter of any dtype, whose bytes its own code sets to 1, or leaves."""

    def __init__(self, name: str, size: int, sets: bool) -> None:
        super().__init__()
        dtype = getattr(torch, name)
        if name == "quint8":
            data = torch.quantize_per_tensor(torch.zeros(size), 0.5, 0, dtype)
        else:
            data = torch.zeros(size * dtype.itemsize, dtype=torch.uint8).view(dtype)
        self.weight = nn.Parameter(data, requires_grad=False)
        self.sets = sets

    def codes(self) -> torch.Tensor:
        weight = self.weight.detach()
        return weight.int_repr() if weight.is_quantized else weight.view(torch.uint8)

    def reset_parameters(self) -> None:
        if self.sets and self.weight.is_quantized:
            self.weight.fill_(0.5)
        elif self.sets:
            self.weight.data.view(torch.uint8).fill_(1)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("name", CODES)
def test_no_dtype_loses_values_and_none_comes_out_unset(name: str, size: int) -> None:
    module = Coded(name, size, sets=False)
    with pytest.raises(ValueError, match="neither rules nor their modules set weight: record"):
        face.init_module_(module, seed=0)
    assert not module.codes().any()
    assert (face.init_module_(Coded(name, size, sets=True), seed=0).codes() == 1).all()
    kept = face.init_module_(module, seed=0, rules={"*": None})
    assert not kept.codes().any()
    if name == "quint8":
        return
    with torch.device("meta"):
        forgetful, module = Coded(name, size, sets=False), Coded(name, size, sets=True)
    with pytest.raises(ValueError, match="neither rules nor their modules set weight: record"):
        face.init_module_(forgetful, seed=0)
    assert (face.init_module_(module, seed=0).codes() == 1).all()


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32])
def test_integer_parameters_that_no_method_is_there_for(dtype: torch.dtype) -> None:
    module = nn.Module()
    module.weight = nn.Parameter(torch.empty(9, dtype=dtype, device="meta"), requires_grad=False)
    with pytest.raises(ValueError, match="neither rules nor their modules set weight"):
        face.init_module_(module, seed=0)
    assert module.weight.is_meta
