# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File trees from text, for probes that read sysfs and procfs below a root."""

from __future__ import annotations

from pathlib import Path


def plant(text: str, root: Path) -> str:
    """Make the files and links that ``text`` describes below ``root``; answers the root for the probes.

    One per line: ``path = content`` (with the escapes of C) or ``path -> target``. # starts a comment line.
    """
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        path, arrow, target = line.partition(" -> ")
        if arrow:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to(target)
            continue
        path, _equals, content = line.partition(" = ")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content.encode().decode("unicode_escape") + "\n")
    return str(root)
