# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's variables of an Ollama plan, and the rules of thumb where nothing better is known."""

from __future__ import annotations

import typing as t

from . import values
from ..facts import Host
from .solve import Solution, Solver
from .variables import QUANTIZED_KV
from .wishes import Wishes
from ..units import ceil_div

MEMORY_PER_MODEL = 64 * 10**9
MAX_QUEUE = 1024
_SLOW_DISK = 100 * 10**6  # bytes a second; what is slower is broken


def settings(host: Host, solver: Solver, solution: Solution) -> t.Dict[str, t.Any]:
    """The server's variables in their own types."""
    wishes = solver.wishes
    found: t.Dict[str, t.Any] = {
        "OLLAMA_CONTEXT_LENGTH": wishes.context or max(item.load.context for item in solution.loaded),
        "OLLAMA_NUM_PARALLEL": solution.parallel,
        "OLLAMA_MAX_LOADED_MODELS": max_loaded(host, solver, solution),
        "OLLAMA_MAX_QUEUE": MAX_QUEUE,
        "OLLAMA_KEEP_ALIVE": keep_alive(wishes, solution),
        "OLLAMA_LOAD_TIMEOUT": load_timeout(solution),
        "OLLAMA_NO_CLOUD": True,
    }
    if solution.kv_type != "f16" or wishes.kv_type:
        found["OLLAMA_KV_CACHE_TYPE"] = solution.kv_type
    if solution.kv_type in QUANTIZED_KV:
        found["OLLAMA_FLASH_ATTENTION"] = True
    if solution.spread:
        found["OLLAMA_SCHED_SPREAD"] = True
    if solver.fit_target_mib() is not None:
        found["LLAMA_ARG_FIT_TARGET"] = [solver.fit_target_mib()]
    if wishes.gpus == 0 and host.devices:
        found["CUDA_VISIBLE_DEVICES"] = ["-1"]
        found["ROCR_VISIBLE_DEVICES"] = ["-1"]
        found["GGML_VK_VISIBLE_DEVICES"] = ["-1"]
    elif isinstance(wishes.gpus, tuple) and solver.cards:
        name = "CUDA_VISIBLE_DEVICES" if solver.cards[0].library == "CUDA" else "ROCR_VISIBLE_DEVICES"
        found[name] = [card.id for card in solver.cards]
    found.update(wishes.server)
    return found


def max_loaded(host: Host, solver: Solver, solution: Solution) -> int:
    """The models that were shown to fit together; where only one is known, one per 64 GB and at most three per GPU."""
    if len(solution.loaded) > 1:
        return solution.together
    return max(1, min(host.memory_total_bytes // MEMORY_PER_MODEL, 3 * max(1, len(solver.cards))))


def keep_alive(wishes: Wishes, solution: Solution) -> float:
    """For ever where all models stay loaded together: nothing else wants the memory. Else Ollama's five minutes."""
    if wishes.keep_alive is not None:
        return wishes.keep_alive
    return values.FOREVER if solution.together == len(solution.loaded) else 300.0


def load_timeout(solution: Solution) -> float:
    """Time without a word from llama-server: enough to read the largest model from a slow disk, in whole minutes."""
    slowest = max(item.wish.model.file_bytes + item.wish.model.projector for item in solution.loaded)
    return max(300.0, 60.0 * ceil_div(slowest, 60 * _SLOW_DISK))
