# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.services import systemd_unit

# As systemd 252 prints them.
RUNNING = """\
Result=success
NRestarts=2
ExecMainStartTimestampMonotonic=%d
ExecMainStatus=0
MainPID=4711
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
NeedDaemonReload=no
"""
ABSENT = """\
Result=success
NRestarts=0
ExecMainStartTimestampMonotonic=0
ExecMainStatus=0
MainPID=0
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
NeedDaemonReload=no
"""


def started_ago(seconds):
    return int((time.clock_gettime(time.CLOCK_MONOTONIC) - seconds) * 1e6)


def answering(text, journal="one\ntwo\n"):
    return lambda arguments: journal if arguments[0] == "journalctl" else text


@pytest.mark.parametrize(
    "written_ago, text, stale",
    [
        (20, RUNNING, False),
        (5, RUNNING, True),
        (20, RUNNING.replace("NeedDaemonReload=no", "NeedDaemonReload=yes"), True),
        (5, RUNNING.replace("=active", "=failed"), False),
        (5, RUNNING.replace("=active", "=activating").replace("=running", "=auto-restart"), True),
    ],
    ids=["older", "newer", "not read again", "does not run", "fails again and again"],
)
def test_stale(tmp_path, written_ago, text, stale):
    path = tmp_path / "unit"
    path.touch()
    os.utime(path, (time.time() - written_ago,) * 2)
    text = text % started_ago(10)
    status = systemd_unit.status("x.service", [str(path), str(tmp_path / "missing")], 0, answering(text))
    assert status["stale"] is stale
    assert status["newer_files"] == ([str(path)] if stale and written_ago == 5 else [])


@pytest.mark.parametrize("seen, expected", [("", True), ("DropInPaths=%s/a.conf %s/b.conf\n", False)], ids=["no", "yes"])
def test_a_drop_in_that_systemd_has_not_seen(tmp_path, monkeypatch, seen, expected):
    """Its directory is new, so systemd says NeedDaemonReload=no."""
    monkeypatch.setattr(systemd_unit, "UNIT_FILES", "%s/" % tmp_path)
    path = tmp_path / "b.conf"
    path.touch()
    os.utime(path, (time.time() - 20,) * 2)
    shown = RUNNING % started_ago(10) + seen.replace("%s", str(tmp_path))
    status = systemd_unit.status("x.service", [str(path), str(tmp_path / "missing.conf")], 0, answering(shown))
    assert (status["needs_daemon_reload"], status["stale"]) == (expected, expected)


def test_a_running_unit():
    status = systemd_unit.status("x.service", [], 2, answering(RUNNING % started_ago(10)))
    assert abs(status.pop("started_at") - (time.time() - 10)) < 1
    assert status == {
        "unit": "x.service",
        "loaded": True,
        "enabled": True,
        "active": True,
        "state": "active (running)",
        "running": True,
        "result": "success",
        "exit_status": 0,
        "main_pid": 4711,
        "n_restarts": 2,
        "needs_daemon_reload": False,
        "stale": False,
        "newer_files": [],
        "journal": ["one", "two"],
    }


def test_a_unit_that_does_not_exist():
    status = systemd_unit.status("x.service", ["/etc/hostname"], 0, answering(ABSENT))
    assert (status["loaded"], status["active"], status["stale"]) == (False, False, False)
    assert status["main_pid"] is None and status["started_at"] is None


def test_properties_that_systemd_leaves_out():
    shown = systemd_unit.parse_show("ActiveState=active\nLoadState=loaded\n")
    assert shown["NRestarts"] == "0" and shown["SubState"] == ""


@pytest.mark.parametrize(
    "arguments, message",
    [(["/nonexistent/systemctl"], "No such file"), (["sh", "-c", "echo no bus >&2; exit 3"], "ended with 3: no bus")],
)
def test_a_command_that_fails_is_named(arguments, message):
    with pytest.raises(GpufleetError, match=message):
        systemd_unit.run(arguments)
