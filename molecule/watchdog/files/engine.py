# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine: vLLM's routes and metrics, and faults on demand. Standard library only.

    engine.py NAME PORT [KEY_FILE]

It is as the file /run/engine-NAME/mode says, which systemd removes when it stops, or else as /etc/engine-NAME.mode says:
    hang    healthy, and never a token         busy   as hang, and its figures move: it works for others
It holds memory on the GPU by being listed in /run/lab-gpu/, unless /etc/engine-NAME.cpu exists when it starts.
"""

from __future__ import annotations

import json
import os
import pathlib
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, PORT = sys.argv[1], int(sys.argv[2])
KEY = pathlib.Path(sys.argv[3]).read_text().strip() if len(sys.argv) > 3 else ""
TOKENS = [0]


def mode() -> str:
    for path in ("/run/engine-%s/mode" % NAME, "/etc/engine-%s.mode" % NAME):
        if os.path.exists(path):
            return pathlib.Path(path).read_text().strip()
    return ""


def work() -> None:
    while True:
        TOKENS[0] += mode() == "busy"
        time.sleep(0.1)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_arguments) -> None:
        pass

    def answer(self, body: str, status: int = 200, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def is_known(self) -> bool:
        if not KEY or self.headers.get("Authorization") == "Bearer " + KEY:
            return True
        self.answer('{"error": "Unauthorized"}', 401)
        return False

    def is_connected(self) -> bool:
        """As vLLM does: a request whose client has gone is dropped."""
        if not select.select([self.connection], [], [], 0)[0]:
            return True
        return self.connection.recv(1, socket.MSG_PEEK) != b""

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer("")
        elif self.path == "/version":
            self.answer('{"version": "0.33.0"}')
        elif self.path == "/metrics":
            self.answer('vllm:generation_tokens_total{engine="0",model_name="%s"} %d\n' % (NAME, TOKENS[0]), kind="text/plain")
        elif self.path == "/v1/models" and self.is_known():
            self.answer(json.dumps({"object": "list", "data": [{"id": NAME, "object": "model"}]}))
        elif self.path != "/v1/models":
            self.answer('{"detail": "Not Found"}', 404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if not self.is_known():
            return
        while mode() in ("hang", "busy"):
            time.sleep(0.2)
            if not self.is_connected():
                return
        TOKENS[0] += 1
        event = {"choices": [{"text": " Paris", "finish_reason": "length"}], "usage": {"completion_tokens": 1}}
        self.answer("data: %s\n\ndata: [DONE]\n\n" % json.dumps(event), kind="text/event-stream")


holding = pathlib.Path("/run/lab-gpu/%s.pid" % NAME)
holding.unlink(missing_ok=True)
if not os.path.exists("/etc/engine-%s.cpu" % NAME):
    holding.write_text("%d\n" % os.getpid())
threading.Thread(target=work, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
