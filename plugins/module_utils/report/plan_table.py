# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as text for people: what it decides, where the memory goes, and why."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError
from . import ollama_table, trtllm_table, vllm_table, words
from .layout import WIDTH, Layout

_ENGINES = {"vllm": vllm_table, "ollama": ollama_table, "tensorrt_llm": trtllm_table}
_WANTED = "plan_table wants the plan that gpufleet.llm.vllm_plan, trtllm_plan or ollama_plan returned"

Facts = t.Mapping[str, t.Any]


def plan_table(
    plan: Facts,
    hardware: t.Optional[Facts] = None,
    model: t.Union[Facts, t.Sequence[Facts], None] = None,
    width: int = WIDTH,
) -> str:
    """The plan as a table; with the facts it was made from, the heading names host and model."""
    words.check_schema(plan, "gpufleet.plan/1", _WANTED)
    if plan.get("engine") not in _ENGINES:
        raise GpufleetError("%s, not one of %s." % (_WANTED, words.printable(plan.get("engine"))))
    engine, layout = _ENGINES[plan["engine"]], Layout(width)
    models = [model] if isinstance(model, t.Mapping) else list(model or [])
    parts = [engine.summary(plan, models), _host(plan, hardware)]
    blocks = [layout.heading(engine.title(plan, models), engine.verdict(plan), parts)]
    if plan.get("refusal"):
        blocks.append(layout.refusal(plan["refusal"]))
    blocks.extend(engine.blocks(plan, layout))
    blocks.append(layout.sentences("WHY", plan.get("reasons") or []))
    blocks.append(layout.sentences("WARNINGS", plan.get("warnings") or []))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _host(plan: Facts, hardware: t.Optional[Facts]) -> str:
    gpus = plan["numbers"].get("gpus") or []
    if gpus:
        kinds: t.Dict[str, int] = {}
        for gpu in gpus:
            kinds[gpu["name"]] = kinds.get(gpu["name"], 0) + 1
        return " + ".join("%d x %s" % (number, name) for name, number in kinds.items())
    if not hardware:
        return ""
    cpu = hardware.get("cpu") or {}
    memory = words.gib(hardware.get("memory_total_bytes") or 0)
    return "%s, %s cores | %s GiB" % (cpu.get("model") or "CPU", cpu.get("cores") or "?", memory)
