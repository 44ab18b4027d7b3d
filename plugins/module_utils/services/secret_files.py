# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A secret's way from where it is kept to a service's environment, without leaving the host."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError

BYTES_OF_A_NEW_SECRET = 32
ACCEPTED = re.compile(r"[\x21-\x7e]+")
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Access:
    """Who may read a file."""

    mode: int
    uid: int = 0
    gid: int = 0


def check(secret: str, origin: str) -> str:
    """The secret without its line end, refused when a service or an HTTP header could not carry it."""
    secret = secret.strip("\r\n")
    if not secret:
        raise GpufleetError("%s is empty: put the secret there" % origin)
    if not ACCEPTED.fullmatch(secret):
        raise GpufleetError("%s holds characters other than visible ASCII: use letters, digits and signs only" % origin)
    return secret


def read(path: str) -> t.Optional[str]:
    """The secret kept in a file, or None: there is no such file."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            text = stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GpufleetError("the secret in %s cannot be read: %s" % (path, error.strerror)) from None
    return check(text, "the file %s" % path)


def generate() -> str:
    """A new secret."""
    return secrets.token_urlsafe(BYTES_OF_A_NEW_SECRET)


def environment_line(name: str, secret: str) -> str:
    """As systemd reads it back from an EnvironmentFile."""
    return '%s="%s"\n' % (name, re.sub(r'(["\\`$])', r"\\\1", secret))


def differs(path: str, content: t.Optional[str], access: Access) -> bool:
    """Whether the file is not there with this content and access; a content of None wants no file."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return content is not None
    if content is None or (found.st_mode & 0o7777, found.st_uid, found.st_gid) != (access.mode, access.uid, access.gid):
        return True
    with open(path, encoding="ascii", errors="replace") as stream:
        return stream.read() != content


def write(path: str, content: t.Optional[str], access: Access) -> None:
    """Put the content there, whole and readable for nobody else at any moment; None removes the file."""
    if content is None:
        os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".%s." % os.path.basename(path))
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            os.fchown(stream.fileno(), access.uid, access.gid)
            os.fchmod(stream.fileno(), access.mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def shown(name: str, content: t.Optional[str], changes: bool) -> str:
    """For a diff: that something is there, and never what."""
    if content is None:
        return ""
    return "%s=%s\n" % (name, HIDDEN + (" changed" if changes else ""))
