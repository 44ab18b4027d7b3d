# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a registry of Ollama's into the store, and from there into Ollama's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.ollama_names import Name
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.store import Store
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import Fault, Registry, tiny
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer import ollama_stores
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import contents, sha256

pytestmark = pytest.mark.usefixtures("no_authorities")
SIZE = 300_000


@pytest.fixture
def registry():
    with Registry() as server:
        server.add("library/tiny:latest", tiny(pad=SIZE))
        yield server


@pytest.fixture
def ask(run, registry):
    def call(**more):
        return run(**{"hub": "ollama", "source": "tiny", "endpoint": registry.url, **more})

    return call


def layout(image, path="registry.ollama.ai/library/tiny/latest"):
    """As Ollama has it on disk."""
    files = {"blobs/" + digest.replace(":", "-"): content for digest, content in image.blobs.items()}
    return {**files, "manifests/" + path: image.manifest}


def weights(image):
    """Its largest blob: digest and content."""
    return max(image.blobs.items(), key=lambda pair: len(pair[1]))


@pytest.mark.parametrize(
    "source, org",
    [("tiny", "library"), ("library/tiny:latest", "library"), ("registry.ollama.ai/library/tiny", "library")],
)
def test_complete_verified_and_pinned(registry, run, ask, source, org):
    result = ask(source=source)
    image = registry.images["library/tiny:latest"]
    assert contents(result["path"]) == layout(image)
    assert result["revision"] == image.digest
    assert result["path"] == str(run.store / "ollama_registry" / org / "tiny" / image.digest)
    assert os.path.basename(result["link"]) == "latest"
    assert (result["record"]["kind"], result["record"]["endpoint"]) == ("ollama_registry", registry.url)


def test_another_registry_by_its_name(registry, run):
    # Without an endpoint it is asked by https, which this one does not speak.
    with pytest.raises(GpufleetError, match="^https://%s/v2/library/tiny/manifests/latest: " % registry.host):
        run(hub="ollama", source=registry.name())
    result = run(hub="ollama", source=registry.name(), endpoint=registry.url)
    port = registry.host.partition(":")[2]
    assert result["path"].startswith(str(run.store / "ollama_registry" / ("127.0.0.1~%s~library" % port) / "tiny"))
    assert "manifests/%s/library/tiny/latest" % registry.host in contents(result["path"])


def test_second_run_asks_nobody_and_reads_no_file(registry, ask, no_hashing):
    first = ask()
    registry.requests.clear()
    no_hashing()
    for more in ({}, {"revision": first["revision"]}, {"offline": True, "state": "latest"}):
        assert ask(**more)["changed"] is False
    assert registry.requests == []


def test_latest_brings_what_the_tag_is_now(registry, ask):
    first = ask()
    new = registry.add("library/tiny:latest", tiny(pad=SIZE, template="another"))
    assert ask()["revision"] == first["revision"]
    registry.requests.clear()
    second = ask(state="latest")
    assert (second["changed"], second["revision"], contents(second["path"])) == (True, new.digest, layout(new))
    assert registry.count("GET", "*" + weights(new)[0]) == 0  # linked from the old one
    with pytest.raises(GpufleetError, match="but revision=%s is asked for" % ("5" * 64)):
        ask(revision="5" * 64)


def test_a_store_that_ollama_bundle_exports_and_another_imports(ask, registry, tmp_path):
    path = ask()["path"]
    assert [one.name for one in Store(path).models()] == [Name.parse("tiny")]
    assert Store(path).problems(Name.parse("tiny"), hashes=True) == []
    archive = tmp_path / "carried.tar"
    ollama_stores.answer("exported", archive, path)
    result = ollama_stores.answer("imported", archive, tmp_path / "models")
    assert result["changed"] is True
    assert contents(tmp_path / "models") == layout(registry.images["library/tiny:latest"])


def test_only_what_is_damaged_is_fetched_again(registry, ask):
    path = ask()["path"]
    image = registry.images["library/tiny:latest"]
    for name in layout(image):
        Path(path, name).write_bytes(b"damaged")
        registry.requests.clear()
        result = ask()
        assert (result["changed"], result["downloaded_files"], contents(result["path"])) == (True, 1, layout(image))
        assert registry.count("GET", "/v2/*") == 1
    manifest = Path(path, "manifests/registry.ollama.ai/library/tiny/latest")
    manifest.unlink()
    registry.add("library/tiny:latest", tiny(seed=2))
    with pytest.raises(GpufleetError, match="^tiny:latest on .* has another manifest by now .*Set state=latest"):
        ask()
    assert not manifest.exists()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", path="/data/*", at=0.6),
        Fault("status", path="/data/*", status=503),
        Fault("status", path="/v2/*/manifests/*", status=500, times=2),
        Fault("corrupt", path="/data/*"),
        Fault("html", path="/data/*"),
    ],
    ids=["drop", "503", "500 to the manifest", "wrong byte", "page"],
)
def test_what_passes_is_tried_again(registry, ask, fault):
    registry.faults.append(fault)
    assert contents(ask()["path"]) == layout(registry.images["library/tiny:latest"])


@pytest.mark.parametrize(
    "fault, message",
    [
        (Fault("corrupt", path="/data/*", times=-1), "blobs/sha256-[0-9a-f]{64} of tiny:latest on .* arrived wrong 3 times"),
        (Fault("status", path="/v2/*/blobs/*", status=404, times=-1), "names the blob sha256:[0-9a-f]{64} and does not serve"),
        (Fault("html", path="*/manifests/*", times=-1), "^tiny:latest on .*/manifests/latest is no manifest: it is not JSON"),
        (Fault("status", path="*/manifests/*", status=403), r"^tiny:latest on .* is not open to everybody \(HTTP 403\)"),
    ],
    ids=["wrong byte", "no blob", "page", "forbidden"],
)
def test_wrong_answers_never_get_their_name(registry, run, ask, fault, message):
    registry.faults.append(fault)
    with pytest.raises(GpufleetError, match=message):
        ask()
    assert list(run.store.rglob("gpufleet.json")) == []
    for path in run.store.rglob("files/blobs/*"):
        assert path.name == "sha256-" + sha256(path.read_bytes())


@pytest.mark.parametrize("change", ["size", "digest", "type"])
def test_manifests_that_lie(registry, run, ask, change):
    image = registry.images["library/tiny:latest"]
    data = json.loads(image.manifest)
    layer = data["layers"][0]
    layer.update({"size": {"size": layer["size"] + 1}, "digest": {"digest": "sha256:../../../../etc/x"},
                  "type": {"mediaType": "application/x-sh"}}[change])  # fmt: skip
    image.manifest = json.dumps(data).encode()
    message = {"size": "bytes, where %d were announced" % (SIZE + 1), "digest": "is 'sha256:../../../../etc/x', not sha256",
               "type": "not supported: 'application/x-sh'"}[change]  # fmt: skip
    with pytest.raises(GpufleetError, match=message):
        ask()
    assert list(run.store.rglob("gpufleet.json")) == []


def test_a_token_that_everybody_gets_is_asked_for(run):
    with Registry(auth=True) as registry:
        image = registry.add("library/tiny:latest", tiny())
        assert contents(run(hub="ollama", source="tiny", endpoint=registry.url)["path"]) == layout(image)
        assert registry.count("GET", "/token") == 1


def test_a_token_that_nobody_gets_is_told(run, tmp_path):
    with Registry(closed=True) as registry:
        image = registry.add("library/tiny:latest", tiny())
        with pytest.raises(GpufleetError, match=r"^tiny:latest on .* is not open to everybody \(HTTP 401\). Models that bel"):
            run(hub="ollama", source="tiny", endpoint=registry.url)
        (tmp_path / "token").write_text("stand-in\n")
        result = run(hub="ollama", source="tiny", endpoint=registry.url, token_file=str(tmp_path / "token"))
        assert contents(result["path"]) == layout(image)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"source": "absent"}, "^There is no absent:latest at http.*: check the name and its tag"),
        ({"source": "tiny:70b"}, "^There is no tiny:70b at"),
        ({"source": "../tiny"}, r"^source='../tiny' names no model: its namespace '..' must begin"),
        ({"source": "tiny:la/test:x y"}, "names no model"),
        ({"revision": "main"}, "^revision=main: the tag of tiny is a part of source. As revision give the digest"),
        ({"include": ["*"]}, "^include, exclude: a model of a registry of Ollama's is all of its blobs"),
        ({"transport": "xet"}, "^transport=xet: only a hub of Hugging Face offers it"),
        ({"name": "a/b"}, "^name=a/b: only a directory is given a name, or a list of files"),
        ({"offline": True}, r"^offline is true and tiny:latest on .* is not in the store \(.*/library/tiny/latest\)"),
    ],
)
def test_refusals(run, ask, params, message):
    with pytest.raises(GpufleetError, match=message):
        ask(**params)
    assert list(run.store.rglob("*")) == []
