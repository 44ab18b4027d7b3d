# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host has of container engines and of NVIDIA's toolkit for them. Reads, changes nothing, and starts nothing."""

from __future__ import annotations

import contextlib
import glob
import http.client
import json
import os
import re
import socket
import typing as t

from ..errors import GpufleetError
from ..hardware import command, pci
from ..software import openpgp
from . import host_look, systemd_unit

Dict = t.Dict[str, t.Any]

SOCKET = "/run/docker.sock"
TIMEOUT_S = 20.0
CDI_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
KEYRINGS = ("/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d/*", "/etc/apt/keyrings/*", "/etc/pki/rpm-gpg/*")
SOURCES = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*.list",
    "/etc/apt/sources.list.d/*.sources",
    "/etc/yum.repos.d/*.repo",
)
UNITS = {"docker": "docker.service", "containerd": "containerd.service", "crio": "crio.service"}
_PROGRAMS = {"docker": "dockerd", "podman": "podman", "containerd": "containerd", "crio": "crio"}
_SHOWN = "Id,LoadState,ActiveState,UnitFileState,ConditionResult,Result,MainPID,ExecMainStartTimestampMonotonic,NeedDaemonReload"
_ON_NVIDIA = re.compile(r"^NVIDIA_VISIBLE_DEVICES=(?!void$|none$|$)")


def system() -> Dict:
    """The distribution, its package manager, and the architecture as it calls it."""
    said = {}
    for line in (pci.read("/etc/os-release") or "").splitlines():
        name, _equals, value = line.partition("=")
        said[name] = value.strip().strip("\"'")
    family = [said.get("ID", "")] + said.get("ID_LIKE", "").split()
    apt = command.find("apt-get") is not None
    rpm = next((name for name in ("dnf", "yum", "zypper") if command.find(name)), None)
    machine = os.uname().machine
    return {
        "id": said.get("ID", ""),
        "like": family,
        "version": said.get("VERSION_ID", ""),
        "codename": said.get("VERSION_CODENAME", ""),
        "name": said.get("PRETTY_NAME", "this host"),
        "package_manager": "apt" if apt else rpm,
        "machine": machine,
        "architecture": _output("dpkg", "--print-architecture").strip() if apt else machine,
        "selinux": host_look.selinux(),
    }


def sources(addresses: str) -> t.Dict[str, str]:
    """Text of the files of repositories in which one of these addresses stands."""
    wanted, found = re.compile(addresses), {}
    for path in _matching(SOURCES):
        text = host_look.file(path).get("text", "")
        if wanted.search(text):
            found[path] = text
    return found


def keys() -> t.Dict[str, t.List[str]]:
    """Fingerprints by keyring. A file that holds no keys is left out."""
    found = {}
    for path in _matching(KEYRINGS):
        with contextlib.suppress(OSError, GpufleetError):
            if os.path.getsize(path) <= 1024 * 1024:
                with open(path, "rb") as stream:
                    found[path] = openpgp.fingerprints(stream.read())
    return found


def units(names: t.Sequence[str]) -> t.Dict[str, Dict]:
    """State of each unit, asked at once; none where systemd does not run."""
    text = _output("systemctl", "show", "--property=" + _SHOWN, "--", *names) if names else ""
    found: t.Dict[str, Dict] = {}
    if not text.strip():
        return found
    for name, block in zip(names, text.strip().split("\n\n")):
        shown = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        found[name] = {
            "loaded": shown.get("LoadState") == "loaded",
            "active": shown.get("ActiveState") in systemd_unit.RUNNING,
            "enabled": shown.get("UnitFileState") in ("enabled", "static"),
            "skipped": shown.get("ConditionResult") == "no",
            "result": shown.get("Result", ""),
            "main_pid": int(shown.get("MainPID") or 0),
            "started_at": systemd_unit.started_at(shown),
        }
    return found


def engines(states: t.Mapping[str, Dict], images: t.Sequence[str], driver_hook: bool) -> t.Dict[str, Dict]:
    """Version, configuration in force, running containers and whether they use GPUs, by engine."""
    found = {}
    for name, program in _PROGRAMS.items():
        path = command.find(program)
        if path is None:
            continue
        state = states.get(UNITS.get(name, ""), {})
        match = re.search(r"version:?\s+v?(\d[^\s,]*)", _output(path, "--version"))
        if name == "containerd":
            match = re.search(r"\sv?(\d+\.\d[^\s]*)", _output(path, "--version"))
        found[name] = {
            "version": match.group(1) if match else "",
            "program": path,
            "active": bool(state.get("active")),
            "enabled": bool(state.get("enabled")),
            "started_at": state.get("started_at"),
            "containers": [],
            "images": [],
            "cli": command.find({"crio": "crictl", "containerd": "ctr"}.get(name, name)) is not None,
        }
    if found.get("docker", {}).get("active"):
        found["docker"].update(_docker(images, states["docker.service"]["main_pid"]))
    if "podman" in found:
        found["podman"].update(_podman(images, driver_hook))
    return found


class _Daemon(http.client.HTTPConnection):
    """Docker's API behind its socket: there also where its client is not installed. Source: Engine API v1.41."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)

    def ask(self, path: str) -> t.Any:
        """The answer, or None when there is nothing of that name."""
        self.request("GET", path, headers={"Host": "docker"})
        answer = self.getresponse()
        body = answer.read()
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise OSError("GET %s: status %d" % (path, answer.status))
        return json.loads(body)


def _docker(images: t.Sequence[str], pid: int) -> Dict:
    arguments = (pci.read("/proc/%d/cmdline" % pid) or "").split("\x00")[1:] if pid else []
    daemon = _Daemon("localhost", timeout=TIMEOUT_S)
    try:
        said = daemon.ask("/info")
        if said is None:
            raise OSError("GET /info: not found")
        containers = []
        for entry in daemon.ask("/containers/json"):
            one = daemon.ask("/containers/%s/json" % entry["Id"])
            if one is not None:
                removed = bool((one.get("HostConfig") or {}).get("AutoRemove"))
                containers.append({"name": one["Name"].lstrip("/"), "gpu": gpu_of_docker(one), "auto_remove": removed})
        there = [image for image in images if daemon.ask("/images/%s/json" % image) is not None]
    except (OSError, ValueError, http.client.HTTPException) as error:
        return {"arguments": arguments, "problem": str(error)}
    finally:
        daemon.close()
    return {
        "version": said["ServerVersion"],
        "arguments": arguments,
        "images": there,
        "containers": sorted(containers, key=lambda one: one["name"]),
        "info": {
            "cdi_spec_dirs": said.get("CDISpecDirs") or [],
            "runtimes": sorted(said.get("Runtimes") or {}),
            "default_runtime": said.get("DefaultRuntime", ""),
            "live_restore": bool(said.get("LiveRestoreEnabled")),
            "cgroup_driver": said.get("CgroupDriver", ""),
            "data_root": said.get("DockerRootDir", ""),
            "containers": said.get("Containers", 0),
            "images": said.get("Images", 0),
            "log_driver": said.get("LoggingDriver", ""),
            "mirrors": (said.get("RegistryConfig") or {}).get("Mirrors") or [],
            "insecure": insecure_registries(said.get("RegistryConfig") or {}),
            "proxies": bool(said.get("HttpProxy") or said.get("HttpsProxy")),
        },
    }


def insecure_registries(config: t.Mapping[str, t.Any]) -> t.List[str]:
    """Those that Docker was told of; loopback is always one."""
    ranges = [one for one in config.get("InsecureRegistryCIDRs") or [] if one not in ("127.0.0.0/8", "::1/128")]
    named = [name for name, one in (config.get("IndexConfigs") or {}).items() if not one.get("Secure", True)]
    return sorted(ranges + named)


def gpu_of_docker(one: t.Mapping[str, t.Any]) -> str:
    """How a container has its GPUs: cdi, legacy (by the hook), devices, or "" when it has none."""
    host = one.get("HostConfig") or {}
    requests = host.get("DeviceRequests") or []
    if any(request.get("Driver") == "cdi" for request in requests):
        return "cdi"
    if any("gpu" in capabilities for request in requests for capabilities in request.get("Capabilities") or []):
        return "legacy"
    variables = (one.get("Config") or {}).get("Env") or []
    if str(host.get("Runtime") or "").startswith("nvidia") and any(_ON_NVIDIA.match(variable) for variable in variables):
        return "legacy"
    paths = [device.get("PathOnHost", "") for device in host.get("Devices") or []]
    return "devices" if any(path.startswith("/dev/nvidia") or path == "/dev/dxg" for path in paths) else ""


def gpu_of_podman(one: t.Mapping[str, t.Any], hook: bool) -> str:
    """The same of a container of Podman, which resolves CDI names into devices."""
    if any("nvidia.com/gpu" in word for word in (one.get("Config") or {}).get("CreateCommand") or []):
        return "cdi"
    paths = [device.get("PathOnHost", "") for device in (one.get("HostConfig") or {}).get("Devices") or []]
    if any(path.startswith("/dev/nvidia") or path == "/dev/dxg" for path in paths):
        return "devices"
    variables = (one.get("Config") or {}).get("Env") or []
    return "legacy" if hook and any(_ON_NVIDIA.match(variable) for variable in variables) else ""


def _podman(images: t.Sequence[str], hook: bool) -> Dict:
    """Root's containers: those of other users are not seen."""
    names = _output("podman", "ps", "--quiet").split()
    inspected = json.loads(_output("podman", "inspect", *names) or "[]") if names else []
    containers = [{"name": one.get("Name", ""), "gpu": gpu_of_podman(one, hook)} for one in inspected]
    there = [image for image in images if _code("podman", "image", "exists", image) == 0]
    return {"containers": sorted(containers, key=lambda one: one["name"]), "images": there}


def cdi(driver: str) -> t.List[Dict]:
    """The CDI specifications on the host."""
    found = []
    for directory in CDI_DIRECTORIES:
        for path in sorted(glob.glob(directory + "/*.yaml") + glob.glob(directory + "/*.json")):
            with contextlib.suppress(OSError):
                with open(path, encoding="utf-8", errors="replace") as stream:
                    text = stream.read()
                spec = specification(text)
                spec["missing"] = [node for node in spec.pop("nodes") if not os.path.exists(node)]
                mtime = os.stat(path).st_mtime
                found.append(dict(spec, path=path, mtime=mtime, names_driver=not driver or driver in text))
    return found


def specification(text: str) -> Dict:
    """What is to be known of a CDI specification, without a YAML parser, which a managed host need not have.

    It is JSON, or YAML as nvidia-ctk writes it: the devices at the top level's indentation or two spaces more.
    """
    generated = "nvidia-cdi-hook" in text or "nvidia-ctk" in text
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        edits = [said.get("containerEdits") or {}] + [one.get("containerEdits") or {} for one in said.get("devices") or []]
        nodes = [node.get("hostPath") or node.get("path") for one in edits for node in one.get("deviceNodes") or []]
        return {
            "version": str(said.get("cdiVersion", "")),
            "kind": said.get("kind", ""),
            "devices": [one.get("name", "") for one in said.get("devices") or []],
            "nodes": sorted(set(nodes)),
            "generated": generated,
        }
    top = {match[1]: match[2].strip("\"'") for match in re.finditer(r"(?m)^(cdiVersion|kind):\s*(\S+)", text)}
    devices = re.search(r"(?ms)^devices:\s*\n(.*?)(?=^[a-zA-Z]|\Z)", text)
    names = re.findall(r"(?m)^(?:- |  |  - |    )name:\s*[\"']?([^\"'\n]+)", devices.group(1)) if devices else []
    nodes = re.findall(r"(?m)^\s*(?:- )?(?:hostPath|path):\s*(/dev/\S+)", text)
    return {
        "version": top.get("cdiVersion", ""),
        "kind": top.get("kind", ""),
        "devices": list(dict.fromkeys(names)),
        "nodes": sorted(set(nodes)),
        "generated": generated,
    }


def gpu() -> Dict:
    """NVIDIA's cards on the bus, the device files, the driver, and whether nvidia-cdi-refresh.service will do its work."""
    cards = [card for card in pci.probe().cards if card.vendor == "nvidia"]
    devices = [path for path in glob.glob("/dev/nvidia*") if re.match(r"^/dev/nvidia\d+$", path)]
    if os.path.exists("/dev/dxg"):
        devices.append("/dev/dxg")
    names = pci.read("/lib/modules/%s/modules.dep" % os.uname().release) or ""
    smi = next(
        (path for path in ("/usr/bin/nvidia-smi", "/usr/sbin/nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi") if os.path.exists(path)),
        None,
    )
    return {
        "cards": len(cards),
        "devices": sorted(devices),
        "driver": pci.read("/sys/module/nvidia/version") or "",
        "smi": smi,
        "refreshable": bool(smi and (re.search(r"/(nvidia|nvidia-current)[.]ko", names) or "/dev/dxg" in devices)),
    }


def rootless(name: str) -> t.Optional[Dict]:
    """A user for Podman without root: the ranges of numbers that it has, and whether it lingers."""
    account = host_look.user(name)
    if account is None:
        return None
    return dict(
        account,
        subuid=pci.read("/etc/subuid") or "",
        subgid=pci.read("/etc/subgid") or "",
        lingers=os.path.exists("/var/lib/systemd/linger/" + name),
    )


def _matching(patterns: t.Sequence[str]) -> t.List[str]:
    return [path for pattern in patterns for path in sorted(glob.glob(pattern)) if os.path.isfile(path)]


def _code(*words: str) -> int:
    try:
        return command.run(_found(words), TIMEOUT_S).code
    except (OSError, command.TimedOut):
        return -1


def _output(*words: str) -> str:
    """What it says, or nothing when it cannot be run: a host without it is a normal answer."""
    try:
        return command.run(_found(words), TIMEOUT_S).stdout
    except (OSError, command.TimedOut):
        return ""


def _found(words: t.Sequence[str]) -> t.List[str]:
    return [command.find(words[0]) or words[0], *words[1:]]
