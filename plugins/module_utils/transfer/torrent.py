# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A revision's files as a torrent (BEP 3, BEP 19, BEP 27): made once beside the files, read again by whoever wants them.

A library for this would have to be on every host; it is fifty lines.
"""

from __future__ import annotations

import hashlib
import os
import re
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..errors import GpufleetError
from ..sizes import MIB
from .files import ModelFile

_PIECES = 2048  # about so many, within these bounds
_SMALLEST, _LARGEST = 1 * MIB, 16 * MIB
_MOST = 64 * MIB  # bytes of a torrent: no model comes near


def piece_length(size: int) -> int:
    """A power of two: many pieces spread well, few are quickly talked about."""
    length = _SMALLEST
    while length < _LARGEST and size // length > _PIECES:
        length *= 2
    return length


def make(folder: str, name: str, files: t.Sequence[ModelFile], threads: int = 4) -> bytes:
    """The torrent of ``folder``, whose top directory is called ``name``. Private: no DHT, no exchange of peers."""
    size = sum(one.size for one in files)
    length = piece_length(size)
    ordered = sorted(files, key=lambda one: one.path)
    with ThreadPoolExecutor(threads) as pool:
        pieces = b"".join(pool.map(lambda start: _piece(folder, ordered, start, length), range(0, size, length)))
    rows = [{"length": one.size, "path": one.path.split("/")} for one in ordered]
    return encode({"info": {"files": rows, "name": name, "piece length": length, "pieces": pieces, "private": 1}})


def describe(torrent: bytes) -> t.Tuple[str, t.List[t.Tuple[str, int]]]:
    """Its name, and path and size of every file, in its order."""
    try:
        info = decode(torrent)[b"info"]
        rows = [("/".join(part.decode() for part in one[b"path"]), int(one[b"length"])) for one in info[b"files"]]
        return info[b"name"].decode(), rows
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GpufleetError("it is no torrent of several files: %s" % error) from None


def addressed(torrent: bytes, announce: str, web_seeds: t.Sequence[str]) -> bytes:
    """The same files with these addresses: those in the torrent are not followed."""
    return encode({"announce": announce, "info": decode(torrent)[b"info"], "url-list": list(web_seeds)})


def peers(addresses: t.Sequence[str], port: int, interval_s: int) -> str:
    """What a tracker answers: everybody, always. The long form, which has room for IPv6 and for names."""
    rows = [{"ip": address, "port": port} for address in sorted(set(addresses))]
    return encode({"interval": interval_s, "peers": rows}).decode()


def encode(value: t.Any) -> bytes:
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l%se" % b"".join(encode(one) for one in value)
    pairs = sorted((key.encode() if isinstance(key, str) else key, one) for key, one in value.items())
    return b"d%se" % b"".join(encode(key) + encode(one) for key, one in pairs)


def decode(data: bytes) -> t.Any:
    if len(data) > _MOST:
        raise ValueError("%d bytes" % len(data))
    value, end = _value(data, 0, 0)
    if end != len(data):
        raise ValueError("bytes after its end")
    return value


_NUMBER = re.compile(rb"i(0|-?[1-9][0-9]*)e")
_LENGTH = re.compile(rb"(0|[1-9][0-9]*):")


def _value(data: bytes, at: int, depth: int) -> t.Tuple[t.Any, int]:
    if depth > 8:
        raise ValueError("nested too deep")
    kind = data[at : at + 1]
    if kind == b"i":
        number = _NUMBER.match(data, at)
        if not number:
            raise ValueError("no number at byte %d" % at)
        return int(number.group(1)), number.end()
    if kind in (b"l", b"d"):
        found, at = [], at + 1
        while data[at : at + 1] != b"e":
            one, at = _value(data, at, depth + 1)
            found.append(one)
        return (found if kind == b"l" else dict(zip(found[::2], found[1::2]))), at + 1
    length = _LENGTH.match(data, at)
    if not length or length.end() + int(length.group(1)) > len(data):
        raise ValueError("nothing that can be read at byte %d" % at)
    end = length.end() + int(length.group(1))
    return data[length.end() : end], end


def _piece(folder: str, files: t.Sequence[ModelFile], start: int, length: int) -> bytes:
    digest = hashlib.sha1()
    first, left = 0, length  # where the file begins, in all of them together
    for one in files:
        if first + one.size > start and left:
            with open(os.path.join(folder, one.path), "rb") as content:
                content.seek(max(0, start - first))
                data = content.read(min(left, one.size - max(0, start - first)))
            digest.update(data)
            left -= len(data)
        first += one.size
    return digest.digest()
