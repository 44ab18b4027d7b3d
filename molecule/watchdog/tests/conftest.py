# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that a directory of tests names, and what its watchdog said."""

from __future__ import annotations

import json
import time

import lab_host
import pytest


class Host(lab_host.Host):
    journal = ("engine-*", "gpufleet-watchdog@*")
    units = "engine-%s.service"

    def now(self):
        return float(self.output("date +%s.%N"))

    def said(self, name, since=0.0):
        """Lines of the watchdog in the journal of the engine: (seconds after ``since``, verdict, priority, text)."""
        text = self.output(
            "journalctl --output json --no-pager --since=@%d --unit engine-%s.service SYSLOG_IDENTIFIER=gpufleet-watchdog" % (since, name)
        )
        lines = [json.loads(line) for line in text.splitlines()]
        found = [
            (int(one["__REALTIME_TIMESTAMP"]) / 1e6 - since, one["GPUFLEET_VERDICT"], int(one["PRIORITY"]), one["MESSAGE"]) for one in lines
        ]
        return [entry for entry in found if entry[0] >= 0]

    def wait_for(self, name, words, since, seconds):
        """The first line with these words, which must come within so many seconds after ``since``."""
        while True:
            for entry in self.said(name, since):
                if words in entry[3]:
                    assert entry[0] < seconds, entry
                    return entry
            assert self.now() - since < seconds, (words, self.said(name, since))
            time.sleep(0.5)

    def restarts(self, name):
        """How often it was started: systemd's own account."""
        text = self.output("journalctl --no-pager --unit engine-%s.service _PID=1 --output cat" % name)
        return text.count("Started engine-%s.service" % name)

    def watch(self, name):
        """What `systemctl` says of the watch: state, exit status and the last verdict."""
        shown = self.output("systemctl show gpufleet-watchdog@engine-%s.service --property=ActiveState,ExecMainStatus,StatusText" % name)
        return dict(line.split("=", 1) for line in shown.splitlines())

    def wait_for_status(self, name, words, seconds=30):
        end = time.monotonic() + seconds
        while words not in self.watch(name)["StatusText"]:
            assert time.monotonic() < end, self.watch(name)
            time.sleep(0.5)


@pytest.fixture(scope="module")
def host(request):
    return Host("llm-" + request.path.parent.name)
