# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has no place: the reason, and that what is offered really helps."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.placement import planner as placement
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.placement import text as placement_text
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import fleets, hosts

L40S = "NVIDIA L40S"
T4 = "Tesla T4"
H100 = "NVIDIA H100 80GB HBM3"
LARGE = "Qwen2.5-32B"


def box(name, number=1, card=L40S, linked=0, nodes=1, **changed):
    return fleets.machine(name, number, card, linked, nodes, **changed)


def refusal(machines, models, **options):
    (entry,) = placement.place(machines, models, options)["refusals"]
    return entry


def more(machines, addition, name="new"):
    """The fleet with the hosts that an addition asks for."""
    result = dict(machines)
    for number in range(addition["hosts"]):
        entry = copy.deepcopy(machines[addition["like"]])
        result["%s-%d" % (name, number)] = entry
    return result


def test_hosts_like_one_of_the_fleet():
    machines = {"a": box("a", 2), "b": box("b", 1, H100)}
    models = [fleets.model("chat", context="8K", replicas=6, share=False)]
    entry = refusal(machines, models)
    assert (entry["code"], entry["missing"], entry["replicas"]) == ("no_place", 3, 6)
    assert entry["addition"]["like"] == "b" or entry["addition"]["hosts"] == 2
    assert "3 more GPUs of 44.4 GiB (NVIDIA L40S)" in entry["remedies"]
    assert "2 more hosts like a (2 x NVIDIA L40S)" in entry["remedies"]
    assert entry["remedies"][-1] == "replicas: 3"


@pytest.mark.parametrize("seed", range(6))
def test_the_addition_suffices_and_one_host_less_does_not(seed):
    machines = fleets.fleet(3, seed)
    wish = fleets.models(1, machines, 3.0, seed)[0]
    before = placement.place(machines, [wish], {"sharing": "never"})
    if not before["refusals"]:
        pytest.fail("the fleet of seed %d has room for all: the test proves nothing" % seed)
    addition = before["refusals"][0]["addition"]
    options = {"sharing": "never", "previous": before}
    after = placement.place(more(machines, addition), [wish], options)
    assert after["refusals"] == []
    assert [move["what"] for move in after["moves"]] == ["placed"] * before["refusals"][0]["missing"]
    addition["hosts"] -= 1
    assert placement.place(more(machines, addition), [wish], options)["refusals"]


def test_what_the_host_with_a_free_gpu_lacks():
    machines = {"a": box("a", 3, H100, linked=3)}
    models = [fleets.model("large", LARGE, gpus="2", replicas=2)]
    entry = refusal(machines, models)
    assert "1 more GPU free on a (NVIDIA H100 80GB HBM3), beside the 1 that is" in entry["remedies"]


def test_a_smaller_context_that_fits_is_offered():
    machines = {"a": box("a", 1, "NVIDIA GeForce RTX 4090")}
    models = [fleets.model("chat", context="128K")]
    entry = refusal(machines, models)
    (offered,) = [text for text in entry["remedies"] if text.startswith("context: ")]
    models[0]["context"] = offered.split()[1]
    assert not placement.place(machines, models)["refusals"]


def test_fp8_is_offered_where_it_fits():
    machines = {"a": box("a", 1, L40S)}
    models = [fleets.model("large", LARGE, context="8K")]
    entry = refusal(machines, models)
    assert entry["code"] == "does_not_fit" and entry["short_bytes"] > 0
    (offered,) = [text for text in entry["remedies"] if "settings.quantization: fp8" in text]
    assert "fits on a" in offered
    models[0]["settings"] = {"quantization": "fp8"}
    assert not placement.place(machines, models)["refusals"]


def test_hosts_that_constraints_leave_out_are_offered():
    machines = {"a": box("a"), "b": box("b")}
    models = [fleets.model("chat", replicas=2, context="8K", hosts=["a"], share=False)]
    assert "allow b in hosts and labels" in refusal(machines, models)["remedies"]


def test_sharing_is_offered_where_it_is_off():
    models = [fleets.model("chat", replicas=2, context="8K", concurrency=2)]
    entry = refusal({"a": box("a")}, models, sharing="never")
    assert entry["remedies"][0].startswith("sharing: needed")


def test_no_host_is_named_as_such():
    entry = refusal({"a": box("a")}, [fleets.model("chat", hosts=["x*"], labels={"zone": "west"}, context="8K")])
    assert entry["code"] == "no_host"
    assert "called x* and labelled zone=west and with GPUs" in entry["message"]


def test_hardware_that_the_fleet_does_not_have():
    entry = refusal({"a": box("a", 1, T4)}, [fleets.model("large", LARGE, context="8K")])
    assert entry["code"] == "does_not_fit"
    assert entry["addition"]["like"] is None
    assert any(text.startswith("1 more host with ") for text in entry["remedies"])


def test_a_gpu_that_is_hung_up_is_no_place():
    machine = box("a")
    machine["accelerators"][0].update(usable=False, problem="it fell off the bus")
    entry = refusal({"a": machine}, [fleets.model("chat", context="8K")])
    assert entry["code"] == "no_place" and "broken" in entry["message"]


def test_no_cpu_host_is_free():
    machines = {"a": hosts.host(memory_gib=64, cores=16)}
    entry = refusal(machines, [fleets.model("chat", variant="cpu", context="2K", replicas=2)])
    assert (entry["code"], entry["missing"]) == ("no_place", 1)
    assert entry["remedies"][0] == "1 more host like a (AMD EPYC 9354, 64.0 GiB)"


def test_the_table_shows_it_all():
    machines = {"a": box("a", 2), "b": box("b", 1, H100)}
    before = placement.place(machines, [fleets.model("chat", context="8K", replicas=3)])
    del machines["b"]
    after = placement.place(
        machines, [fleets.model("chat", context="8K", replicas=3, share=False)], {"previous": before}
    )
    text = placement_text.table(after)
    assert max(len(line) for line in text.splitlines()) <= 100 and text.isascii()
    for words in ("2 replicas on 1 host", "1 WITHOUT A PLACE", "NO PLACE for 1 of 3 x chat", "host b is gone", "8000"):
        assert words in text


def test_the_inventory_has_every_host_and_the_record():
    machines = {"a": box("a"), "b": box("b")}
    result = placement.place(machines, [fleets.model("chat", context="8K")])
    source = placement_text.inventory(result)["all"]
    assert set(source["hosts"]) == {"a", "b"}
    assert sorted(len(values["vllm_instances"]) for values in source["hosts"].values()) == [0, 1]
    again = placement.place(
        machines, [fleets.model("chat", context="8K")], {"previous": source["vars"]["gpufleet_placement"]}
    )
    assert again["moves"] == []
