# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host serves what: one case per rule."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import vllm
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.placement import planner as placement
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import fleets, hosts

L40S = "NVIDIA L40S"
T4 = "Tesla T4"
H100 = "NVIDIA H100 80GB HBM3"
SMALL = "Llama-3.1-8B"  # 15 GiB of weights
LARGE = "Qwen2.5-32B"  # 61 GiB


def place(machines, models, **options):
    return placement.place(machines, models, options)


def where(result, model=None):
    """{(model, replica): (host, indices)}"""
    return {
        (entry["model"], entry["replica"]): (entry["host"], entry["gpu_indices"])
        for entry in result["assignments"]
        if model in (None, entry["model"])
    }


def changes(result):
    return [(move["what"], move["model"], move["replica"]) for move in result["moves"]]


def box(name, number=1, card=L40S, linked=0, nodes=1, **changed):
    return fleets.machine(name, number, card, linked, nodes, **changed)


def boxes(*names, **kind):
    return {name: box(name, **kind) for name in names}


# Where things go


def test_replicas_stand_apart():
    result = place(boxes("a", "b", "c", number=2), [fleets.model("chat", replicas=3, context="8K")])
    assert sorted(host for host, _gpus in where(result).values()) == ["a", "b", "c"]
    assert result["refusals"] == []


def test_more_replicas_than_hosts_share_hosts():
    result = place(boxes("a", "b", number=2), [fleets.model("chat", replicas=4, context="8K")])
    assert sorted(host for host, _gpus in where(result).values()) == ["a", "a", "b", "b"]
    names = sorted((entry["host"], entry["instance"], entry["port"]) for entry in result["assignments"])
    assert names == [("a", "chat", 8000), ("a", "chat-2", 8001), ("b", "chat", 8000), ("b", "chat-2", 8001)]


def test_spread_require_never_puts_two_on_a_host():
    result = place(boxes("a", "b", number=4), [fleets.model("chat", replicas=3, context="8K", spread="require")])
    assert sorted(host for host, _gpus in where(result).values()) == ["a", "b"]
    (refusal,) = result["refusals"]
    assert (refusal["code"], refusal["missing"]) == ("no_place", 1)
    assert "a replica is there already" in refusal["message"]
    assert refusal["remedies"][0].startswith("spread: prefer")


def test_spread_over_a_label_comes_first():
    machines = {
        name: {"hardware": box(name, 2), "labels": {"rack": rack}}
        for name, rack in (("a", "r1"), ("b", "r1"), ("c", "r1"), ("d", "r2"))
    }
    result = place(machines, [fleets.model("chat", replicas=2, context="8K", spread_over="rack")])
    assert "d" in [host for host, _gpus in where(result).values()]


def test_the_smallest_gpus_that_serve_the_wish():
    machines = {"big": box("big", 1, H100), "fit": box("fit", 1, L40S), "tiny": box("tiny", 1, T4)}
    result = place(machines, [fleets.model("chat", context="32K", concurrency=4)])
    assert where(result) == {("chat", 1): ("fit", [0])}


def test_large_models_come_first_so_that_small_ones_leave_them_room():
    machines = {"a": box("a", 4, H100, linked=4), "b": box("b", 1)}
    models = [fleets.model("a-small", context="8K"), fleets.model("z-large", LARGE, gpus="4")]
    result = place(machines, models)
    assert where(result) == {("a-small", 1): ("b", [0]), ("z-large", 1): ("a", [0, 1, 2, 3])}


def test_small_blocks_are_used_before_large_ones_are_broken():
    machines = {"eight": box("eight", 8, H100, linked=8), "one": box("one", 1, H100)}
    result = place(machines, [fleets.model("chat", context="8K")])
    assert where(result) == {("chat", 1): ("one", [0])}


def test_equal_hosts_are_filled_evenly():
    models = [fleets.model("m%s" % letter, context="8K") for letter in "abcdefgh"]
    result = place(boxes("a", "b", "c", "d", number=4), models)
    assert [result["hosts"][name]["gpus_used"] for name in "abcd"] == [2, 2, 2, 2]
    assert result["balance"]["host_share"] == {"least": 0.5, "mean": 0.5, "most": 0.5}


@pytest.mark.parametrize(
    ("wish", "allowed"),
    [
        ({"hosts": ["gpu-0*"]}, {"gpu-01", "gpu-02"}),
        ({"hosts": ["gpu-*", "!gpu-02"]}, {"gpu-01", "gpu-11"}),
        ({"hosts": ["!gpu-0*"]}, {"gpu-11"}),
        ({"labels": {"zone": "west"}}, {"gpu-02", "gpu-11"}),
        ({"labels": {"zone": ["east", "north"]}}, {"gpu-01"}),
    ],
)
def test_constraints(wish, allowed):
    zones = {"gpu-01": "east", "gpu-02": "west", "gpu-11": "west"}
    machines = {name: {"hardware": box(name, 4), "labels": {"zone": zone}} for name, zone in zones.items()}
    result = place(machines, [fleets.model("chat", replicas=6, context="8K", **wish)], sharing="never")
    assert {host for host, _gpus in where(result).values()} == allowed


def test_reserved_gpus_and_max_share():
    machines = {"a": {"hardware": box("a", 4), "reserved_gpus": [0], "max_share": 0.7}}
    result = place(machines, [fleets.model("chat", replicas=4, context="8K", concurrency=2)], sharing="never")
    assert [gpus for _host, gpus in where(result).values()] == [[1], [2]]
    assert result["refusals"][0]["missing"] == 2


def test_what_others_hold_is_not_used():
    busy = box("a", 2)
    busy["accelerators"][0]["processes"] = [hosts.process(30, "ollama.service", "ollama")]
    busy["accelerators"][0]["memory_free_bytes"] -= 30 << 30
    assert where(place({"a": busy}, [fleets.model("chat", context="8K")])) == {("chat", 1): ("a", [1])}


def test_claims_of_other_engines_are_kept():
    machines = {"a": {"hardware": box("a", 2), "reserved": [{"device": "0", "fraction": 0.9}]}}
    assert where(place(machines, [fleets.model("chat", context="8K")])) == {("chat", 1): ("a", [1])}


def test_own_units_count_as_free():
    busy = box("a", 1)
    busy["accelerators"][0]["processes"] = [hosts.process(40, "vllm-old.service")]
    busy["accelerators"][0]["memory_free_bytes"] -= 40 << 30
    models = [fleets.model("chat", context="32K")]
    assert place({"a": busy}, models)["refusals"]
    assert not place({"a": busy}, models, own_units=["vllm-*.service"])["refusals"]


# Islands


def test_a_tensor_parallel_group_stays_in_its_nvlink_island():
    machine = {"a": box("a", 4, H100, linked=2)}
    models = [fleets.model("one", context="8K"), fleets.model("two", LARGE, gpus="2")]
    result = place(machine, models)
    assert where(result, "two")[("two", 1)][1] in ([0, 1], [2, 3])
    pairs = place(machine, [fleets.model("two", LARGE, gpus="2", replicas=2)])
    assert sorted(gpus for _host, gpus in where(pairs).values()) == [[0, 1], [2, 3]]
    result = place(machine, [fleets.model("s", context="8K", replicas=3), fleets.model("two", LARGE, gpus="2")])
    assert where(result, "two")[("two", 1)][1] in ([0, 1], [2, 3])


def test_one_free_gpu_on_each_island_is_no_place_for_two():
    machine = {"a": {"hardware": box("a", 4, H100, linked=2), "reserved_gpus": [0, 2]}}
    result = place(machine, [fleets.model("two", LARGE, gpus="2")])
    assert result["refusals"][0]["missing"] == 1 and not result["assignments"]


def test_without_nvlink_the_numa_node_is_the_island():
    machine = {"a": {"hardware": box("a", 4, L40S, nodes=2), "reserved_gpus": [0]}}
    result = place(machine, [fleets.model("two", gpus="2", context="8K")])
    assert where(result) == {("two", 1): ("a", [2, 3])}


def test_a_model_too_large_for_an_island_spans_islands_as_stages():
    machine = {"a": box("a", 4, L40S, nodes=2)}
    result = place(machine, [fleets.model("large", "Mixtral-8x7B", context="8K")])
    (entry,) = result["assignments"]
    assert (entry["tensor_parallel_size"], entry["pipeline_parallel_size"]) == (2, 2)
    (instance,) = result["vllm_instances"]["a"]
    assert instance["settings"] == {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}
    assert instance["gpus"] == ["GPU-a-%d" % index for index in range(4)]


def test_islands_whose_gpus_alternate_are_not_chained():
    machine = box("a", 4, L40S)
    for card in machine["accelerators"]:
        card["numa_node"] = card["index"] % 2
    result = place({"a": machine}, [fleets.model("large", "Mixtral-8x7B", context="8K")])
    assert result["refusals"][0]["code"] == "does_not_fit"


def test_a_mig_slice_is_a_place():
    card = hosts.sliced(0, "NVIDIA A100-SXM4-80GB", ("3g.40gb", 40192), ("3g.40gb", 40192))
    result = place({"a": hosts.host([card])}, [fleets.model("chat", replicas=2, context="8K")])
    assert [entry["gpus"] for entry in result["assignments"]] == [
        ["MIG-00000000-0000-4000-8000-%012d" % number] for number in (0, 1)
    ]


def test_a_cpu_host_serves_what_is_meant_for_cpus():
    machines = {"gpu": box("gpu"), "cpu": hosts.host(memory_gib=64, cores=16)}
    models = [fleets.model("chat", variant="cpu", context="2K"), fleets.model("fast", context="8K")]
    result = place(machines, models)
    assert where(result) == {("chat", 1): ("cpu", []), ("fast", 1): ("gpu", [0])}
    assert "gpus" not in result["vllm_instances"]["cpu"][0]


# Sharing


def test_gpus_are_shared_only_where_needed():
    models = [fleets.model("a", context="8K", concurrency=2), fleets.model("b", context="8K", concurrency=2)]
    apart = place(boxes("x", number=2), models)
    assert [entry["share"] for entry in apart["assignments"]] == [None, None]
    together = place(boxes("x", number=1), models)
    assert not together["refusals"] and together["balance"]["gpus_shared"] == 1
    shares = [entry["share"] for entry in together["assignments"]]
    assert sum(shares) < 0.95
    for instance in together["vllm_instances"]["x"]:
        assert instance["settings"]["gpu_memory_utilization"] in shares
    assert all(not plan["refusal"] for plan in together["plans"].values())


@pytest.mark.parametrize(("options", "wish"), [({"sharing": "never"}, {}), ({}, {"share": False})])
def test_sharing_can_be_refused(options, wish):
    models = [fleets.model(name, context="8K", concurrency=2, **wish) for name in ("a", "b")]
    result = place(boxes("x", number=1), models, **options)
    assert len(result["assignments"]) == 1 and result["balance"]["gpus_shared"] == 0


def test_who_is_alone_again_gets_the_whole_gpu():
    models = [fleets.model("a", context="8K", concurrency=2), fleets.model("b", context="8K", concurrency=2)]
    before = place(boxes("x", number=1), models)
    after = place(boxes("x", number=1), models[:1], previous=before)
    assert changes(after) == [("resized", "a", 1), ("removed", "b", 1)]
    assert after["assignments"][0]["share"] is None


def test_room_beside_others_on_a_gpu_is_used_when_nothing_else_is_free():
    busy = box("a", 1)
    busy["accelerators"][0]["processes"] = [hosts.process(12, "ollama.service", "ollama")]
    busy["accelerators"][0]["memory_free_bytes"] -= 12 << 30
    result = place({"a": busy}, [fleets.model("chat", context="8K", concurrency=2)])
    assert 0.3 < result["assignments"][0]["share"] < 0.7


def test_a_gpu_that_becomes_shared_is_not_offered_to_models_of_other_hosts():
    models = [fleets.model(name, context="8K", concurrency=2, hosts=["x"]) for name in ("a", "b")]
    models += [fleets.model("c", context="8K", hosts=["y"], share=False), fleets.model("d", context="8K", hosts=["y"])]
    result = place(boxes("x", "y"), models)
    assert {name: host for (name, _replica), (host, _gpus) in where(result).items()} in (
        {"a": "x", "b": "x", "c": "y"},
        {"a": "x", "b": "x", "d": "y"},
    )


# Stability


FLEET = {"a": box("a", 2), "b": box("b", 2), "c": box("c", 4, H100, linked=4)}
MODELS = [
    fleets.model("chat", replicas=2, context="8K", concurrency=4),
    fleets.model("code", replicas=2, context="16K", concurrency=4),
    fleets.model("large", LARGE, context="16K"),
]


def test_the_same_again_changes_nothing():
    before = place(FLEET, MODELS)
    after = place(FLEET, MODELS, previous=before)
    assert after["moves"] == []
    assert after["assignments"] == before["assignments"]
    assert place(FLEET, MODELS, previous=before["record"]) == after


def test_running_engines_of_the_placement_before_do_not_stand_in_their_own_way():
    before = place(FLEET, MODELS)
    running = {
        name: dict(machine, accelerators=[dict(c) for c in machine["accelerators"]]) for name, machine in FLEET.items()
    }
    for entry in before["assignments"]:
        for card in running[entry["host"]]["accelerators"]:
            if card["uuid"] in entry["gpus"]:
                card["processes"] = [hosts.process(40, "vllm-%s.service" % entry["instance"])]
                card["memory_free_bytes"] -= 40 << 30
    after = place(running, MODELS, previous=before)
    assert after["moves"] == [] and after["refusals"] == []


def test_fewer_replicas_and_models_that_are_gone():
    before = place(FLEET, MODELS)
    fewer = [dict(MODELS[0], replicas=1), MODELS[2]]
    after = place(FLEET, fewer, previous=before)
    assert changes(after) == [("removed", "chat", 2), ("removed", "code", 1), ("removed", "code", 2)]
    assert after["moves"][0]["reason"] == "replicas is now 1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda machines: machines.pop("b"), "host b is gone"),
        (lambda machines: machines["b"]["accelerators"].pop(0), "GPU-b-0 of b cannot be used any more"),
        (
            lambda machines: machines["b"]["accelerators"][0].update(usable=False, problem="it fell off the bus"),
            "cannot be used",
        ),
    ],
)
def test_what_loses_its_gpus_moves(change, reason):
    machines = {name: box(name, 1) for name in ("a", "b", "c")}
    models = [fleets.model("chat", replicas=2, context="8K", concurrency=2, hosts=["a", "b"])]
    before = place(machines, models)
    models[0]["hosts"] = []
    change(machines)
    after = place(machines, models, previous=before)
    (move,) = after["moves"]
    assert (move["what"], move["before"]["host"], move["after"]["host"]) == ("moved", "b", "c")
    assert reason in move["reason"]


def test_a_replica_that_needs_other_gpus_stays_on_its_host():
    machines = boxes("a", "b", "c", number=4)
    before = place(machines, [fleets.model("chat", context="8K")])
    (old,) = before["assignments"]
    after = place(machines, [fleets.model("chat", context="8K", gpus="2")], previous=before)
    (new,) = after["assignments"]
    assert new["host"] == old["host"] and len(new["gpus"]) == 2
    assert after["moves"][0]["reason"] == "it shall have 2 GPUs"


def test_others_make_room_only_when_they_have_to():
    machines = {"a": box("a", 2, H100, linked=2), "b": box("b", 1)}
    first = [fleets.model("chat", context="8K", concurrency=2, hosts=["a"])]
    before = place(machines, first)
    both = [fleets.model("chat", context="8K", concurrency=2), fleets.model("large", LARGE, gpus="2", share=False)]
    after = place(machines, both, previous=before)
    assert where(after) == {("chat", 1): ("b", [0]), ("large", 1): ("a", [0, 1])}
    assert changes(after) == [("moved", "chat", 1), ("placed", "large", 1)]
    assert after["moves"][0]["reason"] == "makes room for large on a"
    stuck = place(machines, both, previous=before, moves=False)
    assert where(stuck) == where(before)
    assert "moves: true (running replicas may move to other hosts)" in stuck["refusals"][0]["remedies"]


def test_ports_are_kept_fixed_ones_win():
    machines = {"a": {"hardware": box("a", 3), "ports_taken": [8000]}}
    before = place(machines, [fleets.model("chat", context="8K"), fleets.model("code", context="8K")], port_base=8000)
    assert sorted(entry["port"] for entry in before["assignments"]) == [8001, 8002]
    more = [fleets.model(name, context="8K") for name in ("aaa", "chat", "code")]
    after = place(machines, more, previous=before)
    kept = {entry["model"]: entry["port"] for entry in after["assignments"]}
    assert {name: kept[name] for name in ("chat", "code")} == {
        entry["model"]: entry["port"] for entry in before["assignments"]
    }
    more[0]["port"] = kept["chat"]
    fixed = place(machines, more, previous=before)
    ports = {entry["model"]: entry["port"] for entry in fixed["assignments"]}
    assert ports["aaa"] == kept["chat"] and len(set(ports.values())) == 3
    assert ("readdressed", "chat", 1) in changes(fixed)


def test_a_fixed_port_goes_to_a_host_once():
    result = place(boxes("a", "b", number=4), [fleets.model("chat", replicas=3, context="8K", port=9000)])
    assert sorted(host for host, _gpus in where(result).values()) == ["a", "b"]
    assert {entry["port"] for entry in result["assignments"]} == {9000}


# Shortage


def test_priority_decides_who_gets_the_last_place():
    models = [fleets.model(name, LARGE, context="8K", share=False) for name in ("a", "b")]
    for favoured in (0, 1):
        entries = [dict(model, priority=int(place_ == favoured)) for place_, model in enumerate(models)]
        result = place(boxes("x", number=1, card=H100), entries)
        assert list(where(result)) == [("ab"[favoured], 1)]


def test_every_model_gets_a_replica_before_one_gets_two():
    models = [
        fleets.model("a", LARGE, context="8K", replicas=3, share=False),
        fleets.model("b", replicas=3, context="8K", share=False),
    ]
    result = place(boxes("x", number=3, card=H100), models)
    assert {entry["model"] for entry in result["assignments"]} == {"a", "b"}


def test_fewer_gpus_each_before_somebody_goes_without():
    """With two GPUs each reads its weights faster; with one each both are served."""
    models = [fleets.model(name, prefer="latency", context="8K", concurrency=2, share=False) for name in ("a", "b")]
    wide = place({"x": box("x", 4, H100, linked=4)}, models[:1])
    assert wide["assignments"][0]["tensor_parallel_size"] == 4
    both = place({"x": box("x", 4, H100, linked=4)}, models)
    assert len(both["assignments"]) == 2 and not both["refusals"]


# What comes back


def test_plans_are_what_vllm_plan_says_of_the_same_gpus():
    result = place(FLEET, MODELS)
    facts = {model["name"]: model for model in MODELS}
    for entry in result["assignments"]:
        wanted = facts[entry["model"]]
        options = {
            "context": wanted["context"],
            "concurrency": wanted.get("concurrency", "auto"),
            "gpus": entry["gpus"],
        }
        own = vllm.make_plan(FLEET[entry["host"]], wanted["model"], options)
        mine = placement.plan_of(result, entry)
        for key in ("settings", "environment", "devices", "numbers", "refusal"):
            assert mine[key] == own[key], key


def test_instances_are_what_the_role_takes():
    models = [
        fleets.model("chat", context="8K", settings={"enable_prefix_caching": True}, instance={"revision": "abc"})
    ]
    result = place(boxes("a", "b"), models)
    used = [name for name, entries in result["vllm_instances"].items() if entries]
    assert set(result["vllm_instances"]) == {"a", "b"} and len(used) == 1
    assert result["vllm_instances"][used[0]] == [
        {
            "name": "chat",
            "model": "org/Llama-3.1-8B",
            "revision": "abc",
            "context": "8192",
            "concurrency": "auto",
            "prefer": "balanced",
            "gpus": ["GPU-%s-0" % used[0]],
            "port": 8000,
            "settings": {"enable_prefix_caching": True},
        }
    ]


def test_a_broken_gpu_is_named():
    machine = box("a", 2)
    machine["accelerators"][0].update(usable=False, problem="it fell off the bus")
    result = place({"a": machine}, [fleets.model("chat", context="8K")])
    assert "fell off the bus" in result["hosts"]["a"]["problems"][0]
    assert where(result) == {("chat", 1): ("a", [1])}


@pytest.mark.parametrize(
    ("machines", "models", "options", "words"),
    [
        ({}, [fleets.model("Chat")], {}, "name='Chat'"),
        ({}, [fleets.model("chat-2")], {}, "end on a dash"),
        ({}, [fleets.model("a"), fleets.model("a")], {}, "names a twice"),
        ({}, [fleets.model("a", gpus=[0])], {}, "models.a.gpus"),
        ({}, [fleets.model("a", context="x")], {}, "models.a: context=x"),
        ({}, [fleets.model("a", settings={"swap_space": 1})], {}, "models.a: settings.swap_space"),
        ({}, [fleets.model("a", instance={"port": 1})], {}, "models.a.instance sets port"),
        ({}, [fleets.model("a", port=70000)], {}, "models.a.port=70000"),
        ({}, [dict(fleets.model("a"), source=None)], {}, "models.a.source"),
        ({"x": {"gpus": 4}}, [], {}, "hosts.x: give the hardware facts"),
        ({"x": {"hardware": {}}}, [], {}, "hosts.x: hardware has schema"),
        ({"x": {"hardware": box("x"), "max_share": 2}}, [], {}, "hosts.x.max_share=2"),
        ({"x": {"hardware": box("x"), "reserved_gpus": [9]}}, [], {}, "hosts.x.reserved_gpus names 9"),
        ({"x": {"hardware": box("x"), "weight": 2}}, [], {}, "hosts.x has no key weight"),
        ({}, [], {"previous": {"schema": "x"}}, "previous has schema 'x'"),
        ({}, [], {"sharing": "maybe"}, "sharing=maybe"),
    ],
)
def test_what_makes_no_sense_is_named(machines, models, options, words):
    with pytest.raises(GpufleetError, match="(?s).*") as caught:
        place(machines, models, **options)
    assert words in str(caught.value)


def test_an_empty_fleet_is_an_answer():
    result = place({}, [fleets.model("chat", context="8K")])
    (refusal,) = result["refusals"]
    assert refusal["code"] == "no_host" and refusal["addition"]["gpus"] == 1
    assert result["balance"]["gpus"] == 0
