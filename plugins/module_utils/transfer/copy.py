# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model that one host has in its store, for another host.

The record is read on the one host by Ansible. The other host makes room, something sends the files, rsync as a rule, and then
they are compared with that record before they get their names.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import typing as t
from dataclasses import replace

from ..errors import GpufleetError
from . import store
from .download import ensure
from .fetch import Part, check_space, keep_held, split_held
from .files import ModelFile, check_paths, digest_of, make_directories
from .selection import RECORD
from .source import Wish
from .sources.copied import CopiedSource, same_list
from .view import look, recheck, settle

_ARRIVING = "copied"  # in the part directory: apart from what a download leaves there
_LIST = "missing"


def found(path: str, name: str, ref: str) -> t.Dict[str, t.Any]:
    """The model in the store, as its record has it; fails when it is not there or not whole."""
    store.check_ref(ref)
    home = _home(path, name)
    revision = home.linked(ref)
    record = home.record(revision) if revision else None
    if revision is None or record is None:
        raise GpufleetError("%s has no %s: it is to be downloaded there first" % (home.path, ref))
    broken = [one["path"] for one in record["files"] if _state(home, revision, one) == "broken"]
    if broken:
        raise GpufleetError(
            "%s is not whole: %s. Run model_download there first" % (home.revision_path(revision), ", ".join(broken)),
            files=broken,
        )
    rows = [ModelFile.from_dict(one) for one in record["files"]]
    return {
        "changed": False,
        "path": home.revision_path(revision),
        "link": home.link_path(ref),
        "revision": revision,
        "record": record,
        "files": len(rows),
        "bytes": sum(one.size for one in rows),
        "listing_sha256": digest_of(rows + [ModelFile.from_dict(one) for one in record["skipped"]]),
    }


def _state(home: store.Home, revision: str, row: t.Dict[str, t.Any]) -> str:
    return store.state_of(os.path.join(home.revision_path(revision), row["path"]), row)


def _home(path: str, name: str) -> store.Home:
    """``org/name`` is looked for under every kind of source."""
    if not os.path.isabs(path):
        raise GpufleetError("store=%s: give an absolute path" % path)
    if name.count("/") == 2:
        kind, _slash, rest = name.partition("/")
        store.check_name(rest, "model")
        store.check_name("%s/x" % kind, "model")
        return store.Home(path, kind, rest)
    store.check_name(name, "model")
    kinds = [one.split("/")[-3] for one in sorted(glob.glob(os.path.join(glob.escape(path), "*", *name.split("/"))))]
    if len(kinds) > 1:
        names = ", ".join("%s/%s" % (kind, name) for kind in kinds)
        raise GpufleetError("model=%s is in the store as %s: name one of them" % (name, names))
    if not kinds:
        raise GpufleetError("%s has no model %s" % (path, name))
    return store.Home(path, kinds[0], name)


def copied(wish: Wish, record: t.Dict[str, t.Any], ref: str, host: str, only_prepare: bool) -> t.Dict[str, t.Any]:
    """Make room for the model, or with all files there have it in the store."""
    source = _source(wish, record, ref, host)
    home = store.Home(wish.store, source.kind, source.name)
    part = Part(home.part_path(record["revision"]))
    arriving = os.path.join(part.path, _ARRIVING)
    places = {"arriving": arriving, "held": part.files, "list": os.path.join(part.path, _LIST), "missing": [], "missing_bytes": 0}
    if not only_prepare:
        _compare_what_came(os.path.join(arriving, RECORD), record, source)
        return {**ensure(wish, source), **places}
    wanted = replace(wish, offline=False)
    view = settle(home, wanted, source, recheck(home, wanted, look(home, wanted, source), {}))
    path, link = home.revision_path(record["revision"]), home.link_path(ref)
    result = {**places, "path": path, "link": link, "revision": record["revision"], "changed": False}
    if not view.absent:
        return {**result, "msg": "nothing is to be sent"}
    missing = split_held(home, record["revision"], view.absent, part)[1]
    if not wish.check_mode:
        wish.permissions.check()
        make_directories(home.path)
        with home.locked(wish.lock_timeout_s, wish.say):
            part.open()
            os.makedirs(arriving, mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(arriving, RECORD))  # of an earlier run; rsync goes by sizes
            held, missing = split_held(home, record["revision"], view.absent, part)
            missing += keep_held(held, part)[1]
            _write_list(places["list"], missing)
    check_space(home.path, source, missing, arriving)
    to_come = sum(one.size for one in missing)
    return {
        **result,
        "changed": True,
        "missing": [one.path for one in missing],
        "missing_bytes": to_come,
        "msg": "%d files, %d bytes are to be sent" % (len(missing), to_come),
        "diff": {"before": "", "after": "".join("%s\n" % one.path for one in missing)},
    }


def _write_list(path: str, missing: t.Sequence[ModelFile]) -> None:
    """For rsync --files-from, which takes a # at the beginning of a line for a comment."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as out:
        out.write("".join("./%s\n" % one for one in [RECORD, *(one.path for one in missing)]))


def _source(wish: Wish, record: t.Dict[str, t.Any], ref: str, host: str) -> CopiedSource:
    if record.get("schema") != store.SCHEMA:
        raise GpufleetError("the record of %s has schema %r, this version reads %s" % (host, record.get("schema"), store.SCHEMA))
    store.check_ref(ref)
    store.check_name(record["name"], "record.name")
    store.check_name("%s/x" % record["kind"], "record.kind")
    if not store.is_commit(record["revision"]):
        raise GpufleetError("the record of %s has the revision %r, which is no commit" % (host, record["revision"]))
    home = store.Home(wish.store, record["kind"], record["name"])
    source = CopiedSource(record, ref, host, home.part_path(record["revision"], _ARRIVING), wish.max_workers)
    check_paths(source.files + source.skipped, source.label)
    for one in source.files:
        if "\n" in one.path or "\r" in one.path:
            raise GpufleetError("%s has a file %r: a line of rsync --files-from cannot hold it" % (source.label, one.path))
    digest = digest_of(source.files + source.skipped)
    if wish.listing_sha256 and digest != wish.listing_sha256:
        raise GpufleetError(
            "%s lists other files, sizes or hashes than listing_sha256=%s states: its list has %s. It was altered there, or is "
            "not the one that was meant" % (source.label, wish.listing_sha256, digest)
        )
    wish.source = record["source"]
    # What the other host has, by whatever patterns it was chosen there.
    wish.include = [glob.escape(one.path) for one in source.files]
    wish.latest = True
    return source


def _compare_what_came(path: str, record: t.Dict[str, t.Any], source: CopiedSource) -> None:
    """The record lies beside the files that were sent. One that says otherwise was altered, there or on its way."""
    try:
        with open(path, encoding="utf-8") as content:
            came = json.load(content)
        problem = same_list(record, came)
    except FileNotFoundError:
        return  # nothing came: there was nothing to send, or the files will be missed
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = "its form (%s)" % error
    if problem:
        raise GpufleetError(
            "%s: the %s that came over and the one read on that host differ in %s, so nothing was put in place. "
            "Something altered it: verify the model on that host" % (source.label, RECORD, problem),
            files=[problem],
        )
