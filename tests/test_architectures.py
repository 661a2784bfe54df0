"""Models of Hugging Face configs, beside what the package transformers makes of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import fastinit as fi
from fastinit.architectures import config_tensors
from fastinit.files import read_stored

#: False alarms of the test of standard deviations: 6 standard errors, 2e-9 for each of some 400 tensors.
SIGMAS = 6.0

GPT2 = {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 60, "n_positions": 16}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60}  # fmt: skip
BERT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60, "max_position_embeddings": 16}  # fmt: skip
VIT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 16, "patch_size": 4}  # fmt: skip

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("GPT2LMHeadModel", GPT2),
    ("GPT2LMHeadModel", GPT2 | {"tie_word_embeddings": False, "n_inner": 40, "initializer_range": 0.1}),
    ("GPT2Model", GPT2 | {"dtype": "bfloat16"}),
    ("LlamaForCausalLM", LLAMA),
    ("LlamaForCausalLM", LLAMA | {"num_key_value_heads": 2, "head_dim": 16, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("LlamaModel", LLAMA | {"pad_token_id": -1}),
    ("BertForMaskedLM", BERT),
    ("BertForMaskedLM", BERT | {"tie_word_embeddings": False, "pad_token_id": 3}),
    ("BertModel", BERT | {"type_vocab_size": 5, "pad_token_id": None}),
    ("BertForPreTraining", BERT),
    ("BertForSequenceClassification", BERT | {"num_labels": 5}),
    ("ViTForImageClassification", VIT | {"num_labels": 7, "qkv_bias": False}),
    ("ViTForImageClassification", VIT | {"num_labels": 0}),
    ("ViTModel", VIT | {"image_size": [16, 8], "patch_size": [4, 2], "num_channels": 1, "pooler_output_size": 9}),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options"), MODELS)
def test_names_shapes_dtypes_and_laws_are_those_of_transformers(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    load_file = pytest.importorskip("safetensors.torch").load_file
    torch.manual_seed(0)
    cls = getattr(transformers, name)
    options = dict(options)
    dtype = getattr(torch, options.pop("dtype", "float32"))
    model = cls(cls.config_class(**options)).to(dtype)
    model.save_pretrained(tmp_path)
    described = config_tensors(json.loads((tmp_path / "config.json").read_text()))

    stored = {s.name: s for s in read_stored(tmp_path / "model.safetensors")}
    assert {t.name: (t.shape, t.dtype) for t in described} == {
        s.name: (s.shape, s.dtype) for s in stored.values()
    }
    weights = load_file(tmp_path / "model.safetensors")
    for tensor in described:
        values = weights[tensor.name].double()
        zero_rows = [i for i, row in enumerate(values) if not row.any()] if values.ndim > 1 else []
        law = tensor.init.resolve(tensor.shape)
        if isinstance(law, fi.Constant):
            assert (values == law.value).all(), tensor.name
            continue
        assert zero_rows == ([] if tensor.padding_idx is None else [tensor.padding_idx])
        values = values[[i for i in range(len(values)) if i not in zero_rows]]
        # The truncation, far out, changes nothing of the standard deviation.
        error = values.pow(2).mean().sqrt().item() / law.stddev - 1
        assert abs(error) < SIGMAS / math.sqrt(2 * values.numel()), tensor.name


@pytest.mark.parametrize(
    ("config", "count", "parameters"),
    [
        # The published sizes: GPT-2 124M, Llama-2-7B, Llama-3-8B, BERT-base without heads, ViT-B/16.
        ({"model_type": "gpt2"}, 148, 124_439_808),
        ({"model_type": "llama"}, 291, 6_738_415_616),
        ({"model_type": "llama", "vocab_size": 128256, "intermediate_size": 14336, "num_key_value_heads": 8}, 291, 8_030_261_248),
        ({"model_type": "bert", "architectures": ["BertModel"]}, 199, 109_482_240),
        ({"model_type": "vit", "num_labels": 1000}, 200, 86_567_656),
    ],
)  # fmt: skip
def test_published_sizes(config: dict[str, Any], count: int, parameters: int) -> None:
    tensors = config_tensors(config)
    assert len(tensors) == len({t.name for t in tensors}) == count
    assert sum(t.size for t in tensors) == parameters


def test_laws_of_gpt2() -> None:
    laws = {t.name: t.init for t in config_tensors({"model_type": "gpt2", "n_layer": 8})}
    assert laws["transformer.wte.weight"] == fi.Normal(0, 0.02)
    assert laws["transformer.h.7.mlp.c_proj.weight"] == fi.Normal(0, 0.005)
    assert laws["transformer.h.7.attn.c_proj.bias"] == fi.zeros
    assert laws["transformer.ln_f.weight"] == fi.ones


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "model_type must be one of gpt2, llama, bert, vit, got None"),
        ({"model_type": "t5"}, "model_type must be one of gpt2, .* got 't5'"),
        ({"model_type": "gpt2", "architectures": ["GPT2DoubleHeadsModel"]}, "architectures must be one of GPT2LMHeadModel, GPT2Model, got"),
        ({"model_type": "gpt2", "n_embd": -8}, r"n_embd must be an int in \[1, 1099511627776\], got -8"),
        ({"model_type": "gpt2", "n_embd": "8"}, r"n_embd must be an int in .* got '8'"),
        ({"model_type": "gpt2", "n_layer": 10**400}, "n_layer must be an int in"),
        ({"model_type": "gpt2", "n_embd": 10, "n_head": 4}, "n_head must divide the hidden size 10, got 4"),
        ({"model_type": "gpt2", "add_cross_attention": True}, "add_cross_attention is not supported"),
        ({"model_type": "llama", "num_key_value_heads": 3}, "num_key_value_heads must divide 32 heads, got 3"),
        ({"model_type": "llama", "pad_token_id": 32000}, "pad_token_id must be an int in"),
        ({"model_type": "llama", "mlp_bias": 1}, "mlp_bias must be true or false, got 1"),
        ({"model_type": "bert", "initializer_range": 0}, "initializer_range must be positive and finite"),
        ({"model_type": "bert", "dtype": "int8"}, "dtype must be one of float32, .* got 'int8'"),
        ({"model_type": "vit", "image_size": [1, 2, 3]}, "image_size must be an int or two"),
    ],
)  # fmt: skip
def test_errors_name_the_key(config: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        config_tensors(config)
