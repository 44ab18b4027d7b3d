# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans for all hosts and models at once, on the controller."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models import candidates
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import fleet
from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain

DOCUMENTATION = r"""
name: fleet_plan
short_description: Plan models on all hosts of a fleet
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Makes the plan of M(gpufleet.llm.vllm_plan) for every host and every model, on the controller and in one go, from
    what was found out before.
  - A host that could not be asked and a model that could not be read are part of the answer, with the reason.
positional: models, found, options
options:
  _input:
    description:
      - By host, the registered result of M(gpufleet.llm.gpu_info), failed or not, or the hardware facts alone.
      - For GPUs that nobody has, a dictionary with C(what_if), for example C(2 x L40S).
    type: dict
    required: true
  models:
    description:
      - The models, by name.
      - A model may be a dictionary with C(model) or C(name) and options of M(gpufleet.llm.vllm_plan) for this model
        alone, which are C(concurrency), C(context), C(cuda_compatibility), C(engine_version), C(gpus),
        C(headroom_bytes), C(prefer), C(settings) and C(variant).
    type: list
    elements: raw
    required: true
  found:
    description:
      - For each model a list of results of M(gpufleet.llm.model_info). The first that knows the model is taken. Where
        none does, the collection's own catalogue is asked, and the plan says so in its warnings.
    type: list
    elements: list
    required: true
  options:
    description: The same options of M(gpufleet.llm.vllm_plan), for all models.
    type: dict
    default: {}
seealso:
  - plugin: gpufleet.llm.fleet_table
    plugin_type: filter
  - plugin: gpufleet.llm.plan_page
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Would it fit on GPUs that we might buy?
  gpufleet.llm.show:
    text: >-
      {{ {'one': {'what_if': '1 x H100'}, 'two': {'what_if': '2 x L40S'}}
         | gpufleet.llm.fleet_plan(['Qwen/Qwen3-32B'], [[known]], {'context': '32K'})
         | gpufleet.llm.fleet_table }}
"""

RETURN = r"""
_value:
  description:
    - Schema C(gpufleet.fleet/1). C(options) for all models, C(hosts) and C(models) with their facts or with a
      C(problem), and C(plans) with C(host), C(model), C(plan) and C(problem) for each pair.
  type: dict
"""


def fleet_plan(hosts, models, found, options=None):
    try:
        models = plain(models)
        return fleet.plan_fleet(plain(hosts), models, _known(models, plain(found)), plain(options or {}))
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error


def _known(models, found):
    """What was found, and for a model of which nothing was, what the catalogue knows."""
    result = []
    for wanted, answers in zip(models, found):
        name = wanted.get("model") if isinstance(wanted, dict) else wanted
        if not any(isinstance(answer.get("model"), dict) for answer in answers):
            facts = candidates.facts_of(str(name or ""))
            answers = answers + [{"model": facts}] if facts else answers
        result.append(answers)
    return result + found[len(result) :]


class FilterModule:
    def filters(self):
        return {"fleet_plan": fleet_plan}
