#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image
short_description: Have an image in Docker or Podman, known by its digest
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Pulls an image, or loads one from an archive, and says by which reference it is to be run, so that the same one runs
    everywhere and always. That is the digest of the registry, or the image's id for one from an archive.
  - A tag is looked up once. From then on the image that it meant is used, until O(name) changes.
  - A second run asks the engine whether it has the image. It asks no registry and reads no archive.
  - Talks to the engine with its own command, and needs no Python library on the host.
options:
  archive:
    description:
      - An archive on the managed host with one image, as C(docker save) and C(podman save) write it.
      - One that has changed since, by size, time or inode, is loaded again.
    type: path
  auth_file:
    description:
      - File on the managed host with the credentials for registries, as C(podman login) and C(docker login) write it. For
        Docker it has to be named C(config.json).
    type: path
  digest:
    description: The digest that the image of O(name) must have in its registry, C(sha256:) and 64 hex digits.
    type: str
  engine:
    description: The engine.
    type: str
    choices: [docker, podman]
    required: true
  keep:
    description: With O(state=pruned), how many unused images stay. First those that O(proven_by) once named, then the newest.
    type: int
    default: 1
  name:
    description: The image as V(REGISTRY/NAME[:TAG][@sha256:DIGEST]).
    type: str
  offline:
    description: Refuse to pull.
    type: bool
    default: false
  proven_by:
    description:
      - With O(state=pruned), patterns of files that name images which have worked, as a way back.
      - They count as used while they are named, and afterwards stay longer than images that never were.
    type: list
    elements: str
    default: []
  records:
    description: Directory on the managed host where this module writes down what it brought. It is created.
    type: path
    default: /var/lib/gpufleet/images
  sha256:
    description: The sum of O(archive), 64 hex digits. It is checked before the engine sees the archive.
    type: str
  state:
    description:
      - V(pruned) removes what this module brought, no file of O(used_by) and O(proven_by) names, and no container was made
        from. Images of others are never touched.
    type: str
    choices: [present, pruned]
    default: present
  timeout:
    description: Seconds that the engine may take for one thing, such as a pull.
    type: int
    default: 7200
  used_by:
    description: With O(state=pruned), patterns of files that name the images in use, such as units.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details: Asks no registry. Of an image that is not there and has no digest, RV(reference) is not known.
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: By digest
  gpufleet.llm.container_image:
    engine: podman
    name: docker.io/vllm/vllm-openai:v0.33.0
    digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  register: image

- name: From an archive that was carried into the site
  gpufleet.llm.container_image:
    engine: docker
    archive: /srv/transfer/vllm-openai-0.33.0.tar
    sha256: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752

- name: Remove those that no unit starts any more, but for the newest
  gpufleet.llm.container_image:
    engine: podman
    state: pruned
    used_by:
      - /etc/containers/systemd/*.container
"""

RETURN = r"""
actions:
  description: What was done, or would be.
  type: list
  elements: str
  returned: success
  sample: ["pull docker.io/vllm/vllm-openai:v0.33.0"]
id:
  description: Id of the image in the engine, 64 hex digits. Null in check mode when it is not there.
  type: str
  returned: success
reference:
  description: What to run, C(NAME@sha256:DIGEST) or the id. Null in check mode when it is not known yet.
  type: str
  returned: success
  sample: docker.io/vllm/vllm-openai@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
size_bytes:
  description: Bytes that it takes, as the engine counts them.
  type: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.software import container_image
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.software import container_image

ARGUMENTS = {
    "archive": {"type": "path"},
    "auth_file": {"type": "path"},
    "digest": {"type": "str"},
    "engine": {"type": "str", "choices": ["docker", "podman"], "required": True},
    "keep": {"type": "int", "default": 1},
    "name": {"type": "str"},
    "offline": {"type": "bool", "default": False},
    "proven_by": {"type": "list", "elements": "str", "default": []},
    "records": {"type": "path", "default": "/var/lib/gpufleet/images"},
    "sha256": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "pruned"], "default": "present"},
    "timeout": {"type": "int", "default": 7200},
    "used_by": {"type": "list", "elements": "str", "default": []},
}


def work(module: AnsibleModule) -> dict:
    return container_image.answer(module.params, module.check_mode)


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True)


if __name__ == "__main__":
    main()
