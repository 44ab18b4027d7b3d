# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NVIDIA GPUs through NVML (nvidia-ml-py), in a process of its own: see nvml_child.py."""

from __future__ import annotations

import inspect
import json
import os
import sys
import typing as t

from . import command, nvml_child, problems
from .accelerator import Accelerator, Answer, ProbeFailed, bus_id

WSL_LIBRARIES = "/usr/lib/wsl/lib"

# NVML's numbers. The text comes with the error; what to do about it is ours.
KIND_OF_ERROR = {4: "permission", 9: "not_loaded", 12: "absent", 18: "mismatch"}
LOST = (15, 16)
ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada Lovelace",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
# GPUs that share the system's memory. Only for these is "memory: Not Supported" an answer and not a fault.
INTEGRATED = ("GB10", "ORIN", "THOR", "XAVIER", "TEGRA")


def probe(timeout: float, tools_python: str) -> Answer:
    """Ask NVML for at most ``timeout`` seconds. Raises ProbeFailed."""
    return parse(_run_child(timeout, tools_python))


def parse(said: t.Mapping[str, t.Any]) -> Answer:
    """The child's report as accelerators."""
    if said.get("error"):
        error = said["error"]
        kind = KIND_OF_ERROR.get(error.get("code"), "error")
        text = error.get("text") or "NVML error %s" % error.get("code")
        if kind == "absent":
            text = "libnvidia-ml.so.1 is not installed (it comes with the NVIDIA driver)"
        raise ProbeFailed(kind, text)
    return Answer(
        accelerators=[_accelerator(device) for device in said["devices"]],
        driver_version=said["driver_version"],
        cuda_driver_version=said["cuda_driver_version"],
    )


def is_integrated(name: t.Optional[str]) -> bool:
    return any(word in (name or "").upper() for word in INTEGRATED)


def _run_child(timeout: float, tools_python: str) -> dict:
    # The tools environment first: its nvidia-ml-py is the one we know. First contact works without it.
    interpreters = [path for path in (tools_python, sys.executable) if path and os.path.exists(path)]
    libraries = ":".join(part for part in (os.environ.get("LD_LIBRARY_PATH"), WSL_LIBRARIES) if part)
    for interpreter in interpreters:
        try:
            result = command.run(
                [interpreter, "-"], timeout, inspect.getsource(nvml_child), {"LD_LIBRARY_PATH": libraries}
            )
        except command.TimedOut as error:
            raise ProbeFailed("hung", "NVML gave %s: the driver hangs" % error) from None
        try:
            said = json.loads(result.stdout.strip().rpartition("\n")[2])
        except ValueError:
            last = result.stderr.strip().rpartition("\n")[2]
            raise ProbeFailed("error", "%s ended with code %d: %s" % (interpreter, result.code, last)) from None
        if "missing" not in said:
            return said
    raise ProbeFailed(
        "absent",
        "nvidia-ml-py is in neither tools_python=%s nor %s" % (tools_python, sys.executable),
    )


def _accelerator(device: t.Mapping[str, t.Any]) -> Accelerator:
    if device["error"]:
        lost = Accelerator(
            index=device["index"],
            vendor="nvidia",
            name=device.get("name") or "NVIDIA GPU",
            uuid=device.get("uuid"),
            pci_bus_id=bus_id(device.get("pci_bus_id")),
        )
        lost.refuse(problems.lost(device["error"].get("text")))
        return lost
    made = Accelerator(
        index=device["index"],
        vendor="nvidia",
        name=device["name"],
        uuid=device["uuid"],
        pci_bus_id=bus_id(device["pci_bus_id"]),
        memory_total_bytes=device["memory"]["total"],
        memory_free_bytes=device["memory"]["free"],
        memory_reserved_bytes=device["memory"]["reserved"],
        memory_unified=is_integrated(device["name"]),
        compute_capability=device["compute_capability"],
        architecture=ARCHITECTURES.get(device["architecture"]),
        mig=_mig(device["mig"]),
        nvlink_peers=device["nvlink_peers"],
        pcie=device["pcie"],
        topology=device["topology"],
        ecc=device["ecc"],
        power_limit_w=device["power_limit_w"],
        persistence=device["persistence"],
        compute_mode=device["compute_mode"],
        processes=device["processes"],
    )
    _judge_memory(made, device["memory"]["error"])
    fabric = device["fabric"]
    if fabric and fabric["state"] in ("not started", "in progress"):
        made.refuse(problems.fabric(fabric["state"]))
    elif fabric and fabric["state"] == "completed" and fabric["status"]:
        made.refuse(problems.fabric("failed with NVML status %s" % fabric["status"]))
    return made


def _judge_memory(made: Accelerator, error: t.Optional[dict]) -> None:
    """No memory figure: normal where memory is shared (facts.py fills it in) or in MIG mode, else a fault."""
    if made.memory_total_bytes:
        return
    made.memory_total_bytes = made.memory_free_bytes = None
    if made.memory_unified or (made.mig and made.mig["enabled"]):
        return
    if error is None:  # success, and nothing of its own: the memory is the system's
        made.memory_unified = True
    elif error.get("code") in LOST:
        made.refuse(problems.lost(error.get("text")))
    else:
        made.refuse(problems.no_memory_figure(error.get("text")))


def _mig(mig: t.Optional[dict]) -> t.Optional[dict]:
    if mig is None:
        return None
    slices = [
        {
            "uuid": piece["uuid"],
            "name": (piece["name"] or "").rpartition("MIG ")[2] or None,
            "gpu_instance_id": piece["gpu_instance_id"],
            "compute_instance_id": piece["compute_instance_id"],
            "memory_total_bytes": piece["memory"]["total"],
            "memory_free_bytes": piece["memory"]["free"],
            "processes": piece["processes"],
        }
        for piece in mig["slices"]
    ]
    return {"enabled": mig["enabled"], "pending": mig["pending"], "slices": slices}
