# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleets for the tests of what people read."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.planning import fleet
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts, refusal_cases

DOWN = {"unreachable": True, "msg": "Task failed: Failed to connect to the host via ssh: No route to host"}
HOSTILE = '"><script>alert(1)</script>\x1b[31m\u202e&amp;'


def found(*names: str) -> t.List[t.List[t.Dict[str, t.Any]]]:
    return [[{"model": dict(hosts.model(name), source="org/" + name)}] for name in names]


@functools.lru_cache(maxsize=None)
def mixed() -> t.Dict[str, t.Any]:
    """Seven hosts of five kinds and one that is down, two models: fits, refusals, a CPU, a GPU that is taken."""
    taken = [
        hosts.gpu(0, "NVIDIA L40S", processes=[hosts.process(17.5, name="python3")]),
        hosts.gpu(1, "NVIDIA L40S"),
    ]
    looked = {
        "gpu-01": {"hardware": hosts.host(hosts.gpus(2, "NVIDIA L40S"))},
        "gpu-02": {"hardware": hosts.host(hosts.gpus(2, "NVIDIA L40S"))},
        "gpu-03": {"hardware": hosts.host(taken)},
        "gpu-04": DOWN,
        "gpu-05": {"hardware": hosts.host(hosts.gpus(8, "NVIDIA H100 80GB HBM3", linked=True))},
        "t4-01": {"hardware": hosts.host(hosts.gpus(1, "Tesla T4"))},
        "cpu-01": {"hardware": hosts.host(memory_gib=256, cores=48)},
    }
    names = ("Qwen2.5-32B", "Mixtral-8x7B")
    return fleet.plan_fleet(looked, ["org/" + name for name in names], found(*names), {"prefer": "balanced"})


@functools.lru_cache(maxsize=None)
def large(number: int = 200) -> t.Dict[str, t.Any]:
    """So many hosts of five kinds, three models."""
    kinds = [
        hosts.host(hosts.gpus(2, "NVIDIA L40S")),
        hosts.host(hosts.gpus(8, "NVIDIA H100 80GB HBM3", linked=True)),
        hosts.host(hosts.gpus(1, "Tesla T4")),
        hosts.host(),
        hosts.host(hosts.gpus(4, "NVIDIA L40S")),
    ]
    names = list(hosts.CONFIGS)[:3]
    looked = {"gpu-%03d.dc1.example.com" % place: {"hardware": kinds[place]} for place in range(5)}
    looked["gpu-%03d.dc1.example.com" % (number - 1)] = DOWN
    made = fleet.plan_fleet(looked, ["org/" + name for name in names], found(*names))
    for place in range(5, number - 1):  # as those five, without planning each again
        like, name = "gpu-%03d.dc1.example.com" % (place % 5), "gpu-%03d.dc1.example.com" % place
        made["hosts"] += [dict(host, name=name) for host in made["hosts"] if host["name"] == like]
        made["plans"] += [dict(entry, host=name) for entry in made["plans"] if entry["host"] == like]
    return made


@functools.lru_cache(maxsize=None)
def refusals() -> t.Dict[str, t.Any]:
    """Every refusal there is, each on a host named by its code; one model stands for all."""
    entries, shown = [], []
    for code in sorted(refusal_cases.CASES):
        _situation, host, _model, _options, _words = refusal_cases.CASES[code]
        shown.append({"name": code, "hardware": host, "problem": None, "assumed": False})
        entries.append({"host": code, "model": "any", "plan": refusal_cases.plan(code), "problem": None})
    known = {"name": "any", "model": hosts.model("Qwen2.5-32B"), "problem": None, "options": {}}
    return {"schema": fleet.SCHEMA, "options": {}, "hosts": shown, "models": [known], "plans": entries}


def hostile() -> t.Dict[str, t.Any]:
    """Names, messages and facts that would like to be markup or to steer a terminal."""
    cards = [hosts.gpu(0, "NVIDIA L40S", name=HOSTILE, processes=[hosts.process(44.0, name=HOSTILE)])]
    looked = {HOSTILE: {"hardware": hosts.host(cards)}, "b" + HOSTILE: {"msg": HOSTILE}}
    answer = [[{"model": dict(hosts.model("Qwen2.5-32B"), source=HOSTILE, architecture=HOSTILE)}], [{"msg": HOSTILE}]]
    return fleet.plan_fleet(looked, [HOSTILE, {"name": "c" + HOSTILE}], answer)
