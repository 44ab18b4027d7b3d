# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a hub answers, as files that a web server can hand out: the pages of its API and nginx's maps. Pure.

The shape of the answers is what huggingface_hub 1.x and 2.x read. Nothing in them leads to Xet, so clients use plain HTTP.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from dataclasses import dataclass, field

from ..errors import GpufleetError
from .files import ModelFile

_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n"


@dataclass(frozen=True)
class Revision:
    """A revision that is served: its files, and where they lie."""

    commit: str  # 40 hex digits
    folder: str
    files: t.Tuple[ModelFile, ...]


@dataclass(frozen=True)
class Model:
    """A model under its name, with what its refs mean."""

    name: str  # org/name
    revisions: t.Tuple[Revision, ...]
    refs: t.Mapping[str, str] = field(default_factory=dict)  # commit by ref
    restricted: bool = False

    def commits(self) -> t.Dict[str, Revision]:
        """The revision by everything that names it."""
        found = {one.commit: one for one in self.revisions}
        return {**found, **{ref: found[commit] for ref, commit in self.refs.items()}}


def pages(models: t.Sequence[Model]) -> t.Dict[str, str]:
    """The API's answers, by path."""
    found = {}
    for model in models:
        top = "api/models/%s" % model.name
        known = model.commits()
        for ref, revision in known.items():
            found["%s/revision/%s.json" % (top, ref)] = _text(_info(model, revision))
            found["%s/tree/%s.json" % (top, ref)] = _text([_row(one) for one in revision.files])
        usual = known.get("main") or known[sorted(model.refs)[0] if model.refs else model.revisions[0].commit]
        found["%s.json" % top] = _text(_info(model, usual))
        branches = [{"name": ref, "ref": "refs/heads/" + ref, "targetCommit": known[ref].commit} for ref in sorted(model.refs)]
        found["%s/refs.json" % top] = _text({"branches": branches, "tags": [], "converts": []})
    return found


def maps(models: t.Sequence[Model], root: str) -> str:
    """For nginx's http block: which commit a ref is, a file's ETag, who may not have it without a token, and the root.

    A map compares without regard to case unless a key is a regular expression: files may differ by case alone.
    """
    commits, hashes = {}, {}
    for model in models:
        for ref, revision in model.commits().items():
            commits["%s@%s" % (model.name, ref)] = revision.commit
        for revision in model.revisions:
            for one in revision.files:
                hashes["%s/%s/%s" % (model.name, revision.commit, one.path)] = one.sha256 or t.cast(str, one.git_sha1)
    restricted = {model.name: "1" for model in models if model.restricted}
    known = {model.name: "1" for model in models}
    parts = [
        _map('"$repo@$rev"', "$commit", commits),
        _map('"$repo/$commit/$file"', "$oid", hashes),
        _map("$repo", "$known", known),
        _map("$repo", "$restricted", restricted),
        'map "" $site {\n  default %s;\n}\n' % _quoted(root),
    ]
    return "".join(parts)


def tokens_map(tokens: t.Sequence[str]) -> str:
    """Which Authorization opens restricted models. A secret."""
    lines = ["  %s 1;\n" % _quoted("~^Bearer %s$" % re.escape(one)) for one in tokens]
    return "map $http_authorization $opens {\n  default 0;\n%s}\n" % "".join(lines)


def _map(source: str, target: str, entries: t.Mapping[str, str]) -> str:
    folded: t.Dict[str, int] = {}
    for key in entries:
        folded[key.lower()] = folded.get(key.lower(), 0) + 1
    lines = []
    for key in sorted(entries):
        shown = _quoted(key) if folded[key.lower()] == 1 else _quoted("~^%s$" % re.escape(key))
        lines.append("  %s %s;\n" % (shown, entries[key]))
    return 'map %s %s {\n  default "";\n%s}\n' % (source, target, "".join(lines))


def _quoted(word: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in word):
        raise GpufleetError("%r: a name that nginx cannot be given" % word)
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"')


def _info(model: Model, revision: Revision) -> t.Dict[str, t.Any]:
    return {
        "_id": revision.commit[:24],
        "id": model.name,
        "modelId": model.name,
        "sha": revision.commit,
        "private": False,
        "gated": "manual" if model.restricted else False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [{"rfilename": one.path} for one in revision.files],
    }


def _row(one: ModelFile) -> t.Dict[str, t.Any]:
    """A file whose sha256 is known is one of LFS: there ``oid`` is the hash of the pointer that git has in its place."""
    if not one.sha256:
        return {"type": "file", "path": one.path, "size": one.size, "oid": one.git_sha1}
    pointer = (_POINTER % (one.sha256, one.size)).encode()
    return {
        "type": "file",
        "path": one.path,
        "size": one.size,
        "oid": hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest(),
        "lfs": {"oid": one.sha256, "size": one.size, "pointerSize": len(pointer)},
    }


def _text(data: t.Any) -> str:
    return json.dumps(data, separators=(",", ":"), sort_keys=True) + "\n"
