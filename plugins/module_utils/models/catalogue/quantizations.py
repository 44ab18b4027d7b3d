# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The quantization_config of the usual quantized checkpoints, and their names."""

from __future__ import annotations

import typing as t

from .entry import Config, Sister

# kind -> what it is, from most to fewest bits.
QUANTIZATIONS: t.Dict[str, str] = {
    "bf16": "16 bit as published",
    "fp8": "8-bit floats",
    "int8": "8-bit integers",
    "mxfp4": "4-bit floats in blocks of 32",
    "nvfp4": "4-bit floats in blocks of 16, NVIDIA's ModelOpt",
    "awq": "4-bit integers, AWQ",
    "gptq": "4-bit integers, GPTQ",
    "int4": "4-bit integers, packed by compressed-tensors",
}

AWQ: Config = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
GPTQ: Config = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
GPTQ_INT8: Config = {"quant_method": "gptq", "bits": 8, "group_size": 128, "desc_act": False, "sym": True}
FP8_BLOCKS: Config = {
    "quant_method": "fp8",
    "fmt": "e4m3",
    "activation_scheme": "dynamic",
    "weight_block_size": [128, 128],
    "modules_to_not_convert": ["lm_head", "re:.*mlp\\.gate$"],
}
# One scale per matrix, as Mistral publishes its own models.
FP8_STATIC: Config = {
    "quant_method": "fp8",
    "activation_scheme": "static",
    "weight_block_size": None,
    "modules_to_not_convert": ["model.vision_tower", "model.multi_modal_projector", "lm_head"],
}
# Red Hat's "FP8-dynamic": one scale per output channel, activations scaled on the fly.
FP8_CHANNELS: Config = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True, "dynamic": False},
            "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
        }
    },
    "ignore": ["lm_head"],
}
# Red Hat's "quantized.w4a16": 128 numbers share a scale.
INT4_GROUPS: Config = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True,
                "dynamic": False,
            },
            "input_activations": None,
        }
    },
    "ignore": ["lm_head"],
}  # fmt: skip
MXFP4: Config = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"
    ],
}  # fmt: skip


def nvfp4(repository: str, *kept: str) -> Sister:
    """NVIDIA's own checkpoints: everything but the named modules in 4 bits, keys and values in 8."""
    quantization = {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4",
        "group_size": 16,
        "kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": False},
        "ignore": ["lm_head"] + list(kept),
    }
    return Sister("nvfp4", repository, quantization)


def fp8(repository: str, quantization: t.Optional[Config] = None) -> Sister:
    return Sister("fp8", repository, quantization or FP8_BLOCKS)


def awq(repository: str, **changes: t.Any) -> Sister:
    return Sister("awq", repository, AWQ, tuple(changes.items()))


def gptq(repository: str, **changes: t.Any) -> Sister:
    return Sister("gptq", repository, GPTQ, tuple(changes.items()))
