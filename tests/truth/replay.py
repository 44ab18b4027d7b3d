# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measured deployments through model_info's and vllm_plan's own code: what was predicted, what the engine did.

    python tests/truth/replay.py [--cases FILE...] [--configs FILE...]

A case's flags are fixed settings; what it does not state is its engine version's default. Where a report does not say
how much KV cache in GiB there was, but tokens, and every layer keeps every token, the tokens are turned into bytes.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import statistics
import sys
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent.parent / "plugins"))
import shorthand  # noqa: E402
from module_utils.errors import GpufleetError  # noqa: E402
from module_utils.models.facts import facts_from_config  # noqa: E402
from module_utils.planning import generations, gpus, vllm  # noqa: E402
from module_utils.planning.units import GIB  # noqa: E402
from module_utils.planning.versions import parse_version  # noqa: E402

Dict = t.Dict[str, t.Any]

# Failures for want of memory; an engine that could not start for another reason says nothing about sizes.
MEMORY_FAILURES = ("kv_too_small", "no_kv_blocks", "cuda_oom", "free_mem_check_failed", "mamba_blocks_too_few")
# The models whose logs the estimated terms were derived from (planning/terms.py names the figures). All others are set
# aside: they judge the terms, nothing was chosen to suit them.
FITTED = re.compile(
    r"Llama-3\.1-8B|Meta-Llama-3-8B|Qwen2-7B|Phi-4-mini|phi-4-bnb|Qwen2\.5-0\.5B|Qwen3-4B-Base|meta-llama-3\.1-8b|"
    r"Qwen3-235B|DeepSeek-R1-0528|gpt-oss|Qwen3-30B-A3B$|Llama-3\.3-70B|Qwen2\.5-7B-Instruct$|Qwen3-14B|MERaLiON|"
    r"Qwen3-30B-A3B-Instruct-2507|gemma-4-26B|Qwen3\.6-35B|Qwen3-0\.6B"
)
# Where a report names no version: what was current when it was written, by the number of its issue at
# vllm-project/vllm or a date in its text. First number or month -> version.
BY_ISSUE = (
    (57900, "0.32.0"), (56300, "0.31.0"), (54000, "0.29.0"), (51000, "0.27.0"), (48600, "0.26.0"), (44400, "0.22.0"),
    (41300, "0.20.0"), (36700, "0.17.0"), (30600, "0.12.0"), (25000, "0.10.2"), (21300, "0.9.2"), (18000, "0.8.5"),
    (16000, "0.8.3"), (14000, "0.7.3"), (12000, "0.6.6"), (10500, "0.6.4"), (7400, "0.5.4"), (5200, "0.4.3"),
    (3500, "0.3.3"), (0, "0.2.1"),
)  # fmt: skip
BY_MONTH = (
    ("2026-10", "0.31.0"), ("2026-08", "0.27.0"), ("2026-07", "0.25.0"), ("2026-06", "0.22.0"), ("2026-04", "0.19.0"),
    ("2026-01", "0.14.0"), ("2025-11", "0.11.2"), ("2025-09", "0.10.2"), ("2025-07", "0.9.2"), ("2025-05", "0.8.5"),
    ("2025-02", "0.7.2"), ("2024-11", "0.6.4"), ("2024-08", "0.5.4"), ("2024-05", "0.4.2"), ("2023-09", "0.2.1"),
)  # fmt: skip
ASSUMED = {"V0": "0.7.3", "V1": "0.19.0"}  # and where it has neither
ARCHITECTURES = {
    "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
    "mistral": "MistralForCausalLM", "mixtral": "MixtralForCausalLM", "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM", "gemma3": "Gemma3ForConditionalGeneration", "phi3": "Phi3ForCausalLM",
    "qwen2_vl": "Qwen2VLForConditionalGeneration", "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration", "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3_next": "Qwen3NextForCausalLM", "qwen3_5": "Qwen3_5ForConditionalGeneration",
    "deepseek_v2": "DeepseekV2ForCausalLM", "seed_oss": "SeedOssForCausalLM", "gpt_neox": "GPTNeoXForCausalLM",
}  # fmt: skip


def model_config(case: Dict, configs: Dict) -> Dict:
    """The config.json of a case's model, its quantization written out."""
    config = dict(configs.get(case["model"]) or {})
    inner = config.get("text_config") if isinstance(config.get("text_config"), dict) else None
    if not (inner or config).get("hidden_size"):
        raise GpufleetError("its config.json was not found")
    if not config.get("model_type"):
        config["model_type"] = (inner or {}).get("model_type") or "llama"
    if inner and not inner.get("model_type") and config["model_type"] == "llama":
        config = dict(inner, model_type="llama")
    if not config.get("architectures"):
        config["architectures"] = [ARCHITECTURES.get(config["model_type"], "LlamaForCausalLM")]
    if "ForConditionalGeneration" in config["architectures"][0] and not config.get("vision_config"):
        alike = (other for other in configs.values() if other.get("model_type") == config["model_type"])
        config["vision_config"] = next((other["vision_config"] for other in alike if other.get("vision_config")), None)
    text = case.get("quantization") or config.get("_quantization") or config.get("_quant")
    if case.get("quantization") or str(config.get("_quantization") or "None") == "None":
        declared = config.get("quantization_config")
        written = shorthand.quantization_config(text, dict(config, _name=case["model"].lower()))
        exact = declared and _same_method(declared, text)
        config["quantization_config"] = declared if exact else written
    else:
        config["quantization_config"] = shorthand.quantization_config(text, config)
    if config["quantization_config"] is None:
        config.pop("quantization_config")
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _same_method(declared: Dict, text: t.Optional[str]) -> bool:
    method = str(declared.get("quant_method") or "").replace("-", "")
    words = (text or "").lower().replace("-", "")
    return bool(words) and (method in words or words.startswith(("fp8", "mxfp4")) and method in ("fp8", "mxfp4"))


def engine_version(case: Dict) -> str:
    generation = "V0" if case.get("engine_gen") == "V0" else "V1"
    text = _stated_version(case) or ASSUMED[generation]
    if generation == "V0" and parse_version(text, "cuda").number >= (0, 8):
        text += "+v0"
    if generation == "V1" and parse_version(text, "cuda").number < (0, 8):
        text = ASSUMED["V1"]
    return text


def _stated_version(case: Dict) -> t.Optional[str]:
    stated, source = str(case.get("version") or ""), str(case.get("source") or "")
    number = re.search(r"\b0\.\d+(?:\.\d+)?", stated)
    if number:
        return number.group(0)
    month = re.search(r"20\d\d-\d\d", stated) or re.search(r"20\d\d-\d\d", source)
    if month:
        return next((version for since, version in BY_MONTH if month.group(0) >= since), None)
    issue = re.search(r"vllm-project/vllm(?:#|/issues/|/pull/)(\d+)", source)
    return next((version for first, version in BY_ISSUE if int(issue.group(1)) >= first), None) if issue else None


def parallel(case: Dict) -> t.Tuple[int, int]:
    """Tensor and pipeline parallel size; where neither is stated, all GPUs, eight to a host."""
    if case.get("tp") or case.get("pp"):
        return int(case.get("tp") or 1), int(case.get("pp") or 1)
    number = int(case.get("gpu_count") or 1)
    return min(number, 8), max(1, number // 8)


def hardware(case: Dict) -> Dict:
    """The case's GPUs, idle. Cards of other vendors count by their memory: the arithmetic does not ask who made them."""
    number = parallel(case)[0] * parallel(case)[1]
    name = re.sub(r"\(.*?\)|^\d+ ?[x×] ?", "", str(case.get("gpu") or "")).split("/")[0].strip()
    stated = case.get("gpu_mem_gib")
    try:
        card = gpus.find(name)
    except GpufleetError:
        if not stated:
            raise GpufleetError("neither its GPU nor the memory is known") from None
        card = gpus.Gpu(name or "unknown", float(stated), "8.0")
    memory = card.memory_gib if stated is None or (stated == int(stated) and stated >= 40) else float(stated)
    facts = gpus.hardware("%d x RTX 3090" % number)
    for entry in facts["accelerators"]:
        entry.update(
            name=card.name,
            vendor="nvidia",
            compute_capability=card.capability or "9.0",
            memory_total_bytes=int(memory * GIB),
            memory_free_bytes=int(memory * GIB),
            memory_unified=card.link == "unified",
        )
    return facts


def replay(case: Dict, configs: Dict) -> Dict:
    """One case's row: prediction, outcome, errors."""
    row: Dict = {"case": case, "problem": None}
    try:
        config = model_config(case, configs)
        model = facts_from_config(config)
        machine = hardware(case)
        version = parse_version(engine_version(case), "cuda")
        card = machine["accelerators"][0]
        capability = tuple(int(part) for part in card["compute_capability"].split("."))
        context = int(case.get("max_model_len") or model["default_context"] or model["max_position"])
        sequences, tokens = generations.default_batch(
            version, card["memory_total_bytes"], card["name"], capability, context, model["multimodal"]
        )
        settings = {
            "tensor_parallel_size": parallel(case)[0],
            "pipeline_parallel_size": parallel(case)[1],
            "max_model_len": context,
            "gpu_memory_utilization": case.get("gmu") or generations.of(version).utilization,
            "max_num_seqs": int(case.get("max_num_seqs") or sequences),
            "max_num_batched_tokens": int(case.get("max_num_batched_tokens") or tokens),
            "enforce_eager": bool(case.get("enforce_eager")),
        }
        for option in ("dtype", "kv_cache_dtype"):
            if case.get(option) not in (None, "auto"):
                settings[option] = case[option]
        if case.get("ep"):
            settings["enable_expert_parallel"] = True
        settings.update(shorthand.settings(case))
        plan = vllm.make_plan(machine, model, {"engine_version": version.text, "settings": settings})
    except GpufleetError as error:
        row["problem"] = str(error).splitlines()[0][:100]
        return row
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:  # of one case, which must not hide the others
        row["problem"] = "defect: %r" % error
        return row
    numbers = plan["numbers"]
    row.update(plan=plan, model=model, settings=settings, numbers=numbers)
    total = numbers["total_memory_bytes"]
    kv = numbers["kv_cache_bytes"]
    measured = case.get("kv_gib")
    simple = set(model["layer_kinds"]) <= {"full", "mla", "none"} and not settings.get("decode_context_parallel_size")
    if measured is None and case.get("kv_tokens") and simple and numbers["kv_bytes_per_token"]:
        measured = case["kv_tokens"] * numbers["kv_bytes_per_token"] / GIB
        if "num-gpu-blocks-override" in str(case.get("other_flags")):
            measured = None
    row["predicted"] = kv["expected"] / GIB
    row["low"] = kv["low"] / GIB
    row["measured"] = measured
    row["total"] = total / GIB
    row["error"] = None if measured is None else (row["predicted"] - measured) / row["total"]
    row["error_kv"] = None if not measured or measured <= 0 else (row["predicted"] - measured) / measured
    weights = case.get("weights_gib")
    if weights is None and sizes_are_sixteen_bit(row):
        weights = numbers["weights_bytes_per_gpu"] / GIB  # exact for 16 bit
    row["weights"] = (numbers["weights_bytes_per_gpu"] + numbers["rope_cache_bytes"] + numbers["lora_bytes"]) / GIB
    stated = case.get("weights_gib")
    row["weights_error"] = None if not stated else (row["weights"] - stated) / row["total"]
    short = numbers["weights_bytes_per_gpu"] > numbers["requested_bytes"]
    said = plan["warnings"] + model["warnings"]
    row["whole"] = not any("not counted" in warning for warning in said)  # else the plan says that it lacks something
    row["promised"] = not short and kv["low"] >= numbers["kv_needed_bytes"]
    row["fits"] = not short and kv["expected"] >= numbers["kv_needed_bytes"]
    if measured is not None and case.get("gmu") is None and weights:
        # More than the default share was used: the report left gpu_memory_utilization out.
        if weights + measured > numbers["requested_bytes"] / GIB:
            row["problem"] = "uses more than gpu_memory_utilization's default"
            return row
    share = numbers["weights_bytes_per_gpu"] / GIB
    budget = numbers["requested_bytes"] / GIB
    row["gpustack"] = budget - (1.2 * share + 2)
    ranks = parallel(case)[0] * parallel(case)[1]
    row["naive"] = budget - model["parameters"] * 2 / GIB / ranks
    return row


def quantile(values: t.Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def summary(rows: t.Sequence[Dict], column: str = "predicted") -> Dict:
    """Median and 90th percentile of the absolute error in percent of GPU memory, and of the KV cache itself."""
    judged = [row for row in rows if row.get("measured") is not None]
    if not judged:
        return {"rows": 0}
    absolute = [abs(row[column] - row["measured"]) / row["total"] * 100 for row in judged]
    own = [abs(row[column] - row["measured"]) / row["measured"] * 100 for row in judged if row["measured"] > 0]
    return {
        "rows": len(judged),
        "median": statistics.median(absolute),
        "p90": quantile(absolute, 0.9),
        "kv_median": statistics.median(own) if own else None,
        "kv_p90": quantile(own, 0.9) if own else None,
    }


def sizes_are_sixteen_bit(row: Dict) -> bool:
    return not row["case"].get("quantization") and not (row.get("model") or {}).get("quantization")


def tier_a_fits(rows: t.Sequence[Dict], quantized: bool) -> t.List[Dict]:
    return [
        row
        for row in rows
        if row["problem"] is None
        and row["case"]["tier"] == "A"
        and row["case"]["outcome"] == "fits"
        and row["measured"] is not None
        and sizes_are_sixteen_bit(row) != quantized
    ]


def promises(rows: t.Sequence[Dict]) -> Dict:
    """What ``kv_cache_bytes.low`` is worth, and fit or no fit against the outcome."""
    sized = [row for row in rows if row["problem"] is None]
    judged = [row for row in sized if row["measured"] is not None and row["case"]["tier"] in "AB" and row["whole"]]
    broken = [row for row in judged if row["low"] > max(0.0, row["measured"])]
    slack = [1 - row["low"] / row["predicted"] for row in judged if row["predicted"] > 0]
    failed = [row for row in sized if row["case"]["outcome"] in MEMORY_FAILURES]
    fitting = [row for row in sized if row["case"]["outcome"] == "fits"]
    return {
        "judged": len(judged),
        "broken": [row["case"]["id"] for row in broken],
        "slack_median": statistics.median(slack) if slack else None,
        "failed": len(failed),
        "failed_but_promised": [row["case"]["id"] for row in failed if row["promised"]],
        "fitting": len(fitting),
        "fitting_not_promised": [row["case"]["id"] for row in fitting if not row["promised"]],
    }


def group_names(row: Dict) -> t.List[t.Tuple[str, str]]:
    case = row["case"]
    version = parse_version(engine_version(case), "cuda")
    generation = "V0" if not generations.of(version).v1 else "V1 before 0.21" if version.number < (0, 21) else "V1 since 0.21"
    gpu = str(case.get("gpu") or "not stated")
    family = next((name for name in ("MI300X", "H100", "H200", "A100", "RTX 30", "RTX 50", "T4", "L4", "GH200", "AMD") if name in gpu), "other")
    method = (row["model"].get("quantization") or {}).get("method") or "16 bit"
    other = re.search(r"AMD|MI300|Radeon|RDNA|Intel|Arc", gpu)
    return [
        ("generation", generation), ("GPU", family), ("vendor", "AMD, Intel" if other else "NVIDIA"),
        ("quantization", method),
    ] + [  # fmt: skip
        ("architecture", kind) for kind in case.get("arch_kind") or ["unknown"]
    ]


CASES = (HERE / "vllm_cases.jsonl", HERE / "vllm_logs.jsonl")
CONFIGS = (HERE / "model_configs.json", HERE / "log_model_configs.json")


def load(cases: t.Sequence[pathlib.Path] = CASES, configs: t.Sequence[pathlib.Path] = CONFIGS) -> t.List[Dict]:
    known: Dict = {}
    for path in configs:
        known.update(json.loads(path.read_text()))
    lines = [line for path in cases for line in path.read_text().splitlines() if line.strip()]
    return [replay(json.loads(line), known) for line in lines]


def _text(value: t.Optional[float], form: str = "%.2f") -> str:
    return "" if value is None else form % value


def case_lines(rows: t.Sequence[Dict]) -> t.List[t.List[str]]:
    lines = [
        ["case", "tier", "model", "GPU", "vLLM", "KV GiB", "predicted", "low", "error %GPU", "error %KV", "weights err %", "outcome", "promised", "set"]
    ]
    for row in rows:
        case = row["case"]
        start = [case["id"], case["tier"], case["model"].split("/")[-1][:30], str(case.get("gpu") or "")[:16], engine_version(case)]
        if row["problem"]:
            lines.append(start + [""] * 6 + [case["outcome"], "not sized", row["problem"][:40]])
            continue
        lines.append(
            start
            + [
                _text(row["measured"]),
                _text(row["predicted"]),
                _text(row["low"]),
                _text(row["error"] and 100 * row["error"], "%+.1f"),
                _text(row["error_kv"] and 100 * row["error_kv"], "%+.0f"),
                _text(row["weights_error"] and 100 * row["weights_error"], "%+.1f"),
                case["outcome"],
                "yes" if row["promised"] else "at most" if row["fits"] else "no",
                "fitted" if FITTED.search(case["model"]) else "set aside",
            ]
        )
    return lines


def summary_lines(rows: t.Sequence[Dict]) -> t.List[t.List[str]]:
    """Each group's errors, with the two formulas that people use beside ours."""
    lines = [["rows", "number", "median %GPU", "p90 %GPU", "median %KV", "p90 %KV", "weights x 1.2 + 2 GiB", "params x 2"]]

    def add(name: str, chosen: t.Sequence[Dict]) -> None:
        ours = summary(chosen)
        if not ours["rows"]:
            return
        other, naive = summary(chosen, "gpustack"), summary(chosen, "naive")
        lines.append(
            [name, str(ours["rows"])]
            + [_text(ours[key], "%.1f") for key in ("median", "p90", "kv_median", "kv_p90")]
            + ["%.1f / %.1f" % (found["median"], found["p90"]) for found in (other, naive)]
        )

    sized = [row for row in rows if row["problem"] is None]
    for quantized, name in ((False, "tier A, 16 bit, fits"), (True, "tier A, quantized, fits")):
        chosen = tier_a_fits(rows, quantized)
        add(name, chosen)
        add("  of them fitted", [row for row in chosen if FITTED.search(row["case"]["model"])])
        add("  of them set aside", [row for row in chosen if not FITTED.search(row["case"]["model"])])
    add("all that were sized", sized)
    groups: t.Dict[t.Tuple[str, str], t.List[Dict]] = {}
    for row in sized:
        for name in group_names(row):
            groups.setdefault(name, []).append(row)
    for (kind, name), chosen in sorted(groups.items()):
        add("%s: %s" % (kind, name), chosen)
    return lines


def promise_lines(rows: t.Sequence[Dict]) -> t.List[t.List[str]]:
    """What ``kv_cache_bytes.low`` and the verdicts are worth, over all cases, on NVIDIA, and on what the roles run."""
    lines = [["cases", "low above what the engine gave", "low below expected, median", "failed, yet promised", "fitting and promised"]]
    sized = [row for row in rows if row["problem"] is None]

    def add(name: str, chosen: t.Sequence[Dict]) -> None:
        found = promises(chosen)
        if not found["judged"]:
            return
        kept = found["fitting"] - len(found["fitting_not_promised"])
        lines.append(
            [
                name,
                "%d of %d (%.0f %%)" % (len(found["broken"]), found["judged"], 100 * len(found["broken"]) / found["judged"]),
                "%.1f %%" % (100 * found["slack_median"]),
                "%d of %d" % (len(found["failed_but_promised"]), found["failed"]),
                "%d of %d (%.0f %%)" % (kept, found["fitting"], 100 * kept / max(1, found["fitting"])),
            ]
        )

    nvidia = [row for row in sized if ("vendor", "NVIDIA") in group_names(row)]
    add("all", sized)
    add("NVIDIA", nvidia)
    add("NVIDIA, V1", [row for row in nvidia if ("generation", "V0") not in group_names(row)])
    return lines


def target_lines(rows: t.Sequence[Dict]) -> t.List[t.List[str]]:
    """The targets, on all cases of tier A and on those of NVIDIA GPUs."""
    lines = [["target", "wanted", "all of tier A", "NVIDIA"]]
    for quantized, name, median, ninety in ((False, "16 bit", 1.5, 4.0), (True, "quantized", 2.5, 7.0)):
        chosen = tier_a_fits(rows, quantized)
        sets = [summary(chosen), summary([row for row in chosen if ("vendor", "NVIDIA") in group_names(row)])]
        for key, wanted, word in (("median", median, "median"), ("p90", ninety, "90th percentile")):
            cells = ["%.1f %% of %d" % (found[key], found["rows"]) for found in sets]
            lines.append(["%s, %s error of GPU memory" % (name, word), "%.1f %%" % wanted] + cells)
    return lines


def residual_lines(rows: t.Sequence[Dict], least: float = 4.0) -> t.List[t.List[str]]:
    """The cases that are off by more than ``least`` percent of GPU memory."""
    lines = [["case", "tier", "model", "GPU", "vLLM", "KV GiB", "predicted", "error % of GPU"]]
    far = [row for row in rows if row["problem"] is None and row["error"] is not None and abs(row["error"]) * 100 > least]
    for row in sorted(far, key=lambda row: -abs(row["error"])):
        case = row["case"]
        lines.append(
            [case["id"], case["tier"], case["model"].split("/")[-1][:34], str(case.get("gpu") or "")[:18], engine_version(case)]
            + [_text(row["measured"]), _text(row["predicted"]), "%+.1f" % (100 * row["error"])]
        )
    return lines


def markdown(lines: t.Sequence[t.Sequence[str]]) -> str:
    head, *rest = lines
    return "\n".join(["| %s |" % " | ".join(line) for line in [head, ["---"] * len(head), *rest]])


def blocks() -> t.Dict[str, str]:
    """The generated parts of docs/truth.md, by the names of their marks."""
    rows = load()
    return {
        "targets": markdown(target_lines(rows)),
        "promises": markdown(promise_lines(rows)),
        "groups": markdown([[cell.strip() for cell in line] for line in summary_lines(rows)]),
        "residuals": markdown(residual_lines(rows)),
        "cases": markdown(case_lines(rows)),
    }


def aligned(lines: t.Sequence[t.Sequence[str]]) -> str:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=pathlib.Path, nargs="+", default=CASES)
    parser.add_argument("--configs", type=pathlib.Path, nargs="+", default=CONFIGS)
    arguments = parser.parse_args()
    rows = load(arguments.cases, arguments.configs)
    for lines in (case_lines(rows), residual_lines(rows), summary_lines(rows), target_lines(rows), promise_lines(rows)):
        print(aligned(lines) + "\n")
    found = promises(rows)
    print("low above what the engine gave: %s" % " ".join(found["broken"]))
    print("failed for memory, yet promised: %s" % " ".join(found["failed_but_promised"]))
    print("fitting, not promised: %s" % " ".join(found["fitting_not_promised"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
