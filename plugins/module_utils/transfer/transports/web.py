# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetch a large file over HTTP and be sure of it: continued when it is cut, tried again, verified."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import math
import re
import socket
import ssl
import threading
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field

from ...errors import GpufleetError
from ...sizes import MIB
from ...tls import Security
from ...version import VERSION
from ..files import Wanted
from .part import Part
from .reuse import handlers
from .terms import Terms

_PIECE = MIB
_PIECE_S = 0.2
_LONGEST_PAUSE_S = 60.0
_LONGEST_WAIT_S = 900.0  # that a server may ask for
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
Room = t.Callable[[int, int], None]
#: What a refusal means to who asks: status, headers, URL. None: no more than HTTP says.
Explain = t.Callable[[int, t.Mapping[str, str], str], t.Optional[GpufleetError]]


@dataclass(frozen=True)
class Access:
    """How servers are reached."""

    proxy: t.Optional[str] = None
    ca_path: t.Optional[str] = None
    username: t.Optional[str] = None
    password: t.Optional[str] = None
    token: t.Optional[str] = None  # a bearer's; never sent to another server that a redirect names
    cookie: t.Optional[str] = None  # the same holds for it
    timeout_s: float = 3600
    stall_timeout_s: int = 60
    retries: int = 5
    first_pause_s: float = 1.0  # before the second attempt; then twice as long each time
    limit_bytes_per_s: int = 0  # over all connections; 0: none
    explain: t.Optional[Explain] = None
    say: t.Callable[[str], None] = lambda text: None
    stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def on(cls, terms: Terms, **more: t.Any) -> Access:
        """For a download of any length."""
        return cls(
            ca_path=terms.ca_path,
            timeout_s=math.inf,
            stall_timeout_s=terms.stall_timeout_s,
            retries=8,  # minutes: a server that starts again, a line that comes back
            limit_bytes_per_s=terms.limit_bytes_per_s,
            say=terms.say,
            stop=terms.stop,
            **more,
        )


class NotThere(GpufleetError):
    """The server says that there is no such file."""


class GivenUp(GpufleetError):
    """Attempt after attempt failed."""


class Wrong(GpufleetError):
    """What came is not the file that was asked for. None of it was kept."""


class _Again(Exception):
    """An attempt that failed in a way that the next one may not."""

    def __init__(self, detail: str, pause_s: t.Optional[float] = None, anew: bool = False) -> None:
        super().__init__(detail)
        self.pause_s = pause_s
        self.anew = anew  # what came so far is of no use


class _Moved(Exception):
    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Also 308, which Python 3.9 does not know; and never from TLS to none."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302

    def redirect_request(  # pylint: disable=too-many-positional-arguments
        self, req: t.Any, fp: t.Any, code: int, msg: str, headers: t.Any, newurl: str
    ) -> t.Optional[urllib.request.Request]:
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
            raise GpufleetError(
                "%s redirects to %s://%s, which is not protected as it is: set url to a server that does not"
                % (req.full_url, new.scheme, new.hostname)
            )
        request = super().redirect_request(req, fp, 302, msg, headers, newurl)
        if request is not None and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            for name, value in req.unredirected_hdrs.items():
                if name in ("Authorization", "Cookie"):
                    request.add_unredirected_header(name, value)
        return request


class _Still(urllib.request.HTTPRedirectHandler):
    """Goes nowhere."""

    def redirect_request(self, *_arguments: t.Any, **_more: t.Any) -> None:  # pylint: disable=arguments-differ
        return None


class Web:
    """All requests of one run: they share the time, the credentials and the count of bytes."""

    def __init__(self, access: Access, sleep: t.Callable[[float], None] = time.sleep) -> None:
        self.received = 0
        self._access = access
        self._sleep = sleep
        self._deadline = time.monotonic() + access.timeout_s
        ways = handlers(Security(ca_path=access.ca_path).context())
        if access.proxy:
            proxy = _proxy(access.proxy)
            ways.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
        self._opener = urllib.request.build_opener(_Redirect(), *ways)
        self._still = urllib.request.build_opener(_Still(), *ways)
        self._limit = _Limit(access.limit_bytes_per_s, sleep)
        self._piece = min(_PIECE, max(16384, int(access.limit_bytes_per_s * _PIECE_S) or _PIECE))

    def text(self, url: str) -> str:
        """A small file as text."""
        return self.content(url).decode("utf-8", errors="replace")

    def content(self, url: str, accept: str = "*/*") -> bytes:
        """A small file."""
        return self.answer(url, accept)[0]

    def answer(
        self, url: str, accept: str = "*/*", retries: t.Optional[int] = None, most: int = 16 * MIB
    ) -> t.Tuple[bytes, t.Mapping[str, str]]:
        """A small file of at most ``most`` bytes, and the headers that came with it.

        ``retries``: fewer attempts than of a file that is long to come.
        """

        def attempt() -> t.Tuple[bytes, t.Mapping[str, str]]:
            content = bytearray()
            with self._open(url, {"Accept": accept}) as response:
                for piece in self._pieces(response, url, _expected(response)):
                    content += piece
                    if len(content) > most:
                        raise GpufleetError("%s is larger than %d bytes: it is not what was asked for" % (url, most))
                return bytes(content), response.headers

        return self._persist(url, attempt, lambda: 0, retries)

    def size(self, url: str) -> t.Optional[int]:
        """How large a file is; None when the server does not say. Not by HEAD: a presigned address is for GET alone."""

        def attempt() -> t.Optional[int]:
            headers = {"Range": "bytes=0-0"}
            try:
                with self._open(url, headers) as response:
                    return _content_range(response)[1] if _is_partial(response, headers) else _expected(response)
            except _Again as error:
                if "HTTP 416" not in str(error):
                    raise
            with self._open(url, {}) as response:  # an empty file has no first byte
                return _expected(response)

        return self._persist(url, attempt, lambda: 0)

    def file(self, url: str, path: str, wanted: Wanted, room: Room, note: t.Optional[str] = None) -> str:
        """Fetch ``url`` into ``path`` and return its hash, the one asked for if one is.

        ``room(missing, total)`` is asked before bytes are written, and raises when there is none. What a killed run
        left at ``path`` is continued if it was meant to become the same bytes: ``note`` says so, by default ``<path>.json``.
        """
        part = Part(path, url, wanted, note or path + ".json")
        try:
            if part.open():
                with contextlib.suppress(_Again):
                    return self._finished(part, url)
            while True:
                continued = part.position > 0
                self._persist(url, lambda: self._continue(part, url, room), lambda: part.best)
                try:
                    return self._finished(part, url)
                except _Again as error:
                    if not continued:  # what came whole and wrong will come wrong again
                        part.remove()
                        raise Wrong(
                            "%s and was removed. A proxy or a mirror in between may alter it or hold a damaged copy, "
                            "or %s is that of another file" % (error, wanted.kind)
                        ) from None
        finally:
            part.close()

    def other_server(self, url: str) -> t.Optional[str]:
        """Where a redirect of ``url`` points to, when that is another server: there the credentials must not go."""

        def attempt() -> t.Optional[str]:
            try:
                self._open(url, {"Range": "bytes=0-0"}, self._still).close()
            except _Moved as moved:
                there = urllib.parse.urljoin(url, moved.location)
                old, new = urllib.parse.urlsplit(url), urllib.parse.urlsplit(there)
                return there if (old.scheme, old.netloc) != (new.scheme, new.netloc) else None
            return None

        return t.cast(t.Optional[str], self._persist(url, attempt, lambda: 0))

    def _finished(self, part: Part, url: str) -> str:
        found = part.digest.hexdigest()
        if part.wanted.value and found != part.wanted.value:
            part.remove()
            part.open()
            raise _Again("%s arrived wrong (%s expected %s, got %s)" % (url, part.wanted.kind, part.wanted.value, found))
        return found

    def _continue(self, part: Part, url: str, room: Room) -> None:
        try:
            self._receive(part, url, room)
        except _Again as error:
            if error.anew:
                part.begin(url, None, None)
            raise

    def _receive(self, part: Part, url: str, room: Room) -> None:
        headers = {}
        if part.position:
            headers["Range"] = "bytes=%d-" % part.position
            if part.etag and part.url == url:
                headers["If-Range"] = part.etag
        with self._open(url, headers) as response:
            if _is_partial(response, headers):
                start, total = _content_range(response)
                if start != part.position or (part.size is not None and total != part.size):
                    raise _Again("it is another file than when it was begun", 0, anew=True)
            else:
                total = _expected(response)
                if part.wanted.size is not None and total not in (None, part.wanted.size):
                    page = response.headers.get_content_type() == "text/html"
                    what = "a page came, as of a proxy or a login: it" if page else "it"
                    text = "%s has %d bytes, where %d were announced" % (what, total or 0, part.wanted.size)
                    raise Wrong(text)
                part.begin(url, total, response.headers.get("ETag"))
            if total is not None:
                room(total - part.position, total)
            for piece in self._pieces(response, url, None if total is None else total - part.position):
                if part.wanted.size is not None and part.position + len(piece) > part.wanted.size:
                    raise Wrong("more than the %d bytes came that were announced" % part.wanted.size)
                part.write(piece)

    def _pieces(self, response: t.Any, url: str, expected: t.Optional[int]) -> t.Iterator[memoryview]:
        """What comes, a moment's worth at a time, so that neither a piece nor their number costs much.

        Each is good until the next one is asked for. What came before a failure is not lost.
        """
        count, failure, ended = 0, None, False
        buffer = memoryview(bytearray(self._piece if expected is None else min(self._piece, expected)))
        while not (ended or failure) and (expected is None or count < expected):
            began = now = time.monotonic()
            if now > self._deadline:
                raise self._late(url)
            self._go_on()
            room = buffer if expected is None else buffer[: expected - count]
            filled = 0
            try:
                with _network_failures(url, self._access.stall_timeout_s):
                    while filled < len(room) and now - began < _PIECE_S and not ended:
                        got = response.readinto1(room[filled:])
                        filled, ended, now = filled + got, not got, time.monotonic()
            except (_Again, GpufleetError) as error:
                failure = error
            if filled:
                self._limit.spend(filled)
                count += filled
                self.received += filled
                yield room[:filled]
        if failure:
            raise failure
        if expected is not None and count < expected:
            raise _Again("the connection ended %d bytes before the end" % (expected - count))
        with contextlib.suppress(OSError, http.client.HTTPException):
            response.read(1)  # before Python 3.12, only this ends the answer, and lets the connection be used again

    def _open(self, url: str, headers: t.Dict[str, str], opener: t.Optional[t.Any] = None) -> t.Any:
        request = urllib.request.Request(url, headers={**headers, "User-Agent": "gpufleet.llm/" + VERSION})
        if self._access.username is not None:
            both = "%s:%s" % (self._access.username, self._access.password or "")
            request.add_unredirected_header("Authorization", "Basic " + b64encode(both.encode()).decode())
        elif self._access.token is not None:
            request.add_unredirected_header("Authorization", "Bearer " + self._access.token)
        if self._access.cookie is not None:
            request.add_unredirected_header("Cookie", self._access.cookie)
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late(url)
        with _network_failures(url, self._access.stall_timeout_s):
            try:
                return (opener or self._opener).open(request, timeout=min(left, self._access.stall_timeout_s))
            except urllib.error.HTTPError as error:
                error.close()
                if opener is not None and error.code in (301, 302, 303, 307, 308):
                    raise _Moved(error.headers.get("Location", "")) from None
                raise self._refusal(error, url, headers) from None

    def _persist(
        self, url: str, attempt: t.Callable[[], t.Any], progress: t.Callable[[], int], retries: t.Optional[int] = None
    ) -> t.Any:
        """Try until it works, or until ``retries`` attempts in a row came no further."""
        retries = self._access.retries if retries is None else retries
        failures, reached = 0, progress()
        while True:
            try:
                return attempt()
            except _Again as error:
                failures, reached = (failures + 1 if progress() <= reached else 1), max(reached, progress())
                if failures > retries:
                    raise GivenUp("%s: %s. Given up after %d attempts" % (url, error, failures)) from None
                pause = min(_LONGEST_PAUSE_S, self._access.first_pause_s * 2.0 ** (failures - 1))
                if error.pause_s is not None:
                    pause = min(error.pause_s, self._longest_wait_s())
                if time.monotonic() + pause > self._deadline:
                    raise self._late(url, ": %s" % error) from None
                self._access.say("%s: %s; trying again in %d s" % (url, error, pause))
                self._sleep(pause)
                self._go_on()

    def _longest_wait_s(self) -> float:
        """That a server may ask for: where time has an end, that is told instead."""
        return _LONGEST_WAIT_S if self._deadline == math.inf else math.inf

    def _go_on(self) -> None:
        if self._access.stop.is_set():
            raise GpufleetError("stopped, because something else went wrong")

    def _refusal(self, error: urllib.error.HTTPError, url: str, headers: t.Mapping[str, str]) -> Exception:
        refusal = _refusal(error, url, headers)
        if isinstance(refusal, GpufleetError) and self._access.explain:
            return self._access.explain(error.code, error.headers, url) or refusal
        return refusal

    def _late(self, url: str, why: str = "") -> GpufleetError:
        return GpufleetError(
            "%s cannot be fetched within timeout=%d s%s. What came is kept, and the next run continues there; "
            "set timeout higher if the line is slow" % (url, self._access.timeout_s, why)
        )


class _Limit:
    """So many bytes a second, over all threads."""

    def __init__(self, bytes_per_s: int, sleep: t.Callable[[float], None]) -> None:
        self._bytes_per_s = bytes_per_s
        self._sleep = sleep
        self._free_at = 0.0
        self._lock = threading.Lock()

    def spend(self, count: int) -> None:
        """Wait until ``count`` bytes more have had their time."""
        if not self._bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._bytes_per_s
            pause = self._free_at - now
        self._sleep(pause)


@contextlib.contextmanager
def _network_failures(url: str, stall_timeout_s: int) -> t.Iterator[None]:
    """Which failures of the network are worth another attempt."""
    try:
        yield
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise GpufleetError(
                "%s: its certificate is not trusted (%s). Set ca_path to the certificate of your authority"
                % (url, reason.verify_message)
            ) from None
        if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
            raise GivenUp("%s: there is no such host. Check url, proxy and the host's name servers" % url) from None
        if isinstance(reason, socket.timeout):
            raise _Again("no answer for stall_timeout=%d s" % stall_timeout_s) from None
        if "Tunnel connection failed: 4" in str(reason):  # 403, 407: the proxy will not change its mind
            raise GpufleetError("%s: the proxy refuses: %s. Check proxy and its credentials" % (url, reason)) from None
        raise _Again(str(reason)) from None
    except socket.timeout:
        raise _Again("nothing came for stall_timeout=%d s" % stall_timeout_s) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Again(str(error) or type(error).__name__) from None


def _refusal(error: urllib.error.HTTPError, url: str, headers: t.Mapping[str, str]) -> Exception:
    text = "%s: HTTP %d %s" % (url, error.code, error.reason)
    if error.code in (404, 410):
        return NotThere("%s. Check version and url" % text)
    if error.code == 416 and headers:
        return _Again(text, 0, anew=True)
    if error.code in _AGAIN:
        pause_s = _retry_after(error.headers.get("Retry-After"))
        if pause_s is None:
            pause_s = _window_left(error.headers.get("RateLimit"))
        return _Again("HTTP %d %s" % (error.code, error.reason), pause_s)
    if error.code in (401, 403):
        text += ". The server wants a user name and a password that it knows: set username and password"
    if error.code == 407:
        text += ". The proxy wants credentials: give them as http://USER:PASSWORD@HOST:PORT"
    return GpufleetError(text)


def _retry_after(value: t.Optional[str]) -> t.Optional[float]:
    """Seconds, or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _window_left(value: t.Optional[str]) -> t.Optional[float]:
    """Seconds, as a hub says it: ``"resolvers";r=0;t=55`` (draft-ietf-httpapi-ratelimit-headers)."""
    match = re.search(r"\bt=(\d+)", value or "")
    return float(match.group(1)) + 1 if match else None


def _expected(response: t.Any) -> t.Optional[int]:
    value = response.headers.get("Content-Length")
    return int(value) if value and value.isdigit() else None


def _is_partial(response: t.Any, headers: t.Mapping[str, str]) -> bool:
    """ModelScope sends the range that is asked for, says so in Content-Range, and calls it 200 (modelscope_hub issue 50)."""
    return response.status == 206 or ("Range" in headers and "Content-Range" in response.headers)


def _content_range(response: t.Any) -> t.Tuple[t.Optional[int], t.Optional[int]]:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not match:
        return None, None
    return int(match.group(1)), None if match.group(2) == "*" else int(match.group(2))


def _proxy(value: str) -> str:
    proxy = value if "://" in value else "http://" + value
    try:
        parts = urllib.parse.urlsplit(proxy)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or not (parts.port or True)
    except ValueError:
        wrong = True
    if wrong:
        shown = re.sub(r"//[^/]*@", "//", value)
        raise GpufleetError("proxy=%s: give http://HOST:PORT; other kinds of proxy are not supported" % shown)
    return proxy
