# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a file of a package is, and which index the host's pip uses."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.llm.plugins.filter.index_link import index_link
from ansible_collections.gpufleet.llm.plugins.filter.pip_index import pip_index

PAGE = "https://mirror.example/pypi/simple/x/"
FILE = "x-1.0.tar.gz"


@pytest.mark.parametrize(
    "address, joined",
    [
        ("https://files.example/a/x-1.0.tar.gz#sha256=0", "https://files.example/a/x-1.0.tar.gz"),
        ("//files.example/a/x-1.0.tar.gz", "https://files.example/a/x-1.0.tar.gz"),
        ("/packages/a/x-1.0.tar.gz#sha256=0", "https://mirror.example/packages/a/x-1.0.tar.gz"),
        ("../../packages/x-1.0.tar.gz", "https://mirror.example/pypi/packages/x-1.0.tar.gz"),
        ("x-1.0.tar.gz", "https://mirror.example/pypi/simple/x/x-1.0.tar.gz"),
        ("/get?a=1&amp;b=2", None),
        ("/packages/x-1.0.tar.gz?a=1&amp;b=2", "https://mirror.example/packages/x-1.0.tar.gz?a=1&b=2"),
        ("my-x-1.0.tar.gz", None),
        ("x-1.0.tar.gz.metadata", None),
    ],
)
def test_links(address, joined):
    page = '<!DOCTYPE html><a href="x-0.9.tar.gz">x-0.9.tar.gz</a>\n<a data-requires-python="&gt;=3" href="%s">x</a>' % address
    if joined:
        assert index_link(page, PAGE, FILE) == joined
        return
    with pytest.raises(AnsibleFilterError, match="https://mirror.example/pypi/simple/x/ does not have x-1.0.tar.gz"):
        index_link(page, PAGE, FILE)


def test_a_base_counts():
    page = '<base href="https://files.example/b/"><a href="x-1.0.tar.gz">x</a>'
    assert index_link(page, PAGE, FILE) == "https://files.example/b/x-1.0.tar.gz"


@pytest.mark.parametrize(
    "listing, index",
    [
        ("", "https://pypi.org/simple"),
        ("global.cert='/c.pem'\nglobal.extra-index-url='https://b/simple'", "https://pypi.org/simple"),
        ("global.index-url='https://a/simple'", "https://a/simple"),
        ("install.index-url='https://i/simple'\nglobal.index-url='https://a/simple'", "https://i/simple"),
        (":env:.index-url='https://e/simple'\ninstall.index-url='https://i/simple'", "https://e/simple"),
        ("download.index-url='https://d/simple'", "https://pypi.org/simple"),
        ('global.index_url="https://a/simple"', "https://a/simple"),
    ],
)
def test_what_pip_says(listing, index):
    assert pip_index(listing) == index
