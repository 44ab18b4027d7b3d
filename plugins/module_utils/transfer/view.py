# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A revision as it lies in the store, compared with what is wished."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ..errors import GpufleetError
from . import store
from .files import ModelFile, check_paths, problem_with
from .selection import select
from .source import Source, Wish


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
    asks = wish.latest and not wish.offline and not source.sees_changes and not store.is_commit(source.revision)
    view.outdated = view.outdated or linked is None or asks
    return view


def recheck(home: store.Home, view: View, verdicts: t.Dict[t.Tuple[str, int, int], bool]) -> View:
    """Read the files whose date or inode is another one: those that are wrong count as absent.

    ``verdicts`` remembers what was read, so that a second look in the same run is free.
    """
    whole = []
    for one in view.touched:
        path = os.path.join(home.revision_path(t.cast(str, view.revision)), one.path)
        stat = os.stat(path)
        key = (path, stat.st_mtime_ns, stat.st_ino)
        if key not in verdicts:
            verdicts[key] = problem_with(path, one) is None
        (whole if verdicts[key] else view.absent).append(one)
    view.touched = whole
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
