# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a model can be chosen from: the catalogue's entries and the user's own models, in one form.

A candidate is a plain dictionary: id, purposes, licence, released, base (the release that counts for its quality, where
it was tuned from an older model), quality (or None: by the rule in planning/ranking.py), dropped (the last vLLM that
served it, or ""), forms. A form is one way to get and run it: kind (bf16, fp8, awq, ...), id (the repository), gated,
model (facts), settings (options of the engine that it needs).
"""

from __future__ import annotations

import fnmatch
import typing as t

from ..errors import GpufleetError
from .catalogue import index
from .catalogue.entry import PURPOSES, Entry
from .catalogue.quantizations import QUANTIZATIONS
from .facts import facts_from_config

Candidate = t.Dict[str, t.Any]
_KEYS = frozenset(
    ("id", "config", "model", "purposes", "licence", "gated", "released", "quality", "quantization", "settings")
)
_FOUR_BITS = {"awq": "awq", "gptq": "gptq", "mxfp4": "mxfp4", "modelopt": "nvfp4"}


def from_catalogue(entry: Entry) -> Candidate:
    forms = [dict(_form(entry.kind, entry.id, entry, entry.config), gated=entry.gated)]
    for sister in entry.sisters:
        config = dict(entry.config, quantization_config=sister.quantization, **dict(sister.changes))
        forms.append(_form(sister.kind, sister.id, entry, config))
    if "embedding" not in entry.purposes and "fp8" not in {form["kind"] for form in forms} and entry.kind == "bf16":
        # vLLM quantizes the 16-bit checkpoint while it loads it.
        forms.insert(1, dict(forms[0], kind="fp8", settings={"quantization": "fp8"}))
    return {
        "id": entry.id,
        "purposes": list(entry.purposes),
        "licence": entry.licence,
        "released": entry.released,
        "base": entry.base,
        "quality": None,
        "dropped": entry.dropped,
        "forms": forms,
    }


def _form(kind: str, repository: str, entry: Entry, config: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    model = facts_from_config(config)
    model["source"] = repository
    model["task"] = "embed" if "embedding" in entry.purposes else "generate"
    return {"kind": kind, "id": repository, "gated": False, "model": model, "settings": {}}


def facts_of(repository: str) -> t.Optional[t.Dict[str, t.Any]]:
    """Model facts of a repository of the catalogue, also of a quantized sister; None where it is not in there."""
    entry = index.find(repository)
    if entry is None:
        return None
    forms = from_catalogue(entry)["forms"]
    facts = next(form["model"] for form in forms if form["id"].lower() == repository.strip().lower())
    said = "Sizes come from the collection's catalogue: neither a hub nor a host was there to look at the model's files."
    return dict(facts, warnings=facts["warnings"] + [said])


def read(wanted: t.Sequence[t.Any]) -> t.List[Candidate]:
    """The candidates that an option names: patterns of catalogue ids, or models of one's own as dictionaries.

    An empty list means the whole catalogue. Raises GpufleetError for one that cannot be understood.
    """
    if not wanted:
        return [from_catalogue(entry) for entry in index.ENTRIES]
    found: t.Dict[str, Candidate] = {}
    for item in wanted:
        for candidate in [_own(item)] if isinstance(item, dict) else _named(str(item)):
            found.setdefault(candidate["id"], candidate)
    return list(found.values())


def _named(pattern: str) -> t.List[Candidate]:
    exact = index.find(pattern)
    entries = [exact] if exact else [one for one in index.ENTRIES if fnmatch.fnmatch(one.id.lower(), pattern.lower())]
    if not entries:
        raise GpufleetError(
            "candidates names %r, which the catalogue does not have: give its model facts "
            "(gpufleet.llm.model_info) as {id, model}, or its config.json as {id, config}." % pattern
        )
    return [from_catalogue(entry) for entry in entries]


def _own(item: t.Dict[str, t.Any]) -> Candidate:
    unknown = sorted(set(item) - _KEYS)
    if unknown:
        raise GpufleetError(
            "candidates has a model with the unknown key %s: known are %s." % (unknown[0], ", ".join(sorted(_KEYS)))
        )
    model = item.get("model")
    if model is None and item.get("config") is not None:
        model = facts_from_config(item["config"])
        model["source"] = str(item.get("id") or "config")
    if not isinstance(model, dict):
        known = index.find(str(item.get("id") or ""))
        if known is None:
            raise GpufleetError(
                "candidates has %s with neither model (facts) nor config, and the catalogue does not know it."
                % (item.get("id") or "a model without id")
            )
        candidate = from_catalogue(known)
    else:
        candidate = _with_facts(item, model)
    changes = {key: item[key] for key in ("purposes", "licence", "released", "quality") if key in item}
    for purpose in changes.get("purposes", ()):
        if purpose not in PURPOSES:
            raise GpufleetError(
                "candidates: %s has the unknown purpose %s: known are %s."
                % (candidate["id"], purpose, ", ".join(PURPOSES))
            )
    return dict(candidate, **changes)


def _with_facts(item: t.Dict[str, t.Any], model: t.Dict[str, t.Any]) -> Candidate:
    repository = str(item.get("id") or model.get("source") or model.get("architecture") or "model")
    known = index.find(repository)
    kind = item.get("quantization") or _kind(model)
    if kind not in QUANTIZATIONS:
        raise GpufleetError(
            "candidates: %s has the quantization %s: known are %s." % (repository, kind, ", ".join(QUANTIZATIONS))
        )
    return {
        "id": repository,
        # A model of one's own is taken to be made for what it is asked for, unless it says what it is made for.
        "purposes": list(known.purposes) if known else _purposes(model),
        "licence": known.licence if known else None,
        "released": known.released if known else None,
        "base": known.base if known else "",
        "quality": None,
        "dropped": known.dropped if known else "",
        "forms": [
            {
                "kind": kind,
                "id": repository,
                "gated": bool(item.get(known.gated and known.id == repository if known else False)),
                "model": model,
                "settings": dict(item.get("settings") or {}),
            }
        ],
    }


def _purposes(model: t.Dict[str, t.Any]) -> t.List[str]:
    return [purpose for purpose in PURPOSES if (purpose == "embedding") == (model.get("task") == "embed")]


def _kind(model: t.Dict[str, t.Any]) -> str:
    """The name of the model's own quantization."""
    stored = model.get("quantization")
    if not stored:
        return "bf16"
    method = str(stored.get("method") or "").lower()
    if stored.get("bits") == 8:
        floats = "fp8" in method or "modelopt" in method or "float" in str(stored.get("format") or "")
        return "fp8" if floats else "int8"
    return next((kind for name, kind in _FOUR_BITS.items() if name in method), "int4")
