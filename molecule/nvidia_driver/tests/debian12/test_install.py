# SPDX-License-Identifier: GPL-3.0-or-later
"""From no driver to one that works: refused, shown, interrupted, completed, and nothing to do."""

from __future__ import annotations

import json
import time

import pytest
from lab_host import ROOT, kill

PLAYBOOK = ROOT / "playbooks" / "nvidia_driver.yml"
YES = {"nvidia_driver_install": True}
RECORD = "/var/lib/gpufleet/nvidia_driver/driver.json"


def test_without_permission_it_is_refused_and_nothing_is_touched(play, host):
    before = host.touched()
    run = play()
    assert run.rc != 0 and run.changed == 0
    assert "There is no NVIDIA driver." in run.words
    assert "nvidia_driver_install: true" in run.words
    assert host.touched() == before
    assert host.requests() == []


def test_a_foreign_key_is_refused_before_anything_is_installed(play, host):
    run = play(**YES, nvidia_driver_key_fingerprint="0" * 40)
    assert run.rc != 0 and run.changed == 0
    assert "and not %s as asked for. Nothing was written." % ("0" * 40) in run.words
    assert not host.file("/etc/apt/keyrings/gpufleet-nvidia-driver.asc").exists
    assert not host.file("/etc/apt/sources.list.d/gpufleet-nvidia-driver.sources").exists


def test_check_mode_says_what_would_be_installed(play, host):
    before, asked = host.touched(), len(host.requests())
    run = play("--check", "--diff", **YES)
    assert run.rc == 0, run.text
    assert "nvidia-driver-pinning-580" in run.words and "nvidia-open" in run.words
    assert "+URIs: http://127.0.0.1:8078/debian12/x86_64/" in run.text
    assert run.changed >= 3
    assert host.touched() == before
    assert len(host.requests()) == asked


def test_killed_while_dpkg_was_at_work(begin, host):
    host.output("touch /run/lab-slow")
    process = begin(**YES)
    deadline = time.monotonic() + 90
    while not host.file("/run/lab-in-postinst").exists:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.3)
    kill(process, host)
    host.output("rm /run/lab-slow")
    assert host.output("dpkg --audit")
    assert json.loads(host.file(RECORD).content_string)["complete"] is False


def test_the_next_run_completes_it(play, host):
    run = play(**YES)
    assert run.rc == 0, run.text
    assert "Finish what dpkg was interrupted in" in run.changes
    assert host.output("dpkg --audit") == ""
    packages = host.packages()
    assert packages["nvidia-open"] == "hold ok installed 580.95.05-1"  # 590.48.01 is there too: the pin came first
    assert packages["nvidia-driver-pinning-580"].startswith("hold ok installed")
    assert packages["linux-headers-" + host.output("uname -r")] == "install ok installed 1"
    assert host.output("nvidia-smi -q -x | grep -o '<driver_version>[0-9.]*'") == "<driver_version>580.95.05"


def test_what_keeps_it_as_it_is(host):
    assert '"^nvidia-(?!container)"' in host.output("cat /etc/apt/apt.conf.d/52gpufleet-nvidia-driver")
    assert "Unattended-Upgrade::Package-Blacklist" in host.output("apt-config dump Unattended-Upgrade")
    policy = host.output("apt-cache policy nvidia-open")
    assert "Candidate: 580.95.05-1" in policy
    sources = host.file("/etc/apt/sources.list.d/gpufleet-nvidia-driver.sources").content_string
    assert "Signed-By: /etc/apt/keyrings/gpufleet-nvidia-driver.asc\n" in sources
    record = json.loads(host.file(RECORD).content_string)
    assert record == {"schema": "gpufleet.nvidia_driver/1", "source": "nvidia", "branch": 580, "version": "580.95.05",
                      "modules": "open", "complete": True}  # fmt: skip


def test_the_persistence_daemon_keeps_the_card_awake(host):
    assert host.output("systemctl is-enabled nvidia-persistenced") == "enabled"
    assert host.output("systemctl show --value --property ActiveState nvidia-persistenced") == "active"
    command = host.output("systemctl show --value --property ExecStart nvidia-persistenced")
    assert "--verbose --persistence-mode" in command and "--no-persistence-mode" not in command


@pytest.mark.parametrize(
    "extra", [YES, {}, dict(YES, nvidia_driver_upgrade=True)], ids=["again", "without permission", "upgrade"]
)
def test_a_second_run_is_a_look(play, host, extra):
    before, asked = host.touched(), len(host.requests())
    run = play(**extra)
    assert run.rc == 0, run.text
    assert run.changed == 0
    assert host.touched() == before
    assert len(host.requests()) == asked


def test_the_playbook_sees_every_card(playbooks, host):
    run = playbooks.run(playbook=PLAYBOOK, **YES)
    assert run.rc == 0, run.text
    assert run.changed == 0
    assert "See that the driver lists every card of the PCI bus" in run.text
    host.output("cd /sys/bus/pci/devices && mkdir 0000:62:00.0 && cd 0000:61:00.0 && cp vendor device class ../0000:62:00.0/")
    run = playbooks.run(playbook=PLAYBOOK, **YES)
    host.output("rm -r /sys/bus/pci/devices/0000:62:00.0")
    assert run.rc != 0
    assert "did not take this GPU" in run.words
