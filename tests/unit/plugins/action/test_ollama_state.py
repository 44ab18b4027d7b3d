# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.gpufleet.llm.plugins.action import ollama_state
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.deployment import ollama_looks as looks
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts

NAME = "llama3.1:8b"


@pytest.fixture
def act(monkeypatch):
    """The action on a host that looks so; ``asked`` are the modules that ran there, with their options."""
    asked = []

    def run(look, info=None, role=None, **wanted):
        def execute(_self, module_name, module_args, task_vars, wrap_async):
            name = module_name.rsplit(".", 1)[1]
            asked.append((name, module_args))
            return looks.answer(looks.wanted(**wanted), look, looks.role()) if name == "ollama_host" else info

        monkeypatch.setattr(ollama_state.ActionModule, "_execute_module", execute)
        monkeypatch.setattr(ollama_state.ActionBase, "run", lambda _self, _tmp, _vars: {})
        action = object.__new__(ollama_state.ActionModule)
        arguments = {"wanted": dict(looks.WANTED, **wanted), "role": looks.role(**(role or {}))}
        action._task = types.SimpleNamespace(args=arguments, check_mode=False)
        action.validate_argument_spec = lambda _spec: (None, arguments)
        return action.run(None, {})

    run.asked = asked
    return run


def test_one_look_where_all_is_well(act):
    look = looks.done(looks.wanted(), looks.fresh())
    result = act(look)
    assert (result["changed"], result["due"]) == (False, False)
    assert [name for name, _options in act.asked] == ["ollama_host"]


def with_model():
    look = looks.fresh("L4")
    look["stores"]["/srv/models/ollama"] = looks.store(looks.model(NAME))
    return look


def test_models_are_read_once_for_a_plan(act):
    result = act(with_model(), {"model": ollama_hosts.model("llama3.1-8b")}, models=[NAME])
    assert [name for name, _options in act.asked] == ["ollama_host", "model_info"]
    assert act.asked[1][1] == {"source": "/blobs/" + looks.DIGEST, "manifest": {}, "manifest_config": {}}
    assert result["due"] and result["state"]["instances"][0]["plan"] and "not planned" not in str(result["warnings"])


def test_a_model_that_cannot_be_read_is_a_warning(act):
    result = act(with_model(), {"failed": True, "msg": "what is that"}, models=[NAME])
    assert NAME + " is not planned for: what is that" in result["warnings"]
    assert result["state"]["instances"][0]["plan"] is None


def test_nothing_is_asked_of_the_host_when_the_wishes_make_no_sense(act):
    with pytest.raises(AnsibleActionFail) as failure:
        act(looks.fresh(), role={"keep": "x"}, models=[{"name": "a", "url": "b"}])
    assert "ollama_keep_versions=x" in str(failure.value) and "\nollama_models[a]: url" in str(failure.value)
    assert act.asked == []


def test_what_the_host_makes_impossible_is_said(act):
    with pytest.raises(AnsibleActionFail, match="port 11434 of instance ollama is taken"):
        act(dict(looks.fresh(), listeners=[11434]))
    assert act(dict(looks.fresh(), listeners=[11434]), role={"state": "absent"})["state"]["problems"] == []
