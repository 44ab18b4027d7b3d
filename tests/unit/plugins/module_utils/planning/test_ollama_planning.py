# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ollama plans: decisions, wishes, old names, refusals, and what must hold for all of them."""

from __future__ import annotations

import json
import random
import re

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import fit as ollama_fit
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import schedule as ollama_schedule
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import memory
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.model import read_model
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.refusals import CODES
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts as hosts

plan, entry, host = hosts.plan, hosts.entry, hosts.host
GIB, MIB = hosts.GIB, hosts.MIB


def gpu_gib(size, **changes):
    """A host with one GPU of ``size`` GiB."""
    facts = host("L4", **changes)
    facts["accelerators"][0]["memory_total_bytes"] = facts["accelerators"][0]["memory_free_bytes"] = int(size * GIB)
    return facts


# decisions ------------------------------------------------------------------------------------------------------------


def test_one_model_with_room():
    found = plan("L4", "llama3.1-8b")
    assert found["refusal"] is None and found["warnings"] == [
        "llama3.1-8b: sizes by formula, since no GGUF header was read; a few percent may differ."
    ]
    assert found["environment"] == {
        "OLLAMA_CONTEXT_LENGTH": "32768", "OLLAMA_KEEP_ALIVE": "-1s", "OLLAMA_LOAD_TIMEOUT": "5m",
        "OLLAMA_MAX_LOADED_MODELS": "2", "OLLAMA_MAX_QUEUE": "1024", "OLLAMA_NO_CLOUD": "1", "OLLAMA_NUM_PARALLEL": "3",
    }  # fmt: skip
    assert found["models"][0]["runs_on"] == "gpu"
    terms = found["numbers"]["models"]["llama3.1-8b"]
    assert terms["kv_bytes_per_token"] == 131072
    assert terms["kv_cache_bytes"] == 131072 * 32768 * 3
    assert terms["layers_on_gpu"] == {"low": 33, "expected": 33, "high": 33}
    assert terms["size_bytes"] == terms["size_vram_bytes"]


def test_a_small_gpu_runs_part_on_the_cpu_and_says_so():
    found = plan("L4", entry("llama3-70b", context=8192))
    terms = found["numbers"]["models"]["llama3-70b"]
    assert found["models"][0]["runs_on"] == "partly"
    assert 0 < terms["layers_on_gpu"]["low"] <= terms["layers_on_gpu"]["expected"] < terms["layers_total"] == 81
    assert terms["size_vram_bytes"] < terms["size_bytes"]
    warning = next(text for text in found["warnings"] if "partly on the CPU" in text)
    assert re.search(r"%d of 81 layers on GPU 0" % terms["layers_on_gpu"]["low"], warning)
    assert "What would avoid it" in warning and "a smaller quantization" in warning and "more GPU memory" in warning


def test_experts_go_first():
    found = plan("RTX 4090", entry("gpt-oss-120b", "MXFP4", context=8192))
    terms = found["numbers"]["models"]["gpt-oss-120b"]
    assert terms["layers_on_gpu"]["low"] == 37 and 0 < terms["expert_layers_on_cpu"] < 36
    assert "the experts of" in found["warnings"][0]


def test_quantized_cache_only_where_it_is_needed():
    found = plan("L4", entry("qwen3-32b", context=16384))
    assert found["environment"]["OLLAMA_KV_CACHE_TYPE"] == "q8_0"
    assert found["environment"]["OLLAMA_FLASH_ATTENTION"] == "1"
    assert found["models"][0]["runs_on"] == "gpu"
    assert "OLLAMA_KV_CACHE_TYPE" not in plan("L40S", entry("qwen3-32b", context=16384))["environment"]


def test_spread_where_ollama_underestimates():
    """Qwen3 32B: Ollama counts 160 KiB of KV cache per token where llama.cpp takes 256, and would fill one GPU."""
    wish = entry("qwen3-32b", context=36000, parallel="3")
    found = plan("2 x L40S", wish, kv_cache_type="f16")
    terms = found["numbers"]["models"]["qwen3-32b"]
    assert found["environment"]["OLLAMA_SCHED_SPREAD"] == "1"
    assert found["models"][0]["runs_on"] == "gpu" and all(terms["layers_per_gpu"])
    assert terms["scheduler_bytes"] < 0.8 * 44 * GIB < 44 * GIB < terms["size_bytes"]
    fixed = plan("2 x L40S", wish, kv_cache_type="f16", settings={"sched_spread": False})
    assert fixed["models"][0]["runs_on"] == "partly"
    assert "OLLAMA_SCHED_SPREAD" not in plan("2 x L40S", entry("qwen3-32b", context=8192))["environment"]


def test_models_together_and_in_turns():
    together = plan("L4", entry("llama3.1-8b", context=8192), entry("bert", "F16"))
    assert together["environment"]["OLLAMA_MAX_LOADED_MODELS"] == "2"
    assert together["environment"]["OLLAMA_KEEP_ALIVE"] == "-1s"
    assert together["numbers"]["models"]["bert"]["parallel"] == 1
    turns = plan("L4", entry("qwen3-32b", context=4096), entry("gemma3-27b", context=4096))
    assert turns["environment"]["OLLAMA_MAX_LOADED_MODELS"] == "1"
    assert turns["environment"]["OLLAMA_KEEP_ALIVE"] == "5m"
    assert any("do not stay loaded together" in text for text in turns["warnings"])


def test_without_a_gpu():
    found = plan(host(None, memory_gib=64, cores=32), "llama3.1-8b")
    assert found["variant"] == "cpu" and found["devices"] == []
    assert found["environment"]["OLLAMA_CONTEXT_LENGTH"] == "4096"
    assert found["environment"]["OLLAMA_NUM_PARALLEL"] == "8"
    assert found["environment"]["OLLAMA_MAX_LOADED_MODELS"] == "1"
    assert found["models"][0]["runs_on"] == "cpu" and found["refusal"] is None


def test_gpus_none_hides_them():
    found = plan("L4", "llama3.2-3b", gpus="none")
    assert found["variant"] == "cpu"
    assert found["environment"]["CUDA_VISIBLE_DEVICES"] == "-1"


def test_named_gpus():
    hardware = host("2 x L4")
    uuid = hardware["accelerators"][1]["uuid"]
    found = plan(hardware, "llama3.2-3b", gpus=[1])
    assert found["devices"] == [uuid] and found["environment"]["CUDA_VISIBLE_DEVICES"] == uuid


def test_projector_makes_room():
    found = plan("L4", entry("gemma3:27b", context=8192))
    terms = found["numbers"]["models"]["gemma3:27b"]
    assert terms["projector_bytes"] > 800 * MIB and terms["projector_on_gpu"]
    assert terms["margin_bytes"] == (1024 + -(-terms["projector_bytes"] // MIB)) * MIB
    small = plan(gpu_gib(1.5), entry("gemma3:27b", context=8192))
    assert any("projector runs on the CPU" in text for text in small["warnings"])


def test_single_request_architectures():
    found = plan("L40S", entry("qwen3.6-35b-a3b", context=8192, parallel="4"))
    assert found["numbers"]["models"]["qwen3.6-35b-a3b"]["parallel"] == 1
    assert found["numbers"]["models"]["qwen3.6-35b-a3b"]["recurrent_state_bytes"] == 548864 * 4 * 30
    assert any("one request at a time" in text for text in found["warnings"])


def test_model_parameters_and_keep_alive():
    found = plan("L4", entry("llama3.2-3b", keep_alive="90m", parameters={"temperature": "0.2", "num_ctx": 2048}))
    assert found["models"][0]["keep_alive"] == "1h30m"
    assert found["models"][0]["parameters"] == {"num_ctx": 2048, "temperature": 0.2}


def test_large_files_get_time():
    found = plan("8 x H100", entry("deepseek-v3"))
    size = hosts.model("deepseek-v3")["weight_bytes"]["total"]
    assert found["settings"]["OLLAMA_LOAD_TIMEOUT"] == -(-size // (60 * 10**8)) * 60
    assert re.match(r"^1h(\d+m)?$", found["environment"]["OLLAMA_LOAD_TIMEOUT"])


def test_free_memory_is_what_counts_but_not_what_identifies():
    idle, busy = host("L4"), host("L4")
    busy["accelerators"][0]["memory_free_bytes"] -= 12 * GIB
    busy["accelerators"][0]["processes"] = [{"pid": 1, "name": "x", "memory_bytes": 12 * GIB, "unit": "x.service"}]
    one, two = plan(idle, "llama3.1-8b"), plan(busy, "llama3.1-8b")
    assert one["fingerprint"] == two["fingerprint"]
    assert int(two["environment"]["OLLAMA_NUM_PARALLEL"]) < int(one["environment"]["OLLAMA_NUM_PARALLEL"])
    assert any("Other processes hold 12.0 GiB on GPU 0" in text for text in two["warnings"])
    own = plan(busy, "llama3.1-8b", own_units=["x.service"])
    assert own["environment"] == one["environment"]
    claimed = plan(idle, "llama3.1-8b", reserved=[{"device": "0", "bytes": 12 * GIB}])
    assert claimed["environment"]["OLLAMA_NUM_PARALLEL"] == two["environment"]["OLLAMA_NUM_PARALLEL"]


# old names ------------------------------------------------------------------------------------------------------------


def test_gpu_overhead():
    found = plan("L4", "llama3.1-8b", settings={"OLLAMA_GPU_OVERHEAD": str(2 * GIB)})
    assert found["environment"]["LLAMA_ARG_FIT_TARGET"] == "3072"
    assert "OLLAMA_GPU_OVERHEAD" not in found["environment"]
    assert any("reserves nothing for GGUF models since Ollama 0.30" in text for text in found["warnings"])
    terms = found["numbers"]["models"]["llama3.1-8b"]
    assert terms["margin_bytes"] == 3 * GIB


def test_max_vram():
    found = plan("L4", entry("llama3.1-8b", context=4096), settings={"OLLAMA_MAX_VRAM": "8G"})
    used = found["numbers"]["models"]["llama3.1-8b"]["gpu_bytes"][0]
    assert used <= 8 * GIB
    assert any("OLLAMA_MAX_VRAM has had no effect since Ollama 0.1.45" in text for text in found["warnings"])
    more = plan("L4", entry("llama3.1-8b", context=4096), settings={"OLLAMA_MAX_VRAM": "100G"})
    assert "LLAMA_ARG_FIT_TARGET" not in more["environment"]
    assert any("more than the GPUs have" in text for text in more["warnings"])


@pytest.mark.parametrize("name", ["OLLAMA_GPU_LAYERS", "OLLAMA_NUM_GPU"])
def test_gpu_layers(name):
    found = plan("L4", entry("llama3.1-8b", context=4096), settings={name: 10})
    assert found["environment"]["LLAMA_ARG_N_GPU_LAYERS"] == "10" and name not in found["environment"]
    assert found["numbers"]["models"]["llama3.1-8b"]["layers_on_gpu"]["low"] == 10
    assert any(name in text and "LLAMA_ARG_N_GPU_LAYERS is set instead" in text for text in found["warnings"])


def test_a_projector_is_part_of_a_target_that_is_set():
    found = plan("L40S", entry("gemma3:27b", context=8192), settings={"OLLAMA_GPU_OVERHEAD": "1G"})
    projector = -(-found["numbers"]["models"]["gemma3:27b"]["projector_bytes"] // MIB)
    assert found["environment"]["LLAMA_ARG_FIT_TARGET"] == str(2048 + projector)


def test_gone_names_are_left_out():
    found = plan("L4", "llama3.2-3b", settings={"OLLAMA_TMPDIR": "/tmp", "OLLAMA_NEW_ENGINE": "1"})
    assert not {"OLLAMA_TMPDIR", "OLLAMA_NEW_ENGINE"} & set(found["environment"])
    assert sum("left out" in text for text in found["warnings"]) == 2


# refusals -------------------------------------------------------------------------------------------------------------


def broken(**changes):
    facts = host("L4")
    facts["accelerators"][0].update(changes)
    return facts


def mixed_format():
    return dict(entry("llama3.2-3b"), model=dict(hosts.model("llama3.2-3b"), format="safetensors"))


REFUSED = {
    "no_driver": lambda: plan(host("L4", driver_version=None), "llama3.2-3b"),
    "driver_too_old": lambda: plan(host("L4", driver_version="535.183.01"), "llama3.2-3b"),
    "device_problem": lambda: plan(broken(usable=False, problem="It hangs."), "llama3.2-3b"),
    "unsupported_vendor": lambda: plan(broken(vendor="intel"), "llama3.2-3b"),
    "capability_too_old": lambda: plan(broken(compute_capability="3.7"), "llama3.2-3b"),
    "mig_card": lambda: plan(broken(mig={"enabled": True, "slices": []}), "llama3.2-3b", gpus=[0]),
    "gpus_not_found": lambda: plan("L4", "llama3.2-3b", gpus=[3]),
    "model_unsupported": lambda: plan("L4", mixed_format()),
    "context_too_long": lambda: plan("L4", entry("qwen2.5-7b", context=65536)),
    "too_many_layers": lambda: plan(gpu_gib(8), entry("llama3-70b", parameters={"num_gpu": 81})),
    "partly_on_cpu": lambda: plan("L4", entry("llama3-70b", context=8192), require_gpu=True),
    "too_little_memory": lambda: plan(host(None, memory_gib=16), "llama3-70b"),
}


def test_every_code_has_a_case():
    assert set(REFUSED) == set(CODES)


@pytest.mark.parametrize("code", sorted(REFUSED))
def test_refusal(code):
    refusal = REFUSED[code]()["refusal"]
    assert refusal["code"] == code
    assert refusal["message"].endswith(".") and refusal["remedies"]
    if code in ("too_many_layers", "partly_on_cpu", "too_little_memory"):
        assert refusal["short_bytes"] > 0


def test_pascal_needs_a_newer_driver():
    facts = broken(compute_capability="6.1")
    facts["driver_version"] = "550.1"
    assert plan(facts, "llama3.2-3b")["refusal"]["code"] == "driver_too_old"
    facts["driver_version"] = "570.1"
    assert plan(facts, "llama3.2-3b")["refusal"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": {"OLLAMA_NUM_PARALEL": 2}}, "Did you mean OLLAMA_NUM_PARALLEL?"),
        ({"settings": {"OLLAMA_PORT": 1}}, "OLLAMA_HOST takes address and port"),
        ({"settings": {"OLLAMA_KEEP_ALIVE": "1d"}}, "settings.OLLAMA_KEEP_ALIVE=1d: give a duration"),
        ({"settings": {"num_gpu": 1, "gpu_layers": 2}}, "twice"),
        ({"context": 4096, "settings": {"OLLAMA_CONTEXT_LENGTH": 8192}}, "disagree"),
        ({"kv_cache_type": "fp8"}, "kv_cache_type=fp8: give one of"),
        ({"kv_cache_type": "q8_0", "settings": {"flash_attention": False}}, "only with flash attention"),
        ({"engine_version": "0.24.0"}, "give 0.30.0 or newer"),
        ({"gpus": "two"}, "gpus=two: give auto, none"),
        ({"gpus": []}, "gpus=[] names no GPU"),
        ({"models": []}, "models is empty"),
        ({"models": [{"model": {}}]}, "without name"),
        ({"models": [{"name": "x", "model": {}}]}, "models[x].model has schema None"),
        ({"models": [entry("bert"), entry("bert")]}, "names bert twice"),
        ({"models": [entry("bert", parameters={"num_ctz": 1})]}, "Did you mean num_ctx?"),
        ({"models": [entry("bert", context=512, parameters={"num_ctx": 4})]}, "disagree: set one"),
        ({"reserved": [{"device": "0"}]}, "either bytes or fraction"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(GpufleetError) as caught:
        hosts.ollama.make_plan(host("L4"), dict({"models": [entry("llama3.2-3b")]}, **options))
    assert words in str(caught.value)


def test_a_newer_version_is_planned_with_a_word():
    assert any("newer than the 0.33" in text for text in plan("L4", "bert", engine_version="v0.34.2")["warnings"])


# what must hold -------------------------------------------------------------------------------------------------------

MODELS = ("llama3.1-8b", "qwen3-32b", "gemma3-27b", "gpt-oss-20b", "deepseek-v2-lite", "qwen3-30b-a3b", "llama3-70b")


@pytest.mark.parametrize("name", MODELS)
def test_more_memory_never_fewer_layers(name):
    """At a fixed context, requests and cache."""
    dice, last = random.Random(name), (-1, -1)
    for size in sorted(dice.uniform(2, 80) for _try in range(10)):
        found = plan(gpu_gib(size), entry(name, context=8192, parallel="2"), kv_cache_type="f16")
        terms = found["numbers"]["models"][name]
        score = (terms["layers_on_gpu"]["low"], -terms["expert_layers_on_cpu"])
        assert score >= last, size
        last = score
    assert last[0] == terms["layers_total"]


@pytest.mark.parametrize("name", sorted(hosts.SHAPES))
def test_more_context_never_less_memory(name):
    model = read_model(name, hosts.model(name))
    dice = random.Random(name)
    for _try in range(20):
        small, large = sorted(dice.sample(range(256, 200000), 2))
        parallel, flash = dice.randint(1, 8), dice.random() < 0.7
        kinds = ("f16", "q8_0", "q4_0") if flash else ("f16",)
        sizes = []
        for context in (small, large):
            load = memory.Load(context, parallel, 1024, flash, dice.choice(kinds[:1]))
            sizes.append((sum(memory.cache_bytes(model, load)), memory.compute_bytes(model, load).expected))
        assert sizes[0][0] <= sizes[1][0] and sizes[0][1] <= sizes[1][1]
        types = [sum(memory.cache_bytes(model, memory.Load(small, parallel, 512, flash, kind))) for kind in kinds]
        assert types == sorted(types, reverse=True)


def test_ranges_and_sums():
    dice = random.Random(3)
    for _try in range(25):
        name = dice.choice(MODELS)
        count = dice.choice((1, 1, 2, 4))
        found = plan(
            "%d x %s" % (count, dice.choice(("L4", "RTX 3070", "A100 80GB"))),
            entry(name, context=dice.choice((None, 4096, 32768))),
            parallel=dice.choice(("auto", "1", "3")),
        )
        terms = found["numbers"]["models"][name]
        layers = terms["layers_on_gpu"]
        assert 0 <= layers["low"] <= layers["expected"] <= layers["high"] <= terms["layers_total"]
        assert sum(terms["layers_per_gpu"]) == layers["expected"]
        assert terms["size_vram_bytes"] <= terms["size_bytes"]
        for used, card in zip(terms["gpu_bytes"], found["numbers"]["gpus"]):
            assert used + terms["margin_bytes"] <= card["free_bytes"] or layers["expected"] == 0
        assert (found["models"][0]["runs_on"] == "gpu") == (
            layers["low"] == terms["layers_total"] and not terms["expert_layers_on_cpu"]
        )


def test_plan_twice_same_bytes():
    for spec in ("L4", "2 x RTX 4090", None):
        hardware = host(spec)
        models = [entry("llama3.1-8b"), entry("bert", "F16")]
        first, second = (json.dumps(plan(json.loads(json.dumps(hardware)), *models)) for _try in range(2))
        assert first == second


def test_the_plan_of_a_plan_is_the_plan():
    """What was chosen, fixed: the same is chosen again."""
    for name in ("llama3.1-8b", "qwen3-32b", "gpt-oss-20b"):
        first = plan("2 x L4", name)
        chosen = first["models"][0]["parameters"]["num_ctx"]
        again = plan("2 x L4", entry(name, context=chosen), settings=dict(first["environment"]))
        assert again["environment"] == first["environment"]
        assert again["models"] == first["models"]


# the parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "predicted", "available", "flash", "batch"),
    [
        (4096, 5, 20, True, 512),
        (8192, 5, 20, True, 1024),
        (65536, 5, 20, True, 2048),
        (65536, 13, 20, True, 1024),  # over 60 percent
        (8192, 15.5, 20, True, 512),  # over 75 percent
        (8192, 5, 20, False, 512),
        (8192, 5, 7, False, 256),
        (4096, 5, 7, False, 512),
    ],
)
def test_batch(context, predicted, available, flash, batch):
    card = ollama_schedule.Card("0", "GPU 0", "x", "CUDA", 0, int(available * GIB) + 450 * MIB, False, flash, 0, 0)
    found = ollama_schedule.batch(context, int(predicted * GIB), int(available * GIB), flash, [card])
    assert found == batch


def test_choose():
    def card(library="CUDA", integrated=False):
        return ollama_schedule.Card("0", "GPU", "x", library, 0, 0, integrated, True, 0, 0)

    cards = [card(), card(), card(integrated=True)]
    free = [20 * GIB, 22 * GIB, 60 * GIB]
    assert ollama_schedule.choose(free, cards, 10 * GIB, False) == [1]
    assert ollama_schedule.choose(free, cards, 10 * GIB, True) == [0, 1, 2]
    assert ollama_schedule.choose(free, cards, 40 * GIB, False) == [2]
    assert ollama_schedule.choose(free, cards, 70 * GIB, False) == [0, 1, 2]
    assert ollama_schedule.choose([1, 2], [card(), card("ROCm")], 5, False) == [1]


@pytest.mark.parametrize(("gib", "tokens"), [(8, 4096), (23, 32768), (46, 32768), (48, 262144)])
def test_default_context(gib, tokens):
    assert ollama_schedule.default_context(gib * GIB) == tokens


def test_layers_fill_from_the_back():
    model = read_model("x", hosts.model("llama3.1-8b"))
    load = memory.Load(4096, 1, 512, True, "f16")
    compute = memory.compute_bytes(model, load).expected
    found = ollama_fit.place(model, load, [3 * GIB, 3 * GIB], GIB, compute)
    assert 0 < found.on_gpu < 33 and not found.full
    assert all(used <= 2 * GIB for used in found.used)
    whole = ollama_fit.place(model, load, [12 * GIB, 6 * GIB], GIB, compute)
    assert whole.full and whole.layers[0] > whole.layers[1]
    assert ollama_fit.place(model, load, [], GIB, compute).on_gpu == 0


def test_early_versions_reserve_all_logits():
    new = plan("L4", entry("llama3.1-8b", context=8192), engine_version="0.30.9")
    old = plan("L4", entry("llama3.1-8b", context=8192), engine_version="0.30.1")
    sizes = [found["numbers"]["models"]["llama3.1-8b"]["compute_bytes"]["expected"] for found in (old, new)]
    assert sizes[0] > sizes[1] + 250 * MIB


def test_shared_memory_counts_once():
    """A DGX Spark: what the GPU takes, the host lacks."""
    found = plan(host("DGX Spark GB10", memory_gib=120), entry("llama3-70b", context=8192))
    assert found["models"][0]["runs_on"] == "gpu" and found["refusal"] is None
    assert found["numbers"]["host_bytes"] > found["numbers"]["models"]["llama3-70b"]["size_vram_bytes"]
    small = plan(host("DGX Spark GB10", memory_gib=32), entry("llama3-70b", context=8192))
    assert small["refusal"]["code"] == "too_little_memory"


def test_amd():
    found = plan("MI300X", entry("llama3-70b", context=8192), gpus=[0])
    assert found["variant"] == "rocm" and found["models"][0]["runs_on"] == "gpu"
    assert found["environment"]["ROCR_VISIBLE_DEVICES"] == found["devices"][0]


def test_an_old_latent_attention_file():
    facts = dict(hosts.model("deepseek-v2-lite"))
    facts["mla"] = dict(facts["mla"], compressed_cache=False)
    old = plan("L40S", dict(entry("deepseek-v2-lite", context=4096, parallel="1"), model=facts))
    new = plan("L40S", entry("deepseek-v2-lite", context=4096, parallel="1"))
    sizes = [found["numbers"]["models"]["deepseek-v2-lite"]["kv_bytes_per_token"] for found in (old, new)]
    assert sizes == [27 * 16 * (192 + 128) * 2, 27 * 576 * 2]


@pytest.mark.parametrize("spec", [None, "L4", "2 x L4", "8 x A100 80GB"])
@pytest.mark.parametrize(
    "name", ["llama3.2-3b", "llama3-70b", "gpt-oss-120b", "gemma3:27b", "qwen3.6-35b-a3b", "deepseek-v3"]
)
def test_places_add_up(spec, name):
    terms = hosts.plan(hosts.host(spec, memory_gib=1024), name)["numbers"]["models"][name]
    parts = {key: [place[key] for place in terms["places"]] for key in terms["places"][0]}
    assert parts["device"][-1] == "host"
    assert all(size >= 0 for key, sizes in parts.items() if key != "device" for size in sizes)
    own = [sum(sizes) for sizes in zip(parts["weights_bytes"], parts["cache_bytes"], parts["buffer_bytes"])]
    assert own == [size for size in terms["gpu_bytes"] if size] + [terms["host_bytes"]]
    assert sum(parts["cache_bytes"]) == terms["kv_cache_bytes"] + terms["recurrent_state_bytes"]
    assert sum(parts["projector_bytes"]) == terms["projector_bytes"]
    # Tied embeddings that are on a GPU are there beside the ones in the host's memory.
    assert sum(parts["weights_bytes"]) in (terms["weights_bytes"], terms["weights_bytes"] + terms["embedding_bytes"])
