# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTML and SVG put together from parts. Text is escaped where it enters, so that no caller can forget it."""

from __future__ import annotations

import re
import typing as t

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_UNSAFE = re.compile("[&<>\"']")
# What HTML does not allow in a document at all, and what turns the direction of text.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset(("meta", "br", "hr"))


class Safe(str):
    """Text that is markup already."""


Content = t.Union[None, str, int, float, t.Iterable[t.Any]]


def escape(text: t.Any) -> Safe:
    if isinstance(text, Safe):
        return text
    clean = _FORBIDDEN.sub("\ufffd", str(text))
    return Safe(_UNSAFE.sub(lambda match: _ESCAPES[match.group()], clean))


def tag(element: str, /, *content: Content, **attributes: t.Any) -> Safe:
    """``tag("p", "a < b", class_="note")``. A trailing underscore and None fall away, an inner one becomes a dash."""
    words = [element]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-") if key not in _CASED else _CASED[key]
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append('%s="%s"' % (key, escape(str(value))))
    opening = "<%s>" % " ".join(words)
    return Safe(opening if element in _VOID else "%s%s</%s>" % (opening, join(content), element))


# SVG's attributes that are not in small letters.
_CASED = {"view_box": "viewBox", "pattern_units": "patternUnits", "pattern_transform": "patternTransform"}


def join(content: Content, between: str = "") -> Safe:
    """Parts, one after the other; lists in lists are flattened, None is nothing."""
    if content is None:
        return Safe("")
    if isinstance(content, (str, int, float)):
        return escape(content)
    return Safe(between.join(join(part) for part in content))


def name(text: t.Any) -> Safe:
    """A name from outside, whose direction of writing stays its own."""
    return tag("bdi", text)
