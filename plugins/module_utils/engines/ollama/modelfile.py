# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modelfiles, read as Ollama's client reads them (parser/parser.go): the server takes JSON only."""

from __future__ import annotations

import codecs
import difflib
import re
import typing as t

from ...errors import GpufleetError

# Command -> key of the recipe. Those of LISTS may be repeated; of the others the last one counts.
COMMANDS = {
    "from": "from",
    "parameter": "parameters",
    "template": "template",
    "system": "system",
    "adapter": "adapters",
    "license": "license",
    "message": "messages",
    "draft": "draft",
    "renderer": "renderer",
    "parser": "parser",
    "requires": "requires",
}
LISTS = ("from", "adapters", "license", "draft", "messages")
ROLES = ("system", "user", "assistant")
_REQUIRES = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode(content: bytes, where: str) -> str:
    """The text of a Modelfile: UTF-8, or what its byte order mark says."""
    encoding = "utf-8"
    for mark, name in _MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], name
            break
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise GpufleetError("%s is not a Modelfile: it is no %s text (%s)." % (where, encoding, error)) from None


def parse(text: str, where: str) -> t.Dict[str, t.Any]:
    """The recipe: LISTS as lists, ``parameters`` as a dictionary of texts (``stop`` is a list), the others as texts."""
    recipe: t.Dict[str, t.Any] = {}
    for line, command, value in _commands(text, where):
        place = "%s line %d" % (where, line)
        key = COMMANDS[command]
        if command == "parameter":
            name, value = value.split(" ", 1)
            parameters = recipe.setdefault(key, {})
            if name == "stop":
                parameters.setdefault(name, []).append(value)
            else:
                parameters[name] = value
        elif command == "message":
            role, value = value.split(" ", 1)
            if role.lower() not in ROLES:
                raise GpufleetError("%s: MESSAGE %s: the role is one of %s." % (place, role, ", ".join(ROLES)))
            recipe.setdefault(key, []).append({"role": role.lower(), "content": value})
        elif key in LISTS:
            recipe.setdefault(key, []).append(value)
        else:
            recipe[key] = value
    if not recipe.get("from"):
        raise GpufleetError("%s has no FROM line: it names the model or the file to start from." % where)
    if "requires" in recipe and not _REQUIRES.fullmatch(recipe["requires"]):
        raise GpufleetError("%s: REQUIRES %s: give a version such as 0.30.0." % (where, recipe["requires"]))
    return recipe


def render(recipe: t.Mapping[str, t.Any]) -> str:
    """The Modelfile that says the same. One recipe is one text, whatever the order of its keys."""
    lines = ["FROM %s" % value for value in recipe.get("from") or ()]
    for key in ("adapters", "draft", "renderer", "parser", "requires"):
        value = recipe.get(key) or ()
        command = {"adapters": "ADAPTER"}.get(key, key.upper())
        lines += ["%s %s" % (command, one) for one in ([value] if isinstance(value, str) else value)]
    for name, value in sorted((recipe.get("parameters") or {}).items()):
        for one in value if isinstance(value, (list, tuple)) else [value]:
            lines.append("PARAMETER %s %s" % (name, _number(one)))
    for key in ("template", "system"):
        if recipe.get(key) is not None:
            lines.append("%s %s" % (key.upper(), quote(recipe[key])))
    lines += ["MESSAGE %s %s" % (one["role"], quote(one["content"])) for one in recipe.get("messages") or ()]
    lines += ["LICENSE %s" % quote(one) for one in recipe.get("license") or ()]
    return "".join(line + "\n" for line in lines)


def quote(text: str) -> str:
    if '"' in text:
        return '"""%s"""' % text
    if "\n" in text or "\r" in text or text != text.strip() or not text:
        return '"""%s"""' % text if "\n" in text else '"%s"' % text
    return text


def _number(value: t.Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return quote(str(value))


def _commands(text: str, where: str) -> t.Iterator[t.Tuple[int, str, str]]:
    """(line, command, value). A quoted value goes on to the line that ends with its quote."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    number = 0
    while number < len(lines):
        first, line = number + 1, lines[number].lstrip()
        number += 1
        if not line or line.startswith("#"):
            continue
        place = "%s line %d" % (where, first)
        word, value = _halves(line)
        command = word.lower()
        if command not in COMMANDS:
            raise GpufleetError("%s: %s is no command of a Modelfile.%s" % (place, word[:40], _hint(command)))
        name = ""
        if command in ("parameter", "message"):  # quotes are about what follows the name
            name, value = _halves(value)
        done = _unquoted(value)
        while done is None and number < len(lines):
            value += "\n" + lines[number]
            number += 1
            done = _unquoted(value)
        if done is None:
            raise GpufleetError("%s: the quote that %s opens is never closed." % (place, word))
        if not value.strip():
            raise GpufleetError("%s: %s has no value." % (place, line.strip()))
        yield first, command, "%s %s" % (name, done) if name else done


def _halves(text: str) -> t.Tuple[str, str]:
    """The first word, and what follows the blanks after it."""
    word = text.split(None, 1)[0] if text.strip() else ""
    return word, text[len(word) :].lstrip()


def _hint(command: str) -> str:
    close = difflib.get_close_matches(command, COMMANDS, 1, 0.6)
    if close:
        return " Did you mean %s?" % close[0].upper()
    return " It knows: %s." % ", ".join(sorted(COMMANDS)).upper()


def _unquoted(value: str) -> t.Optional[str]:
    """The value without its quotes; None while the closing one is missing."""
    text = value.strip()
    for sign in ('"""', '"'):
        if text.startswith(sign):
            if len(text) >= 2 * len(sign) and text.endswith(sign):
                return text[len(sign) : -len(sign)]
            return None
    return text
