# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One way to run a model with TensorRT-LLM on given GPUs: the planner's terms, divided as trtllm-serve divides memory.

    KV = (free - context - weights - peak of the largest step - CUDA graphs) * kv_cache_free_gpu_memory_fraction

Source: tensorrt_llm/_torch/pyexecutor/_util.py, configure_kv_cache_capacity and _cal_max_memory. It runs a step of
max_num_tokens and takes what torch held at most and all that lies outside of torch: graphs and NCCL, other processes too.
Then py_executor_creator.py captures the graphs anew. The fraction leaves room for what grows after that, so its default
is 0.9. The terms are those that were fitted to vLLM; none was measured with TensorRT-LLM.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing as t

from .. import batching, capability, kv_cache, terms
from ..budget import Budget
from ..devices import Seat
from ..facts import Model
from ..fit import COMFORTABLE_CONTEXT, Fit, choose_context, context_limit, needed_bytes
from ..generations import Generation
from ..terms import Batch, Engine, Range, together
from ..units import GIB, MIB
from ..weights import Split, mla_copy_bytes, rank_bytes
from .support import whole_prompts
from .wishes import BLOCK_TOKENS, Asked

MOST_FRACTION = 0.9  # trtllm-serve's own default
_HEADROOM = 0.02  # of a GPU's memory, for what grows after the start
_UNIFIED_HEADROOM = 0.10  # the system lives in the same memory
_MOST_GRAPH_SIZE = 128  # cuda_graph_config.max_batch_size where it is not set
_COMFORTABLE = {"latency": 1, "balanced": 4, "throughput": 4}
_TYPICAL = Generation(
    v1=True, utilization=MOST_FRACTION, graphs_inside=True, sampler="float32", runner_v2=False, mla_kernels=True,
    long_videos=False, fused_reduce="", profile="exact", checkpoints=False, hybrid_cache=False,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Share(Budget):
    """A GPU's memory with a KV cache that is a share of what is free once everything else is there."""

    fraction: float = MOST_FRACTION
    fixed: bool = False  # the fraction, by the user
    margin: int = 0

    @property
    def requested(self) -> int:
        """All that it takes beside its CUDA context, as expected."""
        return self.weights + self.overhead.expected + self.kv.expected

    @functools.cached_property
    def left(self) -> Range:
        """What trtllm-serve finds free after its trial step."""
        taken = together(self.estimated, self.outside)
        room = self.free - self.weights
        return Range(max(0, room - taken.high), max(0, room - taken.expected), max(0, room - taken.low))

    @functools.cached_property
    def kv(self) -> Range:
        share = self.fraction
        return Range(int(self.left.low * share), int(self.left.expected * share), int(self.left.high * share))

    @property
    def missing(self) -> int:
        """Bytes short of holding the weights, the expected buffers and the margin alone; 0 when there is room."""
        return max(0, self.margin - self._rest)

    def short_of(self, kv_bytes: int) -> int:
        """Bytes short of a KV cache of that size; 0 when there is room."""
        wanted = math.ceil(kv_bytes / (self.fraction if self.fixed else MOST_FRACTION))
        return max(0, max(wanted, 0 if self.fixed else kv_bytes + self.margin) - self._rest)

    @property
    def _rest(self) -> int:
        """What is left for cache and margin, below zero what is missing."""
        return self.free - self.weights - self.overhead.expected - self.outside.expected


@dataclasses.dataclass(frozen=True)
class ShareFit(Fit):
    chunked: bool = False

    @property
    def share(self) -> Share:
        return t.cast(Share, self.budget)

    @property
    def short(self) -> int:
        return max(self.share.missing, self.share.short_of(needed_bytes(self.layout, self.batch, self.context)))


def work_out(model: Model, seats: t.Sequence[Seat], split: Split, linked: bool, asked: Asked) -> ShareFit:
    """The best batch and context that ``split`` allows on ``seats`` (one per rank); it may not fit."""
    wishes = asked.wishes
    cap = min(seat.device.capability or capability.LEAST_CAPABILITY for seat in seats)
    dtype = capability.compute_dtype(model, None, cap)
    kv_dtype = kv_dtype_of(model, asked)
    layout = kv_cache.layout(
        model, split, dtype, kv_dtype, block_size=block_tokens(model, asked, cap), inflight_batches=split.pp + 1,
        hybrid_manager=False,
    )  # fmt: skip
    total, free = min(seat.total for seat in seats), min(seat.free for seat in seats)
    unified = any(seat.device.unified for seat in seats)
    weights = max(rank_bytes(model, split, dtype))
    engine = Engine(generation=_TYPICAL, capability=cap, split=split, dtype=dtype, unified=unified)
    margin = wishes.headroom_bytes
    if margin is None:
        margin = int(total * (_UNIFIED_HEADROOM if unified else _HEADROOM))

    def budget_for(batch: Batch, context: int) -> Share:
        memory = Share(
            total=total,
            utilization=0.0,
            weights=weights,
            mla_copy=mla_copy_bytes(model, split, dtype),
            rope_cache=terms.rope_cache_bytes(model, dtype),
            lora=0,
            sampler_state=0,
            activation=terms.activation_bytes(model, batch, engine),
            experts=terms.expert_workspace_bytes(model, engine),
            sparse=terms.sparse_workspace_bytes(model, batch, context, engine),
            graphs=terms.graph_bytes(model, batch, engine),
            runtime=terms.runtime_bytes(model, engine),
            free=free,
            outside=terms.context_bytes(split),
            fraction=asked.fraction or MOST_FRACTION,
            fixed=asked.fraction is not None,
            margin=margin,
        )
        return memory if asked.fraction else dataclasses.replace(memory, fraction=_fraction(memory))

    whole = asked.chunked is False or whole_prompts(model, cap)
    limit = context_limit(model)
    if whole and wishes.fixed("max_num_batched_tokens"):
        limit = min(limit, int(wishes.fixed("max_num_batched_tokens")))
    sequences = wishes.fixed("max_num_seqs") or wishes.concurrency or batching.sequence_cap(wishes.prefer, total)
    choices = _token_choices(model, seats, sequences, total, wishes.context or limit if whole else 0, asked)
    promised = False
    for steps in choices:
        batch = _batch(min(sequences, steps), steps)
        memory = budget_for(batch, wishes.context or limit)
        if not memory.kv.low and steps != choices[-1]:
            continue
        context = wishes.context or choose_context(layout, memory.kv.low, limit, batch, wishes)
        if wishes.fixed("max_num_seqs") is None and wishes.concurrency is None:
            tokens = layout.capacity(memory.kv.low, context, steps)[1]
            fewer = _batch(batching.sequences_for(tokens, context, batch.max_num_seqs, wishes.prefer), steps)
            if fewer != batch:
                batch, memory = fewer, budget_for(fewer, wishes.context or limit)
                context = wishes.context or choose_context(layout, memory.kv.low, limit, batch, wishes)
        if model.mla and model.mla.index_layers:
            memory = budget_for(batch, context)
        needed = needed_bytes(layout, batch, context)
        promised = not memory.missing and needed <= memory.kv.low
        if promised:
            break
    return ShareFit(
        split=split,
        seats=tuple(seats),
        linked=linked,
        dtype=dtype,
        kv_dtype=kv_dtype,
        utilization=0.0,
        budget=memory,
        layout=layout,
        batch=batch,
        context=context,
        context_limit=context_limit(model),
        start_short=0,
        promised=promised,
        fits=not memory.missing and needed <= memory.kv.expected,
        comfortable=promised and _comfortable(layout, memory.kv, context, limit, batch, asked),
        chunked=not whole and (bool(asked.chunked) or context > batch.max_num_batched_tokens),
    )


def _fraction(memory: Share) -> float:
    """As much as leaves the margin; rounded down, never above the engine's own 0.9."""
    if memory.left.expected <= memory.margin:
        return MOST_FRACTION  # it does not fit anyway
    share = 1 - memory.margin / memory.left.expected
    return max(0.01, math.floor(min(MOST_FRACTION, share) * 100) / 100)


def _batch(sequences: int, steps: int) -> Batch:
    return Batch(sequences, steps, False, min(_MOST_GRAPH_SIZE, sequences))


def _token_choices(
    model: Model, seats: t.Sequence[Seat], sequences: int, total: int, whole: int, asked: Asked
) -> t.List[int]:
    fixed = asked.wishes.fixed("max_num_batched_tokens")
    if fixed:
        return [int(fixed)]
    least = max(512, min(sequences, 2048), 2048 if model.multimodal else 0, whole)
    device = seats[0].device
    return batching.token_steps(asked.wishes.prefer, batching.large_steps(total, device.name, device.capability), least)


def _comfortable(
    layout: kv_cache.CacheLayout, kv: Range, context: int, limit: int, batch: Batch, asked: Asked
) -> bool:
    requests = asked.wishes.concurrency or _COMFORTABLE[asked.wishes.prefer]
    if asked.wishes.context is None and context < min(limit, COMFORTABLE_CONTEXT):
        return False
    return layout.capacity(kv.low, context, batch.max_num_batched_tokens)[2] >= requests


def kv_dtype_of(model: Model, asked: Asked) -> str:
    if asked.kv_dtype:
        return asked.kv_dtype
    stated = model.quantization.kv_cache_dtype if model.quantization else None
    return "fp8" if stated and stated.startswith("fp8") else stated or "auto"


def block_tokens(model: Model, asked: Asked, cap: t.Optional[capability.Capability]) -> int:
    """FlashMLA on Hopper works in blocks of 64 (pyexecutor/py_executor_creator.py)."""
    if asked.block_tokens:
        return asked.block_tokens
    return 64 if model.mla and cap == (9, 0) else BLOCK_TOKENS


def smallest_gpu(fit: ShareFit) -> int:
    """Memory (bytes) a GPU would need for this split to hold weights, buffers and one whole request."""
    needed = fit.share.weights + fit.share.overhead.expected + terms.context_bytes(fit.split).high
    needed += math.ceil(needed_bytes(fit.layout, fit.batch, fit.context) / MOST_FRACTION)
    return math.ceil(needed / (1 - _HEADROOM) / GIB) * GIB + 256 * MIB
