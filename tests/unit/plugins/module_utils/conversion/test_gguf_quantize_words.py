# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What llama-quantize is asked, and how its words are read. Its real answers are in test_gguf_llama_cpp.py."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.conversion import quantize
from ansible_collections.gpufleet.llm.plugins.module_utils.conversion.quantize import Options
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.gguf import GgufHeader
from ansible_collections.gpufleet.llm.plugins.module_utils.models.safetensors import Tensor


@pytest.mark.parametrize(
    "given, name", [("q4_k_m", "Q4_K_M"), ("Q4-K-M", "Q4_K_M"), ("Q4_K", "Q4_K_M"), ("mxfp4", "MXFP4_MOE"), (" bf16 ", "BF16")]
)
def test_types(given, name):
    assert quantize.file_type(given) == name


@pytest.mark.parametrize("given", ["", None, "Q9_0", "Q4", "COPY", "NVFP4", "2"])
def test_unknown_types(given):
    with pytest.raises(GpufleetError, match="is not known: give one of BF16, F16, F32, IQ1_M"):
        quantize.file_type(given)


@pytest.mark.parametrize(
    "options, words",
    [
        (Options("IQ2_XS"), "type=IQ2_XS needs an importance matrix"),
        (Options("Q8_0", output_tensor_type="Q9"), "output_tensor_type=Q9 is not known: give one of BF16"),
        (Options("Q8_0", token_embedding_type="x"), "token_embedding_type=x is not known"),
        (Options("Q8_0", tensor_types=("ffn_down",)), "give PATTERN=TYPE"),
        (Options("Q8_0", tensor_types=("ffn_down=Q9",)), "tensor_types=ffn_down: the type=Q9 is not known"),
        (Options("Q8_0", tensor_types=("ffn_(=q6_k",)), "is no regular expression"),
    ],
)
def test_options_that_cannot_work(options, words):
    with pytest.raises(GpufleetError, match=words):
        quantize.check_options(options)


def header(alignment=32, tensors=(("a", "F16", (256, 512)),), **metadata):
    metadata = {"general.architecture": "llama", **{key.replace("__", "."): value for key, value in metadata.items()}}
    found = [Tensor(name, dtype, shape, 0) for name, dtype, shape in tensors]
    return GgufHeader(3, metadata, found, 0, alignment, 0, [0] * len(found), {}, [(0, 50)] * len(found))


QUANTIZED = (("a", "Q8_0", (256, 512)), ("b", "F32", (256,)))


@pytest.mark.parametrize(
    "options, found, words",
    [
        (Options("Q8_0"), header(alignment=64), "general.alignment=64"),
        (Options("Q8_0"), header(general__architecture="clip"), "is no language model"),
        (Options("Q8_0"), header(general__type="adapter"), "is no language model"),
        (Options("Q4_0"), header(tensors=QUANTIZED), r"m.gguf is quantized already \(Q8_0\)"),
        (Options("Q4_0", allow_requantize=True), header(tensors=QUANTIZED), ""),
        (Options("MXFP4_MOE"), header(tensors=(("a", "MXFP4", (256, 512)),)), ""),
        (Options("Q4_0"), header(general__type="model"), ""),
    ],
)
def test_models_that_cannot_be_quantized(options, found, words):
    if not words:
        quantize.check_source("m.gguf", found, options)
        return
    with pytest.raises(GpufleetError, match=words):
        quantize.check_source("m.gguf", found, options)


def test_arguments():
    options = Options("Q4_K_M", "/m/i", True, True, "Q8_0", "Q6_K", ("ffn=q6_k", "attn=q8_0"), 3)
    flags = [
        "--allow-requantize",
        "--pure",
        "--imatrix",
        "/m/i",
        "--output-tensor-type",
        "Q8_0",
        "--token-embedding-type",
        "Q6_K",
    ]
    flags += ["--tensor-type", "ffn=q6_k", "--tensor-type", "attn=q8_0"]
    assert quantize.arguments("q", options, "/m/a", "/m/b") == ["q", *flags, "/m/a", "/m/b", "Q4_K_M", "3"]
    assert quantize.arguments("q", Options("Q8_0"), "/m/a", None) == ["q", "--dry-run", "/m/a", "Q8_0"]


LINE = "[   %d/   2] %-36s - [   256,    512,      1,      1], type = %6s, size =     0.25 MiB%s\n"
FALLBACK = "warning: a    - ncols    100 not divisible by 256 (required for type    q6_K) -> falling back to    q8_0\n"
TWO = (("a", "F16", (512, 256)), ("a_tensor_with_a_name_of_more_than_36_letters", "F32", (256,)))


def test_prediction():
    output = FALLBACK + LINE % (1, "a", "f16", " ->     0.14 MiB (q4_K)") + LINE % (2, TWO[1][0], "f32", "")
    found = quantize.predict(output, [header(tensors=TWO)], Options("Q4_K_M"))
    assert found.types == {"a": "Q4_K", TWO[1][0]: "F32"}
    assert found.tensor_bytes == 512 * 144 + 1024
    keys = 24 + 2 * (8 + 8) + len("general.quantization_version") + len("general.file_type") + 2 * 50
    assert found.file_bytes == keys + -keys % 32 + found.tensor_bytes


@pytest.mark.parametrize(
    "output, words",
    [
        (LINE % (1, "a", "f16", " -> 1 MiB (q4_K)"), r"said nothing of the tensor a_tensor_with.* \(1 of 2 are known\)"),
        ("", r"said nothing of the tensor a \(0 of 2"),
        (LINE % (1, "a", "q8_0", " -> 1 MiB (q4_K)") + LINE % (2, TWO[1][0], "f32", ""), "would quantize again what is Q8_0"),
        (
            LINE % (1, "a", "f16", " -> 1 MiB (q3_X)") + LINE % (2, TWO[1][0], "f32", ""),
            "tensors of type Q3_X, which is not known",
        ),
        (
            LINE % (1, "a", "f16", " -> 1 MiB (q4_K)")
            + LINE % (2, TWO[1][0], "f32", "")
            + "WARNING: actually this will require an imatrix!",
            "needs an importance matrix for some tensors of this model",
        ),
    ],
)
def test_dry_runs_that_refuse(output, words):
    with pytest.raises(GpufleetError, match=words):
        quantize.predict(output, [header(tensors=TWO)], Options("Q4_K_M"))


@pytest.mark.parametrize(
    "size, tensors, words",
    [
        (99, [("a", "Q8_0", 7)], "truncated: 99 bytes, and its header says 100"),
        (100, [("a", "Q4_0", 7)], "other tensors than predicted: a is Q4_0 and should be Q8_0"),
        (100, [], "a is None and should be Q8_0"),
        (100, [("a", "Q8_0", 6)], "tensors of 6 bytes, predicted were 7"),
    ],
)
def test_results_that_are_not_as_predicted(size, tensors, words):
    found = GgufHeader(3, {}, [Tensor(name, dtype, (1,), length) for name, dtype, length in tensors], 100)
    with pytest.raises(GpufleetError, match=words):
        quantize.check_result("x", found, size, quantize.Prediction({"a": "Q8_0"}, 7, 100))


@pytest.mark.parametrize(
    "output, words",
    [
        ("usage: llama-quantize [--help] [--allow-requantize] [--pure]\n ...", "it is too old to know --dry-run"),
        (
            "a\nllama_model_quantize: failed to quantize: unknown model architecture: 'x'\nb",
            "^llama_model_quantize: failed.*'x'$",
        ),
        ("a\nllama_quantize: invalid ftype 'Q2_0'", "invalid ftype 'Q2_0'"),
        ("one\ntwo", "it ended with 3:\none\ntwo"),
    ],
)
def test_reasons(output, words):
    import re

    assert re.search(words, quantize.explain(output, 3))
