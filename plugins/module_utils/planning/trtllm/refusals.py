# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why there is no plan for TensorRT-LLM, and what would make one. The codes are those of vLLM's plans."""

from __future__ import annotations

import dataclasses
import typing as t

from .. import capability, devices, parallel
from ..devices import Seat
from ..facts import Device, Host, Model
from ..fit import needed_bytes
from ..refusals import held_text
from ..units import count, gib
from ..wishes import Refusal
from . import options, support
from .fit import ShareFit, smallest_gpu, work_out
from .wishes import Asked

_OTHERS = "another engine: vLLM or Ollama"


def host(found: Host) -> t.Optional[Refusal]:
    """What the host itself lacks: a GPU of NVIDIA's, and a driver for the image's CUDA."""
    if not found.devices:
        return Refusal(
            "no_gpu",
            "The host has no GPU, and TensorRT-LLM runs on nothing else.",
            remedies=[_OTHERS + ", which run on a CPU too"],
        )
    if not found.nvidia:
        first = found.devices[0]
        return Refusal(
            "unsupported_vendor",
            "%s is %s (%s): TensorRT-LLM runs on NVIDIA's GPUs only." % (first.label, first.name, first.vendor),
            remedies=[_OTHERS],
        )
    text = found.driver_version
    install = "install an NVIDIA driver, R%d or newer (role nvidia_driver)" % options.MINIMUM_DRIVER
    if not text:
        return Refusal(
            "no_driver",
            "There is an NVIDIA GPU (%s) but no working NVIDIA driver: %s."
            % (found.nvidia[0].name, found.nvidia[0].problem or "none is loaded"),
            remedies=[install],
        )
    major = text.split(".")[0]
    if major.isdigit() and int(major) >= options.MINIMUM_DRIVER:
        return None
    return Refusal(
        "driver_too_old",
        "NVIDIA driver %s is too old: TensorRT-LLM's image is built with CUDA %s, which needs R%d or newer."
        % (text, options.CUDA, options.MINIMUM_DRIVER),
        remedies=[install, _OTHERS],
    )


def why_unusable(device: Device) -> t.Optional[t.Tuple[str, str]]:
    """Refusal code and sentence for a device that TensorRT-LLM is not run on; None for one that the planner goes on with."""
    if device.is_slice:
        return "mig_card", "%s: MIG slices are not documented for TensorRT-LLM, and not worked out" % device.label
    cap = device.capability
    if cap and cap < support.LEAST_CAPABILITY:
        return "capability_too_old", "%s (%s) has compute capability %s, TensorRT-LLM starts at %s" % (
            device.label, device.name, capability.text(cap), capability.text(support.LEAST_CAPABILITY)
        )  # fmt: skip
    if device.sliced:
        return "mig_card", "%s (%s) is cut into MIG slices, which TensorRT-LLM is not run on here" % (
            device.label, device.name
        )  # fmt: skip
    return None


def unusable(problems: t.Sequence[t.Tuple[str, str]]) -> Refusal:
    code = problems[0][0]
    remedies = {
        "capability_too_old": ["a GPU of the Ampere generation (A100, A10, RTX 30) or newer", _OTHERS],
        "mig_card": ["turn MIG off: nvidia-smi -mig 0", "name whole GPUs in gpus", "another engine: vLLM runs on a slice"],
    }[code]
    return Refusal(code, "; ".join(text for _code, text in problems) + ".", remedies=remedies)


def context(model: Model, asked: Asked) -> t.Optional[Refusal]:
    wanted, limit = asked.wishes.context, model.max_position
    if wanted is None or not limit or wanted <= limit:
        return None
    return Refusal(
        "context_too_long",
        "context %d is longer than the model's %d tokens." % (wanted, limit),
        remedies=["context: %d" % limit],
    )


def memory(model: Model, found: Host, fit: ShareFit, asked: Asked) -> Refusal:
    """What is short, and what would make it fit, cheapest first. Every remedy is worked out like a plan of its own."""
    where, each = devices.describe(fit.seats), " per GPU" if fit.split.ranks > 1 else ""
    needed = needed_bytes(fit.layout, fit.batch, fit.context)
    held = held_text(fit.seats)
    if held and _fits(model, [_emptied(seat) for seat in fit.seats], fit, asked):
        return Refusal(
            "foreign_processes",
            "The memory of %s is taken: %s. %s%s short; without them the model fits." % (where, held, gib(fit.short), each),
            fit.short,
            ["stop what holds it: " + held] + _remedies(model, found, fit, asked),
        )
    if fit.share.missing:
        return Refusal(
            "too_little_memory",
            "Weights (%s), buffers (%s) and a margin need more than the %s%s that are free on %s: %s%s short."
            % (
                gib(fit.share.weights), gib(fit.share.overhead.expected + fit.share.outside.expected), gib(fit.share.free),
                each, where, gib(fit.short), each,
            ),
            fit.short,
            _remedies(model, found, fit, asked),
        )  # fmt: skip
    return Refusal(
        "no_kv_cache_room",
        "One request of %s needs %s of KV cache%s on %s; kv_cache_free_gpu_memory_fraction %.2f gives %s of the %s that are "
        "free beside the weights: %s short."
        % (
            count(fit.context, "token"), gib(needed), each, where, fit.share.fraction, gib(fit.share.kv.expected),
            gib(fit.share.left.expected), gib(fit.short),
        ),
        fit.short,
        _remedies(model, found, fit, asked),
    )  # fmt: skip


def _emptied(seat: Seat) -> Seat:
    """The same device with nobody else on it."""
    free = min(seat.total, seat.free + seat.foreign + seat.promised)
    return dataclasses.replace(seat, free=free, foreign=0, foreign_names=(), promised=0)


def _fits(model: Model, seats: t.Sequence[Seat], fit: ShareFit, asked: Asked) -> bool:
    return work_out(model, seats, fit.split, fit.linked, asked).fits


def _remedies(model: Model, found: Host, fit: ShareFit, asked: Asked) -> t.List[str]:
    said = []
    shorter = dataclasses.replace(asked, wishes=dataclasses.replace(asked.wishes, context=None))
    other = work_out(model, fit.seats, fit.split, fit.linked, shorter)
    if asked.wishes.context and other.fits and other.context < asked.wishes.context:
        said.append("context: %d" % other.context)
    if fit.kv_dtype == "auto":
        small = dataclasses.replace(asked, kv_dtype="fp8")
        if _fits(model, fit.seats, fit, small):
            said.append("settings.extra_llm_api_options: {kv_cache_config: {dtype: fp8}} (half the KV cache per token)")
    more = _more_gpus(model, found, fit, asked)
    if more:
        said.append(more)
    if not model.quantization and (fit.seats[0].device.capability or (0, 0)) >= (8, 9):
        said.append("an FP8 checkpoint of the model (half the weights)")
    said.append("a GPU with %s or more" % gib(smallest_gpu(fit)))
    return said


def _more_gpus(model: Model, found: Host, fit: ShareFit, asked: Asked) -> t.Optional[str]:
    """The smallest larger number of equal GPUs of this host that holds it."""
    fixed = {name: value for name, value in asked.wishes.settings.items() if "parallel" not in name}
    free = dataclasses.replace(asked, wishes=dataclasses.replace(asked.wishes, settings=fixed))
    equal = [
        devices.seat(device, asked.wishes.own_units, asked.wishes.claims)
        for device in found.nvidia
        if device.name == fit.seats[0].device.name and not why_unusable(device) and not devices.why_unusable(device)
    ]
    for split in parallel.splits(model, len(equal), only_ranks=False):
        if split.ranks > fit.split.ranks:
            chosen, linked = devices.choose(equal, split.ranks, found.nvswitches)
            if work_out(model, chosen, split, linked, free).fits:
                return "gpus: %d (tp_size %d%s)" % (split.ranks, split.tp, ", pp_size %d" % split.pp if split.pp > 1 else "")
    return None
