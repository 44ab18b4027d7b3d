# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model facts, schema "gpufleet.model/1"."""

from __future__ import annotations

import typing as t
from dataclasses import asdict

from . import formulas, hf_config, vision
from .fields import Fields
from .quantization import read_quantization
from .shapes import KINDS, Shape
from .tensor_groups import Group, bytes_by_dtype, total_bytes, total_parameters

SCHEMA = "gpufleet.model/1"


def facts_from_config(
    config: dict,
    hf_quant_config: t.Optional[dict] = None,
    source: str = "config",
    revision: t.Optional[str] = None,
) -> dict:
    """The facts of a model of which only the config.json is known. No I/O."""
    shape = hf_config.read_shape(config)
    fields = Fields(config)
    quantization = read_quantization(config, hf_quant_config)
    collected = formulas.text_groups(fields, shape, quantization)
    extra = formulas.extra_layers(fields, shape, quantization, collected)
    vision.add_towers(collected, config, shape.hidden_size, shape.stored_dtype(), shape.warnings)
    groups = collected.listed()
    facts = _describe(fields, shape, groups)
    facts.update({"source": source, "revision": revision, "extra_layers": extra})
    if quantization:
        facts["quantization"] = quantization.as_dict()
        facts["warnings"] += quantization.warnings
    return facts


def _describe(fields: Fields, shape: Shape, groups: t.List[Group]) -> dict:
    kinds = [layer.kind for layer in shape.layers]
    moe = shape.moe
    modalities = vision.modalities(fields.root)
    return {
        "schema": SCHEMA,
        "architecture": shape.architecture,
        "model_type": shape.model_type,
        "format": "config",
        "task": "generate",
        "dtype": shape.dtype,
        "layers": dict({kind: kinds.count(kind) for kind in KINDS}, total=len(kinds)),
        "layer_kinds": kinds,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "attention_heads": shape.attention_heads,
        "kv_heads": shape.kv_heads,
        "head_size": shape.head_size,
        "value_head_size": shape.value_head_size,
        "vocab_size": shape.vocab_size,
        "max_position": shape.max_position,
        "default_context": hf_config.default_context(fields),
        "sliding_window": shape.sliding_window,
        "attention_chunk": shape.attention_chunk,
        "kv_shared_layers": sum(layer.shares_kv for layer in shape.layers),
        "tied_embeddings": shape.tied_embeddings,
        "mla": asdict(shape.mla) if shape.mla else None,
        "moe": {
            "experts": moe.experts,
            "experts_per_token": moe.experts_per_token,
            "shared_experts": moe.shared_experts,
            "intermediate_size": moe.intermediate_size,
            "shared_intermediate_size": moe.shared_intermediate_size,
            "layers": list(moe.layers),
        }
        if moe
        else None,
        "linear_attention": asdict(shape.linear) if shape.linear else None,
        "multimodal": len(modalities) > 1,
        "modalities": modalities,
        "per_layer": _per_layer(shape),
        "parameters": total_parameters(groups),
        "parameters_source": "config",
        "tensor_groups": [group.as_dict() for group in groups],
        "weight_bytes": {"total": total_bytes(groups), "by_dtype": bytes_by_dtype(groups), "by_file": None},
        "quantization": None,
        "extra_layers": 0,
        "generation": None,
        "chat_template": False,
        "files": None,
        "complete": None,
        "problems": [],
        "warnings": shape.warnings,
    }


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
