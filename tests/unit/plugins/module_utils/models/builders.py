# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small model directories and files for these tests."""

from __future__ import annotations

import json
import struct
import typing as t
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "models"

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
WIDTH = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4, "U8": 1, "F8_E4M3": 1, "I64": 8}

Shapes = t.Dict[str, t.Tuple[str, t.List[int]]]


def fixture(name: str) -> t.Any:
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


def llama_tensors(layers: int = 2, dtype: str = "BF16") -> Shapes:
    tensors: Shapes = {"model.embed_tokens.weight": (dtype, [100, 64]), "model.norm.weight": (dtype, [64])}
    for layer in range(layers):
        prefix = "model.layers.%d." % layer
        for name, shape in (
            ("self_attn.q_proj", [64, 64]),
            ("self_attn.k_proj", [32, 64]),
            ("self_attn.v_proj", [32, 64]),
            ("self_attn.o_proj", [64, 64]),
            ("mlp.gate_proj", [128, 64]),
            ("mlp.up_proj", [128, 64]),
            ("mlp.down_proj", [64, 128]),
            ("input_layernorm", [64]),
            ("post_attention_layernorm", [64]),
        ):
            tensors[prefix + name + ".weight"] = (dtype, shape)
    tensors["lm_head.weight"] = (dtype, [100, 64])
    return tensors


def safetensors_bytes(tensors: Shapes) -> bytes:
    header: t.Dict[str, t.Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        size = WIDTH[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def model_files(tensors: t.Optional[Shapes] = None, **config: t.Any) -> t.Dict[str, bytes]:
    """A whole model: one weight file, a tokenizer, and the small files."""
    return {
        "config.json": json.dumps(dict(CONFIG, **config)).encode(),
        "generation_config.json": b'{"max_new_tokens": 40, "transformers_version": "5"}',
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
        "model.safetensors": safetensors_bytes(tensors or llama_tensors()),
    }


def sharded_files() -> t.Dict[str, bytes]:
    """The same model in two shards with an index."""
    files = model_files()
    del files["model.safetensors"]
    tensors = llama_tensors()
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[:10], names[10:]), 1):
        file = "model-%05d-of-00002.safetensors" % number
        files[file] = safetensors_bytes({name: tensors[name] for name in part})
        weight_map.update({name: file for name in part})
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return files


def write(folder: Path, files: t.Dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
    folder.chmod(0o755)
    return folder


def ranked(facts: dict, ranks: int) -> int:
    """Bytes of the weights on each of ``ranks`` GPUs: the rules of the sharding values and nothing else."""
    total = 0
    for group in facts["tensor_groups"]:
        size, sharding = group["loaded_bytes"], group["sharding"]
        if group["place"] == "skipped":
            continue
        if sharding in ("tp", "expert"):
            assert size % ranks == 0, group
            size //= ranks
        elif sharding == "kv":
            size = size * max(1, group["heads"] // ranks) // group["heads"]
        elif sharding == "vocab":
            size = size // group["rows"] * (-(-group["rows"] // 64) * 64) // ranks
        else:
            assert sharding == "replicated", group
        total += size * (len(group["layers"]) if group["place"] == "layers" else 1)
    return total
