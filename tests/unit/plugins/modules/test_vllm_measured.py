# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as Ansible runs it: check, write, again, change."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.modules import vllm_measured
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.server import StandIn

PLAN = {
    "schema": "gpufleet.plan/1",
    "engine_version": "0.32.0",
    "variant": "cpu",
    "settings": {"max_model_len": 1024},
    "devices": [],
    "numbers": {
        "block_size": 128,
        "kv_bytes_per_block": 131072,
        "num_gpu_blocks": 8192,
        "kv_cache_tokens": {"low": 1048576, "expected": 1048576, "high": 1048576},
        "max_concurrency": 1024.0,
    },
    "fingerprint": "f00d",
}


def run(check_mode: bool = False, **options: t.Any) -> t.Dict[str, t.Any]:
    arguments = {"_ansible_check_mode": check_mode, "_ansible_diff": True, "timeout": 5, **options}
    process = subprocess.run(
        [sys.executable, vllm_measured.__file__],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout, process.stderr
    return json.loads(process.stdout)


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], None]:
    """How many GiB the engine gives its cache."""

    def give(gib: str) -> None:
        monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", gib)

    give("1")
    return give


def test_the_file(tmp_path: Path, space: t.Callable[[str], None]) -> None:
    path = tmp_path / "measured.json"
    with StandIn(names=["canary"]) as server:
        options = {"url": server.url, "plan": PLAN, "destination": str(path)}
        check_1 = run(check_mode=True, **options)
        assert check_1["changed"] and not path.exists()
        written = run(**options)
        assert written["changed"] and written["diff"]["before"] == ""
        assert json.loads(path.read_text()) == written["measured"] and written["diff"]["after"] == path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        stamp = path.stat().st_mtime_ns
        assert not run(**options)["changed"] and not run(check_mode=True, **options)["changed"]
        assert path.stat().st_mtime_ns == stamp and os.listdir(str(tmp_path)) == ["measured.json"]

        path.chmod(0o600)
        check_2 = run(check_mode=True, **options)
        assert check_2["changed"] and check_2["diff"]["before"].startswith("mode 0600\n")
        assert run(**options)["changed"] and stat.S_IMODE(path.stat().st_mode) == 0o644

        space("0.5")
        smaller = run(**options)
        assert smaller["changed"] and smaller["measured"]["num_gpu_blocks"] == 4096
        assert '"num_gpu_blocks": 8192' in smaller["diff"]["before"]
        assert "50.0 % fewer than the 1048576 that were planned" in smaller["measured"]["warning"]
        assert "50.0 % fewer" in json.dumps(smaller["warnings"])


def test_plan_from_a_file(tmp_path: Path, space: t.Callable[[str], None]) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    with StandIn(names=["canary"]) as server:
        result = run(url=server.url, plan_file=str(tmp_path / "plan.json"))
    assert not result["changed"] and result["measured"]["error"]["num_gpu_blocks"] == 0.0
    assert "diff" not in result and "warnings" not in result


def test_the_metrics_need_no_key(space: t.Callable[[str], None]) -> None:
    with StandIn(names=["canary"], api_key="sk-test-5e1f0c") as server:
        assert run(url=server.url)["measured"]["kv_cache_tokens"] == 1048576


@pytest.mark.parametrize(
    "options, message",
    [
        ({"plan_file": "/nowhere/plan.json"}, "/nowhere/plan.json cannot be read: No such file or directory"),
        ({"plan_file": os.devnull}, "is not JSON"),
        ({"plan": {"numbers": {}}}, "plan is not a plan of schema gpufleet.plan/1"),
        ({"destination": "/nowhere/measured.json"}, "destination=/nowhere/measured.json cannot be written"),
        ({"destination": "/"}, "destination=/ cannot be read"),
        ({"plan": PLAN, "plan_file": "/x"}, "mutually exclusive"),
    ],
)
def test_refused(options: t.Dict[str, t.Any], message: str) -> None:
    with StandIn(names=["canary"]) as server:
        result = run(url=server.url, **options)
    assert result["failed"] and message in result["msg"]


def test_not_an_engine() -> None:
    with StandIn(fault="not-openai") as server:
        assert "line 1 of the metrics is no sample" in run(url=server.url)["msg"]
    assert "refuses connections" in run(url="http://127.0.0.1:9")["msg"]


def test_what_was_measured_before_stays(tmp_path: Path, space: t.Callable[[str], None]) -> None:
    path = tmp_path / "measured.json"
    before = {
        "schema": "gpufleet.measured/1",
        "configuration": {"gpu": "L4"},
        "overhead_bytes": 7,
        "num_gpu_blocks": 5,
        "earlier": [{"no": "configuration"}],
    }
    path.write_text(json.dumps(before))
    with StandIn(names=["canary"]) as server:
        options = {"url": server.url, "plan": PLAN, "destination": str(path)}
        assert run(**options)["measured"]["earlier"] == [{k: v for k, v in before.items() if k != "earlier"}]
        assert not run(**options)["changed"]
        path.write_text("{half")
        assert run(**options)["measured"]["earlier"] == []
