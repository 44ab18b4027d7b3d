# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives that are refused, each with its message, and nothing left behind."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tarfile
import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import zstd
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama import content, members, streams
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer import ollama_stores as stores
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.ollama_stores import answer

MODEL = b"weights" * 1000
PLACE = "registry.ollama.ai/library/tiny/1b"
BLOB = "models/blobs/sha256-" + stores.sha256(MODEL)
MANIFEST = "models/manifests/" + PLACE
SPARSE = stores.info("x", pax_headers={"GNU.sparse.major": "1"})

Members = t.List[t.Tuple[t.Any, bytes]]


def changed(raw: bytes, **fields: t.Any) -> bytes:
    return json.dumps({**json.loads(raw), **fields}).encode()


def first_layer(raw: bytes, **fields: t.Any) -> bytes:
    layers = json.loads(raw)["layers"]
    return changed(raw, layers=[{**layers[0], **fields}, *layers[1:]])


def replaced(base: Members, name: str, data: bytes) -> bytes:
    return stores.tar([(one, data if one == name else old) for one, old in base])


def manifest(base: Members) -> bytes:
    return dict(base)[MANIFEST]


def without(base: Members, name: str) -> bytes:
    return stores.tar([one for one in base if one[0] != name])


def plus(base: Members, *more: t.Tuple[t.Any, bytes]) -> bytes:
    return stores.tar([*base, *more])


def link(name: str, kind: bytes) -> t.Tuple[tarfile.TarInfo, bytes]:
    return stores.info(name, type=kind, linkname="/etc/shadow"), b""


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def huge_header(kind: bytes) -> bytes:
    return stores.tar([(stores.info("x", 10**12, type=kind), b"")])


REFUSED: t.Dict[str, t.Tuple[t.Callable[[Members], bytes], str]] = {
    "absolute name": (lambda base: plus(base, ("/etc/cron.d/x", b"*")), "absolute name: /etc/cron.d/x"),
    "absolute blob": (lambda base: stores.tar([("/" + name, data) for name, data in base]), "absolute name: /models/"),
    "traversal": (
        lambda base: plus(base, ("models/blobs/../../x", b"*")),
        "leaves its directory: models/blobs/../../x",
    ),
    "traversal by pax": (
        lambda base: stores.tar([*base, (stores.info("a", 1, pax_headers={"path": "../x"}), b"*")], tarfile.PAX_FORMAT),
        "leaves its directory: ../x",
    ),
    "symbolic link": (lambda base: plus(base, link(BLOB, tarfile.SYMTYPE)), "is a symbolic link (make the archive"),
    "hard link": (
        lambda base: plus(base, link(BLOB, tarfile.LNKTYPE)),
        "is a hard link (make the archive with tar --h",
    ),
    "device": (lambda base: plus(base, link("models/null", tarfile.CHRTYPE)), "is a device: models/null"),
    "block device": (lambda base: plus(base, link("models/sda", tarfile.BLKTYPE)), "is a device: models/sda"),
    "pipe": (lambda base: plus(base, link("models/pipe", tarfile.FIFOTYPE)), "is a pipe: models/pipe"),
    "sparse": (lambda base: plus(base, link(BLOB, tarfile.GNUTYPE_SPARSE)), "is a sparse file"),
    "sparse by pax": (lambda base: stores.tar([(SPARSE, b"")], tarfile.PAX_FORMAT), "is a sparse file"),
    "unknown type": (lambda base: plus(base, link("models/x", b"Z")), "of the unknown type b'Z'"),
    "wrong hash": (lambda base: replaced(base, BLOB, flipped(MODEL, 5)), "is not what its name says, its sha256 is"),
    "wrong size": (lambda base: replaced(base, BLOB, MODEL + b"x"), "7001 bytes and its manifest says 7000"),
    "missing blob": (lambda base: without(base, BLOB), "lacks 1 of the blobs that its manifests name"),
    "missing config": (
        lambda base: stores.tar([one for one in base if b"model_format" not in one[1]]),
        "lacks 1 of the blobs",
    ),
    "no manifest": (lambda base: without(base, MANIFEST), "has no manifest (manifests/<host>/"),
    "corrupt manifest": (lambda base: replaced(base, MANIFEST, b"{"), MANIFEST[7:] + " is no manifest: it is not JSON"),
    "huge manifest": (lambda base: replaced(base, MANIFEST, b" " * 17000000), "has 17000000 bytes, at most 16777216"),
    "unsupported manifest": (
        lambda base: replaced(base, MANIFEST, changed(manifest(base), schemaVersion=1)),
        "unsupported manifest",
    ),
    "unsupported media type": (
        lambda base: replaced(base, MANIFEST, first_layer(manifest(base), mediaType="application/x-sharedlib")),
        "media type of its layer 1 is not supported: 'application/x-sharedlib'",
    ),
    "digest that is a path": (
        lambda base: replaced(base, MANIFEST, first_layer(manifest(base), digest="sha256:../../x")),
        "digest of its layer 1 is 'sha256:../../x'",
    ),
    "two manifests": (
        lambda base: plus(base, (MANIFEST, changed(manifest(base), config={}))),
        "two different manifests of tiny:1b",
    ),
    "two manifests by case": (
        lambda base: plus(base, (MANIFEST.replace("tiny", "TINY"), changed(manifest(base), config={}))),
        "two different manifests of TINY:1b",
    ),
    "two sizes of a blob": (lambda base: plus(base, (BLOB, MODEL[:-1])), "twice, with 7000 and with 6999 bytes"),
    "two contents of a blob": (lambda base: plus(base, (BLOB, flipped(MODEL, 0))), "is not what its name says"),
    "cut off in a blob": (lambda base: stores.tar(base)[:5000], "is cut off"),
    "cut off between members": (lambda base: stores.tar(base)[:-10240], "is cut off"),
    "half an end mark": (lambda base: stores.tar(base)[:-10240] + bytes(512) + b"x" * 512, "only half an end mark"),
    "damage in the middle": (lambda base: flipped(stores.tar(base), 1536 + 10), "is damaged: no header at byte 1536"),
    "no archive at all": (lambda base: b"GGUF" * 1000, "is no tar archive"),
    "empty file": (lambda base: b"", "is cut off"),
    "empty archive": (lambda base: stores.tar([]), "has no manifest"),
    "huge pax header": (lambda base: huge_header(tarfile.XHDTYPE), "extended header of 1000000000000 bytes"),
    "huge name": (lambda base: huge_header(tarfile.GNUTYPE_LONGNAME), "extended header of 1000000000000 bytes"),
    "huge global header": (lambda base: huge_header(tarfile.XGLTYPE), "extended header of 1000000000000 bytes"),
    "negative size": (lambda base: stores.tar([(stores.info("x", -512), b"")]), "negative size at byte 0"),
    "broken pax header": (
        lambda base: stores.tar([(stores.info("x", 9, type=tarfile.XHDTYPE), b"99 path=x")]),
        "extended header cannot",
    ),
    "pax size that is none": (
        lambda base: stores.tar([(stores.info("x", 12, type=tarfile.XHDTYPE), b"12 size=-10\n"), ("x", b"")]),
        "says size=-10",
    ),
    "gzip cut off": (lambda base: gzip.compress(stores.tar(base))[:-9], "cannot be unpacked"),
    "gzip damaged": (lambda base: flipped(gzip.compress(stores.tar(base)), -6), "cannot be unpacked"),
    "gzip of nothing useful": (lambda base: gzip.compress(b"x" * 5000), "is no tar archive"),
    "more behind the end": (lambda base: gzip.compress(stores.tar(base) + bytes(17000000)), "goes on after its end"),
    "xz": (lambda base: b"\xfd7zXZ\0" + b"x" * 600, "is packed with xz: pack it with zstd or gzip"),
    "bzip2": (lambda base: b"BZh9" + b"x" * 600, "is packed with bzip2"),
}


@pytest.fixture
def base(tmp_path):
    stores.add(tmp_path / "origin", PLACE, MODEL)
    return stores.hand_made(tmp_path / "origin")


def refusal(tmp_path, data: bytes) -> str:
    """The message of an import that fails, into a store that has another model; nothing may have changed there."""
    store = tmp_path / "store"
    stores.add(store, "registry.ollama.ai/library/other/1b", b"other")
    before = stores.content(store)
    (tmp_path / "x.tar").write_bytes(data)
    message = ""
    for check_mode in (True, False):
        try:
            answer("imported", tmp_path / "x.tar", store, check_mode=check_mode)
        except GpufleetError as error:
            message = str(error)
        else:
            assert check_mode, "it was imported"
        assert stores.content(store) == before
        assert sorted(path.name for path in store.iterdir()) == ["blobs", "manifests"]
    assert str(tmp_path / "x.tar") in message
    assert not (tmp_path / "etc").exists() and not (tmp_path / "x").exists()
    return message


@pytest.mark.parametrize("make, said", REFUSED.values(), ids=list(REFUSED))
def test_refused(tmp_path, base, make, said):
    assert said in refusal(tmp_path, make(base))


def test_the_base_itself_is_good(tmp_path, base):
    (tmp_path / "x.tar").write_bytes(stores.tar(base))
    assert answer("imported", tmp_path / "x.tar", tmp_path / "store")["changed"]
    assert stores.content(tmp_path / "store") == stores.content(tmp_path / "origin")


ZSTD: t.Dict[str, t.Tuple[t.Callable[[bytes], bytes], str]] = {
    "cut off": (lambda packed: packed[: len(packed) // 2], "cannot be unpacked: zstd: "),
    "damaged": (lambda packed: flipped(packed, len(packed) // 2), "cannot be unpacked: zstd: "),
    "wrong checksum": (lambda packed: flipped(packed, -17 if packed[-16:-12] == b"\x5a\x2a\x4d\x18" else -1), "zstd: "),
    "nothing but the magic number": (lambda packed: packed[:4], "cannot be unpacked: zstd: "),
}


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs the program zstd")
@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("change, said", ZSTD.values(), ids=list(ZSTD))
def test_zstd_refused(tmp_path, base, change, said, by_hand):
    if by_hand:
        packed = subprocess.run(["zstd", "-c", "-q"], input=stores.tar(base), stdout=subprocess.PIPE, check=True).stdout
    else:
        answer("exported", tmp_path / "y.tar.zst", tmp_path / "origin")
        packed = (tmp_path / "y.tar.zst").read_bytes()
    assert said in refusal(tmp_path, change(packed))


LIES: t.Dict[str, t.Tuple[t.Callable[[dict, Members], t.Any], str]] = {
    # Of an index that is not true: what it says, and what is said of it
    "blob that is not there": (lambda index, base: base.pop(), "lacks sha256:"),
    "other size": (lambda index, base: index["blobs"][0].update(size=3), "has 3 bytes and its manifest says"),
    "blob left out": (lambda index, base: index["blobs"].pop(0), "lacks 1 of the blobs"),
}


@pytest.mark.parametrize("change, said", LIES.values(), ids=list(LIES))
def test_index_that_lies(tmp_path, base, change, said):
    """A packed archive is not read through before something is written, so its index is believed that far."""
    answer("exported", tmp_path / "y.tar", tmp_path / "origin")
    with tarfile.open(tmp_path / "y.tar") as archive:
        files = [(one.name, archive.extractfile(one).read()) for one in archive]
    index = json.loads(files.pop(0)[1])
    change(index, files)
    data = stores.tar([(content.INDEX, json.dumps(index).encode()), *files])
    assert said in refusal(tmp_path, gzip.compress(data))


@pytest.mark.parametrize(
    "index",
    [b"", b"[]", b"{", b'{"schema": "other/1"}', b'{"schema": "gpufleet.ollama_bundle/1", "models": 3, "blobs": []}',
     b'{"schema": "gpufleet.ollama_bundle/1", "models": [{"name": "../x", "digest": ""}], "blobs": []}',
     b'{"schema": "gpufleet.ollama_bundle/1", "models": [{"name": "tiny:1b", "digest": ""}], "blobs": []}',
     b'{"schema": "gpufleet.ollama_bundle/1", "models": [], "blobs": [{"digest": 3, "size": 3}]}'],
)  # fmt: skip
def test_index_that_cannot_be_used_is_left_alone(tmp_path, base, index):
    (tmp_path / "x.tgz").write_bytes(gzip.compress(stores.tar([(content.INDEX, index), *base])))
    result = answer("imported", tmp_path / "x.tgz", tmp_path / "store")
    assert [model["name"] for model in result["models"]] == ["tiny:1b"]
    assert stores.content(tmp_path / "store") == stores.content(tmp_path / "origin")


def test_foreign_gigabytes_are_not_unpacked(tmp_path, base, monkeypatch):
    monkeypatch.setattr(content, "_MAX_FOREIGN_BYTES", 1000)
    data = gzip.compress(stores.tar([*base, ("home/film.mkv", bytes(5000))]))
    assert "more than 1000 bytes of files that belong to no store" in refusal(tmp_path, data)


def test_endless_members(tmp_path, base, monkeypatch):
    monkeypatch.setattr(members, "_MAX_MEMBERS", 20)
    data = stores.tar([*base, *(("models/x%d" % number, b"") for number in range(20))])
    assert "more than 20 members" in refusal(tmp_path, data)


def test_too_many_bytes_of_manifests(tmp_path, base, monkeypatch):
    monkeypatch.setattr(content, "_MAX_MANIFESTS_BYTES", 100)
    assert "more than 100 bytes of manifests" in refusal(tmp_path, stores.tar(base))


def test_without_zstd(tmp_path, base, monkeypatch):
    monkeypatch.setattr(zstd, "find", lambda program: None)
    monkeypatch.setattr(zstd.importlib, "import_module", _no_module)
    data = b"\x28\xb5\x2f\xfd" + bytes(600)
    assert "neither the program nor a Python library for it: install the package zstd" in refusal(tmp_path, data)


def _no_module(name: str) -> t.NoReturn:
    raise ImportError(name)


def test_a_member_is_read_in_pieces():
    """No more of an archive is ever in memory than a piece."""
    asked = []

    class Stream(io.BytesIO):
        def read(self, size=-1):
            asked.append(size)
            return super().read(size)

    data = stores.tar([("a", bytes(9 * 1024**2))])
    reader = streams.Reader(Stream(data), "x")
    for member in members.members(reader):
        assert sum(len(piece) for piece in member.pieces()) == 9 * 1024**2
    assert max(asked) == streams.PIECE
