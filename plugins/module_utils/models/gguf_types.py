# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GGUF that llama-quantize would make of a model: its tensors' types and sizes, from the config alone.

Which tensor gets which type follows llama.cpp's rules (src/llama-quant.cpp), without an importance matrix. Quantizers
that choose types by themselves ("UD" files) differ by up to a tenth.
"""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError
from .gguf import TYPES

_SIZE: t.Dict[str, t.Tuple[int, int]] = {name: (count, size) for name, count, size in TYPES.values()}

# File type -> the type of most tensors.
BASE: t.Dict[str, str] = {
    "F32": "F32",
    "F16": "F16",
    "BF16": "BF16",
    "Q8_0": "Q8_0",
    "Q6_K": "Q6_K",
    "Q5_K_M": "Q5_K",
    "Q5_K_S": "Q5_K",
    "Q5_1": "Q5_1",
    "Q5_0": "Q5_0",
    "Q4_K_M": "Q4_K",
    "Q4_K_S": "Q4_K",
    "Q4_1": "Q4_1",
    "Q4_0": "Q4_0",
    "IQ4_NL": "IQ4_NL",
    "IQ4_XS": "IQ4_XS",
    "Q3_K_L": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_S": "Q3_K",
    "Q2_K": "Q2_K",
    "MXFP4": "MXFP4",
    "MXFP4_MOE": "MXFP4",
}
_ALIASES = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q3_K": "Q3_K_M"}
# Types in blocks of 256, and what takes their place in rows that are no multiple of that.
_NARROW = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"}
_PLAIN = frozenset(("F32", "F16", "BF16"))
# Kept in 32 bits: norms, biases, routers, what a state is made from.
_FULL = (
    "norm", "moe.router", "attention.sinks", "linear_attention.conv", "linear_attention.decay", "scalars",
    "embed.positions",
)  # fmt: skip


def file_type(name: str) -> str:
    """The name as llama-quantize spells it; GpufleetError for one that is not known."""
    label = str(name).strip().upper().replace("-", "_")
    label = _ALIASES.get(label, label)
    if label not in BASE:
        raise GpufleetError("quantize=%s is not known: give one of %s." % (name, ", ".join(BASE)))
    return label


def quantized(facts: t.Mapping[str, t.Any], name: str) -> dict:
    """Facts of a checkpoint -> facts of its GGUF in file type ``name``. A vision tower becomes the projector's file."""
    label = file_type(name)
    if facts.get("quantization"):
        raise GpufleetError(
            "quantize=%s: the checkpoint is quantized already (%s); give the config of the 16-bit one."
            % (name, facts["quantization"]["method"])
        )
    groups: t.List[dict] = []
    vision = 0
    for group in facts["tensor_groups"]:
        if group["place"] == "vision":
            vision += group["parameters"]
        elif group["place"] == "skipped":
            groups.append(dict(group))
        else:
            groups.extend(_converted(group, label, facts))
    total = sum(group["bytes"] * _instances(group) for group in groups if group["place"] != "skipped")
    by_type: t.Dict[str, int] = {}
    for group in groups:
        if group["place"] != "skipped":
            by_type[group["dtype"]] = by_type.get(group["dtype"], 0) + group["bytes"] * _instances(group)
    return dict(
        facts,
        format="gguf",
        tensor_groups=groups,
        weight_bytes={"total": total, "by_dtype": dict(sorted(by_type.items())), "by_file": None},
        projector_bytes=2 * vision or None,
        quantization={
            "method": "gguf", "bits": None, "group_size": None, "block_size": None, "format": label,
            "kv_cache_dtype": None, "unquantized": [],
        },
    )  # fmt: skip


def tensor_bytes(count: int, dtype: str) -> int:
    numbers, size = _SIZE[dtype]
    return -(-count // numbers) * size


def _instances(group: t.Mapping[str, t.Any]) -> int:
    return len(group["layers"]) if group["place"] == "layers" else 1


def _converted(group: t.Mapping[str, t.Any], label: str, facts: t.Mapping[str, t.Any]) -> t.Iterator[dict]:
    """The group in its types: one group for each set of layers that get the same."""
    if group["place"] != "layers":
        yield _sized(group, [(1.0, _once(group, label, facts))], [])
        return
    layers: t.Dict[t.Tuple[t.Tuple[float, str], ...], t.List[int]] = {}
    for index in group["layers"]:
        layers.setdefault(tuple(_parts(group, label, facts, index)), []).append(index)
    for parts, indices in layers.items():
        yield _sized(group, parts, indices)


def _sized(group: t.Mapping[str, t.Any], parts: t.Sequence[t.Tuple[float, str]], layers: t.List[int]) -> dict:
    narrow = (group.get("dims") or {}).get("in")
    size, widest = 0, parts[0][1]
    for share, dtype in parts:
        if dtype in _NARROW and narrow and narrow % 256:
            dtype = _NARROW[dtype]
        size += tensor_bytes(int(group["parameters"] * share), dtype)
        widest = dtype
    return dict(group, bytes=size, loaded_bytes=size, dtype=widest, quantized=widest not in _PLAIN, layers=layers)


def _once(group: t.Mapping[str, t.Any], label: str, facts: t.Mapping[str, t.Any]) -> str:
    base, name = BASE[label], group["name"]
    if name.startswith(_FULL) or name.endswith("bias"):
        return "F32"
    if label in ("MXFP4", "MXFP4_MOE"):
        return "BF16" if label == "MXFP4" else "Q8_0"
    head = group["place"] == "head" or (group["place"] == "embed" and facts.get("tied_embeddings"))
    if head and base not in _PLAIN and base != "Q8_0":
        return "Q6_K" if facts["hidden_size"] % 256 == 0 else "Q8_0"
    if base in _NARROW and facts["hidden_size"] % 256:
        return _NARROW[base]
    return base


def _parts(
    group: t.Mapping[str, t.Any], label: str, facts: t.Mapping[str, t.Any], layer: int
) -> t.List[t.Tuple[float, str]]:
    """Shares of the group's parameters and their types in one layer."""
    base, name = BASE[label], group["name"]
    if name.startswith(_FULL) or name.endswith("bias"):
        return [(1.0, "F32")]
    if label in ("MXFP4", "MXFP4_MOE"):
        return [(1.0, "MXFP4" if name == "moe.experts" else "BF16" if label == "MXFP4" else "Q8_0")]
    count = int(facts["layers"]["total"])
    more = layer < count // 8 or layer >= 7 * count // 8 or (layer - count // 8) % 3 == 2
    eight = bool(facts.get("moe")) and facts["moe"]["experts"] == 8
    if name == "attention.kv":
        key = "Q8_0" if eight and base not in _PLAIN else base
        return [(0.5, key), (0.5, _values(label, base, layer, more, eight, facts))]
    if name == "mlp.down":
        return [(1.0, _down(label, base, layer, count, more))]
    if name == "moe.experts":
        return [(2 / 3, base), (1 / 3, _down(label, base, layer, count, more))]
    if name == "moe.shared" and (group.get("dims") or {}).get("out") == facts["hidden_size"]:
        return [(1.0, _down(label, base, layer, count, more))]
    if name == "attention.o":
        return [(1.0, _output(label, base, eight))]
    return [(1.0, base)]


def _values(label: str, base: str, layer: int, more: bool, eight: bool, facts: t.Mapping[str, t.Any]) -> str:
    if base in _PLAIN:
        return base
    if eight:
        return "Q8_0"
    grouped = facts["attention_heads"] >= 4 * max(1, facts["kv_heads"])
    chosen = {
        "Q2_K": "Q4_K" if grouped else "Q3_K",
        "Q3_K_M": "Q5_K" if layer < 2 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "Q4_K_S": "Q5_K" if layer < 4 else base,
        "Q4_K_M": "Q6_K" if more else base,
        "Q5_K_M": "Q6_K" if more else base,
        "IQ4_NL": "Q5_K" if grouped else base,
        "IQ4_XS": "Q5_K" if grouped else base,
    }.get(label, base)
    large = facts["layers"]["total"] == 80 and facts["attention_heads"] != facts["kv_heads"]  # llama.cpp's "70B"
    return "Q5_K" if large and chosen in ("Q3_K", "Q4_K") else chosen


def _down(label: str, base: str, layer: int, count: int, more: bool) -> str:
    return {
        "Q2_K": "Q3_K",
        "Q3_K_M": "Q5_K" if layer < count // 16 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "Q4_K_S": "Q5_K" if layer < count // 8 else base,
        "Q4_K_M": "Q6_K" if more else base,
        "Q5_K_M": "Q6_K" if more else base,
        "IQ4_NL": "Q5_K" if layer < count // 8 else base,
        "IQ4_XS": "Q5_K" if layer < count // 8 else base,
    }.get(label, base)


def _output(label: str, base: str, eight: bool) -> str:
    if eight:
        return "Q5_K" if label in ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS") else base
    return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(label, base)
