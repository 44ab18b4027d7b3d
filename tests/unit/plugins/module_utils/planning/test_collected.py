# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet's measurements in one file: what is in it, what is not, and that it stays the same."""

from __future__ import annotations

import json
import random
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.llm.plugins.filter import measurements
from ansible_collections.gpufleet.llm.plugins.module_utils.engines import measured as engine_measured
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.vllm import make_plan
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning.measuring import (
    blocks_measured,
    kv_measured,
)

Dict = t.Dict[str, t.Any]
HOST = hosts.host(hosts.gpus(1, "NVIDIA L40S"))
MODEL = hosts.model("Llama-3.1-8B")
PLAN = make_plan(HOST, MODEL, {})
OTHER = make_plan(HOST, MODEL, {"concurrency": 16})
CPU_PLAN = make_plan(hosts.host(), hosts.model("Gemma-2-9B", num_hidden_layers=2), {})
BLOCKS = PLAN["numbers"]["num_gpu_blocks"]


def collect(found: Dict, known: str = "", **options: t.Any) -> t.Tuple[Dict, str, t.List[str]]:
    result = measurements.FilterModule().filters()["measurements"](found, known, **options)
    return json.loads(result["content"]), result["content"], result["notes"]


def blocks_in(content: Dict) -> t.List[int]:
    return [entry["num_gpu_blocks"] for entry in content["measured"]]


def test_least_middle_and_most_of_each_configuration() -> None:
    found = {"gpu-%02d" % number: [json.dumps(kv_measured(PLAN, 1 - number / 100))] for number in range(9)}
    found["gpu-20"] = {"/a": kv_measured(OTHER, 1.0), "/b": kv_measured(PLAN, 1.0)}  # type: ignore[assignment]
    found["gpu-30"] = []
    content, text, notes = collect(found)
    assert content["schema"] == "gpufleet.calibration/1" and len(content["measured"]) == 4
    mine = [entry for entry in content["measured"] if entry["configuration"]["max_num_seqs"] == 64]
    assert [entry["num_gpu_blocks"] for entry in mine] == [BLOCKS, int(BLOCKS * 0.96), int(BLOCKS * 0.92)]
    assert notes == ["11 measurements of 10 hosts: 4 entries for 2 configurations in the file."]
    assert text.endswith("}\n") and "gpu-" not in text.replace("gpu_", "")
    assert make_plan(HOST, MODEL, {"measured": text})["numbers"]["measured_correction_bytes"] > 0


def test_nothing_of_the_machine_is_in_it() -> None:
    cards = hosts.gpus(1, "NVIDIA L40S")
    hardware = dict(HOST, accelerators=cards)
    entry = dict(kv_measured(PLAN, 1.0), hardware=engine_measured._hardware_identity(hardware, PLAN))
    text = collect({"secret-host": [entry]})[1]
    for word in ("secret-host", cards[0]["uuid"], PLAN["fingerprint"], HOST["driver_version"], "EPYC"):
        assert word not in text


def test_the_order_does_not_matter_and_a_second_run_changes_nothing() -> None:
    chance = random.Random(11)
    for _turn in range(60):
        sizes = [chance.uniform(0.85, 1.05) for _each in range(chance.randint(1, 6))]
        entries = [kv_measured(chance.choice([PLAN, OTHER]), size) for size in sizes]
        before = [kv_measured(chance.choice([PLAN, OTHER]), chance.uniform(0.85, 1.05)) for _each in range(3)]
        known = collect({"old": before})[1]
        found = {"host-%d" % number: [entry] for number, entry in enumerate(entries)}
        text = collect(found, known)[1]
        chance.shuffle(entries)
        assert collect({"one": entries}, known)[1] == text
        assert collect(found, text)[1] == text
        assert collect({}, text)[1] == text


def test_what_was_known_is_kept() -> None:
    known = collect({"a": [kv_measured(PLAN, 0.9), kv_measured(OTHER, 1.0)]})[1]
    content = collect({"b": [kv_measured(PLAN, 1.0)]}, known)[0]
    assert blocks_in(content).count(int(BLOCKS * 0.9)) == 1 and len(content["measured"]) == 3


def test_hosts_only_when_asked() -> None:
    same = kv_measured(PLAN, 1.0)
    content, text, _notes = collect({"b": [same], "a": [dict(same, plan_fingerprint="x")]}, hosts=True)
    assert [entry["hosts"] for entry in content["measured"]] == [["a", "b"]]
    assert collect({"b": [same], "a": [same]}, text, hosts=True)[1] == text
    assert "hosts" not in collect({}, text)[1]


def test_earlier_starts_come_along() -> None:
    entry = engine_measured.with_earlier(kv_measured(OTHER, 1.0), kv_measured(PLAN, 1.0))
    assert len(collect({"a": [entry]})[0]["measured"]) == 2


def test_a_driver_that_states_a_little_more_memory_is_no_other_configuration() -> None:
    entry = kv_measured(PLAN, 1.0)
    other = json.loads(json.dumps(entry))
    other["configuration"]["memory_total_bytes"] += 6 * 2**20
    assert len(collect({"a": [entry], "b": [other]})[0]["measured"]) == 1


def test_cpu_engines() -> None:
    size = CPU_PLAN["numbers"]["kv_cache_bytes"]["expected"]
    entry = blocks_measured(CPU_PLAN, CPU_PLAN["numbers"]["num_gpu_blocks"], given=size)
    content, text, notes = collect({"a": [entry], "b": [entry]})
    assert len(content["measured"]) == 1 and content["measured"][0]["kv_cache_given_bytes"] == size
    assert notes == ["2 measurements of 2 hosts: 1 entry for 1 configuration in the file."]
    assert collect({"a": [entry]}, text)[1] == text


@pytest.mark.parametrize(
    "value, note",
    [
        ("{oops", "a: /x is not JSON"),
        ("[1]", "a: /x[0] is 'int', not of schema"),
        ({"schema": "gpufleet.measured/1"}, "a: /x was made without a plan, or by a release"),
        (dict(kv_measured(PLAN, 1.0), kv_cache_bytes=None), "a: /x is damaged (TypeError"),
        (dict(kv_measured(PLAN, 1.0), overhead_bytes=None), "a: /x does not say how its KV cache was sized"),
    ],
)
def test_what_is_left_out_is_said(value: t.Any, note: str) -> None:
    content, _text, notes = collect({"a": {"/x": value}, "b": [kv_measured(PLAN, 1.0)]})
    assert len(content["measured"]) == 1
    assert len(notes) == 2 and notes[1].startswith(note) and notes[1].endswith("and is left out.")


@pytest.mark.parametrize(
    "known, message",
    [
        ("all:\n  hosts:\n", "the file is not JSON"),
        ('{"all": {"hosts": {}}}', "the file is None, not of schema"),
        ("[]", None),
        ("", None),
        (json.dumps(kv_measured(PLAN, 1.0)), "the file is one measurement"),
        ('{"schema": "gpufleet.calibration/2", "measured": []}', "the file is 'gpufleet.calibration/2'"),
        (
            '{"schema": "gpufleet.calibration/1", "measured": [{"schema": "gpufleet.measured/1"}]}',
            "the file.measured[0] was",
        ),
    ],
)
def test_a_file_that_is_not_ours_is_refused(known: str, message: t.Optional[str]) -> None:
    if message is None:
        assert collect({}, known)[0]["measured"] == []
        return
    with pytest.raises(AnsibleFilterError, match="It is not a collection of measurements") as raised:
        collect({"a": [kv_measured(PLAN, 1.0)]}, known)
    assert str(raised.value).startswith(message)
