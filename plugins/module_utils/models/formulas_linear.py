# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tensor groups of layers that are not attention: gated delta nets, Mamba, short convolutions, per-layer inputs."""

from __future__ import annotations

import typing as t

from .fields import Fields
from .shapes import Linear

if t.TYPE_CHECKING:
    from .formulas import Writer


def state_layer(writer: Writer, linear: Linear, index: int) -> None:
    """The mixer of a layer that keeps a state."""
    {"gdn": _gated_delta, "kda": _kimi_delta, "mamba1": _mamba1, "mamba2": _mamba2, "conv": _short_conv}[
        linear.variant
    ](writer, linear, index)


def _gated_delta(writer: Writer, linear: Linear, index: int) -> None:
    hidden = writer.shape.hidden_size
    keys = linear.key_heads * linear.key_head_size
    values = linear.value_heads * linear.value_head_size
    module = "linear_attn."
    if writer.shape.family.startswith("qwen3_5"):  # two matrices in the checkpoint, quantized each for itself
        writer.linear("linear_attention.in", module + "in_proj_qkv", hidden, 2 * keys + values, "tp", index)
        writer.linear("linear_attention.in", module + "in_proj_z", hidden, values, "tp", index)
    else:
        writer.linear("linear_attention.in", module + "in_proj_qkvz", hidden, 2 * keys + 2 * values, "tp", index)
    writer.plain("linear_attention.gates", hidden * 2 * linear.value_heads, "tp", layer=index)
    writer.plain("linear_attention.conv", (2 * keys + values) * linear.conv_kernel, "tp", layer=index)
    writer.plain("linear_attention.decay", linear.value_heads, "tp", layer=index)
    writer.plain("linear_attention.decay", linear.value_heads, "tp", layer=index, loaded_dtype="float32")
    writer.plain("norm.linear", linear.value_head_size, layer=index)
    writer.linear("linear_attention.out", module + "out_proj", values, hidden, "tp", index)


def _kimi_delta(writer: Writer, linear: Linear, index: int) -> None:
    hidden = writer.shape.hidden_size
    size, heads = linear.key_head_size, linear.key_heads
    inner = heads * size
    module = "self_attn."
    writer.linear("linear_attention.in", module + "q_proj", hidden, 3 * inner, "tp", index)
    for gate in ("f", "g"):
        writer.linear("linear_attention.gate_a", module + gate + "_a_proj", hidden, size, "replicated", index)
        writer.linear("linear_attention.gate_b", module + gate + "_b_proj", size, inner, "tp", index)
    writer.plain("linear_attention.gates", hidden * heads, "tp", layer=index)
    writer.plain("linear_attention.conv", 3 * inner * linear.conv_kernel, "tp", layer=index, loaded_dtype="float32")
    writer.plain("linear_attention.decay", inner + heads, "tp", layer=index, dtype="float32")
    writer.plain("norm.linear", size, layer=index)
    writer.linear("linear_attention.out", module + "o_proj", inner, hidden, "tp", index)


def _mamba1(writer: Writer, linear: Linear, index: int) -> None:
    hidden = writer.shape.hidden_size
    inner, state, rank = linear.inner_size, linear.state_size, linear.time_step_rank
    writer.linear("linear_attention.in", "mamba.in_proj", hidden, 2 * inner, "tp", index)
    writer.plain("linear_attention.conv", inner * (linear.conv_kernel + 1), "tp", layer=index)
    writer.linear("linear_attention.x", "mamba.x_proj", inner, rank + 2 * state, "tp", index)
    writer.linear("linear_attention.dt", "mamba.dt_proj", rank, inner, "tp", index)
    writer.plain("linear_attention.decay", 2 * inner, "tp", layer=index)
    writer.plain("linear_attention.decay", inner * state, "tp", layer=index, loaded_dtype="float32")
    if writer.shape.family == "jamba":
        writer.plain("norm.linear", rank + 2 * state, layer=index)
    writer.linear("linear_attention.out", "mamba.out_proj", inner, hidden, "tp", index)


def _mamba2(writer: Writer, linear: Linear, index: int) -> None:
    hidden = writer.shape.hidden_size
    inner, shared = linear.inner_size, 2 * linear.groups * linear.state_size
    outputs = 2 * inner + shared + linear.value_heads
    writer.linear("linear_attention.in", "mixer.in_proj", hidden, outputs, "tp", index)
    writer.plain("linear_attention.conv", (inner + shared) * (linear.conv_kernel + 1), "tp", layer=index)
    writer.plain("linear_attention.decay", 2 * linear.value_heads, "tp", layer=index)
    writer.plain("linear_attention.decay", linear.value_heads, "tp", layer=index, loaded_dtype="float32")
    if linear.gated_norm:
        writer.plain("norm.linear", inner, "tp", layer=index)
    writer.linear("linear_attention.out", "mixer.out_proj", inner, hidden, "tp", index)


def _short_conv(writer: Writer, linear: Linear, index: int) -> None:
    hidden = writer.shape.hidden_size
    writer.linear("linear_attention.in", "conv.in_proj", hidden, 3 * hidden, "tp", index)
    writer.plain("linear_attention.conv", hidden * linear.conv_kernel, "tp", layer=index)
    writer.linear("linear_attention.out", "conv.out_proj", hidden, hidden, "tp", index)


def gemma_layer_inputs(writer: Writer, fields: Fields, index: int) -> None:
    """Gemma 3n and 4 look up a small embedding per layer; Gemma 3n also mixes parallel streams."""
    hidden, count = writer.shape.hidden_size, len(writer.shape.layers)
    size = fields.integer("hidden_size_per_layer_input", default=0)
    if size:
        rows = fields.integer("vocab_size_per_layer_input", default=writer.shape.vocab_size)
        if index == 0:
            writer.plain("embed.per_layer", rows * size * count, "vocab", "embed", rows=rows)
            writer.plain("embed.per_layer.projection", hidden * size * count, "tp", "embed")
            writer.plain("norm", size, place="embed")
        writer.plain("layer_input", 2 * hidden * size, layer=index)
        writer.plain("norm", hidden, layer=index)
    if writer.shape.family == "gemma3n":
        streams = fields.integer("altup_num_inputs", default=4)
        rank = fields.integer("laurel_rank", default=64)
        if index == 0:
            writer.plain("altup.projections", 2 * (streams - 1) * hidden * hidden, "tp", "final")
        writer.plain("laurel", 2 * hidden * rank, "tp", layer=index)
        writer.plain("norm", hidden, layer=index)
        mixing = streams * (streams * streams + streams) + hidden * streams
        writer.plain("altup", mixing + hidden, layer=index)
        writer.plain("altup.scale", hidden, layer=index, loaded_dtype="float32")
