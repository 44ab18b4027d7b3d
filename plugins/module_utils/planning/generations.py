# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between vLLM's generations where memory is concerned, and the defaults an unset option had in each.

V0 is everything before 0.8, and what ran as V0 until 0.10 (``0.8.5+v0``). Only the last generation is installed by the
roles; the others are here so that the terms can be checked against what has been measured over the years.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .batching import large_steps
from .capability import Capability
from .units import GIB
from .versions import EngineVersion


@dataclasses.dataclass(frozen=True)
class Generation:
    v1: bool
    utilization: float  # gpu_memory_utilization where it is not set
    graphs_inside: bool  # the pool of CUDA graphs is estimated and taken from the budget
    sampler: str  # what of it the profiling run sees, a key of terms._SAMPLER
    runner_v2: bool  # penalty counts per slot stay on the GPU
    mla_kernels: bool  # before, MLA models ran as plain attention with uncompressed keys and values
    long_videos: bool  # profiled with a video that fills the context
    fused_reduce: str  # workspaces of the all-reduce that is fused with the norm: "", "large" or "small"
    profile: str  # what counts as the engine's: "exact", with the CUDA "context", or all of the "device"
    checkpoints: bool  # gated delta nets write states in the middle of a prompt, where FlashInfer does it
    hybrid_cache: bool  # windows and recurrent layers in groups of their own


def of(version: EngineVersion, dense: bool = True) -> Generation:
    """The generation of a version; ``dense`` models got the model runner V2 earlier (0.26, the others 0.30).

    https://github.com/vllm-project/vllm/pull/44443 and 53183. The sampler sorted the vocabulary in V0 and the first V1,
    and until 0.16 where FlashInfer was missing; until 0.33 the runner V2 profiled it without the float32 copies
    (https://github.com/vllm-project/vllm/pull/57926).
    """
    number = version.number
    v1 = number >= (0, 8) and version.build != "v0"
    runner_v2 = number >= ((0, 26) if dense else (0, 30))
    if number < (0, 9) or not v1:
        sampler = "sorted"
    elif not runner_v2:
        sampler = "float32 or sorted" if number < (0, 17) else "float32"
    else:
        sampler = "16 bit" if number < (0, 33) else "both"
    return Generation(
        v1=v1,
        utilization=0.92 if number >= (0, 20) else 0.9,
        graphs_inside=number >= (0, 21),
        sampler=sampler,
        runner_v2=runner_v2,
        mla_kernels=number >= (0, 7),
        long_videos=number < (0, 9),
        fused_reduce="" if number < (0, 13) else "large" if number < (0, 25) else "small",
        profile="exact" if number >= (0, 7) else "context" if number >= (0, 6) else "device",
        checkpoints=number >= (0, 33),
        hybrid_cache=v1 and number >= (0, 9),
    )


def default_batch(
    version: EngineVersion,
    total_bytes: int,
    name: str,
    capability: t.Optional[Capability],
    context: int,
    multimodal: bool = False,
) -> t.Tuple[int, int]:
    """max_num_seqs and max_num_batched_tokens that ``vllm serve`` takes by itself.

    V1: engine/arg_utils.py get_batch_defaults. V0 worked whole prompts in one step up to a context of 32768 and chunks
    of 2048 tokens (512 before 0.6) above; from 0.8 on, and models with images, never in chunks.
    """
    if not of(version).v1:
        chunked = (0, 5) <= version.number < (0, 8) and context > 32768 and not multimodal
        least = 2048 if version.number >= (0, 6) or not chunked else 512
        return 256, least if chunked else max(least, context)
    large = large_steps(total_bytes, name, capability)
    tokens = 8192 if large else 2048
    if total_bytes >= 160 * GIB and version.number >= (0, 20):
        tokens = 16384
    return 1024 if large else 256, tokens
