# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page docs/model-sizes.md: the tables that people know beside what the planner says. Written by generate.py."""

from __future__ import annotations

import json

from module_utils.models import candidates
from module_utils.models.catalogue import index
from module_utils.models.catalogue.entry import Entry
from module_utils.planning import gpus, ranking, vllm

GIB = 1 << 30
CONTEXT, REQUESTS = 8192, 4
PLACES = ("T4", "L4", "RTX 5090", "L40S", "H100", "H200", "2 x H100", "4 x H100", "8 x H100", "8 x H200", "8 x B200")
HOSTS = {spec: gpus.hardware(spec) for spec in PLACES}
FAMILIES = (
    ("Qwen", ("Qwen/",)),
    ("Llama", ("meta-llama/",)),
    ("Mistral", ("mistralai/",)),
    ("Gemma", ("google/",)),
    ("DeepSeek and Kimi", ("deepseek-ai/", "moonshotai/")),
    ("GLM, Baichuan, Yi, MiniMax", ("zai-org/", "baichuan-inc/", "01-ai/", "MiniMaxAI/")),
    ("gpt-oss and Phi", ("openai/", "microsoft/")),
    ("Embeddings", ("BAAI/", "intfloat/", "nomic-ai/", "Qwen/Qwen3-Embedding")),
)
# What is quoted most, in GB.
KNOWN = (
    ("[LLaMA-Factory](https://github.com/hiyouga/LLaMA-Factory#hardware-requirement), LoRA in 16 bit", "16", "32", "64", "160"),
    ("the same, QLoRA in 8 bit", "10", "20", "40", "80"),
    ("the same, QLoRA in 4 bit", "6", "12", "24", "48"),
    ("[Ollama's README](https://github.com/ollama/ollama/blob/v0.5.0/README.md), RAM, 4 bit", "8", "16", "32", ""),
    ("[Ollama's library](https://ollama.com/library/llama2), RAM, 4 bit", "8", "16", "", "64"),
    ("[a GPU hoster](https://www.databasemart.com/blog/how-much-vram-do-you-need-for-7-70b-llm), 16 bit", "16-20", "", "70-80", "140-160"),
    ("the same, 8 bit", "10-14", "", "45-60", "110-130"),
    ("the same, 4 bit", "6-8", "", "20-28", "40-48"),
    ("parameters x 2 bytes x 1.2, 16 bit", "17", "31", "79", "168"),
)  # fmt: skip
COMPARED = (
    ("7B", "16 / 10 / 6", "meta-llama/Llama-2-7b-chat-hf"),
    ("7B", "16 / 10 / 6", "Qwen/Qwen2.5-7B-Instruct"),
    ("7B", "16 / 10 / 6", "google/gemma-2-9b-it"),
    ("13B", "32 / 20 / 12", "meta-llama/Llama-2-13b-chat-hf"),
    ("13B", "32 / 20 / 12", "Qwen/Qwen2.5-14B-Instruct"),
    ("30B", "64 / 40 / 24", "01-ai/Yi-34B-Chat"),
    ("30B", "64 / 40 / 24", "Qwen/Qwen2.5-32B-Instruct"),
    ("30B", "64 / 40 / 24", "Qwen/Qwen3-30B-A3B"),
    ("70B", "160 / 80 / 48", "meta-llama/Llama-2-70b-chat-hf"),
    ("70B", "160 / 80 / 48", "meta-llama/Llama-3.3-70B-Instruct"),
    ("70B", "160 / 80 / 48", "Qwen/Qwen2.5-72B-Instruct"),
)
HEAD = """# Model sizes

The models that `model_choose` knows, and what each of them needs with vLLM. Written by `make docs`; the numbers are what
`vllm_plan` says, with room for 4 requests of 8,192 tokens at once (or of all that the model can), promised at the low
end of every estimate. GiB are powers of 1024; a GPU sold with 80 GB shows 79 of them to a program.

## The tables that people know

Memory in GB by number of parameters.

%(known)s

The figures quoted most, "70B: 160, 80, 48", are for fine-tuning, and Ollama's are system memory for 4-bit files and short
contexts: none of them is about serving. Parameters alone say nothing of the KV cache, which differs ninefold between the
two models of 7B below and which many requests or a long context fill first.

## The same sizes, planned

The memory, in GiB, of one GPU that serves the model, beside the first table above (in GB). KV is MiB per 1,024 tokens.

%(compared)s

## The catalogue

*Weights* in GiB as loaded: 16 bit, 8 bit, 4 bit. Where the hub has no 8-bit copy, 8 bit is what vLLM makes of the 16-bit
one while loading it. 4 bit is only there where a checkpoint is known. *KV* is MiB per 1,024 tokens of a request of 8,192.
*GPUs*: the first that serves it of %(places)s, where an H100 has 80 GB. A T4 has no bfloat16 and runs float16.

%(catalogue)s

## Where it comes from

Every configuration was read from a public copy of the model's config.json and gives the parameter count that the hub
states. Quality is a rule of thumb, stated in the documentation of `model_choose`.

%(origin)s
"""


def table(head: tuple, lines: list) -> str:
    ruler = "|" + "---|" * len(head)
    return "\n".join(["| %s |" % " | ".join(head), ruler] + ["| %s |" % " | ".join(line) for line in lines])


def planned(hardware: dict, form: dict) -> dict:
    context = min(CONTEXT, form["model"]["max_position"])
    return vllm.make_plan(
        hardware, form["model"], {"context": context, "concurrency": REQUESTS, "settings": dict(form["settings"])}
    )


def fits(hardware: dict, form: dict) -> bool:
    plan = planned(hardware, form)
    enough = plan["numbers"].get("max_concurrency_low") or 0
    return plan["refusal"] is None and (form["model"]["task"] == "embed" or enough >= REQUESTS)


def of_size(gib: float) -> dict:
    """A host with one GPU of that size, of the H100's generation."""
    host = gpus.hardware("H100 80GB")
    card = host["accelerators"][0]
    idle = card["memory_total_bytes"] - card["memory_free_bytes"]
    card["memory_total_bytes"] = int(gib * GIB)
    card["memory_free_bytes"] = card["memory_total_bytes"] - idle
    return host


def smallest_size(form: dict) -> str:
    """The size (GiB) of the smallest single GPU that serves it."""
    low = alone(form)["weights_bytes_per_gpu"] / GIB
    high = 2 * low + 8
    while not fits(of_size(high), form):
        low, high = high, 2 * high
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(of_size(middle), form) else (middle, high)
    return "%.0f" % high


def smallest_gpus(form: dict) -> str:
    held = alone(form)["weights_bytes_per_gpu"]
    for spec, hardware in HOSTS.items():
        if held < sum(card["memory_total_bytes"] for card in hardware["accelerators"]) and fits(hardware, form):
            return spec
    return "more"


def forms(candidate: dict) -> list:
    """The smallest form in 16, 8 and 4 bits; None where there is none."""
    kinds = (("bf16",), ("fp8", "int8"), ("awq", "gptq", "int4", "mxfp4", "nvfp4"))
    return [next((one for one in candidate["forms"] if one["kind"] in group), None) for group in kinds]


def alone(form: dict) -> dict:
    """Its numbers on one GPU that is large enough for anything."""
    return planned(of_size(4096), form)["numbers"]


def weights(form: dict) -> str:
    return "%.1f" % (alone(form)["weights_bytes_per_gpu"] / GIB) if form else ""


def kv(form: dict) -> str:
    needed = alone(form).get("kv_needed_bytes") or 0
    thousands = min(CONTEXT, form["model"]["max_position"]) / 1024
    return "%.0f" % (needed / thousands / (1 << 20)) if form["model"]["task"] != "embed" and needed else ""


def billions(number: float) -> str:
    return "%.3gB" % (number / 1e9) if number < 1e11 else "%.0fB" % (number / 1e9)


def same_shape(entries: list) -> list:
    """Entries of one configuration and the same kinds of sisters in one line."""
    groups: dict = {}
    for entry in entries:
        kinds = sorted(sister.kind for sister in entry.sisters)
        groups.setdefault(json.dumps([entry.config, kinds, entry.kind], sort_keys=True), []).append(entry)
    return list(groups.values())


def catalogue_line(group: list) -> list:
    candidate = candidates.from_catalogue(group[0])
    three = forms(candidate)
    model = candidate["forms"][0]["model"]
    size = billions(model["parameters"])
    if model.get("moe"):
        size += ", %s active" % billions(ranking.active(model))
    names = ", ".join(entry.id.split("/")[1] for entry in group)
    if group[0].dropped:
        places = ["none: vLLM served it until %s" % group[0].dropped, "", ""]
    else:
        places = [smallest_gpus(form) if form else "" for form in three]
    return [names, size] + [weights(form) for form in three] + [kv(candidate["forms"][0])] + places


def origin_line(entry: Entry) -> list:
    candidate = candidates.from_catalogue(entry)
    copies = ", ".join("[%s](https://huggingface.co/%s)" % (sister.kind, sister.id) for sister in entry.sisters)
    return [
        "[%s](%s)" % (entry.id, entry.url),
        "%.1f" % ranking.quality(candidate),
        entry.released,
        ", ".join(entry.purposes),
        entry.licence + (", gated" if entry.gated else ""),
        format(candidate["forms"][0]["model"]["max_position"], ","),
        copies,
    ]


def family_of(entry: Entry) -> str:
    """The last family that claims it: embeddings of Qwen are embeddings."""
    return [name for name, prefixes in FAMILIES if entry.id.startswith(prefixes)][-1]


def page() -> str:
    compared = []
    for size, known, repository in COMPARED:
        three = forms(candidates.from_catalogue(index.find(repository)))
        ours = " / ".join(smallest_size(form) if form else "-" for form in three)
        compared.append([size, known, repository.split("/")[1], kv(three[0]), ours])
    parts, origins = [], []
    for name, _prefixes in FAMILIES:
        entries = [entry for entry in index.ENTRIES if family_of(entry) == name]
        lines = [catalogue_line(group) for group in same_shape(entries)]
        head = (name, "parameters", "16 bit", "8 bit", "4 bit", "KV", "GPUs, 16 bit", "8 bit", "4 bit")
        parts.append(table(head, lines))
        origins.extend(origin_line(entry) for entry in entries)
    return HEAD % {
        "known": table(("source", "7B", "13B", "30B", "70B"), [list(line) for line in KNOWN]),
        "compared": table(("size", "table: 16 / 8 / 4 bit", "model", "KV", "planned: 16 / 8 / 4 bit"), compared),
        "places": ", ".join(PLACES),
        "catalogue": "\n\n".join(parts),
        "origin": table(("model", "quality", "released", "made for", "licence", "context", "in fewer bits"), origins),
    }
