# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan that does not fit: what is short, and what would make it fit, cheapest first.

Every remedy is worked out like a plan of its own; only what really fits is offered.
"""

from __future__ import annotations

import dataclasses
import typing as t

from . import capability, devices, parallel, refusals
from .devices import Seat
from .facts import Group, Host, Model
from .fit import Fit, needed_bytes, smallest_gpu, work_out
from .units import count, gib
from .wishes import Refusal, Wishes

_FOUR_BIT = 0.28  # of 16 bit: four bits and the groups' scales


def memory_refusal(model: Model, host: Host, fit: Fit, seats: t.Sequence[Seat], wishes: Wishes) -> Refusal:
    """Why ``fit`` does not fit and what would help."""
    where = devices.describe(fit.seats)
    each = " per GPU" if fit.split.ranks > 1 else ""
    short = fit.short
    held = refusals.held_text(fit.seats)
    if held and work_out(model, [_emptied(seat) for seat in fit.seats], fit.split, fit.linked, wishes).fits:
        message = "The memory of %s is taken: %s. %s%s short; without them the model fits." % (
            where,
            held,
            gib(short),
            each,
        )
        return Refusal("foreign_processes", message, short, _remedies(model, host, fit, seats, wishes))
    if fit.start_short:
        message = "gpu_memory_utilization %.2f claims %s of %s, %s free: vLLM would refuse to start, %s%s short." % (
            fit.utilization,
            gib(fit.budget.requested),
            where,
            gib(min(seat.free for seat in fit.seats)),
            gib(short),
            each,
        )
        return Refusal("too_little_memory", message, short, _remedies(model, host, fit, seats, wishes))
    if fit.budget.missing and fit.budget.fixed_kv is not None:
        message = (
            "Weights (%s), buffers (%s) and the fixed KV cache (%s) need more than the %s free on %s: %s%s short."
            % (
                gib(fit.budget.weights),
                gib(fit.budget.overhead.expected),
                gib(fit.budget.fixed_kv),
                gib(fit.budget.free),
                where,
                gib(short),
                each,
            )
        )
        return Refusal("too_little_memory", message, short, _remedies(model, host, fit, seats, wishes))
    if fit.budget.missing:
        message = (
            "Weights (%s) and buffers (%s) need more than the %s%s that vLLM may use of %s: %s%s short, "
            "with the KV cache of one request of %s."
            % (
                gib(fit.budget.weights),
                gib(fit.budget.overhead.expected),
                gib(fit.budget.requested),
                each,
                where,
                gib(short),
                each,
                count(fit.context, "token"),
            )
        )
        return Refusal("too_little_memory", message, short, _remedies(model, host, fit, seats, wishes))
    if needed_bytes(fit.layout, fit.batch, fit.context) > fit.layout.needed(
        fit.context, fit.batch.max_num_batched_tokens
    ):
        message = (
            "The model keeps a state per request: max_num_seqs %d needs as many blocks, %s of KV cache%s on %s; %s are "
            "left beside the weights (%s): %s short."
            % (
                fit.batch.max_num_seqs,
                gib(needed_bytes(fit.layout, fit.batch, fit.context)),
                each,
                where,
                gib(fit.budget.kv.expected),
                gib(fit.budget.weights),
                gib(short),
            )
        )
        return Refusal("no_kv_cache_room", message, short, _remedies(model, host, fit, seats, wishes))
    message = "One request of %s needs %s of KV cache%s on %s, %s are left beside the weights (%s): %s short." % (
        count(fit.context, "token"),
        gib(fit.layout.needed(fit.context, fit.batch.max_num_batched_tokens)),
        each,
        where,
        gib(fit.budget.kv.expected),
        gib(fit.budget.weights),
        gib(short),
    )
    return Refusal("no_kv_cache_room", message, short, _remedies(model, host, fit, seats, wishes))


def _emptied(seat: Seat) -> Seat:
    """The same device with nobody else on it."""
    return dataclasses.replace(
        seat, free=min(seat.total, seat.free + seat.foreign + seat.promised), foreign=0, foreign_names=(), promised=0
    )


def _remedies(model: Model, host: Host, fit: Fit, seats: t.Sequence[Seat], wishes: Wishes) -> t.List[str]:
    found: t.List[str] = []

    def try_out(
        changed: Wishes, on: t.Sequence[Seat] = fit.seats, what: Model = model, **options: t.Any
    ) -> t.Optional[Fit]:
        worked = work_out(what, on, fit.split, fit.linked, changed, **options)
        return worked if worked.fits else None

    unfixed = dataclasses.replace(
        wishes, settings={key: value for key, value in wishes.settings.items() if key not in _SIZES}
    )
    if _SIZES.intersection(wishes.settings) and try_out(unfixed):
        names = sorted(_SIZES.intersection(wishes.settings))
        found.append("leave settings.%s to the plan" % " and settings.".join(names))
    if not fit.budget.missing and not fit.start_short:
        shorter = dataclasses.replace(
            wishes,
            context=None,
            concurrency=1,
            settings={key: value for key, value in wishes.settings.items() if key != "max_model_len"},
        )
        best = try_out(shorter)
        if best and best.context < fit.context:
            found.append("context: %d" % best.context)
    if not wishes.fixed("enforce_eager") and try_out(wishes, eager=True):
        found.append("settings.enforce_eager: true (no CUDA graphs: %s less, slower)" % gib(fit.budget.graphs.expected))
    cap = min(seat.device.capability or capability.LEAST_CAPABILITY for seat in fit.seats)
    if (
        fit.kv_dtype == "auto"
        and not capability.kv_dtype_problem("fp8", cap, model)
        and try_out(wishes, kv_dtype="fp8")
    ):
        found.append("settings.kv_cache_dtype: fp8 (half the KV cache)")
    if any(seat.foreign or seat.promised for seat in fit.seats) and try_out(wishes, [_emptied(s) for s in fit.seats]):
        found.append("free the memory that others hold: %s" % refusals.held_text(fit.seats))
    more = _more_gpus(model, host, fit, seats, wishes)
    if more:
        found.append(more)
    found.extend(_quantized(model, fit, wishes, cap))
    one = fit.split.ranks == 1
    if smallest_gpu(fit) <= fit.budget.total:  # the GPU itself is large enough
        return found
    found.append(
        "%s with %s or more%s"
        % ("a GPU" if one else "%d GPUs" % fit.split.ranks, gib(smallest_gpu(fit)), "" if one else " each")
    )
    return found


# Settings that take memory: fixed ones are the first suspects.
_SIZES = frozenset(
    (
        "gpu_memory_utilization",
        "max_num_seqs",
        "max_num_batched_tokens",
        "kv_cache_memory_bytes",
        "max_cudagraph_capture_size",
    )
)


def _more_gpus(model: Model, host: Host, fit: Fit, seats: t.Sequence[Seat], wishes: Wishes) -> t.Optional[str]:
    """The smallest larger number of equal GPUs of this host that holds it."""
    if fit.seats[0].device.is_slice or fit.split.dp > 1:
        return None
    forced = bool(wishes.fixed("enable_expert_parallel"))
    free = dataclasses.replace(
        wishes,
        settings={
            k: v for k, v in wishes.settings.items() if k not in ("tensor_parallel_size", "pipeline_parallel_size")
        },
    )
    equal = [
        devices.seat(device, wishes.own_units, wishes.claims)
        for device in host.nvidia
        if not device.is_slice and devices.why_unusable(device) is None and device.name == fit.seats[0].device.name
    ]
    for split in parallel.splits(model, len(equal), only_ranks=False, expert_parallel=forced):
        if split.ranks <= fit.split.ranks:
            continue
        chosen, linked = devices.choose(equal, split.ranks, host.nvswitches)
        if work_out(model, chosen, split, linked, free).fits:
            return "gpus: %d (tensor_parallel_size %d%s)" % (
                split.ranks, split.tp, ", pipeline_parallel_size %d" % split.pp if split.pp > 1 else ""
            )  # fmt: skip
    return None


def _quantized(model: Model, fit: Fit, wishes: Wishes, cap: capability.Capability) -> t.List[str]:
    """A smaller checkpoint of the same model, where this one is 16-bit."""
    if model.quantization or wishes.fixed("quantization"):
        return []
    found = []
    if cap >= (8, 9) and _fits_scaled(model, fit, wishes, 0.5):
        found.append("an FP8 checkpoint of the model, or settings.quantization: fp8 (half the weights)")
    if _fits_scaled(model, fit, wishes, _FOUR_BIT):
        found.append("an AWQ or GPTQ 4-bit checkpoint of the model (about a quarter of the weights)")
    return found


def _fits_scaled(model: Model, fit: Fit, wishes: Wishes, factor: float) -> bool:
    """With the linear layers at ``factor`` of their bytes; embeddings, norms and routers stay as they are."""

    def smaller(group: Group) -> Group:
        if group.name.startswith(("attention.", "mla.", "mlp.", "moe.experts", "moe.shared")):
            return dataclasses.replace(group, bytes=int(group.bytes * factor), quantized=True)
        return group

    reduced = dataclasses.replace(model, groups=tuple(smaller(group) for group in model.groups))
    return work_out(reduced, fit.seats, fit.split, fit.linked, wishes).fits
