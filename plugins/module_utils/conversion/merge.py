# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One GGUF file from its parts. Streams: no tensor is ever in memory as a whole.

The result of a set is what llama-gguf-split makes of it, but that it keeps the model's own alignment and has no key of the
split left. That program takes a tensor into memory as a whole, packs with an alignment of 32 whatever the header says, and brings
nothing to the disk; and a host that only merges would need it for nothing else.
"""

from __future__ import annotations

import hashlib
import os
import struct
import typing as t
import zlib
from dataclasses import dataclass

from ..errors import GpufleetError
from ..models.gguf import MAGIC, GgufHeader, padded
from ..models.gguf_sets import SPLIT_KEYS
from ..transfer.files import PIECE
from .look import header_of, padded_end
from .parts import SET, Part


@dataclass(frozen=True)
class Extent:
    """Bytes of a file that become bytes of the result."""

    path: str
    start: int
    length: int
    padding: int = 0  # zeros after them


@dataclass(frozen=True)
class Layout:
    """The result, before a byte of it is written."""

    head: bytes
    extents: t.List[Extent]
    tensors: t.List[t.Tuple[str, str, t.Tuple[int, ...], int]]  # name, type, shape, bytes
    size: int


def layout(kind: str, parts: t.Sequence[Part]) -> Layout:
    """What the parts become; they have been checked."""
    return _of_set(parts) if kind == SET else _of_pieces(parts)


def _of_pieces(parts: t.Sequence[Part]) -> Layout:
    header = t.cast(GgufHeader, parts[0].header)
    extents = [Extent(part.path, 0, part.size) for part in parts]
    return Layout(b"", extents, _tensors([header]), sum(part.size for part in parts))


def _of_set(parts: t.Sequence[Part]) -> Layout:
    headers = [t.cast(GgufHeader, part.header) for part in parts]
    first = headers[0]
    with open(parts[0].path, "rb") as content:
        keys = [_span(content, first.key_spans[key]) for key in first.metadata if key not in SPLIT_KEYS]
    infos: t.List[bytes] = []
    extents: t.List[Extent] = []
    offset = 0
    for part, header in zip(parts, headers):
        with open(part.path, "rb") as content:
            for tensor, at, span in zip(header.tensors, header.offsets, header.tensor_spans):
                # (The last eight bytes say where the data is.)
                infos.append(_span(content, span)[:-8] + struct.pack("<Q", offset))
                room = padded(tensor.bytes, first.alignment)
                extents.append(Extent(part.path, header.data_start + at, tensor.bytes, room - tensor.bytes))
                offset += room
    head = MAGIC + struct.pack("<IQQ", first.version, len(infos), len(keys)) + b"".join(keys) + b"".join(infos)
    head += bytes(padded(len(head), first.alignment) - len(head))
    return Layout(head, extents, _tensors(headers), len(head) + offset)


def _span(content: t.BinaryIO, span: t.Tuple[int, int]) -> bytes:
    content.seek(span[0])
    return content.read(span[1] - span[0])


def _tensors(headers: t.Sequence[GgufHeader]) -> t.List[t.Tuple[str, str, t.Tuple[int, ...], int]]:
    return [(one.name, one.dtype, one.shape, one.bytes) for header in headers for one in header.tensors]


def stream(wanted: Layout) -> t.Iterator[bytes]:
    """The bytes of the result, read from the parts."""
    yield wanted.head
    opened: t.Optional[t.BinaryIO] = None
    try:
        for extent in wanted.extents:
            if opened is None or opened.name != extent.path:
                if opened is not None:
                    opened.close()
                opened = open(extent.path, "rb", buffering=0)
            opened.seek(extent.start)
            left = extent.length
            while left:
                data = opened.read(min(left, PIECE))
                if not data:
                    raise GpufleetError("%s became shorter while it was read: run again" % extent.path)
                left -= len(data)
                yield data
            if extent.padding:
                yield bytes(extent.padding)
    finally:
        if opened is not None:
            opened.close()


def write(wanted: Layout, path: str) -> int:
    """Write the result and bring it to the disk; returns the CRC of what was written, a fifth of a hash's work."""
    check = 0
    with open(path, "wb", buffering=0) as out:
        for data in stream(wanted):
            check = zlib.crc32(data, check)
            view = memoryview(data)
            while view:
                view = view[out.write(view) :]
        os.fsync(out.fileno())
        # So that what is read back comes from the disk.
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return check


def read_back(path: str) -> t.Tuple[int, str]:
    """CRC and sha256 of the file."""
    check, digest = 0, hashlib.sha256()
    with open(path, "rb", buffering=0) as content:
        for data in iter(lambda: content.read(PIECE), b""):
            check = zlib.crc32(data, check)
            digest.update(data)
    return check, digest.hexdigest()


def digest_of(wanted: Layout) -> str:
    """The sha256 that the result will have."""
    digest = hashlib.sha256()
    for data in stream(wanted):
        digest.update(data)
    return digest.hexdigest()


def verify(wanted: Layout, path: str) -> GgufHeader:
    """GpufleetError unless the file's header says what was wanted and its tensors are inside. Returns the header."""
    header = header_of(path)
    size = os.stat(path).st_size
    if size != wanted.size or not header.file_bytes <= size <= padded_end(header):
        raise GpufleetError(
            "%s came out with %d bytes, %d were to be written, and its header says %d"
            % (path, size, wanted.size, header.file_bytes)
        )
    if _tensors([header]) != wanted.tensors:
        raise GpufleetError(
            "%s came out with other tensors (%d) than its parts (%d)" % (path, len(header.tensors), len(wanted.tensors))
        )
    return header
