# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages of a package index (PEP 503), and which index a host's pip uses. Decides, does no I/O."""

from __future__ import annotations

import html.parser
import re
import typing as t
import urllib.parse

from ..errors import GpufleetError

PYPI = "https://pypi.org/simple"
# Of ``pip config list``; what is said last counts most.
_SECTIONS = ("global", "install", ":env:")


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base: t.Optional[str] = None
        self.found: t.List[str] = []

    def handle_starttag(self, tag: str, attrs: t.List[t.Tuple[str, t.Optional[str]]]) -> None:
        address = dict(attrs).get("href")
        if address and tag == "a":
            self.found.append(address)
        elif address and tag == "base" and self.base is None:
            self.base = address


def link(content: str, page: str, file: str) -> str:
    """The address of ``file`` on the page of a package, joined as a browser does, without the sum that may follow it."""
    links = _Links()
    links.feed(content)
    base = urllib.parse.urljoin(page, links.base or "")
    for address in links.found:
        whole = urllib.parse.urldefrag(urllib.parse.urljoin(base, address)).url
        if urllib.parse.unquote(urllib.parse.urlsplit(whole).path).rpartition("/")[2] == file:
            return whole
    raise GpufleetError("%s does not have %s: give a version that is there, or another index" % (page, file))


def pip_index(listing: str) -> str:
    """The index in what ``pip config list`` printed, PyPI where it names none."""
    found = {}
    for line in listing.splitlines():
        match = re.fullmatch(r"(global|install|:env:)\.index[-_]url=(['\"])(.+)\2", line.strip())
        if match:
            found[match.group(1)] = match.group(3)
    return next((found[section] for section in reversed(_SECTIONS) if section in found), PYPI)
