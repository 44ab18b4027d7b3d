# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chinese families beside Qwen and DeepSeek: GLM and ChatGLM, Baichuan, Yi, MiniMax."""

from __future__ import annotations

import typing as t

from . import entry
from .entry import Config, Entry, decoder
from .quantizations import FP8_BLOCKS, fp8
from .qwen import QWEN25

_APACHE = "Apache-2.0"
_MIT = "MIT"
_CHAT = ("chat",)
_BOTH = ("chat", "code", "reasoning", "tools")


def _chatglm(layers: int, vocab: int, context: int, dtype: str) -> Config:
    """With the names of GLM's own code."""
    return {
        "architectures": ["ChatGLMModel"], "model_type": "chatglm", "torch_dtype": dtype, "hidden_size": 4096,
        "ffn_hidden_size": 13696, "num_layers": layers, "num_attention_heads": 32, "multi_query_attention": True,
        "multi_query_group_num": 2, "kv_channels": 128, "padded_vocab_size": vocab, "seq_length": context,
        "add_qkv_bias": True, "add_bias_linear": False, "tie_word_embeddings": False,
    }  # fmt: skip


def _glm4(hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], biases: bool) -> Config:
    return decoder(
        "Glm4ForCausalLM", "glm4", hidden, inner, layers, heads, 151552, 32768,
        head_dim=128, attention_bias=biases,
    )  # fmt: skip


def _glm45(
    sizes: t.Tuple[int, int, int], layers: int, dense: int, experts: int, qk_norm: bool, context: int = 131072
) -> Config:
    """``sizes``: hidden, dense MLP, expert MLP."""
    return decoder(
        "Glm4MoeForCausalLM", "glm4_moe", sizes[0], sizes[1], layers, (96, 8), 151552, context,
        head_dim=128, attention_bias=True, moe_intermediate_size=sizes[2], n_routed_experts=experts,
        num_experts_per_tok=8, n_shared_experts=1, first_k_dense_replace=dense, use_qk_norm=qk_norm,
        num_nextn_predict_layers=1,
    )  # fmt: skip


def _sparse(context: int, **more: t.Any) -> Config:
    """GLM 5: latent attention that looks at chosen tokens."""
    return decoder(
        "GlmMoeDsaForCausalLM", "glm_moe_dsa", 6144, 12288, 78, (64, 64), 154880, context,
        moe_intermediate_size=2048, n_routed_experts=256, num_experts_per_tok=8, n_shared_experts=1,
        first_k_dense_replace=3, moe_layer_freq=1, q_lora_rank=2048, kv_lora_rank=512, qk_nope_head_dim=192,
        qk_rope_head_dim=64, v_head_dim=256, index_head_dim=128, index_n_heads=32, index_topk=2048,
        topk_method="noaux_tc", num_nextn_predict_layers=1, **more,
    )  # fmt: skip


# Every fourth layer chooses the tokens, the three after it look at the same ones.
_CHOOSING = ["full", "full"] + ["full", "shared", "shared", "shared"] * 19
_FLASH = decoder(
    "Glm4MoeLiteForCausalLM", "glm4_moe_lite", 2048, 10240, 47, (20, 20), 154880, 202752,
    moe_intermediate_size=1536, n_routed_experts=64, num_experts_per_tok=4, n_shared_experts=1, first_k_dense_replace=1,
    q_lora_rank=768, kv_lora_rank=512, qk_nope_head_dim=192, qk_rope_head_dim=64, v_head_dim=256,
    topk_method="noaux_tc", num_nextn_predict_layers=1,
)  # fmt: skip
_GLM45 = _glm45((5120, 12288, 1536), 92, 3, 160, True)


def _glm(name: str, config: Config, parameters: int, released: str, source: str, fp8_too: bool = True) -> Entry:
    repository = "zai-org/" + name
    sisters = (fp8(repository + "-FP8", FP8_BLOCKS),) if fp8_too else ()
    return Entry(repository, config, parameters, released, _BOTH, _MIT, source, sisters=sisters)


def _yi(name: str, hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], parameters: int) -> Entry:
    config = decoder("LlamaForCausalLM", "llama", hidden, inner, layers, heads, 64000, 4096)
    released = "2024-05" if "1.5" in name else "2023-11"
    return Entry("01-ai/" + name, config, parameters, released, _CHAT, _APACHE, entry.HUB)


def _baichuan2(size: str, hidden: int, inner: int, layers: int, heads: int, parameters: int) -> Entry:
    config = decoder("BaichuanForCausalLM", "baichuan", hidden, inner, layers, (heads, heads), 125696, 4096)
    source = entry.MLC if size == "7B" else entry.HUB
    return Entry(
        "baichuan-inc/Baichuan2-%s-Chat" % size, config, parameters, "2023-09", _CHAT, "Baichuan-2", source,
        dropped="0.23.0",
    )  # fmt: skip


def _minimax(name: str, released: str, context: int) -> Entry:
    config = decoder(
        "MiniMaxM2ForCausalLM", "minimax_m2", 3072, 1536, 62, (48, 8), 200064, context,
        head_dim=128, num_local_experts=256, num_experts_per_tok=8, shared_intermediate_size=0, use_qk_norm=True,
        use_routing_bias=True, quantization_config=dict(FP8_BLOCKS, modules_to_not_convert=["gate", "lm_head"]),
    )  # fmt: skip
    return Entry(
        "MiniMaxAI/" + name, config, 228703644928, released, ("code", "reasoning", "tools"), "MiniMax",
        entry.AICONFIGURATOR, kind="fp8",
    )  # fmt: skip


ENTRIES: t.Tuple[Entry, ...] = (
    Entry(
        "zai-org/chatglm3-6b",
        _chatglm(28, 65024, 8192, "float16"),
        6243584000,
        "2023-10",
        ("chat", "tools"),
        "ChatGLM3",
        entry.MLC,
    ),
    Entry(
        "zai-org/glm-4-9b-chat",
        _chatglm(40, 151552, 131072, "bfloat16"),
        9399951392,
        "2024-06",
        ("chat", "tools"),
        "GLM-4",
        entry.TRANSFORMERS,
    ),
    Entry(
        "zai-org/GLM-4-9B-0414",
        _glm4(4096, 13696, 40, (32, 2), True),
        9400279040,
        "2025-04",
        ("chat", "tools"),
        _MIT,
        entry.SLIME,
    ),
    Entry(
        "zai-org/GLM-4-32B-0414",
        _glm4(6144, 23040, 61, (48, 2), False),
        32566081536,
        "2025-04",
        ("chat", "code", "tools"),
        _MIT,
        entry.HUB,
    ),
    _glm("GLM-4.5-Air", _glm45((4096, 10944, 1408), 46, 1, 128, False), 110468824832, "2025-07", entry.TRANSFORMERS),
    _glm("GLM-4.5", _GLM45, 358337791296, "2025-07", entry.SLIME),
    _glm("GLM-4.6", dict(_GLM45, max_position_embeddings=202752), 356785898816, "2025-09", entry.SLIME),
    _glm("GLM-4.7", dict(_GLM45, max_position_embeddings=202752), 358337791296, "2025-12", entry.SLIME),
    _glm("GLM-4.7-Flash", _FLASH, 31221488576, "2026-01", entry.TRANSFORMERS, False),
    _glm("GLM-5", _sparse(202752), 753864139008, "2026-02", entry.AICONFIGURATOR),
    _glm("GLM-5.1", _sparse(202752), 753864139008, "2026-04", entry.AICONFIGURATOR),
    _glm("GLM-5.2", _sparse(1048576, indexer_types=_CHOOSING), 753000000000, "2026-06", entry.AICONFIGURATOR),
    _baichuan2("7B", 4096, 11008, 32, 32, 7505973248),
    _baichuan2("13B", 5120, 13696, 40, 40, 13896668160),
    Entry(
        "baichuan-inc/Baichuan-M2-32B",
        dict(QWEN25["32B"][0], max_position_embeddings=131072),
        32763876352,
        "2025-08",
        ("chat", "reasoning"),
        _APACHE,
        entry.HUB,
        base="2024-09",
    ),
    _yi("Yi-6B-Chat", 4096, 11008, 32, (32, 4), 6061035520),
    _yi("Yi-34B-Chat", 7168, 20480, 60, (56, 8), 34388917248),
    _yi("Yi-1.5-6B-Chat", 4096, 11008, 32, (32, 4), 6061035520),
    _yi("Yi-1.5-9B-Chat", 4096, 11008, 48, (32, 4), 8829407232),
    _yi("Yi-1.5-34B-Chat", 7168, 20480, 60, (56, 8), 34388917248),
    _minimax("MiniMax-M2.5", "2026-02", 196608),
    _minimax("MiniMax-M2.7", "2026-04", 204800),
)
