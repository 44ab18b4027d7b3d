# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A GGUF header in the words of a config.json, so that one reader of shapes serves both; and what its tensors are."""

from __future__ import annotations

import re
import typing as t

from ..errors import GpufleetError
from .gguf import FILE_TYPES, ArrayLength, GgufHeader
from .names import Place

# general.architecture -> model_type, where they differ by more than a dash.
_MODEL_TYPES = {
    "qwen2moe": "qwen2_moe",
    "qwen2vl": "qwen2_vl",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen3vl": "qwen3_vl",
    "qwen3vlmoe": "qwen3_vl_moe",
    "qwen35": "qwen3_5",
    "qwen35moe": "qwen3_5_moe",
    "deepseek2": "deepseek_v2",
    "glm4moe": "glm4_moe",
    "gptneox": "gpt_neox",
    "command-r": "cohere",
    "phi2": "phi",
    "granitehybrid": "granitemoehybrid",
    "nemotron_h_moe": "nemotron_h",
    "hunyuan-dense": "hunyuan_v1_dense",
    "hunyuan-moe": "hunyuan_v1_moe",
    "bert": "bert",
}
# GGUF key -> config.json key.
_KEYS = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "leading_dense_block_count": "first_k_dense_replace",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "attention.sliding_window": "sliding_window",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.chunk_size": "attention_chunk_size",
    "embedding_length_per_layer_input": "hidden_size_per_layer_input",
    "full_attention_interval": "full_attention_interval",
    "nextn_predict_layers": "num_nextn_predict_layers",
    "ssm.conv_kernel": "conv_kernel",
    "ssm.state_size": "ssm_state_size",
    "ssm.group_count": "n_groups",
    "shortconv.l_cache": "conv_L_cache",
}


def config_of(header: GgufHeader, name: str) -> dict:
    """The header as a config.json would say it. ``name`` is for messages."""
    architecture = header.metadata.get("general.architecture")
    if not architecture:
        raise GpufleetError(
            "%s has no general.architecture: its metadata is in another file of the set (the first of a split model "
            "carries it), or it is not a language model." % name
        )
    kind = header.metadata.get("general.type")
    if architecture == "clip" or kind in ("mmproj", "adapter", "imatrix"):
        raise GpufleetError(
            "%s is a %s, not a language model: name the model's own GGUF file." % (name, kind or architecture)
        )
    model_type = _MODEL_TYPES.get(architecture, str(architecture).replace("-", "_"))
    config: t.Dict[str, t.Any] = {"model_type": model_type, "architectures": [architecture], "dtype": "float16"}
    for key, ours in _KEYS.items():
        value = header.get(key)
        if value is not None:
            config[ours] = value
    config.update(_sizes(header))
    config["vocab_size"] = _vocabulary(header, name)
    config["tie_word_embeddings"] = not any(tensor.name == "output.weight" for tensor in header.tensors)
    _rope(header, config)
    count = int(config.get("num_hidden_layers") or 0)
    extra = int(config.get("num_nextn_predict_layers") or 0)
    config["num_hidden_layers"] = count - extra  # GGUF counts the prediction layers in
    config["layer_types"] = _kinds(header, config)
    if config["layer_types"] is None:
        del config["layer_types"]
    return config


def _sizes(header: GgufHeader) -> t.Dict[str, t.Any]:
    heads = header.get("attention.head_count", 0)
    kv_heads = header.get("attention.head_count_kv", heads)
    sizes: t.Dict[str, t.Any] = {
        "num_attention_heads": max(heads) if isinstance(heads, list) else heads,
        "num_key_value_heads": max(kv_heads) if isinstance(kv_heads, list) else kv_heads,
        "intermediate_size": header.get("feed_forward_length", 0),
    }
    if isinstance(sizes["intermediate_size"], list):
        sizes["intermediate_size"] = max(sizes["intermediate_size"])
    length = header.get("attention.key_length")
    if header.get("attention.kv_lora_rank"):
        rope = header.get("rope.dimension_count", 64)
        full = header.get("attention.key_length_mla", length)
        sizes["qk_rope_head_dim"] = rope
        sizes["qk_nope_head_dim"] = (full or rope) - rope
        sizes["v_head_dim"] = header.get("attention.value_length_mla", header.get("attention.value_length"))
    elif length:
        sizes["head_dim"] = length
    inner, rank = header.get("ssm.inner_size"), header.get("ssm.time_step_rank")
    if inner and header.metadata.get("general.architecture") in ("qwen3next", "qwen35", "qwen35moe"):
        state, groups = header.get("ssm.state_size"), header.get("ssm.group_count")
        sizes.update(
            linear_conv_kernel_dim=header.get("ssm.conv_kernel"),
            linear_num_key_heads=groups,
            linear_num_value_heads=rank,
            linear_key_head_dim=state,
            linear_value_head_dim=inner // rank,
        )
    elif inner and rank:
        sizes.update(mamba_num_heads=rank, mamba_head_dim=inner // rank)
    return sizes


def _vocabulary(header: GgufHeader, name: str) -> int:
    size = header.get("vocab_size")
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if size is None and isinstance(tokens, ArrayLength):
        size = tokens.length
    if size is None and isinstance(tokens, list):
        size = len(tokens)
    if size is None:
        size = next((tensor.shape[0] for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    if size is None:
        raise GpufleetError("%s names neither a vocabulary size nor tokens." % name)
    return int(size)


def _rope(header: GgufHeader, config: dict) -> None:
    """Scaled lengths are in context_length already, except for plain linear scaling."""
    kind, factor = header.get("rope.scaling.type"), header.get("rope.scaling.factor")
    if kind and factor:
        config["rope_scaling"] = {"rope_type": "llama3" if kind == "linear" else kind, "factor": factor}


def _kinds(header: GgufHeader, config: dict) -> t.Optional[t.List[str]]:
    count = config["num_hidden_layers"]
    pattern = header.get("attention.sliding_window_pattern")
    if isinstance(pattern, list) and len(pattern) >= count:
        return ["sliding_attention" if slides else "full_attention" for slides in pattern[:count]]
    heads = header.get("attention.head_count_kv")
    if isinstance(heads, list) and len(heads) >= count and header.get("ssm.conv_kernel"):
        return ["full_attention" if number else "linear_attention" for number in heads[:count]]
    return None


def quantization_of(header: GgufHeader) -> dict:
    file_type = header.metadata.get("general.file_type")
    names = sorted({tensor.dtype for tensor in header.tensors})
    return {
        "method": "gguf",
        "bits": None,
        "group_size": None,
        "block_size": None,
        "format": FILE_TYPES.get(file_type) if isinstance(file_type, int) else "+".join(names),
        "kv_cache_dtype": None,
        "unquantized": [],
    }


_BLOCK = re.compile(r"^blk\.(\d+)\.(.+?)(?:\.(weight|bias))?$")
_BLOCK_NAMES: t.Tuple[t.Tuple[t.Pattern[str], str, str, bool], ...] = tuple(
    (re.compile(pattern), name, sharding, row)
    for pattern, name, sharding, row in (
        (r"nextn\.", "mtp", "replicated", False),
        (r"indexer", "mla.index", "replicated", False),
        (r"attn_q_norm$", "norm.q", "tp", False),
        (r"attn_k_norm$", "norm.k", "kv", False),
        (r"ssm_norm$", "norm.linear", "replicated", False),
        (r"norm", "norm", "replicated", False),
        (r"attn_sinks$", "attention.sinks", "tp", False),
        (r"attn_qkv$", "attention.qkv", "tp", False),
        (r"attn_q_a$", "mla.q_a", "replicated", False),
        (r"attn_q_b$", "mla.q_b", "tp", False),
        (r"attn_kv_a(_mqa)?$", "mla.kv_a", "replicated", False),
        (r"attn_(kv_b|k_b|v_b)$", "mla.kv_b", "tp", False),
        (r"attn_q$", "attention.q", "tp", False),
        (r"attn_[kv]$", "attention.kv", "kv", False),
        (r"attn_(output|out)$", "attention.o", "tp", True),
        (r"attn_gate$", "linear_attention.in", "tp", False),
        (r"ffn_gate_inp_shexp$", "moe.shared.gate", "replicated", False),
        (r"ffn_gate_inp", "moe.router", "replicated", False),
        (r"exp_probs_b$", "moe.router.bias", "replicated", False),
        (r"ffn_down_exps$", "moe.experts", "expert", True),
        (r"ffn_\w+_exps$", "moe.experts", "expert", False),
        (r"ffn_down_shexp$", "moe.shared", "tp", True),
        (r"ffn_\w+_shexp$", "moe.shared", "tp", False),
        (r"ffn_down$", "mlp.down", "tp", True),
        (r"ffn_(gate|up|gate_up)$", "mlp.gate_up", "tp", False),
        (r"(ssm_out|shortconv\.out_proj)$", "linear_attention.out", "tp", True),
        (r"(ssm_in|shortconv\.in_proj)$", "linear_attention.in", "tp", False),
        (r"(ssm_|shortconv)", "linear_attention.other", "tp", False),
        (r"(inp_gate|proj)$", "layer_input", "replicated", False),
        (r"laurel", "laurel", "replicated", False),
        (r"altup", "altup", "replicated", False),
        (r"layer_output_scale$", "scalars", "replicated", False),
    )
)


def classify_gguf(name: str) -> Place:
    """The group of a tensor by llama.cpp's names."""
    found = _BLOCK.match(name)
    if found:
        layer = int(found.group(1))
        for expression, group, sharding, row in _BLOCK_NAMES:
            if expression.search(found.group(2)):
                place = "skipped" if group == "mtp" else "layers"
                return Place(group, place, sharding, layer if place == "layers" else None, row)
        return Place("other", "layers", "replicated", layer)
    if name.startswith("token_embd."):
        return Place("embed", "embed", "vocab")
    if name.startswith("per_layer_token_embd."):
        return Place("embed.per_layer", "embed", "vocab")
    if name.startswith("output."):
        return Place("lm_head", "head", "vocab")
    if name.startswith(("position_embd", "token_types", "per_layer_model_proj")):
        return Place("embed.positions", "embed")
    if name.startswith(("rope_freqs", "rope_factors")):
        return Place("")
    if name.startswith(("v.", "mm.", "a.")):
        return Place("vision", "vision")
    return Place("norm" if "norm" in name else "other", "final")
