# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of one store in another, with what may go wrong on the way."""

from __future__ import annotations

import copy as copying
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import copy, store
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.download import ensure
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.permissions import Permissions
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.source import Wish
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.sources.directory import DirectorySource
from ansible_collections.gpufleet.llm.plugins.modules import model_copy, model_record

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core < 2.19 trusts all

    def trust_as_template(text):
        return text


FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": os.urandom(30000),
    "model-00002-of-00002.safetensors": os.urandom(20000),
    "deep/[odd] *.json": b"[]",
    "pytorch_model.bin": b"not wanted",
}
WANTED = sorted(set(FILES) - {"pytorch_model.bin"})
SHARD = "model-00002-of-00002.safetensors"
PERMISSIONS = Permissions(None, None, 0o644, 0o755)


class Bed:
    """Two stores, and between them nothing but what rsync would do."""

    def __init__(self, tmp: Path) -> None:
        self.tmp, self.there, self.here = tmp, tmp / "there", tmp / "here"
        self.disk = tmp / "disk"
        self.write(FILES)

    def write(self, files):
        for path, content in files.items():
            (self.disk / path).parent.mkdir(parents=True, exist_ok=True)
            (self.disk / path).write_bytes(content)
        source = DirectorySource(str(self.disk), "org/one", "main", 2)
        return ensure(Wish(str(self.disk), str(self.there), PERMISSIONS), source)["path"]

    def record(self, revision="main"):
        return copy.found(str(self.there), "org/one", revision)["record"]

    def take(self, record, state="present", revision="main", **more):
        wish = Wish("", str(self.here), more.pop("permissions", PERMISSIONS), **more)
        return copy.copied(wish, copying.deepcopy(record), revision, "gpu-01", state == "prepared")

    def send(self, room, path, besides=()):
        """As rsync does with --files-from, --size-only and --compare-dest."""
        listed = Path(room["list"]).read_text(encoding="utf-8").splitlines()
        assert listed == ["./gpufleet.json", *("./" + one for one in room["missing"])]
        for name in [one[2:] for one in listed]:
            target, held = os.path.join(room["arriving"], name), os.path.join(room["held"], name)
            size = os.stat(os.path.join(path, name)).st_size
            if name in besides or any(os.path.isfile(one) and os.stat(one).st_size == size for one in (target, held)):
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(os.path.join(path, name), target)

    def copy(self, **more):
        found = copy.found(str(self.there), "org/one", more.get("revision", "main"))
        room = self.take(found["record"], "prepared", **more)
        if room["missing_bytes"]:
            self.send(room, found["path"])
        return self.take(found["record"], **more)


@pytest.fixture
def bed(tmp_path):
    return Bed(tmp_path)


def content(path):
    return {name: Path(path, name).read_bytes() for name in store.files_below(path) if name != "gpufleet.json"}


def nothing_is_there(bed):
    home = bed.here / "local" / "org" / "one"
    return not any(not name.startswith(".") for name in (os.listdir(home) if home.exists() else ()))


def test_check_copy_again(bed):
    record = bed.record()
    would = bed.take(record, "prepared", check_mode=True)
    assert would["changed"] and would["missing_bytes"] == sum(len(FILES[name]) for name in WANTED)
    assert bed.take(record, check_mode=True)["changed"] and not bed.here.exists()
    done = bed.copy()
    assert done["changed"] and content(done["path"]) == {name: FILES[name] for name in WANTED}
    assert os.readlink(done["link"]) == record["revision"] == os.path.basename(done["path"])
    mine = json.loads(Path(done["path"], "gpufleet.json").read_text(encoding="utf-8"))
    for key in ("source", "source_files", "skipped", "kind", "name", "revision"):
        assert mine[key] == record[key]
    for row in mine["files"]:
        assert row["inode"] == os.stat(os.path.join(done["path"], row["path"])).st_ino
    assert sorted(os.listdir(os.path.dirname(done["path"]))) == [".lock", "%s" % record["revision"], "main"]
    again = bed.take(record, "prepared")
    assert not again["changed"] and again["missing_bytes"] == 0
    assert not bed.take(record)["changed"] and not bed.take(record, check_mode=True)["changed"]
    os.unlink(done["link"])  # nothing is to be sent for that, and yet there is something to do
    assert not bed.take(record, "prepared", check_mode=True)["changed"]
    assert bed.take(record, check_mode=True)["changed"] and not os.path.lexists(done["link"])
    assert bed.take(record)["changed"] and os.path.lexists(done["link"])


def flip(path):
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(path).write_bytes(data)


def test_one_flipped_byte_is_refused_by_name(bed):
    found = copy.found(str(bed.there), "org/one", "main")
    room = bed.take(found["record"], "prepared")
    bed.send(room, found["path"])
    flip(os.path.join(room["arriving"], SHARD))
    said = r"org/one of gpu-01: 1 files are not .* nothing was put in place: %s \(sha256" % SHARD
    with pytest.raises(GpufleetError, match=said) as error:
        bed.take(found["record"])
    assert error.value.details == {"files": [SHARD]}
    assert nothing_is_there(bed)
    room = bed.take(found["record"], "prepared")  # the wrong one alone is sent again
    assert room["missing_bytes"] >= len(FILES[SHARD])
    assert not os.path.exists(os.path.join(room["arriving"], SHARD))
    bed.send(room, found["path"])
    assert content(bed.take(found["record"])["path"]) == {name: FILES[name] for name in WANTED}


def other_hash(record):
    one = next(row for row in record["files"] if row["path"] == SHARD)
    one["sha256"] = "0" * 64


def fewer(record):
    record["files"] = [row for row in record["files"] if row["path"] != SHARD]


def no_form(record):
    record["files"] = "all"


@pytest.mark.parametrize("alter, words", [(other_hash, SHARD), (fewer, SHARD), (no_form, "its form")])
def test_record_that_was_altered_on_its_way(bed, alter, words):
    found = copy.found(str(bed.there), "org/one", "main")
    room = bed.take(found["record"], "prepared")
    bed.send(room, found["path"])
    altered = copying.deepcopy(found["record"])
    alter(altered)
    Path(room["arriving"], "gpufleet.json").write_text(json.dumps(altered), encoding="utf-8")
    with pytest.raises(GpufleetError, match="gpufleet.json that came over and the one read on that host differ in %s" % words):
        bed.take(found["record"])
    assert nothing_is_there(bed)


def test_file_and_record_altered_there_alike(bed):
    """Who pins the list finds out; else the other host is believed."""
    found = copy.found(str(bed.there), "org/one", "main")
    other_hash(found["record"])
    with pytest.raises(GpufleetError, match="other files, sizes or hashes than listing_sha256=%s" % found["listing_sha256"]):
        bed.take(found["record"], "prepared", listing_sha256=found["listing_sha256"])


@pytest.mark.parametrize(
    "spoil, words",
    [
        (os.unlink, "it did not come"),
        (lambda path: os.truncate(path, 100), "100 bytes instead of 20000"),
        (lambda path: (os.unlink(path), os.symlink("/etc/passwd", path)), "it is not a file"),
        (lambda path: (os.unlink(path), os.mkdir(path)), "it is not a file"),
    ],
)
def test_what_else_may_arrive(bed, spoil, words):
    found = copy.found(str(bed.there), "org/one", "main")
    room = bed.take(found["record"], "prepared")
    bed.send(room, found["path"])
    spoil(os.path.join(room["arriving"], SHARD))
    with pytest.raises(GpufleetError, match=r"%s \(%s\)" % (SHARD, words)):
        bed.take(found["record"])
    assert nothing_is_there(bed)


@pytest.mark.parametrize(
    "alter, words",
    [
        ({"files": [{"path": "../x", "size": 1, "sha256": "0" * 64}]}, "which is not inside the model"),
        ({"files": [{"path": "a\nb", "size": 1, "sha256": "0" * 64}]}, "cannot hold it"),
        ({"name": "../../etc"}, "names no model"),
        ({"kind": ".."}, "names no model"),
        ({"revision": "main"}, "which is no commit"),
        ({"schema": "other/1"}, "has schema 'other/1'"),
    ],
)
def test_record_that_leads_elsewhere(bed, alter, words):
    with pytest.raises(GpufleetError, match=words):
        bed.take({**bed.record(), **alter}, "prepared")
    assert not bed.here.exists()


def test_killed_in_between(bed):
    found = copy.found(str(bed.there), "org/one", "main")
    room = bed.take(found["record"], "prepared")
    bed.send(room, found["path"], besides=[SHARD])
    Path(room["arriving"], SHARD).write_bytes(FILES[SHARD][:5000])  # as far as rsync --inplace came
    room = bed.take(found["record"], "prepared")
    assert os.path.getsize(os.path.join(room["arriving"], SHARD)) == 5000  # it goes on from there
    assert bed.copy()["changed"]
    assert content(bed.take(found["record"])["path"]) == {name: FILES[name] for name in WANTED}


def test_next_revision_brings_only_what_is_new(bed):
    first = bed.copy()
    bed.write({"config.json": b'{"new": 1}'})
    room = bed.take(bed.record(), "prepared")
    assert room["missing_bytes"] == len(b'{"new": 1}') and room["missing"] == ["config.json"]
    assert sorted(os.listdir(room["held"])) == ["deep", "model-00001-of-00002.safetensors", SHARD]
    done = bed.copy()
    assert done["path"] != first["path"] and os.readlink(done["link"]) == os.path.basename(done["path"])
    assert os.path.samefile(os.path.join(done["path"], SHARD), os.path.join(first["path"], SHARD))
    assert content(first["path"])["config.json"] == b"{}"


def test_damaged_file_here_is_sent_again(bed):
    done = bed.copy()
    os.truncate(os.path.join(done["path"], SHARD), 5)
    room = bed.take(bed.record(), "prepared")
    assert room["missing_bytes"] == len(FILES[SHARD]) and room["missing"] == [SHARD]
    assert bed.copy()["changed"] and content(done["path"])[SHARD] == FILES[SHARD]


def test_owner_and_modes(bed):
    assert bed.copy()["changed"]
    strict = Permissions(str(os.getuid()), str(os.getgid()), 0o640, 0o750)
    room = bed.take(bed.record(), "prepared", permissions=strict)
    assert not room["changed"] and room["missing_bytes"] == 0  # nothing has to be sent for that
    assert bed.take(bed.record(), permissions=strict, check_mode=True)["changed"]
    done = bed.take(bed.record(), permissions=strict)
    assert done["changed"]
    modes = {stat.S_IMODE(os.stat(os.path.join(done["path"], name)).st_mode) for name in WANTED}
    assert modes == {0o640} and stat.S_IMODE(os.stat(os.path.join(done["path"], "deep")).st_mode) == 0o750


def test_two_hosts_records_of_one_revision_differ(bed):
    bed.copy()
    record = bed.record()
    other_hash(record)
    with pytest.raises(GpufleetError, match="the record there and the one of the same revision here differ in %s" % SHARD):
        bed.take(record, "prepared")


def test_disk_too_small(bed, monkeypatch):
    monkeypatch.setattr(store, "free_bytes", lambda path: 40000)
    with pytest.raises(GpufleetError, match="needs 50004 bytes"):
        bed.take(bed.record(), "prepared")


@pytest.mark.parametrize(
    "name, revision, words",
    [
        ("org/none", "main", "has no model org/none"),
        ("org/one", "other", "has no other: it is to be downloaded there first"),
        ("one", "main", "names no model"),
        ("org/../one", "main", "names no model"),
    ],
)
def test_not_there(bed, name, revision, words):
    with pytest.raises(GpufleetError, match=words):
        copy.found(str(bed.there), name, revision)


def test_not_whole_there(bed):
    found = copy.found(str(bed.there), "local/org/one", "main")
    os.unlink(os.path.join(found["path"], SHARD))
    with pytest.raises(GpufleetError, match="is not whole: %s. Run model_download there first" % SHARD):
        copy.found(str(bed.there), "org/one", "main")


def test_modules_as_programs(bed):
    def run(module, **arguments):
        said = subprocess.run(
            [sys.executable, os.path.abspath(module.__file__)], input=json.dumps(arguments), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return json.loads(said.stdout)

    found = run(model_record, store=str(bed.there), model="org/one")
    assert (found["files"], found["bytes"], found["changed"]) == (4, 50004, False)
    room = run(model_copy, record=found["record"], host="gpu-01", state="prepared", store=str(bed.here))
    bed.send(room, found["path"])
    done = run(model_copy, record=found["record"], host="gpu-01", store=str(bed.here))
    assert done["changed"] and done["msg"] == "downloaded 4 files, 50004 bytes", done


@pytest.mark.parametrize(
    "host, expected",
    [
        ("gpu-01", "gpu-01"),
        ("models@10.0.0.1", "models@10.0.0.1"),
        ("fd00::1", "[fd00::1]"),
        ("models@fe80::1%eth0", "models@[fe80::1%eth0]"),
        ("models@[fd00::1]", "models@[fd00::1]"),
    ],
)
def test_address_for_rsync(host, expected):
    """In host:path the first colon ends the host."""
    plays = DataLoader().load_from_file(str(Path(__file__).parents[4] / "playbooks" / "copy_model.yml"))
    task = next(task for play in plays for task in play["tasks"] if "_copy_model_remote" in task.get("vars", {}))
    remote = trust_as_template(task["vars"]["_copy_model_remote"])
    assert Templar(DataLoader(), variables={"_copy_model_address": host}).template(remote) == expected
