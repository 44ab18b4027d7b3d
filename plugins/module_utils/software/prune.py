# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which finished environments of a directory can go."""

from __future__ import annotations

import glob
import os
import re
import shutil
import typing as t

from .virtualenv import RECORD, read_record


def unused(directory: str, used_by: t.Sequence[str], keep: int) -> t.List[str]:
    """Finished environments that no file of the patterns names, without the ``keep`` newest of them."""
    text = "\n".join(_read(path) for pattern in used_by for path in sorted(glob.glob(pattern)))
    found = []
    for name in _listing(directory):
        path = os.path.join(directory, name)
        if os.path.islink(path) or read_record(path) is None or _named(path, text):
            continue
        found.append((os.stat(os.path.join(path, RECORD)).st_mtime, path))
    return [path for _time, path in sorted(found, reverse=True)[keep:]]


def remove(path: str) -> None:
    """The record first: what a kill leaves behind is no finished environment."""
    os.unlink(os.path.join(path, RECORD))
    shutil.rmtree(path)


def _named(path: str, text: str) -> bool:
    return bool(re.search(re.escape(path) + r"(?![\w.+-])", text))


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def _listing(path: str) -> t.List[str]:
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []
