# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as text for people: what it decides, where the memory goes, and why. Plain ASCII, at most 100 columns."""

from __future__ import annotations

import textwrap
import typing as t

from ..planning.arguments import render
from . import words
from .words import TERMS, gib

WIDTH = 100
_BAR = 40
_LABEL = 18


def plan_table(
    plan: t.Mapping[str, t.Any],
    hardware: t.Optional[t.Mapping[str, t.Any]] = None,
    model: t.Optional[t.Mapping[str, t.Any]] = None,
) -> str:
    """The plan of vllm_plan as a table; with the facts it was made from, the heading names host and model."""
    words.check_schema(plan, "gpufleet.plan/1", "plan_table wants the plan that gpufleet.llm.vllm_plan returned")
    blocks = [_heading(plan, hardware, model)]
    if plan.get("refusal"):
        blocks.append(_refusal(plan["refusal"]))
    blocks.append(_decisions(plan))
    blocks.append(_memory(plan))
    if not plan.get("refusal"):
        blocks.append("COMMAND\n" + command(plan))
    blocks.append(_sentences("WHY", plan.get("reasons") or []))
    blocks.append(_sentences("MIND", plan.get("warnings") or []))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _heading(
    plan: t.Mapping[str, t.Any], hardware: t.Optional[t.Mapping[str, t.Any]], model: t.Optional[t.Mapping[str, t.Any]]
) -> str:
    verdict = words.VERDICTS[words.verdict(plan)]
    title = "vLLM %s (%s)" % (plan["engine_version"], plan["variant"])
    if model:
        source = model.get("source")
        name = model["architecture"] if source in (None, "config") else source
        title = "%s on %s" % (name, title)
    line = title + " " * max(2, WIDTH - len(title) - len(verdict)) + verdict
    parts = []
    if model:
        parts.append(words.model_line(model))
    gpus = plan["numbers"].get("gpus") or []
    if gpus:
        parts.append("%d x %s" % (len(gpus), gpus[0]["name"]))
    elif hardware:
        cpu = hardware.get("cpu") or {}
        parts.append("%s, %s cores" % (cpu.get("model") or "CPU", cpu.get("cores") or "?"))
        parts.append(gib(hardware.get("memory_total_bytes") or 0) + " GiB")
    second = " | ".join(parts)
    return "\n".join(part for part in (line, "=" * WIDTH, second) if part)


def _refusal(refusal: t.Mapping[str, t.Any]) -> str:
    lines = ["REFUSED: %s" % refusal["code"]]
    lines.extend(_wrap(refusal["message"], "  ", "  "))
    if refusal.get("remedies"):
        lines.append("  What would help, cheapest first:")
        for number, remedy in enumerate(refusal["remedies"], 1):
            lines.extend(_wrap(remedy, "  %d. " % number, "     "))
    return "\n".join(lines)


def _decisions(plan: t.Mapping[str, t.Any]) -> str:
    settings, numbers = plan["settings"], plan["numbers"]
    if "max_model_len" not in settings:
        return ""
    rows = []
    gpus = numbers.get("gpus") or []
    if gpus:
        labels = ", ".join(_device(gpu) for gpu in gpus)
        rows.append(("GPUs", labels, "tensor parallel %d" % settings["tensor_parallel_size"] + _pipeline(settings)))
    limit = numbers.get("context_limit_tokens")
    rows.append(
        (
            "Context",
            "%s tokens" % format(settings["max_model_len"], ","),
            "the model allows %s" % format(limit, ",") if limit else "",
        )
    )
    rows.append(
        (
            "Batch",
            "%s sequences" % format(settings["max_num_seqs"], ","),
            "%s tokens per step" % format(settings["max_num_batched_tokens"], ","),
        )
    )
    tokens = numbers.get("kv_cache_tokens")
    if tokens:
        spread = (
            ""
            if tokens["low"] == tokens["high"]
            else "%s to %s" % tuple(format(tokens[x], ",") for x in ("low", "high"))
        )
        rows.append(("KV cache", "%s tokens" % format(tokens["expected"], ","), spread))
        rows.append(
            (
                "Full requests",
                "%.1f at once" % numbers["max_concurrency"],
                "%s per token, blocks of %d tokens" % (words.small(numbers["kv_bytes_per_token"]), numbers["block_size"]),
            )
        )
    return "\n".join(("  %-*s %-34s %s" % (_LABEL - 2, label, value, note)).rstrip() for label, value, note in rows)


def _device(gpu: t.Mapping[str, t.Any]) -> str:
    return gpu["name"].partition(" MIG ")[2] + " slice" if " MIG " in gpu["name"] else str(gpu["index"])


def _pipeline(settings: t.Mapping[str, t.Any]) -> str:
    stages = settings.get("pipeline_parallel_size", 1)
    return " x pipeline parallel %d" % stages if stages > 1 else ""


def _memory(plan: t.Mapping[str, t.Any]) -> str:
    numbers = plan["numbers"]
    total = numbers.get("total_memory_bytes")
    if not total:
        known = [("Weights", numbers["weights_bytes_per_gpu"])]
        return "\n".join("  %-*s %10s GiB, unsplit" % (_LABEL - 2, label, gib(size)) for label, size in known)
    each = "MEMORY PER GPU" if plan["variant"] == "cuda" else "MEMORY"
    rows = ["%-*s %10s   %s" % (_LABEL, each, "GiB", "0%" + " " * (_BAR - 5) + "100%")]
    start = 0.0
    for label, key in TERMS:
        value = numbers.get(key)
        if value is None:
            continue
        low, size, high = words.spread(value)
        if not size and not high:
            continue
        spread = "" if low == high else "%s to %s" % (gib(low), gib(high))
        rows.append("  %-*s %10s   |%s| %s" % (_LABEL - 2, label, gib(size), _bar(start, start + size, total), spread))
        start += size
    rows.append("  %-*s %10s" % (_LABEL - 2, "Total", gib(total)))
    short = (plan.get("refusal") or {}).get("short_bytes")
    if short:
        rows.append("  %-*s %10s" % (_LABEL - 2, "Missing", gib(short)))
    return "\n".join(row.rstrip() for row in rows)


def _bar(start: float, end: float, total: int) -> str:
    """The term's own part of the whole, where the terms above it end."""
    width = _BAR - 1
    first = min(width - 1, max(0, round(start / total * width)))
    last = min(width, max(first + 1, round(end / total * width)))
    return " " * first + "#" * (last - first) + " " * (width - last)


def command(plan: t.Mapping[str, t.Any]) -> str:
    """What starts the engine by hand, with its environment."""
    options: t.List[str] = []
    for word in render(plan["settings"], plan["engine_version"]):
        if word.startswith("--") or not options:
            options.append(word)
        else:
            options[-1] += " " + (repr(word) if set(word) & set(' {}"') else word)
    lines = []
    for name, value in sorted(plan["environment"].items()):
        line = "  %s=%s" % (name, value)
        if len(line) > WIDTH:  # the UUIDs of several GPUs
            line = "  %s=%s,... (%d in all)" % (name, value.split(",")[0], value.count(",") + 1)
        lines.append(line)
    # The vllm command of the CPU package does not find its own version; its module does what the command would.
    cpu = "python -m vllm.entrypoints.openai.api_server --model MODEL"
    row = "  vllm serve MODEL" if plan["variant"] == "cuda" else "  " + cpu
    for option in options:
        if len(row) + 1 + len(option) > WIDTH - 2:
            lines.append(row + " \\")
            row = "     "
        row += " " + option
    return "\n".join(lines + [row])


def _sentences(title: str, sentences: t.Sequence[str]) -> str:
    lines = [title] if sentences else []
    for sentence in sentences:
        lines.extend(_wrap(sentence, "  - ", "    "))
    return "\n".join(lines)


def _wrap(text: str, first: str, rest: str) -> t.List[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
