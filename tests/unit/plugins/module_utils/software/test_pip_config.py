# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software.pip_config import (
    PackageSources,
    combine,
    credentials,
    host_sources,
    redact,
)

TABLE = [
    # what it is about, files below the root, environment, expected
    ("nothing configured", {}, {}, PackageSources()),
    (
        "one file for the host",
        {"etc/pip.conf": "[global]\nindex-url = https://pypi.example/simple\ncert = /etc/ssl/site.pem\n"},
        {},
        PackageSources(index_url="https://pypi.example/simple", cert="/etc/ssl/site.pem"),
    ),
    (
        "lists over several lines",
        {"etc/pip.conf": "[global]\nfind-links =\n    /srv/a\n    /srv/b\ntrusted-host = a b\n"},
        {},
        PackageSources(find_links=("/srv/a", "/srv/b"), trusted_hosts=("a", "b")),
    ),
    (
        "the user's file replaces a value of the host's, it does not add",
        {"etc/pip.conf": "[global]\nfind-links = /srv/a\n", "home/.config/pip/pip.conf": "[global]\nfind-links = /b\n"},
        {},
        PackageSources(find_links=("/b",)),
    ),
    (
        "the newer place of the user's file wins over the older",
        {"home/.pip/pip.conf": "[global]\nproxy = http://old\n", "home/.config/pip/pip.conf": "[global]\nproxy = http://new\n"},
        {},
        PackageSources(proxy="http://new"),
    ),
    (
        "/etc/pip.conf wins over /etc/xdg",
        {"etc/xdg/pip/pip.conf": "[global]\nproxy = http://xdg\n", "etc/pip.conf": "[global]\nproxy = http://etc\n"},
        {},
        PackageSources(proxy="http://etc"),
    ),
    (
        "the section install wins over global, even from a file that is read earlier",
        {
            "etc/pip.conf": "[install]\nindex-url = https://install.example\n",
            "home/.config/pip/pip.conf": "[global]\nindex-url = https://global.example\n",
        },
        {},
        PackageSources(index_url="https://install.example"),
    ),
    (
        "another command's section does not count",
        {"etc/pip.conf": "[download]\nindex-url = https://download.example\n"},
        {},
        PackageSources(),
    ),
    (
        "the environment wins over every file",
        {"etc/pip.conf": "[install]\nfind-links = /srv/a\n"},
        {"PIP_FIND_LINKS": "/srv/c /srv/d"},
        PackageSources(find_links=("/srv/c", "/srv/d")),
    ),
    (
        "an empty variable counts as not set",
        {"etc/pip.conf": "[global]\nindex-url = https://pypi.example/simple\n"},
        {"PIP_INDEX_URL": ""},
        PackageSources(index_url="https://pypi.example/simple"),
    ),
    (
        "names are compared as pip compares them",
        {"etc/pip.conf": "[global]\nExtra_Index_Url = https://a https://b\n--client-cert = /c.pem\n"},
        {},
        PackageSources(extra_index_urls=("https://a", "https://b"), client_cert="/c.pem"),
    ),
    ("no index", {"etc/pip.conf": "[global]\nno-index = yes\n"}, {}, PackageSources(no_index=True)),
    ("an index after all", {"etc/pip.conf": "[global]\nno-index = 0\n"}, {}, PackageSources()),
    (
        "PIP_CONFIG_FILE=/dev/null means no file",
        {"etc/pip.conf": "[global]\nproxy = http://etc\n"},
        {"PIP_CONFIG_FILE": os.devnull},
        PackageSources(),
    ),
    (
        "no user's file besides PIP_CONFIG_FILE",
        {
            "etc/pip.conf": "[global]\nproxy = http://etc\ncert = /etc.pem\n",
            "home/.config/pip/pip.conf": "[global]\nclient-cert = /user.pem\n",
            "chosen.conf": "[global]\nproxy = http://chosen\n",
        },
        {"PIP_CONFIG_FILE": "{root}/chosen.conf"},
        PackageSources(proxy="http://chosen", cert="/etc.pem"),
    ),
    (
        "a percent sign is no interpolation",
        {"etc/pip.conf": "[global]\nindex-url = https://me:p%40ss@pypi.example/simple\n"},
        {},
        PackageSources(index_url="https://me:p%40ss@pypi.example/simple"),
    ),
]


@pytest.mark.parametrize("files, environ, expected", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_host_sources(tmp_path, files, environ, expected):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environ = {name: value.format(root=tmp_path) for name, value in environ.items()}
    assert host_sources(environ, home=str(tmp_path / "home"), root=str(tmp_path)) == expected


@pytest.mark.parametrize("text", ["index-url = x\n", "[global\n"])
def test_a_broken_file_is_named(tmp_path, text):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "pip.conf").write_text(text)
    with pytest.raises(GpufleetError, match="etc/pip.conf cannot be read"):
        host_sources({}, home="/nonexistent", root=str(tmp_path))


def test_a_wrong_boolean_is_named(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "pip.conf").write_text("[global]\nno-index = perhaps\n")
    with pytest.raises(GpufleetError, match="no-index is 'perhaps'"):
        host_sources({}, home="/nonexistent", root=str(tmp_path))


def test_combine_replaces_the_index_and_adds_to_the_lists():
    host = PackageSources(index_url="https://host", extra_index_urls=("https://a",), find_links=("/a",), cert="/c")
    assert combine(host, "https://wish", ["https://b"], ["/b", "/a"]) == PackageSources(
        index_url="https://wish", extra_index_urls=("https://b", "https://a"), find_links=("/b", "/a"), cert="/c"
    )
    assert combine(host) == host
    assert combine(host, offline=True).no_index


def test_environments_of_the_installers():
    sources = PackageSources(
        index_url="https://i", extra_index_urls=("https://a", "https://b"), find_links=("/a", "/b"),
        trusted_hosts=("h1", "h2"), cert="/c", client_cert="/cc", proxy="http://p", no_index=True,
    )  # fmt: skip
    assert sources.uv_environment() == {
        "UV_DEFAULT_INDEX": "https://i",
        "UV_INDEX": "https://a https://b",
        "UV_FIND_LINKS": "/a,/b",
        "UV_INSECURE_HOST": "h1 h2",
        "SSL_CERT_FILE": "/c",
        "SSL_CLIENT_CERT": "/cc",
        "ALL_PROXY": "http://p",
        "HTTPS_PROXY": "http://p",
        "HTTP_PROXY": "http://p",
    }
    assert sources.pip_environment() == {
        "PIP_INDEX_URL": "https://i",
        "PIP_EXTRA_INDEX_URL": "https://a https://b",
        "PIP_FIND_LINKS": "/a /b",
        "PIP_TRUSTED_HOST": "h1 h2",
        "PIP_CERT": "/c",
        "PIP_CLIENT_CERT": "/cc",
        "PIP_PROXY": "http://p",
        "PIP_NO_INDEX": "1",
    }
    assert PackageSources().uv_environment() == {}
    assert PackageSources().pip_environment() == {}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("at https://me:secret@host/simple and http://tok@h", "at https://***@host/simple and http://***@h"),
        ("file:///srv/a@b and https://host/a@b", "file:///srv/a@b and https://host/a@b"),
        ("git+ssh://git@host/x", "git+ssh://***@host/x"),
        ("mail me@host", "mail me@host"),
    ],
)
def test_redact(text, expected):
    assert redact(text) == expected


def test_credentials():
    urls = ["https://me:secret@host/simple", "https://token@host", "https://host/x@y", "/srv/a@b", ""]
    assert credentials(urls) == {"me:secret", "token"}
