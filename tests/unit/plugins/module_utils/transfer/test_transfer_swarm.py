# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by the real aria2c as BitTorrent client, with the hub stand-in as web seed."""

from __future__ import annotations

import random

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import torrent
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.files import ModelFile
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import aria2, swarm
from ansible_collections.gpufleet.llm.tests.stand_ins.hub import hub as stand_in
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import contents

pytest.importorskip("huggingface_hub")

FILES = {
    "config.json": b"{}",
    "a.safetensors": random.Random(1).randbytes(1_500_000),
    "folder/b.safetensors": random.Random(2).randbytes(1_200_000),
}


@pytest.fixture
def site(hub, monkeypatch, tmp_path):
    """The stand-in with torrents, as a mirror has them; returns what they are by path."""
    assert aria2.program(), "aria2c is missing: tests/run installs it"
    monkeypatch.setattr(aria2, "LARGE", 1_000_000)
    served, route = {"/announce": torrent.peers([], 1, 10).encode()}, stand_in._Handler._route

    def with_torrents(self, body):
        path = self.path.partition("?")[0]
        return self._send(200, {}, served[path]) if path in served else route(self, body)

    monkeypatch.setattr(stand_in._Handler, "_route", with_torrents)
    commit = hub.add("org/tiny", FILES)
    made = torrent.make(str(hub.store.root / "org/tiny"), commit, [ModelFile(path, len(one)) for path, one in FILES.items()])
    served["/torrents/org/tiny/" + commit] = made
    return served


def by_swarm(run, hub, **more):
    return run(endpoint=hub.url, transport="swarm", swarm={"port": 16881, "seed_time": 0}, **more)


def test_all_by_the_web_seed(hub, run, site):
    result = by_swarm(run, hub)
    assert contents(result["path"]) == FILES
    assert not any("comes by plain HTTP" in one for one in run.said)
    assert by_swarm(run, hub)["changed"] is False


def test_some_of_the_files(hub, run, site):
    """A piece that reaches into a file that nobody asked for brings none of it into the store."""
    result = by_swarm(run, hub, include=["*.safetensors"])
    assert contents(result["path"]) == {path: FILES[path] for path in FILES if path.endswith("safetensors")}


def test_what_an_interrupted_run_left_is_kept(hub, run, site, monkeypatch):
    bring = swarm.Swarm.bring

    def cut(self, items, folder, arrived, stop):
        bring(self, items, folder, lambda one: None, stop)
        raise KeyboardInterrupt

    monkeypatch.setattr(swarm.Swarm, "bring", cut)
    with pytest.raises(KeyboardInterrupt):
        by_swarm(run, hub)
    monkeypatch.setattr(swarm.Swarm, "bring", bring)
    before = sum(one.sent_bytes for one in hub.requests if "/resolve/" in one.path)
    assert contents(by_swarm(run, hub)["path"]) == FILES
    assert sum(one.sent_bytes for one in hub.requests if "/resolve/" in one.path) == before


@pytest.mark.parametrize("wrong", ["none", "other files", "no torrent", pytest.param("other bytes", marks=pytest.mark.slow)])
def test_a_torrent_is_not_believed(hub, run, site, wrong):
    path = next(path for path in site if path.startswith("/torrents/"))
    commit = path.rpartition("/")[2]
    if wrong == "none":
        del site[path]
    elif wrong == "other files":
        rows = [{"length": 2, "path": ["..", "x"]}]
        site[path] = torrent.encode({"info": {"files": rows, "name": commit, "piece length": 1 << 20, "pieces": b"", "private": 1}})
    elif wrong == "no torrent":
        site[path] = b"<html>"
    else:
        folder = hub.store.root.parent / "evil"
        for name, content in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(bytes(len(content)))
        site[path] = torrent.make(str(folder), commit, [ModelFile(name, len(one)) for name, one in FILES.items()])
    result = by_swarm(run, hub, timeout=2)
    assert contents(result["path"]) == FILES
    assert any("comes by plain HTTP" in one for one in run.said)
    assert wrong == "other bytes" or any(one.startswith("no swarm for org/tiny: ") for one in run.said)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"swarm": {"port": 70000}}, "swarm: port must be 1 to 65535"),
        ({"swarm": {"upload_limit": "fast"}}, "swarm.upload_limit=fast: give bytes a second"),
        ({"commit": "main"}, "commit=main: give 40 hex digits"),
        ({"commit": "a" * 40, "revision": "b" * 40}, "are two different ones"),
        ({"commit": "a" * 40, "source": "/srv/disk/team/small"}, "only a model of the Hugging Face Hub"),
    ],
)
def test_refused(run, params, message):
    with pytest.raises(GpufleetError, match=message):
        run(**{"endpoint": "http://127.0.0.1:1", **params})


def test_a_branch_is_what_the_commit_says(hub, run):
    """The same on every host, also where the link was something else before."""
    first = hub.add("org/tiny", {"config.json": b"{}", "a.gguf": b"1"})
    run(endpoint=hub.url)
    second = hub.add("org/tiny", {"config.json": b"{}", "a.gguf": b"2"})
    hub.add("org/tiny", {"config.json": b"{}", "a.gguf": b"1"}, ref=first)  # the hub has both
    result = run(endpoint=hub.url, commit=second)
    assert result["changed"] and result["revision"] == second and result["link"].endswith("/main")
    asked = len(hub.requests)
    assert run(endpoint=hub.url, commit=second)["changed"] is False and len(hub.requests) == asked
    back = run(endpoint=hub.url, commit=first)
    assert (back["changed"], back["revision"], back["downloaded_files"]) == (True, first, 0)
