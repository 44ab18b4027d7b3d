# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measured Ollama and llama.cpp loads through the planner's own code: what was predicted, what was logged.

    python tests/truth/ollama_replay.py [--cases FILE] [--configs FILE]

Every Ollama log here is older than 0.30, so what it has as "required" and "graph" is the estimate of Ollama's former
engine, not an allotment; the planner predicts what llama-server allots today. Weights and KV cache mean the same in
both. The case's own free memory, context and cache type are taken; what it does not state was Ollama's default then: no
flash attention, 512 tokens a step. Flash attention is on where the case is younger than llama.cpp's own change of that
default.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.models import gguf_types
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import gpus
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import fit as ollama_fit
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import memory
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.model import GgufModel, read_model
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.solve import FIT_TARGET_MIB
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.variables import KV_TYPES
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.units import GIB, MIB

HERE = pathlib.Path(__file__).resolve().parent
CASES, CONFIGS = HERE / "ollama_cases.jsonl", HERE / "ollama_model_configs.json"

Row = t.Dict[str, t.Any]

# GPUs and models that are younger than August 2025, when llama.cpp turned flash attention on where it can.
_RECENT = ("GB10", "Qwen3.6")
# Quantizations as cases spell them; a case without one is what ollama.com served under that name.
_SPELLED = {"Q4_0/Q4_K_M class": "Q4_0", None: "Q4_0"}


def load(cases: pathlib.Path, configs: pathlib.Path) -> t.Tuple[t.List[Row], t.Dict[str, t.Any]]:
    rows = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines() if line.strip()]
    return rows, json.loads(configs.read_text(encoding="utf-8"))


def model_of(case: Row, configs: t.Mapping[str, t.Any]) -> GgufModel:
    config = {key: value for key, value in configs[case["model"]].items() if not key.startswith("_")}
    quant = case.get("quant")
    facts = gguf_types.quantized(facts_from_config(config), _SPELLED.get(quant, quant))
    if facts["mla"] and "old non-MLA KV layout" in case.get("notes", ""):
        facts["mla"]["compressed_cache"] = False  # as model_info finds it in such a file
    return read_model(case["model"], facts)


def memory_of(case: Row) -> t.List[int]:
    """Free memory of each GPU: logged, stated, or from the table of GPUs by the case's GPU."""
    count = case["gpu_count"]
    total = case.get("vram_available_gib")
    if total is None and case.get("gpu_mem_gib") is not None:
        total = case["gpu_mem_gib"] * count
    if total is None:
        name = case["gpu"].split("(")[0]
        known = {"24GB class, name not in excerpt": 24.0, "CUDA CI runner ": 16.0, "NVIDIA GB10 ": 119.7}
        total = known.get(name) or count * (8.0 if "8GB" in name else gpus.find(name).memory_gib)
    return [int(total * GIB / count)] * count


def replay(case: Row, configs: t.Mapping[str, t.Any]) -> Row:
    model = model_of(case, configs)
    parallel = case.get("num_parallel") or 1
    # --ctx-size of these logs is that of all slots together.
    context = (case.get("num_ctx") or 2048 * parallel) // parallel
    kv_type = case.get("kv_type") if case.get("kv_type") in KV_TYPES else "f16"
    flash = case.get("flash_attn")
    if flash is None:
        flash = any(word in case["gpu"] + case["model"] for word in _RECENT)
    step = memory.Load(context, parallel, case.get("n_ubatch") or 512, flash, kv_type)
    free = memory_of(case)
    context_bytes = memory.CONTEXT.expected
    compute = memory.compute_bytes(model, step)
    margin = FIT_TARGET_MIB * MIB + model.projector_bytes
    place = ollama_fit.place(model, step, [size - context_bytes for size in free], margin, compute.expected)
    caches = memory.cache_bytes(model, step)
    state = sum(size for size, layer in zip(caches, model.layers) if layer.kind == "linear")
    kv = sum(caches) - state
    weights = model.weights - model.embedding if not model.identity["tied_embeddings"] else model.weights
    required = weights + sum(caches) + compute.expected + context_bytes + model.projector_bytes
    measured = _or(case.get("memory_required_full_gib"), case.get("used_vram_gib"), 1.0)
    outcome = "fits" if place.full else "partial_offload" if place.on_gpu else "cpu_only"
    return {
        "id": case["id"],
        "model": case["model"],
        "outcome": outcome,
        "measured_outcome": case["outcome"],
        "weights_gib": weights / GIB,
        "measured_weights_gib": _weights(case),
        "kv_gib": kv / GIB,
        "measured_kv_gib": _kv(case),
        "compute_gib": compute.expected / GIB,
        "measured_compute_gib": _or(case.get("graph_full_gib"), case.get("compute_gpu_mib"), MIB / GIB),
        "required_gib": required / GIB,
        "measured_required_gib": measured,
        "layers": place.on_gpu,
        "measured_layers": case.get("layers_offloaded"),
        "layers_total": place.layers_total,
        "measured_total": case.get("layers_total"),
        "sliding": model.window > 0,
    }


def _weights(case: Row) -> t.Optional[float]:
    if "memory_weights_total_gib" in case:
        return case["memory_weights_total_gib"]
    if "weights_gpu_mib" in case and case.get("outcome") == "fits":
        return case["weights_gpu_mib"] / 1024
    return None


def _kv(case: Row) -> t.Optional[float]:
    if case.get("kv_type") not in (None,) + tuple(KV_TYPES):
        return None  # a cache type that llama.cpp does not have
    return _or(case.get("memory_required_kv_gib"), case.get("kv_mib"), MIB / GIB)


def _or(first: t.Optional[float], second: t.Optional[float], factor: float) -> t.Optional[float]:
    return first if first is not None else None if second is None else second * factor


def table(rows: t.Sequence[Row]) -> str:
    head = "%-5s %-26s %21s %17s %17s %17s %17s %12s" % (
        "case", "model", "outcome (measured)", "weights GiB", "KV GiB", "graph GiB", "required GiB", "layers",
    )  # fmt: skip
    lines = [head, "-" * len(head)]
    for row in rows:
        lines.append(
            "%-5s %-26s %21s %17s %17s %17s %17s %12s"
            % (
                row["id"],
                row["model"][:26],
                "%s (%s)" % (_SHORT[row["outcome"]], _SHORT[row["measured_outcome"]]),
                _pair(row["weights_gib"], row["measured_weights_gib"]),
                _pair(row["kv_gib"], row["measured_kv_gib"]),
                _pair(row["compute_gib"], row["measured_compute_gib"]),
                _pair(row["required_gib"], row["measured_required_gib"]),
                "%d (%s) /%d" % (row["layers"], _known(row["measured_layers"]), row["layers_total"]),
            )
        )  # fmt: skip
    return "\n".join(lines)


_SHORT = {"fits": "GPU", "partial_offload": "partly", "cpu_only": "CPU", "cuda_oom": "OOM"}


def _known(value: t.Optional[int]) -> str:
    return "-" if value is None else str(value)


def _pair(mine: float, theirs: t.Optional[float]) -> str:
    return "%.2f (%s)" % (mine, "-" if theirs is None else "%.2f" % theirs)


def all_rows(cases: pathlib.Path = CASES, configs: pathlib.Path = CONFIGS) -> t.List[Row]:
    found, shapes = load(cases, configs)
    return [replay(case, shapes) for case in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=pathlib.Path, default=CASES)
    parser.add_argument("--configs", type=pathlib.Path, default=CONFIGS)
    options = parser.parse_args()
    print("predicted (measured)\n" + table(all_rows(options.cases, options.configs)))


if __name__ == "__main__":
    main()
