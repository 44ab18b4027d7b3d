# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a driver is not installed, in words, and what to do instead. No I/O."""

from __future__ import annotations

import typing as t

from . import nvidia_driver_branches as branches

Refusal = t.Dict[str, t.Any]


def _refusal(code: str, message: str, *remedies: str) -> Refusal:
    return {"code": code, "message": message, "remedies": list(remedies)}


def wishes(problems: t.Sequence[str]) -> Refusal:
    return _refusal("wishes", " ".join("nvidia_driver_%s" % problem for problem in problems))


def absent(state: str, why: str) -> Refusal:
    if state == "absent":
        return _refusal(
            "driver_absent",
            "There is no NVIDIA driver. %s" % why,
            "have one installed by this role: nvidia_driver_install: true",
            "install one by your own means, and run this again",
        )
    return _refusal(
        "driver_fails",
        why,
        "see to it on the host (dmesg, dkms status, modprobe nvidia)",
        "let this role complete what its packages lack: nvidia_driver_install: true",
    )


def too_old(why: str, install: bool) -> Refusal:
    missing = ["nvidia_driver_upgrade: true"] if install else ["nvidia_driver_install: true", "nvidia_driver_upgrade: true"]
    return _refusal(
        "driver_too_old",
        "%s Nothing was changed." % why,
        "have this role upgrade it, which needs a reboot: %s" % " and ".join(missing),
        "or ask for less: an engine's build with an older CUDA, or nvidia_driver_minimum and nvidia_driver_engines",
    )


def driver_fails(why: str) -> Refusal:
    return _refusal(
        "driver_fails", "A driver is installed that would do, and it does not work. %s" % why,
        "see dmesg and dkms status on the host, and run this again",
    )


_ENVIRONMENTS = {
    "wsl": (
        "WSL takes the driver of Windows; a Linux driver inside breaks it",
        "install or update the NVIDIA driver in Windows, then: wsl --shutdown",
    ),
    "jetson": ("a Jetson's driver is part of JetPack", "flash or upgrade JetPack"),
    "container": (
        "a container uses the kernel modules of its host, and its libraries have to be of their version",
        "install the driver on the host, and give the container its GPUs (CDI: --device nvidia.com/gpu=all)",
    ),
    "vgpu": (
        "a vGPU guest needs the licensed guest driver that fits its hypervisor's, which is in no public repository",
        "install the GRID guest driver of the branch that the hypervisor runs",
    ),
}


def environment(kind: str, _environment: str, why: str) -> Refusal:
    reason, remedy = _ENVIRONMENTS[kind]
    return _refusal("environment", "%s No driver is ever installed here: %s." % (why, reason), remedy)


def card_too_old(names: t.Sequence[str]) -> Refusal:
    return _refusal(
        "card_too_old", "%s: branch 470 was the last for this generation, and no engine of this collection runs on it."
        % " and ".join(names), "replace the card, or use the host's CPU",
    )  # fmt: skip


def mixed_cards(why: str) -> Refusal:
    return _refusal("mixed_cards", "The cards of this host cannot share a driver: %s." % why, "take one of the kinds out")


def distribution(name: str) -> Refusal:
    return _refusal(
        "distribution", "%s is not a distribution that this role installs drivers on: %s are."
        % (name, branches.known_systems()), "install the driver by your own means; the role then leaves it alone",
    )  # fmt: skip


def architecture(machine: str) -> Refusal:
    return _refusal("architecture", "There is no NVIDIA driver for %s: x86_64 and aarch64 have one." % machine)


def runfile() -> Refusal:
    return _refusal(
        "mixed_sources", "A driver was installed here with NVIDIA's .run file, and packages beside it break both.",
        "remove it: nvidia-uninstall, and reboot",
    )  # fmt: skip


def mixed_sources(there: str, wished: str, names: t.Sequence[str]) -> Refusal:
    remedies = ["remove them first: %s" % ", ".join(names[:6]) + (" and %d more" % (len(names) - 6) if len(names) > 6 else "")]
    if there != "rpmfusion":
        remedies.insert(0, "stay with their source: nvidia_driver_source: %s" % there)
    return _refusal(
        "mixed_sources", "Driver packages of %s are installed, and %s is asked for: mixed, they break each other."
        % (_source(there), _source(wished)), *remedies,
    )  # fmt: skip


def _source(name: str) -> str:
    return {"nvidia": "NVIDIA's repository", "distribution": "the distribution", "rpmfusion": "RPM Fusion"}.get(name, name)


def no_source(source: str, name: str) -> Refusal:
    return _refusal(
        "no_source", "%s has no NVIDIA driver of its own (nvidia_driver_source: %s)." % (name, source),
        "nvidia_driver_source: nvidia",
    )  # fmt: skip


def branch_too_old(wished: str, need: branches.Need) -> Refusal:
    return _refusal(
        "branch_too_old", "Driver %s is asked for, and %s is needed: %s." % (wished, need.version, need.why),
        "leave nvidia_driver_branch and nvidia_driver_version empty, or raise them",
    )  # fmt: skip


def branch_and_cards(branch: int, limit: branches.Limits) -> Refusal:
    return _refusal(
        "branch_and_cards", "Branch %d does not drive the cards of this host: %s." % (
            branch, limit.why if limit.highest else "they need %d or newer" % limit.lowest),
        "leave nvidia_driver_branch empty: the one that fits is chosen",
    )  # fmt: skip


def no_branch(
    name: str, source: str, known: t.Sequence[int], need: branches.Need, limit: branches.Limits,
    other: t.Mapping[str, t.Optional[int]],
) -> Refusal:  # fmt: skip
    elsewhere = [(one, branch) for one, branch in sorted(other.items()) if branch]
    remedies = ["nvidia_driver_source: %s, which has branch %d" % one for one in elsewhere]
    if limit.highest and branches.branch_of(need.version) > limit.highest:
        remedies.append("an engine that an older driver serves: %s" % limit.why)
    elif not remedies:
        remedies.append("a newer release of the distribution")
    has = "%s, from %s, has the branches %s" % (name, _source(source), ", ".join(map(str, known)))
    why = "%s is needed (%s), and %s" % (need.version, need.why, limit.why)
    return _refusal("no_branch", "%s, and none of them fits: %s." % (has, why), *remedies)


def modules(wished: str, why: str) -> Refusal:
    return _refusal(
        "modules", "The %s kernel modules are asked for, but %s." % (wished, why), "nvidia_driver_modules: auto"
    )


def secure_boot(name: str, ubuntu: bool) -> Refusal:
    remedies = ["nvidia_driver_source: distribution, for Canonical's signed modules"] if ubuntu else []
    return _refusal(
        "secure_boot",
        "Secure Boot is on, and the kernel refuses the modules that DKMS builds on %s until its key is enrolled, "
        "which asks for a person at the console." % name,
        *remedies,
        "enrol the key (mokutil --import /var/lib/dkms/mok.pub, reboot, confirm at the console), then "
        "nvidia_driver_mok_enrolled: true",
        "or turn Secure Boot off in the firmware",
    )


def secure_boot_kernel(release: str) -> Refusal:
    return _refusal(
        "secure_boot", "Secure Boot is on, and Canonical builds no signed modules for kernel %s." % release,
        "boot a kernel of Ubuntu's", "or enrol DKMS' key at the console, then nvidia_driver_mok_enrolled: true",
    )  # fmt: skip


def epel(version: str) -> Refusal:
    return _refusal(
        "epel", "The kernel modules are built with DKMS, which RHEL has in EPEL only, and EPEL is not configured.",
        "enable it: dnf install https://dl.fedoraproject.org/pub/epel/epel-release-latest-%s.noarch.rpm, or a mirror" % version,
    )  # fmt: skip


def held(names: t.Sequence[str]) -> Refusal:
    return _refusal(
        "held", "Somebody holds driver packages at their versions: %s." % ", ".join(names),
        "release them (apt-mark unhold, dnf versionlock delete), if that somebody agrees",
    )  # fmt: skip


def fabric(version: str, can: bool) -> Refusal:
    remedy = "have this role install it: nvidia_driver_install: true" if can else "see journalctl -u nvidia-fabricmanager"
    return _refusal(
        "fabric", "Driver %s works, but the NVLink fabric is not up, so CUDA will not start (error 802)." % version,
        "install and start the fabric manager of exactly %s, from where the driver came" % version, remedy,
    )  # fmt: skip


def no_fabric_manager(name: str) -> Refusal:
    return _refusal(
        "no_fabric_manager", "The cards are joined by NVSwitches, and %s itself has no fabric manager." % name,
        "nvidia_driver_source: nvidia",
    )  # fmt: skip


def offline(address: str) -> Refusal:
    return _refusal(
        "offline", "nvidia_driver_offline is true, and the packages would come from %s." % address,
        "a mirror of the site: nvidia_driver_repository_url, nvidia_driver_distribution_url, nvidia_driver_key_url or "
        "nvidia_driver_key_file",
    )  # fmt: skip
