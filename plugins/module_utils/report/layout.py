# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of a printed plan: heading, pairs, memory as bars, sentences. No line is longer than the width."""

from __future__ import annotations

import textwrap
import typing as t

from . import words
from .words import gib

WIDTH = 100
LEAST_WIDTH = 60
_LABEL = 16
_VALUE = 34  # columns of a value beside which its note stands; in a narrow table the note is beneath
_NARROW = 80

Size = t.Union[int, t.Mapping[str, int], None]
Term = t.Tuple[str, Size]


class Layout:
    """How wide a table is, and the blocks that it is made of."""

    def __init__(self, width: int = WIDTH) -> None:
        self.width = max(LEAST_WIDTH, int(width))
        self._bar = max(11, self.width - 61)
        self._value = _VALUE if self.width >= _NARROW else 0

    def heading(self, title: str, verdict: str, parts: t.Sequence[str]) -> str:
        """What it is about and the verdict at the right; beneath, the model and what it shall run on."""
        lines = self.wrap(title, "", "") or [""]
        gap = self.width - len(lines[-1]) - len(verdict)
        lines[-1] += " " * gap + verdict if gap >= 2 else "\n" + verdict.rjust(self.width)
        return "\n".join(lines + ["=" * self.width] + self.wrap(" | ".join(part for part in parts if part), "", ""))

    def pairs(self, rows: t.Iterable[t.Tuple[str, str, str]]) -> str:
        """Label, value, and a note in a column of its own."""
        lines: t.List[str] = []
        for label, value, note in rows:
            start = "  %-*s " % (_LABEL, label)
            column = start + "%-*s " % (self._value, words.printable(value))
            beneath = " " * (len(start) + self._value + 1 if self._value else len(start))
            if len(column) > len(beneath):
                lines.extend(self.wrap(value, start, " " * len(start)))
                column = beneath
            elif not note:
                lines.append(column.rstrip())
            lines.extend(self.wrap(note, column, beneath))
        return "\n".join(lines)

    def bars(self, title: str, terms: t.Iterable[Term], total: int, missing: t.Optional[int] = None) -> str:
        """A row for each term with its own part of the whole, where the terms above it end."""
        rows = self.wrap(title, "", "") if len(title) > _LABEL + 2 else []
        head = "" if rows else title
        rows.append("%-*s %10s   %s" % (_LABEL + 2, head, "GiB", "0%" + " " * (self._bar - 4) + "100%"))
        start = 0.0
        for label, value in terms:
            _low, size, high = words.spread(value)
            if size or high:
                rows.append(self.one_bar(label, value, total, start))
                start += size
        rows.append("  %-*s %10s" % (_LABEL, "Total", gib(total)))
        if missing:
            rows.append("  %-*s %10s" % (_LABEL, "Missing", gib(missing)))
        return "\n".join(row.rstrip() for row in rows)

    def one_bar(self, label: str, value: Size, total: int, start: float = 0.0) -> str:
        low, size, high = words.spread(value)
        first = min(self._bar - 1, max(0, round(start / total * self._bar)))
        last = min(self._bar, max(first + 1, round((start + size) / total * self._bar)))
        drawn = " " * first + "#" * (last - first) + " " * (self._bar - last)
        spread = "" if low == high else "%s to %s" % (gib(low), gib(high))
        lines = self.wrap(label, "  ", "  ") if len(label) > _LABEL else []
        head = "" if lines else label
        lines.append(("  %-*s %10s   |%s| %s" % (_LABEL, head, gib(size), drawn, spread)).rstrip())
        return "\n".join(lines)

    def refusal(self, refusal: t.Mapping[str, t.Any]) -> str:
        lines = ["REFUSED: %s" % refusal["code"]]
        lines.extend(self.wrap(refusal["message"], "  ", "  "))
        if refusal.get("remedies"):
            lines.append("  What would help, cheapest first:")
            for number, remedy in enumerate(refusal["remedies"], 1):
                lines.extend(self.wrap(remedy, "  %d. " % number, "     "))
        return "\n".join(lines)

    def sentences(self, title: str, sentences: t.Sequence[str]) -> str:
        lines = [title] if sentences else []
        for sentence in sentences:
            lines.extend(self.wrap(sentence, "  - ", "    "))
        return "\n".join(lines)

    def wrap(self, text: str, first: str, rest: str) -> t.List[str]:
        """At spaces; only a word that is longer than a line is broken."""
        return textwrap.wrap(
            words.printable(text), self.width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
        )
