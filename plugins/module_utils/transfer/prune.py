# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing what nothing uses from the store.

A revision is moved away under the model's lock, the host is looked at once more, and only then its files go: whoever came
upon it in between has it back. What a kill leaves behind, the next run finishes.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
import stat
import time
import typing as t

from ..deployment.store_prune import Look, Plan, Revision, Unfinished, Wish, decide
from ..errors import GpufleetError
from ..services.traces import Traces
from ..sizes import human
from . import store
from .selection import RECORD

_LEFT = ".removed-"  # <commit>, or <commit>.part
_OF_COMMIT = re.compile(r"(?:\.(?:removed-)?)?([0-9a-f]{64}|[0-9a-f]{40})(?:\.part)?")
_PART = re.compile(r"\.(.+)\.part")
# On these, other hosts may use what this one does not see used.
_SHARED = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|lustre|ceph|glusterfs|beegfs|gpfs|mmfs|wekafs|panfs|pvfs2|orangefs|virtiofs|9p|"
    r"vboxsf|vmhgfs|prl_fs|afs|coda|ocfs2|gfs2|cvfs|acfs|scoutfs|quobyte|vastfs|fuse|fuse\.(?!fuse-overlayfs).+)$"
)
_EXPORTS = ("/etc/exports", "/etc/exports.d/*.exports")


class Places(t.NamedTuple):
    """Where use shows."""

    named_by: t.Sequence[str]
    in_use: t.Sequence[str] = ()  # paths or patterns in the store that are used, whoever does
    proc: str = "/proc"
    exports: t.Sequence[str] = _EXPORTS  # what this host gives to others


class Done(t.NamedTuple):
    removed: t.List[t.Dict[str, t.Any]]
    unlinked: t.List[t.Tuple[str, str]]  # model and link
    refused: t.List[t.Dict[str, str]]  # what stays after all, and why


def answer(params: t.Mapping[str, t.Any], wish: Wish, places: Places, check_mode: bool) -> t.Dict[str, t.Any]:
    """What model_store_prune returns."""
    path = params["store"]
    if not os.path.isabs(path):
        raise GpufleetError("store=%s: give an absolute path" % path)
    if not params["shared"] and os.path.isdir(path):
        _refuse_shared(path, places)
    given, lacking = _given(path, places)
    if lacking and not check_mode:
        raise GpufleetError(lacking)
    look = look_at(path, places, given)
    plan = decide(look, wish)
    for leftover in plan.restore if not check_mode else ():
        os.rename(leftover.path, os.path.join(os.path.dirname(leftover.path), leftover.name))
    done = Done(plan.remove, plan.unlink, [])
    if not check_mode and (plan.remove or plan.unlink):
        done = _carry_out(path, plan, places)
    freed = sum(one["bytes"] for one in done.removed)
    lines = ["link %s" % os.path.join(path, model, link) for model, link in done.unlinked]
    lines += [one["path"] for one in done.removed]
    before = "".join("%s\n" % line for line in sorted(lines))
    return {
        "changed": bool(done.removed or done.unlinked or plan.restore),
        "removed": [{key: one[key] for key in ("path", "bytes", "reason")} for one in done.removed],
        "kept": sorted(plan.kept + done.refused, key=lambda one: one["path"]),
        "freed_bytes": freed,
        "store_bytes": plan.store_bytes + plan.freed_bytes - freed,
        "msg": "%s %d, %s" % ("would remove" if check_mode else "removed", len(done.removed), human(freed)),
        "diff": {"before": before, "after": ""},
        **({"warnings": ["Without check mode, this fails unless it is there by then: %s" % lacking]} if lacking else {}),
    }


def _given(path: str, places: Places) -> t.Tuple[t.Set[str], t.Optional[str]]:
    """What in_use names, and what is wrong with it: a slip of the pen there would remove what is in use."""
    real, given, lacking = os.path.realpath(path), set(), None
    for pattern in places.in_use:
        if not os.path.isabs(pattern):
            raise GpufleetError("in_use=%s: give an absolute path or pattern, below store=%s" % (pattern, path))
        found = {os.path.realpath(one) for one in glob.glob(pattern)}
        found = {one for one in found if one == real or one.startswith(real + "/")}
        given |= found
        if not found and lacking is None:
            lacking = "in_use=%s: nothing in store=%s is called so. Correct it, or leave it out" % (pattern, path)
    return given, lacking


def look_at(path: str, places: Places, given: t.AbstractSet[str] = frozenset()) -> Look:
    """The store, and who uses what of it."""
    homes = _homes(path)
    commits = {_OF_COMMIT.fullmatch(one) for _model, names in homes for one in names}
    traces = Traces({one.group(1) for one in commits if one}, path, [model for model, _names in homes])
    if homes:
        _trace(traces, path, places)
    revisions: t.List[Revision] = []
    unfinished: t.List[Unfinished] = []
    links: t.Dict[str, t.Dict[str, str]] = {}
    holders, linked, above = {}, {}, {}
    for model, names in homes:
        folder = os.path.join(path, model)
        linked[model] = _link_uses(traces, folder)
        above[model] = _uses_above(traces, path, folder)
        links[model] = {one: os.readlink(os.path.join(folder, one)) for one in names if os.path.islink(os.path.join(folder, one))}
        holder = _holder(folder)
        if holder:
            holders[model] = holder
        for name in names:
            if name in links[model]:
                continue
            one = _revision(folder, model, name, links[model], traces, given)
            if one:
                revisions.append(one)
            elif _PART.fullmatch(name):
                unfinished.append(_unfinished(folder, model, name))
    known = {one.path for one in [*revisions, *unfinished]}
    return Look(
        path=path, revisions=tuple(revisions), unfinished=tuple(unfinished), holders=holders, links=links,
        others=_others(path, known), blind=tuple(traces.blind), link_uses=linked, model_uses=above,
    )  # fmt: skip


def _trace(traces: Traces, path: str, places: Places) -> None:
    traces.files(places.named_by)
    traces.links(path)
    traces.processes(places.proc)


def _link_uses(traces: Traces, folder: str) -> t.Dict[str, t.Tuple[str, ...]]:
    """Who names a branch or tag of the model."""
    real = os.path.realpath(folder)
    return {os.path.basename(one): tuple(where) for one, where in traces.paths.items() if os.path.dirname(one) == real}


def _uses_above(traces: Traces, path: str, folder: str) -> t.Tuple[str, ...]:
    """Who names the model's directory, or one above it in the store."""
    found: t.List[str] = []
    real, top = os.path.realpath(folder), os.path.realpath(path)
    while real.startswith(top + "/"):
        found += [one for one in traces.paths.get(real, ()) if one not in found]
        real = os.path.dirname(real)
    return tuple(found)


def _homes(path: str) -> t.List[t.Tuple[str, t.List[str]]]:
    """The directories of models, as kind/org/name, with what lies in them."""
    found, seen = [], set()
    for folder in sorted(glob.glob(os.path.join(glob.escape(path), "*", "*", "*", ""))):
        folder = folder.rstrip("/")
        names = sorted(os.listdir(folder))
        if os.path.realpath(folder) in seen:
            continue  # the same by another name
        seen.add(os.path.realpath(folder))
        if any(_OF_COMMIT.fullmatch(name) for name in names):
            found.append((os.path.relpath(folder, path), names))
    return found


def _revision(
    folder: str, model: str, name: str, links: t.Mapping[str, str], traces: Traces, given: t.AbstractSet[str]
) -> t.Optional[Revision]:
    path, commit = os.path.join(folder, name), name.replace(_LEFT, "")
    if not store.is_commit(commit) or not os.path.isdir(path):
        return None
    real = os.path.realpath(os.path.join(folder, commit))
    uses = _uses(traces, commit, os.path.join(folder, commit))
    if commit in links.values():
        uses += [one for one in traces.paths.get(os.path.dirname(real), ()) if one not in uses]  # the model as a whole
    if any(one == real or one.startswith(real + "/") or real.startswith(one + "/") for one in given):
        uses.append("in_use names it")
    record = os.path.join(path, RECORD)
    return Revision(
        model=model, name=commit, path=path, links=tuple(sorted(one for one, target in links.items() if target == commit)),
        uses=tuple(uses), recorded=os.path.isfile(record), removed=name != commit, files=_files(path),
        date=os.stat(record).st_mtime if os.path.isfile(record) else 0.0,
    )  # fmt: skip


def _unfinished(folder: str, model: str, name: str) -> Unfinished:
    path = os.path.join(folder, name)
    newest = max([os.lstat(path).st_mtime, *(found.st_mtime for found in _stats(path))])
    return Unfinished(model, path, time.time() - newest, name.startswith(_LEFT), _files(path))


def _stats(path: str) -> t.Iterator[os.stat_result]:
    """Of everything below."""
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    yield from _stats(entry.path)


def _files(path: str) -> t.Dict[t.Tuple[int, int], int]:
    """Bytes on the disk, as du counts them."""
    return {(one.st_dev, one.st_ino): one.st_blocks * 512 for one in _stats(path) if stat.S_ISREG(one.st_mode)}


def _others(path: str, known: t.AbstractSet[str]) -> t.Dict[str, t.Dict[t.Tuple[int, int], int]]:
    """What else lies in the store, such as Ollama's, by the directory right in it."""
    found: t.Dict[str, t.Dict[t.Tuple[int, int], int]] = {}
    for folder, folders, names in os.walk(path):
        folders[:] = [one for one in folders if os.path.join(folder, one) not in known]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                one = os.lstat(os.path.join(folder, name))
                if stat.S_ISREG(one.st_mode) and one.st_blocks:
                    top = os.path.join(path, os.path.relpath(os.path.join(folder, name), path).split("/", 1)[0])
                    found.setdefault(top, {})[(one.st_dev, one.st_ino)] = one.st_blocks * 512
    return found


def _holder(folder: str) -> t.Optional[str]:
    """The process that holds the model's lock."""
    try:
        with open(os.path.join(folder, ".lock"), encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read().strip() or "unknown"
    except FileNotFoundError:
        pass
    return None


def _carry_out(path: str, plan: Plan, places: Places) -> Done:
    done = Done([], [], [])
    with contextlib.ExitStack() as locks:
        free = set()
        for model in sorted({one["model"] for one in plan.remove} | {model for model, _link in plan.unlink}):
            try:
                locks.enter_context(store.Home(path, *model.split("/", 1)).locked(0.0, lambda text: None))
                free.add(model)
            except GpufleetError as error:  # somebody has begun to work on it
                done.refused.extend(_stays(one, str(error)) for one in plan.remove if one["model"] == model)
        links = {one: os.readlink(os.path.join(path, *one)) for one in plan.unlink if one[0] in free}
        for one in links:
            os.unlink(os.path.join(path, *one))
        moved = []
        for row in plan.remove:
            folder = os.path.join(path, row["model"])
            if row["model"] not in free or not os.path.lexists(row["path"]):
                continue
            link = _linked(folder, row["name"])
            if link:
                done.refused.append(_stays(row, "linked as %s meanwhile" % link))
            else:
                moved.append((row, _move_away(row["path"])))
        for model in free:
            store.sync_directory(os.path.join(path, model))
        again = Traces({row["name"] for row, _place in moved if row["name"]}, path, {row["model"] for row, _place in moved})
        _trace(again, path, places)
        for row, place in moved:
            uses = _uses(again, row["name"], row["path"]) if place != row["path"] else []
            if uses:
                os.rename(place, row["path"])
                done.refused.append(_stays(row, "in use meanwhile: %s" % uses[0]))
                for one in [one for one, target in links.items() if (one[0], target) == (row["model"], row["name"])]:
                    os.symlink(links.pop(one), os.path.join(path, *one))
                continue
            with contextlib.suppress(FileNotFoundError):  # first: what has a record is whole
                os.unlink(os.path.join(place, RECORD))
                store.sync_directory(place)
            store.remove_tree(place)
            done.removed.append(row)
        done.unlinked.extend(sorted(links))
    return done


def _stays(row: t.Mapping[str, t.Any], reason: str) -> t.Dict[str, str]:
    return {"path": row["path"], "reason": reason}


def _uses(traces: Traces, commit: t.Optional[str], path: str) -> t.List[str]:
    """Who names the commit, or a path in the revision's directory."""
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    uses = list(traces.commits.get(commit or "", ()))
    for named, places in traces.paths.items():
        if named == real or named.startswith(real + "/"):
            uses += [one for one in places if one not in uses]
    return uses


def _linked(folder: str, commit: t.Optional[str]) -> t.Optional[str]:
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if os.path.islink(path) and os.readlink(path) == commit:
            return entry
    return None


def _move_away(path: str) -> str:
    folder, name = os.path.split(path)
    if name.startswith(_LEFT):
        return path
    place = os.path.join(folder, _LEFT + name.lstrip("."))
    store.remove_tree(place)  # of an earlier removal that was killed
    os.rename(path, place)
    return place


def _refuse_shared(path: str, places: Places) -> None:
    """Models may lie on other file systems than the store does."""
    with open(os.path.join(places.proc, "self", "mountinfo"), encoding="utf-8", errors="surrogateescape") as content:
        lines = [line.split() for line in content]
    mounts = [(_plain(words[4]), words[words.index("-") + 1]) for words in lines]
    for place in sorted({path, *(os.path.join(path, model) for model, _names in _homes(path))}):
        best = ("", "")
        for point, kind in mounts:
            if (os.path.realpath(place) + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
                best = (point, kind)
        if _SHARED.match(best[1]):
            raise _is_shared(path, "%s is on %s (%s)" % (place, best[0], best[1]))
    for file in sorted(found for pattern in places.exports for found in glob.glob(pattern)):
        for exported in _exported(file):
            for one, other in ((path, exported), (exported, path)):
                if (os.path.realpath(one) + "/").startswith(os.path.realpath(other).rstrip("/") + "/"):
                    raise _is_shared(path, "%s gives %s to other hosts" % (file, exported))


def _exported(file: str) -> t.List[str]:
    with open(file, encoding="utf-8", errors="surrogateescape") as content:
        lines = [line.strip() for line in content.read().replace("\\\n", " ").splitlines()]
    found = [re.match(r'"([^"]+)"|(/\S*)', line) for line in lines]
    return [_plain(one.group(1) or one.group(2)) for one in found if one]


def _plain(text: str) -> str:
    """Spaces and the like are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)


def _is_shared(path: str, why: str) -> GpufleetError:
    return GpufleetError(
        "store=%s: %s. What other hosts use of it cannot be seen from here. Name all that they use by in_use, and set shared=true"
        % (path, why)
    )
