# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which modules a list of names, globs and regular expressions means."""

from __future__ import annotations

import fnmatch
import re
import typing as t

# A language model inside a multimodal one goes by several prefixes; lists may use any of them.
_NESTED = ("model.language_model.", "language_model.model.", "language_model.")


def plain_name(name: str) -> str:
    """``name`` as the language model alone would call it."""
    for prefix in _NESTED:
        if name.startswith(prefix):
            return "model." + name[len(prefix) :]
    return name


class ModuleList:
    """The modules meant by a list such as modules_to_not_convert or ignore."""

    def __init__(self, patterns: t.Iterable[str]) -> None:
        self._names: t.Set[str] = set()
        prefixes: t.List[str] = []
        self._expressions: t.List[t.Pattern[str]] = []
        for pattern in patterns:
            pattern = str(pattern)
            if pattern.startswith("re:"):
                self._add_expression(pattern[3:])
            elif pattern.endswith("*") and not any(sign in pattern[:-1] for sign in "*?["):
                prefixes.append(plain_name(pattern[:-1]))
            elif any(sign in pattern for sign in "*?["):
                glob = fnmatch.translate(plain_name(pattern))
                self._expressions.append(re.compile(glob))
                self._expressions.append(re.compile(fnmatch.translate(plain_name(pattern) + ".*")))
            else:
                self._names.add(plain_name(pattern))
        self._prefixes = tuple(prefixes)

    def _add_expression(self, text: str) -> None:
        try:
            self._expressions.append(re.compile(text))
        except re.error:  # a pattern that no engine can read means nothing
            return

    def __contains__(self, module: str) -> bool:
        """Whether ``module``, or anything it lies in, is on the list."""
        if self._names:
            parts = module.split(".")
            for first in range(len(parts)):
                for last in range(first + 1, len(parts) + 1):
                    if ".".join(parts[first:last]) in self._names:
                        return True
        if module.startswith(self._prefixes):
            return True
        nested = module.replace("model.", _NESTED[0], 1)
        return any(item.match(module) or item.match(nested) for item in self._expressions)
