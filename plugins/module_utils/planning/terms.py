# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What vLLM takes beside weights and KV cache, term by term, in bytes on one GPU.

Every term follows from the engine's code or from published start-up logs, and holds for a class of models and settings,
never for one model. An estimate is a range: what it takes at least, as expected, at most. How near they come is in
docs/truth.md, with the logs in tests/truth.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing as t

from .capability import Capability
from .facts import Model, element_bytes
from .generations import Generation
from .units import GIB, MIB
from .weights import Split

# FlashInfer's workspace per process (VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE).
_FLASHINFER = 394 * MIB


@dataclasses.dataclass(frozen=True)
class Range:
    """Bytes: at least, expected, at most."""

    low: int
    expected: int
    high: int

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def as_dict(self) -> t.Dict[str, int]:
        return {"low": self.low, "expected": self.expected, "high": self.high}


def exactly(value: int) -> Range:
    return Range(value, value, value)


def scaled(value: float, low: float, expected: float, high: float) -> Range:
    return Range(int(value * low), int(value * expected), int(value * high))


def larger(one: Range, other: Range) -> Range:
    return Range(max(one.low, other.low), max(one.expected, other.expected), max(one.high, other.high))


def together(*terms: Range) -> Range:
    """The sum of independent terms: their deviations add up like those of independent errors, by their squares."""
    expected = sum(term.expected for term in terms)
    below = math.sqrt(sum((term.expected - term.low) ** 2 for term in terms))
    above = math.sqrt(sum((term.high - term.expected) ** 2 for term in terms))
    return Range(max(0, expected - int(below)), expected, expected + int(above))


ZERO = exactly(0)


@dataclasses.dataclass(frozen=True)
class Batch:
    """The settings that size buffers."""

    max_num_seqs: int
    max_num_batched_tokens: int
    eager: bool = False
    max_cudagraph_capture_size: t.Optional[int] = None


@dataclasses.dataclass(frozen=True)
class Engine:
    """What of the engine and the GPU decides on buffers, beside model and batch."""

    generation: Generation
    capability: t.Optional[Capability]
    split: Split
    dtype: str
    text_only: bool = False  # no images or sound: no item is profiled
    lora_rank: int = 0
    loras: int = 0
    speculative_tokens: int = 0
    flashinfer: bool = False
    unified: bool = False  # GPU and host share their memory


# --- exact -----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def rope_cache_bytes(model: Model, dtype: str) -> int:
    """Cosines and sines for every position, once per kind of layer, whole on every GPU.

    Source: model_executor/layers/rotary_embedding/base.py, max_position x rotary size elements. Llama 3.1's 131072
    positions show as 0.03 GiB of "Model loading took" beside Llama 3's 8192.
    """
    if not model.max_position or not model.layers:
        return 0
    kinds = {"windowed" if kind in ("sliding", "chunked") else kind for kind in model.layer_kinds}
    kinds -= {"linear", "none"}
    if "chunked" in model.layer_kinds:  # Llama 4's full layers have no positions
        kinds -= {"full"}
    return len(kinds) * model.max_position * model.rotary_size * element_bytes("float32" if model.mla else dtype)


def lora_bytes(model: Model, engine: Engine) -> int:
    """Slots for adapters in every linear layer: A whole, B divided over the GPUs.

    Source: lora/layers/: max_loras x rank x (inputs + outputs / tp) elements.
    """
    if not engine.loras or not engine.lora_rank:
        return 0
    tp = engine.split.tp
    hidden, query = model.hidden_size, model.attention_heads * model.head_size
    keys = model.kv_heads * model.head_size
    inner = model.intermediate_size or (model.moe.intermediate_size if model.moe else 0)
    inputs = 3 * hidden + query // tp + 2 * hidden + inner // tp
    outputs = (query + 2 * keys + 2 * inner) // tp + hidden * 2
    layers = math.ceil(model.layers / engine.split.pp)
    return engine.loras * engine.lora_rank * (inputs + outputs) * layers * element_bytes(engine.dtype)


def sampler_state_bytes(model: Model, batch: Batch, engine: Engine) -> int:
    """Penalty counts and masks of every sequence slot, over the whole vocabulary on every rank.

    Source: vllm 0.33 v1/worker/gpu/sample/penalties.py, 4 bytes + 1 bit per slot and token id.
    """
    if model.task == "embed" or not engine.generation.runner_v2:
        return 0
    return batch.max_num_seqs * (4 * model.vocab_size + model.vocab_size // 8)


# --- estimated -------------------------------------------------------------------------------------------------------


def context_bytes(split: Split) -> Range:
    """CUDA context, cuBLAS handles and NCCL, before the snapshot: outside the budget.

    About 0.5 GiB on one GPU, 1 to 1.5 GiB where NCCL joins in.
    """
    if split.ranks == 1:
        return Range(300 * MIB, 450 * MIB, 650 * MIB)
    return Range(700 * MIB, 1100 * MIB, 1536 * MIB)


def runtime_bytes(model: Model, engine: Engine) -> Range:
    """What grows inside the budget without being an activation: loaded kernels, workspaces, NCCL's channels.

    On one GPU 0.03 GiB (T4, A100), 0.13 (H100) to 0.35 (RTX 3090) of non-torch memory in start-up logs. What a first
    start compiles inside the profiling run is charged too, 0.5 to 0.9 GiB (github.com/vllm-project/vllm/issues/54383).
    """
    result = Range(30 * MIB, 170 * MIB, 850 * MIB)
    if engine.split.tp > 1:
        result = _fused(engine) or Range(150 * MIB, 550 * MIB, 1400 * MIB)
    result += _EARLY[engine.generation.profile]
    if engine.flashinfer:
        result += exactly(_FLASHINFER)
    if engine.unified:  # one memory: what the process holds on the host counts as well (utils/mem_utils.py)
        result += Range(0, GIB, 3 * GIB)
    return result


def _fused(engine: Engine) -> t.Optional[Range]:
    """Where all-reduce is fused with the norm after it (capability 9.0 and 10.0), its workspaces belong to the engine.

    H100 with TP 2 and 4: 2.06 to 2.21 GiB of non-torch memory in vLLM 0.19, 0.6 in a build of July 2026
    (https://github.com/vllm-project/vllm/pull/48601), 0.54 in 0.11.
    """
    if not engine.capability or engine.capability not in ((9, 0), (10, 0), (10, 3)):
        return None
    return {
        "": None,
        "large": Range(400 * MIB, int(2.1 * GIB), int(2.9 * GIB)),
        "small": Range(150 * MIB, 800 * MIB, int(2.4 * GIB)),
    }[engine.generation.fused_reduce]


# By how the profiling run tells a peak from what the allocator or the driver merely holds: before 0.7 the CUDA context
# could count too (1.79 GiB on an H100), before 0.6 whatever the allocator held (vllm pull request 10511).
_EARLY = {"device": Range(0, GIB, 6 * GIB), "context": Range(0, 0, GIB), "exact": exactly(0)}


def forward_bytes(model: Model, batch: Batch, engine: Engine) -> Range:
    """One step of max_num_batched_tokens through a layer, where it is widest.

    Dense: the gate and up projections beside their product, with three hidden states: tokens x (3 intermediate / tp +
    3 hidden) elements. Llama 3.1 8B shows 2.07 GiB for 20000 tokens and 2.99 for 29000, this gives 2.06 and 2.99.
    Experts: every token is copied per expert it goes to, into two workspaces (fused_moe: max(intermediate, hidden) and
    max(2 intermediate, hidden)); Qwen3-235B FP8 grows by 159 KiB per token, this gives 157.
    """
    element = element_bytes(engine.dtype)
    tokens, tp = batch.max_num_batched_tokens, engine.split.tp
    dense = 3 * model.intermediate_size / tp + 3 * model.hidden_size
    result = scaled(tokens * dense * element, 0.75, 1.0, 1.25)
    if not model.moe:
        return result
    routed = _routed_width(model, engine)
    shared = 3 * model.moe.shared_intermediate_size / tp
    experts = tokens * (routed + shared + 4 * model.hidden_size) * element
    return larger(result, scaled(experts, 0.75, 1.0, 1.5))


def sparse_workspace_bytes(model: Model, batch: Batch, context: int, engine: Engine) -> Range:
    """What DeepSeek's sparse attention gathers the context into: 5 x max_model_len x 576 x 2 bytes.

    Source: v1/attention/backends/mla/flashmla_sparse.py get_prefill_workspace_size; twice instead of five times above
    256 K since 0.33. The experts' workspaces lie in the same memory. GLM-5.2 with a context of 1 M shows 10 GiB beside
    what other MLA models take (before, the indexer had a buffer of its own).
    """
    if not model.mla or not model.mla.index_layers:
        return ZERO
    lean = engine.generation.runner_v2 and context > 256 * 1024
    workspace = (2 if lean else 5) * context * 576 * 2
    shared = int(batch.max_num_batched_tokens * _routed_width(model, engine) * element_bytes(engine.dtype))
    return Range(max(0, workspace - shared), max(0, workspace - shared), 2 * workspace)


def _routed_width(model: Model, engine: Engine) -> float:
    """Elements per token in the experts' two workspaces."""
    if not model.moe:
        return 0.0
    inner = model.moe.intermediate_size / (1 if engine.split.expert_parallel else engine.split.tp)
    return model.moe.per_token * (max(inner, model.hidden_size) + max(2 * inner, model.hidden_size))


def expert_workspace_bytes(model: Model, engine: Engine) -> Range:
    """Quantized experts: what their kernels hold beside the step, and what repacking them at load leaves behind.

    DeepSeek-R1 and Qwen3-235B in fp8 blocks on Hopper show up to 1.9 GiB whatever the number of tokens (start-up logs
    with 8192, 32768 and 65536), Qwen3-30B next to nothing. Workspaces that grow in steps pin the smaller ones
    (v1/worker/gpu_worker.py).
    """
    if not model.moe or not model.quantization:
        return ZERO
    if model.quantization.bits == 8:
        return Range(0, 512 * MIB, 2 * GIB)
    return Range(0, 384 * MIB, 3 * GIB)


def sampler_bytes(model: Model, batch: Batch, engine: Engine) -> Range:
    """The sampler's rows over the whole vocabulary, which tensor parallelism does not divide.

    16-bit logits, a float32 copy, probabilities, their masked copy and the mask: 15 bytes (1024 rows on an H100: 1.89
    GiB with 128256 entries, 2.21 with 152064, under any TP). Engines that sort the vocabulary take 38.5 (V0: 0.47 GiB
    for 128 x 100352, 0.74 for 160 x 128256, 1.06 for 192 x 151936, 1.83 for 256 x 200064), with bounded logits 57
    (gemma-2, 256 x 256000: 3.73). The model runner V2 profiled the 16-bit logits alone until 0.33, and 7.1 bytes more
    since (0.26 GiB for 256 x 151936, https://github.com/vllm-project/vllm/pull/57926).
    """
    if model.task == "embed":
        return ZERO
    rows = min(batch.max_num_seqs * (1 + engine.speculative_tokens), batch.max_num_batched_tokens)
    entries = rows * model.vocab_size
    found = scaled(entries, *_SAMPLER[engine.generation.sampler])
    if model.logit_softcap:  # the tanh works beside its input
        found += scaled(entries, 0, 18 if engine.generation.sampler == "sorted" else 2, 22)
    return found


# Bytes per row and entry of the vocabulary: at least, expected, at most.
_SAMPLER = {
    "sorted": (30, 38.5, 44),
    "float32": (11, 15, 18),
    "float32 or sorted": (11, 26, 42),  # by whether FlashInfer is there: half of the logs show 15, half 38.5
    "16 bit": (2, 3, 8),
    "both": (8, 10, 14),
}


def hidden_bytes(model: Model, batch: Batch, engine: Engine) -> int:
    """The step's last hidden states, which wait while the sampler runs."""
    return batch.max_num_batched_tokens * model.hidden_size * element_bytes(engine.dtype)


def activation_bytes(model: Model, batch: Batch, engine: Engine) -> Range:
    """The peak of the profiling run: the larger of one forward step and the sampler's rows after it.

    With images the vision tower runs first, and what it gave waits beside the language model.
    """
    waiting = exactly(hidden_bytes(model, batch, engine))
    language = larger(forward_bytes(model, batch, engine), sampler_bytes(model, batch, engine) + waiting)
    tower, given = encoder_bytes(model, batch, engine)
    return larger(tower, language + given)


def encoder_bytes(model: Model, batch: Batch, engine: Engine) -> t.Tuple[Range, Range]:
    """The vision tower's own peak, and the vectors it leaves for the language model.

    Profiled with as many tokens as a step has, at least one item of the largest size (multimodal/encoder_budget.py):
    patches x (2 or 3 intermediate + 4 hidden) elements. Attention over whole images takes more in some backends. Before
    0.9 the item could be a video as long as the context (Qwen2.5-VL-3B took more than 16 GiB).
    """
    if engine.text_only or not model.multimodal:
        return ZERO, ZERO
    if model.encoder is None:
        return ZERO, Range(0, 512 * MIB, 2 * GIB)
    tower, element = model.encoder, element_bytes(engine.dtype)
    tokens = max(batch.max_num_batched_tokens, tower.largest_item_tokens)
    width = (3 if tower.gated else 2) * tower.intermediate_size + 4 * tower.hidden_size
    peak = tokens * tower.patches_per_token * width * element
    given = tokens * tower.outputs * model.hidden_size * element
    return scaled(peak, 0.5, 1.0, 8.0 if engine.generation.long_videos else 3.0), scaled(given, 0.5, 1.0, 4.0)


def graph_sizes(batch: Batch) -> int:
    """How many batch sizes get a CUDA graph: 1, 2, 4, then every 8 up to 256, then every 16 (config/vllm.py)."""
    largest = batch.max_cudagraph_capture_size or min(2 * batch.max_num_seqs, 512)
    largest = min(largest, batch.max_num_batched_tokens)
    return sum(largest >= size for size in (1, 2, 4)) + min(largest, 248) // 8 + max(0, largest - 256 + 16) // 16


def graph_bytes(model: Model, batch: Batch, engine: Engine) -> Range:
    """The pool of captured CUDA graphs: a part per captured size and layer, and one peak-sized buffer set.

    0.5 GiB for 28 layers with all sizes, 0.65 for 30, 1.1 for 94 under TP 4 up to 256 (start-up logs).
    """
    if batch.eager:
        return ZERO
    layers = math.ceil(model.layers / engine.split.pp)
    captured = graph_sizes(batch) * layers * 0.22 * MIB * (1.0 if engine.split.tp == 1 else 1.5)
    largest = min(batch.max_cudagraph_capture_size or 2 * batch.max_num_seqs, 512, batch.max_num_batched_tokens)
    step = forward_bytes(model, dataclasses.replace(batch, max_num_batched_tokens=largest), engine)
    return Range(int(0.3 * captured), int(40 * MIB + captured + step.expected), int(150 * MIB + 1.6 * captured + step.high))
