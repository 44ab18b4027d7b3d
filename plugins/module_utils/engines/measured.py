# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a running vLLM allotted, beside what was planned for it."""

from __future__ import annotations

import json
import typing as t

from ..errors import GpufleetError
from .vllm_metrics import CacheInfo

SCHEMA = "gpufleet.measured/1"
PLAN_SCHEMA = "gpufleet.plan/1"
TOLERANCE = 0.05

# The settings that decide how much memory is left for the cache.
SETTINGS = (
    "block_size",
    "cpu_offload_gb",
    "data_parallel_size",
    "dtype",
    "enable_lora",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_dtype",
    "kv_cache_memory_bytes",
    "max_model_len",
    "max_num_batched_tokens",
    "max_num_seqs",
    "pipeline_parallel_size",
    "quantization",
    "speculative_config",
    "tensor_parallel_size",
)
# How many earlier starts are kept. Each is of another configuration.
EARLIER = 20
# With these the engine is told how large the cache is.
TOLD = ("kv_cache_memory_bytes", "num_gpu_blocks_override")
COMPARED = ("num_gpu_blocks", "kv_cache_tokens", "kv_cache_bytes", "max_concurrency")
MODEL_IDENTITY = ("architecture", "format", "parameters", "source", "revision")
CARD_IDENTITY = ("vendor", "name", "memory_total_bytes", "compute_capability")

Dict = t.Dict[str, t.Any]


def check_plan(plan: t.Any, origin: str) -> Dict:
    """The plan, if it is one."""
    if not isinstance(plan, dict) or plan.get("schema") != PLAN_SCHEMA or not isinstance(plan.get("numbers"), dict):
        raise GpufleetError(
            "%s is not a plan of schema %s: give what vllm_plan returned as plan" % (origin, PLAN_SCHEMA)
        )
    return plan


def measure(
    info: CacheInfo,
    engine_version: t.Optional[str],
    plan: t.Optional[Dict] = None,
    model: t.Optional[Dict] = None,
    hardware: t.Optional[Dict] = None,
) -> Dict:
    """The measured contract. Holds nothing that changes while the engine runs on, so it can be compared with itself."""
    numbers = plan["numbers"] if plan else {}
    measured: Dict = {
        "schema": SCHEMA,
        "engine": "vllm",
        "engine_version": engine_version,
        "variant": plan.get("variant") if plan else None,
        "plan_fingerprint": plan.get("fingerprint") if plan else None,
        "model": _model_identity(info, model),
        "hardware": _hardware_identity(hardware, plan) if hardware else None,
        "settings": {name: plan["settings"][name] for name in SETTINGS if name in plan["settings"]} if plan else {},
        "configuration": plan.get("configuration") if plan else None,
        "requested_bytes": numbers.get("requested_bytes"),
        "weights_bytes": numbers.get("weights_bytes_per_gpu"),
        "engines": info.engines,
        "cache_dtype": info.labels.get("cache_dtype"),
        "block_size": info.block_size,
        "num_gpu_blocks": info.num_gpu_blocks,
        "kv_cache_tokens": info.kv_cache_tokens,
        "kv_bytes_per_block": _block_bytes(info, numbers),
        "kv_cache_bytes": _cache_bytes(info, numbers),
        "kv_cache_given_bytes": info.kv_cache_bytes,
        "overhead_bytes": None,
        "max_concurrency": None if info.max_concurrency is None else round(info.max_concurrency, 2),
        "predicted": None,
        "error": None,
        "warning": None,
        "earlier": [],
    }
    if plan:
        measured["overhead_bytes"] = _overhead(measured, plan)
        measured["predicted"] = {name: numbers.get(name) for name in COMPARED}
        measured["error"] = {
            name: _relative(measured[name], _expected(measured["predicted"][name])) for name in COMPARED
        }
        measured["warning"] = _warning(measured, plan)
    return measured


def with_earlier(measured: Dict, kept: t.Any) -> Dict:
    """What was measured, and what ``kept``, the measured dictionary before it, still has to say.

    Of every other configuration the start with the least KV cache is kept, and of this one too if that was a worse one:
    a plan that moved away from settings must still know why, and what once was the least can be so again.
    """
    if not isinstance(kept, dict) or kept.get("schema") != SCHEMA:
        return measured
    worst: t.Dict[str, Dict] = {}
    for entry in [kept, *(kept.get("earlier") or ())]:
        if not isinstance(entry, dict) or entry.get("configuration") is None or entry.get("overhead_bytes") is None:
            continue
        key = json.dumps(entry["configuration"], sort_keys=True)
        if key not in worst or entry["overhead_bytes"] > worst[key]["overhead_bytes"]:
            worst[key] = {name: value for name, value in entry.items() if name != "earlier"}
    own = json.dumps(measured["configuration"], sort_keys=True)
    if own in worst and worst[own]["overhead_bytes"] <= (measured["overhead_bytes"] or 0):
        del worst[own]
    return dict(measured, earlier=list(worst.values())[:EARLIER])


def _block_bytes(info: CacheInfo, numbers: t.Mapping[str, t.Any]) -> t.Optional[int]:
    """Per GPU, where the plan knows the blocks that the engine has."""
    return numbers.get("kv_bytes_per_block") if numbers.get("block_size") == info.block_size else None


def _cache_bytes(info: CacheInfo, numbers: t.Mapping[str, t.Any]) -> t.Optional[int]:
    """Per GPU. The blocks by their size where the plan knows it; else what the engine was given, if it was."""
    block_bytes = _block_bytes(info, numbers)
    return info.num_gpu_blocks * block_bytes if block_bytes else info.kv_cache_bytes


def _overhead(measured: Dict, plan: Dict) -> t.Optional[int]:
    """What the engine took beside weights and KV cache; None where it did not size the cache by what was left."""
    told = measured["kv_cache_given_bytes"] is not None or any(name in plan["settings"] for name in TOLD)
    terms = [measured[name] for name in ("requested_bytes", "weights_bytes", "kv_cache_bytes")]
    if told or None in terms or measured["variant"] != "cuda":
        return None
    return int(terms[0] - terms[1] - terms[2])


def _expected(prediction: t.Any) -> t.Any:
    return prediction.get("expected") if isinstance(prediction, dict) else prediction


def _relative(measured: t.Any, expected: t.Any) -> t.Optional[float]:
    if measured is None or not expected:
        return None
    return round((measured - expected) / expected, 4)


def _warning(measured: Dict, plan: Dict) -> t.Optional[str]:
    said = []
    planned_version, version = plan.get("engine_version"), measured["engine_version"]
    if version and planned_version and version.split("+")[0] != planned_version.split("+")[0]:
        said.append("The engine that answers is version %s, the plan is for %s." % (version, planned_version))
    error = measured["error"]["kv_cache_tokens"]
    if error is not None and abs(error) > TOLERANCE:
        said.append(
            "The engine allotted %d tokens of KV cache, %.1f %% %s than the %d that were planned."
            % (
                measured["kv_cache_tokens"],
                abs(error) * 100,
                "more" if error > 0 else "fewer",
                _expected(measured["predicted"]["kv_cache_tokens"]),
            )
        )
    return " ".join(said) or None


def _model_identity(info: CacheInfo, model: t.Optional[Dict]) -> Dict:
    identity: Dict = {"served_name": info.model}
    if model:
        identity.update({name: model.get(name) for name in MODEL_IDENTITY})
        identity["quantization"] = (model.get("quantization") or {}).get("method")
    return identity


def _hardware_identity(hardware: Dict, plan: t.Optional[Dict]) -> Dict:
    """What the numbers hold for: no serial numbers, nothing that is momentary."""
    chosen = [str(device) for device in plan.get("devices") or []] if plan else []
    cpu = hardware.get("cpu") or {}
    return {
        "accelerators": [
            {name: card.get(name) for name in CARD_IDENTITY}
            for card in hardware.get("accelerators") or []
            if not plan or str(card.get("index")) in chosen or card.get("uuid") in chosen or _slice(card, chosen)
        ],
        "driver_version": hardware.get("driver_version"),
        "cpu": {"model": cpu.get("model"), "cores": cpu.get("cores")},
        "memory_total_bytes": hardware.get("memory_total_bytes"),
    }


def _slice(card: Dict, chosen: t.Sequence[str]) -> bool:
    return any(part.get("uuid") in chosen for part in (card.get("mig") or {}).get("slices") or [])
