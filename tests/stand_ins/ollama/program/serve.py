# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``ollama serve``: from the environment to a listening server, in Ollama's order."""

from __future__ import annotations

import base64
import os
import re
import secrets
import signal
import socket
import struct
import sys
import threading
import time
import typing as t
from pathlib import Path

from . import web
from .api import Api
from .environment import Environment, Fatal, Panic, log
from .modes import Modes
from .scheduler import Hardware, Scheduler
from .store import Store

_ORIGIN = re.compile(r"(\*|[a-z][a-z0-9+.-]*(\*)?://.+)")


def serve(variables: t.Mapping[str, str], version: str, library: t.Optional[Path]) -> int:
    environment = Environment(variables)
    store_path = environment.models()
    make_key(Path(environment.home()) / ".ollama")
    address = environment.host()
    server = listen(address.host, address.port)
    log("INFO", "routes.go:1951", "server config", env=environment.shown())
    modes = Modes(variables, store_path)
    store = Store(environment, modes)
    store.prepare()
    check_origins(environment)
    log("INFO", "routes.go:1990", "Listening on %s (version %s)" % (bound(server), version))
    if modes.text("crash"):
        raise Panic(modes.text("crash"))
    release = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    hardware = Hardware(environment, modes, library)
    scheduler = Scheduler(environment, modes, hardware, library, release >= (0, 30))
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_arguments: end.set())
    parent = modes.text("parent")
    if parent:
        threading.Thread(target=watch, args=(int(parent), end), daemon=True).start()
    if end.wait(modes.number("slow_start")):
        return 0
    hardware.tell(scheduler.context)
    api = Api(environment, modes, store, scheduler, version)
    api.loopback = server.server_address[0] in ("127.0.0.1", "::1") or server.server_address[0].startswith("127.")
    server.app = api
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 3600}, daemon=True).start()
    end.wait()
    server.socket.close()
    api.downloads.cancel_all()
    scheduler.stop()
    return 0


def watch(parent: int, end: threading.Event) -> None:
    """A test's server ends with the test, however that ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    end.set()


def make_key(folder: Path) -> None:
    """An identity in OpenSSH's form. Its public half is random: nothing here ever verifies a signature."""
    path = folder / "id_ed25519"
    if path.exists():
        return
    print("Couldn't find '%s'. Generating new private key." % path, flush=True)
    public = secrets.token_bytes(32)
    blob = _field(b"ssh-ed25519") + _field(public)
    check = secrets.token_bytes(4)
    private = check + check + blob + _field(secrets.token_bytes(32) + public) + _field(b"")
    private += bytes(range(1, 1 + -len(private) % 8))
    whole = b"openssh-key-v1\0" + _field(b"none") + _field(b"none") + _field(b"") + struct.pack(">I", 1)
    text = base64.encodebytes(whole + _field(blob) + _field(private)).decode()
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise Fatal("could not create directory mkdir %s: %s" % (error.filename, _reason(error))) from error
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write("-----BEGIN OPENSSH PRIVATE KEY-----\n%s-----END OPENSSH PRIVATE KEY-----\n" % text)
        line = "ssh-ed25519 %s" % base64.b64encode(blob).decode()
        (folder / "id_ed25519.pub").write_text(line, encoding="ascii")
    except OSError as error:
        raise Fatal("open %s: %s" % (error.filename, _reason(error))) from error
    print("Your new public key is: \n\n%s\n" % line, flush=True)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


def _field(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def listen(host: str, port: int) -> web.Server:
    shown = "%s:%d" % ("[%s]" % host if ":" in host else host, port)
    try:
        return Server(host, port)
    except socket.gaierror as error:
        raise Fatal("listen tcp: lookup %s: no such host" % host) from error
    except OSError as error:
        raise Fatal("listen tcp %s: bind: %s" % (shown, _reason(error))) from error


class Server(web.Server):
    def told(self, status: int, seconds: float, client: str, method: str, path: str) -> None:
        moment = time.strftime("%Y/%m/%d - %H:%M:%S")
        sys.stderr.write(
            "[GIN] %s | %3d | %12.3fms | %15s | %-8s %s\n"
            % (moment, status, seconds * 1000, client, method, '"%s"' % path)
        )
        sys.stderr.flush()


def bound(server: web.Server) -> str:
    host, port = server.server_address[:2]
    return "%s:%d" % ("[%s]" % host if ":" in host else host, port)


def check_origins(environment: Environment) -> None:
    for origin in environment.extra_origins():
        if not _ORIGIN.fullmatch(origin):
            raise Panic(
                "bad origin: origins must contain '*' or include http://,https://,app://,file://,tauri://,vscode-"
            )
        if origin.count("*") > 1:
            raise Panic("only one * is allowed")
