"""`patched` and `init_module_`: what they replace, restore, name and refuse. Distributed modules have a file of their own."""

from __future__ import annotations

import copy
import functools
import inspect
import io
import json
import math
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import fastinit as fi
import fastinit.torch as face
from cases import ENCODER

MULTIHEAD = sys.modules["torch.nn.modules.activation"]  # imports xavier_uniform_ by name


def core(init: fi.Initializer, shape: tuple[int, ...], name: str, seed: int = 0) -> Any:
    return torch.from_numpy(init(shape, seed=seed, stream=name))


class Keeper(nn.Module):
    """Keeps functions, as models of others do."""

    def __init__(self) -> None:
        super().__init__()
        self.init_method = nn.init.xavier_normal_
        self.small = functools.partial(nn.init.normal_, std=0.02)
        self.table = {"default": NORMAL, "late": nn.init.trunc_normal_}


NORMAL = nn.init.normal_  # imported before, under a name of its own
BEFORE = functools.partial(nn.init.normal_, std=0.5)
SAMPLING = ["kaiming_normal_", "kaiming_uniform_", "normal_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_"]  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bound() -> list[Any]:
    """The functions, and what they are."""
    functions = [getattr(nn.init, name) for name in nn.init.__all__]
    functions.append(MULTIHEAD.xavier_uniform_)  # type: ignore[attr-defined]
    return [(f, f.__code__, inspect.signature(f), f.__qualname__, f.__doc__) for f in functions]


KNOWN = ("constant_", "dirac_", "eye_", "ones_", "zeros_")


def test_patched_replaces_code_and_restores_it() -> None:
    before = bound()
    with face.patched():
        torch.manual_seed(1)
        layer = nn.Linear(30, 20)
        filled = NORMAL(torch.empty(50))
        of_partial = BEFORE(torch.empty(50))
        inside = bound()
        with face.patched():
            assert bound() == inside
        assert bound() == inside
    assert bound() == before
    for old, new in zip(before, inside, strict=True):
        assert new[0] is old[0]
        assert (new[1] != old[1]) == (old[0].__name__ in {*SAMPLING, *KNOWN})
        assert new[2:] == old[2:]
    torch.manual_seed(1)
    assert torch.equal(face.kaiming_uniform_(torch.empty(20, 30), a=math.sqrt(5)), layer.weight)
    face.uniform_(torch.empty(20))
    assert torch.equal(face.normal_(torch.empty(50)), filled)
    assert torch.equal(face.normal_(torch.empty(50), std=0.5), of_partial)
    assert torch.equal(
        NORMAL(torch.empty(9), generator=seeded(1)), torch.empty(9).normal_(generator=seeded(1))
    )


def test_patched_restores_after_exceptions() -> None:
    before = bound()
    with pytest.raises(ZeroDivisionError), face.patched(), face.patched():
        _ = 1 / 0
    assert bound() == before


def scripted(tensor: torch.Tensor) -> torch.Tensor:
    return nn.init.xavier_uniform_(tensor)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_source_of_patched_functions_is_that_of_pytorch() -> None:
    sources = {name: inspect.getsource(getattr(nn.init, name)) for name in SAMPLING}
    with face.patched():
        assert {name: inspect.getsource(getattr(nn.init, name)) for name in SAMPLING} == sources
        compiled = torch.jit.script(scripted)
    torch.manual_seed(0)
    expected = nn.init.xavier_uniform_(torch.empty(3, 3))
    torch.manual_seed(0)
    assert torch.equal(compiled(torch.empty(3, 3)), expected)


def test_what_is_made_under_patched_can_be_stored_and_copied() -> None:
    """By the names that PyTorch has for its functions, so a process without this library can load it."""
    with face.patched():
        made = Keeper()
        inside = pickle.loads(pickle.dumps(made))
    stored = io.BytesIO()
    torch.save(made, stored)
    stored.seek(0)
    copies = [
        made,
        inside,
        pickle.loads(pickle.dumps(made)),
        copy.deepcopy(made),
        torch.load(stored, weights_only=False),
    ]
    for keeper in copies:
        assert keeper.init_method is nn.init.xavier_normal_
        assert keeper.small.func is nn.init.normal_
        assert keeper.table == {"default": NORMAL, "late": nn.init.trunc_normal_}
    assert b"fastinit" not in pickle.dumps([made.init_method, made.small, made.table])
    theirs = torch.empty(9).normal_(0, 0.02, generator=seeded(2))
    assert torch.equal(made.small(torch.empty(9), generator=seeded(2)), theirs)


@pytest.mark.parametrize("name", ["kaiming_uniform_", "normal_", "uniform_"])
def test_tables_of_overrides_find_torchs_functions(name: str) -> None:
    table = {getattr(nn.init, name): lambda tensor, **arguments: (tensor, arguments)}

    class Overriding(torch.Tensor):
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in table:
                return table[func](*args, **(kwargs or {}))
            return super().__torch_function__(func, types, args, kwargs or {})

    tensor = torch.ones(2, 2).as_subclass(Overriding)
    with face.patched():
        got, arguments = getattr(nn.init, name)(tensor)
        again, _ = getattr(face, name)(tensor)
    assert got is again is tensor
    assert arguments == getattr(nn.init, name)(tensor)[1]
    assert (tensor == 1).all()


def test_patched_leaves_other_functions_in_torchs_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of another library, and those that a module imported from here."""
    other = lambda tensor: tensor  # noqa: E731
    monkeypatch.setattr(nn.init, "normal_", other)
    ours = face.normal_
    with face.patched():
        assert nn.init.normal_ is other
        assert face.normal_ is ours
    assert nn.init.normal_ is other


def test_patched_multihead_attention() -> None:
    with face.patched():
        torch.manual_seed(1)
        attention = nn.MultiheadAttention(8, 2)
    torch.manual_seed(1)
    face.kaiming_uniform_(torch.empty(8, 8), a=math.sqrt(5))  # of out_proj, before
    face.uniform_(torch.empty(8))
    assert torch.equal(face.xavier_uniform_(torch.empty(24, 8)), attention.in_proj_weight)


def test_modes_see_the_functions_still() -> None:
    """As torch.nn.init's own: one that skips them leaves tensors as they are."""

    class Skip(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            if getattr(func, "__module__", "") == "torch.nn.init":
                return kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    tensor = torch.ones(5)
    with face.patched():
        with Skip():
            assert nn.init.normal_(tensor) is tensor
        assert (tensor == 1).all()
        with torch.device("cpu"):
            torch.manual_seed(0)
            nn.init.normal_(tensor=tensor, std=0.5)
    torch.manual_seed(0)
    assert torch.equal(face.normal_(torch.empty(5), std=0.5), tensor)


def test_an_interrupt_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bound()
    set_code = face.patch._set_code

    def interrupted(codes: Any) -> None:
        monkeypatch.setattr(face.patch, "_set_code", set_code)
        set_code({"normal_": codes["normal_"]})
        raise KeyboardInterrupt

    monkeypatch.setattr(face.patch, "_set_code", interrupted)
    with pytest.raises(KeyboardInterrupt), face.patched():
        pass
    assert bound() == before


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(10, 6, padding_idx=3)
        self.layers = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Conv1d(5, 4, 3))
        self.head = nn.Linear(6, 10, bias=False)
        self.head.weight = self.tokens.weight


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_modules_say_what_they_are(device: str) -> None:
    """The laws that PyTorch documents for its layers, each from the stream of its name."""
    with torch.device(device):
        network = Network()
    weight = network.layers[0].weight
    assert face.init_module_(network, seed=7, unrecorded="layer_defaults") is network
    assert network.head.weight is network.tokens.weight
    tokens = core(fi.Normal(), (10, 6), "tokens.weight", 7)
    tokens[3] = 0
    x, y = 1 / math.sqrt(6), 1 / math.sqrt(15)
    expected = {
        "tokens.weight": tokens,
        "layers.0.weight": core(fi.Uniform(-x, x), (5, 6), "layers.0.weight", 7),
        "layers.0.bias": core(fi.Uniform(-x, x), (5,), "layers.0.bias", 7),
        "layers.1.weight": torch.ones(5),
        "layers.1.bias": torch.zeros(5),
        "layers.2.weight": core(fi.Uniform(-y, y), (4, 5, 3), "layers.2.weight", 7),
        "layers.2.bias": core(fi.Uniform(-y, y), (4,), "layers.2.bias", 7),
    }
    parameters = dict(network.named_parameters())
    assert parameters.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(parameters[name].detach(), tensor, rtol=1e-6, atol=0, msg=name)
    assert (network.layers[1].running_mean == 0).all()
    assert (network.layers[1].running_var == 1).all()
    assert (weight is network.layers[0].weight) == (device == "cpu")


def test_rules() -> None:
    network = Network()
    kept = network.layers[2].weight.detach().clone()
    rules = {
        "layers.0.bias": fi.Constant(0.5),
        "layers.2.*": None,
        nn.Linear: fi.he_normal,  # of layers.0.weight: the head's is the embedding's
        "tokens.*": fi.TruncatedNormal(0, 0.02),
        nn.BatchNorm1d: fi.Uniform(1, 2),
    }
    face.init_module_(network, seed=7, rules=rules, unrecorded="layer_defaults")
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    assert (parameters["layers.0.bias"] == 0.5).all()
    assert torch.equal(parameters["layers.2.weight"], kept)
    he = fi.VarianceScaling(2.0, in_axis=1, out_axis=0)  # PyTorch's fans
    assert torch.equal(parameters["layers.0.weight"], core(he, (5, 6), "layers.0.weight", 7))
    tokens = core(fi.TruncatedNormal(0, 0.02), (10, 6), "tokens.weight", 7)
    tokens[3] = 0
    assert torch.equal(parameters["tokens.weight"], tokens)
    norm = core(fi.Uniform(1, 2), (5,), "layers.1.weight", 7)
    assert torch.equal(parameters["layers.1.weight"], norm)
    assert (parameters["layers.1.bias"] == 0).all()  # a type's initializer is not that of biases


def test_axes_that_are_given_count() -> None:
    layer = nn.Linear(6, 5)
    init = fi.VarianceScaling(2.0, in_axis=0, out_axis=1)
    face.init_module_(layer, seed=0, rules={"weight": init})
    assert torch.equal(layer.weight.detach(), core(init, (5, 6), "weight"))


def test_the_first_rule_counts_and_those_it_hides_match() -> None:
    """Types and rules of None may match nothing, and other patterns where that is asked for."""
    layer = nn.Linear(3, 2)
    rules = {
        "*.gamma": None,
        nn.Conv2d: fi.ones,
        "w*": fi.Constant(1.0),
        nn.Linear: fi.Constant(2.0),
        "weight": fi.Constant(3.0),
        "*": fi.zeros,
    }
    face.init_module_(layer, seed=0, rules=rules)
    assert (layer.weight == 1).all()
    face.init_module_(layer, seed=0, rules={"*.gamma": fi.ones, **rules}, strict=False)
    assert (layer.weight == 1).all()
    assert (layer.bias == 0).all()


def test_values_do_not_depend_on_what_else_there_is() -> None:
    alone = nn.ModuleDict({"a": nn.Linear(4, 4)})
    more = nn.ModuleDict({"b": nn.GRU(3, 3), "a": nn.Linear(4, 4)})
    torch.manual_seed(0)
    face.init_module_(alone, seed=1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    face.init_module_(more, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(alone["a"].weight, more["a"].weight)
    other = face.init_module_(nn.ModuleDict({"a": nn.Linear(4, 4)}), seed=2)
    assert not torch.equal(alone["a"].weight, other["a"].weight)


class Custom(nn.Module):
    """Draws in ways that `torch.nn.init` does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 4))
        self.gate = nn.Parameter(torch.zeros(4))

    def reset_parameters(self) -> None:
        self.weight.data.uniform_(-1, 1)
        self.gate.data.copy_(torch.randn(4))


def test_what_torch_draws_itself_is_seeded_by_the_name() -> None:
    first = face.init_module_(nn.ModuleDict({"a": Custom(), "b": Custom()}), seed=1)
    torch.rand(3)
    second = face.init_module_(nn.ModuleDict({"b": Custom(), "a": Custom()}), seed=1)
    assert torch.equal(first["a"].weight, second["a"].weight)
    assert torch.equal(first["b"].gate, second["b"].gate)
    assert not torch.equal(first["a"].weight, first["b"].weight)


def test_a_rule_keeps_a_module_from_drawing() -> None:
    module = face.init_module_(Custom(), seed=1, rules={"weight": None})
    assert (module.weight == 0).all()
    assert (module.gate != 0).all()
    assert isinstance(module.weight, nn.Parameter)


def test_a_module_that_sets_its_children_comes_after_them() -> None:
    """nn.Transformer draws all matrices again, as Xavier; 48 inputs and outputs."""
    transformer = nn.Transformer(24, 2, 1, 1, 24, batch_first=True)
    face.init_module_(transformer, seed=4)
    name = "encoder.layers.0.linear1.weight"
    xavier = fi.VarianceScaling(1.0, "fan_avg", "uniform", in_axis=1, out_axis=0)
    assert torch.equal(transformer.get_parameter(name).detach(), core(xavier, (24, 24), name, 4))


class Lost(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3)
        self.scale = nn.Parameter(torch.full((3,), 5.0))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*.wieght", "rules: '*.wieght' matches no parameter; near names: '"),
        ("layer.0.bias", "rules: 'layer.0.bias' matches no parameter; near names: 'layers.0.bias'"),
        ("head.weight", "rules: 'head.weight' matches only 'head.weight', which is tied to 'tokens.weight': use that name"),
        ("head*t", "rules: 'head*t' matches only 'head.weight', which is tied to 'tokens.weight'"),
    ],
)  # fmt: skip
def test_patterns_that_match_no_parameter(pattern: str, message: str) -> None:
    network = Network()
    before = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        face.init_module_(network, seed=0, rules={pattern: fi.ones})
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))


class Tables(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.arange(3.0))


@pytest.mark.parametrize(
    ("make", "arguments", "error", "match"),
    [
        (Lost, {"seed": 0, "unrecorded": "layer_defaults"}, ValueError, "neither rules nor their modules set scale:"),
        (Lost, {"seed": None}, TypeError, "seed must be given"),
        (Lost, {"seed": -1, "rules": {"*": fi.ones}}, ValueError, "seed must be an int"),
        (Lost, {"seed": 0, "rules": {"*": 1.0}}, TypeError, "rules must give initializers"),
        (Lost, {"seed": 0, "rules": {"*": fi.he_normal}}, ValueError, r"needs at least 2 axes, got shape \(3,\) of 'scale': put another rule for it first, such as fi.zeros for a bias or fi.ones for a norm$"),
        (Lost, {"seed": 0, "rules": {"*": fi.Normal(0, 1e39)}}, ValueError, "'scale': .*largest"),
        (Lost, {"seed": 0, "rules": {3: fi.ones}}, TypeError, "rules must be of names or types"),
    ],
)  # fmt: skip
def test_errors_come_before_anything_is_written(
    make: Any, arguments: dict[str, Any], error: Any, match: str
) -> None:
    module = make()
    before = [p.detach().clone() for p in module.parameters()]
    with pytest.raises(error, match=match):
        face.init_module_(module, **arguments)
    after = list(module.parameters())
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


class Forgetful(nn.Module):
    """Its reset leaves a part of one parameter, and all of the other, as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((100, 3), 4.0))
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.register_buffer("count", torch.tensor(7, dtype=torch.int64))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight[:50])


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_modules_forget_is_an_error(device: str) -> None:
    with torch.device(device):
        module = Forgetful()
    left = "count, scale, weight" if device == "meta" else "scale, weight"
    with pytest.raises(ValueError, match=f"modules set {left}:"):
        face.init_module_(module, seed=0)
    if device == "cpu":
        assert module.scale == 5
        assert (module.weight[50:] == 4).all()
        assert not (module.weight[:50] == 4).any()
        face.init_module_(module, seed=0, rules={"scale": None, "weight": fi.zeros})
        assert module.scale == 5
        assert module.count == 7


def test_weight_norm_needs_rules() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"modules set parametrizations\.weight\.original0"):
        face.init_module_(layer, seed=0)
    face.init_module_(layer, seed=0, rules={"parametrizations*": fi.ones})
    assert (layer.weight == 0.5).all()


class Demanding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def reset_parameters(self, std: float) -> None:
        nn.init.normal_(self.weight, std=std)


class Failing(Demanding):
    def reset_parameters(self) -> None:  # type: ignore[override]
        raise ZeroDivisionError


def test_hooks_that_cannot_be_called_and_hooks_that_fail() -> None:
    with pytest.raises(ValueError, match="modules set weight:"):
        face.init_module_(Demanding(), seed=0, unrecorded="layer_defaults")
    with pytest.raises(ZeroDivisionError) as error:
        face.init_module_(nn.ModuleDict({"a": Failing()}), seed=0)
    assert error.value.__notes__ == ["while the module 'a' initialised itself"]


def test_a_hook_that_fails_leaves_no_marks() -> None:
    module = nn.ModuleDict({"a": Failing(), "b": Forgetful()})
    with pytest.raises(ZeroDivisionError):
        face.init_module_(module, seed=0)
    assert (module["a"].weight == 1).all()
    assert module["b"].scale == 5


class Replacing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.scale = nn.Parameter(torch.ones(1000))

    def reset_parameters(self) -> None:
        self.weight.data = torch.full((3,), 2.0)
        self.scale = nn.Parameter(nn.init.normal_(torch.empty(1000)))


def test_hooks_may_take_other_memory() -> None:
    module, again = (face.init_module_(Replacing(), seed=0) for _ in range(2))
    assert (module.weight == 2).all()
    assert torch.equal(module.scale, again.scale)
    assert 0.8 < module.scale.std() < 1.2  # of 1000 normals; false alarm 1e-10


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, about its own imports
def test_wrappers_do_not_rename_streams() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    plain = face.init_module_(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), seed=1)
    wrapped = nn.Sequential(checkpoint_wrapper(nn.Linear(4, 4)), torch.compile(nn.Linear(4, 4)))
    for module in (wrapped, nn.DataParallel(wrapped)):
        assert face.init_module_(module, seed=1) is module
        pairs = zip(plain.parameters(), wrapped.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


class Reading(nn.Module):
    """Its reset needs what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((9,), 4.0))

    def reset_parameters(self) -> None:
        self.weight.neg_()


def test_what_reads_old_values_is_refused() -> None:
    module = Reading()
    with pytest.raises(ValueError, match="modules set weight:"):
        face.init_module_(module, seed=0)
    assert (module.weight == 4).all()


class Offsets(nn.Module):
    """Integers that hold -1, in a buffer that two modules share."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.arange(-3, 4))
        self.child = nn.Module()
        self.child.register_buffer("offsets", self.offsets)

    def reset_parameters(self) -> None:
        self.offsets.copy_(torch.arange(-3, 4))


def test_integer_buffers_from_the_meta_device() -> None:
    with torch.device("meta"):
        module = Offsets()
    face.init_module_(module, seed=0)
    assert module.offsets.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert module.child.offsets is module.offsets


def test_lazy_modules_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'0\.weight' has no shape yet"):
        face.init_module_(nn.Sequential(nn.LazyLinear(3)), seed=0)


def test_attributes_of_parameters_come_from_the_meta_device() -> None:
    layer = nn.Linear(3, 2, device="meta")
    layer.weight.no_decay = True
    layer.bias.requires_grad = False
    face.init_module_(layer, seed=0)
    assert layer.weight.no_decay
    assert not layer.bias.requires_grad


def test_an_explicit_generator_counts_in_hooks() -> None:
    class Own(Failing):
        def reset_parameters(self) -> None:  # type: ignore[override]
            nn.init.normal_(self.weight, generator=torch.Generator().manual_seed(3))

    module = face.init_module_(Own(), seed=0)
    expected = face.normal_(torch.empty(3), generator=torch.Generator().manual_seed(3))
    assert torch.equal(module.weight, expected)


def test_what_is_left_must_have_memory() -> None:
    layer = nn.Linear(3, 2, device="meta")
    with pytest.raises(ValueError, match="'bias' as it is on the meta device"):
        face.init_module_(layer, seed=0, rules={"bias": None})
    assert layer.weight.is_meta
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got Parameter"):
        face.init_module_(layer.weight, seed=0)


def test_buffers_that_nothing_sets_must_not_be_on_the_meta_device() -> None:
    with torch.device("meta"):
        module = nn.ModuleDict({"tables": Tables()})
    with pytest.raises(ValueError, match=r"modules set tables\.frequencies: .*meta device"):
        face.init_module_(module, seed=0, unrecorded="layer_defaults")
    module = nn.ModuleDict({"tables": Tables()})
    face.init_module_(module, seed=0)
    assert module["tables"].frequencies.tolist() == [0, 1, 2]


def test_dtypes() -> None:
    layer = nn.Linear(30, 20, dtype=torch.bfloat16)
    face.init_module_(layer, seed=0, rules={"*": fi.Normal(0, 0.02)})
    expected = core(fi.Normal(0, 0.02), (20, 30), "weight").bfloat16()
    assert torch.equal(layer.weight.detach(), expected)
    layer.weight = nn.Parameter(torch.ones(2, dtype=torch.int8), requires_grad=False)
    with pytest.raises(TypeError, match=r"'weight' must be of float32.*int8"):
        face.init_module_(layer, seed=0, rules={"*": fi.zeros})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("GPT2LMHeadModel", {"model_type": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 2}),
        ("LlamaForCausalLM", {"model_type": "llama", "pad_token_id": 3} | ENCODER),
        ("BertForPreTraining", {"model_type": "bert"} | ENCODER),
    ],
)
def test_models_of_transformers_are_those_of_their_configs(
    tmp_path: Path, device: str, name: str, config: dict[str, Any]
) -> None:
    """To the bit what `fi.Model`, whose laws are tested elsewhere, makes of the config."""
    transformers = pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": [name]}))
    with torch.device(device):
        model = getattr(transformers, name)(transformers.AutoConfig.from_pretrained(tmp_path))
    face.init_module_(model, seed=3)
    described = fi.Model.load(tmp_path / "config.json")
    parameters = dict(model.named_parameters())
    assert parameters.keys() == {tensor.name for tensor in described}
    for tensor_name, parameter in parameters.items():
        assert parameter.detach().numpy().tobytes() == described.make(tensor_name, seed=3).tobytes()
    assert not any(b.isnan().any() for b in model.buffers() if b.is_floating_point())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "vocab_size": 60}),
        ("mamba", {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 60}),
        ("mixtral", ENCODER | {"num_local_experts": 2, "num_key_value_heads": 2}),
        ("resnet", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
    ],
)
def test_models_of_transformers_come_whole_from_the_meta_device(
    kind: str, config: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    states = []
    for device in ("cpu", "meta"):
        with torch.device(device):
            model = transformers.AutoModel.from_config(
                transformers.AutoConfig.for_model(kind, **config)
            )
        states.append(face.init_module_(model, seed=1).state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("head", ["Wav2Vec2ForXVector", "WavLMForXVector"])
def test_xvector_heads_need_rules(head: str, weighted: bool) -> None:
    """For what weight_norm and a sum of layers have of their own, which transformers sets at construction alone."""
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, head)
    small = {"conv_dim": (8, 8), "conv_kernel": (3, 3), "conv_stride": (2, 2), "tdnn_dim": (8, 8)}
    small |= {"tdnn_kernel": (3, 1), "tdnn_dilation": (1, 1), "xvector_output_dim": 8}
    small |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    model = kind(kind.config_class(**ENCODER, **small, use_weighted_layer_sum=weighted))
    rules = {"*.pos_conv_embed.conv.parametrizations.weight.*": fi.Constant(1.0)}
    with pytest.raises(
        ValueError, match=r"pos_conv_embed\.conv\.parametrizations\.weight\.original1"
    ):
        face.init_module_(model, seed=0)
    if weighted:
        with pytest.raises(ValueError, match="neither rules nor their modules set layer_weights:"):
            face.init_module_(model, seed=0, rules=rules)
        rules["layer_weights"] = fi.Constant(0.25)
    face.init_module_(model, seed=0, rules=rules)
    name = "objective.weight"  # standard normal in transformers
    expected = core(fi.Normal(), tuple(model.objective.weight.shape), name)
    assert torch.equal(model.get_parameter(name).detach(), expected)


@pytest.mark.filterwarnings("ignore")
def test_loaded_models_are_initialised_all_the_same(tmp_path: Path) -> None:
    """Though transformers marks what it has loaded, and does not initialise it any more."""
    transformers = pytest.importorskip("transformers")
    model = transformers.BertModel(transformers.BertConfig(**ENCODER))
    expected = face.init_module_(model, seed=3).state_dict()
    model.save_pretrained(tmp_path)
    loaded = transformers.BertModel.from_pretrained(tmp_path)
    face.init_module_(loaded, seed=4)
    face.init_module_(loaded, seed=3)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.filterwarnings("ignore")
def test_patched_reaches_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers import initialization

    before = dict(initialization.TORCH_INIT_FUNCTIONS)
    config = transformers.BertConfig(**ENCODER)
    with face.patched():
        torch.manual_seed(1)
        model = transformers.BertModel(config)
    assert before == initialization.TORCH_INIT_FUNCTIONS
    assert initialization.TORCH_INIT_FUNCTIONS["normal_"] is nn.init.normal_
    calls = []
    original = face.init.fill_tensor

    @functools.wraps(original)
    def counted(*args: Any) -> None:
        calls.append(args[0])
        original(*args)

    with pytest.MonkeyPatch.context() as patch, face.patched():
        patch.setattr(face.init, "fill_tensor", counted)
        torch.manual_seed(1)
        again = transformers.BertModel(config)
    weights = [m.weight for m in again.modules() if isinstance(m, (nn.Linear, nn.Embedding))]
    assert all(any(w is c for c in calls) for w in weights)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
