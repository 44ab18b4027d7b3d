# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a plan is refused, and what would make it fit: codes, sentences, remedies (cheapest first)."""

from __future__ import annotations

import typing as t

from . import capability, devices
from .facts import Host, Model
from .units import gib
from .versions import FAMILIES, NEWEST, EngineVersion
from .wishes import Refusal, Wishes

# code -> what it means. docs/refusals.md shows them with a real message each.
CODES: t.Dict[str, str] = {
    "no_gpu": "The CUDA build is asked for and the host has no GPU.",
    "no_driver": "There is an NVIDIA card, but no working NVIDIA driver.",
    "driver_too_old": "The driver is older than the wheel's CUDA runtime needs.",
    "device_problem": "The GPU is there but cannot be used: it hangs, is misconfigured or prohibited.",
    "unsupported_vendor": "The GPU is of a vendor that this planner does not know for vLLM.",
    "capability_too_old": "The GPU generation has no kernels in vLLM's wheels.",
    "gpus_not_found": "The option gpus names devices, or a number of them, that the host does not have.",
    "mig_card": "A card that is cut into MIG slices is asked for as a whole.",
    "mig_parallel": "More than one MIG slice is asked for: slices cannot work together.",
    "mixed_gpus": "The GPUs asked for are of different models.",
    "exclusive_process": "A parallel engine on GPUs in exclusive-process mode.",
    "heads_not_divisible": "The tensor parallel size does not fit the model's heads.",
    "size_not_divisible": "The tensor parallel size does not fit the vocabulary, a layer's size or a weight block.",
    "model_unsupported": "vLLM cannot load weights in this format.",
    "dtype_unsupported": "The GPU cannot compute in the dtype that the model needs.",
    "quantization_unsupported": "The GPU has no kernels for the weights' quantization.",
    "kv_cache_dtype_unsupported": "The GPU cannot keep the KV cache in the dtype asked for.",
    "head_size_unsupported": "The CPU backend has no attention kernel for the model's head size.",
    "kernel_missing": "The CPU backend has no kernel for a kind of layer that the model has.",
    "context_too_long": "The context is longer than the model supports.",
    "foreign_processes": "It would fit, but other processes hold the memory.",
    "too_little_memory": "Weights and buffers alone need more memory than there is.",
    "no_kv_cache_room": "The weights fit, but not the KV cache of one request of the whole context.",
    "too_little_host_memory": "The host has too little memory for the CPU backend.",
    "engine_too_old": "The version is only worked out, for comparison with what it measured; the roles do not run it.",
}


def driver(host: Host, version: EngineVersion, wishes: Wishes) -> t.Optional[Refusal]:
    """The driver's fitness for the wheel; None when it will do."""
    use_cpu = "run on the CPU instead: variant: cpu"
    text = host.driver_version
    if not text:
        return Refusal(
            "no_driver",
            "There is an NVIDIA GPU (%s) but no working NVIDIA driver: %s."
            % (host.nvidia[0].name, host.nvidia[0].problem or "none is loaded"),
            remedies=["install an NVIDIA driver, R%d or newer" % version.minimum_driver, use_cpu],
        )
    major = int(text.split(".")[0]) if text.split(".")[0].isdigit() else 0
    if major >= version.minimum_driver or (wishes.cuda_compatibility and major >= 535):
        return None
    remedies = ["update the NVIDIA driver to R%d or newer" % version.minimum_driver]
    if major >= 535:
        remedies.append(
            "on a data-centre GPU: cuda_compatibility: true, which sets VLLM_ENABLE_CUDA_COMPATIBILITY=1 and uses "
            "NVIDIA's cuda-compat libraries (GeForce cards cannot)"
        )
    if major >= 525 and version.minimum_driver > 525:
        remedies.append("a wheel built for CUDA 12.9, which is not on PyPI: engine_version: %s+cu129" % version.text)
    return Refusal(
        "driver_too_old",
        "NVIDIA driver %s is too old: vLLM %s is built for CUDA %s, which needs R%d or newer."
        % (text, version.text, "12" if version.minimum_driver < 580 else "13", version.minimum_driver),
        remedies=remedies + [use_cpu],
    )


def engine_version(version: EngineVersion) -> t.Optional[Refusal]:
    """Versions that are worked out for comparison, not to be run."""
    if version.supported:
        return None
    return Refusal(
        "engine_too_old",
        "vLLM %s is worked out for comparison only: the roles run %s." % (version.text, " and ".join(FAMILIES)),
        remedies=["engine_version: %s" % NEWEST["cuda"]],
    )


def unusable(problems: t.Sequence[t.Tuple[str, str]]) -> Refusal:
    """No GPU of the host, or none of those asked for, can be used."""
    code, _text = problems[0]
    remedies = {
        "unsupported_vendor": ["run on the CPU instead: variant: cpu"],
        "capability_too_old": [
            "a GPU of the Turing generation (T4, RTX 20) or newer",
            "an engine that still runs there: Ollama",
            "run on the CPU instead: variant: cpu",
        ],
        "mig_card": ["name a slice by its UUID in gpus", "turn MIG off: nvidia-smi -mig 0"],
        "device_problem": ["cure what the message says, then run gpu_info again", "name other GPUs in gpus"],
    }[code]
    return Refusal(code, "; ".join(text for _code, text in problems) + ".", remedies=list(remedies))


def not_found(host: Host, missing: t.Sequence[str]) -> Refusal:
    known = ["%s (%s)" % (device.id, device.label) for device in host.devices]
    return Refusal(
        "gpus_not_found",
        "gpus names %s, which this host does not have. It has: %s."
        % (", ".join(missing), ", ".join(known) or "no GPU"),
        remedies=["name GPUs that are there, or set gpus: auto"],
    )


def too_few(wanted: int, seats: t.Sequence[devices.Seat], why: str) -> Refusal:
    return Refusal(
        "gpus_not_found",
        "%s needs %d GPUs, this host has %d that can be used%s."
        % (why, wanted, len(seats), " (%s)" % devices.describe(seats) if seats else ""),
        remedies=["set gpus: %d or auto" % len(seats)] if seats else [],
    )


def mixed(groups: t.Sequence[t.Sequence[devices.Seat]], why: str) -> Refusal:
    parts = [devices.describe(group) for group in groups]
    return Refusal(
        "mixed_gpus",
        "%s would put one engine on different GPU models: %s. They would all run at the pace and within the memory of "
        "the weakest." % (why, "; ".join(parts)),
        remedies=[
            "one model of GPU: gpus: [%s]" % ", ".join(str(seat.device.index) for seat in groups[0]),
            "one instance per model of GPU",
            "to mix them knowingly, fix settings.tensor_parallel_size or settings.pipeline_parallel_size",
        ],
    )


def mig_parallel(number: int) -> Refusal:
    return Refusal(
        "mig_parallel",
        "%d MIG slices are asked for: slices have no NVLink and no peer access to each other, so an engine uses one."
        % number,
        remedies=["name one slice in gpus", "one instance per slice", "a larger slice, or MIG off"],
    )


def exclusive(seats: t.Sequence[devices.Seat]) -> Refusal:
    names = ", ".join(seat.device.label for seat in seats if devices.exclusive(seat.device))
    return Refusal(
        "exclusive_process",
        "%s %s in exclusive-process mode: the ranks of one engine open each other's memory, which the mode forbids."
        % (names, "is" if names.count("GPU") == 1 else "are"),
        remedies=["default mode: nvidia-smi -c 0", "one GPU: gpus: 1"],
    )


def parallel(problem: t.Tuple[str, str], tp: int, usable: t.Sequence[int]) -> Refusal:
    code, sentence = problem
    return Refusal(
        code,
        "tensor_parallel_size %d does not work: %s." % (tp, sentence),
        remedies=[
            "settings.tensor_parallel_size: %s" % " or ".join(map(str, usable)),
            "leave it out: the plan chooses",
        ],
    )


def dtype(model: Model, wished: str, problem: str, cap: capability.Capability) -> Refusal:
    remedies = ["a GPU with compute capability 8.0 or higher (A10, A100, L4, RTX 30 or newer)"]
    if model.model_type in capability.NO_FLOAT16:
        remedies.insert(0, "settings.dtype: float32 (twice the memory, much slower)")
        remedies.append("a model that runs in float16 (Llama, Qwen, Mistral)")
    else:
        remedies.insert(0, "settings.dtype: float16, or leave it out")
    return Refusal(
        "dtype_unsupported", "%s cannot run in %s: %s." % (model.architecture, wished, problem), remedies=remedies
    )


def quantization(problem: str, gone: bool) -> Refusal:
    if gone:
        return Refusal(
            "model_unsupported",
            "vLLM cannot load these weights: %s." % problem,
            remedies=["the same model as safetensors in 16 bit, AWQ, GPTQ or FP8"],
        )
    return Refusal(
        "quantization_unsupported",
        "The weights' quantization cannot run here: %s." % problem,
        remedies=[
            "an AWQ or GPTQ 4-bit checkpoint (compute capability 7.5 and up)",
            "the 16-bit checkpoint",
            "a newer GPU",
        ],
    )


def kv_dtype(name: str, problem: str) -> Refusal:
    return Refusal(
        "kv_cache_dtype_unsupported",
        "kv_cache_dtype %s does not work: %s." % (name, problem),
        remedies=["leave settings.kv_cache_dtype out"],
    )


def context(wanted: int, limit: int) -> Refusal:
    return Refusal(
        "context_too_long",
        "context %d is longer than the model's %d tokens." % (wanted, limit),
        remedies=[
            "context: %d" % limit,
            "stretch the model's positions: settings.hf_overrides with rope_parameters (answers get worse)",
        ],
    )


def held_text(seats: t.Sequence[devices.Seat]) -> str:
    text = devices.foreign_text(seats)
    promised = ["%s on %s" % (gib(seat.promised), seat.device.label) for seat in seats if seat.promised]
    if promised:
        text += ("; " if text else "") + "planned for other instances: " + ", ".join(promised)
    return text
