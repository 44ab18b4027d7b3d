# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exact part is exact: every vector in tests/truth, to the byte."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import kv_cache, vllm, weights
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.facts import read_model
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

NAMES = ["%s tp%d" % (vector["model"], vector["tp"]) for vector in hosts.VECTORS]
SPELLED = {
    "weight_bytes_per_rank": "weights_bytes_per_gpu",
    "kv_bytes_per_token": "kv_bytes_per_token",
    "num_gpu_blocks": "num_gpu_blocks",
    "max_concurrency": "max_concurrency",
    "groups": "kv_groups",
}


def test_there_are_twenty():
    assert len(hosts.VECTORS) == 20


@pytest.mark.parametrize("vector", hosts.VECTORS, ids=NAMES)
def test_formulas(vector):
    model = read_model(hosts.model(vector["model"]))
    split = weights.Split(vector["tp"])
    layout = kv_cache.layout(
        model, split, "bfloat16", "auto", vector["block_size"], inflight_batches=vector["inflight_batches"]
    )
    blocks, tokens, concurrency = layout.capacity(
        vector["available_kv_bytes"], vector["max_model_len"], vector["max_num_batched_tokens"]
    )
    assert weights.rank_bytes(model, split, "bfloat16") == (vector["weight_bytes_per_rank"],)
    assert layout.token_bytes == vector["kv_bytes_per_token"]
    assert blocks == vector["num_gpu_blocks"]
    assert tokens == vector["kv_cache_size_tokens"]
    assert round(concurrency, 2) == vector["max_concurrency"]
    assert len(layout.groups) == vector["groups"]


@pytest.mark.parametrize("vector", hosts.VECTORS, ids=NAMES)
def test_plan(vector):
    """The same through the planner itself: the vectors were computed with the CPU platform."""
    machine = hosts.host(memory_gib=4096, cores=128, nodes=8)
    options = {
        "context": vector["max_model_len"],
        "settings": {
            "tensor_parallel_size": vector["tp"],
            "kv_cache_memory_bytes": vector["available_kv_bytes"],
            "max_num_batched_tokens": vector["max_num_batched_tokens"],
        },
    }
    plan = vllm.make_plan(machine, hosts.model(vector["model"]), options)
    assert plan["refusal"] is None
    numbers = plan["numbers"]
    assert {key: numbers[SPELLED[key]] for key in SPELLED} == {key: vector[key] for key in SPELLED}
    assert numbers["kv_cache_tokens"]["expected"] == vector["kv_cache_size_tokens"]
    assert numbers["block_size"] == vector["block_size"]
