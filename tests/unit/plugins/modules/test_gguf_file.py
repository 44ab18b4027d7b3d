# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gguf_file: merged from a set, joined from pieces, refused by name, killed, and nothing to do."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.conversion import merge, request
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.modules import gguf_file
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.conversion.gguf_bytes import (
    MODEL,
    TENSORS,
    build,
    write_pieces,
    write_set,
)


def arguments(**params: t.Any) -> t.Dict[str, t.Any]:
    spec = {name: one.get("default") for name, one in gguf_file.ARGUMENT_SPEC.items()}
    params = dict({"state": "merged"}, **params)
    if "source" in params:
        params["source"] = [str(one) for one in params["source"]]
    return dict(spec, **{name: str(value) if isinstance(value, Path) else value for name, value in params.items()})


def run(check: bool = False, **params: t.Any) -> t.Dict[str, t.Any]:
    return request.answer(arguments(**params), check_mode=check)


def names(folder: Path) -> t.List[str]:
    return sorted(os.listdir(folder))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


WHOLE = build(MODEL, TENSORS)
NUMBERED = ["m.gguf.part1of3", "m.gguf.part2of3", "m.gguf.part3of3"]


@pytest.mark.parametrize("count", [2, 3, 6])
def test_a_set_becomes_what_it_was_made_from(tmp_path, count):
    parts = write_set(tmp_path / "set", count)
    path = tmp_path / "new" / "m.gguf"
    result = run(source=[parts[-1]], path=path)
    assert path.read_bytes() == WHOLE
    assert (result["changed"], result["kind"], result["tensors"], result["bytes"]) == (True, "set", 6, len(WHOLE))
    assert result["sha256"] == sha256(WHOLE)
    assert result["predicted_bytes"] == len(WHOLE)
    assert result["inputs"] == [str(part) for part in parts]
    assert names(path.parent) == [".m.gguf.lock", "m.gguf", "m.gguf.gpufleet.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert json.loads((path.parent / "m.gguf.gpufleet.json").read_text()) == result["record"]


@pytest.mark.parametrize("alignment", [16, 64, 4096])
def test_alignment_is_kept(tmp_path, alignment):
    parts = write_set(tmp_path / "set", **{"general.alignment": alignment})
    run(source=parts, path=tmp_path / "m.gguf")
    keys = dict(MODEL, **{"general.alignment": alignment})
    assert (tmp_path / "m.gguf").read_bytes() == build(keys, TENSORS)


def test_other_words_and_versions_are_kept(tmp_path):
    parts = write_set(tmp_path / "set", tensors={"t\u00e9nsor %d" % number: b"%d" % number for number in range(4)}, count=2)
    parts[0].write_bytes(parts[0].read_bytes().replace(b"token 39", b"\xff\xfe\xfd\xfc ok!"))  # no UTF-8
    run(source=parts, path=tmp_path / "m.gguf")
    assert b"\xff\xfe\xfd\xfc ok!" in (tmp_path / "m.gguf").read_bytes()
    assert "t\u00e9nsor 3".encode() in (tmp_path / "m.gguf").read_bytes()


@pytest.mark.parametrize(
    "given",
    [
        NUMBERED,
        ["m.gguf-split-a", "m.gguf-split-b"],
        ["m.gguf.00", "m.gguf.01", "m.gguf.02", "m.gguf.03"],
        ["m.gguf.%d" % number for number in range(1, 15)],
        ["m.gguf.%02d" % number for number in range(100)],  # the header is in many pieces
    ],
)
def test_pieces_become_the_file(tmp_path, given):
    paths = write_pieces(tmp_path, given)
    for source in ([paths[0]], [paths[-1]], paths):
        result = run(source=source, path=tmp_path / "out" / "m.gguf")
        assert (tmp_path / "out" / "m.gguf").read_bytes() == WHOLE
        assert (result["kind"], result["tensors"], result["inputs"]) == ("pieces", 6, [str(path) for path in paths])


def test_the_sum_of_pieces(tmp_path):
    paths = write_pieces(tmp_path, NUMBERED)
    with pytest.raises(GpufleetError, match="make a file with sha256 %s instead of 00000" % sha256(WHOLE)):
        run(source=paths, path=tmp_path / "m.gguf", sha256="0" * 64)
    assert names(tmp_path) == [".m.gguf.lock"] + NUMBERED
    assert run(source=paths, path=tmp_path / "m.gguf", sha256=sha256(WHOLE).upper())["sha256"] == sha256(WHOLE)
    assert run(source=paths, path=tmp_path / "m.gguf")["changed"] is False
    assert run(source=paths, path=tmp_path / "m.gguf", sha256=sha256(WHOLE))["changed"] is False
    with pytest.raises(GpufleetError, match="instead of 00000"):
        run(source=paths, path=tmp_path / "m.gguf", sha256="0" * 64)
    unclear = write_pieces(tmp_path, ["beginning", "middle", "end"])
    assert run(source=unclear, path=tmp_path / "n.gguf", sha256=sha256(WHOLE))["kind"] == "pieces"


# --- refused before anything is written -------------------------------------------------------------


def a_set(folder: Path, *numbers: int) -> t.List[Path]:
    paths = write_set(folder)
    return [paths[number - 1] for number in numbers]


def missing(folder: Path) -> t.List[Path]:
    paths = write_set(folder)
    paths[1].unlink()
    return paths[:1]


def doubled(folder: Path) -> t.List[Path]:
    paths = write_set(folder)
    shutil.copy(paths[1], folder / "copy.gguf")
    (folder / "copy.gguf").rename(folder / "m-00003-of-00003.gguf")
    return paths


def linked(folder: Path) -> t.List[Path]:
    paths = write_set(folder)
    os.link(paths[0], folder / "again.gguf")
    return [paths[0], folder / "again.gguf", paths[2]]


def two_sets(folder: Path, **changes: t.Any) -> t.List[Path]:
    paths = write_set(folder)
    others = write_set(folder.parent / "others", **changes)
    return [paths[0], others[1], paths[2]]


def replaced(folder: Path, **changes: t.Any) -> t.List[Path]:
    """A file of another set under the name of this one's."""
    paths = write_set(folder)
    shutil.copy(write_set(folder.parent / "others", **changes)[1], paths[1])
    return paths


def renamed(folder: Path) -> t.List[Path]:
    paths = write_set(folder)
    paths[1].rename(folder / "x")
    paths[2].rename(paths[1])
    (folder / "x").rename(paths[2])
    return paths


def truncated(folder: Path) -> t.List[Path]:
    paths = write_set(folder)
    paths[2].write_bytes(paths[2].read_bytes()[:-64])
    return paths


def damaged(folder: Path) -> t.List[Path]:
    paths = write_set(folder)
    for path in paths[1:]:
        path.write_bytes(b"<!DOCTYPE html>")
    return paths


def unnamed(folder: Path) -> t.List[Path]:
    paths = write_set(folder)
    paths[2].rename(folder / "last.gguf")
    return [*paths[:2], folder / "last.gguf"]


def joined(folder: Path) -> t.List[Path]:
    folder.joinpath("cat.gguf").write_bytes(b"".join(path.read_bytes() for path in write_set(folder)))
    return [folder / "cat.gguf"]


def half_joined(folder: Path) -> t.List[Path]:
    """The middle of a set without the beginning of a GGUF file, as after a wrong cut."""
    paths = write_set(folder)
    paths[1].write_bytes(paths[1].read_bytes()[4:])
    return paths


def pieces(folder: Path, order: str = "123", count: int = 3, content: t.Optional[bytes] = None) -> t.List[Path]:
    folder.mkdir()
    paths = write_pieces(folder, ["m.gguf.part%dof%d" % (number, count) for number in range(1, count + 1)], content)
    return [paths[int(number) - 1] for number in order]


def pieces_of_a_set(folder: Path) -> t.List[Path]:
    return pieces(folder, content=write_set(folder.parent / "set")[1].read_bytes())


def lacking_piece(folder: Path) -> t.List[Path]:
    paths = pieces(folder)
    paths[1].unlink()
    return paths[:1]


def lacking_last_piece(folder: Path) -> t.List[Path]:
    folder.mkdir()
    paths = write_pieces(folder, ["m.gguf.00", "m.gguf.01", "m.gguf.02"])
    paths[2].unlink()
    return paths[:1]


def piece_twice(folder: Path) -> t.List[Path]:
    folder.mkdir()
    paths = write_pieces(folder, ["m.gguf.part1", "m.gguf.part2"])
    shutil.copy(paths[1], folder / "m.gguf.part02")
    return paths[:1]


def piece_too_many(folder: Path) -> t.List[Path]:
    folder.mkdir()
    paths = write_pieces(folder, ["m.gguf.00", "m.gguf.01"])
    shutil.copy(paths[1], folder / "m.gguf.02")
    return paths[:1]


def unclear(folder: Path) -> t.List[Path]:
    folder.mkdir()
    return write_pieces(folder, ["beginning", "end"])


def of_two_files(folder: Path) -> t.List[Path]:
    paths = pieces(folder)
    other = folder / "n.gguf.part2of3"
    paths[1].rename(other)
    return [paths[0], other, paths[2]]


def with_key(folder: Path) -> t.List[Path]:
    """A later file with a key that the first does not have."""
    paths = write_set(folder)
    keys = {"split.no": 2, "split.count": 3, "split.tensors.count": 6, "llama.rope.scale": 2}
    paths[2].write_bytes(build(keys, {name: TENSORS[name] for name in ("t4", "t5")}))
    return paths


def set_of_one(folder: Path, cut: int = 0) -> t.List[Path]:
    path = write_set(folder, 1)[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
    return [path]


def mixed(folder: Path) -> t.List[Path]:
    return [*a_set(folder, 1, 2), *pieces(folder.parent / "pieces", "2")]


def models(folder: Path) -> t.List[Path]:
    folder.mkdir()
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(WHOLE)
    return [folder / "a.gguf", folder / "b.gguf"]


def pages(folder: Path) -> t.List[Path]:
    folder.mkdir()
    return write_pieces(folder, NUMBERED, b"<!DOCTYPE html><html></html>")


def one_whole(folder: Path) -> t.List[Path]:
    return models(folder)[:1]


def alignments(folder: Path) -> t.List[Path]:
    paths = write_set(folder)
    paths[0].write_bytes(write_set(folder.parent / "others", **{"general.alignment": 64})[0].read_bytes())
    return paths


MORE = {"t%d" % number: b"x" for number in range(9)}
SHIFTED = {"t%d" % number: b"x" for number in range(1, 7)}


@pytest.mark.parametrize(
    "make, words",
    [
        (missing, r"m-00002-of-00003.gguf is missing: the model is in 3 parts"),
        (lambda folder: a_set(folder, 1, 3), r"number 2 of the set of 3 files is missing beside m-00001"),
        (doubled, r"m-00003-of-00003.gguf was renamed: its header says that it is file 2 of 3"),
        (linked, r"again.gguf is given twice: .*m-00001-of-00003.gguf is the same file"),
        (lambda folder: a_set(folder, 1, 2, 2, 3), r"m-00002-of-00003.gguf is given twice$"),
        (lambda folder: a_set(folder, 1, 3, 2), r"the order is wrong: give m-00001-of-00003.gguf, m-00002-.*, m-00003"),
        (lambda folder: two_sets(folder, stem="n"), r"are of two different sets: their names or directories differ"),
        (two_sets, r"are of two different sets: their names or directories differ"),
        (lambda folder: replaced(folder, count=2), r"are of two different sets: split.count is 3 and 2"),
        (lambda folder: replaced(folder, tensors=MORE), r"are of two different sets: split.tensors.count is 6 and 9"),
        (lambda folder: replaced(folder, tensors=SHIFTED), r"are of two different sets: both have the tensor t4"),
        (lambda folder: replaced(folder, **{"general.name": "other"}), r"general.name is 'tiny' and 'other'"),
        (renamed, r"m-00002-of-00003.gguf was renamed: its header says that it is file 3 of 3"),
        (truncated, r"m-00003-of-00003.gguf is truncated: \d+ bytes expected, \d+ found"),
        (damaged, r"m-00002-of-00003.gguf is named as a file of a set, and does not begin as GGUF does"),
        (
            half_joined,
            r"m-00002-of-00003.gguf is named as a file of a set, and does not begin as GGUF does \(it begins with b'.x03",
        ),
        (unnamed, r"last.gguf is file 3 of 3 of a set, and its name does not say so"),
        (joined, r"cat.gguf is file 1 of 3 of a set, and its name does not say so"),
        (with_key, r"first does not have the key llama.rope.scale of the second, which would be lost"),
        (set_of_one, r"m-00001-of-00001.gguf is one whole file already"),
        (alignments, r"general.alignment=64 and .*00002-of-00003.gguf does not say so"),
        (pieces_of_a_set, r"make file 2 of 3 of a gguf-split set. Join the pieces of each file of the set with cat"),
        (lacking_piece, r"number 2 of 3 pieces is missing beside m.gguf.part1of3"),
        (lacking_last_piece, r"have \d+ bytes together, and their header says \d+: pieces are missing"),
        (piece_twice, r"number 2 of 2 pieces is there twice: m.gguf.part02 and m.gguf.part2"),
        (piece_too_many, r"a piece is there twice, or is of another file"),
        (lambda folder: pieces(folder, "132"), r"the order is wrong: give m.gguf.part1of3, m.gguf.part2of3, m.gguf.part3of3"),
        (
            lambda folder: pieces(folder, "213"),
            r"m.gguf.part1of3 begins as GGUF does, so it is the first piece, and m.gguf.part2of3",
        ),
        (unclear, r"the name of beginning, end does not say which piece of a file it is"),
        (of_two_files, r"part1of3 and .*n.gguf.part2of3 are pieces of different files"),
        (mixed, r"begin as GGUF does and m.gguf.part2of3 do not: these are parts of different models"),
        (models, r"a.gguf is a whole GGUF file and no part of a set: its header has no split.no"),
        (pages, r"m.gguf.part1of3 does not begin as GGUF does \(it begins with b'<!DO'\), and no other part does"),
        (lambda folder: pieces(folder, "1", 1), r"m.gguf.part1of1 is one whole file already"),
        (one_whole, r"a.gguf is one whole file already"),
        (lambda folder: [folder / "nothing.gguf"], r"nothing.gguf does not exist"),
    ],
)
def test_refused_by_name(tmp_path, make, words):
    source = make(tmp_path / "in")
    path = tmp_path / "out" / "m.gguf"
    with pytest.raises(GpufleetError, match=words):
        run(source=source, path=path)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"source": []}, "source is empty"),
        ({"source": ["m.gguf"]}, "source=m.gguf: give an absolute path"),
        ({"path": "m.gguf"}, "path=m.gguf: give an absolute path"),
        ({"path": "/x/m.bin"}, "name one file that ends in .gguf"),
        ({"path": "/x/m-00001-of-00002.gguf"}, "not as a file of a split set is named"),
        ({"sha256": "12"}, "sha256=12 is no sha256"),
        ({"sha256": "0" * 64}, "sha256 is for the pieces of one file, and .* is of a gguf-split set"),
        ({"type": "Q8_0"}, "type is for state=quantized"),
        ({"pure": True}, "pure is for state=quantized"),
        ({"state": "quantized", "type": "Q9"}, "type=Q9 is not known"),
        ({"state": "quantized", "type": "Q8_0", "sha256": "0" * 64}, "sha256 is for state=merged"),
        ({"state": "quantized", "type": "Q8_0", "threads": -1}, "threads=-1: give a positive number"),
        ({"mode": "rw"}, "mode=rw is not a mode"),
        ({"owner": "nobody-of-that-name"}, "there is no such user"),
    ],
)
def test_options_that_cannot_work(tmp_path, changes, words):
    parts = write_set(tmp_path / "in")
    with pytest.raises(GpufleetError, match=words):
        run(**dict({"source": parts, "path": tmp_path / "out" / "m.gguf"}, **changes))
    assert not (tmp_path / "out").exists()


def test_output_among_the_inputs(tmp_path):
    parts = write_set(tmp_path / "in")
    os.link(parts[1], tmp_path / "in" / "m.gguf")
    with pytest.raises(GpufleetError, match="is one of its own sources"):
        run(source=parts, path=tmp_path / "in" / "m.gguf")


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda folder: pieces(folder)[:1], "is a piece of a file that was cut up: join the pieces first|is truncated inside"),
        (missing, "m-00002-of-00003.gguf is missing"),
        (joined, "its name does not say so"),
        (lambda folder: damaged(folder)[:1], "m-00002-of-00003.gguf is not a GGUF file"),
        (lambda folder: truncated(folder)[:1], "m-00003-of-00003.gguf is truncated"),
        (lambda folder: a_set(folder, 1, 2, 3), "name one file"),
        (lambda folder: set_of_one(folder, 64), "m-00001-of-00001.gguf is truncated: "),
        (lambda folder: with_key(folder)[:1], "does not have the key llama.rope.scale"),
        (lambda folder: pages(folder)[:1], "part1of3 is a piece of a file"),
        (lambda folder: [folder / "nothing.gguf"], "nothing.gguf is missing"),
    ],
)
def test_what_cannot_be_quantized(tmp_path, make, words):
    with pytest.raises(GpufleetError, match=words):
        run(source=make(tmp_path / "in"), path=tmp_path / "out" / "m.gguf", state="quantized", type="Q8_0")
    assert not (tmp_path / "out").exists()


def test_a_set_of_one_is_quantized_as_one_file(tmp_path):
    """llama-quantize is asked, which is none here: nothing was refused before."""
    source = set_of_one(tmp_path / "in")
    with pytest.raises(GpufleetError, match="said nothing of the tensor t0"):
        run(source=source, path=tmp_path / "m.gguf", state="quantized", type="Q8_0", llama_quantize=shutil.which("true"))


# --- once made ---------------------------------------------------------------------------------------


def test_the_list_of_a_module(tmp_path):
    parts = write_set(tmp_path / "in")
    path = tmp_path / "out" / "m.gguf"
    wish = {"source": [parts[0]], "path": path}
    planned = run(check=True, **wish)
    assert (planned["changed"], planned["predicted_bytes"], planned["bytes"]) == (True, len(WHOLE), None)
    assert planned["diff"] == {"before": "%s: absent\n" % path, "after": "%s: %d bytes\n" % (path, len(WHOLE))}
    assert not path.parent.exists()
    made = run(**wish)
    assert made["diff"]["after"] == "%s: %d bytes\nmerged from %s\n" % (path, len(WHOLE), parts[0])
    before = path.stat()
    again = run(**wish)
    assert (again["changed"], again["diff"]["before"]) == (False, again["diff"]["after"])
    assert run(check=True, **wish)["changed"] is False
    assert path.stat() == before
    # Changed: another model under the same names.
    for part in write_set(tmp_path / "in", tensors=dict(TENSORS, t5=b"new")):
        os.utime(part)
    planned = run(check=True, **wish)
    assert planned["changed"] and "has changed" in planned["msg"]
    assert path.stat() == before
    assert run(**wish)["changed"] is True
    assert path.read_bytes() == build(MODEL, dict(TENSORS, t5=b"new"))
    # The parts may go.
    shutil.rmtree(tmp_path / "in")
    assert run(**wish)["changed"] is False


def test_a_second_run_reads_nothing(tmp_path, monkeypatch):
    parts = write_set(tmp_path / "in")
    run(source=parts, path=tmp_path / "m.gguf")
    for name in ("look", "merge", "program"):
        monkeypatch.delattr(request, name)
    monkeypatch.delattr(request, "hash_file")
    began = time.monotonic()
    assert run(source=parts, path=tmp_path / "m.gguf")["changed"] is False
    assert time.monotonic() - began < 0.05


def test_a_copy_is_read_once(tmp_path):
    write_set(tmp_path / "in")
    run(source=[tmp_path / "in" / "m-00001-of-00003.gguf"], path=tmp_path / "in" / "m.gguf")
    os.rename(tmp_path / "in", tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "in")  # keeps dates, as rsync -a does
    wish = {"source": [tmp_path / "in" / "m-00001-of-00003.gguf"], "path": tmp_path / "in" / "m.gguf"}
    assert "would read" in run(check=True, **wish)["msg"]
    result = run(**wish)
    assert result["changed"] and "it is what was recorded" in result["msg"]
    assert run(**wish)["changed"] is False
    # One flipped byte is found out: that is another file.
    content = bytearray(WHOLE)
    content[-40] ^= 1
    (tmp_path / "in" / "m.gguf").write_bytes(content)
    with pytest.raises(GpufleetError, match=r"is not the file that .*/m.gguf.gpufleet.json knows: set force"):
        run(**wish)
    assert (tmp_path / "in" / "m.gguf").read_bytes() == content
    assert run(force=True, **wish)["changed"] is True
    assert (tmp_path / "in" / "m.gguf").read_bytes() == WHOLE


def test_a_file_of_somebody_else(tmp_path):
    parts = write_set(tmp_path / "in")
    path = tmp_path / "m.gguf"
    path.write_bytes(b"precious")
    for check in (True, False):
        with pytest.raises(GpufleetError, match=r"is there \(8 bytes\) and was not made by this module: set force"):
            run(check=check, source=parts, path=path)
    assert path.read_bytes() == b"precious"
    assert run(source=parts, path=path, force=True)["changed"] is True
    assert path.read_bytes() == WHOLE
    # The very file that would be made is taken over.
    (tmp_path / "m.gguf.gpufleet.json").unlink()
    before = path.stat()
    result = run(source=parts, path=path)
    assert result["changed"] and "was there already and is what the parts make" in result["msg"]
    assert path.stat().st_ino == before.st_ino
    assert names(tmp_path) == [".m.gguf.lock", "in", "m.gguf", "m.gguf.gpufleet.json"]
    assert run(source=parts, path=path)["changed"] is False


@pytest.mark.parametrize("content", [b"precious", bytes(len(WHOLE))])
@pytest.mark.parametrize("other", [False, True])
def test_a_record_that_was_left_allows_nothing(tmp_path, content, other):
    """Also where the model is another one now, and where the file is as large as the one that was made."""
    parts = write_set(tmp_path / "in")
    path = tmp_path / "m.gguf"
    run(source=parts, path=path)
    path.unlink()
    path.write_bytes(content)
    if other:
        parts = write_set(tmp_path / "other", 2)
    for check in (True, False) if other or len(content) == 8 else (False,):
        with pytest.raises(GpufleetError, match=r"is there \(%d bytes\) and is not the file that" % len(content)):
            run(check=check, source=parts, path=path)
    assert path.read_bytes() == content
    assert run(source=parts, path=path, force=True)["changed"] is True
    assert path.read_bytes() == WHOLE


def test_what_was_made_is_replaced_wherever_it_was_copied_from(tmp_path):
    path = tmp_path / "m.gguf"
    run(source=write_set(tmp_path / "in"), path=path)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    other = write_set(tmp_path / "other", tensors=dict(TENSORS, t5=b"new"))
    assert run(source=other, path=path)["changed"] is True
    assert path.read_bytes() == build(MODEL, dict(TENSORS, t5=b"new"))


def test_a_file_that_comes_while_it_is_made(tmp_path, monkeypatch):
    parts = write_set(tmp_path / "in")
    path = tmp_path / "m.gguf"
    write = merge.write

    def disturbed(wanted: merge.Layout, new: str) -> int:
        path.write_bytes(b"precious")
        return write(wanted, new)

    monkeypatch.setattr(merge, "write", disturbed)
    with pytest.raises(GpufleetError, match="m.gguf was put there while this run made it: set force"):
        run(source=parts, path=path)
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == [".m.gguf.lock", "in", "m.gguf"]
    assert run(source=parts, path=path, force=True)["changed"] is True


def test_modes(tmp_path):
    parts = write_set(tmp_path / "in")
    path = tmp_path / "m.gguf"
    run(source=parts, path=path, mode="0640")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    planned = run(check=True, source=parts, path=path)
    assert planned["changed"] and "would set owner, group or mode" in planned["msg"]
    before = path.stat()
    assert run(source=parts, path=path, mode="0600")["changed"] is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert run(source=parts, path=path, mode="0600")["changed"] is False


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    parts = write_set(tmp_path / "in")
    monkeypatch.setattr(request.target, "free_bytes", lambda _path: 1000)
    with pytest.raises(
        GpufleetError, match=r"needs \d+ bytes .*, where 1000 bytes are free: free %d bytes" % (len(WHOLE) - 1000)
    ) as error:
        run(source=parts, path=tmp_path / "out" / "m.gguf")
    assert error.value.details == {"needed_bytes": len(WHOLE), "short_bytes": len(WHOLE) - 1000}
    assert not (tmp_path / "out").exists()


def test_a_disk_that_writes_other_bytes(tmp_path, monkeypatch):
    parts = write_set(tmp_path / "in")
    write = merge.write

    def failing(wanted: merge.Layout, path: str) -> int:
        check = write(wanted, path)
        content = bytearray(Path(path).read_bytes())
        content[-33] ^= 4
        Path(path).write_bytes(content)
        return check

    monkeypatch.setattr(merge, "write", failing)
    with pytest.raises(GpufleetError, match="reads back with other bytes than were written"):
        run(source=parts, path=tmp_path / "m.gguf")
    assert names(tmp_path) == [".m.gguf.lock", "in"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EFBIG, errno.ENOMEM])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, code):
    """What was written goes while the lock is held: nobody who waits for it loses a file."""
    parts = write_set(tmp_path / "in")
    path = tmp_path / "m.gguf"
    unlocked = []

    def failing(_wanted: merge.Layout, new: str) -> int:
        Path(new).write_bytes(b"half")
        raise OSError(code, os.strerror(code), new)

    discard = request.target.discard

    def watched(place: t.Any) -> None:
        with open(place.lock_path, "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                unlocked.append(place.new_path)
            except BlockingIOError:
                pass
        discard(place)

    monkeypatch.setattr(merge, "write", failing)
    monkeypatch.setattr(request.target, "discard", watched)
    with pytest.raises((GpufleetError, OSError), match=os.strerror(code)) as error:
        run(source=parts, path=path)
    assert isinstance(error.value, OSError) == (code == errno.ENOMEM)
    assert unlocked == []
    assert names(tmp_path) == [".m.gguf.lock", "in"]


def test_a_part_that_changes_meanwhile(tmp_path, monkeypatch):
    parts = write_set(tmp_path / "in")
    write = merge.write

    def touching(wanted: merge.Layout, path: str) -> int:
        os.utime(parts[1], ns=(1, 1))
        return write(wanted, path)

    monkeypatch.setattr(merge, "write", touching)
    with pytest.raises(GpufleetError, match="m-00002-of-00003.gguf changed while it was read"):
        run(source=parts, path=tmp_path / "m.gguf")
    assert names(tmp_path) == [".m.gguf.lock", "in"]


def test_check_mode_before_the_parts_are_there(tmp_path):
    wish = {"source": [tmp_path / "m.gguf.part1of2"], "path": tmp_path / "m.gguf"}
    result = run(check=True, **wish)
    assert result["changed"] and "is not there yet" in result["msg"] and result["predicted_bytes"] is None
    (tmp_path / "big.gguf").write_bytes(WHOLE)
    wish = {"source": [tmp_path / "big.gguf"], "path": tmp_path / "m.gguf", "state": "quantized", "type": "F16"}
    result = run(check=True, llama_quantize="/nonexistent", **wish)
    assert result["changed"] and "not a program that can be run" in result["warnings"][0]


# --- as a process ------------------------------------------------------------------------------------


def start(params: t.Dict[str, t.Any]) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, os.path.abspath(gguf_file.__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(json.dumps({name: value for name, value in params.items() if value is not None}))
    process.stdin.close()
    process.stdin = None
    return process


def test_alone_with_json_on_standard_input(tmp_path):
    parts = write_set(tmp_path / "in")
    result = json.loads(start(arguments(source=parts, path=tmp_path / "m.gguf")).communicate(timeout=60)[0])
    assert result["changed"] is True
    assert (tmp_path / "m.gguf").read_bytes() == WHOLE
    result = json.loads(start(arguments(source=parts, path=tmp_path / "n.gguf", state="quantized")).communicate(timeout=60)[0])
    assert result["failed"] and "type" in result["msg"]


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    """What has the name is whole, and one run completes."""
    chance = random.Random(6)
    tensors = {"t%d" % number: chance.randbytes(1_000_000) for number in range(12)}
    whole = build(MODEL, tensors)
    parts = write_set(tmp_path / "in", tensors=tensors)
    path = tmp_path / "m.gguf"
    wish = arguments(source=parts, path=path)
    began = time.monotonic()
    start(wish).communicate(timeout=60)
    takes = time.monotonic() - began
    hit = 0
    for number in range(8):
        for name in names(tmp_path):
            if name != "in" and number % 2 == 0:
                (tmp_path / name).unlink()
        os.utime(parts[0])
        process = start(wish)
        time.sleep(takes * chance.uniform(0.2, 1))
        process.kill()
        process.communicate(timeout=60)
        hit += process.returncode != 0
        assert not path.exists() or path.read_bytes() == whole
        result = request.answer(wish, check_mode=False)
        assert path.read_bytes() == whole
        assert request.answer(wish, check_mode=False)["changed"] is False
        assert result["record"]["result"]["sha256"] == sha256(whole)
        assert ".m.gguf.new" not in names(tmp_path)
    assert hit > 3


def test_killed_between_record_and_name(tmp_path, monkeypatch):
    parts = write_set(tmp_path / "in")
    path = tmp_path / "m.gguf"

    def killed(_place: t.Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(request.target, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            run(source=parts, path=path)
    assert names(tmp_path) == [".m.gguf.lock", ".m.gguf.new", "in", "m.gguf.gpufleet.json"]
    with monkeypatch.context() as patch:
        patch.delattr(merge, "write")
        assert "would give" in run(check=True, source=parts, path=path)["msg"]
        result = run(source=parts, path=path)
    assert result["changed"] and "completed what an earlier run had made" in result["msg"]
    assert path.read_bytes() == WHOLE
    assert run(source=parts, path=path)["changed"] is False


def test_killed_before_the_name_and_another_file_came(tmp_path, monkeypatch):
    """The file that was to be replaced is replaced by the next run, any other is kept."""
    path = tmp_path / "m.gguf"
    run(source=write_set(tmp_path / "first", 2), path=path)
    parts = write_set(tmp_path / "in", tensors=dict(TENSORS, t5=b"new"))

    def killed(_place: t.Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(request.target, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            run(source=parts, path=path)
    assert path.read_bytes() == WHOLE
    before = path.stat()
    path.rename(tmp_path / "old")
    path.write_bytes(b"precious")
    with pytest.raises(GpufleetError, match="is not the file that"):
        run(source=parts, path=path)
    assert path.read_bytes() == b"precious"
    (tmp_path / "old").rename(path)
    assert path.stat().st_ino == before.st_ino
    assert "completed what an earlier run had made" in run(source=parts, path=path)["msg"]
    assert path.read_bytes() == build(MODEL, dict(TENSORS, t5=b"new"))


def test_two_at_a_time(tmp_path):
    parts = write_set(tmp_path / "in", tensors={"t%d" % number: b"%d" % number * 400_000 for number in range(6)})
    runs = [start(arguments(source=parts, path=tmp_path / "m.gguf")) for _number in range(2)]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in runs]
    assert sorted(result["changed"] for result in results) == [False, True]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(tmp_path):
    parts = write_set(tmp_path / "in", tensors={"a": b"a" * 40_000_000, "b": b"b" * 40_000_000}, count=2)
    code = (
        "import sys, json, resource\nsys.argv = ['x']\n"
        "from ansible_collections.gpufleet.llm.plugins.module_utils.conversion import request\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nrequest.answer(json.loads(%r), False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
        % json.dumps(arguments(source=parts, path=tmp_path / "m.gguf"))
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 25_000  # KiB
