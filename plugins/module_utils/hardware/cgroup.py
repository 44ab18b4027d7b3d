# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control groups: what this process may use, and which systemd unit another one belongs to. Versions 1 and 2."""

from __future__ import annotations

import os
import typing as t

from .pci import read

# An unlimited memory.limit_in_bytes is the largest page-aligned number, not a word.
UNLIMITED = 1 << 60


class Limits(t.NamedTuple):
    cpus: t.Optional[float]
    memory_bytes: t.Optional[int]
    memory_used_bytes: t.Optional[int]  # without what the kernel would give back, of the group with that limit


def limits(root: str = "/") -> Limits:
    """The tightest of the limits set on this process's group and on every group above it."""
    cpus, memory = [], []
    for version, controllers, path in _memberships(root):
        if version == 2:
            for group in _upwards(os.path.join(root, "sys/fs/cgroup"), path):
                cpus.append(_quota_v2(group))
                memory.append(_memory(group, "memory.max", "memory.current", "inactive_file"))
        for controller, name in (("cpu", "cpu,cpuacct"), ("cpu", "cpu")):
            if controller in controllers and version == 1:
                for group in _upwards(os.path.join(root, "sys/fs/cgroup", name), path):
                    cpus.append(_quota_v1(group))
        if "memory" in controllers and version == 1:
            for group in _upwards(os.path.join(root, "sys/fs/cgroup/memory"), path):
                memory.append(_memory(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
    known = [entry for entry in memory if entry is not None]
    limit, used = min(known) if known else (None, None)
    return Limits(min((quota for quota in cpus if quota), default=None), limit, used)


def unit_of(pid: int, root: str = "/") -> t.Optional[str]:
    """The systemd unit of a process: the innermost service or scope on its path."""
    for line in (read(os.path.join(root, "proc/%d/cgroup" % pid)) or "").splitlines():
        _number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers not in ("", "name=systemd"):
            continue
        units = [part for part in path.split("/") if part.endswith((".service", ".scope"))]
        if units:
            return units[-1]
    return None


def _memberships(root: str) -> t.Iterator[t.Tuple[int, t.List[str], str]]:
    for line in (read(os.path.join(root, "proc/self/cgroup")) or "").splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        yield (2 if number == "0" and not controllers else 1), controllers.split(","), path


def _upwards(mount: str, path: str) -> t.Iterator[str]:
    """The group's directory and all above it. In a container the path may be the host's: then only the top exists."""
    parts = [part for part in path.split("/") if part and part != ".."]
    for depth in range(len(parts), -1, -1):
        group = os.path.join(mount, *parts[:depth])
        if os.path.isdir(group):
            yield group


def _quota_v2(group: str) -> t.Optional[float]:
    quota, _space, period = (read(os.path.join(group, "cpu.max")) or "max").partition(" ")
    return None if quota == "max" else int(quota) / int(period or 100000)


def _quota_v1(group: str) -> t.Optional[float]:
    quota = int(read(os.path.join(group, "cpu.cfs_quota_us")) or -1)
    period = int(read(os.path.join(group, "cpu.cfs_period_us")) or 100000)
    return quota / period if quota > 0 else None


def _memory(group: str, limit_file: str, used_file: str, reclaimable: str) -> t.Optional[t.Tuple[int, int]]:
    limit = read(os.path.join(group, limit_file))
    if not limit or limit == "max" or int(limit) >= UNLIMITED:
        return None
    used = int(read(os.path.join(group, used_file)) or 0)
    for line in (read(os.path.join(group, "memory.stat")) or "").splitlines():
        name, _space, value = line.partition(" ")
        if name == reclaimable:
            used = max(0, used - int(value))
    return int(limit), used
