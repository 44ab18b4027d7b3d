# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zstd, packed and unpacked as a stream, by its program or by a Python library where there is one.

A managed host needs nothing but Python otherwise, and Python has had zstd of its own since 3.14.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import tempfile
import typing as t

from ..hardware.command import find

_WINDOW_LOG = 31  # what `zstd --ultra --long=31` makes is read too
# Of a library's input at a time. The most that a damaged or malicious piece can become is 32,768 times as much.
_PIECE = 4096
_PREFIX = re.compile(r"^(zstd: )?(/\*stdin\*\\ *: *)?")


class Damaged(Exception):
    """What was read is not zstd, or not all of it; or what was to be packed could not be."""


class Stream(t.Protocol):
    def read(self, size: int) -> bytes:
        """Unpacked bytes; none only after an end that proved to be whole."""


def available() -> bool:
    return find("zstd") is not None or library() is not None


def library() -> t.Any:
    """The Python module that this host has for it, or None."""
    for name in ("compression.zstd", "zstandard"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


@contextlib.contextmanager
def reader(file: t.BinaryIO) -> t.Iterator[Stream]:
    """The unpacked stream of a file that is not buffered: the program reads on from the position it is at."""
    program = find("zstd")
    if program is None:
        yield _Frames(file, library())
        return
    command = [program, "-dcq", "--long=%d" % _WINDOW_LOG]
    with _process(command, file, subprocess.PIPE) as (process, said):
        yield _Checked(process.stdout, said)


@contextlib.contextmanager
def writer(file: t.BinaryIO, level: int) -> t.Iterator[t.Any]:
    """Something with ``write`` that packs into the file: the same bytes for the same bytes and level."""
    program = find("zstd")
    if program is None:
        with _library_writer(file, library(), level) as stream:
            yield stream
        return
    file.flush()
    # Its result depends on the level, not on the number of threads.
    with _process([program, "-q", "-c", "-T0", "-%d" % level], subprocess.PIPE, file) as (process, said):
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:
            raise Damaged(said() or "zstd closed its input") from None
        problem = said()
        if problem:
            raise Damaged(problem)


def _library_writer(file: t.BinaryIO, module: t.Any, level: int) -> t.Any:
    if module.__name__ == "zstandard":
        return module.ZstdCompressor(level=level, write_checksum=True).stream_writer(file, closefd=False)
    parameter = module.CompressionParameter
    return module.ZstdFile(file, "wb", options={parameter.compression_level: level, parameter.checksum_flag: 1})


class _Checked:
    """What the program writes. Only at its end does it say whether there was more to come."""

    def __init__(self, stream: t.BinaryIO, said: t.Callable[[], t.Optional[str]]) -> None:
        self._stream, self._said = stream, said

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        if not piece:
            problem = self._said()
            if problem:
                raise Damaged(problem)
        return piece


class _Frames:
    """The frames of a file one after the other; unlike the libraries' own readers it misses an end that is missing."""

    def __init__(self, file: t.BinaryIO, module: t.Any) -> None:
        self._file, self._module = file, module
        self._frame: t.Optional[t.Any] = None
        self._input = b""
        self._output = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._output:
            self._input = self._input or self._file.read(_PIECE)
            if not self._input:
                if self._frame is not None:
                    raise Damaged("zstd: it ends in the middle")
                return b""
            self._frame = self._frame or self._new()
            try:
                self._output = memoryview(self._frame.decompress(self._input))
            except self._module.ZstdError as error:
                raise Damaged("zstd: %s" % error) from None
            self._input = b""
            if self._frame.eof:
                self._input, self._frame = self._frame.unused_data, None
        piece, self._output = bytes(self._output[:size]), self._output[size:]
        return piece

    def _new(self) -> t.Any:
        """Something with decompress(), eof and unused_data, which both libraries have."""
        if self._module.__name__ == "zstandard":
            return self._module.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).decompressobj()
        return self._module.ZstdDecompressor(options={self._module.DecompressionParameter.window_log_max: _WINDOW_LOG})


@contextlib.contextmanager
def _process(
    command: t.Sequence[str], stdin: t.Any, stdout: t.Any
) -> t.Iterator[t.Tuple[t.Any, t.Callable[[], t.Optional[str]]]]:
    """A filter in a pipe, and what it complained about once its stream has ended. Nothing of it is left behind."""
    with tempfile.TemporaryFile() as complaints:  # a file, not a pipe: nobody has to empty it meanwhile
        # run_command would hold the whole stream in memory. A zstd that outlives a killed run ends when nobody reads.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
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
