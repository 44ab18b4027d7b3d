# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans for a fleet, and the table of them."""

from __future__ import annotations

import re
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import fleet
from ansible_collections.gpufleet.llm.plugins.module_utils.report import fleet_table as report
from ansible_collections.gpufleet.llm.plugins.module_utils.report import rows, words
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.report import fleets

WIDTHS = (60, 80, 120, 200)


def squeezed(text):
    return "".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", [fleets.mixed, fleets.refusals, fleets.hostile])
def test_as_wide_as_it_may_be_and_nothing_cut(make, width):
    made = make()
    text = report.fleet_table(made, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    letters = squeezed(text)
    missing = {word for row in rows.rows(made) for word in row.reason.split() if word not in letters}
    assert not missing


def test_one_row_for_each_model_and_kind_of_host():
    text = report.fleet_table(fleets.mixed(), 200)
    starts = re.findall(r"^(\S.*?)  .*org/(\S+)  +(fits|tight|REFUSED)", text, re.M)
    kinds = ["2 hosts like gpu-01", "gpu-03", "gpu-05", "t4-01", "cpu-01"]
    assert [start[0].strip() for start in starts] == kinds * 2
    assert [start[1] for start in starts] == ["Qwen2.5-32B"] * 5 + ["Mixtral-8x7B"] * 5
    assert "ALIKE\n  gpu-01: gpu-02\n" in text
    assert "NOT ASKED\n  gpu-04: unreachable: Failed to connect to the host via ssh: No route to host\n" in text
    assert "1 host not asked" in text.splitlines()[0]


def test_figures():
    row = next(row for row in rows.rows(fleets.mixed()) if row.hosts[0] == "gpu-01" and row.model == "org/Qwen2.5-32B")
    numbers, settings = row.plan["numbers"], row.plan["settings"]
    line = next(line for line in report.fleet_table(fleets.mixed(), 200).splitlines() if line.startswith("2 hosts like gpu-01"))
    assert re.search(r"  2 x L40S +org/Qwen2\.5-32B +fits +2 x 1 ", line)
    assert " %s " % words.length(settings["max_model_len"]) in line
    assert " %.1f of %d " % (numbers["max_concurrency"], settings["max_num_seqs"]) in line
    low, high = (words.thousands(numbers["kv_cache_tokens"][end]) for end in ("low", "high"))
    assert " %s-%s " % (low, high) in line
    free = numbers["total_memory_bytes"] - numbers["claimed_bytes_per_gpu"]
    assert row.headroom == pytest.approx(free, abs=1 << 20)  # vLLM rounds its claim up
    assert " %s " % words.gib(row.headroom) in line


def test_a_refusal_says_what_is_missing_and_what_helps():
    row = next(row for row in rows.rows(fleets.mixed()) if row.hosts == ("t4-01",))
    assert row.verdict == words.REFUSED
    assert row.headroom == -row.refusal["short_bytes"]
    text = " ".join(report.fleet_table(fleets.mixed(), 120).split())
    assert "Try: %s" % row.refusal["remedies"][0] in text


def test_one_model_stands_in_the_title():
    made = fleet.plan_fleet({"a": {"hardware": hosts.host()}}, ["org/one"], fleets.found("Llama-3.1-8B"))
    text = report.fleet_table(made, 120)
    assert text.startswith("org/one (8.0 B parameters, bfloat16); 1 model on 1 host; vLLM 0.32.0 (cpu); 1 fit\n")
    assert "MODEL" not in text


def test_gpus_that_nobody_has():
    made = fleet.plan_fleet({"2 x L40S": {"what_if": "2 x L40S"}, "1 x T4": {"what_if": "1 x T4"}}, ["m"], fleets.found("Qwen2.5-32B"))
    text = report.fleet_table(made, 120)
    assert "1 model on 2 sets of GPUs" in text
    assert re.search(r"^2 x L40S +2 x L40S +fits", text, re.M)
    assert re.search(r"^1 x T4 +1 x T4 +REFUSED", text, re.M)


def test_hosts_are_alike_where_only_identity_and_megabytes_differ():
    cards = [dict(card, memory_reserved_bytes=600 * hosts.MIB) for card in hosts.gpus(2, "NVIDIA L40S")]
    other = [dict(card, uuid="GPU-x%d" % number, memory_free_bytes=card["memory_free_bytes"] - 3 * hosts.MIB)
             for number, card in enumerate(cards)]  # fmt: skip
    older = hosts.host(cards, driver_version="570.10")
    looked = {"a": hosts.host(cards), "b": {"hardware": hosts.host(other)}, "c": {"hardware": older}}
    listed = rows.rows(fleet.plan_fleet(looked, ["m"], fleets.found("Llama-3.1-8B")))
    assert [row.hosts for row in listed] == [("a", "b"), ("c",)]


@pytest.mark.parametrize(
    ("models", "found", "options", "words"),
    [
        ([], [], {}, "No model is named"),
        (["m"], [[]], {"contxt": 1}, "no option contxt"),
        ([{"model": "m", "tp": 2}], [[]], {}, "no option tp"),
        ([{"context": 1}], [[]], {}, "neither a name nor a model"),
        (["m"], [[]], {"context": "many"}, "context=many"),
        (["m", "n"], [[]], {}, "2 models"),
    ],
)
def test_wishes_without_sense(models, found, options, words):
    with pytest.raises(GpufleetError, match=words):
        fleet.plan_fleet({"a": hosts.host()}, models, found, options)


def test_a_models_own_wishes_come_before_those_for_all():
    models = [{"name": "one", "context": "8K", "settings": {"max_num_seqs": 3}}, "two"]
    made = fleet.plan_fleet(
        {"a": hosts.host(hosts.gpus(2, "NVIDIA L40S"))}, models, fleets.found("Llama-3.1-8B", "Llama-3.1-8B"),
        {"context": "4K", "settings": {"block_size": 32}},
    )  # fmt: skip
    one, two = (entry["plan"]["settings"] for entry in made["plans"])
    assert (one["max_model_len"], one["max_num_seqs"], one["block_size"]) == (8192, 3, 32)
    assert (two["max_model_len"], two["block_size"]) == (4096, 32)


def test_what_is_not_known_is_said():
    found = [[{"skipped": True}, {"msg": "no such directory"}], [{"skipped": True}, *fleets.found("Llama-3.1-8B")[0]]]
    made = fleet.plan_fleet({"a": hosts.host()}, ["/srv/none", "two"], found)
    assert rows.unread(made) == [("/srv/none", "no such directory")]
    assert [row.model for row in rows.rows(made)] == ["two"]
    assert "NOTHING IS KNOWN OF\n  /srv/none: no such directory\n" in report.fleet_table(made, 80)


def test_anything_else_is_refused():
    with pytest.raises(GpufleetError, match="gpufleet.fleet/1"):
        report.fleet_table({"schema": "gpufleet.plan/1"})


def test_two_hundred_hosts_are_a_short_table_in_no_time():
    made = fleets.large()
    start = time.process_time()
    text = report.fleet_table(made, 120)
    assert time.process_time() - start < 1
    assert text.startswith("3 models on 200 hosts of dc1.example.com; ")
    assert len(text.splitlines()) < 120
    assert "\n40 hosts like gpu-000 " in report.fleet_table(made, 200)
    names = squeezed(text)
    assert all("gpu-%03d" % number in names for number in range(200))


@pytest.mark.parametrize(
    ("number", "text"),
    [(7, "7"), (999, "999"), (1000, "1.00k"), (74064, "74.1k"), (99960, "100k"), (999600, "1000k"), (1234567, "1.23m")],
)
def test_thousands(number, text):
    assert words.thousands(number) == text
