# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One HTTP connection to an engine, over TCP, TLS or a Unix socket; every failure named by its verdict."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import typing as t
import urllib.parse
from dataclasses import dataclass, field

from ..errors import GpufleetError
from ..tls import Security

MOST_BYTES = 16 * 1024 * 1024  # of one answer: a confused server must not fill the host's memory

UPLOAD_PIECE_BYTES = 1024 * 1024


def failure(verdict: str, detail: str, status: t.Optional[int] = None) -> GpufleetError:
    """What a look at an endpoint ended with, to be raised. ``verdict`` is one of probe.VERDICTS."""
    return GpufleetError(detail, verdict=verdict, http_status=status)


@dataclass(frozen=True)
class Address:
    """Where the server is: ``http``, ``https`` or ``unix``; ``prefix`` is what stands before /v1."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> "Address":
        wanted = "url=%s: give http://HOST:PORT, https://HOST:PORT or unix:///PATH/OF/THE/SOCKET" % url
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError:
            raise GpufleetError(wanted) from None
        if parts.username is not None or parts.password is not None:
            raise GpufleetError("url must not hold a user name or a password: set api_key_file")
        if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
            return cls("unix", path=parts.path)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise GpufleetError(wanted)
        prefix = parts.path.rstrip("/")
        if prefix.endswith("/v1"):  # many clients want it there
            prefix = prefix[: -len("/v1")]
        return cls(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme], "", prefix)

    @property
    def place(self) -> str:
        """For messages."""
        return self.path if self.scheme == "unix" else "%s port %d" % (self.host, self.port)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    headers: t.Dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")


class Upload:
    """Bytes of a known number that are sent as they are read."""

    def __init__(self, read: t.Callable[[int], bytes], size: int) -> None:
        self.read, self.size = read, size


class Stream:
    """An answer that is read as it comes. ``began`` is when the request had been sent, in monotonic seconds."""

    def __init__(
        self, client: "Client", connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        self.status = response.status
        self.began = client.began
        self.most_bytes: t.Optional[int] = MOST_BYTES  # None for who reads hours of progress and keeps none of it
        self._client, self._connection, self._response = client, connection, response
        self._socket = client.socket
        self._read = 0

    def pieces(self, silence_s: t.Callable[[], float]) -> t.Iterator[bytes]:
        """What comes, as it comes; ``silence_s()`` is how long the next piece may take, at most."""
        while not self._response.isclosed():  # it closes itself, and the socket, after the last byte
            with self._client.naming_failures("while it answered"):
                left = silence_s()
                if left <= 0:
                    raise socket.timeout
                self._socket.settimeout(left)
                piece = self._response.read1(65536)
                if not piece and self._response.length:  # what the headers promised and did not come
                    raise http.client.IncompleteRead(b"")
            if not piece:
                return
            self._read += len(piece)
            if self.most_bytes is not None and self._read > self.most_bytes:
                text = "the answer is longer than %d bytes" % self.most_bytes
                raise failure("not_an_openai_endpoint", text, self.status)
            yield piece

    def whole(self, timeout_s: float) -> Answer:
        until = time.monotonic() + timeout_s
        body = b"".join(self.pieces(lambda: until - time.monotonic()))
        return Answer(self.status, body, {name.lower(): value for name, value in self._response.getheaders()})

    def close(self) -> None:
        self._response.close()
        self._connection.close()


class Client:
    """Asks one server. Environment proxies are not used: what is asked is the address itself."""

    def __init__(self, address: Address, security: Security, timeout_s: float) -> None:
        self.address, self.security, self.timeout_s = address, security, timeout_s
        self.began = 0.0
        self.socket: t.Any = None
        self._context = security.context() if address.scheme == "https" else None

    def get(self, path: str) -> Answer:
        stream = self.open("GET", path)
        try:
            return stream.whole(self.timeout_s)
        finally:
            stream.close()

    def open(self, method: str, path: str, body: t.Union[None, bytes, Upload] = None) -> Stream:
        """Send a request and read the headers of the answer. Close the stream."""
        headers = {"Accept": "*/*", "Connection": "close", "User-Agent": "gpufleet-endpoint-check"}
        if isinstance(body, Upload):
            headers.update({"Content-Type": "application/octet-stream", "Content-Length": str(body.size)})
        elif body is not None:
            headers["Content-Type"] = "application/json"
        if self.security.key:
            headers["Authorization"] = "Bearer " + self.security.key
        connection = self._connection()
        try:
            with self.naming_failures("at the connection"):
                connection.connect()
            self.socket = connection.sock
            with self.naming_failures("after the request %s %s" % (method, path)):
                try:
                    connection.request(method, self.address.prefix + path, body, headers)
                except ConnectionError:
                    if not isinstance(body, Upload):
                        raise
                    # A server that refuses an upload answers before it has read it, and says why.
                self.began = time.monotonic()
                return Stream(self, connection, connection.getresponse())
        except BaseException:
            connection.close()
            raise

    def naming_failures(self, moment: str) -> "_Naming":
        return _Naming(self.address, moment, self.timeout_s)

    def _connection(self) -> http.client.HTTPConnection:
        connection = self._made()
        connection.blocksize = UPLOAD_PIECE_BYTES
        return connection

    def _made(self) -> http.client.HTTPConnection:
        address = self.address
        if address.scheme == "unix":
            return _UnixConnection(address.path, self.timeout_s)
        if address.scheme == "https":
            return http.client.HTTPSConnection(
                address.host, address.port, timeout=self.timeout_s, context=self._context
            )
        return http.client.HTTPConnection(address.host, address.port, timeout=self.timeout_s)


@dataclass(frozen=True)
class _Naming:
    """Turns what the network layer raises into a failure with a verdict."""

    address: Address
    moment: str
    timeout_s: float

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: t.Any, error: t.Optional[BaseException], trace: t.Any) -> None:
        if isinstance(error, (OSError, http.client.HTTPException)):
            verdict, text = self._named(error)
            raise failure(verdict, text) from None

    def _named(self, error: Exception) -> t.Tuple[str, str]:
        place = self.address.place
        if isinstance(error, socket.timeout):
            return "timeout", "no sign of life from %s for %g s %s" % (place, self.timeout_s, self.moment)
        if isinstance(error, ssl.SSLError):
            return "tls_error", "TLS with %s failed: %s" % (place, getattr(error, "verify_message", "") or error.reason)
        if isinstance(error, ConnectionRefusedError):
            return "refused", "%s refuses connections" % place
        if isinstance(error, FileNotFoundError):
            return "not_listening", "the socket %s does not exist" % place
        if isinstance(error, PermissionError):
            return "refused", "this user may not connect to %s: %s" % (place, error.strerror)
        if isinstance(error, (http.client.RemoteDisconnected, ConnectionError, http.client.IncompleteRead)):
            return "server_error", "%s closed the connection %s" % (place, self.moment)
        if isinstance(error, http.client.HTTPException):
            return "not_an_openai_endpoint", "%s does not speak HTTP" % place
        return "unreachable", "%s cannot be reached: %s" % (place, error)
