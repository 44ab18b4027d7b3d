# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model in the store: look, fetch what is missing, verify it, put it in place.

Every step can be killed. What lies at its final name has been verified, the record is written after the files
and the link moves after the record.
"""

from __future__ import annotations

import datetime
import os
import typing as t
from dataclasses import dataclass, field

from ..errors import GpufleetError
from ..sizes import human
from ..version import VERSION
from . import store
from .fetch import SMALL, Part, check_space, fetch_all, keep_held, split_held
from .files import ModelFile, digest_of, make_directories
from .selection import RECORD, unmatched
from .source import Source, Wish
from .view import View, look, recheck, settle
from .watch import bytes_below


@dataclass
class Work:
    """What one run did or, in check mode, would do."""

    downloaded: t.List[ModelFile] = field(default_factory=list)
    reused: t.List[ModelFile] = field(default_factory=list)
    rechecked: t.List[ModelFile] = field(default_factory=list)
    verdicts: t.Dict[t.Tuple[str, int, int], bool] = field(default_factory=dict)
    warnings: t.List[str] = field(default_factory=list)
    waited_s: float = 0.0


def ensure(wish: Wish, source: Source) -> t.Dict[str, t.Any]:
    """Have the model in the store as wished; returns what the module returns."""
    home = store.Home(wish.store, source.kind, source.name)
    work = Work()
    if wish.latest and wish.offline and not store.is_commit(source.revision):
        work.warnings.append("offline: nobody was asked what %s of %s is now" % (source.revision, source.label))
    view = recheck(home, wish, look(home, wish, source), work.verdicts)
    _refuse_foreign(wish, source, view)
    before = view
    asked = view.needs_source
    if asked:
        if wish.offline:
            raise _offline(home, source, view)
        wish.watch.hold(True)
        try:
            source.prepare()  # may start the module again: not with the lock in hand, and not in a thread
            wish.watch.hold(False)
        except GpufleetError as error:
            if not wish.check_mode:
                raise
            return _unknown(home, source, view, str(error))
        view = settle(home, wish, source, view)
    for pattern in unmatched(view.listing, wish.include):
        work.warnings.append("include: no file of %s matches %s" % (source.label, pattern))
    wish.watch.stage("%s is complete" % source.label)
    if view.complete:
        return _result(home, wish, source, before, view, work, changed=False)
    if wish.check_mode:
        _predict(home, source, view, work)
        return _result(home, wish, source, before, view, work, changed=True)
    wish.permissions.check()
    make_directories(home.path)
    with home.locked(wish.lock_timeout_s, wish.say) as work.waited_s:
        # Again: the process waited for may have done it.
        view = recheck(home, wish, look(home, wish, source), work.verdicts)
        if view.needs_source and not asked:
            raise GpufleetError("%s changed while it was looked at: run again" % home.path)
        if view.needs_source:
            view = settle(home, wish, source, view)
        changed = not view.complete
        if changed:
            _carry_out(home, wish, source, view, work)
            view = look(home, wish, source)
            if view.record is None or view.absent or view.touched:
                raise GpufleetError("%s: the files changed while they were put in place. Look who else writes there" % home.path)
            wish.watch.stage("%s is complete" % source.label)
    return _result(home, wish, source, before, view, work, changed)


def _predict(home: store.Home, source: Source, view: View, work: Work) -> None:
    revision = t.cast(str, view.revision)
    work.rechecked = list(view.touched)
    part = Part(home.part_path(revision))
    held, work.downloaded = split_held(home, revision, view.absent, part)
    work.reused = list(held)
    if source.kind != "local":  # whether a copy would share its blocks shows only when it is made
        check_space(home.path, source, work.downloaded, part.incoming)


def _carry_out(home: store.Home, wish: Wish, source: Source, view: View, work: Work) -> None:
    revision = t.cast(str, view.revision)
    folder, part = home.revision_path(revision), Part(home.part_path(revision))
    if not view.files_right:
        work.rechecked = list(view.touched)
        part.open()
        held, missing = split_held(home, revision, view.absent, part)
        work.reused, wrong = keep_held(held, part)
        missing += wrong
        if missing and not source.copies_for_free(part.incoming):
            check_space(home.path, source, missing, part.incoming)
        wish.say("fetching %s of %s" % (_amount(missing), source.label))
        total = sum(one.size for one in view.absent)
        wish.watch.stage("fetching %s" % source.label, lambda: bytes_below(part.path), total)
        fetch_all(wish, source, revision, missing, part)
        work.downloaded = missing
        _publish(home, wish, source, view, part)
    wish.permissions.apply(wish.permissions.wrong(folder))
    home.set_link(source.revision, revision)
    store.sync_directory(home.path)
    store.remove_tree(part.path)


def _publish(home: store.Home, wish: Wish, source: Source, view: View, part: Part) -> None:
    """Give the verified files their final names, and the record that says so."""
    folder = home.revision_path(t.cast(str, view.revision))
    wanted = {one.path for one in view.wanted}
    for one in view.absent:
        if one.size <= SMALL:
            store.sync_file(os.path.join(part.files, one.path))
    if os.path.isdir(folder):
        for one in view.wanted:
            if os.path.exists(os.path.join(part.files, one.path)):
                store.move(os.path.join(part.files, one.path), os.path.join(folder, one.path))
        _write_record(folder, wish, source, view)
        return
    # An earlier run with other patterns may have left files there that nobody asks for now.
    for path in store.files_below(part.files):
        if path not in wanted:
            os.unlink(os.path.join(part.files, path))
    _write_record(part.files, wish, source, view)
    wish.permissions.apply(wish.permissions.wrong(part.files))
    os.rename(part.files, folder)


def _write_record(folder: str, wish: Wish, source: Source, view: View) -> None:
    wanted = {one.path for one in view.wanted}
    old = view.record or {"files": []}
    rows = [store.row(os.path.join(folder, one.path), one) for one in view.wanted]
    rows += [one for one in old["files"] if one["path"] not in wanted]  # of other patterns; as recorded then
    present = {one["path"] for one in rows}
    now = datetime.datetime.now(datetime.timezone.utc)
    record = {
        **old,
        "schema": store.SCHEMA,
        "kind": source.kind,
        "name": source.name,
        "source": wish.source,
        "revision": view.revision,
        "files": sorted(rows, key=lambda one: one["path"]),
        "skipped": [one.to_dict() for one in view.listing if one.path not in present],
        "verified_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "collection_version": VERSION,
        **source.record_fields(),
    }
    store.write_json(os.path.join(folder, RECORD), record)


def _refuse_foreign(wish: Wish, source: Source, view: View) -> None:
    """Two directories of the same name would take turns in the store, for ever."""
    other = view.record["source"] if view.record else wish.source
    if source.kind == "local" and other != wish.source and os.path.isdir(other):
        raise GpufleetError(
            "name=%s is taken in the store by source=%s, and source=%s has other files. Give one of them another name"
            % (source.name, other, wish.source)
        )


def _offline(home: store.Home, source: Source, view: View) -> GpufleetError:
    path = home.revision_path(view.revision or source.revision)
    if view.record:
        lacking = ", ".join(one.path for one in view.absent)
        what = "%s is incomplete (missing or damaged: %s)" % (path, lacking)
    else:
        what = "%s is not in the store (%s)" % (source.label, path)
    return GpufleetError(
        "offline is true and %s. Copy %s from a host that has it (rsync -a keeps the record valid), "
        "or give the directory where its files are as source, or run once with offline=false" % (what, home.path),
        path=path,
    )


def _unknown(home: store.Home, source: Source, view: View, problem: str) -> t.Dict[str, t.Any]:
    """Check mode on a host that is not prepared yet: a run would change something, but not to be said what."""
    path = home.link_path(source.revision) or home.revision_path(source.revision)
    return {
        "changed": True,
        "msg": "would bring %s into the store; how much is not known before a run: %s" % (source.label, problem),
        "path": path,
        "link": home.link_path(source.revision),
        "revision": view.revision,
        "files": None,
        "bytes": None,
        "downloaded_files": None,
        "downloaded_bytes": None,
        "reused_bytes": None,
        "waited_s": 0.0,
        "listing_sha256": None,
        "record": view.record,
        "diff": {"before": _summary(view, source), "after": "%s: to be fetched\n" % source.revision},
        "warnings": [],
    }


def _result(
    home: store.Home, wish: Wish, source: Source, before: View, after: View, work: Work, changed: bool
) -> t.Dict[str, t.Any]:
    done = ("would download", "would verify", "would set") if wish.check_mode else ("downloaded", "verified", "set")
    if not changed:
        msg = "%s is complete" % source.label
    elif work.downloaded:
        msg = "%s %s" % (done[0], _amount(work.downloaded))
    elif work.reused or work.rechecked:
        msg = "%s %s" % (done[1], _amount(work.reused + work.rechecked))
    else:
        msg = "%s record, link, owner or modes" % done[2]
    return {
        "changed": changed,
        "msg": msg,
        "path": home.revision_path(t.cast(str, after.revision)),
        "link": home.link_path(source.revision),
        "revision": after.revision,
        "files": len(after.wanted),
        "bytes": sum(one.size for one in after.wanted),
        "downloaded_files": len(work.downloaded),
        "downloaded_bytes": sum(one.size for one in work.downloaded),
        "reused_bytes": sum(one.size for one in work.reused),
        "waited_s": round(work.waited_s, 1),
        "listing_sha256": digest_of(after.listing),
        "record": after.record,
        "diff": {"before": _summary(before, source), "after": _summary(after, source, work, changed)},
        "warnings": work.warnings,
    }


def _summary(view: View, source: Source, work: t.Optional[Work] = None, changed: bool = False) -> str:
    """A revision in the lines of a diff."""
    if work is None or not changed:
        lines = ["%s: %s" % (source.revision, view.linked or "absent")]
        lines += ["lacking or damaged: %s" % one.path for one in view.absent if view.record]
        lines += ["owner or mode: %s" % path for path in view.permissions]
    else:
        lines = ["%s: %s" % (source.revision, view.revision)]
        lines += ["fetched: %s (%s)" % (one.path, human(one.size)) for one in work.downloaded]
        lines += ["verified again: %s" % one.path for one in work.rechecked]
    return "\n".join(lines) + "\n"


def _amount(files: t.Sequence[ModelFile]) -> str:
    return "%d files, %d bytes" % (len(files), sum(one.size for one in files))
