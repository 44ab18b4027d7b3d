# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an archive of models holds: the index that exports begin with, or a look at every header.

An export begins with gpufleet-bundle.json, then come the manifests and then the blobs, so its first kilobytes tell all.
Archives made by hand have the store's files in any order, and under whatever directory the store was in.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from ...errors import GpufleetError
from ...models.ollama_names import Name
from .manifest import MAX_BYTES, Manifest, digest_of
from .members import Member, members, shown
from .streams import Packed, Reader

INDEX = "gpufleet-bundle.json"
SCHEMA = "gpufleet.ollama_bundle/1"
_MAX_MANIFESTS_BYTES = 8 * MAX_BYTES
_MAX_FOREIGN_BYTES = 1024**3
_NOISE = (".DS_Store", "._")


@dataclass
class Content:
    """Manifests by their place, sizes of blobs by digest, and the names of what is neither."""

    manifests: t.Dict[str, bytes] = field(default_factory=dict)
    blobs: t.Dict[str, int] = field(default_factory=dict)
    others: t.List[str] = field(default_factory=list)
    _spelled: t.Dict[str, str] = field(default_factory=dict)
    _manifests_bytes: int = 0

    def add_manifest(self, path: str, raw: bytes, where: str) -> None:
        """Ollama takes names that differ in case alone for the same."""
        known = self._spelled.setdefault(path.lower(), path)
        if self.manifests.setdefault(known, raw) != raw:
            raise GpufleetError("%s has two different manifests of %s." % (where, Name.from_path(path)))
        self._manifests_bytes += len(raw)
        if self._manifests_bytes > _MAX_MANIFESTS_BYTES:
            raise GpufleetError("%s has more than %d bytes of manifests." % (where, _MAX_MANIFESTS_BYTES))

    def add_blob(self, digest: str, size: int, where: str) -> None:
        if self.blobs.setdefault(digest, size) != size:
            raise GpufleetError(
                "%s has %s twice, with %d and with %d bytes." % (where, digest, self.blobs[digest], size)
            )


def index_bytes(manifests: t.Mapping[Name, Manifest]) -> bytes:
    """The index of an export: equal for equal models."""
    blobs: t.Dict[str, int] = {}
    for manifest in manifests.values():
        blobs.update(manifest.blobs)
    data = {
        "schema": SCHEMA,
        "models": [
            {"name": name.full, "digest": manifest.digest, "size": manifest.size}
            for name, manifest in sorted(manifests.items())
        ],
        "blobs": [{"digest": digest, "size": size} for digest, size in sorted(blobs.items())],
    }
    return (json.dumps(data, indent=1) + "\n").encode()


def first_bytes(packed: Packed, limit: int) -> t.Optional[bytes]:
    """The index's bytes if the archive begins with one; None for any other file."""
    try:
        with packed.reader() as reader:
            for member in members(reader):
                return member.content(limit) if member.name == INDEX and member.is_file else None
    except GpufleetError:
        return None
    return None


def place_of(member: Member) -> t.Tuple[str, str]:
    """(``manifest``, host/namespace/model/tag), (``blob``, digest), or (``other``, name)."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if member.is_file and not any(part == _NOISE[0] or part.startswith(_NOISE[1]) for part in parts):
        if len(parts) >= 5 and parts[-5] == "manifests":
            path = "/".join(parts[-4:])
            try:
                Name.from_path(path)
                return "manifest", path
            except GpufleetError:
                return "other", member.name
        digest = digest_of(parts[-1]) if len(parts) >= 2 and parts[-2] == "blobs" else None
        if digest:
            return "blob", digest
    return "other", member.name


def survey(packed: Packed) -> Content:
    """Read as little as tells what is in there. Nothing of it is verified yet."""
    if packed.format != "plain":
        with packed.reader() as reader:
            indexed = _indexed(reader)
        if indexed:
            return indexed
    content = Content()
    foreign = 0
    with packed.reader() as reader:
        for member in members(reader):
            kind, what = place_of(member)
            if kind == "manifest":
                content.add_manifest(what, member.content(MAX_BYTES), reader.where)
            elif kind == "blob":
                content.add_blob(what, member.size, reader.where)
            elif member.is_file and member.name != INDEX:
                content.others.append(shown(member.name))
                foreign += member.size
            if packed.format != "plain" and foreign > _MAX_FOREIGN_BYTES:
                raise GpufleetError(
                    "%s has more than %d bytes of files that belong to no store of Ollama's: pack only "
                    "manifests/ and blobs/." % (reader.where, _MAX_FOREIGN_BYTES)
                )
        reader.finish()
    if not content.manifests:
        raise GpufleetError(
            "%s has no manifest (manifests/<host>/<namespace>/<model>/<tag>): it is no archive of Ollama's models."
            % packed.path
        )
    return content


def _indexed(reader: Reader) -> t.Optional[Content]:
    """From an export's front; None unless it begins with an index and exactly its manifests follow."""
    content = Content()
    wanted: t.Optional[t.Dict[str, str]] = None
    for member in members(reader):
        if wanted is None:
            if member.name != INDEX or not member.is_file:
                return None
            wanted = _read_index(member.content(MAX_BYTES), content)
            if not wanted:
                return None
            continue
        kind, path = place_of(member)
        if kind != "manifest":
            return None
        content.add_manifest(path, member.content(MAX_BYTES), reader.where)
        if len(content.manifests) == len(wanted):
            break
    found = {
        path: Manifest.parse(raw, "%s: manifests/%s" % (reader.where, path)).digest
        for path, raw in content.manifests.items()
    }
    if found != wanted:
        return None
    return content


def _read_index(raw: bytes, content: Content) -> t.Optional[t.Dict[str, str]]:
    """Digest by place of the manifests that must follow."""
    try:
        data = json.loads(raw)
        if data["schema"] != SCHEMA:
            return None
        for blob in data["blobs"]:
            digest, size = digest_of(blob["digest"]), blob["size"]
            if digest is None or not isinstance(size, int):
                return None
            content.blobs[digest] = size
        return {Name.parse(model["name"]).path: model["digest"] for model in data["models"]}
    except (ValueError, KeyError, TypeError, RecursionError, GpufleetError):
        return None
