# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers of bytes, for people."""

from __future__ import annotations

import re

from .errors import GpufleetError

MIB = 1024**2
GIB = 1024**3


def human(size: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if size >= unit // 10:
            return "%.1f %s" % (size / unit, name)
    return "%d bytes" % size


def parse(text: str, option: str) -> int:
    """``500G`` is 500 GiB."""
    match = re.fullmatch(r"(\d+)([KMGT]?)(i?B)?", text)
    if not match:
        raise GpufleetError("%s=%s: give bytes as a number, with K, M, G or T for 1024 times more" % (option, text))
    return int(match.group(1)) * 1024 ** " KMGT".index(match.group(2) or " ")
