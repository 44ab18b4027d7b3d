#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver_host
short_description: See in one look what decides about a host's NVIDIA driver
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns what decides whether a host needs an NVIDIA driver and how it gets one. Its hardware, distribution and kernel,
    Secure Boot, nouveau, the driver's packages, repositories and services.
  - M(gpufleet.llm.nvidia_driver_plan) decides from this. The role P(gpufleet.llm.nvidia_driver#role) does what is decided.
  - Changes nothing, asks no network, and needs nothing but Python.
options:
  timeout:
    description: Seconds that each probe of the hardware may take.
    type: int
    default: 15
  tools_python:
    description: Python interpreter of the tools environment, as in M(gpufleet.llm.gpu_info).
    type: path
    default: /opt/gpufleet/tools/bin/python
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.gpu_info
  - module: gpufleet.llm.nvidia_driver_plan
"""

EXAMPLES = r"""
- name: Look at the driver
  gpufleet.llm.nvidia_driver_host:
  become: true
  register: seen

- name: Say what is installed
  ansible.builtin.debug:
    var: seen.look.packages
"""

RETURN = r"""
hardware:
  description: As M(gpufleet.llm.gpu_info) returns it, without disks.
  returned: success
  type: dict
look:
  description: What else decides.
  returned: success
  type: dict
  contains:
    architecture:
      description: The machine's, as the kernel names it.
      type: str
      sample: x86_64
    components:
      description: The components of the archive that apt's sources name.
      type: list
      elements: str
      sample: [main, contrib]
    distribution:
      description: C(id), C(version_id), C(codename) and C(name) of C(/etc/os-release).
      type: dict
    epel:
      description: Whether the repository EPEL is configured.
      type: bool
    files:
      description: The text of the files that the role writes, by path, or null.
      type: dict
    fingerprints:
      description: Fingerprints in the key files of the role, by path.
      type: dict
    initramfs:
      description: The C(command) that makes it anew, and whether it is C(stale), older than the blacklist of nouveau.
      type: dict
    kernel:
      description: The running kernel's C(release), whether its C(headers) are there, and the C(images) that packages bring.
      type: dict
    libraries:
      description: Versions of the driver's libraries.
      type: list
      elements: str
      sample: [580.95.05]
    module:
      description: The C(version) and C(kind) of the loaded module, or null.
      type: dict
    nouveau:
      description: Whether nouveau is loaded.
      type: bool
    packages:
      description: By name the C(version), the C(architecture), the C(state) (installed or unfinished), and whether it is C(held).
      type: dict
    reboot_required:
      description: Whether the distribution asks for a reboot.
      type: bool
    repositories:
      description: Configured repositories with C(path), C(name) and C(uri).
      type: list
      elements: dict
    runfile:
      description: Whether a driver was installed with NVIDIA's C(.run) file.
      type: bool
    secure_boot:
      description: Whether Secure Boot is on.
      type: bool
    unfinished:
      description: Packages that dpkg was interrupted in (C(dpkg) where no name is known); it has to complete its work first.
      type: list
      elements: str
    units:
      description:
        - By name whether a service C(exists), is C(enabled), C(active) and C(stale), whether systemd has C(unread) files of
          it, and its C(command).
      type: dict
    vgpu:
      description: Whether a card is a vGPU that a hypervisor gave.
      type: bool
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import nvidia_driver_files, nvidia_driver_packages
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import TOOLS_PYTHON, run
    from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import facts
    from ansible_collections.gpufleet.llm.plugins.module_utils.services import driver_look
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.deployment import nvidia_driver_files, nvidia_driver_packages
    from module_utils.entry import TOOLS_PYTHON, run
    from module_utils.hardware import facts
    from module_utils.services import driver_look


def work(module: AnsibleModule) -> dict:
    params = module.params
    return {
        "changed": False,
        "hardware": facts.collect([], params["timeout"], params["tools_python"]),
        "look": driver_look.look(
            nvidia_driver_files.PATHS,
            sorted(nvidia_driver_packages.KEY_PATH.values()),
            nvidia_driver_files.UNITS,
            nvidia_driver_files.BLACKLIST,
        ),
    }


def main() -> None:
    run(
        work,
        {
            "timeout": {"type": "int", "default": 15},
            "tools_python": {"type": "path", "default": TOOLS_PYTHON},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
