# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue: every entry against what is published of it, and candidates made from it."""

from __future__ import annotations

import re
import time
import typing as t

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models import candidates
from ansible_collections.gpufleet.llm.plugins.module_utils.models.catalogue import index
from ansible_collections.gpufleet.llm.plugins.module_utils.models.catalogue.entry import PURPOSES
from ansible_collections.gpufleet.llm.plugins.module_utils.models.catalogue.quantizations import QUANTIZATIONS
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import ranking

GIB = 1 << 30
# Sizes of the files on the hub (GiB), from https://github.com/kaito-project/kaito model_catalog.yaml.
FILES = {
    "Qwen/Qwen3-8B-AWQ": 5.68,
    "Qwen/Qwen3.6-35B-A3B": 66.97,
    "Qwen/Qwen3.6-35B-A3B-FP8": 34.90,
    "Qwen/Qwen3.6-27B": 51.75,
    "Qwen/Qwen3.5-9B": 17.98,
    "Qwen/Qwen3.5-2B": 4.24,
    "meta-llama/Llama-3.3-70B-Instruct": 131.42,
    "mistralai/Mistral-7B-Instruct-v0.3": 13.50,
    "mistralai/Ministral-3-3B-Instruct-2512": 4.35,
    "mistralai/Ministral-3-14B-Instruct-2512": 14.65,
    "google/gemma-3-27b-it": 51.10,
    "google/gemma-4-31B-it": 58.25,
    "google/gemma-4-26B-A4B-it": 48.07,
    "deepseek-ai/DeepSeek-R1-0528": 641.30,
    "deepseek-ai/DeepSeek-V3.2": 642.14,
    "MiniMaxAI/MiniMax-M2.7": 214.34,
    "zai-org/GLM-5.2-FP8": 703.75,
    "microsoft/phi-4": 27.31,
    "microsoft/Phi-4-mini-instruct": 7.15,
}


def stored(facts: t.Dict[str, t.Any], what: str) -> int:
    """Of all that the checkpoint holds, the layers for prediction included."""
    return sum(group[what] * max(1, len(group["layers"])) for group in facts["tensor_groups"])


@pytest.fixture(scope="module")
def every() -> t.List[t.Dict[str, t.Any]]:
    start = time.process_time()
    found = candidates.read([])
    assert time.process_time() - start < 3
    return found


def test_parameters_are_those_published() -> None:
    off = {}
    for entry in index.ENTRIES:
        facts = facts_from_config(entry.config)
        assert not facts["warnings"], (entry.id, facts["warnings"])
        error = stored(facts, "parameters") / entry.parameters - 1
        if abs(error) > 0.01:
            off[entry.id] = error
    assert not off


def test_files_are_as_large_as_on_the_hub(every: t.List[t.Dict[str, t.Any]]) -> None:
    forms = {form["id"]: form["model"] for candidate in every for form in reversed(candidate["forms"])}
    off = {name: stored(forms[name], "bytes") / GIB / size for name, size in FILES.items()}
    # The hub's GLM 5.2 keeps its prediction layers in 16 bit.
    assert {name: ratio for name, ratio in off.items() if abs(ratio - 1) > 0.015 and "GLM" not in name} == {}


def test_entries_say_what_they_must() -> None:
    seen: t.Set[str] = set()
    for entry in index.ENTRIES:
        names = [entry.id] + [sister.id for sister in entry.sisters]
        for name in names:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", name) and name not in seen
            seen.add(name)
        assert entry.purposes and set(entry.purposes) <= set(PURPOSES)
        assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", entry.released) and entry.base < entry.released
        assert entry.licence and entry.source
        assert entry.kind in QUANTIZATIONS and all(sister.kind in QUANTIZATIONS for sister in entry.sisters)
        assert ("quantization_config" in entry.config) == (entry.kind != "bf16")
    assert set(QUANTIZATIONS) == set(ranking.COST)
    assert len(index.ENTRIES) > 130


def test_fewer_bits_are_smaller(every: t.List[t.Dict[str, t.Any]]) -> None:
    for candidate in every:
        first = candidate["forms"][0]
        assert first["id"] == candidate["id"] and first["model"]["source"] == candidate["id"]
        for form in candidate["forms"][1:]:
            model = form["model"]
            assert not model["warnings"] or model["warnings"] == first["model"]["warnings"]
            if form["settings"]:
                assert form["settings"] == {"quantization": "fp8"} and form["kind"] == "fp8" and model is first["model"]
                continue
            limit = 0.72 if form["kind"] in ("fp8", "int8") else 0.6
            if model["parameters"] > 2e9:
                assert model["weight_bytes"]["total"] < limit * first["model"]["weight_bytes"]["total"], form["id"]


def test_families_that_are_asked_for(every: t.List[t.Dict[str, t.Any]]) -> None:
    tasks = {candidate["id"]: candidate["forms"][0]["model"]["task"] for candidate in every}
    for candidate in every:
        assert (tasks[candidate["id"]] == "embed") == ("embedding" in candidate["purposes"])
        modalities = candidate["forms"][0]["model"]["modalities"]
        assert "vision" in candidate["purposes"] or "image" not in modalities
    assert tasks["zai-org/chatglm3-6b"] == "generate"


def test_candidates_by_name() -> None:
    assert [one["id"] for one in candidates.read(["Qwen/Qwen3-8B", "qwen/qwen3-8b-AWQ"])] == ["Qwen/Qwen3-8B"]
    assert [one["id"] for one in candidates.read(["microsoft/phi-4*reason*"])] == [
        "microsoft/Phi-4-reasoning",
        "microsoft/Phi-4-reasoning-plus",
        "microsoft/Phi-4-mini-reasoning",
    ]


def test_candidates_of_ones_own() -> None:
    config = dict(index.find("Qwen/Qwen3-8B").config)
    own, known, embedding = candidates.read(
        [
            {"id": "ours/support-8b", "config": config, "quality": 20, "released": "2026-10", "licence": "ours"},
            {"id": "meta-llama/Llama-3.1-8B-Instruct", "quality": 1, "purposes": ["code"]},
            {"model": dict(facts_from_config(config), task="embed", source="/srv/models/vectors")},
        ]
    )
    assert own["forms"][0]["model"]["parameters"] == 8190735360 and own["forms"][0]["kind"] == "bf16"
    assert own["licence"] == "ours" and "chat" in own["purposes"] and "embedding" not in own["purposes"]
    assert known["quality"] == 1 and known["purposes"] == ["code"] and len(known["forms"]) == 5
    assert known["forms"][0]["gated"] and not known["forms"][1]["gated"]
    assert embedding["id"] == "/srv/models/vectors" and embedding["purposes"] == ["embedding"]
    quantized = dict(config, quantization_config={"quant_method": "awq", "bits": 4, "group_size": 128})
    assert candidates.read([{"id": "a", "config": quantized}])[0]["forms"][0]["kind"] == "awq"


@pytest.mark.parametrize(
    "wanted, message",
    [
        (["nobody/knows-it"], "candidates names 'nobody/knows-it', which the catalogue does not have"),
        ([{"id": "nobody/knows-it"}], "candidates has nobody/knows-it with neither model"),
        ([{"id": "Qwen/Qwen3-8B", "size": 8}], "the unknown key size"),
        ([{"id": "Qwen/Qwen3-8B", "purposes": ["poetry"]}], "the unknown purpose poetry"),
        ([{"id": "x", "config": {"model_type": "llama"}}], "has no hidden_size"),
    ],
)
def test_candidates_that_make_no_sense(wanted: t.List[t.Any], message: str) -> None:
    with pytest.raises(GpufleetError, match=re.escape(message)):
        candidates.read(wanted)
