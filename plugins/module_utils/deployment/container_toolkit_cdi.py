# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CDI specification of NVIDIA's devices: the units that keep it current, and what they are told. Pure."""

from __future__ import annotations

import re
import typing as t

from . import container_engine_versions as versions

Dict = t.Dict[str, t.Any]
Map = t.Mapping[str, t.Any]

SPEC = "/var/run/cdi/nvidia.yaml"
POOR = ("/etc/cdi/nvidia.yaml", "/etc/cdi/nvidia.json")  # what old guides had written there, once
ENVIRONMENT = "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env"
FLAGS = "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS"
OLD_SPECIFICATION = "no-additional-gids-for-device-nodes"
MARK = "# gpufleet.llm: "


def follow(wanted: Map, look: Map, used: t.Sequence[str], card: Map, install_due: bool) -> Dict:
    """The environment of the units, whether they are enabled, whether the specification has to be made anew, and stale ones."""
    units, files = look["units"], look["files"]
    readers = [name for name in used if versions.reads_cdi(name, look["engines"][name]["version"])]
    old = [name for name in readers if not versions.reads_07(name, look["engines"][name]["version"])]
    variables = dict(wanted["cdi_environment"])
    if old and versions.parse(wanted["version"]) >= (1, 19):
        flags = [flag for flag in str(variables.get(FLAGS, "")).split(",") if flag]
        variables[FLAGS] = ",".join(flags + [OLD_SPECIFICATION] * (OLD_SPECIFICATION not in flags))
    file = files.get(ENVIRONMENT, {})
    text = environment(file.get("text"), variables)
    specs = [spec for spec in look["cdi"] if spec["kind"] == "nvidia.com/gpu"]
    ours = next((spec for spec in specs if spec["path"] in (SPEC, SPEC.replace("/var/run/", "/run/"))), None)
    why = "" if install_due else _why(ours, look, old, file, text, card)
    enable = [] if install_due else [
        name for name in ("nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service") if not units.get(name, {}).get("enabled")
    ]  # fmt: skip
    start = not install_due and not units.get("nvidia-cdi-refresh.path", {}).get("active")
    poor = [spec["path"] for spec in specs if spec["path"] in POOR and spec["generated"]]
    return {
        "due": text is not None or bool(why) or bool(enable) or start,
        "environment": text,
        "mode": file.get("mode", "0644"),
        "enable": enable,
        "start": start,
        "generate": bool(why),
        "why": why,
        "old_engines": ["%s %s" % (name, look["engines"][name]["version"]) for name in old],
        "stale": poor if _replaced(ours, card) else [],
        "specification": {"path": ours["path"], "version": ours["version"], "devices": ours["devices"]} if ours else None,
    }


def _why(ours: t.Optional[Map], look: Map, old: t.Sequence[str], file: Map, text: t.Optional[str], card: Map) -> str:
    """Why the specification has to be made anew; "" when it has not, or cannot be."""
    if not card["works"] or not look["gpu"]["refreshable"]:
        return ""
    if ours is None:
        return "there is none"
    if text is not None or file.get("mtime_ns", 0) / 1e9 > ours["mtime"]:
        return "what it is made with has changed"
    if ours["missing"]:
        return "it names devices that are not there: %s" % ", ".join(ours["missing"])
    if old and versions.parse(ours["version"]) >= (0, 7):
        return "its version %s is too new for %s" % (ours["version"], ", ".join(old))
    if look["gpu"]["driver"] and not ours["names_driver"]:
        return "it was made for another driver than %s" % look["gpu"]["driver"]
    return ""


def _replaced(ours: t.Optional[Map], card: Map) -> bool:
    """Whether a specification in /etc/cdi is no longer needed: by one that is kept current, or for want of a card."""
    return ours is not None or not card["there"]


def environment(text: t.Optional[str], variables: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """The file of variables with these in it, or None when it is so. Lines of ours that are not wanted any more go.

    What somebody else wrote stays: of two lines that set the same, systemd takes the last.
    """
    before = text or ""
    lines = before.splitlines()
    kept: t.List[str] = []
    position = 0
    while position < len(lines):
        if lines[position].startswith(MARK):
            position += 2  # and the line that it is about
            continue
        kept.append(lines[position])
        position += 1
    said = {line.partition("=")[0].strip(): line.partition("=")[2].strip().strip("\"'") for line in kept if _assigns(line)}
    for name in sorted(variables):
        value = str(variables[name])
        if name in said:
            value = _joined(said[name], value) if name == FLAGS else value
            if said[name] == value:
                continue
        kept += [MARK + "the role nvidia_container_toolkit sets this", "%s=%s" % (name, value)]
    after = "".join(line + "\n" for line in kept)
    return None if after == before or (not after and text is None) else after


def _joined(before: str, more: str) -> str:
    flags = [flag for flag in before.split(",") if flag]
    return ",".join(flags + [flag for flag in more.split(",") if flag not in flags])


def _assigns(line: str) -> bool:
    return bool(re.match(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*=", line))
