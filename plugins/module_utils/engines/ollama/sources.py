# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that a model is made from: which belong together, whether they are whole, and what their hashes are."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import stat
import typing as t
from dataclasses import dataclass

from ...errors import GpufleetError
from ...models.gguf import FILE_TYPES, SPLIT_NAME, GgufHeader, read_gguf, split_names
from ...transfer.files import PIECE
from .due import SAME

# What Ollama converts from (server/create.go, convert/): weights, and the small files beside them.
WEIGHTS = ("model*.safetensors",)
ADAPTER_WEIGHTS = ("adapter*.safetensors",)
BESIDE = ("*.json", "tokenizer.model", "chat_template.jinja")
_POOLING = "1_Pooling/config.json"  # embedding models name it in modules.json
FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Source:
    path: str
    name: str  # the relative name that the server gets
    size: int
    file_type: t.Optional[str] = None  # of a GGUF: F16, Q4_K_M ...


def look(paths: t.Iterable[str]) -> t.Dict[str, t.Dict[str, t.Any]]:
    """Size, modification time and inode by path; those in a directory for the directory; nothing for what is absent."""
    found: t.Dict[str, t.Dict[str, t.Any]] = {}
    for path in paths:
        inside = [os.path.join(path, name) for name in _of_interest(path)] if os.path.isdir(path) else [path]
        for one in inside:
            try:
                found[one] = identity(os.stat(one))
            except OSError:
                continue
    return found


def identity(found: os.stat_result) -> t.Dict[str, t.Any]:
    return dict(zip(SAME, (found.st_size, found.st_mtime_ns, found.st_ino)))


def gguf(paths: t.Sequence[str], option: str) -> t.List[Source]:
    """The whole set of files that these paths stand for, each with a header that can be read."""
    files: t.List[str] = []
    for path in paths:
        files += _in_directory(path, option) if os.path.isdir(path) else [path]
    wanted: t.List[str] = []
    for path in files:
        folder, name = os.path.split(path)
        wanted += [one for one in (os.path.join(folder, part) for part in split_names(name)) if one not in wanted]
    missing = [path for path in wanted if not os.path.exists(path)]
    if missing:
        gone = [path for path in missing if path not in files]
        if gone:
            raise GpufleetError(
                "%s=%s: of the split set, %d of %d files are missing: %s. Bring them beside the others."
                % (option, paths[0], len(gone), len(wanted), ", ".join(gone))
            )
        raise GpufleetError("%s=%s does not exist on this host." % (option, missing[0]))
    found = [_gguf_file(path, option) for path in wanted]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise GpufleetError(
                "%s names two files called %s: the server keeps them apart by name only." % (option, name)
            )
    return found


def safetensors(path: str, option: str, weights: t.Sequence[str] = WEIGHTS) -> t.List[Source]:
    """The files of a checkpoint's directory that the server converts."""
    _need_directory(path, option)
    names = _of_interest(path)
    heavy = [name for name in names if _matches(name, weights)]
    if not heavy:
        raise GpufleetError(
            "%s=%s has no %s: give the directory of a checkpoint in safetensors." % (option, path, " or ".join(weights))
        )
    settings = "config.json" if weights is WEIGHTS else "adapter_config.json"
    if settings not in names:
        raise GpufleetError("%s=%s has no %s: the server cannot convert it." % (option, path, settings))
    missing = _missing_shards(path) if weights is WEIGHTS else []
    if missing:
        raise GpufleetError(
            "%s=%s is not whole: model.safetensors.index.json names %s. Download them again."
            % (option, path, ", ".join(missing))
        )
    chosen = heavy + [name for name in names if not name.endswith((".safetensors", ".gguf"))]
    return [_plain(os.path.join(path, name), name, option) for name in sorted(chosen)]


def adapter(path: str, option: str) -> t.List[Source]:
    """A LoRA: one GGUF, or a directory in safetensors."""
    if os.path.isdir(path):
        return safetensors(path, option, ADAPTER_WEIGHTS)
    if not os.path.exists(path):
        raise GpufleetError("%s=%s does not exist on this host." % (option, path))
    return [_gguf_file(path, option)]


def model(path: str, option: str) -> t.List[Source]:
    """A FROM of a Modelfile that is a path."""
    if os.path.isdir(path):
        names = _of_interest(path)
        if any(_matches(name, WEIGHTS) for name in names):
            return safetensors(path, option)
        return gguf([path], option)
    if path.endswith(".safetensors"):
        return safetensors(os.path.dirname(path), option)
    return gguf([path], option)


def sha256(source: Source, tick: t.Callable[[int], None]) -> t.Dict[str, t.Any]:
    """Identity and hash of the file as it was while it was read; ``tick`` hears of every piece."""
    digest = hashlib.sha256()
    with open(source.path, "rb") as content:
        before = identity(os.fstat(content.fileno()))
        for piece in iter(lambda: content.read(PIECE), b""):
            digest.update(piece)
            tick(len(piece))
        after = identity(os.fstat(content.fileno()))
    if before != after or before["size"] != source.size:
        raise GpufleetError("%s changes while it is read: wait until it is whole." % source.path)
    return dict(after, sha256=digest.hexdigest())


def read_text(path: str, option: str) -> bytes:
    """A small file; a Modelfile that is larger than a megabyte is none."""
    try:
        with open(path, "rb") as content:
            data = content.read(2**20 + 1)
    except OSError as error:
        raise GpufleetError("%s=%s cannot be read: %s." % (option, path, error.strerror)) from None
    if len(data) > 2**20:
        raise GpufleetError("%s=%s is larger than 1 MiB: it is no Modelfile." % (option, path))
    return data


def _gguf_file(path: str, option: str) -> Source:
    plain = _plain(path, os.path.basename(path), option)
    try:
        with open(path, "rb") as content:
            header = read_gguf(lambda offset, length: _at(content, offset, length), path)
    except OSError as error:
        raise GpufleetError("%s=%s cannot be read: %s." % (option, path, error.strerror)) from None
    if header.file_bytes > plain.size:
        raise GpufleetError(
            "%s=%s is cut off: %d of at least %d bytes. Download it again."
            % (option, path, plain.size, header.file_bytes)
        )
    _check_split(path, header, option)
    return Source(plain.path, plain.name, plain.size, _file_type(header))


def _check_split(path: str, header: GgufHeader, option: str) -> None:
    count, number = header.metadata.get("split.count") or 0, header.metadata.get("split.no") or 0
    match = SPLIT_NAME.match(os.path.basename(path))
    if match is None and count > 1:
        raise GpufleetError(
            "%s=%s is file %d of a set of %d and was renamed: the names must end in -%05d-of-%05d.gguf."
            % (option, path, number + 1, count, number + 1, count)
        )
    if match and count and (count, number + 1) != (int(match.group("count")), int(match.group("number"))):
        raise GpufleetError(
            "%s=%s says inside that it is file %d of %d: it was renamed, or belongs to another set."
            % (option, path, number + 1, count)
        )


def _file_type(header: GgufHeader) -> t.Optional[str]:
    kind = header.metadata.get("general.file_type")
    if kind in FILE_TYPES:
        return FILE_TYPES[kind]
    sizes: t.Dict[str, int] = {}
    for tensor in header.tensors:
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.bytes
    return max(sizes, key=lambda name: sizes[name]) if sizes else None


def _at(content: t.BinaryIO, offset: int, length: int) -> bytes:
    content.seek(offset)
    return content.read(length)


def _plain(path: str, name: str, option: str) -> Source:
    try:
        found = os.stat(path)
    except OSError as error:
        raise GpufleetError("%s=%s cannot be read: %s." % (option, path, error.strerror)) from None
    if not stat.S_ISREG(found.st_mode):
        raise GpufleetError("%s=%s is not a file." % (option, path))
    if not os.access(path, os.R_OK):
        raise GpufleetError("%s=%s cannot be read: Permission denied." % (option, path))
    if not found.st_size and path.endswith((".gguf", ".safetensors")):
        raise GpufleetError("%s=%s is empty. Download it again." % (option, path))
    return Source(path, name, found.st_size)


def _in_directory(path: str, option: str) -> t.List[str]:
    names = [name for name in _of_interest(path) if name.endswith(".gguf")]
    if not names:
        raise GpufleetError("%s=%s is a directory without a .gguf file." % (option, path))
    models = [name for name in names if not name.startswith("mmproj")]
    if len({split_names(one)[0] for one in models}) > 1:
        raise GpufleetError(
            "%s=%s holds several models (%s): name the file, or the first one of a split set."
            % (option, path, ", ".join(sorted({split_names(one)[0] for one in models})))
        )
    return [os.path.join(path, name) for name in names]


def _need_directory(path: str, option: str) -> None:
    if not os.path.isdir(path):
        what = "is not a directory" if os.path.exists(path) else "does not exist on this host"
        raise GpufleetError("%s=%s %s: give the directory of a checkpoint." % (option, path, what))


def _of_interest(path: str) -> t.List[str]:
    """Names in a directory that may be part of a model, hidden ones left out."""
    patterns = ("*.gguf", "model*.safetensors", "adapter*.safetensors") + BESIDE
    try:
        names = [name for name in os.listdir(path) if not name.startswith(".") and _matches(name, patterns)]
    except OSError:
        return []
    if os.path.exists(os.path.join(path, _POOLING)):
        names.append(_POOLING)
    return sorted(names)


def _matches(name: str, patterns: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _missing_shards(path: str) -> t.List[str]:
    try:
        with open(os.path.join(path, "model.safetensors.index.json"), encoding="utf-8") as content:
            named = json.load(content).get("weight_map") or {}
    except FileNotFoundError:
        return []
    except (OSError, ValueError, AttributeError):
        raise GpufleetError("%s/model.safetensors.index.json cannot be read: download it again." % path) from None
    return sorted({str(name) for name in named.values() if not os.path.exists(os.path.join(path, str(name)))})
