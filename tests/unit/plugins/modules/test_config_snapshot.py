# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import stat
import subprocess
import sys

import pytest
from ansible_collections.gpufleet.llm.plugins.modules import config_snapshot


@pytest.fixture
def files(tmp_path):
    (tmp_path / "unit").write_text("old")
    (tmp_path / "env").write_bytes(b"KEY=\xff")
    (tmp_path / "env").chmod(0o600)
    return tmp_path


@pytest.fixture
def snapshot(files):
    def run(state, check_mode=False, fails=False, names=("unit", "env", "missing"), **options):
        arguments = dict(options, path=str(files / "kept.json"), state=state, _ansible_check_mode=check_mode)
        if state == "saved":
            arguments["files"] = [str(files / name) for name in names]
        process = subprocess.run(
            [sys.executable, config_snapshot.__file__], input=json.dumps(arguments), capture_output=True, text=True, check=False
        )
        result = json.loads(process.stdout)
        assert bool(result.get("failed")) == fails, result
        return result

    return run


def test_saved_compared_restored(files, snapshot):
    assert snapshot("saved", check_mode=True)["changed"] and not (files / "kept.json").exists()
    assert snapshot("saved", about={"version": "1"})["changed"]
    assert stat.S_IMODE((files / "kept.json").stat().st_mode) == 0o600
    assert not snapshot("saved", about={"version": "1"})["changed"]

    (files / "unit").write_text("new")
    (files / "env").chmod(0o644)
    (files / "missing").write_text("there now")
    compared = snapshot("compared")
    assert compared["exists"] and not compared["changed"] and compared["about"] == {"version": "1"}
    assert compared["differing"] == [str(files / name) for name in ("env", "missing", "unit")]

    assert snapshot("restored", check_mode=True)["changed"] and (files / "unit").read_text() == "new"
    assert snapshot("restored")["changed"]
    assert (files / "unit").read_text() == "old"
    assert (files / "env").read_bytes() == b"KEY=\xff" and stat.S_IMODE((files / "env").stat().st_mode) == 0o600
    assert not (files / "missing").exists()
    assert not snapshot("restored")["changed"]
    assert snapshot("compared")["differing"] == []


def test_saving_again_replaces_what_was_kept(files, snapshot):
    snapshot("saved", about={"version": "1"})
    (files / "unit").write_text("new")
    again = snapshot("saved", about={"version": "2"})
    assert again["changed"] and again["about"] == {"version": "1"}
    assert snapshot("compared")["about"] == {"version": "2"}


def test_without_a_snapshot(snapshot):
    for state in ("compared", "restored"):
        result = snapshot(state)
        assert (result["exists"], result["changed"], result["differing"]) == (False, False, [])


@pytest.mark.parametrize("content, message", [("{", "is damaged"), ('{"schema": "x"}', "is no snapshot")])
def test_something_else_in_its_place(files, snapshot, content, message):
    (files / "kept.json").write_text(content)
    assert message in snapshot("compared", fails=True)["msg"]
