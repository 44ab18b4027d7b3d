# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What measurements had to say about a plan: its reasons and warnings."""

from __future__ import annotations

import math
import typing as t

from .budget import Budget
from .calibration import (
    TOLERANCE,
    Calibration,
    Configuration,
    canonical,
    contradictory,
    differing,
    estimated_kv,
    kv_error,
    usual_size,
)
from .kv_cache import CacheLayout
from .units import gib

if t.TYPE_CHECKING:
    from .wishes import Draft

_NEAR = 2  # settings by which a measurement may differ and still be worth a word


def cuda(memory: Budget, layout: CacheLayout, known: Calibration, wanted: Configuration, draft: "Draft") -> None:
    """What measurements had to say about the chosen plan on GPUs."""
    _blocks_and_versions(layout, known, wanted, draft)
    fresh = [one for one in known.of(wanted) if not one.stale]
    if not all(one.possible(memory.weights) for one in fresh):
        draft.warnings.append(
            "A measurement of these settings leaves less than half of the weights (%s) beside the KV cache: "
            "it cannot be of this model, and is ignored." % gib(memory.weights)
        )
    sizes = known.overheads(wanted, memory.weights)
    if sizes:
        _overhead(memory, sizes, draft)


def cpu(layout: CacheLayout, known: Calibration, wanted: Configuration, draft: "Draft") -> None:
    """On a CPU the KV cache is as large as it is told to be: there is nothing to correct, only to compare."""
    _blocks_and_versions(layout, known, wanted, draft)


def _blocks_and_versions(layout: CacheLayout, known: Calibration, wanted: Configuration, draft: "Draft") -> None:
    draft.warnings.extend(known.problems)
    fitting = known.of(wanted)
    stale = sorted({str(one.engine_version) for one in fitting if one.stale})
    if stale:
        draft.warnings.append(
            "A measurement of these settings is stale: vLLM %s answered, the plan it ran by was for %s. It is ignored."
            % (", ".join(stale), wanted["engine_version"])
        )
    told = {(one.blocks, layout.num_blocks(one.given)) for one in fitting if one.given is not None and not one.stale}
    for blocks, computed in sorted(told):
        if abs(blocks - computed) > TOLERANCE * computed:
            draft.warnings.append(
                "The engine made %s blocks of a KV cache for which %s are computed, %.0f %% %s. That is arithmetic, "
                "not an estimate, so it is not corrected: please report it with the model's config.json."
                % (format(blocks, ","), format(computed, ","), *_percent(blocks / max(1, computed) - 1))
            )
        else:
            draft.reasons.append(
                "Measured: the engine made %s blocks of the KV cache it was given, %s are computed."
                % (format(blocks, ","), format(computed, ","))
            )
    near = None if fitting else _near_miss(known, wanted)
    if near:
        draft.reasons.append(near)


def _overhead(memory: Budget, sizes: t.Sequence[int], draft: "Draft") -> None:
    usual, guess = usual_size(sizes), memory.estimated.expected
    error = kv_error(memory, usual)
    took = "Measured at %s with these settings: all but the KV cache took %s, %s were estimated" % (
        "%d starts" % len(sizes) if len(sizes) > 1 else "a start",
        gib(memory.weights + usual),
        gib(memory.weights + guess),
    )
    if abs(error) > TOLERANCE:
        draft.reasons.append(took + ". The plan goes by the measurement.")
        given, estimated = max(0, memory.requested - memory.weights - usual), max(0, estimated_kv(memory))
        if memory.fixed_kv is None:
            draft.warnings.append(
                "The estimate was off by more than 5 %%: "
                "%s of KV cache, while the engine gives %s with these settings%s."
                % (gib(estimated), gib(given), " (%.0f %% %s)" % _percent(error) if math.isfinite(error) else "")
            )
    elif memory.overhead.high > memory.estimated.high:
        draft.reasons.append(took + ". That is about the estimate's most or more, so the plan promises less.")
    else:
        draft.reasons.append(took + ". That confirms the estimate, and its low end stays the promise.")
    if contradictory(sizes):
        draft.warnings.append(
            "Measurements of these settings contradict each other: all but the KV cache took %s to %s. "
            "The plan goes by the largest." % (gib(memory.weights + sizes[0]), gib(memory.weights + sizes[-1]))
        )


def _percent(error: float) -> t.Tuple[float, str]:
    return abs(error) * 100, "more" if error > 0 else "less"


def _near_miss(known: Calibration, wanted: Configuration) -> t.Optional[str]:
    """The measurement of the same model that differs least, where that is little; None otherwise."""
    near = []
    for one in known.measurements:
        keys = differing(one.configuration, wanted)
        if len(keys) <= _NEAR and not {"model", "variant"} & set(keys) and not one.stale:
            near.append((len(keys), canonical(one.configuration), keys, one))
    if not near:
        return None
    _number, _text, keys, one = min(near, key=lambda item: item[:2])
    differences = " and ".join(
        "%s %s, not %s" % (key, _value(key, one.configuration.get(key)), _value(key, wanted.get(key))) for key in keys
    )
    return "A measurement of this model does not count: it was with %s. So the estimate stands." % differences


def _value(key: str, value: t.Any) -> str:
    if key.endswith("_bytes") and isinstance(value, int):
        return gib(value)
    return value if isinstance(value, str) else canonical(value)
