# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ollama_release as a process that is killed: whatever lies there under a version's name is whole, and one run completes."""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.modules import ollama_release
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.software.mirror import (
    BASE,
    LINKS,
    Fault,
    Mirror,
    release,
    sha256,
    zst,
)

KILLS = 6
BYTES = random.Random(7)
FILES = dict(BASE, **{"lib/ollama/cuda_v13/lib%03d.so" % number: BYTES.randbytes(30_000) for number in range(120)})
ARCHIVE = zst(release(FILES, LINKS))
ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "amd64"
NAME = "ollama-linux-%s.tar.zst" % ARCHITECTURE


class Run:
    """One start of the module, as Ansible starts it."""

    def __init__(self, arguments):
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(ollama_release.__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process.stdin.write(json.dumps(arguments))
        self.process.stdin.close()
        self.process.stdin = None

    def kill_after(self, seconds):
        """Whether it was still at work."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.communicate(timeout=30)
        return self.process.returncode != 0

    def result(self):
        result = json.loads(self.process.communicate(timeout=120)[0])
        assert not result.get("failed"), result
        return result


def problem(root: Path) -> str:
    """Byte by byte."""
    found = {os.path.relpath(os.path.join(top, name), root) for top, _dirs, names in os.walk(root) for name in names}
    if found != set(FILES) | set(LINKS) | {".gpufleet-release.json"}:
        return "not the right files"
    return next((name for name, content in FILES.items() if (root / name).read_bytes() != content), "")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fetched", "carried", "replaced"])
def test_killed_at_any_moment(tmp_path, way):
    chance = random.Random(way)
    path = tmp_path / "opt" / "ollama"
    arguments = {"version": "0.32.15", "path": str(path), "stall_timeout": 10}
    with Mirror() as mirror:
        mirror.add("0.32.15", {NAME: ARCHIVE})
        mirror.faults["/v0.32.15/" + NAME] = [Fault(pace=(200_000, 0.02))] * 99
        arguments["url"] = mirror.url
        if way != "fetched":
            (tmp_path / NAME).write_bytes(ARCHIVE)
            arguments.update(archive=[str(tmp_path / NAME)], sha256=[sha256(ARCHIVE)])
        began = time.monotonic()
        assert Run(arguments if way == "replaced" else dict(arguments, path=str(tmp_path / "other" / "ollama"))).result()["changed"]
        whole_s = time.monotonic() - began
        killed = 0
        for number in range(KILLS):
            wish = arguments
            if way == "replaced":  # what is there is wanted otherwise, again and again
                wish = dict(arguments, libraries=["all"] if number % 2 else ["cuda_v12", "cuda_v13", "vulkan"])
            killed += Run(wish).kill_after(chance.uniform(0.2, 1.0) * whole_s)
            if (path / "0.32.15").exists():
                assert problem(path / "0.32.15") == ""
                if way != "replaced":
                    (path / "0.32.15").rename(tmp_path / ("taken-%d" % number))
        assert killed
        Run(arguments).result()
        assert problem(path / "0.32.15") == ""
        assert sorted(os.listdir(path)) == [".lock", "0.32.15"]
        assert Run(arguments).result()["changed"] is False
