# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that answers, and not from the GPU that the plan says."""

from __future__ import annotations

import json


def test_an_engine_beside_its_gpu_is_refused(host, play):
    host.output("for file in nvidiactl nvidia-uvm; do mknod /dev/$file c 1 3; done")
    run = play(playbook="gpu.yml")
    assert run.rc != 0
    plan = json.loads(host.file("/var/lib/gpufleet/vllm/gpu/plan.json").content_string)
    assert plan["variant"] == "cuda" and len(plan["devices"]) == 1
    assert "no process of vllm-gpu.service holds memory on %s" % plan["devices"][0] in " ".join(run.text.split())
    assert host.show("ActiveState", "gpu") == "inactive"

    unit = host.file("/etc/systemd/system/vllm-gpu.service").content_string
    assert "Environment=CUDA_VISIBLE_DEVICES=%s\n" % plan["devices"][0] in unit
    assert "DeviceAllow=char-nvidia* rw\n" in unit and "PrivateDevices" not in unit
    assert "ExecStart=/opt/gpufleet/vllm/0.33.0-cuda/bin/vllm \\\n  serve \\\n  /srv/models/local/opt/canary/" in unit
    assert host.run("systemd-analyze verify vllm-gpu.service").stderr == ""
    # It did run: the sandbox of a GPU host lets an engine start.
    assert "API server version 0.33.0" in host.output("journalctl --no-pager --unit vllm-gpu.service")
