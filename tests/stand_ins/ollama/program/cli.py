# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line, as far as roles and tests use it."""

from __future__ import annotations

import json
import os
import sys
import typing as t
from pathlib import Path

from . import release_facts
from .environment import Environment, Fatal, Panic

Variables = t.Mapping[str, str]


def main() -> None:
    variables = dict(release_facts.MODES, **os.environ)
    version = variables.get("OLLAMA_STANDIN_VERSION") or release_facts.VERSION
    words = sys.argv[1:] or ["--help"]
    try:
        Environment(variables).models()  # every command looks at it, and panics without a home
        status = run(words, variables, version)
    except Panic as error:
        sys.stderr.write("panic: %s\n\ngoroutine 1 [running]:\nmain.main()\n" % error)
        status = 2
    except Fatal as error:
        sys.stderr.write("Error: %s\n" % error)
        status = 1
    except BrokenPipeError:
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # A server's threads may sit in a read: the process ends all the same.
    os._exit(status)


def run(words: t.List[str], variables: Variables, version: str) -> int:
    if words[0] in ("serve", "start"):
        from .serve import serve

        return serve(variables, version, library())
    client = Client(variables)
    commands = {
        "-v": client.version, "--version": client.version, "list": client.list, "ls": client.list, "ps": client.ps,
        "show": client.show, "pull": client.pull, "rm": client.remove, "cp": client.copy, "run": client.run,
        "stop": client.stop, "gpu-discover": client.gpus,
    }  # fmt: skip
    if words[0] not in commands:
        raise Fatal('unknown command "%s" for "ollama"' % words[0])
    return commands[words[0]](words[1:], version)


def library() -> t.Optional[Path]:
    """lib/ollama beside the bin that the program was really started from; None when it runs from its sources."""
    program = Path(os.path.realpath(sys.argv[0]))
    return program.parent.parent / "lib" / "ollama" if program.is_file() else None


class Client:
    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._address = Environment(variables).host()

    def _open(self, method: str, path: str, body: t.Any = None) -> t.Any:
        import http.client

        host = self._address.host
        connection = http.client.HTTPConnection({"0.0.0.0": "127.0.0.1", "": "127.0.0.1"}.get(host, host),
                                                self._address.port, timeout=600)  # fmt: skip
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            return connection.getresponse()
        except OSError as error:
            raise Fatal("could not connect to ollama server, run 'ollama serve' to start it") from error

    def _ask(self, method: str, path: str, body: t.Any = None) -> t.Any:
        answer = self._open(method, path, body)
        content = answer.read()
        found = json.loads(content) if content.startswith((b"{", b"[")) else {}
        if answer.status >= 400:
            raise Fatal(found.get("error") or "%d %s" % (answer.status, answer.reason))
        return found

    def _follow(self, path: str, body: t.Any) -> t.Iterator[t.Dict[str, t.Any]]:
        answer = self._open("POST", path, body)
        for line in answer:
            found = json.loads(line)
            if found.get("error"):
                raise Fatal(found["error"])
            yield found

    def version(self, _words: t.List[str], version: str) -> int:
        try:
            running = self._ask("GET", "/api/version")["version"]
            print("ollama version is %s" % running)
        except Fatal:
            running = ""
            print("Warning: could not connect to a running Ollama instance")
        if running != version:
            print("Warning: client version is %s" % version)
        return 0

    def list(self, words: t.List[str], _version: str) -> int:
        print("NAME    ID    SIZE    MODIFIED")
        for row in self._ask("GET", "/api/tags")["models"]:
            if not words or row["name"].lower().startswith(words[0].lower()):
                print("%s    %s    %d B    %s" % (row["name"], row["digest"][:12], row["size"], row["modified_at"]))
        return 0

    def ps(self, _words: t.List[str], _version: str) -> int:
        print("NAME    ID    SIZE    PROCESSOR    CONTEXT    UNTIL")
        for row in self._ask("GET", "/api/ps")["models"]:
            share = 100 * row["size_vram"] // max(1, row["size"])
            place = {0: "100% CPU", 100: "100% GPU"}.get(share, "%d%%/%d%% CPU/GPU" % (100 - share, share))
            values = (row["name"], row["digest"][:12], row["size"], place, row["context_length"], row["expires_at"])
            print("    ".join(str(value) for value in values))
        return 0

    def show(self, words: t.List[str], _version: str) -> int:
        found = self._ask("POST", "/api/show", {"model": _names(words)[0]})
        for option in ("modelfile", "template", "system", "parameters", "license"):
            if "--" + option in words:
                print(found.get(option, ""))
                return 0
        print(json.dumps(found["details"], indent=2))
        return 0

    def pull(self, words: t.List[str], _version: str) -> int:
        shown = ""
        for line in self._follow("/api/pull", {"model": _names(words)[0], "insecure": "--insecure" in words}):
            if line.get("status") != shown:
                shown = line.get("status", "")
                print(shown, file=sys.stderr)
        return 0

    def remove(self, words: t.List[str], _version: str) -> int:
        for name in _names(words):
            self._ask("DELETE", "/api/delete", {"model": name})
            print("deleted '%s'" % name)
        return 0

    def copy(self, words: t.List[str], _version: str) -> int:
        source, destination = (_names(words) + [""])[:2]
        self._ask("POST", "/api/copy", {"source": source, "destination": destination})
        print("copied '%s' to '%s'" % (source, destination))
        return 0

    def run(self, words: t.List[str], _version: str) -> int:
        name, *prompt = _names(words)
        for line in self._follow("/api/generate", {"model": name, "prompt": " ".join(prompt)}):
            sys.stdout.write(line.get("response", ""))
        print()
        return 0

    def stop(self, words: t.List[str], _version: str) -> int:
        self._ask("POST", "/api/generate", {"model": _names(words)[0], "keep_alive": 0})
        return 0

    def gpus(self, _words: t.List[str], _version: str) -> int:
        from .modes import Modes
        from .scheduler import Hardware

        environment = Environment(self._variables)
        modes = Modes(self._variables, environment.models())
        print(json.dumps({"devices": Hardware(environment, modes, library()).devices()}))
        return 0


def _names(words: t.List[str]) -> t.List[str]:
    found = [word for word in words if not word.startswith("-")]
    if not found:
        raise Fatal("requires at least 1 arg(s), only received 0")
    return found
