# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One sentence per decision of a plan on GPUs, and what to be warned of."""

from __future__ import annotations

import typing as t

from . import batching, calibration_words, capability, devices, generations, parallel, refusals
from . import draft as speculation
from .devices import Seat
from .facts import Host, Model
from .fit import MOST_UTILIZATION, Fit, context_limit
from .units import count, gib
from .wishes import Draft, Wishes


def cuda(
    model: Model, host: Host, fit: Fit, groups: t.Sequence[t.Sequence[Seat]], wishes: Wishes, draft: Draft
) -> None:
    say = draft.reasons.append
    say(_gpus(host, fit, groups, wishes))
    say(_split(model, fit, groups, wishes))
    say(_dtype(model, fit, wishes))
    cap = min(seat.device.capability or capability.LEAST_CAPABILITY for seat in fit.seats)
    if capability.weight_only(model.quantization, cap):
        say("The fp8 weights save memory, not time: compute capability %s unpacks them." % capability.text(cap))
    say(_utilization(fit, wishes))
    say(_context(model, fit, wishes))
    say(_batch(fit, wishes))
    if fit.kv_dtype != "auto":
        source = "fixed in settings" if wishes.fixed("kv_cache_dtype") else "as the checkpoint says"
        say("kv_cache_dtype %s, %s." % (fit.kv_dtype, source))
    if fit.fits:
        low, expected = fit.capacity(fit.budget.kv.low), fit.capacity(fit.budget.kv.expected)
        say(
            "The KV cache gets %s to %s per GPU, %s expected: %s tokens, %.1f requests of full length at once."
            % (
                gib(fit.budget.kv.low),
                gib(fit.budget.kv.high),
                gib(fit.budget.kv.expected),
                format(expected[1], ","),
                expected[2],
            )
        )
        _warn(fit, wishes, low[2], draft)
    calibration_words.cuda(fit.budget, fit.layout, wishes.measured, draft.configuration or {}, draft)


def _gpus(host: Host, fit: Fit, groups: t.Sequence[t.Sequence[Seat]], wishes: Wishes) -> str:
    text = devices.describe(fit.seats)
    if wishes.gpus is not None:
        return "%s: as asked for in gpus." % text
    used = {seat.device.id for seat in fit.seats}
    rest = [seat for group in groups for seat in group if seat.device.id not in used]
    if not rest:
        return "%s: all there is." % text
    models = {seat.kind for group in groups for seat in group}
    if len(models) > 1:
        return "%s; the host has other models of GPU too, which one engine does not mix." % text
    return "%s: %s of the host %s free." % (text, count(len(rest), "GPU"), "stays" if len(rest) == 1 else "stay")


def _split(model: Model, fit: Fit, groups: t.Sequence[t.Sequence[Seat]], wishes: Wishes) -> str:
    split = fit.split
    if split.dp > 1:
        return "data_parallel_size %d, fixed in settings: so many replicas of tensor_parallel_size %d x %s %d." % (
            split.dp, split.tp, "pipeline_parallel_size", split.pp
        )  # fmt: skip
    if wishes.fixed("tensor_parallel_size") or wishes.fixed("pipeline_parallel_size"):
        return "tensor_parallel_size %d x pipeline_parallel_size %d, fixed in settings." % (split.tp, split.pp)
    weights = "%s of weights per GPU" % gib(fit.budget.weights)
    if split.ranks == 1:
        alike = len(next((group for group in groups if fit.seats[0] in group), ()))
        text = "tensor_parallel_size 1: one GPU holds the model (%s)" % weights
        if not fit.fits:
            text = "tensor_parallel_size 1: %s" % weights
        elif alike > 1 and wishes.gpus is None:
            text += "; for more throughput run %d such instances, one per GPU" % alike
        return text + "."
    wire = "joined by NVLink" if fit.linked else "joined by PCIe only, so their exchanges cost time"
    if split.pp > 1:
        why = "tensor_parallel_size %d x pipeline_parallel_size %d" % (split.tp, split.pp)
        wider = parallel.tp_problem(model, split.tp * split.pp)
        reason = ": %s" % wider[1] if wider else ""
        text = "%s%s; %s, %s" % (why, reason, weights, wire)
    elif wishes.prefer == "latency" and fit.linked:
        text = "tensor_parallel_size %d for latency: %s GPUs, %s, read the weights together (%s)" % (
            split.tp, split.tp, wire, weights
        )  # fmt: skip
    else:
        text = "tensor_parallel_size %d: the smallest split with room for the context and the requests; %s, GPUs %s" % (
            split.tp, weights, wire
        )  # fmt: skip
        if wishes.gpus is not None:
            text = "tensor_parallel_size %d over the GPUs asked for; %s, %s" % (split.tp, weights, wire)
    if split.expert_parallel:
        text += "; whole experts per GPU, since their size cannot be cut (enable_expert_parallel)"
    if not model.mla and split.tp > model.kv_heads:
        text += "; the KV cache stops shrinking beyond tensor_parallel_size %d (its KV heads)" % model.kv_heads
    if model.mla:
        text += "; every GPU keeps the whole compressed KV cache"
    return text + "."


def _dtype(model: Model, fit: Fit, wishes: Wishes) -> str:
    if wishes.fixed("dtype") not in (None, "auto"):
        return "dtype %s, fixed in settings." % fit.dtype
    cap = fit.seats[0].device.capability
    if fit.dtype == model.dtype:
        return "dtype %s, as the checkpoint." % fit.dtype
    if fit.dtype == "float16" and cap and cap < (8, 0):
        return "dtype float16: compute capability %s has no bfloat16." % capability.text(cap)
    if fit.dtype == "float32":
        return "dtype float32: all that is left for this model on compute capability %s." % capability.text(
            cap or (0, 0)
        )
    return "dtype %s: vLLM does not run %s checkpoints in their own precision." % (fit.dtype, model.dtype)


def _utilization(fit: Fit, wishes: Wishes) -> str:
    number = "gpu_memory_utilization %.2f" % fit.utilization
    if wishes.fixed("gpu_memory_utilization") is not None:
        return "%s, fixed in settings: %s of %s." % (number, gib(fit.budget.requested), gib(fit.budget.total))
    tightest = min(fit.seats, key=lambda seat: seat.free / seat.total)
    held = refusals.held_text([tightest])
    if held:
        return "%s: %s of %s are free on %s (%s); the CUDA context and a margin stay outside." % (
            number, gib(tightest.free), gib(tightest.total), tightest.device.label, held
        )  # fmt: skip
    text = "%s of %s per GPU: what is free" % (number, gib(fit.budget.total))
    if fit.utilization >= MOST_UTILIZATION:
        return text + ", less a margin for the CUDA context and what grows later (never above %.2f)." % MOST_UTILIZATION
    return text + ", less the CUDA context%s and a margin." % (" and NCCL" if fit.split.ranks > 1 else "")


def _context(model: Model, fit: Fit, wishes: Wishes) -> str:
    number = "max_model_len %s" % format(fit.context, ",")
    if wishes.context is not None:
        return "%s: as asked for (the model allows %s)." % (number, format(model.max_position or fit.context, ","))
    limit = context_limit(model)
    if not fit.fits:
        return "%s of the model's %s, the least worth trying." % (number, format(limit, ","))
    if fit.context >= limit:
        return "%s: the model's whole context fits." % number
    concurrency = fit.capacity(fit.budget.kv.low)[2]
    return "%s of the model's %s: the longest of which %s at once." % (
        number, format(limit, ","), "one request fits" if concurrency < 2 else "%d requests fit" % concurrency
    )  # fmt: skip


def _batch(fit: Fit, wishes: Wishes) -> str:
    seats = fit.seats[0]
    large = batching.large_steps(seats.total, seats.device.name, seats.device.capability)
    usual = batching.token_steps(wishes.prefer, large, 1)[0]
    tokens, sequences = fit.batch.max_num_batched_tokens, fit.batch.max_num_seqs
    if wishes.fixed("max_num_seqs"):
        first = "max_num_seqs %d, fixed in settings" % sequences
    elif wishes.concurrency:
        first = "max_num_seqs %d: the concurrency asked for" % sequences
    else:
        first = "max_num_seqs %d: what the KV cache can feed" % sequences
        default = generations.default_batch(
            wishes.version, seats.total, seats.device.name, seats.device.capability, fit.context
        )
        first += "; every slot costs sampler memory (vLLM's default is %d)" % default[0]
    if wishes.fixed("max_num_batched_tokens"):
        second = "max_num_batched_tokens %d, fixed in settings" % tokens
    elif tokens < usual:
        second = "max_num_batched_tokens %d: less than the usual %d, to leave memory for the KV cache" % (tokens, usual)
    else:
        second = "max_num_batched_tokens %d: %s" % (tokens, _STEP_REASONS[wishes.prefer])
    return "%s; %s." % (first, second)


_STEP_REASONS = {
    "latency": "short steps, so that running answers do not wait for new prompts",
    "balanced": "vLLM's own choice for this GPU",
    "throughput": "long steps, which fill the GPU",
}


def _warn(fit: Fit, wishes: Wishes, concurrency: float, plan: Draft) -> None:
    if not fit.promised:
        plan.warnings.append(
            "This is tight: it fits as estimated (%s of KV cache), but if every buffer takes its most, %s are left. "
            "A shorter context or a smaller max_num_seqs gives room."
            % (gib(fit.budget.kv.expected), gib(fit.budget.kv.low))
        )
    if fit.layout.groups and wishes.concurrency and concurrency < wishes.concurrency:
        plan.warnings.append(
            "%d requests at once are asked for; the KV cache holds %.1f of the full %s tokens. "
            "Shorter ones run at once, the rest waits in the queue."
            % (wishes.concurrency, concurrency, format(fit.context, ","))
        )
    if fit.split.ranks > 1 and not fit.linked:
        sides = {seat.device.numa_node for seat in fit.seats if seat.device.numa_node is not None}
        if len(sides) > 1:
            plan.warnings.append("The GPUs sit on different NUMA nodes and have no NVLink: expect slow exchanges.")
    if not speculation.counted(wishes.settings):
        plan.warnings.append(
            "The draft of settings.speculative_config (%s) is not counted: its weights and its KV cache come on top."
            % speculation.method(wishes.settings)
        )
    uncounted(wishes, plan)
    foreign = [seat for seat in fit.seats if seat.foreign]
    if foreign:
        plan.warnings.append(
            "Other processes hold GPU memory: %s. What they take later, the engine lacks."
            % devices.foreign_text(foreign)
        )


# Options that change what memory holds, and of which the numbers know nothing.
_UNCOUNTED = (
    "cpu_offload_gb", "offload_group_size", "num_gpu_blocks_override", "decode_context_parallel_size",
    "prefill_context_parallel_size", "nnodes", "kv_cache_dtype_skip_layers", "cudagraph_capture_sizes",
)  # fmt: skip


_UNCOUNTED_ON_CPU = ("data_parallel_size", "speculative_config", "spec_method", "spec_model")


def uncounted(wishes: Wishes, plan: Draft, on_cpu: bool = False) -> None:
    """Says which of the fixed settings the numbers leave out."""
    names = _UNCOUNTED + (_UNCOUNTED_ON_CPU if on_cpu else ())
    named = [name for name in names if wishes.fixed(name) not in (None, 0, 1)]
    if on_cpu and wishes.fixed("enable_lora"):
        named.append("enable_lora")
    if on_cpu and speculation.without_memory(wishes.settings):
        named = [name for name in named if not name.startswith("spec")]
    if named:
        plan.warnings.append(
            "Not counted: %s. The engine does as they say, the numbers here are those without."
            % ", ".join("settings.%s" % name for name in named)
        )
