# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers for the tests of the engines."""

from __future__ import annotations

import socket
import threading
import typing as t

import pytest
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.support import recorded


@pytest.fixture
def replay() -> t.Iterator[t.Callable[..., str]]:
    """``replay("chat_stream")`` is the URL of a server that answers any request with that recording, or raw bytes."""
    servers: t.List[socket.socket] = []

    def start(answer: t.Union[str, bytes]) -> str:
        if isinstance(answer, str):
            status, headers, body = recorded(answer)
            # The recording holds the body without chunks, so the end of the connection is its end.
            kind = headers.get("content-type", "text/plain")
            head = "HTTP/1.1 %d Recorded\r\nContent-Type: %s\r\nConnection: close\r\n\r\n" % (status, kind)
            answer = head.encode() + body
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=_serve, args=(server, answer), daemon=True).start()
        return "http://127.0.0.1:%d" % server.getsockname()[1]

    yield start
    for server in servers:
        server.close()


def _serve(server: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection = server.accept()[0]
        except OSError:  # the test is over
            return
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            length = [line for line in received.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            left = int(length[0].split(b":")[1]) - len(received.split(b"\r\n\r\n", 1)[1]) if length else 0
            while left > 0:
                left -= len(connection.recv(65536))
            connection.sendall(answer)
