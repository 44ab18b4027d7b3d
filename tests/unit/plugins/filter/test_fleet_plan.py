# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet's plans where no hub answers: what the catalogue knows is planned with, and said."""

from __future__ import annotations

from ansible_collections.gpufleet.llm.plugins.filter.fleet_plan import fleet_plan
from ansible_collections.gpufleet.llm.plugins.filter.fleet_table import fleet_table
from ansible_collections.gpufleet.llm.plugins.filter.plan_page import plan_page

HOSTS = {"one": {"what_if": "1 x H100"}}
NOBODY = [[{"failed": True, "msg": "Cannot reach https://huggingface.co"}]]


def test_a_model_that_only_the_catalogue_knows():
    fleet = fleet_plan(HOSTS, ["Qwen/Qwen3-8B"], NOBODY)
    assert fleet["plans"][0]["plan"]["refusal"] is None
    assert "collection's catalogue" in " ".join(fleet_table(fleet).split())
    assert "s catalogue: neither a hub" in plan_page(fleet)


def test_a_quantized_sister_is_in_there_too():
    found = fleet_plan(HOSTS, [{"model": "Qwen/Qwen2.5-7B-Instruct-AWQ"}], NOBODY)["models"][0]["model"]
    assert found["quantization"]["method"] == "awq"


def test_what_nobody_knows_stays_a_problem():
    assert fleet_plan(HOSTS, ["acme/nothing"], NOBODY)["plans"][0]["problem"] == "Cannot reach https://huggingface.co"


def test_what_a_hub_said_counts():
    known = fleet_plan(HOSTS, ["Qwen/Qwen3-8B"], NOBODY)["models"][0]["model"]
    own = dict(known, vocab_size=1024, warnings=[])
    answered = fleet_plan(HOSTS, ["Qwen/Qwen3-8B"], [[{"model": own}]])["models"][0]["model"]
    assert answered["vocab_size"] == 1024
