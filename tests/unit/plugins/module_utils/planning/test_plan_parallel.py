# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways a model can be split."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import parallel
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.facts import Quantization, read_model
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

LLAMA = read_model(hosts.model("Llama-3.1-8B"))  # 32 heads, 8 KV heads, intermediate 14336, vocabulary 128256
QWEN = read_model(hosts.model("Qwen2.5-32B"))  # 40 heads, 8 KV heads
MIXTRAL = read_model(hosts.model("Mixtral-8x7B"))
DEEPSEEK = read_model(hosts.model("DeepSeek-V2-Lite"))


def quantized(model, method="fp8", group=None, block=None, **changes):
    return dataclasses.replace(model, quantization=Quantization(method, 8, group, block, None, None), **changes)


def moe_of(model, size):
    return dataclasses.replace(model, moe=dataclasses.replace(model.moe, intermediate_size=size))


@pytest.mark.parametrize(
    ("model", "tp", "code"),
    [
        (LLAMA, 1, None),
        (LLAMA, 8, None),
        (LLAMA, 32, None),  # KV heads are repeated
        (LLAMA, 3, "heads_not_divisible"),
        (LLAMA, 64, "heads_not_divisible"),
        (QWEN, 5, "heads_not_divisible"),  # 40 heads divide, 8 KV heads do not
        (dataclasses.replace(LLAMA, vocab_size=32001), 2, None),  # padded to 32064
        (dataclasses.replace(LLAMA, attention_heads=48, kv_heads=48, vocab_size=32001), 24, "size_not_divisible"),
        (dataclasses.replace(LLAMA, intermediate_size=11007), 2, "size_not_divisible"),
        (quantized(LLAMA, "awq", group=128), 8, None),
        (quantized(LLAMA, "awq", group=128, intermediate_size=18944), 8, "size_not_divisible"),
        (quantized(LLAMA, "mxfp4", group=32, intermediate_size=2880), 4, None),  # padded by its kernels
        (quantized(LLAMA, block=(128, 128)), 8, None),
        (quantized(LLAMA, "gptq", group=256), 32, "size_not_divisible"),
        (quantized(DEEPSEEK, block=(128, 128)), 2, "size_not_divisible"),
        (moe_of(MIXTRAL, 1407), 2, "size_not_divisible"),
        (dataclasses.replace(LLAMA, linear={"key_heads": 16, "value_heads": 24}), 16, "heads_not_divisible"),
    ],
)
def test_problems(model, tp, code):
    problem = parallel.tp_problem(model, tp)
    assert (problem[0] if problem else None) == code


def test_experts_that_cannot_be_cut_are_shared_out_whole():
    """Qwen3-30B-A3B-FP8: 768 / 4 = 192 is no multiple of 128."""
    model = quantized(moe_of(MIXTRAL, 768), block=(128, 128))
    assert parallel.possible(model, 2, 1) == parallel.Split(2, 1)
    assert parallel.possible(model, 4, 1) == parallel.Split(4, 1, expert_parallel=True)


def test_pipelines_where_tp_cannot():
    found = [(split.tp, split.pp) for split in parallel.splits(LLAMA, 6, only_ranks=False)]
    assert found == [(1, 1), (2, 1), (1, 3), (4, 1), (1, 5), (2, 3)]
    assert [(split.tp, split.pp) for split in parallel.splits(LLAMA, 6, only_ranks=True)] == [(2, 3)]
