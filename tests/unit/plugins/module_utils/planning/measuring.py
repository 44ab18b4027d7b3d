# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Engines that run by a plan and are measured, without engines: the module's own code over made-up cache figures."""

from __future__ import annotations

import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.engines import measured
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.vllm_metrics import CacheInfo

Dict = t.Dict[str, t.Any]


def estimated_overhead(plan: Dict) -> int:
    """What the planner itself expects beside weights and KV cache, before any measurement."""
    numbers = plan["numbers"]
    taken = numbers["requested_bytes"] - numbers["weights_bytes_per_gpu"] - numbers["kv_cache_bytes"]["expected"]
    return int(taken - numbers["measured_correction_bytes"])


def blocks_measured(
    plan: Dict, blocks: int, given: t.Optional[int] = None, version: t.Optional[str] = None, **changed: t.Any
) -> Dict:
    """As vllm_measured returns it for an engine that has so many blocks."""
    size = plan["numbers"]["block_size"]
    info = CacheInfo(1, size, blocks, blocks * size, None, given, {"cache_dtype": "auto"}, "model")
    model = {"architecture": "LlamaForCausalLM", "parameters": 1, "source": "org/model", "format": "safetensors"}
    return dict(measured.measure(info, version or plan["engine_version"], plan, model), **changed)


def kv_measured(plan: Dict, factor: float, **changed: t.Any) -> Dict:
    """An engine with ``factor`` of the KV cache that the plan expects."""
    return blocks_measured(plan, int(plan["numbers"]["num_gpu_blocks"] * factor), **changed)


def overhead_measured(plan: Dict, overhead: int, **changed: t.Any) -> t.Optional[Dict]:
    """An engine that takes this beside weights and KV cache; None for one that does not start."""
    numbers = plan["numbers"]
    size = numbers["requested_bytes"] - numbers["weights_bytes_per_gpu"] - overhead
    if size < numbers["kv_needed_bytes"]:
        return None
    return blocks_measured(plan, size // numbers["kv_bytes_per_block"], **changed)
