# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stand-in does that no real server would: its modes.

A mode comes from the variable OLLAMA_STANDIN_<NAME>, or from the key <name> of the JSON file ``ollama-standin.json``
beside the store (``$OLLAMA_MODELS/../ollama-standin.json``). The file is read again at every look, so a test
changes the mode of a running server; it goes before the variable.

registry         URL in place of https://registry.ollama.ai
slow_start       seconds between listening and answering
crash            text: the server panics with it at its start
load_seconds     how long a model takes to load
token_seconds    how long a token takes
generate_error   text: every generation is a 500 with it
generate_cut     tokens after which a stream ends without done
generate_wrong   every answer is this text
gpus             comma list of bytes: GPUs that are there
cpu_fallback     "discovery": the GPUs are not found; anything else: models go into the CPU's memory all the same
pull_rate        bytes a second
pull_stall       fraction of a layer after which nothing comes any more
pull_cut         fraction of a layer after which the connection ends without success
pull_error       text: in-band error in place of the first layer
part_bytes       size of a part of a download (100 MB to 1000 MB in Ollama)
backoff_seconds  unit of the waits between tries (1 in Ollama)
stall_seconds    silence after which a part is asked for again (30 in Ollama)
parent           process: the server ends when it is no longer this one's child
create_seconds   how long a create takes after its first line
disk_bytes       bytes that may be written until the disk is full
fail             "PATH=STATUS": requests to that path answer that status
hang             PATH: requests to that path are never answered
"""

from __future__ import annotations

import json
import threading
import typing as t
from pathlib import Path

PREFIX = "OLLAMA_STANDIN_"
FILE = "ollama-standin.json"


class Modes:
    def __init__(self, variables: t.Mapping[str, str], store: t.Union[str, Path]) -> None:
        self._variables = variables
        self._file = Path(store).parent / FILE
        self._lock = threading.Lock()
        self._written = 0

    def text(self, name: str, default: str = "") -> str:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        value = found.get(name)
        if value is None:
            value = self._variables.get(PREFIX + name.upper())
        return default if value is None else str(value)

    def number(self, name: str, default: float = 0.0) -> float:
        text = self.text(name)
        return float(text) if text else default

    def write(self, count: int, path: t.Union[str, Path]) -> None:
        """Account for bytes that go to the disk; OSError when it is full."""
        limit = self.text("disk_bytes")
        with self._lock:
            self._written += count
            if limit and self._written > int(limit):
                self._written -= count
                raise OSError("write %s: no space left on device" % path)
