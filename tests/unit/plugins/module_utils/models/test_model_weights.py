# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The weights of a model: against vLLM's own code, against Transformers' models, against published sizes."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.models.safetensors import Tensor

from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.models.builders import fixture, ranked

VLLM = fixture("vllm_weights.json")["models"]
FAMILIES = fixture("families.json")["families"]
CONFIGS = fixture("configs.json")

# Total parameters as published count prediction layers for these.
WITH_PREDICTION = ("qwen3_5", "qwen3_5_moe", "glm_moe_dsa")
# Why a config of the table is not held against its published size.
NOT_COMPARED = {
    "mistralai/Ministral-3-14B-Instruct-2512": "the config lacks the vision tower",
    "MERaLiON/MERaLiON-2-10B-ASR": "the config lacks the audio tower",
    "Launch80/Qwen3.8-27B-PARO-MXFP4": "the config lacks the vision tower and the prediction layer",
    "deepseek-ai/DeepSeek-V4-Flash": "an architecture without formulas here: sized generically, with a warning",
    "deepseek-ai/DeepSeek-V4-Flash-0731": "the same",
}
INCOMPLETE = {"mistralai/Mistral-Small-4-119B-2603": "qk_nope_head_dim"}


@pytest.mark.parametrize("name", sorted(VLLM))
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_bytes_per_rank_are_vllms(name: str, ranks: int) -> None:
    facts = facts_from_config(VLLM[name]["config"])
    assert ranked(facts, ranks) == VLLM[name]["weight_bytes_per_rank"][str(ranks)]


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("Qwen/Qwen2-7B-Instruct", 7615616512),
        ("meta-llama/Llama-3.1-8B-Instruct", 8030261248),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", 70553706496),
        ("deepseek-ai/DeepSeek-R1", 671026419200),
        ("Qwen/Qwen3-30B-A3B", 30532122624),
    ],
)
def test_parameters_are_vllms(name: str, parameters: int) -> None:
    assert facts_from_config(CONFIGS[name]["config"])["parameters"] == parameters


def tensors_of(family: str) -> t.List[Tensor]:
    found = []
    for name, shape, layers in FAMILIES[family]["tensors"]:
        size = 2
        for length in shape:
            size *= length
        for layer in layers or [None]:
            found.append(
                Tensor(name if layer is None else name.replace("#", str(layer), 1), "bfloat16", tuple(shape), size)
            )
    return found


def by_sharding(facts: dict) -> t.Dict[str, int]:
    sums: t.Dict[str, int] = {}
    for group in facts["tensor_groups"]:
        count = len(group["layers"]) if group["place"] == "layers" else 1
        key = "skipped" if group["place"] == "skipped" else group["sharding"]
        sums[key] = sums.get(key, 0) + group["parameters"] * count
    return sums


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_formulas_and_names_agree_with_transformers(family: str) -> None:
    tensors = tensors_of(family)
    config = dict(FAMILIES[family]["config"], dtype="bfloat16")
    by_formula = facts_from_config(config)
    by_name = facts_from_config(config, tensors={"model.safetensors": tensors})
    total = sum(tensor.count() for tensor in tensors)
    assert by_formula["parameters"] == total
    assert by_name["parameters"] == total
    assert by_sharding(by_formula) == by_sharding(by_name)
    assert by_name["weight_bytes"]["total"] == 2 * total
    assert by_name["warnings"] == []


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - set(INCOMPLETE)))
def test_published_sizes(name: str) -> None:
    facts = facts_from_config(CONFIGS[name]["config"])
    assert facts["layers"]["total"] == len(facts["layer_kinds"])
    published = CONFIGS[name]["billion_parameters"]
    if name in NOT_COMPARED:
        assert not published or abs(facts["parameters"] / 1e9 / published - 1) < 0.1
        return
    parameters = facts["parameters"]
    if facts["model_type"] in WITH_PREDICTION:
        parameters += sum(group["parameters"] for group in facts["tensor_groups"] if group["place"] == "skipped")
    assert parameters / 1e9 == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("name, key", sorted(INCOMPLETE.items()))
def test_incomplete_config_names_the_key(name: str, key: str) -> None:
    with pytest.raises(Exception, match="has no " + key):
        facts_from_config(CONFIGS[name]["config"])


@pytest.mark.parametrize(
    "name, gib",
    [
        ("Intel/gemma-4-31B-it-int4-AutoRound", 58.25),
        ("MiniMaxAI/MiniMax-M2.7 (quantized)", None),
        ("gemma3:27b", 51.10),
        ("microsoft/Phi-4-mini-instruct (fine-tuned merge)", 7.15),
        ("unsloth/phi-4-bnb-4bit", 27.31),
    ],
)
def test_file_sizes_of_16_bit_checkpoints(name: str, gib: t.Optional[float]) -> None:
    facts = facts_from_config(CONFIGS[name]["config"])
    assert facts["weight_bytes"]["total"] >= 2 * facts["parameters"]
    if gib:
        assert facts["weight_bytes"]["total"] / 2**30 == pytest.approx(gib, abs=0.01)


def test_routers_that_vllm_keeps_in_32_bits() -> None:
    facts = facts_from_config(CONFIGS["MiniMaxAI/MiniMax-M2.7 (quantized)"]["config"])
    router = next(group for group in facts["tensor_groups"] if group["name"] == "moe.router")
    assert router["loaded_bytes"] == 2 * router["bytes"] == 4 * router["parameters"]


def test_keys_that_are_values_are_held_twice() -> None:
    facts = facts_from_config(CONFIGS["Intel/gemma-4-31B-it-int4-AutoRound"]["config"])
    kv = {group["heads"]: group for group in facts["tensor_groups"] if group["name"] == "attention.kv"}
    assert kv[16]["loaded_bytes"] == kv[16]["bytes"]
    assert kv[4]["loaded_bytes"] == 2 * kv[4]["bytes"]
    assert facts["per_layer"]["5"] == {"attention_heads": 32, "kv_heads": 4, "head_size": 512, "value_head_size": 512}


def test_32_bit_checkpoints_run_in_16() -> None:
    config = dict(VLLM["Llama-3.1-8B"]["config"], torch_dtype="float32")
    facts = facts_from_config(config)
    assert facts["weight_bytes"]["total"] == 4 * facts["parameters"]
    assert ranked(facts, 1) == 2 * facts["parameters"]


def test_prediction_layers_are_skipped() -> None:
    facts = facts_from_config(CONFIGS["deepseek-ai/DeepSeek-R1"]["config"])
    skipped = [group for group in facts["tensor_groups"] if group["place"] == "skipped"]
    assert facts["extra_layers"] == 1
    assert (facts["parameters"] + skipped[0]["parameters"]) / 1e9 == pytest.approx(684.5, abs=0.1)


def test_the_input_index_of_gptq_is_stored_and_not_loaded() -> None:
    """vLLM discards g_idx (get_checkpoint_weight_mapper in layers/quantization/base_config.py)."""
    config = dict(
        VLLM["Llama-3.1-8B"]["config"], quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128}
    )
    hidden = config["hidden_size"]
    name = "model.layers.0.self_attn.o_proj."
    tensors = [
        Tensor(name + "qweight", "int32", (hidden // 8, hidden), hidden * hidden // 2),
        Tensor(name + "g_idx", "int32", (hidden,), hidden * 4),
    ]
    for facts in (facts_from_config(config), facts_from_config(config, tensors={"model.safetensors": tensors})):
        groups = [group for group in facts["tensor_groups"] if group["name"] == "attention.o"]
        assert sum(group["bytes"] - group["loaded_bytes"] for group in groups) == hidden * 4


def test_small_tables_of_encoders_are_padded() -> None:
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 128, "intermediate_size": 512,
        "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 1024, "max_position_embeddings": 512,
        "type_vocab_size": 2, "torch_dtype": "float16",
    }  # fmt: skip
    tensors = [Tensor("embeddings.token_type_embeddings.weight", "float16", (2, 128), 512)]
    by_formula = facts_from_config(config)["tensor_groups"]
    by_name = facts_from_config(config, tensors={"model.safetensors": tensors})["tensor_groups"]
    assert [group["loaded_bytes"] for group in by_formula if group["name"] == "embed.types"] == [64 * 128 * 2]
    assert [group["loaded_bytes"] for group in by_name] == [64 * 128 * 2]
