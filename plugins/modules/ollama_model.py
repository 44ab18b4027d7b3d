#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One model of an Ollama server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_model
short_description: Have a model in an Ollama server, loaded, or not at all
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Pulls a model from a registry, or creates one from GGUF files, from a checkpoint in safetensors, from another model
    or from a Modelfile. Loads it, unloads it, deletes it.
  - Needs nothing on the host but the server and Python. The C(ollama) program is not used.
  - A model that is there is recognised by its digest, without a registry and without reading its files. What a model
    was created from is kept in O(record), because the server rewrites the files that it is given. A file is read again
    only when its size, modification time or inode has changed.
  - A model that somebody else has pulled, created or replaced under the same name is noticed by its digest and put
    right.
  - Can be killed at any time. The next run goes on with the download, or creates the model again. Runs with the same
    O(record) wait for one another.
  - Ollama answers most errors in the middle of a successful answer. They are failures here, in the server's words.
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details:
      - Whether O(state=latest) would change anything is asked of the registry, by this host. Where it does not reach
        the registry, a change is reported, with a warning.
      - Without an entry in O(record) nobody knows what a model was created from, so it is reported as to be created.
  diff_mode:
    support: full
    details: Modelfiles before and after, with the hashes of the files. Digests for a model that is pulled.
  idempotent:
    support: full
options:
  adapters:
    description:
      - LoRA adapters to put on the model. GGUF files, or directories in safetensors.
    type: list
    elements: path
  digest:
    description:
      - The digest that a pulled model must have, that is the SHA-256 of its manifest. 64 hex digits, or the first 12
        as C(ollama list) prints them.
      - Where the registry has another one, the module fails and what was there before stays, or comes back.
    type: str
  from:
    description:
      - Name of the model to start from. Pulled first when it is not there.
      - When that model changes, the one made from it is made again.
    type: str
  gguf:
    description:
      - GGUF files on the managed host to create the model from. A model and its projector are two files.
      - Any file of a split set stands for the whole set. A directory stands for the one model in it.
    type: list
    elements: path
  insecure:
    description:
      - Whether to talk to the registry over plain http. It does not mean https without looking at certificates.
    type: bool
    default: false
  keep_alive:
    description:
      - How long a model that O(state=loaded) loads stays without a request. A duration such as V(30m) or V(24h), a
        number of seconds, or V(-1) for ever. By default the server's own, E(OLLAMA_KEEP_ALIVE).
      - For ever is put right where a loaded model has a limit, and the other way round. Two limits are not compared,
        since every request sets its own.
    type: str
  license:
    description:
      - Texts of licences to keep with the model.
    type: list
    elements: str
  messages:
    description:
      - Messages that every conversation starts with.
    type: list
    elements: dict
    suboptions:
      content:
        description: The text.
        type: str
        required: true
      role:
        description: Whose message it is.
        type: str
        required: true
        choices: [system, user, assistant]
  modelfile:
    description:
      - Path of a Modelfile on the managed host. Paths in it start from its directory.
      - O(parameters) given besides are set one by one over those of the file, and the other options take their place.
    type: path
  modelfile_content:
    description:
      - A Modelfile as text. Paths in it must be absolute. Mark it V(!unsafe) where it has a template.
    type: str
  name:
    description:
      - Name of the model as V([host/][namespace/]model[:tag]). Without a tag, V(latest).
    type: str
    required: true
    aliases: [model]
  parameters:
    description:
      - Parameters of the model and their values, such as C(num_ctx), C(temperature) and C(stop). Names and kinds are
        checked, because the server would keep anything.
      - Those that Ollama no longer has are left out with a warning. Those of the model it is made from stay unless they
        are given here.
    type: dict
  progress_file:
    description:
      - File on the managed host with one line that says how far it is, replaced once a second while something is
        pulled, hashed, uploaded, created or loaded. It stays with the last line.
      - With it, the module runs in the background of the host and Ansible shows the line every ten seconds. A connection
        that breaks meanwhile does not end what was begun.
    type: path
  quantize:
    description:
      - Type to quantize to, one of V(F32), V(F16), V(BF16), V(Q8_0), V(Q4_K_S) and V(Q4_K_M). The source has to be in
        16 or 32 bits.
    type: str
  record:
    description:
      - File on the managed host that says what models were created from. One for each server. Its directory is created.
    type: path
    default: /var/lib/gpufleet/ollama/models.json
  safetensors:
    description:
      - Directory on the managed host with a checkpoint in safetensors, which the server converts.
    type: path
  stall_timeout:
    description:
      - Seconds that a pull may go without progress. The server itself tries again for about two minutes.
      - Does not count while the server verifies what it has fetched, or while it creates a model. It says nothing then.
    type: float
    default: 180
  state:
    description:
      - With V(present), the model is there as the options say.
      - With V(latest), the registry is asked for a newer one on every run.
      - With V(loaded), it is there and in memory.
      - With V(unloaded), it is not in memory. The module waits up to five minutes for requests that it is answering.
      - With V(absent), it is unloaded and deleted, with its entry in O(record). Requests have ten seconds to end.
    type: str
    choices: [absent, latest, loaded, present, unloaded]
    default: present
  store:
    description:
      - Directory of the server's models, its E(OLLAMA_MODELS). With it, the room on the disk is checked before it is
        used, and blobs of the model that are missing or have a wrong size are found and fetched again. Ollama itself
        takes a blob for whole when its name is right.
    type: path
  system:
    description:
      - The system message.
    type: str
  template:
    description:
      - The template of the prompt, in Go's language. Its braces are those of Jinja too, so mark it V(!unsafe), or keep
        it in a Modelfile.
    type: str
  timeout:
    description:
      - Seconds that everything together may take, with waiting for another run.
    type: float
    default: 14400
  url:
    description:
      - Address of the server as V(http://HOST:PORT). Proxies of the environment are not used for it.
    type: str
    default: http://127.0.0.1:11434
notes:
  - The server fetches models, so a proxy belongs into the environment of its service.
  - A file that a model was created from may be deleted. The model that is there stays as it is.
  - The server keeps the uploaded files beside the model that it makes of them, until it is started again an hour later.
  - Models of Ollama's cloud (C(:cloud)) are refused.
seealso:
  - module: gpufleet.llm.model_download
  - module: gpufleet.llm.ollama_info
  - module: gpufleet.llm.ollama_plan
"""

EXAMPLES = r"""
- name: A model of the registry
  gpufleet.llm.ollama_model:
    name: qwen3:8b

- name: The very same one on every host
  gpufleet.llm.ollama_model:
    name: qwen3:8b
    digest: 500a1f067a9f782620b40bee6f7b0c89e17ae61f686b92c24933e4ca4b2b8b41
    store: /srv/models/ollama

- name: One with a larger context and a system message of its own
  gpufleet.llm.ollama_model:
    name: support
    from: qwen3:8b
    parameters:
      num_ctx: 32768
      temperature: 0.2
      stop: ["<|im_end|>"]
    system: You help the customers of example.com.

- name: With a template
  gpufleet.llm.ollama_model:
    name: plain
    from: qwen3:8b
    template: !unsafe "{{ .System }} {{ .Prompt }}"

- name: From a split GGUF, by its first file
  gpufleet.llm.ollama_model:
    name: large:q4
    gguf:
      - /srv/models/gguf/Large-Q4_K_M-00001-of-00003.gguf
    store: /srv/models/ollama
    progress_file: /run/gpufleet-large.progress

- name: From a checkpoint, quantized
  gpufleet.llm.ollama_model:
    name: tuned:q4
    safetensors: /srv/models/huggingface/example/tuned/main
    quantize: Q4_K_M
    store: /srv/models/ollama

- name: From a Modelfile
  gpufleet.llm.ollama_model:
    name: translator
    modelfile: /etc/gpufleet/ollama/translator.Modelfile

- name: In memory for ever
  gpufleet.llm.ollama_model:
    name: qwen3:8b
    state: loaded
    keep_alive: "-1"
  register: chat

- name: All of it on the GPU
  ansible.builtin.assert:
    that: chat.loaded.size_vram == chat.loaded.size

- name: Gone
  gpufleet.llm.ollama_model:
    name: mistral:7b
    state: absent
"""

RETURN = r"""
name:
  description: Name of the model as C(ollama list) prints it.
  type: str
  returned: success
  sample: qwen3:8b
digest:
  description: SHA-256 of its manifest in hex digits. Null when it is not there.
  type: str
  returned: success
previous_digest:
  description: The digest before. Null when it was not there.
  type: str
  returned: success
size:
  description: Bytes of all that belongs to it. Null when it is not there.
  type: int
  returned: success
actions:
  description: What was done in order, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: ["upload /srv/models/gguf/tiny.gguf (1.2 GiB)", "create tiny:latest"]
reasons:
  description: Why something was to be done. May be more than turned out to be needed.
  type: list
  elements: str
  returned: success
  sample: ["parameter num_ctx is 4096, not 8192"]
model:
  description:
    - What the server says of it, such as C(format), C(family), C(parameter_size) and C(quantization_level). Null when
      it is not there.
  type: dict
  returned: success
loaded:
  description: How it is in memory. Null for other states than V(loaded), and in check mode when it is not.
  type: dict
  returned: success
  contains:
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
needed_bytes:
  description: Bytes that are needed.
  type: int
  returned: when the disk is too small
short_bytes:
  description: Bytes to be freed.
  type: int
  returned: when the disk is too small
server_error:
  description: The server's own words.
  type: str
  returned: when the server refuses
http_status:
  description: Status of the server's answer, V(200) for an error in the middle of one.
  type: int
  returned: when the server refuses
verdict:
  description: What became of the connection, such as V(refused), V(timeout) or V(unreachable).
  type: str
  returned: when the server does not answer
found_digest:
  description: The digest that the registry has.
  type: str
  returned: when it is not the one of O(digest)
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama import ensure
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.engines.ollama import ensure
    from module_utils.entry import run

ARGUMENT_SPEC = {
    "adapters": {"type": "list", "elements": "path"},
    "digest": {"type": "str"},
    "from": {"type": "str"},
    "gguf": {"type": "list", "elements": "path"},
    "insecure": {"type": "bool", "default": False},
    "keep_alive": {"type": "str"},
    "license": {"type": "list", "elements": "str"},
    "messages": {
        "type": "list",
        "elements": "dict",
        "options": {
            "content": {"type": "str", "required": True},
            "role": {"type": "str", "required": True, "choices": ["system", "user", "assistant"]},
        },
    },
    "modelfile": {"type": "path"},
    "modelfile_content": {"type": "str"},
    "name": {"type": "str", "required": True, "aliases": ["model"]},
    "parameters": {"type": "dict"},
    "progress_file": {"type": "path"},
    "quantize": {"type": "str"},
    "record": {"type": "path", "default": "/var/lib/gpufleet/ollama/models.json"},
    "safetensors": {"type": "path"},
    "stall_timeout": {"type": "float", "default": 180},
    "state": {"type": "str", "choices": ["absent", "latest", "loaded", "present", "unloaded"], "default": "present"},
    "store": {"type": "path"},
    "system": {"type": "str"},
    "template": {"type": "str"},
    "timeout": {"type": "float", "default": 14400},
    "url": {"type": "str", "default": "http://127.0.0.1:11434"},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    result = ensure.answer(module.params, module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main() -> None:
    """Run the module."""
    run(
        work,
        ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[["from", "gguf", "modelfile", "modelfile_content", "safetensors"]],
    )


if __name__ == "__main__":
    main()
