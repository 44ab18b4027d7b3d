# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers: rounding, bytes for people, token counts as vLLM reads them."""

from __future__ import annotations

import re
import typing as t

from ..errors import GpufleetError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NUMBER = re.compile(r"^(\d+)(\.\d+)?([kKmMgGtT])?$")

# Bytes of one element, by every name the contracts and vLLM use.
ELEMENT_BYTES: t.Dict[str, int] = {
    "float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1,
}  # fmt: skip


def ceil_div(value: int, by: int) -> int:
    return -(-value // by)


def round_up(value: int, multiple: int) -> int:
    return ceil_div(value, multiple) * multiple


def gib(value: float) -> str:
    """Bytes as text in GiB (MiB below 0.1 GiB)."""
    if abs(value) < 0.1 * GIB:
        return "%.0f MiB" % (value / MIB)
    return "%.1f GiB" % (value / GIB)


def count(value: float, noun: str) -> str:
    """``1 GPU``, ``2 GPUs``."""
    return "%s %s%s" % (format(int(value), ","), noun, "" if int(value) == 1 else "s")


def parse_number(option: str, value: t.Any) -> int:
    """A whole number as vLLM's human_readable_int reads it: 32k = 32000, 32K = 32768, 25.6k = 25600.

    Source: vllm 0.33 utils/argparse_utils.py. A fraction only goes with a decimal suffix, as there.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _NUMBER.match(str(value).strip())
    if match:
        whole, fraction, suffix = match.groups()
        if not fraction:
            return int(whole) * _SUFFIXES.get(suffix or "", 1)
        if suffix and suffix.islower():
            return round(float(whole + fraction) * _SUFFIXES[suffix])
    raise GpufleetError(
        "%s=%s is not a number: give a whole number, with k/m/g for thousands (32k = 32000) "
        "or K/M/G for powers of 1024 (32K = 32768)." % (option, value)
    )


def parse_wish(option: str, value: t.Any, least: int = 1) -> t.Optional[int]:
    """A number, or None for ``auto``."""
    if value is None or str(value).strip().lower() in ("auto", "-1"):
        return None
    number = parse_number(option, value)
    if number < least:
        raise GpufleetError("%s=%s is too small: give %d or more, or auto." % (option, value, least))
    return number
