# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words as unit files want them quoted (systemd.syntax(7), systemd.service(5))."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=+@")


def quote(value: t.Any, command: bool = False) -> str:
    """One word. In a ``command`` a dollar sign would start a variable, in Environment= it does not."""
    text = str(value)
    if any(character in text for character in "\n\r\0"):
        raise GpufleetError("a word in a unit file cannot span lines: %r" % text)
    if text and PLAIN.issuperset(text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if command:
        text = text.replace("$", "$$")
    return '"%s"' % text
