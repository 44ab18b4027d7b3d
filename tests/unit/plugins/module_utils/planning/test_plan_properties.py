# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold for every model of the catalogue on every host: drawn at random, from a fixed seed."""

from __future__ import annotations

import functools
import random

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.models.catalogue.index import ENTRIES
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import gpus, vllm
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.facts import read_model
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.parallel import tp_problem
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.weights import Split, rank_bytes

GENERATING = [entry for entry in ENTRIES if "embedding" not in entry.purposes]
HOSTS = ("1 x RTX 4090", "1 x L40S", "2 x L40S", "4 x A100 80GB", "8 x H100", "1 x B200", "8 x H200", "4 x RTX 3090")
DRAWS = random.Random(20261121).sample([(entry, host) for entry in GENERATING for host in HOSTS], 60)
RANGES = (
    "kv_cache_bytes", "kv_cache_tokens", "activation_peak_bytes", "cuda_graph_bytes", "runtime_bytes",
    "expert_workspace_bytes", "sparse_workspace_bytes",
)  # fmt: skip


@functools.lru_cache(maxsize=None)
def facts(entry_id):
    return facts_from_config(next(entry.config for entry in GENERATING if entry.id == entry_id))


def plan(entry, host, **options):
    return vllm.make_plan(gpus.hardware(host), facts(entry.id), options)


drawn = pytest.mark.parametrize(("entry", "host"), DRAWS, ids=lambda value: getattr(value, "id", value))


@drawn
def test_ranges_are_ordered_and_the_budget_adds_up(entry, host):
    numbers = plan(entry, host)["numbers"]
    for name in RANGES:
        assert numbers[name]["low"] <= numbers[name]["expected"] <= numbers[name]["high"], name
    assert numbers["kv_cache_bytes"]["high"] + numbers["weights_bytes_per_gpu"] <= numbers["requested_bytes"] or (
        numbers["kv_cache_bytes"]["high"] == 0
    )


@drawn
def test_the_settings_of_a_plan_give_that_plan(entry, host):
    first = plan(entry, host)
    if first["refusal"]:
        return  # nothing to set
    again = plan(entry, host, gpus=first["devices"], settings=first["settings"])
    assert again["refusal"] is None
    assert again["settings"] == first["settings"]
    assert again["numbers"] == first["numbers"]


@drawn
def test_more_memory_never_lowers_capacity(entry, host):
    fixed = {"max_num_seqs": 16, "max_num_batched_tokens": 2048, "gpu_memory_utilization": 0.9, "max_model_len": 4096}
    hardware = gpus.hardware(host)
    found = []
    for more in (0, 8, 32):
        grown = dict(hardware, accelerators=[_with_memory(card, more) for card in hardware["accelerators"]])
        result = vllm.make_plan(grown, facts(entry.id), {"settings": dict(fixed, tensor_parallel_size=1)})
        found.append(result["numbers"]["kv_cache_tokens"]["low"])
    assert found == sorted(found)


def _with_memory(card, more):
    size = card["memory_total_bytes"] + more * 2**30
    return dict(card, memory_total_bytes=size, memory_free_bytes=size)


@drawn
def test_more_context_never_raises_concurrency(entry, host):
    found = []
    limit = facts(entry.id)["max_position"]
    for context in (1024, 2048, 4096, 8192):
        if context <= limit:
            numbers = plan(entry, host, settings={"max_num_seqs": 16, "max_model_len": context, "tensor_parallel_size": 1})
            found.append(numbers["numbers"]["max_concurrency_low"])
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("entry", GENERATING, ids=lambda entry: entry.id)
def test_tensor_parallelism_never_raises_the_weights_of_a_gpu(entry):
    model = read_model(facts(entry.id))
    found = [rank_bytes(model, Split(tp), model.dtype)[0] for tp in (1, 2, 4, 8) if tp_problem(model, tp) is None]
    assert found == sorted(found, reverse=True)
