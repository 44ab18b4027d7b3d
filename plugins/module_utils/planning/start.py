# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a start may take before it counts as failed."""

from __future__ import annotations

from .facts import Model

# Imports, compilation and graph capture with nothing cached: 11 minutes were reported for two GPUs. A CPU compiles nothing.
_PREPARE_S = {"cuda": 1200, "cpu": 600}
# A slow disk. What is slower than this is broken.
_READ_BYTES_PER_S = 100 * 10**6


def timeout_s(model: Model, variant: str) -> int:
    """Seconds, for a first start from a slow disk."""
    stored = sum(group.bytes * max(1, len(group.layers)) for group in model.groups)
    return _PREPARE_S[variant] + stored // _READ_BYTES_PER_S
