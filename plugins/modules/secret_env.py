#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_env
short_description: Ensure an environment file with a secret for a systemd service
version_added: 0.1.0
description:
  - Writes C(NAME="secret") to a file that only root can read, for C(EnvironmentFile=) of a unit.
  - With O(source=generated) the secret is made on the host, once, and with O(source=file) it is read there. In both cases it
    never travels to the machine that runs Ansible. It appears in no result and no diff.
options:
  group:
    description: Group that may read O(secret_file) when this module writes it. Only root may when not set.
    type: str
  name:
    description: Name of the environment variable.
    type: str
    required: true
  path:
    description: The environment file. Its directory is created.
    type: path
    required: true
  secret_file:
    description:
      - The file that holds the secret alone.
      - With O(source=generated), it is created with a new secret unless it exists. With O(source=value), it receives
        O(value). With O(source=file), it is only read.
    type: path
  source:
    description: Where the secret comes from. With V(none), there is to be no environment file.
    type: str
    choices: [file, generated, none, value]
    required: true
  value:
    description: The secret itself, for O(source=value).
    type: str
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows that a secret is set, not which.
  idempotent:
    support: full
author:
  - gpufleet.llm contributors (@gpufleet)
"""

EXAMPLES = r"""
- name: Give the service a key of its own
  gpufleet.llm.secret_env:
    path: /etc/gpufleet/vllm/chat.env
    name: VLLM_API_KEY
    source: generated
    secret_file: /etc/gpufleet/vllm/chat.key
    group: vllm
"""

RETURN = r"""
secret_file:
  description: The file that holds the secret; null when there is none.
  returned: success
  type: str
  sample: /etc/gpufleet/vllm/chat.key
"""

import grp
import re

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
    from ansible_collections.gpufleet.llm.plugins.module_utils.services import secret_files
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.errors import GpufleetError
    from module_utils.services import secret_files

ARGUMENTS = {
    "group": {"type": "str"},
    "name": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "secret_file": {"type": "path", "no_log": False},
    "source": {"type": "str", "choices": ["file", "generated", "none", "value"], "required": True},
    "value": {"type": "str", "no_log": True},
}
REQUIRED_IF = [
    ("source", "file", ["secret_file"]),
    ("source", "generated", ["secret_file"]),
    ("source", "value", ["secret_file", "value"]),
]


def find_secret(options: dict) -> str:
    if options["source"] == "value":
        return secret_files.check(options["value"], "the option value")
    secret = secret_files.read(options["secret_file"])
    if secret is not None:
        return secret
    if options["source"] == "generated":
        return secret_files.generate()
    raise GpufleetError("secret_file=%s does not exist: create it with the secret in it" % options["secret_file"])


def group_id(name: str, check_mode: bool) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if check_mode:  # it may be created by a task that check mode skipped
            return -1
        raise GpufleetError("group=%s does not exist on this host: create it first" % name) from None


def work(module: AnsibleModule) -> dict:
    options = module.params
    name = options["name"]
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise GpufleetError("name=%s is no name for an environment variable" % name)
    wanted = {options["path"]: (None, secret_files.Access(0o600))}
    if options["source"] != "none":
        secret = find_secret(options)
        module.no_log_values.add(secret)
        wanted[options["path"]] = (secret_files.environment_line(name, secret), secret_files.Access(0o600))
        if options["source"] != "file":
            access = secret_files.Access(0o600)
            if options["group"]:
                access = secret_files.Access(0o640, gid=group_id(options["group"], module.check_mode))
            wanted[options["secret_file"]] = (secret + "\n", access)
    changes = [path for path, (content, access) in wanted.items() if secret_files.differs(path, content, access)]
    diff = []
    # The secret itself first: an environment file whose secret nobody can read is of no use.
    for path in sorted(changes, key=lambda path: path == options["path"]):
        content, access = wanted[path]
        before = secret_files.shown(name, secret_files.read(path), False)
        after = secret_files.shown(name, content, True)
        diff.append({"before_header": path, "after_header": path, "before": before, "after": after})
        if not module.check_mode:
            secret_files.write(path, content, access)
    secret_file = None if options["source"] == "none" else options["secret_file"]
    return {"changed": bool(changes), "secret_file": secret_file, "diff": diff}


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True, required_if=REQUIRED_IF)


if __name__ == "__main__":
    main()
