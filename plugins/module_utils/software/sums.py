# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Published sums of files, as sha256sum writes them."""

from __future__ import annotations

import hashlib
import re
import typing as t

from ..errors import GpufleetError

_LINE = re.compile(r"([0-9A-Fa-f]{64}) [ *](?:\./)?(\S.*)")
_PIECE = 1024 * 1024


def parse(text: str, source: str) -> t.Dict[str, str]:
    """The sum of every file that a list names. ``source`` says where the list was, for messages."""
    sums: t.Dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.rstrip())
        if not match:
            continue
        digest, name = match.group(1).lower(), match.group(2)
        if sums.setdefault(name, digest) != digest:
            raise GpufleetError("%s has two different sums for %s: it cannot be trusted" % (source, name))
    if not sums:
        raise GpufleetError(
            "%s is not a list of sha256 sums; it begins with %r. A proxy or a login page may have answered instead"
            % (source, text[:60])
        )
    return sums


def given(sums: t.Sequence[str]) -> t.Tuple[str, ...]:
    """The option ``sha256``, checked."""
    for digest in sums:
        if not re.fullmatch(r"[0-9A-Fa-f]{64}", digest):
            raise GpufleetError("sha256=%s is not a sum: give 64 hexadecimal digits" % digest)
    return tuple(digest.lower() for digest in sums)


def of_stream(content: t.BinaryIO, digest: t.Optional[t.Any] = None) -> t.Any:
    """The sha256 over the rest of an open file, or what ``digest`` becomes by it."""
    digest = hashlib.sha256() if digest is None else digest
    for piece in iter(lambda: content.read(_PIECE), b""):
        digest.update(piece)
    return digest
