# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why replicas have no place, and the smallest addition that would give them one.

Every remedy is tried out on the placement as it is; what is offered would do, for each model by itself.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .. import gpus
from .fleet import CPU, Block, Node
from .offers import Offer, Offers, Plan, tight
from .room import find_room
from .search import Result, Search
from .state import Seating, State
from .wishes import Wanted
from ..units import ceil_div, count, gib
from ..wishes import read_wishes

# code -> what it means; the module's documentation lists them.
CODES = {
    "no_host": "No host of the fleet is one that the model may use.",
    "does_not_fit": "The model fits no GPUs of the hosts that it may use.",
    "no_place": "It would fit, but the GPUs are taken, or a constraint keeps it away from those that are not.",
}

# What is offered where a fleet has nothing that would do.
_CATALOGUE = ("L4", "L40S", "A100 80GB", "H100 80GB", "H200", "B200")
_NUMBERS = (1, 2, 4, 8)
_FP8_CAPABILITY = (8, 9)
_SHORTEST_CONTEXT = 4096
# Remedies of a single plan that do not change the hardware.
_ON_SAME_HARDWARE = ("context:", "settings.", "leave settings", "an FP8", "an AWQ", "free the memory")


class Refusals:
    def __init__(self, search: Search, result: Result, sharing: str, moves: bool = True) -> None:
        self.search, self.result, self.state = search, result, result.state
        self.fleet, self.offers = search.fleet, search.offers
        self._sharing, self._moves = sharing == "needed", moves
        self._open = [block for block in self.fleet.blocks if self.state.free(block) and self.state.left(block.node)]

    def write(self) -> t.List[t.Dict[str, t.Any]]:
        missing: t.Dict[str, t.List[int]] = {}
        models = {wanted.name: wanted for wanted, _number in self.result.missing}
        for wanted, number in self.result.missing:
            missing.setdefault(wanted.name, []).append(number)
        return [self._refusal(models[name], sorted(missing[name])) for name in sorted(missing)]

    def _refusal(self, wanted: Wanted, numbers: t.List[int]) -> t.Dict[str, t.Any]:
        allowed = [node for node in self.fleet.nodes if wanted.allows(node)]
        addition, texts = self._addition(wanted, allowed, len(numbers))
        code, message, short, remedies = self._reason(wanted, allowed, len(numbers), addition)
        cheap = self._cheap(wanted, numbers)
        # Of a kind that was tried out on the whole fleet, what the plan says of one host is not said again.
        said = tuple(start for start in _ON_SAME_HARDWARE if any(text.startswith(start) for text in cheap))
        remedies = cheap + [text for text in remedies if not text.startswith(said)] + texts
        placed = wanted.replicas - len(numbers)
        if placed:
            remedies.append("replicas: %d" % placed)
        return {
            "model": wanted.name,
            "code": code,
            "message": message,
            "short_bytes": short,
            "replicas": wanted.replicas,
            "missing": len(numbers),
            "remedies": list(dict.fromkeys(remedies)),
            "addition": addition,
        }

    def _reason(
        self, wanted: Wanted, allowed: t.Sequence[Node], missing: int, addition: t.Optional[t.Mapping[str, t.Any]]
    ) -> t.Tuple[str, str, t.Optional[int], t.List[str]]:
        if not allowed:
            return "no_host", "%s: no host of the fleet is %s." % (wanted.name, _constraints(wanted)), None, []
        which = "%s of %s" % (missing, count(wanted.replicas, "replica"))
        fitting = self.search.places(wanted)
        if not fitting:
            closest = self._closest(wanted, allowed)
            if closest:
                block, plan = closest
                refusal = plan["refusal"]
                message = "%s fits no GPUs of the %s that it may use. Closest is %s (%s): %s" % (
                    wanted.name, count(len(allowed), "host"), block.node.name, block.kind.text(block.size),
                    refusal["message"],
                )  # fmt: skip
                same = [text for text in refusal["remedies"] if text.startswith(_ON_SAME_HARDWARE)]
                return "does_not_fit", message, refusal["short_bytes"], same
            message = "%s: on the %s that it may use every GPU is kept, broken or in use by others." % (
                wanted.name, count(len(allowed), "host")
            )  # fmt: skip
            return "no_place", message, None, []
        needs = ""
        if addition and addition["gpus"]:
            needs = " A replica needs %d x %s or the like." % (addition["gpus_per_replica"], addition["gpu"])
        message = "%s: %s without a place.%s Of the %s that it may use, %s." % (
            wanted.name, which, needs, count(len(allowed), "host"), self._state_of(wanted, allowed)
        )  # fmt: skip
        return "no_place", message, None, []

    def _state_of(self, wanted: Wanted, allowed: t.Sequence[Node]) -> str:
        names = {node.name for node in allowed}
        open_hosts = sorted({block.node.name for block in self._open if block.node.name in names})
        if not open_hosts:
            return "none has a free GPU" if wanted.variant != CPU else "none is free"
        listed = ", ".join(open_hosts[:3]) + (" and %d more" % (len(open_hosts) - 3) if len(open_hosts) > 3 else "")
        if all(not self.state.allows(wanted, self.fleet.by_name[name]) for name in open_hosts):
            why = "a replica or its port is there already" if wanted.port is not None else "a replica is there already"
            return "%s %s free, but %s" % (listed, "is" if len(open_hosts) == 1 else "are", why)
        return "%s %s free GPUs, but not enough of a kind that fits, together" % (
            listed, "has" if len(open_hosts) == 1 else "have"
        )  # fmt: skip

    def _closest(self, wanted: Wanted, allowed: t.Sequence[Node]) -> t.Optional[t.Tuple[Block, Plan]]:
        """The block whose plan is least short; one that is refused for another reason only where all are."""
        found = []
        for group in {block.group for node in allowed for block in node.blocks if block.stages == 1}:
            plan = self.offers.refused(wanted, group)
            block = next(item for node in allowed for item in node.blocks if item.group == group)
            if plan:
                short = plan["refusal"]["short_bytes"]
                ranks = len(plan["devices"]) or 1
                found.append((short is None, (short or 0) * ranks, -block.size, block.node.number, block, plan))
        if not found:
            return None
        best = min(found, key=lambda item: item[:4])
        return best[4], best[5]

    # What costs nothing

    def _cheap(self, wanted: Wanted, numbers: t.Sequence[int]) -> t.List[str]:
        """Other wishes that the fleet as it is would meet."""
        found = []
        if not self._sharing and self._rooms(wanted, numbers, True, False):
            found.append("sharing: needed (GPUs that other models do not need whole are shared)")
        if not self._moves and self._rooms(wanted, numbers, self._sharing, True):
            found.append("moves: true (running replicas may move to other hosts)")
        if wanted.spread == "require" and self._fits(dataclasses.replace(wanted, spread="prefer"), numbers):
            found.append("spread: prefer (several replicas on one host)")
        if wanted.hosts or wanted.labels:
            hosts = self._fits(dataclasses.replace(wanted, hosts=(), labels={}), numbers)
            if hosts:
                found.append("allow %s in hosts and labels" % ", ".join(sorted(hosts)[:5]))
        if wanted.wishes.gpus is not None and self._fits(self._changed(wanted, gpus="auto"), numbers):
            found.append("gpus: auto")
        context = (wanted.wishes.context or 0) // 2
        while context >= _SHORTEST_CONTEXT and wanted.wishes.fixed("max_model_len") is None:
            if self._fits(self._changed(wanted, context=context), numbers):
                found.append("context: %d" % context)
                break
            context //= 2
        if not wanted.facts.get("quantization") and not wanted.wishes.fixed("quantization"):
            settings = dict(wanted.options.get("settings") or {}, quantization="fp8")
            eight = [block for block in self._open if (block.kind.capability or (0, 0)) >= _FP8_CAPABILITY]
            hosts = self._fits(self._changed(wanted, settings=settings), numbers, eight)
            if hosts:
                found.append(
                    "an FP8 checkpoint of the model, or settings.quantization: fp8 (half the weights; fits on %s)"
                    % ", ".join(sorted(hosts)[:5])
                )
        return found

    def _changed(self, wanted: Wanted, **changes: t.Any) -> Wanted:
        options = dict(wanted.options, **changes)
        return dataclasses.replace(wanted, options=options, wishes=read_wishes(options, wanted.variant))

    def _copy(self) -> State:
        state = State(self.fleet, self.offers)
        for seating in self.state.seated.values():
            state.add(dataclasses.replace(seating))
        return state

    def _fits(
        self, wanted: Wanted, numbers: t.Sequence[int], blocks: t.Optional[t.Sequence[Block]] = None
    ) -> t.Set[str]:
        """The hosts on which all the missing replicas would find open places with these wishes; empty when not."""
        blocks = self._open if blocks is None else blocks
        if not blocks:
            return set()
        offers = Offers(self.fleet.groups)
        search = Search(self.fleet, [wanted], offers, only=blocks)
        state = self._copy()
        hosts = set()
        for number in numbers:
            found = search.best_place(state, wanted, True)
            if found is None:
                return set()
            state.add(Seating(wanted, number, found[1], tuple(found[2])))
            hosts.add(found[1].node.name)
        return hosts

    def _rooms(self, wanted: Wanted, numbers: t.Sequence[int], sharing: bool, moves: bool) -> bool:
        trial = Result(self._copy(), [(wanted, number) for number in numbers], {}, {}, [])
        find_room(self.search, trial, sharing, moves)
        return not trial.missing

    # What has to be bought

    def _addition(
        self, wanted: Wanted, allowed: t.Sequence[Node], missing: int
    ) -> t.Tuple[t.Optional[t.Dict[str, t.Any]], t.List[str]]:
        """The smallest hardware that would do, as a dictionary and in words."""
        like = self._host_like(wanted, allowed, missing) or self._host_like(
            dataclasses.replace(wanted, hosts=(), labels={}), self.fleet.nodes, missing
        )
        if like is None:
            return self._bought(wanted, missing)
        hosts, node, offer, block = like
        number = offer.number * missing
        memory = min(slot.total for slot in block.slots)
        addition = {
            "gpus": number if wanted.variant != CPU else 0,
            "gpus_per_replica": offer.number if wanted.variant != CPU else 0,
            "gpu": block.kind.name,
            "gpu_memory_bytes": memory,
            "hosts": hosts,
            "like": node.name,
        }
        texts = []
        if wanted.variant != CPU and allowed:
            texts += self._one_more(wanted, missing)
            together = ", %d together" % offer.number if offer.number > 1 else ""
            texts.append("%s of %s (%s)%s" % (_more(number, "GPU"), gib(memory), block.kind.name, together))
        where = " that hosts and labels allow" if not wanted.allows(node) else ""
        texts.append("%s like %s (%s)%s" % (_more(hosts, "host"), node.name, _hardware(node), where))
        return addition, texts

    def _one_more(self, wanted: Wanted, missing: int) -> t.List[str]:
        """A host that lacks only some of the GPUs for one replica."""
        if missing != 1:
            return []
        short = []
        for block in self.search.places(wanted):
            offer = self.offers.least(wanted, block.group)
            free = len(self.state.free(block))
            if offer and free and block.stages == 1 and offer.number > free and self.state.allows(wanted, block.node):
                short.append((offer.number - free, block.node.number, block, free))
        if not short:
            return []
        lacking, _number, block, free = min(short, key=lambda item: item[:2])
        return [
            "%s free on %s (%s), beside the %d that %s"
            % (_more(lacking, "GPU"), block.node.name, block.kind.name, free, "is" if free == 1 else "are")
        ]

    def _host_like(
        self, wanted: Wanted, nodes: t.Sequence[Node], missing: int
    ) -> t.Optional[t.Tuple[int, Node, Offer, Block]]:
        """How many more hosts like which one, the least memory first: worked out on that host emptied."""
        search = Search(self.fleet, [wanted], self.offers)
        kinds: t.Dict[t.Any, Node] = {}
        for node in nodes:
            if wanted.allows(node):
                kinds.setdefault((tuple(block.group for block in node.blocks), node.limit), node)
        found = []
        for node in kinds.values():
            state = State(self.fleet, self.offers)
            first, number = None, 0
            while number < missing:
                place = search.best_place(state, wanted, True, [node])
                if place is None:
                    break
                number += 1
                first = first or place
                state.add(Seating(wanted, number, place[1], tuple(place[2])))
            if first:
                hosts = ceil_div(missing, number)
                offer = self.offers.least(wanted, first[1].group)
                if offer:
                    found.append((hosts * node.total, node.number, hosts, node, offer, first[1]))
        if not found:
            return None
        best = min(found, key=lambda item: item[:2])
        return best[2], best[3], best[4], best[5]

    def _bought(self, wanted: Wanted, missing: int) -> t.Tuple[t.Optional[t.Dict[str, t.Any]], t.List[str]]:
        """Nothing of the kind is in the fleet: the smallest of what can be bought."""
        if wanted.variant == CPU:
            return None, []
        choices = [(number * gpus.find(name).memory_bytes, number, name) for name in _CATALOGUE for number in _NUMBERS]
        for _size, number, name in sorted(choices):
            plan = self.offers.make(wanted, gpus.hardware("%d x %s" % (number, name)))
            concurrency = wanted.wishes.concurrency or 0
            if plan["refusal"] or tight(plan) or plan["numbers"]["max_concurrency_low"] < concurrency:
                continue
            used = len(plan["devices"])
            addition = {
                "gpus": used * missing,
                "gpus_per_replica": used,
                "gpu": name,
                "gpu_memory_bytes": gpus.find(name).memory_bytes,
                "hosts": missing,
                "like": None,
            }
            return addition, ["%s with %d x %s" % (_more(missing, "host"), used, name)]
        return None, []


def _more(number: int, noun: str) -> str:
    return "%d more %s%s" % (number, noun, "" if number == 1 else "s")


def _hardware(node: Node) -> str:
    if not node.host.devices:
        return "%s, %s" % (node.host.cpu_model, gib(node.host.memory_total_bytes))
    names: t.Dict[str, int] = {}
    for slot in node.slots:
        if slot.seat:
            names[slot.seat.device.name] = names.get(slot.seat.device.name, 0) + 1
    return ", ".join("%d x %s" % (number, name) for name, number in sorted(names.items()))


def _constraints(wanted: Wanted) -> str:
    parts = []
    if wanted.hosts:
        parts.append("called %s" % " or ".join(wanted.hosts))
    parts += ["labelled %s=%s" % (key, "|".join(sorted(values))) for key, values in sorted(wanted.labels.items())]
    parts.append("without GPUs (variant: cpu)" if wanted.variant == CPU else "with GPUs")
    return " and ".join(parts)
