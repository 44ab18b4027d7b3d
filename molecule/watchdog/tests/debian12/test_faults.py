# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault is found within a minute, with the watchdog as it comes, and the reason is in the journal of the service."""

from __future__ import annotations

import time

import pytest

MINUTE = 60
NAMES = ("hung", "cpu", "node", "xid")
DEVICE = "GPU-aaaaaaaa-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def faults(host):
    """All at once, on engines that are well: each watch has its own to see to."""
    for name in NAMES:
        host.wait_for_status(name, "engine-%s.service: ok: %s answered in" % (name, name))
    found = {"pids": {name: host.main_pid(name) for name in NAMES}}
    found["before"] = {name: (host.watch(name)["ActiveState"], host.said(name)) for name in NAMES}
    # The engine is listed no more, as one that lost its context: it answers from the CPU.
    host.output("rm /run/lab-gpu/cpu.pid")
    host.output("echo hang > /run/engine-hung/mode; rm /dev/nvidia7")
    found["since"] = host.now()
    host.output("""echo "$(date +%Y-%m-%dT%H:%M:%S.%N | cut -c-26)$(date +%:z) lab kernel: NVRM: Xid (PCI:0000:14:00): 119, pid=1, name=x, \
Timeout after 6s of waiting for RPC response from GPU0 GSP!" >> /var/log/lab-kern.log""")
    return found


def test_nothing_was_said_of_engines_that_are_well(faults):
    for state, said in faults["before"].values():
        assert state != "failed" and said == []


def test_an_xid(host, faults):
    at, verdict, priority, text = host.wait_for("xid", "Restarted", faults["since"], MINUTE)
    assert (verdict, priority) == ("xid", 3) and "Xid 119 of 0000:14:00 (GSP RPC timeout)" in text
    assert all("xid" not in entry[1] for name in ("hung", "cpu", "node") for entry in host.said(name))
    print("Xid: restarted after %.0f s" % at)


def test_a_device_file_that_vanished(host, faults):
    at, verdict, priority, text = host.wait_for("node", "/dev/nvidia7 (it does not exist)", faults["since"], MINUTE)
    assert (verdict, priority) == ("device_node", 3) and "A restart cannot help before it is there" in text
    assert host.watch("node")["ExecMainStatus"] == "2" and host.watch("node")["ActiveState"] == "failed"
    assert host.main_pid("node") == faults["pids"]["node"]
    print("device file: found after %.0f s" % at)


def test_silent_cpu_fallback(host, faults):
    host.wait_for("cpu", "no process of engine-cpu.service holds memory on %s" % DEVICE, faults["since"], MINUTE)
    at, verdict, priority, text = host.wait_for("cpu", "Restarted, 1 of at most 4", faults["since"], MINUTE)
    assert (verdict, priority) == ("cpu_fallback", 3) and "3 others with 61440 MiB" in text
    print("CPU fallback: restarted after %.0f s" % at)


def test_an_engine_that_hangs(host, faults):
    host.wait_for("hung", "healthy, and no token from hung for 10 s", faults["since"], MINUTE)
    at, verdict, priority, text = host.wait_for("hung", "Restarted, 1 of at most 4", faults["since"], MINUTE)
    assert (verdict, priority) == ("hung", 3)
    print("hung: restarted after %.0f s" % at)


def test_after_the_restart_all_is_well_and_said_once(host, faults):
    host.output("mknod /dev/nvidia7 c 1 3")
    for name in NAMES:
        host.wait_for(name, "before.", faults["since"], 3 * MINUTE)
        assert [entry[2] for entry in host.said(name, faults["since"]) if entry[1] == "ok"] == [5]
        assert (host.main_pid(name) != faults["pids"][name]) == (name != "node")


def test_a_driver_that_is_loaded_anew(host, faults):
    """sysfs makes a new directory for a module that comes again, be it of the same version."""
    since = host.now()
    pids = {name: host.main_pid(name) for name in NAMES}
    host.output("cd /run/lab-sys/module && cp -r nvidia new && mv nvidia /run/lab-sys/old && mv new nvidia && rm -r /run/lab-sys/old")
    at, verdict, priority, text = host.wait_for("node", "the kernel module nvidia was loaded anew since it started", since, MINUTE)
    assert (verdict, priority) == ("driver_changed", 3) and "Restarted" in text
    for _wait in range(20):
        if host.main_pid("node") not in (0, pids["node"]):
            break
        time.sleep(0.5)
    assert host.main_pid("node") not in (0, pids["node"])
    print("driver: restarted after %.0f s" % at)
