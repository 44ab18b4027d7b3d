# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker, owned by a unit."""

from __future__ import annotations

from container_tests import *  # noqa: F403


def test_the_unit_owns_the_container(host):
    host.output("systemctl stop vllm-canary.service")
    assert host.output("docker ps --all --quiet") == ""
    host.output("systemctl start vllm-canary.service")
    assert host.show("UnitFileState", "canary") == "enabled"
