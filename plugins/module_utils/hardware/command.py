# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command that may never come back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import typing as t

EXTRA_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/wsl/lib")


class TimedOut(Exception):
    """The command did not end in time. It was killed, or it cannot be killed and was left behind."""


class Result(t.NamedTuple):
    code: int
    stdout: str
    stderr: str


def find(program: str, extra: t.Sequence[str] = ()) -> t.Optional[str]:
    """The program's path. Ansible often runs with a shorter PATH than a login shell, so the usual places count."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *EXTRA_PATH, *extra]))


def run(argv: t.Sequence[str], timeout: float, stdin: str = "", env: t.Optional[t.Mapping[str, str]] = None) -> Result:
    """Run ``argv`` for at most ``timeout`` seconds. Raises TimedOut, or OSError when it cannot be started.

    A process that waits for a wedged GPU sleeps uninterruptibly: it outlives SIGKILL, so after the kill nobody
    waits for it (subprocess.run would). It gets its own session and no descriptor of ours but its pipes.
    """
    # run_command has no timeout, and waits.
    process = subprocess.Popen(  # pylint: disable=ansible-bad-function
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=dict(os.environ, LC_ALL="C", **(env or {})),
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            pass  # it ended meanwhile, or became another user's
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            process.returncode = -signal.SIGKILL  # left behind: keeps Popen from waiting for it later
        raise TimedOut("no answer within %g seconds" % timeout) from None
    return Result(process.returncode, stdout, stderr)
