# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing the missing files of a revision into its part directory, verified."""

from __future__ import annotations

import contextlib
import os
import typing as t
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ..errors import GpufleetError
from ..sizes import human
from . import store
from .files import ModelFile, problem_with
from .source import Source, Wish
from .transports.web import Wrong

_ATTEMPTS = 3


@dataclass(frozen=True)
class Part:
    """The directory of an unfinished revision. Whatever lies in ``files`` has been verified."""

    path: str

    @property
    def files(self) -> str:
        return os.path.join(self.path, "files")

    @property
    def incoming(self) -> str:
        return os.path.join(self.path, "incoming")

    def open(self, keep_incoming: bool) -> None:
        """What lies in ``incoming`` was not verified: it stays only for a source that continues it."""
        if not keep_incoming:
            store.remove_tree(self.incoming)
        for folder in (self.path, self.files, self.incoming):
            os.makedirs(folder, mode=0o700, exist_ok=True)


def split_held(
    home: store.Home, revision: str, files: t.Sequence[ModelFile], part: Part
) -> t.Tuple[t.Dict[ModelFile, t.List[str]], t.List[ModelFile]]:
    """Which files this host may have already, with the places to look at, and which it has not.

    Looked at: what an earlier run left in the part directory, what a killed one had moved to its place and not
    recorded, other revisions of the model (mostly, only a readme differs), and other unfinished ones.
    """
    recorded = {row["path"] for row in (home.record(revision) or {"files": []})["files"]}  # known to be wrong there
    held: t.Dict[ModelFile, t.List[str]] = {}
    others = list(home.others(revision))
    for one in files:
        places = [os.path.join(part.files, one.path)]
        if one.path not in recorded:
            places.append(os.path.join(home.revision_path(revision), one.path))
        for folder, record in others:
            if record is None:
                places.append(os.path.join(folder, one.path))
            else:
                same = [row["path"] for row in record["files"] if one.same_content(ModelFile.from_dict(row))]
                places.extend(os.path.join(folder, path) for path in same)
        places = [path for path in places if os.path.isfile(path) and os.path.getsize(path) == one.size]
        if places:
            held[one] = places
    return held, [one for one in files if one not in held]


def keep_held(held: t.Dict[ModelFile, t.List[str]], part: Part) -> t.Tuple[t.List[ModelFile], t.List[ModelFile]]:
    """Read what the host may have and link what is right into the part directory: (kept, still missing)."""
    kept, missing = [], []
    for one, places in held.items():
        target = os.path.join(part.files, one.path)
        right = next((path for path in places if problem_with(path, one) is None), None)
        if right is None:
            missing.append(one)
        else:
            kept.append(one)
        if right != target:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)
            if right is not None:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.link(right, target)
    return kept, missing


def check_space(path: str, source: Source, missing: t.Sequence[ModelFile]) -> None:
    needed, free = sum(one.size for one in missing), store.free_bytes(path)
    if needed > free:
        raise GpufleetError(
            "%s needs %d bytes (%s) more and the file system of %s has %d free: %s short. "
            "Free that much, or set store to a directory on a larger file system"
            % (source.label, needed, human(needed), path, free, human(needed - free)),
            needed_bytes=needed,
            free_bytes=free,
            short_bytes=needed - free,
        )


def fetch_all(wish: Wish, source: Source, revision: str, missing: t.Sequence[ModelFile], part: Part) -> None:
    """Fetch and verify every file; the largest first, so that the last one to end is a small one."""
    source.bulk(missing, revision, part.incoming)
    with ThreadPoolExecutor(wish.max_workers) as pool:
        pending: t.Set[Future] = {
            pool.submit(_fetch_one, wish, source, revision, one, part)
            for one in sorted(missing, key=lambda one: -one.size)
        }
        failure: t.Optional[BaseException] = None
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                if future.cancelled() or future.exception() is None or failure is not None:
                    continue
                failure = future.exception()
                for other in pending:  # what is running ends by itself, and the next run finds it
                    other.cancel()
    if failure is not None:
        raise failure


def _fetch_one(wish: Wish, source: Source, revision: str, one: ModelFile, part: Part) -> None:
    for _attempt in range(_ATTEMPTS):
        problem = ""
        try:
            path = source.fetch(one, revision, part.incoming)
            if not source.verifies:
                problem = "it is not a file" if os.path.islink(path) else problem_with(path, one) or ""
            if not problem:
                store.place(path, os.path.join(part.files, one.path))
                return
            os.unlink(path)
        except Wrong as error:
            problem = str(error)
        wish.say("%s of %s arrived wrong and was removed: %s" % (one.path, source.label, problem))
    raise GpufleetError(
        "%s of %s arrived wrong %d times and was removed: %s. A proxy or a mirror in between may alter it "
        "or hold a damaged copy: check endpoint, or the disk" % (one.path, source.label, _ATTEMPTS, problem),
        file=one.path,
    )
