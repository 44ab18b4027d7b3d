# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cards on the PCI bus, from sysfs: present even when no driver is."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from . import problems

VENDORS = {"0x10de": "nvidia", "0x1002": "amd"}
GPU_CLASSES = ("0x0300", "0x0302", "0x0380", "0x1200")
NVSWITCH_CLASS = "0x0680"
NAME_LISTS = ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids")
GENERATION_BY_SPEED = {"2.5": 1, "5.0": 2, "5": 2, "8.0": 3, "8": 3, "16.0": 4, "16": 4, "32.0": 5, "64.0": 6}


@dataclass
class Card:
    bus_id: str
    vendor: str
    device_id: int
    driver: t.Optional[str]
    numa_node: t.Optional[int]
    gen_max: t.Optional[int]
    width_max: t.Optional[int]
    path: str
    name: str = ""

    @property
    def architecture(self) -> t.Optional[str]:
        return problems.generation(self.device_id) if self.vendor == "nvidia" else None


@dataclass
class Bus:
    cards: t.List[Card]
    nvswitches: int
    nvidia_module: t.Optional[str]  # version and kind of the loaded nvidia module


def read(path: str) -> t.Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().strip("\x00\n ")
    except OSError:
        return None


def probe(root: str = "/") -> Bus:
    devices = os.path.join(root, "sys/bus/pci/devices")
    cards, nvswitches = [], 0
    for address in sorted(os.listdir(devices)) if os.path.isdir(devices) else []:
        path = os.path.join(devices, address)
        vendor = VENDORS.get(read(os.path.join(path, "vendor")) or "")
        kind = (read(os.path.join(path, "class")) or "")[:6]
        if vendor == "nvidia" and kind == NVSWITCH_CLASS:
            nvswitches += 1
        elif vendor and kind in GPU_CLASSES:
            cards.append(_card(path, address, vendor))
    _name(cards, root)
    return Bus(cards, nvswitches, _nvidia_module(root))


def _card(path: str, address: str, vendor: str) -> Card:
    bound = os.path.join(path, "driver")
    node = int(read(os.path.join(path, "numa_node")) or -1)
    width = read(os.path.join(path, "max_link_width")) or ""
    speed = (read(os.path.join(path, "max_link_speed")) or "").split(" ")[0]
    return Card(
        bus_id=address,
        vendor=vendor,
        device_id=int(read(os.path.join(path, "device")) or "0", 16),
        driver=os.path.basename(os.path.realpath(bound)) if os.path.islink(bound) else None,
        numa_node=node if node >= 0 else None,
        gen_max=GENERATION_BY_SPEED.get(speed),
        # A link that is down says 255.
        width_max=int(width) if width.isdigit() and 0 < int(width) <= 32 else None,
        path=path,
    )


def _name(cards: t.List[Card], root: str) -> None:
    """Names from the system's pci.ids, if it has one; else vendor, generation and id."""
    wanted = {(0x10DE if card.vendor == "nvidia" else 0x1002, card.device_id) for card in cards}
    known = _lookup(wanted, root) if wanted else {}
    for card in cards:
        vendor_id = 0x10DE if card.vendor == "nvidia" else 0x1002
        brand = "NVIDIA" if card.vendor == "nvidia" else "AMD"
        found = known.get((vendor_id, card.device_id))
        if found:
            card.name = "%s %s" % (brand, found)
        else:
            words = [brand, card.architecture, "GPU", "[%04x:%04x]" % (vendor_id, card.device_id)]
            card.name = " ".join(word for word in words if word)


def _lookup(wanted: t.Set[t.Tuple[int, int]], root: str) -> t.Dict[t.Tuple[int, int], str]:
    found: t.Dict[t.Tuple[int, int], str] = {}
    for listed in NAME_LISTS:
        vendor = -1
        for line in (read(os.path.join(root, listed)) or "").splitlines():
            match = re.match(r"(\t?)([0-9a-f]{4})  (.+)", line)
            if not match:
                continue
            if not match.group(1):
                vendor = int(match.group(2), 16)
            elif (vendor, int(match.group(2), 16)) in wanted:
                found.setdefault((vendor, int(match.group(2), 16)), match.group(3))
        if found:
            break
    return found


def _nvidia_module(root: str) -> t.Optional[str]:
    line = (read(os.path.join(root, "proc/driver/nvidia/version")) or "").partition("\n")[0]
    version = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", line)
    if version:
        return "%s, %s" % (version.group(1), "open" if "Open Kernel Module" in line else "proprietary")
    return read(os.path.join(root, "sys/module/nvidia/version"))
