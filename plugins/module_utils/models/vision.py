# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Vision towers by formula, for the families whose config says enough; what is not counted is said."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .fields import Fields
from .tensor_groups import DTYPE_BYTES, Groups

_AUDIO_KEYS = ("audio_config", "speech_config", "audio_tower_config")


@dataclass(frozen=True)
class Tower:
    """One way to build a vision transformer."""

    gated: bool = False
    biases: bool = True
    norm_bias: bool = True
    patch_bias: bool = True
    frames: int = 1  # a patch spans this many frames
    positions: str = "grid"  # "grid": one per patch; "table": as many as the config says; "": none
    class_token: bool = False
    first_norm: bool = False
    last_norm: bool = False
    layer_scale: bool = False
    replicated: bool = False  # vLLM runs the Transformers module, whole on every GPU
    projector: str = ""


_SIGLIP = Tower(last_norm=True, projector="gemma3")
_CLIP = Tower(patch_bias=False, class_token=True, first_norm=True, projector="llava")
_PIXTRAL = Tower(
    gated=True,
    biases=False,
    norm_bias=False,
    patch_bias=False,
    positions="",
    first_norm=True,
    projector="mistral3",
)
_TOWERS: t.Dict[str, Tower] = {
    "qwen2_vl": Tower(patch_bias=False, frames=2, positions="", projector="qwen"),
    "qwen2_5_vl": Tower(gated=True, norm_bias=False, patch_bias=False, frames=2, positions="", projector="qwen"),
    "qwen3_vl": Tower(frames=2, positions="table", projector="qwen"),
    "gemma3": _SIGLIP,
    "mistral3": _PIXTRAL,
    "llava": _CLIP,
    "llava_next": _CLIP,
    "internvl_chat": Tower(class_token=True, layer_scale=True, projector="internvl"),
    "internvl": Tower(class_token=True, layer_scale=True, projector="internvl"),
    "gemma4": Tower(
        gated=True,
        biases=False,
        norm_bias=False,
        patch_bias=False,
        positions="table",
        replicated=True,
        projector="gemma4",
    ),
}
_ALIASES = {
    "qwen3_vl_moe": "qwen3_vl",
    "qwen3_5": "qwen3_vl",
    "qwen3_5_moe": "qwen3_vl",
    "pixtral": "mistral3",
    "diffusion_gemma": "gemma4",
}


def modalities(config: dict) -> t.List[str]:
    """What goes in: text, and what the config has a tower for."""
    found = ["text"]
    if isinstance(config.get("vision_config"), dict) or isinstance(config.get("visual"), dict):
        found.append("image")
    if config.get("video_token_id") is not None or config.get("video_token_index") is not None:
        found.append("video")
    if any(isinstance(config.get(key), dict) for key in _AUDIO_KEYS):
        found.append("audio")
    return found


@dataclass(frozen=True)
class Items:
    """How an image becomes tokens: the engine profiles itself with the largest one."""

    largest_item_tokens: int
    patches_per_token: float


# From each family's processor: the largest image it makes, in tokens of the language model.
_ITEMS: t.Dict[str, Items] = {
    "qwen2_vl": Items(16384, 4),
    "qwen2_5_vl": Items(16384, 4),
    "qwen3_vl": Items(16384, 4),
    "gemma3": Items(256, 16),
    "gemma4": Items(280, 9),
    "mistral3": Items(3025, 4),
    "llava": Items(576, 1),
    "llava_next": Items(2928, 1),
    "internvl_chat": Items(3328, 4),
    "internvl": Items(3328, 4),
    "llama4": Items(2448, 4),
}
_OTHER_ITEMS = Items(4096, 4)


def encoder(config: dict) -> t.Optional[dict]:
    """What a vision tower's activations follow from, null without one."""
    vision = config.get("vision_config")
    if not isinstance(vision, dict):
        return None
    name = str(config.get("model_type") or "")
    name = _ALIASES.get(name, name)
    fields = Fields(vision)
    width = fields.get("embed_dim") if name == "qwen2_vl" else fields.get("hidden_size")
    if not isinstance(width, int):
        return None
    tower = _TOWERS.get(name)
    items = _ITEMS.get(name, _OTHER_ITEMS)
    return {
        "hidden_size": width,
        "intermediate_size": fields.get("intermediate_size", default=int(width * fields.get("mlp_ratio", default=4))),
        "gated": bool(tower and tower.gated),
        "outputs": 1 + len(fields.get("deepstack_visual_indexes", default=[]) or []),
        "largest_item_tokens": items.largest_item_tokens,
        "patches_per_token": items.patches_per_token,
    }


def add_towers(groups: Groups, config: dict, hidden: int, dtype: str, warnings: t.List[str]) -> None:
    """Add the vision tower's groups, or say that its weights are not counted."""
    vision = config.get("vision_config")
    if isinstance(vision, dict):
        name = str(config.get("model_type") or "")
        tower = _TOWERS.get(_ALIASES.get(name, name))
        if tower and name == "llava" and vision.get("model_type") == "pixtral":
            tower = _PIXTRAL
        if tower and name.startswith("llava") and str(vision.get("model_type")).startswith("siglip"):
            tower = Tower(projector="llava")
        if tower is None or not _add_vision(groups, tower, config, vision, hidden, dtype):
            warnings.append(
                "The vision tower's weights are not counted: no formula for %s. "
                "With the safetensors headers (a directory or a hub id as source) they are." % (name or "this config")
            )
    if "audio" in modalities(config):
        warnings.append("The audio tower's weights are not counted from the config alone.")


def _add_vision(groups: Groups, tower: Tower, config: dict, vision: dict, hidden: int, dtype: str) -> bool:
    fields = Fields(vision)
    qwen2 = config.get("model_type") == "qwen2_vl"
    width = fields.get("embed_dim") if qwen2 else fields.get("hidden_size")
    depth = fields.get("depth", "num_hidden_layers")
    patch = fields.get("patch_size", default=14)
    patch = patch[0] if isinstance(patch, list) else patch
    if not isinstance(width, int) or not isinstance(depth, int):
        return False
    inner = fields.get("intermediate_size", default=int(width * fields.get("mlp_ratio", default=4)))
    if tower.projector == "llava" and config.get("vision_feature_layer", -2) == -2:
        depth -= 1  # the layer after the one whose output is used is not built
    biases = fields.flag("qkv_bias", "attention_bias", default=True) if tower.layer_scale else tower.biases
    norm = 2 * width if tower.norm_bias else width
    matrices = 4 * width * width + (3 if tower.gated else 2) * width * inner
    split = matrices + ((3 * width if biases else 0) + ((2 if tower.gated else 1) * inner if tower.biases else 0))
    whole = 2 * norm + (2 * width if tower.biases else 0) + (2 * width if tower.layer_scale else 0)
    if tower.layer_scale and fields.flag("use_qk_norm", "qk_normalization"):
        whole += 2 * width
    if tower.projector == "gemma4":
        whole += 2 * norm + 2 * (fields.get("head_dim") or 0)
    sharding = "replicated" if tower.replicated else "tp"
    _add(groups, "vision.blocks", depth * split, sharding, dtype)
    _add(groups, "vision.norms", depth * whole, "replicated", dtype)
    _add(groups, "vision.embed", _embedding(tower, fields, width, patch, norm), "replicated", dtype)
    for parameters, how in _projector(tower, config, fields, width, hidden):
        _add(groups, "vision.projector", parameters, how, dtype)
    return True


def _embedding(tower: Tower, fields: Fields, width: int, patch: int, norm: int) -> int:
    count = fields.get("in_channels", "num_channels", "in_chans", default=3) * tower.frames * patch * patch * width
    count += width if tower.patch_bias else 0
    if tower.positions == "grid":
        image = fields.get("image_size", default=896 if tower.projector == "gemma3" else 336)
        image = image[0] if isinstance(image, list) else image
        count += (image // patch) ** 2 * width
    elif tower.positions == "table":
        count += fields.get("num_position_embeddings", default=0) * width
        count += 2 * fields.get("position_embedding_size", default=0) * width  # one table per axis
    if tower.class_token:
        count += 2 * width  # the token and its position
    return count + (norm if tower.first_norm else 0) + (norm if tower.last_norm else 0)


def _projector(tower: Tower, config: dict, fields: Fields, width: int, hidden: int) -> t.List[t.Tuple[int, str]]:
    """What joins the tower to the language model: (parameters, sharding)."""
    if tower.projector == "qwen":
        merged = width * fields.get("spatial_merge_size", default=2) ** 2
        out = fields.get("out_hidden_size", default=hidden)
        mergers = 1 + len(fields.get("deepstack_visual_indexes", default=[]))
        norms = (2 if tower.norm_bias else 1) * (width + (mergers - 1) * merged)
        split = mergers * (merged * merged + merged + merged * out)
        return [(split, "tp"), (norms + mergers * out, "replicated")]
    if tower.projector == "mistral3":
        bias = 2 * hidden if config.get("multimodal_projector_bias") else 0
        merge = config.get("spatial_merge_size", 2) ** 2 if config.get("model_type") == "mistral3" else 0
        norm = width if merge else 0
        return [(width * hidden + hidden * hidden, "tp"), (merge * width * width + norm + bias, "replicated")]
    if tower.projector == "llava":
        return [(width * hidden + hidden * hidden + hidden, "tp"), (hidden, "replicated")]
    if tower.projector == "internvl":
        merged = 4 * width
        return [(2 * merged + merged * hidden + hidden * hidden + 2 * hidden, "replicated")]
    return [(width * hidden + (width if tower.projector == "gemma3" else 0), "replicated")]


def _add(groups: Groups, name: str, parameters: int, sharding: str, dtype: str) -> None:
    size = int(parameters * DTYPE_BYTES[dtype])
    held = parameters * 2 if dtype == "float32" else size
    groups.add(name, "vision", sharding, parameters, size, dtype, loaded=held)
