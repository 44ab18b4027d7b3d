# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The address of a file on a page of a package index."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software import simple_index

DOCUMENTATION = r"""
name: index_link
short_description: The address of a file on a page of a package index
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Finds a file among the links of a page as PEP 503 describes it, and joins its address with the page's, as a browser does.
positional: page, file
options:
  _input:
    description: The page, HTML.
    type: str
    required: true
  page:
    description: Its address.
    type: str
    required: true
  file:
    description: The name of the file.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show where it is
  ansible.builtin.debug:
    msg: "{{ page.content | gpufleet.llm.index_link(page.url, 'example-1.0.tar.gz') }}"
"""

RETURN = r"""
_value:
  description: The address, without a fragment.
  type: str
"""


def index_link(content: str, page: str, file: str) -> str:
    try:
        return simple_index.link(content, page, file)
    except GpufleetError as error:
        raise AnsibleFilterError("index_link: %s" % error) from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"index_link": index_link}
