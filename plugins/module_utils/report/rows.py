# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans of a fleet as rows: hosts that are alike once, every figure where table and page look for it."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ..planning.units import GIB
from . import words

SCHEMA = "gpufleet.fleet/1"
_KINDS = ((words.FITS, "fit"), (words.TIGHT, "fit tightly"), (words.REFUSED, "refused"), (words.UNKNOWN, "not known"))


@dataclasses.dataclass(frozen=True)
class Row:
    """One model on hosts that are alike."""

    model: str
    facts: t.Mapping[str, t.Any]
    hosts: t.Tuple[str, ...]
    hardware: t.Mapping[str, t.Any]
    assumed: bool
    plan: t.Optional[t.Mapping[str, t.Any]]
    problem: t.Optional[str]

    @property
    def verdict(self) -> str:
        return words.verdict(self.plan)

    @property
    def refusal(self) -> t.Mapping[str, t.Any]:
        return (self.plan or {}).get("refusal") or {}

    @property
    def numbers(self) -> t.Mapping[str, t.Any]:
        return (self.plan or {}).get("numbers") or {}

    @property
    def settings(self) -> t.Mapping[str, t.Any]:
        return (self.plan or {}).get("settings") or {}

    @property
    def gpus(self) -> str:
        return words.printable(words.cards(self.hardware))

    @property
    def host(self) -> str:
        """``gpu-01``, ``12 hosts like gpu-01``."""
        first = self.hosts[0]
        return first if len(self.hosts) == 1 else "%s like %s" % (words.plural(len(self.hosts), "host"), first)

    @property
    def split(self) -> str:
        """TP x PP."""
        tp = self.settings.get("tensor_parallel_size")
        return "%d x %d" % (tp, self.settings.get("pipeline_parallel_size") or 1) if tp else "-"

    @property
    def context(self) -> t.Optional[int]:
        return self.settings.get("max_model_len")

    @property
    def concurrency(self) -> t.Optional[float]:
        """Requests of full length at once; None for a model that does not fit."""
        return self.numbers.get("max_concurrency") if self.plan and not self.refusal else None

    @property
    def tokens(self) -> t.Optional[t.Mapping[str, int]]:
        return self.numbers.get("kv_cache_tokens") if self.plan and not self.refusal else None

    @property
    def headroom(self) -> t.Optional[int]:
        """Bytes that stay free on the fullest GPU; below zero what is missing there."""
        if self.plan is None:
            return None
        if self.refusal:
            short = self.refusal.get("short_bytes")
            return -short if short else None
        return min((stack.free for stack in bars(self.plan)), default=None)

    @property
    def reason(self) -> str:
        """Why it is so, in one sentence: of a refusal or a problem that, else the first warning, else how it is split."""
        if self.plan is None:
            return words.printable(self.problem)
        if self.refusal:
            return words.printable(self.refusal["message"])
        return words.printable((list(self.plan["warnings"]) + list(self.plan["reasons"]) + [""])[0])


@dataclasses.dataclass(frozen=True)
class Part:
    """A stretch of a memory stack."""

    name: str
    size: int
    low: int
    high: int


@dataclasses.dataclass(frozen=True)
class Bar:
    """The memory of one GPU, or of several that are filled alike."""

    title: str
    total: int
    parts: t.Tuple[Part, ...]

    @property
    def taken(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def free(self) -> int:
        """What nobody takes; below zero what does not fit."""
        return self.total - self.taken


HELD, SYSTEM, WEIGHTS, ACTIVATION = "held", "system", "weights", "activation"
GRAPHS, OTHER, KV, FREE = "graphs", "other", "kv", "free"
_PART_OF = {
    "weights_bytes_per_gpu": WEIGHTS,
    "activation_peak_bytes": ACTIVATION,
    "cuda_graph_bytes": GRAPHS,
    "kv_cache_bytes": KV,
    "unclaimed_bytes": None,  # what is left is worked out per GPU
    "system_reserve_bytes": SYSTEM,
}


def bars(plan: t.Mapping[str, t.Any]) -> t.List[Bar]:
    """How the chosen GPUs (on a CPU host: its memory) are filled, as expected; alike ones together."""
    numbers = plan["numbers"]
    total = numbers.get("total_memory_bytes")
    if not total:
        return []
    sizes = {name: [0, 0, 0] for name in (HELD, SYSTEM, WEIGHTS, OTHER, ACTIVATION, GRAPHS, KV)}
    for _label, key in words.TERMS:
        part = _PART_OF.get(key, OTHER)
        if part:
            sizes[part] = [old + new for old, new in zip(sizes[part], words.spread(numbers.get(key)))]
    outside = words.spread(numbers.get("context_bytes"))
    sizes[OTHER] = [old + new for old, new in zip(sizes[OTHER], outside)]
    if plan.get("refusal"):  # what it would take: one request of the whole context
        needed = max(sizes[KV][1], numbers.get("kv_needed_bytes") or 0)
        sizes[KV] = [needed] * 3
    gpus = numbers.get("gpus") or []
    if not gpus:
        return [Bar("Host memory", total, _parts(sizes, 0))]
    alike: t.Dict[t.Tuple[int, int], t.List[str]] = {}
    for gpu in gpus:
        held = gpu["foreign_memory_bytes"] + gpu["reserved_by_others_bytes"]
        name = str(gpu["name"])
        label = name.partition(" MIG ")[2] + " slice" if " MIG " in name else str(gpu["index"])
        alike.setdefault((gpu["total_memory_bytes"], held), []).append(label)
    return [Bar(_title(labels), size, _parts(sizes, held)) for (size, held), labels in alike.items()]


def _title(labels: t.Sequence[str]) -> str:
    if not labels[0].isdigit():
        return ", ".join(labels)
    return "GPU %s%s" % (", ".join(labels), " (each)" if len(labels) > 1 else "")


def _parts(sizes: t.Mapping[str, t.Sequence[int]], held: int) -> t.Tuple[Part, ...]:
    parts = []
    for name, (low, expected, high) in sizes.items():
        add = held if name == HELD else 0
        if expected + add or high:
            parts.append(Part(name, expected + add, low + add, high + add))
    return tuple(parts)


def rows(fleet: t.Mapping[str, t.Any]) -> t.List[Row]:
    """By model in the order given, then by the first host of each kind. Without the hosts and the models of which
    nothing is known: those are in ``unasked`` and ``unread``."""
    words.check_schema(fleet, SCHEMA, "A report wants what the filter gpufleet.llm.fleet_plan returned")
    hosts = {host["name"]: host for host in fleet["hosts"]}
    of_host: t.Dict[str, t.List[t.Mapping[str, t.Any]]] = {name: [] for name in hosts}
    for entry in fleet["plans"]:
        of_host[entry["host"]].append(entry)
    cut = len(domain(fleet))
    kinds: t.Dict[str, t.List[str]] = {}
    for name, host in hosts.items():
        if host["hardware"] is not None:
            kinds.setdefault(_kind(host, of_host[name]), []).append(name)
    return [
        Row(
            model=words.printable(model["name"]),
            facts=model["model"],
            hosts=tuple(words.printable(name)[: len(name) - cut] for name in alike),
            hardware=hosts[alike[0]]["hardware"],
            assumed=bool(hosts[alike[0]]["assumed"]),
            plan=of_host[alike[0]][number]["plan"],
            problem=of_host[alike[0]][number]["problem"],
        )
        for number, model in enumerate(fleet["models"])
        if model["model"] is not None
        for alike in kinds.values()
    ]


def _kind(host: t.Mapping[str, t.Any], entries: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Equal for hosts that one row may stand for: the same hardware to look at, and the same plans."""
    hardware = host["hardware"]
    cpu = hardware.get("cpu") or {}
    seen = [
        words.cards(hardware),
        [card.get("memory_total_bytes") for card in hardware.get("accelerators") or []],
        [hardware.get("driver_version"), hardware.get("cuda_driver_version"), hardware.get("environment")],
        [cpu.get("model"), cpu.get("cores"), (hardware.get("memory_total_bytes") or 0) // GIB],
    ]
    return json.dumps([seen, [[entry["problem"], _outcome(entry["plan"])] for entry in entries]], sort_keys=True)


def _outcome(plan: t.Optional[t.Mapping[str, t.Any]]) -> t.Any:
    """A plan without what only tells one GPU from the other, and without megabytes that come and go."""
    if plan is None:
        return None
    numbers = dict(plan["numbers"])
    for name in ("free_memory_bytes", "foreign_memory_bytes"):
        numbers.pop(name, None)
    numbers["gpus"] = [
        [gpu["index"], gpu["name"], (gpu["foreign_memory_bytes"] + gpu["reserved_by_others_bytes"]) * 10 // GIB]
        for gpu in numbers.get("gpus") or []
    ]
    environment = {key: value for key, value in plan["environment"].items() if key != "CUDA_VISIBLE_DEVICES"}
    return [plan["settings"], environment, numbers, plan["reasons"], plan["warnings"], plan["refusal"]]


def domain(fleet: t.Mapping[str, t.Any]) -> str:
    """What all names of hosts end with, from a dot on (``.dc1.example.com``): said once, not in every row."""
    names = [host["name"] for host in fleet["hosts"]]
    ends = {name.partition(".")[2] for name in names}
    end = ends.pop() if len(ends) == 1 else ""
    usual = len(names) > 1 and end and re.match(r"^[A-Za-z0-9.-]*[A-Za-z-][A-Za-z0-9.-]*$", end)
    return "." + end if usual else ""


def unasked(fleet: t.Mapping[str, t.Any]) -> t.List[t.Tuple[str, str]]:
    """Hosts of which nothing is known, and why."""
    return _without(fleet["hosts"], "hardware")


def unread(fleet: t.Mapping[str, t.Any]) -> t.List[t.Tuple[str, str]]:
    """Models of which nothing is known, and why."""
    return _without(fleet["models"], "model")


def notes(fleet: t.Mapping[str, t.Any]) -> t.List[t.Tuple[str, str]]:
    """What is to be known of the facts of a model: where they come from, what is not counted."""
    return [
        (words.printable(entry["name"]), words.printable(" ".join(entry["model"]["warnings"])))
        for entry in fleet["models"]
        if entry["model"] and entry["model"].get("warnings")
    ]


def _without(entries: t.Iterable[t.Mapping[str, t.Any]], key: str) -> t.List[t.Tuple[str, str]]:
    return [
        (words.printable(entry["name"]), words.printable(entry["problem"])) for entry in entries if entry[key] is None
    ]


def summary(fleet: t.Mapping[str, t.Any]) -> str:
    """``3 models on 14 hosts``."""
    assumed = any(host["assumed"] for host in fleet["hosts"])
    where = "set of GPUs" if assumed else "host"
    number = len(fleet["hosts"])
    hosts = "%d sets of GPUs" % number if assumed and number > 1 else words.plural(number, where)
    return "%s on %s" % (words.plural(len(fleet["models"]), "model"), hosts)


def tally(listed: t.Sequence[Row]) -> t.List[t.Tuple[str, int, str]]:
    """How often each verdict was given, over hosts and models; only those that were."""
    numbers = {name: sum(len(row.hosts) for row in listed if row.verdict == name) for name, _text in _KINDS}
    return [(name, numbers[name], text) for name, text in _KINDS if numbers[name]]


def versions(listed: t.Sequence[Row]) -> str:
    """``vLLM 0.33.0 (cuda)``."""
    found = {"vLLM %s (%s)" % (row.plan["engine_version"], row.plan["variant"]): None for row in listed if row.plan}
    return ", ".join(found)
