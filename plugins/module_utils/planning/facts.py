# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Typed views of the two contracts that come in: hardware facts and model facts.

Sizes are bytes. Nothing is computed here that is not a plain reading of the facts.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ..errors import GpufleetError
from .units import ELEMENT_BYTES


@dataclasses.dataclass(frozen=True)
class Group:
    """One kind of tensor (a ``tensor_groups`` entry); the sizes are those of one instance."""

    name: str
    place: str  # embed | layers | final | head | vision | skipped
    layers: t.Tuple[int, ...]
    parameters: int
    bytes: int  # as vLLM holds it
    dtype: str
    quantized: bool
    sharding: str  # replicated | tp | kv | vocab | expert
    heads: t.Optional[int]
    rows: t.Optional[int]
    input_size: t.Optional[int]
    output_size: t.Optional[int]


@dataclasses.dataclass(frozen=True)
class Mla:
    kv_lora_rank: int
    rope_size: int
    nope_size: int
    value_size: int
    index_layers: t.FrozenSet[int]  # with DeepSeek's sparse attention
    index_token_bytes: int  # its index keys: one byte per element and a float32 scale per 128


@dataclasses.dataclass(frozen=True)
class Moe:
    experts: int
    per_token: int
    intermediate_size: int
    shared_intermediate_size: int


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A vision tower, as far as its activations go."""

    hidden_size: int
    intermediate_size: int
    gated: bool
    outputs: int  # vectors it gives the language model per token
    largest_item_tokens: int
    patches_per_token: float


@dataclasses.dataclass(frozen=True)
class Quantization:
    method: str
    bits: t.Optional[int]
    group_size: t.Optional[int]
    block_size: t.Optional[t.Tuple[int, ...]]
    format: t.Optional[str]
    kv_cache_dtype: t.Optional[str]


@dataclasses.dataclass(frozen=True, eq=False)  # equal to itself alone: what is computed from it can be remembered
class Model:
    architecture: str
    model_type: str
    format: str
    task: str
    dtype: str
    layer_kinds: t.Tuple[str, ...]
    hidden_size: int
    intermediate_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    value_head_size: int
    rotary_size: int
    logit_softcap: bool
    vocab_size: int
    max_position: t.Optional[int]
    default_context: t.Optional[int]  # what vLLM takes of itself where that is less than max_position
    sliding_window: t.Optional[int]
    attention_chunk: t.Optional[int]
    kv_shared_layers: int
    tied_embeddings: bool
    mla: t.Optional[Mla]
    moe: t.Optional[Moe]
    linear: t.Optional[t.Dict[str, t.Any]]
    multimodal: bool
    encoder: t.Optional[Encoder]
    per_layer: t.Dict[int, t.Dict[str, t.Any]]
    parameters: int
    groups: t.Tuple[Group, ...]
    quantization: t.Optional[Quantization]
    identity: t.Dict[str, t.Any]

    @property
    def layers(self) -> int:
        return len(self.layer_kinds)


def read_model(facts: t.Mapping[str, t.Any]) -> Model:
    """Model facts (schema gpufleet.model/1) as a Model; GpufleetError names what is missing."""
    _check_schema(facts, "model", "gpufleet.model/1", "gpufleet.llm.model_info")
    try:
        return _read_model(facts)
    except (KeyError, TypeError, ValueError) as error:
        raise GpufleetError(
            "model lacks or misstates %s: pass what gpufleet.llm.model_info returned as `model`." % error
        ) from error


def _read_model(facts: t.Mapping[str, t.Any]) -> Model:
    mla, moe, quantization = facts.get("mla"), facts.get("moe"), facts.get("quantization")
    head_size = int(facts["head_size"])
    return Model(
        architecture=facts["architecture"],
        model_type=facts["model_type"],
        format=facts.get("format") or "config",
        task=facts.get("task") or "generate",
        dtype=facts.get("dtype") or "bfloat16",
        layer_kinds=tuple(facts["layer_kinds"]),
        hidden_size=int(facts["hidden_size"]),
        intermediate_size=int(facts.get("intermediate_size") or 0),
        attention_heads=int(facts["attention_heads"]),
        kv_heads=int(facts["kv_heads"]),
        head_size=head_size,
        value_head_size=int(facts.get("value_head_size") or head_size),
        rotary_size=int(facts.get("rotary_size") or head_size),
        logit_softcap=bool(facts.get("logit_softcap")),
        vocab_size=int(facts["vocab_size"]),
        max_position=facts.get("max_position"),
        default_context=facts.get("default_context"),
        sliding_window=facts.get("sliding_window"),
        attention_chunk=facts.get("attention_chunk"),
        kv_shared_layers=int(facts.get("kv_shared_layers") or 0),
        tied_embeddings=bool(facts.get("tied_embeddings")),
        mla=mla and _read_mla(mla),
        moe=moe
        and Moe(
            int(moe["experts"]),
            int(moe["experts_per_token"]),
            int(moe["intermediate_size"]),
            int(moe.get("shared_intermediate_size") or 0),
        ),
        linear=facts.get("linear_attention") or None,
        multimodal=bool(facts.get("multimodal")),
        encoder=Encoder(**facts["encoder"]) if facts.get("encoder") else None,
        per_layer={int(index): values for index, values in (facts.get("per_layer") or {}).items()},
        parameters=int(facts.get("parameters") or 0),
        groups=tuple(_read_group(entry) for entry in facts["tensor_groups"] if entry["place"] != "skipped"),
        quantization=quantization
        and Quantization(
            method=str(quantization["method"]),
            bits=quantization.get("bits"),
            group_size=quantization.get("group_size"),
            block_size=_pair(quantization.get("block_size")),
            format=quantization.get("format"),
            kv_cache_dtype=quantization.get("kv_cache_dtype"),
        ),
        identity={key: facts.get(key) for key in _MODEL_IDENTITY},
    )


def _read_mla(mla: t.Mapping[str, t.Any]) -> Mla:
    index_size = int(mla.get("index_head_size") or 0)
    return Mla(
        kv_lora_rank=int(mla["kv_lora_rank"]),
        rope_size=int(mla["qk_rope_head_size"]),
        nope_size=int(mla["qk_nope_head_size"]),
        value_size=int(mla["v_head_size"]),
        index_layers=frozenset(mla.get("index_layers") or ()),
        index_token_bytes=index_size + index_size // 128 * 4,
    )


# What of the model facts a plan depends on; where the facts came from (config, headers) is not part of it.
_MODEL_IDENTITY = (
    "architecture", "model_type", "dtype", "layer_kinds", "hidden_size", "intermediate_size", "attention_heads",
    "kv_heads", "head_size", "value_head_size", "vocab_size", "max_position", "default_context", "sliding_window",
    "attention_chunk", "kv_shared_layers", "tied_embeddings", "mla", "moe", "linear_attention", "per_layer",
    "quantization",
    "tensor_groups", "source", "revision", "multimodal", "format", "task",
)  # fmt: skip


def _read_group(entry: t.Mapping[str, t.Any]) -> Group:
    dims = entry.get("dims") or {}
    held = entry.get("loaded_bytes")
    return Group(
        name=entry["name"],
        place=entry["place"],
        layers=tuple(sorted(entry.get("layers") or ())),
        parameters=int(entry["parameters"]),
        bytes=int(entry["bytes"] if held is None else held),
        dtype=entry.get("dtype") or "bfloat16",
        quantized=bool(entry.get("quantized")),
        sharding=entry["sharding"],
        heads=entry.get("heads"),
        rows=entry.get("rows"),
        input_size=dims.get("in"),
        output_size=dims.get("out"),
    )


def _pair(value: t.Any) -> t.Optional[t.Tuple[int, ...]]:
    if not value:
        return None
    return tuple(int(item) for item in value) if isinstance(value, (list, tuple)) else (int(value), int(value))


@dataclasses.dataclass(frozen=True)
class Process:
    pid: int
    name: str
    memory_bytes: int
    unit: t.Optional[str]


@dataclasses.dataclass(frozen=True)
class Device:
    """A GPU or a MIG slice: what one rank of the engine runs on."""

    id: str  # UUID, or the index where a driver gives no UUID
    label: str  # "GPU 0", "MIG 3g.40gb on GPU 1"
    index: int  # of the card
    name: str
    vendor: str
    is_slice: bool
    capability: t.Optional[t.Tuple[int, int]]
    total_bytes: int
    free_bytes: int
    reserved_bytes: t.Optional[int]
    unified: bool
    nvlink_peers: t.Tuple[int, ...]
    topology: t.Dict[int, str]
    numa_node: t.Optional[int]
    compute_mode: str
    processes: t.Tuple[Process, ...]
    problem: t.Optional[str]
    sliced: bool  # the card is cut into MIG slices, so it cannot be used as a whole
    driver: t.Optional[str]


@dataclasses.dataclass(frozen=True)
class NumaNode:
    id: int
    cpus: int
    memory_total_bytes: int


@dataclasses.dataclass(frozen=True)
class Host:
    devices: t.Tuple[Device, ...]  # whole cards, each followed by its slices
    nvswitches: int
    driver_version: t.Optional[str]
    environment: str
    cpu_model: str
    architecture: str
    cores: int
    threads: int
    numa_nodes: t.Tuple[NumaNode, ...]
    features: t.FrozenSet[str]
    memory_total_bytes: int
    memory_available_bytes: int

    @functools.cached_property
    def nvidia(self) -> t.Tuple[Device, ...]:
        return tuple(device for device in self.devices if device.vendor == "nvidia")


def read_host(facts: t.Mapping[str, t.Any]) -> Host:
    """Hardware facts (schema gpufleet.hardware/1) as a Host; GpufleetError names what is missing."""
    _check_schema(facts, "hardware", "gpufleet.hardware/1", "gpufleet.llm.gpu_info")
    try:
        return _read_host(facts)
    except (KeyError, TypeError, ValueError) as error:
        raise GpufleetError(
            "hardware lacks or misstates %s: pass what gpufleet.llm.gpu_info returned as `hardware`." % error
        ) from error


def _read_host(facts: t.Mapping[str, t.Any]) -> Host:
    cpu = facts.get("cpu") or {}
    devices: t.List[Device] = []
    for entry in facts.get("accelerators") or []:
        devices.extend(_read_card(entry))
    return Host(
        devices=tuple(devices),
        nvswitches=int(facts.get("nvswitches") or 0),
        driver_version=facts.get("driver_version"),
        environment=facts.get("environment") or "bare",
        cpu_model=cpu.get("model") or "CPU",
        architecture=cpu.get("architecture") or "x86_64",
        cores=int(cpu.get("cores") or 1),
        threads=int(cpu.get("threads") or cpu.get("cores") or 1),
        numa_nodes=_read_nodes(cpu.get("numa_nodes") or (), int(facts["memory_total_bytes"])),
        features=frozenset(cpu.get("features") or ()),
        memory_total_bytes=int(facts["memory_total_bytes"]),
        memory_available_bytes=int(facts.get("memory_available_bytes") or 0),
    )


def _read_nodes(entries: t.Sequence[t.Mapping[str, t.Any]], total: int) -> t.Tuple[NumaNode, ...]:
    """NUMA nodes whose memory adds up to the host's.

    A virtual machine whose memory is ballooned reports nodes that grow and shrink while its total stays, and a
    container reports nodes larger than its limit; a plan made from either would change from run to run.
    """
    sizes = [int(node.get("memory_total_bytes") or 0) for node in entries]
    if abs(sum(sizes) - total) > total // 20:
        filled = sum(1 for size in sizes if size) or len(sizes)
        sizes = [total // filled if size or not any(sizes) else 0 for size in sizes]
    return tuple(
        NumaNode(int(node["id"]), len(node.get("cpus") or ()), size) for node, size in zip(entries, sizes)
    )


def _read_card(entry: t.Mapping[str, t.Any]) -> t.List[Device]:
    index = int(entry["index"])
    mig = entry.get("mig") or {}
    peers = tuple(entry.get("nvlink_peers") or ())
    card = Device(
        id=str(entry.get("uuid") or index),
        label="GPU %d" % index,
        index=index,
        name=entry.get("name") or "unknown",
        vendor=entry.get("vendor") or "unknown",
        is_slice=False,
        capability=_capability(entry.get("compute_capability")),
        total_bytes=int(entry.get("memory_total_bytes") or 0),
        free_bytes=int(entry.get("memory_free_bytes") or 0),
        reserved_bytes=entry.get("memory_reserved_bytes"),
        unified=bool(entry.get("memory_unified")),
        nvlink_peers=peers,
        topology={int(peer): str(path) for peer, path in (entry.get("topology") or {}).items()},
        numa_node=entry.get("numa_node"),
        compute_mode=str(entry.get("compute_mode") or "default").lower(),
        processes=_processes(entry),
        problem=None if entry.get("usable", True) else entry.get("problem") or "gpu_info calls it unusable",
        sliced=bool(mig.get("enabled")),
        driver=entry.get("driver"),
    )
    slices = [
        dataclasses.replace(
            card,
            id=str(piece["uuid"]),
            label="MIG %s on GPU %d" % (piece.get("name") or "slice", index),
            name="%s MIG %s" % (card.name, piece.get("name") or "slice"),
            is_slice=True,
            total_bytes=int(piece.get("memory_total_bytes") or 0),
            free_bytes=int(piece.get("memory_free_bytes") or piece.get("memory_total_bytes") or 0),
            reserved_bytes=None,
            nvlink_peers=(),
            topology={},
            processes=_processes(piece),
            sliced=False,
        )
        for piece in mig.get("slices") or ()
    ]
    return [card] + slices


def _processes(entry: t.Mapping[str, t.Any]) -> t.Tuple[Process, ...]:
    return tuple(
        Process(
            int(item.get("pid") or 0), item.get("name") or "?", int(item.get("memory_bytes") or 0), item.get("unit")
        )
        for item in entry.get("processes") or ()
    )


def _capability(text: t.Any) -> t.Optional[t.Tuple[int, int]]:
    if not text:
        return None
    major, _dot, minor = str(text).partition(".")
    return int(major), int(minor or 0)


def _check_schema(facts: t.Any, option: str, schema: str, module: str) -> None:
    found = facts.get("schema") if isinstance(facts, dict) else None
    if found != schema:
        raise GpufleetError(
            "%s has schema %r, wanted %r: pass what %s returned as `%s`." % (option, found, schema, module, option)
        )


def element_bytes(dtype: str) -> int:
    """Bytes of one element of a dtype; GpufleetError for one the planner does not know."""
    try:
        return ELEMENT_BYTES[dtype]
    except KeyError:
        raise GpufleetError(
            "dtype %s is unknown to the planner; it knows %s." % (dtype, ", ".join(sorted(ELEMENT_BYTES)))
        ) from None
