# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.services import secret_files
from ansible_collections.gpufleet.llm.plugins.modules import secret_env

GROUP = grp.getgrgid(os.getgid()).gr_name
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="files are given to root")


@pytest.fixture
def ensure(tmp_path):
    def run(source, fails=False, check_mode=False, **options):
        arguments = {
            "path": str(tmp_path / "etc" / "a.env"), "name": "API_KEY", "source": source,
            "_ansible_check_mode": check_mode,
        }  # fmt: skip
        if source in ("generated", "value"):
            arguments["secret_file"] = str(tmp_path / "etc" / "a.key")
        arguments.update(options)
        process = subprocess.run(
            [sys.executable, secret_env.__file__], input=json.dumps(arguments), capture_output=True, text=True, check=False
        )
        result = json.loads(process.stdout)
        assert bool(result.get("failed")) == fails, result
        result["said"] = process.stdout + process.stderr
        return result

    run.env, run.key = tmp_path / "etc" / "a.env", tmp_path / "etc" / "a.key"
    return run


@ROOT
def test_a_key_is_made_once_and_never_said(ensure):
    assert ensure("generated", check_mode=True)["changed"] and not ensure.env.exists()
    first = ensure("generated", group=GROUP)
    key = ensure.key.read_text().strip()
    assert first["changed"] and len(key) >= 40 and key not in first["said"]
    assert ensure.env.read_text() == 'API_KEY="%s"\n' % key
    assert [stat.S_IMODE(path.stat().st_mode) for path in (ensure.env, ensure.key)] == [0o600, 0o640]
    second = ensure("generated", group=GROUP)
    assert not second["changed"] and ensure.key.read_text().strip() == key
    assert os.listdir(ensure.env.parent) in (["a.env", "a.key"], ["a.key", "a.env"])


@ROOT
def test_a_value_and_its_change(ensure):
    assert ensure("value", value="first-secret")["changed"]
    changed = ensure("value", value="second-secret")
    assert changed["changed"] and "secret" not in changed["said"].replace("secret_file", "").replace("secret_env", "")
    assert ensure.env.read_text() == 'API_KEY="second-secret"\n'
    assert ensure.key.read_text() == "second-secret\n"
    assert stat.S_IMODE(ensure.key.stat().st_mode) == 0o600


@ROOT
def test_a_file_is_read_and_left_alone(ensure, tmp_path):
    own = tmp_path / "own"
    missing = ensure("file", secret_file=str(own), fails=True)
    assert "does not exist: create it" in missing["msg"]
    own.write_text("from-a-file\n")
    own.chmod(0o400)
    assert ensure("file", secret_file=str(own))["changed"]
    assert ensure.env.read_text() == 'API_KEY="from-a-file"\n'
    assert stat.S_IMODE(own.stat().st_mode) == 0o400
    assert not ensure("file", secret_file=str(own))["changed"]


@ROOT
def test_none_removes_the_environment_file(ensure):
    ensure("generated")
    assert ensure("none")["changed"] and not ensure.env.exists() and ensure.key.exists()
    assert not ensure("none")["changed"]


@ROOT
def test_a_wrong_mode_is_put_right(ensure):
    ensure("generated")
    ensure.env.chmod(0o644)
    assert ensure("generated")["changed"] and stat.S_IMODE(ensure.env.stat().st_mode) == 0o600


@pytest.mark.parametrize("value, message", [("", "is empty"), ("\n", "is empty"), ("two words", "visible ASCII"), ("ümlaut", "visible ASCII")])
def test_secrets_that_are_refused(ensure, value, message):
    refused = ensure("value", value=value, fails=True)
    assert message in refused["msg"]
    assert value.strip() == "" or value not in refused["said"]


def test_other_refusals(ensure):
    assert "is no name" in ensure("none", name="no-name", fails=True)["msg"]
    assert "group=nobody-knows-it does not exist" in ensure("generated", group="nobody-knows-it", fails=True)["msg"]


def test_environment_line():
    assert secret_files.environment_line("A", 'a"b\\c$d`e') == 'A="a\\"b\\\\c\\$d\\`e"\n'
