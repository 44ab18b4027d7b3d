# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page's two drawings, as inline SVG: how the memory is filled, and how many requests of each length fit."""

from __future__ import annotations

import math
import typing as t

from . import words
from .markup import Safe, tag
from .rows import ACTIVATION, FREE, GRAPHS, HELD, KV, OTHER, SYSTEM, WEIGHTS, Bar

NAMES = {
    WEIGHTS: "Weights",
    OTHER: "Buffers and CUDA context",
    ACTIVATION: "Activations",
    GRAPHS: "CUDA graphs",
    KV: "KV cache",
    FREE: "Headroom",
    HELD: "Held by others",
    SYSTEM: "Left to the system",
}
_SHORT = {WEIGHTS: "Weights", OTHER: "Buffers", ACTIVATION: "Activ.", GRAPHS: "Graphs", KV: "KV", FREE: "Free"}
_LETTER = 7.2 / 470 * 100  # width of a letter of a bar's text, in percent of a bar in a card of the widest page

# Everything that drawings share: patterns, and where the curve is cut off. Standing once in the document.
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 456.0, 14.0, 206.0
_VIEW = "0 0 470 244"


def definitions() -> Safe:
    hatch = tag(
        "pattern",
        tag("rect", class_="hatchback", width=5, height=5),
        tag("line", class_="hatch", x1=0, y1=0, x2=0, y2=5),
        id="held", width=5, height=5, pattern_units="userSpaceOnUse", pattern_transform="rotate(45)",
    )  # fmt: skip
    cut = tag("clipPath", tag("rect", x=_LEFT, y=_TOP, width=_RIGHT - _LEFT, height=_BOTTOM - _TOP), id="plot")
    return tag("svg", tag("defs", hatch, cut), class_="defs", aria_hidden="true", focusable="false")


def memory_bar(stack: Bar) -> Safe:
    """The parts side by side; what goes beyond the device's end stands behind a mark."""
    scale = max(stack.total, stack.taken)
    parts = [(part.name, part.size) for part in stack.parts if part.size > 0]
    if stack.free > 0:
        parts.append((FREE, stack.free))
    shapes, start = [], 0.0
    for name, size in parts:
        width = size / scale * 100
        shapes.append(
            tag("rect", tag("title", "%s: %s GiB" % (NAMES[name], words.gib(size))), class_="p-" + name,
                x="%.4f%%" % start, y=0, width="%.4f%%" % width, height=34)
        )  # fmt: skip
        text = "%s %s" % (_SHORT.get(name), words.gib(size))
        if name in _SHORT and len(text) * _LETTER < width:
            shapes.append(
                tag("text", text, class_="t-" + name, x="%.4f%%" % (start + width / 2), y=21.5, text_anchor="middle")
            )
        start += width
    if stack.free < 0:
        end = "%.4f%%" % (stack.total / scale * 100)
        shapes.append(tag("line", class_="end", x1=end, x2=end, y1=-5, y2=39))
    said = ", ".join("%s %s GiB" % (NAMES[name].lower(), words.gib(size)) for name, size in parts)
    label = "%s, %s GiB: %s" % (stack.title, words.gib(stack.total), said)
    if stack.free < 0:
        label += "; %s GiB more than there are" % words.gib(-stack.free)
    return tag("svg", shapes, class_="bar", role="img", aria_label=label)


def curve(
    points: t.Sequence[t.Mapping[str, t.Any]], context: int, slots: t.Optional[int], limit: t.Optional[int] = None
) -> t.Optional[Safe]:
    """Requests at once against their length, both doubling from line to line; None where there is nothing to draw."""
    shown = [point for point in points if point["expected"] > 0]
    if len(shown) < 2 or shown[0]["context_tokens"] == shown[-1]["context_tokens"]:
        return None
    first, last = (math.log2(shown[index]["context_tokens"]) for index in (0, -1))
    top = max(1, math.ceil(math.log2(max(point["expected"] for point in shown))))
    least = min(point["low"] or point["expected"] for point in shown)
    bottom = min(0, max(-2, math.floor(math.log2(least)))) if least < 1 else 0

    def across(tokens: float) -> float:
        return _LEFT + (math.log2(tokens) - first) / (last - first) * (_RIGHT - _LEFT)

    def up(requests: float) -> float:
        value = math.log2(max(requests, 2.0**-9))
        return _BOTTOM - (value - bottom) / (top - bottom) * (_BOTTOM - _TOP)

    shapes = [_grid(across, up, math.ceil(first - 1e-9), math.floor(last + 1e-9), bottom, top)]
    if bottom < 0:
        shapes.insert(0, tag("rect", class_="short", x=_LEFT, y=_f(up(1)), width=_RIGHT - _LEFT, height=_f(_BOTTOM - up(1))))
    expected = [(across(point["context_tokens"]), up(point["expected"])) for point in shown]
    low = [(across(point["context_tokens"]), up(point["low"])) for point in shown]
    plot = [tag("polygon", class_="band", points=_path(expected + low[::-1]))] if low != expected else []
    plot += [tag("polyline", class_="low", points=_path(low))] if low != expected else []
    plot.append(tag("polyline", class_="exp", points=_path(expected)))
    shapes.append(tag("g", plot, clip_path="url(#plot)"))
    if slots and bottom <= math.log2(slots) <= top:
        height = up(slots)
        shapes.append(tag("line", class_="slots", x1=_LEFT, x2=_RIGHT, y1=_f(height), y2=_f(height)))
        shapes.append(
            tag("text", words.plural(slots, "slot"), class_="halo", x=_RIGHT - 4, y=_f(height - 4), text_anchor="end")
        )
    here = next((point for point in shown if point["context_tokens"] == context), None)
    if here:
        shapes.append(_mark(across(context), up(here["expected"]), here))
    return tag("svg", shapes, class_="curve", role="img", aria_label=_say(shown, here, slots), view_box=_VIEW)


def _grid(
    across: t.Callable[[float], float], up: t.Callable[[float], float], first: int, last: int, bottom: int, top: int
) -> Safe:
    lines, texts = [], []
    step = max(1, math.ceil((last - first) / 7))
    for power in range(last, first - 1, -step):
        x = _f(across(2.0**power))
        lines.append(tag("line", x1=x, x2=x, y1=_TOP, y2=_BOTTOM))
        texts.append(tag("text", words.length(1 << power), x=x, y=_BOTTOM + 17, text_anchor="middle"))
    step = max(1, math.ceil((top - bottom) / 7))
    for power in range(0, top + 1, step):
        texts += _level(up, power, lines)
    for power in range(-1, bottom - 1, -1):
        texts += _level(up, power, lines)
    middle = (_LEFT + _RIGHT) / 2
    texts.append(tag("text", "context of each request, tokens", x=middle, y=_BOTTOM + 34, text_anchor="middle"))
    return tag("g", tag("g", lines, class_="grid"), texts)


def _level(up: t.Callable[[float], float], power: int, lines: t.List[Safe]) -> t.List[Safe]:
    y = up(2.0**power)
    lines.append(tag("line", x1=_LEFT, x2=_RIGHT, y1=_f(y), y2=_f(y)))
    return [tag("text", format(2.0**power, "g"), x=_LEFT - 7, y=_f(y + 4), text_anchor="end")]


def _mark(x: float, y: float, point: t.Mapping[str, t.Any]) -> Safe:
    """The plan's own context on the curve."""
    text = "%s: %.1f at once" % (format(point["context_tokens"], ","), point["expected"])
    anchor, shift = ("end", -9) if x > (_LEFT + _RIGHT) / 2 else ("start", 9)
    height = y - 10 if anchor == "start" else y + 18  # beside the line, which falls from left to right
    if height > _BOTTOM - 4:
        anchor, shift, height = "end", -9, _BOTTOM - 8
    return tag(
        "g",
        tag("line", class_="here", x1=_f(x), x2=_f(x), y1=_f(y), y2=_BOTTOM),
        tag("circle", class_="dot", cx=_f(x), cy=_f(y), r=4.5),
        tag("text", text, class_="label", x=_f(x + shift), y=_f(height), text_anchor=anchor),
    )


def _say(
    shown: t.Sequence[t.Mapping[str, t.Any]], here: t.Optional[t.Mapping[str, t.Any]], slots: t.Optional[int]
) -> str:
    ends = ["%.1f of %s tokens" % (point["expected"], format(point["context_tokens"], ",")) for point in (shown[0], shown[-1])]
    text = "Requests that fit at once: %s, %s" % (ends[0], ends[1])
    if here:
        text += "; %.1f of the planned %s tokens" % (here["expected"], format(here["context_tokens"], ","))
    return text + ("; %d slots" % slots if slots else "")


def key(points: t.Sequence[t.Mapping[str, t.Any]]) -> Safe:
    """What the curve's lines mean; the low end only where it is another than what is expected."""
    spread = any(point["low"] != point["expected"] for point in points)

    def line(kind: str, text: str) -> Safe:
        stroke = tag("svg", tag("line", class_=kind, x1=0, x2=24, y1=4, y2=4), class_="curve", aria_hidden="true")
        return tag("span", stroke, text)

    return tag(
        "div", line("exp", "expected"), line("low", "at the low end, which the plan promises") if spread else None,
        line("slots", "slots (max_num_seqs)"), class_="key muted",
    )  # fmt: skip


def _path(points: t.Iterable[t.Tuple[float, float]]) -> str:
    return " ".join("%s,%s" % (_f(x), _f(y)) for x, y in points)


def _f(value: float) -> str:
    return ("%.1f" % value).rstrip("0").rstrip(".")
