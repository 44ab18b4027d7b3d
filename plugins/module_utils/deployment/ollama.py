# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows for a host from what is wanted of Ollama and one look at it. Pure: it only compares.

``service`` is planning.ollama.service.read_service's answer, ``look`` what the module ollama_host returned, ``role`` the
paths and switches of the role, ``facts`` the model facts that were read in this run, by digest of the model.
"""

from __future__ import annotations

import json
import posixpath
import typing as t

from ..engines.ollama import due
from ..engines.ollama.wish import ADDITIONS, SOURCES, Wish
from ..errors import GpufleetError
from ..models.ollama_names import Name
from ..planning.ollama import service as ollama_service

Dict = t.Dict[str, t.Any]

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
DEFAULT_STORE = "/srv/models/ollama"
DEFAULT_HOME = "/var/lib/ollama"
MODEL_OPTIONS = tuple(
    sorted(SOURCES + ADDITIONS + ("name", "state", "digest", "keep_alive", "insecure", "timeout", "stall_timeout"))
)
ADDONS = ("rocm", "jetpack5", "jetpack6", "mlx")
GPU_GROUPS = ("render", "video")
UNIT_MARK = "X-GpufleetInstance="
CLI = "/usr/local/bin/ollama"
_VENDOR_DEVICES = {"nvidia": ["/dev/nvidiactl", "/dev/nvidia-uvm"], "amd": ["/dev/kfd"]}


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


def problems(service: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any]) -> t.List[str]:
    """What makes no sense among the models and the role's own switches, as sentences."""
    found = []
    if isinstance(role["keep"], bool) or not str(role["keep"]).isdigit():
        found.append("ollama_keep_versions=%s: give how many earlier versions stay, 0 or more." % role["keep"])
    if role["addons"] != "auto" and not (isinstance(role["addons"], list) and set(role["addons"]) <= set(ADDONS)):
        found.append("ollama_addons=%s: give auto or a list of %s." % (role["addons"], ", ".join(ADDONS)))
    for instance in service["instances"]:
        for model in instance["models"]:
            try:
                unknown = sorted(set(model) - set(MODEL_OPTIONS))
                if unknown:
                    known = ", ".join(MODEL_OPTIONS)
                    raise GpufleetError("%s: a model has no such option. There are: %s." % (unknown[0], known))
                Wish.parse(model)
            except GpufleetError as error:
                found.append("ollama_models[%s]: %s" % (model["name"], error))
    return found


def look_for(service: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any]) -> Dict:
    """The options of the module ollama_host that answer all questions of ``follow``."""
    files = [CLI, posixpath.join(role["install_path"], "current")]
    units, stores, names, sources, records = [], [DEFAULT_STORE], [], [], []
    for instance in service["instances"]:
        places = paths(instance, role)
        own = [places["own_unit_path"], places["drop_in_path"]]
        files += own + [places["plan_path"], places["proven_path"], places["record_path"]]
        records.append(places["record_path"])
        units.append({"name": instance["unit"], "url": instance["url"], "files": own})
        if instance["models_path"]:
            stores.append(instance["models_path"])
        for model in instance["models"]:
            names.append(model["name"])
            sources += due.files_of(model)
    return {
        "files": files,
        "groups": list(GPU_GROUPS),
        "install_path": role["install_path"],
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
    facts: t.Optional[t.Mapping[str, Dict]] = None,
) -> Dict:
    """The host and its instances as they shall be, and what of that is not so yet.

    A plan that is due is made as soon as the facts of its models are known; ``unread`` are the models that lack them.
    """
    return _Follower(service, look, role, facts or {}).run()


def due_now(state: t.Mapping[str, t.Any]) -> bool:
    """Whether anything is to be done, but for the text of a unit, which the role renders."""
    if any(state[key] for key in ("account_due", "release_due", "links_due")):
        return True
    return any(one["service_due"] or one["plan_new"] or one["models_due"] for one in state["instances"])


class _Follower:
    def __init__(self, service: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any],
                 facts: t.Mapping[str, Dict]) -> None:  # fmt: skip
        self.service, self.look, self.role, self.facts = service, look, role, facts
        self.unread: t.Dict[str, Dict] = {}
        self.problems: t.List[str] = []
        self.warnings: t.List[str] = []
        self.vendor = self._vendor()

    def run(self) -> Dict:
        role, look = self.role, self.look
        version = role["version"]
        account = look["user"]
        home = role["home"] or (account["home"] if account else DEFAULT_HOME)
        if look["architecture"] not in ARCHITECTURES:
            self.problems.append(
                "Ollama has no release for %s: there are amd64 (x86_64) and arm64 (aarch64)." % look["architecture"]
            )
        groups = look["groups"]
        addons = self._addons()
        release = look["releases"].get(version)
        instances: t.List[Dict] = []
        for instance in self.service["instances"]:
            instances.append(self._instance(dict(instance), home, instances))
        current = look["files"][posixpath.join(role["install_path"], "current")]
        cli = look["files"][CLI]
        cli_target = posixpath.join(role["install_path"], "current/bin/ollama")
        return {
            "home": home,
            "groups": groups,
            "account_due": account is None or not set(groups) <= set(account["groups"]),
            "addons": addons,
            "release_path": posixpath.join(role["install_path"], version),
            "release_due": release is None or not release["complete"] or release["addons"] != addons
            or release["libraries"] != (sorted(role["libraries"]) or None),
            "zstd_due": not look["zstd"] and release is None and _version(version) >= (0, 14),
            "links_due": current.get("target") != version or cli.get("target") != cli_target,
            "cli_target": cli_target,
            # Versions go when another comes into use, and not this one: what failed to start is no reason to forget it.
            "previous": current["target"] if current.get("target", version) != version else "",
            "vendor": self.vendor,
            "instances": instances,
            "hardware": look["hardware"],
            "selinux": look["selinux"],
            "user_exists": account is not None,
            "unread": list(self.unread.values()),
            "problems": self.problems,
            "warnings": self.warnings,
        }

    def _vendor(self) -> str:
        """nvidia, amd or nothing: whose cards Ollama is to use here."""
        vendors = [card["vendor"] for card in self.look["hardware"]["accelerators"]]
        return next((vendor for vendor in ("nvidia", "amd") if vendor in vendors), "")

    def _addons(self) -> t.List[str]:
        if self.role["addons"] != "auto":
            return sorted(self.role["addons"])
        if self.role["archive"]:
            return []  # of files that were brought along, only the user knows what they are
        if self.vendor == "amd":
            return ["rocm"]
        if self.look["hardware"]["environment"] == "jetson":
            # JetPack 5 has drivers of the 535 branch, JetPack 6 of 540 and later.
            driver = str(self.look["hardware"]["driver_version"] or "")
            return ["jetpack5"] if driver.startswith("35") else ["jetpack6"]
        return []

    def _instance(self, one: Dict, home: str, before: t.List[Dict]) -> Dict:
        one.update(paths(one, self.role))
        status = self.look["units"][one["unit"]]
        own = self.look["files"][one["own_unit_path"]]
        ours = UNIT_MARK in own.get("text", "")
        one["status"] = status
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
        blocked = self.look["stores"].get(one["store"], {}).get("blocked")
        if blocked:
            self.problems.append(
                "models_path=%s of instance %s: the user %s may not pass through %s. Let it (chmod o+x, or a group), or "
                "choose a place elsewhere, such as %s."
                % (one["store"], one["name"], self.role["user"], blocked, DEFAULT_STORE)
            )
        one["prunes"] = all(other["store"] != one["store"] for other in before)
        one["gpu"] = self._gpu(one)
        one["devices"] = _VENDOR_DEVICES.get(one["gpu"], [])
        if one["port"] in self.look["listeners"] and not status["active"]:
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
        return one

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
        usable = [card for card in self.look["hardware"]["accelerators"] if card.get("usable")]
        if not usable and not self.role["allow_cpu"]:
            card = self.look["hardware"]["accelerators"][0]
            self.problems.append(
                "%s cannot be used: %s Ollama would run on the CPU without a word. Set ollama_gpus to none or "
                "ollama_allow_cpu to true if that is what you want." % (card["name"], card.get("problem") or "")
            )
        return self.vendor if usable else ""

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
        if not (self.role["plan"] and known and _version(self.role["version"]) >= (0, 30)):
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
        from ..planning.ollama import planner  # a third of a second, which a run that finds all well does not pay

        options = {
            "models": [
                {"name": model["name"], "parameters": model["parameters"], "model": self.facts[model["digest"]]}
                for model in known
            ],
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
        one["plan"], one["plan_new"] = dict(plan, inputs=inputs), True

    def _models(self, one: Dict) -> None:
        record = _json(self.look["files"][one["record_path"]].get("text", ""))
        there = self._there(one)
        one["environment"] = ollama_service.environment(one, one["plan"], one["home"], one["store"], one["prunes"])
        one["models_due"] = []
        for model in one["models"]:
            reasons = due.reasons(model, there, one["status"]["loaded"], record, self.look["sources"])
            name = Name.parse(model["name"])
            reasons += [
                problem for entry in there if Name.parse(entry["name"]).key == name.key for problem in entry["problems"]
            ]
            if reasons:
                one["models_due"].append(dict(model, reasons=reasons))

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
