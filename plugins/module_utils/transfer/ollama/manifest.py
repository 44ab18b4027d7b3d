# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A manifest as it lies on disk: the blobs that a model consists of."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from dataclasses import dataclass, field

from ...errors import GpufleetError

# Far above the largest there are (tensor models name hundreds of layers): what is larger is no manifest.
MAX_BYTES = 16 * 1024**2
MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_PREFIX = "application/vnd.ollama.image."
LAYER_KINDS = frozenset(
    "model projector adapter template prompt system params messages license draft tensor json embed".split()
)
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


@dataclass(frozen=True)
class Layer:
    media_type: str
    digest: str  # sha256:<hex>
    size: int
    name: str = ""

    @property
    def kind(self) -> str:
        """``model``, ``template`` ...; ``config`` for the config blob."""
        return self.media_type[len(LAYER_PREFIX) :] if self.media_type.startswith(LAYER_PREFIX) else "config"


@dataclass(frozen=True)
class Manifest:
    """``raw`` is kept: the digest of a model is the sha256 of its manifest's bytes."""

    raw: bytes = field(repr=False)
    digest: str  # hex without a prefix, as /api/tags has it
    config: t.Optional[Layer]
    layers: t.Tuple[Layer, ...]

    @classmethod
    def parse(cls, raw: bytes, where: str) -> Manifest:
        """GpufleetError that begins with ``where`` for anything that Ollama could not load."""
        if len(raw) > MAX_BYTES:
            raise GpufleetError("%s is no manifest: %d bytes, at most %d are read." % (where, len(raw), MAX_BYTES))
        try:
            data = json.loads(raw.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise GpufleetError("%s is no manifest: it is not JSON (%s)." % (where, error)) from None
        if not isinstance(data, dict):
            raise GpufleetError("%s is no manifest: it holds a %s." % (where, type(data).__name__))
        media_type = data.get("mediaType") or MEDIA_TYPE
        if data.get("schemaVersion") != 2 or media_type != MEDIA_TYPE:
            raise GpufleetError(
                "%s has an unsupported manifest: schemaVersion=%r, mediaType=%r; supported are 2 and %s."
                % (where, data.get("schemaVersion"), media_type, MEDIA_TYPE)
            )
        layers = data.get("layers") or []
        if not isinstance(layers, list):
            raise GpufleetError("%s is no manifest: its layers are a %s." % (where, type(layers).__name__))
        config = _layer(data.get("config") or {}, "config", where)
        found = [_layer(one, "layer %d" % number, where) for number, one in enumerate(layers, 1)]
        manifest = cls(raw, hashlib.sha256(raw).hexdigest(), config, tuple(one for one in found if one))
        if not manifest.blobs:
            raise GpufleetError("%s is no manifest: it names no blobs." % where)
        sizes: t.Dict[str, int] = {}
        for layer in manifest._all():
            if sizes.setdefault(layer.digest, layer.size) != layer.size:
                raise GpufleetError("%s says two sizes of %s: %d and %d." % (
                    where, layer.digest, sizes[layer.digest], layer.size))  # fmt: skip
        return manifest

    @property
    def blobs(self) -> t.Dict[str, int]:
        """Size by digest (``sha256:<hex>``), each once, in the manifest's order with the config first."""
        return {layer.digest: layer.size for layer in self._all()}

    @property
    def size(self) -> int:
        """As /api/tags counts: config and every layer."""
        return sum(layer.size for layer in self._all())

    def _all(self) -> t.Tuple[Layer, ...]:
        return ((self.config,) if self.config else ()) + self.layers


def digest_of(text: t.Any) -> t.Optional[str]:
    """``sha256:<hex>`` of either spelling, also of a blob's file name; None for what is no digest."""
    match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
    return "sha256:" + match.group(1) if match else None


def _layer(data: t.Any, what: str, where: str) -> t.Optional[Layer]:
    if not isinstance(data, dict):
        raise GpufleetError("%s is no manifest: its %s is a %s." % (where, what, type(data).__name__))
    if not data.get("digest"):
        return None  # Ollama skips these too
    digest = digest_of(data["digest"])
    if digest is None:
        raise GpufleetError("%s: the digest of its %s is %r, not sha256:<64 hex digits>." % (
            where, what, data["digest"]))  # fmt: skip
    size = data.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise GpufleetError("%s: the size of its %s is %r, not a number of bytes." % (where, what, size))
    media_type = str(data.get("mediaType") or "")
    if what == "config":
        supported = media_type in ("", CONFIG_TYPE)
        media_type = CONFIG_TYPE if not media_type else media_type
    else:
        supported = media_type.startswith(LAYER_PREFIX) and media_type[len(LAYER_PREFIX) :] in LAYER_KINDS
    if not supported:
        raise GpufleetError("%s: the media type of its %s is not supported: %r." % (where, what, media_type))
    return Layer(media_type, digest, size, str(data.get("name") or ""))
