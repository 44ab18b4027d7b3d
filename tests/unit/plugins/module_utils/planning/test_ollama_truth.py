# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Ollama planner against what llama.cpp allots (exact caches) and against measured loads (tests/truth)."""

from __future__ import annotations

import importlib.util
import json
import statistics

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import memory
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.model import read_model
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts as hosts

BUFFERS = [json.loads(line) for line in (hosts.TRUTH / "ollama_buffers.jsonl").read_text().splitlines()]


def _replay():
    spec = importlib.util.spec_from_file_location("ollama_replay", hosts.TRUTH / "ollama_replay.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.all_rows()


ROWS = {row["id"]: row for row in _replay()}


def _load(row):
    old = row["build"] == "b9294"
    return memory.Load(row["context"], row["parallel"], row["batch"], row["flash"], row["kv_type"], old)


@pytest.mark.parametrize("name", sorted({row["model"] for row in BUFFERS}))
def test_caches_are_exact(name):
    model = read_model(name, hosts.model(name))
    for row in (row for row in BUFFERS if row["model"] == name):
        caches = memory.cache_bytes(model, _load(row))
        state = sum(size for size, layer in zip(caches, model.layers) if layer.kind == "linear")
        kv = sum(caches) - state
        assert kv / hosts.MIB == pytest.approx(row["kv_mib"], abs=0.02), row  # logged in hundredths for each of two
        assert state / hosts.MIB == pytest.approx(row["state_mib"], abs=0.005), row


def test_compute_buffers():
    errors = []
    for row in BUFFERS:
        found = memory.compute_bytes(read_model(row["model"], hosts.model(row["model"])), _load(row))
        measured = row["compute_mib"] * hosts.MIB
        assert found.low <= measured <= found.high, row
        if row["build"] != "b11549":
            errors.append(abs(found.expected / measured - 1))
    assert len(errors) > 200
    assert statistics.median(errors) < 0.002
    assert sorted(errors)[int(0.9 * len(errors))] < 0.06


def test_there_are_seventeen():
    assert len(ROWS) == 17


def _errors(mine, measured, skip=()):
    return {
        key: row[mine] / row[measured] - 1 for key, row in ROWS.items() if row[measured] is not None and key not in skip
    }


def test_weights():
    """Formulas of llama-quantize against logs: within 2 percent, mostly far less."""
    errors = _errors("weights_gib", "measured_weights_gib")
    assert len(errors) == 9
    assert max(map(abs, errors.values())) < 0.02
    assert statistics.median(map(abs, errors.values())) < 0.005


def test_kv_cache():
    """To the logs' rounding, o014's uncompressed cache of an old file among them. Not matched: sliding windows, which
    Ollama's former engine padded in another way."""
    plain = {key: row for key, row in ROWS.items() if not row["sliding"]}
    errors = {key: value for key, value in _errors("kv_gib", "measured_kv_gib").items() if key in plain}
    assert len(errors) == 6
    assert max(map(abs, errors.values())) < 0.005
    for key, row in ROWS.items():
        if row["sliding"] and row["measured_kv_gib"] is not None:
            assert abs(row["kv_gib"] - row["measured_kv_gib"]) < 0.3, key


def test_what_was_used():
    """Where the memory in use was measured rather than estimated."""
    assert ROWS["o029"]["required_gib"] == pytest.approx(21.19, rel=0.02)
    assert ROWS["o035"]["required_gib"] == pytest.approx(21.0, rel=0.03)


def test_layers():
    """Layers on the GPU where the logs have the same memory terms: o003, o004 and o030 carry the former engine's graph
    estimates, up to 13 GiB, and o014 moved whole layers where llama-server moves the experts first."""
    for key, row in ROWS.items():
        if row["measured_layers"] is not None and key not in ("o003", "o004", "o014", "o030"):
            assert row["measured_total"] == row["layers_total"], key
            assert abs(row["layers"] - row["measured_layers"]) <= 2, key


def test_outcomes():
    """All but four: o003 and o004 (projector graph of 8.8 GiB in the former engine), o030 (its graph of 2 GiB), and
    o020, a crash of 2024 on a laptop."""
    wrong = {
        key
        for key, row in ROWS.items()
        if row["outcome"] != row["measured_outcome"]
        and not (row["measured_outcome"] == "cuda_oom" and row["outcome"] != "fits")
    }
    assert wrong == {"o003", "o004", "o020", "o030"}
