# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the files of a model are one whole gguf-split set. Decides, does no I/O.

gguf-split also writes sets of one file, ``NAME-00001-of-00001.gguf`` with a ``split.count`` of 1. llama.cpp reads those as any
other file, so they are whole files here.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from .gguf import SPLIT_NAME, GgufHeader

SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")


@dataclass(frozen=True)
class SetFile:
    """A file that is there and could be read."""

    path: str
    size: int
    header: GgufHeader

    @property
    def number(self) -> int:
        return self.header.metadata["split.no"] + 1

    @property
    def count(self) -> int:
        return self.header.metadata.get("split.count") or 0

    @property
    def named(self) -> t.Optional[t.Tuple[str, int, int]]:
        """Stem, number and count, as its name says them."""
        found = SPLIT_NAME.match(os.path.basename(self.path))
        return (found.group("stem"), int(found.group("number")), int(found.group("count"))) if found else None


def of_several(file: SetFile) -> bool:
    """Whether the header or the name says that there are other files."""
    return file.count > 1 or bool(file.named and file.named[2] > 1)


def problems(files: t.Sequence[SetFile], complete: bool) -> t.List[str]:
    """All that is wrong. ``complete`` is False where a file is known to be missing."""
    return of_one_set(files) + content(files, complete)


def of_one_set(files: t.Sequence[SetFile]) -> t.List[str]:
    """Why the files are not of one set, or not where their names say."""
    if len(files) == 1 and not of_several(files[0]):
        return []
    found = []
    members = []
    for one in files:
        lacking = [key for key in SPLIT_KEYS if one.header.metadata.get(key) is None]
        if lacking or one.count < 2:
            what = "no " + lacking[0] if lacking else "split.count %d" % one.count
            found.append("%s is a whole GGUF file and no part of a set: its header has %s" % (one.path, what))
        else:
            members.append(one)
    for one in members:
        found += _misplaced(one, members[0])
    return found


def _misplaced(one: SetFile, first: SetFile) -> t.List[str]:
    if one.named is None:
        name = "NAME-%05d-of-%05d.gguf" % (one.number, one.count)
        return [
            "%s is file %d of %d of a set, and its name does not say so: name it %s, as all tools expect. Files of a set that "
            "were joined with cat cannot be used" % (one.path, one.number, one.count, name)
        ]
    different = _difference(one, first)
    if different:
        return ["%s and %s are of two different sets: %s" % (first.path, one.path, different)]
    if one.named[1:] != (one.number, one.count):
        return ["%s was renamed: its header says that it is file %d of %d" % (one.path, one.number, one.count)]
    return []


def _difference(one: SetFile, first: SetFile) -> str:
    """In what the two cannot be of one set, or nothing."""
    stems = [file.named[0] if file.named else "" for file in (one, first)]
    if stems[0] != stems[1] or os.path.dirname(one.path) != os.path.dirname(first.path):
        return "their names or directories differ"
    header, other = one.header, first.header
    if header.version != other.version:
        return "GGUF version %d and %d" % (other.version, header.version)
    for key in SPLIT_KEYS[1:]:
        if header.metadata[key] != other.metadata[key]:
            return "%s is %d and %d" % (key, other.metadata[key], header.metadata[key])
    for key, value in header.metadata.items():
        if key in SPLIT_KEYS or key == "general.alignment":
            continue
        if key not in other.metadata:
            # llama.cpp reads the keys of the first file only, and so does a merge.
            return "the first does not have the key %s of the second, which would be lost" % key
        if value != other.metadata[key]:
            return "%s is %r and %r" % (key, other.metadata[key], value)
    return ""


def content(files: t.Sequence[SetFile], complete: bool) -> t.List[str]:
    """What the files of a set do not have, or have twice."""
    return _tensors(files, complete) + _alignments(files) + _truncated(files)


def _tensors(files: t.Sequence[SetFile], complete: bool) -> t.List[str]:
    if len(files) == 1 and not of_several(files[0]):
        return []
    where: t.Dict[str, str] = {}
    for one in files:
        for tensor in one.header.tensors:
            if tensor.name in where:
                names = (where[tensor.name], one.path, tensor.name)
                return ["%s and %s are of two different sets: both have the tensor %s" % names]
            where[tensor.name] = one.path
    expected = files[0].header.metadata.get("split.tensors.count")
    if not complete or len(where) == expected:
        return []
    return [
        "the %d files from %s on have %d tensors, and their headers say %s: they are of different sets"
        % (len(files), files[0].path, len(where), expected)
    ]


def _alignments(files: t.Sequence[SetFile]) -> t.List[str]:
    # gguf-split then packs the data closer than its headers say, gguf-py puts it elsewhere: llama.cpp reads noise.
    first = files[0]
    return [
        "%s has general.alignment=%d and %s does not say so: nobody can tell where its data is. Get the model in one file, or in "
        "a set with the alignment of 32" % (first.path, first.header.alignment, one.path)
        for one in files
        if one.header.alignment != first.header.alignment
    ]


def _truncated(files: t.Sequence[SetFile]) -> t.List[str]:
    return [
        "%s is truncated: %d bytes expected, %d found. Download the file again" % (one.path, one.header.file_bytes, one.size)
        for one in files
        if one.size < one.header.file_bytes
    ]
