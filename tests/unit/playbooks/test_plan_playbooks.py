# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""plan.yml and what_if.yml, really run: on facts that are kept, on this machine, on one that is down."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

COLLECTIONS = next(path.parent for path in Path(hosts.__file__).parents if path.name == "ansible_collections")


@pytest.mark.slow
def test_one_table_and_one_page(tmp_path):
    (tmp_path / "ssh").write_text("#!/bin/sh\necho nobody is there >&2\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(hosts.CONFIGS["Llama-3.1-8B"]))
    pair = hosts.host(hosts.gpus(2, "NVIDIA L40S"))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {
        "gpu-01": {"gpufleet_hardware": pair, **local},
        "gpu-02": {"gpufleet_hardware": pair, "ansible_connection": "local", "ansible_python_interpreter": "/nowhere/python3"},
        "here": local,
        "down": {"ansible_ssh_executable": str(tmp_path / "ssh")},
        "odd": {"ansible_connection": "local", "ansible_python_interpreter": "/nowhere/python3"},
    }
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": inventory}}))
    models = [{"name": "inline", "config": hosts.CONFIGS["Qwen2.5-32B"], "context": "8K"}, str(tmp_path / "model")]
    said = {"models": models, "what_if": "2xL40S; 1 x T4", "ansible_become": False, "gpufleet_offline": True}
    environment = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_NOCOLOR": "true", "ANSIBLE_PIPELINING": "true",
        "COLUMNS": "120", "PWD": str(tmp_path),
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "inventory.json"),
         "gpufleet.llm.plan", "gpufleet.llm.what_if", "-e", json.dumps(said)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr

    first, second = re.split(r"^PLAY \[Plan models on GPUs", run.stdout, flags=re.M)
    assert "2 models on 5 hosts; vLLM" in first
    assert "2 hosts not asked" in first
    for model in ("inline", str(tmp_path / "model")):
        assert model[:12] in first
    assert re.search(r"^2 hosts like.* 2 x L40S ", first, re.M)
    assert re.search(r"^here +(CPU,|\d x) ", first, re.M)
    assert re.search(r"NOT ASKED\n(  .*\n|      .*\n)*  down: unreachable: .*nobody is there", first)
    assert re.search(r"^  odd: .*/nowhere/python3", first, re.M)
    assert "The same with memory, curves and reasons: %s\n" % (tmp_path / "gpufleet-plan.html") in first
    table = first[first.index("2 models on 5 hosts") : first.index("The same with")]
    assert max(map(len, table.splitlines())) <= 120

    assert "2 models on 2 sets of GPUs" in second
    assert re.search(r"^2 x L40S .*fits", second, re.M)
    assert re.search(r"^1 x T4 .*REFUSED", second, re.M)
    changed = set(re.findall(r"changed=(\d+)", run.stdout))
    assert changed == {"0"}

    page = (tmp_path / "gpufleet-plan.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "1 x T4" in page
