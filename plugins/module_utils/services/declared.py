# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a host says what its services start with, also those that are stopped, of containers and of users."""

from __future__ import annotations

import json
import os
import re
import typing as t

_OF_HOST = (
    "etc",
    "srv/model-mirror/versions/*/files",
    "run/systemd/system",
    "run/systemd/transient",
    "run/systemd/generator*",
    "run/containers/systemd",
    "usr/lib/systemd/system",
    "usr/lib/systemd/user",
    "usr/local/lib/systemd",
    "usr/local/etc",
    "usr/share/containers/systemd",
    "var/lib/gpufleet",
    "var/lib/lxc/*/config",
    "var/lib/rancher/*/agent/pod-manifests",
    "var/lib/rancher/*/server/manifests",
    "var/snap/docker/common/var-lib-docker/containers/*/*.json",
    "var/spool/at",
    "var/spool/cron",
)
_OF_HOME = (".config/systemd", ".config/containers/systemd", ".config/environment.d")
_OF_DOCKER = "containers/*/*.json"
_OF_PODMAN = "*-containers/*/userdata/*.json"  # by the storage driver
_PODMAN_STORE = re.compile(r'^\s*(?:graphroot|rootless_storage_path)\s*=\s*"([^"]+)"', re.MULTILINE)
_VARIABLE = re.compile(r"\$\{?\w+\}?")


def declared(root: str = "/") -> t.Tuple[str, ...]:
    """Patterns of files and directories. ``root`` is the host's."""
    homes = _homes(root)
    found = list(_OF_HOST)
    docker, podman = ["/var/lib/docker"], ["/var/lib/containers/storage"]
    for home in homes:
        found += ["%s/%s" % (home, one) for one in _OF_HOME]
        docker.append("%s/.local/share/docker" % home)
        podman.append("%s/.local/share/containers/storage" % home)
    for path in ["/etc/docker/daemon.json", *("%s/.config/docker/daemon.json" % home for home in homes)]:
        docker += _data_root(_text(root, path))
    for home in ["/root", *homes]:
        for path in ("/etc/containers", "/usr/share/containers", "%s/.config/containers" % home):
            podman += [_expanded(one, home) for one in _PODMAN_STORE.findall(_text(root, "%s/storage.conf" % path))]
    found += ["%s/%s" % (one, _OF_DOCKER) for one in docker] + ["%s/%s" % (one, _OF_PODMAN) for one in podman]
    return tuple(dict.fromkeys(os.path.join(root, one.lstrip("/")) for one in found))


def _homes(root: str) -> t.List[str]:
    lines = [line.split(":") for line in _text(root, "/etc/passwd").splitlines()]
    homes = [line[5].rstrip("/") for line in lines if len(line) > 5 and line[5].startswith("/")]
    return list(dict.fromkeys(["/root", "/home/*", *(one for one in homes if one)]))


def _data_root(text: str) -> t.List[str]:
    try:
        settings = json.loads(text)
    except ValueError:
        return []
    found = settings.get("data-root") or settings.get("graph") if isinstance(settings, dict) else None
    return [found] if isinstance(found, str) else []


def _expanded(path: str, home: str) -> str:
    """Podman's settings may say $HOME, $USER and $UID."""
    return _VARIABLE.sub("*", path.replace("$HOME", home).replace("${HOME}", home))


def _text(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path.lstrip("/")), encoding="utf-8", errors="replace") as content:
            return content.read()
    except OSError:
        return ""
