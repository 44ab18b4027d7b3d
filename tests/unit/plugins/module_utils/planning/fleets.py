# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleets for the tests of placement: hosts of the kinds that people have, and models with wishes for them."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

# kind -> (GPUs, card, joined by NVLink in sets of, NUMA nodes)
KINDS: t.Dict[str, t.Tuple[int, str, int, int]] = {
    "h100x8": (8, "NVIDIA H100 80GB HBM3", 8, 2),
    "a100x8": (8, "NVIDIA A100-SXM4-80GB", 8, 2),
    "a100x4": (4, "NVIDIA A100-SXM4-80GB", 4, 1),
    "l40sx8": (8, "NVIDIA L40S", 0, 2),
    "l40sx4": (4, "NVIDIA L40S", 0, 1),
    "4090x2": (2, "NVIDIA GeForce RTX 4090", 0, 1),
    "l4x1": (1, "NVIDIA L4", 0, 1),
    "t4x4": (4, "Tesla T4", 0, 1),
}


def machine(name: str, number: int, card: str, linked: int = 0, nodes: int = 1, **changes: t.Any) -> t.Dict[str, t.Any]:
    """A host whose GPUs have UUIDs of their own, joined by NVLink in sets of ``linked``."""
    cards = []
    for index in range(number):
        first = index // linked * linked if linked else index
        peers = [peer for peer in range(first, first + linked) if peer != index] if linked else []
        cards.append(
            hosts.gpu(
                index, card, uuid="GPU-%s-%d" % (name, index), nvlink_peers=peers, numa_node=index * nodes // number
            )
        )
    return hosts.host(cards, **changes)


def host(name: str, kind: str, **changes: t.Any) -> t.Dict[str, t.Any]:
    return machine(name, *KINDS[kind], **changes)


def fleet(number: int, seed: int, kinds: t.Sequence[str] = tuple(KINDS)) -> t.Dict[str, t.Any]:
    """Hosts of the kinds by chance, each GPU with a little less free memory than the next."""
    chance = random.Random(seed)
    result = {}
    for place in range(number):
        name = "gpu-%04d" % place
        kind = chance.choice(list(kinds))
        facts = host(name, kind)
        for card in facts["accelerators"]:
            card["memory_free_bytes"] -= chance.randrange(0, 20) << 20
        result[name] = {"hardware": facts, "labels": {"kind": kind, "rack": "r%d" % (place % 10)}}
    return result


def model(name: str, facts: str = "Llama-3.1-8B", **wishes: t.Any) -> t.Dict[str, t.Any]:
    return dict({"name": name, "model": _facts(facts), "source": "org/" + facts, "replicas": 1}, **wishes)


def models(number: int, machines: t.Mapping[str, t.Any], load: float, seed: int) -> t.List[t.Dict[str, t.Any]]:
    """Models with wishes by chance; replicas for about this share of the fleet's GPUs."""
    chance = random.Random(seed)
    gpus = sum(len(entry["hardware"]["accelerators"]) for entry in machines.values())
    result = []
    for place in range(number):
        facts = chance.choice(sorted(hosts.CONFIGS))
        result.append(
            model(
                "model-%s" % "abcdefghij"[place % 10] + "%s" % "klmnopqrst"[place // 10 % 10] + "x",
                facts,
                context=chance.choice(["8K", "4K", "auto"]),
                concurrency=chance.choice(["auto", 4, 16]),
                prefer=chance.choice(["balanced", "balanced", "throughput"]),
                replicas=max(1, int(gpus * load / number / _USUAL_GPUS[facts])),
            )
        )
    return result


# GPUs that a replica usually takes, for the load of a fleet.
_USUAL_GPUS = {"Llama-3.1-8B": 1.2, "Qwen2.5-32B": 2.5, "Mixtral-8x7B": 3.0, "DeepSeek-V2-Lite": 1.5, "Gemma-2-9B": 1.2}
_FACTS: t.Dict[str, t.Any] = {}


def _facts(name: str) -> t.Dict[str, t.Any]:
    if name not in _FACTS:
        _FACTS[name] = hosts.model(name)
    return _FACTS[name]
