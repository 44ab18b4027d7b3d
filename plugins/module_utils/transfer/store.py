# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model's place in the store.

::

    <store>/<kind>/<org>/<name>/<revision>/      complete, verified, never written to by engines
                               /<ref>            link to the revision that the ref meant when last asked
                               /.lock            held by whoever downloads
                               /.<revision>.part/{incoming,files}
                                                 what is being fetched, and what has been verified
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
import typing as t

from ..errors import GpufleetError
from .files import ModelFile
from .selection import RECORD

SCHEMA = "gpufleet.model_record/1"
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# git's rules for the name of a branch or tag, and no leading dash. "~" is forbidden, so it can stand for "/".
_REF = re.compile(r"(?!.*(\.\.|//|@\{|/\.|\.lock(/|$)))[^\x00-\x20\x7f~^:?*\[\\./-][^\x00-\x20\x7f~^:?*\[\\]*(?<![/.])")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
_LOCK_POLL_S = 0.2


def is_commit(revision: str) -> bool:
    return bool(COMMIT.fullmatch(revision))


def check_ref(revision: str) -> None:
    if not _REF.fullmatch(revision):
        raise GpufleetError("revision=%r is not a branch, a tag or a full commit hash" % revision)


def check_name(name: str, option: str) -> None:
    if not _NAME.fullmatch(name) or ".." in name:
        raise GpufleetError(
            "%s=%r names no model: give org/name (letters, digits, '.', '_', '-'), "
            "or an absolute path for a directory on the host" % (option, name)
        )


class Home:
    """The directory of one model: all its revisions, its links and its lock."""

    def __init__(self, store: str, kind: str, name: str) -> None:
        self.path = os.path.join(store, kind, name)

    def revision_path(self, revision: str) -> str:
        return os.path.join(self.path, revision)

    def part_path(self, revision: str, *parts: str) -> str:
        return os.path.join(self.path, ".%s.part" % revision, *parts)

    def link_path(self, ref: str) -> t.Optional[str]:
        """Where the ref's link lies; a commit is its own directory and has none."""
        return None if is_commit(ref) else os.path.join(self.path, ref.replace("/", "~"))

    def linked(self, ref: str) -> t.Optional[str]:
        """The revision that the ref's link points to."""
        link = self.link_path(ref)
        if link is None:
            return ref
        try:
            return os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError:
            raise GpufleetError("%s is in the way: it should be a link to a revision. Move it away" % link)

    def set_link(self, ref: str, revision: str) -> None:
        link = self.link_path(ref)
        if link is None or self.linked(ref) == revision:
            return
        new = os.path.join(self.path, ".%s.new" % os.path.basename(link))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        os.symlink(revision, new)
        os.replace(new, link)

    def record(self, revision: str) -> t.Optional[t.Dict[str, t.Any]]:
        path = os.path.join(self.revision_path(revision), RECORD)
        try:
            with open(path, encoding="utf-8") as content:
                record = json.load(content)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise GpufleetError("%s is damaged (%s): remove it, and the files are verified anew" % (path, error))
        if record.get("schema") != SCHEMA:
            raise GpufleetError("%s has schema %r, this version reads %s" % (path, record.get("schema"), SCHEMA))
        return record

    def others(self, revision: str) -> t.Iterator[t.Tuple[str, t.Optional[t.Dict[str, t.Any]]]]:
        """Where the same files may already lie: other revisions with their records, and what was left half done."""
        for name in sorted(os.listdir(self.path)) if os.path.isdir(self.path) else ():
            if is_commit(name) and name != revision:
                record = self.record(name)
                if record:
                    yield self.revision_path(name), record
            elif name.endswith(".part") and name != os.path.basename(self.part_path(revision)):
                yield os.path.join(self.path, name, "files"), None

    @contextlib.contextmanager
    def locked(self, timeout_s: float, say: t.Callable[[str], None]) -> t.Iterator[float]:
        """Hold the model's lock; yields the seconds waited for it. The kernel frees a killed holder's lock."""
        path = os.path.join(self.path, ".lock")
        with open(path, "a+", encoding="utf-8") as lock:
            began = time.monotonic()
            told = False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    pass
                except OSError as error:
                    raise GpufleetError(
                        "%s cannot be locked: %s. On Lustre, mount with -o flock; or give a store on another file system"
                        % (path, error.strerror)
                    ) from None
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                if time.monotonic() - began > timeout_s:
                    raise GpufleetError(
                        "Waited %d s for process %s, which works on %s. "
                        "Let it finish, end it, or set lock_timeout higher" % (timeout_s, holder, self.path),
                        lock=path,
                        holder=holder,
                    )
                if not told:
                    say("waiting up to %d s for process %s, which works on %s" % (timeout_s, holder, self.path))
                    told = True
                time.sleep(_LOCK_POLL_S)
            lock.truncate(0)
            lock.write("%d\n" % os.getpid())
            lock.flush()
            try:
                yield time.monotonic() - began
            finally:
                lock.truncate(0)


def row(path: str, one: ModelFile) -> t.Dict[str, t.Any]:
    """The record's row of a verified file: what the source states, and by what this host recognises the file."""
    stat = os.stat(path)
    return {**one.to_dict(), "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}


def state_of(path: str, known: t.Dict[str, t.Any]) -> str:
    """``same`` as recorded, ``touched`` (its content may still be right), or ``broken`` (absent, another size)."""
    try:
        stat = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "broken"
    if stat.st_size != known["size"]:
        return "broken"
    if (stat.st_mtime_ns, stat.st_ino) == (known["mtime_ns"], known["inode"]):
        return "same"
    return "touched"


def write_json(path: str, data: t.Any) -> None:
    """Replace the file as a whole or not at all."""
    new = "%s/.%s.new" % os.path.split(path)
    with open(new, "w", encoding="utf-8") as out:
        json.dump(data, out, indent=1, sort_keys=True)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    os.chmod(new, 0o644)
    os.replace(new, path)


def move(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.replace(source, target)


def sync_file(path: str) -> None:
    with open(path, "rb") as content:
        os.fsync(content.fileno())


def sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_tree(path: str) -> None:
    if os.path.lexists(path):
        shutil.rmtree(path)


def files_below(folder: str) -> t.List[str]:
    return [os.path.relpath(os.path.join(top, name), folder) for top, _dirs, names in os.walk(folder) for name in names]


def free_bytes(path: str) -> int:
    """What a file below ``path`` may take, also while ``path`` does not exist yet."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free
