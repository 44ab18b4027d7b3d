# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A placement as text for people, and as an inventory source. Plain ASCII, at most 100 columns where names allow."""

from __future__ import annotations

import textwrap
import typing as t

from ...errors import GpufleetError
from .wishes import SCHEMA
from ..units import GIB, count

WIDTH = 100
# Of a large fleet the first so many rows are shown.
_MOST_ROWS = 60


def inventory(placement: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """An inventory source: every host's ``vllm_instances``, and ``gpufleet_placement``, the record for the next run."""
    _check(placement, "placement_inventory")
    hosts = {host: {"vllm_instances": entries} for host, entries in sorted(placement["vllm_instances"].items())}
    return {"all": {"vars": {"gpufleet_placement": placement["record"]}, "hosts": hosts}}


def table(placement: t.Mapping[str, t.Any]) -> str:
    """What goes where, what has no place and what would help, what moved."""
    _check(placement, "placement_table")
    blocks = [_heading(placement), _refusals(placement), _assignments(placement), _moves(placement), _mind(placement)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _check(placement: t.Any, name: str) -> None:
    if not isinstance(placement, dict) or placement.get("schema") != SCHEMA or "vllm_instances" not in placement:
        raise GpufleetError(
            "%s wants the placement that gpufleet.llm.placement_plan returned, schema %s." % (name, SCHEMA)
        )


def _heading(placement: t.Mapping[str, t.Any]) -> str:
    balance = placement["balance"]
    missing = sum(item["missing"] for item in placement["refusals"])
    title = "%s on %s" % (count(len(placement["assignments"]), "replica"), count(balance["hosts"], "host"))
    verdict = "%d WITHOUT A PLACE" % missing if missing else "ALL PLACED"
    share = balance["host_share"]
    second = "%d of %s used (%s shared), %.0f of %.0f GiB; hosts use %.0f %% to %.0f %%, %.0f %% on average" % (
        balance["gpus_used"], count(balance["gpus"], "GPU"), balance["gpus_shared"],
        balance["memory_used_bytes"] / GIB, balance["memory_bytes"] / GIB,
        100 * share["least"], 100 * share["most"], 100 * share["mean"],
    )  # fmt: skip
    return "\n".join((title + " " * max(2, WIDTH - len(title) - len(verdict)) + verdict, "=" * WIDTH, second))


def _refusals(placement: t.Mapping[str, t.Any]) -> str:
    lines = []
    for refusal in placement["refusals"]:
        lines.append("NO PLACE for %d of %d x %s" % (refusal["missing"], refusal["replicas"], refusal["model"]))
        lines.extend(_wrap(refusal["message"], "  ", "  "))
        if refusal["remedies"]:
            lines.append("  What would help, each by itself:")
        for number, remedy in enumerate(refusal["remedies"], 1):
            lines.extend(_wrap(remedy, "  %d. " % number, "     "))
    return "\n".join(lines)


def _assignments(placement: t.Mapping[str, t.Any]) -> str:
    rows = [("HOST", "GPUS", "MODEL", "PORT", "TP x PP", "CONTEXT", "REQUESTS", "KV TOKENS", "SHARE")]
    entries = sorted(placement["assignments"], key=lambda item: (item["host"], item["gpu_indices"], item["instance"]))
    for entry in entries[:_MOST_ROWS]:
        rows.append(
            (
                entry["host"],
                ",".join(str(index) for index in entry["gpu_indices"]) or "-",
                "%s %d" % (entry["model"], entry["replica"]),
                str(entry["port"]),
                "%d x %d" % (entry["tensor_parallel_size"], entry["pipeline_parallel_size"]),
                format(entry["context_tokens"], ","),
                str(entry["concurrency"]),
                format(entry["numbers"]["kv_cache_tokens"]["expected"], ","),
                "whole" if entry["share"] is None else "%.0f %%" % (100 * entry["share"]),
            )
        )
    if len(rows) == 1:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = (0, 1, 2)
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    if len(entries) > _MOST_ROWS:
        lines.append("... and %d more" % (len(entries) - _MOST_ROWS))
    return "\n".join(lines)


def _moves(placement: t.Mapping[str, t.Any]) -> str:
    lines = ["CHANGES"] if placement["moves"] else []
    for move in placement["moves"][:_MOST_ROWS]:
        before, after = move["before"], move["after"]
        way = " -> ".join(place["host"] for place in (before, after) if place)
        if before and after and before["host"] == after["host"]:
            way = after["host"]
        lines.extend(
            _wrap(
                "%s %d: %s, %s: %s" % (move["model"], move["replica"], move["what"], way, move["reason"]),
                "  - ",
                "    ",
            )
        )
    if len(placement["moves"]) > _MOST_ROWS:
        lines.append("  ... and %d more" % (len(placement["moves"]) - _MOST_ROWS))
    return "\n".join(lines)


def _mind(placement: t.Mapping[str, t.Any]) -> str:
    sentences = list(placement["warnings"])
    for name, host in sorted(placement["hosts"].items()):
        sentences += ["%s: %s" % (name, problem) for problem in host["problems"]]
    lines = ["MIND"] if sentences else []
    for sentence in sentences[:_MOST_ROWS]:
        lines.extend(_wrap(sentence, "  - ", "    "))
    return "\n".join(lines)


def _wrap(text: str, first: str, rest: str) -> t.List[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
