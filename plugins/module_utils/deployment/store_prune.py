# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a store of models can go. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..errors import GpufleetError
from ..sizes import human

Files = t.Mapping[t.Tuple[int, int], int]  # bytes by device and inode: what has two names is there once


@dataclass(frozen=True)
class Revision:
    """One revision of a model, or what an interrupted removal left of it."""

    model: str  # kind/org/name
    name: str  # the commit or digest
    path: str
    date: float = 0.0  # when it was last verified
    links: t.Tuple[str, ...] = ()  # the refs that point to it
    uses: t.Tuple[str, ...] = ()  # who uses it, in words
    recorded: bool = True
    removed: bool = False  # it has been moved away already
    files: Files = field(default_factory=dict)


@dataclass(frozen=True)
class Unfinished:
    """A revision that was never finished, or what an interrupted removal left of one."""

    model: str
    path: str
    age_s: float
    removed: bool = False
    files: Files = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """A store as it was found."""

    path: str
    revisions: t.Tuple[Revision, ...] = ()
    unfinished: t.Tuple[Unfinished, ...] = ()
    holders: t.Mapping[str, str] = field(default_factory=dict)  # who works on a model
    links: t.Mapping[str, t.Mapping[str, str]] = field(default_factory=dict)  # refs of each model, and what they point to
    others: t.Mapping[str, Files] = field(default_factory=dict)  # what else the store's directory holds
    blind: t.Tuple[str, ...] = ()  # what could not be looked at
    link_uses: t.Mapping[str, t.Mapping[str, t.Sequence[str]]] = field(default_factory=dict)  # who names a ref of a model
    model_uses: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)  # who names its directory, or one above that


@dataclass(frozen=True)
class Wish:
    keep: int = 1
    quota: t.Optional[int] = None
    models: t.Optional[t.Tuple[str, ...]] = None  # [kind/]org/name[@revision]: these, and nothing else
    unfinished_s: float = 7 * 86400


@dataclass
class Plan:
    remove: t.List[t.Dict[str, t.Any]] = field(default_factory=list)  # path, reason, bytes, model, name
    kept: t.List[t.Dict[str, t.Any]] = field(default_factory=list)  # path, reason
    restore: t.List[Revision] = field(default_factory=list)  # moved away by an interrupted removal, and needed after all
    unlink: t.List[t.Tuple[str, str]] = field(default_factory=list)  # model and ref, of links that go
    freed_bytes: int = 0
    store_bytes: int = 0  # what is left


def decide(look: Look, wish: Wish) -> Plan:
    """What goes, what stays and why."""
    plan, space = Plan(), _Space(look)
    asked = None if wish.models is None else _asked(look, wish.models, plan)
    finished = [one for one in look.revisions if not one.removed]
    spare: t.List[t.Tuple[Revision, str]] = []  # unused; only a quota takes those
    for one in look.revisions:
        # Its record goes first: what has one is whole.
        whole = one.recorded and not any((it.model, it.name) == (one.model, one.name) for it in finished)
        if one.removed and one.uses and whole:
            plan.restore.append(one)
            _keep(plan, one, "in use, and so not removed after all: %s" % _some(one.uses, 3))
        elif one.removed and one.model not in look.holders:
            _remove(plan, space, one, "a removal that was interrupted")
    for model in sorted({one.model for one in finished}):
        unused = 0
        for one in sorted((one for one in finished if one.model == model), key=lambda one: (-one.date, one.name)):
            why = _needed(one, look)
            if asked is not None:
                if (one.model, one.name) in asked:
                    _remove(plan, space, one, "asked for")
                else:
                    _keep(plan, one, why or "not asked for")
            elif why:
                _keep(plan, one, why)
            elif unused < wish.keep:
                unused += 1
                spare.append((one, "unused, and one of the newest: keep=%d" % wish.keep))
            else:
                _remove(plan, space, one, "unused")
    for part in look.unfinished:
        _judge_unfinished(plan, space, part, look, wish)
    for one, why in sorted(spare, key=lambda pair: (pair[0].date, pair[0].path)):
        if wish.quota is not None and space.bytes > wish.quota:
            _remove(plan, space, one, "unused, and over the quota")
        else:
            _keep(plan, one, why)
    plan.freed_bytes, plan.store_bytes = space.before - space.bytes, space.bytes
    if wish.quota is not None and space.bytes > wish.quota:
        raise _too_much(look, wish.quota, plan, space)
    if look.blind and any(one["name"] for one in plan.remove):
        raise GpufleetError(
            "Whether a model is in use cannot be told: %s cannot be looked at. Run with become=true. Nothing was removed"
            % _some(look.blind, 3)
        )
    return plan


def _needed(one: Revision, look: Look) -> t.Optional[str]:
    """Why it may not go."""
    if one.links:
        return "linked as %s" % ", ".join(one.links)
    if one.uses:
        return "in use: %s" % _some(one.uses, 3)
    if one.model in look.holders:
        return "process %s works on the model" % look.holders[one.model]
    if not one.recorded:
        return "it has no gpufleet.json, so it is not of this collection"
    return None


def _asked(look: Look, models: t.Sequence[str], plan: Plan) -> t.Set[t.Tuple[str, str]]:
    """The revisions that are to be removed by request, and the links in ``plan``. Fails when one of them is in use."""
    wanted: t.Set[t.Tuple[str, str]] = set()
    refused = []
    known = {one.model for one in look.revisions} | set(look.links)
    for text in models:
        name, _at, ref = text.partition("@")
        found = sorted(model for model in known if name in (model, model.partition("/")[2]))
        if len(found) > 1:
            raise GpufleetError("models: %s is all of %s. Name one with its first directory" % (name, ", ".join(found)))
        for model in found:
            links = look.links.get(model, {})
            here = {one.name for one in look.revisions if one.model == model and not one.removed}
            gone = here if not ref else {ref} & here
            unlinked = [link for link, target in links.items() if not ref or target in gone]
            if ref and ref.replace("/", "~") in links:  # a branch: its revision stays for another link
                link = ref.replace("/", "~")
                unlinked = [link]
                gone = {links[link]} & here if list(links.values()).count(links[link]) == 1 else set()
            plan.unlink += [(model, link) for link in sorted(unlinked)]
            for link in sorted(unlinked):
                users = look.link_uses.get(model, {}).get(link)
                if users and links[link] not in gone:  # else it is said of the revision
                    refused.append("%s/%s/%s (%s)" % (look.path, model, link, _some(users, 3)))
            wanted |= {(model, one) for one in gone}
    for one in look.revisions:
        if (one.model, one.name) in wanted and not one.removed:
            uses = one.uses or look.model_uses.get(one.model)
            if uses:
                refused.append("%s (%s)" % (one.path, _some(uses, 3)))
            elif one.model in look.holders:
                refused.append("%s (process %s works on it)" % (one.path, look.holders[one.model]))
            elif not one.recorded:
                refused.append("%s (it has no gpufleet.json, so it is not of this collection)" % one.path)
    if refused:
        message = "In use, and so nothing was removed: %s. Stop what uses it first" % "; ".join(refused)
        raise GpufleetError(message, in_use=refused)
    return wanted


def _judge_unfinished(plan: Plan, space: _Space, part: Unfinished, look: Look, wish: Wish) -> None:
    if part.model in look.holders:
        plan.kept.append({"path": part.path, "reason": "process %s works on the model" % look.holders[part.model]})
    elif part.removed:
        _remove(plan, space, part, "a removal that was interrupted")
    elif wish.models is None and part.age_s >= wish.unfinished_s:
        _remove(plan, space, part, "unfinished for %d days" % (part.age_s // 86400))
    else:
        plan.kept.append({"path": part.path, "reason": "unfinished, to be continued"})


def _remove(plan: Plan, space: _Space, one: t.Union[Revision, Unfinished], reason: str) -> None:
    name = one.name if isinstance(one, Revision) else None
    freed = space.take(one.files)
    plan.remove.append({"path": one.path, "reason": reason, "bytes": freed, "model": one.model, "name": name})


def _keep(plan: Plan, one: Revision, reason: str) -> None:
    plan.kept.append({"path": one.path, "reason": reason})


def _too_much(look: Look, quota: int, plan: Plan, space: _Space) -> GpufleetError:
    gone = {one["path"] for one in plan.remove}
    reasons = {one["path"]: one["reason"] for one in plan.kept}
    held = [(sum(one.files.values()), one.path) for one in [*look.revisions, *look.unfinished] if one.path not in gone]
    held += [(sum(files.values()), path) for path, files in look.others.items()]
    listed = [
        "%s (%s, %s)" % (path, human(size), reasons.get(path, "not a model of this collection"))
        for size, path in sorted(held, reverse=True) if size
    ]  # fmt: skip
    return GpufleetError(
        "%s holds %d bytes (%s), quota=%d (%s). With all removed that is unused it would still hold %d: %s too much. "
        "Nothing was removed. What holds it: %s. Raise quota, or remove models that are not needed by the option models"
        % (look.path, space.before, human(space.before), quota, human(quota), space.bytes, human(space.bytes - quota),
           _some(listed, 10)),
        store_bytes=space.before,
        quota_bytes=quota,
        over_bytes=space.bytes - quota,
    )  # fmt: skip


class _Space:
    """The bytes of the store while one after another is removed; a file with two names goes with the last."""

    def __init__(self, look: Look) -> None:
        self._names: t.Dict[t.Tuple[int, int], int] = {}
        self.bytes = 0
        for files in [one.files for one in [*look.revisions, *look.unfinished]] + list(look.others.values()):
            for key, size in files.items():
                self._names[key] = self._names.get(key, 0) + 1
                self.bytes += size if self._names[key] == 1 else 0
        self.before = self.bytes

    def take(self, files: Files) -> int:
        freed = sum(size for key, size in files.items() if self._names[key] == 1)
        for key in files:
            self._names[key] -= 1
        self.bytes -= freed
        return freed


def _some(values: t.Sequence[str], most: int) -> str:
    more = len(values) - most
    return "; ".join(values[:most]) + ("; and %d more" % more if more > 0 else "")
