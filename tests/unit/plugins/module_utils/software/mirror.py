# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release archives as small as they can be, and a server that has them and bad days."""

from __future__ import annotations

import hashlib
import http.server
import io
import re
import ssl
import tarfile
import threading
import time
import typing as t
from dataclasses import dataclass, field

import zstandard

PROGRAM = b"#!/bin/sh\nexit 0\n"
BASE = {
    "bin/ollama": PROGRAM,
    "lib/ollama/llama-server": PROGRAM,
    "lib/ollama/libggml-base.so.0": b"base",
    "lib/ollama/cuda_v12/libcublas.so.12": b"twelve" * 100,
    "lib/ollama/cuda_v13/libcublas.so.13": b"thirteen" * 100,
    "lib/ollama/vulkan/libggml-vulkan.so": b"vulkan",
}
LINKS = {"lib/ollama/libggml-base.so": "libggml-base.so.0"}


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **fields: t.Any) -> t.Tuple[tarfile.TarInfo, bytes]:
    """One entry of an archive, whatever it may be."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode = kind, len(content), 0o755
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry, content


def tar(*members: t.Tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry, content in members:
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def release(files: t.Mapping[str, bytes], links: t.Mapping[str, str], *more: t.Tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An archive as `tar` of a directory makes it: with its directories, libraries without the executable bit."""
    folders = sorted({"/".join(name.split("/")[:end]) for name in files for end in range(1, name.count("/") + 1)})
    members = [member("./" + name, tarfile.DIRTYPE, mode=0o775) for name in folders]
    members += [
        member("./" + name, content=content, mode=0o664 if ".so" in name else 0o775, uid=1000, gid=1000)
        for name, content in files.items()
    ]
    members += [member("./" + name, tarfile.SYMTYPE, linkname=target, mode=0o777) for name, target in links.items()]
    return tar(*members, *more)


def zst(data: bytes, stated: bool = False) -> bytes:
    """As `tar ... | zstd` makes it: a file that does not say how large it becomes."""
    if stated:
        return zstandard.ZstdCompressor().compress(data)
    packing = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return packing.compress(data) + packing.flush()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sums(files: t.Mapping[str, bytes]) -> bytes:
    """As the vendor's `find . -type f | xargs sha256sum` writes them."""
    return "".join("%s  ./%s\n" % (sha256(files[name]), name) for name in sorted(files, reverse=True)).encode()


@dataclass
class Fault:
    """What happens to one request, once."""

    status: int = 0
    headers: t.Dict[str, str] = field(default_factory=dict)
    cut: t.Optional[int] = None  # bytes that are sent before the connection ends
    stall_s: float = 0  # silence instead of the end
    pace: t.Optional[t.Tuple[int, float]] = None  # bytes at a time, and seconds between them


class Mirror:
    """Files by path, on loopback."""

    def __init__(self, certificate: t.Optional[t.Tuple[str, str]] = None) -> None:
        self.files: t.Dict[str, bytes] = {}
        self.faults: t.Dict[str, t.List[Fault]] = {}
        self.redirect = ""  # where all files but sums are sent, as GitHub sends them to its storage
        self.ranges = True
        self.always: t.Optional[Fault] = None
        self.requests: t.List[t.Tuple[str, t.Dict[str, str]]] = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # pylint: disable=invalid-name
                mirror.answer(self)

            def log_message(self, *_words: t.Any) -> None:  # pylint: disable=arguments-differ
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *_error: t.Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return "%s://127.0.0.1:%d" % (self._scheme, self._server.server_address[1])

    def add(self, version: str, files: t.Mapping[str, bytes]) -> None:
        for name, data in dict(files, **{"sha256sum.txt": sums(files)}).items():
            self.files["/v%s/%s" % (version, name)] = data

    def asked(self, suffix: str) -> t.List[t.Optional[str]]:
        """The Range headers of the requests for a file."""
        return [headers.get("Range") for path, headers in self.requests if path.endswith(suffix)]

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        # Through a proxy the whole address is in the request.
        path = re.sub(r"^http://[^/]+", "", request.path)
        self.requests.append((path, dict(request.headers)))
        waiting = self.faults.get(path)
        fault = waiting.pop(0) if waiting else self.always or Fault()
        data = self.files.get(path)
        if fault.status or data is None:
            self._head(request, fault.status or 404, dict(fault.headers, **{"Content-Length": "0"}))
        elif self.redirect and not path.endswith(".txt"):
            self._head(request, 302, {"Location": self.redirect + path + "?signature=secret", "Content-Length": "0"})
        else:
            self._send(request, data, fault)

    def _send(self, request: http.server.BaseHTTPRequestHandler, data: bytes, fault: Fault) -> None:
        etag = '"%s"' % sha256(data)[:16]
        headers = {"ETag": etag, "Content-Length": str(len(data))}
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start, status = 0, 200
        if match and self.ranges and request.headers.get("If-Range", etag) == etag:
            start = int(match.group(1))
            if start >= len(data):
                self._head(request, 416, {"Content-Range": "bytes */%d" % len(data), "Content-Length": "0"})
                return
            status = 206
            headers["Content-Range"] = "bytes %d-%d/%d" % (start, len(data) - 1, len(data))
            headers["Content-Length"] = str(len(data) - start)
        self._head(request, status, headers)
        end = len(data) if fault.cut is None else min(len(data), start + fault.cut)
        size, pause_s = fault.pace or (end, 0)
        for offset in range(start, end, size or 1):
            request.wfile.write(data[offset : min(end, offset + size)])
            time.sleep(pause_s)
        time.sleep(fault.stall_s)

    @staticmethod
    def _head(request: http.server.BaseHTTPRequestHandler, status: int, headers: t.Mapping[str, str]) -> None:
        request.close_connection = True
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
