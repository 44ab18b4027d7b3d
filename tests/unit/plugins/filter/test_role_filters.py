# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.llm.plugins.filter.device_nodes import device_nodes
from ansible_collections.gpufleet.llm.plugins.filter.device_wait import device_wait
from ansible_collections.gpufleet.llm.plugins.filter.plan_claims import plan_claims
from ansible_collections.gpufleet.llm.plugins.filter.systemd_quote import systemd_quote
from ansible_collections.gpufleet.llm.plugins.filter.watchdog_configs import watchdog_configs


@pytest.mark.parametrize(
    "value, command, expected",
    [
        ("plain-1.0_x=/a,b:c@d+e", True, "plain-1.0_x=/a,b:c@d+e"),
        (8000, True, "8000"),
        ("", True, '""'),
        ("two words", False, '"two words"'),
        ('{"a":"b\\c"}', True, '"{\\"a\\":\\"b\\\\c\\"}"'),
        ("100%", False, '"100%%"'),
        ("$5", False, '"$5"'),
        ("$5", True, '"$$5"'),
        ("it's", True, "\"it's\""),
    ],
)
def test_systemd_quote(value, command, expected):
    assert systemd_quote(value, command) == expected


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_systemd_quote_refuses_lines(value):
    with pytest.raises(AnsibleFilterError, match="cannot span lines"):
        systemd_quote(value)


@pytest.mark.parametrize(
    "plan, claims",
    [
        (
            {"refusal": None, "variant": "cuda", "devices": ["GPU-0", "GPU-1"], "numbers": {"claimed_bytes_per_gpu": 5}},
            [{"device": "GPU-0", "bytes": 5, "unit": "u"}, {"device": "GPU-1", "bytes": 5, "unit": "u"}],
        ),
        (
            {"refusal": None, "variant": "cpu", "devices": [], "numbers": {"requested_bytes": 7}},
            [{"device": "one", "bytes": 7, "unit": "u"}],
        ),
        ({"refusal": {"code": "x"}, "variant": "cpu", "devices": [], "numbers": {}}, []),
    ],
)
def test_plan_claims(plan, claims):
    assert plan_claims(plan, "one", "u") == claims


def test_a_wait_for_device_files():
    hardware = {"environment": "bare", "accelerators": [{"vendor": "amd"}, {"vendor": "nvidia"}]}
    assert device_nodes(hardware) == ["/dev/nvidiactl", "/dev/nvidia-uvm"]
    assert device_nodes(dict(hardware, environment="wsl")) == ["/dev/dxg"]
    assert device_nodes({"environment": "bare", "accelerators": []}) == []
    words = device_wait(["/dev/null", "/dev/gone"], 1)
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "no /dev/null or /dev/gone after 1 s: the GPU driver is not there\n")
    assert subprocess.run(device_wait(["/dev/null"], 1), check=False).returncode == 0


def test_configurations_of_watches():
    unit = {"unit": "vllm-chat.service", "state": "present", "url": "http://127.0.0.1:8000", "model": None, "start_s": "375"}
    (made,) = watchdog_configs([unit], {"kernel_log": "/var/log/kern.log"}, "/etc/gpufleet/watchdog")
    assert made["path"] == "/etc/gpufleet/watchdog/vllm-chat.json"
    settings = json.loads(made["content"])
    assert (settings["kernel_log"], settings["start_s"], settings["model"]) == ("/var/log/kern.log", 375, "")
    with pytest.raises(AnsibleFilterError, match="vllm-chat.service: the configuration of this watch: api_key is not known"):
        watchdog_configs([dict(unit, api_key="x")], {}, "/x")
