# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrow back: what the running engines measured, collected from both hosts, in the next plan."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import pytest
import testinfra

ROOT = pathlib.Path(__file__).parents[3]
HOSTS = ["llm-debian12", "llm-debian13"]
STATE = "/var/lib/gpufleet/vllm/canary/"
ENVIRONMENT = dict(
    {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
    ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".ansible" / "collections"),
    ANSIBLE_HOME=str(ROOT / ".ansible"),
    ANSIBLE_PIPELINING="true",
    ANSIBLE_NOCOLOR="true",
    ANSIBLE_LOCALHOST_WARNING="false",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A second inventory, which puts the hosts into the group that playbooks go by."""
    directory = tmp_path_factory.mktemp("inventory")
    (directory / "llm.yml").write_text("llm:\n  children:\n    fleet:\n")
    return directory


def play(place, playbook, *options, **extra):
    """What ansible-playbook said, on one line, and what it changed, host by host."""
    words = ["ansible-playbook", "--inventory", str(ROOT / "molecule" / "inventory"), "--inventory", str(place / "llm.yml")]
    words += [str(ROOT / playbook), "--extra-vars", json.dumps(extra), *options]
    done = subprocess.run(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return " ".join(done.stdout.split()), [int(number) for number in re.findall(r"changed=(\d+)", done.stdout)]


def kept(host, name):
    return json.loads(testinfra.get_host("podman://" + host).file(STATE + name).content_string)


@pytest.mark.parametrize("host", HOSTS)
def test_what_the_next_plan_needs_is_kept(host):
    measured, plan = kept(host, "measured.json"), kept(host, "plan.json")
    assert measured["configuration"] == plan["configuration"]
    assert measured["configuration"]["max_num_seqs"] == 4 and measured["configuration"]["variant"] == "cpu"
    assert measured["kv_cache_given_bytes"] == plan["numbers"]["kv_cache_bytes"]["expected"]
    assert measured["earlier"] == [] and measured["overhead_bytes"] is None


def test_the_fleet_in_one_file(place):
    file = place / ".gpufleet-measured.json"
    said, changed = play(place, "playbooks/calibrate.yml", "--check", "--diff", calibrate_file=str(file))
    assert sum(changed) == 1 and not file.exists() and '+ "schema": "gpufleet.calibration/1"' in said
    said, changed = play(place, "playbooks/calibrate.yml", calibrate_file=str(file))
    assert "2 measurements of 2 hosts: 1 entry for 1 configuration in the file." in said and sum(changed) == 1
    content = json.loads(file.read_text())
    (entry,) = content["measured"]
    assert entry["num_gpu_blocks"] == kept(HOSTS[0], "measured.json")["num_gpu_blocks"]
    assert "llm-debian" not in file.read_text()
    before = file.stat().st_mtime_ns
    assert sum(play(place, "playbooks/calibrate.yml", calibrate_file=str(file))[1]) == 0
    assert file.stat().st_mtime_ns == before


def test_a_file_that_is_not_ours_is_left_alone(place):
    file = place / "llm.yml"
    before = file.read_text()
    with pytest.raises(AssertionError, match="It is not a collection of measurements"):
        play(place, "playbooks/calibrate.yml", calibrate_file=str(file))
    assert file.read_text() == before


def test_the_next_plan_goes_by_it(place):
    """By the host's own file; and a collected one of which nothing can be read is in nobody's way."""
    (place / "broken.json").write_text("{half")
    extra = {"vllm_replan": True, "vllm_measured_file": str(place / "broken.json")}
    said, _changed = play(place, "molecule/vllm/converge.yml", "--check", "--limit", HOSTS[0], **extra)
    assert "Measured: the engine made" in said and "measured[0] is not JSON" in said
