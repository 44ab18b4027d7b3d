# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small stores of Ollama for tests."""

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

KIND = "application/vnd.ollama.image."
CONFIG = {"model_format": "gguf", "model_family": "llama", "file_type": "Q4_K_M", "architecture": "amd64", "os": "linux"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def layers(model: bytes) -> t.List[t.Tuple[str, bytes]]:
    """Kind and content of the blobs of a model; all models share the licence."""
    return [("model", model), ("template", b"{{ .Prompt }} of " + model[:8]), ("license", b"Licence\n")]


def manifest(parts: t.Sequence[t.Tuple[str, bytes]], config: bytes) -> bytes:
    def entry(kind: str, content: bytes) -> t.Dict[str, t.Any]:
        return {"mediaType": kind, "digest": "sha256:" + sha256(content), "size": len(content)}

    data = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": entry("application/vnd.docker.container.image.v1+json", config),
        "layers": [entry(KIND + kind, content) for kind, content in parts],
    }
    return json.dumps(data, separators=(",", ":")).encode()


def add(store: Path, path: str, model: bytes) -> bytes:
    """Put a model at manifests/<path>; returns the bytes of its manifest."""
    config = json.dumps({**CONFIG, "model_type": str(len(model))}).encode() + b"\n"
    for content in [config, *(part for _kind, part in layers(model))]:
        blob = store / "blobs" / ("sha256-" + sha256(content))
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
    raw = manifest(layers(model), config)
    target = store / "manifests" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(raw)
    return raw


def blob(store: Path, content: bytes) -> Path:
    return store / "blobs" / ("sha256-" + sha256(content))
