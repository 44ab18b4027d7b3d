# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release of Ollama on this host: present, current, or gone."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import typing as t
import urllib.parse

from ..errors import GpufleetError
from . import lock, ollama_install, ollama_sources, ollama_wish
from .ollama_archives import Version
from .ollama_wish import Wish, Work
from .releases import CURRENT, Place, relink

VENDOR = ("github.com", "ollama.com")
_OUTSIDE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR)


def answer(params: t.Mapping[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    """What the module returns for its options."""
    work = Work(Place(params["path"]), check_mode)
    before = (work.place.versions(), work.place.current())
    after = before
    try:
        if params["state"] == "present":
            wish = ollama_wish.from_params(params)
            _present(wish, work)
            after = (_sorted(before[0] + [str(wish.version)]), before[1])
        elif params["state"] == "current":
            version = str(Version.parse(params["version"]))
            _current(version, params["command"], work, params["lock_timeout"])
            after = (before[0], version)
        else:
            gone = _absent(params, work)
            after = ([version for version in before[0] if version not in gone], before[1])
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        where = error.filename or work.place.path
        raise GpufleetError("%s: %s. Check path=%s" % (where, error.strerror, work.place.path)) from None
    if not check_mode:
        after = (work.place.versions(), work.place.current())
    return _result(params, work, before, after)


def _difference(wish: Wish, place: Place) -> t.Optional[str]:
    """Why the version is not there as asked for; None when it is."""
    version = str(wish.version)
    record = place.record(version)
    if record is None:
        if os.path.lexists(place.directory(version)):
            return "%s was not put there by this module, or its record is gone" % place.directory(version)
        return "%s is not installed" % version
    for name, asked in (
        ("architecture", wish.architecture),
        ("addons", sorted(wish.addons)),
        ("libraries", wish.libraries),
    ):
        if record.get(name) != asked:
            return "%s=%s is asked for, and %s has %s" % (name, _shown(asked), version, _shown(record.get(name)))
    for asked, names in zip(wish.sha256, ollama_sources.candidates(wish)):
        used = next((record["files"][name] for name in names if name in record["files"]), asked)
        if used != asked:
            return "an archive with sha256 %s is asked for, and %s was used" % (asked, used)
    return place.damage(record)


def _present(wish: Wish, work: Work) -> None:
    place = work.place
    work.reason = _difference(wish, place)
    if work.reason is None and not _left(wish, place):
        _recorded(wish, work)
        return
    if work.check_mode:
        _decide(wish, work)
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(place.locked(wish.lock_timeout_s))
        if wish.download_dir:  # others may fetch into it for a path of their own
            name = os.path.join(wish.download_dir, ".ollama.lock")
            stack.enter_context(lock.held(name, wish.download_dir, wish.lock_timeout_s))
        # Another run may have done it while this one waited.
        work.reason = _difference(wish, place)
        _decide(wish, work)


def _decide(wish: Wish, work: Work) -> None:
    whole = work.reason is None
    left = _left(wish, work.place) if whole else work.place.leftovers()
    for path in left:
        _remove(path, work)
    if whole:
        if left:
            work.reason = "a run that was killed left something behind"
        _recorded(wish, work)
        return
    if wish.offline and not wish.archives and urllib.parse.urlsplit(wish.url).hostname in VENDOR:
        raise GpufleetError(
            "offline=true: %s, and url=%s is the vendor's. Set url to a mirror of your own, or archive to a file on the host"
            % (work.reason, wish.url)
        )
    if work.check_mode:
        _foretell(wish, work)
    else:
        ollama_install.install(wish, work)
        # In our own directory what was begun for other versions goes too.
        shutil.rmtree(wish.folder(work.place) if wish.download_dir else os.path.dirname(wish.folder(work.place)), True)


def _recorded(wish: Wish, work: Work) -> None:
    work.files = dict((work.place.record(str(wish.version)) or {"files": {}})["files"])


def _remove(path: str, work: Work) -> None:
    work.say("remove %s" % path)
    if not work.check_mode:
        shutil.rmtree(path)


def _foretell(wish: Wish, work: Work) -> None:
    """Check mode: what is asked of no server and no file, since an earlier task may only be about to put it there."""
    for number, (addon, location) in enumerate(ollama_sources.locations(wish)):
        name = os.path.basename(location)
        work.files[name] = wish.sha256[number] if wish.sha256 else None
        if not wish.archives:
            work.say("fetch %s" % location)
        work.say(ollama_sources.unpacks(wish, name, addon))
    work.say("put it in place as %s" % work.place.directory(str(wish.version)))


def _left(wish: Wish, place: Place) -> t.List[str]:
    """What a killed run left that is of no use any more once the version is there."""
    folder = wish.folder(place)
    return place.leftovers() + ([folder] if os.path.isdir(folder) else [])


# --- current --------------------------------------------------------------------------------------


def _current(version: str, command: t.Optional[str], work: Work, lock_timeout_s: int) -> None:
    place = work.place
    if not work.check_mode or place.record(version) is not None:  # in check mode it may only be about to come
        _whole(version, place)
    if command and os.path.isdir(command) and not os.path.islink(command):
        raise GpufleetError("command=%s is a directory: give the name of a link in it" % command)
    links = {os.path.join(place.path, CURRENT): version}
    if command:
        links[command] = os.path.join(place.path, CURRENT, "bin", "ollama")
    due = {path: target for path, target in links.items() if not _leads(path, target)}
    if not due:
        return
    work.reason = ", ".join("%s is %s" % (path, _what_is(path)) for path in due)
    for path, target in due.items():
        work.say("link %s to %s" % (path, target))
    if not work.check_mode:
        with place.locked(lock_timeout_s):
            _whole(version, place)
            for path, target in due.items():
                relink(path, target)


def _leads(path: str, target: str) -> bool:
    return os.path.islink(path) and os.readlink(path) == target


def _what_is(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else "a file" if os.path.exists(path) else "not there"


def _whole(version: str, place: Place) -> None:
    record = place.record(version)
    problem = "it is not installed" if record is None else place.damage(record)
    if problem:
        raise GpufleetError("version=%s cannot become current: %s. Run state=present first" % (version, problem))


# --- absent ---------------------------------------------------------------------------------------


def _absent(params: t.Mapping[str, t.Any], work: Work) -> t.List[str]:
    """Remove what is named, or all but ``keep``; says what went."""
    wanted = [str(Version.parse(text, "versions")) for text in params["versions"] or []]
    keep = params["keep"]
    if keep is not None and keep < 0:
        raise GpufleetError("keep=%d: give 0 or more" % keep)
    gone = _unwanted(wanted, keep, params["used"], work.place)
    left = work.place.leftovers()
    if not gone and not left:
        return []
    if work.check_mode:
        for path in left + [work.place.directory(version) for version in gone]:
            _remove(path, work)
        return gone
    with work.place.locked(params["lock_timeout"]):
        for path in work.place.leftovers():
            _remove(path, work)
        gone = _unwanted(wanted, keep, params["used"], work.place)
        for version in gone:
            work.say("remove %s" % work.place.directory(version))
            shutil.rmtree(work.place.aside(version))
    return gone


def _unwanted(wanted: t.Sequence[str], keep: t.Optional[int], used: t.Sequence[str], place: Place) -> t.List[str]:
    taken = _taken(used, place)
    for version in wanted:
        if version in taken:
            raise GpufleetError("versions=%s is in use: %s. Start another version first" % (version, taken[version]))
    gone = [version for version in _sorted(wanted) if os.path.lexists(place.directory(version))]
    if keep is not None:
        unused = [version for version in place.versions() if version not in taken and version not in gone]
        gone += unused[: max(0, len(unused) - keep)]
    return _sorted(gone)


def _taken(used: t.Sequence[str], place: Place) -> t.Dict[str, str]:
    """Versions that stay, each with why."""
    taken = {}
    for text in used:
        version = place.version_of(text) if os.path.isabs(text) else str(Version.parse(text, "used"))
        if version is not None:
            taken[version] = "used names %s" % text
    current = place.current()
    if current is not None:
        taken[current] = "current points to it"
    return taken


# --- what is said ---------------------------------------------------------------------------------


def _sorted(versions: t.Iterable[str]) -> t.List[str]:
    return [str(version) for version in sorted({Version.parse(text) for text in versions})]


def _shown(value: t.Any) -> str:
    if value is None:
        return "all"
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)


State = t.Tuple[t.List[str], t.Optional[str]]


def _result(params: t.Mapping[str, t.Any], work: Work, before: State, after: State) -> t.Dict[str, t.Any]:
    version = str(Version.parse(params["version"])) if params["state"] != "absent" else None
    return {
        "changed": bool(work.actions),
        "reason": work.reason,
        "path": work.place.directory(version) if version else work.place.path,
        "version": version,
        "versions": after[0],
        "current": after[1],
        "files": work.files,
        "bytes_downloaded": work.bytes_downloaded,
        "actions": work.actions,
        "diff": {
            "before_header": work.place.path,
            "after_header": work.place.path,
            "before": _text(before),
            "after": _text(after),
            "prepared": "".join("%s\n" % action for action in work.actions),
        },
    }


def _text(state: State) -> str:
    return "versions: %s\ncurrent: %s\n" % (", ".join(state[0]) or "none", state[1] or "none")
