# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tensor and pipeline parallel sizes a model can be split into.

Sources: vllm 0.33 config/model.py verify_with_parallel_config, layers/linear.py, layers/vocab_parallel_embedding.py,
layers/quantization/utils/fp8_utils.py.
"""

from __future__ import annotations

import typing as t

from .facts import Model
from .units import round_up
from .weights import VOCAB_PADDING, Split


def tp_problem(model: Model, tp: int, expert_parallel: bool = False) -> t.Optional[t.Tuple[str, str]]:
    """Refusal code and sentence for a tensor parallel size the model cannot be split into; None when it can."""
    if tp == 1:
        return None
    return _heads_problem(model, tp) or _size_problem(model, tp, expert_parallel)


def _heads_problem(model: Model, tp: int) -> t.Optional[t.Tuple[str, str]]:
    if model.attention_heads % tp:
        return "heads_not_divisible", "the model has %d attention heads, which %d does not divide" % (
            model.attention_heads, tp
        )  # fmt: skip
    if not model.mla:
        own = {int(values["kv_heads"]) for values in model.per_layer.values() if values.get("kv_heads")}
        for heads in sorted(own | {model.kv_heads}):
            if heads % tp and tp % heads:
                return "heads_not_divisible", "the model has %d KV heads: %d neither divides them nor is a multiple" % (
                    heads, tp
                )  # fmt: skip
    for key in ("key_heads", "value_heads"):
        heads = int((model.linear or {}).get(key) or 0)
        if heads % tp:
            return "heads_not_divisible", "its linear attention has %d %s, which %d does not divide" % (
                heads, key.replace("_", " "), tp
            )  # fmt: skip
    return None


def _size_problem(model: Model, tp: int, expert_parallel: bool) -> t.Optional[t.Tuple[str, str]]:
    code = "size_not_divisible"
    vocabulary = round_up(model.vocab_size, VOCAB_PADDING)
    if vocabulary % tp:
        return code, "the vocabulary (%d rows, padded) does not divide by %d" % (vocabulary, tp)
    names = {group.name.partition(".")[0] for group in model.groups if group.place == "layers"}
    block = _block(model)
    if "mlp" in names and model.intermediate_size:
        problem = _piece_problem("the MLP's intermediate size", model.intermediate_size, tp, block)
        if problem:
            return code, problem
    if model.moe and not expert_parallel:
        problem = _piece_problem("the experts' intermediate size", model.moe.intermediate_size, tp, block)
        if problem:
            return code, problem + " (enable_expert_parallel splits by whole experts instead)"
    group_size = model.quantization.group_size if model.quantization else None
    if group_size and group_size > 0 and not model.mla:
        width = model.attention_heads * model.value_head_size
        if width % tp == 0 and (width // tp) % group_size:
            return code, "the attention output (%d / %d = %d) is no multiple of the quantization group of %d" % (
                width, tp, width // tp, group_size
            )  # fmt: skip
    return None


def _block(model: Model) -> int:
    """The multiple that a quantized layer's split side must keep; 1 without one."""
    quantization = model.quantization
    if not quantization or "fp4" in quantization.method:  # the FP4 kernels pad what does not divide
        return 1
    if quantization.block_size:
        return max(quantization.block_size)
    if quantization.group_size and quantization.group_size > 0:
        return quantization.group_size
    return 1


def _piece_problem(what: str, size: int, tp: int, block: int) -> t.Optional[str]:
    if size % tp:
        return "%s (%d) does not divide by %d" % (what, size, tp)
    if (size // tp) % block:
        return "%s (%d / %d = %d) is no multiple of the quantization block of %d" % (what, size, tp, size // tp, block)
    return None


def splits(model: Model, ranks: int, only_ranks: bool, expert_parallel: bool = False) -> t.List[Split]:
    """The ways to lay the model over up to ``ranks`` GPUs (exactly ``ranks`` with ``only_ranks``), best first.

    Fewer GPUs first; for one number of GPUs the largest tensor parallel size first, pipeline stages only for the rest;
    expert parallelism only where the experts cannot be cut, or where it is asked for.
    """
    result = []
    for number in [ranks] if only_ranks else range(1, ranks + 1):
        for tp in range(number, 0, -1):
            if number % tp or number // tp > model.layers:
                continue
            split = possible(model, tp, number // tp, expert_parallel)
            if split:
                result.append(split)
                break
    return result


def possible(model: Model, tp: int, pp: int, expert_parallel: bool = False) -> t.Optional[Split]:
    """The split of these sizes, with expert parallelism if that is what makes it possible; None when nothing does."""
    if tp_problem(model, tp) is None and not (expert_parallel and model.moe):
        return Split(tp, pp)
    if model.moe and tp_problem(model, tp, expert_parallel=True) is None:
        return Split(tp, pp, expert_parallel=True)
    return None
