# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read of engines and of CDI specifications on a host."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.services import container_look as look

# As nvidia-ctk writes it, shortened. Source: NVIDIA/nvidia-container-toolkit, pkg/nvcdi.
YAML = """\
---
cdiVersion: 0.7.0
containerEdits:
  additionalGids:
  - 44
  deviceNodes:
  - path: /dev/nvidiactl
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args:
    - nvidia-cdi-hook
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - hostPath: /dev/dri/card1
      path: /dev/dri/card1
  name: "0"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: GPU-12345678-aaaa
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
kind: nvidia.com/gpu
"""
JSON = """{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidiactl"}]},
"devices": [{"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}]}}]}"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            YAML,
            {
                "version": "0.7.0",
                "kind": "nvidia.com/gpu",
                "devices": ["0", "GPU-12345678-aaaa", "all"],
                "generated": True,
                "nodes": ["/dev/dri/card1", "/dev/nvidia0", "/dev/nvidiactl"],
            },
        ),
        (
            JSON,
            {
                "version": "0.5.0",
                "kind": "nvidia.com/gpu",
                "devices": ["all"],
                "generated": False,
                "nodes": ["/dev/nvidia0", "/dev/nvidiactl"],
            },
        ),
        (
            'cdiVersion: "0.6.0"\nkind: "vendor.com/device"\ndevices:\n  - name: a\n',
            {"version": "0.6.0", "kind": "vendor.com/device", "devices": ["a"], "generated": False, "nodes": []},
        ),
        ("", {"version": "", "kind": "", "devices": [], "generated": False, "nodes": []}),
    ],
)
def test_specification(text, found):
    assert look.specification(text) == found


@pytest.mark.parametrize(
    ("host", "variables", "gpu"),
    [
        ({}, [], ""),
        ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]}]}, [], "cdi"),
        ({"DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]}, [], "legacy"),
        ({"DeviceRequests": None, "Runtime": "nvidia"}, ["NVIDIA_VISIBLE_DEVICES=all"], "legacy"),
        ({"Runtime": "nvidia"}, ["NVIDIA_VISIBLE_DEVICES=void", "A=b"], ""),
        ({"Runtime": "nvidia"}, [], ""),
        ({"Runtime": "runc"}, ["NVIDIA_VISIBLE_DEVICES=all"], ""),
        ({"Devices": [{"PathOnHost": "/dev/nvidia0"}]}, [], "devices"),
        ({"Devices": [{"PathOnHost": "/dev/fuse"}]}, [], ""),
    ],
)
def test_how_a_container_of_docker_has_its_gpus(host, variables, gpu):
    assert look.gpu_of_docker({"HostConfig": host, "Config": {"Env": variables}}) == gpu


@pytest.mark.parametrize(
    ("one", "hook", "gpu"),
    [
        ({"Config": {"CreateCommand": ["podman", "run", "--device=nvidia.com/gpu=0", "x"]}}, False, "cdi"),
        ({"HostConfig": {"Devices": [{"PathOnHost": "/dev/nvidia0"}]}}, False, "devices"),
        ({"Config": {"Env": ["NVIDIA_VISIBLE_DEVICES=all"]}}, True, "legacy"),
        ({"Config": {"Env": ["NVIDIA_VISIBLE_DEVICES=all"]}}, False, ""),
        ({}, True, ""),
    ],
)
def test_how_a_container_of_podman_has_its_gpus(one, hook, gpu):
    assert look.gpu_of_podman(one, hook) == gpu


def test_insecure_registries_are_those_that_docker_was_told_of():
    config = {
        "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128", "10.0.0.0/8"],
        "IndexConfigs": {"docker.io": {"Secure": True}, "r.example.com:5000": {"Secure": False}},
    }
    assert look.insecure_registries(config) == ["10.0.0.0/8", "r.example.com:5000"]
