# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Llama: 2, 3, 3.1, 3.2, 3.3, 4."""

from __future__ import annotations

import typing as t

from . import entry
from .entry import Config, Entry, Sister, decoder
from .quantizations import FP8_CHANNELS, INT4_GROUPS, awq, fp8, gptq

_ROPE = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}


def _llama2(hidden: int, inner: int, layers: int, heads: t.Tuple[int, int]) -> Config:
    config = decoder("LlamaForCausalLM", "llama", hidden, inner, layers, heads, 32000, 4096)
    return dict(config, torch_dtype="float16")


def _llama3(
    hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], context: int, tied: bool = False, **more: t.Any
) -> Config:
    if context > 8192:
        more["rope_scaling"] = _ROPE
    return decoder("LlamaForCausalLM", "llama", hidden, inner, layers, heads, 128256, context, tied, **more)


def _entry(
    name: str, config: Config, parameters: int, released: str, licence: str, sisters: t.Tuple[Sister, ...] = ()
) -> Entry:
    purposes = ("chat",) if released < "2024-07" else ("chat", "tools")
    return Entry(
        "meta-llama/" + name, config, parameters, released, purposes, licence, entry.LITGPT, True, sisters
    )  # fmt: skip


def _llama4(name: str, experts: int, step: int, context: int, parameters: int) -> Entry:
    text = {
        "model_type": "llama4_text", "torch_dtype": "bfloat16", "hidden_size": 5120, "intermediate_size": 8192,
        "intermediate_size_mlp": 16384, "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8,
        "head_dim": 128, "vocab_size": 202048, "max_position_embeddings": context, "num_local_experts": experts,
        "num_experts_per_tok": 1, "interleave_moe_layer_step": step, "attention_chunk_size": 8192,
        "tie_word_embeddings": False,
    }  # fmt: skip
    config = {
        "architectures": ["Llama4ForConditionalGeneration"],
        "model_type": "llama4",
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
        "text_config": text,
    }
    return Entry(
        "meta-llama/" + name, config, parameters, "2025-04", ("chat", "tools", "vision"), "Llama-4",
        entry.AICONFIGURATOR, True,
    )  # fmt: skip


LLAMA_8B = _llama3(4096, 14336, 32, (32, 8), 131072)
LLAMA_70B = _llama3(8192, 28672, 80, (64, 8), 131072)
_RED_HAT = "RedHatAI/Meta-Llama-3.1-%s-Instruct-"

ENTRIES: t.Tuple[Entry, ...] = (
    _entry("Llama-2-7b-chat-hf", _llama2(4096, 11008, 32, (32, 32)), 6738415616, "2023-07", "Llama-2"),
    _entry("Llama-2-13b-chat-hf", _llama2(5120, 13824, 40, (40, 40)), 13015864320, "2023-07", "Llama-2"),
    _entry(
        "Llama-2-70b-chat-hf",
        _llama2(8192, 28672, 80, (64, 8)),
        68976648192,
        "2023-07",
        "Llama-2",
        (awq("TheBloke/Llama-2-70B-Chat-AWQ"),),
    ),
    _entry("Meta-Llama-3-8B-Instruct", _llama3(4096, 14336, 32, (32, 8), 8192), 8030261248, "2024-04", "Llama-3"),
    _entry(
        "Meta-Llama-3-70B-Instruct",
        _llama3(8192, 28672, 80, (64, 8), 8192),
        70553706496,
        "2024-04",
        "Llama-3",
        (awq("casperhansen/llama-3-70b-instruct-awq"),),
    ),
    _entry(
        "Llama-3.1-8B-Instruct",
        LLAMA_8B,
        8030261248,
        "2024-07",
        "Llama-3.1",
        (
            fp8(_RED_HAT % "8B" + "FP8-dynamic", FP8_CHANNELS),
            awq("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4"),
            gptq("hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4"),
            Sister("int4", _RED_HAT % "8B" + "quantized.w4a16", INT4_GROUPS),
        ),
    ),
    _entry(
        "Llama-3.1-70B-Instruct",
        LLAMA_70B,
        70553706496,
        "2024-07",
        "Llama-3.1",
        (
            fp8(_RED_HAT % "70B" + "FP8-dynamic", FP8_CHANNELS),
            awq("hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4"),
            gptq("hugging-quants/Meta-Llama-3.1-70B-Instruct-GPTQ-INT4"),
            Sister("int4", _RED_HAT % "70B" + "quantized.w4a16", INT4_GROUPS),
        ),
    ),
    _entry(
        "Llama-3.1-405B-Instruct",
        _llama3(16384, 53248, 126, (128, 8), 131072),
        405853388800,
        "2024-07",
        "Llama-3.1",
        (
            fp8(_RED_HAT % "405B" + "FP8-dynamic", FP8_CHANNELS),
            awq("hugging-quants/Meta-Llama-3.1-405B-Instruct-AWQ-INT4"),
        ),
    ),
    _entry(
        "Llama-3.2-1B-Instruct",
        _llama3(2048, 8192, 16, (32, 8), 131072, True, head_dim=64),
        1235814400,
        "2024-09",
        "Llama-3.2",
        (fp8("RedHatAI/Llama-3.2-1B-Instruct-FP8-dynamic", FP8_CHANNELS),),
    ),
    _entry(
        "Llama-3.2-3B-Instruct",
        _llama3(3072, 8192, 28, (24, 8), 131072, True, head_dim=128),
        3212749824,
        "2024-09",
        "Llama-3.2",
        (fp8("RedHatAI/Llama-3.2-3B-Instruct-FP8-dynamic", FP8_CHANNELS),),
    ),
    _entry(
        "Llama-3.3-70B-Instruct",
        LLAMA_70B,
        70553706496,
        "2024-11",
        "Llama-3.3",
        (
            fp8("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", FP8_CHANNELS),
            awq("casperhansen/llama-3.3-70b-instruct-awq"),
            Sister("int4", "RedHatAI/Llama-3.3-70B-Instruct-quantized.w4a16", INT4_GROUPS),
        ),
    ),
    _llama4("Llama-4-Scout-17B-16E-Instruct", 16, 1, 10485760, 108641793536),
    _llama4("Llama-4-Maverick-17B-128E-Instruct", 128, 2, 1048576, 401583781376),
)
