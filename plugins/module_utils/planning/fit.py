# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One way to run a model on given GPUs, worked out: context, batch, memory, capacity."""

from __future__ import annotations

import dataclasses
import functools
import math
import typing as t

from . import batching, calibration, capability, draft, generations, kv_cache, recurrent, terms
from .budget import Budget
from .devices import Seat
from .facts import Model
from .kv_cache import CacheLayout
from .terms import Batch, Engine, Range
from .units import GIB, MIB
from .weights import Split, mla_copy_bytes, rank_bytes
from .wishes import Wishes

MOST_UTILIZATION = 0.95
_HEADROOM = 0.02  # of a GPU's memory, for what grows after the start
_UNIFIED_HEADROOM = 0.10  # the system lives in the same memory
# Requests of full length that should fit at once before a plan counts as comfortable.
_COMFORTABLE = {"latency": 1, "balanced": 4, "throughput": 4}
COMFORTABLE_CONTEXT = 32768
_DEFAULT_LIMIT = 32768  # where the model states no limit


@dataclasses.dataclass(frozen=True)
class Fit:
    split: Split
    seats: t.Tuple[Seat, ...]
    linked: bool
    dtype: str
    kv_dtype: str
    utilization: float
    budget: Budget
    layout: CacheLayout
    batch: Batch
    context: int
    context_limit: int
    start_short: int  # bytes that vLLM's check of free memory at start lacks
    promised: bool  # the context fits even if every estimate comes out at its worst
    fits: bool  # it fits as expected
    comfortable: bool

    def capacity(self, size: int) -> t.Tuple[int, int, float]:
        return self.layout.capacity(size, self.context, self.batch.max_num_batched_tokens)

    @property
    def short(self) -> int:
        """Bytes per GPU that are missing for one request of the whole context; 0 when it fits."""
        needed = needed_bytes(self.layout, self.batch, self.context)
        if self.budget.fixed_kv is not None:
            return max(self.start_short, needed - self.budget.fixed_kv, self.budget.missing)
        room = self.budget.requested - self.budget.weights - self.budget.overhead.expected
        return max(self.start_short, needed - room, 0)


def work_out(
    model: Model,
    seats: t.Sequence[Seat],
    split: Split,
    linked: bool,
    wishes: Wishes,
    kv_dtype: t.Optional[str] = None,
    eager: t.Optional[bool] = None,
) -> Fit:
    """The best batch and context that ``split`` allows on ``seats`` (one per rank); it may not fit."""
    model = draft.added(model, wishes.settings)
    cap = min((seat.device.capability or capability.LEAST_CAPABILITY for seat in seats))
    dtype = capability.compute_dtype(model, wishes.fixed("dtype"), cap)
    kv_dtype = kv_dtype or kv_dtype_of(model, wishes)
    layout = kv_layout(model, split, wishes, dtype, kv_dtype, cap)
    utilization, start_short = choose_utilization(seats, split, wishes)
    total = min(seat.total for seat in seats)
    online = wishes.fixed("quantization") if not model.quantization else None
    weights = max(rank_bytes(model, split, dtype, online if online in capability.ONE_BYTE_ONLINE else None))
    mla_copy = mla_copy_bytes(model, split, dtype)
    eager = bool(wishes.fixed("enforce_eager")) if eager is None else eager
    fixed_kv = wishes.fixed("kv_cache_memory_bytes")
    engine = engine_of(model, split, dtype, cap, any(seat.device.unified for seat in seats), wishes)
    rope_cache, lora = terms.rope_cache_bytes(model, dtype), terms.lora_bytes(model, engine)
    experts, runtime = terms.expert_workspace_bytes(model, engine), terms.runtime_bytes(model, engine)

    def budget_for(batch: Batch, context: int) -> Budget:
        estimate = Budget(
            total=total,
            utilization=utilization,
            weights=weights,
            mla_copy=mla_copy,
            rope_cache=rope_cache,
            lora=lora,
            sampler_state=terms.sampler_state_bytes(model, batch, engine),
            activation=terms.activation_bytes(model, batch, engine),
            experts=experts,
            sparse=terms.sparse_workspace_bytes(model, batch, context, engine),
            graphs=terms.graph_bytes(model, batch, engine) if engine.generation.graphs_inside else terms.ZERO,
            runtime=runtime,
            free=min(seat.free for seat in seats),
            outside=terms.context_bytes(split),
            fixed_kv=fixed_kv,
        )
        if not wishes.measured.measurements:
            return estimate
        wanted = calibration.configuration(
            model, seats, split, linked, dtype, kv_dtype, layout.block_size, batch, wishes
        )
        return calibration.corrected(estimate, wishes.measured, wanted)

    limit = context_limit(model)
    if whole_prompts(model, wishes) and wishes.fixed("max_num_batched_tokens"):
        limit = min(limit, int(wishes.fixed("max_num_batched_tokens")))  # a prompt must fit in one step
    sequences = wishes.fixed("max_num_seqs") or wishes.concurrency or batching.sequence_cap(wishes.prefer, total)
    choices = _token_choices(model, seats, layout, sequences, total, wishes)
    seen: t.Optional[t.Tuple[Batch, Budget, int, int]] = None
    for steps in choices:
        batch = Batch(min(sequences, steps), steps, eager, wishes.fixed("max_cudagraph_capture_size"))
        memory = budget_for(batch, wishes.context or limit)
        if not memory.kv.low and steps != choices[-1]:
            continue  # nothing can be promised with steps this large
        context = wishes.context or choose_context(layout, memory.kv.low, limit, batch, wishes)
        if wishes.fixed("max_num_seqs") is None and wishes.concurrency is None:
            tokens = layout.capacity(memory.kv.low, context, steps)[1]
            most = batch.max_num_seqs
            if layout.recurrent and not eager:
                most = max(1, min(most, layout.num_blocks(memory.kv.low)))
            fewer = dataclasses.replace(
                batch, max_num_seqs=batching.sequences_for(tokens, context, most, wishes.prefer)
            )
            if fewer != batch:
                batch, memory = fewer, budget_for(fewer, wishes.context or limit)
                context = wishes.context or choose_context(layout, memory.kv.low, limit, batch, wishes)
        if model.mla and model.mla.index_layers:
            memory = budget_for(batch, context)
        needed = needed_bytes(layout, batch, context)
        promised = not start_short and memory.safe and needed <= memory.kv.low
        if promised:
            break
        if memory.measured and not seen and needed <= memory.kv.expected:
            seen = (batch, memory, context, needed)
    if not promised and seen:
        batch, memory, context, needed = seen  # it ran so: surer than smaller steps that are only estimated
    return Fit(
        split=split,
        seats=tuple(seats),
        linked=linked,
        dtype=dtype,
        kv_dtype=kv_dtype,
        utilization=utilization,
        budget=memory,
        layout=layout,
        batch=batch,
        context=context,
        context_limit=context_limit(model),
        start_short=start_short,
        promised=promised,
        fits=not start_short and not memory.missing and needed <= memory.kv.expected,
        comfortable=promised and _comfortable(layout, memory.kv, context, limit, batch, wishes),
    )


def engine_of(
    model: Model, split: Split, dtype: str, cap: capability.Capability, unified: bool, wishes: Wishes
) -> Engine:
    """What the settings say of the engine's buffers."""
    limits = wishes.fixed("limit_mm_per_prompt")
    none = isinstance(limits, dict) and bool(limits) and not any(limits.values())
    lora = bool(wishes.fixed("enable_lora"))
    return Engine(
        generation=generations.of(wishes.version, dense=not (model.moe or model.linear)),
        capability=cap,
        split=split,
        dtype=dtype,
        text_only=bool(wishes.fixed("language_model_only")) or none,
        lora_rank=int(wishes.fixed("max_lora_rank") or 16) if lora else 0,
        loras=int(wishes.fixed("max_loras") or 1) if lora else 0,
        speculative_tokens=draft.tokens(wishes.settings),
        unified=unified,
        flashinfer=wishes.fixed("attention_backend") in ("FLASHINFER", "flashinfer") or cap >= (10, 0),
    )


def needed_bytes(layout: CacheLayout, batch: Batch, context: int) -> int:
    """The KV bytes per rank without which vLLM does not start: one whole request, and with CUDA graphs a block for
    every sequence slot of a model with recurrent layers (config/compilation.py, "exceeds available Mamba cache blocks").
    """
    needed = layout.needed(context, batch.max_num_batched_tokens)
    if layout.recurrent and not batch.eager:
        needed = max(needed, batch.max_num_seqs * max(layout.bytes_per_block))
    return needed


def whole_prompts(model: Model, wishes: Wishes) -> bool:
    """Whether a prompt must fit in one step: bidirectional encoders cannot cut it (config/model.py
    is_chunked_prefill_supported), and vLLM then refuses a max_model_len above max_num_batched_tokens."""
    return wishes.fixed("enable_chunked_prefill") is False or set(model.layer_kinds) == {"none"}


def context_limit(model: Model) -> int:
    """The longest context that ``auto`` may choose."""
    return int(model.default_context or model.max_position or _DEFAULT_LIMIT)


def kv_dtype_of(model: Model, wishes: Wishes) -> str:
    fixed = wishes.fixed("kv_cache_dtype")
    if fixed and fixed != "auto":
        return str(fixed)
    stated = model.quantization.kv_cache_dtype if model.quantization else None
    return "fp8" if stated and stated.startswith("fp8") else "auto"


def kv_layout(
    model: Model, split: Split, wishes: Wishes, dtype: str, kv_dtype: str, cap: t.Optional[capability.Capability]
) -> CacheLayout:
    block = wishes.fixed("block_size") or (capability.mla_block_size(cap) if model.mla else 16)
    asynchronous = wishes.fixed("async_scheduling") is not False
    generation = generations.of(wishes.version)
    if model.mla and not generation.mla_kernels:
        model = _uncompressed(model)
    return kv_cache.layout(
        model,
        split,
        dtype,
        kv_dtype,
        block_size=int(block),
        inflight_batches=split.pp + 1 if asynchronous else split.pp,
        prefix_caching=wishes.fixed("enable_prefix_caching") is not False,
        hybrid_manager=generation.hybrid_cache and not wishes.fixed("disable_hybrid_kv_cache_manager"),
        state_dtype=wishes.fixed("mamba_ssm_cache_dtype"),
        checkpoints=bool(
            model.linear and cap and generation.checkpoints and recurrent.writes_checkpoints(model.linear, cap)
        ),
    )


@functools.lru_cache(maxsize=64)
def _uncompressed(model: Model) -> Model:
    """An MLA model as engines without MLA kernels ran it: full keys and values for every head."""
    kinds = tuple("full" if kind == "mla" else kind for kind in model.layer_kinds)
    size = model.head_size
    return dataclasses.replace(
        model, mla=None, layer_kinds=kinds, kv_heads=model.attention_heads, value_head_size=size
    )


def choose_utilization(seats: t.Sequence[Seat], split: Split, wishes: Wishes) -> t.Tuple[float, int]:
    """gpu_memory_utilization, and the bytes by which vLLM's check at start would miss it.

    vLLM refuses to start when less than ceil(total * utilization) is free once its own CUDA context and NCCL are up
    (v1/worker/utils.py request_memory). So: what is free, less those at their largest, less the headroom; rounded down
    to a hundredth, never above 0.95.
    """
    fixed = wishes.fixed("gpu_memory_utilization")
    outside = terms.context_bytes(split)
    if fixed is not None:
        short = max(math.ceil(seat.total * fixed) + outside.expected - seat.free for seat in seats)
        return float(fixed), max(0, short)
    shares = []
    for seat in seats:
        headroom = wishes.headroom_bytes
        if headroom is None:
            headroom = int(seat.total * (_UNIFIED_HEADROOM if seat.device.unified else _HEADROOM))
        shares.append((seat.free - outside.high - headroom) / seat.total)
    return max(0.0, math.floor(min(MOST_UTILIZATION, *shares) * 100) / 100), 0


def choose_context(layout: CacheLayout, kv_bytes: int, limit: int, batch: Batch, wishes: Wishes) -> int:
    """The longest context of which enough requests fit at once; at least the longest of which one fits.

    Enough is the concurrency asked for, else 4 (latency 1); rather fewer requests than less than 8192 tokens.
    """
    if not layout.groups:  # an encoder keeps nothing
        return limit
    requests = wishes.concurrency or _COMFORTABLE[wishes.prefer]
    while True:
        context = layout.largest_context(kv_bytes, limit, batch.max_num_batched_tokens, requests)
        if requests == 1 or context >= min(limit, 8192):
            break
        requests = max(1, requests // 2)
    if context in (0, limit):
        return limit if context else min(limit, 2048)
    step = 1024 if context >= 4096 else 128 if context >= 512 else 16
    return max(context // step * step, 1)


def _token_choices(
    model: Model, seats: t.Sequence[Seat], layout: CacheLayout, sequences: int, total: int, wishes: Wishes
) -> t.List[int]:
    fixed = wishes.fixed("max_num_batched_tokens")
    if fixed:
        return [int(fixed)]
    least = max(512, min(sequences, 2048), layout.block_size if model.linear else 0, 2048 if model.multimodal else 0)
    if whole_prompts(model, wishes):
        least = max(least, wishes.context or context_limit(model))  # a prompt must fit in one step
    device = seats[0].device
    return batching.token_steps(wishes.prefer, batching.large_steps(total, device.name, device.capability), least)


def _comfortable(layout: CacheLayout, kv: Range, context: int, limit: int, batch: Batch, wishes: Wishes) -> bool:
    """Whether nothing is gained by more GPUs: the requests asked for fit at once, the context is long enough."""
    requests = wishes.concurrency or _COMFORTABLE[wishes.prefer]
    if wishes.context is None and context < min(limit, COMFORTABLE_CONTEXT):
        return False
    return layout.capacity(kv.low, context, batch.max_num_batched_tokens)[2] >= requests


def numbers(fit: Fit) -> t.Dict[str, t.Any]:
    """Every term of the budget per GPU, in bytes, and what the KV cache holds."""
    memory = fit.budget
    capacity = {name: fit.capacity(getattr(memory.kv, name)) for name in ("low", "expected", "high")}
    blocks, _tokens, concurrency = capacity["expected"]
    return {
        "gpus": [
            {
                "id": seat.device.id,
                "index": seat.device.index,
                "name": seat.device.name,
                "total_memory_bytes": seat.total,
                "free_memory_bytes": seat.free,
                "foreign_memory_bytes": seat.foreign,
                "reserved_by_others_bytes": seat.promised,
            }
            for seat in fit.seats
        ],
        "total_memory_bytes": memory.total,
        "free_memory_bytes": min(seat.free for seat in fit.seats),
        "foreign_memory_bytes": max(seat.foreign for seat in fit.seats),
        "requested_bytes": memory.requested,
        "unclaimed_bytes": memory.total - memory.requested,
        "context_bytes": terms.context_bytes(fit.split).as_dict(),
        "claimed_bytes_per_gpu": memory.requested + terms.context_bytes(fit.split).expected,
        "weights_bytes_per_gpu": memory.weights,
        "mla_dequantized_bytes": memory.mla_copy,
        "activation_peak_bytes": memory.activation.as_dict(),
        "rope_cache_bytes": memory.rope_cache,
        "lora_bytes": memory.lora,
        "sampler_state_bytes": memory.sampler_state,
        "expert_workspace_bytes": memory.experts.as_dict(),
        "sparse_workspace_bytes": memory.sparse.as_dict(),
        "cuda_graph_bytes": memory.graphs.as_dict(),
        "runtime_bytes": memory.runtime.as_dict(),
        "measured_correction_bytes": memory.overhead.expected - memory.estimated.expected,
        "kv_bytes_per_token": fit.layout.token_bytes,
        "kv_bytes_per_block": max(fit.layout.bytes_per_block, default=0),
        "kv_groups": len(fit.layout.groups),
        "block_size": fit.layout.block_size,
        "blocks_per_request": fit.layout.blocks_per_request(fit.context, fit.batch.max_num_batched_tokens),
        "kv_needed_bytes": needed_bytes(fit.layout, fit.batch, fit.context),
        "kv_cache_bytes": memory.kv.as_dict(),
        "kv_cache_tokens": {name: values[1] for name, values in capacity.items()},
        "num_gpu_blocks": blocks,
        "max_concurrency": round(concurrency, 2),
        "max_concurrency_low": round(capacity["low"][2], 2),
        "context_limit_tokens": fit.context_limit,
        "concurrency_by_context": fit.layout.concurrency_by_context(
            memory.kv.low, memory.kv.expected, fit.context_limit, fit.context, fit.batch.max_num_batched_tokens
        ),
        "host_pinned_bytes": fit.batch.max_num_seqs * fit.context * 4,
    }


def smallest_gpu(fit: Fit) -> int:
    """Memory (bytes) a GPU would need for this split to hold weights, overhead and one whole request."""
    needed = (
        fit.budget.weights
        + fit.budget.overhead.expected
        + needed_bytes(fit.layout, fit.batch, fit.context)
        + terms.context_bytes(fit.split).high
    )
    return math.ceil(needed / (1 - _HEADROOM) / GIB) * GIB + 256 * MIB
