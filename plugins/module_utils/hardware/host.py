# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine around the GPUs: processors, memory, disks, and what kind of environment this is."""

from __future__ import annotations

import os
import platform
import re
import typing as t

from . import cgroup
from .pci import read

# What engines choose their kernels by.
FEATURES = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vnni",
    "amx_bf16",
    "amx_int8",
    "amx_tile",
    "asimd",
    "bf16",
    "i8mm",
    "sve",
    "sve2",
)
# ARM's /proc/cpuinfo has numbers where x86 has a name.
ARM_CORES = {
    ("0x41", "0xd0c"): "Arm Neoverse-N1",
    ("0x41", "0xd40"): "Arm Neoverse-V1",
    ("0x41", "0xd49"): "Arm Neoverse-N2",
    ("0x41", "0xd4f"): "Arm Neoverse-V2",
    ("0x41", "0xd84"): "Arm Neoverse-V3",
    ("0x41", "0xd42"): "Arm Cortex-A78AE",
    ("0x41", "0xd85"): "Arm Cortex-X925",
    ("0x41", "0xd87"): "Arm Cortex-A725",
    ("0xc0", "0xac3"): "Ampere-1",
    ("0xc0", "0xac4"): "Ampere-1a",
}


class Memory(t.NamedTuple):
    total_bytes: int
    available_bytes: int
    warning: t.Optional[str]


def cpu(root: str = "/", allowed: t.Optional[t.Iterable[int]] = None, machine: t.Optional[str] = None) -> dict:
    """Processors that this process may use: its affinity (which cpusets show in) and its groups' quota."""
    usable = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    quota = cgroup.limits(root).cpus
    cores = {_siblings(root, number) for number in usable}
    sockets = {read(_topology(root, number, "physical_package_id")) or "0" for number in usable}
    # A quota is time, not places: 2.5 CPUs' worth of it runs two threads without being throttled.
    bound = max(1, int(quota)) if quota else len(usable)
    blocks = _cpuinfo(root)
    return {
        "model": _model(root, blocks),
        "architecture": machine or platform.machine(),
        "sockets": len(sockets),
        "cores": min(len(cores), bound),
        "threads": min(len(usable), bound),
        "quota_cpus": quota,
        "numa_nodes": _numa_nodes(root, set(usable)),
        "features": _features(blocks),
    }


def memory(root: str = "/") -> Memory:
    info = _meminfo(os.path.join(root, "proc/meminfo"))
    total, available = info["MemTotal"], info.get("MemAvailable", info.get("MemFree", 0))
    limits = cgroup.limits(root)
    if limits.memory_bytes is None or limits.memory_bytes >= total:
        return Memory(total, available, None)
    available = min(available, max(0, limits.memory_bytes - (limits.memory_used_bytes or 0)))
    warning = "A control group limits memory to %.1f GiB of the machine's %.1f GiB; the limit is reported." % (
        limits.memory_bytes / 2**30,
        total / 2**30,
    )
    return Memory(limits.memory_bytes, available, warning)


def disk(path: str) -> dict:
    """The file system that ``path`` is on, or will be on: measured at its nearest existing parent."""
    measured = os.path.abspath(path)
    while not os.path.exists(measured) and measured != os.path.dirname(measured):
        measured = os.path.dirname(measured)
    stat = os.statvfs(measured)
    return {
        "path": path,
        "measured_at": measured,
        "total_bytes": stat.f_blocks * stat.f_frsize,
        "free_bytes": stat.f_bavail * stat.f_frsize,
    }


def environment(root: str = "/") -> str:
    """wsl, jetson, container or bare (which includes virtual machines: they use their GPUs like bare metal)."""
    if os.path.exists(os.path.join(root, "dev/dxg")):
        return "wsl"
    if os.path.exists(os.path.join(root, "etc/nv_tegra_release")) or "Jetson" in (board(root) or ""):
        return "jetson"
    marks = (".dockerenv", "run/.containerenv", "run/systemd/container")
    if any(os.path.exists(os.path.join(root, mark)) for mark in marks):
        return "container"
    started_with = (read(os.path.join(root, "proc/1/environ")) or "").split("\0")
    return "container" if any(entry.startswith("container=") for entry in started_with) else "bare"


def board(root: str = "/") -> t.Optional[str]:
    return read(os.path.join(root, "proc/device-tree/model"))


def process_name(pid: int, said: t.Optional[str], root: str = "/") -> t.Optional[str]:
    """The program's name and never its arguments: they may hold a key."""
    command_line = (read(os.path.join(root, "proc/%d/cmdline" % pid)) or "").partition("\0")[0]
    words = (command_line or said or "").split()
    return os.path.basename(words[0]) if words else None


def _cpuinfo(root: str) -> t.List[t.Dict[str, str]]:
    blocks: t.List[t.Dict[str, str]] = []
    for block in re.split(r"\n\s*\n", read(os.path.join(root, "proc/cpuinfo")) or ""):
        pairs = (line.partition(":") for line in block.splitlines())
        blocks.append({name.strip(): value.strip() for name, _colon, value in pairs})
    return blocks


def _model(root: str, blocks: t.List[t.Dict[str, str]]) -> t.Optional[str]:
    for block in blocks:
        if block.get("model name"):
            return block["model name"]
    names = []
    for block in blocks:
        number = (block.get("CPU implementer", ""), block.get("CPU part", ""))
        if number[0]:
            name = ARM_CORES.get(number, "Arm implementer %s part %s" % number)
            names += [name] if name not in names else []
    return " + ".join(names) or board(root)


def _features(blocks: t.List[t.Dict[str, str]]) -> t.List[str]:
    has = set(
        " ".join(block.get("flags", "") + " " + block.get("Features", "") for block in blocks[:1]).lower().split()
    )
    return [name for name in FEATURES if name in has]


def _topology(root: str, number: int, name: str) -> str:
    return os.path.join(root, "sys/devices/system/cpu/cpu%d/topology" % number, name)


def _siblings(root: str, number: int) -> str:
    """One key per physical core; core_id alone repeats across dies and sockets."""
    for name in ("core_cpus_list", "thread_siblings_list"):
        listed = read(_topology(root, number, name))
        if listed:
            return listed
    return str(number)


def _numa_nodes(root: str, usable: t.Set[int]) -> t.List[dict]:
    base = os.path.join(root, "sys/devices/system/node")
    numbers = [
        int(name[4:]) for name in (os.listdir(base) if os.path.isdir(base) else []) if re.match(r"node\d+$", name)
    ]
    nodes = []
    for number in sorted(numbers):
        path = os.path.join(base, "node%d" % number)
        memory_of_node = re.search(r"MemTotal:\s*(\d+) kB", read(os.path.join(path, "meminfo")) or "")
        nodes.append(
            {
                "id": number,
                "cpus": sorted(usable & parse_list(read(os.path.join(path, "cpulist")) or "")),
                "memory_total_bytes": int(memory_of_node.group(1)) * 1024 if memory_of_node else None,
            }
        )
    if not nodes:  # a kernel without NUMA: one node with everything
        total = _meminfo(os.path.join(root, "proc/meminfo")).get("MemTotal")
        nodes = [{"id": 0, "cpus": sorted(usable), "memory_total_bytes": total}]
    return nodes


def parse_list(text: str) -> t.Set[int]:
    """The kernel's lists of numbers: 0-3,8 -> {0, 1, 2, 3, 8}."""
    numbers: t.Set[int] = set()
    for part in filter(None, text.split(",")):
        first, _dash, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def _meminfo(path: str) -> t.Dict[str, int]:
    found = {}
    for line in (read(path) or "").splitlines():
        match = re.match(r"^(\w+):\s*(\d+) kB", line)
        if match:
            found[match.group(1)] = int(match.group(2)) * 1024
    return found
