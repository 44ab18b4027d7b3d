# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all unit tests share."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

# ansible-test brings the collection into Python's path itself; plain pytest has the link that `make venv` makes.
_LINK = Path(__file__).resolve().parents[2] / ".ansible" / "collections"
if _LINK.is_dir() and str(_LINK) not in sys.path:
    sys.path.insert(0, str(_LINK))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: seconds of processor time each; `make test` runs it, `make check` does not")


@pytest.fixture
def hub(tmp_path: Path) -> t.Iterator[t.Any]:
    """An empty Hugging Face Hub stand-in on loopback: fill it with ``hub.add("org/name", {path: bytes})``."""
    from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Hub

    with Hub(tmp_path / "hub") as running:
        yield running
