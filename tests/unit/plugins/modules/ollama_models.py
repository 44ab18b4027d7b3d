# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of ollama_model share: a call of the module, and files to make models from."""

from __future__ import annotations

import json
import struct
import typing as t
from pathlib import Path

from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama import ensure
from ansible_collections.gpufleet.llm.plugins.modules import ollama_model
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.program import gguf_file

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1, "max_position_embeddings": 64, "hidden_size": 8,
    "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16,
}  # fmt: skip


class Host:
    """A host with a server: ``call`` is the module on it."""

    def __init__(self, url: str, folder: Path, store: t.Optional[str]) -> None:
        self.url, self.folder, self.store = url, folder, store
        self.record = folder / "state" / "models.json"

    def call(self, name: str, check: bool = False, **options: t.Any) -> t.Dict[str, t.Any]:
        params = {key: spec.get("default") for key, spec in ollama_model.ARGUMENT_SPEC.items()}
        params.update(url=self.url, record=str(self.record), store=self.store, timeout=30.0, stall_timeout=10.0)
        return ensure.answer(dict(params, name=name, **options), check)

    def recorded(self) -> t.Dict[str, t.Any]:
        return json.loads(self.record.read_text())["models"] if self.record.exists() else {}


def write_gguf(path: Path, **options: t.Any) -> str:
    """A tiny model; ``split`` makes a set, named by its first file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = gguf_file.tiny(**options)
    if not options.get("split"):
        path.write_bytes(parts[0].pack())
        return str(path)
    names = ["%s-%05d-of-%05d.gguf" % (path.stem, number, len(parts)) for number in range(1, len(parts) + 1)]
    for name, part in zip(names, parts):
        (path.parent / name).write_bytes(part.pack())
    return str(path.parent / names[0])


def write_checkpoint(folder: Path, seed: int = 0, **more: str) -> str:
    """A directory in safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"model.norm.weight": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes([seed]) * 32)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    for name, text in more.items():
        (folder / name).write_text(text)
    return str(folder)
