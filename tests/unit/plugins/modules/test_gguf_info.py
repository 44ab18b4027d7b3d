# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gguf_info: what the headers say, and what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.gguf_facts import answer
from ansible_collections.gpufleet.llm.plugins.modules import gguf_info
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.conversion.gguf_bytes import (
    MODEL,
    TENSORS,
    build,
    write_set,
)

TOTAL = sum(len(content) for content in TENSORS.values())


def test_one_file(tmp_path):
    keys = dict(MODEL, **{"general.file_type": 15, "llama.context_length": 4096, "tokenizer.chat_template": "{{ x }}" * 100})
    keys["tokenizer.ggml.tokens"] = ["token"] * 2000
    path = tmp_path / "m.gguf"
    path.write_bytes(build(keys, TENSORS))
    found = answer(str(path), True)
    assert (found["complete"], found["problems"], found["missing"], found["split"]) == (True, [], [], None)
    assert (found["architecture"], found["name"], found["file_type"], found["version"]) == ("llama", "tiny", "Q4_K_M", 3)
    assert found["chat_template"] is True
    assert found["metadata"]["llama.context_length"] == 4096
    assert found["metadata"]["tokenizer.chat_template"] == "text of 700 characters"
    assert found["metadata"]["tokenizer.ggml.tokens"] == "array of 2000"
    assert (found["tensors"], found["parameters"], found["tensor_bytes"]) == (6, TOTAL, TOTAL)
    assert found["tensors_by_type"] == {"I8": {"tensors": 6, "parameters": TOTAL, "bytes": TOTAL}}
    assert found["tensor_list"][1] == {"name": "t1", "type": "I8", "shape": [87], "bytes": 87, "file": "m.gguf"}
    assert found["bytes"] == path.stat().st_size
    json.dumps(found)


@pytest.mark.parametrize("number", [0, 2])
def test_a_set_by_any_of_its_files(tmp_path, number):
    parts = write_set(tmp_path)
    found = answer(str(parts[number]), False)
    assert found["path"] == str(parts[0])
    assert (found["split"], found["complete"], found["tensors"]) == ({"count": 3, "tensors": 6}, True, 6)
    assert [(one["name"], one["size"], one["split_no"], one["tensors"]) for one in found["files"]] == [
        (part.name, part.stat().st_size, index, 2) for index, part in enumerate(parts)
    ]
    assert found["name"] == "tiny"
    assert "split.count" not in found["metadata"] and "tensor_list" not in found


def test_a_set_of_one_is_one_file(tmp_path):
    for keys in (dict(MODEL, **{"split.no": 0, "split.count": 1, "split.tensors.count": 6}), MODEL):
        (tmp_path / "m-00001-of-00001.gguf").write_bytes(build(keys, TENSORS))
        found = answer(str(tmp_path / "m-00001-of-00001.gguf"), False)
        assert (found["complete"], found["split"], found["tensors"]) == (True, None, 6)


def lose(parts: t.List[Path]) -> None:
    parts[0].unlink()


def cut(parts: t.List[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes()[:-40])


def cut_header(parts: t.List[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes()[:60])


def swap(parts: t.List[Path]) -> None:
    first, second = parts[1].read_bytes(), parts[2].read_bytes()
    parts[1].write_bytes(second)
    parts[2].write_bytes(first)


def replace(parts: t.List[Path]) -> None:
    parts[1].write_bytes(write_set(parts[0].parent / "others", count=2)[1].read_bytes())


def drop(parts: t.List[Path]) -> None:
    keys = {"split.no": 1, "split.count": 3, "split.tensors.count": 6}
    parts[1].write_bytes(build(keys, {"t2": TENSORS["t2"]}))


def add_key(parts: t.List[Path]) -> None:
    keys = {"split.no": 1, "split.count": 3, "split.tensors.count": 6, "llama.rope.scale": 2}
    parts[1].write_bytes(build(keys, {name: TENSORS[name] for name in ("t2", "t3")}))


def whole(parts: t.List[Path]) -> None:
    parts[1].write_bytes(build(MODEL, TENSORS))


def join(parts: t.List[Path]) -> None:
    parts[2].rename(parts[2].parent / "m.gguf")
    parts[2] = parts[2].parent / "m.gguf"


@pytest.mark.parametrize(
    "change, words",
    [
        (lose, "m-00001-of-00003.gguf is missing"),
        (cut, r"m-00002-of-00003.gguf is truncated: \d+ bytes expected, \d+ found"),
        (cut_header, "m-00002-of-00003.gguf is truncated inside its header at 60 bytes"),
        (swap, "m-00002-of-00003.gguf was renamed: its header says that it is file 3"),
        (replace, "m-00001-of-00003.gguf and .*m-00002-of-00003.gguf are of two different sets"),
        (drop, "the 3 files from .*m-00001-of-00003.gguf on have 5 tensors, and their headers say 6"),
        (add_key, "the first does not have the key llama.rope.scale of the second, which would be lost"),
        (whole, "m-00002-of-00003.gguf is a whole GGUF file and no part of a set: its header has no split.no"),
        (join, "m.gguf is file 3 of 3 of a set, and its name does not say so"),
    ],
)
def test_problems(tmp_path, change, words):
    import re

    parts = write_set(tmp_path)
    change(parts)
    found = answer(str(parts[2]), False)
    assert found["complete"] is False
    assert re.search(words, "\n".join(found["problems"])), found["problems"]
    assert found["missing"] == (["m-00001-of-00003.gguf"] if change is lose else [])
    assert found["architecture"] == (None if change in (lose, join) else "llama")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("m.gguf", b"<!DOCTYPE html>", "is not a GGUF file: it starts with b'<!DO'"),
        ("m.gguf", b"GGUF", "is truncated inside its header"),
        ("m.gguf", None, "does not exist on the host"),
        (".", None, "is no file: name one file of the model"),
    ],
)
def test_errors(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(GpufleetError, match=words):
        answer(str(tmp_path / name), False)
    with pytest.raises(GpufleetError, match="give an absolute path"):
        answer("m.gguf", False)


def test_alone_with_json_on_standard_input(tmp_path):
    (tmp_path / "m.gguf").write_bytes(build(MODEL, TENSORS))
    done = subprocess.run(
        [sys.executable, os.path.abspath(gguf_info.__file__)],
        input=json.dumps({"path": str(tmp_path / "m.gguf")}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["gguf"]["complete"] is True
