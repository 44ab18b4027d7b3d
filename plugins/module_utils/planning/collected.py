# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a whole fleet measured, in one file that can be kept with the inventory.

The same measurements give the same content, whatever the order and however often: of each configuration the least, the
middle and the most that was taken. So the file grows with configurations, never with hosts or starts.
"""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError
from .calibration import MEASURED_SCHEMA, SCHEMA, canonical, entries, measurement
from .units import GIB, count

# What of a measured dictionary is kept: nothing that says on which machine it was.
_KEPT = (
    "schema", "engine", "engine_version", "variant", "configuration", "requested_bytes", "weights_bytes", "block_size",
    "kv_bytes_per_block", "kv_cache_bytes", "kv_cache_given_bytes", "kv_cache_tokens", "num_gpu_blocks",
    "overhead_bytes",
)  # fmt: skip
_KEPT_OF = {
    "model": ("architecture", "parameters", "quantization", "source"),
    "settings": ("gpu_memory_utilization", "max_model_len"),
}

Entry = t.Dict[str, t.Any]
Measured = t.Union[t.Mapping[str, t.Any], t.Sequence[t.Any]]  # by the place where it was, or in any order
Groups = t.Dict[str, t.Dict[float, Entry]]


def collect(
    found: t.Mapping[str, Measured], known: t.Any = None, with_hosts: bool = False
) -> t.Tuple[Entry, t.List[str]]:
    """The content of the file for ``found``, by host measured dictionaries or their text; and what there is to say.

    ``known`` is what the file held so far. A configuration that no host has now stays in it, and so do its extremes.
    GpufleetError where it is no such file.
    """
    notes: t.List[str] = []
    now: Groups = {}
    number = 0
    for host in sorted(found):
        for place, value in _places(found[host]):
            for name, entry in entries(place, value):
                problem = _add(now, entry, [host] if with_hosts else None)
                number += not problem
                if problem:
                    notes.append("%s: %s %s, and is left out." % (host, name, problem))
    before = _read_known(known, with_hosts)
    merged = []
    for key in sorted(set(now) | set(before)):
        merged += _choose(now.get(key, {}), before.get(key, {}))
    hosts = [host for host in found if found[host]]
    notes.insert(
        0,
        "%s of %s: %s for %s in the file."
        % (
            count(number, "measurement"),
            count(len(hosts), "host"),
            count(len(merged), "entry").replace("entrys", "entries"),
            count(len({canonical(_shape(entry)) for entry in merged}), "configuration"),
        ),
    )
    return {"schema": SCHEMA, "measured": merged}, notes


def _places(values: Measured) -> t.List[t.Tuple[str, t.Any]]:
    """What a host has, with the place where it has it."""
    if isinstance(values, t.Mapping):
        return sorted(values.items())
    return [("measured[%d]" % index, value) for index, value in enumerate(values)]


def _read_known(known: t.Any, with_hosts: bool) -> Groups:
    """The groups of a file of ours. An empty one, and none, have no groups."""
    groups: Groups = {}
    for name, entry in entries("the file", known):
        whole = isinstance(entry, GpufleetError) or name.startswith("the file.measured[")
        problem = _add(groups, entry, _hosts(entry) if with_hosts else None) if whole else "is one measurement"
        if problem:
            raise GpufleetError(
                "%s %s. It is not a collection of measurements (schema %s), and is left as it is: name another "
                "file (calibrate_file), or remove it." % (name, problem, SCHEMA)
            )
    return groups


def _hosts(entry: t.Any) -> t.Optional[t.Sequence[str]]:
    return entry.get("hosts") if isinstance(entry, dict) else None


def _add(groups: Groups, entry: t.Any, hosts: t.Optional[t.Sequence[str]]) -> t.Optional[str]:
    """Put an entry where it belongs; what is wrong with it otherwise."""
    if isinstance(entry, GpufleetError):
        return str(entry)
    if entry.get("configuration") is None:
        return "was made without a plan, or by a release that did not say what for"
    try:
        known = measurement(entry)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return "is damaged (%s %s)" % (type(error).__name__, error)
    if known.taken is None and not (known.given and known.blocks):
        return "does not say how its KV cache was sized"
    size = entry["overhead_bytes"] if known.taken is not None else (known.given or 0) / known.blocks
    kept = {name: entry.get(name) for name in _KEPT}
    kept["schema"] = MEASURED_SCHEMA
    for name, keys in _KEPT_OF.items():
        kept[name] = {key: (entry.get(name) or {}).get(key) for key in keys}
    if hosts:
        kept["hosts"] = sorted(hosts)
    group = groups.setdefault(canonical([_shape(entry), known.taken is None]), {})
    other = group.get(size)
    if other is not None:
        kept = min(kept, other, key=_without_hosts)
        if hosts or other.get("hosts"):
            kept = dict(kept, hosts=sorted({*(hosts or ()), *other.get("hosts", ())}))
    group[size] = kept
    return None


def _shape(entry: Entry) -> Entry:
    """The configuration, with the memory that drivers state a little differently in whole GiB."""
    size = entry["configuration"].get("memory_total_bytes")
    return dict(entry["configuration"], memory_total_bytes=None if size is None else round(size / GIB))


def _without_hosts(entry: Entry) -> str:
    return canonical({name: value for name, value in entry.items() if name != "hosts"})


def _choose(now: t.Dict[float, Entry], before: t.Dict[float, Entry]) -> t.List[Entry]:
    """Least, middle and most. The middle is that of now: a second run must find the same."""
    every = dict(before)
    for size, entry in now.items():
        best = min(entry, every.get(size, entry), key=_without_hosts)
        every[size] = dict(best, hosts=entry["hosts"]) if "hosts" in entry else best
    if not now:
        return [every[size] for size in sorted(every)]
    sizes = sorted(now)
    chosen = {min(every), sizes[len(sizes) // 2], max(every)}
    return [every[size] for size in sorted(chosen)]
