# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A GPU's memory: what vLLM claims, what it takes beside the weights (terms.py), and what is left to the KV cache.

KV = ceil(total * gpu_memory_utilization) - weights - peaks - buffers - graphs      (vllm 0.33 v1/worker/gpu_worker.py)

What exists before vLLM's own snapshot (the CUDA context, NCCL, cuBLAS) lies outside the budget: it has to fit beside
it. So do the CUDA graphs of engines before 0.21.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing as t

from .terms import ZERO, Range, exactly, together


@dataclasses.dataclass(frozen=True)
class Budget:
    """Per GPU, in bytes; the rank that holds most."""

    total: int
    utilization: float
    weights: int
    mla_copy: int
    rope_cache: int
    lora: int
    sampler_state: int
    activation: Range
    experts: Range
    sparse: Range
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
        """The sum of the terms; they are not all at their worst at once."""
        buffers = exactly(self.mla_copy + self.rope_cache + self.lora + self.sampler_state)
        return buffers + together(self.activation, self.experts, self.sparse, self.graphs, self.runtime)

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
