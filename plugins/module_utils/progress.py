# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a long job is, in a line a second, and how long it may still take."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from .errors import GpufleetError
from .sizes import human

_EVERY_S = 1.0


class Progress:
    """Writes ``<UTC time> <what>: <done> of <total> (<percent> %), <rate>/s, <seconds> s left``.

    The file holds one line, or with ``append`` one for each second, to be read with tail.
    """

    def __init__(self, path: t.Optional[str], append: bool = False) -> None:
        self.path = path
        self._append = append
        self._written = 0.0
        self._what, self._began, self._first = "", 0.0, 0

    def check(self) -> None:
        folder = os.path.dirname(self.path) if self.path else "/"
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK) or os.path.isdir(self.path or ""):
            raise GpufleetError(
                "progress_file=%s cannot be written: give the path of a file in a directory that exists." % self.path
            )

    def begin(self) -> None:
        """Forget what an earlier run said."""
        self._replace("")

    def say(self, what: str, done: int = 0, total: int = 0, now: bool = False) -> None:
        if not self.path:
            return
        moment = time.monotonic()
        if what != self._what:
            self._what, self._began, self._first, now = what, moment, done, True
        if not now and moment - self._written < _EVERY_S:
            return
        self._written = moment
        text = what
        if total:
            text += ": %s of %s (%d %%)" % (human(done), human(total), 100 * done // total)
            rate = (done - self._first) / max(moment - self._began, 0.001)
            if rate > 0 and done < total and moment - self._began > _EVERY_S:
                text += ", %s/s, %d s left" % (human(int(rate)), (total - done) / rate)
        line = time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + text + "\n"
        if self._append:
            with contextlib.suppress(OSError), open(str(self.path), "a", encoding="utf-8") as out:
                out.write(line)
        else:
            self._replace(line)

    def _replace(self, text: str) -> None:
        new = "%s.new" % self.path
        with contextlib.suppress(OSError):  # a full disk is told of by what fills it
            with open(new, "w", encoding="utf-8") as out:
                out.write(text)
            os.chmod(new, 0o644)
            os.replace(new, str(self.path))
