# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From hardware facts, model facts and wishes to a plan. Pure: no I/O, no clock, no chance."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ..errors import GpufleetError
from . import cpu, cuda, refusals, start
from .facts import Host, Model, read_host, read_model
from .units import GIB
from .wishes import Wishes, read_wishes

SCHEMA = "gpufleet.plan/1"
# Raised whenever the same inputs would give another plan: a stored plan with another version is planned anew.
PLANNER_VERSION = "2"
VARIANTS = ("auto", "cuda", "cpu")


def make_plan(
    hardware: t.Mapping[str, t.Any], model: t.Mapping[str, t.Any], options: t.Optional[t.Mapping[str, t.Any]] = None
) -> t.Dict[str, t.Any]:
    """The plan (schema gpufleet.plan/1) for the two contracts and the module's other options.

    A refusal is an answer: ``refusal`` says why, the numbers are still there.
    Raises GpufleetError only for options or facts that make no sense.
    """
    options = options or {}
    host = read_host(hardware)
    facts = read_model(model)
    variant = _variant(host, options.get("variant") or "auto")
    wishes = read_wishes(options, variant)
    draft = cuda.plan(facts, host, wishes) if variant == "cuda" else cpu.plan(facts, host, wishes)
    draft.refuse(refusals.engine_version(wishes.version))
    draft.numbers["start_timeout_s"] = start.timeout_s(facts, variant)
    return {
        "schema": SCHEMA,
        "engine": "vllm",
        "engine_version": wishes.version.text,
        "variant": variant,
        "settings": dict(sorted(draft.settings.items())),
        "environment": dict(sorted(draft.environment.items())),
        "devices": draft.devices,
        "configuration": draft.configuration,
        "numbers": draft.numbers,
        "reasons": draft.reasons,
        "warnings": draft.warnings,
        "refusal": draft.refusal.as_dict() if draft.refusal else None,
        "fingerprint": _fingerprint(host, facts, wishes, variant),
    }


def _variant(host: Host, wished: str) -> str:
    """``auto``: the GPU where a card is present, even one that does not work: using the CPU would hide that."""
    if wished not in VARIANTS:
        raise GpufleetError("variant=%s is not one of %s." % (wished, ", ".join(VARIANTS)))
    if wished == "auto":
        return "cuda" if host.devices else "cpu"
    return wished


def _fingerprint(host: Host, model: Model, wishes: Wishes, variant: str) -> str:
    """Equal for equal stable inputs: what is momentarily free or running has no part in it."""
    stable = {
        "planner": PLANNER_VERSION,
        "engine": ["vllm", wishes.version.text, variant],
        "model": model.identity,
        "wishes": {
            "context": wishes.context,
            "concurrency": wishes.concurrency,
            "gpus": wishes.gpus,
            "prefer": wishes.prefer,
            "headroom_bytes": wishes.headroom_bytes,
            "settings": wishes.settings,
            "reserved": [[claim.device, claim.bytes, claim.fraction, claim.unit] for claim in wishes.claims],
            "cuda_compatibility": wishes.cuda_compatibility,
        },
        "hardware": _hardware_identity(host, variant),
    }
    text = json.dumps(stable, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _hardware_identity(host: Host, variant: str) -> t.List[t.Any]:
    if variant == "cuda":
        return [[device.id, device.name, device.capability, device.total_bytes] for device in host.devices]
    # A kernel update changes the total by a few MiB: whole GiB are identity enough.
    nodes = [[node.id, node.cpus] for node in host.numa_nodes]
    return [host.cpu_model, host.cores, host.memory_total_bytes // GIB, nodes, sorted(host.features)]
