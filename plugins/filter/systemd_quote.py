# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words for systemd unit files."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.services.systemd_words import quote

DOCUMENTATION = r"""
name: systemd_quote
short_description: Quote a word for a systemd unit file
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Quotes a word so that systemd takes it as it is, with spaces, quotes, backslashes, percent and dollar signs in it.
options:
  _input:
    description: The word. Numbers are converted.
    type: raw
    required: true
  command:
    description:
      - Whether the word is part of a command line such as C(ExecStart=), where a dollar sign starts a variable.
      - In C(Environment=) it does not.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show a line of a unit file
  ansible.builtin.debug:
    msg: "ExecStart=/usr/bin/echo {{ '100% of $5' | gpufleet.llm.systemd_quote(command=true) }}"
  # ExecStart=/usr/bin/echo "100%% of $$5"
"""

RETURN = r"""
_value:
  description: The word, quoted where needed.
  type: str
"""


def systemd_quote(value: t.Any, command: bool = False) -> str:
    try:
        return quote(value, command)
    except GpufleetError as error:
        raise AnsibleFilterError("systemd_quote: %s" % error) from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"systemd_quote": systemd_quote}
