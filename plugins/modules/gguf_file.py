#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One GGUF file made from others: merged from its parts, or quantized."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_file
short_description: Have a GGUF file that is merged from parts, or quantized
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Makes one GGUF file from a model in parts, or a smaller one by quantizing it.
  - Models come in parts of two kinds, which must not be mixed up. A set that llama.cpp's gguf-split made has GGUF files only, and
    is merged tensor by tensor. A file that was cut up for an upload has one piece that begins as GGUF does, and its pieces
    are joined byte by byte. The module tells them by what is in them, and refuses whatever is not clear, before anything
    is written.
  - Mostly a set needs no merging, because llama.cpp, and llama-quantize too, read it by the name of its first file. Ollama and
    vLLM want one file.
  - Merging is done by the module itself, in Python and without any library, so a host needs no llama.cpp for it.
    Quantizing is done by llama.cpp's llama-quantize.
  - The result is written under another name, read back, brought to the disk, and gets its name at last. A run that was killed is
    completed by the next.
  - C(PATH.gpufleet.json) beside the file records what it was made from. A second run recognises the file and its sources by
    size, modification time and inode, without reading them. The sources may be removed.
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details: >-
      Reads the headers and says how large the file would be. Where the source or llama-quantize are not there yet, says so
      instead.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  source:
    description:
      - The model. Of parts one is enough, and the others are found beside it by their names, such as
        C(NAME-00001-of-00003.gguf) of a set, and C(NAME.gguf.part1of3), C(NAME.gguf-split-a) or C(NAME.gguf.00) of pieces.
      - Pieces whose names do not say their order are given all, in their order, with O(sha256).
      - With O(state=quantized), a file of the model, or any file of a gguf-split set.
    type: list
    elements: path
    required: true
  path:
    description:
      - The file to make. Its directory is created when it is missing.
    type: path
    required: true
    aliases: [dest]
  state:
    description:
      - V(merged) is one file with what is in the parts. V(quantized) is a file of another type.
    type: str
    choices: [merged, quantized]
    required: true
  sha256:
    description:
      - What the joined pieces must have. Only for pieces of one file, because what a gguf-split set was made from has another
        header.
    type: str
  type:
    description:
      - The type to quantize to, as llama-quantize spells it, for example V(Q4_K_M), V(Q8_0) or V(BF16).
      - Required with O(state=quantized).
    type: str
  imatrix:
    description:
      - An importance matrix on the host, made with llama-imatrix. The types below 3 bits are refused without one.
    type: path
  allow_requantize:
    description:
      - Quantize a model that is quantized already. It gets worse than from the 16-bit model.
    type: bool
    default: false
  pure:
    description:
      - Give all tensors the same type, where llama-quantize by itself gives some of them more bits.
    type: bool
    default: false
  output_tensor_type:
    description:
      - The type of the tensor C(output.weight), such as V(Q8_0).
    type: str
  token_embedding_type:
    description:
      - The type of the token embeddings.
    type: str
  tensor_types:
    description:
      - Types of single tensors as C(PATTERN=TYPE), such as V(ffn_down=q6_k).
    type: list
    elements: str
  threads:
    description:
      - Threads that llama-quantize uses. V(0) means one for each processor.
    type: int
    default: 0
  llama_quantize:
    description:
      - The program llama-quantize on the host. It must know C(--dry-run), as those of 2026 do.
      - By default the one that the role P(gpufleet.llm.llama_cpp#role) installed, else one on the E(PATH).
    type: path
  force:
    description:
      - Replace a file at O(path) that this module did not make, or that was changed since. One that it made is replaced when
        O(source) or an option changed.
    type: bool
    default: false
  owner:
    description:
      - Owner of the file, a name or number. By default, whoever runs the module, usually root.
    type: str
  group:
    description:
      - Group of the file, a name or number.
    type: str
  mode:
    description:
      - Mode of the file, as an octal string.
    type: str
    default: "0644"
  lock_timeout:
    description:
      - Seconds to wait for another process that makes the same file.
    type: int
    default: 7200
notes:
  - Predicted sizes are the file's to the byte. Those of quantized files come from C(llama-quantize --dry-run), so they follow
    the rules of the version that does the work. With O(imatrix) they are some hundred bytes too large.
  - On another host's copy of the files (rsync -a) the file is hashed once, since its inode differs.
requirements:
  - llama-quantize, for O(state=quantized)
seealso:
  - module: gpufleet.llm.gguf_info
  - module: gpufleet.llm.model_download
  - module: gpufleet.llm.ollama_model
"""

EXAMPLES = r"""
- name: A split model
  gpufleet.llm.model_download:
    source: unsloth/Qwen3-235B-A22B-GGUF
    include: ["Q4_K_M/*.gguf"]
  register: model

- name: The same in one file, for Ollama
  gpufleet.llm.gguf_file:
    source: ["{{ model.path }}/Q4_K_M/Qwen3-235B-A22B-Q4_K_M-00001-of-00003.gguf"]
    path: /srv/models/gguf/Qwen3-235B-A22B-Q4_K_M.gguf
    state: merged

- name: A model that was cut up for an upload
  gpufleet.llm.gguf_file:
    source: [/srv/models/gguf/large.gguf.part1of2]
    path: /srv/models/gguf/large.gguf
    state: merged
    sha256: 3f0d4b1c2f7f8a3a4f6b5d0e9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a4f3e2d1c0b

- name: A smaller one
  gpufleet.llm.gguf_file:
    source: [/srv/models/gguf/Qwen3-8B-BF16.gguf]
    path: /srv/models/gguf/Qwen3-8B-Q4_K_M.gguf
    state: quantized
    type: Q4_K_M
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: success
kind:
  description:
    - V(set) when it was merged from a gguf-split set, V(pieces) when it was joined from pieces of one file, V(quantized).
    - Null in check mode when source or llama-quantize are not there yet.
  type: str
  returned: success
bytes:
  description: Its size. Null in check mode when it is not there.
  type: int
  returned: success
predicted_bytes:
  description: Its size as predicted before the work. Null when nothing was to be made, or nothing is known in check mode.
  type: int
  returned: success
tensors:
  description: How many tensors it has.
  type: int
  returned: success
sha256:
  description: Of the whole file, as it was read back from the disk.
  type: str
  returned: success
inputs:
  description: The files that it was made from.
  type: list
  elements: str
  returned: success
msg:
  description: What was done in one line, and why.
  type: str
  returned: always
record:
  description: The content of C(PATH.gpufleet.json). Null in check mode when the file is not there.
  type: dict
  returned: success
  contains:
    schema:
      description: V(gpufleet.gguf_record/1).
      type: str
    wish:
      description: The options that decide what is in the file.
      type: dict
    inputs:
      description: The files that it was made from, with C(path), C(size), C(mtime_ns) and C(inode).
      type: list
      elements: dict
    result:
      description: The same of the file, and its C(kind), C(tensors) and C(sha256).
      type: dict
    replaces:
      description: The file that had the name before, by C(size), C(mtime_ns) and C(inode). Null when there was none.
      type: dict
    made_at:
      description: When it was made, in UTC.
      type: str
    collection_version:
      description: The version of the collection that made it.
      type: str
needed_bytes:
  description: The size of the file.
  type: int
  returned: when the file system is too small
short_bytes:
  description: Bytes to be freed before it fits.
  type: int
  returned: when the file system is too small
missing:
  description: The parts that are not there, as paths or numbers.
  type: list
  returned: when parts are missing
"""

import os

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.conversion import request
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.conversion import request
    from module_utils.entry import run

ARGUMENT_SPEC = {
    "source": {"type": "list", "elements": "path", "required": True},
    "path": {"type": "path", "required": True, "aliases": ["dest"]},
    "state": {"type": "str", "choices": ["merged", "quantized"], "required": True},
    "sha256": {"type": "str"},
    "type": {"type": "str"},
    "imatrix": {"type": "path"},
    "allow_requantize": {"type": "bool", "default": False},
    "pure": {"type": "bool", "default": False},
    "output_tensor_type": {"type": "str"},
    "token_embedding_type": {"type": "str"},
    "tensor_types": {"type": "list", "elements": "str"},
    "threads": {"type": "int", "default": 0},
    "llama_quantize": {"type": "path"},
    "force": {"type": "bool", "default": False},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "lock_timeout": {"type": "int", "default": 7200},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    result = request.answer(module.params, check_mode=module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main() -> None:
    """Run the module."""
    run(work, ARGUMENT_SPEC, supports_check_mode=True, required_if=[["state", "quantized", ["type"]]])


if __name__ == "__main__":
    main()
