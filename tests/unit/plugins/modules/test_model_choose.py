# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module model_choose: its options, alone and under Ansible's own wrapper, and what it says it returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.llm.plugins.module_utils.models.catalogue.entry import PURPOSES
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import ranking
from ansible_collections.gpufleet.llm.plugins.modules import model_choose
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

MODULE = Path(model_choose.__file__).resolve()
NAMED = {"candidates": ["Qwen/Qwen3-8B", "Qwen/Qwen3-32B", "Qwen/Qwen3-235B-A22B"]}


def run(arguments):
    done = subprocess.run(
        [sys.executable, str(MODULE)], input=json.dumps(arguments), capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("wrapped", [False, True])
def test_alone(wrapped):
    arguments = dict(NAMED, hardware=hosts.host(hosts.gpus(2, "NVIDIA L40S")), context="16K")
    answer = run({"ANSIBLE_MODULE_ARGS": arguments} if wrapped else arguments)
    assert answer["changed"] is False
    assert answer["choice"]["model"] == "Qwen/Qwen3-32B"
    assert answer["choice"]["runner_up"]["model"] == "Qwen/Qwen3-8B"
    assert answer["choice"]["plan"]["settings"]["max_model_len"] == 16384


def test_what_if_and_ones_own():
    own = {"id": "/srv/models/ours", "model": hosts.model("Llama-3.1-8B"), "quality": 50}
    answer = run({"what_if": "L4", "candidates": [own, "Qwen/Qwen3-8B"], "gated": False})
    assert answer["choice"]["repository"] == "/srv/models/ours" and answer["choice"]["licence"] is None


def test_a_refusal_is_an_answer():
    answer = run(dict(NAMED, what_if="T4", quantizations=["bf16"]))
    assert not answer.get("failed")
    assert answer["choice"]["refusal"]["code"] == "nothing_fits"
    assert answer["choice"]["refusal"]["remedies"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(NAMED), "one of the following is required: hardware, what_if"),
        (dict(NAMED, what_if="L4", hardware={}), "mutually exclusive"),
        ({"what_if": "L4", "candidates": ["nobody/knows-it"]}, "the catalogue does not have"),
        (dict(NAMED, what_if="Voodoo 2"), "is not in the table"),
        (dict(NAMED, what_if="L4", purpose=["poetry"]), "poetry"),
    ],
)
def test_a_wrong_option_is_a_failure_that_names_it(arguments, message):
    answer = run(arguments)
    assert answer["failed"] and message in answer["msg"]


def test_documentation_and_specification_agree():
    documented = yaml.safe_load(model_choose.DOCUMENTATION)["options"]
    assert set(documented) == set(model_choose.ARGUMENT_SPEC)
    for name, spec in model_choose.ARGUMENT_SPEC.items():
        for key in ("type", "default", "required", "choices", "elements"):
            assert documented[name].get(key) == spec.get(key), (name, key)
    assert tuple(model_choose.ARGUMENT_SPEC["purpose"]["choices"]) == PURPOSES
    assert model_choose.ARGUMENT_SPEC["quantizations"]["choices"] == list(ranking.COST)
    assert model_choose.ARGUMENT_SPEC["kv_cache_dtypes"]["choices"] == list(ranking.KV_COST)


def test_everything_returned_is_documented():
    documented = yaml.safe_load(model_choose.RETURN)["choice"]["contains"]
    for arguments in ({"what_if": "L40S"}, {"what_if": "T4", "quantizations": ["bf16"]}, {"include": ["x"]}):
        choice = run(dict(NAMED, **dict({"what_if": "L4"}, **arguments)))["choice"]
        assert list(choice) == list(documented)
        runner_up = choice["runner_up"] or {}
        assert set(runner_up) <= set(documented) | set(documented["runner_up"]["contains"])
        assert set(choice["refusal"] or {}) <= set(documented["refusal"]["contains"])
