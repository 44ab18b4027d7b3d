# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests of an Ollama registry, and the GGUF that llama-quantize would make."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models import gguf_types, ollama_manifest, source
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config, facts_from_gguf
from ansible_collections.gpufleet.llm.plugins.module_utils.models.gguf import GgufHeader
from ansible_collections.gpufleet.llm.plugins.module_utils.models.safetensors import Tensor
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.models import builders

TRUTH = Path(__file__).resolve().parents[4] / "truth"
CONFIGS = json.loads((TRUTH / "ollama_model_configs.json").read_text())
GIB = 1 << 30
KIND = "application/vnd.ollama.image."

# llama3.1:8b as registry.ollama.ai serves it: sizes of its layers and its config blob.
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:0", "size": 485},
    "layers": [
        {"mediaType": KIND + "model", "digest": "sha256:" + "1" * 64, "size": 4920734272},
        {"mediaType": KIND + "template", "digest": "sha256:" + "2" * 64, "size": 1481},
        {"mediaType": KIND + "license", "digest": "sha256:" + "3" * 64, "size": 12320},
        {"mediaType": KIND + "params", "digest": "sha256:" + "4" * 64, "size": 96},
    ],
}
BLOB = {"model_format": "gguf", "model_family": "llama", "model_type": "8.0B", "file_type": "Q4_K_M"}


def config(name):
    return {key: value for key, value in CONFIGS[name].items() if key[0] != "_"}


def test_with_the_original_config():
    facts = ollama_manifest.facts_from_manifest(MANIFEST, BLOB, facts_from_config(config("llama3.1:8b (4.7 GB pull)")))
    assert facts["format"] == "gguf" and facts["quantization"]["format"] == "Q4_K_M"
    assert facts["layers"]["total"] == 32 and facts["kv_heads"] == 8
    assert facts["weight_bytes"]["total"] == 4920734272
    assert facts["warnings"] == [] and facts["chat_template"]
    assert facts["files"] == [{"path": "model.gguf", "size": 4920734272}]
    # The formula alone was within half a percent of the file.
    assert gguf_types.quantized(
        facts_from_config(config("llama3.1:8b (4.7 GB pull)")), "Q4_K_M"
    )["weight_bytes"]["total"] == pytest.approx(4920734272, rel=0.005)  # fmt: skip


def test_alone():
    facts = ollama_manifest.facts_from_manifest(MANIFEST, BLOB)
    assert facts["parameters_source"] == "manifest" and facts["source"] == "manifest"
    assert facts["layers"]["total"] == 32 and facts["weight_bytes"]["total"] == 4920734272
    assert "may be off by a factor of two" in facts["warnings"][0]
    nothing_said = ollama_manifest.facts_from_manifest(MANIFEST)
    assert nothing_said["layers"]["total"] == 32


def test_projector_context_and_task():
    manifest = copy.deepcopy(MANIFEST)
    manifest["layers"].append({"mediaType": KIND + "projector", "digest": "sha256:" + "5" * 64, "size": 878 << 20})
    blob = dict(BLOB, context_length=8192, capabilities=["embedding"])
    facts = ollama_manifest.facts_from_manifest(manifest, blob)
    assert facts["projector_bytes"] == 878 << 20
    assert facts["max_position"] == 8192 and facts["task"] == "embed"


def test_the_wrong_config_is_seen():
    facts = ollama_manifest.facts_from_manifest(MANIFEST, BLOB, facts_from_config(config("llama3.2:3b-instruct-q8_0")))
    assert any("is it the config of this model?" in text for text in facts["warnings"])


@pytest.mark.parametrize(
    ("manifest", "blob", "words"),
    [
        ({}, None, "manifest has no layers"),
        ({"layers": [{"mediaType": "x", "size": 1}]}, None, "none of Ollama's"),
        ({"layers": [{"mediaType": KIND + "model", "size": "1"}]}, None, "none of Ollama's"),
        ({"layers": [{"mediaType": KIND + "tensor", "size": 1}]}, None, "safetensors (tensor layers)"),
        ({"layers": [{"mediaType": KIND + "license", "size": 1}]}, None, "no model at all"),
        (MANIFEST, {"model_format": "safetensors"}, "only gguf can be sized"),
    ],
)
def test_refused(manifest, blob, words):
    with pytest.raises(GpufleetError) as caught:
        ollama_manifest.facts_from_manifest(manifest, blob)
    assert words in str(caught.value)


def test_answer_takes_manifest_and_quantize():
    facts = source.answer({"manifest": MANIFEST, "manifest_config": BLOB, "config": config("llama3:70b")}, lambda: None)
    assert facts["layers"]["total"] == 80 and facts["weight_bytes"]["total"] == 4920734272
    facts = source.answer({"config": config("llama3:70b"), "quantize": "q4_0"}, lambda: None)
    assert facts["quantization"]["format"] == "Q4_0" and facts["projector_bytes"] is None
    assert "projector_bytes" in source.answer({"config": dict(builders.CONFIG)}, lambda: None)


# Bytes that llama.cpp or Ollama logged for real files (tests/truth/ollama_cases.jsonl and the registries' file sizes).
SIZES = (
    ("llama3:70b", "Q4_0", 37.22),
    ("deepseek-v3 / r1 671B", "Q4_K_M", 376.65),
    ("gpt-oss:120b", "MXFP4", 60.87),
    ("gpt-oss:20b", "MXFP4", 12.83),
    ("qwen2:7b", "Q4_0", 4.12),
    ("llama3.1:8b (4.7 GB pull)", "Q4_0", 4.33),
    ("llama3.1:8b (4.7 GB pull)", "Q4_K_M", 4.58),
    ("llama3.1:8b (4.7 GB pull)", "Q8_0", 7.95),
    ("llama3.1:8b (4.7 GB pull)", "Q5_K_M", 5.33),
    ("llama3.1:8b (4.7 GB pull)", "Q3_K_M", 3.74),
    ("llama3.1:8b (4.7 GB pull)", "Q2_K", 2.95),
    ("llama3.1:8b (4.7 GB pull)", "Q6_K", 6.14),
    ("llama3.1:8b (4.7 GB pull)", "F16", 14.96),
)


@pytest.mark.parametrize(("name", "kind", "gib"), SIZES)
def test_sizes_of_quantized_files(name, kind, gib):
    total = gguf_types.quantized(facts_from_config(config(name)), kind)["weight_bytes"]["total"]
    assert total / GIB == pytest.approx(gib, rel=0.005)


def test_groups_add_up():
    facts = gguf_types.quantized(facts_from_config(config("gemma3:27b")), "Q4_K_M")
    total = sum(
        group["bytes"] * (len(group["layers"]) if group["place"] == "layers" else 1)
        for group in facts["tensor_groups"]
        if group["place"] != "skipped"
    )
    assert total == facts["weight_bytes"]["total"]
    assert facts["projector_bytes"] > 800 << 20
    assert not any(group["place"] == "vision" for group in facts["tensor_groups"])
    assert sorted({layer for group in facts["tensor_groups"] for layer in group["layers"]}) == list(range(62))


def test_types_refused():
    with pytest.raises(GpufleetError, match="quantize=Q9 is not known: give one of F32, F16"):
        gguf_types.file_type("Q9")
    with pytest.raises(GpufleetError, match="quantized already"):
        gguf_types.quantized(gguf_types.quantized(facts_from_config(config("qwen2:7b")), "Q8_0"), "Q4_0")
    assert gguf_types.file_type("q4_k") == "Q4_K_M"


@pytest.mark.parametrize("old", [True, False])
def test_latent_attention_of_old_files(old):
    sizes = {
        "block_count": 2, "context_length": 4096, "embedding_length": 256, "feed_forward_length": 512,
        "attention.head_count": 4, "attention.head_count_kv": 4 if old else 1, "attention.kv_lora_rank": 64,
        "rope.dimension_count": 32, "attention.key_length": 96, "attention.value_length": 64,
        "vocab_size": 100,
    }  # fmt: skip
    if not old:
        sizes.update({"attention.key_length_mla": 96, "attention.value_length_mla": 64})
    metadata = dict(
        {"deepseek2." + key: value for key, value in sizes.items()}, **{"general.architecture": "deepseek2"}
    )
    tensors = [
        Tensor("token_embd.weight", "Q8_0", (100, 256), 27200),
        Tensor("output.weight", "Q8_0", (100, 256), 27200),
    ]
    facts = facts_from_gguf({"x.gguf": GgufHeader(3, metadata, tensors, 60000)}, "x.gguf")
    assert facts["mla"].get("compressed_cache", True) is not old
    assert any("before April 2025" in text for text in facts["warnings"]) is old
