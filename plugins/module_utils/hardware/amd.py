# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""AMD GPUs: the numbers from sysfs, which does not change shape between releases; the product names from amd-smi."""

from __future__ import annotations

import json
import os
import re
import typing as t

from . import command, problems
from .accelerator import Accelerator, bus_id
from .pci import Card, read


def probe(
    cards: t.Sequence[Card], timeout: float, root: str = "/", program: t.Optional[str] = None
) -> t.List[Accelerator]:
    """The AMD cards among ``cards``, in PCI order. Indices are given by the caller."""
    mine = [card for card in cards if card.vendor == "amd"]
    if not mine:
        return []
    nodes = _kfd_nodes(root)
    named = _names(timeout, program)
    return [_accelerator(card, nodes.get(card.bus_id, {}), named.get(card.bus_id, {}), root) for card in mine]


def gfx_target(version: int) -> t.Optional[str]:
    """gfx_target_version 90402 -> gfx942: major, minor, and the stepping in hexadecimal."""
    if not version:
        return None
    return "gfx%d%d%x" % (version // 10000, version // 100 % 100, version % 100)


def _accelerator(card: Card, node: t.Mapping[str, int], named: t.Mapping[str, str], root: str) -> Accelerator:
    total = read(os.path.join(card.path, "mem_info_vram_total"))
    used = read(os.path.join(card.path, "mem_info_vram_used"))
    unique = read(os.path.join(card.path, "unique_id"))
    made = Accelerator(
        index=0,
        vendor="amd",
        name=named.get("name") or read(os.path.join(card.path, "product_name")) or card.name,
        uuid=named.get("uuid") or ("GPU-" + unique if unique else None),
        pci_bus_id=card.bus_id,
        memory_total_bytes=int(total) if total else None,
        memory_free_bytes=int(total) - int(used) if total and used else None,
        memory_unified=node.get("cpu_cores_count", 0) > 0,
        architecture=gfx_target(node.get("gfx_target_version", 0)),
        pcie={"gen_max": card.gen_max, "width_max": card.width_max},
        numa_node=card.numa_node,
        driver=card.driver,
        processes=_processes(node.get("gpu_id", 0), root),
    )
    made.refuse(problems.amd())
    return made


def _kfd_nodes(root: str) -> t.Dict[str, t.Dict[str, int]]:
    """The compute driver's topology by PCI address; its location_id holds bus, device and function."""
    base = os.path.join(root, "sys/class/kfd/kfd/topology/nodes")
    nodes = {}
    for entry in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        pairs = (line.split() for line in (read(os.path.join(base, entry, "properties")) or "").splitlines())
        properties = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
        if not properties.get("simd_count"):  # a CPU
            continue
        properties["gpu_id"] = int(read(os.path.join(base, entry, "gpu_id")) or 0)
        place = properties.get("location_id", 0)
        address = "%04x:%02x:%02x.%x" % (properties.get("domain", 0), place >> 8, place >> 3 & 0x1F, place & 7)
        nodes[address] = properties
    return nodes


def _processes(gpu_id: int, root: str) -> t.List[dict]:
    base = os.path.join(root, "sys/class/kfd/kfd/proc")
    found = []
    for pid in sorted(os.listdir(base), key=lambda name: name.zfill(10)) if gpu_id and os.path.isdir(base) else []:
        used = read(os.path.join(base, pid, "vram_%d" % gpu_id))
        if pid.isdigit() and used and int(used):
            found.append({"pid": int(pid), "name": None, "memory_bytes": int(used)})
    return found


def _names(timeout: float, program: t.Optional[str]) -> t.Dict[str, t.Dict[str, str]]:
    """Product name and UUID by PCI address from amd-smi, or the name from rocm-smi; empty when neither answers."""
    for tool, arguments in (("amd-smi", ["static", "--asic", "--bus", "--json"]), ("rocm-smi", _ROCM_ARGUMENTS)):
        path = program if program and os.path.basename(program) == tool else command.find(tool, ["/opt/rocm/bin"])
        if path is None:
            continue
        try:
            result = command.run([path, *arguments], timeout)
            return parse_names(json.loads(result.stdout))
        except (command.TimedOut, OSError, ValueError):
            return {}  # only names: sysfs has the rest
    return {}


_ROCM_ARGUMENTS = ["--showproductname", "--showbus", "--showuniqueid", "--json"]


def parse_names(said: t.Any) -> t.Dict[str, t.Dict[str, str]]:
    """Both tools' JSON changed shape between releases, so look for the keys at any depth of each card's entry."""
    if isinstance(said, dict):
        said = said.get("gpu_data") or list(said.values())
    named = {}
    for card in said if isinstance(said, list) else []:
        flat = {re.sub(r"[^a-z]", "", key.lower()): value for key, value in _leaves(card)}
        address = bus_id(flat.get("bdf") or flat.get("pcibus"))
        name = flat.get("marketname") or flat.get("cardseries") or flat.get("productname")
        if address and name and name.upper() != "N/A":
            named[address] = {"name": name, "uuid": flat.get("uuid") or ""}
    return named


def _leaves(node: t.Any) -> t.Iterator[t.Tuple[str, str]]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif isinstance(value, str):
            yield key, value
