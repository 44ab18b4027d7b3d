# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the Hugging Face Hub that real clients accept, with faults on request.

Serves model repositories from a directory tree::

    ROOT/<org>/<name>/            the files of main
    ROOT/<org>/<name>@<ref>/      the files of another branch, tag or commit (the ref percent-encoded)

A repository's commit follows from its content, so the content of a commit never changes and an edited file is
a new commit on the same ref. Standard library only, Python >= 3.9: ``python hub.py --help``, or in a
test ``with Hub(root) as hub: ...``. Every answer is kept in ``hub.requests`` and, with ``--log``, in a JSON
lines file.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import re
import socket
import sys
import threading
import time
import typing as t
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

try:
    from .content import HubFile, Snapshot, Store
    from .faults import Fault
except ImportError:  # run as a program
    from content import HubFile, Snapshot, Store  # type: ignore[no-redef]
    from faults import Fault  # type: ignore[no-redef]

PIECE = 64 * 1024
# The revision is one path segment: its own slashes come percent-encoded.
API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|paths-info|refs)(?:/([^/]+))?(?:/(.*))?)?")


@dataclass
class Request:
    """One answered request, as a test wants to see it."""

    origin: str  # "hub" or "cdn"
    method: str
    path: str
    status: int
    range: t.Optional[str]
    authorization: bool
    sent_bytes: int
    user_agent: str


class Hub:
    """The server: one origin for the hub and, with ``cdn``, a second one that large files are redirected to.

    ``gated`` maps a repository to the token that has accepted its licence: without any token its files answer
    401, with another one 403. ``private`` repositories do not exist for those without their token.
    """

    def __init__(
        self,
        root: t.Union[str, Path],
        host: str = "127.0.0.1",
        port: int = 0,
        cdn: bool = False,
        cdn_port: int = 0,
        page_size: int = 1000,
        gated: t.Optional[t.Dict[str, str]] = None,
        private: t.Optional[t.Dict[str, str]] = None,
        faults: t.Iterable[Fault] = (),
        log: t.Optional[t.Union[str, Path]] = None,
    ) -> None:
        self.store = Store(Path(root))
        self.page_size = page_size
        self.gated = gated or {}
        self.private = private or {}
        self.faults = list(faults)
        self.requests: t.List[Request] = []
        self.lie: t.Callable[[t.List[t.Dict[str, t.Any]]], t.Any] = lambda rows: None  # changes what /tree says
        self.pages_at = ""  # where its list is said to go on: a mirror may pass on what the hub says of itself
        self.begun = 0  # files of which something was sent; requests has those that ended
        self._lock = threading.Lock()
        self._log = open(log, "a", encoding="utf-8", buffering=1) if log else None
        self._servers = [_Server((host, port), _Handler, self, "hub")]
        self.url = "http://%s:%d" % (host, self._servers[0].server_address[1])
        self.cdn_url = ""
        if cdn:
            self._servers.append(_Server((host, cdn_port), _Handler, self, "cdn"))
            self.cdn_url = "http://%s:%d" % (host, self._servers[1].server_address[1])

    def __enter__(self) -> Hub:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        if self._log:
            self._log.close()

    def hang_up(self) -> None:
        """End what is on its way, as a server that is stopped does."""
        for server in self._servers:
            for one in list(server.connections):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def add(self, repo: str, files: t.Dict[str, bytes], ref: str = "main") -> str:
        """Write files into a repository and return the ref's commit."""
        folder = self.store.root / (repo if ref == "main" else "%s@%s" % (repo, quote(ref, safe="")))
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return self.commit(repo, ref)

    def commit(self, repo: str, ref: str = "main") -> str:
        return self.store.refs(repo)[ref].commit

    def count(self, method: str = "*", path: str = "*", origin: str = "*") -> int:
        """How many requests were answered whose method, path and origin match the patterns."""
        wanted = (method, path, origin)
        return sum(
            all(fnmatch.fnmatch(value, pattern) for value, pattern in zip((one.method, one.path, one.origin), wanted))
            for one in self.requests
        )

    def take_fault(self, method: str, *paths: str) -> t.Optional[Fault]:
        with self._lock:
            for fault in self.faults:
                if fault.times and fault.method in ("*", method) and any(fnmatch.fnmatch(p, fault.path) for p in paths):
                    fault.times -= 1
                    return fault
        return None

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            if self._log:
                self._log.write(json.dumps(asdict(request)) + "\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: t.Tuple[str, int], handler: t.Any, hub: Hub, origin: str) -> None:
        self.hub = hub
        self.origin = origin
        self.connections: t.Set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: t.Any, client_address: t.Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: t.Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away is no news
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_args: t.Any) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        # What lies in the kernel counts as sent: it shall not be much.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)

    def do_GET(self) -> None:
        self._route(b"")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._route(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    # Routing

    def _route(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if self.server.origin == "cdn":
            return self._blob(unquote(parts.path))
        api = API.fullmatch(parts.path)
        if api:
            repo, action, revision, rest = (unquote(part or "") for part in api.groups())
            return self._api(repo, action or "revision", revision or "main", rest, query, body)
        resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", parts.path)
        if resolve:
            return self._resolve(*(unquote(part) for part in resolve.groups()))
        if parts.path == "/api/whoami-v2" and self._token():
            return self._json({"type": "user", "name": "stand-in", "orgs": []})
        if parts.path == "/api/whoami-v2":
            return self._error(401, "", "Invalid credentials in Authorization header")
        return self._error(404, "RepoNotFound", "Repository not found")

    def _api(
        self, repo: str, action: str, revision: str, rest: str, query: t.Dict[str, t.List[str]], body: bytes
    ) -> None:
        snapshot = self._find(repo, revision)
        if snapshot is None:
            return None
        fault = self.server.hub.take_fault(self.command, urlsplit(self.path).path)
        if fault and fault.kind == "status":
            return self._error(fault.status, "", "stand-in: fault", fault.headers())
        if fault and fault.kind == "html":
            return self._page()
        if action == "revision":
            info = snapshot.info()
            info["gated"] = "manual" if repo in self.server.hub.gated else False
            info["private"] = repo in self.server.hub.private
            return self._json(info)
        if action == "refs":
            refs = self.server.hub.store.refs(repo)
            branches = [{"name": n, "ref": "refs/heads/" + n, "targetCommit": s.commit} for n, s in refs.items()]
            return self._json({"branches": branches, "tags": [], "converts": []})
        if action == "paths-info":
            return self._json([snapshot.files[p].entry() for p in self._asked_paths(body) if p in snapshot.files])
        return self._tree(snapshot, rest, query)

    def _tree(self, snapshot: Snapshot, folder: str, query: t.Dict[str, t.List[str]]) -> None:
        rows = snapshot.tree(folder, query.get("recursive", ["false"])[0].lower() in ("true", "1"))
        self.server.hub.lie(rows)
        if folder and not rows:
            return self._error(404, "EntryNotFound", "%s does not exist" % folder)
        first, size = int(query.get("cursor", ["0"])[0]), self.server.hub.page_size
        headers = {}
        if first + size < len(rows):
            kept = "&".join("%s=%s" % (k, quote(v[0])) for k, v in query.items() if k != "cursor")
            server = self.server.hub.pages_at or "http://" + self.headers["Host"]
            page = "%s%s?%s&cursor=%d" % (server, urlsplit(self.path).path, kept, first + size)
            headers["Link"] = '<%s>; rel="next"' % page
        return self._json(rows[first : first + size], headers)

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        hub = self.server.hub
        snapshot = self._find(repo, revision)
        if snapshot is None:
            return None
        commit = {"X-Repo-Commit": snapshot.commit}
        allowed = hub.gated.get(repo)
        if allowed is not None and self._token() != allowed:
            message = "Access to model %s is restricted." % repo
            return self._error(403 if self._token() else 401, "GatedRepo", message, commit)
        one = snapshot.files.get(path)
        if one is None:
            return self._error(404, "EntryNotFound", "Entry not found", commit)
        headers = {**commit, "Accept-Ranges": "bytes"}
        if one.lfs:
            headers.update({"X-Linked-Etag": '"%s"' % one.etag, "X-Linked-Size": str(one.size)})
            if hub.cdn_url:
                fault = hub.take_fault(self.command, urlsplit(self.path).path)  # the file's own faults are the CDN's
                if fault and fault.kind == "status":
                    return self._error(fault.status, "", "stand-in: fault", fault.headers())
                return self._send(302, {**headers, "Location": "%s/blob/%s" % (hub.cdn_url, one.sha256)}, b"")
        return self._file(one, {**headers, "ETag": '"%s"' % one.etag})

    def _blob(self, path: str) -> None:
        one = self.server.hub.store.blob(path.rpartition("/")[2])
        if one is None:
            return self._error(404, "", "no such blob")
        return self._file(one, {"ETag": '"cdn-%s"' % one.sha256[:16], "Accept-Ranges": "bytes"})

    def _find(self, repo: str, revision: str) -> t.Optional[Snapshot]:
        """The snapshot, or None after the right error has been sent."""
        store, token = self.server.hub.store, self.server.hub.private.get(repo)
        if not store.refs(repo) or (token is not None and token != self._token()):
            self._error(404 if self._token() else 401, "RepoNotFound", "Repository not found")
            return None
        snapshot = store.snapshot(repo, revision)
        if snapshot is None:
            self._error(404, "RevisionNotFound", "Invalid rev id: %s" % revision)
        return snapshot

    def _asked_paths(self, body: bytes) -> t.List[str]:
        if "json" in (self.headers.get("Content-Type") or ""):
            paths = json.loads(body)["paths"]
            return [paths] if isinstance(paths, str) else paths
        return parse_qs(body.decode()).get("paths", [])

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").partition("Bearer ")[2]

    # Answering

    def _json(self, data: t.Any, headers: t.Optional[t.Dict[str, str]] = None) -> None:
        self._send(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(data).encode())

    def _page(self) -> None:
        self._send(200, {"Content-Type": "text/html"}, b"<html><body>Log in to this network</body></html>")

    def _error(self, status: int, code: str, message: str, headers: t.Optional[t.Dict[str, str]] = None) -> None:
        told = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        body = json.dumps({"error": message}).encode()
        self._send(status, {"Content-Type": "application/json", **told, **(headers or {})}, body)

    def _send(self, status: int, headers: t.Dict[str, str], body: bytes) -> None:
        sent = body if self.command != "HEAD" else b""
        self._record(status, len(sent))  # first: who has the answer may look at once
        self._head(status, {"Content-Length": str(len(body)), **headers})
        self.wfile.write(sent)

    def _head(self, status: int, headers: t.Dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _record(self, status: int, sent: int) -> None:
        authorization = "Authorization" in self.headers
        agent = self.headers.get("User-Agent") or ""
        asked = self.headers.get("Range")
        self.server.hub.record(
            Request(self.server.origin, self.command, self.path, status, asked, authorization, sent, agent)
        )

    def _file(self, one: HubFile, headers: t.Dict[str, str]) -> None:
        fault = self.server.hub.take_fault(self.command, one.path, urlsplit(self.path).path)
        kind = fault.kind if fault else ""
        if fault and kind == "status":
            return self._error(fault.status, "", "stand-in: fault", {**headers, **fault.headers()})
        if kind == "html":
            return self._page()
        first, last, status = 0, one.size - 1, 200
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked and asked.group(0) != "bytes=-":
            first, last = _span(asked.group(1), asked.group(2), one.size)
            if first >= one.size or last < first:
                return self._error(416, "", "range", {"Content-Range": "bytes */%d" % one.size})
            status = 206
            headers = {**headers, "Content-Range": "bytes %d-%d/%d" % (first, last, one.size)}
        length = last - first + 1
        self._head(status, {"Content-Type": "application/octet-stream", **headers, "Content-Length": str(length)})
        self._sent = 0
        self.server.hub.begun += 1
        try:
            if self.command == "GET":
                self._body(one, first, length, fault)
        finally:  # also when the client went away
            self._record(status, self._sent)

    def _body(self, one: HubFile, first: int, length: int, fault: t.Optional[Fault]) -> None:
        kind = fault.kind if fault else ""
        spot = int(one.size * fault.at) if fault else 0  # a place in the file, whatever range is asked for
        with open(one.local, "rb") as source:
            source.seek(first)
            while self._sent < length:
                piece = source.read(min(PIECE, length - self._sent))
                here = first + self._sent
                if fault and kind in ("drop", "stall", "corrupt") and here <= spot < here + len(piece):
                    if kind == "corrupt":
                        piece = piece[: spot - here] + bytes([piece[spot - here] ^ 0xFF]) + piece[spot - here + 1 :]
                    else:
                        self.wfile.write(piece[: spot - here])
                        self.wfile.flush()
                        self._sent += spot - here
                        if kind == "stall":
                            time.sleep(fault.seconds)
                        self.close_connection = True
                        return
                self.wfile.write(piece)
                self._sent += len(piece)
                if fault and kind == "slow":
                    time.sleep(len(piece) / fault.rate)


def _span(first: str, last: str, size: int) -> t.Tuple[int, int]:
    if not first:  # the last N bytes
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


def _pairs(values: t.Sequence[str]) -> t.Dict[str, str]:
    return dict(value.split("=", 1) for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="directory with the repositories, <org>/<name>/...")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--cdn-port", type=int, default=0, help="redirect large files to a second origin on this port")
    parser.add_argument("--page-size", type=int, default=1000, help="rows of a /tree page")
    parser.add_argument("--gated", action="append", default=[], metavar="ORG/NAME=TOKEN", help="may be repeated")
    parser.add_argument("--private", action="append", default=[], metavar="ORG/NAME=TOKEN", help="may be repeated")
    parser.add_argument("--fault", action="append", default=[], type=Fault.parse, help="KIND[,path=GLOB][,times=N]...")
    parser.add_argument("--log", help="append every answered request to this file, one JSON object a line")
    options = parser.parse_args()
    hub = Hub(
        options.root,
        host=options.host,
        port=options.port,
        cdn=bool(options.cdn_port),
        cdn_port=options.cdn_port,
        page_size=options.page_size,
        gated=_pairs(options.gated),
        private=_pairs(options.private),
        faults=options.fault,
        log=options.log,
    )
    with hub:
        print("hub stand-in on %s %s" % (hub.url, hub.cdn_url), flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
