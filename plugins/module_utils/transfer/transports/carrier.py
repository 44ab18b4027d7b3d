# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing files that have addresses.

Over HTTP, one by one, or many together by another transport; what that one did not bring comes over HTTP after all.
"""

from __future__ import annotations

import contextlib
import os
import threading
import typing as t
from dataclasses import dataclass

from ..files import ModelFile, problem_with
from . import web


@dataclass(frozen=True)
class Item:
    """A file and its address."""

    one: ModelFile
    url: str


Arrived = t.Callable[[ModelFile], None]


class Together(t.Protocol):
    """A transport that brings many files at once, and continues what it left behind when it was killed."""

    def takes(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        """Which of them."""

    def bring(self, items: t.Sequence[Item], folder: str, arrived: Arrived, stop: threading.Event) -> None:
        """Bring them below ``folder``; ``arrived`` is told of each that lies there whole, not yet verified."""


def note_of(folder: str, one: ModelFile) -> str:
    """What the file is to become. Apart from the files: any name that ends in another way may be one of the model's."""
    return os.path.join(folder + ".notes", one.path + ".json")


class Carrier:
    """All files of one source."""

    def __init__(self, client: web.Web, together: t.Optional[Together], say: t.Callable[[str], None]) -> None:
        self._client = client
        self._together = together
        self._say = say
        self._brought: t.Set[str] = set()

    def takes_together(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        return self._together.takes(files) if self._together else []

    def bring_together(self, items: t.Sequence[Item], folder: str, arrived: Arrived, stop: threading.Event) -> None:
        """Each of them is asked for with ``bring`` as soon as ``arrived`` has been told of it, whether it came or not."""

        told = set()

        def came(one: ModelFile) -> None:
            told.add(one.path)
            self._brought.add(one.path)
            arrived(one)

        for item in items:
            os.makedirs(os.path.dirname(os.path.join(folder, item.one.path)), mode=0o700, exist_ok=True)
        t.cast(Together, self._together).bring(items, folder, came, stop)
        for item in items:
            if item.one.path not in told and not stop.is_set():
                self._say("%s comes by plain HTTP" % item.one.path)
                arrived(item.one)

    def bring(self, item: Item, folder: str) -> str:
        """The file's path below ``folder``, verified. Raises web.Wrong when it is not the one that was asked for."""
        path = os.path.join(folder, item.one.path)
        if item.one.path in self._brought:
            self._brought.discard(item.one.path)
            problem = "it is not a file" if os.path.islink(path) else problem_with(path, item.one)
            if problem:
                os.unlink(path)
                raise web.Wrong(problem)
            return path
        with contextlib.suppress(FileNotFoundError):  # aria2 left it with holes
            os.unlink(path + ".aria2")
            os.unlink(path)
        note = note_of(folder, item.one)
        self._client.file(item.url, path, item.one.wanted, lambda _missing, _total: None, note)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note)
        return path
