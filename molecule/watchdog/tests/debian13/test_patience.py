# SPDX-License-Identifier: GPL-3.0-or-later
"""What it leaves alone, how it gives up, what nobody may see, and that nothing is left of it."""

from __future__ import annotations

import time

KEY = "key-of-the-engine-Zu9Qx3mB7v"


def test_a_busy_engine_is_not_hung(host):
    host.wait_for_status("busy", "engine-busy.service: ok: busy answered in")
    pid = host.main_pid("busy")
    since = host.now()
    host.output("echo busy > /run/engine-busy/mode")
    time.sleep(14)  # two looks
    assert host.said("busy", since) == []
    assert host.main_pid("busy") == pid
    host.output("rm /run/engine-busy/mode")


def test_a_wrong_key_restarts_nothing(host):
    entries = host.said("denied")
    assert [entry[1] for entry in entries] == ["misconfigured"] and entries[0][2] == 4
    assert "/v1/models answered 401: Unauthorized" in entries[0][3] and "Nothing is restarted for that" in entries[0][3]
    host.wait_for_status("denied", "misconfigured")
    assert host.watch("denied")["ExecMainStatus"] == "3"
    assert host.restarts("denied") == 1


def test_it_backs_off_and_gives_up(host):
    host.wait_for_status("sticky", "engine-sticky.service: ok: sticky answered in")
    before = host.restarts("sticky")
    since = host.now()
    host.output("echo hang > /etc/engine-sticky.mode")
    first = host.wait_for("sticky", "Restarted, 1 of at most 2", since, 40)
    # After the start it has 5 s to become ready, which it never does: healthy, and no token.
    second = host.wait_for("sticky", "Restarted, 2 of at most 2", since, 90)
    assert second[0] - first[0] > 8
    host.wait_for("sticky", "Given up after 2 restarts within an hour", since, 150)
    assert host.restarts("sticky") == before + 2
    assert host.watch("sticky")["ExecMainStatus"] == "2"
    host.output("rm /etc/engine-sticky.mode")
    host.wait_for("sticky", "It was hung before.", since, 170)


def test_what_an_admin_stops_stays_stopped(host):
    since = host.now()
    host.output("systemctl stop engine-busy.service")
    host.wait_for_status("busy", "stopped: it was stopped. It is left alone.")
    assert host.said("busy", since) == []
    assert host.show("ActiveState", "busy") == "inactive"


def test_the_key_is_nowhere(host):
    assert KEY in host.output("cat /etc/engine.key")
    assert host.run("grep -r -l -F %s /etc/gpufleet /etc/systemd /run/gpufleet /run/systemd/system /opt/gpufleet", KEY).rc == 1
    assert host.run("journalctl --no-pager --output export | grep -q -a -F %s", KEY).rc == 1
    assert KEY not in host.output("systemctl show 'gpufleet-watchdog@*' 'engine-*'")
    # While one runs: what ps would show, and its environment.
    host.output("echo hang > /run/engine-sticky/mode")
    seen = host.output(
        "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do for pid in $(pgrep -f gpufleet.watchdog.program); do "
        "tr '\\0' ' ' < /proc/$pid/cmdline; tr '\\0' ' ' < /proc/$pid/environ; done 2> /dev/null; sleep 0.5; done; true"
    )
    assert "gpufleet.watchdog.program engine-sticky" in seen and KEY not in seen
    host.output("rm -f /run/engine-sticky/mode")


def test_removal(host, play):
    check = play("--check", wanted="absent")
    assert check.rc == 0 and check.changed > 0, check.text
    assert host.file("/etc/gpufleet/watchdog/engine-busy.json").exists
    run = play(wanted="absent")
    assert run.rc == 0, run.text
    for path in ("/opt/gpufleet/watchdog", "/etc/gpufleet/watchdog", "/run/gpufleet/watchdog", "/var/cache/gpufleet/watchdog"):
        assert not host.file(path).exists, path
    assert host.output("systemctl list-units --all --no-legend 'gpufleet-watchdog@*'") == ""
    assert host.output("ls /etc/systemd/system /etc/systemd/system/timers.target.wants | grep -c gpufleet-watchdog || true") == "0"
    assert host.main_pid("sticky") > 0
    assert play(wanted="absent").changed == 0
