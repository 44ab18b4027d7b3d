# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at an endpoint, from the port up to an answer, and the verdict on it."""

from __future__ import annotations

import json
import typing as t
from dataclasses import asdict, dataclass, field

from ..errors import GpufleetError
from . import on_gpu, openai_api, vllm_metrics
from .connection import Client, failure

STATES = ("listening", "healthy", "serving", "answering")
KINDS = ("auto", "chat", "completion", "embedding")
HEALTH_PATH = {"vllm": "/health", "tensorrt_llm": "/health", "ollama": "/", "generic": None}
VERSION_PATH = {"vllm": "/version", "tensorrt_llm": "/version", "ollama": "/api/version", "generic": None}

# What time alone may mend is looked at again until the deadline; the rest is final at once.
PASSING = ("refused", "not_listening", "loading", "unreachable", "timeout", "hung", "overloaded", "server_error")
ADVICE = {
    "ok": "",
    "refused": "Nothing listens there: start the service, or correct url.",
    "not_listening": "The server has not opened its port yet. Wait longer (deadline), or read its log.",
    "unreachable": "Check the host name and the route from this host.",
    "loading": "The model is being loaded. Wait longer (deadline).",
    "timeout": "The server takes connections and does not answer. Raise timeout, or read its log.",
    "hung": "The server looks healthy and its engine makes no tokens. Restart the service; its log tells since when.",
    "overloaded": "The engine is busy with other requests. Try again later, or give it more capacity.",
    "unauthorized": "Set api_key_file to a file that holds the key that this server accepts.",
    "model_not_found": "Set model to a name that the server lists.",
    "server_error": "Read the server's log.",
    "cpu_fallback": "The driver may be too old for this engine, or was changed under it: the engine's log says what it found.",
    "gpu_unknown": "See that the GPU driver answers on this host (nvidia-smi), and that tools_python has nvidia-ml-py.",
    "bad_request": "The server understands the API and declines this request: correct the option that it names.",
    "wrong_answer": "The engine answers, but not as expected: check the model, its revision and its quantization.",
    "tls_error": "Let url say https exactly when the server speaks TLS; check ca_path, client_cert and client_key.",
    "not_an_openai_endpoint": "Something else has this address, or url has a wrong path, or engine is wrong.",
    "service_failed": "The service cannot run as it is configured: its last journal lines say why.",
}
VERDICTS = tuple(ADVICE)


@dataclass(frozen=True)
class Wish:
    """What to look for."""

    state: str = "answering"
    engine: str = "generic"
    model: t.Optional[str] = None
    kind: str = "auto"
    prompt: t.Optional[str] = None
    expected: t.Optional[str] = None
    max_tokens: t.Optional[int] = None

    def check(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise GpufleetError("max_tokens=%d: must be at least 1" % self.max_tokens)
        if self.expected is not None and not self.expected.strip():
            raise GpufleetError("expected is empty: leave it out, or give the text to look for")
        if self.expected is not None and self.kind == "embedding":
            raise GpufleetError("expected=%s: an embedding has no text; leave it out" % self.expected)
        if self.expected is not None and self.state != "answering":
            raise GpufleetError("expected=%s needs state=answering, not %s" % (self.expected, self.state))


@dataclass
class Look:
    """What was seen. ``verdict`` is one of VERDICTS."""

    verdict: str = "ok"
    detail: str = ""
    advice: str = ""
    http_status: t.Optional[int] = None
    healthy: t.Optional[bool] = None
    models: t.List[str] = field(default_factory=list)
    model: t.Optional[str] = None
    engine_version: t.Optional[str] = None
    kind: t.Optional[str] = None
    text: t.Optional[str] = None
    finish_reason: t.Optional[str] = None
    tokens: t.Optional[int] = None
    ttft_s: t.Optional[float] = None
    tokens_per_s: t.Optional[float] = None
    latency_s: t.Optional[float] = None
    embedding_dimensions: t.Optional[int] = None
    gpu_memory: t.Optional[t.List[t.Dict[str, t.Any]]] = None

    @property
    def ok(self) -> bool:
        return self.verdict == "ok"

    def as_dict(self) -> t.Dict[str, t.Any]:
        return dict(asdict(self), ok=self.ok)


def look(client: Client, wish: Wish, place: t.Optional[on_gpu.Place] = None) -> Look:
    """Look once, as far up as ``wish.state`` asks, and then where it runs. Never raises for what the server does."""
    seen = Look()
    try:
        _climb(client, wish, seen)
        if place is not None:
            seen.gpu_memory = on_gpu.check(client, wish.engine, seen.model or "the server", place)
    except GpufleetError as error:
        if "verdict" not in error.details:
            raise
        seen.verdict, seen.detail = error.details["verdict"], str(error)
        seen.http_status = error.details.get("http_status")
        if seen.verdict == openai_api.NO_ROUTE:
            seen.verdict = "not_an_openai_endpoint"
    seen.advice = ADVICE[seen.verdict]
    return seen


def _climb(client: Client, wish: Wish, seen: Look) -> None:
    if wish.state == "listening":
        seen.http_status = client.get(HEALTH_PATH[wish.engine] or "/v1/models").status
        seen.detail = "%s answers HTTP" % client.address.place
        return
    _health(client, wish, seen)
    seen.engine_version = _version(client, wish)
    if wish.state == "healthy":
        return
    seen.models = openai_api.models(client)
    seen.model = _choose_model(wish, seen.models)
    if wish.state == "serving":
        seen.detail = "%s serves %s" % (client.address.place, seen.model)
    else:
        _answer(client, wish, seen)


def _health(client: Client, wish: Wish, seen: Look) -> None:
    path = HEALTH_PATH[wish.engine]
    answer = client.get(path or "/v1/models")
    seen.http_status = answer.status
    if answer.status != 200:
        if path == "/health" and answer.status == 503 and not answer.body:  # vLLM's way to say so
            raise failure("server_error", "/health answered 503: the engine's process has died", 503)
        raise openai_api.refused_request(answer, path or "/v1/models")
    seen.healthy = True
    seen.detail = "%s is healthy" % client.address.place


def _choose_model(wish: Wish, models: t.List[str]) -> str:
    if wish.model is None:
        if not models:
            raise failure("model_not_found", "the server lists no model", 200)
        return models[0]
    names = (wish.model, wish.model + ":latest") if wish.engine == "ollama" else (wish.model,)
    if not any(name in models for name in names):
        listed = ", ".join(models) or "none"
        raise failure("model_not_found", "the server does not list model=%s; it lists %s" % (wish.model, listed), 200)
    return wish.model


def _answer(client: Client, wish: Wish, seen: Look) -> None:
    before = _work_done(client, wish)
    try:
        reply = _ask(client, wish, seen)
    except GpufleetError as error:
        verdict = error.details.get("verdict")
        if verdict == openai_api.NO_ROUTE:
            text = "%s is served, but not for %s: %s" % (seen.model, seen.kind, error)
            raise failure("bad_request", text, error.details["http_status"]) from None
        if verdict == "timeout":
            raise _silence(client, wish, seen, before) from None
        raise
    seen.kind, seen.finish_reason, seen.tokens = reply.kind, reply.finish_reason, reply.tokens
    seen.text = None if reply.kind == "embedding" else reply.text
    seen.ttft_s, seen.latency_s = _rounded(reply.ttft_s, 4), _rounded(reply.latency_s, 4)
    seen.tokens_per_s = _rounded(reply.tokens_per_s, 2)
    seen.embedding_dimensions = reply.embedding_dimensions
    if wish.expected is not None and wish.expected.casefold() not in reply.text.casefold():
        answer = reply.text or "nothing, after %d characters of thought" % len(reply.reasoning)
        text = "%s was expected to say %s, and said: %s" % (seen.model, wish.expected, answer)
        raise failure("wrong_answer", text, 200)
    seen.detail = "%s answered in %.3f s" % (seen.model, reply.latency_s or 0.0)


def _ask(client: Client, wish: Wish, seen: Look) -> openai_api.Reply:
    """The probe itself. With kind=auto the server's own refusals lead from one kind to the next."""
    if wish.kind != "auto":
        kinds: t.Tuple[str, ...] = (wish.kind,)
    elif wish.prompt is not None:
        kinds = ("chat", "completion", "embedding")
    else:  # a completion needs no chat template
        kinds = ("completion", "chat", "embedding")
    if wish.expected is not None:
        kinds = tuple(kind for kind in kinds if kind != "embedding")
    refusals = []
    for kind in kinds:
        seen.kind = kind
        default = 1 if wish.expected is None else 64
        question = openai_api.Question(kind, str(seen.model), wish.prompt or "Hello", wish.max_tokens or default)
        try:
            return openai_api.ask(client, question)
        except GpufleetError as error:
            verdict = error.details.get("verdict")
            if verdict != openai_api.NO_ROUTE and not (verdict == "bad_request" and _is_about_kind(str(error))):
                raise
            refusals.append(error)
    raise refusals[0]


def _rounded(value: t.Optional[float], digits: int) -> t.Optional[float]:
    return None if value is None else round(value, digits)


def _is_about_kind(message: str) -> bool:
    about = message.lower()
    return "chat template" in about or "does not support" in about


def _silence(client: Client, wish: Wish, seen: Look, before: t.Optional[float]) -> GpufleetError:
    """The port answers and the engine does not: is it loading, busy with others, or stuck?"""
    said = "healthy, and no token from %s for %g s" % (seen.model, client.timeout_s)
    if wish.engine == "ollama" and seen.model not in _loaded_by_ollama(client):
        return failure("loading", "%s: Ollama has not loaded it yet" % said)
    after = _work_done(client, wish)
    if before is not None and after is not None and after > before:
        return failure("overloaded", "%s, while it made %d tokens for others" % (said, after - before))
    return failure("hung", said)


def _work_done(client: Client, wish: Wish) -> t.Optional[float]:
    if wish.engine != "vllm":
        return None
    try:
        answer = client.get("/metrics")
        return vllm_metrics.work_done(answer.text) if answer.status == 200 else None
    except GpufleetError:  # a gateway may hide it; the verdict is then less fine
        return None


def _loaded_by_ollama(client: Client) -> t.List[str]:
    try:
        loaded = json.loads(client.get("/api/ps").body)["models"]
        names = [str(entry["name"]) for entry in loaded]
    except (GpufleetError, ValueError, KeyError, TypeError):
        return []
    return names + [name[: -len(":latest")] for name in names if name.endswith(":latest")]


def _version(client: Client, wish: Wish) -> t.Optional[str]:
    path = VERSION_PATH[wish.engine]
    if path is None:
        return None
    try:
        return str(json.loads(client.get(path).body)["version"])
    except (GpufleetError, ValueError, KeyError, TypeError):
        return None
