# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user asked for, checked; and what a plan is built up in."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import GpufleetError
from . import calibration
from .devices import Claim, read_claims
from .units import parse_number, parse_wish
from .versions import EngineVersion, normalize_settings, parse_version

PREFERENCES = ("balanced", "latency", "throughput")


@dataclasses.dataclass(frozen=True)
class Wishes:
    context: t.Optional[int]  # tokens; None: choose
    concurrency: t.Optional[int]  # requests at once; None: choose
    gpus: t.Union[None, int, t.Tuple[str, ...]]  # None: choose, a number, or indices and UUIDs
    prefer: str
    version: EngineVersion
    headroom_bytes: t.Optional[int]
    settings: t.Dict[str, t.Any]  # by vLLM's names, checked
    own_units: t.FrozenSet[str]
    claims: t.Tuple[Claim, ...]
    cuda_compatibility: bool
    measured: calibration.Calibration = calibration.NOTHING

    def fixed(self, name: str) -> t.Any:
        return self.settings.get(name)


def read_wishes(options: t.Mapping[str, t.Any], variant: str) -> Wishes:
    """The module's options; GpufleetError for one that makes no sense."""
    version = parse_version(options.get("engine_version"), variant)
    settings = normalize_settings(options.get("settings") or {}, version)
    context = parse_wish("context", options.get("context"))
    fixed_context = settings.get("max_model_len")
    if fixed_context is not None:
        if context is not None and context != fixed_context:
            raise GpufleetError(
                "context=%d and settings.max_model_len=%d disagree: set one of them." % (context, fixed_context)
            )
        context = int(fixed_context)
    prefer = options.get("prefer") or "balanced"
    if prefer not in PREFERENCES:
        raise GpufleetError("prefer=%s is not one of %s." % (prefer, ", ".join(PREFERENCES)))
    headroom = options.get("headroom_bytes")
    utilization = settings.get("gpu_memory_utilization")
    if utilization is not None and not 0 < utilization <= 1:
        raise GpufleetError("settings.gpu_memory_utilization=%s: give a number above 0, up to 1." % utilization)
    concurrency = parse_wish("concurrency", options.get("concurrency"))
    _check_batch(context, concurrency, settings)
    return Wishes(
        context=context,
        concurrency=concurrency,
        gpus=_read_gpus(options.get("gpus")),
        prefer=prefer,
        version=version,
        headroom_bytes=None if headroom is None else parse_number("headroom_bytes", headroom),
        settings=settings,
        own_units=frozenset(options.get("own_units") or ()),
        claims=tuple(read_claims(options.get("reserved") or ())),
        cuda_compatibility=bool(options.get("cuda_compatibility")),
        measured=calibration.read(options.get("measured")),
    )


def _check_batch(context: t.Optional[int], concurrency: t.Optional[int], settings: t.Mapping[str, t.Any]) -> None:
    """Settings that vLLM refuses together (config/scheduler.py verify_max_model_len)."""
    sequences, tokens = settings.get("max_num_seqs"), settings.get("max_num_batched_tokens")
    if sequences is not None and concurrency is not None and sequences != concurrency:
        raise GpufleetError(
            "concurrency=%d and settings.max_num_seqs=%d disagree: set one of them." % (concurrency, sequences)
        )
    requests = sequences or concurrency
    if tokens is not None and requests is not None and tokens < requests:
        raise GpufleetError(
            "settings.max_num_batched_tokens=%d is less than the %d requests of %s: each needs a token in a step."
            % (tokens, requests, "concurrency" if sequences is None else "settings.max_num_seqs")
        )
    if settings.get("enable_chunked_prefill") is False and tokens and context and tokens < context:
        raise GpufleetError(
            "settings.max_num_batched_tokens=%d is less than the context of %d, which must fit in one step with "
            "settings.enable_chunked_prefill=false: give %d or more." % (tokens, context, context)
        )


def _read_gpus(value: t.Any) -> t.Union[None, int, t.Tuple[str, ...]]:
    if value is None or str(value).strip().lower() == "auto":
        return None
    if isinstance(value, (list, tuple)):
        if not value:
            raise GpufleetError("gpus=[] names no GPU: give indices or UUIDs, a number, or auto.")
        return tuple(str(item) for item in value)
    text = str(value).strip()
    if text.isdigit():
        if int(text) < 1:
            raise GpufleetError("gpus=%s: give 1 or more, a list of indices or UUIDs, or auto." % text)
        return int(text)
    if text.startswith(("GPU-", "MIG-")):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    raise GpufleetError("gpus=%s: give auto, a number, or a list of indices or UUIDs." % value)


@dataclasses.dataclass
class Refusal:
    code: str
    message: str
    short_bytes: t.Optional[int] = None
    remedies: t.List[str] = dataclasses.field(default_factory=list)

    def as_dict(self) -> t.Dict[str, t.Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass
class Draft:
    """A plan being written."""

    settings: t.Dict[str, t.Any] = dataclasses.field(default_factory=dict)
    environment: t.Dict[str, str] = dataclasses.field(default_factory=dict)
    devices: t.List[str] = dataclasses.field(default_factory=list)
    numbers: t.Dict[str, t.Any] = dataclasses.field(default_factory=dict)
    reasons: t.List[str] = dataclasses.field(default_factory=list)
    warnings: t.List[str] = dataclasses.field(default_factory=list)
    refusal: t.Optional[Refusal] = None
    configuration: t.Optional[t.Dict[str, t.Any]] = None  # what a measurement of it will hold for

    def refuse(self, refusal: t.Optional[Refusal]) -> None:
        """The first refusal is the one to solve first; later ones do not replace it."""
        if self.refusal is None:
            self.refusal = refusal
