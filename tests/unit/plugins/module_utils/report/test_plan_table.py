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
