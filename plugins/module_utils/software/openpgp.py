# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenPGP public keys as files: their fingerprints, and keyrings without some of them. No gpg needed, which hosts often lack.

Source: RFC 9580, sections 4.2 (packet headers), 5.5.4 (fingerprints) and 6 (ASCII armor).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import typing as t

from ..errors import GpufleetError

_PUBLIC_KEY = 6
_ARMOR = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[^\n]*\n(.*?)\n\s*-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)


def is_armored(content: bytes) -> bool:
    return b"-----BEGIN PGP PUBLIC KEY BLOCK-----" in content


def binary(content: bytes) -> bytes:
    """The packets, whether they come in ASCII armor or not."""
    if not is_armored(content):
        return content
    packets = b""
    for block in _ARMOR.findall(content.replace(b"\r\n", b"\n")):
        body = block.partition(b"\n\n")[2] if b"\n\n" in block or b":" in block.split(b"\n")[0] else block
        lines = [line for line in body.strip().split(b"\n") if not re.match(rb"=[A-Za-z0-9+/]{4}$", line.strip())]
        try:
            packets += base64.b64decode(b"".join(lines), validate=False)
        except binascii.Error as error:
            raise GpufleetError("its armor cannot be read: %s." % error) from None
    return packets


def armor(packets: bytes) -> str:
    """ASCII armor, for a file that ends in .asc."""
    text = base64.b64encode(packets).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n%s\n-----END PGP PUBLIC KEY BLOCK-----\n" % "\n".join(lines)


def fingerprints(content: bytes) -> t.List[str]:
    """Those of the primary keys. Raises GpufleetError for what is no file of keys, an error page for example."""
    found = [fingerprint for fingerprint, _packets in _keys(binary(content))]
    if not found:
        raise GpufleetError("it holds no OpenPGP public key.")
    return found


def without(content: bytes, unwanted: t.Collection[str]) -> bytes:
    """The keyring without these keys; nothing when none is left."""
    kept = b"".join(packets for fingerprint, packets in _keys(binary(content)) if fingerprint not in unwanted)
    return armor(kept).encode() if kept and is_armored(content) else kept


def _keys(data: bytes) -> t.Iterator[t.Tuple[str, bytes]]:
    """Each primary key's fingerprint, and all packets that belong to it."""
    fingerprint, start = "", 0
    for tag, begin, body, end in _packets(data):
        if tag == _PUBLIC_KEY:
            if fingerprint:
                yield fingerprint, data[start:begin]
            fingerprint, start = _fingerprint(data[body:end]), begin
    if fingerprint:
        yield fingerprint, data[start:]


def _fingerprint(body: bytes) -> str:
    if body[:1] == b"\x04":
        # It names the key, and protects nothing: what is trusted is decided by comparing it.
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()
    if body[:1] == b"\x06":
        return hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    raise GpufleetError("it holds a key of version %d, which is not supported." % (body[0] if body else 0))


def _packets(data: bytes) -> t.Iterator[t.Tuple[int, int, int, int]]:
    """tag, where the packet begins, where its body does, and where it ends."""
    position = 0
    while position < len(data):
        begin, head = position, data[position]
        if not head & 0x80:
            raise GpufleetError("it is no file of OpenPGP keys.")
        try:
            if head & 0x40:
                tag, position, length = head & 0x3F, position + 1, data[position + 1]
                if length < 192:
                    position += 1
                elif length < 224:
                    length, position = ((length - 192) << 8) + data[position + 1] + 192, position + 2
                elif length == 255:
                    length, position = int.from_bytes(data[position + 1 : position + 5], "big"), position + 5
                else:
                    raise GpufleetError("it holds a packet of partial length, which no key has.")
            else:
                tag, octets = (head >> 2) & 0x0F, (1, 2, 4, 0)[head & 3]
                length = int.from_bytes(data[position + 1 : position + 1 + octets], "big") if octets else len(data)
                position += 1 + octets
        except IndexError:
            raise GpufleetError("it is cut off.") from None
        if position + length > len(data):
            raise GpufleetError("it is cut off.")
        yield tag, begin, position, position + length
        position += length
