# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tensors of a checkpoint, by their names and true sizes -> tensor groups."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .families import family
from .names import PACKED, PACKED_SUFFIXES, SCALES, Place, classify, split_name
from .safetensors import Tensor
from .shapes import Layer, Shape
from .tensor_groups import DTYPE_BYTES, VOCAB_PADDING, Group, Groups

# Tensors that stay in 32 bits whatever the model's type is.
_KEPT_WIDE = re.compile(r"(e_score_correction_bias|A_log|e_bias|dt_bias)$")


@dataclass
class _Sum:
    """What one layer has of one kind of tensor."""

    parameters: int = 0
    bytes: int = 0
    loaded: int = 0
    widest: int = 0
    dtype: str = ""

    def add(self, tensor: Tensor, parameters: int, size: int, loaded: int) -> None:
        self.parameters += parameters
        self.bytes += size
        self.loaded += loaded
        if size > self.widest:
            self.widest, self.dtype = size, tensor.dtype


def groups_from_tensors(
    tensors: t.Sequence[Tensor],
    shape: Shape,
    formula: t.Sequence[Group],
    bits: t.Optional[int],
    warnings: t.List[str],
    classify: t.Callable[[str], Place] = classify,
) -> t.List[Group]:
    """Groups with the true sizes. ``formula`` are the config's own groups: they know the dims that a file hides.

    ``bits`` of a quantized weight tell how many parameters a packed number holds.
    """
    packed_modules = {split_name(tensor.name)[0] for tensor in tensors if split_name(tensor.name)[1] in SCALES | PACKED}
    sums: t.Dict[tuple, _Sum] = {}
    unknown: t.List[str] = []
    for tensor in tensors:
        module, leaf = split_name(tensor.name)
        place = _resolve(classify(tensor.name), shape)
        if place.name == "":
            continue
        if place.name == "other":
            unknown.append(tensor.name)
        quantized = module in packed_modules and leaf != "bias"
        parameters = _parameters(tensor, leaf, module in packed_modules, bits)
        loaded = _loaded(tensor, shape, place, quantized)
        for name, sharding, share in _parts(place, tensor, leaf, shape, quantized):
            key = (name, place.place, sharding, place.layer, quantized)
            part = sums.setdefault(key, _Sum())
            size = tensor.bytes * share[0] // share[1]
            part.add(tensor, parameters * share[0] // share[1], size, loaded * share[0] // share[1])
    if unknown:
        warnings.append(
            "%d tensors have names that are not known and count as whole on every GPU, for example %s."
            % (len(unknown), unknown[0])
        )
    return _listed(sums, shape, formula)


def tied(tensors: t.Iterable[Tensor], shape: Shape, classify: t.Callable[[str], Place] = classify) -> bool:
    """Whether the head is the embedding: the config says so, or the checkpoint has no head of its own."""
    if shape.tied_embeddings:
        return True
    return not any(classify(tensor.name).name == "lm_head" for tensor in tensors)


def bytes_by_dtype(
    tensors: t.Iterable[Tensor], shape: Shape, classify: t.Callable[[str], Place] = classify
) -> t.Dict[str, int]:
    """Stored bytes of what an engine loads."""
    sums: t.Dict[str, int] = {}
    for tensor in tensors:
        place = _resolve(classify(tensor.name), shape)
        if place.name and place.place != "skipped":
            sums[tensor.dtype] = sums.get(tensor.dtype, 0) + tensor.bytes
    return dict(sorted(sums.items()))


def _resolve(place: Place, shape: Shape) -> Place:
    """What depends on the model and not on the name alone."""
    if place.name == "lm_head" and shape.tied_embeddings:
        return place.moved("skipped", "lm_head.copy")
    if place.place == "layers" and place.layer is not None and place.layer >= len(shape.layers):
        return place.moved("skipped", "mtp")
    return place


def _parts(
    place: Place, tensor: Tensor, leaf: str, shape: Shape, quantized: bool
) -> t.List[t.Tuple[str, str, t.Tuple[int, int]]]:
    """(group, sharding, share of the tensor): fused projections belong to two groups."""
    name, sharding = place.name, place.sharding
    if place.place == "skipped":
        return [(name, "replicated", (1, 1))]
    if place.place == "vision" and _whole_in_tower(tensor, shape):
        return [("vision", "replicated", (1, 1))]
    if name == "attention.qkv" and place.layer is not None:
        layer = shape.layers[place.layer]
        queries = layer.heads * layer.head_size
        rest = layer.kv_heads * (layer.head_size + layer.value_head_size)
        whole = queries + rest
        suffix = ".bias" if leaf == "bias" else ""
        return [
            ("attention.q" + suffix, "tp", (queries, whole)),
            ("attention.kv" + suffix, "kv", (rest, whole)),
        ]
    if leaf in SCALES and (tensor.count() <= 1 or (place.row_parallel and not _two_dimensional(tensor))):
        return [(name, "replicated", (1, 1))]  # one scale for all, or one per output that every rank has
    if leaf == "bias" and not name.endswith("bias") and not name.startswith(("norm", "vision", "moe.experts")):
        return [(name + ".bias", "replicated" if place.row_parallel else sharding, (1, 1))]
    if name == "moe.experts" and (leaf == "bias" or place.row_parallel and tensor.name.endswith("_bias")):
        return [("moe.experts.bias", "replicated" if place.row_parallel else sharding, (1, 1))]
    if name == "norm.linear" and shape.linear and shape.linear.variant == "mamba2":
        return [(name, "tp", (1, 1))]
    if name in ("norm.q", "norm.k") and family(shape.family).qk_norm != "full":
        return [("norm.qk", "replicated", (1, 1))]
    return [(name, sharding, (1, 1))]


def _whole_in_tower(tensor: Tensor, shape: Shape) -> bool:
    """Convolutions, towers that run as Transformers has them, and InternVL's plain projector."""
    plain_projector = shape.model_type.startswith("internvl") and "projector" in tensor.name
    return len(tensor.shape) > 2 or shape.family == "gemma4" or plain_projector


def _two_dimensional(tensor: Tensor) -> bool:
    return len(tensor.shape) > 1 and min(tensor.shape[-2:]) > 1


def _parameters(tensor: Tensor, leaf: str, packed: bool, bits: t.Optional[int]) -> int:
    """How many of the model's parameters a tensor holds."""
    if leaf in SCALES:
        return 0
    count = tensor.count()
    if packed or leaf in PACKED or tensor.name.endswith(PACKED_SUFFIXES):
        if tensor.dtype in ("int32", "uint32") and bits:
            return count * 32 // bits
        if tensor.dtype in ("uint8", "float4_e2m1fn_x2") and tensor.name.endswith(PACKED_SUFFIXES + ("weight",)):
            return count * 2 if tensor.dtype == "uint8" and bits in (4, None) else count
        if tensor.dtype == "uint8" and bits == 4:
            return count * 2
    return count


def _loaded(tensor: Tensor, shape: Shape, place: Place, quantized: bool) -> int:
    """Bytes once an engine holds the tensor."""
    if place.name == "moe.router" and family(shape.family).router_dtype:
        return tensor.count() * int(DTYPE_BYTES[str(family(shape.family).router_dtype)])
    if tensor.name.endswith(".g_idx"):
        return 0
    size = tensor.bytes
    if tensor.dtype == "float32" and not quantized and not _KEPT_WIDE.search(tensor.name):
        size = tensor.count() * 2
    if place.name == "attention.kv" and place.layer is not None and _layer(shape, place).key_is_value:
        size *= 2
    if place.name == "embed.positions" and family(shape.family).encoder:
        rows = tensor.shape[0]
        size = size // rows * (rows + -rows % VOCAB_PADDING)
    return size


def _layer(shape: Shape, place: Place) -> Layer:
    return shape.layers[place.layer or 0]


def _listed(sums: t.Dict[tuple, _Sum], shape: Shape, formula: t.Sequence[Group]) -> t.List[Group]:
    dims: t.Dict[t.Tuple[str, int], t.Dict[str, int]] = {}
    for group in formula:
        if group.dims:
            for layer in group.layers:
                dims[(group.name, layer)] = group.dims
    groups = Groups()
    for (name, place, sharding, layer, quantized), found in sums.items():
        known = dims.get((name, layer))
        groups.add(
            name,
            place,
            sharding,
            found.parameters,
            found.bytes,
            found.dtype,
            layer if place == "layers" else None,
            found.loaded,
            quantized,
            rows=shape.vocab_size if sharding == "vocab" else None,
            heads=shape.layers[layer].kv_heads if sharding == "kv" else None,
            dims=(known["in"], known["out"]) if known else None,
        )
    return groups.listed()
