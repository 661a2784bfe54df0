"""Small configs of the same architecture, by the names of their fields."""

from __future__ import annotations

from typing import Any

from fastinit.shrink import TRIES, shrink

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128009],
    "pad_token_id": None,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}


def weights(config: dict[str, Any]) -> int:
    """The bytes of a Llama in float32, roughly: embeddings, and matrices of each layer."""
    width, heads = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    layer = 4 * width * heads + 3 * width * config["intermediate_size"]
    return 4 * (2 * config["vocab_size"] * width + config["num_hidden_layers"] * layer)


def test_widths_heads_and_layers_stay_in_proportion() -> None:
    small = shrink(LLAMA, weights, 20_000_000)
    assert small is not None
    assert weights(small) <= 20_000_000
    assert small["hidden_size"] == small["num_attention_heads"] * small["head_dim"]
    assert small["intermediate_size"] / small["hidden_size"] == 14336 / 4096
    assert small["num_hidden_layers"] == 2
    assert LLAMA["num_hidden_layers"] == 32  # the config given is left alone


def test_other_fields_stay() -> None:
    small = shrink(LLAMA, weights, 20_000_000)
    assert small is not None
    assert {k: small[k] for k in ("model_type", "rms_norm_eps", "hidden_act", "tie_word_embeddings")} == {
        "model_type": "llama",
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }  # fmt: skip


def test_tokens_lie_in_the_vocabulary_and_differ() -> None:
    small = shrink(LLAMA, weights, 20_000_000)
    assert small is not None
    tokens = [small["bos_token_id"], *small["eos_token_id"]]
    assert len({*tokens}) == 3
    assert all(0 <= token < small["vocab_size"] for token in tokens)
    assert small["pad_token_id"] is None


def test_fewer_heads_where_their_width_is_fixed() -> None:
    small = shrink(LLAMA, lambda c: weights(c) if c["head_dim"] == 128 else None, 20_000_000)
    assert small is not None
    assert small["head_dim"] == 128
    assert small["hidden_size"] == small["num_attention_heads"] * 128
    assert small["num_key_value_heads"] >= 1


def test_all_kinds_of_layers_stay() -> None:
    kinds = ["conv", "conv", "full_attention"] * 8
    config = {"num_hidden_layers": 24, "layer_types": kinds, "hidden_size": 64}
    small = shrink(config, lambda c: 1, 1)
    assert small is not None
    assert small["num_hidden_layers"] == 3
    assert small["layer_types"] == ["conv", "conv", "full_attention"]


def test_periods_of_layers_stay() -> None:
    config = {"num_hidden_layers": 32, "attn_layer_period": 8, "attn_layer_offset": 4}
    small = shrink(config, lambda c: 1, 1)
    assert small == {"num_hidden_layers": 8, "attn_layer_period": 8, "attn_layer_offset": 4}


def test_indices_of_layers_follow_the_layers() -> None:
    config = {"depth": 24, "out_indices": [5, 11, 17, 23], "out_features": ["stage6"]}
    small = shrink(config, lambda c: 1, 1)
    assert small == {"depth": 5, "out_indices": [1, 2, 3, 4]}


def test_tables_of_layers_follow_the_layers() -> None:
    by_layer = {3: {"hidden_size": 64}, "4": {"hidden_size": 128}, 5: {"hidden_size": 64}}
    small = shrink({"num_hidden_layers": 6, "per_layer_config": by_layer}, lambda c: 1, 1)
    assert small == {"num_hidden_layers": 4, "per_layer_config": {3: {"hidden_size": 4}}}


def test_stages_stay() -> None:
    config = {"depths": [2, 2, 18, 2], "embed_dim": 96, "num_heads": [3, 6, 12, 24]}
    small = shrink(config, lambda c: 1, 1)
    assert small == {"depths": [2, 2, 2, 2], "embed_dim": 6, "num_heads": [3, 6, 12, 24]}


def test_few_experts_stay_in_groups() -> None:
    config = {"n_routed_experts": 256, "n_group": 8, "topk_group": 4, "num_experts_per_tok": 8}
    small = shrink(config, lambda c: 1, 1)
    assert small == {"n_routed_experts": 8, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2}


def test_sections_of_a_width_add_up() -> None:
    config = {"head_dim": 128, "rope_parameters": {"mrope_section": [22, 22, 20]}}
    small = shrink(config, lambda c: 1, 1)
    assert small is not None
    assert sum(small["rope_parameters"]["mrope_section"]) == small["head_dim"] // 2


def test_nested_configs_and_other_tables() -> None:
    config = {
        "text_config": {"hidden_size": 1024, "vocab_size": 32000},
        "id2label": {0: "hidden_size", 1: "b"},
        "projector": {1225: 128},
        "image_token_id": 31999,
    }
    small = shrink(config, lambda c: 1, 1)
    assert small == {
        "text_config": {"hidden_size": 64, "vocab_size": 1024},
        "id2label": {0: "hidden_size", 1: "b"},
        "projector": {1225: 128},
        "image_token_id": 1023,
    }


def test_numbers_of_unknown_names_are_reduced_together() -> None:
    def measure(config: dict[str, Any]) -> int | None:
        return config["alpha"] * config["beta"] if config["alpha"] == config["gamma"] else None

    small = shrink({"alpha": 512, "beta": 512, "gamma": 512, "delta": 3}, measure, 100)
    assert small is not None
    assert measure(small) is not None
    assert small["alpha"] * small["beta"] <= 100
    assert small["delta"] == 3


def test_the_search_ends() -> None:
    tried: list[dict[str, Any]] = []

    def measure(config: dict[str, Any]) -> int | None:
        tried.append(config)
        return None

    assert shrink(LLAMA, measure, 20_000_000) is None
    assert len(tried) <= TRIES
    assert shrink({"a": 1}, lambda config: 10**9, 1) is None
