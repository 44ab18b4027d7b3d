# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many large files at once with aria2: in pieces, over several connections, continued where a killed run was.

What arrived is not verified here. Source of the options: aria2c(1), 1.36.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import typing as t
from dataclasses import dataclass

from ...errors import GpufleetError
from ...hardware import command
from ...version import VERSION

_TAIL = 400  # characters of its log in a message


@dataclass(frozen=True)
class Job:
    """One file. ``path`` is where it shall lie; beside it aria2 keeps what it needs to go on, as ``<path>.aria2``."""

    url: str
    path: str
    size: int


@dataclass(frozen=True)
class Options:
    files: int = 4  # at once
    connections: int = 4  # for each of them
    stall_timeout_s: int = 60
    retries: int = 5
    limit_bytes_per_s: int = 0  # 0: none
    proxy: t.Optional[str] = None
    ca_path: t.Optional[str] = None


def program() -> t.Optional[str]:
    return command.find("aria2c")


def fetch(jobs: t.Sequence[Job], folder: str, options: Options) -> t.List[Job]:
    """Bring them all; returns those that did not come. ``folder`` is for aria2's own files, and nobody else's to read."""
    found = program()
    if found is None:
        raise GpufleetError("aria2c is not on this host: install the package aria2, or set transport to auto")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with _alone(folder) as lock:
        listing, settings, log = (os.path.join(folder, name) for name in ("files", "aria2.conf", "log"))
        _write(listing, _listing(jobs))
        _write(settings, _settings(options, listing, log))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)
        # run_command has no way to give away a descriptor.
        process = subprocess.run(  # pylint: disable=ansible-bad-function
            [found, "--conf-path=" + settings, "--stop-with-process=%d" % os.getpid()],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, pass_fds=(lock,),
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") or not options.proxy},
        )  # fmt: skip
        left = [job for job in jobs if not _whole(job)]
        if process.returncode in (9, 16):  # no space, and a file that cannot be made
            raise GpufleetError("aria2c cannot write: %s" % _tail(log))
        if process.returncode and not left:
            raise GpufleetError("aria2c ended with %d: %s" % (process.returncode, _tail(log)))
        return left


def _whole(job: Job) -> bool:
    """aria2 removes its own file when all is there."""
    return not os.path.lexists(job.path + ".aria2") and os.path.isfile(job.path) and os.path.getsize(job.path) == job.size


@contextlib.contextmanager
def _alone(folder: str) -> t.Iterator[int]:
    """Until an aria2 that outlived a killed run has ended too: it holds this as well, and looks every second for its parent."""
    with open(os.path.join(folder, "lock"), "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _write(path: str, text: str) -> None:
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


def _settings(options: Options, listing: str, log: str) -> str:
    """In a file, for a proxy may have a password and an address a signature."""
    values = {
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
        "max-concurrent-downloads": options.files,
        "max-connection-per-server": options.connections,
        "split": options.connections,
        "min-split-size": "16M",
        "connect-timeout": options.stall_timeout_s,
        "timeout": options.stall_timeout_s,
        "max-tries": options.retries,
        "retry-wait": 2,
        "max-overall-download-limit": options.limit_bytes_per_s,
        "content-disposition-default-utf8": "true",
        "remote-time": "false",
        "user-agent": "gpufleet.llm/" + VERSION,
    }
    if options.proxy:
        values["all-proxy"] = options.proxy
    if options.ca_path:
        values["ca-certificate"] = options.ca_path
    return "".join("%s=%s\n" % pair for pair in values.items())


def _tail(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            return " ".join(log.read()[-_TAIL:].split()) or "it says nothing"
    except OSError:
        return "it says nothing"
