# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decision: distribution x card x driver that is there x engine x Secure Boot."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import nvidia_driver
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import nvidia_driver_files as files

from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.deployment.driver_hosts import host, package, unit

CUDA = "https://developer.download.nvidia.com/compute/cuda/repos/%s/x86_64/"
YES = {"install": True}
UPGRADE = {"install": True, "upgrade": True}
OLLAMA = {"engines": {"ollama": "0.33.2"}}
OLD_WHEEL = {"engines": {"vllm": "0.33.0+cu129"}}
NOT_STARTED = "The NVLink fabric is not started"
HEADERS_24 = ["linux-headers-6.8.0-88-generic", "linux-headers-generic"]
CANONICAL_580 = {
    "nvidia-headless-580-server-open": package("580.95.05-0ubuntu0.24.04.1"),
    "nvidia-utils-580-server": package("580.95.05-0ubuntu0.24.04.1"),
}


def without_fabric(both):
    """The host whose cards wait for their fabric manager."""
    for card in both[0]["accelerators"]:
        card.update(usable=False, problem=NOT_STARTED)
    return both


def with_another(both, name):
    """The host with one more card, which its driver does not drive."""
    more = host("debian12", "A100", name)[0]["accelerators"][1:]
    return dict(both[0], accelerators=both[0]["accelerators"] + more), both[1]


# host, wishes, action, packages in order, repository, reboot
DECISIONS = {
    # --- nothing to do
    "no card": (host("debian13"), YES, "none", [], None, False),
    "WSL without a driver of Windows": (host("ubuntu24", environment="wsl"), YES, "none", [], None, False),
    "all cards set aside": (host("debian13", "H100", bound="vfio-pci"), YES, "none", [], None, False),
    "works, vLLM": (host("ubuntu24", "H100", driver="580.95.05"), {}, "none", [], None, False),
    "works, and may install": (host("ubuntu24", "H100", driver="590.48.01"), UPGRADE, "none", [], None, False),
    "works, from a .run file": (host("rhel9", "H100", driver="595.10", runfile=True), UPGRADE, "none", [], None, False),
    "works, held by the admin": (
        host("ubuntu22", "A100", driver="580.1.2", packages={"nvidia-utils-580-server": package("580.1.2-0", held=True)}),
        UPGRADE, "none", [], None, False),
    "works under Secure Boot": (
        host("debian12", "L40S", driver="580.95.05", secure_boot=True), YES, "none", [], None, False),
    "works on an unknown distribution": (host("sles15", "H100", driver="580.95.05"), {}, "none", [], None, False),
    "works in a container": (
        host("debian12", "H100", driver="580.95.05", environment="container"), {}, "none", [], None, False),
    "works in WSL": (host("ubuntu24", "RTX 5090", driver="581.29", environment="wsl"), YES, "none", [], None, False),
    "535, and a CUDA 12 wheel": (host("debian12", "A100", driver="535.216.03"), OLD_WHEEL, "none", [], None, False),
    "550 does for Ollama": (host("debian13", "T4", driver="550.163.01"), OLLAMA, "none", [], None, False),
    "a newer branch is named, upgrading is not allowed": (
        host("ubuntu24", "H100", driver="580.95.05"), {"install": True, "branch": "590"}, "none", [], None, False),
    # --- install: Ubuntu's own packages
    "Ubuntu 24.04, Hopper": (
        host("ubuntu24", "H100"), YES, "install",
        [*HEADERS_24, "nvidia-headless-580-server-open", "nvidia-utils-580-server"],
        None, False),
    "Ubuntu 22.04, Volta: proprietary, 580 at most": (
        host("ubuntu22", "V100"), YES, "install",
        ["linux-headers-5.15.0-160-generic", "linux-headers-generic", "nvidia-headless-580-server", "nvidia-utils-580-server"],
        None, False),
    "Ubuntu 24.04, Secure Boot: Canonical's signed modules": (
        host("ubuntu24", "L40S", secure_boot=True), YES, "install",
        ["linux-modules-nvidia-580-server-open-6.8.0-88-generic", "linux-modules-nvidia-580-server-open-generic",
         "nvidia-headless-no-dkms-580-server-open", "nvidia-utils-580-server"],
        None, False),
    "Ubuntu 22.04, Secure Boot and Pascal": (
        host("ubuntu22", "P40", secure_boot=True), dict(YES, **OLLAMA), "install",
        ["linux-modules-nvidia-580-server-5.15.0-160-generic", "linux-modules-nvidia-580-server-generic",
         "nvidia-headless-no-dkms-580-server", "nvidia-utils-580-server"],
        None, False),
    "Ubuntu 24.04, nouveau holds the card": (
        host("ubuntu24", "T4", bound="nouveau"), YES, "install",
        [*HEADERS_24, "nvidia-headless-580-server-open", "nvidia-utils-580-server"],
        None, True),
    "Ubuntu 24.04, NVSwitches": (
        host("ubuntu24", "H100", "H100", switches=4), YES, "install",
        [*HEADERS_24, "nvidia-headless-580-server-open", "nvidia-utils-580-server",
         "nvidia-fabricmanager-580", "libnvidia-nscq-580"],
        None, False),
    "Ubuntu 24.04, 590 is asked for": (
        host("ubuntu24", "H100"), dict(YES, minimum="590"), "install",
        [*HEADERS_24, "nvidia-headless-590-server-open", "nvidia-utils-590-server"],
        None, False),
    "Ubuntu 20.04, a CUDA 12 wheel": (
        host("ubuntu20", "A100"), dict(YES, **OLD_WHEEL), "install",
        ["linux-headers-5.15.0-139-generic", "linux-headers-generic", "nvidia-headless-570-server-open",
         "nvidia-utils-570-server"],
        None, False),
    # --- install: NVIDIA's repository, before and after the renames
    "Ubuntu 24.04 from NVIDIA, 580": (
        host("ubuntu24", "H100"), dict(YES, source="nvidia"), "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.8.0-88-generic", "linux-headers-generic", "nvidia-open"],
        CUDA % "ubuntu2404", False),
    "Ubuntu 22.04 from NVIDIA, 570: the name has the branch": (
        host("ubuntu22", "A100"), dict(YES, source="nvidia", branch="570", **OLLAMA), "install",
        ["linux-headers-5.15.0-160-generic", "linux-headers-generic", "nvidia-open-570"], CUDA % "ubuntu2204", False),
    "Ubuntu 22.04 from NVIDIA, 570, proprietary, NVSwitches": (
        host("ubuntu22", "A100", "A100", switches=6),
        dict(YES, source="nvidia", branch="570", modules="proprietary", **OLLAMA), "install",
        ["linux-headers-5.15.0-160-generic", "linux-headers-generic", "cuda-drivers-570", "nvidia-fabricmanager-570"],
        CUDA % "ubuntu2204", False),
    "Debian 12, Maxwell: 580, proprietary": (
        host("debian12", "M40"), YES, "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.1.0-41-amd64", "linux-headers-amd64", "cuda-drivers"],
        CUDA % "debian12", False),
    "Debian 13, Blackwell": (
        host("debian13", "RTX 5090"), YES, "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.12.57+deb13-amd64", "linux-headers-amd64", "nvidia-open"],
        CUDA % "debian13", False),
    "Debian 13, B200s, whose switches PCI does not show": (
        host("debian13", "B200", "B200"), YES, "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.12.57+deb13-amd64", "linux-headers-amd64", "nvidia-open",
         "nvidia-fabricmanager", "nvlsm", "libnvsdm"],
        CUDA % "debian13", False),
    "Debian 13, 620: open only": (
        host("debian13", "H100"), dict(YES, branch="620"), "install",
        ["nvidia-driver-pinning-620", "linux-headers-6.12.57+deb13-amd64", "linux-headers-amd64", "nvidia-open"],
        CUDA % "debian13", False),
    "Debian 12, a card newer than the table": (
        host("debian12", "R100"), YES, "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.1.0-41-amd64", "linux-headers-amd64", "nvidia-open"],
        CUDA % "debian12", False),
    "Debian 12, its own 535 for a CUDA 12 wheel": (
        host("debian12", "A100", components=["contrib", "main", "non-free"]),
        dict(YES, source="distribution", modules="proprietary", **OLD_WHEEL), "install",
        ["linux-headers-6.1.0-41-amd64", "linux-headers-amd64", "nvidia-driver", "nvidia-persistenced"], None, False),
    "Debian 13, its own 550 for Ollama, non-free is not configured": (
        host("debian13", "T4"), dict(YES, source="distribution", **OLLAMA), "install",
        ["linux-headers-6.12.57+deb13-amd64", "linux-headers-amd64", "nvidia-open-kernel-dkms", "nvidia-driver",
         "nvidia-persistenced"],
        "http://deb.debian.org/debian", False),
    "Debian 13, Secure Boot with an enrolled key": (
        host("debian13", "H100", secure_boot=True), dict(YES, mok_enrolled=True), "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.12.57+deb13-amd64", "linux-headers-amd64", "nvidia-open"],
        CUDA % "debian13", False),
    "Debian 13, a mirror, offline": (
        host("debian13", "H100", components=["contrib", "main"]),
        dict(YES, offline=True, repository_url="https://mirror.example.com/cuda"), "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.12.57+deb13-amd64", "linux-headers-amd64", "nvidia-open"],
        "https://mirror.example.com/cuda/debian13/x86_64/", False),
    "Debian 13, nouveau's firmware is no driver": (
        host("debian13", "H100", packages={"firmware-nvidia-graphics": package("20250410-2")}), YES, "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.12.57+deb13-amd64", "linux-headers-amd64", "nvidia-open"],
        CUDA % "debian13", False),
    "AlmaLinux 10, nouveau's firmware is no driver": (
        host("alma10", "H100", packages={"nvidia-gpu-firmware": package("20250808-15.el10"), "epel-release": package("10")}, epel=True),
        YES, "install",
        ["python3-dnf-plugin-versionlock", "kernel-devel-6.12.0-124.el10.x86_64", "nvidia-open"], CUDA % "rhel10", False),
    "Debian 12, the host has the repository already": (
        host("debian12", "H100", repositories=[
            {"path": "/etc/apt/sources.list.d/cuda-debian12-x86_64.list", "name": "", "uri": CUDA % "debian12"}]),
        YES, "install",
        ["nvidia-driver-pinning-580", "linux-headers-6.1.0-41-amd64", "linux-headers-amd64", "nvidia-open"], None, False),
    # --- install: the RPM family
    "Rocky 9, Hopper: a stream": (
        host("rocky9", "H100"), YES, "install",
        ["python3-dnf-plugin-versionlock", "kernel-devel-5.14.0-570.el9_6.x86_64", "nvidia-open"], CUDA % "rhel9", False),
    "AlmaLinux 8, Volta, EPEL is not there yet": (
        host("alma8", "V100", epel=False), YES, "install",
        ["epel-release", "python3-dnf-plugin-versionlock", "kernel-devel-4.18.0-553.el8_10.x86_64", "cuda-drivers"],
        CUDA % "rhel8", False),
    "AlmaLinux 10: no streams, a lock": (
        host("alma10", "L40S"), YES, "install",
        ["python3-dnf-plugin-versionlock", "kernel-devel-6.12.0-124.el10.x86_64", "nvidia-open"], CUDA % "rhel10", False),
    "RHEL 9 with EPEL, NVSwitches": (
        host("rhel9", "H100", "H100", epel=True, switches=4), YES, "install",
        ["python3-dnf-plugin-versionlock", "kernel-devel-5.14.0-570.el9_6.x86_64", "nvidia-open", "nvidia-fabric-manager"],
        CUDA % "rhel9", False),
    # --- upgrade
    "Ubuntu 24.04, 570 of its own to 580": (
        host("ubuntu24", "H100", driver="570.133.20", packages={
            "nvidia-headless-570-server-open": package("570.133.20-0ubuntu0.24.04.1"),
            "nvidia-utils-570-server": package("570.133.20-0ubuntu0.24.04.1")}),
        UPGRADE, "upgrade",
        [*HEADERS_24, "nvidia-headless-580-server-open", "nvidia-utils-580-server"],
        None, True),
    "Debian 12, 570 of NVIDIA's to 580": (
        host("debian12", "H100", driver="570.133.20", packages={"nvidia-open-570": package("570.133.20-1")}),
        UPGRADE, "upgrade",
        ["nvidia-driver-pinning-580", "linux-headers-6.1.0-41-amd64", "linux-headers-amd64", "nvidia-open"],
        CUDA % "debian12", True),
    "560 does not drive a Blackwell that was added": (
        with_another(
            host("debian12", "A100", driver="565.57.01", packages={"nvidia-open-565": package("565.57.01-1")}), "RTX 5090"),
        dict(UPGRADE, **OLLAMA), "upgrade",
        ["nvidia-driver-pinning-580", "linux-headers-6.1.0-41-amd64", "linux-headers-amd64", "nvidia-open"],
        CUDA % "debian12", True),
    # --- a reboot is all that is missing
    "another library than the loaded module": (
        host("ubuntu24", "H100", bound="nvidia", module={"version": "580.65.06", "kind": "open"}, libraries=["580.95.05"],
             packages=CANONICAL_580),
        {}, "reboot", [], None, True),
    # --- the fabric manager beside a driver that somebody else installed
    "works, but the fabric is not up": (
        without_fabric(host("ubuntu24", "H100", "H100", driver="580.95.05", switches=4, packages=CANONICAL_580)),
        YES, "install", ["nvidia-fabricmanager-580", "libnvidia-nscq-580"], None, False),
}  # fmt: skip

# host, wishes, code, words of the message or the remedies
REFUSALS = {
    "somebody else's driver, new enough, does not answer at the moment": (
        host("ubuntu24", "H100", bound="nvidia", packages={"nvidia-driver-580-server": package("580.95.05-0ubuntu1")},
             module={"version": "580.95.05", "kind": "proprietary"}, libraries=["580.95.05"],
             sources={"nvml": "no answer within 20 seconds", "nvidia_smi": "no answer within 20 seconds"}),
        YES, "driver_fails", "run this again"),
    "absent, nothing allowed": (host("debian13", "H100"), {}, "driver_absent", "nvidia_driver_install: true"),
    "too old, nothing allowed": (
        host("debian12", "A100", driver="535.216.03"), {}, "driver_too_old",
        "Driver 535.216.03 is present, and 580 is needed: vLLM 0.33.0 is built with CUDA 13."),
    "too old, upgrading is not allowed": (
        host("ubuntu24", "H100", driver="570.133.20"), YES, "driver_too_old", "nvidia_driver_upgrade: true"),
    "too old for Ollama on Pascal": (
        host("debian13", "P40", driver="550.163.01"), OLLAMA, "driver_too_old", "570 is needed"),
    "loaded, but it does not answer": (
        host("ubuntu24", "H100", bound="nvidia", module={"version": "580.95.05", "kind": "open"}, libraries=["580.95.05"],
             packages=CANONICAL_580), {}, "driver_fails", "dmesg"),
    "Kepler": (host("debian12", "K80"), YES, "card_too_old", "branch 470 was the last"),
    "Volta beside Blackwell": (host("ubuntu24", "V100", "RTX 5090"), YES, "mixed_cards", "Volta needs the proprietary"),
    "Debian 13's own 550 for CUDA 13": (
        host("debian13", "H100"), dict(YES, source="distribution"), "no_branch",
        "nvidia_driver_source: nvidia, which has branch 580"),
    "Ubuntu 20.04 for CUDA 13": (host("ubuntu20", "A100"), YES, "no_branch", "a newer release of the distribution"),
    "590 for Volta": (host("ubuntu22", "V100"), dict(YES, minimum="590"), "no_branch", "branch 580 is the last for Volta"),
    "branch 590 is named for Pascal": (host("debian12", "P40"), dict(YES, branch="590"), "branch_and_cards", "580 is the last"),
    "branch 570 is named for CUDA 13": (host("debian12", "H100"), dict(YES, branch="570"), "branch_too_old", "580 is needed"),
    "proprietary modules for Blackwell": (
        host("debian13", "RTX 5090"), dict(YES, modules="proprietary"), "modules", "open kernel modules only"),
    "proprietary modules for Grace Hopper": (
        host("ubuntu24", "GH200", architecture="aarch64"), dict(YES, modules="proprietary"), "modules", "GH200"),
    "proprietary modules of 620": (
        host("debian12", "A100"), dict(YES, branch="620", modules="proprietary"), "modules", "620 has the open ones only"),
    "Secure Boot on Debian": (host("debian13", "H100", secure_boot=True), YES, "secure_boot", "nvidia_driver_mok_enrolled"),
    "Secure Boot on Ubuntu, from NVIDIA": (
        host("ubuntu24", "H100", secure_boot=True), dict(YES, source="nvidia"), "secure_boot",
        "nvidia_driver_source: distribution"),
    "Secure Boot with a kernel of one's own": (
        host("ubuntu24", "H100", secure_boot=True, kernel={"release": "6.12.1-mine", "headers": True, "images": []}), YES,
        "secure_boot", "no signed modules for kernel 6.12.1-mine"),
    "Secure Boot on Rocky": (host("rocky9", "H100", secure_boot=True), YES, "secure_boot", "mokutil --import"),
    "mixing: Debian's 535 is there, NVIDIA's is asked for": (
        host("debian12", "A100", driver="535.216.03", packages={"nvidia-driver": package("535.216.03-1~deb12u1")}),
        dict(UPGRADE, source="nvidia"), "mixed_sources", "mixed, they break each other"),
    "mixing: RPM Fusion's": (
        host("rocky9", "A100", driver="550.1.2", packages={"akmod-nvidia": package("550.1.2-1.el9.x86_64")}), UPGRADE,
        "mixed_sources", "RPM Fusion"),
    "mixing: a .run file": (host("rhel9", "A100", driver="535.1.2", runfile=True), UPGRADE, "mixed_sources", "nvidia-uninstall"),
    "too old and held by the admin": (
        host("ubuntu22", "A100", driver="535.1.2",
             packages={"nvidia-headless-535-server": package("535.1.2-0ubuntu1", held=True)}),
        UPGRADE, "held", "nvidia-headless-535-server"),
    "WSL": (host("ubuntu24", "RTX 5090", environment="wsl"), YES, "environment", "wsl --shutdown"),
    "Jetson": (host("ubuntu22", "A100", environment="jetson"), YES, "environment", "JetPack"),
    "a container": (host("debian12", "H100", environment="container"), YES, "environment", "install the driver on the host"),
    "a container with an old driver": (
        host("debian12", "H100", driver="535.1.2", environment="container"), UPGRADE, "environment", "Driver 535.1.2 is present"),
    "a vGPU guest": (host("ubuntu22", "L40S", vgpu=True), YES, "environment", "GRID"),
    "an unknown distribution": (host("sles15", "H100"), YES, "distribution", "Ubuntu 20.04, 22.04 and 24.04"),
    "an unknown processor": (host("debian12", "H100", architecture="ppc64le"), YES, "architecture", "ppc64le"),
    "RHEL without EPEL": (host("rhel9", "H100"), YES, "epel", "epel-release-latest-9.noarch.rpm"),
    "RHEL has no driver of its own": (host("rocky9", "H100"), dict(YES, source="distribution"), "no_source", "source: nvidia"),
    "NVSwitches and Debian's own driver": (
        host("debian12", "A100", "A100", switches=6), dict(YES, source="distribution", **OLD_WHEEL), "no_fabric_manager",
        "nvidia_driver_source: nvidia"),
    "offline without a mirror": (
        host("debian13", "H100"), dict(YES, offline=True), "offline", "nvidia_driver_repository_url"),
    "a version that is none": (host("debian13", "H100"), dict(YES, version="580"), "wishes", "a whole version"),
    "branch and version differ": (
        host("debian13", "H100"), dict(YES, version="590.48.01", branch="580"), "wishes", "not of branch 580"),
    "an engine nobody knows": (host("debian13", "H100"), dict(YES, engines={"sglang": ""}), "wishes", "vllm and ollama"),
    "the fabric is not up, nothing allowed": (
        without_fabric(host("ubuntu24", "H100", "H100", driver="580.95.05", switches=4, packages=CANONICAL_580)),
        {}, "fabric", "error 802"),
}  # fmt: skip


@pytest.mark.parametrize("name", DECISIONS)
def test_decision(name):
    (hardware, look), wishes, action, packages, repository, reboot = DECISIONS[name]
    decision = nvidia_driver.decide(hardware, look, wishes)
    assert decision["refusal"] is None
    assert decision["action"] == action, decision
    assert [package["name"] for package in decision["packages"]] == packages
    assert (decision["repository"] or {}).get("uri") == repository
    assert decision["reboot"]["needed"] is reboot
    assert decision["reasons"]
    if action == "none":
        assert not any(decision["due"].values())
    if decision["repository"] and "nvidia.com" in repository and "rhel10" not in repository:
        assert len(decision["repository"]["fingerprint"]) == 40
    assert decision == nvidia_driver.decide(hardware, look, wishes)


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name):
    (hardware, look), wishes, code, words = REFUSALS[name]
    decision = nvidia_driver.decide(hardware, look, wishes)
    assert decision["action"] == "refuse", decision
    refusal = decision["refusal"]
    assert refusal["code"] == code
    assert words in " ".join([refusal["message"]] + refusal["remedies"])
    assert refusal["message"].endswith(".")


def test_the_table_is_as_large_as_was_promised():
    assert len(DECISIONS) + len(REFUSALS) >= 80


def test_what_keeps_the_branch():
    streams = {name: nvidia_driver.decide(*host(name, "H100", epel=True), YES) for name in ("rhel8", "rocky9", "alma10")}
    assert [decision["stream"] for decision in streams.values()] == ["nvidia-driver:580-open", "nvidia-driver:580-open", None]
    assert streams["alma10"]["version_lock"] == "*nvidia*580*"
    old = nvidia_driver.decide(*host("rocky9", "V100"), YES)
    assert old["stream"] == "nvidia-driver:580-dkms" and old["modules"] == "proprietary"


def test_an_exact_version_goes_for_the_driver_and_the_fabric_manager():
    decision = nvidia_driver.decide(*host("debian13", "H100", "H100", switches=4), dict(YES, version="580.95.05"))
    rules = {package["name"]: (package["rule"], package["version"]) for package in decision["packages"]}
    assert rules["nvidia-open"] == ("exact", "580.95.05")
    assert rules["nvidia-fabricmanager"] == ("driver", "580.95.05")
    assert rules["nvidia-driver-pinning-580"] == ("any", None)


def test_the_persistence_daemon_keeps_the_rest_of_its_command():
    command = "/usr/bin/nvidia-persistenced --user nvidia-persistenced --no-persistence-mode --verbose"
    record = files.record("distribution", 580, None, open_modules=True, complete=False)
    hardware, look = host(
        "ubuntu24", "H100", driver="580.95.05", packages=CANONICAL_580,
        units={files.PERSISTENCED: unit(command=command)}, files={files.RECORD: record},
    )  # fmt: skip
    decision = nvidia_driver.decide(hardware, look, YES)
    text = {one["path"]: one["content"] for one in decision["files"]}
    drop_in = text["/etc/systemd/system/nvidia-persistenced.service.d/gpufleet.conf"]
    words = "/usr/bin/nvidia-persistenced --user nvidia-persistenced --verbose --persistence-mode"
    assert drop_in.endswith("[Service]\nExecStart=\nExecStart=%s\n" % words)
