# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a container a service."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_unit
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain

DOCUMENTATION = r"""
name: container_files
short_description: The files that make a container a service of systemd
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns a unit that runs the container with Docker or Podman, or a file for Podman's Quadlet, and the script that the
    container starts with, as M(gpufleet.llm.host_files) takes them.
positional: kind
options:
  _input:
    description:
      - The service, with C(name), C(description), C(image), C(command), C(environment), C(secrets), C(start_script),
        C(umask), C(mounts), C(directories), C(user), C(group), C(uid), C(gid), C(publish), C(network), C(alias),
        C(gpus), C(before), C(shm_size), C(memory), C(cpus), C(pids), C(read_only), C(start_s) and C(stop_s), and if
        need be C(ulimits).
    type: dict
    required: true
  kind:
    description: How it is run.
    type: str
    choices: [docker, podman, quadlet]
    required: true
seealso:
  - plugin: gpufleet.llm.container_compose
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write the files of a service
  gpufleet.llm.host_files:
    files: "{{ service | gpufleet.llm.container_files('quadlet') }}"
"""

RETURN = r"""
_value:
  description: Files with C(path), C(content), C(owner), C(group) and C(mode). The one that starts it is the last.
  type: list
  elements: dict
"""


def container_files(service: t.Mapping[str, t.Any], kind: str) -> t.List[t.Dict[str, str]]:
    service = plain(service)
    root = {"owner": "root", "group": "root"}
    try:
        script = {"path": service["start_script"], "content": container_unit.START_SCRIPT, "mode": "0755"}
        unit = {"path": container_unit.unit_path(service, kind), "content": container_unit.text(service, kind), "mode": "0644"}
    except GpufleetError as error:
        raise AnsibleFilterError("container_files: %s" % error) from error
    return [dict(root, **script), dict(root, **unit)]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"container_files": container_files}
