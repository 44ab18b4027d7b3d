# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing the missing files of a revision into its part directory, verified."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import queue
import threading
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import GpufleetError
from ..sizes import MIB, human
from . import store
from .files import ModelFile, problem_with
from .source import Source, Wish
from .transports.web import Wrong
from .watch import bytes_of

_ATTEMPTS = 3
#: Up to this size, files are made durable when all are there: hundreds in a row would wait for the disk hundreds of times.
SMALL = 8 * MIB


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

    def open(self) -> None:
        for folder in (self.path, self.files, self.incoming):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        for top, folders, names in itertools.chain(os.walk(self.files), os.walk(self.incoming)):
            for name in folders + names:
                if os.path.islink(os.path.join(top, name)):
                    raise GpufleetError(
                        "%s is a link, which no download makes: it would be written through. Look who made it, and remove it"
                        % os.path.join(top, name)
                    )


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


def check_space(path: str, source: Source, missing: t.Sequence[ModelFile], incoming: str) -> None:
    """What lies in ``incoming`` of a file needs no more space."""
    begun = sum(min(one.size, bytes_of(os.path.join(incoming, one.path))) for one in missing)
    needed, free = sum(one.size for one in missing) - begun, store.free_bytes(path)
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
    if not missing:
        return
    together = source.takes_together(missing)
    alone = sorted(set(missing) - set(together), key=lambda one: -one.size)
    with _Crew(wish.max_workers) as crew:
        fetch = functools.partial(crew.begin, _fetch_one, wish, source, revision, part)
        for one in alone:
            fetch(one)
        if together:
            crew.aside(source.bring_together, together, revision, part.incoming, fetch, crew.stop)
        crew.finish()


class _Crew:
    """Workers that stop at the first failure; what they have done stays, and the next run finds it."""

    def __init__(self, workers: int) -> None:
        self.stop = threading.Event()
        self._workers = ThreadPoolExecutor(workers)
        self._aside = ThreadPoolExecutor(1)
        self._begun: t.List[Future] = []
        self._done: queue.SimpleQueue = queue.SimpleQueue()

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._aside.shutdown()
        self._workers.shutdown()

    def begin(self, call: t.Callable[..., t.Any], *arguments: t.Any) -> None:
        self._add(self._workers.submit(call, *arguments))

    def aside(self, call: t.Callable[..., t.Any], *arguments: t.Any) -> None:
        """One that may begin others."""
        self._add(self._aside.submit(call, *arguments))

    def finish(self) -> None:
        failure: t.Optional[BaseException] = None
        ended = 0
        while ended < len(self._begun):
            future = self._done.get()
            ended += 1
            if future.cancelled() or future.exception() is None or failure is not None:
                continue
            failure = future.exception()
            self.stop.set()
            for other in list(self._begun):
                other.cancel()
        if failure is not None:
            raise failure

    def _add(self, future: Future) -> None:
        self._begun.append(future)
        future.add_done_callback(self._done.put)


def _fetch_one(wish: Wish, source: Source, revision: str, part: Part, one: ModelFile) -> None:
    for _attempt in range(_ATTEMPTS):
        try:
            path = source.fetch(one, revision, part.incoming)
            if one.size > SMALL:
                store.sync_file(path)
            store.move(path, os.path.join(part.files, one.path))
            return
        except Wrong as error:
            problem = str(error)
        wish.say("%s of %s arrived wrong and was removed: %s" % (one.path, source.label, problem))
    raise GpufleetError(
        "%s of %s arrived wrong %d times and was removed: %s. A proxy or a mirror in between may alter it "
        "or hold a damaged copy: check endpoint, or the disk" % (one.path, source.label, _ATTEMPTS, problem),
        file=one.path,
    )
