# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What llama-quantize is asked, and what its answer means. Decides, does no I/O.

What the result will be comes from llama-quantize's own --dry-run, never from a copy of its rules: which tensor gets which
type changes from version to version, and the version at hand is the one that does the work.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from ..models.gguf import FILE_TYPES, TYPES, GgufHeader, padded

# (llama-quantize makes no file of the others.)
_NOT_MADE = ("NVFP4",)
ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}
FILE_TYPE_NAMES = sorted(name for name in FILE_TYPES.values() if name not in _NOT_MADE)
# Garbage without an importance matrix, and refused by llama.cpp.
NEED_IMATRIX = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "Q2_K_S")
PLAIN = ("F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64")
_SIZES = {name: (numbers, size) for name, numbers, size in TYPES.values()}
_LINE = re.compile(r"^\[\s*\d+/\s*\d+\]\s+(?P<name>\S+)\s+- \[.*?\], type =\s*(?P<type>\w+), size =.*?(?:\((?P<to>\w+)\))?$")
_NEEDS_IMATRIX = "will require an imatrix"
_KEYS = ("general.quantization_version", "general.file_type")
# What an importance matrix adds to the header: four keys, and the names of two files in at most 127 bytes each.
_IMATRIX_BYTES = 512
_TAIL_LINES = 12


@dataclass(frozen=True)
class Options:
    """How to quantize."""

    type: str
    imatrix: t.Optional[str] = None
    allow_requantize: bool = False
    pure: bool = False
    output_tensor_type: t.Optional[str] = None
    token_embedding_type: t.Optional[str] = None
    tensor_types: t.Tuple[str, ...] = ()
    threads: int = 0


@dataclass(frozen=True)
class Prediction:
    types: t.Dict[str, str]  # of each tensor of the result
    tensor_bytes: int
    file_bytes: int


def file_type(name: t.Optional[str]) -> str:
    """The type as llama-quantize spells it."""
    label = str(name or "").strip().upper().replace("-", "_")
    label = ALIASES.get(label, label)
    if label not in FILE_TYPE_NAMES:
        raise GpufleetError("type=%s is not known: give one of %s" % (name, ", ".join(FILE_TYPE_NAMES)))
    return label


def tensor_type(name: str, option: str) -> str:
    label = name.strip().upper()
    if label not in _SIZES:
        raise GpufleetError("%s=%s is not known: give one of %s" % (option, name, ", ".join(sorted(_SIZES))))
    return label


def check_options(options: Options) -> None:
    """What cannot work whatever the model is."""
    if options.type in NEED_IMATRIX and not options.imatrix:
        raise GpufleetError(
            "type=%s needs an importance matrix, without one the model talks nonsense: give imatrix, or a type of more bits "
            "such as Q2_K or Q3_K_S" % options.type
        )
    for name, option in (
        (options.output_tensor_type, "output_tensor_type"),
        (options.token_embedding_type, "token_embedding_type"),
    ):
        if name is not None:
            tensor_type(name, option)
    for one in options.tensor_types:
        expression, equals, name = one.rpartition("=")
        if not equals or not expression:
            raise GpufleetError("tensor_types=%s: give PATTERN=TYPE, such as ffn_down=q6_k" % one)
        tensor_type(name, "tensor_types=%s: the type" % expression)
        try:
            re.compile(expression)
        except re.error as error:
            raise GpufleetError("tensor_types=%s: %s is no regular expression (%s)" % (one, expression, error)) from None


def check_source(path: str, header: GgufHeader, options: Options) -> None:
    """What cannot work with this model."""
    architecture = header.metadata.get("general.architecture")
    if not architecture or architecture in ("clip", "imatrix") or header.metadata.get("general.type") not in (None, "model"):
        raise GpufleetError(
            "%s is no language model (general.architecture %s, general.type %s): llama-quantize quantizes nothing else"
            % (path, architecture, header.metadata.get("general.type"))
        )
    if header.alignment != 32:
        raise GpufleetError(
            "%s has general.alignment=%d: llama-quantize knows 32 only, and would make a file that cannot be read"
            % (path, header.alignment)
        )
    kinds = sorted({one.dtype for one in header.tensors if one.dtype not in PLAIN})
    if kinds and not options.allow_requantize and not (options.type == "MXFP4_MOE" and kinds == ["MXFP4"]):
        raise GpufleetError(
            "%s is quantized already (%s): quantize the 16-bit model instead. What is lost does not come back, so set "
            "allow_requantize only where there is no other" % (path, ", ".join(kinds))
        )


def arguments(program: str, options: Options, source: str, result: t.Optional[str]) -> t.List[str]:
    """The command; without ``result`` it is the dry run."""
    words = [program]
    if result is None:
        words.append("--dry-run")
    for flag, wanted in (("--allow-requantize", options.allow_requantize), ("--pure", options.pure)):
        if wanted:
            words.append(flag)
    for flag, value in (
        ("--imatrix", options.imatrix),
        ("--output-tensor-type", options.output_tensor_type),
        ("--token-embedding-type", options.token_embedding_type),
    ):
        if value:
            words += [flag, value]
    for one in options.tensor_types:
        words += ["--tensor-type", one]
    words.append(source)
    if result is not None:
        words.append(result)
    words.append(options.type)
    if options.threads:
        words.append(str(options.threads))
    return words


def predict(output: str, headers: t.Sequence[GgufHeader], options: Options) -> Prediction:
    """From what the dry run said: the type of each tensor, and the size of the file to the byte.

    The size is exact but with an importance matrix, whose names llama-quantize adds: then it is at most some hundred bytes less.
    """
    said: t.Dict[str, t.Tuple[str, str]] = {}
    for line in output.splitlines():
        found = _LINE.match(line.strip())
        if found:
            kind = found.group("type").upper()
            said[found.group("name")] = (kind, (found.group("to") or kind).upper())
    tensors = [one for header in headers for one in header.tensors]
    unknown = [one.name for one in tensors if one.name not in said]
    if unknown or len(said) != len(tensors):
        raise GpufleetError(
            "llama-quantize --dry-run said nothing of the tensor %s (%d of %d are known):\n%s"
            % (
                unknown[0] if unknown else sorted(set(said) - {one.name for one in tensors})[0],
                len(said),
                len(tensors),
                tail(output),
            )
        )
    again = sorted({kind for kind, to in said.values() if kind not in PLAIN and to != kind})
    if again and not options.allow_requantize:
        raise GpufleetError("type=%s would quantize again what is %s: set allow_requantize" % (options.type, ", ".join(again)))
    if _NEEDS_IMATRIX in output and not options.imatrix:
        raise GpufleetError("type=%s needs an importance matrix for some tensors of this model: give imatrix" % options.type)
    new = [to for _kind, to in said.values() if to not in _SIZES]
    if new:
        raise GpufleetError("type=%s makes tensors of type %s, which is not known here" % (options.type, new[0]))
    sizes = [_bytes(one.shape, said[one.name][1]) for one in tensors]
    data = sum(padded(size, 32) for size in sizes)
    return Prediction(
        {name: to for name, (_kind, to) in said.items()}, sum(sizes), padded(_header_bytes(headers, options), 32) + data
    )


def _bytes(shape: t.Sequence[int], kind: str) -> int:
    numbers, size = _SIZES[kind]
    count = 1
    for length in shape:
        count *= length
    return count // numbers * size


def _header_bytes(headers: t.Sequence[GgufHeader], options: Options) -> int:
    """The header of the first file without the split's keys, with two keys more, and all tensors."""
    first = headers[0]
    size = 24 + sum(end - start for key, (start, end) in first.key_spans.items() if not key.startswith("split."))
    size += sum(8 + len(key) + 8 for key in _KEYS if key not in first.metadata)
    size += sum(end - start for header in headers for start, end in header.tensor_spans)
    return size + (_IMATRIX_BYTES if options.imatrix else 0)


def check_result(path: str, header: GgufHeader, size: int, wanted: Prediction) -> None:
    """GpufleetError unless the file is what was predicted."""
    if size < header.file_bytes:
        raise GpufleetError("%s came out truncated: %d bytes, and its header says %d" % (path, size, header.file_bytes))
    found = {one.name: one.dtype for one in header.tensors}
    if found != wanted.types:
        different = sorted(name for name in set(found) | set(wanted.types) if found.get(name) != wanted.types.get(name))
        raise GpufleetError(
            "%s came out with other tensors than predicted: %s is %s and should be %s"
            % (path, different[0], found.get(different[0]), wanted.types.get(different[0]))
        )
    total = sum(one.bytes for one in header.tensors)
    if total != wanted.tensor_bytes:
        raise GpufleetError("%s came out with tensors of %d bytes, predicted were %d" % (path, total, wanted.tensor_bytes))


def explain(output: str, code: int) -> str:
    """Why llama-quantize failed, in its words."""
    if "usage:" in output and "--dry-run" not in output:
        return "it is too old to know --dry-run: give a llama-quantize of 2026"
    for words in ("unknown model architecture", "invalid ftype", "failed to quantize:"):
        for line in output.splitlines():
            if words in line:
                return line.strip()
    return "it ended with %d:\n%s" % (code, tail(output))


def tail(output: str) -> str:
    return "\n".join(line.rstrip() for line in output.strip().splitlines()[-_TAIL_LINES:])
