# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of the NVIDIA Container Toolkit is not as asked for on a host, from one look at it. Pure.

Two tables of versions decide, beside the host's own state: container_engine_versions.py, and the lines below.
"""

from __future__ import annotations

import json
import posixpath
import re
import typing as t

from ..errors import GpufleetError
from . import container_engine_daemon as daemon
from . import container_engine_restart as restart
from . import container_engine_versions as versions
from . import container_toolkit_cdi as cdi
from . import container_toolkit_sources as sources

Dict = t.Dict[str, t.Any]
Map = t.Mapping[str, t.Any]

BASE = "nvidia-container-toolkit-base"
PACKAGES = ("nvidia-container-toolkit", BASE, "libnvidia-container-tools", "libnvidia-container1")
# Of old guides. nvidia-docker2 owned /etc/docker/daemon.json as a configuration file: it is removed, never purged.
OLD_PACKAGES = ("nvidia-docker2", "nvidia-docker", "nvidia-container-runtime", "nvidia-container-runtime-hook")
HOOKS = ("/usr/share/containers/oci/hooks.d/oci-nvidia-hook.json", "/etc/containers/oci/hooks.d/oci-nvidia-hook.json")
ENGINES = ("docker", "podman", "containerd", "crio")
SERVICE, PATH_UNIT = "nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path"
STATE = "/var/lib/gpufleet/nvidia_container_toolkit"
RECORD = STATE + "/proven.json"
CONTAINERD, CONTAINERD_DROP_IN = "/etc/containerd/config.toml", "/etc/containerd/conf.d/99-nvidia.toml"
CRIO_DROP_IN = "/etc/crio/crio.conf.d/99-nvidia.toml"
_NO_DOCKER: Dict = {"due": False, "text": None, "reload": False, "restart_now": False, "restart_why": "", "waits": False,
                    "problems": []}  # fmt: skip
_VERSION = re.compile(r"^\d+\.\d+\.\d+(-\d+)?$")


def look_for(wanted: Map) -> Dict:
    """What the module container_host is asked for."""
    return {
        "packages": list(PACKAGES + OLD_PACKAGES),
        "files": [RECORD, cdi.ENVIRONMENT, daemon.PATH, CONTAINERD, CONTAINERD_DROP_IN, CRIO_DROP_IN, *HOOKS, *sources.FILES],
        "units": [SERVICE, PATH_UNIT],
        "images": [wanted["proof_image"]] if wanted["proof"] else [],
        "source_addresses": sources.ADDRESSES.pattern,
    }


def follow(wanted: Map, look: Map) -> Dict:
    """``{problems, warnings, due, ...}``: each part says what is due of it, and with what."""
    problems = _check(wanted)
    used, more = _engines(wanted, look)
    problems += more
    warnings: t.List[str] = []
    packages = _packages(wanted, look)
    repository = sources.repository(wanted, look) if not problems else {"due": False, "supported": True}
    if not repository["supported"]:
        problems.append(repository["problem"])
    # Without packages to fetch, no repository is needed: a host that has them already is not told to fetch a key.
    if packages["due"] and wanted["offline"] and sources.is_vendor(wanted["repository_url"]):
        problems.append(
            "nvidia_container_toolkit_repository_url=%s is the vendor's, and nvidia_container_toolkit_offline is set: give a "
            "mirror of it, or install %s %s by other means."
            % (wanted["repository_url"], ", ".join(packages["names"]), wanted["version"])
        )
    leftovers = sources.leftovers(wanted, look, OLD_PACKAGES, HOOKS)
    try:
        docker = _docker(wanted, look, used)
    except GpufleetError as error:
        problems.append(str(error))
        docker = dict(_NO_DOCKER)
    problems += docker["problems"]
    card = _card(look)
    state: Dict = {
        "version": wanted["version"],
        "engines": {name: look["engines"][name]["version"] for name in used},
        "runtime": wanted["runtime"],
        "system": look["system"],
        "packages": packages,
        "repository": repository,
        "leftovers": leftovers,
        "docker": docker,
        "containerd": _containerd(wanted, look, used),
        "crio": _crio(wanted, look, used),
        "cdi": cdi.follow(wanted, look, used, card, packages["due"]),
        "card": card,
        "unfinished": look["unfinished"],
    }
    state["proof"] = _proof(wanted, look, state, used)
    if packages["due"] or leftovers["packages"]:
        said = restart.before_reload(look["engines"])
        warnings += [said] if said else []
    warnings += [docker["restart_why"]] if docker["restart_why"] else []
    if not used and not problems:
        warnings.append("There is no container engine on this host: the toolkit is installed, and nothing uses it yet.")
    warnings += leftovers["warnings"]
    parts = ("packages", "repository", "leftovers", "docker", "containerd", "crio", "cdi", "proof")
    state["problems"] = problems
    state["warnings"] = warnings
    state["due_parts"] = [name for name in parts if state[name]["due"]] + ["unfinished"] * bool(look["unfinished"])
    state["due_parts"] += ["stale"] * bool(state["cdi"]["stale"])
    state["due"] = bool(state["due_parts"])
    return state


def _check(wanted: Map) -> t.List[str]:
    """What makes no sense whatever the host is."""
    found = []
    if not _VERSION.match(str(wanted["version"])):
        found.append("nvidia_container_toolkit_version=%s: give a release such as 1.20.0." % wanted["version"])
    elif versions.parse(wanted["version"]) < (1, 18):
        found.append(
            "nvidia_container_toolkit_version=%s has no units that keep the CDI specification current: give 1.18.0 or newer."
            % wanted["version"]
        )
    names = wanted["packages"]
    unknown = sorted(set(names) - set(PACKAGES))
    if unknown or BASE not in names:
        found.append(
            "nvidia_container_toolkit_packages=%s: give [%s], or all of %s." % (", ".join(names), BASE, ", ".join(PACKAGES))
        )
    elif "nvidia-container-toolkit" in names and set(names) != set(PACKAGES):
        found.append(
            "nvidia_container_toolkit_packages=%s: nvidia-container-toolkit depends on the exact version of %s: give all four."
            % (", ".join(names), ", ".join(sorted(set(PACKAGES) - set(names))))
        )
    engines = wanted["engines"]
    if engines != "auto" and (isinstance(engines, str) or not set(engines) <= set(ENGINES)):
        found.append("nvidia_container_toolkit_engines=%s: give auto, or a list of %s." % (engines, ", ".join(ENGINES)))
    return found


def _engines(wanted: Map, look: Map) -> t.Tuple[t.List[str], t.List[str]]:
    """The engines to set up, and what hinders."""
    there = [name for name in ENGINES if look["engines"].get(name, {}).get("version")]
    named = wanted["engines"]
    if named == "auto":
        # Docker brings a containerd of its own, which needs nothing.
        used = [name for name in there if name != "containerd" or "docker" not in there]
    elif isinstance(named, str):
        return [], []
    else:
        used = [name for name in ENGINES if name in named and name in there]
    problems = []
    if named != "auto":
        missing = [name for name in named if name in ENGINES and name not in there]
        if missing:
            problems.append(
                "nvidia_container_toolkit_engines: %s is not on this host. The role gpufleet.llm.container_engine installs "
                "docker or podman." % ", ".join(missing)
            )
    for name in used:
        version = look["engines"][name]["version"]
        if versions.reads_cdi(name, version) or (name != "podman" and wanted["runtime"] == "legacy"):
            continue
        needed = ".".join(map(str, versions.READS_CDI[name]))
        way = (
            "set nvidia_container_toolkit_runtime to legacy (the runtime nvidia, which makes the same edits itself), or "
            "upgrade it (Docker CE: container_engine_source: docker), or leave it out: nvidia_container_toolkit_engines."
            if name != "podman"
            else "upgrade it, or leave it out: nvidia_container_toolkit_engines."
        )
        problems.append("%s %s knows no CDI, which begins with %s: %s" % (name, version, needed, way))
    return used, problems


def _packages(wanted: Map, look: Map) -> Dict:
    rpm = look["system"]["package_manager"] != "apt"
    full = str(wanted["version"]) if "-" in str(wanted["version"]) else "%s-1" % wanted["version"]
    names = [name for name in PACKAGES if name in wanted["packages"]]
    there = look["packages"]
    missing = [name for name in names if there.get(name, {}).get("state") != "installed" or not _is(there[name]["version"], full)]
    # One that is not asked for and is there at another version would break the transaction, or be broken by it.
    others = [name for name in PACKAGES if name not in names and there.get(name, {}).get("state") == "installed"]
    behind = [name for name in others if not _is(there[name]["version"], full)]
    names, missing = names + behind, missing + behind
    unheld = [name for name in names if name not in missing and not there[name]["held"]]
    return {
        "names": names,
        "specs": ["%s%s%s" % (name, "-" if rpm else "=", full) for name in names],
        "install": missing,
        "present": {name: there[name]["version"] for name in PACKAGES if there.get(name, {}).get("state") == "installed"},
        "held": [name for name in names if there.get(name, {}).get("held")],
        "hold": (missing + unheld) if wanted["hold"] else [],
        "due": bool(missing) or (bool(unheld) and wanted["hold"]),
        "install_due": bool(missing),
        "rpm": rpm,
    }


def _is(present: str, full: str) -> bool:
    """rpm says the distribution after the release, in packages that have one: 1.20.0-1.el9."""
    return present == full or present.startswith(full + ".")


def _docker(wanted: Map, look: Map, used: t.Sequence[str]) -> Dict:
    if "docker" not in used:
        return dict(_NO_DOCKER)
    docker = look["engines"]["docker"]
    file = look["files"].get(daemon.PATH, {})
    text = file.get("text")
    present = daemon.parse(text)
    version = versions.parse(docker["version"])
    ours = daemon.for_runtime(present) if wanted["runtime"] == "legacy" else daemon.for_cdi(present, version)
    merged = daemon.merge(text, ours)
    problems = []
    twice = daemon.conflicts(ours, docker.get("arguments") or []) if merged is not None else []
    if twice:
        problems.append(
            "dockerd is started with options that daemon.json needs too (%s), and does not start with both: take them out of its "
            "unit or of /etc/default/docker." % ", ".join(twice)
        )
    reload = due = False
    info = docker.get("info")
    if info:
        if wanted["runtime"] == "legacy":
            reload = "nvidia" not in info["runtimes"]  # which dockerd reads without a restart
        elif not set(info["cdi_spec_dirs"]) & set(daemon.CDI_DIRECTORIES):
            due = True
    decided = restart.decide(docker, wanted["restart_engine"], "nvidia_container_toolkit_restart_engine", due)
    return {
        # A restart that has to wait is not something that this run can do.
        "due": merged is not None or reload or decided["restart_now"],
        "text": merged,
        "mode": file.get("mode", "0644"),
        "file_new": file.get("type") != "file",
        "validate": version >= (23, 0),
        "secret": bool(re.search(r"://[^/@\s\"]+:[^/@\s\"]+@", text or "")),
        "program": docker.get("program"),
        "reload": reload,
        **decided,
        "problems": problems,
    }


def _containerd(wanted: Map, look: Map, used: t.Sequence[str]) -> Dict:
    """nvidia-ctk writes anew at each call, so it is called only where what it writes is not there."""
    if "containerd" not in used:
        return {"due": False, "configure": False, "restart": False}
    engine, files = look["engines"]["containerd"], look["files"]
    cdi_mode = wanted["runtime"] == "cdi"
    drop_in = files.get(CONTAINERD_DROP_IN, {})
    text, main = drop_in.get("text") or "", files.get(CONTAINERD, {}).get("text") or ""
    if cdi_mode and versions.parse(engine["version"]) >= (2, 0):
        return {"due": False, "configure": False, "restart": False}  # reads CDI by itself
    good = "nvidia-container-runtime" in text and "/etc/containerd/conf.d/" in main
    good = good and (not cdi_mode or bool(re.search(r"(?m)^\s*enable_cdi\s*=\s*true", text)))
    argv = ["nvidia-ctk", "runtime", "configure", "--runtime=containerd"] + (["--cdi.enabled"] if cdi_mode else [])
    stale = good and _stale(engine, drop_in)
    return {"due": not good or stale, "configure": not good, "restart": bool(engine["active"]), "argv": argv}


def _crio(wanted: Map, look: Map, used: t.Sequence[str]) -> Dict:
    """CRI-O reads CDI by itself: only the runtime nvidia has to be made known to it."""
    if "crio" not in used or wanted["runtime"] == "cdi":
        return {"due": False, "configure": False, "restart": False}
    engine, drop_in = look["engines"]["crio"], look["files"].get(CRIO_DROP_IN, {})
    good = "nvidia-container-runtime" in (drop_in.get("text") or "")
    stale = good and _stale(engine, drop_in)
    argv = ["nvidia-ctk", "runtime", "configure", "--runtime=crio"]
    return {"due": not good or stale, "configure": not good, "restart": bool(engine["active"]), "argv": argv}


def _stale(engine: Map, file: Map) -> bool:
    started = engine.get("started_at")
    return bool(engine["active"] and started and file.get("mtime_ns", 0) / 1e9 > started)


def _card(look: Map) -> Dict:
    """What there is of GPUs: device files tell that a driver works, the bus that a card is there."""
    gpu = look["gpu"]
    if gpu["devices"] and gpu["smi"]:
        return {"there": True, "works": True, "why": ""}
    if gpu["devices"]:
        return {"there": True, "works": False, "why": "the device files are there, and nvidia-smi is not"}
    if gpu["cards"]:
        return {"there": True, "works": False, "why": "there are %d NVIDIA cards, and no driver that works" % gpu["cards"]}
    return {"there": False, "works": False, "why": "there is no NVIDIA card"}


def _proof(wanted: Map, look: Map, state: Map, used: t.Sequence[str]) -> Dict:
    """A container for each engine, where it was not proven yet with just this; else what was not proven, and why."""
    image, gpu = wanted["proof_image"], look["gpu"]
    try:
        record = json.loads(look["files"].get(RECORD, {}).get("text") or "{}")
    except ValueError:
        record = {}
    proofs, hindered = [], []
    about = {"toolkit": str(wanted["version"]), "driver": gpu["driver"], "devices": gpu["devices"], "image": image}
    for name in used:
        engine = look["engines"][name]
        mine = dict(about, version=engine["version"], runtime="cdi" if name == "podman" else wanted["runtime"])
        argv = _argv(name, engine, wanted, look)
        if not state["card"]["works"]:
            hindered.append("%s: %s" % (name, state["card"]["why"]))
        elif not wanted["proof"]:
            hindered.append("%s: nvidia_container_toolkit_proof is off" % name)
        elif argv is None:
            hindered.append("%s: this role runs no container with it, try a pod with a GPU" % name)
        elif "--device=nvidia.com/gpu=all" in argv and not state["cdi"]["specification"] and not gpu["refreshable"]:
            hindered.append(
                "%s: there is no CDI specification, and %s makes none, for /lib/modules/*/modules.dep names no nvidia.ko"
                % (name, SERVICE)
            )
        elif name == "docker" and not engine["active"]:
            hindered.append("docker: it does not run")
        elif name == "docker" and state["docker"]["waits"]:
            hindered.append("docker: it has to be restarted first")
        elif record.get(name) != mine:
            pull = [] if image in engine.get("images", []) else [posixpath.basename(argv[0]), "pull", "--quiet", image]
            proofs.append({"engine": name, "argv": argv, "pull": pull, "about": mine})
    kept = {name: record[name] for name in record if name in used}
    return {
        "due": bool(proofs),
        "engines": proofs,
        "record": dict(kept, **{one["engine"]: one["about"] for one in proofs}),
        "proven": [name for name in used if name not in {line.split(":")[0] for line in hindered}],
        "not_proven": "Not proven, that containers see a GPU: %s." % "; ".join(hindered) if hindered else "",
    }


def _argv(name: str, engine: Map, wanted: Map, look: Map) -> t.Optional[t.List[str]]:
    if name not in ("docker", "podman") or not engine.get("cli"):
        return None
    words = [name, "run", "--rm", "--network=none"]
    if name == "docker" and wanted["runtime"] == "legacy":
        words += ["--runtime=nvidia", "--env=NVIDIA_VISIBLE_DEVICES=all", "--env=NVIDIA_DRIVER_CAPABILITIES=utility"]
    else:
        words.append("--device=nvidia.com/gpu=all")
    if look["system"]["selinux"]:
        words.append("--security-opt=label=disable")
    return words + [wanted["proof_image"], "nvidia-smi", "-L"]
