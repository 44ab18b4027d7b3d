# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several models on one host: contexts, requests at once, cache type and batch sizes that keep them on the GPUs."""

from __future__ import annotations

import dataclasses
import typing as t

from . import fit
from . import schedule
from . import memory
from ..facts import Host
from .fit import Placement
from .memory import Load
from .schedule import Card
from .variables import QUANTIZED_KV
from .wishes import ModelWish, Wishes
from ..units import GIB, MIB, ceil_div

FIT_TARGET_MIB = 1024  # llama-server's default, and what Ollama adds to a projector's size
FIRST_STEPS = (4096, 8192, 16384, 32768)  # contexts that are tried before more requests at once ...
LATER_STEPS = (65536, 131072, 262144, 524288, 1048576)  # ... and after


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One model as it would be loaded."""

    wish: ModelWish
    load: Load
    seats: t.Tuple[int, ...]  # positions of its GPUs
    margin: int
    predicted: int  # Ollama's own estimate
    auto_batch: int  # what Ollama would choose
    beside: bool  # Ollama loads it without removing those before it
    projector_on_gpu: bool
    low: Placement  # if the buffers take their most
    expected: Placement
    high: Placement  # their least

    @property
    def promised(self) -> bool:
        return self.low.full and self.beside


@dataclasses.dataclass(frozen=True)
class Solution:
    loaded: t.Tuple[Loaded, ...]
    together: int  # the first so many models stay loaded at the same time
    parallel: int
    kv_type: str
    flash: bool
    spread: bool

    @property
    def host_bytes(self) -> int:
        return sum(self._host(item) for item in self.loaded[: self.together]) or 0

    def most_host_bytes(self) -> int:
        return max([self.host_bytes] + [self._host(item) for item in self.loaded[self.together :]])

    @staticmethod
    def _host(item: Loaded) -> int:
        return item.expected.host + (0 if item.projector_on_gpu else item.wish.model.projector_bytes)


class Solver:
    def __init__(self, host: Host, cards: t.Sequence[Card], wishes: Wishes) -> None:
        self.host, self.cards, self.wishes = host, cards, wishes
        # One request at once per four cores: the rule of thumb, and a cap where nobody says how many clients there are.
        self.parallel_cap = max(1, host.cores // 4)
        self.room = host.memory_total_bytes - max(2 * GIB, host.memory_total_bytes // 10)

    def solve(self) -> Solution:
        """Contexts to 32768 first, then requests at once, then longer contexts; all only while everything fits."""
        wishes = self.wishes
        contexts = [self._context(wish, FIRST_STEPS[0]) for wish in wishes.models]
        parallel = wishes.parallel or 1
        together, kv_type, spread = self._base(contexts, parallel)

        def attempt(step: t.Optional[int], requests: int) -> t.Optional[Solution]:
            wanted = contexts if step is None else self._grown(contexts, step)
            found = self.evaluate(wanted, requests, kv_type, spread, together)
            return found if self.good(found) else None

        best = self.evaluate(contexts, parallel, kv_type, spread, together)
        if not self.good(best):
            return best
        open_contexts = any(wish.context is None for wish in wishes.models) and wishes.context is None

        def grow(steps: t.Sequence[int]) -> None:
            nonlocal best, contexts
            for step in steps if open_contexts and self.cards else ():
                found = attempt(step, best.parallel)
                if found is None:
                    return
                best, contexts = found, self._grown(contexts, step)

        grow(FIRST_STEPS[1:])
        several = any(not wish.model.single_request for wish in wishes.models)
        if wishes.parallel is None and several:
            for requests in range(best.parallel + 1, self.parallel_cap + 1):
                found = attempt(None, requests)
                if found is None:
                    break
                best = found
        grow(LATER_STEPS)
        return best

    def _base(self, contexts: t.Sequence[int], parallel: int) -> t.Tuple[int, str, bool]:
        """How many models stay loaded together, the cache type, and whether models are spread, at least contexts."""
        wishes = self.wishes
        types = [wishes.kv_type or "f16"]
        stated = wishes.context is not None or any(wish.context is not None for wish in wishes.models)
        if wishes.kv_type is None and stated and wishes.flash is not False and self.cards:
            types.append("q8_0")
        spreads = [False, True] if len(self.cards) > 1 else [False]
        if "OLLAMA_SCHED_SPREAD" in wishes.server:
            spreads = [bool(wishes.server["OLLAMA_SCHED_SPREAD"])]
        most = min(len(wishes.models), wishes.server.get("OLLAMA_MAX_LOADED_MODELS") or len(wishes.models))
        for together in range(most, 0, -1):
            for kv_type in types:
                for spread in spreads:
                    if self.good(self.evaluate(contexts, parallel, kv_type, spread, together), together):
                        return together, kv_type, spread
        return 1, types[0], spreads[0]

    def good(self, found: Solution, first: t.Optional[int] = None) -> bool:
        """Everything is promised to run on the GPUs, and the host's memory suffices for the rest."""
        items = found.loaded if first is None else found.loaded[:first]
        fits = self.host_need(found) <= self.room
        if not self.cards:
            return fits
        return fits and all(item.promised or _asked_for(item, self.wishes) for item in items)

    def host_need(self, found: Solution) -> int:
        """The host's memory that is taken at once; a GPU that has none of its own takes from it too."""
        shared = {index for index, card in enumerate(self.cards) if card.integrated}
        taken = [
            sum(used for seat, used in zip(item.seats, item.expected.used) if seat in shared) for item in found.loaded
        ]
        beside = sum(taken[: found.together])
        return found.most_host_bytes() + max([beside] + taken[found.together :])

    def _context(self, wish: ModelWish, step: int) -> int:
        wanted = wish.context or self.wishes.context or step
        trained = wish.model.trained_context
        return max(min(wanted, trained) if trained else wanted, wish.least_context)

    def _grown(self, contexts: t.Sequence[int], step: int) -> t.List[int]:
        return [
            max(old, self._context(wish, step)) if wish.context is None else old
            for old, wish in zip(contexts, self.wishes.models)
        ]

    def evaluate(self, contexts: t.Sequence[int], parallel: int, kv_type: str, spread: bool, together: int) -> Solution:
        """All models, the first ``together`` of them beside each other, each of the others on free GPUs."""
        wishes = self.wishes
        flash = wishes.flash
        if flash is None:
            flash = kv_type in QUANTIZED_KV or all(card.flash for card in self.cards)
        loaded: t.List[Loaded] = []
        taken = [0] * len(self.cards)
        for position, (wish, context) in enumerate(zip(wishes.models, contexts)):
            alone = position >= together or position == 0
            held = [0] * len(self.cards) if alone else taken
            requests = 1 if wish.model.single_request else parallel
            item = self._load(wish, Load(context, requests, 512, flash, kv_type, wishes.every_row), held, spread, alone)
            loaded.append(item)
            if position < together:
                for seat, used in zip(item.seats, item.low.used):
                    taken[seat] += used + (memory.CONTEXT.high if used else 0)
                if item.projector_on_gpu and item.seats:
                    taken[item.seats[0]] += wish.model.projector_bytes
        return Solution(tuple(loaded), together, parallel, kv_type, flash, spread)

    def _load(self, wish: ModelWish, load: Load, taken: t.Sequence[int], spread: bool, alone: bool) -> Loaded:
        model, cards = wish.model, self.cards
        free = [max(0, card.left() - held) for card, held in zip(cards, taken)]
        fixed = wish.parameters.get("num_gpu", self.wishes.layers)
        fixed = None if fixed is not None and fixed < 0 else fixed
        predicted = memory.scheduler_bytes(model, load)
        seats = [] if fixed == 0 else schedule.choose(free, cards, predicted, spread)
        if "main_gpu" in wish.parameters and seats:
            seats = [min(wish.parameters["main_gpu"], len(cards) - 1)]
        available = sum(free[seat] for seat in seats)
        chosen = [cards[seat] for seat in seats]
        auto = schedule.batch(load.context * load.parallel, predicted, available, load.flash, chosen)
        if model.task == "embed":
            auto = 512
        given = wish.parameters.get("num_batch")
        sizes = [given] if given else [size for size in (2048, 1024, 512) if size <= auto] or [auto]
        roomy = all(free[seat] >= model.projector_bytes + FIT_TARGET_MIB * MIB for seat in seats)
        on_gpu = bool(seats) and bool(model.projector_bytes) and roomy
        margin = self._margin(wish, on_gpu)
        options: t.List[Loaded] = []
        for size in sizes:
            sized = dataclasses.replace(load, batch=size)
            compute = memory.compute_bytes(model, sized)
            places = []
            for context, buffer in ((memory.CONTEXT.high, compute.high), (memory.CONTEXT.expected, compute.expected),
                                    (memory.CONTEXT.low, compute.low)):  # fmt: skip
                left = [max(0, cards[seat].left(context) - taken[seat]) for seat in seats]
                places.append(fit.place(model, sized, left, margin, buffer, fixed))
            beside = alone or not seats or schedule.stays_beside(predicted, size, available)
            item = Loaded(
                wish, sized, tuple(seats), margin, predicted, auto, beside, on_gpu and places[1].on_gpu > 0,
                places[0], places[1], places[2],
            )  # fmt: skip
            options.append(item)
            if item.promised:
                return item
        return max(options, key=lambda item: item.low.score)  # of equals the first, which has the largest batch

    def _margin(self, wish: ModelWish, projector: bool) -> int:
        """Bytes that stay free on each GPU: Ollama makes room for a projector, unless the target is set."""
        target = self.fit_target_mib()
        if target is not None:
            return target * MIB
        size = ceil_div(wish.model.projector_bytes, MIB) if projector else 0
        return (FIT_TARGET_MIB + size) * MIB

    def fit_target_mib(self) -> t.Optional[int]:
        """LLAMA_ARG_FIT_TARGET where a wish needs it; None leaves it to Ollama."""
        wishes = self.wishes
        if "LLAMA_ARG_FIT_TARGET" in wishes.server:
            return int(max(wishes.server["LLAMA_ARG_FIT_TARGET"]))
        kept = 0
        if wishes.overhead:
            kept = ceil_div(wishes.overhead, MIB)
        if wishes.max_vram is not None and self.cards:
            each = wishes.max_vram // len(self.cards)
            kept = max(kept, max(ceil_div(max(0, card.left() - each), MIB) - FIT_TARGET_MIB for card in self.cards))
        if kept <= 0:
            return None
        projector = max(ceil_div(wish.model.projector_bytes, MIB) for wish in wishes.models)
        return FIT_TARGET_MIB + kept + projector


def _asked_for(item: Loaded, wishes: Wishes) -> bool:
    """A number of layers that the user fixed is no failure of the plan, as long as it loads."""
    fixed = item.wish.parameters.get("num_gpu", wishes.layers)
    return fixed is not None and fixed >= 0 and not item.low.short
