# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GGUF models and hosts for the tests of the Ollama planner."""

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.models.gguf_types import quantized
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import gpus
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import planner as ollama

TRUTH = Path(__file__).resolve().parents[4] / "truth"
SHAPES = json.loads((TRUTH / "ollama_shapes.json").read_text())
CASES = json.loads((TRUTH / "ollama_model_configs.json").read_text())
GIB, MIB = 1 << 30, 1 << 20

BERT = {
    "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 2048,
}  # fmt: skip


@functools.lru_cache(maxsize=None)
def model(name: str, kind: str = "Q4_K_M") -> t.Dict[str, t.Any]:
    """Facts of a GGUF model; shared, so no test may change them."""
    config = BERT if name == "bert" else SHAPES[name] if name in SHAPES else CASES[name]
    facts = quantized(facts_from_config({key: value for key, value in config.items() if key[0] != "_"}), kind)
    return facts


def entry(name: str, kind: str = "Q4_K_M", **options: t.Any) -> t.Dict[str, t.Any]:
    return dict(options, name=name, model=model(name, kind))


def host(spec: t.Optional[str], memory_gib: int = 128, cores: int = 16, **changes: t.Any) -> t.Dict[str, t.Any]:
    """An idle host with the GPUs of ``spec``, or with none."""
    facts = gpus.hardware(spec or "L4")
    if spec is None:
        facts["accelerators"], facts["driver_version"] = [], None
    facts["memory_total_bytes"] = facts["memory_available_bytes"] = memory_gib * GIB
    facts["cpu"]["numa_nodes"] = []
    facts["cpu"]["cores"] = cores
    facts.update(changes)
    return facts


def plan(hardware: t.Any, *models: t.Any, **options: t.Any) -> t.Dict[str, t.Any]:
    """A plan; hardware by name or as facts, models by name or as entries."""
    entries = [entry(item) if isinstance(item, str) else item for item in models]
    facts = hardware if isinstance(hardware, dict) else host(hardware)
    return ollama.make_plan(facts, dict(options, models=entries))
