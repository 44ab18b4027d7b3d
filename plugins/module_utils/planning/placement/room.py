# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Room for replicas that found no open place: beside what shares a GPU, where others moved away, beside what need not
have a whole GPU. In this order, so that the fewest running engines are touched."""

from __future__ import annotations

import typing as t

from .fleet import Block, Slot
from .offers import Offer, shareable, tight
from .search import Heap, Replica, Result, Score, Search
from .state import Seating, State
from .wishes import Wanted

# How many places are tried to be emptied for one replica, cheapest first.
_MOST_TRIALS = 12

_Place = t.Tuple[Slot, Block]


class Room:
    def __init__(self, search: Search, result: Result) -> None:
        self.search, self.result, self.state = search, result, result.state
        self._beside: t.Dict[str, Heap] = {}
        self._among: t.Dict[str, Heap] = {}

    def find(self, sharing: bool, moves: bool) -> None:
        if sharing:
            self._each(self._share_beside)
        if moves:
            self._each(self._make_room)
        if sharing:
            self._each(self._share_with)
        self._unshare()

    def _each(self, step: t.Callable[[Wanted, int], bool]) -> None:
        """Try a step on every replica without a place; where it fails for one of a model, it does for the next."""
        left: t.List[Replica] = []
        hopeless = set()
        for wanted, number in sorted(self.result.missing, key=lambda item: self.search.order(item, True)):
            if wanted.name in hopeless or not step(wanted, number):
                hopeless.add(wanted.name)
                left.append((wanted, number))
        self.result.missing = left

    # A shared GPU

    def _share_beside(self, wanted: Wanted, number: int) -> bool:
        """Room beside what shares a GPU already, or beside what is not ours."""
        if wanted.name not in self._beside:
            self._beside[wanted.name] = Heap(self._slots(wanted), lambda place: self._score_beside(wanted, place))
        place = self._beside[wanted.name].best(lambda found: found if self._open(wanted, found) else None)
        if place is None:
            return False
        slot, block = place
        self._add(wanted, number, block, slot)
        return True

    def _add(self, wanted: Wanted, number: int, block: Block, slot: Slot) -> None:
        share = self.search.offers.share(wanted, slot)
        former = self.result.former.get((wanted.name, number))
        self.state.add(Seating(wanted, number, block, (slot,), share=share, former=former))

    def _score_beside(self, wanted: Wanted, place: _Place) -> t.Optional[Score]:
        slot = place[0]
        if slot.idle and not self.state.tenants[slot.number]:
            return None  # an open place, which was not good enough
        room = self.state.room(slot)
        share = self.search.offers.share(wanted, slot) if room else None
        left = room - share.claim(slot) if share else -1
        return self._score(wanted, slot, left) if left >= 0 else None

    def _share_with(self, wanted: Wanted, number: int) -> bool:
        """A part of a GPU that another model has to itself and does not need."""
        if self._share_beside(wanted, number):  # there may be room now that others share
            return True
        if wanted.name not in self._among:
            self._among[wanted.name] = Heap(self._slots(wanted), lambda place: self._score_among(wanted, place))
        place = self._among[wanted.name].best(lambda found: found if self._open(wanted, found) else None)
        if place is None:
            return False
        slot, block = place
        tenant = self.state.tenants[slot.number][0]
        tenant.share = self.search.offers.share(tenant.wanted, slot)
        tenant.why = "%s needs a part of its GPU" % wanted.name
        self._add(wanted, number, block, slot)
        for other in self.search.models:
            if other.name in self._beside and other.allows(slot.node):
                self._beside[other.name].push(place)
        return True

    def _score_among(self, wanted: Wanted, place: _Place) -> t.Optional[Score]:
        slot = place[0]
        tenants = self.state.tenants[slot.number]
        if len(tenants) != 1 or tenants[0].share is not None or len(tenants[0].slots) != 1:
            return None
        ours = self.search.offers.share(wanted, slot)
        theirs = self.search.offers.share(tenants[0].wanted, slot) if ours else None
        left = shareable(slot) - theirs.claim(slot) - ours.claim(slot) if ours and theirs else -1
        return self._score(wanted, slot, left) if left >= 0 else None

    def _score(self, wanted: Wanted, slot: Slot, left: int) -> Score:
        """Apart from other replicas, then where most is left."""
        return self.state.crowding(wanted, slot.node) + (
            -left / slot.total,
            self.search.tie(wanted, slot.node),
            slot.number,
        )

    def _open(self, wanted: Wanted, place: _Place) -> bool:
        return self.state.allows(wanted, place[0].node)

    def _slots(self, wanted: Wanted) -> t.Iterator[_Place]:
        for node in self.search.fleet.nodes:
            if wanted.allows(node):
                for block in node.blocks:
                    if block.stages == 1:
                        for slot in block.slots:
                            yield slot, block

    def _unshare(self) -> None:
        """Who shares a GPU with nobody any more gets the whole of it."""
        for key in sorted(self.state.seated):
            seating = self.state.seated[key]
            slot = seating.slots[0]
            if seating.share is None or len(self.state.tenants[slot.number]) > 1 or not slot.idle:
                continue
            plan = self.search.offers.plan(seating.wanted, seating.block, 1)
            if not plan["refusal"] and not tight(plan):
                seating.share, seating.why = None, "it has the GPU to itself now"

    # Moving others

    def _make_room(self, wanted: Wanted, number: int) -> bool:
        """Move as few others as possible away, if all of them find an open place elsewhere."""
        trials = []
        for block in self.search.places(wanted):
            offer = self.search.offers.least(wanted, block.group)
            if offer is None or not self.state.allows(wanted, block.node):
                continue
            leaving = self._leaving(block, offer.number)
            if leaving is None or any(item.wanted is wanted for item in leaving):
                continue
            running = sum(item.former is not None for item in leaving)
            score = self.search.score(self.state, wanted, block, offer)
            trials.append(((score[0], running, len(leaving), score), block, offer, leaving))
        trials.sort(key=lambda trial: trial[0])
        return any(self._try(wanted, number, *trial[1:]) for trial in trials[:_MOST_TRIALS])

    def _leaving(self, block: Block, number: int) -> t.Optional[t.List[Seating]]:
        """The fewest tenants whose going leaves ``number`` slots of the block open."""
        if block.size < number:
            return None
        tenants: t.List[Seating] = []
        for slot in block.slots:
            tenants += [item for item in self.state.tenants[slot.number] if slot.idle and item not in tenants]
        tenants.sort(key=lambda item: (item.former is not None, len(item.slots), item.wanted.name, item.replica))
        leaving: t.List[Seating] = []
        while len(self._left_by(block, leaving)) < number or self._over(block, leaving, number):
            if len(leaving) == len(tenants):
                return None
            leaving.append(tenants[len(leaving)])
        return leaving

    def _left_by(self, block: Block, leaving: t.Sequence[Seating]) -> t.List[Slot]:
        return [
            slot
            for slot in block.slots
            if slot.idle and all(tenant in leaving for tenant in self.state.tenants[slot.number])
        ]

    def _over(self, block: Block, leaving: t.Sequence[Seating], number: int) -> bool:
        """Whether the host's max_share would be exceeded."""
        freed = {slot.number for tenant in leaving for slot in tenant.slots}
        return number > self.state.left(block.node) + len(freed)

    def _try(self, wanted: Wanted, number: int, block: Block, offer: Offer, leaving: t.Sequence[Seating]) -> bool:
        state = self.state
        for seating in leaving:
            state.remove(seating)
        done: t.List[Seating] = []
        slots = state.open_slots(block, offer.number)
        if slots:
            former = self.result.former.get((wanted.name, number))
            state.add(Seating(wanted, number, block, tuple(slots), former=former))
            for seating in sorted(leaving, key=lambda item: (-len(item.slots), item.wanted.name, item.replica)):
                moved = self._elsewhere(seating, "makes room for %s on %s" % (wanted.name, block.node.name))
                if moved is None:
                    break
                state.add(moved)
                done.append(moved)
            if len(done) == len(leaving):
                return True
            state.remove(state.seated[wanted.name, number])
        for seating in done:
            state.remove(seating)
        for seating in leaving:
            state.add(seating)
        return False

    def _elsewhere(self, seating: Seating, why: str) -> t.Optional[Seating]:
        for thrifty in (False, True):
            found = self.search.best_place(self.state, seating.wanted, thrifty)
            if found:
                return Seating(
                    seating.wanted, seating.replica, found[1], tuple(found[2]), former=seating.former, why=why
                )
        return None


def find_room(search: Search, result: Result, sharing: bool, moves: bool) -> State:
    """Places for what has none, as far as there are any; ``result.missing`` keeps the rest."""
    Room(search, result).find(sharing, moves)
    return result.state
