# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models that turn a text into a vector."""

from __future__ import annotations

import typing as t

from . import entry
from .entry import Config, Entry, decoder
from .mistral import MISTRAL_7B

_EMBED = ("embedding",)
_APACHE = "Apache-2.0"
_MIT = "MIT"


def _encoder(architecture: str, model_type: str, vocab: int, positions: int, types: int, dtype: str) -> Config:
    """The large size of BERT."""
    return dict(
        decoder(architecture, model_type, 1024, 4096, 24, (16, 16), vocab, positions, True),
        type_vocab_size=types,
        torch_dtype=dtype,
    )


def _qwen3(hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], vocab: int, context: int) -> Config:
    """Its config.json says Qwen3ForCausalLM; the checkpoint has no output head, and vLLM builds none for pooling."""
    return decoder("Qwen3Model", "qwen3", hidden, inner, layers, heads, vocab, context, True, head_dim=128)


ENTRIES: t.Tuple[Entry, ...] = (
    Entry(
        "BAAI/bge-m3",
        _encoder("XLMRobertaModel", "xlm-roberta", 250002, 8194, 1, "float32"),
        567754752,
        "2024-01",
        _EMBED,
        _MIT,
        entry.HUB,
    ),
    Entry(
        "BAAI/bge-large-en-v1.5",
        _encoder("BertModel", "bert", 30522, 512, 2, "float32"),
        335142400,
        "2023-09",
        _EMBED,
        _MIT,
        entry.HUB,
    ),
    Entry(
        "intfloat/multilingual-e5-large-instruct",
        _encoder("XLMRobertaModel", "xlm-roberta", 250002, 514, 1, "float16"),
        559890432,
        "2024-02",
        _EMBED,
        _MIT,
        entry.HUB,
    ),
    Entry(
        "intfloat/e5-mistral-7b-instruct",
        dict(
            MISTRAL_7B, architectures=["MistralModel"], vocab_size=32000, tie_word_embeddings=True,
            torch_dtype="float16",
        ),
        7110660096,
        "2023-12",
        _EMBED,
        _MIT,
        entry.HUB,
    ),
    Entry(
        "nomic-ai/nomic-embed-text-v1.5",
        {
            "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "torch_dtype": "float32", "n_embd": 768,
            "n_inner": 3072, "n_layer": 12, "n_head": 12, "n_positions": 8192, "vocab_size": 30528,
            "type_vocab_size": 2,
        },
        136731648,
        "2024-02",
        _EMBED,
        _APACHE,
        entry.HUB,
    ),
    Entry(
        "Qwen/Qwen3-Embedding-0.6B",
        _qwen3(1024, 3072, 28, (16, 8), 151669, 32768),
        595776512,
        "2025-06",
        _EMBED,
        _APACHE,
        entry.TENSTORRENT,
    ),
    Entry(
        "Qwen/Qwen3-Embedding-4B",
        _qwen3(2560, 9728, 36, (32, 8), 151665, 40960),
        4021774336,
        "2025-06",
        _EMBED,
        _APACHE,
        entry.TENSTORRENT,
    ),
    Entry(
        "Qwen/Qwen3-Embedding-8B",
        _qwen3(4096, 12288, 36, (32, 8), 151665, 40960),
        7567295488,
        "2025-06",
        _EMBED,
        _APACHE,
        entry.TENSTORRENT,
    ),
)  # fmt: skip
