#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_plan
short_description: Plan an Ollama server for a host and the models it shall serve
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Works out from hardware facts and the facts of GGUF models the environment of an Ollama server and the parameters
    of each model, how many layers will run on which GPU, and what of it will run on the CPU. Every decision comes
    with a sentence that gives the reason.
  - Ollama picks the GPUs by an estimate of its own, and C(llama-server), which it starts for each model, decides how
    many layers go there. Both are followed here, so that a model that would spill to the CPU is known before it does.
  - The KV cache, recurrent state and weights are computed exactly as llama.cpp allots them. Its compute buffers are
    met within a few percent and given as a range. V(docs/ollama-plan.md) of the collection has every formula and what
    it was checked against.
  - A context that is not given grows to 32768 tokens first, then the requests at once grow to one per four cores,
    then the context grows again, all only while everything stays on the GPUs.
  - Rules of thumb stand where nothing better is known. One loaded model per 64 GB of memory when only one model is
    listed, one request at once per four cores at most, a queue of 1024.
  - Pure computation. It reads nothing from the host and changes nothing, so it can run anywhere. The same input gives
    the same plan.
  - A model that does not fit the GPUs is no error. RV(plan.warnings) says how much of it runs on the CPU, why, and
    what would avoid it; with O(require_gpu) it is a RV(plan.refusal).
options:
  context:
    description:
      - Tokens of prompt and answer together that one request may have, for every model without a context of its own.
        Becomes E(OLLAMA_CONTEXT_LENGTH).
      - A number, also as V(32k) (32000) or V(32K) (32768), or V(auto).
    type: str
    default: auto
  engine_version:
    description:
      - Version of Ollama to plan for, 0.30 or newer, which run models in C(llama-server).
      - The default is V(0.33.0).
    type: str
  gpus:
    description:
      - Which GPUs the server may use. V(auto) for all that it can, V(none) for the CPU knowingly, or a list of
        indices or UUIDs. A MIG slice is named by its UUID.
    type: raw
    default: auto
  hardware:
    description:
      - Hardware facts of the host, as M(gpufleet.llm.gpu_info) returns them in
        RV(gpufleet.llm.gpu_info#module:hardware).
      - Exactly one of O(hardware) and O(what_if) is needed.
    type: dict
  keep_alive:
    description:
      - How long a model stays loaded after its last request, in Go's form such as V(5m), V(1h30m) or V(24h), as
        seconds, or V(-1) for ever.
      - With V(auto) for ever where all listed models fit together, five minutes otherwise.
    type: str
    default: auto
  kv_cache_type:
    description:
      - Type of the KV cache of all models, V(f16), V(q8_0), V(q4_0) or another of llama.cpp's.
      - With V(auto) it is V(f16), or V(q8_0) where only that keeps the contexts that are asked for on the GPUs. A
        quantized one needs flash attention, which is then set.
    type: str
    default: auto
  models:
    description:
      - The models to serve, the most important one first. They are planned beside each other as far as they fit
        together.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The name that clients ask for.
        type: str
        required: true
      model:
        description:
          - Facts of the GGUF model, as M(gpufleet.llm.model_info) returns them in
            RV(gpufleet.llm.model_info#module:model), from a file's header or from a registry's manifest.
        type: dict
        required: true
      context:
        description:
          - Tokens of one request of this model, instead of O(context). Becomes its parameter C(num_ctx).
        type: str
      parallel:
        description:
          - Requests at once that this model is wanted for. Ollama has one number for all models, so the largest
            counts.
        type: str
      keep_alive:
        description:
          - How long this model stays loaded, for the requests that load it.
        type: str
      parameters:
        description:
          - Parameters of the model that are fixed, by Ollama's names, such as C(num_batch), C(num_gpu) or
            C(temperature).
        type: dict
        default: {}
  own_units:
    description:
      - Names of systemd units whose processes on the GPU belong to the server that is planned. What they hold counts
        as free.
    type: list
    elements: str
    default: []
  parallel:
    description:
      - Requests that a model serves at once. Becomes E(OLLAMA_NUM_PARALLEL). Each has its own KV cache of the whole
        context.
      - With V(auto) as many as fit, at most one per four cores.
    type: str
    default: auto
  require_gpu:
    description:
      - Refuse a plan under which part of a model would run on the CPU.
    type: bool
    default: false
  reserved:
    description:
      - Memory that other planned services will take on this host's GPUs.
    type: list
    elements: dict
    default: []
    suboptions:
      bytes:
        description:
          - Bytes it takes on the device.
          - Exactly one of O(reserved[].bytes) and O(reserved[].fraction) is needed.
        type: int
      device:
        description:
          - Index or UUID of the GPU, or UUID of the MIG slice.
        type: str
        required: true
      fraction:
        description:
          - Share of the device's memory it takes, from 0 to 1.
        type: float
      unit:
        description:
          - The systemd unit of that service. What it already holds on the device is not counted twice.
        type: str
  settings:
    description:
      - Variables of the server that are fixed, by their names, such as C(OLLAMA_MAX_QUEUE) or C(max_queue).
      - Every variable of Ollama 0.33 is known with the values it accepts, and so are C(LLAMA_ARG_FIT_TARGET) and the
        like, which C(llama-server) reads. Anything else is an error, because Ollama would ignore it without a word.
      - Old names are accepted, mapped to what works now, and said so. C(OLLAMA_MAX_VRAM) and C(OLLAMA_GPU_OVERHEAD)
        become C(LLAMA_ARG_FIT_TARGET), C(OLLAMA_GPU_LAYERS) and C(OLLAMA_NUM_GPU) become C(LLAMA_ARG_N_GPU_LAYERS).
    type: dict
    default: {}
  what_if:
    description:
      - Plan for GPUs that nobody has at hand, instead of O(hardware), for example V(2 x L40S) or V(RTX 4090).
    type: str
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.gpu_info
  - module: gpufleet.llm.model_info
  - module: gpufleet.llm.vllm_plan
  - plugin: gpufleet.llm.plan_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the host
  gpufleet.llm.gpu_info:
  register: gpu

- name: Look at two models
  gpufleet.llm.model_info:
    source: "{{ item }}"
  loop:
    - /srv/models/gguf/Qwen3-8B-Q4_K_M.gguf
    - /srv/models/gguf/nomic-embed-text-v1.5-Q8_0.gguf
  register: known

- name: Plan a server that keeps both loaded
  gpufleet.llm.ollama_plan:
    hardware: "{{ gpu.hardware }}"
    models:
      - name: qwen3:8b
        model: "{{ known.results[0].model }}"
        context: 32K
      - name: nomic-embed-text
        model: "{{ known.results[1].model }}"
  register: planned

- name: Show what to expect
  gpufleet.llm.show:
    text: "{{ planned.plan | gpufleet.llm.plan_table(gpu.hardware) }}"

- name: The environment, as lines of a systemd drop-in
  ansible.builtin.debug:
    msg: |
      [Service]
      {% for name, value in planned.plan.environment.items() %}
      Environment="{{ name }}={{ value }}"
      {% endfor %}

- name: Would gpt-oss 120B run on an RTX 4090 without the CPU?
  gpufleet.llm.ollama_plan:
    what_if: RTX 4090
    require_gpu: true
    models:
      - name: gpt-oss:120b
        model: "{{ known.results[0].model }}"

- name: Old names from an old document
  gpufleet.llm.ollama_plan:
    hardware: "{{ gpu.hardware }}"
    models:
      - name: qwen3:8b
        model: "{{ known.results[0].model }}"
    settings:
      OLLAMA_GPU_OVERHEAD: 2G
      OLLAMA_MAX_QUEUE: 256
"""

RETURN = r"""
plan:
  description: The plan, schema C(gpufleet.plan/1). Sizes are bytes.
  type: dict
  returned: success
  contains:
    schema:
      description: Name and version of this structure.
      type: str
      returned: success
      sample: gpufleet.plan/1
    engine:
      description: The engine, always V(ollama).
      type: str
      returned: success
      sample: ollama
    engine_version:
      description: The version planned for.
      type: str
      returned: success
      sample: 0.33.0
    variant:
      description: V(cuda), V(rocm) or V(cpu).
      type: str
      returned: success
      sample: cuda
    settings:
      description: The server's variables in their own types, durations in seconds.
      type: dict
      returned: success
      sample: {"OLLAMA_CONTEXT_LENGTH": 32768, "OLLAMA_KEEP_ALIVE": -1.0, "OLLAMA_NO_CLOUD": true}
    environment:
      description: The same as text, as Ollama reads it. Booleans are V(1) and V(0), durations are in Go's form.
      type: dict
      returned: success
      sample: {"OLLAMA_CONTEXT_LENGTH": "32768", "OLLAMA_KEEP_ALIVE": "-1s", "OLLAMA_NO_CLOUD": "1"}
    models:
      description: What to give each model.
      type: list
      elements: dict
      returned: success
      contains:
        name:
          description: The name.
          type: str
          returned: success
        parameters:
          description: Its parameters, for a Modelfile or the options of a request. C(num_ctx) is always there.
          type: dict
          returned: success
          sample: {"num_ctx": 32768}
        keep_alive:
          description: How long a request that loads it shall keep it, or null for the server's own.
          type: str
          returned: success
        runs_on:
          description: V(gpu) when all of it is promised to run there, V(partly), or V(cpu).
          type: str
          returned: success
        devices:
          description: UUIDs or indices of the GPUs that it will be on.
          type: list
          elements: str
          returned: success
    devices:
      description: UUIDs of the GPUs that the server may use, their indices where a driver gives no UUIDs.
      type: list
      elements: str
      returned: success
    numbers:
      description: Every term. A term that is estimated is a dictionary with C(low), C(expected) and C(high).
      type: dict
      returned: success
      contains:
        gpus:
          description: The GPUs with total, free, foreign and reserved memory.
          type: list
          elements: dict
          returned: success
        models:
          description: The terms of each model by its name.
          type: dict
          returned: success
          contains:
            weights_bytes:
              description: All weights but the projector.
              type: int
              returned: success
            weights_estimated:
              description: Whether they follow from formulas rather than from a GGUF header.
              type: bool
              returned: success
            quantization:
              description: The name of the GGUF's quantization, such as V(Q4_K_M), or null.
              type: str
              returned: success
            embedding_bytes:
              description: The token embedding, which llama.cpp keeps in the host's memory.
              type: int
              returned: success
            output_bytes:
              description: The output layer, which is on the GPU first. With tied embeddings it is a copy of them.
              type: int
              returned: success
            projector_bytes:
              description: The multimodal projector.
              type: int
              returned: success
            projector_on_gpu:
              description: Whether the projector is on the GPU. Ollama wants 1 GiB of room beside it.
              type: bool
              returned: success
            context_tokens:
              description: Tokens of one request, C(num_ctx).
              type: int
              returned: success
            parallel:
              description: Requests at once. Some architectures and all embedding models have one.
              type: int
              returned: success
            batch:
              description: Tokens of one step, C(num_batch), as Ollama chooses it or as the plan sets it.
              type: int
              returned: success
            kv_cache_type:
              description: Type of the KV cache.
              type: str
              returned: success
            kv_cache_bytes:
              description:
                - Keys and values of all layers. Cells times requests times elements times the type's size; sliding
                  layers have the cells of their window and one step.
              type: int
              returned: success
            kv_bytes_per_token:
              description: What one more token of context adds for each request.
              type: int
              returned: success
            recurrent_state_bytes:
              description: State of linear attention layers, of the same size whatever the context is.
              type: int
              returned: success
            compute_bytes:
              description: Buffer of intermediate results on each GPU.
              type: dict
              returned: success
            margin_bytes:
              description: What stays free on each GPU. 1 GiB, and the projector's size where there is one.
              type: int
              returned: success
            layers_total:
              description: Layers with the output layer, as C(llama-server) counts them.
              type: int
              returned: success
            layers_on_gpu:
              description: Layers on the GPUs. C(low) is what the plan promises.
              type: dict
              returned: success
              sample: {"expected": 33, "high": 33, "low": 33}
            layers_per_gpu:
              description: The same for each of the GPUs chosen, as expected.
              type: list
              elements: int
              returned: success
            expert_layers_on_cpu:
              description: Layers whose experts stay on the CPU although the layer counts as on the GPU.
              type: int
              returned: success
            gpu_bytes:
              description: Weights, caches and buffers on each of the GPUs chosen, as expected.
              type: list
              elements: int
              returned: success
            places:
              description:
                - Where its memory is, as expected. One entry for each GPU that has a part of it, then V(host).
              type: list
              elements: dict
              returned: success
              contains:
                device:
                  description: UUID or index of the GPU, or V(host).
                  type: str
                  returned: success
                weights_bytes:
                  description: Weights there.
                  type: int
                  returned: success
                cache_bytes:
                  description: KV cache and recurrent state of the layers there.
                  type: int
                  returned: success
                buffer_bytes:
                  description: Buffer of intermediate results, inputs and outputs.
                  type: int
                  returned: success
                projector_bytes:
                  description: The projector, where it is there.
                  type: int
                  returned: success
            size_bytes:
              description: What C(size) of C(/api/ps) should say.
              type: int
              returned: success
            size_vram_bytes:
              description:
                - What C(size_vram) of C(/api/ps) should say. Less than C(size) means that part runs on the CPU.
              type: int
              returned: success
            host_bytes:
              description: What the model takes of the host's memory.
              type: int
              returned: success
            scheduler_bytes:
              description: What Ollama itself expects it to take, by which it chooses GPUs and removes models.
              type: int
              returned: success
            fits_beside:
              description: Whether Ollama loads it beside the models before it.
              type: bool
              returned: success
        loaded_together:
          description: How many of the models stay loaded at the same time, counted from the first.
          type: int
          returned: success
        fit_target_bytes:
          description: What C(llama-server) leaves free on each GPU, without a projector.
          type: int
          returned: success
        context_bytes:
          description: What a process holds of a GPU before it allots anything. Every loaded model is a process.
          type: dict
          returned: success
        default_context_tokens:
          description: The context that Ollama would take of itself on this host.
          type: int
          returned: success
        parallel_cap:
          description: One request at once per four cores.
          type: int
          returned: success
        host_bytes:
          description: The host's memory that the models loaded at the same time take.
          type: int
          returned: success
        host_room_bytes:
          description: The host's memory without a tenth, at least 2 GiB, for the system.
          type: int
          returned: success
        host_memory_bytes:
          description: Memory of the host.
          type: int
          returned: success
        prompt_cache_limit_bytes:
          description: What the loaded models may keep of past prompts in the host's memory, 8 GiB each.
          type: int
          returned: success
    reasons:
      description: One sentence per decision.
      type: list
      elements: str
      returned: success
    warnings:
      description: What will run on the CPU, which old names were mapped, and what else may surprise.
      type: list
      elements: str
      returned: success
    refusal:
      description:
        - Why there is no plan to follow, or null. The codes are listed in C(docs/ollama-plan.md) of the collection.
      type: dict
      returned: success
      contains:
        code:
          description: Short name of the reason.
          type: str
          returned: when refused
          sample: driver_too_old
        message:
          description: The reason with its numbers.
          type: str
          returned: when refused
        short_bytes:
          description: Bytes that are missing. Null where memory is not the reason.
          type: int
          returned: when refused
        remedies:
          description: What would help, cheapest first.
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
    from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import planner as ollama
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.planning import gpus
    from module_utils.planning.ollama import planner as ollama

ARGUMENT_SPEC = {
    "context": {"type": "str", "default": "auto"},
    "engine_version": {"type": "str"},
    "gpus": {"type": "raw", "default": "auto"},
    "hardware": {"type": "dict"},
    "keep_alive": {"type": "str", "default": "auto"},
    "kv_cache_type": {"type": "str", "default": "auto"},
    "models": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "model": {"type": "dict", "required": True},
            "context": {"type": "str"},
            "parallel": {"type": "str"},
            "keep_alive": {"type": "str"},
            "parameters": {"type": "dict", "default": {}},
        },
    },
    "own_units": {"type": "list", "elements": "str", "default": []},
    "parallel": {"type": "str", "default": "auto"},
    "require_gpu": {"type": "bool", "default": False},
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
    "what_if": {"type": "str"},
}


def work(module):
    options = dict(module.params)
    hardware, what_if = options.pop("hardware"), options.pop("what_if")
    if what_if is not None:
        hardware = gpus.hardware(what_if)
    return {"changed": False, "plan": ollama.make_plan(hardware, options)}


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
