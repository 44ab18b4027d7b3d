# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Qwen: 2.5, QwQ, 3, 3 Next, 3.5, 3.6."""

from __future__ import annotations

import typing as t

from . import entry
from .entry import Config, Entry, Sister, decoder, with_vision
from .quantizations import FP8_BLOCKS, GPTQ, awq, fp8, gptq, nvfp4

_APACHE = "Apache-2.0"
_TALK = ("chat", "tools")
_CODE = ("chat", "code", "tools")
_THINK = ("chat", "code", "reasoning", "tools")
_SEE = ("chat", "tools", "vision")
_ALL = ("chat", "code", "reasoning", "tools", "vision")


def qwen25(
    hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], vocab: int, context: int = 32768, tied: bool = False
) -> Config:
    return decoder("Qwen2ForCausalLM", "qwen2", hidden, inner, layers, heads, vocab, context, tied)


QWEN25: t.Dict[str, t.Tuple[Config, int]] = {
    "0.5B": (qwen25(896, 4864, 24, (14, 2), 151936, tied=True), 494032768),
    "1.5B": (qwen25(1536, 8960, 28, (12, 2), 151936, tied=True), 1543714304),
    "3B": (qwen25(2048, 11008, 36, (16, 2), 151936, tied=True), 3085938688),
    "7B": (qwen25(3584, 18944, 28, (28, 4), 152064), 7615616512),
    "14B": (qwen25(5120, 13824, 48, (40, 8), 152064), 14770033664),
    "32B": (qwen25(5120, 27648, 64, (40, 8), 152064), 32763876352),
    "72B": (qwen25(8192, 29568, 80, (64, 8), 152064), 72706203648),
}


def _qwen25_entry(name: str, size: str, released: str, purposes: t.Tuple[str, ...]) -> Entry:
    repository = "Qwen/%s-%s-Instruct" % (name, size)
    config, parameters = QWEN25[size]
    # The 4-bit 72B is padded so that its groups divide over 8 GPUs.
    changes: t.Dict[str, t.Any] = {"intermediate_size": 29696} if size == "72B" else {}
    sisters = (awq(repository + "-AWQ", **changes), gptq(repository + "-GPTQ-Int4", **changes))
    licence = {"3B": "Qwen-Research", "72B": "Qwen"}.get(size, _APACHE)
    return Entry(repository, config, parameters, released, purposes, licence, entry.LITGPT, sisters=sisters)


def _qwen25_vision(
    size: str, out: int, inner: int, parameters: int, text: Config, licence: str, released: str
) -> Entry:
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": inner, "num_heads": 16, "out_hidden_size": out,
        "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    text = dict(text, model_type="qwen2_5_vl_text", max_position_embeddings=128000, tie_word_embeddings=out <= 2048)
    config = with_vision("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", text, vision)
    repository = "Qwen/Qwen2.5-VL-%s-Instruct" % size
    return Entry(repository, config, parameters, released, _SEE, licence, entry.TENSTORRENT)


def _qwen3(hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], tied: bool, context: int = 40960) -> Config:
    return decoder("Qwen3ForCausalLM", "qwen3", hidden, inner, layers, heads, 151936, context, tied, head_dim=128)


QWEN3: t.Dict[str, t.Tuple[Config, int]] = {
    "0.6B": (_qwen3(1024, 3072, 28, (16, 8), True), 596049920),
    "1.7B": (_qwen3(2048, 6144, 28, (16, 8), True), 1720574976),
    "4B": (_qwen3(2560, 9728, 36, (32, 8), True), 4022468096),
    "8B": (_qwen3(4096, 12288, 36, (32, 8), False), 8190735360),
    "14B": (_qwen3(5120, 17408, 40, (40, 8), False), 14768307200),
    "32B": (_qwen3(5120, 25600, 64, (64, 8), False), 32762123264),
}


def _qwen3_moe(
    hidden: int, inner: int, layers: int, heads: t.Tuple[int, int], experts: int, expert: int, context: int
) -> Config:
    return decoder(
        "Qwen3MoeForCausalLM", "qwen3_moe", hidden, inner, layers, heads, 151936, context,
        head_dim=128, num_experts=experts, num_experts_per_tok=8, moe_intermediate_size=expert, decoder_sparse_step=1,
        mlp_only_layers=[],
    )  # fmt: skip


_MOE_30B = _qwen3_moe(2048, 6144, 48, (32, 4), 128, 768, 40960)
_MOE_235B = _qwen3_moe(4096, 12288, 94, (64, 4), 128, 1536, 40960)
_MOE_480B = _qwen3_moe(6144, 8192, 62, (96, 8), 160, 2560, 262144)


def _longer(config: Config) -> Config:
    return dict(config, max_position_embeddings=262144)


def _qwen3_entry(
    name: str, config: Config, parameters: int, released: str, purposes: t.Tuple[str, ...], *sisters: Sister
) -> Entry:
    repository = "Qwen/" + name
    return Entry(
        repository, config, parameters, released, purposes, _APACHE, entry.LITGPT,
        sisters=(fp8(repository + "-FP8"),) + sisters,
    )  # fmt: skip


def _qwen3_vision(size: str, text: Config, parameters: int, depth: t.Tuple[int, int, int], released: str) -> Entry:
    blocks, width, inner = depth
    moe = "num_experts" in text
    text = dict(text, model_type="qwen3_vl%s_text" % ("_moe" if moe else ""), max_position_embeddings=262144)
    layers = [5, 11, 17] if blocks == 24 else [8, 16, 24]
    config = with_vision(
        "Qwen3VL%sForConditionalGeneration" % ("Moe" if moe else ""), "qwen3_vl%s" % ("_moe" if moe else ""), text,
        {
            "deepstack_visual_indexes": layers, "depth": blocks, "hidden_size": width, "in_channels": 3,
            "intermediate_size": inner, "num_heads": 16, "num_position_embeddings": 2304, "patch_size": 16,
            "out_hidden_size": text["hidden_size"], "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
    )  # fmt: skip
    repository = "Qwen/Qwen3-VL-%s-Instruct" % size
    return Entry(
        repository, config, parameters, released, _SEE, _APACHE, entry.AICONFIGURATOR,
        sisters=(fp8(repository + "-FP8", dict(FP8_BLOCKS, modules_to_not_convert=_VISION_KEPT)),),
    )  # fmt: skip


_VISION_KEPT = ["lm_head", "re:.*mlp\\.gate$", "re:.*visual.*"]


def _hybrid(
    hidden: int, layers: int, heads: t.Tuple[int, int], values: int, vocab: int, tied: bool, inner: int = 0, **moe: int
) -> Config:
    """Three linear-attention layers to each full one."""
    config = decoder(
        "", "", hidden, inner, layers, heads, vocab, 262144, tied, head_dim=256, full_attention_interval=4,
        linear_conv_kernel_dim=4, linear_key_head_dim=128, linear_value_head_dim=128, linear_num_key_heads=16,
        linear_num_value_heads=values, **moe,
    )  # fmt: skip
    if not inner:
        del config["intermediate_size"]
    return config


def _experts(count: int, used: int, size: int) -> t.Dict[str, int]:
    return {
        "num_experts": count,
        "num_experts_per_tok": used,
        "moe_intermediate_size": size,
        "shared_expert_intermediate_size": size,
    }


_NEXT = dict(
    _hybrid(2048, 48, (16, 2), 32, 151936, False, 5120, **_experts(512, 10, 512)),
    architectures=["Qwen3NextForCausalLM"],
    model_type="qwen3_next",
)


# The recurrent state's small projections, routers, the tower and the output head stay in 16 bit.
_FP8: Config = dict(
    FP8_BLOCKS,
    modules_to_not_convert=[
        "lm_head", "re:.*mlp\\.gate$", "re:.*shared_expert_gate.*", "re:.*visual.*", "re:.*in_proj_[ab].*"
    ],
)  # fmt: skip
# Only the experts are in 4 bits.
_GPTQ_EXPERTS: Config = dict(
    GPTQ, dynamic={"-:.*attn.*": {}, "-:.*shared_expert.*": {}, "-:.*mtp.*": {}, "-:.*visual.*": {}}
)  # fmt: skip
_NVFP4_KEPT = ("re:.*attn.*", "re:.*shared_expert.*", "re:.*visual.*", "re:.*mtp.*")
# Qwen 3.6: attention in 8 bits, all the rest in 4 (the output head too, which is counted in 16).
_NVFP4_MIXED: Config = {
    "quant_method": "modelopt",
    "quant_algo": "MIXED_PRECISION",
    "ignore": ["mtp*"],
    "quantized_layers": {
        "re:.*attn\\.(in_proj_qkvz?|in_proj_z|out_proj|[qkvo]_proj)$": {"quant_algo": "FP8"},
        "re:.*mlp\\..*(experts|_proj).*": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
    },
}


def _qwen35(
    name: str, text: Config, parameters: int, tower: t.Tuple[int, int, int], released: str, source: str, *stored: str
) -> Entry:
    """``stored``: how else Qwen and NVIDIA publish it."""
    blocks, width, inner = tower
    suffix = "_moe" if "num_experts" in text else ""
    extra = {"mamba_ssm_dtype": "float32", "attn_output_gate": True, "mtp_num_hidden_layers": 1}
    text = dict(text, model_type="qwen3_5%s_text" % suffix, **extra)
    config = with_vision(
        "Qwen3_5%sForConditionalGeneration" % ("Moe" if suffix else ""), "qwen3_5" + suffix, text,
        {
            "deepstack_visual_indexes": [], "depth": blocks, "hidden_size": width, "in_channels": 3,
            "intermediate_size": inner, "num_heads": 16 if width > 768 else 12, "num_position_embeddings": 2304,
            "patch_size": 16, "out_hidden_size": text["hidden_size"], "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        video_token_id=248057,
    )  # fmt: skip
    repository = "Qwen/" + name
    ways = {
        "fp8": fp8(repository + "-FP8", _FP8),
        "gptq": Sister("gptq", repository + "-GPTQ-Int4", _GPTQ_EXPERTS),
        "nvfp4": nvfp4("nvidia/%s-NVFP4" % name, *_NVFP4_KEPT),
        "mixed": Sister("nvfp4", "nvidia/%s-NVFP4" % name, _NVFP4_MIXED),
    }
    sisters = tuple(ways[way] for way in stored)
    return Entry(repository, config, parameters, released, _ALL, _APACHE, source, sisters=sisters)


_TOWER = (27, 1152, 4304)
_TOWER_SMALL = (24, 1024, 4096)
_DENSE_1B = _hybrid(1024, 24, (8, 2), 16, 248320, True, 3584)
_DENSE_2B = _hybrid(2048, 24, (8, 2), 16, 248320, True, 6144)
_DENSE_4B = _hybrid(2560, 32, (16, 4), 32, 248320, True, 9216)
_DENSE_9B = _hybrid(4096, 32, (16, 4), 32, 248320, False, 12288)
_DENSE_27B = _hybrid(5120, 64, (24, 4), 48, 248320, False, 17408)
_SPARSE_35B = _hybrid(2048, 40, (16, 2), 32, 248320, False, **_experts(256, 8, 512))
_SPARSE_122B = _hybrid(3072, 48, (32, 2), 64, 248320, False, **_experts(256, 8, 1024))
_SPARSE_397B = _hybrid(4096, 60, (32, 2), 64, 248320, False, **_experts(512, 10, 1024))
_WAYS = ("fp8", "gptq", "nvfp4")
_SIZE_30B, _SIZE_235B = 30532122624, 235093634560

ENTRIES: t.Tuple[Entry, ...] = (
    *(_qwen25_entry("Qwen2.5", size, "2024-09", _TALK) for size in QWEN25),
    *(_qwen25_entry("Qwen2.5-Coder", size, "2024-11", _CODE) for size in QWEN25 if size != "72B"),
    Entry(
        "Qwen/QwQ-32B",
        dict(QWEN25["32B"][0], max_position_embeddings=40960),
        32763876352,
        "2025-03",
        ("code", "reasoning", "tools"),
        _APACHE,
        entry.LITGPT,
        sisters=(awq("Qwen/QwQ-32B-AWQ"),),
    ),
    _qwen25_vision("3B", 2048, 3420, 3754622976, dict(QWEN25["3B"][0]), "Qwen-Research", "2025-01"),
    _qwen25_vision("7B", 3584, 3420, 8292166656, dict(QWEN25["7B"][0]), _APACHE, "2025-01"),
    _qwen25_vision("32B", 5120, 3456, 33452718336, dict(QWEN25["32B"][0]), _APACHE, "2025-03"),
    _qwen25_vision("72B", 8192, 3456, 73410777344, dict(QWEN25["72B"][0]), "Qwen", "2025-01"),
    _qwen3_entry("Qwen3-0.6B", *QWEN3["0.6B"], "2025-04", _THINK),
    _qwen3_entry("Qwen3-1.7B", *QWEN3["1.7B"], "2025-04", _THINK),
    _qwen3_entry("Qwen3-4B", *QWEN3["4B"], "2025-04", _THINK, awq("Qwen/Qwen3-4B-AWQ")),
    _qwen3_entry("Qwen3-8B", *QWEN3["8B"], "2025-04", _THINK, awq("Qwen/Qwen3-8B-AWQ")),
    _qwen3_entry("Qwen3-14B", *QWEN3["14B"], "2025-04", _THINK, awq("Qwen/Qwen3-14B-AWQ")),
    _qwen3_entry("Qwen3-32B", *QWEN3["32B"], "2025-04", _THINK, awq("Qwen/Qwen3-32B-AWQ")),
    _qwen3_entry("Qwen3-30B-A3B", _MOE_30B, _SIZE_30B, "2025-04", _THINK, gptq("Qwen/Qwen3-30B-A3B-GPTQ-Int4")),
    _qwen3_entry("Qwen3-235B-A22B", _MOE_235B, _SIZE_235B, "2025-04", _THINK, gptq("Qwen/Qwen3-235B-A22B-GPTQ-Int4")),
    _qwen3_entry("Qwen3-4B-Instruct-2507", _longer(QWEN3["4B"][0]), 4022468096, "2025-08", _TALK),
    _qwen3_entry("Qwen3-4B-Thinking-2507", _longer(QWEN3["4B"][0]), 4022468096, "2025-08", _THINK),
    _qwen3_entry("Qwen3-30B-A3B-Instruct-2507", _longer(_MOE_30B), _SIZE_30B, "2025-07", _TALK),
    _qwen3_entry("Qwen3-30B-A3B-Thinking-2507", _longer(_MOE_30B), _SIZE_30B, "2025-07", _THINK),
    _qwen3_entry("Qwen3-235B-A22B-Instruct-2507", _longer(_MOE_235B), _SIZE_235B, "2025-07", _TALK),
    _qwen3_entry("Qwen3-235B-A22B-Thinking-2507", _longer(_MOE_235B), _SIZE_235B, "2025-07", _THINK),
    _qwen3_entry("Qwen3-Coder-30B-A3B-Instruct", _longer(_MOE_30B), _SIZE_30B, "2025-07", _CODE),
    _qwen3_entry("Qwen3-Coder-480B-A35B-Instruct", _MOE_480B, 480154875392, "2025-07", _CODE),
    _qwen3_entry("Qwen3-Next-80B-A3B-Instruct", _NEXT, 79674391296, "2025-09", _TALK),
    _qwen3_entry("Qwen3-Next-80B-A3B-Thinking", _NEXT, 79674391296, "2025-09", _THINK),
    _qwen3_entry("Qwen3-Coder-Next", _NEXT, 79674391296, "2026-02", _CODE),
    _qwen3_vision("2B", QWEN3["1.7B"][0], 2127532032, _TOWER_SMALL, "2025-10"),
    _qwen3_vision("4B", QWEN3["4B"][0], 4437815808, _TOWER_SMALL, "2025-10"),
    _qwen3_vision("8B", QWEN3["8B"][0], 8767123696, _TOWER, "2025-10"),
    _qwen3_vision("30B-A3B", _MOE_30B, 31070754032, _TOWER, "2025-09"),
    _qwen3_vision("32B", QWEN3["32B"][0], 33357390064, _TOWER, "2025-10"),
    _qwen3_vision("235B-A22B", _MOE_235B, 235670022896, _TOWER, "2025-09"),
    _qwen35("Qwen3.5-0.8B", _DENSE_1B, 873438784, (12, 768, 3072), "2026-02", entry.SLIME),
    _qwen35("Qwen3.5-2B", _DENSE_2B, 2274069824, _TOWER_SMALL, "2026-02", entry.KAITO),
    _qwen35("Qwen3.5-4B", _DENSE_4B, 4659865088, _TOWER_SMALL, "2026-02", entry.SLIME),
    _qwen35("Qwen3.5-9B", _DENSE_9B, 9653104368, _TOWER, "2026-02", entry.TENSTORRENT),
    _qwen35("Qwen3.5-27B", _DENSE_27B, 27781427952, _TOWER, "2026-02", entry.AICONFIGURATOR, "fp8"),
    _qwen35("Qwen3.5-35B-A3B", _SPARSE_35B, 35951822704, _TOWER, "2026-02", entry.AICONFIGURATOR, "fp8", "gptq"),
    _qwen35("Qwen3.5-122B-A10B", _SPARSE_122B, 125086497008, _TOWER, "2026-02", entry.AICONFIGURATOR, *_WAYS),
    _qwen35("Qwen3.5-397B-A17B", _SPARSE_397B, 403397928944, _TOWER, "2026-02", entry.AICONFIGURATOR, *_WAYS),
    _qwen35("Qwen3.6-27B", _DENSE_27B, 27781427952, _TOWER, "2026-04", entry.AICONFIGURATOR, "fp8", "mixed"),
    _qwen35("Qwen3.6-35B-A3B", _SPARSE_35B, 35951822704, _TOWER, "2026-04", entry.AICONFIGURATOR, "fp8", "mixed"),
)
