"""Small models in the styles of the field, each with what its own code asks of every parameter and buffer."""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from torch_expected import (
    ONES,
    ZEROS,
    Coins,
    Expected,
    Integers,
    Orthogonal,
    Parts,
    Relation,
    Same,
    Sparse,
    Spread,
    Through,
    Values,
    log_uniform,
    normal,
    rows,
    truncated,
    uniform,
)


@dataclass(frozen=True)
class Case:
    """A model and its table."""

    build: Callable[[], nn.Module]
    #: By patterns of names, of which the first that matches counts.
    table: Mapping[str, Expected]
    #: The entry that no spec can hold, if there is one.
    not_in_spec: str | None = None
    #: Whether the constructor seeds PyTorch's generator itself.
    seeds: bool = False

    def expected(self, name: str) -> Expected:
        for pattern, expected in self.table.items():
            if fnmatchcase(name, pattern):
                return expected
        raise KeyError(f"no pattern of the table matches {name!r}")


CASES: dict[str, Case] = {}


def case(name: str, table: Mapping[str, Expected], **options: Any) -> Callable[[Any], Any]:
    """Register a class without arguments, or a function, as a model of that name."""

    def register(build: Any) -> Any:
        CASES[name] = Case(build, table, **options)
        return build

    return register


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by every name they have."""
    named = dict(module.named_parameters(remove_duplicate=False))
    return {**named, **dict(module.named_buffers(remove_duplicate=False))}


def torch_linear(fan_in: int, *, plain: bool = True) -> Spread:
    """What PyTorch gives weights and biases of linear layers and convolutions: U[-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    return uniform(1 / math.sqrt(fan_in), plain=plain)


def xavier(fan_in: int, fan_out: int, gain: float = 1.0) -> Spread:
    return uniform(gain * math.sqrt(6 / (fan_in + fan_out)))


# Language models


class Attention(nn.Module):
    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        mask = torch.tril(torch.ones(context, context))
        self.register_buffer("bias", mask.view(1, 1, context, context))


class GPTBlock(nn.Module):
    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, context)
        self.ln_2 = nn.LayerNorm(width)
        mlp = {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.ModuleDict(mlp)


@case(
    "gpt",
    {
        "lm_head.weight": Same("transformer.wte.weight", tied=True),
        "*.c_proj.weight": normal(0.02 / math.sqrt(2 * 3)),
        "*.attn.bias": Values(torch.ones(16, 16).tril()),
        "*ln_*.weight": ONES,
        "*.bias": ZEROS,
        "*": normal(0.02),
    },
)
class GPT(nn.Module):
    """GPT-2 by hand: std 0.02, residual projections scaled by depth, after the constructor has made everything."""

    def __init__(self, layers: int = 3, width: int = 48, context: int = 16) -> None:
        super().__init__()
        modules = {
            "wte": nn.Embedding(96, width),
            "wpe": nn.Embedding(context, width),
            "h": nn.ModuleList(GPTBlock(width, context) for _ in range(layers)),
            "ln_f": nn.LayerNorm(width),
        }
        self.transformer = nn.ModuleDict(modules)
        self.lm_head = nn.Linear(width, 96, bias=False)
        self.transformer["wte"].weight = self.lm_head.weight
        self.apply(self._init_weights)
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(p, mean=0.0, std=0.02 / math.sqrt(2 * layers))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)


class LlamaBlock(nn.Module):
    def __init__(self, layer: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention = nn.ModuleDict(
            {k: nn.Linear(dim, dim, bias=False) for k in ("wq", "wk", "wv", "wo")}
        )
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)
        self.attention_norm = nn.RMSNorm(dim)
        self.ffn_norm = nn.RMSNorm(dim)

    def init_weights(self) -> None:
        std = 0.02 / math.sqrt(2 * (self.layer + 1))
        for norm in (self.attention_norm, self.ffn_norm):
            norm.reset_parameters()
        for name, linear in self.attention.items():
            nn.init.trunc_normal_(linear.weight, mean=0.0, std=std if name == "wo" else 0.02)
        nn.init.trunc_normal_(self.w1.weight, mean=0.0, std=0.02)
        for linear in (self.w2, self.w3):
            nn.init.trunc_normal_(linear.weight, mean=0.0, std=std)


def rotations(dim: int, length: int, theta: float = 10000.0) -> Tensor:
    frequencies = 1.0 / theta ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim)
    angles = torch.outer(torch.arange(length), frequencies).float()
    return torch.polar(torch.ones_like(angles), angles)


TURNS = np.exp(1j * np.outer(np.arange(12), 10000.0 ** (-np.arange(0, 8, 2) / 8)))
SECOND = truncated(
    0.02 / math.sqrt(4), -2.0, 2.0
)  # the std of the second layer's residual branches
FIRST = truncated(0.02 / math.sqrt(2), -2.0, 2.0)


@case(
    "llama",
    {
        "freqs_cis": Values(TURNS, rtol=1e-6),
        "tok_embeddings.weight": normal(1.0),
        "output.weight": truncated(32**-0.5, -3 * 32**-0.5, 3 * 32**-0.5),
        "*norm.weight": ONES,
        "layers.0.*wo.weight": FIRST,
        "layers.0.w[23].weight": FIRST,
        "layers.1.*wo.weight": SECOND,
        "layers.1.w[23].weight": SECOND,
        "*": truncated(0.02, -2.0, 2.0),
    },
)
class Llama(nn.Module):
    """In the manner of torchtitan: nothing is set until init_weights runs, which computes the frequencies again."""

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.dim = dim
        self.tok_embeddings = nn.Embedding(80, dim)
        self.register_buffer("freqs_cis", rotations(8, 12), persistent=False)
        blocks = {str(i): LlamaBlock(i, dim, 3 * dim) for i in range(2)}
        self.layers = nn.ModuleDict(blocks)
        self.norm = nn.RMSNorm(dim)
        self.output = nn.Linear(dim, 80, bias=False)
        self.init_weights()

    def init_weights(self) -> None:
        with torch.device(self.freqs_cis.device):
            self.freqs_cis = rotations(8, 12)
        nn.init.normal_(self.tok_embeddings.weight)
        for layer in self.layers.values():
            layer.init_weights()
        self.norm.reset_parameters()
        std = self.dim**-0.5
        nn.init.trunc_normal_(self.output.weight, mean=0.0, std=std, a=-3 * std, b=3 * std)


DT_LOW, DT_HIGH = 0.001, 0.1


@case(
    "mamba",
    {
        "*.A_log": Values(torch.arange(1.0, 9.0).log(), rtol=1e-6),
        "*.D": ONES,
        "*.dt_proj.bias": Through(nn.functional.softplus, log_uniform(DT_LOW, DT_HIGH)),
        "*.dt_proj.weight": uniform(4**-0.5),
        "*.conv1d.*": torch_linear(4),
        "*.in_proj.weight": torch_linear(32),
        "*.x_proj.weight": torch_linear(64),
        "*.out_proj.weight": uniform(64**-0.5 / math.sqrt(2)),
        "*.norm.weight": ONES,
        "embedding.weight": normal(0.02),
    },
)
class Mamba(nn.Module):
    """State spaces: steps drawn log-uniformly, kept as the inverse of a softplus; decays are 1 to 8."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(90, 32)
        self.layers = nn.ModuleList(MambaBlock() for _ in range(layers))
        nn.init.normal_(self.embedding.weight, std=0.02)
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.out_proj.weight, a=math.sqrt(5))
            with torch.no_grad():
                layer.out_proj.weight /= math.sqrt(layers)


class MambaBlock(nn.Module):
    def __init__(self, width: int = 32, inner: int = 64, state: int = 8, rank: int = 4) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, 4, groups=inner, padding=3)
        self.x_proj = nn.Linear(inner, rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        spread = math.log(DT_HIGH) - math.log(DT_LOW)
        dt = torch.exp(torch.rand(inner) * spread + math.log(DT_LOW)).clamp(min=1e-4)
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        self.dt_proj.bias._no_reinit = True
        decays = torch.arange(1, state + 1, dtype=torch.float32).repeat(inner, 1).contiguous()
        self.A_log = nn.Parameter(torch.log(decays))
        self.A_log._no_weight_decay = True
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)


def rwkv_decay(ratio: float, width: int = 32) -> list[float]:
    return [-5 + 8 * (i / (width - 1)) ** (0.7 + 1.3 * ratio) for i in range(width)]


RWKV_RATIOS = np.arange(32) / 32


@case(
    "rwkv",
    {
        "emb.weight": uniform(1e-4),
        "blocks.0.time_decay": Values(rwkv_decay(0.0), rtol=1e-6),
        "blocks.1.time_decay": Values(rwkv_decay(1.0), rtol=1e-6),
        "*.time_first": Values(np.log(0.3) + 0.5 * ((np.arange(32) + 1) % 3 - 1), rtol=1e-6),
        "blocks.0.time_mix": Values(RWKV_RATIOS, rtol=1e-6),
        "blocks.1.time_mix": Values(RWKV_RATIOS**0.5, rtol=1e-6),
        "*.key.weight": Orthogonal(0.1),
        "*.output.weight": ZEROS,
        "*.receptance.weight": Orthogonal(1.0),
        "*.mixes": Parts(tuple((i, Orthogonal(0.1)) for i in range(3))),
        "head.weight": Orthogonal(0.5 * math.sqrt(64 / 32)),
    },
)
class RWKV(nn.Module):
    """Decays and mixtures from formulas, channel by channel; matrices made outside and loaded as a state_dict."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.emb = nn.Embedding(64, width)
        self.blocks = nn.ModuleList(RWKVBlock(i, 2, width) for i in range(2))
        self.head = nn.Linear(width, 64, bias=False)
        state = {}
        for name, p in self.named_parameters():
            state[name] = self._value(name, p)
        self.load_state_dict(state)

    @staticmethod
    def _value(name: str, p: nn.Parameter) -> Tensor:
        if name == "emb.weight":
            return torch.empty(p.shape).uniform_(-1e-4, 1e-4)
        if p.ndim != 2:
            return p.detach().clone()
        scale = {"key": 0.1, "output": 0.0, "head": 0.5}.get(name.split(".")[-2], 1.0)
        if name == "head.weight":
            scale *= math.sqrt(p.shape[0] / p.shape[1])
        matrix = torch.empty((p.shape[0], p.shape[1]), device="cpu")
        if scale == 0:
            return nn.init.zeros_(matrix)
        return nn.init.orthogonal_(matrix, gain=scale)


class RWKVBlock(nn.Module):
    def __init__(self, layer: int, layers: int, width: int) -> None:
        super().__init__()
        ratio = layer / (layers - 1)
        with torch.no_grad():
            decay = torch.ones(width)
            for h in range(width):
                decay[h] = -5 + 8 * (h / (width - 1)) ** (0.7 + 1.3 * ratio)
            self.time_decay = nn.Parameter(decay)
            zigzag = torch.tensor([(i + 1) % 3 - 1 for i in range(width)]) * 0.5
            self.time_first = nn.Parameter(torch.ones(width) * math.log(0.3) + zigzag)
            x = torch.ones(1, 1, width)
            for i in range(width):
                x[0, 0, i] = i / width
            self.time_mix = nn.Parameter(torch.pow(x, 1 - 0.5 * ratio))
        self.key = nn.Linear(width, width, bias=False)
        self.receptance = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.mixes = nn.Parameter(torch.zeros(3, width // 2, width))
        for mix in self.mixes:
            nn.init.orthogonal_(mix, gain=0.1)


FORGET = Values([0.0] * 40 + [1.0] * 40 + [0.0] * 80)


@case(
    "lstm language model",
    {
        "decoder.weight": Same("encoder.weight", tied=True),
        "encoder.weight": uniform(0.1),
        "decoder.bias": ZEROS,
        "lstm.weight_ih_*": xavier(40, 160),
        "lstm.weight_hh_*": Parts(
            tuple((slice(i, i + 40), Orthogonal()) for i in (0, 40, 80, 120))
        ),
        "lstm.bias_ih_*": FORGET,
        "lstm.bias_hh_*": ZEROS,
    },
)
class LSTMLanguageModel(nn.Module):
    """Tied, uniform embeddings; orthogonal recurrence gate by gate; a forget gate that is open."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.encoder = nn.Embedding(70, width)
        self.lstm = nn.LSTM(width, width, 2)
        self.decoder = nn.Linear(width, 70)
        self.decoder.weight = self.encoder.weight
        self.encoder.weight.data.uniform_(-0.1, 0.1)
        self.decoder.bias.data.zero_()
        for name, p in self.lstm.named_parameters():
            if "weight_ih" in name:
                nn.init.xavier_uniform_(p.data)
            elif "weight_hh" in name:
                for gate in p.chunk(4):
                    nn.init.orthogonal_(gate)
            else:
                p.data.fill_(0)
                if "bias_ih" in name:
                    p.data[width : 2 * width].fill_(1)


@case(
    "packed qkv",
    {
        "qkv.weight": rows((32, normal(0.1)), (32, normal(0.2)), (32, uniform(0.3))),
        "gated.weight": rows((48, truncated(0.5, -1.0, 1.0)), (48, ZEROS)),
        "split.weight": rows((16, normal(1.0)), (32, normal(2.0)), (8, ONES)),
        "columns.weight": Parts(((np.s_[:, :10], normal(0.1)), (np.s_[:, 10:], normal(3.0)))),
        "*.bias": ZEROS,
    },
)
class Packed(nn.Module):
    """Matrices side by side in one weight, each with its own scale."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 96)
        self.gated = nn.Linear(24, 96)
        self.split = nn.Linear(24, 56)
        self.columns = nn.Linear(20, 64)
        q, k, v = self.qkv.weight.chunk(3)
        nn.init.normal_(q, std=0.1)
        nn.init.normal_(k, std=0.2)
        nn.init.uniform_(v, -0.3, 0.3)
        gate, up = self.gated.weight.data.view(2, 48, 24).unbind(0)
        nn.init.trunc_normal_(gate, std=0.5, a=-1.0, b=1.0)
        up.zero_()
        a, b, c = torch.split(self.split.weight.data, [16, 32, 8])
        a.normal_()
        b.normal_(0, 2.0)
        c.fill_(1)
        with torch.no_grad():
            self.columns.weight[:, :10].normal_(std=0.1)
            self.columns.weight.narrow(1, 10, 10).normal_(std=3.0)
        for layer in (self.qkv, self.gated, self.split, self.columns):
            layer.bias.data.zero_()


@case(
    "experts",
    {
        "up": normal(0.5),
        "down": torch_linear(24),
        "stacked": torch_linear(16, plain=False),
        "joined": rows((32, torch_linear(8, plain=False)), (16, ZEROS)),
        "router.weight": normal(0.02),
    },
)
class Experts(nn.Module):
    """Experts in one tensor, set in a loop, all at once, or put together from layers of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.empty(4, 24, 16))
        self.down = nn.Parameter(torch.empty(4, 16, 24))
        self.router = nn.Linear(16, 4, bias=False)
        for expert in range(4):
            nn.init.normal_(self.up[expert], std=0.5)
            nn.init.kaiming_uniform_(self.down.data[expert], a=math.sqrt(5))
        nn.init.normal_(self.router.weight, std=0.02)
        layers = [nn.Linear(16, 24) for _ in range(4)]
        self.stacked = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        with torch.no_grad():
            halves = [nn.Linear(8, 16).weight, nn.Linear(8, 16).weight, torch.zeros(16, 8)]
            self.joined = nn.Parameter(torch.cat(halves))


# Fine-tuning, images, sound


class LoRALinear(nn.Module):
    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, width)
        self.base.requires_grad_(False)
        self.lora_A = nn.Parameter(self.base.weight.new_zeros((rank, width)))
        self.lora_B = nn.Parameter(self.base.weight.new_zeros((width, rank)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B)


@case(
    "lora",
    {"*.lora_B": ZEROS, "*": torch_linear(36)},
)
def lora() -> nn.Module:
    """Adapters that change nothing at first: B is zero."""
    return nn.Sequential(LoRALinear(36, 4), nn.ReLU(), LoRALinear(36, 4))


class FixupBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        for i in range(4):
            setattr(self, f"bias{i}", nn.Parameter(torch.zeros(1)))
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.scale = nn.Parameter(torch.ones(1))


@case(
    "fixup",
    {
        "*bias*": ZEROS,
        "*.scale": ONES,
        "*.conv1.weight": normal(math.sqrt(2 / (16 * 9)) * 3**-0.5),
        "*.conv2.weight": ZEROS,
        "fc.weight": ZEROS,
        "conv.weight": normal(math.sqrt(2 / (16 * 9))),
    },
)
class FixupResNet(nn.Module):
    """Without normalisation: the first of two convolutions scaled by L^(-1/2), the second and the classifier zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bias1 = nn.Parameter(torch.zeros(1))
        self.layers = nn.Sequential(*(FixupBlock(16) for _ in range(3)))
        self.fc = nn.Linear(16, 10)
        for m in self.modules():
            if isinstance(m, FixupBlock):
                std = np.sqrt(2 / (m.conv1.weight.shape[0] * np.prod(m.conv1.weight.shape[2:])))
                nn.init.normal_(m.conv1.weight, mean=0, std=std * len(self.layers) ** (-0.5))
                nn.init.constant_(m.conv2.weight, 0)
            elif isinstance(m, nn.Linear):
                nn.init.constant_(m.weight, 0)
                nn.init.constant_(m.bias, 0)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width)


@case(
    "resnet",
    {
        "*.bn2.weight": ZEROS,
        "*running_mean": ZEROS,
        "*running_var": ONES,
        "*num_batches_tracked": ZEROS,
        "conv1.weight": normal(math.sqrt(2 / (16 * 49))),
        "*conv*.weight": normal(math.sqrt(2 / (16 * 9))),
        "*bn*.weight": ONES,
        "*bn*.bias": ZEROS,
        "fc.*": torch_linear(16),
    },
)
class ResNet(nn.Module):
    """Sets itself at the end of its constructor; the last normalisation of each block is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 7, bias=False), nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Residual(16), Residual(16))
        self.fc = nn.Linear(16, 40)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)
        for m in self.modules():
            if isinstance(m, Residual):
                nn.init.constant_(m.bn2.weight, 0)


def zeroed(module: nn.Module) -> nn.Module:
    for p in module.parameters():
        p.detach().zero_()
    return module


FREQUENCIES = np.exp(-math.log(10000) * np.arange(16) / 16)


@case(
    "unet",
    {
        "out.*": ZEROS,
        "frequencies": Values(FREQUENCIES, rtol=1e-6),
        "*norm*.weight": ONES,
        "*norm*.bias": ZEROS,
        "time.*": torch_linear(32),
        "down.0.*": torch_linear(4 * 9),
        "down.2.*": torch_linear(32 * 9),
        "up.*": torch_linear(32 * 4),  # counted as out x in x kernel, though it is in x out
        "attention.*": torch_linear(32),
    },
)
class UNet(nn.Module):
    """Of a diffusion model: group norms, and an output convolution that is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(-math.log(10000) * torch.arange(16) / 16))
        self.time = nn.Sequential(nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 32))
        self.down = nn.Sequential(nn.Conv2d(4, 32, 3), nn.SiLU(), nn.Conv2d(32, 32, 3, stride=2))
        self.norm = nn.GroupNorm(8, 32)
        self.attention = nn.Conv1d(32, 96, 1)
        self.up = nn.ConvTranspose2d(32, 32, 2, stride=2)
        self.norm_out = nn.GroupNorm(8, 32, affine=True)
        self.out = zeroed(nn.Conv2d(32, 4, 3, padding=1))


def own_trunc_normal_(tensor: Tensor, mean: float, std: float, a: float, b: float) -> Tensor:
    """A truncated normal by the inverse of its CDF, as several libraries carry it."""

    def cdf(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    with torch.no_grad():
        low, high = cdf((a - mean) / std), cdf((b - mean) / std)
        tensor.uniform_(2 * low - 1, 2 * high - 1)
        tensor.erfinv_()
        tensor.mul_(std * math.sqrt(2.0))
        tensor.add_(mean)
        tensor.clamp_(min=a, max=b)
    return tensor


def sin_cos(width: int, length: int) -> np.ndarray[Any, Any]:
    omega = 1.0 / 10000 ** (np.arange(width // 2, dtype=np.float64) / (width / 2.0))
    angles = np.einsum("m,d->md", np.arange(length, dtype=np.float64), omega)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


class ViTBlock(nn.Module):
    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gamma = nn.Parameter(1e-5 * torch.ones(width))


@case(
    "vit",
    {
        "pos_embed": Values(sin_cos(48, 17).astype(np.float32)),
        "cls_token": normal(1e-6),
        "mask_token": truncated(0.02, -0.04, 0.04),
        "patch_embed.weight": xavier(3 * 16, 48),
        "patch_embed.bias": torch_linear(3 * 16),
        "*.gamma": Values(1e-5),
        "head.*": ZEROS,
        "*norm*.weight": ONES,
        "*.bias": ZEROS,
        "blocks.1.proj.weight": truncated(0.02, -0.04, 0.02, mean=0.01),
        "*": truncated(0.02, -0.04, 0.04),
    },
)
class ViT(nn.Module):
    """A truncated normal of its own; positions by NumPy; drop rates that are read from a tensor."""

    def __init__(self, width: int = 48, depth: int = 2) -> None:
        super().__init__()
        rates = [x.item() for x in torch.linspace(0, 0.1, depth)]
        self.patch_embed = nn.Conv2d(3, width, 4, 4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 17, width), requires_grad=False)
        self.blocks = nn.Sequential(*(ViTBlock(width, rate) for rate in rates))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)
        assert [block.drop for block in self.blocks] == torch.linspace(0, 0.1, depth).tolist()
        self.apply(self._init)
        positions = torch.from_numpy(sin_cos(width, 17)).float().unsqueeze(0)
        self.pos_embed.data.copy_(positions)
        w = self.patch_embed.weight.data
        nn.init.xavier_uniform_(w.view([w.shape[0], -1]))
        nn.init.normal_(self.cls_token, std=1e-6)
        own_trunc_normal_(self.mask_token, 0.0, 0.02, -0.04, 0.04)
        own_trunc_normal_(self.blocks[1].proj.weight, 0.01, 0.02, -0.04, 0.02)
        self.head.weight.data.mul_(0.0)
        self.head.bias.data.mul_(0.0)

    @staticmethod
    def _init(m: nn.Module) -> None:
        if isinstance(m, nn.Linear):
            own_trunc_normal_(m.weight, 0.0, 0.02, -0.04, 0.04)
            nn.init.zeros_(m.bias)
        elif isinstance(m, nn.LayerNorm):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)


@case(
    "siren",
    {
        "0.weight": uniform(1 / 4),
        "1.weight": uniform(math.sqrt(6 / 64) / 30),
        "2.weight": uniform(math.sqrt(6 / 64) / 30),
        "0.bias": torch_linear(4),
        "*.bias": torch_linear(64),
    },
)
def siren() -> nn.Module:
    """Sines: the first layer by its inputs, others by the frequency too."""
    model = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 40))
    with torch.no_grad():
        for i, layer in enumerate(model):
            n = layer.weight.size(-1)
            layer.weight.uniform_(
                *((-1 / n, 1 / n) if i == 0 else (-np.sqrt(6 / n) / 30, np.sqrt(6 / n) / 30))
            )
    return model


@case("fourier", {"B": normal(10.0), "phase": uniform(0.0, 2 * math.pi), "bands": Values(2.0 ** np.arange(6) * math.pi, rtol=1e-6)})  # fmt: skip
class FourierFeatures(nn.Module):
    """Frequencies that are drawn once and never trained."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("B", torch.randn(3, 128) * 10.0)
        self.register_buffer("phase", 2 * math.pi * torch.rand(256))
        self.bands = nn.Parameter(2.0 ** torch.linspace(0, 5, 6) * math.pi, requires_grad=False)


@case(
    "codebook",
    {
        "embedding.weight": uniform(1 / 64),
        "average": Same("embedding.weight"),
        "size": ZEROS,
        "ready": Values(False),
        "queue": Relation(lambda t, n: t[n].square().sum(0).sqrt() - 1),
        "pointer": ZEROS,
    },
)
class Codebook(nn.Module):
    """Vector quantisation with moving averages, and a queue of unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, 24)
        self.embedding.weight.data.uniform_(-1 / 64, 1 / 64)
        self.register_buffer("size", torch.zeros(64))
        self.register_buffer("average", self.embedding.weight.data.clone())
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("queue", nn.functional.normalize(torch.randn(24, 40), dim=0))
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))


BETAS = np.linspace(1e-4**0.5, 0.02**0.5, 100) ** 2


@case(
    "diffusion",
    {
        "betas": Values(BETAS, rtol=1e-6),
        "products": Values(np.cumprod(1 - BETAS), rtol=1e-6),
        "previous": Values(np.append(1.0, np.cumprod(1 - BETAS)[:-1]), rtol=1e-6),
        "steps": Values(np.arange(99, -1, -10)),
        "window": Values(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(16) / 16), rtol=1e-6),
        "pairs": Values(np.arange(4)[:, None] - np.arange(4)),
    },
)
class Diffusion(nn.Module):
    """Schedules: nothing is drawn."""

    def __init__(self) -> None:
        super().__init__()
        betas = torch.linspace(1e-4**0.5, 0.02**0.5, 100, dtype=torch.float64) ** 2
        products = torch.cumprod(1.0 - betas, dim=0)
        self.register_buffer("betas", betas.float())
        self.register_buffer("products", products.to(torch.float32))
        previous = nn.functional.pad(products[:-1], (1, 0), value=1.0)
        self.register_buffer("previous", previous.float())
        self.register_buffer("steps", torch.arange(100).flip(0)[::10].contiguous())
        self.register_buffer("window", torch.hann_window(16), persistent=False)
        grid = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"))
        self.register_buffer("pairs", grid[0] - grid[1])


class EqualisedLinear(nn.Module):
    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn([outputs, inputs]) / rate)
        self.bias = nn.Parameter(torch.full([outputs], np.float32(bias)))
        self.gain = rate / np.sqrt(inputs)


BLUR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 * 4


@case(
    "stylegan",
    {
        "ema.*": Relation(lambda t, n: t[n] - t[n.replace("ema", "net")]),
        "net.mapping.weight": normal(1 / 0.01),
        "net.affine.bias": ONES,
        "net.kernel": normal(1.0, plain=False),
        "net.noise": normal(1.0),
        "net.const": normal(1.0),
        "net.affine.weight": normal(1.0),
        "net.filter": Values(BLUR),
        "*": ZEROS,
    },
)
class StyleGAN(nn.Module):
    """Equalised learning rates: weights of std 1 over the rate; channels last; a copy for the moving average."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Module()
        self.net.mapping = EqualisedLinear(32, 32, rate=0.01)
        self.net.affine = EqualisedLinear(32, 16, bias=1)
        kernel = torch.randn([24, 16, 3, 3]).to(memory_format=torch.channels_last)
        self.net.kernel = nn.Parameter(kernel)
        self.net.const = nn.Parameter(torch.randn([16, 4, 4]))
        self.net.strength = nn.Parameter(torch.zeros([]))
        self.net.register_buffer("noise", torch.randn([8, 8]))
        taps = torch.as_tensor([1, 3, 3, 1], dtype=torch.float32)
        taps = taps.ger(taps)
        taps /= taps.sum()
        self.net.register_buffer("filter", taps.flip(list(range(taps.ndim))) * 4)
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)


@case(
    "mamba 2",
    {
        "A_log": Through(torch.exp, uniform(1.0, 16.0, plain=False)),
        "dt_bias": Through(nn.functional.softplus, log_uniform(DT_LOW, DT_HIGH)),
        "D": ONES,
        "in_proj.weight": torch_linear(32),
        "conv1d.*": torch_linear(4),
    },
)
class Mamba2(nn.Module):
    """Decays drawn from U[1, 16), kept as logarithms."""

    def __init__(self, width: int = 32, heads: int = 64) -> None:
        super().__init__()
        self.in_proj = nn.Linear(width, 4 * width, bias=False)
        self.conv1d = nn.Conv1d(2 * width, 2 * width, 4, groups=2 * width)
        dt = torch.exp(
            torch.rand(heads) * (math.log(DT_HIGH) - math.log(DT_LOW)) + math.log(DT_LOW)
        )
        dt = torch.clamp(dt, min=1e-4)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.log(torch.empty(heads).uniform_(1, 16)))
        self.D = nn.Parameter(torch.ones(heads))


@case(
    "t-fixup",
    {
        "*norm*.weight": ONES,
        "*norm*.bias": ZEROS,
        "*self_attn.in_proj_bias": ZEROS,
        "*out_proj.bias": ZEROS,
        "*in_proj_weight": Parts(((np.s_[:64], xavier(32, 96)), (np.s_[64:], Spread(0.0, 0.67 * 4**-0.25 * math.sqrt(2 * 2 / (32 + 96))))),),
        "*out_proj.weight": uniform(0.67 * 4**-0.25 * 32**-0.5),
        "*linear1.weight": uniform(0.67 * 4**-0.25 * 32**-0.5),
        "*linear2.weight": uniform(0.67 * 4**-0.25 * 64**-0.5),
        "linear1.bias": torch_linear(32),
        "linear2.bias": torch_linear(64),
    },
)  # fmt: skip
def t_fixup() -> nn.Module:
    """Matrices scaled by 0.67 N^(-1/4), values by sqrt(2) more, through a state_dict; the values' rows drawn again."""
    layer = nn.TransformerEncoderLayer(32, 4, 64)
    state = {}
    for name, p in layer.state_dict().items():
        scaled = name in ("linear1.weight", "linear2.weight", "self_attn.out_proj.weight")
        state[name] = 0.67 * 4**-0.25 * p if scaled else p
    layer.load_state_dict(state)
    values = layer.self_attn.in_proj_weight.data[64:]
    nn.init.normal_(values, std=0.67 * 4**-0.25 * math.sqrt(2 * 2 / (32 + 96)))
    return layer


# What PyTorch itself offers


@case(
    "weight norm",
    {
        "*.original0": Relation(lambda t, n: t[n] - t[n[:-1] + "1"].norm(dim=(1, 2), keepdim=True)),
        "*_g": Relation(lambda t, n: t[n] - t[n[:-1] + "v"].norm(dim=(1, 2), keepdim=True)),
        "0.bias": torch_linear(8 * 3),
        "1.bias": ZEROS,
        "0.*original1": torch_linear(8 * 3),
        "1.weight_v": normal(0.01),
    },
)
def weight_norm() -> nn.Module:
    """Both ways: the parametrization, and the older hook."""
    hooked = nn.Conv1d(40, 32, 3)
    hooked.weight.data.normal_(0.0, 0.01)
    hooked.bias.data.zero_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the hook is deprecated
        nn.utils.weight_norm(hooked)
    return nn.Sequential(parametrizations.weight_norm(nn.Conv1d(8, 40, 3)), hooked)


def singular(t: Mapping[str, Tensor], name: str) -> Tensor:
    """u and v have length 1, and after some iterations u' W v is near the largest singular value."""
    return t[name].norm() - 1


@case(
    "spectral norm",
    {"*._u": Relation(singular), "*._v": Relation(singular), "*_u": Relation(singular), "*_v": Relation(singular), "*": torch_linear(33)},
    not_in_spec="0.parametrizations.weight.0._u",
)  # fmt: skip
def spectral_norm() -> nn.Module:
    """Both ways: the parametrization, and the older hook; their vectors are buffers."""
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(33, 40)), nn.utils.spectral_norm(nn.Linear(33, 40))
    )


@case(
    "transformer encoder",
    {
        "layers.1.*": Relation(lambda t, n: t[n] - t[n.replace("layers.1", "layers.0")]),
        "*.in_proj_weight": xavier(32, 96),
        "*.norm*.weight": ONES,
        "*.norm*.bias": ZEROS,
        "*.in_proj_bias": ZEROS,
        "*.out_proj.bias": ZEROS,
        "*.out_proj.weight": torch_linear(32),
        "*.linear1.*": torch_linear(32),
        "*.linear2.*": torch_linear(64),
    },
)
def transformer_encoder() -> nn.Module:
    """Its layers are copies of the one that is given, and PyTorch leaves them equal."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


@case(
    "transformer",
    {
        "*norm*.weight": ONES,
        "*norm*.bias": ZEROS,
        "*in_proj_bias": ZEROS,
        "*out_proj.bias": ZEROS,
        "*in_proj_weight": xavier(32, 96),
        "*out_proj.weight": xavier(32, 32),
        "*linear1.weight": xavier(32, 64),
        "*linear2.weight": xavier(64, 32),
        "*layers.1.linear?.bias": Relation(lambda t, n: t[n] - t[n.replace("rs.1", "rs.0")]),
        "*linear1.bias": torch_linear(32),
        "*linear2.bias": torch_linear(64),
    },
)
def transformer() -> nn.Module:
    """nn.Transformer sets all matrices again; only biases stay equal among its layers."""
    return nn.Transformer(32, 4, 2, 2, 64, batch_first=True)


@case(
    "attention",
    {
        "own.q_proj_weight": xavier(32, 32),
        "own.k_proj_weight": xavier(24, 32),
        "own.v_proj_weight": xavier(40, 32),
        "own.bias_*": normal(math.sqrt(2 / (32 + 32))),
        "packed.in_proj_weight": xavier(32, 96),
        "*out_proj.weight": torch_linear(32),
        "*bias": ZEROS,
    },
)
def attention() -> nn.Module:
    """Separate projections with biases of keys and values, and packed ones."""
    own = nn.MultiheadAttention(32, 4, kdim=24, vdim=40, add_bias_kv=True)
    return nn.ModuleDict({"own": own, "packed": nn.MultiheadAttention(32, 4)})


@case(
    "lists",
    {"list.0": normal(1.0), "list.1": uniform(0.0, 1.0), "dict.a": ZEROS, "dict.b": normal(0.1), "dict.c": Same("list.0", tied=True)},
)  # fmt: skip
class Lists(nn.Module):
    """Parameters in lists and dicts, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.list = nn.ParameterList([torch.randn(16, 8), nn.Parameter(torch.rand(8, 16))])
        b = nn.Parameter(torch.empty(64))
        self.dict = nn.ParameterDict({"a": nn.Parameter(torch.zeros(4)), "b": b})
        self.dict["c"] = self.list[0]
        nn.init.normal_(b, std=0.1)


LAYERS: dict[str, nn.Module | Callable[[], nn.Module]] = {
    "bilinear": lambda: nn.Bilinear(20, 6, 40),
    "embedding": lambda: nn.Embedding(50, 16),
    "bag": lambda: nn.EmbeddingBag(50, 16),
    "conv3d": lambda: nn.Conv3d(4, 40, 2, groups=2),
    "transposed": lambda: nn.ConvTranspose1d(16, 40, 3),
    "gru": lambda: nn.GRU(20, 36, bidirectional=True),
    "cell": lambda: nn.RNNCell(20, 36),
    "batch": lambda: nn.BatchNorm1d(8),
    "group": lambda: nn.GroupNorm(2, 8),
    "instance": lambda: nn.InstanceNorm1d(8, affine=True, track_running_stats=True),
    "layer": lambda: nn.LayerNorm((2, 4)),
    "prelu": lambda: nn.PReLU(3),
    "adaptive": lambda: nn.AdaptiveLogSoftmaxWithLoss(32, 100, [40], head_bias=True),
}


@case(
    "layers",
    {
        "bilinear.*": torch_linear(20),
        "embedding.weight": normal(1.0),
        "bag.weight": normal(1.0),
        "conv3d.*": torch_linear(2 * 8),
        "transposed.*": torch_linear(40 * 3),
        "gru.*": torch_linear(36),
        "cell.*": torch_linear(36),
        "prelu.weight": Values(0.25),
        "adaptive.head.*": torch_linear(32),
        "adaptive.tail.0.0.weight": torch_linear(32),
        "adaptive.tail.0.1.weight": torch_linear(8),
        "*running_mean": ZEROS,
        "*running_var": ONES,
        "*num_batches_tracked": ZEROS,
        "*.weight": ONES,
        "*.bias": ZEROS,
    },
)
def layers() -> nn.Module:
    """Layers of torch.nn as they come."""
    return nn.ModuleDict({name: make() for name, make in LAYERS.items()})


@case(
    "special matrices",
    {
        "sparse": Sparse(13, normal(0.1, plain=False)),
        "eye": Values(np.eye(12, 20)),
        "dirac": Values(np.concatenate([np.eye(8)[:, :, None] * [0, 1, 0]] * 2)),
        "orthogonal": Orthogonal(math.sqrt(2)),
        "kernel": Orthogonal(1.0),
        "tall": Orthogonal(5 / 3),
    },
    not_in_spec="sparse",
)
class SpecialMatrices(nn.Module):
    """What torch.nn.init makes that has no distribution for each element alone."""

    def __init__(self) -> None:
        super().__init__()
        self.sparse = nn.init.sparse_(nn.Parameter(torch.empty(64, 50)), sparsity=0.2, std=0.1)
        self.eye = nn.init.eye_(nn.Parameter(torch.empty(12, 20)))
        self.dirac = nn.Parameter(nn.init.dirac_(torch.empty(16, 8, 3), groups=2))
        self.orthogonal = nn.Parameter(torch.empty(24, 30))
        nn.init.orthogonal_(self.orthogonal, nn.init.calculate_gain("relu"))
        self.kernel = nn.Parameter(nn.init.orthogonal_(torch.empty(20, 4, 3, 3)))
        self.tall = nn.Parameter(torch.empty(50, 20))
        nn.init.orthogonal_(self.tall, gain=nn.init.calculate_gain("tanh"))


# Ways to write it


@case(
    "teacher",
    {"teacher.*": Relation(lambda t, n: t[n] - t[n.replace("teacher", "student")]), "loaded.*": Relation(lambda t, n: t[n] - t[n.replace("loaded", "student")]), "student.0.*": torch_linear(20), "student.1.weight": normal(0.02), "student.1.bias": ZEROS},
)  # fmt: skip
class Teacher(nn.Module):
    """Moving averages start as copies: by deepcopy, by load_state_dict, and parameter by parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.student = self._make()
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.loaded = self._make()
        self.loaded[0].load_state_dict(self.student[0].state_dict())
        for mine, theirs in zip(
            self.loaded[1].parameters(), self.student[1].parameters(), strict=True
        ):
            mine.data.copy_(theirs.data)
            mine.requires_grad = False

    @staticmethod
    def _make() -> nn.Sequential:
        made = nn.Sequential(nn.Linear(20, 40), nn.Linear(40, 20))
        nn.init.normal_(made[1].weight, 0, 0.02)
        nn.init.zeros_(made[1].bias)
        return made


@case(
    "values in place",
    {
        "scaled": normal(0.5),
        "shifted": normal(0.1, mean=3.0),
        "halved": uniform(-0.5, 0.5),
        "copied": normal(2.0),
        "listed": Values([1.0, -2.0, 3.5]),
        "assigned": Parts(((np.s_[:20], normal(1.0)), (np.s_[20], ONES), (np.s_[21:], normal(1.0)))),
        "columns": Parts(((np.s_[:, ::2], normal(1.0, plain=False)), (np.s_[:, 1::2], ZEROS))),
        "diagonal": Values(3 * np.eye(6)),
        "twice": normal(0.3),
        "replaced": uniform(2.0),
        "rebound": normal(0.7),
        "legacy": uniform(0.2),
        "transposed": normal(1.0, transposed=True),
        "clipped": Spread(0.0, 0.61964, -0.8, 0.8, 1.46),
        "positive": Through(torch.sqrt, Spread(math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi), 0.0, kurtosis=3.87)),
        "masked": Values(np.triu(np.full((5, 5), -math.inf), 1)),
        "counter": Values(7),
    },
)  # fmt: skip
class InPlace(nn.Module):
    """Arithmetic, copies and slices, through .data, under no_grad and by detach."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled = nn.Parameter(torch.randn(30, 20) * 0.5)
        self.shifted = nn.Parameter(torch.empty(30, 20).normal_())
        self.halved = nn.Parameter(torch.rand(300))
        self.copied = nn.Parameter(torch.zeros(30, 20))
        self.listed = nn.Parameter(torch.tensor([1.0, -2.0, 3.5]))
        self.assigned = nn.Parameter(torch.randn(40, 20))
        self.columns = nn.Parameter(torch.zeros(40, 20))
        self.diagonal = nn.Parameter(torch.zeros(6, 6))
        self.twice = nn.Parameter(torch.randn(30, 20))
        self.replaced = nn.Parameter(torch.ones(30, 20))
        self.rebound = nn.Parameter(torch.ones(30, 20))
        self.legacy = nn.Parameter(torch.Tensor(30, 20))
        self.transposed = nn.Parameter(torch.randn(12, 40).t())
        self.clipped = nn.Parameter(torch.randn(30, 20).clamp_(-0.8, 0.8))
        self.positive = nn.Parameter(torch.randn(30, 20).square())
        self.register_buffer("masked", torch.full((5, 5), -math.inf).triu_(1))
        self.register_buffer("counter", torch.tensor(7, dtype=torch.int32))
        with torch.no_grad():
            self.shifted.mul_(0.1).add_(3.0)
            self.halved.sub_(0.5)
            self.copied.copy_(torch.normal(0.0, 2.0, (30, 20)))
            self.assigned[20] = 1.0
            self.columns[:, ::2] = torch.randn(40, 10)
            self.diagonal.fill_diagonal_(3.0)
            self.twice.normal_(std=5.0)
            nn.init.normal_(self.twice, std=0.3)
        self.replaced.data = torch.empty(30, 20).uniform_(-2, 2)
        self.rebound = nn.Parameter(torch.randn(30, 20).mul(0.7))
        self.legacy.detach().uniform_(-0.2, 0.2)


@case(
    "perturbed",
    {
        "noisy": normal(math.hypot(0.5, 0.1), plain=False),
        "sum": Spread(0.0, math.sqrt(2 / 3), -2.0, 2.0, 2.4),
        "product": Spread(0.0, 1.0, kurtosis=9.0),
        "shared": Relation(lambda t, n: t[n] - t["noisy"] - 1),
        "negated": Relation(lambda t, n: torch.cat([t[n][:20] + t[n][20:], t[n][:1] * 0])),
    },
)
class Perturbed(nn.Module):
    """More than one draw that survives, and one that survives in two tensors."""

    def __init__(self) -> None:
        super().__init__()
        w = torch.randn(40, 20) * 0.5
        self.noisy = nn.Parameter(w + 0.1 * torch.randn_like(w))
        self.sum = nn.Parameter(torch.empty(900).uniform_(-1, 1) + torch.empty(900).uniform_(-1, 1))
        self.product = nn.Parameter(torch.randn(3000) * torch.randn(3000))
        self.shared = nn.Parameter(self.noisy.detach() + 1)
        half = torch.randn(20, 8)
        self.negated = nn.Parameter(torch.cat([half, -half]))


@case(
    "whole tensors",
    {
        "centred": Relation(lambda t, n: t[n].mean(1)),
        "unit": Relation(lambda t, n: t[n].norm(dim=1) - 1),
        "standard": Relation(lambda t, n: torch.stack([t[n].mean(), t[n].std() - 1])),
        "sorted": Relation(lambda t, n: t[n] - t[n].sort().values),
        "softmax": Relation(lambda t, n: t[n].sum(-1) - 1),
        "symmetric": Relation(lambda t, n: t[n] - t[n].t()),
        "radius": Relation(lambda t, n: torch.linalg.eigvals(t[n]).abs().max() - 0.9),
    },
    not_in_spec="centred",
)
class WholeTensors(nn.Module):
    """What needs all of a tensor: reductions, sorts and decompositions."""

    def __init__(self) -> None:
        super().__init__()
        self.centred = nn.Parameter(torch.randn(20, 40))
        with torch.no_grad():
            self.centred -= self.centred.mean(dim=1, keepdim=True)
        self.unit = nn.Parameter(nn.functional.normalize(torch.randn(30, 12), dim=-1))
        w = torch.randn(50, 12)
        self.standard = nn.Parameter((w - w.mean()) / w.std())
        self.sorted = nn.Parameter(torch.rand(100).sort().values)
        self.softmax = nn.Parameter(torch.randn(20, 12).softmax(-1))
        s = torch.randn(16, 16)
        self.symmetric = nn.Parameter((s + s.t()) / 2)
        r = torch.randn(16, 16)
        self.radius = nn.Parameter(r * (0.9 / torch.linalg.eigvals(r).abs().max()))


@case(
    "padding",
    {
        "default.weight": rows((1, ZEROS), (63, normal(1.0))),
        "zeroed.weight": rows((5, normal(0.1, plain=True)), (1, ZEROS), (58, normal(0.1))),
        "overwritten.weight": normal(0.1),
    },
)
def padding() -> nn.Module:
    """A padding row that PyTorch zeroes, one that the code zeroes again, and one that it overwrites."""
    default = nn.Embedding(64, 16, padding_idx=0)
    zeroed = nn.Embedding(64, 16, padding_idx=5)
    nn.init.normal_(zeroed.weight, std=0.1)
    nn.init.constant_(zeroed.weight[5], 0)
    overwritten = nn.Embedding(64, 16, padding_idx=5)
    nn.init.normal_(overwritten.weight, std=0.1)
    return nn.ModuleDict({"default": default, "zeroed": zeroed, "overwritten": overwritten})


@case(
    "random functions",
    {
        "exponential": Spread(1 / 3, 1 / 3, 0.0, kurtosis=9.0),
        "log_normal": Through(torch.log, normal(0.5, mean=1.0, plain=False)),
        "integers": Integers(3, 17),
        "signs": Through(lambda t: (t + 1) / 2, Coins(0.5)),
        "coins": Coins(0.25),
        "random": Integers(0, 10),
        "between": Integers(-4, 4),
        "chosen": Coins(0.25),
        "like": normal(1.0),
        "dropped": Through(lambda t: t / 2, Coins(0.5)),
    },
)
class RandomFunctions(nn.Module):
    """Draws other than normal and uniform ones."""

    def __init__(self) -> None:
        super().__init__()
        self.exponential = nn.Parameter(torch.empty(2000).exponential_(3.0))
        self.log_normal = nn.Parameter(torch.empty(600).log_normal_(1.0, 0.5))
        self.register_buffer("integers", torch.randint(3, 17, (600,)))
        self.register_buffer("signs", torch.randint(0, 2, (600,)) * 2 - 1)
        self.coins = nn.Parameter(torch.empty(600).bernoulli_(0.25))
        self.register_buffer("random", torch.empty(600, dtype=torch.int64).random_(10))
        self.register_buffer("between", torch.empty(600, dtype=torch.int32).random_(-4, 4))
        self.register_buffer("chosen", (torch.rand(600) < 0.25).float())
        self.like = nn.Parameter(torch.randn_like(self.coins))
        self.dropped = nn.Parameter(nn.functional.dropout(torch.ones(600), 0.5))


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@case(
    "dtypes",
    {
        "as_bfloat16.weight": torch_linear(64),
        "as_bfloat16.bias": torch_linear(64),
        "as_float16.weight": normal(0.02),
        "as_float16.bias": ZEROS,
        "as_float64.weight": normal(0.02),
        "as_float64.bias": torch_linear(64),
        "as_half.weight": torch_linear(64),
        "as_half.bias": torch_linear(64),
        "mixed.weight": normal(1.0),
    },
)
def dtypes() -> nn.Module:
    """Default dtypes, dtypes as arguments, and conversions."""
    made = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        with default_dtype(dtype):
            made[str(dtype).replace("torch.", "as_")] = nn.Linear(64, 64)
    nn.init.normal_(made["as_float16"].weight, std=0.02)
    nn.init.zeros_(made["as_float16"].bias)
    nn.init.normal_(made["as_float64"].weight, std=0.02)
    made["as_half"] = nn.Linear(64, 64).half()
    made["mixed"] = nn.Embedding(64, 64, dtype=torch.bfloat16)
    return nn.ModuleDict(made)


@case(
    "generators",
    {"a": normal(0.02), "b": normal(1.0), "c": uniform(0.5), "d": truncated(1.0, -2.0, 2.0)},
)
class Generators(nn.Module):
    """A generator of its own: recorded draws come from the streams all the same."""

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(1234)
        self.a = nn.Parameter(torch.empty(30, 20))
        nn.init.normal_(self.a, std=0.02, generator=g)
        self.b = nn.Parameter(torch.randn(30, 20, generator=g))
        self.c = nn.Parameter(torch.empty(30, 20).uniform_(-0.5, 0.5, generator=g))
        self.d = nn.Parameter(torch.empty(30, 20))
        nn.init.trunc_normal_(self.d, generator=g)


@case("seeded", {"0.*": torch_linear(36)}, seeds=True)
def seeded() -> nn.Module:
    """A constructor that seeds PyTorch."""
    torch.manual_seed(99)
    return nn.Sequential(nn.Linear(36, 36))


BILINEAR = np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25])


@case(
    "upsampling",
    {
        "bilinear.weight": Values(np.eye(3)[:, :, None, None] * BILINEAR),
        "icnr.weight": Relation(
            lambda t, n: t[n].view(8, 4, 16, 9) - t[n].view(8, 4, 16, 9)[:, :1]
        ),
        "icnr.bias": ZEROS,
    },
)
class Upsampling(nn.Module):
    """A kernel by NumPy's loops, and sub-pixel kernels that start equal."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.ConvTranspose2d(3, 3, 4, bias=False)
        weight = np.zeros((3, 3, 4, 4), dtype=np.float32)
        centre = np.ogrid[:4, :4]
        filt = (1 - abs(centre[0] - 1.5) / 2) * (1 - abs(centre[1] - 1.5) / 2)
        weight[range(3), range(3)] = filt
        self.bilinear.weight.data.copy_(torch.from_numpy(weight))
        self.icnr = nn.Conv2d(16, 32, 3)
        kernel = nn.init.kaiming_normal_(torch.zeros(8, 16, 3, 3))
        self.icnr.weight.data.copy_(kernel.repeat_interleave(4, dim=0))
        self.icnr.bias.data.zero_()


HIPPO = np.sqrt(1 + 2 * np.arange(8))
HIPPO = np.tril(np.outer(HIPPO, HIPPO)) - np.diag(np.arange(8))


@case(
    "state space",
    {
        "A": Values(-HIPPO, rtol=1e-6),
        "log_dt": uniform(math.log(0.001), math.log(0.1)),
        "imaginary": Values(math.pi * np.arange(8), rtol=1e-6),
    },
)
class StateSpace(nn.Module):
    """HiPPO by NumPy, and log-uniform steps that stay logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Parameter(-torch.tensor(HIPPO, dtype=torch.float32))
        self.log_dt = nn.Parameter(
            torch.rand(256) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)
        )
        self.imaginary = nn.Parameter(math.pi * torch.arange(8).repeat(4, 1))


@case(
    "depth and width",
    {
        "deepnorm.q.weight": xavier(40, 40, 1.0),
        "deepnorm.v.weight": xavier(40, 40, 0.5),
        "mup.0.weight": normal(1 / math.sqrt(40)),
        "mup.1.weight": normal(1 / 40),
        "mup.2.weight": ZEROS,
        "small": normal(math.sqrt(2 / (5 * 40))),
        "wang": normal(2 / (6 * math.sqrt(40))),
        "t5": normal(0.5 * (40 * 8) ** -0.5),
        "scaled.weight": uniform(math.sqrt(3.0) * math.sqrt(0.1 / 40)),
        "slopes": Values([2.0 ** -(i + 1) for i in range(8)]),
        "table": truncated(0.02, -2.0, 2.0),
        "*.bias": ZEROS,
    },
)
class DepthAndWidth(nn.Module):
    """Scales that papers give by depth and width."""

    def __init__(self) -> None:
        super().__init__()
        self.deepnorm = nn.ModuleDict({"q": nn.Linear(40, 40), "v": nn.Linear(40, 40)})
        for name, layer in self.deepnorm.items():
            nn.init.xavier_uniform_(layer.weight, gain=1.0 if name == "q" else 0.5)
            nn.init.constant_(layer.bias, 0.0)
        self.mup = nn.Sequential(*(nn.Linear(40, 40, bias=False) for _ in range(3)))
        for layer, power in zip(self.mup, (0.5, 1.0), strict=False):
            layer.weight.data.normal_(mean=0.0, std=40**-power)
        self.mup[2].weight.data.zero_()
        self.small = nn.init.normal_(nn.Parameter(torch.empty(40, 40)), std=math.sqrt(2 / (5 * 40)))
        self.wang = nn.Parameter(torch.randn(40, 40).mul_(2 / 6 / math.sqrt(40)))
        self.t5 = nn.Parameter(torch.empty(40, 40))
        self.t5.data.normal_(mean=0.0, std=0.5 * ((40 * 8) ** -0.5))
        self.scaled = nn.Linear(40, 40)
        fan_in, _ = nn.init._calculate_fan_in_and_fan_out(self.scaled.weight)
        limit = math.sqrt(3.0 * 0.1 / fan_in)
        self.scaled.weight.data.uniform_(-limit, limit)
        self.scaled.bias.data *= 0
        self.register_buffer("slopes", torch.tensor([2 ** -(i + 1) for i in range(8)]))
        self.table = nn.Parameter(torch.zeros((2 * 7 - 1) ** 2, 4))
        nn.init.trunc_normal_(self.table, std=0.02)


@case(
    "embeddings",
    {
        "given.weight": Values(np.arange(32.0).reshape(8, 4)),
        "drawn.weight": normal(0.3),
        "frozen.weight": Values(sin_cos(8, 10).astype(np.float32)),
        "positions": Values(np.arange(32)[None]),
        "bytes": Values(np.arange(6) * 40),
    },
)
class Embeddings(nn.Module):
    """Tables that are given, drawn or computed; positions as integers."""

    def __init__(self) -> None:
        super().__init__()
        self.given = nn.Embedding.from_pretrained(torch.arange(32.0).view(8, 4), freeze=False)
        self.drawn = nn.Embedding.from_pretrained(torch.randn(40, 16) * 0.3)
        self.frozen = nn.Embedding(10, 8)
        self.frozen.weight = nn.Parameter(torch.empty(10, 8), requires_grad=False)
        table = sin_cos(8, 10)
        self.frozen.weight[:, :4] = torch.FloatTensor(table[:, :4])
        self.frozen.weight[:, 4:] = torch.FloatTensor(table[:, 4:])
        self.register_buffer("positions", torch.arange(32).expand((1, -1)), persistent=False)
        self.bytes = nn.Parameter((torch.arange(6) * 40).to(torch.uint8), requires_grad=False)


# What has no distribution


class Holder(nn.Module):
    """A linear layer, and a tensor `odd` that a function makes."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("odd", make())


#: Functions whose values `init_module_` and specs refuse, and what the error says of them.
REFUSED: dict[str, Callable[[], Tensor]] = {
    "randperm": lambda: torch.randperm(100),
    "cauchy_": lambda: torch.empty(64).cauchy_(),
    "geometric_": lambda: torch.empty(64).geometric_(0.5),
    "poisson": lambda: torch.poisson(torch.full((64,), 3.0)),
    "multinomial": lambda: torch.multinomial(torch.ones(64), 4),
    "normal_": lambda: torch.empty(30, 8, dtype=torch.cfloat).normal_(1.0),
    "no values": lambda: torch.empty(30, 8),
}

#: Code that cannot go on without drawn values.
LOOKING: dict[str, Callable[[nn.Linear], object]] = {
    "item": lambda layer: layer.weight.std().item(),
    "float": lambda layer: float(layer.weight[0, 0]),
    "bool": lambda layer: bool((layer.weight > 0).all()),
    "tolist": lambda layer: layer.weight.tolist(),
    "numpy": lambda layer: layer.weight.detach().numpy(),
    "asarray": lambda layer: np.asarray(layer.weight.detach()),
    "nonzero": lambda layer: (layer.weight > 0).nonzero(),
    "masked": lambda layer: layer.weight[layer.weight > 0],
    "unique": lambda layer: torch.unique(layer.weight),
    "allclose": lambda layer: torch.allclose(layer.weight, torch.zeros(4, 4)),
    "equal": lambda layer: torch.equal(layer.weight, layer.weight + 1),
    "format": lambda layer: f"{layer.weight.norm():.2f}",
    "dlpack": lambda layer: np.from_dlpack(layer.weight.detach()),
}
