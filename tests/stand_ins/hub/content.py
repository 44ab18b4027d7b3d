# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the hub stand-in serves: repositories read from a directory tree, with git's and LFS's hashes."""

from __future__ import annotations

import hashlib
import threading
import typing as t
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pth", ".pt", ".onnx", ".h5", ".msgpack")
LFS_SIZE = 10 * 1024 * 1024  # the hub takes no larger file into git itself


@dataclass
class HubFile:
    path: str
    local: Path
    size: int
    sha1: str  # git's blob hash of the content
    sha256: str

    @property
    def lfs(self) -> bool:
        return self.path.endswith(LFS_SUFFIXES) or self.size > LFS_SIZE

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.sha1

    def entry(self) -> t.Dict[str, t.Any]:
        """The file's row in /tree and /paths-info."""
        if not self.lfs:
            return {"type": "file", "path": self.path, "size": self.size, "oid": self.sha1}
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
            self.sha256.encode(),
            self.size,
        )
        return {
            "type": "file",
            "path": self.path,
            "size": self.size,
            "oid": git_sha1(pointer),
            "lfs": {"oid": self.sha256, "size": self.size, "pointerSize": len(pointer)},
        }


@dataclass
class Snapshot:
    """The files of one repository at one commit."""

    repo: str
    files: t.Dict[str, HubFile]
    commit: str = field(init=False)

    def __post_init__(self) -> None:
        rows = ["%s\0%s\n" % (path, one.sha1) for path, one in sorted(self.files.items())]
        self.commit = hashlib.sha1(("%s\n" % self.repo + "".join(rows)).encode()).hexdigest()

    def info(self) -> t.Dict[str, t.Any]:
        return {
            "_id": self.commit[:24],
            "id": self.repo,
            "modelId": self.repo,
            "sha": self.commit,
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in sorted(self.files)],
        }

    def tree(self, folder: str, recursive: bool) -> t.List[t.Dict[str, t.Any]]:
        prefix = folder.strip("/") + "/" if folder.strip("/") else ""
        rows: t.Dict[str, t.Dict[str, t.Any]] = {}
        for path, one in self.files.items():
            if not path.startswith(prefix):
                continue
            parts = path[len(prefix) :].split("/")
            for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
                name = prefix + "/".join(parts[:depth])
                oid = hashlib.sha1(name.encode()).hexdigest()
                rows[name] = {"type": "directory", "path": name, "oid": oid, "size": 0}
            if recursive or len(parts) == 1:
                rows[path] = one.entry()
        return [rows[name] for name in sorted(rows)]


class Store:
    """The repositories under a directory, read again whenever a file changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._hashes: t.Dict[t.Tuple[str, int, int], t.Tuple[str, str]] = {}
        self._lock = threading.Lock()

    def refs(self, repo: str) -> t.Dict[str, Snapshot]:
        """Every ref of a repository with its snapshot; empty when there is no such repository."""
        org, _slash, name = repo.partition("/")
        folder = self.root / org
        if not name or not folder.is_dir():
            return {}
        with self._lock:
            found = {}
            for child in sorted(folder.iterdir()):
                base, _at, ref = child.name.partition("@")
                if base == name and child.is_dir():
                    found[unquote(ref) or "main"] = self._snapshot(repo, child)
            return found

    def snapshot(self, repo: str, revision: str) -> t.Optional[Snapshot]:
        refs = self.refs(repo)
        by_commit = {snapshot.commit: snapshot for snapshot in refs.values()}
        return refs.get(revision) or by_commit.get(revision)

    def blob(self, sha256: str) -> t.Optional[HubFile]:
        for child in self.root.glob("*/*"):
            for one in self.refs("%s/%s" % (child.parent.name, child.name.partition("@")[0])).values():
                for candidate in one.files.values():
                    if candidate.sha256 == sha256:
                        return candidate
        return None

    def _snapshot(self, repo: str, folder: Path) -> Snapshot:
        files = {}
        for local in sorted(folder.rglob("*")):
            if local.is_file():
                path = local.relative_to(folder).as_posix()
                stat = local.stat()
                sha1, sha256 = self._hash(local, stat.st_size, stat.st_mtime_ns)
                files[path] = HubFile(path, local, stat.st_size, sha1, sha256)
        return Snapshot(repo, files)

    def _hash(self, local: Path, size: int, mtime_ns: int) -> t.Tuple[str, str]:
        key = (str(local), size, mtime_ns)
        if key not in self._hashes:
            sha1 = hashlib.sha1(b"blob %d\0" % size)
            sha256 = hashlib.sha256()
            with open(local, "rb") as source:
                for piece in iter(lambda: source.read(1 << 20), b""):
                    sha1.update(piece)
                    sha256.update(piece)
            self._hashes[key] = (sha1.hexdigest(), sha256.hexdigest())
        return self._hashes[key]


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
