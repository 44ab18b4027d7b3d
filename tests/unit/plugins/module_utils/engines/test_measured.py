# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines import measured, vllm_metrics
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.vllm_metrics import Sample
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.support import FIXTURES

REAL = (FIXTURES / "metrics.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "line, sample",
    [
        ("up 1", Sample("up", {}, 1.0)),
        ("  up   1.5e3   1795227536000 ", Sample("up", {}, 1500.0)),
        ("vllm:x_total{} 3", Sample("vllm:x_total", {}, 3.0)),
        ('a{b="c",} 1', Sample("a", {"b": "c"}, 1.0)),
        ('a { b = "c" , d="" } +Inf', Sample("a", {"b": "c", "d": ""}, math.inf)),
        ('a{b="x}y, z=\\"1\\""} 1', Sample("a", {"b": 'x}y, z="1"'}, 1.0)),
        ('a{b="C:\\\\new\\nline"} 1', Sample("a", {"b": "C:\\new\nline"}, 1.0)),
        ('a{b="\\q"} 1', Sample("a", {"b": "\\q"}, 1.0)),
        ('a{b="é"} 1 # {trace="1"} 0.5', Sample("a", {"b": "é"}, 1.0)),
    ],
)
def test_samples(line: str, sample: Sample) -> None:
    assert vllm_metrics.parse("# HELP a b\n\n%s\n" % line) == [sample]


def test_not_a_number() -> None:
    assert math.isnan(vllm_metrics.parse("a NaN")[0].value)


@pytest.mark.parametrize(
    "line",
    ["<html>", "a", "a{b=c} 1", 'a{b="c} 1', 'a{b="c" d="e"} 1', "a{} x", '{b="c"} 1', 'a{b="c"', 'a{b="c",,} 1'],
)
def test_no_samples(line: str) -> None:
    with pytest.raises(GpufleetError, match="line 2 of the metrics is no sample"):
        vllm_metrics.parse("up 1\n" + line)


def test_real_metrics() -> None:
    info = vllm_metrics.cache_info(REAL)
    assert (info.engines, info.block_size, info.num_gpu_blocks) == (1, 128, 8192)
    assert (info.kv_cache_tokens, info.kv_cache_bytes, info.max_concurrency) == (1048576, 2**30, 1024.0)
    assert info.model == "canary" and info.labels["cache_dtype"] == "auto"
    assert vllm_metrics.work_done(REAL) == 2436 + 5087
    assert len(vllm_metrics.parse(REAL)) == sum(1 for line in REAL.splitlines() if line and line[0] != "#")


def test_the_real_startup_log_says_the_same() -> None:
    log = (FIXTURES / "startup.log").read_text(encoding="utf-8")
    info = vllm_metrics.cache_info(REAL)
    words = "CPU KV cache size: {:,} tokens, Maximum concurrency for 1,024 tokens per request: {:.2f}x"
    assert words.format(info.kv_cache_tokens, info.max_concurrency) in log


def cache_line(engine: int = 0, **labels: t.Any) -> str:
    usual = {"num_gpu_blocks": 100, "block_size": 16, "kv_cache_memory_bytes": None, "engine": engine}
    text = ",".join('%s="%s"' % label for label in {**usual, **labels}.items())
    return "%s{%s} 1.0\n" % (vllm_metrics.CACHE_INFO, text)


def test_older_engines_do_not_say_the_tokens() -> None:
    info = vllm_metrics.cache_info(cache_line())
    assert (info.kv_cache_tokens, info.max_concurrency, info.kv_cache_bytes) == (1600, None, None)


def test_tokens_are_the_engines_own_where_blocks_are_shared() -> None:
    assert vllm_metrics.cache_info(cache_line(kv_cache_size_tokens=900)).kv_cache_tokens == 900


def test_the_smallest_of_several_engines_counts() -> None:
    info = vllm_metrics.cache_info(cache_line(0) + cache_line(1, num_gpu_blocks=90) + cache_line(2))
    assert (info.engines, info.num_gpu_blocks) == (3, 90)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "do not hold vllm:cache_config_info.*Found 0 samples"),
        ("ollama_up 1", "Found 1 samples"),
        (cache_line(num_gpu_blocks=None), "num_gpu_blocks=None and block_size=16: the engine has not allotted"),
    ],
)
def test_no_cache_info(text: str, message: str) -> None:
    with pytest.raises(GpufleetError, match=message):
        vllm_metrics.cache_info(text)


# --- beside the plan ----------------------------------------------------------------------------


def plan(tokens: int = 1048576, **changed: t.Any) -> t.Dict[str, t.Any]:
    numbers = {
        "block_size": 128,
        "kv_bytes_per_block": 131072,
        "num_gpu_blocks": tokens // 128,
        "kv_cache_tokens": {"low": tokens, "expected": tokens, "high": tokens},
        "kv_cache_bytes": {"low": 0, "expected": tokens * 1024, "high": 0},
        "max_concurrency": tokens / 1024,
    }
    whole = {
        "schema": measured.PLAN_SCHEMA,
        "engine": "vllm",
        "engine_version": "0.32.0",
        "variant": "cpu",
        "settings": {"max_model_len": 1024, "dtype": "bfloat16", "host": "127.0.0.1"},
        "devices": [],
        "numbers": numbers,
        "fingerprint": "f00d",
    }
    return {**whole, **changed}


def test_a_plan_that_was_right() -> None:
    result = measured.measure(vllm_metrics.cache_info(REAL), "0.32.0", plan())
    assert result["error"] == dict.fromkeys(measured.COMPARED, 0.0)
    assert result["warning"] is None
    assert result["predicted"]["kv_cache_tokens"]["expected"] == result["kv_cache_tokens"] == 1048576
    assert (result["kv_cache_bytes"], result["plan_fingerprint"], result["variant"]) == (2**30, "f00d", "cpu")
    assert result["settings"] == {"max_model_len": 1024, "dtype": "bfloat16"}


@pytest.mark.parametrize(
    "tokens, error, said",
    [
        (1000000, 0.0486, None),
        (1100000, -0.0467, None),
        (2000000, -0.4757, "allotted 1048576 tokens of KV cache, 47.6 % fewer than the 2000000 that were planned"),
        (500000, 1.0972, "109.7 % more than the 500000"),
    ],
)
def test_a_plan_that_was_off(tokens: int, error: float, said: t.Optional[str]) -> None:
    result = measured.measure(vllm_metrics.cache_info(REAL), "0.32.0", plan(tokens))
    assert result["error"]["kv_cache_tokens"] == error
    assert (said in result["warning"]) if said else result["warning"] is None


@pytest.mark.parametrize(
    "version, warned",
    [("0.32.0", False), ("0.32.0+cpu", False), (None, False), ("0.33.0", True), ("0.33.0+cu129", True)],
)
def test_another_version_answers(version: t.Optional[str], warned: bool) -> None:
    warning = measured.measure(vllm_metrics.cache_info(REAL), version, plan())["warning"]
    assert (warning == "The engine that answers is version %s, the plan is for 0.32.0." % version) == warned
    assert bool(warning) == warned


def test_without_a_plan() -> None:
    result = measured.measure(vllm_metrics.cache_info(REAL), "0.32.0")
    assert (result["predicted"], result["error"], result["warning"], result["settings"]) == (None, None, None, {})
    assert result["kv_cache_bytes"] == 2**30  # what it was given: the CPU backend says so


def test_bytes_are_not_guessed_when_the_block_differs() -> None:
    other = plan()
    other["numbers"]["block_size"] = 16
    info = vllm_metrics.cache_info(REAL.replace('kv_cache_memory_bytes="1073741824"', 'kv_cache_memory_bytes="None"'))
    result = measured.measure(info, "0.32.0", other)
    assert result["kv_cache_bytes"] is None and result["error"]["kv_cache_bytes"] is None


def card(index: int, **more: t.Any) -> t.Dict[str, t.Any]:
    usual = {"index": index, "uuid": "GPU-%d" % index, "vendor": "nvidia", "name": "L4", "memory_total_bytes": 24}
    return {**usual, "compute_capability": "8.9", "memory_free_bytes": 5, "processes": [{"pid": 1}], **more}


@pytest.mark.parametrize(
    "devices, indices",
    [(["0"], [0]), (["1", "2"], [1, 2]), (["GPU-2"], [2]), (["MIG-7"], [1]), ([], [])],
)
def test_only_the_hardware_of_the_plan(devices: t.List[str], indices: t.List[int]) -> None:
    cards = [card(0), card(1, mig={"slices": [{"uuid": "MIG-7"}]}, name="H100"), card(2, name="L40S")]
    hardware = {"accelerators": cards, "driver_version": "580.1", "cpu": {"model": "EPYC", "cores": 8, "threads": 16}}
    identity = measured.measure(vllm_metrics.cache_info(REAL), None, plan(devices=devices), None, hardware)["hardware"]
    assert [found["name"] for found in identity["accelerators"]] == [["L4", "H100", "L40S"][index] for index in indices]
    assert identity["cpu"] == {"model": "EPYC", "cores": 8} and identity["driver_version"] == "580.1"
    assert "GPU-" not in str(identity) and "free" not in str(identity) and "pid" not in str(identity)


def test_identity_of_the_model() -> None:
    facts = {"architecture": "LlamaForCausalLM", "revision": "abc", "quantization": {"method": "awq"}, "layers": {}}
    identity = measured.measure(vllm_metrics.cache_info(REAL), None, None, facts)["model"]
    assert (identity["served_name"], identity["revision"], identity["quantization"]) == ("canary", "abc", "awq")
    assert "layers" not in identity


@pytest.mark.parametrize(
    "data", [None, [], {}, {"schema": "gpufleet.plan/2", "numbers": {}}, {"schema": "gpufleet.plan/1"}]
)
def test_no_plan(data: t.Any) -> None:
    with pytest.raises(GpufleetError, match="plan_file=x is not a plan of schema gpufleet.plan/1"):
        measured.check_plan(data, "plan_file=x")


GPU_INFO = vllm_metrics.cache_info(cache_line(num_gpu_blocks=1000, block_size=128))


@pytest.mark.parametrize(
    "info, changed, settings, overhead",
    [
        (GPU_INFO, {"variant": "cuda"}, {}, 700 * 2**20 - 300 * 2**20 - 1000 * 131072),
        (GPU_INFO, {"variant": "cpu"}, {}, None),  # nothing is left over there: the cache is what it was told to be
        (GPU_INFO, {"variant": "cuda"}, {"kv_cache_memory_bytes": 2**30}, None),
        (GPU_INFO, {"variant": "cuda"}, {"num_gpu_blocks_override": 1000}, None),
        (vllm_metrics.cache_info(REAL), {"variant": "cuda"}, {}, None),  # it says that it was told
        (vllm_metrics.cache_info(cache_line(block_size=32)), {"variant": "cuda"}, {}, None),  # blocks of unknown size
    ],
)
def test_what_was_taken_beside_weights_and_cache(
    info: vllm_metrics.CacheInfo, changed: t.Dict, settings: t.Dict, overhead: t.Optional[int]
) -> None:
    one = plan(configuration={"gpu": "L4"}, settings=settings, **changed)
    one["numbers"].update(requested_bytes=700 * 2**20, weights_bytes_per_gpu=300 * 2**20)
    result = measured.measure(info, "0.32.0", one)
    assert result["overhead_bytes"] == overhead
    assert (result["requested_bytes"], result["weights_bytes"]) == (700 * 2**20, 300 * 2**20)
    assert result["configuration"] == {"gpu": "L4"} and result["earlier"] == []


def test_a_plan_of_an_older_release() -> None:
    result = measured.measure(GPU_INFO, "0.32.0", plan(variant="cuda"))
    assert (result["configuration"], result["requested_bytes"], result["overhead_bytes"]) == (None, None, None)
