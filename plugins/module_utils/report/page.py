# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans of a fleet as one HTML page that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

import json
import re
import typing as t

from . import charts, style, words
from .markup import Safe, escape, name, tag
from .vllm_table import command
from .rows import FREE, Bar, Row, bars, domain, rows, summary, tally, unasked, unread, versions

_OPEN = 8  # so many cards stand open; of more, only those that are opened
_BADGES = {
    words.FITS: "\u2713 fits",
    words.TIGHT: "\u2248 fits, tightly",
    words.REFUSED: "\u2715 does not fit",
    words.UNKNOWN: "? not known",
}
_TALLY = {
    words.FITS: "\u2713 %s fit",
    words.TIGHT: "\u2248 %s fit tightly",
    words.REFUSED: "\u2715 %s do not fit",
    words.UNKNOWN: "? %s not known",
}


def plan_page(fleet: t.Mapping[str, t.Any], title: str = "Will it fit?", note: str = "") -> str:
    """The page for what the filter fleet_plan returned. ``note`` stands under the title, a date for example."""
    listed = rows(fleet)
    models: t.Dict[str, t.List[t.Tuple[str, Row]]] = {}
    for number, row in enumerate(listed, 1):
        models.setdefault(row.model, []).append(("plan-%d" % number, row))
    opened = len(listed) <= _OPEN
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "%s %s" % (title, summary(fleet))),
        tag("style", Safe(style.css())),
    )
    body = tag(
        "body",
        charts.definitions(),
        _header(fleet, listed, title, note),
        tag(
            "main",
            _overview(models) if listed else None,
            [_model(model, cards, opened) for model, cards in models.items()],
            _missing("Models of which nothing is known", "not-read", unread(fleet)),
            _missing("Hosts that were not asked", "not-asked", unasked(fleet)),
            _inputs(fleet, listed),
        ),
        tag("footer", "Made by gpufleet.llm. Weights and KV cache bytes per token are exact; activations, graphs and "
            "buffers are estimated, from low to high."),
    )  # fmt: skip
    return "<!DOCTYPE html>\n%s\n" % tag("html", "\n", head, "\n", body, "\n", lang="en")


def _header(fleet: t.Mapping[str, t.Any], listed: t.Sequence[Row], title: str, note: str) -> Safe:
    end = domain(fleet)
    line = [part for part in (summary(fleet) + (" of " + end[1:] if end else ""), versions(listed), note) if part]
    badges = [tag("li", _TALLY[key] % format(number, ","), class_="badge " + key) for key, number, _text in tally(listed)]
    for ident, lost, noun, what in (
        ("not-read", unread(fleet), "model", "not known"), ("not-asked", unasked(fleet), "host", "not asked")
    ):  # fmt: skip
        if lost:
            text = "? %s %s" % (words.plural(len(lost), noun), what)
            badges.append(tag("li", tag("a", text, href="#" + ident), class_="badge unknown"))
    return tag(
        "header",
        tag("h1", title),
        tag("p", " \u00b7 ".join(line), class_="muted"),
        tag("ul", badges, class_="tally") if badges else None,
        "\n",
    )


def _badge(row: Row) -> Safe:
    return tag("span", _BADGES[row.verdict], class_="badge " + row.verdict)


def _overview(models: t.Mapping[str, t.Sequence[t.Tuple[str, Row]]]) -> Safe:
    groups = []
    for model, cards in models.items():
        title = tag("tr", tag("th", name(model), scope="rowgroup", colspan=len(_HEADS)), class_="group")
        groups.append(tag("tbody", title if len(models) > 1 else None, [_line(row, ident) for ident, row in cards], "\n"))
    heads = [tag("th", text, scope="col", class_=kind or None) for text, kind in _HEADS]
    caption = tag("caption", "All plans: each model on each kind of host", class_="vh")
    table = tag("table", caption, tag("thead", tag("tr", heads)), groups, class_="overview")
    return tag("section", tag("div", table, class_="scroll"), "\n", aria_label="Overview")


_HEADS = (
    ("Host", ""), ("GPUs", ""), ("Verdict", ""), ("TP \u00d7 PP", "nowrap"), ("Context", "n"), ("Requests at once", "n"),
    ("KV cache, tokens", "n"), ("Headroom", "n"), ("Why", ""),
)  # fmt: skip


def _line(row: Row, ident: str) -> Safe:
    def cell(label: str, value: t.Any, kind: str = "n") -> Safe:
        return tag("td", value, data_l=label, class_=kind if value != "\u2013" else kind + " none")

    headroom = row.headroom
    return tag(
        "tr",
        tag("th", tag("a", name(row.host), href="#" + ident), scope="row"),
        cell("GPUs", name(_without_vendor(row.gpus)), "gpus"),
        cell("Verdict", _badge(row), "nowrap"),
        cell("TP \u00d7 PP", row.split.replace("x", "\u00d7"), "nowrap"),
        cell("Context", format(row.context, ",") if row.context else "\u2013"),
        cell("Requests at once", "\u2013" if row.concurrency is None else "%.1f" % row.concurrency),
        cell("KV cache, tokens", _range(row.tokens, words.thousands)),
        cell("Headroom", "\u2013" if headroom is None else _gib(headroom)),
        tag("td", row.reason, _first_remedy(row), class_="why"),
        "\n",
    )


def _first_remedy(row: Row) -> t.Optional[Safe]:
    remedies = row.refusal.get("remedies") or []
    return tag("span", "Try: %s" % remedies[0], class_="try") if remedies else None


def _without_vendor(text: str) -> str:
    return text.replace("NVIDIA ", "")


def _gib(size: float) -> str:
    return words.gib(size).replace("-", "\u2212") + " GiB"


def _range(value: t.Optional[t.Mapping[str, int]], say: t.Callable[[int], str]) -> str:
    if value is None:
        return "\u2013"
    low, high = say(value["low"]), say(value["high"])
    return low if low == high else "%s \u2013 %s" % (low, high)


def _missing(title: str, ident: str, entries: t.Sequence[t.Tuple[str, str]]) -> t.Optional[Safe]:
    if not entries:
        return None
    lines = [tag("tr", tag("th", name(who), scope="row"), tag("td", problem)) for who, problem in entries]
    table = tag("div", tag("table", tag("tbody", lines), class_="inputs"), class_="card list")
    return tag("section", tag("h2", title, id=ident), table, "\n")


def _model(model: str, cards: t.Sequence[t.Tuple[str, Row]], opened: bool) -> Safe:
    facts = cards[0][1].facts
    line = [words.model_line(facts), str(facts.get("architecture") or "")]
    if facts.get("max_position"):
        line.append("%s tokens at most" % format(facts["max_position"], ","))
    return tag(
        "section",
        tag("h2", name(model)),
        tag("p", " \u00b7 ".join(part for part in line if part), class_="muted"),
        [tag("p", text, class_="muted") for text in facts.get("warnings") or []],
        [_card(ident, row, opened) for ident, row in cards],
    )


def _card(ident: str, row: Row, opened: bool) -> Safe:
    summary_line = tag(
        "summary",
        tag("h3", name(row.host)),
        tag("span", name(row.gpus), class_="muted"),
        _badge(row),
    )
    content: t.List[t.Optional[Safe]] = [tag("p", row.problem)] if row.plan is None else _plan(row)
    if len(row.hosts) > 1:
        content.append(_fold("%d hosts that are alike" % len(row.hosts), tag("p", ", ".join(row.hosts))))
    # The name stands inside: a link to it opens the card.
    body = tag("div", content, class_="body", id=ident)
    return tag("details", summary_line, body, "\n", class_="card", open=opened)


def _plan(row: Row) -> t.List[t.Optional[Safe]]:
    plan = row.plan or {}
    memory = bars(plan)
    drawn = _curve(row)
    two = [_memory(row, memory)] if memory else []
    two += [drawn] if drawn else []
    return [
        _refusal(row),
        _tight(row),
        _facts(row),
        tag("div", two, class_="two" if len(two) == 2 else "two one") if two else None,
        _sentences("Warnings", plan["warnings"], opened=True),
        _sentences("Reasons", plan["reasons"]),
        _terms(plan),
        _points(row),
        None if row.refusal else _fold("Command", tag("pre", command(plan), tabindex=0)),
    ]


def _refusal(row: Row) -> t.Optional[Safe]:
    refusal = row.refusal
    if not refusal:
        return None
    remedies = refusal.get("remedies") or []
    fixes = [tag("h4", "What would make it fit, cheapest first"), tag("ol", [tag("li", text) for text in remedies])]
    why = tag("p", refusal["message"], " ", tag("code", refusal["code"]))
    return tag("div", why, fixes if remedies else None, class_="box refused")


def _tight(row: Row) -> t.Optional[Safe]:
    if row.verdict != words.TIGHT:
        return None
    text = "It fits as expected. Should every estimate come out at its worst, one request of the whole context would not."
    return tag("div", text, class_="box tight")


def _facts(row: Row) -> Safe:
    settings, numbers = row.settings, row.numbers
    pairs: t.List[t.Tuple[str, str, str]] = []
    if "tensor_parallel_size" in settings and numbers.get("total_memory_bytes"):
        used = len(numbers.get("gpus") or [])
        pairs.append(("TP \u00d7 PP", row.split.replace("x", "\u00d7"), "on %s" % words.plural(used, "GPU") if used else ""))
    if row.context:
        limit = numbers.get("context_limit_tokens")
        pairs.append(("Context", format(row.context, ","), "of %s" % format(limit, ",") if limit else ""))
    if row.concurrency is not None:
        slots = "%s for shorter ones" % words.plural(int(settings["max_num_seqs"]), "slot")
        pairs.append(("Requests at once", "%.1f" % row.concurrency, slots))
    if row.tokens:
        each = "%s per token%s" % (words.small(numbers["kv_bytes_per_token"]), " and GPU" if numbers.get("gpus") else "")
        pairs.append(("KV cache, tokens", _range(row.tokens, words.thousands), each))
    headroom = row.headroom
    if headroom is not None:
        where = "per GPU" if numbers.get("gpus") else "of the host"
        pairs.append(("Headroom" if headroom >= 0 else "Missing", _gib(abs(headroom)), where))
    if row.refusal and numbers.get("weights_bytes_per_gpu"):
        pairs.append(("Weights", _gib(numbers["weights_bytes_per_gpu"]), "per GPU" if numbers.get("gpus") else ""))
    cells = [
        tag("div", tag("dt", label), tag("dd", value, tag("small", more) if more else None)) for label, value, more in pairs
    ]
    return tag("dl", cells, class_="facts")


def _memory(row: Row, memory: t.Sequence[Bar]) -> Safe:
    drawn = []
    for stack in memory:
        whole = tag("span", _gib(stack.total))
        if stack.free < 0:
            whole = tag("span", "it ends at the mark: %s" % _gib(stack.total), class_="over")
        end = [tag("span", "0"), whole]
        drawn.append(tag("figure", tag("h4", "Memory: ", stack.title), charts.memory_bar(stack), tag("div", end, class_="scale"),
                         _legend(stack)))  # fmt: skip
    return tag("div", drawn)


def _legend(stack: Bar) -> Safe:
    """The bar as a table: its legend, and what it says without colours."""
    lines = []
    entries = [(part.name, part.size, part.low, part.high) for part in stack.parts]
    if stack.free > 0:
        entries.append((FREE, stack.free, stack.free, stack.free))
    for kind, size, low, high in entries:
        swatch = tag("span", class_="sw s-" + kind, aria_hidden="true")
        lines.append(
            tag(
                "tr",
                tag("th", swatch, charts.NAMES[kind], scope="row"),
                tag("td", words.gib(size), class_="n"),
                tag("td", "" if low == high else "%s \u2013 %s" % (words.gib(low), words.gib(high)), class_="n muted"),
                tag("td", "%.1f %%" % (size / stack.total * 100), class_="n muted"),
            )
        )
    heads = [tag("th", text, scope="col", class_=kind) for text, kind in
             (("", None), ("GiB", "n"), ("low \u2013 high", "n"), ("share", "n"))]  # fmt: skip
    caption = tag("caption", "How the memory is filled", class_="vh")
    return tag("table", caption, tag("thead", tag("tr", heads)), tag("tbody", lines), class_="legend")


def _curve(row: Row) -> t.Optional[Safe]:
    points = row.numbers.get("concurrency_by_context") or []
    drawn = charts.curve(points, row.context or 0, row.settings.get("max_num_seqs"))
    if drawn is None:
        return None
    return tag("figure", tag("h4", "Requests at once, by their context"), drawn, charts.key(points))


def _points(row: Row) -> t.Optional[Safe]:
    points = row.numbers.get("concurrency_by_context") or []
    if not any(point["expected"] for point in points):
        return None
    heads = tag("tr", [tag("th", text, scope="col", class_="n") for text in ("Context, tokens", "low", "expected")])
    lines = [
        tag("tr", [tag("td", text, class_="n") for text in (
            format(point["context_tokens"], ","), "%.2f" % point["low"], "%.2f" % point["expected"])])
        for point in points
    ]  # fmt: skip
    table = tag("table", tag("thead", heads), tag("tbody", lines), class_="legend")
    return _fold("Requests at once, in figures", table)


def _terms(plan: t.Mapping[str, t.Any]) -> t.Optional[Safe]:
    numbers = plan["numbers"]
    lines = []
    for label, key in words.TERMS + (("CUDA context", "context_bytes"),):
        low, size, high = words.spread(numbers.get(key))
        if not size and not high:
            continue
        spread = "" if low == high else "%s \u2013 %s" % (words.gib(low), words.gib(high))
        lines.append(
            tag("tr", tag("th", label, scope="row"), tag("td", words.gib(size), class_="n"),
                tag("td", spread, class_="n muted"), tag("td", tag("code", key)))
        )  # fmt: skip
    if not lines:
        return None
    heads = [("Term", None), ("GiB", "n"), ("low \u2013 high", "n"), ("in plan.numbers", None)]
    head = tag("tr", [tag("th", text, scope="col", class_=kind) for text, kind in heads])
    table = tag("table", tag("thead", head), tag("tbody", lines), class_="legend")
    return _fold("Memory, term by term", tag("div", table, class_="scroll"))


def _sentences(title: str, sentences: t.Sequence[str], opened: bool = False) -> t.Optional[Safe]:
    if not sentences:
        return None
    return _fold("%s (%d)" % (title, len(sentences)), tag("ul", [tag("li", text) for text in sentences]), opened)


def _fold(title: str, content: Safe, opened: bool = False) -> Safe:
    return tag("details", tag("summary", title), content, class_="fold", open=opened)


def _inputs(fleet: t.Mapping[str, t.Any], listed: t.Sequence[Row]) -> Safe:
    """What all of it was worked out from."""
    lines = [_input("Wishes for all models", _json(fleet["options"]) if fleet["options"] else "none: the plan chooses")]
    for model in fleet["models"]:
        lines.append(_input(name(words.printable(model["name"])), _said(model)))
    kinds = {row.hosts: row for row in listed}
    for row in kinds.values():
        lines.append(_input(name(row.host), _hardware_line(row)))
    folds = [
        _fold("Facts of the model %s" % words.printable(model["name"]), _pre(model["model"]))
        for model in fleet["models"] if model["model"] is not None
    ]  # fmt: skip
    folds += [_fold("Facts of %s" % row.host, _pre(row.hardware)) for row in kinds.values()]
    return tag(
        "section",
        tag("h2", "What it was worked out from"),
        tag("div", tag("table", tag("tbody", lines), class_="inputs"), folds, class_="card body"),
    )


def _input(label: t.Any, value: t.Any) -> Safe:
    return tag("tr", tag("th", label, scope="row"), tag("td", value))


def _said(model: t.Mapping[str, t.Any]) -> Safe:
    facts = model["model"]
    if facts is None:
        return escape(words.printable(model["problem"]))
    parts = [str(facts.get("source") or "config"), words.model_line(facts)]
    if facts.get("revision"):
        parts.append("revision %s" % facts["revision"])
    if model["options"]:
        parts.append(_json(model["options"]))
    return escape(" \u00b7 ".join(words.printable(part) for part in parts))


def _hardware_line(row: Row) -> Safe:
    hardware = row.hardware
    cpu = hardware.get("cpu") or {}
    parts = [row.gpus]
    memory = sorted({card.get("memory_total_bytes") or 0 for card in hardware.get("accelerators") or []})
    if memory:
        parts.append(" and ".join(_gib(size) for size in memory) + " each")
    if hardware.get("driver_version"):
        parts.append("driver %s" % hardware["driver_version"])
    if row.assumed:
        parts.append("assumed, from the table of GPUs")
    else:
        parts.append("%s, %s cores, %s" % (cpu.get("model"), cpu.get("cores"), _gib(hardware.get("memory_total_bytes") or 0)))
    if len(row.hosts) > 1:
        parts.append("the same on " + ", ".join(row.hosts[1:]))
    return escape(" \u00b7 ".join(words.printable(part) for part in parts))


def _json(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def _pre(value: t.Any) -> Safe:
    """Indented, with lists of numbers on one line."""
    text = json.dumps(value, indent=1, sort_keys=True, default=str, ensure_ascii=False)
    text = re.sub(r"\[[\s\d,.]+\]", lambda match: " ".join(match.group().split()), text)
    return tag("pre", text, tabindex=0)
