# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models in directories: true sizes, completeness, damage."""

from __future__ import annotations

import json
import struct
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config
from ansible_collections.gpufleet.llm.plugins.module_utils.models.source import describe_local
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.models import builders

TOTAL = 2 * (2 * 100 * 64 + 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64 + 2 * 64))


def test_a_whole_model(tmp_path: Path) -> None:
    found = describe_local(str(builders.write(tmp_path, builders.model_files())))
    assert (found["format"], found["parameters_source"]) == ("safetensors", "headers")
    assert found["weight_bytes"]["total"] == TOTAL == 2 * found["parameters"]
    assert found["weight_bytes"]["by_file"] == {"model.safetensors": TOTAL}
    assert found["weight_bytes"]["by_dtype"] == {"bfloat16": TOTAL}
    assert found["generation"] == {"max_new_tokens": 40}
    assert found["chat_template"] is True
    assert found["source"] == str(tmp_path)
    assert {"path": "config.json", "size": len(builders.model_files()["config.json"])} in found["files"]
    assert (found["complete"], found["problems"], found["warnings"]) == (True, [], [])


def test_headers_and_formulas_split_alike(tmp_path: Path) -> None:
    by_header = describe_local(str(builders.write(tmp_path, builders.sharded_files())))
    by_formula = facts_from_config(builders.CONFIG)
    assert len(by_header["weight_bytes"]["by_file"]) == 2
    for ranks in (1, 2, 4):
        assert builders.ranked(by_header, ranks) == builders.ranked(by_formula, ranks)
    dims = {group["name"]: group["dims"] for group in by_header["tensor_groups"]}
    assert dims["mlp.down"] == {"in": 128, "out": 64}


def test_a_head_that_is_stored_though_tied_is_not_counted(tmp_path: Path) -> None:
    found = describe_local(str(builders.write(tmp_path, builders.model_files(tie_word_embeddings=True))))
    assert found["weight_bytes"]["total"] == TOTAL - 2 * 100 * 64
    assert [group["name"] for group in found["tensor_groups"] if group["place"] == "skipped"] == ["lm_head.copy"]


def test_without_a_stored_head_the_embedding_is_the_head(tmp_path: Path) -> None:
    tensors = builders.llama_tensors()
    del tensors["lm_head.weight"]
    found = describe_local(str(builders.write(tmp_path, builders.model_files(tensors))))
    assert found["tied_embeddings"] is True


def test_prediction_layers_and_buffers_are_not_loaded(tmp_path: Path) -> None:
    tensors = builders.llama_tensors(layers=3)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = ("F32", [8])
    files = builders.model_files(tensors, num_nextn_predict_layers=1)
    found = describe_local(str(builders.write(tmp_path, files)))
    assert found["weight_bytes"]["total"] == TOTAL
    assert found["extra_layers"] == 1
    assert {group["name"] for group in found["tensor_groups"] if group["place"] == "skipped"} == {"mtp"}


def test_names_that_are_not_known_count_whole(tmp_path: Path) -> None:
    tensors = dict(builders.llama_tensors(), **{"model.layers.0.strange.thing": ("BF16", [4])})
    found = describe_local(str(builders.write(tmp_path, builders.model_files(tensors))))
    assert found["weight_bytes"]["total"] == TOTAL + 8
    assert "for example model.layers.0.strange.thing" in found["warnings"][0]


def awq(outputs: int, inputs: int) -> t.Dict[str, t.Tuple[str, t.List[int]]]:
    return {
        "qweight": ("I32", [inputs, outputs // 8]),
        "qzeros": ("I32", [inputs // 32, outputs // 8]),
        "scales": ("F16", [inputs // 32, outputs]),
    }


def fp8(outputs: int, inputs: int) -> t.Dict[str, t.Tuple[str, t.List[int]]]:
    return {"weight": ("F8_E4M3", [outputs, inputs]), "weight_scale_inv": ("F32", [outputs // 32, inputs // 32])}


def nvfp4(outputs: int, inputs: int) -> t.Dict[str, t.Tuple[str, t.List[int]]]:
    return {
        "weight": ("U8", [outputs, inputs // 2]),
        "weight_scale": ("F8_E4M3", [outputs, inputs // 16]),
        "weight_scale_2": ("F32", []),
        "input_scale": ("F32", []),
    }


def packed(outputs: int, inputs: int) -> t.Dict[str, t.Tuple[str, t.List[int]]]:
    return {
        "weight_packed": ("I32", [outputs, inputs // 8]),
        "weight_scale": ("BF16", [outputs, inputs // 32]),
        "weight_shape": ("I64", [2]),
    }


def bitsandbytes(outputs: int, inputs: int) -> t.Dict[str, t.Tuple[str, t.List[int]]]:
    return {
        "weight": ("U8", [outputs * inputs // 2, 1]),
        "weight.absmax": ("F32", [outputs * inputs // 64]),
        "weight.quant_map": ("F32", [16]),
        "weight.quant_state.bitsandbytes__nf4": ("U8", [80]),
    }


@pytest.mark.parametrize(
    "form, settings",
    [
        (awq, {"quant_method": "awq", "bits": 4, "group_size": 32}),
        (fp8, {"quant_method": "fp8", "weight_block_size": [32, 32]}),
        (nvfp4, {"quant_method": "modelopt", "quant_algo": "NVFP4"}),
        (bitsandbytes, {"quant_method": "bitsandbytes", "load_in_4bit": True}),
        (
            packed,
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {
                    "group_0": {
                        "targets": ["Linear"],
                        "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32},
                    }
                },
            },
        ),
    ],
)
def test_quantized_checkpoints_have_their_true_sizes(tmp_path: Path, form: t.Callable, settings: dict) -> None:
    tensors: builders.Shapes = {}
    for name, (dtype, shape) in builders.llama_tensors().items():
        if "proj" in name:
            for leaf, stored in form(*shape).items():
                tensors[name[: -len("weight")] + leaf] = stored
        else:
            tensors[name] = (dtype, shape)
    stored = len(builders.safetensors_bytes(tensors))
    files = builders.model_files(tensors, quantization_config=settings)
    found = describe_local(str(builders.write(tmp_path, files)))
    header = struct.unpack("<Q", files["model.safetensors"][:8])[0] + 8
    assert found["weight_bytes"]["total"] == stored - header
    assert found["parameters"] == TOTAL // 2
    assert found["quantization"]["method"] == settings["quant_method"]
    assert found["warnings"] == []
    formula = facts_from_config(dict(builders.CONFIG, quantization_config=settings))
    assert found["weight_bytes"]["total"] == pytest.approx(formula["weight_bytes"]["total"], rel=0.02)


def break_index(files: t.Dict[str, bytes]) -> None:
    del files["model-00002-of-00002.safetensors"]


def break_without_index(files: t.Dict[str, bytes]) -> None:
    del files["model.safetensors.index.json"]
    del files["model-00001-of-00002.safetensors"]


def break_end(files: t.Dict[str, bytes]) -> None:
    files["model-00001-of-00002.safetensors"] = files["model-00001-of-00002.safetensors"][:-10]


def break_tokenizer(files: t.Dict[str, bytes]) -> None:
    del files["tokenizer.json"]


def add_partial(files: t.Dict[str, bytes]) -> None:
    files["model-00003.safetensors.incomplete"] = b""


@pytest.mark.parametrize(
    "damage, words",
    [
        (break_index, ["model-00002-of-00002.safetensors is missing: model.safetensors.index.json names it."]),
        (break_without_index, ["index.json is missing", "model-00001-of-00002.safetensors is missing"]),
        (break_end, ["model-00001-of-00002.safetensors is truncated: %d bytes expected, %d found."]),
        (break_tokenizer, ["has no tokenizer: none of tokenizer.json, tokenizer.model, tekken.json"]),
        (add_partial, ["model-00003.safetensors.incomplete is a download that has not finished"]),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, damage: t.Callable, words: t.List[str]) -> None:
    files = builders.sharded_files()
    size = len(files["model-00001-of-00002.safetensors"])
    damage(files)
    found = describe_local(str(builders.write(tmp_path, files)))
    assert found["complete"] is False
    assert len(found["problems"]) == len(words)
    for problem, text in zip(found["problems"], words):
        assert (text % (size, size - 10) if "%d" in text else text) in problem


def test_a_partial_checkpoint_is_sized_by_formula(tmp_path: Path) -> None:
    files = builders.sharded_files()
    break_index(files)
    found = describe_local(str(builders.write(tmp_path, files)))
    assert (found["parameters_source"], found["weight_bytes"]["total"]) == ("config", TOTAL)


@pytest.mark.parametrize(
    "names",
    [
        ["tokenizer.model"],
        ["tekken.json"],
        ["vocab.json", "merges.txt"],
        ["spiece.model"],
        ["qwen.tiktoken"],
        ["vocab.txt"],
    ],
)
def test_forms_of_tokenizers(tmp_path: Path, names: t.List[str]) -> None:
    files = builders.model_files()
    del files["tokenizer.json"]
    files.update({name: b"{}" for name in names})
    assert describe_local(str(builders.write(tmp_path, files)))["complete"] is True


def test_files_that_others_cannot_read(tmp_path: Path) -> None:
    builders.write(tmp_path, builders.model_files())
    (tmp_path / "model.safetensors").chmod(0o600)
    found = describe_local(str(tmp_path))
    assert found["complete"] is True
    assert "model.safetensors first, cannot be read by other users" in found["problems"][0]


def test_a_dangling_link_is_a_missing_file(tmp_path: Path) -> None:
    builders.write(tmp_path, builders.sharded_files())
    shard = tmp_path / "model-00001-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(tmp_path / "gone")
    assert "model-00001-of-00002.safetensors is missing" in describe_local(str(tmp_path))["problems"][0]


def test_unchecked(tmp_path: Path) -> None:
    files = builders.sharded_files()
    break_tokenizer(files)
    found = describe_local(str(builders.write(tmp_path, files)), check=False)
    assert (found["complete"], found["problems"]) == (None, [])


def test_pytorch_weights(tmp_path: Path) -> None:
    files = builders.model_files()
    del files["model.safetensors"]
    files["pytorch_model.bin"] = b"\0" * 64
    found = describe_local(str(builders.write(tmp_path, files)))
    assert (found["format"], found["parameters_source"]) == ("pytorch", "config")
    assert found["weight_bytes"]["by_file"] == {"pytorch_model.bin": 64}


def test_weights_that_are_there_twice_count_once(tmp_path: Path) -> None:
    files = builders.model_files()
    files["consolidated.safetensors"] = files["model.safetensors"]
    found = describe_local(str(builders.write(tmp_path, files)))
    assert found["weight_bytes"]["total"] == TOTAL


def header_of(length: int, text: bytes = b"{}") -> bytes:
    return struct.pack("<Q", length) + text


WRONG_SIZE = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}).encode()


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "0 bytes, at least 8 are needed"),
        (b"<!DOCTYPE html><html>", "is not a safetensors file: its header would be"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (header_of(1000), "truncated inside its header: 10 of 1008 bytes"),
        (header_of(4, b"{{{{"), "is not JSON"),
        (header_of(2, b"[]"), "not a JSON object"),
        (header_of(9, b'{"a": {}}'), "describes the tensor a wrongly"),
        (header_of(len(WRONG_SIZE), WRONG_SIZE), r"tensor a \[4\] of F32 takes 4 bytes, which cannot be"),
    ],
)
def test_damaged_headers(tmp_path: Path, content: bytes, words: str) -> None:
    builders.write(tmp_path, dict(builders.model_files(), **{"model.safetensors": content}))
    with pytest.raises(GpufleetError, match=words):
        describe_local(str(tmp_path))


@pytest.mark.parametrize(
    "files, words",
    [
        ({}, "has no config.json: that is not a model's directory"),
        ({"params.json": b"{}"}, "has params.json only"),
        ({"config.json": b'{"hidden'}, "config.json is not valid JSON"),
        ({"config.json": b"[1]"}, "config.json holds a list"),
        ({"config.json": b"{}", "model.safetensors.index.json": b"{}"}, "index.json has no weight_map"),
    ],
)
def test_what_is_no_model(tmp_path: Path, files: t.Dict[str, bytes], words: str) -> None:
    with pytest.raises(GpufleetError, match=words):
        describe_local(str(builders.write(tmp_path, files)))


def test_no_weights(tmp_path: Path) -> None:
    files = builders.model_files()
    del files["model.safetensors"]
    found = describe_local(str(builders.write(tmp_path, files)))
    assert found["complete"] is False
    assert "has no weights" in found["problems"][0]


def test_paths_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(GpufleetError, match="does not exist on the host"):
        describe_local(str(tmp_path / "nothing"))
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(GpufleetError, match="is a file but not a .gguf file"):
        describe_local(str(tmp_path / "model.bin"))


def test_sentence_transformers_embed(tmp_path: Path) -> None:
    found = describe_local(str(builders.write(tmp_path, dict(builders.model_files(), **{"modules.json": b"[]"}))))
    assert found["task"] == "embed"
