# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a printed plan says of TensorRT-LLM: its decisions, the memory of a GPU, the command."""

from __future__ import annotations

import typing as t

from ..planning.trtllm.options import render
from . import words
from .layout import Layout
from .words import TERMS, gib

_TERMS = tuple(("Left free" if key == "unclaimed_bytes" else label, key) for label, key in TERMS)


def verdict(plan: t.Mapping[str, t.Any]) -> str:
    return words.VERDICTS[words.verdict(plan)]


def title(plan: t.Mapping[str, t.Any], models: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    text = "TensorRT-LLM %s (not tested on a GPU)" % plan["engine_version"]
    if not models:
        return text
    source = models[0].get("source")
    return "%s on %s" % (models[0]["architecture"] if source in (None, "config") else source, text)


def summary(plan: t.Mapping[str, t.Any], models: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    return words.model_line(models[0]) if models else ""


def blocks(plan: t.Mapping[str, t.Any], layout: Layout) -> t.List[str]:
    found = [_decisions(plan, layout), _memory(plan, layout)]
    return found if plan.get("refusal") else found + ["COMMAND\n" + _command(plan, layout)]


def _decisions(plan: t.Mapping[str, t.Any], layout: Layout) -> str:
    settings, numbers = plan["settings"], plan["numbers"]
    tokens = numbers.get("kv_cache_tokens")
    if "max_seq_len" not in settings or not tokens:
        return ""
    stages = settings.get("pp_size", 1)
    split = "tensor parallel %d" % settings["tp_size"] + (" x pipeline parallel %d" % stages if stages > 1 else "")
    spread = tuple(format(tokens[name], ",") for name in ("low", "high"))
    fraction = settings["kv_cache_free_gpu_memory_fraction"]
    return layout.pairs(
        [
            ("GPUs", ", ".join(str(gpu["index"]) for gpu in numbers["gpus"]), split),
            (
                "Context",
                "%s tokens" % format(settings["max_seq_len"], ","),
                "the model allows %s" % format(numbers["context_limit_tokens"], ","),
            ),
            (
                "Batch",
                "%s requests" % format(settings["max_batch_size"], ","),
                "%s tokens per step" % format(settings["max_num_tokens"], ","),
            ),
            (
                "KV cache",
                "%s tokens" % format(tokens["expected"], ","),
                "%s to %s, %.2f of what is free" % (*spread, fraction),
            ),
            (
                "Full requests",
                "%.1f at once" % numbers["max_concurrency"],
                "%s per token, blocks of %d tokens" % (words.small(numbers["kv_bytes_per_token"]), numbers["block_size"]),
            ),
        ]
    )


def _memory(plan: t.Mapping[str, t.Any], layout: Layout) -> str:
    numbers = plan["numbers"]
    total = numbers.get("total_memory_bytes")
    if not total:
        return layout.pairs([("Weights", "%10s GiB, unsplit" % gib(numbers["weights_bytes_per_gpu"]), "")])
    terms = [(label, numbers.get(key)) for label, key in _TERMS]
    return layout.bars("MEMORY PER GPU", terms, total, (plan.get("refusal") or {}).get("short_bytes"))


def _command(plan: t.Mapping[str, t.Any], layout: Layout) -> str:
    """What starts the engine by hand, with its environment."""
    lines = []
    for name, value in sorted(plan["environment"].items()):
        line = "  %s=%s" % (name, words.printable(value))
        if len(line) > layout.width:  # the UUIDs of several GPUs
            line = "  %s=%s,... (%d in all)" % (name, value.split(",")[0], value.count(",") + 1)
        lines.append(line)
    options: t.List[str] = []
    for word in render(plan["settings"], "OPTIONS.yml"):
        if word.startswith("--"):
            options.append(word)
        else:
            options[-1] += " " + (repr(word) if set(word) & set(' {}"') or not word.isprintable() else word)
    row = "  trtllm-serve MODEL"
    for option in options:
        if len(row) + 1 + len(option) > layout.width - 2:
            lines.append(row + " \\")
            row = "     "
        row += " " + option
    return "\n".join(lines + [row])
