# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file on its way: what reaches the disk, and what does not."""

from __future__ import annotations

import errno
import hashlib
import os
import threading

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.files import Wanted
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import part as part_module

PIECE = memoryview(os.urandom(1000))


@pytest.fixture
def part(tmp_path, monkeypatch):
    monkeypatch.setattr(part_module, "_FLUSH", 2500)
    one = part_module.Part(str(tmp_path / "file"), "http://a/file", Wanted(size=9000), str(tmp_path / "note"))
    one.open()
    return one


def test_it_reaches_the_disk_while_it_comes(part, monkeypatch):
    flushed, real = [], os.fdatasync

    def flush(descriptor):
        flushed.append((os.fstat(descriptor).st_size, threading.current_thread() is threading.main_thread()))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", flush)
    for _number in range(9):
        part.write(PIECE)
        if part._flusher._thread:
            part._flusher._thread.join()
    part.close()
    assert [size >= at for (size, _main), at in zip(flushed, (3000, 6000, 9000))] == [True] * 3
    assert not any(main for _size, main in flushed)
    assert part.digest.hexdigest() == hashlib.sha256(bytes(PIECE) * 9).hexdigest()


def test_a_disk_that_fails_is_not_forgotten(part, monkeypatch):
    """The system says so once: a later fsync may succeed."""

    def fail(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    for _number in range(3):
        part.write(PIECE)
    with pytest.raises(OSError, match="Input/output error"):
        part.close()
    assert part._file is None
    assert not os.path.exists(part.path)  # in memory it would look whole to the next run
