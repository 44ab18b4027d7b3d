# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source whose files have addresses: what such sources share."""

from __future__ import annotations

import threading
import typing as t

from ..files import ModelFile
from ..transports.carrier import Arrived, Carrier, Item


class Addressed:
    """Says where a file lies; a carrier brings it."""

    def prepare(self) -> None:
        """Have at hand what the calls below need."""

    def carrier(self) -> Carrier:
        """Whoever brings its files; always the same one."""
        raise NotImplementedError

    def address(self, one: ModelFile, revision: str) -> str:
        """The file's URL."""
        raise NotImplementedError

    def takes_together(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        return self.carrier().takes_together(files)

    def bring_together(
        self, files: t.Sequence[ModelFile], revision: str, folder: str, arrived: Arrived, stop: threading.Event
    ) -> None:
        items = [Item(one, self.address(one, revision)) for one in files]
        self.carrier().bring_together(items, folder, arrived, stop)

    def fetch(self, one: ModelFile, revision: str, folder: str) -> str:
        return self.carrier().bring(Item(one, self.address(one, revision)), folder)

    def copies_for_free(self, folder: str) -> bool:
        return False
