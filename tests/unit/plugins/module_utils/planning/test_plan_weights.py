# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Weight bytes where the vectors have no case: pipeline stages, experts, dtypes, online quantization, MLA copies."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import weights
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.facts import read_model
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.weights import Split
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

LLAMA = read_model(hosts.model("Llama-3.1-8B"))
MIXTRAL = read_model(hosts.model("Mixtral-8x7B"))
DEEPSEEK = read_model(hosts.model("DeepSeek-V2-Lite"))
GEMMA = read_model(hosts.model("Gemma-2-9B"))


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [(32, 1, [32]), (30, 4, [7, 8, 8, 7]), (31, 2, [16, 15]), (32, 3, [11, 11, 10]), (61, 8, [7, 7, 8, 8, 8, 8, 8, 7])],
)
def test_stages(layers, stages, sizes):
    assert [end - start for start, end in weights.stages(layers, stages)] == sizes


def test_stages_hold_all_of_it():
    whole = sum(weights.rank_bytes(LLAMA, Split(1, 1), "bfloat16"))
    assert sum(weights.rank_bytes(LLAMA, Split(1, 4), "bfloat16")) == whole


def test_tied_embeddings_lie_on_both_ends_of_a_pipeline():
    whole = sum(weights.rank_bytes(GEMMA, Split(1, 1), "bfloat16"))
    embedding = 256000 * 3584 * 2
    assert sum(weights.rank_bytes(GEMMA, Split(1, 2), "bfloat16")) == whole + embedding


def test_tp_never_raises_the_weights_of_a_rank():
    for model in (LLAMA, MIXTRAL, DEEPSEEK, GEMMA):
        found = [weights.rank_bytes(model, Split(tp), "bfloat16")[0] for tp in (1, 2, 4, 8)]
        assert found == sorted(found, reverse=True)


def test_experts_by_whole_experts_weigh_the_same():
    cut = weights.rank_bytes(MIXTRAL, Split(4), "bfloat16")
    assert weights.rank_bytes(MIXTRAL, Split(4, expert_parallel=True), "bfloat16") == cut
    assert weights.rank_bytes(MIXTRAL, Split(2, dp=2, expert_parallel=True), "bfloat16")[0] > cut[0]


def test_float32_doubles_and_fp8_halves_the_linear_layers():
    half = weights.rank_bytes(LLAMA, Split(), "bfloat16")[0]
    assert weights.rank_bytes(LLAMA, Split(), "float32")[0] == 2 * half
    rest = (2 * 128256 * 4096 + 65 * 4096) * 2  # embeddings, output layer, norms
    assert weights.rank_bytes(LLAMA, Split(), "bfloat16", online="fp8")[0] == (half - rest) // 2 + rest


def test_what_the_checkpoint_keeps_in_another_dtype_stays():
    group = next(group for group in LLAMA.groups if group.name == "norm")
    kept = dataclasses.replace(group, dtype="float32", bytes=group.parameters * 4)
    assert weights.group_share(LLAMA, kept, Split(), "float16", None) == group.parameters * 4


def test_mla_copies_only_beside_quantized_weights():
    assert weights.mla_copy_bytes(DEEPSEEK, Split(2), "bfloat16") == 0
    groups = tuple(
        dataclasses.replace(group, quantized=True) if group.name.startswith("mla.kv_b") else group
        for group in DEEPSEEK.groups
    )
    quantized = dataclasses.replace(DEEPSEEK, groups=groups)
    assert weights.mla_copy_bytes(quantized, Split(2), "bfloat16") == 27 * 512 * 8 * (128 + 128) * 2
