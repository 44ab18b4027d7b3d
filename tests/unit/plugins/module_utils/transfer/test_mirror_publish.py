# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store as a static hub: what is written, when, and what is not."""

from __future__ import annotations

import json
import os
import time
import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import hub_pages, mirror, torrent
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.files import ModelFile, digest_of
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.content import git_sha1
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import FILES, WANTED, sha256

pytest.importorskip("huggingface_hub")


@pytest.fixture
def publish(tmp_path):
    def call(*sources: str, check_mode: bool = False, **more: t.Any) -> t.Dict[str, t.Any]:
        models = [one if isinstance(one, dict) else {"source": one} for one in sources]
        return mirror.publish(
            mirror.Wish(store=str(tmp_path / "store"), path=str(tmp_path / "site"), models=models, check_mode=check_mode, **more)
        )

    return call


@pytest.fixture
def site(tmp_path):
    """The version that nginx is told of."""

    def call() -> t.Any:
        return tmp_path / mirror._named((tmp_path / "site/site.conf").read_text())

    return call


def everything(folder):
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_list_of_steps(hub, run, publish, site, tmp_path):
    """Create in check mode, create, again, change in check mode, change, again, remove in check mode, remove, again."""
    first = hub.add("org/tiny", FILES)
    hub.add("org/other", {"config.json": b"{}", "a.gguf": b"gguf"})
    would = publish("org/tiny", check_mode=True)
    assert would["changed"] and would["models"] == [] and "org/tiny@main: to be fetched" in would["diff"]["after"]
    assert not (tmp_path / "site").exists()
    run(endpoint=hub.url)
    run(endpoint=hub.url, source="org/other")

    assert publish("org/tiny", check_mode=True)["changed"] and not (tmp_path / "site").exists()
    done = publish("org/tiny")
    row = done["models"][0]
    assert done["changed"] and (row["commit"], row["files"]) == (first, len(WANTED))
    before = everything(tmp_path / "site")
    assert publish("org/tiny")["changed"] is False and everything(tmp_path / "site") == before

    assert publish("org/tiny", "org/other", check_mode=True)["changed"] and everything(tmp_path / "site") == before
    assert publish("org/tiny", "org/other")["changed"]
    assert publish("org/tiny", "org/other")["changed"] is False
    assert sorted(os.listdir(site() / "files/org")) == ["other", "tiny"]

    assert publish("org/tiny", check_mode=True)["changed"]
    gone = publish("org/tiny")
    assert gone["changed"] and gone["diff"]["before"] != gone["diff"]["after"]
    assert publish("org/tiny")["changed"] is False
    assert os.listdir(site() / "files/org") == ["tiny"] and not (site() / "api/models/org/other.json").exists()
    assert len(os.listdir(tmp_path / "site/versions")) == 2  # for what the older nginx processes still answer


def test_pages_are_what_the_hub_says(hub, run, publish, site):
    commit = hub.add("org/tiny", FILES)
    run(endpoint=hub.url)
    publish("org/tiny")
    rows = {row["path"]: row for row in json.loads((site() / ("api/models/org/tiny/tree/%s.json" % commit)).read_text())}
    said = {one["path"]: one for one in hub.store.refs("org/tiny")["main"].tree("", True)}
    assert rows == {path: said[path] for path in WANTED}
    info = json.loads((site() / "api/models/org/tiny/revision/main.json").read_text())
    assert info["sha"] == commit and [one["rfilename"] for one in info["siblings"]] == WANTED
    assert os.path.samefile(site() / "files/org/tiny" / commit, os.path.join(run.store, "huggingface/org/tiny/main"))


def test_every_ref_and_revision_is_served(hub, run, publish, site):
    first = hub.add("org/tiny", {"config.json": b"{}", "a.gguf": b"1"})
    run(endpoint=hub.url)
    second = hub.add("org/tiny", {"config.json": b"{}", "a.gguf": b"2"}, ref="refs/pr/1")
    run(endpoint=hub.url, revision="refs/pr/1")
    publish({"source": "org/tiny", "revision": "refs/pr/1"})
    pages = {name: site() / ("api/models/org/tiny/revision/%s.json" % name) for name in ("main", "refs/pr/1", first, second)}
    shas = {name: json.loads(page.read_text())["sha"] for name, page in pages.items()}
    assert shas == {"main": first, "refs/pr/1": second, first: first, second: second}


def test_a_directory_is_a_model_too(run, publish, tmp_path):
    (tmp_path / "disk/team/small").mkdir(parents=True)
    (tmp_path / "disk/team/small/a.gguf").write_bytes(b"gguf")
    source = str(tmp_path / "disk/team/small")
    digest = run(source=source)["revision"]
    row = publish(source)["models"][0]
    assert (row["name"], row["commit"], row["listing_sha256"]) == ("team/small", digest[:40], digest)


def test_a_pinned_commit_is_main_too(hub, run, publish):
    commit = hub.add("org/tiny", FILES)
    run(endpoint=hub.url, revision=commit)
    row = publish("org/tiny")["models"][0]
    assert (row["revision"], row["commit"]) == ("main", commit)


@pytest.mark.parametrize(
    "models, message",
    [
        ([{"source": "qwen3:8b", "hub": "ollama"}], "which a hub cannot serve"),
        ([{"source": "org/m"}, {"source": "org/m", "hub": "modelscope"}], "org/m is asked for from two places: huggingface and modelscope"),
        ([{"source": "../m"}], "names no model"),
        ([{"name": None}], "names no model"),
    ],
)
def test_refused(publish, models, message):
    with pytest.raises(GpufleetError, match=message):
        publish(*models)


def test_what_changed_since_it_was_verified_is_not_published(hub, run, publish, tmp_path):
    hub.add("org/tiny", FILES)
    path = run(endpoint=hub.url)["path"]
    with open(os.path.join(path, "config.json"), "r+b") as out:
        out.write(b"X")
    with pytest.raises(GpufleetError, match="config.json is not as it was when it was verified: run model_download"):
        publish("org/tiny")
    assert not (tmp_path / "site").exists()


def test_a_model_that_is_not_there_is_named(publish):
    with pytest.raises(GpufleetError, match="has not org/none@main: bring it there"):
        publish("org/none")


@pytest.mark.parametrize("killed_after", range(1, 12))
def test_killed_anywhere_the_next_run_completes(hub, run, publish, site, tmp_path, monkeypatch, killed_after):
    hub.add("org/tiny", FILES)
    run(endpoint=hub.url)
    replace, calls = mirror._replace, []

    def dies(*arguments, **more):
        calls.append(arguments)
        if len(calls) > killed_after:
            raise KeyboardInterrupt
        replace(*arguments, **more)

    monkeypatch.setattr(mirror, "_replace", dies)
    try:
        publish("org/tiny", torrents=True)
    except KeyboardInterrupt:
        monkeypatch.setattr(mirror, "_replace", replace)
        assert publish("org/tiny", torrents=True)["changed"]
    assert publish("org/tiny", torrents=True)["changed"] is False
    assert (site() / "api/models/org/tiny.json").exists() and not list((tmp_path / "site").rglob("*.new"))


def test_reload_is_due_until_nginx_has_read_it(hub, run, publish, tmp_path):
    hub.add("org/tiny", FILES)
    run(endpoint=hub.url)
    loaded, settings = tmp_path / "loaded", tmp_path / "nginx.conf"
    more = {"loaded": str(loaded), "settings": [str(settings)]}
    settings.write_text("")
    assert publish("org/tiny", **more)["reload_due"]
    assert publish("org/tiny", **more)["reload_due"]  # a run that was killed before the reload
    time.sleep(0.01)
    loaded.write_text("")
    assert publish("org/tiny", **more)["reload_due"] is False
    time.sleep(0.01)
    settings.write_text("certificate renewed")
    assert publish("org/tiny", **more)["reload_due"]


def test_torrents_are_made_once(hub, run, publish, tmp_path, monkeypatch):
    commit = hub.add("org/tiny", FILES)
    run(endpoint=hub.url)
    assert publish("org/tiny", torrents=True)["changed"]
    path = tmp_path / ("site/torrents/org/tiny/%s.torrent" % commit)
    name, rows = torrent.describe(path.read_bytes())
    assert (name, rows) == (commit, [(one, len(FILES[one])) for one in WANTED])
    monkeypatch.setattr(torrent, "make", None)
    assert publish("org/tiny", torrents=True)["changed"] is False
    assert publish("org/tiny")["changed"] and not path.exists()  # nobody wants them any more


def test_tokens_are_for_the_owner_alone(hub, run, publish, tmp_path):
    hub.add("org/tiny", FILES)
    run(endpoint=hub.url)
    tokens = tmp_path / "tokens"
    tokens.write_text("one+1~\ntwo\n")
    result = publish("org/tiny", token_file=str(tokens), restricted=["org/t*"])
    assert oct((tmp_path / "site/tokens.conf").stat().st_mode)[-3:] == "600"
    assert r'"~^Bearer one\\+1\\~$" 1;' in (tmp_path / "site/tokens.conf").read_text()
    assert '"org/tiny" 1;' in (tmp_path / "site/site.conf").read_text().split("$restricted {")[1].split("}")[0]
    assert "two" not in json.dumps(result) and "two" not in (tmp_path / "site/site.conf").read_text()
    tokens.write_text("three\n")
    assert publish("org/tiny", token_file=str(tokens), restricted=["org/t*"])["changed"]
    tokens.write_text('a";\n')
    with pytest.raises(GpufleetError, match="it must hold tokens of letters, digits"):
        publish("org/tiny", token_file=str(tokens))


def test_map_keys_that_differ_by_case_alone():
    """nginx compares without case, and refuses a map that has a key twice."""
    files = (ModelFile("A.txt", 1, git_sha1="1" * 40), ModelFile("a.txt", 1, git_sha1="2" * 40), ModelFile("b", 1, git_sha1="3" * 40))
    text = hub_pages.maps([hub_pages.Model("org/m", (hub_pages.Revision("c" * 40, "/x", files),))], "/site")
    top = "org/m/" + "c" * 40
    assert '"~^%s/A\\\\.txt$" %s;' % (top, "1" * 40) in text and '"~^%s/a\\\\.txt$" %s;' % (top, "2" * 40) in text
    assert '"%s/b" %s;' % (top, "3" * 40) in text
    with pytest.raises(GpufleetError, match="a name that nginx cannot be given"):
        hub_pages.maps([hub_pages.Model("org/m", (hub_pages.Revision("c" * 40, "/x", (ModelFile("a\nb", 1, git_sha1="1"),)),))], "/")


def test_listing_is_the_digest_that_a_client_finds():
    one = ModelFile("a.safetensors", 3, sha256=sha256(b"abc"))
    row = hub_pages._row(one)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 3\n" % one.sha256
    assert (row["lfs"]["oid"], row["oid"]) == (one.sha256, git_sha1(pointer.encode()))
    assert digest_of([one]) == digest_of([ModelFile(row["path"], row["lfs"]["size"], sha256=row["lfs"]["oid"])])


@pytest.mark.parametrize(
    "size, length", [(0, 1 << 20), (1 << 30, 1 << 20), (5 << 30, 4 << 20), (140 << 30, 16 << 20), (2 << 40, 16 << 20)]
)
def test_piece_length(size, length):
    assert torrent.piece_length(size) == length


@pytest.mark.parametrize("data", [b"", b"i1", b"i01e", b"5:abc", b"d1:a", b"li1e", b"de1", b"l" * 20, b"d4:infod4:name1:xee"])
def test_what_is_no_torrent_is_an_error(data):
    with pytest.raises(GpufleetError, match="it is no torrent"):
        torrent.describe(data)


def test_bencode_there_and_back():
    value = {b"a": 1, b"b": [b"x", -2, {b"c": b""}], b"\xff": b"\x00\xff"}
    assert torrent.decode(torrent.encode(value)) == value
    assert torrent.peers(["b", "10.0.0.1", "b"], 6881, 10) == "d8:intervali10e5:peersld2:ip8:10.0.0.14:porti6881eed2:ip1:b4:porti6881eeee"
