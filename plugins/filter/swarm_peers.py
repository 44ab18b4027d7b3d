# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The peers of a swarm, for those who ask a tracker."""

from __future__ import annotations

import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import torrent

DOCUMENTATION = r"""
name: swarm_peers
short_description: A tracker's answer that names these hosts
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - The answer of a BitTorrent tracker (BEP 3) that is always the same, as a text that a web server can serve from a file.
options:
  _input:
    description: Addresses or names of the hosts.
    type: list
    elements: str
    required: true
  port:
    description: Their port.
    type: int
    required: true
  interval:
    description: Seconds after which a client asks again.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Name two hosts
  ansible.builtin.copy:
    content: "{{ ['192.0.2.1', '192.0.2.2'] | gpufleet.llm.swarm_peers(6881) }}"
    dest: /srv/model-mirror/peers
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""


def swarm_peers(addresses: t.Sequence[str], port: int, interval: int = 10) -> str:
    return torrent.peers([str(one) for one in addresses], int(port), int(interval))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"swarm_peers": swarm_peers}
