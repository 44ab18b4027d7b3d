# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Choosing a model: what is taken on which host, within which limits, and what is said of the rest."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models import candidates
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import choose, gpus, ranking, vllm

from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning.hosts import gpus as cards
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning.hosts import host, process

Choice = t.Dict[str, t.Any]
WISHES = {"context": "8K", "concurrency": "4"}
CATALOGUE = candidates.read([])
# Four sizes of one generation: what is chosen among them depends on the host alone.
SIZES = ["Qwen/Qwen3-32B", "Qwen/Qwen3-14B", "Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B"]
FEW = candidates.read(SIZES)


def chosen(spec: str, among: t.Sequence[t.Any] = CATALOGUE, **options: t.Any) -> Choice:
    return choose.choose(gpus.hardware(spec), among, dict(WISHES, **options))


def why(choice: Choice, name: str) -> str:
    return next(one["reason"] for one in choice["passed_over"] if one["id"] == name)


@pytest.mark.parametrize(
    "spec, options, repository, kv_dtype",
    [
        ("RTX 4090", {}, "Qwen/Qwen3-14B-FP8", "auto"),
        ("RTX 4090", {"concurrency": "6"}, "Qwen/Qwen3-14B-FP8", "fp8"),
        ("RTX 4090", {"concurrency": "12"}, "Qwen/Qwen3-14B-AWQ", "fp8"),
        ("RTX 4090", {"quantizations": ["bf16"]}, "Qwen/Qwen3-8B", "auto"),
        ("RTX 4090", {"kv_cache_dtypes": ["auto"], "concurrency": "6"}, "Qwen/Qwen3-14B-AWQ", "auto"),
        ("2 x L40S", {}, "Qwen/Qwen3-32B", "auto"),
        ("L40S", {}, "Qwen/Qwen3-32B-FP8", "auto"),
        ("8 x H100", {}, "Qwen/Qwen3-32B", "auto"),
        ("T4", {}, "Qwen/Qwen3-8B-AWQ", "auto"),  # no bfloat16, no fp8 cache
        ("T4", {"quantizations": ["bf16"]}, "Qwen/Qwen3-0.6B", "auto"),
        ("RTX 3090", {"context": "16K"}, "Qwen/Qwen3-14B-AWQ", "auto"),  # Ampere keeps no fp8 cache
    ],
)
def test_largest_that_fits(spec: str, options: t.Dict[str, t.Any], repository: str, kv_dtype: str) -> None:
    choice = chosen(spec, FEW, **options)
    assert (choice["repository"], choice["kv_cache_dtype"]) == (repository, kv_dtype), choice["reasons"]
    assert choice["plan"]["refusal"] is None
    assert choice["plan"]["settings"].get("kv_cache_dtype", "auto") == kv_dtype
    wished = int(options.get("concurrency", WISHES["concurrency"]))
    assert choice["plan"]["numbers"]["max_concurrency_low"] >= wished
    for name in SIZES[: SIZES.index(choice["model"])]:
        assert re.search(r"GiB short|hold \d+\.\d requests|more than all GPUs", why(choice, name)), why(choice, name)


@pytest.mark.parametrize("spec", ["RTX 4090", "2 x L40S", "8 x H100", "T4"])
@pytest.mark.parametrize("purpose", [["chat"], ["code", "tools"], ["embedding"]])
def test_whole_catalogue(spec: str, purpose: t.List[str]) -> None:
    choice = chosen(spec, purpose=purpose)
    assert choice["refusal"] is None and set(purpose) <= set(choice["purposes"])
    assert choice["runner_up"]["model"] != choice["model"] and choice["runner_up"]["score"] <= choice["score"]
    others = [one["id"] for one in choice["passed_over"]]
    assert others == [one["id"] for one in CATALOGUE if one["id"] != choice["model"]]
    assert all(one["reason"].endswith(".") and "\n" not in one["reason"] for one in choice["passed_over"])
    assert why(choice, choice["runner_up"]["model"]) == "It is the runner-up."
    assert choice["schema"] == "gpufleet.choice/1" and json.loads(json.dumps(choice)) == choice


def test_the_plan_is_vllm_plans_own() -> None:
    hardware = gpus.hardware("2 x L40S")
    choice = choose.choose(hardware, CATALOGUE, WISHES)
    candidate = next(one for one in CATALOGUE if one["id"] == choice["model"])
    form = next(one for one in candidate["forms"] if one["kind"] == choice["quantization"])
    settings = dict(form["settings"])
    if choice["kv_cache_dtype"] != "auto":
        settings["kv_cache_dtype"] = choice["kv_cache_dtype"]
    assert choice["plan"] == vllm.make_plan(hardware, form["model"], dict(WISHES, settings=settings))


def test_same_input_same_choice() -> None:
    first, second = (chosen("RTX 4090", candidates.read(["Qwen/*"])) for _number in range(2))
    assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def test_capability_is_heeded() -> None:
    old = chosen("T4", include=["google/*"])
    assert old["refusal"]["code"] == "nothing_fits"  # Gemma overflows in float16 and a T4 has no bfloat16
    for spec in ("T4", "A100", "RTX 3090"):
        assert chosen(spec, context="16K", concurrency="16")["kv_cache_dtype"] == "auto"
    mxfp4 = chosen("Quadro RTX 8000", include=["openai/*"])
    assert "needs compute capability 8.0" in mxfp4["refusal"]["message"]


def test_cpu_only() -> None:
    choice = choose.choose(host(memory_gib=256, cores=32), CATALOGUE, WISHES)
    assert choice["plan"]["variant"] == "cpu" and choice["refusal"] is None
    candidate = next(one for one in CATALOGUE if one["id"] == choice["model"])
    form = next(one for one in candidate["forms"] if one["id"] == choice["repository"])
    assert ranking.active(form["model"], "loaded_bytes") <= 8 << 30
    assert "of its weights, 8.0 GiB are allowed on a CPU." in why(choice, "google/gemma-4-31B-it")
    more = choose.choose(host(memory_gib=256, cores=32), CATALOGUE, dict(WISHES, max_active_bytes="200G"))
    assert more["quality"] > choice["quality"]
    small = choose.choose(host(memory_gib=24, cores=2), FEW, WISHES)
    assert small["model"] in SIZES[1:]


def test_max_active_bytes_on_a_gpu() -> None:
    choice = chosen("8 x H100", FEW, max_active_bytes="8G", kv_cache_dtypes=["auto"], quantizations=["bf16"])
    assert choice["model"] == "Qwen/Qwen3-0.6B"
    assert re.search(
        r"Every token reads [\d.]+ GiB of its weights, 8.0 GiB are allowed\.", why(choice, "Qwen/Qwen3-8B")
    )


@pytest.mark.parametrize(
    "options, allowed",
    [
        ({"licences": ["apache-2.0", "mit"]}, lambda choice: choice["licence"] in ("Apache-2.0", "MIT")),
        ({"max_parameters": "10B"}, lambda choice: choice["parameters"] <= 10e9),
        ({"exclude": ["google/*", "qwen/*"]}, lambda choice: not choice["model"].startswith(("google/", "Qwen/"))),
        ({"include": ["meta-llama/*"]}, lambda choice: choice["model"].startswith("meta-llama/")),
        ({"quantizations": ["awq", "gptq"]}, lambda choice: choice["quantization"] in ("awq", "gptq")),
        ({"include": ["meta-llama/*"], "gated": False}, lambda choice: not choice["gated"]),
        ({"min_quality": 9}, lambda choice: choice["quality"] >= 9),
        ({"settings": {"kv-cache-dtype": "fp8"}}, lambda choice: choice["plan"]["settings"]["kv_cache_dtype"] == "fp8"),
        ({"settings": {"quantization": "fp8"}}, lambda choice: choice["repository"] == choice["model"]),
    ],
)
def test_limits(options: t.Dict[str, t.Any], allowed: t.Callable[[Choice], bool]) -> None:
    choice = chosen("2 x L40S", **options)
    assert choice["refusal"] is None and allowed(choice), choice["reasons"]


def test_reasons_of_those_left_out() -> None:
    choice = chosen("2 x L40S", licences=["Apache-2.0"], max_parameters="40B", exclude=["*-VL-*"])
    assert why(choice, "meta-llama/Llama-3.1-8B-Instruct") == "Its licence is Llama-3.1."
    assert why(choice, "Qwen/Qwen2.5-72B-Instruct") == "Its licence is Qwen."
    assert why(choice, "Qwen/Qwen3-235B-A22B") == "It has 235B parameters, max_parameters allows 40B."
    assert why(choice, "Qwen/Qwen3-VL-8B-Instruct") == "A pattern of exclude matches it."
    assert why(choice, "BAAI/bge-m3") == "It is not made for chat, but for embedding."
    dropped = chosen("2 x L40S", include=["baichuan-inc/*"])
    assert why(dropped, "baichuan-inc/Baichuan2-7B-Chat") == (
        "vLLM served BaichuanForCausalLM until 0.23.0 and no longer does."
    )


def test_first_of_the_list() -> None:
    listed = candidates.read(["Qwen/Qwen3-235B-A22B", "Qwen/Qwen3-8B", "Qwen/Qwen3-32B"])
    choice = chosen("L40S", listed, rank="listed")
    assert choice["model"] == "Qwen/Qwen3-8B" and choice["runner_up"]["model"] == "Qwen/Qwen3-32B"
    assert "Qwen/Qwen3-8B (bf16) is the first of the list that fits." in choice["reasons"]
    assert "are more than all GPUs of the host hold (44.4 GiB)." in why(choice, "Qwen/Qwen3-235B-A22B")


def test_quality_of_ones_own() -> None:
    own = candidates.read([{"id": "Qwen/Qwen3-8B", "quality": 99}, "Qwen/Qwen3-32B"])
    choice = chosen("L40S", own)
    assert choice["model"] == "Qwen/Qwen3-8B" and choice["quality"] == 99


def test_rule_of_quality() -> None:
    points = {one["id"]: ranking.quality(one) for one in CATALOGUE}
    assert points["Qwen/Qwen3-32B"] - points["Qwen/Qwen3-8B"] == pytest.approx(2.0, abs=0.01)  # four times the size
    assert points["Qwen/Qwen3.6-27B"] > points["meta-llama/Llama-3.3-70B-Instruct"] > points["Qwen/Qwen3-32B"]
    assert points["Qwen/Qwen3-14B"] > points["Qwen/Qwen3-30B-A3B"]  # 30B of which 3B count per token
    assert (
        points["deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"] == points["Qwen/Qwen2.5-32B-Instruct"]
    )  # as old as its base


def test_nothing_fits() -> None:
    choice = chosen("RTX 4090", candidates.read(["Qwen/Qwen3-32B", "Qwen/Qwen3-235B-A22B"]), quantizations=["bf16"])
    refusal = choice["refusal"]
    assert refusal["code"] == "nothing_fits" and refusal["code"] in choose.CODES
    assert "The smallest is Qwen/Qwen3-32B (bf16" in refusal["message"] and refusal["short_bytes"] > 30 << 30
    assert any("a GPU with" in remedy for remedy in refusal["remedies"])
    assert choice["repository"] is None and choice["plan"]["refusal"]["code"] == "too_little_memory"
    assert [one["id"] for one in choice["passed_over"]] == ["Qwen/Qwen3-32B", "Qwen/Qwen3-235B-A22B"]


def test_too_old_a_gpu() -> None:
    refusal = chosen("GTX 1080 Ti")["refusal"]
    assert "has compute capability 6.1" in refusal["message"] and refusal["short_bytes"] is None
    assert "an engine that still runs there: Ollama" in refusal["remedies"]


def test_too_many_requests() -> None:
    choice = chosen("RTX 4090", candidates.read(["Qwen/Qwen3-8B"]), quantizations=["bf16"], concurrency="1000")
    refusal = choice["refusal"]
    assert re.search(r"is sure to hold \d+\.\d requests of 8,192 tokens at once, 1000 are wished", refusal["message"])
    remedy = next(one for one in refusal["remedies"] if one.startswith("concurrency: "))
    again = chosen(
        "RTX 4090", candidates.read(["Qwen/Qwen3-8B"]), quantizations=["bf16"], concurrency=remedy.split(": ")[1]
    )
    assert again["repository"] == "Qwen/Qwen3-8B"


def test_memory_that_others_hold() -> None:
    card = cards(1, "NVIDIA L40S")
    card[0].update(memory_free_bytes=20 << 30, processes=[process(24)])
    choice = choose.choose(host(card), FEW, WISHES)
    free = choose.choose(host(cards(1, "NVIDIA L40S")), FEW, WISHES)
    assert choice["quality"] <= free["quality"] and choice["score"] < free["score"]


def test_nobody_left() -> None:
    choice = chosen("RTX 4090", licences=["WTFPL"], purpose=["vision"])
    refusal = choice["refusal"]
    assert refusal["code"] == "no_candidate" and refusal["remedies"][0] == "loosen purpose"
    assert re.match(r"None of \d+ models is left: purpose \d+, licences \d+\.", refusal["message"])
    assert choice["plan"] is None and len(choice["passed_over"]) == len(CATALOGUE)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_parameters": "many"}, "max_parameters=many: give a number of parameters"),
        ({"quantizations": ["int3"]}, "quantizations names int3"),
        ({"kv_cache_dtypes": ["int4"]}, "kv_cache_dtypes names int4"),
        ({"rank": "price"}, "rank=price is not one of"),
        ({"max_active_bytes": "few"}, "max_active_bytes=few is not a number"),
        ({"settings": {"swap-space": 4}}, "swap"),
    ],
)
def test_options_that_make_no_sense(options: t.Dict[str, t.Any], message: str) -> None:
    with pytest.raises(GpufleetError, match=message):
        chosen("L40S", FEW, **options)


def test_a_quality_that_is_no_number() -> None:
    own = candidates.read([{"id": "Qwen/Qwen3-8B", "quality": "good"}])
    with pytest.raises(GpufleetError, match="quality=good of Qwen/Qwen3-8B: give a number"):
        chosen("L40S", own)
