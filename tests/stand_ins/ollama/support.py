# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Talking to a server of Ollama in one line, with nothing between: what a test sees is what was sent."""

from __future__ import annotations

import hashlib
import http.client
import json
import typing as t
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: t.Dict[str, str]
    body: bytes
    complete: bool  # False: the connection ended before the answer did

    @property
    def json(self) -> t.Any:
        return json.loads(self.body)

    @property
    def lines(self) -> t.List[t.Dict[str, t.Any]]:
        return [json.loads(line) for line in self.body.splitlines() if line]

    @property
    def error(self) -> str:
        """The message of an error answer, or of a stream that ended with one."""
        return self.lines[-1].get("error", "") if self.body else ""


def call(url: str, method: str, path: str, body: t.Any = None, timeout: float = 30, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        complete = True
        try:
            found = answer.read()
        except http.client.IncompleteRead as error:
            found, complete = error.partial, False
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, found, complete)
    finally:
        connection.close()


def push(url: str, content: bytes) -> str:
    """Upload a blob and say its digest."""
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    answer = call(url, "POST", "/api/blobs/" + digest, content)
    assert answer.status in (200, 201), answer
    return digest


def create(url: str, model: str, files: t.Optional[t.Mapping[str, bytes]] = None, **fields: t.Any) -> Answer:
    """Upload the files and create a model of them; or pass ``from`` among the fields."""
    if files:
        fields["files"] = {name: push(url, content) for name, content in files.items()}
    return call(url, "POST", "/api/create", dict(fields, model=model))
