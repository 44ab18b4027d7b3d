# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a config.json says about layers, heads, context and quantization."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.models.patterns import ModuleList
from ansible_collections.gpufleet.llm.plugins.module_utils.models.quantization import read_quantization

from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.models.builders import CONFIG, fixture

CONFIGS = fixture("configs.json")


def facts(**changes: t.Any) -> dict:
    config = dict(CONFIG, **changes)
    return facts_from_config({key: value for key, value in config.items() if value is not None})


@pytest.mark.parametrize(
    "changes, length, default",
    [
        ({}, 512, None),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 2048, None),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, 1024, None),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 512, None),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}}, 512, None),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, 1024, None),
        ({"rope_scaling": {"rope_type": "linear", "factor": None}}, 512, None),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 64}, 512, 64),
        ({"model_max_length": 4096}, 4096, None),
        ({"max_position_embeddings": None}, 2048, None),
        ({"model_type": "gemma3_text", "rope_scaling": {"rope_type": "linear", "factor": 8.0}}, 512, None),
    ],
)
def test_context(changes: dict, length: int, default: t.Optional[int]) -> None:
    found = facts(**changes)
    assert found["max_position"] == length
    assert found["default_context"] == default


@pytest.mark.parametrize(
    "changes, kinds, window",
    [
        ({}, "ffffffff", None),
        ({"model_type": "mistral", "sliding_window": 64}, "ssssssss", 64),
        ({"model_type": "mistral", "sliding_window": None}, "ffffffff", None),
        ({"sliding_window": 0}, "ffffffff", None),
        ({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": False}, "ffffffff", None),
        ({"model_type": "qwen2", "sliding_window": 64}, "ffffffff", None),
        (
            {"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": True, "max_window_layers": 0},
            "ssssssss",
            64,
        ),
        (
            {"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": True, "max_window_layers": 8},
            "ffffffff",
            None,
        ),
        ({"model_type": "gemma2", "sliding_window": 64}, "sfsfsfsf", 64),
        ({"model_type": "gemma3_text", "sliding_window": 64}, "sssssfss", 64),
        ({"model_type": "gemma3_text", "sliding_window": 64, "sliding_window_pattern": 2}, "sfsfsfsf", 64),
        ({"model_type": "cohere2", "sliding_window": 64}, "sssfsssf", 64),
        ({"model_type": "exaone4", "sliding_window": 64, "sliding_window_pattern": "LLG"}, "ssfssfss", 64),
        (
            {"sliding_window": 64, "layer_types": ["full_attention", "sliding_attention"] * 4},
            "fsfsfsfs",
            64,
        ),
        ({"model_type": "llama4_text", "attention_chunk_size": 32, "num_local_experts": 2}, "cccfcccf", None),
        (
            {"model_type": "minimax_m1", "attn_type_list": [0, 1] * 4, "mamba_num_heads": 2, "mamba_head_dim": 32},
            "lflflflf",
            None,
        ),
        ({"model_type": "bert"}, "nnnnnnnn", None),
    ],
)
def test_layer_kinds(changes: dict, kinds: str, window: t.Optional[int]) -> None:
    found = facts(num_hidden_layers=8, **changes)
    assert "".join(kind[0] for kind in found["layer_kinds"]) == kinds
    assert found["sliding_window"] == window
    assert found["layers"]["total"] == 8
    assert found["layers"]["sliding"] == kinds.count("s")


def test_nested_text_config_and_root_keys() -> None:
    nested = {key: value for key, value in CONFIG.items() if key not in ("architectures", "torch_dtype")}
    found = facts_from_config(
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "model_type": "some_vl",
            "torch_dtype": "torch.float16",
            "text_config": nested,
            "vision_config": {"hidden_size": 8},
        }
    )
    assert (found["architecture"], found["dtype"]) == ("LlavaForConditionalGeneration", "float16")
    assert found["multimodal"] and found["modalities"] == ["text", "image"]
    assert any("vision tower's weights are not counted" in text for text in found["warnings"])


def test_head_size() -> None:
    assert facts()["head_size"] == 16
    assert facts(head_dim=32)["head_size"] == 32
    assert facts(head_dim=None)["head_size"] == 16


def test_latent_attention_with_and_without_an_index() -> None:
    plain = facts_from_config(CONFIGS["deepseek-ai/DeepSeek-R1"]["config"])
    assert plain["layers"]["mla"] == 61
    assert (plain["mla"]["kv_lora_rank"], plain["mla"]["qk_rope_head_size"]) == (512, 64)
    assert plain["mla"]["index_layers"] == []
    sparse = facts_from_config(CONFIGS["zai-org/GLM-5.2-FP8"]["config"])
    assert sparse["mla"]["index_head_size"] == 128
    assert sparse["mla"]["index_layers"][:4] == [0, 1, 2, 6]


def test_experts() -> None:
    moe = facts_from_config(CONFIGS["deepseek-ai/DeepSeek-R1"]["config"])["moe"]
    assert (moe["experts"], moe["experts_per_token"], moe["shared_experts"]) == (256, 8, 1)
    assert moe["layers"] == list(range(3, 61))
    assert moe["shared_intermediate_size"] == 2048


def test_linear_attention() -> None:
    found = facts_from_config(CONFIGS["Qwen/Qwen3-Next-80B-A3B-Instruct W4A16"]["config"])
    assert (found["layers"]["linear"], found["layers"]["full"]) == (36, 12)
    assert found["linear_attention"]["variant"] == "gdn"
    assert found["linear_attention"]["value_heads"] == 32


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_missing_key_is_named(key: str) -> None:
    with pytest.raises(GpufleetError, match="has no %s" % key) as caught:
        facts(**{key: None})
    assert caught.value.details == {"missing_key": key}


@pytest.mark.parametrize("value", ["many", -1, 2.5, True])
def test_nonsense_values_are_named(value: t.Any) -> None:
    with pytest.raises(GpufleetError, match="num_hidden_layers"):
        facts(num_hidden_layers=value)


def test_unknown_type_says_what_was_assumed() -> None:
    found = facts(model_type="never_heard_of")
    assert any("'never_heard_of' is not known" in text for text in found["warnings"])
    assert found["parameters"] == facts()["parameters"]


def test_embedding_models() -> None:
    assert facts()["task"] == "generate"
    assert facts(architectures=["Qwen2Model"])["task"] == "embed"


def quantized(settings: dict, **changes: t.Any) -> dict:
    return facts(quantization_config=settings, **changes)


def matrix(found: dict, name: str) -> dict:
    return next(group for group in found["tensor_groups"] if group["name"] == name)


# The down projection has 128 inputs and 64 outputs: 8192 numbers.
@pytest.mark.parametrize(
    "settings, size, bits, group_size",
    [
        ({"quant_method": "fp8", "weight_block_size": [64, 64]}, 8192 + 2 * 4, 8, None),
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, 8192 + 4, 8, None),
        ({"quant_method": "fp8", "activation_scheme": "static"}, 8192 + 8, 8, None),
        ({"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True}, 4096 + 256 * 2 + 128, 4, 32),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, 4096 + 256 * 2 + 128 + 128 * 4, 4, 32),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, 8192 + 64 * 2 + 64 + 128 * 4, 8, -1),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 32}, 4096 + 256 * 2 + 128, 4, 32),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {
                    "group_0": {
                        "targets": ["Linear"],
                        "weights": {
                            "num_bits": 4,
                            "type": "int",
                            "group_size": 32,
                            "strategy": "group",
                            "symmetric": True,
                        },
                    }
                },
            },
            4096 + 256 * 2 + 16,
            4,
            32,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {
                        "targets": ["Linear"],
                        "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
                    }
                },
            },
            8192 + 64 * 4,
            8,
            -1,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "nvfp4-pack-quantized",
                "config_groups": {
                    "group_0": {
                        "targets": ["Linear"],
                        "input_activations": {"num_bits": 4},
                        "weights": {"num_bits": 4, "type": "float", "group_size": 16, "strategy": "tensor_group"},
                    }
                },
            },
            4096 + 512 + 8,
            4,
            16,
        ),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4096 + 512 + 8, 4, 16),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, 8192 + 8, 8, None),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8192 + 64 * 4, 8, -1),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4096 + 128 * 64 // 64 * 4 + 150, 4, 64),
    ],
)
def test_quantized_matrices(settings: dict, size: int, bits: int, group_size: t.Optional[int]) -> None:
    found = quantized(settings)
    down = matrix(found, "mlp.down")
    assert down["bytes"] == size
    assert down["quantized"] and down["dims"] == {"in": 128, "out": 64}
    assert down["parameters"] == 8192
    assert (found["quantization"]["bits"], found["quantization"]["group_size"]) == (bits, group_size)
    assert not matrix(found, "embed")["quantized"]
    assert not matrix(found, "lm_head")["quantized"]


def test_listed_modules_stay_as_they_are() -> None:
    found = quantized(
        {
            "quant_method": "fp8",
            "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.down_proj", "self_attn"],
        }
    )
    downs = {group["layers"][0]: group for group in found["tensor_groups"] if group["name"] == "mlp.down"}
    assert not downs[0]["quantized"] and downs[1]["quantized"]
    assert not matrix(found, "attention.q")["quantized"]
    assert found["quantization"]["unquantized"][0] == "lm_head"


@pytest.mark.parametrize(
    "pattern, module, expected",
    [
        ("lm_head", "model.layers.1.mlp.down_proj", False),
        ("model.layers.1.mlp", "model.layers.1.mlp.down_proj", True),
        ("model.layers.1.mlp", "model.layers.11.mlp.down_proj", False),
        ("mlp.down_proj", "model.layers.1.mlp.down_proj", True),
        ("re:.*self_attn.*", "model.layers.1.self_attn.q_proj", True),
        ("re:.*self_attn.*", "model.layers.1.mlp.down_proj", False),
        ("re:model.language_model.layers.1.*", "model.layers.1.mlp.down_proj", True),
        ("re:(unclosed", "model.layers.1.mlp.down_proj", False),
        ("model.language_model.layers.1.self_attn*", "model.layers.1.self_attn.q_proj", True),
        ("model.layers.*.self_attn", "model.layers.7.self_attn.q_proj", True),
        ("model.layers.*.self_attn", "model.layers.7.mlp.down_proj", False),
    ],
)
def test_module_lists(pattern: str, module: str, expected: bool) -> None:
    assert (module in ModuleList([pattern])) is expected


def test_only_experts_are_mxfp4() -> None:
    found = facts_from_config(CONFIGS["openai/gpt-oss-120b"]["config"])
    assert {group["name"] for group in found["tensor_groups"] if group["quantized"]} == {"moe.experts"}
    assert found["weight_bytes"]["total"] == 65248815744  # the model card's 60.8 GiB


def test_modelopts_own_file() -> None:
    other = {
        "producer": {"name": "modelopt"},
        "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]},
    }
    found = facts_from_config(dict(CONFIG), other)
    assert found["quantization"]["method"] == "modelopt"
    assert found["quantization"]["kv_cache_dtype"] == "fp8"
    assert matrix(found, "mlp.down")["dtype"] == "float8_e4m3fn"


def test_mixed_auto_round() -> None:
    read = read_quantization(
        {
            "quantization_config": {
                "quant_method": "auto-round",
                "bits": 4,
                "group_size": 128,
                "extra_config": {"model.layers.0.mlp.down_proj": {"bits": 16}, "model.layers.1.mlp": {"bits": 8}},
            }
        }
    )
    assert read is not None
    assert read.scheme("model.layers.0.mlp.down_proj") is None
    assert read.scheme("model.layers.1.mlp.up_proj").bits == 8  # type: ignore[union-attr]
    assert read.scheme("model.layers.2.mlp.up_proj").bits == 4  # type: ignore[union-attr]


def test_unknown_method_says_so() -> None:
    found = quantized({"quant_method": "secret_sauce"})
    assert any("'secret-sauce' is not known" in text for text in found["warnings"])


@pytest.mark.parametrize("settings, words", [([4], "a list"), ({"quant_method": "awq", "bits": 4}, "no group_size")])
def test_broken_quantization(settings: t.Any, words: str) -> None:
    with pytest.raises(GpufleetError, match=words):
        quantized(settings)


def test_kimi_linear() -> None:
    found = facts(
        model_type="kimi_linear",
        num_hidden_layers=4,
        num_key_value_heads=4,
        kv_lora_rank=32,
        q_lora_rank=None,
        qk_nope_head_dim=16,
        qk_rope_head_dim=8,
        v_head_dim=16,
        num_experts=4,
        moe_intermediate_size=32,
        first_k_dense_replace=1,
        linear_attn_config={"kda_layers": [1, 2, 3], "num_heads": 4, "head_dim": 16, "short_conv_kernel_size": 4},
    )
    assert found["layer_kinds"] == ["linear", "linear", "linear", "mla"]
    assert found["linear_attention"]["variant"] == "kda"
    assert found["warnings"] == []


def test_compressed_caches_are_not_taken_for_windows() -> None:
    found = facts_from_config(CONFIGS["deepseek-ai/DeepSeek-V4-Flash"]["config"])
    assert (found["layers"]["full"], found["sliding_window"]) == (43, None)
    assert any("compress_ratios" in text for text in found["warnings"])
