# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One sentence per decision of an Ollama plan, and what to be warned of."""

from __future__ import annotations

import typing as t

from . import numbers
from . import refusals
from . import settings as chosen
from . import values
from ..facts import Host
from .schedule import Card, default_context
from .solve import FIT_TARGET_MIB, Loaded, Solution, Solver
from ..units import count, gib
from ..wishes import Draft


def mixed(cards: t.Sequence[Card], draft: Draft) -> None:
    kinds = sorted({card.library for card in cards})
    draft.warnings.append("A model runs on GPUs of one kind only, and this host has %s." % " and ".join(kinds))


def write(host: Host, solver: Solver, solution: Solution, draft: Draft) -> None:
    say = draft.reasons.append
    say(_where(solver))
    for item in solution.loaded:
        say(_model(item, solver))
    say(_context(solver, solution))
    say(_parallel(host, solver, solution))
    say(_loaded(host, solver, solution))
    say(_queue(solver, draft))
    say(_keep_alive(solver, solution))
    say(_cache(solver, solution))
    if len(solver.cards) > 1:
        say(_spread(solver, solution))
    target = solver.fit_target_mib()
    if target is not None:
        say(_target(solver, target))
    if "OLLAMA_NO_CLOUD" not in solver.wishes.server:
        say("OLLAMA_NO_CLOUD 1: without it the server asks ollama.com for recommendations, now and every four hours.")
    _warn(solver, solution, draft)


def _queue(solver: Solver, draft: Draft) -> str:
    number = "OLLAMA_MAX_QUEUE %d" % draft.settings["OLLAMA_MAX_QUEUE"]
    if "OLLAMA_MAX_QUEUE" in solver.wishes.server:
        return "%s: as asked for." % number
    return "%s: the rule of thumb (Ollama's own is 512); what comes on top is answered with 503." % number


def _where(solver: Solver) -> str:
    if not solver.cards:
        return "Everything runs on the CPU: %s." % (
            "as asked for in gpus" if solver.wishes.gpus == 0 else "the host has no GPU that Ollama can use"
        )
    found = ["%s (%s, %s free)" % (card.label, card.name, gib(card.free)) for card in solver.cards]
    return "GPUs: %s." % ", ".join(found)


def _model(item: Loaded, solver: Solver) -> str:
    load, model = item.load, item.wish.model
    terms = numbers.terms(item)
    parts = "weights %s, KV cache %s" % (gib(terms["weights_bytes"]), gib(terms["kv_cache_bytes"]))
    if terms["recurrent_state_bytes"]:
        parts += ", recurrent state %s" % gib(terms["recurrent_state_bytes"])
    parts += ", compute buffer %s" % gib(terms["compute_bytes"]["expected"])
    if model.projector_bytes:
        parts += ", projector %s%s" % (gib(model.projector_bytes), "" if item.projector_on_gpu else " (on the CPU)")
    text = "%s: num_ctx %s x %s, %s" % (
        item.wish.name, format(load.context, ","), count(load.parallel, "request"), parts
    )  # fmt: skip
    if not item.seats:
        return text + "; on the CPU."
    labels = ", ".join(solver.cards[seat].label for seat, used in zip(item.seats, item.expected.used) if used)
    text += "; %d of %d layers on %s" % (item.expected.on_gpu, item.expected.layers_total, labels or "no GPU")
    if item.load.batch != item.auto_batch:
        text += "; num_batch %d instead of Ollama's %d, which keeps more of it there" % (load.batch, item.auto_batch)
    return text + "."


def _context(solver: Solver, solution: Solution) -> str:
    longest = solver.wishes.context or max(item.load.context for item in solution.loaded)
    number = "OLLAMA_CONTEXT_LENGTH %d" % longest
    own = default_context(sum(card.total for card in solver.cards))
    if solver.wishes.context is not None:
        text = "%s: as asked for" % number
        cut = [item for item in solution.loaded if item.load.context < longest and item.wish.context is None]
        if cut:
            text += "; %s" % ", ".join("%s takes %d at most" % (item.wish.name, item.load.context) for item in cut)
        return text + "."
    return "%s, for models outside of this plan too; by all GPUs' memory together Ollama would take %d." % (number, own)


def _parallel(host: Host, solver: Solver, solution: Solution) -> str:
    number = "OLLAMA_NUM_PARALLEL %d" % solution.parallel
    single = [item.wish.name for item in solution.loaded if item.wish.model.single_request]
    if solver.wishes.parallel is not None:
        text = "%s: as asked for" % number
    elif len(single) == len(solution.loaded):
        text = "%s: the models take one request at a time" % number
    elif solution.parallel == solver.parallel_cap:
        text = "%s: one per four cores of %d, the rule of thumb" % (number, host.cores)
    else:
        text = "%s: more would not fit; one per four cores would be %d" % (number, solver.parallel_cap)
    if single and len(single) < len(solution.loaded):
        text += "; %s take one at a time whatever it says" % ", ".join(single)
    return text + "."


def _loaded(host: Host, solver: Solver, solution: Solution) -> str:
    number = "OLLAMA_MAX_LOADED_MODELS %d" % chosen.max_loaded(host, solver, solution)
    if "OLLAMA_MAX_LOADED_MODELS" in solver.wishes.server:
        return "OLLAMA_MAX_LOADED_MODELS %d: as asked for." % solver.wishes.server["OLLAMA_MAX_LOADED_MODELS"]
    if len(solution.loaded) > 1:
        thumb = max(1, host.memory_total_bytes // chosen.MEMORY_PER_MODEL)
        text = "%s: so many of the models fit at the same time (the rule of thumb, one per 64 GB of memory, says %d)."
        return text % (number, thumb)
    return "%s: one per 64 GB of memory, the rule of thumb, and never more than three per GPU." % number


def _keep_alive(solver: Solver, solution: Solution) -> str:
    text = values.duration(chosen.keep_alive(solver.wishes, solution))
    if solver.wishes.keep_alive is not None:
        return "OLLAMA_KEEP_ALIVE %s: as asked for." % text
    if solution.together == len(solution.loaded):
        return "OLLAMA_KEEP_ALIVE %s: models stay loaded, since all of them fit together." % text
    return "OLLAMA_KEEP_ALIVE %s: the models take turns." % text


def _cache(solver: Solver, solution: Solution) -> str:
    if solution.kv_type == "f16" and solver.wishes.kv_type is None:
        return "KV cache in f16, Ollama's default: nothing is gained from less."
    why = "as asked for" if solver.wishes.kv_type else "in f16 the contexts asked for would not fit the GPUs"
    text = "OLLAMA_KV_CACHE_TYPE %s: %s" % (solution.kv_type, why)
    if solution.flash and solution.kv_type not in ("f16", "f32", "bf16"):
        text += "; it needs OLLAMA_FLASH_ATTENTION 1"
    return text + "."


def _spread(solver: Solver, solution: Solution) -> str:
    if "OLLAMA_SCHED_SPREAD" in solver.wishes.server:
        return "OLLAMA_SCHED_SPREAD %d: as asked for." % solver.wishes.server["OLLAMA_SCHED_SPREAD"]
    if solution.spread:
        return (
            "OLLAMA_SCHED_SPREAD 1: by Ollama's estimate a model would go to one GPU that is too small for it; over "
            "all of them it fits."
        )
    return "OLLAMA_SCHED_SPREAD stays off: a model that fits one GPU runs on one, a larger one is spread anyway."


def _target(solver: Solver, target: int) -> str:
    wishes = solver.wishes
    text = "LLAMA_ARG_FIT_TARGET %d: MiB that stay free on each GPU" % target
    if "LLAMA_ARG_FIT_TARGET" in wishes.server:
        return text + ", as asked for."
    asked = []
    if wishes.max_vram is not None:
        asked.append("OLLAMA_MAX_VRAM %s" % gib(wishes.max_vram))
    if wishes.overhead:
        asked.append("OLLAMA_GPU_OVERHEAD %s" % gib(wishes.overhead))
    text += ", for %s, with llama-server's own %d" % (" and ".join(asked), FIT_TARGET_MIB)
    if any(wish.model.projector_bytes for wish in wishes.models):
        text += " and the largest projector, for which Ollama makes room only where this variable is not set"
    return text + "."


def _warn(solver: Solver, solution: Solution, draft: Draft) -> None:
    wishes, warn = solver.wishes, draft.warnings.append
    for item in solution.loaded:
        if item.seats and not item.low.full:
            if item.expected.full:
                warn(
                    "%s is tight: it fits as estimated, but if every buffer takes its most, %d of %d layers stay on "
                    "the GPU. What gives room: %s." % (
                        item.wish.name, item.low.on_gpu, item.low.layers_total,
                        "; ".join(refusals.remedies(item, solution, solver)),
                    )
                )  # fmt: skip
            elif draft.refusal is None or draft.refusal.code != "partly_on_cpu":
                avoid = "; ".join(refusals.remedies(item, solution, solver))
                warn("%s What would avoid it: %s." % (refusals.partly(item, solver), avoid))
        if item.seats and not item.beside:
            warn(
                "%s is not loaded beside the others: Ollama expects it to take %s and wants a fifth to stay free, so "
                "it removes another model first." % (item.wish.name, gib(item.predicted))
            )
        if item.wish.model.estimated:
            warn("%s: sizes by formula, since no GGUF header was read; a few percent may differ." % item.wish.name)
        if item.wish.model.projector_bytes and item.seats and not item.projector_on_gpu:
            warn("%s: its projector runs on the CPU, since a GPU lacks room for it and 1 GiB." % item.wish.name)
        wanted = item.wish.parallel
        if wanted and wanted > item.load.parallel:
            warn("%s takes one request at a time whatever OLLAMA_NUM_PARALLEL says." % item.wish.name)
    if len(solution.loaded) > solution.together:
        rest = [item.wish.name for item in solution.loaded[solution.together :]]
        text = "%s and the models before do not stay loaded together: a request for one removes another."
        warn(text % ", ".join(rest))
    contexts = {item.load.context for item in solution.loaded}
    if len(contexts) > 1:
        draft.reasons.append("num_ctx differs by model: a client that sends another one makes Ollama load it again.")
    if wishes.max_vram is not None and solver.fit_target_mib() is None:
        warn("OLLAMA_MAX_VRAM is more than the GPUs have: nothing is set for it.")
    elif wishes.max_vram is not None:
        warn("OLLAMA_MAX_VRAM has had no effect since Ollama 0.1.45: LLAMA_ARG_FIT_TARGET is set instead.")
    if wishes.overhead:
        warn(
            "OLLAMA_GPU_OVERHEAD reserves nothing for GGUF models since Ollama 0.30: LLAMA_ARG_FIT_TARGET is set "
            "instead, in MiB."
        )
    for text in (refusals.pressure(solution, solver),):
        if text:
            warn(text)
    foreign = [card for card in solver.cards if card.foreign]
    for card in foreign:
        warn("Other processes hold %s on %s." % (gib(card.foreign), card.label))
