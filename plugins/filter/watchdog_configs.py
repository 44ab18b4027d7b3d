# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the watchdog on a host reads, a file for each service."""

from __future__ import annotations

import json
import posixpath
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import watchdog
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError

DOCUMENTATION = r"""
name: watchdog_configs
short_description: The configuration files of watches
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns a file for each unit, refusing what the program on the host would refuse.
positional: common, under
options:
  _input:
    description: Units, as the variable C(watchdog_units) of the role P(gpufleet.llm.watchdog#role) has them.
    type: list
    elements: dict
    required: true
  common:
    description: What all of them have.
    type: dict
    required: true
  under:
    description: The directory of the files.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Show what would be watched
  ansible.builtin.debug:
    msg: "{{ watchdog_units | gpufleet.llm.watchdog_configs({}, '/etc/gpufleet/watchdog') }}"
"""

RETURN = r"""
_value:
  description: Entries for the option O(gpufleet.llm.host_files#module:files), each with C(path) and C(content).
  type: list
  elements: dict
"""


def watchdog_configs(
    units: t.Iterable[t.Mapping[str, t.Any]], common: t.Mapping[str, t.Any], under: str
) -> t.List[t.Dict[str, str]]:
    files = []
    for unit in units:
        wanted = {name: value for name, value in unit.items() if name != "state" and value is not None}
        try:
            settings = watchdog.config(dict(common, **wanted))
        except GpufleetError as error:
            raise AnsibleFilterError("watchdog_units: %s: %s" % (unit.get("unit"), error)) from None
        path = posixpath.join(under, str(unit["unit"])[: -len(".service")] + ".json")
        files.append({"path": path, "content": json.dumps(settings, indent=1, sort_keys=True) + "\n"})
    return files


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[t.Dict[str, str]]]]:
        return {"watchdog_configs": watchdog_configs}
