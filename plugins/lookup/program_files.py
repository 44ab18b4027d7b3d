# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that a host runs by itself, made of this collection's own modules as they are."""

from __future__ import annotations

DOCUMENTATION = r"""
name: program_files
short_description: The files of a program that is made of this collection's module_utils
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns a module in C(module_utils) of this collection, and all of the collection that it imports, directly or not, so
    that a host can run it as C(python3 -m) without Ansible. What modules do on a host and what the host does by itself is
    then one and the same.
options:
  _terms:
    description: Paths below C(module_utils).
    type: list
    elements: str
    required: true
  under:
    description: The directory on the host that becomes the package.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Bring the program
  gpufleet.llm.host_files:
    files: "{{ query('gpufleet.llm.program_files', 'watchdog/program.py', under='/opt/gpufleet/watchdog/gpufleet') }}"
"""

RETURN = r"""
_list:
  description: Entries for the option O(gpufleet.llm.host_files#module:files), each with C(path) and C(content).
  type: list
  elements: dict
"""

import ast
import os
import typing as t

from ansible.plugins.lookup import LookupBase

ROOT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils")


def closure(paths: t.Iterable[str], root: str = ROOT) -> t.Dict[str, str]:
    """Those files and what they import, with their text, by path below ``root``."""
    found: t.Dict[str, str] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        with open(os.path.join(root, path), encoding="utf-8") as stream:
            found[path] = stream.read()
        waiting += _imports(path, found[path], root)
    return dict(sorted(found.items()))


def _imports(path: str, text: str, root: str) -> t.Iterator[str]:
    """Relative imports, which is how the modules of the collection import one another."""
    for node in ast.walk(ast.parse(text, path)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        package = path.split("/")[: -node.level]
        module = package + (node.module.split(".") if node.module else [])
        # "from . import a" is a file a.py, "from .a import b" is in a.py, or b.py in the package a.
        for parts in [module] + [module + [alias.name] for alias in node.names]:
            file = "/".join(parts) + ".py"
            if os.path.isfile(os.path.join(root, file)):
                yield file


class LookupModule(LookupBase):
    def run(self, terms: t.List[str], variables: t.Any = None, **kwargs: t.Any) -> t.List[t.Dict[str, str]]:
        self.set_options(var_options=variables, direct=kwargs)
        under = self.get_option("under")
        return [{"path": os.path.join(under, path), "content": text} for path, text in closure(terms).items()]
