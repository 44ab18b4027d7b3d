# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owner and modes of a model's files: whoever serves a model may read it, nobody but the owner writes it."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError


@dataclass(frozen=True)
class Permissions:
    owner: t.Optional[str]  # None: as created
    group: t.Optional[str]
    file_mode: int
    directory_mode: int

    def check(self) -> None:
        """Fail on an unknown user or group, before hours of downloading rather than after."""
        self._uid()
        self._gid()

    def wrong(self, root: str) -> t.List[str]:
        """The paths under ``root`` (and itself) that are not as they should be."""
        return [path for path, is_directory in _walk(root) if not self._right(path, is_directory)]

    def fits(self, path: str) -> bool:
        """Whether one path is as it should be."""
        return self._right(path, os.path.isdir(path))

    def apply(self, paths: t.Iterable[str]) -> None:
        for path in paths:
            os.chown(path, self._uid(), self._gid())
            os.chmod(path, self.directory_mode if os.path.isdir(path) else self.file_mode)

    def give(self, path: str) -> None:
        """The same for one path in a directory that others may write to: never through a link that they put there."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            os.fchown(descriptor, self._uid(), self._gid())
            os.fchmod(descriptor, self.directory_mode if is_directory else self.file_mode)
        finally:
            os.close(descriptor)

    def _right(self, path: str, is_directory: bool) -> bool:
        found = os.lstat(path)
        if stat.S_IMODE(found.st_mode) != (self.directory_mode if is_directory else self.file_mode):
            return False
        return self._uid() in (-1, found.st_uid) and self._gid() in (-1, found.st_gid)

    def _uid(self) -> int:
        if self.owner is None:
            return -1
        try:
            return int(self.owner) if self.owner.isdigit() else pwd.getpwnam(self.owner).pw_uid
        except KeyError:
            raise GpufleetError("owner=%s: there is no such user on this host" % self.owner)

    def _gid(self) -> int:
        if self.group is None:
            return -1
        try:
            return int(self.group) if self.group.isdigit() else grp.getgrnam(self.group).gr_gid
        except KeyError:
            raise GpufleetError("group=%s: there is no such group on this host" % self.group)


def parse_mode(value: str, option: str) -> int:
    try:
        mode = int(value, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise GpufleetError("%s=%s is not a mode: give an octal string such as '0644'" % (option, value))
    return mode


def _walk(root: str) -> t.Iterator[t.Tuple[str, bool]]:
    yield root, True
    for folder, folders, files in os.walk(root):
        for name in folders:
            yield os.path.join(folder, name), True
        for name in files:
            yield os.path.join(folder, name), False
