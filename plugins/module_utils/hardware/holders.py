# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds memory on which GPU: a service or a container is known by the control group of its processes."""

from __future__ import annotations

import os
import typing as t

from . import nvidia_smi, nvml
from .accelerator import MIB, Answer, ProbeFailed
from .pci import read

Row = t.Dict[str, t.Any]


def ask(
    timeout: float,
    tools_python: str,
    ask_nvml: t.Callable[[float, str], Answer] = nvml.probe,
    ask_smi: t.Callable[[float], Answer] = nvidia_smi.probe,
) -> Answer:
    """NVML, else nvidia-smi. Raises ProbeFailed: the failure that says most."""
    try:
        return ask_nvml(timeout, tools_python)
    except ProbeFailed as failure:
        if failure.kind == "hung":  # nvidia-smi asks the same driver, and would be a second process that nobody can kill
            raise
        first = failure
    try:
        return ask_smi(timeout)
    except ProbeFailed as failure:
        raise (first if failure.kind == "absent" else failure) from None


def rows(accelerators: t.Iterable[t.Mapping[str, t.Any]], devices: t.Sequence[str], owns: t.Callable[[Row], bool]) -> t.List[Row]:
    """For each of ``devices`` (indices or UUIDs, as plans name them) what the owner's processes hold there, and others."""
    known = list(_devices(accelerators))
    found = []
    for device in devices:
        names, card = next(((names, card) for names, card in known if str(device) in names), (None, None))
        processes = (card or {}).get("processes") or []
        own = [process for process in processes if owns(process)]
        others = [process for process in processes if process not in own]
        found.append(
            {
                "device": str(device),
                "found": names is not None,
                "problem": (card or {}).get("problem"),
                "processes": len(own),
                "memory_bytes": _sum(own),
                "other_processes": len(others),
                "other_memory_bytes": _sum(others),
            }
        )
    return found


def missing(found: t.Iterable[Row]) -> t.List[str]:
    """The devices on which no process of the owner holds memory."""
    return [row["device"] for row in found if not row["processes"]]


def fallback(owner: str, found: t.Sequence[Row]) -> str:
    """What is wrong, with the numbers."""
    numbers = ["%s: %s" % (row["device"], _numbers(row)) for row in found]
    return "no process of %s holds memory on %s, so it does not run where the plan says (%s)" % (
        owner, ", ".join(missing(found)), "; ".join(numbers),
    )  # fmt: skip


def in_group(group: str, root: str = "/") -> t.Callable[[Row], bool]:
    """Whether a process is in this control group, or in one below it."""

    def owns(process: Row) -> bool:
        return any(path == group or path.startswith(group + "/") for path in groups_of(process["pid"], root))

    return owns


def groups_of(pid: int, root: str = "/") -> t.List[str]:
    """The control groups of a process, in every hierarchy."""
    lines = (read(os.path.join(root, "proc/%d/cgroup" % pid)) or "").splitlines()
    return [line.split(":", 2)[2] for line in lines if line.count(":") >= 2]


def _devices(accelerators: t.Iterable[t.Mapping[str, t.Any]]) -> t.Iterator[t.Tuple[t.List[str], t.Mapping[str, t.Any]]]:
    for card in accelerators:
        yield [str(card["index"])] + ([card["uuid"]] if card["uuid"] else []), card
        for piece in (card.get("mig") or {}).get("slices") or []:
            if piece["uuid"]:
                yield [piece["uuid"]], piece


def _sum(processes: t.Sequence[Row]) -> int:
    # (A driver may not say how much: the process is there all the same.)
    return sum(process.get("memory_bytes") or 0 for process in processes)


def _numbers(row: Row) -> str:
    if not row["found"]:
        return "the driver does not list it"
    return "%d of its processes with %d MiB, %d others with %d MiB" % (
        row["processes"], row["memory_bytes"] // MIB, row["other_processes"], row["other_memory_bytes"] // MIB,
    )  # fmt: skip
