# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From hardware facts, the facts of GGUF models and wishes to an Ollama plan. Pure: no I/O, no clock, no chance."""

from __future__ import annotations

import hashlib
import json
import typing as t

from . import explain
from . import numbers as ollama_numbers
from . import refusals
from . import schedule
from . import values
from ..facts import Host, read_host
from .settings import settings
from .solve import Solver
from .variables import PLANNER_VERSION, VARIABLES
from .wishes import read_wishes
from ..units import GIB
from ..wishes import Draft

SCHEMA = "gpufleet.plan/1"


def make_plan(hardware: t.Mapping[str, t.Any], options: t.Optional[t.Mapping[str, t.Any]] = None) -> t.Dict[str, t.Any]:
    """The plan (schema gpufleet.plan/1) for the host and the module's options, the models among them.

    A refusal is an answer: ``refusal`` says why, the numbers are still there.
    Raises GpufleetError only for options or facts that make no sense.
    """
    host = read_host(hardware)
    wishes = read_wishes(options or {})
    draft = Draft(warnings=list(wishes.warnings))
    usable, refusal = refusals.devices_refusal(host, wishes)
    draft.refuse(refusal)
    for wish in wishes.models:
        draft.refuse(refusals.model_refusal(wish))
    cards = [schedule.card(device, wishes.own_units, wishes.claims) for device in usable]
    if len({card.library for card in cards}) > 1:
        explain.mixed(cards, draft)
    solver = Solver(host, cards, wishes)
    solution = solver.solve()
    draft.refuse(refusals.memory_refusal(solution, solver))
    draft.devices = [card.id for card in cards]
    draft.settings = settings(host, solver, solution)
    draft.environment = {name: values.text(VARIABLES[name], value) for name, value in draft.settings.items()}
    draft.numbers = ollama_numbers.numbers(host, solver, solution)
    explain.write(host, solver, solution, draft)
    return {
        "schema": SCHEMA,
        "engine": "ollama",
        "engine_version": wishes.version,
        "variant": cards[0].library.lower() if cards else "cpu",
        "settings": dict(sorted(draft.settings.items())),
        "environment": dict(sorted(draft.environment.items())),
        "models": [ollama_numbers.model(item, solver) for item in solution.loaded],
        "devices": draft.devices,
        "numbers": draft.numbers,
        "reasons": draft.reasons,
        "warnings": draft.warnings,
        "refusal": draft.refusal.as_dict() if draft.refusal else None,
        "fingerprint": _fingerprint(host, solver),
    }


def _fingerprint(host: Host, solver: Solver) -> str:
    """Equal for equal stable inputs: what is momentarily free or running has no part in it."""
    wishes = solver.wishes
    stable = {
        "planner": PLANNER_VERSION,
        "engine": ["ollama", wishes.version],
        "models": [
            [wish.name, wish.model.identity, wish.context, wish.parallel, wish.keep_alive, wish.parameters]
            for wish in wishes.models
        ],
        "wishes": [
            wishes.context, wishes.parallel, wishes.keep_alive, wishes.kv_type, wishes.gpus, wishes.max_vram,
            wishes.overhead, wishes.require_gpu, wishes.server,
            [[claim.device, claim.bytes, claim.fraction, claim.unit] for claim in wishes.claims],
        ],
        "hardware": [
            [[device.id, device.name, device.capability, device.total_bytes] for device in host.devices],
            [host.cpu_model, host.cores, host.memory_total_bytes // GIB],
        ],
    }  # fmt: skip
    text = json.dumps(stable, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
