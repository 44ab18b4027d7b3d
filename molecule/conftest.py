# SPDX-License-Identifier: GPL-3.0-or-later
"""With `-n 2`: the tests of one host in their order, for they build on one another, and two hosts side by side.

The host is in a test's name, by its directory or its parameter. Tests that name none stay together by file.
"""

from __future__ import annotations

import re

import pytest
from lab_host import Playbooks
from xdist.scheduler import LoadScopeScheduling


class HostByHost(LoadScopeScheduling):
    def _split_scope(self, nodeid):
        host = re.search(r"debian\d+", nodeid)
        return host.group() if host else nodeid.split("::")[0]


def pytest_xdist_make_scheduler(config, log):
    return HostByHost(config, log)


@pytest.fixture(scope="module")
def playbooks(request, host):
    """For tests in <scenario>/tests/<distribution>/, whose conftest.py says what the host is."""
    return Playbooks(request.path.parents[2], host.name)


@pytest.fixture(scope="module")
def play(playbooks):
    return playbooks.run


@pytest.fixture(scope="module")
def begin(playbooks):
    return playbooks.begin


@pytest.fixture(autouse=True)
def journal(request):
    """After a test that failed, what the units of its host say."""
    before = request.session.testsfailed
    yield
    host = request.node.funcargs.get("host")
    units = getattr(host, "journal", ())
    if units and request.session.testsfailed > before:
        print(host.run("journalctl --no-pager --lines 100 %s" % " ".join("--unit '%s'" % unit for unit in units)).stdout)
