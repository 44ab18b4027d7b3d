# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packing and unpacking an archive as a stream: plain, gzip and zstd."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
import typing as t
import zlib

from ...errors import GpufleetError
from .. import zstd

PIECE = 4 * 1024**2
SUFFIXES = {".tar": "plain", ".tar.zst": "zstd", ".tzst": "zstd", ".tar.gz": "gzip", ".tgz": "gzip"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
# Behind an archive may stand zeros, up to what tar calls a record. More is not read through to find its end.
_MAX_TRAILING = 16 * 1024**2
# A skippable frame of zstd (RFC 8878, 3.1.2) at the very end says how long the file is: a shorter one is cut off.
_TRAILER = struct.Struct("<IIQ")
_TRAILER_MAGIC = 0x184D2A5A


def format_of(path: str) -> str:
    """How a new archive of this name is packed."""
    for suffix, packed in SUFFIXES.items():
        if path.endswith(suffix):
            return packed
    raise GpufleetError("path=%s: the name must end with one of %s." % (path, ", ".join(SUFFIXES)))


class Reader:
    """The unpacked bytes from front to back. ``where`` begins every message."""

    def __init__(self, stream: t.Any, where: str) -> None:
        self._stream = stream
        self.where = where
        self.position = 0

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, at most PIECE; GpufleetError at the end of the stream."""
        pieces = []
        left = size
        while left:
            piece = self._some(left)
            if not piece:
                raise GpufleetError(
                    "%s is cut off: it ends after %d unpacked bytes in the middle of its content."
                    % (self.where, self.position)
                )
            pieces.append(piece)
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip(self, size: int) -> None:
        while size:
            size -= len(self.read(min(size, PIECE)))

    def finish(self) -> None:
        """Read to the end, which must be near: only there does a packed stream prove to be whole."""
        left = _MAX_TRAILING
        while True:
            piece = self._some(PIECE)
            if not piece:
                return
            left -= len(piece)
            if left < 0:
                raise GpufleetError(
                    "%s goes on after its end for more than %d bytes: it is no archive of models."
                    % (self.where, _MAX_TRAILING)
                )

    def _some(self, size: int) -> bytes:
        try:
            piece = self._stream.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile, zstd.Damaged) as error:
            raise GpufleetError("%s cannot be unpacked: %s." % (self.where, str(error).rstrip("."))) from None
        self.position += len(piece)
        return piece


class PlainReader(Reader):
    """Of a file that is not packed: what is not wanted is not read."""

    def __init__(self, stream: t.BinaryIO, where: str) -> None:
        super().__init__(stream, where)
        self._size = os.fstat(stream.fileno()).st_size

    def skip(self, size: int) -> None:
        if self.position + size > self._size:
            raise GpufleetError(
                "%s is cut off: it has %d bytes and should have %d or more."
                % (self.where, self._size, self.position + size)
            )
        self.position += size
        self._stream.seek(self.position)


class Packed:
    """An archive on disk, kept open so that every pass reads the same file."""

    def __init__(self, file: t.Any, path: str) -> None:
        self._file = file
        self.path = path
        head = file.read(6)
        self.format = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "plain")
        if self.format in ("bzip2", "xz"):
            raise GpufleetError("path=%s is packed with %s: pack it with zstd or gzip, or not at all." % (
                path, self.format))  # fmt: skip
        self.size = os.fstat(file.fileno()).st_size

    @contextlib.contextmanager
    def reader(self) -> t.Iterator[Reader]:
        """One pass from the front."""
        self._file.seek(0)
        if self.format == "plain":
            yield PlainReader(self._file, self.path)
        elif self.format == "gzip":
            with gzip.GzipFile(fileobj=self._file, mode="rb") as stream:
                yield Reader(stream, self.path)
        else:
            _need_zstd(self.path)
            with zstd.reader(self._file) as unpacked:
                yield Reader(unpacked, self.path)

    def seems_whole(self, unpacked: int) -> bool:
        """Whether the file that holds ``unpacked`` bytes has its end, without unpacking it."""
        if self.format == "plain":
            return self.size == unpacked
        tail = 4 if self.format == "gzip" else _TRAILER.size
        if self.size < tail:
            return False
        self._file.seek(self.size - tail)
        if self.format == "gzip":
            return struct.unpack("<I", self._file.read(tail))[0] == unpacked % 2**32
        return self._file.read(tail) == _trailer(self.size - tail)


@contextlib.contextmanager
def opened(path: str) -> t.Iterator[Packed]:
    if not os.path.exists(path):
        raise GpufleetError("path=%s does not exist on this host: copy it there, or mount the share it is on." % path)
    if not os.path.isfile(path):
        raise GpufleetError("path=%s is not a file." % path)
    # Not buffered: zstd reads from the very position that this process has left the file at.
    with open(path, "rb", buffering=0) as file:
        yield Packed(file, path)


@contextlib.contextmanager
def writer(file: t.BinaryIO, path: str, level: int) -> t.Iterator[t.Any]:
    """Something with ``write`` that packs into ``file`` as ``path`` says: the same bytes for the same bytes and level."""
    packed = format_of(path)
    if packed == "plain":
        yield file
    elif packed == "gzip":
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=min(level, 9), mtime=0) as stream:
            yield stream
    else:
        _need_zstd(path)
        try:
            with zstd.writer(file, level) as stream:
                yield stream
        except zstd.Damaged as error:
            raise GpufleetError("%s cannot be packed: %s." % (path, error)) from None
        file.seek(0, os.SEEK_END)
        file.write(_trailer(file.tell()))
    file.flush()


def _trailer(length: int) -> bytes:
    return _TRAILER.pack(_TRAILER_MAGIC, 8, length)


def _need_zstd(where: str) -> None:
    if not zstd.available():
        raise GpufleetError(
            "%s needs zstd, and this host has neither the program nor a Python library for it: "
            "install the package zstd, or use a .tar." % where
        )
