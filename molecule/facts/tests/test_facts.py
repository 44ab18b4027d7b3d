# SPDX-License-Identifier: GPL-3.0-or-later
"""What the facts modules said, against the host itself."""

from __future__ import annotations

import json

import pytest
import testinfra

HOSTS = ["llm-debian12", "llm-debian13"]


@pytest.fixture(scope="module", params=HOSTS)
def host(request):
    return testinfra.get_host("podman://" + request.param)


@pytest.fixture(scope="module")
def said(host):
    return json.loads(host.file("/opt/said.json").content_string).__getitem__


def test_cpu(host, said):
    cpu = said("cpu")
    assert cpu["threads"] == int(host.check_output("nproc"))
    assert cpu["architecture"] == host.check_output("uname -m")
    assert 1 <= cpu["cores"] <= cpu["threads"]
    flags = host.check_output("grep -m1 -E '^(flags|Features)' /proc/cpuinfo").split(":")[1].split()
    assert ("avx512f" in cpu["features"]) == ("avx512f" in flags)


def test_memory(host, said):
    total = int(host.check_output("awk '/^MemTotal:/ {print $2}' /proc/meminfo")) * 1024
    assert said("memory") == total


def test_no_card_is_a_normal_answer(said):
    assert said("accelerators") == []
    assert said("sources")["nvml"] != "ok"


def test_cards_through_the_tools_environment(said):
    cards = said("cards")
    assert [card["name"] for card in cards] == ["NVIDIA L40S", "NVIDIA L40S"]
    assert all(card["usable"] and card["compute_capability"] == "8.9" for card in cards)
    assert said("facts") == ["NVIDIA L40S", "NVIDIA L40S"]


def test_plan_uses_both_cards(said):
    plan = said("plan")
    assert plan["refusal"] is None
    assert plan["settings"]["tensor_parallel_size"] == 2  # 61 GiB of weights on cards of 45 GiB
    assert plan["numbers"]["weights_bytes_per_gpu"] == 32764536832
