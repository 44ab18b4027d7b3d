#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an Ollama server has and does."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_info
short_description: Look at an Ollama server and its models
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns the version of an Ollama server, its models with their digests and sizes, and what is loaded.
  - With O(store), also what lies on the disk, whether the server runs or not.
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
options:
  store:
    description:
      - Directory of the server's models, its E(OLLAMA_MODELS). Read without the server, sizes are compared and nothing
        is hashed.
      - With it, a server that does not answer is an answer, see RV(running).
    type: path
  timeout:
    description:
      - Seconds that the server may take for an answer. One that starts looks for GPUs first.
    type: float
    default: 60
  url:
    description:
      - Address of the server as V(http://HOST:PORT).
    type: str
    default: http://127.0.0.1:11434
seealso:
  - module: gpufleet.llm.ollama_model
"""

EXAMPLES = r"""
- name: Look at the server of this host
  gpufleet.llm.ollama_info:
  register: ollama

- name: Show how much of each loaded model is on a GPU
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.size_vram }} of {{ item.size }} bytes"
  loop: "{{ ollama.loaded }}"

- name: Look at a store while the server is stopped
  gpufleet.llm.ollama_info:
    store: /srv/models/ollama
"""

RETURN = r"""
running:
  description: Whether the server answered. Always V(true) without O(store), since the module fails otherwise.
  type: bool
  returned: success
problem:
  description: Why the server did not answer, or null.
  type: str
  returned: success
version:
  description: Version of the server, V(0.0.0) for one that was built from source. Null when it does not run.
  type: str
  returned: success
  sample: 0.32.15
models:
  description: The models that the server has, newest first.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name as C(ollama list) prints it.
      type: str
      returned: success
      sample: qwen3:8b
    digest:
      description: SHA-256 of the manifest in hex digits, which identifies the model.
      type: str
      returned: success
    size:
      description: Bytes of all that belongs to it.
      type: int
      returned: success
    modified_at:
      description: When it was last pulled or created. Moves with every pull, also when nothing has changed.
      type: str
      returned: success
    details:
      description: What the server says of it, such as C(format), C(family), C(parameter_size), C(quantization_level).
      type: dict
      returned: success
    capabilities:
      description: What it can do, such as V(completion), V(embedding), V(tools). Empty for old servers.
      type: list
      elements: str
      returned: success
loaded:
  description: The models that are in memory.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name as C(ollama list) prints it.
      type: str
      returned: success
    digest:
      description: Digest of what was loaded.
      type: str
      returned: success
    size:
      description: Bytes that it takes in all.
      type: int
      returned: success
    size_vram:
      description: Bytes of them on GPUs. Less than C(size) means that part of it runs on the CPU.
      type: int
      returned: success
    context_length:
      description: Tokens of context that it was loaded with.
      type: int
      returned: success
    expires_at:
      description: When it is unloaded unless somebody asks it something.
      type: str
      returned: success
digests:
  description: Digest by name.
  type: dict
  returned: success
size:
  description: Bytes of all models. Models that share layers are counted in full.
  type: int
  returned: success
store:
  description: What lies on the disk. Null without O(store).
  type: dict
  returned: success
  contains:
    path:
      description: The directory.
      type: str
      returned: success
    models:
      description: The models there.
      type: list
      elements: dict
      returned: success
      contains:
        name:
          description: Name as C(ollama list) prints it.
          type: str
          returned: success
        digest:
          description: SHA-256 of the manifest in hex digits.
          type: str
          returned: success
        size:
          description: Bytes of all that belongs to it.
          type: int
          returned: success
        problems:
          description: Blobs that are missing or have another size than the manifest says.
          type: list
          elements: str
          returned: success
    blobs_bytes:
      description: Bytes of all blobs that the models name, each counted once.
      type: int
      returned: success
    free_bytes:
      description: Bytes that are free on its file system.
      type: int
      returned: success
    damaged:
      description: What lies among the manifests and is none. With one of these, Ollama never removes unused blobs.
      type: list
      elements: dict
      returned: success
      contains:
        path:
          description: The file.
          type: str
          returned: success
        reason:
          description: What is wrong with it.
          type: str
          returned: success
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama import info
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.engines.ollama import info
    from module_utils.entry import run

ARGUMENT_SPEC = {
    "store": {"type": "path"},
    "timeout": {"type": "float", "default": 60},
    "url": {"type": "str", "default": "http://127.0.0.1:11434"},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    return info.answer(module.params)


def main() -> None:
    """Run the module."""
    run(work, ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
