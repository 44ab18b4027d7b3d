# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows for a model that comes from the site's mirror."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import distribution
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError

DOCUMENTATION = r"""
name: mirrored_models
short_description: Pin models to what the site's mirror serves
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Adds to every entry of C(model_store_models) the mirror as its endpoint, the commit that the mirror has of it, and the digest
    of the mirror's list of files.
  - Fails for a model that the mirror has not.
options:
  _input:
    description: The models, as the role P(gpufleet.llm.model_store#role) takes them.
    type: list
    elements: dict
    required: true
  url:
    description: The mirror's address.
    type: str
    required: true
  mirror:
    description: The mirror's name in the inventory. Empty where it is none of Ansible's hosts; then nothing is pinned.
    type: str
    default: ""
  published:
    description:
      - What the mirror serves, as M(gpufleet.llm.model_mirror) returns it.
      - None when the mirror cannot be asked. Models are then only looked for in the store.
    type: list
    elements: dict
  swarm:
    description: Whether they come from one another too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what is due
  ansible.builtin.debug:
    msg: "{{ model_store_models | gpufleet.llm.mirrored_models('http://mirror:8090', 'mirror', mirror.models) }}"
"""

RETURN = r"""
_value:
  description: The models, with C(endpoint), C(offline), and where that is known C(commit) and C(listing_sha256).
  type: list
  elements: dict
"""


def mirrored_models(
    models: t.Sequence[t.Dict[str, t.Any]],
    url: str,
    mirror: str = "",
    published: t.Optional[t.Sequence[t.Dict[str, t.Any]]] = None,
    swarm: bool = False,
) -> t.List[t.Dict[str, t.Any]]:
    try:
        return distribution.mirrored(models, mirror, url, published, swarm)
    except GpufleetError as error:
        raise AnsibleFilterError("mirrored_models: %s" % error) from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"mirrored_models": mirrored_models}
