# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models of a store into one archive: its index, their manifests, their blobs, each verified while it is read."""

from __future__ import annotations

import hashlib
import os
import typing as t

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...sizes import human
from ..store import free_bytes, sync_directory
from .content import INDEX, first_bytes, index_bytes, place_of
from .manifest import Manifest
from .members import BLOCK, end_mark, header_of, members, padding
from .store import Store
from .streams import PIECE, format_of, opened, writer
from .wish import Outcome, Wish, absent_in_check_mode, locked_file


def export(wish: Wish) -> Outcome:
    """Have the archive hold exactly the wished models."""
    format_of(wish.path)
    folder = os.path.dirname(wish.path)
    if not os.path.isdir(folder):
        raise GpufleetError("path=%s: the directory %s does not exist." % (wish.path, folder))
    if os.path.exists(wish.path) and not os.path.isfile(wish.path):
        raise GpufleetError("path=%s is there and is not a file: nothing is written over it." % wish.path)
    wish.permissions.check()
    store = Store(wish.store)
    try:
        chosen, warnings = _chosen(store, wish)
    except _Absent as error:
        if not wish.check_mode:
            raise
        return absent_in_check_mode(wish, str(error))
    outcome = Outcome(manifests=chosen, warnings=warnings)
    bundle = _Bundle(store, chosen)
    _refuse_incomplete(store, chosen)
    temporary = os.path.join(folder, ".%s.part" % os.path.basename(wish.path))
    outcome.after = bundle.lines()
    whole, outcome.before = _state(wish, bundle)
    if whole and not os.path.exists(temporary):
        return _finish(wish, bundle, outcome, written=False)
    if not whole:
        _check_space(wish, bundle, temporary)
    if wish.check_mode:
        return _finish(wish, bundle, outcome, written=not whole)
    with locked_file(temporary, wish.lock_timeout_s, wish.say) as file:
        renamed = False
        try:
            whole, outcome.before = _state(wish, bundle)  # again: the one that was waited for may have done it
            if not whole:
                file.truncate(0)
                wish.say("writing %s: %s" % (wish.path, human(bundle.size)))
                with writer(file, wish.path, wish.level) as stream:
                    bundle.write(stream)
                os.fsync(file.fileno())
                wish.permissions.give(temporary)
                os.replace(temporary, wish.path)
                renamed = True  # from here on the temporary name is the next one's
                sync_directory(folder)
        finally:
            if not renamed:  # a failure, or nothing was to be done
                os.unlink(temporary)
    return _finish(wish, bundle, outcome, written=not whole)


class _Absent(GpufleetError):
    """A model that is not in the store."""


class _Bundle:
    """The archive as it must be, byte for byte before it is packed."""

    def __init__(self, store: Store, manifests: t.Mapping[Name, Manifest]) -> None:
        self._store = store
        self.index = index_bytes(manifests)
        self.small = [(INDEX, self.index)] + [
            ("manifests/" + name.path, manifest.raw) for name, manifest in sorted(manifests.items())
        ]
        self.manifests = dict(manifests)
        self.blobs: t.Dict[str, int] = {}
        for manifest in manifests.values():
            self.blobs.update(manifest.blobs)
        content = sum(_member_bytes(name, len(raw)) for name, raw in self.small)
        content += sum(_member_bytes(_blob_name(digest), size) for digest, size in self.blobs.items())
        self.size = content + len(end_mark(content))

    def lines(self) -> t.List[str]:
        return ["%s: %s" % (name, manifest.digest) for name, manifest in sorted(self.manifests.items())]

    def write(self, stream: t.Any) -> None:
        position = 0
        for name, raw in self.small:
            stream.write(header_of(name, len(raw)) + raw + padding(len(raw)))
            position += _member_bytes(name, len(raw))
        for digest, size in sorted(self.blobs.items()):
            stream.write(header_of(_blob_name(digest), size))
            self._copy(digest, size, stream)
            stream.write(padding(size))
            position += _member_bytes(_blob_name(digest), size)
        stream.write(end_mark(position))

    def _copy(self, digest: str, size: int, stream: t.Any) -> None:
        path, left, actual = self._store.blob_path(digest), size, hashlib.sha256()
        with open(path, "rb") as blob:
            for piece in iter(lambda: blob.read(min(PIECE, left + 1)), b""):
                left -= len(piece)
                if left < 0:
                    break
                actual.update(piece)
                stream.write(piece)
        if left or "sha256:" + actual.hexdigest() != digest:
            raise GpufleetError(
                "store=%s: %s is damaged: it has not the content that its name says. Remove it and pull the model "
                "again. Nothing was exported." % (self._store.path, path)
            )


def _chosen(store: Store, wish: Wish) -> t.Tuple[t.Dict[Name, Manifest], t.List[str]]:
    warnings = []
    if wish.names is None:
        warnings = ["%s is left out" % reason.rstrip(".") for _path, reason in store.damaged()]
        names = [model.name for model in store.models()]
        if not names:
            raise _Absent("store=%s holds no models." % store.path)
    else:
        names = []
        for name in wish.names:
            spelled = store.find(name)
            if spelled is None:
                there = ", ".join(model.name.short for model in store.models()) or "nothing"
                raise _Absent("names: %s is not in store=%s, which holds %s." % (name, store.path, there))
            names.append(spelled)
    return {name: t.cast(Manifest, store.manifest(name)) for name in names}, warnings


def _refuse_incomplete(store: Store, manifests: t.Mapping[Name, Manifest]) -> None:
    """Before gigabytes are read; what only its hash can tell shows while it is read."""
    for name, manifest in sorted(manifests.items()):
        problems = store.problems_of(manifest.blobs)
        if problems:
            raise GpufleetError(
                "%s cannot be exported, it is not complete: %s. Pull it again."
                % (name, "; ".join(problem.detail for problem in problems[:3])),
                problems=[problem.detail for problem in problems],
            )


def _state(wish: Wish, bundle: _Bundle) -> t.Tuple[bool, t.List[str]]:
    """Whether the archive is there and right, and the lines that say what is there."""
    if not os.path.exists(wish.path):
        return False, []
    with opened(wish.path) as packed:
        index = first_bytes(packed, 2 * len(bundle.index) + BLOCK)
        if index != bundle.index:
            return False, ["%s: other models, or no export" % wish.path]
        if packed.format != format_of(wish.path):
            return False, ["%s: packed with %s" % (wish.path, packed.format)]
        if not packed.seems_whole(bundle.size):
            return False, ["%s: cut off" % wish.path]
        if wish.verify:
            problem = _problem_inside(packed, bundle)
            if problem:
                return False, [problem]
    return True, bundle.lines()


def _problem_inside(packed: t.Any, bundle: _Bundle) -> t.Optional[str]:
    """Read all of it."""
    expected = dict(bundle.small)
    seen = set()
    try:
        with packed.reader() as reader:
            for member in members(reader):
                kind, digest = place_of(member)
                if kind == "blob":
                    actual = hashlib.sha256()
                    for piece in member.pieces():
                        actual.update(piece)
                    right = "sha256:" + actual.hexdigest() == digest
                else:
                    right = expected.get(member.name) == member.content(16 * PIECE)
                if not right:
                    return "%s: %s is damaged" % (packed.path, member.name)
                seen.add(member.name)
            reader.finish()
    except GpufleetError as error:
        return str(error)
    if seen != {*expected, *map(_blob_name, bundle.blobs)}:
        return "%s: other files than its index says" % packed.path
    return None


def _check_space(wish: Wish, bundle: _Bundle, temporary: str) -> None:
    """For the archive unpacked: weights hardly get smaller. What a killed run left is written over."""
    free = free_bytes(os.path.dirname(wish.path))
    if os.path.exists(temporary):
        free += os.stat(temporary).st_blocks * 512
    if free < bundle.size:
        raise GpufleetError(
            "path=%s: the archive takes %d bytes (%s) and %d (%s) are free: %d bytes short. Nothing was written."
            % (wish.path, bundle.size, human(bundle.size), free, human(free), bundle.size - free),
            needed_bytes=bundle.size,
            short_bytes=bundle.size - free,
        )


def _finish(wish: Wish, bundle: _Bundle, outcome: Outcome, written: bool) -> Outcome:
    would = "would have been " if wish.check_mode else ""
    outcome.changed = written
    if written:
        outcome.written, outcome.written_bytes = len(bundle.blobs), sum(bundle.blobs.values())
        outcome.msg = "models: %d %sexported, %s" % (len(bundle.manifests), would, human(bundle.size))
        return outcome
    outcome.kept = len(bundle.blobs)
    outcome.msg = "%s holds the models already" % wish.path
    if not wish.permissions.fits(wish.path):
        if not wish.check_mode:
            wish.permissions.give(wish.path)
        outcome.changed = True
        outcome.msg = "owner or mode of %s %sset" % (wish.path, would)
        outcome.before = outcome.before + ["owner or mode: %s" % wish.path]
    return outcome


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "-")


def _member_bytes(name: str, size: int) -> int:
    return len(header_of(name, size)) + size + len(padding(size))
