# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file that is on its way, hashed as it comes, and continued by a later run."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import typing as t

from ...sizes import MIB
from .. import store
from ..files import Wanted

SMALL = MIB  # up to here, a file is not worth being continued
_FLUSH = 64 * MIB


class _Flusher:
    """Brings a file to the disk while it comes: at its end there would be seconds to wait for, and memory full of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = 0
        self._thread: t.Optional[threading.Thread] = None
        self._error: t.Optional[OSError] = None

    def wrote(self, count: int) -> None:
        self._pending += count
        if self._pending < _FLUSH or (self._thread is not None and self._thread.is_alive()):
            return
        self.wait()
        self._pending = 0
        self._thread = threading.Thread(target=self._flush, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Raises what went wrong: the system tells it once, and a later fsync may not hear of it."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _flush(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._error = error


class Part:
    """A file that is being fetched, and beside it a note of what it shall become."""

    def __init__(self, path: str, url: str, wanted: Wanted, note: str) -> None:
        self.path, self.wanted, self._note = path, wanted, note
        self.url, self.size, self.etag = url, t.cast(t.Optional[int], None), t.cast(t.Optional[str], None)
        self.position = self.best = 0
        self.digest = wanted.digest()
        self._file: t.Optional[t.Any] = None
        self._flusher: t.Optional[_Flusher] = None

    def open(self) -> bool:
        """Take up what is there; true when all its bytes are."""
        for path in (self.path, self._note):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self.close()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._file = open(descriptor, "r+b", buffering=0)  # pylint: disable=consider-using-with
        self._flusher = _Flusher(descriptor)
        note = self._read_note()
        if not self.wanted.value or note.get(self.wanted.kind) != self.wanted.value:  # nothing says what these bytes are
            self.begin(self.url, None, None)
            return False
        self.url, self.size, self.etag = note.get("url"), note.get("size"), note.get("etag")
        self.digest = self.wanted.digest()
        for piece in iter(lambda: self._file.read(SMALL), b""):  # type: ignore[union-attr]
            self.digest.update(piece)
        self.position = self.best = self._file.tell()
        if self.size is not None and self.position > self.size:
            self.begin(self.url, None, None)
        return self.size is not None and self.position == self.size

    def begin(self, url: str, size: t.Optional[int], etag: t.Optional[str]) -> None:
        """From the first byte. The note comes first: bytes without one are not continued."""
        self._file.seek(0)  # type: ignore[union-attr]
        self._file.truncate()  # type: ignore[union-attr]
        self.position, self.digest = 0, self.wanted.digest()
        self.url, self.size = url, size
        self.etag = etag if etag and not etag.startswith("W/") else None  # a weak one does not promise the same bytes
        if self.wanted.size is None or self.wanted.size > SMALL:
            note = {"url": self.url, "size": self.size, "etag": self.etag, self.wanted.kind: self.wanted.value}
            store.write_json(self._note, note)

    def write(self, piece: memoryview) -> None:
        left = piece
        while left:
            left = left[self._file.write(left) :]  # type: ignore[union-attr]
        self._flusher.wrote(len(piece))  # type: ignore[union-attr]
        self.digest.update(piece)
        self.position += len(piece)
        self.best = max(self.best, self.position)

    def remove(self) -> None:
        for path in (self.path, self._note):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def close(self) -> None:
        if self._file is None or self._flusher is None:
            return
        try:
            self._flusher.wait()
        except OSError:
            self.remove()  # the system takes those bytes for written: the next run would read them from memory, and believe it
            raise
        finally:
            self._file.close()
            self._file = self._flusher = None

    def _read_note(self) -> t.Dict[str, t.Any]:
        try:
            with open(self._note, encoding="utf-8") as content:
                note = json.load(content)
        except (FileNotFoundError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}
