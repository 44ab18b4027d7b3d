# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the model families differ from a plain Llama: biases, norms, gates, window patterns, defaults of absent keys."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Everything a config.json does not say because the model's code says it.

    A bias given as True or False is fixed by the code; None means that the config's keys decide.
    """

    qkv_bias: t.Optional[bool] = None
    o_bias: t.Optional[bool] = None
    mlp_bias: t.Optional[bool] = None
    bias_keys: t.Tuple[str, ...] = ("attention_bias", "bias")
    bias_default: bool = False
    gated: bool = True  # gate, up and down; False: up and down only
    norms: int = 2  # norms of the hidden size per layer
    norm_bias: bool = False
    qk_norm: str = ""  # "head": one weight vector per head size, "head?": where the config's use_qk_norm says so;
    # "full": over all heads, split with them
    tied: bool = False  # when tie_word_embeddings is absent
    positions: bool = False  # learned position embeddings
    lm_head_bias: bool = False
    router_bias: t.Optional[bool] = None  # a float32 correction per expert; None: by topk_method
    router_dtype: t.Optional[str] = None  # vLLM keeps the router in this type
    expert_bias: bool = False  # router and experts have biases of the model's own type
    sinks: bool = False
    attention_gate: bool = False  # q is projected twice: query and gate
    expert_size_key: str = "moe_intermediate_size"
    expert_norms: int = 0  # further norms on layers with experts
    window: str = "all"  # which layers slide when layer_types is absent: see layer_kinds.py
    window_pattern: int = 0
    layer_scalars: int = 0  # single numbers per layer
    feed_forward: bool = True  # False: a layer is its mixer alone
    encoder: bool = False  # no keys and values are kept between steps
    known: bool = True


FAMILIES: t.Dict[str, Family] = {
    "llama": Family(),
    "mistral": Family(qkv_bias=False, o_bias=False, mlp_bias=False),
    "phi3": Family(qkv_bias=False, o_bias=False, mlp_bias=False),
    "qwen2": Family(qkv_bias=True, o_bias=False, mlp_bias=False, window="qwen"),
    "qwen3": Family(o_bias=False, mlp_bias=False, qk_norm="head", window="qwen"),
    "gemma": Family(o_bias=None, tied=True),
    "gemma2": Family(norms=4, tied=True, window="alternate"),
    "gemma3": Family(norms=4, qk_norm="head", tied=True, window="pattern", window_pattern=6),
    "gemma3n": Family(norms=4, qk_norm="head", tied=True, window="pattern", window_pattern=5),
    "gemma4": Family(
        norms=4, qk_norm="head", tied=True, window="pattern", window_pattern=6, expert_norms=3, layer_scalars=1
    ),
    "glm": Family(o_bias=False, mlp_bias=False, bias_default=True),
    "glm4": Family(o_bias=False, mlp_bias=False, norms=4),
    "glm4_moe": Family(qk_norm="head?", o_bias=False, mlp_bias=False, router_bias=True, router_dtype="float32"),
    "olmo": Family(norms=0),
    "olmo2": Family(qk_norm="full"),
    "olmo3": Family(qk_norm="full", window="pattern", window_pattern=4),
    "olmoe": Family(qk_norm="full", expert_size_key="intermediate_size"),
    "granite": Family(),
    "granitemoe": Family(expert_size_key="intermediate_size"),
    "granitemoehybrid": Family(expert_size_key="intermediate_size"),
    "cohere": Family(norms=1, tied=True),
    "cohere2": Family(norms=1, tied=True, window="pattern", window_pattern=4),
    "starcoder2": Family(bias_keys=("use_bias",), bias_default=True, gated=False, norm_bias=True, tied=True),
    "gpt_neox": Family(mlp_bias=True, bias_default=True, gated=False, norm_bias=True),
    "gpt2": Family(qkv_bias=True, o_bias=True, mlp_bias=True, gated=False, norm_bias=True, tied=True, positions=True),
    "phi": Family(qkv_bias=True, o_bias=True, mlp_bias=True, gated=False, norms=1, norm_bias=True, lm_head_bias=True),
    "falcon": Family(mlp_bias=None, gated=False, norms=1, norm_bias=True, tied=True),
    "opt": Family(qkv_bias=True, o_bias=True, mlp_bias=True, gated=False, norm_bias=True, tied=True, positions=True),
    "stablelm": Family(o_bias=False, mlp_bias=False, bias_keys=("use_qkv_bias",), norm_bias=True),
    "nemotron": Family(gated=False, norm_bias=True),
    "arcee": Family(gated=False),
    "apertus": Family(gated=False, qk_norm="head", layer_scalars=4),
    "seed_oss": Family(o_bias=False, mlp_bias=False, bias_default=True),
    "hunyuan": Family(qk_norm="head"),
    "ernie4_5": Family(bias_keys=("use_bias",), tied=True, router_bias=True, router_dtype="float32"),
    "mixtral": Family(qkv_bias=False, o_bias=False, expert_size_key="intermediate_size"),
    "phimoe": Family(norm_bias=True, lm_head_bias=True, expert_size_key="intermediate_size"),
    "qwen2_moe": Family(qkv_bias=True, o_bias=False, mlp_bias=False, window="qwen"),
    "qwen3_moe": Family(o_bias=False, mlp_bias=False, qk_norm="head", window="qwen"),
    "qwen3_next": Family(o_bias=False, mlp_bias=False, bias_keys=("qkv_bias",), qk_norm="head", attention_gate=True),
    "deepseek": Family(o_bias=False, mlp_bias=False),
    "kimi_linear": Family(o_bias=False, mlp_bias=False, router_bias=True),
    "gpt_oss": Family(
        qkv_bias=True,
        o_bias=True,
        expert_bias=True,
        sinks=True,
        expert_size_key="intermediate_size",
        window="alternate",
    ),
    "llama4": Family(expert_size_key="intermediate_size"),
    "minimax_m2": Family(
        qkv_bias=False,
        o_bias=False,
        qk_norm="full",
        expert_size_key="intermediate_size",
        router_dtype="float32",
    ),
    "jamba": Family(qkv_bias=False, o_bias=False, mlp_bias=False, expert_size_key="intermediate_size"),
    "falcon_h1": Family(),
    "minicpm3": Family(),
    "mamba": Family(tied=True, feed_forward=False),
    "mamba2": Family(feed_forward=False),
    "nemotron_h": Family(gated=False, norms=1, router_bias=True, router_dtype="float32"),
    "exaone4": Family(qk_norm="head", window="pattern", window_pattern=4),
    "lfm2": Family(qkv_bias=False, o_bias=False, mlp_bias=False, qk_norm="head", tied=True),
    "smollm3": Family(tied=True),
}

# Model types that share a family's code or shapes. "_text" is cut off before the look-up.
ALIASES: t.Dict[str, str] = {
    "ministral": "mistral",
    "ministral3": "mistral",
    "mistral3": "mistral",
    "pixtral": "mistral",
    "llava": "llama",
    "mllama": "llama",
    "internlm3": "llama",
    "exaone": "llama",
    "deci": "llama",
    "nemotron-nas": "llama",
    "granite_swa": "granite",
    "yi": "llama",
    "aquila": "llama",
    "baichuan": "llama",
    "minicpm": "llama",
    "falcon_mamba": "mamba",
    "solar": "llama",
    "telechat3": "llama",
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_audio": "qwen2",
    "qwen2_5_omni": "qwen2",
    "qwen2_5_omni_thinker": "qwen2",
    "mimo": "qwen2",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
    "qwen3_omni_moe": "qwen3_moe",
    "qwen3_5": "qwen3_next",
    "qwen3_5_moe": "qwen3_next",
    "chatglm": "glm",
    "glm4v": "glm4",
    "glm4v_moe": "glm4_moe",
    "granitemoeshared": "granitemoe",
    "hunyuan_v1_dense": "hunyuan",
    "hunyuan_v1_moe": "hunyuan",
    "ernie4_5_moe": "ernie4_5",
    "flex_olmo": "olmoe",
    "deepseek_v2": "deepseek",
    "deepseek_v3": "deepseek",
    "deepseek_v32": "deepseek",
    "kimi_k2": "deepseek",
    "glm_moe_dsa": "deepseek",
    "glm4_moe_lite": "deepseek",
    "gemma4_unified": "gemma4",
    "diffusion_gemma": "gemma4",
    "lfm2_moe": "lfm2",
}

_ENCODER = Family(
    qkv_bias=True, o_bias=True, mlp_bias=True, gated=False, norm_bias=True, tied=True, positions=True, encoder=True
)
FAMILIES.update({name: _ENCODER for name in ("bert", "roberta", "xlm-roberta", "camembert")})
# Rotary positions and a gated MLP in the same frame.
FAMILIES["nomic_bert"] = Family(
    qkv_bias=False, o_bias=False, mlp_bias=False, norm_bias=True, tied=True, encoder=True
)

GENERIC = Family(known=False)


def family_name(*model_types: t.Optional[str]) -> str:
    """The family of the first model type that is known; an empty string when none is."""
    for model_type in model_types:
        name = str(model_type or "").lower()
        if name.endswith("_text"):
            name = name[: -len("_text")]
        name = ALIASES.get(name, name)
        if name in FAMILIES:
            return name
    return ""


def family(name: str) -> Family:
    return FAMILIES.get(name, GENERIC)
