# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every placement: fleets and wishes drawn by chance, always the same ones."""

from __future__ import annotations

import fnmatch
import random
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import devices, facts
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.placement import planner as placement
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import fleets

SEEDS = range(5)
KINDS = ("h100x8", "a100x4", "l40sx8", "4090x2", "t4x4")


def case(seed, hosts=6, load=None):
    """A fleet, and models with constraints of all kinds for it."""
    chance = random.Random(seed)
    machines = fleets.fleet(hosts, seed, KINDS)
    wishes = fleets.models(5, machines, load or chance.choice((0.3, 0.8, 1.5)), seed)
    for wish in wishes:
        chance.choice(
            (
                lambda w: None,
                lambda w: w.update(spread="require"),
                lambda w: w.update(hosts=["gpu-*[02468]"]),
                lambda w: w.update(labels={"kind": ["h100x8", "l40sx8"]}),
                lambda w: w.update(port=9000 + seed),
                lambda w: w.update(share=False),
                lambda w: w.update(gpus="2"),
                lambda w: w.update(prefer="latency"),
            )
        )(wish)
    if chance.random() < 0.3:
        next(iter(machines.values()))["max_share"] = 0.5
    return machines, wishes


def indices(machines, entry):
    cards = {card["uuid"]: card["index"] for card in machines[entry["host"]]["hardware"]["accelerators"]}
    return [cards[gpu] for gpu in entry["gpus"]]


def check(machines, wishes, result):
    """Everything that must hold, whatever was asked for."""
    wanted = {wish["name"]: wish for wish in wishes}
    tenants, ports, names, on_host = {}, set(), set(), {}
    for entry in result["assignments"]:
        wish, host, plan = wanted[entry["model"]], entry["host"], result["plans"][entry["plan"]]
        for gpu in entry["gpus"]:
            tenants.setdefault((host, gpu), []).append(entry)
        assert plan["refusal"] is None
        assert (
            len(entry["gpus"])
            == len(plan["devices"])
            == entry["tensor_parallel_size"] * entry["pipeline_parallel_size"]
        )
        assert str(wish.get("gpus", len(entry["gpus"]))) == str(len(entry["gpus"]))
        assert (host, entry["port"]) not in ports and (host, entry["instance"]) not in names
        ports.add((host, entry["port"]))
        names.add((host, entry["instance"]))
        on_host[entry["model"], host] = on_host.get((entry["model"], host), 0) + 1
        assert any(fnmatch.fnmatch(host, pattern) for pattern in wish.get("hosts", ["*"]))
        assert machines[host]["labels"]["kind"] in wish.get("labels", {}).get("kind", KINDS)
        assert entry["port"] == wish.get("port", entry["port"])
        islands(machines, entry)
    for (name, _host), number in on_host.items():
        assert number == 1 or (wanted[name].get("spread") != "require" and not wanted[name].get("port"))
    for (host, gpu), entries in tenants.items():
        if len(entries) == 1:
            assert entries[0]["share"] is None
            continue
        (card,) = [card for card in machines[host]["hardware"]["accelerators"] if card["uuid"] == gpu]
        seat = devices.seat(facts.read_host(dict(machines[host]["hardware"], accelerators=[card])).devices[0], (), ())
        claims = [
            seat.total * entry["share"] + result["plans"][entry["plan"]]["numbers"]["context_bytes"]["high"]
            for entry in entries
        ]
        assert sum(claims) <= seat.free
        assert all(wanted[entry["model"]].get("share", True) for entry in entries)
    for name, entry in result["hosts"].items():
        assert entry["gpus_used"] <= entry["gpus"] * machines[name].get("max_share", 1)
    placed = {name: 0 for name in wanted}
    for entry in result["assignments"]:
        placed[entry["model"]] += 1
    missing = {entry["model"]: entry["missing"] for entry in result["refusals"]}
    assert all(wish["replicas"] == placed[name] + missing.get(name, 0) for name, wish in wanted.items())


def islands(machines, entry):
    """Every tensor parallel group inside one NVLink set, or without NVLink on one NUMA node."""
    cards = {card["index"]: card for card in machines[entry["host"]]["hardware"]["accelerators"]}
    found, size = indices(machines, entry), entry["tensor_parallel_size"]
    for place in range(0, len(found), size):
        group = found[place : place + size]
        peers = cards[group[0]]["nvlink_peers"]
        if peers:
            assert set(group) <= {group[0], *peers}
        else:
            assert len({cards[index]["numa_node"] for index in group}) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_every_placement_keeps_the_rules(seed):
    machines, wishes = case(seed)
    result = placement.place(machines, wishes)
    check(machines, wishes, result)

    # in whatever order it is asked for
    chance = random.Random(seed)
    shuffled = dict(chance.sample(sorted(machines.items()), len(machines)))
    assert placement.place(shuffled, chance.sample(wishes, len(wishes))) == result

    # the same again is the same, also where not all have a place
    again = placement.place(machines, wishes, {"previous": result["record"]})
    assert again["moves"] == []
    assert again["vllm_instances"] == result["vllm_instances"]


def places(result, but=()):
    return {
        (entry["model"], entry["replica"]): (entry["host"], entry["gpus"], entry["port"], entry["instance"])
        for entry in result["assignments"]
        if entry["host"] not in but and entry["model"] not in but
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_small_changes_move_little(seed):
    machines, wishes = case(seed, load=0.5)
    before = placement.place(machines, wishes, {"sharing": "never"})
    options = {"previous": before, "sharing": "never"}
    # what has no place may make others move once there is more room: that is not what is looked at here
    wishes = [wish for wish in wishes if wish["name"] not in {entry["model"] for entry in before["refusals"]}]
    kept = places(before, [entry["model"] for entry in before["refusals"]])

    larger = dict(machines, **{"gpu-new": {"hardware": fleets.host("gpu-new", "h100x8"), "labels": {"kind": "h100x8"}}})
    assert places(placement.place(larger, wishes, options)) == kept

    new = fleets.model("zz-new", "Gemma-2-9B", context="4K", share=False)
    more = placement.place(machines, wishes + [new], dict(options, moves=False))
    assert places(more, ["zz-new"]) == kept

    lost = sorted({host for host, *_rest in kept.values()})[seed % 2]
    smaller = {name: entry for name, entry in machines.items() if name != lost}
    after = placement.place(smaller, wishes, dict(options, moves=False))
    check(smaller, wishes, after)
    stayed = {key: value for key, value in kept.items() if value[0] != lost}
    assert {key: value for key, value in places(after).items() if key in stayed} == stayed
    moved = {
        (move["model"], move["replica"]) for move in after["moves"] if move["model"] in {w["name"] for w in wishes}
    }
    assert moved == set(kept) - set(stayed)


def test_a_hundred_hosts_and_twenty_models_take_a_moment():
    machines = fleets.fleet(100, 1)
    wishes = fleets.models(20, machines, 0.8, 1)
    start = time.process_time()
    result = placement.place(machines, wishes)
    assert time.process_time() - start < 5  # half a second on an idle core
    assert not result["refusals"]
    assert len(result["plans"]) < 60  # one per model and kind of GPU, not per host
