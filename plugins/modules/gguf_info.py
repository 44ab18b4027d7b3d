#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the header of a GGUF file says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_info
short_description: Read the header of a GGUF file
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns what the header of a GGUF file says, such as its metadata, and its tensors by type. Of a split model any file may
    be named, and the others are found beside it.
  - Also says whether all of it is there. Every file of the set must exist, each must reach as far as its header says, and they
    must be of one set.
  - Reads headers only, so it takes milliseconds for models of any size. It needs no library.
  - What a plan needs of a model comes from M(gpufleet.llm.model_info), which reads the same headers.
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
options:
  path:
    description:
      - The file on the host, of a split model any of its files.
    type: path
    required: true
  tensors:
    description:
      - Also return the list of all tensors. Large models have thousands.
    type: bool
    default: false
seealso:
  - module: gpufleet.llm.gguf_file
  - module: gpufleet.llm.model_info
"""

EXAMPLES = r"""
- name: Look at a model
  gpufleet.llm.gguf_info:
    path: /srv/models/gguf/Large-Q4_K_M-00001-of-00003.gguf
  register: large

- name: It must be whole
  ansible.builtin.assert:
    that: large.gguf.complete
    fail_msg: "{{ large.gguf.problems | join(', ') }}"
"""

RETURN = r"""
gguf:
  description: What the headers say.
  type: dict
  returned: success
  contains:
    schema:
      description: V(gpufleet.gguf_info/1).
      type: str
    path:
      description: The file, of a split model the first.
      type: str
    files:
      description:
        - The files of the model with C(name), C(size) (null when it is missing), C(tensors), C(split_no) counted from 0, and
          C(needed_bytes), which is how far its header says that it reaches.
      type: list
      elements: dict
    bytes:
      description: The size of the files that are there.
      type: int
    missing:
      description: The files that are not there.
      type: list
      elements: str
    split:
      description: How many files (C(count)) and tensors (C(tensors)) the set has by its headers. Null when the model is one file.
      type: dict
    complete:
      description: Whether there are no problems.
      type: bool
    problems:
      description: What is missing, truncated or of another set.
      type: list
      elements: str
    version:
      description: The version of the format.
      type: int
    architecture:
      description: The architecture. Null when the first file of a split model is missing, which alone has it.
      type: str
    name:
      description: The name that the model gives itself.
      type: str
    file_type:
      description: The quantization, as V(Q4_K_M). Null when the header does not say or is not understood.
      type: str
    chat_template:
      description: Whether it has a chat template.
      type: bool
    metadata:
      description:
        - All keys of the header but those of the split. In the place of long texts and lists there is how long they are.
      type: dict
    tensors:
      description: How many tensors there are, in the files that are there.
      type: int
    parameters:
      description: How many numbers they hold.
      type: int
    tensor_bytes:
      description: How large they are.
      type: int
    tensors_by_type:
      description: C(tensors), C(parameters) and C(bytes) by type, such as V(Q4_K).
      type: dict
    tensor_list:
      description: The tensors with C(name), C(type), C(shape) as PyTorch counts, C(bytes) and C(file).
      type: list
      elements: dict
      returned: when O(tensors=true)
"""

import os

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.models import gguf_facts
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.models import gguf_facts

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "tensors": {"type": "bool", "default": False},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    return {"changed": False, "gguf": gguf_facts.answer(module.params["path"], module.params["tensors"])}


def main() -> None:
    """Run the module."""
    run(work, ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
