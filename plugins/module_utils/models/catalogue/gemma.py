# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Google's Gemma: 2, 3, 4."""

from __future__ import annotations

import typing as t

from . import entry
from .entry import Config, Entry, decoder, with_vision
from .quantizations import FP8_CHANNELS, fp8, nvfp4

_TALK = ("chat",)
_SEE = ("chat", "vision")
_ALL = ("chat", "reasoning", "tools", "vision")
_DENSE_MLP = "re:.*mlp\\.(gate|up|down)_proj"  # beside the experts
_SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
    "num_attention_heads": 16, "patch_size": 14, "image_size": 896,
}  # fmt: skip
_TOWER = {
    "model_type": "gemma4_vision", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
    "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 72, "patch_size": 16,
    "position_embedding_size": 10240, "standardize": True,
}  # fmt: skip


def _gemma2(hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], head: int) -> Config:
    return decoder(
        "Gemma2ForCausalLM", "gemma2", hidden, inner, layers, heads, 256000, 8192, True,
        head_dim=head, sliding_window=4096,
    )  # fmt: skip


def _gemma3(hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], head: int) -> Config:
    text = decoder(
        "", "gemma3_text", hidden, inner, layers, heads, 262208, 131072, True,
        head_dim=head, sliding_window=1024, sliding_window_pattern=6,
    )  # fmt: skip
    return with_vision("Gemma3ForConditionalGeneration", "gemma3", text, _SIGLIP)


def _gemma4(hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], whole: int, **more: t.Any) -> Config:
    kinds = (["sliding_attention"] * 5 + ["full_attention"]) * (layers // 6)
    text = decoder(
        "", "gemma4_text", hidden, inner, layers, heads, 262144, 262144, True,
        head_dim=256, global_head_dim=512, num_global_key_value_heads=whole, attention_k_eq_v=True, layer_types=kinds,
        sliding_window=1024, hidden_size_per_layer_input=0, num_kv_shared_layers=0, use_double_wide_mlp=False, **more,
    )  # fmt: skip
    return with_vision("Gemma4ForConditionalGeneration", "gemma4", text, _TOWER, video_token_id=258884)


def _entry(
    name: str, config: Config, parameters: int, released: str, purposes: t.Tuple[str, ...], source: str, *fp8_by: str
) -> Entry:
    sisters = tuple(fp8("%s/%s-FP8-dynamic" % (owner, name), FP8_CHANNELS) for owner in fp8_by)
    return Entry("google/" + name, config, parameters, released, purposes, "Gemma", source, True, sisters)


ENTRIES: t.Tuple[Entry, ...] = (
    _entry("gemma-2-2b-it", _gemma2(2304, 9216, 26, (8, 4), 256), 2614341888, "2024-07", _TALK, entry.LITGPT),
    _entry("gemma-2-9b-it", _gemma2(3584, 14336, 42, (16, 8), 256), 9241705984, "2024-06", _TALK, entry.LITGPT),
    _entry("gemma-2-27b-it", _gemma2(4608, 36864, 46, (32, 16), 128), 27227128320, "2024-06", _TALK, entry.LITGPT),
    _entry(
        "gemma-3-1b-it",
        decoder(
            "Gemma3ForCausalLM", "gemma3_text", 1152, 6912, 26, (4, 1), 262144, 32768, True,
            head_dim=256, sliding_window=512, sliding_window_pattern=6,
        ),
        999885952,
        "2025-03",
        _TALK,
        entry.MLC,
    ),
    _entry("gemma-3-4b-it", _gemma3(2560, 10240, 34, (8, 4), 256), 4300079472, "2025-03", _SEE, entry.LITGPT),
    _entry("gemma-3-12b-it", _gemma3(3840, 15360, 48, (16, 8), 256), 12187325040, "2025-03", _SEE, entry.LITGPT),
    _entry(
        "gemma-3-27b-it", _gemma3(5376, 21504, 62, (32, 16), 128), 27432406640, "2025-03", _SEE, entry.LITGPT,
        "RedHatAI",
    ),
    Entry(
        "google/gemma-4-26B-A4B-it",
        _gemma4(
            2816, 2112, 30, (16, 8), 2,
            enable_moe_block=True, num_experts=128, top_k_experts=8, moe_intermediate_size=704,
        ),
        25805933872,
        "2026-04",
        _ALL,
        "Apache-2.0",
        entry.AICONFIGURATOR,
        sisters=(
            nvfp4("nvidia/Gemma-4-26B-A4B-NVFP4", "re:.*self_attn.*", _DENSE_MLP, "re:.*router.*", "re:.*vision.*"),
        ),
    ),
    Entry(
        "google/gemma-4-31B-it",
        _gemma4(5376, 21504, 60, (32, 16), 4, enable_moe_block=False),
        31273088876,
        "2026-04",
        _ALL,
        "Apache-2.0",
        entry.AICONFIGURATOR,
        sisters=(nvfp4("nvidia/Gemma-4-31B-IT-NVFP4", "re:.*self_attn.*", "re:.*vision.*"),),
    ),
)  # fmt: skip
