# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that answers as Ollama 0.33 does, without an engine: for tests, unit and scenario alike.

    with OllamaServer(tmp_path, env={"OLLAMA_KEEP_ALIVE": "10m"}) as server:
        server.url, server.store, server.log()
        server.mode(pull_rate=100000)      # see program/modes.py: from now on, without a restart

A process of its own, so that it can be killed like the real one. ``release.py`` packs the same program as a release.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from .program.modes import FILE

HERE = Path(__file__).resolve().parent
START = "import sys; sys.path.insert(0, %r); from program.cli import main; main()"
# The tree of the tests stays clean of compiled files, and a start stays fast.
COMPILED = os.path.join(tempfile.gettempdir(), "ollama-stand-in-%d" % os.getuid())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class OllamaServer:
    """``path`` is the home, and holds the store; ``program`` is a release's bin/ollama in place of the sources."""

    def __init__(
        self, path: t.Union[str, Path], env: t.Optional[t.Mapping[str, str]] = None, port: int = 0,
        store: t.Union[str, Path, None] = None, program: t.Union[str, Path, None] = None, host: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        self.path = Path(path)
        self.store = Path(store) if store else self.path / "models"
        self.port = port or free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.env = {"HOME": str(self.path), "PATH": os.defpath, "OLLAMA_MODELS": str(self.store)}
        self.env["OLLAMA_HOST"] = "%s:%d" % (host, self.port)
        self.env["OLLAMA_STANDIN_PARENT"] = str(os.getpid())
        self.env.update(env or {})
        sources = [sys.executable, "-I", "-S", "-X", "pycache_prefix=" + COMPILED, "-c", START % str(HERE)]
        self.command = [str(program)] if program else sources
        self.process: t.Optional[subprocess.Popen] = None

    def __enter__(self) -> OllamaServer:
        self.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        if self.process is not None:
            self.stop()

    @property
    def log_file(self) -> Path:
        return self.path / "ollama.log"

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""

    def start(self, wait: bool = True, seconds: float = 20) -> None:
        """``wait``: until it answers. RuntimeError with its log when it ends instead."""
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self.command + ["serve"], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        ends = time.monotonic() + seconds
        while wait and not self.answers():
            if self.process.poll() is not None or time.monotonic() > ends:
                self.kill()
                raise RuntimeError("the stand-in does not answer:\n%s" % self.log())
            time.sleep(0.01)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"GET /api/version HTTP/1.0\r\n\r\n")
                return connection.recv(12).startswith(b"HTTP/1.")
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM, seconds: float = 5) -> int:
        """End it and say how it ended."""
        assert self.process is not None, "not started"
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(seconds)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def kill(self) -> int:
        return self.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def cli(self, *words: str, **env: str) -> subprocess.CompletedProcess:
        """Run a command of the program against this server."""
        return subprocess.run(
            self.command + list(words),
            env=dict(self.env, **env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def mode(self, **modes: t.Any) -> None:
        """Change what it does from now on; None takes a mode back."""
        path = self.store.parent / FILE
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        found.update(modes)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))
        temporary.replace(path)
