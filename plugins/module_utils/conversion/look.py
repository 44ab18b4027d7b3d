# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at the files that are named, and at those that belong to them."""

from __future__ import annotations

import os
import stat
import typing as t

from ..errors import GpufleetError
from ..models.gguf import MAGIC, SPLIT_NAME, GgufHeader, padded, read_gguf, split_names
from . import parts as rules
from .parts import Part


def look(path: str) -> Part:
    """The file, with its header where it begins as GGUF does."""
    begins, size = _beginning(path)
    return Part(path, size, begins, header_of(path) if begins == MAGIC else None)


def header_of(path: str) -> GgufHeader:
    with open(path, "rb", buffering=0) as content:

        def read(offset: int, length: int) -> bytes:
            return os.pread(content.fileno(), length, offset)

        return read_gguf(read, path)


def named(sources: t.Sequence[str]) -> t.List[str]:
    """All parts: those that are given, or of one that is given alone the others too, by their names."""
    if len(sources) > 1:
        _no_doubles(sources)
        return list(sources)
    folder, name = os.path.split(sources[0])
    if SPLIT_NAME.match(name):
        return [os.path.join(folder, other) for other in split_names(name)]
    if rules.piece(name):
        found = [os.path.join(folder, other) for other in rules.siblings(name, _listing(folder))]
        return found or list(sources)
    return list(sources)


def look_at_parts(paths: t.Sequence[str], sha256: t.Optional[str]) -> t.Tuple[str, t.List[Part]]:
    """(kind, parts) of what can be merged. Reads beginnings and headers only; the header of pieces may span them."""
    missing = [path for path in paths if not os.path.exists(path)]
    if missing and len(paths) > 1:
        raise GpufleetError("%s is missing: the model is in %d parts" % (", ".join(missing[:5]), len(paths)), missing=missing)
    small = [Part(path, size, begins) for path, (begins, size) in ((path, _beginning(path)) for path in paths)]
    if all(part.is_gguf for part in small) and not (len(small) == 1 and rules.piece(small[0].name)):
        found = [look(part.path) for part in small]
        kind = rules.kind(found)
        rules.check_set(found)
        return kind, found
    if small[0].is_gguf and len(small) > 1 and SPLIT_NAME.match(small[1].name) and not small[1].is_gguf:
        raise GpufleetError(
            "%s is named as a file of a set, and does not begin as GGUF does (it begins with %r). Download it again; where "
            "these are pieces of one file that was cut up, name them NAME.gguf.part1of2 and so on"
            % (small[1].path, small[1].begins)
        )
    if len(small) > 1 or not small[0].is_gguf:
        rules.kind(small)
    rules.check_pieces(small, bool(sha256))
    header = joined_header(small)  # a cut may go through it
    size = sum(part.size for part in small)
    names = "%s and its further pieces (%d)" % (small[0].path, len(small) - 1)
    rules.check_joined(header, size, padded_end(header), names)
    if len(small) == 1:
        raise GpufleetError("%s is one whole file already: there is nothing to merge" % small[0].path)
    return rules.PIECES, [Part(small[0].path, small[0].size, small[0].begins, header)] + small[1:]


def joined_header(parts: t.Sequence[Part]) -> GgufHeader:
    """The header of the file that the pieces make, read over their borders."""

    def read(offset: int, length: int) -> bytes:
        for part in parts:
            if offset < part.size:
                with open(part.path, "rb", buffering=0) as content:
                    return os.pread(content.fileno(), length, offset)
            offset -= part.size
        return b""

    return read_gguf(read, "the file that begins with %s" % parts[0].path)


def padded_end(header: GgufHeader) -> int:
    """Writers may pad what is last too."""
    return header.data_start + padded(header.file_bytes - header.data_start, header.alignment)


def _beginning(path: str) -> t.Tuple[bytes, int]:
    try:
        with open(path, "rb", buffering=0) as content:
            found = os.fstat(content.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise GpufleetError("%s is not a file" % path)
            return os.pread(content.fileno(), 4, 0), found.st_size
    except FileNotFoundError:
        raise GpufleetError("%s does not exist on this host" % path) from None
    except IsADirectoryError:
        raise GpufleetError("%s is a directory: name a file in it" % path) from None


def _listing(folder: str) -> t.List[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _no_doubles(sources: t.Sequence[str]) -> None:
    seen: t.Dict[t.Tuple[int, int], str] = {}
    for path in sources:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            continue  # said later
        key = (found.st_dev, found.st_ino)
        if key in seen:
            raise GpufleetError("%s is given twice%s" % (path, "" if seen[key] == path else ": %s is the same file" % seen[key]))
        seen[key] = path
