# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module trtllm_plan: its options, alone and under Ansible's own wrapper, and its filters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.llm.plugins.filter import instance_image, trtllm_arguments
from ansible_collections.gpufleet.llm.plugins.modules import trtllm_plan
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

MODULE = Path(trtllm_plan.__file__).resolve()
ROLE = MODULE.parents[2] / "roles" / "tensorrt_llm"
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
    assert answer["changed"] is False and answer["plan"]["refusal"] is None
    assert answer["plan"]["settings"]["max_seq_len"] == 32768 and answer["plan"]["settings"]["max_batch_size"] == 16


def test_for_gpus_that_nobody_has_at_hand():
    arguments = {name: value for name, value in ARGUMENTS.items() if name != "hardware"}
    assert run(dict(arguments, what_if="2 x L40S"))["plan"]["refusal"] is None


def test_a_refusal_is_an_answer_and_a_wrong_option_a_failure_that_names_it():
    assert run(dict(ARGUMENTS, context="256K"))["plan"]["refusal"]["code"] == "context_too_long"
    answer = run(dict(ARGUMENTS, settings={"max_model_len": 4}))
    assert answer["failed"] and "set max_seq_len" in answer["msg"]


def test_documentation_and_specification_agree():
    documented = yaml.safe_load(trtllm_plan.DOCUMENTATION)["options"]
    assert set(documented) == set(trtllm_plan.ARGUMENT_SPEC)
    for name, option in trtllm_plan.ARGUMENT_SPEC.items():
        for key in ("type", "default", "choices"):
            assert documented[name].get(key) == option.get(key), (name, key)


def test_the_role_has_a_default_and_a_description_for_each_variable():
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert list(defaults) == list(options)
    for name, option in options.items():
        if "{{" not in str(defaults[name]):
            assert option.get("default") == defaults[name], name
    own = yaml.safe_load((ROLE / "vars/main.yml").read_text())["_tensorrt_llm_instance_defaults"]
    told = {name: option.get("default") for name, option in options["tensorrt_llm_instances"]["options"].items()}
    assert {name: value for name, value in told.items() if value is not None} == own
    assert set(told) - set(own) == {"name", "model"}


def test_arguments():
    assert trtllm_arguments.trtllm_arguments({"tp_size": 2}) == ["--tp_size", "2"]
    with pytest.raises(AnsibleFilterError, match="is no option of trtllm-serve"):
        trtllm_arguments.trtllm_arguments({"nonsense": 2})


NONE = {"name": "chat", "version": "1.2.1", "image": "", "image_digest": "", "image_archive": "", "image_archive_sha256": ""}
COMMON = {"name": "nvcr.io/x:{version}", "digest": "sha256:a", "archive": "", "sha256": ""}


@pytest.mark.parametrize(
    ("own", "common", "expected"),
    [
        ({}, {}, {"name": "nvcr.io/x:1.2.1", "digest": "sha256:a"}),
        ({"image": "other:1"}, {}, {"name": "other:1", "digest": ""}),
        ({"image": "other:1", "image_digest": "sha256:b"}, {}, {"name": "other:1", "digest": "sha256:b"}),
        ({}, {"archive": "/all.tar", "sha256": "1"}, {"archive": "/all.tar", "sha256": "1"}),
        ({"image_archive": "/own.tar"}, {"archive": "/all.tar", "sha256": "1"}, {"archive": "/own.tar", "sha256": ""}),
        ({"image_archive": "/own.tar", "image_archive_sha256": "2"}, {}, {"archive": "/own.tar", "sha256": "2"}),
        ({"image": "other:{tag}"}, {"archive": "/all.tar"}, {"name": "other:{tag}", "digest": ""}),
    ],
)
def test_instance_image(own, common, expected):
    empty = {"instance": "chat", "name": "", "digest": "", "archive": "", "sha256": ""}
    assert instance_image.instance_image(dict(NONE, **own), dict(COMMON, **common)) == dict(empty, **expected)
