# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the watchdog makes of what it sees, one row each."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import watchdog
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError

NOW = 1_800_000_000.0
UNIT = {
    "load_state": "loaded", "active_state": "active", "sub_state": "running", "file_state": "enabled", "result": "success",
    "invocation": "one", "started_at": NOW - 3600, "changed_at": NOW - 7200, "ahead": False, "restart": "always", "restarts": 0,
    "start_limit": 10,
}  # fmt: skip
NODES = {"/dev/nvidiactl": "", "/dev/nvidia0": ""}
DRIVER = {"identity": 7, "version": "590.48.01"}
KERNEL = {"until": NOW, "problem": None, "xids": [], "loads": []}
ROW = {
    "device": "GPU-a", "found": True, "problem": None, "processes": 1, "memory_bytes": 21 * 2**30, "other_processes": 0,
    "other_memory_bytes": 0,
}  # fmt: skip
GPUS = {"failed": None, "rows": [ROW]}
ANSWER = {"verdict": "ok", "detail": "chat answered in 0.1 s", "healthy": True, "signs": "10", "on_cpu": ""}
READY = {"engine": "one", "ready": True, "driver": DRIVER, "signs": "9", "kernel_seen": NOW - 15}

SETTINGS = watchdog.config(
    {"unit": "vllm-chat.service", "url": "http://127.0.0.1:8000", "devices": ["GPU-a"], "pci_addresses": ["0000:01:00.0"]}
)


def unit(**given: t.Any) -> dict:
    return {"unit": dict(UNIT, **given)}


def xid(number: int, device: str = "0000:01:00", age: float = 20) -> dict:
    return {"kernel": dict(KERNEL, xids=[{"at": NOW - age, "device": device, "xid": number, "text": "pid=4711"}])}


def row(**given: t.Any) -> dict:
    return {"gpus": {"failed": None, "rows": [dict(ROW, **given)]}}


def failed(kind: str, text: str = "why") -> dict:
    return {"gpus": {"failed": {"kind": kind, "text": text}, "rows": []}}


def answer(verdict: str, **given: t.Any) -> dict:
    return {"endpoint": dict(ANSWER, verdict=verdict, detail="as seen", **given)}


NONE = {"processes": 0, "memory_bytes": 0}
YOUNG = {"started_at": NOW - 60}
TWICE = {"failing": 2}
FRESH = {"ready": False}
AHEAD = {"ahead": True, "changed_at": NOW - 600}


@pytest.mark.parametrize(
    "look, state, verdict, action, code",
    [
        # All is well, or nobody's business.
        ({}, {}, "ok", "none", 0),
        (answer("overloaded"), {}, "busy", "none", 0),
        (answer("overloaded"), TWICE, "busy", "none", 0),
        (unit(active_state="inactive", sub_state="dead"), {}, "stopped", "none", 0),
        (unit(active_state="inactive", sub_state="dead"), TWICE, "stopped", "none", 0),
        (unit(active_state="failed", file_state="disabled"), {}, "stopped", "none", 0),
        (unit(active_state="failed", file_state="masked"), {}, "stopped", "none", 0),
        (unit(active_state="deactivating", sub_state="stop-sigterm"), {}, "stopping", "none", 0),
        (unit(active_state="activating", sub_state="auto-restart"), {}, "starting", "none", 0),
        (unit(active_state="activating", sub_state="start-pre"), {}, "starting", "none", 0),
        (unit(load_state="not-found", active_state="inactive"), {}, "absent", "none", 3),
        # Given up by systemd, and still wanted; a generated unit (Quadlet) is never enabled.
        (unit(active_state="failed", result="start-limit-hit", restarts=9), {}, "failed", "restart", 10),
        (unit(active_state="failed", file_state="generated", restarts=12), {}, "failed", "restart", 10),
        (unit(active_state="failed", restart="no"), {}, "failed", "restart", 10),
        # An admin's stop that took too long, or that the engine answered with a status.
        (unit(active_state="failed", result="timeout"), {}, "stopped", "none", 0),
        (unit(active_state="failed", result="exit-code", restart="on-failure", restarts=3), TWICE, "stopped", "none", 0),
        # Device files: a restart would not come up.
        ({"nodes": dict(NODES, **{"/dev/nvidia0": "it does not exist"})}, {}, "device_node", "none", 2),
        ({"nodes": dict(NODES, **{"/dev/nvidia0": "Input/output error"})}, {}, "device_node", "none", 2),
        ({"nodes": dict(NODES, **{"/dev/nvidiactl": "it does not exist"}), **answer("hung")}, TWICE, "device_node", "none", 2),
        # The driver.
        ({"driver": dict(DRIVER, identity=8)}, {}, "driver_changed", "restart", 10),
        ({"driver": dict(DRIVER, version="595.91.07")}, {}, "driver_changed", "restart", 10),
        ({"driver": None}, {}, "driver_gone", "none", 2),
        ({"driver": dict(DRIVER, identity=8)}, {"driver": None}, "ok", "none", 0),
        ({**unit(invocation="two"), "driver": dict(DRIVER, identity=8)}, {}, "ok", "none", 0),
        ({"kernel": dict(KERNEL, loads=[NOW - 30])}, {}, "driver_changed", "restart", 10),
        ({"kernel": dict(KERNEL, loads=[NOW - 7200])}, {}, "ok", "none", 0),
        # Xids: of this card, since the start, and such that no context survives.
        (xid(119), {}, "xid", "restart", 10),
        (xid(48), {}, "xid", "restart", 10),
        (xid(94), {}, "ok", "none", 0),
        (xid(79), {}, "gpu_lost", "none", 2),
        (xid(31), {}, "ok", "none", 0),
        (xid(13), {}, "ok", "none", 0),
        (xid(43), {}, "ok", "none", 0),
        (xid(154), {}, "ok", "none", 0),
        (xid(119, device="0000:81:00"), {}, "ok", "none", 0),
        (xid(119, device="0000:01:00.0"), {}, "xid", "restart", 10),
        (xid(119, age=7200), {}, "ok", "none", 0),
        ({"kernel": dict(KERNEL, problem="no such file")}, {}, "ok", "none", 0),
        ({}, {"fatal": {"verdict": "xid", "reason": "Xid 119"}}, "xid", "restart", 10),
        (unit(invocation="two"), {"fatal": {"verdict": "xid", "reason": "Xid 119"}}, "ok", "none", 0),
        # Memory on the GPUs.
        (row(**NONE), {}, "cpu_fallback", "none", 10),
        (row(**NONE), TWICE, "cpu_fallback", "restart", 10),
        (row(**NONE), {"failing": 1}, "cpu_fallback", "none", 10),
        ({**unit(**YOUNG), **row(**NONE), **answer("refused")}, {**FRESH, **TWICE}, "starting", "none", 0),
        ({**unit(**YOUNG), **row(**NONE)}, {**FRESH, **TWICE}, "cpu_fallback", "restart", 10),
        (row(**NONE), {**FRESH, **TWICE}, "cpu_fallback", "restart", 10),
        (row(found=False), {}, "gpu_lost", "none", 2),
        (row(problem="The driver does not reach this GPU any more"), {}, "gpu_lost", "none", 2),
        (failed("absent"), {}, "ok", "none", 0),
        (failed("mismatch"), {}, "driver_failed", "none", 2),
        (failed("hung"), TWICE, "driver_failed", "none", 2),
        (answer("ok", on_cpu="tiny runs on the CPU alone"), TWICE, "cpu_fallback", "restart", 10),
        # Answers.
        (answer("hung"), {}, "hung", "none", 10),
        (answer("hung"), TWICE, "hung", "restart", 10),
        (answer("timeout", healthy=True), TWICE, "hung", "restart", 10),
        (answer("timeout", healthy=None), TWICE, "unhealthy", "restart", 10),
        (answer("refused"), TWICE, "unhealthy", "restart", 10),
        (answer("server_error"), TWICE, "unhealthy", "restart", 10),
        ({**unit(**YOUNG), **answer("refused")}, {**FRESH, **TWICE}, "starting", "none", 0),
        ({**unit(**YOUNG), **answer("hung")}, {**FRESH, **TWICE}, "starting", "none", 0),
        ({**unit(**YOUNG), **answer("hung")}, TWICE, "hung", "restart", 10),
        (answer("loading"), {**FRESH, **TWICE}, "unhealthy", "restart", 10),
        (answer("unauthorized"), TWICE, "misconfigured", "none", 3),
        (answer("model_not_found"), TWICE, "misconfigured", "none", 3),
        (answer("bad_request"), TWICE, "misconfigured", "none", 3),
        (answer("no_key"), TWICE, "misconfigured", "none", 3),
        # A unit that was written after the watch: its GPUs and its address may be others. Until all was well once, or for an hour.
        ({**unit(**AHEAD), **row(**NONE)}, TWICE, "starting", "none", 0),
        ({**unit(**AHEAD), **answer("refused")}, TWICE, "starting", "none", 0),
        ({**unit(**AHEAD), **answer("model_not_found")}, TWICE, "starting", "none", 0),
        ({**unit(**AHEAD), **answer("hung")}, {**TWICE, "settled": NOW - 600}, "hung", "restart", 10),
        ({**unit(ahead=True, changed_at=NOW - 3700), **answer("hung")}, TWICE, "hung", "restart", 10),
        ({**unit(**AHEAD), "driver": None}, {}, "driver_gone", "none", 2),
        # Back-off: 1, 2, 5 minutes after the last; four within an hour.
        (answer("hung"), {**TWICE, "restarts": [NOW - 59]}, "hung", "none", 10),
        (answer("hung"), {**TWICE, "restarts": [NOW - 61]}, "hung", "restart", 10),
        (answer("hung"), {**TWICE, "restarts": [NOW - 600, NOW - 119]}, "hung", "none", 10),
        (answer("hung"), {**TWICE, "restarts": [NOW - 600, NOW - 121]}, "hung", "restart", 10),
        (answer("hung"), {**TWICE, "restarts": [NOW - 900, NOW - 600, NOW - 299]}, "hung", "none", 10),
        (answer("hung"), {**TWICE, "restarts": [NOW - 1500, NOW - 1400, NOW - 1300, NOW - 1200]}, "hung", "none", 2),
        (answer("hung"), {**TWICE, "restarts": [NOW - 3700, NOW - 1400, NOW - 1300, NOW - 1200]}, "hung", "restart", 10),
        (answer("hung"), {**TWICE, "restarts": [NOW + 5000]}, "hung", "restart", 10),
        (answer("hung"), {**TWICE, "given_up": True}, "hung", "none", 2),
        (xid(119), {"restarts": [NOW - 30]}, "xid", "none", 10),
    ],
)
def test_decisions(look: dict, state: dict, verdict: str, action: str, code: int) -> None:
    seen = {"unit": UNIT, "nodes": NODES, "driver": DRIVER, "kernel": KERNEL, "gpus": GPUS, "endpoint": ANSWER, **look}
    before = dict(READY, **state)
    made = watchdog.decide(SETTINGS, seen, before, NOW)
    assert (made.verdict, made.action, made.exit_code) == (verdict, action, code), made
    assert made.verdict in watchdog.VERDICTS
    assert made.say == (code != 0)
    assert before == dict(READY, **state), "the state that was given is another now"
    if action == "restart":
        assert made.state["restarts"][-1] == NOW and made.priority == 3
    if code:
        assert made.priority in (3, 4) and made.done
        assert verdict in made.line("vllm-chat.service")


def look(**given: t.Any) -> dict:
    return {"unit": UNIT, "nodes": NODES, "driver": DRIVER, "kernel": KERNEL, "gpus": GPUS, "endpoint": ANSWER, **given}


def test_it_stops_at_the_first_stage_that_says_something() -> None:
    assert watchdog.decide(SETTINGS, {"unit": UNIT}, READY, NOW).verdict == "ok"
    assert watchdog.decide(SETTINGS, unit(active_state="inactive"), READY, NOW).verdict == "stopped"
    wrong = {"nodes": {"/dev/nvidia0": "it does not exist"}, "driver": None}
    assert watchdog.decide(SETTINGS, look(**wrong), READY, NOW).verdict == "device_node"


def test_an_hour_of_a_service_that_no_restart_mends() -> None:
    """Every 15 s: restarts after 3 looks, then 1, 2 and 5 minutes apart, and then no more, and said what it is seldom."""
    state: dict = dict(READY)
    restarts, said, given_up = [], [], 0
    for step in range(240):
        now = NOW + 15 * step
        made = watchdog.decide(SETTINGS, look(**answer("hung")), state, now)
        state = made.state
        restarts += [15 * step] * (made.action == "restart")
        said += [made.line("x")] * made.say
        given_up += made.exit_code == 2
    assert restarts == [30, 90, 210, 510]
    assert "Given up after 4 restarts within an hour, until it is healthy again" in said[-1]
    assert given_up > 150 and len(said) < 30, said
    made = watchdog.decide(SETTINGS, look(), state, now + 15)
    assert (made.verdict, made.say, made.priority, made.state["given_up"]) == ("ok", True, 5, False)
    assert made.line("x").endswith("It was hung before.")
    assert not watchdog.decide(SETTINGS, look(), made.state, now + 30).say


def test_what_stays_is_said_again_after_ten_minutes() -> None:
    gone = look(nodes={"/dev/nvidia0": "it does not exist"})
    said, state = [], dict(READY)
    for step in range(100):
        made = watchdog.decide(SETTINGS, gone, state, NOW + 15 * step)
        state, said = made.state, said + [15 * step] * made.say
    assert said == [0, 600, 1200]


def test_the_words() -> None:
    made = watchdog.decide(SETTINGS, look(**row(**NONE)), dict(READY, failing=2), NOW)
    assert made.line("vllm-chat.service") == (
        "vllm-chat.service: cpu_fallback: no process of vllm-chat.service holds memory on GPU-a, so it does not run where the "
        "plan says (GPU-a: 0 of its processes with 0 MiB, 0 others with 0 MiB). Restarted, 1 of at most 4 times within an hour."
    )
    made = watchdog.decide(SETTINGS, look(**xid(119)), READY, NOW)
    assert "Xid 119 of 0000:01:00 (GSP RPC timeout). NVIDIA asks for a reset of the GPU" in made.reason


def test_lines_of_the_kernel() -> None:
    lines = [
        (1.0, "host kernel: NVRM: Xid (PCI:0000:C1:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."),
        (2.0, "kernel: [12.3] NVRM: Xid (0000:01:00): 31, Ch 00000010, engmask 00000101"),
        (3.0, "kernel: NVRM: Xid (PCI:0000:10:1c): 63, pid=1896, Row Remapper: New row marked for remapping"),
        (4.0, "kernel: NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  590.48.01  Release Build"),
        (5.0, "kernel: NVRM: GPU 0000:c1:00.0: GPU has fallen off the bus."),
    ]
    assert [(one["at"], one["device"], one["xid"]) for one in watchdog.xids(lines)] == [
        (1.0, "0000:c1:00", 79), (2.0, "0000:01:00", 31), (3.0, "0000:10:1c", 63),
    ]  # fmt: skip
    assert watchdog.driver_loads(lines) == [4.0]


@pytest.mark.parametrize(
    "given, said",
    [
        ({}, "url is missing"),
        ({"url": "http://x", "api_key": "secret"}, "api_key is not known"),
        ({"url": "http://x", "failures": 0}, "failures=0 must be a number, at least 1"),
        ({"url": "http://x", "timeout_s": "ten"}, "timeout_s=ten must be a number"),
        ({"url": "http://x", "backoff_s": []}, "backoff_s=.. must be a list of seconds"),
    ],
)
def test_configurations_refused(given: dict, said: str) -> None:
    with pytest.raises(GpufleetError, match=said):
        watchdog.config(dict(given, unit="x.service"))
