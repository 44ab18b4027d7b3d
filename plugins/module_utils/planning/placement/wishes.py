# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a placement is asked for, checked: the models, and where their replicas may go; and the placement before."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
import typing as t

from ...errors import GpufleetError
from .fleet import CPU, Node
from ..units import parse_number
from ..wishes import Wishes, read_wishes

SCHEMA = "gpufleet.placement/1"
SPREADS = ("prefer", "require", "off")
VARIANTS = ("cuda", CPU)
# The same as role vllm accepts for an instance, with room for the number of a second replica on a host.
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")
_NUMBERED = re.compile(r"-\d+$")
# What a plan is made with, by vllm_plan's names.
_PLAN_OPTIONS = ("concurrency", "context", "cuda_compatibility", "engine_version", "gpus", "prefer", "settings")
# Set by the placement, so not to be set beside it.
_OWNED = _PLAN_OPTIONS + ("name", "model", "port", "version")


@dataclasses.dataclass(frozen=True, eq=False)
class Wanted:
    """One of the models."""

    name: str
    facts: t.Mapping[str, t.Any]
    source: str
    replicas: int
    options: t.Dict[str, t.Any]  # vllm_plan's
    wishes: Wishes  # the same, read
    variant: str
    hosts: t.Tuple[str, ...]
    labels: t.Dict[str, t.FrozenSet[str]]
    spread: str
    spread_over: t.Optional[str]
    port: t.Optional[int]
    share: bool
    priority: int
    instance: t.Dict[str, t.Any]

    def allows(self, node: Node) -> bool:
        """Whether the host is one that hosts, labels and variant of the model name."""
        if (self.variant == CPU) == bool(node.host.devices):
            return False
        return self.allows_name(node.name) and self.allows_labels(node)

    def allows_name(self, name: str) -> bool:
        wanted = [pattern for pattern in self.hosts if not pattern.startswith("!")]
        if any(fnmatch.fnmatchcase(name, pattern[1:]) for pattern in self.hosts if pattern.startswith("!")):
            return False
        return not wanted or any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)

    def allows_labels(self, node: Node) -> bool:
        return all(node.labels.get(key) in values for key, values in self.labels.items())


@dataclasses.dataclass(frozen=True)
class Former:
    """An assignment of the placement before."""

    model: str
    replica: int
    instance: str
    host: str
    gpus: t.Tuple[str, ...]
    port: t.Optional[int]
    shared: bool


def read_models(entries: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[Wanted]:
    """By name; GpufleetError names what makes no sense."""
    models: t.Dict[str, Wanted] = {}
    for entry in entries:
        wanted = _read_model(entry)
        if wanted.name in models:
            raise GpufleetError("models names %s twice: give every model a name of its own." % wanted.name)
        models[wanted.name] = wanted
    return [models[name] for name in sorted(models)]


def _read_model(entry: t.Mapping[str, t.Any]) -> Wanted:
    name = str(entry.get("name") or "")
    where = "models.%s" % (name or "?")
    if not _NAME.match(name) or _NUMBERED.search(name):
        raise GpufleetError(
            "%s: name=%r must be of lower-case letters, digits and dashes, at most 40, and not end on a dash and a "
            "number (that is how further replicas on one host are called)." % (where, name)
        )
    facts = entry.get("model")
    if not isinstance(facts, dict):
        raise GpufleetError("%s.model: give the model facts that gpufleet.llm.model_info returned as `model`." % where)
    source = entry.get("source") or facts.get("source")
    if not source or source == "config":
        raise GpufleetError("%s.source: say which repository or directory the model is, its facts do not." % where)
    options = {key: entry[key] for key in _PLAN_OPTIONS if entry.get(key) is not None}
    gpus = options.get("gpus")
    if isinstance(gpus, (list, tuple)) or not (str(gpus or "auto").isdigit() or str(gpus or "auto") == "auto"):
        raise GpufleetError(
            "%s.gpus=%s: give a number or auto; which GPUs it gets is what is worked out." % (where, gpus)
        )
    variant = _one_of(where + ".variant", entry.get("variant") or "cuda", VARIANTS)
    try:
        wishes = read_wishes(options, variant)
    except GpufleetError as error:
        raise GpufleetError("%s: %s" % (where, error)) from error
    extra = dict(entry.get("instance") or {})
    owned = sorted(set(extra) & set(_OWNED))
    if owned:
        raise GpufleetError("%s.instance sets %s, which the placement sets: leave it out." % (where, ", ".join(owned)))
    return Wanted(
        name=name,
        facts=facts,
        source=str(source),
        replicas=_count(where + ".replicas", entry.get("replicas", 1)),
        options=options,
        wishes=wishes,
        variant=variant,
        hosts=_patterns(entry.get("hosts")),
        labels=_labels(where + ".labels", entry.get("labels") or {}),
        spread=_one_of(where + ".spread", entry.get("spread") or "prefer", SPREADS),
        spread_over=entry.get("spread_over"),
        port=None if entry.get("port") is None else _port(where + ".port", entry["port"]),
        share=bool(entry.get("share", True)),
        priority=int(entry.get("priority") or 0),
        instance=extra,
    )


def read_previous(previous: t.Optional[t.Mapping[str, t.Any]]) -> t.List[Former]:
    """The assignments of an earlier placement, or of the record of one."""
    if not previous:
        return []
    if previous.get("schema") != SCHEMA:
        raise GpufleetError(
            "previous has schema %r, wanted %r: pass the placement, or its record, that placement_plan returned before."
            % (previous.get("schema"), SCHEMA)
        )
    result = []
    for entry in previous.get("assignments") or ():
        try:
            result.append(
                Former(
                    model=str(entry["model"]),
                    replica=int(entry["replica"]),
                    instance=str(entry["instance"]),
                    host=str(entry["host"]),
                    gpus=tuple(str(gpu) for gpu in entry["gpus"]),
                    port=None if entry.get("port") is None else int(entry["port"]),
                    shared=entry.get("share") is not None,
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise GpufleetError("previous has an assignment that lacks or misstates %s." % error) from error
    return sorted(result, key=lambda former: (former.model, former.replica, former.host))


def _count(name: str, value: t.Any) -> int:
    number = parse_number(name, value)
    if number > 100000:
        raise GpufleetError("%s=%d: give at most 100000." % (name, number))
    return number


def _port(name: str, value: t.Any) -> int:
    port = parse_number(name, value)
    if not 1 <= port <= 65535:
        raise GpufleetError("%s=%d: give a port from 1 to 65535." % (name, port))
    return port


def _one_of(name: str, value: t.Any, allowed: t.Sequence[str]) -> str:
    if value not in allowed:
        raise GpufleetError("%s=%s is not one of %s." % (name, value, ", ".join(allowed)))
    return str(value)


def _patterns(value: t.Any) -> t.Tuple[str, ...]:
    items = re.split(r"[,:\s]+", value) if isinstance(value, str) else list(value or ())
    return tuple(str(item) for item in items if str(item))


def _labels(name: str, value: t.Any) -> t.Dict[str, t.FrozenSet[str]]:
    if not isinstance(value, dict):
        raise GpufleetError("%s: give a dictionary of names and values." % name)
    return {
        str(key): frozenset(str(item) for item in (wanted if isinstance(wanted, (list, tuple)) else [wanted]))
        for key, wanted in value.items()
    }
