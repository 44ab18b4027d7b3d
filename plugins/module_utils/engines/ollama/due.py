# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether anything is to be done about a model, from what was looked up already. Does no I/O.

``wish`` are options of ollama_model, ``tags`` and ``loaded`` the lists that /api/tags and /api/ps return, ``record``
the content of models.json, ``sources`` what ``sources.look`` says of the paths that ``files_of`` names.

"Nothing" is certain. A reason may turn out to be none: a file that was touched may still hold the same bytes, which
the module finds out by reading it.
"""

from __future__ import annotations

import functools
import os
import re
import typing as t
from datetime import datetime, timezone

from ...errors import GpufleetError
from ...models.gguf import split_names
from ...models.ollama_names import Name
from .wish import Wish

_FRACTION = re.compile(r"\.\d+")
_FOREVER_S = 365 * 86400  # Ollama writes "for ever" as a time some centuries from now
SAME = ("size", "mtime_ns", "inode")


def reasons(
    wish: t.Mapping[str, t.Any],
    tags: t.Sequence[t.Mapping[str, t.Any]],
    loaded: t.Sequence[t.Mapping[str, t.Any]],
    record: t.Optional[t.Mapping[str, t.Any]],
    sources: t.Mapping[str, t.Mapping[str, t.Any]],
) -> t.List[str]:
    """Why something is to be done; nothing when all is as wished. GpufleetError for a wish that cannot be."""
    return reasons_of(Wish.parse(wish), tags, loaded, record, sources)


def reasons_of(
    wish: Wish,
    tags: t.Sequence[t.Mapping[str, t.Any]],
    loaded: t.Sequence[t.Mapping[str, t.Any]],
    record: t.Optional[t.Mapping[str, t.Any]],
    sources: t.Mapping[str, t.Mapping[str, t.Any]],
) -> t.List[str]:
    model = find(tags, wish.name)
    if wish.state == "absent":
        return ["it is there"] if model else []
    if wish.state == "unloaded":
        return ["it is loaded"] if find(loaded, wish.name) else []
    why = ["state=latest asks its registry"] if wish.state == "latest" else []
    why += _not_as_wished(wish, model, entry_of(record, wish.name), tags, sources)
    if wish.state == "loaded":
        why += not_loaded(wish, model, find(loaded, wish.name))
    return why


def files_of(wish: t.Mapping[str, t.Any], record: t.Optional[t.Mapping[str, t.Any]] = None) -> t.List[str]:
    """Paths whose state decides: those that the wish names (all of a split set), and those it was made from before.

    A directory is named as itself: ``sources.look`` names the files in it.
    """
    return paths_of(Wish.parse(wish), entry_of(record, Name.parse(wish.get("name"))))


def paths_of(wish: Wish, entry: t.Optional[t.Mapping[str, t.Any]]) -> t.List[str]:
    if wish.state not in ("present", "loaded"):
        return []
    named = named_paths(wish.content)
    # What a Modelfile names is known from when it was read last; it is read again only when it has changed.
    made = (
        (entry or {}).get("files") or {} if "modelfile" in wish.content or "modelfile_content" in wish.content else {}
    )
    return sorted(set(named) | set(made))


def named_paths(content: t.Mapping[str, t.Any]) -> t.List[str]:
    found = [content[key] for key in ("modelfile", "safetensors") if key in content]
    for path in list(content.get("gguf") or ()) + list(content.get("adapters") or ()):
        folder, name = os.path.split(path)
        found += [os.path.join(folder, one) for one in split_names(name)]
    return found


def find(models: t.Sequence[t.Mapping[str, t.Any]], name: Name) -> t.Optional[t.Mapping[str, t.Any]]:
    """The entry of /api/tags or /api/ps that Ollama means by the name."""
    return next((model for model in models if _key(model.get("name") or model.get("model")) == name.key), None)


@functools.lru_cache(maxsize=4096)  # of hundreds of models each is looked for among all
def _key(text: t.Optional[str]) -> t.Optional[str]:
    try:
        return Name.parse(text).key
    except GpufleetError:
        return None  # a name that only Ollama understands is not ours


def entry_of(record: t.Optional[t.Mapping[str, t.Any]], name: Name) -> t.Optional[t.Mapping[str, t.Any]]:
    return ((record or {}).get("models") or {}).get(name.key)


def plain(digest: t.Any) -> str:
    """Hex digits of a manifest's digest."""
    return str(digest or "").replace("sha256:", "")


def not_loaded(
    wish: Wish, model: t.Optional[t.Mapping[str, t.Any]], running: t.Optional[t.Mapping[str, t.Any]]
) -> t.List[str]:
    """Why it has to be loaded, now or again."""
    if running is None:
        return ["it is not loaded"]
    if model and running.get("digest") and plain(running["digest"]) != plain(model.get("digest")):
        return ["what is loaded is an older one of that name"]
    if wish.keep_alive is not None and (wish.keep_alive < 0) != _stays(running):
        return ["it is loaded %s" % ("for ever" if _stays(running) else "and not for ever")]
    return []


def _stays(running: t.Mapping[str, t.Any]) -> bool:
    text = _FRACTION.sub("", str(running.get("expires_at") or "")).replace("Z", "+00:00")
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        return False
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return (until - datetime.now(timezone.utc)).total_seconds() > _FOREVER_S


def _not_as_wished(
    wish: Wish,
    model: t.Optional[t.Mapping[str, t.Any]],
    entry: t.Optional[t.Mapping[str, t.Any]],
    tags: t.Sequence[t.Mapping[str, t.Any]],
    sources: t.Mapping[str, t.Mapping[str, t.Any]],
) -> t.List[str]:
    if model is None:
        return ["it is not there"]
    digest = plain(model.get("digest"))
    if wish.digest:
        matches = digest.startswith(wish.digest)
        return [] if matches else ["its digest is %s, not %s" % (digest[:12], wish.digest[:12])]
    if entry is None:
        return ["nothing is recorded of what it was made from"] if wish.content else []
    why = []
    if plain(entry.get("digest")) != digest:
        why.append(
            "its digest is %s, and %s was recorded: it was changed by somebody else"
            % (digest[:12], plain(entry.get("digest"))[:12])
        )
    why += _differences(entry.get("content") or {}, wish.content)
    why += _changed_files(wish, entry, sources)
    why += _changed_base(entry, tags)
    return why


def _differences(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> t.List[str]:
    why = []
    for key in sorted(set(before) | set(after)):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if key == "parameters":
            old, new = old or {}, new or {}
            for name in sorted(set(old) | set(new)):
                if old.get(name) != new.get(name):
                    why.append("parameter %s is %s, not %s" % (name, _said(old, name), _said(new, name)))
        elif key in ("from", "gguf", "safetensors", "quantize", "modelfile", "adapters"):
            why.append("%s is %s, not %s" % (key, _said(before, key), _said(after, key)))
        else:
            why.append("%s differs" % key)
    return why


def _said(values: t.Mapping[str, t.Any], key: str) -> str:
    value = values.get(key)
    if value is None:
        return "unset"
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _changed_files(
    wish: Wish, entry: t.Mapping[str, t.Any], sources: t.Mapping[str, t.Mapping[str, t.Any]]
) -> t.List[str]:
    """A source that is gone is no reason: the model made of it is there, and the file may have been in its way."""
    known = entry.get("files") or {}
    why = [
        "%s has changed" % path
        for path, one in sorted(known.items())
        if path in sources and any(sources[path].get(key) != one.get(key) for key in SAME)
    ]
    if entry.get("content") == wish.content:  # otherwise other paths are no news
        named = named_paths(wish.content)
        why += ["%s is new" % path for path in sorted(sources) if path not in known and _belongs(path, named)]
    return why


def _belongs(path: str, named: t.Sequence[str]) -> bool:
    """Whether a wish names the path or a directory above it; ``sources`` may be those of many models."""
    return any(path == one or path.startswith(one.rstrip("/") + "/") for one in named)


def _changed_base(entry: t.Mapping[str, t.Any], tags: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    base = entry.get("base")
    if not base:
        return []
    model = find(tags, Name.parse(base["name"]))
    if model is None or plain(model.get("digest")) == plain(base["digest"]):
        return []
    return ["%s, which it was made from, is now %s" % (base["name"], plain(model["digest"])[:12])]
