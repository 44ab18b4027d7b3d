# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in answers as the recorded vLLM did: same status, same shape, same refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines import vllm_metrics
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.server import StandIn
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.support import FIXTURES, TESTS, recorded

KEY = "sk-test-5e1f0c"
SERVER = TESTS / "stand_ins" / "openai" / "server.py"
CANARY = TESTS / "fixtures" / "canary"
PARIS = {"model": "canary", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
FRANCE = {"model": "canary", "prompt": "The capital of France is"}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def ask(url: str, path: str, body: t.Any = None, key: str = KEY) -> t.Tuple[int, str, bytes]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Authorization": "Bearer " + key})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers.get("Content-Type", ""), response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Content-Type", ""), error.read()


@pytest.mark.parametrize(
    "name, path, body",
    [
        ("health", "/health", None),
        ("version", "/version", None),
        ("models", "/v1/models", None),
        ("chat", "/v1/chat/completions", PARIS),
        ("completion", "/v1/completions", FRANCE),
        ("model_not_found", "/v1/chat/completions", {**PARIS, "model": "nope"}),
        ("bad_request", "/v1/chat/completions", {"model": "canary"}),
        ("bad_json", "/v1/chat/completions", b'{"model":'),
        ("too_long", "/v1/chat/completions", {**PARIS, "max_tokens": 5000}),
        ("zero_tokens", "/v1/completions", {**FRANCE, "max_tokens": 0}),
        ("no_route", "/v1/embeddings", {"model": "canary", "input": "x"}),
        ("wrong_method", "/v1/chat/completions", None),
        ("unauthorized", "/v1/models", None),
        ("chat_stream", "/v1/chat/completions", {**PARIS, **USAGE}),
        ("chat_stream_one", "/v1/chat/completions", {**PARIS, "stream": True, "max_tokens": 1}),
        ("completion_stream", "/v1/completions", {**FRANCE, **USAGE}),
    ],
)
def test_as_recorded(name: str, path: str, body: t.Any) -> None:
    status, headers, real = recorded(name)
    with StandIn(names=["canary"], api_key=KEY) as server:
        mine = ask(server.url, path, body, key="wrong" if name == "unauthorized" else KEY)
    assert mine[:2] == (status, headers.get("content-type", ""))
    if "stream" in name:
        ours, theirs = _events(mine[2]), _events(real)
        assert mine[2].rstrip().endswith(b"data: [DONE]") and real.rstrip().endswith(b"data: [DONE]")
        assert _text(ours) == _text(theirs)
        for pick in (0, -1):  # how it begins and how it ends; between them lies another tokenizer
            _shaped_like(ours[pick], theirs[pick])
    elif real:
        _shaped_like(json.loads(mine[2]), json.loads(real))
    if status in (404, 405) or name in ("version", "unauthorized"):
        assert json.loads(mine[2]) == json.loads(real)


def _events(stream: bytes) -> t.List[dict]:
    return [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]


def _text(events: t.List[dict]) -> str:
    choices = [choice for event in events for choice in event["choices"]]
    return "".join(choice.get("text", choice.get("delta", {}).get("content")) for choice in choices)


def _shaped_like(ours: t.Any, theirs: t.Any, where: str = "") -> None:
    """Everything that ours says, theirs says too, of the same type."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert set(ours) <= set(theirs), where
        for name in ours:
            if ours[name] is not None and theirs[name] is not None:
                _shaped_like(ours[name], theirs[name], where + "." + name)
    elif isinstance(ours, list) and ours and theirs:
        _shaped_like(ours[0], theirs[0], where + "[0]")


def test_metrics_hold_the_numbers_of_the_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    with StandIn(names=["canary"]) as server:
        mine = vllm_metrics.cache_info(ask(server.url, "/metrics")[2].decode())
    real = vllm_metrics.cache_info((FIXTURES / "metrics.txt").read_text(encoding="utf-8"))
    assert {**vars(mine), "labels": 0} == {**vars(real), "labels": 0}
    assert all(real.labels[name] == value for name, value in mine.labels.items())


# --- as a process, the way a unit starts it -----------------------------------------------------


def start(*options: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SERVER), "--host", "127.0.0.1"] + list(options)
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize(
    "options, status, said",
    [
        (["--swap-space", "4"], 2, "unrecognized arguments: --swap-space 4"),
        (["--dtype", "bfloat16"], 2, "unrecognized arguments"),
        ([], 1, "Can't load the configuration of 'Qwen/Qwen3-0.6B'"),
        (["--model", "/nowhere"], 1, "Can't load the configuration of '/nowhere'"),
        (["--model", str(CANARY), "--fault", "exit"], 1, "Engine core initialization failed"),
    ],
)
def test_it_refuses_to_start(options: t.List[str], status: int, said: str) -> None:
    process = start(*options)
    output = process.communicate(timeout=20)[0]
    assert (process.returncode, said in output) == (status, True), output


def test_an_unreadable_file_ends_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").symlink_to("/nowhere")
    process = start("--model", str(tmp_path))
    assert "FileNotFoundError" in process.communicate(timeout=20)[0] and process.returncode == 1


@pytest.mark.parametrize("drain, whole", [("0", False), ("20", True)])
def test_sigterm(tmp_path: Path, drain: str, whole: bool) -> None:
    (tmp_path / "ignored").write_text("# of vLLM\n--dtype VALUE\n--enforce-eager\n")
    socket_path = tmp_path / "s.sock"
    process = start(
        *("--model", str(CANARY), "--uds", str(socket_path), "--ignore-options", str(tmp_path / "ignored")),
        *("--dtype", "bfloat16", "--enforce-eager", "--served-model-name", "canary", "other"),
        *("--token-seconds", "0.05", "--shutdown-timeout", drain),
        VLLM_API_KEY=KEY,
    )
    curl = ["curl", "-s", "--unix-socket", str(socket_path), "-H", "Authorization: Bearer " + KEY]
    count = {"model": "other", "stream": True, "messages": [{"role": "user", "content": "Count from one to twenty."}]}
    until = time.monotonic() + 20
    while subprocess.run(curl + ["http://x/health"], check=False).returncode and time.monotonic() < until:
        time.sleep(0.05)
    request = curl + ["-N", "-d", json.dumps(count), "http://x/v1/chat/completions"]
    with subprocess.Popen(request, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        first = reader.stdout.readline()
        process.send_signal(signal.SIGTERM)
        text = first + reader.stdout.read()
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0 and "SIGTERM: 1 requests are running" in output
    assert text.startswith("data: {") and ("[DONE]" in text) == whole
    assert KEY not in output
