# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that the role nvidia_driver writes: pins, holds, nouveau, drop-ins, its record. No I/O."""

from __future__ import annotations

import json
import re
import typing as t

from .nvidia_driver_packages import LABEL, SOURCES_PATH

RECORD = "/var/lib/gpufleet/nvidia_driver/driver.json"
PREFERENCES = "/etc/apt/preferences.d/gpufleet-nvidia-driver"
UNATTENDED = "/etc/apt/apt.conf.d/52gpufleet-nvidia-driver"
BLACKLIST = "/etc/modprobe.d/gpufleet-nouveau.conf"
PERSISTENCED = "nvidia-persistenced.service"
FABRIC = "nvidia-fabricmanager.service"
DROP_IN = "/etc/systemd/system/%s.d/gpufleet.conf"
STREAM = "/etc/dnf/modules.d/nvidia-driver.module"  # dnf's own record of the stream that is enabled
UNITS = (PERSISTENCED, FABRIC)
PATHS = (RECORD, SOURCES_PATH, PREFERENCES, UNATTENDED, BLACKLIST, DROP_IN % PERSISTENCED, STREAM)

_HEAD = "%s Written by the role gpufleet.llm.nvidia_driver, which puts it right on every run.\n"

NOUVEAU = (
    (_HEAD % "#")
    + "# nouveau and NVIDIA's driver cannot drive the same card.\n"
    + "blacklist nouveau\noptions nouveau modeset=0\n"
)

UNATTENDED_TEXT = (
    (_HEAD % "//")
    + "// A new library under the loaded module is a 'Driver/library version mismatch' until the next reboot.\n"
    + "Unattended-Upgrade::Package-Blacklist {\n"
    + "".join('  "%s";\n' % word for word in ("^nvidia-(?!container)", "^libnvidia-(?!container)", "^cuda-drivers"))
    + "};\n"
)


def entry(path: str, content: str, mode: str = "0644") -> t.Dict[str, str]:
    """As host_files takes it."""
    return {"path": path, "content": content, "owner": "root", "group": "root", "mode": mode}


def sources(found: t.Mapping[str, t.Any], machine: str) -> str:
    """The repository as a deb822 file."""
    lines = ["Types: deb", "URIs: " + found["uri"], "Suites: " + found["suites"]]
    if found["components"]:
        lines.append("Components: " + found["components"])
    lines += ["Architectures: " + {"x86_64": "amd64", "aarch64": "arm64"}[machine], "Signed-By: " + found["key_path"]]
    return (_HEAD % "#") + "\n".join(lines) + "\n"


def preferences(source: str, version: t.Optional[str] = None) -> str:
    """Driver packages from one source only, and of one version where that was asked for.

    The other source's get -1 instead of one's own more than others: of the records that match, apt takes the first, and by
    their names this file comes before the one of NVIDIA's pinning package, whose word on the branch has to count.
    """
    others = ("l=" + LABEL,) if source == "distribution" else ("o=Debian", "o=Debian Backports", "o=Ubuntu")
    toolkits = "nvidia-container* libnvidia-container* nvidia-cuda-* nvidia-docker*"
    names = "*nvidia* cuda-drivers* libcuda1 nvlsm libnvsdm*"
    # Debian's helpers are in contrib alone, and nouveau's firmware is no part of the driver.
    helpers = "nvidia-support nvidia-installer-cleanup glx-alternative-nvidia update-glx firmware-nvidia-graphics nvidia-prime"
    # The toolkits are no part of it either: they come from where their own guides say, and from the other source at need.
    records = [(toolkits, "release " + other, 100) for other in others]
    if source != "distribution":
        records += [(helpers, "release " + other, 500) for other in others]
    records += [(names, "release " + other, -1) for other in others]
    if version:
        records.append((names, "version %s-*" % version, 1001))
    return (_HEAD % "#") + "\n".join("Package: %s\nPin: %s\nPin-Priority: %d\n" % record for record in records)


def record(source: str, branch: int, version: t.Optional[str], open_modules: bool, complete: bool) -> str:
    said = {
        "schema": "gpufleet.nvidia_driver/1",
        "source": source,
        "branch": branch,
        "version": version,
        "modules": "open" if open_modules else "proprietary",
        "complete": complete,
    }
    return json.dumps(said, indent=2, sort_keys=True) + "\n"


def persistence(command: t.Optional[str]) -> t.Optional[str]:
    """The drop-in of the persistence daemon; None where its unit does not turn the mode off.

    Ubuntu's unit says --no-persistence-mode. The rest of the command differs between packages, so it is kept.
    """
    if not command or "--no-persistence-mode" not in command.split():
        return None
    kept = " ".join(word for word in command.split() if word != "--no-persistence-mode")
    return (_HEAD % "#") + "[Service]\nExecStart=\nExecStart=%s --persistence-mode\n" % kept


def is_record_of_ours(text: t.Optional[str]) -> t.Optional[t.Dict[str, t.Any]]:
    """The record of an installation by this role, or None."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    if not isinstance(found, dict) or not re.match(r"^gpufleet\.nvidia_driver/", str(found.get("schema"))):
        return None
    return found
