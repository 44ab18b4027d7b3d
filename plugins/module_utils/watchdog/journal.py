# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One line for the journal, found under the unit that it is about as well as under the watchdog's own; and for its status."""

from __future__ import annotations

import os
import socket
import sys
import typing as t

SOCKET = "/run/systemd/journal/socket"


def say(text: str, priority: int, unit: str, fields: t.Mapping[str, str], path: str = SOCKET) -> None:
    """journalctl takes OBJECT_SYSTEMD_UNIT from root as being about that unit (sd-journal(3), --unit)."""
    words = dict(
        {name: value for name, value in fields.items() if "\n" not in value},
        MESSAGE=" ".join(text.split()), PRIORITY=str(priority), OBJECT_SYSTEMD_UNIT=unit, SYSLOG_IDENTIFIER="gpufleet-watchdog",
    )  # fmt: skip
    message = "".join("%s=%s\n" % pair for pair in words.items()).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, path)
    except OSError:  # no journald here: systemd reads the priority from the line itself
        sys.stderr.write("<%d>%s\n" % (priority, words["MESSAGE"]))


def status(text: str) -> None:
    """What `systemctl status` of the watchdog's own unit shows, until the next look. See sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        address = "\0" + path[1:] if path.startswith("@") else path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(("STATUS=" + " ".join(text.split())).encode(), address)
        except OSError:
            pass  # nobody listens: it is in the journal
