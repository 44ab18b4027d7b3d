# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blocks and groups of the kinds of attention that the vectors do not have. Worked out by hand from vLLM's rules."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import gpus, kv_cache, recurrent, vllm
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.facts import read_model
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.weights import Split
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

GIB = 1 << 30
LLAMA = read_model(hosts.model("Llama-3.1-8B"))
DELTA_NET = {
    "variant": "gdn",
    "conv_kernel": 4,
    "key_heads": 16,
    "value_heads": 32,
    "key_head_size": 128,
    "value_head_size": 128,
    "state_dtype": None,
}


def layered(*kinds, **changes):
    """Llama's layers (8 KV heads of 128: 4096 bytes per token and layer) with other kinds of attention."""
    return dataclasses.replace(LLAMA, layer_kinds=tuple(kinds), **changes)


def test_one_kind_is_one_group():
    layout = kv_cache.layout(LLAMA, Split(), "bfloat16")
    assert len(layout.groups) == 1
    assert layout.bytes_per_block == (32 * 16 * 4096,)
    assert layout.blocks_per_request(1000, 2048) == 63


def test_windows_in_the_ratio_five_to_one():
    """Gemma 3's pattern: 10 full and 50 sliding layers make 1 + 5 groups of 10."""
    model = layered(*(["sliding"] * 5 + ["full"]) * 10, sliding_window=1024)
    layout = kv_cache.layout(model, Split(), "bfloat16")
    assert sorted(len(group.pages) for group in layout.groups) == [10] * 6
    assert layout.bytes_per_block == (10 * 16 * 4096,)
    # full: 8192/16; sliding: (1023 + 2 * 2048) / 16 rounded up, and one more for a window that starts inside a block
    assert layout.blocks_per_request(8192, 2048) == 512 + 5 * (320 + 1)


def test_nearly_equal_kinds_share_the_larger_group():
    model = layered(*["full"] * 13 + ["sliding"] * 12, sliding_window=128)
    layout = kv_cache.layout(model, Split(), "bfloat16")
    assert [len(group.pages) for group in layout.groups] == [13, 12]
    assert layout.bytes_per_block == (13 * 16 * 4096,)


def test_without_the_hybrid_manager_windows_keep_everything():
    model = layered(*(["sliding"] * 5 + ["full"]) * 10, sliding_window=1024)
    layout = kv_cache.layout(model, Split(), "bfloat16", hybrid_manager=False)
    assert len(layout.groups) == 1
    assert layout.blocks_per_request(8192, 2048) == 512


def test_chunks_hold_no_extra_block():
    model = layered(*["chunked"] * 4, attention_chunk=8192)
    layout = kv_cache.layout(model, Split(), "bfloat16", inflight_batches=1)
    assert layout.blocks_per_request(100000, 2048) == (8192 + 2048) // 16


@pytest.mark.parametrize(
    ("kv_dtype", "per_token"),
    [("auto", 1152), ("fp8", 576), ("fp8_ds_mla", 656), ("nvfp4_ds_mla", 352)],
)
def test_mla_is_not_divided(kv_dtype, per_token):
    model = read_model(hosts.model("DeepSeek-V2-Lite"))
    for tp in (1, 2, 4):
        assert kv_cache.token_bytes(model, 0, tp, "bfloat16", kv_dtype) == per_token


def test_heads_are_repeated_beyond_their_number():
    sizes = [kv_cache.token_bytes(LLAMA, 0, tp, "bfloat16", "auto") for tp in (1, 2, 4, 8, 16, 32)]
    assert sizes == [4096, 2048, 1024, 512, 512, 512]


def test_fp8_halves_it():
    assert kv_cache.layout(LLAMA, Split(), "bfloat16", "fp8").token_bytes == 65536


def test_unknown_dtype_is_named():
    with pytest.raises(GpufleetError, match="kv_cache_dtype=int2"):
        kv_cache.layout(LLAMA, Split(), "bfloat16", "int2")


def test_shared_and_missing_layers_keep_nothing():
    model = layered(*["full"] * 8 + ["none"] * 2, kv_shared_layers=0)
    assert kv_cache.layout(model, Split(), "bfloat16").token_bytes == 8 * 4096
    model = layered(*["full"] * 10, kv_shared_layers=4)
    assert kv_cache.layout(model, Split(), "bfloat16").token_bytes == 6 * 4096


def test_layers_of_one_kind_with_other_heads_make_one_group_of_mixed_pages():
    model = layered(*["full"] * 4, per_layer={1: {"kv_heads": 4, "head_size": 128}})
    layout = kv_cache.layout(model, Split(), "bfloat16")
    assert len(layout.groups) == 1
    assert layout.bytes_per_block == (16 * (3 * 4096 + 2048),)


def test_smaller_pages_of_another_kind_get_longer_blocks():
    """Gemma 4's pattern: full layers with half the bytes per token hold 32 tokens where sliding ones hold 16."""
    own = {layer: {"kv_heads": 4, "head_size": 128} for layer in (3, 7)}
    model = layered(*(["sliding"] * 3 + ["full"]) * 2, sliding_window=1024, per_layer=own)
    layout = kv_cache.layout(model, Split(), "bfloat16")
    assert {(group.cache.kind, group.cache.block_size) for group in layout.groups} == {("sliding", 16), ("full", 32)}
    assert layout.bytes_per_block == (2 * 16 * 4096,)


def test_recurrent_layers_set_the_block_size():
    """Qwen3-Next's shapes: 36 delta-net and 12 full layers with 2 KV heads of 256 (2048 bytes per token)."""
    model = layered(*(["linear"] * 3 + ["full"]) * 12, linear=DELTA_NET, kv_heads=2, head_size=256, value_head_size=256)
    state = (2 * 16 * 128 + 32 * 128) * 3 * 2 + 32 * 128 * 128 * 2
    assert recurrent.state_bytes(DELTA_NET, 1, "bfloat16") == state
    layout = kv_cache.layout(model, Split(), "bfloat16")
    assert layout.block_size == 544
    assert len(layout.groups) == 4
    assert layout.bytes_per_block == (12 * 544 * 2048,)
    assert layout.blocks_per_request(5440, 2048) == 10 + 3 * 2
    assert kv_cache.layout(model, Split(), "bfloat16", prefix_caching=False).blocks_per_request(5440, 2048) == 10 + 3


MAMBA2 = {
    "variant": "mamba2", "conv_kernel": 4, "inner_size": 8192, "state_size": 128, "groups": 8, "value_heads": 128,
    "value_head_size": 64,
}  # fmt: skip


def test_mamba2_holds_a_third_state_with_prefix_caching():
    model = layered(*(["linear"] * 3 + ["full"]) * 4, linear=MAMBA2)
    layout = kv_cache.layout(model, Split(), "bfloat16")
    assert layout.blocks_per_request(5 * layout.block_size, 2048) == 5 + 3 * 3
    layout = kv_cache.layout(model, Split(), "bfloat16", prefix_caching=False)
    assert layout.blocks_per_request(5 * layout.block_size, 2048) == 5 + 3


def test_attention_and_state_in_one_layer_are_two_groups():
    model = layered(*["full"] * 4, linear=dict(MAMBA2, beside_attention=True))
    layout = kv_cache.layout(model, Split(), "bfloat16")
    assert sorted((group.cache.kind, list(group.pages)) for group in layout.groups) == [
        ("full", [0, 1, 2, 3]),
        ("linear", [0, 1, 2, 3]),
    ]
    assert layout.bytes_per_block == (4 * layout.block_size * 4096,)
    assert layout.block_size * 4096 >= recurrent.state_bytes(MAMBA2, 1, "bfloat16")


def test_without_attention_a_request_is_one_state():
    layout = kv_cache.layout(layered(*["linear"] * 4, linear=MAMBA2), Split(), "bfloat16")
    assert layout.bytes_per_block == (4 * recurrent.state_bytes(MAMBA2, 1, "bfloat16"),)
    assert layout.blocks_per_request(100000, 2048) == 1


@pytest.mark.parametrize(
    ("linear", "tp", "expected"),
    [
        (dict(DELTA_NET, state_dtype="float32"), 1, 8192 * 3 * 2 + 32 * 128 * 128 * 4),
        (DELTA_NET, 4, (8192 * 3 * 2 + 32 * 128 * 128 * 2) // 4),
        (dict(DELTA_NET, variant="kda"), 1, 8192 * 3 * 2 + 32 * 128 * 128 * 4),
        (
            {"variant": "mamba1", "conv_kernel": 4, "inner_size": 8192, "state_size": 16},
            2,
            4096 * 3 * 2 + 4096 * 16 * 2,
        ),
        (
            {"variant": "mamba2", "conv_kernel": 4, "inner_size": 8192, "state_size": 128, "groups": 8,
             "value_heads": 128, "value_head_size": 64},
            1,
            (8192 + 2 * 8 * 128) * 3 * 2 + 128 * 64 * 128 * 2,
        ),
        (
            {"variant": "mamba2", "conv_kernel": 4, "inner_size": 8192, "state_size": 128, "groups": 1,
             "value_heads": 128, "value_head_size": 64},
            4,
            (8192 + 2 * 4 * 128) // 4 * 3 * 2 + 32 * 64 * 128 * 2,
        ),
        ({"variant": "conv", "conv_kernel": 3, "inner_size": 2048}, 1, 2048 * 2 * 2),
    ],
)  # fmt: skip
def test_recurrent_states(linear, tp, expected):
    assert recurrent.state_bytes(linear, tp, "bfloat16") == expected


def test_pipeline_stages_share_the_groups():
    layout = kv_cache.layout(layered(*["full"] * 30), Split(1, 4), "bfloat16")
    assert layout.bytes_per_block == (7 * 65536, 8 * 65536, 8 * 65536, 7 * 65536)
    assert layout.num_blocks(8 * 65536 * 100) == 100


def test_a_request_and_the_spare_block_must_fit():
    layout = kv_cache.layout(LLAMA, Split(), "bfloat16")
    exact = layout.needed(8192, 2048)
    assert exact == (512 + 1) * 32 * 16 * 4096
    assert layout.fits(exact, 8192, 2048)
    assert not layout.fits(exact - 1, 8192, 2048)
    assert layout.largest_context(exact, 131072, 2048) == 8192


def test_more_context_never_raises_concurrency():
    for model in (LLAMA, layered(*(["sliding"] * 5 + ["full"]) * 10, sliding_window=1024)):
        layout = kv_cache.layout(model, Split(), "bfloat16")
        found = [layout.capacity(10 * GIB, context, 2048)[2] for context in range(1024, 65536, 1024)]
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("version", "gpu", "states", "multiple"),
    [("0.33.0", "H100", 3, 64), ("0.33.0", "L40S", 2, 16), ("0.32.0", "H100", 2, 16), ("0.33.0", "B200", 3, 64)],
)
def test_a_third_state_where_flashinfer_writes_one(version, gpu, states, multiple):
    config = {
        "architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next", "hidden_size": 2048,
        "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256,
        "vocab_size": 151936, "intermediate_size": 5120, "full_attention_interval": 4, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4, "max_position_embeddings": 262144, "torch_dtype": "bfloat16",
        "num_experts": 0, "tie_word_embeddings": True,
    }  # fmt: skip
    options = {"engine_version": version, "settings": {"max_model_len": 8192}}
    numbers = vllm.make_plan(gpus.hardware(gpu), facts_from_config(config), options)["numbers"]
    assert numbers["block_size"] % multiple == 0
    groups = 3  # of recurrent layers, as many as of attention each
    assert numbers["blocks_per_request"] == -(-8192 // numbers["block_size"]) + groups * states
