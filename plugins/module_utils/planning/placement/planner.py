# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host of a fleet serves which model on which GPUs. Pure: no I/O, no clock, no chance."""

from __future__ import annotations

import typing as t

from ...errors import GpufleetError
from .fleet import Fleet, Slot
from .offers import Offers, Plan
from .refusals import Refusals
from .room import find_room
from .search import Result, Search
from .state import Seating, State
from .wishes import SCHEMA, Former, read_models, read_previous
from ..units import parse_number

SHARING = ("needed", "never")
PORT_BASE = 8000
# What an assignment says of its plan; the whole plan is in ``plans``.
_SUMMARY = ("max_concurrency", "kv_cache_tokens", "weights_bytes_per_gpu")


def place(
    hosts: t.Mapping[str, t.Any],
    models: t.Iterable[t.Mapping[str, t.Any]],
    options: t.Optional[t.Mapping[str, t.Any]] = None,
) -> t.Dict[str, t.Any]:
    """The placement (schema gpufleet.placement/1). What has no place is in ``refusals``; the rest is placed anyway.

    Raises GpufleetError only for what makes no sense.
    """
    options = options or {}
    sharing = options.get("sharing") or "needed"
    if sharing not in SHARING:
        raise GpufleetError("sharing=%s is not one of %s." % (sharing, ", ".join(SHARING)))
    moves = options.get("moves")
    wanted = read_models(models)
    former = read_previous(options.get("previous"))
    units: t.Dict[str, t.List[str]] = {}
    for entry in former:
        units.setdefault(entry.host, []).append("vllm-%s.service" % entry.instance)
    fleet = Fleet(hosts, options.get("own_units") or (), units)
    search = Search(fleet, wanted, Offers(fleet.groups), former, sharing == "needed")
    result = search.run()
    movable = moves is None or bool(moves)
    find_room(search, result, sharing == "needed", movable)
    refusals = Refusals(search, result, sharing, movable).write()
    port_base = parse_number("port_base", options.get("port_base") or PORT_BASE)
    return _Report(search, result, port_base).write(refusals)


def plan_of(placement: t.Mapping[str, t.Any], assignment: t.Mapping[str, t.Any]) -> Plan:
    """The plan of one assignment, with its own GPUs where the plan of its kind names others.

    It has no fingerprint: that comes from the plan that the role makes on the host.
    """
    plan = placement["plans"][assignment["plan"]]
    if not plan["devices"]:
        return dict(plan, fingerprint=None)
    cards = [
        dict(card, id=name, index=index)
        for card, name, index in zip(plan["numbers"]["gpus"], assignment["gpus"], assignment["gpu_indices"])
    ]
    environment = dict(plan["environment"], CUDA_VISIBLE_DEVICES=",".join(assignment["gpus"]))
    numbers = dict(plan["numbers"], gpus=cards)
    return dict(plan, devices=list(assignment["gpus"]), environment=environment, numbers=numbers, fingerprint=None)


class _Report:
    def __init__(self, search: Search, result: Result, port_base: int) -> None:
        self.search, self.result, self.state = search, result, result.state
        self.fleet = search.fleet
        self.seatings = sorted(self.state.seated.values(), key=lambda seating: (seating.wanted.name, seating.replica))
        self.ports = _ports(self.state, self.seatings, port_base)
        self.instances = _instances(self.seatings)
        self.plans: t.Dict[str, Plan] = {}
        self._plan_ids: t.Dict[int, str] = {}

    def write(self, refusals: t.List[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
        assignments = [self._assignment(seating) for seating in self.seatings]
        return {
            "schema": SCHEMA,
            "assignments": assignments,
            "plans": self.plans,
            "vllm_instances": self._vllm_instances(assignments),
            "hosts": {node.name: self._host(node.number) for node in self.fleet.nodes},
            "balance": self._balance(),
            "moves": self._moves(),
            "refusals": refusals,
            "warnings": self._warnings(assignments),
            "record": {"schema": SCHEMA, "assignments": [_recorded(entry) for entry in assignments]},
        }

    def _plan(self, seating: Seating) -> Plan:
        offers, slot = self.search.offers, seating.slots[0]
        if seating.share is not None:
            return offers.shared_plan(seating.wanted, slot, seating.share.fraction, self.state.claimed(slot, seating))
        if all(item.idle for item in seating.slots):
            return offers.plan(seating.wanted, seating.block, len(seating.slots))
        return offers.plan_on(seating.wanted, seating.block, seating.slots)

    def _plan_id(self, seating: Seating, plan: Plan) -> str:
        """``chat: 2 x NVIDIA L40S``, with a number where one kind of GPU has several plans."""
        if id(plan) not in self._plan_ids:
            kind = "%s: %s" % (seating.wanted.name, seating.block.kind.text(len(seating.slots)))
            if seating.share is not None:
                kind += ", %.2f of it" % seating.share.fraction
            name, number = kind, 1
            while name in self.plans:
                number += 1
                name = "%s (%d)" % (kind, number)
            self._plan_ids[id(plan)] = name
            self.plans[name] = plan
        return self._plan_ids[id(plan)]

    def _assignment(self, seating: Seating) -> t.Dict[str, t.Any]:
        plan = self._plan(seating)
        key = (seating.wanted.name, seating.replica)
        return {
            "model": seating.wanted.name,
            "replica": seating.replica,
            "instance": self.instances[key],
            "host": seating.node.name,
            "gpus": [slot.id for slot in seating.slots if slot.seat],
            "gpu_indices": [slot.seat.device.index for slot in seating.slots if slot.seat],
            "share": seating.share.fraction if seating.share else None,
            "port": self.ports[key],
            "plan": self._plan_id(seating, plan),
            "context_tokens": plan["settings"]["max_model_len"],
            "concurrency": plan["settings"]["max_num_seqs"],
            "tensor_parallel_size": plan["settings"].get("tensor_parallel_size", 1),
            "pipeline_parallel_size": plan["settings"].get("pipeline_parallel_size", 1),
            "numbers": {name: plan["numbers"][name] for name in _SUMMARY},
        }

    def _vllm_instances(self, assignments: t.Sequence[t.Mapping[str, t.Any]]) -> t.Dict[str, t.List[t.Any]]:
        """For every host, so that one that serves nothing any more is told so."""
        result: t.Dict[str, t.List[t.Any]] = {node.name: [] for node in self.fleet.nodes}
        for seating, assignment in zip(self.seatings, assignments):
            result[seating.node.name].append(_instance(seating, assignment))
        return {host: sorted(entries, key=lambda entry: entry["name"]) for host, entries in result.items()}

    def _host(self, number: int) -> t.Dict[str, t.Any]:
        node, state = self.fleet.nodes[number], self.state
        cards = [slot for slot in node.slots if slot.seat]
        return {
            "gpus": len(cards),
            "gpus_used": sum(1 for slot in cards if state.tenants[slot.number]),
            "unused_gpus": [slot.id for slot in cards if slot.idle and not state.tenants[slot.number]],
            "memory_bytes": sum(slot.total for slot in node.slots),
            "memory_used_bytes": sum(self._used(slot) for slot in node.slots),
            "problems": node.problems,
        }

    def _used(self, slot: Slot) -> int:
        tenants = self.state.tenants[slot.number]
        if any(tenant.share is None for tenant in tenants):
            return slot.total
        return self.state.claimed(slot)

    def _balance(self) -> t.Dict[str, t.Any]:
        shares = [sum(self._used(slot) for slot in node.slots) / node.total for node in self.fleet.nodes if node.total]
        cards = [slot for slot in self.fleet.slots if slot.seat]
        return {
            "gpus": len(cards),
            "gpus_used": sum(1 for slot in cards if self.state.tenants[slot.number]),
            "gpus_shared": sum(1 for slot in cards if len(self.state.tenants[slot.number]) > 1),
            "hosts": len(self.fleet.nodes),
            "hosts_used": sum(1 for used in self.state.used if used),
            "memory_bytes": sum(slot.total for slot in self.fleet.slots),
            "memory_used_bytes": sum(self._used(slot) for slot in self.fleet.slots),
            "host_share": {
                "least": round(min(shares, default=0.0), 4),
                "mean": round(sum(shares) / len(shares), 4) if shares else 0.0,
                "most": round(max(shares, default=0.0), 4),
            },
        }

    def _moves(self) -> t.List[t.Dict[str, t.Any]]:
        """What differs from the placement before."""
        moves = [
            _move("removed", entry.model, entry.replica, _before(entry), None, why) for entry, why in self.result.gone
        ]
        for wanted, number in self.result.missing:
            entry = self.result.former.get((wanted.name, number))
            if entry:
                why = self.result.lost.get((wanted.name, number), "there is no place for it")
                moves.append(_move("removed", wanted.name, number, _before(entry), None, why))
        for seating in self.seatings:
            key = (seating.wanted.name, seating.replica)
            after = {"host": seating.node.name, "gpus": [slot.id for slot in seating.slots if slot.seat]}
            entry = seating.former
            if entry is None and not self.search.former:
                continue
            if entry is None:
                moves.append(_move("placed", *key, None, after, "it had no place before"))
                continue
            before = _before(entry)
            if before["host"] != after["host"] or set(before["gpus"]) != set(after["gpus"]):
                why = seating.why or self.result.lost.get(key, "")
                moves.append(_move("moved", *key, before, after, why))
            elif entry.shared != (seating.share is not None):
                moves.append(_move("resized", *key, before, after, seating.why))
            elif entry.port != self.ports[key]:
                moves.append(_move("readdressed", *key, before, after, "its port is now %d" % self.ports[key]))
        return sorted(moves, key=lambda move: (move["model"], move["replica"]))

    def _warnings(self, assignments: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
        contexts: t.Dict[str, t.Set[int]] = {}
        tight: t.Dict[str, int] = {}
        for entry in assignments:
            contexts.setdefault(entry["model"], set()).add(entry["context_tokens"])
            numbers = self.plans[entry["plan"]]["numbers"]
            if numbers["kv_cache_bytes"]["low"] < numbers["kv_needed_bytes"]:
                tight[entry["plan"]] = tight.get(entry["plan"], 0) + 1
        warnings = [
            "The replicas of %s have different contexts: %s tokens. Set context to give all the same."
            % (name, ", ".join(str(value) for value in sorted(values)))
            for name, values in sorted(contexts.items())
            if len(values) > 1
        ]
        warnings += ["%s is tight (%d of them): see the warnings of its plan." % item for item in sorted(tight.items())]
        return warnings


def _instance(seating: Seating, assignment: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """An entry of vllm_instances, as role vllm wants it."""
    wanted = seating.wanted
    settings = dict(wanted.options.get("settings") or {})
    if seating.share is not None:
        settings["gpu_memory_utilization"] = seating.share.fraction
    if seating.block.stages > 1:
        settings["tensor_parallel_size"] = assignment["tensor_parallel_size"]
        settings["pipeline_parallel_size"] = assignment["pipeline_parallel_size"]
    entry = dict(
        wanted.instance,
        name=assignment["instance"],
        model=wanted.source,
        context=str(assignment["context_tokens"]),
        concurrency=str(wanted.options.get("concurrency", "auto")),
        prefer=wanted.options.get("prefer", "balanced"),
        port=assignment["port"],
        settings=settings,
    )
    if "max_model_len" in settings or "max-model-len" in settings:
        entry["context"] = "auto"
    if assignment["gpus"]:
        entry["gpus"] = assignment["gpus"]
    if wanted.options.get("engine_version"):
        entry["version"] = wanted.options["engine_version"]
    return entry


def _ports(state: State, seatings: t.Sequence[Seating], base: int) -> t.Dict[t.Tuple[str, int], int]:
    """The fixed port of a model; else the one it had; else the lowest from the base that is free on the host."""
    fixed = {seating.wanted.port for seating in seatings if seating.wanted.port is not None}
    taken: t.Dict[int, t.Set[int]] = {}
    ports: t.Dict[t.Tuple[str, int], int] = {}

    def give(seating: Seating, port: int) -> None:
        ports[seating.wanted.name, seating.replica] = port
        taken.setdefault(seating.node.number, set()).add(port)

    later = []
    for seating in seatings:
        if seating.wanted.port is not None:
            give(seating, seating.wanted.port)
    for seating in seatings:
        former = seating.former
        if seating.wanted.port is not None:
            continue
        kept = former is not None and former.host == seating.node.name and former.port is not None
        if kept and former and former.port and former.port not in taken.get(seating.node.number, ()):
            give(seating, former.port)
        else:
            later.append(seating)
    for seating in later:
        port = base
        while port in fixed or port in seating.node.ports_taken or port in taken.get(seating.node.number, ()):
            port += 1
        if port > 65535:
            raise GpufleetError("port_base=%d leaves no port for %s." % (base, seating.wanted.name))
        give(seating, port)
    return ports


def _instances(seatings: t.Sequence[Seating]) -> t.Dict[t.Tuple[str, int], str]:
    """The model's name; ``name-2`` for a second replica on a host. What had a name on its host keeps it."""
    taken: t.Set[t.Tuple[int, str]] = set()
    names: t.Dict[t.Tuple[str, int], str] = {}
    for again in (False, True):
        for seating in seatings:
            key, node = (seating.wanted.name, seating.replica), seating.node
            if key in names:
                continue
            former = seating.former
            name = former.instance if former and former.host == node.name else ""
            if again:
                number, name = 1, seating.wanted.name
                while (node.number, name) in taken:
                    number += 1
                    name = "%s-%d" % (seating.wanted.name, number)
            if name and (node.number, name) not in taken:
                names[key] = name
                taken.add((node.number, name))
    return names


def _recorded(assignment: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {name: assignment[name] for name in ("model", "replica", "instance", "host", "gpus", "port", "share")}


def _before(former: Former) -> t.Dict[str, t.Any]:
    return {"host": former.host, "gpus": list(former.gpus)}


def _move(what: str, model: str, replica: int, before: t.Any, after: t.Any, why: str) -> t.Dict[str, t.Any]:
    return {"what": what, "model": model, "replica": replica, "before": before, "after": after, "reason": why}
