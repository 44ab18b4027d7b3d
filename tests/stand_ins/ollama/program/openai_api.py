# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The endpoints that speak as OpenAI's."""

from __future__ import annotations

import base64
import re
import struct
import time
import typing as t

from .web import ApiError, Handler, Route

OPTIONS = {
    "temperature": "temperature", "top_p": "top_p", "seed": "seed", "stop": "stop", "max_tokens": "num_predict",
    "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
}  # fmt: skip


def routes(api: t.Any) -> t.List[Route]:
    found = OpenAi(api)
    return [
        Route(("GET",), re.compile("/v1/models"), found.models),
        Route(("GET",), re.compile("/v1/models/(.+)"), found.model),
        Route(("POST",), re.compile("/v1/chat/completions"), found.chat),
        Route(("POST",), re.compile("/v1/completions"), found.completions),
        Route(("POST",), re.compile("/v1/embeddings"), found.embeddings),
    ]


def error_body(error: ApiError) -> t.Dict[str, t.Any]:
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(error.status, "api_error")
    return {"error": {"message": str(error), "type": kind, "param": None, "code": None}}


def last_text(messages: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    content = messages[-1].get("content") or ""
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content


class OpenAi:
    def __init__(self, api: t.Any) -> None:
        self._api = api

    def models(self, http: Handler) -> None:
        rows = [self._row(manifest) for manifest in self._api.store.all()]
        http.reply_json({"object": "list", "data": rows})

    def model(self, http: Handler, text: str) -> None:
        http.reply_json(self._row(self._api.model({"model": text}, "model '%s' not found").manifest))

    @staticmethod
    def _row(manifest: t.Any) -> t.Dict[str, t.Any]:
        return {"id": manifest.name.short, "object": "model", "created": int(manifest.modified),
                "owned_by": manifest.name.namespace}  # fmt: skip

    def chat(self, http: Handler) -> None:
        request = http.json()
        if not request.get("messages"):
            raise ApiError(400, "[] is too short - 'messages'")
        form = (request.get("response_format") or {}).get("type")
        self._complete(http, request, last_text(request["messages"]), "chat", form if form != "text" else None)

    def completions(self, http: Handler) -> None:
        request = http.json()
        prompt = request.get("prompt")
        self._complete(http, request, prompt if isinstance(prompt, str) else "".join(prompt or []), "completion", None)

    def embeddings(self, http: Handler) -> None:
        request = http.json()
        given = request.get("input")
        if not given:
            raise ApiError(400, "invalid input")
        texts = [given] if isinstance(given, str) else list(given)
        rows = []
        with self._api.using(self._api.model(request, 'model "%s" not found, try pulling it first'), {}) as run:
            for number, text in enumerate(texts):
                vector: t.Any = run.vector(text, request.get("dimensions"))
                if request.get("encoding_format") == "base64":
                    vector = base64.b64encode(struct.pack("<%df" % len(vector), *vector)).decode()
                rows.append({"object": "embedding", "embedding": vector, "index": number})
        used = sum(len(text.split()) for text in texts)
        http.reply_json({"object": "list", "data": rows, "model": request["model"],
                         "usage": {"prompt_tokens": used, "total_tokens": used}})  # fmt: skip

    def _complete(
        self, http: Handler, request: t.Mapping[str, t.Any], prompt: str, kind: str, form: t.Optional[str]
    ) -> None:
        if not request.get("model"):
            raise ApiError(400, "model is required")
        model = self._api.model(request, "model '%s' not found")
        if request.get("tools") and "tools" not in model.capabilities():
            raise ApiError(400, "%s does not support tools" % model.name.short)
        options = {ours: request[theirs] for theirs, ours in OPTIONS.items() if request.get(theirs) is not None}
        with self._api.using(model, {"model": request["model"], "options": options}) as run:
            pieces = run.pieces(prompt, form, http)
            answer = Answer(request, kind)
            if not request.get("stream"):
                text = "".join(pieces)
                http.reply_json(answer.whole(text, run))
                return
            for text in pieces:
                http.event(answer.chunk(text, None))
            http.event(answer.chunk("", run.reason))
            if (request.get("stream_options") or {}).get("include_usage"):
                http.event(dict(answer.chunk("", None), choices=[], usage=usage(run)))
            http.event("[DONE]")
            http.end()


class Answer:
    def __init__(self, request: t.Mapping[str, t.Any], kind: str) -> None:
        self._chat = kind == "chat"
        self._head = {
            "id": ("chatcmpl-%d" if self._chat else "cmpl-%d") % (time.time_ns() % 1000),
            "created": int(time.time()), "model": request["model"], "system_fingerprint": "fp_ollama",
        }  # fmt: skip
        self._first = True

    def whole(self, text: str, run: t.Any) -> t.Dict[str, t.Any]:
        inside = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = dict({"index": 0}, **inside, finish_reason=run.reason)
        kind = "chat.completion" if self._chat else "text_completion"
        return dict(self._head, object=kind, choices=[choice], usage=usage(run))

    def chunk(self, text: str, reason: t.Optional[str]) -> t.Dict[str, t.Any]:
        inside: t.Dict[str, t.Any] = {"text": text}
        if self._chat:
            inside = {"delta": dict({"role": "assistant"} if self._first else {}, content=text)}
        self._first = False
        choice = dict({"index": 0}, **inside, finish_reason=reason)
        return dict(self._head, object="chat.completion.chunk" if self._chat else "text_completion", choices=[choice])


def usage(run: t.Any) -> t.Dict[str, int]:
    return {"prompt_tokens": run.prompt_tokens, "completion_tokens": run.count,
            "total_tokens": run.prompt_tokens + run.count}  # fmt: skip
