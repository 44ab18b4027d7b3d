# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From verified archives to a version that is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import typing as t

from ..errors import GpufleetError
from . import archive, compressed, ollama_archives, ollama_sources
from .compressed import BadArchive
from .ollama_sources import Opened
from .ollama_wish import Wish, Work
from .releases import RECORD, SCHEMA, write_record


def install(wish: Wish, work: Work) -> None:
    """Fetch, verify, unpack, and give it its name. Whoever calls holds the lock."""
    temporary = None
    try:
        with contextlib.ExitStack() as stack:
            verified = ollama_sources.from_files if wish.archives else ollama_sources.from_web
            opened = verified(wish, work, stack)
            temporary = work.place.temporary(str(wish.version))
            tree, left_out = _unpack(wish, work, opened, temporary)
        record = {
            "schema": SCHEMA,
            "version": str(wish.version),
            "architecture": wish.architecture,
            "addons": sorted(wish.addons),
            "libraries": wish.libraries,
            "left_out": left_out,
            "source": os.path.dirname(wish.archives[0]) if wish.archives else wish.url,
            "files": dict(work.files),
            "unverified": sorted(source.name for source, _addon, _content in opened if not source.sha256),
            "paths": tree.sizes,
        }
        tree.sync()
        write_record(temporary, record)
        work.say("put it in place as %s" % work.place.directory(str(wish.version)))
        work.place.put(temporary, str(wish.version))
        temporary = None
    except BadArchive:
        with contextlib.suppress(OSError):
            shutil.rmtree(wish.folder(work.place))  # it would be as bad the next time
        raise
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):  # only when there is nothing to continue
            os.rmdir(wish.folder(work.place))
            os.rmdir(os.path.dirname(wish.folder(work.place)))


def _unpack(wish: Wish, work: Work, opened: Opened, target: str) -> t.Tuple[archive.Tree, t.List[str]]:
    """All archives one over the other; with the libraries that were there and not wanted."""
    _room_unpacked(wish, work, opened)
    tree = archive.Tree(target, reserved=[RECORD])
    libraries: t.Set[str] = set()
    for source, addon, content in opened:

        def wanted(name: str, is_directory: bool, base: bool = addon is None) -> bool:
            if not base:
                return True  # an add-on was asked for by its name
            libraries.update(filter(None, [ollama_archives.library_of(name, is_directory)]))
            return wish.wants(name, is_directory)

        work.say(ollama_sources.unpacks(wish, source.name, addon))
        tree.unpack(content, source.location, wanted)
    base = opened[0][0].location
    tree.check_links(base)
    unknown = sorted(set(wish.libraries or []) - libraries)
    if unknown:
        raise GpufleetError(
            "libraries=%s: %s has %s" % (", ".join(unknown), base, ", ".join(sorted(libraries)) or "no such directories")
        )
    ollama_archives.check_tree(target, wish.version, wish.architecture, base)
    return tree, sorted(library for library in libraries if not wish.wants("lib/ollama/" + library, True))


def _room_unpacked(wish: Wish, work: Work, opened: Opened) -> None:
    """By what the archives say or an estimate; counted exactly only where that does not fit."""
    needed = sum(
        compressed.stated_size(content) or ollama_sources.UNPACKED * os.fstat(content.fileno()).st_size
        for _source, _addon, content in opened
    )
    _device, free = archive.free_of(work.place.path)
    if needed <= free:
        return
    needed = sum(
        archive.unpacked_size(content, source.location, (lambda *_entry: True) if addon else wish.wants)
        for source, addon, content in opened
    )
    if needed > free:
        raise ollama_sources.no_room(work.place.path, needed, free, "to unpack Ollama %s" % wish.version)
