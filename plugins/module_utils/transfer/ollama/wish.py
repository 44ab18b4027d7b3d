# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What both directions of ollama_bundle share: the wish, the lock, the result."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import typing as t
from dataclasses import dataclass, field

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ..permissions import Permissions
from .manifest import Manifest

_LOCK_POLL_S = 0.2
MAX_IGNORED = 100


@dataclass(frozen=True)
class Wish:
    """The module's options, checked."""

    path: str
    store: str
    names: t.Optional[t.Tuple[Name, ...]]  # None: all
    permissions: Permissions
    verify: bool  # hash also what is there already
    level: int
    lock_timeout_s: float
    check_mode: bool
    say: t.Callable[[str], None]


@dataclass
class Outcome:
    """What a run did or, in check mode, would do."""

    manifests: t.Dict[Name, Manifest] = field(default_factory=dict)
    before: t.List[str] = field(default_factory=list)  # lines of the diff
    after: t.List[str] = field(default_factory=list)
    written: int = 0
    kept: int = 0
    written_bytes: int = 0
    ignored: t.List[str] = field(default_factory=list)
    warnings: t.List[str] = field(default_factory=list)
    changed: bool = False
    msg: str = ""

    def result(self, wish: Wish) -> t.Dict[str, t.Any]:
        return {
            "changed": self.changed,
            "msg": self.msg,
            "path": wish.path,
            "store": wish.store,
            "models": [
                {"name": name.short, "digest": manifest.digest, "size": manifest.size}
                for name, manifest in sorted(self.manifests.items())
            ],
            "blobs": {"written": self.written, "kept": self.kept, "bytes": self.written_bytes},
            "ignored": self.ignored[:MAX_IGNORED],
            "ignored_count": len(self.ignored),
            "diff": {"before": _lines(self.before), "after": _lines(self.after)},
            "warnings": self.warnings,
        }


def absent_in_check_mode(wish: Wish, why: str) -> Outcome:
    """What an earlier task only would have made cannot be looked at."""
    return Outcome(
        after=["%s: present" % name for name in wish.names or ()],
        warnings=["check mode: %s An earlier task may bring it, so what follows from it is not known." % why],
        changed=True,
        msg="not known before it is there",
    )


@contextlib.contextmanager
def locked_file(path: str, timeout_s: float, say: t.Callable[[str], None]) -> t.Iterator[t.BinaryIO]:
    """Have the file at ``path`` to oneself; it is made when missing. Whoever holds it may rename or remove it.

    The kernel frees a killed holder's lock.
    """
    began = time.monotonic()
    told = False
    while True:
        # Not truncated: it may be another one's work until the lock is ours.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            if _lock(file, path) and _is_at(file, path):
                yield file
                return
        if time.monotonic() - began > timeout_s:
            raise GpufleetError(
                "Waited %d s for another process that holds %s. Let it finish, end it, or set lock_timeout higher."
                % (timeout_s, path),
                lock=path,
            )
        if not told:
            say("waiting up to %d s for another process that holds %s" % (timeout_s, path))
            told = True
        time.sleep(_LOCK_POLL_S)


def _lock(file: t.BinaryIO, path: str) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        raise GpufleetError("%s cannot be locked (%s): its file system must know locks." % (
            path, error.strerror)) from None  # fmt: skip
    return True


def _is_at(file: t.BinaryIO, path: str) -> bool:
    """Whether the locked file still has its name: the one that was waited for may have renamed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _lines(lines: t.Sequence[str]) -> str:
    return "".join("%s\n" % line for line in lines)
