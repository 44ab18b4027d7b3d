# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the driver that is on a host does. No I/O."""

from __future__ import annotations

import typing as t

from . import nvidia_driver_branches as branches
from .nvidia_driver_packages import is_driver


class Present(t.NamedTuple):
    """state: works, partly (some cards are not driven), mismatch, not_loaded, fails or absent."""

    state: str
    version: t.Optional[str]
    why: str
    branch_explains: bool = False  # partly: another branch or other modules would drive the rest


def present(hardware: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any], cards: t.Sequence[t.Mapping[str, t.Any]]) -> Present:
    module = look["module"] or {}
    loaded = module.get("version")
    version = hardware["driver_version"] or loaded
    if "ok" in (hardware["sources"].get("nvml"), hardware["sources"].get("nvidia_smi")):
        return _answering(version, module, cards)
    said = " ".join(str(hardware["sources"].get(name)) for name in ("nvml", "nvidia_smi"))
    libraries = look["libraries"]
    if loaded and (libraries and loaded not in libraries or "version mismatch" in said):
        return Present("mismatch", version, "Module %s is loaded and the libraries are of %s: they fail until the next boot." % (
            loaded, " and ".join(libraries) or "another version"))  # fmt: skip
    problem = next((card["problem"] for card in cards if card.get("problem")), "")
    if loaded:
        return Present("fails", version, problem or "Module %s is loaded, but the driver does not answer." % loaded)
    packaged = any(is_driver(name) and entry["state"] == "installed" for name, entry in look["packages"].items())
    if packaged or libraries or look["runfile"]:
        return Present("not_loaded", None, "A driver is installed, but its kernel module is not loaded. %s" % problem)
    return Present("absent", None, problem or "No NVIDIA driver is installed.")


def _answering(
    version: t.Optional[str], module: t.Mapping[str, t.Any], cards: t.Sequence[t.Mapping[str, t.Any]]
) -> Present:
    left = [card for card in cards if not card.get("uuid") and card.get("driver") != "nvidia"]
    if not left:
        return Present("works", version, "")
    branch = branches.branch_of(version)
    explained = False
    for card in left:
        name = branches.generation(card)
        if name == "Blackwell" and (branch < branches.BLACKWELL_FROM or module.get("kind") == "proprietary"):
            explained = True
        if name in branches.PROPRIETARY_ONLY and (branch > branches.LAST_PROPRIETARY_CARDS or module.get("kind") == "open"):
            explained = True
    names = ", ".join("%s (%s)" % (card["name"], card["pci_bus_id"]) for card in left)
    why = "Driver %s works but does not drive %s: %s" % (version, names, left[0].get("problem") or "dmesg may say why.")
    return Present("partly", version, why, explained)
