# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The printed plan."""

from __future__ import annotations

import re

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import vllm
from ansible_collections.gpufleet.llm.plugins.module_utils.report import plan_table as table
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts, refusal_cases

L40S = hosts.host(hosts.gpus(4, "NVIDIA L40S"))
QWEN = hosts.model("Qwen2.5-32B")


def printed(host, model, **options):
    return table.plan_table(vllm.make_plan(host, model, options), host, model)


def test_a_plan():
    text = printed(L40S, QWEN, concurrency=12, context="32K")
    lines = text.splitlines()
    assert re.match(r"Qwen2ForCausalLM on vLLM 0\.33\.0 \(cuda\) +FITS$", lines[0])
    assert "32.8 B parameters, bfloat16 | 4 x NVIDIA L40S" in lines
    assert re.search(r"^  Context +32,768 tokens", text, re.M)
    assert re.search(r"^  Weights +15\.3   \|#+ +\|$", text, re.M)
    assert re.search(r"^  KV cache +[0-9.]+   \| +#+ *\| [0-9.]+ to [0-9.]+$", text, re.M)
    assert "--max-num-seqs 12" in text
    assert "WHY\n  - GPU 0, 1, 2 and 3" in text
    assert "REFUSED" not in text


@pytest.mark.parametrize("code", sorted(refusal_cases.CASES))
def test_a_refusal(code):
    _situation, host, model, _options, _words = refusal_cases.CASES[code]
    text = table.plan_table(refusal_cases.plan(code), host, model)
    assert text.splitlines()[0].endswith("DOES NOT FIT")
    assert "REFUSED: " + code in text
    assert "What would help, cheapest first:" in text
    assert "COMMAND" not in text


@pytest.mark.parametrize(
    ("host", "options"),
    [
        (L40S, {}),
        (hosts.host(hosts.gpus(8, "NVIDIA H100 80GB HBM3", linked=True)), {"prefer": "latency"}),
        (hosts.host(memory_gib=256), {}),
        (L40S, {"settings": {"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}}}),
    ],
)
def test_plain_text_of_a_hundred_columns(host, options):
    text = printed(host, QWEN, **options)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_cpu_host_gets_the_command_that_works_there():
    text = printed(hosts.host(), hosts.model("Llama-3.1-8B"))
    assert "python -m vllm.entrypoints.openai.api_server --model MODEL" in text
    assert "VLLM_CPU_KVCACHE_SPACE=4" in text
    assert "vllm serve" not in text


def test_facts_are_not_needed():
    assert "vLLM 0.33.0 (cuda)" in table.plan_table(vllm.make_plan(L40S, QWEN, {})).splitlines()[0]


def test_anything_else_is_refused():
    with pytest.raises(GpufleetError, match="gpufleet.plan/1"):
        table.plan_table({"plan": {}})


def test_warnings_come_last():
    plan = vllm.make_plan(L40S, QWEN, {})
    assert table.plan_table(dict(plan, warnings=["Mind this."])).endswith("\n\nWARNINGS\n  - Mind this.\n")


def test_a_plan_of_another_engine():
    with pytest.raises(GpufleetError, match="ollama_plan returned, not one of another"):
        table.plan_table({"schema": "gpufleet.plan/1", "engine": "another"})


@pytest.mark.parametrize("width", [80, 120])
def test_other_widths(width):
    plan = vllm.make_plan(L40S, QWEN, {"concurrency": 12})
    lines = table.plan_table(plan, L40S, QWEN, width).splitlines()
    assert max(map(len, lines)) == width == len(lines[1])


def test_a_value_that_would_steer_the_terminal_is_spelled_out():
    plan = vllm.make_plan(L40S, QWEN, {"settings": {"served_model_name": "a\x1b[31mb\n"}})
    text = table.plan_table(dict(plan, environment={"A": "b\x1b[0m"}))
    assert r"'a\x1b[31mb\n'" in text and "A=b?[0m" in text and "\x1b" not in text
