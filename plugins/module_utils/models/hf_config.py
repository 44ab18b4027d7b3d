# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""config.json of a Hugging Face model -> its Shape."""

from __future__ import annotations

import typing as t

from . import layer_kinds
from .families import Family, family, family_name
from .fields import Fields
from .shapes import Layer, Linear, Mla, Moe, Shape

_DTYPES = {
    "float": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
    "bf16": "bfloat16",
}
_LENGTH_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# Rope types whose max_position_embeddings is already the scaled length.
_SCALED_ROPES = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")
_EXPERT_KEYS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
_EXPERTS_USED_KEYS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "top_k_experts",
    "moe_topk",
    "moe_top_k",
    "moe_k",
)


def read_shape(config: dict) -> Shape:
    """The language model described by ``config``; a GpufleetError names the key that is missing."""
    fields = Fields(config)
    architectures = fields.anywhere("architectures") or []
    root_type = str(config.get("model_type") or "")
    text_type = str(fields.get("model_type") or root_type)
    name = family_name(text_type, root_type)
    traits = family(name)
    warnings: t.List[str] = []
    if not name:
        warnings.append(
            "The model type %r is not known: sized as a plain decoder (gated MLP, two norms per layer, biases as the "
            "config says). Weights from the safetensors headers are exact, these formulas may not be."
            % (text_type or "(none)")
        )

    if fields.get("compress_ratios"):
        warnings.append(
            "Keys and values are compressed layer by layer (compress_ratios), which is not counted here: "
            "the KV cache is taken for an uncompressed one, much larger than it will be."
        )
    hidden = fields.integer("hidden_size", "n_embd", "d_model", "dim")
    blocks = layer_kinds.single_blocks(fields, name)
    count = fields.integer("num_hidden_layers", "n_layer", "num_layers", "n_layers", default=len(blocks or "") or None)
    heads = fields.integer("num_attention_heads", "n_head", "n_heads", "num_heads", default=_state_heads(fields, name))
    kv_heads = _kv_heads(fields, name, heads)
    kinds = layer_kinds.layer_kinds(fields, traits, name, count)
    mla = _mla(fields, count) if "mla" in kinds else None
    low_rank = _mla(fields, count) if name == "minicpm3" else None
    head_size = _head_size(fields, hidden, heads)
    if low_rank:  # vLLM pads the values to the size of the keys
        head_size = low_rank.qk_nope_head_size + low_rank.qk_rope_head_size
    value_head_size = fields.integer("v_head_dim", default=0) if mla else head_size
    moe = _moe(fields, traits, name, count, kinds)
    linear = _linear(fields, name) if "linear" in kinds or name == "falcon_h1" else None

    shape = Shape(
        architecture=str(architectures[0]) if architectures else "",
        model_type=root_type or text_type,
        family=name,
        dtype=_dtype(fields, warnings),
        hidden_size=hidden,
        vocab_size=fields.integer("vocab_size", "padded_vocab_size", "n_vocab"),
        attention_heads=heads,
        kv_heads=kv_heads,
        head_size=mla.qk_nope_head_size + mla.qk_rope_head_size if mla else head_size,
        value_head_size=value_head_size,
        intermediate_size=_intermediate(fields, traits, hidden, moe, count),
        layers=[],
        max_position=max_position(fields, warnings),
        sliding_window=layer_kinds.window(fields, traits) if "sliding" in kinds else None,
        attention_chunk=layer_kinds.chunk(fields, kinds),
        tied_embeddings=bool(fields.anywhere("tie_word_embeddings", default=traits.tied)),
        mla=mla,
        low_rank=low_rank,
        moe=moe,
        linear=linear,
        warnings=warnings,
    )
    shape.layers = _layers(fields, shape, kinds)
    return shape


def max_position(fields: Fields, warnings: t.List[str]) -> int:
    """The longest context the model was made for, rope scaling included where the config's length is the unscaled one."""
    lengths = [fields.integer(key) for key in _LENGTH_KEYS if fields.get(key) is not None]
    if fields.get("model_max_length"):
        lengths = [fields.integer("model_max_length")]
    if not lengths:
        warnings.append("The config names no context length: 2048 tokens assumed, as vLLM does.")
        return 2048
    length = float(min(lengths))
    if "gemma3" not in str(fields.root.get("model_type") or fields.get("model_type") or ""):
        factor = 1.0
        for rope in rope_parameters(fields):
            if (rope.get("rope_type") or rope.get("type") or "default") not in _SCALED_ROPES:
                factor = float(rope.get("factor") or factor)
        length *= factor
    return int(length)


def default_context(fields: Fields) -> t.Optional[int]:
    """The context an engine takes when none is asked for, where that is less than max_position (long rope)."""
    original = fields.get("original_max_position_embeddings")
    types = [rope.get("rope_type") or rope.get("type") for rope in rope_parameters(fields)]
    return int(original) if original and ("longrope" in types or "su" in types) else None


# Families whose config may leave the rotated part of a head to the class's default.
_PARTIAL_ROTARY = {"qwen3_next": 0.25, "qwen3_5": 0.25, "qwen3_5_moe": 0.25, "gpt_neox": 0.25}
_SOFTCAPPED = ("gemma2", "gemma3n", "gemma4")


def rotary_size(fields: Fields, shape: Shape) -> int:
    """How much of a head is rotated by its position."""
    if shape.mla:
        return shape.mla.qk_rope_head_size
    share = fields.get("partial_rotary_factor", "rotary_pct")
    for rope in rope_parameters(fields):
        share = rope.get("partial_rotary_factor") or share
    return int(shape.head_size * float(share or _PARTIAL_ROTARY.get(shape.family, 1.0)))


def softcapped(fields: Fields, shape: Shape) -> bool:
    """Whether the logits go through a tanh that bounds them."""
    value = fields.get("final_logit_softcapping", default=30.0 if shape.family in _SOFTCAPPED else None)
    return bool(value)


def rope_parameters(fields: Fields) -> t.List[dict]:
    """The rope settings: one dict, or one per layer type."""
    ropes = fields.get("rope_parameters", "rope_scaling")
    if not isinstance(ropes, dict):
        return []
    nested = [value for value in ropes.values() if isinstance(value, dict)]
    return nested or [ropes]


def _dtype(fields: Fields, warnings: t.List[str]) -> str:
    """The type the checkpoint computes in."""
    for part in (fields.root, fields.text, fields.root.get("vision_config"), fields.root.get("encoder_config")):
        if isinstance(part, dict):
            name = part.get("dtype") or part.get("torch_dtype")
            if name and name != "auto":
                name = str(name).replace("torch.", "").lower()
                return _DTYPES.get(name, name)
    warnings.append("The config names no dtype: 16-bit weights (bfloat16) assumed.")
    return "bfloat16"


def _state_heads(fields: Fields, name: str) -> t.Optional[int]:
    """Mamba 1 has no heads at all; what splits it is its inner size."""
    return fields.integer("intermediate_size") if name == "mamba" else None


def _kv_heads(fields: Fields, name: str, heads: int) -> int:
    if name == "falcon" and not fields.flag("new_decoder_architecture") and fields.flag("multi_query", default=True):
        return 1
    keys = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
    return fields.integer(*keys, default=heads)


def _head_size(fields: Fields, hidden: int, heads: int) -> int:
    stated = fields.get("head_dim", "hidden_size_per_head", "attention_head_dim", "kv_channels")
    if isinstance(stated, int) and stated > 0:
        return stated
    return hidden // heads if heads else 0


def _intermediate(fields: Fields, traits: Family, hidden: int, moe: t.Optional[Moe], count: int) -> int:
    """The size of the dense MLP; 0 where every layer has experts instead."""
    if not traits.feed_forward:
        return 0
    if moe and len(moe.layers) == count and fields.get("intermediate_size_mlp") is None:
        return fields.integer("intermediate_size", default=moe.intermediate_size)
    if fields.flag("block_auto_adjust_ff_dim"):  # LFM2
        multiple = fields.integer("block_multiple_of", default=256)
        size = int(
            float(fields.get("block_ffn_dim_multiplier", default=1))
            * (2 * fields.integer("block_ff_dim", "intermediate_size") // 3)
        )
        return -(-size // multiple) * multiple
    keys = ("intermediate_size_mlp", "intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "d_ff")
    # Without a gate four times the hidden size is what these families' code takes.
    return fields.integer(*keys, default=None if traits.gated else 4 * hidden)


def _mla(fields: Fields, count: int) -> Mla:
    index_layers: t.Tuple[int, ...] = ()
    if fields.get("index_head_dim"):
        types = fields.names("indexer_types", count) or ["full"] * count
        index_layers = tuple(index for index, word in enumerate(types) if word == "full")
    return Mla(
        q_lora_rank=fields.get("q_lora_rank") or None,
        kv_lora_rank=fields.integer("kv_lora_rank"),
        qk_nope_head_size=fields.integer("qk_nope_head_dim"),
        qk_rope_head_size=fields.integer("qk_rope_head_dim"),
        v_head_size=fields.integer("v_head_dim"),
        index_heads=fields.integer("index_n_heads", default=0),
        index_head_size=fields.integer("index_head_dim", default=0),
        index_layers=index_layers,
    )


def _moe(fields: Fields, traits: Family, name: str, count: int, kinds: t.List[str]) -> t.Optional[Moe]:
    experts = fields.integer(*_EXPERT_KEYS, default=0)
    if experts <= 1:
        return None
    size_keys = (traits.expert_size_key, "moe_intermediate_size", "expert_intermediate_size", "intermediate_size")
    size = fields.integer(*size_keys)
    shared = fields.integer("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", default=0)
    shared_size = fields.integer(
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "moe_shared_expert_intermediate_size",
        default=0,
    )
    if name == "llama4":
        shared, shared_size = 1, size
    elif shared and name == "nemotron_h":
        shared_size = shared_size * shared
    elif shared and not shared_size:
        shared_size = shared * size
    elif shared_size and not shared:
        shared = 1
    layers = tuple(index for index in range(count) if _has_experts(fields, name, index, count))
    if not layers:
        return None
    used = fields.integer(*_EXPERTS_USED_KEYS, default=1)
    return Moe(experts, used, size, shared, shared_size, layers)


def _has_experts(fields: Fields, name: str, index: int, count: int) -> bool:
    words = fields.names("mlp_layer_types", count)
    if words:
        return words[index] == "sparse"
    blocks = layer_kinds.single_blocks(fields, name)
    if blocks:
        return blocks[index : index + 1] == "E"
    if name == "gemma4":
        return fields.flag("enable_moe_block")
    listed = fields.get("moe_layers")
    if isinstance(listed, list):
        return index in listed
    if fields.get("interleave_moe_layer_step") is not None:
        step = fields.integer("interleave_moe_layer_step")
        return step > 0 and (index + 1) % step == 0
    if fields.get("expert_layer_period") is not None:
        return index % fields.integer("expert_layer_period") == fields.integer("expert_layer_offset", default=0)
    if fields.get("moe_layer_start_index") is not None:
        last = fields.integer("moe_layer_end_index", default=count - 1)
        interval = fields.integer("moe_layer_interval", default=1)
        return fields.integer("moe_layer_start_index") <= index <= last and (index + 1) % interval == 0
    if index in (fields.get("mlp_only_layers") or []):
        return False
    if fields.get("decoder_sparse_step") is not None:
        return (index + 1) % fields.integer("decoder_sparse_step") == 0
    if index < fields.integer("first_k_dense_replace", default=0):
        return False
    return index % max(1, fields.integer("moe_layer_freq", default=1)) == 0


def _linear(fields: Fields, name: str) -> Linear:
    state_dtype = fields.get("mamba_ssm_dtype", "mamba_ssm_cache_dtype")
    if fields.get("linear_num_value_heads") is not None:
        return Linear(
            "gdn",
            conv_kernel=fields.integer("linear_conv_kernel_dim"),
            key_heads=fields.integer("linear_num_key_heads"),
            value_heads=fields.integer("linear_num_value_heads"),
            key_head_size=fields.integer("linear_key_head_dim"),
            value_head_size=fields.integer("linear_value_head_dim"),
            state_dtype=state_dtype,
        )
    kda = fields.get("linear_attn_config")
    if isinstance(kda, dict):
        nested = Fields(kda)
        return Linear(
            "kda",
            conv_kernel=nested.integer("short_conv_kernel_size", default=4),
            key_heads=nested.integer("num_heads"),
            value_heads=nested.integer("num_heads"),
            key_head_size=nested.integer("head_dim"),
            value_head_size=nested.integer("head_dim"),
            state_dtype="float32",
        )
    if fields.get("conv_L_cache") is not None:  # LFM2
        hidden = fields.integer("hidden_size")
        return Linear("conv", conv_kernel=fields.integer("conv_L_cache"), inner_size=hidden)
    if fields.get("mamba_dt_rank") is not None or name in ("jamba", "mamba"):
        hidden = fields.integer("hidden_size")
        rank = fields.get("mamba_dt_rank", "time_step_rank")
        return Linear(
            "mamba1",
            conv_kernel=fields.integer("mamba_d_conv", "conv_kernel", default=4),
            inner_size=fields.integer("mamba_expand", "expand", default=2) * hidden,
            state_size=fields.integer("mamba_d_state", "state_size", default=16),
            time_step_rank=rank if isinstance(rank, int) else -(-hidden // 16),
            state_dtype=state_dtype,
        )
    heads = fields.integer("mamba_num_heads", "mamba_n_heads", "num_heads")
    size = fields.integer("mamba_head_dim", "mamba_d_head", "head_dim")
    if name == "nemotron_h":  # NemotronHForCausalLMConfig in vLLM's models/config.py
        state_dtype = fields.get("mamba_ssm_cache_dtype") or "float32"
    return Linear(
        "mamba2",
        conv_kernel=fields.integer("conv_kernel", "mamba_d_conv", default=4),
        value_heads=heads,
        value_head_size=size,
        groups=fields.integer("n_groups", "mamba_n_groups", default=1),
        inner_size=heads * size,
        state_size=fields.integer("ssm_state_size", "mamba_d_state", "state_size", default=128),
        state_dtype=state_dtype,
        beside_attention=name == "falcon_h1",
        gated_norm=fields.flag("mamba_rms_norm", default=name != "falcon_h1"),
    )


def _layers(fields: Fields, shape: Shape, kinds: t.List[str]) -> t.List[Layer]:
    count = len(kinds)
    blocks = fields.names("block_configs", count)
    if blocks:
        return [_searched_layer(block, shape) for block in blocks]
    pattern = layer_kinds.single_blocks(fields, shape.family)
    shared = fields.integer("num_kv_shared_layers", default=0)
    sizes = fields.get("intermediate_size")
    feeds_forward = family(shape.family).feed_forward
    layers = []
    for index, kind in enumerate(kinds):
        heads, kv_heads, head_size = shape.attention_heads, shape.kv_heads, shape.head_size
        value_head_size, key_is_value = shape.value_head_size, False
        if shape.family == "gemma4" and kind == "full":
            head_size = value_head_size = fields.integer("global_head_dim", default=512)
            kv_heads = fields.integer("num_global_key_value_heads", default=kv_heads)
            key_is_value = fields.flag("attention_k_eq_v")
        size = sizes[index] if isinstance(sizes, list) and len(sizes) == count else shape.intermediate_size
        shares = shared > 0 and index >= count - shared
        if shares and fields.flag("use_double_wide_mlp"):
            size *= 2
        mlp = "moe" if shape.moe and index in shape.moe.layers else "dense" if feeds_forward else "none"
        if mlp == "moe" and shape.family == "gemma4":
            mlp = "dense+moe"
        if pattern:
            mlp = {"E": "moe", "-": "dense"}.get(pattern[index], "none")
        layers.append(Layer(kind, heads, kv_heads, head_size, value_head_size, mlp, size, shares, key_is_value))
    return layers


def _searched_layer(block: t.Any, shape: Shape) -> Layer:
    """A layer of a model whose layers were pruned one by one (Nemotron NAS)."""
    attention = block.get("attention") or {}
    ffn = block.get("ffn") or {}
    kind, kv_heads = "full", shape.kv_heads
    if attention.get("no_op") or attention.get("replace_with_linear"):
        kind = "none"
    elif attention.get("n_heads_in_group"):
        kv_heads = shape.attention_heads // attention["n_heads_in_group"]
    size = int(2 * float(ffn.get("ffn_mult") or 0) * shape.hidden_size / 3)
    size = -(-size // 256) * 256
    mlp = "none" if ffn.get("no_op") else "dense"
    return Layer(kind, shape.attention_heads, kv_heads, shape.head_size, shape.head_size, mlp, size)
