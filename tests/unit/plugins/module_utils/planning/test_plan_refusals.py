# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every refusal has its case, says what it must, and stands in docs/refusals.md as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import refusals
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import refusal_cases

PAGE = Path(__file__).resolve().parents[5] / "docs" / "refusals.md"


def test_every_code_has_a_case():
    assert set(refusal_cases.CASES) == set(refusals.CODES)


@pytest.mark.parametrize("code", sorted(refusal_cases.CASES))
def test_refusal(code):
    plan = refusal_cases.plan(code)
    refusal = plan["refusal"]
    assert refusal["code"] == code
    said = "\n".join([refusal["message"]] + refusal["remedies"])
    assert [word for word in refusal_cases.CASES[code][4] if word not in said] == []
    assert refusal["remedies"]
    assert plan["numbers"]["weights_bytes_per_gpu"] > 0
    assert plan["numbers"]["kv_bytes_per_token"] > 0
    assert (refusal["short_bytes"] or 0) > 0 or "short" not in refusal["message"]


def test_the_page_is_what_the_cases_say():
    assert PAGE.read_text() == refusal_cases.page()
