#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_choose
short_description: Choose the best model that fits a host
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Takes the best model that a host can serve with vLLM for a purpose, a context and a number of requests at once,
    from a catalogue of open models or from a list of one's own. Says at which quantization, with which KV cache dtype,
    which model is the runner-up, and for every other one in a sentence why it was passed over.
  - Whether a model fits is what M(gpufleet.llm.vllm_plan) says of it. The plan of the choice is part of the answer.
    Quantizations and KV cache dtypes that the GPU's compute capability has no kernels for are never chosen.
  - A model fits when the wished number of requests, each of the wished context, find room in the KV cache at once even
    if every estimate comes out at its worst, C(max_concurrency_low) of RV(gpufleet.llm.vllm_plan#module:plan.numbers).
  - "Which model is better is decided by a rule of thumb and by no benchmark: C(quality = log2 of its parameters in
    billions + 2 x the years from the start of 2023 to its release). A mixture of experts counts as the geometric mean of all its
    parameters and those of one token. A model that was tuned from another one is as old as that one. From this go 0.1
    for weights in 8 bits, 0.5 for weights in 4 bits and 0.05 for an fp8 KV cache, which gives the score that ranks."
  - In words, a model that is half a year younger may be half as large, and a larger model in 4 bits goes before a
    smaller one in 16. Where this does not hold for a task, say so with C(quality) in O(candidates), with
    O(rank=listed), O(include) or O(exclude).
  - On a CPU only models of which a token reads at most 8 GiB are chosen, see O(max_active_bytes).
  - Pure computation. It reads nothing from the host, downloads nothing and changes
    nothing. The same input gives the same choice.
  - That nothing fits is not an error of this module. RV(choice.refusal) then says what would make the smallest
    candidate fit.
options:
  candidates:
    description:
      - What to choose from. Nothing means the whole catalogue, which C(docs/model-sizes.md) of the collection lists.
      - Repository ids or patterns of the catalogue, for example V(Qwen/Qwen3-8B) or V(meta-llama/*), and models of
        one's own as dictionaries with the keys below.
      - "C(id): the repository or directory. The rest is known where it is one of the catalogue."
      - "C(model): model facts, as M(gpufleet.llm.model_info) returns them. C(config): a config.json in their place."
      - "C(purposes), C(licence), C(gated), C(released) (year and month, V(2025-04)): as in the catalogue."
      - "C(quality): a number that takes the place of the rule's."
      - "C(quantization): its name among O(quantizations), where the facts do not tell. C(settings): options of vLLM
        that it needs."
    type: list
    elements: raw
    default: []
  concurrency:
    description:
      - Requests that are served at once, each of the whole context.
      - With V(auto) one is enough.
    type: str
    default: "4"
  context:
    description:
      - Tokens of prompt and answer together that one request may have.
      - A number, also as V(32k) (32000) or V(32K) (32768), or V(auto) for whatever the model and the memory give.
      - Embedding models often end at 512. Say the length of the texts here.
    type: str
    default: 8K
  cuda_compatibility:
    description:
      - As for M(gpufleet.llm.vllm_plan).
    type: bool
    default: false
  engine_version:
    description:
      - Version of vLLM to plan for, as for M(gpufleet.llm.vllm_plan).
    type: str
  exclude:
    description:
      - Patterns of ids that are not chosen, for example V(deepseek-ai/*). Upper and lower case are the same.
    type: list
    elements: str
    default: []
  gated:
    description:
      - Whether repositories that want an accepted licence and a token may be chosen.
      - Quantized copies of a gated model are often not gated themselves.
    type: bool
    default: true
  gpus:
    description:
      - Which GPUs to use, as for M(gpufleet.llm.vllm_plan).
    type: raw
    default: auto
  hardware:
    description:
      - Hardware facts of the host, as M(gpufleet.llm.gpu_info) returns them in
        RV(gpufleet.llm.gpu_info#module:hardware).
      - Exactly one of O(hardware) and O(what_if) is needed.
    type: dict
  headroom_bytes:
    description:
      - Memory that every GPU keeps free, as for M(gpufleet.llm.vllm_plan).
    type: str
  include:
    description:
      - Patterns of ids of which one must match.
    type: list
    elements: str
    default: []
  kv_cache_dtypes:
    description:
      - How keys and values may be kept. V(auto) is 16 bit, or what the checkpoint says.
      - V(fp8) is taken where V(auto) has too little room.
    type: list
    elements: str
    choices:
      - auto
      - fp8
    default:
      - auto
      - fp8
  licences:
    description:
      - Licences that are accepted, as patterns, for example V(Apache-2.0), V(MIT) or V(Llama-*). Nothing means any.
      - SPDX identifiers where there is one, else the licence's name.
    type: list
    elements: str
    default: []
  max_active_bytes:
    description:
      - The most weights, in bytes, that one token may have to read, also as V(8G). This bounds how slow the model is,
        because a token takes at least as long as reading them from memory.
      - V(auto) is 8 GiB on a CPU, which a memory of 50 to 200 GB/s reads 6 to 24 times a second, and no limit on a GPU.
    type: str
    default: auto
  max_parameters:
    description:
      - The most parameters that the model may have, for example V(32B).
    type: str
  min_quality:
    description:
      - The least quality, by the rule above or as given in O(candidates).
    type: float
  own_units:
    description:
      - Systemd units whose memory counts as free, as for M(gpufleet.llm.vllm_plan).
    type: list
    elements: str
    default: []
  prefer:
    description:
      - What the plan is made for, as for M(gpufleet.llm.vllm_plan).
    type: str
    choices:
      - balanced
      - latency
      - throughput
    default: balanced
  purpose:
    description:
      - What the model is for. It must be made for all of these.
      - V(tools) are models trained to call functions. V(reasoning) are models that think before they answer.
    type: list
    elements: str
    choices:
      - chat
      - code
      - reasoning
      - tools
      - vision
      - embedding
    default:
      - chat
  quantizations:
    description:
      - How the weights may be stored. Nothing means all.
      - V(bf16) stands for 16 bits as published, which run as float16 on GPUs without bfloat16. V(fp8) is a checkpoint
        in 8-bit floats, or the 16-bit one that vLLM quantizes while it loads it. V(int4) is packed by
        compressed-tensors, V(nvfp4) by NVIDIA's ModelOpt, V(mxfp4) is how gpt-oss is published.
    type: list
    elements: str
    choices:
      - bf16
      - fp8
      - int8
      - mxfp4
      - nvfp4
      - awq
      - gptq
      - int4
    default: []
  rank:
    description:
      - V(quality) takes the highest score. V(listed) takes the first of O(candidates) that fits.
    type: str
    choices:
      - quality
      - listed
    default: quality
  reserved:
    description:
      - Memory that other planned instances will take, as for M(gpufleet.llm.vllm_plan).
    type: list
    elements: dict
    default: []
    suboptions:
      bytes:
        description:
          - Bytes it takes on the device. Exactly one of O(reserved[].bytes) and O(reserved[].fraction) is needed.
        type: int
      device:
        description:
          - Index or UUID of the GPU, or UUID of the MIG slice. On a CPU host the name of the instance.
        type: str
        required: true
      fraction:
        description:
          - Share of the device's memory it takes, from 0 to 1.
        type: float
      unit:
        description:
          - The systemd unit of that instance.
        type: str
  settings:
    description:
      - Options of C(vllm serve) that are fixed, as for M(gpufleet.llm.vllm_plan).
      - With C(kv-cache-dtype) among them O(kv_cache_dtypes) counts no more. With C(quantization) among them no 16-bit
        checkpoint is quantized while loading.
    type: dict
    default: {}
  variant:
    description:
      - Build of vLLM to plan for, as for M(gpufleet.llm.vllm_plan).
    type: str
    choices:
      - auto
      - cuda
      - cpu
    default: auto
  what_if:
    description:
      - Choose for GPUs that nobody has at hand, instead of O(hardware), for example V(2 x L40S).
    type: str
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.gpu_info
  - module: gpufleet.llm.model_info
  - module: gpufleet.llm.vllm_plan
"""

EXAMPLES = r"""
- name: Look at the host
  gpufleet.llm.gpu_info:
  register: gpu

- name: The best model for chat, 32768 tokens and 8 requests at once, under a licence without conditions
  gpufleet.llm.model_choose:
    hardware: "{{ gpu.hardware }}"
    purpose: [chat, tools]
    context: 32K
    concurrency: "8"
    licences: [Apache-2.0, MIT]
  register: chosen

- name: Show it
  ansible.builtin.debug:
    msg:
      - "{{ chosen.choice.repository }}: {{ chosen.choice.reasons | join(' ') }}"
      - "{{ chosen.choice.plan | gpufleet.llm.plan_table }}"

- name: What would two L40S serve for code, in 4 bits and without a token for the hub?
  gpufleet.llm.model_choose:
    what_if: 2 x L40S
    purpose: [code]
    quantizations: [awq, gptq, int4, mxfp4]
    gated: false

- name: The first of a list that fits, one of them our own
  gpufleet.llm.model_choose:
    hardware: "{{ gpu.hardware }}"
    rank: listed
    candidates:
      - id: /srv/models/local/support-32b
        model: "{{ known.model }}"
      - Qwen/Qwen3-32B
      - Qwen/Qwen3-8B
"""

RETURN = r"""
choice:
  description:
    - The choice, schema C(gpufleet.choice/1). Without one the keys are there and null, except RV(choice.passed_over),
      RV(choice.refusal) and the plan of the smallest candidate.
  type: dict
  returned: success
  contains:
    schema:
      description: Name and version of this structure.
      type: str
      returned: success
      sample: gpufleet.choice/1
    model:
      description: The id of the model in the catalogue or in O(candidates).
      type: str
      returned: success
      sample: meta-llama/Llama-3.3-70B-Instruct
    repository:
      description: The repository to serve, which may be a quantized copy of the model.
      type: str
      returned: success
      sample: casperhansen/llama-3.3-70b-instruct-awq
    quantization:
      description: How the weights are stored or loaded, one of O(quantizations).
      type: str
      returned: success
      sample: awq
    kv_cache_dtype:
      description: V(auto) or V(fp8). It is in the plan's settings where it is V(fp8).
      type: str
      returned: success
      sample: auto
    quality:
      description: Points of the model.
      type: float
      returned: success
      sample: 9.81
    score:
      description: The same less what its bits cost.
      type: float
      returned: success
      sample: 9.31
    parameters:
      description: Parameters that the engine loads.
      type: int
      returned: success
      sample: 70553706496
    active_parameters:
      description: Parameters that go into one token.
      type: int
      returned: success
      sample: 69503033344
    purposes:
      description: What the model is made for.
      type: list
      elements: str
      returned: success
      sample: ["chat", "tools"]
    licence:
      description: Its licence, or null where it is not known.
      type: str
      returned: success
      sample: Llama-3.3
    gated:
      description: Whether the repository wants an accepted licence and a token.
      type: bool
      returned: success
      sample: false
    released:
      description: Year and month of its release, or null where it is not known.
      type: str
      returned: success
      sample: 2024-11
    plan:
      description: The plan of the choice, as M(gpufleet.llm.vllm_plan) returns it. Where nothing fits, the plan of the
        smallest candidate. Null where O(candidates) and limits leave no model.
      type: dict
      returned: success
    reasons:
      description: Why this one, one sentence per decision.
      type: list
      elements: str
      returned: success
    runner_up:
      description: The second best that fits, another model than the choice, or null.
      type: dict
      returned: success
      contains:
        model:
          description: As of the choice. RV(choice.repository), RV(choice.quantization) and the other keys are there
            too, except the plan.
          type: str
          returned: when there is one
        max_concurrency_low:
          description: Requests of full length that its KV cache is sure to hold at once.
          type: float
          returned: when there is one
        weights_bytes_per_gpu:
          description: Its weights, in bytes per GPU.
          type: int
          returned: when there is one
        devices:
          description: The GPUs that it would use.
          type: list
          elements: str
          returned: when there is one
    passed_over:
      description: Every model that was not chosen, in the order of the candidates.
      type: list
      elements: dict
      returned: success
      contains:
        id:
          description: The model.
          type: str
          returned: success
        reason:
          description: One sentence. Where it does not fit, that of its form that lacks least.
          type: str
          returned: success
    refusal:
      description: Why there is no choice, or null.
      type: dict
      returned: success
      contains:
        code:
          description: V(no_candidate) where the limits leave no model, V(nothing_fits) where none of those fits.
          type: str
          returned: when refused
          sample: nothing_fits
        message:
          description: The reason with its numbers.
          type: str
          returned: when refused
        short_bytes:
          description: Bytes per GPU that the smallest candidate lacks. Null where memory is not the reason.
          type: int
          returned: when refused
        remedies:
          description: What would make the smallest candidate fit, cheapest first, or which limits to loosen.
          type: list
          elements: str
          returned: when refused
"""

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.models import candidates
    from ansible_collections.gpufleet.llm.plugins.module_utils.planning import choose, gpus
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.models import candidates
    from module_utils.planning import choose, gpus

ARGUMENT_SPEC = {
    "candidates": {"type": "list", "elements": "raw", "default": []},
    "concurrency": {"type": "str", "default": "4"},
    "context": {"type": "str", "default": "8K"},
    "cuda_compatibility": {"type": "bool", "default": False},
    "engine_version": {"type": "str"},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "gated": {"type": "bool", "default": True},
    "gpus": {"type": "raw", "default": "auto"},
    "hardware": {"type": "dict"},
    "headroom_bytes": {"type": "str"},
    "include": {"type": "list", "elements": "str", "default": []},
    "kv_cache_dtypes": {"type": "list", "elements": "str", "choices": ["auto", "fp8"], "default": ["auto", "fp8"]},
    "licences": {"type": "list", "elements": "str", "default": []},
    "max_active_bytes": {"type": "str", "default": "auto"},
    "max_parameters": {"type": "str"},
    "min_quality": {"type": "float"},
    "own_units": {"type": "list", "elements": "str", "default": []},
    "prefer": {"type": "str", "choices": ["balanced", "latency", "throughput"], "default": "balanced"},
    "purpose": {
        "type": "list",
        "elements": "str",
        "choices": ["chat", "code", "reasoning", "tools", "vision", "embedding"],
        "default": ["chat"],
    },
    "quantizations": {
        "type": "list",
        "elements": "str",
        "choices": ["bf16", "fp8", "int8", "mxfp4", "nvfp4", "awq", "gptq", "int4"],
        "default": [],
    },
    "rank": {"type": "str", "choices": ["quality", "listed"], "default": "quality"},
    "reserved": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "bytes": {"type": "int"},
            "device": {"type": "str", "required": True},
            "fraction": {"type": "float"},
            "unit": {"type": "str"},
        },
    },
    "settings": {"type": "dict", "default": {}},
    "variant": {"type": "str", "choices": ["auto", "cuda", "cpu"], "default": "auto"},
    "what_if": {"type": "str"},
}


def work(module):
    options = dict(module.params)
    hardware, what_if, wanted = options.pop("hardware"), options.pop("what_if"), options.pop("candidates")
    if what_if is not None:
        hardware = gpus.hardware(what_if)
    return {"changed": False, "choice": choose.choose(hardware, candidates.read(wanted), options)}


def main():
    run(
        work,
        ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[["hardware", "what_if"]],
        required_one_of=[["hardware", "what_if"]],
    )


if __name__ == "__main__":
    main()
