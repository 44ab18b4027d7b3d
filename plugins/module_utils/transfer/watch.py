# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that is watched: a line every second that says how far it is."""

from __future__ import annotations

import os
import threading
import typing as t

from ..progress import Progress

_EVERY_S = 1.0


class Watch:
    """Without a path it says nothing. Its thread lives as long as the run does: a file that ages belongs to a dead one."""

    def __init__(self, path: t.Optional[str] = None) -> None:
        self._progress = Progress(path, append=True)
        self._stage: t.Tuple[str, t.Callable[[], int], int] = ("begins", lambda: 0, 0)
        self._end = threading.Event()
        self._held = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        if self._progress.path:
            self._progress.check()
            self._progress.begin()
            self._thread.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        if self._progress.path:
            self._end.set()
            self._thread.join()
            self._say()

    def hold(self, held: bool) -> None:
        """Say nothing while another process says it."""
        self._held = held

    def stage(self, what: str, done: t.Callable[[], int] = lambda: 0, total: int = 0) -> None:
        """From now on ``what`` is done; ``done()`` counts its bytes, of ``total``."""
        self._stage = (what, done, total)

    def _run(self) -> None:
        while not self._end.wait(_EVERY_S):
            self._say()

    def _say(self) -> None:
        if self._held:
            return
        what, done, total = self._stage
        self._progress.say(what, min(done(), total) if total else 0, total, now=True)


class Counter:
    """Bytes that several threads count."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._count += count

    def value(self) -> int:
        return self._count


def bytes_of(path: str) -> int:
    """What has come of a file: aria2 fills it here and there, so the blocks that it has."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return min(found.st_size, found.st_blocks * 512)


def bytes_below(folder: str) -> int:
    """What has come so far of a model."""
    return sum(
        bytes_of(os.path.join(top, name))
        for top, _folders, names in os.walk(folder)
        for name in names
        if not name.endswith(".aria2") and not os.path.basename(top).endswith((".notes", ".aria2"))
    )
