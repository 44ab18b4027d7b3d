# SPDX-License-Identifier: GPL-3.0-or-later
"""The store as the host's own tools see it."""

from __future__ import annotations

import hashlib
import json

import pytest
import testinfra

HOSTS = ["llm-debian12", "llm-debian13"]
STORE = "/srv/models"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
WANTED = {
    "huggingface/org/open": ["config.json", "extra/notes.txt"] + SHARDS,
    "huggingface/org/gated": ["config.json"] + SHARDS,
    "local/team/small": ["config.json"] + SHARDS,
    "local/team/everything": ["config.json", "pytorch_model.bin"] + SHARDS,
}
SOURCES = {
    "huggingface/org/open": "/srv/hub/org/open",
    "huggingface/org/gated": "/srv/hub/org/gated",
    "local/team/small": "/srv/disk/team/small",
    "local/team/everything": "/srv/disk/team/small",
}
LINKS = {name: "tested" if name.endswith("everything") else "main" for name in WANTED}


@pytest.fixture(scope="module", params=HOSTS)
def host(request):
    return testinfra.get_host("podman://" + request.param)


@pytest.fixture
def requests(host):
    return [json.loads(line) for line in host.check_output("cat /var/log/hub.jsonl").splitlines()]


def sums(host, folder):
    """sha256 by path, of every file below a directory."""
    lines = host.check_output("cd %s && find . -type f -exec sha256sum {} +", folder).splitlines()
    return {line[66:].replace("./", "", 1): line[:64] for line in lines}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_files_are_the_sources(host, name):
    found = sums(host, "%s/%s/%s" % (STORE, name, LINKS[name] + "/"))
    found.pop("gpufleet.json")
    source = sums(host, SOURCES[name])
    assert found == {path: source[path] for path in WANTED[name]}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_link_leads_to_the_revision_of_the_record(host, name):
    revision = host.check_output("readlink %s/%s/%s", STORE, name, LINKS[name])
    record = json.loads(host.file("%s/%s/%s/gpufleet.json" % (STORE, name, revision)).content_string)
    assert record["revision"] == revision
    assert [row["path"] for row in record["files"]] == sorted(WANTED[name])
    for row in record["files"]:
        stat = host.check_output("stat -c '%%s %%i' %s/%s/%s/%s", STORE, name, revision, row["path"]).split()
        assert [row["size"], row["inode"]] == [int(value) for value in stat]


@pytest.mark.parametrize("name", ["org/open", "org/gated"])
def test_revision_is_the_hubs_commit(host, name):
    info = json.loads(host.check_output("curl -sf http://127.0.0.1:8900/api/models/%s", name))
    assert host.check_output("readlink %s/huggingface/%s/main", STORE, name) == info["sha"]


def test_a_file_by_its_address_lies_under_the_digest_of_its_hash(host):
    digest = hashlib.sha256(b"config.json\0%s\n" % sums(host, "/srv/hub/org/open")["config.json"].encode()).hexdigest()
    assert host.check_output("ls %s/url/team/addressed", STORE) == digest
    paths = json.loads(host.file("/opt/model_store_paths.json").content_string)
    assert paths["team/addressed"] == "%s/url/team/addressed/%s" % (STORE, digest)


def test_nothing_unfinished_is_left(host):
    assert host.check_output("find %s -name '.*' ! -name .lock", STORE) == ""


def test_engines_read_and_never_write(host):
    assert host.check_output("find %s ! -user root -o ! -group root", STORE) == ""
    assert host.check_output("find %s -type f ! -perm 0644", STORE) == ""
    assert host.check_output("find %s -type d ! -perm 0755", STORE) == ""
    shard = "%s/huggingface/org/open/main/%s" % (STORE, SHARDS[0])
    assert (
        host.run("setpriv --reuid=65534 --regid=65534 --clear-groups cat %s | wc -c", shard).stdout.strip()
        == "12000000"
    )
    assert host.run("setpriv --reuid=65534 --regid=65534 --clear-groups sh -c ': >> %s'", shard).rc != 0


def test_later_runs_asked_the_hub_nothing(requests):
    for name in ("org/open", "org/gated"):
        asked = [one for one in requests if one["path"] == "/api/models/%s/revision/main" % name]
        agents = [one for one in asked if one["user_agent"].startswith("gpufleet.llm/")]
        assert len(agents) == 2  # check and converge; not idempotence


def test_faults_were_met(requests):
    """The hub dropped one file and spoiled another: what is in the store came in later attempts."""
    bodies = [one for one in requests if one["origin"] == "cdn" and one["method"] == "GET"]
    assert len(bodies) >= 6  # four shards, of which two came twice


def test_token_reached_the_hub_and_nothing_else(host, requests):
    gated = [one for one in requests if "/org/gated/resolve/" in one["path"]]
    assert gated and all(one["authorization"] for one in gated)
    assert not any(one["authorization"] for one in requests if one["origin"] == "cdn")
    assert host.run("grep -rq hf_standIn %s", STORE).rc == 1
    journal = host.check_output("journalctl --no-pager -o cat")
    assert "token_file=/root/hub.token" in journal  # the module's own line is there
    assert "hf_standIn" not in journal


def test_paths_for_other_roles(host):
    paths = json.loads(host.file("/opt/model_store_paths.json").content_string)
    for key, name in {
        "org/open": "huggingface/org/open",
        "org/gated@main": "huggingface/org/gated",
        "/srv/disk/team/small@main": "local/team/small",
        "/srv/disk/team/small": "local/team/everything",
    }.items():
        assert paths[key] == host.check_output("readlink -f %s/%s/%s", STORE, name, LINKS[name])
