# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file of a model: where it may lie, and whether its bytes are the ones the source states."""

from __future__ import annotations

import hashlib
import os
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError

PIECE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Wanted:
    """What a file shall become, as far as it is known: one of the hashes, or none. git's needs the size."""

    sha256: t.Optional[str] = None
    git_sha1: t.Optional[str] = None
    size: t.Optional[int] = None

    @property
    def kind(self) -> str:
        return "git_sha1" if self.git_sha1 and not self.sha256 else "sha256"

    @property
    def value(self) -> t.Optional[str]:
        return self.sha256 or self.git_sha1

    def digest(self) -> t.Any:
        if self.kind == "sha256":
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % t.cast(int, self.size))


@dataclass(frozen=True)
class ModelFile:
    """What a source says of one of its files. Exactly one of the two hashes is known for a hub's file."""

    path: str
    size: int
    sha256: t.Optional[str] = None
    git_sha1: t.Optional[str] = None

    @classmethod
    def from_dict(cls, data: t.Dict[str, t.Any]) -> ModelFile:
        return cls(data["path"], data["size"], data.get("sha256"), data.get("git_sha1"))

    def to_dict(self) -> t.Dict[str, t.Any]:
        known = {"path": self.path, "size": self.size}
        if self.sha256:
            return {**known, "sha256": self.sha256}
        return {**known, "git_sha1": self.git_sha1}

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.sha256, self.git_sha1, self.size)

    def same_content(self, other: ModelFile) -> bool:
        """Whether the hashes that both know say that the two are the same bytes."""
        if self.size != other.size:
            return False
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return bool(self.git_sha1) and self.git_sha1 == other.git_sha1


def check_paths(files: t.Iterable[ModelFile], source: str) -> None:
    """Refuse a listing whose paths would leave the directory they are meant for."""
    for one in files:
        parts = one.path.split("/")
        if "" in parts or "." in parts or ".." in parts or "\\" in one.path or "\0" in one.path:
            raise GpufleetError("%s lists a file with the path %r, which is not inside the model" % (source, one.path))


def digest_of(files: t.Iterable[ModelFile]) -> str:
    """sha256 over every file's path, size and hash, in the order of the paths."""
    digest = hashlib.sha256()
    for one in sorted(files, key=lambda one: one.path):
        digest.update(("%s\0%d\0%s\n" % (one.path, one.size, one.sha256 or one.git_sha1)).encode())
    return digest.hexdigest()


def hash_file(path: str, kind: str, read: t.Callable[[int], None] = lambda count: None) -> str:
    """The file's ``sha256``, or ``git_sha1``: git's hash of a blob. ``read`` is told of every piece."""
    with open(path, "rb") as content:
        size = os.fstat(content.fileno()).st_size
        digest = (Wanted() if kind == "sha256" else Wanted(git_sha1=kind, size=size)).digest()
        for piece in iter(lambda: content.read(PIECE), b""):
            digest.update(piece)
            read(len(piece))
    return digest.hexdigest()


def problem_with(path: str, wanted: ModelFile, read: t.Callable[[int], None] = lambda count: None) -> t.Optional[str]:
    """Read the file at ``path`` and say in what it differs from ``wanted``; None when it is that very file."""
    size = os.stat(path).st_size
    if size != wanted.size:
        return "%d bytes instead of %d" % (size, wanted.size)
    kind, expected = ("sha256", wanted.sha256) if wanted.sha256 else ("git_sha1", wanted.git_sha1)
    found = hash_file(path, kind, read)
    if found != expected:
        return "%s %s instead of %s" % (kind.replace("_", " "), found, expected)
    return None


def make_directories(path: str) -> None:
    """Directories that every service may enter, whatever the umask of who runs this."""
    if os.path.isdir(path):
        return
    make_directories(os.path.dirname(path))
    try:
        os.mkdir(path)
    except FileExistsError:
        return  # another run came first
    os.chmod(path, 0o755)
