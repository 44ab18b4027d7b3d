# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies there in parts: a set that gguf-split made, or pieces of one file that was cut up. Decides, does no I/O.

Of a set, each file is a GGUF of its own and has ``split.count`` above 1. Of a file that was cut up, only the first piece
begins as GGUF does. To put the one together in the way of the other gives a file that looks right from its beginning.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from ..models import gguf_sets
from ..models.gguf import MAGIC, GgufHeader
from ..models.gguf_sets import SetFile

SET, PIECES = "set", "pieces"
# Ways to number the pieces of a file. With a word for it one letter is enough, without one it takes two, as split(1) does.
_PIECE_NAMES = (
    re.compile(r"(?P<stem>.+\.gguf)[._-](?:split|part)[._-]?(?P<mark>\d{1,4}|[a-z]{1,2})(?P<of>[._-]?of[._-]?\d{1,4})?"),
    re.compile(r"(?P<stem>.+)[._-](?:split|part)[._-]?(?P<mark>\d{1,4}|[a-z]{1,2})(?P<of>[._-]?of[._-]?\d{1,4})?\.gguf"),
    re.compile(r"(?P<stem>.+\.gguf)\.(?P<mark>\d{1,4}|[a-z]{2})(?P<of>[._-]?of[._-]?\d{1,4})?"),
)


@dataclass(frozen=True)
class Part:
    """A file as one look found it."""

    path: str
    size: int
    begins: bytes  # its first four bytes
    header: t.Optional[GgufHeader] = None  # of those that begin as GGUF does

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def is_gguf(self) -> bool:
        return self.begins == MAGIC

    def get(self, key: str) -> t.Any:
        return self.header.metadata.get(key) if self.header else None


@dataclass(frozen=True)
class Piece:
    """What the name of a piece says: which file it is a piece of, in what way, and its number."""

    stem: str
    way: t.Tuple[t.Any, ...]
    number: int
    count: t.Optional[int]
    lettered: bool


def piece(name: str) -> t.Optional[Piece]:
    """None for a name that says no number."""
    for way, expression in enumerate(_PIECE_NAMES):
        found = expression.fullmatch(name)
        if found:
            mark, of = found.group("mark"), found.group("of")
            lettered = not mark.isdigit()
            number = _letters(mark) if lettered else int(mark)
            count = int(re.sub(r"\D", "", of)) if of else None
            return Piece(found.group("stem"), (way, lettered, len(mark) if lettered else 0, count), number, count, lettered)
    return None


def siblings(name: str, names: t.Iterable[str]) -> t.List[str]:
    """Those of ``names`` that are pieces of the same file as ``name``, in their order."""
    own = piece(name)
    if own is None:
        return [name]
    found = []
    for other in names:
        one = piece(other)
        if one and (one.stem, one.way) == (own.stem, own.way):
            found.append((one.number, other))
    return [other for _number, other in sorted(found)]


def kind(parts: t.Sequence[Part]) -> str:
    """``set`` or ``pieces``; GpufleetError for what is neither."""
    begin = [part for part in parts if part.is_gguf]
    if not begin:
        raise GpufleetError(
            "%s does not begin as GGUF does (it begins with %r), and no other part does: these are no parts of a model. "
            "An HTML page or a Git LFS pointer looks like this" % (parts[0].path, parts[0].begins)
        )
    if len(begin) == len(parts):
        if len(parts) == 1 and not (parts[0].get("split.count") or 0) > 1:
            raise GpufleetError("%s is one whole file already: there is nothing to merge" % parts[0].path)
        return SET
    others = [part.name for part in parts if not part.is_gguf]
    if len(begin) > 1:
        raise GpufleetError(
            "%s begin as GGUF does and %s do not: these are parts of different models"
            % (_listed([part.name for part in begin]), _listed(others))
        )
    if not parts[0].is_gguf:
        raise GpufleetError(
            "the order is wrong: %s begins as GGUF does, so it is the first piece, and %s stands first"
            % (begin[0].name, parts[0].name)
        )
    return PIECES


def check_set(parts: t.Sequence[Part]) -> None:
    """GpufleetError unless the parts are one whole model in its order: a gguf-split set, or one file that is no part of any."""
    files = [SetFile(part.path, part.size, t.cast(GgufHeader, part.header)) for part in parts]
    _refuse(gguf_sets.of_one_set(files))
    if gguf_sets.of_several(files[0]):
        count = files[0].count
        _each_once([(one.number, part.name) for one, part in zip(files, parts)], count, "of the set of %d files" % count)
        if [one.number for one in files] != list(range(1, count + 1)):
            right = sorted(parts, key=lambda part: part.get("split.no"))
            raise GpufleetError("the order is wrong: give %s" % ", ".join(part.name for part in right))
    _refuse(gguf_sets.content(files, complete=True))


def _refuse(problems: t.Sequence[str]) -> None:
    if problems:
        raise GpufleetError(problems[0])


def check_pieces(parts: t.Sequence[Part], has_sum: bool) -> None:
    """GpufleetError unless the names say that the parts are all the pieces of one file, in their order."""
    read = [(part, piece(part.name)) for part in parts]
    unclear = [part.name for part, one in read if one is None]
    if unclear:
        if has_sum and len(unclear) == len(parts):
            return  # the sum will tell
        raise GpufleetError(
            "the name of %s does not say which piece of a file it is, as in NAME.gguf.part1of3, NAME.gguf-split-a or "
            "NAME.gguf.00. Rename the pieces, or give all of them in order, and sha256 of the whole file" % _listed(unclear)
        )
    known = [(part, t.cast(Piece, one)) for part, one in read]
    first = known[0][1]
    for part, one in known:
        if (one.stem, one.way) != (first.stem, first.way):
            raise GpufleetError("%s and %s are pieces of different files, by their names" % (parts[0].path, part.path))
    start = 0 if first.lettered or any(one.number == 0 for _part, one in known) else 1
    count = first.count if first.count is not None else max(one.number for _part, one in known) + 1 - start
    _each_once([(one.number + 1 - start, part.name) for part, one in known], count, "of %d pieces" % count)
    right = sorted(known, key=lambda item: item[1].number)
    if right != known:
        raise GpufleetError("the order is wrong: give %s" % ", ".join(part.name for part, _one in right))


def check_joined(header: GgufHeader, size: int, limit: int, names: str) -> None:
    """GpufleetError unless a file of ``size`` bytes ends where its header says, ``limit`` with the padding after it."""
    count = header.metadata.get("split.count") or 0
    if count > 1:
        raise GpufleetError(
            "%s make file %d of %d of a gguf-split set. Join the pieces of each file of the set with cat, under the set's names, "
            "and merge the set then" % (names, (header.metadata.get("split.no") or 0) + 1, count)
        )
    if size < header.file_bytes:
        raise GpufleetError(
            "%s have %d bytes together, and their header says %d: pieces are missing, or one is truncated"
            % (names, size, header.file_bytes)
        )
    if size > limit:
        raise GpufleetError(
            "%s have %d bytes together, and their header says %d: a piece is there twice, or is of another file"
            % (names, size, limit)
        )


def _each_once(numbered: t.Sequence[t.Tuple[int, str]], count: int, of: str) -> None:
    seen: t.Dict[int, str] = {}
    for number, name in numbered:
        if number in seen:
            raise GpufleetError("number %d %s is there twice: %s and %s" % (number, of, seen[number], name))
        seen[number] = name
    missing = [number for number in range(1, count + 1) if number not in seen]
    if missing:
        raise GpufleetError(
            "number %s %s is missing beside %s" % (_listed([str(number) for number in missing]), of, numbered[0][1]),
            missing=missing,
        )
    beyond = [name for number, name in numbered if number > count]
    if beyond:
        raise GpufleetError("%s is none %s" % (_listed(beyond), of))


def _letters(mark: str) -> int:
    number = 0
    for letter in mark:
        number = 26 * number + ord(letter) - ord("a")
    return number


def _listed(names: t.Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" and %d more" % (len(names) - 5) if len(names) > 5 else "")
