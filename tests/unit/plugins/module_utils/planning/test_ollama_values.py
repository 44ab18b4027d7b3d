# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ollama's variables: what is accepted, how it is written, what is refused with which words."""

from __future__ import annotations

import re

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import values
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama.variables import (
    GONE,
    INSTEAD,
    MAPPED,
    PARAMETERS,
    VARIABLES,
)
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts as hosts

# kind -> (value as a user may write it, text in the environment)
WRITTEN = {
    "bool": [(True, "1"), ("yes", "1"), ("No", "0"), (0, "0"), ("off", "0"), ("T", "1")],
    "onoff": [("off", "off"), (True, "on")],
    "duration": [
        ("5m", "5m"), ("90s", "1m30s"), (300, "5m"), ("3600", "1h"), ("1h30m", "1h30m"), ("1.5h", "1h30m"), (0, "0s"),
        (-1, "-1s"), ("-1", "-1s"), ("-5m", "-1s"), ("forever", "-1s"), ("24h", "24h"), ("500ms", "500ms"),
        ("5m0s", "5m"),
    ],
    "uint": [("4", "4"), (0, "0"), ("32K", "32768"), ("8k", "8000")],
    "host": [
        ("0.0.0.0", "0.0.0.0:11434"), ("127.0.0.1:8000", "127.0.0.1:8000"), (":8080", ":8080"), ("[::1]:1", "[::1]:1"),
        ("http://llm:11434/", "llm:11434"),
    ],
    "path": [("/srv/models/", "/srv/models")],
    "csv": [("a, b", "a,b"), (["x"], "x")],
    "origins": [("https://chat.example.org, *", "https://chat.example.org,*"), (["app://x"], "app://x")],
    "mib": [(2048, "2048"), ("1024,512", "1024,512"), ([1, 2], "1,2")],
    "kv_type": [("Q8_0", "q8_0"), ("f16", "f16")],
    "text": [("cuda_v13", "cuda_v13")],
    "debug": [(True, "1"), (2, "2"), ("0", "0")],
}  # fmt: skip
GO_DURATION = re.compile(r"^(0s|-1s|(\d+h)?(\d+m)?(\d+s)?|\d+ms)$")


@pytest.mark.parametrize(
    ("kind", "value", "text"), [(kind, *pair) for kind, pairs in WRITTEN.items() for pair in pairs], ids=str
)
def test_written(kind, value, text):
    assert values.text(kind, values.read("x", kind, value)) == text
    if kind == "duration":
        assert GO_DURATION.match(text)


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_every_variable_in_its_form(name):
    """Each may be fixed, by its own name, and stands in the environment in the form of its kind."""
    value, text = WRITTEN[VARIABLES[name]][0]
    if name == "OLLAMA_CONTEXT_LENGTH":
        value = text = "4096"
    if name == "OLLAMA_NUM_PARALLEL":
        value = text = "2"
    found = hosts.plan("L4", "llama3.2-3b", settings={name: value})["environment"]
    assert found[name] == text
    assert all(isinstance(entry, str) and entry and "\n" not in entry for entry in found.values())


def test_short_names():
    found = hosts.plan("L4", "llama3.2-3b", settings={"max-queue": 7, "num_parallel": 2, "fit_target": 2000})
    assert found["environment"]["OLLAMA_MAX_QUEUE"] == "7"
    assert found["environment"]["OLLAMA_NUM_PARALLEL"] == "2"
    assert found["environment"]["LLAMA_ARG_FIT_TARGET"] == "2000"


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("bool", "disabled", "true or false (Ollama would take this for true)"),
        ("duration", "1d", "Go knows no days: write 24h"),
        ("duration", "5 min", "a duration such as 30s"),
        ("duration", True, "a duration such as"),
        ("uint", "-1", "a whole number from 0 on"),
        ("uint", True, "a whole number from 0 on"),
        ("host", "http://llm", "listens on port 80"),
        ("host", "https://llm", "listens on port 443"),
        ("host", "a:70000", "address:port"),
        ("path", "models", "an absolute path"),
        ("csv", "a,,b", "without empty items"),
        ("csv", ["a\nb"], "text of one line"),
        ("mib", "2G", "MiB as a whole number"),
        ("kv_type", "fp8", "one of bf16, f16"),
        ("debug", 3, "0, 1 (debug) or 2 (trace)"),
        ("int", "x", "a whole number"),
        ("float", "x", "a number"),
        ("text", {}, "text of one line"),
        ("uint", "", "is empty"),
        ("bool", None, "is empty"),
    ],
)
def test_refused(kind, value, words):
    with pytest.raises(GpufleetError) as caught:
        values.read("settings.X", kind, value)
    assert words in str(caught.value)
    assert str(caught.value).startswith("settings.X")


@pytest.mark.parametrize(("value", "size"), [("2G", 2 << 30), (1024, 1024), ("512MiB", 512 << 20), ("1.5G", 3 << 29)])
def test_size(value, size):
    assert values.size("x", value) == size


def test_tables_do_not_overlap():
    names = [set(VARIABLES), set(GONE), set(MAPPED), set(INSTEAD)]
    assert sum(map(len, names)) == len(set().union(*names))
    assert set(VARIABLES.values()) | set(PARAMETERS.values()) <= set(values._READERS)
