# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the package manager says of the packages of a host: read only, and without its locks.

Each is ``{"version", "architecture", "state", "held"}`` with state ``installed``, ``config-files`` (removed, not purged) or
``unfinished`` (begun and interrupted: who waits for it has to install it again).
"""

from __future__ import annotations

import glob
import os
import re
import typing as t

from ..hardware import command, pci
from . import systemd_unit

Packages = t.Dict[str, t.Dict[str, t.Any]]

# dpkg(1), "Package states"; what only waits for triggers is installed.
_STATES = {
    "installed": "installed", "triggers-awaited": "installed", "triggers-pending": "installed", "config-files": "config-files",
}  # fmt: skip
_LOCKS = ("etc/dnf/plugins/versionlock.list", "etc/yum/pluginconf.d/versionlock.list")
_QUERY = ["rpm", "-qa", "--queryformat", r"%{NAME}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n"]


def of_apt(root: str = "/") -> Packages:
    found: Packages = {}
    for block in (pci.read(os.path.join(root, "var/lib/dpkg/status")) or "").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version|Architecture): (.*)$", block, re.M))
        words = fields.get("Status", "").split()  # what was asked for, a flag, the state
        if len(words) != 3 or words[2] == "not-installed":
            continue
        found[fields["Package"]] = {
            "version": fields.get("Version", ""),
            "architecture": fields.get("Architecture", ""),
            "state": "unfinished" if words[1] != "ok" else _STATES.get(words[2], "unfinished"),
            "held": words[0] == "hold",
        }
    return found


def of_rpm(root: str = "/", ask: t.Callable[[t.Sequence[str]], str] = systemd_unit.run) -> Packages:
    """The state is always ``installed``: rpm notes a package when its files are there."""
    if command.find("rpm") is None:
        return {}
    locked = locked_names("\n".join(pci.read(os.path.join(root, path)) or "" for path in _LOCKS))
    found: Packages = {}
    for line in ask(_QUERY).splitlines():
        name, version, architecture = line.split("\t")
        if name == "kernel-devel":  # several stand side by side, one for each kernel
            name = "%s-%s.%s" % (name, version, architecture)
        found[name] = {"version": version, "architecture": architecture, "state": "installed", "held": name in locked}
    return found


def unfinished(packages: Packages, root: str = "/") -> t.List[str]:
    """What dpkg was interrupted in. Until somebody has it complete that, apt installs nothing."""
    names = sorted(name for name, entry in packages.items() if entry["state"] == "unfinished")
    # What dpkg notes while it works, and takes up into its list at the end.
    journal = glob.glob(os.path.join(root, "var/lib/dpkg/updates/[0-9]*"))
    return names or ["dpkg"] * bool(journal)


def locked_names(text: str) -> t.Set[str]:
    """Names in a list of dnf's plugin versionlock: name-epoch:version-release.architecture, or with the epoch in front."""
    lines = [line.strip() for line in text.splitlines()]
    entries = [re.sub(r"^\d+:", "", line) for line in lines if line and not line.startswith(("#", "!"))]
    return {re.sub(r"-(\d+:)?[^-]+-[^-]+$", "", entry) for entry in entries}
