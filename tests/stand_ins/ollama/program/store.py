# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store on disk: manifests and blobs, and what is pruned at a start."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import names
from .environment import Environment, Fatal, log
from .modes import Modes

DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
KIND = "application/vnd.ollama.image."
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
GRACE_SECONDS = 3600
PIECE = 1024 * 1024


class DigestMismatch(Exception):
    pass


def go_json(value: t.Any) -> bytes:
    """As Go's json.Encoder writes it, with the end of line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, "\\u%04x" % ord(character))
    return text.encode() + b"\n"


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Manifest:
    name: names.Name
    content: bytes
    modified: float

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def parsed(self) -> t.Dict[str, t.Any]:
        return json.loads(self.content)

    @property
    def layers(self) -> t.List[t.Dict[str, t.Any]]:
        return self.parsed.get("layers") or []

    @property
    def everything(self) -> t.List[t.Dict[str, t.Any]]:
        config = self.parsed.get("config") or {}
        return self.layers + ([config] if config.get("digest") else [])

    @property
    def size(self) -> int:
        return sum(layer.get("size", 0) for layer in self.everything)

    def of_kind(self, kind: str) -> t.List[t.Dict[str, t.Any]]:
        return [layer for layer in self.layers if layer["mediaType"] == KIND + kind]


class Store:
    def __init__(self, environment: Environment, modes: Modes) -> None:
        self.root = Path(environment.models()).absolute()
        self.blobs, self.manifests = self.root / "blobs", self.root / "manifests"
        self.noprune = environment.flag("OLLAMA_NOPRUNE")
        self.environment, self.modes = environment, modes

    def prepare(self) -> None:
        """What a start does before it serves; Fatal when the store cannot be used."""
        try:
            for folder in (self.blobs, self.manifests):
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            for entry in os.listdir(self.blobs):
                if entry.startswith("sha256:"):
                    os.rename(self.blobs / entry, self.blobs / entry.replace(":", "-"))
            if not self.noprune:
                self._prune_at_start()
        except OSError as error:
            name = {errno.EACCES: "permission denied", errno.EPERM: "permission denied"}.get(error.errno or 0)
            text = "%s %s: %s" % ("mkdir", error.filename, name or os.strerror(error.errno or 0).lower())
            raise Fatal(text + (": ensure path elements are traversable" if name else "")) from error

    # --- manifests --------------------------------------------------------------------------------

    def names(self, strict: bool = False) -> t.List[names.Name]:
        """The models that are there; with ``strict`` a ValueError for the first corrupt manifest."""
        found = []
        for path in sorted(self.manifests.glob("*/*/*/*")):
            relative = path.relative_to(self.manifests)
            try:
                name = names.from_path(relative)
                if not isinstance(json.loads(path.read_bytes()), dict):
                    raise ValueError("not an object")
            except ValueError as error:
                if strict:
                    raise ValueError("%s %s" % (relative, error)) from error
                log("WARN", "manifest.go:195", "bad manifest", name=relative, error=error)
                continue
            except OSError:
                continue
            found.append(name)
        return found

    def resolve(self, text: t.Any) -> names.Name:
        """The name, as the existing manifest spells it."""
        return names.with_existing(names.parse(text), self.names())

    def manifest(self, name: names.Name) -> t.Optional[Manifest]:
        path = self.manifests / name.path
        try:
            return Manifest(name, path.read_bytes(), path.stat().st_mtime)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def all(self) -> t.List[Manifest]:
        """Newest first."""
        found = [self.manifest(name) for name in self.names()]
        return sorted((one for one in found if one), key=lambda one: -one.modified)

    def write_manifest(self, name: names.Name, content: bytes) -> None:
        path = self.manifests / name.path
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.modes.write(len(content), path)
        path.write_bytes(content)
        path.chmod(0o644)

    def remove_manifest(self, name: names.Name) -> None:
        (self.manifests / name.path).unlink()
        self._prune_folders()

    # --- blobs ------------------------------------------------------------------------------------

    def blob(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise ValueError("invalid digest format")
        return self.blobs / digest.replace(":", "-")

    def add(self, content: bytes, kind: str) -> t.Tuple[t.Dict[str, t.Any], bool]:
        """A layer of this content, and whether it was there."""
        digest = sha256(content)
        path = self.blob(digest)
        there = path.exists()
        if not there:
            temporary = self.blobs / ("sha256-%d" % secrets.randbelow(10**10))
            self.modes.write(len(content), path)
            temporary.write_bytes(content)
            temporary.chmod(0o644)
            temporary.rename(path)
        media_type = kind if "/" in kind else KIND + kind
        return {"mediaType": media_type, "digest": digest, "size": len(content)}, there

    def receive(self, digest: str, pieces: t.Iterable[bytes]) -> None:
        """An upload. With a wrong digest it is kept under its true one, and refused."""
        self.blob(digest)
        temporary = self.blobs / ("sha256-%d" % secrets.randbelow(10**10))
        seen = hashlib.sha256()
        try:
            with open(temporary, "wb") as stream:
                for piece in pieces:
                    self.modes.write(len(piece), temporary)
                    stream.write(piece)
                    seen.update(piece)
        except BaseException:
            temporary.unlink()
            raise
        found = "sha256:" + seen.hexdigest()
        temporary.chmod(0o644)
        temporary.rename(self.blob(found))
        if found != digest:
            raise DigestMismatch('digest mismatch, expected "%s", got "%s"' % (digest, found))

    def content(self, layer: t.Mapping[str, t.Any]) -> bytes:
        return self.blob(layer["digest"]).read_bytes()

    def used(self) -> t.Set[str]:
        return {layer["digest"].replace(":", "-") for one in self.all() for layer in one.everything}

    def remove_unused(self, digests: t.Iterable[str]) -> None:
        used = self.used()
        for digest in set(digests):
            if digest and digest.replace(":", "-") not in used:
                try:
                    self.blob(digest).unlink()
                except OSError as error:
                    log("INFO", "images.go:870", "couldn't remove blob", blob=digest, error=error)

    # --- pruning ----------------------------------------------------------------------------------

    def _prune_at_start(self) -> None:
        try:
            self.names(strict=True)
        except ValueError as error:
            log("WARN", "routes.go:1966", "corrupt manifests detected, skipping prune operation.  "
                "Re-pull or delete to clear", error=error)  # fmt: skip
            return
        blobs = os.listdir(self.blobs)
        log("INFO", "images.go:889", "total blobs: %d" % len(blobs))
        used, removed, now = self.used(), 0, time.time()
        for entry in blobs:
            path = self.blobs / entry
            if now - path.lstat().st_mtime < GRACE_SECONDS or (DIGEST.fullmatch(entry) and entry in used):
                continue
            try:
                path.unlink()
                removed += 1
            except OSError as error:
                log("ERROR", "images.go:901", "couldn't remove blob", blob=entry, error=error)
        log("INFO", "images.go:906", "total unused blobs removed: %d" % removed)
        self._prune_folders()

    def _prune_folders(self) -> None:
        for folder, _folders, _files in os.walk(self.manifests, topdown=False):
            if Path(folder) != self.manifests and not os.listdir(folder):
                os.rmdir(folder)
