# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hub stand-in is only worth testing with while the real client accepts it."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
from pathlib import Path

import pytest

huggingface_hub = pytest.importorskip("huggingface_hub")

from ansible_collections.gpufleet.llm.tests.stand_ins.hub import hub as stand_in  # noqa: E402
from huggingface_hub import HfApi, errors, snapshot_download  # noqa: E402

FILES = {
    "config.json": b'{"model_type": "llama"}\n',
    "tokenizer.json": b"{}" * 2000,
    "sub/notes.txt": b"hello",
    "model.safetensors": bytes(range(256)) * 8000,
}


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)


def fetch(hub: stand_in.Hub, folder: Path, **options: object) -> Path:
    return Path(snapshot_download("org/tiny", local_dir=str(folder), endpoint=hub.url, **options))


def request(url: str, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(url.partition("//")[2], timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def test_real_client_downloads_every_file(hub, tmp_path):
    commit = hub.add("org/tiny", FILES)
    folder = fetch(hub, tmp_path / "out")
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert hub.count("GET", "/api/models/org/tiny/revision/main") == 1
    assert hub.count("GET", "/org/tiny/resolve/%s/*" % commit) == len(FILES)


def test_tree_comes_in_pages_that_the_client_follows(hub):
    hub.add("org/tiny", {"f%02d.txt" % n: b"x" for n in range(25)})
    hub.page_size = 10
    rows = list(HfApi(endpoint=hub.url).list_repo_tree("org/tiny", recursive=True))
    assert [row.path for row in rows] == ["f%02d.txt" % n for n in range(25)]
    assert hub.count("GET", "/api/models/org/tiny/tree/*") == 3


def test_listing_carries_the_hashes_of_git_and_lfs(hub):
    hub.add("org/tiny", FILES)
    rows = {row.path: row for row in HfApi(endpoint=hub.url).list_repo_tree("org/tiny", recursive=True)}
    assert rows["model.safetensors"].lfs.sha256 == hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert rows["config.json"].blob_id == hashlib.sha1(b"blob 24\0" + FILES["config.json"]).hexdigest()
    assert rows["config.json"].lfs is None
    asked = HfApi(endpoint=hub.url).get_paths_info("org/tiny", ["config.json", "absent"])
    assert [row.path for row in asked] == ["config.json"]


@pytest.mark.parametrize(
    "asked, status, span, content_range",
    [
        ("bytes=10-19", 206, (10, 20), "bytes 10-19/24"),
        ("bytes=20-999", 206, (20, 24), "bytes 20-23/24"),
        ("bytes=-4", 206, (20, 24), "bytes 20-23/24"),
        ("bytes=24-", 416, None, "bytes */24"),
        ("nonsense", 200, (0, 24), None),
    ],
)
def test_ranges(hub, asked, status, span, content_range):
    hub.add("org/tiny", FILES)
    answer = request(hub.url, "/org/tiny/resolve/main/config.json", Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (status, content_range)
    if span:
        assert answer.read() == FILES["config.json"][slice(*span)]


def test_cdn_gets_large_files_and_no_token(tmp_path):
    with stand_in.Hub(tmp_path / "hub", cdn=True, gated={"org/tiny": "accepted"}) as hub:
        hub.add("org/tiny", FILES)
        folder = fetch(hub, tmp_path / "out", token="accepted")
        assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
        cdn = [one for one in hub.requests if one.origin == "cdn"]
    assert cdn and not any(one.authorization for one in cdn)


@pytest.mark.parametrize("token, status", [(False, 401), ("stranger", 403)])
def test_gated(hub, tmp_path, token, status):
    hub.add("org/tiny", FILES)
    hub.gated["org/tiny"] = "accepted"
    with pytest.raises(errors.GatedRepoError) as caught:
        fetch(hub, tmp_path / "out", token=token)
    assert caught.value.response.status_code == status


def test_not_found(hub, tmp_path):
    hub.add("org/tiny", FILES)
    hub.add("org/secret", FILES)
    hub.private["org/secret"] = "mine"
    api = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(errors.RevisionNotFoundError):
        api.model_info("org/tiny", revision="v9")
    for absent in ("org/absent", "org/secret"):
        with pytest.raises(errors.RepositoryNotFoundError):
            api.model_info(absent)
    with pytest.raises(errors.RemoteEntryNotFoundError):
        api.hf_hub_download("org/tiny", "absent.json", local_dir=str(tmp_path))


def test_refs_and_changed_main(hub):
    hub.add("org/tiny", FILES)
    other = hub.add("org/tiny", {"config.json": b"{}"}, ref="refs/pr/1")
    api = HfApi(endpoint=hub.url)
    first = api.model_info("org/tiny").sha
    assert api.model_info("org/tiny", revision="refs/pr/1").sha == other != first
    hub.add("org/tiny", {"config.json": b'{"model_type": "qwen3"}'})
    assert api.model_info("org/tiny").sha not in (first, other)


@pytest.mark.parametrize(
    "fault",
    [
        stand_in.Fault("drop", path="*.safetensors"),
        stand_in.Fault("status", path="*.safetensors", status=429, ratelimit=0),
    ],
    ids=["drop", "429"],
)
def test_client_survives_what_passes(hub, tmp_path, fault):
    hub.add("org/tiny", FILES)
    hub.faults.append(fault)
    folder = fetch(hub, tmp_path / "out")
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert hub.count("GET", "*/model.safetensors") == 2
    assert fault.times == 0


def test_client_gives_up_on_503(hub, tmp_path):
    hub.add("org/tiny", FILES)
    hub.faults.append(stand_in.Fault("status", path="*.safetensors", status=503, retry_after=7))
    with pytest.raises(errors.HfHubHTTPError) as caught:
        fetch(hub, tmp_path / "out")
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["Retry-After"] == "7"


def test_fault_corrupt_changes_one_byte(hub):
    hub.add("org/tiny", FILES)
    hub.faults.append(stand_in.Fault("corrupt", path="*.safetensors", at=0.25))
    got = request(hub.url, "/org/tiny/resolve/main/model.safetensors").read()
    wanted = FILES["model.safetensors"]
    assert [n for n in range(len(wanted)) if got[n] != wanted[n]] == [len(wanted) // 4]


def test_fault_on_the_command_line():
    assert stand_in.Fault.parse("drop,path=*.safetensors,times=2,at=0.9") == stand_in.Fault(
        "drop", path="*.safetensors", times=2, at=0.9
    )
    with pytest.raises(ValueError, match="want one of status, drop"):
        stand_in.Fault.parse("explode")


def test_runs_as_a_program(tmp_path):
    (tmp_path / "org" / "tiny").mkdir(parents=True)
    (tmp_path / "org" / "tiny" / "config.json").write_bytes(FILES["config.json"])
    command = [sys.executable, stand_in.__file__, "--root", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            url = program.stdout.readline().split()[3]
            assert request(url, "/org/tiny/resolve/main/config.json").read() == FILES["config.json"]
        finally:
            program.kill()
