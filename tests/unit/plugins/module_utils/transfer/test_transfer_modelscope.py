# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From ModelScope into the store: against the stand-in, which its real client accepts too, and against the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.sources import modelscope as source
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import aria2
from ansible_collections.gpufleet.llm.tests.stand_ins.modelscope.modelscope import Fault, Modelscope
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import FILES, WANTED, contents, wanted

SHARD = "model-00001-of-00002.safetensors"
CLIENT = """
import sys
from modelscope_hub.compat import snapshot_download
print()
print(snapshot_download("org/tiny", cache_dir=sys.argv[1], endpoint=sys.argv[2], token=sys.argv[3]))
"""


@pytest.fixture
def scope(tmp_path, no_authorities):
    with Modelscope(tmp_path / "modelscope", cdn=True) as server:
        server.add("org/tiny", FILES)
        yield server


@pytest.fixture
def ask(run, scope):
    def call(**more):
        return run(**{"hub": "modelscope", "endpoint": scope.url, **more})

    return call


def test_complete_verified_and_pinned(scope, run, ask):
    result = ask()
    assert contents(result["path"]) == wanted(FILES)
    assert result["path"] == str(run.store / "modelscope" / "org" / "tiny" / result["revision"])
    assert result["revision"] == result["listing_sha256"]
    assert os.readlink(result["link"]) == result["revision"]
    assert os.path.basename(result["link"]) == "master"
    record = result["record"]
    assert (record["kind"], record["endpoint"]) == ("modelscope", scope.url)
    assert [row["path"] for row in record["files"]] == WANTED
    assert all(len(row["sha256"]) == 64 for row in record["files"] + record["skipped"])
    assert run.client_asked_for == 0


def test_second_run_asks_nobody_and_reads_no_file(scope, ask, no_hashing):
    first = ask()
    scope.requests.clear()
    no_hashing()
    for more in ({}, {"offline": True, "state": "latest"}, {"revision": first["revision"]}):
        assert ask(**more)["changed"] is False
    assert scope.requests == []


def test_latest_asks_for_the_list_alone(scope, ask):
    first = ask()
    scope.requests.clear()
    assert ask(state="latest")["changed"] is False
    assert [one.path for one in scope.requests] == ["/api/v1/models/org/tiny/repo/files?Revision=master&Recursive=True"]
    scope.add("org/tiny", {"config.json": b"{}"})
    assert ask()["revision"] == first["revision"]
    second = ask(state="latest")
    assert (second["changed"], second["downloaded_files"]) == (True, 1)
    assert contents(second["path"])["config.json"] == b"{}"
    assert os.readlink(second["link"]) == second["revision"] != first["revision"]


def test_a_digest_pins_master(scope, ask):
    digest = ask()["revision"]
    scope.add("org/tiny", {"config.json": b"{}"})
    assert ask(revision=digest)["changed"] is False
    other = "%064x" % 5
    with pytest.raises(GpufleetError, match="^org/tiny on .* is [0-9a-f]{64}, but revision=%s is asked for" % other):
        ask(revision=other)


def test_branches_tags_and_commits(scope, ask):
    scope.add("org/tiny", {"config.json": b"{}"}, ref="v1/b")
    tag = ask(revision="v1/b")
    assert (os.path.basename(tag["link"]), contents(tag["path"])) == ("v1~b", {"config.json": b"{}"})
    commit = scope.commit("org/tiny")
    pinned = ask(revision=commit)
    assert (pinned["revision"], pinned["link"], contents(pinned["path"])) == (commit, None, wanted(FILES))
    scope.requests.clear()
    assert ask(revision=commit, state="latest")["changed"] is False
    assert scope.requests == []


def test_what_changes_while_it_is_fetched_is_told(scope, ask, monkeypatch):
    listed = source.ModelscopeSource.listing

    def then_it_changes(self, revision):
        found = list(listed(self, revision))
        scope.add("org/tiny", {"config.json": b"a longer one, which nobody has listed"[:24]})
        return found

    monkeypatch.setattr(source.ModelscopeSource, "listing", then_it_changes)
    with pytest.raises(GpufleetError, match="master is not what it was when its files were listed.*Run again"):
        ask()
    monkeypatch.undo()
    assert contents(ask(endpoint=scope.url)["path"])["config.json"].startswith(b"a longer")


def test_an_endpoint_and_a_token_from_the_environment(scope, run, monkeypatch):
    scope.private["org/tiny"] = "ms-secret"
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", scope.url + "/")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret")
    result = run(hub="modelscope")
    assert contents(result["path"]) == wanted(FILES)
    assert {one.authorization for one in scope.requests if one.origin == "hub"} == {True}
    assert {one.authorization for one in scope.requests if one.origin == "cdn"} == {False}
    assert "ms-secret" not in json.dumps(result) + "".join(run.said)


def test_aria2_is_shown_no_token(scope, run, ask, monkeypatch):
    monkeypatch.setattr(aria2, "LARGE", 100_000)
    brought, fetch = [], aria2.fetch
    monkeypatch.setattr(aria2, "fetch", lambda jobs, *rest: brought.extend(jobs) or fetch(jobs, *rest))
    scope.private["org/tiny"] = "ms-secret"
    assert contents(ask(token="ms-secret", transport="aria2")["path"]) == wanted(FILES)
    assert sorted(os.path.basename(job.path) for job in brought) == [SHARD, SHARD.replace("1-of", "2-of")]
    assert {one.authorization for one in scope.requests if one.origin == "cdn"} == {False}


def test_lists_that_are_cut_are_asked_for_by_directories(scope, ask):
    many = {"%s/%s/%d.json" % (top, sub, n): b"%d" % n for top in "ab" for sub in "xy" for n in range(4)}
    scope.add("org/tiny", many)
    scope.most_rows = 10
    monkey = pytest.MonkeyPatch()
    monkey.setattr(source, "MOST_ROWS", 10)
    try:
        assert contents(ask()["path"]) == {**wanted(FILES), **many}
        scope.add("org/tiny", {"a/x/%d.txt" % n: b"" for n in range(9)})
        with pytest.raises(GpufleetError, match="the directory a/x holds 10 entries or more, and ModelScope lists no more"):
            ask(state="latest")
    finally:
        monkey.undo()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", path=SHARD, at=0.6),
        Fault("status", path="*/repo/files", status=503, times=2),
        Fault("status", path=SHARD, status=429, retry_after=0),
        Fault("corrupt", path=SHARD, times=2),
        Fault("corrupt", path="config.json"),
        Fault("html", path=SHARD, times=1),
    ],
    ids=["drop", "503 to the list", "429", "wrong byte twice", "wrong byte in git's file", "page"],
)
def test_what_passes_is_tried_again(scope, ask, fault):
    scope.faults.append(fault)
    assert contents(ask()["path"]) == wanted(FILES)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"source": "org/absent"}, "^There is no org/absent on http.*, or it is private and the token is missing: check"),
        ({"source": "org/absent", "token": "x"}, "or it is private and the token given has no access"),
        ({"revision": "v9"}, "has no revision v9: set revision to a branch or a tag. It has master$"),
        ({"source": "org/mine"}, r"refuses to answer \(HTTP 401\): it is private or not open to everybody. Set token_file"),
        ({"source": "org/mine", "token": "x"}, r"\(HTTP 403\): the token is wrong, expired or not allowed to read it"),
        ({"include": ["*.gguf"]}, "No file of org/tiny on .* is selected by include"),
        ({"source": "tiny"}, "^source='tiny' names no model"),
        ({"transport": "hf_transfer"}, "^transport=hf_transfer: only a hub of Hugging Face offers it, and org/tiny on"),
        ({"offline": True}, r"^offline is true and org/tiny on .* is not in the store \(.*/modelscope/org/tiny/master\)"),
    ],
)
def test_refusals(scope, ask, params, message):
    scope.add("org/mine", FILES)
    scope.private["org/mine"] = "secret"
    with pytest.raises(GpufleetError, match=message):
        ask(**params)
    assert scope.count("*", "*FilePath*") == 0


def _row(**fields):
    return {"Path": "x.json", "Name": "x.json", "Type": "blob", "Size": 1, "Sha256": "0" * 64, **fields}


@pytest.mark.parametrize(
    "row, message",
    [
        (_row(Path="../x"), r"lists a file with the path '../x', which is not inside the model"),
        (_row(Path="/etc/x"), r"lists a file with the path '/etc/x', which is not"),
        (_row(Path="a/../../x"), r"which is not inside the model"),
        (_row(Size="1"), "does not answer as ModelScope does: the size of x.json is '1'. Check endpoint"),
        (_row(Size=-1), "the size of x.json is -1"),
        (_row(Sha256="abc"), "states no hash of x.json, so nobody could tell"),
        ({"Type": "blob"}, "does not answer as ModelScope does: its list of files holds something else"),
        (_row(), "lists x.json and does not serve it"),
    ],
)
def test_lists_that_lie(scope, run, ask, row, message):
    scope.more_rows.append(row)
    with pytest.raises(GpufleetError, match=message):
        ask()
    assert [path for path in run.store.rglob("x.json") if "incoming" not in str(path)] == []


def test_files_without_a_hash_are_refused_by_name(scope, ask):
    scope.no_hash.add(SHARD)
    with pytest.raises(GpufleetError, match="states no hash of %s" % SHARD):
        ask()


@pytest.mark.parametrize(
    "kind, message",
    [
        ("html", "does not answer as ModelScope does: its answer is no JSON. A proxy or a login page may be in between. Check"),
        ("corrupt", r"^org/tiny on .* answers: stand-in: not today \(Code 10010000002\)"),
    ],
)
def test_answers_that_are_no_list(scope, ask, kind, message):
    scope.faults.append(Fault(kind, path="*/repo/files"))
    with pytest.raises(GpufleetError, match=message):
        ask()


@pytest.mark.parametrize(
    "kind, message",
    [
        ("corrupt", SHARD + " of org/tiny on .* arrived wrong 3 times and was removed"),
        ("html", SHARD + " of org/tiny on .* arrived wrong 3 times and was removed: a page came, as of a proxy or a login: it has 48 bytes"),
    ],
)
def test_wrong_files_never_get_their_name(scope, run, ask, kind, message):
    scope.faults.append(Fault(kind, path=SHARD, times=-1))
    with pytest.raises(GpufleetError, match=message):
        ask()
    assert [path for path in run.store.rglob(SHARD) if "incoming" not in str(path)] == []


def test_real_client_accepts_the_stand_in_and_gets_the_same_bytes(scope, ask, tmp_path):
    scope.private["org/tiny"] = "ms-secret"
    environment = {**os.environ, "HOME": str(tmp_path), "MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "false"}
    environment.pop("MODELSCOPE_ENDPOINT", None)
    result = subprocess.run(
        [sys.executable, "-c", CLIENT, str(tmp_path / "cache"), scope.url, "ms-secret"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    folder = result.stdout.strip().splitlines()[-1]
    theirs = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    assert theirs == FILES
    assert contents(ask(token="ms-secret", include=["*"])["path"]) == theirs


@pytest.mark.skipif("GPUFLEET_TEST_MODELSCOPE" not in os.environ, reason="GPUFLEET_TEST_MODELSCOPE names no model")
def test_real_modelscope(run):
    """The configuration of a model that the variable names, such as Qwen/Qwen3-0.6B."""
    asked = {"hub": "modelscope", "source": os.environ["GPUFLEET_TEST_MODELSCOPE"], "include": ["*.json"]}
    result = run(**asked)
    assert json.loads(Path(result["path"], "config.json").read_text())
    assert run(**asked)["changed"] is False
    with pytest.raises(GpufleetError, match="has no revision gpufleet-none: set revision to a branch or a tag. It has"):
        run(**asked, revision="gpufleet-none")
    with pytest.raises(GpufleetError, match="^There is no gpufleet/none on"):
        run(hub="modelscope", source="gpufleet/none")
