# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From hardware facts, model facts and wishes to a plan for trtllm-serve. Pure: no I/O, no clock, no chance."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

from .. import capability, cuda, devices, parallel, start
from ..facts import Device, Host, Model, read_host, read_model
from ..fit import context_limit, numbers
from ..kv_cache import layout
from ..vllm import SCHEMA
from ..weights import Split, rank_bytes
from ..wishes import Draft
from . import explain, refusals, support
from .fit import ShareFit, block_tokens, kv_dtype_of, work_out
from .wishes import Asked, read

# Raised whenever the same inputs would give another plan: a stored plan with another version is planned anew.
PLANNER_VERSION = "1"


def make_plan(
    hardware: t.Mapping[str, t.Any], model: t.Mapping[str, t.Any], wanted: t.Optional[t.Mapping[str, t.Any]] = None
) -> t.Dict[str, t.Any]:
    """The plan (schema gpufleet.plan/1) for the two contracts and the module's other options.

    A refusal is an answer: ``refusal`` says why, the numbers are still there.
    Raises GpufleetError only for options or facts that make no sense.
    """
    asked = read(wanted or {})
    host, facts = read_host(hardware), read_model(model)
    draft = _plan(facts, host, asked)
    draft.numbers["start_timeout_s"] = start.timeout_s(facts, "cuda")
    return {
        "schema": SCHEMA,
        "engine": "tensorrt_llm",
        "engine_version": asked.version.text,
        "variant": "cuda",
        "settings": dict(sorted(draft.settings.items())),
        "environment": dict(sorted(draft.environment.items())),
        "devices": draft.devices,
        "configuration": None,
        "numbers": draft.numbers,
        "reasons": draft.reasons,
        "warnings": draft.warnings,
        "refusal": draft.refusal.as_dict() if draft.refusal else None,
        "fingerprint": _fingerprint(host, facts, asked),
    }


def _plan(given: Model, host: Host, asked: Asked) -> Draft:
    draft, model = Draft(), _without_windows(given)
    draft.refuse(support.model(model, asked.unlisted_models))
    draft.refuse(refusals.host(host))
    host = _usable(host, asked, draft)
    groups = cuda.seat_groups(host, asked.wishes, draft) if host.nvidia else []
    if not groups:
        draft.numbers = _model_numbers(model, asked)
        return draft
    cap = max(min(seat.device.capability or support.LEAST_CAPABILITY for seat in group) for group in groups)
    draft.refuse(support.quantization(model.quantization, cap))
    draft.refuse(support.kv_dtype(kv_dtype_of(model, asked)))
    draft.refuse(refusals.context(model, asked))
    if draft.refusal and draft.refusal.code in ("kv_cache_dtype_unsupported", "model_unsupported"):
        draft.numbers = _model_numbers(model, asked)
        return draft
    possible = cuda.candidates(model, host, groups, asked.wishes, draft)
    fits = [work_out(model, item.seats, item.split, item.linked, asked) for item in possible]
    best = t.cast(ShareFit, cuda.choose(fits, asked.wishes, model))
    _write(best, asked, draft)
    explain.plan(given, best, groups, asked, draft)
    if not best.fits:
        draft.refuse(refusals.memory(model, host, best, asked))
    return draft


def _without_windows(model: Model) -> Model:
    """Every layer keeps every token: TensorRT-LLM gives windows a cache of their own only with max_attention_window."""
    kinds = tuple("full" if kind in ("sliding", "chunked") else kind for kind in model.layer_kinds)
    return model if kinds == model.layer_kinds else dataclasses.replace(model, layer_kinds=kinds)


def _usable(host: Host, asked: Asked, draft: Draft) -> Host:
    """The host with the cards that TensorRT-LLM has kernels for. What is left out is said, or refused where it is asked for."""
    chosen: t.Sequence[Device] = host.nvidia
    if isinstance(asked.wishes.gpus, tuple):
        chosen, _missing = devices.find(host, asked.wishes.gpus)
    problems = [(device, problem) for device in chosen for problem in [refusals.why_unusable(device)] if problem]
    if problems and (len(problems) == len(chosen) or isinstance(asked.wishes.gpus, tuple)):
        draft.refuse(refusals.unusable([problem for _device, problem in problems]))
        return host
    draft.warnings.extend("Not used: %s." % text for _device, (_code, text) in problems)
    left = {device.id for device, _problem in problems}
    return dataclasses.replace(host, devices=tuple(device for device in host.devices if device.id not in left))


def _model_numbers(model: Model, asked: Asked) -> t.Dict[str, t.Any]:
    """What is known without any GPU: the model's own sizes, as fixed or unsplit."""
    tp, pp = int(asked.settings.get("tp_size") or 1), int(asked.settings.get("pp_size") or 1)
    split = Split() if parallel.tp_problem(model, tp) else Split(tp, pp)
    dtype = capability.compute_dtype(model, None, support.LEAST_CAPABILITY)
    cache = kv_dtype_of(model, asked)
    size = block_tokens(model, asked, None)
    found = layout(model, split, dtype, cache if cache == "fp8" else "auto", block_size=size, hybrid_manager=False)
    return {
        "gpus": [],
        "weights_bytes_per_gpu": max(rank_bytes(model, split, dtype)),
        "kv_bytes_per_token": found.token_bytes,
        "block_size": found.block_size,
        "context_limit_tokens": context_limit(model),
    }


def _write(best: ShareFit, asked: Asked, draft: Draft) -> None:
    draft.devices = [seat.device.id for seat in best.seats]
    draft.settings = {
        "backend": "pytorch",
        "tp_size": best.split.tp,
        "max_seq_len": best.context,
        "max_batch_size": best.batch.max_num_seqs,
        "max_num_tokens": best.batch.max_num_batched_tokens,
        "kv_cache_free_gpu_memory_fraction": best.share.fraction,
    }
    if best.split.pp > 1:
        draft.settings["pp_size"] = best.split.pp
    if best.split.expert_parallel:
        draft.settings["ep_size"] = best.split.tp
    if best.chunked:
        draft.settings["enable_chunked_prefill"] = True
    draft.settings.update(asked.settings)
    draft.environment = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(draft.devices)}
    found = numbers(best)
    for name in ("host_pinned_bytes", "measured_correction_bytes"):  # vLLM's alone
        del found[name]
    draft.numbers = dict(found, free_after_load_bytes=best.share.left.as_dict())


def _fingerprint(host: Host, model: Model, asked: Asked) -> str:
    """Equal for equal stable inputs: what is momentarily free or running has no part in it."""
    wishes = asked.wishes
    stable = {
        "planner": PLANNER_VERSION,
        "engine": ["tensorrt_llm", asked.version.text],
        "model": model.identity,
        "wishes": {
            "context": wishes.context,
            "concurrency": wishes.concurrency,
            "gpus": wishes.gpus,
            "prefer": wishes.prefer,
            "headroom_bytes": wishes.headroom_bytes,
            "settings": asked.settings,
            "reserved": [[claim.device, claim.bytes, claim.fraction, claim.unit] for claim in wishes.claims],
            "unlisted_models": asked.unlisted_models,
        },
        "hardware": [[device.id, device.name, device.capability, device.total_bytes] for device in host.devices],
    }
    text = json.dumps(stable, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
