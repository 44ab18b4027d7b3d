# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the replicas go: what can stay stays, the rest goes to the best open place, the largest models first.

Then, if that is not enough, with fewer GPUs each. What still has no place is room.py's. docs/placement.md tells
why it is no solver.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import typing as t

from .fleet import Block, Fleet, Node, Slot
from .offers import Offer, Offers
from .state import Seating, State
from .wishes import Former, Wanted

Replica = t.Tuple[Wanted, int]
Score = t.Tuple[t.Any, ...]


@dataclasses.dataclass
class Result:
    state: State
    missing: t.List[Replica]
    lost: t.Dict[t.Tuple[str, int], str]  # why what was placed before did not stay
    former: t.Dict[t.Tuple[str, int], Former]
    gone: t.List[t.Tuple[Former, str]]  # what was placed before and is no longer wanted


class Search:
    def __init__(
        self,
        fleet: Fleet,
        models: t.Sequence[Wanted],
        offers: Offers,
        former: t.Sequence[Former] = (),
        sharing: bool = True,
        only: t.Optional[t.Sequence[Block]] = None,
    ) -> None:
        self.fleet, self.models, self.offers = fleet, models, offers
        self._sharing = sharing
        self._blocks = {wanted.name: self._allowed(wanted, fleet.blocks if only is None else only) for wanted in models}
        self._ties: t.Dict[t.Tuple[str, str], int] = {}
        self._sizes: t.Dict[str, t.Tuple[int, int]] = {}
        self.former = former

    def _allowed(self, wanted: Wanted, blocks: t.Sequence[Block]) -> t.List[Block]:
        """Blocks on which the model fits at all, on hosts that it may use."""
        allowed = {node.number for node in self.fleet.nodes if wanted.allows(node)}
        blocks = [block for block in blocks if block.node.number in allowed]
        return [block for block in blocks if self.offers.best(wanted, block.group)]

    def run(self) -> Result:
        best = self._attempt(thrifty=False, rounds=False)
        for thrifty, rounds in ((False, True), (True, False), (True, True)):
            if best.missing:
                other = self._attempt(thrifty, rounds)
                if self._shortage(other) < self._shortage(best):
                    best = other
        return best

    def _attempt(self, thrifty: bool, rounds: bool) -> Result:
        """Place all, largest first.

        ``thrifty``: with as few GPUs as will do. ``rounds``: the first replica of every model before any second one.
        """
        result = self.keep()
        state, waiting = result.state, []
        for wanted in self.models:
            numbers = [n for n in range(1, wanted.replicas + 1) if (wanted.name, n) not in state.seated]
            waiting.extend((wanted, number) for number in numbers)
        waiting.sort(key=lambda item: self.order(item, rounds))
        left: t.List[Replica] = []
        for round_thrifty in (True,) if thrifty else (False, True):
            heaps: t.Dict[str, Heap] = {}
            left = []
            for wanted, number in waiting:
                if self._return(result, wanted, number, round_thrifty):
                    continue
                if wanted.name not in heaps:
                    heaps[wanted.name] = self._open_places(state, wanted, round_thrifty)
                found = heaps[wanted.name].best(lambda block, w=wanted, o=round_thrifty: self._open(state, w, block, o))
                if found:
                    former = result.former.get((wanted.name, number))
                    state.add(Seating(wanted, number, found[0], tuple(found[1]), former=former))
                else:
                    left.append((wanted, number))
            waiting = left
            if not waiting:
                break
        result.missing = left
        return result

    def order(self, item: Replica, rounds: bool) -> t.Tuple[t.Any, ...]:
        """What is hardest to place comes first: what needs most GPUs, then what has the fewest places to go to."""
        wanted, number = item
        gpus, size = self.size(wanted)
        choice = len(self.places(wanted))
        return -wanted.priority, number if rounds else 0, -gpus, choice, -size, wanted.name, number

    def size(self, wanted: Wanted) -> t.Tuple[int, int]:
        """GPUs and bytes of the smallest offer."""
        if wanted.name not in self._sizes:
            groups = {block.group for block in self._blocks[wanted.name]}
            found = [offer for offer in (self.offers.best(wanted, group) for group in groups) if offer]
            self._sizes[wanted.name] = min(((offer.number, offer.rank[2]) for offer in found), default=(0, 0))
        return self._sizes[wanted.name]

    def _shortage(self, result: Result) -> t.List[t.Any]:
        """Worse when larger: by priority, the models without any replica, then the replicas that are missing."""
        short = []
        for priority in sorted({wanted.priority for wanted in self.models}, reverse=True):
            missing = [(wanted, number) for wanted, number in result.missing if wanted.priority == priority]
            placed = {name for name, _number in result.state.seated}
            short.append((len({wanted.name for wanted, _n in missing} - placed), len(missing)))
        return short

    # What was there before

    def keep(self) -> Result:
        """Everything of the placement before that is still wanted and still possible stays where it is."""
        state = State(self.fleet, self.offers)
        result = Result(state, [], {}, {}, [])
        wanted_by_name = {wanted.name: wanted for wanted in self.models}
        for former in self.former:
            wanted = wanted_by_name.get(former.model)
            if wanted is None:
                result.gone.append((former, "the model is no longer asked for"))
            elif former.replica > wanted.replicas:
                result.gone.append((former, "replicas is now %d" % wanted.replicas))
            elif (former.model, former.replica) not in result.former:
                key = (former.model, former.replica)
                result.former[key] = former
                why = self._stay(state, wanted, former)
                if why:
                    result.lost[key] = why
        return result

    def _stay(self, state: State, wanted: Wanted, former: Former) -> str:
        """Seat it where it was; the reason why not, else empty."""
        node = self.fleet.by_name.get(former.host)
        if node is None:
            return "host %s is gone" % former.host
        if not (wanted.allows_name(node.name) and wanted.allows_labels(node)):
            return "host %s is no longer allowed for it" % node.name
        if not state.allows(wanted, node, ported=former.port == wanted.port):
            return "host %s may not have another replica or its port" % node.name
        ids = set(former.gpus) or {"cpu"}
        slots = tuple(slot for slot in node.slots if slot.id in ids)
        if len(slots) != len(ids):
            missing = sorted(ids - {slot.id for slot in slots})
            return "%s of %s cannot be used any more" % (", ".join(missing), node.name)
        block = next((item for item in node.blocks if _spans(item, slots)), None)
        if block is not None and block.kind.variant != wanted.variant:
            return "it shall run with %s" % wanted.variant
        if block is None:
            return "its GPUs on %s are not joined" % node.name
        if former.shared:
            return self._stay_shared(state, wanted, former, block, slots[0])
        if any(state.tenants[slot.number] for slot in slots):
            return "its GPUs on %s are taken" % node.name
        if state.left(node) < len(slots):
            return "max_share of %s is used up" % node.name
        if wanted.wishes.gpus not in (None, len(slots)):
            return "it shall have %s GPUs" % wanted.wishes.gpus
        if all(slot.idle for slot in slots):
            plan = self.offers.plan(wanted, block, len(slots))
        else:
            plan = self.offers.plan_on(wanted, block, slots)
        if plan["refusal"]:
            return "it no longer fits: %s" % plan["refusal"]["message"]
        state.add(Seating(wanted, former.replica, block, slots, former=former))
        return ""

    def _stay_shared(self, state: State, wanted: Wanted, former: Former, block: Block, slot: Slot) -> str:
        share = self.offers.share(wanted, slot) if self._sharing else None
        if share is None:
            return "it shall not share a GPU any more"
        if share.claim(slot) > state.room(slot):
            return "its share of %s no longer fits" % slot.id
        state.add(Seating(wanted, former.replica, block, (slot,), share=share, former=former))
        return ""

    def _return(self, result: Result, wanted: Wanted, number: int, thrifty: bool) -> bool:
        """What had to leave its GPUs stays on its host if it can: the model's files are there."""
        former = result.former.get((wanted.name, number))
        node = self.fleet.by_name.get(former.host) if former else None
        if node is None:
            return False
        found = self.best_place(result.state, wanted, thrifty, [node])
        if found is None or found[0][0]:
            return False
        result.state.add(Seating(wanted, number, found[1], tuple(found[2]), former=former))
        return True

    # An open place

    def offer(self, wanted: Wanted, block: Block, thrifty: bool) -> t.Optional[Offer]:
        return (self.offers.least if thrifty else self.offers.best)(wanted, block.group)

    def score(self, state: State, wanted: Wanted, block: Block, offer: Offer) -> Score:
        """Less is better, and it never falls while a placement fills up, which is what Heap relies on.

        Enough for the wish; apart from other replicas; one block, not several in stages; the smallest GPUs that do;
        the smallest block that does, so that large ones stay whole; the emptiest host; a number drawn from the names.
        """
        node = block.node
        lacking, chained, size = offer.rank
        domain, here = state.crowding(wanted, node)
        fullness = state.fullness(node, size)
        return lacking, domain, here, chained, size, block.size, fullness, self.tie(wanted, node), block.slots[0].number

    def tie(self, wanted: Wanted, node: Node) -> int:
        """Rendezvous hashing: every model has its own order of equal hosts, which a new host does not shuffle."""
        key = (wanted.name, node.name)
        if key not in self._ties:
            digest = hashlib.blake2b(("%s\n%s" % key).encode(), digest_size=8).digest()
            self._ties[key] = int.from_bytes(digest, "big")
        return self._ties[key]

    def places(self, wanted: Wanted) -> t.List[Block]:
        """Blocks on which the model fits, on hosts that it may use; they need not be open."""
        return self._blocks[wanted.name]

    def _open_places(self, state: State, wanted: Wanted, thrifty: bool) -> Heap:
        def score(block: Block) -> t.Optional[Score]:
            offer = self.offer(wanted, block, thrifty)
            return self.score(state, wanted, block, offer) if offer else None

        return Heap(self.places(wanted), score)

    def _open(
        self, state: State, wanted: Wanted, block: Block, thrifty: bool
    ) -> t.Optional[t.Tuple[Block, t.List[Slot]]]:
        offer = self.offer(wanted, block, thrifty)
        slots = state.open_slots(block, offer.number) if offer and state.allows(wanted, block.node) else None
        return (block, slots) if slots else None

    def best_place(
        self,
        state: State,
        wanted: Wanted,
        thrifty: bool,
        nodes: t.Optional[t.Collection[Node]] = None,
        avoid: t.Any = None,
    ) -> t.Optional[t.Tuple[Score, Block, t.List[Slot]]]:
        """The best open place, by looking at all."""
        best = None
        for block in self.places(wanted):
            if (nodes is not None and block.node not in nodes) or block.node is avoid:
                continue
            offer = self.offer(wanted, block, thrifty)
            if offer is None or state.left(block.node) < offer.number or not state.allows(wanted, block.node):
                continue
            score = self.score(state, wanted, block, offer)
            if best is None or score < best[0]:
                slots = state.open_slots(block, offer.number)
                if slots:
                    best = (score, block, slots)
        return best


class Heap:
    """Places of one model, best first.

    Scores only rise while places fill up, so one that is still right when it comes to the top is the best there is;
    ``score`` gives None for a place that can never be one again.
    """

    def __init__(self, items: t.Iterable[t.Any], score: t.Callable[[t.Any], t.Optional[Score]]) -> None:
        self._score = score
        self._entries: t.List[t.Tuple[Score, int, t.Any]] = []
        self._number = 0
        for item in items:
            self._append(item, self._entries.append)
        heapq.heapify(self._entries)

    def push(self, item: t.Any) -> None:
        self._append(item, lambda entry: heapq.heappush(self._entries, entry))

    def _append(self, item: t.Any, append: t.Callable[[t.Any], None]) -> None:
        score = self._score(item)
        if score is not None:
            self._number += 1
            append((score, self._number, item))

    def best(self, usable: t.Callable[[t.Any], t.Any] = lambda item: item) -> t.Any:
        """What ``usable`` makes of the best item, of the first for which that is anything; None at the end.

        The item stays: the next call scores it again. One that is of no use now never will be.
        """
        while self._entries:
            score, number, item = self._entries[0]
            now = self._score(item)
            if now is None:
                heapq.heappop(self._entries)
            elif now != score:
                heapq.heapreplace(self._entries, (now, number, item))
            else:
                made = usable(item)
                if made:
                    return made
                heapq.heappop(self._entries)
        return None


def _spans(block: Block, slots: t.Sequence[Slot]) -> bool:
    if block.stages > 1 and len(slots) != len(block.slots):
        return False
    return all(slot in block.slots for slot in slots)
