# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One real case per refusal: what is asked for, and the words it must hold.

docs/refusals.md shows the messages that these cases give. Write it anew after a change with
`python -m ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning.refusal_cases > docs/refusals.md`.
"""

from __future__ import annotations

import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.planning import refusals, vllm
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

L40S, T4, A100, H100 = "NVIDIA L40S", "Tesla T4", "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"
RTX = "NVIDIA GeForce RTX 4090"

# code: (situation, hardware, model, options, words that the message or a remedy must hold)
CASES: t.Dict[str, t.Tuple[str, dict, dict, dict, t.List[str]]] = {
    "no_gpu": (
        "variant: cuda on a host without a GPU",
        hosts.host(),
        hosts.model("Llama-3.1-8B"),
        {"variant": "cuda"},
        ["no GPU", "variant: cpu"],
    ),
    "no_driver": (
        "a card in the machine, no driver installed",
        hosts.host(
            [hosts.gpu(0, L40S, usable=False, problem="no NVIDIA driver is loaded", driver=None, memory_total_bytes=0)],
            driver_version=None,
        ),
        hosts.model("Llama-3.1-8B"),
        {},
        ["no working NVIDIA driver", "R580"],
    ),
    "driver_too_old": (
        "driver 550 under the CUDA 13 wheel",
        hosts.host(hosts.gpus(1, L40S), driver_version="550.163.01"),
        hosts.model("Llama-3.1-8B"),
        {},
        ["550.163.01", "CUDA 13", "R580", "VLLM_ENABLE_CUDA_COMPATIBILITY", "+cu129"],
    ),
    "device_problem": (
        "a wedged driver: the probe of the card hung",
        hosts.host([hosts.gpu(0, L40S, usable=False, problem="nvidia-smi gave no answer within 20 s, reset the GPU.")]),
        hosts.model("Llama-3.1-8B"),
        {},
        ["GPU 0", "no answer within 20 s"],
    ),
    "unsupported_vendor": (
        "an AMD card",
        hosts.host([hosts.gpu(0, L40S, vendor="amd", name="AMD Instinct MI300X")]),
        hosts.model("Llama-3.1-8B"),
        {},
        ["MI300X", "NVIDIA"],
    ),
    "capability_too_old": (
        "a Volta card",
        hosts.host(hosts.gpus(1, "Tesla V100-SXM2-16GB")),
        hosts.model("Llama-3.1-8B"),
        {},
        ["7.0", "7.5", "Ollama"],
    ),
    "gpus_not_found": (
        "gpus: [3] on a host with two",
        hosts.host(hosts.gpus(2, L40S)),
        hosts.model("Llama-3.1-8B"),
        {"gpus": [3]},
        ["gpus names 3", "GPU 1"],
    ),
    "mig_card": (
        "gpus: [0], and that card is cut into MIG slices",
        hosts.host([hosts.sliced(0, A100, ("3g.40gb", 40192), ("3g.40gb", 40192))]),
        hosts.model("Llama-3.1-8B"),
        {"gpus": [0]},
        ["MIG slices", "UUID"],
    ),
    "mig_parallel": (
        "two MIG slices for one engine",
        hosts.host([hosts.sliced(0, A100, ("3g.40gb", 40192), ("3g.40gb", 40192))]),
        hosts.model("Llama-3.1-8B"),
        {"gpus": ["MIG-00000000-0000-4000-8000-000000000000", "MIG-00000000-0000-4000-8000-000000000001"]},
        ["2 MIG slices", "no NVLink"],
    ),
    "mixed_gpus": (
        "an L40S and a T4 for one engine",
        hosts.host([hosts.gpu(0, L40S), hosts.gpu(1, T4)]),
        hosts.model("Llama-3.1-8B"),
        {"gpus": [0, 1]},
        ["NVIDIA L40S", "Tesla T4", "gpus: [0]"],
    ),
    "exclusive_process": (
        "tensor parallelism on GPUs in exclusive-process mode",
        hosts.host([hosts.gpu(index, L40S, compute_mode="Exclusive_Process") for index in range(2)]),
        hosts.model("Llama-3.1-8B"),
        {"gpus": 2},
        ["exclusive-process", "nvidia-smi -c 0"],
    ),
    "heads_not_divisible": (
        "tensor_parallel_size: 3 with 32 heads",
        hosts.host(hosts.gpus(4, L40S)),
        hosts.model("Llama-3.1-8B"),
        {"settings": {"tensor_parallel_size": 3}},
        ["32 attention heads", "3", "1 or 2 or 4"],
    ),
    "size_not_divisible": (
        "blockwise FP8 weights with an intermediate size of 10944 on two GPUs",
        hosts.host(hosts.gpus(2, H100)),
        hosts.model(
            "DeepSeek-V2-Lite",
            quantization_config={
                "quant_method": "fp8",
                "weight_block_size": [128, 128],
                "activation_scheme": "dynamic",
                "fmt": "e4m3",
            },
        ),
        {"settings": {"tensor_parallel_size": 2}},
        ["5472", "128"],
    ),
    "model_unsupported": (
        "a bitsandbytes checkpoint",
        hosts.host(hosts.gpus(1, L40S)),
        hosts.model(
            "Llama-3.1-8B",
            quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        ),
        {},
        ["bitsandbytes", "0.28"],
    ),
    "dtype_unsupported": (
        "a bfloat16-only model on a T4",
        hosts.host(hosts.gpus(1, T4)),
        hosts.model("Gemma-2-9B"),
        {},
        ["gemma2", "float16", "8.0", "7.5"],
    ),
    "quantization_unsupported": (
        "MXFP4 weights on a T4",
        hosts.host(hosts.gpus(4, T4)),
        hosts.model("Llama-3.1-8B", quantization_config={"quant_method": "mxfp4"}),
        {},
        ["mxfp4", "8.0", "7.5"],
    ),
    "kv_cache_dtype_unsupported": (
        "kv_cache_dtype: fp8 on an A100",
        hosts.host(hosts.gpus(1, A100)),
        hosts.model("Llama-3.1-8B"),
        {"settings": {"kv_cache_dtype": "fp8"}},
        ["fp8", "8.9"],
    ),
    "head_size_unsupported": (
        "heads of 16 on the CPU",
        hosts.host(),
        hosts.model("Llama-3.1-8B", head_dim=16),
        {},
        ["size 16", "64"],
    ),
    "kernel_missing": (
        "Jamba, most of whose layers are Mamba 1, on the CPU",
        hosts.host(),
        hosts.small_model("jamba"),
        {},
        ["Mamba 1", "a GPU"],
    ),
    "context_too_long": (
        "context: 256K of a model with 128K",
        hosts.host(hosts.gpus(1, H100)),
        hosts.model("Llama-3.1-8B"),
        {"context": "256K"},
        ["262144", "131072"],
    ),
    "foreign_processes": (
        "another engine on the only GPU",
        hosts.host([hosts.gpu(0, L40S, processes=[hosts.process(38, "ollama.service", "ollama")])]),
        hosts.model("Llama-3.1-8B"),
        {"context": 8192},
        ["ollama (pid 4711, ollama.service)", "38.0 GiB", "short"],
    ),
    "too_little_memory": (
        "32B in 16 bit on one 24 GB card",
        hosts.host(hosts.gpus(1, RTX)),
        hosts.model("Qwen2.5-32B"),
        {},
        ["Weights (61.0 GiB)", "short", "4-bit"],
    ),
    "no_kv_cache_room": (
        "8B on a 24 GB card with a context of 128K",
        hosts.host(hosts.gpus(1, RTX)),
        hosts.model("Llama-3.1-8B"),
        {"context": "128K"},
        ["131,072 tokens", "16.0 GiB", "short", "context: "],
    ),
    "too_little_host_memory": (
        "32B on a host of 24 GiB without a GPU",
        hosts.host(),
        hosts.model("Qwen2.5-32B"),
        {},
        ["Weights (61.0 GiB)", "42.6 GiB short"],
    ),
    "engine_too_old": (
        "A version that is only worked out, to compare it with what was measured",
        hosts.host([hosts.gpu(0, L40S)]),
        hosts.model("Llama-3.1-8B"),
        {"engine_version": "0.11.2"},
        ["0.11.2", "for comparison only", "0.33.0"],
    ),
}


def plan(code: str) -> t.Dict[str, t.Any]:
    _situation, hardware, model, options, _words = CASES[code]
    return vllm.make_plan(hardware, model, options)


def page() -> str:
    lines = [
        "# Refusals",
        "",
        "When a model does not fit, `vllm_plan` still returns a plan, and its `refusal` says why: a code, a message",
        "with the numbers, the missing bytes, and what would help, cheapest first. Every remedy about memory has been",
        "planned through before it is offered. The messages are those of cases in the unit tests, which check this page.",
    ]
    for code, meaning in refusals.CODES.items():
        refusal = plan(code)["refusal"]
        lines += ["", "## %s" % code, "", meaning, "", "Example: %s." % CASES[code][0], "", "> %s" % refusal["message"]]
        if refusal["remedies"]:
            lines += [""] + ["%d. %s" % item for item in enumerate(refusal["remedies"], 1)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
