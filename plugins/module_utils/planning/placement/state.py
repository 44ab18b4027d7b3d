# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who sits where while a placement is worked out, and which places are open to whom."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from .fleet import Block, Fleet, Node, Slot
from .offers import Offers, Share, pick, shareable
from .wishes import Former, Wanted


@dataclasses.dataclass(eq=False)
class Seating:
    """One replica in its place."""

    wanted: Wanted
    replica: int
    block: Block
    slots: t.Tuple[Slot, ...]
    share: t.Optional[Share] = None  # of the one GPU; None: whole GPUs
    former: t.Optional[Former] = None  # where it was before
    why: str = ""

    @property
    def node(self) -> Node:
        return self.block.node


class State:
    """The seatings so far. Every change goes through ``add`` and ``remove``."""

    def __init__(self, fleet: Fleet, offers: Offers) -> None:
        self.fleet = fleet
        self.offers = offers
        self.seated: t.Dict[t.Tuple[str, int], Seating] = {}
        self.tenants: t.List[t.List[Seating]] = [[] for _slot in fleet.slots]
        self.used = [0] * len(fleet.nodes)  # slots with a tenant
        self.used_bytes = [0] * len(fleet.nodes)
        self._totals = [node.total for node in fleet.nodes]
        self.on_node: t.Counter[t.Tuple[str, int]] = collections.Counter()
        self.in_domain: t.Counter[t.Tuple[str, str]] = collections.Counter()
        self.ports: t.Counter[t.Tuple[int, int]] = collections.Counter()  # fixed ones

    def add(self, seating: Seating) -> None:
        self.seated[seating.wanted.name, seating.replica] = seating
        for slot in seating.slots:
            if not self.tenants[slot.number]:
                self.used[slot.node.number] += 1
                self.used_bytes[slot.node.number] += slot.total
            self.tenants[slot.number].append(seating)
        self._count(seating, 1)

    def remove(self, seating: Seating) -> None:
        del self.seated[seating.wanted.name, seating.replica]
        for slot in seating.slots:
            self.tenants[slot.number].remove(seating)
            if not self.tenants[slot.number]:
                self.used[slot.node.number] -= 1
                self.used_bytes[slot.node.number] -= slot.total
        self._count(seating, -1)

    def _count(self, seating: Seating, by: int) -> None:
        wanted, node = seating.wanted, seating.node
        self.on_node[wanted.name, node.number] += by
        if wanted.spread_over:
            self.in_domain[wanted.name, node.labels.get(wanted.spread_over, "")] += by
        if wanted.port is not None:
            self.ports[node.number, wanted.port] += by

    def allows(self, wanted: Wanted, node: Node, ported: bool = False) -> bool:
        """Whether the host takes a replica more, as far as the model's own constraints go.

        ``ported``: it runs there already, so that its port is taken by itself.
        """
        if wanted.spread == "require" and self.on_node[wanted.name, node.number]:
            return False
        if wanted.port is None:
            return True
        return not self.ports[node.number, wanted.port] and (ported or wanted.port not in node.ports_taken)

    def free(self, block: Block) -> t.List[Slot]:
        """Idle slots of a block that nobody has."""
        return [slot for slot in block.slots if slot.idle and not self.tenants[slot.number]]

    def left(self, node: Node) -> int:
        return node.limit - self.used[node.number]

    def open_slots(self, block: Block, number: int) -> t.Optional[t.List[Slot]]:
        """Slots of the block for ``number`` more; None where there is no room."""
        if self.left(block.node) < number:
            return None
        free = self.free(block)
        return pick(block, free, number) if len(free) >= number else None

    def fullness(self, node: Node, more: int = 0) -> float:
        """Share of the host's GPU memory that is taken, with ``more`` bytes."""
        return (self.used_bytes[node.number] + more) / (self._totals[node.number] or 1)

    def crowding(self, wanted: Wanted, node: Node) -> t.Tuple[int, int]:
        """How many replicas the host's domain and the host have already."""
        domain = self.in_domain[wanted.name, node.labels.get(wanted.spread_over, "")] if wanted.spread_over else 0
        return (0, 0) if wanted.spread == "off" else (domain, self.on_node[wanted.name, node.number])

    def claimed(self, slot: Slot, but: t.Optional[Seating] = None) -> int:
        """Bytes that the tenants of a slot claim, without those of ``but``."""
        return sum(
            slot.total if tenant.share is None else tenant.share.claim(slot)
            for tenant in self.tenants[slot.number]
            if tenant is not but
        )

    def room(self, slot: Slot) -> int:
        """Bytes that further tenants may claim; 0 where somebody has the whole GPU."""
        if not self.tenants[slot.number] and self.left(slot.node) < 1:
            return 0
        return max(0, shareable(slot) - self.claimed(slot))
