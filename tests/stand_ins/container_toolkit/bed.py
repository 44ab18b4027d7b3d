# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The repositories of NVIDIA's Container Toolkit as apt sees them, with packages of the real names and dependencies.

    bed.py DIRECTORY       writes DIRECTORY/repository/stable/deb/<architecture>/, .../gpgkey and .../old/ (nvidia-docker2),
                           and in DIRECTORY/rpm what a host with rpmbuild makes the same packages of

Source of names, relations, units and maintainer scripts: NVIDIA/nvidia-container-toolkit v1.20.0, packaging/debian.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "packages"))
import apt_repository  # noqa: E402

VERSIONS = ("1.19.1", "1.20.0", "1.20.1")
SHEBANG = "#!/usr/bin/python3\n"

ENVIRONMENT = """\
# This file can be used to override the configuration of the
#   nvidia-ctk cdi generate
# command invoked by the nvidia-cdi-refresh.service.
#
# NVIDIA_CTK_CDI_OUTPUT_FILE_PATH=/var/run/cdi/nvidia.yaml
"""

# dh_systemd_enable and dh_systemd_start add the second half.
POSTINST = """\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
/usr/bin/nvidia-ctk --quiet config --config-file=/etc/nvidia-container-runtime/config.toml --in-place
if [ -d /run/systemd/system ]; then
    systemctl enable --no-reload nvidia-cdi-refresh.service nvidia-cdi-refresh.path > /dev/null 2>&1
    systemctl --system daemon-reload > /dev/null || true
    if [ -n "$2" ]; then _action=restart; else _action=start; fi
    systemctl $_action nvidia-cdi-refresh.path nvidia-cdi-refresh.service > /dev/null || true
fi
"""

PRERM = """\
#!/bin/sh
set -e
if [ -d /run/systemd/system ] && [ "$1" = remove ]; then
    systemctl stop nvidia-cdi-refresh.path nvidia-cdi-refresh.service > /dev/null || true
fi
"""


def program(name: str, version: str) -> dict:
    return {"content": SHEBANG + (HERE / name).read_text(encoding="utf-8").replace("@VERSION@", version), "mode": "0755"}


def today(version: str) -> list[dict]:
    exact = "%s-1" % version
    breaks = "nvidia-container-runtime (<= 3.5.0-1), nvidia-container-runtime-hook"
    shell = {"content": "#!/bin/sh\nexit 0\n", "mode": "0755"}
    return [
        {
            "name": "nvidia-container-toolkit",
            "version": exact,
            "depends": "nvidia-container-toolkit-base (= %s), libnvidia-container-tools (= %s), "
            "libnvidia-container-tools (<< 2.0.0)" % (exact, exact),
            "breaks": breaks,
            "replaces": breaks,
            "files": {"/usr/bin/nvidia-container-runtime-hook": shell},
        },
        {
            "name": "nvidia-container-toolkit-base",
            "version": exact,
            "breaks": breaks + ", nvidia-container-toolkit (<= 1.10.0-1)",
            "replaces": breaks,
            "files": {
                "/usr/bin/nvidia-ctk": program("nvidia_ctk.py", version),
                "/usr/bin/nvidia-container-runtime": program("nvidia_container_runtime.py", version),
                "/usr/bin/nvidia-cdi-hook": shell,
                "/usr/lib/systemd/system/nvidia-cdi-refresh.service": (HERE / "nvidia-cdi-refresh.service").read_text("utf-8"),
                "/usr/lib/systemd/system/nvidia-cdi-refresh.path": (HERE / "nvidia-cdi-refresh.path").read_text("utf-8"),
                "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env": ENVIRONMENT,
            },
            "scripts": {"postinst": POSTINST, "prerm": PRERM},
        },
        {
            "name": "libnvidia-container-tools",
            "version": exact,
            "depends": "libnvidia-container1 (= %s)" % exact,
            "files": {"/usr/bin/nvidia-container-cli": shell},
        },
        {"name": "libnvidia-container1", "version": exact, "files": {"/usr/lib/libnvidia-container.so.1": "stand-in\n"}},
    ]


def old() -> list[dict]:
    """What nvidia-docker's guide installed in 2021."""
    daemon = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}}}
    return [
        {
            "name": "nvidia-docker2",
            "version": "2.6.0-1",
            "depends": "nvidia-container-runtime (>= 3.4.0)",
            "files": {
                "/etc/docker/daemon.json": json.dumps(daemon, indent=4) + "\n",
                "/usr/bin/nvidia-docker": {"content": "#!/bin/sh\nexit 0\n", "mode": "0755"},
            },
        },
        {
            "name": "nvidia-container-runtime",
            "version": "3.5.0-1",
            "depends": "nvidia-container-toolkit (>= 1.5.0)",
            "files": {"/usr/bin/nvidia-container-runtime": program("nvidia_container_runtime.py", "3.5.0")},
        },
        {
            "name": "nvidia-container-toolkit",
            "version": "1.5.1-1",
            "depends": "libnvidia-container-tools (>= 1.4.0)",
            "files": {"/usr/bin/nvidia-container-toolkit": {"content": "#!/bin/sh\nexit 0\n", "mode": "0755"}},
        },
        {
            "name": "libnvidia-container-tools",
            "version": "1.5.1-1",
            "depends": "libnvidia-container1 (>= 1.5.1)",
            "files": {"/usr/bin/nvidia-container-cli": {"content": "#!/bin/sh\nexit 0\n", "mode": "0755"}},
        },
        {"name": "libnvidia-container1", "version": "1.5.1-1", "files": {"/usr/lib/libnvidia-container.so.1": "stand-in\n"}},
    ]


def rpm_sources(top: pathlib.Path) -> None:
    """The specification, and the files of each version as they shall lie on a host."""
    shutil.rmtree(top, ignore_errors=True)
    for version in VERSIONS:
        for package in today(version):
            for path, entry in package["files"].items():
                entry = {"content": entry} if isinstance(entry, str) else entry
                file = top / version / path.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(entry["content"], encoding="utf-8")
                file.chmod(int(entry.get("mode", "0644"), 8))
    shutil.copy(HERE / "nvidia-container-toolkit.spec", top)


def main(directory: str) -> None:
    top = pathlib.Path(directory) / "repository"
    architecture = subprocess.run(["dpkg", "--print-architecture"], text=True, capture_output=True, check=True).stdout.strip()
    packages = [package for version in VERSIONS for package in today(version)]
    stable = top / "stable" / "deb" / architecture
    built = apt_repository.build(stable, packages, home=pathlib.Path(directory) / "gnupg")
    apt_repository.build(top / "old", old(), home=pathlib.Path(directory) / "gnupg")
    shutil.copy(built["key"], top / "gpgkey")
    (top / "fingerprint").write_text(built["fingerprint"], encoding="utf-8")
    rpm_sources(pathlib.Path(directory) / "rpm")


if __name__ == "__main__":
    main(sys.argv[1])
