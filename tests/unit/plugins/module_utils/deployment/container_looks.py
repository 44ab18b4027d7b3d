# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts with container engines as container_host sees them, for tables."""

from __future__ import annotations

import copy

FOUR = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
INFO = {
    "cdi_spec_dirs": [],
    "runtimes": ["runc"],
    "default_runtime": "runc",
    "live_restore": False,
    "cgroup_driver": "systemd",
    "data_root": "/var/lib/docker",
    "containers": 0,
    "images": 0,
    "log_driver": "json-file",
    "mirrors": [],
    "insecure": [],
    "proxies": False,
}
DEBIAN = {
    "id": "debian",
    "like": ["debian"],
    "version": "13",
    "codename": "trixie",
    "name": "Debian GNU/Linux 13 (trixie)",
    "package_manager": "apt",
    "machine": "x86_64",
    "architecture": "amd64",
    "selinux": False,
}
ROCKY = dict(
    DEBIAN,
    id="rocky",
    like=["rocky", "rhel", "centos", "fedora"],
    version="9.7",
    codename="",
    name="Rocky Linux 9.7 (Blue Onyx)",
    package_manager="dnf",
    architecture="x86_64",
    selinux=True,
)
UBUNTU = dict(DEBIAN, id="ubuntu", like=["ubuntu", "debian"], version="24.04", codename="noble", name="Ubuntu 24.04.3 LTS")
CARD = {"cards": 1, "devices": ["/dev/nvidia0"], "driver": "580.95.05", "smi": "/usr/bin/nvidia-smi", "refreshable": True}
SPEC = {
    "path": "/var/run/cdi/nvidia.yaml",
    "version": "0.7.0",
    "kind": "nvidia.com/gpu",
    "devices": ["0", "all"],
    "missing": [],
    "generated": True,
    "mtime": 2000.0,
    "names_driver": True,
}
TOOLKIT = {
    "version": "1.20.0",
    "packages": list(FOUR),
    "hold": True,
    "repository_url": "https://nvidia.github.io/libnvidia-container/stable",
    "key_url": "https://nvidia.github.io/libnvidia-container/gpgkey",
    "key_content": None,
    "key_fingerprint": "",
    "engines": "auto",
    "runtime": "cdi",
    "cdi_environment": {},
    "restart_engine": False,
    "proof": True,
    "proof_image": "docker.io/library/ubuntu:24.04",
    "offline": False,
}
ENGINE = {
    "engine": "auto",
    "source": "distribution",
    "packages": [],
    "repository_url": "https://download.docker.com/linux",
    "key_url": "",
    "key_content": None,
    "key_fingerprint": "",
    "registry_mirrors": [],
    "insecure_registries": [],
    "log_max_size": "",
    "log_max_files": 3,
    "data_root": "",
    "live_restore": None,
    "proxy_digests": {"docker": "", "podman": ""},
    "proxy_secret": False,
    "rootless_user": "",
    "restart": False,
    "offline": False,
}


def docker(version="26.1.5", containers=(), text=None, **info):
    """A Docker that runs, and its daemon.json."""
    return {
        "version": version,
        "program": "/usr/sbin/dockerd",
        "active": True,
        "enabled": True,
        "started_at": 1000.0,
        "cli": True,
        "images": [],
        "arguments": ["-H", "fd://"],
        "containers": [{"name": name, "gpu": gpu, "auto_remove": False} for name, gpu in containers],
        "info": dict(INFO, **info),
    }


def podman(version="5.4.2"):
    return {
        "version": version,
        "program": "/usr/bin/podman",
        "active": False,
        "enabled": False,
        "started_at": None,
        "cli": True,
        "images": [],
        "containers": [],
    }


def other(version, active=True):
    return dict(podman(version), active=active, started_at=1000.0 if active else None)


def host(system=None, engines=None, texts=None, packages=None, card=False, **more):
    """A look; ``texts``: the text of files, by path."""
    look = {
        "system": dict(system or DEBIAN),
        "engines": engines if engines is not None else {"podman": podman()},
        "packages": packages or {},
        "unfinished": [],
        "files": {path: file(text) for path, text in (texts or {}).items()},
        "digests": {},
        "times": {},
        "sources": {},
        "fingerprints": {},
        "units": {},
        "cdi": [],
        "gpu": dict(CARD) if card else dict(CARD, cards=0, devices=[], smi=None, driver="", refreshable=False),
        "users": {},
    }
    look.update(more)
    return copy.deepcopy(look)


def file(text, mtime_s=500.0):
    return {"type": "file", "mode": "0644", "text": text, "mtime_ns": mtime_s * 1e9}


def installed(version="1.20.0-1", names=FOUR, held=True):
    return {name: {"version": version, "state": "installed", "held": held} for name in names}


UNITS = {name: {"enabled": True, "active": True} for name in ("nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path")}
