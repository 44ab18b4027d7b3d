# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of two models is taken for the better one, and which may be taken at all.

The rule is one of thumb, stated so that it can be disagreed with. No benchmark figure goes in.

    quality = log2(size in billions of parameters) + 2 x (years since the start of 2023) - cost of the quantization

- Twice the parameters are worth one point. A mixture of experts counts as the geometric mean of what it holds and what
  it uses per token.
- Half a year of age is worth one point too; a model tuned from another one is as old as that one. Published
  measurements find that models of one size get better faster than that: as much as a doubling of size every 3.5 months
  ("Densing law of LLMs", Nature Machine Intelligence, 2025).
- Fewer bits cost little in comparison, so the larger model in 4 bits beats the smaller one in 16: "The case for 4-bit
  precision: k-bit inference scaling laws" (ICML 2023), "Give me BF16 or give me death?" (ACL 2025).
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import re
import typing as t

from ..errors import GpufleetError

Candidate = t.Mapping[str, t.Any]
Form = t.Mapping[str, t.Any]

POINTS_PER_YEAR = 2.0
_EPOCH = 2023
# Points that a way of storing the weights costs. 4 bits count like a model of 70 percent of the size.
COST: t.Dict[str, float] = {
    "bf16": 0.0, "fp8": 0.1, "int8": 0.1, "mxfp4": 0.5, "nvfp4": 0.5, "awq": 0.5, "gptq": 0.5, "int4": 0.5,
}  # fmt: skip
KV_COST = {"auto": 0.0, "fp8": 0.05}
_RELEASED = re.compile(r"^(\d{4})-(\d{2})")
_AMOUNT = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmbt]?)$")
_AMOUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the user lets in."""

    purposes: t.Tuple[str, ...]
    licences: t.Tuple[str, ...]  # patterns; empty: any
    include: t.Tuple[str, ...]
    exclude: t.Tuple[str, ...]
    quantizations: t.Tuple[str, ...]
    gated: bool
    max_parameters: t.Optional[int]
    min_quality: t.Optional[float]


def parse_parameters(value: t.Any) -> t.Optional[int]:
    """``32B``, ``500M`` or a plain number of parameters."""
    if value is None:
        return None
    match = _AMOUNT.match(str(value).strip().lower())
    if not match:
        raise GpufleetError("max_parameters=%s: give a number of parameters, for example 32B or 500M." % value)
    return int(float(match.group(1)) * _AMOUNTS[match.group(2)])


def active_share(model: t.Mapping[str, t.Any]) -> float:
    """The share of its experts that a token goes through."""
    moe = model.get("moe")
    return moe["experts_per_token"] / moe["experts"] if moe else 1.0


def active(model: t.Mapping[str, t.Any], what: str = "parameters") -> int:
    """Parameters (or bytes) that go into one token: of the experts those used, of the embedding only an output head."""
    share = active_share(model)
    total = 0.0
    for group in model["tensor_groups"]:
        if group["place"] == "skipped" or group["place"] == "embed" and not model["tied_embeddings"]:
            continue
        size = group[what] * max(1, len(group["layers"]))
        total += size * share if group["name"].startswith("moe.experts") else size
    return int(total)


def quality(candidate: Candidate) -> float:
    """Points of the model itself, by the rule above, or as the user says."""
    if candidate.get("quality") is not None:
        try:
            return float(candidate["quality"])
        except (TypeError, ValueError):
            raise GpufleetError(
                "candidates: quality=%s of %s: give a number." % (candidate["quality"], candidate["id"])
            ) from None
    model = candidate["forms"][0]["model"]
    held = max(1, int(model["parameters"]))
    size = math.sqrt(held * active(model)) if model.get("moe") else held
    return math.log2(size / 1e9) + POINTS_PER_YEAR * _age(candidate)


def _age(candidate: Candidate) -> float:
    """Years from the start of 2023 to its release, or to that of the model it was tuned from; 0 if not known."""
    released = candidate.get("base") or candidate.get("released")
    if not released:
        return 0.0
    match = _RELEASED.match(str(released))
    if not match or not 1 <= int(match.group(2)) <= 12:
        raise GpufleetError(
            "candidates: %s has released=%s, give year and month: 2025-04." % (candidate["id"], released)
        )
    return int(match.group(1)) - _EPOCH + (int(match.group(2)) - 1) / 12


def not_wanted(candidate: Candidate, limits: Limits) -> t.Optional[t.Tuple[str, str]]:
    """Why the user's limits leave the model out: (option, sentence); None when they let it in."""
    name = candidate["id"]
    missing = [purpose for purpose in limits.purposes if purpose not in candidate["purposes"]]
    if missing:
        made = " and ".join(candidate["purposes"]) or "nothing that is known"
        return "purpose", "It is not made for %s, but for %s." % (" and ".join(missing), made)
    if limits.include and not _matches(name, limits.include):
        return "include", "No pattern of include matches it."
    if _matches(name, limits.exclude):
        return "exclude", "A pattern of exclude matches it."
    if limits.licences and not _matches(candidate.get("licence") or "", limits.licences):
        return "licences", "Its licence is %s." % (candidate.get("licence") or "not known")
    held = candidate["forms"][0]["model"]["parameters"]
    if limits.max_parameters is not None and held > limits.max_parameters:
        return "max_parameters", "It has %.3gB parameters, max_parameters allows %.3gB." % (
            held / 1e9, limits.max_parameters / 1e9
        )  # fmt: skip
    points = quality(candidate)
    if limits.min_quality is not None and points < limits.min_quality:
        return "min_quality", "Its quality is %.1f, min_quality asks for %.1f." % (points, limits.min_quality)
    if candidate.get("dropped"):
        architecture = candidate["forms"][0]["model"]["architecture"]
        return "engine", "vLLM served %s until %s and no longer does." % (architecture, candidate["dropped"])
    left = [form for form in candidate["forms"] if form["kind"] in limits.quantizations]
    if not left:
        kinds = " or ".join(sorted({form["kind"] for form in candidate["forms"]}))
        return "quantizations", "It is known in %s only." % kinds
    if not any(allowed(form, limits) for form in left):
        return "gated", "Its repository is gated: it wants an accepted licence and a token."
    return None


def allowed(form: Form, limits: Limits) -> bool:
    return form["kind"] in limits.quantizations and (limits.gated or not form.get("gated"))


def _matches(text: str, patterns: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(text.lower(), pattern.lower()) for pattern in patterns)
