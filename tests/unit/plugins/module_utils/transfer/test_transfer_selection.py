# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are wanted by default, over the shapes that repositories really have."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.files import ModelFile, check_paths
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.selection import select, unmatched

COMMON = ["config.json", "generation_config.json", "tokenizer.json", "README.md"]


def files(*paths):
    return [ModelFile(path, 10 * 1024**2, sha256="0" * 64) for path in paths]


def chosen(*paths, include=None, exclude=None):
    return [one.path for one in select(files(*paths), include, exclude, "org/model")]


@pytest.mark.parametrize(
    "present, left_out",
    [
        pytest.param(["model.safetensors"], ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"], id="bert"),
        pytest.param(
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
            ["original/consolidated.00.pth", "original/tokenizer.model", ".gitattributes"],
            id="llama",
        ),
        pytest.param(["model-00001-of-00001.safetensors"], ["consolidated.safetensors"], id="mistral, both forms"),
        pytest.param(["consolidated.safetensors", "params.json", "tekken.json"], [], id="mistral, its own form only"),
        pytest.param(["pytorch_model.bin"], ["consolidated.00.pth"], id="pickled only"),
        pytest.param(["consolidated.00.pth", "params.json"], [], id="pth only"),
        pytest.param(["model.safetensors"], ["metal/model.bin", "original/model.safetensors"], id="gpt-oss"),
        pytest.param(
            ["model.safetensors", "1_Pooling/config.json", "2_Dense/pytorch_model.bin"],
            ["onnx/model.onnx", "onnx/model.onnx_data", "openvino/openvino_model.bin", "pytorch_model.bin"],
            id="sentence transformer whose head has no safetensors",
        ),
        pytest.param(["model.safetensors"], ["model-Q4_K_M.gguf"], id="safetensors and GGUF"),
        pytest.param(["model-Q4_K_M.gguf"], [], id="one GGUF"),
        pytest.param(["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"], [], id="one split GGUF"),
        pytest.param(["model-Q4_K_M.gguf", "mmproj-model-f16.gguf"], [], id="GGUF and its projector"),
        pytest.param(
            ["model.safetensors"],
            ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"],
            id="trained",
        ),
    ],
)
def test_default(present, left_out):
    assert chosen(*COMMON, *present, *left_out) == sorted(COMMON + present)


def test_several_ggufs_are_the_users_decision():
    with pytest.raises(GpufleetError) as caught:
        chosen("README.md", "m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf")
    assert str(caught.value) == (
        "org/model holds 2 GGUF models. Set include to the one you want, with the other files it needs: "
        "m-Q4_K_M.gguf (10.0 MiB), m-Q8_0-*.gguf (20.0 MiB)"
    )


@pytest.mark.parametrize(
    "include, exclude, expected",
    [
        (["*Q4*.gguf"], None, ["m-Q4_K_M.gguf"]),
        (["*"], None, [".gitattributes", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "original/a.pth"]),
        (["original/"], None, ["original/a.pth"]),
        (["*"], ["original/", ".*"], ["m-Q4_K_M.gguf", "m-Q8_0.gguf"]),
        (None, ["*Q8*"], ["m-Q4_K_M.gguf"]),
    ],
)
def test_patterns(include, exclude, expected):
    held = ["m-Q4_K_M.gguf", "m-Q8_0.gguf", "original/a.pth", ".gitattributes", "gpufleet.json"]
    assert chosen(*held, include=include, exclude=exclude) == expected


def test_nothing_selected_names_what_there_is():
    with pytest.raises(GpufleetError, match=r"include=\['\*.gguf'\], exclude=\[\]. It holds: config.json$"):
        chosen("config.json", include=["*.gguf"])


def test_unmatched_patterns():
    assert unmatched(files("a.json"), ["*.json", "*.jsno"]) == ["*.jsno"]
    assert unmatched(files("a.json"), None) == []


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a\\b", "a\0b", ""])
def test_paths_that_leave_the_model_are_refused(path):
    with pytest.raises(GpufleetError, match="which is not inside the model"):
        check_paths([ModelFile(path, 1, sha256="0" * 64)], "org/model")
