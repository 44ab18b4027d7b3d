# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a model would get on a kind of hardware: plans by vllm_plan's planner, each made once and remembered.

Thousands of hosts are of a few kinds, so a fleet needs some hundred plans, not one per host and model.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from .. import devices, vllm
from ..fit import COMFORTABLE_CONTEXT, MOST_UTILIZATION
from .fleet import CPU, Block, Group, Slot, kind_of
from .wishes import Wanted
from ..units import MIB, round_up

# Of a shared GPU this much stays unclaimed, as in a plan of vllm_plan: what grows after the start.
_SHARE_HEADROOM = 0.02
_UNIFIED_HEADROOM = 0.10
# A share gives a model that states no context at least this much, or all that it has.
_SHARED_CONTEXT = 8192

# Claims of others are counted in such steps, so that GPUs whose sizes differ by a few MiB have the same plans.
_CLAIM_STEP = 128 * MIB

Plan = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Offer:
    """A number of slots of a group of blocks, and the plan of a model on them."""

    number: int
    plan: Plan
    # Worse when larger: short of the wish; in stages; GPU memory it occupies, where a GPU more counts as a tenth more.
    rank: t.Tuple[bool, bool, int]


def _stages(plan: Plan) -> int:
    return int(plan["settings"].get("pipeline_parallel_size", 1))


class Share(t.NamedTuple):
    """A part of a GPU."""

    fraction: float  # gpu_memory_utilization
    outside: int  # bytes of the CUDA context, at most, which are not part of it

    def claim(self, slot: Slot) -> int:
        """Bytes of the slot that the tenant may take at most."""
        return math.ceil(slot.total * self.fraction) + self.outside


def tight(plan: Plan) -> bool:
    numbers = plan["numbers"]
    return bool(numbers["kv_cache_bytes"]["low"] < numbers["kv_needed_bytes"])


def content(plan: Plan, wanted: Wanted) -> bool:
    """Whether the plan gives what was wished, or with ``auto`` what a plan calls comfortable."""
    numbers, wishes = plan["numbers"], wanted.wishes
    if tight(plan):
        return False
    if wishes.context is None and plan["settings"]["max_model_len"] < min(
        numbers["context_limit_tokens"], COMFORTABLE_CONTEXT
    ):
        return False
    return bool(wishes.concurrency is None or numbers["max_concurrency_low"] >= wishes.concurrency)


class Offers:
    def __init__(self, groups: t.Mapping[Group, Block]) -> None:
        self._groups = groups
        self._best: t.Dict[t.Any, t.Tuple[t.Optional[Offer], t.Optional[Plan]]] = {}
        self._least: t.Dict[t.Any, t.Optional[Offer]] = {}
        self._plans: t.Dict[t.Any, Plan] = {}
        self._shares: t.Dict[t.Any, t.Optional[Share]] = {}
        self.made = 0  # plans really made

    def best(self, wanted: Wanted, group: Group) -> t.Optional[Offer]:
        """What vllm_plan would choose of an empty block of the group; None where the model does not fit."""
        return self._chosen(wanted, group)[0]

    def refused(self, wanted: Wanted, group: Group) -> t.Optional[Plan]:
        """The plan that was refused on a block of the group; None where the model fits, or was not tried."""
        return self._chosen(wanted, group)[1]

    def _chosen(self, wanted: Wanted, group: Group) -> t.Tuple[t.Optional[Offer], t.Optional[Plan]]:
        key = (wanted.name, group)
        if key not in self._best:
            self._best[key] = self._choose(wanted, group)
        return self._best[key]

    def _choose(self, wanted: Wanted, group: Group) -> t.Tuple[t.Optional[Offer], t.Optional[Plan]]:
        kind, size, stages = group
        if kind.variant != wanted.variant or not size:
            return None, None
        if stages > 1 and not self._may_chain(wanted, group):
            return None, None
        block = self._groups[group]
        plan = self._make(wanted, block, [slot for slot in block.slots if slot.idle], None)
        if plan["refusal"]:
            return None, plan
        return self._offer(wanted, group, max(1, len(plan["devices"])), plan), None

    def _may_chain(self, wanted: Wanted, group: Group) -> bool:
        """Stages over several blocks only where one block cannot hold the model, and nobody fixed the split."""
        if wanted.wishes.gpus is not None and wanted.wishes.gpus != group[1]:
            return False
        if wanted.wishes.fixed("tensor_parallel_size") or wanted.wishes.fixed("pipeline_parallel_size"):
            return False
        node = self._groups[group].node
        return not any(
            self.best(wanted, block.group)
            for block in node.blocks
            if block.stages == 1 and block.kind.name == group[0].name
        )

    def _offer(self, wanted: Wanted, group: Group, number: int, plan: Plan) -> Offer:
        block = self._groups[group]
        size = number * min(slot.total for slot in block.slots) * (9 + number) // 10
        return Offer(number, plan, (not content(plan, wanted), block.stages > 1, size))

    def least(self, wanted: Wanted, group: Group) -> t.Optional[Offer]:
        """The offer with the fewest slots that still keeps the context asked for, whatever ``prefer`` says."""
        key = (wanted.name, group)
        if key not in self._least:
            self._least[key] = self._find_least(wanted, group)
        return self._least[key]

    def _find_least(self, wanted: Wanted, group: Group) -> t.Optional[Offer]:
        best = self.best(wanted, group)
        if best is None or best.number == 1 or wanted.wishes.gpus is not None or group[2] > 1:
            return best
        for number in range(1, best.number):
            plan = self.plan(wanted, self._groups[group], number)
            if plan["refusal"] or tight(plan) or _stages(plan) > _stages(best.plan):
                continue
            concurrency = wanted.wishes.concurrency
            if concurrency is None or plan["numbers"]["max_concurrency_low"] >= concurrency:
                return self._offer(wanted, group, number, plan)
        return best

    def plan(self, wanted: Wanted, block: Block, number: int) -> Plan:
        """The plan on ``number`` slots of blocks like this one."""
        key = (wanted.name, block.group, number)
        if key not in self._plans:
            like = self._groups[block.group]
            idle = [slot for slot in like.slots if slot.idle]
            self._plans[key] = self._make(wanted, like, pick(like, idle, number) or idle[:number], number)
        return self._plans[key]

    def plan_on(self, wanted: Wanted, block: Block, slots: t.Sequence[Slot]) -> Plan:
        """The plan on just these slots: for those that are no longer idle."""
        key = (wanted.name, block.stages, kind_of(slots, block.kind.linked), len(slots), "these")
        if key not in self._plans:
            self._plans[key] = self._make(wanted, block, slots, len(slots))
        return self._plans[key]

    def shared_plan(self, wanted: Wanted, slot: Slot, share: float, others: int) -> Plan:
        """The plan on a share of a GPU beside ``others`` bytes that its other tenants claim."""
        others = round_up(others, _CLAIM_STEP)
        key = (wanted.name, slot.kind, share, others)
        if key not in self._plans:
            claims = [{"device": slot.id, "bytes": others}] if others else []
            self._plans[key] = self._plan_share(wanted, slot, slot.node.facts([slot]), share, claims)
        return self._plans[key]

    def share(self, wanted: Wanted, slot: Slot) -> t.Optional[Share]:
        """The smallest gpu_memory_utilization, in hundredths, that gives the model what it needs; None: no share does.

        Worked out on the GPU with nobody on it. More memory never gives less, so the smallest is found by halving.
        """
        key = (wanted.name, slot.empty_kind)
        if key not in self._shares:
            self._shares[key] = self._find_share(wanted, slot) if _may_share(wanted, slot) else None
        return self._shares[key]

    def _find_share(self, wanted: Wanted, slot: Slot) -> t.Optional[Share]:
        facts = slot.node.empty_facts(slot)
        fixed = wanted.wishes.fixed("gpu_memory_utilization")
        most = MOST_UTILIZATION if fixed is None else float(fixed)
        plan = self._plan_share(wanted, slot, facts, most, [])
        if not self._enough(wanted, plan):
            return None
        low, high = plan["numbers"]["weights_bytes_per_gpu"] * 100 // slot.total, round(most * 100)
        while fixed is None and high - low > 1:
            middle = (low + high) // 2
            tried = self._plan_share(wanted, slot, facts, middle / 100, [])
            if self._enough(wanted, tried):
                high, plan = middle, tried
            else:
                low = middle
        outside = int(plan["numbers"]["context_bytes"]["high"])
        return Share(high / 100 if fixed is None else most, outside)

    def _enough(self, wanted: Wanted, plan: Plan) -> bool:
        if plan["refusal"] or tight(plan):
            return False
        numbers, wishes = plan["numbers"], wanted.wishes
        least = min(numbers["context_limit_tokens"], _SHARED_CONTEXT)
        if wishes.context is None and plan["settings"]["max_model_len"] < least:
            return False
        return bool(wishes.concurrency is None or numbers["max_concurrency_low"] >= wishes.concurrency)

    def _plan_share(
        self, wanted: Wanted, slot: Slot, facts: t.Mapping[str, t.Any], share: float, claims: t.Sequence[t.Any]
    ) -> Plan:
        settings = dict(wanted.options.get("settings") or {})
        settings = {key: value for key, value in settings.items() if key.replace("-", "_") != "gpu_memory_utilization"}
        settings["gpu_memory_utilization"] = share
        return self.make(wanted, facts, slot.node.own_units, claims, settings=settings, gpus=[slot.id])

    def _make(self, wanted: Wanted, block: Block, slots: t.Sequence[Slot], number: t.Optional[int]) -> Plan:
        changes: t.Dict[str, t.Any] = {}
        if block.kind.variant == CPU:
            changes["gpus"] = "auto"
        elif block.stages > 1:
            changes["settings"] = dict(
                wanted.options.get("settings") or {},
                tensor_parallel_size=len(slots) // block.stages,
                pipeline_parallel_size=block.stages,
            )
            changes["gpus"] = [slot.id for slot in slots]
        elif number is not None:
            changes["gpus"] = [slot.id for slot in slots]
        return self.make(wanted, block.node.facts(slots), block.node.own_units, block.node.claims, **changes)

    def make(
        self,
        wanted: Wanted,
        hardware: t.Mapping[str, t.Any],
        own_units: t.Sequence[str] = (),
        claims: t.Sequence[t.Mapping[str, t.Any]] = (),
        **changes: t.Any,
    ) -> Plan:
        self.made += 1
        options = dict(wanted.options, variant=wanted.variant, own_units=own_units, reserved=claims, **changes)
        return vllm.make_plan(hardware, wanted.facts, options)


def _may_share(wanted: Wanted, slot: Slot) -> bool:
    wishes = wanted.wishes
    split = (wishes.fixed("tensor_parallel_size") or 1) * (wishes.fixed("pipeline_parallel_size") or 1)
    return (
        wanted.share
        and slot.seat is not None
        and not devices.exclusive(slot.seat.device)
        and wanted.variant != CPU
        and wishes.gpus in (None, 1)
        and split == 1
        and wishes.fixed("kv_cache_memory_bytes") is None
    )


def shareable(slot: Slot) -> int:
    """Bytes of the slot that tenants may claim together."""
    unified = slot.seat is not None and slot.seat.device.unified
    return slot.free - int(slot.total * (_UNIFIED_HEADROOM if unified else _SHARE_HEADROOM))


def pick(block: Block, free: t.Sequence[Slot], number: int) -> t.Optional[t.List[Slot]]:
    """``number`` of the free slots of a block that belong together; None where there are none."""
    if len(free) < number or (block.stages > 1 and len(free) != number):
        return None
    seats = [slot.seat for slot in free if slot.seat]
    if not seats or block.stages > 1:
        return list(free)
    chosen, linked = devices.choose(seats, number, free[0].node.host.nvswitches)
    if block.kind.linked and not linked:
        return None
    ids = {seat.device.id for seat in chosen}
    return [slot for slot in free if slot.id in ids]
