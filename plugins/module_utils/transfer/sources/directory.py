# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model files from a directory on the host: another disk, a network file system, a hub client's snapshot."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ...errors import GpufleetError
from ..files import ModelFile, digest_of, hash_file, problem_with
from ..selection import RECORD
from ..transports.carrier import Arrived
from ..transports.web import Wrong

_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file
_SKIPPED = (".git", ".cache")  # what clients leave beside a model


class DirectorySource:
    """A directory whose revision is the digest of its content."""

    kind = "local"
    sees_changes = True

    def __init__(self, path: str, name: str, revision: str, max_workers: int) -> None:
        self.path = os.path.normpath(path)
        self.name = name
        self.revision = revision
        self.label = self.path
        self._max_workers = max_workers
        self._listing: t.Optional[t.List[ModelFile]] = None
        self._stats: t.Dict[str, t.List[int]] = {}

    def prepare(self) -> None:
        if not os.path.isdir(self.path):
            raise GpufleetError("source=%s is not a directory on this host" % self.path)

    def resolve(self) -> str:
        """sha256 over every file's path, size and sha256, in the order of the paths."""
        return digest_of(self.listing(""))

    def listing(self, revision: str) -> t.List[ModelFile]:
        if self._listing is None:
            self.prepare()
            self._stats = self._walk()
            paths = sorted(self._stats)
            with ThreadPoolExecutor(self._max_workers) as pool:
                hashes = list(pool.map(lambda path: hash_file(os.path.join(self.path, path), "sha256"), paths))
            self._listing = [ModelFile(path, self._stats[path][0], sha256=h) for path, h in zip(paths, hashes)]
        return self._listing

    def takes_together(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        return []  # copies gain nothing by being made together

    def bring_together(
        self, files: t.Sequence[ModelFile], revision: str, folder: str, arrived: Arrived, stop: threading.Event
    ) -> None:
        raise AssertionError("it takes none")

    def fetch(self, one: ModelFile, revision: str, folder: str) -> str:
        target = os.path.join(folder, one.path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        source = os.path.join(self.path, one.path)
        if not _clone(source, target):
            shutil.copyfile(source, target)
        problem = problem_with(target, one)
        if problem:
            os.unlink(target)
            raise Wrong(problem)
        return target

    def unchanged_since(self, record: t.Dict[str, t.Any]) -> bool:
        """Whether the directory looks as it did when it was read; one that is gone cannot have changed."""
        if record["source"] != self.path:
            return False
        return not os.path.isdir(self.path) or self._walk() == record["source_files"]

    def record_fields(self) -> t.Dict[str, t.Any]:
        return {"source_files": self._stats} if self._stats else {}

    def copies_for_free(self, folder: str) -> bool:
        """Whether the store's file system can share the blocks of the source's files."""
        probe = os.path.join(folder, ".clone")
        try:
            return any(self._stats[path][0] and _clone(os.path.join(self.path, path), probe) for path in self._stats)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(probe)

    def _walk(self) -> t.Dict[str, t.List[int]]:
        """Size, mtime_ns and inode by path. Links are followed: a hub client's snapshot consists of them."""
        found: t.Dict[str, t.List[int]] = {}
        seen = set()
        for folder, folders, files in os.walk(self.path, followlinks=True):
            if os.path.realpath(folder) in seen:
                raise GpufleetError("source=%s holds a directory twice: %s" % (self.path, folder))
            seen.add(os.path.realpath(folder))
            folders[:] = [name for name in folders if name not in _SKIPPED]
            for name in files:
                path = os.path.join(folder, name)
                relative = os.path.relpath(path, self.path)
                if relative == RECORD:
                    continue
                try:
                    one = os.stat(path)
                except FileNotFoundError:
                    raise GpufleetError("source=%s: %s is a link to nothing" % (self.path, path))
                if not stat.S_ISREG(one.st_mode):
                    raise GpufleetError("source=%s: %s is not a file" % (self.path, path))
                found[relative] = [one.st_size, one.st_mtime_ns, one.st_ino]
        if not found:
            raise GpufleetError("source=%s holds no files" % self.path)
        return found


def _clone(source: str, target: str) -> bool:
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
    return True
