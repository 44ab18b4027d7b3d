# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stand-in promises: Ollama's behaviour at its start, on the disk and in need, and faults on request."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.models.source import describe_local
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.program import gguf_file
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import Fault, Registry, tiny
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.server import OllamaServer
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.support import call, create, push

pytestmark = pytest.mark.stand_in

Start = t.Callable[..., OllamaServer]
HOUR = 3600
GIB = 2**30


def pull(server: OllamaServer, name: str = "tiny", **fields: t.Any) -> t.Any:
    return call(server.url, "POST", "/api/pull", dict(fields, model=name))


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment), follow_symlinks=False)


@pytest.fixture
def registry() -> t.Iterator[Registry]:
    with Registry() as running:
        running.add("library/tiny:latest", tiny())
        yield running


# --- the start --------------------------------------------------------------------------------------


def test_start(server: Start):
    one = server(OLLAMA_KEEP_ALIVE="1d", OLLAMA_NOPRUNE="no", OLLAMA_MAX_QUEUE="-3", HTTPS_PROXY="http://proxy:3128")
    log = one.log()
    config = re.search(r'msg="server config" env="map\[(.*)\]"', log)
    assert config is not None
    for part in (
        "OLLAMA_KEEP_ALIVE:5m0s", "OLLAMA_NOPRUNE:true", "OLLAMA_MAX_QUEUE:512", "HTTPS_PROXY:http://proxy:3128",
        "OLLAMA_MODELS:%s" % one.store, "OLLAMA_HOST:%s" % one.url,
    ):  # fmt: skip
        assert part in config.group(1)
    assert "key=OLLAMA_MAX_QUEUE value=-3 default=512" in log
    assert 'msg="inference compute" id=cpu' in log and "library=cpu" in log
    assert 'msg="vram-based default context" total_vram="0.0 GiB" default_num_ctx=4096' in log
    order = ["Generating new private key", "server config", "Listening on 127.0.0.1", "inference compute"]
    assert sorted(order, key=log.index) == order
    key = one.path / ".ollama" / "id_ed25519"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and key.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY")
    assert (one.path / ".ollama" / "id_ed25519.pub").read_text().startswith("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI")
    before = key.read_bytes()
    began = time.monotonic()
    assert one.stop() == 0 and time.monotonic() - began < 1
    one.start()
    assert key.read_bytes() == before, "an identity is made once"


@pytest.mark.slow
@pytest.mark.parametrize(
    "env, status, said",
    [
        ({"HOME": ""}, 1, "Error: $HOME is not defined"),
        ({"HOME": "", "OLLAMA_MODELS": ""}, 2, "panic: $HOME is not defined"),
        (
            {"OLLAMA_HOST": "192.0.2.1:11434"},
            1,
            "Error: listen tcp 192.0.2.1:11434: bind: cannot assign requested address",
        ),
        ({"OLLAMA_ORIGINS": "example.com"}, 2, "panic: bad origin: origins must contain '*'"),
        ({"OLLAMA_MODELS": "/proc/version/models"}, 1, "Error: mkdir /proc/version/models"),
        ({"HOME": "/proc/nobody"}, 1, "Error: could not create directory mkdir /proc/nobody: "),
    ],
)
def test_starts_that_fail(tmp_path, env, status, said):
    one = OllamaServer(tmp_path / "home", env=env)
    one.start(wait=False)
    assert one.process is not None and one.process.wait(10) == status
    assert said in one.log()


@pytest.mark.slow
def test_a_server_ends_with_its_test(tmp_path):
    one = OllamaServer(tmp_path / "home", env={"OLLAMA_STANDIN_PARENT": "1"})
    one.start(wait=False)
    assert one.process is not None and one.process.wait(10) == 0


@pytest.mark.slow
def test_port_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        one = OllamaServer(tmp_path / "home", port=port)
        one.start(wait=False)
        assert one.process is not None and one.process.wait(10) == 1
    assert "Error: listen tcp 127.0.0.1:%d: bind: address already in use" % port in one.log()


@pytest.mark.slow
def test_slow_start_accepts_and_does_not_answer(tmp_path):
    one = OllamaServer(tmp_path / "home", env={"OLLAMA_STANDIN_SLOW_START": "60"})
    one.start(wait=False)
    try:
        ends = time.monotonic() + 10
        while "Listening on" not in one.log() and time.monotonic() < ends:
            time.sleep(0.02)
        with socket.create_connection(("127.0.0.1", one.port), timeout=0.2) as connection:
            connection.sendall(b"GET /api/version HTTP/1.0\r\n\r\n")
            with pytest.raises(socket.timeout):
                connection.recv(1)
        began = time.monotonic()
        assert one.stop() == 0 and time.monotonic() - began < 1, "SIGTERM ends it here too"
    finally:
        if one.process is not None:
            one.kill()


@pytest.mark.slow
def test_a_listener_that_is_not_on_loopback_takes_any_host(tmp_path):
    with OllamaServer(tmp_path / "home", host="0.0.0.0") as one:
        assert call(one.url, "GET", "/api/version", Host="ollama.example.com").status == 200
        assert call(one.url, "GET", "/api/version", Origin="https://evil.example.com").status == 403


def test_origins_are_added(server: Start):
    one = server(OLLAMA_ORIGINS="https://*.example.com")
    assert call(one.url, "GET", "/api/version", Origin="https://chat.example.com").status == 200
    assert call(one.url, "GET", "/api/version", Origin="https://chat.example.org").status == 403
    assert call(one.url, "GET", "/api/version", Origin="http://127.0.0.1:3000").status == 200


# --- the store --------------------------------------------------------------------------------------


def test_pruning_at_start(server: Start, gguf):
    one = server()
    create(one.url, "kept", {"m.gguf": gguf})
    orphan = one.store / "blobs" / push(one.url, b"nobody names this").replace(":", "-")
    uploaded = one.store / "blobs" / push(one.url, gguf).replace(":", "-")
    fresh = one.store / "blobs" / push(one.url, b"neither this").replace(":", "-")
    partial, old_name = Path(str(orphan) + "-partial"), one.store / "blobs" / ("sha256:" + "a" * 64)
    for path in (partial, old_name):
        path.write_bytes(b"x")
    empty = one.store / "manifests" / "registry.ollama.ai" / "library" / "gone"
    empty.mkdir()
    one.stop()
    before = sorted((one.store / "blobs").iterdir())
    for path in before:
        if path != fresh:
            age(path, HOUR + 60)
    one.env["OLLAMA_NOPRUNE"] = "1"
    one.start()
    renamed = one.store / "blobs" / ("sha256-" + "a" * 64)
    assert orphan.exists() and partial.exists() and renamed.exists() and not old_name.exists()
    one.stop()
    del one.env["OLLAMA_NOPRUNE"]
    corrupt = one.store / "manifests" / "registry.ollama.ai" / "library" / "kept" / "._latest"
    corrupt.write_bytes(b"\x00\x05")
    one.start()
    assert orphan.exists() and "corrupt manifests detected, skipping prune operation" in one.log()
    assert len(call(one.url, "GET", "/api/tags").json["models"]) == 1, "and lists the others"
    one.stop()
    corrupt.unlink()
    one.start()
    assert not (orphan.exists() or uploaded.exists() or partial.exists() or renamed.exists() or empty.exists())
    assert fresh.exists(), "an hour's grace"
    assert call(one.url, "POST", "/api/show", {"model": "kept"}).status == 200
    assert "total unused blobs removed: 4" in one.log()


def test_what_is_on_the_disk(server: Start, registry, gguf):
    one = server(OLLAMA_STANDIN_REGISTRY=registry.url)
    assert pull(one).lines[-1] == {"status": "success"}
    manifest = one.store / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "latest"
    assert manifest.read_bytes() == registry.images["library/tiny:latest"].manifest, "byte for byte"
    create(one.url, "made", {"m.gguf": gguf}, parameters={"num_ctx": 2048})
    files = [path for path in one.store.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    source = one.store / "blobs" / push(one.url, gguf).replace(":", "-")
    made = next(path for path in files if path.stat().st_size > 100000 and path != source
                and path.read_bytes() != source.read_bytes())  # fmt: skip
    assert describe_local(str(made))["parameters"] == 90432
    texts = [path.read_text() for path in files if path.parent.name == "blobs" and path.stat().st_size < 1000]
    assert '{"num_ctx":2048}\n' in texts
    config = next(text for text in texts if text.startswith('{"model_format":"gguf"') and text.endswith("\n"))
    assert '"model_family":"llama","model_families":["llama"],"model_type":"90K","file_type":"F16"' in config
    assert "rootfs" not in config


def test_delete_keeps_what_is_shared(server: Start, gguf):
    one = server()
    create(one.url, "a", {"m.gguf": gguf}, system="only a's")
    create(one.url, "b", **{"from": "a", "system": "only b's"})
    blobs = one.store / "blobs"
    before = len(list(blobs.iterdir()))
    assert call(one.url, "DELETE", "/api/delete", {"model": "a"}).status == 200
    assert before - len(list(blobs.iterdir())) == 1, "its system text: even the config is b's too"
    assert call(one.url, "POST", "/api/generate", {"model": "b", "prompt": "x"}).status == 200


def test_a_damaged_store_is_told_at_the_load(server: Start, gguf):
    one = server()
    create(one.url, "m", {"m.gguf": gguf})
    shown = call(one.url, "POST", "/api/show", {"model": "m"}).json["modelfile"]
    weights = Path(re.search(r"^FROM (.*)$", shown, re.MULTILINE).group(1))
    weights.write_bytes(b"junk")
    answer = call(one.url, "POST", "/api/generate", {"model": "m", "prompt": "x"})
    assert (answer.status, answer.error) == (500, "invalid file magic")
    weights.unlink()
    answer = call(one.url, "POST", "/api/generate", {"model": "m", "prompt": "x"})
    assert answer.status == 500 and "no such file or directory" in answer.error


# --- create -----------------------------------------------------------------------------------------


def test_the_made_layer_is_not_the_uploaded_one(shared, gguf):
    uploaded = push(shared.url, gguf)
    create(shared.url, "rewritten", {"m.gguf": gguf})
    made = call(shared.url, "POST", "/api/show", {"model": "rewritten"}).json["modelfile"]
    assert uploaded.replace(":", "-") not in made


def test_safetensors_are_converted(shared):
    from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.models.builders import model_files

    files = model_files()
    lines = create(shared.url, "converted", files).lines
    assert lines[0] == {"status": "converting model"} and lines[-1] == {"status": "success"}
    info = call(shared.url, "POST", "/api/show", {"model": "converted"}).json
    assert (info["details"]["quantization_level"], info["model_info"]["llama.block_count"]) == ("BF16", 2)
    files["config.json"] = b'{"architectures": ["MysteryForCausalLM"]}'
    answer = create(shared.url, "mystery", files)
    assert answer.error == 'unsupported architecture "MysteryForCausalLM"'


def test_adapters_and_projectors(shared, gguf):
    lora = gguf_file.tiny("lora", layers=1)[0].pack()
    clip = gguf_file.tiny("eyes", layers=1, architecture="clip")[0].pack()
    adapters = {"lora.gguf": push(shared.url, lora)}
    assert (
        create(shared.url, "adapted", {"m.gguf": gguf, "p.gguf": clip}, adapters=adapters).lines[-1]["status"]
        == "success"
    )
    shown = call(shared.url, "POST", "/api/show", {"model": "adapted"}).json
    assert "ADAPTER " in shown["modelfile"] and "vision" in shown["capabilities"]
    assert create(shared.url, "bad", {"m.gguf": gguf}, adapters={"x.bin": push(shared.url, b"junk")}).error == (
        "supplied file was not in GGUF format"
    )


def test_template_is_detected(shared):
    file = gguf_file.tiny(chat_template="{% for m in messages %}<|im_start|>{{ m }}{% endfor %}")[0].pack()
    lines = create(shared.url, "detected", {"m.gguf": file}).lines
    assert {"status": "using autodetected template chatml"} in lines
    assert "<|im_start|>" in call(shared.url, "POST", "/api/show", {"model": "detected"}).json["template"]


def test_create_pulls_what_is_not_there(server: Start, registry):
    one = server(OLLAMA_STANDIN_REGISTRY=registry.url)
    lines = create(one.url, "mine", **{"from": "tiny", "system": "Be brief."}).lines
    assert lines[0] == {"status": "pulling manifest"} and lines[-1] == {"status": "success"}
    assert [line["status"] for line in lines].count("success") == 1
    assert len(call(one.url, "GET", "/api/tags").json["models"]) == 2


# --- pull -------------------------------------------------------------------------------------------


def test_resume_after_a_kill(server: Start, registry):
    size = 2000000
    image = registry.add("library/big:latest", tiny(seed=5, pad=size))
    one = server(
        OLLAMA_STANDIN_REGISTRY=registry.url, OLLAMA_STANDIN_PART_BYTES="250000", OLLAMA_STANDIN_PULL_STALL="0.6"
    )
    thread = threading.Thread(target=lambda: _ignore(pull, one, "big"), daemon=True)
    thread.start()
    parts: t.List[Path] = []
    ends = time.monotonic() + 10
    while time.monotonic() < ends and sum(b'"Completed":250000' in path.read_bytes() for path in parts) < 2:
        parts = list((one.store / "blobs").glob("sha256-*-partial-*"))
        time.sleep(0.02)
    assert one.kill() == -signal.SIGKILL
    thread.join(5)
    assert not list((one.store / "manifests").rglob("latest"))
    finished = sum(b'"Completed":250000' in path.read_bytes() for path in parts)
    before = registry.sent_bytes()
    del one.env["OLLAMA_STANDIN_PULL_STALL"]
    one.start()
    assert pull(one, "big").lines[-1] == {"status": "success"}
    small = sum(len(blob) for blob in image.blobs.values()) - size
    assert registry.sent_bytes() - before == size - finished * 250000 + small
    assert not list((one.store / "blobs").glob("*partial*"))


def _ignore(call_: t.Callable[..., t.Any], *arguments: t.Any) -> None:
    try:
        call_(*arguments)
    except OSError:
        pass


def test_two_pulls_share_a_download_and_the_last_client_that_leaves_ends_it(shared, registry):
    registry.add("library/shared:latest", tiny(seed=60, pad=400000))
    name = registry.name("library/shared:latest")
    shared.mode(pull_stall=0.5)
    clients = []
    for _client in range(2):
        clients.append(socket.create_connection(("127.0.0.1", shared.port), timeout=10))
        body = b'{"model": "%s", "insecure": true}' % name.encode()
        head = b"POST /api/pull HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        clients[-1].sendall(head + body)
        seen = b""
        while b'"completed"' not in seen:
            seen += clients[-1].recv(4096)
    assert registry.count("GET", "/data/*") == 1
    clients[0].close()
    time.sleep(0.2)
    assert b'"completed"' in clients[1].recv(65536), "the other one goes on"
    clients[1].close()
    notes = list((shared.store / "blobs").glob("*-partial-0"))
    ends = time.monotonic() + 5
    while time.monotonic() < ends and b'"Completed":0' in notes[0].read_bytes():
        time.sleep(0.02)
    shared.mode(pull_stall=None)
    assert pull(shared, name, insecure=True).lines[-1] == {"status": "success"}
    resumed = [one.range for one in registry.requests if one.range and not one.range.startswith("bytes=0-")]
    assert len(resumed) == 1, "the rest of it"
    call(shared.url, "DELETE", "/api/delete", {"model": name})


@pytest.mark.parametrize(
    "fault, said",
    [
        (Fault("status", "*/manifests/*", status=500), "pull model manifest: 500: "),
        (Fault("html", "*/manifests/*"), "pull model manifest: invalid character '<'"),
        (Fault("corrupt", "/data/*"), "digest mismatch, file must be downloaded again: want sha256:"),
        (Fault("status", "/data/*", times=-1), "max retries exceeded: unexpected status code 503"),
        (Fault("drop", "/data/*", times=-1, at=0), "max retries exceeded: unexpected EOF"),
        (Fault("stall", "*/manifests/*", seconds=2), "context deadline exceeded"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_registry_that_fails(shared, registry, fault, said):
    name = registry.name()
    shared.mode(backoff_seconds=0.001, stall_seconds=0.2)
    registry.faults.append(fault)
    try:
        answer = pull(shared, name, insecure=True)
        assert answer.status == 200 and said in answer.error
        registry.faults.clear()
        assert pull(shared, name, insecure=True).lines[-1] == {"status": "success"}
    finally:
        shared.mode(backoff_seconds=None, stall_seconds=None)
        call(shared.url, "DELETE", "/api/delete", {"model": name})


def test_what_is_dropped_or_stalls_once_is_tried_again(shared, registry):
    registry.faults += [Fault("drop", "/data/*"), Fault("stall", "/data/*", seconds=2)]
    shared.mode(backoff_seconds=0.001, stall_seconds=0.2)
    try:
        assert pull(shared, registry.name(), insecure=True).lines[-1] == {"status": "success"}
    finally:
        shared.mode(backoff_seconds=None, stall_seconds=None)
        call(shared.url, "DELETE", "/api/delete", {"model": registry.name()})


@pytest.mark.parametrize("mode", ["redirect", "location"])
def test_registry_with_tokens(shared, mode):
    with Registry(auth=True, mode=mode) as registry:
        registry.add("library/tiny:latest", tiny())
        assert pull(shared, registry.name(), insecure=True).lines[-1] == {"status": "success"}
        call(shared.url, "DELETE", "/api/delete", {"model": registry.name()})
        registry.closed = True
        assert "401" in pull(shared, registry.name(), insecure=True).error


def test_http_wants_insecure(shared, registry):
    assert "server gave HTTP response to HTTPS client" in pull(shared, registry.name()).error
    assert "insecure protocol http" in pull(shared, "http://" + registry.name()).error


def test_the_registry_is_asked_through_the_proxy(server: Start):
    heard: t.List[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            connection = proxy.accept()[0]
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        one = server(HTTPS_PROXY="http://127.0.0.1:%d" % proxy.getsockname()[1])
        answer = pull(one, "tiny")
        thread.join(5)
    assert heard[0].startswith(b"CONNECT registry.ollama.ai:443 ")
    assert answer.error.startswith(
        'pull model manifest: Get "https://registry.ollama.ai/v2/library/tiny/manifests/latest"'
    )
    assert answer.error.endswith("Forbidden")


def test_modes_of_a_pull(shared, registry):
    name = registry.name()
    shared.mode(pull_error="max retries exceeded: EOF")
    assert pull(shared, name, insecure=True).error == "max retries exceeded: EOF"
    shared.mode(pull_error=None, disk_bytes=100000)
    assert "no space left on device" in pull(shared, name, insecure=True).error
    shared.mode(disk_bytes=None, pull_cut=0.5)
    cut = pull(shared, name, insecure=True)
    assert (cut.status, cut.complete) == (200, False) and "success" not in cut.body.decode()
    shared.mode(pull_cut=None, pull_rate=400000)
    began = time.monotonic()
    call(shared.url, "DELETE", "/api/delete", {"model": name})
    registry.add("library/tiny:latest", tiny(seed=50))
    lines = pull(shared, name, insecure=True).lines
    shared.mode(pull_rate=None)
    assert lines[-1] == {"status": "success"} and time.monotonic() - began > 0.4
    assert any("completed" not in line or line["completed"] < line["total"] for line in lines if "total" in line)


def test_an_update_removes_the_old_layers(server: Start, registry):
    one = server(OLLAMA_STANDIN_REGISTRY=registry.url)
    pull(one)
    registry.add("library/tiny:latest", tiny(seed=1))
    statuses = [line["status"] for line in pull(one).lines]
    assert statuses[-2:] == ["removing unused layers", "success"]
    sizes = [path.stat().st_size for path in (one.store / "blobs").iterdir()]
    assert sum(size > 100000 for size in sizes) == 1


def test_a_blob_of_the_wrong_size_is_not_repaired(server: Start, registry):
    one = server(OLLAMA_STANDIN_REGISTRY=registry.url)
    pull(one)
    weights = max((one.store / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    weights.write_bytes(b"GGUF")
    assert pull(one).lines[-1] == {"status": "success"}
    assert weights.read_bytes() == b"GGUF"


# --- in memory --------------------------------------------------------------------------------------


def test_queue_overflow(server: Start, gguf):
    one = server(OLLAMA_MAX_QUEUE="1", OLLAMA_STANDIN_TOKEN_SECONDS="0.05")
    create(one.url, "m", {"m.gguf": gguf})
    answers: t.List[t.Any] = []
    threads = []
    for _number in range(4):
        body = {"model": "m", "prompt": "x", "stream": False}
        threads.append(threading.Thread(target=lambda: answers.append(call(one.url, "POST", "/api/generate", body))))
        threads[-1].start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    busy = [answer for answer in answers if answer.status == 503]
    assert len(busy) == 2
    assert busy[0].error == "server busy, please try again.  maximum pending requests exceeded"
    assert sum(answer.status == 200 for answer in answers) == 2


def test_gpus_eviction_and_expiry(server: Start, gguf):
    one = server(OLLAMA_STANDIN_GPUS="%d,%d" % (24 * GIB, 24 * GIB), OLLAMA_MAX_LOADED_MODELS="2")
    log = one.log()
    assert log.count("library=CUDA") == 2 and 'total_vram="48.0 GiB" default_num_ctx=262144' in log
    create(one.url, "a", {"m.gguf": gguf})
    for name in ("b", "c"):
        call(one.url, "POST", "/api/copy", {"source": "a", "destination": name})
    for name, keep_alive in (("a", "10m"), ("b", "5m"), ("c", "10m")):
        call(one.url, "POST", "/api/generate", {"model": name, "keep_alive": keep_alive})
    rows = {row["name"]: row for row in call(one.url, "GET", "/api/ps").json["models"]}
    assert set(rows) == {"a:latest", "c:latest"}, "the one that would have gone first"
    assert rows["a:latest"]["size_vram"] == rows["a:latest"]["size"] > 0
    assert rows["a:latest"]["context_length"] == 8192, "as much as it was trained for"
    call(
        one.url,
        "POST",
        "/api/generate",
        {"model": "a", "prompt": "x", "options": {"num_ctx": 1024}, "keep_alive": "100ms"},
    )
    rows = {row["name"]: row for row in call(one.url, "GET", "/api/ps").json["models"]}
    assert rows["a:latest"]["context_length"] == 1024
    time.sleep(0.15)
    assert [row["name"] for row in call(one.url, "GET", "/api/ps").json["models"]] == ["c:latest"]
    one.mode(cpu_fallback="1")
    call(one.url, "POST", "/api/generate", {"model": "a"})
    rows = {row["name"]: row for row in call(one.url, "GET", "/api/ps").json["models"]}
    assert rows["a:latest"]["size_vram"] == 0


def test_hidden_gpus(server: Start):
    gpus = {"OLLAMA_STANDIN_GPUS": "%d" % (80 * GIB)}
    assert "default_num_ctx=4096" in server(CUDA_VISIBLE_DEVICES="-1", **gpus).log()
    assert "library=cpu" in server(OLLAMA_STANDIN_CPU_FALLBACK="discovery", **gpus).log()


def test_modes_of_an_answer(shared, gguf):
    create(shared.url, "moody", {"m.gguf": gguf})
    body = {"model": "moody", "prompt": "What is the capital of France?"}
    assert call(shared.url, "POST", "/api/generate", dict(body, stream=False)).json["response"] == "Paris"
    shared.mode(generate_error="llama-server process has terminated")
    answer = call(shared.url, "POST", "/api/generate", body)
    assert (answer.status, answer.error) == (500, "llama-server process has terminated")
    shared.mode(generate_error=None, generate_cut=2)
    answer = call(shared.url, "POST", "/api/generate", dict(body, prompt="Tell me more"))
    assert not answer.complete and not any(line["done"] for line in answer.lines)
    shared.mode(generate_cut=None, fail="/api/tags=500", hang="/api/ps")
    assert call(shared.url, "GET", "/api/tags").status == 500
    with pytest.raises(socket.timeout):
        call(shared.url, "GET", "/api/ps", timeout=0.2)
    shared.mode(fail=None, hang=None)
    assert call(shared.url, "GET", "/api/ps").status == 200


def test_load_timeout(server: Start, gguf):
    one = server(OLLAMA_LOAD_TIMEOUT="100ms", OLLAMA_STANDIN_LOAD_SECONDS="5")
    create(one.url, "m", {"m.gguf": gguf})
    answer = call(one.url, "POST", "/api/generate", {"model": "m", "prompt": "x"})
    assert answer.status == 500 and answer.error.startswith("timed out waiting for llama-server to start")
    assert call(one.url, "GET", "/api/ps").json["models"] == []


def test_a_bad_cache_type_fails_at_the_first_load(server: Start, gguf):
    one = server(OLLAMA_KV_CACHE_TYPE="Q3")
    create(one.url, "m", {"m.gguf": gguf})
    answer = call(one.url, "POST", "/api/generate", {"model": "m", "prompt": "x"})
    assert answer.status == 500 and "cache type: q3" in answer.error


@pytest.mark.slow
def test_command_line(shared, gguf):
    create(shared.url, "said", {"m.gguf": gguf})
    assert shared.cli("--version").stdout == "ollama version is 0.33.1\n"
    version = shared.cli("-v", OLLAMA_HOST="127.0.0.1:1", OLLAMA_STANDIN_VERSION="0.33.2").stdout
    assert version.splitlines() == [
        "Warning: could not connect to a running Ollama instance", "Warning: client version is 0.33.2",
    ]  # fmt: skip
    assert "said:latest" in shared.cli("list").stdout
    assert shared.cli("run", "said", "What is the capital of France?").stdout == "Paris\n"
    assert "said:latest" in shared.cli("ps").stdout
    assert shared.cli("rm", "said").stdout == "deleted 'said'\n"
    gone = shared.cli("rm", "said")
    assert (gone.returncode, gone.stderr) == (1, "Error: model 'said' not found\n")
    homeless = shared.cli("list", HOME="", OLLAMA_MODELS="")
    assert homeless.returncode == 2 and "panic: $HOME is not defined" in homeless.stderr
