# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ollama's own API. Every failure is a GpufleetError that says where, and quotes the server."""

from __future__ import annotations

import json
import typing as t

from ...errors import GpufleetError
from ...planning.ollama import values
from ..connection import Address, Answer, Client, Security, Stream, Upload

MOST_LINE_BYTES = 8 * 1024 * 1024  # api/client.go
Json = t.Dict[str, t.Any]


class Watch:
    """Whoever reads a stream: hears every line, and says how long the next one may take."""

    def silence_left(self) -> float:
        raise NotImplementedError

    def line(self, line: Json) -> None:
        raise NotImplementedError

    def too_long(self) -> GpufleetError:
        """What to raise when the next line did not come in time."""
        raise NotImplementedError


class Refused(GpufleetError):
    """The server's own error: ``said`` is its text, ``status`` the HTTP status (200 in the middle of a stream)."""

    def __init__(self, message: str, said: str, status: int) -> None:
        super().__init__(message, server_error=said, http_status=status)
        self.said, self.status = said, status


class Api:
    """One server. ``timeout_s`` is for requests that are answered at once."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url, self.timeout_s = url, timeout_s
        self._address = Address.parse(url)

    def version(self) -> str:
        return str(self._json("GET", "/api/version").get("version") or "")

    def tags(self) -> t.List[Json]:
        return self._models("/api/tags")

    def ps(self) -> t.List[Json]:
        return self._models("/api/ps")

    def show(self, name: str) -> Json:
        return self._json("POST", "/api/show", {"model": name})

    def copy(self, source: str, destination: str) -> None:
        self._answer("POST", "/api/copy", {"source": source, "destination": destination})

    def delete(self, name: str) -> None:
        self._answer("DELETE", "/api/delete", {"model": name})

    def pull(self, name: str, insecure: bool, watch: Watch) -> None:
        self._stream("/api/pull", {"model": name, "insecure": insecure, "stream": True}, watch)

    def create(self, request: Json, watch: Watch) -> None:
        self._stream("/api/create", dict(request, stream=True), watch)

    def load(self, name: str, keep_alive: t.Optional[float], embedding: bool, timeout_s: float) -> None:
        """Have it in memory. The answer comes when it is."""
        path = "/api/embed" if embedding else "/api/generate"
        request: Json = {"model": name, "input": []} if embedding else {"model": name, "stream": False}
        if keep_alive is not None:
            request["keep_alive"] = _keep_alive(keep_alive)
        self._answer("POST", path, request, timeout_s)

    def unload(self, name: str) -> None:
        self._answer("POST", "/api/generate", {"model": name, "keep_alive": 0, "stream": False})

    def has_blob(self, sha256: str) -> bool:
        path = "/api/blobs/sha256:" + sha256
        answer = self._ask("HEAD", path, None, self.timeout_s)
        if answer.status not in (200, 404):
            raise self._refused("HEAD " + path, answer)
        return answer.status == 200

    def push_blob(self, sha256: str, upload: Upload, timeout_s: float) -> None:
        path = "/api/blobs/sha256:" + sha256
        answer = self._ask("POST", path, upload, timeout_s)
        if answer.status not in (200, 201):
            raise self._refused("POST " + path, answer)

    def _models(self, path: str) -> t.List[Json]:
        models = self._json("GET", path).get("models") or []
        if not isinstance(models, list) or not all(isinstance(one, dict) for one in models):
            raise self._not_ollama(path)
        return models

    def _json(self, method: str, path: str, body: t.Optional[Json] = None) -> Json:
        answer = self._answer(method, path, body)
        try:
            data = json.loads(answer.body)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise self._not_ollama(path)
        return data

    def _answer(
        self, method: str, path: str, body: t.Optional[Json] = None, timeout_s: t.Optional[float] = None
    ) -> Answer:
        content = None if body is None else json.dumps(body).encode()
        answer = self._ask(method, path, content, self.timeout_s if timeout_s is None else timeout_s)
        if answer.status != 200:
            raise self._refused("%s %s" % (method, path), answer)
        return answer

    def _ask(self, method: str, path: str, body: t.Union[None, bytes, Upload], timeout_s: float) -> Answer:
        stream = self._open(method, path, body, timeout_s)
        try:
            return stream.whole(timeout_s)
        except GpufleetError as error:
            raise self._placed(error) from None
        finally:
            stream.close()

    def _open(self, method: str, path: str, body: t.Union[None, bytes, Upload], timeout_s: float) -> Stream:
        try:
            return Client(self._address, Security(), timeout_s).open(method, path, body)
        except GpufleetError as error:
            raise self._placed(error) from None

    def _stream(self, path: str, body: Json, watch: Watch) -> None:
        """Read to the end. Only a last line that says success is one; everything else is a failure."""
        try:
            stream = self._open("POST", path, json.dumps(body).encode(), watch.silence_left())
        except GpufleetError as error:
            raise watch.too_long() if error.details.get("verdict") == "timeout" else error
        last: Json = {}
        try:
            if stream.status != 200:
                raise self._refused("POST " + path, stream.whole(self.timeout_s))
            stream.most_bytes = None
            for line in _lines(stream, watch):
                last = self._line(line, path)
                if last.get("error"):
                    raise Refused("%s said: %s" % (self.url, last["error"]), str(last["error"]), 200)
                watch.line(last)
        except GpufleetError as error:
            if error.details.get("verdict") == "timeout":
                raise watch.too_long() from None
            raise self._placed(error) from None
        finally:
            stream.close()  # of a pull, this stops the download; what is there stays
        if last.get("status") != "success":
            raise GpufleetError(
                "url=%s ended its answer to %s without success, after %r. It was stopped or has crashed: look at its "
                "log, and run again." % (self.url, path, str(last.get("status") or "nothing"))
            )

    def _line(self, line: bytes, path: str) -> Json:
        try:
            data = json.loads(line)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise self._not_ollama(path)
        return data

    def _refused(self, what: str, answer: Answer) -> GpufleetError:
        try:
            said = json.loads(answer.body).get("error") or ""
        except (ValueError, AttributeError):
            said = ""
        if answer.status == 403 and not answer.body:
            return GpufleetError(
                "url=%s refuses the host name of this request (403): a server that listens on loopback answers to "
                "localhost and addresses only. Give url with 127.0.0.1." % self.url
            )
        if not said and answer.status in (404, 405, 501):
            return self._not_ollama(what)
        said = " ".join(str(said or answer.text).split())[:500]
        return Refused("%s answered %s with %d: %s" % (self.url, what, answer.status, said), said, answer.status)

    def _not_ollama(self, path: str) -> GpufleetError:
        return GpufleetError("url=%s is no Ollama server: its answer to %s is not Ollama's." % (self.url, path))

    def _placed(self, error: GpufleetError) -> GpufleetError:
        """A failure of the connection, with what to look at."""
        verdict = error.details.get("verdict")
        if verdict is None:
            return error
        hints = {
            "refused": "Is Ollama running there? A server that is started listens before it answers.",
            "not_listening": "Is Ollama running there?",
            "unreachable": "Is url right?",
            "timeout": "A server that starts looks for GPUs first, which may take minutes.",
            "not_an_openai_endpoint": "Is url right?",
            "server_error": "It was stopped or has crashed: look at its log, and run again.",
        }
        hint = hints.get(str(verdict), "")
        return GpufleetError(("url=%s: %s. %s" % (self.url, error, hint)).rstrip(), **error.details)


def _lines(stream: Stream, watch: Watch) -> t.Iterator[bytes]:
    rest = b""
    for piece in stream.pieces(watch.silence_left):
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > MOST_LINE_BYTES:
            raise GpufleetError("the server sent a line of more than %d bytes" % MOST_LINE_BYTES)
        for line in whole:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


def _keep_alive(seconds: float) -> t.Union[int, str]:
    if seconds < 0:
        return -1
    return int(seconds) if seconds == int(seconds) else values.duration(seconds)
