# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a container engine is not as asked for on a host, from one look at it. Pure."""

from __future__ import annotations

import hashlib
import re
import typing as t

from ..errors import GpufleetError
from . import container_engine_daemon as daemon
from . import container_engine_podman as podman
from . import container_engine_repository as repositories
from . import container_engine_restart as restart
from . import container_engine_versions as versions

Dict = t.Dict[str, t.Any]
Map = t.Mapping[str, t.Any]

VENDOR = "https://download.docker.com/"
DOCKER_CE = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin")
# Of the distributions, and what they recommend without which a container does not start.
_PODMAN = {
    "apt": ("podman", "crun", "netavark", "aardvark-dns", "uidmap", "nftables", "fuse-overlayfs", "passt"),
    "apt-12": ("podman", "crun", "netavark", "aardvark-dns", "uidmap", "iptables", "fuse-overlayfs", "slirp4netns"),
    "apt-old": ("podman", "crun", "uidmap", "iptables", "fuse-overlayfs", "slirp4netns"),
    "dnf": ("podman", "crun", "netavark", "aardvark-dns"),
}
_KEYRING = "/etc/apt/keyrings/docker.asc"
_RPM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-docker"
_LIST = "/etc/apt/sources.list.d/docker.sources"
_REPO = "/etc/yum.repos.d/docker-ce.repo"
PROXY_FILE = "/etc/gpufleet/container_engine/proxy.env"
DROP_IN = "/etc/systemd/system/docker.service.d/zz-gpufleet.conf"
NOTE = "/var/lib/gpufleet/container_engine/docker-restart"
_DROP_IN_TEXT = repositories.HEAD + "[Service]\nEnvironmentFile=-%s\n" % PROXY_FILE
_NO_DOCKER: Dict = {"due": False, "text": None, "drop_in": None, "note": None, "reload": False, "enable": False, "problems": [],
                    "restart_now": False, "restart_why": "", "waits": False}  # fmt: skip
_SIZE = re.compile(r"^\d+[kmg]$")
_REGISTRY = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$")


def look_for(wanted: Map) -> Dict:
    user = wanted["rootless_user"]
    return {
        "packages": sorted({"docker.io", "docker-cli", *DOCKER_CE, *(name for names in _PODMAN.values() for name in names)}),
        "files": [daemon.PATH, DROP_IN, NOTE, _LIST, _REPO, _KEYRING, _RPM_KEY, *podman.FILES],
        "digests": [PROXY_FILE, podman.PROXY],
        "users": [user] if user else [],
    }


def follow(wanted: Map, look: Map) -> Dict:
    """``{problems, warnings, due, engine, ...}``: each part says what is due of it, and with what."""
    problems = _check(wanted)
    system = look["system"]
    engine = chosen(wanted, look)
    wanted = dict(wanted, proxy_digest=wanted["proxy_digests"][engine])
    state: Dict = {"engine": engine, "version": look["engines"].get(engine, {}).get("version", ""), "system": system}
    packages, repository, more = _software(wanted, look, engine)
    problems += more
    docker = dict(_NO_DOCKER)
    files: t.List[Dict] = []
    proxy: Dict = {"due": False, "path": "", "absent": False}
    try:
        if problems:
            pass  # what makes no sense is not worked out further
        elif engine == "docker":
            docker = _docker(wanted, look)
            problems += docker["problems"]
            proxy = _proxy(wanted, look, PROXY_FILE)
        else:
            files, more = podman.files(wanted, look)
            problems += more
            proxy = _proxy(wanted, look, podman.PROXY)
    except GpufleetError as error:
        problems.append(str(error))
    user = podman.rootless(wanted["rootless_user"], look) if wanted["rootless_user"] else {"due": False, "problems": []}
    problems += user["problems"]
    warnings = []
    if packages["due"]:
        said = restart.before_reload(look["engines"])
        warnings += [said] if said else []
    warnings += [docker["restart_why"]] if docker["restart_why"] else []
    state.update(packages=packages, repository=repository, docker=docker, files=files, proxy=proxy, rootless=user)
    state["problems"], state["warnings"], state["unfinished"] = problems, warnings, look["unfinished"]
    parts = {"packages": packages["due"], "repository": repository["due"], "docker": docker["due"], "files": bool(files),
             "proxy": proxy["due"], "rootless": user["due"], "unfinished": bool(look["unfinished"])}  # fmt: skip
    state["due_parts"] = [name for name, due in parts.items() if due]
    state["due"] = bool(state["due_parts"])
    return state


def chosen(wanted: Map, look: Map) -> str:
    """What is asked for, or what is there, or what the distribution has in a version that reads today's CDI."""
    if wanted["engine"] in ("docker", "podman"):
        return str(wanted["engine"])
    for name in ("docker", "podman"):
        if look["engines"].get(name, {}).get("version"):
            return name
    if wanted["source"] == "docker":
        return "docker"
    system = look["system"]
    modern = system["id"] == "debian" and versions.parse(system["version"]) >= (13,)
    return "podman" if modern or system["package_manager"] in ("dnf", "yum") else "docker"


def _check(wanted: Map) -> t.List[str]:
    found = []
    for option in ("registry_mirrors",):
        for url in wanted[option]:
            if not re.match(r"^https?://[^\s/]+(/\S*)?$", str(url)):
                found.append("container_engine_%s: %s is no address such as https://mirror.example.com." % (option, url))
            elif str(url).startswith("http://") and _host(url) not in wanted["insecure_registries"]:
                found.append(
                    "container_engine_registry_mirrors: %s has no TLS. Name %s in container_engine_insecure_registries to accept "
                    "that." % (url, _host(url))
                )
    for name in wanted["insecure_registries"]:
        if not _REGISTRY.match(str(name)):
            found.append(
                "container_engine_insecure_registries: %s is no registry such as registry.example.com:5000. Each is named: no "
                "wildcards, no networks." % name
            )
    if wanted["log_max_size"] and not _SIZE.match(str(wanted["log_max_size"])):
        found.append("container_engine_log_max_size=%s: give a number and k, m or g, such as 100m." % wanted["log_max_size"])
    root = wanted["data_root"]
    if root and (
        not root.startswith("/") or root.rstrip("/") in ("", "/var", "/var/lib", "/srv", "/opt", "/home", "/root", "/tmp")
    ):
        found.append("container_engine_data_root=%s: give the absolute path of a directory that is the engine's alone." % root)
    return found


def _host(url: str) -> str:
    return str(url).partition("://")[2].partition("/")[0]


def _software(wanted: Map, look: Map, engine: str) -> t.Tuple[Dict, Dict, t.List[str]]:
    """Packages and repository, and what hinders. An engine that is there is taken as it is, from wherever it came."""
    system, there, nothing = look["system"], look["packages"], {"due": False}
    manager = system["package_manager"]
    idle = {"due": False, "names": [], "engine_due": False}
    if look["engines"].get(engine, {}).get("version") and not _half(look):
        client = engine == "docker" and not look["engines"]["docker"]["cli"] and "docker.io" in there
        if engine == "docker" and wanted["source"] == "docker" and "docker.io" in there:
            return idle, nothing, [
                "container_engine_source=docker, and the distribution's docker.io %s is there: the two exclude each other, and "
                "going over removes its containers' engine. Remove docker.io first, or leave container_engine_source at "
                "distribution."
                % there["docker.io"]["version"]
            ]  # fmt: skip
        # From Debian 13 on the client is a package of its own, and no other package needs it.
        return dict(idle, due=client, names=["docker-cli"] if client else []), nothing, []
    if manager not in ("apt", "dnf", "yum"):
        return (
            idle,
            nothing,
            ["%s has neither apt nor dnf: install %s by hand, the rest of this role works." % (system["name"], engine)],
        )
    rpm = manager != "apt"
    if engine == "podman":
        old = system["id"] == "debian" and versions.parse(system["version"]) == (12,)
        ancient = system["id"] == "ubuntu" and versions.parse(system["version"]) < (24,)
        kind = "dnf" if rpm else "apt-12" if old else "apt-old" if ancient else "apt"
        names = list(wanted["packages"] or _PODMAN[kind])
        return _missing(names, there, True), nothing, []
    if wanted["source"] == "distribution":
        if rpm:
            return idle, nothing, [
                "%s has no Docker of its own: set container_engine_source to docker for the vendor's packages, or "
                "container_engine to podman." % system["name"]
            ]  # fmt: skip
        split = (system["id"] == "debian" and versions.parse(system["version"]) >= (13,)) or (
            system["id"] == "ubuntu" and versions.parse(system["version"]) >= (25, 4)
        )
        names = list(wanted["packages"] or ["docker.io"] + ["docker-cli"] * split)
        return _missing(names, there, True), nothing, []
    repository = _repository(wanted, look)
    problems = []
    if wanted["offline"] and wanted["repository_url"].startswith(VENDOR):
        problems.append(
            "container_engine_repository_url=%s is the vendor's, and container_engine_offline is set: give a mirror of it."
            % wanted["repository_url"]
        )
    return _missing(list(wanted["packages"] or DOCKER_CE), there, True), repository, problems


def _missing(names: t.List[str], there: Map, engine_due: bool) -> Dict:
    missing = [name for name in names if there.get(name, {}).get("state") != "installed"]
    return {"due": bool(missing), "names": missing, "engine_due": engine_due}


def _half(look: Map) -> bool:
    return any(name in look["unfinished"] for name in ("docker.io", "docker-ce", "podman", "containerd", "containerd.io"))


def _repository(wanted: Map, look: Map) -> Dict:
    system = look["system"]
    url = str(wanted["repository_url"]).rstrip("/")
    source = "a file of the one who runs this" if wanted["key_content"] is not None else wanted["key_url"] or url + "/gpg"
    if system["package_manager"] == "apt":
        distribution = "ubuntu" if "ubuntu" in system["like"] else "debian"
        path, key = _LIST, _KEYRING
        text = repositories.deb822(
            "%s/%s" % (url, distribution), system["codename"], key, source, "stable", system["architecture"]
        )
    else:
        distribution = "fedora" if system["id"] == "fedora" else "rhel" if system["id"] == "rhel" else "centos"
        path, key = _REPO, _RPM_KEY
        text = repositories.yum(
            "docker-ce-stable",
            "Docker CE",
            "%s/%s/$releasever/$basearch/stable" % (url, distribution),
            key,
            source,
            packages_signed=True,
        )
    key_url = wanted["key_url"] or "%s/%s/gpg" % (url, distribution)
    file_due = look["files"].get(path, {}).get("text") != text
    key_due = file_due or key not in look["fingerprints"]
    return {"due": file_due or key_due, "path": path, "text": text, "file_due": file_due, "key_path": key, "key_url": key_url,
            "key_due": key_due}  # fmt: skip


def _docker(wanted: Map, look: Map) -> Dict:
    docker = look["engines"].get("docker", {})
    info = docker.get("info") or {}
    file = look["files"].get(daemon.PATH, {})
    ours: Dict = {}
    if wanted["registry_mirrors"]:
        ours["registry-mirrors"] = list(wanted["registry_mirrors"])
    if wanted["insecure_registries"]:
        ours["insecure-registries"] = list(wanted["insecure_registries"])
    if wanted["data_root"]:
        ours["data-root"] = wanted["data_root"]
    if wanted["live_restore"] is not None:
        ours["live-restore"] = wanted["live_restore"]
    options = {}
    if wanted["log_max_size"]:
        options = {"max-size": str(wanted["log_max_size"]), "max-file": str(wanted["log_max_files"])}
        ours.update({"log-driver": "json-file", "log-opts": options})
    merged = daemon.merge(file.get("text"), ours)
    problems = []
    twice = daemon.conflicts(ours, docker.get("arguments") or []) if merged is not None else []
    if twice:
        problems.append(
            "dockerd is started with options that daemon.json is to have too (%s), and does not start with both: take them out "
            "of its unit or of /etc/default/docker." % ", ".join(twice)
        )
    if info and wanted["data_root"] and info["data_root"] != wanted["data_root"] and (info["containers"] or info["images"]):
        problems.append(
            "container_engine_data_root=%s, and %s holds %d containers and %d images, which Docker would not see any more. "
            "Stop it, move the directory, and set data-root in %s; or remove them."
            % (wanted["data_root"], info["data_root"], info["containers"], info["images"], daemon.PATH)
        )
    drop_in = bool(wanted["proxy_digest"]) and look["files"].get(DROP_IN, {}).get("text") != _DROP_IN_TEXT
    reload = due = logs = False
    if info:
        # What dockerd takes over by SIGHUP, and what it does not. Source: Docker, "Daemon configuration file".
        reload = _differs(info, wanted)
        due = bool(wanted["data_root"] and info["data_root"] != wanted["data_root"])
        logs = bool(options) and merged is not None and _logs_differ(file.get("text"), ours)
        # Docker does not say with which options it logs: a note older than its process tells that it knows them.
        due = due or logs or _after(docker, look["files"].get(NOTE, {}))
        due = due or _proxy(wanted, look, PROXY_FILE)["due"] or drop_in or _stale(docker, look, wanted)
    # Debian starts what it installs, the RHEL family does not.
    enable = not (docker.get("active") and docker.get("enabled"))
    decided = restart.decide(docker, wanted["restart"], "container_engine_restart", due)
    return {
        "due": merged is not None or reload or drop_in or decided["restart_now"] or enable,
        "text": merged,
        "secret": bool(re.search(r"://[^/@\s\"]+:[^/@\s\"]+@", file.get("text") or "")),
        "mode": file.get("mode", "0644"),
        "validate": versions.parse(docker.get("version")) >= (23, 0),
        "program": docker.get("program", "dockerd"),
        "drop_in": _DROP_IN_TEXT if drop_in else None,
        "drop_in_path": DROP_IN,
        "note": hashlib.sha256(merged.encode()).hexdigest() + "\n" if logs and merged is not None else None,
        "note_path": NOTE,
        "reload": reload and not decided["restart_now"],
        **decided,
        "enable": enable,
        "problems": problems,
    }


def _differs(info: Map, wanted: Map) -> bool:
    mirrors = [str(url).rstrip("/") for url in wanted["registry_mirrors"]]
    return (
        bool(mirrors and mirrors != [url.rstrip("/") for url in info["mirrors"]])
        or bool(set(wanted["insecure_registries"]) - set(info["insecure"]))
        or (wanted["live_restore"] is not None and wanted["live_restore"] != info["live_restore"])
    )


def _logs_differ(text: t.Optional[str], ours: Map) -> bool:
    present = daemon.parse(text)
    return any(present.get(key) != ours[key] for key in ("log-driver", "log-opts"))


def _after(docker: Map, file: Map) -> bool:
    """Whether the file was written after the process began."""
    return bool(docker.get("started_at") and file.get("mtime_ns", 0) / 1e9 > docker["started_at"])


def _stale(docker: Map, look: Map, wanted: Map) -> bool:
    """Whether it was started before the proxies were written: dockerd says which ones it has, but not with which password."""
    written = {"mtime_ns": (look["times"].get(PROXY_FILE) or 0) * 1e9}
    return bool(wanted["proxy_digest"]) and (_after(docker, written) or _after(docker, look["files"].get(DROP_IN, {})))


def _proxy(wanted: Map, look: Map, path: str) -> Dict:
    """A file that only root reads: it may hold a password, and so is known by its digest alone."""
    there = look["digests"].get(path) or ""
    return {"due": there != wanted["proxy_digest"], "path": path, "absent": not wanted["proxy_digest"]}
