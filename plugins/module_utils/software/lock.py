# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lock that two runs on one host share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ..errors import GpufleetError


@contextlib.contextmanager
def held(name: str, subject: str, timeout_s: int) -> t.Iterator[int]:
    """Hold the lock file ``name``; ``subject`` is what it protects, for the message. Yields the lock's descriptor.

    The kernel frees the lock of a process that was killed.
    """
    os.makedirs(os.path.dirname(name), mode=0o755, exist_ok=True)
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise GpufleetError(
                        "another process has been working on %s for lock_timeout=%d s (it holds %s). "
                        "Wait for it, or end it, and run again." % (subject, timeout_s, name)
                    ) from None
                time.sleep(0.5)
        yield descriptor
    finally:
        os.close(descriptor)
