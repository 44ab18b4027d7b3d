# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Speculative decoding with a draft that is one more layer: multi-token prediction (MTP) and EAGLE heads.

The layer has weights and a KV cache of its own, in 16 bit also where the model is quantized, and a matrix that joins
embedding and hidden state (vllm 0.33 model_executor/models/deepseek_mtp.py, qwen3_5_mtp.py, llama_eagle.py). Llama 3.1
8B with EAGLE shows 33 layers' bytes per token.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from .facts import Group, Model

_ONE_LAYER = ("mtp", "eagle", "eagle3")
_WITHOUT_MEMORY = (None, "ngram", "ngram_gpu", "suffix")


# Options of their own for what ``speculative_config`` says (vllm 0.33 engine/arg_utils.py create_speculative_config).
_ALONE = {"spec_method": "method", "spec_model": "model", "spec_tokens": "num_speculative_tokens"}


def _speculative(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    stated = settings.get("speculative_config")
    result = {str(key).replace("-", "_"): value for key, value in stated.items()} if isinstance(stated, dict) else {}
    result.update({key: settings[name] for name, key in _ALONE.items() if settings.get(name) is not None})
    return result


def method(settings: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """``speculative_config.method``, with the names that models have for MTP as ``mtp``."""
    speculative = _speculative(settings)
    if not speculative:
        return None
    found = str(speculative.get("method") or ("draft_model" if speculative.get("model") else "ngram")).lower()
    return "mtp" if found.endswith("_mtp") else found


def without_memory(settings: t.Mapping[str, t.Any]) -> bool:
    """Whether there is no draft, or one by n-grams, which has neither weights nor a KV cache."""
    return method(settings) in _WITHOUT_MEMORY


def counted(settings: t.Mapping[str, t.Any]) -> bool:
    """Whether the draft's memory is in the plan."""
    return without_memory(settings) or method(settings) in _ONE_LAYER


def tokens(settings: t.Mapping[str, t.Any]) -> int:
    return int(_speculative(settings).get("num_speculative_tokens") or 0)


def added(model: Model, settings: t.Mapping[str, t.Any]) -> Model:
    """The model with its draft layer, where there is one."""
    return _with_layer(model) if method(settings) in _ONE_LAYER else model


@functools.lru_cache(maxsize=256)
def _with_layer(model: Model) -> Model:
    kinds = [kind for kind in ("mla", "full", "sliding") if kind in model.layer_kinds]
    if not kinds:
        return model
    donor = max(index for index, kind in enumerate(model.layer_kinds) if kind == kinds[0])
    groups = list(model.groups)
    for group in model.groups:
        if group.place == "layers" and donor in group.layers:
            size = 2 * group.parameters if group.quantized else group.bytes
            dtype = "bfloat16" if group.quantized else group.dtype
            groups.append(
                dataclasses.replace(group, layers=(model.layers,), bytes=size, dtype=dtype, quantized=False)
            )
    joined = 2 * model.hidden_size * model.hidden_size
    groups.append(
        Group(
            name="draft.join", place="layers", layers=(model.layers,), parameters=joined, bytes=2 * joined,
            dtype=model.dtype, quantized=False, sharding="replicated", heads=None, rows=None, input_size=None,
            output_size=None,
        )
    )  # fmt: skip
    per_layer = dict(model.per_layer)
    if donor in per_layer:
        per_layer[model.layers] = per_layer[donor]
    return dataclasses.replace(
        model, layer_kinds=model.layer_kinds + (kinds[0],), groups=tuple(groups), per_layer=per_layer
    )
