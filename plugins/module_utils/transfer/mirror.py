# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The models of a store as a static hub for nginx.

::

    <path>/versions/<digest>/api/models/...            the API's answers
                            /files/<org>/<name>/<commit>   link to the revision in the store
          /site.conf                                   nginx's maps, and which version is the one
          /tokens.conf                                 who may have restricted models (0600)
          /torrents/<org>/<name>/<commit>.torrent      for transport=swarm
          /published.json                              what is served

A version is written whole before ``site.conf`` names it, and nginx reads that when it is told to: what it answers is of one
version, before and after. The version before stays for the answers that are under way.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from . import store, torrent
from .files import ModelFile, digest_of, make_directories
from .hub_pages import Model, Revision, maps, pages, tokens_map

Dict = t.Dict[str, t.Any]

SCHEMA = "gpufleet.model_mirror/1"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


@dataclass(frozen=True)
class Wish:
    store: str
    path: str
    models: t.Sequence[Dict]  # source, hub, revision, name
    token_file: t.Optional[str] = None
    restricted: t.Sequence[str] = ()
    torrents: bool = False
    loaded: t.Optional[str] = None  # a file as old as what nginx has read
    settings: t.Sequence[str] = ()  # other files that nginx reads
    check_mode: bool = False


def publish(wish: Wish) -> Dict:
    """What the module returns."""
    found, lacking = _look(wish)
    if lacking and not wish.check_mode:
        raise GpufleetError(
            "%s has not %s: bring it there with model_download or the role model_store before it is published"
            % (wish.store, ", ".join(sorted(lacking)))
        )
    before = _published(wish.path)
    tokens = _tokens(wish)
    models = [one for one, _rows in found.values()]
    version = _version(wish, models)
    rows = [row for _one, more in found.values() for row in more]
    after: Dict = {"schema": SCHEMA, "models": sorted(rows, key=lambda row: (row["name"], row["revision"]))}
    torrents = {path: one for one in models for path, one in _torrents(wish, one).items()} if wish.torrents else {}
    due = [path for path, one in torrents.items() if not _torrent_is_there(path, one)]
    changed = bool(lacking) or before != after or not _is_current(wish, version, models, tokens) or bool(due)
    strange = _other_torrents(wish, torrents)
    changed = changed or bool(strange)
    if changed and not wish.check_mode:
        _write(wish, version, models, tokens, {path: torrents[path] for path in due}, strange)
        if before != after:
            store.write_json(os.path.join(wish.path, "published.json"), after)
    return {
        "changed": changed,
        "models": after["models"],
        "reload_due": changed or _is_stale(wish),
        "diff": {"before": _shown(before), "after": _shown(after) + "".join("%s: to be fetched\n" % one for one in sorted(lacking))},
    }


def _look(wish: Wish) -> t.Tuple[t.Dict[str, t.Tuple[Model, t.List[Dict]]], t.List[str]]:
    """Every model that is asked for, with all that the store has of it; and what it has not."""
    found: t.Dict[str, t.Tuple[Model, t.List[Dict]]] = {}
    kinds: t.Dict[str, str] = {}
    lacking = []
    for one in wish.models:
        kind, name = _place(one)
        if kinds.setdefault(name, kind) != kind:
            raise GpufleetError("models: %s is asked for from two places: %s and %s. Give one of them another name" % (name, kinds[name], kind))
        home = store.Home(wish.store, kind, name)
        revision = _model(wish, home, name) if name not in found else found[name][0]
        ref = one.get("revision") or "main"
        known = revision.commits() if revision else {}
        if revision is None or ref[:40] not in known:
            lacking.append("%s@%s" % (name, ref))
            continue
        served = known[ref[:40]]
        row = {
            "source": one.get("source") or name,
            "name": name,
            "revision": ref,
            "commit": served.commit,
            "listing_sha256": digest_of(served.files),
            "files": len(served.files),
            "bytes": sum(file.size for file in served.files),
        }
        rows = found[name][1] if name in found else []
        found[name] = (revision, rows + [row])
    return found, lacking


def _place(one: Dict) -> t.Tuple[str, str]:
    """Where model_download puts it."""
    source, name = one.get("source"), one.get("name")
    if one.get("hub") == "ollama":
        raise GpufleetError("models: %s is one of Ollama's registry, which a hub cannot serve. Leave it out" % source)
    if not source:
        kind = "url"
    elif os.path.isabs(source):
        kind = "local"
        name = name or "/".join(os.path.normpath(source).split("/")[-2:])
    else:
        kind, name = one.get("hub") or "huggingface", source
    store.check_name(name or "", "name" if kind in ("url", "local") else "source")
    return kind, t.cast(str, name)


def _model(wish: Wish, home: store.Home, name: str) -> t.Optional[Model]:
    revisions, refs, newest = [], {}, ("", "")
    for entry in sorted(os.listdir(home.path)) if os.path.isdir(home.path) else ():
        path = os.path.join(home.path, entry)
        if entry.startswith("."):
            continue
        if os.path.islink(path):
            if os.path.isdir(path):
                refs[entry.replace("~", "/")] = os.readlink(path)[:40]
        elif store.is_commit(entry):
            record = home.record(entry)
            if record:
                # A directory's revision is a sha256, and a hub's client takes nothing for a commit that is longer than git's.
                revisions.append(Revision(entry[:40], path, tuple(_verified(path, record))))
                newest = max(newest, (record["verified_at"], entry[:40]))
    known = {one.commit for one in revisions}
    if not revisions:
        return None
    # What clients ask for when they say nothing.
    refs.setdefault("main", refs.get("master", newest[1]))
    restricted = bool(wish.token_file) and any(fnmatch.fnmatchcase(name, pattern) for pattern in wish.restricted)
    return Model(name, tuple(revisions), {ref: one for ref, one in refs.items() if one in known}, restricted)


def _verified(folder: str, record: Dict) -> t.List[ModelFile]:
    """The files that were verified, and look as they did then."""
    states = {row["path"]: store.state_of(os.path.join(folder, row["path"]), row) for row in record["files"]}
    # What model_download did not bring again nobody asks for any more: files of earlier patterns.
    rows = [row for row in record["files"] if states[row["path"]] != "broken"]
    for row in rows:
        if states[row["path"]] != "same":
            raise GpufleetError(
                "%s is not as it was when it was verified: run model_download on it, which reads it again and repairs it"
                % os.path.join(folder, row["path"])
            )
    return sorted((ModelFile.from_dict(row) for row in rows), key=lambda one: one.path)


def _version(wish: Wish, models: t.Sequence[Model]) -> str:
    """Named after all that is in it."""
    digest = hashlib.sha256()
    for path, text in sorted(pages(models).items()):
        digest.update(("%s\0%s\0" % (path, text)).encode())
    for path, folder in sorted(_links(models).items()):
        digest.update(("%s\0%s\0" % (path, folder)).encode())
    return os.path.join(wish.path, "versions", digest.hexdigest()[:16])


def _links(models: t.Sequence[Model]) -> t.Dict[str, str]:
    return {"files/%s/%s" % (one.name, revision.commit): revision.folder for one in models for revision in one.revisions}


def _torrents(wish: Wish, model: Model) -> t.Dict[str, Revision]:
    return {
        os.path.join(wish.path, "torrents", model.name, "%s.torrent" % revision.commit): revision for revision in model.revisions
    }


def _other_torrents(wish: Wish, wanted: t.Container[str]) -> t.List[str]:
    top = os.path.join(wish.path, "torrents")
    paths = [os.path.join(folder, name) for folder, _folders, names in os.walk(top) for name in names]
    return [path for path in paths if re.sub(r"\.json$", "", path) not in wanted]


def _seen(revision: Revision) -> t.List[t.List[t.Any]]:
    """By what the files of a torrent are recognised: they are not read again while this is the same."""
    stats = [(one, os.stat(os.path.join(revision.folder, one.path))) for one in revision.files]
    return [[one.path, found.st_size, found.st_mtime_ns, found.st_ino] for one, found in stats]


def _torrent_is_there(path: str, revision: Revision) -> bool:
    return os.path.exists(path) and _json(path + ".json") == _seen(revision)


def _is_current(wish: Wish, version: str, models: t.Sequence[Model], tokens: str) -> bool:
    texts = [("site.conf", maps(models, version)), ("tokens.conf", tokens)]
    return os.path.isdir(version) and all(_text(os.path.join(wish.path, name)) == text for name, text in texts)


def _is_stale(wish: Wish) -> bool:
    """Whether nginx has not read what is written; one that does not run has not."""
    if not wish.loaded:
        return False
    try:
        loaded = os.stat(wish.loaded).st_mtime_ns
    except FileNotFoundError:
        return True
    paths = [os.path.join(wish.path, name) for name in ("site.conf", "tokens.conf")] + list(wish.settings)
    return any(os.path.exists(path) and os.stat(path).st_mtime_ns >= loaded for path in paths)


def _write(
    wish: Wish, version: str, models: t.Sequence[Model], tokens: str, torrents: t.Mapping[str, Revision], strange: t.Sequence[str]
) -> None:
    versions = os.path.join(wish.path, "versions")
    make_directories(versions)
    for path, revision in torrents.items():
        make_directories(os.path.dirname(path))
        seen = _seen(revision)  # before it is read: what changes meanwhile is noticed by the next run
        _replace(path, torrent.make(revision.folder, revision.commit, revision.files))
        store.write_json(path + ".json", seen)
    if not os.path.isdir(version):
        new = version + ".new"
        store.remove_tree(new)
        for name, text in pages(models).items():
            make_directories(os.path.dirname(os.path.join(new, name)))
            _replace(os.path.join(new, name), text.encode())
        for name, folder in _links(models).items():
            make_directories(os.path.dirname(os.path.join(new, name)))
            os.symlink(folder, os.path.join(new, name))
        make_directories(new)
        os.rename(new, version)
    before = _named(_text(os.path.join(wish.path, "site.conf")))
    _replace(os.path.join(wish.path, "tokens.conf"), tokens.encode(), 0o600)
    _replace(os.path.join(wish.path, "site.conf"), maps(models, version).encode())
    for name in os.listdir(versions):
        if os.path.join(versions, name) not in (version, before):
            shutil.rmtree(os.path.join(versions, name))
    for path in strange:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.suppress(OSError):  # others are in there
            os.removedirs(os.path.dirname(path))


def _named(site: t.Optional[str]) -> str:
    match = re.search(r'map "" \$site \{\n  default "(.*)";', site or "")
    return match.group(1) if match else ""


def _tokens(wish: Wish) -> str:
    if not wish.token_file:
        return tokens_map([])
    try:
        with open(wish.token_file, encoding="utf-8") as content:
            tokens = content.read().split()
    except (OSError, UnicodeDecodeError) as error:
        raise GpufleetError("token_file=%s cannot be read: %s" % (wish.token_file, getattr(error, "strerror", "not a text file")))
    if not tokens or not all(_TOKEN.fullmatch(one) for one in tokens):
        raise GpufleetError("token_file=%s: it must hold tokens of letters, digits and ._~+/=-, one a line" % wish.token_file)
    return tokens_map(tokens)


def _published(path: str) -> Dict:
    return _json(os.path.join(path, "published.json")) or {"schema": SCHEMA, "models": []}


def _json(path: str) -> t.Any:
    text = _text(path)
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None  # it is written anew


def _text(path: str) -> t.Optional[str]:
    try:
        with open(path, encoding="utf-8") as content:
            return content.read()
    except FileNotFoundError:
        return None


def _replace(path: str, content: bytes, mode: int = 0o644) -> None:
    new = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.chmod(new, mode)
    os.replace(new, path)


def _shown(published: Dict) -> str:
    row = "%(name)s@%(revision)s: %(commit)s, %(files)d files, %(bytes)d bytes, list %(listing_sha256)s\n"
    return "".join(row % one for one in published["models"])
