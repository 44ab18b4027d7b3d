# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exporting models of a store and importing them into others: what is written, kept, left out, and said of it."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import stat
import subprocess
import tarfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import zstd
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama import bundle_export, request, streams
from ansible_collections.gpufleet.llm.plugins.modules.ollama_bundle import ARGUMENT_SPEC
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer import ollama_stores as stores
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.ollama_stores import answer

LIBRARY = "registry.ollama.ai/library/"
QWEN, TINY, THIRD = (random.Random(seed).randbytes(size) for seed, size in enumerate((60000, 36000, 1200)))
PACKED = [".tar", ".tgz"] + ([".tar.zst"] if shutil.which("zstd") else [])
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")


@pytest.fixture
def origin(tmp_path):
    store = tmp_path / "origin"
    stores.add(store, LIBRARY + "qwen3/8b", QWEN)
    stores.add(store, LIBRARY + "qwen3/latest", QWEN)
    stores.add(store, "hf.co/org/tiny/Q4_K_M", TINY)
    (store / "blobs" / ("sha256-%s-partial" % ("0" * 64))).write_bytes(b"what a pull left")
    return store


def bundle(tmp_path: Path, origin: Path, suffix: str = ".tar", **options: t.Any) -> Path:
    path = tmp_path / ("bundle" + suffix)
    answer("exported", path, origin, **options)
    return path


def names(result: t.Dict[str, t.Any]) -> t.List[str]:
    return [model["name"] for model in result["models"]]


# --- export ---


@pytest.mark.parametrize("suffix", PACKED)
def test_two_hosts(tmp_path, origin, suffix):
    path = tmp_path / ("bundle" + suffix)
    exported = answer("exported", path, origin)
    assert exported["changed"] and exported["blobs"]["written"] == 7
    assert names(exported) == ["hf.co/org/tiny:Q4_K_M", "qwen3:8b", "qwen3:latest"]
    imported = answer("imported", path, tmp_path / "target")
    assert imported["changed"] and imported["models"] == exported["models"]
    wanted = {name: data for name, data in stores.content(origin).items() if "partial" not in name}
    assert stores.content(tmp_path / "target") == wanted
    for model in imported["models"]:
        assert model["digest"] in {stores.sha256(data) for name, data in wanted.items() if "manifests" in name}
    for state, store in (("exported", origin), ("imported", tmp_path / "target")):
        again = answer(state, path, store)
        assert not again["changed"], again["msg"]
        assert again["blobs"] == {"written": 0, "kept": 7, "bytes": 0}
        assert again["diff"]["before"] == again["diff"]["after"]


def test_exactly_the_named_models(tmp_path, origin):
    path = bundle(tmp_path, origin, names=["qwen3:8b", "Qwen3:8B"])
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert [one.name for one in members[:2]] == ["gpufleet-bundle.json", "manifests/%sqwen3/8b" % LIBRARY]
    assert {one.name[13:] for one in members[2:]} == {
        stores.sha256(data) for data in (QWEN, b"Licence\n", stores.layers(QWEN)[1][1], _config(QWEN))
    }
    assert [one.name for one in members[2:]] == sorted(one.name for one in members[2:])
    for one in members:
        assert (one.uid, one.gid, one.uname, one.gname, one.mode, one.mtime) == (0, 0, "", "", 0o644, 946684800)
        assert one.isreg()


def _config(model: bytes) -> bytes:
    return json.dumps({**stores.CONFIG, "model_type": str(len(model))}).encode() + b"\n"


@pytest.mark.parametrize("suffix", PACKED)
def test_same_models_same_bytes(tmp_path, origin, suffix):
    one = bundle(tmp_path, origin, suffix).read_bytes()
    target = tmp_path / "target"
    answer("imported", tmp_path / ("bundle" + suffix), target)
    answer("exported", tmp_path / ("other" + suffix), target)
    assert (tmp_path / ("other" + suffix)).read_bytes() == one


@pytest.mark.parametrize("suffix", PACKED)
def test_tar_reads_an_export(tmp_path, origin, suffix):
    """Also without this module: unpacked in a store with tar, it is the store."""
    path = bundle(tmp_path, origin, suffix)
    (tmp_path / "target").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "target", "-x", "-a", "-f", path], check=True)
    (tmp_path / "target" / "gpufleet-bundle.json").unlink()
    assert answer("imported", path, tmp_path / "target", verify="full")["changed"] is False


def test_names_of_archives():
    for name, packed in (
        ("x.tar", "plain"),
        ("x.tar.zst", "zstd"),
        ("x.tzst", "zstd"),
        ("x.tar.gz", "gzip"),
        ("x.tgz", "gzip"),
    ):
        assert streams.format_of("/a.b/" + name) == packed


def test_long_names(tmp_path):
    """Beyond the 100 characters of a tar header, and the 256 of its prefix."""
    place = "%s/%s/%s/%s" % ("h" * 200, "n" * 80, "m" * 80, "t" * 80)
    stores.add(tmp_path / "origin", place, TINY)
    path = bundle(tmp_path, tmp_path / "origin")
    answer("imported", path, tmp_path / "target")
    assert stores.content(tmp_path / "target") == stores.content(tmp_path / "origin")


def test_export_follows_the_store(tmp_path, origin):
    path = bundle(tmp_path, origin)
    stores.add(origin, LIBRARY + "qwen3/8b", THIRD)
    result = answer("exported", path, origin, check_mode=True)
    assert result["changed"] and "other models" in result["diff"]["before"]
    before = path.read_bytes()
    assert answer("exported", path, origin)["changed"]
    assert path.read_bytes() != before
    assert not answer("exported", path, origin)["changed"]
    assert answer("exported", path, origin, names=["qwen3:8b"])["changed"]
    assert names(answer("exported", path, origin, names=["qwen3:8b"])) == ["qwen3:8b"]
    assert sorted(os.listdir(tmp_path)) == ["bundle.tar", "origin"]


@pytest.mark.parametrize("suffix", PACKED)
def test_export_that_was_cut_off_is_written_again(tmp_path, origin, suffix):
    path = bundle(tmp_path, origin, suffix)
    whole = path.read_bytes()
    for cut in (1, 600, len(whole) - 700):
        path.write_bytes(whole[:-cut])
        result = answer("exported", path, origin)
        assert result["changed"], cut
        assert path.read_bytes() == whole


@pytest.mark.parametrize("suffix", PACKED)
def test_export_that_was_damaged(tmp_path, origin, suffix):
    stores.add(origin, LIBRARY + "large/1b", random.Random(3).randbytes(600000))  # several blocks of zstd
    path = bundle(tmp_path, origin, suffix)
    whole = path.read_bytes()
    middle = len(whole) // 2  # in the middle of a blob
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert not answer("exported", path, origin)["changed"]
    result = answer("exported", path, origin, verify="full")
    assert result["changed"] and ("damaged" in result["diff"]["before"] or "unpacked" in result["diff"]["before"])
    assert path.read_bytes() == whole
    assert not answer("exported", path, origin, verify="full")["changed"]


def test_what_was_packed_otherwise_is_packed_again(tmp_path, origin):
    path = bundle(tmp_path, origin, ".tgz")
    path.write_bytes(gzip.decompress(path.read_bytes()))
    result = answer("exported", path, origin)
    assert result["changed"] and "packed with plain" in result["diff"]["before"]
    assert path.read_bytes()[:2] == b"\x1f\x8b"


def test_export_refuses_what_is_not_complete(tmp_path, origin):
    blob = stores.blob(origin, QWEN)
    for change, said in (
        (lambda: blob.write_bytes(QWEN[:-1]), "59999 bytes instead of 60000. Pull it again"),
        (blob.unlink, "does not exist. Pull it again"),
        (lambda: blob.write_bytes(QWEN[::-1]), "is damaged: it has not the content that its name says"),
    ):
        change()
        with pytest.raises(GpufleetError) as caught:
            answer("exported", tmp_path / "x.tar", origin)
        assert said in str(caught.value)
        assert sorted(os.listdir(tmp_path)) == ["origin"]
    assert answer("exported", tmp_path / "x.tar", origin, names=["hf.co/org/tiny:Q4_K_M"])["changed"]


def test_blob_that_grows_while_it_is_read(tmp_path, origin, monkeypatch):
    blob = stores.blob(origin, QWEN)
    monkeypatch.setattr(bundle_export, "_refuse_incomplete", lambda *_all: blob.write_bytes(QWEN + b"more"))
    with pytest.raises(GpufleetError, match="is damaged"):
        answer("exported", tmp_path / "x.tar", origin)
    assert sorted(os.listdir(tmp_path)) == ["origin"]


@pytest.mark.parametrize(
    "options, said",
    [
        ({"names": ["nothing:7b"]}, "names: nothing:7b is not in store="),
        ({"names": []}, "names is empty"),
        ({"names": ["a b"]}, "names='a b' names no model"),
        ({"path": "bundle.tar"}, "path=bundle.tar is not an absolute path"),
        ({"path": "/tmp/bundle.zip"}, "path=/tmp/bundle.zip: the name must end with one of .tar, .tar.zst"),
        ({"path": "/nonexistent/x.tar"}, "the directory /nonexistent does not exist"),
        ({"path": "/dev/x.tar/../null.tar/../../dev/null"}, "the name must end"),
        ({"store": "models"}, "store=models is not an absolute path"),
        ({"mode": "rw"}, "mode=rw is not a mode"),
        ({"directory_mode": "9"}, "directory_mode=9 is not a mode"),
        ({"owner": "nobody-at-all"}, "owner=nobody-at-all: there is no such user"),
        ({"group": "nobody-at-all"}, "group=nobody-at-all: there is no such group"),
        ({"compression_level": 20}, "compression_level=20: give a number from 1 to 19"),
        ({"lock_timeout": -1}, "lock_timeout=-1"),
    ],
)
def test_options_that_are_refused(tmp_path, origin, options, said):
    params = {name: spec.get("default") for name, spec in ARGUMENT_SPEC.items()}
    params.update({"state": "exported", "path": str(tmp_path / "x.tar"), "store": str(origin)}, **options)
    with pytest.raises(GpufleetError) as caught:
        request.answer(params, check_mode=False, say=lambda _text: None)
    assert said in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["origin"]


def test_export_onto_a_directory(tmp_path, origin):
    (tmp_path / "x.tar").mkdir()
    with pytest.raises(GpufleetError, match="is there and is not a file"):
        answer("exported", tmp_path / "x.tar", origin)


def test_damaged_manifests_are_left_out_with_a_warning(tmp_path, origin):
    (origin / "manifests" / LIBRARY / "qwen3" / ".DS_Store").write_bytes(b"\0")
    result = answer("exported", tmp_path / "x.tar", origin)
    assert len(result["models"]) == 3
    assert len(result["warnings"]) == 1 and ".DS_Store" in result["warnings"][0]


def test_empty_store(tmp_path):
    with pytest.raises(GpufleetError, match="holds no models"):
        answer("exported", tmp_path / "x.tar", tmp_path / "none")


@needs_root
def test_owner_and_mode_of_an_export(tmp_path, origin):
    options = {"owner": "4711", "group": "4712", "mode": "0640"}
    path = bundle(tmp_path, origin, **options)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (4711, 4712, 0o640)
    os.chmod(path, 0o600)
    assert answer("exported", path, origin, check_mode=True, **options)["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    result = answer("exported", path, origin, **options)
    assert result["changed"] and result["blobs"]["written"] == 0 and "owner or mode" in result["diff"]["before"]
    assert not answer("exported", path, origin, **options)["changed"]


# --- import ---


@pytest.mark.parametrize("prefix", ["models/", "", "./", "./models/", "usr/share/ollama/.ollama/models/", "a/b//c/"])
def test_archives_made_by_hand(tmp_path, origin, prefix):
    (tmp_path / "x.tar").write_bytes(stores.tar(stores.hand_made(origin, prefix)))
    result = answer("imported", tmp_path / "x.tar", tmp_path / "target")
    assert len(result["models"]) == 3 and result["ignored_count"] == 1
    assert result["ignored"] == [prefix + "blobs/sha256-%s-partial" % ("0" * 64)]
    wanted = {name: data for name, data in stores.content(origin).items() if "partial" not in name}
    assert stores.content(tmp_path / "target") == wanted
    assert not answer("imported", tmp_path / "x.tar", tmp_path / "target")["changed"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_any_order_any_format(tmp_path, origin, form, packed):
    files = stores.hand_made(origin)
    seed = 20261121
    print("seed", seed)
    for number in range(2):
        random.Random(seed + number).shuffle(files)
        (tmp_path / "x").write_bytes(packed(stores.tar(files, form)))
        target = tmp_path / ("target%d" % number)
        assert len(answer("imported", tmp_path / "x", target)["models"]) == 3
        assert len(stores.content(target)) == 10


@pytest.mark.parametrize(
    "arguments, below",
    [
        (["-C", "{0}/.ollama", "-cf", "{1}", "models"], ".ollama/models"),
        (["-C", "{0}/.ollama", "-czf", "{1}", "models/manifests", "models/blobs"], ".ollama/models"),
        (["-C", "{0}/.ollama/models", "-cf", "{1}", "--format=pax", "."], ".ollama/models"),
        (["-C", "/", "-cf", "{1}", "--format=ustar", "{2}/.ollama/models"], ".ollama/models"),
    ],
)
def test_archives_of_the_real_tar(tmp_path, origin, arguments, below):
    home = tmp_path / "home"
    (home / ".ollama").mkdir(parents=True)
    shutil.copytree(origin, home / below)
    (home / ".ollama" / "id_ed25519").write_text("the identity of another host")
    path = tmp_path / "x.tar"
    subprocess.run(["tar", *(one.format(home, path, str(home).lstrip("/")) for one in arguments)], check=True)
    result = answer("imported", path, tmp_path / "target")
    assert len(result["models"]) == 3
    assert len(stores.content(tmp_path / "target")) == 10


def test_old_blob_names_and_what_macos_adds(tmp_path, origin):
    files = []
    for name, data in stores.hand_made(origin):
        files.append((os.path.dirname(name) + "/._" + os.path.basename(name), b"\0\5\x16\7AppleDouble"))
        files.append((name.replace("blobs/sha256-", "blobs/sha256:"), data))
    files.append(("models/manifests/registry.ollama.ai/library/qwen3/.DS_Store", b"\0Bud1"))
    files.append((stores.info("models/blobs", type=tarfile.DIRTYPE), b""))
    (tmp_path / "x.tar").write_bytes(stores.tar(files))
    result = answer("imported", tmp_path / "x.tar", tmp_path / "target")
    assert len(result["models"]) == 3
    assert len(stores.content(tmp_path / "target")) == 10
    assert result["ignored_count"] == len(stores.hand_made(origin)) + 2  # and the partial blob


def test_only_what_is_named(tmp_path, origin):
    for number in range(120):
        stores.blob(origin, b"%d" % number).write_bytes(b"%d" % number)
    (tmp_path / "x.tar").write_bytes(stores.tar(stores.hand_made(origin)))
    result = answer("imported", tmp_path / "x.tar", tmp_path / "target", names=["HF.co/org/tiny:q4_k_m"])
    assert names(result) == ["hf.co/org/tiny:Q4_K_M"]
    assert len(stores.content(tmp_path / "target")) == 5
    assert result["blobs"]["written"] == 4 and result["blobs"]["bytes"] == result["models"][0]["size"]
    assert len(result["ignored"]) == 100 and result["ignored_count"] == 2 + 3 + 120 + 1
    assert result["ignored"][0] == "manifests/%sqwen3/8b" % LIBRARY
    with pytest.raises(GpufleetError, match="names: llama is not in|names: llama:latest is not in .*qwen3:8b"):
        answer("imported", tmp_path / "x.tar", tmp_path / "target", names=["llama"])


def test_damaged_manifest_of_another_model_does_not_matter(tmp_path, origin):
    stores.add(origin, LIBRARY + "other/1b", THIRD)
    (origin / "manifests" / LIBRARY / "other" / "1b").write_text("{")
    (tmp_path / "x.tar").write_bytes(stores.tar(stores.hand_made(origin)))
    assert answer("imported", tmp_path / "x.tar", tmp_path / "target", names=["qwen3:8b"])["changed"]
    with pytest.raises(GpufleetError, match="other/1b is no manifest"):
        answer("imported", tmp_path / "x.tar", tmp_path / "target")


def test_good_blobs_are_kept_and_wrong_ones_replaced(tmp_path, origin):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    answer("imported", path, target)
    kept = {name: (target / name).stat().st_ino for name in stores.content(target)}
    stores.blob(target, QWEN).write_bytes(QWEN[:-1])
    os.unlink(target / "manifests" / LIBRARY / "qwen3" / "8b")
    result = answer("imported", path, target)
    assert result["blobs"] == {"written": 1, "kept": 6, "bytes": len(QWEN)}
    assert "59999 bytes instead of 60000" in result["diff"]["before"] and "qwen3:8b: absent" in result["diff"]["before"]
    changed = {name for name, inode in kept.items() if (target / name).stat().st_ino != inode}
    assert changed <= {"blobs/sha256-" + stores.sha256(QWEN), "manifests/%sqwen3/8b" % LIBRARY}
    assert stores.blob(target, QWEN).read_bytes() == QWEN


def test_damaged_blob_of_the_right_size(tmp_path, origin):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    answer("imported", path, target)
    stores.blob(target, TINY).write_bytes(TINY[::-1])
    assert not answer("imported", path, target)["changed"]
    result = answer("imported", path, target, verify="full")
    assert result["blobs"]["written"] == 1 and "has the sha256" in result["diff"]["before"]
    assert stores.blob(target, TINY).read_bytes() == TINY
    assert not answer("imported", path, target, verify="full")["changed"]


def test_a_model_that_is_there_in_another_version(tmp_path, origin):
    path, target = bundle(tmp_path, origin, names=["qwen3:8b"]), tmp_path / "target"
    old = stores.add(target, LIBRARY + "Qwen3/8B", THIRD)
    stores.add(target, LIBRARY + "other/1b", TINY)
    result = answer("imported", path, target, check_mode=True)
    assert result["changed"] and stores.sha256(old) in result["diff"]["before"]
    result = answer("imported", path, target)
    assert names(result) == ["Qwen3:8B"]  # as Ollama would, under the name that is there
    assert not (target / "manifests" / LIBRARY / "qwen3").exists()
    assert (target / "manifests" / LIBRARY / "Qwen3" / "8B").read_bytes() != old
    assert (target / "manifests" / LIBRARY / "other" / "1b").exists()
    assert not answer("imported", path, target)["changed"]


def test_blob_that_the_store_has_need_not_be_in_the_archive(tmp_path, origin):
    target = tmp_path / "target"
    answer("imported", bundle(tmp_path, origin, names=["hf.co/org/tiny:Q4_K_M"]), target)
    files = [one for one in stores.hand_made(origin) if one[1] != b"Licence\n"]
    (tmp_path / "x.tar").write_bytes(stores.tar(files))
    assert answer("imported", tmp_path / "x.tar", target)["blobs"]["kept"] == 4
    stores.blob(target, b"Licence\n").unlink()
    with pytest.raises(GpufleetError) as caught:
        answer("imported", tmp_path / "x.tar", target)
    assert caught.value.details["missing"] == ["sha256:" + stores.sha256(b"Licence\n")]


def test_fresh_times(tmp_path, origin):
    """What is old and named by no manifest is pruned when a server starts: also a blob that was an orphan before."""
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    orphan = stores.blob(target, QWEN)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(QWEN)
    os.utime(orphan, (1, 1))
    answer("imported", path, target)
    for file in target.rglob("*"):
        assert time.time() - file.stat().st_mtime < 60, file


def test_modes_whatever_the_umask(tmp_path, origin):
    path, target = bundle(tmp_path, origin), tmp_path / "new" / "target"
    before = os.umask(0o077)
    try:
        answer("imported", path, target)
        answer("imported", path, tmp_path / "own", mode="0640", directory_mode="0750")
    finally:
        os.umask(before)
    for store, file_mode, directory_mode in ((target, 0o644, 0o755), (tmp_path / "own", 0o640, 0o750)):
        for one in [store, *store.rglob("*")]:
            assert stat.S_IMODE(one.stat().st_mode) == (directory_mode if one.is_dir() else file_mode), one
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o755  # a service has to get through
    os.chmod(stores.blob(target, QWEN), 0o600)
    os.chmod(target / "manifests", 0o750)
    assert answer("imported", path, target, check_mode=True)["changed"]
    result = answer("imported", path, target)
    assert result["changed"] and result["blobs"]["written"] == 0 and "owner or mode of 1 files" in result["msg"]
    assert stat.S_IMODE(stores.blob(target, QWEN).stat().st_mode) == 0o644
    assert stat.S_IMODE((target / "manifests").stat().st_mode) == 0o750  # it was there
    assert not answer("imported", path, target)["changed"]


@needs_root
def test_owner(tmp_path, origin):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    answer("imported", path, target, owner="4711", group="4712")
    for one in [target, *target.rglob("*")]:
        assert (one.stat().st_uid, one.stat().st_gid) == (4711, 4712), one
    os.chown(stores.blob(target, QWEN), 0, 0)
    assert answer("imported", path, target, owner="4711", group="4712")["changed"]
    assert stores.blob(target, QWEN).stat().st_uid == 4711


@needs_root
def test_new_files_belong_to_the_owner_of_the_store(tmp_path, origin):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    target.mkdir()
    os.chown(target, 4711, 4712)
    answer("imported", path, target)
    for one in [target, *target.rglob("*")]:
        assert (one.stat().st_uid, one.stat().st_gid) == (4711, 4712), one
    assert not answer("imported", path, target)["changed"]


def test_check_mode_writes_nothing_and_says_the_same(tmp_path, origin):
    path, target = tmp_path / "x.tar", tmp_path / "target"
    for state, store in (("exported", origin), ("imported", target)):
        said = answer(state, path, store, check_mode=True)
        assert not (path if state == "exported" else target).exists()
        did = answer(state, path, store)
        for key in ("changed", "models", "blobs", "diff", "ignored"):
            assert said[key] == did[key], key
    assert sorted(os.listdir(tmp_path)) == ["origin", "target", "x.tar"]


def test_check_mode_before_an_earlier_task_has_run(tmp_path, origin):
    result = answer("imported", tmp_path / "x.tar", tmp_path / "target", check_mode=True, names=["qwen3"])
    assert result["changed"] and "does not exist yet" in result["warnings"][0]
    result = answer("exported", tmp_path / "x.tar", origin, check_mode=True, names=["new:1b"])
    assert result["changed"] and "new:1b is not in store=" in result["warnings"][0]
    with pytest.raises(GpufleetError, match="does not exist on this host: copy it there"):
        answer("imported", tmp_path / "x.tar", tmp_path / "target")
    with pytest.raises(GpufleetError, match="is not a file"):
        answer("imported", tmp_path, tmp_path / "target")


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("state", ["exported", "imported"])
def test_no_space(tmp_path, origin, monkeypatch, state, check_mode):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    wanted = path if state == "imported" else tmp_path / "y.tar"
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**6, 10**6, 70000))
    with pytest.raises(GpufleetError) as caught:
        answer(state, wanted, target if state == "imported" else origin, check_mode=check_mode)
    needed = caught.value.details["needed_bytes"]
    assert caught.value.details["short_bytes"] == needed - 70000
    assert "%d bytes (" % needed in str(caught.value) and "Nothing was written" in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["bundle.tar", "origin"]
    if state == "imported":
        result = answer(state, wanted, target, names=["hf.co/org/tiny:Q4_K_M"])
        assert result["changed"]


@pytest.mark.parametrize("code, said", [(errno.ENOSPC, "No space left"), (errno.EIO, "Input/output error")])
def test_disk_that_fails_on_the_way(tmp_path, origin, monkeypatch, code, said):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(GpufleetError, match=said):
        answer("imported", path, target)
    assert stores.content(target / "blobs") == stores.content(target / "manifests") == {}
    left = [name for name in stores.content(target) if not name.endswith(".part")]
    assert len(left) == (0 if code == errno.ENOSPC else 2)  # what was verified is not unpacked again
    assert answer("imported", path, target)["changed"]
    assert sorted(os.listdir(target)) == ["blobs", "manifests"]


def test_things_in_the_way(tmp_path, origin):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    place = target / "manifests" / LIBRARY / "qwen3" / "8b"
    place.mkdir(parents=True)
    with pytest.raises(GpufleetError, match="in the way of a manifest"):
        answer("imported", path, target)
    place.rmdir()
    stores.blob(target, QWEN).mkdir(parents=True)
    with pytest.raises(GpufleetError, match="in the way of a blob"):
        answer("imported", path, target)
    shutil.rmtree(target)
    target.write_text("a file")
    with pytest.raises(GpufleetError, match="Check path=.* and store="):
        answer("imported", path, target)


def test_work_folder_that_somebody_else_made(tmp_path, origin):
    """The service user may write to the store, and this runs as root: nothing is written through its links."""
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    target.mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "shadow").write_text("secret")
    (target / ".gpufleet-import").symlink_to(tmp_path / "etc")
    with pytest.raises(GpufleetError, match="was made by somebody else"):
        answer("imported", path, target)
    assert stores.content(tmp_path / "etc") == {"shadow": b"secret"}
    (target / ".gpufleet-import.lock").symlink_to(tmp_path / "etc" / "shadow")
    with pytest.raises(GpufleetError, match="Too many levels of symbolic links"):
        answer("imported", path, target)
    assert stores.content(tmp_path / "etc") == {"shadow": b"secret"}


def test_blobs_behind_a_link(tmp_path, origin):
    """A store whose blobs lie on another disk."""
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    (tmp_path / "disk").mkdir()
    target.mkdir()
    (target / "blobs").symlink_to(tmp_path / "disk")
    answer("imported", path, target)
    assert len(os.listdir(tmp_path / "disk")) == 7
    assert not answer("imported", path, target)["changed"]


@pytest.mark.skipif(
    not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev,
    reason="needs a second file system",
)
def test_blobs_on_another_file_system(tmp_path, origin):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    other = Path("/dev/shm") / ("gpufleet-%d" % os.getpid())
    other.mkdir()
    try:
        target.mkdir()
        (target / "blobs").symlink_to(other)
        answer("imported", path, target)
        assert len(os.listdir(other)) == 7
        assert sorted(os.listdir(target)) == ["blobs", "manifests"]
    finally:
        shutil.rmtree(other)


def test_a_pruned_blob_is_noticed_before_its_manifest_comes(tmp_path, origin, monkeypatch):
    path, target = bundle(tmp_path, origin), tmp_path / "target"
    real = os.utime

    def utime(where: str) -> None:  # the blob has its name: an old server that starts now removes it
        real(where)

    answer("imported", path, target)
    shutil.rmtree(target / "manifests")
    monkeypatch.setattr(os, "utime", lambda where: (utime(where), os.path.basename(where)[7:] == stores.sha256(TINY)
                                                    and os.unlink(where)))  # fmt: skip
    with pytest.raises(GpufleetError, match="was not imported: .* does not exist. Did somebody remove it meanwhile"):
        answer("imported", path, target)
    monkeypatch.undo()
    answer("imported", path, target)
    assert len(stores.content(target)) == 10


@pytest.mark.parametrize("library", ["zstandard"])
def test_python_library_in_place_of_zstd(tmp_path, origin, monkeypatch, library):
    pytest.importorskip(library)
    monkeypatch.setattr(zstd, "find", lambda program: None)
    path, target = bundle(tmp_path, origin, ".tar.zst"), tmp_path / "target"
    answer("imported", path, target)
    assert len(stores.content(target)) == 10
    assert not answer("exported", path, origin, verify="full")["changed"]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(GpufleetError, match="cut off|cannot be unpacked"):
        answer("imported", path, tmp_path / "target2")
