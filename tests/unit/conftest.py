# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all unit tests share."""

from __future__ import annotations

import subprocess
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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> t.Dict[str, str]:
    """A self-signed certificate for 127.0.0.1, and another that nobody trusts."""
    directory = tmp_path_factory.mktemp("certificates")
    paths = {}
    for name in ("server", "stranger"):
        paths[name], paths[name + "_key"] = str(directory / (name + ".pem")), str(directory / (name + ".key"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-days", "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1"]
            + ["-keyout", paths[name + "_key"], "-out", paths[name]],
            check=True,
            capture_output=True,
        )
    return paths
