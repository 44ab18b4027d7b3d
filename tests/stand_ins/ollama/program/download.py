# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Downloads from a registry: manifests, and blobs in parts that are resumed."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import secrets
import socket
import threading
import time
import typing as t
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from . import names
from .modes import Modes
from .store import MANIFEST_TYPE, PIECE, Store

PARTS, MIN_PART, MAX_PART, TRIES = 16, 100 * 1000 * 1000, 1000 * 1000 * 1000, 6


class PullError(Exception):
    pass


class Cut(Exception):
    """The stand-in was asked to end the stream here."""


class Registry:
    """One registry, as one model's name gives it."""

    def __init__(self, name: names.Name, insecure: bool, store: Store) -> None:
        self._modes, self._environment, self._token = store.modes, store.environment, ""
        replaced = self._modes.text("registry")
        if name.host == names.HOST and replaced:
            self.base = replaced.rstrip("/")
        elif name.scheme == "http" and not insecure:
            raise PullError("insecure protocol http")
        else:
            self.base = "%s://%s" % ("http" if insecure else "https", name.host)
        self._path = "/v2/%s/%s" % (name.namespace, name.model)

    def manifest(self, tag: str) -> bytes:
        status, _headers, body = self._ask("GET", "%s%s/manifests/%s" % (self.base, self._path, tag))
        if status == 404:
            raise PullError("file does not exist")
        if status >= 400:
            raise PullError("%d: %s" % (status, body.decode(errors="replace").strip()))
        return body

    def blob_url(self, digest: str) -> str:
        return "%s%s/blobs/%s" % (self.base, self._path, digest)

    def size(self, digest: str) -> int:
        status, headers, body = self._ask("HEAD", self.blob_url(digest))
        if status == 404:
            raise PullError("file does not exist")
        if status >= 400:
            raise PullError("%d: %s" % (status, body.decode(errors="replace").strip()))
        return int(headers.get("Content-Length") or 0)

    def direct_url(self, digest: str) -> str:
        """Where the bytes are: the registry must say Location."""
        url = self.blob_url(digest)
        status, headers, _body = self._ask("GET", url, keep_body=False)
        if status >= 400:
            raise PullError("unexpected status code %d" % status)
        if not headers.get("Location"):
            raise PullError("http: no Location header in response")
        return urljoin(url, headers["Location"])

    def read(self, url: str, first: int, last: int) -> http.client.HTTPResponse:
        headers = {"Range": "bytes=%d-%d" % (first, last)}
        if self._token:
            headers["Authorization"] = "Bearer " + self._token
        answer = self._open("GET", url, headers)
        if answer.status >= 400:
            raise OSError("unexpected status code %d" % answer.status)
        return answer

    def _ask(self, method: str, url: str, keep_body: bool = True) -> t.Tuple[int, http.client.HTTPMessage, bytes]:
        for attempt in (1, 2):
            headers = {"Accept": MANIFEST_TYPE, "User-Agent": "ollama/stand-in"}
            if self._token:
                headers["Authorization"] = "Bearer " + self._token
            answer = self._open(method, url, headers)
            if answer.status == 401 and attempt == 1:
                self._authorise(answer.headers.get("WWW-Authenticate") or "")
                continue
            if answer.status == 401:
                raise PullError("unauthorized: access denied")
            body = answer.read() if keep_body else b""
            answer.close()
            return answer.status, answer.headers, body
        raise AssertionError("unreachable")

    def _authorise(self, challenge: str) -> None:
        found = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = urlsplit(found.get("realm", ""))
        if realm.netloc != urlsplit(self.base).netloc:
            raise PullError(
                "realm host %r does not match original host %r" % (realm.netloc, urlsplit(self.base).netloc)
            )
        query = {"service": found.get("service", ""), "scope": found.get("scope", ""), "ts": int(time.time()),
                 "nonce": secrets.token_urlsafe(16)}  # fmt: skip
        url = "%s://%s%s?%s" % (realm.scheme, realm.netloc, realm.path, urlencode(query))
        answer = self._open("GET", url, {"Authorization": "stand-in-public-key:signature"})
        body = answer.read()
        if answer.status >= 400:
            raise PullError("%d: %s" % (answer.status, body.decode(errors="replace").strip()))
        self._token = json.loads(body).get("token", "")

    def _open(self, method: str, url: str, headers: t.Dict[str, str]) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        target = parts.path + ("?" + parts.query if parts.query else "")
        proxy = urlsplit(self._environment.proxy(parts.scheme, parts.hostname or "")).netloc
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(proxy or parts.netloc, timeout=self._modes.number("stall_seconds", 30))
        if proxy and parts.scheme == "https":
            connection.set_tunnel(parts.netloc)
        elif proxy:
            target = url
        try:
            connection.request(method, target, headers=headers)
            return connection.getresponse()
        except socket.timeout:
            raise
        except OSError as error:
            reason = _reason(error, proxy or parts.netloc)
            raise PullError(
                '%s "%s": %s%s' % (method.capitalize(), url, "proxyconnect tcp: " * bool(proxy), reason)
            ) from error
        except http.client.HTTPException as error:
            raise PullError('%s "%s": EOF' % (method.capitalize(), url)) from error


def _reason(error: OSError, address: str) -> str:
    said = str(error)
    if "SSL" in type(error).__name__:
        return (
            "http: server gave HTTP response to HTTPS client" if "WRONG_VERSION" in said or "record" in said else said
        )
    if isinstance(error, ConnectionRefusedError):
        return "dial tcp %s: connect: connection refused" % address
    if isinstance(error, socket.gaierror):
        return "dial tcp: lookup %s: no such host" % address.partition(":")[0]
    refused = re.match(r"Tunnel connection failed: \d+ (.*)", said)
    return refused.group(1) if refused else said


class Download:
    """One blob on its way. Several pulls share it; the last one that goes cancels it."""

    def __init__(self, registry: Registry, digest: str, store: Store) -> None:
        self.digest, self.total = digest, 0
        self.error: t.Optional[BaseException] = None
        self.finished, self.cancelled = threading.Event(), threading.Event()
        self.references = 0
        self._registry, self._store, self._modes = registry, store, store.modes
        self._path = store.blob(digest)
        self._partial = Path(str(self._path) + "-partial")
        self._parts: t.List[t.Dict[str, int]] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._received = 0
        self._prepare()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def completed(self) -> int:
        return sum(part["Completed"] for part in self._parts)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _prepare(self) -> None:
        for path in sorted(self._partial.parent.glob(self._partial.name + "-*")):
            try:
                self._parts.append(json.loads(path.read_bytes()))
            except (OSError, ValueError):
                continue
        self._parts.sort(key=lambda part: part["N"])
        self.total = sum(part["Size"] for part in self._parts)
        if self._parts:
            return
        self.total = self._registry.size(self.digest)
        size = int(self._modes.number("part_bytes")) or min(max(self.total // PARTS, MIN_PART), MAX_PART)
        for number, offset in enumerate(range(0, self.total, size)):
            part = {"N": number, "Offset": offset, "Size": min(size, self.total - offset), "Completed": 0}
            self._parts.append(part)
            self._note(part)

    def _note(self, part: t.Dict[str, int]) -> None:
        path = Path("%s-%d" % (self._partial, part["N"]))
        path.write_bytes(json.dumps(part, separators=(",", ":")).encode() + b"\n")
        path.chmod(0o644)

    def _run(self) -> None:
        try:
            with open(self._partial, "r+b" if self._partial.exists() else "w+b") as stream:
                os.fchmod(stream.fileno(), 0o644)
                stream.truncate(self.total)
            url = self._registry.direct_url(self.digest) if self.completed < self.total else ""
            threads = [
                threading.Thread(target=self._fetch, args=(url, part), daemon=True)
                for part in self._parts
                if part["Completed"] < part["Size"]
            ]
            for first in range(0, len(threads), PARTS):
                group = threads[first : first + PARTS]
                for thread in group:
                    thread.start()
                for thread in group:
                    thread.join()
            if self.error is None and not self.cancelled.is_set():
                for part in self._parts:
                    Path("%s-%d" % (self._partial, part["N"])).unlink()
                self._partial.rename(self._path)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the pull tells it
            self.error = error
        finally:
            self.finished.set()

    def _fetch(self, url: str, part: t.Dict[str, int]) -> None:
        attempt = 0
        while attempt < TRIES and not self.cancelled.is_set():
            try:
                self._fetch_once(url, part)
                return
            except socket.timeout:
                continue  # a stall is tried again without limit
            except (OSError, http.client.HTTPException, PullError) as error:
                if isinstance(error, OSError) and "no space left" in str(error):
                    self.error = error
                    self.cancelled.set()
                    return
                attempt += 1
                said = "unexpected EOF" if isinstance(error, http.client.IncompleteRead) else error
                if attempt == TRIES:
                    self.error = self.error or PullError("max retries exceeded: %s" % said)
                    self.cancelled.set()
                    return
                self.cancelled.wait(self._modes.number("backoff_seconds", 1.0) * 2 ** (attempt - 1))

    def _fetch_once(self, url: str, part: t.Dict[str, int]) -> None:
        first, last = part["Offset"] + part["Completed"], part["Offset"] + part["Size"] - 1
        answer = self._registry.read(url, first, last)
        try:
            with open(self._partial, "r+b") as stream:
                stream.seek(first)
                while part["Completed"] < part["Size"] and not self.cancelled.is_set():
                    piece = answer.read(min(PIECE // 16, part["Size"] - part["Completed"]))
                    if not piece:
                        raise OSError("unexpected EOF")
                    self._hold_back(len(piece))
                    self._modes.write(len(piece), self._partial)
                    stream.write(piece)
                    stream.flush()
                    part["Completed"] += len(piece)
        finally:
            answer.close()
            self._note(part)

    def _hold_back(self, count: int) -> None:
        with self._lock:
            self._received += count
            received = self._received
        stall = self._modes.text("pull_stall")
        while stall and received > float(stall) * self.total and not self.cancelled.wait(0.05):
            stall = self._modes.text("pull_stall")
        rate = self._modes.number("pull_rate")
        if rate:
            self.cancelled.wait(max(0.0, self._began + received / rate - time.monotonic()))


class Downloads:
    """The downloads that are under way, by digest."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._running: t.Dict[str, Download] = {}

    def attach(self, registry: Registry, digest: str) -> Download:
        with self._lock:
            found = self._running.get(digest)
            if found is not None and found.cancelled.is_set():
                found.join(5)
            if found is None or found.cancelled.is_set() or found.finished.is_set():
                found = self._running[digest] = Download(registry, digest, self._store)
            found.references += 1
            return found

    def release(self, download: Download) -> None:
        with self._lock:
            download.references -= 1
            if download.references == 0:
                download.cancelled.set()

    def cancel_all(self) -> None:
        with self._lock:
            running = list(self._running.values())
        for download in running:
            download.cancelled.set()
        for download in running:
            download.join(0.3)


def verify(store: Store, digest: str) -> None:
    seen = hashlib.sha256()
    path = store.blob(digest)
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(PIECE), b""):
            seen.update(piece)
    found = "sha256:" + seen.hexdigest()
    if found != digest:
        path.unlink()
        raise PullError("digest mismatch, file must be downloaded again: want %s, got %s" % (digest, found))


def pull(
    store: Store, downloads: Downloads, name: names.Name, insecure: bool, say: t.Callable[..., None],
    gone: t.Callable[[], bool],
) -> None:  # fmt: skip
    """Everything that ``/api/pull`` does; ``say`` takes a progress line, ``gone`` knows whether the client has left."""
    say(status="pulling manifest")
    modes, before = store.modes, store.manifest(name)
    registry = Registry(name, insecure, store)
    try:
        content = registry.manifest(name.tag)
        manifest = json.loads(content)
        layers = list(manifest["layers"]) + (
            [manifest["config"]] if (manifest.get("config") or {}).get("digest") else []
        )
    except PullError as error:
        raise PullError("pull model manifest: %s" % error) from error
    except socket.timeout as error:
        raise PullError('pull model manifest: Get "%s": context deadline exceeded' % registry.base) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PullError("pull model manifest: invalid character '<' looking for beginning of value") from error
    fresh = []
    for layer in layers:
        digest = layer["digest"]
        path, short = store.blob(digest), "pulling " + digest[len("sha256:") :][:12]
        if path.exists():
            size = path.stat().st_size
            say(status=short, digest=digest, total=size, completed=size)
            continue
        if modes.text("pull_error"):
            raise PullError(modes.text("pull_error"))
        fresh.append(digest)
        _download(registry, downloads, digest, short, say, gone, modes)
    say(status="verifying sha256 digest")
    for digest in fresh:
        verify(store, digest)
    say(status="writing manifest")
    store.write_manifest(name, content)
    kept = {layer["digest"] for layer in layers}
    orphans = [layer["digest"] for layer in (before.everything if before else []) if layer["digest"] not in kept]
    if orphans and not store.noprune:
        say(status="removing unused layers")
        store.remove_unused(orphans)
    say(status="success")


def _download(
    registry: Registry, downloads: Downloads, digest: str, status: str, say: t.Callable[..., None],
    gone: t.Callable[[], bool], modes: Modes,
) -> None:  # fmt: skip
    download = downloads.attach(registry, digest)
    try:
        over = False
        while not over:
            over = download.finished.wait(0.06)
            line: t.Dict[str, t.Any] = {"status": status, "digest": digest, "total": download.total}
            if download.completed:
                line["completed"] = download.completed
            say(**line)
            cut = modes.text("pull_cut")
            if cut and download.completed >= float(cut) * download.total:
                raise Cut
            if gone():
                raise BrokenPipeError
    finally:
        downloads.release(download)
    if download.error is not None:
        raise PullError(str(download.error)) from download.error
