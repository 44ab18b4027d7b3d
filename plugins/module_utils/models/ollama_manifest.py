# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest of an Ollama registry: how large a model is before anything is downloaded.

A manifest lists layers with their sizes; its config blob names family, parameters and quantization. The model's layers
and heads are in the GGUF header: with that, or with the config.json of the original model, the facts are exact or
nearly so. Without either they are those of a usual model of this size, and say so.
"""

from __future__ import annotations

import math
import re
import typing as t

from ..errors import GpufleetError
from . import gguf_types
from .facts import facts_from_config

_PREFIX = "application/vnd.ollama.image."
_PARAMETERS = re.compile(r"^\s*([\d.]+)\s*([KMBT])")
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}

# What models of a size usually are: billions of parameters -> layers, hidden, heads, KV heads, head size, feed forward.
_USUAL: t.Tuple[t.Tuple[float, t.Tuple[int, int, int, int, int, int]], ...] = (
    (0.5, (24, 896, 14, 2, 64, 4864)),
    (1.2, (16, 2048, 32, 8, 64, 8192)),
    (3.2, (28, 3072, 24, 8, 128, 8192)),
    (8.0, (32, 4096, 32, 8, 128, 14336)),
    (14.0, (40, 5120, 40, 8, 128, 17920)),
    (32.0, (64, 5120, 40, 8, 128, 27648)),
    (70.0, (80, 8192, 64, 8, 128, 28672)),
    (123.0, (88, 12288, 96, 8, 128, 28672)),
    (405.0, (126, 16384, 128, 8, 128, 53248)),
)


def read_manifest(manifest: t.Any, blob: t.Any = None) -> dict:
    """Sizes by kind of layer, and what the config blob says; GpufleetError for what is no Ollama manifest."""
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    if not isinstance(layers, list) or not layers:
        raise GpufleetError("manifest has no layers: pass the JSON of /v2/NAMESPACE/MODEL/manifests/TAG.")
    sizes: t.Dict[str, int] = {}
    for layer in layers:
        kind, size = str(layer.get("mediaType") or ""), layer.get("size")
        if not kind.startswith(_PREFIX) or not isinstance(size, int) or size < 0:
            raise GpufleetError("manifest has a layer that is none of Ollama's: mediaType=%s, size=%s." % (kind, size))
        name = kind[len(_PREFIX) :]
        sizes[name] = sizes.get(name, 0) + size
    if not sizes.get("model"):
        what = "safetensors (tensor layers)" if sizes.get("tensor") else "no model at all"
        raise GpufleetError("manifest is of %s: only GGUF models can be sized." % what)
    blob = blob or {}
    if blob.get("model_format") not in (None, "", "gguf"):
        raise GpufleetError("manifest_config says model_format=%s: only gguf can be sized." % blob["model_format"])
    return {
        "model_bytes": sizes["model"],
        "projector_bytes": sizes.get("projector", 0) or None,
        "adapter_bytes": sizes.get("adapter", 0) or None,
        "template": "template" in sizes or "prompt" in sizes,
        "family": blob.get("model_family") or None,
        "parameters": _count(blob.get("model_type")),
        "file_type": blob.get("file_type") or None,
        "context_length": blob.get("context_length") or None,
        "embedding_length": blob.get("embedding_length") or None,
        "capabilities": list(blob.get("capabilities") or ()),
    }


def facts_from_manifest(manifest: t.Any, blob: t.Any = None, known: t.Optional[dict] = None) -> dict:
    """Model facts of a manifest. ``known`` are facts of the model's GGUF header or of its original config.json."""
    read = read_manifest(manifest, blob)
    if known is None:
        facts = _usual(read)
    elif known.get("format") == "gguf":
        facts = dict(known)
        _compare(facts, read)
    else:
        facts = _scaled(gguf_types.quantized(known, read["file_type"] or "Q4_K_M"), read)
    if read["projector_bytes"]:
        facts["projector_bytes"] = read["projector_bytes"]
    else:
        facts.setdefault("projector_bytes", None)
    if read["context_length"]:
        facts["max_position"] = int(read["context_length"])
    if "embedding" in read["capabilities"] and "completion" not in read["capabilities"]:
        facts["task"] = "embed"
    facts["chat_template"] = facts.get("chat_template") or read["template"]
    facts["files"] = [{"path": "model.gguf", "size": read["model_bytes"]}]
    if known is None:
        facts["source"] = "manifest"
    return facts


def _count(text: t.Any) -> t.Optional[int]:
    match = _PARAMETERS.match(str(text or "").upper())
    return int(float(match.group(1)) * _UNITS[match.group(2)]) if match else None


def _usual(read: t.Mapping[str, t.Any]) -> dict:
    """A dense model of about the stated number of parameters; where none is stated, of about the size at 4.8 bits."""
    parameters = read["parameters"] or int(read["model_bytes"] * 8 / 4.8)
    size, (layers, hidden, heads, kv_heads, head, forward) = min(
        _USUAL, key=lambda entry: abs(math.log(parameters / 1e9 / entry[0]))
    )
    config = {
        "model_type": "llama",
        "architectures": [read["family"] or "llama"],
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "intermediate_size": forward,
        "vocab_size": 131072,
        "tie_word_embeddings": size < 4,
        "max_position_embeddings": int(read["context_length"] or 131072),
    }
    facts = _scaled(gguf_types.quantized(facts_from_config(config), "Q4_K_M"), read)
    facts["quantization"]["format"] = read["file_type"]
    facts["architecture"] = read["family"] or "unknown"
    facts["model_type"] = str(read["family"] or "unknown")
    facts["parameters"] = parameters
    facts["parameters_source"] = "manifest"
    facts["warnings"] = [
        "Layers and heads are those of a usual model with %.1f billion parameters, so the KV cache may be off by a "
        "factor of two: with source (the GGUF file) or config (the original model's config.json) they are known."
        % (parameters / 1e9)
    ]
    return facts


def _scaled(facts: dict, read: t.Mapping[str, t.Any]) -> dict:
    """The weights' sizes by formula, stretched to what the manifest says of the file."""
    total = facts["weight_bytes"]["total"]
    factor = read["model_bytes"] / total
    for group in facts["tensor_groups"]:
        if group["place"] != "skipped":
            group["bytes"] = group["loaded_bytes"] = int(group["bytes"] * factor)
    facts["weight_bytes"]["total"] = read["model_bytes"]
    by_dtype = facts["weight_bytes"]["by_dtype"]
    facts["weight_bytes"]["by_dtype"] = {key: int(value * factor) for key, value in by_dtype.items()}
    if abs(factor - 1) > 0.15 and facts.get("parameters_source") == "config":
        facts["warnings"] = list(facts.get("warnings") or ()) + [
            "The manifest's model has %.1f GiB and config would give %.1f GiB: is it the config of this model?"
            % (read["model_bytes"] / 2**30, total / 2**30)
        ]
    return facts


def _compare(facts: dict, read: t.Mapping[str, t.Any]) -> None:
    found = sum(int(entry.get("size") or 0) for entry in facts.get("files") or ())
    if found and found != read["model_bytes"]:
        facts["problems"] = list(facts.get("problems") or ()) + [
            "The file has %d bytes and the manifest says %d: it is not the manifest's model."
            % (found, read["model_bytes"])
        ]
