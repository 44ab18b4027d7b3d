# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as Ansible runs it: a process, options in, one JSON object out."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines import probe
from ansible_collections.gpufleet.llm.plugins.modules import endpoint_check
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.server import StandIn

KEY = "sk-test-5e1f0c"


def run(**options: t.Any) -> t.Dict[str, t.Any]:
    process = subprocess.run(
        [sys.executable, endpoint_check.__file__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"deadline": 0, "timeout": 5, **options}}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert KEY not in process.stdout + process.stderr
    assert process.stdout, process.stderr
    return json.loads(process.stdout)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    (tmp_path / "key").write_text(KEY + "\n")
    return str(tmp_path / "key")


def test_an_answer(key_file: str) -> None:
    with StandIn(names=["canary"], api_key=KEY) as server:
        result = run(
            url=server.url + "/v1",
            engine="vllm",
            api_key_file=key_file,
            question="What is the capital of France?",
            expected="Paris",
        )
    assert (result["changed"], result["ok"], result["verdict"]) == (False, True, "ok")
    assert (result["text"], result["engine_version"]) == ("The capital of France is Paris.", "0.32.0")
    assert "failed" not in result and "service" not in result


def test_without_an_answer_it_fails_with_all_that_it_saw() -> None:
    with StandIn(names=["canary"], api_key=KEY) as server:
        result = run(url=server.url)
    assert result["failed"] and (result["verdict"], result["http_status"]) == ("unauthorized", 401)
    assert result["msg"] == "unauthorized: /v1/models answered 401: Unauthorized. " + probe.ADVICE["unauthorized"]


def test_the_verdict_can_be_the_answer() -> None:
    with StandIn(names=["canary"]) as server:
        result = run(url=server.url, model="llama", required=False)
    assert (result["ok"], result["verdict"], result.get("failed")) == (False, "model_not_found", None)


def test_a_server_that_repeats_the_key(key_file: str) -> None:
    with StandIn(names=[KEY + "-model"], api_key=KEY) as server:
        result = run(url=server.url, api_key_file=key_file)
    assert result["ok"] and result["models"] == ["********-model"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_check_mode_looks_too(check_mode: bool) -> None:
    with StandIn(names=["canary"]) as server:
        assert run(url=server.url, _ansible_check_mode=check_mode)["verdict"] == "ok"
        assert ("GET", "/v1/models") in server.requests


def test_check_mode_can_be_left_out() -> None:
    with StandIn(names=["canary"]) as server:
        result = run(url=server.url, in_check_mode="skip", _ansible_check_mode=True)
        assert result["skipped"] and server.requests == []
        assert run(url=server.url, in_check_mode="skip")["ok"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"url": "node:8000"}, "url=node:8000: give http://HOST:PORT"),
        ({"url": "http://node", "api_key": KEY, "api_key_file": "/x"}, "mutually exclusive: api_key|api_key_file"),
        ({"url": "http://node", "client_key": "/x"}, "missing parameter(s) required by 'client_key': client_cert"),
        ({"url": "http://node", "api_key_file": "/nowhere"}, "api_key_file=/nowhere does not exist on this host"),
        ({"url": "http://node", "api_key": KEY + "\nX: 1"}, "visible ASCII"),
        ({"url": "http://node", "devices": ["0"]}, "devices needs service or container"),
        ({"url": "http://node", "restarts_allowed": -1}, "restarts_allowed=-1 must not be negative"),
    ],
)
def test_options_refused(options: t.Dict[str, t.Any], message: str) -> None:
    result = run(**options)
    assert result["failed"] and message in result["msg"]


def test_documented_choices_are_those_of_the_code() -> None:
    assert set(endpoint_check.ARGUMENTS["state"]["choices"]) == set(probe.STATES)
    assert set(endpoint_check.ARGUMENTS["kind"]["choices"]) == set(probe.KINDS)
    assert set(endpoint_check.ARGUMENTS["engine"]["choices"]) == set(probe.HEALTH_PATH)
    assert all("V(%s)" % verdict in endpoint_check.RETURN for verdict in probe.VERDICTS)
