# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DeepSeek: V2, V3, R1, V3.2, and the models distilled from R1. Kimi K2 has their architecture."""

from __future__ import annotations

import typing as t

from . import entry
from .entry import Config, Entry, decoder
from .llama import LLAMA_8B, LLAMA_70B
from .quantizations import FP8_BLOCKS, FP8_CHANNELS, fp8
from .qwen import QWEN3, QWEN25, qwen25

_MIT = "MIT"
_DEEPSEEK = "DeepSeek"
_TALK = ("chat", "tools")
_CODE = ("chat", "code")
_THINK = ("code", "reasoning")
_BOTH = ("chat", "code", "reasoning", "tools")
_FP8 = {key: value for key, value in FP8_BLOCKS.items() if key != "modules_to_not_convert"}


def _latent(
    architecture: str,
    model_type: str,
    sizes: t.Tuple[int, int, int],
    layers: int,
    heads: int,
    dense: int,
    experts: t.Tuple[int, int, int],
    vocab: int,
    context: int = 163840,
    query: t.Optional[int] = 1536,
    **more: t.Any,
) -> Config:
    """``sizes``: hidden, dense MLP, expert MLP; ``experts``: routed, used, shared."""
    return decoder(
        architecture, model_type, sizes[0], sizes[1], layers, (heads, heads), vocab, context,
        moe_intermediate_size=sizes[2], n_routed_experts=experts[0], num_experts_per_tok=experts[1],
        n_shared_experts=experts[2], first_k_dense_replace=dense, moe_layer_freq=1, q_lora_rank=query, kv_lora_rank=512,
        qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, rope_scaling={"type": "yarn", "factor": 40}, **more,
    )  # fmt: skip


_LITE = _latent(
    "DeepseekV2ForCausalLM", "deepseek_v2", (2048, 10944, 1408), 27, 16, 1, (64, 6, 2), 102400, query=None
)  # fmt: skip
_V2 = _latent("DeepseekV2ForCausalLM", "deepseek_v2", (5120, 12288, 1536), 60, 128, 1, (160, 6, 2), 102400)
_V3_SIZES = (7168, 18432, 2048)
_V3 = _latent(
    "DeepseekV3ForCausalLM", "deepseek_v3", _V3_SIZES, 61, 128, 3, (256, 8, 1), 129280,
    topk_method="noaux_tc", num_nextn_predict_layers=1, quantization_config=_FP8,
)  # fmt: skip
_V32 = dict(
    _V3,
    architectures=["DeepseekV32ForCausalLM"],
    model_type="deepseek_v32",
    index_head_dim=128,
    index_n_heads=64,
    index_topk=2048,
)
_K2 = _latent(
    "DeepseekV3ForCausalLM", "kimi_k2", _V3_SIZES, 61, 64, 1, (384, 8, 1), 163840, 131072,
    topk_method="noaux_tc", quantization_config=_FP8,
)  # fmt: skip


def _large(name: str, config: Config, parameters: int, released: str, purposes: t.Tuple[str, ...]) -> Entry:
    return Entry(
        "deepseek-ai/" + name, config, parameters, released, purposes, _MIT, entry.AICONFIGURATOR, kind="fp8"
    )  # fmt: skip


def _distilled(name: str, config: Config, parameters: int, base: str) -> Entry:
    name = "DeepSeek-R1-Distill-" + name
    sisters = (fp8("RedHatAI/%s-FP8-dynamic" % name, FP8_CHANNELS),)
    config = dict(config, max_position_embeddings=131072)
    return Entry(
        "deepseek-ai/" + name, config, parameters, "2025-01", _THINK, _MIT, entry.HUB, sisters=sisters, base=base
    )  # fmt: skip


ENTRIES: t.Tuple[Entry, ...] = (
    Entry("deepseek-ai/DeepSeek-V2-Lite-Chat", _LITE, 15706484224, "2024-05", ("chat",), _DEEPSEEK, entry.MLC),
    Entry("deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct", _LITE, 15706484224, "2024-06", _CODE, _DEEPSEEK, entry.MLC),
    Entry("deepseek-ai/DeepSeek-V2.5", _V2, 235741434880, "2024-09", _CODE, _DEEPSEEK, entry.HUB),
    Entry("deepseek-ai/DeepSeek-Coder-V2-Instruct", _V2, 235741434880, "2024-06", _CODE, _DEEPSEEK, entry.HUB),
    _large("DeepSeek-V3", _V3, 684531386000, "2024-12", _TALK),
    _large("DeepSeek-V3-0324", _V3, 684531386000, "2025-03", ("chat", "code", "tools")),
    _large("DeepSeek-R1", _V3, 684531386000, "2025-01", _THINK),
    _large("DeepSeek-R1-0528", _V3, 684531386000, "2025-05", _THINK + ("tools",)),
    _large("DeepSeek-V3.2", _V32, 685396921376, "2025-12", _BOTH),
    _distilled("Qwen-1.5B", qwen25(1536, 8960, 28, (12, 2), 151936, tied=False), 1777088000, "2024-09"),
    _distilled("Qwen-7B", QWEN25["7B"][0], 7615616512, "2024-09"),
    _distilled("Qwen-14B", QWEN25["14B"][0], 14770033664, "2024-09"),
    _distilled("Qwen-32B", QWEN25["32B"][0], 32763876352, "2024-09"),
    _distilled("Llama-8B", LLAMA_8B, 8030261248, "2024-07"),
    _distilled("Llama-70B", LLAMA_70B, 70553706496, "2024-11"),
    Entry(
        "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B",
        dict(QWEN3["8B"][0], max_position_embeddings=131072),
        8190735360,
        "2025-05",
        _THINK,
        _MIT,
        entry.HUB,
        base="2025-04",
    ),
    Entry(
        "moonshotai/Kimi-K2-Instruct",
        _K2,
        1026470731056,
        "2025-07",
        ("chat", "code", "tools"),
        "Modified-MIT",
        entry.AICONFIGURATOR,
        kind="fp8",
    ),
)  # fmt: skip
