# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fingerprints of OpenPGP public keys: a host that only verifies packages has no gpg to ask. RFC 4880 and RFC 9580."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import typing as t

from ..errors import GpufleetError

_PUBLIC_KEY = 6
_BLOCK = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*?\r?\n(.*?)(?:\r?\n=[A-Za-z0-9+/]{4})?\r?\n-----END PGP", re.S
)


def fingerprints(content: bytes) -> t.List[str]:
    """Those of the primary keys in a key file, in ASCII armour or not. Raises GpufleetError where it is no key file."""
    blocks = _BLOCK.findall(content)
    try:
        found = [one for part in (map(base64.b64decode, blocks) if blocks else [content]) for one in _primary(part)]
    except (binascii.Error, IndexError, ValueError) as error:
        raise GpufleetError("This is not an OpenPGP key: %s" % (error or "it ends too early")) from None
    if not found:
        raise GpufleetError("This is not an OpenPGP key: there is no public key in it")
    return found


def _primary(data: bytes) -> t.Iterator[str]:
    place = 0
    while place < len(data):
        head = data[place]
        if not head & 0x80:
            raise ValueError("it does not begin as one")
        kind, place, length = _length(data, place, head)
        if place + length > len(data):
            raise ValueError("it ends too early")
        body = data[place : place + length]
        place += length
        if kind == _PUBLIC_KEY and body[0] == 4:
            yield hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()
        elif kind == _PUBLIC_KEY and body[0] == 6:
            yield hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()


def _length(data: bytes, place: int, head: int) -> t.Tuple[int, int, int]:
    """The kind of a packet, where its body begins and how long that is."""
    if head & 0x40:
        first = data[place + 1]
        if first < 192:
            return head & 0x3F, place + 2, first
        if first < 224:
            return head & 0x3F, place + 3, ((first - 192) << 8) + data[place + 2] + 192
        if first == 255:
            return head & 0x3F, place + 6, int.from_bytes(data[place + 2 : place + 6], "big")
        raise ValueError("its packets come in parts")
    size = head & 3
    if size == 3:
        raise ValueError("a packet has no length")
    octets = 1 << size
    return (head >> 2) & 0xF, place + 1 + octets, int.from_bytes(data[place + 1 : place + 1 + octets], "big")
