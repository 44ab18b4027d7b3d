# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mistral AI: Mistral, Mixtral, Codestral, Devstral, Ministral."""

from __future__ import annotations

import typing as t

from . import entry
from .entry import Config, Entry, decoder, with_vision
from .quantizations import FP8_CHANNELS, FP8_STATIC, awq, fp8

_APACHE = "Apache-2.0"
_TALK = ("chat", "tools")
_SEE = ("chat", "tools", "vision")
_PIXTRAL = {
    "model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
    "num_attention_heads": 16, "head_dim": 64, "num_channels": 3, "patch_size": 14, "image_size": 1540,
}  # fmt: skip


def _mistral(
    hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], vocab: int, context: int, **more: t.Any
) -> Config:
    return decoder("MistralForCausalLM", "mistral", hidden, inner, layers, heads, vocab, context, head_dim=128, **more)


def _mixtral(hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], vocab: int, context: int) -> Config:
    return decoder(
        "MixtralForCausalLM", "mixtral", hidden, inner, layers, heads, vocab, context,
        num_local_experts=8, num_experts_per_tok=2,
    )  # fmt: skip


def _ministral3(hidden: int, inner: int, layers: int, context: int, tied: bool, **more: t.Any) -> Config:
    """Published in fp8, the vision tower in 16 bit."""
    text = decoder(
        "", "ministral3", hidden, inner, layers, (32, 8), 131072, context, tied, head_dim=128,
        rope_parameters={"rope_type": "yarn"},
    )  # fmt: skip
    return with_vision(
        "Mistral3ForConditionalGeneration", "mistral3", text, _PIXTRAL,
        spatial_merge_size=2, multimodal_projector_bias=False, **more,
    )  # fmt: skip


MISTRAL_7B = _mistral(4096, 14336, 32, (32, 8), 32768, 32768)
_SMALL = _mistral(5120, 32768, 40, (32, 8), 131072, 32768)
_SMALL_SEES = with_vision(
    "Mistral3ForConditionalGeneration",
    "mistral3",
    dict(_SMALL, max_position_embeddings=131072),
    _PIXTRAL,
    spatial_merge_size=2,
    multimodal_projector_bias=False,
)
_LARGE = _mistral(12288, 28672, 88, (96, 8), 32768, 131072)

ENTRIES: t.Tuple[Entry, ...] = (
    Entry(
        "mistralai/Mistral-7B-Instruct-v0.3",
        MISTRAL_7B,
        7248023552,
        "2024-05",
        _TALK,
        _APACHE,
        entry.LITGPT,
    ),
    Entry(
        "mistralai/Mistral-Nemo-Instruct-2407",
        _mistral(5120, 14336, 40, (32, 8), 131072, 131072),
        12247782400,
        "2024-07",
        _TALK,
        _APACHE,
        entry.HUB,
        sisters=(awq("casperhansen/mistral-nemo-instruct-2407-awq"),),
    ),
    Entry(
        "mistralai/Mistral-Small-24B-Instruct-2501",
        _SMALL,
        23572403200,
        "2025-01",
        _TALK,
        _APACHE,
        entry.HUB,
        sisters=(
            fp8("RedHatAI/Mistral-Small-24B-Instruct-2501-FP8-dynamic", FP8_CHANNELS),
            awq("stelterlab/Mistral-Small-24B-Instruct-2501-AWQ"),
        ),
    ),
    Entry(
        "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
        _SMALL_SEES,
        24011361280,
        "2025-06",
        _SEE,
        _APACHE,
        entry.HUB,
    ),
    Entry(
        "mistralai/Codestral-22B-v0.1",
        _mistral(6144, 16384, 56, (48, 8), 32768, 32768),
        22247282688,
        "2024-05",
        ("code",),
        "Mistral-Non-Production",
        entry.HUB,
        True,
    ),
    Entry(
        "mistralai/Mistral-Large-Instruct-2411",
        _LARGE,
        122610069504,
        "2024-11",
        _TALK,
        "Mistral-Research",
        entry.LITGPT,
        True,
    ),
    Entry(
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        _mixtral(4096, 14336, 32, (32, 8), 32000, 32768),
        46702792704,
        "2023-12",
        ("chat",),
        _APACHE,
        entry.AICONFIGURATOR,
    ),
    Entry(
        "mistralai/Mixtral-8x22B-Instruct-v0.1",
        _mixtral(6144, 16384, 56, (48, 8), 32768, 65536),
        140630071296,
        "2024-04",
        _TALK,
        _APACHE,
        entry.AICONFIGURATOR,
        sisters=(awq("MaziyarPanahi/Mixtral-8x22B-Instruct-v0.1-AWQ"),),
    ),
    Entry(
        "mistralai/Ministral-3-3B-Instruct-2512",
        _ministral3(3072, 9216, 26, 262144, True, quantization_config=FP8_STATIC),
        3849090048,
        "2025-12",
        _SEE,
        _APACHE,
        entry.MLC,
        kind="fp8",
    ),
    Entry(
        "mistralai/Ministral-3-14B-Instruct-2512",
        _ministral3(5120, 16384, 40, 262144, False, quantization_config=FP8_STATIC),
        13900000000,
        "2025-12",
        _SEE,
        _APACHE,
        entry.KAITO,
        kind="fp8",
    ),
    Entry(
        "mistralai/Devstral-Small-2-24B-Instruct-2512",
        _ministral3(5120, 32768, 40, 393216, False, quantization_config=FP8_STATIC),
        24011361280,
        "2025-12",
        ("code", "tools", "vision"),
        _APACHE,
        entry.TENSTORRENT,
        kind="fp8",
    ),
)  # fmt: skip
