# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packing and unpacking a stream: plain, gzip and zstd.

zstd is the program of that name, which every distribution has, or a Python library where there is one: the managed
host needs nothing but Python otherwise.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import os
import re
import struct
import subprocess
import tempfile
import typing as t
import zlib

from ...errors import GpufleetError
from ...hardware.command import find

PIECE = 4 * 1024**2
SUFFIXES = {".tar": "plain", ".tar.zst": "zstd", ".tzst": "zstd", ".tar.gz": "gzip", ".tgz": "gzip"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_PREFIX = re.compile(r"^(zstd: )?(/\*stdin\*\\ *: *)?")
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

    def __init__(self, stream: t.Any, where: str, error: t.Callable[[], t.Optional[str]]) -> None:
        self._stream = stream
        self._error = error
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
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise GpufleetError("%s cannot be unpacked: %s." % (self.where, str(error).rstrip("."))) from None
        if not piece:
            said = self._error()
            if said:
                raise GpufleetError("%s cannot be unpacked: %s." % (self.where, said.rstrip(".")))
        self.position += len(piece)
        return piece


class PlainReader(Reader):
    """Of a file that is not packed: what is not wanted is not read."""

    def __init__(self, stream: t.BinaryIO, where: str) -> None:
        super().__init__(stream, where, lambda: None)
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
                yield Reader(stream, self.path, lambda: None)
        else:
            with contextlib.ExitStack() as stack:
                stream, error = _unzstd(stack, self._file, self.path)
                yield Reader(stream, self.path, error)

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
        with contextlib.ExitStack() as stack:
            yield stack.enter_context(_zstd(file, path, level))
        file.seek(0, os.SEEK_END)
        file.write(_trailer(file.tell()))
    file.flush()


def _trailer(length: int) -> bytes:
    return _TRAILER.pack(_TRAILER_MAGIC, 8, length)


def _unzstd(
    stack: contextlib.ExitStack, file: t.BinaryIO, where: str
) -> t.Tuple[t.Any, t.Callable[[], t.Optional[str]]]:
    """The unpacked stream, until the stack is left, and what is asked for an error at its end."""
    program = find("zstd")
    if program:
        process, said = stack.enter_context(_process([program, "-d", "-q", "-c"], file, subprocess.PIPE))
        return process.stdout, said
    library = _library(where)
    if library.__name__ == "zstandard":
        stream = library.ZstdDecompressor(max_window_size=2**27).stream_reader(
            file, read_across_frames=True, closefd=False
        )
    else:
        stream = library.ZstdFile(file)
    return _Translated(stack.enter_context(stream), library.ZstdError), lambda: None


@contextlib.contextmanager
def _zstd(file: t.BinaryIO, path: str, level: int) -> t.Iterator[t.Any]:
    program = find("zstd")
    if program:
        file.flush()
        # Its result depends on the level, not on the number of threads.
        command = [program, "-q", "-c", "-T0", "-%d" % level]
        with _process(command, subprocess.PIPE, file) as (process, said):
            try:
                yield process.stdin
                process.stdin.close()
            except BrokenPipeError:
                raise GpufleetError("%s cannot be packed: %s." % (path, said() or "zstd closed its input")) from None
            problem = said()
            if problem:
                raise GpufleetError("%s cannot be packed: %s." % (path, problem))
        return
    library = _library(path)
    if library.__name__ == "zstandard":
        stream = library.ZstdCompressor(level=level, write_checksum=True).stream_writer(file, closefd=False)
    else:
        parameter = library.CompressionParameter
        stream = library.ZstdFile(file, "wb", options={parameter.compression_level: level, parameter.checksum_flag: 1})
    with stream:
        yield stream


class _Translated:
    """A library's stream whose errors are those of zlib, so that one place reports them."""

    def __init__(self, stream: t.Any, errors: t.Any) -> None:
        self._stream = stream
        self._errors = errors

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except self._errors as error:
            raise zlib.error(str(error)) from None


def _library(where: str) -> t.Any:
    for name in ("compression.zstd", "zstandard"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise GpufleetError(
        "%s needs zstd, and this host has neither the program nor a Python library for it: "
        "install the package zstd, or use a .tar." % where
    )


@contextlib.contextmanager
def _process(
    command: t.Sequence[str], stdin: t.Any, stdout: t.Any
) -> t.Iterator[t.Tuple[t.Any, t.Callable[[], t.Optional[str]]]]:
    """A filter in a pipe, and what it complained about once its stream has ended. Nothing of it is left behind."""
    with tempfile.TemporaryFile() as complaints:  # a file, not a pipe: nobody has to empty it meanwhile
        # run_command would hold the whole stream in memory.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(command), stdin=stdin, stdout=stdout, stderr=complaints, env=dict(os.environ, LC_ALL="C")
        )

        def said() -> t.Optional[str]:
            if process.wait() == 0:
                return None
            complaints.seek(0)
            text = complaints.read(4096).decode("utf-8", "replace")
            lines = [_PREFIX.sub("", line).strip() for line in text.splitlines() if line.strip()]
            return "zstd: %s" % ("; ".join(lines) or "ended with status %d" % process.returncode)

        try:
            yield process, said
        finally:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe:
                        pipe.close()
            process.wait()
