# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings as the words of a ``vllm serve`` command line."""

from __future__ import annotations

import json
import typing as t

from ..errors import GpufleetError
from .option_table import KINDS
from .versions import normalize_settings, parse_version


def render(settings: t.Mapping[str, t.Any], engine_version: t.Optional[str] = None) -> t.List[str]:
    """``{"tensor_parallel_size": 2, "enforce_eager": True}`` -> ``["--enforce-eager", "--tensor-parallel-size", "2"]``.

    Sorted by name, so equal settings give equal words. A value is never joined with ``=`` (vLLM ignores
    ``--config=x``) and never empty. Raises GpufleetError for an option the version does not have.
    """
    if not isinstance(settings, dict):
        raise GpufleetError("vllm_arguments wants a dictionary of settings, got %s." % type(settings).__name__)
    words: t.List[str] = []
    for name, value in normalize_settings(settings, parse_version(engine_version, "cuda")).items():
        flag = "--" + name.replace("_", "-")
        kind = KINDS[name]
        if kind == "bool":
            words.append(flag if value else "--no-" + flag[2:])
        elif kind == "flag":
            words.extend([flag] if value else [])
        elif kind == "json":
            words.extend([flag, value if isinstance(value, str) else _json(value)])
        elif kind == "list":
            words.append(flag)
            words.extend(item if isinstance(item, str) else _text(item) for item in value)
        elif kind == "csv":
            words.extend([flag, ",".join(_text(item) for item in value)])
        elif kind == "repeat":
            for item in value:
                words.extend([flag, _text(item)])
        else:
            words.extend([flag, _text(value)])
    return words


def _text(value: t.Any) -> str:
    return _json(value) if isinstance(value, (dict, list, tuple, bool)) else str(value)


def _json(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
