# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts as gpu_info and nvidia_driver_host describe them, from a few words."""

from __future__ import annotations

import typing as t

SYSTEMS = {
    "ubuntu20": ("ubuntu", "20.04", "focal", "5.15.0-139-generic"),
    "ubuntu22": ("ubuntu", "22.04", "jammy", "5.15.0-160-generic"),
    "ubuntu24": ("ubuntu", "24.04", "noble", "6.8.0-88-generic"),
    "debian12": ("debian", "12", "bookworm", "6.1.0-41-amd64"),
    "debian13": ("debian", "13", "trixie", "6.12.57+deb13-amd64"),
    "rhel8": ("rhel", "8.10", None, "4.18.0-553.el8_10.x86_64"),
    "rhel9": ("rhel", "9.6", None, "5.14.0-570.el9_6.x86_64"),
    "rocky9": ("rocky", "9.6", None, "5.14.0-570.el9_6.x86_64"),
    "alma8": ("almalinux", "8.10", None, "4.18.0-553.el8_10.x86_64"),
    "alma10": ("almalinux", "10.1", None, "6.12.0-124.el10.x86_64"),
    "sles15": ("sles", "15.7", None, "6.4.0-150700-default"),
}
IMAGES = {"ubuntu": ["generic"], "debian": ["amd64"]}
CARDS = {
    "K80": "Kepler", "M40": "Maxwell", "P40": "Pascal", "V100": "Volta", "T4": "Turing", "A100": "Ampere",
    "L40S": "Ada Lovelace", "H100": "Hopper", "GH200": "Hopper", "RTX 5090": "Blackwell", "B200": "Blackwell", "R100": None,
}  # fmt: skip


def card(name: str, index: int = 0, driver: t.Optional[str] = None, uuid: t.Optional[str] = None, **more: t.Any) -> dict:
    return dict(
        {
            "index": index, "vendor": "nvidia", "name": "NVIDIA " + name, "architecture": CARDS[name], "compute_capability": None,
            "pci_bus_id": "0000:%02x:00.0" % (index + 1), "uuid": uuid, "driver": driver, "usable": bool(uuid),
            "problem": None if uuid else "No driver is loaded for this GPU.",
        },
        **more,
    )  # fmt: skip


def package(version: str, held: bool = False, installed: bool = True) -> dict:
    return {"version": version, "architecture": "all", "state": "installed" if installed else "unfinished", "held": held}


def unit(enabled: bool = True, active: bool = True, command: t.Optional[str] = None) -> dict:
    return {"exists": True, "enabled": enabled, "active": active, "stale": False, "unread": False, "command": command}


def host(
    system: str, *names: str, driver: t.Optional[str] = None, bound: t.Optional[str] = None, environment: str = "bare",
    switches: int = 0, sources: t.Optional[dict] = None, **seen: t.Any,
) -> t.Tuple[dict, dict]:  # fmt: skip
    """A host with these cards. ``driver``: a version that works; ``seen`` replaces parts of the look."""
    identity, version, codename, kernel = SYSTEMS[system]
    held_by = "nvidia" if driver else bound
    cards = [card(name, index, held_by, "GPU-%d" % index if driver else None) for index, name in enumerate(names)]
    hardware = {
        "accelerators": cards,
        "nvswitches": switches,
        "driver_version": driver,
        "environment": environment,
        "sources": sources or {"nvml": "ok" if driver else "NVML is not there", "nvidia_smi": "nvidia-smi is not installed"},
    }
    look = {
        "distribution": {"id": identity, "version_id": version, "codename": codename, "name": "%s %s" % (identity, version)},
        "architecture": "x86_64",
        "kernel": {"release": kernel, "headers": False, "images": IMAGES.get(identity, [])},
        "secure_boot": False,
        "nouveau": bound == "nouveau",
        "module": {"version": driver, "kind": "open"} if driver else None,
        "libraries": [driver] if driver else [],
        "runfile": False,
        "vgpu": False,
        "packages": {},
        "unfinished": [],
        "components": ["main"],
        "repositories": [],
        "epel": identity in ("rocky", "almalinux"),
        "fingerprints": {},
        "files": {},
        "initramfs": {"command": ["update-initramfs", "-u", "-k", kernel], "stale": False},
        "units": {},
        "reboot_required": False,
    }
    assert set(seen) <= set(look)
    look.update(seen)
    return hardware, look
