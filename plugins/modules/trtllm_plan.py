#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trtllm_plan
short_description: Plan the settings of trtllm-serve that fit a model to a host
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Works out from hardware facts and model facts on which GPUs TensorRT-LLM (PyTorch backend) runs a model, how it is split
    over them, and with which context, batch sizes and share of memory for the KV cache. Every decision comes with a
    sentence that gives the reason.
  - Weights and KV cache bytes per token are those of M(gpufleet.llm.vllm_plan), and follow from the model. What the engine
    takes beside that is estimated with the terms that were fitted to vLLM. Nothing of it was measured with TensorRT-LLM on
    a GPU, which RV(plan.warnings) says.
  - Pure computation. It reads nothing from the host and changes nothing. The same input gives the same plan.
  - A model that does not fit, or that TensorRT-LLM does not serve as far as documented, is not an error of this module.
    RV(plan.refusal) then says why, and what would help.
options:
  concurrency:
    description:
      - Requests that are served at once. Becomes C(max_batch_size), which O(settings) then must not fix otherwise.
      - With V(auto) as many as the KV cache can feed.
    type: str
    default: auto
  context:
    description:
      - Tokens of prompt and answer together that one request may have. Becomes C(max_seq_len).
      - A number, also as V(32k) (32000) or V(32K) (32768), or V(auto) for the longest that leaves room for several
        requests.
    type: str
    default: auto
  engine_version:
    description:
      - Version of TensorRT-LLM to plan for, of the family 1.2. The default is 1.2.1.
    type: str
  gpus:
    description:
      - Which GPUs to use. V(auto), a number of GPUs, or a list of indices or UUIDs. MIG slices are refused.
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
      - Memory that every GPU keeps free beside what TensorRT-LLM needs, in bytes, also as V(2G).
      - The default is 2 percent of the GPU, and 10 percent where GPU and system share their memory.
    type: str
  model:
    description:
      - Model facts, as M(gpufleet.llm.model_info) returns them in RV(gpufleet.llm.model_info#module:model).
    type: dict
    required: true
  own_units:
    description:
      - Names of systemd units whose processes on the GPU belong to the instance that is planned. What they hold counts as
        free.
    type: list
    elements: str
    default: []
  prefer:
    description:
      - V(balanced) takes the fewest GPUs that give the wished context and concurrency with ease.
      - V(latency) spreads the model over all GPUs that NVLink joins and keeps the steps short.
      - V(throughput) takes the fewest GPUs too, with large batches.
    type: str
    choices:
      - balanced
      - latency
      - throughput
    default: balanced
  reserved:
    description:
      - Memory that other planned instances will take on this host, for instances that may not run yet.
    type: list
    elements: dict
    default: []
    suboptions:
      bytes:
        description:
          - Bytes it takes on the device, for example RV(plan.numbers.claimed_bytes_per_gpu) of its plan.
          - Exactly one of O(reserved[].bytes) and O(reserved[].fraction) is needed.
        type: int
      device:
        description:
          - Index or UUID of the GPU.
        type: str
        required: true
      fraction:
        description:
          - Share of the device's memory it takes, from 0 to 1.
        type: float
      unit:
        description:
          - The systemd unit of that instance. What it already holds on the device is not counted twice.
        type: str
  settings:
    description:
      - Options of C(trtllm-serve) that are fixed. Both spellings of an option are taken, such as C(tp_size) and
        C(tensor_parallel_size). They are taken as given and planned around.
      - An unknown option is an error that names the nearest, and one of another engine or version what replaces it.
      - C(extra_llm_api_options) is a dictionary here, the content of the file. What the command line says too, such as
        C(max_batch_size), is refused in it.
    type: dict
    default: {}
  unlisted_models:
    description:
      - Plan for models too that the documentation of TensorRT-LLM does not list.
    type: bool
    default: false
  what_if:
    description:
      - Plan for GPUs that nobody has at hand, instead of O(hardware), for example V(2 x L40S).
    type: str
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.vllm_plan
  - module: gpufleet.llm.gpu_info
  - module: gpufleet.llm.model_info
  - plugin: gpufleet.llm.plan_table
    plugin_type: filter
  - plugin: gpufleet.llm.trtllm_arguments
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the host
  gpufleet.llm.gpu_info:
  register: gpu

- name: Look at the model
  gpufleet.llm.model_info:
    source: /srv/models/huggingface/Qwen/Qwen3-8B/main
  register: known

- name: Plan it for 32768 tokens and 16 requests at once
  gpufleet.llm.trtllm_plan:
    hardware: "{{ gpu.hardware }}"
    model: "{{ known.model }}"
    context: 32K
    concurrency: 16
  register: planned

- name: With an fp8 KV cache, on two named GPUs
  gpufleet.llm.trtllm_plan:
    hardware: "{{ gpu.hardware }}"
    model: "{{ known.model }}"
    gpus: [0, 1]
    settings:
      extra_llm_api_options:
        kv_cache_config:
          dtype: fp8
"""

RETURN = r"""
plan:
  description:
    - The plan, schema C(gpufleet.plan/1), with the keys of RV(gpufleet.llm.vllm_plan#module:plan). Sizes are bytes, per GPU
      where not said otherwise.
  type: dict
  returned: success
  contains:
    schema:
      description: Name and version of this structure.
      type: str
      returned: success
      sample: gpufleet.plan/1
    engine:
      description: The engine, always V(tensorrt_llm).
      type: str
      returned: success
      sample: tensorrt_llm
    engine_version:
      description: The version planned for.
      type: str
      returned: success
      sample: 1.2.1
    variant:
      description: Always V(cuda).
      type: str
      returned: success
      sample: cuda
    settings:
      description: Options of C(trtllm-serve), the fixed ones included.
      type: dict
      returned: success
      sample:
        backend: pytorch
        kv_cache_free_gpu_memory_fraction: 0.9
        max_batch_size: 16
        max_num_tokens: 2048
        max_seq_len: 32768
        tp_size: 1
    environment:
      description: Environment variables that the engine needs.
      type: dict
      returned: success
      sample: {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-5a0e8f21-6a3b-4e7e-9f2c-0d8c1b7a3e55"}
    devices:
      description: UUIDs of the chosen GPUs, their indices where a driver gives no UUIDs.
      type: list
      elements: str
      returned: success
    configuration:
      description: Always null, since nothing was measured that it could be compared with.
      type: dict
      returned: success
    numbers:
      description:
        - Every term of the budget, as in RV(gpufleet.llm.vllm_plan#module:plan.numbers) as far as they mean the same.
        - C(kv_cache_bytes) is the share C(kv_cache_free_gpu_memory_fraction) of C(free_after_load_bytes).
      type: dict
      returned: success
      contains:
        free_after_load_bytes:
          description:
            - What TensorRT-LLM finds free after its trial step, that is what was free less context, weights, buffers and
              CUDA graphs. Source C(_torch/pyexecutor/_util.py).
          type: dict
          returned: on a GPU
        kv_cache_bytes:
          description: What the KV cache gets of that.
          type: dict
          returned: on a GPU
        requested_bytes:
          description: All that the engine takes beside its CUDA context, as expected.
          type: int
          returned: on a GPU
        claimed_bytes_per_gpu:
          description: The same with the context, to pass as O(reserved) when planning another instance.
          type: int
          returned: on a GPU
        start_timeout_s:
          description: Seconds that a start may take before it counts as failed.
          type: int
          returned: success
    reasons:
      description: One sentence per decision.
      type: list
      elements: str
      returned: success
    warnings:
      description: What may go wrong although the plan stands, and that none of it was tested on a GPU.
      type: list
      elements: str
      returned: success
    refusal:
      description: Why there is no plan that fits, or null. The codes are those of M(gpufleet.llm.vllm_plan).
      type: dict
      returned: success
      contains:
        code:
          description: Short name of the reason.
          type: str
          returned: when refused
          sample: model_unsupported
        message:
          description: The reason with its numbers.
          type: str
          returned: when refused
        short_bytes:
          description: Bytes that are missing, per GPU. Null where memory is not the reason.
          type: int
          returned: when refused
        remedies:
          description: What would make it fit, cheapest first.
          type: list
          elements: str
          returned: when refused
    fingerprint:
      description: SHA-256 over the inputs that last. Free memory and processes are not part of it.
      type: str
      returned: success
"""

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.planning import gpus
    from ansible_collections.gpufleet.llm.plugins.module_utils.planning.trtllm import planner
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.planning import gpus
    from module_utils.planning.trtllm import planner

ARGUMENT_SPEC = {
    "concurrency": {"type": "str", "default": "auto"},
    "context": {"type": "str", "default": "auto"},
    "engine_version": {"type": "str"},
    "gpus": {"type": "raw", "default": "auto"},
    "hardware": {"type": "dict"},
    "headroom_bytes": {"type": "str"},
    "model": {"type": "dict", "required": True},
    "own_units": {"type": "list", "elements": "str", "default": []},
    "prefer": {"type": "str", "choices": ["balanced", "latency", "throughput"], "default": "balanced"},
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
    "unlisted_models": {"type": "bool", "default": False},
    "what_if": {"type": "str"},
}


def work(module):
    options = dict(module.params)
    hardware, model, what_if = options.pop("hardware"), options.pop("model"), options.pop("what_if")
    if what_if is not None:
        hardware = gpus.hardware(what_if)
    return {"changed": False, "plan": planner.make_plan(hardware, model, options)}


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
