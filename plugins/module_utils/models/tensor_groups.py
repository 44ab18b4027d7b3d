# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Groups of tensors that are split alike: the part of the model facts that a planner turns into bytes per GPU."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

# How many bytes one number of a type takes, as safetensors and torch name the types.
DTYPE_BYTES: t.Dict[str, float] = {
    "float64": 8,
    "int64": 8,
    "uint64": 8,
    "float32": 4,
    "int32": 4,
    "uint32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "uint16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float8_e8m0fnu": 1,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "float4_e2m1fn_x2": 1,
}


VOCAB_PADDING = 64  # vLLM pads the rows of a vocabulary to a multiple


@dataclass
class Group:
    """One kind of tensor over the layers that have it. Sizes are those of one layer, all experts together."""

    name: str
    place: str
    parameters: int
    bytes: int
    loaded_bytes: int
    dtype: str
    quantized: bool
    sharding: str
    layers: t.List[int] = field(default_factory=list)
    rows: t.Optional[int] = None
    heads: t.Optional[int] = None
    dims: t.Optional[t.Dict[str, int]] = None

    def instances(self) -> int:
        return len(self.layers) if self.place == "layers" else 1

    def as_dict(self) -> dict:
        return {
            "name": self.name,
            "place": self.place,
            "layers": self.layers,
            "parameters": self.parameters,
            "bytes": self.bytes,
            "loaded_bytes": self.loaded_bytes,
            "dtype": self.dtype,
            "quantized": self.quantized,
            "sharding": self.sharding,
            "rows": self.rows,
            "heads": self.heads,
            "dims": self.dims,
        }


class Groups:
    """Collects tensors; equal ones of different layers become one group."""

    def __init__(self) -> None:
        self._groups: t.Dict[tuple, Group] = {}

    def add(
        self,
        name: str,
        place: str,
        sharding: str,
        parameters: int,
        size: int,
        dtype: str,
        layer: t.Optional[int] = None,
        loaded: t.Optional[int] = None,
        quantized: bool = False,
        rows: t.Optional[int] = None,
        heads: t.Optional[int] = None,
        dims: t.Optional[t.Tuple[int, int]] = None,
    ) -> None:
        """``size`` bytes as stored; ``loaded`` bytes once in memory, when that differs. ``dims`` is (in, out)."""
        if not parameters and not size:
            return
        loaded = size if loaded is None else loaded
        key = (name, place, sharding, parameters, size, loaded, dtype, quantized, rows, heads, dims)
        group = self._groups.get(key)
        if group is None:
            shape = {"in": dims[0], "out": dims[1]} if dims else None
            group = Group(name, place, parameters, size, loaded, dtype, quantized, sharding, [], rows, heads, shape)
            self._groups[key] = group
        if layer is not None:
            group.layers.append(layer)

    def listed(self) -> t.List[Group]:
        return list(self._groups.values())


def total_parameters(groups: t.Iterable[Group]) -> int:
    """Parameters of what an engine loads."""
    return sum(group.parameters * group.instances() for group in groups if group.place != "skipped")


def total_bytes(groups: t.Iterable[Group]) -> int:
    return sum(group.bytes * group.instances() for group in groups if group.place != "skipped")


def bytes_by_dtype(groups: t.Iterable[Group]) -> t.Dict[str, int]:
    sums: t.Dict[str, int] = {}
    for group in groups:
        if group.place != "skipped":
            sums[group.dtype] = sums.get(group.dtype, 0) + group.bytes * group.instances()
    return dict(sorted(sums.items()))
