# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prometheus' text format, and what vLLM says about itself in it."""

from __future__ import annotations

import json
import math
import re
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from .connection import Client

CACHE_INFO = "vllm:cache_config_info"
WORK_DONE = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total")
# What moves with every step of the engine, and only then: the cache fills while a long prompt is read, token by token or not.
SIGNS_OF_LIFE = WORK_DONE + ("vllm:iteration_tokens_total_count", "vllm:kv_cache_usage_perc")

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,?)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Sample:
    """One line of the exposition."""

    name: str
    labels: t.Dict[str, str]
    value: float


def parse(text: str) -> t.List[Sample]:
    """All samples of an exposition. A line that is none makes the whole text unusable, as it does for Prometheus."""
    samples = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            try:
                samples.append(_sample(line))
            except ValueError as error:
                raise GpufleetError("line %d of the metrics is no sample (%s): %.80s" % (number, error, line)) from None
    return samples


def _sample(line: str) -> Sample:
    name = _NAME.match(line)
    if not name:
        raise ValueError("no name")
    labels: t.Dict[str, str] = {}
    position = name.end()
    if line[position:].lstrip().startswith("{"):
        position = line.index("{", position) + 1
        while not line[position:].lstrip().startswith("}"):
            label = _LABEL.match(line, position)
            if not label:
                raise ValueError("labels")
            labels[label.group(1)] = _ESCAPE.sub(_unescaped, label.group(2))
            position = label.end()
            if not label.group(3) and not line[position:].startswith("}"):
                raise ValueError("labels")
        position = line.index("}", position) + 1
    words = line[position:].split()
    if not words:
        raise ValueError("no value")
    return Sample(name.group(), labels, float(words[0]))  # a time stamp may follow; it is not needed


def _unescaped(match: "re.Match[str]") -> str:
    return {"n": "\n", "\\": "\\", '"': '"'}.get(match.group(1), match.group(0))


def work_done(text: str) -> t.Optional[float]:
    """A number that grows whenever the engine gets on with anybody's request; None when the text has none."""
    values = [sample.value for sample in parse(text) if sample.name in WORK_DONE]
    return sum(values) if values else None


def signs_of_life(text: str) -> t.Optional[str]:
    """A text that is another one whenever the engine got on with anybody's request; None when there is nothing to see."""
    signs = ["%s=%r" % (sample.name.partition(":")[2], sample.value) for sample in parse(text) if sample.name in SIGNS_OF_LIFE]
    return " ".join(signs) or None


@dataclass(frozen=True)
class CacheInfo:
    """What the engine allotted, all engines of the server together where it says so."""

    engines: int
    block_size: int
    num_gpu_blocks: int  # of one engine
    kv_cache_tokens: int  # of one engine
    max_concurrency: t.Optional[float]  # of one engine, at the full context
    kv_cache_bytes: t.Optional[int]  # per GPU, only where it was given and not profiled
    labels: t.Dict[str, str]
    model: t.Optional[str]


def cache_info(text: str) -> CacheInfo:
    """Read the engine's own account of its KV cache from the text of /metrics."""
    samples = parse(text)
    found = [sample.labels for sample in samples if sample.name == CACHE_INFO and sample.value == 1]
    if not found:
        raise GpufleetError(
            "the metrics do not hold %s: either this is not vLLM, or it runs with --disable-log-stats. "
            "Found %d samples." % (CACHE_INFO, len(samples))
        )
    # Data-parallel engines of one server report one line each. They are alike; the smallest is what one can rely on.
    labels = min(found, key=lambda candidate: _whole(candidate, "num_gpu_blocks") or 0)
    blocks, block_size = _whole(labels, "num_gpu_blocks"), _whole(labels, "block_size")
    if not blocks or not block_size:
        raise GpufleetError(
            "%s says num_gpu_blocks=%s and block_size=%s: the engine has not allotted its cache"
            % (CACHE_INFO, labels.get("num_gpu_blocks"), labels.get("block_size"))
        )
    tokens = _whole(labels, "kv_cache_size_tokens")
    models = [sample.labels["model_name"] for sample in samples if "model_name" in sample.labels]
    return CacheInfo(
        engines=len(found),
        block_size=block_size,
        num_gpu_blocks=blocks,
        # With several kinds of attention a block is shared, so blocks times their size would be too many.
        kv_cache_tokens=blocks * block_size if tokens is None else tokens,
        max_concurrency=_number(labels, "kv_cache_max_concurrency"),
        kv_cache_bytes=_whole(labels, "kv_cache_memory_bytes"),
        labels=labels,
        model=models[0] if models else None,
    )


def ask(client: Client) -> t.Tuple[CacheInfo, t.Optional[str]]:
    """The cache, and the version of the engine where the server tells it."""
    metrics = client.get("/metrics")
    if metrics.status != 200:
        text = "%s answered /metrics with %d: give the engine's own address, not that of a gateway"
        raise GpufleetError(text % (client.address.place, metrics.status))
    version = client.get("/version")
    try:
        return cache_info(metrics.text), str(json.loads(version.body)["version"])
    except (ValueError, KeyError, TypeError):
        return cache_info(metrics.text), None


def _number(labels: t.Mapping[str, str], name: str) -> t.Optional[float]:
    try:
        value = float(labels.get(name, ""))
    except ValueError:  # "None" is how vLLM writes what is not set
        return None
    return value if math.isfinite(value) else None


def _whole(labels: t.Mapping[str, str], name: str) -> t.Optional[int]:
    value = _number(labels, name)
    return None if value is None else int(value)
