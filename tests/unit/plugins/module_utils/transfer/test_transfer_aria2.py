# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large files from a hub by the real aria2c."""

from __future__ import annotations

import os
import random
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import aria2
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Fault, Hub
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import contents

pytest.importorskip("huggingface_hub")

FILES = {
    "config.json": b"{}",
    "a.safetensors": random.Random(1).randbytes(3_000_000),
    "folder/b.safetensors": random.Random(2).randbytes(2_000_000),
}


@pytest.fixture(autouse=True)
def _large_here(monkeypatch):
    assert aria2.program(), "aria2c is missing: tests/run installs it"
    monkeypatch.setattr(aria2, "LARGE", 1_000_000)


def test_large_by_aria2_and_the_rest_by_http(hub, run, monkeypatch):
    jobs, fetch = [], aria2.fetch
    monkeypatch.setattr(aria2, "fetch", lambda wanted, *rest: jobs.extend(wanted) or fetch(wanted, *rest))
    commit = hub.add("org/tiny", FILES)
    result = run(endpoint=hub.url, transport="aria2")
    assert contents(result["path"]) == FILES
    assert sorted(os.path.basename(job.path) for job in jobs) == ["a.safetensors", "b.safetensors"]
    assert sorted(os.listdir(os.path.dirname(result["path"]))) == [".lock", commit, "main"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", path="a.safetensors", at=0.5),
        Fault("stall", path="a.safetensors", at=0.9),
        Fault("status", path="a.safetensors", status=503),
        Fault("status", path="a.safetensors", status=404, code="EntryNotFound"),
        Fault("corrupt", path="a.safetensors"),
        Fault("html", path="a.safetensors"),
    ],
    ids=["drop", "stall", "503", "404", "wrong byte", "page"],
)
def test_what_goes_wrong_once_is_survived(hub, run, fault):
    hub.add("org/tiny", FILES)
    hub.faults.append(fault)
    assert contents(run(endpoint=hub.url, transport="aria2", timeout=2)["path"]) == FILES
    assert fault.times == 0


def test_a_token_stays_with_the_hub(tmp_path, run):
    with Hub(tmp_path / "hub", cdn=True, gated={"org/tiny": "hf_secret"}) as hub:
        hub.add("org/tiny", FILES)
        assert contents(run(endpoint=hub.url, token="hf_secret", transport="aria2")["path"]) == FILES
        assert {one.authorization for one in hub.requests if one.origin == "cdn"} == {False}
        assert {one.authorization for one in hub.requests if one.origin == "hub"} == {True}


def test_without_aria2c(hub, run, monkeypatch):
    hub.add("org/tiny", FILES)
    monkeypatch.setattr(aria2, "program", lambda: None)
    with pytest.raises(GpufleetError, match="aria2c is not on this host: install the package aria2, or set transport to auto"):
        run(endpoint=hub.url, transport="aria2")
    assert contents(run(endpoint=hub.url, transport="auto")["path"]) == FILES


def test_the_next_run_waits_for_an_aria2_that_outlived_its_own(tmp_path):
    with aria2.alone(str(tmp_path)) as lock:
        assert os.get_inheritable(lock) is False
        began = time.monotonic()
    with aria2.alone(str(tmp_path)):
        assert time.monotonic() - began < 1
