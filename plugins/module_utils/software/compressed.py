# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressed files as streams: gzip by Python, zstd by its program or whatever Python module there is."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import os
import subprocess
import tempfile
import typing as t

from ..errors import GpufleetError
from ..hardware.command import find

_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
_PIECE = 64 * 1024
_WINDOW_LOG = 31  # what `zstd --ultra --long=31` makes is read too


class BadArchive(GpufleetError):
    """What is in the archive is not what an archive has."""


def need_zstd() -> None:
    """Refuse early, before gigabytes are fetched, what could not be unpacked afterwards."""
    if find("zstd") is None and _decompressor() is None:
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


def opened(content: t.BinaryIO, name: str) -> t.ContextManager[t.BinaryIO]:
    """What the file holds, decompressed. The end is read, and a damaged one refused, whatever the reader left."""
    if kind(content, name) == "gzip":
        return _from_python(t.cast(t.BinaryIO, gzip.GzipFile(fileobj=content)))
    program = find("zstd")
    if program is not None:
        return _from_program(program, content, name)
    need_zstd()
    return _from_python(t.cast(t.BinaryIO, io.BufferedReader(_Frames(content, name), _PIECE)))


@contextlib.contextmanager
def _from_python(stream: t.BinaryIO) -> t.Iterator[t.BinaryIO]:
    with stream:
        yield stream
        _drain(stream)


def _drain(stream: t.BinaryIO) -> None:
    while stream.read(_PIECE):
        pass


@contextlib.contextmanager
def _from_program(program: str, content: t.BinaryIO, name: str) -> t.Iterator[t.BinaryIO]:
    with tempfile.TemporaryFile() as complaints:
        # run_command would hold gigabytes in memory. A zstd that outlives a killed run ends when nobody reads.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            [program, "-dcq", "--long=%d" % _WINDOW_LOG],
            stdin=content,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=dict(os.environ, LC_ALL="C"),
        )
        try:
            stream = t.cast(t.BinaryIO, process.stdout)
            try:
                yield stream
                _drain(stream)
            except BadArchive:
                # What tar made of the torn end says less than what zstd says of it.
                process.stdout.close()  # type: ignore[union-attr]
                if process.wait() > 0:
                    raise _damaged(name, _text(complaints)) from None
                raise
            if process.wait() != 0:
                raise _damaged(name, _text(complaints))
        finally:
            process.kill()
            process.stdout.close()  # type: ignore[union-attr]
            process.wait()


def _text(complaints: t.IO[bytes]) -> str:
    complaints.seek(0)
    return complaints.read(500).decode(errors="replace").replace("/*stdin*\\ : ", "").strip()


def _damaged(name: str, detail: str) -> BadArchive:
    return BadArchive("%s is damaged: %s" % (name, detail))


def _decompressor() -> t.Optional[t.Callable[[], t.Any]]:
    """Makes an object with decompress(), eof and unused_data, which both modules have."""
    with contextlib.suppress(ImportError):
        module = importlib.import_module("compression.zstd")  # Python 3.14
        return lambda: module.ZstdDecompressor(options={module.DecompressionParameter.window_log_max: _WINDOW_LOG})
    with contextlib.suppress(ImportError):
        other = importlib.import_module("zstandard")
        return lambda: other.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).decompressobj()
    return None


class _Frames(io.RawIOBase):
    """The frames of a zstd file one after the other; unlike the modules' own readers it misses an end that is missing."""

    def __init__(self, content: t.BinaryIO, name: str) -> None:
        super().__init__()
        self._content, self._name = content, name
        self._new = t.cast(t.Callable[[], t.Any], _decompressor())
        self._frame: t.Optional[t.Any] = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        while not self._output:
            if not self._input:
                self._input = self._content.read(_PIECE)
            if not self._input:
                if self._frame is not None:
                    raise _damaged(self._name, "it ends in the middle")
                return 0
            if self._frame is None:
                self._frame = self._new()
            try:
                self._output = memoryview(self._frame.decompress(self._input))
            except Exception as error:  # each module has an exception of its own
                raise _damaged(self._name, str(error)) from None
            self._input = b""
            if self._frame.eof:
                self._input, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size
