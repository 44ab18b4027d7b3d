# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gpu_info from the zip that a real run of Ansible makes.

Not beside the module's other tests: ansible-test gives those only ansible.module_utils, and this needs the whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.gpufleet.llm.plugins.modules import gpu_info
from ansible_collections.gpufleet.llm.tests.stand_ins.nvml.build import build, profile

MODULE = Path(gpu_info.__file__)


def test_as_ansible_packs_it(tmp_path):
    """The NVML probe has to find its other half in there."""
    described = tmp_path / "machine.txt"
    described.write_text(profile("h100-mig"))
    environment = dict(
        os.environ,
        NVML_PROFILE=str(described),
        LD_LIBRARY_PATH=str(build(tmp_path / "lib")),
        ANSIBLE_LOCAL_TEMP=str(tmp_path / "local"),
        ANSIBLE_REMOTE_TEMP=str(tmp_path / "remote"),
        ANSIBLE_STDOUT_CALLBACK="ansible.builtin.minimal",
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_COLLECTIONS_PATH=str(MODULE.parents[5]),
    )
    done = subprocess.run(
        [sys.executable, "-m", "ansible.cli.adhoc", "localhost", "-c", "local", "-m", "gpufleet.llm.gpu_info"]
        + ["-e", "ansible_python_interpreter=" + sys.executable, "-a", "tools_python=/nonexistent"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "SUCCESS" in done.stdout, done.stdout + done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])
    (card,) = [card for card in result["hardware"]["accelerators"] if card["mig"]]
    assert [piece["name"] for piece in card["mig"]["slices"]] == ["3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"]
    assert result["hardware"]["sources"]["nvml"] == "ok"
