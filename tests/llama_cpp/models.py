# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small models that llama.cpp really loads, and their tensors as the gguf library reads them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import gguf
import numpy

WIDTH, INNER, LAYERS, HEADS = 256, 512, 2, 4


def write_model(path: Path, dtype: str = "F16", alignment: int = 0, name: str = "tiny", seed: int = 1, split: int = 0) -> Path:
    """A Llama of two layers whose tokens are bytes. ``split`` lets the library write files of so many tensors."""
    chance = numpy.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama", split_max_tensors=split)
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_name(name)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if dtype == "F16" else gguf.LlamaFileType.ALL_F32)
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % number for number in range(256)]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes: t.Dict[str, t.Tuple[int, ...]] = {
        "token_embd": (len(tokens), WIDTH), "output_norm": (WIDTH,), "output": (len(tokens), WIDTH),
    }  # fmt: skip
    for layer in range(LAYERS):
        for one, shape in (
            ("attn_norm", (WIDTH,)),
            ("attn_q", (WIDTH, WIDTH)),
            ("attn_k", (WIDTH, WIDTH)),
            ("attn_v", (WIDTH, WIDTH)),
            ("attn_output", (WIDTH, WIDTH)),
            ("ffn_norm", (WIDTH,)),
            ("ffn_gate", (INNER, WIDTH)),
            ("ffn_up", (INNER, WIDTH)),
            ("ffn_down", (WIDTH, INNER)),
        ):
            shapes["blk.%d.%s" % (layer, one)] = shape
    for one, shape in shapes.items():
        data = chance.standard_normal(shape, dtype=numpy.float32) * 0.05
        writer.add_tensor(one + ".weight", data.astype(numpy.float16) if dtype == "F16" and len(shape) > 1 else data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors_of(*paths: t.Union[str, Path]) -> t.Dict[str, t.Tuple[str, t.Tuple[int, ...], bytes]]:
    """Type, shape and bytes of every tensor in the files, by another reader than ours."""
    found = {}
    for path in paths:
        for one in gguf.GGUFReader(str(path)).tensors:
            assert one.name not in found
            found[one.name] = (one.tensor_type.name, tuple(int(size) for size in one.shape), one.data.tobytes())
    return found
