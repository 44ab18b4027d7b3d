# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry that Ollama pulls from, with faults on request.

It speaks what Ollama needs of one: manifests, HEAD of blobs, GET of blobs as 307 to where the bytes are, Range there.
Every request is kept in ``requests``, and counted with its bytes under GET /counts, so that a test can prove that
nothing was fetched twice or that nothing was asked at all. Standard library only::

    python3 registry.py --port 5001 [--mode redirect] [--tiny library/tiny:latest] [--counts FILE]

    with Registry() as registry:
        registry.add("library/tiny:latest", tiny())
        registry.name("library/tiny:latest")        # 127.0.0.1:PORT/library/tiny:latest, pulled with insecure
        registry.faults.append(Fault("drop", "*/blobs/*", at=0.5))
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import re
import threading
import time
import typing as t
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

try:
    from .program import gguf_file
    from .program.create import human
    from .program.store import CONFIG_TYPE, KIND, MANIFEST_TYPE, go_json, sha256
except ImportError:  # run as a program
    from program import gguf_file  # type: ignore[no-redef]
    from program.create import human  # type: ignore[no-redef]
    from program.store import CONFIG_TYPE, KIND, MANIFEST_TYPE, go_json, sha256  # type: ignore[no-redef]

PIECE = 64 * 1024
MODES = ("redirect", "location", "plain")
FAULTS = ("status", "drop", "stall", "slow", "corrupt", "html")
PATH = re.compile(r"/v2/(.+)/(manifests|blobs)/([^/]+)|/(data)/([^/]+)")
TEMPLATE = "{{- range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant: "


@dataclass
class Fault:
    """``path`` is a pattern over the URL's path; ``times`` < 0 is for ever.

    ``status`` answers with it, ``drop`` ends the connection after the fraction ``at`` of the answer's bytes, ``stall``
    goes silent there for ``seconds``, ``slow`` sends ``rate`` bytes a second, ``corrupt`` changes the byte at ``at``,
    ``html`` answers 200 with a page.
    """

    kind: str
    path: str = "*"
    method: str = "GET"
    times: int = 1
    at: float = 0.5
    seconds: float = 3600.0
    rate: float = 1e6
    status: int = 503

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError("fault %r: want one of %s" % (self.kind, ", ".join(FAULTS)))

    @classmethod
    def parse(cls, text: str) -> Fault:
        """From the command line: ``drop,path=*/data/*,times=2,at=0.5``."""
        kind, *pairs = text.split(",")
        kinds = {"times": int, "status": int, "at": float, "seconds": float, "rate": float}
        values = {name: kinds.get(name, str)(value) for name, _equals, value in (pair.partition("=") for pair in pairs)}
        return cls(kind, **values)  # type: ignore[arg-type]


@dataclass
class Request:
    method: str
    path: str
    status: int
    range: t.Optional[str]
    sent_bytes: int


@dataclass
class Image:
    manifest: bytes
    blobs: t.Dict[str, bytes]

    @property
    def digest(self) -> str:
        """As /api/tags shows it."""
        return hashlib.sha256(self.manifest).hexdigest()


def image(gguf: bytes, facts: t.Mapping[str, t.Any], layers: t.Mapping[str, t.Any]) -> Image:
    """A model's manifest and blobs from its weights; ``layers``: kind -> text, or what becomes JSON."""
    blobs: t.Dict[str, bytes] = {}

    def layer(kind: str, content: bytes) -> t.Dict[str, t.Any]:
        digest = sha256(content)
        blobs[digest] = content
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    rows = [layer(KIND + "model", gguf)]
    for kind, value in layers.items():
        for entry in value if kind == "license" and isinstance(value, list) else [value]:
            rows.append(layer(KIND + kind, entry.encode() if isinstance(entry, str) else go_json(entry)))
    config = layer(CONFIG_TYPE, go_json(dict(facts, architecture="amd64", os="linux")).rstrip(b"\n"))
    whole = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": rows}
    return Image(json.dumps(whole, separators=(",", ":")).encode(), blobs)


def tiny(seed: int = 0, pad: int = 0, template: str = TEMPLATE, **options: t.Any) -> Image:
    """A small model. ``seed`` changes its weights, ``pad`` is its size in bytes at least."""
    file = gguf_file.tiny(seed=seed, **options)[0]
    content = file.pack()
    if pad > len(content):
        fill = hashlib.sha256(b"%d" % seed).digest()
        content += (fill * (-(-(pad - len(content)) // len(fill))))[: pad - len(content)]
    return of_gguf(content, template)


def of_gguf(content: bytes, template: str = TEMPLATE) -> Image:
    """A model of these weights."""
    file = gguf_file.unpack(content)
    facts = {
        "model_format": "gguf", "model_family": file.architecture, "model_families": [file.architecture],
        "model_type": human(file.parameters), "file_type": file.file_type,
    }  # fmt: skip
    texts = {"template": template, "license": "Nobody may own this.", "params": {"stop": ["user:"], "temperature": 0.6}}
    return image(content, facts, texts)


class Registry:
    """The server. ``mode``: how blobs are answered; "plain" is the registry that Ollama cannot use.

    ``auth``: a token is wanted, and given to who asks for one. ``closed``: it is given to nobody.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, mode: str = "redirect", auth: bool = False, closed: bool = False,
        faults: t.Iterable[Fault] = (), counts: t.Union[str, Path, None] = None,
    ) -> None:  # fmt: skip
        if mode not in MODES:
            raise ValueError("mode %r: want one of %s" % (mode, ", ".join(MODES)))
        self.mode, self.auth, self.closed = mode, auth or closed, closed
        self.faults = list(faults)
        self.images: t.Dict[str, Image] = {}
        self.blobs: t.Dict[str, bytes] = {}
        self.requests: t.List[Request] = []
        self._counts = Path(counts) if counts else None
        self._lock = threading.Lock()
        self._server = _Server((host, port), _Handler)
        self._server.registry = self
        self.host = "%s:%d" % self._server.server_address[:2]
        self.url = "http://" + self.host

    def __enter__(self) -> Registry:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def add(self, name: str, content: Image) -> Image:
        """``name``: namespace/model:tag. The same name again is a new version of the model."""
        self.images[name] = content
        self.blobs.update(content.blobs)
        return content

    def name(self, name: str = "library/tiny:latest") -> str:
        return "%s/%s" % (self.host, name)

    def counts(self) -> t.Dict[str, t.Dict[str, int]]:
        """Path -> requests and bytes sent, by method: {"/v2/...": {"GET": 1, "bytes": 100}}."""
        found: t.Dict[str, t.Dict[str, int]] = {}
        with self._lock:
            for one in self.requests:
                row = found.setdefault(one.path, {"bytes": 0})
                row[one.method] = row.get(one.method, 0) + 1
                row["bytes"] += one.sent_bytes
        return found

    def count(self, method: str = "*", path: str = "*") -> int:
        return sum(
            fnmatch.fnmatch(one.method, method) and fnmatch.fnmatch(one.path, path) for one in list(self.requests)
        )

    def sent_bytes(self, path: str = "/data/*") -> int:
        return sum(one.sent_bytes for one in list(self.requests) if fnmatch.fnmatch(one.path, path))

    def take_fault(self, method: str, path: str) -> t.Optional[Fault]:
        with self._lock:
            for fault in self.faults:
                if fault.times and fault.method in ("*", method) and fnmatch.fnmatch(path, fault.path):
                    fault.times -= 1
                    return fault
        return None

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            if self._counts:
                with open(self._counts, "a", encoding="utf-8") as stream:
                    stream.write(json.dumps(asdict(request)) + "\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    registry: Registry

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the resolver for the host's name.
        self.socket.setsockopt(1, 2, 1)  # SOL_SOCKET, SO_REUSEADDR
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Clients that leave are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002 - the name is the library's
        pass

    def do_GET(self) -> None:  # noqa: N802 - the library's names
        registry = self.server.registry
        path = urlsplit(self.path).path
        if path == "/counts":
            self._reply(200, json.dumps(registry.counts()).encode())
            return
        self._sent, self._status = 0, 0
        try:
            self._answer(registry, path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            registry.record(Request(self.command, path, self._status, self.headers.get("Range"), self._sent))

    do_HEAD = do_GET

    def _answer(self, registry: Registry, path: str) -> None:
        fault = registry.take_fault(self.command, path)
        if fault and fault.kind == "status":
            self._error(fault.status, "UNKNOWN", "stand-in: asked to fail")
            return
        if fault and fault.kind == "html":
            self._reply(200, b"<html>Please log in</html>", "text/html")
            return
        if path == "/token":
            if registry.closed:
                self._error(401, "UNAUTHORIZED", "no token for you")
            else:
                self._reply(200, b'{"token":"stand-in"}')
            return
        match = PATH.fullmatch(path)
        if path == "/v2/" or not match:
            self._reply(200 if path == "/v2/" else 404, b"{}")
            return
        if registry.auth and not match.group(4) and self.headers.get("Authorization") != "Bearer stand-in":
            challenge = 'Bearer realm="%s/token",service="stand-in",scope="repository:%s:pull"' % (
                registry.url, match.group(1)
            )  # fmt: skip
            self._error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
            return
        if match.group(4):
            self._bytes(registry, match.group(5), fault)
        elif match.group(2) == "manifests":
            self._manifest(registry, match.group(1), match.group(3), fault)
        else:
            self._blob(registry, match.group(3), fault)

    def _manifest(self, registry: Registry, repository: str, tag: str, fault: t.Optional[Fault]) -> None:
        found = registry.images.get("%s:%s" % (repository, tag))
        if found is None:
            self._error(404, "MANIFEST_UNKNOWN", "manifest unknown")
            return
        self._wait(fault, 0, 0)
        self._reply(200, found.manifest, MANIFEST_TYPE, {"Docker-Content-Digest": "sha256:" + found.digest})

    def _blob(self, registry: Registry, digest: str, fault: t.Optional[Fault]) -> None:
        content = registry.blobs.get(digest)
        if content is None:
            self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        data = "%s/data/%s" % (registry.url, digest)
        if self.command == "HEAD":
            self._status = 200
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
        elif registry.mode == "redirect":
            self._reply(307, b"", headers={"Location": data})
        elif registry.mode == "location" and not self.headers.get("Range"):
            self._bytes(registry, digest, fault, {"Location": data})
        else:
            self._bytes(registry, digest, fault)

    def _bytes(
        self, registry: Registry, digest: str, fault: t.Optional[Fault], more: t.Optional[t.Dict[str, str]] = None
    ) -> None:
        content = registry.blobs.get(digest)
        if content is None:
            self._reply(404)
            return
        total = len(content)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        first, last = 0, total - 1
        if span:
            first, last = int(span.group(1)), min(int(span.group(2) or last), last)
            if first > last:
                self._reply(416, headers={"Content-Range": "bytes */%d" % total})
                return
        self._status = 206 if span else 200
        self.send_response(self._status)
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if span:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (first, last, total))
        self.end_headers()
        if self.command == "HEAD":
            return
        kind = fault.kind if fault else ""
        began, length = time.monotonic(), last + 1 - first
        stop = first + min(int((fault.at if fault else 1) * length), length - 1)
        for start in range(first, last + 1, PIECE):
            piece = content[start : min(start + PIECE, last + 1)]
            reached = start <= stop < start + len(piece)
            if kind == "corrupt" and reached:
                at = stop - start
                piece = piece[:at] + bytes([piece[at] ^ 255]) + piece[at + 1 :]
            if kind in ("drop", "stall") and reached:
                self._send(piece[: stop - start])
                if kind == "drop":
                    self.close_connection = True
                    return
                piece = piece[stop - start :]
                self._wait(fault, 0, 0)
            self._send(piece)
            self._wait(fault if kind == "slow" else None, began, self._sent)

    def _send(self, piece: bytes) -> None:
        self.wfile.write(piece)
        self._sent += len(piece)

    @staticmethod
    def _wait(fault: t.Optional[Fault], began: float, sent: int) -> None:
        if fault and fault.kind == "stall":
            time.sleep(fault.seconds)
        elif fault and fault.kind == "slow":
            time.sleep(max(0.0, began + sent / fault.rate - time.monotonic()))

    def _error(self, status: int, code: str, message: str, headers: t.Optional[t.Dict[str, str]] = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self._reply(status, body, "application/json", headers)

    def _reply(
        self, status: int, body: bytes = b"", kind: str = "application/json",
        headers: t.Optional[t.Mapping[str, str]] = None,
    ) -> None:  # fmt: skip
        self._status = status
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self._sent += len(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--mode", choices=MODES, default="redirect")
    parser.add_argument("--auth", action="store_true")
    parser.add_argument("--closed", action="store_true")
    parser.add_argument("--tiny", action="append", default=[], metavar="NAME[=SEED[,BYTES]]")
    parser.add_argument("--gguf", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--fault", action="append", default=[], type=Fault.parse)
    parser.add_argument("--counts", help="file that gets one JSON line for each request")
    given = parser.parse_args()
    registry = Registry(given.host, given.port, given.mode, given.auth, given.closed, given.fault, given.counts)
    for text in given.gguf:
        name, _equals, path = text.partition("=")
        registry.add(name, of_gguf(Path(path).read_bytes()))
    for text in given.tiny or ([] if given.gguf else ["library/tiny:latest"]):
        name, _equals, numbers = text.partition("=")
        seed, _comma, pad = numbers.partition(",")
        registry.add(name, tiny(seed=int(seed or 0), pad=int(pad or 0)))
    registry.serve_forever()


if __name__ == "__main__":
    main()
