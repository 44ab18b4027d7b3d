# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ollama's own endpoints."""

from __future__ import annotations

import math
import random
import re
import threading
import time
import typing as t
from collections import deque

from . import answers, create, download, names, openai_api
from .environment import MAX_DURATION_NS, SECOND_NS, Environment, parse_duration
from .model import Broken, Model, go_value
from .modes import Modes
from .scheduler import Busy, LoadError, Runner, Scheduler, timestamp
from .store import DigestMismatch, Store
from .web import ApiError, Application, Handler, Hangup, Route

GET, POST, DELETE = ("GET", "HEAD"), ("POST",), ("DELETE",)
PARAMETERS_WIDTH = 30


class Api(Application):
    def __init__(
        self, environment: Environment, modes: Modes, store: Store, scheduler: Scheduler, version: str
    ) -> None:
        self.environment, self.modes, self.store, self.scheduler = environment, modes, store, scheduler
        self.version = version
        self.downloads = download.Downloads(store)
        self.origins = list(environment.origins())
        self.loopback = True
        self._writing = threading.Lock()
        own = {
            "/": (GET, self.root), "/api/version": (GET, self.versions), "/api/status": (("GET",), self.cloud),
            "/api/tags": (GET, self.tags), "/api/ps": (("GET",), self.ps), "/api/show": (POST, self.show),
            "/api/pull": (POST, self.pull), "/api/push": (POST, self.push), "/api/create": (POST, self.create),
            "/api/copy": (POST, self.copy), "/api/delete": (DELETE, self.delete),
            "/api/generate": (POST, self.generate), "/api/chat": (POST, self.chat), "/api/embed": (POST, self.embed),
            "/api/embeddings": (POST, self.embeddings), "/api/me": (POST, self.signed_out),
            "/api/signout": (POST, self.signed_out), "/api/experimental/web_search": (POST, self.signed_out),
            "/api/experimental/web_fetch": (POST, self.signed_out),
        }  # fmt: skip
        self.routes = [Route(methods, re.compile(re.escape(path)), call) for path, (methods, call) in own.items()]
        blobs = re.compile(r"/api/blobs/([^/]*)")
        self.routes += [Route(("HEAD",), blobs, self.has_blob), Route(POST, blobs, self.push_blob)]
        self.routes += openai_api.routes(self)

    def error_body(self, path: str, error: ApiError) -> t.Dict[str, t.Any]:
        return openai_api.error_body(error) if path.startswith("/v1/") else error.body

    # --- looking ------------------------------------------------------------------------------------

    def root(self, http: Handler) -> None:
        http.reply(200, b"Ollama is running", "text/plain")

    def versions(self, http: Handler) -> None:
        http.reply_json({"version": self.version})

    def cloud(self, http: Handler) -> None:
        off = self.environment.flag("OLLAMA_NO_CLOUD")
        http.reply_json({"cloud": {"disabled": off, "source": "env" if off else "none"}})

    def tags(self, http: Handler) -> None:
        rows = []
        for manifest in self.store.all():
            try:
                model = Model(self.store, manifest)
            except Broken:
                continue
            rows.append({
                "name": manifest.name.short, "model": manifest.name.short, "modified_at": timestamp(manifest.modified),
                "size": manifest.size, "digest": manifest.digest, "details": model.details(lengths=True),
                "capabilities": model.capabilities(),
            })  # fmt: skip
        http.reply_json({"models": rows})

    def ps(self, http: Handler) -> None:
        http.reply_json({"models": self.scheduler.rows()})

    def show(self, http: Handler) -> None:
        request = http.json()
        text = request.get("model") or request.get("name") or ""
        if not text:
            raise ApiError(400, "model is required")
        name = self._name(text)
        manifest = self.store.manifest(name)
        if manifest is None:
            raise ApiError(404, "model '%s' not found" % name.short)
        model = self._read(manifest)
        verbose = bool(request.get("verbose"))
        if request.get("system"):
            model.system = request["system"]
        model.parameters.update(request.get("options") or {})
        rows = []
        for key, value in model.parameters.items():
            for entry in value if isinstance(value, list) else [value]:
                rows.append("%-*s %s" % (PARAMETERS_WIDTH, key, go_value(entry)))
        random.shuffle(rows)  # a Go map has no order
        answer: t.Dict[str, t.Any] = {}
        if model.licenses:
            answer["license"] = "\n".join(model.licenses)
        answer["modelfile"] = model.modelfile()
        if rows:
            answer["parameters"] = "\n".join(rows)
        answer["template"] = model.template
        if model.system:
            answer["system"] = model.system
        answer["details"] = model.details()
        if model.messages:
            answer["messages"] = model.messages
        try:
            answer["model_info"] = model.info(verbose)
            if verbose:
                answer["tensors"] = [
                    {"name": one.name, "type": create.gguf_file.TYPES[one.kind][0], "shape": list(one.shape)}
                    for one in model.gguf().tensors
                ]
        except Broken as error:
            raise ApiError(500, str(error)) from error
        answer["capabilities"] = model.capabilities()
        answer["modified_at"] = timestamp(manifest.modified)
        if model.config.get("requires"):
            answer["requires"] = model.config["requires"]
        http.reply_json(answer)

    def signed_out(self, _http: Handler) -> None:
        if self.environment.flag("OLLAMA_NO_CLOUD"):
            raise ApiError(403, "ollama cloud is disabled")
        raise ApiError(401, "unauthorized", signin_url="https://ollama.com/connect")

    # --- changing -----------------------------------------------------------------------------------

    def pull(self, http: Handler) -> None:
        request = http.json()
        try:
            name = self.store.resolve(request.get("model") or request.get("name"))
        except names.InvalidName as error:
            raise ApiError(400, "invalid model name") from error
        lines = Lines(http, request)
        try:
            download.pull(self.store, self.downloads, name, bool(request.get("insecure")), lines.say, http.gone)
        except download.Cut as error:
            raise Hangup from error
        except (download.PullError, OSError) as error:
            if isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise
            raise ApiError(500, str(error)) from error
        lines.finish()

    def push(self, http: Handler) -> None:
        request = http.json()
        manifest = self._manifest(request, "model '%s' not found")
        raise ApiError(500, "push of %s: the stand-in's registry takes nothing" % manifest.name.short)

    def create(self, http: Handler) -> None:
        request = http.json()
        try:
            name = self.store.resolve(request.get("model") or request.get("name"))
        except names.InvalidName as error:
            raise ApiError(400, "invalid model name") from error
        for path in list(request.get("files") or {}) + list(request.get("adapters") or {}):
            if path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
                raise ApiError(400, "file path must be relative")
        lines = Lines(http, request)
        base = self._base(request["from"], lines) if request.get("from") else None
        release = tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])
        try:
            create.Creation(self.store, request, lines.say, release).run(name, base)
        except create.CreateError as error:
            raise ApiError(error.status, str(error)) from error
        except (Broken, OSError) as error:
            if isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise
            raise ApiError(500, str(error)) from error
        lines.finish()

    def _base(self, text: str, lines: Lines) -> Model:
        try:
            name = self.store.resolve(names.local_source(text))
        except names.InvalidName as error:
            raise ApiError(400, "invalid model name") from error
        if self.store.manifest(name) is None:
            try:
                download.pull(self.store, self.downloads, name, False, lines.say_unless_done, lines.http.gone)
            except (download.PullError, OSError) as error:
                raise ApiError(500, str(error)) from error
        manifest = self.store.manifest(name)
        if manifest is None:
            raise ApiError(500, "model '%s' not found" % name.short)
        return self._read(manifest)

    def copy(self, http: Handler) -> None:
        request = http.json()
        found = {}
        for field in ("source", "destination"):
            try:
                found[field] = self.store.resolve(request.get(field))
            except names.InvalidName as error:
                raise ApiError(400, '%s "%s" is invalid' % (field, request.get(field, ""))) from error
        manifest = self.store.manifest(found["source"])
        if manifest is None:
            raise ApiError(404, 'model "%s" not found' % request.get("source"))
        self._write(found["destination"], manifest.content)
        http.reply(200)

    def _write(self, name: names.Name, content: bytes) -> None:
        try:
            self.store.write_manifest(name, content)
        except OSError as error:
            raise ApiError(500, str(error)) from error

    def delete(self, http: Handler) -> None:
        manifest = self._manifest(http.json(), "model '%s' not found")
        self.store.remove_manifest(manifest.name)
        self.store.remove_unused(layer["digest"] for layer in manifest.everything)
        http.reply(200)

    def has_blob(self, http: Handler, digest: str) -> None:
        try:
            there = self.store.blob(digest).exists()
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        http.reply(200 if there else 404)

    def push_blob(self, http: Handler, digest: str) -> None:
        try:
            if self.store.blob(digest).exists():
                http.reply(200)
                return
            self.store.receive(digest, http.pieces())
        except (ValueError, DigestMismatch) as error:
            raise ApiError(400, str(error)) from error
        except OSError as error:
            if isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise
            raise ApiError(500, str(error)) from error
        http.reply(201)

    # --- answering ----------------------------------------------------------------------------------

    def generate(self, http: Handler) -> None:
        request = http.json()
        model = self.model(request, "model '%s' not found")
        prompt = request.get("prompt") or ""
        if not prompt and not request.get("images"):
            self._only_load(http, request, model, {"response": ""})
            return
        self._may(model, "completion", "generate", request)
        if request.get("suffix") and "insert" not in model.capabilities():
            raise ApiError(400, "%s does not support insert" % _full(model))
        with self.using(model, request) as run:
            lines = Lines(http, request)
            for text in run.pieces(prompt, request.get("format"), http):
                lines.say(**run.line(response=text, done=False))
            more = {} if request.get("raw") else {"context": [len(word) for word in prompt.split()]}
            lines.say(**run.last(response=run.whole if lines.quiet else "", **more))
            lines.finish()

    def chat(self, http: Handler) -> None:
        request = http.json()
        if not (request.get("model") or request.get("name")):
            raise ApiError(400, "model is required")
        model = self.model(request, "model '%s' not found")
        messages = request.get("messages") or []
        if not messages:
            self._only_load(http, request, model, {"message": {"role": "assistant", "content": ""}})
            return
        self._may(model, "completion", "chat", request)
        if request.get("tools") and "tools" not in model.capabilities():
            raise ApiError(400, "%s does not support tools" % _full(model))
        with self.using(model, request) as run:
            lines = Lines(http, request)
            prompt = openai_api.last_text(messages)
            for text in run.pieces(prompt, request.get("format"), http):
                lines.say(**run.line(message={"role": "assistant", "content": text}, done=False))
            whole = run.whole if lines.quiet else ""
            lines.say(**run.last(message={"role": "assistant", "content": whole}))
            lines.finish()

    def embed(self, http: Handler) -> None:
        request = http.json()
        model = self.model(request, 'model "%s" not found, try pulling it first')
        given = request.get("input")
        if given is None or isinstance(given, dict) or isinstance(given, (int, float)):
            if given is not None:
                raise ApiError(400, "invalid input type")
            given = []
        texts = [given] if isinstance(given, str) else list(given)
        if not all(isinstance(text, str) for text in texts):
            raise ApiError(400, "invalid input type")
        with self.using(model, request) as run:
            vectors = [run.vector(text, request.get("dimensions")) for text in texts if text]
            http.reply_json({
                "model": request.get("model") or request.get("name"), "embeddings": vectors,
                "total_duration": run.elapsed, "load_duration": run.load_ns,
                "prompt_eval_count": sum(len(text.split()) for text in texts),
            })  # fmt: skip

    def embeddings(self, http: Handler) -> None:
        request = http.json()
        model = self.model(request, "model '%s' not found")
        with self.using(model, request) as run:
            prompt = request.get("prompt") or ""
            http.reply_json({"embedding": run.vector(prompt, None) if prompt else []})

    def _only_load(
        self, http: Handler, request: t.Mapping[str, t.Any], model: Model, empty: t.Dict[str, t.Any]
    ) -> None:
        answer: t.Dict[str, t.Any] = {"model": request.get("model") or request.get("name"), "created_at": now()}
        answer.update(empty)
        if keep_alive(request) == 0:
            self.scheduler.expire(model)
            http.reply_json(dict(answer, done=True, done_reason="unload"))
            return
        with self.using(model, request):
            http.reply_json(dict(answer, done=True, done_reason="load"))

    # --- what the endpoints share -------------------------------------------------------------------

    def _name(self, text: t.Any) -> names.Name:
        try:
            return self.store.resolve(names.local_source(str(text)))
        except names.InvalidName as error:
            raise ApiError(400, "invalid model name") from error

    def _manifest(self, request: t.Mapping[str, t.Any], missing: str) -> t.Any:
        text = request.get("model") or request.get("name") or ""
        try:
            manifest = self.store.manifest(self.store.resolve(names.local_source(str(text))))
        except names.InvalidName:
            manifest = None
        if manifest is None:
            raise ApiError(404, missing % text)
        return manifest

    def model(self, request: t.Mapping[str, t.Any], missing: str) -> Model:
        return self._read(self._manifest(request, missing))

    @staticmethod
    def _may(model: Model, capability: str, verb: str, request: t.Mapping[str, t.Any]) -> None:
        text = request.get("model") or request.get("name")
        if capability not in model.capabilities():
            raise ApiError(400, '"%s" does not support %s' % (text, verb))
        if request.get("think") and "thinking" not in model.capabilities():
            raise ApiError(400, '"%s" does not support thinking' % text)

    def _read(self, manifest: t.Any) -> Model:
        try:
            return Model(self.store, manifest)
        except Broken as error:
            raise ApiError(500, str(error)) from error

    def using(self, model: Model, request: t.Mapping[str, t.Any]) -> Run:
        return Run(self, model, request)


class Run:
    """One request at a loaded model."""

    def __init__(self, api: Api, model: Model, request: t.Mapping[str, t.Any]) -> None:
        self._api, self.model, self._request = api, model, request
        self.options = dict(model.parameters, **(request.get("options") or {}))
        self._began = time.monotonic()
        self.whole, self.reason = "", "stop"
        self.prompt_tokens, self.count, self.load_ns = 0, 0, 0
        self._runner: t.Optional[Runner] = None

    def __enter__(self) -> Run:
        options = self._request.get("options") or {}
        self._context = self._api.scheduler.use(self.model, options, keep_alive(self._request))
        try:
            self._runner, seconds = self._context.__enter__()
        except Busy as error:
            raise ApiError(503, str(error)) from error
        except (LoadError, Broken) as error:
            raise ApiError(500, str(error)) from error
        self.load_ns = int(seconds * SECOND_NS) + 1
        return self

    def __exit__(self, *exception: t.Any) -> None:
        self._context.__exit__(None, None, None)

    @property
    def elapsed(self) -> int:
        return int((time.monotonic() - self._began) * SECOND_NS) + 2

    def pieces(self, prompt: str, form: t.Any, http: Handler) -> t.Iterator[str]:
        modes = self._api.modes
        if modes.text("generate_error"):
            raise ApiError(500, modes.text("generate_error"))
        text = modes.text("generate_wrong") or answers.answer(prompt, form)
        limit, cut = int(self.options.get("num_predict", -1)), modes.text("generate_cut")
        self.prompt_tokens = len(prompt.split()) + 1
        for piece in answers.tokens(text):
            if 0 < limit <= self.count or 0 <= limit == self.count:
                self.reason = "length"
                return
            if cut and self.count >= int(cut):
                raise Hangup
            delay = modes.number("token_seconds")
            if delay:
                time.sleep(delay)
                if http.gone():
                    raise Hangup
            self.count += 1
            self.whole += piece
            yield piece

    def vector(self, text: str, dimensions: t.Optional[int]) -> t.List[float]:
        length = int(self.model.gguf().get("embedding_length", 64))
        return answers.vector(text, min(length, dimensions or length))

    def line(self, **fields: t.Any) -> t.Dict[str, t.Any]:
        return dict({"model": self._request.get("model") or self._request.get("name"), "created_at": now()}, **fields)

    def last(self, **fields: t.Any) -> t.Dict[str, t.Any]:
        elapsed = self.elapsed
        found = self.line(**fields, done=True, done_reason=self.reason)
        if "context" in found:
            found["context"] = found.pop("context")  # after done, as the server has it
        found.update(
            total_duration=elapsed + self.load_ns, load_duration=self.load_ns, prompt_eval_count=self.prompt_tokens,
            prompt_eval_duration=max(1, elapsed // 4), eval_count=self.count, eval_duration=max(1, elapsed // 2),
        )  # fmt: skip
        return found


class Lines:
    """Progress as a stream of lines, or only the last one of them."""

    def __init__(self, http: Handler, request: t.Mapping[str, t.Any]) -> None:
        self.http, self.quiet = http, request.get("stream") is False
        self._last: t.Deque[t.Dict[str, t.Any]] = deque(maxlen=1)

    def say(self, **line: t.Any) -> None:
        self._last.append(line)
        if not self.quiet:
            self.http.line(line)

    def say_unless_done(self, **line: t.Any) -> None:
        if line.get("status") != "success":
            self.say(**line)

    def finish(self) -> None:
        if self.quiet:
            self.http.reply_json(self._last[-1])
        else:
            self.http.end()


def now() -> str:
    return timestamp(time.time())


def keep_alive(request: t.Mapping[str, t.Any]) -> t.Optional[int]:
    """Nanoseconds; None when the request says nothing."""
    value = request.get("keep_alive")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ApiError(400, "invalid type for keep_alive: %s" % type(value).__name__)
    if isinstance(value, str):
        try:
            found = parse_duration(value)
        except ValueError:
            reason = "missing unit in duration" if re.fullmatch(r"[+-]?\d+", value) else "invalid duration"
            raise ApiError(400, 'time: %s "%s"' % (reason, value)) from None
    else:
        found = MAX_DURATION_NS if math.isinf(value) else int(value * SECOND_NS)
    return MAX_DURATION_NS if found < 0 else min(found, MAX_DURATION_NS)


def _full(model: Model) -> str:
    return "%s/%s/%s:%s" % (model.name.host, model.name.namespace, model.name.model, model.name.tag)
