# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory terms against the figures of the logs they were derived from, and what changes with the generation."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import draft, generations, terms
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.facts import read_model
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.terms import Batch, Engine, Range
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.versions import parse_version
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.weights import Split, rank_bytes

GIB = 2**30

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
}  # fmt: skip
QWEN3_235B = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 4096, "head_dim": 128,
    "num_hidden_layers": 94, "num_attention_heads": 64, "num_key_value_heads": 4, "num_experts": 128,
    "num_experts_per_tok": 8, "moe_intermediate_size": 1536, "intermediate_size": 12288, "vocab_size": 151936,
    "max_position_embeddings": 262144, "torch_dtype": "bfloat16",
}  # fmt: skip
GPT_OSS = {
    "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880,
    "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
    "num_local_experts": 128, "num_experts_per_tok": 4, "vocab_size": 201088, "sliding_window": 128,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
    "layer_types": ["sliding_attention", "full_attention"] * 18,
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
    },
}  # fmt: skip
DEEPSEEK_V32 = {
    "architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32", "hidden_size": 7168,
    "intermediate_size": 18432, "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
    "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "n_shared_experts": 1,
    "first_k_dense_replace": 3, "vocab_size": 129280, "max_position_embeddings": 163840, "index_head_dim": 128,
    "index_n_heads": 64, "index_topk": 2048, "torch_dtype": "bfloat16",
}  # fmt: skip


def model(config):
    return read_model(facts_from_config(config))


def engine(version="0.33.0", tp=1, **changed):
    found = Engine(generations.of(parse_version(version, "cuda")), (9, 0), Split(tp), "bfloat16")
    return dataclasses.replace(found, **changed)


@pytest.mark.parametrize(("tokens", "measured"), [(20000, 2.07), (29000, 2.99)])
def test_a_step_of_a_dense_model(tokens, measured):
    # Llama 3.1 8B on an RTX 3090, peak less weights: github.com/vllm-project/vllm/issues/10517
    found = terms.forward_bytes(model(LLAMA), Batch(256, tokens), engine("0.6.4"))
    assert found.expected / GIB == pytest.approx(measured, abs=0.02)


@pytest.mark.parametrize(
    ("rows", "vocabulary", "measured"),
    [(128, 100352, 0.47), (160, 128256, 0.74), (160, 151936, 0.88), (192, 151936, 1.06), (256, 200064, 1.83)],
)
def test_a_sampler_that_sorts(rows, vocabulary, measured):
    found = terms.sampler_bytes(model(dict(LLAMA, vocab_size=vocabulary)), Batch(rows, 2048), engine("0.7.3"))
    assert found.expected / GIB == pytest.approx(measured, abs=0.03)


def test_what_profiling_the_float32_path_added():
    # L4, Qwen2.5-0.5B, 256 sequences: 1,733,440 tokens of 12288 bytes became 1,710,928 (vllm pull request 57926)
    qwen = model(dict(LLAMA, vocab_size=151936))
    before = terms.sampler_bytes(qwen, Batch(256, 2048), engine("0.32.0")).expected
    after = terms.sampler_bytes(qwen, Batch(256, 2048), engine("0.33.0")).expected
    assert after - before == pytest.approx((1733440 - 1710928) * 12288, rel=0.05)


def test_experts_grow_with_the_step():
    # 12.78 GiB with 65536 tokens, 4.08 with 8192, expert parallel over 4 GPUs
    split = Split(4, expert_parallel=True)
    sizes = [
        terms.forward_bytes(model(QWEN3_235B), Batch(128, tokens), engine("0.20.0", split=split)).expected
        for tokens in (8192, 65536)
    ]
    assert (sizes[1] - sizes[0]) / GIB == pytest.approx(12.78 - 4.08, rel=0.05)


def test_tensor_parallelism_divides_the_step_but_not_the_sampler():
    llama, batch = model(LLAMA), Batch(256, 8192)
    assert terms.forward_bytes(llama, batch, engine(tp=4)).expected < 0.6 * terms.forward_bytes(llama, batch, engine()).expected
    assert terms.sampler_bytes(llama, batch, engine(tp=4)) == terms.sampler_bytes(llama, batch, engine())


def test_mxfp4_experts_are_padded():
    # gpt-oss-120b on 4 x A100: 17.22 GiB per GPU
    assert rank_bytes(model(GPT_OSS), Split(4), "bfloat16")[0] / GIB == pytest.approx(17.22, abs=0.05)


def test_positions_are_kept_once():
    # Llama 3.1 8B loads as 14.9888 GiB, Llama 3 8B with 8192 positions as 14.9595
    long, short = model(LLAMA), model(dict(LLAMA, max_position_embeddings=8192))
    apart = terms.rope_cache_bytes(long, "bfloat16") - terms.rope_cache_bytes(short, "bfloat16")
    assert apart / GIB == pytest.approx(14.9888 - 14.9595, abs=0.0005)


def test_sparse_attention_keeps_room_for_the_context():
    deepseek, batch = model(DEEPSEEK_V32), Batch(16, 512)
    found = terms.sparse_workspace_bytes(deepseek, batch, 163840, engine(tp=8))
    assert 0 < found.expected <= 5 * 163840 * 576 * 2 == found.high // 2
    assert terms.sparse_workspace_bytes(model(LLAMA), batch, 163840, engine()) == terms.ZERO
    longer = terms.sparse_workspace_bytes(deepseek, batch, 1 << 20, engine(tp=8))
    assert longer.high == 2 * 2 * (1 << 20) * 576 * 2


def test_lora_slots():
    # Qwen3-4B with max_lora_rank 32 loads as 7.6334 GiB, 0.14 more than its weights
    config = dict(
        LLAMA, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, head_dim=128, tie_word_embeddings=True
    )
    found = terms.lora_bytes(model(config), engine(lora_rank=32, loras=1))
    assert found / GIB == pytest.approx(0.13, abs=0.02)
    assert terms.lora_bytes(model(config), engine()) == 0


def test_a_draft_layer_has_weights_and_cache():
    llama = model(LLAMA)
    drafted = draft.added(llama, {"speculative_config": {"method": "eagle", "num_speculative_tokens": 3}})
    assert drafted.layers == llama.layers + 1
    assert rank_bytes(drafted, Split(1), "bfloat16")[0] > rank_bytes(llama, Split(1), "bfloat16")[0]
    assert draft.added(llama, {"speculative_config": {"method": "ngram"}}) is llama
    assert draft.added(llama, {}) is llama
    assert draft.counted({"speculative_config": {"method": "qwen3_next_mtp"}})
    assert not draft.counted({"speculative_config": {"model": "some/draft"}})


def test_independent_terms_add_up_by_their_squares():
    found = terms.together(Range(70, 100, 130), Range(60, 100, 140))
    assert found == Range(150, 200, 250)


@pytest.mark.parametrize(
    ("version", "sampler", "inside", "share"),
    [
        ("0.7.3", "sorted", False, 0.9),
        ("0.8.5+v0", "sorted", False, 0.9),
        ("0.10.2", "float32 or sorted", False, 0.9),
        ("0.19.1", "float32", False, 0.9),
        ("0.21.0", "float32", True, 0.92),
        ("0.28.0", "16 bit", True, 0.92),
        ("0.33.0", "both", True, 0.92),
    ],
)
def test_generations(version, sampler, inside, share):
    found = generations.of(parse_version(version, "cuda"))
    assert (found.sampler, found.graphs_inside, found.utilization) == (sampler, inside, share)


def test_models_with_experts_got_the_new_runner_later():
    assert generations.of(parse_version("0.28.0", "cuda")).runner_v2
    assert not generations.of(parse_version("0.28.0", "cuda"), dense=False).runner_v2


@pytest.mark.parametrize(
    ("version", "gib", "context", "expected"),
    [
        ("0.33.0", 24, 8192, (256, 2048)),
        ("0.33.0", 80, 8192, (1024, 8192)),
        ("0.33.0", 192, 8192, (1024, 16384)),
        ("0.19.1", 192, 8192, (1024, 8192)),
        ("0.7.3", 24, 8192, (256, 8192)),
        ("0.7.3", 24, 131072, (256, 2048)),
        ("0.9.2+v0", 192, 131072, (256, 131072)),
    ],
)
def test_default_batches(version, gib, context, expected):
    found = generations.default_batch(parse_version(version, "cuda"), gib * GIB, "RTX", (8, 6), context)
    assert found == expected
