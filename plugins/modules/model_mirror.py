#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models of the store as a static hub."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_mirror
short_description: Publish models of the store as a static hub for nginx
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Writes what a Hugging Face Hub would answer about models of the store as files that nginx hands out, with nginx's maps for
    commits and hashes. Clients of the hub take it as their endpoint.
  - Publishes every revision that the store has of the models, under its commit and under every branch or tag that the store
    has a link for. Only files that the store's record calls verified, and that look as they did then, are listed.
  - A model whose revision is a digest, as that of a directory, is published too. Its commit is the first 40 digits. Where the store
    has no C(main), that is C(master), else the revision that was verified last.
  - What is published is replaced as a whole, when nginx reads C(site.conf) again. What O(models) no longer names is not
    served any more. The version before stays in C(versions/) until what is published changes again, and until then
    M(gpufleet.llm.model_store_prune) takes its models for used.
  - The role P(gpufleet.llm.model_mirror#role) has the nginx for it.
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows which models are published, never a token.
  idempotent:
    support: full
options:
  store:
    description:
      - The directory that holds all models.
    type: path
    default: /srv/models
  path:
    description:
      - Where the published files go. The models' own files are not copied; links lead to them.
    type: path
    default: /srv/model-mirror
  models:
    description:
      - What is published. Each must be in the store.
    type: list
    elements: dict
    required: true
    suboptions:
      source:
        description:
          - As M(gpufleet.llm.model_download) has it, a repository as C(org/name) or the absolute path of a directory.
          - Left out for a list of files, which has a O(models[].name).
        type: str
      hub:
        description:
          - Who has O(models[].source), as M(gpufleet.llm.model_download) has it. Models of Ollama's registry cannot be published.
        type: str
        choices: [huggingface, modelscope, ollama]
      revision:
        description:
          - The branch, tag or commit that RV(models) tells of, C(main) by default. All that the store has of the model are served.
        type: str
      name:
        description:
          - The name in the store as C(org/name), for a directory or a list of files. By default the last two parts of a directory's
            path.
        type: str
  token_file:
    description:
      - A file on the host with tokens, one a line. Any of them opens the models that O(restricted) names.
      - Without it every client that nginx lets in may have every model.
    type: path
  restricted:
    description:
      - Patterns of the names of models that want a token, when there is O(token_file).
    type: list
    elements: str
    default: ["*"]
  torrents:
    description:
      - Make a torrent of every revision too, for O(gpufleet.llm.model_download#module:transport=swarm). That reads all its files once.
    type: bool
    default: false
  loaded:
    description:
      - A file that is as old as what nginx has read. RV(reload_due) compares it with what nginx reads.
    type: path
  settings:
    description:
      - Other files that nginx reads, such as its configuration and certificates, for RV(reload_due).
    type: list
    elements: path
    default: []
seealso:
  - module: gpufleet.llm.model_download
"""

EXAMPLES = r"""
- name: Publish what is in the store
  gpufleet.llm.model_mirror:
    models:
      - source: Qwen/Qwen3-8B
      - source: /mnt/usb/my-model
        name: team/my-model
  register: mirror

- name: What clients may hold the mirror to
  ansible.builtin.debug:
    msg: "{{ mirror.models | map(attribute='listing_sha256') }}"
"""

RETURN = r"""
models:
  description: What is served of O(models), in the order of the names. In check mode, without those that are not in the store yet.
  type: list
  elements: dict
  returned: success
  contains:
    source:
      description: As given.
      type: str
    name:
      description: As what clients ask for it, C(org/name).
      type: str
    revision:
      description: As given.
      type: str
    commit:
      description: What that is here, 40 hex digits.
      type: str
    listing_sha256:
      description: The digest of its list of files, for O(gpufleet.llm.model_download#module:listing_sha256).
      type: str
    files:
      description: How many files.
      type: int
    bytes:
      description: Their size in bytes.
      type: int
reload_due:
  description: Whether nginx has not read yet what is published.
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import mirror
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.transfer import mirror


ARGUMENT_SPEC = {
    "store": {"type": "path", "default": "/srv/models"},
    "path": {"type": "path", "default": "/srv/model-mirror"},
    "models": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "source": {"type": "str"},
            "hub": {"type": "str", "choices": ["huggingface", "modelscope", "ollama"]},
            "revision": {"type": "str"},
            "name": {"type": "str"},
        },
    },
    "token_file": {"type": "path", "no_log": False},
    "restricted": {"type": "list", "elements": "str", "default": ["*"]},
    "torrents": {"type": "bool", "default": False},
    "loaded": {"type": "path"},
    "settings": {"type": "list", "elements": "path", "default": []},
}


def work(module: AnsibleModule) -> dict:
    """Publish as asked."""
    return mirror.publish(mirror.Wish(check_mode=module.check_mode, **module.params))


def main() -> None:
    """Run the module."""
    run(work, ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
