# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine measured, in the next plan: when it counts, what it corrects, and that plans come to rest."""

from __future__ import annotations

import copy
import json
import random
import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines import measured as engine_measured
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import gpus
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.vllm import make_plan
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning.measuring import (
    blocks_measured,
    estimated_overhead,
    kv_measured,
    overhead_measured,
)

Dict = t.Dict[str, t.Any]
HOST = hosts.host(hosts.gpus(1, "NVIDIA L40S"))
MODEL = hosts.model("Llama-3.1-8B")
PLAN = make_plan(HOST, MODEL, {})


def again(measured: t.Any, hardware: t.Optional[Dict] = None, model: t.Optional[Dict] = None, **options: t.Any) -> Dict:
    return make_plan(hardware or HOST, model or MODEL, dict(options, measured=measured))


def said(plan: Dict) -> str:
    return " ".join(plan["reasons"] + plan["warnings"])


def without_words(plan: Dict) -> Dict:
    return {name: value for name, value in plan.items() if name not in ("reasons", "warnings")}


# --- when it counts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"context": 8192},
        {"settings": {"gpu_memory_utilization": 0.8}},
        {"settings": {"served_model_name": ["x"], "tool_call_parser": "hermes"}},
        {"concurrency": 64},  # what the plan chose by itself
        {"settings": {"max_num_batched_tokens": 2048, "tensor_parallel_size": 1, "dtype": "bfloat16"}},
    ],
)
def test_counts(options: Dict) -> None:
    plan = again(kv_measured(PLAN, 0.9), **options)
    assert "The plan goes by the measurement." in plan["reasons"][-1]
    assert plan["numbers"]["measured_correction_bytes"] > 2**31
    assert plan["fingerprint"] == make_plan(HOST, MODEL, options)["fingerprint"]


L40 = hosts.host([hosts.gpu(0, "NVIDIA L40S", name="NVIDIA L40")])
TWO = hosts.host(hosts.gpus(2, "NVIDIA L40S"))


@pytest.mark.parametrize(
    "hardware, model, options, reason",
    [
        (HOST, MODEL, {"concurrency": 32}, "max_num_seqs 64, not 32"),
        (HOST, MODEL, {"settings": {"enforce_eager": True}}, "enforce_eager false, not true"),
        (HOST, MODEL, {"concurrency": 64, "settings": {"kv_cache_dtype": "fp8"}}, "kv_cache_dtype auto, not fp8"),
        (HOST, MODEL, {"settings": {"max_num_batched_tokens": 4096}}, "max_num_batched_tokens 2048, not 4096"),
        (HOST, MODEL, {"settings": {"block_size": 32}}, "block_size 16, not 32"),
        (HOST, MODEL, {"settings": {"enable_lora": True}}, 'settings {}, not {"enable_lora":true}'),
        (HOST, MODEL, {"engine_version": "0.32.0"}, "engine_version 0.33.0, not 0.32.0"),
        (HOST, MODEL, {"engine_version": "0.33.0+cu129"}, "engine_version 0.33.0, not 0.33.0+cu129"),
        (L40, MODEL, {}, "gpu L40S, not L40"),
        (TWO, MODEL, {"gpus": 2, "concurrency": 64}, "tensor_parallel_size 1, not 2"),
        # nothing to say:
        (hosts.host(hosts.gpus(1, "NVIDIA H100 80GB HBM3")), MODEL, {}, None),
        (HOST, hosts.model("Gemma-2-9B"), {}, None),
        (HOST, hosts.model("Llama-3.1-8B", num_hidden_layers=30), {}, None),
    ],
)
def test_does_not_count(hardware: Dict, model: Dict, options: Dict, reason: t.Optional[str]) -> None:
    plain = make_plan(hardware, model, options)
    plan = again(kv_measured(PLAN, 0.9), hardware, model, **options)
    assert without_words(plan) == without_words(plain)
    assert plan["warnings"] == plain["warnings"]
    new = [text for text in plan["reasons"] if text not in plain["reasons"]]
    if reason is None:
        assert new == []
    else:
        wanted = "A measurement of this model does not count: it was with %s. So the estimate stands." % reason
        assert new == [wanted]


def test_another_checkpoint_of_the_same_shape_counts() -> None:
    tuned = dict(MODEL, source="org/tuned", revision="0123abc", format="safetensors")
    assert "The plan goes by the measurement." in said(again(kv_measured(PLAN, 0.9), model=tuned))


def test_a_gpu_from_the_table_is_the_same_gpu() -> None:
    plan = again(kv_measured(PLAN, 0.9), gpus.hardware("1 x L40S"))
    assert "The plan goes by the measurement." in said(plan)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], json.dumps, lambda x: [json.dumps(x), ""]])
def test_every_form(wrap: t.Callable[[t.Any], t.Any]) -> None:
    entry = kv_measured(PLAN, 0.9)
    wanted = again([entry])
    assert again(wrap(entry)) == wanted
    assert again(wrap({"schema": "gpufleet.calibration/1", "measured": [entry, entry]})) == wanted


@pytest.mark.parametrize(
    "value, message",
    [
        ("{half", "measured is not JSON (Expecting property name"),
        ({"schema": "gpufleet.plan/1"}, "measured is 'gpufleet.plan/1', not of schema gpufleet.measured/1 or"),
        ([7], "measured[0] is 'int', not of schema"),
        ([{}], "measured[0] is None, not of schema"),
        (dict(kv_measured(PLAN, 0.9), requested_bytes=None), "measured is damaged (TypeError"),
        (dict(kv_measured(PLAN, 0.9), num_gpu_blocks="many"), "measured is damaged (ValueError"),
        ({"schema": "gpufleet.calibration/1", "measured": [None, {"a": 1}]}, "measured.measured[1] is None, not of"),
    ],
)
def test_damaged(value: t.Any, message: str) -> None:
    plan = again(value)
    assert without_words(plan) == without_words(PLAN) and plan["reasons"] == PLAN["reasons"]
    assert len(plan["warnings"]) == 1 and plan["warnings"][0].startswith(message)
    assert plan["warnings"][0].endswith("it is ignored.")


def test_older_files_are_accepted() -> None:
    new = ("configuration", "requested_bytes", "weights_bytes", "overhead_bytes", "kv_cache_given_bytes", "earlier")
    old = {name: value for name, value in kv_measured(PLAN, 0.9).items() if name not in new}
    assert again([old, dict(old, predicted=None)]) == PLAN


def test_stale() -> None:
    plan = again(kv_measured(PLAN, 0.9, version="0.32.0"))
    assert without_words(plan) == without_words(PLAN)
    words = "A measurement of these settings is stale: vLLM 0.32.0 answered, the plan it ran by was for 0.33.0."
    assert plan["warnings"] == [words + " It is ignored."]
    assert "goes by the measurement" in said(again(kv_measured(PLAN, 0.9, version="0.33.0+cu130")))


def test_impossible() -> None:
    plan = again(kv_measured(PLAN, 1.4))
    assert without_words(plan) == without_words(PLAN)
    assert "leaves less than half of the weights (15.0 GiB)" in plan["warnings"][0]


@pytest.mark.parametrize("settings", [{"kv_cache_memory_bytes": "8G"}, {"num_gpu_blocks_override": 4096}])
def test_a_cache_that_was_told_its_size_says_nothing_of_the_rest(settings: Dict) -> None:
    told = make_plan(HOST, MODEL, {"settings": settings})
    entry = blocks_measured(told, 4096)
    assert entry["overhead_bytes"] is None
    assert without_words(again(entry, settings=settings)) == without_words(told)


# --- what it corrects -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.6, 0.8, 0.9, 0.94, 1.06, 1.1, 1.2])
def test_off_by_more_than_five_percent(factor: float) -> None:
    plan = again(kv_measured(PLAN, factor))
    numbers, estimate = plan["numbers"], PLAN["numbers"]
    wanted = int(estimate["num_gpu_blocks"] * factor)
    assert numbers["num_gpu_blocks"] == wanted
    assert numbers["kv_cache_bytes"]["low"] < wanted * numbers["kv_bytes_per_block"] < numbers["kv_cache_bytes"]["high"]
    assert "off by more than 5 %" in plan["warnings"][0]
    assert "(%.0f %% %s)" % (abs(factor - 1) * 100, "more" if factor > 1 else "less") in plan["warnings"][0]
    shorter = plan["settings"]["max_model_len"] < PLAN["settings"]["max_model_len"]
    assert shorter == (factor < 1) and plan["settings"] != PLAN["settings"]
    # No more is promised than a GiB short of what was measured, or than the estimate itself would vary.
    spread = estimate["kv_cache_bytes"]["expected"] - estimate["kv_cache_bytes"]["low"]
    short = numbers["kv_cache_bytes"]["expected"] - numbers["kv_cache_bytes"]["low"]
    assert short == min(spread, 2**30)


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0, 1.02, 1.04])
def test_within_five_percent(share: float) -> None:
    """Below 1 a share of the way from the low end to the expected cache, above it of the expected cache."""
    numbers = PLAN["numbers"]
    low, expected = (numbers["kv_cache_bytes"][name] for name in ("low", "expected"))
    size = int(low + (expected - low) * share) if share < 1 else int(expected * share)
    blocks = size // numbers["kv_bytes_per_block"]
    plan = again(blocks_measured(PLAN, blocks))
    assert plan["settings"] == PLAN["settings"] and plan["warnings"] == PLAN["warnings"] == []
    assert plan["numbers"]["num_gpu_blocks"] == blocks
    assert plan["numbers"]["kv_cache_bytes"]["low"] == low
    assert "That confirms the estimate" in plan["reasons"][-1]


def test_worse_than_the_estimates_most_lowers_the_promise() -> None:
    """Near enough to count as confirmed, and yet less than was promised."""
    worst = PLAN["numbers"]["kv_cache_bytes"]["low"] - 2**27
    plan = again(blocks_measured(PLAN, worst // PLAN["numbers"]["kv_bytes_per_block"]))
    assert plan["numbers"]["kv_cache_bytes"]["low"] <= worst - 2**26 and plan["warnings"] == []
    assert "so the plan promises less" in plan["reasons"][-1]


def test_the_overhead_does_not_depend_on_the_share_or_the_context() -> None:
    small = again(kv_measured(PLAN, 0.8), context=4096, concurrency=64, settings={"gpu_memory_utilization": 0.7})
    correction = small["numbers"]["measured_correction_bytes"]
    assert correction == again(kv_measured(PLAN, 0.8))["numbers"]["measured_correction_bytes"]


def test_several_are_combined_with_caution() -> None:
    factors = [0.9, 0.91, 0.915]
    entries = [kv_measured(PLAN, factor) for factor in factors]
    plan = again(entries)
    assert plan["numbers"]["num_gpu_blocks"] == int(PLAN["numbers"]["num_gpu_blocks"] * 0.91)
    assert plan["numbers"]["kv_cache_bytes"]["low"] == again(entries[0])["numbers"]["kv_cache_bytes"]["low"]
    assert plan["numbers"]["kv_cache_bytes"]["high"] == again(entries[2])["numbers"]["kv_cache_bytes"]["high"]
    assert "Measured at 3 starts" in said(plan) and "contradict" not in said(plan)
    for _turn in range(3):
        random.Random(_turn).shuffle(entries)
        assert again(entries) == plan


def test_contradictions_are_reported_and_the_worst_counts() -> None:
    plan = again([kv_measured(PLAN, 0.8), kv_measured(PLAN, 1.0)])
    assert any("contradict each other" in text for text in plan["warnings"])
    assert plan["numbers"]["num_gpu_blocks"] == int(PLAN["numbers"]["num_gpu_blocks"] * 0.8)


def test_what_was_refused_fits_where_it_was_seen_to_fit() -> None:
    hardware = hosts.host(hosts.gpus(1, "NVIDIA L4"))
    options = {"settings": {"gpu_memory_utilization": 0.92}, "concurrency": 64}
    ran = make_plan(hardware, MODEL, dict(options, context=4096))
    memory, per_token = ran["numbers"]["kv_cache_bytes"], ran["numbers"]["kv_bytes_per_token"]

    longer = dict(options, context=(memory["expected"] + 2**28) // per_token)
    assert make_plan(hardware, MODEL, longer)["refusal"]["code"] == "no_kv_cache_room"
    assert again(overhead_measured(ran, estimated_overhead(ran) - 2**29), hardware, **longer)["refusal"] is None

    settings = {"gpu_memory_utilization": 0.92, "max_num_batched_tokens": 2048}  # or smaller steps would be tried
    shorter = {**options, "settings": settings, "context": (memory["low"] - 2**28) // per_token}
    assert make_plan(hardware, MODEL, shorter)["refusal"] is None
    entry = overhead_measured(ran, estimated_overhead(ran) + memory["expected"] - memory["low"] + 2**29)
    assert entry is not None
    assert again(entry, hardware, **shorter)["refusal"]["code"] == "no_kv_cache_room"


# --- on a CPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor, warned", [(1.0, False), (0.97, False), (0.9, True), (1.2, True)])
def test_on_a_cpu_nothing_is_corrected(factor: float, warned: bool) -> None:
    hardware, model = hosts.host(), hosts.model("Gemma-2-9B", num_hidden_layers=2)
    plan = make_plan(hardware, model, {})
    size = plan["numbers"]["kv_cache_bytes"]["expected"]
    entry = blocks_measured(plan, int(plan["numbers"]["num_gpu_blocks"] * factor), given=size)
    assert entry["overhead_bytes"] is None and entry["kv_cache_given_bytes"] == size
    corrected = again(entry, hardware, model)
    assert without_words(corrected) == without_words(plan)
    assert ("please report it" in said(corrected)) == warned
    assert ("Measured: the engine made" in said(corrected)) != warned


# --- plans come to rest -----------------------------------------------------------------------------------------------

CASES = [
    (model, card, number, options)
    for model in ("Llama-3.1-8B", "Qwen2.5-32B", "DeepSeek-V2-Lite", "Gemma-2-9B")
    for card, number in (("NVIDIA L40S", 2), ("NVIDIA GeForce RTX 4090", 2), ("NVIDIA H100 80GB HBM3", 1))
    for options in ({}, {"prefer": "throughput"}, {"concurrency": 24, "settings": {"enforce_eager": True}})
]


def fitting_plans() -> t.Iterator[t.Tuple[Dict, Dict, Dict, Dict]]:
    for name, card, number, options in CASES:
        hardware, model = hosts.host(hosts.gpus(number, card)), hosts.model(name)
        plan = make_plan(hardware, model, options)
        if not plan["refusal"]:
            yield hardware, model, options, plan


def settle(hardware: Dict, model: Dict, options: Dict, seed: int, scatter: int, turns: int) -> t.List[Dict]:
    """Settings from run to run: plan, start, measure as on a host, plan anew with that."""
    kept: t.Any = None
    history = []
    for turn in range(turns):
        plan = make_plan(hardware, model, dict(options, measured=kept))
        history.append(plan["settings"])
        shape = json.dumps(plan["configuration"], sort_keys=True)
        truth = estimated_overhead(plan) * random.Random("%d %s" % (seed, shape)).uniform(0.5, 1.9)
        truth += random.Random("%d %d" % (seed, turn)).uniform(-scatter, scatter)
        entry = overhead_measured(plan, int(truth))
        if entry is None:
            return []  # such an engine does not start, so there is nothing to go by
        kept = engine_measured.with_earlier(entry, kept)
    return history


def test_its_own_prediction_changes_nothing() -> None:
    number = 0
    for hardware, model, options, plan in fitting_plans():
        same = again(kv_measured(plan, 1.0), hardware, model, **options)
        assert same["settings"] == plan["settings"]
        assert same["warnings"] == plan["warnings"]
        assert abs(same["numbers"]["measured_correction_bytes"]) <= plan["numbers"]["kv_bytes_per_block"]
        assert same["numbers"]["kv_cache_bytes"]["low"] == plan["numbers"]["kv_cache_bytes"]["low"]
        number += 1
    assert number >= 20


def test_low_expected_and_high_stay_in_order() -> None:
    chance = random.Random(3)
    for hardware, model, options, plan in fitting_plans():
        entries = [kv_measured(plan, chance.uniform(0.7, 1.15)) for _each in range(chance.randint(1, 4))]
        numbers = again(entries, hardware, model, **options)["numbers"]
        for name in ("kv_cache_bytes", "kv_cache_tokens"):
            assert 0 <= numbers[name]["low"] <= numbers[name]["expected"] <= numbers[name]["high"]


def test_it_comes_to_rest_and_never_goes_back() -> None:
    seen = 0
    for hardware, model, options, _plan in fitting_plans():
        history = settle(hardware, model, options, 1, scatter=0, turns=6)
        distinct = [value for index, value in enumerate(history) if not index or value != history[index - 1]]
        assert len(distinct) == len({json.dumps(value) for value in distinct}), "went back to earlier settings"
        assert len({json.dumps(value) for value in history[-3:]}) <= 1
        seen += bool(history)
    assert seen >= 15


def test_the_scatter_of_warm_starts_does_not_keep_it_moving() -> None:
    moved = 0
    for hardware, model, options, _plan in fitting_plans():
        history = settle(hardware, model, options, 5, scatter=34 * 2**20, turns=9)
        moved += sum(one != other for one, other in zip(history[4:], history[5:]))
        assert len({json.dumps(value) for value in history}) <= 4
    assert moved <= 2


# --- what the host keeps ----------------------------------------------------------------------------------------------


def test_earlier_starts() -> None:
    other_plan = make_plan(HOST, MODEL, {"concurrency": 16})
    first, second = kv_measured(PLAN, 0.9), kv_measured(PLAN, 0.95)
    other = kv_measured(other_plan, 1.0)
    kept = engine_measured.with_earlier(first, None)
    assert kept == first
    kept = engine_measured.with_earlier(second, kept)
    assert kept["earlier"] == [{name: value for name, value in first.items() if name != "earlier"}]
    assert engine_measured.with_earlier(copy.deepcopy(second), kept) == kept, "a second run changes nothing"
    kept = engine_measured.with_earlier(other, kept)
    assert [entry["num_gpu_blocks"] for entry in kept["earlier"]] == [first["num_gpu_blocks"]]
    kept = engine_measured.with_earlier(first, kept)
    assert [entry["configuration"] for entry in kept["earlier"]] == [other["configuration"]]
    assert again(kept) == again([first, other])


@pytest.mark.parametrize("kept", [None, [], "text", {"schema": "gpufleet.plan/1"}, {"earlier": [1]}])
def test_nothing_of_ours_was_kept(kept: t.Any) -> None:
    assert engine_measured.with_earlier(kv_measured(PLAN, 1.0), kept)["earlier"] == []


def test_what_is_kept_has_an_end() -> None:
    kept: t.Any = None
    for number in range(1, 30):
        kept = engine_measured.with_earlier(kv_measured(make_plan(HOST, MODEL, {"concurrency": number}), 1.0), kept)
    assert len(kept["earlier"]) == engine_measured.EARLIER
    assert kept["earlier"][0]["configuration"]["max_num_seqs"] == 28
