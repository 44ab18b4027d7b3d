# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user asked of Ollama, checked: server variables by any of their names, and the models to serve."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from ...errors import GpufleetError
from . import values
from ..devices import Claim, read_claims
from .model import GgufModel, read_model
from .variables import GONE, INSTEAD, MAPPED, PARAMETERS, QUANTIZED_KV, VARIABLES
from ..units import parse_wish

NEWEST = "0.33.0"
OLDEST_FAMILY, READ_FAMILY = (0, 30), (0, 33)

_VERSION = re.compile(r"^v?(\d+)\.(\d+)\.\d+(?:-rc\d+)?$")


@dataclasses.dataclass(frozen=True)
class ModelWish:
    name: str
    model: GgufModel
    context: t.Optional[int]
    parallel: t.Optional[int]
    keep_alive: t.Optional[float]
    parameters: t.Dict[str, t.Any]

    @property
    def least_context(self) -> int:
        """Vision models get at least 2048 tokens, every model 4 (server/sched.go)."""
        return 2048 if self.model.projector_bytes else 4


@dataclasses.dataclass(frozen=True)
class Wishes:
    version: str
    server: t.Dict[str, t.Any]  # fixed variables in their own types
    context: t.Optional[int]
    parallel: t.Optional[int]
    keep_alive: t.Optional[float]
    kv_type: t.Optional[str]
    flash: t.Optional[bool]
    gpus: t.Union[None, int, t.Tuple[str, ...]]  # 0: none, on purpose
    models: t.Tuple[ModelWish, ...]
    max_vram: t.Optional[int]
    overhead: t.Optional[int]
    require_gpu: bool
    own_units: t.FrozenSet[str]
    claims: t.Tuple[Claim, ...]
    warnings: t.Tuple[str, ...]

    @property
    def every_row(self) -> bool:
        """Ollama 0.30.9 is the first that surely bundles a llama.cpp with #23861 (b9626)."""
        return tuple(int(part) for part in self.version.partition("-")[0].split(".")) < (0, 30, 9)

    @property
    def layers(self) -> t.Optional[int]:
        return self.server.get("LLAMA_ARG_N_GPU_LAYERS")


def read_wishes(options: t.Mapping[str, t.Any]) -> Wishes:
    """The module's options; GpufleetError for one that makes no sense."""
    version, warnings = _version(options.get("engine_version"))
    fixed, old, notes = read_settings(options.get("settings") or {})
    warnings += notes
    context = _merged("context", parse_wish("context", options.get("context"), 4), fixed, "OLLAMA_CONTEXT_LENGTH")
    parallel = _merged("parallel", parse_wish("parallel", options.get("parallel")), fixed, "OLLAMA_NUM_PARALLEL")
    keep_alive = _merged("keep_alive", _auto(options, "keep_alive", "duration"), fixed, "OLLAMA_KEEP_ALIVE")
    kv_type = _merged("kv_cache_type", _auto(options, "kv_cache_type", "kv_type"), fixed, "OLLAMA_KV_CACHE_TYPE")
    flash = fixed.get("OLLAMA_FLASH_ATTENTION")
    if kv_type in QUANTIZED_KV and flash is False:
        raise GpufleetError(
            "OLLAMA_FLASH_ATTENTION=0 and OLLAMA_KV_CACHE_TYPE=%s: llama.cpp keeps a quantized KV cache only with "
            "flash attention. Leave one of them out." % kv_type
        )
    models = _models(options.get("models"))
    wished = [model.parallel for model in models if model.parallel is not None and not model.model.single_request]
    if wished and parallel is None:
        parallel = max(wished)
        if len(set(wished)) > 1:
            warnings.append(
                "OLLAMA_NUM_PARALLEL is one for all models of a server: %d, the most that a model asks for." % parallel
            )
    return Wishes(
        version=version,
        server=fixed,
        context=context,
        parallel=max(1, parallel) if parallel is not None else None,
        keep_alive=keep_alive,
        kv_type=kv_type,
        flash=flash,
        gpus=_gpus(options.get("gpus")),
        models=models,
        max_vram=old.get("OLLAMA_MAX_VRAM"),
        overhead=old.get("OLLAMA_GPU_OVERHEAD"),
        require_gpu=bool(options.get("require_gpu")),
        own_units=frozenset(options.get("own_units") or ()),
        claims=tuple(read_claims(options.get("reserved") or ())),
        warnings=tuple(warnings),
    )


def _version(value: t.Any) -> t.Tuple[str, t.List[str]]:
    text = str(value or "").strip() or NEWEST
    match = _VERSION.match(text)
    family = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    if family < OLDEST_FAMILY:
        raise GpufleetError(
            "engine_version=%s is not supported: give 0.30.0 or newer, for example %s. Older ones have memory rules of "
            "their own." % (text, NEWEST)
        )
    if family > READ_FAMILY:
        note = "Ollama %s is newer than the %d.%d that this planner knows: check the plan against `ollama ps`."
        return text.lstrip("v"), [note % ((text.lstrip("v"),) + READ_FAMILY)]
    return text.lstrip("v"), []


def _auto(options: t.Mapping[str, t.Any], name: str, kind: str) -> t.Any:
    value = options.get(name)
    if value is None or str(value).strip().lower() == "auto":
        return None
    return values.read(name, kind, value)


def _merged(option: str, wish: t.Any, fixed: t.Dict[str, t.Any], variable: str) -> t.Any:
    """One value from an option and the variable that means the same, which leaves ``fixed``: the plan sets it."""
    other = fixed.pop(variable, None)
    if variable == "OLLAMA_CONTEXT_LENGTH" and other == 0:
        other = None  # Ollama's own way to say: by the GPUs' memory
    if wish is not None and other is not None and wish != other:
        raise GpufleetError("%s=%s and settings.%s=%s disagree: set one of them." % (option, wish, variable, other))
    return other if wish is None else wish


def read_settings(
    settings: t.Mapping[str, t.Any],
) -> t.Tuple[t.Dict[str, t.Any], t.Dict[str, int], t.List[str]]:
    """Variables in their own types, sizes asked for by retired variables, and what is to be said about them."""
    fixed: t.Dict[str, t.Any] = {}
    old: t.Dict[str, int] = {}
    notes: t.List[str] = []
    for key in sorted(settings, key=str):
        name, value = _name(str(key)), settings[key]
        option = "settings.%s" % key
        if name in GONE:
            notes.append("%s %s: left out." % (name, GONE[name]))
            continue
        if name in ("OLLAMA_MAX_VRAM", "OLLAMA_GPU_OVERHEAD"):
            old[name] = values.size(option, value)
            continue
        target = _SAME.get(name, name)
        if name in MAPPED:
            notes.append("%s %s: %s is set instead." % (name, MAPPED[name], target))
        if target in fixed:
            raise GpufleetError("settings set %s twice, once as %s: once is enough." % (target, key))
        fixed[target] = values.read(option, VARIABLES[target], value)
    return fixed, old, notes


# Old names whose value stays what it was.
_SAME = {
    "OLLAMA_GPU_LAYERS": "LLAMA_ARG_N_GPU_LAYERS",
    "OLLAMA_NUM_GPU": "LLAMA_ARG_N_GPU_LAYERS",
    "OLLAMA_NUM_CTX": "OLLAMA_CONTEXT_LENGTH",
    "OLLAMA_NUM_THREADS": "LLAMA_ARG_THREADS",
    "OLLAMA_INTEL_GPU": "OLLAMA_VULKAN",
}


def _name(key: str) -> str:
    """The variable that ``key`` means: OLLAMA_NUM_PARALLEL, num_parallel or num-parallel."""
    name = key.strip().upper().replace("-", "_")
    known = set(VARIABLES) | set(MAPPED) | set(GONE)
    for candidate in (name, "OLLAMA_" + name, "LLAMA_ARG_" + name):
        if candidate in known:
            return candidate
        if candidate in INSTEAD:
            raise GpufleetError("settings.%s: the server has no %s; %s." % (key, candidate, INSTEAD[candidate]))
    close = difflib.get_close_matches(name, known, 1, 0.7) or difflib.get_close_matches("OLLAMA_" + name, known, 1, 0.7)
    hint = " Did you mean %s?" % close[0] if close else ""
    raise GpufleetError("settings.%s is no variable of Ollama, which would ignore it without a word.%s" % (key, hint))


def _models(entries: t.Any) -> t.Tuple[ModelWish, ...]:
    if not isinstance(entries, (list, tuple)) or not entries:
        raise GpufleetError("models is empty: give at least one entry with name and model.")
    found: t.List[ModelWish] = []
    for entry in entries:
        name = str(entry.get("name") or "").strip()
        if not name:
            raise GpufleetError("models has an entry without name: give the name that clients ask for (qwen3:8b).")
        if any(other.name == name for other in found):
            raise GpufleetError("models names %s twice: once is enough." % name)
        where = "models[%s]" % name
        parameters = {}
        for key, value in sorted((entry.get("parameters") or {}).items()):
            if key not in PARAMETERS:
                close = difflib.get_close_matches(str(key), PARAMETERS, 1, 0.6)
                hint = " Did you mean %s?" % close[0] if close else " It knows: %s." % ", ".join(sorted(PARAMETERS))
                raise GpufleetError("%s.parameters.%s is no parameter of Ollama.%s" % (where, key, hint))
            parameters[key] = values.read("%s.parameters.%s" % (where, key), PARAMETERS[key], value)
        context = parse_wish(where + ".context", entry.get("context"), 4)
        given = parameters.pop("num_ctx", None)
        if context is not None and given is not None and context != given:
            both = "%s.context=%d and its parameter num_ctx=%d disagree: set one."
            raise GpufleetError(both % (where, context, given))
        found.append(
            ModelWish(
                name=name,
                model=read_model(name, entry.get("model")),
                context=given if context is None else context,
                parallel=parse_wish(where + ".parallel", entry.get("parallel")),
                keep_alive=_auto({where + ".keep_alive": entry.get("keep_alive")}, where + ".keep_alive", "duration"),
                parameters=parameters,
            )
        )
    return tuple(found)


def _gpus(value: t.Any) -> t.Union[None, int, t.Tuple[str, ...]]:
    word = str(value).strip().lower()
    if value is None or word == "auto":
        return None
    if word in ("none", "0"):
        return 0
    if isinstance(value, (list, tuple)):
        if not value:
            raise GpufleetError("gpus=[] names no GPU: give indices or UUIDs, auto, or none for the CPU.")
        return tuple(str(item).strip() for item in value)
    if word.startswith(("gpu-", "mig-")):
        return tuple(part.strip() for part in str(value).split(",") if part.strip())
    raise GpufleetError("gpus=%s: give auto, none, or a list of indices or UUIDs." % value)
