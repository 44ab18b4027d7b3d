# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ollama_model as an action: a job in the background, its progress on the terminal."""

from __future__ import annotations

import types

import pytest
from ansible_collections.gpufleet.llm.plugins.action import model_download, ollama_model
from ansible_collections.gpufleet.llm.plugins.plugin_utils import watched

JOB = {"ansible_job_id": "j1.2", "results_file": "/root/.ansible_async/j1.2", "started": 1, "finished": 0}


class Bed:
    """An action, a host whose job ends at its ``answers``, and a clock."""

    def __init__(self, monkeypatch, plugin=ollama_model, **arguments):
        self.now, self.ran, self.shown, self.job, self.answers = 0.0, [], [], dict(JOB), []
        self.line, self.age = "pulling 41 % of 5.2 GB", 1
        monkeypatch.setattr(watched.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(watched.time, "sleep", self.sleep)
        monkeypatch.setattr(watched, "Display", lambda: types.SimpleNamespace(display=self.shown.append))
        monkeypatch.setattr(watched.ActionBase, "run", lambda _self, _tmp, _vars: {})
        self.action = action = object.__new__(plugin.ActionModule)
        action._task = types.SimpleNamespace(args=dict({"name": "a"}, **arguments), check_mode=False, async_val=0, no_log=False)
        action._execute_module = self.execute
        action._low_level_execute_command = self.command
        action._remote_expand_user = lambda path: path.replace("~", "/root")
        action.get_shell_option = lambda _name: "~/.ansible_async"

    def sleep(self, seconds):
        self.now += seconds

    def execute(self, module_name="ollama_model", module_args=None, task_vars=None, wrap_async=False):
        self.ran.append((module_name, wrap_async, self.action._task.async_val))
        if module_name == "ollama_model":
            return dict(self.job) if wrap_async else {"changed": True}
        assert module_args == {"jid": "j1.2", "_async_dir": "/root/.ansible_async"}
        return dict(JOB, **self.answers.pop(0)) if self.answers else dict(JOB)

    def command(self, words):
        self.ran.append(words)
        return {"stdout": "%s\n\n%d\n" % (self.line, self.age)}

    def run(self):
        return self.action.run(None, {"inventory_hostname": "gpu1"})


@pytest.fixture
def bed(monkeypatch):
    return lambda **arguments: Bed(monkeypatch, **arguments)


def test_a_quick_one_is_asked_after_once(bed):
    one = bed(progress_file="/run/p")
    one.answers = [{"finished": 1, "changed": True, "digest": "d", "stdout": ""}]
    assert one.run() == {"changed": True, "digest": "d"}
    assert one.ran == [
        ("ollama_model", True, 14400 + 600),
        ("ansible.legacy.async_status", False, 0),
        "rm -f -- /root/.ansible_async/j1.2",
    ]
    assert one.now < 1 and one.shown == []


def test_a_long_one_says_how_far_it_is_every_ten_seconds(bed):
    one = bed(progress_file="/run/a b", timeout=60)
    one.answers = [{}] * 9 + [{"finished": 1, "failed": True, "msg": "no such model"}]
    assert one.run() == {"failed": True, "msg": "no such model"}
    assert one.ran[0] == ("ollama_model", True, 660)
    assert "tail -n 1 -- '/run/a b' 2>/dev/null; echo; expr $(date +%s) - $(stat -c %Y -- '/run/a b')" in one.ran
    assert 40 < one.now < 60 and one.shown == ["gpu1: pulling 41 % of 5.2 GB"] * (len(one.shown)) and 3 <= len(one.shown) <= 5


def test_nothing_of_a_task_that_is_not_to_be_logged(bed):
    one = bed(progress_file="/run/p")
    one.action._task.no_log = True
    one.answers = [{}] * 9 + [{"finished": 1}]
    one.run()
    assert one.shown == []


def test_a_job_that_was_killed_does_not_last_for_ever(bed):
    one = bed(progress_file="/run/p", timeout="30")
    result = one.run()
    assert result["failed"] and "did not end in 6" in result["msg"] and 630 < one.now < 650


def test_a_module_that_writes_every_second_is_dead_when_it_does_not(bed):
    one = bed(plugin=model_download, progress_file="/run/p")
    one.age = 121
    result = one.run()
    assert result["failed"] and "says nothing more: it was killed" in result["msg"] and one.now < 30


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "could not find job"}, {"failed": True, "msg": "unreachable"}])
def test_a_job_that_is_gone_is_a_failure(bed, answer):
    one = bed(progress_file="/run/p")
    one.answers = [answer]
    assert one.run() == answer


def test_a_module_that_did_not_begin(bed):
    one = bed(progress_file="/run/p")
    one.job = {"failed": True, "msg": "no interpreter"}
    assert one.run() == one.job and len(one.ran) == 1


@pytest.mark.parametrize(
    "arguments, task, wrapped",
    [
        ({}, {}, 0),
        ({"progress_file": "/run/p"}, {"check_mode": True}, 0),
        ({"progress_file": "/run/p"}, {"async_val": 30}, 30),
    ],
)
def test_without_a_file_in_check_mode_and_as_a_job_of_the_users_own(bed, arguments, task, wrapped):
    one = bed(**arguments)
    vars(one.action._task).update(task)
    one.run()
    assert [(name, wrap) for name, wrap, _limit in one.ran] == [("ollama_model", wrapped)]
