# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Ollama reads its variables: the quirks that roles have to know."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.program.environment import (
    MAX_DURATION_NS,
    SECOND_NS,
    Environment,
    Fatal,
    Panic,
    format_duration,
)


@pytest.mark.parametrize(
    "text, meant",
    [("1", True), ("t", True), ("TRUE", True), ("0", False), ("f", False), ("False", False), ("", False),
     (" '' ", False), ("no", True), ("off", True), ("disabled", True), ('"0"', False), (" 1 ", True)],
)  # fmt: skip
def test_any_other_text_is_true(text, meant):
    assert Environment({"OLLAMA_NOPRUNE": text}).flag("OLLAMA_NOPRUNE") is meant


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "0x10", "18446744073709551616"])
def test_invalid_number_is_the_default_with_a_warning(text, capsys):
    assert Environment({"OLLAMA_MAX_QUEUE": text}).uint("OLLAMA_MAX_QUEUE", 512) == 512
    assert 'msg="invalid environment variable, using default" key=OLLAMA_MAX_QUEUE' in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, seconds",
    [("5m", 300), ("1h30m", 5400), ("300", 300), ("1.5h", 5400), ("0", 0), ("-1", None), ("-1m", None),
     ("1d", 300), ("5 min", 300), ("forever", 300), ("", 300)],
)  # fmt: skip
def test_invalid_duration_is_silently_five_minutes(text, seconds, capsys):
    found = Environment({"OLLAMA_KEEP_ALIVE": text}).keep_alive()
    assert found == (MAX_DURATION_NS if seconds is None else seconds * SECOND_NS)
    assert capsys.readouterr().err == ""


def test_a_load_timeout_of_nothing_is_infinite():
    assert Environment({"OLLAMA_LOAD_TIMEOUT": "0"}).load_timeout() == MAX_DURATION_NS


@pytest.mark.parametrize(
    "text, shown",
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://0.0.0.0:11434"),
        ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        (":8080", "http://:8080"),
        ("http://10.0.0.1", "http://10.0.0.1:80"),
        ("https://10.0.0.1", "https://10.0.0.1:443"),
        ("http://10.0.0.1:11434/path", "http://10.0.0.1:11434"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::1]", "http://[::1]:11434"),
        ("10.0.0.1:port", "http://10.0.0.1:11434"),
        ("10.0.0.1:66000", "http://10.0.0.1:11434"),
        ("'10.0.0.1'", "http://10.0.0.1:11434"),
    ],
)
def test_host(text, shown):
    assert str(Environment({"OLLAMA_HOST": text}).host()) == shown


@pytest.mark.parametrize(
    "text, level", [("", "INFO"), ("1", "DEBUG"), ("0", "INFO"), ("2", "DEBUG-4"), ("yes", "INFO")]
)
def test_debug(text, level):
    assert Environment({"OLLAMA_DEBUG": text}).debug_level() == level


@pytest.mark.parametrize(
    "nanoseconds, text",
    [(0, "0s"), (300 * SECOND_NS, "5m0s"), (5400 * SECOND_NS, "1h30m0s"), (1500 * 10**6, "1.5s"), (2 * 10**6, "2ms"),
     (MAX_DURATION_NS, "2562047h47m16.854775807s")],
)  # fmt: skip
def test_durations_are_shown_as_go_does(nanoseconds, text):
    assert format_duration(nanoseconds) == text


def test_without_a_home():
    with pytest.raises(Panic, match=r"\$HOME is not defined"):
        Environment({}).models()
    assert Environment({"OLLAMA_MODELS": "/srv/models"}).models() == "/srv/models"
    with pytest.raises(Fatal, match=r"\$HOME is not defined"):
        Environment({"OLLAMA_MODELS": "/srv/models"}).home()
    assert Environment({"HOME": "/home/me"}).models() == "/home/me/.ollama/models"


def test_what_the_log_shows():
    shown = Environment({"HOME": "/h", "OLLAMA_ORIGINS": "https://a.example", "OLLAMA_FLASH_ATTENTION": "no"}).shown()
    assert shown.startswith("map[") and shown.endswith("]")
    for part in (
        "OLLAMA_KEEP_ALIVE:5m0s", "OLLAMA_FLASH_ATTENTION:true", "OLLAMA_NUM_PARALLEL:1", "OLLAMA_NO_CLOUD:false",
        "OLLAMA_ORIGINS:[https://a.example http://localhost https://localhost http://localhost:*",
    ):  # fmt: skip
        assert part in shown


@pytest.mark.parametrize(
    "scheme, host, proxy",
    [
        ("https", "registry.ollama.ai", "http://proxy:3128"),
        ("http", "registry.example.com", ""),
        ("https", "127.0.0.1", ""),
        ("https", "localhost", ""),
        ("https", "mirror.example.com", ""),
        ("https", "example.com", ""),
        ("https", "myexample.com", "http://proxy:3128"),
    ],
)
def test_proxies(scheme, host, proxy):
    variables = {"https_proxy": "proxy:3128", "NO_PROXY": "10.0.0.1,.example.com"}
    assert Environment(variables).proxy(scheme, host) == proxy
    assert Environment(dict(variables, NO_PROXY="*")).proxy(scheme, host) == ""
