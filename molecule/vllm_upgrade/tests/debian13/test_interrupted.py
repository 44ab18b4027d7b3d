# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed, and the run after them. The tests build on one another."""

from __future__ import annotations

import json
import os
import random
import re
import time

from lab_host import kill

SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(1000)))
GOOD = {"one_version": "0.32.2", "one_settings": {"max_num_seqs": 3}}


def test_killed_between_writing_the_unit_and_restarting(host, play, begin):
    """The unit on the disk is new, the process is old, and nothing but their times says so."""
    unit = "/etc/systemd/system/vllm-one.service"
    one, before = host.main_pid("one"), host.output("stat -c %%Y.%%i %s", unit)
    wishes = {"one_settings": {"max_num_seqs": 5}}
    process = begin(**wishes)
    deadline = time.monotonic() + 180
    while host.output("stat -c %%Y.%%i %s", unit) == before:
        assert process.poll() is None and time.monotonic() < deadline, "the unit was never written"
    kill(process)
    print("killed after the unit was written; the old process %s" % ("runs" if host.main_pid("one") == one else "is gone"))
    run = play(**wishes)
    assert run.rc == 0, run.text
    assert re.search(r"--max-num-seqs\0005\0", host.output("cat /proc/%s/cmdline", str(host.main_pid("one"))))
    assert "Paris" in host.answer("one")


def test_killed_at_five_random_moments_and_run_once_more(host, play, begin):
    host.output("systemctl stop 'vllm-*'; rm -rf /etc/systemd/system/vllm-* /etc/gpufleet /var/lib/gpufleet /opt/gpufleet/vllm"
                " /srv/models; systemctl daemon-reload")  # fmt: skip
    chance = random.Random(SEED)
    print("KILL_SEED=%d" % SEED)
    for number in range(5):
        process = begin(**GOOD)
        moment = chance.uniform(4 * number, 4 * number + 8)
        time.sleep(moment)
        ended = process.poll()
        kill(process) if ended is None else None
        print("run %d: %s %.1f s" % (number + 1, "killed after" if ended is None else "had ended by itself within", moment))
    keys = host.run("cat /etc/gpufleet/vllm/one.key").stdout
    record = "/opt/gpufleet/vllm/0.32.1-cpu/.gpufleet-env.json"
    environment = host.run("stat -c %%Y.%%i %s", record).stdout
    running = host.main_pid("one")

    run = play(**GOOD)
    assert run.rc == 0, run.text
    for instance, version in (("one", "0.32.2"), ("two", "0.32.1")):
        assert "Paris" in host.answer(instance)
        assert host.version(instance) == version
    if keys:
        assert host.output("cat /etc/gpufleet/vllm/one.key") + "\n" == keys
    if environment:
        assert host.output("stat -c %%Y.%%i %s", record) + "\n" == environment
    print("before the last run there were: key %s, environment %s, process %s" % (bool(keys), bool(environment), running))
    assert play(**GOOD).changed == 0
    left = host.output("find /opt/gpufleet /etc/gpufleet /var/lib/gpufleet -name '.*.started' -o -name '.ansible_tmp*'"
                       " -o -name '.*.key.*' -o -name '.*.env.*' -o -name '.proven.json.*'")  # fmt: skip
    assert left == ""
    assert json.loads(host.file("/var/lib/gpufleet/vllm/one/measured.json").content_string)["engine_version"] == "0.32.2"
