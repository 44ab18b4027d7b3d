# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What dpkg and rpm say of a planted host."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.services import packages


def planted(root: Path, *entries: str) -> str:
    (root / "var/lib/dpkg/updates").mkdir(parents=True)
    blocks = ["Package: p%d\nStatus: %s\nArchitecture: amd64\nVersion: 1:2-3\n" % (i, words) for i, words in enumerate(entries)]
    (root / "var/lib/dpkg/status").write_text("\n".join(blocks))
    return str(root)


@pytest.mark.parametrize(
    ("status", "state", "held"),
    [
        ("install ok installed", "installed", False),
        ("hold ok installed", "installed", True),
        ("install ok triggers-pending", "installed", False),
        ("install ok triggers-awaited", "installed", False),
        ("deinstall ok config-files", "config-files", False),
        ("install ok unpacked", "unfinished", False),
        ("install ok half-configured", "unfinished", False),
        ("install ok half-installed", "unfinished", False),
        ("install reinstreq half-installed", "unfinished", False),
        ("hold ok half-configured", "unfinished", True),
    ],
)
def test_what_dpkg_says(tmp_path, status, state, held):
    root = planted(tmp_path, status, "unknown ok not-installed")
    found = packages.of_apt(root)
    assert found == {"p0": {"version": "1:2-3", "architecture": "amd64", "state": state, "held": held}}
    assert packages.unfinished(found, root) == ["p0"] * (state == "unfinished")


def test_dpkg_was_interrupted_between_two_packages(tmp_path):
    root = planted(tmp_path, "install ok installed")
    assert packages.unfinished(packages.of_apt(root), root) == []
    (tmp_path / "var/lib/dpkg/updates/0001").write_text("Package: p9\n")
    assert packages.unfinished(packages.of_apt(root), root) == ["dpkg"]


def test_what_rpm_says(tmp_path, monkeypatch):
    monkeypatch.setattr(packages.command, "find", lambda name: "/usr/bin/" + name)
    (tmp_path / "etc/dnf/plugins").mkdir(parents=True)
    (tmp_path / "etc/dnf/plugins/versionlock.list").write_text("nvidia-open-3:580.95.05-1.el9.*\n")
    answer = "nvidia-open\t580.95.05-1.el9\tnoarch\nkernel-devel\t5.14.0-1.el9\tx86_64\n"
    assert packages.of_rpm(str(tmp_path), lambda argv: answer) == {
        "nvidia-open": {"version": "580.95.05-1.el9", "architecture": "noarch", "state": "installed", "held": True},
        "kernel-devel-5.14.0-1.el9.x86_64": {
            "version": "5.14.0-1.el9", "architecture": "x86_64", "state": "installed", "held": False},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("# Added lock on Fri\nnvidia-container-toolkit-0:1.20.0-1.*\n", {"nvidia-container-toolkit"}),
        ("libnvidia-container1-0:1.20.0-1.el9.x86_64\n\n", {"libnvidia-container1"}),
        ("0:nvidia-container-toolkit-base-1.20.0-1.*\n", {"nvidia-container-toolkit-base"}),
        ("!kernel-0:6.1-1.*\n", set()),
    ],
)
def test_what_dnf_holds(text, names):
    assert packages.locked_names(text) == names
