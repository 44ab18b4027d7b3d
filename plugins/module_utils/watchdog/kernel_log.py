# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's log since a moment: journald's, or a file that a syslog daemon writes."""

from __future__ import annotations

import datetime
import os
import re
import time
import typing as t

from ..errors import GpufleetError
from ..hardware import command

Line = t.Tuple[float, str]

JOURNAL = "journal"
MOST_BYTES = 1024 * 1024  # of the end of a file
_MONOTONIC = re.compile(r"\[ *(\d+\.\d+)\] ")
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)\s")
_SYSLOG = re.compile(r"([A-Z][a-z]{2}) +(\d+) (\d\d):(\d\d):(\d\d) ")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def read(source: str, since: float, now: float, timeout: float) -> t.List[Line]:
    """Lines of the driver with their times. Raises GpufleetError when there is no such log."""
    lines = _journal(since, timeout) if source == JOURNAL else _file(source, now)
    return [(at, line) for at, line in lines if at > since and "NVRM" in line]


def _journal(since: float, timeout: float) -> t.Iterator[Line]:
    # By the clock that nobody sets: the other may have been wrong when a line was written.
    argv = ["journalctl", "--dmesg", "--since=@%d" % since, "--output=short-monotonic", "--no-pager", "--quiet"]
    try:
        said = command.run(argv, timeout)
    except (OSError, command.TimedOut) as error:
        raise GpufleetError("journalctl: %s" % error) from None
    booted = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    for line in said.stdout.splitlines():
        match = _MONOTONIC.match(line)
        if match:
            yield booted + float(match.group(1)), line[match.end() :]


def _file(path: str, now: float) -> t.Iterator[Line]:
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - MOST_BYTES))
            text = stream.read(MOST_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise GpufleetError("kernel_log=%s: %s" % (path, error.strerror)) from None
    for line in text.splitlines():
        at = when(line, now)
        if at is not None:
            yield at, line


def when(line: str, now: float) -> t.Optional[float]:
    """The time at a line's beginning, as rsyslog writes it in its one way or the other; None when there is none."""
    match = _ISO.match(line)
    if match:
        text = re.sub(r"([+-]\d\d):?(\d\d)$", r"\1:\2", match.group(1).replace(",", ".").replace("Z", "+00:00"))
        # (Python before 3.11 wants three or six digits.)
        text = re.sub(r"\.(\d+)", lambda digits: "." + (digits.group(1) + "000000")[:6], text)
        try:
            return datetime.datetime.fromisoformat(text).timestamp()
        except ValueError:
            return None
    match = _SYSLOG.match(line)
    if not match or match.group(1) not in _MONTHS:
        return None
    month, (day, hour, minute, second) = _MONTHS.index(match.group(1)) + 1, [int(word) for word in match.groups()[1:]]
    year = datetime.datetime.fromtimestamp(now).year
    for candidate in (year, year - 1):  # the line does not say which: the last that is not in the future
        try:
            at = datetime.datetime(candidate, month, day, hour, minute, second).timestamp()
        except ValueError:  # the 29th of February
            continue
        if at <= now + 86400:
            return at
    return None
