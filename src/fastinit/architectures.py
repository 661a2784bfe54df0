"""Hugging Face configurations to tensors: names, shapes and published initialisations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import check_choice, check_int, check_positive, shown
from fastinit.choices import DtypeName
from fastinit.initializers import Initializer, Normal, TruncatedNormal, ones, zeros
from fastinit.tensor import Tensor

Config = Mapping[str, Any]

#: Keys that change the tensors in ways that are not supported, when they are set to anything.
UNSUPPORTED = ("add_cross_attention", "per_layer_config", "pruned_heads", "quantization_config")

#: A model with more layers is a mistake, which would take all memory for its names.
MOST_LAYERS = 10_000

GPT2_SYNONYMS = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def config_tensors(config: Config) -> list[Tensor]:
    """The tensors of a model from its Hugging Face configuration.

    Parameters
    ----------
    config : mapping
        The parsed ``config.json``. The class of the model is the first of
        ``"architectures"``; without that key it is the first of its row below.
        Missing keys have the defaults of the configuration class of transformers 5.23.
        Keys that do not change the tensors are ignored.

    Returns
    -------
    list of Tensor
        In the order of the model's ``state_dict``, under the names that
        ``save_pretrained`` writes, which for ViT are not those of the modules. Tied
        weights appear once, as the embedding; buffers do not appear. All are of the
        dtype of ``"dtype"`` or else ``"torch_dtype"``, float32 by default.

    Raises
    ------
    ValueError, TypeError
        A model or class that is not below; a size that is not an int of at least 1; a
        hidden size that the heads do not divide; an unknown dtype; a key that asks for
        tensors that are not supported: cross-attention, quantization, pruned heads,
        layers of their own configuration, relative positions.

    Notes
    -----
    ========== ==================================================================
    model_type classes
    ========== ==================================================================
    gpt2       GPT2LMHeadModel, GPT2Model
    llama      LlamaForCausalLM, LlamaModel
    bert       BertForMaskedLM, BertForPreTraining, BertForSequenceClassification,
               BertModel
    vit        ViTForImageClassification, ViTModel
    ========== ==================================================================

    Initialisations are those of transformers 5.23. With r for ``initializer_range``,
    0.02 by default:

    ================================= ======================== ======================
    tensors                           values                   source
    ================================= ======================== ======================
    weights, embeddings               Normal(0, r)             [1]_, [2]_, [3]_
    GPT-2 ``c_proj.weight``           Normal(0, r / sqrt(2 L)) [1]_, L = n_layer
    ViT class token, positions        Normal(0, r) on [-2, 2]  [4]_
    biases                            0
    scales of norms                   1
    embedding of ``pad_token_id``     0                        BERT and Llama
    ================================= ======================== ======================

    The published BERT truncates its normal at two standard deviations; transformers
    does not. GPT-2 has no row of zeros, whatever its ``pad_token_id``. A negative
    ``pad_token_id`` counts from the end, as in ``torch.nn.Embedding``.

    References
    ----------
    .. [1] Radford et al., "Language models are unsupervised multitask learners", 2019.
    .. [2] Devlin et al., "BERT: pre-training of deep bidirectional transformers for
       language understanding", NAACL 2019.
    .. [3] Touvron et al., "LLaMA: open and efficient foundation language models", 2023,
       which states no initialisation; 0.02 is the configuration's.
    .. [4] Dosovitskiy et al., "An image is worth 16x16 words: transformers for image
       recognition at scale", ICLR 2021.
    """
    if not isinstance(config, Mapping):
        raise TypeError(
            f"config must be a mapping, got {shown(config)} of type {type(config).__name__}"
        )
    kind = config.get("model_type")
    check_choice("model_type", kind, tuple(_MODELS))
    for key in UNSUPPORTED:
        if config.get(key):
            raise ValueError(f"{key} is not supported and must be empty, got {shown(config[key])}")
    classes = _MODELS[str(kind)]
    build = classes[_architecture(config, tuple(classes))]
    dtype = _dtype(config)
    return [replace(tensor, dtype=dtype) for tensor in build(config)]


# Values of keys.


def _architecture(config: Config, supported: tuple[str, ...]) -> str:
    names = config.get("architectures")
    if names is None:
        return supported[0]
    if not isinstance(names, (list, tuple)) or not names:
        raise TypeError(f"architectures must be a list of at least one name, got {shown(names)}")
    check_choice("architectures[0]", names[0], supported)
    return str(names[0])


def _dtype(config: Config) -> DtypeName:
    for key in ("dtype", "torch_dtype"):
        if config.get(key) is not None:
            check_choice(key, config[key], tuple(DTYPE_SIZES))
            return cast("DtypeName", str(config[key]))
    return "float32"


def _size(config: Config, key: str, default: int, low: int = 1) -> int:
    return check_int(key, config.get(key, default), low)


def _layers(config: Config, key: str, default: int) -> int:
    return check_int(key, config.get(key, default), 1, MOST_LAYERS)


def _optional_size(config: Config, key: str, default: int) -> int:
    """A size that may be null, which stands for the default."""
    return default if config.get(key) is None else check_int(key, config[key], 1)


def _heads(config: Config, key: str, default: int, width: int) -> int:
    heads = _size(config, key, default)
    if width % heads:
        raise ValueError(f"{key} must divide the hidden size, {shown(width)}, got {shown(heads)}")
    return heads


def _pair(config: Config, key: str, default: int) -> tuple[int, int]:
    """Height and width, from one int for both or from a pair."""
    value = config.get(key, default)
    if not isinstance(value, (list, tuple)):
        value = (value, value)
    if len(value) != 2:
        raise ValueError(f"{key} must be an int or a pair of ints, got {shown(value)}")
    return check_int(key, value[0], 1), check_int(key, value[1], 1)


def _flag(config: Config, key: str, default: bool) -> bool:
    value = config.get(key, default)
    if not isinstance(value, bool):
        kind = type(value).__name__
        raise TypeError(f"{key} must be true or false, got {shown(value)} of type {kind}")
    return value


def _padding_idx(config: Config, default: int | None, rows: int) -> int | None:
    index = config.get("pad_token_id", default)
    return None if index is None else check_int("pad_token_id", index, -rows, rows - 1) % rows


def _labels(config: Config, low: int) -> int:
    """How many labels: `num_labels`, which wins where it is given, or those of `id2label`."""
    names = config.get("id2label")
    if names is not None and not isinstance(names, Mapping):
        kind = type(names).__name__
        raise TypeError(f"id2label must be a mapping, got {shown(names)} of type {kind}")
    if names is None or "num_labels" in config:
        return _size(config, "num_labels", 2, low)
    return check_int("the number of labels in id2label", len(names), low)


def _normal(config: Config) -> Normal:
    key = "initializer_range"
    return Normal(0.0, check_positive(key, config.get(key, 0.02)))


# Layers.


def _tensor(
    name: str, shape: tuple[int, ...], init: Initializer, padding_idx: int | None = None
) -> Tensor:
    """A tensor in PyTorch's layout, outputs on the first axis."""
    return Tensor(name, shape, init, padding_idx=padding_idx, axes="out_in")


def _linear(
    name: str, shape: tuple[int, ...], init: Initializer, bias: bool = True
) -> Iterator[Tensor]:
    """A linear layer or a convolution: outputs on the first axis."""
    yield _tensor(f"{name}.weight", shape, init)
    if bias:
        yield _tensor(f"{name}.bias", shape[:1], zeros)


def _conv1d(name: str, shape: tuple[int, int], init: Initializer) -> Iterator[Tensor]:
    """GPT-2's linear layer: outputs on the last axis."""
    yield Tensor(f"{name}.weight", shape, init)
    yield Tensor(f"{name}.bias", shape[1:], zeros)


def _layer_norm(name: str, width: int) -> Iterator[Tensor]:
    yield _tensor(f"{name}.weight", (width,), ones)
    yield _tensor(f"{name}.bias", (width,), zeros)


def _prefixed(prefix: str, tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    return (replace(tensor, name=prefix + tensor.name) for tensor in tensors)


# Models. The first tensor of each is its embedding of tokens, or ViT's class token.


def _gpt2(config: Config) -> Iterator[Tensor]:
    config = {**config, **{GPT2_SYNONYMS[k]: v for k, v in config.items() if k in GPT2_SYNONYMS}}
    width, layers = _size(config, "n_embd", 768), _layers(config, "n_layer", 12)
    _heads(config, "n_head", 12, width)
    inner = _optional_size(config, "n_inner", 4 * width)
    normal = _normal(config)
    residual = Normal(0.0, normal.stddev / math.sqrt(2 * layers))
    yield _tensor("wte.weight", (_size(config, "vocab_size", 50257), width), normal)
    yield _tensor("wpe.weight", (_size(config, "n_positions", 1024), width), normal)
    for i in range(layers):
        yield from _layer_norm(f"h.{i}.ln_1", width)
        yield from _conv1d(f"h.{i}.attn.c_attn", (width, 3 * width), normal)
        yield from _conv1d(f"h.{i}.attn.c_proj", (width, width), residual)
        yield from _layer_norm(f"h.{i}.ln_2", width)
        yield from _conv1d(f"h.{i}.mlp.c_fc", (width, inner), normal)
        yield from _conv1d(f"h.{i}.mlp.c_proj", (inner, width), residual)
    yield from _layer_norm("ln_f", width)


def _llama(config: Config) -> Iterator[Tensor]:
    width, inner = _size(config, "hidden_size", 4096), _size(config, "intermediate_size", 11008)
    heads = _heads(config, "num_attention_heads", 32, width)
    groups = _optional_size(config, "num_key_value_heads", heads)
    if heads % groups:
        raise ValueError(
            f"num_key_value_heads must divide num_attention_heads, {shown(heads)}, got {shown(groups)}"
        )
    size = _optional_size(config, "head_dim", width // heads)
    outputs = {"q_proj": heads * size, "k_proj": groups * size, "v_proj": groups * size}
    attention_bias = _flag(config, "attention_bias", False)
    mlp_bias = _flag(config, "mlp_bias", False)
    normal = _normal(config)
    vocab = _size(config, "vocab_size", 32000)
    padding = _padding_idx(config, None, vocab)
    yield _tensor("embed_tokens.weight", (vocab, width), normal, padding_idx=padding)
    for i in range(_layers(config, "num_hidden_layers", 32)):
        attention, mlp = f"layers.{i}.self_attn", f"layers.{i}.mlp"
        for name, rows in outputs.items():
            yield from _linear(f"{attention}.{name}", (rows, width), normal, attention_bias)
        yield from _linear(f"{attention}.o_proj", (width, heads * size), normal, attention_bias)
        yield from _linear(f"{mlp}.gate_proj", (inner, width), normal, mlp_bias)
        yield from _linear(f"{mlp}.up_proj", (inner, width), normal, mlp_bias)
        yield from _linear(f"{mlp}.down_proj", (width, inner), normal, mlp_bias)
        yield _tensor(f"layers.{i}.input_layernorm.weight", (width,), ones)
        yield _tensor(f"layers.{i}.post_attention_layernorm.weight", (width,), ones)
    yield _tensor("norm.weight", (width,), ones)


def _bert(config: Config, pooler: bool = True) -> Iterator[Tensor]:
    positions = config.get("position_embedding_type", "absolute")
    check_choice("position_embedding_type", positions, ("absolute",))
    width, inner = _size(config, "hidden_size", 768), _size(config, "intermediate_size", 3072)
    _heads(config, "num_attention_heads", 12, width)
    normal = _normal(config)
    vocab = _size(config, "vocab_size", 30522)
    rows = {
        "position": _size(config, "max_position_embeddings", 512),
        "token_type": _size(config, "type_vocab_size", 2),
    }
    padding = _padding_idx(config, 0, vocab)
    yield _tensor("embeddings.word_embeddings.weight", (vocab, width), normal, padding_idx=padding)
    for name, count in rows.items():
        yield _tensor(f"embeddings.{name}_embeddings.weight", (count, width), normal)
    yield from _layer_norm("embeddings.LayerNorm", width)
    for i in range(_layers(config, "num_hidden_layers", 12)):
        layer = f"encoder.layer.{i}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            yield from _linear(f"{layer}.attention.{name}", (width, width), normal)
        yield from _layer_norm(f"{layer}.attention.output.LayerNorm", width)
        yield from _linear(f"{layer}.intermediate.dense", (inner, width), normal)
        yield from _linear(f"{layer}.output.dense", (width, inner), normal)
        yield from _layer_norm(f"{layer}.output.LayerNorm", width)
    if pooler:
        yield from _linear("pooler.dense", (width, width), normal)


def _vit(config: Config, pooler: bool = True) -> Iterator[Tensor]:
    width, inner = _size(config, "hidden_size", 768), _size(config, "intermediate_size", 3072)
    heads = _heads(config, "num_attention_heads", 12, width)
    total = heads * _optional_size(config, "head_dim", width // heads)
    image, patch = _pair(config, "image_size", 224), _pair(config, "patch_size", 16)
    if patch[0] > image[0] or patch[1] > image[1]:
        raise ValueError(
            f"patch_size must not be above image_size, {shown(image)}, got {shown(patch)}"
        )
    patches = (image[0] // patch[0]) * (image[1] // patch[1])
    pixels = (_size(config, "num_channels", 3), *patch)
    qkv_bias = _flag(config, "qkv_bias", True)
    normal = _normal(config)
    bound = 2.0 / normal.stddev
    truncated = TruncatedNormal(0.0, normal.stddev, lower=-bound, upper=bound)
    yield _tensor("embeddings.cls_token", (1, 1, width), truncated)
    yield _tensor("embeddings.position_embeddings", (1, patches + 1, width), truncated)
    yield from _linear("embeddings.patch_embeddings.projection", (width, *pixels), normal)
    for i in range(_layers(config, "num_hidden_layers", 12)):
        layer = f"encoder.layer.{i}"
        for name in ("query", "key", "value"):
            yield from _linear(
                f"{layer}.attention.attention.{name}", (total, width), normal, qkv_bias
            )
        yield from _linear(f"{layer}.attention.output.dense", (width, total), normal)
        yield from _layer_norm(f"{layer}.layernorm_before", width)
        yield from _layer_norm(f"{layer}.layernorm_after", width)
        yield from _linear(f"{layer}.intermediate.dense", (inner, width), normal)
        yield from _linear(f"{layer}.output.dense", (width, inner), normal)
    yield from _layer_norm("layernorm", width)
    if pooler:
        rows = _optional_size(config, "pooler_output_size", width)
        yield from _linear("pooler.dense", (rows, width), normal)


# Heads.

Build = Callable[[Config], Iterator[Tensor]]


def _causal_lm(config: Config, body: Build, prefix: str, tied: bool) -> Iterator[Tensor]:
    tensors = list(body(config))
    yield from _prefixed(prefix, tensors)
    if not _flag(config, "tie_word_embeddings", tied):
        yield _tensor("lm_head.weight", tensors[0].shape, _normal(config))


def _bert_lm(config: Config, next_sentence: bool) -> Iterator[Tensor]:
    tensors = list(_bert(config, pooler=next_sentence))
    vocab, width = tensors[0].shape
    normal = _normal(config)
    yield from _prefixed("bert.", tensors)
    yield _tensor("cls.predictions.bias", (vocab,), zeros)
    yield from _linear("cls.predictions.transform.dense", (width, width), normal)
    yield from _layer_norm("cls.predictions.transform.LayerNorm", width)
    if not _flag(config, "tie_word_embeddings", True):
        yield from _linear("cls.predictions.decoder", (vocab, width), normal)
    if next_sentence:
        yield from _linear("cls.seq_relationship", (2, width), normal)


def _classifier(config: Config, body: Build, prefix: str, low: int) -> Iterator[Tensor]:
    """A linear layer to the labels, of which there must be `low`; none for none."""
    tensors = list(body(config))
    yield from _prefixed(prefix, tensors)
    labels = _labels(config, low)
    if labels:
        yield from _linear("classifier", (labels, tensors[0].shape[-1]), _normal(config))


#: The classes of each model; the first is that of a config without architectures.
_MODELS: dict[str, dict[str, Build]] = {
    "gpt2": {
        "GPT2LMHeadModel": partial(_causal_lm, body=_gpt2, prefix="transformer.", tied=True),
        "GPT2Model": _gpt2,
    },
    "llama": {
        "LlamaForCausalLM": partial(_causal_lm, body=_llama, prefix="model.", tied=False),
        "LlamaModel": _llama,
    },
    "bert": {
        "BertForMaskedLM": partial(_bert_lm, next_sentence=False),
        "BertForPreTraining": partial(_bert_lm, next_sentence=True),
        "BertForSequenceClassification": partial(_classifier, body=_bert, prefix="bert.", low=1),
        "BertModel": _bert,
    },
    "vit": {
        "ViTForImageClassification": partial(
            _classifier, body=partial(_vit, pooler=False), prefix="vit.", low=0
        ),
        "ViTModel": _vit,
    },
}
