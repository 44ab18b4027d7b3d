# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A GPU's memory, term by term: what vLLM takes beside the weights, as a range, and what it leaves to the KV cache.

KV = ceil(total * gpu_memory_utilization) - weights - peaks - buffers - graphs      (vllm 0.33 v1/worker/gpu_worker.py)

The weights are exact. The other terms are estimated by class of model and settings, never by model; each gives the
least, the expected and the most it was seen to take. What exists before vLLM's own snapshot (the CUDA context, NCCL,
cuBLAS) lies outside the budget: it has to fit beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing as t

from .facts import Model, element_bytes
from .units import GIB, MIB
from .weights import Split


@dataclasses.dataclass(frozen=True)
class Range:
    """Bytes: at least, expected, at most."""

    low: int
    expected: int
    high: int

    def as_dict(self) -> t.Dict[str, int]:
        return {"low": self.low, "expected": self.expected, "high": self.high}


def exactly(value: int) -> Range:
    return Range(value, value, value)


def scaled(value: float, low: float, expected: float, high: float) -> Range:
    return Range(int(value * low), int(value * expected), int(value * high))


ZERO = exactly(0)


@dataclasses.dataclass(frozen=True)
class Batch:
    """The settings that size buffers."""

    max_num_seqs: int
    max_num_batched_tokens: int
    eager: bool = False
    max_cudagraph_capture_size: t.Optional[int] = None


def context_bytes(split: Split) -> Range:
    """CUDA context, cuBLAS handles and NCCL, before the snapshot: outside the budget.

    About 0.5 GiB on one GPU, 1 to 1.5 GiB where NCCL joins in.
    """
    if split.ranks == 1:
        return Range(300 * MIB, 450 * MIB, 650 * MIB)
    return Range(700 * MIB, 1100 * MIB, 1536 * MIB)


def runtime_bytes(split: Split) -> Range:
    """What grows inside the budget without being PyTorch's: module loading, attention workspaces, NCCL channels.

    0.03 to 0.35 GiB on one GPU, 0.2 to 1 GiB on several, in published start-up logs.
    """
    if split.ranks == 1:
        return Range(50 * MIB, 250 * MIB, 600 * MIB)
    return Range(150 * MIB, 500 * MIB, 1200 * MIB)


def sampler_state_bytes(model: Model, batch: Batch) -> Range:
    """Penalty counts and masks of every sequence slot, over the whole vocabulary on every rank.

    Source: vllm 0.33 v1/worker/gpu/sample/penalties.py, 4 bytes + 1 bit per slot and token id.
    """
    if model.task == "embed":
        return ZERO
    return exactly(batch.max_num_seqs * (4 * model.vocab_size + model.vocab_size // 8))


def activation_bytes(model: Model, split: Split, batch: Batch, dtype: str) -> Range:
    """The peak of the profiling run: the larger of one forward step and the sampler's rows.

    Forward: tokens x (4 hidden + 3 intermediate / tp) elements; for experts, the rows routed to them.
    Sampler: rows x vocabulary x (16-bit logits, float32 copy and probabilities; at most also a sort with its indices).
    """
    element = element_bytes(dtype)
    tokens = batch.max_num_batched_tokens
    width = 4 * model.hidden_size + 3 * model.intermediate_size // split.tp
    forward = scaled(tokens * width * element, 0.7, 1.2, 2.0)
    if model.moe:
        routed = model.moe.per_token * (2 * model.moe.intermediate_size // split.tp + model.hidden_size)
        width = 4 * model.hidden_size + max(3 * model.moe.shared_intermediate_size // split.tp, routed)
        forward = scaled(tokens * width * element, 0.9, 1.6, 3.0)
        fixed = min(1.0, model.hidden_size / 4096) * GIB  # the grouped matrix products' own workspace
        forward = Range(forward.low, forward.expected + int(0.75 * fixed), forward.high + int(2.25 * fixed))
    rows = min(batch.max_num_seqs, tokens)
    sampler = ZERO if model.task == "embed" else scaled(rows * model.vocab_size, 10, 14, 30)
    peak = Range(
        max(forward.low, sampler.low), max(forward.expected, sampler.expected), max(forward.high, sampler.high)
    )
    if not model.multimodal:
        return peak
    # The vision tower is profiled with the largest items the limits allow.
    return Range(peak.low, peak.expected + 512 * MIB, peak.high + 2 * GIB)


def graph_sizes(batch: Batch) -> int:
    """How many batch sizes get a CUDA graph: 1, 2, 4, then every 8 up to 256, then every 16 (config/vllm.py)."""
    largest = batch.max_cudagraph_capture_size or min(2 * batch.max_num_seqs, 512)
    largest = min(largest, batch.max_num_batched_tokens)
    return sum(largest >= size for size in (1, 2, 4)) + min(largest, 248) // 8 + max(0, largest - 256 + 16) // 16


def graph_bytes(model: Model, split: Split, batch: Batch) -> Range:
    """The pool of captured CUDA graphs: a part per captured size and layer, and one peak-sized buffer set.

    0.1 GiB with few sizes, 0.4 to 0.6 GiB for 7-8B models with all sizes, 1 to 2 GiB for deep models under TP.
    """
    if batch.eager:
        return ZERO
    layers = math.ceil(model.layers / split.pp)
    captured = graph_sizes(batch) * layers * 0.25 * MIB * (1.0 if split.tp == 1 else 1.5)
    return Range(int(50 * MIB + 0.3 * captured), int(100 * MIB + captured), int(250 * MIB + 2.5 * captured))


@dataclasses.dataclass(frozen=True)
class Budget:
    """Per GPU, in bytes; the rank that holds most."""

    total: int
    utilization: float
    weights: int
    mla_copy: int
    activation: Range
    sampler_state: Range
    graphs: Range
    runtime: Range
    free: int = 0  # before this engine's own CUDA context
    outside: Range = ZERO  # that context and NCCL
    fixed_kv: t.Optional[int] = None  # kv_cache_memory_bytes, which replaces the arithmetic
    measured: t.Optional[Range] = None  # what such an engine was seen to take instead of the estimated overhead

    @property
    def requested(self) -> int:
        """What vLLM claims at start: its own ceil(total * utilization)."""
        return math.ceil(self.total * self.utilization)

    @property
    def overhead(self) -> Range:
        """Everything in the budget but the weights and the KV cache: measured where it was, else estimated."""
        return self.measured or self.estimated

    @functools.cached_property
    def estimated(self) -> Range:
        """The sum of the terms."""
        terms = (exactly(self.mla_copy), self.activation, self.sampler_state, self.graphs, self.runtime)
        return Range(sum(x.low for x in terms), sum(x.expected for x in terms), sum(x.high for x in terms))

    @functools.cached_property
    def kv(self) -> Range:
        """What is left for the KV cache; low is what the plan promises."""
        if self.fixed_kv is not None:
            return exactly(self.fixed_kv)
        room = self.requested - self.weights
        overhead = self.overhead
        return Range(max(0, room - overhead.high), max(0, room - overhead.expected), max(0, room - overhead.low))

    @property
    def missing(self) -> int:
        """Bytes short of holding the weights and the expected overhead alone; 0 when there is room.

        A fixed KV cache is one more of them, and only what is really free is its limit: vLLM does not check it against
        gpu_memory_utilization (v1/worker/gpu_worker.py determine_available_memory).
        """
        taken = self.weights + self.overhead.expected
        if self.fixed_kv is not None:
            return max(0, taken + self.fixed_kv + self.outside.expected - self.free)
        return max(0, taken - self.requested)

    @property
    def safe(self) -> bool:
        """Whether a fixed KV cache fits even if everything else takes its most."""
        if self.fixed_kv is None:
            return True
        return self.weights + self.overhead.high + self.fixed_kv + self.outside.high <= self.free
