# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a download may take."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Terms:
    """How much a download may take of the host and of the line."""

    max_workers: int = 8
    stall_timeout_s: int = 60
    limit_bytes_per_s: int = 0  # 0: none
    ca_path: t.Optional[str] = None
    say: t.Callable[[str], None] = lambda text: None
    stop: threading.Event = field(default_factory=threading.Event)  # set when all that goes on is in vain
