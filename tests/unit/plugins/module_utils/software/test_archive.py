# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software import archive, compressed
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import zstd
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.software import zstd_ways
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.software.mirror import (
    BASE,
    LINKS,
    member,
    release,
    tar,
    zst,
)

GOOD = release(BASE, LINKS, member("./lib/ollama/second-name", tarfile.LNKTYPE, linkname="./lib/ollama/llama-server"))
LINK = {"kind": tarfile.SYMTYPE}


def everything(_name, _is_directory):
    return True


@pytest.fixture
def unpack(tmp_path):
    """Unpacks bytes as an archive into a new directory each time."""
    count = iter(range(99))

    def run(data, wanted=everything):
        path = tmp_path / ("archive-%d" % next(count))
        path.write_bytes(data)
        root = path.with_suffix(".tree")
        root.mkdir()
        tree = archive.Tree(str(root), reserved=["record.json"])
        with open(path, "rb", buffering=0) as content:
            tree.unpack(content, "archive", wanted)
            tree.check_links("archive")
            tree.sync()
        return root, tree

    return run


def listing(root):
    return sorted(os.path.relpath(os.path.join(top, name), root) for top, _dirs, names in os.walk(root) for name in names)


@pytest.mark.parametrize("data", [zst(GOOD), zst(GOOD, stated=True), zst(GOOD[:2000]) + zst(GOOD[2000:]), gzip.compress(GOOD)])
@pytest.mark.parametrize("way", ["program", "library"])
def test_what_is_unpacked(unpack, data, way, tmp_path, monkeypatch):
    zstd_ways.use(way, tmp_path, monkeypatch)
    before = os.umask(0o077)
    try:
        root, tree = unpack(data)
    finally:
        os.umask(before)
    assert listing(root) == sorted(list(BASE) + list(LINKS) + ["lib/ollama/second-name"])
    assert all((root / name).read_bytes() == content for name, content in BASE.items())
    assert tree.sizes == {name: (root / name).lstat().st_size for name in listing(root)}
    modes = {name: stat.S_IMODE((root / name).lstat().st_mode) for name in listing(root) if name not in LINKS}
    assert {name for name, mode in modes.items() if mode == 0o644} == {name for name in BASE if ".so" in name}
    assert {name for name, mode in modes.items() if mode == 0o755} == {name for name in modes if ".so" not in name}
    assert all(stat.S_IMODE(os.stat(top).st_mode) == 0o755 for top, _dirs, _files in os.walk(root / "lib"))
    assert all(archive.is_plain(os.path.join(root, name), size) for name, size in tree.sizes.items())
    owners = {(os.lstat(top).st_uid, os.lstat(top).st_gid) for top, _dirs, _files in os.walk(root)}
    assert owners == {(os.geteuid(), os.getegid())}


def test_what_is_left_out_is_not_written(unpack):
    root, tree = unpack(zst(GOOD), lambda name, _is_directory: "cuda_v12" not in name)
    assert not (root / "lib/ollama/cuda_v12").exists() and "bin/ollama" in tree.sizes


def test_setuid_and_writable_for_all_are_not_kept(unpack):
    root, _tree = unpack(zst(tar(member("a", content=b"x", mode=0o6777), member("d", tarfile.DIRTYPE, mode=0o1777))))
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("a", "d")] == [0o755, 0o755]


def test_one_archive_over_another(tmp_path):
    tree = archive.Tree(str(tmp_path))
    for data in (tar(member("a/x", content=b"old"), member("a/l", linkname="x", **LINK)), tar(member("a/x", content=b"newer"))):
        tree.unpack(io.BytesIO(gzip.compress(data)), "archive", everything)
    assert (tmp_path / "a/l").read_bytes() == b"newer" and tree.sizes == {"a/x": 5, "a/l": 1}


LEADS_OUT = "leads out of it"
BAD = {
    "absolute path": ([member("/etc/x", content=b"x")], "holds the path '/etc/x', which leads out of it"),
    "dots": ([member("bin/../../x", content=b"x")], "holds the path 'bin/../../x', which leads out of it"),
    "absolute link": ([member("a", linkname="/etc", **LINK)], "holds the link a to /etc, which is absolute"),
    "link out": ([member("a/b", linkname="../../x", **LINK)], "holds the link a/b to ../../x, which leads out"),
    "link out by a detour": (
        [member("a", linkname=".", **LINK), member("b", linkname="a/..", **LINK)], "holds the link b to a/.., which leads out"
    ),
    "through a link": ([member("a", linkname="..", **LINK), member("a/x", content=b"x")], "a/x, which is in the way"),
    "file instead of a directory": ([member("a", content=b"x"), member("a/x", content=b"x")], "a/x, which is in the way"),
    "directory instead of a file": ([member("a/x", content=b"x"), member("a", content=b"x")], "a, which is in the way"),
    "directory instead of a link": ([member("a", linkname="b", **LINK), member("a", tarfile.DIRTYPE)], "a, which is in the way"),
    "hard link out": ([member("a", tarfile.LNKTYPE, linkname="../../etc/passwd")], "holds the path '../../etc/passwd'"),
    "hard link to nothing": ([member("a", tarfile.LNKTYPE, linkname="b")], "holds a as a second name of b, which was not"),
    "hard link to a link": (
        [member("b", linkname="c", **LINK), member("a", tarfile.LNKTYPE, linkname="b")], "second name of b, which was not"
    ),
    "device": ([member("a", tarfile.CHRTYPE, devmajor=1, devminor=3)], "holds a, which is neither a file nor"),
    "pipe": ([member("a", tarfile.FIFOTYPE)], "holds a, which is neither a file nor"),
    "our record": ([member("./record.json", content=b"{}")], "holds record.json, which is the record"),
}  # fmt: skip
MANY = [member("f%d" % number, content=os.urandom(3000)) for number in range(30)]


@pytest.mark.parametrize("case", BAD)
def test_bad_members(unpack, tmp_path, case):
    members, message = BAD[case]
    outside = set(os.listdir(tmp_path)) | {"archive-0", "archive-0.tree"}
    with pytest.raises(compressed.BadArchive) as failure:
        unpack(zst(tar(*members)))
    assert message in str(failure.value) and str(failure.value).startswith("archive holds")
    assert set(os.listdir(tmp_path)) == outside


@pytest.mark.parametrize("way", ["program", "library"])
@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "is compressed with neither zstd nor gzip: it begins with b''"),
        (b"<html>", "is compressed with neither zstd nor gzip: it begins with b'<htm'"),
        (tar(*MANY), "is compressed with neither"),
        (zst(tar(*MANY))[:-40_000], "is damaged: "),
        (zst(tar(*MANY))[:-3], "is damaged: "),
        (zst(tar(*MANY))[:-4] + b"oops", "is damaged: "),
        (zst(tar(*MANY)) + b"more", "is damaged: "),
        (gzip.compress(tar(*MANY))[:-40_000], "is damaged: "),
        (gzip.compress(tar(*MANY))[:-8] + b"12345678", "is damaged: "),
        (zst(b"this is no tar" * 100), "is damaged: "),
        (zst(b""), "is damaged: "),
    ],
)
def test_damage(unpack, data, message, way, tmp_path, monkeypatch):
    zstd_ways.use(way, tmp_path, monkeypatch)
    with pytest.raises(compressed.BadArchive) as failure:
        unpack(data)
    assert str(failure.value).startswith("archive " + message)


def test_no_zstd_at_all(unpack, monkeypatch):
    monkeypatch.setattr(zstd, "find", lambda _name: None)
    monkeypatch.setattr(zstd, "library", lambda: None)
    with pytest.raises(GpufleetError, match="install the package zstd"):
        compressed.need_zstd()
    with pytest.raises(GpufleetError, match="install the package zstd"):
        unpack(zst(GOOD))
    assert listing(unpack(gzip.compress(GOOD))[0])


@pytest.mark.parametrize("size", [200, 255, 256, 300, 65_791, 65_792, 5_000_000])
def test_stated_sizes(size):
    assert compressed.stated_size(io.BytesIO(zst(bytes(size), stated=True) + b"more of the file")) == size
    assert compressed.stated_size(io.BytesIO(zst(bytes(size)) + b"more of the file")) is None


def test_size_before_it_is_unpacked():
    content = io.BytesIO(gzip.compress(GOOD))
    counted = archive.unpacked_size(content, "archive", lambda name, _is_directory: name.startswith("lib/ollama/cuda"))
    assert counted == sum(len(data) for name, data in BASE.items() if "cuda" in name)
