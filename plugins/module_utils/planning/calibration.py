# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arrow back: what running engines measured, in place of what is estimated.

Weights and KV cache are computed exactly; what vLLM takes beside them is estimated (terms.py). A running engine shows:

    overhead = ceil(total * gpu_memory_utilization) - KV cache - weights      (vllm 0.33 v1/worker/gpu_worker.py)

Neither gpu_memory_utilization nor the context is in the terms of that overhead (the profiling run has
max_num_batched_tokens and max_num_seqs, not max_model_len), so it holds for other values of the two. Everything else
that sizes buffers has to be equal: the ``configuration`` of a plan names it, and vllm_measured keeps it.

How far one start is from the next. Starts with a warm compile cache agree within 0.3 % (34 MiB per GPU,
https://github.com/vllm-project/vllm/pull/54479). The first one of a configuration, max_model_len included, also
compiles inside the profiling run and is charged for it: 0.47 GiB per GPU
(https://github.com/vllm-project/vllm/issues/54383), 0.92 GiB
(https://github.com/syv-ai/qwen38-27b-rtx3090/issues/75); 2.5 GiB were seen on a GPU of capability 7.5
(https://github.com/1CatAI/1Cat-vLLM/pull/518). Nobody knows of a measurement whether it was the first. So a measured
overhead may be off by a GiB to either side, without compilation by a quarter of that, but never by more than the
estimate itself.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import typing as t

from ..errors import GpufleetError
from . import capability, gpus
from .budget import Budget
from .devices import Seat
from .facts import Model
from .terms import Batch, Range
from .units import GIB, MIB
from .weights import Split

if t.TYPE_CHECKING:
    from .wishes import Wishes

MEASURED_SCHEMA = "gpufleet.measured/1"
SCHEMA = "gpufleet.calibration/1"
TOLERANCE = 0.05  # of the KV cache: an estimate that is nearer counts as right
_VARIATION = GIB
_EAGER_VARIATION = 256 * MIB
_WARM_VARIATION = 64 * MIB
_MEMORY_TOLERANCE = 0.03  # drivers state a card's memory differently; ECC takes 6 %

# What a configuration states in words of its own, and the two that do not matter.
_STATED = frozenset(
    "block_size data_parallel_size dtype enable_expert_parallel enforce_eager gpu_memory_utilization kv_cache_dtype "
    "kv_cache_memory_bytes max_cudagraph_capture_size max_model_len max_num_batched_tokens max_num_seqs "
    "pipeline_parallel_size tensor_parallel_size".split()
)
# Options of the API server and the like: no GPU memory depends on them. What is not listed here, has to be equal.
_HARMLESS = frozenset(
    "aggregate_engine_logging allow_credentials allowed_headers allowed_local_media_path allowed_media_domains "
    "allowed_methods allowed_origins api_server_count chat_template chat_template_content_format "
    "default_chat_template_kwargs disable_access_log_for_endpoints disable_fastapi_docs disable_log_stats "
    "disable_uvicorn_access_log download_dir enable_auto_tool_choice enable_force_include_usage enable_log_deltas "
    "enable_log_outputs enable_log_requests enable_offline_docs enable_per_request_metrics "
    "enable_prompt_tokens_details enable_request_id_headers enable_server_load_tracking enable_ssl_refresh "
    "enable_tokenizer_info_endpoint exclude_tools_when_tool_choice_none generation_config h11_max_header_count "
    "h11_max_incomplete_event_size host kv_cache_metrics kv_cache_metrics_sample log_config_file log_error_stack "
    "log_level max_log_len middleware model otlp_traces_endpoint override_generation_config port reasoning_parser "
    "reasoning_parser_plugin response_role return_tokens_as_token_ids revision root_path scheduling_policy seed "
    "served_model_name show_hidden_metrics_for_version shutdown_timeout sse_keep_alive_interval ssl_ca_certs "
    "ssl_cert_reqs ssl_certfile ssl_ciphers ssl_keyfile stream_interval tokenizer tokenizer_mode tokenizer_revision "
    "tool_call_parser tool_parser_plugin tool_server tool_strict_level trust_remote_code trust_request_chat_template "
    "uds use_tqdm_on_load uvicorn_log_level".split()
)
# The model, as its config.json shapes it. Where the facts came from, and how they name its tensors, is not the model.
_MODEL = (
    "architecture model_type dtype layer_kinds hidden_size intermediate_size attention_heads kv_heads head_size "
    "value_head_size vocab_size max_position sliding_window attention_chunk kv_shared_layers tied_embeddings mla moe "
    "linear_attention per_layer quantization multimodal".split()
)

Configuration = t.Dict[str, t.Any]


def configuration(
    model: Model,
    seats: t.Sequence[Seat],
    split: Split,
    linked: bool,
    dtype: str,
    kv_dtype: str,
    block_size: int,
    batch: Batch,
    wishes: "Wishes",
) -> Configuration:
    """All that a measured overhead depends on, as vLLM will have it, defaults resolved. Without seats: on a CPU."""
    caps = [seat.device.capability for seat in seats if seat.device.capability]
    others = {
        name: value for name, value in wishes.settings.items() if name not in _STATED and name not in _HARMLESS
    }
    return {
        "engine_version": wishes.version.text,
        "variant": "cuda" if seats else "cpu",
        "model": _model_digest(model),
        "gpu": " + ".join(sorted({_gpu_name(seat.device.name) for seat in seats})) or None,
        "compute_capability": capability.text(min(caps)) if caps else None,
        "memory_total_bytes": min((seat.device.total_bytes for seat in seats), default=None),
        "nvlink": linked and split.ranks > 1,
        "tensor_parallel_size": split.tp,
        "pipeline_parallel_size": split.pp,
        "data_parallel_size": split.dp,
        "enable_expert_parallel": split.expert_parallel,
        "dtype": dtype,
        "kv_cache_dtype": kv_dtype,
        "block_size": block_size,
        "max_num_seqs": batch.max_num_seqs,
        "max_num_batched_tokens": batch.max_num_batched_tokens,
        "enforce_eager": batch.eager,
        "max_cudagraph_capture_size": batch.max_cudagraph_capture_size,
        "settings": json.loads(json.dumps(others, sort_keys=True, default=str)),
    }


@functools.lru_cache(maxsize=64)
def _model_digest(model: Model) -> str:
    """Equal for models of the same shape and quantization: memory does not see what the weights say."""
    shape = {name: model.identity.get(name) for name in _MODEL}
    text = json.dumps(shape, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _gpu_name(name: str) -> str:
    """One name for a GPU, whoever names it: a driver, or the table of GPUs."""
    try:
        return gpus.find(name).name
    except GpufleetError:
        return name


@dataclasses.dataclass(frozen=True)
class Measurement:
    configuration: Configuration
    engine_version: t.Optional[str]  # of the engine that answered; None where it hides it
    taken: t.Optional[int]  # bytes of the claim that are not KV cache; None where the cache was not sized by profiling
    given: t.Optional[int]  # bytes of KV cache that the engine was told to take
    blocks: int

    @property
    def stale(self) -> bool:
        """Whether another version answered than the plan was for."""
        planned = str(self.configuration.get("engine_version"))
        return self.engine_version is not None and self.engine_version.partition("+")[0] != planned.partition("+")[0]

    def possible(self, weights: int) -> bool:
        """Whether it can be of a model with these weights: they are computed, so they are never off by half."""
        return self.taken is None or self.taken > weights // 2


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What is known from running engines."""

    measurements: t.Tuple[Measurement, ...] = ()
    problems: t.Tuple[str, ...] = ()  # what was given and is no measurement

    def of(self, wanted: Configuration) -> t.List[Measurement]:
        """Those of exactly this configuration."""
        return [one for one in self.measurements if not differing(one.configuration, wanted)]

    def overheads(self, wanted: Configuration, weights: int) -> t.List[int]:
        """Measured bytes beside ``weights`` and KV cache, ascending.

        Weights as they are computed now. Where that is not what the engine loads, or the GPU's memory is not quite what
        it was taken for, the difference ends up here, and the sum is right: even if it means less than nothing.
        """
        return sorted(
            one.taken - weights
            for one in self.of(wanted)
            if one.taken is not None and not one.stale and one.possible(weights)
        )


NOTHING = Calibration()


def read(value: t.Any) -> Calibration:
    """Measured dictionaries, a collection of them, the text of either, or a list of all these.

    What is none of them is reported, never raised: a plan without it is as good as it was before.
    """
    measurements: t.List[Measurement] = []
    problems: t.List[str] = []
    for name, entry in entries("measured", value):
        if isinstance(entry, GpufleetError):
            problems.append("%s %s: it is ignored." % (name, entry))
            continue
        if entry.get("configuration") is None:
            continue  # measured without a plan, or by a release that did not keep this
        try:
            measurements.append(measurement(entry))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problems.append("%s is damaged (%s %s): it is ignored." % (name, type(error).__name__, error))
    unique = {canonical(dataclasses.asdict(one)): one for one in measurements}
    return Calibration(tuple(unique.values()), tuple(problems))


def entries(name: str, value: t.Any) -> t.Iterator[t.Tuple[str, t.Any]]:
    """Every measured dictionary in ``value``, those of earlier starts included; GpufleetError in place of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except ValueError as error:
            yield name, GpufleetError("is not JSON (%s)" % error)
            return
    if value is None:
        return
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from entries("%s[%d]" % (name, index), item)
    elif isinstance(value, dict) and value.get("schema") == SCHEMA:
        yield from entries(name + ".measured", value.get("measured"))
    elif isinstance(value, dict) and value.get("schema") == MEASURED_SCHEMA:
        yield name, value
        yield from entries(name + ".earlier", value.get("earlier"))
    else:
        found = value.get("schema") if isinstance(value, dict) else type(value).__name__
        yield name, GpufleetError("is %r, not of schema %s or %s" % (found, MEASURED_SCHEMA, SCHEMA))


def measurement(entry: t.Mapping[str, t.Any]) -> Measurement:
    profiled, given = entry.get("overhead_bytes") is not None, entry.get("kv_cache_given_bytes")
    return Measurement(
        configuration=dict(entry["configuration"]),
        engine_version=None if entry.get("engine_version") is None else str(entry["engine_version"]),
        taken=int(entry["requested_bytes"]) - int(entry["kv_cache_bytes"]) if profiled else None,
        given=None if given is None else int(given),
        blocks=int(entry["num_gpu_blocks"]),
    )


def canonical(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def differing(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> t.List[str]:
    """Keys whose values differ so that a measurement of the one does not hold for the other."""
    return [
        key
        for key in sorted(set(one) | set(other))
        if one.get(key) != other.get(key) and not (key == "memory_total_bytes" and _alike(one.get(key), other.get(key)))
    ]


def _alike(one: t.Any, other: t.Any) -> bool:
    if not isinstance(one, (int, float)) or not isinstance(other, (int, float)):
        return False
    return abs(one - other) <= _MEMORY_TOLERANCE * max(one, other)


def corrected(estimate: Budget, known: Calibration, wanted: Configuration) -> Budget:
    """The budget with the measured overhead in place of the estimated one, where there is one."""
    sizes = known.overheads(wanted, estimate.weights)
    if not sizes:
        return estimate
    return dataclasses.replace(estimate, measured=_range(estimate, sizes, wanted["enforce_eager"]))


def _range(estimate: Budget, sizes: t.Sequence[int], eager: bool) -> Range:
    """Least, expected and most of the overhead, after measurements in ascending order.

    Where the estimate is confirmed, its most stays: one start does not show the worst one, and a plan must not move
    with every start. Where it is not, the range lies around what was measured.
    """
    guess = estimate.estimated
    variation = _EAGER_VARIATION if eager else _VARIATION
    down, up = min(guess.expected - guess.low, variation), min(guess.high - guess.expected, variation)
    usual, most = usual_size(sizes), sizes[-1]
    if abs(kv_error(estimate, usual)) <= TOLERANCE:
        high = max(guess.high, most + min(up, _WARM_VARIATION))
    else:
        high = most + max(up, _WARM_VARIATION)
    return Range(sizes[0] - down, usual, high)


def usual_size(sizes: t.Sequence[int]) -> int:
    """The middle of several, rather the larger; the largest where they contradict each other."""
    return sizes[-1] if contradictory(sizes) else sizes[len(sizes) // 2]


def contradictory(sizes: t.Sequence[int]) -> bool:
    return sizes[-1] - sizes[0] > _VARIATION


def estimated_kv(estimate: Budget) -> int:
    if estimate.fixed_kv is not None:
        return estimate.fixed_kv
    return estimate.requested - estimate.weights - estimate.estimated.expected


def kv_error(estimate: Budget, size: int) -> float:
    """By how much of the estimated KV cache the engine gives more (or, negative, less)."""
    room = estimated_kv(estimate)
    difference = estimate.estimated.expected - size
    if room > 0:
        return difference / room
    return math.copysign(math.inf, difference) if difference else 0.0
