# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker's daemon.json, of which only some keys are ours: what it becomes, byte for byte as it is where nothing is due. Pure."""

from __future__ import annotations

import json
import re
import typing as t

from ..errors import GpufleetError

PATH = "/etc/docker/daemon.json"
CDI_DIRECTORIES = ("/var/run/cdi", "/run/cdi")
Json = t.Dict[str, t.Any]

# Keys whose options of dockerd have another name than the key. A key that is an option too keeps dockerd from starting.
_OPTIONS = {
    "registry-mirrors": "registry-mirror",
    "insecure-registries": "insecure-registry",
    "log-opts": "log-opt",
    "runtimes": "add-runtime",
    "cdi-spec-dirs": "cdi-spec-dir",
}


def parse(text: t.Optional[str], path: str = PATH) -> Json:
    """What is in the file; an empty or missing one is as good as {}."""
    if not (text or "").strip():
        return {}
    try:
        found = json.loads(t.cast(str, text))
    except ValueError as error:
        raise GpufleetError("%s is no JSON: %s. Correct it, this role leaves it as it is." % (path, error)) from None
    if not isinstance(found, dict):
        raise GpufleetError("%s holds a %s, and not an object. Correct it." % (path, type(found).__name__))
    return found


def merge(text: t.Optional[str], ours: t.Mapping[str, t.Any], path: str = PATH) -> t.Optional[str]:
    """The text with ``ours`` in it, or None when all of it is there already.

    Objects are merged, everything else is replaced. The order of the keys, the indentation and the last line's end stay.
    """
    present = parse(text, path)
    merged = _merged(present, ours)
    if merged == present:
        return None
    text = text or ""
    indent = _indent(text) if present else 2
    made = json.dumps(merged, indent=indent, ensure_ascii=False, separators=(", ", ": ") if indent is None else (",", ": "))
    return made + ("" if text.strip() and not text.endswith("\n") else "\n")


def conflicts(ours: t.Mapping[str, t.Any], arguments: t.Sequence[str]) -> t.List[str]:
    """Keys of ours that the daemon was given as options too: it refuses to start with both."""
    given = {word[2:].split("=", 1)[0] for word in arguments if word.startswith("--")}
    return sorted(key for key in ours if key in given or _OPTIONS.get(key, key) in given)


def for_cdi(present: t.Mapping[str, t.Any], version: t.Sequence[int]) -> Json:
    """What daemon.json needs for devices by CDI: 25.0 to 28.1 has to be told, later ones do it by themselves."""
    ours: Json = {}
    features = present.get("features")
    if tuple(version) < (28, 2) or (isinstance(features, dict) and features.get("cdi") is False):
        ours["features"] = {"cdi": True}
    directories = present.get("cdi-spec-dirs")
    if isinstance(directories, list) and directories and not set(directories) & set(CDI_DIRECTORIES):
        ours["cdi-spec-dirs"] = directories + ["/var/run/cdi"]
    return ours


def for_runtime(present: t.Mapping[str, t.Any]) -> Json:
    """The runtime named nvidia; one that leads to NVIDIA's program already, with whatever arguments, is left alone."""
    runtimes = present.get("runtimes")
    entry = runtimes.get("nvidia") if isinstance(runtimes, dict) else None
    path = str(entry.get("path") or "") if isinstance(entry, dict) else ""
    if path.rpartition("/")[2].startswith("nvidia-container-runtime"):
        return {}
    return {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}}}


def _merged(present: t.Any, ours: t.Any) -> t.Any:
    if not isinstance(present, dict) or not isinstance(ours, dict):
        return ours
    merged = dict(present)
    for key, value in ours.items():
        merged[key] = _merged(present[key], value) if key in present else value
    return merged


def _indent(text: str) -> t.Union[int, str, None]:
    """As it is indented; None when all of it is in one line."""
    match = re.search(r'\n([ \t]+)"', text)
    if not match:
        return None if "\n" not in text.strip() else 0
    return match.group(1) if "\t" in match.group(1) else len(match.group(1))
