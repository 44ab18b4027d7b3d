# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a job may take, and whether it still works."""

from __future__ import annotations

import time
import typing as t

from ...errors import GpufleetError
from ...progress import Progress
from .api import Watch


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
