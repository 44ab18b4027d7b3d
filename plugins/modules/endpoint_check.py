#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_check
short_description: Prove that an OpenAI-compatible server answers
version_added: 0.1.0
description:
  - Looks at a server from the port up to an answer of the model, again and again until it is ready, never will be, or
    the deadline has passed.
  - A healthy C(/health) is not taken for an answer. An engine that is stuck behind a healthy port is told apart from
    one that loads, and from one that is busy.
  - Needs nothing but Python on the managed host.
options:
  container:
    description:
      - Name of the container in whose processes O(devices) are looked for. Without it, those of O(service).
      - Not needed where the container's processes are in the service's own control group, as Podman's Quadlet has it.
    type: str
  container_engine:
    description: What O(container) runs in. Its command is asked for the container's control group.
    type: str
    choices: [docker, podman]
    default: docker
  deadline:
    description:
      - For how many seconds to look again when time alone may help. V(0) looks once.
      - The last look begins before the deadline and takes as long as it needs, at most a few times O(timeout).
    type: float
    default: 60
  devices:
    description:
      - GPUs or MIG slices, by index or UUID, on each of which a process of O(service) or O(container) must hold memory once
        the server is as O(state) asks. An engine that came up without its GPU answers all the same, from the CPU.
      - The driver is asked, through NVML or nvidia-smi. With O(engine=ollama) it is Ollama's own account of the model, since
        it chooses among its devices when it loads one.
    type: list
    elements: str
  engine:
    description:
      - Which server it is, and so where it reports its health and its version.
      - With V(vllm), a server without tokens is looked up in C(/metrics); with V(ollama), in C(/api/ps).
      - V(generic) uses C(/v1/models) as the sign of health.
    type: str
    choices: [generic, ollama, tensorrt_llm, vllm]
    default: generic
  expected:
    description:
      - Text that the answer must contain. Upper and lower case are the same.
    type: str
  in_check_mode:
    description:
      - What to do in check mode. V(skip) is for roles that in check mode have not started what is to be looked at.
    type: str
    choices: [look, skip]
    default: look
  interval:
    description: Seconds between two looks.
    type: float
    default: 2
  kind:
    description:
      - What to ask for.
      - V(auto) asks for a chat when O(prompt) is given and for a completion otherwise, and turns to the other, and to
        an embedding when O(expected) is not given, where the server does not offer the first.
    type: str
    choices: [auto, chat, completion, embedding]
    default: auto
  max_tokens:
    description:
      - The most tokens to generate. Without it 1, or 64 when O(expected) is given.
    type: int
  model:
    description:
      - Name of the model to ask. Without it the first that the server lists.
    type: str
  prompt:
    description:
      - What to ask, with temperature 0. Without it a word that any model can go on from.
    type: str
    aliases: [question]
  required:
    description:
      - Whether the module fails when the verdict is not V(ok). With V(false) the verdict is the answer.
    type: bool
    default: true
  restarts_allowed:
    description:
      - How often O(service) may be restarted by systemd while this module waits. Once more, and waiting ends.
    type: int
    default: 2
  service:
    description:
      - The systemd unit behind the server. When it has failed, waiting ends at once, and the last lines of its
        journal are returned. When something else answers in its place, that is no success.
    type: str
    aliases: [unit]
  state:
    description:
      - How far up to look. V(listening) is any HTTP answer, V(healthy) a good one to the health path, V(serving) has
        the model listed too, and V(answering) asks it.
    type: str
    choices: [answering, healthy, listening, serving]
    default: answering
  tools_python:
    description: Interpreter that has nvidia-ml-py, for O(devices). Without it, nvidia-smi is asked.
    type: path
    default: /opt/gpufleet/tools/bin/python
extends_documentation_fragment:
  - gpufleet.llm.endpoint
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
author:
  - gpufleet.llm contributors (@gpufleet)
"""

EXAMPLES = r"""
- name: Wait until vLLM answers
  gpufleet.llm.endpoint_check:
    url: http://127.0.0.1:8000
    engine: vllm
    model: chat
    api_key_file: /etc/gpufleet/vllm/chat.key
    service: vllm-chat.service
    deadline: 900

- name: Fail when it does not answer from its GPUs
  gpufleet.llm.endpoint_check:
    url: http://127.0.0.1:8000
    engine: vllm
    service: vllm-chat.service
    devices: [GPU-5d1c4b0e-8a3c-4f0e-9a51-6a0d0f6a7b11]

- name: Prove that the model knows what it should
  gpufleet.llm.endpoint_check:
    url: https://llm.example.org/team-a
    ca_path: /etc/ssl/certs/example.pem
    api_key_file: /etc/gpufleet/probe.key
    prompt: What is the capital of France?
    expected: Paris

- name: See how an endpoint does, whatever that is
  gpufleet.llm.endpoint_check:
    url: unix:///run/vllm/chat.sock
    engine: vllm
    deadline: 0
    required: false
  register: chat
"""

RETURN = r"""
advice:
  description: What to do about the verdict; empty when it is V(ok).
  returned: when looked
  type: str
attempts:
  description: How many times this looked.
  returned: when looked
  type: int
detail:
  description: What was seen, in one sentence.
  returned: when looked
  type: str
embedding_dimensions:
  description: Length of the embedding; null when none was asked for.
  returned: when looked
  type: int
engine_version:
  description: The server's version, where O(engine) has a path for it; else null.
  returned: when looked
  type: str
finish_reason:
  description: Why the answer ended, in the server's word; null without an answer.
  returned: when looked
  type: str
  sample: stop
gpu_memory:
  description:
    - Of each of O(devices) what is held there; null when it did not come to that.
    - With O(engine=ollama), the model as Ollama has loaded it, with C(size) and C(size_vram).
  returned: when looked
  type: list
  elements: dict
  sample: [{device: "0", found: true, problem: null, processes: 1, memory_bytes: 21474836480, other_processes: 0, other_memory_bytes: 0}]
healthy:
  description: Whether the health path answered well; null when it was not reached.
  returned: when looked
  type: bool
history:
  description: The verdicts that followed each other, with the number of looks and when the first of them ended.
  returned: when looked
  type: list
  elements: dict
  sample: [{verdict: not_listening, attempts: 14, since_s: 0.002}, {verdict: ok, attempts: 1, since_s: 28.4}]
http_status:
  description: The last HTTP status that counted; null when there was none.
  returned: when looked
  type: int
journal:
  description: The last lines of the service's journal, oldest first; empty when the verdict is V(ok).
  returned: when O(service) is given
  type: list
  elements: str
kind:
  description: What was asked for last; null when nothing was.
  returned: when looked
  type: str
latency_s:
  description: Seconds from the sent request to the end of the answer; null without an answer.
  returned: when looked
  type: float
model:
  description: The model that was asked; null when it did not come to that.
  returned: when looked
  type: str
models:
  description: The models that the server lists.
  returned: when looked
  type: list
  elements: str
ok:
  description: Whether the verdict is V(ok).
  returned: when looked
  type: bool
service:
  description: What systemd says about O(service).
  returned: when O(service) is given
  type: dict
  sample: {unit: vllm-chat.service, state: active (running), active: true, result: success, n_restarts: 0}
text:
  description: The answer, without what the model thought before it; null without one.
  returned: when looked
  type: str
tokens:
  description: Number of generated tokens as the server counts, or else the pieces that came; null without an answer.
  returned: when looked
  type: int
tokens_per_s:
  description: Tokens after the first by the time that they took; null with fewer than two.
  returned: when looked
  type: float
ttft_s:
  description: Seconds from the sent request to the first token; null without one.
  returned: when looked
  type: float
verdict:
  description:
    - V(ok), the wish is fulfilled.
    - V(refused), nothing listens at the address. V(not_listening), nothing yet, but the service runs, or the socket
      does not exist yet. V(unreachable), no such host or no route.
    - V(loading), the server says that it loads the model. V(overloaded), it is busy with other requests.
    - V(timeout), it takes the connection and does not answer. V(hung), it is healthy and its engine makes no tokens.
    - V(unauthorized), the key is missing or wrong. V(model_not_found), it does not serve this model.
    - V(server_error), it failed. V(bad_request), it declines this request. V(wrong_answer), it does not say what is
      expected.
    - V(cpu_fallback), it answers without the GPUs in O(devices). V(gpu_unknown), the driver cannot be asked.
    - V(tls_error), no trusted TLS connection. V(not_an_openai_endpoint), something else is at the address.
    - V(service_failed), systemd has given up on the service, or restarted it too often, or something else has its
      address.
  returned: when looked
  type: str
  sample: ok
waited_s:
  description: Seconds that all looks took together.
  returned: when looked
  type: float
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.engines import arguments, on_gpu, probe, readiness
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import TOOLS_PYTHON, run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.engines import arguments, on_gpu, probe, readiness
    from module_utils.entry import TOOLS_PYTHON, run
    from module_utils.errors import GpufleetError

ARGUMENTS = dict(
    arguments.ENDPOINT_ARGUMENTS,
    container={"type": "str"},
    container_engine={"type": "str", "choices": ["docker", "podman"], "default": "docker"},
    deadline={"type": "float", "default": 60},
    devices={"type": "list", "elements": "str"},
    engine={"type": "str", "choices": ["generic", "ollama", "tensorrt_llm", "vllm"], "default": "generic"},
    expected={"type": "str"},
    in_check_mode={"type": "str", "choices": ["look", "skip"], "default": "look"},
    interval={"type": "float", "default": 2},
    kind={"type": "str", "choices": ["auto", "chat", "completion", "embedding"], "default": "auto"},
    max_tokens={"type": "int", "no_log": False},
    model={"type": "str"},
    prompt={"type": "str", "aliases": ["question"]},
    required={"type": "bool", "default": True},
    restarts_allowed={"type": "int", "default": 2},
    service={"type": "str", "aliases": ["unit"]},
    state={"type": "str", "choices": ["answering", "healthy", "listening", "serving"], "default": "answering"},
    tools_python={"type": "path", "default": TOOLS_PYTHON},
)
WISHES = ("state", "engine", "model", "kind", "prompt", "expected", "max_tokens")


def work(module: AnsibleModule) -> dict:
    options = module.params
    if module.check_mode and options["in_check_mode"] == "skip":
        return {"changed": False, "skipped": True, "msg": "in_check_mode=skip"}
    client = arguments.client(options)
    result = readiness.wait(
        client,
        probe.Wish(**{name: options[name] for name in WISHES}),
        readiness.Patience(options["deadline"], options["interval"], options["restarts_allowed"]),
        readiness.Unit(options["service"]) if options["service"] else None,
        place(options),
    )
    if options["required"] and not result["ok"]:
        raise GpufleetError("%(verdict)s: %(detail)s. %(advice)s" % result, **result)
    return dict(result, changed=False)


def place(options: dict) -> t.Optional[on_gpu.Place]:
    if not options["devices"]:
        return None
    return on_gpu.Place(
        devices=tuple(options["devices"]),
        unit=options["service"],
        container=options["container"],
        container_engine=options["container_engine"],
        tools_python=options["tools_python"],
        timeout_s=options["timeout"],
    )


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True, **arguments.ENDPOINT_RULES)


if __name__ == "__main__":
    main()
