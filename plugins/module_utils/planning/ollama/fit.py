# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a model's layers go: llama-server's own fitting of a model to the memory that is free.

Ollama passes no number of layers. llama-server measures what everything would take (common/fit.cpp) and, where a GPU
would be left with less than the target free, moves layers to the CPU: from the first layer on, whole layers for a
dense model; for a mixture of experts first the experts of the last layers, whole layers only when that is not enough.
"""

from __future__ import annotations

import bisect
import dataclasses
import typing as t

from . import memory
from .memory import Load
from .model import GgufModel


@dataclasses.dataclass(frozen=True)
class Placement:
    layers: t.Tuple[int, ...]  # per GPU; the output layer counts as one
    layers_total: int
    experts_on_cpu: int  # layers whose experts stay on the CPU
    used: t.Tuple[int, ...]  # bytes per GPU: weights, caches, buffers
    caches: t.Tuple[int, ...]  # of these the KV cache and recurrent state
    buffers: t.Tuple[int, ...]  # of these what no weight and no cache is
    host: int  # bytes in the host's memory: token embedding, what spilled, step inputs and outputs
    spilled: int  # bytes of weights and caches that a larger GPU would hold
    short: int  # bytes that a GPU lacks where the number of layers is fixed and llama-server would run out of memory

    @property
    def on_gpu(self) -> int:
        return sum(self.layers)

    @property
    def full(self) -> bool:
        return self.on_gpu == self.layers_total and not self.experts_on_cpu and not self.short

    @property
    def score(self) -> t.Tuple[int, int]:
        """More is better."""
        return self.on_gpu, -self.experts_on_cpu


def place(
    model: GgufModel, load: Load, free: t.Sequence[int], margin: int, compute: int, fixed: t.Optional[int] = None
) -> Placement:
    """The layers of ``model`` on GPUs with ``free`` bytes each, of which ``margin`` shall stay free.

    ``compute`` is the buffer on each GPU that has a layer. ``fixed`` is num_gpu: that many layers, fitting or not.
    """
    caches = memory.cache_bytes(model, load)
    costs = [layer.weights + layer.experts + cache for layer, cache in zip(model.layers, caches)] + [model.output]
    lean = [layer.weights + cache for layer, cache in zip(model.layers, caches)] + [model.output]
    total = len(costs)
    inputs = memory.mask_bytes(model, load)
    if not free or fixed == 0:
        return _result(model, load, [0] * len(free), [0] * len(free), 0, caches, 0, 0)
    if fixed is not None:
        layers = _by_share(free, min(fixed, total))
        buffer = _buffer(layers, compute, inputs if min(fixed, total) == total else _copies(model))
        used = _used(costs, layers, buffer)
        short = max(max(need - have for need, have in zip(used, free)), 0)
        return _result(model, load, layers, used, 0, caches, buffer, short)
    layers = _by_share(free, total)
    buffer = _buffer(layers, compute, inputs)
    used = _used(costs, layers, buffer)
    targets = [have - margin for have in free]
    if all(need <= target for need, target in zip(used, targets)):
        return _result(model, load, layers, used, 0, caches, buffer, 0)
    layers, used = _fill(costs, targets, compute)
    if sum(layers) == total:
        return _result(model, load, layers, used, 0, caches, compute, 0)
    compute += _copies(model)
    if not any(layer.experts for layer in model.layers):
        layers, used = _fill(costs, targets, compute)
        return _result(model, load, layers, used, 0, caches, compute, 0)
    layers, used = _fill(lean, targets, compute)
    kept = sum(1 for layer in model.layers if layer.experts)
    if sum(layers) == total:  # every layer's attention fits: the room that is left takes experts, first layers first
        for card, target in enumerate(targets):
            while kept:
                size = model.layers[_next_expert(model, kept)].experts
                if used[card] + size > target:
                    break
                used[card] += size
                kept -= 1
    else:
        kept = sum(1 for layer in model.layers[total - sum(layers) :] if layer.experts)
    return _result(model, load, layers, used, kept, caches, compute, 0)


def _next_expert(model: GgufModel, kept: int) -> int:
    """The first layer whose experts are still on the CPU."""
    indices = [index for index, layer in enumerate(model.layers) if layer.experts]
    return indices[len(indices) - kept]


def _by_share(free: t.Sequence[int], count: int) -> t.List[int]:
    """llama.cpp's own split: each GPU gets layers by its share of the free memory."""
    if not sum(free):
        return [0] * len(free)
    ends, reached = [], 0
    for have in free:
        reached += have
        ends.append(reached / sum(free))
    layers = [0] * len(free)
    for index in range(count):
        layers[min(bisect.bisect_right(ends, index / count), len(free) - 1)] += 1
    return layers


def _buffer(layers: t.Sequence[int], compute: int, extra: int) -> int:
    """The buffer on each GPU with layers. Over several GPUs llama.cpp runs steps in a pipeline and keeps the step's
    inputs four times (GGML_SCHED_MAX_COPIES)."""
    return compute + (3 * extra if sum(1 for count in layers if count) > 1 else 0)


def _used(costs: t.Sequence[int], layers: t.Sequence[int], buffer: int) -> t.List[int]:
    """Bytes on each GPU with the last layers on them, in order."""
    return [own + buffer if count else 0 for count, own in zip(layers, _shares(costs, layers))]


def _shares(sizes: t.Sequence[int], layers: t.Sequence[int]) -> t.List[int]:
    """What each GPU has of ``sizes``, one for each layer, with the last layers on the GPUs in order."""
    first = len(sizes) - sum(layers)
    shares = []
    for count in layers:
        shares.append(sum(sizes[first : first + count]))
        first += count
    return shares


def _fill(costs: t.Sequence[int], targets: t.Sequence[int], compute: int) -> t.Tuple[t.List[int], t.List[int]]:
    """From the last GPU to the first, from the output layer down, as many layers as fit."""
    layers, used = [0] * len(targets), [0] * len(targets)
    left = len(costs)
    for card in range(len(targets) - 1, -1, -1):
        reached = compute
        while left and reached + costs[left - 1] <= targets[card]:
            left -= 1
            reached += costs[left]
            layers[card] += 1
        used[card] = reached if layers[card] else 0
    return layers, used


def _copies(model: GgufModel) -> int:
    """Weights of CPU layers are copied to the GPU for long prompts, one kind of tensor at a time."""
    return max(layer.largest for layer in model.layers)


def _result(
    model: GgufModel,
    load: Load,
    layers: t.Sequence[int],
    used: t.Sequence[int],
    kept: int,
    caches: t.Sequence[int],
    buffer: int,
    short: int,
) -> Placement:
    total = len(model.layers) + 1
    left = total - sum(layers)
    away = list(zip(model.layers, caches))[: min(left, total - 1)]
    spilled = sum(layer.weights + layer.experts + cache for layer, cache in away)
    if kept:
        resident = model.layers[min(left, total - 1) :]
        indices = [layer for layer in resident if layer.experts]
        spilled += sum(layer.experts for layer in indices[len(indices) - min(kept, len(indices)) :])
    if left == total:
        spilled += model.output_own
    outputs = load.parallel * model.vocabulary * 4
    host = model.embedding + spilled + memory.mask_bytes(model, load) + outputs
    if left:
        host += memory.compute_bytes(model, load).expected
    held = _shares(list(caches) + [0], layers)  # the output layer has no cache
    buffers = tuple(buffer if count else 0 for count in layers)
    return Placement(tuple(layers), total, kept, tuple(used), tuple(held), buffers, host, spilled, short)
