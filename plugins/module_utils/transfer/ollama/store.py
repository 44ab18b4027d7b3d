# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ollama's store of models, read without a server.

::

    <store>/manifests/<host>/<namespace>/<model>/<tag>    JSON: the blobs of a model
           /blobs/sha256-<hex>                            their content

Ollama checks neither the size nor the hash of a blob that has its name (server/download.go), so ``problems`` does.
"""

from __future__ import annotations

import os
import stat
import typing as t
from dataclasses import dataclass

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ..files import hash_file
from ..store import free_bytes
from .manifest import MAX_BYTES, Manifest


@dataclass(frozen=True)
class Model:
    name: Name
    digest: str  # hex without a prefix, as /api/tags has it
    size: int
    manifest_path: str


@dataclass(frozen=True)
class Problem:
    """What is wrong with a blob that a manifest names: it is ``missing``, has another ``size`` or another ``hash``."""

    digest: str
    kind: str
    detail: str


class Store:
    """A directory that is, or will be, the OLLAMA_MODELS of a server."""

    def __init__(self, path: str) -> None:
        if not os.path.isabs(path):  # Ollama would resolve it against its own working directory
            raise GpufleetError("store=%s is not an absolute path." % path)
        self.path = os.path.normpath(path)
        self.manifests = os.path.join(self.path, "manifests")
        self.blobs = os.path.join(self.path, "blobs")

    def models(self) -> t.List[Model]:
        """All models whose manifests can be read, by name. What is damaged is in ``damaged()``."""
        found = []
        for name, path in self._named():
            try:
                manifest = _read(path)
            except GpufleetError:
                continue
            found.append(Model(name, manifest.digest, manifest.size, path))
        return found

    def damaged(self) -> t.List[t.Tuple[str, str]]:
        """(path, reason) of what lies among the manifests and is none: with one of these, Ollama never prunes."""
        found = []
        for path in self._entries():
            try:
                Name.from_path(os.path.relpath(path, self.manifests))
                _read(path)
            except GpufleetError as error:
                found.append((path, str(error)))
        return found

    def find(self, name: Name) -> t.Optional[Name]:
        """The model's name as it is spelled on disk; None when there is no such model. Case does not matter."""
        if os.path.isfile(self.manifest_path(name)):
            return name
        return next((one for one, _path in self._named() if one.key == name.key), None)

    def manifest(self, name: Name) -> t.Optional[Manifest]:
        """None when there is no such model; GpufleetError when its manifest cannot be read."""
        spelled = self.find(name)
        return _read(self.manifest_path(spelled)) if spelled else None

    def manifest_path(self, name: Name) -> str:
        return os.path.join(self.manifests, name.path)

    def blob_path(self, digest: str) -> str:
        """Of ``sha256:<hex>``."""
        return os.path.join(self.blobs, digest.replace(":", "-"))

    def problems(self, name: Name, hashes: bool = False) -> t.List[Problem]:
        """What is wrong with the blobs of a model; with ``hashes`` every byte is read. Nothing for an absent model."""
        manifest = self.manifest(name)
        return self.problems_of(manifest.blobs, hashes) if manifest else []

    def problems_of(self, blobs: t.Mapping[str, int], hashes: bool = False) -> t.List[Problem]:
        """The same for sizes by digest."""
        found = []
        for digest, size in blobs.items():
            path = self.blob_path(digest)
            try:
                one = os.stat(path)
            except FileNotFoundError:
                found.append(Problem(digest, "missing", "%s does not exist" % path))
                continue
            if not stat.S_ISREG(one.st_mode):
                found.append(Problem(digest, "missing", "%s is not a file" % path))
            elif one.st_size != size:
                found.append(Problem(digest, "size", "%s has %d bytes instead of %d" % (path, one.st_size, size)))
            elif hashes:
                actual = hash_file(path, "sha256")
                if "sha256:" + actual != digest:
                    found.append(Problem(digest, "hash", "%s has the sha256 %s" % (path, actual)))
        return found

    def free_bytes(self) -> int:
        """What may still be written, also while the store does not exist yet."""
        return free_bytes(self.path)

    def _named(self) -> t.Iterator[t.Tuple[Name, str]]:
        for path in self._entries():
            try:
                yield Name.from_path(os.path.relpath(path, self.manifests)), path
            except GpufleetError:
                continue

    def _entries(self) -> t.List[str]:
        """Every file four levels below manifests/: the very ones that Ollama takes for manifests."""
        level = [self.manifests]
        for _depth in range(4):
            level = [os.path.join(folder, name) for folder in level for name in _names(folder)]
        return [path for path in level if not os.path.isdir(path)]


def _names(folder: str) -> t.List[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        raise GpufleetError("%s cannot be read: run as root, or as the owner of the store." % folder) from None


def _read(path: str) -> Manifest:
    try:
        with open(path, "rb") as content:
            return Manifest.parse(content.read(MAX_BYTES + 1), path)
    except OSError as error:
        raise GpufleetError("%s cannot be read: %s." % (path, error.strerror)) from None
