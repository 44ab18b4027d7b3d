#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_plan
short_description: Plan the vLLM settings that fit a model to a host
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Works out from hardware facts and model facts on which GPUs a model runs, how it is split over them, and with
    which context,
    batch sizes and memory share, and what the KV cache then holds. Every decision comes with a sentence that gives
    the reason.
  - Weight bytes, KV cache bytes per token, blocks, tokens and concurrency are computed exactly as vLLM computes them.
    What the
    engine takes beside that (activation peak, CUDA graphs, buffers) is estimated by class of model, and given as a
    range.
  - Pure computation. It reads nothing from the host and changes nothing, so it can run anywhere, also on the
    controller for a
    host that does not exist yet. The same input gives the same plan.
  - A model that does not fit is not an error of this module. RV(plan.refusal) then says what is short and what would
    help.
options:
  concurrency:
    description:
      - Requests that are served at once. Becomes C(max_num_seqs), which O(settings) then must not fix otherwise.
      - With V(auto) as many as the KV cache can feed, by the size of the GPU and O(prefer).
    type: str
    default: auto
  context:
    description:
      - Tokens of prompt and answer together that one request may have. Becomes C(max_model_len).
      - A number, also as V(32k) (32000) or V(32K) (32768), or V(auto) for the longest that leaves room for several
        requests.
    type: str
    default: auto
  cuda_compatibility:
    description:
      - Accept drivers from R535 on by NVIDIA's forward compatibility libraries, which must be installed on the host.
      - Works on data-centre GPUs only. Sets E(VLLM_ENABLE_CUDA_COMPATIBILITY).
    type: bool
    default: false
  engine_version:
    description:
      - Version of vLLM to plan for, of the families 0.32 and 0.33, for example V(0.33.0).
      - A local version such as V(0.33.0+cu129) stands for a wheel built with CUDA 12, which runs with older drivers.
      - The default is the newest that PyPI had for the variant, 0.33.0 for CUDA and 0.32.0 for the CPU.
    type: str
  gpus:
    description:
      - Which GPUs to use. V(auto), a number of GPUs, or a list of indices or UUIDs. A MIG slice is named by its UUID.
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
      - Memory that every GPU keeps free beside what vLLM needs, in bytes, also as V(2G).
      - The default is 2 percent of the GPU, and 10 percent where GPU and system share their memory.
    type: str
  measured:
    description:
      - What running engines measured. What M(gpufleet.llm.vllm_measured) returned as
        RV(gpufleet.llm.vllm_measured#module:measured), the content of a file that it keeps, the content of the file
        that the playbook C(gpufleet.llm.calibrate) collects, or a list of any of these.
      - A measurement counts where RV(plan.configuration) is the same, that is model, version, GPU, split and batch
        settings. The context and C(gpu_memory_utilization) may be others.
      - All that vLLM took there beside weights and KV cache is then measured and no longer estimated,
        C(overhead = requested - weights - KV cache). Several measurements are combined so that the least KV cache
        is what is promised. RV(plan.reasons) says so, and RV(plan.warnings) where the estimate was off by more than
        5 percent.
      - What is damaged or no measurement is ignored with a warning. See C(docs/calibration.md) of the collection.
    type: raw
  model:
    description:
      - Model facts, as M(gpufleet.llm.model_info) returns them in RV(gpufleet.llm.model_info#module:model).
    type: dict
    required: true
  own_units:
    description:
      - Names of systemd units whose processes on the GPU belong to the instance that is planned.
      - What they hold counts as free, because they are gone when the planned engine starts. Name them only while they
        run.
    type: list
    elements: str
    default: []
  prefer:
    description:
      - V(balanced) takes the fewest GPUs that give the wished context and concurrency with ease.
      - V(latency) spreads the model over all GPUs that NVLink joins and keeps the steps short.
      - V(throughput) takes the fewest GPUs too, so that more instances fit, with large batches.
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
          - Index or UUID of the GPU, or UUID of the MIG slice. On a CPU host the name of the instance.
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
      - Options of C(vllm serve) that are fixed, by their names with dashes or underscores.
      - They are taken as given and planned around. An unknown or removed option is an error that names the
        replacement, and so are values that vLLM does not take, alone or together.
      - What of them the numbers leave out, C(cpu_offload_gb) for example, is named in RV(plan.warnings).
    type: dict
    default: {}
  variant:
    description:
      - Build of vLLM to plan for. V(auto) is V(cuda) on a host with a GPU, even one that does not work, and V(cpu)
        otherwise.
    type: str
    choices:
      - auto
      - cuda
      - cpu
    default: auto
  what_if:
    description:
      - Plan for GPUs that nobody has at hand, instead of O(hardware), for example V(2 x L40S) or V(RTX 4090).
      - Visible memory and compute capability come from a table by the GPU's name. The host around them is assumed to
        be idle, with a current driver and enough memory.
      - Several kinds in one host are joined by a comma, as in V(2 x L40S, 1 x H100).
    type: str
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.gpu_info
  - module: gpufleet.llm.model_info
  - module: gpufleet.llm.vllm_measured
  - plugin: gpufleet.llm.plan_table
    plugin_type: filter
  - plugin: gpufleet.llm.vllm_arguments
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
  gpufleet.llm.vllm_plan:
    hardware: "{{ gpu.hardware }}"
    model: "{{ known.model }}"
    context: 32K
    concurrency: 16
  register: planned

- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ planned.plan | gpufleet.llm.plan_table }}"

- name: Stop where it does not fit
  ansible.builtin.assert:
    that: planned.plan.refusal is none
    fail_msg: "{{ planned.plan.refusal.message }}"

- name: Would it fit on two L40S?
  gpufleet.llm.vllm_plan:
    what_if: 2 x L40S
    model: "{{ known.model }}"
  register: planned

- name: Plan with what engines of the fleet measured
  gpufleet.llm.vllm_plan:
    hardware: "{{ gpu.hardware }}"
    model: "{{ known.model }}"
    measured: "{{ lookup('ansible.builtin.file', inventory_dir ~ '/.gpufleet-measured.json') }}"

- name: Plan for latency on two named GPUs, with an fp8 KV cache
  gpufleet.llm.vllm_plan:
    hardware: "{{ gpu.hardware }}"
    model: "{{ known.model }}"
    gpus: [0, 1]
    prefer: latency
    settings:
      kv-cache-dtype: fp8
      enable-prefix-caching: true
"""

RETURN = r"""
plan:
  description: The plan, schema C(gpufleet.plan/1). Sizes are bytes, per GPU where not said otherwise.
  type: dict
  returned: success
  contains:
    schema:
      description: Name and version of this structure.
      type: str
      returned: success
      sample: gpufleet.plan/1
    engine:
      description: The engine, always V(vllm).
      type: str
      returned: success
      sample: vllm
    engine_version:
      description: The version planned for.
      type: str
      returned: success
      sample: 0.33.0
    variant:
      description: V(cuda) or V(cpu).
      type: str
      returned: success
      sample: cuda
    settings:
      description: Options of C(vllm serve) by their names with underscores, the fixed ones included.
      type: dict
      returned: success
      sample: {"gpu_memory_utilization": 0.94, "max_model_len": 32768, "max_num_seqs": 16, "tensor_parallel_size": 1}
    environment:
      description: Environment variables that the engine needs.
      type: dict
      returned: success
      sample: {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-5a0e8f21-6a3b-4e7e-9f2c-0d8c1b7a3e55"}
    devices:
      description: UUIDs of the chosen GPUs or of the MIG slice, their indices where a driver gives no UUIDs. Empty
        for a CPU.
      type: list
      elements: str
      returned: success
      sample: ["GPU-5a0e8f21-6a3b-4e7e-9f2c-0d8c1b7a3e55"]
    configuration:
      description:
        - All that decides what vLLM takes beside weights and KV cache, as vLLM will have it, its defaults resolved. A
          measurement of this plan holds for plans in which it is the same.
        - C(model) is a digest of the model's shape and quantization, the same for all models that
          differ by their weights alone.
      type: dict
      returned: success, null when the host has no GPU to plan on
      sample:
        compute_capability: "8.9"
        data_parallel_size: 1
        dtype: bfloat16
        enable_expert_parallel: false
        enforce_eager: false
        engine_version: 0.33.0
        block_size: 16
        gpu: L40S
        kv_cache_dtype: auto
        max_cudagraph_capture_size: null
        max_num_batched_tokens: 2048
        max_num_seqs: 64
        memory_total_bytes: 48305799168
        model: 868cfc2b63774212
        nvlink: false
        pipeline_parallel_size: 1
        settings: {}
        tensor_parallel_size: 1
        variant: cuda
    numbers:
      description:
        - Every term of the budget. A term that is estimated is a dictionary with C(low), C(expected) and C(high).
        - Only the sizes of the model are there when the host has no GPU to plan on. On a CPU some keys differ.
      type: dict
      returned: success
      contains:
        gpus:
          description: The chosen devices with total, free, foreign and reserved memory.
          type: list
          elements: dict
          returned: success
        total_memory_bytes:
          description:
            - Memory of the smallest chosen GPU as CUDA sees it, that is what C(nvidia-smi) shows less what the driver
              keeps. On a CPU, of the NUMA node.
          type: int
          returned: when there is a device
        free_memory_bytes:
          description:
            - What is free on the fullest chosen GPU. What O(own_units) hold counts as free, what O(reserved) promises
              to others does not.
          type: int
          returned: on a GPU
        foreign_memory_bytes:
          description: What other processes hold on the GPU where they hold most.
          type: int
          returned: on a GPU
        requested_bytes:
          description:
            - What vLLM claims at start, the total times C(gpu_memory_utilization), rounded up. Source
              C(v1/worker/utils.py). On a CPU, all processes.
          type: int
          returned: when there is a device
        unclaimed_bytes:
          description: What stays outside of that claim, the total less RV(plan.numbers.requested_bytes).
          type: int
          returned: on a GPU
        context_bytes:
          description:
            - CUDA context, cuBLAS and NCCL, which exist before vLLM looks at the memory and lie outside of the claim.
              From start-up logs, 0.45 GiB on one GPU, 1.1 GiB on several.
          type: dict
          returned: on a GPU
        claimed_bytes_per_gpu:
          description: The claim and what lies outside of it together, to pass as O(reserved) when planning another
            instance.
          type: int
          returned: on a GPU
        weights_bytes_per_gpu:
          description:
            - Weights of the rank that holds most. Exact. What tensor parallelism divides, by
              C(tensor_parallel_size); KV projections by the KV heads; embeddings with rows padded to 64; norms and
              routers whole. MXFP4 experts with the padding of their kernels.
            - Source is vLLM's own C(model_executor/layers).
          type: int
          returned: success
        mla_dequantized_bytes:
          description:
            - Copies of two MLA matrices in 16 bit, beside quantized ones. 2 x C(kv_lora_rank) x heads / TP x (nope
              + value size) x layers. Source C(mla_attention.py).
          type: int
          returned: on a GPU
        rope_cache_bytes:
          description:
            - Cosines and sines of all positions, whole on every GPU. Positions x rotary size x bytes of the dtype,
              once per kind of layer. Source C(rotary_embedding/base.py).
          type: int
          returned: on a GPU
        lora_bytes:
          description:
            - Slots for LoRA adapters when the settings enable them. C(max_loras) x C(max_lora_rank) x (inputs +
              outputs / TP) of every linear layer. Source C(lora/layers).
          type: int
          returned: on a GPU
        activation_peak_bytes:
          description:
            - Peak of the profiling run, the largest of three.
            - One step through a layer, C(max_num_batched_tokens) x (3 x intermediate size / TP + 3 x hidden size);
              with experts, (max(inner, hidden) + max(2 x inner, hidden)) x experts per token + 4 x hidden size.
            - The sampler's rows, C(max_num_seqs) x vocabulary x 10 bytes (14 and 38.5 in older engines), which TP
              does not divide, beside the step's hidden states.
            - The vision tower with the largest image, where the model has one.
          type: dict
          returned: when there is a device
        sampler_state_bytes:
          description:
            - Penalty counts of all sequence slots, C(max_num_seqs) x vocabulary x 4.125 bytes. Source
              C(v1/worker/gpu/sample/penalties.py).
          type: int
          returned: on a GPU
        expert_workspace_bytes:
          description:
            - What the kernels of quantized experts hold beside the step, and what repacking them at load leaves
              behind. From start-up logs, about 1.25 GiB for 8 bits.
          type: dict
          returned: on a GPU
        sparse_workspace_bytes:
          description:
            - Workspace of DeepSeek's sparse attention, 5 x C(max_model_len) x 1152 bytes, above 256 K twice instead
              of five times. Source C(flashmla_sparse.py).
          type: dict
          returned: on a GPU
        cuda_graph_bytes:
          description:
            - Pool of captured CUDA graphs, 0.22 MiB per captured size and layer (0.33 under TP) and the buffers of
              the largest size. Sizes go up to 512 or twice C(max_num_seqs). From start-up logs; vLLM estimates the
              pool itself and takes it from the budget.
          type: dict
          returned: when there is a device
        measured_correction_bytes:
          description: What a measurement adds to the terms above that are estimated, or takes from them. 0 without one.
          type: int
          returned: on a GPU
        runtime_bytes:
          description:
            - Loaded kernels, workspaces of attention and communication, what a first start compiles. From start-up
              logs, 0.2 GiB on one GPU, 0.5 on several, up to 0.9 and 1.5. FlashInfer's workspace of 394 MiB where
              it is the backend. On a CPU, the engine's processes.
          type: dict
          returned: when there is a device
        kv_bytes_per_token:
          description:
            - KV cache of one token in all layers of one GPU. Exact. KV heads / TP (at least 1) x (key + value size)
              x bytes of the cache's dtype, summed over the layers; for MLA the latent and the rotary part, on every
              GPU.
          type: int
          returned: success
        kv_bytes_per_block:
          description:
            - Bytes of one block of the KV cache, its tokens times their bytes, over the layers that share a block
              table. Layers of several kinds have pages of one size, so smaller ones hold more tokens or are padded.
              Exact. Source C(v1/core/kv_cache_planning.py).
          type: int
          returned: when there is a device
        kv_groups:
          description:
            - Groups of layers that share block tables. 1 where all layers keep the same, more for models that mix
              full, sliding and recurrent layers. Source C(v1/core/kv_cache_planning.py).
          type: int
          returned: when there is a device
        block_size:
          description:
            - Tokens per block. 16 on a GPU and 128 on a CPU, for MLA by the kernel of the compute capability, more
              where a block has to hold the state of a recurrent layer.
          type: int
          returned: success
        blocks_per_request:
          description:
            - Blocks that a request of full length claims, over all groups. C(max_model_len) / tokens per block, rounded
              up; for sliding layers no more than the window and what is in flight; for recurrent layers 1, or 2 with
              prefix caching.
          type: int
          returned: when there is a device
        kv_needed_bytes:
          description:
            - KV cache without which vLLM does not start with this context, that is one whole request and a block
              that is never used. For models with recurrent layers also one block per sequence slot, when CUDA
              graphs are captured.
          type: int
          returned: when there is a device
        kv_cache_bytes:
          description:
            - What is left for the KV cache, the claim less all of the above. C(low) is what the plan promises; the
              terms' deviations are taken as independent, so their squares add up.
          type: dict
          returned: when there is a device
          sample: {"expected": 28625725748, "high": 29050608744, "low": 27818741658}
        kv_cache_tokens:
          description:
            - Tokens that this holds, as vLLM logs them, RV(plan.numbers.max_concurrency) times C(max_model_len). For
              models with sliding or recurrent layers more than bytes divided by bytes per token.
          type: dict
          returned: when there is a device
          sample: {"expected": 218384, "high": 221632, "low": 212240}
        num_gpu_blocks:
          description:
            - Blocks of the KV cache, as expected, RV(plan.numbers.kv_cache_bytes) /
              RV(plan.numbers.kv_bytes_per_block), rounded down. The pipeline stage with the fewest decides.
          type: int
          returned: when there is a device
        max_concurrency:
          description:
            - Requests of full length that fit at once, as expected, RV(plan.numbers.num_gpu_blocks) /
              RV(plan.numbers.blocks_per_request). vLLM logs it as maximum concurrency.
          type: float
          returned: when there is a device
        max_concurrency_low:
          description: The same at the low end.
          type: float
          returned: when there is a device
        context_limit_tokens:
          description: The longest context that V(auto) may choose for the model.
          type: int
          returned: success
        concurrency_by_context:
          description:
            - How many requests of each length fit in the KV cache at once, for the powers of two from
              1024 up to C(context_limit_tokens) and for the context of the plan.
            - Blocks of the cache divided by the blocks of one such request, C(low) and C(expected). C(max_num_seqs)
              is a limit of its own.
          type: list
          elements: dict
          returned: when there is a device
          sample:
            - {"context_tokens": 16384, "expected": 5.15, "low": 4.52}
            - {"context_tokens": 32768, "expected": 2.58, "low": 2.26}
        host_pinned_bytes:
          description:
            - Memory of the host that the engine pins for its request table, C(max_num_seqs) x C(max_model_len) x 4
              bytes.
          type: int
          returned: on a GPU
        kv_room_bytes:
          description:
            - What the host could give to the KV cache, its memory less weights, activations, processes and
              RV(plan.numbers.system_reserve_bytes).
          type: int
          returned: on a CPU
        system_reserve_bytes:
          description:
            - What the plan leaves to the system and to the instances in O(reserved), a tenth of the memory but at least
              1 GiB, and what they claim.
          type: int
          returned: on a CPU
        host_memory_bytes:
          description: Memory of the host.
          type: int
          returned: on a CPU
        start_timeout_s:
          description:
            - Seconds that a start may take, from a slow disk and with nothing compiled yet, before it counts as failed.
              1200 for CUDA, 600 for a CPU, and the stored weights at 100 MB/s.
          type: int
          returned: success
        cpu_cores:
          description: Physical cores that may be used.
          type: int
          returned: on a CPU
    reasons:
      description: One sentence per decision.
      type: list
      elements: str
      returned: success
    warnings:
      description: What may go wrong although the plan stands.
      type: list
      elements: str
      returned: success
    refusal:
      description: Why there is no plan that fits, or null. The codes are listed in C(docs/refusals.md) of the
        collection.
      type: dict
      returned: success
      contains:
        code:
          description: Short name of the reason.
          type: str
          returned: when refused
          sample: no_kv_cache_room
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
      description:
        - SHA-256 over the inputs that last, the model, the wishes, the settings, the versions and which hardware it
          is. Free
          memory and processes are not part of it, and neither is what was measured. An engine that works is not
          planned anew because of its own figures.
      type: str
      returned: success
"""

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.planning import gpus, vllm
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.planning import gpus, vllm

ARGUMENT_SPEC = {
    "concurrency": {"type": "str", "default": "auto"},
    "context": {"type": "str", "default": "auto"},
    "cuda_compatibility": {"type": "bool", "default": False},
    "engine_version": {"type": "str"},
    "gpus": {"type": "raw", "default": "auto"},
    "hardware": {"type": "dict"},
    "headroom_bytes": {"type": "str"},
    "measured": {"type": "raw"},
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
    "variant": {"type": "str", "choices": ["auto", "cuda", "cpu"], "default": "auto"},
    "what_if": {"type": "str"},
}


def work(module):
    options = dict(module.params)
    hardware, model, what_if = options.pop("hardware"), options.pop("model"), options.pop("what_if")
    if what_if is not None:
        hardware = gpus.hardware(what_if)
    return {"changed": False, "plan": vllm.make_plan(hardware, model, options)}


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
