# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdicts, one row each, against a server that behaves so."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time
import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines import connection, on_gpu, probe, readiness
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware.accelerator import Accelerator, Answer, ProbeFailed
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.server import StandIn
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.support import client

KEY = "sk-test-5e1f0c"
PARIS = {"prompt": "What is the capital of France?", "expected": "paris"}
ONCE = readiness.Patience(0, 1, 0)


def wait(url: str, patience: readiness.Patience = ONCE, timeout: float = 5, **given: t.Any) -> t.Dict[str, t.Any]:
    unit = given.pop("unit", None)
    security = {name: given.pop(name) for name in ("key", "ca_path", "validate_certs") if name in given}
    return readiness.wait(client(url, timeout, **security), probe.Wish(**given), patience, unit)


@pytest.mark.parametrize(
    "server, wish, verdict, said",
    [
        ({}, {}, "ok", "canary answered in"),
        ({}, {"engine": "vllm", **PARIS}, "ok", "canary answered in"),
        ({}, {"kind": "completion", "prompt": "The capital of France is", "expected": "Paris"}, "ok", "answered"),
        ({}, {"state": "listening"}, "ok", "answers HTTP"),
        ({}, {"state": "healthy", "engine": "vllm"}, "ok", "is healthy"),
        ({}, {"state": "serving", "model": "canary"}, "ok", "serves canary"),
        ({"pooling": True}, {}, "ok", "canary answered in"),
        ({"pooling": True}, {"kind": "embedding"}, "ok", "canary answered in"),
        ({"api_key": KEY}, {"key": KEY}, "ok", "canary answered in"),
        ({"api_key": KEY}, {}, "unauthorized", "/v1/models answered 401: Unauthorized"),
        ({"api_key": KEY}, {"key": "another"}, "unauthorized", "401"),
        ({"api_key": KEY}, {"state": "healthy", "engine": "vllm"}, "ok", "is healthy"),
        ({}, {"model": "llama"}, "model_not_found", "does not list model=llama; it lists canary"),
        ({}, {"model": "llama", "state": "serving"}, "model_not_found", "it lists canary"),
        ({}, {"kind": "embedding"}, "bad_request", "canary is served, but not for embedding"),
        ({"pooling": True}, {"kind": "chat"}, "bad_request", "not for chat"),
        ({"pooling": True}, PARIS, "bad_request", "canary is served, but not for"),
        ({}, {"max_tokens": 4096}, "bad_request", "max_tokens=4096 cannot be greater than max_model_len=1024"),
        ({"fault": "wrong"}, PARIS, "wrong_answer", "was expected to say paris, and said: I do not know."),
        ({}, {"max_tokens": 1, **PARIS}, "wrong_answer", "and said: The"),
        ({"fault": "wrong"}, {}, "ok", "canary answered in"),
        ({"fault": "hang"}, {"engine": "vllm"}, "hung", "healthy, and no token from canary for 0.4 s"),
        ({"fault": "hang"}, {"kind": "chat"}, "hung", "no token"),
        ({"fault": "hang", "keep_alive_seconds": 0.1}, {}, "hung", "no token"),
        ({"fault": "hang", "pooling": True}, {"kind": "embedding"}, "hung", "no token"),
        ({"fault": "stall"}, {"max_tokens": 5}, "hung", "no token"),
        ({"fault": "hang"}, {"state": "serving"}, "ok", "serves canary"),
        ({"fault": "dead"}, {"engine": "vllm"}, "server_error", "/health answered 503: the engine's process has died"),
        ({"fault": "dead"}, {}, "server_error", "answered 500: EngineCore encountered an issue."),
        ({"fault": "overloaded"}, {}, "overloaded", "too many queued requests"),
        ({"fault": "broken-stream"}, {"kind": "chat"}, "server_error", "closed the connection while it answered"),
        ({"fault": "stream-error"}, {"kind": "chat"}, "server_error", "the engine failed while it answered"),
        ({"fault": "not-openai"}, {}, "not_an_openai_endpoint", "something other than JSON"),
        ({}, {"engine": "ollama"}, "not_an_openai_endpoint", "/ answered 404"),
    ],
)
def test_verdicts(server: dict, wish: dict, verdict: str, said: str) -> None:
    timeout = 0.4 if server.get("fault") in ("hang", "stall") else 5
    with StandIn(names=["canary"], **server) as running:
        result = wait(running.url, timeout=timeout, **wish)
    assert (result["verdict"], result["ok"]) == (verdict, verdict == "ok"), result
    assert said in result["detail"]
    assert bool(result["advice"]) == (verdict != "ok")
    assert KEY not in str(result)


def test_every_verdict_has_its_advice_and_an_end() -> None:
    assert set(probe.PASSING) < set(probe.VERDICTS)
    assert {name for name, advice in probe.ADVICE.items() if not advice} == {"ok"}


def test_the_happy_path_measures() -> None:
    """Also against a real server with the canary, when GPUFLEET_TEST_ENDPOINT (and GPUFLEET_TEST_KEY) name one."""
    with StandIn(names=["canary"], api_key=KEY, token_seconds=0.01) as running:
        places = [(running.url, KEY)]
        if "GPUFLEET_TEST_ENDPOINT" in os.environ:
            places.append((os.environ["GPUFLEET_TEST_ENDPOINT"], os.environ.get("GPUFLEET_TEST_KEY", "")))
        for url, key in places:
            result = wait(url, timeout=30, key=key or None, engine="vllm", **PARIS)
            assert (result["verdict"], result["text"]) == ("ok", "The capital of France is Paris.")
            assert (result["kind"], result["finish_reason"], result["healthy"]) == ("chat", "stop", True)
            assert result["models"] == [result["model"]] == ["canary"]
            assert result["engine_version"] and result["tokens"] >= 6
            assert 0 < result["ttft_s"] < result["latency_s"]
            assert 0 < result["tokens_per_s"] < 10_000
            assert (result["attempts"], result["http_status"]) == (1, 200)
            count = {"prompt": "Count from one to twenty.", "expected": "nineteen", "max_tokens": 200}
            counted = wait(url, timeout=30, key=key or None, **count)
            assert counted["ok"] and counted["tokens"] > result["tokens"]


def test_refused_and_unreachable(tmp_path: t.Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert wait("http://127.0.0.1:%d" % port)["verdict"] == "refused"
    assert wait("unix://%s/absent.sock" % tmp_path)["verdict"] == "not_listening"
    assert wait("http://no-such-host.invalid:8000")["verdict"] == "unreachable"


def test_a_server_that_takes_connections_and_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = wait("http://127.0.0.1:%d" % silent.getsockname()[1], timeout=0.2)
    assert result["verdict"] == "timeout" and "for 0.2 s after the request GET /v1/models" in result["detail"]


def test_tls(certificates: t.Dict[str, str]) -> None:
    with StandIn(names=["canary"], certificate=(certificates["server"], certificates["server_key"])) as running:
        plain = running.url.replace("https", "http")
        for url, security, verdict in [
            (running.url, {"ca_path": certificates["server"]}, "ok"),
            (running.url, {"validate_certs": False}, "ok"),
            (running.url, {}, "tls_error"),
            (running.url, {"ca_path": certificates["stranger"]}, "tls_error"),
            (plain, {}, "server_error"),
        ]:
            assert wait(url, **security)["verdict"] == verdict, (url, security)
    with StandIn(names=["canary"]) as running:
        assert wait(running.url.replace("http", "https"))["verdict"] == "tls_error"


def test_busy_is_not_hung() -> None:
    with StandIn(names=["canary"], fault="hang") as running:
        stop = threading.Event()

        def others() -> None:
            while not stop.wait(0.02):
                running.make_token()

        thread = threading.Thread(target=others)
        thread.start()
        result = wait(running.url, timeout=0.3, engine="vllm")
        stop.set()
        thread.join()
    assert result["verdict"] == "overloaded" and "tokens for others" in result["detail"]


@pytest.mark.parametrize(
    "loaded, verdict",
    [
        ({"models": []}, "loading"),
        ({"models": [{"name": "other:7b"}]}, "loading"),
        ({"models": [{"name": "canary:latest"}]}, "hung"),
    ],
)
def test_ollama_that_loads_is_not_hung(loaded: dict, verdict: str) -> None:
    class Ollama(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {"/v1/models": {"data": [{"id": "canary:latest"}]}, "/api/ps": loaded}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answers.get(self.path, "Ollama is running")).encode())

        def do_POST(self) -> None:
            over.wait()

        def log_message(self, format: str, *args: t.Any) -> None:
            pass

    over = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ollama) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = wait("http://127.0.0.1:%d" % server.server_port, timeout=0.3, engine="ollama", model="canary")
        over.set()
        server.shutdown()
    assert (result["verdict"], result["healthy"]) == (verdict, True)


def test_waits_through_a_slow_start() -> None:
    with StandIn(names=["canary"], load_seconds=0.7) as running:
        result = wait(running.url, readiness.Patience(20, 0.1, 0), engine="vllm", **PARIS)
    assert result["ok"] and result["attempts"] > 2
    assert [step["verdict"] for step in result["history"]] == ["refused", "ok"]
    assert sum(step["attempts"] for step in result["history"]) == result["attempts"]


def test_gives_up_at_the_deadline() -> None:
    with StandIn(names=["canary"], load_seconds=60) as running:
        began = time.monotonic()
        result = wait(running.url, readiness.Patience(0.5, 0.1, 0))
        assert 0.3 < time.monotonic() - began < 3
    assert result["verdict"] == "refused" and 3 <= result["attempts"] <= 6
    assert "attempts in" in result["detail"]


def test_what_time_does_not_mend_ends_at_once() -> None:
    with StandIn(names=["canary"], api_key=KEY) as running:
        result = wait(running.url, readiness.Patience(60, 1, 0))
    assert (result["verdict"], result["attempts"]) == ("unauthorized", 1)


@pytest.mark.parametrize(
    "wish, message",
    [
        ({"max_tokens": 0}, "max_tokens=0: must be at least 1"),
        ({"expected": " "}, "expected is empty"),
        ({"expected": "x", "kind": "embedding"}, "an embedding has no text"),
        ({"expected": "x", "state": "serving"}, "needs state=answering"),
    ],
)
def test_options_refused(wish: dict, message: str) -> None:
    with pytest.raises(GpufleetError, match=message):
        wait("http://127.0.0.1:1", **wish)


def test_patience_refused() -> None:
    with pytest.raises(GpufleetError, match="interval=0"):
        wait("http://127.0.0.1:1", readiness.Patience(1, 0, 0))


# --- with the unit behind it --------------------------------------------------------------------

RUNNING = {"state": "active (running)"}
RETRYING = {"state": "activating (auto-restart)", "result": "exit-code", "exit_status": 1}
FAILED = {"state": "failed (failed)", "result": "exit-code", "exit_status": 1}


def unit(*states: dict) -> readiness.Unit:
    """A unit that is in these states one after another; the last one stays."""
    left = [RUNNING] + list(states)

    def status(name: str, files: t.List[str], journal_lines: int) -> t.Dict[str, t.Any]:
        now = left[0] if journal_lines or len(left) == 1 else left.pop(0)
        usual = {"unit": name, "loaded": True, "result": "success", "exit_status": 0, "n_restarts": 0}
        journal = ["ValueError: the key %s is on display" % KEY] if journal_lines else []
        return {**usual, "active": now["state"].startswith("active "), "journal": journal, **now}

    return readiness.Unit("vllm-chat.service", status)


@pytest.mark.parametrize(
    "states, up, verdict, attempts, said",
    [
        ([RUNNING], True, "ok", 1, "answered"),
        ([RUNNING, FAILED], False, "service_failed", 2, "is failed (failed), last result exit-code, exit status 1"),
        ([{"state": "inactive (dead)"}], False, "service_failed", 1, "is inactive (dead)"),
        (
            [{**RETRYING, "n_restarts": 1}, {**RETRYING, "n_restarts": 2}],
            False,
            "service_failed",
            2,
            "restarted 2 times",
        ),
        ([FAILED], True, "service_failed", 1, "what answers at the address is something else"),
        ([RETRYING, RUNNING], True, "ok", 2, "answered"),
    ],
)
def test_unit(states: t.List[dict], up: bool, verdict: str, attempts: int, said: str) -> None:
    with StandIn(names=["canary"], load_seconds=0 if up else 60) as running:
        result = wait(running.url, readiness.Patience(20, 0.05, 1), unit=unit(*states), key=KEY)
    assert (result["verdict"], result["attempts"]) == (verdict, attempts), result
    assert said in result["detail"]
    assert bool(result["journal"]) == (verdict != "ok")
    assert result["service"]["unit"] == "vllm-chat.service"
    assert KEY not in str(result)


def test_refused_by_a_running_unit_is_not_listening_yet() -> None:
    with StandIn(load_seconds=60) as running:
        result = wait(running.url, unit=unit(RUNNING), key=KEY)
    assert result["verdict"] == "not_listening" and "is active (running)" in result["detail"]
    assert result["journal"] == ["ValueError: the key ******** is on display"]


def test_unknown_unit() -> None:
    with pytest.raises(GpufleetError, match="service=x.service: systemd does not know this unit"):
        readiness.Unit("x.service", lambda *_arguments: {"loaded": False, "n_restarts": 0})


def holding(pid: int, uuid: str = "GPU-a") -> t.Callable[[float, str], Answer]:
    card = Accelerator(0, "nvidia", "NVIDIA L40S", uuid=uuid, processes=[{"pid": pid, "name": "python3", "memory_bytes": 21 * 2**30}])
    return lambda _timeout, _python: Answer([card])


def no_driver(_timeout: float, _python: str) -> Answer:
    raise ProbeFailed("mismatch", "Driver/library version mismatch")


@pytest.mark.parametrize(
    "ask, group, verdict, said",
    [
        (holding(4711), "/system.slice/x.service", "ok", "canary answered in"),
        (holding(4711), "/system.slice", "ok", "canary answered in"),
        (holding(4711), "/system.slice/x.serv", "cpu_fallback", "canary answers, but no process of x.service holds memory on GPU-a"),
        (holding(4711), None, "cpu_fallback", "0 of its processes with 0 MiB, 1 others with 21504 MiB"),
        (holding(4711, "GPU-b"), "/system.slice/x.service", "cpu_fallback", "GPU-a: the driver does not list it"),
        (no_driver, "/system.slice/x.service", "gpu_unknown", "the driver does not say who uses the GPUs: Driver/library version mismatch"),
    ],
)
def test_where_it_runs(tmp_path: t.Any, ask: t.Any, group: t.Optional[str], verdict: str, said: str) -> None:
    (tmp_path / "proc/4711").mkdir(parents=True)
    (tmp_path / "proc/4711/cgroup").write_text("0::/system.slice/x.service\n")
    place = on_gpu.Place(("GPU-a",), unit="x.service", ask=ask, group=lambda: group, root=str(tmp_path))
    with StandIn(names=["canary"]) as running:
        result = readiness.wait(client(running.url), probe.Wish(engine="vllm"), ONCE, None, place)
    assert result["verdict"] == verdict and said in result["detail"], result
    assert (result["gpu_memory"] is None) == (verdict != "ok")


@pytest.mark.parametrize(
    "loaded, verdict, said",
    [
        ([{"name": "tiny:latest", "size": 100, "size_vram": 100}], "ok", "tiny answered in"),
        ([{"name": "tiny:latest", "size": 100, "size_vram": 40}], "ok", "tiny answered in"),
        ([{"name": "tiny:latest", "size": 100, "size_vram": 0}], "cpu_fallback",
         "tiny answers, but tiny:latest runs on the CPU alone (size_vram 0 of 100 bytes), and not on GPU-a"),
        ([{"name": "other:latest", "size": 100, "size_vram": 0}], "ok", "tiny answered in"),
        (None, "ok", "tiny answered in"),
        ([{"name": "tiny:latest"}], "not_an_openai_endpoint", "/api/ps answered 200, and not as Ollama does"),
    ],
)  # fmt: skip
def test_where_ollama_runs_a_model(monkeypatch: t.Any, loaded: t.Any, verdict: str, said: str) -> None:
    answers = {"/": b"Ollama is running", "/api/version": b'{"version": "0.33.2"}', "/api/ps": json.dumps({"models": loaded}).encode()}
    with StandIn(names=["tiny"]) as running:
        asked = client(running.url)
        get = asked.get
        monkeypatch.setattr(asked, "get", lambda path: connection.Answer(200, answers[path]) if path in answers else get(path))
        wish = probe.Wish(engine="ollama", model="tiny")
        result = readiness.wait(asked, wish, ONCE, None, on_gpu.Place(("GPU-a",)))
    assert result["verdict"] == verdict and said in result["detail"], result


def test_devices_need_an_owner() -> None:
    with pytest.raises(GpufleetError, match="devices needs service or container"):
        readiness.wait(client("http://127.0.0.1:1"), probe.Wish(), ONCE, None, on_gpu.Place(("GPU-a",)))
