# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import signal
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import command


def test_answer():
    result = command.run(["sh", "-c", "cat; echo oops >&2; exit 3"], 10, "in")
    assert result == (3, "in", "oops\n")


def test_the_messages_are_english():
    assert command.run(["sh", "-c", 'echo "$LC_ALL $MORE"'], 10, env={"MORE": "x"}).stdout == "C x\n"


def test_children_of_a_command_that_timed_out_are_killed_too(tmp_path):
    mark = tmp_path / "mark"
    with pytest.raises(command.TimedOut, match="within 0.5 seconds"):
        command.run(["sh", "-c", "(sleep 2; touch %s) & wait" % mark], 0.5)
    time.sleep(2.2)
    assert not mark.exists()


def test_a_process_that_cannot_be_killed_is_left_behind(monkeypatch):
    """What an uninterruptible sleep looks like from outside: SIGKILL has no effect."""
    victims = []
    monkeypatch.setattr(command.os, "killpg", lambda pid, number: victims.append((pid, number)))
    started = time.monotonic()
    with pytest.raises(command.TimedOut):
        command.run(["sleep", "8"], 0.5)
    assert time.monotonic() - started < 3
    pid, number = victims[0]
    assert number == signal.SIGKILL
    monkeypatch.undo()
    command.os.killpg(pid, signal.SIGKILL)


def test_find_looks_beyond_a_short_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert command.find("sh") in ("/usr/bin/sh", "/bin/sh")
    assert command.find("no-such-program") is None
    there = tmp_path / "tool"
    there.write_text("")
    there.chmod(0o755)
    assert command.find("tool", [str(tmp_path)]) == str(there)
