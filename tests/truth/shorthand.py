# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says in words, as the options and configs it stands for: "awq int4", "LoRA max_rank 32", "MTP n=3"."""

from __future__ import annotations

import re
import typing as t

Dict = t.Dict[str, t.Any]


def quantization_config(text: t.Optional[str], config: Dict) -> t.Optional[Dict]:
    """The quantization_config of a checkpoint that is described as ``text``, in the form its tools usually write."""
    words = (text or "").lower()
    if not words or words == "none":
        return None
    group = re.search(r"\bg(\d+)", words)
    size = int(group.group(1)) if group else 128 if _divides(config, 128) else 32
    if "bitsandbytes" in words or "bnb" in words:
        return {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    if "nvfp4" in words:
        # ModelOpt leaves recurrent layers and vision towers as they are.
        kept = ["lm_head", "re:.*linear_attn.*", "re:.*visual.*", "re:.*vision.*"]
        return {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16, "ignore": kept}
    if "fp8/mxfp4" in words or "fp8+fp4" in words:  # expert_dtype says the rest
        return {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    if "mxfp4" in words:
        if config.get("model_type") == "gpt_oss":
            return {"quant_method": "mxfp4", "modules_to_not_convert": ["self_attn", "router", "lm_head", "embed_tokens"]}
        return _compressed("mxfp4-pack-quantized", num_bits=4, type="float", strategy="group", group_size=32)
    if "fp8" in words and "block" in words or words == "fp8" and "deepseek" in str(config.get("model_type")):
        return {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    if "modelopt" in words and "fp8" in words:
        return {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head"]}
    if "fp8" in words:
        return _compressed("float-quantized", num_bits=8, type="float", strategy="channel")
    if "w8a8" in words:
        return _compressed("int-quantized", num_bits=8, type="int", strategy="channel")
    if "w8a16" in words:
        return {"quant_method": "gptq", "bits": 8, "group_size": size, "desc_act": False}
    if "compressed-tensors" in words or words == "w4a16":
        ignore = ["lm_head"] if "lm_head quantized" not in words else []
        if "kimi" in str(config.get("model_type")) or "kimi" in str(config.get("_name", "")):
            ignore += ["re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"]
            size = 32
        found = _compressed("pack-quantized", num_bits=4, type="int", strategy="group", group_size=size)
        found["ignore"] = ignore
        return found
    if "gptq" in words and "awq" not in words:
        return {"quant_method": "gptq", "bits": 4, "group_size": size, "desc_act": False}
    if "awq" in words:
        return {"quant_method": "awq", "bits": 4, "group_size": size, "zero_point": True}
    if "int4" in words or "auto" in words or "4bit" in words:
        return {"quant_method": "auto-round", "bits": 4, "group_size": size, "sym": True}
    return None


def _divides(config: Dict, group: int) -> bool:
    """Whether the usual group size divides what is quantized; tools take 32 where it does not."""
    inner = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    return all(int(inner.get(key) or 0) % group == 0 for key in ("hidden_size", "intermediate_size", "moe_intermediate_size"))


def _compressed(style: str, **weights: t.Any) -> Dict:
    return {
        "quant_method": "compressed-tensors",
        "format": style,
        "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": dict(weights, symmetric=True)}},
    }


def settings(case: Dict) -> Dict:
    """The options of ``vllm serve`` in a case's own words (other_flags)."""
    words = str(case.get("other_flags") or "").lower()
    found: Dict = {}
    rank = re.search(r"lora max_rank (\d+)", words)
    if rank:
        found.update(enable_lora=True, max_lora_rank=int(rank.group(1)))
    elif "lora" in words:
        found["enable_lora"] = True
    if "language-model-only" in words or re.search(r"limit[_-]mm[^;]*image[/a-z]*=0", words):
        found["language_model_only"] = True
    if "attention_backend=flashinfer" in words or "flashinfer attention" in words:
        found["attention_backend"] = "FLASHINFER"
    speculative = re.search(r"mtp[^;]*?(?:n=|k=|num_speculative_tokens=)(\d)", words)
    if speculative or ("mtp" in words and "no mtp" not in words):
        found["speculative_config"] = {
            "method": "mtp",
            "num_speculative_tokens": int(speculative.group(1)) if speculative else 1,
        }
    drafter = re.search(r"\b(dspark|dflash)", words)
    if drafter:
        found["speculative_config"] = {"method": drafter.group(1), "num_speculative_tokens": 1}
    if "eagle" in words:
        found["speculative_config"] = {"method": "eagle", "num_speculative_tokens": 3}
    state = re.search(r"mamba-ssm-cache-dtype (\w+)", words)
    if state:
        found["mamba_ssm_cache_dtype"] = state.group(1)
    if "no-enable-prefix-caching" in words:
        found["enable_prefix_caching"] = False
    if "no-async-scheduling" in words:
        found["async_scheduling"] = False
    contexts = re.search(r"(?:decode-context-parallel-size |dcp )(\d)", words)
    if contexts:
        found["decode_context_parallel_size"] = int(contexts.group(1))
    return found
