# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts as the module ollama_host sees them, for the tests of the role's decisions and of its unit."""

from __future__ import annotations

import copy
import json
import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama
from ansible_collections.gpufleet.llm.plugins.module_utils.models.ollama_names import Name
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama_service as service
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts

Dict = t.Dict[str, t.Any]
NEW, OLD = "0.33.2", "0.31.0"
ROLE: Dict = {
    "version": NEW, "install_path": "/opt/gpufleet/ollama", "state_path": "/var/lib/gpufleet/ollama", "state": "present",
    "tools_python": "/opt/gpufleet/tools/bin/python", "user": "ollama", "group": "ollama", "home": "", "keep": 1,
    "addons": "auto", "archive": [], "libraries": [], "allow_cpu": False, "plan": True, "offline": False, "gpu_wait_s": 60, "log_lines": 5000, "ca_file": "",
}  # fmt: skip
WANTED: Dict = {
    "version": NEW, "instances": [], "settings": {}, "env": {}, "host": "127.0.0.1", "port": 11434, "gpus": "auto",
    "models_path": "", "models": [], "expose": False, "https_proxy": "", "http_proxy": "", "no_proxy": [], "ca_file": "",
}  # fmt: skip
DIGEST = "5" * 64
VENDOR_UNIT = "/etc/systemd/system/ollama.service"
JETSON = {"environment": "jetson", "driver_version": "540.4.0"}


def wanted(**changes: t.Any) -> Dict:
    """What is asked for, as read_service returns it; it has to make sense."""
    found = service.read_service(dict(WANTED, **changes))
    assert found["problems"] == []
    return found


def role(**changes: t.Any) -> Dict:
    return dict(ROLE, **changes)


def fresh(gpus: t.Optional[str] = None, **hardware: t.Any) -> Dict:
    """A host on which nothing was done yet."""
    return {
        "architecture": "x86_64", "files": {}, "groups": ["render", "video"], "listeners": [], "os_family": "Debian",
        "hardware": ollama_hosts.host(gpus, **hardware), "others": {}, "releases": {}, "selinux": False, "sources": {},
        "stores": {}, "units": {}, "user": None, "zstd": True,
    }  # fmt: skip


def unit(**changes: t.Any) -> Dict:
    """One that runs as it should."""
    return dict(
        {
            "active": True, "enabled": True, "exists": True, "stale": False, "needs_daemon_reload": False, "version": NEW,
            "loaded": True, "loaded_models": [], "fragment_path": "", "drop_in_paths": [], "user": "ollama", "models_path": "", "port": 11434,
        },
        **changes
    )  # fmt: skip


GONE = {
    "active": False, "enabled": False, "exists": False, "version": None,
}  # fmt: skip


def account(**changes: t.Any) -> Dict:
    return dict({"uid": 990, "home": "/var/lib/ollama", "groups": ["ollama", "render", "video"]}, **changes)


def release(**changes: t.Any) -> Dict:
    return dict({"complete": True, "addons": [], "libraries": None}, **changes)


def model(name: str, digest: str = DIGEST, **changes: t.Any) -> Dict:
    """One that was asked for by its name, and is in a store."""
    return dict(
        {
            "name": Name.parse(name).short, "digest": digest, "size": 5, "problems": [], "blob": "/blobs/" + digest,
            "manifest": {}, "config": {},
        },
        **changes
    )  # fmt: skip


def store(*models: Dict, **changes: t.Any) -> Dict:
    return dict({"exists": True, "blocked": None, "missing": [], "free_bytes": 1 << 40, "models": list(models)}, **changes)


def answer(asked: Dict, look: Dict, given: Dict) -> Dict:
    """``look`` with everything in it that ``look_for`` asks for."""
    options = ollama.look_for(asked, given)
    full = copy.deepcopy(look)
    for path in options["files"]:
        full["files"].setdefault(path, {"type": "absent"})
    for one in options["units"]:
        full["units"].setdefault(one["name"], unit(**GONE))
    full["groups"] = [name for name in full["groups"] if name in options["groups"]]
    if full["user"]:
        full["groups"] += [name for name in full["user"]["groups"] if name in options["groups"]]
    return full


def follow(asked: Dict, look: Dict, given: t.Optional[Dict] = None, facts: t.Optional[Dict] = None) -> Dict:
    given = given or ROLE
    return ollama.follow(asked, answer(asked, look, given), given, facts)


def text(content: str) -> Dict:
    return {"type": "file", "text": content}


def done(asked: Dict, look: Dict, facts: t.Optional[Dict] = None, given: t.Optional[Dict] = None) -> Dict:
    """The host after a run that brought it to what is asked for."""
    state = follow(asked, look, given, facts)
    assert state["problems"] == [] and state["unread"] == []
    after = copy.deepcopy(look)
    path = ROLE["install_path"] + "/"
    after["files"][path + "current"] = {"type": "link", "target": NEW}
    after["files"][ollama.CLI] = {"type": "link", "target": path + "current/bin/ollama"}
    after["releases"] = {NEW: release(addons=state["addons"])}
    after["user"] = look["user"] or account()
    for one in state["instances"]:
        after["files"][one["unit_path"]] = text(one["unit_wanted"])
        after["files"][one["plan_path"]] = text(json.dumps(one["plan"]))
        after["files"][one["proven_path"]] = text("{}")
        fragment = one["status"]["fragment_path"] or one["own_unit_path"]
        after["units"][one["unit"]] = unit(fragment_path=fragment, models_path=one["store"], port=one["port"])
        after["stores"].setdefault(one["store"], store())
    return after
