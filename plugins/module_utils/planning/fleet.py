# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans for every host and every model of a fleet, in one go and without asking a host again."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError
from . import gpus, vllm
from .wishes import read_wishes

SCHEMA = "gpufleet.fleet/1"
# What may be said for all models and for each: vllm_plan's options of the same names.
WISHES = (
    "concurrency",
    "context",
    "cuda_compatibility",
    "engine_version",
    "gpus",
    "headroom_bytes",
    "prefer",
    "settings",
    "variant",
)
_MODEL_KEYS = frozenset(WISHES) | {"model", "name", "config", "file", "revision"}


def plan_fleet(
    hosts: t.Mapping[str, t.Mapping[str, t.Any]],
    models: t.Sequence[t.Any],
    found: t.Sequence[t.Sequence[t.Mapping[str, t.Any]]],
    options: t.Optional[t.Mapping[str, t.Any]] = None,
) -> t.Dict[str, t.Any]:
    """Every model on every host (schema gpufleet.fleet/1).

    ``hosts``: by name what gpu_info returned there, or its facts, or ``{"what_if": "2 x L40S"}``, or the result of a
    task that failed. ``models``: names, or dictionaries with a name and wishes of their own. ``found``: for each model the
    results of model_info; the first that knows the model counts. What is not known becomes an entry that says so.
    Raises GpufleetError for wishes that make no sense.
    """
    general = _wishes(options or {})
    fleet: t.Dict[str, t.Any] = {
        "schema": SCHEMA,
        "options": general,
        "hosts": [_host(name, result) for name, result in hosts.items()],
        "models": _models(models, found),
        "plans": [],
    }
    for model in fleet["models"]:
        wishes = dict(general, **model["options"])
        wishes["settings"] = dict(general.get("settings") or {}, **(model["options"].get("settings") or {}))
        for variant in ("cuda", "cpu"):
            read_wishes(wishes, variant)  # what is wrong for every host is an error, not a table full of it
        for host in fleet["hosts"]:
            fleet["plans"].append(_plan(host, model, wishes))
    return fleet


def _wishes(options: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    unknown = sorted(set(options) - set(WISHES))
    if unknown:
        raise GpufleetError("A plan has no option %s: it takes %s." % (", ".join(unknown), ", ".join(WISHES)))
    return {key: value for key, value in options.items() if value not in (None, "", {})}


def _host(name: str, result: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    host: t.Dict[str, t.Any] = {"name": str(name), "hardware": None, "problem": None, "assumed": False}
    if result.get("what_if"):
        host.update(hardware=gpus.hardware(str(result["what_if"])), assumed=True)
    elif isinstance(result.get("hardware"), dict):
        host["hardware"] = result["hardware"]
    elif result.get("schema") == "gpufleet.hardware/1":
        host["hardware"] = dict(result)
    else:
        host["problem"] = _failure(result, "nobody looked at it")
    return host


def _failure(result: t.Mapping[str, t.Any], otherwise: str) -> str:
    text = " ".join(str(result.get("msg") or otherwise).split())
    return ("unreachable: " if result.get("unreachable") else "") + text.replace("Task failed: ", "", 1)


def _models(
    models: t.Sequence[t.Any], found: t.Sequence[t.Sequence[t.Mapping[str, t.Any]]]
) -> t.List[t.Dict[str, t.Any]]:
    if not models:
        raise GpufleetError("No model is named: -e model=org/name, a list as models, or a directory on the hosts.")
    if len(found) != len(models):
        raise GpufleetError("%d models, but what was found is of %d." % (len(models), len(found)))
    known = []
    for wanted, results in zip(models, found):
        entry = wanted if isinstance(wanted, dict) else {"model": wanted}
        unknown = sorted(set(entry) - _MODEL_KEYS)
        if unknown:
            raise GpufleetError(
                "A model of the list has no option %s: it takes %s."
                % (", ".join(unknown), ", ".join(sorted(_MODEL_KEYS)))
            )
        facts = next((result["model"] for result in results if isinstance(result.get("model"), dict)), None)
        name = entry.get("name") or entry.get("model") or (facts or {}).get("architecture")
        if not name:
            raise GpufleetError("A model of the list has neither a name nor a model: give one of them.")
        problem = None
        if facts is None:
            tried = [result for result in results if not result.get("skipped")]
            problem = _failure(tried[0], "it could not be read, -vvv shows why") if tried else "nobody looked at it"
        known.append(
            {
                "name": str(name),
                "model": facts,
                "problem": problem,
                "options": _wishes({key: value for key, value in entry.items() if key in WISHES}),
            }
        )
    return known


def _plan(
    host: t.Mapping[str, t.Any], model: t.Mapping[str, t.Any], wishes: t.Mapping[str, t.Any]
) -> t.Dict[str, t.Any]:
    entry: t.Dict[str, t.Any] = {"host": host["name"], "model": model["name"], "plan": None, "problem": None}
    entry["problem"] = host["problem"] or model["problem"]
    if entry["problem"] is None:
        try:
            entry["plan"] = vllm.make_plan(host["hardware"], model["model"], wishes)
        except GpufleetError as error:
            entry["problem"] = str(error)
    return entry
