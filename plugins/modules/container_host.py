#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_host
short_description: See in one look what a host has of container engines and of NVIDIA's toolkit for them
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns at once everything that decides what is to be done about containers with GPUs on a host. The engines and what they
    run, what Docker says of itself, packages, repositories and their keys, CDI specifications, units, and the GPUs.
  - The roles P(gpufleet.llm.container_engine#role) and P(gpufleet.llm.nvidia_container_toolkit#role) compare this with what is
    wanted. So a run on a host where all is well is one look and no more.
  - Changes nothing, starts nothing, and asks no network. Needs nothing but Python. Of Podman's containers it sees those of the
    user that it runs as.
options:
  digests:
    description: Files of which only the SHA-256 of the content is wanted, for they may hold a secret.
    type: list
    elements: path
    default: []
  files:
    description: Files whose state and text are wanted.
    type: list
    elements: path
    default: []
  images:
    description: Names of images of which it is to be said whether the engines have them.
    type: list
    elements: str
    default: []
  packages:
    description: Names of packages whose version, state and hold are wanted.
    type: list
    elements: str
    default: []
  source_addresses:
    description: A regular expression. Files of repositories in which it is found are returned with their text.
    type: str
    default: (nvidia\.github\.io|download\.docker\.com)
  units:
    description: More systemd units whose state is wanted.
    type: list
    elements: str
    default: []
  users:
    description: Accounts that are to run Podman without root.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: gpufleet.llm.gpu_info
"""

EXAMPLES = r"""
- name: See which engines there are, and whether containers use the GPUs
  gpufleet.llm.container_host:
  register: __containers

- name: Say so
  ansible.builtin.debug:
    msg: "{{ item.key }} {{ item.value.version }}: {{ item.value.containers | selectattr('gpu') | map(attribute='name') | list }}"
  loop: "{{ __containers.engines | dict2items }}"
  loop_control:
    label: "{{ item.key }}"
"""

RETURN = r"""
cdi:
  description:
    - The CDI specifications, each with C(path), C(version) of the specification's format, C(kind), names of C(devices), those
      device files that are C(missing), whether nvidia-ctk has C(generated) it, C(mtime), and whether it C(names_driver), the
      version that is loaded.
  returned: success
  type: list
  elements: dict
  sample: [{path: /var/run/cdi/nvidia.yaml, version: 0.7.0, kind: nvidia.com/gpu, devices: ["0", all], generated: true}]
digests:
  description: SHA-256 of the content of O(digests), null for a file that is not there.
  returned: success
  type: dict
engines:
  description:
    - docker, podman, containerd and crio, those that are there. Each with C(version), C(program), C(active), C(enabled),
      C(started_at), C(cli) (whether its client is there), C(images) (those of O(images) that it has) and C(containers), the
      running ones, whose C(gpu) is C(cdi), C(legacy) (given by the hook), C(devices) or empty.
    - A Docker that runs has C(info) with what its configuration in force is, and C(arguments), the options that it was started
      with.
  returned: success
  type: dict
  sample: {podman: {version: 5.4.2, active: false, containers: [{name: chat, gpu: cdi}]}}
files:
  description: State and text of O(files), by path.
  returned: success
  type: dict
fingerprints:
  description: Fingerprints of the OpenPGP keys by file, of apt's keyrings and rpm's.
  returned: success
  type: dict
gpu:
  description:
    - Number of NVIDIA's C(cards) on the PCI bus, C(devices) (files of GPUs in /dev), version of the loaded C(driver), path of
      nvidia-smi as C(smi), and whether nvidia-cdi-refresh.service does its work here (C(refreshable)) or is skipped.
  returned: success
  type: dict
packages:
  description: Of O(packages), those that are there, with C(version), C(architecture), C(state) (installed, config-files, unfinished)
    and C(held).
  returned: success
  type: dict
  sample: {nvidia-container-toolkit-base: {version: 1.20.0-1, state: installed, held: true}}
sources:
  description: Text of the repositories' files in which O(source_addresses) is found, by path.
  returned: success
  type: dict
system:
  description: The distribution, its package manager, the architecture, and whether SELinux labels files.
  returned: success
  type: dict
times:
  description: When O(digests) were written, in seconds since 1970; null for a file that is not there.
  returned: success
  type: dict
unfinished:
  description: Packages that dpkg has begun with and not finished.
  returned: success
  type: list
  elements: str
units:
  description: State of the units, by name.
  returned: success
  type: dict
users:
  description: What O(users) have that Podman without root needs; null for one that does not exist.
  returned: success
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.services import container_look, host_look, packages
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.services import container_look, host_look, packages

ARGUMENTS = {
    "digests": {"type": "list", "elements": "path", "default": []},
    "files": {"type": "list", "elements": "path", "default": []},
    "images": {"type": "list", "elements": "str", "default": []},
    "packages": {"type": "list", "elements": "str", "default": []},
    "source_addresses": {"type": "str", "default": r"(nvidia\.github\.io|download\.docker\.com)"},
    "units": {"type": "list", "elements": "str", "default": []},
    "users": {"type": "list", "elements": "str", "default": []},
}


def work(module: AnsibleModule) -> dict:
    options = module.params
    system = container_look.system()
    apt = system["package_manager"] == "apt"
    there = packages.of_apt() if apt else packages.of_rpm()
    units = container_look.units(list(dict.fromkeys([*container_look.UNITS.values(), *options["units"]])))
    files = {path: host_look.file(path) for path in options["files"]}
    gpu = container_look.gpu()
    hooked = any(path.endswith("oci-nvidia-hook.json") and state["type"] != "absent" for path, state in files.items())
    return {
        "changed": False,
        "system": system,
        "packages": {name: there[name] for name in options["packages"] if name in there},
        "unfinished": packages.unfinished(there) if apt else [],
        "files": files,
        "digests": {path: module.sha256(path) for path in options["digests"]},
        "times": {path: os.stat(path).st_mtime if os.path.exists(path) else None for path in options["digests"]},
        "sources": container_look.sources(options["source_addresses"]),
        "fingerprints": container_look.keys(),
        "units": units,
        "engines": container_look.engines(units, options["images"], hooked),
        "cdi": container_look.cdi(gpu["driver"]),
        "gpu": gpu,
        "users": {name: container_look.rootless(name) for name in options["users"]},
    }


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True)


if __name__ == "__main__":
    main()
