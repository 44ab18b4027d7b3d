# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of ``trtllm-serve`` (PyTorch backend), for 1.2: names, kinds, and what they were called before.

Read from the click definitions in tensorrt_llm/commands/serve.py of that time, see
https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html. Click takes them with underscores only:
``--tp-size`` ends it with status 2. There is no option for a key, and none for the served name before 1.3
(https://github.com/NVIDIA/TensorRT-LLM/pull/11711): a model in a directory is called as the directory.
Kinds: ``flag`` has no value, ``path`` and ``str`` are text, ``json`` is one JSON word, ``file`` is a dictionary that
becomes a YAML file, ``repeat`` the option once per item, a tuple the values that it may have.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing as t

from ...errors import GpufleetError

NEWEST = "1.2.1"
FAMILIES = ("1.2",)
# CUDA 13.1 in the image (base nvcr.io/nvidia/pytorch:25.12-py3, docs/source/release-notes.md): the 13 series runs from here on.
MINIMUM_DRIVER = 580
CUDA = "13.1"

Kind = t.Union[str, t.Tuple[str, ...]]

KINDS: t.Dict[str, Kind] = {
    "backend": ("pytorch",),
    "chat_template": "str",
    "cluster_size": "int",
    "cp_size": "int",
    "custom_module_dirs": "repeat",
    "custom_tokenizer": "str",
    "disagg_cluster_uri": "str",
    "enable_chunked_prefill": "flag",
    "ep_size": "int",
    "extra_llm_api_options": "file",
    "fail_fast_on_attention_window_too_large": "flag",
    "gpus_per_node": "int",
    "host": "str",
    "kv_cache_free_gpu_memory_fraction": "float",
    "log_level": ("internal_error", "error", "warning", "info", "verbose", "debug", "trace"),
    "max_batch_size": "int",
    "max_beam_width": "int",
    "max_num_tokens": "int",
    "max_seq_len": "int",
    "media_io_kwargs": "json",
    "metadata_server_config_file": "path",
    "num_postprocess_workers": "int",
    "otlp_traces_endpoint": "str",
    "port": "int",
    "pp_size": "int",
    "reasoning_parser": "str",
    "revision": "str",
    "server_role": "str",
    "tokenizer": "str",
    "tool_parser": "str",
    "tp_size": "int",
    "trust_remote_code": "flag",
}

# Other spellings that trtllm-serve takes itself -> the name used here.
ALIASES: t.Dict[str, str] = {
    "config": "extra_llm_api_options",
    "context_parallel_size": "cp_size",
    "free_gpu_memory_fraction": "kv_cache_free_gpu_memory_fraction",
    "moe_cluster_parallel_size": "cluster_size",
    "moe_expert_parallel_size": "ep_size",
    "pipeline_parallel_size": "pp_size",
    "tensor_parallel_size": "tp_size",
}

# What people know from other engines or other versions -> what to set instead.
REPLACED: t.Dict[str, str] = {
    "api_key": "nothing: trtllm-serve checks no key, a gateway in front has to",
    "dtype": "nothing: the checkpoint decides",
    "enable_expert_parallel": "ep_size: the same number as tp_size",
    "extra_encoder_options": "nothing: it belongs to mm_embedding_serve",
    "gpu_memory_utilization": "kv_cache_free_gpu_memory_fraction, a share of what is free beside the weights",
    "kv_cache_dtype": "extra_llm_api_options: {kv_cache_config: {dtype: fp8}}",
    "max_model_len": "max_seq_len, or the module's option context",
    "max_num_batched_tokens": "max_num_tokens",
    "max_num_seqs": "max_batch_size, or the module's option concurrency",
    "served_model_name": "nothing before 1.3: the model's directory gives the name (the role's served_names)",
    "tensor_parallel": "tp_size",
}

# Of the file: what the command line says, and the plan with it. Both in two places would hide one from the other.
_FILE_TWINS: t.Dict[str, str] = {
    "backend": "backend", "enable_chunked_prefill": "enable_chunked_prefill", "max_batch_size": "max_batch_size",
    "max_beam_width": "max_beam_width", "max_num_tokens": "max_num_tokens", "max_seq_len": "max_seq_len",
    "moe_expert_parallel_size": "ep_size", "pipeline_parallel_size": "pp_size", "tensor_parallel_size": "tp_size",
    "tokenizer": "tokenizer", "trust_remote_code": "trust_remote_code",
}  # fmt: skip

_FROM_ONE = ("cp_size", "ep_size", "max_batch_size", "max_beam_width", "max_num_tokens", "max_seq_len", "pp_size", "tp_size")
_VERSION = re.compile(r"^v?((\d+)\.(\d+))(\.\d+\w*)?$")


@dataclasses.dataclass(frozen=True)
class Version:
    text: str  # "1.2.1"
    family: str  # "1.2"
    number: t.Tuple[int, int]


def parse_version(value: t.Optional[str]) -> Version:
    text = str(value or "").strip()
    text = NEWEST if text in ("", "auto") else text
    match = _VERSION.match(text)
    if not match or match.group(1) not in FAMILIES:
        raise GpufleetError(
            "engine_version=%s is not supported: this planner knows TensorRT-LLM %s (for example %s)."
            % (text, " and ".join(name + ".x" for name in FAMILIES), NEWEST),
            supported_families=list(FAMILIES),
        )
    family, major, minor, patch = match.groups()
    return Version(family + (patch or ".0"), family, (int(major), int(minor)))


def normalize(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The user's settings by the names used here, checked; GpufleetError names the option and what to do."""
    if not isinstance(settings, t.Mapping):
        raise GpufleetError("settings is a %s, a dictionary is needed." % type(settings).__name__)
    result: t.Dict[str, t.Any] = {}
    for key in sorted(settings, key=str):
        name = check_name(str(key))
        if name in result:
            raise GpufleetError("settings name %s twice: once is enough." % name)
        result[name] = check_value(name, settings[key])
    return result


def check_name(key: str) -> str:
    """``--tensor-parallel-size`` and its like as the one name used here; GpufleetError for an unknown one."""
    name = key.strip().lstrip("-").replace("-", "_")
    name = ALIASES.get(name, name)
    if name in REPLACED:
        raise GpufleetError("settings.%s is no option of trtllm-serve %s; set %s." % (key, FAMILIES[-1], REPLACED[name]))
    if name not in KINDS:
        close = difflib.get_close_matches(name, [*KINDS, *ALIASES], 3, 0.7)
        hint = " Did you mean %s?" % " or ".join(close) if close else " `trtllm-serve --help` lists them."
        raise GpufleetError("settings.%s is no option of trtllm-serve %s.%s" % (key, FAMILIES[-1], hint))
    return name


def check_value(name: str, value: t.Any) -> t.Any:
    """The value in the option's own type; GpufleetError when it has another."""
    kind = KINDS[name]
    if value is None or value == "":
        raise GpufleetError("settings.%s is empty. Leave the option out to get the default." % name)
    if isinstance(kind, tuple):
        if str(value) not in kind:
            raise _wrong(name, value, _why_not(name) or "one of " + ", ".join(kind))
        return str(value)
    if kind == "flag":
        known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if str(value).lower() not in known:
            raise _wrong(name, value, "true or false")
        return known[str(value).lower()]
    if kind in ("int", "float"):
        return _number(name, value, kind)
    if kind == "repeat":
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        if not items or any(item is None or item == "" for item in items):
            raise _wrong(name, value, "a list without empty items")
        return [str(item) for item in items]
    if kind in ("file", "json"):
        if not isinstance(value, t.Mapping) or not value:
            raise _wrong(name, value, "a dictionary%s" % (", of which the role makes the file" if kind == "file" else ""))
        return _check_file(value) if kind == "file" else dict(value)
    if isinstance(value, (dict, list, tuple, bool)):
        raise _wrong(name, value, "text")
    return str(value)


def _number(name: str, value: t.Any, kind: str) -> t.Union[int, float]:
    try:
        if isinstance(value, bool):
            raise ValueError
        number: t.Union[int, float] = int(str(value)) if kind == "int" else float(str(value))
    except ValueError:
        raise _wrong(name, value, "a whole number" if kind == "int" else "a number") from None
    if name in _FROM_ONE and number < 1:
        raise _wrong(name, value, "1 or more")
    if name == "kv_cache_free_gpu_memory_fraction" and not 0 < number < 1:
        raise _wrong(name, value, "a number between 0 and 1")
    return number


def _check_file(value: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What goes into the file and what does not: all that the plan works with has one place."""
    result = json.loads(json.dumps(value))
    for key, option in _FILE_TWINS.items():
        if key in result:
            raise GpufleetError("settings.extra_llm_api_options.%s: set it as settings.%s instead." % (key, option))
    cache = result.get("kv_cache_config")
    if cache is not None and not isinstance(cache, dict):
        raise _wrong("extra_llm_api_options.kv_cache_config", cache, "a dictionary")
    if cache and "free_gpu_memory_fraction" in cache:
        raise GpufleetError(
            "settings.extra_llm_api_options.kv_cache_config.free_gpu_memory_fraction: set it as "
            "settings.kv_cache_free_gpu_memory_fraction instead."
        )
    return result


def _why_not(name: str) -> str:
    if name == "backend":
        return "pytorch: the TensorRT backend is gone from 1.3 on, and _autodeploy is not worked out"
    return ""


def _wrong(name: str, value: t.Any, wanted: str) -> GpufleetError:
    return GpufleetError("settings.%s=%s: give %s." % (name, value, wanted))


def render(settings: t.Mapping[str, t.Any], config_file: t.Optional[str] = None) -> t.List[str]:
    """``{"tp_size": 2, "trust_remote_code": True}`` -> ``["--tp_size", "2", "--trust_remote_code"]``, sorted by name.

    ``config_file`` is where the content of extra_llm_api_options lies for trtllm-serve.
    """
    words: t.List[str] = []
    for name, value in normalize(settings).items():
        kind = KINDS[name]
        if kind == "flag":
            words += ["--" + name] if value else []
        elif kind == "repeat":
            for item in value:
                words += ["--" + name, item]
        elif kind == "file":
            if not config_file:
                raise GpufleetError("extra_llm_api_options needs a file: pass its path as config_file.")
            words += ["--" + name, config_file]
        elif kind == "json":
            words += ["--" + name, json.dumps(value, sort_keys=True, separators=(",", ":"))]
        else:
            words += ["--" + name, str(value)]
    return words
