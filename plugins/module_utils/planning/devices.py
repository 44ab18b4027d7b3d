# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which GPUs an engine may use, how much of each is really free, and which of them belong together."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import GpufleetError
from . import capability
from .facts import Device, Host
from .units import GIB, MIB, gib

# A driver keeps 0.3 to 0.8 GiB of a card for itself, which CUDA does not count as memory of the device.
_DRIVER_MOST = GIB
_DRIVER_USUAL = 600 * MIB


@dataclasses.dataclass(frozen=True)
class Seat:
    """A usable device with what is free on it for this engine, in bytes."""

    device: Device
    total: int  # as CUDA sees it
    free: int  # before this engine's own CUDA context
    foreign: int  # held by processes that are not this engine's
    foreign_names: t.Tuple[str, ...]
    promised: int  # claimed by planned instances that do not run yet

    @property
    def kind(self) -> t.Tuple[str, t.Optional[capability.Capability]]:
        return self.device.name, self.device.capability


@dataclasses.dataclass(frozen=True)
class Claim:
    """Memory that a planned sibling instance will take on a device."""

    device: str
    bytes: t.Optional[int]
    fraction: t.Optional[float]
    unit: t.Optional[str]


def read_claims(entries: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[Claim]:
    claims = []
    for entry in entries:
        size, fraction = entry.get("bytes"), entry.get("fraction")
        if entry.get("device") in (None, "") or (size is None) == (fraction is None):
            raise GpufleetError(
                "reserved wants entries with device and either bytes or fraction, got %s." % dict(entry)
            )
        if fraction is not None and not 0 <= float(fraction) <= 1:
            raise GpufleetError("reserved fraction=%s: give a number from 0 to 1." % fraction)
        if size is not None and int(size) < 0:
            raise GpufleetError("reserved bytes=%s: give 0 or more." % size)
        claims.append(
            Claim(
                str(entry["device"]),
                None if size is None else int(size),
                None if fraction is None else float(fraction),
                entry.get("unit"),
            )
        )
    return claims


def seat(device: Device, own_units: t.Collection[str], claims: t.Iterable[Claim]) -> Seat:
    """Count what is free: a process of one of ``own_units`` does not count, a claim of a sibling does."""
    own = [process for process in device.processes if process.unit in own_units]
    others = [process for process in device.processes if process.unit not in own_units]
    own_bytes = sum(process.memory_bytes for process in own)
    foreign = sum(process.memory_bytes for process in others)
    names = ["%s (pid %d%s)" % (item.name, item.pid, ", " + item.unit if item.unit else "") for item in others]
    unexplained = max(0, device.total_bytes - device.free_bytes - own_bytes - foreign)
    kept = device.reserved_bytes
    if kept is None:
        kept = 0 if device.is_slice or device.unified else min(unexplained, _DRIVER_MOST)
        if unexplained > _DRIVER_MOST:
            kept = 0 if device.is_slice or device.unified else _DRIVER_USUAL
    hidden = max(0, unexplained - kept)
    if hidden > 256 * MIB and not device.unified:
        if any(not process.memory_bytes for process in own):
            own_bytes += hidden  # a driver that does not say how much a process holds
        elif any(not process.memory_bytes for process in others):
            foreign += hidden
        else:
            foreign += hidden
            names.append("processes that the driver does not list")
    total = device.total_bytes - kept
    promised = 0
    for claim in claims:
        if claim.device not in (device.id, str(device.index) if not device.is_slice else device.id):
            continue
        wanted = claim.bytes if claim.bytes is not None else int(total * (claim.fraction or 0.0))
        held = sum(item.memory_bytes for item in others if claim.unit and item.unit == claim.unit)
        promised += max(0, wanted - held)
    free = min(total, device.free_bytes + own_bytes) - promised
    return Seat(device, total, max(0, free), foreign, tuple(names), promised)


def why_unusable(device: Device) -> t.Optional[t.Tuple[str, str]]:
    """Refusal code and sentence for a device that vLLM cannot use; None for one it can."""
    if device.vendor != "nvidia":
        return "unsupported_vendor", "%s is %s (%s): this planner only knows NVIDIA GPUs for vLLM so far" % (
            device.label, device.name, device.vendor
        )  # fmt: skip
    if device.problem:
        return "device_problem", "%s (%s): %s" % (device.label, device.name, device.problem.rstrip("."))
    if device.sliced:
        return "mig_card", "%s (%s) is cut into MIG slices: it can only be used slice by slice" % (
            device.label, device.name
        )  # fmt: skip
    if device.capability is None:
        return "device_problem", "%s (%s): its compute capability is unknown" % (device.label, device.name)
    if device.capability < capability.LEAST_CAPABILITY:
        return "capability_too_old", "%s (%s) has compute capability %s, vLLM's wheels start at %s" % (
            device.label, device.name, capability.text(device.capability), capability.text(capability.LEAST_CAPABILITY)
        )  # fmt: skip
    if device.compute_mode.replace(" ", "_").replace("-", "_") == "prohibited":
        return "device_problem", "%s (%s): its compute mode is prohibited (nvidia-smi -c 0 allows it)" % (
            device.label, device.name
        )  # fmt: skip
    if not device.total_bytes:
        return "device_problem", "%s (%s): its memory size is unknown" % (device.label, device.name)
    return None


def exclusive(device: Device) -> bool:
    return "exclusive" in device.compute_mode


def find(host: Host, wanted: t.Sequence[t.Any]) -> t.Tuple[t.List[Device], t.List[str]]:
    """The devices of a list of indices and UUIDs, and the items that name none."""
    found: t.List[Device] = []
    missing: t.List[str] = []
    for item in wanted:
        text = str(item).strip()
        match = [
            device
            for device in host.devices
            if device.id == text or (text.isdigit() and not device.is_slice and device.index == int(text))
        ]
        if match and match[0] not in found:
            found.append(match[0])
        elif not match:
            missing.append(text)
    return found, missing


def islands(seats: t.Sequence[Seat], nvswitches: int) -> t.List[t.List[Seat]]:
    """GPUs joined by NVLink, as connected sets; a GPU without NVLink is a set of its own."""
    if nvswitches and len(seats) > 1 and not any(item.device.is_slice for item in seats):
        return [list(seats)]
    rest, result = list(seats), []
    while rest:
        group, waiting = [], [rest.pop(0)]
        while waiting:
            member = waiting.pop(0)
            group.append(member)
            linked = [other for other in rest if _linked(member.device, other.device)]
            rest = [other for other in rest if other not in linked]
            waiting += linked
        result.append(group)
    return result


def _linked(one: Device, other: Device) -> bool:
    return other.index in one.nvlink_peers or one.index in other.nvlink_peers


def choose(seats: t.Sequence[Seat], number: int, nvswitches: int) -> t.Tuple[t.List[Seat], bool]:
    """``number`` of equal GPUs that work well together, and whether NVLink joins them all.

    Inside one NVLink set where one is large enough (the smallest such, so that larger ones stay whole), then on one
    NUMA node, then anywhere; among equals those with the most free memory, then the lowest numbers.
    """
    sets = [(group, len(group) > 1) for group in islands(seats, nvswitches) if len(group) >= number]
    if not sets:
        nodes: t.Dict[t.Any, t.List[Seat]] = {}
        for item in seats:
            nodes.setdefault(item.device.numa_node, []).append(item)
        near = [group for group in nodes.values() if len(group) >= number]
        sets = [(group, False) for group in near or [list(seats)]]
    picks = [(_most_free(group, number), linked, len(group)) for group, linked in sets]
    best = min(picks, key=lambda pick: (-min(_steps(x.free) for x in pick[0]), pick[2], pick[0][0].device.index))
    return best[0], best[1] or number == 1


def _most_free(group: t.Sequence[Seat], number: int) -> t.List[Seat]:
    ranked = sorted(group, key=lambda item: (-_steps(item.free), item.device.index, item.device.id))
    return sorted(ranked[:number], key=lambda item: (item.device.index, item.device.id))


def _steps(size: int) -> int:
    """Half-GiB steps: a few MiB more or less on an idle GPU must not change the choice."""
    return size // (GIB // 2)


def describe(seats: t.Sequence[Seat]) -> str:
    """``GPU 0 and 1 (2 x NVIDIA L40S)``."""
    if not seats:
        return "no GPU"
    if any(item.device.is_slice for item in seats):
        return ", ".join(item.device.label for item in seats)
    numbers = [str(item.device.index) for item in seats]
    joined = numbers[0] if len(numbers) == 1 else ", ".join(numbers[:-1]) + " and " + numbers[-1]
    return "GPU %s (%d x %s)" % (joined, len(seats), seats[0].device.name)


def foreign_text(seats: t.Sequence[Seat]) -> str:
    """Who holds memory on these devices, for people; empty when nobody does."""
    parts = [
        "%s on %s: %s" % (gib(item.foreign), item.device.label, ", ".join(item.foreign_names) or "unknown processes")
        for item in seats
        if item.foreign
    ]
    return "; ".join(parts)
