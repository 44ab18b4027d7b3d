# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman, by Quadlet."""

from __future__ import annotations

from container_tests import *  # noqa: F403


def test_quadlet_makes_the_unit(host):
    assert host.show("SourcePath", "canary") == "/etc/containers/systemd/vllm-canary.container"
    assert host.show("UnitFileState", "canary") == "generated"
    host.output("systemctl stop vllm-canary.service")
    assert host.output("podman ps --all --quiet") == ""
    host.output("systemctl start vllm-canary.service")
