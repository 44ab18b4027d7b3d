# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tables and pages say in the same words: sizes, tokens, verdicts, the terms of the memory budget."""

from __future__ import annotations

import re
import typing as t

from ..errors import GpufleetError
from ..planning.units import GIB, KIB, MIB

FITS, TIGHT, REFUSED, UNKNOWN = "fits", "tight", "refused", "unknown"
VERDICTS = {FITS: "FITS", TIGHT: "FITS, TIGHTLY", REFUSED: "DOES NOT FIT", UNKNOWN: "NOT KNOWN"}

# Label and key of each term of the budget, in the order in which it is taken.
TERMS = (
    ("Weights", "weights_bytes_per_gpu"),
    ("MLA copies", "mla_dequantized_bytes"),
    ("Activations", "activation_peak_bytes"),
    ("Rotary tables", "rope_cache_bytes"),
    ("LoRA adapters", "lora_bytes"),
    ("Sampler state", "sampler_state_bytes"),
    ("Expert workspace", "expert_workspace_bytes"),
    ("Sparse attention", "sparse_workspace_bytes"),
    ("CUDA graphs", "cuda_graph_bytes"),
    ("Runtime buffers", "runtime_bytes"),
    ("By measurement", "measured_correction_bytes"),  # what the terms above were off by, below zero too
    ("KV cache", "kv_cache_bytes"),
    ("Outside vLLM", "unclaimed_bytes"),
    ("System", "system_reserve_bytes"),
)
# Control characters, and those that turn the direction of what follows: no name needs them, a terminal obeys them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")


def printable(text: t.Any) -> str:
    """Text from outside, on one line and without what would steer a terminal or a browser."""
    return _UNPRINTABLE.sub("?", str(text))


def verdict(plan: t.Optional[t.Mapping[str, t.Any]]) -> str:
    if plan is None:
        return UNKNOWN
    if plan.get("refusal"):
        return REFUSED
    numbers = plan["numbers"]
    tight = "kv_needed_bytes" in numbers and numbers["kv_cache_bytes"]["low"] < numbers["kv_needed_bytes"]
    return TIGHT if tight else FITS


def weights_kind(model: t.Mapping[str, t.Any]) -> str:
    quantization = model.get("quantization")
    if not quantization:
        return str(model.get("dtype"))
    if quantization["method"] == "gguf":
        return str(quantization.get("format"))
    bits = quantization.get("bits")
    return quantization["method"] + (" %s-bit" % bits if bits else "")


def model_line(model: t.Mapping[str, t.Any]) -> str:
    """``32.8 B parameters, bfloat16``."""
    return "%s parameters, %s" % (amount(model.get("parameters") or 0), weights_kind(model))


def amount(number: int) -> str:
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if number >= size:
            return "%.1f %s" % (number / size, unit)
    return format(number, ",")


def gib(size: float) -> str:
    return "%.2f" % (size / GIB) if abs(size) < 10 * GIB else "%.1f" % (size / GIB)


def small(size: float) -> str:
    return "%.1f MiB" % (size / MIB) if size >= MIB else "%.0f KiB" % (size / KIB) if size >= KIB else "%d B" % size


def length(tokens: int) -> str:
    """A context: ``32K`` is 32768, as vLLM and the planner read it; what is no multiple of 1024 stays whole."""
    return "%dK" % (tokens // 1024) if tokens >= 1024 and tokens % 1024 == 0 else format(tokens, ",")


def thousands(tokens: float) -> str:
    """Tokens of a cache in three figures: ``74.1k`` is 74,100."""
    for size, unit in ((10**9, "g"), (10**6, "m"), (10**3, "k")):
        if tokens >= size:
            value = tokens / size
            return ("%.0f" if value >= 99.95 else "%.1f" if value >= 9.995 else "%.2f") % value + unit
    return "%d" % tokens


def spread(value: t.Union[int, t.Mapping[str, int], None]) -> t.Tuple[int, int, int]:
    """Low, expected and high of a term, exact or not."""
    if value is None:
        return 0, 0, 0
    if isinstance(value, dict):
        return value["low"], value["expected"], value["high"]
    return int(value), int(value), int(value)  # type: ignore[call-overload]


def cards(hardware: t.Mapping[str, t.Any]) -> str:
    """``2 x NVIDIA L40S``; a host without GPU by its CPU."""
    kinds: t.Dict[str, int] = {}
    for card in hardware.get("accelerators") or []:
        mig = card.get("mig") or {}
        pieces = [str(piece.get("name")) for piece in mig.get("slices") or []] if mig.get("enabled") else []
        for name in ["%s MIG %s" % (card.get("name"), piece) for piece in pieces] or [str(card.get("name"))]:
            kinds[name] = kinds.get(name, 0) + 1
    if kinds:
        return " + ".join("%d x %s" % (number, name) for name, number in kinds.items())
    cpu = hardware.get("cpu") or {}
    return "CPU, %s cores, %s GiB" % (cpu.get("cores") or "?", gib(hardware.get("memory_total_bytes") or 0))


def plural(number: int, noun: str) -> str:
    return "%s %s%s" % (format(number, ","), noun, "" if number == 1 else "s")


def check_schema(value: t.Any, schema: str, what: str) -> None:
    if not isinstance(value, dict) or value.get("schema") != schema:
        raise GpufleetError("%s, schema %s." % (what, schema))


def plain(value: t.Any) -> t.Any:
    """Plain dictionaries, lists and text of what Ansible's templates hand over, which are types of their own."""
    if isinstance(value, t.Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
