# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Planning vLLM on NVIDIA GPUs: which of them, split how, and whether it fits."""

from __future__ import annotations

import dataclasses
import typing as t

from . import calibration, capability, devices, explain, parallel, refusals, remedies
from .devices import Seat
from .facts import Device, Host, Model, Quantization
from .fit import Fit, context_limit, kv_dtype_of, kv_layout, numbers, work_out
from .units import GIB
from .weights import Split, rank_bytes
from .wishes import Draft, Wishes

GGUF = Quantization("gguf", None, None, None, None, None)


@dataclasses.dataclass(frozen=True)
class Candidate:
    seats: t.Tuple[Seat, ...]
    split: Split
    linked: bool


def plan(model: Model, host: Host, wishes: Wishes) -> Draft:
    """The plan for the CUDA build; a refusal still carries the numbers of the closest fit."""
    draft = Draft()
    if not host.devices:
        draft.refuse(refusals.Refusal("no_gpu", "The host has no GPU.", remedies=["run on the CPU: variant: cpu"]))
    elif not host.nvidia:
        draft.refuse(refusals.unusable([devices.why_unusable(device) for device in host.devices]))  # type: ignore[misc]
    else:
        draft.refuse(refusals.driver(host, wishes.version, wishes))
    groups = seat_groups(host, wishes, draft)
    if not groups:
        draft.numbers = _model_numbers(model, wishes)
        return draft
    _check_model(model, groups, wishes, draft)
    possible = candidates(model, host, groups, wishes, draft)
    fits = [work_out(model, item.seats, item.split, item.linked, wishes) for item in possible]
    best = choose(fits, wishes, model)
    _write(model, host, best, groups, wishes, draft)
    if not best.fits:
        rest = [seat for group in groups for seat in group]
        draft.refuse(remedies.memory_refusal(model, host, best, rest, wishes))
    return draft


def seat_groups(host: Host, wishes: Wishes, draft: Draft) -> t.List[t.List[Seat]]:
    """Usable devices, those of one model together; a slice is a group of its own. Refuses what cannot be."""
    chosen: t.Sequence[Device] = host.nvidia
    if isinstance(wishes.gpus, tuple):
        chosen, missing = devices.find(host, wishes.gpus)
        if missing:
            draft.refuse(refusals.not_found(host, missing))
            chosen = chosen or host.nvidia
    usable, problems = [], []
    for device in chosen:
        problem = devices.why_unusable(device)
        if problem is None:
            usable.append(device)
        elif not (problem[0] == "mig_card" and wishes.gpus is None):
            problems.append(problem)
    explicit = isinstance(wishes.gpus, tuple)
    if problems and (explicit or not usable):
        draft.refuse(refusals.unusable(problems))
    elif problems:
        draft.warnings.extend("Not used: %s." % text for _code, text in problems)
    if not usable:
        usable = [device for device in chosen if device.total_bytes and device.vendor == "nvidia"]  # for the numbers
    seats = [devices.seat(device, wishes.own_units, wishes.claims) for device in usable]
    slices = [seat for seat in seats if seat.device.is_slice]
    if explicit and len(slices) > 1:
        draft.refuse(refusals.mig_parallel(len(slices)))
        return [slices[:1]]
    groups: t.Dict[t.Any, t.List[Seat]] = {}
    for seat in seats:
        groups.setdefault(seat.device.id if seat.device.is_slice else seat.kind, []).append(seat)
    ordered = sorted(groups.values(), key=lambda group: -sum(seat.free for seat in group))
    if explicit and len(ordered) > 1:
        if not _parallel_fixed(wishes):
            draft.refuse(refusals.mixed(ordered, "gpus: [%s]" % ", ".join(wishes.gpus or ())))  # type: ignore[arg-type]
            return ordered[:1]
        draft.warnings.append(
            "Different GPU models in one engine, as fixed in settings: planned on the smallest of %s."
            % "; ".join(devices.describe(group) for group in ordered)
        )
        return [seats]
    return ordered


def _parallel_fixed(wishes: Wishes) -> bool:
    return bool(wishes.fixed("tensor_parallel_size") or wishes.fixed("pipeline_parallel_size"))


def _check_model(model: Model, groups: t.Sequence[t.Sequence[Seat]], wishes: Wishes, draft: Draft) -> None:
    """What the GPU generation cannot run at all; and the context against the model's limit."""
    cap = max(min(seat.device.capability or capability.LEAST_CAPABILITY for seat in group) for group in groups)
    if model.format == "gguf":
        problem = capability.quantization_problem(GGUF, cap)
        draft.refuse(refusals.quantization(str(problem), gone=True))
    problem = capability.quantization_problem(model.quantization, cap)
    if problem:
        draft.refuse(refusals.quantization(problem, gone="left vLLM" in problem))
    dtype = capability.compute_dtype(model, wishes.fixed("dtype"), cap)
    if wishes.fixed("dtype") in (None, "auto") and capability.must_run_float32(model, cap):
        problem = "%s overflows in float16, and bfloat16 needs compute capability 8.0 or higher, this GPU has %s" % (
            model.model_type, capability.text(cap)
        )  # fmt: skip
        draft.refuse(refusals.dtype(model, "float16", problem, cap))
    else:
        problem = capability.dtype_problem(model, dtype, cap)
        if problem:
            draft.refuse(refusals.dtype(model, dtype, problem, cap))
    name = kv_dtype_of(model, wishes)
    problem = capability.kv_dtype_problem(name, cap, model)
    if problem:
        draft.refuse(refusals.kv_dtype(name, problem))
    check_context(model, wishes, draft)


def check_context(model: Model, wishes: Wishes, draft: Draft) -> None:
    limit = model.max_position
    if wishes.context is None or not limit or wishes.context <= limit:
        return
    if wishes.fixed("hf_overrides"):
        draft.warnings.append(
            "context %d is beyond the model's %d tokens: it relies on settings.hf_overrides." % (wishes.context, limit)
        )
    else:
        draft.refuse(refusals.context(wishes.context, limit))


def candidates(
    model: Model, host: Host, groups: t.Sequence[t.List[Seat]], wishes: Wishes, draft: Draft
) -> t.List[Candidate]:
    """Every way worth working out; never empty."""
    whole = [group for group in groups if not group[0].device.is_slice]
    replicas = int(wishes.fixed("data_parallel_size") or 1)
    if replicas > 1 and not _parallel_fixed(wishes):
        found = _replicated(model, host, groups, whole, replicas, wishes)
        return found or [_fixed_candidate(model, host, groups, whole, wishes, draft)]
    if _parallel_fixed(wishes):
        return [_fixed_candidate(model, host, groups, whole, wishes, draft)]
    forced = bool(wishes.fixed("enable_expert_parallel"))
    if isinstance(wishes.gpus, tuple):
        group = groups[0]
        if len(group) > 1 and any(devices.exclusive(seat.device) for seat in group):
            draft.refuse(refusals.exclusive(group))
        return [_of(model, group, len(group), host, forced)]
    if isinstance(wishes.gpus, int):
        return _counted(model, host, groups, whole, wishes, draft)
    result = []
    for group in groups:
        most = 1 if any(devices.exclusive(seat.device) for seat in group) else len(group)
        for split in parallel.splits(model, most, only_ranks=False, expert_parallel=forced):
            seats, linked = devices.choose(group, split.ranks, host.nvswitches)
            result.append(Candidate(tuple(seats), split, linked))
    return result


def _replicated(
    model: Model,
    host: Host,
    groups: t.Sequence[t.List[Seat]],
    whole: t.Sequence[t.List[Seat]],
    replicas: int,
    wishes: Wishes,
) -> t.List[Candidate]:
    """``data_parallel_size`` alone is fixed: every split of which there is room for so many."""
    result = []
    for group in groups[:1] if isinstance(wishes.gpus, tuple) else whole:
        if group[0].device.is_slice or any(devices.exclusive(seat.device) for seat in group):
            continue
        number = len(group) if isinstance(wishes.gpus, tuple) else wishes.gpus or len(group)
        if number > len(group):
            continue
        forced = bool(wishes.fixed("enable_expert_parallel"))
        for split in parallel.splits(model, number // replicas, wishes.gpus is not None, forced):
            split = dataclasses.replace(split, dp=replicas)
            seats, linked = devices.choose(group, split.ranks, host.nvswitches)
            result.append(Candidate(tuple(seats), split, linked))
    return result


def _counted(
    model: Model,
    host: Host,
    groups: t.Sequence[t.List[Seat]],
    whole: t.Sequence[t.List[Seat]],
    wishes: Wishes,
    draft: Draft,
) -> t.List[Candidate]:
    """``gpus: N``: exactly that many of one model."""
    number, forced = int(wishes.gpus), bool(wishes.fixed("enable_expert_parallel"))  # type: ignore[arg-type]
    if number == 1:
        return [_of(model, group, 1, host, forced) for group in groups]
    large = [group for group in whole if len(group) >= number]
    if not large:
        everything = [seat for group in whole for seat in group]
        if len(everything) >= number:
            draft.refuse(refusals.mixed(whole, "gpus: %d" % number))
        elif not whole:
            draft.refuse(refusals.mig_parallel(number))
        else:
            draft.refuse(refusals.too_few(number, everything, "gpus: %d" % number))
        largest = max(whole or groups, key=len)
        return [_of(model, largest, min(number, len(largest)), host, forced)]
    if all(any(devices.exclusive(seat.device) for seat in group) for group in large):
        draft.refuse(refusals.exclusive(large[0]))
    return [_of(model, group, number, host, forced) for group in large]


def _of(model: Model, group: t.Sequence[Seat], number: int, host: Host, forced: bool) -> Candidate:
    seats, linked = devices.choose(group, number, host.nvswitches)
    found = parallel.splits(model, number, only_ranks=True, expert_parallel=forced)
    return Candidate(tuple(seats), found[0] if found else Split(1, 1), linked)


def _fixed_candidate(
    model: Model,
    host: Host,
    groups: t.Sequence[t.List[Seat]],
    whole: t.Sequence[t.List[Seat]],
    wishes: Wishes,
    draft: Draft,
) -> Candidate:
    """tensor_parallel_size and pipeline_parallel_size as the user fixed them."""
    tp = int(wishes.fixed("tensor_parallel_size") or 1)
    dp = int(wishes.fixed("data_parallel_size") or 1)
    pp = wishes.fixed("pipeline_parallel_size")
    if pp is None:
        given = len(groups[0]) if isinstance(wishes.gpus, tuple) else wishes.gpus or tp * dp
        pp = max(1, given // (tp * dp))
    forced = bool(wishes.fixed("enable_expert_parallel")) and bool(model.moe)
    problem = parallel.tp_problem(model, tp, forced)
    expert_parallel = forced
    if problem and not forced and model.moe and not parallel.tp_problem(model, tp, expert_parallel=True):
        problem, expert_parallel = None, True
    split = Split(tp, int(pp), dp, expert_parallel)
    large = [group for group in whole or groups if len(group) >= split.ranks]
    group = (large or sorted(groups, key=len, reverse=True))[0]
    if problem:
        possible = [size for size in range(1, len(group) + 1) if parallel.possible(model, size, 1)]
        draft.refuse(refusals.parallel(problem, tp, possible))
        split = Split(1, 1)
    if split.ranks > 1 and group[0].device.is_slice:
        draft.refuse(refusals.mig_parallel(split.ranks))
    elif split.ranks > len(group):
        why = "tensor_parallel_size %d x pipeline_parallel_size %d" % (split.tp, split.pp)
        draft.refuse(refusals.too_few(split.ranks, group, why + (" x data_parallel_size %d" % dp if dp > 1 else "")))
    elif split.ranks > 1 and any(devices.exclusive(seat.device) for seat in group):
        draft.refuse(refusals.exclusive(group))
    seats, linked = devices.choose(group, min(split.ranks, len(group)), host.nvswitches)
    return Candidate(tuple(seats), split, linked)


def choose(fits: t.Sequence[Fit], wishes: Wishes, model: Model) -> Fit:
    """The fit that serves ``prefer`` best; when none fits, the one that is least short."""
    working = [fit for fit in fits if fit.promised] or [fit for fit in fits if fit.fits]
    if not working:
        return min(fits, key=lambda fit: (fit.short, fit.split.ranks))
    working = [fit for fit in working if fit.split.pp == 1] or working  # stages only where tensor parallelism cannot
    comfortable = [fit for fit in working if fit.comfortable]
    if wishes.prefer == "latency":
        fast = [fit for fit in comfortable or working if _gains_speed(fit)]
        if fast:
            return max(fast, key=lambda fit: (fit.split.tp, -fit.split.ranks, _room(fit)))
    if comfortable:
        return min(comfortable, key=lambda fit: (fit.split.ranks, -_rounded_room(fit)))
    return max(working, key=lambda fit: (round(_room(fit), 2), -fit.split.ranks))


def _gains_speed(fit: Fit) -> bool:
    """One GPU, or several that NVLink joins and that each have enough weights to read to be worth the exchange."""
    return fit.split.ranks == 1 or (fit.linked and fit.split.pp == 1 and fit.budget.weights >= 2 * GIB)


def _room(fit: Fit) -> float:
    """Tokens the cache holds at least: what makes one fit roomier than another."""
    return fit.capacity(fit.budget.kv.low)[1]


def _rounded_room(fit: Fit) -> int:
    return int(_room(fit)) // 8192


def _model_numbers(model: Model, wishes: Wishes) -> t.Dict[str, t.Any]:
    """What is known without any GPU: the model's own sizes, unsplit."""
    from_settings = Split(
        int(wishes.fixed("tensor_parallel_size") or 1), int(wishes.fixed("pipeline_parallel_size") or 1)
    )
    problem = parallel.tp_problem(model, from_settings.tp)
    split = Split() if problem else from_settings
    dtype = capability.compute_dtype(model, wishes.fixed("dtype"), (8, 0))
    layout = kv_layout(model, split, wishes, dtype, kv_dtype_of(model, wishes), (8, 0))
    return {
        "gpus": [],
        "weights_bytes_per_gpu": max(rank_bytes(model, split, dtype)),
        "kv_bytes_per_token": layout.token_bytes,
        "block_size": layout.block_size,
        "context_limit_tokens": context_limit(model),
    }


def _write(
    model: Model, host: Host, best: Fit, groups: t.Sequence[t.Sequence[Seat]], wishes: Wishes, draft: Draft
) -> None:
    """Settings, environment, numbers, reasons of the chosen fit."""
    draft.devices = [seat.device.id for seat in best.seats]
    draft.settings = {
        "dtype": best.dtype,
        "tensor_parallel_size": best.split.tp,
        "max_model_len": best.context,
        "max_num_seqs": best.batch.max_num_seqs,
        "max_num_batched_tokens": best.batch.max_num_batched_tokens,
        "gpu_memory_utilization": best.utilization,
    }
    if best.split.pp > 1:
        draft.settings["pipeline_parallel_size"] = best.split.pp
    if best.split.expert_parallel:
        draft.settings["enable_expert_parallel"] = True
    draft.settings.update(wishes.settings)
    draft.environment = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(draft.devices)}
    if wishes.cuda_compatibility:
        draft.environment["VLLM_ENABLE_CUDA_COMPATIBILITY"] = "1"
    draft.numbers = numbers(best)
    draft.configuration = calibration.configuration(
        model, best.seats, best.split, best.linked, best.dtype, best.kv_dtype, best.layout.block_size, best.batch, wishes
    )
    explain.cuda(model, host, best, groups, wishes, draft)
