"""Hugging Face configs through transformers: classes, names, dtypes, distributions, files and errors.

Distributions are those of the models' papers and configurations, as literals. `test_types` compares models of 40 types
with plain construction, which `transformers_sweep.py` does for all.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", minversion="5", reason="transformers 5 is not installed")

import torch
import transformers

import fastinit as fi
from fastinit.huggingface import Pretrained, pretrained, read_config
from fastinit.torch import init_module_, record
from transformers_sweep import check_type

# Some models import modules of torch that warn.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TYPES = [
    "bart",
    "bert",
    "bit",
    "clip",
    "convnext",
    "data2vec-audio",
    "deberta-v2",
    "deepseek_v3",
    "dinov2",
    "distilbert",
    "dpt",
    "electra",
    "ernie4_5_moe",
    "falcon_mamba",
    "gemma3",
    "gpt2",
    "gpt_oss",
    "granitemoe",
    "hiera",
    "jamba",
    "levit",
    "llama",
    "llama4",
    "llava",
    "lfm2",
    "mamba2",
    "mixtral",
    "mobilebert",
    "mpnet",
    "nystromformer",
    "olmo2",
    "opt",
    "perceiver",
    "qwen3_moe",
    "resnet",
    "rwkv",
    "swin",
    "t5",
    "vit",
    "wav2vec2",
]
SMALL = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
NORMAL = fi.Normal(0.0, 0.02)


def read(folder: Path, values: dict[str, Any], **options: Any) -> Pretrained:
    path = folder / "config.json"
    path.write_text(json.dumps(values))
    return read_config(path, **options)


def named(found: Pretrained) -> dict[str, fi.Tensor]:
    return {tensor.name: tensor for tensor in found.tensors}


@pytest.mark.parametrize("model_type", TYPES)
def test_types(model_type: str, tmp_path: Path) -> None:
    """abs(z) < 6 for about 15 families of tensors a type: seeds are fixed; by chance 3e-6 for all together."""
    result = check_type(model_type, tmp_path)
    assert result["outcome"] == "right", result


# Distributions and names.


def test_bert(tmp_path: Path) -> None:
    """Devlin et al., 2019: normals of std 0.02, zero biases; transformers zeroes the padding row and ties the decoder."""
    found = named(read(tmp_path, {"model_type": "bert", "architectures": ["BertForMaskedLM"]}))
    words = found["bert.embeddings.word_embeddings.weight"]
    assert (words.shape, words.init, words.padding_idx) == ((30522, 768), NORMAL, 0)
    assert found["bert.encoder.layer.11.output.dense.weight"].init == NORMAL
    assert found["bert.encoder.layer.11.output.dense.bias"].init == fi.zeros
    assert found["bert.encoder.layer.11.output.LayerNorm.weight"].init == fi.ones
    assert "cls.predictions.decoder.weight" not in found
    assert sum(tensor.size for tensor in found.values()) == 109_514_298


def test_gpt2_narrows_its_residual_projections(tmp_path: Path) -> None:
    """Radford et al., 2019: by 1 / sqrt(2 n_layer)."""
    found = named(read(tmp_path, {"model_type": "gpt2"}, head="causal-lm"))
    projection = found["transformer.h.3.mlp.c_proj.weight"].init
    assert isinstance(projection, fi.Normal)
    assert projection.stddev == pytest.approx(0.02 / 24**0.5, rel=1e-15)
    assert found["transformer.h.3.mlp.c_fc.weight"].init == NORMAL
    assert sum(tensor.size for tensor in found.values()) == 124_439_808


def test_names_are_those_of_files_and_streams_those_of_modules(tmp_path: Path) -> None:
    found = named(read(tmp_path, {"model_type": "qwen3_moe", "num_hidden_layers": 1, "num_experts": 4, "hidden_size": 64, "moe_intermediate_size": 32}))  # fmt: skip
    up = found["layers.0.mlp.experts.2.up_proj.weight"]
    assert (up.shape, up.stream) == ((32, 64), "layers.0.mlp.experts.gate_up_proj")
    assert (up.whole_shape, up.index) == ((4, 64, 64), (2, slice(32, 64), slice(None)))
    module_names = [tensor.stream or tensor.name for tensor in found.values()]
    assert "layers.0.mlp.experts.down_proj" in module_names


def test_the_dtype_is_that_of_the_config_but_for_modules_kept_in_float32(tmp_path: Path) -> None:
    values = {"model_type": "deepseek_v3", **TINY_DEEPSEEK, "dtype": "bfloat16"}
    found = named(read(tmp_path, values, head="causal-lm"))
    wide = {name for name, tensor in found.items() if tensor.dtype == "float32"}
    assert wide == {
        "model.layers.1.mlp.gate.weight",
        "model.layers.1.mlp.gate.e_score_correction_bias",
    }
    assert {tensor.dtype for tensor in found.values()} == {"float32", "bfloat16"}
    assert found["model.layers.1.mlp.gate.weight"].init == NORMAL


def test_buffers_are_those_of_state_dicts(tmp_path: Path) -> None:
    found = named(read(tmp_path, {"model_type": "resnet", "depths": [1, 1, 1, 1]}))
    counters = [tensor for name, tensor in found.items() if name.endswith("num_batches_tracked")]
    assert counters
    assert all((one.dtype, one.shape, one.init) == ("int64", (), fi.zeros) for one in counters)
    llama = named(read(tmp_path, {"model_type": "llama", **SMALL}))
    assert not any("inv_freq" in name for name in llama)


TINY_DEEPSEEK = {
    "hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 128, "num_hidden_layers": 2,
    "first_k_dense_replace": 1, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
    "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16, "v_head_dim": 16, "vocab_size": 100,
}  # fmt: skip


def test_deepseek_v3_has_671_billion_parameters(tmp_path: Path) -> None:
    found = read(tmp_path, {"model_type": "deepseek_v3", "dtype": "bfloat16"}, head="causal-lm")
    assert round(sum(tensor.size for tensor in found.tensors) / 1e9) == 671


# Quantised configs.


def test_8_bit_floats_begin_as_the_layers_that_they_replace(tmp_path: Path) -> None:
    table = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    values = {
        "model_type": "deepseek_v3",
        **TINY_DEEPSEEK,
        "dtype": "bfloat16",
        "quantization_config": table,
    }
    found = read(tmp_path, values, head="causal-lm")
    tensors = named(found)
    expert = tensors["model.layers.1.mlp.experts.3.down_proj.weight"]
    assert (expert.dtype, expert.shape, expert.init) == ("float8_e4m3fn", (128, 128), NORMAL)
    scale = tensors["model.layers.1.mlp.experts.3.down_proj.weight_scale_inv"]
    assert (scale.dtype, scale.shape, scale.init) == ("float32", (1, 1), fi.ones)
    assert tensors["lm_head.weight"].dtype == "bfloat16"
    assert json.loads(found.files["config.json"])["quantization_config"]["quant_method"] == "fp8"
    fi.Model(found.tensors).write(tmp_path / "model.safetensors", seed=0)


def test_packed_integers_are_drawn_over_their_range(tmp_path: Path) -> None:
    values = {"model_type": "bitnet", **SMALL, "num_key_value_heads": 2, "dtype": "bfloat16", "quantization_config": {"quant_method": "bitnet"}}  # fmt: skip
    found = named(read(tmp_path, values, head="causal-lm"))
    up = found["model.layers.0.mlp.up_proj.weight"]
    assert (up.dtype, up.shape, up.init) == ("uint8", (16, 32), fi.RandomIntegers(0, 256))
    assert found["model.layers.0.mlp.up_proj.weight_scale"].init == fi.ones


def test_other_quantisations_are_refused(tmp_path: Path) -> None:
    values = {
        "model_type": "llama",
        **SMALL,
        "quantization_config": {"quant_method": "awq", "bits": 4},
    }
    with pytest.raises(
        ValueError, match="quant_method must be one of fp8, mxfp8, bitnet, got 'awq'"
    ):
        read(tmp_path, values)


# Classes.


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (None, "BertModel"),
        ("base", "BertModel"),
        ("masked-lm", "BertForMaskedLM"),
        ("sequence-classification", "BertForSequenceClassification"),
        ("BertForTokenClassification", "BertForTokenClassification"),
    ],
)
def test_heads(tmp_path: Path, head: str | None, name: str) -> None:
    found = read(tmp_path, {"model_type": "bert", **SMALL}, head=head)
    assert json.loads(found.files["config.json"])["architectures"] == [name]


def test_a_head_comes_before_architectures(tmp_path: Path) -> None:
    values = {"model_type": "bert", **SMALL, "architectures": ["BertForMaskedLM"]}
    assert "cls.predictions.bias" in named(read(tmp_path, values))
    assert "cls.predictions.bias" not in named(read(tmp_path, values, head="base"))


def test_a_part_of_a_model_has_a_class(tmp_path: Path) -> None:
    found = read(tmp_path, {"model_type": "llama4_vision_model"}, tiny=True)
    assert json.loads(found.files["config.json"])["architectures"] == ["Llama4VisionModel"]


def test_code_of_the_hub_that_transformers_replaced_is_not_run(tmp_path: Path) -> None:
    auto_map = {"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X"}
    with pytest.warns(UserWarning, match="the code that auto_map names is never run"):
        found = read(tmp_path, {"model_type": "llama", **SMALL, "auto_map": auto_map, "architectures": ["LlamaForCausalLM"]})  # fmt: skip
    assert "lm_head.weight" in named(found)


# Files.


@pytest.mark.parametrize("tiny", [False, True])
def test_files_beside_the_weights_are_those_of_save_pretrained(tmp_path: Path, tiny: bool) -> None:
    found = read(
        tmp_path,
        {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2},
        head="causal-lm",
        tiny=tiny,
    )
    config = transformers.GPT2Config(**json.loads(found.files["config.json"]))
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "saved")
    for name, data in found.files.items():
        assert (tmp_path / "saved" / name).read_bytes() == data
    assert sorted(found.files) == ["config.json", "generation_config.json"]


def test_a_module_is_described_as_its_config(tmp_path: Path) -> None:
    config = transformers.BertConfig(**SMALL)
    with record():
        model = transformers.BertModel(config)
    described = pretrained(model)
    assert described == read(tmp_path, {"model_type": "bert", **SMALL})
    tensors = fi.Model(described.tensors)
    init_module_(model, seed=5)
    weight = model.get_parameter("encoder.layer.0.output.dense.weight")
    made = tensors.make("encoder.layer.0.output.dense.weight", seed=5)
    assert torch.equal(weight, torch.from_numpy(made))


def test_tiny_models_keep_their_architecture(tmp_path: Path) -> None:
    whole = named(
        read(tmp_path, {"model_type": "qwen3_moe", "num_hidden_layers": 3}, head="causal-lm")
    )
    tiny = named(
        read(
            tmp_path,
            {"model_type": "qwen3_moe", "num_hidden_layers": 3},
            head="causal-lm",
            tiny=True,
        )
    )
    assert sum(tensor.nbytes for tensor in tiny.values()) <= 20_000_000
    assert {*tiny} < {*whole}


def test_a_nested_config_may_quantise_the_model(tmp_path: Path) -> None:
    """`from_pretrained` takes the quantization_config of the text's config where the model's has none."""
    small = {**SMALL, "model_type": "llama", "quantization_config": {"quant_method": "fp8"}}
    values = {"model_type": "llava", "text_config": small, "vision_config": {"model_type": "clip_vision_model", "num_hidden_layers": 1}}  # fmt: skip
    found = named(read(tmp_path, values))
    name = next(name for name in found if name.endswith("layers.1.mlp.up_proj.weight"))
    assert found[name].dtype == "float8_e4m3fn"
    assert found[f"{name}_scale_inv"].init == fi.ones
    small["quantization_config"] = {"quant_method": "awq"}
    refused(tmp_path, values, ValueError, "quant_method must be one of fp8, mxfp8, bitnet, got 'awq'")  # fmt: skip


# Errors.


def refused(folder: Path, values: Any, kind: type[Exception], match: str, **options: Any) -> None:
    with pytest.raises(kind, match=match):
        read(folder, values, **options)


def test_files_that_are_no_configs(tmp_path: Path) -> None:
    refused(tmp_path, [1], TypeError, "must hold a table of keys, got")
    refused(tmp_path, {}, ValueError, "model_type must be a type of transformers .*, got None")
    refused(tmp_path, {"model_type": "bret"}, ValueError, "got 'bret'; near names: .*'bert'")
    refused(
        tmp_path, {"model_type": ["bert"]}, ValueError, "model_type must be a type of transformers"
    )
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        read_config(tmp_path)
    with pytest.raises(OSError, match="missing"):
        read_config(tmp_path / "missing.json")


def test_code_from_elsewhere_is_refused(tmp_path: Path) -> None:
    auto_map = {"AutoModel": "modeling_mine.Mine"}
    match = "which is never run"
    refused(tmp_path, {"model_type": "mine", "auto_map": auto_map}, ValueError, match)
    refused(
        tmp_path,
        {"model_type": "llama", "auto_map": auto_map, "architectures": ["Mine"]},
        ValueError,
        match,
    )


def test_transformers_own_class_stands_for_code_from_elsewhere(tmp_path: Path) -> None:
    """As in the config of DeepSeek-V3: its code is not run, which is said; names of tokenizers do not matter."""
    values = {"model_type": "llama", **SMALL, "architectures": ["LlamaForCausalLM"]}
    plain = read(tmp_path, values)
    with pytest.warns(UserWarning, match="code that auto_map names is never run: the model is LlamaForCausalLM of transformers 5"):  # fmt: skip
        found = read(tmp_path, {**values, "auto_map": {"AutoModelForCausalLM": "mine.Mine"}})
    assert found.tensors == plain.tensors
    read(tmp_path, {**values, "auto_map": {"AutoTokenizer": ["mine.Tokenizer", None]}})


def test_unknown_classes_are_refused(tmp_path: Path) -> None:
    bert = {"model_type": "bert", **SMALL}
    refused(tmp_path, {**bert, "architectures": ["BertForMaskedML"]}, ValueError, r"architectures\[0\] must be a model class .* near names: 'BertForMaskedLM'")  # fmt: skip
    refused(
        tmp_path, {**bert, "architectures": ["BertConfig"]}, ValueError, "must be a model class"
    )
    refused(tmp_path, {"model_type": "t5", "architectures": ["WithLM"]}, ValueError, "got 'WithLM'; expected one of T5Model, .*T5ForConditionalGeneration")  # fmt: skip
    refused(tmp_path, {**bert, "architectures": ["GPT2Model"]}, ValueError, "GPT2Model, takes a GPT2Config; model_type 'bert' gives a BertConfig")  # fmt: skip
    refused(
        tmp_path,
        {**bert, "architectures": "BertModel"},
        TypeError,
        "architectures must be a list of names",
    )
    refused(
        tmp_path, bert, ValueError, "The heads of 'bert' are base, .*masked-lm", head="causal-ml"
    )
    refused(tmp_path, bert, TypeError, "head must be a text, got 3", head=3)
    refused(
        tmp_path,
        {"model_type": "sam_prompt_encoder"},
        ValueError,
        "no model class of model_type 'sam_prompt_encoder'",
    )


def test_constructors_that_fail_are_named(tmp_path: Path) -> None:
    refused(tmp_path, {"model_type": "bert", **SMALL, "num_attention_heads": 5}, ValueError, "transformers cannot build BertModel: ValueError: .*attention heads")  # fmt: skip
    refused(tmp_path, {"model_type": "bert", "hidden_size": "wide"}, ValueError, "transformers cannot build the config of model_type 'bert'")  # fmt: skip
    refused(tmp_path, {"model_type": "bert", **SMALL, "dtype": "float99"}, ValueError, "float99")
    refused(tmp_path, {"model_type": "bert", **SMALL, "vocab_size": 10**25}, ValueError, "BertModel: TypeError: .*Overflow when unpacking long long$")  # fmt: skip


def test_the_network_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    read(tmp_path, {"model_type": "llama", **SMALL, "_name_or_path": "meta-llama/Llama-3.1-8B", "attn_implementation": "kernels-community/flash-attn3"})  # fmt: skip


def test_torchs_generator_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    read(tmp_path, {"model_type": "bert", **SMALL}, tiny=True)
    assert torch.equal(torch.get_rng_state(), before)
