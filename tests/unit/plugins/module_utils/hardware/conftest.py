# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees, captures and the NVML stand-in for the hardware tests."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.tests.stand_ins.nvml.build import build
from ansible_collections.gpufleet.llm.tests.stand_ins.trees import plant

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "hardware"


@pytest.fixture
def capture() -> t.Callable[[str], str]:
    return lambda name: (FIXTURES / name).read_text()


@pytest.fixture
def tree(tmp_path: Path) -> t.Callable[..., str]:
    """A root from one of the trees, with more lines if need be."""

    def make(name: str, more: str = "") -> str:
        text = (FIXTURES / "trees" / (name + ".txt")).read_text() if name else ""
        return plant(text + more, tmp_path / "root")

    return make


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def old_nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml-old"), old_driver=True)


@pytest.fixture
def nvml_machine(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    """Let the probe's subprocess find the stand-in, playing the machine that the text describes."""

    def play(text: str, library: Path = nvml_library) -> None:
        described = tmp_path / "machine.txt"
        described.write_text(text)
        monkeypatch.setenv("NVML_PROFILE", str(described))
        monkeypatch.setenv("LD_LIBRARY_PATH", str(library))

    return play
