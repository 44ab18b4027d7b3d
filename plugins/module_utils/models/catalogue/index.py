# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All entries of the catalogue, and its look-up by name."""

from __future__ import annotations

import typing as t

from . import american, chinese, deepseek, embeddings, gemma, llama, mistral, qwen
from .entry import Entry

ENTRIES: t.Tuple[Entry, ...] = (
    qwen.ENTRIES
    + llama.ENTRIES
    + mistral.ENTRIES
    + gemma.ENTRIES
    + deepseek.ENTRIES
    + chinese.ENTRIES
    + american.ENTRIES
    + embeddings.ENTRIES
)
_BY_ID = {entry.id.lower(): entry for entry in ENTRIES}
_BY_ID.update({sister.id.lower(): entry for entry in ENTRIES for sister in entry.sisters})


def find(repository: str) -> t.Optional[Entry]:
    """The entry of a repository or of a quantized sister of it; None when the catalogue does not have it."""
    return _BY_ID.get(repository.strip().lower())
