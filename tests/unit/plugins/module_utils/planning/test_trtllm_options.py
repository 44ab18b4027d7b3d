# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of trtllm-serve: the table against the stand-in's command line, what is refused and with which words."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.trtllm import options
from ansible_collections.gpufleet.llm.tests.stand_ins.openai import trtllm_serve

VALUES = {"int": 2, "float": 0.5, "str": "text", "path": "/a/file", "flag": True, "repeat": ["/a", "/b"], "json": {"a": 1},
          "file": {"kv_cache_config": {"dtype": "fp8"}}}  # fmt: skip


def value_of(name):
    kind = options.KINDS[name]
    return kind[0] if isinstance(kind, tuple) else VALUES[kind]


def test_the_table_has_the_options_of_trtllm_serve_and_no_others():
    spellings = {spelling.lstrip("-") for spelling in trtllm_serve.SPELLINGS}
    assert spellings == set(options.KINDS) | set(options.ALIASES)
    for alias, name in options.ALIASES.items():
        assert trtllm_serve.SPELLINGS["--" + alias] == trtllm_serve.SPELLINGS["--" + name]
    assert not spellings & set(options.REPLACED)


@pytest.mark.parametrize("name", sorted(options.KINDS))
def test_each_option_is_taken_as_it_is_rendered(name):
    words = options.render({name: value_of(name)}, config_file="/etc/options.yml")
    model, found = trtllm_serve.parse(["/models/chat", *words])
    assert model == "/models/chat" and len(found) == 1


def test_all_of_them_together_by_name():
    words = options.render({name: value_of(name) for name in options.KINDS}, config_file="/etc/options.yml")
    assert trtllm_serve.parse(["/models/chat", *words])[1]["--tp_size"] == 2
    flags = [word for word in words if word.startswith("--")]
    assert flags == sorted(flags)
    assert words[words.index("--media_io_kwargs") + 1] == '{"a":1}'
    assert words.count("--custom_module_dirs") == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trust_remote_code": False}, []),
        ({"trust-remote-code": "yes"}, ["--trust_remote_code"]),
        ({"--tensor-parallel-size": "4"}, ["--tp_size", "4"]),
        ({"free_gpu_memory_fraction": 0.8}, ["--kv_cache_free_gpu_memory_fraction", "0.8"]),
        ({"config": {"print_iter_log": True}}, ["--extra_llm_api_options", "/etc/options.yml"]),
        ({}, []),
    ],
)
def test_render(settings, words):
    assert options.render(settings, config_file="/etc/options.yml") == words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_seq_length": 8}, "is no option of trtllm-serve 1.2. Did you mean max_seq_len?"),
        ({"tensor_parallel": 2}, "set tp_size"),
        ({"tp_sise": 2}, "Did you mean tp_size"),
        ({"wholly_unknown": 2}, "`trtllm-serve --help` lists them"),
        ({"max_model_len": 8}, "set max_seq_len"),
        ({"max_num_seqs": 8}, "set max_batch_size"),
        ({"gpu_memory_utilization": 0.9}, "set kv_cache_free_gpu_memory_fraction"),
        ({"kv_cache_dtype": "fp8"}, "kv_cache_config: {dtype: fp8}"),
        ({"served_model_name": "chat"}, "the model's directory gives the name"),
        ({"api_key": "secret"}, "trtllm-serve checks no key"),
        ({"tp_size": 2, "tensor_parallel_size": 2}, "name tp_size twice"),
        ({"tp_size": "two"}, "give a whole number"),
        ({"tp_size": True}, "give a whole number"),
        ({"tp_size": 0}, "give 1 or more"),
        ({"max_batch_size": ""}, "is empty"),
        ({"trust_remote_code": "maybe"}, "give true or false"),
        ({"backend": "tensorrt"}, "the TensorRT backend is gone from 1.3 on"),
        ({"log_level": "loud"}, "one of internal_error, error"),
        ({"kv_cache_free_gpu_memory_fraction": 1.5}, "a number between 0 and 1"),
        ({"kv_cache_free_gpu_memory_fraction": "much"}, "give a number"),
        ({"tokenizer": {"a": 1}}, "give text"),
        ({"media_io_kwargs": "x"}, "give a dictionary"),
        ({"custom_module_dirs": []}, "a list without empty items"),
        ({"extra_llm_api_options": "/etc/x.yml"}, "a dictionary, of which the role makes the file"),
        ({"extra_llm_api_options": {"max_batch_size": 4}}, "set it as settings.max_batch_size instead"),
        ({"extra_llm_api_options": {"tensor_parallel_size": 4}}, "set it as settings.tp_size instead"),
        ({"extra_llm_api_options": {"kv_cache_config": [1]}}, "give a dictionary"),
        ({"extra_llm_api_options": {"kv_cache_config": {"free_gpu_memory_fraction": 0.5}}},
         "set it as settings.kv_cache_free_gpu_memory_fraction instead"),
        ([], "a dictionary is needed"),
    ],
)  # fmt: skip
def test_refused(settings, message):
    with pytest.raises(GpufleetError) as caught:
        options.normalize(settings)
    assert message in str(caught.value)


def test_a_file_needs_its_path():
    with pytest.raises(GpufleetError, match="pass its path"):
        options.render({"config": {"print_iter_log": True}})


@pytest.mark.parametrize(("value", "text"), [(None, "1.2.1"), ("auto", "1.2.1"), ("1.2.0", "1.2.0"), ("v1.2.1", "1.2.1"), ("1.2", "1.2.0")])
def test_versions(value, text):
    assert options.parse_version(value).text == text


@pytest.mark.parametrize("value", ["1.1.0", "1.3.0rc13", "latest", "2"])
def test_other_versions_are_refused(value):
    with pytest.raises(GpufleetError, match="this planner knows TensorRT-LLM 1.2.x"):
        options.parse_version(value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["m", "--tp-size", "2"], "No such option: --tp-size"),
        (["m", "--tp_size"], "Option '--tp_size' requires an argument."),
        (["m", "--port", "x"], "Invalid value for '--port': 'x' is not a valid integer."),
        (["m", "--trust_remote_code=1"], "does not take a value."),
        (["--port", "1"], "Missing argument 'MODEL'."),
        (["m", "n"], "Got unexpected extra argument (n)"),
    ],
)
def test_the_stand_in_says_what_click_says(words, message):
    with pytest.raises(trtllm_serve.UsageError) as caught:
        trtllm_serve.parse(words)
    assert str(caught.value).startswith("Usage: trtllm-serve serve [OPTIONS] MODEL\n") and message in str(caught.value)
