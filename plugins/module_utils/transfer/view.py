# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A revision as it lies in the store, compared with what is wished."""

from __future__ import annotations

import os
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..errors import GpufleetError
from . import store
from .files import ModelFile, check_paths, digest_of, problem_with
from .selection import select
from .source import Source, Wish
from .watch import Counter


@dataclass
class View:
    revision: t.Optional[str] = None  # None: only the source can tell
    linked: t.Optional[str] = None  # where the ref's link points
    record: t.Optional[t.Dict[str, t.Any]] = None
    outdated: bool = False  # the source may be something else now
    listing: t.List[ModelFile] = field(default_factory=list)
    wanted: t.List[ModelFile] = field(default_factory=list)
    absent: t.List[ModelFile] = field(default_factory=list)  # wanted, and not there or not whole
    touched: t.List[ModelFile] = field(default_factory=list)  # whole, but not as this host recorded it
    permissions: t.List[str] = field(default_factory=list)  # paths with another owner or mode

    @property
    def files_right(self) -> bool:
        return self.record is not None and not self.outdated and not self.absent and not self.touched

    @property
    def complete(self) -> bool:
        return self.files_right and not self.permissions and self.linked == self.revision

    @property
    def needs_source(self) -> bool:
        return self.record is None or self.outdated or bool(self.absent)


def look(home: store.Home, wish: Wish, source: Source) -> View:
    """What the store says by itself, by size, mtime and inode: no network, no hashing."""
    linked = home.linked(source.revision)
    view = _look_at(home, wish, source, linked)
    if wish.commit:
        view.outdated = view.outdated or linked != wish.commit
        return view
    asks = wish.latest and not wish.offline and not source.sees_changes and not store.is_commit(source.revision)
    view.outdated = view.outdated or linked is None or asks
    return view


def recheck(home: store.Home, wish: Wish, view: View, verdicts: t.Dict[t.Tuple[str, int, int], bool]) -> View:
    """Read the files whose date or inode is another one, or all of them: those that are wrong count as absent.

    ``verdicts`` remembers what was read, so that a second look in the same run is free.
    """
    suspects = list(view.touched)
    if wish.verify == "full" and view.record is not None:
        suspects = [one for one in view.wanted if one not in view.absent]
    places = {one: os.path.join(home.revision_path(t.cast(str, view.revision)), one.path) for one in suspects}
    stats = {one: os.stat(path) for one, path in places.items()}
    keys = {one: (places[one], stats[one].st_mtime_ns, stats[one].st_ino) for one in suspects}
    unread = [one for one in suspects if keys[one] not in verdicts]
    with ThreadPoolExecutor(wish.max_workers) as pool:
        count = Counter()
        wish.watch.stage("verifying %s" % home.path, count.value, sum(one.size for one in unread))
        for one, problem in zip(unread, pool.map(lambda one: problem_with(places[one], one, count.add), unread)):
            verdicts[keys[one]] = problem is None
    wrong = [one for one in suspects if not verdicts[keys[one]]]
    if wrong and not wish.repair:
        raise GpufleetError(
            "%s: %d files are not what the source states: %s. Set repair=true to fetch them again"
            % (home.revision_path(t.cast(str, view.revision)), len(wrong), ", ".join(one.path for one in wrong)),
            files=[one.path for one in wrong],
        )
    view.absent += wrong
    view.touched = [one for one in view.touched if one not in wrong]
    return view


def settle(home: store.Home, wish: Wish, source: Source, view: View) -> View:
    """The same after asking the source what the store cannot know.

    ``outdated`` then only says that the record must be written again: the same content, other dates.
    """
    if view.outdated or view.record is None:
        revision = source.resolve()
        if store.is_commit(source.revision) and revision != source.revision:
            raise GpufleetError("%s is %s, but revision=%s is asked for" % (source.label, revision, source.revision))
        view = _look_at(home, wish, source, revision)
    if view.record is None:
        view.listing = source.listing(t.cast(str, view.revision))
        check_paths(view.listing, source.label)
        if wish.listing_sha256 and digest_of(view.listing) != wish.listing_sha256:
            raise GpufleetError(
                "%s lists other files, sizes or hashes than listing_sha256=%s states: its list has %s. "
                "It is not the source that was meant, or it was altered"
                % (source.label, wish.listing_sha256, digest_of(view.listing))
            )
        view.wanted = select(view.listing, wish.include, wish.exclude, source.label)
        view.absent = list(view.wanted)
    return view


def _look_at(home: store.Home, wish: Wish, source: Source, revision: t.Optional[str]) -> View:
    view = View(revision=revision, linked=home.linked(source.revision))
    if revision is None:
        return view
    view.record = home.record(revision)
    if view.record is None:
        return view
    view.outdated = not source.unchanged_since(view.record)
    view.listing = [ModelFile.from_dict(one) for one in view.record["files"] + view.record["skipped"]]
    view.wanted = select(view.listing, wish.include, wish.exclude, source.label)
    known = {one["path"]: one for one in view.record["files"]}
    for one in view.wanted:
        path = os.path.join(home.revision_path(revision), one.path)
        state = store.state_of(path, known[one.path]) if one.path in known else "broken"
        if state != "same":
            (view.touched if state == "touched" else view.absent).append(one)
    view.permissions = wish.permissions.wrong(home.revision_path(revision))
    return view
