# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything happens, and what the message says to set."""

from __future__ import annotations

import re

import pytest


def instance(**more):
    return dict({"name": "a", "model": "/opt/canary"}, **more)


CASES = [
    ([instance(name="Big Model")], "lower-case letters, digits and dashes"),
    ([instance(), instance(port=8001)], "every name must be there once"),
    ([instance(), instance(name="b")], "two instances want the same port or socket"),
    ([instance(socket="/tmp/a.sock")], "set it to /run/vllm-a/api.sock"),
    ([instance(host="0.0.0.0")], "set vllm_expose to true"),
    ([instance(api_key_from="variable:nowhere")], "that variable is empty or not set"),
    ([instance(settings={"--port": 9000})], "sets something that the role sets itself"),
    ([instance(environment={"VLLM_API_KEY": "x"})], "sets something that the role sets itself"),
    ([instance(colour="red")], "Supported parameters include"),
]


@pytest.fixture(scope="module")
def refused(play):
    """The run that tries all of them, and what it said to each."""
    run = play(playbook="refusals.yml", cases=[instances for instances, _message in CASES])
    parts = re.split(r"TASK \[Note the refusal of case (\d+)\]", run.text)
    return run, {int(number): " ".join(text.split()) for number, text in zip(parts[1::2], parts[2::2])}


@pytest.mark.parametrize("number, message", list(enumerate(message for _instances, message in CASES)))
def test_refusals(refused, host, number, message):
    run, said = refused
    assert number in said, run.text
    assert re.search("case %d was refused: .*%s" % (number, re.escape(message)), said[number]), said[number]
    assert run.changed == 0
    assert not host.file("/etc/systemd/system/vllm-a.service").exists


def test_a_stop_without_time_for_it_fails_the_run(play, host):
    run = play(instances=[instance()], vllm_stop_timeout_s=30)
    assert run.rc != 0
    assert "must be larger than vllm_shutdown_timeout_s" in " ".join(run.text.split()), run.text
    assert run.changed == 0
    assert not host.file("/etc/systemd/system/vllm-a.service").exists
