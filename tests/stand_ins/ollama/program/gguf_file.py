# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GGUF files, read and written whole: the stand-in's are small."""

from __future__ import annotations

import struct
import typing as t
from dataclasses import dataclass, field

MAGIC = b"GGUF"
ALIGNMENT = 32
UINT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 6, 7, 8, 9, 10
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# ggml type: name, numbers and bytes of a block.
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 30: ("BF16", 1, 2), 39: ("MXFP4", 32, 17),
}  # fmt: skip
FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 12: "Q3_K_M",
              14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16", 38: "MXFP4"}  # fmt: skip
FILE_TYPE_NUMBERS = {name: number for number, name in FILE_TYPES.items()}


class BadGguf(ValueError):
    pass


@dataclass
class Tensor:
    name: str
    kind: int
    shape: t.Tuple[int, ...]  # as GGUF stores it: the row's length first
    data: bytes


@dataclass
class Gguf:
    """``values``: key -> (type, value); an array's value is (item type, list)."""

    values: t.Dict[str, t.Tuple[int, t.Any]] = field(default_factory=dict)
    tensors: t.List[Tensor] = field(default_factory=list)

    def get(self, key: str, default: t.Any = None) -> t.Any:
        """A value by its full key, or by the architecture's own ("block_count")."""
        own = "%s.%s" % (self.values.get("general.architecture", (0, ""))[1], key)
        kind, value = self.values.get(key) or self.values.get(own) or (None, default)
        return value[1] if kind == ARRAY else value

    @property
    def architecture(self) -> str:
        return self.get("general.architecture", "unknown")

    @property
    def parameters(self) -> int:
        return sum(_count(tensor.shape) for tensor in self.tensors)

    @property
    def file_type(self) -> str:
        return FILE_TYPES.get(self.get("general.file_type", 1), "unknown")

    def pack(self) -> bytes:
        out = [MAGIC, struct.pack("<IQQ", 3, len(self.tensors), len(self.values))]
        for key, (kind, value) in self.values.items():
            out += [_string(key), struct.pack("<I", kind), _pack(kind, value)]
        offset = 0
        for tensor in self.tensors:
            out += [_string(tensor.name), struct.pack("<I", len(tensor.shape))]
            out += [struct.pack("<Q", length) for length in tensor.shape] + [struct.pack("<IQ", tensor.kind, offset)]
            offset += _padded(len(tensor.data))
        head = b"".join(out)
        body = b"".join(tensor.data.ljust(_padded(len(tensor.data)), b"\0") for tensor in self.tensors)
        return head.ljust(_padded(len(head)), b"\0") + body


def bytes_of(kind: int, shape: t.Sequence[int]) -> int:
    _name, numbers, size = TYPES[kind]
    return _count(shape) // numbers * size


def unpack(content: bytes) -> Gguf:
    if content[:4] != MAGIC:
        raise BadGguf("invalid file magic")
    try:
        return _Reader(content).read()
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise BadGguf("unexpected EOF") from error


def _count(shape: t.Sequence[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _pack(kind: int, value: t.Any) -> bytes:
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        item, entries = value
        return struct.pack("<IQ", item, len(entries)) + b"".join(_pack(item, entry) for entry in entries)
    return struct.pack("<" + _SCALARS[kind], value)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 4

    def read(self) -> Gguf:
        version = self._number("I")
        if version not in (2, 3):
            raise BadGguf("unsupported gguf version %d" % version)
        tensors, entries = self._number("Q"), self._number("Q")
        found = Gguf()
        for _entry in range(entries):
            key = self._string()
            kind = self._number("I")
            found.values[key] = (kind, self._value(kind))
        infos = []
        for _tensor in range(tensors):
            name = self._string()
            shape = tuple(self._number("Q") for _dimension in range(self._number("I")))
            infos.append((name, self._number("I"), shape, self._number("Q")))
        alignment = found.get("general.alignment", ALIGNMENT)
        start = -(-self._at // alignment) * alignment
        for name, kind, shape, offset in infos:
            size = bytes_of(kind, shape)
            data = self._content[start + offset : start + offset + size]
            if len(data) < size:
                raise BadGguf("unexpected EOF")
            found.tensors.append(Tensor(name, kind, shape, data))
        return found

    def _number(self, form: str) -> t.Any:
        value = struct.unpack_from("<" + form, self._content, self._at)[0]
        self._at += struct.calcsize("<" + form)
        return value

    def _string(self) -> str:
        length = self._number("Q")
        text = self._content[self._at : self._at + length]
        if len(text) < length:
            raise BadGguf("unexpected EOF")
        self._at += length
        return text.decode()

    def _value(self, kind: int) -> t.Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            item, count = self._number("I"), self._number("Q")
            return item, [self._value(item) for _entry in range(count)]
        return self._number(_SCALARS[kind])


def tiny(
    name: str = "tiny",
    layers: int = 2,
    seed: int = 0,
    file_type: str = "F16",
    architecture: str = "llama",
    chat_template: str = "",
    split: int = 0,
    **more: int,
) -> t.List[Gguf]:
    """A small model, in one file or ``split`` files. ``seed`` changes its content; ``more`` are architecture's keys."""
    width, heads, kv_heads, forward, words = 64, 4, 2, 128, 128
    kind = {entry[0]: number for number, entry in TYPES.items()}.get(file_type, 1)
    values: t.Dict[str, t.Tuple[int, t.Any]] = {
        "general.architecture": (STRING, architecture),
        "general.name": (STRING, name),
        "general.file_type": (UINT32, FILE_TYPE_NUMBERS[file_type]),
    }
    numbers = {
        "block_count": layers, "context_length": 8192, "embedding_length": width, "feed_forward_length": forward,
        "attention.head_count": heads, "attention.head_count_kv": kv_heads, "vocab_size": words,
    }  # fmt: skip
    for key, value in dict(numbers, **more).items():
        values["%s.%s" % (architecture, key.replace("__", "."))] = (UINT32, value)
    values["tokenizer.ggml.model"] = (STRING, "gpt2")
    values["tokenizer.ggml.tokens"] = (ARRAY, (STRING, ["token%d" % number for number in range(words)]))
    if chat_template:
        values["tokenizer.chat_template"] = (STRING, chat_template)
    shapes = [("token_embd", (width, words))]
    for layer in range(layers):
        for part, shape in (
            ("attn_norm", (width,)), ("attn_q", (width, width)), ("attn_k", (width, width * kv_heads // heads)),
            ("attn_v", (width, width * kv_heads // heads)), ("attn_output", (width, width)), ("ffn_norm", (width,)),
            ("ffn_gate", (width, forward)), ("ffn_up", (width, forward)), ("ffn_down", (forward, width)),
        ):  # fmt: skip
            shapes.append(("blk.%d.%s" % (layer, part), shape))
    shapes += [("output_norm", (width,)), ("output", (width, words))]
    tensors = []
    for number, (part, shape) in enumerate(shapes):
        own = kind if len(shape) > 1 else 0
        size = bytes_of(own, shape)
        tensors.append(Tensor(part + ".weight", own, shape, bytes([(seed + number) % 251]) * size))
    if not split:
        return [Gguf(values, tensors)]
    parts = []
    share = -(-len(tensors) // split)
    for number in range(split):
        own_values = dict(values) if number == 0 else {"general.architecture": values["general.architecture"]}
        own_values["split.no"] = (2, number)
        own_values["split.count"] = (2, split)
        own_values["split.tensors.count"] = (5, len(tensors))
        parts.append(Gguf(own_values, tensors[number * share : (number + 1) * share]))
    return parts
