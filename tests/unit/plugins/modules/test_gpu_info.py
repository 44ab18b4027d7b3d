# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module itself, on this very machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.modules import gpu_info
from ansible_collections.gpufleet.llm.tests.stand_ins.nvml.build import build, profile

MODULE = Path(gpu_info.__file__)


def run_alone(arguments: dict, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(MODULE)],
        input=json.dumps(arguments),
        env=dict(os.environ, **environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def here() -> dict:
    """What the module says of this machine."""
    done = run_alone({"paths": ["/", "/nonexistent/models"], "tools_python": "/nonexistent"})
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_this_machine(here):
    hardware = here["hardware"]
    assert here["changed"] is False
    assert here["ansible_facts"] == {"gpufleet": {"hardware": hardware}}
    cpu = hardware["cpu"]
    assert cpu["architecture"] == os.uname().machine
    assert 1 <= cpu["cores"] <= cpu["threads"] <= len(os.sched_getaffinity(0))
    assert set(sum((node["cpus"] for node in cpu["numa_nodes"]), [])) == os.sched_getaffinity(0)
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < hardware["memory_available_bytes"] <= hardware["memory_total_bytes"] <= total * 1.05
    assert [disk["measured_at"] for disk in hardware["disks"]] == ["/", "/"]
    assert {name for name, said in hardware["sources"].items() if said != "ok"} <= {"nvml", "nvidia_smi"}


def test_this_machines_gpus_are_the_drivers(here):
    """Without a GPU: none, and both probes say why. With one: as many as the driver made device files for."""
    seen = [card for card in here["hardware"]["accelerators"] if card["vendor"] == "nvidia" and card["usable"]]
    files = [name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit()]
    assert len(seen) == len(files)
    if not files:
        assert here["hardware"]["sources"]["nvml"] != "ok" != here["hardware"]["sources"]["nvidia_smi"]


def test_a_gpu_host_through_the_whole_module(tmp_path):
    described = tmp_path / "machine.txt"
    described.write_text(profile("l40s-x2"))
    library = build(tmp_path / "lib")
    done = run_alone(
        {"ANSIBLE_MODULE_ARGS": {"tools_python": sys.executable}},
        NVML_PROFILE=str(described),
        LD_LIBRARY_PATH=str(library),
    )
    hardware = json.loads(done.stdout)["hardware"]
    assert [card["name"] for card in hardware["accelerators"][:2]] == ["NVIDIA L40S", "NVIDIA L40S"]
    assert hardware["sources"]["nvml"] == "ok"


def test_a_timeout_of_nothing_is_refused():
    done = run_alone({"timeout": 0})
    result = json.loads(done.stdout)
    assert result["failed"] and "timeout is 0" in result["msg"]
