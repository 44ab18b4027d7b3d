# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model facts, schema "gpufleet.model/1"."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, replace

from ..errors import GpufleetError
from . import checkpoint, formulas, gguf_config, hf_config, vision
from .fields import Fields
from .gguf import GgufHeader
from .names import Place
from .quantization import Quantization, read_quantization
from .safetensors import Tensor
from .shapes import KINDS, Shape
from .tensor_groups import Group, bytes_by_dtype, total_bytes, total_parameters

SCHEMA = "gpufleet.model/1"
_GENERATING = ("ChatGLMModel", "ChatGLMForConditionalGeneration")  # whatever their ending says
_EMBEDDING_ENDINGS = ("Model", "ForSequenceClassification", "ForTextEmbedding", "ForMaskedLM")


def facts_from_config(
    config: dict,
    hf_quant_config: t.Optional[dict] = None,
    tensors: t.Optional[t.Dict[str, t.List[Tensor]]] = None,
) -> dict:
    """The facts of a model from its config.json and, where known, its tensors by file. No I/O."""
    if not isinstance(config, dict) or not config:
        raise GpufleetError("config is empty: pass the model's config.json as a dict.")
    fields = Fields(config)
    shape = hf_config.read_shape(config)
    quantization = read_quantization(config, hf_quant_config)
    collected = formulas.text_groups(fields, shape, quantization)
    extra = formulas.extra_layers(fields, shape, quantization, collected)
    if tensors is None:
        vision.add_towers(collected, config, shape.hidden_size, shape.stored_dtype(), shape.warnings)
        facts = _describe(fields, shape, collected.listed())
        facts["warnings"] += quantization.warnings if quantization else []
    else:
        facts = _with_tensors(fields, shape, collected.listed(), quantization, tensors)
    facts["extra_layers"] = extra
    facts["quantization"] = quantization.as_dict() if quantization else None
    return facts


def facts_from_gguf(headers: t.Dict[str, GgufHeader], name: str) -> dict:
    """The facts of a GGUF model from the headers of its files, the first file first. No I/O."""
    first = next(iter(headers.values()))
    every = [tensor for header in headers.values() for tensor in header.tensors]
    config = gguf_config.config_of(replace(first, tensors=every), name)
    fields = Fields(config)
    shape = hf_config.read_shape(config)
    formula = formulas.text_groups(fields, shape, None).listed()
    tensors = {path: header.tensors for path, header in headers.items()}
    facts = _with_tensors(fields, shape, formula, None, tensors, gguf_config.classify_gguf)
    facts["format"] = "gguf"
    facts["quantization"] = gguf_config.quantization_of(replace(first, tensors=every))
    facts["chat_template"] = "tokenizer.chat_template" in first.metadata
    facts["extra_layers"] = int(config.get("num_nextn_predict_layers") or 0)
    if facts["mla"] and first.get("attention.key_length_mla") is None:
        facts["mla"]["compressed_cache"] = False
        facts["warnings"].append(
            "The file is from before April 2025: llama.cpp keeps its keys and values uncompressed, many times as large. "
            "Download or convert the model again."
        )
    return facts


def _with_tensors(
    fields: Fields,
    shape: Shape,
    formula: t.List[Group],
    quantization: t.Optional[Quantization],
    tensors: t.Dict[str, t.List[Tensor]],
    classify: t.Callable[[str], Place] = checkpoint.classify,
) -> dict:
    every = [tensor for listed in tensors.values() for tensor in listed]
    shape.tied_embeddings = checkpoint.tied(every, shape, classify)
    bits = quantization.as_dict()["bits"] if quantization else None
    groups = checkpoint.groups_from_tensors(every, shape, formula, bits, shape.warnings, classify)
    facts = _describe(fields, shape, groups)
    facts["parameters_source"] = "headers"
    facts["weight_bytes"]["by_dtype"] = checkpoint.bytes_by_dtype(every, shape, classify)
    facts["weight_bytes"]["by_file"] = {path: sum(one.bytes for one in listed) for path, listed in tensors.items()}
    return facts


def _describe(fields: Fields, shape: Shape, groups: t.List[Group]) -> dict:
    kinds = [layer.kind for layer in shape.layers]
    modalities = vision.modalities(fields.root)
    return {
        "schema": SCHEMA,
        "architecture": shape.architecture,
        "model_type": shape.model_type,
        "format": "config",
        "task": _task(shape.architecture),
        "dtype": shape.dtype,
        "layers": dict({kind: kinds.count(kind) for kind in KINDS}, total=len(kinds)),
        "layer_kinds": kinds,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "attention_heads": shape.attention_heads,
        "kv_heads": shape.kv_heads,
        "head_size": shape.head_size,
        "value_head_size": shape.value_head_size,
        "rotary_size": hf_config.rotary_size(fields, shape),
        "logit_softcap": hf_config.softcapped(fields, shape),
        "vocab_size": shape.vocab_size,
        "max_position": shape.max_position,
        "default_context": hf_config.default_context(fields),
        "sliding_window": shape.sliding_window,
        "attention_chunk": shape.attention_chunk,
        "kv_shared_layers": sum(layer.shares_kv for layer in shape.layers),
        "tied_embeddings": shape.tied_embeddings,
        "mla": _mla(shape),
        "moe": _moe(shape),
        "linear_attention": asdict(shape.linear) if shape.linear else None,
        "multimodal": len(modalities) > 1,
        "modalities": modalities,
        "encoder": vision.encoder(fields.root),
        "per_layer": _per_layer(shape),
        "parameters": total_parameters(groups),
        "parameters_source": "config",
        "tensor_groups": [group.as_dict() for group in groups],
        "weight_bytes": {"total": total_bytes(groups), "by_dtype": bytes_by_dtype(groups), "by_file": None},
        "quantization": None,
        "extra_layers": 0,
        "generation": None,
        "chat_template": False,
        "source": "config",
        "revision": None,
        "files": None,
        "complete": None,
        "problems": [],
        "warnings": shape.warnings,
    }


def _task(architecture: str) -> str:
    return "embed" if architecture.endswith(_EMBEDDING_ENDINGS) and architecture not in _GENERATING else "generate"


def _mla(shape: Shape) -> t.Optional[dict]:
    if shape.mla is None:
        return None
    return dict(asdict(shape.mla), index_layers=list(shape.mla.index_layers))


def _moe(shape: Shape) -> t.Optional[dict]:
    if shape.moe is None:
        return None
    return dict(asdict(shape.moe), layers=list(shape.moe.layers))


def _per_layer(shape: Shape) -> t.Dict[str, dict]:
    """The layers whose heads differ from the model's own."""
    usual = (shape.attention_heads, shape.kv_heads, shape.head_size, shape.value_head_size)
    return {
        str(index): {
            "attention_heads": layer.heads,
            "kv_heads": layer.kv_heads,
            "head_size": layer.head_size,
            "value_head_size": layer.value_head_size,
        }
        for index, layer in enumerate(shape.layers)
        if layer.kind not in ("linear", "none")
        and (layer.heads, layer.kv_heads, layer.head_size, layer.value_head_size) != usual
    }
