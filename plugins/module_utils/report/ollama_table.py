# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a printed plan says of Ollama: how each model is loaded, the memory it takes, the server's environment."""

from __future__ import annotations

import typing as t

from . import words
from .layout import Layout, Term
from .words import gib

_HOST = "host"
_PARTLY, _CPU = "PARTLY ON THE CPU", "FITS, ON THE CPU"
_PARTS = (
    ("Weights", "weights_bytes"),
    ("KV cache", "cache_bytes"),
    ("Compute buffer", "buffer_bytes"),
    ("Projector", "projector_bytes"),
)

Facts = t.Mapping[str, t.Any]


def verdict(plan: Facts) -> str:
    if plan.get("refusal"):
        return "REFUSED"
    if all(model["runs_on"] == "cpu" for model in plan["models"]):
        return _CPU
    spilled = [plan["numbers"]["models"][model["name"]] for model in plan["models"] if model["runs_on"] != "gpu"]
    if any(terms["size_vram_bytes"] < terms["size_bytes"] for terms in spilled):
        return _PARTLY
    return words.VERDICTS[words.TIGHT if spilled else words.FITS]


def title(plan: Facts, models: t.Sequence[Facts]) -> str:
    names = [model["name"] for model in plan["models"]]
    what = names[0] if len(names) == 1 else words.plural(len(names), "model")
    return "%s on Ollama %s (%s)" % (what, plan["engine_version"], plan["variant"])


def summary(plan: Facts, models: t.Sequence[Facts]) -> str:
    number = len(plan["models"])
    if number == 1:
        return words.model_line(models[0]) if models else ""
    together = plan["numbers"]["loaded_together"]
    return "all loaded together" if together == number else "%d of them loaded together" % together


def blocks(plan: Facts, layout: Layout) -> t.List[str]:
    found: t.List[str] = []
    for position, model in enumerate(plan["models"]):
        found.append("\n".join(layout.wrap("MODEL " + model["name"], "", "  ") + [_decisions(plan, model, layout)]))
        found.extend(_memory(plan, position, layout))
    if not plan.get("refusal"):
        lines = ["ENVIRONMENT"]
        for name, value in sorted(plan["environment"].items()):
            lines.extend(layout.wrap("%s=%s" % (name, value), "  ", "    "))
        found.append("\n".join(lines))
    return found


def _decisions(plan: Facts, model: Facts, layout: Layout) -> str:
    terms = plan["numbers"]["models"][model["name"]]
    cache = "KV cache in " + terms["kv_cache_type"]
    if terms["kv_bytes_per_token"]:
        cache += ", %s per token and request" % words.small(terms["kv_bytes_per_token"])
    context = "%s tokens x %s" % (format(terms["context_tokens"], ","), words.plural(terms["parallel"], "request"))
    rows = [
        ("Quantization", terms["quantization"] or "not known", ""),
        ("Context", context, cache),
        ("Parameters", ", ".join("%s %s" % item for item in sorted(model["parameters"].items())), ""),
        ("Runs on", model["runs_on"], _layers(plan, model, terms)),
    ]
    if model["keep_alive"] is not None:
        rows.append(("Stays loaded", model["keep_alive"], ""))
    if model["runs_on"] == "gpu":
        rows.append(("Memory of host", gib(_size(terms["places"][-1])) + " GiB", ""))
    return layout.pairs(rows)


def _layers(plan: Facts, model: Facts, terms: Facts) -> str:
    low, _expected, high = words.spread(terms["layers_on_gpu"])
    labels = _labels(plan)
    where = ", ".join(labels[device] for device in model["devices"])
    if not high:
        return "0 of %d layers on a GPU" % terms["layers_total"] if plan["variant"] != "cpu" else ""
    number = "%d to %d" % (low, high) if low < high else "%d" % high
    text = "%s of %d layers on %s" % (number, terms["layers_total"], where)
    if terms["expert_layers_on_cpu"]:
        text += ", the experts of %d on the CPU" % terms["expert_layers_on_cpu"]
    return text


def _memory(plan: Facts, position: int, layout: Layout) -> t.List[str]:
    """Bars for the GPU that it fills most, one for each of the others, and for the host when the CPU works too."""
    numbers, model = plan["numbers"], plan["models"][position]
    terms = numbers["models"][model["name"]]
    others = [other["name"] for other in plan["models"][:position]] if position < numbers["loaded_together"] else []
    labels = _labels(plan)
    cards = {gpu["id"]: gpu for gpu in numbers["gpus"]}
    places = [place for place in terms["places"] if place["device"] != _HOST]
    found = []
    if places:
        fullest = max(places, key=lambda place: _size(place) / cards[place["device"]]["total_bytes"])
        card = cards[fullest["device"]]
        before: t.List[Term] = [
            ("Others", card["total_bytes"] - card["free_bytes"]),
            ("Models above", sum(_held(numbers, other, card["id"]) for other in others)),
        ]
        own = _parts(fullest, numbers, terms)
        rows = [_bars("MEMORY, " + labels[card["id"]], before, own, card["total_bytes"], layout)]
        for place in places:
            if place is not fullest:
                other = cards[place["device"]]
                held = sum(_held(numbers, name, other["id"]) for name in others + [model["name"]])
                taken = other["total_bytes"] - other["free_bytes"] + held
                rows.append(layout.one_bar(labels[other["id"]] + ", in all", taken, other["total_bytes"]))
        found.append("\n".join(rows))
    if model["runs_on"] != "gpu":
        before = [
            ("System", numbers["host_memory_bytes"] - numbers["host_room_bytes"]),
            ("Models above", sum(_held(numbers, other, _HOST) for other in others)),
        ]
        own = _parts(terms["places"][-1], numbers, terms)
        found.append(_bars("MEMORY OF THE HOST", before, own, numbers["host_memory_bytes"], layout))
    return found


def _bars(heading: str, before: t.List[Term], own: t.List[Term], total: int, layout: Layout) -> str:
    left = total - sum(words.spread(value)[1] for _label, value in before + own)
    return layout.bars(heading, before + own + [("Free", max(0, left))], total)


def _parts(place: Facts, numbers: Facts, terms: Facts) -> t.List[Term]:
    low, expected, high = words.spread(terms["compute_bytes"])
    found: t.List[Term] = []
    for label, key in _PARTS:
        size = place[key]
        if key == "buffer_bytes" and size >= expected:
            found.append((label, {"low": size - expected + low, "expected": size, "high": size - expected + high}))
        else:
            found.append((label, size))
    if place["device"] != _HOST:
        found.insert(0, ("GPU runtime", numbers["context_bytes"]))
    return found


def _held(numbers: Facts, name: str, device: str) -> int:
    """What a model holds of a device."""
    for place in numbers["models"][name]["places"]:
        if place["device"] == device:
            return _size(place) + (0 if device == _HOST else numbers["context_bytes"]["expected"])
    return 0


def _size(place: Facts) -> int:
    return sum(place[key] for _label, key in _PARTS)


def _labels(plan: Facts) -> t.Dict[str, str]:
    return {gpu["id"]: words.printable(gpu["label"]) for gpu in plan["numbers"]["gpus"]}
