# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source that is asked over plain HTTP, without anybody's library: what such sources share."""

from __future__ import annotations

import json
import re
import time
import typing as t

from ...errors import GpufleetError
from ...sizes import MIB
from ..files import ModelFile
from ..transports import aria2, web
from ..transports.carrier import Carrier, Together
from ..transports.terms import Terms
from .addressed import Addressed

FIRST_WAIT_S = 2.0  # then twice as long each time
_MOST = 256 * MIB  # of a list of files: a million
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_RETRIES = 3  # of a question: whoever gave a wrong address should not wait for minutes


class Plain(Addressed):
    """The token is read before the first request, and only then: a model that is there needs none."""

    sees_changes = False
    answers_as = ""  # whose protocol it is
    transports: t.Tuple[str, ...] = ("auto", "aria2", "http")

    def __init__(
        self, label: str, transport: str, terms: Terms, token: t.Callable[[], t.Optional[str]] = lambda: None
    ) -> None:
        if transport not in self.transports:
            raise GpufleetError(
                "transport=%s: only a hub of Hugging Face offers it, and %s is none. Use auto, aria2 or http"
                % (transport, label)
            )
        self.label = label
        self.token: t.Optional[str] = None
        self.transport = transport
        self.terms = terms
        self._read_token = token
        self._client: t.Optional[web.Web] = None
        self._carrier: t.Optional[Carrier] = None

    @property
    def prepared(self) -> bool:
        return self._carrier is not None

    def prepare(self) -> None:
        if not self.prepared:
            self.log_in(self._read_token())

    def log_in(self, token: t.Optional[str]) -> None:
        """From now on, requests go with this token."""
        self.token = token
        access = web.Access.on(
            self.terms, token=token, cookie=self.cookie(), first_pause_s=FIRST_WAIT_S, explain=self.refused
        )
        self._client = web.Web(access, lambda seconds: time.sleep(seconds))  # pylint: disable=unnecessary-lambda
        self._carrier = Carrier(self._client, self.together(self._client), self.terms.say)

    def together(self, client: web.Web) -> t.Optional[Together]:
        """What brings many of its files at once."""
        return aria2.choose(self.transport, self.terms, client.other_server if self.token else None)

    def client(self) -> web.Web:
        self.prepare()
        return t.cast(web.Web, self._client)

    def carrier(self) -> Carrier:
        self.prepare()
        return t.cast(Carrier, self._carrier)

    def ask(self, url: str) -> t.Tuple[t.Any, t.Mapping[str, str]]:
        """What a server answers in JSON, and the headers of it."""
        raw, headers = self.client().answer(url, retries=_RETRIES, most=_MOST)
        try:
            return json.loads(raw.decode("utf-8")), headers
        except (ValueError, RecursionError):
            raise self.foreign("its answer is no JSON. A proxy or a login page may be in between") from None

    def listed(self, path: str, size: t.Any, sha256: t.Any = None, git_sha1: t.Any = None) -> ModelFile:
        """A file as a server tells of it; GpufleetError when that is not enough to know it by."""
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise self.foreign("the size of %s is %r" % (path, size))
        if _SHA256.fullmatch(str(sha256)):
            return ModelFile(path, size, sha256=sha256)
        if sha256 or not _SHA1.fullmatch(str(git_sha1)):
            raise GpufleetError("%s states no hash of %s, so nobody could tell whether it arrives right" % (self.label, path))
        return ModelFile(path, size, git_sha1=git_sha1)

    def foreign(self, what: str) -> GpufleetError:
        return GpufleetError("%s does not answer as %s does: %s. Check endpoint" % (self.label, self.answers_as, what))

    def cookie(self) -> t.Optional[str]:
        """The token once more, for a server that wants it so."""
        return None

    def refused(self, status: int, headers: t.Mapping[str, str], url: str) -> t.Optional[GpufleetError]:
        """What an answer that is none means; None where HTTP has said all."""
        return None

    def unchanged_since(self, record: t.Dict[str, t.Any]) -> bool:
        """What a revision is never changes."""
        return True
