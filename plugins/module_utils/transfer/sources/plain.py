# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source that is asked over plain HTTP, without anybody's library: what such sources share."""

from __future__ import annotations

import time
import typing as t

from ...errors import GpufleetError
from ..transports import aria2, web
from ..transports.carrier import Carrier
from ..transports.terms import Terms
from .addressed import Addressed

FIRST_WAIT_S = 2.0  # then twice as long each time


class Plain(Addressed):
    """The token is read before the first request, and only then: a model that is there needs none."""

    sees_changes = False

    def __init__(
        self, label: str, transport: str, terms: Terms, token: t.Callable[[], t.Optional[str]] = lambda: None
    ) -> None:
        if transport in ("xet", "hf_transfer"):
            raise GpufleetError(
                "transport=%s: only a hub of Hugging Face offers it, and %s is none. Use auto, aria2 or http"
                % (transport, label)
            )
        self.label = label
        self.token: t.Optional[str] = None
        self._transport = transport
        self._terms = terms
        self._read_token = token
        self._client: t.Optional[web.Web] = None
        self._carrier: t.Optional[Carrier] = None

    def prepare(self) -> None:
        if self._carrier is None:
            self.log_in(self._read_token())

    def log_in(self, token: t.Optional[str]) -> None:
        """From now on, requests go with this token."""
        self.token = token
        access = web.Access.on(
            self._terms, token=token, cookie=self.cookie(), first_pause_s=FIRST_WAIT_S, explain=self.refused
        )
        self._client = web.Web(access, lambda seconds: time.sleep(seconds))  # pylint: disable=unnecessary-lambda
        together = aria2.choose(self._transport, self._terms, self._client.other_server if token else None)
        self._carrier = Carrier(self._client, together, self._terms.say)

    def client(self) -> web.Web:
        self.prepare()
        return t.cast(web.Web, self._client)

    def carrier(self) -> Carrier:
        self.prepare()
        return t.cast(Carrier, self._carrier)

    def cookie(self) -> t.Optional[str]:
        """The token once more, for a server that wants it so."""
        return None

    def refused(self, status: int, headers: t.Mapping[str, str], url: str) -> t.Optional[GpufleetError]:
        """What an answer that is none means; None where HTTP has said all."""
        return None

    def unchanged_since(self, record: t.Dict[str, t.Any]) -> bool:
        """What a revision is never changes."""
        return True
