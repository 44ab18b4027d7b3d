# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""quantization_config -> how each weight matrix is stored."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """How a matrix of ``inputs`` x ``outputs`` is stored."""

    dtype: str
    bits: int

    def matrix_bytes(self, inputs: int, outputs: int) -> int:
        return inputs * outputs * self.bits // 8


@dataclass
class Quantization:
    method: str

    def scheme(self, module: str) -> t.Optional[Scheme]:
        return None
