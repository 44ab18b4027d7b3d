# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many large files at once with aria2: in pieces, over several connections, continued where a killed run was.

Source of the options: aria2c(1), 1.36.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import threading
import typing as t
import urllib.request
from dataclasses import dataclass

from ...errors import GpufleetError
from ...hardware import command
from ...sizes import MIB
from ...version import VERSION
from ..files import ModelFile
from ..watch import bytes_of
from .carrier import Arrived, Item, note_of
from .terms import Terms

_TAIL = 400  # characters of its log in a message


LARGE = 32 * MIB  # from here on a file is worth several connections
_FEW = 4  # files; from here on they share the line by themselves
_POLL_S = 0.1
_TRIES = 6  # in a row that came no further
FIRST_PAUSE_S = 1.0  # then twice as long each time
_LONGEST_PAUSE_S = 60.0
_OF_THE_LINE = (1, 2, 5, 6, 7, 19, 29)  # aria2c(1), exit status: unknown, time out, too slow, network, unfinished, names, overload


@dataclass(frozen=True)
class Job:
    """One file. ``path`` is where it shall lie; beside it aria2 keeps what it needs to go on, as ``<path>.aria2``."""

    url: str
    path: str
    size: int


class Aria2:
    """The large files of a source.

    ``lead`` says where a file's address leads to, when credentials must not go there: aria2 would show them to every server
    that it is sent to. It then gets that address instead, and no credentials.
    """

    def __init__(
        self, terms: Terms, lead: t.Optional[t.Callable[[str], t.Optional[str]]] = None, always: bool = True
    ) -> None:
        self._always = always
        self._terms = terms
        self._lead = lead

    def takes(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        """The large ones; of several, plain HTTP fetches as many at once, and hashes them while they come."""
        large = [one for one in files if one.size >= LARGE]
        return large if self._always or len(large) < min(_FEW, self._terms.max_workers) else []

    def bring(self, items: t.Sequence[Item], folder: str, arrived: Arrived, stop: threading.Event) -> None:
        for item in items:
            with contextlib.suppress(FileNotFoundError):  # what HTTP had begun is continued, and its note is no longer true
                os.unlink(note_of(folder, item.one))
        left, failures, came = items, 0, 0
        while left and failures < _TRIES:
            if failures and stop.wait(min(_LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**failures)):
                break
            left, again = self._bring(left, folder, arrived, stop)
            now = sum(bytes_of(os.path.join(folder, item.one.path)) for item in left)
            failures = 1 if now > came else failures + 1
            came = now
            if not again or stop.is_set():
                break

    def _bring(
        self, items: t.Sequence[Item], folder: str, arrived: Arrived, stop: threading.Event
    ) -> t.Tuple[t.List[Item], bool]:
        """Once; returns what did not come, and whether that may come another time."""
        jobs: t.Dict[Job, Item] = {}
        for item in items:
            url = self._lead(item.url) if self._lead else item.url
            if url:
                jobs[Job(url, os.path.join(folder, item.one.path), item.one.size)] = item
        if not jobs:
            return [], False
        again = fetch(list(jobs), folder + ".aria2", self._terms, lambda job: arrived(jobs.pop(job).one), stop)
        return list(jobs.values()), again


def choose(
    transport: str, terms: Terms, lead: t.Optional[t.Callable[[str], t.Optional[str]]] = None
) -> t.Optional[Aria2]:
    """For ``aria2``, and for ``auto`` where the host has it."""
    if transport == "aria2":
        return Aria2(terms, lead)
    return Aria2(terms, lead, always=False) if transport == "auto" and program() else None


def program() -> t.Optional[str]:
    return command.find("aria2c")


def fetch(
    jobs: t.Sequence[Job], folder: str, terms: Terms, arrived: t.Callable[[Job], None], stop: threading.Event
) -> bool:
    """Bring them all, and tell of each that is whole; returns whether what is left failed by the line.

    ``folder`` is for aria2's own files, and nobody else's to read.
    """
    found = program()
    if found is None:
        raise GpufleetError("aria2c is not on this host: install the package aria2, or set transport to auto")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with alone(folder) as lock:
        listing, settings, log = (os.path.join(folder, name) for name in ("files", "aria2.conf", "log"))
        write(listing, _listing(jobs))
        write(settings, _settings(terms, listing, log))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)
        # run_command neither gives away a descriptor nor lets go of what runs.
        with subprocess.Popen(  # pylint: disable=ansible-bad-function
            [found, "--conf-path=" + settings, "--stop-with-process=%d" % os.getpid()],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(lock,),
        ) as process:  # fmt: skip
            left = list(jobs)
            while True:
                status = process.poll()
                whole = [job for job in left if _whole(job)]
                left = [job for job in left if job not in whole]
                for job in whole:
                    arrived(job)
                if status is not None:
                    break
                if stop.wait(_POLL_S):
                    process.terminate()
        if status in (9, 16):  # no space, and a file that cannot be made
            raise GpufleetError("aria2c cannot write: %s" % tail(log))
        if status and left and not stop.is_set():
            terms.say("aria2c ended with %d: %s" % (status, tail(log)))
        return status in _OF_THE_LINE


def _whole(job: Job) -> bool:
    """aria2 removes its own file when all is there."""
    return not os.path.lexists(job.path + ".aria2") and os.path.isfile(job.path) and os.path.getsize(job.path) == job.size


@contextlib.contextmanager
def alone(folder: str) -> t.Iterator[int]:
    """Until an aria2 that outlived a killed run has ended too: it holds this as well, and looks every second for its parent."""
    with open(os.path.join(folder, "lock"), "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)


def _listing(jobs: t.Sequence[Job]) -> str:
    """The largest first, so that the last one to end is a small one."""
    lines: t.List[str] = []
    for job in sorted(jobs, key=lambda one: -one.size):
        if any(character in job.url + job.path for character in "\r\n\t"):
            raise GpufleetError("%r: a name that aria2 cannot be given" % job.path)
        lines += [job.url, " dir=" + os.path.dirname(job.path), " out=" + os.path.basename(job.path)]
    return "".join(line + "\n" for line in lines)


def _settings(terms: Terms, listing: str, log: str) -> str:
    """In a file, for an address may hold a signature."""
    files = max(1, min(4, terms.max_workers))
    connections = max(1, terms.max_workers // files)
    values: t.Dict[str, t.Any] = {
        "input-file": listing,
        "log": log,
        "log-level": "warn",
        "quiet": "true",
        "no-netrc": "true",
        "continue": "true",
        "allow-overwrite": "true",
        "auto-file-renaming": "false",
        "auto-save-interval": "1",
        "file-allocation": "none",
        "max-concurrent-downloads": files,
        "max-connection-per-server": connections,
        "split": connections,
        "min-split-size": "16M",
        "connect-timeout": terms.stall_timeout_s,
        "timeout": terms.stall_timeout_s,
        "max-tries": 5,
        "retry-wait": 2,
        "max-overall-download-limit": terms.limit_bytes_per_s,
        "content-disposition-default-utf8": "true",
        "remote-time": "false",
        "user-agent": "gpufleet.llm/" + VERSION,
    }
    if terms.ca_path and os.path.isfile(terms.ca_path):
        values["ca-certificate"] = terms.ca_path
    values.update(proxies())
    return "".join("%s=%s\n" % pair for pair in values.items())


def proxies() -> t.Dict[str, str]:
    """Those of the environment, which aria2 itself reads in lower case only."""
    found = urllib.request.getproxies_environment()
    return {"%s-proxy" % name: found[name] for name in ("http", "https", "no", "all") if found.get(name)}


def tail(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            text = re.sub(r"(https?://[^\s'\"?]+)\?[^\s'\"]*", r"\1", log.read())  # what follows may be a signature
            return " ".join(text[-_TAIL:].split()) or "it says nothing"
    except OSError:
        return "it says nothing"
