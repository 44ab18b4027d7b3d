#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ollama's models as one file: out of a store, and into others."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_bundle
short_description: Carry Ollama's models between hosts as one archive
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Exports models of a store into one tar archive that holds exactly their manifests and the blobs these name, and
    imports such archives into the stores of hosts that have no registry within reach.
  - Works on the store's files. No server is needed, a running one is not disturbed, and none has to be restarted. It
    lists an imported model from the moment that the model is whole.
  - The sha256 of every blob is checked while it is read, on export and on import. Ollama itself never does that.
  - The same models give the same archive, byte for byte with the same version of zstd. An archive that holds exactly
    the wished models is not written again. It begins with an index, so nothing is hashed to see that.
  - An import unpacks beside C(blobs/) and C(manifests/), on the same file system, and gives the files their names when
    all of them are verified, manifests last. Can be killed at any time, and the next run completes it.
  - Archives made by hand with tar are imported and verified too, whatever directory they were packed from and in
    whatever order. Blobs that the wished manifests do not name are left out, as are the files that macOS adds.
  - Refuses archives with absolute names, C(..), links or devices, duplicates that disagree, damaged manifests, media
    types that Ollama does not know, missing blobs, wrong sizes or hashes, and those that are cut off. Nothing of such
    an archive stays on the host.
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details: >-
      Looks at the archive and the store and writes nothing. Where the archive (import) or the model (export) is not
      there yet, since an earlier task of the same play brings it, says so in a warning and reports a change.
  diff_mode:
    support: full
    details: Digests of the models before and after.
  idempotent:
    support: full
options:
  state:
    description:
      - V(exported) means that the archive holds the models, and no others.
      - V(imported) means that the store holds the models of the archive. Others in the store are left alone.
    type: str
    choices: [exported, imported]
    required: true
  path:
    description:
      - The archive on the managed host. For V(exported), its name says how it is packed, C(.tar), C(.tar.zst) (or
        C(.tzst)), C(.tar.gz) (or C(.tgz)), and its directory must exist. For V(imported), its content does.
      - Weights hardly get smaller, so C(.tar) costs little space. It is imported fastest.
    type: path
    required: true
  store:
    description:
      - The directory of the models, which the server knows as E(OLLAMA_MODELS). Created on import when it is missing.
      - The vendor's installation has it at C(/usr/share/ollama/.ollama/models).
    type: path
    default: /srv/models/ollama
  names:
    description:
      - The models, as C([host/][namespace/]model[:tag]). By default all that the store or the archive holds.
    type: list
    elements: str
  verify:
    description:
      - How what is there already is looked at. With V(size), blobs in the store by their size, and an exported archive
        by its index and its end.
      - With V(full), every byte is read and hashed. Damaged blobs are replaced, a damaged archive is written again.
    type: str
    choices: [size, full]
    default: size
  owner:
    description:
      - Owner of the models' files and of directories that are created, or of the exported archive. A name or number.
      - By default, on import that of the store, on export whoever runs the module. What exists keeps its owner.
    type: str
  group:
    description:
      - Group of the same. Works as O(owner).
    type: str
  mode:
    description:
      - Mode of the models' files or of the archive, as an octal string.
    type: str
    default: "0644"
  directory_mode:
    description:
      - Mode of directories that are created on import, as an octal string. Existing ones keep theirs.
    type: str
    default: "0755"
  compression_level:
    description:
      - How hard zstd (1 to 19) or gzip (1 to 9) tries. Another level alone does not cause a new archive.
    type: int
    default: 3
  lock_timeout:
    description:
      - Seconds to wait for another process that writes the same archive or imports into the same store.
    type: int
    default: 7200
notes:
  - For many hosts, copy the archive with M(ansible.builtin.copy) or mount a share that has it, then import. The archive
    is only read, so hosts may do that at the same time.
  - C(.tar.zst) needs the program C(zstd) on the host, or one of the Python libraries C(compression.zstd) and
    C(zstandard).
  - An import that replaces a model leaves the blobs that only the old one used. Ollama removes them when it starts next.
  - The archive can be unpacked in a store with tar, too. Only this module verifies it.
  - To see at each run that the store holds the models, an archive that is packed and was made by hand has to be
    unpacked each time. Export it again from the store, or keep it as C(.tar).
seealso:
  - module: gpufleet.llm.ollama_model
"""

EXAMPLES = r"""
- name: Two models into one file, on the host that can pull
  gpufleet.llm.ollama_bundle:
    state: exported
    path: /srv/export/models.tar.zst
    names:
      - qwen3:8b
      - nomic-embed-text

- name: Fetch it to the controller
  ansible.builtin.fetch:
    src: /srv/export/models.tar.zst
    dest: files/models.tar.zst
    flat: true

- name: Bring it to the hosts of the closed site
  ansible.builtin.copy:
    src: models.tar.zst
    dest: /var/tmp/models.tar.zst
    mode: "0644"

- name: Have its models there
  gpufleet.llm.ollama_bundle:
    state: imported
    path: /var/tmp/models.tar.zst
    store: /srv/models/ollama
    owner: ollama
    group: ollama

- name: One model of many, from a share that all hosts have mounted
  gpufleet.llm.ollama_bundle:
    state: imported
    path: /mnt/models/all.tar
    names: [qwen3:8b]

- name: What somebody packed by hand with tar -C ~/.ollama -cf models.tar models, into the vendor's store
  gpufleet.llm.ollama_bundle:
    state: imported
    path: /mnt/usb/models.tar
    store: /usr/share/ollama/.ollama/models
    verify: full
"""

RETURN = r"""
path:
  description: The archive.
  type: str
  returned: success
  sample: /srv/export/models.tar.zst
store:
  description: The store.
  type: str
  returned: success
  sample: /srv/models/ollama
models:
  description: The models that the archive holds (export) or that the store now has from it (import), by name.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: As C(ollama list) prints it.
      type: str
      sample: qwen3:8b
    digest:
      description: The sha256 of the manifest, which C(/api/tags) has as C(digest).
      type: str
    size:
      description: Bytes of all its blobs.
      type: int
blobs:
  description: The blobs of these models.
  type: dict
  returned: success
  contains:
    written:
      description: How many were written, or would be in check mode.
      type: int
    kept:
      description: How many were there already.
      type: int
    bytes:
      description: Bytes of those that were written.
      type: int
ignored:
  description: The first 100 files of an imported archive that were not wanted, by their place in a store or in the archive.
  type: list
  elements: str
  returned: success
ignored_count:
  description: How many files that are.
  type: int
  returned: success
msg:
  description: What was done in one line.
  type: str
  returned: always
needed_bytes:
  description: Bytes still to be written.
  type: int
  returned: when the file system is too small
short_bytes:
  description: Bytes to be freed first.
  type: int
  returned: when the file system is too small
missing:
  description: Digests of the blobs that neither the archive nor the store has.
  type: list
  elements: str
  returned: when an archive lacks blobs
problems:
  description: What is wrong with the blobs of a model that was to be exported.
  type: list
  elements: str
  returned: when a model in the store is not complete
lock:
  description: The file that another process holds.
  type: str
  returned: when O(lock_timeout) has passed
"""

import os

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama import request
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.transfer.ollama import request

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["exported", "imported"], "required": True},
    "path": {"type": "path", "required": True},
    "store": {"type": "path", "default": "/srv/models/ollama"},
    "names": {"type": "list", "elements": "str"},
    "verify": {"type": "str", "choices": ["size", "full"], "default": "size"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "directory_mode": {"type": "str", "default": "0755"},
    "compression_level": {"type": "int", "default": 3},
    "lock_timeout": {"type": "int", "default": 7200},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    result = request.answer(module.params, check_mode=module.check_mode, say=module.log)
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main() -> None:
    """Run the module."""
    run(work, ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
