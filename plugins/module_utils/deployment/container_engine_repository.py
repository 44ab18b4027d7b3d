# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories of packages: the file that names one, and what old guides have left of others. Pure."""

from __future__ import annotations

import re
import typing as t

HEAD = "# Written by gpufleet.llm: a change in here is undone by the next run.\n"


def deb822(url: str, suite: str, key_path: str, key_source: str, components: str = "", architecture: str = "") -> str:
    """A .sources file. Where the key came from is said in it: with another source it is another file, and so due."""
    text = HEAD + "# The key is from %s\nTypes: deb\nURIs: %s\nSuites: %s\n" % (key_source, url, suite)
    if components:
        text += "Components: %s\n" % components
    if architecture:
        text += "Architectures: %s\n" % architecture
    return text + "Signed-By: %s\n" % key_path


def yum(name: str, title: str, url: str, key_path: str, key_source: str, packages_signed: bool) -> str:
    """A .repo file. The metadata's signature covers the packages' sums, where packages have none of their own."""
    return HEAD + (
        "# The key is from "
        "%s\n[%s]\nname=%s\nbaseurl=%s\nenabled=1\ngpgcheck=%d\nrepo_gpgcheck=%d\ngpgkey=file://%s\nsslverify=1\n"
        % (key_source, name, title, url, packages_signed, not packages_signed, key_path)
    )


def without(text: str, addresses: "re.Pattern[str]", kind: str) -> t.Optional[str]:
    """The text of a file of sources without the entries at these addresses: None as it was, "" when none is left.

    kind: "list" (one line each), "sources" (deb822) or "repo" (yum).
    """
    blocks = _blocks(text, kind)
    kept = [block for block in blocks if not addresses.search(_addresses(block, kind))]
    if len(kept) == len(blocks):
        return None
    if not any(_addresses(block, kind) for block in kept):
        return ""
    return "".join(kept)


def _blocks(text: str, kind: str) -> t.List[str]:
    if kind == "list":
        return text.splitlines(keepends=True)
    if kind == "sources":
        return re.findall(r"(?:[^\n]+\n?)+\n*|\n+", text)
    return [block for block in re.split(r"(?m)^(?=\[)", text) if block]


def _addresses(block: str, kind: str) -> str:
    """What an entry points to; of a comment, nothing."""
    lines = [line for line in block.splitlines() if not line.lstrip().startswith("#")]
    if kind == "list":
        return "\n".join(line for line in lines if re.match(r"\s*deb(-src)?\s", line))
    name = r"(?i)URIs\s*:" if kind == "sources" else r"(baseurl|mirrorlist|metalink)\s*="
    return "\n".join(line for line in lines if re.match(name, line))
