# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shape -> tensor groups, by each architecture's formulas: what the weights are when only the config is known."""

from __future__ import annotations

import typing as t

from . import formulas_linear
from .families import Family, family
from .fields import Fields
from .quantization import Quantization
from .shapes import Layer, Mla, Moe, Shape
from .tensor_groups import DTYPE_BYTES, VOCAB_PADDING, Groups

# The modules inside a layer, by the names that the ignore lists of quantized checkpoints use.
_ATTENTION = "self_attn."
_MLP = "mlp."


class Writer:
    """Adds tensors of a layer with the right type, size and quantization."""

    def __init__(self, shape: Shape, quantization: t.Optional[Quantization]) -> None:
        self.groups = Groups()
        self.shape = shape
        self.traits: Family = family(shape.family)
        self.quantization = quantization
        self.dtype = shape.stored_dtype()
        # A 32-bit checkpoint is run in 16 bits unless somebody asks for more.
        self.loaded_dtype = "bfloat16" if self.dtype == "float32" else self.dtype

    def plain(
        self,
        name: str,
        count: int,
        sharding: str = "replicated",
        place: str = "layers",
        layer: t.Optional[int] = None,
        dtype: t.Optional[str] = None,
        loaded_dtype: t.Optional[str] = None,
        rows: t.Optional[int] = None,
        heads: t.Optional[int] = None,
        copies: int = 1,
        padding: int = 0,
    ) -> None:
        """Numbers that are never quantized. ``copies``: how often an engine holds them, with ``padding`` added."""
        stored = dtype or self.dtype
        loaded = loaded_dtype or dtype or self.loaded_dtype
        size = int(count * DTYPE_BYTES[stored])
        held = int((count + padding) * DTYPE_BYTES[loaded]) * copies
        self.groups.add(name, place, sharding, count, size, stored, layer, held, rows=rows, heads=heads)

    def linear(
        self,
        name: str,
        module: str,
        inputs: int,
        outputs: int,
        sharding: str,
        layer: int,
        heads: t.Optional[int] = None,
        copies: int = 1,
        matrices: int = 1,
    ) -> None:
        """A weight matrix of ``module`` (a suffix below the layer); ``matrices`` of them, counted together."""
        count = inputs * outputs * matrices
        prefix = "model.layers.%d.%s" % (layer, module)
        scheme = self.quantization.scheme(prefix) if self.quantization else None
        if scheme is None:
            size = int(count * DTYPE_BYTES[self.dtype])
            held = int(count * DTYPE_BYTES[self.loaded_dtype]) * copies
            dtype, quantized = self.dtype, False
        else:
            size = scheme.matrix_bytes(inputs, outputs) * matrices
            held = scheme.loaded_bytes(inputs, outputs) * matrices * copies
            dtype, quantized = scheme.dtype, True
        self.groups.add(
            name, "layers", sharding, count, size, dtype, layer, held, quantized, heads=heads, dims=(inputs, outputs)
        )


def text_groups(fields: Fields, shape: Shape, quantization: t.Optional[Quantization]) -> Groups:
    """Every tensor of the language model."""
    writer = Writer(shape, quantization)
    _embeddings(writer, fields)
    for index, layer in enumerate(shape.layers):
        if shape.family in ("gemma3n", "gemma4"):
            formulas_linear.gemma_layer_inputs(writer, fields, index)
        _attention(writer, fields, layer, index)
        _feed_forward(writer, fields, layer, index)
        _layer_norms(writer, fields, layer, index)
    return writer.groups


def extra_layers(fields: Fields, shape: Shape, quantization: t.Optional[Quantization], groups: Groups) -> int:
    """Add the multi-token prediction layers of the checkpoint, which an engine only loads for speculation."""
    count = fields.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", default=0)
    if not count:
        return 0
    layers = len(shape.layers)
    writer = Writer(shape, quantization)
    last = next((layer for layer in reversed(shape.layers) if layer.kind in ("full", "mla")), shape.layers[-1])
    _attention(writer, fields, last, layers)
    _feed_forward(writer, fields, last, layers)
    _layer_norms(writer, fields, last, layers)
    writer.plain("norm", 3 * shape.hidden_size, layer=layers)
    writer.plain("projection", 2 * shape.hidden_size * shape.hidden_size, layer=layers)
    if fields.get("num_nextn_predict_layers") or fields.flag("mtp_use_dedicated_embeddings"):
        writer.plain("embed", 2 * shape.vocab_size * shape.hidden_size, layer=layers)
    found = writer.groups.listed()
    parameters, size = sum(group.parameters for group in found), sum(group.bytes for group in found)
    groups.add("mtp", "skipped", "replicated", parameters * count, size * count, shape.stored_dtype())
    return count


def _embeddings(writer: Writer, fields: Fields) -> None:
    shape, traits = writer.shape, writer.traits
    table = shape.vocab_size * shape.hidden_size
    writer.plain("embed", table, "vocab", "embed", rows=shape.vocab_size)
    if traits.positions:
        length = fields.integer("max_position_embeddings", "n_positions", "n_ctx") + (2 if shape.family == "opt" else 0)
        _small_table(writer, "embed.positions", length)
    if traits.encoder:
        _small_table(writer, "embed.types", fields.integer("type_vocab_size", default=2))
        writer.plain("norm", 2 * shape.hidden_size, place="embed")
    elif shape.family != "olmo":
        writer.plain("norm", shape.hidden_size * (2 if traits.norm_bias else 1), place="final")
    if not shape.tied_embeddings and not traits.encoder:
        writer.plain("lm_head", table, "vocab", "head", rows=shape.vocab_size)
    if fields.flag("lm_head_bias", default=traits.lm_head_bias):
        writer.plain("lm_head.bias", shape.vocab_size, "vocab", "head", rows=shape.vocab_size)


def _small_table(writer: Writer, name: str, rows: int) -> None:
    """A small table beside the embedding; vLLM's encoders hold theirs like a vocabulary, padded."""
    hidden = writer.shape.hidden_size
    padding = -rows % VOCAB_PADDING * hidden if writer.traits.encoder else 0
    writer.plain(name, rows * hidden, place="embed", padding=padding)


def _bias(fixed: t.Optional[bool], fields: Fields, keys: t.Sequence[str], default: bool) -> bool:
    return fields.flag(*keys, default=default) if fixed is None else fixed


def _attention(writer: Writer, fields: Fields, layer: Layer, index: int) -> None:
    if layer.kind == "linear" and writer.shape.linear:
        formulas_linear.state_layer(writer, writer.shape.linear, index)
        return
    if writer.shape.linear and writer.shape.linear.beside_attention:
        formulas_linear.state_layer(writer, writer.shape.linear, index)
    if layer.kind == "mla" and writer.shape.mla:
        _latent_attention(writer, writer.shape.mla, layer, index)
        return
    if writer.shape.low_rank:
        _latent_attention(writer, writer.shape.low_rank, layer, index)
        return
    if layer.kind == "none" and not writer.traits.encoder:
        return
    shape, traits = writer.shape, writer.traits
    hidden, size = shape.hidden_size, layer.head_size
    queries = layer.heads * size * (2 if _gated_attention(traits, fields) else 1)
    keys, values = layer.kv_heads * size, layer.kv_heads * layer.value_head_size
    keyed = _bias(traits.qkv_bias, fields, traits.bias_keys, traits.bias_default)
    if fields.get("qkv_bias") is not None and traits.qkv_bias is None:
        keyed = fields.flag("qkv_bias")
    writer.linear("attention.q", _ATTENTION + "q_proj", hidden, queries, "tp", index)
    if keyed:
        writer.plain("attention.q.bias", queries, "tp", layer=index)
    if not layer.shares_kv:
        heads = layer.kv_heads
        if layer.key_is_value:
            writer.linear("attention.kv", _ATTENTION + "k_proj", hidden, keys, "kv", index, heads, copies=2)
        else:
            writer.linear("attention.kv", _ATTENTION + "k_proj", hidden, keys + values, "kv", index, heads)
        if keyed:
            writer.plain("attention.kv.bias", keys + values, "kv", layer=index, heads=heads)
    writer.linear("attention.o", _ATTENTION + "o_proj", layer.heads * layer.value_head_size, hidden, "tp", index)
    if _bias(traits.o_bias, fields, traits.bias_keys, traits.bias_default):
        writer.plain("attention.o.bias", hidden, layer=index)
    if traits.sinks:
        writer.plain("attention.sinks", layer.heads, "tp", layer=index)
    if traits.qk_norm == "head" or (traits.qk_norm == "head?" and fields.flag("use_qk_norm")):
        writer.plain("norm.qk", size if layer.shares_kv else 2 * size, layer=index)
    elif traits.qk_norm == "full":
        writer.plain("norm.q", layer.heads * size, "tp", layer=index)
        writer.plain("norm.k", keys, "kv", layer=index, heads=layer.kv_heads)


def _gated_attention(traits: Family, fields: Fields) -> bool:
    return traits.attention_gate and fields.flag("attn_output_gate", default=True)


def _latent_attention(writer: Writer, mla: Mla, layer: Layer, index: int) -> None:
    hidden = writer.shape.hidden_size
    queries = layer.heads * (mla.qk_nope_head_size + mla.qk_rope_head_size)
    if mla.q_lora_rank:
        writer.linear("mla.q_a", _ATTENTION + "q_a_proj", hidden, mla.q_lora_rank, "replicated", index)
        writer.plain("norm.mla", mla.q_lora_rank, layer=index)
        writer.linear("mla.q_b", _ATTENTION + "q_b_proj", mla.q_lora_rank, queries, "tp", index)
    else:
        writer.linear("mla.q", _ATTENTION + "q_proj", hidden, queries, "tp", index)
    latent = mla.kv_lora_rank + mla.qk_rope_head_size
    writer.linear("mla.kv_a", _ATTENTION + "kv_a_proj_with_mqa", hidden, latent, "replicated", index)
    writer.plain("norm.mla", mla.kv_lora_rank, layer=index)
    expanded = layer.heads * (mla.qk_nope_head_size + mla.v_head_size)
    writer.linear("mla.kv_b", _ATTENTION + "kv_b_proj", mla.kv_lora_rank, expanded, "tp", index)
    writer.linear("attention.o", _ATTENTION + "o_proj", layer.heads * mla.v_head_size, hidden, "tp", index)
    if index in mla.index_layers:
        size, heads = mla.index_head_size, mla.index_heads
        rank = mla.q_lora_rank or hidden
        writer.linear("mla.index", _ATTENTION + "indexer.wq_b", rank, heads * size, "replicated", index)
        writer.linear("mla.index", _ATTENTION + "indexer.wk", hidden, size, "replicated", index)
        writer.plain("mla.index.weights", hidden * heads, layer=index)
        writer.plain("norm.index", 2 * size, layer=index, loaded_dtype="float32")


def _feed_forward(writer: Writer, fields: Fields, layer: Layer, index: int) -> None:
    if "dense" in layer.mlp:
        biased = _bias(writer.traits.mlp_bias, fields, ("mlp_bias", "use_bias", "bias"), False)
        _dense(writer, layer.intermediate_size, index, biased)
    if "moe" in layer.mlp and writer.shape.moe:
        _experts(writer, fields, writer.shape.moe, index)


def _dense(writer: Writer, size: int, index: int, biased: bool) -> None:
    hidden, gated = writer.shape.hidden_size, writer.traits.gated
    inner = 2 * size if gated else size
    module = _MLP + ("gate_proj" if gated else "up_proj")
    writer.linear("mlp.gate_up", module, hidden, inner, "tp", index)
    writer.linear("mlp.down", _MLP + "down_proj", size, hidden, "tp", index)
    if biased:
        writer.plain("mlp.gate_up.bias", inner, "tp", layer=index)
        writer.plain("mlp.down.bias", hidden, layer=index)


def _experts(writer: Writer, fields: Fields, moe: Moe, index: int) -> None:
    shape, traits = writer.shape, writer.traits
    hidden, size = shape.hidden_size, moe.intermediate_size
    matrices = 3 if traits.gated else 2
    latent = fields.integer("moe_latent_size", default=0)
    if latent:  # the experts work on a projection of the hidden state
        writer.linear("moe.latent", _MLP + "fc1_latent_proj", hidden, latent, "replicated", index)
        writer.linear("moe.latent", _MLP + "fc2_latent_proj", latent, hidden, "replicated", index)
    inputs = latent or hidden
    writer.linear(
        "moe.experts", _MLP + "experts.0.gate_proj", inputs, size, "expert", index, matrices=matrices * moe.experts
    )
    writer.plain("moe.router", hidden * moe.experts, layer=index, loaded_dtype=traits.router_dtype)
    if traits.expert_bias:
        writer.plain("moe.router.bias", moe.experts, layer=index)
        writer.plain("moe.experts.bias", 2 * size * moe.experts, "expert", layer=index)
        writer.plain("moe.experts.down.bias", hidden * moe.experts, layer=index)
    if _corrected(traits, fields):
        writer.plain("moe.router.bias", moe.experts, layer=index, dtype="float32")
    if shape.family == "gemma4":
        writer.plain("moe.router.scale", hidden + moe.experts, layer=index)
    if moe.shared_intermediate_size:
        shared = moe.shared_intermediate_size
        inner = 2 * shared if traits.gated else shared
        writer.linear("moe.shared", _MLP + "shared_experts.gate_proj", hidden, inner, "tp", index)
        writer.linear("moe.shared", _MLP + "shared_experts.down_proj", shared, hidden, "tp", index)
        if shape.family in ("qwen2_moe", "qwen3_next"):
            writer.plain("moe.shared.gate", hidden, layer=index)


def _corrected(traits: Family, fields: Fields) -> bool:
    """Whether a float32 bias corrects the scores of the experts."""
    if traits.router_bias is not None:
        return traits.router_bias
    return fields.get("topk_method") == "noaux_tc" or fields.flag("use_routing_bias")


def _layer_norms(writer: Writer, fields: Fields, layer: Layer, index: int) -> None:
    traits, hidden = writer.traits, writer.shape.hidden_size
    count = traits.norms
    if layer.mlp == "dense+moe":
        count += traits.expert_norms
    if writer.shape.family == "falcon" and fields.flag("new_decoder_architecture"):
        count = 2
    if layer.kind == "none" and not traits.encoder and writer.shape.family != "nemotron_h":
        count -= 1
    if layer.mlp == "none" and writer.shape.family != "nemotron_h":
        count -= 1
    writer.plain("norm", count * hidden * (2 if traits.norm_bias else 1), layer=index)
    writer.plain("scalars", traits.layer_scalars, layer=index)
