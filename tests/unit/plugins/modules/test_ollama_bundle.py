# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ollama_bundle as a process of its own: alone, killed, two at a time, and beside a server."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time
import typing as t
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.store import Store
from ansible_collections.gpufleet.llm.plugins.modules import ollama_bundle
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import tiny
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.server import OllamaServer
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer import ollama_stores as stores

LIBRARY = "registry.ollama.ai/library/"


class Process:
    """The module, started as a program."""

    def __init__(self, **params: t.Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(ollama_bundle.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.process.stdin.write(json.dumps({name: str(value) for name, value in params.items()}))
        self.process.stdin.close()
        self.process.stdin = None

    def result(self) -> t.Dict[str, t.Any]:
        out, err = self.process.communicate(timeout=60)
        assert out, err
        return json.loads(out)

    def kill(self) -> bool:
        """Whether it was still at work."""
        at_work = self.process.poll() is None
        self.process.kill()
        self.process.communicate(timeout=60)
        return at_work


def run(**params: t.Any) -> t.Dict[str, t.Any]:
    return Process(**params).result()


def test_alone_with_json_on_standard_input(tmp_path):
    stores.add(tmp_path / "origin", LIBRARY + "tiny/1b", b"weights" * 1000)
    path = tmp_path / "x.tar"
    assert run(state="exported", path=path, store=tmp_path / "origin")["changed"] is True
    path.write_bytes(path.read_bytes()[:3000])
    result = run(state="imported", path=path, store=tmp_path / "other")
    assert result["failed"] is True and "is cut off" in result["msg"]


def test_waiting_has_an_end(tmp_path):
    stores.add(tmp_path / "origin", LIBRARY + "tiny/1b", b"weights")
    path, target = tmp_path / "x.tar", tmp_path / "target"
    stores.answer("exported", path, tmp_path / "origin")
    target.mkdir()
    said: t.List[str] = []
    with open(target / ".gpufleet-import.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(GpufleetError) as caught:
            stores.answer("imported", path, target, said=said, lock_timeout=0.3)
    assert said == ["waiting up to 0 s for another process that holds %s" % lock.name]
    assert "set lock_timeout higher" in str(caught.value) and caught.value.details["lock"] == lock.name
    assert os.listdir(target) == [".gpufleet-import.lock"]


def test_two_at_once(tmp_path):
    """flock tells apart who opened the file, so threads do for processes."""
    stores.add(tmp_path / "origin", LIBRARY + "tiny/1b", random.Random(1).randbytes(4_000_000))
    for state, store in (("exported", "origin"), ("imported", "target")):
        with ThreadPoolExecutor(3) as pool:
            every = [pool.submit(stores.answer, state, tmp_path / "x.tar", tmp_path / store) for _number in range(3)]
        assert any(one.result()["changed"] for one in every)
    assert stores.content(tmp_path / "target") == stores.content(tmp_path / "origin")
    assert sorted(os.listdir(tmp_path)) == ["origin", "target", "x.tar"]
    assert sorted(os.listdir(tmp_path / "target")) == ["blobs", "manifests"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".tar", ".tgz"] + ([".tar.zst"] if shutil.which("zstd") else []))
def test_killed_at_random_moments(tmp_path, suffix):
    seed = int(os.environ.get("GPUFLEET_SEED") or time.time())
    print("seed", seed)  # GPUFLEET_SEED=<this> repeats it
    moments = random.Random(seed)
    origin, target, path = tmp_path / "origin", tmp_path / "target", tmp_path / ("x" + suffix)
    for number in range(2):
        stores.add(origin, LIBRARY + "tiny/%db" % number, random.Random(number).randbytes(8_000_000))
    for state, store in (("exported", origin), ("imported", target)):
        began = time.monotonic()
        run(state=state, path=path, store=store)
        took = time.monotonic() - began
        if state == "exported":
            whole = path.read_bytes()
        shutil.rmtree(target, ignore_errors=True)
        killed = 0
        for _number in range(5):
            if state == "exported":
                path.write_bytes(b"old")
            process = Process(state=state, path=path, store=store)
            time.sleep(moments.uniform(0.1, 0.95) * took)
            killed += process.kill()
            if state == "exported":
                assert path.read_bytes() in (b"old", whole)
            elif (target / "blobs").exists():
                found = Store(str(target))
                assert found.damaged() == []
                assert not any(found.problems(model.name, hashes=True) for model in found.models())
        assert killed, "always killed too late to test anything"
        run(state=state, path=path, store=store)
        assert path.read_bytes() == whole
        assert sorted(os.listdir(tmp_path)) == ["origin"] + ["target"] * (state == "imported") + [path.name]
    assert stores.content(target) == stores.content(origin)
    assert sorted(os.listdir(target)) == ["blobs", "manifests"]


# --- beside a server: the stand-in, or a real one on this host where OLLAMA_TEST_URL and OLLAMA_TEST_STORE name it ---


def call(url: str, path: str, body: t.Optional[dict] = None) -> t.Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data), timeout=60) as reply:
        return json.load(reply)


def digests(url: str) -> t.Dict[str, str]:
    return {model["name"]: model["digest"] for model in call(url, "/api/tags")["models"]}


@pytest.fixture
def server(tmp_path) -> t.Iterator[t.Tuple[str, str, t.Optional[OllamaServer]]]:
    """Its URL, its store, and itself when it may be restarted."""
    if os.environ.get("OLLAMA_TEST_URL"):
        if not os.environ.get("OLLAMA_TEST_STORE"):
            pytest.skip("needs the store of the server in OLLAMA_TEST_STORE")
        yield os.environ["OLLAMA_TEST_URL"], os.environ["OLLAMA_TEST_STORE"], None
        return
    with OllamaServer(tmp_path / "home") as running:
        yield running.url, str(running.store), running


def test_server_has_an_imported_model_at_once_and_after_a_restart(tmp_path, server):
    url, store, stand_in = server
    image = tiny(seed=4)
    origin = tmp_path / "origin"
    for digest, content in image.blobs.items():
        blob = origin / "blobs" / digest.replace(":", "-")
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        os.utime(blob, (1, 1))
    manifest = origin / "manifests" / "site.example" / "team" / "bundled" / "1b"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(image.manifest)
    path, name = tmp_path / "x.tar", "site.example/team/bundled:1b"
    stores.answer("exported", path, origin)

    before = digests(url)
    assert name not in before
    result = run(state="imported", path=path, store=store)
    assert digests(url) == {**before, name: result["models"][0]["digest"]}
    assert result["models"][0] == {
        "name": name,
        "digest": stores.sha256(image.manifest),
        "size": result["models"][0]["size"],
    }
    assert [model["size"] for model in call(url, "/api/tags")["models"] if model["name"] == name] == [
        result["models"][0]["size"]
    ]

    def answers() -> bool:
        reply = call(
            url, "/api/generate", {"model": name, "prompt": "Hello", "stream": False, "options": {"num_predict": 1}}
        )
        return bool(reply["done"])

    assert answers()
    if stand_in:  # pruning: an orphan as old as the archive's files goes, what was imported stays
        orphan = stores.blob(Path(store), b"orphan")
        orphan.write_bytes(b"orphan")
        os.utime(orphan, (1, 1))
        stand_in.restart()
        assert not orphan.exists()
        assert digests(url) == {**before, name: result["models"][0]["digest"]} and answers()
        assert stores.answer("imported", path, store, verify="full")["changed"] is False
    request = urllib.request.Request(url + "/api/delete", json.dumps({"model": name}).encode(), method="DELETE")
    urllib.request.urlopen(request, timeout=60).close()
    assert digests(url) == before


def test_server_that_starts_while_an_import_is_unfinished(tmp_path):
    """What is verified and has no manifest yet lies where no pruning looks."""
    server = OllamaServer(tmp_path / "home")
    left = server.store / ".gpufleet-import" / ("a" * 64)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"verified")
    inside = server.store / "blobs" / ".gpufleet-import" / ("a" * 64)  # where blobs/ is another file system
    inside.parent.mkdir(parents=True)
    inside.write_bytes(b"verified")
    for path in (left, inside, left.parent, inside.parent):
        os.utime(path, (1, 1))
    with server:
        assert digests(server.url) == {}
    assert left.exists() and inside.exists()


def test_documented_options_are_the_accepted_ones():
    yaml = pytest.importorskip("yaml")
    documented = yaml.safe_load(ollama_bundle.DOCUMENTATION)["options"]
    assert set(documented) == set(ollama_bundle.ARGUMENT_SPEC)
    for name, option in documented.items():
        for key in ("type", "default", "choices", "elements", "required"):
            assert option.get(key) == ollama_bundle.ARGUMENT_SPEC[name].get(key), (name, key)
