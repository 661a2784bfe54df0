"""Tensors of Hugging Face configs: against published counts, and against models that transformers makes.

Means and variances are compared at a two-sided p-value of 5e-7: had the seed been drawn afresh,
the 952 checks of this file together would fail by chance with probability 5e-4.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fastinit as fi
from fastinit.architectures import config_tensors
from fastinit.tensor import Tensor

FALSE_ALARM = 5e-7

GPT2 = {
    "vocab_size": 60,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 20,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
BERT = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
}
LLAMA = BERT
VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("GPT2Model", GPT2),
    ("GPT2LMHeadModel", GPT2),
    ("GPT2LMHeadModel", {**GPT2, "tie_word_embeddings": False}),
    ("GPT2LMHeadModel", {**GPT2, "n_inner": 40, "initializer_range": 0.1}),
    ("GPT2LMHeadModel", {**GPT2, "n_layer": 5, "pad_token_id": 3}),
    ("GPT2Model", {"vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "max_position_embeddings": 9}),
    ("LlamaModel", LLAMA),
    ("LlamaForCausalLM", LLAMA),
    ("LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": True, "pad_token_id": 0}),
    ("LlamaForCausalLM", {**LLAMA, "num_key_value_heads": 2, "pad_token_id": 7}),
    ("LlamaForCausalLM", {**LLAMA, "num_key_value_heads": 1, "head_dim": 6, "pad_token_id": -1}),
    ("LlamaForCausalLM", {**LLAMA, "attention_bias": True, "num_key_value_heads": 2}),
    ("LlamaForCausalLM", {**LLAMA, "mlp_bias": True, "initializer_range": 0.006}),
    ("BertModel", BERT),
    ("BertModel", {**BERT, "pad_token_id": None, "type_vocab_size": 3}),
    ("BertModel", {**BERT, "is_decoder": True}),
    ("BertForMaskedLM", BERT),
    ("BertForMaskedLM", {**BERT, "tie_word_embeddings": False, "pad_token_id": 59}),
    ("BertForPreTraining", BERT),
    ("BertForPreTraining", {**BERT, "tie_word_embeddings": False, "initializer_range": 0.05}),
    ("BertForSequenceClassification", BERT),
    ("BertForSequenceClassification", {**BERT, "num_labels": 17}),
    ("BertForSequenceClassification", {**BERT, "id2label": {"0": "a", "1": "b", "2": "c"}}),
    ("BertForSequenceClassification", {**BERT, "id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 5}),
    ("ViTModel", VIT),
    ("ViTModel", {**VIT, "pooler_output_size": 11, "num_channels": 1}),
    ("ViTModel", {**VIT, "image_size": [32, 20], "patch_size": [8, 4], "qkv_bias": False}),
    ("ViTModel", {**VIT, "head_dim": 5, "initializer_range": 1.5}),  # cut at 1.3 standard deviations
    ("ViTForImageClassification", VIT),
    ("ViTForImageClassification", {**VIT, "num_labels": 17}),
    ("ViTForImageClassification", {**VIT, "num_labels": 0, "image_size": [33, 17]}),
]  # fmt: skip


def described(config: dict[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {t.name: (t.shape, t.dtype) for t in config_tensors(config)}


# Against transformers.


def saved(name: str, keys: dict[str, Any], dtype: str, folder: Path) -> tuple[Any, Any, Any]:
    """A model made by transformers, its saved config and its saved tensors."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", minversion="5.23")
    load_file = pytest.importorskip("safetensors.torch").load_file
    torch.manual_seed(0)
    cls = getattr(transformers, name)
    model = cls(cls.config_class(**keys)).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    return model, config, load_file(folder / "model.safetensors")


def saved_order(model: Any) -> list[str]:
    """Names of a state_dict as they are saved, without those that share memory with one before."""
    names = {}
    for name, value in model.state_dict().items():
        names.setdefault(value.data_ptr(), name)
    order = list(names.values())
    if model.config.model_type == "vit":
        for module, stored in (
            ("layers.", "encoder.layer."),
            ("q_proj", "attention.query"),
            ("k_proj", "attention.key"),
            ("v_proj", "attention.value"),
            ("o_proj", "output.dense"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
        ):
            order = [name.replace(module, stored) for name in order]
    return order


@pytest.mark.parametrize(("name", "keys"), MODELS, ids=lambda value: str(value)[:60])
def test_same_tensors_as_transformers(name: str, keys: dict[str, Any], tmp_path: Path) -> None:
    model, config, tensors = saved(name, keys, "float32", tmp_path)
    expected = {k: (tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in tensors.items()}  # fmt: skip
    assert described(config) == expected
    assert list(described(config)) == saved_order(model)
    written_by_hand = {"model_type": config["model_type"], "architectures": [name], **keys}
    assert config_tensors(written_by_hand) == config_tensors(config)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize(
    ("name", "keys"), [("LlamaForCausalLM", LLAMA), ("BertModel", BERT), ("ViTModel", VIT)]
)
def test_same_dtypes_as_transformers(
    name: str, keys: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    _, config, tensors = saved(name, keys, dtype, tmp_path)
    assert {k: v[1] for k, v in described(config).items()} == dict.fromkeys(tensors, dtype)


def check_values(tensor: Tensor, values: np.ndarray) -> None:
    """`values` are a sample of what `tensor` describes."""
    init = tensor.init.resolve(tensor.shape)
    if isinstance(init, fi.Constant):
        assert (values == init.value).all()
        return
    assert isinstance(init, fi.Normal | fi.TruncatedNormal)
    std = init.stddev
    if isinstance(init, fi.TruncatedNormal):
        std *= fi.truncated_std(init.lower, init.upper)
        assert init.lower * init.stddev == pytest.approx(-2)
        assert abs(values).max() <= 2
    if values.ndim == 2:
        zero_rows = np.flatnonzero(~values.any(axis=1)).tolist()
        assert zero_rows == ([] if tensor.padding_idx is None else [tensor.padding_idx])
        values = np.delete(values, zero_rows, axis=0)
    # Exact for a normal; a truncated one has a smaller kurtosis, and fails less often.
    deviates = (values - init.mean) / std
    z = stats.norm.isf(FALSE_ALARM / 2)
    assert abs(deviates.mean()) < z / math.sqrt(values.size)
    low, high = stats.chi2.interval(1 - FALSE_ALARM, values.size)
    assert low < (deviates**2).sum() < high


@pytest.mark.parametrize(("name", "keys"), MODELS, ids=lambda value: str(value)[:60])
def test_same_values_as_transformers(name: str, keys: dict[str, Any], tmp_path: Path) -> None:
    _, config, tensors = saved(name, keys, "float64", tmp_path)
    for tensor in config_tensors(config):
        check_values(tensor, tensors[tensor.name].numpy())


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "bert", "vit"])
def test_defaults_are_those_of_transformers(model_type: str) -> None:
    transformers = pytest.importorskip("transformers", minversion="5.23")
    full = transformers.AutoConfig.for_model(model_type).to_dict()
    assert config_tensors({"model_type": model_type}) == config_tensors(full)


# Against published numbers.

LLAMA_3_8B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
}
LLAMA_32_1B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
VIT_IMAGENET = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "num_labels": 1000,
}


@pytest.mark.parametrize(
    ("config", "count", "parameters"),
    [
        ({"model_type": "gpt2"}, 148, 124_439_808),
        ({"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25}, 580, 1_557_611_200),
        (LLAMA_3_8B, 291, 8_030_261_248),
        (LLAMA_32_1B, 146, 1_235_814_400),
        ({"model_type": "llama"}, 291, 6_738_415_616),  # Llama 2 7B
        ({"model_type": "bert", "architectures": ["BertModel"]}, 199, 109_482_240),
        ({"model_type": "bert"}, 202, 109_514_298),
        ({"model_type": "bert", "architectures": ["BertForPreTraining"]}, 206, 110_106_428),
        (VIT_IMAGENET, 200, 86_567_656),
        ({"model_type": "vit", "architectures": ["ViTModel"]}, 200, 86_389_248),
    ],
)  # fmt: skip
def test_published_counts(config: dict[str, Any], count: int, parameters: int) -> None:
    tensors = config_tensors(config)
    assert len(tensors) == count
    assert sum(tensor.size for tensor in tensors) == parameters


def test_gpt2_scales_its_residual_projections() -> None:
    tensors = config_tensors({"model_type": "gpt2"})
    scaled = [tensor for tensor in tensors if tensor.name.endswith("c_proj.weight")]
    assert len(scaled) == 24
    assert {tensor.init for tensor in scaled} == {fi.Normal(0.0, 0.02 / math.sqrt(24))}
    others = {tensor.init for tensor in tensors if tensor not in scaled}
    assert others == {fi.Normal(0.0, 0.02), fi.zeros, fi.ones}


def test_llama_written_out() -> None:
    normal = fi.Normal(0.0, 0.1)
    tensor = partial(Tensor, axes="out_in")
    config = {
        "model_type": "llama", "vocab_size": 7, "hidden_size": 4, "intermediate_size": 6,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "pad_token_id": -1, "initializer_range": 0.1, "dtype": "float16", "torch_dtype": "?",
    }  # fmt: skip
    assert config_tensors(config) == [
        tensor("model.embed_tokens.weight", (7, 4), normal, "float16", padding_idx=6),
        tensor("model.layers.0.self_attn.q_proj.weight", (4, 4), normal, "float16"),
        tensor("model.layers.0.self_attn.k_proj.weight", (2, 4), normal, "float16"),
        tensor("model.layers.0.self_attn.v_proj.weight", (2, 4), normal, "float16"),
        tensor("model.layers.0.self_attn.o_proj.weight", (4, 4), normal, "float16"),
        tensor("model.layers.0.mlp.gate_proj.weight", (6, 4), normal, "float16"),
        tensor("model.layers.0.mlp.up_proj.weight", (6, 4), normal, "float16"),
        tensor("model.layers.0.mlp.down_proj.weight", (4, 6), normal, "float16"),
        tensor("model.layers.0.input_layernorm.weight", (4,), fi.ones, "float16"),
        tensor("model.layers.0.post_attention_layernorm.weight", (4,), fi.ones, "float16"),
        tensor("model.norm.weight", (4,), fi.ones, "float16"),
        tensor("lm_head.weight", (7, 4), normal, "float16"),
    ]


def test_vit_truncates_its_class_token_at_two() -> None:
    tensors = config_tensors({"model_type": "vit", "initializer_range": 0.5})
    cut = {tensor.name for tensor in tensors if isinstance(tensor.init, fi.TruncatedNormal)}
    assert cut == {"vit.embeddings.cls_token", "vit.embeddings.position_embeddings"}
    assert tensors[0].init == fi.TruncatedNormal(0.0, 0.5, lower=-4.0, upper=4.0)


@pytest.mark.parametrize(
    ("keys", "dtype"),
    [
        ({}, "float32"),
        ({"dtype": None, "torch_dtype": None}, "float32"),
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "float16", "torch_dtype": "bfloat16"}, "float16"),
    ],
)
def test_dtype(keys: dict[str, Any], dtype: str) -> None:
    tensors = config_tensors({"model_type": "gpt2", **GPT2, **keys})
    assert {tensor.dtype for tensor in tensors} == {dtype}


def test_empty_values_of_unsupported_keys() -> None:
    empty = {"add_cross_attention": False, "pruned_heads": {}, "quantization_config": None}
    plain = {"model_type": "bert", **BERT}
    assert config_tensors({**plain, **empty}) == config_tensors(plain)


# Bad configs.

SEQUENCE = ["BertForSequenceClassification"]
CASES: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("gpt2", {"model_type": "t5"}, ValueError, r"model_type must be one of gpt2, llama, bert, vit, got 't5'"),
    ("gpt2", {"model_type": None}, ValueError, r"model_type must be one of .* got None"),
    ("gpt2", {"model_type": ["gpt2"]}, ValueError, r"model_type must be one of .* got \['gpt2'\]"),
    ("gpt2", {"architectures": ["GPT2DoubleHeadsModel"]}, ValueError, r"architectures\[0\] must be one of GPT2LMHeadModel, GPT2Model, got 'GPT2DoubleHeadsModel'"),
    ("bert", {"architectures": ["LlamaModel"]}, ValueError, r"architectures\[0\] must be one of BertForMaskedLM, .* got 'LlamaModel'"),
    ("bert", {"architectures": [1]}, ValueError, r"architectures\[0\] must be one of .* got 1"),
    ("bert", {"architectures": []}, TypeError, r"architectures must be a list of at least one name, got \[\]"),
    ("bert", {"architectures": "BertModel"}, TypeError, r"architectures must be a list .* got 'BertModel'"),
    ("gpt2", {"dtype": "int8"}, ValueError, r"dtype must be one of float32, .* got 'int8'"),
    ("gpt2", {"torch_dtype": "torch.float32"}, ValueError, r"torch_dtype must be one of float32, .* got 'torch.float32'"),
    ("gpt2", {"vocab_size": -1}, ValueError, r"vocab_size must be an int of at least 1, got -1"),
    ("gpt2", {"vocab_size": True}, TypeError, r"vocab_size must be an int of at least 1, got True of type bool"),
    ("gpt2", {"n_positions": "20"}, TypeError, r"n_positions must be an int .* got '20' of type str"),
    ("gpt2", {"n_layer": 2.0}, TypeError, r"n_layer must be an int .* got 2.0 of type float"),
    ("gpt2", {"n_layer": 0}, ValueError, r"n_layer must be an int in \[1, 10000\], got 0"),
    ("gpt2", {"n_embd": None}, TypeError, r"n_embd must be an int .* got None of type NoneType"),
    ("gpt2", {"n_inner": 0}, ValueError, r"n_inner must be an int of at least 1, got 0"),
    ("gpt2", {"n_head": 5}, ValueError, r"n_head must divide the hidden size, 32, got 5"),
    ("gpt2", {"add_cross_attention": True}, ValueError, r"add_cross_attention is not supported and must be empty, got True"),
    ("gpt2", {"initializer_range": 0}, ValueError, r"initializer_range must be positive and finite, got 0.0"),
    ("gpt2", {"initializer_range": "0.02"}, TypeError, r"initializer_range must be a real number, got '0.02'"),
    ("gpt2", {"tie_word_embeddings": 1}, TypeError, r"tie_word_embeddings must be true or false, got 1 of type int"),
    ("llama", {"num_attention_heads": 3}, ValueError, r"num_attention_heads must divide the hidden size, 32, got 3"),
    ("llama", {"num_key_value_heads": 3}, ValueError, r"num_key_value_heads must divide num_attention_heads, 4, got 3"),
    ("llama", {"head_dim": 0}, ValueError, r"head_dim must be an int of at least 1, got 0"),
    ("llama", {"attention_bias": None}, TypeError, r"attention_bias must be true or false, got None"),
    ("llama", {"mlp_bias": "false"}, TypeError, r"mlp_bias must be true or false, got 'false' of type str"),
    ("llama", {"pad_token_id": 60}, ValueError, r"pad_token_id must be an int in \[-60, 59\], got 60"),
    ("llama", {"pad_token_id": 1.0}, TypeError, r"pad_token_id must be an int in .* got 1.0"),
    ("llama", {"quantization_config": {"bits": 4}}, ValueError, r"quantization_config is not supported and must be empty, got {'bits': 4}"),
    ("llama", {"per_layer_config": {"0": {"mlp_bias": True}}}, ValueError, r"per_layer_config is not supported"),
    ("bert", {"pruned_heads": {"0": [1]}}, ValueError, r"pruned_heads is not supported"),
    ("bert", {"position_embedding_type": "relative_key"}, ValueError, r"position_embedding_type must be one of absolute, got 'relative_key'"),
    ("bert", {"type_vocab_size": 0}, ValueError, r"type_vocab_size must be an int of at least 1, got 0"),
    ("bert", {"architectures": SEQUENCE, "num_labels": 0}, ValueError, r"num_labels must be an int of at least 1, got 0"),
    ("bert", {"architectures": SEQUENCE, "num_labels": None}, TypeError, r"num_labels must be an int .* got None"),
    ("bert", {"architectures": SEQUENCE, "id2label": ["a"]}, TypeError, r"id2label must be a mapping, got \['a'\] of type list"),
    ("bert", {"architectures": SEQUENCE, "id2label": {}}, ValueError, r"the number of labels in id2label must be an int of at least 1, got 0"),
    ("vit", {"num_labels": -1}, ValueError, r"num_labels must be an int of at least 0, got -1"),
    ("vit", {"image_size": [32]}, ValueError, r"image_size must be an int or a pair of ints, got \[32\]"),
    ("vit", {"image_size": [32, 0]}, ValueError, r"image_size must be an int of at least 1, got 0"),
    ("vit", {"patch_size": "8"}, TypeError, r"patch_size must be an int .* got '8' of type str"),
    ("vit", {"patch_size": [8, 64]}, ValueError, r"patch_size must not be above image_size, \(32, 32\), got \(8, 64\)"),
    ("vit", {"num_channels": 3.0}, TypeError, r"num_channels must be an int .* got 3.0"),
    ("vit", {"qkv_bias": 0}, TypeError, r"qkv_bias must be true or false, got 0 of type int"),
    ("vit", {"architectures": ["ViTModel"], "pooler_output_size": -3}, ValueError, r"pooler_output_size must be an int of at least 1, got -3"),
]  # fmt: skip
SMALL = {"gpt2": GPT2, "llama": LLAMA, "bert": BERT, "vit": VIT}


@pytest.mark.parametrize(("model_type", "keys", "error", "message"), CASES)
def test_bad_configs(
    model_type: str, keys: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        config_tensors({"model_type": model_type, **SMALL[model_type], **keys})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [None, [], "gpt2"])
def test_config_that_is_no_mapping(config: Any) -> None:
    with pytest.raises(TypeError, match=r"config must be a mapping, got .* of type"):
        config_tensors(config)
