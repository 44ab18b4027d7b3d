#!/usr/bin/python

# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gpu_info
short_description: Report the GPUs, processors, memory and disks of a host
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Reports what a host has to run language models on, for M(gpufleet.llm.vllm_plan) and for people.
  - Asks NVML through nvidia-ml-py, then C(nvidia-smi), then the PCI bus in sysfs; AMD cards through sysfs and C(amd-smi).
  - A host without a GPU is a normal answer. A GPU that cannot be used is reported with the reason and what to do about it.
  - A driver that hangs costs at most O(timeout) seconds per probe and is reported.
options:
  paths:
    description:
      - Paths whose file systems are reported. Of a path that does not exist yet, the nearest existing parent is measured.
    type: list
    elements: path
    default:
      - /srv/models
      - /opt/gpufleet
  timeout:
    description:
      - Seconds that each probe may take. A first contact with eight GPUs without persistence mode can take ten.
    type: int
    default: 15
  tools_python:
    description:
      - Python interpreter of the tools environment, which has nvidia-ml-py.
      - Where it does not exist, the module's own interpreter is tried, then C(nvidia-smi). RV(hardware.sources) says what answered.
    type: path
    default: /opt/gpufleet/tools/bin/python
notes:
  - Run it with C(become). Without root, some drivers hide MIG slices and other users' processes.
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.vllm_plan
"""

EXAMPLES = r"""
- name: Look at the hardware
  gpufleet.llm.gpu_info:
  become: true
  register: seen

- name: Name the GPUs that cannot be used, and why
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.problem }}"
  loop: "{{ seen.hardware.accelerators | rejectattr('usable') }}"
  loop_control:
    label: "{{ item.pci_bus_id }}"

- name: Measure the disk that models will be stored on
  gpufleet.llm.gpu_info:
    paths:
      - /data/models
"""

RETURN = r"""
hardware:
  description: The hardware facts.
  returned: always
  type: dict
  contains:
    schema:
      description: Name and version of this structure.
      type: str
      sample: gpufleet.hardware/1
    accelerators:
      description: One entry per card, usable or not. Indices are NVML's; cards that NVML does not list follow.
      type: list
      elements: dict
      contains:
        index:
          description: Index as C(nvidia-smi) counts (PCI order).
          type: int
        uuid:
          description: The card's UUID.
          type: str
          sample: GPU-19d6d965-2acc-f646-00f8-4c76979aabb4
        vendor:
          description: V(nvidia) or V(amd).
          type: str
        name:
          description: Product name.
          type: str
        pci_bus_id:
          description: PCI address as in sysfs.
          type: str
          sample: "0000:0c:00.0"
        memory_total_bytes:
          description: The card's memory in bytes; the system's where they are one.
          type: int
        memory_free_bytes:
          description: Free memory in bytes.
          type: int
        memory_reserved_bytes:
          description: Part of the total that the driver keeps; CUDA's total is less by this. Null where not reported.
          type: int
        memory_unified:
          description: Whether the memory is the system's own (GB10, Jetson).
          type: bool
        compute_capability:
          description: CUDA compute capability, or null when no driver says.
          type: str
          sample: "8.9"
        architecture:
          description: Generation, such as V(Ampere); for AMD the target, such as V(gfx942).
          type: str
        usable:
          description: Whether engines of this collection can use the card.
          type: bool
        problem:
          description: What is wrong with the card and what to do, or null.
          type: str
        driver:
          description: Kernel driver bound to the card, or null.
          type: str
        mig:
          description: Multi-Instance GPU state, or null where the card has no MIG.
          type: dict
          contains:
            enabled:
              description: Whether MIG is on.
              type: bool
            pending:
              description: Whether it will be on after the next reset.
              type: bool
            slices:
              description: The slices; each is used by its UUID like a card of its own.
              type: list
              elements: dict
              contains:
                uuid:
                  description: The slice's UUID.
                  type: str
                name:
                  description: Profile name.
                  type: str
                  sample: 3g.40gb
                gpu_instance_id:
                  description: GPU instance.
                  type: int
                compute_instance_id:
                  description: Compute instance.
                  type: int
                memory_total_bytes:
                  description: Memory of the slice in bytes.
                  type: int
                memory_free_bytes:
                  description: Free memory of the slice in bytes.
                  type: int
                processes:
                  description: As RV(hardware.accelerators[].processes).
                  type: list
                  elements: dict
        nvlink_peers:
          description: Indices of the cards reached through NVLink.
          type: list
          elements: int
        pcie:
          description: PCIe link at its best, C(gen_max) and C(width_max).
          type: dict
        topology:
          description: How each other card is reached through PCIe, by its index.
          type: dict
          sample: {"1": "PIX", "2": "SYS"}
        numa_node:
          description: NUMA node of the card, or null.
          type: int
        ecc:
          description: ECC, C(enabled) and C(pending), or null where the card has none.
          type: dict
        power_limit_w:
          description: Enforced power limit in watts.
          type: float
        persistence:
          description: Persistence mode.
          type: bool
        compute_mode:
          description: V(default), V(exclusive_process) or V(prohibited).
          type: str
        processes:
          description: Processes that hold memory of the card.
          type: list
          elements: dict
          contains:
            pid:
              description: Process id.
              type: int
            name:
              description: The program's name, without arguments.
              type: str
            memory_bytes:
              description: Memory it holds in bytes, or null when the driver does not say.
              type: int
            unit:
              description: Its systemd unit, or null.
              type: str
              sample: vllm-chat.service
    nvswitches:
      description: Number of NVSwitches on the PCI bus.
      type: int
    driver_version:
      description: Version of the NVIDIA driver, or null.
      type: str
      sample: 590.48.01
    cuda_driver_version:
      description: Newest CUDA version that the driver serves, or null.
      type: str
      sample: "13.1"
    environment:
      description: V(bare) (also virtual machines), V(container), V(wsl) or V(jetson).
      type: str
    cpu:
      description: The processors that this process may use, by affinity and control group.
      type: dict
      contains:
        model:
          description: Model name.
          type: str
        architecture:
          description: Machine architecture.
          type: str
          sample: x86_64
        sockets:
          description: Sockets.
          type: int
        cores:
          description: Physical cores.
          type: int
        threads:
          description: Hardware threads.
          type: int
        quota_cpus:
          description: CPU quota of the control group, in CPUs, or null.
          type: float
        numa_nodes:
          description: NUMA nodes with C(id), the usable C(cpus) and C(memory_total_bytes).
          type: list
          elements: dict
        features:
          description: Instruction sets that engines choose their kernels by.
          type: list
          elements: str
          sample: [avx2, avx512f, avx512_vnni]
    memory_total_bytes:
      description: System memory in bytes, or the control group's limit where that is lower.
      type: int
    memory_available_bytes:
      description: Memory available without swapping, in bytes.
      type: int
    disks:
      description: One entry for each of O(paths).
      type: list
      elements: dict
      contains:
        path:
          description: The path that was asked for.
          type: str
        measured_at:
          description: The existing path that was measured.
          type: str
        total_bytes:
          description: Size of the file system in bytes.
          type: int
        free_bytes:
          description: Space that an ordinary user may still fill, in bytes.
          type: int
    sources:
      description: What each probe said, V(ok) or why it has no answer.
      type: dict
      sample: {"nvml": "ok", "nvidia_smi": "not needed: NVML answered", "pci": "ok"}
    warnings:
      description: What deserves attention.
      type: list
      elements: str
ansible_facts:
  description: The same facts for later tasks, as C(ansible_facts.gpufleet.hardware).
  returned: always
  type: dict
  contains:
    gpufleet:
      description: Facts of this collection.
      type: dict
      contains:
        hardware:
          description: As RV(hardware).
          type: dict
"""

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import TOOLS_PYTHON, run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
    from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import facts
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import TOOLS_PYTHON, run
    from module_utils.errors import GpufleetError
    from module_utils.hardware import facts


def work(module):
    options = module.params
    if options["timeout"] < 1:
        raise GpufleetError("timeout is %d: set at least 1 second" % options["timeout"])
    hardware = facts.collect(options["paths"], options["timeout"], options["tools_python"])
    return {"changed": False, "hardware": hardware, "ansible_facts": {"gpufleet": {"hardware": hardware}}}


def main():
    run(
        work,
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": ["/srv/models", "/opt/gpufleet"]},
            "timeout": {"type": "int", "default": 15},
            "tools_python": {"type": "path", "default": TOOLS_PYTHON},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
