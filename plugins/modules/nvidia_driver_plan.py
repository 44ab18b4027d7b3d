#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nvidia_driver_plan
short_description: Decide what is to be done about a host's NVIDIA driver
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Decides from the hardware and the look of M(gpufleet.llm.nvidia_driver_host) whether a driver is good as it is, has to
    be installed or upgraded, waits for a reboot, or cannot be installed, and from which packages of which repository.
  - A driver that works and is new enough is left alone, whoever installed it.
  - Pure computation. It reads nothing from the host and changes nothing. A refusal is an answer and no error of this module.
options:
  hardware:
    description: Hardware facts as M(gpufleet.llm.gpu_info) returns them.
    type: dict
    required: true
  look:
    description: What M(gpufleet.llm.nvidia_driver_host) saw beside the hardware.
    type: dict
    required: true
  branch:
    description: Driver branch, such as V(580). When empty, the one that fits cards, engines and distribution.
    type: str
    default: ""
  distribution_url:
    description: Where Debian's packages come from, for C(contrib) and C(non-free) where the host's sources lack them.
    type: str
    default: http://deb.debian.org/debian
  engines:
    description:
      - The engines that will run, V(vllm) and V(ollama), with their versions. What they need is known to the planners.
      - V(auto) for the version stands for the newest that is known.
    type: dict
    default:
      vllm: auto
  fingerprint:
    description: Fingerprint of the key that signs the repository. That of NVIDIA's own key is known.
    type: str
    default: ""
  hold:
    description: Whether the packages are kept from upgrades that nobody asked for.
    type: bool
    default: true
  install:
    description: Whether a driver may be installed.
    type: bool
    default: false
  key_file:
    description: File with the key that signs the repository, instead of O(key_url).
    type: str
    default: ""
  key_url:
    description: Where that key is. By default beside the repository's packages, under NVIDIA's name for it.
    type: str
    default: ""
  minimum:
    description: Oldest driver that will do, such as V(580) or V(580.95.05). The engines may need a newer one.
    type: str
    default: ""
  modules:
    description: Which kernel modules to use. With V(auto) the open ones where the cards allow them.
    type: str
    choices: [auto, open, proprietary]
    default: auto
  mok_enrolled:
    description: That the firmware knows the key which signs DKMS' modules, so that Secure Boot takes them.
    type: bool
    default: false
  offline:
    description: Whether the vendors' sites are out of bounds.
    type: bool
    default: false
  reboot:
    description: Whether the host may be rebooted.
    type: bool
    default: false
  repository_url:
    description: NVIDIA's repositories, or a mirror with their layout.
    type: str
    default: https://developer.download.nvidia.com/compute/cuda/repos
  source:
    description:
      - Whose packages, the V(distribution)'s or NVIDIA's (V(nvidia)).
      - With V(auto) those that are installed, else the distribution's on Ubuntu and NVIDIA's elsewhere.
    type: str
    choices: [auto, distribution, nvidia]
    default: auto
  upgrade:
    description: Whether a driver that works but is too old may be upgraded. O(install) has to be true as well.
    type: bool
    default: false
  version:
    description: Exact driver version, such as V(580.95.05). When empty, the newest of the branch.
    type: str
    default: ""
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.nvidia_driver_host
"""

EXAMPLES = r"""
- name: Look
  gpufleet.llm.nvidia_driver_host:
  register: seen

- name: Decide
  gpufleet.llm.nvidia_driver_plan:
    hardware: "{{ seen.hardware }}"
    look: "{{ seen.look }}"
    install: true
  register: decided

- name: Say why
  ansible.builtin.debug:
    msg: "{{ decided.decision.action }}: {{ decided.decision.reasons | join(' ') }}"
"""

RETURN = r"""
decision:
  description: What is to be done, and why.
  returned: success
  type: dict
  contains:
    schema:
      description: Name and version of this structure.
      type: str
      sample: gpufleet.nvidia_driver_plan/1
    action:
      description: V(none), V(install), V(upgrade), V(reboot) or V(refuse).
      type: str
    reasons:
      description: One sentence for each thing that was decided.
      type: list
      elements: str
    refusal:
      description: Null, or C(code), C(message) and C(remedies).
      type: dict
    present:
      description: The driver that is there, C(state) and C(version).
      type: dict
    needed:
      description: The oldest C(version) that will do, and C(why).
      type: dict
    manager:
      description: V(apt) or V(dnf).
      type: str
    source:
      description: V(distribution) or V(nvidia).
      type: str
    branch:
      description: The driver's branch.
      type: int
      sample: 580
    version:
      description: The driver's version where it is known, because it is installed or was asked for.
      type: str
    modules:
      description: V(open) or V(proprietary).
      type: str
    repository:
      description: The repository that has to be configured, or null where the host has it.
      type: dict
    stream:
      description: Module stream of dnf that stands for the branch, or null.
      type: str
    version_lock:
      description: Pattern that keeps dnf on the branch, or null.
      type: str
    packages:
      description: All packages in the order of their installation. C(rule) is V(any), V(branch), V(exact) or V(driver).
      type: list
      elements: dict
    headers:
      description: Those of them that are kernel headers.
      type: list
      elements: str
    blacklist:
      description: Whether nouveau is kept from loading.
      type: bool
    files:
      description: Files with their content.
      type: list
      elements: dict
    directories:
      description: The directories that they are in.
      type: list
      elements: str
    holds:
      description: Packages that are kept at their version.
      type: list
      elements: str
    services:
      description: Services that run.
      type: list
      elements: str
    daemon_reload:
      description: Whether systemd has to read units again before it starts what is due.
      type: bool
    reboot:
      description: Whether one is C(needed), C(why), and whether it is C(allowed).
      type: dict
    due:
      description: What of all this is not so yet. A run goes on until nothing is.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import nvidia_driver
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.deployment import nvidia_driver
    from module_utils.entry import run

TEXT = {"type": "str", "default": ""}
SWITCH = {"type": "bool", "default": False}


def work(module: AnsibleModule) -> dict:
    wishes = dict(module.params)
    hardware, look = wishes.pop("hardware"), wishes.pop("look")
    return {"changed": False, "decision": nvidia_driver.decide(hardware, look, wishes)}


def main() -> None:
    run(
        work,
        {
            "hardware": {"type": "dict", "required": True},
            "look": {"type": "dict", "required": True},
            "branch": TEXT,
            "distribution_url": {"type": "str", "default": "http://deb.debian.org/debian"},
            "engines": {"type": "dict", "default": {"vllm": "auto"}},
            "fingerprint": TEXT,
            "hold": {"type": "bool", "default": True},
            "install": SWITCH,
            "key_file": dict(TEXT, no_log=False),
            "key_url": dict(TEXT, no_log=False),
            "minimum": TEXT,
            "modules": {"type": "str", "choices": ["auto", "open", "proprietary"], "default": "auto"},
            "mok_enrolled": SWITCH,
            "offline": SWITCH,
            "reboot": SWITCH,
            "repository_url": {"type": "str", "default": "https://developer.download.nvidia.com/compute/cuda/repos"},
            "source": {"type": "str", "choices": ["auto", "distribution", "nvidia"], "default": "auto"},
            "upgrade": SWITCH,
            "version": TEXT,
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
