# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenAI's gpt-oss and Microsoft's Phi."""

from __future__ import annotations

import typing as t

from . import entry
from .entry import Config, Entry, decoder
from .quantizations import MXFP4, awq

_MIT = "MIT"
_CHAT = ("chat",)
_ALL = ("chat", "code", "reasoning", "tools")
_LONG = {"rope_type": "longrope", "type": "longrope"}


def _gpt_oss(layers: int, experts: int) -> Config:
    """The experts are stored in 4 bits, everything else in 16."""
    return decoder(
        "GptOssForCausalLM", "gpt_oss", 2880, 2880, layers, (64, 8), 201088, 131072,
        head_dim=64, num_local_experts=experts, num_experts_per_tok=4, sliding_window=128,
        layer_types=["sliding_attention", "full_attention"] * (layers // 2), attention_bias=True,
        rope_scaling={"rope_type": "yarn", "factor": 32.0}, quantization_config=MXFP4,
    )  # fmt: skip


def _phi(
    hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], vocab: int, context: int, tied: bool = False
) -> Config:
    config = decoder("Phi3ForCausalLM", "phi3", hidden, inner, layers, heads, vocab, context, tied)
    if context == 131072:
        config.update(rope_scaling=_LONG, original_max_position_embeddings=4096)
    return config


def _mini(context: int) -> Config:
    return _phi(3072, 8192, 32, (32, 32), 32064, context)


def _medium(context: int) -> Config:
    return _phi(5120, 17920, 40, (40, 10), 32064, context)


_PHI4 = _phi(5120, 17920, 40, (40, 10), 100352, 16384)
_PHI4_LONGER = dict(_PHI4, max_position_embeddings=32768)
_PHI4_MINI = _phi(3072, 8192, 32, (24, 8), 200064, 131072, True)


def _openai(name: str, config: Config, parameters: int) -> Entry:
    return Entry(
        "openai/" + name, config, parameters, "2025-08", _ALL, "Apache-2.0", entry.AICONFIGURATOR, kind="mxfp4"
    )  # fmt: skip


def _microsoft(
    name: str, config: Config, parameters: int, released: str, purposes: t.Tuple[str, ...] = _CHAT, *awq_by: str
) -> Entry:
    sisters = tuple(awq("%s/%s-AWQ" % (owner, name)) for owner in awq_by)
    return Entry("microsoft/" + name, config, parameters, released, purposes, _MIT, entry.LITGPT, sisters=sisters)


ENTRIES: t.Tuple[Entry, ...] = (
    _openai("gpt-oss-20b", _gpt_oss(24, 32), 20914757184),
    _openai("gpt-oss-120b", _gpt_oss(36, 128), 116829156672),
    _microsoft("Phi-3-mini-4k-instruct", _mini(4096), 3821079552, "2024-04"),
    _microsoft("Phi-3-mini-128k-instruct", _mini(131072), 3821079552, "2024-04"),
    _microsoft("Phi-3-medium-4k-instruct", _medium(4096), 13960238080, "2024-05"),
    _microsoft("Phi-3-medium-128k-instruct", _medium(131072), 13960238080, "2024-05"),
    _microsoft("Phi-3.5-mini-instruct", _mini(131072), 3821079552, "2024-08"),
    _microsoft("phi-4", _PHI4, 14659507200, "2024-12", _CHAT, "stelterlab"),
    _microsoft("Phi-4-mini-instruct", _PHI4_MINI, 3836021760, "2025-02", ("chat", "tools")),
    _microsoft("Phi-4-reasoning", _PHI4_LONGER, 14659507200, "2025-04", ("reasoning",)),
    _microsoft("Phi-4-reasoning-plus", _PHI4_LONGER, 14659507200, "2025-04", ("reasoning",)),
    _microsoft("Phi-4-mini-reasoning", _PHI4_MINI, 3836021760, "2025-04", ("reasoning",)),
)
