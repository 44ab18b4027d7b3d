#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: placement_plan
short_description: Plan which host of a fleet serves which model on which GPUs
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Works out from the hardware facts of a fleet and a list of models with wanted replicas where every replica runs, on
    which GPUs and port, and with which plan of M(gpufleet.llm.vllm_plan).
  - The GPUs of one tensor parallel group never span islands. An island is what NVLink joins, and without NVLink the
    GPUs of one NUMA node. A model that no island holds may span islands as pipeline stages, one island per stage.
  - Replicas of a model stand on different hosts as far as possible, a model gets the smallest GPUs that serve it as
    wished, islands larger than it needs stay whole, and equal hosts are filled evenly.
  - With O(previous), everything that is still wanted and still possible stays where it is. A new host or a new model
    moves nothing that need not move, a lost host moves only what was on it.
  - What has no place is in RV(placement.refusals) with the smallest addition that would give it one. That is an answer,
    not an error, and the rest is placed all the same.
  - Pure computation, to be run on the controller. The same input gives the same placement, in whatever order hosts and
    models are given. It needs no solver, see C(docs/placement.md) of the collection.
options:
  hosts:
    description:
      - The fleet, a dictionary by host name. Each value is the hardware facts of the host as M(gpufleet.llm.gpu_info)
        returns them in RV(gpufleet.llm.gpu_info#module:hardware), or a dictionary with C(hardware) and any of the keys
        C(labels), C(max_share), C(reserved_gpus), C(reserved) and C(ports_taken).
      - C(labels) is a dictionary of names and values that O(models[].labels) and O(models[].spread_over) refer to.
      - C(max_share) is the share of the host's GPUs that may be used, from 0 to 1.
      - C(reserved_gpus) lists indices and UUIDs of GPUs that are never used.
      - C(reserved) lists what other engines will take, in the form of O(gpufleet.llm.vllm_plan#module:reserved).
      - C(ports_taken) lists ports that no replica gets.
      - What runs on a GPU counts as taken, as the facts tell, except what O(previous) and O(own_units) name.
    type: dict
    required: true
  models:
    description:
      - The models to serve.
    type: list
    elements: dict
    required: true
    suboptions:
      concurrency:
        description:
          - As O(gpufleet.llm.vllm_plan#module:concurrency), for each replica.
        type: str
        default: auto
      context:
        description:
          - As O(gpufleet.llm.vllm_plan#module:context). A number gives all replicas the same.
        type: str
        default: auto
      cuda_compatibility:
        description:
          - As O(gpufleet.llm.vllm_plan#module:cuda_compatibility).
        type: bool
        default: false
      engine_version:
        description:
          - As O(gpufleet.llm.vllm_plan#module:engine_version).
        type: str
      gpus:
        description:
          - How many GPUs a replica gets, or V(auto).
        type: str
        default: auto
      hosts:
        description:
          - Names or patterns of hosts that may serve it, V(gpu-0*) for example. A pattern that begins with V(!)
            excludes.
          - With none but excluding ones, all others may.
        type: list
        elements: str
        default: []
      instance:
        description:
          - More keys for its entries in C(vllm_instances) of the role P(gpufleet.llm.vllm#role), C(revision),
            C(served_names), C(host) or C(environment) for example.
        type: dict
        default: {}
      labels:
        description:
          - Labels that a host must have to serve it, each with a value or a list of values.
        type: dict
        default: {}
      model:
        description:
          - The model facts, as M(gpufleet.llm.model_info) returns them in RV(gpufleet.llm.model_info#module:model).
        type: dict
        required: true
      name:
        description:
          - What it is called here. Its instances bear the name, a second one on a host with C(-2) behind it.
        type: str
        required: true
      port:
        description:
          - The port of every replica. At most one then goes to a host.
          - Without it, a replica gets the lowest port from O(port_base) that is free on its host, and keeps it.
        type: int
      prefer:
        description:
          - As O(gpufleet.llm.vllm_plan#module:prefer).
        type: str
        choices:
          - balanced
          - latency
          - throughput
        default: balanced
      priority:
        description:
          - What has the higher number is placed first when there is not enough for all. Nothing that is kept from
            O(previous) makes way for it.
        type: int
        default: 0
      replicas:
        description:
          - How many engines serve it.
        type: int
        default: 1
      settings:
        description:
          - As O(gpufleet.llm.vllm_plan#module:settings).
        type: dict
        default: {}
      share:
        description:
          - Whether it may share a GPU with other models, where O(sharing) lets any.
        type: bool
        default: true
      source:
        description:
          - The repository or directory of the model, as the role shall get it. The default is what the facts say.
        type: str
      spread:
        description:
          - V(prefer) puts replicas on different hosts as far as possible, V(require) never two on one host.
          - With V(off) it makes no difference.
        type: str
        choices:
          - prefer
          - require
          - 'off'
        default: prefer
      spread_over:
        description:
          - Name of a label, C(rack) for example. Replicas are spread over its values first, then over hosts.
        type: str
      variant:
        description:
          - Build of vLLM. V(cuda) goes to hosts with GPUs, V(cpu) to hosts without any, one replica to a host.
        type: str
        choices:
          - cuda
          - cpu
        default: cuda
  moves:
    description:
      - Whether replicas of O(previous) may move to make room for others that find no place otherwise.
    type: bool
    default: true
  own_units:
    description:
      - Names or patterns of systemd units, V(vllm-*.service) for example, whose memory counts as free on all hosts.
      - Units of the instances in O(previous) always do.
    type: list
    elements: str
    default: []
  port_base:
    description:
      - The first port to give.
    type: int
    default: 8000
  previous:
    description:
      - The placement that is in force, as returned before in RV(placement), or its RV(placement.record).
    type: dict
  sharing:
    description:
      - Whether several models may share a GPU.
      - V(needed) lets them where a replica would have no place otherwise and their shares add up. Each then gets the
        smallest C(gpu_memory_utilization) that serves it as wished.
      - Only replicas on one GPU share. Who is alone on a GPU has all of it.
    type: str
    choices:
      - needed
      - never
    default: needed
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.gpu_info
  - module: gpufleet.llm.model_info
  - module: gpufleet.llm.vllm_plan
  - plugin: gpufleet.llm.placement_table
    plugin_type: filter
  - plugin: gpufleet.llm.placement_inventory
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the hardware of all hosts
  hosts: llm
  gather_facts: false
  tasks:
    - name: Look
      gpufleet.llm.gpu_info:
      register: gpu

- name: Place the models
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Look at the model
      gpufleet.llm.model_info:
        source: Qwen/Qwen2.5-32B-Instruct
      register: known

    - name: Plan three replicas on hosts of the production racks, apart from each other
      gpufleet.llm.placement_plan:
        hosts: >-
          {{ dict(groups.llm | zip(groups.llm | map('extract', hostvars, ['gpu', 'hardware']))) }}
        models:
          - name: chat
            model: "{{ known.model }}"
            replicas: 3
            context: 32K
            concurrency: 16
            hosts: [gpu-*, "!gpu-00"]
            spread: require
        previous: "{{ gpufleet_placement | default(omit) }}"
      register: planned

    - name: Show it
      ansible.builtin.debug:
        msg: "{{ planned.placement | gpufleet.llm.placement_table }}"

    - name: Keep it as an inventory source
      ansible.builtin.copy:
        content: "{{ planned.placement | gpufleet.llm.placement_inventory | to_nice_yaml }}"
        dest: inventory/placement.yml
        mode: "0644"
"""

RETURN = r"""
placement:
  description: The placement, schema C(gpufleet.placement/1).
  type: dict
  returned: success
  contains:
    schema:
      description: Name and version of this structure.
      type: str
      returned: success
      sample: gpufleet.placement/1
    assignments:
      description: One entry per replica that has a place, by model and replica.
      type: list
      elements: dict
      returned: success
      contains:
        model:
          description: Name of the model.
          type: str
          returned: success
          sample: chat
        replica:
          description: Number of the replica, from 1.
          type: int
          returned: success
          sample: 1
        instance:
          description: Name of the instance on its host.
          type: str
          returned: success
          sample: chat
        host:
          description: The host.
          type: str
          returned: success
          sample: gpu-07
        gpus:
          description: UUIDs of its GPUs or of its MIG slice. Empty on a CPU.
          type: list
          elements: str
          returned: success
          sample: [GPU-5a0e8f21-6a3b-4e7e-9f2c-0d8c1b7a3e55]
        gpu_indices:
          description: Indices of the same cards.
          type: list
          elements: int
          returned: success
          sample: [0]
        share:
          description: Its C(gpu_memory_utilization) on a GPU that it shares, or null.
          type: float
          returned: success
          sample: 0.42
        port:
          description: Its port.
          type: int
          returned: success
          sample: 8000
        plan:
          description: Key of its plan in RV(placement.plans).
          type: str
          returned: success
          sample: "chat: 2 x NVIDIA L40S"
        context_tokens:
          description: C(max_model_len) of the plan.
          type: int
          returned: success
          sample: 32768
        concurrency:
          description: C(max_num_seqs) of the plan.
          type: int
          returned: success
          sample: 16
        tensor_parallel_size:
          description: GPUs of a tensor parallel group.
          type: int
          returned: success
          sample: 2
        pipeline_parallel_size:
          description: Pipeline stages.
          type: int
          returned: success
          sample: 1
        numbers:
          description: From the plan, C(max_concurrency), C(kv_cache_tokens) and C(weights_bytes_per_gpu).
          type: dict
          returned: success
          sample: {"kv_cache_tokens": {"expected": 218384, "high": 221632, "low": 212240}, "max_concurrency": 6.66}
    plans:
      description:
        - The plans, as M(gpufleet.llm.vllm_plan) returns them in RV(gpufleet.llm.vllm_plan#module:plan). Hosts of equal
          hardware share one.
        - Each is the plan on the GPUs with the least free memory of their kind. C(devices), and the numbers of GPUs in
          C(reasons), are of the host it was made for.
      type: dict
      returned: success
    vllm_instances:
      description:
        - By host, the variable C(vllm_instances) of the role P(gpufleet.llm.vllm#role). A host that serves nothing has
          an empty list, with which C(vllm_prune) takes away what it served before.
      type: dict
      returned: success
      sample: {"gpu-07": [{"concurrency": "16", "context": "32768", "gpus": ["GPU-5a0e8f21"],
        "model": "Qwen/Qwen2.5-7B-Instruct", "name": "chat", "port": 8000, "prefer": "balanced", "settings": {}}]}
    hosts:
      description: By host, what it has and what is used.
      type: dict
      returned: success
      sample: {"gpu-07": {"gpus": 2, "gpus_used": 1, "memory_bytes": 95353307136, "memory_used_bytes": 47676653568,
        "problems": [], "unused_gpus": ["GPU-77d0c1aa"]}}
    balance:
      description: What the fleet has, what is used, and the share of GPU memory that is used on the least and the most
        used host.
      type: dict
      returned: success
      contains:
        gpus:
          description: GPUs and MIG slices that can be used.
          type: int
          returned: success
        gpus_used:
          description: Those that serve.
          type: int
          returned: success
        gpus_shared:
          description: Those that serve several instances.
          type: int
          returned: success
        hosts:
          description: Hosts.
          type: int
          returned: success
        hosts_used:
          description: Those that serve.
          type: int
          returned: success
        memory_bytes:
          description: Memory of the GPUs. On a host without GPUs, its own.
          type: int
          returned: success
        memory_used_bytes:
          description: Memory of those that serve. Of a shared GPU, what is claimed.
          type: int
          returned: success
        host_share:
          description: Share of the memory that is used, from 0 to 1, as C(least), C(mean) and C(most) over the hosts.
          type: dict
          returned: success
    moves:
      description: What differs from O(previous). Empty without it.
      type: list
      elements: dict
      returned: success
      contains:
        what:
          description: V(placed), V(moved), V(removed), V(resized) (between a whole and a shared GPU) or V(readdressed)
            (another port).
          type: str
          returned: success
        model:
          description: Name of the model.
          type: str
          returned: success
        replica:
          description: Number of the replica.
          type: int
          returned: success
        before:
          description: Host and GPUs before, or null.
          type: dict
          returned: success
        after:
          description: Host and GPUs now, or null.
          type: dict
          returned: success
        reason:
          description: Why.
          type: str
          returned: success
          sample: host gpu-03 is gone
    refusals:
      description: One entry per model of which replicas have no place.
      type: list
      elements: dict
      returned: success
      contains:
        model:
          description: Name of the model.
          type: str
          returned: success
        code:
          description: V(no_host) when constraints leave none, V(does_not_fit) when the model fits no GPUs of those
            hosts, V(no_place) when they are taken.
          type: str
          returned: success
        message:
          description: The reason.
          type: str
          returned: success
        short_bytes:
          description: Bytes per GPU that are missing where it comes closest. Null where memory is not the reason.
          type: int
          returned: success
        replicas:
          description: Replicas that are wanted.
          type: int
          returned: success
        missing:
          description: Those that have no place.
          type: int
          returned: success
        remedies:
          description: What would give them one, each by itself, changes of wishes before more hardware. All were tried
            out.
          type: list
          elements: str
          returned: success
          sample: ["context: 16384", "2 more GPUs of 44.4 GiB (NVIDIA L40S), 2 together",
            "1 more host like gpu-07 (2 x NVIDIA L40S)"]
        addition:
          description: The smallest addition of hardware that would do, or null.
          type: dict
          returned: success
          contains:
            gpus:
              description: GPUs in all.
              type: int
              returned: success
            gpus_per_replica:
              description: GPUs that have to be together.
              type: int
              returned: success
            gpu:
              description: Their name.
              type: str
              returned: success
            gpu_memory_bytes:
              description: Memory of each.
              type: int
              returned: success
            hosts:
              description: Hosts like RV(placement.refusals[].addition.like) that would do.
              type: int
              returned: success
            like:
              description: A host of the fleet, or null where none of it would do.
              type: str
              returned: success
    warnings:
      description: What may be wrong although there is a place.
      type: list
      elements: str
      returned: success
    record:
      description: As much of it as the next run needs as O(previous).
      type: dict
      returned: success
"""

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.planning.placement import planner as placement
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.planning.placement import planner as placement

ARGUMENT_SPEC = {
    "hosts": {"type": "dict", "required": True},
    "models": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "concurrency": {"type": "str", "default": "auto"},
            "context": {"type": "str", "default": "auto"},
            "cuda_compatibility": {"type": "bool", "default": False},
            "engine_version": {"type": "str"},
            "gpus": {"type": "str", "default": "auto"},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "instance": {"type": "dict", "default": {}},
            "labels": {"type": "dict", "default": {}},
            "model": {"type": "dict", "required": True},
            "name": {"type": "str", "required": True},
            "port": {"type": "int"},
            "prefer": {"type": "str", "choices": ["balanced", "latency", "throughput"], "default": "balanced"},
            "priority": {"type": "int", "default": 0},
            "replicas": {"type": "int", "default": 1},
            "settings": {"type": "dict", "default": {}},
            "share": {"type": "bool", "default": True},
            "source": {"type": "str"},
            "spread": {"type": "str", "choices": ["prefer", "require", "off"], "default": "prefer"},
            "spread_over": {"type": "str"},
            "variant": {"type": "str", "choices": ["cuda", "cpu"], "default": "cuda"},
        },
    },
    "moves": {"type": "bool", "default": True},
    "own_units": {"type": "list", "elements": "str", "default": []},
    "port_base": {"type": "int", "default": 8000},
    "previous": {"type": "dict"},
    "sharing": {"type": "str", "choices": ["needed", "never"], "default": "needed"},
}


def work(module):
    options = dict(module.params)
    hosts, models = options.pop("hosts"), options.pop("models")
    return {"changed": False, "placement": placement.place(hosts, models, options)}


def main():
    run(work, ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
