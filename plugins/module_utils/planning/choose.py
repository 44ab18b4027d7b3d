# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From many models and one host to the best that fits: planned like any other, and why the others were passed over."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import GpufleetError
from . import ranking, vllm
from .ranking import Candidate, Form, Limits
from .units import GIB, count, gib, parse_number, parse_wish

SCHEMA = "gpufleet.choice/1"
RANKS = ("quality", "listed")
# A CPU reads all active weights from memory for every token: 8 GiB at the 50 to 200 GB/s of servers is 6 to 24 tokens
# a second.
_CPU_ACTIVE_BYTES = 8 * GIB
_PLAN_OPTIONS = (
    "context", "concurrency", "cuda_compatibility", "engine_version", "gpus", "headroom_bytes", "own_units", "prefer",
    "reserved", "settings", "variant",
)  # fmt: skip
CODES: t.Dict[str, str] = {
    "no_candidate": "The limits leave no model.",
    "nothing_fits": "No model that the limits leave fits the host.",
}


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One way to run one model."""

    candidate: Candidate
    form: Form
    kv_dtype: str
    quality: float  # of the model
    score: float  # less what its bits cost
    position: t.Tuple[int, int, int]


@dataclasses.dataclass
class Outcome:
    attempt: Attempt
    plan: t.Optional[t.Dict[str, t.Any]]  # None where it was not worth one
    problem: str = ""  # why it does not do; empty when it does
    short_bytes: t.Optional[int] = None
    remedies: t.List[str] = dataclasses.field(default_factory=list)


def choose(
    hardware: t.Mapping[str, t.Any], candidates: t.Sequence[Candidate], options: t.Mapping[str, t.Any]
) -> t.Dict[str, t.Any]:
    """The choice (schema gpufleet.choice/1). A refusal is an answer; ``plan`` is then that of the smallest candidate.

    Raises GpufleetError only for options or candidates that make no sense.
    """
    limits = _limits(options)
    rank = options.get("rank") or "quality"
    if rank not in RANKS:
        raise GpufleetError("rank=%s is not one of %s." % (rank, ", ".join(RANKS)))
    passed: t.Dict[str, str] = {}
    left_out: t.Dict[str, int] = {}
    wanted: t.List[Candidate] = []
    for candidate in candidates:
        why = ranking.not_wanted(candidate, limits)
        if why:
            passed[candidate["id"]] = why[1]
            left_out[why[0]] = left_out.get(why[0], 0) + 1
        else:
            wanted.append(candidate)
    if not wanted:
        return _nobody(candidates, passed, left_out)
    attempts = _attempts(wanted, limits, options, rank)
    room = _room(hardware, options)
    outcomes: t.List[Outcome] = []
    best: t.Optional[Outcome] = None
    second: t.Optional[Outcome] = None
    for attempt in attempts:
        if best and attempt.candidate is best.attempt.candidate:
            continue
        outcome = _hopeless(attempt, outcomes, room) or _try(hardware, attempt, options)
        outcomes.append(outcome)
        if outcome.problem:
            continue
        if best is None:
            best = outcome
        else:
            second = outcome
            break
    if best is None:
        return _nothing_fits(hardware, options, outcomes, passed, wanted)
    _pass_over(passed, outcomes, wanted, best, second)
    reasons = _reasons(best, second, outcomes, wanted, len(candidates), rank)
    return dict(
        _described(best),
        reasons=reasons,
        runner_up=_described(second, with_plan=False) if second else None,
        passed_over=_listed(passed, candidates),
        refusal=None,
    )


def _limits(options: t.Mapping[str, t.Any]) -> Limits:
    quantizations = tuple(options.get("quantizations") or ranking.COST)
    for name in quantizations:
        if name not in ranking.COST:
            raise GpufleetError("quantizations names %s: known are %s." % (name, ", ".join(ranking.COST)))
    for name in options.get("kv_cache_dtypes") or ():
        if name not in ranking.KV_COST:
            raise GpufleetError("kv_cache_dtypes names %s: known are %s." % (name, ", ".join(ranking.KV_COST)))
    quality = options.get("min_quality")
    return Limits(
        purposes=tuple(options.get("purpose") or ("chat",)),
        licences=tuple(options.get("licences") or ()),
        include=tuple(options.get("include") or ()),
        exclude=tuple(options.get("exclude") or ()),
        quantizations=quantizations,
        gated=options.get("gated") is not False,
        max_parameters=ranking.parse_parameters(options.get("max_parameters")),
        min_quality=None if quality is None else float(quality),
    )


def _attempts(
    wanted: t.Sequence[Candidate], limits: Limits, options: t.Mapping[str, t.Any], rank: str
) -> t.List[Attempt]:
    """Every way to run every model, best first."""
    settings = options.get("settings") or {}
    fixed = {str(name).replace("-", "_").lstrip("_") for name in settings}
    kv_dtypes = ["auto"] if "kv_cache_dtype" in fixed else list(options.get("kv_cache_dtypes") or ranking.KV_COST)
    found = []
    for place, candidate in enumerate(wanted):
        points = ranking.quality(candidate)
        for number, form in enumerate(candidate["forms"]):
            if not ranking.allowed(form, limits) or form["settings"] and "quantization" in fixed:
                continue
            for kv_dtype in kv_dtypes:
                cost = ranking.COST[form["kind"]] + ranking.KV_COST[kv_dtype]
                position = (place, number, kv_dtypes.index(kv_dtype))
                found.append(Attempt(candidate, form, kv_dtype, points, points - cost, position))
    if rank == "listed":
        return sorted(found, key=lambda one: (one.position[0], one.quality - one.score, one.position))
    return sorted(found, key=lambda one: (-round(one.score, 6), one.position))


def _room(hardware: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> t.Optional[int]:
    """All memory of the GPUs that the planner would use; None where it does not use them."""
    cards = [card for card in hardware.get("accelerators") or () if card.get("vendor") == "nvidia"]
    if not cards or options.get("variant") == "cpu":
        return None
    return sum(int(card.get("memory_total_bytes") or 0) for card in cards)


def _hopeless(attempt: Attempt, outcomes: t.Sequence[Outcome], room: t.Optional[int]) -> t.Optional[Outcome]:
    """What needs no plan to be ruled out: weights above all memory, and a smaller KV cache that would not help."""
    weights = _loaded(attempt.form, "loaded_bytes", every=True)
    if room and weights > room:
        problem = "Its weights (%s) are more than all GPUs of the host hold (%s)." % (gib(weights), gib(room))
        return Outcome(attempt, None, problem, weights - room)
    for before in outcomes:
        refusal = before.plan["refusal"] if before.plan else None
        if before.attempt.form is not attempt.form or before.attempt.kv_dtype != "auto" or not refusal:
            continue
        saved = before.plan["numbers"].get("kv_needed_bytes") if before.plan else None
        if refusal["short_bytes"] is None or saved is not None and refusal["short_bytes"] > saved:
            return dataclasses.replace(before, attempt=attempt)
    return None


def _loaded(form: Form, what: str, every: bool = False) -> int:
    """Bytes of weights in the engine, all of them or those that a token reads."""
    model = form["model"]
    groups = [group for group in model["tensor_groups"] if group["place"] != "skipped"]
    size = sum(group[what] * max(1, len(group["layers"])) for group in groups) if every else ranking.active(model, what)
    return size // 2 if form["settings"].get("quantization") else size  # stored in 16 bits, loaded in 8


def _try(hardware: t.Mapping[str, t.Any], attempt: Attempt, options: t.Mapping[str, t.Any]) -> Outcome:
    """The plan of one attempt, and whether it does what is wished."""
    wishes = {name: options[name] for name in _PLAN_OPTIONS if options.get(name) is not None}
    settings = dict(wishes.get("settings") or {}, **attempt.form["settings"])
    if attempt.kv_dtype != "auto":
        settings["kv_cache_dtype"] = attempt.kv_dtype
    plan = vllm.make_plan(hardware, attempt.form["model"], dict(wishes, settings=settings))
    refusal = plan["refusal"]
    if refusal:
        return Outcome(attempt, plan, refusal["message"], refusal["short_bytes"], refusal["remedies"])
    problem = _too_slow(attempt, plan, options)
    if problem:
        return Outcome(attempt, plan, problem, None, ["a GPU", "max_active_bytes: a larger one"])
    wished = parse_wish("concurrency", options.get("concurrency"))
    if attempt.form["model"].get("task") == "embed" or wished is None:
        return Outcome(attempt, plan)
    return _enough_requests(attempt, plan, wished)


def _enough_requests(attempt: Attempt, plan: t.Dict[str, t.Any], wished: int) -> Outcome:
    """The wished requests must all fit at once at full length, even if every estimate comes out at its worst."""
    numbers = plan["numbers"]
    promised = numbers["max_concurrency_low"]
    if promised >= wished:
        return Outcome(attempt, plan)
    context = plan["settings"]["max_model_len"]
    each = numbers["kv_needed_bytes"]
    problem = "Its KV cache is sure to hold %.1f requests of %s at once, %d are wished." % (
        promised, count(context, "token"), wished
    )  # fmt: skip
    remedies = ["concurrency: %d" % int(promised)] if promised >= 1 else []
    return Outcome(attempt, plan, problem, int(each * (wished - promised)), remedies)


def _too_slow(attempt: Attempt, plan: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> str:
    """Weights that every token has to read, against what is allowed: on a CPU 8 GiB where nothing is said."""
    limit = options.get("max_active_bytes")
    if limit is None or str(limit).lower() == "auto":
        if plan["variant"] != "cpu":
            return ""
        most, why = _CPU_ACTIVE_BYTES, " on a CPU"
    else:
        most, why = parse_number("max_active_bytes", limit), ""
    active = _loaded(attempt.form, "loaded_bytes")
    if active <= most:
        return ""
    return "Every token reads %s of its weights, %s are allowed%s." % (gib(active), gib(most), why)


def _name(attempt: Attempt) -> str:
    """``Qwen/Qwen3-8B-FP8 (fp8, KV cache in fp8)``."""
    how = attempt.form["kind"]
    if attempt.form["settings"].get("quantization"):
        how += " while loading"
    return "%s (%s%s)" % (attempt.form["id"], how, "" if attempt.kv_dtype == "auto" else ", KV cache in fp8")


def _nearest(outcomes: t.Sequence[Outcome]) -> Outcome:
    """The one that lacks least memory; one that fails for another reason only where memory is nobody's."""
    return min(outcomes, key=lambda one: (one.short_bytes is None, one.short_bytes or 0, one.attempt.position))


def _pass_over(
    passed: t.Dict[str, str],
    outcomes: t.Sequence[Outcome],
    wanted: t.Sequence[Candidate],
    best: Outcome,
    second: t.Optional[Outcome],
) -> None:
    """One sentence for everyone who is not the choice."""
    failed: t.Dict[str, t.List[Outcome]] = {}
    for outcome in outcomes:
        if outcome.problem:
            failed.setdefault(outcome.attempt.candidate["id"], []).append(outcome)
    for candidate in wanted:
        name = candidate["id"]
        if candidate is best.attempt.candidate:
            continue
        if second and candidate is second.attempt.candidate:
            passed[name] = "It is the runner-up."
        elif name in failed and len(failed[name]) == _ways(name, outcomes):
            nearest = _nearest(failed[name])
            passed[name] = "%s: %s" % (_name(nearest.attempt), nearest.problem)
        else:
            passed[name] = "It ranks lower: quality %.1f, the choice has %.1f." % (
                ranking.quality(candidate), best.attempt.quality
            )  # fmt: skip


def _ways(name: str, outcomes: t.Sequence[Outcome]) -> int:
    return sum(outcome.attempt.candidate["id"] == name for outcome in outcomes)


def _reasons(
    best: Outcome,
    second: t.Optional[Outcome],
    outcomes: t.Sequence[Outcome],
    wanted: t.Sequence[Candidate],
    total: int,
    rank: str,
) -> t.List[str]:
    attempt = best.attempt
    model = attempt.form["model"]
    said = [
        "%s of %d models are made for this and within the limits; %d are better or listed earlier and do not fit."
        % (len(wanted), total, len({one.attempt.candidate["id"] for one in outcomes if _above(one, best)}))
    ]
    if rank == "listed":
        said.append("%s is the first of the list that fits." % _name(attempt))
    else:
        said.append(
            "%s fits and ranks highest: quality %.1f (%.1fB parameters%s%s), less %.2f for its bits."
            % (
                _name(attempt), attempt.quality, model["parameters"] / 1e9, _used(model),
                ", of %s" % (attempt.candidate.get("base") or attempt.candidate["released"])
                if attempt.candidate.get("released") and attempt.candidate.get("quality") is None else "",
                attempt.quality - attempt.score,
            )
        )  # fmt: skip
    same = [one for one in outcomes if one.problem and one.attempt.candidate is attempt.candidate]
    said.extend("%s was tried before: %s" % (_name(one.attempt), one.problem) for one in same)
    if second:
        said.append(
            "Runner-up is %s with quality %.1f, less %.2f for its bits."
            % (_name(second.attempt), second.attempt.quality, second.attempt.quality - second.attempt.score)
        )
    if attempt.form.get("gated"):
        said.append("Its repository is gated: accept the licence there and give a token to the download.")
    return said


def _above(outcome: Outcome, best: Outcome) -> bool:
    return bool(outcome.problem) and outcome.attempt.candidate is not best.attempt.candidate and (
        outcome.attempt.score >= best.attempt.score or outcome.attempt.position[0] < best.attempt.position[0]
    )  # fmt: skip


def _used(model: t.Mapping[str, t.Any]) -> str:
    return ", %.1fB of them per token" % (ranking.active(model) / 1e9) if model.get("moe") else ""


def _described(outcome: Outcome, with_plan: bool = True) -> t.Dict[str, t.Any]:
    attempt = outcome.attempt
    candidate, model = attempt.candidate, attempt.form["model"]
    found = {
        "schema": SCHEMA,
        "model": candidate["id"],
        "repository": attempt.form["id"],
        "quantization": attempt.form["kind"],
        "kv_cache_dtype": attempt.kv_dtype,
        "quality": round(attempt.quality, 2),
        "score": round(attempt.score, 2),
        "parameters": model["parameters"],
        "active_parameters": ranking.active(model),
        "purposes": list(candidate["purposes"]),
        "licence": candidate.get("licence"),
        "gated": bool(attempt.form.get("gated")),
        "released": candidate.get("released"),
    }
    if with_plan:
        found["plan"] = outcome.plan
    else:
        plan = outcome.plan or {}
        found.pop("schema")
        found["max_concurrency_low"] = plan["numbers"].get("max_concurrency_low")
        found["weights_bytes_per_gpu"] = plan["numbers"].get("weights_bytes_per_gpu")
        found["devices"] = plan["devices"]
    return found


def _listed(passed: t.Mapping[str, str], candidates: t.Sequence[Candidate]) -> t.List[t.Dict[str, str]]:
    """In the order of the candidates."""
    return [{"id": one["id"], "reason": passed[one["id"]]} for one in candidates if one["id"] in passed]


def _without_choice(
    refusal: t.Dict[str, t.Any], passed: t.Mapping[str, str], candidates: t.Sequence[Candidate]
) -> t.Dict[str, t.Any]:
    return {
        "schema": SCHEMA, "model": None, "repository": None, "quantization": None, "kv_cache_dtype": None,
        "quality": None, "score": None, "parameters": None, "active_parameters": None, "purposes": [], "licence": None,
        "gated": None, "released": None, "plan": None, "reasons": [], "runner_up": None,
        "passed_over": _listed(passed, candidates), "refusal": refusal,
    }  # fmt: skip


def _nobody(
    candidates: t.Sequence[Candidate], passed: t.Mapping[str, str], left_out: t.Mapping[str, int]
) -> t.Dict[str, t.Any]:
    by_most = sorted(left_out, key=lambda option: (-left_out[option], option))
    counts = ", ".join("%s %d" % (option, left_out[option]) for option in by_most)
    refusal = {
        "code": "no_candidate",
        "message": "None of %s is left: %s." % (count(len(candidates), "model"), counts or "there are none"),
        "short_bytes": None,
        "remedies": ["loosen %s" % option for option in by_most if option != "engine"] or ["name other candidates"],
    }
    return _without_choice(refusal, passed, candidates)


def _nothing_fits(
    hardware: t.Mapping[str, t.Any],
    options: t.Mapping[str, t.Any],
    outcomes: t.Sequence[Outcome],
    passed: t.Dict[str, str],
    wanted: t.Sequence[Candidate],
) -> t.Dict[str, t.Any]:
    """With what would make the smallest fit."""
    for candidate in wanted:
        nearest = _nearest([one for one in outcomes if one.attempt.candidate is candidate] or list(outcomes))
        passed[candidate["id"]] = "%s: %s" % (_name(nearest.attempt), nearest.problem)
    least = min(_loaded(one.attempt.form, "loaded_bytes", every=True) for one in outcomes)
    nearest = _nearest([one for one in outcomes if _loaded(one.attempt.form, "loaded_bytes", every=True) == least])
    if nearest.plan is None:
        nearest = _try(hardware, nearest.attempt, options)
    refusal = {
        "code": "nothing_fits",
        "message": "None of %s fits. The smallest is %s: %s"
        % (count(len(wanted), "model"), _name(nearest.attempt), nearest.problem),
        "short_bytes": nearest.short_bytes,
        "remedies": list(nearest.remedies),
    }
    return dict(_without_choice(refusal, passed, wanted), plan=nearest.plan)
