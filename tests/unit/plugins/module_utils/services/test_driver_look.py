# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look at planted hosts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.services import driver_look
from ansible_collections.gpufleet.llm.tests.stand_ins.trees import plant

TREE = r"""
etc/os-release = PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nID=ubuntu
proc/sys/kernel/osrelease = 6.8.0-88-generic
proc/driver/nvidia/version = NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build
lib/modules/6.8.0-88-generic/build/Makefile = all:
sys/module/nouveau/refcnt = 0
usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.105.08 = x
usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1 -> libnvidia-ml.so.580.105.08
etc/apt/sources.list = deb http://archive.ubuntu.com/ubuntu noble main restricted\n# deb http://x y z
etc/apt/sources.list.d/cuda.list = deb [signed-by=/x.gpg] https://mirror.example.com/cuda/repos/ubuntu2404/x86_64/ /
etc/apt/sources.list.d/more.sources = Types: deb\nURIs: http://security.ubuntu.com/ubuntu\nSuites: n\nComponents: main universe
run/reboot-required = *** System restart required ***
boot/initrd.img-6.8.0-88-generic = x
etc/modprobe.d/no.conf = blacklist nouveau
"""
STATUS = """Package: nvidia-utils-580-server
Status: hold ok installed
Version: 580.105.08-0ubuntu0.24.04.1
Conffiles:
 /etc/x 1234

Package: nvidia-open
Status: install ok half-configured
Version: 580.95.05-1

Package: nvidia-gone
Status: deinstall ok config-files
Version: 1

Package: linux-image-generic
Status: install ok installed
Version: 6.8.0-88.89

Package: linux-image-6.8.0-88-generic
Status: install ok installed
Version: 6.8.0-88.89

Package: bash
Status: install ok installed
Version: 5.2
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    plant(TREE, tmp_path)
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    os.utime(tmp_path / "boot/initrd.img-6.8.0-88-generic", (1, 1))
    return str(tmp_path)


def test_a_host_with_apt(root):
    paths = ["/run/reboot-required", "/none"]
    seen = driver_look.look(paths, ["/etc/os-release"], ["a.service"], "/etc/modprobe.d/no.conf", root)
    assert seen["distribution"] == {"id": "ubuntu", "version_id": "24.04", "codename": "noble", "name": "Ubuntu 24.04.3 LTS"}
    assert seen["kernel"] == {"release": "6.8.0-88-generic", "headers": True, "images": ["generic"]}
    assert seen["module"] == {"version": "580.95.05", "kind": "open"}
    assert seen["libraries"] == ["580.105.08"]
    assert seen["nouveau"] is True and seen["runfile"] is False and seen["reboot_required"] is True
    assert seen["packages"]["nvidia-utils-580-server"] == {
        "version": "580.105.08-0ubuntu0.24.04.1", "architecture": "", "state": "installed", "held": True}  # fmt: skip
    assert seen["packages"]["nvidia-open"]["state"] == "unfinished" and seen["unfinished"] == ["nvidia-open"]
    assert not {"nvidia-gone", "bash"} & set(seen["packages"])
    assert seen["components"] == ["main", "restricted", "universe"]
    assert [entry["uri"] for entry in seen["repositories"]] == [
        "http://archive.ubuntu.com/ubuntu",
        "https://mirror.example.com/cuda/repos/ubuntu2404/x86_64/",
        "http://security.ubuntu.com/ubuntu",
    ]
    assert seen["repositories"][1]["path"] == "/etc/apt/sources.list.d/cuda.list"
    assert seen["files"] == {"/run/reboot-required": "*** System restart required ***\n", "/none": None}
    assert seen["fingerprints"] == {"/etc/os-release": []}
    assert seen["initramfs"]["stale"] is True
    assert seen["units"]["a.service"]["exists"] is False


def test_a_host_with_dnf(tmp_path, monkeypatch):
    plant(
        r"""
etc/os-release = ID="rocky"\nVERSION_ID="9.6"\nNAME="Rocky Linux"
proc/sys/kernel/osrelease = 5.14.0-570.el9.x86_64
etc/yum.repos.d/epel.repo = [epel]\nname=EPEL\nmetalink=https://mirrors.fedoraproject.org/metalink?repo=epel-9
etc/yum.repos.d/cuda.repo = [cuda-rhel9-x86_64]\nbaseurl=https://developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64
etc/dnf/plugins/versionlock.list = # Added lock\nnvidia-open-3:580.95.05-1.el9.*
""",
        tmp_path,
    )
    monkeypatch.setattr(driver_look.packages.command, "find", lambda name: "/usr/bin/" + name)
    answers = "nvidia-open\t580.95.05-1.el9\tnoarch\nbash\t5\tx86_64\n" + (
        "kernel-devel\t5.14.0-570.el9\tx86_64\nkernel-devel\t5.14.0-1.el9\tx86_64\n"
    )
    seen = driver_look.look([], [], [], "/none", str(tmp_path), lambda argv: answers)
    assert sorted(seen["packages"]) == ["kernel-devel-5.14.0-1.el9.x86_64", "kernel-devel-5.14.0-570.el9.x86_64", "nvidia-open"]
    assert seen["packages"]["nvidia-open"]["held"] is True
    assert seen["epel"] is True
    assert seen["repositories"][0]["uri"].endswith("rhel9/x86_64")
    assert seen["distribution"]["name"] == "Rocky Linux"


@pytest.mark.parametrize(
    "secure, shim, expected", [(None, None, False), (0, None, False), (1, None, True), (1, 0, True), (1, 1, False)]
)
def test_secure_boot(tmp_path, secure, shim, expected):
    for name, value in ((driver_look.SECURE_BOOT, secure), (driver_look.SHIM_STATE, shim)):
        if value is not None:
            path = tmp_path / (driver_look.VARIABLES % name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\x06\x00\x00\x00" + bytes([value]))
    assert driver_look.secure_boot(str(tmp_path)) is expected


def space(*capabilities: bytes, listed: bool = True) -> bytes:
    """A PCI configuration space with these capabilities from 0x40 on, each of 16 bytes."""
    content = bytearray(256)
    content[6] = 0x10 if listed else 0
    content[0x34] = 0x40
    for number, body in enumerate(capabilities):
        place = 0x40 + 16 * number
        content[place : place + len(body)] = body
        content[place + 1] = place + 16 if number + 1 < len(capabilities) else 0
    return bytes(content)


@pytest.mark.parametrize(
    "content, expected",
    [
        (space(b"\x01\x00\x03", b"\x09\x00\x14VF\x00"), True),
        (space(b"\x09\x00\x14VF\x00", listed=False), False),
        (space(b"\x01\x00\x03", b"\x09\x00\x14\x01\x02"), False),
        (space(b"\x05\x00"), False),
        (bytes([0] * 6 + [0x10] + [0] * 45 + [0x40] + [0] * 11) + b"\x05\x40" * 96, False),  # a list that goes round
        (b"\x00" * 16, False),
    ],
)
def test_vgpu(tmp_path, content, expected):
    plant("sys/bus/pci/devices/0000:01:00.0/vendor = 0x10de", tmp_path)
    (tmp_path / "sys/bus/pci/devices/0000:01:00.0/config").write_bytes(content)
    assert driver_look.vgpu(str(tmp_path)) is expected


def test_the_unit_as_its_package_wrote_it(tmp_path):
    plant(r"usr/lib/systemd/system/p.service = [Service]\nExecStart=/usr/bin/p --no-persistence-mode", tmp_path)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    said = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=static\nNeedDaemonReload=no\n" + (
        "FragmentPath=/usr/lib/systemd/system/p.service\nDropInPaths=\nMainPID=1\nExecMainStartTimestampMonotonic=1\n"
    )
    seen = driver_look.look([], [], ["p.service"], "/none", str(tmp_path), lambda argv: said)
    assert seen["units"]["p.service"] == {
        "exists": True, "enabled": True, "active": True, "stale": False, "unread": False,
        "command": "/usr/bin/p --no-persistence-mode"}  # fmt: skip


def test_what_is_switched_off_is_not_there(tmp_path):
    plant(
        r"""
etc/os-release = ID=debian\nVERSION_ID="13"
etc/apt/sources.list.d/a.sources = Types: deb\nURIs: http://on/\nSuites: /\n\nEnabled: no\nTypes: deb\nURIs: http://off/\nComponents: contrib
etc/yum.repos.d/b.repo = [on]\nbaseurl=http://on.rpm\nenabled=1\n[epel]\nbaseurl=http://off.rpm\nenabled = 0\n[too]\nbaseurl=http://too.rpm
""",
        tmp_path,
    )
    seen = driver_look.look([], [], [], "/none", str(tmp_path), lambda argv: "")
    assert [entry["uri"] for entry in seen["repositories"]] == ["http://on/", "http://on.rpm", "http://too.rpm"]
    assert seen["epel"] is False and seen["components"] == []
