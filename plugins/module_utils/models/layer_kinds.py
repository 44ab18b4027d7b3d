# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which decoder layers attend to everything, to a window, to a chunk, or keep a state instead."""

from __future__ import annotations

import typing as t

from .families import Family
from .fields import Fields

MLA_TYPES = frozenset(
    "axk1 deepseek_v2 deepseek_v3 deepseek_v32 dots3_note glm5_next glm5_next_text glm_moe_dsa glm4_moe_lite "
    "kimi_k2 kimi_linear longcat_flash pangu_ultra_moe bailing_hybrid hy_v4".split()
)

# The words of layer_types and layers_block_type.
_WORDS = {
    "full_attention": "full",
    "attention": "full",
    "full": "full",
    "global": "full",
    "sliding_attention": "sliding",
    "sliding_window": "sliding",
    "local": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "linear",
    "mamba": "linear",
    "mamba2": "linear",
    "conv": "linear",
    "kda": "linear",
    "gdn": "linear",
    "hybrid": "full",
    "mlp": "none",
    "moe": "none",
}
# hybrid_override_pattern of Nemotron-H, one letter a layer, and the words that newer configs use for them.
_LETTERS = {"M": "linear", "*": "full", "-": "none", "E": "none"}
_LETTER_OF = {"mamba": "M", "linear_attention": "M", "attention": "*", "full_attention": "*", "mlp": "-", "moe": "E"}


def layer_kinds(fields: Fields, family: Family, family_name: str, count: int) -> t.List[str]:
    """The attention kind of each of ``count`` layers."""
    if family.encoder:
        return ["none"] * count
    kinds = _stated(fields, family_name, count)
    if kinds is None:
        kinds = _windowed(fields, family, count) if window(fields, family) else ["full"] * count
    if window(fields, family) is None:
        kinds = ["full" if kind == "sliding" else kind for kind in kinds]
    if is_mla(fields):
        kinds = ["mla" if kind == "full" else kind for kind in kinds]
    return kinds


def single_blocks(fields: Fields, family_name: str) -> t.Optional[str]:
    """One letter a layer for models whose layers are either attention, or state, or feed forward (Nemotron-H)."""
    if family_name != "nemotron_h":
        return None
    pattern = fields.get("hybrid_override_pattern")
    if pattern:
        return str(pattern)
    words = fields.get("layers_block_type")
    return "".join(_LETTER_OF.get(str(word), "*") for word in words) if words else None


def is_mla(fields: Fields) -> bool:
    if fields.get("kv_lora_rank") is None:
        return False
    types = (fields.get("model_type"), fields.root.get("model_type"))
    # A config without a type says it by its keys.
    return any(name in MLA_TYPES for name in types) or not any(types)


def window(fields: Fields, family: Family) -> t.Optional[int]:
    """The sliding window in tokens, None when no layer slides."""
    size = fields.get("sliding_window", "sliding_window_size")
    if not size or fields.get("use_sliding_window") is False or fields.get("compress_ratios"):
        return None
    if family.window == "qwen" and not fields.flag("use_sliding_window"):
        return None
    return int(size)


def chunk(fields: Fields, kinds: t.Sequence[str]) -> t.Optional[int]:
    return int(fields.get("attention_chunk_size")) if "chunked" in kinds else None


def _stated(fields: Fields, family_name: str, count: int) -> t.Optional[t.List[str]]:
    """What the config says layer by layer, in any of the ways configs say it."""
    letters = single_blocks(fields, family_name)
    if letters:
        return [_LETTERS.get(letter, "full") for letter in letters]
    words = fields.names("layer_types", count) or fields.names("layers_block_type", count)
    if words:
        return [_WORDS.get(str(word), "full") for word in words]
    if family_name in ("mamba", "mamba2"):
        return ["linear"] * count
    linear = fields.get("linear_attn_config")
    if isinstance(linear, dict) and linear.get("kda_layers") is not None:  # counted from one
        return ["linear" if index + 1 in linear["kda_layers"] else "full" for index in range(count)]
    flags = fields.names("attn_type_list", count)
    if flags:
        return ["full" if flag else "linear" for flag in flags]
    interval = fields.get("full_attention_interval")
    if interval is None and family_name == "qwen3_next":
        interval = 4
    if interval:
        return ["full" if (index + 1) % interval == 0 else "linear" for index in range(count)]
    period = fields.get("attn_layer_period")
    if period:
        offset = fields.integer("attn_layer_offset", default=0)
        return ["full" if index % period == offset else "linear" for index in range(count)]
    if fields.get("full_attn_idxs"):
        return ["full" if index in fields.get("full_attn_idxs") else "linear" for index in range(count)]
    if family_name == "llama4" and fields.get("attention_chunk_size"):
        rope = fields.names("no_rope_layers", count) or []  # 1: this layer has rope, and so attends to a chunk
        interval = fields.integer("no_rope_layer_interval", default=4)
        rope = rope or [(index + 1) % interval != 0 for index in range(count)]
        return ["chunked" if flag else "full" for flag in rope]
    return None


def _windowed(fields: Fields, family: Family, count: int) -> t.List[str]:
    """The sliding layers of families whose code knows them."""
    if family.window == "alternate":
        return ["sliding" if index % 2 == 0 else "full" for index in range(count)]
    if family.window == "pattern":
        pattern = fields.get("sliding_window_pattern", "_sliding_window_pattern", default=family.window_pattern)
        if isinstance(pattern, str):  # "LLLG": L slides
            return ["sliding" if pattern[index % len(pattern)] == "L" else "full" for index in range(count)]
        return ["sliding" if (index + 1) % pattern else "full" for index in range(count)]
    if family.window == "qwen" and fields.integer("max_window_layers", default=count):
        return ["full"] * count  # vLLM has no mixed layers for these: all slide, or none
    return ["sliding"] * count
