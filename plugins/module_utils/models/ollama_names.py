# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of Ollama's models: ``[host/][namespace/]model[:tag]`` (types/model/name.go)."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError

HOST = "registry.ollama.ai"
NAMESPACE = "library"
TAG = "latest"

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_PARTS: t.Tuple[t.Tuple[str, t.Pattern[str], str], ...] = (
    ("host", re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"), "letters, digits, '_', '-', '.', ':', at most 350"),
    ("namespace", re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"), "letters, digits, '_', '-', no '.', at most 80"),
    ("model", re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"), "letters, digits, '_', '-', '.', at most 80"),
    ("tag", re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"), "letters, digits, '_', '-', '.', at most 80"),
)


@dataclass(frozen=True, order=True)
class Name:
    """A model's name with nothing left to default. Ollama finds models whatever their case: compare ``key``."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: t.Any, option: str = "name") -> Name:
        """The name that ``text`` means; GpufleetError that names ``option`` and the part that is wrong."""
        if not isinstance(text, str) or not text:
            raise GpufleetError("%s=%r names no model: give [host/][namespace/]model[:tag]." % (option, text))
        rest, tag = _SCHEME.sub("", text), TAG
        if rest.rfind(":") > rest.rfind("/"):
            rest, _colon, tag = rest.rpartition(":")
        parts = rest.rsplit("/", 2)
        if len(parts) < 3:
            parts = [HOST, NAMESPACE][: 3 - len(parts)] + parts
        return cls._checked([*parts, tag], "%s=%r" % (option, text))

    @classmethod
    def from_path(cls, path: str) -> Name:
        """Of a manifest's place below manifests/: ``host/namespace/model/tag``."""
        parts = path.split("/")
        if len(parts) != 4:
            raise GpufleetError("%r is not the place of a manifest: host/namespace/model/tag." % path)
        return cls._checked(parts, "the manifest's path %r" % path)

    @classmethod
    def _checked(cls, parts: t.Sequence[str], said: str) -> Name:
        for value, (part, pattern, accepted) in zip(parts, _PARTS):
            if not pattern.fullmatch(value):
                raise GpufleetError(
                    "%s names no model: its %s %r must begin with a letter, a digit or '_' and have only %s of them."
                    % (said, part, value, accepted)
                )
        return cls(*parts)

    @property
    def short(self) -> str:
        """As ``ollama list`` prints it: without the default host and namespace, always with the tag."""
        last = "%s:%s" % (self.model, self.tag)
        if self.host.lower() != HOST:
            return "%s/%s/%s" % (self.host, self.namespace, last)
        if self.namespace.lower() != NAMESPACE:
            return "%s/%s" % (self.namespace, last)
        return last

    @property
    def full(self) -> str:
        return "%s/%s/%s:%s" % (self.host, self.namespace, self.model, self.tag)

    @property
    def path(self) -> str:
        """Where its manifest lies, below manifests/."""
        return "%s/%s/%s/%s" % (self.host, self.namespace, self.model, self.tag)

    @property
    def key(self) -> str:
        """Equal for names that Ollama takes for the same model."""
        return self.full.lower()

    def __str__(self) -> str:
        return self.short
