# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases of Ollama beside each other in one directory.

::

    <path>/<version>/{bin,lib}                   complete; its record is written before the directory gets its name
          /<version>/.gpufleet-release.json      what it was made of, and the size of every file
          /current                               link to the version that was proven last
          /.lock                                 held by whoever changes something
          /.<version>.<random>                   what is being unpacked or removed
          /.download/ollama-<version>/           what is being fetched
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import typing as t

from ..errors import GpufleetError
from . import lock
from .archive import is_plain
from .ollama_archives import Version

RECORD = ".gpufleet-release.json"
SCHEMA = "gpufleet.release/1"
CURRENT = "current"
_TEMPORARY = re.compile(r"\.(?P<version>[0-9].*)\.[A-Za-z0-9_]{8}")


class Place:
    """The directory that the versions lie in."""

    def __init__(self, path: str) -> None:
        if not os.path.isabs(path) or len([part for part in path.split(os.sep) if part]) < 2:
            raise GpufleetError("path=%s: give an absolute path below a directory of its own" % path)
        if os.path.lexists(path) and not os.path.isdir(path):
            raise GpufleetError("path=%s exists and is not a directory: choose another path or remove it" % path)
        self.path = os.path.normpath(path)

    def directory(self, version: str) -> str:
        return os.path.join(self.path, version)

    def locked(self, timeout_s: int) -> t.ContextManager[int]:
        return lock.held(os.path.join(self.path, ".lock"), self.path, timeout_s)

    def _listing(self) -> t.List[str]:
        try:
            return sorted(os.listdir(self.path))
        except FileNotFoundError:
            return []

    def versions(self) -> t.List[str]:
        """Those with a record, the newest last."""
        found = [Version.of(name) for name in self._listing() if self.record(name) is not None]
        return [str(version) for version in sorted(version for version in found if version is not None)]

    def record(self, version: str) -> t.Optional[t.Dict[str, t.Any]]:
        """The record of a version; None: there is no such version, or it was made by somebody else."""
        if str(Version.of(version)) != version:
            return None
        try:
            with open(os.path.join(self.directory(version), RECORD), encoding="utf-8") as content:
                record = json.load(content)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        fits = isinstance(record, dict) and record.get("schema") == SCHEMA and record.get("version") == version
        return record if fits else None

    def damage(self, record: t.Mapping[str, t.Any]) -> t.Optional[str]:
        """What of a version is not there as it was unpacked. Sizes only: this is asked at every run."""
        folder = self.directory(record["version"])
        wrong = [name for name, size in record["paths"].items() if not is_plain(os.path.join(folder, name), size)]
        if not wrong:
            return None
        return "%s in it %s missing or changed" % (
            ", ".join(wrong[:3]) + (" and %d more" % (len(wrong) - 3) if len(wrong) > 3 else ""),
            "is" if len(wrong) == 1 else "are",
        )

    def current(self) -> t.Optional[str]:
        """The version that the link names, whether it is there or not."""
        link = os.path.join(self.path, CURRENT)
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError:
            raise GpufleetError("%s is in the way: it should be a link to a version. Move it away" % link) from None
        return self.version_of(os.path.join(self.path, target))

    def version_of(self, path: str) -> t.Optional[str]:
        """The version that an absolute path lies in, also by way of links from elsewhere."""
        for candidate in (os.path.normpath(path), os.path.realpath(path)):
            for root in (self.path, os.path.realpath(self.path)):
                name = os.path.relpath(candidate, root).split(os.sep, 1)[0]
                if str(Version.of(name)) == name:
                    return name
        return None

    def leftovers(self) -> t.List[str]:
        """What killed runs were unpacking or removing. Only who holds the lock may believe it."""
        names = []
        for name in self._listing():
            match = _TEMPORARY.fullmatch(name)
            if match and Version.of(match.group("version")) is not None:
                names.append(os.path.join(self.path, name))
        return names

    def temporary(self, version: str) -> str:
        """A new directory beside the versions."""
        path = tempfile.mkdtemp(prefix=".%s." % version, dir=self.path)
        os.chmod(path, 0o755)
        return path

    def put(self, temporary: str, version: str) -> None:
        """Give the unpacked directory its name. A version that is there was found wanting, and goes."""
        final = self.directory(version)
        old = self.aside(version) if os.path.lexists(final) else None
        os.rename(temporary, final)
        sync_directory(self.path)
        if old:
            shutil.rmtree(old)

    def aside(self, version: str) -> str:
        """Take a version's name away from it, at once and as a whole."""
        old = self.temporary(version)
        os.rename(self.directory(version), os.path.join(old, version))
        return old


def relink(path: str, target: str) -> None:
    """Have the link point there, at once, whatever had its name before."""
    new = os.path.join(os.path.dirname(path), ".%s.new" % os.path.basename(path))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(target, new)
    os.replace(new, path)
    sync_directory(os.path.dirname(path))


def write_record(directory: str, record: t.Mapping[str, t.Any]) -> None:
    with open(os.path.join(directory, RECORD), "w", encoding="utf-8") as out:
        json.dump(record, out, indent=1, sort_keys=True)
        out.write("\n")
        out.flush()
        os.fchmod(out.fileno(), 0o644)
        os.fsync(out.fileno())
    sync_directory(directory)


def sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
