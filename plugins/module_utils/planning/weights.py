# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Weight bytes that each GPU holds. Exact: checked byte for byte against vLLM's own models.

Sources (vllm 0.32/0.33): model_executor/layers/linear.py, vocab_parallel_embedding.py (rows padded to 64),
fused_moe/layer.py, distributed/utils.py get_pp_indices, attention/mla_attention.py (dequantized W_UK, W_UV).
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import typing as t

from .facts import Group, Model, element_bytes
from .units import ELEMENT_BYTES, ceil_div, round_up

VOCAB_PADDING = 64
# Groups that online quantization (quantization: fp8 on a 16-bit checkpoint) turns into one byte per parameter.
_LINEAR = (
    "attention.q",
    "attention.kv",
    "attention.o",
    "mla.",
    "mlp.",
    "moe.experts",
    "moe.shared",
    "linear_attention.",
)


@dataclasses.dataclass(frozen=True)
class Split:
    """How a model is laid over ranks."""

    tp: int = 1
    pp: int = 1
    dp: int = 1
    expert_parallel: bool = False

    @property
    def ranks(self) -> int:
        return self.tp * self.pp * self.dp


def stages(layers: int, pp: int) -> t.List[t.Tuple[int, int]]:
    """First and last-plus-one layer of each pipeline stage; a remainder goes to the stages before the last."""
    sizes = [layers // pp] * pp
    for place in range(2, layers % pp + 2):
        sizes[-place] += 1
    result, start = [], 0
    for size in sizes:
        result.append((start, start + size))
        start += size
    return result


@functools.lru_cache(maxsize=256)
def rank_bytes(model: Model, split: Split, dtype: str, online: t.Optional[str] = None) -> t.Tuple[int, ...]:
    """Weight bytes of one rank of each pipeline stage.

    ``dtype`` is the compute dtype vLLM runs with, ``online`` the quantization it applies while loading.
    """
    bounds = stages(model.layers, split.pp)
    totals = [0] * split.pp
    for group in model.groups:
        share = group_share(model, group, split, dtype, online)
        if group.place == "layers":
            if split.pp == 1:
                totals[0] += share * len(group.layers)
                continue
            for stage, (first, end) in enumerate(bounds):
                totals[stage] += share * (
                    bisect.bisect_left(group.layers, end) - bisect.bisect_left(group.layers, first)
                )
        elif group.place == "embed":
            totals[0] += share
            if model.tied_embeddings and split.pp > 1:
                totals[-1] += share  # the last stage needs it as its output layer
        elif group.place in ("final", "head"):
            totals[-1] += share
        else:  # the vision tower runs where the embeddings are
            totals[0] += share
    return tuple(totals)


def group_share(model: Model, group: Group, split: Split, dtype: str, online: t.Optional[str]) -> int:
    """Bytes one rank holds of one instance of a group."""
    size = _held_bytes(model, group, dtype, online)
    tp = split.tp
    if group.sharding == "tp":
        return size // tp
    if group.sharding == "kv":
        heads = group.heads or model.kv_heads
        return size * max(1, heads // tp) // heads
    if group.sharding == "vocab":
        rows = group.rows or model.vocab_size
        return size * round_up(rows, VOCAB_PADDING) // rows // tp
    if group.sharding == "expert":
        size = size * _padding(model, group, split)
        if split.expert_parallel and model.moe:
            return int(size * ceil_div(model.moe.experts, tp * split.dp)) // model.moe.experts
        return int(size // (tp * split.dp))  # replicas share the experts (flatten_tp_across_dp_and_pcp)
    return size


def _padding(model: Model, group: Group, split: Split) -> float:
    """How much larger MXFP4 experts get in memory: both sides are padded to what the kernels work in.

    Source: model_executor/layers/fused_moe/oracle/mxfp4.py mxfp4_round_up_hidden_size_and_intermediate_size, hidden
    size to 256 and each rank's intermediate size to 128. gpt-oss-120b shows 17.2 GiB per GPU under TP 4 for 15.2 unpadded.
    """
    if not group.quantized or not model.quantization or model.quantization.method != "mxfp4" or not model.moe:
        return 1
    inner = model.moe.intermediate_size // (1 if split.expert_parallel else split.tp * split.dp)
    if not inner or group.name.endswith(".bias"):
        return 1
    return round_up(model.hidden_size, 256) / model.hidden_size * round_up(inner, 128) / inner


def mla_copy_bytes(model: Model, split: Split, dtype: str) -> int:
    """The 16-bit copies of W_UK and W_UV that stay beside a quantized kv_b_proj (mla_attention.py)."""
    if not model.mla or not any(group.quantized for group in model.groups if group.name.startswith("mla.kv_b")):
        return 0
    mla = model.mla
    per_layer = mla.kv_lora_rank * (model.attention_heads // split.tp) * (mla.nope_size + mla.value_size)
    return per_layer * element_bytes(dtype) * ceil_div(model.layer_kinds.count("mla"), split.pp)


def _held_bytes(model: Model, group: Group, dtype: str, online: t.Optional[str]) -> int:
    if group.quantized:
        return group.bytes
    if online and group.name.startswith(_LINEAR) and not group.name.endswith(".bias"):
        return group.parameters
    stored = ELEMENT_BYTES.get(group.dtype)
    # What the checkpoint keeps in its own compute dtype follows the dtype that vLLM runs with;
    # anything else (a router held in float32, say) stays as it is.
    if stored and group.dtype == model.dtype and group.bytes == group.parameters * stored:
        return group.parameters * element_bytes(dtype)
    return group.bytes
