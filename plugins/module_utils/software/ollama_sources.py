# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archives of a release: fetched or lying here, and verified before anybody looks into them."""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from ..transfer.files import Wanted
from . import archive, compressed, ollama_archives, sums
from .ollama_archives import SUMS
from .ollama_wish import Wish, Work

# What an archive becomes, at most, when it does not say: 1.7 GB were more than 4.25 GiB (ollama/ollama issue 15291).
UNPACKED = 3
_GIB = 1024**3


@dataclass(frozen=True)
class Source:
    """One archive: where it is, and the sum it has to have."""

    name: str
    location: str
    sha256: t.Optional[str]


def locations(wish: Wish) -> t.List[t.Tuple[t.Optional[str], str]]:
    """The archives in their order, each with its add-on; None is the base."""
    addons = [None] + list(wish.addons)
    if wish.archives:
        return list(zip(addons, wish.archives))
    return [(addon, _address(wish, _names(wish, addon)[0])) for addon in addons]


def candidates(wish: Wish) -> t.List[t.List[str]]:
    """For every archive in its order, the names that it may have."""
    if wish.archives:
        return [[os.path.basename(path)] for path in wish.archives]
    return [_names(wish, addon) for addon in [None] + list(wish.addons)]


def _names(wish: Wish, addon: t.Optional[str]) -> t.List[str]:
    return ollama_archives.file_names(wish.version, wish.architecture, addon)


def _address(wish: Wish, name: str) -> str:
    return "%s/v%s/%s" % (wish.url, wish.version, name)


def unpacks(wish: Wish, name: str, addon: t.Optional[str]) -> str:
    if addon or wish.libraries is None:
        return "unpack %s" % name
    return "unpack %s with libraries %s" % (name, ", ".join(wish.libraries) or "none")


Opened = t.List[t.Tuple[Source, t.Optional[str], t.BinaryIO]]


def from_files(wish: Wish, work: Work, stack: contextlib.ExitStack) -> Opened:
    """Archives on this host, verified."""
    found: Opened = []
    for number, (addon, path) in enumerate(locations(wish)):
        name = os.path.basename(path)
        try:
            content = t.cast(t.BinaryIO, stack.enter_context(open(path, "rb", buffering=0)))
            if compressed.kind(content, path) == "zstd":
                compressed.need_zstd()
            digest = wish.sha256[number] if wish.sha256 else _sum_beside(wish, path)
            got = sums.of_stream(content).hexdigest()
        except OSError as error:
            raise GpufleetError("archive=%s cannot be read: %s" % (path, error.strerror)) from None
        if digest and got != digest:
            raise GpufleetError(
                "archive=%s is not the file it should be: sha256 expected %s, got %s" % (path, digest, got),
                expected=digest,
                found=got,
            )
        work.files[name] = got
        found.append((Source(name, path, digest), addon, content))
    return found


def _sum_beside(wish: Wish, path: str) -> t.Optional[str]:
    name, beside = os.path.basename(path), os.path.join(os.path.dirname(path), SUMS)
    known: t.Dict[str, str] = {}
    if os.path.exists(beside):
        with open(beside, encoding="utf-8", errors="replace") as content:
            known = sums.parse(content.read(), beside)
    if name not in known and not wish.unverified:
        raise GpufleetError(
            "archive=%s: %s. Set sha256, or unverified=true to unpack it as it is"
            % (path, "%s has no sum for it" % beside if known else "there is no %s beside it" % SUMS)
        )
    return known.get(name)


def from_web(wish: Wish, work: Work, stack: contextlib.ExitStack) -> Opened:
    """Archives fetched from a server, verified."""
    # urllib and ssl take a while to load, and a run that changes nothing has no need of them.
    from ..transfer.transports import web as http  # pylint: disable=import-outside-toplevel

    if _names(wish, None)[0].endswith(".zst"):
        compressed.need_zstd()  # before gigabytes come that could not be unpacked
    web = http.Web(http.Access(**wish.access))
    found: Opened = []
    total = 0
    try:
        for addon, source in _published(wish, web):
            path = os.path.join(wish.folder(work.place), source.name + ".part")
            work.say("fetch %s" % source.location)

            def room(missing: int, size: int, before: int = total) -> None:
                _room(wish, work, missing, before + size)

            work.files[source.name] = web.file(source.location, path, Wanted(source.sha256), room)
            content = t.cast(t.BinaryIO, stack.enter_context(open(path, "rb", buffering=0)))
            total += os.fstat(content.fileno()).st_size
            found.append((source, addon, content))
    finally:
        work.bytes_downloaded = web.received
    return found


def _published(wish: Wish, web: t.Any) -> t.List[t.Tuple[t.Optional[str], Source]]:
    """The archives with their sums; one that a mirror lacks is noticed before the first is fetched."""
    from ..transfer.transports import web as http  # pylint: disable=import-outside-toplevel

    addons = [None] + list(wish.addons)
    if wish.sha256:
        names = [_names(wish, addon)[0] for addon in addons]
        return [
            (addon, Source(name, _address(wish, name), digest)) for addon, name, digest in zip(addons, names, wish.sha256)
        ]
    where = _address(wish, SUMS)
    known: t.Dict[str, str] = {}
    try:
        known = sums.parse(web.text(where), where)
    except http.NotThere:
        if not wish.unverified:
            raise
    found = []
    for addon in addons:
        candidates = _names(wish, addon)
        name = next((name for name in candidates if name in known), candidates[0])
        if name not in known and not wish.unverified:
            raise GpufleetError(
                "%s has no sum for %s. Check version, addons and url; it has: %s"
                % (where, name, ", ".join(sorted(known)[:20]))
            )
        found.append((addon, Source(name, _address(wish, name), known.get(name))))
    return found


def _room(wish: Wish, work: Work, missing: int, sizes: int) -> None:
    """Before bytes come: is there room for them, and, as far as can be known, for what they become?"""
    folder = os.path.dirname(wish.folder(work.place))
    # With few libraries it is a fraction, and which one is seen only inside.
    needs = [(folder, missing), (work.place.path, sizes * (UNPACKED if wish.libraries is None else 1))]
    for path, _size in needs:
        device, free = archive.free_of(path)
        needed = sum(size for other, size in needs if archive.free_of(other)[0] == device)
        if needed > free:
            raise no_room(path, needed, free, "to fetch and unpack Ollama %s" % wish.version)


def no_room(path: str, needed: int, free: int, purpose: str) -> GpufleetError:
    return GpufleetError(
        "%s %d bytes (%.1f GiB) are needed and the file system of %s has %d free: %d short. "
        "Remove old versions, name fewer libraries, or set path or download_dir to a larger file system"
        % (purpose, needed, needed / _GIB, path, free, needed - free),
        needed_bytes=needed,
        free_bytes=free,
        short_bytes=needed - free,
    )
