# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As much of Go's text/template as it takes to refuse what Ollama refuses."""

from __future__ import annotations

import re

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_OPENING = ("if", "range", "with", "block", "define")
_FUNCTIONS = (
    "and or not len index slice print printf println html js urlquery call eq ne lt le gt ge "
    "json currentDate yesterdayDate toTypeScriptType toJson"
).split()
_KEYWORDS = ("if", "range", "with", "block", "define", "end", "else", "template", "break", "continue", "nil",
             "true", "false")  # fmt: skip


class TemplateError(ValueError):
    pass


def check(text: str) -> None:
    """TemplateError with Go's words for a template that does not parse."""
    depth, position = 0, 0
    while True:
        start = text.find("{{", position)
        if start < 0:
            break
        line = text.count("\n", 0, start) + 1
        action = _ACTION.match(text, start)
        if not action:
            raise TemplateError("template: :%d: unclosed action" % line)
        position = action.end()
        inside = action.group(1)
        if inside.startswith("/*"):
            continue
        word = inside.split(None, 1)[0] if inside else ""
        if not word:
            raise TemplateError("template: :%d: missing value for command" % line)
        if word in _OPENING:
            depth += 1
        elif word == "end":
            depth -= 1
            if depth < 0:
                raise TemplateError("template: :%d: unexpected {{end}}" % line)
        elif word == "else" and not depth:
            raise TemplateError("template: :%d: unexpected {{else}}" % line)
        bare = re.sub(r'"(?:\\.|[^"\\])*"|`[^`]*`', '""', inside)
        for name in re.findall(r"(?<![\w.$])[A-Za-z_]\w*", bare):
            if name not in _KEYWORDS and name not in _FUNCTIONS:
                raise TemplateError('template: :%d: function "%s" not defined' % (line, name))
    if depth:
        raise TemplateError("template: :%d: unexpected EOF" % (text.count("\n") + 1))
