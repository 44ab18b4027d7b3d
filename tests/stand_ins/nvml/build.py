# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the NVML stand-in and puts it in front of the real nvidia-ml-py."""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def build(directory: Path, old_driver: bool = False) -> Path:
    """Compile libnvidia-ml.so.1 into ``directory``. Needs gcc: a missing compiler fails the test that asked."""
    directory.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    command += ["-DOLD_DRIVER"] if old_driver else []
    subprocess.run([*command, "-o", str(directory / "libnvidia-ml.so.1"), str(HERE / "nvml.c")], check=True)
    return directory


def profile(name: str) -> str:
    """The text of a machine in profiles/."""
    return (HERE / "profiles" / (name + ".txt")).read_text()
