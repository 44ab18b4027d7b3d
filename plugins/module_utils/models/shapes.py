# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a model looks like, before anything is counted: the language model as dataclasses."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .tensor_groups import DTYPE_BYTES

KINDS = ("full", "sliding", "chunked", "mla", "linear", "none")


@dataclass(frozen=True)
class Mla:
    """Multi-head latent attention: keys and values of a layer compressed into one vector."""

    q_lora_rank: t.Optional[int]
    kv_lora_rank: int
    qk_nope_head_size: int
    qk_rope_head_size: int
    v_head_size: int
    # DeepSeek sparse attention: a small key of its own per token, on some layers.
    index_heads: int = 0
    index_head_size: int = 0
    index_layers: t.Tuple[int, ...] = ()


@dataclass(frozen=True)
class Moe:
    experts: int
    experts_per_token: int
    intermediate_size: int
    shared_experts: int
    shared_intermediate_size: int
    layers: t.Tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """Layers that keep a state of fixed size instead of a cache that grows (gated delta net, Mamba, short convolution)."""

    variant: str  # "gdn", "kda", "mamba1", "mamba2", "conv"
    conv_kernel: int
    key_heads: int = 0
    value_heads: int = 0
    key_head_size: int = 0
    value_head_size: int = 0
    groups: int = 0
    inner_size: int = 0
    state_size: int = 0
    time_step_rank: int = 0
    state_dtype: t.Optional[str] = None
    beside_attention: bool = False  # every attention layer keeps a state as well (Falcon-H1)
    gated_norm: bool = True  # a norm before the output projection (Mamba 2)


@dataclass(frozen=True)
class Layer:
    """One decoder layer."""

    kind: str
    heads: int
    kv_heads: int
    head_size: int
    value_head_size: int
    mlp: str  # "dense", "moe", "dense+moe" or "none"
    intermediate_size: int
    shares_kv: bool = False  # uses the keys and values of an earlier layer
    key_is_value: bool = False  # the checkpoint holds one projection for both
    attention_bias: t.Optional[bool] = None


@dataclass
class Shape:
    """The language model."""

    architecture: str
    model_type: str
    family: str
    dtype: str
    hidden_size: int
    vocab_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    value_head_size: int
    intermediate_size: int
    layers: t.List[Layer]
    max_position: int
    sliding_window: t.Optional[int] = None
    attention_chunk: t.Optional[int] = None
    tied_embeddings: bool = False
    mla: t.Optional[Mla] = None
    low_rank: t.Optional[Mla] = None  # projections like those of mla, but the cache is an ordinary one (MiniCPM3)
    moe: t.Optional[Moe] = None
    linear: t.Optional[Linear] = None
    warnings: t.List[str] = field(default_factory=list)

    def stored_dtype(self) -> str:
        """The type of the weights; odd names in a config are taken for 16 bits."""
        return self.dtype if self.dtype in DTYPE_BYTES else "bfloat16"

    def indices(self, *kinds: str) -> t.List[int]:
        return [index for index, layer in enumerate(self.layers) if layer.kind in kinds]
