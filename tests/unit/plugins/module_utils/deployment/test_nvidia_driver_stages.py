# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An installation step by step: what is there is not due any more, wherever a run was killed."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import nvidia_driver
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import nvidia_driver_branches as branches
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import nvidia_driver_files as files
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import nvidia_driver_packages as packages

from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.deployment.driver_hosts import card, host, package, unit

YES = {"install": True}
KERNEL = "6.12.57+deb13-amd64"


class Playing:
    """A Debian 13 host that does what it is told, as far as the look shows it."""

    def __init__(self, **more):
        self.hardware, self.look = host("debian13", "H100", "H100", switches=2, **more)
        self.requests = 0

    def decide(self, **wishes):
        return nvidia_driver.decide(self.hardware, self.look, dict(YES, **wishes))

    def key(self, decision):
        self.look["fingerprints"] = {decision["repository"]["key_path"]: [decision["repository"]["fingerprint"]]}

    def files(self, decision):
        self.look["files"] = dict(self.look["files"], **{one["path"]: one["content"] for one in decision["files"]})

    def packages(self, decision, *stages):
        for one in decision["due"]["packages"]:
            if one["stage"] in stages:
                version = {"headers": "1", "pin": "580.95.05-1"}.get(one["stage"], one["version"] or "580.95.05")
                self.look["packages"][one["name"]] = package(version + "-1")
        if "driver" in stages:
            self.look["libraries"] = ["580.95.05"]
            self.look["units"]["nvidia-persistenced.service"] = unit(enabled=True, active=False)
        if "fabric" in stages:
            self.look["units"]["nvidia-fabricmanager.service"] = unit(enabled=False, active=False)

    def hold(self, decision):
        for name in decision["due"]["holds"]:
            self.look["packages"][name]["held"] = True

    def load(self):
        self.look["module"] = {"version": "580.95.05", "kind": "open"}
        self.hardware.update(
            driver_version="580.95.05",
            sources={"nvml": "ok", "nvidia_smi": "not needed"},
            accelerators=[card("H100", index, "nvidia", "GPU-%d" % index) for index in range(2)],
        )

    def start(self, decision):
        for name in decision["due"]["services"]:
            self.look["units"][name] = unit()


def test_from_nothing_to_nothing_due():
    playing = Playing()
    first = playing.decide()
    assert first["action"] == "install" and first["due"]["key"] is True
    assert first["due"]["modules"] == []  # not before the packages are there
    playing.key(first)
    playing.files(first)
    assert not playing.decide()["due"]["key"]
    playing.packages(first, "pin", "headers", "driver")
    second = playing.decide()
    assert [one["name"] for one in second["due"]["packages"]] == ["nvidia-fabricmanager"]
    assert second["due"]["packages"][0]["version"] == "580.95.05"  # exactly the driver's
    playing.packages(second, "fabric")
    third = playing.decide()
    assert third["due"]["modules"] == ["nvidia", "nvidia-uvm"]
    assert third["due"]["holds"] == ["nvidia-driver-pinning-580", "nvidia-fabricmanager", "nvidia-open"]
    assert third["due"]["services"] == ["nvidia-persistenced.service", "nvidia-fabricmanager.service"]
    playing.hold(third)
    playing.load()
    playing.start(third)
    fourth = playing.decide()
    assert fourth["due"]["files"] == [files.RECORD]  # says that it is complete
    playing.files(fourth)
    last = playing.decide()
    assert last["action"] == "none" and not any(last["due"].values())
    assert '"complete": true' in playing.look["files"][files.RECORD]


def test_a_second_run_needs_no_permission():
    """What is complete stays so when nvidia_driver_install is taken back."""
    playing = complete()
    assert playing.decide(install=False)["action"] == "none"
    for name in playing.look["packages"]:  # somebody undid the holds: not put right without permission
        playing.look["packages"][name]["held"] = False
    assert playing.decide(install=False)["action"] == "none"
    assert playing.decide()["due"]["holds"]


def complete(**more):
    playing = Playing(**more)
    for _step in range(5):
        decision = playing.decide()
        playing.files(decision)
        playing.packages(decision, "pin", "headers", "driver", "fabric")
        decision = playing.decide()
        playing.hold(decision)
        playing.load()
        playing.start(decision)
    return playing


def test_a_new_kernel_whose_module_is_there_is_no_work():
    """Headers that only the next build needs are not fetched for a driver that works, on an offline host least of all."""
    playing = complete()
    playing.look["kernel"]["release"] = "6.12.99+deb13-amd64"
    assert playing.decide(offline=True)["action"] == "none"
    del playing.look["packages"]["nvidia-fabricmanager"]
    assert [one["spec"] for one in playing.decide()["due"]["packages"]] == ["nvidia-fabricmanager=580.95.05-*"]


def test_what_is_not_numbered_as_the_driver_says_no_branch():
    hardware, look = host("debian12", "A100", components=["contrib", "non-free"], packages={
        "nvidia-kernel-common": package("20220217+3~deb12u1"), "nvidia-driver": package("535.216.03-1~deb12u1")})  # fmt: skip
    assert nvidia_driver.decide(hardware, look, dict(YES, engines={"vllm": "0.33.0+cu129"}))["branch"] == 535


@pytest.mark.parametrize("stage", ["key", "files", "pin", "headers", "driver", "fabric", "hold", "load", "start"])
def test_killed_after(stage):
    """The next run has something to do, and nothing of what was done is due again."""
    playing = Playing()
    first = playing.decide()
    order = ["key", "files", "pin", "headers", "driver", "fabric", "hold", "load", "start"]
    for step in order[: order.index(stage) + 1]:
        decision = playing.decide()
        if step == "key":
            playing.key(decision)
        elif step == "files":
            playing.files(decision)
        elif step in ("pin", "headers", "driver", "fabric"):
            playing.packages(decision, step)
        elif step == "load":
            playing.load()
        else:
            {"hold": playing.hold, "start": playing.start}[step](decision)
    then = playing.decide()
    assert then["action"] == "install"
    assert then["branch"] == first["branch"] and then["source"] == first["source"]
    names = {one["name"] for one in then["due"]["packages"]}
    assert not names & {name for name, entry in playing.look["packages"].items() if entry["state"] == "installed"}


def test_killed_while_dpkg_was_at_work():
    playing = Playing(unfinished=["nvidia-open"])
    first = playing.decide()
    playing.files(first)
    playing.look["packages"] = {
        "nvidia-driver-pinning-580": package("580-1"),
        "nvidia-open": package("580.95.05-1", installed=False),
    }
    decision = playing.decide()
    assert decision["due"]["configure"] is True
    assert "nvidia-open" in [one["name"] for one in decision["due"]["packages"]]


def test_nouveau_waits_for_a_reboot():
    hardware, look = host("debian13", "T4", bound="nouveau")
    first = nvidia_driver.decide(hardware, look, YES)
    assert first["blacklist"] and first["due"]["initramfs"][0] == "update-initramfs"
    look["files"] = {one["path"]: one["content"] for one in first["files"]}
    look["initramfs"]["stale"] = True
    look["packages"] = {one["name"]: package("580.95.05-1") for one in first["packages"]}
    second = nvidia_driver.decide(hardware, look, YES)
    assert second["due"]["initramfs"] and second["due"]["holds"] and not second["due"]["modules"]
    for entry in look["packages"].values():
        entry["held"] = True
    look["initramfs"]["stale"] = False
    look["files"] = {one["path"]: one["content"] for one in second["files"]}
    third = nvidia_driver.decide(hardware, look, YES)
    look["files"] = {one["path"]: one["content"] for one in third["files"]}
    last = nvidia_driver.decide(hardware, look, YES)
    assert last["action"] == "reboot" and not any(last["due"].values())
    assert last["reboot"] == {"needed": True, "allowed": False, "why": "nouveau drives the card until the next boot"}


def test_an_installation_that_does_not_come_up_is_refused():
    """All is there and loaded, and the driver does not answer: packages cannot mend that."""
    playing = Playing()
    playing.packages(playing.decide(), "pin", "headers", "driver")
    playing.packages(playing.decide(), "fabric")
    playing.look["module"] = {"version": "580.95.05", "kind": "open"}
    playing.look["units"] = {}
    for _again in range(3):
        decision = playing.decide()
        playing.hold(decision)
        playing.files(decision)
    assert decision["refusal"]["code"] == "driver_fails", decision


def test_source_by_names():
    rows = [
        ([], None),
        (["libnvidia-container1", "nvidia-container-toolkit"], None),
        (["nvidia-open", "libnvidia-compute"], "nvidia"),
        (["cuda-drivers-570"], "nvidia"),
        (["nvidia-driver-pinning-580"], "nvidia"),
        (["nvidia-headless-580-server", "nvidia-utils-580-server"], "distribution"),
        (["nvidia-driver", "libcuda1"], "distribution"),
        (["kmod-nvidia-open-dkms", "nvidia-driver-cuda"], "nvidia"),
        (["akmod-nvidia"], "rpmfusion"),
    ]
    assert [packages.source_of(names) for names, _source in rows] == [source for _names, source in rows]


def test_generations_by_what_a_driver_says():
    rows = {"5.2": "Maxwell", "6.1": "Pascal", "7.0": "Volta", "7.5": "Turing", "8.6": "Ampere", "8.9": "Ada Lovelace",
            "9.0": "Hopper", "10.3": "Blackwell", "12.0": "Blackwell", "13.0": None, "": None}  # fmt: skip
    assert {text: branches.generation({"compute_capability": text}) for text in rows} == rows
    assert branches.generation({"architecture": "Ada"}) == "Ada Lovelace"


def test_mixed_pre_turing_and_turing_share_the_proprietary_modules():
    decision = nvidia_driver.decide(*host("ubuntu22", "V100", "T4"), YES)
    assert (decision["branch"], decision["modules"]) == (580, "proprietary")


def test_pins_leave_the_container_toolkit_alone():
    text = files.preferences("nvidia")
    assert text.index("nvidia-container*") < text.index("Package: *nvidia*")  # apt takes the first that matches
    assert "Pin: release o=Ubuntu\nPin-Priority: -1\n" in text and "NVIDIA CUDA" not in text
    assert "Pin: release l=NVIDIA CUDA\nPin-Priority: -1\n" in files.preferences("distribution")
    assert files.preferences("nvidia", "580.95.05").endswith("Pin: version 580.95.05-*\nPin-Priority: 1001\n")


def test_sources_of_a_repository():
    decision = nvidia_driver.decide(*host("debian13", "H100"), YES)
    assert files.sources(decision["repository"], "x86_64").splitlines()[1:] == [
        "Types: deb",
        "URIs: https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/",
        "Suites: /",
        "Architectures: amd64",
        "Signed-By: /etc/apt/keyrings/gpufleet-nvidia-driver.asc",
    ]
    assert "component contrib" in " ".join(decision["reasons"])
    with_contrib = nvidia_driver.decide(*host("debian13", "H100", components=["main", "contrib"]), YES)
    assert "contrib" not in " ".join(with_contrib["reasons"])
    assert decision["repository"]["key_url"].endswith("/debian13/x86_64/8793F200.pub")
    arm = nvidia_driver.decide(*host("ubuntu24", "GH200", architecture="aarch64"), dict(YES, source="nvidia"))
    assert arm["repository"]["uri"].endswith("/ubuntu2404/sbsa/")


COMMAND = "/usr/bin/nvidia-persistenced --no-persistence-mode"


@pytest.mark.parametrize(
    "active, written, unread, services, restart, reload",
    [
        (False, False, False, True, False, True),  # the drop-in comes, and then the start
        (True, False, False, False, True, True),  # the package started it without the drop-in
        (False, True, True, True, False, True),  # killed after the drop-in was written
        (False, True, False, True, False, False),  # killed after systemd read it
        (True, True, False, False, False, False),
    ],
)
def test_the_persistence_daemon_and_its_drop_in(active, written, unread, services, restart, reload):
    playing = Playing()
    playing.packages(playing.decide(), "pin", "headers", "driver")
    playing.packages(playing.decide(), "fabric")
    name, drop_in = files.PERSISTENCED, files.DROP_IN % files.PERSISTENCED
    playing.look["units"][name] = dict(unit(active=active, command=COMMAND), unread=unread)
    if written:
        playing.look["files"][drop_in] = files.persistence(COMMAND)
    decision = playing.decide()
    assert (name in decision["due"]["services"], name in decision["due"]["restart"]) == (services, restart)
    playing.look["units"][files.FABRIC] = unit()
    assert playing.decide()["daemon_reload"] is reload
