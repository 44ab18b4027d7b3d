# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of trtllm-serve, in the planner's own words: those are vLLM's, since most of its terms began there."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import GpufleetError
from .. import wishes as planner
from ..versions import EngineVersion
from . import options as serve

# trtllm-serve's option -> the planner's.
_NAMES = {
    "max_batch_size": "max_num_seqs",
    "max_num_tokens": "max_num_batched_tokens",
    "max_seq_len": "max_model_len",
    "pp_size": "pipeline_parallel_size",
    "tp_size": "tensor_parallel_size",
}
BLOCK_TOKENS = 32  # kv_cache_config.tokens_per_block where it is not set


@dataclasses.dataclass(frozen=True)
class Asked:
    wishes: planner.Wishes  # with the planner's names
    settings: t.Dict[str, t.Any]  # with trtllm-serve's, checked
    version: serve.Version
    fraction: t.Optional[float]
    kv_dtype: t.Optional[str]  # of kv_cache_config, None: the checkpoint decides
    block_tokens: t.Optional[int]
    chunked: t.Optional[bool]
    unlisted_models: bool

    @property
    def file(self) -> t.Dict[str, t.Any]:
        return self.settings.get("extra_llm_api_options") or {}


def read(options: t.Mapping[str, t.Any]) -> Asked:
    """The module's options; GpufleetError for one that makes no sense."""
    version = serve.parse_version(options.get("engine_version"))
    settings = serve.normalize(options.get("settings") or {})
    cache = (settings.get("extra_llm_api_options") or {}).get("kv_cache_config") or {}
    wishes = _wishes(options, _translated(settings))
    known = EngineVersion(version.text, version.family, None, version.number)
    return Asked(
        wishes=dataclasses.replace(wishes, version=known),
        settings=settings,
        version=version,
        fraction=settings.get("kv_cache_free_gpu_memory_fraction"),
        kv_dtype=None if cache.get("dtype") in (None, "auto") else str(cache["dtype"]).lower(),
        block_tokens=_tokens_per_block(cache.get("tokens_per_block")),
        chunked=settings.get("enable_chunked_prefill"),
        unlisted_models=bool(options.get("unlisted_models")),
    )


def _wishes(options: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> planner.Wishes:
    names = ("context", "concurrency", "gpus", "prefer", "headroom_bytes", "own_units", "reserved")
    try:
        return planner.read_wishes(dict({name: options.get(name) for name in names}, settings=settings), "cuda")
    except GpufleetError as error:
        message = str(error)
        for ours, theirs in _NAMES.items():
            message = message.replace("settings." + theirs, "settings." + ours)
        raise GpufleetError(message, **error.details) from None


def _translated(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    for name in ("cp_size", "cluster_size"):
        if int(settings.get(name) or 1) > 1:
            raise GpufleetError("settings.%s=%s is not worked out: leave it out." % (name, settings[name]))
    found = {_NAMES[name]: value for name, value in settings.items() if name in _NAMES}
    experts = int(settings.get("ep_size") or 1)
    if experts > 1:
        if experts != int(settings.get("tp_size") or 1):
            raise GpufleetError(
                "settings.ep_size=%d: only whole experts per GPU are worked out, so set settings.tp_size to %d too."
                % (experts, experts)
            )
        found["enable_expert_parallel"] = True
    return found


def _tokens_per_block(value: t.Any) -> t.Optional[int]:
    if value is None:
        return None
    if isinstance(value, bool) or not str(value).isdigit() or int(value) < 1 or int(value) & (int(value) - 1):
        raise GpufleetError("kv_cache_config.tokens_per_block=%s: give a power of two." % value)
    return int(value)
