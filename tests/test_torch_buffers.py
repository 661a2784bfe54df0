"""`init_module_` and what modules compute: buffers after ``to_empty``, and settings of PyTorch that must not reach values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fastinit as fi
import fastinit.torch as face
from cases import ENCODER

#: Ways to a module on the CPU, or on the meta device, whose memory `init_module_` makes.
WAYS = ["constructed", "meta", "to_empty"]


def made(make: Callable[[], Any], way: str) -> Any:
    """A module; the memory that ``to_empty`` gives it holds 77, which nothing else sets."""
    with torch.device("cpu" if way == "constructed" else "meta"):
        module = make()
    if way == "to_empty":
        module.to_empty(device="cpu")
        with torch.no_grad():
            for tensor in [*module.parameters(), *module.buffers()]:
                tensor.fill_(77)
        if hasattr(module, "tie_weights"):  # which to_empty unties
            module.tie_weights()
    return module


class Rotary(nn.Module):
    """Its own code computes all of its buffers, one of which it replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.empty(4), persistent=False)
        self.register_buffer("turns", torch.empty(3, dtype=torch.complex64), persistent=False)
        self.register_buffer("offsets", torch.empty(3, dtype=torch.int64), persistent=False)
        self.register_buffer("mask", torch.empty(2, 2, dtype=torch.bool), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.frequencies.copy_(0.5 ** torch.arange(4))
        self.turns.copy_(torch.tensor([1, 1j, -1]))
        self.offsets = torch.tensor([-1, -1, -1])
        self.mask.fill_(True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rules", [{}, {"*": fi.zeros}, {"*": None}])
def test_modules_compute_their_buffers(way: str, rules: Any) -> None:
    """Whatever the rules: no ``state_dict`` has them, so their code alone knows their values."""
    network = made(lambda: nn.ModuleDict({"rotary": Rotary(), "linear": nn.Linear(2, 2)}), way)
    if rules == {"*": None} and way == "meta":
        rules = {"linear.*": fi.ones}
    face.init_module_(network, seed=0, rules=rules)
    rotary = network["rotary"]
    assert rotary.frequencies.tolist() == [1, 0.5, 0.25, 0.125]
    assert rotary.turns.tolist() == [1, 1j, -1]
    assert rotary.offsets.tolist() == [-1, -1, -1]
    assert rotary.mask.all()


class Tables(nn.Module):
    """Nothing but its construction sets its buffer."""

    def __init__(self, make: Callable[[], torch.Tensor], persistent: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("table", make(), persistent=persistent)


TABLES = [
    lambda: torch.full((100, 2), 3.0),
    lambda: torch.tensor(3.0),
    lambda: torch.full((3,), 3, dtype=torch.complex64),
    lambda: torch.full((9,), 3),
    lambda: torch.ones(9, dtype=torch.bool),
    lambda: torch.full((9,), 3, dtype=torch.uint8),
]


@pytest.mark.parametrize("make", TABLES)
@pytest.mark.parametrize("way", ["constructed", "to_empty"])
@pytest.mark.parametrize("around", [False, True])
def test_buffers_that_nothing_computes_are_named(make: Any, way: str, around: bool) -> None:
    """Their values may be right or those of any memory, which cannot be told: a rule of None says that they are."""
    network: Any = nn.Sequential(made(lambda: Tables(make), way))
    if around:  # its own method might set them, which shows after it has run
        network.reset_parameters = lambda: None
    table, weight = network[0].table, network[0].linear.weight.detach().clone()
    before = table.clone()
    with pytest.raises(
        ValueError, match=r"neither rules nor their modules set 0\.table: .*to_empty"
    ):
        face.init_module_(network, seed=0, unrecorded="layer_defaults")
    assert torch.equal(table, before)
    assert torch.equal(network[0].linear.weight, weight) != around
    for rules in ({"*.table": None}, {Tables: None}):
        face.init_module_(network, seed=0, rules=rules, unrecorded="layer_defaults")
        assert network[0].table is table
        assert torch.equal(table, before)


def test_buffers_of_checkpoints_that_nothing_computes_stay() -> None:
    network = Tables(lambda: torch.arange(3.0), persistent=True)
    face.init_module_(network, seed=0, unrecorded="layer_defaults")
    assert network.table.tolist() == [0, 1, 2]


class Around(nn.Module):
    """Computes the buffer of its child, or a part of it."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.child = Tables(lambda: torch.empty(100, 2))
        self.rows = rows

    def reset_parameters(self) -> None:
        self.child.table[: self.rows] = 5


@pytest.mark.parametrize("way", ["constructed", "to_empty", "meta"])
def test_modules_may_compute_the_buffers_of_their_parts(way: str) -> None:
    module = made(lambda: Around(100), way)
    face.init_module_(module, seed=0, rules={"*linear*": fi.ones})
    assert (module.child.table == 5).all()
    module = made(lambda: Around(50), way)
    with pytest.raises(ValueError, match=r"modules set child\.table:"):
        face.init_module_(module, seed=0, rules={"*linear*": fi.ones})


@pytest.mark.parametrize("way", ["constructed", "to_empty", "meta"])
@pytest.mark.parametrize("persistent", [False, True])
def test_buffers_without_elements_need_no_values(way: str, persistent: bool) -> None:
    module = made(lambda: Tables(lambda: torch.empty(0, 2), persistent), way)
    face.init_module_(module, seed=0, rules={"linear.*": fi.ones})
    assert module.table.shape == (0, 2)
    assert module.table.device.type == "cpu"


class Caching(nn.Module):
    """Gives a buffer up, as caches are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cache", torch.ones(3), persistent=False)

    def reset_parameters(self) -> None:
        self.cache = None


def test_modules_may_give_buffers_up() -> None:
    assert face.init_module_(Caching(), seed=0).cache is None


class Masked(nn.Module):
    """Reads its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2))
        self.register_buffer("mask", torch.tensor([1.0, 0.0]), persistent=False)

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight).mul_(self.mask)


def test_a_buffer_that_is_kept_can_be_read() -> None:
    module = face.init_module_(Masked(), seed=0, rules={"mask": None})
    assert module.weight.tolist() == [1, 0]
    module.weight.data.fill_(4)
    with pytest.raises(ValueError, match="modules set mask, weight:"):
        face.init_module_(module, seed=0)
    assert module.weight.tolist() == [4, 4]
    assert module.mask.tolist() == [1, 0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("rules", [{}, {"0.*": fi.ones}])
def test_statistics_of_batch_norm_are_reset(way: str, affine: bool, rules: Any) -> None:
    """Also where rules set all of its parameters, and where it has none."""
    network = made(lambda: nn.Sequential(nn.BatchNorm1d(3, affine=affine), nn.Linear(3, 2)), way)
    face.init_module_(network, seed=0, rules=rules if affine else {})
    assert network[0].running_mean.tolist() == [0, 0, 0]
    assert network[0].running_var.tolist() == [1, 1, 1]
    assert network[0].num_batches_tracked == 0


@pytest.mark.parametrize(
    "rules",
    [
        {"0.*": None},
        {nn.BatchNorm1d: None},
        {"0.weight": None, "0.bias": None},  # whoever keeps all parameters keeps statistics
        {"0.weight": None, "0.running*": None, "0.num*": None},
    ],
)
def test_statistics_of_a_trained_batch_norm_are_kept(rules: Any) -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    network(torch.arange(12.0).reshape(4, 3) ** 2)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    objects = dict(network.named_buffers())
    face.init_module_(network, seed=0, rules=rules)
    assert before["0.running_mean"].any()
    for name, buffer in network.named_buffers():
        assert buffer is objects[name]
        assert torch.equal(buffer, before[name])


def llama() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**ENCODER))


def bert() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.BertForMaskedLM(transformers.BertConfig(**ENCODER))


def whisper() -> Any:
    transformers = pytest.importorskip("transformers")
    small = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 60}
    tokens = dict.fromkeys(
        ["pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"], 1
    )
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes = {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    return transformers.WhisperModel(
        transformers.WhisperConfig(**small, **tokens, **heads, **sizes)
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
def test_frequencies_of_llama(way: str) -> None:
    """10000^(-2i / d), for heads of d elements."""
    model = made(llama, way)
    face.init_module_(model, seed=0)
    rotary = model.model.rotary_emb
    d = model.config.hidden_size // model.config.num_attention_heads
    expected = 10000.0 ** -(torch.arange(0, d, 2, dtype=torch.float64) / d)
    torch.testing.assert_close(rotary.inv_freq, expected.float(), rtol=1e-6, atol=0)
    assert torch.equal(rotary.original_inv_freq, rotary.inv_freq)


@pytest.mark.filterwarnings("ignore")
def test_models_of_transformers_come_whole_from_to_empty() -> None:
    for make in (llama, whisper, bert):
        states = []
        for way in WAYS:
            model = face.init_module_(made(make, way), seed=0)
            states.append({**model.state_dict(), **dict(model.named_buffers())})
        for state in states[1:]:
            assert state.keys() == states[0].keys()
            assert all(torch.equal(tensor, states[0][name]) for name, tensor in state.items())


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SETTINGS: dict[str, Callable[[], Any]] = {
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference": torch.inference_mode,
    "gradients": torch.enable_grad,
}


class Computing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Parameter(torch.empty(4))
        self.product = nn.Parameter(torch.empty(2, 2))
        self.replaced = nn.Parameter(torch.empty(3))
        self.register_buffer("positions", torch.empty(4), persistent=False)

    def reset_parameters(self) -> None:
        self.third.copy_(torch.ones(4) / 3)
        self.product.copy_(torch.full((2, 2), 1 + 2**-10) @ torch.eye(2))
        self.replaced.data = torch.ones(3) / 3
        self.positions.copy_(1000 + torch.arange(4) / 2)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_modules_compute_depends_on_no_setting(setting: str, dtype: torch.dtype) -> None:
    """It is computed in float32, or float64 for that, and then rounded to the dtype of the tensor, which stays."""
    module = Computing().to(dtype)
    with SETTINGS[setting]():
        face.init_module_(module, seed=0)
        assert torch.get_default_dtype() == {
            "bfloat16": torch.bfloat16,
            "float64": torch.float64,
        }.get(setting, torch.float32)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    third = torch.tensor(1 / 3, dtype=wide).to(dtype).item()
    assert (
        third
        == {torch.float32: 0.3333333432674408, torch.float64: 1 / 3, torch.bfloat16: 0.333984375}[
            dtype
        ]
    )
    assert module.third.tolist() == [third] * 4
    assert module.replaced.tolist() == [third] * 3
    product = 1.0 if dtype == torch.bfloat16 else 1 + 2**-10
    assert module.product.tolist() == [[product] * 2] * 2
    positions = (
        [1000, 1000, 1000, 1000] if dtype == torch.bfloat16 else [1000, 1000.5, 1001, 1001.5]
    )
    assert module.positions.tolist() == positions
    assert all(tensor.dtype == dtype for tensor in [*module.parameters(), *module.buffers()])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positions_of_whisper_in_any_default_dtype(dtype: torch.dtype) -> None:
    """Those that transformers itself computes in a new process, rounded; in bfloat16 they were off by 2."""
    expected = whisper().encoder.embed_positions.weight.detach().to(dtype)
    for default in (torch.bfloat16, torch.float64):
        model = whisper().to(dtype)
        with default_dtype(default):
            face.init_module_(model, seed=0)
        assert torch.equal(model.encoder.embed_positions.weight.detach(), expected)
