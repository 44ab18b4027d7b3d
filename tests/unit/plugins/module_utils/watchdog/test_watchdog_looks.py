# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the watchdog sees, and the program as a host runs it: of the files that the role brings, without Ansible."""

from __future__ import annotations

import datetime
import json
import os
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.lookup.program_files import closure
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import watchdog
from ansible_collections.gpufleet.llm.plugins.module_utils.watchdog import journal, kernel_log, look, program
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.server import StandIn

KEY = "sk-test-5e1f0c"
NOW = datetime.datetime(2026, 11, 21, 12, 0, 0).timestamp()

SHOWN = """\
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
Result=success
InvocationID=a55e7be4da2a4908a3561e4efc838845
ExecMainStartTimestampMonotonic=%d
ActiveEnterTimestampMonotonic=%d
"""


def settings(**given: t.Any) -> t.Dict[str, t.Any]:
    return watchdog.config(dict({"unit": "x.service", "url": "http://127.0.0.1:1", "timeout_s": 1}, **given))


def test_a_unit() -> None:
    calls = []
    seen = look.unit("x.service", 0, lambda argv: calls.append(argv) or SHOWN % (5_000_000, 0))
    assert calls[0][:3] == ["systemctl", "show", "x.service"]
    assert (seen["active_state"], seen["invocation"]) == ("active", "a55e7be4da2a4908a3561e4efc838845")
    assert seen["started_at"] > 0
    assert look.unit("x.service", 0, lambda argv: SHOWN % (0, 0))["started_at"] is None
    assert look.unit("x.service", 0, lambda argv: "LoadState=not-found\n")["load_state"] == "not-found"


def test_a_unit_that_was_written_after_the_watch(tmp_path: Path) -> None:
    fragment, source, drop_in = (tmp_path / name for name in ("generated.service", "x.container", "drop-in.conf"))
    for number, path in enumerate((source, drop_in, fragment), 1):
        path.write_text("")
        os.utime(path, (number * 100, number * 100))
    text = "FragmentPath=%s\nSourcePath=%s\nDropInPaths=%s\nRestart=always\nNRestarts=3\nStartLimitBurst=10\n" % (
        fragment, source, drop_in)  # fmt: skip
    seen = look.unit("x.service", 150, lambda argv: text)
    assert (seen["changed_at"], seen["ahead"]) == (200, True)  # not what was generated at the last boot
    assert look.unit("x.service", 250, lambda argv: text)["ahead"] is False
    assert (seen["restart"], seen["restarts"], seen["start_limit"]) == ("always", 3, 10)


def test_a_driver_that_hangs_is_not_asked_at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = {"load_state": "loaded", "active_state": "active", "sub_state": "running", "file_state": "enabled", "result": "success",
            "invocation": "one", "started_at": 1.0, "changed_at": 0.0, "ahead": False}  # fmt: skip
    asked = []
    monkeypatch.setattr(look, "unit", lambda name, written: unit)
    hangs = {"failed": {"kind": "hung", "text": "no answer within 20 seconds"}, "rows": []}
    monkeypatch.setattr(look, "gpus", lambda *_rest: asked.append(1) or hangs)
    wanted, state = dict(settings(kernel_log="", kernel_module="", devices=["GPU-a"]), written_at=0.0), {}
    for _look in range(3):
        _seen, decision = program.examine(wanted, state)
        state = json.loads(json.dumps(decision.state))
        assert decision.verdict == "driver_failed"
    assert len(asked) == 1
    state["hang"]["at"] -= program.HANG_S
    program.examine(wanted, state)
    assert len(asked) == 2


def test_the_kernels_journal_by_the_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    now, since_boot = time.time(), time.clock_gettime(time.CLOCK_MONOTONIC)
    lines = "[%12.6f] lab kernel: NVRM: loading NVIDIA UNIX Open\n[%12.6f] lab kernel: usb\nnoise\n" % (since_boot - 30, since_boot - 5)
    monkeypatch.setattr(kernel_log.command, "run", lambda argv, timeout: kernel_log.command.Result(0, lines, ""))
    found = kernel_log.read("journal", now - 60, now, 5)
    assert [round(at - now) for at, _line in found] == [-30] and "NVRM" in found[0][1]


def test_device_files(tmp_path: Path) -> None:
    card = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "information").write_text("Model: \t\t NVIDIA L40S\nDevice Minor: \t 77\n")
    there, gone = "/dev/null", str(tmp_path / "gone")
    directory = str(tmp_path)
    seen = look.nodes([there, gone, directory], ["0000:01:00.0", "0000:02:00.0"], 5, str(tmp_path))
    assert seen.pop(directory)  # there, and nothing that can be opened for writing
    assert seen == {there: "", gone: "it does not exist", "/dev/nvidia77": "it does not exist"}


def test_a_driver_that_is_loaded_anew(tmp_path: Path) -> None:
    assert look.driver("nvidia", str(tmp_path)) is None
    module = tmp_path / "module/nvidia"
    module.mkdir(parents=True)
    (module / "version").write_text("590.48.01\n")
    first = look.driver("nvidia", str(tmp_path))
    assert first is not None and first["version"] == "590.48.01" and look.driver("nvidia", str(tmp_path)) == first
    module.rename(tmp_path / "old")
    module.mkdir()
    (module / "version").write_text("590.48.01\n")
    assert look.driver("nvidia", str(tmp_path)) != first


@pytest.mark.parametrize(
    "line, seconds",
    [
        ("2026-11-21T11:59:30.5+00:00 host kernel: x", None),
        ("2026-11-21T11:59:30.250000 host kernel: x", -29.75),
        ("2026-11-21T11:59:30 host kernel: x", -30),
        ("Nov 21 11:59:30 host kernel: x", -30),
        ("Nov  1 12:00:00 host kernel: x", -20 * 86400),
        ("Dec 31 12:00:00 host kernel: x", -325 * 86400),
        ("Xyz 31 12:00:00 host kernel: x", False),
        ("Feb 30 12:00:00 host kernel: x", False),
        ("[ 12.345] NVRM: x", False),
    ],
)
def test_times_of_lines(line: str, seconds: t.Union[None, bool, float]) -> None:
    at = kernel_log.when(line, NOW)
    if seconds is None:
        assert at == datetime.datetime(2026, 11, 21, 11, 59, 30, 500000, datetime.timezone.utc).timestamp()
    elif seconds is False:
        assert at is None
    else:
        assert at == pytest.approx(NOW + seconds)


def test_a_log_in_a_file(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(
        "2026-11-21T11:00:00 host kernel: NVRM: Xid (PCI:0000:01:00): 31, old\n"
        "2026-11-21T11:59:00 host kernel: NVRM: Xid (PCI:0000:01:00): 119, new\n"
        "2026-11-21T11:59:30 host kernel: NVRM: loading NVIDIA UNIX x86_64 Kernel Module  590.48.01\n"
        "2026-11-21T11:59:40 host kernel: eth0: link up\n"
    )
    seen = look.kernel(str(log), NOW - 120, NOW, 5)
    assert [one["xid"] for one in seen["xids"]] == [119] and seen["loads"] == [NOW - 30]
    assert (seen["until"], seen["problem"]) == (NOW, None)
    seen = look.kernel(str(tmp_path / "none"), NOW - 120, NOW, 5)
    assert seen["until"] == NOW - 120 and "No such file" in seen["problem"]


@pytest.mark.parametrize(
    "server, given, verdict, said",
    [
        ({}, {}, "ok", "canary answered in"),
        ({"fault": "hang"}, {}, "hung", "healthy, and no token from canary for 0.4 s"),
        ({"fault": "hang"}, {"probe": False}, "ok", "is healthy"),
        ({"fault": "dead"}, {}, "server_error", "/health answered 503"),
        ({"api_key": KEY}, {}, "unauthorized", "401"),
        ({}, {"model": "llama"}, "model_not_found", "it lists canary"),
        ({}, {"api_key_file": "/nowhere"}, "no_key", "api_key_file=/nowhere does not exist"),
    ],
)
def test_an_endpoint(server: dict, given: dict, verdict: str, said: str) -> None:
    with StandIn(names=["canary"], **server) as running:
        wanted = settings(url=running.url, engine="vllm", **given)
        seen = look.endpoint(dict(wanted, timeout_s=0.4 if server.get("fault") == "hang" else 5), None)
    assert seen["verdict"] == verdict and said in seen["detail"], seen


def test_an_engine_that_works_for_others_is_not_asked() -> None:
    with StandIn(names=["canary"], fault="hang") as running:
        wanted = dict(settings(url=running.url, engine="vllm"), timeout_s=0.4)
        first = look.endpoint(wanted, None)
        assert first["verdict"] == "hung" and "generation_tokens_total" in first["signs"]
        running.make_token()
        assert look.endpoint(wanted, first["signs"])["verdict"] == "ok"
        assert sum(path == "/v1/completions" for _method, path in running.requests) == 1
        assert look.endpoint(wanted, look.endpoint(wanted, first["signs"])["signs"])["verdict"] == "hung"


def test_the_key_is_not_in_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    with StandIn(names=[KEY + "-model"], api_key=KEY) as running:
        seen = look.endpoint(settings(url=running.url, engine="vllm", api_key_file=str(tmp_path / "key"), timeout_s=5), None)
    assert seen["verdict"] == "ok" and KEY not in json.dumps(seen)


def test_a_line_for_the_journal(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(path)
        journal.say("x.service: hung:\n no token", 3, "x.service", {"GPUFLEET_VERDICT": "hung", "BROKEN": "a\nb"}, path)
        lines = journald.recv(4096).decode().splitlines()
    assert {"MESSAGE=x.service: hung: no token", "PRIORITY=3", "OBJECT_SYSTEMD_UNIT=x.service", "GPUFLEET_VERDICT=hung"} <= set(lines)
    assert not [line for line in lines if line.startswith("BROKEN")]
    journal.say("x.service: hung", 3, "x.service", {}, str(tmp_path / "nobody"))
    assert capsys.readouterr().err == "<3>x.service: hung\n"


@pytest.mark.parametrize("state, calls", [
    ("active", [["systemctl", "try-restart", "--no-block", "x.service"]]),
    ("failed", [["systemctl", "reset-failed", "x.service"], ["systemctl", "restart", "--no-block", "x.service"]]),
])  # fmt: skip
def test_a_restart_honours_a_stop_in_between(state: str, calls: t.List[t.List[str]]) -> None:
    made: t.List[t.List[str]] = []
    program.restart("x.service", {"active_state": state}, lambda argv: made.append(argv) or "")
    assert made == calls


@pytest.mark.parametrize("after, verdict", [
    ({}, "unhealthy"), ({"active_state": "inactive"}, "stopped"), ({"active_state": "deactivating"}, "stopping"),
    ({"invocation": "two"}, "ok"),
])  # fmt: skip
def test_a_stop_while_it_looks_is_no_trouble(monkeypatch: pytest.MonkeyPatch, after: dict, verdict: str) -> None:
    unit = {"load_state": "loaded", "active_state": "active", "sub_state": "running", "file_state": "enabled", "result": "success",
            "invocation": "one", "started_at": 1.0, "changed_at": 0.0, "ahead": False, "restart": "always", "restarts": 0,
            "start_limit": 5}  # fmt: skip
    seen = [dict(unit, **after), unit]
    monkeypatch.setattr(look, "unit", lambda name, written: seen.pop())
    _seen, decision = program.examine(dict(settings(kernel_log="", kernel_module="", failures=1), written_at=0.0), {})
    assert (decision.verdict, decision.action == "restart", seen) == (verdict, verdict == "unhealthy", [])


def test_state_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    path = str(tmp_path / "state/x.json")
    assert program.read_state(path) == {}
    program.write_state(path, {"failing": 1})
    assert program.read_state(path) == {"failing": 1} and os.listdir(tmp_path / "state") == ["x.json"]
    Path(path).write_text('{"failing"')
    assert program.read_state(path) == {}


SYSTEMCTL = """#!/bin/sh
echo "$*" >> %(log)s
case "$1" in show) printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\nUnitFileState=enabled\\nInvocationID=one\\n'
printf 'ExecMainStartTimestampMonotonic=1000000\\nControlGroup=/system.slice/x.service\\n' ;; esac
"""


def test_the_program_runs_of_the_files_that_the_role_brings(tmp_path: Path) -> None:
    """Whole runs: two looks at an engine that hangs, the second of which restarts it."""
    package = tmp_path / "opt/gpufleet"
    for path, text in closure(["watchdog/program.py"]).items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL % {"log": tmp_path / "calls"})
    (tmp_path / "bin/systemctl").chmod(0o755)
    (tmp_path / "key").write_text(KEY)
    code = (
        "import sys; from gpufleet.watchdog import journal, program; journal.say.__defaults__ = (%r,); "
        "sys.exit(program.run('x', False, %r, %r))" % (str(tmp_path / "none"), str(tmp_path / "etc"), str(tmp_path / "run"))
    )
    ends, said = [], []
    with StandIn(names=["canary"], fault="hang", api_key=KEY) as running:
        (tmp_path / "etc").mkdir()
        wanted = {"unit": "x.service", "url": running.url, "engine": "vllm", "timeout_s": 1, "failures": 2, "start_s": 0}
        wanted.update(kernel_log="", kernel_module="")
        (tmp_path / "etc/x.json").write_text(json.dumps(dict(wanted, api_key_file=str(tmp_path / "key"))))
        environment = {"PATH": "%s:/usr/bin:/bin" % (tmp_path / "bin"), "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
        for _look in range(2):
            process = subprocess.run(
                [sys.executable, "-S", "-c", code], cwd=tmp_path / "opt", env=environment,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            ends.append(process.returncode)
            said.append(process.stderr)
    assert ends == [10, 10], said
    assert "At 2 looks in a row it is restarted" in said[0] and "Restarted, 1 of at most 4" in said[1]
    assert (tmp_path / "calls").read_text().splitlines().count("try-restart --no-block x.service") == 1
    everything = "".join(said) + "".join(path.read_text() for path in tmp_path.glob("run/*")) + (tmp_path / "calls").read_text()
    assert KEY not in everything


def test_a_watch_that_is_wrong_says_so(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "say", lambda text, priority, unit, fields: print(text))
    assert program.run("x", False, str(tmp_path), str(tmp_path)) == watchdog.EXIT_OWN
    (tmp_path / "x.json").write_text('{"unit": "x.service"}')
    assert program.run("x", False, str(tmp_path), str(tmp_path)) == watchdog.EXIT_OWN
    lines = capsys.readouterr().out.splitlines()
    assert "No such file" in lines[0] and lines[0].startswith("x: this watch could not do its work")
    assert "url is missing" in lines[1]


def test_the_program_is_small_and_needs_no_ansible() -> None:
    files = closure(["watchdog/program.py"])
    assert {"deployment/watchdog.py", "engines/readiness.py"} & set(files) == {"deployment/watchdog.py"}
    assert not [path for path, text in files.items() if "import ansible" in text or "from ansible" in text]
    assert sum(map(len, files.values())) < 150_000
