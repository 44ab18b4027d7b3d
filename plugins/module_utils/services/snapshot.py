# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several files of one service, kept as one: they belong together, and none is any good with another's older half."""

from __future__ import annotations

import base64
import json
import os
import stat
import tempfile
import typing as t

from ..errors import GpufleetError

SCHEMA = "gpufleet.snapshot/1"


def take(paths: t.Sequence[str], about: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The files as they are now; one that does not exist is kept as missing."""
    return {"schema": SCHEMA, "about": dict(about), "files": {path: _read(path) for path in paths}}


def load(path: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The snapshot kept at path, or None."""
    try:
        with open(path, encoding="utf-8") as stream:
            kept = json.load(stream)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise GpufleetError("%s is damaged (%s): remove it" % (path, error)) from None
    if not isinstance(kept, dict) or kept.get("schema") != SCHEMA:
        raise GpufleetError("%s is no snapshot of this version (%s): remove it" % (path, SCHEMA))
    return kept


def save(path: str, kept: t.Mapping[str, t.Any]) -> None:
    """Only root may read it: the files may hold secrets."""
    replace(path, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode(), 0o600, os.getuid(), os.getgid())


def restore(kept: t.Mapping[str, t.Any]) -> t.List[str]:
    """Put the files back; returns those that were different."""
    changed = []
    for path, wanted in sorted(kept["files"].items()):
        if _read(path) == wanted:
            continue
        changed.append(path)
        if wanted is None:
            os.unlink(path)
        else:
            replace(path, base64.b64decode(wanted["content"]), wanted["mode"], wanted["uid"], wanted["gid"])
    return changed


def differing(kept: t.Mapping[str, t.Any]) -> t.List[str]:
    """The files that are not now as they were."""
    return [path for path, wanted in sorted(kept["files"].items()) if _read(path) != wanted]


def _read(path: str) -> t.Optional[t.Dict[str, t.Any]]:
    try:
        with open(path, "rb") as stream:
            content = stream.read()
            found = os.fstat(stream.fileno())
    except FileNotFoundError:
        return None
    return {
        "content": base64.b64encode(content).decode("ascii"),
        "mode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def replace(path: str, content: bytes, mode: int, uid: int, gid: int) -> None:
    """Write a file whole, under a temporary name first."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".%s." % os.path.basename(path))
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
