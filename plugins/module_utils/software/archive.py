# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unpack a tar archive that nobody has to trust.

Python's own filters came with 3.12 and its patch releases, and follow links that are there already. Here nothing is ever
written through a link, and what the links point to is looked at when all of them are there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
import typing as t
import zlib

from . import compressed
from .compressed import BadArchive

_PIECE = 1024 * 1024
Wanted = t.Callable[[str, bool], bool]


class Tree:
    """A directory that archives are unpacked into, one over the other."""

    def __init__(self, root: str, reserved: t.Sequence[str] = ()) -> None:
        self.root = root
        self.sizes: t.Dict[str, int] = {}  # of everything but directories, by path, as lstat states it
        self._links: t.Set[str] = set()
        self._folders: t.Set[str] = {""}
        self._reserved = frozenset(reserved)
        self._as_root = os.geteuid() == 0

    def unpack(self, content: t.BinaryIO, source: str, wanted: Wanted) -> None:
        """Everything that ``wanted(path, is_directory)`` wants; ``source`` is the archive's name for messages."""

        def add(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
            if not wanted(name, member.isdir()):
                return
            if name in self._reserved:
                raise BadArchive("%s holds %s, which is the record of an installation" % (source, name))
            try:
                self._add(archive, member, name, source)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise BadArchive("%s holds %s, which is in the way of another file or is behind a link" % (source, name))

        _walk(content, source, add)

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, source: str) -> None:
        self._folder(name if member.isdir() else os.path.dirname(name))
        if member.isdir():
            return
        path = os.path.join(self.root, name)
        if name in self.sizes:
            os.unlink(path)  # the later one counts, as for tar
            self._links.discard(name)
            del self.sizes[name]
        if member.isreg():
            self._file(archive, member, path)
        elif member.issym():
            if os.path.isabs(member.linkname):
                raise BadArchive("%s holds the link %s to %s, which is absolute" % (source, name, member.linkname))
            os.symlink(member.linkname, path)
            self._links.add(name)
        elif member.islnk():
            other = _clean(member.linkname, source)
            if other not in self.sizes or other in self._links:
                raise BadArchive(
                    "%s holds %s as a second name of %s, which was not unpacked before it. "
                    "If libraries leaves that directory out, name it too" % (source, name, other)
                )
            os.link(os.path.join(self.root, other), path)
        else:
            raise BadArchive("%s holds %s, which is neither a file nor a directory nor a link" % (source, name))
        self._own(path)
        self.sizes[name] = os.lstat(path).st_size

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        mode = 0o755 if member.mode & 0o111 else 0o644
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(descriptor, "wb", buffering=0) as out:
            os.fchmod(descriptor, mode)
            shutil.copyfileobj(t.cast(t.IO[bytes], archive.extractfile(member)), out, _PIECE)

    def _folder(self, name: str) -> None:
        """Make it and its parents; what is there already and was not made here is no place to write into."""
        if name in self._folders:
            return
        self._folder(os.path.dirname(name))
        path = os.path.join(self.root, name)
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)
        self._own(path)
        self._folders.add(name)

    def _own(self, path: str) -> None:
        if self._as_root:  # a directory with the setgid bit gives its group to what is made in it
            os.lchown(path, 0, 0)

    def check_links(self, source: str) -> None:
        """Refuse links that lead out, by whatever detour."""
        inside = os.path.join(os.path.realpath(self.root), "")
        for name in sorted(self._links):
            path = os.path.join(self.root, name)
            if not os.path.join(os.path.realpath(path), "").startswith(inside):
                raise BadArchive("%s holds the link %s to %s, which leads out of it" % (source, name, os.readlink(path)))

    def sync(self) -> None:
        """On the disk before the directory gets its name: a power failure must not leave a whole name on half a tree."""
        for name in sorted(set(self.sizes) - self._links) + sorted(self._folders):
            descriptor = os.open(os.path.join(self.root, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def unpacked_size(content: t.BinaryIO, source: str, wanted: Wanted) -> int:
    """How many bytes would be written. Decompresses everything: for when an estimate will not do."""
    sizes: t.List[int] = []

    def add(_archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        if wanted(name, member.isdir()):
            sizes.append(member.size)

    _walk(content, source, add)
    return sum(sizes)


def _walk(
    content: t.BinaryIO, source: str, visit: t.Callable[[tarfile.TarFile, tarfile.TarInfo, str], None]
) -> None:
    """Call ``visit`` for every entry, in the archive's order."""
    with compressed.opened(content, source) as stream, _naming_damage(source):
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE) as archive:
            for member in archive:
                name = _clean(member.name, source)
                if name:
                    visit(archive, member, name)


@contextlib.contextmanager
def _naming_damage(source: str) -> t.Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BadArchive("%s is damaged: %s" % (source, error)) from None
    except OSError as error:
        if error.errno is None:  # gzip's own, such as a wrong checksum
            raise BadArchive("%s is damaged: %s" % (source, error)) from None
        raise


def _clean(name: str, source: str) -> str:
    """A path as the archive means it, without ./; refused when it is not below where it is unpacked."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise BadArchive("%s holds the path %r, which leads out of it" % (source, name))
    return "/".join(parts)


def free_of(path: str) -> t.Tuple[int, int]:
    """Which file system a path lies on, or will, and the bytes free there."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_dev, shutil.disk_usage(path).free


def is_plain(path: str, size: int) -> bool:
    """Whether a file or link is there with its size, as when it was unpacked."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return found.st_size == size and not stat.S_ISDIR(found.st_mode)
