# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module alone, its documentation against what it returns, and its page of documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.refusals import CODES
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.variables import GONE, MAPPED
from ansible_collections.gpufleet.llm.plugins.modules import ollama_plan
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts as hosts

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs/ollama-plan.md").read_text(encoding="utf-8")


def run_alone(arguments):
    result = subprocess.run(
        [sys.executable, str(ROOT / "plugins/modules/ollama_plan.py")],
        input=json.dumps(arguments),
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    return result.returncode, json.loads(result.stdout)


def test_alone():
    code, answer = run_alone({"what_if": "L4", "models": [hosts.entry("llama3.2-3b", context="8K")]})
    assert code == 0 and answer["changed"] is False
    assert answer["plan"]["models"][0]["parameters"] == {"num_ctx": 8192}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"models": []}, "one of the following is required: hardware, what_if"),
        ({"what_if": "L4", "hardware": {}, "models": []}, "mutually exclusive: hardware|what_if"),
        ({"what_if": "L4", "models": []}, "models is empty"),
        ({"hardware": {}, "models": [{"name": "x", "model": {}}]}, "hardware has schema None"),
    ],
)
def test_refusals(arguments, words):
    code, answer = run_alone(arguments)
    assert code == 1 and words in answer["msg"]


def test_everything_returned_is_documented():
    documented = yaml.safe_load(ollama_plan.RETURN)["plan"]["contains"]
    found = hosts.plan("L4", "llama3-70b", require_gpu=True)
    assert set(found) == set(documented)
    assert set(found["numbers"]) == set(documented["numbers"]["contains"])
    terms = documented["numbers"]["contains"]["models"]["contains"]
    assert set(found["numbers"]["models"]["llama3-70b"]) == set(terms)
    assert set(found["models"][0]) == set(documented["models"]["contains"])
    assert set(found["refusal"]) == set(documented["refusal"]["contains"])


def test_options_are_documented():
    documented = yaml.safe_load(ollama_plan.DOCUMENTATION)["options"]
    assert set(documented) == set(ollama_plan.ARGUMENT_SPEC)
    assert set(documented["models"]["suboptions"]) == set(ollama_plan.ARGUMENT_SPEC["models"]["options"])


@pytest.mark.parametrize("word", sorted(CODES) + sorted(GONE) + sorted(MAPPED))
def test_the_page_has_it(word):
    assert "`%s`" % word in PAGE


def test_the_page_has_the_meaning_of_every_code():
    assert all("| `%s` | %s |" % pair in PAGE for pair in CODES.items())
