# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans of a whole fleet as one table for a terminal. Nothing is cut: what does not fit in its column is wrapped,
and where the terminal is narrow, less stands on the first line of a row and more beneath it."""

from __future__ import annotations

import textwrap
import typing as t

from . import words
from .rows import Row, domain, notes, rows, summary, tally, unasked, unread, versions

LEAST_WIDTH = 60
_GAP = 2
_REASON_BESIDE = 48  # columns for the reason without which it goes beneath its row
_LEGEND = (
    "REQUESTS: how many of the full context fit at once, as expected, of the slots planned. KV TOKENS: what the cache "
    "holds, low to high. HEADROOM: GiB that stay free per GPU, below zero GiB that are missing. 32K = 32768, "
    "32k = 32000."
)
_NAMES = ("HOST", "GPUS", "MODEL", "VERDICT", "TP x PP", "CONTEXT", "REQUESTS", "KV TOKENS", "HEADROOM")
_RIGHT = frozenset(("CONTEXT", "REQUESTS", "KV TOKENS", "HEADROOM"))
_FLEXIBLE = {"HOST": 14, "GPUS": 10, "MODEL": 16}  # these wrap, down to so many columns
_VERDICTS = {words.FITS: "fits", words.TIGHT: "tight", words.REFUSED: "REFUSED", words.UNKNOWN: "NOT KNOWN"}


def fleet_table(fleet: t.Mapping[str, t.Any], width: int = 120) -> str:
    """What the filter fleet_plan returned, in ``width`` columns."""
    width = max(LEAST_WIDTH, int(width))
    listed = rows(fleet)
    blocks = ["\n".join(_wrap(_title(fleet, listed), width))]
    if listed:
        blocks.append(_table(listed, width))
    alike = {row.hosts[0]: ", ".join(row.hosts[1:]) for row in listed if len(row.hosts) > 1}
    blocks.append(_named("ALIKE", list(alike.items()), width))
    blocks.append(_named("OF THE MODELS", notes(fleet), width))
    blocks.append(_named("NOTHING IS KNOWN OF", unread(fleet), width))
    blocks.append(_named("NOT ASKED", unasked(fleet), width))
    if listed:
        blocks.append("\n".join(_wrap(_LEGEND, width)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _title(fleet: t.Mapping[str, t.Any], listed: t.Sequence[Row]) -> str:
    verdicts = ", ".join("%d %s" % (number, text) for _name, number, text in tally(listed))
    lost = len(unasked(fleet))
    end = domain(fleet)
    parts = [summary(fleet) + (" of " + end[1:] if end else ""), versions(listed), verdicts]
    if len({row.model for row in listed}) == 1:
        parts.insert(0, "%s (%s)" % (listed[0].model, words.model_line(listed[0].facts)))
    parts.append("%s not asked" % words.plural(lost, "host") if lost else "")
    return "; ".join(part for part in parts if part)


def _table(listed: t.Sequence[Row], width: int) -> str:
    lines = [_cells(row) for row in listed]
    wanted = [name for name in _NAMES if name != "MODEL" or len({row.model for row in listed}) > 1]
    inline = list(wanted)
    sizes = _sizes(lines, inline, width)
    for name in ("GPUS", "MODEL"):  # the first to go beneath
        if sizes is None and name in inline:
            inline.remove(name)
            sizes = _sizes(lines, inline, width)
    if sizes is None:
        return "\n".join(line for row in listed for line in _record(row, width))
    left = width - sum(sizes.values()) - _GAP * len(sizes)
    if left < _REASON_BESIDE:
        left = 0
    heads = {name: [name] for name in sizes}
    out = _draw(heads, sizes, ["WHY"] if left else [], left)
    out.append("-" * width)
    for row, cells in zip(listed, lines):
        wrapped = {name: _wrap_name(cells[name], sizes[name]) for name in sizes}
        out.extend(_draw(wrapped, sizes, _wrap(_why(row), left) if left else [], left))
        beneath = [cells[name] for name in ("GPUS", "MODEL") if name in wanted and name not in inline]
        if beneath:
            out.extend(_wrap(", ".join(beneath), width, "    "))
        if not left:
            out.extend(_wrap(_why(row), width, "    "))
    return "\n".join(out)


def _cells(row: Row) -> t.Dict[str, str]:
    tokens, concurrency, headroom = row.tokens, row.concurrency, row.headroom
    values = [
        row.host,
        row.gpus.replace("NVIDIA ", ""),
        row.model,
        _VERDICTS[row.verdict],
        row.split,
        words.length(row.context) if row.context else "-",
        "-" if concurrency is None else "%.1f of %s" % (concurrency, row.settings.get("max_num_seqs", "?")),
        "-",
        "-" if headroom is None else words.gib(headroom),
    ]
    if tokens:
        low, high = words.thousands(tokens["low"]), words.thousands(tokens["high"])
        values[7] = low if low == high else "%s-%s" % (low, high)
    return dict(zip(_NAMES, values))


def _why(row: Row) -> str:
    text = row.reason
    remedies = row.refusal.get("remedies") or []
    if remedies:
        rest = len(remedies) - 1
        text += " Try: %s%s." % (words.printable(remedies[0]).rstrip("."), " (or %d more)" % rest if rest else "")
    return text


def _sizes(
    lines: t.Sequence[t.Mapping[str, str]], names: t.Sequence[str], width: int
) -> t.Optional[t.Dict[str, int]]:
    """Columns as wide as what they hold; too much is taken from the widest that may wrap. None: it does not go."""
    sizes = {name: max(len(name), *(len(cells[name]) for cells in lines)) for name in names}
    while sum(sizes.values()) + _GAP * (len(sizes) - 1) > width:
        able = [name for name in sizes if sizes[name] > _FLEXIBLE.get(name, width)]
        if not able:
            return None
        sizes[max(able, key=lambda name: sizes[name])] -= 1
    return sizes


def _draw(
    cells: t.Mapping[str, t.Sequence[str]], sizes: t.Mapping[str, int], reason: t.Sequence[str], left: int
) -> t.List[str]:
    """The lines of one row."""
    out = []
    height = max([len(cell) for cell in cells.values()] + [len(reason)])
    for number in range(height):
        parts = []
        for name, size in sizes.items():
            text = cells[name][number] if number < len(cells[name]) else ""
            parts.append(text.rjust(size) if name in _RIGHT else text.ljust(size))
        if left:
            parts.append(reason[number] if number < len(reason) else "")
        out.append((" " * _GAP).join(parts).rstrip())
    return out


def _record(row: Row, width: int) -> t.List[str]:
    """A row where the terminal is too narrow for any table."""
    cells = _cells(row)
    out = _wrap(", ".join(cells[name] for name in ("HOST", "GPUS", "MODEL")), width)
    facts = ["%s %s" % (name.lower(), cells[name]) for name in _NAMES[4:] if cells[name] != "-"]
    out.extend(_wrap("%s: %s" % (cells["VERDICT"], ", ".join(facts)), width, "    "))
    return out + _wrap(_why(row), width, "    ")


def _named(title: str, entries: t.Sequence[t.Tuple[str, str]], width: int) -> str:
    lines = [title] if entries else []
    for name, problem in entries:
        lines.extend(_wrap("%s: %s" % (name, problem), width, "  ", "      "))
    return "\n".join(lines)


def _wrap_name(text: str, width: int) -> t.List[str]:
    """At spaces, and after the slash of ``org/name``."""
    owner, slash, rest = text.partition("/")
    if len(text) <= width or not slash or " " in text:
        return _wrap(text, width)
    return _wrap(owner + slash, width) + _wrap(rest, width)


def _wrap(text: str, width: int, first: str = "", rest: t.Optional[str] = None) -> t.List[str]:
    """At spaces; a name that is too long for its column is broken, never dropped."""
    rest = first if rest is None else rest
    wrapped = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=True, break_on_hyphens=False
    )
    return wrapped or [""]
