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
    sampler_sorts: bool  # top-k and top-p by sorting the vocabulary
    sampler_state: bool  # penalty counts per slot stay on the GPU (model runner V2)
    mla_kernels: bool  # before, MLA models ran as plain attention with uncompressed keys and values
    hybrid_cache: bool  # windows and recurrent layers in groups of their own


def of(version: EngineVersion) -> Generation:
    number = version.number
    v1 = number >= (0, 8) and version.build != "v0"
    return Generation(
        v1=v1,
        utilization=0.92 if number >= (0, 20) else 0.9,
        graphs_inside=number >= (0, 21),
        sampler_sorts=not v1,
        sampler_state=number >= (0, 30),
        mla_kernels=number >= (0, 7),
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
    of 2048 tokens (512 before 0.6.5) above; models with images never in chunks.
    """
    if not of(version).v1:
        chunked = version.number >= (0, 5) and context > 32768 and not multimodal
        least = 2048 if version.number >= (0, 6) or not chunked else 512
        return 256, least if chunked else max(least, context)
    large = large_steps(total_bytes, name, capability)
    tokens = 8192 if large else 2048
    if total_bytes >= 160 * GIB and version.number >= (0, 20):
        tokens = 16384
    return 1024 if large else 256, tokens
