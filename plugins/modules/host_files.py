#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Make the directories and files of a service what they shall be, in one task
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Makes directories and writes files, in the order given, directories first. Only what differs is touched, and each file
    is replaced by a rename, so that nobody reads half of one.
  - Does in one task what M(ansible.builtin.file) and M(ansible.builtin.copy) do in one for each.
  - A link where a file is to be is an error, and not followed. A link to a directory is accepted when that directory is
    as it shall be.
options:
  directories:
    description: The directories. Those above them that are missing belong to root, with mode 0755.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Its place.
        type: path
        required: true
      owner:
        description: Name of its owner. Without it, what is there keeps its own, and what is new is root's.
        type: str
      group:
        description: Name of its group.
        type: str
      mode:
        description: Its mode as an octal number in quotes. Without it, what is there keeps its own.
        type: str
  files:
    description: The files. Their content is shown with C(--diff), so it must not be secret.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Its place.
        type: path
        required: true
      owner:
        description: Name of its owner. Without it, what is there keeps its own, and what is new is root's.
        type: str
      group:
        description: Name of its group.
        type: str
      mode:
        description: Its mode as an octal number in quotes. Without it, what is there keeps its own.
        type: str
      content:
        description: All of it.
        type: str
        required: true
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ansible.builtin.copy
  - module: ansible.builtin.file
"""

EXAMPLES = r"""
- name: Bring what the service consists of
  gpufleet.llm.host_files:
    directories:
      - path: /var/lib/example
        owner: example
        group: example
        mode: "0750"
    files:
      - path: /etc/systemd/system/example.service
        content: "{{ lookup('ansible.builtin.template', 'example.service.j2') }}"
        owner: root
        group: root
        mode: "0644"
"""

RETURN = r"""
paths:
  description: Those that were not as they shall be.
  type: list
  elements: str
  returned: success
  sample: ["/etc/systemd/system/example.service"]
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.services import host_files
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.services import host_files


def work(module: AnsibleModule) -> dict:
    diffs = [host_files.directory(one, module.check_mode) for one in module.params["directories"]]
    diffs += [host_files.file(one, module.check_mode) for one in module.params["files"]]
    diffs = [diff for diff in diffs if diff]
    result = {"changed": bool(diffs), "paths": [diff["after_header"] for diff in diffs]}
    # (Ansible shows what it gets, even of a task that says diff: false.)
    return dict(result, diff=diffs) if module._diff else result


def main() -> None:
    access = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str"},
    }
    content = {"type": "str", "required": True}
    run(
        work,
        {
            "directories": {"type": "list", "elements": "dict", "default": [], "options": access},
            "files": {"type": "list", "elements": "dict", "default": [], "options": dict(access, content=content)},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
