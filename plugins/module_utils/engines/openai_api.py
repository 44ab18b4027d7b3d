# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an OpenAI-compatible server is asked, and what its answers mean."""

from __future__ import annotations

import json
import math
import time
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from .connection import Answer, Client, Stream, failure

NO_ROUTE = "no_route"  # internal: the server lacks this path, and another one may do


@dataclass(frozen=True)
class Question:
    """What to ask."""

    kind: str  # completion, chat or embedding
    model: str
    text: str
    max_tokens: int

    @property
    def path(self) -> str:
        paths = {"completion": "/v1/completions", "chat": "/v1/chat/completions", "embedding": "/v1/embeddings"}
        return paths[self.kind]

    def body(self) -> bytes:
        request: t.Dict[str, t.Any] = {"model": self.model}
        if self.kind == "embedding":
            request["input"] = self.text
        else:
            request.update(max_tokens=self.max_tokens, temperature=0, stream=True)
            request["stream_options"] = {"include_usage": True}
            if self.kind == "chat":
                request["messages"] = [{"role": "user", "content": self.text}]
            else:
                request["prompt"] = self.text
        return json.dumps(request).encode()


@dataclass
class Reply:
    """What came back, and how fast."""

    kind: str
    text: str = ""
    reasoning: str = ""
    finish_reason: t.Optional[str] = None
    tokens: t.Optional[int] = None
    ttft_s: t.Optional[float] = None
    tokens_per_s: t.Optional[float] = None
    latency_s: t.Optional[float] = None
    embedding_dimensions: t.Optional[int] = None


def models(client: Client) -> t.List[str]:
    """Names of the models that the server lists."""
    answer = client.get("/v1/models")
    if answer.status != 200:
        raise refused_request(answer, "/v1/models")
    data = _json_object(answer, "/v1/models").get("data")
    if data is None:  # Ollama without a model says null
        data = []
    if not isinstance(data, list) or not all(isinstance(entry, dict) and "id" in entry for entry in data):
        raise failure("not_an_openai_endpoint", "/v1/models does not list models", 200)
    return [str(entry["id"]) for entry in data]


def ask(client: Client, question: Question) -> Reply:
    """Send the question and read the whole reply; no token for ``client.timeout_s`` seconds is a ``timeout``."""
    stream = client.open("POST", question.path, question.body())
    try:
        if stream.status != 200:
            raise refused_request(stream.whole(client.timeout_s), question.path)
        if question.kind == "embedding":
            return _embedding(stream, client, question)
        return _tokens(stream, client, question)
    finally:
        stream.close()


def refused_request(answer: Answer, path: str) -> GpufleetError:
    """The failure that an answer other than 200 stands for."""
    text = message_in(answer)
    said = "%s answered %d%s" % (path, answer.status, ": " + text if text else "")
    return failure(_verdict(answer, text), said, answer.status)


def _verdict(answer: Answer, text: str) -> str:
    status, about = answer.status, text.lower()
    if status in (401, 403):
        return "unauthorized"
    if status == 404:
        return "model_not_found" if "model" in about else NO_ROUTE
    if status == 429:
        return "overloaded"
    if status == 503 and "load" in about and "overload" not in about:
        return "loading"
    if status == 503 and text:
        return "overloaded"
    if status >= 500:
        return "server_error"
    if status in (405, 406) or status < 400:
        return "not_an_openai_endpoint"
    return "bad_request"


def message_in(answer: Answer) -> str:
    """The server's own words, of the several shapes that servers use; empty for a page of HTML."""
    try:
        data = json.loads(answer.body)
    except ValueError:
        return ""
    if not isinstance(data, dict):
        return ""
    error = data.get("error", data.get("detail", data.get("message", "")))
    if isinstance(error, dict):
        error = error.get("message", "")
    return " ".join(str(error).split())[:500]


def _json_object(answer: Answer, path: str) -> t.Dict[str, t.Any]:
    try:
        data = json.loads(answer.body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise failure("not_an_openai_endpoint", "%s answered with something other than JSON" % path, answer.status)
    return data


def _embedding(stream: Stream, client: Client, question: Question) -> Reply:
    answer = stream.whole(client.timeout_s)
    latency_s = time.monotonic() - stream.began
    data = _json_object(answer, question.path).get("data")
    try:
        vector = [float(number) for number in data[0]["embedding"]]  # type: ignore[index]
    except (TypeError, KeyError, IndexError, ValueError):
        raise failure("not_an_openai_endpoint", "%s answered without an embedding" % question.path, 200) from None
    if not vector or not all(math.isfinite(number) for number in vector) or not any(vector):
        raise failure("wrong_answer", "the embedding is empty, all zero, or holds numbers that are not finite", 200)
    return Reply("embedding", latency_s=latency_s, embedding_dimensions=len(vector))


def _tokens(stream: Stream, client: Client, question: Question) -> Reply:
    reply = Reply(question.kind)
    clock = _Clock(stream.began, client.timeout_s)
    for event in _events(stream.pieces(clock.silence_left)):
        if event == "[DONE]":
            break
        _take(reply, _event_object(event, question.path), clock)
    if reply.finish_reason is None:
        raise failure("server_error", "the answer broke off after %d tokens" % clock.pieces, 200)
    reply.latency_s = time.monotonic() - stream.began
    reply.ttft_s = clock.first and clock.first - stream.began
    reply.tokens = clock.pieces if reply.tokens is None else reply.tokens
    # One piece may hold several tokens, so the rate goes by the server's own count where it gives one.
    if clock.first is not None and clock.alive > clock.first and reply.tokens > 1:
        reply.tokens_per_s = (reply.tokens - 1) / (clock.alive - clock.first)
    return reply


class _Clock:
    """When tokens came. Comments that only keep a proxy's connection alive are no sign of life of the engine."""

    def __init__(self, began: float, timeout_s: float) -> None:
        self.alive, self.timeout_s = began, timeout_s
        self.first: t.Optional[float] = None
        self.pieces = 0

    def silence_left(self) -> float:
        return self.alive + self.timeout_s - time.monotonic()

    def tick(self, token: bool) -> None:
        self.alive = time.monotonic()
        if token:
            self.first = self.alive if self.first is None else self.first
            self.pieces += 1


def _take(reply: Reply, event: t.Dict[str, t.Any], clock: _Clock) -> None:
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        text = choice.get("text") or delta.get("content") or ""
        reasoning = delta.get("reasoning") or delta.get("reasoning_content") or ""
        clock.tick(token=bool(text or reasoning))
        reply.text += text
        reply.reasoning += reasoning
        reply.finish_reason = choice.get("finish_reason") or reply.finish_reason
    usage = event.get("usage")
    if isinstance(usage, dict) and isinstance(usage.get("completion_tokens"), int):
        reply.tokens = usage["completion_tokens"]


def _event_object(event: str, path: str) -> t.Dict[str, t.Any]:
    try:
        data = json.loads(event)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise failure("not_an_openai_endpoint", "%s streams something other than JSON" % path, 200)
    if data.get("error"):
        text = message_in(Answer(200, event.encode()))
        raise failure("server_error", "the engine failed while it answered: %s" % text, 200)
    return data


def _events(pieces: t.Iterable[bytes]) -> t.Iterator[str]:
    """The data of server-sent events, one by one."""
    rest = b""
    plain = b""
    for piece in pieces:
        rest += piece
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[len(b"data:") :].strip().decode("utf-8", errors="replace")
            elif line.strip() and not line.startswith((b":", b"event:", b"id:", b"retry:")):
                plain = plain or line
    if plain or (rest.strip() and not rest.startswith(b":")):
        raise failure("not_an_openai_endpoint", "the server does not stream its answer as server-sent events", 200)
