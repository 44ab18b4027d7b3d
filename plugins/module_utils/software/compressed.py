# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressed files as streams: gzip by Python, zstd by whatever there is for it."""

from __future__ import annotations

import contextlib
import gzip
import typing as t

from ..errors import GpufleetError
from ..transfer import zstd

_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
_PIECE = 64 * 1024


class BadArchive(GpufleetError):
    """What is in the archive is not what an archive has."""


def need_zstd() -> None:
    """Refuse early, before gigabytes are fetched, what could not be unpacked afterwards."""
    if not zstd.available():
        raise GpufleetError(
            "the archive is compressed with zstd, and this host has neither the program nor a Python module for it: "
            "install the package zstd"
        )


def kind(content: t.BinaryIO, name: str) -> str:
    """``zstd`` or ``gzip``, by the first bytes."""
    content.seek(0)
    head = content.read(4)
    content.seek(0)
    if head == _ZSTD:
        return "zstd"
    if head[:2] == _GZIP:
        return "gzip"
    raise BadArchive("%s is compressed with neither zstd nor gzip: it begins with %r" % (name, head))


def stated_size(content: t.BinaryIO) -> t.Optional[int]:
    """How many bytes a zstd file says that it becomes; most that came out of a pipe do not say (RFC 8878, 3.1.1.1)."""
    content.seek(0)
    header = content.read(18)
    content.seek(0)
    if header[:4] != _ZSTD or len(header) < 18:
        return None
    descriptor = header[4]
    single = bool(descriptor & 0x20)
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    length = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    if not length:
        return None
    return int.from_bytes(header[start : start + length], "little") + (256 if length == 2 else 0)


@contextlib.contextmanager
def opened(content: t.BinaryIO, name: str) -> t.Iterator[t.BinaryIO]:
    """What the file holds, decompressed. The end is read, and a damaged one refused, whatever the reader left."""
    if kind(content, name) == "gzip":
        unpacked: t.ContextManager[t.Any] = gzip.GzipFile(fileobj=content)
    else:
        need_zstd()
        unpacked = zstd.reader(content)
    try:
        with unpacked as stream:
            yield stream
            while stream.read(_PIECE):
                pass
    except zstd.Damaged as error:
        raise BadArchive("%s is damaged: %s" % (name, error)) from None
