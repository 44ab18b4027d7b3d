# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans of small models against what real engines on a CPU allotted (tests/truth/cpu, recorded by bench.py there)."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import vllm
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

TRUTH = Path(__file__).resolve().parents[4] / "truth" / "cpu"
CASES = yaml.safe_load((TRUTH / "cases.yml").read_text())
MEASURED = json.loads((TRUTH / "measured.json").read_text())
BY_NAME = {case["name"]: case for case in CASES["cases"]}

# What the same engine computes for such a CPU: its two questions to torch (_is_avx512_bf16_supported,
# _is_amx_tile_supported) were answered with yes; the kernels themselves did not run.
BFLOAT16 = ("avx512_bf16",)
TILES = ("avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
OTHER_CPUS = [
    ("qwen3_next", BFLOAT16, 54428, "18.14", 254),
    ("granitemoehybrid", BFLOAT16, 53823, "17.94", 305),
    ("falcon_h1", BFLOAT16, 69272, "23.09", 254),
    ("nemotron_h", BFLOAT16, 130714, "43.57", 610),
    ("nemotron_h_bfloat16", BFLOAT16, 179470, "59.82", 1017),
    ("mamba2", BFLOAT16, 1110000, "370.00", 370),
    ("lfm2", BFLOAT16, 163392, "54.46", 1525),
    ("deepseek_v2", TILES, 33875, "11.29", 271),
    ("deepseek_v3", TILES, 42375, "14.12", 339),
]


def plan(name, features=()):
    case = BY_NAME[name]
    hardware = copy.deepcopy(MEASURED["hardware"])
    hardware["cpu"]["features"] += features
    options = dict(CASES["options"], variant="cpu", engine_version=MEASURED["engine_version"])
    options.update(case.get("options", {}))
    return vllm.make_plan(hardware, hosts.small_model(case.get("model", name)), options)


def test_every_case_was_measured():
    assert list(MEASURED["cases"]) == list(BY_NAME)
    assert {path.stem for path in (TRUTH / "models").iterdir()} == {
        case.get("model", name) for name, case in BY_NAME.items()
    }


@pytest.mark.parametrize("name", BY_NAME)
def test_the_plan_is_what_the_engine_allotted(name):
    answer = plan(name)
    numbers = answer["numbers"]
    assert {
        "tokens": numbers["kv_cache_tokens"]["expected"],
        "concurrency": "%.2f" % numbers["max_concurrency"],
        "blocks": numbers["num_gpu_blocks"],
        "pool bytes": numbers["num_gpu_blocks"] * numbers["kv_bytes_per_block"],
        "weight bytes": numbers["weights_bytes_per_gpu"],
        "dtype": answer["settings"]["dtype"],
    } == MEASURED["cases"][name]
    assert (answer["refusal"] or {}).get("code") == BY_NAME[name].get("refusal")


@pytest.mark.parametrize("name, features, tokens, concurrency, blocks", OTHER_CPUS)
def test_other_cpus(name, features, tokens, concurrency, blocks):
    numbers = plan(name, features)["numbers"]
    found = (numbers["kv_cache_tokens"]["expected"], "%.2f" % numbers["max_concurrency"], numbers["num_gpu_blocks"])
    assert found == (tokens, concurrency, blocks)
