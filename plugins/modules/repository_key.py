#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: repository_key
short_description: Keep the key of a package repository in a file, or take keys out of a keyring
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Fetches an OpenPGP public key and writes it in ASCII armor, for C(Signed-By) of apt or C(gpgkey) of dnf. What is no key, an
    error page for example, is never written.
  - With O(state=absent) it takes keys out of a keyring, as C(apt-key del) did, and removes a keyring in which none is left.
  - Needs no gpg on the host.
options:
  content:
    description: The key itself, in ASCII armor.
    type: str
  fingerprints:
    description:
      - The keys in the file have to be of these, in hexadecimal digits with or without spaces. Any is accepted when the list is
        empty.
      - With O(state=absent), the keys to take out.
    type: list
    elements: str
    default: []
  path:
    description: The file.
    type: path
    required: true
  state:
    description: Whether the key is to be there.
    type: str
    choices: [present, absent]
    default: present
  timeout:
    description: Seconds that the server may take.
    type: int
    default: 30
  url:
    description: Where the key is. Not asked when the file has a key, and none but those of O(fingerprints), already.
    type: str
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details: Does not fetch the key, so it does not find out that there is none.
  diff_mode:
    support: full
    details: Shows fingerprints.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Have the key of a repository
  gpufleet.llm.repository_key:
    path: /etc/apt/keyrings/nvidia-container-toolkit.asc
    url: https://nvidia.github.io/libnvidia-container/gpgkey
    fingerprints: [C95B 321B 61E8 8C18 09C4 F759 DDCA E044 F796 ECB0]

- name: Forget what apt-key add did
  gpufleet.llm.repository_key:
    path: /etc/apt/trusted.gpg
    fingerprints: [C95B321B61E88C1809C4F759DDCAE044F796ECB0]
    state: absent
"""

RETURN = r"""
fingerprints:
  description: Those of the keys in the file. Empty when there is no file, and in check mode when the key was not fetched.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.software import repository_key
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.software import repository_key

ARGUMENTS = {
    "content": {"type": "str", "no_log": False},
    "fingerprints": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "timeout": {"type": "int", "default": 30},
    "url": {"type": "str"},
}


def work(module: AnsibleModule) -> dict:
    options = module.params
    if options["state"] == "absent":
        before, after = repository_key.remove(options["path"], options["fingerprints"], module.check_mode)
    else:
        before, after = repository_key.ensure(
            options["path"], options["content"], options["url"], options["fingerprints"], options["timeout"], module.check_mode
        )
    shown = ["".join(line + "\n" for line in lines) for lines in (before["shown"], after["shown"])]
    diff = {"before_header": options["path"], "after_header": options["path"], "before": shown[0], "after": shown[1]}
    return {"changed": before != after, "fingerprints": after["fingerprints"], "diff": diff}


def main() -> None:
    run(
        work,
        ARGUMENTS,
        supports_check_mode=True,
        mutually_exclusive=[["content", "url"]],
        required_if=[["state", "present", ["content", "url"], True], ["state", "absent", ["fingerprints"]]],
    )


if __name__ == "__main__":
    main()
