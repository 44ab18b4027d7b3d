# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creating a model from files or from another model: hashes, room, uploads, the request."""

from __future__ import annotations

import os
import typing as t

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...sizes import human
from ..connection import Upload
from . import faults, sources
from .progress import Patient
from .pull import Tools
from .recipe import Recipe
from .record import Record
from .sources import Source


def hashed(recipe: Recipe, record: Record, tools: Tools) -> t.Dict[str, t.Dict[str, t.Any]]:
    """Identity and sha256 of every file by path. What the record knows and has not changed is not read again."""
    found: t.Dict[str, t.Dict[str, t.Any]] = {}
    missing: t.List[Source] = []
    for one in recipe.sources():
        identity = sources.identity(os.stat(one.path))
        known = record.known(one.path, identity)
        if known:
            found[one.path] = dict(identity, sha256=known)
        else:
            missing.append(one)
    total, done = sum(one.size for one in missing), [0]

    def tick(count: int) -> None:
        done[0] += count
        tools.progress.say("hashing %d files" % len(missing), done[0], total)
        tools.clock.need("hashing the files")

    for one in missing:
        found[one.path] = sources.sha256(one, tick)
    if recipe.modelfile:
        found[recipe.modelfile] = sources.identity(os.stat(recipe.modelfile))
    return found


def create(
    name: Name, recipe: Recipe, request: t.Dict[str, t.Any], files: t.Mapping[str, t.Mapping[str, t.Any]], tools: Tools
) -> None:
    """Upload what the server lacks and have the model made."""
    _remove_damaged(recipe, files, tools)
    missing = _missing(recipe, files, tools)
    _need_room(name, recipe, missing, tools)
    for one in missing:
        _upload(one, str(files[one.path]["sha256"]), tools)
    watch = Patient("creating %s" % name, tools.clock, tools.stall_timeout_s, tools.progress)
    try:
        tools.api.create(request, watch)
    except GpufleetError as error:
        raise faults.of_create(error, name) from None
    tools.progress.say("created %s" % name, now=True)


def _missing(recipe: Recipe, files: t.Mapping[str, t.Mapping[str, t.Any]], tools: Tools) -> t.List[Source]:
    """One file for each content that the server does not have yet."""
    unique = {str(files[one.path]["sha256"]): one for one in recipe.sources()}
    return [one for sha256, one in unique.items() if not tools.api.has_blob(sha256)]


def _remove_damaged(recipe: Recipe, files: t.Mapping[str, t.Mapping[str, t.Any]], tools: Tools) -> None:
    """The server looks at the name of a blob only, so one of another size would be taken for the file."""
    if tools.store is None:
        return
    blobs = {"sha256:" + str(files[one.path]["sha256"]): one.size for one in recipe.sources()}
    for problem in tools.store.problems_of(blobs):
        if problem.kind == "size":
            os.unlink(tools.store.blob_path(problem.digest))
            tools.actions.append("remove a damaged blob: %s" % problem.detail)


def _need_room(name: Name, recipe: Recipe, missing: t.Sequence[Source], tools: Tools) -> None:
    """The uploads, the model that the server writes from them, and what it writes on the way there."""
    if tools.store is None or not recipe.sources():
        return
    copies = 2 if recipe.split or recipe.fields.get("quantize") or _converted(recipe) else 1
    needed = sum(one.size for one in missing) + copies * sum(one.size for one in recipe.files)
    needed += sum(one.size for one in recipe.adapters + recipe.draft)
    free = tools.store.free_bytes()
    if needed > free:
        raise GpufleetError(
            "store=%s is too small to create %s: %d bytes (%s) are needed, for the files and the copies that the "
            "server makes of them, and %d (%s) are free. Free %d bytes; nothing was uploaded."
            % (tools.store.path, name, needed, human(needed), free, human(free), needed - free),
            needed_bytes=needed,
            short_bytes=needed - free,
        )


def _converted(recipe: Recipe) -> bool:
    return any(one.name.endswith(".safetensors") for one in recipe.files)


def _upload(source: Source, sha256: str, tools: Tools) -> None:
    sent = [0]
    what = "uploading %s" % source.path
    left = tools.clock.need(what)
    try:
        with open(source.path, "rb") as content:

            def read(count: int) -> bytes:
                tools.clock.need(what)
                piece = content.read(count)
                sent[0] += len(piece)
                tools.progress.say(what, sent[0], source.size)
                return piece

            tools.api.push_blob(sha256, Upload(read, source.size), left)
    except OSError as error:
        raise GpufleetError("%s cannot be read: %s." % (source.path, error.strerror)) from None
    except GpufleetError as error:
        if "digest mismatch" in str(error.details.get("server_error") or ""):
            raise GpufleetError("%s has changed while it was uploaded: run again. %s" % (source.path, error)) from None
        raise faults.of_upload(error, source.path) from None
    tools.actions.append("upload %s (%s)" % (source.path, human(source.size)))
