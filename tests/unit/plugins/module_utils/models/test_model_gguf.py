# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GGUF files as the gguf library writes them."""

from __future__ import annotations

import struct
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models import gguf as ours
from ansible_collections.gpufleet.llm.plugins.module_utils.models.source import describe_local

gguf = pytest.importorskip("gguf")
numpy = pytest.importorskip("numpy")


def write(path: Path, split: int = 0, dtype: str = "Q8_0", head: bool = True, **more: t.Any) -> t.Dict[str, int]:
    """A small Llama; returns the bytes of each tensor."""
    writer = gguf.GGUFWriter(str(path), "llama", split_max_tensors=split)
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_token_list(["token %d" % number for number in range(2000)])
    writer.add_token_scores([0.0] * 2000)
    writer.add_chat_template("{{ messages }}")
    for key, value in more.items():
        writer.add_uint32("llama." + key.replace("__", "."), value)
    sizes: t.Dict[str, int] = {}
    shapes = {"token_embd": (2000, 64), "output_norm": (64,)}
    if head:
        shapes["output"] = (2000, 64)
    for layer in range(2):
        for name, shape in (
            ("attn_q", (64, 64)),
            ("attn_k", (32, 64)),
            ("attn_v", (32, 64)),
            ("attn_output", (64, 64)),
            ("ffn_gate", (128, 64)),
            ("ffn_up", (128, 64)),
            ("ffn_down", (64, 128)),
            ("attn_norm", (64,)),
            ("ffn_norm", (64,)),
        ):
            shapes["blk.%d.%s" % (layer, name)] = shape
    for name, shape in shapes.items():
        data = numpy.zeros(shape, dtype=numpy.float32)
        if len(shape) > 1:
            kind = gguf.GGMLQuantizationType[dtype]
            data = gguf.quants.quantize(data, kind)
            writer.add_tensor(name + ".weight", data, raw_dtype=kind)
        else:
            writer.add_tensor(name + ".weight", data)
        sizes[name] = data.nbytes
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sizes


def test_facts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model-Q8_0.gguf"
    sizes = write(path)
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    found = describe_local(str(path))
    assert (found["format"], found["model_type"], found["architecture"]) == ("gguf", "llama", "llama")
    assert (found["attention_heads"], found["kv_heads"], found["head_size"]) == (4, 2, 16)
    assert (found["vocab_size"], found["max_position"], found["layers"]["full"]) == (2000, 512, 2)
    assert found["weight_bytes"]["total"] == sum(sizes.values())
    assert found["parameters"] == 2 * 2000 * 64 + 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64 + 2 * 64)
    assert set(found["weight_bytes"]["by_dtype"]) == {"F32", "Q8_0"}
    assert found["quantization"]["format"] == "Q8_0"
    assert found["chat_template"] is True
    assert (found["complete"], found["problems"], found["warnings"]) == (True, [], [])
    kv = next(group for group in found["tensor_groups"] if group["name"] == "attention.kv")
    assert (kv["layers"], kv["heads"], kv["bytes"]) == ([0, 1], 2, sizes["blk.0.attn_k"] + sizes["blk.0.attn_v"])


def test_tied_head(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", head=False)
    assert describe_local(str(tmp_path / "m.gguf"))["tied_embeddings"] is True


@pytest.mark.parametrize("name", sorted({kind.name for kind in gguf.GGMLQuantizationType}))
def test_type_sizes_are_ggmls(name: str) -> None:
    kind = gguf.GGMLQuantizationType[name]
    assert ours.TYPES[int(kind)] == (name,) + tuple(gguf.constants.GGML_QUANT_SIZES[kind])


def test_a_directory_with_one_model(tmp_path: Path) -> None:
    write(tmp_path / "only.gguf")
    assert describe_local(str(tmp_path))["format"] == "gguf"


def test_a_directory_with_two_models_asks_which(tmp_path: Path) -> None:
    write(tmp_path / "one.gguf")
    write(tmp_path / "two.gguf")
    with pytest.raises(GpufleetError, match="holds 2 GGUF models: set file to one of one.gguf, two.gguf"):
        describe_local(str(tmp_path))
    assert describe_local(str(tmp_path), "two.gguf")["weight_bytes"]["by_file"].keys() == {"two.gguf"}
    with pytest.raises(GpufleetError, match="file=three.gguf is not in .* GGUF files there: one.gguf, two.gguf"):
        describe_local(str(tmp_path), "three.gguf")


def test_split_sets(tmp_path: Path) -> None:
    sizes = write(tmp_path / "m.gguf", split=6)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["m-%05d-of-00004.gguf" % number for number in (1, 2, 3, 4)]
    found = describe_local(str(tmp_path / names[2]))
    assert found["weight_bytes"]["total"] == sum(sizes.values())
    assert list(found["weight_bytes"]["by_file"]) == names
    (tmp_path / names[1]).unlink()
    found = describe_local(str(tmp_path))
    assert found["complete"] is False
    assert names[1] + " is missing: the model is split into 4 files" in found["problems"][0]
    (tmp_path / names[0]).unlink()
    with pytest.raises(GpufleetError, match="the first file of a split GGUF model says what the model is"):
        describe_local(str(tmp_path / names[2]))


def test_joined_pieces_are_found_out(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", split=6)
    joined = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
    (tmp_path / "joined.gguf").write_bytes(joined)
    with pytest.raises(GpufleetError, match="is one of 4 pieces of a split model, and its name does not say so"):
        describe_local(str(tmp_path / "joined.gguf"))


def test_truncated_files(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-64])
    found = describe_local(str(path))
    assert found["complete"] is False
    assert "is truncated: %d bytes expected, %d found" % (len(whole), len(whole) - 64) in found["problems"][0]
    path.write_bytes(whole[:5000])
    with pytest.raises(GpufleetError, match="is truncated inside its header at 5000 bytes"):
        describe_local(str(path))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"<!DOCTYPE html>", "is not a GGUF file: it starts with b'<!DO'"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "has GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "m.gguf is big-endian: files of little-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0), "is damaged: 1099511627776 tensors"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 40), "is damaged: a string of 1099511627776 bytes"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "has no general.architecture"),
    ],
)
def test_damaged_headers(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(GpufleetError, match=words):
        describe_local(str(path))


def test_projectors_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "mmproj.gguf"
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(GpufleetError, match="is a clip, not a language model"):
        describe_local(str(path))
