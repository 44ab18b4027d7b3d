# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fingerprints of keys as vendors and people give them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software import openpgp

# Made for this test by gpg --quick-generate-key: ed25519, and thrown away.
KEY = (Path(__file__).parents[3] / "fixtures" / "signing" / "key.asc").read_text()
FINGERPRINT = (Path(__file__).parents[3] / "fixtures" / "signing" / "fingerprint").read_text().strip()
BINARY = base64.b64decode("".join(KEY.split("\n\n")[1].split("\n=")[0].split()))


@pytest.mark.parametrize(
    "content",
    [KEY.encode(), BINARY, KEY.replace("\n", "\r\n").encode(), KEY.replace("\n\n", "\nVersion: 1\n\n").encode()],
    ids=["armoured", "binary", "from Windows", "with a header"],
)
def test_fingerprints(content):
    assert openpgp.fingerprints(content) == [FINGERPRINT]


def test_two_keys_in_a_file():
    assert openpgp.fingerprints((KEY + KEY).encode()) == [FINGERPRINT, FINGERPRINT]


@pytest.mark.parametrize(
    "content", [b"", b"\x99", b"\x99\x00", BINARY[:40], b"\x00\x01", b"\xc6\xff\xff\xff\xff\xff", b"\xd1\x01x"]
)
def test_no_key(content):
    with pytest.raises(GpufleetError, match="it (holds no|is cut off|is no file|holds a)"):
        openpgp.fingerprints(content)
