# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a GGUF model is to llama.cpp: its weights by layer, and the shapes that size caches and buffers."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import GpufleetError

# Architectures that Ollama runs with one request at a time, whatever OLLAMA_NUM_PARALLEL says (server/sched.go).
# By the names of GGUF and of config.json.
SINGLE_REQUEST = frozenset(
    "mllama qwen3vl qwen3vlmoe qwen35 qwen35moe qwen3next lfm2 lfm2moe nemotron_h nemotron_h_moe nemotron_h_omni "
    "qwen3_vl qwen3_vl_moe qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text qwen3_next lfm2_moe".split()
)
# Their GGUF lists the KV heads layer by layer, with zeros.
_HEADS_BY_LAYER = frozenset("lfm2 lfm2_moe nemotron_h granitemoehybrid jamba kimi_linear falcon_h1".split())


@dataclasses.dataclass(frozen=True)
class Layer:
    kind: str  # full | sliding | chunked | mla | linear | none
    weights: int  # bytes without the experts
    experts: int  # bytes of all experts
    largest: int  # bytes of the largest kind of tensor in it
    heads: int
    kv_heads: int
    key_size: int
    value_size: int
    owns_kv: bool


@dataclasses.dataclass(frozen=True, eq=False)
class GgufModel:
    name: str
    family: str
    task: str
    layers: t.Tuple[Layer, ...]
    hidden: int
    feed_forward: int  # of the widest dense layer, 0 when there is none
    vocabulary: int
    trained_context: t.Optional[int]
    window: int  # of the sliding or chunked layers
    mla: t.Optional[t.Tuple[int, int]]  # rank of the compressed cache, rope size
    experts_used: int
    expert_size: int
    state: t.Optional[t.Mapping[str, t.Any]]  # of the linear layers
    embedding: int  # bytes of the token embedding, which stays on the CPU
    output: int  # bytes of the output layer with its norm: the embedding once more where they are tied
    embedded_projector: int  # bytes of vision and audio tensors in the model's own file
    projector: int  # bytes of the projector's own file
    file_bytes: int
    estimated: bool  # weights by formula, not from a header
    identity: t.Mapping[str, t.Any]
    quantization: t.Optional[str]  # its name, for people

    @property
    def weights(self) -> int:
        """Bytes of everything that is loaded, the projector aside."""
        return self.embedding + self.output_own + sum(layer.weights + layer.experts for layer in self.layers)

    @property
    def output_own(self) -> int:
        return self.output - (self.embedding if self.identity["tied_embeddings"] else 0)

    @property
    def projector_bytes(self) -> int:
        return self.projector or self.embedded_projector

    @property
    def single_request(self) -> bool:
        return self.task == "embed" or self.family in SINGLE_REQUEST

    @property
    def least_kv_heads(self) -> int:
        """As Ollama's estimate takes it: the least over the layers, at least one."""
        if self.mla or self.family in _HEADS_BY_LAYER:
            return 1
        return max(1, min([layer.kv_heads for layer in self.layers if layer.kind not in ("linear", "none")] or [1]))


_IDENTITY = (
    "architecture", "model_type", "format", "task", "layer_kinds", "hidden_size", "intermediate_size",
    "attention_heads", "kv_heads", "head_size", "value_head_size", "vocab_size", "max_position", "sliding_window",
    "attention_chunk", "kv_shared_layers", "tied_embeddings", "mla", "moe", "linear_attention", "per_layer",
    "tensor_groups", "projector_bytes", "source", "revision",
)  # fmt: skip


def read_model(name: str, facts: t.Any) -> GgufModel:
    """Model facts (gpufleet.model/1) of a GGUF model; GpufleetError names what is missing."""
    found = facts.get("schema") if isinstance(facts, dict) else None
    if found != "gpufleet.model/1":
        raise GpufleetError(
            "models[%s].model has schema %r, wanted 'gpufleet.model/1': pass what gpufleet.llm.model_info returned as "
            "`model`." % (name, found)
        )
    try:
        return _read(name, facts)
    except (KeyError, TypeError, ValueError) as error:
        raise GpufleetError(
            "models[%s].model lacks or misstates %s: pass what gpufleet.llm.model_info returned as `model`."
            % (name, error)
        ) from error


def _read(name: str, facts: t.Mapping[str, t.Any]) -> GgufModel:
    groups = [group for group in facts["tensor_groups"] if group["place"] != "skipped"]
    kinds = facts["layer_kinds"]
    embedding = sum(group["bytes"] for group in groups if group["place"] == "embed")
    head = sum(group["bytes"] for group in groups if group["place"] == "head")
    final = sum(group["bytes"] for group in groups if group["place"] == "final")
    tied = bool(facts.get("tied_embeddings")) or not head
    moe = facts.get("moe") or {}
    mla = facts.get("mla")
    dense = len(moe.get("layers") or ()) < len(kinds)
    vision = sum(group["bytes"] for group in groups if group["place"] == "vision")
    files = facts.get("files") or ()
    size = sum(int(entry.get("size") or 0) for entry in files if str(entry.get("path", "")).endswith(".gguf"))
    return GgufModel(
        name=name,
        family=facts.get("model_type") or facts["architecture"],
        task=facts.get("task") or "generate",
        layers=tuple(_layers(facts, groups)),
        hidden=int(facts["hidden_size"]),
        feed_forward=int(facts.get("intermediate_size") or 0) if dense else 0,
        vocabulary=int(facts["vocab_size"]),
        trained_context=facts.get("max_position"),
        window=int(facts.get("sliding_window") or facts.get("attention_chunk") or 0),
        mla=(int(mla["kv_lora_rank"]), int(mla["qk_rope_head_size"])) if _compressed(mla) else None,
        experts_used=int(moe.get("experts_per_token") or 0),
        expert_size=int(moe.get("intermediate_size") or 0),
        state=facts.get("linear_attention") or None,
        embedding=embedding,
        output=head + final + (embedding if tied else 0),
        embedded_projector=vision,
        projector=int(facts.get("projector_bytes") or 0),
        file_bytes=size or int(facts["weight_bytes"]["total"]),
        estimated=facts.get("parameters_source") != "headers",
        identity=dict({key: facts.get(key) for key in _IDENTITY}, tied_embeddings=tied),
        quantization=(facts.get("quantization") or {}).get("format"),
    )


def _compressed(mla: t.Optional[t.Mapping[str, t.Any]]) -> bool:
    """Whether latent attention keeps its cache compressed; files from before April 2025 do not (llama.cpp #12801)."""
    return bool(mla) and bool(t.cast(dict, mla).get("compressed_cache", True))


def _layers(facts: t.Mapping[str, t.Any], groups: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[Layer]:
    kinds = facts["layer_kinds"]
    weights, experts, largest = [0] * len(kinds), [0] * len(kinds), [0] * len(kinds)
    for group in groups:
        if group["place"] != "layers":
            continue
        into = experts if group["name"].startswith("moe.experts") else weights
        for index in group["layers"]:
            into[index] += group["bytes"]
            largest[index] = max(largest[index], group["bytes"])
    mla = facts.get("mla") or {}
    own = {int(index): values for index, values in (facts.get("per_layer") or {}).items()}
    sharing = len(kinds) - int(facts.get("kv_shared_layers") or 0)
    head = int(facts["head_size"])
    for index, kind in enumerate(kinds):
        mine = own.get(index, {})
        yield Layer(
            kind=kind,
            weights=weights[index],
            experts=experts[index],
            largest=largest[index],
            heads=int(mine.get("attention_heads") or facts["attention_heads"]),
            kv_heads=int(facts["attention_heads"] if mla else mine.get("kv_heads") or facts["kv_heads"]),
            key_size=int(mine.get("head_size") or head),
            value_size=int(mine.get("value_head_size") or facts.get("value_head_size") or head),
            owns_kv=index < sharing and kind not in ("linear", "none"),
        )
