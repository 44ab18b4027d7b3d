# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a download needs to know: where the files come from, and what the user asks for."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass, field

from .files import ModelFile
from .permissions import Permissions
from .transports.carrier import Arrived
from .watch import Watch


class Source(t.Protocol):
    """Where a model's files come from. Answers are remembered: each question is asked once in a run."""

    kind: str  # the first directory in the store
    name: str  # org/name, the next two
    revision: str  # as wished: a branch, a tag or a commit
    label: str  # for messages
    sees_changes: bool  # unchanged_since notices a new content of the ref; if not, the source has to be asked

    def prepare(self) -> None:
        """Have at hand what the calls below need."""

    def resolve(self) -> str:
        """The commit or digest that ``revision`` means now."""

    def listing(self, revision: str) -> t.List[ModelFile]:
        """Every file, with its size and hash."""

    def takes_together(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        """Which files are better brought together."""

    def bring_together(
        self, files: t.Sequence[ModelFile], revision: str, folder: str, arrived: Arrived, stop: threading.Event
    ) -> None:
        """Bring those below ``folder``. Each is asked for with ``fetch`` when ``arrived`` was told of it."""

    def fetch(self, one: ModelFile, revision: str, folder: str) -> str:
        """Bring one file below ``folder`` and return its path there. Raises web.Wrong when it is not that very file."""

    def unchanged_since(self, record: t.Dict[str, t.Any]) -> bool:
        """Whether the source is known, without reading its files, to be what was recorded."""

    def record_fields(self) -> t.Dict[str, t.Any]:
        """What the record keeps of this source."""

    def copies_for_free(self, folder: str) -> bool:
        """Whether its files take no space on the file system of ``folder``."""


@dataclass
class Wish:
    """What the user asks for, beside the source."""

    source: str  # as given, for the record
    store: str
    permissions: Permissions
    include: t.Optional[t.List[str]] = None
    exclude: t.Optional[t.List[str]] = None
    latest: bool = False  # ask what a branch or tag is now, even when it is in the store
    offline: bool = False
    max_workers: int = 8
    lock_timeout_s: float = 3600.0
    check_mode: bool = False
    say: t.Callable[[str], None] = lambda text: None
    verify: str = "record"  # or "full": read every file again
    repair: bool = True  # fetch what is there and wrong; otherwise that is an error
    listing_sha256: t.Optional[str] = None  # what the source's list of files must be
    commit: t.Optional[str] = None  # what the branch or tag is, whatever the source says
    watch: Watch = field(default_factory=Watch)
    stop: threading.Event = field(default_factory=threading.Event)
