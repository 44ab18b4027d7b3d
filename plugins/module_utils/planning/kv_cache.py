# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The KV cache: bytes per token, block groups, blocks, tokens, concurrency. Exact, as vLLM computes them.

Sources: vllm 0.32 v1/core/kv_cache_utils.py, 0.33 v1/core/kv_cache_planning.py (same arithmetic),
v1/kv_cache_interface.py,
platforms/interface.py _align_hybrid_block_size, model_executor/models/config.py MambaModelConfig.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import typing as t

from ..errors import GpufleetError
from .facts import Model, element_bytes
from .recurrent import state_bytes, states_per_request
from .units import ceil_div, round_up
from .weights import Split, stages

# Kinds of KV cache dtype whose bytes the planner knows.
_CHECKPOINT_ALIGNMENT = 64  # FLASHINFER_GDN_CHECKPOINT_ALIGNMENT
_MLA_TOKEN_BYTES = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
# Numbers per byte, with a float32 scale per token and head (v1/attention/backends/triton_attn.py).
_PER_TOKEN_HEAD = {"int8_per_token_head": 1, "fp8_per_token_head": 1, "int4_per_token_head": 2}
KNOWN_DTYPES = (
    "auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla", "nvfp4_ds_mla",
    "int8_per_token_head", "fp8_per_token_head", "int4_per_token_head",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LayerCache:
    """What one layer keeps on one rank."""

    kind: str  # full | mla | sliding | chunked | linear
    token_bytes: int  # 0 for linear
    state_bytes: int  # of linear layers, per request
    window: int  # of sliding and chunked layers, tokens
    block_size: int
    page_bytes: int
    states: int = 0  # of linear layers: how many a request holds at once


@dataclasses.dataclass(frozen=True)
class CacheGroup:
    cache: LayerCache
    pages: t.Dict[int, int]  # bytes of each layer's page: equal, but for one group of one kind with mixed heads

    def bytes_per_block(self, first: int, end: int) -> int:
        """Of the layers that a stage holds."""
        if first <= self.first and self.last < end:
            return self.total
        return sum(size for layer, size in self.pages.items() if first <= layer < end)

    @functools.cached_property
    def total(self) -> int:
        return sum(self.pages.values())

    @property
    def first(self) -> int:
        return next(iter(self.pages))

    @property
    def last(self) -> int:
        return next(reversed(self.pages))


@dataclasses.dataclass(frozen=True)
class CacheLayout:
    """How the KV memory of a model is cut into blocks, per pipeline stage."""

    groups: t.Tuple[CacheGroup, ...]
    bytes_per_block: t.Tuple[int, ...]  # of one rank of each stage
    token_bytes: int  # of the rank that holds most, all its layers together
    block_size: int
    inflight_batches: int

    def blocks_per_request(self, context: int, batched_tokens: int) -> int:
        """Blocks that one request of ``context`` tokens claims, over all groups."""
        inflight = self.inflight_batches * batched_tokens
        return sum(
            number * _request_blocks(cache, context, inflight)
            for cache, number in self._kinds.items()
        )

    @property
    def recurrent(self) -> bool:
        """Whether some layers keep a state per sequence."""
        return any(cache.kind == "linear" for cache in self._kinds)

    @functools.cached_property
    def _kinds(self) -> t.Dict[LayerCache, int]:
        """How many groups are alike."""
        return dict(collections.Counter(group.cache for group in self.groups))

    def num_blocks(self, available: int) -> int:
        """Blocks that ``available`` bytes per rank give: the rank with the least decides."""
        if not self.groups:
            return 1
        return max(0, min(available // size for size in self.bytes_per_block if size))

    def fits(self, available: int, context: int, batched_tokens: int) -> bool:
        """vLLM's own test at start: one whole request beside the block it never hands out."""
        if not self.groups:
            return True
        return self.needed(context, batched_tokens) <= available

    def needed(self, context: int, batched_tokens: int) -> int:
        """The KV bytes per rank without which vLLM does not start with this context."""
        return (self.blocks_per_request(context, batched_tokens) + 1) * max(self.bytes_per_block, default=0)

    def capacity(self, available: int, context: int, batched_tokens: int) -> t.Tuple[int, int, float]:
        """Blocks, tokens and concurrency as vLLM logs them ("GPU KV cache size: N tokens, Maximum concurrency ...")."""
        blocks = self.num_blocks(available)
        per_request = self.blocks_per_request(context, batched_tokens)
        if not per_request:
            return blocks, 0, 0.0
        concurrency = blocks / per_request
        return blocks, int(concurrency * context), concurrency

    def concurrency_by_context(
        self, low: int, expected: int, limit: int, context: int, batched_tokens: int
    ) -> t.List[t.Dict[str, t.Any]]:
        """How many requests of each length fit at once in ``low`` and ``expected`` bytes: the powers of two from 1024
        up to ``limit``, and ``context``."""
        if not self.groups:
            return []
        blocks = [self.num_blocks(size) for size in (low, expected)]
        curve = []
        for length in sorted({1 << power for power in range(10, limit.bit_length())} | {context}):
            each = max(1, self.blocks_per_request(length, batched_tokens))
            curve.append(
                {"context_tokens": length, "low": round(blocks[0] / each, 2), "expected": round(blocks[1] / each, 2)}
            )
        return curve

    def largest_context(self, available: int, limit: int, batched_tokens: int, requests: int = 1) -> int:
        """The longest context of which ``requests`` fit at once, up to ``limit``; 0 when not even one token does."""
        usable = self.num_blocks(available) - 1
        if usable <= 0 or requests * self.blocks_per_request(limit, batched_tokens) <= usable:
            return limit if usable > 0 else 0
        low, high = 0, limit - 1
        while low < high:
            middle = (low + high + 1) // 2
            if requests * self.blocks_per_request(middle, batched_tokens) <= usable:
                low = middle
            else:
                high = middle - 1
        return low


@functools.lru_cache(maxsize=256)
def layout(
    model: Model,
    split: Split,
    dtype: str,
    kv_dtype: str = "auto",
    block_size: int = 16,
    inflight_batches: int = 2,
    prefix_caching: bool = True,
    hybrid_manager: bool = True,
    block_alignment: int = 16,
    state_dtype: t.Optional[str] = None,
    checkpoints: bool = False,
) -> CacheLayout:
    """The block layout of a model on ``split``.

    ``inflight_batches`` is what the scheduler keeps in flight (2 on a GPU, pipeline stages + 1 under PP, 1 on a CPU),
    ``block_alignment`` the multiple that the attention backend wants where recurrent layers raise the block size;
    ``checkpoints``: their kernel also writes states in the middle of a prompt, at multiples of 64 tokens.
    """
    checkpoints = checkpoints and prefix_caching
    if checkpoints:
        block_alignment = round_up(block_alignment, _CHECKPOINT_ALIGNMENT)
    caches = _layer_caches(
        model, split.tp, dtype, kv_dtype, block_size, block_alignment, state_dtype, prefix_caching, checkpoints
    )
    if not hybrid_manager:
        caches = _without_windows(caches)
    groups = _group(caches)
    bounds = stages(model.layers, split.pp)
    bytes_per_block = tuple(
        max((group.bytes_per_block(first, end) for group in groups), default=0) for first, end in bounds
    )
    token_bytes = max(
        sum(cache.token_bytes for layer, cache in caches if first <= layer < end) for first, end in bounds
    )
    attention = [cache.block_size for _layer, cache in caches if cache.kind != "linear"]
    return CacheLayout(
        groups=groups,
        bytes_per_block=bytes_per_block,
        token_bytes=token_bytes,
        block_size=min(attention) if attention else block_size,
        inflight_batches=inflight_batches,
    )


def token_bytes(model: Model, layer: int, tp: int, dtype: str, kv_dtype: str) -> int:
    """KV bytes of one token in one layer on one rank."""
    kind = model.layer_kinds[layer]
    if kind in ("linear", "none"):
        return 0
    if kind == "mla" and model.mla:
        index = model.mla.index_token_bytes if layer in model.mla.index_layers else 0
        if kv_dtype in _MLA_TOKEN_BYTES:
            return _MLA_TOKEN_BYTES[kv_dtype] + index
        return (model.mla.kv_lora_rank + model.mla.rope_size) * cache_element_bytes(kv_dtype, dtype) + index
    own = model.per_layer.get(layer) or {}
    heads = int(own.get("kv_heads") or model.kv_heads)
    key_size = int(own.get("head_size") or model.head_size)
    value_size = int(own.get("value_head_size") or own.get("head_size") or model.value_head_size)
    if kv_dtype in _PER_TOKEN_HEAD:
        return max(1, heads // tp) * ((key_size + value_size) // _PER_TOKEN_HEAD[kv_dtype] + 8)
    return max(1, heads // tp) * (key_size + value_size) * cache_element_bytes(kv_dtype, dtype)


def cache_element_bytes(kv_dtype: str, dtype: str) -> int:
    if kv_dtype not in KNOWN_DTYPES or kv_dtype.endswith("_ds_mla"):
        raise GpufleetError(
            "settings.kv_cache_dtype=%s: the planner does not know its bytes; it knows %s."
            % (kv_dtype, ", ".join(KNOWN_DTYPES))
        )
    return element_bytes(dtype if kv_dtype == "auto" else kv_dtype)


def _layer_caches(
    model: Model,
    tp: int,
    dtype: str,
    kv_dtype: str,
    block_size: int,
    alignment: int,
    state_dtype: t.Optional[str],
    prefix_caching: bool,
    checkpoints: bool,
) -> t.List[t.Tuple[int, LayerCache]]:
    """The layers that keep something; one with attention and a state side by side comes twice."""
    kinds = model.layer_kinds[: model.layers - model.kv_shared_layers]  # layers that share keep nothing of their own
    plain = {kind: kind != "mla" and token_bytes(model, kinds.index(kind), tp, dtype, kv_dtype) for kind in set(kinds)}
    sizes = {
        layer: token_bytes(model, layer, tp, dtype, kv_dtype) if kind == "mla" or model.per_layer else plain[kind]
        for layer, kind in enumerate(kinds)
    }
    beside = bool(model.linear and model.linear.get("beside_attention"))
    state = state_bytes(model.linear, tp, dtype, state_dtype) if model.linear and (beside or "linear" in kinds) else 0
    padded_state = state
    attention = [size for size in sizes.values() if size]
    if state and attention:
        # One block must hold a whole state; its page is then padded to the attention page.
        step = max(alignment, block_size, 128 if "mla" in kinds else 1)
        block_size = max(block_size, step * ceil_div(state, step * attention[0]))
        padded_state = block_size * attention[0]
    # vLLM caches no prefixes of a model without any attention.
    states = 0
    if model.linear and state:
        states = states_per_request(model.linear, prefix_caching and bool(attention), checkpoints)
    linear = LayerCache("linear", 0, state, 0, block_size, padded_state, states)
    caches: t.List[t.Tuple[int, LayerCache]] = []
    known: t.Dict[t.Tuple[str, int], LayerCache] = {}  # most layers are alike
    for layer, kind in enumerate(kinds):
        if kind == "none":
            continue
        if kind == "linear" or beside:
            caches.append((layer, linear))
        if kind == "linear":
            continue
        key = (kind, sizes[layer])
        if key not in known:
            known[key] = _attention_cache(model, kind, sizes[layer], block_size)
        caches.append((layer, known[key]))
    return caches


def _attention_cache(model: Model, kind: str, size: int, block_size: int) -> LayerCache:
    window = model.sliding_window if kind == "sliding" else model.attention_chunk if kind == "chunked" else 0
    return LayerCache(kind, size, 0, window or 0, block_size, block_size * size)


def _without_windows(caches: t.List[t.Tuple[int, LayerCache]]) -> t.List[t.Tuple[int, LayerCache]]:
    """disable_hybrid_kv_cache_manager: windowed layers keep every token, where full layers do too."""
    if not any(cache.kind == "full" for _layer, cache in caches):
        return caches
    return [
        (layer, dataclasses.replace(cache, kind="full", window=0) if cache.kind in ("sliding", "chunked") else cache)
        for layer, cache in caches
    ]


def _group(caches: t.List[t.Tuple[int, LayerCache]]) -> t.Tuple[CacheGroup, ...]:
    """vLLM's groups: layers of one group share block tables, every group draws from one pool."""
    if not caches:
        return ()
    first = caches[0][1]
    distinct = {cache for _layer, cache in caches}
    if all(_same_type(first, cache) for cache in distinct):
        return (CacheGroup(first, {layer: cache.page_bytes for layer, cache in caches}),)
    page = max(cache.page_bytes for cache in distinct)
    unified = {cache: _unified(cache, page) for cache in distinct}
    buckets: t.Dict[LayerCache, t.List[int]] = {}
    for layer, cache in caches:
        buckets.setdefault(unified[cache], []).append(layer)
    least, most = min(map(len, buckets.values())), max(map(len, buckets.values()))
    size = most if most < least * 1.5 else least
    groups = []
    for cache, layers in buckets.items():
        parts = ceil_div(len(layers), size)
        groups.extend(CacheGroup(cache, dict.fromkeys(layers[part::parts], page)) for part in range(parts))
    return tuple(groups)


def _same_type(one: LayerCache, other: LayerCache) -> bool:
    kinds = {one.kind, other.kind}
    return (
        (len(kinds) == 1 or kinds == {"full", "mla"})
        and one.window == other.window
        and one.block_size == other.block_size
    )


def _unified(cache: LayerCache, page: int) -> LayerCache:
    """All pages equal: a smaller page gets more tokens per block where that divides, else padding."""
    if cache.page_bytes == page:
        return cache
    if cache.kind != "linear" and page % cache.page_bytes == 0:
        return dataclasses.replace(cache, page_bytes=page, block_size=cache.block_size * (page // cache.page_bytes))
    return dataclasses.replace(cache, page_bytes=page)


def _request_blocks(cache: LayerCache, context: int, inflight: int) -> int:
    if cache.kind == "sliding":
        return ceil_div(min(cache.window - 1 + inflight, context), cache.block_size) + 1
    if cache.kind == "chunked":
        return ceil_div(min(cache.window + inflight, context), cache.block_size)
    if cache.kind == "linear":
        return cache.states
    return ceil_div(context, cache.block_size)
