# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.server
import json
import threading
import types

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.services import host_look
from ansible_collections.gpufleet.llm.plugins.modules import ollama_host
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer import ollama_stores as stores

ANSWERS = {"/api/version": {"version": "0.33.2"}, "/api/ps": {"models": [{"name": "tiny:1b"}]}}


@pytest.fixture
def server():
    """What answers at an address: `answers` by path; anything else is an error of the server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = self.server.answers.get(self.path)
            self.send_response(200 if content is not None else 500)
            self.end_headers()
            self.wfile.write(content if isinstance(content, bytes) else json.dumps(content or {}).encode())

        def log_message(self, *_arguments):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.answers = dict(ANSWERS)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    running.url = "http://127.0.0.1:%d" % running.server_address[1]
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def look(monkeypatch, tmp_path):
    """The module on a host whose units are these: name -> (active, environment, drop-ins)."""
    units = {"ollama.service": (True, "", "")}
    absent = dict(enabled=False, loaded=False, stale=False, needs_daemon_reload=False, active=False)

    def status(name, _files, _lines):
        return dict(absent, active=units[name][0], loaded=True) if name in units else dict(absent)

    def origin(name):
        _active, environment, drop_ins = units.get(name, (False, "", ""))
        return {"FragmentPath": "/etc/" + name, "DropInPaths": drop_ins, "User": "ollama", "Environment": environment}

    monkeypatch.setattr(ollama_host.systemd_unit, "status", status)
    monkeypatch.setattr(ollama_host.systemd_unit, "origin", origin)
    monkeypatch.setattr(ollama_host.facts, "collect", lambda *_arguments: {"accelerators": []})
    monkeypatch.setattr(host_look, "user", lambda _name: None)
    monkeypatch.setattr(host_look, "marked_units", lambda *_arguments: {"ollama-old.service": "old", "ollama.service": "ollama"})

    def run(**options):
        given = {
            "files": [], "groups": [], "install_path": str(tmp_path / "none"), "mark": "", "names": [], "records": [],
            "sources": [], "stores": [], "timeout": 5, "tools_python": "/none", "units": [], "user": "ollama",
        }  # fmt: skip
        return ollama_host.work(types.SimpleNamespace(params=dict(given, **options)))

    run.units = units
    return run


def test_a_server_that_answers(look, server):
    (unit,) = look(units=[{"name": "ollama.service", "url": server.url, "files": []}])["units"].values()
    assert unit["version"] == "0.33.2" and unit["loaded_models"] == [{"name": "tiny:1b"}]
    assert unit["exists"] and unit["fragment_path"] == "/etc/ollama.service" and unit["drop_in_paths"] == []


@pytest.mark.parametrize(
    "answers", [{}, {"/api/version": b"<html>"}, {"/api/version": b"[]"}, {"/api/version": b"null", "/api/ps": b'"x"'}]
)
def test_a_server_that_says_something_else(look, server, answers):
    server.answers = answers
    (unit,) = look(units=[{"name": "ollama.service", "url": server.url, "files": []}])["units"].values()
    assert unit["version"] is None and unit["loaded_models"] == []


def test_a_unit_that_is_not_there_is_not_asked(look, server):
    found = look(units=[{"name": "x.service", "url": server.url, "files": []}])["units"]["x.service"]
    assert found["version"] is None and not found["exists"]


@pytest.mark.parametrize(
    "environment, models_path, port",
    [
        ("", "", 11434),
        ("HOME=/h OLLAMA_MODELS=/srv/models/ollama OLLAMA_HOST=127.0.0.1:11500", "/srv/models/ollama", 11500),
        ('"OLLAMA_MODELS=/srv/my models" A=b', "/srv/my models", 11434),
        ("OLLAMA_HOST=0.0.0.0", "", 11434),
        ("OLLAMA_HOST=:8080", "", 8080),
        ("OLLAMA_HOST=[::1]:8080", "", 8080),
        ("OLLAMA_HOST=http://0.0.0.0", "", 80),
        ("OLLAMA_HOST=https://ai.example.org/", "", 443),
        ("OLLAMA_HOST=http://0.0.0.0:1234/", "", 1234),
        ("OLLAMA_HOST=0.0.0.0:http", "", 11434),
        ("OLLAMA_MODELS='/a b", "/a", 11434),
        ("OLLAMA_MODELS=models", "", 11434),
    ],
)
def test_what_is_served(look, environment, models_path, port):
    look.units["ollama.service"] = (False, environment, "")
    found = look(units=[{"name": "ollama.service", "url": "http://127.0.0.1:1", "files": []}], stores=["/none"])
    assert (found["units"]["ollama.service"]["models_path"], found["units"]["ollama.service"]["port"]) == (models_path, port)
    assert set(found["stores"]) == {"/none"} | ({models_path} if models_path else set())


def test_units_that_are_asked_for_by_nobody(look):
    look.units["ollama-old.service"] = (True, "OLLAMA_MODELS=/old OLLAMA_HOST=:5", "")
    asked = [{"name": "ollama.service", "url": "http://127.0.0.1:1", "files": []}]
    found = look(units=asked, mark="X-Mark=")
    assert found["others"] == {
        "ollama-old.service": {"instance": "old", "exists": True, "active": True, "models_path": "/old", "port": 5}
    }
    assert "/old" in found["stores"]
    assert look(units=asked)["others"] == {}


def test_stores(look, tmp_path):
    store = tmp_path / "store"
    stores.add(store, "registry.ollama.ai/library/tiny/1b", b"x" * 100)
    stores.add(store, "hf.co/org/other/latest", b"y" * 100)
    found = look(stores=[str(store), str(tmp_path / "a/b")], names=["tiny:1b"])["stores"]
    models = {model["name"]: model for model in found[str(store)]["models"]}
    assert set(models) == {"tiny:1b", "hf.co/org/other:latest"} and found[str(store)]["exists"]
    assert models["tiny:1b"]["manifest"]["schemaVersion"] == 2 and models["tiny:1b"]["blob"].startswith(str(store))
    assert "manifest" not in models["hf.co/org/other:latest"] and models["tiny:1b"]["problems"] == []
    assert found[str(tmp_path / "a/b")]["missing"] == [str(tmp_path / "a")] and not found[str(tmp_path / "a/b")]["exists"]
    with open(models["tiny:1b"]["blob"], "ab") as blob:
        blob.write(b"more")
    (damaged,) = [one for one in look(stores=[str(store)])["stores"][str(store)]["models"] if one["name"] == "tiny:1b"]
    assert len(damaged["problems"]) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"models": null}', '{"models": {"a": {"files": null}}}', None])
def test_records_that_say_nothing(look, tmp_path, content):
    if content is not None:
        (tmp_path / "models.json").write_text(content)
    assert look(records=[str(tmp_path / "models.json")])["sources"] == {}


def test_sources(look, tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"12345")
    (tmp_path / "models.json").write_text(json.dumps({"models": {"x": {"files": {str(tmp_path / "a.gguf"): {}}}}}))
    found = look(records=[str(tmp_path / "models.json")], sources=[str(tmp_path / "none")])["sources"]
    assert {path: one["size"] for path, one in found.items()} == {str(tmp_path / "a.gguf"): 5}
