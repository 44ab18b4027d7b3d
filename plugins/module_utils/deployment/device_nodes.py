# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The device files that an engine needs, and a unit's bounded wait for them. Pure."""

from __future__ import annotations

import typing as t

from ..services.systemd_words import quote

_VENDOR = {"nvidia": ["/dev/nvidiactl", "/dev/nvidia-uvm"], "amd": ["/dev/kfd"]}
# Where the driver is another one, so are its devices.
_PLACE = {"wsl": ["/dev/dxg"], "jetson": ["/dev/nvmap"]}
_SCRIPT = (
    'n=0; until %(there)s; do n=$((n+1)); if [ $n -gt %(seconds)d ]; then echo "no %(files)s after %(seconds)d s: the GPU '
    'driver is not there%(then)s" >&2; exit %(status)d; fi; sleep 1; done'
)


def nodes(vendor: str, place: str) -> t.List[str]:
    """``place`` is where the host runs: ``environment`` of the hardware facts."""
    return _PLACE.get(place, _VENDOR[vendor]) if vendor else []


def wait_words(files: t.Sequence[str], seconds: int, go_on: bool = False) -> t.List[str]:
    """A command that ends when all files are there. After that time it fails, or with ``go_on`` only says so."""
    script = _SCRIPT % {
        "there": " && ".join("[ -e %s ]" % path for path in files),
        "seconds": seconds,
        "files": " or ".join(files),
        "then": ", so this runs on the CPU" if go_on else "",
        "status": 0 if go_on else 1,
    }
    return ["/bin/sh", "-c", script]


def wait_command(files: t.Sequence[str], seconds: int, go_on: bool = False) -> str:
    """The same, for ExecStartPre=."""
    return " ".join(quote(word, command=True) for word in wait_words(files, seconds, go_on))
