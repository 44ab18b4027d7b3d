#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_release
short_description: Have releases of Ollama on a host, beside each other
version_added: 0.1.0
description:
  - Unpacks a release of Ollama into a directory of its own, C(<path>/<version>), from the vendor, from a mirror, or from
    files that are on the host. It starts and stops nothing, and switches a link only with O(state=current).
  - Every archive is verified with its published sha256 before anything in it is looked at.
  - A release is unpacked beside its place and gets its name when it is whole. Its record, C(.gpufleet-release.json), lists
    what it was made of and the size of every file. A second run compares the record with what is asked for and with what is
    there. It needs no network, reads no file but the record, and takes milliseconds.
  - A run that is killed at any moment is completed by the next one, which continues a download where it ended.
  - Downloads and unpacking take minutes, during which Ansible shows nothing.
options:
  addons:
    description:
      - Archives to unpack over the base. V(rocm) (AMD GPUs) and V(mlx) (safetensors models) exist for amd64,
        V(jetpack5) and V(jetpack6) (NVIDIA Jetson) for arm64.
    type: list
    elements: str
    choices: [jetpack5, jetpack6, mlx, rocm]
    default: []
  architecture:
    description: Which archives to take. V(auto) is the host's.
    type: str
    choices: [auto, amd64, arm64]
    default: auto
  archive:
    description:
      - Archives on the host, instead of O(url). The base archive first, then one for each of O(addons) in their order.
      - Each is verified with O(sha256), or with a C(sha256sum.txt) beside it.
    type: list
    elements: path
  ca_path:
    description: Certificates to trust instead of the system's, a file or a directory.
    type: path
  command:
    description:
      - With O(state=current), a link to the program of this version, such as V(/usr/local/bin/ollama). What is there
        under this name is replaced. Its directory has to be there.
    type: path
  download_dir:
    description:
      - Directory for what is being fetched. Nothing stays in it once the release is unpacked.
        A directory C(.download) in O(path) when not set.
    type: path
  keep:
    description:
      - With O(state=absent), remove the versions that are not in use, except this many of them, the newest.
    type: int
  libraries:
    description:
      - Directories of C(lib/ollama) to unpack from the base archive, such as V(cuda_v13). V(all) alone, or an empty list, means
        all of them, V(none) alone none, for hosts without a GPU.
      - What is left out saves gigabytes. Add-ons are unpacked whole.
    type: list
    elements: str
    default: [all]
  lock_timeout:
    description: Seconds to wait for another process that works on the same O(path).
    type: int
    default: 1800
  offline:
    description: Refuse to fetch from the vendor. O(url) then has to be a mirror of your own, or O(archive) set.
    type: bool
    default: false
  password:
    description: Password for O(url).
    type: str
  path:
    description: Directory that the versions lie in.
    type: path
    default: /opt/gpufleet/ollama
  proxy:
    description:
      - Proxy to fetch through, C(http://[USER:PASSWORD@]HOST:PORT). When not set, the environment's E(HTTPS_PROXY) and
        E(HTTP_PROXY). Hosts in E(NO_PROXY) are reached directly in both cases.
    type: str
  retries:
    description:
      - How many attempts in a row may come no further, after a broken or silent connection or an answer such as 503.
        The pauses between them grow from one second to a minute, unless the server names one.
    type: int
    default: 5
  sha256:
    description:
      - The sum of the archive, 64 hexadecimal digits. With O(addons) a list, the base archive's first, then theirs in their
        order. When given, no list of sums is fetched or read.
      - An installed version that was made of archives with other sums is replaced.
    type: list
    elements: str
  stall_timeout:
    description: Seconds without a byte until a connection is given up and tried again.
    type: int
    default: 60
  state:
    description:
      - V(present) has O(version) unpacked, whole and as asked for.
      - V(current) has the link C(current) in O(path) point to O(version), which has to be there already, and O(command)
        to its program.
      - V(absent) removes O(versions), or those that O(keep) leaves over.
    type: str
    choices: [absent, current, present]
    default: present
  timeout:
    description: Seconds that all downloads of a run may take. What came until then is kept for the next run.
    type: int
    default: 3600
  unverified:
    description: Take archives for which there is no sum. One that there is, is compared all the same.
    type: bool
    default: false
  url:
    description:
      - Where releases are published. A mirror has the same layout, C(v<version>/<file>), with the C(sha256sum.txt).
    type: str
    default: https://github.com/ollama/ollama/releases/download
  used:
    description:
      - With O(state=absent), versions that stay, or absolute paths in them such as that of a unit's C(ExecStart).
        What C(current) points to stays in any case.
    type: list
    elements: str
    default: []
  username:
    description: User name for O(url). It is not sent to a server that O(url) redirects to.
    type: str
  version:
    description: The version, such as V(0.32.15) or V(0.33.0-rc2). Required unless O(state=absent).
    type: str
  versions:
    description: With O(state=absent), versions to remove. One that is in use is refused.
    type: list
    elements: str
notes:
  - Archives of 0.14.0 and newer are compressed with zstd. The host needs the program C(zstd), or Python's C(compression.zstd)
    or C(zstandard).
  - Three times the size of the archives has to be free in O(path), besides the archives themselves when they are fetched,
    about 7 GB for a release. With fewer libraries less is enough.
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details: Asks no server and opens no archive, so it foretells no refusal that comes from them.
  diff_mode:
    support: full
    details: Shows the versions and the link before and after, and what is done.
  idempotent:
    support: full
author:
  - gpufleet.llm contributors (@gpufleet)
"""

EXAMPLES = r"""
- name: Have a release on the host, which takes minutes
  gpufleet.llm.ollama_release:
    version: 0.32.15

- name: From a mirror, with what newer NVIDIA GPUs need and nothing else
  gpufleet.llm.ollama_release:
    version: 0.32.15
    url: https://mirror.example/ollama
    ca_path: /usr/local/share/ca-certificates/site.crt
    libraries: [cuda_v13]

- name: From files that were copied to the host, with the sha256sum.txt beside them
  gpufleet.llm.ollama_release:
    version: 0.32.15
    addons: [rocm]
    archive:
      - /srv/transfer/ollama-linux-amd64.tar.zst
      - /srv/transfer/ollama-linux-amd64-rocm.tar.zst

- name: Start this version from now on
  gpufleet.llm.ollama_release:
    state: current
    version: 0.32.15
    command: /usr/local/bin/ollama

- name: Keep one version besides those that units start
  gpufleet.llm.ollama_release:
    state: absent
    keep: 1
    used:
      - /opt/gpufleet/ollama/0.32.15/bin/ollama
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done. Empty when nothing had to be.
  returned: success
  type: list
  elements: str
  sample:
    - fetch https://github.com/ollama/ollama/releases/download/v0.32.15/ollama-linux-amd64.tar.zst
    - unpack ollama-linux-amd64.tar.zst
    - put it in place as /opt/gpufleet/ollama/0.32.15
bytes_downloaded:
  description: Bytes that came over the network in this run.
  returned: success
  type: int
  sample: 1702345678
current:
  description: The version that the link C(current) points to; null when there is no such link.
  returned: success
  type: str
  sample: 0.32.15
files:
  description:
    - The sha256 of every archive that the version was made of, by the archive's name. In check mode null where it is not known
      yet. Empty unless O(state=present).
  returned: success
  type: dict
  sample: {ollama-linux-amd64.tar.zst: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
path:
  description: Directory of the version; O(path) itself with O(state=absent).
  returned: success
  type: str
  sample: /opt/gpufleet/ollama/0.32.15
reason:
  description: Why something was done; null when nothing had to be.
  returned: success
  type: str
  sample: 0.32.15 is not installed
version:
  description: The version without a leading v; null with O(state=absent).
  returned: success
  type: str
  sample: 0.32.15
versions:
  description: The versions that are there afterwards, the newest last.
  returned: success
  type: list
  elements: str
  sample: [0.31.0, 0.32.15]
"""

import os
import sys

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.software import ollama_release, pip_config
except ImportError:  # run alone, from a checkout that is not on the collections path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.software import ollama_release, pip_config

ARGUMENTS = {
    "addons": {"type": "list", "elements": "str", "choices": ["jetpack5", "jetpack6", "mlx", "rocm"], "default": []},
    "architecture": {"type": "str", "choices": ["auto", "amd64", "arm64"], "default": "auto"},
    "archive": {"type": "list", "elements": "path"},
    "ca_path": {"type": "path"},
    "command": {"type": "path"},
    "download_dir": {"type": "path"},
    "keep": {"type": "int"},
    "libraries": {"type": "list", "elements": "str", "default": ["all"]},
    "lock_timeout": {"type": "int", "default": 1800},
    "offline": {"type": "bool", "default": False},
    "password": {"type": "str", "no_log": True},
    "path": {"type": "path", "default": "/opt/gpufleet/ollama"},
    "proxy": {"type": "str"},
    "retries": {"type": "int", "default": 5},
    "sha256": {"type": "list", "elements": "str"},
    "stall_timeout": {"type": "int", "default": 60},
    "state": {"type": "str", "choices": ["absent", "current", "present"], "default": "present"},
    "timeout": {"type": "int", "default": 3600},
    "unverified": {"type": "bool", "default": False},
    "url": {"type": "str", "default": "https://github.com/ollama/ollama/releases/download"},
    "used": {"type": "list", "elements": "str", "default": []},
    "username": {"type": "str"},
    "version": {"type": "str"},
    "versions": {"type": "list", "elements": "str"},
}


def work(module: AnsibleModule) -> dict:
    os.umask(0o022)  # a service user has to read what is installed, whatever the administrator's own umask
    proxy = module.params["proxy"] or ""
    module.no_log_values.update(pip_config.credentials([proxy if "://" in proxy else "http://" + proxy]))
    return ollama_release.answer(module.params, module.check_mode)


def main() -> None:
    run(
        work,
        ARGUMENTS,
        supports_check_mode=True,
        required_if=[
            ("state", "present", ["version"]),
            ("state", "current", ["version"]),
            ("state", "absent", ["versions", "keep"], True),
        ],
    )


if __name__ == "__main__":
    main()
