# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The header of a GGUF file: metadata and tensors. Reads a few megabytes, from a disk or by range requests."""

from __future__ import annotations

import re
import struct
import typing as t
from dataclasses import dataclass, field

from ..errors import GpufleetError
from .safetensors import Read, Tensor

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
SPLIT_NAME = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")
_CHUNK_BYTES = 1024 * 1024
_MAX_ENTRIES = 1000 * 1000
_MAX_STRING_BYTES = 64 * 1024 * 1024
_KEPT_ITEMS = 1024  # longer arrays are the tokenizer's: only their length matters

# ggml type -> name, numbers per block, bytes per block.
TYPES: t.Dict[int, t.Tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
# general.file_type -> what people call it.
FILE_TYPES: t.Dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
# Type of a metadata value -> struct format.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class ArrayLength:
    """Stands for an array that was skipped."""

    length: int


@dataclass(frozen=True)
class GgufHeader:
    version: int
    metadata: t.Dict[str, t.Any]
    tensors: t.List[Tensor]
    file_bytes: int  # a complete file has at least this many
    # Where things lie in the file, for those who write another one from it.
    alignment: int = DEFAULT_ALIGNMENT
    data_start: int = 0
    offsets: t.List[int] = field(default_factory=list)  # of each tensor's data, from data_start
    key_spans: t.Dict[str, t.Tuple[int, int]] = field(default_factory=dict)  # first byte and end of key and value
    tensor_spans: t.List[t.Tuple[int, int]] = field(default_factory=list)  # the same of what the header says of a tensor

    def get(self, key: str, default: t.Any = None) -> t.Any:
        """A value of the architecture ("block_count"), or a full key ("split.count")."""
        own = "%s.%s" % (self.metadata.get("general.architecture"), key)
        return self.metadata.get(own, self.metadata.get(key, default))


class _Stream:
    """Forward reading over ``read`` in large pieces."""

    def __init__(self, read: Read, name: str) -> None:
        self._read, self.name = read, name
        self._start, self._data, self.offset = 0, b"", 0

    def take(self, length: int) -> bytes:
        first = self.offset - self._start
        if first < 0 or first + length > len(self._data):
            self._start, self._data = self.offset, b""
            while len(self._data) < length:
                offset = self._start + len(self._data)
                piece = self._read(offset, max(_CHUNK_BYTES, length - len(self._data)))
                if not piece:
                    raise GpufleetError(
                        "%s is truncated inside its header at %d bytes. Download the file again." % (self.name, offset),
                        file=self.name,
                        found_bytes=offset,
                    )
                self._data += piece
            first = 0
        self.offset += length
        return self._data[first : first + length]

    def number(self, form: str) -> t.Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def string(self) -> str:
        length = self.number("Q")
        if length > _MAX_STRING_BYTES:
            raise GpufleetError("%s is damaged: a string of %d bytes in its header." % (self.name, length))
        return self.take(length).decode("utf-8", "replace")


def read_gguf(read: Read, name: str) -> GgufHeader:
    stream = _Stream(read, name)
    magic = stream.take(4)
    if magic != MAGIC:
        raise GpufleetError(
            "%s is not a GGUF file: it starts with %r. A piece of a file that was cut up, an HTML page or a Git LFS "
            "pointer looks like this." % (name, magic)
        )
    version = stream.number("I")
    if version in (2 << 24, 3 << 24):
        raise GpufleetError("%s is big-endian: files of little-endian computers are understood." % name)
    if version not in (2, 3):
        raise GpufleetError("%s has GGUF version %d: versions 2 and 3 are understood." % (name, version))
    tensors, entries = stream.number("Q"), stream.number("Q")
    if tensors > _MAX_ENTRIES or entries > _MAX_ENTRIES:
        raise GpufleetError("%s is damaged: %d tensors and %d metadata entries." % (name, tensors, entries))
    metadata: t.Dict[str, t.Any] = {}
    key_spans: t.Dict[str, t.Tuple[int, int]] = {}
    for _entry in range(entries):
        first = stream.offset
        key = stream.string()
        metadata[key] = _value(stream, stream.number("I"))
        key_spans[key] = (first, stream.offset)
    found, offsets, tensor_spans, last = [], [], [], 0
    for _entry in range(tensors):
        first = stream.offset
        tensor, offset = _tensor(stream)
        found.append(tensor)
        offsets.append(offset)
        tensor_spans.append((first, stream.offset))
        last = max(last, offset + tensor.bytes)
    alignment = int(metadata.get("general.alignment") or DEFAULT_ALIGNMENT)
    start = padded(stream.offset, alignment)
    return GgufHeader(version, metadata, found, start + last, alignment, start, offsets, key_spans, tensor_spans)


def padded(size: int, alignment: int) -> int:
    """``size`` rounded up to the next multiple."""
    return -(-size // alignment) * alignment


def _value(stream: _Stream, kind: int) -> t.Any:
    if kind == _STRING:
        return stream.string()
    if kind in _SCALARS:
        return stream.number(_SCALARS[kind])
    if kind != _ARRAY:
        raise GpufleetError("%s is damaged: metadata of type %d." % (stream.name, kind))
    item, count = stream.number("I"), stream.number("Q")
    if count > 100 * _MAX_ENTRIES:
        raise GpufleetError("%s is damaged: an array of %d items in its header." % (stream.name, count))
    if item in _SCALARS and count > _KEPT_ITEMS:
        width = struct.calcsize("<" + _SCALARS[item])
        for first in range(0, count, _CHUNK_BYTES):
            stream.take(width * min(_CHUNK_BYTES, count - first))
        return ArrayLength(count)
    if count > _KEPT_ITEMS:
        for _item in range(count):
            _value(stream, item)
        return ArrayLength(count)
    return [_value(stream, item) for _item in range(count)]


def _tensor(stream: _Stream) -> t.Tuple[Tensor, int]:
    name = stream.string()
    dimensions = stream.number("I")
    if dimensions > 8:
        raise GpufleetError("%s is damaged: the tensor %s has %d dimensions." % (stream.name, name, dimensions))
    shape = tuple(stream.number("Q") for _dimension in range(dimensions))
    kind, offset = stream.number("I"), stream.number("Q")
    if kind not in TYPES:
        raise GpufleetError(
            "%s stores the tensor %s as ggml type %d, which is not known here." % (stream.name, name, kind)
        )
    label, numbers, size = TYPES[kind]
    count = 1
    for length in shape:
        count *= length
    return Tensor(name, label, tuple(reversed(shape)), count // numbers * size), offset


def split_names(name: str) -> t.List[str]:
    """All names of the set that ``name`` is one of; just the name itself when it is no part of a set."""
    found = SPLIT_NAME.match(name)
    count = int(found.group("count")) if found else 0
    if not found or not count:
        return [name]
    return ["%s-%05d-of-%05d.gguf" % (found.group("stem"), number, count) for number in range(1, count + 1)]
