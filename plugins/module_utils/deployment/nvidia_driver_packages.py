# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages and the repositories of NVIDIA's driver, by distribution, source and branch. No I/O.

Names change with the branch: NVIDIA's Ubuntu packages lost their suffix with 590, its pinning packages came with 580, its
fabric manager lost its suffix with 580, and the proprietary modules went with 620. Canonical's names keep the suffix.
"""

from __future__ import annotations

import re
import typing as t

from .nvidia_driver_branches import OPEN_ONLY_FROM, System

VENDOR_URL = "https://developer.download.nvidia.com/compute/cuda/repos"
PIN_FROM = 580
LABEL = "NVIDIA CUDA"  # of the repository's Release file, which a mirror keeps

# The key of each repository, and its fingerprint where it is known for certain.
_KEYS = {
    ("ubuntu", ""): ("3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC"),
    ("debian", "12"): ("3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC"),
    ("debian", "13"): ("8793F200.pub", "02182E60104FCDC26EAE1B8597A5D4CB8793F200"),
    ("rhel", "8"): ("D42D0685.pub", "610C7B14E068A878070DA4E99CD0A493D42D0685"),
    ("rhel", "9"): ("D42D0685.pub", "610C7B14E068A878070DA4E99CD0A493D42D0685"),
    ("rhel", "10"): ("CDF6BA43.pub", ""),
}
KEY_PATH = {"apt": "/etc/apt/keyrings/gpufleet-nvidia-driver.asc", "dnf": "/etc/pki/rpm-gpg/RPM-GPG-KEY-gpufleet-nvidia-driver"}
SOURCES_PATH = "/etc/apt/sources.list.d/gpufleet-nvidia-driver.sources"

# Named so and no driver: toolkits, what nouveau loads into a card, and what chooses or looks for drivers.
_NO_DRIVER = re.compile(
    r"^(lib)?nvidia-container|^nvidia-docker|^nvidia-(ml-py|cuda-toolkit|cuda-dev|cuda-gdb|cuda-doc|gpu-firmware|detect|prime"
    r"|driver-assistant|gds|fs|support|installer-cleanup)"
)
_DRIVER = re.compile(
    r"^(lib(32)?nvidia-|nvidia-|xserver-xorg-video-nvidia|cuda-drivers|libcuda1$|libnvsdm|libnvcuvid|linux-modules-nvidia-"
    r"|kmod-nvidia|akmod-nvidia|xorg-x11-drv-nvidia|nvlsm$|firmware-nvidia-gsp)"
)
_FROM_NVIDIA = re.compile(r"^(nvidia-open(-\d+)?|cuda-drivers(-\d+)?|nvidia-driver-pinning-.+|kmod-nvidia-(open|latest)-dkms)$")
_FROM_ELSEWHERE = re.compile(r"^(akmod-nvidia|xorg-x11-drv-nvidia)")  # RPM Fusion


class Package(t.NamedTuple):
    """``rule``: any version, one of the branch, this one exactly, or exactly the driver's."""

    name: str
    stage: str  # pin, prerequisite, headers, driver, fabric
    rule: str  # any, branch, exact, driver
    version: t.Optional[str] = None


def is_driver(name: str) -> bool:
    return bool(_DRIVER.match(name)) and not _NO_DRIVER.match(name)


def upstream(version: str) -> str:
    """580.95.05 of 3:580.95.05-1.el9."""
    return version.rpartition(":")[2].partition("-")[0]


def source_of(names: t.Iterable[str]) -> t.Optional[str]:
    """Where installed driver packages came from, by names that only one source has; None: there are none."""
    names = [name for name in names if is_driver(name)]
    # User space of one or the other alone says nothing: libnvidia-* and nvidia-utils-* have the same names in both.
    if any(_FROM_NVIDIA.match(name) for name in names):
        return "nvidia"
    if any(_FROM_ELSEWHERE.match(name) for name in names):
        return "rpmfusion"
    return "distribution" if names else None


def driver_names(system: System, source: str, branch: int, open_modules: bool, prebuilt: bool) -> t.List[str]:
    """What brings kernel modules, libraries and nvidia-smi."""
    if source == "distribution" and system.family == "ubuntu":
        kind = "-open" if open_modules else ""
        # With signed modules no others may be built: DKMS' would take their place, and Secure Boot refuses those.
        headless = "nvidia-headless-no-dkms-%d-server%s" if prebuilt else "nvidia-headless-%d-server%s"
        return [headless % (branch, kind), "nvidia-utils-%d-server" % branch]
    if source == "distribution":
        return (["nvidia-open-kernel-dkms"] if open_modules else []) + ["nvidia-driver", "nvidia-persistenced"]
    meta = "nvidia-open" if open_modules else "cuda-drivers"
    if system.manager == "apt" and branch < PIN_FROM:  # no pinning packages: the name has the branch
        return ["%s-%d" % (meta, branch)]
    return [meta]


def signed_modules(branch: int, open_modules: bool, kernel: str, images: t.Iterable[str]) -> t.List[str]:
    """Canonical's modules for the running kernel, and for those that its kernel packages bring later."""
    name = "linux-modules-nvidia-%d-server%s-" % (branch, "-open" if open_modules else "")
    return [name + kernel] + [name + image.replace("virtual", "generic") for image in sorted(images)]


def has_signed_modules(kernel: str) -> bool:
    """Canonical builds modules for its own kernels, whose release ends in the flavour's name."""
    return bool(re.match(r"^\d+\.\d+\.\d+-\d+-(generic|lowlatency|aws|azure|gcp|oracle|ibm|gke|nvidia)(-[\w.]+)?$", kernel))


def headers(system: System, kernel: str, images: t.Iterable[str]) -> t.List[str]:
    """Those of the running kernel, and the packages that bring them for the next ones."""
    if system.manager == "dnf":
        return ["kernel-devel-" + kernel]
    return ["linux-headers-" + kernel] + ["linux-headers-" + image for image in sorted(images)]


def fabric(system: System, source: str, branch: int, nvlink5: bool) -> t.List[str]:
    """The fabric manager and what has its version. Empty: this source has none."""
    if source == "distribution" and system.family == "ubuntu":
        return ["nvidia-fabricmanager-%d" % branch, "libnvidia-nscq-%d" % branch]
    if source == "distribution":
        return []
    if system.manager == "dnf":
        return ["nvidia-fabric-manager"] + (["nvlsm", "libnvsdm"] if nvlink5 else [])
    name = "nvidia-fabricmanager" if branch >= PIN_FROM else "nvidia-fabricmanager-%d" % branch
    return [name] + (["nvlsm", "libnvsdm"] if nvlink5 else [])


# What rpm repositories call it differs, and not by branch: the role asks dnf which of the two there is.
OTHER_NAMES = {"nvidia-fabric-manager": "nvidia-fabricmanager"}
# What has a version of its own and not the driver's.
OWN_VERSION = ("nvlsm", "libnvsdm")


def spec(manager: str, package: Package, branch: int) -> str:
    """The package as its manager is asked for it. The revision behind the driver's version is the packager's.

    A name without a branch says it here: apt leaves what is installed as it is, and one that pinned wrongly must not pass.
    """
    if manager == "apt":
        version = "%s-*" % package.version if package.version else "%d.*" % branch if package.rule == "branch" else None
        return "%s=%s" % (package.name, version) if version else package.name
    return "%s-%s" % (package.name, package.version) if package.version else package.name


def pin_name(system: System, source: str, branch: int) -> t.Optional[str]:
    if source == "nvidia" and system.manager == "apt" and branch >= PIN_FROM:
        return "nvidia-driver-pinning-%d" % branch
    return None


def stream(system: System, branch: int, open_modules: bool) -> t.Optional[str]:
    """The module stream that keeps dnf on a branch; RHEL 10 has none."""
    if system.family != "rhel" or system.version not in ("8", "9"):
        return None
    return "nvidia-driver:%d-%s" % (branch, "open" if open_modules or branch >= OPEN_ONLY_FROM else "dkms")


def version_lock(system: System, branch: int) -> t.Optional[str]:
    """What keeps dnf on a branch where there are no streams."""
    return "*nvidia*%d*" % branch if system.family == "rhel" and system.version == "10" else None


def repository(
    system: System, source: str, wishes: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any]
) -> t.Optional[dict]:
    """The repository that is to be configured; None where the host has it already.

    Not the package cuda-keyring, which guides install for this: it would have to be trusted before any key is, it names
    NVIDIA's own site, which a mirror is there to avoid, and its files change with it and not with this role.
    """
    there = look["repositories"]
    if source == "distribution":
        if system.family != "debian" or {"contrib", "non-free"} <= set(look["components"]):
            return None
        return {
            "type": "deb",
            "uri": wishes["distribution_url"],
            "suites": look["distribution"]["codename"],
            "components": "contrib non-free non-free-firmware",
            "key_path": "/usr/share/keyrings/debian-archive-keyring.gpg",
            "key_url": None,
            "key_file": None,
            "fingerprint": "",
            "pin": None,
            "path": SOURCES_PATH,
        }
    name = "%s%s" % (system.family, system.version.replace(".", ""))
    processor = {"x86_64": "x86_64", "aarch64": "sbsa"}[look["architecture"]]
    uri = "%s/%s/%s" % (wishes["repository_url"].rstrip("/"), name, processor)
    key, fingerprint = _KEYS.get((system.family, system.version)) or _KEYS[(system.family, "")]
    own = (SOURCES_PATH, "/etc/yum.repos.d/gpufleet-nvidia-driver.repo")
    if any(entry["uri"].rstrip("/") == uri and entry["path"] not in own for entry in there):
        return None
    return {
        "type": "deb" if system.manager == "apt" else "rpm",
        "uri": uri + "/",
        "suites": "/" if system.manager == "apt" else None,
        "components": None,
        "key_path": KEY_PATH[system.manager],
        "key_url": None if wishes["key_file"] else wishes["key_url"] or "%s/%s" % (uri, key),
        "key_file": wishes["key_file"] or None,
        # The fingerprint is that of NVIDIA's key: whoever names another key says what it has, or is taken at the word.
        "fingerprint": (wishes["fingerprint"] or ("" if wishes["key_file"] or wishes["key_url"] else fingerprint))
        .replace(" ", "").upper(),
        "pin": LABEL,
        "path": own[0] if system.manager == "apt" else own[1],
    }  # fmt: skip


def offline_problem(found: t.Optional[t.Mapping[str, t.Any]]) -> t.Optional[str]:
    """The first address of a repository that leaves the site."""
    if found is None:
        return None
    for address in (found["uri"], found["key_url"]):
        if address and ("//developer.download.nvidia.com/" in address or "//deb.debian.org/" in address):
            return address
    return None
