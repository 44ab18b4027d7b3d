# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GGUF files byte by byte, so that what no library writes can be written too."""

from __future__ import annotations

import struct
import typing as t
from pathlib import Path

Keys = t.Dict[str, t.Any]


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, value: t.Any) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, list):
        return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(one) for one in value)
    kind, form = {"split.no": (2, "H"), "split.count": (2, "H"), "split.tensors.count": (5, "i")}.get(key, (4, "I"))
    return text(key) + struct.pack("<I" + form, kind, value)


def build(keys: Keys, tensors: t.Mapping[str, bytes], version: int = 3) -> bytes:
    """A file with tensors of bytes (ggml's I8)."""
    alignment = keys.get("general.alignment", 32)
    infos, data = b"", b""
    for name, content in tensors.items():
        infos += text(name) + struct.pack("<IQIQ", 1, len(content), 24, len(data))
        data += content + bytes(-len(content) % alignment)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(pair(*one) for one in keys.items()) + infos
    return head + bytes(-len(head) % alignment) + data


MODEL = {
    "general.architecture": "llama",
    "general.name": "tiny",
    "tokenizer.ggml.tokens": ["token %d" % number for number in range(40)],
}
TENSORS = {"t%d" % number: bytes([number + 65]) * (50 + 37 * number) for number in range(6)}


def write_set(
    folder: Path, count: int = 3, stem: str = "m", tensors: t.Mapping[str, bytes] = TENSORS, **more: t.Any
) -> t.List[Path]:
    """The model in a set, as gguf-split writes it."""
    folder.mkdir(exist_ok=True)
    names = list(tensors)
    share = -(-len(names) // count)
    paths = []
    for number in range(count):
        own = {name: tensors[name] for name in names[number * share : (number + 1) * share]}
        keys: Keys = {"split.no": number, "split.count": count, "split.tensors.count": len(names)}
        keys = dict(MODEL if number == 0 else {}, **keys, **more)
        paths.append(folder / ("%s-%05d-of-%05d.gguf" % (stem, number + 1, count)))
        paths[-1].write_bytes(build(keys, own))
    return paths


def write_pieces(folder: Path, names: t.Sequence[str], content: t.Optional[bytes] = None) -> t.List[Path]:
    """A file that was cut up."""
    content = build(MODEL, TENSORS) if content is None else content
    share = -(-len(content) // len(names))
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.write_bytes(content[number * share : (number + 1) * share])
    return paths
