# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a tensor is, by its name in a checkpoint."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

# Last parts of names that are scales, zero points and the like: stored, but no parameters of the model.
SCALES = frozenset(
    "scales qzeros g_idx weight_scale weight_scale_inv weight_scale_2 scale_inv input_scale weight_shape "
    "weight_zero_point weight_global_scale input_global_scale weight_g_idx k_scale v_scale q_scale output_scale "
    "absmax quant_map nested_absmax nested_quant_map SCB weight_format bitsandbytes__nf4 bitsandbytes__fp4 "
    "gate_up_proj_scales down_proj_scales gate_up_proj_weight_scale down_proj_weight_scale".split()
)
PACKED = frozenset("qweight weight_packed gate_up_proj_blocks down_proj_blocks".split())
PACKED_SUFFIXES = ("qweight", "weight_packed", "_blocks")
# Buffers that some checkpoints carry and no engine loads.
_UNUSED = re.compile(r"(rotary_emb\.inv_freq|rotary_pos_emb\.inv_freq|masked_bias|(?<![a-z_])(attn|attention)\.bias)$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|decoder_layers)\.(\d+)\.")
_TOWER = re.compile(
    r"(?:^|\.)(?:vision_tower|vision_model|visual|vision_encoder|vision_embed_tokens|vision_embedding|image_newline|"
    r"multi_modal_projector|mm_projector|vision_language_adapter|patch_merger|pre_mm_projector_norm|embed_vision|"
    r"mm_patch_merger|vision_projection|mlp1|vit|resampler)\."
)
# What every GPU has whole in a tower: norms, embeddings, convolutions, plain projections.
_TOWER_WHOLE = re.compile(
    r"norm|ln_|embed|pos|patch_conv|merging_layer|mlp1\.|ln_q|cls|class_token|image_newline|mm_input_projection"
)
_TOWER_COLUMN_BIAS = re.compile(r"(qkv|[qkv]_proj|fc1|linear_fc1|gate_proj|up_proj|linear_1|mlp\.0)\.bias$")
_AUDIO = re.compile(r"(?:^|\.)(?:audio_tower|audio_model|audio_encoder|speech_encoder|embed_audio|encoder_projector)\.")
_EMBED = re.compile(r"(?:^|\.)(?:embed_tokens|wte|embed_in|tok_embeddings|word_embeddings|embedding|embeddings)\.")
_HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output|score|classifier)\.(?!dense)")


@dataclass(frozen=True)
class Place:
    """Where a tensor belongs and how it is split. An empty name: not loaded at all."""

    name: str
    place: str = "layers"
    sharding: str = "replicated"
    layer: t.Optional[int] = None
    row_parallel: bool = False

    def moved(self, place: str, name: str) -> Place:
        return replace(self, place=place, name=name, sharding="replicated", layer=None)


# The module's own name -> (group, sharding, row parallel). First match wins.
_MODULES: t.Tuple[t.Tuple[t.Pattern[str], str, str, bool], ...] = tuple(
    (re.compile(pattern), name, sharding, row)
    for pattern, name, sharding, row in (
        (r"indexer\.", "mla.index", "replicated", False),
        (r"\b(q_norm|query_norm|q_layernorm|query_layernorm)$", "norm.q", "tp", False),
        (r"\b(k_norm|key_norm|k_layernorm|key_layernorm)$", "norm.k", "kv", False),
        (r"(linear_attn|mamba|mixer|kda)\.norm$", "norm.linear", "replicated", False),
        (r"shared_expert_gate$", "moe.shared.gate", "replicated", False),
        (r"(shared_experts?|shared_mlp)\..*(down_proj|w2|output_linear)$", "moe.shared", "tp", True),
        (r"(shared_experts?|shared_mlp)\.", "moe.shared", "tp", False),
        (r"experts\b.*(down_proj|w2|linear_2|output_linear)", "moe.experts", "expert", True),
        (r"(experts\b|block_sparse_moe\.(input|output)_linear)", "moe.experts", "expert", False),
        (
            r"(mlp|moe|block_sparse_moe|feed_forward|mixer|ffn)\.(gate|router|gate\.wg|router\.layer|router\.proj|"
            r"router\.classifier)$",
            "moe.router",
            "replicated",
            False,
        ),
        (r"latent_proj$", "moe.latent", "replicated", False),
        (r"router", "moe.router", "replicated", False),
        (
            r"(norm|norm1|norm2|ln_\w+|layernorm\w*|LayerNorm|\w*_norm|\w*layernorm|\w*layer_norm)$",
            "norm",
            "replicated",
            False,
        ),
        (r"q_a_proj$", "mla.q_a", "replicated", False),
        (r"q_b_proj$", "mla.q_b", "tp", False),
        (r"(kv_a_proj_with_mqa|kv_a_proj|fused_qkv_a_proj)$", "mla.kv_a", "replicated", False),
        (r"kv_b_proj$", "mla.kv_b", "tp", False),
        (r"(linear_attn|mamba|conv|mixer|kda)\.out_proj$", "linear_attention.out", "tp", True),
        (r"(linear_attn|mamba|conv|mixer|kda)\.in_proj\w*$", "linear_attention.in", "tp", False),
        (r"(linear_attn|mamba|kda)\.", "linear_attention.other", "tp", False),
        (r"mixer\.(conv1d|dt_proj|x_proj)$", "linear_attention.other", "tp", False),
        (r"(conv\.conv|[qkv]_conv1d)$", "linear_attention.other", "tp", False),
        (r"(f_a_proj|g_a_proj)$", "linear_attention.gate_a", "replicated", False),
        (r"(f_b_proj|g_b_proj|b_proj)$", "linear_attention.gate_b", "tp", False),
        (r"\b(qkv_proj|query_key_value|Wqkv|wqkv|W_pack|c_attn|qkv)$", "attention.qkv", "tp", False),
        (r"\b(q_proj|wq|q_lin|query|q)$", "attention.q", "tp", False),
        (r"\b(k_proj|v_proj|wk|wv|key|value|k|v)$", "attention.kv", "kv", False),
        (r"\b(o_proj|wo)$", "attention.o", "tp", True),
        (
            r"(self_attn|attn|attention|self_attention)\.(output\.)?(dense|out_proj|c_proj|out_lin)$",
            "attention.o",
            "tp",
            True,
        ),
        (r"\b(down_proj|w2|fc2|dense_4h_to_h|fc_out|output\.dense|ffn_down)$", "mlp.down", "tp", True),
        (r"mlp\.c_proj$", "mlp.down", "tp", True),
        (
            r"\b(gate_proj|up_proj|gate_up_proj|w1|w3|fc1|dense_h_to_4h|c_fc|fc_in|intermediate\.dense)$",
            "mlp.gate_up",
            "tp",
            False,
        ),
        (r"act_fn$", "scalars", "replicated", False),
        (r"per_layer_(input_gate|projection)$", "layer_input", "replicated", False),
        (r"laurel", "laurel", "tp", False),
        (r"altup", "altup", "replicated", False),
    )
)


def split_name(name: str) -> t.Tuple[str, str]:
    """(module, leaf): model.layers.0.mlp.down_proj, weight_scale."""
    parts = name.split(".")
    if "quant_state" in parts:  # bitsandbytes: ...weight.quant_state.bitsandbytes__nf4
        return ".".join(parts[: parts.index("quant_state") - 1]), parts[-1]
    if len(parts) > 2 and parts[-2] in ("weight", "bias") and parts[-1] in SCALES:
        return ".".join(parts[:-2]), parts[-1]
    return ".".join(parts[:-1]), parts[-1]


def classify(name: str) -> Place:
    """The group of a tensor. What depends on the config (tied heads, prediction layers) is the caller's to settle."""
    if _UNUSED.search(name):
        return Place("")
    if name.startswith(("mtp.", "model.mtp", "nextn.")):
        return Place("mtp", "skipped")
    if _TOWER.search(name) or name.startswith("image_newline"):
        split = not _TOWER_WHOLE.search(name) and (name.endswith("weight") or bool(_TOWER_COLUMN_BIAS.search(name)))
        return Place("vision.blocks" if split else "vision", "vision", "tp" if split else "replicated")
    if _AUDIO.search(name):
        return Place("audio", "vision")
    found = _LAYER.search(name)
    if found:
        return _in_layer(name[found.end() :], int(found.group(1)))
    if "position" in name or "wpe" in name or "token_type" in name:
        return Place("embed.positions", "embed")
    if "per_layer" in name:
        rows = "embed_tokens_per_layer" in name
        split = "model_projection" in name
        return Place("embed.per_layer", "embed", "vocab" if rows else ("tp" if split else "replicated"))
    if "altup" in name:
        return Place("altup.projections", "final", "tp")
    if "norm" in name.lower() or re.search(r"(^|\.)ln_f\.", name):
        return Place("norm", "final")
    if _EMBED.search(name):
        return Place("embed", "embed", "vocab")
    if name.startswith("pooler."):
        return Place("pooler", "head")
    if _HEAD.search(name):
        return Place("lm_head", "head", "vocab")
    return Place("other", "final")


def _in_layer(rest: str, layer: int) -> Place:
    module, leaf = split_name(rest)
    if leaf.endswith(("e_score_correction_bias", "expert_bias")) or "e_score_correction_bias" in rest:
        return Place("moe.router.bias", layer=layer)
    if leaf == "sinks":
        return Place("attention.sinks", "layers", "tp", layer)
    if leaf in ("A_log", "D", "dt_bias") or module.endswith(".D"):
        return Place("linear_attention.other", "layers", "tp", layer)
    if leaf == "layer_scalar" or leaf.endswith("_scale") and not module:
        return Place("scalars", layer=layer)
    if module.endswith("experts") and leaf not in SCALES:  # fused experts: the leaf is the projection
        module = "%s.%s" % (module, leaf)
    for expression, name, sharding, row in _MODULES:
        if expression.search(module):
            return Place(name, "layers", sharding, layer, row)
    return Place("other", "layers", "replicated", layer)
