# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Option names by version, their values, and the command line they become."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import option_table, versions
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.arguments import render


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, []),
        ({"tensor_parallel_size": 2, "enforce_eager": True}, ["--enforce-eager", "--tensor-parallel-size", "2"]),
        ({"enable-prefix-caching": False}, ["--no-enable-prefix-caching"]),
        ({"enable_prefix_caching": "yes"}, ["--enable-prefix-caching"]),
        ({"headless": True, "disable_log_stats": False}, ["--headless"]),
        ({"--max-model-len": "32K"}, ["--max-model-len", "32768"]),
        ({"max_num_batched_tokens": "25.6k"}, ["--max-num-batched-tokens", "25600"]),
        ({"gpu_memory_utilization": 0.9}, ["--gpu-memory-utilization", "0.9"]),
        ({"device_memory_utilization": "0.9"}, ["--gpu-memory-utilization", "0.9"]),
        ({"speculative_config": {"num": 3, "method": "ngram"}}, ["--speculative-config", '{"method":"ngram","num":3}']),
        ({"compilation_config": '{"mode":0}'}, ["--compilation-config", '{"mode":0}']),
        ({"served_model_name": ["a", "b"]}, ["--served-model-name", "a", "b"]),
        ({"served_model_name": "a"}, ["--served-model-name", "a"]),
        ({"device_ids": [0, "GPU-1"]}, ["--device-ids", "0,GPU-1"]),
        ({"middleware": ["x.y", "z"]}, ["--middleware", "x.y", "--middleware", "z"]),
        ({"allowed_origins": ["https://a"]}, ["--allowed-origins", '["https://a"]']),
        ({"lora_modules": [{"name": "l", "path": "/p"}]}, ["--lora-modules", '{"name":"l","path":"/p"}']),
        (
            {"disable_access_log_for_endpoints": "/health,/ping"},
            ["--disable-access-log-for-endpoints", "/health,/ping"],
        ),
    ],
)
def test_words(settings, words):
    assert render(settings) == words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_model_len": None}, "max_model_len is empty"),
        ({"served_model_name": ""}, "served_model_name is empty"),
        ({"served_model_name": ["a", ""]}, "without empty items"),
        ({"max_num_seqs": "many"}, "max_num_seqs=many: give a whole number"),
        ({"max_num_seqs": "1k"}, "max_num_seqs=1k: give a whole number"),
        ({"max_num_seqs": True}, "max_num_seqs=True: give a number"),
        ({"enforce_eager": 1}, "enforce_eager=1: give true or false"),
        ({"max_model_len": "auto"}, "context: auto"),
        ({"kv_cache_memory_bytes": "20GiB"}, "not a number"),
        ({"dtype": {"a": 1}}, "give text"),
        ({"tensor_paralel_size": 2}, "Did you mean tensor_parallel_size"),
        ({"frobnicate": 2}, "vllm serve --help=all"),
        ({"no_enable_prefix_caching": True}, "write enable_prefix_caching: false"),
        ({"tp": 2, "tensor_parallel_size": 2}, "twice"),
        ({"api_key": "k"}, "secret"),
        ({"monokernel": True}, "from vLLM 0.33 on; engine_version is 0.32.0"),
        ("tensor_parallel_size=2", "wants a dictionary"),
    ],
)
def test_errors(settings, message):
    with pytest.raises(GpufleetError, match=message):
        render(settings, "0.32.0")


@pytest.mark.parametrize("name", sorted(option_table.REMOVED))
@pytest.mark.parametrize("version", ["0.32.0", "0.33.0"])
def test_no_removed_option_is_ever_rendered(name, version):
    assert name not in option_table.KINDS
    for spelling in (name, name.replace("_", "-"), "--" + name.replace("_", "-")):
        with pytest.raises(GpufleetError, match="was removed from vLLM; set "):
            render({spelling: 1}, version)


def test_a_key_never_shows_in_its_message():
    with pytest.raises(GpufleetError) as caught:
        render({"api_key": "sk-secret"})
    assert "sk-secret" not in str(caught.value)


def test_counts_are_those_of_the_releases():
    """vllm 0.32 has 316 options, 0.33 has 4 more; the positional model is one of them in both."""
    assert len(option_table.KINDS) == 320
    assert len(option_table.SINCE) == 4
    assert set(option_table.SINCE) <= set(option_table.KINDS)
    assert set(option_table.ALIASES.values()) <= set(option_table.KINDS)


@pytest.mark.parametrize(
    ("text", "variant", "expected", "driver"),
    [
        (None, "cuda", "0.33.0", 580),
        ("auto", "cpu", "0.32.0", 580),
        ("0.32", "cuda", "0.32.0", 580),
        ("v0.33.1", "cuda", "0.33.1", 580),
        ("0.33.0rc1", "cuda", "0.33.0rc1", 580),
        ("0.33.0+cu129", "cuda", "0.33.0+cu129", 525),
        ("0.33.0+cu130", "cuda", "0.33.0+cu130", 580),
    ],
)
def test_versions(text, variant, expected, driver):
    found = versions.parse_version(text, variant)
    assert (found.text, found.minimum_driver) == (expected, driver)


@pytest.mark.parametrize("text", ["0.1.4", "0.34", "1.0", "latest"])
def test_other_versions_are_refused_with_the_supported_ones(text):
    with pytest.raises(GpufleetError, match=r"0\.32\.x and 0\.33\.x"):
        versions.parse_version(text, "cuda")
