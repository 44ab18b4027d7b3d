# SPDX-License-Identifier: GPL-3.0-or-later
"""A GPU that is there, that comes late, and that Ollama does not use: on a host that was emptied before (test_removal).

There is no GPU: nvidia-smi prints the report of one, the device files are /dev/null, and the stand-in says where a model
is. With a real release these tests do not hold.
"""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from lab_host import Host, Playbooks

SCENARIO = pathlib.Path(__file__).parents[1]
REPORT = SCENARIO.parents[1] / "tests" / "unit" / "fixtures" / "hardware" / "pro6000-blackwell-590.xml"

pytestmark = pytest.mark.skipif(bool(os.environ.get("OLLAMA_TEST_ARCHIVE")), reason="only the stand-in plays a GPU")

SMI = """#!/bin/sh
case "$*" in
*-q*-x*) cat /opt/nvidia-smi.xml ;;
*compute_cap*) sed -n 's#.*<uuid>\\(.*\\)</uuid>.*#\\1, 12.0#p' /opt/nvidia-smi.xml | head -1 ;;
*) exit 1 ;;
esac
"""
MODES = "/srv/models/ollama-standin.json"


@pytest.fixture(scope="module", params=["llm-debian13"])
def host(request):
    host = Host(request.param)
    write(host, "/opt/nvidia-smi.xml", REPORT.read_text())
    write(host, "/usr/local/bin/nvidia-smi", SMI)
    host.output("chmod 755 /usr/local/bin/nvidia-smi")
    return host


@pytest.fixture(scope="module")
def play(host):
    return lambda **extra: Playbooks(SCENARIO, host.name).run(playbook="gpu.yml", **extra)


def write(host, path, text):
    host.output("mkdir -p %s && printf '%%s' %s > %s", os.path.dirname(path), text, path)


def test_without_its_device_files_it_does_not_start(host, play):
    run = play()
    assert run.rc != 0
    assert "no /dev/nvidiactl or /dev/nvidia-uvm after 2 s: the GPU driver is not there" in run.words
    assert host.show("ActiveState", "ollama") in ("inactive", "failed")
    assert host.show("UnitFileState", "ollama") == "disabled"


def test_a_model_on_the_cpu_is_refused(host, play):
    host.output("for file in nvidiactl nvidia-uvm; do mknod /dev/$file c 1 3; done")
    write(host, MODES, json.dumps({"gpus": str(97887 * 2**20), "cpu_fallback": "1"}))
    run = play()
    assert run.rc != 0
    assert "127.0.0.1:5001/library/tiny:latest runs on the CPU alone (size_vram 0 of" in run.words


def test_on_its_gpu(host, play):
    write(host, MODES, json.dumps({"gpus": str(97887 * 2**20)}))
    run = play()
    assert run.rc == 0, run.text
    plan = json.loads(host.file("/var/lib/gpufleet/ollama/ollama/plan.json").content_string)
    assert plan["variant"] == "cuda" and plan["models"][0]["runs_on"] == "gpu"
    unit = host.file("/etc/systemd/system/ollama.service").content_string
    assert "DeviceAllow=char-nvidia* rw\n" in unit and "PrivateDevices" not in unit
    loaded = json.loads(host.output("curl --silent http://127.0.0.1:11434/api/ps"))["models"]
    assert loaded[0]["size_vram"] == loaded[0]["size"]
    assert play().changed == 0
