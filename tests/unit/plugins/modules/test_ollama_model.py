# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ollama_model against a server: the stand-in, or a real one where OLLAMA_TEST_URL names it.

A real server has to run on this host, since it pulls from a registry on loopback. OLLAMA_TEST_STORE is its store, if
this user may read and write there. Tests that take the fixture ``stand_in`` need what only the stand-in can do.
"""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama import ensure
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama.api import Api
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.ollama_names import Name
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.store import Store
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import Fault, Registry, tiny
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.server import OllamaServer

from ansible_collections.gpufleet.llm.tests.unit.plugins.modules.ollama_models import Host, write_checkpoint, write_gguf


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[t.Optional[OllamaServer]]:
    if os.environ.get("OLLAMA_TEST_URL"):
        yield None
        return
    with OllamaServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def host(server: t.Optional[OllamaServer], tmp_path: Path) -> t.Iterator[Host]:
    """A host whose server has no models, and has none afterwards but those of others."""
    if server is None:
        one = Host(os.environ["OLLAMA_TEST_URL"], tmp_path, os.environ.get("OLLAMA_TEST_STORE"))
    else:
        one = Host(server.url, tmp_path, str(server.store))
    api = Api(one.url, 30)
    before = {model["name"] for model in api.tags()}
    yield one
    if server is not None and server.process is None:
        server.start()
    for model in api.tags():
        if model["name"] not in before:
            api.unload(model["name"])
            api.delete(model["name"])


@pytest.fixture
def stand_in(server: t.Optional[OllamaServer]) -> t.Iterator[OllamaServer]:
    if server is None:
        pytest.skip("a real server cannot be told to fail")
    yield server
    (server.store.parent / "ollama-standin.json").unlink(missing_ok=True)


@pytest.fixture
def registry() -> t.Iterator[Registry]:
    with Registry() as running:
        running.add("library/tiny:latest", tiny())
        yield running


def digests(host: Host) -> t.Dict[str, str]:
    return {model["name"]: model["digest"] for model in Api(host.url, 30).tags()}


# --- every source through its whole life -----------------------------------------------------------------------


def _pull(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    if changed:
        registry.add("library/tiny:latest", tiny(seed=1))
    digest = registry.images["library/tiny:latest"].digest
    return {"name": registry.name(), "insecure": True, "digest": digest}


def _from(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    parameters = {"num_ctx": "8192" if changed else 4096, "stop": ["a, b", "\n"]}
    return {"name": "mine", "from": registry.name(), "insecure": True, "parameters": parameters, "system": "Be brief."}


def _gguf(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    return {"name": "mine:q4", "gguf": [write_gguf(host.folder / "tiny.gguf", seed=int(changed))], "quantize": "q4_k_m"}


def _split(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    return {"name": "mine", "gguf": [write_gguf(host.folder / "sets" / "tiny.gguf", seed=int(changed), split=3)]}


def _directory(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    write_gguf(host.folder / "sets" / "tiny.gguf", seed=int(changed), split=2)
    return {"name": "mine", "gguf": [str(host.folder / "sets")]}


def _safetensors(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    return {"name": "mine", "safetensors": write_checkpoint(host.folder / "checkpoint", seed=int(changed))}


def _modelfile(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    write_gguf(host.folder / "tiny.gguf")
    text = 'FROM ./tiny.gguf\nPARAMETER temperature %s\nSYSTEM """Two\nlines"""\n' % ("0.5" if changed else "0.1")
    (host.folder / "Modelfile").write_text(text)
    return {"name": "mine", "modelfile": str(host.folder / "Modelfile")}


def _modelfile_of_a_changed_file(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    path = write_gguf(host.folder / "tiny.gguf", seed=int(changed))
    return {"name": "mine", "modelfile_content": "FROM %s\n" % path, "template": "{{ .Prompt }}"}


def _adapter(host: Host, registry: Registry, changed: bool) -> t.Dict[str, t.Any]:
    adapter = write_gguf(host.folder / "lora.gguf", seed=5 + int(changed))
    return {"name": "mine", "gguf": [write_gguf(host.folder / "tiny.gguf")], "adapters": [adapter]}


SLOWER = [pytest.param(one, marks=pytest.mark.slow) for one in (_directory, _modelfile_of_a_changed_file, _adapter)]
SOURCES = [_pull, _from, _gguf, _split, _safetensors, _modelfile, *SLOWER]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__[1:])
def test_life(host: Host, registry: Registry, source: t.Callable[..., t.Dict[str, t.Any]]) -> None:
    seen: t.List[str] = []

    def step(check: bool, changed: bool, **options: t.Any) -> t.Dict[str, t.Any]:
        before = digests(host)
        result = host.call(check=check, **options)
        after = digests(host)
        assert result["changed"] is changed, result
        assert bool(result["actions"]) is changed
        assert (before != after) is (changed and not check)
        if changed:
            assert result["diff"]["before"] != result["diff"]["after"], result["diff"]
        own = after.get(result["name"])
        assert result["digest"] == (None if check and options.get("state") == "absent" and changed else own)
        seen.append(result["name"])
        return result

    wish = source(host, registry, False)
    step(True, True, **wish)
    assert not host.record.exists()
    made = step(False, True, **wish)
    assert made["previous_digest"] is None and made["size"] > 0 and made["model"]["format"] == "gguf"
    step(True, False, **wish)
    step(False, False, **wish)
    wish = source(host, registry, True)
    step(True, True, **wish)
    assert step(False, True, **wish)["previous_digest"] == made["digest"]
    step(False, False, **wish)
    gone = {"name": wish["name"], "state": "absent"}
    step(True, True, **gone)
    step(False, True, **gone)
    assert not any(entry["name"] == seen[0] for entry in host.recorded().values())
    step(False, False, **gone)
    step(False, False, name="never-there", state="absent")


# --- what is recognised, and what is not asked ----------------------------------------------------------------


def test_nothing_is_asked_of_the_registry_when_the_model_is_there(host: Host, registry: Registry) -> None:
    host.call(registry.name(), insecure=True)
    asked = len(registry.requests)
    assert host.call(registry.name(), insecure=True)["changed"] is False
    assert host.call(registry.name().upper().replace("LIBRARY", "library"), insecure=True)["changed"] is False
    assert len(registry.requests) == asked


def test_latest(host: Host, registry: Registry) -> None:
    wish = {"name": registry.name(), "state": "latest", "insecure": True}
    assert host.call(**wish)["changed"] is True
    assert host.call(check=True, **wish)["changed"] is False
    assert host.call(**wish)["changed"] is False
    newer = registry.add("library/tiny:latest", tiny(seed=3))
    assert host.call(check=True, **wish)["changed"] is True
    result = host.call(**wish)
    assert (result["changed"], result["digest"]) == (True, newer.digest)
    assert result["actions"] == ["pull %s" % registry.name()]


def test_latest_in_check_mode_without_the_registry_says_that_it_does_not_know(host: Host) -> None:
    with Registry() as registry:
        registry.add("library/tiny:latest", tiny())
        wish = {"name": registry.name(), "state": "latest", "insecure": True}
        host.call(**wish)
    result = host.call(check=True, **wish)
    assert result["changed"] is True
    assert "is not known, since this host does not reach its registry" in result["warnings"][0]


def test_a_file_that_was_touched_is_read_and_nothing_else(host: Host) -> None:
    path = write_gguf(host.folder / "tiny.gguf")
    host.call("mine", gguf=[path])
    os.utime(path, ns=(1, 1))
    first = host.call("mine", gguf=[path])
    assert (first["changed"], first["reasons"]) == (False, ["%s has changed" % path])
    assert host.call("mine", gguf=[path])["reasons"] == []


def test_a_file_that_moved_makes_the_same_model(host: Host) -> None:
    path = write_gguf(host.folder / "tiny.gguf")
    host.call("mine", gguf=[path])
    os.makedirs(host.folder / "other")
    os.rename(path, host.folder / "other" / "tiny.gguf")
    assert host.call("mine", gguf=[path])["changed"] is False  # it is made: the file is not needed any more
    assert host.call("mine", gguf=[str(host.folder / "other" / "tiny.gguf")])["changed"] is False


def test_a_file_is_hashed_once_for_all_models(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(host.folder / "tiny.gguf")
    host.call("one", gguf=[path])
    monkeypatch.setattr("hashlib.sha256", None)
    with pytest.raises(TypeError):  # proof that hashing would be noticed
        host.call("two", gguf=[write_gguf(host.folder / "another.gguf", seed=9)])
    monkeypatch.undo()
    assert host.call("two", gguf=[path], check=True)["changed"] is True
    known = host.recorded()["registry.ollama.ai/library/one:latest"]["files"][path]["sha256"]
    os.utime(host.folder / "another.gguf")
    assert host.call("two", gguf=[path])["changed"] is True
    assert host.recorded()["registry.ollama.ai/library/two:latest"]["files"][path]["sha256"] == known


def test_what_somebody_else_replaced_is_put_right(host: Host) -> None:
    path = write_gguf(host.folder / "tiny.gguf")
    made = host.call("mine", gguf=[path])
    api = Api(host.url, 30)
    host.call("other", gguf=[write_gguf(host.folder / "other.gguf", seed=4)])
    api.copy("other", "mine")
    result = host.call("mine", gguf=[path], check=True)
    assert result["changed"] is True and "changed by somebody else" in result["reasons"][0]
    assert host.call("mine", gguf=[path])["digest"] == made["digest"]
    api.delete("mine")
    assert host.call("mine", gguf=[path])["changed"] is True


def test_a_model_is_made_again_when_its_base_changes(host: Host, registry: Registry) -> None:
    wish = {"name": "mine", "from": registry.name(), "insecure": True, "system": "Hello"}
    result = host.call(**wish)
    assert result["actions"] == ["pull %s" % registry.name(), "create mine:latest"]
    registry.add("library/tiny:latest", tiny(seed=8))
    host.call(registry.name(), state="latest", insecure=True)
    result = host.call(**wish)
    assert result["changed"] is True and result["reasons"][0].startswith("%s, which it was made from" % registry.name())
    assert host.call(**wish)["changed"] is False


def test_the_diff_names_what_changes(host: Host, registry: Registry) -> None:
    wish = {"name": "mine", "from": registry.name(), "insecure": True, "system": "Old"}
    host.call(**wish, parameters={"num_ctx": 4096})
    diff = host.call(**dict(wish, system="New"), parameters={"num_ctx": 8192, "top_k": 5}, check=True)["diff"]
    before, after = set(diff["before"].splitlines()), set(diff["after"].splitlines())
    assert before - after == {"PARAMETER num_ctx 4096", "SYSTEM Old"}
    assert after - before == {"PARAMETER num_ctx 8192", "PARAMETER top_k 5", "SYSTEM New"}


def test_the_diff_of_somebody_elses_model_comes_from_the_server(host: Host, registry: Registry) -> None:
    host.call("base", **{"from": registry.name()}, insecure=True, system="Theirs")
    host.record.unlink()
    diff = host.call("base", **{"from": registry.name()}, insecure=True, system="Ours", check=True)["diff"]
    assert "SYSTEM Theirs" in diff["before"] and "SYSTEM Ours" in diff["after"]


def test_deprecated_parameters_are_left_out_with_a_warning(host: Host, registry: Registry) -> None:
    result = host.call("mine", **{"from": registry.name()}, insecure=True, parameters={"mirostat": 1, "top_k": 3})
    assert result["warnings"] == ["parameters.mirostat=1 is left out: Ollama no longer has this parameter."]
    assert "mirostat" not in Api(host.url, 30).show("mine")["parameters"]


# --- in memory ----------------------------------------------------------------------------------------------------


def test_loaded_and_unloaded(host: Host, registry: Registry) -> None:
    wish = {"name": registry.name(), "insecure": True}
    assert host.call(**wish, state="loaded", check=True)["actions"] == [
        "pull %s" % registry.name(), "load %s" % registry.name()
    ]  # fmt: skip
    result = host.call(**wish, state="loaded", keep_alive="10m")
    assert result["changed"] is True
    assert result["loaded"]["size"] > 0 and result["loaded"]["context_length"] > 0
    assert "size_vram" in result["loaded"]
    assert host.call(**wish, state="loaded", check=True)["changed"] is False
    again = host.call(**wish, state="loaded", keep_alive="10m")
    assert again["changed"] is False and again["loaded"]["size"] == result["loaded"]["size"]
    assert host.call(**wish, state="loaded", keep_alive="-1", check=True)["changed"] is True
    assert host.call(**wish, state="loaded", keep_alive="-1")["reasons"] == ["it is loaded and not for ever"]
    assert host.call(**wish, state="loaded", keep_alive="-1")["changed"] is False
    assert host.call(**wish, state="unloaded", check=True)["changed"] is True
    assert host.call(**wish, state="unloaded")["changed"] is True
    assert host.call(**wish, state="unloaded")["changed"] is False
    assert Api(host.url, 30).ps() == []


def test_an_embedding_model_is_loaded_by_an_embedding(host: Host) -> None:
    path = write_gguf(host.folder / "tiny.gguf", architecture="bert", pooling_type=1)
    result = host.call("mine", gguf=[path], state="loaded")
    assert "embedding" in Api(host.url, 30).show("mine")["capabilities"]
    assert result["loaded"]["size"] > 0
    assert host.call("mine", state="unloaded")["changed"] is True


def test_a_model_that_is_busy_is_not_unloaded(
    host: Host, registry: Registry, stand_in: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.call(registry.name(), insecure=True, state="loaded")
    monkeypatch.setattr(ensure, "_UNLOAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(ensure, "_LAST_ANSWERS_S", 0.1)
    monkeypatch.setattr(Api, "unload", lambda *_arguments: None)
    with pytest.raises(GpufleetError, match="is still in memory 0.3 seconds after it was to be unloaded"):
        host.call(registry.name(), state="unloaded")
    assert host.call(registry.name(), state="absent")["changed"] is True
    monkeypatch.undo()
    registry.add("library/tiny:latest", tiny())
    host.call(registry.name(), insecure=True)
    host.call(registry.name(), state="unloaded")


def test_absent_unloads_first(host: Host, registry: Registry) -> None:
    host.call(registry.name(), insecure=True, state="loaded")
    result = host.call(registry.name(), state="absent")
    assert result["actions"] == ["unload %s" % registry.name(), "delete %s" % registry.name()]
    assert Api(host.url, 30).ps() == []


def test_what_does_not_load_says_why(host: Host, registry: Registry, stand_in: OllamaServer) -> None:
    host.call(registry.name(), insecure=True)
    stand_in.mode(fail="/api/generate=500")
    with pytest.raises(
        GpufleetError, match="cannot be loaded: its log says more. .* answered POST /api/generate with 500"
    ):
        host.call(registry.name(), state="loaded")


# --- pulls that go wrong -------------------------------------------------------------------------------------------


def test_a_pull_that_was_broken_off_goes_on(host: Host, registry: Registry, stand_in: OllamaServer) -> None:
    image = registry.add("library/big:latest", tiny(seed=2, pad=2_000_000))
    stand_in.mode(part_bytes=50_000, pull_cut=0.5, pull_rate=5_000_000)
    with pytest.raises(GpufleetError, match="closed the connection while it answered. It was stopped or has crashed"):
        host.call(registry.name("library/big:latest"), insecure=True)
    asked = len(registry.requests)
    stand_in.mode(pull_cut=None, pull_rate=None)
    result = host.call(registry.name("library/big:latest"), insecure=True)
    assert (result["changed"], result["digest"]) == (True, image.digest)
    ranges = [one.range for one in registry.requests[asked:] if one.path.startswith("/data/") and one.range]
    bounds = [one.split("=")[1].split("-") for one in ranges]
    assert 0 < sum(int(last) - int(first) + 1 for first, last in bounds) < 1_400_000


def test_a_stall_is_not_waited_for(host: Host, registry: Registry, stand_in: OllamaServer) -> None:
    registry.add("library/big:latest", tiny(seed=13, pad=500_000))
    stand_in.mode(pull_stall=0.5)
    with pytest.raises(GpufleetError, match="hangs: 'pulling [0-9a-f]{12}' made no progress for stall_timeout=0.5"):
        host.call(registry.name("library/big:latest"), insecure=True, stall_timeout=0.5)


def test_the_whole_may_not_take_longer_than_timeout(host: Host, registry: Registry, stand_in: OllamaServer) -> None:
    registry.add("library/big:latest", tiny(seed=14, pad=900_000))
    stand_in.mode(pull_rate=100_000)
    with pytest.raises(GpufleetError, match="was not done after timeout=0.5 seconds. What is there is kept"):
        host.call(registry.name("library/big:latest"), insecure=True, timeout=0.5)


@pytest.mark.parametrize(
    "fault, message",
    [
        (
            {"name": "library/none:latest"},
            "there is no such model {name} in {host}: look at its name and tag. .* said: ",
        ),
        ({"error": "max retries exceeded: Get x: 503"}, "max retries exceeded"),
        ({"error": "write x: no space left on device"}, "the disk of the server's models is full"),
        ({"error": "dial tcp: lookup x: no such host"}, "the server does not reach {host}: .* HTTPS_PROXY"),
        ({"error": "digest mismatch, file must be downloaded again: want a, got b"}, "was damaged on the way"),
        ({"error": "open /m/blobs/x: permission denied"}, "the server's user may not write to the directory"),
        ({"error": "something new"}, "cannot be pulled. .* said: something new"),
        ({"fail": "/api/pull=500"}, "answered POST /api/pull with 500"),
        ({"fail": "/api/tags=500"}, "answered GET /api/tags with 500"),
    ],
)
def test_pulls_that_fail_say_what_to_do(
    host: Host, registry: Registry, stand_in: OllamaServer, fault: t.Dict[str, str], message: str
) -> None:
    name = registry.name(fault.get("name", "library/tiny:latest"))
    stand_in.mode(pull_error=fault.get("error"), fail=fault.get("fail"))
    with pytest.raises(GpufleetError, match=message.format(name=name, host=registry.host)):
        host.call(name, insecure=True)
    assert not host.recorded()


def test_a_registry_that_lets_nobody_in(host: Host) -> None:
    with Registry(closed=True) as closed:
        closed.add("library/tiny:latest", tiny())
        with pytest.raises(GpufleetError, match="%s does not give .* to this server" % closed.host):
            host.call(closed.name(), insecure=True)


@pytest.mark.parametrize(
    "fault, message",
    [
        (Fault("status", "*/manifests/*", times=-1, status=500), "{host} has failed: run again later. .* said: "),
        (
            Fault("stall", "*/manifests/*", times=-1, at=0.0, seconds=2),
            "hangs: 'pulling manifest' made no progress for",
        ),
    ],
)
def test_a_registry_that_fails(host: Host, registry: Registry, fault: Fault, message: str) -> None:
    registry.faults.append(fault)
    with pytest.raises(GpufleetError, match=message.format(host=registry.host)):
        host.call(registry.name(), insecure=True, stall_timeout=0.3)


def test_a_disk_that_is_too_small_stops_the_pull(
    host: Host, registry: Registry, stand_in: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add("library/big:latest", tiny(seed=12, pad=2_000_000))
    stand_in.mode(pull_rate=500_000)
    monkeypatch.setattr(
        "ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.store.free_bytes",
        lambda _path: 1_000_000,
    )
    with pytest.raises(GpufleetError, match="1000000 .* are free. The pull was stopped; free ") as caught:
        host.call(registry.name("library/big:latest"), insecure=True)
    assert caught.value.details["short_bytes"] == caught.value.details["needed_bytes"] - 1_000_000 > 900_000
    assert registry.name("library/big:latest") not in digests(host)


def test_a_wrong_pin_touches_nothing(host: Host, registry: Registry) -> None:
    old = host.call(registry.name(), insecure=True)
    registry.add("library/tiny:latest", tiny(seed=7))
    for check in (True, False):
        with pytest.raises(GpufleetError, match="has .* with another digest now, [0-9a-f]{64}. Nothing was changed"):
            host.call(registry.name(), insecure=True, digest="0" * 64, check=check)
    assert digests(host) == {registry.name(): old["digest"]}


def test_a_pin_that_only_the_server_can_check_brings_back_what_was_there(
    host: Host, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = host.call(registry.name(), insecure=True)
    registry.add("library/tiny:latest", tiny(seed=7))
    monkeypatch.setattr(
        "ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama.registry.digest",
        lambda *_arguments: (None, "not from here"),
    )
    with pytest.raises(GpufleetError, match="What was there before is back"):
        host.call(registry.name(), insecure=True, digest="0" * 64)
    assert digests(host) == {registry.name(): old["digest"]}
    with pytest.raises(GpufleetError, match="It was removed again"):
        host.call(registry.name("library/other:latest"), insecure=True, digest="0" * 64, **_other(registry))
    assert digests(host) == {registry.name(): old["digest"]}
    short = registry.images["library/tiny:latest"].digest[:12]
    assert host.call(registry.name(), insecure=True, digest="sha256:" + short)["changed"] is True
    assert len(digests(host)) == 1


def test_a_killed_run_with_a_pin_is_put_back(host: Host, registry: Registry) -> None:
    old = host.call(registry.name(), insecure=True)
    Api(host.url, 30).copy(registry.name(), registry.name("library/tiny:gpufleet-kept-latest"))
    registry.add("library/tiny:latest", tiny(seed=7))
    host.call(registry.name(), insecure=True, state="latest")
    result = host.call(registry.name(), insecure=True, digest=old["digest"])
    assert (result["changed"], digests(host)) == (True, {registry.name(): old["digest"]})


def _other(registry: Registry) -> t.Dict[str, t.Any]:
    registry.add("library/other:latest", tiny(seed=6))
    return {}


def test_blobs_of_a_wrong_size_are_fetched_again(host: Host, registry: Registry) -> None:
    if host.store is None:
        pytest.skip("OLLAMA_TEST_STORE is not set")
    result = host.call(registry.name(), insecure=True)
    store = Store(host.store)
    blob = Path(store.blob_path(store.manifest(Name.parse(registry.name())).layers[0].digest))
    blob.write_bytes(b"too short")
    assert host.call(registry.name(), insecure=True, check=True)["changed"] is True
    repaired = host.call(registry.name(), insecure=True)
    assert (repaired["changed"], repaired["digest"]) == (True, result["digest"])
    assert repaired["actions"][0].startswith("remove a damaged blob: %s has 9 bytes instead of" % blob)
    assert host.call(registry.name(), insecure=True)["changed"] is False
    blob.unlink()
    assert host.call(registry.name(), insecure=True)["changed"] is True
    assert blob.exists()


def test_a_damaged_blob_of_an_uploaded_file_is_sent_again(host: Host) -> None:
    if host.store is None:
        pytest.skip("OLLAMA_TEST_STORE is not set")
    path = write_gguf(host.folder / "tiny.gguf", seed=17)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    blob = Path(host.store, "blobs", "sha256-" + digest)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"GGUF")
    result = host.call("mine", gguf=[path])
    assert [action.split(" ")[0] for action in result["actions"]] == ["remove", "upload", "create"]


# --- creating goes wrong -----------------------------------------------------------------------------------------


def test_a_disk_that_is_too_small_for_creating(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    if host.store is None:
        pytest.skip("OLLAMA_TEST_STORE is not set")
    path = write_gguf(host.folder / "tiny.gguf", seed=21)
    size = os.stat(path).st_size
    monkeypatch.setattr(
        "ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.store.free_bytes",
        lambda _path: 2 * size - 1,
    )
    with pytest.raises(GpufleetError, match="nothing was uploaded") as caught:
        host.call("mine", gguf=[path])
    assert caught.value.details == {"needed_bytes": 2 * size, "short_bytes": 1}
    assert not host.recorded()


@pytest.mark.parametrize(
    "mode, message",
    [
        ({"fail": "/api/create=500"}, "mine:latest cannot be created. .* answered POST /api/create with 500"),
        ({"disk_bytes": 10}, "the disk of the server's models is full"),
    ],
)
def test_what_cannot_be_created(host: Host, stand_in: OllamaServer, mode: t.Dict[str, t.Any], message: str) -> None:
    path = write_gguf(host.folder / "tiny.gguf", seed=30)
    stand_in.mode(**mode)
    with pytest.raises(GpufleetError, match=message):
        host.call("mine", gguf=[path])
    stand_in.mode(**{name: None for name in mode})
    if "disk_bytes" in mode:
        stand_in.restart()
    assert host.call("mine", gguf=[path])["changed"] is True


def test_server_killed_while_it_creates(host: Host, stand_in: OllamaServer) -> None:
    path = write_gguf(host.folder / "tiny.gguf", seed=31)
    stand_in.mode(hang="/api/create")
    with pytest.raises(GpufleetError, match="creating mine:latest was not done after timeout=0.4 seconds"):
        host.call("mine", gguf=[path], timeout=0.4)


def test_progress_file(host: Host, registry: Registry) -> None:
    path = host.folder / "progress"
    host.call(registry.name(), insecure=True, progress_file=str(path))
    assert path.read_text().endswith(" pulled %s\n" % registry.name())
    host.call("mine", gguf=[write_gguf(host.folder / "tiny.gguf")], progress_file=str(path), state="loaded")
    assert path.read_text().endswith(" loaded mine:latest\n")
    assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(one.name for one in host.folder.iterdir()) == ["progress", "state", "tiny.gguf"]


def test_the_record_is_a_file_for_everybody_to_read(host: Host) -> None:
    path = write_gguf(host.folder / "tiny.gguf")
    result = host.call("mine", gguf=[path])
    assert host.record.stat().st_mode & 0o777 == 0o644
    entry = json.loads(host.record.read_text())["models"]["registry.ollama.ai/library/mine:latest"]
    assert entry["digest"] == result["digest"] and set(entry["files"]) == {path}
    assert set(entry["files"][path]) == {"size", "mtime_ns", "inode", "sha256"}
