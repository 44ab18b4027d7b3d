# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directories and files of a service, made what they shall be: only what differs is touched, each by a rename."""

from __future__ import annotations

import grp
import os
import pwd
import typing as t

from ..errors import GpufleetError
from . import host_look
from .snapshot import replace

Dict = t.Dict[str, t.Any]

_ACCESS = ("owner", "group", "mode")


def directory(wanted: t.Mapping[str, t.Any], check_mode: bool) -> t.Optional[Dict]:
    """Make the directory, and those above it that are missing; None when it is as it shall be, else a diff."""
    path = wanted["path"]
    before = _state(path)
    if before.get("type") == "link" and os.path.isdir(path):
        # Of somebody's own making, to another disk as a rule. Where it leads is not ours to give away.
        before = _state(os.path.realpath(path))
        if _after(before, wanted, "directory") != before:
            raise GpufleetError(
                "%s is a link to %s, which has not the owner, group or mode that is needed (%s). Change that by hand."
                % (path, os.path.realpath(path), ", ".join("%s %s" % (key, wanted[key]) for key in _ACCESS if wanted.get(key)))
            )
        return None
    if before.get("type", "directory") != "directory":
        raise GpufleetError("%s is a %s, and a directory is needed there." % (path, before["type"].replace("other", "special file")))
    after = _after(before, wanted, "directory")
    if after == before:
        return None
    if not check_mode:
        umask = os.umask(0o022)  # what is made on the way may be passed through by all
        try:
            os.makedirs(path, exist_ok=True)
        finally:
            os.umask(umask)
        # By what was opened: a link that somebody puts there in between is not followed.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(descriptor, *_ids(wanted))
            if wanted.get("mode"):
                os.fchmod(descriptor, _mode(wanted, path))
        finally:
            os.close(descriptor)
    return {"before_header": path, "after_header": path, "before": _shown(before), "after": _shown(after)}


def file(wanted: t.Mapping[str, t.Any], check_mode: bool) -> t.Optional[Dict]:
    """Write the file; None when it is as it shall be, else a diff."""
    path, content = wanted["path"], str(wanted["content"])
    before = _state(path)
    if before.get("type", "file") != "file":
        raise GpufleetError("%s is a %s, and a file is needed there." % (path, before["type"].replace("other", "special file")))
    text = _text(path) if before else None
    after = _after(before, wanted, "file")
    if after == before and text == content:
        return None
    if not check_mode:
        uid, gid = _ids(wanted)
        mode = _mode(wanted, path) if wanted.get("mode") else int(before.get("mode", "0644"), 8)
        own = os.stat(path) if before else None
        try:
            replace(path, content.encode(), mode, uid if uid >= 0 else own.st_uid if own else 0,
                    gid if gid >= 0 else own.st_gid if own else 0)  # fmt: skip
        except OSError as error:
            raise GpufleetError("%s cannot be written: %s." % (path, error.strerror)) from None
    if text == content:
        return {"before_header": path, "after_header": path, "before": _shown(before), "after": _shown(after)}
    return {"before_header": path, "after_header": path, "before": text or "", "after": content}


def _state(path: str) -> Dict:
    """Kind, owner, group and mode; nothing when there is nothing."""
    try:
        found = host_look.file(path)
    except OSError as error:
        raise GpufleetError("%s cannot be looked at: %s." % (path, error.strerror)) from None
    return {} if found["type"] == "absent" else {key: found[key] for key in ("type",) + _ACCESS}


def _after(before: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any], kind: str) -> Dict:
    """What is there keeps what is not asked for. By name: in check mode an account may not exist yet."""
    after = dict(before, type=kind)
    after.update((key, wanted[key]) for key in ("owner", "group") if wanted.get(key))
    if wanted.get("mode"):
        after["mode"] = "%04o" % _mode(wanted, wanted["path"])
    return after


def _ids(wanted: t.Mapping[str, t.Any]) -> t.Tuple[int, int]:
    """uid and gid; -1 for what is not asked for."""
    try:
        uid = pwd.getpwnam(wanted["owner"]).pw_uid if wanted.get("owner") else -1
        gid = grp.getgrnam(wanted["group"]).gr_gid if wanted.get("group") else -1
    except KeyError as error:
        raise GpufleetError("%s: %s" % (wanted["path"], error.args[0])) from None
    return uid, gid


def _mode(wanted: t.Mapping[str, t.Any], path: str) -> int:
    try:
        return int(str(wanted["mode"]), 8)
    except ValueError:
        raise GpufleetError("mode=%s of %s: give an octal number such as 0644." % (wanted["mode"], path)) from None


def _shown(state: t.Mapping[str, t.Any]) -> str:
    return "".join("%s: %s\n" % (key, state[key]) for key in sorted(state)) or "absent\n"


def _text(path: str) -> t.Optional[str]:
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()
