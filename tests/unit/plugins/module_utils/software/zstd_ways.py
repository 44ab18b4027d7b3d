# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zstd for tests: the program, one like it where a machine has none, or only Python's library."""

from __future__ import annotations

import shutil
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import zstd

# As far as it is used: from standard input to standard output, and words to standard error when that fails.
PROGRAM = """#!%s
import signal, sys, zstandard
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
decompressor, data = zstandard.ZstdDecompressor(), sys.stdin.buffer.read()
while data:
    frame = decompressor.decompressobj()
    try:
        sys.stdout.buffer.write(frame.decompress(data))
    except zstandard.ZstdError as error:
        sys.exit("zstd: %%s" %% error)
    if not frame.eof:
        sys.exit("zstd: Read error (39) : premature end")
    data = frame.unused_data
"""


def use(way: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``program`` or ``library``."""
    program: t.Optional[str] = None
    if way == "program":
        program = shutil.which("zstd")
        if program is None:
            stand_in = directory / "zstd"
            stand_in.write_text(PROGRAM % sys.executable, encoding="utf-8")
            stand_in.chmod(0o755)
            program = str(stand_in)
    monkeypatch.setattr(zstd, "find", lambda _name: program)
