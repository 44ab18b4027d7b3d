#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_host
short_description: See in one look what an Ollama host has
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns at once everything that decides what is to be done on a host that serves models with Ollama. Its hardware,
    the files, accounts and units of the service, the models in the stores, and whether the servers answer.
  - The role P(gpufleet.llm.ollama#role) compares this with what is wanted. So a run on a host where all is well is one
    look and no more.
  - Changes nothing. Needs nothing but Python.
options:
  files:
    description: Files whose state and text are wanted.
    type: list
    elements: path
    default: []
  groups:
    description: Groups of which it is to be said whether they exist.
    type: list
    elements: str
    default: []
  install_path:
    description: Where the releases are installed.
    type: path
    default: /opt/gpufleet/ollama
  mark:
    description:
      - How a line of a unit begins that names the instance it is for. Such units of Ollama that are not in O(units) are
        returned as RV(others).
    type: str
    default: ""
  names:
    description:
      - Names of models whose manifests are wanted, from every store that has them, for
        M(gpufleet.llm.model_info).
    type: list
    elements: str
    default: []
  records:
    description: Records of M(gpufleet.llm.ollama_model). The files that models were made from are looked at too.
    type: list
    elements: path
    default: []
  sources:
    description:
      - Files and directories of which size, time of change and inode are wanted, for models that are made from them.
    type: list
    elements: path
    default: []
  stores:
    description:
      - Directories with models. The one of a unit that exists is looked at too, and C(.ollama/models) in the home of
        O(user).
    type: list
    elements: path
    default: []
  timeout:
    description: Seconds that a probe of the hardware or a question to a server may take.
    type: int
    default: 15
  tools_python:
    description: The Python that has nvidia-ml-py, as in M(gpufleet.llm.gpu_info).
    type: path
    default: /opt/gpufleet/tools/bin/python
  units:
    description: The systemd units, with what belongs to each.
    type: list
    elements: dict
    default: []
    suboptions:
      files:
        description: The files that it reads when it starts.
        type: list
        elements: path
        default: []
      name:
        description: Name of the unit.
        type: str
        required: true
      url:
        description: Where its server is to be asked for its version and for what it has loaded.
        type: str
        required: true
  user:
    description: The account that the service runs as.
    type: str
    default: ollama
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.ollama_info
  - module: gpufleet.llm.gpu_info
"""

EXAMPLES = r"""
- name: Look at the host
  gpufleet.llm.ollama_host:
    units:
      - name: ollama.service
        url: http://127.0.0.1:11434
    stores: [/srv/models/ollama]
  register: look
"""

RETURN = r"""
architecture:
  description: As C(uname -m) says it.
  type: str
  returned: success
  sample: x86_64
files:
  description:
    - By path the C(type) (V(absent), V(file), V(directory), V(link) or V(other)), C(mode), C(owner), C(group), C(size)
      in bytes, C(mtime_ns), C(inode), a link's C(target) and a file's C(text).
  type: dict
  returned: success
groups:
  description: Those of O(groups) that exist.
  type: list
  elements: str
  returned: success
hardware:
  description: Hardware facts, as M(gpufleet.llm.gpu_info) returns them.
  type: dict
  returned: success
listeners:
  description: TCP ports that something listens on.
  type: list
  elements: int
  returned: success
os_family:
  description: V(Debian), V(RedHat), V(Suse), V(Archlinux) or the distribution's own word for itself.
  type: str
  returned: success
others:
  description:
    - Units with O(mark) that are not in O(units), by name, with the C(instance), whether systemd knows that it
      C(exists) and it is C(active), and C(models_path) and C(port) of its server.
  type: dict
  returned: success
releases:
  description: Installed releases by version, with C(addons), C(libraries) and whether they are C(complete).
  type: dict
  returned: success
selinux:
  description: Whether SELinux labels files.
  type: bool
  returned: success
sources:
  description: Size, C(mtime_ns) and C(inode) by path, of those of O(sources) that exist.
  type: dict
  returned: success
stores:
  description:
    - By directory, whether it C(exists), C(free_bytes), the directory above it where O(user) is C(blocked), those above
      it that are C(missing), and the C(models) in it.
    - A model has C(name), C(digest), C(size) and a list of C(problems). One of O(names) has its C(manifest), the
      C(config) that this names, and the path of the C(blob) with the weights, null where there are several.
  type: dict
  returned: success
units:
  description:
    - By name, the status as M(gpufleet.llm.unit_status) returns it, whether the unit C(exists), and its
      C(fragment_path), C(drop_in_paths), C(user), C(models_path) and C(port).
    - Of its server, C(version), null when it does not answer, and C(loaded_models).
  type: dict
  returned: success
user:
  description: C(uid), C(home) and C(groups) of O(user), or null.
  type: dict
  returned: success
zstd:
  description: Whether there is a program C(zstd).
  type: bool
  returned: success
"""

import json
import os
import platform
import re
import shlex
import shutil
import typing as t

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.engines import connection
    from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama import sources
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import TOOLS_PYTHON, run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
    from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import facts
    from ansible_collections.gpufleet.llm.plugins.module_utils.models.ollama_names import Name
    from ansible_collections.gpufleet.llm.plugins.module_utils.services import host_look, systemd_unit
    from ansible_collections.gpufleet.llm.plugins.module_utils.software.releases import Place
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.store import Store
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.engines import connection
    from module_utils.engines.ollama import sources
    from module_utils.entry import TOOLS_PYTHON, run
    from module_utils.errors import GpufleetError
    from module_utils.hardware import facts
    from module_utils.models.ollama_names import Name
    from module_utils.services import host_look, systemd_unit
    from module_utils.software.releases import Place
    from module_utils.transfer.ollama.store import Store

_PORTS = {"http://": 80, "https://": 443}  # envconfig/config.go
_FAMILIES = (("debian", "Debian"), ("rhel", "RedHat"), ("fedora", "RedHat"), ("suse", "Suse"), ("arch", "Archlinux"))


def work(module: AnsibleModule) -> dict:
    params = module.params
    user = host_look.user(params["user"])
    units = {unit["name"]: _unit(unit, params["timeout"]) for unit in params["units"]}
    others = _others(params["mark"], units)
    stores = list(params["stores"]) + [
        unit["models_path"] for unit in list(units.values()) + list(others.values()) if unit["models_path"]
    ]
    if user:
        stores.append(os.path.join(user["home"], ".ollama", "models"))
    names = [Name.parse(name, "names") for name in params["names"]]
    return {
        "changed": False,
        "architecture": platform.machine(),
        "files": {path: host_look.file(path) for path in params["files"]},
        "groups": host_look.groups(params["groups"]),
        "hardware": facts.collect([], params["timeout"], params["tools_python"]),
        "listeners": host_look.listeners(),
        "os_family": _os_family(),
        "others": others,
        "releases": _releases(params["install_path"]),
        "selinux": host_look.selinux(),
        "sources": _sources(params["sources"], params["records"]),
        "stores": {path: _store(path, names, params["user"]) for path in dict.fromkeys(stores)},
        "units": units,
        "user": user,
        "zstd": shutil.which("zstd") is not None,
    }


def _unit(unit: t.Dict[str, t.Any], timeout: int) -> t.Dict[str, t.Any]:
    status = systemd_unit.status(unit["name"], unit["files"], 0)
    shown = systemd_unit.origin(unit["name"])
    status.update(
        _served(shown["Environment"]),
        exists=status["loaded"],
        fragment_path=shown["FragmentPath"],
        drop_in_paths=shown["DropInPaths"].split(),
        user=shown["User"],
        version=None,
        loaded_models=[],
    )
    if status["active"]:
        client = connection.Client(connection.Address.parse(unit["url"]), connection.Security(), timeout)
        version, loaded = _asked(client, "/api/version"), _asked(client, "/api/ps")
        status["version"] = version.get("version")
        status["loaded_models"] = loaded.get("models") or []
    return status


def _others(mark: str, units: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    found = {}
    for name, instance in host_look.marked_units("ollama", mark).items() if mark else ():
        if name not in units:
            status = systemd_unit.status(name, [], 0)
            served = _served(systemd_unit.origin(name)["Environment"])
            found[name] = dict(served, instance=instance, exists=status["loaded"], active=status["active"])
    return found


def _served(environment: str) -> t.Dict[str, t.Any]:
    """Where a unit's server has its models, and its port, by what systemd shows of its environment."""
    found = {"OLLAMA_MODELS": "", "OLLAMA_HOST": ""}
    try:
        words = shlex.split(environment)
    except ValueError:
        words = environment.split()
    found.update(word.split("=", 1) for word in words if "=" in word)
    match = re.match(r"(\w+://)?.*?(?::(\d+))?/*$", found["OLLAMA_HOST"].strip("\"' "))
    scheme, port = match.groups() if match else (None, None)
    models = found["OLLAMA_MODELS"].strip("\"'")  # as Ollama reads it
    return {"models_path": models if os.path.isabs(models) else "", "port": int(port or _PORTS.get(scheme, 11434))}


def _asked(client: connection.Client, path: str) -> t.Dict[str, t.Any]:
    try:
        answer = json.loads(client.get(path).text)
    except (GpufleetError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _store(path: str, names: t.List[Name], user: str) -> t.Dict[str, t.Any]:
    store = Store(path)
    models = []
    for model in store.models():
        entry: t.Dict[str, t.Any] = {
            "name": model.name.short,
            "digest": model.digest,
            "size": model.size,
            "problems": [problem.detail for problem in store.problems(model.name)],
        }
        if any(name.key == model.name.key for name in names):
            entry.update(_manifest(store, model.name))
        models.append(entry)
    return {
        "exists": os.path.isdir(path),
        "blocked": host_look.blocked(path, user),
        "missing": host_look.missing(path),
        "free_bytes": store.free_bytes(),
        "models": models,
    }


def _manifest(store: Store, name: Name) -> t.Dict[str, t.Any]:
    manifest = store.manifest(name)
    if manifest is None or manifest.config is None:
        return {}
    blobs = [layer.digest for layer in manifest.layers if layer.kind == "model"]
    try:
        with open(store.blob_path(manifest.config.digest), "rb") as stream:
            config = json.loads(stream.read(1 << 20).decode("utf-8"))
    except (OSError, ValueError):
        config = {}
    return {
        "manifest": json.loads(manifest.raw.decode("utf-8")),
        "config": config,
        "blob": store.blob_path(blobs[0]) if len(blobs) == 1 else None,
    }


def _releases(path: str) -> t.Dict[str, t.Any]:
    place = Place(path)
    found = {}
    for version in place.versions():
        record = place.record(version)
        if record:
            found[version] = {
                "addons": record["addons"],
                "libraries": record["libraries"],
                "complete": place.damage(record) is None,
            }
    return found


def _sources(paths: t.List[str], records: t.List[str]) -> t.Dict[str, t.Any]:
    made = [path for record in records for entry in _record(record).values() for path in entry.get("files") or {}]
    return sources.look(dict.fromkeys(paths + made))


def _record(path: str) -> t.Dict[str, t.Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            record = json.load(stream)
    except (OSError, ValueError):
        return {}
    return record.get("models") or {} if isinstance(record, dict) else {}


def _os_family() -> str:
    words: t.Dict[str, str] = {}
    try:
        with open("/etc/os-release", encoding="utf-8") as stream:
            for line in stream:
                name, _equals, value = line.strip().partition("=")
                words[name] = value.strip("\"'")
    except OSError:
        pass
    likes = (words.get("ID", "") + " " + words.get("ID_LIKE", "")).split()
    return next((family for word, family in _FAMILIES if word in likes), words.get("ID", "unknown"))


def main() -> None:
    run(
        work,
        {
            "files": {"type": "list", "elements": "path", "default": []},
            "groups": {"type": "list", "elements": "str", "default": []},
            "install_path": {"type": "path", "default": "/opt/gpufleet/ollama"},
            "mark": {"type": "str", "default": ""},
            "names": {"type": "list", "elements": "str", "default": []},
            "records": {"type": "list", "elements": "path", "default": []},
            "sources": {"type": "list", "elements": "path", "default": []},
            "stores": {"type": "list", "elements": "path", "default": []},
            "timeout": {"type": "int", "default": 15},
            "tools_python": {"type": "path", "default": TOOLS_PYTHON},
            "units": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "files": {"type": "list", "elements": "path", "default": []},
                    "name": {"type": "str", "required": True},
                    "url": {"type": "str", "required": True},
                },
            },
            "user": {"type": "str", "default": "ollama"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
