# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every term of an Ollama plan as numbers."""

from __future__ import annotations

import typing as t

from . import memory
from . import schedule
from . import values
from ..facts import Host
from .schedule import Card
from .solve import FIT_TARGET_MIB, Loaded, Solution, Solver
from ..units import MIB


def numbers(host: Host, solver: Solver, solution: Solution) -> t.Dict[str, t.Any]:
    return {
        "gpus": [_gpu(card) for card in solver.cards],
        "models": {item.wish.name: dict(terms(item), places=places(item, solver)) for item in solution.loaded},
        "loaded_together": solution.together,
        "fit_target_bytes": (solver.fit_target_mib() or FIT_TARGET_MIB) * MIB,
        "context_bytes": memory.CONTEXT.as_dict() if solver.cards else {"low": 0, "expected": 0, "high": 0},
        "default_context_tokens": schedule.default_context(sum(card.total for card in solver.cards)),
        "parallel_cap": solver.parallel_cap,
        "host_bytes": solver.host_need(solution),
        "host_room_bytes": solver.room,
        "host_memory_bytes": host.memory_total_bytes,
        "prompt_cache_limit_bytes": memory.PROMPT_CACHE_MIB * MIB * solution.together,
    }


def _gpu(card: Card) -> t.Dict[str, t.Any]:
    return {
        "id": card.id,
        "label": card.label,
        "name": card.name,
        "total_bytes": card.total,
        "free_bytes": card.free,
        "foreign_bytes": card.foreign,
        "reserved_bytes": card.promised,
    }


def terms(item: Loaded) -> t.Dict[str, t.Any]:
    model, load = item.wish.model, item.load
    caches = memory.cache_bytes(model, load)
    state = sum(size for size, layer in zip(caches, model.layers) if layer.kind == "linear")
    growing = sum(
        size for size, layer in zip(caches, model.layers) if layer.owns_kv and layer.kind not in ("sliding", "chunked")
    )
    compute = memory.compute_bytes(model, load)
    vram = sum(item.expected.used)
    size = vram if item.expected.full else vram + item.expected.host
    return {
        "weights_bytes": model.weights,
        "weights_estimated": model.estimated,
        "quantization": model.quantization,
        "embedding_bytes": model.embedding,
        "output_bytes": model.output,
        "projector_bytes": model.projector_bytes,
        "projector_on_gpu": item.projector_on_gpu,
        "context_tokens": load.context,
        "parallel": load.parallel,
        "batch": load.batch,
        "kv_cache_type": load.kv_type,
        "kv_cache_bytes": sum(caches) - state,
        "kv_bytes_per_token": growing // (load.cells * load.parallel),
        "recurrent_state_bytes": state,
        "compute_bytes": compute.as_dict(),
        "margin_bytes": item.margin,
        "layers_total": item.expected.layers_total,
        "layers_on_gpu": {"low": item.low.on_gpu, "expected": item.expected.on_gpu, "high": item.high.on_gpu},
        "layers_per_gpu": list(item.expected.layers),
        "expert_layers_on_cpu": item.low.experts_on_cpu,
        "gpu_bytes": list(item.expected.used),
        "size_bytes": size,
        "size_vram_bytes": vram,
        "host_bytes": item.expected.host,
        "scheduler_bytes": item.predicted,
        "fits_beside": item.beside,
    }


def places(item: Loaded, solver: Solver) -> t.List[t.Dict[str, t.Any]]:
    """Where the model's memory is, as expected: each GPU that has a part of it, then the host."""
    model, load, found = item.wish.model, item.load, item.expected
    projector = model.projector_bytes
    rows = []
    for number, seat in enumerate(item.seats):
        cache, buffer = found.caches[number], found.buffers[number]
        beside = projector if item.projector_on_gpu and number == 0 else 0
        if found.used[number] or beside:
            rows.append(_place(solver.cards[seat].id, found.used[number], cache, buffer, beside))
    cache = sum(memory.cache_bytes(model, load)) - sum(found.caches)
    buffer = memory.mask_bytes(model, load) + load.parallel * model.vocabulary * 4
    if found.on_gpu < found.layers_total:
        buffer += memory.compute_bytes(model, load).expected
    rows.append(_place("host", found.host, cache, buffer, 0 if item.projector_on_gpu else projector))
    return rows


def _place(device: str, size: int, cache: int, buffer: int, projector: int) -> t.Dict[str, t.Any]:
    return {
        "device": device,
        "weights_bytes": size - cache - buffer,
        "cache_bytes": cache,
        "buffer_bytes": buffer,
        "projector_bytes": projector,
    }


def model(item: Loaded, solver: Solver) -> t.Dict[str, t.Any]:
    """What to give this model: its parameters, and how long a request keeps it."""
    parameters = dict(item.wish.parameters, num_ctx=item.load.context)
    if item.load.batch != item.auto_batch and item.wish.model.task != "embed":
        parameters["num_batch"] = item.load.batch
    verdict = "gpu" if item.low.full else "partly" if item.low.on_gpu else "cpu"
    kept = item.wish.keep_alive
    return {
        "name": item.wish.name,
        "parameters": dict(sorted(parameters.items())),
        "keep_alive": None if kept is None else values.duration(kept),
        "runs_on": verdict,
        "devices": [solver.cards[seat].id for seat, used in zip(item.seats, item.expected.used) if used],
    }
