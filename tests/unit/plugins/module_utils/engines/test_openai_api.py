# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every kind of answer by its recording from a real vLLM, or by its text from another server."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines import openai_api
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.connection import Answer
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.support import client, recorded

Replay = t.Callable[..., str]


def question(kind: str) -> openai_api.Question:
    return openai_api.Question(kind, "canary", "What is the capital of France?", 64)


def http(body: t.Any, status: int = 200, kind: str = "application/json") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d Text\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s" % (status, kind.encode(), text)


def events(*data: t.Any) -> bytes:
    body = b"".join(b"data: %s\n\n" % (line if isinstance(line, bytes) else json.dumps(line).encode()) for line in data)
    return http(body, kind="text/event-stream")


def choice(**content: t.Any) -> dict:
    return {"choices": [dict({"index": 0}, **content)]}


def test_models_recorded(replay: Replay) -> None:
    assert openai_api.models(client(replay("models"))) == ["canary"]


@pytest.mark.parametrize("body", [{"object": "list", "data": None}, {"object": "list", "data": []}])
def test_no_models(replay: Replay, body: dict) -> None:
    assert openai_api.models(client(replay(http(body)))) == []


@pytest.mark.parametrize(
    "name, kind, text, reason, tokens",
    [
        ("chat_stream", "chat", "The capital of France is Paris.", "stop", 9),
        ("chat_stream_one", "chat", "The", "length", 1),
        ("completion_stream", "completion", " Paris.", "stop", 4),
    ],
)
def test_streams_recorded(replay: Replay, name: str, kind: str, text: str, reason: str, tokens: int) -> None:
    reply = openai_api.ask(client(replay(name)), question(kind))
    assert (reply.text, reply.finish_reason, reply.tokens) == (text, reason, tokens)
    assert 0 <= t.cast(float, reply.ttft_s) <= t.cast(float, reply.latency_s) < 5


@pytest.mark.parametrize(
    "name, verdict, said",
    [
        ("unauthorized", "unauthorized", "401: Unauthorized"),
        ("model_not_found", "model_not_found", "The model `nope` does not exist. Valid aliases: canary."),
        ("no_route", openai_api.NO_ROUTE, "404: Not Found"),
        ("wrong_method", "not_an_openai_endpoint", "405: Method Not Allowed"),
        ("bad_request", "bad_request", "Field required"),
        ("bad_json", "bad_request", "JSON decode error"),
        ("too_long", "bad_request", "max_tokens=5000 cannot be greater than max_model_len=1024"),
        ("zero_tokens", "bad_request", "max_tokens must be at least 1"),
    ],
)
def test_refusals_recorded(name: str, verdict: str, said: str) -> None:
    status, headers, body = recorded(name)
    error = openai_api.refused_request(Answer(status, body, headers), "/v1/x")
    assert error.details == {"verdict": verdict, "http_status": status}
    assert said in str(error)


@pytest.mark.parametrize(
    "status, body, verdict",
    [
        (404, {"error": {"message": 'model "llama9" not found, try pulling it first'}}, "model_not_found"),  # Ollama
        (503, {"error": {"message": "Loading model", "code": 503}}, "loading"),  # llama.cpp
        (503, {"error": {"message": "The server is overloaded", "code": 503}}, "overloaded"),
        (503, b"<html><h1>503 Service Unavailable</h1></html>", "server_error"),  # nginx without its upstream
        (502, b"<html><h1>502 Bad Gateway</h1></html>", "server_error"),
        (500, {"error": {"message": "EngineCore encountered an issue."}}, "server_error"),
        (429, {"error": {"message": "slow down"}}, "overloaded"),
        (403, b"<html>403 Forbidden</html>", "unauthorized"),
        (301, b"", "not_an_openai_endpoint"),
        (404, b"<html>404 Not Found</html>", openai_api.NO_ROUTE),
        (400, [], "bad_request"),
    ],
)
def test_refusals_of_others(replay: Replay, status: int, body: t.Any, verdict: str) -> None:
    with pytest.raises(GpufleetError) as caught:
        openai_api.ask(client(replay(http(body, status))), question("chat"))
    assert caught.value.details == {"verdict": verdict, "http_status": status}
    assert "<h" not in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>It works!</html>", b"[]", b'{"data": "no"}', b'{"data": [1]}', b""])
def test_models_of_something_else(replay: Replay, body: bytes) -> None:
    with pytest.raises(GpufleetError) as caught:
        openai_api.models(client(replay(http(body))))
    assert caught.value.details["verdict"] == "not_an_openai_endpoint"


def test_thought_is_no_answer_but_counts_as_tokens(replay: Replay) -> None:
    thinking = [choice(delta={"reasoning": "Hm. "}), choice(delta={"reasoning_content": "France."})]
    stream = events(*thinking, choice(delta={"content": "Paris"}, finish_reason="stop"), b"[DONE]")
    reply = openai_api.ask(client(replay(stream)), question("chat"))
    assert (reply.text, reply.reasoning, reply.tokens) == ("Paris", "Hm. France.", 3)


@pytest.mark.parametrize(
    "stream, verdict, said",
    [
        (events(choice(delta={"content": "The"})), "server_error", "broke off after 1 tokens"),
        (events(b"[DONE]"), "server_error", "broke off after 0 tokens"),
        (events({"error": {"message": "EngineCore encountered"}}), "server_error", "EngineCore encountered"),
        (events(b"{half"), "not_an_openai_endpoint", "other than JSON"),
        (http({"choices": []}), "not_an_openai_endpoint", "does not stream"),
    ],
)
def test_broken_streams(replay: Replay, stream: bytes, verdict: str, said: str) -> None:
    with pytest.raises(GpufleetError, match=said) as caught:
        openai_api.ask(client(replay(stream)), question("chat"))
    assert caught.value.details["verdict"] == verdict


def test_events_however_they_are_cut() -> None:
    text = b': ping\r\n\r\nevent: x\ndata: {"a": 1}\r\n\r\ndata: caf\xc3\xa9\n\ndata:[DONE]\n\n'
    for size in (1, 2, 7, len(text)):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(openai_api._events(iter(pieces))) == ['{"a": 1}', "café", "[DONE]"], size


@pytest.mark.parametrize(
    "body, verdict",
    [
        (b'{"data": [{"embedding": [0.5, -0.25, 0]}]}', None),
        (b'{"data": [{"embedding": []}]}', "wrong_answer"),
        (b'{"data": [{"embedding": [0, 0.0]}]}', "wrong_answer"),
        (b'{"data": [{"embedding": [NaN, 1]}]}', "wrong_answer"),
        (b'{"data": []}', "not_an_openai_endpoint"),
        (b'{"data": [{"embedding": "AAAA"}]}', "not_an_openai_endpoint"),
    ],
)
def test_embeddings(replay: Replay, body: bytes, verdict: t.Optional[str]) -> None:
    endpoint = client(replay(http(body)))
    if verdict is None:
        assert openai_api.ask(endpoint, question("embedding")).embedding_dimensions == 3
        return
    with pytest.raises(GpufleetError) as caught:
        openai_api.ask(endpoint, question("embedding"))
    assert caught.value.details["verdict"] == verdict
