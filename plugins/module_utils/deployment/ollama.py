# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows for a host from what is wanted of Ollama and one look at it. Pure: it only compares.

``service`` is ollama_service.read_service's answer, ``look`` what the module ollama_host returned, ``role`` the
paths and switches of the role, ``facts`` the model facts that were read in this run, by digest of the model.
"""

from __future__ import annotations

import json
import posixpath
import re
import typing as t

from ..engines.ollama import due
from ..engines.ollama.wish import SOURCES
from ..models.ollama_names import Name
from ..planning.facts import read_host
from . import device_nodes, ollama_service, ollama_unit
from .ollama_service import SYSTEM, listed

Dict = t.Dict[str, t.Any]

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
DEFAULT_STORE = "/srv/models/ollama"
DEFAULT_HOME = "/var/lib/ollama"
GPU_GROUPS = ("render", "video")
CLI = "/usr/local/bin/ollama"
LEAST_UID = 1000  # of people, on every distribution of today
TEGRA = "/etc/nv_tegra_release"
WATCHES = "/etc/gpufleet/watchdog"


def paths(instance: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any]) -> Dict:
    """Where what belongs to an instance lies, but for what the host decides."""
    state = posixpath.join(role["state_path"], instance["name"])
    return {
        "state_path": state,
        "plan_path": posixpath.join(state, "plan.json"),
        "proven_path": posixpath.join(state, "proven.json"),
        "record_path": posixpath.join(state, "models.json"),
        "own_unit_path": "/etc/systemd/system/" + instance["unit"],
        # The last of all, after what `systemctl edit` writes.
        "drop_in_path": "/etc/systemd/system/%s.d/zz-gpufleet.conf" % instance["unit"],
    }


def look_for(service: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any]) -> Dict:
    """The options of the module ollama_host that answer all questions of ``follow``."""
    files = [CLI, TEGRA, posixpath.join(role["install_path"], "current")]
    units, stores, names, sources, records = [], [DEFAULT_STORE], [], [], []
    for instance in service["instances"]:
        places = paths(instance, role)
        own = [places["own_unit_path"], places["drop_in_path"]]
        files += own + [places["plan_path"], places["proven_path"], places["record_path"], watch_path(instance["unit"])]
        records.append(places["record_path"])
        units.append({"name": instance["unit"], "url": instance["url"], "files": own})
        if instance["models_path"]:
            stores.append(instance["models_path"])
        for model in instance["models"]:
            names.append(model["name"])
            sources += due.files_of(model)
    return {
        "files": files,
        "groups": list(dict.fromkeys(GPU_GROUPS + (role["group"],))),
        "install_path": role["install_path"],
        "mark": ollama_unit.MARK,
        "names": list(dict.fromkeys(names)),
        "records": records,
        "sources": list(dict.fromkeys(sources)),
        "stores": list(dict.fromkeys(stores)),
        "tools_python": role["tools_python"],
        "units": units,
        "user": role["user"],
    }


def follow(
    service: t.Mapping[str, t.Any],
    look: t.Mapping[str, t.Any],
    role: t.Mapping[str, t.Any],
    facts: t.Optional[t.Mapping[str, t.Optional[Dict]]] = None,
) -> Dict:
    """The host and its instances as they shall be, and what of that is not so yet.

    A plan that is due is made as soon as the facts of its models are known; ``unread`` are the models that lack them.
    Facts that are None could not be read: such a model is served, and not planned for.
    """
    return _Follower(service, look, role, facts or {}).run()


def due_now(state: t.Mapping[str, t.Any]) -> bool:
    """Whether anything is to be done."""
    if any(state[key] for key in ("account_due", "release_due", "links_due", "unwanted")):
        return True
    return any(one["unit_due"] or one["service_due"] or one["plan_new"] or one["models_due"] for one in state["instances"])


def watch_path(unit: str) -> str:
    """What the role watchdog writes for a unit."""
    return posixpath.join(WATCHES, unit[: -len(".service")] + ".json")


class _Follower:
    def __init__(self, service: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any],
                 facts: t.Mapping[str, t.Optional[Dict]]) -> None:  # fmt: skip
        self.service, self.look, self.role, self.facts = service, look, role, facts
        self.unread: t.Dict[str, Dict] = {}
        self.problems: t.List[str] = []
        self.warnings: t.List[str] = []
        self.vendor = self._vendor()
        self.libraries = listed(role["libraries"])
        units = list(look["units"].values()) + list(look["others"].values())
        self.own_ports = {unit["port"] for unit in units if unit["active"]}

    def run(self) -> Dict:
        role, look = self.role, self.look
        version = role["version"]
        account = look["user"]
        home = role["home"] or (account["home"] if account and account["home"] not in SYSTEM else DEFAULT_HOME)
        if look["architecture"] not in ARCHITECTURES:
            self.problems.append(
                "Ollama has no release for %s: there are amd64 (x86_64) and arm64 (aarch64)." % look["architecture"]
            )
        groups = [name for name in GPU_GROUPS if name in look["groups"]]
        if account and role["group"] not in look["groups"]:
            self.problems.append(
                "the user %s is there and the group %s is not: set ollama_group to one of its groups (%s)."
                % (role["user"], role["group"], ", ".join(account["groups"]))
            )
        addons = self._addons()
        release = look["releases"].get(version)
        instances: t.List[Dict] = []
        for instance in self.service["instances"]:
            instances.append(self._instance(dict(instance), home, instances))
        current = look["files"][posixpath.join(role["install_path"], "current")]
        cli = look["files"][CLI]
        cli_target = posixpath.join(role["install_path"], "current/bin/ollama")
        unwanted = self._unwanted()
        stores = dict.fromkeys(one["store"] for one in instances + unwanted if one["store"])
        # An account that people log in with is not the service's to remove.
        service_account = account is None or account["uid"] < LEAST_UID
        return {
            "home": home,
            "stores": [store for store in stores if look["stores"].get(store, {}).get("exists")],
            "home_removed": home if service_account else posixpath.join(home, ".ollama"),
            "user_removed": service_account,
            "groups": groups,
            "account_due": account is None or not set(groups) <= set(account["groups"]),
            "addons": addons,
            "release_path": posixpath.join(role["install_path"], version),
            "release_due": release is None or not release["complete"] or release["addons"] != addons
            or release["libraries"] != (sorted(self.libraries) or None),
            "zstd_due": not look["zstd"] and _version(version) >= (0, 14),
            "links_due": current.get("target") != version or cli.get("target") != cli_target,
            # Versions go when another comes into use, and not this one: what failed to start is no reason to forget it.
            "previous": current["target"] if current.get("target", version) != version else "",
            "instances": instances,
            "unwanted": unwanted,
            "watches": self._watches(instances) + [{"unit": one["unit"], "state": "absent"} for one in unwanted],
            "hardware": look["hardware"],
            "os_family": look["os_family"],
            "selinux": look["selinux"],
            "user_exists": account is not None,
            "unread": list(self.unread.values()),
            # What is in the way of serving is not in the way of removing.
            "problems": [] if role["state"] == "absent" else self.problems,
            "warnings": self.warnings,
        }

    def _vendor(self) -> str:
        """nvidia, amd or nothing: whose cards Ollama is to use here."""
        vendors = [card["vendor"] for card in self.look["hardware"]["accelerators"]]
        return next((vendor for vendor in ("nvidia", "amd") if vendor in vendors), "")

    def _addons(self) -> t.List[str]:
        if self.role["addons"] != "auto":
            return sorted(listed(self.role["addons"]))
        if self.role["archive"]:
            return []  # of files that were brought along, only the user knows what they are
        if self.vendor == "amd":
            return ["rocm"]
        if self.look["hardware"]["environment"] == "jetson":
            # Jetson Linux R35 is JetPack 5, R36 is JetPack 6; what comes later has the drivers of other machines.
            release = re.search(r"# R(\d+)", self.look["files"][TEGRA].get("text", ""))
            return {"35": ["jetpack5"], "36": ["jetpack6"]}.get(release.group(1) if release else "", [])
        return []

    def _instance(self, one: Dict, home: str, before: t.List[Dict]) -> Dict:
        one.update(paths(one, self.role))
        status = self.look["units"][one["unit"]]
        own = self.look["files"][one["own_unit_path"]]
        ours = ollama_unit.MARK in own.get("text", "")
        one["status"], one["exists"] = status, status["exists"]
        one["files"] = [one["own_unit_path"], one["drop_in_path"]]
        one["adopted"] = bool(status["fragment_path"]) and not ours
        one["unit_path"] = one["drop_in_path"] if one["adopted"] else one["own_unit_path"]
        one["unit_text"] = self.look["files"][one["unit_path"]].get("text", "")
        others = [path for path in status["drop_in_paths"] if path != one["drop_in_path"]]
        if one["adopted"] and others and not one["unit_text"]:
            self.warnings.append(
                "%s stays, but %s comes after it: environment variables, commands and limits in there are not in force any "
                "more. Give them as variables of this role." % (" and ".join(others), one["drop_in_path"])
            )
        one["proven"] = self.look["files"][one["proven_path"]]["type"] == "file"
        one["home"] = home
        one["store"] = self._store(one, home)
        store = self.look["stores"].get(one["store"], {})
        one["directories"] = self._directories(one, store)
        blocked = store.get("blocked")
        if blocked:
            self.problems.append(
                "models_path=%s of instance %s: the user %s may not pass through %s. Let it (chmod o+x, or a group), or "
                "choose a place elsewhere, such as %s."
                % (one["store"], one["name"], self.role["user"], blocked, DEFAULT_STORE)
            )
        one["prunes"] = all(other["store"] != one["store"] for other in before)
        one["gpu"] = self._gpu(one)
        place = self.look["hardware"]["environment"]
        one["devices"] = device_nodes.nodes(one["gpu"], place)
        if one["port"] in self.look["listeners"] and one["port"] not in self.own_ports:
            self.problems.append(
                "port %d of instance %s is taken by something else. Give it another port, or stop what listens there "
                "(`ss -ltnp` says what)." % (one["port"], one["name"])
            )
        one["service_due"] = bool(
            status["stale"] or status["needs_daemon_reload"] or not (status["active"] and status["enabled"])
            or status["version"] is None or not one["proven"]
        )  # fmt: skip
        self._plan(one, before)
        self._models(one)
        one["unit_wanted"] = ollama_unit.text(one, self.role, place)
        one["unit_due"] = one["unit_text"] != one["unit_wanted"]
        return one

    def _watches(self, instances: t.List[Dict]) -> t.List[Dict]:
        """What the role watchdog is to look after, and what of it no longer. Nothing where nothing is on a GPU."""
        found = []
        for one in instances:
            if self.role["state"] != "absent" and one["gpu"] and self.role.get("watchdog"):
                found.append(self._watch(one))
            elif self.look["files"].get(watch_path(one["unit"]), {}).get("type") == "file":
                found.append({"unit": one["unit"], "state": "absent"})
        return found

    def _watch(self, one: Dict) -> Dict:
        plan, cards = one["plan"] or {}, self.look["hardware"]["accelerators"]
        devices = list(plan.get("devices") or [])
        bare = self.look["hardware"]["environment"] in ("bare", "container")
        planned = [model["name"] for model in plan.get("models") or [] if model["runs_on"] == "gpu"]
        return {
            "unit": one["unit"],
            "url": one["url"],
            "engine": "ollama",
            # It would keep a model in memory that nobody uses, and Ollama has no figures that tell a busy server from a hung one.
            "probe": False,
            "devices": devices,
            "gpu_models": [] if self.role["allow_cpu"] else planned,
            "nodes": one["devices"],
            "pci_addresses": [card["pci_bus_id"] for card in cards if card.get("uuid") in devices and card.get("pci_bus_id")],
            "kernel_module": {"nvidia": "nvidia", "amd": "amdgpu"}[one["gpu"]] if bare else "",
            "start_s": int(self.role["gpu_wait_s"]) + int(self.role["ready_timeout_s"]),
        }

    def _directories(self, one: Dict, store: t.Mapping[str, t.Any]) -> t.List[Dict]:
        """What has to be there. What is there keeps its group and its mode, which somebody may have chosen."""
        account = self.look["user"]
        service = {"owner": self.role["user"]}
        new = dict(service, group=self.role["group"], mode="0755")
        root = {"owner": "root", "group": "root", "mode": "0755"}
        found = [dict(root, path=one["state_path"])]
        found.append(dict(service if account and account["home"] == one["home"] else new, path=one["home"]))
        for parent in store.get("missing", []):
            if not one["home"].startswith(parent):
                inside = parent.startswith(one["home"] + "/")
                found.append(dict(new if inside else root, path=parent))
        found.append(dict(service if store.get("exists") else new, path=one["store"]))
        return found

    def _store(self, one: Dict, home: str) -> str:
        """As asked for; else where the models are already, for nothing may be lost when a host is adopted."""
        if one["models_path"]:
            return one["models_path"]
        if one["status"]["models_path"]:
            return one["status"]["models_path"]
        old = posixpath.join(home, ".ollama/models")
        if one["adopted"] or self.look["stores"].get(old, {}).get("models"):
            return old
        return DEFAULT_STORE

    def _gpu(self, one: Dict) -> str:
        if not self.vendor or str(one["gpus"]).lower() in ("none", "0"):
            return ""
        from ..planning.ollama import schedule  # what a host without GPUs does not pay

        host = read_host(self.look["hardware"])
        found = [schedule.why_unusable(device, host) for device in host.devices]
        # Older ones came with libraries for older drivers.
        new = _version(self.role["version"]) >= (0, 30)
        reasons = [why[1] for why in found if why and (new or why[0] != "driver_too_old")]
        if len(reasons) < len(found):
            return self.vendor
        if not self.role["allow_cpu"]:
            self.problems.append(
                "%s. Ollama would run on the CPU without a word. Set ollama_gpus to none or ollama_allow_cpu to true if "
                "that is what you want." % "; ".join(reason.rstrip(".") for reason in reasons)
            )
        return ""

    def _unwanted(self) -> t.List[Dict]:
        """Instances that an earlier run set up and that are not in the list any more."""
        found = []
        for unit, status in sorted(self.look["others"].items()):
            one = {"name": status["instance"], "unit": unit, "exists": status["exists"], "store": status["models_path"]}
            one.update(paths(one, self.role))
            # Its record of what models were made from stays, as they do.
            one["files"] = [one[key] for key in ("own_unit_path", "drop_in_path", "plan_path", "proven_path")]
            found.append(one)
        return found

    def _plan(self, one: Dict, before: t.List[Dict]) -> None:
        """The plan to use, and whether one is to be made: the kept one is good as long as its inputs are the same."""
        found = {Name.parse(entry["name"]).key: entry for entry in self._there(one)}
        known = []
        for model in one["models"]:
            if model.get("state", "present") in ("absent", "unloaded"):
                continue
            entry = found.get(Name.parse(model["name"]).key)
            if entry and entry.get("blob"):
                known.append(dict(entry, name=model["name"], parameters=model.get("parameters") or {}))
        one["known"] = known
        # Shows by its answer that the server works.
        one["asked"] = Name.parse(known[0]["name"]).short if known else ""
        one["plan"], one["plan_new"] = None, False
        if self.role["state"] == "absent" or not (self.role["plan"] and known and _version(self.role["version"]) >= (0, 30)):
            return
        reserved = [claim for other in before for claim in _claims(other)]
        inputs = ollama_service.plan_key(
            one, self.role["version"], self.look["hardware"],
            [(model["name"], model["digest"], model["parameters"]) for model in known], reserved,
        )  # fmt: skip
        kept = _json(self.look["files"][one["plan_path"]].get("text", ""))
        if kept.get("inputs") == inputs:
            one["plan"] = kept
            return
        unread = {model["digest"]: model for model in known if model["digest"] not in self.facts}
        if unread:
            self.unread.update(unread)
            return
        models = [
            {"name": model["name"], "parameters": model["parameters"], "model": self.facts[model["digest"]]}
            for model in known
            if self.facts[model["digest"]]
        ]
        if not models:
            return
        from ..planning.ollama import planner  # a third of a second, which a run that finds all well does not pay

        options = {
            "models": models,
            "settings": one["settings"],
            "gpus": one["gpus"],
            "engine_version": self.role["version"],
            "own_units": [instance["unit"] for instance in self.service["instances"]],
            "reserved": reserved,
        }
        plan = planner.make_plan(self.look["hardware"], options)
        if plan["refusal"]:
            remedies = "; ".join(plan["refusal"]["remedies"])
            self.problems.append(
                "%s: %s What would help: %s." % (one["name"], plan["refusal"]["message"], remedies)
            )
        self.warnings += plan["warnings"]
        one["plan"], one["plan_new"] = dict(plan, inputs=inputs), True

    def _models(self, one: Dict) -> None:
        if one["plan"] and one["plan"]["models"]:
            one["asked"] = Name.parse(one["plan"]["models"][0]["name"]).short  # it is known where that one runs
        record = _json(self.look["files"][one["record_path"]].get("text", ""))
        there = self._there(one)
        damaged = {Name.parse(entry["name"]).key: entry["problems"] for entry in there if entry["problems"]}
        one["environment"] = ollama_service.environment(one, one["plan"], one["home"], one["store"], one["prunes"])
        if one["plan"] is None:
            one["environment"].update(self._chosen_gpus(one))
        one["models_due"] = []
        for model in one["models"]:
            reasons = due.reasons(model, there, one["status"]["loaded_models"], record, self.look["sources"])
            reasons += damaged.get(Name.parse(model["name"]).key, [])
            made = [key for key in SOURCES if model.get(key)]
            if reasons and self.role["offline"] and not made and model.get("state") not in ("absent", "unloaded"):
                if reasons != ["it is not loaded"]:
                    self.problems.append(
                        "%s of instance %s would be pulled (%s), and ollama_offline forbids it: bring it with ollama_bundle, "
                        "or set ollama_offline to false for a registry of your own."
                        % (model["name"], one["name"], "; ".join(reasons))
                    )
            if reasons:
                one["models_due"].append(dict(model, reasons=reasons))

    def _chosen_gpus(self, one: Dict) -> Dict:
        """What a plan would set: without one, each instance would see all cards."""
        if str(one["gpus"]).lower() in ("none", "0"):
            return dict.fromkeys(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES"), "-1")
        if not one["gpu"] or not isinstance(one["gpus"], list):
            return {}
        # An index may mean another card to CUDA than to the driver, a UUID does not.
        names = {str(card["index"]): card.get("uuid") for card in self.look["hardware"]["accelerators"]}
        chosen = [str(names.get(str(gpu)) or gpu) for gpu in one["gpus"]]
        return {"CUDA_VISIBLE_DEVICES" if one["gpu"] == "nvidia" else "ROCR_VISIBLE_DEVICES": ",".join(chosen)}

    def _there(self, one: Dict) -> t.List[Dict]:
        return self.look["stores"].get(one["store"], {}).get("models", [])


def _claims(instance: Dict) -> t.List[Dict]:
    """What the plan of an instance takes on the GPUs, for those planned after it."""
    plan = instance["plan"]
    if not plan:
        return []
    taken: t.Dict[str, int] = {}
    for model in plan["models"]:
        sizes = plan["numbers"]["models"][model["name"]]["gpu_bytes"]
        for device, size in zip(model["devices"], sizes):
            taken[device] = taken.get(device, 0) + int(size)
    return [{"device": device, "bytes": size, "unit": instance["unit"]} for device, size in sorted(taken.items())]


def _json(text: str) -> Dict:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _version(text: str) -> t.Tuple[int, ...]:
    return tuple(int(part) for part in text.partition("-")[0].split("."))
