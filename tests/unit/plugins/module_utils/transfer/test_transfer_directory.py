# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a directory of the host into the store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.sources import directory
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import store as store_module
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import (
    FILES,
    WANTED,
    contents,
    sha256,
    wanted,
)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "disk" / "org" / "tiny"
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def digest(files):
    rows = ["%s\0%d\0%s\n" % (path, len(files[path]), sha256(files[path])) for path in sorted(files)]
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def test_copied_verified_and_named_after_its_content(model, run):
    result = run(source=str(model))
    assert result["revision"] == digest(FILES)
    assert result["path"] == str(run.store / "local" / "org" / "tiny" / digest(FILES))
    assert os.readlink(result["link"]) == digest(FILES)
    assert contents(result["path"]) == wanted(FILES)
    assert result["record"]["source"] == str(model)
    stat = (model / "config.json").stat()
    assert result["record"]["source_files"]["config.json"] == [24, stat.st_mtime_ns, stat.st_ino]
    assert run.client_asked_for == 0


def test_unchanged_directory_is_recognised_without_reading_it(model, run, no_hashing):
    first = run(source=str(model))
    no_hashing()
    for params in ({}, {"state": "latest"}, {"offline": True}, {"check_mode": True}, {"revision": first["revision"]}):
        second = run(source=str(model) + "/", **params)
        assert (second["changed"], second["path"]) == (False, first["path"]), params


def test_changed_directory_becomes_another_revision(model, run):
    first = run(source=str(model))
    (model / "config.json").write_bytes(b'{"model_type": "qwen3"}\n')
    changed = {**FILES, "config.json": b'{"model_type": "qwen3"}\n'}
    foretold = run(source=str(model), check_mode=True)
    second = run(source=str(model))
    for result in (foretold, second):
        assert (result["changed"], result["revision"], result["downloaded_files"]) == (True, digest(changed), 1)
    assert contents(second["path"]) == wanted(changed)
    assert contents(first["path"]) == wanted(FILES)
    assert os.readlink(second["link"]) == digest(changed)
    assert run(source=str(model))["changed"] is False

    (model / "config.json").write_bytes(FILES["config.json"])  # and back
    third = run(source=str(model))
    assert (third["changed"], third["path"], third["downloaded_files"]) == (True, first["path"], 0)
    assert run(source=str(model))["changed"] is False


def test_new_dates_alone_are_read_once(model, run, no_hashing):
    first = run(source=str(model))
    os.utime(model / "config.json", ns=(1, 1))
    assert run(source=str(model), check_mode=True)["changed"] is True
    second = run(source=str(model))
    assert (second["changed"], second["path"], second["downloaded_files"]) == (True, first["path"], 0)
    no_hashing()
    assert run(source=str(model))["changed"] is False


def test_directory_that_is_gone_leaves_the_copy(model, run):
    first = run(source=str(model))
    shutil.rmtree(model)
    assert run(source=str(model))["path"] == first["path"]
    Path(first["path"], "config.json").unlink()
    with pytest.raises(GpufleetError, match="^source=%s is not a directory on this host" % model):
        run(source=str(model))


def test_snapshot_of_links_is_copied_as_files(tmp_path, run):
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots"
    blobs.mkdir(parents=True)
    snapshot.mkdir()
    for number, path in enumerate(WANTED):
        (blobs / str(number)).write_bytes(FILES[path])
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).symlink_to(blobs / str(number))
    result = run(source=str(snapshot), name="org/tiny")
    assert contents(result["path"]) == wanted(FILES)
    assert not [path for path in Path(result["path"]).rglob("*") if path.is_symlink()]


def test_what_clients_leave_beside_a_model_is_not_part_of_it(model, run):
    (model / ".cache" / "huggingface").mkdir(parents=True)
    (model / ".cache" / "huggingface" / "x.lock").write_bytes(b"")
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_bytes(b"ref")
    (model / "gpufleet.json").write_bytes(b"{}")
    result = run(source=str(model), include=["*"])
    assert result["revision"] == digest(FILES)
    assert contents(result["path"]) == FILES


def test_pinned_digest(model, run):
    with pytest.raises(GpufleetError, match="is %s, but revision=%s is asked for" % (digest(FILES), "0" * 64)):
        run(source=str(model), revision="0" * 64)
    result = run(source=str(model), revision=digest(FILES))
    assert (result["revision"], result["link"]) == (digest(FILES), None)


def test_directory_that_changes_while_it_is_copied(model, run, monkeypatch):
    def disturbed(self, one, revision, folder):
        (model / "config.json").write_bytes(b"-" * len(FILES["config.json"]))
        return fetch(self, one, revision, folder)

    fetch = directory.DirectorySource.fetch
    monkeypatch.setattr(directory.DirectorySource, "fetch", disturbed)
    with pytest.raises(GpufleetError, match="^config.json of %s arrived wrong 3 times and was removed: sha256" % model):
        run(source=str(model))
    assert not (run.store / "local" / "org" / "tiny" / "main").exists()


def test_two_directories_of_one_name_are_refused(model, run, tmp_path):
    other = tmp_path / "other" / "org" / "tiny"
    shutil.copytree(model, other)
    run(source=str(model))
    with pytest.raises(
        GpufleetError, match="^name=org/tiny is taken in the store by source=%s, and source=%s" % (model, other)
    ):
        run(source=str(other))
    assert run(source=str(other), name="org/other")["changed"] is True
    shutil.rmtree(model)  # it moved
    assert run(source=str(other))["changed"] is True
    assert run(source=str(other))["changed"] is False


def test_no_space_for_a_copy(model, run, monkeypatch):
    monkeypatch.setattr(store_module, "free_bytes", lambda path: 10)
    monkeypatch.setattr(directory, "_clone", lambda source, target: False)
    with pytest.raises(GpufleetError, match="Free that much, or set store to a directory on a larger file system"):
        run(source=str(model))


def test_shared_blocks_need_no_space(model, run, monkeypatch):
    def clone(source, target):
        shutil.copyfile(source, target)
        return True

    monkeypatch.setattr(store_module, "free_bytes", lambda path: 10)
    monkeypatch.setattr(directory, "_clone", clone)
    assert contents(run(source=str(model))["path"]) == wanted(FILES)


def test_check_mode_before_the_directory_is_there(run, tmp_path):
    result = run(source=str(tmp_path / "org" / "later"), check_mode=True)
    assert (result["changed"], result["revision"]) == (True, None)
    assert "source=%s is not a directory on this host" % (tmp_path / "org" / "later") in result["msg"]


def broken_link(model, store):
    (model / "lost.json").symlink_to("nowhere")
    return {}


def pipe(model, store):
    os.mkfifo(model / "pipe")
    return {}


def loop(model, store):
    (model / "again").symlink_to(model)
    return {}


def empty(model, store):
    shutil.rmtree(model)
    model.mkdir()
    return {}


@pytest.mark.parametrize(
    "prepare, message",
    [
        (broken_link, "lost.json is a link to nothing"),
        (pipe, "pipe is not a file"),
        (loop, "holds a directory twice: .*/again"),
        (empty, "holds no files"),
        (lambda model, store: {"source": "/model"}, "source=/model: set name to the org/name it shall have"),
        (lambda model, store: {"name": "my model"}, "name='my model' names no model: give org/name"),
        (lambda model, store: {"source": str(store / "x")}, "is in the store already: use it as it is"),
        (lambda model, store: {"source": "/dev/null", "name": "a/b"}, "source=/dev/null is not a directory on this"),
    ],
)
def test_refusals(model, run, prepare, message):
    with pytest.raises(GpufleetError, match=message):
        run(**{"source": str(model), **prepare(model, run.store)})


def test_a_hundred_gigabytes_are_recognised_at_once(run, tmp_path, no_hashing):
    """200 files with holes: the record says what they are, and nobody reads them."""
    source = tmp_path / "disk" / "org" / "large"
    source.mkdir(parents=True)
    for number in range(200):
        (source / ("model-%03d.safetensors" % number)).write_bytes(b"%d" % number)
    record = Path(run(source=str(source))["path"], "gpufleet.json")
    shutil.rmtree(source)
    known = json.loads(record.read_text())
    for row in known["files"]:
        path = record.parent / row["path"]
        os.truncate(path, 500_000_000)
        row.update(size=500_000_000, mtime_ns=path.stat().st_mtime_ns)
    record.write_text(json.dumps(known))
    no_hashing()
    began = time.perf_counter()
    result = run(source=str(source))
    assert (result["changed"], result["bytes"]) == (False, 100_000_000_000)
    assert time.perf_counter() - began < 0.3
