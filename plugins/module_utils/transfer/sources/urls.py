# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model files from anywhere on the web: the user gives their addresses and their hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ...errors import GpufleetError
from ..files import ModelFile
from ..selection import RECORD
from ..transports.terms import Terms
from .plain import Plain


@dataclass(frozen=True)
class Address:
    """A file as the user describes it."""

    path: str
    url: str
    sha256: str
    size: t.Optional[int]
    query: str  # may be a signature, so nobody is shown it


class UrlsSource(Plain):
    """Files whose revision is the digest of their paths and hashes, which is known before anybody is asked."""

    kind = "url"

    def __init__(
        self,
        name: str,
        files: t.Sequence[t.Dict[str, t.Any]],
        revision: t.Optional[str],
        transport: str,
        terms: Terms,
        token: t.Callable[[], t.Optional[str]],
        has_token: bool,
    ) -> None:
        self._files = addresses(files)
        servers = sorted({urllib.parse.urlsplit(one.url).netloc.lower() for one in self._files})
        if has_token and len(servers) > 1:
            raise GpufleetError(
                "files names %d servers, and the token would go to each of them: %s. Give every server's files "
                "a task and a name of their own" % (len(servers), ", ".join(servers))
            )
        self.name = name
        self.revision = digest_of(self._files)
        if revision not in (None, self.revision):
            raise GpufleetError("files has the digest %s, but revision=%s is asked for" % (self.revision, revision))
        self._by_path = {one.path: one for one in self._files}
        self._secrets = sorted({one.query for one in self._files if one.query}, key=len, reverse=True)
        terms = dataclasses.replace(terms, say=lambda text, say=terms.say: say(self._hidden(text)))  # type: ignore[misc]
        super().__init__("%s from %s" % (name, ", ".join(servers)), transport, terms, token)

    def resolve(self) -> str:
        return self.revision

    def listing(self, revision: str) -> t.List[ModelFile]:
        """The user's own, with the sizes that were not given as the servers say them."""
        self.prepare()
        with ThreadPoolExecutor(self.terms.max_workers) as pool:
            return list(pool.map(self._file, self._files))

    def address(self, one: ModelFile, revision: str) -> str:
        return _whole(self._by_path[one.path])

    def fetch(self, one: ModelFile, revision: str, folder: str) -> str:
        try:
            return super().fetch(one, revision, folder)
        except GpufleetError as error:
            raise self._showable(error) from None

    def record_fields(self) -> t.Dict[str, t.Any]:
        return {"urls": {one.path: one.url for one in self._files}}

    def refused(self, status: int, headers: t.Mapping[str, str], url: str) -> t.Optional[GpufleetError]:
        shown = url.partition("?")[0]
        if status in (401, 403):
            return GpufleetError(
                "%s: HTTP %d. The server wants a token: set token_file. If it was presigned, its time may be over: "
                "give a new query" % (shown, status)
            )
        return GpufleetError("%s: HTTP %d. Check url" % (shown, status)) if status in (404, 410) else None

    def _file(self, one: Address) -> ModelFile:
        size = one.size
        if size is None:
            try:
                size = self.client().size(_whole(one))
            except GpufleetError as error:
                raise self._showable(error) from None
        if size is None:
            raise GpufleetError("%s: the server does not say how large it is: give its size in files" % one.url)
        return ModelFile(one.path, size, sha256=one.sha256)

    def _showable(self, error: GpufleetError) -> GpufleetError:
        return type(error)(self._hidden(str(error)), **error.details)

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace("?" + secret, "")
        return text


def addresses(rows: t.Sequence[t.Dict[str, t.Any]]) -> t.List[Address]:
    """The files that the user names; GpufleetError that says which of them cannot be, and why."""
    found: t.Dict[str, Address] = {}
    for number, row in enumerate(rows, 1):
        one = _address(row, "files, number %d" % number)
        if one.path in found:
            raise GpufleetError("files, number %d: %s is named twice. Set path for one of them" % (number, one.path))
        found[one.path] = one
    for path in found:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in found:
                raise GpufleetError("files: %s cannot be a file and hold %s" % (parent, path))
            parent = parent.rpartition("/")[0]
    if not found:
        raise GpufleetError("files is empty: name at least one")
    return list(found.values())


def digest_of(files: t.Iterable[Address]) -> str:
    """sha256 over every file's path and sha256, in the order of the paths."""
    digest = hashlib.sha256()
    for one in sorted(files, key=lambda one: one.path):
        digest.update(("%s\0%s\n" % (one.path, one.sha256)).encode())
    return digest.hexdigest()


def _address(row: t.Dict[str, t.Any], where: str) -> Address:
    url = _checked_url(row["url"], where)
    sha256 = row["sha256"].lower()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise GpufleetError("%s: sha256=%s is not 64 hexadecimal digits" % (where, row["sha256"]))
    size = row.get("size")
    if size is not None and size < 0:
        raise GpufleetError("%s: size=%d: give bytes" % (where, size))
    path = row.get("path") or urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
    parts = path.split("/")
    if {"", ".", ".."} & set(parts) or re.search(r"[\\\x00-\x1f\x7f]", path) or path == RECORD:
        raise GpufleetError(
            "%s: path=%r is no name of a file in the model: give one that is relative, without .." % (where, path)
        )
    return Address(path, url, sha256, size, (row.get("query") or "").lstrip("?"))


def _checked_url(url: str, where: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        wrong = not parts.hostname or not (parts.port or True)
    except ValueError:
        raise GpufleetError("%s: url is no address" % where) from None
    if "@" in parts.netloc:  # not shown
        raise GpufleetError("%s: url holds a user name or a password. Take it away and set token_file" % where)
    if parts.query or parts.fragment or "?" in url:
        raise GpufleetError(
            "%s: what follows the question mark of %s goes into query, which nobody is shown, for it may be a signature"
            % (where, url.partition("?")[0].partition("#")[0])
        )
    if parts.scheme == "file":
        raise GpufleetError("%s: url=%s lies on the host: give its directory as source" % (where, url))
    if parts.scheme not in ("http", "https") or wrong:
        raise GpufleetError("%s: url=%s: give an address with http:// or https://" % (where, url))
    if re.search(r"[^\x21-\x7e]", url):
        raise GpufleetError("%s: url=%r: write spaces and other letters than ASCII's as %%20 and the like" % (where, url))
    return url


def _whole(one: Address) -> str:
    return one.url + ("?" + one.query if one.query else "")
