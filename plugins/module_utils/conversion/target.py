# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file that is made, its record beside it, and how it comes to its name.

::

    NAME.gguf                    the result, whole and verified
    NAME.gguf.gpufleet.json      what it was made from, and by what this host recognises it
    .NAME.gguf.new               what is being made
    .NAME.gguf.lock              held by whoever makes it
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t
from dataclasses import dataclass, field

from ..errors import GpufleetError
from ..sizes import human
from ..transfer.permissions import Permissions
from ..transfer.store import free_bytes, sync_directory, write_json
from ..version import VERSION

SCHEMA = "gpufleet.gguf_record/1"
SAME, RENAME, COPIED, DUE = "same", "rename", "copied", "due"


@dataclass(frozen=True)
class Target:
    path: str

    @property
    def record_path(self) -> str:
        return self.path + ".gpufleet.json"

    @property
    def new_path(self) -> str:
        return self._hidden("new")

    @property
    def lock_path(self) -> str:
        return self._hidden("lock")

    def _hidden(self, ending: str) -> str:
        return "%s/.%s.%s" % (os.path.split(self.path) + (ending,))

    def record(self) -> t.Optional[t.Dict[str, t.Any]]:
        try:
            with open(self.record_path, encoding="utf-8") as content:
                record = json.load(content)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise GpufleetError("%s is damaged (%s): remove it" % (self.record_path, error)) from None
        if record.get("schema") != SCHEMA:
            raise GpufleetError("%s has schema %r, this version reads %s" % (self.record_path, record.get("schema"), SCHEMA))
        return record


@dataclass(frozen=True)
class Verdict:
    """What is due, and why."""

    state: str
    reason: str


@dataclass
class Outcome:
    """What a run found and did."""

    changed: bool = False
    made: bool = False
    msg: str = ""
    reason: str = ""
    kind: t.Optional[str] = None
    predicted_bytes: t.Optional[int] = None
    record: t.Optional[t.Dict[str, t.Any]] = None
    before: str = ""
    warnings: t.List[str] = field(default_factory=list)


def identity(path: str) -> t.Optional[t.Dict[str, int]]:
    """By what this host recognises a file without reading it."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino}


def judge(
    wish: t.Mapping[str, t.Any],
    record: t.Optional[t.Mapping[str, t.Any]],
    inputs: t.Mapping[str, t.Optional[t.Mapping[str, int]]],
    result: t.Optional[t.Mapping[str, int]],
    new: t.Optional[t.Mapping[str, int]],
    force: bool = False,
) -> Verdict:
    """From the record and one look: is the file there, has it only to get its name, is it a copy, or is it to be made?

    An input that is gone cannot have changed: parts may be removed after they were merged.
    """
    if record is None:
        return Verdict(DUE, "it is there, and was not made by this module" if result else "it is not there")
    if record["wish"] != wish:
        names = sorted(key for key in set(wish) | set(record["wish"]) if wish.get(key) != record["wish"].get(key))
        return Verdict(DUE, "it was made with another %s" % ", ".join(names))
    moved = False
    for known in record["inputs"]:
        found = inputs.get(known["path"])
        if found is None or all(found[key] == known[key] for key in ("size", "mtime_ns", "inode")):
            continue
        if (found["size"], found["mtime_ns"]) != (known["size"], known["mtime_ns"]):
            return Verdict(DUE, "%s has changed" % known["path"])
        moved = True
    if new is not None and _same(new, record["result"]) and (result is None or force or known_by(record, result)):
        return Verdict(RENAME, "an earlier run made it, and was ended before it got its name")
    if result is None:
        return Verdict(DUE, "it is not there")
    if _same(result, record["result"]):
        return Verdict(DUE, "its inputs are other files now") if moved else Verdict(SAME, "")
    if result["size"] == record["result"]["size"]:
        return Verdict(COPIED, "its date or inode is another one than recorded")
    return Verdict(DUE, "it has %d bytes, and %d were recorded" % (result["size"], record["result"]["size"]))


def known_by(record: t.Optional[t.Mapping[str, t.Any]], found: t.Mapping[str, int]) -> bool:
    """Whether the record knows this very file: the one that was made, or the one that it was about to replace."""
    if record is None:
        return False
    replaced = record.get("replaces")
    return _same(found, record["result"]) or (replaced is not None and _same(found, replaced))


def check_room(target: Target, needed: int) -> None:
    """GpufleetError when the file system is too small, before anything is written."""
    left = identity(target.new_path)
    free = free_bytes(os.path.dirname(target.path)) + (left["size"] if left else 0)
    if needed > free:
        raise GpufleetError(
            "%s needs %s (%d bytes) in %s, where %d bytes are free: free %d bytes, or give another path. A file that it replaces "
            "is removed only afterwards"
            % (target.path, human(needed), needed, os.path.dirname(target.path), free, needed - free),
            needed_bytes=needed,
            short_bytes=needed - free,
        )


def remember(
    target: Target,
    path: str,
    permissions: Permissions,
    wish: t.Mapping[str, t.Any],
    inputs: t.Sequence[t.Mapping[str, t.Any]],
    facts: t.Mapping[str, t.Any],
    replaces: t.Optional[t.Mapping[str, int]] = None,
) -> None:
    """Write the record of ``path``, which has been verified."""
    with open(path, "rb") as content:
        os.fsync(content.fileno())
    permissions.give(path)
    record = {
        "schema": SCHEMA,
        "wish": dict(wish),
        "inputs": list(inputs),
        "result": dict(t.cast(dict, identity(path)), **facts),
        "replaces": replaces,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "collection_version": VERSION,
    }
    write_json(target.record_path, record)


def finish(
    target: Target,
    permissions: Permissions,
    wish: t.Mapping[str, t.Any],
    inputs: t.Sequence[t.Mapping[str, t.Any]],
    facts: t.Mapping[str, t.Any],
    replaces: t.Optional[t.Mapping[str, int]] = None,
    force: bool = False,
) -> None:
    """Give what was made and verified its name. The record comes first: it knows the file by its inode already.

    ``replaces`` is the file that had the name when it was allowed to replace it.
    """
    found = identity(target.path)
    if found is not None and found != replaces and not force:
        raise GpufleetError(
            "%s was put there while this run made it: set force to replace it, or give another path" % target.path
        )
    remember(target, target.new_path, permissions, wish, inputs, facts, found)
    rename(target)


def rename(target: Target) -> None:
    os.replace(target.new_path, target.path)
    sync_directory(os.path.dirname(target.path))


def adopt(target: Target, record: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Record the files as they are on this host now; their content was found to be the recorded one."""
    inputs = [dict(one, **(identity(one["path"]) or {})) for one in record["inputs"]]
    result = dict(record["result"], **t.cast(dict, identity(target.path)))
    fresh = dict(record, inputs=inputs, result=result, replaces=None)
    write_json(target.record_path, fresh)
    return fresh


def discard(target: Target) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target.new_path)


def _same(found: t.Mapping[str, int], known: t.Mapping[str, t.Any]) -> bool:
    return all(found[key] == known[key] for key in ("size", "mtime_ns", "inode"))
