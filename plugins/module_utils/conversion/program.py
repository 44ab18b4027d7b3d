# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program llama-quantize on this host."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t

from ..errors import GpufleetError
from .quantize import explain

INSTALLED = "/opt/gpufleet/llama.cpp/current/bin/llama-quantize"
_MORE_PATHS = "/usr/local/bin:/usr/bin:/opt/llama.cpp/bin"


class NotThere(GpufleetError):
    """There is no llama-quantize on the host, yet."""


def find(configured: t.Optional[str]) -> str:
    """The program: the one that is named, the one that the role llama_cpp installed, or one on the PATH."""
    if configured:
        if not os.access(configured, os.X_OK) or os.path.isdir(configured):
            raise NotThere("llama_quantize=%s is not a program that can be run on this host" % configured)
        return configured
    if os.access(INSTALLED, os.X_OK):
        return INSTALLED
    found = shutil.which("llama-quantize", path="%s:%s" % (os.environ.get("PATH", ""), _MORE_PATHS))
    if not found:
        raise NotThere(
            "there is no llama-quantize on this host (looked for %s and on the PATH): let the role gpufleet.llm.llama_cpp "
            "install it, or set llama_quantize" % INSTALLED
        )
    return found


def run(words: t.Sequence[str], lock: t.Optional[int] = None) -> str:
    """Run the command and return what it said; GpufleetError when it failed.

    The lock is handed down: a program that outlives a killed playbook keeps it, and nobody else writes the same file.
    """
    try:
        process = subprocess.run(  # pylint: disable=ansible-bad-function
            list(words),
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            pass_fds=() if lock is None else (lock,),
            check=False,
        )
    except OSError as error:
        raise GpufleetError("%s cannot be run: %s" % (words[0], error.strerror)) from None
    output = process.stdout.decode(errors="replace")
    if process.returncode != 0:
        raise GpufleetError("%s failed: %s" % (words[0], explain(output, process.returncode)), command=list(words))
    return output
