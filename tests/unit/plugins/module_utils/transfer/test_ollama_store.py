# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ollama's store read without a server: models, damaged manifests, blobs that are not what they should be."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.ollama_names import Name
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.manifest import Manifest, digest_of
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.store import Store
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer import ollama_stores as stores

LIBRARY = "registry.ollama.ai/library/"
ONE, TWO = b"one model" * 100, b"another model" * 100
QWEN = Name.parse("qwen3:8b")
RAW = json.loads(stores.manifest(stores.layers(ONE), b"{}\n"))


@pytest.fixture
def store(tmp_path):
    stores.add(tmp_path, LIBRARY + "qwen3/8b", ONE)
    stores.add(tmp_path, "hf.co/org/tiny/Q4_K_M", TWO)
    return Store(str(tmp_path))


def test_models(store, tmp_path):
    found = store.models()
    assert [one.name.short for one in found] == ["hf.co/org/tiny:Q4_K_M", "qwen3:8b"]
    raw = (tmp_path / "manifests" / LIBRARY / "qwen3" / "8b").read_bytes()
    assert found[1].digest == stores.sha256(raw)
    assert found[1].manifest_path == str(tmp_path / "manifests" / LIBRARY / "qwen3" / "8b")
    data = json.loads(raw)
    assert found[1].size == sum(layer["size"] for layer in [data["config"], *data["layers"]])
    assert store.manifest(QWEN).raw == raw
    assert list(store.manifest(QWEN).blobs)[0] == data["config"]["digest"]
    assert [layer.kind for layer in store.manifest(QWEN).layers] == ["model", "template", "license"]


def test_case_does_not_matter(store):
    assert store.find(Name.parse("QWEN3:8B")) == QWEN
    assert store.manifest(Name.parse("Qwen3:8B")).digest == store.manifest(QWEN).digest
    assert store.manifest(Name.parse("qwen3")) is None
    assert store.problems(Name.parse("qwen3")) == []


def test_empty_and_absent(tmp_path):
    store = Store(str(tmp_path / "none" / "yet"))
    assert store.models() == [] and store.damaged() == []
    assert store.free_bytes() > 0
    with pytest.raises(GpufleetError, match="not an absolute path"):
        Store("models")


def test_damaged_manifests_are_told(store, tmp_path):
    (tmp_path / "manifests" / LIBRARY / "qwen3" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "manifests" / LIBRARY / "qwen3" / "14b").write_text("{")
    (tmp_path / "manifests" / "README").write_text("not a manifest's place: Ollama does not look here")
    assert len(store.models()) == 2
    assert [path.rpartition("/")[2] for path, _reason in store.damaged()] == [".DS_Store", "14b"]
    with pytest.raises(GpufleetError, match="14b is no manifest: it is not JSON"):
        store.manifest(Name.parse("qwen3:14b"))


def test_problems(store, tmp_path):
    assert store.problems(QWEN, hashes=True) == []
    stores.blob(tmp_path, ONE).write_bytes(ONE[:-1])
    stores.blob(tmp_path, b"Licence\n").unlink()
    template = stores.blob(tmp_path, stores.layers(ONE)[1][1])
    template.write_bytes(template.read_bytes()[::-1])
    assert [(one.digest[7:], one.kind) for one in store.problems(QWEN)] == [
        (stores.sha256(ONE), "size"),
        (stores.sha256(b"Licence\n"), "missing"),
    ]
    found = store.problems(QWEN, hashes=True)
    assert sorted(one.kind for one in found) == ["hash", "missing", "size"]
    assert "%d bytes instead of %d" % (len(ONE) - 1, len(ONE)) in found[0].detail
    stores.blob(tmp_path, b"Licence\n").mkdir()
    assert store.problems(QWEN)[1].kind == "missing"


@pytest.mark.parametrize(
    "change, said",
    [
        ({"schemaVersion": 1}, "unsupported manifest: schemaVersion=1"),
        ({"mediaType": "application/vnd.oci.image.index.v1+json"}, "unsupported manifest"),
        ({"layers": {"a": 1}}, "its layers are a dict"),
        ({"layers": ["x"]}, "its layer 1 is a str"),
        ({"layers": [], "config": {}}, "names no blobs"),
        ({"config": {**RAW["config"], "digest": "sha256:../../etc/passwd"}}, "digest of its config is 'sha256:../"),
        ({"config": {**RAW["config"], "digest": "md5:" + "0" * 32}}, "digest of its config"),
        ({"config": {**RAW["config"], "mediaType": "text/plain"}}, "media type of its config is not supported"),
        ({"layers": [{**RAW["layers"][0], "size": -1}]}, "size of its layer 1 is -1"),
        ({"layers": [{**RAW["layers"][0], "size": "7"}]}, "size of its layer 1 is '7'"),
        ({"layers": [{**RAW["layers"][0], "size": True}]}, "size of its layer 1 is True"),
        ({"layers": [{**RAW["layers"][0], "mediaType": stores.KIND + "exploit"}]}, "media type of its layer 1"),
        ({"layers": [{**RAW["layers"][0], "mediaType": "application/octet-stream"}]}, "media type of its layer 1"),
        ({"layers": [RAW["layers"][0], {**RAW["layers"][0], "size": 3}]}, "says two sizes of"),
    ],
)
def test_manifests_that_are_refused(change, said):
    with pytest.raises(GpufleetError) as caught:
        Manifest.parse(json.dumps({**RAW, **change}).encode(), "x.tar: manifests/a")
    assert str(caught.value).startswith("x.tar: manifests/a") and said in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff\xfe", b"[" * 100000, b"null", b" " * (16 * 1024**2 + 1)])
def test_bytes_that_are_no_manifest(raw):
    with pytest.raises(GpufleetError, match="^here is no manifest"):
        Manifest.parse(raw, "here")


def test_digests():
    assert digest_of("sha256-" + "a" * 64) == digest_of("sha256:" + "a" * 64) == "sha256:" + "a" * 64
    for wrong in ("sha256-" + "a" * 63, "sha256-" + "A" * 64, "sha256-%s-partial" % ("a" * 64), "a" * 64, None, 7):
        assert digest_of(wrong) is None
