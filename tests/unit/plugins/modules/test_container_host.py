# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look run alone, and Docker's API as it answers behind its socket."""

from __future__ import annotations

import http.server
import json
import pathlib
import socketserver
import subprocess
import sys
import threading

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.services import container_look

PLUGINS = pathlib.Path(container_look.__file__).resolve().parents[2]
ANSWERS = {
    "/info": {
        "ServerVersion": "26.1.5+dfsg1",
        "CDISpecDirs": ["/etc/cdi"],
        "Runtimes": {"runc": {}, "nvidia": {}},
        "LiveRestoreEnabled": True,
        "DefaultRuntime": "runc",
        "CgroupDriver": "systemd",
        "DockerRootDir": "/var/lib/docker",
        "Containers": 2,
        "Images": 1,
        "LoggingDriver": "json-file",
        "RegistryConfig": {"Mirrors": ["https://m/"]},
        "HttpsProxy": "http://xxxxx:xxxxx@p",
    },
    "/containers/json": [{"Id": "b"}, {"Id": "a"}, {"Id": "gone"}],
    "/containers/a/json": {"Name": "/web", "HostConfig": {}, "Config": {"Env": ["SECRET=x"]}},
    "/containers/b/json": {"Name": "/chat", "HostConfig": {"DeviceRequests": [{"Driver": "cdi"}]}},
    "/images/docker.io/library/a:1/json": {"Id": "sha256:1"},
}


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """Docker's socket: what it is not asked for is not found."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            found = self.server.answers.get(self.path)
            body = json.dumps(found if found is not None else {"message": "not found"}).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

        def address_string(self):
            return "unix"

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    path = str(tmp_path / "docker.sock")
    running = Server(path, Handler)
    running.answers = dict(ANSWERS)
    monkeypatch.setattr(container_look, "SOCKET", path)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def test_docker(daemon):
    found = container_look._docker(["docker.io/library/a:1", "docker.io/library/b:1"], 0)
    assert found["version"] == "26.1.5+dfsg1" and found["images"] == ["docker.io/library/a:1"]
    # One that ended in between is none.
    assert found["containers"] == [
        {"name": "chat", "gpu": "cdi", "auto_remove": False}, {"name": "web", "gpu": "", "auto_remove": False}]  # fmt: skip
    assert found["info"]["cdi_spec_dirs"] == ["/etc/cdi"] and found["info"]["runtimes"] == ["nvidia", "runc"]
    assert found["info"]["live_restore"] and found["info"]["proxies"] and found["info"]["insecure"] == []
    assert "SECRET" not in json.dumps(found)


def test_a_docker_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(container_look, "SOCKET", str(tmp_path / "none"))
    assert "No such file" in container_look._docker([], 0)["problem"]


def test_a_docker_that_does_not_know_itself(daemon):
    del daemon.answers["/info"]
    assert "/info" in container_look._docker([], 0)["problem"]


def test_run_alone(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("word")
    options = {
        "digests": [str(secret), str(tmp_path / "none")],
        "files": [str(tmp_path / "none")],
        "packages": ["no-such-package"],
    }
    process = subprocess.run(
        [sys.executable, str(PLUGINS / "modules" / "container_host.py")],
        input=json.dumps(options),
        text=True,
        capture_output=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    found = json.loads(process.stdout)
    assert found["changed"] is False and found["packages"] == {}
    assert list(found["files"].values()) == [{"type": "absent"}]
    assert found["digests"][str(tmp_path / "none")] is None and len(found["digests"][str(secret)]) == 64
    assert "word" not in json.dumps(found["digests"])
