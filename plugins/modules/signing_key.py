#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: signing_key
short_description: Have the key that signs a package repository, verified by its fingerprint
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Writes a public OpenPGP key to a file, for C(signed-by) of an apt source. What is not the key with O(fingerprint) is
    never written there.
  - Needs no gpg on the host, which a host that only verifies packages does not have. M(ansible.builtin.get_url) knows
    checksums of files, and vendors state fingerprints of keys.
  - Where the file has the key, nothing is fetched.
options:
  content:
    description: The key in ASCII armour, instead of O(url).
    type: str
  dest:
    description: The file. Its directory is made where it is missing.
    type: path
    required: true
  fingerprint:
    description:
      - The fingerprint that the file's only primary key must have, with or without spaces.
      - Without it, any key is taken, and a file that has one is left as it is.
    type: str
    default: ""
  timeout:
    description: Seconds to wait for O(url).
    type: int
    default: 30
  url:
    description: Where the key is. Exactly one of this and O(content) is needed.
    type: str
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details: In check mode nothing is fetched.
  diff_mode:
    support: none
    details: The result names the fingerprint.
  idempotent:
    support: full
seealso:
  - module: ansible.builtin.deb822_repository
  - module: ansible.builtin.rpm_key
"""

EXAMPLES = r"""
- name: Have the key of NVIDIA's repository for Debian 12
  gpufleet.llm.signing_key:
    url: https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/3bf863cc.pub
    dest: /etc/apt/keyrings/nvidia.asc
    fingerprint: EB693B3035CD5710E231E123A4B469963BF863CC
  become: true
"""

RETURN = r"""
fingerprints:
  description: Those of the key in O(dest). Empty in check mode where it is not there yet.
  returned: success
  type: list
  elements: str
"""

import os
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
    from ansible_collections.gpufleet.llm.plugins.module_utils.software import openpgp
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.errors import GpufleetError
    from module_utils.software import openpgp

LARGEST = 1 << 20  # a keyring is a few kilobytes: what is larger is something else


def work(module: AnsibleModule) -> dict:
    params = module.params
    wanted = params["fingerprint"].replace(" ", "").upper()
    there = _there(params["dest"])
    if there == [wanted] if wanted else there:
        return {"changed": False, "fingerprints": there}
    if module.check_mode:
        return {"changed": True, "fingerprints": there}
    place = params["url"] or "content"
    content = _fetched(params["url"], params["timeout"]) if params["url"] else params["content"].encode()
    try:
        found = openpgp.fingerprints(content)
    except GpufleetError as error:
        raise GpufleetError("%s: %s" % (place, error)) from None
    if wanted and found != [wanted]:
        raise GpufleetError(
            "%s has the key %s, and %s was expected. Nothing was written. If the vendor has a new key, set its fingerprint."
            % (place, " and ".join(found), wanted)
        )
    _write(module, params["dest"], content)
    return {"changed": True, "fingerprints": found}


def _there(path: str) -> t.List[str]:
    try:
        with open(path, "rb") as stream:
            return openpgp.fingerprints(stream.read(LARGEST))
    except (OSError, GpufleetError):
        return []


def _fetched(url: str, timeout: int) -> bytes:
    try:
        content = open_url(url, timeout=timeout).read(LARGEST + 1)
    except Exception as error:  # urllib's, http.client's, ssl's and the system's: each means that it is not to be had
        raise GpufleetError("The key cannot be fetched from %s: %s" % (url, error)) from None
    if len(content) > LARGEST:
        raise GpufleetError("%s is larger than a key: more than %d bytes" % (url, LARGEST))
    return content


def _write(module: AnsibleModule, path: str, content: bytes) -> None:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        os.makedirs(directory, mode=0o755)
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    os.chmod(temporary, 0o644)  # apt reads it as a user of its own
    module.atomic_move(temporary, path)
    os.chmod(path, 0o644)


def main() -> None:
    run(
        work,
        {
            "content": {"type": "str"},
            "dest": {"type": "path", "required": True},
            "fingerprint": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 30},
            "url": {"type": "str"},
        },
        supports_check_mode=True,
        mutually_exclusive=[("content", "url")],
        required_one_of=[("content", "url")],
    )


if __name__ == "__main__":
    main()
