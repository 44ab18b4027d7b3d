# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A record in a file: the same data is the same bytes, and a reader never sees half of it."""

from __future__ import annotations

import json
import os
import tempfile
import typing as t

from ..errors import GpufleetError


def read(path: str) -> t.Any:
    """The data in a JSON file that has to be there."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except OSError as error:
        raise GpufleetError("%s cannot be read: %s" % (path, error.strerror)) from None
    except ValueError as error:
        raise GpufleetError("%s is not JSON: %s" % (path, error)) from None


def read_if_there(path: str) -> t.Any:
    """The data in a JSON file; None where there is none, or none that can be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def write(path: str, data: t.Any, mode: int, check_only: bool) -> t.Dict[str, t.Any]:
    """Make the file hold the data; returns ``changed`` and ``diff``."""
    after = json.dumps(data, indent=2, sort_keys=True) + "\n"
    before = _text(path)
    had = None if before is None else os.stat(path).st_mode & 0o7777
    changed = before != after or had != mode
    diff = {"before_header": path, "after_header": path, "before": before or "", "after": after}
    if had not in (None, mode):
        diff["before"] = "mode %04o\n%s" % (had, before)
        diff["after"] = "mode %04o\n%s" % (mode, after)
    if changed and not check_only:
        _replace(path, after, mode)
    return {"changed": changed, "diff": diff}


def _text(path: str) -> t.Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GpufleetError("destination=%s cannot be read: %s" % (path, error.strerror)) from None


def _replace(path: str, text: str, mode: int) -> None:
    directory, name = os.path.split(os.path.abspath(path))
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".%s." % name, dir=directory)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise GpufleetError("destination=%s cannot be written: %s" % (path, error.strerror)) from None
