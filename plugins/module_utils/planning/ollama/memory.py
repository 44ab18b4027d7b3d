# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory of one loaded model as llama.cpp allots it: KV cache, recurrent state, compute buffers.

The caches are exact: they follow llama.cpp's own allocation (src/llama-kv-cache.cpp, src/llama-kv-cache-iswa.cpp,
src/llama-memory-recurrent.cpp). The compute buffer is what its graph allocator arrives at; the formula was found with
dry runs of llama-server builds of August and October 2026 over fourteen models (tests/truth/ollama_buffers.jsonl),
which it meets within a few percent.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..budget import Range
from .model import GgufModel, Layer
from .variables import KV_TYPES
from ..units import MIB, ceil_div, round_up

_CELLS = 256  # llama.cpp pads the context of a request, and the window's cache, to this many cells
_FLOAT = 4
# What a CUDA or ROCm process holds of a GPU before it allots anything: 0.3 to 0.65 GiB in published logs.
CONTEXT = Range(300 * MIB, 450 * MIB, 650 * MIB)
# llama-server keeps the state of past prompts in the host's memory, up to this much (common/common.h, cache_ram_mib).
PROMPT_CACHE_MIB = 8192


@dataclasses.dataclass(frozen=True)
class Load:
    """How a model is loaded."""

    context: int  # tokens of one request
    parallel: int
    batch: int
    flash: bool
    kv_type: str
    every_row: bool = False  # builds before llama.cpp #23861 reserve the logits of every token of a step

    @property
    def cells(self) -> int:
        """Tokens that the cache of one request holds."""
        return round_up(self.context, _CELLS)

    @property
    def rows(self) -> int:
        """Tokens of one step: llama-server's -ub, never more than all contexts together."""
        return min(self.batch, self.cells * self.parallel)


def window_cells(model: GgufModel, load: Load) -> int:
    """A sliding layer keeps its window and one step, padded; never more than the whole context."""
    return min(round_up(min(load.cells, model.window + load.rows), _CELLS), round_up(load.cells, _CELLS))


def cache_bytes(model: GgufModel, load: Load) -> t.List[int]:
    """KV cache and recurrent state of each layer.

    Attention: cells x requests x (key + value elements) in the cache's type. Latent attention keeps one compressed key
    and no value. Without flash attention the values lie transposed and take the widest layer's width everywhere.
    """
    widest = max([layer.kv_heads * layer.value_size for layer in model.layers if layer.owns_kv] or [0])
    return [_layer_cache(model, layer, load, widest) for layer in model.layers]


def _layer_cache(model: GgufModel, layer: Layer, load: Load, widest: int) -> int:
    if layer.kind == "linear":
        return state_elements(model) * _FLOAT * load.parallel
    if not layer.owns_kv:
        return 0
    if layer.kind == "mla" and model.mla:
        elements = sum(model.mla)
    else:
        values = layer.kv_heads * layer.value_size if load.flash else widest
        elements = layer.kv_heads * layer.key_size + values
    size, count = KV_TYPES[load.kv_type]
    cells = window_cells(model, load) if layer.kind in ("sliding", "chunked") and model.window else load.cells
    return ceil_div(elements * size, count) * cells * load.parallel


def state_elements(model: GgufModel) -> int:
    """Elements that a linear layer keeps for a request: the convolution's history and the state, 32 bit each.

    Source: n_embd_r and n_embd_s in src/llama-hparams.cpp.
    """
    state = model.state
    if not state:
        return 0
    past = max(0, int(state.get("conv_kernel") or 0) - 1)
    if state["variant"] == "conv":
        return model.hidden * past
    if state["variant"] == "kda":
        head, heads = int(state["key_head_size"]), int(state["key_heads"])
        return 3 * past * heads * head + head * head * heads
    if state["variant"] == "gdn":
        inner = int(state["value_heads"]) * int(state["value_head_size"])
        keys = int(state["key_heads"]) * int(state["key_head_size"])
        return past * (inner + 2 * keys) + int(state["key_head_size"]) * inner
    inner, size = int(state.get("inner_size") or 0), int(state.get("state_size") or 0)
    return past * (inner + 2 * int(state.get("groups") or 0) * size) + size * inner


def compute_bytes(model: GgufModel, load: Load) -> Range:
    """The buffer of intermediate results on one device, for a step of ``load.rows`` tokens.

    The widest moment of the graph counts, in elements of 32 bit per token:
      feed forward    3 x its width (gate, up, product); with experts 3 x used x width, and used x hidden where the
                      experts' outputs do not fit where gate and up were; beside it 3 x hidden and the query's width
      attention       3 x hidden + 2 x query + 2 x KV width, and without flash attention context x heads scores
      latent attn.    3 x hidden + 2 x query + heads x rank + heads x (rank + rope), scores as above
      mask            one element per cell of the context, and of the window; 16 bit with flash attention
    The output layer computes one row per request, as llama-server does since June 2026 (llama.cpp #23861); before, one
    per token, with 3 x hidden beside it.
    """
    hidden = model.hidden
    heads = max(layer.heads for layer in model.layers)
    query = max(layer.heads * layer.key_size for layer in model.layers)
    keys = max(layer.kv_heads * layer.key_size for layer in model.layers)
    routed = 3 * model.experts_used * model.expert_size
    if hidden > 2 * model.expert_size:
        routed += model.experts_used * hidden
    forward = max(3 * model.feed_forward, routed) + 3 * hidden + query
    attention = 3 * hidden + 2 * query + 2 * keys
    if model.mla:
        forward += hidden
        attention = 3 * hidden + 2 * query + heads * model.mla[0] + heads * sum(model.mla)
    attends = any(layer.owns_kv for layer in model.layers)
    windows = attends and any(layer.kind in ("sliding", "chunked") for layer in model.layers)
    mask = (load.cells if attends else 0) + (window_cells(model, load) if windows else 0)
    if load.flash:
        mask = mask / 2
    else:
        attention += (load.cells if attends else load.rows) * heads
    expected = max(int((max(forward, attention) + mask) * load.rows * _FLOAT), _output_bytes(model, load))
    # Releases differ by up to one hidden state per token, and graphs that the classes above do not tell by a tenth.
    more = hidden * load.rows * _FLOAT + expected // 10
    return Range(int(expected * 0.85), expected, expected + more)


def mask_bytes(model: GgufModel, load: Load) -> int:
    """The inputs of a step, which lie in the host's memory and are copied to every GPU."""
    return int((load.cells / (2 if load.flash else 1) + model.hidden) * load.rows * _FLOAT)


def _output_bytes(model: GgufModel, load: Load) -> int:
    if model.task == "embed":
        return load.rows * model.hidden * _FLOAT
    if load.every_row:
        return load.rows * (model.vocabulary + 3 * model.hidden) * _FLOAT
    return load.parallel * model.vocabulary * _FLOAT


def scheduler_bytes(model: GgufModel, load: Load) -> int:
    """What Ollama itself expects the model to take, by which it picks GPUs and removes models.

    PredictServerVRAM in llm/llama_server.go: the file, and keys and values in 16 bit from the plain shape. Blind to the
    projector, cache types, windows, head sizes other than hidden / heads, and buffers.
    """
    heads = max(layer.heads for layer in model.layers)
    tokens = load.context * load.parallel
    return model.file_bytes + 4 * len(model.layers) * model.least_kv_heads * (model.hidden // heads) * tokens
