# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A virtual environment that holds exactly what was asked for, or none.

uv and pip answer "is everything there?" only by resolving again, which needs the network, and some wheels are
reinstalled by every ``uv pip install`` because their file name and their WHEEL file disagree. So the last thing
written into a finished environment is a record of what was asked for and what came of it. An environment
without a record was interrupted, and is built anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from . import lock

RECORD = ".gpufleet-env.json"
SCHEMA = "gpufleet.environment/1"
DIST_INFO = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)\.dist-info$")


@dataclass(frozen=True)
class Request:
    """What the environment has to hold. Where the packages come from is no part of it."""

    python: str
    packages: t.Tuple[str, ...]
    exclude: t.Tuple[str, ...] = ()
    compile_bytecode: bool = False

    def digest(self) -> str:
        text = json.dumps(
            [SCHEMA, self.python, sorted(self.packages), sorted(map(normalise, self.exclude)), self.compile_bytecode]
        )
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """Why an environment is not what was asked for, and whether only a new one can be."""

    reason: str
    rebuild: bool


def normalise(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_record(path: str) -> t.Optional[dict]:
    """The record of a finished environment, or None: there is none, or it was interrupted."""
    try:
        with open(os.path.join(path, RECORD), encoding="utf-8") as stream:
            record = json.load(stream)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return None
    return record


def write_record(path: str, request: Request, installer: str) -> dict:
    """Declare the environment finished. Everything before this may be killed at any moment."""
    record = {
        "schema": SCHEMA,
        "request": request.digest(),
        "python": request.python,
        "requested": sorted(request.packages),
        "installer": installer,
        "packages": installed(path),
    }
    temporary = os.path.join(path, "%s.%d" % (RECORD, os.getpid()))
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(record, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(temporary, 0o644)
    os.rename(temporary, os.path.join(path, RECORD))
    return record


def difference(path: str, request: Request) -> t.Optional[Difference]:
    """How the environment is not what was asked for; None when it is."""
    if not os.path.lexists(path):
        return Difference("it does not exist", rebuild=True)
    record = read_record(path)
    if record is None:
        return Difference("it was never finished", rebuild=True)
    if not os.path.exists(os.path.join(path, "bin", "python")):
        return Difference("its Python interpreter is gone", rebuild=True)
    if record["python"] != request.python:
        return Difference("it was made with %s" % record["python"], rebuild=True)
    if record["request"] != request.digest():
        return Difference("other packages are asked for", rebuild=False)
    if record["packages"] != installed(path):
        return Difference("packages in it were changed by something else", rebuild=False)
    return None


def installed(path: str) -> t.Dict[str, str]:
    """Name and version of every package in the environment, read from the names of its dist-info directories."""
    packages = {}
    library = os.path.join(path, "lib")
    for version in sorted(_listing(library)):
        for entry in _listing(os.path.join(library, version, "site-packages")):
            match = DIST_INFO.match(entry)
            if match:
                packages[normalise(match.group("name"))] = match.group("version")
    return packages


def check_path(path: str) -> None:
    """Refuse a path whose replacement would destroy something that is not an environment of ours."""
    if not os.path.isabs(path) or len([part for part in path.split(os.sep) if part]) < 2:
        raise GpufleetError("path=%s: give an absolute path below a directory of its own" % path)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise GpufleetError("path=%s exists and is not a directory: choose another path or remove it" % path)
    if os.path.isdir(path) and os.listdir(path) and not os.path.exists(os.path.join(path, "pyvenv.cfg")):
        if not os.path.exists(_started(path)):
            raise GpufleetError(
                "path=%s exists and is not a virtual environment: choose another path or remove it" % path
            )


def clear(path: str) -> None:
    """Make room for a new environment; says first that what will lie there is ours."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(_started(path), "w", encoding="utf-8"):
        pass
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(path, RECORD))
    if os.path.isdir(path):
        shutil.rmtree(path)


def finish(path: str) -> None:
    """The environment is complete: the note that it was started can go."""
    with contextlib.suppress(FileNotFoundError):
        os.chmod(os.path.join(path, ".lock"), 0o644)  # uv leaves it writable for everyone
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_started(path))


def locked(path: str, timeout_s: int) -> t.ContextManager[int]:
    """Hold the environment's lock, so that a run left over from a killed playbook and its successor do not meet.

    Gives the lock's descriptor: hand it to the installers, and a module that is killed leaves the lock with them.
    """
    return lock.held(os.path.join(os.path.dirname(path), ".%s.lock" % os.path.basename(path)), path, timeout_s)


def _started(path: str) -> str:
    return os.path.join(os.path.dirname(path), ".%s.started" % os.path.basename(path))


def _listing(path: str) -> t.List[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
