# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTML page, read with a parser of its own."""

from __future__ import annotations

import html.parser
import json
import re
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.report import charts, markup, page, rows, style, words
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.report import fleets

VOID = {"meta", "br", "hr"}


class Reader(html.parser.HTMLParser):
    """Checks nesting, and collects what the tests ask for."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), "an attribute twice in <%s>" % tag
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag, **attributes):
        return [
            own for name, own, _inside in self.elements
            if name == tag and all(own.get(key.rstrip("_")) == value for key, value in attributes.items())
        ]  # fmt: skip


@pytest.fixture(scope="module")
def mixed():
    return Reader(page.plan_page(fleets.mixed()))


@pytest.mark.parametrize("make", [fleets.mixed, fleets.refusals, fleets.hostile, fleets.large])
def test_well_formed_and_self_contained(make):
    text = page.plan_page(make())
    reader = Reader(text)
    assert {tag for tag, _attrs, _inside in reader.elements}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "base", "form", "video", "audio", "use", "image", "foreignobject"}
    )
    for tag, attributes, _inside in reader.elements:
        assert not any(name.startswith("on") or name in ("src", "srcset", "style", "action") for name in attributes), tag
        assert attributes.get("href", "#").startswith("#")
    styles = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"@import|url\((?!#)|expression", styles)
    assert reader.all("meta", http_equiv="") == []
    policy = [own["content"] for own in reader.all("meta") if own.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    idents = [own["id"] for _tag, own, _inside in reader.elements if "id" in own]
    assert len(idents) == len(set(idents))
    targets = {own["href"][1:] for own in reader.all("a")}
    assert targets <= set(idents)
    for reference in re.findall(r"url\(#(\w+)\)", text):
        assert reference in idents


def test_names_are_text_whatever_they_say():
    text = page.plan_page(fleets.hostile(), title="<b>", note="<i>&")
    reader = Reader(text)
    assert "<script" not in text.lower()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert reader.text.count("alert(1)") > 5
    assert reader.all("h1") and "<b>" in reader.text and "<i>&" in reader.text


def test_markup_escapes_where_text_enters():
    made = markup.tag("p", "a<b", ["&", None, 3, markup.tag("b", "'")], class_='"x"', hidden=True, title=None)
    assert made == '<p class="&quot;x&quot;" hidden>a&lt;b&amp;3<b>&#39;</b></p>'
    assert markup.escape("\x00\x1b\u202e\ud800") == "\ufffd" * 4


def test_bars_are_whole(mixed):
    """Each bar's parts follow one another from 0 to 100 percent, and the picture's text says the same."""
    bars = []
    for tag, attributes, inside in mixed.elements:
        if tag == "svg" and attributes.get("class") == "bar":
            bars.append((attributes, []))
        if tag == "rect" and attributes.get("class", "").startswith("p-") and inside[-1] == "svg":
            bars[-1][1].append((float(attributes["x"].rstrip("%")), float(attributes["width"].rstrip("%"))))
    assert len(bars) >= len(rows.rows(fleets.mixed()))
    for attributes, parts in bars:
        end = 0.0
        for start, width in parts:
            assert start == pytest.approx(end, abs=0.001)
            assert width > 0
            end = start + width
        assert end == pytest.approx(100, abs=0.001)
        assert attributes["role"] == "img"
        assert len(re.findall(r" GiB(?:,|$|;)", attributes["aria-label"].partition(": ")[2])) >= len(parts)


def test_a_bar_is_the_plans_own_memory():
    for row in rows.rows(fleets.mixed()) + rows.rows(fleets.refusals()):
        numbers = row.numbers
        for stack in rows.bars(row.plan):
            sizes = {part.name: part.size for part in stack.parts}
            assert sizes[rows.WEIGHTS] == numbers["weights_bytes_per_gpu"]
            assert all(part.low <= part.size <= part.high for part in stack.parts)
            if row.verdict == words.FITS:
                assert stack.free >= 0
                assert sizes[rows.KV] == numbers["kv_cache_bytes"]["expected"]
            assert stack.taken + stack.free == stack.total


def test_every_refusal_and_every_remedy_is_there():
    reader = Reader(page.plan_page(fleets.refusals()))
    for entry in fleets.refusals()["plans"]:
        refusal = entry["plan"]["refusal"]
        for text in [refusal["code"], refusal["message"], *refusal["remedies"]]:
            assert " ".join(text.split()) in reader.text, text


def test_reasons_warnings_problems_and_inputs_are_there(mixed):
    for row in rows.rows(fleets.mixed()):
        for text in row.plan["reasons"] + row.plan["warnings"]:
            assert " ".join(text.split()) in mixed.text
    assert "unreachable: Failed to connect to the host via ssh: No route to host" in mixed.text
    assert '"uuid": "GPU-00000001-0000-4000-8000-000000000000"' in mixed.text  # the exact facts
    assert '"architecture": "Qwen2ForCausalLM"' in mixed.text
    assert "2 hosts like gpu-01" in mixed.text and "gpu-01, gpu-02" in mixed.text


def test_every_drawing_has_words_and_every_table_heads(mixed):
    drawings = [own for own in mixed.all("svg") if own.get("aria-hidden") != "true"]
    assert len(drawings) > 10
    assert all(own.get("role") == "img" and len(own["aria-label"]) > 20 for own in drawings)
    assert all(own.get("scope") in ("col", "row", "rowgroup") for own in mixed.all("th"))
    assert [own["lang"] for own in mixed.all("html")] == ["en"]
    levels = [int(tag[1]) for tag, _own, _inside in mixed.elements if re.match(r"h\d$", tag)]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:]))


def test_the_same_plans_give_the_same_page():
    again = json.loads(json.dumps(fleets.mixed(), sort_keys=True))
    again = {key: again[key] for key in fleets.mixed()}
    assert page.plan_page(again) == page.plan_page(fleets.mixed())


def test_many_hosts_are_a_small_page_in_no_time():
    made = fleets.large()
    start = time.process_time()
    text = page.plan_page(made)
    assert time.process_time() - start < 1
    assert len(text) < 400_000
    reader = Reader(text)
    assert len(reader.all("details", class_="card")) == 15
    assert not any("open" in own for own in reader.all("details", class_="card"))
    assert "gpu-195" in text


def points(*values):
    return [{"context_tokens": 1024 << number, "low": value * 0.9, "expected": value} for number, value in enumerate(values)]


def test_the_curve_falls():
    drawn = charts.curve(points(40, 20, 10, 5), 4096, 16)
    line = re.search(r'class="exp" points="([^"]+)"', drawn).group(1)
    places = [tuple(map(float, pair.split(","))) for pair in line.split()]
    assert [x for x, _y in places] == sorted(x for x, _y in places)
    assert [y for _x, y in places] == sorted(y for _x, y in places)  # SVG counts downwards
    assert "4,096: 10.0 at once" in drawn and "16 slots" in drawn
    left, right = charts._LEFT, charts._RIGHT
    assert places[0][0] == left and places[-1][0] == right


@pytest.mark.parametrize("values", [(), (4,), (0, 0)])
def test_no_curve_without_points(values):
    assert charts.curve(points(*values), 1024, 4) is None


def test_where_not_one_request_fits_is_shaded():
    assert 'class="short"' in charts.curve(points(4, 1, 0.5), 1024, None)
    assert 'class="short"' not in charts.curve(points(8, 4, 2), 1024, None)


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_text_is_readable(colours):
    for ink, ground in style.PAIRS:
        assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for name, (fill, ink) in style.PARTS.items():
        assert contrast(fill, ink) >= 4.5, name
    assert set(style.LIGHT) == set(style.DARK)


def test_anything_else_is_refused():
    with pytest.raises(GpufleetError, match="gpufleet.fleet/1"):
        page.plan_page([])
