# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a long job is, in one line that is replaced once a second, and how long it may still take."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ...errors import GpufleetError
from ...transfer.files import human
from .api import Watch

_EVERY_S = 1.0


class Progress:
    """Writes ``<UTC time> <what>: <done> of <total> (<percent> %), <rate>/s, <seconds> s left``."""

    def __init__(self, path: t.Optional[str]) -> None:
        self.path = path
        self._written = 0.0
        self._what, self._began, self._first = "", 0.0, 0

    def check(self) -> None:
        folder = os.path.dirname(self.path) if self.path else "/"
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK) or os.path.isdir(self.path or ""):
            raise GpufleetError(
                "progress_file=%s cannot be written: give the path of a file in a directory that exists." % self.path
            )

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
        self._replace(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + text + "\n")

    def _replace(self, text: str) -> None:
        new = "%s.new" % self.path
        with contextlib.suppress(OSError):  # a full disk is told of by what fills it
            with open(new, "w", encoding="utf-8") as out:
                out.write(text)
            os.chmod(new, 0o644)
            os.replace(new, str(self.path))


class Clock:
    """The time that everything together may take."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._until = time.monotonic() + timeout_s

    def left(self) -> float:
        return self._until - time.monotonic()

    def need(self, what: str) -> float:
        """Seconds left; GpufleetError when there are none."""
        left = self.left()
        if left <= 0:
            raise self.over(what)
        return left

    def over(self, what: str) -> GpufleetError:
        return GpufleetError(
            "%s was not done after timeout=%g seconds. What is there is kept: run again, or set timeout higher."
            % (what, self.timeout_s)
        )


class Stalled(Watch):
    """Tells a stream that works from one that hangs.

    While something is fetched, progress is more bytes or another step: the server goes on sending lines while nothing
    comes from the registry. In the steps of SILENT it sends nothing for as long as they take, and only the time for
    everything counts.
    """

    SILENT = ("verifying sha256 digest", "writing manifest", "removing unused layers")

    def __init__(self, what: str, clock: Clock, stall_timeout_s: float, progress: Progress) -> None:
        self.what, self.clock, self.stall_timeout_s, self.progress = what, clock, stall_timeout_s, progress
        self.status = "asking the server"
        self._mark: t.Tuple[t.Any, ...] = ()
        self._alive = time.monotonic()
        progress.say("%s: %s" % (what, self.status))

    def silence_left(self) -> float:
        left = self.clock.left()
        if not self._silent():
            left = min(left, self._alive + self.stall_timeout_s - time.monotonic())
        return max(left, 0.0)

    def line(self, line: t.Dict[str, t.Any]) -> None:
        self.status = str(line.get("status") or "")
        done, total = int(line.get("completed") or 0), int(line.get("total") or 0)
        mark = (self.status, line.get("digest"), done)
        if mark != self._mark:
            self._mark, self._alive = mark, time.monotonic()
        self.progress.say("%s: %s" % (self.what, self.status), done, total)
        if self.silence_left() <= 0:
            raise self.too_long()

    def too_long(self) -> GpufleetError:
        if self.clock.left() <= 0:
            return self.clock.over(self.what)
        return GpufleetError(
            "%s hangs: %r made no progress for stall_timeout=%g seconds. What is there is kept and the next run goes "
            "on from it; look whether the server reaches its registry (HTTPS_PROXY in the service's environment)."
            % (self.what, self.status, self.stall_timeout_s)
        )

    def _silent(self) -> bool:
        return self.status in self.SILENT


class Patient(Stalled):
    """For jobs that may be silent at any step: conversion and quantization of tens of gigabytes."""

    def _silent(self) -> bool:
        return True
