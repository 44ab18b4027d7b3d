# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The members of a tar archive, read strictly and in a bounded amount of memory, and written always the same.

tarfile reads extended headers of any size into memory and takes damage in the middle for the end of the archive.
Here it only parses and makes the header blocks.
"""

from __future__ import annotations

import tarfile
import typing as t
from dataclasses import dataclass

from ...errors import GpufleetError
from .streams import PIECE, Reader

BLOCK = 512
RECORD = 20 * BLOCK
_ZEROS = bytes(BLOCK)
_MAX_EXTENDED = 1024**2
_MAX_MEMBERS = 200_000
_MTIME = 946684800  # 2000-01-01: any fixed time does, and tar does not call this one implausible
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_OTHERS = {
    tarfile.LNKTYPE: "a hard link (make the archive with tar --hard-dereference)",
    tarfile.SYMTYPE: "a symbolic link (make the archive with tar --dereference)",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file (make the archive without --sparse)",
}


@dataclass
class Member:
    """A file or a directory of the archive; its content can be read while the iteration stands at it."""

    name: str
    size: int
    is_file: bool
    _reader: Reader
    _left: int

    def pieces(self) -> t.Iterator[bytes]:
        while self._left:
            piece = self._reader.read(min(self._left, PIECE))
            self._left -= len(piece)
            yield piece

    def content(self, limit: int) -> bytes:
        if self.size > limit:
            raise GpufleetError("%s: %s has %d bytes, at most %d are read." % (
                self._reader.where, shown(self.name), self.size, limit))  # fmt: skip
        return b"".join(self.pieces())


def members(reader: Reader) -> t.Iterator[Member]:
    """Every file and directory up to the end mark; GpufleetError for all that has no place in an archive of models."""
    extended: t.Dict[str, str] = {}
    for _number in range(_MAX_MEMBERS):
        header = _header(reader)
        if header is None:
            return
        if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            extended.update(_records(reader, _extended(reader, header)))
            continue
        if header.type == tarfile.XGLTYPE:
            _extended(reader, header)
            continue
        if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            text = _extended(reader, header).split(b"\0", 1)[0]
            if header.type == tarfile.GNUTYPE_LONGNAME:
                extended["path"] = text.decode("utf-8", "surrogateescape")
            continue
        name, size = extended.get("path", header.name), _size(reader, extended, header)
        if any(key.startswith("GNU.sparse.") for key in extended):
            header.type = tarfile.GNUTYPE_SPARSE
        extended = {}
        _check(reader, name, header.type)
        is_file = header.type in _FILES and not name.endswith("/")
        member = Member(name, size, is_file, reader, size if header.type in _FILES else 0)
        padding = -member._left % BLOCK
        yield member
        reader.skip(member._left + padding)
    raise GpufleetError("%s has more than %d members: it is no archive of models." % (reader.where, _MAX_MEMBERS))


def header_of(name: str, size: int) -> bytes:
    """The header of a file; with content and ``padding`` it is a member."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, _MTIME
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def end_mark(position: int) -> bytes:
    """The zeros that close an archive of ``position`` bytes."""
    return bytes(2 * BLOCK + -(position + 2 * BLOCK) % RECORD)


def shown(name: str) -> str:
    """A member's name for messages and results, whatever bytes it has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _header(reader: Reader) -> t.Optional[tarfile.TarInfo]:
    at = reader.position
    block = reader.read(BLOCK)
    if block == _ZEROS:
        if reader.read(BLOCK) != _ZEROS:
            raise GpufleetError("%s is damaged: only half an end mark at byte %d." % (reader.where, at))
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if not at:
            raise GpufleetError("%s is no tar archive: %s." % (reader.where, error)) from None
        raise GpufleetError("%s is damaged: no header at byte %d (%s)." % (reader.where, at, error)) from None
    if header.size < 0:
        raise GpufleetError("%s is damaged: a negative size at byte %d." % (reader.where, at))
    return header


def _extended(reader: Reader, header: tarfile.TarInfo) -> bytes:
    if header.size > _MAX_EXTENDED:
        raise GpufleetError("%s has an extended header of %d bytes, at most %d are read." % (
            reader.where, header.size, _MAX_EXTENDED))  # fmt: skip
    content = reader.read(header.size)
    reader.skip(-header.size % BLOCK)
    return content


def _records(reader: Reader, content: bytes) -> t.Dict[str, str]:
    """The ``<length> <key>=<value>`` lines of a pax header."""
    found: t.Dict[str, str] = {}
    while content.strip(b"\0"):
        length, space, _rest = content.partition(b" ")
        count = int(length) if length.isdigit() and len(length) < 8 else 0
        record = content[len(length) + 1 : count - 1]
        key, equals, value = record.partition(b"=")
        if not space or not equals or content[count - 1 : count] != b"\n":
            raise GpufleetError("%s is damaged: an extended header cannot be read." % reader.where)
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        content = content[count:]
    return found


def _size(reader: Reader, extended: t.Mapping[str, str], header: tarfile.TarInfo) -> int:
    text = extended.get("size")
    if text is None:
        return header.size
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise GpufleetError("%s is damaged: an extended header says size=%s." % (reader.where, shown(text[:40])))
    return int(text)


def _check(reader: Reader, name: str, kind: bytes) -> None:
    if name.startswith("/"):
        raise GpufleetError("%s has a member with an absolute name: %s." % (reader.where, shown(name)))
    if ".." in name.split("/"):
        raise GpufleetError("%s has a member that leaves its directory: %s." % (reader.where, shown(name)))
    if kind not in (*_FILES, tarfile.DIRTYPE):
        what = _OTHERS.get(kind, "of the unknown type %r" % kind)
        raise GpufleetError("%s has a member that is %s: %s." % (reader.where, what, shown(name)))
