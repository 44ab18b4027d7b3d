# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of models: [host/][namespace/]model[:tag]."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace
from pathlib import Path

HOST, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", re.ASCII)


class InvalidName(ValueError):
    pass


@dataclass(frozen=True)
class Name:
    host: str
    namespace: str
    model: str
    tag: str
    scheme: str = "https"

    @property
    def short(self) -> str:
        """As ``ollama list`` shows it."""
        if self.host.lower() != HOST:
            return "%s/%s/%s:%s" % (self.host, self.namespace, self.model, self.tag)
        if self.namespace.lower() != NAMESPACE:
            return "%s/%s:%s" % (self.namespace, self.model, self.tag)
        return "%s:%s" % (self.model, self.tag)

    @property
    def path(self) -> Path:
        return Path(self.host) / self.namespace / self.model / self.tag

    def same(self, other: Name) -> bool:
        return str(self.path).lower() == str(other.path).lower()

    def valid(self) -> bool:
        return bool(
            _HOST.fullmatch(self.host)
            and _NAMESPACE.fullmatch(self.namespace)
            and _PART.fullmatch(self.model)
            and _PART.fullmatch(self.tag)
        )


def parse(text: t.Any) -> Name:
    rest, tag = str(text or ""), TAG
    scheme, separator, bare = rest.partition("://")
    if separator:
        rest = bare
    if rest.rfind(":") > rest.rfind("/"):
        rest, _colon, tag = rest.rpartition(":")
    parts = rest.rsplit("/", 2)
    defaults = [HOST, NAMESPACE]
    host, namespace, model = defaults[: 3 - len(parts)] + parts
    name = Name(host, namespace, model, tag, scheme if separator else "https")
    if not name.valid():
        raise InvalidName(str(text))
    return name


def from_path(path: Path) -> Name:
    """The name of a manifest's file, relative to the directory of manifests."""
    name = Name(*path.parts)
    if not name.valid():
        raise InvalidName(str(path))
    return name


def local_source(text: str) -> str:
    """Without the suffix that forces a local model."""
    return text[: -len(":local")] if text.endswith(":local") else text


def with_existing(name: Name, existing: t.Iterable[Name]) -> Name:
    """The existing name that differs only in case, if there is one."""
    for other in existing:
        if other.same(name):
            return replace(other, scheme=name.scheme)
    return name
