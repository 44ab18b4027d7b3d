# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with nothing on it, on which runs are killed; then its settings and an upgrade. The tests build on one another."""

from __future__ import annotations

import os
import random
import time

import pytest
from conftest import NEW, OLD, TINY
from lab_host import kill

SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(1000)))
STORE = "/srv/models/ollama"
OURS = "/opt/gpufleet/ollama/%s/bin/ollama"
NOTES = {"/opt/gpufleet/ollama/.lock", "/opt/gpufleet/ollama/%s/.gpufleet-release.json" % OLD, STORE + "/.gpufleet-import.lock"}
# What begins, the sign of it on the host, and how long it takes about.
INSTALL = ("install", "pgrep -f '[s]h -c /usr/bin/python3'", 7.0)
PULL = ("pull", "ls %s/blobs/*-partial" % STORE, 5.0)
IMPORT = ("import", "test -d %s/.gpufleet-import" % STORE, 1.0)


def begun(host, process, sign):
    """Wait for it; False when the run ended before."""
    while host.run(sign).rc != 0:
        if process.poll() is not None:
            return False
        time.sleep(0.2)
    return True


def test_killed_at_five_random_moments_and_run_once_more(host, play, begin):
    print("KILL_SEED=%d" % SEED)
    # As a dpkg leaves it that is killed at work: apt does nothing more until that is put right.
    host.output("touch /var/lib/dpkg/updates/0001")
    assert "dpkg was interrupted" in host.run("apt-get install --yes zstd").stderr
    chance = random.Random(SEED)
    run = {"playbook": "interrupted.yml", "version": OLD}
    killed = []
    for phase, sign, length in (INSTALL, INSTALL, PULL, PULL, IMPORT):
        process = begin(**run)
        moment = chance.uniform(0, length)
        if begun(host, process, sign):
            time.sleep(moment)
        if process.poll() is None:
            kill(process, host)
            killed.append(phase)
            print("killed %.2f s after the %s began; there is: %s" % (moment, phase, there(host)))
        else:
            print("the run was over before %.2f s of the %s" % (moment, phase))
    # Otherwise this showed nothing.
    assert killed.count("install") == 2 and killed.count("pull") >= 1, killed
    # Whatever has its final name is whole at any time.
    wrong = [name for name in host.store(STORE)["problems"] if "-partial" not in name]
    assert wrong == []

    last = play(**run)
    assert last.rc == 0, last.text
    store = host.store(STORE)
    assert store["problems"] == []
    names = {name.replace("registry.ollama.ai/library/", "").rpartition("/")[0]: digest for name, digest in store["models"].items()}
    assert set(names) == {TINY, "127.0.0.1:5002/library/slow", "large"}
    assert host.models() == {name + ":latest": digest for name, digest in names.items()}
    assert host.runs() == (OLD, OLD, OURS % OLD)
    assert host.show("UnitFileState", "ollama") == "enabled"
    assert host.answer()
    again = play(**run)
    assert (again.rc, again.changed) == (0, 0), again.text
    left = "find /opt/gpufleet /var/lib/gpufleet %s /etc/systemd/system -name '.*' -o -name '*.part*'"
    assert set(host.output(left % STORE).split()) - NOTES == set()


def there(host):
    return ", ".join(host.run("ls -A /opt/gpufleet/ollama %s/blobs %s/.gpufleet-import 2>/dev/null" % (STORE, STORE)).stdout.split())


def test_settings_restart_once_and_are_in_force(host, play):
    settings = {"version": OLD, "ollama_keep_alive": "45m", "ollama_num_parallel": 3}
    before = host.quiet()
    run = play(**settings)
    assert run.rc == 0, run.text
    found = host.quiet()
    assert found["pid"] != before["pid"] and found["reloads"] == before["reloads"] + 1
    assert "OLLAMA_KEEP_ALIVE:45m0s" in host.config() and "OLLAMA_NUM_PARALLEL:3" in host.config()
    there = {"PATH": "/bin:/usr/bin", "LC_ALL": "C", "LANG": "tr_TR.UTF-8"}
    run = play(odd_environment=there, **settings)
    assert (run.rc, run.changed) == (0, 0), run.text
    assert host.quiet() == found
    assert "OLLAMA_KEEP_ALIVE:45m0s" in host.config()


def test_upgrade_and_settings_no_longer_wished_for(host, play):
    run = play(version=NEW)
    assert run.rc == 0, run.text
    assert host.runs() == (NEW, NEW, OURS % NEW)
    assert "OLLAMA_KEEP_ALIVE:45m0s" not in host.config() and "OLLAMA_NUM_PARALLEL:3" not in host.config()
    assert set(host.output("ls /opt/gpufleet/ollama").split()) == {OLD, NEW, "current"}
    assert host.store(STORE)["problems"] == [] and len(host.models()) == 3


@pytest.mark.stand_in
def test_a_version_whose_models_do_not_answer_is_taken_back(host, play):
    run = play(version="0.33.9", ollama_ready_timeout_s=4)
    assert run.rc != 0
    assert "ollama with Ollama 0.33.9 does not work" in run.words
    assert "llama-server process has terminated" in run.words
    assert "The configuration before is back: Ollama %s serves again." % NEW in run.words
    assert host.runs() == (NEW, NEW, OURS % NEW)
    assert host.answer() and len(host.models()) == 3
    found = host.quiet()
    run = play(version=NEW)
    assert (run.rc, run.changed) == (0, 0), run.text
    assert host.quiet() == found
