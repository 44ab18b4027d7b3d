# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections that are used again: a model of a hundred small files would spend its time greeting."""

from __future__ import annotations

import functools
import http.client
import ssl
import threading
import typing as t
import urllib.error
import urllib.request

_Key = t.Tuple[t.Any, ...]


class _Pool:
    """Connections that nobody uses now, by where they lead."""

    def __init__(self) -> None:
        self._idle: t.Dict[_Key, t.List[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()

    def take(self, key: _Key) -> t.Optional[http.client.HTTPConnection]:
        with self._lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def give(self, key: _Key, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.setdefault(key, []).append(connection)


class _Response(http.client.HTTPResponse):
    """Gives its connection back when it has been read to its end; closed before that, it closes it."""

    reuse: t.Optional[t.Callable[[], None]] = None
    discard: t.Optional[t.Callable[[], None]] = None
    _begun = False

    def _close_conn(self) -> None:  # what http.client calls at the end of the body
        super()._close_conn()  # type: ignore[misc]
        reuse, self.reuse, self.discard = self.reuse, None, None
        if reuse:
            reuse()

    def readinto1(self, view: memoryview) -> int:
        """As readinto, but what is there is enough: nothing is lost when no more comes."""
        if self.fp is None:
            return 0
        if self.chunked or not self._begun:  # what came with the headers lies in a buffer, which readinto1 would add to
            self._begun = True
            piece = self.read1(min(len(view), 65536))
            view[: len(piece)] = piece
            return len(piece)
        count = self.fp.readinto1(view if self.length is None else view[: self.length])  # type: ignore[attr-defined]
        if self.length is not None:
            self.length -= count
        if not count and view:
            self._close_conn()
        return count

    def close(self) -> None:
        discard, self.reuse, self.discard = self.discard, None, None
        super().close()
        if discard:
            discard()


class _Reusing:
    _pool: _Pool

    def reopen(self, make: t.Callable[..., http.client.HTTPConnection], req: t.Any) -> http.client.HTTPResponse:
        """As do_open of urllib does it, but for the connection."""
        if not req.host:
            raise urllib.error.URLError("no host given")
        headers = dict(req.unredirected_hdrs)
        headers.update({name: value for name, value in req.headers.items() if name not in headers})
        headers = {name.title(): value for name, value in headers.items()}
        tunnel: t.Dict[str, str] = {}
        if req._tunnel_host and "Proxy-Authorization" in headers:
            tunnel["Proxy-Authorization"] = headers.pop("Proxy-Authorization")
        key = (req.type, req.host, req._tunnel_host)
        while True:
            connection = self._pool.take(key)
            used = connection is not None
            if connection is None:
                connection = make(req.host, timeout=req.timeout)
                connection.response_class = _Response
                if req._tunnel_host:
                    connection.set_tunnel(req._tunnel_host, headers=tunnel)
            else:
                connection.timeout = req.timeout
                connection.sock.settimeout(req.timeout)  # type: ignore[union-attr]
            try:
                try:
                    connection.request(req.get_method(), req.selector, req.data, headers)
                    response = t.cast(_Response, connection.getresponse())
                except (http.client.RemoteDisconnected, ConnectionError):
                    connection.close()
                    if used:  # the server had closed it meanwhile
                        continue
                    raise
            except OSError as error:
                connection.close()
                raise urllib.error.URLError(error) from error
            except BaseException:
                connection.close()
                raise
            if response.isclosed():  # it has no body
                if not response.will_close:
                    self._pool.give(key, connection)
            elif not response.will_close:
                response.reuse = lambda: self._pool.give(key, connection)
                response.discard = connection.close
            response.url = req.get_full_url()
            response.msg = response.reason  # type: ignore[assignment]
            return response


class _Http(_Reusing, urllib.request.HTTPHandler):
    def __init__(self, pool: _Pool) -> None:
        super().__init__()
        self._pool = pool

    def http_open(self, req: t.Any) -> http.client.HTTPResponse:
        return self.reopen(http.client.HTTPConnection, req)


class _Https(_Reusing, urllib.request.HTTPSHandler):
    def __init__(self, pool: _Pool, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._pool = pool
        self._make = functools.partial(http.client.HTTPSConnection, context=context)

    def https_open(self, req: t.Any) -> http.client.HTTPResponse:
        return self.reopen(self._make, req)


def handlers(context: ssl.SSLContext) -> t.List[urllib.request.BaseHandler]:
    """For urllib's opener, in the place of its own two."""
    pool = _Pool()
    return [_Http(pool), _Https(pool, context)]
