# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models of an archive into a store: looked at, compared, unpacked beside, verified, and only then given their names.

::

    <store>/.gpufleet-import.lock       held by whoever imports
           /.gpufleet-import/<hex>.part what is being unpacked
           /.gpufleet-import/<hex>      verified, also when the run was killed; the next one takes it
           /.gpufleet-import/manifest   about to become one

Nothing in blobs/ or manifests/ is ever incomplete, so a server may run, start and prune meanwhile: it looks at nothing
else. A manifest gets its name when all the blobs that it names have theirs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import typing as t
from dataclasses import dataclass, field

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...sizes import human
from ..files import make_directories
from ..permissions import Permissions
from ..store import remove_tree, sync_directory
from .content import Content, place_of, survey
from .manifest import MAX_BYTES, Manifest
from .members import Member, members, shown
from .store import Store
from .streams import Packed, opened
from .wish import Outcome, Wish, absent_in_check_mode, locked_file

WORK = ".gpufleet-import"
LOCK = WORK + ".lock"


@dataclass
class _Due:
    """What of the archive the store lacks."""

    manifests: t.Dict[Name, Manifest]  # all that are wished, under the names that they have in the store
    place: t.List[Name] = field(default_factory=list)
    unpack: t.Dict[str, int] = field(default_factory=dict)  # digest -> size
    kept: t.Set[str] = field(default_factory=set)
    permissions: t.List[str] = field(default_factory=list)
    before: t.List[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not (self.place or self.unpack or self.permissions)


def import_bundle(wish: Wish) -> Outcome:
    """Have the wished models of the archive in the store."""
    store = Store(wish.store)
    wish.permissions.check()
    if wish.check_mode and not os.path.exists(wish.path):
        return absent_in_check_mode(wish, "path=%s does not exist yet." % wish.path)
    with opened(wish.path) as packed:
        content = survey(packed)
        chosen = _chosen(content, wish)
        due = _look(store, chosen, content, wish)
        outcome = Outcome(manifests=due.manifests, ignored=_ignored(content, chosen))
        _check_space(store, due, _verified(store, due.unpack))
        if wish.check_mode or (due.nothing and not _leftovers(store)):
            return _finish(wish, outcome, due)
        with _locked(store, wish):
            due = _look(store, chosen, content, wish)  # again: the one that was waited for may have done it
            _Import(store, packed, due, content, wish).run()
    return _finish(wish, outcome, due)


class _Import:
    """Carries out what is due, with the lock in hand."""

    def __init__(self, store: Store, packed: Packed, due: _Due, content: Content, wish: Wish) -> None:
        self.store, self.packed, self.due, self.content, self.wish = store, packed, due, content, wish
        self.permissions = _for_new(store, wish.permissions)

    def run(self) -> None:
        try:
            self._unpack()
            self._place()
        except GpufleetError:
            _clean(self.store)  # of an archive that is refused nothing stays
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _clean(self.store)
            raise
        _clean(self.store)

    def _unpack(self) -> None:
        """Bring every due blob, verified, into the work folder."""
        if not self.due.unpack:
            return
        work = self._folder(self.store.blobs)
        held = _verified(self.store, self.due.unpack)
        for entry in os.scandir(work):
            if "sha256:" + entry.name not in held:
                (os.rmdir if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
        _check_space(self.store, self.due, held)
        wanted = {digest: size for digest, size in self.due.unpack.items() if digest not in held}
        if not wanted:
            return
        self.wish.say("unpacking %d blobs, %s" % (len(wanted), human(sum(wanted.values()))))
        done: t.Set[str] = set()
        again = Content(manifests=dict(self.content.manifests))
        with self.packed.reader() as reader:
            for member in members(reader):
                kind, what = place_of(member)
                if kind == "manifest":
                    again.add_manifest(what, member.content(MAX_BYTES), reader.where)
                elif kind == "blob":
                    again.add_blob(what, member.size, reader.where)
                    if what in wanted:
                        self._one(member, what, wanted[what], work, what in done)
                        done.add(what)
            reader.finish()
        missing = sorted(set(wanted) - done)
        if missing:
            raise GpufleetError("%s lacks %s, which its index promises." % (self.packed.path, ", ".join(missing)))

    def _one(self, member: Member, digest: str, size: int, work: str, again: bool) -> None:
        if member.size != size:
            raise _size_error(self.packed.path, digest, member.size, size)
        target = os.path.join(work, digest[7:])
        actual = hashlib.sha256()
        with open(os.devnull if again else target + ".part", "wb") as file:
            for piece in member.pieces():
                actual.update(piece)
                file.write(piece)
            file.flush()
            if not again:
                os.fsync(file.fileno())
        if actual.hexdigest() != digest[7:]:
            raise GpufleetError(
                "%s: the content of %s is not what its name says, its sha256 is %s. Nothing was imported."
                % (self.packed.path, shown(member.name), actual.hexdigest())
            )
        if not again:
            os.rename(target + ".part", target)

    def _place(self) -> None:
        due = self.due
        if due.unpack or due.place:
            self._make(self.store.blobs)
        for digest in due.unpack:
            source = os.path.join(_work_folder(self.store, self.store.blobs), digest[7:])
            self.permissions.give(source)
            os.utime(source)  # Ollama's pruning at start spares what is younger than an hour
            os.replace(source, self.store.blob_path(digest))
        if due.unpack:
            sync_directory(self.store.blobs)
        for digest in due.kept:  # it may have been an orphan, about to be pruned
            with contextlib.suppress(PermissionError):
                os.utime(self.store.blob_path(digest))
        for name in sorted(due.place):
            self._place_manifest(name, due.manifests[name])
        for path in due.permissions:
            self.wish.permissions.give(path)

    def _place_manifest(self, name: Name, manifest: Manifest) -> None:
        problems = self.store.problems_of(manifest.blobs)
        if problems:
            raise GpufleetError(
                "%s was not imported: %s. Did somebody remove it meanwhile? Run again." % (name, problems[0].detail)
            )
        target = self.store.manifest_path(name)
        self._make(os.path.dirname(target))
        new = os.path.join(self._folder(self.store.manifests), "manifest")
        with open(new, "wb") as file:
            file.write(manifest.raw)
            file.flush()
            os.fsync(file.fileno())
        self.permissions.give(new)
        os.replace(new, target)
        sync_directory(os.path.dirname(target))

    def _make(self, folder: str) -> None:
        """Have the folder, with its owner and mode from the moment that it has its name."""
        if os.path.isdir(folder):
            return
        self._make(os.path.dirname(folder))
        new = os.path.join(self._folder(os.path.dirname(folder)), "folder")
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(new)
        os.mkdir(new)
        self.permissions.give(new)
        try:
            os.replace(new, folder)
        except OSError:
            if not os.path.isdir(folder):  # a server may just have made it
                raise
        sync_directory(os.path.dirname(folder))

    def _folder(self, beside: str) -> str:
        folder = _work_folder(self.store, beside)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            found = os.lstat(folder)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise GpufleetError(
                    "%s was made by somebody else. It was removed: see who did that, and run again." % folder
                ) from None
        return folder


def _chosen(content: Content, wish: Wish) -> t.Dict[Name, Manifest]:
    """The wished manifests; GpufleetError for one that is absent, that cannot be read, or whose blobs do not fit it."""
    places = {Name.from_path(path).key: path for path in content.manifests}
    for name in wish.names or ():
        if name.key not in places:
            there = ", ".join(sorted(Name.from_path(path).short for path in content.manifests))
            raise GpufleetError("names: %s is not in %s, which holds %s." % (name, wish.path, there))
    keys = sorted(places) if wish.names is None else [name.key for name in wish.names]
    chosen = {}
    for key in keys:
        path = places[key]
        manifest = Manifest.parse(content.manifests[path], "%s: manifests/%s" % (wish.path, path))
        for digest, size in manifest.blobs.items():
            if content.blobs.get(digest, size) != size:
                raise _size_error(wish.path, digest, content.blobs[digest], size)
        chosen[Name.from_path(path)] = manifest
    return chosen


def _look(store: Store, chosen: t.Mapping[Name, Manifest], content: Content, wish: Wish) -> _Due:
    due = _Due({store.find(name) or name: manifest for name, manifest in chosen.items()})
    blobs: t.Dict[str, int] = {}
    for name, manifest in sorted(due.manifests.items()):
        target = store.manifest_path(name)
        if os.path.isdir(target):
            raise GpufleetError("%s is in the way of a manifest: it is a directory. Move it away." % target)
        known = _digest_at(target)
        due.before.append("%s: %s" % (name, known or "absent"))
        if known != manifest.digest:
            due.place.append(name)
        blobs.update(manifest.blobs)
    wrong = {problem.digest: problem for problem in store.problems_of(blobs, hashes=wish.verify)}
    for digest in blobs:
        path = store.blob_path(digest)
        if os.path.isdir(path):
            raise GpufleetError("%s is in the way of a blob: it is a directory. Move it away." % path)
    due.unpack = {digest: size for digest, size in blobs.items() if digest in wrong}
    due.kept = set(blobs) - set(due.unpack)
    missing = sorted(set(due.unpack) - set(content.blobs))
    if missing:
        raise GpufleetError(
            "%s lacks %d of the blobs that its manifests name, and the store has not got them either: %s. "
            "Nothing was imported." % (wish.path, len(missing), ", ".join(missing[:5])),
            missing=missing,
        )
    due.before += ["%s" % problem.detail for problem in wrong.values() if problem.kind != "missing"]
    files = [store.manifest_path(name) for name in due.manifests if name not in due.place]
    files += [store.blob_path(digest) for digest in due.kept]
    due.permissions = [path for path in files if not os.path.islink(path) and not wish.permissions.fits(path)]
    due.before += ["owner or mode: %s" % path for path in due.permissions]
    return due


def _digest_at(path: str) -> t.Optional[str]:
    """Of a manifest's bytes, whatever they are: a damaged one is another one."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(MAX_BYTES + 1)).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _ignored(content: Content, chosen: t.Mapping[Name, Manifest]) -> t.List[str]:
    """What the archive has and nobody asked for."""
    wanted = {digest for manifest in chosen.values() for digest in manifest.blobs}
    paths = {name.path for name in chosen}
    return (
        ["manifests/" + path for path in sorted(content.manifests) if path not in paths]
        + ["blobs/" + digest.replace(":", "-") for digest in sorted(content.blobs) if digest not in wanted]
        + sorted(content.others)
    )


def _for_new(store: Store, wished: Permissions) -> Permissions:
    """What is new belongs, unless told otherwise, to whom the store belongs."""
    for path in (store.blobs, store.path):
        if os.path.isdir(path):
            found = os.stat(path)
            owner = wished.owner if wished.owner is not None else str(found.st_uid)
            group = wished.group if wished.group is not None else str(found.st_gid)
            return Permissions(owner, group, wished.file_mode, wished.directory_mode)
    return wished


@contextlib.contextmanager
def _locked(store: Store, wish: Wish) -> t.Iterator[None]:
    make_directories(store.path)
    if not os.path.isdir(store.blobs) and not os.path.isdir(store.manifests):  # made just now, or by a killed run
        if not wish.permissions.fits(store.path):
            wish.permissions.give(store.path)
    path = os.path.join(store.path, LOCK)
    with locked_file(path, wish.lock_timeout_s, wish.say):
        try:
            yield
        finally:
            os.unlink(path)


def _work_folder(store: Store, beside: str) -> str:
    """Where files can be renamed from into ``beside``: in the store, unless that is another file system.

    There, a folder: what Ollama prunes in blobs/ is files, and it reads manifests only four levels down.
    """
    if os.path.isdir(beside) and os.stat(beside).st_dev != os.stat(store.path).st_dev:
        return os.path.join(beside, WORK)
    return os.path.join(store.path, WORK)


def _leftovers(store: Store) -> bool:
    return any(os.path.lexists(os.path.join(folder, WORK)) for folder in _work_places(store)) or os.path.lexists(
        os.path.join(store.path, LOCK)
    )


def _work_places(store: Store) -> t.Tuple[str, ...]:
    return store.path, store.blobs, store.manifests


def _clean(store: Store) -> None:
    for folder in _work_places(store):
        work = os.path.join(folder, WORK)
        if os.path.islink(work):
            os.unlink(work)
        remove_tree(work)


def _verified(store: Store, wanted: t.Mapping[str, int]) -> t.Set[str]:
    """What a killed run had unpacked and verified."""
    if not os.path.isdir(store.path):
        return set()
    work = _work_folder(store, store.blobs)
    return {
        digest
        for digest, size in wanted.items()
        if os.path.isfile(os.path.join(work, digest[7:])) and os.stat(os.path.join(work, digest[7:])).st_size == size
    }


def _check_space(store: Store, due: _Due, held: t.Set[str]) -> None:
    """Before anything is written. What a killed run left counts as free, but for what it had verified."""
    needed = sum(size for digest, size in due.unpack.items() if digest not in held)
    free = Store(store.blobs).free_bytes() + _reclaimed(store, held)
    if free < needed:
        raise GpufleetError(
            "store=%s: %d blobs take %d bytes (%s) and %d (%s) are free: %d bytes short. Nothing was written."
            % (store.path, len(due.unpack) - len(held), needed, human(needed), free, human(free), needed - free),
            needed_bytes=needed,
            short_bytes=needed - free,
        )


def _reclaimed(store: Store, held: t.Set[str]) -> int:
    folder = _work_folder(store, store.blobs) if os.path.isdir(store.path) else ""
    if not os.path.isdir(folder):
        return 0
    names = [name for name in os.listdir(folder) if "sha256:" + name not in held]
    return sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for name in names)


def _size_error(path: str, digest: str, found: int, wanted: int) -> GpufleetError:
    return GpufleetError("%s: %s has %d bytes and its manifest says %d. Nothing was imported." % (
        path, digest, found, wanted))  # fmt: skip


def _finish(wish: Wish, outcome: Outcome, due: _Due) -> Outcome:
    would = "would have been " if wish.check_mode else ""
    outcome.manifests = due.manifests
    outcome.changed = not due.nothing
    outcome.written, outcome.kept = len(due.unpack), len(due.kept)
    outcome.written_bytes = sum(due.unpack.values())
    outcome.before = due.before
    outcome.after = ["%s: %s" % (name, manifest.digest) for name, manifest in sorted(due.manifests.items())]
    if due.unpack or due.place:
        outcome.msg = "models: %d %simported, blobs written: %d, %s" % (
            len(due.manifests), would, outcome.written, human(outcome.written_bytes))  # fmt: skip
    elif due.permissions:
        outcome.msg = "owner or mode of %d files %sset" % (len(due.permissions), would)
    else:
        outcome.msg = "the store holds the models already"
    return outcome
