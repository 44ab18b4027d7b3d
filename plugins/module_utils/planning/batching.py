# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""max_num_seqs and max_num_batched_tokens: always written out, because they size buffers and graphs.

vLLM's own defaults (0.33 engine/arg_utils.py get_batch_defaults) are 256 sequences and 2048 tokens, on GPUs with 70 GiB
or more 1024 and 8192: its many sequences cost memory that a small GPU does not have.
"""

from __future__ import annotations

import typing as t

from .capability import Capability
from .units import GIB

_LEAST_TOKENS = 512
_USUAL_REQUEST = 2048


def sequence_cap(prefer: str, total_bytes: int) -> int:
    """Sequences at once to plan for where no concurrency is asked for."""
    if prefer == "latency":
        return 32
    small = 32 if total_bytes < 14 * GIB else 64 if total_bytes < 30 * GIB else 128 if total_bytes < 70 * GIB else 256
    return small * (4 if total_bytes >= 70 * GIB else 2) if prefer == "throughput" else small


def sequences_for(tokens: float, context: int, cap: int, prefer: str) -> int:
    """Sequences for a cache that holds ``tokens``: a power of two, from 8 to ``cap``.

    Most requests are far shorter than the context; they are taken to hold 2048 tokens while they run, and half of that
    for throughput, where rather a request is put back than the GPU idle.
    """
    usual = min(context, _USUAL_REQUEST // (2 if prefer == "throughput" else 1))
    number = 8
    while number * 2 <= min(cap, tokens / usual):
        number *= 2
    return min(number, cap)


def large_steps(total_bytes: int, name: str, capability: t.Optional[Capability]) -> bool:
    """Whether vLLM would give this GPU steps of 8192 tokens: 70 GiB or more, no A100, no GB10."""
    return total_bytes >= 70 * GIB and "a100" not in name.lower() and capability != (12, 1)


def token_steps(prefer: str, large: bool, least: int) -> t.List[int]:
    """max_num_batched_tokens to try, the preferred first, smaller ones for when memory is short.

    More tokens per step prefill faster; fewer keep running requests from waiting. ``least`` is what must fit in a step.
    """
    if prefer == "latency":
        first = 2048
    elif prefer == "throughput":
        first = 16384 if large else 8192
    else:
        first = 8192 if large else 2048
    steps = [first]
    while steps[-1] // 2 >= _LEAST_TOKENS:
        steps.append(steps[-1] // 2)
    kept = [step for step in steps if step >= least]
    return kept or [least]
