# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that takes the options of trtllm-serve 1.2 and answers as it does, without an engine.

Its options are the click definitions of tensorrt_llm/commands/serve.py, and an option that is none of them ends it with
status 2 and click's words. Its routes are those of tensorrt_llm/serve/openai_server.py: no keys, the model called as its
directory, /metrics in JSON. What it answers is server.py's. STAND_IN_FAULT is one of that program's faults.
Standard library only; server.py has to be importable.
"""

from __future__ import annotations

import difflib
import json
import os
import pathlib
import signal
import sys
import threading
import typing as t

try:
    from . import server as openai
except ImportError:  # run as a program
    import server as openai  # type: ignore[no-redef]

VERSION = "1.2.1"
LOG_LEVELS = ("internal_error", "error", "warning", "info", "verbose", "debug", "trace")
# Spellings of an option, and what it takes: a type, the values that it may have, or nothing.
OPTIONS: t.Tuple[t.Tuple[t.Tuple[str, ...], t.Any], ...] = (
    (("--tokenizer",), str),
    (("--custom_tokenizer",), str),
    (("--host",), str),
    (("--port",), int),
    (("--backend",), ("pytorch", "tensorrt", "_autodeploy", "trt")),
    (("--custom_module_dirs",), str),
    (("--log_level",), LOG_LEVELS),
    (("--max_beam_width",), int),
    (("--max_batch_size",), int),
    (("--max_num_tokens",), int),
    (("--max_seq_len",), int),
    (("--tensor_parallel_size", "--tp_size"), int),
    (("--pipeline_parallel_size", "--pp_size"), int),
    (("--context_parallel_size", "--cp_size"), int),
    (("--moe_expert_parallel_size", "--ep_size"), int),
    (("--moe_cluster_parallel_size", "--cluster_size"), int),
    (("--gpus_per_node",), int),
    (("--free_gpu_memory_fraction", "--kv_cache_free_gpu_memory_fraction"), float),
    (("--num_postprocess_workers",), int),
    (("--trust_remote_code",), None),
    (("--revision",), str),
    (("--config", "--extra_llm_api_options"), str),
    (("--reasoning_parser",), str),
    (("--tool_parser",), str),
    (("--metadata_server_config_file",), str),
    (("--server_role",), str),
    (("--fail_fast_on_attention_window_too_large",), None),
    (("--otlp_traces_endpoint",), str),
    (("--disagg_cluster_uri",), str),
    (("--enable_chunked_prefill",), None),
    (("--media_io_kwargs",), str),
    (("--chat_template",), str),
)
SPELLINGS = {spelling: (names[-1], kind) for names, kind in OPTIONS for spelling in names}


class UsageError(Exception):
    """What click says of arguments that it does not take."""

    def __str__(self) -> str:
        head = "Usage: trtllm-serve serve [OPTIONS] MODEL\nTry 'trtllm-serve serve --help' for help.\n\nError: "
        return head + str(self.args[0])


def parse(words: t.Sequence[str]) -> t.Tuple[str, t.Dict[str, t.Any]]:
    """The model and the options by their last spelling; UsageError in click's words."""
    rest, found, models = list(words), {}, []
    if rest[:1] == ["serve"]:  # the command that trtllm-serve takes when none is named
        rest.pop(0)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if not word.startswith("--"):
            models.append(word)
            continue
        if word not in SPELLINGS:
            near = difflib.get_close_matches(word, sorted(SPELLINGS), 3, 0.6)
            hint = " Did you mean %s?" % near[0] if len(near) == 1 else ""
            if len(near) > 1:
                hint = " (Possible options: %s)" % ", ".join(sorted(near))
            raise UsageError("No such option: %s%s" % (word, hint))
        name, kind = SPELLINGS[word]
        if kind is None:
            if equals:
                raise UsageError("Option '%s' does not take a value." % word)
            found[name] = True
            continue
        if not equals and not rest:
            raise UsageError("Option '%s' requires an argument." % word)
        found[name] = _converted(word, kind, value if equals else rest.pop(0))
    if not models:
        raise UsageError("Missing argument 'MODEL'.")
    if len(models) > 1:
        raise UsageError("Got unexpected extra argument%s (%s)" % ("s" if models[2:] else "", " ".join(models[1:])))
    return models[0], found


def _converted(word: str, kind: t.Any, value: str) -> t.Any:
    if isinstance(kind, tuple):
        if value not in kind:
            listed = ", ".join("'%s'" % name for name in kind)
            raise UsageError("Invalid value for '%s': '%s' is not one of %s." % (word, value, listed))
        return value
    try:
        return kind(value)
    except ValueError:
        names = {int: "integer", float: "float"}
        raise UsageError("Invalid value for '%s': '%s' is not a valid %s." % (word, value, names[kind])) from None


class Handler(openai.Handler):
    """trtllm-serve's routes beside vLLM's, as far as they differ."""

    def _get(self) -> None:
        if self.path == "/metrics":  # iteration statistics, a list of what came since the last look
            self._json(200, [])
        elif self.path == "/health_generate":
            self._send(200, b"", None)
        elif self.path == "/ping":
            self._json(404, {"detail": "Not Found"})
        else:
            super()._get()

    def _check(self, request: dict) -> None:
        request["model"] = self.stand_in.names[0]  # it does not look at the name that is asked for
        super()._check(request)


class StandIn(openai.StandIn):
    """The server. A model in a directory is called as the directory."""

    def __init__(self, model: str, **options: t.Any) -> None:
        directory = pathlib.Path(model)
        super().__init__(model=model, names=[directory.name if directory.is_dir() else model], version=VERSION, **options)
        self._server.RequestHandlerClass = Handler

    def card(self, name: str) -> dict:
        return {"id": name, "object": "model", "created": 0, "owned_by": "tensorrt_llm"}


def read_file(path: str) -> dict:
    """The file of --config, which is to be JSON here: the standard library reads no YAML."""
    with open(path, encoding="utf-8") as stream:
        content = json.load(stream)
    if not isinstance(content, dict):
        raise SystemExit("TypeError: argument after ** must be a mapping, not %s" % type(content).__name__)
    return content


def main() -> None:
    try:
        model, options = parse(sys.argv[1:])
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    extra = read_file(options["--extra_llm_api_options"]) if "--extra_llm_api_options" in options else {}
    fault = os.environ.get("STAND_IN_FAULT") or None
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_arguments: stopped.set())
    signal.signal(signal.SIGINT, lambda *_arguments: stopped.set())
    stand_in = StandIn(
        model,
        host=options.get("--host", "localhost"),
        port=options.get("--port", 8000),
        max_model_len=options.get("--max_seq_len", 1024),
        fault=fault,
        log=True,
    )
    openai.check_model(model)
    if fault == "exit":
        sys.exit("RuntimeError: Executor worker returned error")
    print("(stand-in) trtllm-serve %s, model %s, %s" % (VERSION, model, json.dumps(extra, sort_keys=True)), flush=True)
    with stand_in:
        stopped.wait()


if __name__ == "__main__":
    main()
