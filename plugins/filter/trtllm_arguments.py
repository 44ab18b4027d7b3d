# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings as the words of a trtllm-serve command line."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.trtllm.options import render
from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain

DOCUMENTATION = r"""
name: trtllm_arguments
short_description: Turn settings of trtllm-serve into the words of a command line
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Renders a dictionary of options of C(trtllm-serve) as a list of words, sorted by option. A flag that is false is left out.
positional: config_file
options:
  _input:
    description: Settings, for example RV(gpufleet.llm.trtllm_plan#module:plan.settings).
    type: dict
    required: true
  config_file:
    description: Where the content of C(extra_llm_api_options) lies for the program. Needed when there is any.
    type: str
seealso:
  - module: gpufleet.llm.trtllm_plan
"""

EXAMPLES = r"""
- name: Show the command line of a plan
  ansible.builtin.debug:
    msg: "{{ planned.plan.settings | gpufleet.llm.trtllm_arguments('/etc/trtllm.yml') | join(' ') }}"
"""

RETURN = r"""
_value:
  description: The words, to be passed after C(trtllm-serve MODEL).
  type: list
  elements: str
"""


def trtllm_arguments(settings, config_file=None):
    try:
        return render(plain(settings), config_file)
    except GpufleetError as error:
        raise AnsibleFilterError("trtllm_arguments: %s" % error) from error


class FilterModule:
    def filters(self):
        return {"trtllm_arguments": trtllm_arguments}
