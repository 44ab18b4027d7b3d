# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the headers of a GGUF file, or of a split set, say; and whether all of it is there."""

from __future__ import annotations

import os
import typing as t

from ..errors import GpufleetError
from . import gguf_sets
from .gguf import FILE_TYPES, ArrayLength, GgufHeader, read_gguf, split_names
from .gguf_sets import SetFile
from .trees import LocalTree

SCHEMA = "gpufleet.gguf_info/1"
# Longer values are templates and word lists.
_KEPT_CHARACTERS = 256
_KEPT_ITEMS = 64


def answer(path: str, tensors: bool) -> dict:
    """The facts of the model that the file at ``path`` is, or is a part of."""
    if not os.path.isabs(path):
        raise GpufleetError("path=%s: give an absolute path" % path)
    if not os.path.isfile(path):
        what = "is no file: name one file of the model" if os.path.exists(path) else "does not exist on the host"
        raise GpufleetError("path=%s %s" % (path, what))
    folder, name = os.path.split(path)
    tree = _Folder(folder)
    sizes: t.Dict[str, t.Optional[int]] = {}
    headers: t.Dict[str, GgufHeader] = {}
    problems: t.List[str] = []
    for part in split_names(name):
        place = os.path.join(folder, part)
        sizes[part] = os.stat(place).st_size if os.path.isfile(place) else None
        if sizes[part] is None:
            continue
        try:
            headers[part] = read_gguf(tree.reader(part), place)
        except GpufleetError as error:
            if part == name:
                raise
            problems.append(str(error))
    return facts(folder, sizes, headers, problems, tensors)


class _Folder(LocalTree):
    """A directory whose files nobody has to list."""

    def files(self) -> t.Dict[str, int]:
        return {}


def facts(
    folder: str,
    sizes: t.Mapping[str, t.Optional[int]],
    headers: t.Mapping[str, GgufHeader],
    problems: t.List[str],
    tensors: bool = False,
) -> dict:
    """From the sizes of the files that there should be (None: missing) and the headers that could be read."""
    names = list(sizes)
    missing = [name for name in names if sizes[name] is None]
    problems = ["%s is missing" % os.path.join(folder, name) for name in missing] + problems
    files = [SetFile(os.path.join(folder, name), t.cast(int, sizes[name]), header) for name, header in headers.items()]
    problems += gguf_sets.problems(files, complete=len(files) == len(names))
    metadata = _metadata(headers)
    found = [one for header in headers.values() for one in header.tensors]
    result = {
        "schema": SCHEMA,
        "path": os.path.join(folder, names[0]),
        "files": [_file(name, sizes[name], headers.get(name)) for name in names],
        "bytes": sum(size or 0 for size in sizes.values()),
        "missing": missing,
        "split": _split(files[0]),
        "complete": not problems,
        "problems": problems,
        "version": next(iter(headers.values())).version,
        "architecture": metadata.get("general.architecture"),
        "name": metadata.get("general.name"),
        "file_type": FILE_TYPES.get(metadata.get("general.file_type", -1)),
        "chat_template": "tokenizer.chat_template" in metadata,
        "metadata": {key: _short(value) for key, value in metadata.items()},
        "tensors": len(found),
        "parameters": sum(one.count() for one in found),
        "tensor_bytes": sum(one.bytes for one in found),
        "tensors_by_type": _by_type(found),
    }
    if tensors:
        result["tensor_list"] = [
            {"name": one.name, "type": one.dtype, "shape": list(one.shape), "bytes": one.bytes, "file": name}
            for name, header in headers.items()
            for one in header.tensors
        ]
    return result


def _split(first: SetFile) -> t.Optional[dict]:
    """What the header says of the split, where there is one."""
    if not gguf_sets.of_several(first):
        return None
    return {"count": first.header.metadata.get("split.count"), "tensors": first.header.metadata.get("split.tensors.count")}


def _metadata(headers: t.Mapping[str, GgufHeader]) -> t.Dict[str, t.Any]:
    merged: t.Dict[str, t.Any] = {}
    for header in headers.values():
        merged.update({key: value for key, value in header.metadata.items() if key not in merged})
    return {key: value for key, value in merged.items() if not key.startswith("split.")}


def _short(value: t.Any) -> t.Any:
    """A value that a person would read, or how long it is."""
    if isinstance(value, ArrayLength):
        return "array of %d" % value.length
    if isinstance(value, list) and len(value) > _KEPT_ITEMS:
        return "array of %d" % len(value)
    if isinstance(value, str) and len(value) > _KEPT_CHARACTERS:
        return "text of %d characters" % len(value)
    return value


def _file(name: str, size: t.Optional[int], header: t.Optional[GgufHeader]) -> dict:
    number = header.metadata.get("split.no") if header else None
    return {
        "name": name,
        "size": size,
        "tensors": len(header.tensors) if header else None,
        "split_no": number,
        "needed_bytes": header.file_bytes if header else None,
    }


def _by_type(found: t.Sequence[t.Any]) -> t.Dict[str, dict]:
    result: t.Dict[str, dict] = {}
    for one in found:
        row = result.setdefault(one.dtype, {"tensors": 0, "parameters": 0, "bytes": 0})
        row["tensors"] += 1
        row["parameters"] += one.count()
        row["bytes"] += one.bytes
    return dict(sorted(result.items()))
