# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Podman's configuration: drop-ins beside what the admin wrote, and what a user needs to run it without root. Pure."""

from __future__ import annotations

import json
import re
import typing as t

from . import container_engine_repository as repositories

Dict = t.Dict[str, t.Any]
Map = t.Mapping[str, t.Any]

REGISTRIES = "/etc/containers/registries.conf.d/50-gpufleet.conf"
CONTAINERS = "/etc/containers/containers.conf.d/50-gpufleet.conf"
PROXY = "/etc/containers/containers.conf.d/51-gpufleet-proxy.conf"
STORAGE = "/etc/containers/storage.conf"
FILES = (REGISTRIES, CONTAINERS, STORAGE)
FIRST, COUNT = 100000, 65536


def files(wanted: Map, look: Map) -> t.Tuple[t.List[Dict], t.List[str]]:
    """The files that are not as they shall be, and what hinders."""
    texts = {REGISTRIES: registries(wanted), CONTAINERS: containers(wanted)}
    problems = []
    storage = look["files"].get(STORAGE, {}).get("text")
    if wanted["data_root"]:
        if storage is None or storage.startswith(repositories.HEAD):
            texts[STORAGE] = repositories.HEAD + (
                '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = %s\n'
                % json.dumps(wanted["data_root"])
            )
        elif not re.search(r"(?m)^\s*graphroot\s*=\s*[\"']%s[\"']" % re.escape(wanted["data_root"]), storage):
            problems.append(
                "container_engine_data_root=%s, and %s is somebody else's: set graphroot in it by hand, Podman has no drop-ins "
                "for it." % (wanted["data_root"], STORAGE)
            )
    if wanted["proxy_digest"] and wanted["proxy_secret"] and wanted["rootless_user"]:
        problems.append(
            "container_engine_https_proxy has a password, which only root may read, and Podman of %s reads the same directory: "
            "give a proxy without a password, or no container_engine_rootless_user." % wanted["rootless_user"]
        )
    due = []
    for path, text in texts.items():
        there = look["files"].get(path, {})
        # One of ours with nothing left to say becomes empty, and is not removed: nothing of it is in force then.
        if not text and there.get("text", "").startswith(repositories.HEAD):
            text = repositories.HEAD
        if text and there.get("text") != text:
            due.append({"path": path, "content": text, "owner": "root", "group": "root", "mode": "0644"})
    return due, problems


def registries(wanted: Map) -> str:
    """Mirrors of docker.io, and registries without TLS. Source: containers-registries.conf(5)."""
    text = ""
    insecure = list(wanted["insecure_registries"])
    if wanted["registry_mirrors"]:
        text += '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
        for url in wanted["registry_mirrors"]:
            location = str(url).partition("://")[2].rstrip("/")
            text += "\n[[registry.mirror]]\nlocation = %s\n" % json.dumps(location)
            if location.partition("/")[0] in insecure:
                text += "insecure = true\n"
    for name in insecure:
        text += "%s[[registry]]\nlocation = %s\ninsecure = true\n" % ("\n" if text else "", json.dumps(str(name)))
    return repositories.HEAD + text if text else ""


def containers(wanted: Map) -> str:
    """How large a container's log becomes: Podman cuts it there, and keeps one file."""
    if not wanted["log_max_size"]:
        return ""
    size = int(wanted["log_max_size"][:-1]) * {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[wanted["log_max_size"][-1]]
    return repositories.HEAD + "[containers]\nlog_size_max = %d\n" % size


def rootless(name: str, look: Map) -> Dict:
    """Ranges of user and group numbers that are free on this host, and lingering, so that services start at boot."""
    user = look["users"].get(name)
    if user is None:
        return {
            "due": False,
            "problems": ["container_engine_rootless_user=%s does not exist on this host: create the account first." % name],
        }
    if user["uid"] == 0:
        return {"due": False, "problems": ["container_engine_rootless_user=%s is root: leave it empty." % name]}
    uids, gids = (_range(user[kind], name, user["uid"]) for kind in ("subuid", "subgid"))
    words = (["--add-subuids", uids] if uids else []) + (["--add-subgids", gids] if gids else [])
    return {
        "due": bool(words) or not user["lingers"],
        "user": name,
        "ranges": words,
        "linger": not user["lingers"],
        "problems": [],
    }


def _range(text: str, name: str, uid: int) -> str:
    """first-last of a range that nobody has, or "" where the user has one that is large enough."""
    end = FIRST
    for line in text.splitlines():
        words = line.split(":")
        if len(words) != 3 or not (words[1].isdigit() and words[2].isdigit()):
            continue
        if words[0] in (name, str(uid)) and int(words[2]) >= COUNT:
            return ""
        end = max(end, int(words[1]) + int(words[2]))
    return "%d-%d" % (end, end + COUNT - 1)
