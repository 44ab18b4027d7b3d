# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is never taken for the model, whatever brings it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import aria2
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Fault, Hub

pytest.importorskip("huggingface_hub")

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
FILES = {
    "config.json": b"{}",
    FIRST: random.Random(1).randbytes(300_000),
    SECOND: random.Random(2).randbytes(300_000),
}
OTHER = "0" * 64


def fault(kind, path=FIRST, **more):
    return lambda bed: bed.hub.faults.append(Fault(kind, path=path, times=-1, **more))


def lie(change):
    """``change(rows)`` alters what the hub says of its files, by path."""
    return lambda bed: setattr(bed.hub, "lie", lambda rows: change({row["path"]: row for row in rows}))


def swap(rows):
    rows[FIRST]["lfs"], rows[SECOND]["lfs"] = rows[SECOND]["lfs"], rows[FIRST]["lfs"]


def longer(rows):
    rows[FIRST]["lfs"]["size"] = rows[FIRST]["size"] = 300_001


def rename(path):
    return lie(lambda rows: rows[FIRST].update(path=path))


def stale(bed):
    """The mirror knows the new commit's list, and serves the old files."""
    old = {path: bytes(reversed(content)) for path, content in FILES.items()}
    for path, content in old.items():
        (bed.hub.store.root / "org" / "tiny" / path).write_bytes(content)
    new = {row["path"]: row for row in bed.listing}
    bed.hub.lie = lambda rows: [row.update(new[row["path"]]) for row in rows]
    bed.params["revision"] = bed.hub.commit("org/tiny")


def nowhere(bed):
    bed.hub.cdn_url = "http://127.0.0.1:1"


def linked(target):
    def plant(bed):
        incoming = bed.home / (".%s.part" % bed.commit) / "incoming"
        incoming.mkdir(parents=True)
        os.symlink(bed.outside / target, incoming / FIRST if target else incoming / "folder")

    return plant


class Bed:
    """A hub, a store, and a directory that is nobody's business."""

    def __init__(self, hub, run, tmp_path):
        self.hub, self.run, self.params = hub, run, {"revision": "main"}
        self.commit = hub.add("org/tiny", FILES)
        self.listing = hub.store.snapshot("org/tiny", "main").tree("", True)
        self.home = run.store / "huggingface" / "org" / "tiny"
        self.outside = tmp_path / "outside"
        self.outside.mkdir()
        (self.outside / "passwd").write_bytes(b"root")

    def everything_else(self):
        root = self.outside.parent
        return {
            str(path): path.read_bytes() if path.is_file() else None
            for path in root.rglob("*")
            if run_store_parts(path, self.run.store)
        }


def run_store_parts(path: Path, store: Path) -> bool:
    return path != store and store not in path.parents


CASES = {
    "a flipped byte": (fault("corrupt", at=0.4), r"%s of org/tiny .* arrived wrong 3 times and was removed" % FIRST),
    "cut short": (fault("drop", at=0.9), r"%s: the connection ended \d+ bytes before the end. Given up" % FIRST),
    "another size": (lie(longer), r"%s of org/tiny .* arrived wrong 3 times and was removed: it has 300000 bytes, where 300001 were announced" % FIRST),
    "swapped shards": (lie(swap), r"model-0000[12]-of-00002.safetensors of org/tiny .* arrived wrong 3 times"),
    "a stale revision": (stale, r"(safetensors|config.json) of org/tiny .* arrived wrong 3 times"),
    "another hash": (
        lie(lambda rows: rows[FIRST]["lfs"].update(oid=OTHER)),
        r"%s of org/tiny .* arrived wrong 3 times and was removed: .*%s" % (FIRST, OTHER),
    ),
    "a page": (fault("html"), r"%s of org/tiny .* arrived wrong 3 times and was removed: a page came, as of a proxy or a login: it has 48 bytes" % FIRST),
    "a redirect to nowhere": (nowhere, r"Connection refused. Given up after 9 attempts"),
    "a link in the store": (linked("passwd"), r"incoming/%s is a link, which no download makes" % FIRST),
    "a linked folder": (linked(""), r"incoming/folder is a link, which no download makes"),
    "a path with ..": (rename("../../../outside/evil"), r"lists a file with the path '../../../outside/evil', which is not inside"),
    "an absolute path": (rename("/etc/evil"), r"lists a file with the path '/etc/evil', which is not inside the model"),
}


@pytest.mark.parametrize(
    "case, transport",
    [(case, transport) for case in CASES for transport in ("http", "aria2")] + [("a flipped byte", "xet"), ("swapped shards", "xet")],
)
def test_never_accepted(tmp_path, run, monkeypatch, case, transport):
    monkeypatch.setattr(aria2, "LARGE", 100_000)
    spoil, message = CASES[case]
    with Hub(tmp_path / "hub", cdn=True) as hub:
        bed = Bed(hub, run, tmp_path)
        spoil(bed)
        before = bed.everything_else()
        with pytest.raises(GpufleetError, match=message):
            run(endpoint=hub.url, transport=transport, timeout=5, **bed.params)
        assert bed.everything_else() == before
        assert not (bed.home / "main").exists()
        assert not list(bed.home.glob("[0-9a-f]*"))


def test_a_list_that_is_not_the_one_that_was_meant(hub, run):
    hub.add("org/tiny", FILES)
    digest = run(endpoint=hub.url)["listing_sha256"]
    assert run(endpoint=hub.url, listing_sha256=digest)["changed"] is False
    hub.add("org/tiny", {"config.json": b"[]"})
    with pytest.raises(GpufleetError, match="lists other files, sizes or hashes than listing_sha256=%s states" % digest):
        run(endpoint=hub.url, listing_sha256=digest, state="latest")
