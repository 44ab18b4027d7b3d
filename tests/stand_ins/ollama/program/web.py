# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP as Ollama speaks it: routes, Host and Origin checks, JSON answers, streams of lines."""

from __future__ import annotations

import fnmatch
import http.server
import ipaddress
import json
import re
import select
import socket
import socketserver
import time
import typing as t
from urllib.parse import unquote, urlsplit

from .store import PIECE, go_json

NDJSON, EVENTS = "application/x-ndjson", "text/event-stream"
DRAINED = 256 * 1024  # as much of an unwanted body as is read to keep the connection


class ApiError(Exception):
    def __init__(self, status: int, message: str, **more: t.Any) -> None:
        super().__init__(message)
        self.status, self.body = status, dict({"error": message}, **more)


class Hangup(Exception):
    """The connection is to end without another byte."""


class Route(t.NamedTuple):
    methods: t.Tuple[str, ...]
    pattern: t.Pattern
    call: t.Callable[..., t.Any]


class Application:
    """What a Handler needs to know; the API fills it in."""

    routes: t.List[Route]
    origins: t.List[str]
    loopback: bool
    modes: t.Any

    def error_body(self, _path: str, error: ApiError) -> t.Dict[str, t.Any]:
        return error.body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "", ""
    server: "Server"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.streaming = False

    @property
    def app(self) -> Application:
        return self.server.app

    def version_string(self) -> str:
        return ""

    def send_response(self, code: int, message: t.Optional[str] = None) -> None:
        self.log_request(code)
        self.send_response_only(code, message)
        self.send_header("Date", self.date_time_string())

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002 - the name is the library's
        pass

    def handle_expect_100(self) -> bool:
        self._continue = True
        return True

    def do_GET(self) -> None:  # noqa: N802 - the library's names
        self._dispatch()

    do_HEAD = do_POST = do_DELETE = do_PUT = do_OPTIONS = do_PATCH = do_GET

    def _dispatch(self) -> None:
        began = time.monotonic()
        self._continue = getattr(self, "_continue", False)
        self.streaming, self._body_read, self.status = False, False, 0
        self.path_only = unquote(urlsplit(self.path).path)
        try:
            self._answer()
            self._drain()
        except (BrokenPipeError, ConnectionResetError, Hangup):
            self.close_connection = True
        finally:
            self._continue = False
            self.server.told(
                self.status, time.monotonic() - began, self.client_address[0], self.command, self.path_only
            )

    def _answer(self) -> None:
        modes = self.app.modes
        while modes.text("hang") and fnmatch.fnmatch(self.path_only, modes.text("hang")):
            time.sleep(0.1)
            if self.gone():
                raise Hangup
        failing, _equals, status = modes.text("fail").partition("=")
        try:
            if failing and fnmatch.fnmatch(self.path_only, failing):
                raise ApiError(int(status), "stand-in: asked to fail")
            if not self._allowed():
                return
            methods: t.Set[str] = set()
            for route in self.app.routes:
                match = route.pattern.fullmatch(self.path_only)
                if match and self.command in route.methods:
                    route.call(self, *match.groups())
                    return
                if match:
                    methods.update(route.methods)
            if methods:
                self.reply(405, b"405 method not allowed", "text/plain", {"Allow": ", ".join(sorted(methods))})
            else:
                self.reply(404, b"404 page not found", "text/plain")
        except ApiError as error:
            body = self.app.error_body(self.path_only, error)
            if self.streaming:
                self.line(body)
                self.end()
            else:
                self.reply_json(body, error.status)

    # --- checks -------------------------------------------------------------------------------------

    def _allowed(self) -> bool:
        origin = self.headers.get("Origin")
        host = self.headers.get("Host") or ""
        if origin and origin not in ("http://" + host, "https://" + host):
            if not any(fnmatch.fnmatchcase(origin, pattern) for pattern in self.app.origins):
                self.reply(403)
                return False
            self.cors = origin
            if self.command == "OPTIONS":
                self.reply(204, headers={"Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"})
                return False
        else:
            self.cors = ""
        if self.app.loopback and not local_name(host):
            self.reply(403)
            return False
        return True

    # --- reading ------------------------------------------------------------------------------------

    def pieces(self) -> t.Iterator[bytes]:
        """The body."""
        self._begin_body()
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            while True:
                size = int(self.rfile.readline().split(b";")[0] or b"0", 16)
                left = size
                while left:
                    piece = self.rfile.read(min(PIECE, left))
                    if not piece:
                        raise ConnectionResetError("unexpected EOF")
                    left -= len(piece)
                    yield piece
                self.rfile.readline()
                if not size:
                    return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read(min(PIECE, left))
            if not piece:
                raise ConnectionResetError("unexpected EOF")
            left -= len(piece)
            yield piece

    def _begin_body(self) -> None:
        self._body_read = True
        if self._continue:
            self.send_response_only(100)
            self.end_headers()
            self._continue = False

    def _drain(self) -> None:
        """What Go does with a body that nobody read."""
        if self._body_read:
            return
        chunked = self.headers.get("Transfer-Encoding")
        length = int(self.headers.get("Content-Length") or 0)
        if chunked or length > DRAINED or (length and self._continue):
            self.close_connection = True
        elif length:
            self.rfile.read(length)

    def json(self) -> t.Dict[str, t.Any]:
        body = b"".join(self.pieces())
        if not body:
            raise ApiError(400, "missing request body")
        try:
            found = json.loads(body)
        except ValueError as error:
            text = body.decode(errors="replace").strip()
            if not text:
                raise ApiError(400, "EOF") from error
            raise ApiError(400, "invalid character '%s' looking for beginning of value" % text[0]) from error
        if not isinstance(found, dict):
            raise ApiError(400, "json: cannot unmarshal into Go value")
        return found

    def gone(self) -> bool:
        """Whether the client has closed the connection."""
        try:
            readable, _writable, _errors = select.select([self.connection], [], [], 0)
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    # --- writing ------------------------------------------------------------------------------------

    def reply(
        self, status: int, body: bytes = b"", kind: str = "", headers: t.Optional[t.Mapping[str, str]] = None
    ) -> None:
        self.status = status
        self.send_response(status)
        if kind:
            self.send_header(
                "Content-Type", kind + ("; charset=utf-8" if kind.startswith(("text", "application/json")) else "")
            )
        if getattr(self, "cors", ""):
            self.send_header("Access-Control-Allow-Origin", self.cors)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_json(self, value: t.Any, status: int = 200) -> None:
        self.reply(status, go_json(value).rstrip(b"\n"), "application/json")

    def begin(self, kind: str = NDJSON) -> None:
        if self.streaming:
            return
        self.streaming, self.status = True, 200
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if getattr(self, "cors", ""):
            self.send_header("Access-Control-Allow-Origin", self.cors)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def line(self, value: t.Any) -> None:
        self.begin()
        self.chunk(go_json(value))

    def event(self, value: t.Any) -> None:
        self.begin(EVENTS)
        text = value.encode() if isinstance(value, str) else go_json(value).rstrip(b"\n")
        self.chunk(b"data: " + text + b"\n\n")

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 1024
    app: Application

    def __init__(self, host: str, port: int) -> None:
        self.address_family = (
            socket.AF_INET6 if ":" in host or (host in ("", "0.0.0.0") and _ipv6()) else socket.AF_INET
        )
        any_address = host in ("", "0.0.0.0", "::")
        if any_address and self.address_family == socket.AF_INET6:
            host = "::"
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's, which asks the resolver for the host's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        import traceback

        traceback.print_exc()

    def told(self, status: int, seconds: float, client: str, method: str, path: str) -> None:
        """One line a request, as gin writes it."""


def _ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def local_name(header: str) -> bool:
    """Whether a request with this Host may talk to a listener on loopback."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](:\d+)?", header)
    host = bracketed.group(1) if bracketed else header.rpartition(":")[0] if header.count(":") == 1 else header
    host = host.lower()
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_private or address.is_unspecified or _own(host)
    except ValueError:
        pass
    return host in ("", "localhost", socket.gethostname().lower()) or host.endswith(
        (".localhost", ".local", ".internal")
    )


def _own(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
        return True
    except OSError:
        return False
