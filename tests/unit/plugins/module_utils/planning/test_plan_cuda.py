# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole plans for GPU hosts: what is chosen, and what follows from what."""

from __future__ import annotations

import json
import math

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.catalogue.index import ENTRIES
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import vllm
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

GIB = 1 << 30
T4, L40S, A100, H100, RTX = (
    "Tesla T4",
    "NVIDIA L40S",
    "NVIDIA A100-SXM4-80GB",
    "NVIDIA H100 80GB HBM3",
    "NVIDIA GeForce RTX 4090",
)
LLAMA, QWEN, GEMMA = hosts.model("Llama-3.1-8B"), hosts.model("Qwen2.5-32B"), hosts.model("Gemma-2-9B")
MIXTRAL, DEEPSEEK = hosts.model("Mixtral-8x7B"), hosts.model("DeepSeek-V2-Lite")
HOSTS = {
    "1 x L40S": hosts.host(hosts.gpus(1, L40S)),
    "4 x L40S": hosts.host(hosts.gpus(4, L40S)),
    "8 x H100": hosts.host(hosts.gpus(8, H100, linked=True)),
    "2 x RTX 4090": hosts.host(hosts.gpus(2, RTX)),
}


def plan(host, model, **options):
    return vllm.make_plan(HOSTS.get(host, host) if isinstance(host, str) else host, model, options)


def settings(*args, **options):
    return plan(*args, **options)["settings"]


def said(answer):
    return "\n".join(answer["reasons"])


# What is chosen


@pytest.mark.parametrize(
    ("host", "model", "options", "expected"),
    [
        ("1 x L40S", LLAMA, {}, {"tensor_parallel_size": 1, "dtype": "bfloat16"}),
        ("1 x L40S", LLAMA, {"context": "32K", "concurrency": 16}, {"max_model_len": 32768, "max_num_seqs": 16}),
        ("1 x L40S", LLAMA, {"context": "32k"}, {"max_model_len": 32000}),
        ("4 x L40S", LLAMA, {"context": 8192}, {"tensor_parallel_size": 1}),
        ("4 x L40S", QWEN, {"context": 8192, "prefer": "throughput"}, {"tensor_parallel_size": 2}),
        ("4 x L40S", QWEN, {"context": 32768, "concurrency": 12}, {"tensor_parallel_size": 4}),
        ("4 x L40S", LLAMA, {"gpus": 2}, {"tensor_parallel_size": 2}),
        ("4 x L40S", LLAMA, {"gpus": 3}, {"tensor_parallel_size": 1, "pipeline_parallel_size": 3}),
        ("4 x L40S", LLAMA, {"settings": {"pipeline_parallel_size": 2}}, {"pipeline_parallel_size": 2}),
        ("8 x H100", LLAMA, {"prefer": "balanced"}, {"tensor_parallel_size": 1, "max_num_batched_tokens": 8192}),
        ("8 x H100", LLAMA, {"prefer": "latency"}, {"tensor_parallel_size": 4, "max_num_batched_tokens": 2048}),
        ("8 x H100", LLAMA, {"prefer": "throughput"}, {"tensor_parallel_size": 1, "max_num_batched_tokens": 16384}),
        ("8 x H100", MIXTRAL, {"prefer": "latency"}, {"tensor_parallel_size": 8}),
        ("2 x RTX 4090", LLAMA, {"prefer": "latency", "context": 8192}, {"tensor_parallel_size": 1}),
        (hosts.host(hosts.gpus(2, T4)), LLAMA, {"context": 4096}, {"dtype": "float16", "tensor_parallel_size": 2}),
        (hosts.host(hosts.gpus(1, A100)), LLAMA, {}, {"max_num_batched_tokens": 2048}),  # not on an A100
    ],
)
def test_choices(host, model, options, expected):
    answer = plan(host, model, **options)
    assert answer["refusal"] is None
    assert {name: answer["settings"].get(name) for name in expected} == expected


def test_always_explicit():
    for options in ({}, {"prefer": "latency"}, {"prefer": "throughput"}, {"context": 4096}):
        assert {
            "dtype",
            "tensor_parallel_size",
            "max_model_len",
            "max_num_seqs",
            "max_num_batched_tokens",
            "gpu_memory_utilization",
        } <= set(settings("1 x L40S", LLAMA, **options))
        assert all(value not in (None, "") for value in settings("1 x L40S", LLAMA, **options).values())


def test_latency_takes_fewer_sequences_and_throughput_more():
    found = [
        settings("8 x H100", LLAMA, prefer=prefer)["max_num_seqs"] for prefer in ("latency", "balanced", "throughput")
    ]
    assert found[0] < found[1] <= found[2]
    small = [
        settings("1 x L40S", LLAMA, prefer=prefer, context=2048)["max_num_seqs"]
        for prefer in ("balanced", "throughput")
    ]
    assert small[0] < small[1]


def test_replicas_are_suggested():
    assert "run 4 such instances" in said(plan("4 x L40S", LLAMA, context=8192, prefer="throughput"))


def test_fixed_settings_are_kept_and_planned_around():
    fixed = {
        "max-num-seqs": 7,
        "max_num_batched_tokens": "4K",
        "gpu_memory_utilization": 0.7,
        "enforce_eager": True,
        "served_model_name": "x",
    }
    answer = plan("1 x L40S", LLAMA, context=8192, settings=fixed)
    assert answer["settings"]["max_num_seqs"] == 7
    assert answer["settings"]["max_num_batched_tokens"] == 4096
    assert answer["settings"]["served_model_name"] == ["x"]
    numbers = answer["numbers"]
    assert numbers["requested_bytes"] == math.ceil(numbers["total_memory_bytes"] * 0.7)
    assert numbers["cuda_graph_bytes"]["high"] == 0


def test_the_plan_of_a_plan_is_the_plan():
    for host, model in (("1 x L40S", LLAMA), ("4 x L40S", QWEN), ("8 x H100", MIXTRAL), ("2 x RTX 4090", GEMMA)):
        first = plan(host, model)
        again = plan(host, model, settings=first["settings"])
        assert again["settings"] == first["settings"]
        assert again["numbers"] == first["numbers"]
        assert again["refusal"] is None


def test_two_models_of_gpu_are_never_mixed_unasked():
    machine = hosts.host([hosts.gpu(0, T4), hosts.gpu(1, L40S), hosts.gpu(2, T4)])
    answer = plan(machine, LLAMA)
    assert answer["devices"] == ["GPU-00000001-0000-4000-8000-000000000000"]
    assert "does not mix" in said(answer)
    assert plan(machine, QWEN, gpus=3)["refusal"]["code"] == "mixed_gpus"


def test_mixed_gpus_on_demand_take_the_smallest():
    machine = hosts.host([hosts.gpu(0, L40S), hosts.gpu(1, RTX)])
    answer = plan(machine, LLAMA, gpus=[0, 1], context=8192, settings={"tensor_parallel_size": 2})
    assert answer["refusal"] is None
    assert answer["numbers"]["total_memory_bytes"] == (24564 - 480) << 20
    assert any("Different GPU models" in warning for warning in answer["warnings"])


def test_a_slice_by_its_uuid():
    machine = hosts.host([hosts.sliced(0, A100, ("1g.10gb", 9728), ("3g.40gb", 40192))])
    uuid = "MIG-00000000-0000-4000-8000-000000000001"
    for options in ({"gpus": [uuid]}, {"gpus": uuid}, {"gpus": "auto"}, {"gpus": 1}):
        answer = plan(machine, LLAMA, **options)
        assert answer["refusal"] is None
        assert answer["devices"] == [uuid]
        assert answer["environment"]["CUDA_VISIBLE_DEVICES"] == uuid
        assert answer["numbers"]["total_memory_bytes"] == 40192 << 20
    assert plan(machine, LLAMA, gpus=2)["refusal"]["code"] == "mig_parallel"


def test_unusable_gpus_are_passed_over_and_named():
    machine = hosts.host([hosts.gpu(0, L40S, usable=False, problem="fell off the bus"), hosts.gpu(1, L40S)])
    answer = plan(machine, LLAMA)
    assert answer["devices"] == ["GPU-00000001-0000-4000-8000-000000000000"]
    assert any("fell off the bus" in warning for warning in answer["warnings"])
    assert plan(machine, LLAMA, gpus=[0])["refusal"]["code"] == "device_problem"


def test_a_broken_gpu_never_means_the_cpu_in_silence():
    machine = hosts.host([hosts.gpu(0, L40S, usable=False, problem="no driver", driver=None)], driver_version=None)
    assert plan(machine, LLAMA)["variant"] == "cuda"
    assert plan(machine, LLAMA)["refusal"]["code"] == "no_driver"
    assert plan(machine, LLAMA, variant="cpu")["variant"] == "cpu"


def test_older_drivers():
    machine = hosts.host(hosts.gpus(1, L40S), driver_version="550.90.07")
    assert plan(machine, LLAMA, engine_version="0.33.0+cu129")["refusal"] is None
    answer = plan(machine, LLAMA, cuda_compatibility=True)
    assert answer["refusal"] is None
    assert answer["environment"]["VLLM_ENABLE_CUDA_COMPATIBILITY"] == "1"
    older = hosts.host(hosts.gpus(1, L40S), driver_version="470.1")
    assert plan(older, LLAMA, cuda_compatibility=True)["refusal"]["code"] == "driver_too_old"


# Memory


def test_the_check_at_start_is_passed():
    """free - context >= ceil(total * utilization), whatever else is on the GPU."""
    for held in range(0, 26, 2):
        machine = hosts.host([hosts.gpu(0, L40S, processes=[hosts.process(held)])])
        answer = plan(machine, LLAMA, context=4096)
        numbers = answer["numbers"]
        assert numbers["free_memory_bytes"] - numbers["context_bytes"]["high"] >= numbers["requested_bytes"]
        assert answer["settings"]["gpu_memory_utilization"] <= 0.95
        assert numbers["foreign_memory_bytes"] == held * GIB


def test_a_fixed_utilization_that_would_not_start_is_refused():
    machine = hosts.host([hosts.gpu(0, L40S, processes=[hosts.process(10, "other.service")])])
    refusal = plan(machine, LLAMA, context=4096, settings={"gpu_memory_utilization": 0.92})["refusal"]
    assert refusal["code"] == "foreign_processes"
    assert refusal["remedies"][0] == "leave settings.gpu_memory_utilization to the plan"
    idle = plan("1 x L40S", LLAMA, context=4096, settings={"gpu_memory_utilization": 1.0})["refusal"]
    assert idle["code"] == "too_little_memory"
    assert "refuse to start" in idle["message"]


def test_headroom_and_siblings_shrink_the_share():
    usual = settings("1 x L40S", LLAMA)["gpu_memory_utilization"]
    assert settings("1 x L40S", LLAMA, headroom_bytes="8G")["gpu_memory_utilization"] < usual
    shared = plan("1 x L40S", LLAMA, context=4096, reserved=[{"device": "0", "fraction": 0.4}])
    assert shared["settings"]["gpu_memory_utilization"] < 0.6
    assert "planned for other instances" in said(shared)


def test_two_instances_share_a_gpu():
    """The second is planned around what the first one's plan claims, and the first one's plan stays as it was."""
    first = plan("1 x L40S", LLAMA, context=4096, settings={"gpu_memory_utilization": 0.45})
    claim = {"device": "0", "bytes": first["numbers"]["claimed_bytes_per_gpu"], "unit": "vllm-a.service"}
    second = plan("1 x L40S", LLAMA, context=4096, reserved=[claim])
    assert second["refusal"] is None
    running = hosts.host([hosts.gpu(0, L40S, processes=[hosts.process(20, "vllm-a.service")])])
    assert plan(running, LLAMA, context=4096, reserved=[claim])["settings"] == second["settings"]


def test_an_instance_that_runs_is_planned_as_if_it_did_not():
    running = hosts.host([hosts.gpu(0, L40S, processes=[hosts.process(41, "vllm-a.service")])])
    assert plan(running, LLAMA, own_units=["vllm-a.service"])["settings"] == settings("1 x L40S", LLAMA)
    assert plan(running, LLAMA)["refusal"]["code"] == "foreign_processes"


def test_the_terms_add_up():
    numbers = plan("1 x L40S", LLAMA)["numbers"]
    exact = ("weights_bytes_per_gpu", "sampler_state_bytes", "rope_cache_bytes", "lora_bytes", "mla_dequantized_bytes")
    terms = ("activation_peak_bytes", "cuda_graph_bytes", "runtime_bytes", "expert_workspace_bytes")
    rest = numbers["requested_bytes"] - sum(numbers[term] for term in exact)
    expected = rest - sum(numbers[term]["expected"] for term in terms)
    assert numbers["kv_cache_bytes"]["expected"] == expected
    for kv, most in (("low", "high"), ("high", "low")):
        apart = sum((numbers[term][most] - numbers[term]["expected"]) ** 2 for term in terms) ** 0.5
        assert abs(numbers["kv_cache_bytes"][kv] - expected) == pytest.approx(apart, abs=2)
    assert numbers["requested_bytes"] + numbers["unclaimed_bytes"] == numbers["total_memory_bytes"]


@pytest.mark.parametrize("model", [LLAMA, QWEN, GEMMA, MIXTRAL, DEEPSEEK], ids=lambda m: m["architecture"])
def test_low_to_high(model):
    for host in HOSTS:
        numbers = plan(host, model)["numbers"]
        for key in ("kv_cache_bytes", "kv_cache_tokens", "activation_peak_bytes", "cuda_graph_bytes", "runtime_bytes"):
            assert numbers[key]["low"] <= numbers[key]["expected"] <= numbers[key]["high"]


def test_more_memory_never_lowers_capacity():
    found = []
    for total in range(24, 96, 4):
        machine = hosts.host(
            [hosts.gpu(0, L40S, memory_total_bytes=total * GIB, memory_free_bytes=total * GIB - GIB // 2)]
        )
        found.append(plan(machine, LLAMA, context=8192, concurrency=16)["numbers"]["kv_cache_tokens"]["low"])
    assert found == sorted(found)


def test_more_context_never_raises_concurrency():
    found = [
        plan("1 x L40S", GEMMA, context=size, concurrency=16)["numbers"]["max_concurrency"]
        for size in range(512, 8193, 256)
    ]
    assert found == sorted(found, reverse=True)


def test_a_fixed_kv_cache_is_taken_as_given():
    answer = plan("1 x L40S", LLAMA, context=8192, settings={"kv_cache_memory_bytes": "10G"})
    assert answer["numbers"]["kv_cache_bytes"] == {"low": 10 * GIB, "expected": 10 * GIB, "high": 10 * GIB}
    assert answer["numbers"]["num_gpu_blocks"] == 10 * GIB // (131072 * 16)
    tight = plan("1 x L40S", LLAMA, context=8192, settings={"kv_cache_memory_bytes": "40G"})
    assert tight["refusal"]["code"] == "too_little_memory"


def test_every_remedy_helps():
    refused = plan("2 x RTX 4090", LLAMA, context="128K", gpus=1)["refusal"]
    assert refused["code"] == "no_kv_cache_room"
    assert any(remedy.startswith("gpus: 2") for remedy in refused["remedies"])
    assert plan("2 x RTX 4090", LLAMA, context="128K", gpus=2)["refusal"] is None
    shorter = next(remedy for remedy in refused["remedies"] if remedy.startswith("context: "))
    assert plan("2 x RTX 4090", LLAMA, context=int(shorter.split()[1]), concurrency=1, gpus=1)["refusal"] is None


def test_tight_plans_warn():
    wanted = plan("1 x L40S", LLAMA)["numbers"]["kv_cache_tokens"]["expected"]
    machine = hosts.host([hosts.gpu(0, RTX)])
    limit = plan(machine, LLAMA, context=4096)["numbers"]["kv_cache_tokens"]["expected"]
    assert limit < wanted
    answer = plan(machine, LLAMA, context=limit // 1024 * 1024, concurrency=1)
    assert answer["refusal"] is None
    assert any("This is tight" in warning for warning in answer["warnings"])


# Stability


def test_same_input_same_plan():
    for host in HOSTS:
        assert json.dumps(plan(host, QWEN)) == json.dumps(plan(host, json.loads(json.dumps(QWEN))))


def test_fingerprint_knows_inputs_and_ignores_the_moment():
    base = plan("1 x L40S", LLAMA)["fingerprint"]
    busy = hosts.host([hosts.gpu(0, L40S, processes=[hosts.process(5)])])
    assert plan(busy, LLAMA)["fingerprint"] == base
    assert plan(hosts.host(hosts.gpus(1, L40S), driver_version="590.1"), LLAMA)["fingerprint"] == base
    others = [
        plan("1 x L40S", LLAMA, context=4096),
        plan("1 x L40S", LLAMA, prefer="latency"),
        plan("1 x L40S", LLAMA, settings={"max_num_seqs": 4}),
        plan("1 x L40S", LLAMA, engine_version="0.32.0"),
        plan("1 x L40S", GEMMA),
        plan("4 x L40S", LLAMA),
    ]
    assert len({other["fingerprint"] for other in others} | {base}) == len(others) + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "long"}, "context=long is not a number"),
        ({"context": 0}, "context=0 is too small"),
        ({"context": "1.5K"}, "context=1.5K is not a number"),
        ({"concurrency": "-5"}, "concurrency=-5"),
        ({"gpus": "all"}, "gpus=all"),
        ({"gpus": []}, "names no GPU"),
        ({"gpus": 0}, "1 or more"),
        ({"prefer": "speed"}, "prefer=speed"),
        ({"variant": "rocm"}, "variant=rocm"),
        ({"engine_version": "0.1.0"}, "engine_version=0.1.0"),
        ({"context": 4096, "settings": {"max_model_len": 8192}}, "disagree"),
        ({"settings": {"gpu_memory_utilization": 1.5}}, "above 0, up to 1"),
        ({"settings": {"swap_space": 4}}, "kv_offloading_size"),
        ({"reserved": [{"device": "0", "bytes": -1}]}, "reserved bytes=-1: give 0 or more"),
        ({"settings": {"tensor_parallel_size": -1}}, "tensor_parallel_size=-1: give 1 or more"),
        ({"settings": {"max_num_batched_tokens": 0}}, "max_num_batched_tokens=0: give 1 or more"),
        ({"settings": {"max_num_batched_tokens": 64, "max_num_seqs": 256}}, "64 is less than the 256 requests"),
        ({"concurrency": 8, "settings": {"max_num_seqs": 4}}, "max_num_seqs=4 disagree"),
        (
            {"context": 4096, "settings": {"enable_chunked_prefill": False, "max_num_batched_tokens": 1024}},
            "1024 is less than the context of 4096",
        ),
        ({"settings": {"speculative_config": "mtp"}}, "speculative_config=mtp: give a dictionary"),
        ({"settings": {"speculative_config": "{mtp}"}}, "is no JSON"),
        (
            {"settings": {"speculative_config": {"method": "mtp", "num_speculative_tokens": "two"}}},
            "num_speculative_tokens=two: give a whole number",
        ),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(GpufleetError, match=message):
        plan("1 x L40S", LLAMA, **options)


def test_facts_of_another_kind_are_named():
    with pytest.raises(GpufleetError, match="hardware has schema None"):
        vllm.make_plan({}, LLAMA)
    with pytest.raises(GpufleetError, match="model has schema"):
        vllm.make_plan(HOSTS["1 x L40S"], HOSTS["1 x L40S"])
    with pytest.raises(GpufleetError, match="model lacks or misstates 'head_size'"):
        vllm.make_plan(HOSTS["1 x L40S"], {key: value for key, value in LLAMA.items() if key != "head_size"})


def test_a_prompt_fits_in_one_step_without_chunked_prefill():
    found = plan("1 x L40S", LLAMA, settings={"enable_chunked_prefill": False, "max_num_batched_tokens": 4096})
    assert found["settings"]["max_model_len"] == 4096
    for fixed, wanted in (({}, 8192), ({"max_num_batched_tokens": 4096}, 4096)):
        settings = dict(fixed, enable_chunked_prefill=False)
        found = plan("1 x L40S", LLAMA, variant="cpu", settings=settings)["settings"]
        assert (found["max_model_len"], found["max_num_batched_tokens"]) == (wanted, wanted)


@pytest.mark.parametrize(
    "settings",
    [
        {"speculative_config": '{"method": "eagle", "num_speculative_tokens": 3}'},
        {"spec_method": "eagle", "spec_tokens": 3},
    ],
)
def test_every_way_to_name_a_draft_counts(settings):
    numbers = plan("1 x L40S", LLAMA, settings=settings)["numbers"]
    named = {"speculative_config": {"method": "eagle", "num_speculative_tokens": 3}}
    assert numbers == plan("1 x L40S", LLAMA, settings=named)["numbers"]
    assert numbers["weights_bytes_per_gpu"] > plan("1 x L40S", LLAMA)["numbers"]["weights_bytes_per_gpu"]


def test_replicas_in_one_engine_take_gpus_of_their_own():
    found = plan("4 x L40S", LLAMA, settings={"data_parallel_size": 2})
    assert len(found["devices"]) == 2 and found["settings"]["tensor_parallel_size"] == 1
    assert "data_parallel_size 2, fixed in settings" in " ".join(found["reasons"])
    again = plan("4 x L40S", LLAMA, gpus=found["devices"], settings=found["settings"])
    assert (again["settings"], again["numbers"]) == (found["settings"], found["numbers"])
    whole = plan("4 x L40S", LLAMA, gpus=4, settings={"data_parallel_size": 2})
    assert len(whole["devices"]) == 4 and whole["settings"]["tensor_parallel_size"] == 2
    assert plan("1 x L40S", LLAMA, settings={"data_parallel_size": 2})["refusal"]["code"] == "gpus_not_found"


def test_what_the_numbers_leave_out_is_named():
    assert not plan("1 x L40S", LLAMA, settings={"cpu_offload_gb": 0})["warnings"]
    warnings = plan("1 x L40S", LLAMA, settings={"cpu_offload_gb": 8, "num_gpu_blocks_override": 99})["warnings"]
    assert warnings == [
        "Not counted: settings.cpu_offload_gb, settings.num_gpu_blocks_override. "
        "The engine does as they say, the numbers here are those without."
    ]


def test_expert_parallelism_that_is_asked_for_is_planned():
    asked = {"enable_expert_parallel": True}
    found = plan("4 x L40S", MIXTRAL, gpus=4, settings=asked)
    assert found["configuration"]["enable_expert_parallel"]
    again = plan("4 x L40S", MIXTRAL, gpus=found["devices"], settings=found["settings"])
    assert again["configuration"] == found["configuration"]
    assert not plan("1 x L40S", LLAMA, settings=asked)["configuration"]["enable_expert_parallel"]


def test_replicas_share_the_experts():
    """vllm 0.33 fused_moe/config.py: without expert parallelism each expert is cut over the GPUs of all replicas."""
    sizes = {"tensor_parallel_size": 1, "data_parallel_size": 4}
    cut = plan("4 x L40S", MIXTRAL, settings=sizes)["numbers"]["weights_bytes_per_gpu"]
    whole = plan("4 x L40S", MIXTRAL, settings=dict(sizes, enable_expert_parallel=True))["numbers"]
    assert cut == whole["weights_bytes_per_gpu"] < 30 * 2**30


def test_what_the_numbers_of_a_cpu_leave_out_is_named():
    def warnings(**settings):
        found = plan("1 x L40S", LLAMA, variant="cpu", settings=settings)["warnings"]
        return [text for text in found if "counted" in text]

    assert not warnings(speculative_config={"method": "ngram", "num_speculative_tokens": 3})
    assert "settings.speculative_config" in warnings(speculative_config={"method": "eagle", "model": "a/b"})[0]
    assert "settings.enable_lora" in warnings(enable_lora=True)[0]


@pytest.mark.parametrize("variant", ["cuda", "cpu"])
def test_an_encoder_takes_a_text_in_one_step(variant):
    """Without chunked prefill vLLM refuses to start with a context above max_num_batched_tokens."""
    bge = next(entry.config for entry in ENTRIES if entry.id == "BAAI/bge-m3")
    found = plan("1 x L40S", facts_from_config(bge), variant=variant, concurrency=4)
    assert found["settings"]["max_num_batched_tokens"] >= found["settings"]["max_model_len"] >= 8192
    assert not found["warnings"]
    short = plan("1 x L40S", facts_from_config(bge), variant=variant, settings={"max_num_batched_tokens": 1024})
    assert short["settings"]["max_model_len"] == 1024
