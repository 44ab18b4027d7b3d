# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds what the scenario installs: a repository as NVIDIA's, and one as the distribution's with the kernel's headers.

    packages.py DIRECTORY KERNEL

The names, the relations and the order of their scripts are the real packages', their contents stand-ins: nvidia-smi prints
the report of a real card where the module is loaded, and DKMS builds a module where the headers are.
"""

from __future__ import annotations

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
from tests.stand_ins.packages import apt_repository  # noqa: E402

OLD, NEW = "580.95.05", "590.48.01"
REPORT = ROOT / "tests" / "unit" / "fixtures" / "hardware" / "pro6000-blackwell-590.xml"

# As the real one: without a module it says so and ends with 9.
SMI = r"""#!/bin/sh
version=$(sed -n '1s/.* \([0-9]*\.[0-9.]*\) .*/\1/p' /proc/driver/nvidia/version 2>/dev/null)
if [ -z "$version" ]; then
    echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    exit 9
fi
if [ "$version" != VERSION ]; then
    echo "Failed to initialize NVML: Driver/library version mismatch"
    exit 18
fi
case "$*" in
*-q*-x*) sed "s#<driver_version>.*<#<driver_version>$version<#" /usr/share/nvidia-stand-in/report.xml ;;
*compute_cap*) sed -n 's#.*<uuid>\(.*\)</uuid>.*#\1, 12.0#p' /usr/share/nvidia-stand-in/report.xml | head -1 ;;
*) exit 1 ;;
esac
"""

# DKMS builds for a kernel that has headers, and goes on with a warning for one that has none.
BUILD = r"""#!/bin/sh
set -e
if [ -e /run/lab-slow ]; then touch /run/lab-in-postinst; sleep 60; fi
kernel=$(uname -r)
if [ -d "/lib/modules/$kernel/build" ]; then
    mkdir -p "/lib/modules/$kernel/updates/dkms"
    echo VERSION > "/lib/modules/$kernel/updates/dkms/nvidia.ko"
else
    echo "Module build for kernel $kernel was skipped since the kernel headers for this kernel do not seem to be installed."
fi
"""

PINNING = "Package: *nvidia* cuda-drivers*\nPin: version %s.*\nPin-Priority: 1000\n"

# Ubuntu's unit, whose option is what the drop-in is for.
PERSISTENCED = """[Unit]
Description=NVIDIA Persistence Daemon

[Service]
ExecStart=/usr/bin/nvidia-persistenced --no-persistence-mode --verbose

[Install]
WantedBy=multi-user.target
"""
FABRIC = "[Service]\nExecStart=/usr/bin/nv-fabricmanager\n\n[Install]\nWantedBy=multi-user.target\n"
DAEMON = {"content": "#!/bin/sh\nexec sleep infinity\n", "mode": "0755"}


def driver(version: str) -> list[dict]:
    branch = version.partition(".")[0]
    full = version + "-1"
    same = "%s (= " + full + ")"
    return [
        {
            "name": "nvidia-driver-pinning-" + branch,
            "version": full,
            "files": {"/etc/apt/preferences.d/nvidia-driver-pinning-" + branch: PINNING % branch},
            "provides": "nvidia-driver-pinning",
            "conflicts": "nvidia-driver-pinning",
            "replaces": "nvidia-driver-pinning",
        },
        {
            "name": "nvidia-open",
            "version": full,
            "depends": [same % "nvidia-kernel-open-dkms", same % "nvidia-driver-cuda"],
        },
        {
            "name": "nvidia-kernel-open-dkms",
            "version": full,
            "scripts": {"postinst": BUILD.replace("VERSION", version)},
        },
        {
            "name": "nvidia-driver-cuda",
            "version": full,
            "depends": ["nvidia-persistenced"],
            "files": {
                "/usr/bin/nvidia-smi": {"content": SMI.replace("VERSION", version), "mode": "0755"},
                "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so." + version: "",
                "/usr/share/nvidia-stand-in/report.xml": REPORT.read_text(encoding="utf-8"),
            },
        },
        {
            "name": "nvidia-persistenced",
            "version": full,
            "files": {
                "/usr/bin/nvidia-persistenced": DAEMON,
                "/lib/systemd/system/nvidia-persistenced.service": PERSISTENCED,
            },
        },
        {
            "name": "nvidia-fabricmanager",
            "version": full,
            "files": {
                "/usr/bin/nv-fabricmanager": DAEMON,
                "/lib/systemd/system/nvidia-fabricmanager.service": FABRIC,
            },
        },
    ]


def main(directory: str, kernel: str) -> None:
    place = pathlib.Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    home = place.parents[1] / "nvidia_driver-key"  # not in the directory that the hosts see
    header = {"name": "linux-headers-" + kernel, "version": "1", "files": {"/lib/modules/%s/build/Makefile" % kernel: ""}}
    # What an archive has under the same name, and newer: not to be mixed in.
    decoy = {"name": "nvidia-persistenced", "version": "600.1-1"}
    built = {}
    for name in ("debian12", "debian13"):
        built = apt_repository.build(place / name / "x86_64", driver(OLD) + driver(NEW), origin="NVIDIA CUDA", home=home)
    apt_repository.build(place / "distribution", [header, decoy], suite="stable", origin="Debian", home=home)
    (place / "fingerprint").write_text(built["fingerprint"], encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
