# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server has and does, and what lies in its store: what ollama_info returns."""

from __future__ import annotations

import typing as t

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...transfer.ollama.store import Store
from . import due
from .api import Api, Json


def answer(options: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    if options["timeout"] <= 0:
        raise GpufleetError("timeout=%g: give a number of seconds that is more than 0." % options["timeout"])
    store = Store(options["store"]) if options.get("store") else None
    api = Api(options["url"], float(options["timeout"]))
    found: t.Dict[str, t.Any] = {"changed": False, "running": True, "problem": None, "version": None}
    models: t.List[Json] = []
    loaded: t.List[Json] = []
    try:
        found["version"] = api.version()
        models, loaded = api.tags(), api.ps()
    except GpufleetError as error:
        if store is None:  # with a store, a server that is stopped is an answer
            raise
        found.update(running=False, problem=str(error))
    found["models"] = [_model(one) for one in models]
    found["loaded"] = [_running(one) for one in loaded]
    found["digests"] = {one["name"]: one["digest"] for one in found["models"]}
    found["size"] = sum(one["size"] for one in found["models"])
    found["store"] = _stored(store) if store else None
    return found


def _model(one: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {
        "name": _short(one),
        "digest": due.plain(one.get("digest")),
        "size": int(one.get("size") or 0),
        "modified_at": one.get("modified_at"),
        "details": dict(one.get("details") or {}),
        "capabilities": list(one.get("capabilities") or []),
    }


def _running(one: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    keys = ("size", "size_vram", "context_length", "expires_at")
    return {"name": _short(one), "digest": due.plain(one.get("digest")), **{key: one.get(key) for key in keys}}


def _short(one: t.Mapping[str, t.Any]) -> str:
    said = str(one.get("name") or one.get("model") or "")
    try:
        return Name.parse(said).short
    except GpufleetError:  # a name that only Ollama understands
        return said


def _stored(store: Store) -> t.Dict[str, t.Any]:
    """Sizes of models that share blobs add up to more than they take, so blobs are counted once."""
    models = store.models()
    blobs: t.Dict[str, int] = {}
    found = []
    for one in models:
        manifest = store.manifest(one.name)
        blobs.update(manifest.blobs if manifest else {})
        problems = [problem.detail for problem in store.problems(one.name)]
        found.append({"name": one.name.short, "digest": one.digest, "size": one.size, "problems": problems})
    return {
        "path": store.path,
        "models": found,
        "blobs_bytes": sum(blobs.values()),
        "free_bytes": store.free_bytes(),
        "damaged": [{"path": path, "reason": reason} for path, reason in store.damaged()],
    }
