# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a GPU generation can run: wheels, compute dtypes, quantizations, KV cache dtypes.

Sources: the kernels in the PyPI wheels of vllm 0.32/0.33 (SASS from sm_75 on), platforms/cuda.py, config/model.py,
get_min_capability in model_executor/layers/quantization/, v1/attention/backends/.
"""

from __future__ import annotations

import typing as t

from .facts import Model, Quantization

Capability = t.Tuple[int, int]

LEAST_CAPABILITY: Capability = (7, 5)
_BFLOAT16_FROM: Capability = (8, 0)
# config/model.py _FLOAT16_NOT_SUPPORTED_MODELS: they overflow in float16.
NO_FLOAT16 = ("gemma2", "gemma3", "gemma3_text", "glm4")

_QUANTIZATION_FROM: t.Dict[str, Capability] = {
    "awq": (7, 5), "auto_awq": (7, 5), "awq_marlin": (7, 5), "gptq": (7, 5), "auto_gptq": (7, 5), "gptq_marlin": (7, 5),
    "compressed-tensors": (7, 5), "fp8": (7, 5), "fbgemm_fp8": (8, 0), "fp_quant": (10, 0), "humming": (7, 5),
    "modelopt": (7, 5), "modelopt_fp4": (7, 5), "modelopt_mxfp8": (7, 5), "modelopt_mixed": (8, 0), "mxfp4": (8, 0),
    "gpt_oss_mxfp4": (8, 0), "torchao": (7, 5), "experts_int8": (8, 0), "moe_wna16": (7, 5), "quark": (7, 5),
    "inc": (7, 5), "online": (7, 5), "deepseek_v4_fp8": (8, 9), "fp8_per_tensor": (7, 5), "fp8_per_block": (7, 5),
    "fp8_per_channel": (7, 5), "int8_per_channel_weight_only": (7, 5), "nvfp4_per_token": (7, 5), "mxfp8": (7, 5),
}  # fmt: skip
# Online quantizations that hold a 16-bit checkpoint's linear layers in one byte per parameter.
ONE_BYTE_ONLINE = (
    "fp8", "online", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "int8_per_channel_weight_only", "mxfp8",
)  # fmt: skip
_GONE_FROM_VLLM = {
    "bitsandbytes": "left vLLM in 0.28; the plugin package vllm-bnb-plugin brings it back",
    "bnb": "left vLLM in 0.28; the plugin package vllm-bnb-plugin brings it back",
    "gguf": "left vLLM in 0.24; the plugin package vllm-gguf-plugin brings it back, or serve it with Ollama",
}


def text(capability: Capability) -> str:
    return "%d.%d" % capability


def compute_dtype(model: Model, wished: t.Optional[str], capability: t.Optional[Capability]) -> str:
    """The dtype that vLLM runs the model in, resolved as its ``auto`` does (config/model.py _resolve_auto_dtype).

    ``capability`` None means the CPU backend, which runs every dtype.
    """
    if wished and wished != "auto":
        return {"half": "float16", "float": "float32"}.get(wished, wished)
    bfloat16 = capability is None or capability >= _BFLOAT16_FROM
    float16 = model.model_type not in NO_FLOAT16
    preferred = "bfloat16" if bfloat16 else "float16" if float16 else "float32"
    if model.task == "embed" and float16:
        preferred = "float16"
    if model.dtype == "float16" and float16:
        return "float16"
    if model.dtype == "bfloat16" and bfloat16:
        return "bfloat16"
    return preferred


def dtype_problem(model: Model, dtype: str, capability: Capability) -> t.Optional[str]:
    """Why the GPU cannot run the model in ``dtype``; None when it can."""
    if dtype == "bfloat16" and capability < _BFLOAT16_FROM:
        return "bfloat16 needs compute capability 8.0 or higher, this GPU has %s" % text(capability)
    if dtype == "float16" and model.model_type in NO_FLOAT16:
        return "%s overflows in float16, vLLM refuses it" % model.model_type
    return None


def must_run_float32(model: Model, capability: Capability) -> bool:
    """A bfloat16-only model on a GPU without bfloat16: only float32 would be left, at twice the memory."""
    return capability < _BFLOAT16_FROM and model.model_type in NO_FLOAT16


def quantization_problem(quantization: t.Optional[Quantization], capability: t.Optional[Capability]) -> t.Optional[str]:
    """Why the weights' quantization cannot run; None when it can."""
    if quantization is None:
        return None
    method = quantization.method.lower().replace("compressed_tensors", "compressed-tensors")
    if method in _GONE_FROM_VLLM:
        return "%s %s" % (method, _GONE_FROM_VLLM[method])
    if capability is None:
        return None
    least = _scheme_capability(method, (quantization.format or "").lower())
    if capability < least:
        return "%s needs compute capability %s or higher, this GPU has %s" % (
            " ".join(filter(None, (method, quantization.format))), text(least), text(capability)
        )  # fmt: skip
    return None


def weight_only(quantization: t.Optional[Quantization], capability: Capability) -> bool:
    """8-bit float weights that run through Marlin, unpacked on the fly: the GPU has no fp8 arithmetic of its own."""
    if quantization is None or quantization.bits != 8 or capability >= (8, 9):
        return False
    return "fp8" in quantization.method or "float" in (quantization.format or "")


def _scheme_capability(method: str, scheme: str) -> Capability:
    if method == "compressed-tensors" and "mxfp4" in scheme:
        return (8, 0)
    return _QUANTIZATION_FROM.get(method, LEAST_CAPABILITY)


def known_quantization(method: str) -> bool:
    return method in _QUANTIZATION_FROM or method in _GONE_FROM_VLLM


def kv_dtype_problem(kv_dtype: str, capability: t.Optional[Capability], model: Model) -> t.Optional[str]:
    """Why the KV cache cannot be kept in ``kv_dtype``; None when it can."""
    if kv_dtype in ("auto", "bfloat16", "float16"):
        return None
    if kv_dtype.endswith("_ds_mla") and not model.mla:
        return "%s is only for MLA models" % kv_dtype
    if capability is None:
        return None if kv_dtype.startswith("fp8") and not model.mla else "the CPU backend keeps MLA caches in 16 bit"
    if kv_dtype == "nvfp4_ds_mla" and capability < (10, 0):
        return "%s needs compute capability 10.0 or higher, this GPU has %s" % (kv_dtype, text(capability))
    if capability < (8, 0):
        return "an fp8 KV cache needs compute capability 8.9 or higher, this GPU has %s" % text(capability)
    if capability < (8, 9):
        return (
            "an fp8 KV cache on compute capability %s only works through FlashInfer's own kernels, "
            "which are built with nvcc at start; 8.9 or higher has it built in" % text(capability)
        )
    return None


def mla_block_size(capability: t.Optional[Capability]) -> int:
    """Tokens per block that the MLA backend of a GPU generation wants (v1/attention/backends/mla/)."""
    if capability is None:
        return 16
    if capability >= (10, 0):
        return 128
    return 64 if capability >= (9, 0) else 16
