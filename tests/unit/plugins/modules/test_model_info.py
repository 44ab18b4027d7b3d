# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module itself, run alone."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.llm.plugins.modules import model_info
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.models import builders


def run_alone(arguments: t.Any) -> t.Tuple[int, dict]:
    done = subprocess.run(
        [sys.executable, str(Path(model_info.__file__))],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_a_config() -> None:
    for arguments in ({"config": builders.CONFIG}, {"ANSIBLE_MODULE_ARGS": {"config": builders.CONFIG}}):
        code, answer = run_alone(arguments)
        assert (code, answer["changed"]) == (0, False)
        assert answer["model"]["schema"] == "gpufleet.model/1"
        assert answer["model"]["format"] == "config"


def test_a_directory_needs_no_library(tmp_path: Path) -> None:
    builders.write(tmp_path, builders.model_files())
    code, answer = run_alone({"source": str(tmp_path), "tools_python": "/nonexistent"})
    assert code == 0 and answer["model"]["complete"] is True


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({}, "one of the following is required: source, config"),
        ({"source": "a/b", "config": {}}, "mutually exclusive: source|config"),
        ({"config": builders.CONFIG, "file": "x.gguf"}, "mutually exclusive: config|file"),
        ({"source": "a/b", "token": "hf_secret", "token_file": "/x"}, "mutually exclusive: token|token_file"),
        ({"config": {}}, "config is empty"),
        ({"source": "/nonexistent"}, "does not exist on the host"),
    ],
)
def test_refusals(arguments: dict, words: str) -> None:
    code, answer = run_alone(arguments)
    assert code == 1 and answer["failed"]
    assert words in answer["msg"]
    assert "hf_secret" not in json.dumps(answer)


def test_a_missing_key_is_a_detail() -> None:
    config = {key: value for key, value in builders.CONFIG.items() if key != "vocab_size"}
    assert run_alone({"config": config})[1]["missing_key"] == "vocab_size"


def test_everything_returned_is_documented() -> None:
    documented = yaml.safe_load(model_info.RETURN)["model"]["contains"]
    _code, answer = run_alone({"config": builders.CONFIG})
    assert set(answer["model"]) == set(documented)
    groups = documented["tensor_groups"]["contains"]
    assert all(set(group) == set(groups) for group in answer["model"]["tensor_groups"])
