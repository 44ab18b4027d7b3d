# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The header of a safetensors file: which tensors, of which type and shape, and where the file has to end."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError

LENGTH_BYTES = 8
# The format's own limit: a longer header is not a header.
MAX_HEADER_BYTES = 100 * 1000 * 1000
# One request usually brings the whole header.
FIRST_READ_BYTES = 256 * 1024

# Names in the header -> torch's names and bits.
DTYPES: t.Dict[str, t.Tuple[str, int]] = {
    "BOOL": ("bool", 8),
    "F4": ("float4_e2m1fn_x2", 4),
    "F6_E2M3": ("float6_e2m3fn", 6),
    "F6_E3M2": ("float6_e3m2fn", 6),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "C64": ("complex64", 64),
    "F64": ("float64", 64),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
}


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str  # torch's name, or ggml's for GGUF
    shape: t.Tuple[int, ...]
    bytes: int

    def count(self) -> int:
        """How many numbers of ``dtype`` it holds."""
        total = 1
        for size in self.shape:
            total *= size
        return total


@dataclass(frozen=True)
class Header:
    tensors: t.List[Tensor]
    file_bytes: int  # where a complete file ends

    def tensor_bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.tensors)


Read = t.Callable[[int, int], bytes]  # offset, length -> as many bytes as there are, at most length


def read_header(read: Read, name: str) -> Header:
    """The header of the file that ``read`` reads. ``name`` is for messages."""
    start = read(0, FIRST_READ_BYTES)
    if len(start) < LENGTH_BYTES:
        raise GpufleetError(
            "%s is not a safetensors file: %d bytes, at least 8 are needed for the header's length."
            % (name, len(start))
        )
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length < 2 or length > MAX_HEADER_BYTES:
        raise GpufleetError(
            "%s is not a safetensors file: its header would be %d bytes long, at most %d are allowed. "
            "An HTML page or a Git LFS pointer in the file's place looks like this: download the file again."
            % (name, length, MAX_HEADER_BYTES)
        )
    end = LENGTH_BYTES + length
    while len(start) < end:
        more = read(len(start), end - len(start))
        if not more:
            raise GpufleetError(
                "%s is truncated inside its header: %d of %d bytes. Download the file again." % (name, len(start), end),
                file=name,
                expected_bytes=end,
                found_bytes=len(start),
            )
        start += more
    return parse_header(start[LENGTH_BYTES:end], name)


def parse_header(text: bytes, name: str) -> Header:
    try:
        entries = json.loads(text.decode("utf-8"))
    except ValueError as error:
        raise GpufleetError("The header of %s is not JSON (%s). Download the file again." % (name, error)) from None
    if not isinstance(entries, dict):
        raise GpufleetError("The header of %s is not a JSON object. Download the file again." % name)
    tensors, last = [], 0
    for key, entry in entries.items():
        if key == "__metadata__":
            continue
        try:
            dtype, bits = DTYPES.get(entry["dtype"], (str(entry["dtype"]).lower(), 0))
            shape = tuple(int(size) for size in entry["shape"])
            first, end = (int(offset) for offset in entry["data_offsets"])
        except (KeyError, TypeError, ValueError):
            raise GpufleetError("The header of %s describes the tensor %s wrongly: %r." % (name, key, entry)) from None
        tensor = Tensor(key, dtype, shape, end - first)
        if end < first or (bits and tensor.bytes != -(-tensor.count() * bits // 8)):
            raise GpufleetError(
                "The header of %s says that the tensor %s %s of %s takes %d bytes, which cannot be."
                % (name, key, list(shape), entry["dtype"], end - first)
            )
        tensors.append(tensor)
        last = max(last, end)
    return Header(tensors, LENGTH_BYTES + len(text) + last)
