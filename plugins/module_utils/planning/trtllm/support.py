# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What TensorRT-LLM 1.2 serves as far as it is documented: GPUs, models, quantizations, and why not the others.

Sources: https://nvidia.github.io/TensorRT-LLM/supported-hardware.html, models/supported-models.html,
features/quantization.html ("Hardware Support Matrix"), deployment-guide/deployment-guide-for-gpt-oss-on-trtllm.html, and
tensorrt_llm/_torch/model_config.py for which checkpoints the PyTorch backend reads.
"""

from __future__ import annotations

import typing as t

from .. import capability
from ..capability import Capability
from ..facts import Model, Quantization
from ..wishes import Refusal

LEAST_CAPABILITY: Capability = (8, 0)

# By the architecture that config.json names; generating ones only.
ARCHITECTURES = frozenset(
    "DeciLMForCausalLM DeepseekV3ForCausalLM DeepseekV32ForCausalLM Exaone4ForCausalLM ExaoneMoEForCausalLM "
    "Gemma3ForCausalLM Gemma3ForConditionalGeneration Glm4MoeForCausalLM GptOssForCausalLM HCXVisionForCausalLM "
    "Llama4ForConditionalGeneration LlamaForCausalLM LlavaLlamaModel LlavaNextForConditionalGeneration "
    "MiniMaxM2ForCausalLM Mistral3ForConditionalGeneration MistralForCausalLM MixtralForCausalLM "
    "MllamaForConditionalGeneration NemotronForCausalLM NemotronHForCausalLM NemotronNASForCausalLM Phi3ForCausalLM "
    "Qwen2ForCausalLM Qwen2VLForConditionalGeneration Qwen2_5_VLForConditionalGeneration Qwen3ForCausalLM "
    "Qwen3MoeForCausalLM Qwen3NextForCausalLM".split()
)

# Generations in the words of the documentation's matrix, by compute capability.
_AMPERE, _ADA, _HOPPER, _SM100, _SM120 = "Ampere", "Ada Lovelace", "Hopper", "Blackwell (sm100/103)", "Blackwell (sm120)"
_MATRIX: t.Dict[str, t.Tuple[str, ...]] = {
    "NVFP4": (_SM100, _SM120),
    "MXFP4": (_HOPPER, _SM100, _SM120),  # Hopper by the guide for GPT-OSS: 16-bit activations, Triton kernels
    "FP8": (_ADA, _HOPPER, _SM100, _SM120),
    "FP8 in blocks": (_HOPPER, _SM100),
    "FP8 by row": (_HOPPER,),
    "FP8 KV cache": (_AMPERE, _ADA, _HOPPER, _SM100, _SM120),
    "W4A16": (_AMPERE, _ADA, _HOPPER),
    "W4A8": (_ADA, _HOPPER),
}
_BY_MODELOPT = {
    "FP8": "FP8", "FP8_PB_WO": "FP8 in blocks", "FP8_BLOCK_SCALES": "FP8 in blocks", "NVFP4": "NVFP4",
    "FP8_PER_CHANNEL_PER_TOKEN": "FP8 by row", "W4A16_AWQ": "W4A16", "W4A16_GPTQ": "W4A16",
    "W4A8_AWQ": "W4A8", "W4A8_GPTQ": "W4A8",
}  # fmt: skip


def generation(cap: Capability) -> str:
    if cap >= (12, 0):
        return _SM120
    if cap >= (10, 0):
        return _SM100
    return _HOPPER if cap >= (9, 0) else _ADA if cap >= (8, 9) else _AMPERE


def model(found: Model, unlisted: bool) -> t.Optional[Refusal]:
    """Why TensorRT-LLM does not serve a model, whatever the GPU; None when it does."""
    other = "another engine: vLLM or, for GGUF, Ollama"
    if found.format == "gguf":
        return Refusal(
            "model_unsupported",
            "TensorRT-LLM reads no GGUF files, only checkpoints of safetensors.",
            remedies=["the same model as safetensors, in 16 bit or quantized by NVIDIA's Model Optimizer", other],
        )
    if found.task != "generate" or set(found.layer_kinds) == {"none"}:
        return Refusal(
            "model_unsupported",
            "%s makes embeddings or scores: only models that generate are worked out for TensorRT-LLM." % found.architecture,
            remedies=[other],
        )
    if found.linear:
        return Refusal(
            "model_unsupported",
            "%s keeps a state beside its KV cache, whose memory is not worked out for TensorRT-LLM." % found.architecture,
            remedies=[other],
        )
    if found.architecture not in ARCHITECTURES and not unlisted:
        return Refusal(
            "model_unsupported",
            "%s is not in the documented list of TensorRT-LLM 1.2." % found.architecture,
            remedies=[other, "to try it all the same: unlisted_models: true"],
        )
    return None


def quantization(found: t.Optional[Quantization], cap: Capability) -> t.Optional[Refusal]:
    """Why the checkpoint's quantization cannot be read, or cannot run on this GPU; None when it can."""
    if found is None:
        return None
    kind, problem = _kind(found)
    if problem:
        return Refusal(
            "model_unsupported",
            "TensorRT-LLM's PyTorch backend does not read these weights: %s." % problem,
            remedies=[
                "the same model quantized by NVIDIA's Model Optimizer (a checkpoint with hf_quant_config.json)",
                "the 16-bit checkpoint",
                "another engine: vLLM",
            ],
        )
    if kind is None or generation(cap) in _MATRIX[kind]:
        return None
    return Refusal(
        "quantization_unsupported",
        "%s weights run on %s, this GPU has compute capability %s (%s)."
        % (kind, _listed(_MATRIX[kind]), capability.text(cap), generation(cap)),
        remedies=[
            "a checkpoint in %s" % _listed([name for name in ("FP8", "W4A16", "NVFP4") if generation(cap) in _MATRIX[name]]),
            "the 16-bit checkpoint",
            "another GPU",
        ],
    )


def _kind(found: Quantization) -> t.Tuple[t.Optional[str], t.Optional[str]]:
    """Its name in the matrix, None where nothing is known; or why it cannot be read."""
    method, scheme = found.method.lower().replace("_", "-"), (found.format or "").upper()
    if method.startswith("modelopt"):
        return _BY_MODELOPT.get(scheme), None
    if method == "mxfp4":
        return "MXFP4", None
    if method == "fp8":
        if found.block_size == (128, 128):
            return "FP8 in blocks", None
        return None, "FP8 from another tool than Model Optimizer only with scales for blocks of 128 x 128"
    if method == "compressed-tensors":
        if found.bits == 8 and "FLOAT" in scheme and found.block_size == (128, 128):
            return "FP8 in blocks", None
        if found.bits == 8 and "FLOAT" in scheme and found.group_size == -1:
            return "FP8 by row", None
        return None, "compressed-tensors only as FP8 by channel or in blocks of 128 x 128"
    if method in ("awq", "gptq"):
        return None, "%s as AutoAWQ and GPTQModel write it (without hf_quant_config.json)" % method.upper()
    return None, "quantization %s" % found.method


def kv_dtype(name: str) -> t.Optional[Refusal]:
    """Why the KV cache cannot be worked out in this dtype; None when it can."""
    if name in ("auto", "fp8"):
        return None
    return Refusal(
        "kv_cache_dtype_unsupported",
        "A KV cache in %s is not worked out for TensorRT-LLM; auto and fp8 are." % name,
        remedies=["leave kv_cache_config.dtype out of settings.extra_llm_api_options"],
    )


def whole_prompts(found: Model, cap: Capability) -> bool:
    """Whether a prompt cannot be cut: chunked prefill of MLA works on some generations only
    (models/supported-models.html, note 1)."""
    return bool(found.mla) and generation(cap) not in (_HOPPER, _SM100, _SM120)


def _listed(names: t.Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
