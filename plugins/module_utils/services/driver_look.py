# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What decides about a host's NVIDIA driver, beside its hardware. Reads, changes nothing, asks no network."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import re
import typing as t

from ..errors import GpufleetError
from ..hardware import command, pci
from ..software import openpgp
from . import packages, systemd_unit

VARIABLES = "sys/firmware/efi/efivars/%s"
SECURE_BOOT = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM_STATE = "MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23"
LIBRARIES = ("usr/lib/*-linux-gnu", "usr/lib/*-linux-gnu/nvidia/current", "usr/lib64", "usr/lib")
PACKAGES = re.compile(
    r"nvidia|cuda-drivers|libcuda1|nvlsm|libnvsdm|^linux-headers-|^kernel-devel|^dkms$|^epel-release$|versionlock$"
)
IMAGE_META = re.compile(r"^linux-image-([a-z][\w.-]*)$")
TIMEOUT = 60

Ask = t.Callable[[t.List[str]], str]


def look(
    paths: t.Sequence[str],
    keys: t.Sequence[str],
    units: t.Sequence[str],
    blacklist: str,
    root: str = "/",
    ask: Ask = systemd_unit.run,
) -> t.Dict[str, t.Any]:
    """``paths`` are returned with their text, ``keys`` with their fingerprints, ``units`` with what systemd says."""
    release = os.uname().release if root == "/" else pci.read(_at(root, "proc/sys/kernel/osrelease")) or ""
    apt = os.path.exists(_at(root, "var/lib/dpkg/status"))
    there = packages.of_apt(root) if apt else packages.of_rpm(root, ask)
    installed = [name for name, entry in there.items() if entry["state"] == "installed"]
    images = {match.group(1) for match in map(IMAGE_META.match, installed) if match}
    return {
        "distribution": _distribution(root),
        "architecture": platform.machine(),
        "kernel": {
            "release": release,
            "headers": os.path.isdir(_at(root, "lib/modules/%s/build" % release)),
            "images": sorted(name for name in images if not name[0].isdigit()),
        },
        "secure_boot": secure_boot(root),
        "nouveau": os.path.isdir(_at(root, "sys/module/nouveau")),
        "module": _module(root),
        "libraries": _libraries(root),
        "runfile": os.path.exists(_at(root, "usr/bin/nvidia-uninstall")),
        "vgpu": vgpu(root),
        "packages": {name: entry for name, entry in there.items() if PACKAGES.search(name) and entry["state"] != "config-files"},
        "unfinished": packages.unfinished(there, root) if apt else [],
        "components": _components(root),
        "repositories": _repositories(root),
        "epel": any(re.match(r"epel$", entry["name"]) for entry in _repositories(root)),
        "fingerprints": {path: _fingerprints(_at(root, path)) for path in keys},
        "files": {path: _text(_at(root, path)) for path in paths},
        "initramfs": _initramfs(root, release, blacklist),
        "units": {name: _unit(name, ask, root) for name in units},
        "reboot_required": any(os.path.exists(_at(root, path)) for path in ("run/reboot-required", "var/run/reboot-required")),
    }


def secure_boot(root: str = "/") -> bool:
    """On in the firmware, and not turned off for the shim (mokutil --disable-validation). A BIOS has none."""
    state = _variable(root, SECURE_BOOT)
    return state == 1 and _variable(root, SHIM_STATE) != 1


def vgpu(root: str = "/") -> bool:
    """Whether a card is a slice that a hypervisor gave: it has a vendor's PCI capability that begins with VF."""
    for path in sorted(glob.glob(_at(root, "sys/bus/pci/devices/*"))):
        if pci.read(os.path.join(path, "vendor")) == "0x10de" and _has_vf(path):
            return True
    return False


def _has_vf(path: str) -> bool:
    try:
        with open(os.path.join(path, "config"), "rb") as stream:
            space = stream.read(256)
    except OSError:
        return False
    if len(space) < 0x40 or not space[6] & 0x10:
        return False
    place, seen = space[0x34] & 0xFC, 0
    while 0x40 <= place < len(space) - 5 and seen < 48:
        if space[place] == 0x09 and space[place + 3 : place + 5] == b"VF":
            return True
        place, seen = space[place + 1] & 0xFC, seen + 1
    return False


def _at(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))


def _text(path: str) -> t.Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None


def _variable(root: str, name: str) -> t.Optional[int]:
    """The value of an EFI variable of one byte, which follows four bytes of attributes."""
    try:
        with open(_at(root, VARIABLES % name), "rb") as stream:
            content = stream.read(5)
    except OSError:
        return None
    return content[4] if len(content) == 5 else None


def _distribution(root: str) -> t.Dict[str, t.Optional[str]]:
    words: t.Dict[str, str] = {}
    for line in (_text(_at(root, "etc/os-release")) or "").splitlines():
        name, _equals, value = line.strip().partition("=")
        words[name] = value.strip("\"'")
    return {
        "id": words.get("ID"),
        "version_id": words.get("VERSION_ID"),
        "codename": words.get("VERSION_CODENAME"),
        "name": words.get("PRETTY_NAME") or words.get("NAME"),
    }


def _module(root: str) -> t.Optional[t.Dict[str, t.Optional[str]]]:
    """The loaded nvidia module: its version, and whether it is the open or the proprietary one."""
    line = pci.probe(root).nvidia_module
    if not line:
        return None
    version, _comma, kind = line.partition(", ")
    return {"version": version, "kind": kind or None}


def _libraries(root: str) -> t.List[str]:
    """Versions of libnvidia-ml that lie where the linker looks."""
    found = set()
    for directory in LIBRARIES:
        for path in glob.glob(_at(root, os.path.join(directory, "libnvidia-ml.so.*"))):
            version = os.path.basename(path).partition(".so.")[2]
            if re.match(r"^\d{3}\.\d+", version):
                found.add(version)
    return sorted(found)


def _components(root: str) -> t.List[str]:
    """The components of the archive that apt's sources name."""
    found: t.Set[str] = set()
    for path in _apt_files(root):
        for line in _enabled(_text(path) or "").splitlines():
            plain = re.sub(r"\[[^\]]*\]", "", line.strip())
            match = re.match(r"^(?:deb\s+\S+\s+\S+|Components:)\s+(.+)$", plain)
            found.update(match.group(1).split() if match else ())
    return sorted(found)


def _apt_files(root: str) -> t.List[str]:
    pattern = _at(root, "etc/apt/sources.list.d/*")
    listed = [path for path in sorted(glob.glob(pattern)) if path.endswith((".list", ".sources"))]
    return [_at(root, "etc/apt/sources.list")] + listed


def _repositories(root: str) -> t.List[t.Dict[str, str]]:
    found = []
    for path in _apt_files(root):
        for line in _enabled(_text(path) or "").splitlines():
            match = re.match(r"^(?:deb\s+(?:\[[^\]]*\]\s*)?|URIs:\s*)(\S+)", line.strip())
            if match:
                found.append({"path": "/" + os.path.relpath(path, root), "name": "", "uri": match.group(1)})
    for path in sorted(glob.glob(_at(root, "etc/yum.repos.d/*.repo"))):
        name = ""
        for line in _enabled(re.sub(r"(?m)^\[", "\n[", _text(path) or "")).splitlines():
            section, address = re.match(r"^\[(.+)\]", line), re.match(r"^(?:baseurl|metalink|mirrorlist)\s*=\s*(\S+)", line)
            name = section.group(1) if section else name
            if address:
                found.append({"path": "/" + os.path.relpath(path, root), "name": name, "uri": address.group(1)})
    return found


def _enabled(text: str) -> str:
    """Without the stanzas, or sections, that are switched off."""
    off = re.compile(r"(?im)^enabled\s*[:=]\s*(no|false|0)\s*$")
    return "\n\n".join(stanza for stanza in re.split(r"\n\s*\n", text) if not off.search(stanza))


def _fingerprints(path: str) -> t.List[str]:
    with contextlib.suppress(OSError, GpufleetError):
        with open(path, "rb") as stream:
            return openpgp.fingerprints(stream.read())
    return []


def _initramfs(root: str, release: str, blacklist: str) -> t.Dict[str, t.Any]:
    """Whether the running kernel's image is older than the blacklist of nouveau, and what makes all of them anew.

    All: the next boot may be one into a newer kernel.
    """
    commands = (["update-initramfs", "-u", "-k", "all"], ["dracut", "--force", "--regenerate-all"])
    found = next((argv for argv in commands if command.find(argv[0])), [])
    images = [_at(root, "boot/%s" % (name % release)) for name in ("initrd.img-%s", "initramfs-%s.img")]
    times = [os.stat(path).st_mtime for path in images if os.path.exists(path)]
    listed = _at(root, blacklist)
    stale = bool(times) and os.path.exists(listed) and os.stat(listed).st_mtime > max(times)
    return {"command": found, "stale": stale}


def _unit(name: str, ask: Ask, root: str) -> t.Dict[str, t.Any]:
    drop_in = "/etc/systemd/system/%s.d/gpufleet.conf" % name
    nothing = {"exists": False, "enabled": False, "active": False, "stale": False, "unread": False, "command": None}
    if not os.path.isdir(_at(root, "run/systemd/system")):
        return nothing
    files = [drop_in] if os.path.exists(_at(root, drop_in)) else []
    status = systemd_unit.status(name, files, 0, ask)
    if not status["loaded"]:
        return nothing
    shown = systemd_unit.parse_show(ask(["systemctl", "show", name, "--property=UnitFileState,FragmentPath"]))
    starts = re.findall(r"^ExecStart=(.+)$", _text(_at(root, shown["FragmentPath"])) or "", re.M)
    return {
        "exists": True,
        "enabled": shown["UnitFileState"] in ("enabled", "static", "indirect", "generated"),
        "active": status["active"],
        "stale": status["stale"],
        "unread": status["needs_daemon_reload"],
        "command": starts[-1].strip() if starts else None,
    }
