# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a printed plan says of vLLM: its decisions, the memory of a GPU, the command."""

from __future__ import annotations

import typing as t

from ..planning.arguments import render
from . import words
from .layout import WIDTH, Layout
from .words import TERMS, gib


def verdict(plan: t.Mapping[str, t.Any]) -> str:
    return words.VERDICTS[words.verdict(plan)]


def title(plan: t.Mapping[str, t.Any], models: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    text = "vLLM %s (%s)" % (plan["engine_version"], plan["variant"])
    if not models:
        return text
    source = models[0].get("source")
    return "%s on %s" % (models[0]["architecture"] if source in (None, "config") else source, text)


def summary(plan: t.Mapping[str, t.Any], models: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    return words.model_line(models[0]) if models else ""


def blocks(plan: t.Mapping[str, t.Any], layout: Layout) -> t.List[str]:
    found = [_decisions(plan, layout), _memory(plan, layout)]
    return found if plan.get("refusal") else found + ["COMMAND\n" + command(plan, layout.width)]


def _decisions(plan: t.Mapping[str, t.Any], layout: Layout) -> str:
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
                "%s per token, blocks of %d tokens"
                % (words.small(numbers["kv_bytes_per_token"]), numbers["block_size"]),
            )
        )
    return layout.pairs(rows)


def _device(gpu: t.Mapping[str, t.Any]) -> str:
    return gpu["name"].partition(" MIG ")[2] + " slice" if " MIG " in gpu["name"] else str(gpu["index"])


def _pipeline(settings: t.Mapping[str, t.Any]) -> str:
    stages = settings.get("pipeline_parallel_size", 1)
    return " x pipeline parallel %d" % stages if stages > 1 else ""


def _memory(plan: t.Mapping[str, t.Any], layout: Layout) -> str:
    numbers = plan["numbers"]
    total = numbers.get("total_memory_bytes")
    if not total:
        return layout.pairs([("Weights", "%10s GiB, unsplit" % gib(numbers["weights_bytes_per_gpu"]), "")])
    terms = [(label, numbers.get(key)) for label, key in TERMS]
    each = "MEMORY PER GPU" if plan["variant"] == "cuda" else "MEMORY"
    return layout.bars(each, terms, total, (plan.get("refusal") or {}).get("short_bytes"))


def command(plan: t.Mapping[str, t.Any], width: int = WIDTH) -> str:
    """What starts the engine by hand, with its environment."""
    options: t.List[str] = []
    for word in render(plan["settings"], plan["engine_version"]):
        if word.startswith("--") or not options:
            options.append(word)
        else:
            options[-1] += " " + (repr(word) if set(word) & set(' {}"') or not word.isprintable() else word)
    lines = []
    for name, value in sorted(plan["environment"].items()):
        line = "  %s=%s" % (name, words.printable(value))
        if len(line) > width:  # the UUIDs of several GPUs
            line = "  %s=%s,... (%d in all)" % (name, value.split(",")[0], value.count(",") + 1)
        lines.append(line)
    # The vllm command of the CPU package does not find its own version; its module does what the command would.
    cpu = "python -m vllm.entrypoints.openai.api_server --model MODEL"
    row = "  vllm serve MODEL" if plan["variant"] == "cuda" else "  " + cpu
    for option in options:
        if len(row) + 1 + len(option) > width - 2:
            lines.append(row + " \\")
            row = "     "
        row += " " + option
    return "\n".join(lines + [row])
