# SPDX-License-Identifier: GPL-3.0-or-later
"""Start engines, one after the other, and print what each of them allotted.

Runs in an environment that holds vLLM. Reads jobs from standard input, one a line:
{"name", "path" (directory with a config.json), "words" (command line of vllm serve), "environment"},
and prints one line of JSON for each: what it allotted, what it logged, or its error.

vLLM is imported once; every engine then starts in a process of its own, forked from this one. It reads its command
line and its environment as the server does, and its core runs in that process (VLLM_ENABLE_V1_MULTIPROCESSING=0), so
that the loaded model can be asked for its size.
"""

from __future__ import annotations

import collections
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback

OWN_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
}
SECONDS = 240  # for one engine, its kernels compiled included
LOGGED = re.compile(r"KV cache size: ([\d,]+) tokens, Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")
# Placeholders for what a quantized checkpoint may say about the KV cache; vLLM removes them after loading.
CACHE_SCALES = re.compile(r"\.([qkv]|prob)_(scale|zero_point)$")
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")  # whatever a library prints goes to standard error
    os.dup2(2, 1)
    os.environ.update(OWN_ENVIRONMENT)
    import vllm.v1.engine.llm_engine  # noqa: F401  once for all engines
    import vllm.v1.worker.cpu_worker  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        began = time.monotonic()
        result = in_own_process(job)
        result.update(name=job["name"], seconds=round(time.monotonic() - began, 1))
        print(json.dumps(result), file=answers, flush=True)


def in_own_process(job: dict) -> dict:
    with tempfile.TemporaryDirectory() as directory:
        log, answer = os.path.join(directory, "log"), os.path.join(directory, "answer")
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            with open(log, "wb") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            signal.alarm(SECONDS)
            try:
                result = start(job)
            except BaseException as error:  # an assertion or an exit of the engine is an answer too
                traceback.print_exc()
                result = {"error": "%s: %s" % (type(error).__name__, error)}
            with open(answer, "w", encoding="utf-8") as stream:
                json.dump(result, stream)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        with open(log, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
        result = {"error": "ended with status %d" % os.waitstatus_to_exitcode(status)}
        if os.path.exists(answer):
            with open(answer, encoding="utf-8") as stream:
                result = json.load(stream)
    found = LOGGED.search(text)
    if found:
        tokens, context, concurrency = (word.replace(",", "") for word in found.groups())
        result["logged"] = {"tokens": int(tokens), "context": int(context), "concurrency": concurrency}
    if "error" in result:
        result["log"] = text[-20000:]
    return result


def start(job: dict) -> dict:
    os.environ.update(job["environment"])
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.model_executor.model_loader import base_loader
    from vllm.model_executor.models import registry
    from vllm.usage.usage_lib import UsageContext
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    from vllm.v1.engine.llm_engine import LLMEngine

    loaded = {}
    finish = base_loader.process_weights_after_loading

    def count_first(model, *rest):  # afterwards kernels may hold the weights in a form of their own
        weights = [(name, weight) for name, weight in model.named_parameters() if not CACHE_SCALES.search(name)]
        loaded["bytes"] = sum(weight.numel() * weight.element_size() for _name, weight in weights)
        loaded["rows"] = collections.Counter(
            "%s %s %s" % (re.sub(r"\.\d+\.", ".#.", name), list(weight.shape), weight.dtype) for name, weight in weights
        )
        return finish(model, *rest)

    base_loader.process_weights_after_loading = count_first
    # vLLM looks at a model's class in a process of its own, 8 s each, to keep CUDA out of this one.
    registry._run_in_subprocess = lambda look: look()
    parser = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser())
    words = ["--model", job["path"], "--load-format", "dummy", "--skip-tokenizer-init"]
    arguments = AsyncEngineArgs.from_cli_args(parser.parse_args(words + job["words"]))
    engine = LLMEngine.from_engine_args(arguments, UsageContext.OPENAI_API_SERVER)
    core = engine.engine_core.engine_core
    cache = core.vllm_config.cache_config
    pool = core.scheduler.kv_cache_config
    result = {
        "architecture": core.vllm_config.model_config.architecture,
        "dtype": str(core.vllm_config.model_config.dtype).removeprefix("torch."),
        "blocks": cache.num_gpu_blocks,
        "block_size": cache.block_size,
        "groups": [[type(group.kv_cache_spec).__name__, len(group.layer_names)] for group in pool.kv_cache_groups],
        "pool_bytes": max((tensor.size for tensor in pool.kv_cache_tensors), default=0),
        "weights_bytes": loaded["bytes"],
        "weights": loaded["rows"],  # how many there are of each name, shape and type
    }
    result["answer"] = answer(engine, core.vllm_config.model_config.runner_type)
    return result


def answer(engine, runner: str):
    """How many tokens (or numbers of an embedding) come for a short prompt, or why none do."""
    from vllm import PoolingParams, SamplingParams

    generating = runner == "generate"
    parameters = (
        SamplingParams(max_tokens=3, temperature=0, ignore_eos=True, detokenize=False)
        if generating
        else PoolingParams(task="embed")
    )
    try:
        engine.add_request("0", {"prompt_token_ids": PROMPT}, parameters)
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    return len(output.outputs[0].token_ids) if generating else len(output.outputs.data)
    except Exception as error:
        traceback.print_exc()
        return "%s: %s" % (type(error).__name__, str(error).split("\n", 1)[0])
    return "no answer"


if __name__ == "__main__":
    main()
