# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner against measured deployments: what docs/truth.md says must stay so."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.llm.tests.truth import replay

# Failures that the planner takes for fits, with their reasons in docs/truth.md.
PROMISED_AND_FAILED = {"v075", "v196", "g085"}


@pytest.fixture(scope="module")
def rows():
    return replay.load()


@pytest.fixture(scope="module")
def nvidia(rows):
    return [row for row in rows if row["problem"] is None and ("vendor", "NVIDIA") in replay.group_names(row)]


def test_nearly_every_case_is_sized(rows):
    assert len(rows) > 200
    problems = [row["problem"] for row in rows if row["problem"]]
    assert len(problems) < 25
    assert not [problem for problem in problems if problem.startswith("defect")]


@pytest.mark.parametrize(("quantized", "median", "ninety"), [(False, 1.5, 4.0), (True, 2.5, 7.0)])
def test_errors(rows, nvidia, quantized, median, ninety):
    everywhere = replay.summary(replay.tier_a_fits(rows, quantized))
    assert everywhere["median"] <= median
    found = replay.summary(replay.tier_a_fits(nvidia, quantized))
    assert found["median"] <= median
    assert found["p90"] <= ninety
    if not quantized:
        assert everywhere["p90"] <= ninety


def test_models_of_which_no_figure_was_used(nvidia):
    aside = [row for row in nvidia if not replay.FITTED.search(row["case"]["model"])]
    found = replay.summary(replay.tier_a_fits(aside, False))
    assert found["rows"] > 20
    assert found["median"] <= 1.5
    assert found["p90"] <= 4.0


def test_low_is_a_promise(rows, nvidia):
    now = [row for row in nvidia if ("generation", "V0") not in replay.group_names(row)]
    found = replay.promises(now)
    assert found["judged"] > 100
    assert len(found["broken"]) <= 0.025 * found["judged"], found["broken"]
    assert replay.promises(rows)["slack_median"] <= 0.10


def test_fit_or_not(rows):
    found = replay.promises(rows)
    assert set(found["failed_but_promised"]) <= PROMISED_AND_FAILED
    assert len(found["fitting_not_promised"]) <= 0.10 * found["fitting"], found["fitting_not_promised"]


def test_better_than_the_rules_of_thumb(rows):
    chosen = replay.tier_a_fits(rows, False) + replay.tier_a_fits(rows, True)
    ours = replay.summary(chosen)
    for rule in ("gpustack", "naive"):
        assert ours["median"] < replay.summary(chosen, rule)["median"] / 3


@pytest.mark.parametrize("case", [{}, {"gpu": "RTX 9999"}, {"gpu": "L40S", "model": "none"}])
def test_a_case_that_says_too_little_is_not_sized(case):
    row = replay.replay(dict({"id": "x", "model": "m", "tier": "C", "outcome": "fits"}, **case), {})
    assert row["problem"]
