# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small stores of Ollama for tests, and archives of them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import typing as t
from pathlib import Path

from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama import request
from ansible_collections.gpufleet.llm.plugins.modules.ollama_bundle import ARGUMENT_SPEC

KIND = "application/vnd.ollama.image."
CONFIG = {
    "model_format": "gguf",
    "model_family": "llama",
    "file_type": "Q4_K_M",
    "architecture": "amd64",
    "os": "linux",
}


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


def content(store: Path) -> t.Dict[str, bytes]:
    """Everything that is in there, hidden or not."""
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def info(name: str, size: int = 0, **fields: t.Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    found.mtime = int(time.time()) - 86400 * 300  # old enough to be pruned, if it were kept
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def tar(members: t.Sequence[t.Tuple[t.Union[str, tarfile.TarInfo], bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of the members as they are, right or wrong."""
    out = io.BytesIO()
    for name, data in members:
        header = info(name, len(data)) if isinstance(name, str) else name
        out.write(header.tobuf(form, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512))
    out.write(bytes(10240))
    return out.getvalue()


def hand_made(store: Path, prefix: str = "models/") -> t.List[t.Tuple[str, bytes]]:
    """The members of an archive as tar makes it of a store: in the order of the directory, manifests first."""
    files = content(store)
    names = sorted(name for name in files if name.startswith("manifests/"))
    names += sorted(name for name in files if not name.startswith("manifests/"))
    return [(prefix + name, files[name]) for name in names]


def answer(
    state: str,
    path: t.Union[str, Path],
    store: t.Union[str, Path],
    check_mode: bool = False,
    said: t.Optional[t.List[str]] = None,
    **options: t.Any,
) -> t.Dict[str, t.Any]:
    """What the module ollama_bundle returns."""
    params = {name: spec.get("default") for name, spec in ARGUMENT_SPEC.items()}
    params.update({"state": state, "path": str(path), "store": str(store), "lock_timeout": 20}, **options)
    return request.answer(params, check_mode=check_mode, say=(said if said is not None else []).append)
