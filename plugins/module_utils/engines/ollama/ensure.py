# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One model as it is wished: what ollama_model does."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import dataclass, field

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...progress import Progress
from ...transfer.ollama.store import Problem, Store
from . import create, due, faults, modelfile, recipe as recipes, registry, sources
from .api import Api, Json
from .progress import Clock
from .pull import REGISTRY_TIMEOUT_S, Tools, damaged, need_pinned, pull, pull_pinned, remove_damaged
from .record import Record
from .wish import Wish

_REQUEST_TIMEOUT_S = 60.0  # of what is answered at once; a server that starts looks for GPUs first
_UNLOAD_POLL_S = 0.2
_UNLOAD_TIMEOUT_S = 300.0  # a model that is asked all the time never goes
_LAST_ANSWERS_S = 10.0  # of a model that is deleted


@dataclass
class _Before:
    """What is known before anything is done."""

    tags: t.List[Json]
    loaded: t.List[Json]
    why: t.List[str]
    model: t.Optional[t.Mapping[str, t.Any]]


@dataclass
class _Job:
    wish: Wish
    api: Api
    record: Record
    tools: Tools
    check_mode: bool
    shown: t.Dict[str, str] = field(default_factory=dict)  # before and after, for --diff

    def do(self, action: str, work: t.Callable[..., t.Any], *arguments: t.Any) -> None:
        """Say it, and do it unless this is only a check."""
        self.tools.actions.append(action)
        if not self.check_mode:
            work(*arguments)


def answer(options: t.Mapping[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    """The module's result for its options."""
    job = _job(options, check_mode)
    before = _look(job)
    changed = False
    stale = job.wish.state == "absent" and job.record.entry(job.wish.name) is not None
    if before.why or stale:
        if check_mode:
            changed = _ensure(job, before)
        else:
            with job.record.locked(job.tools.clock.need("waiting for another run")):
                before = _look(job)  # another run may have done it while this one waited
                changed = _ensure(job, before)
    return _result(job, before, changed)


def _job(options: t.Mapping[str, t.Any], check_mode: bool) -> _Job:
    """Everything that can be wrong with the options is found here, before the server is asked."""
    wish = Wish.parse(options)
    for option in ("timeout", "stall_timeout"):
        if not options[option] > 0:
            raise GpufleetError("%s=%g: give a number of seconds that is more than 0." % (option, options[option]))
    if not os.path.isabs(options["record"]):
        raise GpufleetError("record=%s: give an absolute path." % options["record"])
    store = Store(options["store"]) if options.get("store") else None
    if store and os.path.exists(store.path) and not os.path.isdir(store.path):
        raise GpufleetError("store=%s is not a directory: give the OLLAMA_MODELS of the server." % store.path)
    progress = Progress(options.get("progress_file"))
    progress.check()
    record = Record(options["record"])
    if not check_mode:
        record.check()
    clock = Clock(float(options["timeout"]))
    api = Api(options["url"], min(_REQUEST_TIMEOUT_S, clock.timeout_s))
    tools = Tools(api, store, clock, float(options["stall_timeout"]), progress, warnings=list(wish.warnings))
    return _Job(wish, api, record, tools, check_mode)


def _look(job: _Job) -> _Before:
    wish = job.wish
    tags = job.api.tags()
    loaded = job.api.ps() if wish.state in ("loaded", "unloaded", "absent") else []
    found = sources.look(due.paths_of(wish, job.record.entry(wish.name)))
    why = due.reasons_of(wish, tags, loaded, job.record.data, found)
    if wish.state in ("present", "loaded"):
        why += [one.detail for one in _broken(job)]
    return _Before(tags, loaded, why, due.find(tags, wish.name))


def _broken(job: _Job) -> t.List[Problem]:
    """Blobs that are missing or have another size, as far as a look at the store may tell."""
    return job.tools.store.problems(job.wish.name) if job.tools.store else []


def _ensure(job: _Job, before: _Before) -> bool:
    state = job.wish.state
    if state == "absent":
        return _absent(job, before)
    if state == "unloaded":
        return bool(before.why) and _unloaded(job, before)
    if not before.why:
        return False
    changed = False
    why = [one for one in before.why if one not in _load_reasons(job, before)]
    if why:
        changed = _created(job, before) if job.wish.content else _pulled(job, before)
    if state == "loaded":
        changed = _loaded(job, before) or changed
    return changed


def _load_reasons(job: _Job, before: _Before) -> t.List[str]:
    if job.wish.state != "loaded":
        return []
    return due.not_loaded(job.wish, before.model, due.find(before.loaded, job.wish.name))


def _pulled(job: _Job, before: _Before) -> bool:
    wish, name = job.wish, job.wish.name
    was, broken = _digest(before.model), _broken(job)
    if job.check_mode:
        return _foretold(job, before, broken)
    if wish.digest:
        pull_pinned(name, wish.digest, wish.insecure, job.tools)
    else:
        pull(name, wish.insecure, job.tools)
    model = _need(job, name)
    digest = _digest(model)
    job.record.keep(name, {"digest": digest, "content": {}, "files": {}, "base": None, "modelfile": ""})
    job.shown = {"before": _line(was), "after": _line(digest)}
    if digest != was:
        job.tools.actions.append("pull %s" % name)
    elif broken:
        job.tools.actions.append("pull %s again: %d of its blobs were not whole" % (name, len(broken)))
    return digest != was or bool(broken)


def _foretold(job: _Job, before: _Before, broken: t.Sequence[Problem]) -> bool:
    """What a pull would change, by what the registry has."""
    wish, was = job.wish, _digest(before.model)
    if wish.digest:
        need_pinned(wish.name, wish.digest, wish.insecure)
    digest: t.Optional[str] = wish.digest if wish.digest and len(wish.digest) == 64 else None
    if was and not wish.digest and not broken:
        digest, why = registry.digest(wish.name, wish.insecure, REGISTRY_TIMEOUT_S)
        if digest is None:
            job.tools.warnings.append(
                "Whether %s would change is not known, since this host does not reach its registry: %s."
                % (wish.name, why)
            )
    job.shown = {"before": _line(was), "after": _line(digest) or "digest: known after the pull\n"}
    if was and digest == was and not broken:
        return False
    job.tools.actions += ["remove a damaged blob: %s" % one.detail for one in damaged(wish.name, job.tools.store)]
    job.tools.actions.append("pull %s" % wish.name)
    return True


def _created(job: _Job, before: _Before) -> bool:
    wish, name, tools = job.wish, job.wish.name, job.tools
    recipe = recipes.read(wish, job.api.version())
    tools.warnings += recipe.warnings
    base = due.find(before.tags, recipe.base) if recipe.base else None
    if recipe.base and base:
        _check_base(recipe, base)
    files = create.hashed(recipe, job.record, tools)
    if recipe.base and base is None:
        job.do("pull %s" % recipe.base, pull, recipe.base, wish.insecure, tools)
        if not job.check_mode:
            base = _need(job, recipe.base)
            _check_base(recipe, base)
    request = recipe.request(name, {path: one["sha256"] for path, one in files.items() if "sha256" in one})
    stamp = recipes.fingerprint(request, _digest(base))
    was, entry = _digest(before.model), job.record.entry(name)
    seen = sources.look(due.named_paths(wish.content))
    made = {
        "digest": was,
        "content": wish.content,
        "fingerprint": stamp,
        "files": {**seen, **files},
        "base": {"name": recipe.base.short, "digest": _digest(base)} if recipe.base else None,
        "modelfile": recipe.written,
    }
    same = entry is not None and entry.get("fingerprint") == stamp and due.plain(entry.get("digest")) == was
    if same and not _broken(job):
        if not job.check_mode:
            job.record.keep(name, made)  # the files were touched, and are the same
        return False
    job.shown = _recipes_shown(job, before, recipe, files)
    if job.check_mode:
        tools.actions.append("create %s" % name)
        return True
    if entry is not None:
        job.record.forget(name)  # killed from here on, the next run creates it again
    remove_damaged(name, tools)
    create.create(name, recipe, request, files, tools)
    made["digest"] = _digest(_need(job, name))
    job.record.keep(name, made)
    tools.actions.append("create %s" % name)
    return True


def _check_base(recipe: recipes.Recipe, base: t.Mapping[str, t.Any]) -> None:
    level = str((base.get("details") or {}).get("quantization_level") or "")
    wanted = recipe.fields.get("quantize")
    if wanted and level and level.upper() not in sources.FLOATS and level.lower() != "unknown":
        raise GpufleetError(
            "quantize=%s: %s is quantized already (%s), and Ollama quantizes from %s only. Start from a 16-bit model, "
            "or leave quantize out." % (wanted, recipe.base, level, ", ".join(sources.FLOATS))
        )


def _recipes_shown(
    job: _Job, before: _Before, recipe: recipes.Recipe, files: t.Mapping[str, t.Mapping[str, t.Any]]
) -> t.Dict[str, str]:
    """Modelfiles before and after: as recorded, or as the server shows a model that somebody else has made."""
    entry = job.record.entry(job.wish.name)
    after = recipe.written + _sums(files)
    if before.model is None:
        return {"before": "", "after": after}
    if entry is not None and entry.get("modelfile") and due.plain(entry.get("digest")) == _digest(before.model):
        return {"before": entry["modelfile"] + _sums(entry.get("files") or {}), "after": after}
    return {"before": _shown(job) or _line(_digest(before.model)), "after": after}


def _shown(job: _Job) -> str:
    text = ""
    try:
        text = str(job.api.show(job.wish.name.short).get("modelfile") or "")
        return modelfile.render(modelfile.parse(text, "modelfile"))
    except GpufleetError:  # it is broken, or a newer server knows more commands
        return text


def _sums(files: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    return "".join("# %s  %s\n" % (one["sha256"], path) for path, one in sorted(files.items()) if "sha256" in one)


def _absent(job: _Job, before: _Before) -> bool:
    name = job.wish.name
    if before.model:
        if due.find(before.loaded, name):
            job.do("unload %s" % name, _unload, job, name, _LAST_ANSWERS_S)
        job.shown = {"before": _line(_digest(before.model)), "after": ""}
        job.do("delete %s" % name, job.api.delete, name.short)
    if not job.check_mode:
        job.record.forget(name)
    return before.model is not None


def _unloaded(job: _Job, before: _Before) -> bool:
    name = job.wish.name

    def unload() -> None:
        most = min(_UNLOAD_TIMEOUT_S, job.tools.clock.need("unloading %s" % name))
        if not _unload(job, name, most):
            raise GpufleetError(
                "%s is still in memory %g seconds after it was to be unloaded: it is answering requests, or gets new "
                "ones. Keep its clients away, or restart the server." % (name, most)
            )

    job.do("unload %s" % name, unload)
    return True


def _unload(job: _Job, name: Name, most_s: float) -> bool:
    """Whether it has gone: it does when the requests that it is answering are done."""
    job.api.unload(name.short)
    until = time.monotonic() + most_s
    while due.find(job.api.ps(), name):
        if time.monotonic() > until:
            return False
        time.sleep(_UNLOAD_POLL_S)
    return True


def _loaded(job: _Job, before: _Before) -> bool:
    name = job.wish.name
    if job.check_mode:
        running = due.find(before.loaded, name)
        if not job.tools.actions and not due.not_loaded(job.wish, before.model, running):
            return False
        job.tools.actions.append("load %s" % name)
        return True
    if not due.not_loaded(job.wish, _need(job, name), due.find(job.api.ps(), name)):
        return False
    job.do("load %s" % name, _load, job, name)
    return True


def _load(job: _Job, name: Name) -> None:
    job.tools.progress.say("loading %s" % name, now=True)
    abilities = job.api.show(name.short).get("capabilities") or []
    embedding = "embedding" in abilities and "completion" not in abilities
    left = job.tools.clock.need("loading %s" % name)
    try:
        job.api.load(name.short, job.wish.keep_alive, embedding, left)
    except GpufleetError as error:
        if error.details.get("verdict") == "timeout":
            raise job.tools.clock.over("loading %s" % name) from None
        raise faults.of_load(error, name) from None
    if due.find(job.api.ps(), name) is None:
        raise GpufleetError(
            "%s was loaded and is gone again: another model took its place, or the server's OLLAMA_KEEP_ALIVE is 0 "
            "(set keep_alive)." % name
        )
    job.tools.progress.say("loaded %s" % name, now=True)


def _need(job: _Job, name: Name) -> Json:
    model = due.find(job.api.tags(), name)
    if model is None:
        raise GpufleetError("%s said success, and %s is not among its models." % (job.api.url, name))
    return t.cast(Json, model)


def _digest(model: t.Optional[t.Mapping[str, t.Any]]) -> t.Optional[str]:
    return due.plain(model.get("digest")) if model else None


def _line(digest: t.Optional[str]) -> str:
    return "digest: %s\n" % digest if digest else ""


def _result(job: _Job, before: _Before, changed: bool) -> t.Dict[str, t.Any]:
    wish = job.wish
    was, model = _digest(before.model), before.model
    running = due.find(before.loaded, wish.name)
    if changed and not job.check_mode:
        model = due.find(job.api.tags(), wish.name)
        running = due.find(job.api.ps(), wish.name) if wish.state in ("loaded", "unloaded") else None
    elif changed and wish.state == "absent":
        model = None
    result: t.Dict[str, t.Any] = {
        "changed": changed,
        "name": wish.name.short,
        "digest": _digest(model),
        "previous_digest": was,
        "size": model.get("size") if model else None,
        "actions": job.tools.actions,
        "reasons": before.why,
        "warnings": job.tools.warnings,
        "model": dict(model.get("details") or {}) if model else None,
        "loaded": running_facts(running) if running and wish.state == "loaded" else None,
    }
    if job.shown:
        head = wish.name.short
        result["diff"] = {"before_header": head, "after_header": head, **job.shown}
    return result


def running_facts(running: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What of /api/ps says where the model is and how much of it."""
    keys = ("size", "size_vram", "context_length", "expires_at")
    return {key: running.get(key) for key in keys}
