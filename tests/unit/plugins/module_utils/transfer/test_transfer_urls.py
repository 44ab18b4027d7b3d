# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by their addresses, from a server of files with faults."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Fault
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import FILES, contents, sha256

pytestmark = pytest.mark.usefixtures("no_authorities")
SHARD = "model-00001-of-00002.safetensors"
NAMES = [SHARD, "config.json", "extra/notes.txt", ".gitattributes"]
DIGEST = "0" * 64


def rows(hub, **more):
    """What a user writes for NAMES."""
    hub.add("org/tiny", FILES)
    base = "%s/org/tiny/resolve/main/" % hub.url
    return [{"url": base + name, "path": name, "sha256": sha256(FILES[name]), **more} for name in NAMES]


def ask(run, files, **more):
    return run(**{"source": None, "name": "team/mine", "files": files, **more})


def test_complete_verified_and_pinned_without_a_link(hub, run):
    result = ask(run, rows(hub))
    assert contents(result["path"]) == {name: FILES[name] for name in NAMES}
    assert result["path"] == str(run.store / "url" / "team" / "mine" / result["revision"])
    assert (result["changed"], result["link"], result["record"]["kind"]) == (True, None, "url")
    assert result["record"]["urls"][SHARD] == "%s/org/tiny/resolve/main/%s" % (hub.url, SHARD)
    assert sorted(os.listdir(run.store / "url" / "team" / "mine")) == [".lock", result["revision"]]
    assert run.client_asked_for == 0


def test_second_run_asks_nobody_whatever_is_said_of_sizes(hub, run, no_hashing):
    first = ask(run, rows(hub))
    hub.requests.clear()
    no_hashing()
    for more in ({}, {"size": 17}, {"query": "signed=anew"}):
        again = ask(run, rows(hub, **more))
        assert (again["changed"], again["path"]) == (False, first["path"])
    assert ask(run, rows(hub), offline=True, state="latest", revision=first["revision"])["changed"] is False
    assert hub.requests == []


def test_another_hash_is_another_revision_and_takes_over_what_is_equal(hub, run):
    first = ask(run, rows(hub))
    new = hub.add("org/tiny", {"config.json": b"{}"}) and [
        {**row, "sha256": sha256(b"{}")} if row["path"] == "config.json" else row for row in _again(hub)
    ]
    second = ask(run, new)
    assert second["revision"] != first["revision"]
    assert (second["downloaded_files"], contents(second["path"])["config.json"]) == (1, b"{}")
    assert contents(first["path"])["config.json"] == FILES["config.json"]


def _again(hub):
    base = "%s/org/tiny/resolve/main/" % hub.url
    return [{"url": base + name, "path": name, "sha256": sha256(FILES[name])} for name in NAMES]


def test_sizes_that_are_given_are_not_asked_for(hub, run):
    files = [{**row, "size": len(FILES[row["path"]])} for row in rows(hub)]
    ask(run, files)
    assert hub.count("GET") == len(NAMES)
    assert [one.range for one in hub.requests] == [None] * len(NAMES)


def test_the_path_is_the_last_part_of_the_address(hub, run):
    files = [{"url": row["url"], "sha256": row["sha256"].upper()} for row in rows(hub)[:1]]
    assert list(contents(ask(run, files)["path"])) == [SHARD]


def test_include_leaves_files_out(hub, run):
    result = ask(run, rows(hub), include=["*.json"])
    assert list(contents(result["path"])) == ["config.json"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", path=SHARD, at=0.6),
        Fault("status", path=SHARD, status=503, times=2),
        Fault("status", path=SHARD, status=429, retry_after=0),
        Fault("corrupt", path="config.json", at=0.5),
        Fault("html", path="config.json", times=2),
    ],
    ids=["drop", "503", "429", "wrong byte", "page"],
)
def test_what_passes_is_tried_again(hub, run, fault):
    files = [{**row, "size": len(FILES[row["path"]])} for row in rows(hub)]
    hub.faults.append(fault)
    assert contents(ask(run, files)["path"]) == {name: FILES[name] for name in NAMES}


@pytest.mark.parametrize(
    "name, more, fault, message",
    [
        ("config.json", {"sha256": "1" * 64}, None, "config.json of team/mine from .* arrived wrong 3 times and was removed"),
        ("config.json", {"size": 9}, None, "config.json of team/mine from .* arrived wrong 3 times and was removed: it has 24 bytes, where 9 were announced"),
        ("config.json", {}, Fault("html", path="config.json", times=-1), "config.json of .* arrived wrong 3 times"),
        (SHARD, {}, Fault("corrupt", path=SHARD, times=-1), SHARD + " of .* arrived wrong 3 times"),
        (SHARD, {}, Fault("status", path=SHARD, status=404, times=-1), SHARD + ": HTTP 404. Check url"),
        (SHARD, {}, Fault("status", path=SHARD, status=403, times=-1), "HTTP 403. The server wants a token: .*presigned"),
    ],
    ids=["wrong hash", "wrong size", "page", "flipped byte", "absent", "forbidden"],
)
def test_wrong_files_never_get_their_name(hub, run, name, more, fault, message):
    files = [{**row, **(more if row["path"] == name else {})} for row in rows(hub, query="sig=very-secret")]
    hub.faults += [fault] if fault else []
    with pytest.raises(GpufleetError, match=message) as caught:
        ask(run, files)
    assert "very-secret" not in str(caught.value) + "".join(run.said)
    assert [str(path) for path in (run.store / "url").rglob(name) if ".part/incoming" not in str(path)] == []


def test_a_query_is_sent_and_not_shown(hub, run):
    hub.faults.append(Fault("drop", path=SHARD, at=0.5))  # something is said
    result = ask(run, rows(hub, query="?X-Amz-Signature=very-secret"))
    assert {one.path.partition("?")[2] for one in hub.requests} == {"X-Amz-Signature=very-secret"}
    assert run.said
    assert "very-secret" not in json.dumps(result) + "".join(run.said)
    assert all(b"very-secret" not in path.read_bytes() for path in run.store.rglob("*") if path.is_file())


def test_token_goes_to_one_server(hub, run, tmp_path):
    (tmp_path / "token").write_text("hf_secret\n")
    files = rows(hub)
    ask(run, files, token_file=str(tmp_path / "token"))
    assert {one.authorization for one in hub.requests} == {True}
    files[0] = {**files[0], "url": files[0]["url"].replace("127.0.0.1", "localhost")}
    with pytest.raises(GpufleetError, match="^files names 2 servers, and the token would go to each of them: 127"):
        ask(run, files, token_file=str(tmp_path / "token"))


URL = "https://example.com/model.gguf"


@pytest.mark.parametrize(
    "row, message",
    [
        ({"url": "file:///etc/passwd"}, "^files, number 1: url=file:///etc/passwd lies on the host: give its directory"),
        ({"url": "ftp://example.com/x"}, "url=ftp://example.com/x: give an address with http:// or https://"),
        ({"url": "/srv/x"}, "give an address with http"),
        ({"url": "https://[broken/x"}, "url is no address"),
        ({"url": "https://example.com:port/x"}, "url is no address"),
        ({"url": "https://me:secret@example.com/x"}, "url holds a user name or a password"),
        ({"url": "https://example.com/x?sig=secret"}, "question mark of https://example.com/x goes into query"),
        ({"url": "https://example.com/a b"}, "write spaces and other letters than ASCII's as %20"),
        ({"url": "https://example.com/folder/"}, "path='' is no name of a file"),
        ({"sha256": "abc"}, "^files, number 1: sha256=abc is not 64 hexadecimal digits"),
        ({"size": -1}, "size=-1: give bytes"),
        ({"path": "../x"}, r"path='../x' is no name of a file in the model: give one that is relative, without \.\."),
        ({"path": "/etc/x"}, "path='/etc/x' is no name"),
        ({"path": "a//b"}, "path='a//b' is no name"),
        ({"path": "a\\b"}, "is no name"),
        ({"path": "gpufleet.json"}, "path='gpufleet.json' is no name"),
        ({"url": "https://example.com/..%2f..%2fx"}, r"path='../../x' is no name"),
    ],
)
def test_refused_before_anything_is_touched(run, row, message):
    with pytest.raises(GpufleetError, match=message) as caught:
        ask(run, [{"url": URL, "sha256": DIGEST, **row}])
    assert "secret" not in str(caught.value)
    assert not run.store.exists()


@pytest.mark.parametrize(
    "files, more, message",
    [
        ([], {}, "^files is empty"),
        (["a", "a"], {}, "^files, number 2: a is named twice"),
        (["a", "a/b"], {}, "^files: a cannot be a file and hold a/b"),
        (["a"], {"revision": "main"}, "^files has the digest [0-9a-f]{64}, but revision=main is asked for"),
        (["a"], {"name": None}, "^files: set name"),
        (["a"], {"name": "../x"}, "^name='../x' names no model"),
        (["a"], {"transport": "xet"}, "^transport=xet: only a hub of Hugging Face offers it"),
        (["a"], {"transport": "swarm"}, "^transport=swarm: only a hub of Hugging Face offers it"),
    ],
)
def test_lists_that_cannot_be(run, files, more, message):
    with pytest.raises(GpufleetError, match=message):
        ask(run, [{"url": URL, "sha256": DIGEST, "path": path} for path in files], **more)
    assert not run.store.exists()


def test_check_mode_tells_the_sizes_and_writes_nothing(hub, run):
    result = ask(run, rows(hub), check_mode=True)
    assert result["downloaded_bytes"] == sum(len(FILES[name]) for name in NAMES)
    assert not run.store.exists()
