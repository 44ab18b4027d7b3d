# SPDX-License-Identifier: GPL-3.0-or-later
"""A card that nouveau holds, NVSwitches, and then a driver that is somebody else's."""

from __future__ import annotations

import pytest

YES = {"nvidia_driver_install": True}
UPGRADE = {"nvidia_driver_install": True, "nvidia_driver_upgrade": True}
CARD = "/sys/bus/pci/devices/0000:61:00.0"


def test_it_is_installed_and_waits_for_a_reboot(play, host):
    started = host.output("systemctl show --value --property UserspaceTimestampMonotonic")
    run = play(**YES)
    assert run.rc == 0, run.text
    assert "a reboot is needed: nouveau drives the card until the next boot" in run.words
    assert host.output("systemctl show --value --property UserspaceTimestampMonotonic") == started
    assert "blacklist nouveau\n" in host.file("/etc/modprobe.d/gpufleet-nouveau.conf").content_string
    assert host.output("cat /run/lab-initramfs") == "-u -k all"  # once
    assert host.packages()["nvidia-open"] == "hold ok installed 580.95.05-1"
    assert not host.file("/proc/driver/nvidia/version").exists
    assert host.output("systemctl is-enabled nvidia-persistenced") == "enabled"


def test_the_fabric_manager_has_exactly_the_drivers_version(host):
    assert host.packages()["nvidia-fabricmanager"] == "hold ok installed 580.95.05-1"
    assert host.output("systemctl is-enabled nvidia-fabricmanager") == "enabled"


@pytest.mark.parametrize("extra", [YES, {}], ids=["again", "without permission"])
def test_until_then_nothing_changes(play, host, extra):
    before, asked = host.touched(), len(host.requests())
    run = play(**extra)
    assert run.rc == 0, run.text
    assert run.changed == 0
    assert "a reboot is needed" in run.words
    assert host.touched() == before
    assert len(host.requests()) == asked


def test_after_the_reboot_it_works(play, host):
    host.output("rm %s/driver && modprobe --all nvidia nvidia-uvm", CARD)  # what udev does when it boots, and systemd
    host.output("systemctl start nvidia-persistenced nvidia-fabricmanager")
    run = play(**YES)
    assert run.rc == 0, run.text
    assert run.changed == 0
    assert "reboot" not in run.words


def test_a_driver_that_works_is_left_alone_whoever_installed_it(play, host):
    host.output("rm -r /var/lib/gpufleet/nvidia_driver /etc/apt/preferences.d/gpufleet-nvidia-driver")
    host.output("systemctl stop nvidia-persistenced")
    before, asked = host.touched(), len(host.requests())
    run = play(**UPGRADE)
    assert run.rc == 0, run.text
    assert run.changed == 0
    assert host.touched() == before
    assert len(host.requests()) == asked


@pytest.mark.parametrize(
    "extra, words",
    [
        ({}, "Driver 580.95.05 is present, and 590 is needed: nvidia_driver_minimum is 590. Nothing was changed."),
        (YES, "nvidia_driver_upgrade: true"),
        (UPGRADE, "Somebody holds driver packages at their versions: nvidia-driver-cuda, nvidia-driver-pinning-580"),
    ],
    ids=["nothing allowed", "install allowed", "held"],
)
def test_too_old_is_said_and_nothing_is_done(play, host, extra, words):
    before, asked = host.touched(), len(host.requests())
    run = play(**extra, nvidia_driver_minimum="590")
    assert run.rc != 0 and run.changed == 0
    assert words in run.words, run.text
    assert host.touched() == before
    assert len(host.requests()) == asked


def test_an_upgrade_that_was_allowed_needs_a_reboot(play, host):
    host.output("apt-mark unhold $(apt-mark showhold)")
    run = play(**UPGRADE, nvidia_driver_minimum="590")
    assert run.rc == 0, run.text
    assert "a reboot is needed: module 580.95.05 is loaded, and 590.48.01 is installed" in run.words
    packages = host.packages()
    assert packages["nvidia-open"] == "hold ok installed 590.48.01-1"
    assert packages["nvidia-fabricmanager"] == "hold ok installed 590.48.01-1"
    assert "nvidia-driver-pinning-580" not in packages or packages["nvidia-driver-pinning-580"].startswith("deinstall")
    assert play(**UPGRADE, nvidia_driver_minimum="590").changed == 0
