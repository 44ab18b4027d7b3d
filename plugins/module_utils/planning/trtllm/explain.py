# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One sentence per decision of a plan for trtllm-serve, and what to be warned of."""

from __future__ import annotations

import typing as t

from .. import batching, devices, parallel
from ..devices import Seat
from ..facts import Model
from ..fit import context_limit
from ..units import count, gib
from ..wishes import Draft
from .fit import MOST_FRACTION, ShareFit
from .wishes import Asked

UNTESTED = (
    "Not tested on a GPU: nothing here was measured with TensorRT-LLM. Weights and KV cache follow from the model; all "
    "other terms are vLLM's."
)
# What the numbers leave out.
_UNCOUNTED = ("max_beam_width", "gpus_per_node", "server_role", "metadata_server_config_file", "disagg_cluster_uri")
_UNCOUNTED_IN_FILE = ("speculative_config", "lora_config", "enable_attention_dp", "sparse_attention_config")
_CACHE_COUNTED = ("dtype", "tokens_per_block", "enable_block_reuse", "enable_partial_reuse", "copy_on_partial_reuse")


def plan(model: Model, fit: ShareFit, groups: t.Sequence[t.Sequence[Seat]], asked: Asked, draft: Draft) -> None:
    say = draft.reasons.append
    say(_gpus(fit, groups, asked))
    say(_split(model, fit, asked))
    say(_fraction(fit, asked))
    say(_context(model, fit, asked))
    say(_batch(fit, asked))
    if fit.chunked and asked.chunked is None:
        say(
            "enable_chunked_prefill: without it a prompt must fit in one step, and %s is more than max_num_tokens."
            % count(fit.context, "token")
        )
    if fit.kv_dtype != "auto":
        source = "as set in extra_llm_api_options" if asked.kv_dtype else "as the checkpoint says"
        say("KV cache in %s, %s." % (fit.kv_dtype, source))
    if fit.fits:
        low, expected = fit.capacity(fit.share.kv.low), fit.capacity(fit.share.kv.expected)
        say(
            "The KV cache gets %s to %s per GPU, %s expected: %s tokens, %.1f requests of full length at once."
            % (
                gib(fit.share.kv.low), gib(fit.share.kv.high), gib(fit.share.kv.expected), format(expected[1], ","),
                expected[2],
            )
        )  # fmt: skip
        _warn(fit, asked, low[2], draft)
    if any(kind in ("sliding", "chunked") for kind in model.layer_kinds):
        draft.warnings.append(
            "Layers with a window are counted with every token: TensorRT-LLM gives them a smaller cache only with "
            "kv_cache_config.max_attention_window."
        )
    named = ["settings." + name for name in _UNCOUNTED if asked.settings.get(name) not in (None, 0, 1)]
    named += [name for name in _UNCOUNTED_IN_FILE if asked.file.get(name)]
    named += ["kv_cache_config." + name for name in asked.file.get("kv_cache_config") or {} if name not in _CACHE_COUNTED]
    if named:
        draft.warnings.append(
            "Not counted: %s. The engine does as they say, the numbers here are those without." % ", ".join(named)
        )
    draft.warnings.append(UNTESTED)


def _gpus(fit: ShareFit, groups: t.Sequence[t.Sequence[Seat]], asked: Asked) -> str:
    text = devices.describe(fit.seats)
    if asked.wishes.gpus is not None:
        return "%s: as asked for in gpus." % text
    rest = sum(len(group) for group in groups) - len(fit.seats)
    if not rest:
        return "%s: all there is." % text
    return "%s: %s of the host %s free." % (text, count(rest, "GPU"), "stays" if rest == 1 else "stay")


def _split(model: Model, fit: ShareFit, asked: Asked) -> str:
    split, weights = fit.split, "%s of weights per GPU" % gib(fit.share.weights)
    name = "tp_size %d" % split.tp + (" x pp_size %d" % split.pp if split.pp > 1 else "")
    if asked.settings.get("tp_size") or asked.settings.get("pp_size"):
        return "%s, fixed in settings; %s." % (name, weights)
    if split.ranks == 1:
        return "%s: %s." % (name, ("one GPU holds the model (%s)" if fit.fits else "%s") % weights)
    wire = "joined by NVLink" if fit.linked else "joined by PCIe only, so their exchanges cost time"
    text = "%s: %s, GPUs %s" % (name, weights, wire)
    if split.pp > 1:
        wider = parallel.tp_problem(model, split.tp * split.pp)
        text += "; %s" % wider[1] if wider else ""
    if split.expert_parallel:
        text += "; whole experts per GPU (ep_size), since their size cannot be cut"
    return text + "."


def _fraction(fit: ShareFit, asked: Asked) -> str:
    number = "kv_cache_free_gpu_memory_fraction %.2f" % fit.share.fraction
    of = "of the %s that are free per GPU beside weights and buffers" % gib(fit.share.left.expected)
    if asked.fraction:
        return "%s, fixed in settings: %s %s." % (number, gib(fit.share.kv.expected), of)
    if fit.share.fraction >= MOST_FRACTION:
        return "%s: %s %s; the rest is for what grows (trtllm-serve's default)." % (number, gib(fit.share.kv.expected), of)
    return "%s: %s %s; %s stay for what grows." % (
        number, gib(fit.share.kv.expected), of, gib(fit.share.left.expected - fit.share.kv.expected)
    )  # fmt: skip


def _context(model: Model, fit: ShareFit, asked: Asked) -> str:
    number, limit = "max_seq_len %s" % format(fit.context, ","), context_limit(model)
    if asked.wishes.context is not None:
        return "%s: as asked for (the model allows %s)." % (number, format(model.max_position or fit.context, ","))
    if not fit.fits:
        return "%s of the model's %s, the least worth trying." % (number, format(limit, ","))
    if fit.context >= limit:
        return "%s: the model's whole context fits." % number
    requests = fit.capacity(fit.share.kv.low)[2]
    return "%s of the model's %s: the longest of which %s at once." % (
        number, format(limit, ","), "one request fits" if requests < 2 else "%d requests fit" % requests
    )  # fmt: skip


def _batch(fit: ShareFit, asked: Asked) -> str:
    seat = fit.seats[0]
    large = batching.large_steps(seat.total, seat.device.name, seat.device.capability)
    usual = batching.token_steps(asked.wishes.prefer, large, 1)[0]
    tokens, sequences = fit.batch.max_num_batched_tokens, fit.batch.max_num_seqs
    if asked.settings.get("max_batch_size"):
        first = "max_batch_size %d, fixed in settings" % sequences
    elif asked.wishes.concurrency:
        first = "max_batch_size %d: the concurrency asked for" % sequences
    else:
        first = "max_batch_size %d: what the KV cache can feed" % sequences
    if asked.settings.get("max_num_tokens"):
        return "%s; max_num_tokens %d, fixed in settings." % (first, tokens)
    if tokens < usual:
        return "%s; max_num_tokens %d: less than the usual %d, to leave memory for the KV cache." % (first, tokens, usual)
    if tokens > usual:
        return "%s; max_num_tokens %d: a whole prompt must fit in one step." % (first, tokens)
    return "%s; max_num_tokens %d: as for vLLM on such a GPU." % (first, tokens)


def _warn(fit: ShareFit, asked: Asked, concurrency: float, draft: Draft) -> None:
    if not fit.promised:
        draft.warnings.append(
            "This is tight: it fits as estimated (%s of KV cache), but if every buffer takes its most, %s are left."
            % (gib(fit.share.kv.expected), gib(fit.share.kv.low))
        )
    if asked.wishes.concurrency and concurrency < asked.wishes.concurrency:
        draft.warnings.append(
            "%d requests at once are asked for; the KV cache holds %.1f of the full %s tokens. Shorter ones run at once, "
            "the rest waits in the queue." % (asked.wishes.concurrency, concurrency, format(fit.context, ","))
        )
    foreign = [seat for seat in fit.seats if seat.foreign]
    if foreign:
        draft.warnings.append(
            "Other processes hold GPU memory: %s. What they take later, the engine lacks." % devices.foreign_text(foreign)
        )
    if any(seat.device.capability == (12, 1) for seat in fit.seats):
        draft.warnings.append("TensorRT-LLM 1.2 calls its support for DGX Spark beta.")
