# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module placement_plan: its options, alone and under Ansible's own wrapper, and its filters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.llm.plugins.filter import placement_inventory, placement_table
from ansible_collections.gpufleet.llm.plugins.modules import placement_plan
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import fleets

MODULE = Path(placement_plan.__file__).resolve()
ROLE = MODULE.parents[2] / "roles" / "vllm" / "meta" / "argument_specs.yml"
ARGUMENTS = {
    "hosts": {name: fleets.host(name, kind) for name, kind in (("a", "l40sx4"), ("b", "4090x2"))},
    "models": [
        fleets.model("chat", context="32K", concurrency=4, replicas=2),
        fleets.model("wide", context="8K", replicas=9, spread="require", instance={"revision": "abc"}),
    ],
}


def run(arguments):
    done = subprocess.run(
        [sys.executable, str(MODULE)], input=json.dumps(arguments), capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def placed():
    return run({"ANSIBLE_MODULE_ARGS": ARGUMENTS})


def test_alone(placed):
    assert placed["changed"] is False and not placed.get("failed")
    assert [entry["model"] for entry in placed["placement"]["assignments"]] == ["chat", "chat", "wide", "wide"]
    (refusal,) = placed["placement"]["refusals"]
    assert refusal["missing"] == 7


def test_a_wrong_option_is_a_failure_that_names_it():
    models = [dict(ARGUMENTS["models"][0], settings={"swap_space": 4})]
    answer = run(dict(ARGUMENTS, models=models))
    assert answer["failed"]
    assert "models.chat: settings.swap_space" in answer["msg"]


def test_documentation_and_specification_agree():
    def compare(documented, spec):
        assert set(documented) == set(spec)
        for name, entry in spec.items():
            for key in ("type", "default", "required", "choices", "elements"):
                assert documented[name].get(key) == entry.get(key), (name, key)
            compare(documented[name].get("suboptions") or {}, entry.get("options") or {})

    compare(yaml.safe_load(placement_plan.DOCUMENTATION)["options"], placement_plan.ARGUMENT_SPEC)


def test_everything_that_comes_back_is_documented(placed):
    documented = yaml.safe_load(placement_plan.RETURN)["placement"]["contains"]
    assert set(documented) == set(placed["placement"])
    for name in ("assignments", "refusals"):
        assert set(documented[name]["contains"]) == set(placed["placement"][name][0])
    assert set(documented["balance"]["contains"]) == set(placed["placement"]["balance"])
    addition = placed["placement"]["refusals"][0]["addition"]
    assert set(documented["refusals"]["contains"]["addition"]["contains"]) == set(addition)
    moved = run(dict(ARGUMENTS, models=ARGUMENTS["models"][:1], previous=placed["placement"]["record"]))
    assert set(documented["moves"]["contains"]) == set(moved["placement"]["moves"][0])


def test_instances_have_keys_that_the_role_knows(placed):
    known = yaml.safe_load(ROLE.read_text())["argument_specs"]["main"]["options"]["vllm_instances"]["options"]
    for entries in placed["placement"]["vllm_instances"].values():
        for entry in entries:
            assert set(entry) <= set(known)
            assert isinstance(entry["port"], int) and isinstance(entry["context"], str)


def test_filters(placed):
    text = placement_table.FilterModule().filters()["placement_table"](placed["placement"])
    assert "NO PLACE for 7 of 9 x wide" in text
    source = placement_inventory.FilterModule().filters()["placement_inventory"](placed["placement"])
    assert set(source["all"]["hosts"]) == {"a", "b"}
    for module, name in ((placement_table, "placement_table"), (placement_inventory, "placement_inventory")):
        with pytest.raises(AnsibleFilterError, match=name):
            module.FilterModule().filters()[name]({"schema": "gpufleet.plan/1"})
