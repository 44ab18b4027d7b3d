# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of one accelerator, and what a probe answers."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field

MIB = 1024 * 1024


@dataclass
class Accelerator:
    """One card as the hardware facts show it; the field names are the contract's keys."""

    index: int
    vendor: str
    name: str
    uuid: t.Optional[str] = None
    pci_bus_id: t.Optional[str] = None
    memory_total_bytes: t.Optional[int] = None
    memory_free_bytes: t.Optional[int] = None
    memory_reserved_bytes: t.Optional[int] = None  # of the total, never CUDA's to give
    memory_unified: bool = False
    compute_capability: t.Optional[str] = None
    architecture: t.Optional[str] = None
    usable: bool = True
    problem: t.Optional[str] = None
    driver: t.Optional[str] = None
    mig: t.Optional[dict] = None
    nvlink_peers: list = field(default_factory=list)
    pcie: dict = field(default_factory=lambda: {"gen_max": None, "width_max": None})
    topology: dict = field(default_factory=dict)
    numa_node: t.Optional[int] = None
    ecc: t.Optional[dict] = None
    power_limit_w: t.Optional[float] = None
    persistence: t.Optional[bool] = None
    compute_mode: t.Optional[str] = None
    processes: list = field(default_factory=list)

    def refuse(self, problem: str) -> None:
        """Not usable, and why; the first reason found is the one to act on."""
        self.usable = False
        self.problem = self.problem or problem

    def facts(self) -> dict:
        return asdict(self)


@dataclass
class Answer:
    """What the NVIDIA driver said, through NVML or nvidia-smi."""

    accelerators: list
    driver_version: t.Optional[str] = None
    cuda_driver_version: t.Optional[str] = None
    warnings: list = field(default_factory=list)


class ProbeFailed(Exception):
    """A probe has no answer. ``kind`` says which way it failed, the text says it to the user.

    kind: absent (not installed), hung, not_loaded, mismatch, permission, no_devices or error.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def bus_id(text: t.Optional[str]) -> t.Optional[str]:
    """A PCI address as sysfs writes it: 00000000:0C:00.0 -> 0000:0c:00.0."""
    if not text:
        return None
    domain, colon, rest = text.strip().lower().partition(":")
    if not colon:
        return None
    return "%04x:%s" % (int(domain, 16), rest)
