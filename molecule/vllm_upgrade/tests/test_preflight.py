# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything happens, and what the message says to set."""

from __future__ import annotations

import pytest


def instance(**more):
    return dict({"name": "a", "model": "/opt/canary"}, **more)


@pytest.mark.parametrize(
    "instances, more, message",
    [
        ([instance(name="Big Model")], {}, "lower-case letters, digits and dashes"),
        ([instance(), instance(port=8001)], {}, "every name must be there once"),
        ([instance(), instance(name="b")], {}, "two instances want the same port or socket"),
        ([instance(socket="/tmp/a.sock")], {}, "set it to /run/vllm-a/api.sock"),
        ([instance(host="0.0.0.0")], {}, "set vllm_expose to true"),
        ([instance(api_key_from="variable:nowhere")], {}, "that variable is empty or not set"),
        ([instance(settings={"--port": 9000})], {}, "sets something that the role sets itself"),
        ([instance(environment={"VLLM_API_KEY": "x"})], {}, "sets something that the role sets itself"),
        ([instance()], {"vllm_stop_timeout_s": 30}, "must be larger than vllm_shutdown_timeout_s"),
        ([instance(colour="red")], {}, "Supported parameters include"),
    ],
)
def test_refusals(play, host, instances, more, message):
    run = play(instances=instances, **more)
    assert run.rc != 0
    assert message in " ".join(run.text.split()), run.text
    assert run.changed == 0
    assert not host.file("/etc/systemd/system/vllm-a.service").exists
