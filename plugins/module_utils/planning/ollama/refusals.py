# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why an Ollama plan is refused, what runs partly on the CPU, and what would avoid it, each remedy worked out."""

from __future__ import annotations

import typing as t

from .. import devices
from . import schedule
from ..facts import Device, Host
from .solve import FIT_TARGET_MIB, LATER_STEPS, Loaded, Solution, Solver
from .wishes import ModelWish, Wishes
from ..units import GIB, MIB, count, gib
from ..wishes import Refusal

CODES: t.Dict[str, str] = {
    "no_driver": "There is a GPU, but no working driver for it.",
    "driver_too_old": "The driver is older than Ollama's libraries need: it would use the CPU without a word.",
    "device_problem": "The GPU is there but cannot be used.",
    "unsupported_vendor": "The GPU is of a vendor that this planner does not know for Ollama.",
    "capability_too_old": "The GPU generation has no kernels in Ollama's libraries.",
    "mig_card": "A card that is cut into MIG slices is asked for as a whole.",
    "gpus_not_found": "The option gpus names devices that the host does not have.",
    "model_unsupported": "The model is not in GGUF.",
    "context_too_long": "The context is longer than the model was trained for: Ollama would cut it without a word.",
    "too_many_layers": "The number of layers is fixed, and more than the GPU holds.",
    "partly_on_cpu": "Part of a model would run on the CPU, and require_gpu forbids that.",
    "too_little_memory": "What does not fit the GPUs does not fit the host's memory either.",
}

_CPU = "run on the CPU knowingly: gpus: none"


def devices_refusal(host: Host, wishes: Wishes) -> t.Tuple[t.List[Device], t.Optional[Refusal]]:
    """The devices that Ollama may use, or why there are none although the host has some."""
    if wishes.gpus == 0 or not host.devices:
        if isinstance(wishes.gpus, tuple):
            return [], _not_found(host, wishes.gpus)
        return [], None
    asked: t.Sequence[Device] = host.devices
    if isinstance(wishes.gpus, tuple):
        asked, missing = devices.find(host, wishes.gpus)
        if missing:
            return [], _not_found(host, missing)
    problems = [(device, schedule.why_unusable(device, host)) for device in asked]
    usable = [device for device, problem in problems if problem is None]
    wrong = [problem for _device, problem in problems if problem is not None]
    if wrong and (not usable or isinstance(wishes.gpus, tuple)):
        remedies = {
            "no_driver": ["install the driver: R%d or newer for NVIDIA" % schedule.LEAST_DRIVER],
            "driver_too_old": [
                "update the NVIDIA driver to R%d or newer (R%d for GPUs before Volta)"
                % (schedule.LEAST_DRIVER, schedule.LEAST_DRIVER_OLD)
            ],
            "mig_card": ["name a slice by its UUID in gpus", "turn MIG off: nvidia-smi -mig 0"],
        }.get(wrong[0][0], ["cure what the message says, then run gpu_info again"])
        return [], Refusal(wrong[0][0], "; ".join(text for _code, text in wrong) + ".", remedies=remedies + [_CPU])
    return usable, None


def _not_found(host: Host, missing: t.Sequence[str]) -> Refusal:
    known = ", ".join("%s (%s)" % (device.id, device.label) for device in host.devices)
    return Refusal(
        "gpus_not_found",
        "gpus names %s, which this host does not have. It has: %s." % (", ".join(missing), known or "no GPU"),
        remedies=["name GPUs that are there, or set gpus: auto", _CPU],
    )


def model_refusal(wish: ModelWish) -> t.Optional[Refusal]:
    """What no amount of memory cures."""
    form = wish.model.identity["format"]
    if form != "gguf":
        return Refusal(
            "model_unsupported",
            "%s is %s, and this plans GGUF models." % (wish.name, "a config.json" if form == "config" else form),
            remedies=[
                "model_info of the GGUF file, or of the registry's manifest",
                "model_info with quantize, for example Q4_K_M: the sizes that the GGUF would have",
            ],
        )
    trained = wish.model.trained_context
    if wish.context is not None and trained and wish.context > trained:
        return Refusal(
            "context_too_long",
            "%s: context %d is longer than the model's %d tokens; Ollama would cut it to that without a word."
            % (wish.name, wish.context, trained),
            remedies=["context: %d" % trained],
        )
    return None


def memory_refusal(solution: Solution, solver: Solver) -> t.Optional[Refusal]:
    """Too little memory on the host, a fixed number of layers that does not load, or a GPU that is required."""
    for item in solution.loaded:
        if item.low.short:
            return Refusal(
                "too_many_layers",
                "%s: %d of %d layers are fixed to the GPUs, which lack %s for them."
                % (item.wish.name, item.low.on_gpu, item.low.layers_total, gib(item.low.short)),
                item.low.short,
                ["leave num_gpu out: llama-server fits the layers itself"],
            )
    need = solver.host_need(solution)
    if need > solver.room:
        return Refusal(
            "too_little_memory",
            "%s of the host's memory are needed, and it has %s, of which %s stay with the system: %s short."
            % (
                gib(need),
                gib(solver.host.memory_total_bytes),
                gib(solver.host.memory_total_bytes - solver.room),
                gib(need - solver.room),
            ),
            need - solver.room,
            _of_all(solution, solver) + ["a smaller model or a smaller quantization"],
        )
    if solver.wishes.require_gpu and solver.wishes.gpus != 0:
        for item in solution.loaded:
            if not item.low.full:
                return Refusal(
                    "partly_on_cpu", partly(item, solver), item.low.spilled, remedies(item, solution, solver)
                )
    return None


def _of_all(solution: Solution, solver: Solver) -> t.List[str]:
    if len(solution.loaded) > 1 and solution.together > 1:
        return ["fewer models at once: OLLAMA_MAX_LOADED_MODELS: 1"]
    return []


def fixed_layers(item: Loaded, solver: Solver) -> t.Optional[int]:
    """The number of layers that the user set, for the model or for the server."""
    fixed = item.wish.parameters.get("num_gpu", solver.wishes.layers)
    return None if fixed is None or fixed < 0 else int(fixed)


def partly(item: Loaded, solver: Solver) -> str:
    """How much of a model runs on the CPU, and why."""
    name, low = item.wish.name, item.low
    if not item.seats:
        return "%s runs on the CPU." % name
    where = ", ".join(solver.cards[seat].label for seat in item.seats)
    if low.on_gpu == 0:
        head = "%s will run on the CPU: not one of its %d layers fits %s" % (name, low.layers_total, where)
    elif low.on_gpu < low.layers_total:
        head = "%s will run partly on the CPU: %d of %d layers on %s" % (name, low.on_gpu, low.layers_total, where)
        if low.experts_on_cpu:
            head += ", and without their experts"
    else:
        head = "%s will run partly on the CPU: all %d layers on %s, but the experts of %s stay on the CPU" % (
            name, low.layers_total, where, count(low.experts_on_cpu, "layer")
        )  # fmt: skip
    load = item.load
    if fixed_layers(item, solver) is not None:
        return head + ", as num_gpu says."
    return "%s. %s do not fit beside %s that stay free on each GPU: %s tokens x %s at once, %s KV cache." % (
        head, gib(low.spilled), gib(item.margin), format(load.context, ","),
        count(load.parallel, "request"), load.kv_type,
    )  # fmt: skip


def remedies(item: Loaded, solution: Solution, solver: Solver) -> t.List[str]:
    """What would bring the whole model onto the GPUs, cheapest first. Only what was worked out to do so is named."""
    found: t.List[str] = []
    if fixed_layers(item, solver) is not None:
        return ["leave num_gpu out: llama-server fits the layers itself"]
    position = [other.wish.name for other in solution.loaded].index(item.wish.name)
    contexts = [other.load.context for other in solution.loaded]

    def fits(context: int, parallel: int, kv_type: str) -> bool:
        wanted = list(contexts)
        wanted[position] = context
        tried = solver.evaluate(wanted, parallel, kv_type, solution.spread, solution.together).loaded[position]
        return tried.promised

    parallel, kv_type, context = solution.parallel, solution.kv_type, item.load.context
    for fewer in range(item.load.parallel - 1, 0, -1):
        if fits(context, fewer, kv_type):
            found.append("fewer requests at once: parallel: %d" % fewer)
            break
    types = [name for name in ("q8_0", "q4_0") if kv_type not in ("q8_0", "q4_0") or name == "q4_0" != kv_type]
    for name in types if solver.wishes.flash is not False else ():
        if fits(context, parallel, name):
            found.append("a smaller KV cache: kv_cache_type: %s" % name)
            break
    steps = [step for step in (2048, 4096, 8192, 16384, 32768) + LATER_STEPS if step < context]
    for step in reversed(steps):
        if fits(step, parallel, kv_type):
            found.append("a shorter context: %s" % format(step, "d"))
            break
    both = [(step, name) for step in reversed(steps) for name in types]
    if not found:
        for step, name in both:
            if fits(step, 1, name):
                found.append("all together: context %d, parallel 1, kv_cache_type %s" % (step, name))
                break
    if not item.beside or position and position < solution.together:
        found.append("one model at a time: OLLAMA_MAX_LOADED_MODELS: 1")
    room = item.wish.model.file_bytes - item.low.spilled
    if room > item.wish.model.file_bytes // 4:
        found.append("a smaller quantization: at most %s instead of %s" % (gib(room), gib(item.wish.model.file_bytes)))
    found.append("%s more GPU memory" % gib(item.low.spilled + FIT_TARGET_MIB * MIB // 4))
    return found


def pressure(solution: Solution, solver: Solver) -> t.Optional[str]:
    """The host's memory may be short later: what llama-server keeps of past prompts is not part of its load."""
    if "LLAMA_ARG_CACHE_RAM" in solver.wishes.server:
        return None
    cached = 8 * GIB * solution.together
    if solver.host_need(solution) + cached <= solver.room:
        return None
    return (
        "Each loaded model may keep up to 8 GiB of past prompts in the host's memory, more than this host has to "
        "spare: settings.LLAMA_ARG_CACHE_RAM (MiB) limits it."
    )
