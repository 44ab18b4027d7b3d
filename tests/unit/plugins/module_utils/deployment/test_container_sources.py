# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of repositories, for deb and for rpm, and what of old ones goes."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_engine_repository as repositories
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_toolkit_sources as sources
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.deployment import container_looks as looks

OTHER = "deb http://deb.debian.org/debian trixie main\n"
OLD = "deb https://nvidia.github.io/libnvidia-container/debian11/$(ARCH) /\n"
STANZA = "Types: deb\nURIs: %s\nSuites: /\n"


@pytest.mark.parametrize(
    ("kind", "text", "left"),
    [
        ("list", OTHER, None),
        ("list", OLD, ""),
        ("list", "# a\n\n" + OLD, ""),
        ("list", OTHER + OLD, OTHER),
        ("list", OLD + OTHER, OTHER),
        ("list", "# " + OLD + OTHER, None),
        ("list", "deb-src [signed-by=/x] https://nvidia.github.io/nvidia-docker/ubuntu18.04/amd64 /\n", ""),
        ("list", "deb https://nvidia.github.io/something-else /\n", None),
        ("sources", STANZA % "https://nvidia.github.io/libnvidia-container/stable/deb/amd64", ""),
        (
            "sources",
            STANZA % "http://a/" + "\n" + STANZA % "https://nvidia.github.io/nvidia-docker/x",
            STANZA % "http://a/" + "\n",
        ),
        ("sources", STANZA % "http://a/", None),
        ("repo", "[a]\nbaseurl=https://nvidia.github.io/nvidia-docker/centos7/$basearch\n", ""),
        (
            "repo",
            "# x\n[a]\nbaseurl=https://nvidia.github.io/nvidia-docker/x\n[b]\nbaseurl=http://b\n",
            "# x\n[b]\nbaseurl=http://b\n",
        ),
        ("repo", "[b]\nbaseurl=http://b\n# https://nvidia.github.io/nvidia-docker\n", None),
    ],
)
def test_without_the_old_ones(kind, text, left):
    assert repositories.without(text, sources.ADDRESSES, kind) == left


def test_debian():
    found = sources.repository(looks.TOOLKIT, looks.host())
    assert found["path"] == "/etc/apt/sources.list.d/nvidia-container-toolkit.sources"
    assert (
        "URIs: https://nvidia.github.io/libnvidia-container/stable/deb/amd64\nSuites: /\nSigned-By: %s\n" % sources.APT_KEY
        in found["text"]
    )
    assert (found["due"], found["file_due"], found["key_due"]) == (True, True, True)


def test_rpm_metadata_is_signed_and_packages_are_not():
    found = sources.repository(looks.TOOLKIT, looks.host(looks.ROCKY))
    assert found["path"] == "/etc/yum.repos.d/nvidia-container-toolkit.repo"
    lines = found["text"].splitlines()
    for line in (
        "baseurl=https://nvidia.github.io/libnvidia-container/stable/rpm/$basearch", "gpgcheck=0", "repo_gpgcheck=1", "enabled=1",
        "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-nvidia-container-toolkit",
    ):  # fmt: skip
        assert line in lines


FPR = "A" * 40


@pytest.mark.parametrize(
    ("wanted", "keys", "file", "key_due", "file_due"),
    [
        ({}, {sources.APT_KEY: [FPR]}, True, False, False),
        ({}, {}, True, True, False),
        ({"key_fingerprint": " ".join(["aaaa"] * 10)}, {sources.APT_KEY: [FPR]}, True, False, False),
        ({"key_fingerprint": "B" * 40}, {sources.APT_KEY: [FPR]}, True, True, False),
        ({"key_url": "https://mirror/key"}, {sources.APT_KEY: [FPR]}, True, True, True),
        ({"key_content": "the key\n"}, {}, True, True, True),
    ],
)
def test_what_is_due(wanted, keys, file, key_due, file_due):
    text = sources.repository(looks.TOOLKIT, looks.host())["text"]
    look = looks.host(fingerprints=keys, texts={sources.APT_FILE: text} if file else {})
    found = sources.repository(dict(looks.TOOLKIT, **wanted), look)
    assert (found["key_due"], found["file_due"]) == (key_due, file_due)


def test_without_apt_and_dnf():
    found = sources.repository(looks.TOOLKIT, looks.host(dict(looks.DEBIAN, package_manager="zypper", name="SLES 15")))
    assert not found["supported"] and "SLES 15 has neither apt nor dnf" in found["problem"]


def test_leftovers():
    look = looks.host(
        packages={"nvidia-docker2": {"version": "2.6.0-1", "state": "installed", "held": False}},
        sources={
            "/etc/apt/sources.list.d/nvidia-docker.list": "# nothing in it\n",
            "/etc/apt/sources.list.d/nvidia-container-toolkit.list": OLD,
            sources.APT_FILE: OLD,
            "/etc/apt/sources.list.d/mine.list": OTHER + OLD,
            "/etc/apt/sources.list": OLD,
        },
        fingerprints={
            "/etc/apt/trusted.gpg": [FPR, sources.FINGERPRINT],
            "/etc/apt/trusted.gpg.d/x.gpg": ["B" * 40],
            sources.APT_KEY: [sources.FINGERPRINT],
        },
        texts={"/usr/hook.json": "{}", "/etc/docker/daemon.json": "{}"},
    )
    found = sources.leftovers(looks.TOOLKIT, look, ("nvidia-docker2",), ("/usr/hook.json",))
    assert found["remove"] == [
        "/etc/apt/sources.list.d/nvidia-container-toolkit.list", "/etc/apt/sources.list.d/nvidia-docker.list", "/usr/hook.json"
    ]  # fmt: skip
    # The file that every host has is emptied, and not removed.
    assert found["rewrite"] == [
        {"path": "/etc/apt/sources.list", "content": ""}, {"path": "/etc/apt/sources.list.d/mine.list", "content": OTHER}
    ]  # fmt: skip
    assert found["keyrings"] == [{"path": "/etc/apt/trusted.gpg", "fingerprints": [sources.FINGERPRINT]}]
    assert found["packages"] == ["nvidia-docker2"] and "`apt purge nvidia-docker2` would delete it" in found["warnings"][0]
    gone = dict(look, packages={"nvidia-docker2": {"version": "2.6.0-1", "state": "config-files", "held": False}})
    assert sources.leftovers(looks.TOOLKIT, gone, ("nvidia-docker2",), ())["packages"] == []
