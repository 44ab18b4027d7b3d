# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.gpufleet.llm.plugins.modules import python_env_prune


@pytest.fixture
def root(tmp_path):
    for age, name in enumerate(["0.33.0-cpu", "0.32.1-cpu", "0.32.0-cpu", "0.3-cpu"]):
        directory = tmp_path / "opt" / name
        directory.mkdir(parents=True)
        record = directory / ".gpufleet-env.json"
        record.write_text('{"schema": "gpufleet.environment/1"}')
        os.utime(record, (1000 - age, 1000 - age))
    (tmp_path / "opt" / "unfinished").mkdir()
    (tmp_path / "opt" / "current").symlink_to("0.32.0-cpu")
    return tmp_path


@pytest.mark.parametrize(
    "used, keep, removed",
    [
        ([], 0, ["0.3-cpu", "0.32.0-cpu", "0.32.1-cpu", "0.33.0-cpu"]),
        ([], 1, ["0.3-cpu", "0.32.0-cpu", "0.32.1-cpu"]),
        (["0.33.0-cpu"], 1, ["0.3-cpu", "0.32.0-cpu"]),
        (["0.32.0-cpu", "0.3-cpu"], 0, ["0.32.1-cpu", "0.33.0-cpu"]),
        (["0.32.0-cpu"], 9, []),
        (["0.3-cpu-old"], 3, ["0.3-cpu"]),
    ],
)
def test_what_goes(root, used, keep, removed):
    for name in used:
        (root / ("%s.service" % name)).write_text("ExecStart=%s/bin/vllm serve\n" % (root / "opt" / name))

    def run(check_mode):
        arguments = {
            "path": str(root / "opt"), "keep": keep, "used_by": [str(root / "*.service")], "_ansible_check_mode": check_mode
        }  # fmt: skip
        process = subprocess.run(
            [sys.executable, python_env_prune.__file__], input=json.dumps(arguments), capture_output=True, text=True, check=True
        )
        return json.loads(process.stdout)

    paths = [str(root / "opt" / name) for name in removed]
    expected = run(check_mode=True)
    assert sorted(expected["removed"]) == paths and all(os.path.isdir(path) for path in paths)
    done = run(check_mode=False)
    assert sorted(done["removed"]) == paths and not any(os.path.exists(path) for path in paths)
    assert done["changed"] == bool(removed) and not run(check_mode=False)["changed"]
    assert (root / "opt" / "unfinished").is_dir() and (root / "opt" / "current").is_symlink()
