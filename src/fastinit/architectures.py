"""Hugging Face configs to the tensors of the models that they describe.

The names, shapes and initialisations are those of the package ``transformers`` (checked against 5.23), which
is not needed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastinit.checks import check_choice, check_int, check_positive
from fastinit.fill import DTYPE_SIZES
from fastinit.initializers import Initializer, Normal, TruncatedNormal, ones, zeros
from fastinit.tensor import Tensor

Row = (
    tuple[str, tuple[int, ...], Initializer] | tuple[str, tuple[int, ...], Initializer, int | None]
)


#: No dimension is larger, and no model deeper: a number beyond is a mistake.
MOST, MOST_LAYERS = 2**40, 10_000


class _Config:
    """The values of a config, checked when they are asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        std = check_positive("initializer_range", self.get("initializer_range", 0.02))
        self.weights = Normal(0.0, std)
        # torch's bounds are absolute: -2 and 2.
        self.truncated = TruncatedNormal(0.0, std, -2.0 / std, 2.0 / std)

    def get(self, key: str, default: Any = None) -> Any:
        value = self._values.get(key)
        return default if value is None else value

    def size(self, key: str, default: int | None = None) -> int:
        value = self.get(key, default)
        if value is None:
            raise ValueError(f"the key {key!r} is missing")
        return check_int(key, value, 1, MOST)

    def layers(self, key: str, default: int = 12) -> int:
        return check_int(key, self.get(key, default), 1, MOST_LAYERS)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{key} must be true or false, got {value!r}")
        return value

    def labels(self) -> int:
        labels = self.get("id2label")
        count = len(labels) if isinstance(labels, dict) else self.get("num_labels", 2)
        return check_int("num_labels", count, 0, MOST)

    def pair(self, key: str, default: int) -> tuple[int, int]:
        value = self.get(key, default)
        pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
        if len(pair) != 2:
            raise ValueError(f"{key} must be an int or two, got {value!r}")
        return check_int(key, pair[0], 1), check_int(key, pair[1], 1)

    def padding_idx(self, rows: int, default: int | None = None) -> int | None:
        """The row of an embedding that is zero; like torch's, a negative one counts from the end."""
        value = self._values.get("pad_token_id", default)
        if value is None:
            return None
        return check_int("pad_token_id", value, -rows, rows - 1) % rows

    def heads(self, hidden: int, key: str, default: int) -> int:
        heads = self.size(key, default)
        if hidden % heads:
            raise ValueError(f"{key} must divide the hidden size {hidden}, got {heads}")
        return heads


def _linear(
    name: str, n_out: int, n_in: int, init: Initializer, bias: bool = True
) -> Iterator[Row]:
    yield f"{name}.weight", (n_out, n_in), init
    if bias:
        yield f"{name}.bias", (n_out,), zeros


def _conv1d(name: str, n_in: int, n_out: int, init: Initializer) -> Iterator[Row]:
    """GPT-2's layers, whose weights are in x out."""
    yield f"{name}.weight", (n_in, n_out), init
    yield f"{name}.bias", (n_out,), zeros


def _norm(name: str, n: int) -> Iterator[Row]:
    yield f"{name}.weight", (n,), ones
    yield f"{name}.bias", (n,), zeros


def _gpt2(config: _Config, model: str) -> Iterator[Row]:
    if config.flag("add_cross_attention"):
        raise ValueError("add_cross_attention is not supported")
    n, layers = config.size("n_embd", 768), config.layers("n_layer")
    vocab, inner = config.size("vocab_size", 50257), config.size("n_inner", 4 * n)
    config.heads(n, "n_head", 12)
    init = config.weights
    residual = Normal(0.0, init.stddev / math.sqrt(2 * layers))
    base = "" if model == "GPT2Model" else "transformer."
    yield f"{base}wte.weight", (vocab, n), init
    yield f"{base}wpe.weight", (config.size("n_positions", 1024), n), init
    for i in range(layers):
        block = f"{base}h.{i}"
        yield from _norm(f"{block}.ln_1", n)
        yield from _conv1d(f"{block}.attn.c_attn", n, 3 * n, init)
        yield from _conv1d(f"{block}.attn.c_proj", n, n, residual)
        yield from _norm(f"{block}.ln_2", n)
        yield from _conv1d(f"{block}.mlp.c_fc", n, inner, init)
        yield from _conv1d(f"{block}.mlp.c_proj", inner, n, residual)
    yield from _norm(f"{base}ln_f", n)
    if model == "GPT2LMHeadModel" and not config.flag("tie_word_embeddings", True):
        yield "lm_head.weight", (vocab, n), init


def _llama(config: _Config, model: str) -> Iterator[Row]:
    n, inner = config.size("hidden_size", 4096), config.size("intermediate_size", 11008)
    vocab, heads = config.size("vocab_size", 32000), config.heads(n, "num_attention_heads", 32)
    width = config.size("head_dim", n // heads)
    key_heads = config.size("num_key_value_heads", heads)
    if heads % key_heads:
        raise ValueError(f"num_key_value_heads must divide {heads} heads, got {key_heads}")
    init = config.weights
    attention_bias, mlp_bias = config.flag("attention_bias"), config.flag("mlp_bias")
    base = "" if model == "LlamaModel" else "model."
    yield f"{base}embed_tokens.weight", (vocab, n), init, config.padding_idx(vocab)
    for i in range(config.layers("num_hidden_layers", 32)):
        block = f"{base}layers.{i}"
        attention = f"{block}.self_attn"
        yield from _linear(f"{attention}.q_proj", heads * width, n, init, attention_bias)
        yield from _linear(f"{attention}.k_proj", key_heads * width, n, init, attention_bias)
        yield from _linear(f"{attention}.v_proj", key_heads * width, n, init, attention_bias)
        yield from _linear(f"{attention}.o_proj", n, heads * width, init, attention_bias)
        yield from _linear(f"{block}.mlp.gate_proj", inner, n, init, mlp_bias)
        yield from _linear(f"{block}.mlp.up_proj", inner, n, init, mlp_bias)
        yield from _linear(f"{block}.mlp.down_proj", n, inner, init, mlp_bias)
        yield f"{block}.input_layernorm.weight", (n,), ones
        yield f"{block}.post_attention_layernorm.weight", (n,), ones
    yield f"{base}norm.weight", (n,), ones
    if model == "LlamaForCausalLM" and not config.flag("tie_word_embeddings"):
        yield "lm_head.weight", (vocab, n), init


def _bert(config: _Config, model: str) -> Iterator[Row]:
    if config.flag("add_cross_attention"):
        raise ValueError("add_cross_attention is not supported")
    n, vocab = config.size("hidden_size", 768), config.size("vocab_size", 30522)
    config.heads(n, "num_attention_heads", 12)
    init = config.weights
    base = "" if model == "BertModel" else "bert."
    table = f"{base}embeddings"
    yield f"{table}.word_embeddings.weight", (vocab, n), init, config.padding_idx(vocab, 0)
    positions = config.size("max_position_embeddings", 512)
    yield f"{table}.position_embeddings.weight", (positions, n), init
    yield f"{table}.token_type_embeddings.weight", (config.size("type_vocab_size", 2), n), init
    yield from _norm(f"{table}.LayerNorm", n)
    for i in range(config.layers("num_hidden_layers")):
        layer = f"{base}encoder.layer.{i}"
        for name in ("query", "key", "value"):
            yield from _linear(f"{layer}.attention.self.{name}", n, n, init)
        yield from _linear(f"{layer}.attention.output.dense", n, n, init)
        yield from _norm(f"{layer}.attention.output.LayerNorm", n)
        yield from _feed_forward(layer, n, config.size("intermediate_size", 3072), init)
        yield from _norm(f"{layer}.output.LayerNorm", n)
    if model != "BertForMaskedLM":
        yield from _linear(f"{base}pooler.dense", n, n, init)
    if model in ("BertForMaskedLM", "BertForPreTraining"):
        yield "cls.predictions.bias", (vocab,), zeros
        yield from _linear("cls.predictions.transform.dense", n, n, init)
        yield from _norm("cls.predictions.transform.LayerNorm", n)
        if not config.flag("tie_word_embeddings", True):
            yield from _linear("cls.predictions.decoder", vocab, n, init)
    if model == "BertForPreTraining":
        yield from _linear("cls.seq_relationship", 2, n, init)
    if model == "BertForSequenceClassification":
        yield from _linear("classifier", config.labels(), n, init)


def _feed_forward(layer: str, n: int, inner: int, init: Initializer) -> Iterator[Row]:
    yield from _linear(f"{layer}.intermediate.dense", inner, n, init)
    yield from _linear(f"{layer}.output.dense", n, inner, init)


def _vit(config: _Config, model: str) -> Iterator[Row]:
    n, channels = config.size("hidden_size", 768), config.size("num_channels", 3)
    config.heads(n, "num_attention_heads", 12)
    (height, width), (high, wide) = config.pair("image_size", 224), config.pair("patch_size", 16)
    init, qkv_bias = config.weights, config.flag("qkv_bias", True)
    base = "" if model == "ViTModel" else "vit."
    yield f"{base}embeddings.cls_token", (1, 1, n), config.truncated
    patches = (height // high) * (width // wide)
    yield f"{base}embeddings.position_embeddings", (1, patches + 1, n), config.truncated
    projection = f"{base}embeddings.patch_embeddings.projection"
    yield f"{projection}.weight", (n, channels, high, wide), init
    yield f"{projection}.bias", (n,), zeros
    for i in range(config.layers("num_hidden_layers")):
        layer = f"{base}encoder.layer.{i}"
        for name in ("query", "key", "value"):
            yield from _linear(f"{layer}.attention.attention.{name}", n, n, init, qkv_bias)
        yield from _linear(f"{layer}.attention.output.dense", n, n, init)
        yield from _feed_forward(layer, n, config.size("intermediate_size", 3072), init)
        yield from _norm(f"{layer}.layernorm_before", n)
        yield from _norm(f"{layer}.layernorm_after", n)
    yield from _norm(f"{base}layernorm", n)
    if model == "ViTModel":
        yield from _linear("pooler.dense", config.size("pooler_output_size", n), n, init)
    elif config.labels():
        yield from _linear("classifier", config.labels(), n, init)


#: By model_type: the tensors, and the classes of transformers; the first is taken where a config names none.
ARCHITECTURES: dict[str, tuple[Callable[[_Config, str], Iterator[Row]], tuple[str, ...]]] = {
    "gpt2": (_gpt2, ("GPT2LMHeadModel", "GPT2Model")),
    "llama": (_llama, ("LlamaForCausalLM", "LlamaModel")),
    "bert": (
        _bert,
        ("BertForMaskedLM", "BertModel", "BertForPreTraining", "BertForSequenceClassification"),
    ),
    "vit": (_vit, ("ViTForImageClassification", "ViTModel")),
}


def config_tensors(config: Mapping[str, Any]) -> list[Tensor]:
    """The tensors of the model that a Hugging Face config describes, as ``save_pretrained`` names them.

    Parameters
    ----------
    config : mapping
        The content of ``config.json``. ``architectures`` names the class, ``dtype`` or
        ``torch_dtype`` the dtype (float32 by default); what is missing has the default of
        ``transformers``. Tied weights are left out, as they are in its files.

    Returns
    -------
    list of Tensor
        Weights are normal with the standard deviation ``initializer_range``, biases zero,
        norms one and zero, and rows of padding tokens zero. GPT-2's projections onto the
        residual are narrower by 1 / sqrt(2 * n_layer) (Radford et al., 2019); ViT's class
        token and positions are truncated normals, at absolute bounds of +-2, which is far out.

    Raises
    ------
    ValueError, TypeError
        A model or a value that is not supported, named by its key.

    Notes
    -----
    model_type and architectures: gpt2 (GPT2LMHeadModel, GPT2Model), llama (LlamaForCausalLM,
    LlamaModel), bert (BertForMaskedLM, BertModel, BertForPreTraining,
    BertForSequenceClassification), vit (ViTForImageClassification, ViTModel).
    """
    check_choice("model_type", config.get("model_type"), tuple(ARCHITECTURES))
    tensors, models = ARCHITECTURES[config["model_type"]]
    names = config.get("architectures") or [models[0]]
    model = names[0] if isinstance(names, list) else names
    check_choice("architectures", model, models)
    dtype = config.get("dtype") or config.get("torch_dtype") or "float32"
    check_choice("dtype", dtype, tuple(DTYPE_SIZES))
    return [
        Tensor(name, shape, init, dtype, *padding)
        for name, shape, init, *padding in tensors(_Config(config), model)
    ]
