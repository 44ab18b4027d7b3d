# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ollama_info and ollama_model as programs, and ollama_info's answers while the server runs and when it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama import ensure, info
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.modules import ollama_info, ollama_model
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import Registry, tiny
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.server import OllamaServer, free_port
from ansible_collections.gpufleet.llm.tests.unit.plugins.modules.ollama_models import Host

NOBODY = "http://127.0.0.1:1"


def program(module: t.Any, **arguments: t.Any) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, os.path.abspath(module.__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    process.stdin = None
    return process


def look(url: str, store: t.Optional[str] = None) -> t.Dict[str, t.Any]:
    return info.answer({"url": url, "timeout": 10, "store": store})


def test_running_and_stopped(tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "server") as server, Registry() as registry:
        image = registry.add("library/tiny:latest", tiny())
        host = Host(server.url, tmp_path, str(server.store))
        host.call(registry.name(), insecure=True, state="loaded")
        found = look(server.url)
        assert found["running"] is True and found["problem"] is None and found["store"] is None
        assert found["digests"] == {registry.name(): image.digest}
        assert found["size"] == found["models"][0]["size"] > 0
        assert found["models"][0]["details"]["family"] == "llama"
        assert found["loaded"][0]["name"] == registry.name() and found["loaded"][0]["size"] > 0
        name = registry.name()
    with pytest.raises(GpufleetError, match="refuses connections"):
        look(server.url)
    found = look(server.url, str(server.store))
    assert found["running"] is False and "refuses connections" in found["problem"]
    assert found["models"] == [] and found["version"] is None
    stored = found["store"]
    assert [one["name"] for one in stored["models"]] == [name] and stored["models"][0]["problems"] == []
    assert stored["blobs_bytes"] == stored["models"][0]["size"]
    assert stored["free_bytes"] > 0 and stored["damaged"] == []


def test_as_a_program() -> None:
    result = json.loads(program(ollama_info, url=NOBODY).communicate(timeout=60)[0])
    assert result["failed"] is True
    assert result["msg"].startswith("url=http://127.0.0.1:1: 127.0.0.1 port 1 refuses connections. Is Ollama running")


@pytest.mark.slow
def test_killed_and_two_at_a_time(tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "server") as server, Registry() as registry:
        image = registry.add("library/big:latest", tiny(pad=3_000_000))
        server.mode(pull_rate=1_000_000, part_bytes=100_000)
        record = str(tmp_path / "state" / "models.json")
        wish = {"name": registry.name("library/big:latest"), "insecure": True, "url": server.url, "record": record}
        first = program(ollama_model, **wish)
        ends = time.monotonic() + 20
        while registry.count("GET", "/data/*") < 5:
            assert time.monotonic() < ends and first.poll() is None
            time.sleep(0.05)
        first.kill()
        first.communicate(timeout=60)
        server.mode(pull_rate=None)
        both = [program(ollama_model, **wish) for _run in range(2)]
        results = [json.loads(one.communicate(timeout=60)[0]) for one in both]
        assert sorted(one["changed"] for one in results) == [False, True]
        assert {one["digest"] for one in results} == {image.digest}


# --- what is refused before the server is asked -------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"timeout": 0.0}, "timeout=0: give a number of seconds that is more than 0"),
        ({"stall_timeout": -1.0}, "stall_timeout=-1: give a number"),
        ({"record": "models.json"}, "record=models.json: give an absolute path"),
        ({"record": "/dev/null/models.json"}, "record=/dev/null/models.json cannot be"),
        ({"store": "models"}, "store=models is not an absolute path"),
        ({"store": "/etc/passwd"}, "store=/etc/passwd is not a directory"),
        ({"progress_file": "/none/such/progress"}, "progress_file=/none/such/progress cannot be written"),
        ({"url": "127.0.0.1:11434"}, "url=127.0.0.1:11434: give http://HOST:PORT"),
        ({"quantize": "Q5_0"}, "quantize is given"),
    ],
)
def test_refused_before_the_server_is_asked(tmp_path: Path, options: t.Dict[str, t.Any], message: str) -> None:
    with pytest.raises(GpufleetError, match=message):
        Host(NOBODY, tmp_path, None).call("x", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content, message", [("{", "is damaged"), ('{"schema": "other/9"}', "is no record of this version")]
)
def test_a_record_that_is_none(tmp_path: Path, content: str, message: str) -> None:
    host = Host(NOBODY, tmp_path, None)
    host.record.parent.mkdir()
    host.record.write_text(content)
    with pytest.raises(GpufleetError, match=message):
        host.call("x")


def test_nobody_and_somebody_else_at_url(tmp_path: Path) -> None:
    with pytest.raises(GpufleetError, match="^url=%s: .* refuses connections. Is Ollama running there" % NOBODY):
        Host(NOBODY, tmp_path, None).call("x")
    with Registry() as other, pytest.raises(GpufleetError, match="url=%s is no Ollama server" % other.url):
        Host(other.url, tmp_path, None).call("x")
    server = OllamaServer(tmp_path / "server", port=free_port())
    with server:
        server.mode(hang="/api/tags")
        with pytest.raises(GpufleetError, match="no sign of life from .* for 0.3 s .* looks for GPUs first"):
            ensure.answer(dict(_defaults(tmp_path), name="x", url=server.url, timeout=0.3), False)


def _defaults(tmp_path: Path) -> t.Dict[str, t.Any]:
    params = {key: spec.get("default") for key, spec in ollama_model.ARGUMENT_SPEC.items()}
    return dict(params, record=str(tmp_path / "models.json"))
