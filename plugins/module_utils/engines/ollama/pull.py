# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pulling a model, and what Ollama leaves to others: room on the disk, damaged blobs, and the pin."""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass, field

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...progress import Progress
from ...sizes import human
from ...transfer.ollama.store import Problem, Store
from . import due, faults, registry
from .api import Api, Json
from .progress import Clock, Stalled

# What was there before a pull that has a pin, until the new one has turned out to be right.
_KEPT = "gpufleet-kept-"
REGISTRY_TIMEOUT_S = 15.0


@dataclass
class Tools:
    """What every job needs."""

    api: Api
    store: t.Optional[Store]
    clock: Clock
    stall_timeout_s: float
    progress: Progress
    actions: t.List[str] = field(default_factory=list)
    warnings: t.List[str] = field(default_factory=list)


class _Pulling(Stalled):
    """Stops a pull whose next layer the disk cannot take: Ollama would find out at its end."""

    def __init__(self, name: Name, tools: Tools) -> None:
        super().__init__("pulling %s" % name, tools.clock, tools.stall_timeout_s, tools.progress)
        self.store = tools.store
        self._seen: t.Set[str] = set()

    def line(self, line: Json) -> None:
        digest, total = str(line.get("digest") or ""), int(line.get("total") or 0)
        if self.store and total and digest not in self._seen:
            self._seen.add(digest)
            needed, free = total - int(line.get("completed") or 0), self.store.free_bytes()
            if needed > free:
                raise GpufleetError(
                    "store=%s is too small for what is left of %s: %d bytes (%s) are needed and %d (%s) are free. The "
                    "pull was stopped; free %d bytes and run again."
                    % (self.store.path, digest or self.what, needed, human(needed), free, human(free), needed - free),
                    needed_bytes=needed,
                    short_bytes=needed - free,
                )  # fmt: skip
        super().line(line)


def pull(name: Name, insecure: bool, tools: Tools) -> None:
    """Have the registry's model. A download that was broken off goes on where it was."""
    remove_damaged(name, tools)
    _pull_once(name, insecure, tools)
    if remove_damaged(name, tools):  # a blob of another model that was damaged before, under the right name
        _pull_once(name, insecure, tools)
        left = damaged(name, tools.store)
        if left:
            raise GpufleetError("%s was pulled twice, and still %s. Look at the disk." % (name, left[0].detail))


def need_pinned(name: Name, pin: str, insecure: bool) -> None:
    """Fail when the registry is known to have another digest than the pinned one, before gigabytes are fetched."""
    found, _why = registry.digest(name, insecure, REGISTRY_TIMEOUT_S)
    if found and not found.startswith(pin):
        raise _other(name, pin, found, "Nothing was changed.")


def pull_pinned(name: Name, pin: str, insecure: bool, tools: Tools) -> None:
    """Pull where only one digest will do; what was there before comes back when the registry has another."""
    kept = Name(name.host, name.namespace, name.model, (_KEPT + name.tag)[:80])
    tags = tools.api.tags()
    before, left = due.find(tags, name), due.find(tags, kept)
    if left and due.plain(left["digest"]).startswith(pin):  # of a run that was killed
        tools.api.copy(kept.short, name.short)
        tools.api.delete(kept.short)
        tools.actions.append("put back %s as it was before a pull that was broken off" % name)
        return
    need_pinned(name, pin, insecure)
    if before and not left:
        tools.api.copy(name.short, kept.short)
    try:
        pull(name, insecure, tools)
    except GpufleetError:
        if before and not left:
            with contextlib.suppress(GpufleetError):  # the pull's own failure is what matters
                tools.api.delete(kept.short)
        raise
    found = due.plain((due.find(tools.api.tags(), name) or {}).get("digest"))
    right = found.startswith(pin)
    back = bool(before or left)
    if not right:
        tools.api.delete(name.short)
        if back:
            tools.api.copy(kept.short, name.short)
    if back:
        tools.api.delete(kept.short)
    if not right:
        raise _other(name, pin, found, "What was there before is back." if back else "It was removed again.")


def _other(name: Name, pin: str, found: str, after: str) -> GpufleetError:
    return GpufleetError(
        "digest=%s: %s has %s with another digest now, %s. %s Set the new digest, or bring the wanted model with "
        "ollama_bundle." % (pin, name.host, name, found, after),
        found_digest=found,
    )


def damaged(name: Name, store: t.Optional[Store]) -> t.List[Problem]:
    """Blobs that Ollama takes for whole because of their name (server/download.go looks at nothing else)."""
    return [one for one in store.problems(name) if one.kind == "size"] if store else []


def remove_damaged(name: Name, tools: Tools) -> bool:
    """Ollama never repairs a blob that has its name: it has to go before it is fetched again."""
    found = damaged(name, tools.store)
    for one in found:
        os.unlink(t.cast(Store, tools.store).blob_path(one.digest))
        tools.actions.append("remove a damaged blob: %s" % one.detail)
    return bool(found)


def _pull_once(name: Name, insecure: bool, tools: Tools) -> None:
    try:
        tools.api.pull(name.short, insecure, _Pulling(name, tools))
    except GpufleetError as error:
        raise faults.of_pull(error, name) from None
    tools.progress.say("pulled %s" % name, now=True)
