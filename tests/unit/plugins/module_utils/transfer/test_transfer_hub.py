# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a hub into the store. The stand-in is one that the real huggingface_hub accepts: test_hub_stand_in.py."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from email.message import Message
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import store as store_module
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.sources.hub import HubSource, users_token
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import part
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports.terms import Terms
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Fault, Hub
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import (
    FILES,
    WANTED,
    contents,
    sha256,
    wanted,
)

SHARD = "model-00001-of-00002.safetensors"
both_transports = pytest.mark.parametrize("transport", ["http", "xet"])


def test_complete_verified_and_pinned(hub, run):
    commit = hub.add("org/tiny", FILES)
    result = run(endpoint=hub.url)
    assert contents(result["path"]) == wanted(FILES)
    assert result["path"] == str(run.store / "huggingface" / "org" / "tiny" / commit)
    assert os.readlink(result["link"]) == commit
    size = sum(len(FILES[path]) for path in WANTED)
    assert (result["changed"], result["revision"], result["files"]) == (True, commit, len(WANTED))
    assert (result["bytes"], result["downloaded_bytes"], result["reused_bytes"]) == (size, size, 0)
    assert sorted(os.listdir(os.path.dirname(result["path"]))) == [".lock", commit, "main"]


def test_record_says_what_is_there_and_what_is_not(hub, run):
    commit = hub.add("org/tiny", FILES)
    result = run(endpoint=hub.url)
    record = json.loads(Path(result["path"], "gpufleet.json").read_text())
    assert record == result["record"]
    assert {key: record[key] for key in ("schema", "kind", "name", "source", "revision", "endpoint")} == {
        "schema": "gpufleet.model_record/1",
        "kind": "huggingface",
        "name": "org/tiny",
        "source": "org/tiny",
        "revision": commit,
        "endpoint": hub.url,
    }
    rows = {row["path"]: row for row in record["files"]}
    stat = os.stat(os.path.join(result["path"], SHARD))
    assert rows[SHARD] == {
        "path": SHARD,
        "size": len(FILES[SHARD]),
        "sha256": sha256(FILES[SHARD]),
        "mtime_ns": stat.st_mtime_ns,
        "inode": stat.st_ino,
    }
    assert sorted(rows) == WANTED
    assert [row["path"] for row in record["skipped"]] == [".gitattributes", "pytorch_model.bin"]


def test_second_run_asks_nobody_and_reads_no_file(hub, run, no_hashing):
    hub.add("org/tiny", FILES)
    first = run(endpoint=hub.url)
    hub.requests.clear()
    run.client_asked_for = 0
    no_hashing()
    second = run(endpoint=hub.url)
    assert second["changed"] is False
    assert second["diff"]["before"] == second["diff"]["after"]
    assert {key: second[key] for key in ("path", "link", "revision", "files", "bytes", "record")} == {
        key: first[key] for key in ("path", "link", "revision", "files", "bytes", "record")
    }
    assert (hub.requests, run.client_asked_for) == ([], 0)
    assert run(endpoint="http://127.0.0.1:9", offline=True)["changed"] is False


def test_moved_main_is_noticed_when_asked_for(hub, run):
    old = hub.add("org/tiny", FILES)
    run(endpoint=hub.url)
    new = hub.add("org/tiny", {"config.json": b'{"model_type": "qwen3"}\n'})
    assert run(endpoint=hub.url)["revision"] == old
    hub.requests.clear()

    result = run(endpoint=hub.url, state="latest")
    assert (result["changed"], result["revision"]) == (True, new)
    assert os.readlink(result["link"]) == new
    assert contents(result["path"])["config.json"] == b'{"model_type": "qwen3"}\n'
    assert result["diff"]["before"] == "main: %s\n" % old
    assert result["diff"]["after"].startswith("main: %s\nfetched: config.json" % new)
    # The other files are the old revision's, by another name.
    assert result["downloaded_files"] == 1
    assert hub.count("GET", "*/resolve/*") == 1
    assert os.stat(os.path.join(result["path"], SHARD)).st_nlink == 2

    hub.requests.clear()
    assert run(endpoint=hub.url, state="latest")["changed"] is False
    assert [one.path for one in hub.requests] == ["/api/models/org/tiny/revision/main"]
    assert contents(run.store / "huggingface" / "org" / "tiny" / old) == wanted(FILES)


def test_a_commit_needs_no_link_and_no_question(hub, run):
    commit = hub.add("org/tiny", FILES)
    result = run(endpoint=hub.url, revision=commit, state="latest")
    assert (result["revision"], result["link"]) == (commit, None)
    assert hub.count("GET", "/api/models/*/revision/*") == 0
    hub.requests.clear()
    assert run(endpoint=hub.url, revision=commit, state="latest")["changed"] is False
    # A ref that turns out to be that commit costs one question and a link.
    result = run(endpoint=hub.url)
    assert (result["changed"], result["downloaded_files"]) == (True, 0)
    assert [one.path for one in hub.requests] == ["/api/models/org/tiny/revision/main"]


def test_ref_with_slashes(hub, run):
    hub.add("org/tiny", FILES)
    commit = hub.add("org/tiny", {"config.json": b"{}", "model.safetensors": b"abc"}, ref="refs/pr/1")
    result = run(endpoint=hub.url, revision="refs/pr/1")
    assert os.path.basename(result["link"]) == "refs~pr~1"
    assert os.readlink(result["link"]) == result["revision"] == commit


def test_more_patterns_fetch_the_rest_and_fewer_remove_nothing(hub, run):
    hub.add("org/tiny", FILES)
    first = run(endpoint=hub.url, include=["*.json"])
    assert sorted(contents(first["path"])) == ["config.json", "tokenizer.json"]
    hub.requests.clear()
    second = run(endpoint=hub.url)
    assert (second["changed"], second["path"]) == (True, first["path"])
    assert contents(second["path"]) == wanted(FILES)
    assert second["downloaded_files"] == len(WANTED) - 2
    assert hub.count("GET", "/api/*") == 0  # the record knew what else there is
    assert run(endpoint=hub.url, include=["*.json"])["changed"] is False
    assert contents(second["path"]) == wanted(FILES)
    assert [row["path"] for row in second["record"]["files"]] == WANTED


def test_misspelt_pattern_is_told(hub, run):
    hub.add("org/tiny", FILES)
    result = run(endpoint=hub.url, include=["*.json", "*.safetensor"])
    assert result["warnings"] == ["include: no file of org/tiny on %s matches *.safetensor" % hub.url]


def test_check_mode_says_how_much_and_touches_nothing(hub, run):
    commit = hub.add("org/tiny", FILES)
    result = run(endpoint=hub.url, check_mode=True)
    size = sum(len(FILES[path]) for path in WANTED)
    assert (result["changed"], result["downloaded_files"], result["downloaded_bytes"]) == (True, len(WANTED), size)
    assert result["msg"] == "would download %d files, %d bytes" % (len(WANTED), size)
    assert result["diff"]["before"] == "main: absent\n"
    assert result["diff"]["after"].startswith("main: %s\nfetched: config.json (24 bytes)\n" % commit)
    assert not run.store.exists()
    assert hub.count("*", "*/resolve/*") == 0

    assert run(endpoint=hub.url)["path"] == result["path"]
    assert run(endpoint=hub.url, check_mode=True)["changed"] is False


def test_check_mode_without_the_library_is_no_failure(hub, run, monkeypatch):
    def missing():
        raise GpufleetError("Python libraries are missing: huggingface_hub.")

    monkeypatch.setattr(run, "_need_client", missing)
    result = run(endpoint=hub.url, transport="xet", check_mode=True)
    assert (result["changed"], result["revision"], result["downloaded_bytes"]) == (True, None, None)
    assert result["path"] == str(run.store / "huggingface" / "org" / "tiny" / "main")
    assert "Python libraries are missing: huggingface_hub." in result["msg"]
    with pytest.raises(GpufleetError, match="Python libraries are missing"):
        run(endpoint=hub.url, transport="xet")
    hub.add("org/tiny", FILES)
    assert contents(run(endpoint=hub.url)["path"]) == wanted(FILES)  # which nothing else needs


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="removed"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), id="truncated"),
        pytest.param(lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), id="changed in place"),
    ],
)
def test_only_what_is_damaged_is_fetched_again(hub, run, damage):
    hub.add("org/tiny", FILES)
    path = run(endpoint=hub.url)["path"]
    damage(Path(path, SHARD))
    hub.requests.clear()
    with pytest.raises(GpufleetError, match="incomplete .missing or damaged: %s" % SHARD):
        run(endpoint=hub.url, offline=True)
    for check_mode in (True, False):
        result = run(endpoint=hub.url, check_mode=check_mode)
        assert (result["changed"], result["downloaded_files"]) == (True, 1)
    assert contents(path) == wanted(FILES)
    assert [one.path.rpartition("/")[2] for one in hub.requests if one.method == "GET"] == [SHARD]
    assert run(endpoint=hub.url)["changed"] is False


def test_a_copied_store_is_hashed_once(hub, run, no_hashing):
    hub.add("org/tiny", FILES)
    path = run(endpoint=hub.url)["path"]
    for name in WANTED:  # as rsync does: the same content and date, another inode
        whole = Path(path, name)
        stat = whole.stat()
        copy = whole.with_name("copy")
        copy.write_bytes(whole.read_bytes())
        os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        os.replace(copy, whole)
    hub.requests.clear()
    result = run(endpoint=hub.url, offline=True)
    assert (result["changed"], result["downloaded_files"]) == (True, 0)
    assert result["msg"].startswith("verified %d files" % len(WANTED))
    no_hashing()
    assert run(endpoint=hub.url, offline=True)["changed"] is False
    assert hub.requests == []


def test_lost_record_is_made_again_without_fetching(hub, run):
    hub.add("org/tiny", FILES)
    path = run(endpoint=hub.url)["path"]
    Path(path, "gpufleet.json").unlink()
    hub.requests.clear()
    result = run(endpoint=hub.url)
    assert (result["changed"], result["downloaded_files"]) == (True, 0)
    assert hub.count("*", "*/resolve/*") == 0
    assert run(endpoint=hub.url)["changed"] is False
    assert contents(path) == wanted(FILES)


def test_what_an_unfinished_run_left_is_used(hub, run):
    commit = hub.add("org/tiny", FILES)
    part = run.store / "huggingface" / "org" / "tiny" / (".%s.part" % commit)
    for name, content in {
        SHARD: FILES[SHARD],
        "config.json": b"damaged but of 24 bytes!",
        "tokenizer.json": b"",
    }.items():
        (part / "files").mkdir(parents=True, exist_ok=True)
        (part / "files" / name).write_bytes(content)
    (part / "incoming" / ".cache").mkdir(parents=True)
    (part / "incoming" / ".cache" / "x.incomplete").write_bytes(b"half")
    result = run(endpoint=hub.url)
    assert contents(result["path"]) == wanted(FILES)
    assert result["reused_bytes"] == len(FILES[SHARD])
    assert hub.count("GET", "*/" + SHARD) == 0
    assert not part.exists()


def test_owner_and_modes_are_kept_right(hub, run):
    hub.add("org/tiny", FILES)
    os.umask(0o077)
    try:
        path = run(endpoint=hub.url, mode="0640", directory_mode="0750")["path"]
    finally:
        os.umask(0o022)
    modes = {str(one.relative_to(path)): one.stat().st_mode & 0o777 for one in Path(path).rglob("*")}
    assert modes == {**{name: 0o640 for name in WANTED}, "gpufleet.json": 0o640, "extra": 0o750}
    assert Path(path).stat().st_mode & 0o777 == 0o750
    parents = [run.store, run.store / "huggingface", run.store / "huggingface" / "org"]
    assert [one.stat().st_mode & 0o777 for one in parents] == [0o755] * 3

    os.chmod(os.path.join(path, SHARD), 0o666)
    assert run(endpoint=hub.url, mode="0640", directory_mode="0750", check_mode=True)["changed"] is True
    result = run(endpoint=hub.url, mode="0640", directory_mode="0750")
    assert result["changed"] is True
    assert "owner or mode: %s" % os.path.join(path, SHARD) in result["diff"]["before"]
    assert os.stat(os.path.join(path, SHARD)).st_mode & 0o777 == 0o640
    assert run(endpoint=hub.url, mode="0640", directory_mode="0750")["changed"] is False


@both_transports
def test_token_from_a_file_reaches_the_hub_and_nothing_else(tmp_path, run, transport):
    token = tmp_path / "token"
    token.write_text("hf_secret\n")
    with Hub(tmp_path / "hub", cdn=True, gated={"org/tiny": "hf_secret"}) as hub:
        hub.add("org/tiny", FILES)
        result = run(endpoint=hub.url, token_file=str(token), transport=transport)
        assert contents(result["path"]) == wanted(FILES)
        assert {one.authorization for one in hub.requests if one.origin == "hub"} == {True}
        assert {one.authorization for one in hub.requests if one.origin == "cdn"} == {False}
    assert "hf_secret" not in json.dumps(result) + "".join(run.said)


@both_transports
@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", path=SHARD, at=0.6),
        Fault("status", path=SHARD, status=503),
        Fault("status", path=SHARD, status=503, method="HEAD"),
        Fault("status", path=SHARD, status=429, ratelimit=0),
        Fault("status", path="/api/models/org/tiny/tree/*", status=502),
        Fault("corrupt", path=SHARD, times=2),
        Fault("corrupt", path="config.json"),
        Fault("html", path=SHARD, times=1),
    ],
    ids=["drop", "503", "503 to HEAD", "429", "502 to tree", "wrong byte twice", "wrong byte in git's file", "page"],
)
def test_what_passes_is_survived(hub, run, fault, transport):
    hub.add("org/tiny", FILES)
    hub.faults.append(dataclasses.replace(fault))
    result = run(endpoint=hub.url, transport=transport)
    assert contents(result["path"]) == wanted(FILES)
    assert hub.faults[0].times == (1 if (fault.method, transport) == ("HEAD", "http") else 0)  # it asks no such question


def test_retry_after_is_obeyed(hub, run, monkeypatch):
    waits = []
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("status", path=SHARD, status=503, retry_after=33))
    monkeypatch.setattr("time.sleep", waits.append)
    run(endpoint=hub.url, transport="http")
    assert 33.0 in waits
    assert any("503" in said and "trying again in 33 s" in said for said in run.said)


@both_transports
@pytest.mark.parametrize(
    "fault, message",
    [
        (
            Fault("corrupt", path=SHARD, times=-1),
            r"^%s of org/tiny on http://[\d.:]+ arrived wrong 3 times and was removed: .*[0-9a-f]{64}" % SHARD,
        ),
        (
            Fault("status", path=SHARD, status=503, times=-1),
            r"/%s: HTTP 503 Service Unavailable. Given up after 9 attempts$" % SHARD,
        ),
        (
            Fault("status", path="/api/models/*/revision/*", status=500, times=-1),
            r"^Cannot ask for org/tiny on \S+: \S+: HTTP 500 .*Given up after 4 attempts. .*or set endpoint to a mirror",
        ),
        (
            Fault("status", path="/api/models/*/revision/*", status=404, times=-1),
            r"^http://\S+ has no org/tiny, or no revision main of it: check source, revision and endpoint$",
        ),
        (
            Fault("status", path="/api/models/*/revision/*", status=401, times=-1),
            r"^There is no org/tiny on \S+, or it is private and the token is missing",
        ),
        (
            Fault("status", path="*/resolve/*/" + SHARD, status=403, times=-1, method="*"),
            r"^org/tiny on \S+ refuses %s \(HTTP 403\): the token is wrong, expired or not allowed" % SHARD,
        ),
        (
            Fault("status", path=SHARD, status=404, code="EntryNotFound", times=-1, method="*"),
            r"^org/tiny on \S+ lists %s and does not serve it$" % SHARD,
        ),
    ],
    ids=["wrong bytes", "503", "500", "no such model", "401", "403", "404"],
)
def test_what_stays_is_an_error_and_leaves_nothing_that_looks_whole(hub, run, fault, message, transport):
    commit = hub.add("org/tiny", FILES)
    hub.faults.append(dataclasses.replace(fault))
    with pytest.raises(GpufleetError, match=message):
        run(endpoint=hub.url, transport=transport)
    home = run.store / "huggingface" / "org" / "tiny"
    assert not (home / commit).exists()
    assert not (home / "main").exists()
    assert not (home / (".%s.part" % commit) / "files" / SHARD).exists()
    hub.faults.clear()
    assert contents(run(endpoint=hub.url)["path"]) == wanted(FILES)


@both_transports
@pytest.mark.parametrize(
    "token, message",
    [
        (None, r"is gated \(HTTP 401\). Accept the licence at (\S+), then set token_file to a file with a token"),
        ("hf_other", r"is gated \(HTTP 403\). The token's account has no access: accept the licence at (\S+) with"),
    ],
)
def test_gated_says_which_licence(hub, run, token, message, transport):
    hub.add("org/tiny", FILES)
    hub.gated["org/tiny"] = "hf_accepted"
    with pytest.raises(GpufleetError, match=message) as caught:
        run(endpoint=hub.url, token=token, transport=transport)
    assert caught.value.details == {"licence_url": hub.url + "/org/tiny"}
    assert hub.url + "/org/tiny" in str(caught.value)
    assert "hf_other" not in str(caught.value)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"source": "org/absent"}, "^There is no org/absent on .*or it is private and the token is missing: check so"),
        ({"source": "org/absent", "token": "x"}, "or it is private and the token given has no access"),
        ({"revision": "v9"}, "^org/tiny on .* has no revision v9: set revision to a branch, a tag or a commit listed"),
        ({"revision": "f" * 40}, "has no revision ffff"),
        ({"include": ["*.gguf"]}, r"No file of org/tiny on .* is selected by include=\['\*.gguf'\], exclude=\[\]. It"),
        ({"source": "gpt2"}, "^source='gpt2' names no model: give org/name"),
        ({"source": "../../etc"}, "^source='../../etc' names no model"),
        ({"source": "org/.."}, "^source='org/..' names no model"),
        ({"revision": "../x"}, "^revision='../x' is not a branch"),
        ({"revision": ".hidden"}, "^revision='.hidden' is not a branch"),
        ({"store": "models"}, "^store=models: give an absolute path"),
        ({"mode": "rw"}, "^mode=rw is not a mode: give an octal string such as '0644'"),
        ({"max_workers": 0}, "^max_workers=0: give a positive number"),
        ({"owner": "nobody-here"}, "^owner=nobody-here: there is no such user on this host"),
        ({"name": "a/b"}, "^name=a/b: only a directory is given a name"),
        ({"token_file": "/nonexistent/token"}, "^token_file=/nonexistent/token cannot be read: No such file"),
        (
            {"offline": True},
            r"^offline is true and org/tiny on .* is not in the store \(.*/huggingface/org/tiny/main\)",
        ),
    ],
)
def test_refusals(hub, run, params, message):
    hub.add("org/tiny", FILES)
    with pytest.raises(GpufleetError, match=message):
        run(**{"endpoint": hub.url, **params})
    assert hub.count("*", "*/resolve/*") == 0


def test_unreachable_hub_names_the_endpoint(run):
    with pytest.raises(GpufleetError, match="Check that the host reaches http://127.0.0.1:9, or set endpoint to"):
        run(endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("pages_at", ["", "https://huggingface.co"], ids=["here", "said to be elsewhere"])
def test_a_list_of_many_pages(hub, run, pages_at):
    hub.add("org/tiny", FILES)
    hub.page_size, hub.pages_at = 2, pages_at
    assert contents(run(endpoint=hub.url, token="hf_secret")["path"]) == wanted(FILES)
    assert hub.count("GET", "*/tree/*") == len(FILES) // 2 + len(FILES) % 2


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda rows: rows.append("x"), "holds 'x'"),
        (lambda rows: rows[0].pop("path"), "holds {"),
        (lambda rows: rows[0].update(size=-1, lfs=None), "the size of .* is -1"),
        (lambda rows: rows[0].update(size="1", lfs=None), "the size of .* is '1'"),
        (lambda rows: rows[0].update(lfs=True), "holds {"),
        (lambda rows: rows[0].update(lfs={"size": 3}), "states no hash of "),
        (lambda rows: rows[0].update(lfs={"size": 3, "oid": "0" * 40}), "states no hash of "),
        (lambda rows: rows[0].update(lfs=None, oid=None), "states no hash of "),
        (lambda rows: rows[0].update(lfs=None, oid="../x"), "states no hash of "),
    ],
)
def test_lists_that_are_none(hub, run, change, message):
    hub.add("org/tiny", FILES)
    hub.lie = change
    with pytest.raises(GpufleetError, match="^org/tiny on .*" + message):
        run(endpoint=hub.url)
    assert hub.count("*", "*/resolve/*") == 0


def test_modules_of_git_are_no_files(hub, run):
    hub.add("org/tiny", FILES)
    hub.lie = lambda rows: rows.append({"type": "unknown", "oid": "0" * 40, "size": 0, "path": "module"})
    assert contents(run(endpoint=hub.url)["path"]) == wanted(FILES)


@pytest.mark.parametrize(
    "link, following",
    [
        (None, None),
        ('<http://h/t?a=1&cursor=2>; rel="next"', "?a=1&cursor=2"),
        ("</t?cursor=2>;rel=next", "?cursor=2"),
        ('<?cursor=2>; title="a, b"; rel="next"', "?cursor=2"),
        ('</style.css>; rel=preload, <http://h/t?cursor=2>; rel="next"', "?cursor=2"),
        ('<http://h/t?cursor=0>; rel="first"', None),
        ('<http://h/t/2>; rel="next"', GpufleetError),
    ],
)
def test_what_follows_a_page(hub, link, following):
    source = HubSource("org/tiny", "main", "http", hub.url, lambda: None, Terms(), lambda: None)
    headers = Message()
    if link:
        headers["Link"] = "</a.js>; rel=preload"  # of a proxy, in a line of its own
        headers["Link"] = link
    if following is GpufleetError:
        with pytest.raises(GpufleetError, match="does not say where its list of files goes on"):
            source._next("http://here/t?recursive=true", headers)
    else:
        assert source._next("http://here/t?recursive=true", headers) == (following and "http://here/t" + following)


@pytest.mark.parametrize("what", ["revision", "tree"])
def test_a_page_where_a_list_should_be(hub, run, what):
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("html", path="/api/models/org/tiny/%s/*" % what, times=-1))
    with pytest.raises(GpufleetError, match="its answer is no JSON. A proxy or a login page may be in between. Check endpoint"):
        run(endpoint=hub.url)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_by_the_environment(hub, run, monkeypatch, name):
    hub.add("org/tiny", FILES)
    path = run(endpoint=hub.url)["path"]
    monkeypatch.setenv(name, "1")
    assert run(endpoint=hub.url)["path"] == path
    with pytest.raises(GpufleetError, match="^%s is set in the environment of this host: unset it" % name):
        run(endpoint=hub.url, state="latest")


PLACES = ("HF_HOME", "HF_TOKEN_PATH", "XDG_CACHE_HOME")


@pytest.mark.parametrize(
    "variables, token",
    [
        ({}, None),
        ({"HF_TOKEN": " hf_a\n"}, "hf_a"),
        ({"HF_TOKEN": "hf_\r\na"}, "hf_a"),
        ({"HUGGING_FACE_HUB_TOKEN": "hf_b"}, "hf_b"),
        ({"HF_HOME": "home"}, "hf_home"),
        ({"HF_HOME": "empty"}, None),
        ({"HF_HOME": "$HOME/home"}, "hf_home"),
        ({"HF_HOME": "absent"}, None),
        ({"XDG_CACHE_HOME": "cache"}, "hf_cache"),
        ({"HF_TOKEN_PATH": "home/token", "HF_HOME": "absent"}, "hf_home"),
        ({"HF_TOKEN": "hf_a", "HF_HOME": "home"}, "hf_a"),
        ({"HF_TOKEN": "hf_a", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "True"}, None),
    ],
)
def test_the_users_own_token(tmp_path, monkeypatch, variables, token):
    """As huggingface_hub finds it, where it does: a variable that it reads once is not for one process to try out."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME", "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder, content in (("home", "hf_home\n"), ("empty", "\n"), ("cache/huggingface", "hf_cache")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "token").write_text(content)
    for name, value in variables.items():
        monkeypatch.setenv(name, value if name not in PLACES or value.startswith("$") else str(tmp_path / value))
    assert users_token() == token
    if "HF_HUB_DISABLE_IMPLICIT_TOKEN" not in variables:  # which its get_token leaves to whoever asks
        theirs = subprocess.run(
            [sys.executable, "-c", "import huggingface_hub; print(huggingface_hub.get_token())"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert theirs.stdout.strip() == str(token)


def test_a_token_that_is_none_is_not_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_a\n# the token for work")
    with pytest.raises(GpufleetError, match="^The token that HF_TOKEN or `hf auth login` left on this host is none") as caught:
        users_token()
    assert "work" not in str(caught.value)


def test_offline_asks_nobody_about_latest(hub, run):
    hub.add("org/tiny", FILES)
    run(endpoint=hub.url)
    hub.requests.clear()
    result = run(endpoint=hub.url, state="latest", offline=True)
    assert (result["changed"], hub.requests) == (False, [])
    assert result["warnings"] == ["offline: nobody was asked what main of org/tiny on %s is now" % hub.url]


@pytest.mark.parametrize("check_mode", [True, False])
def test_full_disk_is_known_before_the_first_byte(hub, run, monkeypatch, check_mode):
    hub.add("org/tiny", FILES)
    monkeypatch.setattr(store_module, "free_bytes", lambda path: 1000)
    needed = sum(len(FILES[path]) for path in WANTED)
    with pytest.raises(
        GpufleetError, match="needs %d bytes .* more and the file system of .* has 1000 free" % needed
    ) as caught:
        run(endpoint=hub.url, check_mode=check_mode)
    assert caught.value.details == {"needed_bytes": needed, "free_bytes": 1000, "short_bytes": needed - 1000}
    assert hub.count("*", "*/resolve/*") == 0


def test_what_a_killed_run_had_is_not_fetched_again(hub, run, monkeypatch):
    """The connection breaks and stays broken: the next run asks for the rest, of each file."""
    monkeypatch.setattr(part, "SMALL", 65536)
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("drop", path=SHARD, at=0.6))
    hub.faults.append(Fault("status", path=SHARD, times=-1))
    with pytest.raises(GpufleetError, match="HTTP 503"):
        run(endpoint=hub.url)
    hub.faults.clear()
    hub.requests.clear()
    assert contents(run(endpoint=hub.url)["path"]) == wanted(FILES)
    asked = [one for one in hub.requests if one.path.endswith(SHARD)]
    assert [one.method for one in asked] == ["GET"] and sum(one.sent_bytes for one in asked) <= 0.41 * len(FILES[SHARD])


def test_a_partial_file_of_another_content_is_begun_anew(hub, run):
    commit = hub.add("org/tiny", FILES)
    part = run.store / "huggingface" / "org" / "tiny" / (".%s.part" % commit) / "incoming"
    part.mkdir(parents=True)
    (part / SHARD).write_bytes(b"x" * 1000)
    (part / (SHARD + ".json")).write_text(json.dumps({"sha256": sha256(FILES[SHARD]), "size": len(FILES[SHARD]), "url": "u", "etag": None}))
    assert contents(run(endpoint=hub.url)["path"]) == wanted(FILES)


@pytest.mark.parametrize("at", [0.0, 0.5, 0.99])
def test_a_server_that_goes_silent_is_left(hub, run, at):
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("stall", path=SHARD, at=at))
    assert contents(run(endpoint=hub.url, timeout=1)["path"]) == wanted(FILES)
    assert any("nothing came for stall_timeout=1 s" in said or "no answer" in said for said in run.said)
