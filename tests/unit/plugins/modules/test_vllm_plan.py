# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module vllm_plan: its options, alone and under Ansible's own wrapper, and its filters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.llm.plugins.filter import plan_table, vllm_arguments
from ansible_collections.gpufleet.llm.plugins.modules import vllm_plan
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

MODULE = Path(vllm_plan.__file__).resolve()
ARGUMENTS = {
    "hardware": hosts.host(hosts.gpus(1, "NVIDIA L40S")),
    "model": hosts.model("Llama-3.1-8B"),
    "context": "32K",
    "concurrency": 16,
}


def run(arguments):
    done = subprocess.run(
        [sys.executable, str(MODULE)], input=json.dumps(arguments), capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("wrapped", [False, True])
def test_alone(wrapped):
    answer = run({"ANSIBLE_MODULE_ARGS": ARGUMENTS} if wrapped else ARGUMENTS)
    assert answer["changed"] is False
    assert answer["plan"]["refusal"] is None
    assert answer["plan"]["settings"]["max_model_len"] == 32768
    assert answer["plan"]["settings"]["max_num_seqs"] == 16


def test_a_refusal_is_an_answer():
    answer = run(dict(ARGUMENTS, context="256K"))
    assert not answer.get("failed")
    assert answer["plan"]["refusal"]["code"] == "context_too_long"


def test_a_wrong_option_is_a_failure_that_names_it():
    answer = run(dict(ARGUMENTS, settings={"swap_space": 4}))
    assert answer["failed"]
    assert "swap_space" in answer["msg"] and "kv_offloading_size" in answer["msg"]


def test_documentation_and_specification_agree():
    documented = yaml.safe_load(vllm_plan.DOCUMENTATION)["options"]
    assert set(documented) == set(vllm_plan.ARGUMENT_SPEC)
    for name, spec in vllm_plan.ARGUMENT_SPEC.items():
        for key in ("type", "default", "required", "choices", "elements"):
            assert documented[name].get(key) == spec.get(key), (name, key)


def test_every_number_is_documented():
    documented = yaml.safe_load(vllm_plan.RETURN)["plan"]["contains"]["numbers"]["contains"]
    found = set()
    for machine in (ARGUMENTS["hardware"], hosts.host()):
        found |= set(run(dict(ARGUMENTS, hardware=machine))["plan"]["numbers"])
    assert found == set(documented)


def test_filters():
    plan = run(ARGUMENTS)["plan"]
    words = vllm_arguments.FilterModule().filters()["vllm_arguments"](plan["settings"], plan["engine_version"])
    assert words[words.index("--max-num-seqs") + 1] == "16"
    text = plan_table.FilterModule().filters()["plan_table"](plan, ARGUMENTS["hardware"], ARGUMENTS["model"])
    assert "FITS" in text


def test_filters_raise_what_ansible_shows():
    with pytest.raises(AnsibleFilterError, match="swap_space was removed"):
        vllm_arguments.vllm_arguments({"swap_space": 4})
    with pytest.raises(AnsibleFilterError, match="gpufleet.plan/1"):
        plan_table.plan_table({})
