# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans for TensorRT-LLM: what is chosen, what is refused and with which words, and the arithmetic of its memory."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import vllm
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.trtllm import options, planner
from ansible_collections.gpufleet.llm.plugins.module_utils.report.plan_table import plan_table
from ansible_collections.gpufleet.llm.tests.stand_ins.openai import trtllm_serve
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

GIB = 1 << 30
T4, V100, A100, L4, L40S, RTX, H100 = (
    "Tesla T4", "Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-80GB", "NVIDIA L4", "NVIDIA L40S", "NVIDIA GeForce RTX 4090",
    "NVIDIA H100 80GB HBM3",
)  # fmt: skip
LLAMA, QWEN, MIXTRAL = hosts.model("Llama-3.1-8B"), hosts.model("Qwen2.5-32B"), hosts.model("Mixtral-8x7B")
GEMMA, DEEPSEEK = hosts.model("Gemma-2-9B"), hosts.model("DeepSeek-V2-Lite")
V3 = dict(DEEPSEEK, architecture="DeepseekV3ForCausalLM")  # of the same shape, and on the list


def quantized(**settings):
    return hosts.model("Llama-3.1-8B", quantization_config=settings)


BLOCKS = quantized(quant_method="fp8", weight_block_size=[128, 128])
TENSOR = quantized(quant_method="fp8", activation_scheme="static")
AWQ = quantized(quant_method="awq", bits=4, group_size=128)
GPTQ = quantized(quant_method="gptq", bits=4, group_size=128)
MXFP4 = quantized(quant_method="mxfp4")
BNB = quantized(quant_method="bitsandbytes", load_in_4bit=True)
BY_ROW = quantized(
    quant_method="compressed-tensors", format="float-quantized",
    config_groups={"group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}, "targets": ["Linear"]}},
)  # fmt: skip
INT8 = quantized(
    quant_method="compressed-tensors", format="int-quantized",
    config_groups={"group_0": {"weights": {"num_bits": 8, "type": "int", "strategy": "channel"}, "targets": ["Linear"]}},
)  # fmt: skip


def modelopt(algorithm, **more):
    return quantized(quant_method="modelopt", quant_algo=algorithm, **more)


def one(card, **changes):
    return hosts.host([hosts.gpu(0, card, **changes)])


def cards(number, name, linked=False):
    return hosts.host(hosts.gpus(number, name, linked=linked))


BLACKWELL = one(H100, name="NVIDIA B200", compute_capability="10.0")
RTX_PRO = one(L40S, name="NVIDIA RTX PRO 6000", compute_capability="12.0")
FP8_CACHE = {"extra_llm_api_options": {"kv_cache_config": {"dtype": "fp8"}}}

CHOSEN = [
    (one(L40S), LLAMA, {}, {"tp_size": 1, "backend": "pytorch", "enable_chunked_prefill": True}),
    (one(L40S), LLAMA, {"context": "32K", "concurrency": 16}, {"max_seq_len": 32768, "max_batch_size": 16}),
    (one(L40S), LLAMA, {"context": 1024}, {"max_seq_len": 1024, "max_num_tokens": 2048}),
    (one(L4), LLAMA, {"context": 8192}, {"tp_size": 1, "max_seq_len": 8192}),
    (one(A100), LLAMA, {"context": "128K"}, {"max_seq_len": 131072, "max_num_tokens": 2048}),
    (one(H100), LLAMA, {"prefer": "throughput"}, {"max_num_tokens": 16384}),
    (cards(2, L40S), QWEN, {"context": 8192}, {"tp_size": 2}),
    (cards(4, L40S), QWEN, {"gpus": 4}, {"tp_size": 4}),
    (cards(4, L40S), LLAMA, {"gpus": [2]}, {"tp_size": 1}),
    (cards(8, H100, linked=True), MIXTRAL, {"prefer": "latency"}, {"tp_size": 8, "max_num_tokens": 2048}),
    (cards(2, H100), MIXTRAL, {"settings": {"tp_size": 2, "ep_size": 2}}, {"tp_size": 2, "ep_size": 2}),
    (cards(4, L40S), QWEN, {"settings": {"tensor_parallel_size": 2, "pp_size": 2}}, {"tp_size": 2, "pp_size": 2}),
    (one(L40S), LLAMA, {"settings": {"free_gpu_memory_fraction": 0.5}}, {"kv_cache_free_gpu_memory_fraction": 0.5}),
    (one(L40S), LLAMA, {"settings": {"max_num_tokens": 4096}, "context": 4096}, {"max_num_tokens": 4096}),
    (one(H100), V3, {"context": 16384}, {"max_num_tokens": 8192, "enable_chunked_prefill": True}),
    (one(A100), V3, {"context": 16384}, {"max_num_tokens": 16384}),  # no chunked prefill of MLA on Ampere
    (one(H100), GEMMA, {"unlisted_models": True}, {"max_seq_len": 8192}),
    (one(H100), BLOCKS, {}, {"tp_size": 1}),
    (one(H100), BY_ROW, {}, {"tp_size": 1}),
    (one(L40S), modelopt("FP8"), {}, {"tp_size": 1}),
    (one(A100), modelopt("W4A16_AWQ"), {}, {"tp_size": 1}),
    (BLACKWELL, modelopt("NVFP4"), {}, {"tp_size": 1}),
    (RTX_PRO, modelopt("NVFP4"), {}, {"tp_size": 1}),
    (one(H100), MXFP4, {}, {"tp_size": 1}),
    (one(L40S), LLAMA, {"settings": FP8_CACHE}, dict(FP8_CACHE, tp_size=1)),
]

REFUSED = [
    (hosts.host(), LLAMA, {}, "no_gpu", "TensorRT-LLM runs on nothing else"),
    (one(L40S, vendor="amd", name="MI300X"), LLAMA, {}, "unsupported_vendor", "NVIDIA's GPUs only"),
    (hosts.host(hosts.gpus(1, L40S), driver_version=None), LLAMA, {}, "no_driver", "no working NVIDIA driver"),
    (hosts.host(hosts.gpus(1, L40S), driver_version="570.86.10"), LLAMA, {}, "driver_too_old", "CUDA 13.1, which needs R580"),
    (one(T4), LLAMA, {}, "capability_too_old", "7.5, TensorRT-LLM starts at 8.0"),
    (one(V100), LLAMA, {}, "capability_too_old", "7.0, TensorRT-LLM starts at 8.0"),
    (hosts.host([hosts.gpu(0, T4), hosts.gpu(1, L40S)]), LLAMA, {"gpus": [0]}, "capability_too_old", "GPU 0 (Tesla T4)"),
    (hosts.host([hosts.sliced(0, A100, ("3g.40gb", 40000))]), LLAMA, {}, "mig_card", "MIG slices"),
    (hosts.host([hosts.sliced(0, A100, ("3g.40gb", 40000))]), LLAMA, {"gpus": ["MIG-00000000-0000-4000-8000-000000000000"]},
     "mig_card", "not documented for TensorRT-LLM"),
    (one(L40S), LLAMA, {"gpus": [7]}, "gpus_not_found", "gpus names 7"),
    (one(L40S), LLAMA, {"gpus": 2}, "gpus_not_found", "needs 2 GPUs"),
    (one(L40S), GEMMA, {}, "model_unsupported", "not in the documented list"),
    (one(L40S), dict(LLAMA, format="gguf"), {}, "model_unsupported", "reads no GGUF files"),
    (one(L40S), dict(LLAMA, task="embed"), {}, "model_unsupported", "only models that generate"),
    (one(L40S), AWQ, {}, "model_unsupported", "AWQ as AutoAWQ and GPTQModel write it"),
    (one(L40S), GPTQ, {}, "model_unsupported", "GPTQ as AutoAWQ and GPTQModel write it"),
    (one(L40S), BNB, {}, "model_unsupported", "quantization bitsandbytes"),
    (one(L40S), TENSOR, {}, "model_unsupported", "only with scales for blocks of 128 x 128"),
    (one(H100), INT8, {}, "model_unsupported", "compressed-tensors only as FP8"),
    (one(L40S), BLOCKS, {}, "quantization_unsupported", "FP8 in blocks weights run on Hopper and Blackwell (sm100/103)"),
    (one(A100), modelopt("FP8"), {}, "quantization_unsupported", "Ampere"),
    (one(H100), modelopt("NVFP4"), {}, "quantization_unsupported", "NVFP4 weights run on Blackwell"),
    (BLACKWELL, modelopt("W4A16_AWQ"), {}, "quantization_unsupported", "W4A16 weights run on Ampere, Ada Lovelace and Hopper"),
    (one(A100), modelopt("W4A8_AWQ"), {}, "quantization_unsupported", "W4A8"),
    (one(L40S), MXFP4, {}, "quantization_unsupported", "MXFP4"),
    (one(L40S), LLAMA, {"context": 200000}, "context_too_long", "the model's 131072 tokens"),
    (one(L40S), QWEN, {"context": 32768}, "too_little_memory", "Weights (61.0 GiB)"),
    (one(L4), LLAMA, {"context": 131072}, "no_kv_cache_room", "kv_cache_free_gpu_memory_fraction"),
    (one(L40S, processes=[hosts.process(40)]), LLAMA, {"context": 8192}, "foreign_processes", "without them the model fits"),
    (cards(2, L40S), LLAMA, {"settings": {"tp_size": 3}}, "heads_not_divisible", "32 attention heads"),
    (one(L40S), LLAMA, {"settings": {"extra_llm_api_options": {"kv_cache_config": {"dtype": "nvfp4"}}}},
     "kv_cache_dtype_unsupported", "KV cache in nvfp4"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "model", "wishes", "expected"), CHOSEN)
def test_what_is_chosen(host, model, wishes, expected):
    plan = planner.make_plan(host, model, wishes)
    assert plan["refusal"] is None, plan["refusal"]
    assert {name: plan["settings"].get(name) for name in expected} == expected
    words = options.render(plan["settings"], config_file="/etc/options.yml")
    trtllm_serve.parse(["/models/chat", *words])
    assert plan["numbers"]["kv_needed_bytes"] <= plan["numbers"]["kv_cache_bytes"]["expected"]
    assert len(plan["devices"]) == plan["settings"]["tp_size"] * plan["settings"].get("pp_size", 1)
    assert "TensorRT-LLM 1.2.1 (not tested on a GPU)" in plan_table(plan, host, model)


@pytest.mark.parametrize(("host", "model", "wishes", "code", "words"), REFUSED)
def test_what_is_refused(host, model, wishes, code, words):
    plan = planner.make_plan(host, model, wishes)
    refusal = plan["refusal"]
    assert refusal and refusal["code"] == code, refusal
    assert words in refusal["message"] and "vLLM" not in refusal["message"]
    assert refusal["remedies"]
    assert plan["numbers"]["weights_bytes_per_gpu"] > 0
    assert code in plan_table(plan, host, model)


def test_every_plan_says_that_none_of_it_was_tested():
    plan = planner.make_plan(one(L40S), LLAMA, {})
    assert sum(warning.startswith("Not tested on a GPU") for warning in plan["warnings"]) == 1


def test_the_contract_is_that_of_vllm_plans():
    wishes = {"context": 8192, "concurrency": 8}
    ours, theirs = planner.make_plan(one(L40S), LLAMA, wishes), vllm.make_plan(one(L40S), LLAMA, wishes)
    assert set(ours) == set(theirs) and ours["schema"] == theirs["schema"]
    own = set(theirs["numbers"]) - {"host_pinned_bytes", "measured_correction_bytes"}
    assert set(ours["numbers"]) == own | {"free_after_load_bytes"}
    for name in ("weights_bytes_per_gpu", "kv_bytes_per_token", "total_memory_bytes", "free_memory_bytes", "start_timeout_s"):
        assert ours["numbers"][name] == theirs["numbers"][name], name
    assert set(ours["environment"]) == set(theirs["environment"]) and ours["devices"] == theirs["devices"]


@pytest.mark.parametrize("fraction", [None, 0.5, 0.9])
def test_the_cache_is_a_share_of_what_is_free_after_the_rest(fraction):
    settings = {"kv_cache_free_gpu_memory_fraction": fraction} if fraction else {}
    plan = planner.make_plan(one(L40S), LLAMA, {"context": 4096, "concurrency": 8, "settings": settings})
    numbers, share = plan["numbers"], plan["settings"]["kv_cache_free_gpu_memory_fraction"]
    taken = numbers["weights_bytes_per_gpu"] + numbers["rope_cache_bytes"] + numbers["context_bytes"]["expected"]
    taken += sum(numbers[name]["expected"] for name in ("activation_peak_bytes", "cuda_graph_bytes", "runtime_bytes"))
    left = numbers["free_memory_bytes"] - taken
    assert numbers["free_after_load_bytes"]["expected"] == left
    assert numbers["kv_cache_bytes"]["expected"] == int(left * share)
    assert 0 < share <= 0.9
    assert numbers["claimed_bytes_per_gpu"] == taken + int(left * share)
    assert numbers["claimed_bytes_per_gpu"] + numbers["total_memory_bytes"] // 50 <= numbers["free_memory_bytes"]


def test_an_fp8_cache_holds_twice_the_tokens():
    wishes = {"context": 4096, "concurrency": 8}
    plain = planner.make_plan(one(L40S), LLAMA, wishes)["numbers"]
    small = planner.make_plan(one(L40S), LLAMA, dict(wishes, settings=FP8_CACHE))["numbers"]
    assert 2 * small["kv_bytes_per_token"] == plain["kv_bytes_per_token"]
    assert small["kv_cache_tokens"]["expected"] // 4096 in range(2 * plain["kv_cache_tokens"]["expected"] // 4096 - 1, 999)


def test_what_other_instances_claim_is_left_to_them():
    host = cards(1, H100)
    first = planner.make_plan(host, LLAMA, {"context": 8192, "settings": {"kv_cache_free_gpu_memory_fraction": 0.3}})
    claim = {"device": first["devices"][0], "bytes": first["numbers"]["claimed_bytes_per_gpu"]}
    second = planner.make_plan(host, LLAMA, {"context": 8192, "reserved": [claim]})
    assert second["refusal"] is None
    assert second["numbers"]["claimed_bytes_per_gpu"] + claim["bytes"] < first["numbers"]["total_memory_bytes"]


def test_its_own_processes_count_as_free_and_the_plan_stays():
    unit = "tensorrt-llm-chat.service"
    idle = planner.make_plan(one(L40S), LLAMA, {"own_units": [unit]})
    running = planner.make_plan(one(L40S, processes=[hosts.process(40, unit)]), LLAMA, {"own_units": [unit]})
    assert running["settings"] == idle["settings"] and running["fingerprint"] == idle["fingerprint"]


@pytest.mark.parametrize(
    "changed", [{"context": 4096}, {"settings": {"log_level": "debug"}}, {"unlisted_models": True}, {"engine_version": "1.2.0"}]
)
def test_other_wishes_are_another_plan(changed):
    assert planner.make_plan(one(L40S), LLAMA, changed)["fingerprint"] != planner.make_plan(one(L40S), LLAMA, {})["fingerprint"]


def test_the_same_input_is_the_same_plan():
    text = json.dumps(planner.make_plan(cards(4, L40S), QWEN, {}), sort_keys=True)
    assert json.dumps(planner.make_plan(cards(4, L40S), QWEN, {}), sort_keys=True) == text


def test_an_old_card_beside_a_good_one_is_left_out_and_said():
    plan = planner.make_plan(hosts.host([hosts.gpu(0, T4), hosts.gpu(1, L40S)]), LLAMA, {})
    assert plan["refusal"] is None and plan["devices"] == ["GPU-00000001-0000-4000-8000-000000000000"]
    assert any("Not used: GPU 0 (Tesla T4)" in warning for warning in plan["warnings"])


def test_windows_are_counted_whole_and_said():
    plan = planner.make_plan(one(H100), GEMMA, {"unlisted_models": True})
    assert any("max_attention_window" in warning for warning in plan["warnings"])
    assert plan["numbers"]["kv_groups"] == 1


def test_what_is_not_counted_is_said():
    settings = {"extra_llm_api_options": {"speculative_config": {"decoding_type": "NGram"}}, "max_beam_width": 2}
    plan = planner.make_plan(one(L40S), LLAMA, {"settings": settings})
    assert any("settings.max_beam_width, speculative_config" in warning for warning in plan["warnings"])


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"settings": {"cp_size": 2}}, "settings.cp_size=2 is not worked out"),
        ({"settings": {"ep_size": 4, "tp_size": 8}}, "set settings.tp_size to 4 too"),
        ({"settings": {"max_seq_len": 8192}, "context": 4096}, "context=4096 and settings.max_seq_len=8192 disagree"),
        ({"settings": {"max_batch_size": 8}, "concurrency": 4}, "concurrency=4 and settings.max_batch_size=8 disagree"),
        ({"settings": {"extra_llm_api_options": {"kv_cache_config": {"tokens_per_block": 33}}}}, "a power of two"),
        ({"engine_version": "0.21.0"}, "engine_version=0.21.0 is not supported"),
        ({"prefer": "speed"}, "is not one of balanced"),
    ],
)
def test_wishes_that_make_no_sense(wishes, message):
    with pytest.raises(GpufleetError) as caught:
        planner.make_plan(one(L40S), LLAMA, wishes)
    assert message in str(caught.value)
