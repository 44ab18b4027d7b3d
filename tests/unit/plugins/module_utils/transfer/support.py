# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model as a repository holds it, and what a test looks at."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

FILES = {
    "config.json": b'{"model_type": "llama"}\n',
    "tokenizer.json": b"{}" * 2000,
    "model-00001-of-00002.safetensors": bytes(range(256)) * 2000,
    "model-00002-of-00002.safetensors": bytes(range(255, -1, -1)) * 1000,
    "pytorch_model.bin": b"the same weights, pickled",
    "extra/notes.txt": b"hello",
    ".gitattributes": b"* text=auto",
}
WANTED = sorted(set(FILES) - {"pytorch_model.bin", ".gitattributes"})


def contents(folder: t.Union[str, Path]) -> t.Dict[str, bytes]:
    """Every file below a directory but the record."""
    root = Path(folder)
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    found.pop("gpufleet.json", None)
    return found


def wanted(files: t.Dict[str, bytes]) -> t.Dict[str, bytes]:
    """What the default selection takes of FILES."""
    return {path: files[path] for path in WANTED}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
