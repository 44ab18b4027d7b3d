#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_measured
short_description: Read back what a running vLLM allotted, beside what was planned
version_added: 0.1.0
description:
  - Reads from the metrics of a running vLLM how large a KV cache it allotted, and compares that with the plan that it
    runs by.
  - Can keep the result in a file on the managed host. The file changes only when the numbers do.
  - M(gpufleet.llm.vllm_plan) takes the result as O(gpufleet.llm.vllm_plan#module:measured), and plans with what was
    measured instead of what is estimated.
  - The metrics need no API key.
options:
  destination:
    description:
      - File on the managed host to keep the result in, with mode V(0644). Its directory must exist.
      - What the file said of other configurations stays in it, as RV(measured.earlier). Remove the file to forget them.
    type: path
    aliases: [path]
  hardware:
    description:
      - The hardware facts of the host, as M(gpufleet.llm.gpu_info) returns them. What identifies the hardware is kept
        with the numbers.
    type: dict
  model:
    description:
      - The model facts. What identifies the model is kept with the numbers.
    type: dict
  plan:
    description:
      - The plan by which the engine runs.
    type: dict
  plan_file:
    description:
      - File on the managed host that holds the plan as JSON.
    type: path
extends_documentation_fragment:
  - gpufleet.llm.endpoint
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - gpufleet.llm contributors (@gpufleet)
"""

EXAMPLES = r"""
- name: Keep what the engine allotted beside its plan
  gpufleet.llm.vllm_measured:
    url: http://127.0.0.1:8000
    plan_file: /var/lib/gpufleet/vllm/chat/plan.json
    destination: /var/lib/gpufleet/vllm/chat/measured.json
    hardware: "{{ hardware }}"
    model: "{{ model }}"
  register: chat

- name: Show how far off the plan was
  ansible.builtin.debug:
    var: chat.measured.error
"""

RETURN = r"""
measured:
  description: What the engine says of itself. Source is C(vllm:cache_config_info) in C(/metrics) unless said
    otherwise.
  returned: success
  type: dict
  contains:
    block_size:
      description: Tokens of one block.
      type: int
      returned: always
    cache_dtype:
      description: Data type of the cache, in the engine's words.
      type: str
      returned: always
    configuration:
      description: RV(gpufleet.llm.vllm_plan#module:plan.configuration) of the plan, that is for which plans the figures
        hold; null without a plan.
      type: dict
      returned: always
    earlier:
      description:
        - What the file in O(destination) held of other configurations, and of this one where the engine had even less
          KV cache at an earlier start. Without O(destination) it is empty.
        - Of each configuration the start with the least KV cache, of 20 configurations at most.
      type: list
      elements: dict
      returned: always
    engine:
      description: Always V(vllm).
      type: str
      returned: always
    engine_version:
      description: Version from C(/version); null where that is hidden.
      type: str
      returned: always
    engines:
      description: Number of data-parallel engines. The other numbers are those of the smallest one.
      type: int
      returned: always
    error:
      description:
        - By how much each number differs from the expected one, relative to that, such as V(-0.031); null without a
          plan.
      type: dict
      returned: always
    hardware:
      description: What identifies the hardware, from O(hardware); null without it. Only the accelerators that the
        plan uses.
      type: dict
      returned: always
    kv_bytes_per_block:
      description: Bytes of one block per GPU, from the plan; null where the engine's blocks are of another size.
      type: int
      returned: always
    kv_cache_bytes:
      description: Size of the cache per GPU; null where neither the plan nor the engine tells.
      type: int
      returned: always
    kv_cache_given_bytes:
      description: Size of the cache that the engine was told to take, as on a CPU; null where it sized it by profiling.
      type: int
      returned: always
    kv_cache_tokens:
      description: Tokens that the cache holds.
      type: int
      returned: always
    max_concurrency:
      description: Requests of the full context length that fit at once.
      type: float
      returned: always
    model:
      description: Name under which the model is served, and what identifies it, from O(model).
      type: dict
      returned: always
    num_gpu_blocks:
      description: Blocks of the cache; so called on a CPU too.
      type: int
      returned: always
    overhead_bytes:
      description: What the engine took per GPU beside weights and KV cache, RV(measured.requested_bytes) -
        RV(measured.weights_bytes) - RV(measured.kv_cache_bytes); null where the cache was not sized by profiling.
      type: int
      returned: always
    plan_fingerprint:
      description: Fingerprint of the plan; null without one.
      type: str
      returned: always
    predicted:
      description: The same numbers as the plan has them; null without a plan.
      type: dict
      returned: always
    requested_bytes:
      description: What the engine claims per GPU, from the plan; null without one.
      type: int
      returned: always
    schema:
      description: Always V(gpufleet.measured/1).
      type: str
      returned: always
    settings:
      description: Those settings of the plan that decide about the cache's size.
      type: dict
      returned: always
    variant:
      description: V(cpu) or V(cuda), from the plan; null without one.
      type: str
      returned: always
    warning:
      description:
        - What is wrong, when the tokens differ by more than 5 % from the expected ones or another version answers
          than the plan is for; else null. It is shown as a warning too.
      type: str
      returned: always
    weights_bytes:
      description: Weights per GPU, from the plan; null without one.
      type: int
      returned: always
  sample:
    schema: gpufleet.measured/1
    engine: vllm
    engine_version: 0.32.0
    num_gpu_blocks: 8192
    block_size: 128
    kv_cache_tokens: 1048576
    kv_cache_bytes: 1073741824
    max_concurrency: 1024.0
    predicted: {num_gpu_blocks: 8192, max_concurrency: 1024.0}
    error: {num_gpu_blocks: 0.0, max_concurrency: 0.0}
    warning: null
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.engines import (
        arguments,
        measured,
        records,
        vllm_metrics,
    )
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.engines import arguments, measured, records, vllm_metrics
    from module_utils.entry import run

ARGUMENTS = dict(
    arguments.ENDPOINT_ARGUMENTS,
    destination={"type": "path", "aliases": ["path"]},
    hardware={"type": "dict"},
    model={"type": "dict"},
    plan={"type": "dict"},
    plan_file={"type": "path"},
)
RULES = dict(arguments.ENDPOINT_RULES, mutually_exclusive=[("api_key", "api_key_file"), ("plan", "plan_file")])


def work(module: AnsibleModule) -> dict:
    options = module.params
    plan = None
    if options["plan_file"]:
        origin = "plan_file=%s" % options["plan_file"]
        plan = measured.check_plan(records.read(options["plan_file"]), origin)
    elif options["plan"] is not None:
        plan = measured.check_plan(options["plan"], "plan")
    info, version = vllm_metrics.ask(arguments.client(options))
    result = measured.measure(info, version, plan, options["model"], options["hardware"])
    if options["destination"]:
        result = measured.with_earlier(result, records.read_if_there(options["destination"]))
    if result["warning"]:
        module.warn(result["warning"])
    outcome: dict = {"changed": False}
    if options["destination"]:
        outcome = records.write(options["destination"], result, 0o644, module.check_mode)
    return dict(outcome, measured=result)


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True, **RULES)


if __name__ == "__main__":
    main()
